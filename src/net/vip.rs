//! The virtual IP: what is known of it, putting it up, taking it down, announcing it.
//!
//! The daemon and the verbs `vip up` and `vip down` do the same things through the same functions here.

use crate::error::{Error, Result};
use crate::host::clock::Deadline;
use crate::net::arp::ArpSocket;
use crate::net::clients::Clients;
use crate::net::ndp::NdpSocket;
use crate::net::netlink::{Address, AddressOptions, Change, Link, Netlink};
use crate::units::{InterfaceAddress, Mac};
use std::fs;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

/// What is known of a virtual IP on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VipFacts {
    /// The virtual IP.
    pub vip: InterfaceAddress,
    /// The interface it belongs on.
    pub link: Link,
    /// It as it is on that interface, maybe with another prefix length.
    pub present: Option<Address>,
    /// The interface that has it instead (or as well).
    pub on_other_interface: Option<(Link, Address)>,
    /// Whether the interface has an address of its own (not one that we added) in whose network the virtual
    /// IP is. Without one, the virtual IP would become the first address of its network: clients may not find the way to it, and
    /// when it goes, the kernel deletes later addresses of that network with it.
    pub subnet_ok: bool,
}

impl VipFacts {
    /// Returns whether the virtual IP is on its interface, with its prefix length, and can be used.
    pub fn is_up(&self) -> bool {
        self.present.as_ref().is_some_and(|present| present.address == self.vip && !present.dad_failed())
    }
}

/// Looks at the virtual IP. An interface that doesn't exist is a configuration error.
pub fn observe(netlink: &mut Netlink, vip: InterfaceAddress, interface: &str) -> Result<VipFacts> {
    let link = netlink.link(interface)?;
    let addresses = netlink.addresses()?;
    let same = |address: &&Address| address.address.address() == vip.address();
    let (here, elsewhere): (Vec<&Address>, Vec<&Address>) =
        addresses.iter().partition(|address| address.index == link.index);
    // If it is there twice, with two prefix lengths, the right one counts.
    let exact = here.iter().copied().find(|address| address.address == vip);
    let present = exact.or_else(|| here.iter().copied().find(same)).cloned();
    let subnet_ok = here.iter().any(|other| {
        other.address.address() != vip.address() && !other.is_ours() && other.address.contains(vip.address())
    });
    let on_other_interface = match elsewhere.into_iter().find(same) {
        Some(address) => netlink
            .links()?
            .into_iter()
            .find(|link| link.index == address.index)
            .map(|link| (link, address.clone())),
        None => None,
    };
    Ok(VipFacts { vip, link, present, on_other_interface, subnet_ok })
}

/// Puts the virtual IP on its interface, or renews its lease.
///
/// One with the wrong prefix length, or one that duplicate address detection has marked, is removed first.
/// Where the interface has its own address in the network, an IPv6 virtual IP gets no route for it: when a
/// permanent IPv6 address is given a lease, the kernel gives the *shared* route of the network that lease,
/// too, and the machine loses its network when it ends (seen on 6.18).
pub fn up(netlink: &mut Netlink, facts: &VipFacts, options: &AddressOptions) -> Result<Change> {
    if let Some((link, _)) = &facts.on_other_interface {
        return Err(Error::refused(format!("{} is on interface \"{}\"", facts.vip, link.name))
            .detail(format!("the configured interface is \"{}\"", facts.link.name))
            .hint(format!("ip address del {} dev {}", facts.vip, link.name)));
    }
    let unfit = facts.present.as_ref().filter(|_| !facts.is_up());
    if let Some(present) = unfit {
        remove(netlink, present)?;
    }
    let mut options = options.clone();
    options.no_prefix_route |= facts.subnet_ok && facts.vip.address().is_ipv6();
    netlink.add_address(facts.link.index, facts.vip, &options)
}

/// Takes the virtual IP from its interface, whatever its prefix length there.
pub fn down(netlink: &mut Netlink, facts: &VipFacts) -> Result<Change> {
    match &facts.present {
        Some(present) => remove(netlink, present),
        None => Ok(Change::Unchanged),
    }
}

/// Ends the TCP connections to an address that is about to go, so that no client waits for an answer that can't
/// come; returns how many. An address that another interface has too stays this machine's, and they with it.
///
/// What isn't done at the deadline is left: the address must go.
pub fn end_connections(
    netlink: &mut Netlink,
    index: u32,
    address: IpAddr,
    deadline: Deadline,
) -> Result<usize> {
    let clients = Clients::of(address, index, deadline)?;
    if clients.count() == 0 {
        return Ok(0);
    }
    let scoped = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let stays = netlink
        .addresses()?
        .iter()
        .any(|other| other.address.address() == address && other.index != index && !scoped);
    if stays { Ok(0) } else { clients.end(deadline) }
}

/// Deletes an address and puts back what the kernel deletes with it: all later addresses of the same
/// network, when the deleted one was the first (and `promote_secondaries` is off).
pub fn remove(netlink: &mut Netlink, address: &Address) -> Result<Change> {
    let network = |other: &Address| {
        other.index == address.index
            && other.address != address.address
            && other.address.prefix() == address.address.prefix()
            && address.address.contains(other.address.address())
    };
    let others: Vec<Address> = if address.address.address().is_ipv4() && !address.is_secondary() {
        netlink.addresses()?.into_iter().filter(network).collect()
    } else {
        Vec::new()
    };
    let change = netlink.delete_address(address.index, address.address)?;
    for other in others {
        let options = AddressOptions {
            label: other.label.clone(),
            lease: other.valid,
            protocol: other.protocol.unwrap_or(0),
            ..AddressOptions::default()
        };
        // "Unchanged" where the kernel has kept it.
        netlink.add_address(other.index, other.address, &options)?;
    }
    Ok(change)
}

/// Tells the neighbours where the virtual IP is: gratuitous ARP (both forms), or an unsolicited neighbour
/// advertisement. Holds its socket open, so that a repetition costs one system call per frame.
#[derive(Debug)]
pub struct Announcer {
    vip: IpAddr,
    socket: Announce,
    router: bool,
}

#[derive(Debug)]
enum Announce {
    Arp(ArpSocket),
    Ndp(NdpSocket),
}

impl Announcer {
    /// Opens the socket.
    pub fn open(link: &Link, vip: InterfaceAddress) -> Result<Self> {
        let vip = vip.address();
        let (socket, router) = match vip {
            IpAddr::V4(_) => (Announce::Arp(ArpSocket::open_sender(link)?), false),
            IpAddr::V6(_) => (Announce::Ndp(NdpSocket::open(link)?), forwards_v6(link)),
        };
        Ok(Self { vip, socket, router })
    }

    /// Opens the socket so that it can also ask for the address first: one socket to open, and to close.
    pub fn open_asking(link: &Link, vip: InterfaceAddress) -> Result<Self> {
        match vip.address() {
            IpAddr::V4(ip) => {
                Ok(Self { vip: IpAddr::V4(ip), socket: Announce::Arp(ArpSocket::open(link)?), router: false })
            }
            IpAddr::V6(_) => Self::open(link, vip),
        }
    }

    /// Asks the network whether another host has the address. Only IPv4 is asked for: the kernel's own duplicate
    /// detection covers the other family.
    pub fn probe(&self, wait: Deadline) -> Result<Option<Mac>> {
        match (&self.socket, self.vip) {
            (Announce::Arp(socket), IpAddr::V4(ip)) => socket.probe(ip, socket.mac(), wait),
            _ => Ok(None),
        }
    }

    /// Sends the announcement once.
    pub fn announce(&self) -> Result<()> {
        match (&self.socket, self.vip) {
            (Announce::Arp(socket), IpAddr::V4(ip)) => socket.announce(ip, socket.mac()),
            (Announce::Ndp(socket), IpAddr::V6(ip)) => socket.announce(ip, socket.mac(), self.router),
            _ => Err(Error::failed("the announcer has a socket of the wrong family")),
        }
    }
}

impl AsFd for Announcer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Announce::Arp(socket) => socket.as_fd(),
            Announce::Ndp(socket) => socket.as_fd(),
        }
    }
}

/// Announces any address of one interface: what a daemon with many virtual IPs holds open, once per interface.
#[derive(Debug)]
pub struct LinkAnnouncer {
    arp: ArpSocket,
    ndp: NdpSocket,
    router: bool,
}

impl LinkAnnouncer {
    /// Opens the sockets.
    pub fn open(link: &Link) -> Result<Self> {
        Ok(Self {
            arp: ArpSocket::open_sender(link)?,
            ndp: NdpSocket::open(link)?,
            router: forwards_v6(link),
        })
    }

    /// Returns the Ethernet address that is announced.
    pub const fn mac(&self) -> Mac {
        self.arp.mac()
    }

    /// Sends the announcement of an address once.
    pub fn announce(&self, vip: IpAddr) -> Result<()> {
        match vip {
            IpAddr::V4(ip) => self.arp.announce(ip, self.arp.mac()),
            IpAddr::V6(ip) => self.ndp.announce(ip, self.ndp.mac(), self.router),
        }
    }
}

/// Announces the virtual IP once.
pub fn announce(link: &Link, vip: InterfaceAddress) -> Result<()> {
    Announcer::open(link, vip)?.announce()
}

/// Asks the network whether another host has the virtual IP; returns that host's Ethernet address, or `None`
/// when nobody answered before the deadline (which is no proof that nobody has it).
pub fn probe(link: &Link, vip: InterfaceAddress, wait: Deadline) -> Result<Option<Mac>> {
    match vip.address() {
        IpAddr::V4(ip) => {
            let socket = ArpSocket::open(link)?;
            socket.probe(ip, socket.mac(), wait)
        }
        IpAddr::V6(ip) => {
            let socket = NdpSocket::open_listener(link)?;
            socket.probe(ip, socket.mac(), wait)
        }
    }
}

/// Whether the interface forwards IPv6, that is, is a router's.
fn forwards_v6(link: &Link) -> bool {
    let path = format!("/proc/sys/net/ipv6/conf/{}/forwarding", link.name);
    fs::read_to_string(path).is_ok_and(|text| text.trim() != "0")
}
