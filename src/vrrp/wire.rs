//! The packet: from octets to an [`Advert`] and back, and the ladder of checks between.
//!
//! ```text
//!  version 3                                        version 2
//!  0        1        2        3                     0        1        2        3
//! +----+----+--------+--------+--------+           +----+----+--------+--------+--------+
//! | 3  | 1  |  VRID  |priority| count  |           | 2  | 1  |  VRID  |priority| count  |
//! +----+----+--------+--------+--------+           +----+----+--------+--------+--------+
//! | 0  | centiseconds |    checksum     |           |  auth   | seconds |    checksum     |
//! +----+--------------+----------------+           +---------+---------+-----------------+
//! | count addresses of 4 or 16 octets  |           | count addresses of 4 octets         |
//! +------------------------------------+           | 8 octets of authentication data     |
//!                                                  +-------------------------------------+
//! ```
//!
//! Nothing that arrives can panic: every octet is reached through a slice pattern or `get`. A packet that is
//! refused is refused for the first reason on the ladder, so that a counter means one thing.

use super::checksum::{ChecksumForm, PROTOCOL, checksum};
use super::types::{AdverInterval, Priority, Version, Vrid};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An advertisement: the only message that VRRP has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Advert {
    /// The version of the packet.
    pub version: Version,
    /// The virtual router it is about.
    pub vrid: Vrid,
    /// The sender's priority; 0 when it leaves.
    pub priority: Priority,
    /// The sender's advertisement interval.
    pub interval: AdverInterval,
    /// The virtual addresses, in the family of the packet that carries them.
    pub addresses: Vec<IpAddr>,
    /// The password of version 2, filled up with zeros; `None` is authentication type 0.
    pub auth: Option<[u8; 8]>,
}

impl Advert {
    /// Returns the octets to send between these addresses, checksum included.
    ///
    /// The form is heeded where there is a choice: version 3 over IPv4.
    pub fn emit(&self, form: ChecksumForm, source: IpAddr, destination: IpAddr) -> Vec<u8> {
        let mut buffer = Vec::with_capacity(64);
        self.emit_into(&mut buffer, form, source, destination);
        buffer
    }

    /// Replaces the content of `buffer` with the octets to send; a sender reuses one buffer for ever.
    ///
    /// Addresses of another family than the source's, and those beyond the 255th, can't be in the packet and
    /// are left out; [`super::config::Config::check`] refuses such lists.
    pub fn emit_into(&self, buffer: &mut Vec<u8>, form: ChecksumForm, source: IpAddr, destination: IpAddr) {
        buffer.clear();
        buffer.extend([self.version.number() << 4 | TYPE_ADVERTISEMENT, self.vrid.get(), self.priority.0, 0]);
        match self.version {
            Version::V2 => {
                let seconds = (self.interval.centiseconds() / 100).clamp(1, 255);
                let auth_type = if self.auth.is_some() { AUTH_PASSWORD } else { AUTH_NONE };
                buffer.extend([auth_type, u8::try_from(seconds).unwrap_or(u8::MAX)]);
            }
            Version::V3 => {
                buffer.extend(self.interval.min(AdverInterval::LONGEST).centiseconds().to_be_bytes());
            }
        }
        buffer.extend([0, 0]);
        let mut count = 0_u8;
        for address in self.addresses.iter().filter(|a| a.is_ipv4() == source.is_ipv4()).take(255) {
            match address {
                IpAddr::V4(v4) => buffer.extend(v4.octets()),
                IpAddr::V6(v6) => buffer.extend(v6.octets()),
            }
            count = count.saturating_add(1);
        }
        if self.version == Version::V2 {
            buffer.extend(self.auth.unwrap_or_default());
        }
        if let Some(field) = buffer.get_mut(COUNT) {
            *field = count;
        }
        seal(buffer, self.version, form, source, destination);
    }
}

/// A message that asks nothing but whether it arrives: of a type that doesn't exist, so that every router has to
/// discard it (RFC 9568 §7.1), and ours counts it by its sender.
///
/// Should somebody take it for an advert all the same, it is one that changes nothing: of the lowest priority, with no
/// address, which is another reason to discard it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// The version of the packet.
    pub version: Version,
    /// The virtual router whose way it takes.
    pub vrid: Vrid,
}

impl Probe {
    /// Returns the octets to send between these addresses, checksum included.
    pub fn emit(self, form: ChecksumForm, source: IpAddr, destination: IpAddr) -> Vec<u8> {
        let Self { version, vrid } = self;
        let (priority, interval) = (Priority(1), AdverInterval::DEFAULT);
        let advert = Advert { version, vrid, priority, interval, addresses: Vec::new(), auth: None };
        let mut buffer = advert.emit(form, source, destination);
        if let Some(first) = buffer.first_mut() {
            *first = version.number() << 4 | TYPE_PROBE;
        }
        seal(&mut buffer, version, form, source, destination);
        buffer
    }
}

/// Writes the checksum of a message into it.
fn seal(buffer: &mut [u8], version: Version, form: ChecksumForm, source: IpAddr, destination: IpAddr) {
    if let Some(field) = buffer.get_mut(CHECKSUM..HEADER) {
        field.fill(0);
    }
    let sum = checksum(effective_form(version, source, form), source, destination, buffer);
    if let Some(field) = buffer.get_mut(CHECKSUM..HEADER) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
}

/// A packet as the socket gave it: the VRRP message and what the IP header said.
#[derive(Debug, Clone, Copy)]
pub struct RxPacket<'a> {
    /// Time to live or hop limit; `None` when the socket didn't tell.
    pub ttl: Option<u8>,
    /// The sender's address.
    pub source: IpAddr,
    /// The address that the packet was sent to.
    pub destination: IpAddr,
    /// The VRRP message, without the IP header.
    pub payload: &'a [u8],
}

/// What a virtual router demands of the packets it takes.
#[derive(Debug, Clone)]
pub struct RxPolicy {
    /// The version it speaks.
    pub version: Version,
    /// Its identifier.
    pub vrid: Vrid,
    /// Its interval; version 2 refuses another one.
    pub interval: AdverInterval,
    /// Its virtual addresses; version 2 refuses another list.
    pub addresses: Vec<IpAddr>,
    /// Its password, in version 2.
    pub auth: Option<[u8; 8]>,
    /// Its own address: what comes from there is its own echo.
    pub own: IpAddr,
    /// The lowest TTL it takes; 255 is the protocol's (nothing from beyond a router), 0 doesn't look.
    pub min_ttl: u8,
    /// The highest TTL it takes; less than 255 only makes sense with unicast peers behind routers.
    pub max_ttl: u8,
    /// The only senders it hears, when it speaks unicast; `None` is multicast.
    pub peers: Option<Vec<IpAddr>>,
    /// Whether a sender that isn't one of the peers is refused.
    pub check_source: bool,
    /// The only checksum form it takes (version 3 over IPv4); `None` takes both.
    pub checksum: Option<ChecksumForm>,
}

/// Why a packet was dropped, in the order in which it is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Discard {
    /// The IP header is malformed, a fragment, or of another protocol.
    IpHeader,
    /// Source and destination are of different families, or version 2 came over IPv6.
    Family,
    /// Fewer octets than the fixed header, or than the IP header promised.
    Truncated,
    /// Neither version 2 nor 3.
    Version,
    /// Not an advertisement.
    Type,
    /// A [`Probe`]: somebody looks whether it arrives.
    Probe,
    /// Another virtual router's.
    Vrid,
    /// The other version of the protocol than the one configured.
    VersionMismatch,
    /// The checksum is wrong.
    Checksum,
    /// The TTL is too low (it came through a router), or higher than configured.
    Ttl,
    /// No virtual address (erratum 8299).
    CountZero,
    /// Fewer octets than the count of addresses needs.
    Length,
    /// Another type of authentication than the one configured (version 2).
    AuthType,
    /// The wrong password (version 2).
    AuthFailed,
    /// An interval of 0, which would mean an advert at every moment (erratum 8301).
    IntervalZero,
    /// Another interval than ours (version 2; version 3 adopts it).
    IntervalMismatch,
    /// The first IPv6 address isn't link-local (erratum 8300).
    NotLinkLocal,
    /// Another list of addresses than ours, and not from the owner (version 2).
    AddressList,
    /// Multicast where unicast is configured, or the other way round.
    Destination,
    /// A sender that isn't on the list of unicast peers.
    UnknownPeer,
    /// Our own packet, come back.
    OwnSource,
    /// Without the signature that is demanded.
    Unsigned,
    /// With a wrong signature, or one of an unknown key.
    Signature,
    /// With a signature that is too old, or was seen before: a recording.
    Replayed,
    /// The router isn't running, or is kept out by a fault.
    NotRunning,
}

impl Discard {
    /// Every reason, in the order of the ladder.
    pub const ALL: [Self; 25] = [
        Self::IpHeader,
        Self::Family,
        Self::Truncated,
        Self::Version,
        Self::Type,
        Self::Probe,
        Self::Vrid,
        Self::VersionMismatch,
        Self::Checksum,
        Self::Ttl,
        Self::CountZero,
        Self::Length,
        Self::AuthType,
        Self::AuthFailed,
        Self::IntervalZero,
        Self::IntervalMismatch,
        Self::NotLinkLocal,
        Self::AddressList,
        Self::Destination,
        Self::UnknownPeer,
        Self::OwnSource,
        Self::Unsigned,
        Self::Signature,
        Self::Replayed,
        Self::NotRunning,
    ];

    /// Returns the name of its counter.
    pub const fn counter(self) -> &'static str {
        match self {
            Self::IpHeader => "discarded_ip_header",
            Self::Family => "discarded_family",
            Self::Truncated => "discarded_truncated",
            Self::Version => "discarded_version",
            Self::Type => "discarded_type",
            Self::Probe => "discarded_probe",
            Self::Vrid => "discarded_vrid",
            Self::VersionMismatch => "discarded_version_mismatch",
            Self::Checksum => "discarded_checksum",
            Self::Ttl => "discarded_ttl",
            Self::CountZero => "discarded_count_zero",
            Self::Length => "discarded_length",
            Self::AuthType => "discarded_auth_type",
            Self::AuthFailed => "discarded_auth_failed",
            Self::IntervalZero => "discarded_interval_zero",
            Self::IntervalMismatch => "discarded_interval_mismatch",
            Self::NotLinkLocal => "discarded_not_link_local",
            Self::AddressList => "discarded_address_list",
            Self::Destination => "discarded_destination",
            Self::UnknownPeer => "discarded_unknown_peer",
            Self::OwnSource => "discarded_own_source",
            Self::Unsigned => "discarded_unsigned",
            Self::Signature => "discarded_signature",
            Self::Replayed => "discarded_replayed",
            Self::NotRunning => "discarded_not_running",
        }
    }

    /// Returns the reason as a clause for a log line.
    pub const fn explain(self) -> &'static str {
        match self {
            Self::IpHeader => "its IP header isn't that of a VRRP packet",
            Self::Family => "its address family and its VRRP version don't go together",
            Self::Truncated => "it is shorter than a VRRP header",
            Self::Version => "its VRRP version doesn't exist",
            Self::Type => "it isn't an advertisement",
            Self::Probe => "it only asks whether it arrives",
            Self::Vrid => "it is for another virtual router",
            Self::VersionMismatch => "it has another VRRP version than configured here",
            Self::Checksum => "its checksum is wrong",
            Self::Ttl => "its TTL isn't in the accepted range: it came through a router",
            Self::CountZero => "it has no virtual address",
            Self::Length => "it is too short for its addresses",
            Self::AuthType => "it has another authentication type than configured here",
            Self::AuthFailed => "its password is wrong",
            Self::IntervalZero => "its advertisement interval is zero",
            Self::IntervalMismatch => "its advertisement interval differs from the one configured here",
            Self::NotLinkLocal => "its first IPv6 address isn't link-local",
            Self::AddressList => "its virtual addresses differ from those configured here",
            Self::Destination => "it mixes multicast and unicast",
            Self::UnknownPeer => "its sender isn't one of the configured peers",
            Self::OwnSource => "its source address is our own",
            Self::Unsigned => "it isn't signed",
            Self::Signature => "its signature is wrong, or of a key that isn't configured here",
            Self::Replayed => {
                "its signature is too old or was seen before: a recording, or the clocks differ"
            }
            Self::NotRunning => "this virtual router isn't running",
        }
    }
}

/// Returns the identifier in a message that may be anything, so that foreign packets cost nothing more.
pub fn peek_vrid(payload: &[u8]) -> Option<Vrid> {
    payload.get(1).and_then(|number| Vrid::try_from(*number).ok())
}

/// Reads a packet and checks it (RFC 9568 §7.1 with errata 8298 to 8301; RFC 3768 §7.1).
///
/// Octets after the message are ignored here: [`super::signature`] knows what may stand there.
pub fn parse(packet: &RxPacket<'_>, policy: &RxPolicy) -> Result<(Advert, ChecksumForm), Discard> {
    let RxPacket { ttl, source, destination, payload } = *packet;
    if source.is_ipv4() != destination.is_ipv4() {
        return Err(Discard::Family);
    }
    let &[first, vrid, priority, count, fifth, sixth, _, _, ref rest @ ..] = payload else {
        return Err(Discard::Truncated);
    };
    let version = Version::try_from(first >> 4).map_err(|_| Discard::Version)?;
    match first & 0x0f {
        TYPE_ADVERTISEMENT => {}
        TYPE_PROBE if vrid == policy.vrid.get() => return Err(Discard::Probe),
        _ => return Err(Discard::Type),
    }
    if vrid != policy.vrid.get() {
        return Err(Discard::Vrid);
    }
    if version != policy.version {
        return Err(Discard::VersionMismatch);
    }
    if version == Version::V2 && source.is_ipv6() {
        return Err(Discard::Family);
    }
    let width = if source.is_ipv4() { 4 } else { 16 };
    let listed = usize::from(count) * width;
    let trailer = if version == Version::V2 { AUTH_DATA } else { 0 };
    let message = payload.get(..HEADER + listed + trailer).unwrap_or(payload);
    let form = match_checksum(version, source, destination, message, policy.checksum).or_else(|reason| {
        // With IPv6 it is the kernel's, which takes all that was sent for the message.
        if source.is_ipv4() || message.len() == payload.len() {
            return Err(reason);
        }
        match_checksum(version, source, destination, payload, policy.checksum)
    })?;
    if policy.min_ttl > 0 && ttl.is_none_or(|ttl| !(policy.min_ttl..=policy.max_ttl).contains(&ttl)) {
        return Err(Discard::Ttl);
    }
    if count == 0 {
        return Err(Discard::CountZero);
    }
    let (Some(list), Some(auth)) = (rest.get(..listed), rest.get(listed..listed + trailer)) else {
        return Err(Discard::Length);
    };
    let (interval, auth) = match version {
        Version::V2 => {
            let auth = match_auth(fifth, auth, policy.auth)?;
            (AdverInterval::from_seconds(sixth).map_err(|_| Discard::IntervalZero)?, auth)
        }
        Version::V3 => {
            let centiseconds = u16::from_be_bytes([fifth & 0x0f, sixth]);
            (AdverInterval::from_centiseconds(centiseconds).map_err(|_| Discard::IntervalZero)?, None)
        }
    };
    if version == Version::V2 && interval != policy.interval {
        return Err(Discard::IntervalMismatch);
    }
    let addresses = read_addresses(list, width);
    if starts_elsewhere(&addresses) && !starts_elsewhere(&policy.addresses) {
        return Err(Discard::NotLinkLocal);
    }
    let priority = Priority(priority);
    if version == Version::V2 && priority != Priority::OWNER && !same_set(&addresses, &policy.addresses) {
        return Err(Discard::AddressList);
    }
    if destination.is_multicast() == policy.peers.is_some() {
        return Err(Discard::Destination);
    }
    if source == policy.own {
        return Err(Discard::OwnSource);
    }
    if policy.check_source && policy.peers.as_ref().is_some_and(|peers| !peers.contains(&source)) {
        return Err(Discard::UnknownPeer);
    }
    Ok((Advert { version, vrid: policy.vrid, priority, interval, addresses, auth }, form))
}

/// Splits a payload of version 3 into the message and what stands behind it, by the count of addresses.
pub fn split(payload: &[u8], ipv4: bool) -> Option<(&[u8], &[u8])> {
    let width = if ipv4 { 4 } else { 16 };
    payload.split_at_checked(HEADER + usize::from(*payload.get(COUNT)?) * width)
}

/// What a raw IPv4 socket puts before the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4Header {
    /// The sender.
    pub source: Ipv4Addr,
    /// The address it was sent to.
    pub destination: Ipv4Addr,
    /// Time to live.
    pub ttl: u8,
    /// Octets of the header, options included.
    pub header_len: usize,
    /// Octets of the packet by its own account; what the buffer has beyond is Ethernet padding.
    pub total_len: usize,
}

/// Takes the IPv4 header off what a raw socket received, whatever its length.
pub fn strip_ipv4_header(buffer: &[u8]) -> Result<(Ipv4Header, &[u8]), Discard> {
    let &[
        first,
        _tos,
        len_high,
        len_low,
        _,
        _,
        frag_high,
        frag_low,
        ttl,
        protocol,
        _,
        _,
        s0,
        s1,
        s2,
        s3,
        d0,
        d1,
        d2,
        d3,
        ..,
    ] = buffer
    else {
        return Err(Discard::Truncated);
    };
    let header_len = usize::from(first & 0x0f) * 4;
    let total_len = usize::from(u16::from_be_bytes([len_high, len_low]));
    // All but the don't-fragment and reserved bits must be zero: a fragment has no VRRP header to look at.
    let fragment = u16::from_be_bytes([frag_high, frag_low]) & 0x3fff;
    if first >> 4 != 4 || header_len < 20 || total_len < header_len || protocol != PROTOCOL || fragment != 0 {
        return Err(Discard::IpHeader);
    }
    let payload = buffer.get(header_len..total_len).ok_or(Discard::Truncated)?;
    let header = Ipv4Header {
        source: Ipv4Addr::new(s0, s1, s2, s3),
        destination: Ipv4Addr::new(d0, d1, d2, d3),
        ttl,
        header_len,
        total_len,
    };
    Ok((header, payload))
}

/// Returns a password as the eight octets of the packet: cut off or filled up with zeros, as keepalived does.
pub fn password(text: &str) -> [u8; 8] {
    let mut octets = [0; 8];
    for (slot, octet) in octets.iter_mut().zip(text.bytes()) {
        *slot = octet;
    }
    octets
}

/// Returns the form that this version and family really use.
fn effective_form(version: Version, source: IpAddr, wanted: ChecksumForm) -> ChecksumForm {
    match (version, source) {
        (Version::V2, _) => ChecksumForm::MessageOnly,
        (Version::V3, IpAddr::V6(_)) => ChecksumForm::PseudoHeader,
        (Version::V3, IpAddr::V4(_)) => wanted,
    }
}

fn match_checksum(
    version: Version,
    source: IpAddr,
    destination: IpAddr,
    message: &[u8],
    only: Option<ChecksumForm>,
) -> Result<ChecksumForm, Discard> {
    [ChecksumForm::PseudoHeader, ChecksumForm::MessageOnly]
        .into_iter()
        .filter(|form| effective_form(version, source, *form) == *form)
        .filter(|form| effective_form(version, source, only.unwrap_or(*form)) == *form)
        .find(|form| checksum(*form, source, destination, message) == 0)
        .ok_or(Discard::Checksum)
}

fn match_auth(auth_type: u8, data: &[u8], ours: Option<[u8; 8]>) -> Result<Option<[u8; 8]>, Discard> {
    match (auth_type, ours) {
        (AUTH_NONE, None) => Ok(None),
        (AUTH_PASSWORD, Some(ours)) => {
            // All octets are compared, so that the time taken doesn't tell how many were right.
            let difference = ours.iter().zip(data).fold(0, |all, (a, b)| all | (a ^ b));
            if difference == 0 { Ok(Some(ours)) } else { Err(Discard::AuthFailed) }
        }
        _ => Err(Discard::AuthType),
    }
}

fn read_addresses(list: &[u8], width: usize) -> Vec<IpAddr> {
    list.chunks_exact(width)
        .filter_map(|octets| match width {
            4 => <[u8; 4]>::try_from(octets).ok().map(|v4| IpAddr::V4(Ipv4Addr::from(v4))),
            _ => <[u8; 16]>::try_from(octets).ok().map(|v6| IpAddr::V6(Ipv6Addr::from(v6))),
        })
        .collect()
}

/// Returns whether this is a list of IPv6 addresses whose first one isn't link-local.
///
/// A router that is itself configured so can't demand more of its peers.
fn starts_elsewhere(addresses: &[IpAddr]) -> bool {
    matches!(addresses.first(), Some(IpAddr::V6(first)) if !first.is_unicast_link_local())
}

/// Returns whether two lists hold the same addresses; their order means nothing.
pub fn same_set(one: &[IpAddr], other: &[IpAddr]) -> bool {
    one == other
        || one.iter().all(|address| other.contains(address))
            && other.iter().all(|address| one.contains(address))
}

const TYPE_ADVERTISEMENT: u8 = 1;
/// The type of a [`Probe`], which no version of the protocol defines.
pub const TYPE_PROBE: u8 = 15;
const AUTH_NONE: u8 = 0;
const AUTH_PASSWORD: u8 = 1;
const COUNT: usize = 3;
const CHECKSUM: usize = 6;
const HEADER: usize = 8;
const AUTH_DATA: usize = 8;
