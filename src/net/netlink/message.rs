//! Netlink messages as bytes: pure, so that any bytes can be tried on it.
//!
//! Only the attributes that are needed are decoded, one by one: an attribute that a newer kernel adds, or
//! one that can't be read, never costs us the message around it.

use super::{Address, AddressOptions, Link, Scope};
use crate::units::{InterfaceAddress, Mac};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR,
    NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload, NlaBuffer, NlasIterator, Parseable,
};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeader, AddressHeaderFlags, AddressMessage, AddressProtocol,
    AddressScope, CacheInfo,
};
use netlink_packet_route::link::{LinkFlags, LinkHeader, LinkLayerType, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;
/// The attribute of an acknowledgement that holds the kernel's explanation.
const ERROR_TEXT: u16 = 1;
/// The kernel's "for ever".
const FOREVER: u32 = u32::MAX;

/// One message of a datagram.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    payload: &'a [u8],
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    Link(Link),
    LinkGone {
        index: u32,
        name: String,
    },
    Address(Address),
    AddressGone(Address),
    /// The end of a list, with the error that ended it (0 = none).
    Done(i32),
    /// An acknowledgement: the error number (0 = it worked) and the kernel's own words.
    Answer(i32, Option<String>),
    /// Something else, or something that can't be read.
    Other,
}

/// Splits a datagram into its messages; stops at the first one that can't be.
pub(super) fn messages(datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let buffer = NetlinkBuffer::new_checked(rest).ok()?;
        let length = usize::try_from(buffer.length()).ok()?;
        let message = Message {
            kind: buffer.message_type(),
            flags: buffer.flags(),
            sequence: buffer.sequence_number(),
            payload: buffer.payload(),
        };
        // The next one begins at a multiple of four; the last one may end before it.
        rest = length.checked_next_multiple_of(4).and_then(|next| rest.get(next..)).unwrap_or_default();
        Some(message)
    })
}

impl Message<'_> {
    /// Decodes the message.
    pub(super) fn content(&self) -> Content {
        match self.kind {
            NLMSG_DONE => Content::Done(self.code()),
            NLMSG_ERROR => Content::Answer(self.code(), self.explanation()),
            libc::RTM_NEWLINK => link(self.payload).map_or(Content::Other, Content::Link),
            libc::RTM_DELLINK => link(self.payload)
                .map_or(Content::Other, |link| Content::LinkGone { index: link.index, name: link.name }),
            libc::RTM_NEWADDR => address(self.payload).map_or(Content::Other, Content::Address),
            libc::RTM_DELADDR => address(self.payload).map_or(Content::Other, Content::AddressGone),
            _ => Content::Other,
        }
    }

    /// The error number at the start of an acknowledgement or of the end of a list, as a positive number.
    fn code(&self) -> i32 {
        let octets = self.payload.get(..4).and_then(|octets| octets.try_into().ok());
        octets.map_or(0, i32::from_ne_bytes).checked_neg().unwrap_or(i32::MAX)
    }

    /// The extended acknowledgement: attributes after the error number and the header of our request.
    fn explanation(&self) -> Option<String> {
        let attributes = self.payload.get(20..)?;
        let text = attribute(attributes, ERROR_TEXT)?;
        Some(string(text)).filter(|text| !text.is_empty())
    }
}

/// Serializes a request for the list of links or of addresses.
pub(super) fn list_request(links: bool, sequence: u32) -> Vec<u8> {
    let message = if links {
        RouteNetlinkMessage::GetLink(LinkMessage::default())
    } else {
        RouteNetlinkMessage::GetAddress(AddressMessage::default())
    };
    serialize(message, NLM_F_REQUEST | NLM_F_DUMP, sequence)
}

/// What a request does about an address that is there, and about one that isn't.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Adding {
    /// Adds it; one that is there is refused.
    New,
    /// Changes it; one that isn't there is added.
    NewOrChanged,
    /// Changes it; one that isn't there is refused with `EINVAL`.
    ///
    /// `NLM_F_REPLACE` without `NLM_F_CREATE` should say that, but the kernel adds the address all the same, of either
    /// family ("userspace already relies on not having to provide this", its source says). What it does do, since
    /// 4.1: a *new* address with `IFA_F_MCAUTOJOIN` is refused unless it is a multicast group, before anything is
    /// added; and the flag means nothing to one that is there (IPv6 remembers it: `ip address` shows `autojoin`).
    Changed,
}

/// Serializes a request to add an address, or to change one that is there.
pub(super) fn add_request(
    index: u32,
    address: InterfaceAddress,
    options: &AddressOptions,
    adding: Adding,
    sequence: u32,
) -> Vec<u8> {
    let mut message = address_message(index, address);
    message.header.scope = match options.scope {
        Scope::Global => AddressScope::Universe,
        Scope::Link => AddressScope::Link,
        Scope::Host => AddressScope::Host,
    };
    if let Some(broadcast) = broadcast(address) {
        message.attributes.push(AddressAttribute::Broadcast(broadcast));
    }
    if let Some(label) = options.label.as_ref().filter(|_| address.address().is_ipv4()) {
        message.attributes.push(AddressAttribute::Label(label.clone()));
    }
    message.attributes.push(AddressAttribute::Protocol(AddressProtocol::from(options.protocol)));
    let not_preferred = options.preferred_zero_v6 && address.address().is_ipv6();
    if options.lease.is_some() || not_preferred {
        let valid = options.lease.map_or(FOREVER, seconds);
        let mut lifetime = CacheInfo::default();
        lifetime.ifa_valid = valid;
        lifetime.ifa_preferred = if not_preferred { 0 } else { valid };
        message.attributes.push(AddressAttribute::CacheInfo(lifetime));
    }
    let mut flags = AddressFlags::empty();
    flags.set(AddressFlags::Nodad, options.nodad && address.address().is_ipv6());
    flags.set(AddressFlags::Noprefixroute, options.no_prefix_route);
    flags.set(AddressFlags::Mcautojoin, adding == Adding::Changed);
    message.attributes.push(AddressAttribute::Flags(flags));
    let how = match adding {
        Adding::New => NLM_F_CREATE | NLM_F_EXCL,
        Adding::NewOrChanged => NLM_F_CREATE | NLM_F_REPLACE,
        Adding::Changed => NLM_F_REPLACE,
    };
    serialize(RouteNetlinkMessage::NewAddress(message), NLM_F_REQUEST | NLM_F_ACK | how, sequence)
}

/// Serializes a request to delete an address.
pub(super) fn delete_request(index: u32, address: InterfaceAddress, sequence: u32) -> Vec<u8> {
    let message = address_message(index, address);
    serialize(RouteNetlinkMessage::DelAddress(message), NLM_F_REQUEST | NLM_F_ACK, sequence)
}

fn address_message(index: u32, address: InterfaceAddress) -> AddressMessage {
    let ip = address.address();
    let mut message = AddressMessage::default();
    message.header = AddressHeader {
        family: if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 },
        prefix_len: address.prefix(),
        flags: AddressHeaderFlags::empty(),
        scope: AddressScope::Universe,
        index,
    };
    message.attributes.push(AddressAttribute::Local(ip));
    message.attributes.push(AddressAttribute::Address(ip));
    message
}

pub(super) fn serialize(message: RouteNetlinkMessage, flags: u16, sequence: u32) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = sequence;
    let mut packet = NetlinkMessage::new(header, NetlinkPayload::from(message));
    packet.finalize();
    let mut buffer = vec![0; packet.buffer_len()];
    packet.serialize(&mut buffer);
    buffer
}

/// Whole seconds, rounded up: the kernel refuses a lifetime of zero.
fn seconds(duration: Duration) -> u32 {
    let whole = duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0));
    u32::try_from(whole.max(1)).unwrap_or(FOREVER)
}

fn broadcast(address: InterfaceAddress) -> Option<Ipv4Addr> {
    let IpAddr::V4(ip) = address.address() else { return None };
    let host_bits = u32::MAX.checked_shr(u32::from(address.prefix())).unwrap_or(0);
    (address.prefix() < 31).then(|| Ipv4Addr::from(u32::from(ip) | host_bits))
}

fn link(payload: &[u8]) -> Option<Link> {
    let header = LinkHeader::parse(payload).ok()?;
    // A port that leaves a bridge is announced as a deleted link of the family AF_BRIDGE: the interface
    // itself is still there.
    if header.interface_family != AddressFamily::Unspec {
        return None;
    }
    let attributes = payload.get(LINK_HEADER..)?;
    let ethernet = header.link_layer_type == LinkLayerType::Ether;
    let mac = attribute(attributes, libc::IFLA_ADDRESS).and_then(|octets| octets.try_into().ok()).map(Mac);
    let mtu = attribute(attributes, libc::IFLA_MTU).and_then(|octets| octets.try_into().ok());
    let info = attribute(attributes, libc::IFLA_LINKINFO);
    Some(Link {
        index: header.index,
        name: attribute(attributes, libc::IFLA_IFNAME).map(string)?,
        mac: mac.filter(|_| ethernet),
        up: header.flags.contains(LinkFlags::Up),
        carrier: header.flags.contains(LinkFlags::LowerUp),
        kind: info.and_then(|info| attribute(info, libc::IFLA_INFO_KIND)).map(string),
        alias: attribute(attributes, libc::IFLA_IFALIAS).map(string),
        mtu: mtu.map_or(0, u32::from_ne_bytes),
    })
}

fn address(payload: &[u8]) -> Option<Address> {
    let header = AddressHeader::parse(payload).ok()?;
    let (mut local, mut remote, mut lifetime) = (None, None, None);
    let (mut label, mut protocol) = (None, None);
    let mut flags = u32::from(header.flags.bits());
    for nla in attributes(payload.get(ADDRESS_HEADER..)?) {
        match AddressAttribute::parse(&nla) {
            Ok(AddressAttribute::Local(ip)) => local = Some(ip),
            Ok(AddressAttribute::Address(ip)) => remote = Some(ip),
            Ok(AddressAttribute::Label(text)) => label = Some(text),
            Ok(AddressAttribute::Protocol(number)) => protocol = Some(u8::from(number)),
            Ok(AddressAttribute::CacheInfo(info)) => lifetime = Some(info),
            Ok(AddressAttribute::Flags(bits)) => flags = bits.bits(),
            Ok(_) | Err(_) => {}
        }
    }
    // On a point-to-point link "address" is the other end, and "local" is ours.
    let address = InterfaceAddress::new(local.or(remote)?, header.prefix_len)?;
    let limited = |seconds: u32| (seconds != FOREVER).then(|| Duration::from_secs(seconds.into()));
    Some(Address {
        index: header.index,
        address,
        label,
        protocol,
        valid: lifetime.and_then(|info| limited(info.ifa_valid)),
        preferred: lifetime.and_then(|info| limited(info.ifa_preferred)),
        flags,
    })
}

fn attributes(bytes: &[u8]) -> impl Iterator<Item = NlaBuffer<&[u8]>> {
    NlasIterator::new(bytes).map_while(Result::ok)
}

fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|nla| nla.kind() == kind).and_then(|nla| {
        // The iterator's items borrow from themselves; the value is cut out of the original bytes instead.
        let value = nla.into_inner();
        let length = value.get(..2).and_then(|octets| octets.try_into().ok()).map(u16::from_ne_bytes)?;
        value.get(4..usize::from(length))
    })
}

/// Text up to the first zero octet; what isn't UTF-8 is replaced.
fn string(octets: &[u8]) -> String {
    let text = octets.split(|octet| *octet == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vip() -> InterfaceAddress {
        "192.0.2.10/24".parse().unwrap()
    }

    #[test]
    fn what_is_asked_for_is_read_back_from_the_same_bytes() {
        let options = AddressOptions {
            label: Some("eth0:vip".to_owned()),
            lease: Some(Duration::from_millis(2500)),
            ..AddressOptions::default()
        };
        let bytes = add_request(7, vip(), &options, Adding::New, 3);
        let message = messages(&bytes).next().unwrap();
        assert_eq!(message.sequence, 3);
        let Content::Address(address) = message.content() else { panic!("{message:?}") };
        assert_eq!((address.index, address.address), (7, vip()));
        assert_eq!(address.label.as_deref(), Some("eth0:vip"));
        assert_eq!(address.protocol, Some(112));
        assert_eq!(address.valid, Some(Duration::from_secs(3)), "a lease is rounded up to whole seconds");
    }

    #[test]
    fn the_broadcast_address_follows_from_the_prefix() {
        let of = |text: &str| broadcast(text.parse().unwrap());
        assert_eq!(of("192.0.2.10/24"), Some(Ipv4Addr::new(192, 0, 2, 255)));
        assert_eq!(of("192.0.2.10/31"), None);
        assert_eq!(of("192.0.2.10/32"), None);
        assert_eq!(of("2001:db8::1/64"), None);
    }

    #[test]
    fn an_error_answer_keeps_the_words_of_the_kernel() {
        let mut bytes = Vec::new();
        let text = b"ipv6: IPv6 is disabled\0\0";
        bytes.extend_from_slice(&u32::try_from(16 + 20 + 4 + text.len()).unwrap().to_ne_bytes());
        bytes.extend_from_slice(&NLMSG_ERROR.to_ne_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&9_u32.to_ne_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&(-libc::EACCES).to_ne_bytes());
        bytes.extend_from_slice(&[0; 16]);
        bytes.extend_from_slice(&u16::try_from(4 + text.len()).unwrap().to_ne_bytes());
        bytes.extend_from_slice(&ERROR_TEXT.to_ne_bytes());
        bytes.extend_from_slice(text);
        let message = messages(&bytes).next().unwrap();
        assert_eq!(
            message.content(),
            Content::Answer(libc::EACCES, Some("ipv6: IPv6 is disabled".to_owned()))
        );
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for message in messages(&bytes) {
                let _ = message.content();
            }
        }

        #[test]
        fn a_damaged_message_never_panics(at in 0_usize..92, value: u8, cut in 0_usize..92, kind in 16_u16..24) {
            let mut bytes = add_request(7, vip(), &AddressOptions::default(), Adding::New, 3);
            bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
            let length = bytes.len();
            bytes[at % length] = value;
            for message in messages(&bytes).chain(messages(&bytes[..cut % length])) {
                let _ = message.content();
            }
        }
    }
}
