//! The sockets of VRRP: one that receives and one that sends, per interface and address family.
//!
//! Two sockets, because they need opposite settings: the receiver is in the multicast group and sees only
//! adverts of our virtual routers; the sender is bound to the interface's address and sees nothing. What is
//! received is handed on undecoded: `vrrp::wire` judges it.

use crate::error::{Error, Kind, Result};
use crate::net::caps::{self, Needs};
use crate::net::netlink::Link;
use crate::net::os_error;
use crate::units::vrrp_group;
use crate::vrrp::wire::TYPE_PROBE;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockAddr, SockFilter, Socket, Type};
use std::io::{self, IoSliceMut, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// The IP protocol number of VRRP.
const VRRP: i32 = 112;
/// Internetwork control (RFC 791); what routers give their routing protocols.
const TOS: u32 = 0xc0;
/// `TC_PRIO_INTERACTIVE`, the highest that needs no further right.
const PRIORITY: u32 = 6;
const MAX_TTL: u32 = 255;

/// How adverts travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// To the group 224.0.0.18 or `ff02::12`.
    Multicast,
    /// To each peer by its own address, where the network has no multicast.
    Unicast,
}

/// A received packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Who sent it, according to the IP header.
    pub source: IpAddr,
    /// Whom it was sent to: the group, or our own address.
    pub destination: IpAddr,
    /// The time to live or hop limit it arrived with; 255 proves that the sender is on this network.
    pub ttl: u8,
    /// The VRRP message.
    pub payload: &'a [u8],
}

/// The two VRRP sockets of an interface and an address family; non-blocking and close-on-exec.
#[derive(Debug)]
pub struct VrrpSocket {
    receiver: Socket,
    sender: Socket,
    ipv4: bool,
    delivery: Delivery,
    interface: String,
    index: u32,
}

impl VrrpSocket {
    /// Opens the IPv4 sockets. `source` must be an address of the interface; only adverts of these virtual
    /// router ids are received (an empty list: of all).
    pub fn open_v4(link: &Link, delivery: Delivery, source: Ipv4Addr, vrids: &[u8]) -> Result<Self> {
        Self::open_v4_via(link, link, delivery, source, vrids)
    }

    /// Opens the IPv4 sockets so that adverts leave through another interface on the same cable, with its Ethernet
    /// address. Nothing can be sent while that one is down.
    pub fn open_v4_via(
        link: &Link,
        via: &Link,
        delivery: Delivery,
        source: Ipv4Addr,
        vrids: &[u8],
    ) -> Result<Self> {
        let failed = |error: io::Error| opening(&error, link, IpAddr::V4(source));
        let receiver = raw(Domain::IPV4, link).map_err(failed)?;
        receiver.set_multicast_all_v4(false).map_err(failed)?;
        if delivery == Delivery::Multicast {
            let IpAddr::V4(group) = vrrp_group(true) else { return Err(Error::failed("no IPv4 group")) };
            let interface = InterfaceIndexOrAddress::Index(link.index);
            receiver.join_multicast_v4_n(&group, &interface).map_err(failed)?;
        }
        admit(&receiver, &filter_v4(delivery, vrids)).map_err(failed)?;

        let sender = raw(Domain::IPV4, via).map_err(failed)?;
        sender.set_recv_buffer_size(0).ok();
        sender.set_multicast_ttl_v4(MAX_TTL).map_err(failed)?;
        sender.set_ttl_v4(MAX_TTL).map_err(failed)?;
        sender.set_multicast_loop_v4(false).map_err(failed)?;
        sender.set_tos_v4(TOS).map_err(failed)?;
        sender.set_priority(PRIORITY).map_err(failed)?;
        // No "don't fragment" bit, as keepalived has it.
        set_option(&sender, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, &libc::IP_PMTUDISC_DONT)
            .map_err(failed)?;
        let index = i32::try_from(via.index).map_err(|_| failed(io::ErrorKind::InvalidInput.into()))?;
        let interface = libc::ip_mreqn {
            imr_multiaddr: libc::in_addr { s_addr: 0 },
            imr_address: libc::in_addr { s_addr: u32::from(source).to_be() },
            imr_ifindex: index,
        };
        set_option(&sender, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, &interface).map_err(failed)?;
        sender.bind(&SocketAddr::from((source, 0)).into()).map_err(failed)?;
        Ok(Self { receiver, sender, ipv4: true, delivery, interface: link.name.clone(), index: via.index })
    }

    /// Opens the IPv6 sockets; `source` is a link-local address of the interface (RFC 9568 §5.1.2.1), or
    /// for unicast any address of it. The kernel computes and checks the checksum.
    pub fn open_v6(link: &Link, delivery: Delivery, source: Ipv6Addr, vrids: &[u8]) -> Result<Self> {
        Self::open_v6_via(link, link, delivery, source, vrids)
    }

    /// Opens the IPv6 sockets like [`Self::open_v4_via`].
    pub fn open_v6_via(
        link: &Link,
        via: &Link,
        delivery: Delivery,
        source: Ipv6Addr,
        vrids: &[u8],
    ) -> Result<Self> {
        const CHECKSUM_OFFSET: libc::c_int = 6;
        let failed = |error: io::Error| opening(&error, link, IpAddr::V6(source));
        let receiver = raw(Domain::IPV6, link).map_err(failed)?;
        receiver.set_multicast_all_v6(false).map_err(failed)?;
        let one: libc::c_int = 1;
        set_option(&receiver, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, &one).map_err(failed)?;
        set_option(&receiver, libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT, &one).map_err(failed)?;
        set_option(&receiver, libc::IPPROTO_IPV6, libc::IPV6_CHECKSUM, &CHECKSUM_OFFSET).map_err(failed)?;
        if delivery == Delivery::Multicast {
            let IpAddr::V6(group) = vrrp_group(false) else { return Err(Error::failed("no IPv6 group")) };
            receiver.join_multicast_v6(&group, link.index).map_err(failed)?;
        }
        admit(&receiver, &filter_v6(vrids)).map_err(failed)?;

        let sender = raw(Domain::IPV6, via).map_err(failed)?;
        sender.set_recv_buffer_size(0).ok();
        sender.set_multicast_hops_v6(MAX_TTL).map_err(failed)?;
        sender.set_unicast_hops_v6(MAX_TTL).map_err(failed)?;
        sender.set_multicast_loop_v6(false).map_err(failed)?;
        sender.set_tclass_v6(TOS).map_err(failed)?;
        sender.set_priority(PRIORITY).map_err(failed)?;
        sender.set_multicast_if_v6(via.index).map_err(failed)?;
        set_option(&sender, libc::IPPROTO_IPV6, libc::IPV6_CHECKSUM, &CHECKSUM_OFFSET).map_err(failed)?;
        if via.index != link.index {
            // The source is an address of the other interface.
            sender.set_freebind_v6(true).map_err(failed)?;
        }
        sender.bind(&SocketAddrV6::new(source, 0, 0, scope(source, via.index)).into()).map_err(failed)?;
        Ok(Self { receiver, sender, ipv4: false, delivery, interface: link.name.clone(), index: via.index })
    }

    /// Receives only adverts of these virtual router ids from now on (an empty list: of all).
    pub fn set_vrids(&self, vrids: &[u8]) -> Result<()> {
        let filter = if self.ipv4 { filter_v4(self.delivery, vrids) } else { filter_v6(vrids) };
        self.receiver.attach_filter(&filter).map_err(|error| {
            Error::failed(format!("can't set the VRRP filter on \"{}\"", self.interface)).detail(error)
        })
    }

    /// Sends one VRRP message to the group or to a peer.
    pub fn send(&self, message: &[u8], destination: IpAddr) -> Result<()> {
        let address: SockAddr = match destination {
            IpAddr::V4(ip) => SocketAddr::from((ip, 0)).into(),
            IpAddr::V6(ip) => SocketAddrV6::new(ip, 0, 0, scope(ip, self.index)).into(),
        };
        let Err(error) = self.sender.send_to(message, &address) else { return Ok(()) };
        let message = format!("can't send VRRP to {destination} on \"{}\"", self.interface);
        Err(match error.raw_os_error() {
            // The socket is open, so the right was there: a packet filter refuses.
            Some(libc::EPERM | libc::EACCES) => Error::failed(message)
                .detail(error)
                .hint("does a firewall rule of this host drop outgoing IP protocol 112? nft list ruleset"),
            Some(libc::EADDRNOTAVAIL | libc::EINVAL) => Error::new(Kind::Unreachable, message)
                .detail(error)
                .hint("does the interface still have the address that the adverts come from?"),
            _ => os_error(&error, message, Needs::NetRaw),
        })
    }

    /// Receives one packet into the buffer; `None` when there is none (now). What can't be a VRRP packet for
    /// us (cut off, for another destination) is skipped.
    pub fn recv<'a>(&self, buffer: &'a mut [u8]) -> Result<Option<Datagram<'a>>> {
        loop {
            let received = if self.ipv4 { self.receive_v4(buffer) } else { self.receive_v6(buffer) };
            let header = match received {
                Ok(Some(header)) => header,
                Ok(None) => continue,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                // The link is down: that is a link event, not an error of the socket.
                Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => return Ok(None),
                Err(error) => {
                    let message = format!("can't receive VRRP on \"{}\"", self.interface);
                    return Err(os_error(&error, message, Needs::NetRaw));
                }
            };
            if header.destination.is_multicast() != (self.delivery == Delivery::Multicast) {
                continue;
            }
            let Header { source, destination, ttl, start, end } = header;
            let payload = buffer.get(start..end).unwrap_or_default();
            return Ok(Some(Datagram { source, destination, ttl, payload }));
        }
    }

    fn receive_v4(&self, buffer: &mut [u8]) -> io::Result<Option<Header>> {
        let length = (&self.receiver).read(buffer)?;
        Ok(buffer.get(..length).and_then(header_v4))
    }

    fn receive_v6(&self, buffer: &mut [u8]) -> io::Result<Option<Header>> {
        let mut parts = [IoSliceMut::new(buffer)];
        let mut control = nix::cmsg_space!(libc::in6_pktinfo, libc::c_int);
        let message = recvmsg::<SockaddrIn6>(
            self.receiver.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            MsgFlags::MSG_CMSG_CLOEXEC,
        )?;
        if message.flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC) {
            return Ok(None);
        }
        let (mut destination, mut ttl) = (None, None);
        for part in message.cmsgs()? {
            match part {
                ControlMessageOwned::Ipv6PacketInfo(info) => {
                    destination = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr));
                }
                ControlMessageOwned::Ipv6HopLimit(limit) => ttl = u8::try_from(limit).ok(),
                _ => {}
            }
        }
        let source = message.address.map(|address| address.ip());
        Ok(source.zip(destination).zip(ttl).map(|((source, destination), ttl)| Header {
            source: source.into(),
            destination: destination.into(),
            ttl,
            start: 0,
            end: message.bytes,
        }))
    }
}

/// The receiving socket.
impl AsFd for VrrpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.receiver.as_fd()
    }
}

/// What is known of a packet besides its payload, which is `start..end` of the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    source: IpAddr,
    destination: IpAddr,
    ttl: u8,
    start: usize,
    end: usize,
}

/// Reads the IPv4 header that a raw socket gives; `None` for what is cut off or isn't VRRP.
fn header_v4(packet: &[u8]) -> Option<Header> {
    let first = *packet.first()?;
    let start = usize::from(first & 0xf) * 4;
    let total = usize::from(u16::from_be_bytes(packet.get(2..4)?.try_into().ok()?));
    let address = |at: usize| -> Option<Ipv4Addr> {
        Some(Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(at..at.checked_add(4)?)?).ok()?))
    };
    let fits = first >> 4 == 4 && start >= 20 && start <= total && total <= packet.len();
    let vrrp = i32::from(*packet.get(9)?) == VRRP;
    let (source, destination) = (address(12)?.into(), address(16)?.into());
    (fits && vrrp).then_some(Header { source, destination, ttl: *packet.get(8)?, start, end: total })
}

/// Opens a raw socket on one interface that lets nothing in yet.
fn raw(domain: Domain, link: &Link) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::RAW.nonblocking(), Some(Protocol::from(VRRP)))?;
    socket.attach_filter(&[SockFilter::new(RETURN, 0, 0, 0)])?;
    socket.bind_device(Some(link.name.as_bytes()))?;
    Ok(socket)
}

/// Throws away what came in before the socket was bound to its interface, then lets the right packets in.
fn admit(socket: &Socket, filter: &[SockFilter]) -> io::Result<()> {
    let mut scrap = [0; 64];
    loop {
        match (&*socket).read(&mut scrap) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    socket.attach_filter(filter)
}

fn opening(error: &io::Error, link: &Link, source: IpAddr) -> Error {
    let message = format!("can't open the VRRP socket on \"{}\"", link.name);
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => caps::denied(message, Needs::NetRaw).detail(error),
        Some(libc::EADDRNOTAVAIL) => Error::config(message)
            .detail(format!("{source} isn't an address of the interface, or can't be used yet"))
            .hint(format!("ip address show dev {}", link.name)),
        _ => os_error(error, message, Needs::NetRaw),
    }
}

/// The scope of an address: link-local addresses and groups mean nothing without their interface.
fn scope(ip: Ipv6Addr, index: u32) -> u32 {
    if ip.is_unicast_link_local() || ip.is_multicast() { index } else { 0 }
}

fn set_option<T: Copy>(socket: &Socket, level: i32, name: i32, value: &T) -> io::Result<()> {
    let size = libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0);
    #[expect(unsafe_code, reason = "neither socket2 nor nix sets these options")]
    // SAFETY: the descriptor is open for the whole call, and the pointer is to `size` initialised octets of a
    // live value that the kernel only reads.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), size) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

// Classic BPF: the instructions used below.
const LOAD_BYTE: u16 = 0x30; // A = packet[k]
const LOAD_BYTE_X: u16 = 0x50; // A = packet[X + k]
const LOAD_WORD: u16 = 0x20; // A = packet[k..k+4]
const LOAD_HEADER_LENGTH: u16 = 0xb1; // X = 4 * (packet[k] & 0xf)
const AND: u16 = 0x54; // A &= k
const JUMP_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// Lets in adverts (type 1) and probes of these virtual routers, to the group or not to it. A raw IPv4 socket sees
/// the IP header first.
fn filter_v4(delivery: Delivery, vrids: &[u8]) -> Vec<SockFilter> {
    let group = match vrrp_group(true) {
        IpAddr::V4(group) => u32::from(group),
        IpAddr::V6(_) => 0,
    };
    let (equal, other) = if delivery == Delivery::Multicast { (1, 0) } else { (0, 1) };
    let mut program = vec![
        SockFilter::new(LOAD_WORD, 0, 0, 16),
        SockFilter::new(JUMP_EQUAL, equal, other, group),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(LOAD_HEADER_LENGTH, 0, 0, 0),
    ];
    only(&mut program, LOAD_BYTE_X, vrids);
    program
}

/// The same for IPv6, where a raw socket sees only the VRRP message.
fn filter_v6(vrids: &[u8]) -> Vec<SockFilter> {
    let mut program = Vec::new();
    only(&mut program, LOAD_BYTE, vrids);
    program
}

fn only(program: &mut Vec<SockFilter>, load: u16, vrids: &[u8]) {
    let accept = || SockFilter::new(RETURN, 0, 0, u32::MAX);
    let drop = || SockFilter::new(RETURN, 0, 0, 0);
    program.extend([
        SockFilter::new(load, 0, 0, 0),
        SockFilter::new(AND, 0, 0, 0xf),
        SockFilter::new(JUMP_EQUAL, 2, 0, 1),
        SockFilter::new(JUMP_EQUAL, 1, 0, u32::from(TYPE_PROBE)),
        drop(),
    ]);
    if vrids.is_empty() {
        program.push(accept());
        return;
    }
    program.push(SockFilter::new(load, 0, 0, 1));
    // A jump reaches at most 255 instructions far, so each id brings its own "accept".
    for vrid in vrids {
        program.extend([SockFilter::new(JUMP_EQUAL, 0, 1, u32::from(*vrid)), accept()]);
    }
    program.push(drop());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet() -> Vec<u8> {
        let mut packet = vec![0x45, 0xc0, 0, 32, 0, 1, 0, 0, 255, 112, 0, 0];
        packet.extend([10, 77, 0, 1, 224, 0, 0, 18]);
        packet.extend([0x31, 0x33, 0x96, 1, 0, 0x64, 0x42, 0xd9, 0x0a, 0x4d, 0, 0x64]);
        packet
    }

    #[test]
    fn the_ip_header_gives_addresses_ttl_and_where_the_message_is() {
        let header = header_v4(&packet()).unwrap();
        assert_eq!(header.source, IpAddr::from([10, 77, 0, 1]));
        assert_eq!(header.destination, vrrp_group(true));
        assert_eq!((header.ttl, header.start, header.end), (255, 20, 32));
    }

    #[test]
    fn octets_after_the_packet_are_not_part_of_the_message() {
        let mut packet = packet();
        packet.extend([0; 14]);
        assert_eq!(header_v4(&packet).unwrap().end, 32);
        assert_eq!(header_v4(&packet[..31]), None, "cut off");
    }

    #[test]
    fn a_filter_for_all_ids_has_room_in_the_kernel() {
        let all: Vec<u8> = (1..=255).collect();
        assert!(filter_v4(Delivery::Multicast, &all).len() <= 4096);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(packet in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(header) = header_v4(&packet) {
                prop_assert!(header.start <= header.end && header.end <= packet.len());
            }
        }
    }
}
