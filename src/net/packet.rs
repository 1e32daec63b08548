//! A raw Ethernet socket (`AF_PACKET`) bound to one interface: what `arp` and `ndp` send and listen through.

use crate::error::{Error, Kind, Result};
use crate::host::clock::Deadline;
use crate::net::caps::Needs;
use crate::net::driver::readable_before;
use crate::net::netlink::Link;
use crate::net::os_error;
use crate::units::Mac;
use pnet::util::MacAddr;
use socket2::{Domain, SockAddr, SockFilter, Socket, Type};
use std::io;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// The Ethernet type of ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// The Ethernet type of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;

/// A raw Ethernet socket of one interface; non-blocking and close-on-exec.
#[derive(Debug)]
pub struct PacketSocket {
    socket: Socket,
    interface: String,
    mac: Mac,
}

impl PacketSocket {
    /// Opens a socket that only sends: it receives nothing, so nothing piles up in it.
    pub fn sender(link: &Link) -> Result<Self> {
        Self::open(link, 0, &[])
    }

    /// Opens a socket that also receives frames of one Ethernet type that pass the filter.
    ///
    /// An empty filter lets all of them pass. The filter is in place before the first frame can arrive,
    /// because a packet socket made with protocol 0 receives nothing until it is bound.
    pub fn receiver(link: &Link, ethertype: u16, filter: &[SockFilter]) -> Result<Self> {
        Self::open(link, ethertype, filter)
    }

    fn open(link: &Link, ethertype: u16, filter: &[SockFilter]) -> Result<Self> {
        let Some(mac) = link.mac else {
            return Err(Error::new(
                Kind::Config,
                format!("interface \"{}\" has no Ethernet address", link.name),
            ));
        };
        let failed = |error: io::Error| {
            let message = format!("can't open a packet socket on \"{}\"", link.name);
            os_error(&error, message, Needs::NetRaw)
        };
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), None).map_err(failed)?;
        if !filter.is_empty() {
            socket.attach_filter(filter).map_err(failed)?;
        }
        let address = link_address(link.index, ethertype).map_err(failed)?;
        socket.bind(&address).map_err(failed)?;
        Ok(Self { socket, interface: link.name.clone(), mac })
    }

    /// Returns the Ethernet address of the interface, as it was when the socket was opened.
    pub const fn mac(&self) -> Mac {
        self.mac
    }

    /// Returns the name of the interface.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// Replaces the filter of received frames.
    pub fn set_filter(&self, filter: &[SockFilter]) -> Result<()> {
        self.socket.attach_filter(filter).map_err(|error| {
            Error::failed(format!("can't set a packet filter on \"{}\"", self.interface)).detail(error)
        })
    }

    /// Sends one frame, from its Ethernet header on.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        match self.socket.send(frame) {
            Ok(_) => Ok(()),
            Err(error) => {
                let message = format!("can't send on interface \"{}\"", self.interface);
                Err(os_error(&error, message, Needs::NetRaw))
            }
        }
    }

    /// Reads one frame; `None` when there is none (now).
    ///
    /// An interface that is down has no frames: that is no error here, it is a link event.
    pub fn receive<'a>(&self, buffer: &'a mut [u8]) -> Result<Option<&'a [u8]>> {
        loop {
            match (&self.socket).read(buffer) {
                Ok(length) => return Ok(buffer.get(..length)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if quiet(&error) => return Ok(None),
                Err(error) => {
                    let message = format!("can't receive on interface \"{}\"", self.interface);
                    return Err(os_error(&error, message, Needs::NetRaw));
                }
            }
        }
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Asks the network a question, three times inside the wait, and returns the first answer; `None` when the
/// wait has passed without one.
pub(crate) fn ask<T>(
    fd: BorrowedFd<'_>,
    wait: Deadline,
    mut send: impl FnMut() -> Result<()>,
    mut read: impl FnMut() -> Result<Option<T>>,
) -> Result<Option<T>> {
    const TIMES: u32 = 3;
    let pause = (wait.left() / TIMES).max(Duration::from_millis(1));
    let mut questions = 0;
    loop {
        if questions < TIMES {
            send()?;
            questions += 1;
        }
        let until = if questions < TIMES { wait.within(pause) } else { wait };
        while readable_before(fd, until)? {
            if let Some(answer) = read()? {
                return Ok(Some(answer));
            }
            if until.passed() {
                break;
            }
        }
        if wait.passed() {
            return Ok(None);
        }
    }
}

/// Returns whether a receive error only means "nothing here now".
fn quiet(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::ENETDOWN)
}

/// Converts our Ethernet address into pnet's.
pub(crate) const fn to_pnet(mac: Mac) -> MacAddr {
    let Mac(octets) = mac;
    MacAddr(octets[0], octets[1], octets[2], octets[3], octets[4], octets[5])
}

/// Converts pnet's Ethernet address into ours.
pub(crate) const fn from_pnet(mac: MacAddr) -> Mac {
    Mac([mac.0, mac.1, mac.2, mac.3, mac.4, mac.5])
}

/// Classic BPF, the instructions used for frames: load a 32-bit word or an octet, compare, return.
pub(crate) mod bpf {
    use socket2::SockFilter;

    /// A = frame[k..k+4]
    pub(crate) const LOAD_WORD: u16 = 0x20;
    /// A = frame[k]
    pub(crate) const LOAD_BYTE: u16 = 0x30;
    const JUMP_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;

    /// Returns the program that lets a frame pass only when all these values are as given.
    pub(crate) fn all(conditions: &[(u16, u32, u32)]) -> Vec<SockFilter> {
        let mut program = Vec::new();
        for (load, offset, value) in conditions {
            program.push(SockFilter::new(*load, 0, 0, *offset));
            program.push(SockFilter::new(JUMP_EQUAL, 1, 0, *value));
            program.push(SockFilter::new(RETURN, 0, 0, 0));
        }
        program.push(SockFilter::new(RETURN, 0, 0, u32::MAX));
        program
    }

    /// Returns the program that lets nothing pass.
    pub(crate) fn nothing() -> Vec<SockFilter> {
        vec![SockFilter::new(RETURN, 0, 0, 0)]
    }
}

/// Builds the `sockaddr_ll` of an interface.
fn link_address(index: u32, ethertype: u16) -> io::Result<SockAddr> {
    let index = i32::try_from(index).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
    let family = u16::try_from(libc::AF_PACKET).unwrap_or(0);
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or(0);
    #[expect(unsafe_code, reason = "there is no safe constructor of a link-layer socket address")]
    // SAFETY: the storage that `try_init` gives is zeroed, as large and as aligned as any socket address
    // (`sockaddr_storage`), so it can be written as a `sockaddr_ll`; its length is set to what was written.
    let built = unsafe {
        SockAddr::try_init(|storage, size| {
            let link = storage.cast::<libc::sockaddr_ll>();
            (*link).sll_family = family;
            (*link).sll_protocol = ethertype.to_be();
            (*link).sll_ifindex = index;
            *size = length;
            Ok(())
        })
    };
    built.map(|((), address)| address)
}
