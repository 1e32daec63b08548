//! VRRP on the wire: multicast and unicast, IPv4 and IPv6, what is let in and what is not.

use super::bed::{Bed, PORT, inside, ip, port, soon};
use pgbaton::error::Kind;
use pgbaton::host::clock::Deadline;
use pgbaton::net::driver::readable_before;
use pgbaton::net::netlink::Netlink;
use pgbaton::net::packet::PacketSocket;
use pgbaton::net::socket::{Delivery, VrrpSocket};
use pgbaton::units::vrrp_group;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::time::Duration;

const A: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

fn advert(vrid: u8) -> Vec<u8> {
    vec![0x31, vrid, 150, 1, 0, 100, 0, 0, 10, 77, 0, 100]
}

fn link_local() -> Ipv6Addr {
    let (mut netlink, link) = (Netlink::open().unwrap(), port());
    let mut addresses =
        netlink.addresses().unwrap().into_iter().filter(|address| address.index == link.index);
    addresses
        .find_map(|found| match found.address.address() {
            IpAddr::V6(ip) if ip.is_unicast_link_local() => Some(ip),
            _ => None,
        })
        .unwrap()
}

/// The next packet: source, destination, TTL, payload.
fn next(socket: &VrrpSocket) -> (IpAddr, IpAddr, u8, Vec<u8>) {
    let (mut buffer, deadline) = ([0; 2048], soon());
    loop {
        if let Some(got) = socket.recv(&mut buffer).unwrap() {
            return (got.source, got.destination, got.ttl, got.payload.to_vec());
        }
        assert!(readable_before(socket.as_fd(), deadline).unwrap(), "nothing came");
    }
}

#[test]
fn multicast_adverts_go_both_ways_with_ttl_255_and_only_the_wanted_ids_arrive() {
    let bed = Bed::new();
    let open = |source| move || VrrpSocket::open_v4(&port(), Delivery::Multicast, source, &[51, 53]).unwrap();
    let (a, b) = (inside(&bed.a, open(A)), inside(&bed.b, open(B)));
    let group = vrrp_group(true);
    for (from, to, source) in [(&a, &b, A), (&b, &a, B)] {
        from.send(&advert(52), group).unwrap();
        let mut other_type = advert(51);
        other_type[0] = 0x32;
        from.send(&other_type, group).unwrap();
        let mut probe = advert(51);
        probe[0] = 0x3f;
        from.send(&probe, group).unwrap();
        from.send(&advert(51), group).unwrap();
        from.send(&advert(53), group).unwrap();
        assert_eq!(next(to), (IpAddr::V4(source), group, 255, probe));
        assert_eq!(next(to), (IpAddr::V4(source), group, 255, advert(51)));
        assert_eq!(next(to), (IpAddr::V4(source), group, 255, advert(53)));
        assert_eq!(to.recv(&mut [0; 2048]).unwrap(), None);
    }
    a.set_vrids(&[]).unwrap();
    b.send(&advert(52), group).unwrap();
    assert_eq!(next(&a).3, advert(52));
    // Not to the group: nothing for a multicast receiver.
    b.send(&advert(51), A.into()).unwrap();
    b.send(&advert(54), group).unwrap();
    assert_eq!(next(&a).3, advert(54));
    assert_eq!(a.recv(&mut [0; 2048]).unwrap(), None);
}

#[test]
fn ipv6_adverts_arrive_with_a_checksum_made_by_the_kernel() {
    let bed = Bed::new();
    let open = || {
        let source = link_local();
        (source, VrrpSocket::open_v6(&port(), Delivery::Multicast, source, &[51]).unwrap())
    };
    let ((from_a, a), (from_b, b)) = (inside(&bed.a, open), inside(&bed.b, open));
    let group = vrrp_group(false);
    for (from, to, source) in [(&a, &b, from_a), (&b, &a, from_b)] {
        from.send(&advert(52), group).unwrap();
        from.send(&advert(51), group).unwrap();
        let (got_source, destination, ttl, payload) = next(to);
        assert_eq!((got_source, destination, ttl), (IpAddr::V6(source), group, 255));
        assert_eq!(payload[..6], advert(51)[..6]);
        assert_ne!(payload[6..8], [0, 0], "the kernel has filled in the checksum");
        assert_eq!(to.recv(&mut [0; 2048]).unwrap(), None);
    }
}

#[test]
fn unicast_adverts_arrive_and_multicast_ones_are_ignored() {
    let bed = Bed::new();
    let a = inside(&bed.a, || VrrpSocket::open_v4(&port(), Delivery::Unicast, A, &[51]).unwrap());
    let b = inside(&bed.b, || VrrpSocket::open_v4(&port(), Delivery::Unicast, B, &[51]).unwrap());
    a.send(&advert(51), vrrp_group(true)).unwrap();
    a.send(&advert(51), B.into()).unwrap();
    assert_eq!(next(&b), (A.into(), B.into(), 255, advert(51)));
    assert_eq!(b.recv(&mut [0; 2048]).unwrap(), None);

    let (a6, b6): (Ipv6Addr, Ipv6Addr) = ("fd77::1".parse().unwrap(), "fd77::2".parse().unwrap());
    let a = inside(&bed.a, || VrrpSocket::open_v6(&port(), Delivery::Unicast, a6, &[51]).unwrap());
    let b = inside(&bed.b, || VrrpSocket::open_v6(&port(), Delivery::Unicast, b6, &[51]).unwrap());
    a.send(&advert(51), b6.into()).unwrap();
    let (source, destination, ttl, _) = next(&b);
    assert_eq!((source, destination, ttl), (a6.into(), b6.into(), 255));
}

#[test]
fn the_ip_header_is_the_one_that_keepalived_sends() {
    let bed = Bed::new();
    let wire = inside(&bed.b, || PacketSocket::receiver(&port(), 0x0800, &[]).unwrap());
    let a = inside(&bed.a, || VrrpSocket::open_v4(&port(), Delivery::Multicast, A, &[51]).unwrap());
    a.send(&advert(51), vrrp_group(true)).unwrap();
    let mut buffer = [0; 2048];
    let frame = loop {
        assert!(readable_before(wire.as_fd(), soon()).unwrap());
        let frame = wire.receive(&mut buffer).unwrap().unwrap_or_default().to_vec();
        if frame.get(23) == Some(&112) {
            break frame;
        }
    };
    assert_eq!(frame[..6], [1, 0, 0x5e, 0, 0, 18]);
    assert_eq!(frame[14..18], [0x45, 0xc0, 0, 32]);
    assert_eq!(frame[20..24], [0, 0, 255, 112], "no fragment flags, TTL 255");
    assert_eq!(frame[26..34], [10, 77, 0, 1, 224, 0, 0, 18]);
    assert_eq!(frame[34..46], advert(51));
}

#[test]
fn a_source_that_the_interface_does_not_have_is_a_configuration_error() {
    let bed = Bed::new();
    inside(&bed.a, || {
        let error = VrrpSocket::open_v4(&port(), Delivery::Multicast, B, &[51]).unwrap_err();
        assert_eq!(error.kind(), Kind::Config);
        assert_eq!(error.message(), "can't open the VRRP socket on \"port0\"");
        assert!(error.detail_text().unwrap().contains("10.77.0.2 isn't an address of the interface"));
        let foreign: Ipv6Addr = "fd77::2".parse().unwrap();
        assert_eq!(
            VrrpSocket::open_v6(&port(), Delivery::Unicast, foreign, &[51]).unwrap_err().kind(),
            Kind::Config
        );
    });
}

#[test]
fn the_group_is_still_joined_after_the_link_was_down_and_sending_meanwhile_is_unreachable() {
    let bed = Bed::new();
    let a = inside(&bed.a, || VrrpSocket::open_v4(&port(), Delivery::Multicast, A, &[51]).unwrap());
    let b = inside(&bed.b, || VrrpSocket::open_v4(&port(), Delivery::Multicast, B, &[51]).unwrap());
    ip(&["-n", &bed.a, "link", "set", PORT, "down"]);
    let error = a.send(&advert(51), vrrp_group(true)).unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable, "{error}");
    assert_eq!(a.recv(&mut [0; 2048]).unwrap(), None);
    ip(&["-n", &bed.a, "link", "set", PORT, "up"]);
    let deadline = soon();
    // Frames are lost until both ends have seen the carrier.
    while !readable_before(a.as_fd(), Deadline::after(Duration::from_millis(20))).unwrap() {
        assert!(!deadline.passed(), "nothing came");
        b.send(&advert(51), vrrp_group(true)).ok();
    }
    assert_eq!(next(&a).3, advert(51));
}
