//! The packet: octets that keepalived sent, the ladder of checks, and octets that nobody would send.

use super::{ip, vrid};
use pgbaton::units::vrrp_group;
use pgbaton::vrrp::checksum::{ChecksumForm, checksum};
use pgbaton::vrrp::types::{AdverInterval, Priority, Version, Vrid};
use pgbaton::vrrp::wire::{
    Advert, Discard, Probe, RxPacket, RxPolicy, TYPE_PROBE, parse, password, peek_vrid, strip_ipv4_header,
};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn advert(version: Version, priority: u8) -> Advert {
    Advert {
        version,
        vrid: vrid(),
        priority: Priority(priority),
        interval: AdverInterval::DEFAULT,
        addresses: vec![ip("10.77.0.100")],
        auth: None,
    }
}

fn policy(version: Version) -> RxPolicy {
    RxPolicy {
        version,
        vrid: vrid(),
        interval: AdverInterval::DEFAULT,
        addresses: vec![ip("10.77.0.100")],
        auth: None,
        own: ip("10.77.0.2"),
        min_ttl: 255,
        max_ttl: 255,
        peers: None,
        check_source: true,
        checksum: None,
    }
}

fn packet(payload: &[u8]) -> RxPacket<'_> {
    RxPacket { ttl: Some(255), source: ip("10.77.0.1"), destination: vrrp_group(true), payload }
}

fn refusal(packet: &RxPacket<'_>, policy: &RxPolicy) -> Option<Discard> {
    parse(packet, policy).err()
}

#[test]
fn packets_that_keepalived_sent_are_made_and_understood_to_the_octet() {
    use ChecksumForm::{MessageOnly, PseudoHeader};
    let group = vrrp_group(true);
    let with_password = Advert { auth: Some(password("secret12")), ..advert(Version::V2, 150) };
    let five_seconds = AdverInterval::from_centiseconds(500).unwrap();
    let slow = Advert { interval: five_seconds, vrid: vrid(), ..advert(Version::V3, 200) };
    for (name, advert, form, source, destination, hex) in [
        (
            "v2, no authentication",
            advert(Version::V2, 150),
            MessageOnly,
            "10.77.0.1",
            group,
            "2133960100013e190a4d00640000000000000000",
        ),
        (
            "v2, password",
            with_password,
            MessageOnly,
            "10.77.0.1",
            group,
            "213396010101cf9a0a4d00647365637265743132",
        ),
        (
            "v3, pseudo-header",
            advert(Version::V3, 150),
            PseudoHeader,
            "10.77.0.1",
            group,
            "31339601006442d90a4d0064",
        ),
        (
            "v3, message only",
            advert(Version::V3, 150),
            MessageOnly,
            "10.77.0.1",
            group,
            "3133960100642db60a4d0064",
        ),
        (
            "v3, unicast",
            advert(Version::V3, 150),
            PseudoHeader,
            "10.77.0.1",
            ip("10.77.0.2"),
            "313396010064189d0a4d0064",
        ),
        (
            "v3, another sender",
            advert(Version::V3, 200),
            PseudoHeader,
            "10.77.0.9",
            group,
            "3133c801006410d10a4d0064",
        ),
        (
            "v2, another sender",
            advert(Version::V2, 200),
            MessageOnly,
            "10.77.0.9",
            group,
            "2133c80100010c190a4d00640000000000000000",
        ),
        ("v3, five seconds", slow, PseudoHeader, "10.77.0.9", group, "3133c80101f40f410a4d0064"),
    ] {
        let source = ip(source);
        assert_eq!(advert.emit(form, source, destination), octets(hex), "{name}");
        let unicast = !destination.is_multicast();
        let policy = RxPolicy {
            auth: advert.auth,
            peers: unicast.then(|| vec![source]),
            min_ttl: if unicast { 64 } else { 255 },
            ..policy(advert.version)
        };
        let payload = octets(hex);
        let packet = RxPacket { ttl: Some(255), source, destination, payload: &payload };
        assert_eq!(parse(&packet, &policy), Ok((advert, form)), "{name}");
    }
}

#[test]
fn the_ipv6_packet_of_keepalived_is_made_and_understood_to_the_octet() {
    let source = ip("fe80::f4eb:dff:fea0:4d6");
    let group = vrrp_group(false);
    let addresses = vec![ip("fe80::100"), ip("fd00:77::100")];
    let advert = Advert { addresses: addresses.clone(), ..advert(Version::V3, 150) };
    let hex = "31339602006435ddfe800000000000000000000000000100fd000077000000000000000000000100";
    assert_eq!(advert.emit(ChecksumForm::MessageOnly, source, group), octets(hex), "IPv6 has one form only");
    let policy = RxPolicy { addresses, own: ip("fe80::1"), ..policy(Version::V3) };
    let payload = octets(hex);
    let packet = RxPacket { ttl: Some(255), source, destination: group, payload: &payload };
    assert_eq!(parse(&packet, &policy), Ok((advert, ChecksumForm::PseudoHeader)));
}

/// A way to spoil a packet, and what it is then refused for.
struct Fault {
    reason: Discard,
    spoil: fn(&mut Spoilt),
}

/// A packet in the making: octets before the checksum, and what is around them.
#[derive(Clone)]
struct Spoilt {
    octets: Vec<u8>,
    bad_checksum: bool,
    cut_to: Option<usize>,
    ttl: u8,
    policy: RxPolicy,
}

impl Spoilt {
    fn verdict(mut self) -> Result<(Advert, ChecksumForm), Discard> {
        if let Some(length) = self.cut_to {
            self.octets.truncate(length);
        }
        if self.octets.len() >= 8 {
            self.octets[6..8].fill(0);
            let sum = checksum(ChecksumForm::MessageOnly, ip("10.77.0.1"), vrrp_group(true), &self.octets);
            let sum = if self.bad_checksum { sum ^ 0x5555 } else { sum };
            self.octets[6..8].copy_from_slice(&sum.to_be_bytes());
        }
        parse(&RxPacket { ttl: Some(self.ttl), ..packet(&self.octets) }, &self.policy)
    }
}

/// The ladder of version 2, whose rungs can nearly all be combined.
const LADDER: &[Fault] = &[
    Fault { reason: Discard::Truncated, spoil: |p| p.cut_to = Some(7) },
    Fault { reason: Discard::Version, spoil: |p| p.octets[0] = p.octets[0] & 0x0f | 0x70 },
    Fault { reason: Discard::Type, spoil: |p| p.octets[0] = p.octets[0] & 0xf0 | 0x02 },
    Fault { reason: Discard::Vrid, spoil: |p| p.octets[1] = 77 },
    Fault { reason: Discard::VersionMismatch, spoil: |p| p.policy.version = Version::V3 },
    Fault { reason: Discard::Checksum, spoil: |p| p.bad_checksum = true },
    Fault { reason: Discard::Ttl, spoil: |p| p.ttl = 254 },
    Fault { reason: Discard::CountZero, spoil: |p| p.octets[3] = 0 },
    Fault { reason: Discard::Length, spoil: |p| p.cut_to = Some(p.cut_to.unwrap_or(19).min(19)) },
    Fault { reason: Discard::AuthType, spoil: |p| p.octets[4] = 2 },
    Fault { reason: Discard::IntervalZero, spoil: |p| p.octets[5] = 0 },
    Fault {
        reason: Discard::IntervalMismatch,
        spoil: |p| p.policy.interval = AdverInterval::from_centiseconds(300).unwrap(),
    },
    Fault { reason: Discard::AddressList, spoil: |p| p.policy.addresses = vec![ip("10.77.0.101")] },
    Fault { reason: Discard::Destination, spoil: |p| p.policy.peers = Some(vec![ip("10.77.0.3")]) },
    Fault { reason: Discard::OwnSource, spoil: |p| p.policy.own = ip("10.77.0.1") },
];

fn sound() -> Spoilt {
    Spoilt {
        octets: advert(Version::V2, 150).emit(ChecksumForm::MessageOnly, ip("10.77.0.1"), vrrp_group(true)),
        bad_checksum: false,
        cut_to: None,
        ttl: 255,
        policy: policy(Version::V2),
    }
}

#[test]
fn a_probe_is_never_an_advert_and_is_known_by_its_virtual_router_only() {
    for version in [Version::V2, Version::V3] {
        for form in [ChecksumForm::MessageOnly, ChecksumForm::PseudoHeader] {
            let probe = Probe { version, vrid: vrid() };
            let octets = probe.emit(form, ip("10.77.0.1"), vrrp_group(true));
            // Lowest priority, no address: two more reasons not to be taken for one.
            assert_eq!((octets[0] & 0xf, octets[2], octets[3]), (TYPE_PROBE, 1, 0));
            assert_eq!(refusal(&packet(&octets), &policy(version)), Some(Discard::Probe));
            let elsewhere = RxPolicy { vrid: Vrid::try_from(52).unwrap(), ..policy(version) };
            assert_eq!(refusal(&packet(&octets), &elsewhere), Some(Discard::Type));
            // All but the type is sane.
            let sum = checksum(ChecksumForm::MessageOnly, ip("10.77.0.1"), vrrp_group(true), &octets);
            assert!(version == Version::V3 && form == ChecksumForm::PseudoHeader || sum == 0);
        }
    }
}

#[test]
fn each_fault_alone_is_named() {
    assert!(sound().verdict().is_ok());
    for fault in LADDER {
        let mut spoilt = sound();
        (fault.spoil)(&mut spoilt);
        assert_eq!(spoilt.verdict().err(), Some(fault.reason));
    }
}

#[test]
fn of_two_faults_the_one_higher_on_the_ladder_is_named() {
    for (rung, first) in LADDER.iter().enumerate() {
        for second in &LADDER[rung + 1..] {
            // Without addresses the message needs fewer octets, so it can't be too short as well.
            if first.reason == Discard::CountZero && second.reason == Discard::Length {
                continue;
            }
            for (one, other) in [(first, second), (second, first)] {
                let mut spoilt = sound();
                (one.spoil)(&mut spoilt);
                (other.spoil)(&mut spoilt);
                let named = spoilt.verdict().err();
                assert_eq!(named, Some(first.reason), "{:?} with {:?}", first.reason, second.reason);
            }
        }
    }
}

#[test]
fn the_ladder_of_the_tests_is_in_the_order_of_the_reasons() {
    assert!(LADDER.is_sorted_by_key(|fault| fault.reason));
    assert!(Discard::ALL.is_sorted());
}

#[test]
fn a_packet_cut_short_anywhere_is_refused() {
    for version in [Version::V2, Version::V3] {
        let whole = advert(version, 150).emit(ChecksumForm::MessageOnly, ip("10.77.0.1"), vrrp_group(true));
        for length in 0..whole.len() {
            let refused = refusal(&packet(&whole[..length]), &policy(version));
            // Where only zeros are missing the checksum still holds, and the length is what tells.
            let expected: &[_] =
                if length < 8 { &[Discard::Truncated] } else { &[Discard::Checksum, Discard::Length] };
            assert!(refused.is_some_and(|r| expected.contains(&r)), "{version} cut to {length}: {refused:?}");
            let mut spoilt = Spoilt { policy: policy(version), octets: whole.clone(), ..sound() };
            spoilt.cut_to = Some(length);
            let expected = if length < 8 { Discard::Truncated } else { Discard::Length };
            assert_eq!(spoilt.verdict().err(), Some(expected), "{version} cut to {length}, checksum mended");
        }
    }
}

#[test]
fn an_interval_of_zero_is_refused_in_both_versions() {
    for version in [Version::V2, Version::V3] {
        let mut spoilt = Spoilt {
            policy: policy(version),
            octets: advert(version, 150).emit(ChecksumForm::MessageOnly, ip("10.77.0.1"), vrrp_group(true)),
            ..sound()
        };
        spoilt.octets[5] = 0;
        assert_eq!(spoilt.clone().verdict().err(), Some(Discard::IntervalZero));
        spoilt.octets[4] = 0xf0;
        let expected = if version == Version::V2 { Discard::AuthType } else { Discard::IntervalZero };
        assert_eq!(spoilt.verdict().err(), Some(expected), "the reserved bits are no interval");
    }
}

#[test]
fn the_reserved_bits_are_ignored_on_receipt_and_zero_on_sending() {
    let mut spoilt = Spoilt { policy: policy(Version::V3), ..sound() };
    spoilt.octets =
        advert(Version::V3, 150).emit(ChecksumForm::MessageOnly, ip("10.77.0.1"), vrrp_group(true));
    assert_eq!(spoilt.octets[4] & 0xf0, 0);
    spoilt.octets[4] |= 0xf0;
    assert_eq!(spoilt.verdict().unwrap().0.interval, AdverInterval::DEFAULT);
}

#[test]
fn version_three_takes_another_interval_and_other_addresses() {
    let mut spoilt = Spoilt { policy: policy(Version::V3), ..sound() };
    spoilt.octets =
        advert(Version::V3, 150).emit(ChecksumForm::MessageOnly, ip("10.77.0.1"), vrrp_group(true));
    spoilt.octets[5] = 7;
    spoilt.octets[11] = 99;
    let (advert, _) = spoilt.verdict().unwrap();
    assert_eq!(advert.interval.centiseconds(), 7);
    assert_eq!(advert.addresses, [ip("10.77.0.99")]);
}

#[test]
fn version_two_takes_other_addresses_from_the_owner_only() {
    let mut spoilt = sound();
    spoilt.octets[11] = 99;
    assert_eq!(spoilt.clone().verdict().err(), Some(Discard::AddressList));
    spoilt.octets[2] = 255;
    assert!(spoilt.verdict().is_ok());
}

#[test]
fn a_wrong_password_and_a_missing_one_are_told_apart() {
    let ours = Some(password("secret12"));
    let with = |auth: Option<[u8; 8]>| {
        Advert { auth, ..advert(Version::V2, 150) }.emit(
            ChecksumForm::MessageOnly,
            ip("10.77.0.1"),
            vrrp_group(true),
        )
    };
    let policy = RxPolicy { auth: ours, ..policy(Version::V2) };
    assert!(parse(&packet(&with(ours)), &policy).is_ok());
    assert_eq!(refusal(&packet(&with(Some(password("secret13")))), &policy), Some(Discard::AuthFailed));
    assert_eq!(refusal(&packet(&with(Some(password("secret")))), &policy), Some(Discard::AuthFailed));
    assert_eq!(refusal(&packet(&with(None)), &policy), Some(Discard::AuthType));
    let open = RxPolicy { auth: None, ..policy };
    assert_eq!(refusal(&packet(&with(ours)), &open), Some(Discard::AuthType));
    assert_eq!(password("a password that is too long"), *b"a passwo");
}

#[test]
fn families_must_go_together() {
    let octets = advert(Version::V3, 150).emit(ChecksumForm::MessageOnly, ip("10.77.0.1"), vrrp_group(true));
    let mixed = RxPacket { destination: vrrp_group(false), ..packet(&octets) };
    assert_eq!(refusal(&mixed, &policy(Version::V3)), Some(Discard::Family));
    let octets = advert(Version::V2, 150).emit(ChecksumForm::MessageOnly, ip("10.77.0.1"), vrrp_group(true));
    let v6 = RxPacket { source: ip("fe80::1"), destination: vrrp_group(false), ..packet(&octets) };
    assert_eq!(refusal(&v6, &policy(Version::V2)), Some(Discard::Family));
}

#[test]
fn the_first_ipv6_address_must_be_link_local_unless_ours_is_not() {
    let source = ip("fe80::2");
    let elsewhere = Advert { addresses: vec![ip("fd00::100")], ..advert(Version::V3, 150) };
    let octets = elsewhere.emit(ChecksumForm::PseudoHeader, source, vrrp_group(false));
    let packet = RxPacket { source, destination: vrrp_group(false), ..packet(&octets) };
    let ours = vec![ip("fe80::100"), ip("fd00::100")];
    let policy = RxPolicy { addresses: ours, own: ip("fe80::1"), ..policy(Version::V3) };
    assert_eq!(refusal(&packet, &policy), Some(Discard::NotLinkLocal));
    let alike = RxPolicy { addresses: vec![ip("fd00::100")], ..policy };
    assert!(parse(&packet, &alike).is_ok());
}

#[test]
fn a_unicast_router_hears_its_peers_only() {
    let destination = ip("10.77.0.2");
    let octets = advert(Version::V3, 150).emit(ChecksumForm::PseudoHeader, ip("10.77.0.1"), destination);
    let packet = RxPacket { ttl: Some(63), destination, ..packet(&octets) };
    let peers = Some(vec![ip("10.77.0.1")]);
    let policy = RxPolicy { peers, min_ttl: 0, ..policy(Version::V3) };
    assert!(parse(&packet, &policy).is_ok());
    assert!(parse(&RxPacket { ttl: None, ..packet }, &policy).is_ok());
    let near = RxPolicy { min_ttl: 64, ..policy.clone() };
    assert_eq!(refusal(&packet, &near), Some(Discard::Ttl));
    assert_eq!(refusal(&RxPacket { ttl: None, ..packet }, &near), Some(Discard::Ttl));
    let strangers = RxPolicy { peers: Some(vec![ip("10.77.0.3")]), ..policy.clone() };
    assert_eq!(refusal(&packet, &strangers), Some(Discard::UnknownPeer));
    let multicast = RxPolicy { peers: None, ..policy };
    assert_eq!(refusal(&packet, &multicast), Some(Discard::Destination));
}

#[test]
fn one_form_of_checksum_can_be_demanded() {
    let octets = advert(Version::V3, 150).emit(ChecksumForm::MessageOnly, ip("10.77.0.1"), vrrp_group(true));
    let only = |form| RxPolicy { checksum: Some(form), ..policy(Version::V3) };
    assert!(parse(&packet(&octets), &only(ChecksumForm::MessageOnly)).is_ok());
    assert_eq!(refusal(&packet(&octets), &only(ChecksumForm::PseudoHeader)), Some(Discard::Checksum));
    let v2 = advert(Version::V2, 150).emit(ChecksumForm::PseudoHeader, ip("10.77.0.1"), vrrp_group(true));
    let demanding = RxPolicy { checksum: Some(ChecksumForm::PseudoHeader), ..policy(Version::V2) };
    assert!(parse(&packet(&v2), &demanding).is_ok(), "version 2 has one form only");
}

#[test]
fn octets_after_the_message_are_ignored() {
    for version in [Version::V2, Version::V3] {
        let mut octets =
            advert(version, 150).emit(ChecksumForm::PseudoHeader, ip("10.77.0.1"), vrrp_group(true));
        octets.extend([0xa5; 28]);
        assert!(parse(&packet(&octets), &policy(version)).is_ok(), "{version}");
    }
}

#[test]
fn a_foreign_identifier_is_seen_at_a_glance() {
    assert_eq!(peek_vrid(&octets("3133")), Some(vrid()));
    assert_eq!(peek_vrid(&octets("31")), None);
    assert_eq!(peek_vrid(&octets("3100")), None);
}

fn ipv4(options: usize, message: &[u8]) -> Vec<u8> {
    let header = 20 + options;
    let mut packet = vec![0; header];
    packet[0] = 0x40 | u8::try_from(header / 4).unwrap();
    packet[1] = 0xc0;
    packet[2..4].copy_from_slice(&u16::try_from(header + message.len()).unwrap().to_be_bytes());
    packet[8] = 255;
    packet[9] = 112;
    packet[12..16].copy_from_slice(&[10, 77, 0, 1]);
    packet[16..20].copy_from_slice(&[224, 0, 0, 18]);
    packet.extend(message);
    packet
}

#[test]
fn an_ipv4_header_of_any_length_comes_off_and_padding_too() {
    for options in [0, 4, 40] {
        let mut buffer = ipv4(options, b"message!");
        buffer.extend([0; 18]);
        let (header, message) = strip_ipv4_header(&buffer).unwrap();
        assert_eq!(message, b"message!");
        assert_eq!(header.source, Ipv4Addr::new(10, 77, 0, 1));
        assert_eq!(header.destination, Ipv4Addr::new(224, 0, 0, 18));
        assert_eq!((header.ttl, header.header_len, header.total_len), (255, 20 + options, 28 + options));
    }
}

#[test]
fn an_ipv4_header_that_lies_is_refused() {
    let whole = ipv4(4, b"message!");
    let spoilt = |at: usize, value: u8| {
        let mut buffer = whole.clone();
        buffer[at] = value;
        strip_ipv4_header(&buffer).err()
    };
    assert_eq!(spoilt(0, 0x65), Some(Discard::IpHeader), "not version 4");
    assert_eq!(spoilt(0, 0x44), Some(Discard::IpHeader), "a header of 16 octets");
    assert_eq!(spoilt(3, 23), Some(Discard::IpHeader), "shorter than its own header");
    assert_eq!(spoilt(3, 200), Some(Discard::Truncated), "longer than what came");
    assert_eq!(spoilt(6, 0x20), Some(Discard::IpHeader), "more fragments");
    assert_eq!(spoilt(7, 1), Some(Discard::IpHeader), "a later fragment");
    assert_eq!(spoilt(6, 0x40), None, "don't fragment is fine");
    assert_eq!(spoilt(9, 17), Some(Discard::IpHeader), "UDP");
    for length in 0..whole.len() {
        assert_eq!(strip_ipv4_header(&whole[..length]).err(), Some(Discard::Truncated), "cut to {length}");
    }
}

fn any_advert() -> impl Strategy<Value = (Advert, IpAddr, ChecksumForm)> {
    let form = prop_oneof![Just(ChecksumForm::PseudoHeader), Just(ChecksumForm::MessageOnly)];
    let v4 = proptest::collection::vec(any::<[u8; 4]>().prop_map(IpAddr::from), 1..=255);
    let v6 =
        proptest::collection::vec(any::<[u8; 16]>().prop_map(IpAddr::from), 0..=20).prop_map(|mut list| {
            list.insert(0, IpAddr::from(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9)));
            list
        });
    let auth = proptest::option::of(any::<[u8; 8]>());
    (1..=255_u8, any::<u8>(), 1..=4095_u16, 1..=255_u8, v4, v6, auth, 0..3_u8, form).prop_map(
        |(vrid, priority, centiseconds, seconds, v4, v6, auth, kind, form)| {
            let v2 = kind == 0;
            let advert = Advert {
                version: if v2 { Version::V2 } else { Version::V3 },
                vrid: Vrid::try_from(vrid).unwrap(),
                priority: Priority(priority),
                interval: if v2 {
                    AdverInterval::from_seconds(seconds).unwrap()
                } else {
                    AdverInterval::from_centiseconds(centiseconds).unwrap()
                },
                addresses: if kind == 2 { v6 } else { v4 },
                auth: auth.filter(|_| v2),
            };
            (advert, if kind == 2 { ip("fe80::1") } else { ip("10.77.0.1") }, form)
        },
    )
}

fn policy_of(advert: &Advert) -> RxPolicy {
    RxPolicy {
        vrid: advert.vrid,
        interval: advert.interval,
        addresses: advert.addresses.clone(),
        auth: advert.auth,
        own: ip("10.77.0.2"),
        ..policy(advert.version)
    }
}

proptest! {
    #[test]
    fn what_is_sent_is_what_is_understood((advert, source, form) in any_advert()) {
        let destination = vrrp_group(source.is_ipv4());
        let octets = advert.emit(form, source, destination);
        let packet = RxPacket { ttl: Some(255), source, destination, payload: &octets };
        let (back, seen) = parse(&packet, &policy_of(&advert)).unwrap();
        prop_assert_eq!(&back, &advert);
        prop_assert_eq!(back.emit(seen, source, destination), octets);
    }

    #[test]
    fn one_wrong_bit_anywhere_is_noticed((advert, source, form) in any_advert(), bit in any::<proptest::sample::Index>()) {
        let destination = vrrp_group(source.is_ipv4());
        let mut octets = advert.emit(form, source, destination);
        let bit = bit.index(octets.len() * 8);
        octets[bit / 8] ^= 1 << (bit % 8);
        let packet = RxPacket { ttl: Some(255), source, destination, payload: &octets };
        prop_assert!(parse(&packet, &policy_of(&advert)).is_err());
    }

    #[test]
    fn nothing_that_arrives_can_panic(octets in proptest::collection::vec(any::<u8>(), 0..300), v6 in any::<bool>(), version in 2..=3_u8) {
        let source = if v6 { ip("fe80::1") } else { ip("10.77.0.1") };
        let version = Version::try_from(version).unwrap();
        let packet = RxPacket { ttl: Some(255), source, destination: vrrp_group(!v6), payload: &octets };
        prop_assert!(parse(&packet, &policy(version)).is_err(), "nobody guesses a checksum");
        if let Ok((header, message)) = strip_ipv4_header(&octets) {
            prop_assert_eq!(header.header_len + message.len(), header.total_len);
        }
        prop_assert_eq!(peek_vrid(&octets).is_some(), octets.get(1).is_some_and(|vrid| *vrid > 0));
    }

    #[test]
    fn nothing_that_looks_like_a_packet_can_panic(
        (advert, source, form) in any_advert(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
        length in any::<proptest::sample::Index>(),
    ) {
        let destination = vrrp_group(source.is_ipv4());
        let mut octets = advert.emit(form, source, destination);
        for (at, value) in changes {
            let at = at.index(octets.len());
            octets[at] = value;
        }
        octets.truncate(length.index(octets.len() + 1));
        let packet = RxPacket { ttl: Some(255), source, destination, payload: &octets };
        if let Ok((back, _)) = parse(&packet, &policy_of(&advert)) {
            prop_assert!(!back.addresses.is_empty());
        }
        prop_assert!(strip_ipv4_header(&octets).is_err(), "version 2 or 3 isn't IP version 4");
    }
}
