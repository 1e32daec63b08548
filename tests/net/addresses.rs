//! Netlink: adding, renewing, deleting addresses, and being told.

use super::bed::{Bed, PORT, address, events_until, inside, ip, port, soon};
use pgbaton::error::Kind;
use pgbaton::net::driver::readable_before;
use pgbaton::net::netlink::{Address, AddressOptions, Change, Monitor, NetEvent, Netlink};
use pgbaton::net::packet::PacketSocket;
use pgbaton::net::vip;
use pgbaton::units::{InterfaceAddress, Mac};
use std::os::fd::AsFd;
use std::time::Duration;

const VIPS: [&str; 2] = ["10.77.0.100/24", "fd77::100/64"];

fn find(netlink: &mut Netlink, wanted: InterfaceAddress) -> Option<Address> {
    netlink.addresses().unwrap().into_iter().find(|found| found.address == wanted)
}

fn leased(seconds: u64) -> AddressOptions {
    AddressOptions { lease: Some(Duration::from_secs(seconds)), replace: true, ..AddressOptions::default() }
}

#[test]
fn an_address_is_added_once_renewed_and_deleted_once() {
    let bed = Bed::new();
    inside(&bed.a, || {
        let (mut netlink, link) = (Netlink::open().unwrap(), port());
        for vip in VIPS.map(address) {
            let plain = AddressOptions::default();
            assert_eq!(netlink.add_address(link.index, vip, &plain).unwrap(), Change::Added, "{vip}");
            assert_eq!(netlink.add_address(link.index, vip, &plain).unwrap(), Change::Unchanged);
            let found = find(&mut netlink, vip).unwrap();
            assert!(found.is_ours() && !found.is_tentative() && !found.is_deprecated());
            assert_eq!((found.index, found.valid), (link.index, None));
            assert_eq!(netlink.add_address(link.index, vip, &leased(50)).unwrap(), Change::Replaced);
            let lease = find(&mut netlink, vip).unwrap().valid.unwrap();
            assert!((40..=50).contains(&lease.as_secs()), "{lease:?}");
            assert_eq!(netlink.delete_address(link.index, vip).unwrap(), Change::Removed);
            assert_eq!(netlink.delete_address(link.index, vip).unwrap(), Change::Unchanged);
            assert_eq!(find(&mut netlink, vip), None);
        }
    });
}

#[test]
fn a_renewal_never_brings_an_address_back() {
    let bed = Bed::new();
    inside(&bed.a, || {
        let (mut netlink, link) = (Netlink::open().unwrap(), port());
        // In a network of the interface's, in none, alone; of both families.
        for vip in [VIPS[0], VIPS[1], "10.78.0.100/24", "10.79.0.100/32", "fd78::100/128"].map(address) {
            let lease =
                || find(&mut Netlink::open().unwrap(), vip).map(|found| found.valid.unwrap().as_secs());
            assert!(!netlink.renew_address(link.index, vip, &leased(50)).unwrap(), "{vip} isn't there");
            assert_eq!(lease(), None);
            netlink.add_address(link.index, vip, &leased(5)).unwrap();
            assert!(netlink.renew_address(link.index, vip, &leased(50)).unwrap());
            assert!((40..=50).contains(&lease().unwrap()), "{vip}: {:?}", lease());
            netlink.delete_address(link.index, vip).unwrap();
            assert!(!netlink.renew_address(link.index, vip, &leased(50)).unwrap());
            assert_eq!(lease(), None);
            // Nor when the lease has ended by itself.
            netlink.add_address(link.index, vip, &leased(1)).unwrap();
            let mut monitor = Monitor::open().unwrap();
            events_until(
                &mut monitor,
                |event| matches!(event, NetEvent::AddressRemoved(gone) if gone.address == vip),
            );
            assert!(!netlink.renew_address(link.index, vip, &leased(50)).unwrap());
            assert_eq!(lease(), None);
        }
    });
}

#[test]
fn label_and_preference_are_what_was_asked_for() {
    let bed = Bed::new();
    inside(&bed.a, || {
        let (mut netlink, link) = (Netlink::open().unwrap(), port());
        let options = AddressOptions {
            label: Some("port0:vip".to_owned()),
            preferred_zero_v6: true,
            ..AddressOptions::default()
        };
        for vip in VIPS.map(address) {
            netlink.add_address(link.index, vip, &options).unwrap();
        }
        let [v4, v6] = VIPS.map(|vip| find(&mut netlink, address(vip)).unwrap());
        assert_eq!(v4.label.as_deref(), Some("port0:vip"));
        assert!(v4.is_secondary() && !v4.is_deprecated());
        assert!(v6.is_deprecated() && v6.valid.is_none());
        let long = AddressOptions { label: Some("x".repeat(16)), ..AddressOptions::default() };
        assert_eq!(
            netlink.add_address(link.index, address("10.77.0.101/24"), &long).unwrap_err().kind(),
            Kind::Config
        );
    });
}

#[test]
fn a_lease_that_nobody_renews_ends_and_the_monitor_tells() {
    let bed = Bed::new();
    inside(&bed.a, || {
        let (mut netlink, link) = (Netlink::open().unwrap(), port());
        let mut monitors = [Monitor::open().unwrap(), Monitor::open().unwrap()];
        for vip in VIPS.map(address) {
            netlink.add_address(link.index, vip, &leased(1)).unwrap();
        }
        for (vip, monitor) in VIPS.map(address).into_iter().zip(&mut monitors) {
            events_until(monitor, |event| matches!(event, NetEvent::AddressRemoved(a) if a.address == vip));
            assert_eq!(find(&mut netlink, vip), None);
            assert!(find(&mut netlink, address("10.77.0.1/24")).is_some());
            assert!(find(&mut netlink, address("fd77::1/64")).is_some());
        }
        assert!(
            !ip(&["-n", &bed.a, "-6", "route", "show", "fd77::/64"]).is_empty(),
            "the network's own route stays"
        );
        assert!(!ip(&["-n", &bed.a, "route", "show", "10.77.0.0/24"]).is_empty());
    });
}

#[test]
fn renewing_a_lease_neither_removes_the_address_nor_sends_a_frame_nor_touches_the_routes() {
    const EVERYTHING: u16 = 3; // ETH_P_ALL
    let bed = Bed::new();
    let listener = inside(&bed.b, || PacketSocket::receiver(&port(), EVERYTHING, &[]).unwrap());
    inside(&bed.a, || {
        let (mut netlink, link) = (Netlink::open().unwrap(), port());
        for vip in VIPS.map(address) {
            netlink.add_address(link.index, vip, &leased(20)).unwrap();
        }
        let mut monitor = Monitor::open().unwrap();
        let routes = || {
            let v4 = ip(&["-n", &bed.a, "route", "show"]);
            (v4, ip(&["-n", &bed.a, "-6", "route", "show", "fd77::/64"]))
        };
        let before = routes();
        assert!(!before.1.contains("expires"), "{before:?}");
        let marker = PacketSocket::sender(&link).unwrap();
        let frame = |kind: u8| -> Vec<u8> {
            let mut frame = [Mac::BROADCAST.0, link.mac.unwrap().0].concat();
            frame.extend([0x88, 0xb5, kind]);
            frame.resize(60, 0);
            frame
        };
        marker.send(&frame(1)).unwrap();
        for _ in 0..20 {
            for vip in VIPS.map(address) {
                assert_eq!(netlink.add_address(link.index, vip, &leased(20)).unwrap(), Change::Replaced);
                assert!(netlink.renew_address(link.index, vip, &leased(20)).unwrap());
            }
        }
        marker.send(&frame(2)).unwrap();
        assert_eq!(routes(), before);
        let events = monitor.read().unwrap();
        assert!(events.iter().all(|event| matches!(event, NetEvent::AddressAdded(_))), "{events:?}");

        let (mut between, mut buffer) = (None, [0; 2048]);
        loop {
            assert!(readable_before(listener.as_fd(), soon()).unwrap());
            while let Some(received) = listener.receive(&mut buffer).unwrap() {
                match (received[12..15] == [0x88, 0xb5, 1], received[12..15] == [0x88, 0xb5, 2]) {
                    (true, _) => between = Some(Vec::new()),
                    (_, true) => {
                        assert_eq!(between, Some(Vec::<Vec<u8>>::new()), "frames between the markers");
                        return;
                    }
                    // What isn't about the addresses (multicast listener reports) is no concern.
                    _ => {
                        if let Some(frames) = between.as_mut().filter(|_| mentions_a_vip(received)) {
                            frames.push(received.to_vec());
                        }
                    }
                }
            }
        }
    });
}

fn mentions_a_vip(frame: &[u8]) -> bool {
    let v4 = [10, 77, 0, 100];
    let v6 = "fd77::100".parse::<std::net::Ipv6Addr>().unwrap().octets();
    frame.windows(4).any(|window| window == v4) || frame.windows(16).any(|window| window == v6)
}

#[test]
fn the_monitor_tells_of_links_and_addresses_that_others_change() {
    let bed = Bed::new();
    inside(&bed.a, || {
        let mut monitor = Monitor::open().unwrap();
        assert_eq!(monitor.read().unwrap(), []);
        ip(&["-n", &bed.a, "addr", "add", "10.77.0.50/24", "dev", PORT]);
        let fifty = address("10.77.0.50/24");
        events_until(&mut monitor, |event| matches!(event, NetEvent::AddressAdded(a) if a.address == fifty));
        ip(&["-n", &bed.a, "addr", "del", "10.77.0.50/24", "dev", PORT]);
        events_until(
            &mut monitor,
            |event| matches!(event, NetEvent::AddressRemoved(a) if a.address == fifty),
        );

        // The other end of the cable: ours is still set up, but has lost its carrier.
        ip(&["-n", &bed.b, "link", "set", PORT, "down"]);
        let lost = |event: &NetEvent| matches!(event, NetEvent::LinkChanged(l) if l.name == PORT && l.up && !l.carrier);
        events_until(&mut monitor, lost);
        assert!(!port().is_usable());
        ip(&["-n", &bed.b, "link", "set", PORT, "up"]);
        events_until(&mut monitor, |event| matches!(event, NetEvent::LinkChanged(l) if l.is_usable()));

        // Our own end down: IPv6 addresses go with it.
        ip(&["-n", &bed.a, "link", "set", PORT, "down"]);
        let v6 = address("fd77::1/64");
        events_until(&mut monitor, |event| matches!(event, NetEvent::AddressRemoved(a) if a.address == v6));
        ip(&["-n", &bed.a, "link", "del", PORT]);
        events_until(&mut monitor, |event| matches!(event, NetEvent::LinkGone { name, .. } if name == PORT));
    });
}

#[test]
fn a_bridge_port_that_leaves_its_bridge_is_not_a_link_that_is_gone() {
    let bed = Bed::new();
    inside(&bed.a, || {
        ip(&["-n", &bed.a, "link", "add", "bridge0", "type", "bridge"]);
        ip(&["-n", &bed.a, "link", "set", PORT, "master", "bridge0"]);
        let mut monitor = Monitor::open().unwrap();
        ip(&["-n", &bed.a, "link", "set", PORT, "nomaster"]);
        ip(&["-n", &bed.a, "link", "del", "bridge0"]);
        let bridge_gone =
            |event: &NetEvent| matches!(event, NetEvent::LinkGone { name, .. } if name == "bridge0");
        let events = events_until(&mut monitor, bridge_gone);
        let port_gone = |event: &NetEvent| matches!(event, NetEvent::LinkGone { name, .. } if name == PORT);
        assert!(!events.iter().any(port_gone), "{events:?}");
    });
}

#[test]
fn links_have_their_kind_and_only_ethernet_has_a_mac() {
    let bed = Bed::new();
    inside(&bed.a, || {
        let links = Netlink::open().unwrap().links().unwrap();
        let lo = links.iter().find(|link| link.name == "lo").unwrap();
        assert_eq!((lo.mac, lo.up), (None, true));
        let port = port();
        assert_eq!((port.kind.as_deref(), port.mtu), (Some("veth"), 1500));
        let shown = ip(&["-n", &bed.a, "link", "show", PORT]);
        assert!(shown.contains(&port.mac.unwrap().to_string()), "{shown}");
    });
}

#[test]
fn errors_say_what_is_wrong() {
    let bed = Bed::new();
    inside(&bed.a, || {
        let mut netlink = Netlink::open().unwrap();
        let error = netlink.add_address(9999, address(VIPS[0]), &AddressOptions::default()).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("can't add 10.77.0.100/24 to interface 9999 (no such interface"), "{text}");
        let error = netlink.link("eth9").unwrap_err();
        assert_eq!(error.kind(), Kind::Config);
        assert_eq!(error.message(), "no such interface \"eth9\"");
        assert_eq!(error.detail_text(), Some("this machine has lo, port0"));

        let path = format!("/proc/sys/net/ipv6/conf/{PORT}/disable_ipv6");
        std::fs::write(path, "1").unwrap();
        let error =
            netlink.add_address(port().index, address(VIPS[1]), &AddressOptions::default()).unwrap_err();
        assert_eq!(error.kind(), Kind::Failed, "{error}");
        assert!(error.detail_text().unwrap().contains("the kernel says: "), "{error}");
        assert_eq!(netlink.delete_address(port().index, address(VIPS[1])).unwrap(), Change::Unchanged);
    });
}

#[test]
fn deleting_the_first_address_of_a_network_does_not_take_the_others_along() {
    let bed = Bed::new();
    inside(&bed.a, || {
        let mut netlink = Netlink::open().unwrap();
        ip(&["-n", &bed.a, "addr", "flush", "dev", PORT]);
        // The virtual IP was there before the host's own address.
        ip(&["-n", &bed.a, "addr", "add", "10.77.0.100/24", "dev", PORT]);
        ip(&["-n", &bed.a, "addr", "add", "10.77.0.1/24", "dev", PORT, "label", "port0:own"]);
        let vip = address("10.77.0.100/24");
        let facts = vip::observe(&mut netlink, vip, PORT).unwrap();
        assert_eq!(vip::down(&mut netlink, &facts).unwrap(), Change::Removed);
        assert_eq!(find(&mut netlink, vip), None);
        let own = find(&mut netlink, address("10.77.0.1/24")).unwrap();
        assert_eq!(own.label.as_deref(), Some("port0:own"));
        assert!(!own.is_secondary());
    });
}

#[test]
fn the_virtual_ip_goes_up_and_down_once_and_only_on_its_interface() {
    let bed = Bed::new();
    inside(&bed.a, || {
        let mut netlink = Netlink::open().unwrap();
        for vip in VIPS.map(address) {
            let plain = AddressOptions::default();
            let facts = vip::observe(&mut netlink, vip, PORT).unwrap();
            assert!(facts.subnet_ok && facts.present.is_none() && facts.on_other_interface.is_none());
            assert_eq!(vip::up(&mut netlink, &facts, &plain).unwrap(), Change::Added);
            let facts = vip::observe(&mut netlink, vip, PORT).unwrap();
            assert!(facts.is_up());
            assert_eq!(vip::up(&mut netlink, &facts, &plain).unwrap(), Change::Unchanged);
            let elsewhere = vip::observe(&mut netlink, vip, "lo").unwrap();
            assert_eq!(elsewhere.on_other_interface.as_ref().map(|(link, _)| link.name.as_str()), Some(PORT));
            assert!(!elsewhere.subnet_ok);
            assert_eq!(vip::up(&mut netlink, &elsewhere, &plain).unwrap_err().kind(), Kind::Refused);
            assert_eq!(vip::down(&mut netlink, &elsewhere).unwrap(), Change::Unchanged);
            assert_eq!(vip::down(&mut netlink, &facts).unwrap(), Change::Removed);
        }
        // Left behind by hand, with another prefix length.
        for (wrong, right) in [("10.77.0.100/32", VIPS[0]), ("fd77::100/128", VIPS[1])] {
            ip(&["-n", &bed.a, "addr", "add", wrong, "dev", PORT]);
            let facts = vip::observe(&mut netlink, address(right), PORT).unwrap();
            assert!(!facts.is_up() && facts.present.is_some());
            vip::up(&mut netlink, &facts, &AddressOptions::default()).unwrap();
            assert_eq!(find(&mut netlink, address(wrong)), None);
            assert!(find(&mut netlink, address(right)).is_some());
        }
    });
}

#[test]
fn a_lease_for_a_permanent_virtual_ip_does_not_let_the_route_of_the_network_end() {
    let bed = Bed::new();
    inside(&bed.a, || {
        let (mut netlink, mut monitor) = (Netlink::open().unwrap(), Monitor::open().unwrap());
        let route = || ip(&["-n", &bed.a, "-6", "route", "show", "fd77::/64"]);
        let before = route();
        let vip = address("fd77::100/64");
        for by_hand in [true, false] {
            if by_hand {
                ip(&["-n", &bed.a, "addr", "add", "fd77::100/64", "dev", PORT, "nodad"]);
            } else {
                let facts = vip::observe(&mut netlink, vip, PORT).unwrap();
                assert_eq!(vip::up(&mut netlink, &facts, &AddressOptions::default()).unwrap(), Change::Added);
            }
            let facts = vip::observe(&mut netlink, vip, PORT).unwrap();
            assert_eq!(vip::up(&mut netlink, &facts, &leased(1)).unwrap(), Change::Replaced);
            assert_eq!(route(), before, "by hand: {by_hand}");
            events_until(
                &mut monitor,
                |event| matches!(event, NetEvent::AddressRemoved(a) if a.address == vip),
            );
            assert_eq!(route(), before, "by hand: {by_hand}");
        }
    });
}
