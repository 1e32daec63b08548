//! Interfaces and their addresses, by netlink: what there is, adding and deleting, and being told of changes.
//!
//! Synchronous: the kernel answers a request before `send` returns, in microseconds. An address may be given
//! a *lease* (a valid lifetime): the kernel then removes it by itself when nobody renews it.

mod macvlan;
mod message;
mod monitor;

pub use monitor::{Monitor, NetEvent, decode};

use crate::error::{Error, Kind, Result};
use crate::host::clock::Deadline;
use crate::net::caps::{self, Needs};
use crate::net::driver::readable_before;
use crate::units::{InterfaceAddress, Mac};
use message::{Adding, Content};
use netlink_packet_core::NLM_F_DUMP_INTR;
use netlink_packet_route::address::AddressFlags;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

/// The mark on the addresses that this program adds (`IFA_PROTO`): the IP protocol number of VRRP.
pub const PROTOCOL: u8 = 112;

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number of the interface.
    pub index: u32,
    /// The name, as in `ip link`.
    pub name: String,
    /// The Ethernet address; `None` for loopback and everything else that isn't Ethernet.
    pub mac: Option<Mac>,
    /// Whether an administrator has set it up.
    pub up: bool,
    /// Whether the cable (or what stands for it) is connected.
    pub carrier: bool,
    /// The kind of a virtual interface, `veth`, `bond`, `vlan`…; `None` for hardware.
    pub kind: Option<String>,
    /// What a person or a program has written on it (`ip link set alias`).
    pub alias: Option<String>,
    /// The largest packet in octets.
    pub mtu: u32,
}

impl Link {
    /// Returns whether packets can leave: set up, and connected.
    pub const fn is_usable(&self) -> bool {
        self.up && self.carrier
    }
}

/// An address that an interface has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The kernel's number of the interface.
    pub index: u32,
    /// The address and the length of its network prefix.
    pub address: InterfaceAddress,
    /// The label (IPv4), usually the name of the interface.
    pub label: Option<String>,
    /// Who added it (`IFA_PROTO`), if that was said; [`PROTOCOL`] is ours. Kernels before 5.18 don't keep it.
    pub protocol: Option<u8>,
    /// How long it stays valid; `None` is for ever.
    pub valid: Option<Duration>,
    /// How long it is preferred as a source address; `None` is for ever.
    pub preferred: Option<Duration>,
    /// The kernel's `IFA_F_` flags.
    pub flags: u32,
}

impl Address {
    /// Returns whether duplicate address detection is still going on: the address can't be used yet.
    pub const fn is_tentative(&self) -> bool {
        self.has(AddressFlags::Tentative)
    }

    /// Returns whether duplicate address detection found another host with this address.
    pub const fn dad_failed(&self) -> bool {
        self.has(AddressFlags::Dadfailed)
    }

    /// Returns whether another address of the same network came before it (IPv4).
    pub const fn is_secondary(&self) -> bool {
        self.address.address().is_ipv4() && self.has(AddressFlags::Secondary)
    }

    /// Returns whether it is no longer preferred as a source address.
    pub const fn is_deprecated(&self) -> bool {
        self.has(AddressFlags::Deprecated)
    }

    /// Returns whether this program added it.
    pub fn is_ours(&self) -> bool {
        self.protocol == Some(PROTOCOL)
    }

    const fn has(&self, flag: AddressFlags) -> bool {
        self.flags & flag.bits() != 0
    }
}

/// How far an address is known (`ip address add … scope`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Scope {
    /// Everywhere.
    #[default]
    Global,
    /// On the link: never chosen as the source of what goes further.
    Link,
    /// On this host.
    Host,
}

/// How to add an address.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent flags of the kernel, each with its name")]
pub struct AddressOptions {
    /// The label (IPv4 only, at most 15 octets).
    pub label: Option<String>,
    /// How long the address stays when nobody renews it (rounded up to whole seconds); `None` is for ever.
    pub lease: Option<Duration>,
    /// Skip duplicate address detection (IPv6): it takes a second or more, and we probe by ourselves.
    pub nodad: bool,
    /// Never choose it as a source address (IPv6: preferred lifetime zero).
    pub preferred_zero_v6: bool,
    /// How far the address is known (IPv4; for IPv6 the address itself says it).
    pub scope: Scope,
    /// Add no route for the network of the address. Needed where a permanent IPv6 address becomes a leased
    /// one beside others of its network: the kernel would let the network's route end with the lease.
    pub no_prefix_route: bool,
    /// The mark to add (`IFA_PROTO`).
    pub protocol: u8,
    /// Change the address if it is there already: this is how a lease is renewed.
    pub replace: bool,
}

impl Default for AddressOptions {
    fn default() -> Self {
        Self {
            label: None,
            lease: None,
            nodad: true,
            preferred_zero_v6: false,
            scope: Scope::Global,
            no_prefix_route: false,
            protocol: PROTOCOL,
            replace: false,
        }
    }
}

/// What a request has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// The address wasn't there and is now.
    Added,
    /// The address was there and has new properties (a renewed lease).
    Replaced,
    /// The address was there and is no longer.
    Removed,
    /// It was already so.
    Unchanged,
}

impl Change {
    /// Returns whether anything changed that others can see; a renewed lease isn't.
    pub const fn is_change(self) -> bool {
        matches!(self, Self::Added | Self::Removed)
    }
}

/// A connection to the kernel's routing netlink.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Opens the connection; needs no right.
    pub fn open() -> Result<Self> {
        let open = || -> io::Result<Socket> {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            socket.set_non_blocking(true)?;
            // Words instead of bare error numbers, and our request not repeated in the answer. Kernels
            // before 4.12 know neither and still answer.
            socket.set_ext_ack(true).ok();
            socket.set_cap_ack(true).ok();
            Ok(socket)
        };
        let socket = open().map_err(|error| Error::failed("can't open netlink").detail(error))?;
        // Lists come in datagrams of at most 32 KiB.
        Ok(Self { socket, sequence: 0, buffer: vec![0; 64 * 1024] })
    }

    /// Returns all interfaces of this network namespace.
    pub fn links(&mut self) -> Result<Vec<Link>> {
        self.list(true, |content| match content {
            Content::Link(link) => Some(link),
            _ => None,
        })
    }

    /// Returns the addresses of all interfaces, IPv4 and IPv6.
    pub fn addresses(&mut self) -> Result<Vec<Address>> {
        self.list(false, |content| match content {
            Content::Address(address) => Some(address),
            _ => None,
        })
    }

    /// Returns the interface with this name; an unknown one is a configuration error that lists the others.
    pub fn link(&mut self, name: &str) -> Result<Link> {
        let links = self.links()?;
        if let Some(link) = links.iter().find(|link| link.name == name) {
            return Ok(link.clone());
        }
        let names: Vec<&str> = links.iter().map(|link| link.name.as_str()).collect();
        Err(Error::config(format!("no such interface \"{name}\""))
            .detail(format!("this machine has {}", names.join(", ")))
            .hint("ip link"))
    }

    /// Adds an address to an interface.
    ///
    /// An address that is there already is `Unchanged`, or `Replaced` with [`AddressOptions::replace`]:
    /// renewing a lease neither removes the address for a moment nor sends anything on the wire.
    pub fn add_address(
        &mut self,
        index: u32,
        address: InterfaceAddress,
        options: &AddressOptions,
    ) -> Result<Change> {
        let doing = || format!("can't add {address} to interface {index}");
        if let Some(label) = options.label.as_ref().filter(|label| label.len() > 15) {
            return Err(Error::config(format!("the label \"{label}\" is longer than 15 octets")));
        }
        let sequence = self.next();
        let (mut code, mut words) =
            self.change(&message::add_request(index, address, options, Adding::New, sequence), sequence)?;
        let mut change = Change::Added;
        if code == libc::EEXIST {
            if !options.replace {
                return Ok(Change::Unchanged);
            }
            let sequence = self.next();
            let request = message::add_request(index, address, options, Adding::NewOrChanged, sequence);
            (code, words) = self.change(&request, sequence)?;
            change = Change::Replaced;
        }
        added(code, words, address, doing).map(|()| change)
    }

    /// Renews the lease of an address that is there, with one request. One that isn't is not added: false then.
    ///
    /// So a renewal that comes late, after the address was removed or its lease has ended, can't bring it back.
    pub fn renew_address(
        &mut self,
        index: u32,
        address: InterfaceAddress,
        options: &AddressOptions,
    ) -> Result<bool> {
        let sequence = self.next();
        let request = message::add_request(index, address, options, Adding::Changed, sequence);
        match self.change(&request, sequence)? {
            (libc::EINVAL, _) => Ok(false),
            (code, words) => {
                added(code, words, address, || format!("can't renew {address} on interface {index}"))
                    .map(|()| true)
            }
        }
    }

    /// Deletes an address from an interface; one that isn't there is `Unchanged`.
    ///
    /// Deleting the first IPv4 address of a network makes the kernel delete the others of that network too,
    /// unless `promote_secondaries` is set: `net::vip` puts them back.
    pub fn delete_address(&mut self, index: u32, address: InterfaceAddress) -> Result<Change> {
        let sequence = self.next();
        let (code, words) = self.change(&message::delete_request(index, address, sequence), sequence)?;
        match code {
            0 => Ok(Change::Removed),
            // ENXIO: IPv6 is disabled on the interface, which has removed its addresses.
            libc::EADDRNOTAVAIL | libc::ENXIO => Ok(Change::Unchanged),
            _ => Err(refusal(code, words, format!("can't delete {address} from interface {index}"))),
        }
    }

    fn next(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        self.sequence
    }

    /// Sends a request and returns the kernel's answer: an error number (0 = done) and its words.
    fn change(&mut self, request: &[u8], sequence: u32) -> Result<(i32, Option<String>)> {
        self.send(request)?;
        let mut answer = None;
        let deadline = patience();
        while answer.is_none() {
            self.receive(sequence, deadline, |message| {
                if let Content::Answer(code, words) = message.content() {
                    answer = Some((code, words));
                }
            })?;
        }
        answer.ok_or_else(|| Error::failed("netlink gave no answer"))
    }

    /// Asks for a list, again when it changed while the kernel wrote it.
    fn list<T>(&mut self, links: bool, pick: impl Fn(Content) -> Option<T>) -> Result<Vec<T>> {
        let what = if links { "interfaces" } else { "addresses" };
        let mut last = Vec::new();
        for _ in 0..8 {
            let sequence = self.next();
            self.send(&message::list_request(links, sequence))?;
            let (mut items, mut ended, mut consistent) = (Vec::new(), None, true);
            let deadline = patience();
            while ended.is_none() {
                self.receive(sequence, deadline, |message| {
                    consistent &= message.flags & NLM_F_DUMP_INTR == 0;
                    match message.content() {
                        Content::Done(code) | Content::Answer(code, _) => ended = Some(code),
                        content => items.extend(pick(content)),
                    }
                })?;
            }
            if let Some(code) = ended.filter(|code| *code != 0) {
                return Err(refusal(code, None, format!("can't list the {what}")));
            }
            if consistent {
                return Ok(items);
            }
            last = items;
        }
        // It changes faster than it can be listed: the last list is as good as any.
        Ok(last)
    }

    fn send(&self, request: &[u8]) -> Result<()> {
        let kernel = SocketAddr::new(0, 0);
        match self.socket.send_to(request, &kernel, 0) {
            Ok(_) => Ok(()),
            Err(error) => Err(Error::failed("can't send to netlink").detail(error)),
        }
    }

    /// Waits for one datagram and hands its messages that answer `sequence` to `take`.
    fn receive(
        &mut self,
        sequence: u32,
        deadline: Deadline,
        mut take: impl FnMut(message::Message<'_>),
    ) -> Result<()> {
        loop {
            match self.socket.recv_from(&mut self.buffer.as_mut_slice(), 0) {
                Ok((length, sender)) => {
                    if sender.port_number() == 0 {
                        let datagram = self.buffer.get(..length).unwrap_or_default();
                        message::messages(datagram).filter(|m| m.sequence == sequence).for_each(&mut take);
                    }
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !readable_before(self.socket.as_fd(), deadline)? {
                        return Err(Error::new(Kind::TryAgain, "netlink doesn't answer"));
                    }
                }
                Err(error) => return Err(Error::failed("can't receive from netlink").detail(error)),
            }
        }
    }
}

/// Turns the kernel's answer to an added address into a result.
fn added(
    code: i32,
    words: Option<String>,
    address: InterfaceAddress,
    doing: impl FnOnce() -> String,
) -> Result<()> {
    match code {
        0 => Ok(()),
        libc::EACCES if address.address().is_ipv6() => {
            Err(refusal(code, words, doing()).hint("is IPv6 disabled? sysctl net.ipv6.conf.all.disable_ipv6"))
        }
        _ => Err(refusal(code, words, doing())),
    }
}

/// How long an answer may take: it is there at once, unless the kernel is in deep trouble.
fn patience() -> Deadline {
    Deadline::after(Duration::from_secs(5))
}

/// Turns an error number of the kernel into an error with its words.
fn refusal(code: i32, words: Option<String>, message: String) -> Error {
    let error = match code {
        libc::EPERM => caps::denied(message, Needs::NetAdmin),
        libc::ENODEV => Error::failed(message).detail("no such interface"),
        _ => Error::failed(message),
    };
    let error = if code == libc::ENODEV { error } else { error.detail(io::Error::from_raw_os_error(code)) };
    match words {
        Some(words) => error.detail(format!("the kernel says: {words}")),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_for_lack_of_rights_is_a_permission_error() {
        let error = refusal(libc::EPERM, None, "can't add 192.0.2.1/24 to interface 2".to_owned());
        assert_eq!(error.kind(), Kind::Permission);
        assert!(error.hints().iter().any(|hint| hint.contains("setcap")));
    }

    #[test]
    fn a_refusal_keeps_the_words_of_the_kernel() {
        let words = Some("Invalid prefix length".to_owned());
        let error = refusal(libc::EINVAL, words, "can't add it".to_owned());
        assert_eq!(
            error.to_string(),
            "can't add it (Invalid argument; the kernel says: Invalid prefix length)"
        );
    }

    #[test]
    fn only_appearing_and_going_are_changes() {
        assert!(Change::Added.is_change() && Change::Removed.is_change());
        assert!(!Change::Replaced.is_change() && !Change::Unchanged.is_change());
    }
}
