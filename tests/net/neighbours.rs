//! ARP and neighbour discovery: probing, and what neighbours believe after an announcement.

use super::bed::{Bed, PORT, address, inside, ip, port, soon};
use pgbaton::host::clock::Deadline;
use pgbaton::net::arp::ArpSocket;
use pgbaton::net::driver::readable_before;
use pgbaton::net::netlink::{AddressOptions, Netlink};
use pgbaton::net::vip;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::time::Duration;

const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);

#[test]
fn a_probe_is_answered_by_the_host_that_has_the_address_and_by_nobody_else() {
    let bed = Bed::new();
    let theirs = inside(&bed.b, || {
        let link = port();
        let vip = address("10.77.0.100/24");
        Netlink::open().unwrap().add_address(link.index, vip, &AddressOptions::default()).unwrap();
        link.mac.unwrap()
    });
    inside(&bed.a, || {
        let socket = ArpSocket::open(&port()).unwrap();
        assert_eq!(socket.probe(VIP, socket.mac(), soon()).unwrap(), Some(theirs));
        let nobody = Ipv4Addr::new(10, 77, 0, 200);
        let short = Deadline::after(Duration::from_millis(60));
        assert_eq!(socket.probe(nobody, socket.mac(), short).unwrap(), None);
        // Answers with an address that the caller calls its own don't count.
        let short = Deadline::after(Duration::from_millis(60));
        assert_eq!(socket.probe(VIP, theirs, short).unwrap(), None);
        assert!(
            ip(&["-n", &bed.b, "neigh", "show"]).lines().all(|line| !line.starts_with("10.77.0.1 ")),
            "a probe leaves nothing in the neighbour's cache"
        );
    });
}

#[test]
fn an_event_loop_probes_without_waiting_and_is_not_woken_by_other_arp() {
    let bed = Bed::new();
    let (ours, theirs) = (
        inside(&bed.a, || ArpSocket::open(&port()).unwrap()),
        inside(&bed.b, || ArpSocket::open(&port()).unwrap()),
    );
    let other = Ipv4Addr::new(10, 77, 0, 9);
    theirs.announce(other, theirs.mac()).unwrap();
    ours.send_probe(VIP).unwrap();
    theirs.announce(other, theirs.mac()).unwrap();
    assert_eq!(ours.read_claim(VIP, ours.mac()).unwrap(), None);
    assert!(!readable_before(ours.as_fd(), Deadline::after(Duration::from_millis(30))).unwrap());
    theirs.announce(VIP, theirs.mac()).unwrap();
    assert!(readable_before(ours.as_fd(), soon()).unwrap());
    assert_eq!(ours.read_claim(VIP, ours.mac()).unwrap(), Some(theirs.mac()));
}

#[test]
fn a_socket_that_only_announces_refuses_to_probe_and_loopback_has_no_arp() {
    let bed = Bed::new();
    inside(&bed.a, || {
        let socket = ArpSocket::open_sender(&port()).unwrap();
        assert!(socket.send_probe(VIP).is_err());
        let lo = Netlink::open().unwrap().link("lo").unwrap();
        let error = ArpSocket::open(&lo).unwrap_err();
        assert_eq!(error.message(), "interface \"lo\" has no Ethernet address");
    });
}

#[test]
fn an_announcement_moves_the_address_in_the_caches_of_the_neighbours() {
    let bed = Bed::new();
    for vip in ["10.77.0.100/24", "fd77::100/64"].map(address) {
        let ip_text = vip.address().to_string();
        ip(&[
            "-n",
            &bed.b,
            "neigh",
            "replace",
            &ip_text,
            "lladdr",
            "02:00:00:00:00:99",
            "dev",
            PORT,
            "nud",
            "stale",
        ]);
        let mac = inside(&bed.a, || {
            let link = port();
            Netlink::open().unwrap().add_address(link.index, vip, &AddressOptions::default()).unwrap();
            vip::announce(&link, vip).unwrap();
            link.mac.unwrap().to_string()
        });
        let deadline = soon();
        loop {
            let shown = ip(&["-n", &bed.b, "neigh", "show", &ip_text, "dev", PORT]);
            if shown.contains(&mac) {
                break;
            }
            assert!(!deadline.passed(), "{shown}");
        }
    }
}

#[test]
fn sending_on_a_link_that_is_down_is_an_error_and_receiving_is_not() {
    let bed = Bed::new();
    inside(&bed.a, || {
        let link = port();
        let socket = ArpSocket::open(&link).unwrap();
        ip(&["-n", &bed.a, "link", "set", PORT, "down"]);
        let error = socket.announce(VIP, socket.mac()).unwrap_err();
        assert_eq!(error.kind(), pgbaton::error::Kind::Unreachable, "{error}");
        assert_eq!(socket.read_claim(VIP, socket.mac()).unwrap(), None);
    });
}

#[test]
fn a_virtual_ip_of_either_family_is_found_on_the_host_that_has_it() {
    let bed = Bed::new();
    for vip in ["10.77.0.100/24", "fd77::100/64"].map(address) {
        let silence = inside(&bed.a, || vip::probe(&port(), vip, Deadline::after(Duration::from_millis(60))));
        assert_eq!(silence.unwrap(), None, "{vip}");
        let theirs = inside(&bed.b, || {
            let link = port();
            Netlink::open().unwrap().add_address(link.index, vip, &AddressOptions::default()).unwrap();
            link.mac.unwrap()
        });
        assert_eq!(inside(&bed.a, || vip::probe(&port(), vip, soon())).unwrap(), Some(theirs), "{vip}");
        let own = inside(&bed.b, || vip::probe(&port(), vip, Deadline::after(Duration::from_millis(60))));
        assert_eq!(own.unwrap(), None, "{vip}");
    }
}
