//! One network, two implementations: who is Active, who takes over, who hands back.

use super::bench::{Bench, End};

/// How the two speak with each other.
#[derive(Debug, Clone, Copy)]
struct Manner {
    version: u8,
    ipv6: bool,
    unicast: bool,
    password: Option<&'static str>,
    /// Milliseconds.
    interval: u32,
}

const PLAIN: Manner = Manner { version: 3, ipv6: false, unicast: false, password: None, interval: 100 };
const V2: Manner = Manner { version: 2, interval: 1000, ..PLAIN };

impl Manner {
    fn vip(self) -> &'static str {
        if self.ipv6 { "fd77::100" } else { "10.77.0.100" }
    }

    fn addresses(self) -> &'static [&'static str] {
        if self.ipv6 { &["fe80::100/64", "fd77::100/64"] } else { &["10.77.0.100/24"] }
    }

    fn node(self, number: u8) -> String {
        if self.ipv6 { format!("fd77::{number}") } else { format!("10.77.0.{number}") }
    }

    /// The table of an instance for pgbaton.
    fn ours(self, priority: u8, more: &str) -> String {
        let Self { version, interval, .. } = self;
        let mut text = format!(
            "[[instance]]\nname = \"x\"\ninterface = \"port0\"\nvirtual_router_id = 51\nversion = {version}\n\
             priority = {priority}\nadvert_interval = \"{interval}ms\"\naddresses = {:?}\n{more}\n",
            self.addresses()
        );
        if self.unicast {
            text.push_str(&format!("unicast_peers = [\"{}\", \"{}\"]\n", self.node(1), self.node(2)));
            if self.ipv6 {
                // keepalived 2.2 sends IPv6 unicast with the hop limit of the system.
                text.push_str("min_ttl = 64\n");
            }
        }
        if let Some(password) = self.password {
            text.push_str(&format!("auth_pass = \"{password}\"\n"));
        }
        text
    }

    /// The block of an instance for keepalived, at the end b.
    fn theirs(self, priority: u8, more: &str) -> String {
        let mut text = format!(
            "vrrp_instance x {{\n  version {}\n  state BACKUP\n  interface port0\n  virtual_router_id 51\n  \
             priority {priority}\n  advert_int {}\n  {more}\n",
            self.version,
            f64::from(self.interval) / 1000.0
        );
        if self.unicast {
            text.push_str(&format!(
                "  unicast_src_ip {}\n  unicast_peer {{\n    {}\n  }}\n",
                self.node(2),
                self.node(1)
            ));
        }
        if let Some(password) = self.password {
            text.push_str(&format!(
                "  authentication {{\n    auth_type PASS\n    auth_pass {password}\n  }}\n"
            ));
        }
        text.push_str("  virtual_ipaddress {\n");
        for address in self.addresses() {
            text.push_str(&format!("    {address}\n"));
        }
        text.push_str("  }\n}\n");
        text
    }
}

/// Election, farewell in both directions, and the higher priority taking the address back in both directions.
fn round_trip(name: &str, manner: Manner) {
    let bench = Bench::new(name);
    let vip = manner.vip();
    let ours = bench.pgbaton(End::A, &manner.ours(150, ""));
    let theirs = bench.keepalived(End::B, &manner.theirs(100, ""));
    bench.until_at(End::A, vip);
    ours.stop();
    bench.until_at(End::B, vip);
    let ours = bench.pgbaton(End::A, &manner.ours(150, ""));
    bench.until_at(End::A, vip);
    theirs.stop();
    let theirs = bench.keepalived(End::B, &manner.theirs(200, ""));
    bench.until_at(End::B, vip);
    ours.until_instance("x", |x| x["state"] == "BACKUP");
    theirs.stop();
    bench.until_at(End::A, vip);
    let farewells = ours.counter("x", "priority_zero_received");
    assert!(farewells >= 1, "{}", ours.log());
    let discarded: u64 =
        ["checksum", "ttl", "auth_type", "auth_failed", "length", "address_list", "destination"]
            .iter()
            .map(|reason| ours.counter("x", &format!("discarded_{reason}")))
            .sum();
    assert_eq!(discarded, 0, "{}", ours.log());
}

#[test]
fn version_three_over_ipv4() {
    round_trip("v3", PLAIN);
}

#[test]
fn version_three_over_ipv4_unicast() {
    round_trip("v3u", Manner { unicast: true, ..PLAIN });
}

#[test]
fn version_three_over_ipv6() {
    round_trip("v6", Manner { ipv6: true, ..PLAIN });
}

#[test]
fn version_three_over_ipv6_unicast() {
    round_trip("v6u", Manner { ipv6: true, unicast: true, ..PLAIN });
}

#[test]
fn version_two_with_and_without_a_password() {
    round_trip("v2", V2);
    round_trip("v2p", Manner { password: Some("secret12"), ..V2 });
}

#[test]
fn version_two_unicast_with_a_password() {
    round_trip("v2u", Manner { unicast: true, password: Some("secret12"), ..V2 });
}

#[test]
fn a_killed_keepalived_and_a_killed_pgbaton_are_replaced() {
    let bench = Bench::new("kill");
    let ours = bench.pgbaton(End::A, &PLAIN.ours(150, "lease = \"2s\""));
    bench.until_at(End::A, PLAIN.vip());
    let theirs = bench.keepalived(End::B, &PLAIN.theirs(100, ""));
    ours.until_instance("x", |x| x["state"] == "ACTIVE");
    // The keepalived must listen before it can miss anything: it tells so by answering for its group.
    ours.kill();
    bench.until_at(End::B, PLAIN.vip());
    drop(theirs);
    let ours = bench.pgbaton(End::A, &PLAIN.ours(150, ""));
    bench.until(End::A, PLAIN.vip(), true);
    ours.stop();
}

#[test]
fn without_preemption_a_higher_priority_stays_backup_on_either_side() {
    let bench = Bench::new("nopreempt");
    let theirs = bench.keepalived(End::B, &PLAIN.theirs(100, ""));
    bench.until(End::B, PLAIN.vip(), true);
    let ours = bench.pgbaton(End::A, &PLAIN.ours(200, "preempt = false"));
    ours.until_counter("x", "adverts_received", 20);
    assert_eq!(ours.instance("x")["state"], "BACKUP", "{}", ours.log());
    assert_eq!(ours.instance("x")["active"], "10.77.0.2");
    theirs.stop();
    bench.until_at(End::A, PLAIN.vip());
    let theirs = bench.keepalived(End::B, &PLAIN.theirs(254, "nopreempt"));
    ours.until_counter("x", "adverts_sent", ours.counter("x", "adverts_sent") + 30);
    assert_eq!(ours.instance("x")["state"], "ACTIVE", "{}\n{}", ours.log(), theirs.log());
    assert!(!bench.has(End::B, PLAIN.vip()));
    ours.stop();
    bench.until_at(End::B, PLAIN.vip());
}

#[test]
fn equal_priorities_leave_the_address_where_it_is() {
    let bench = Bench::new("equal");
    let ours = bench.pgbaton(End::A, &PLAIN.ours(100, ""));
    bench.until_at(End::A, PLAIN.vip());
    let theirs = bench.keepalived(End::B, &PLAIN.theirs(100, ""));
    ours.until_counter("x", "adverts_sent", ours.counter("x", "adverts_sent") + 30);
    assert!(!bench.has(End::B, PLAIN.vip()), "{}", theirs.log());
    ours.stop();
    bench.until_at(End::B, PLAIN.vip());
    let ours = bench.pgbaton(End::A, &PLAIN.ours(100, ""));
    ours.until_counter("x", "adverts_received", 20);
    assert_eq!(ours.instance("x")["state"], "BACKUP");
}

#[test]
fn the_interval_of_the_active_router_is_adopted() {
    let bench = Bench::new("intervals");
    let slow = Manner { interval: 1000, ..PLAIN };
    let theirs = bench.keepalived(End::B, &slow.theirs(200, ""));
    bench.until(End::B, PLAIN.vip(), true);
    let ours = bench.pgbaton(End::A, &PLAIN.ours(100, "start_delay = \"2s\""));
    ours.until_counter("x", "adverts_received", 4);
    let status = ours.instance("x");
    assert_eq!((&status["state"], &status["active_interval_ms"]), (&"BACKUP".into(), &1000.into()));
    assert!(ours.log().contains("differ from this configuration: Interval"), "{}", ours.log());
    theirs.stop();
    bench.until_at(End::A, PLAIN.vip());
}

#[test]
fn keepalived_adopts_the_interval_of_the_active_router() {
    let bench = Bench::new("theirinterval");
    let slow = Manner { interval: 1000, ..PLAIN };
    let ours = bench.pgbaton(End::A, &slow.ours(200, ""));
    bench.until(End::A, PLAIN.vip(), true);
    let theirs = bench.keepalived(End::B, &PLAIN.theirs(100, ""));
    ours.until_counter("x", "adverts_sent", ours.counter("x", "adverts_sent") + 5);
    assert!(!bench.has(End::B, PLAIN.vip()), "{}", theirs.log());
    // At its start it may not have heard of ours yet; then it was told at once.
    assert_eq!(ours.instance("x")["state"], "ACTIVE", "{}", ours.log());
    ours.stop();
    bench.until_at(End::B, PLAIN.vip());
}

#[test]
fn a_wrong_password_is_dropped_and_told_once() {
    let bench = Bench::new("password");
    // Active before ours starts: a Backup of keepalived 2.2 waits on while it gets adverts that it refuses.
    let theirs = bench.keepalived(End::B, &Manner { password: Some("another1"), ..V2 }.theirs(200, ""));
    bench.until(End::B, V2.vip(), true);
    let ours = bench.pgbaton(End::A, &Manner { password: Some("secret12"), ..V2 }.ours(150, ""));
    bench.until(End::A, V2.vip(), true);
    ours.until_counter("x", "discarded_auth_failed", 3);
    assert_eq!(ours.log().matches("its password is wrong").count(), 1, "{}", ours.log());
    assert_eq!(ours.instance("x")["state"], "ACTIVE", "{}", theirs.log());
}

#[test]
fn the_router_of_a_cluster_can_speak_by_unicast_and_hears_its_nodes_only() {
    for ipv6 in [false, true] {
        let bench = Bench::new(&format!("cluster-unicast{}", u8::from(ipv6)));
        let manner = Manner { ipv6, unicast: true, ..PLAIN };
        let theirs = bench.keepalived(End::B, &manner.theirs(100, ""));
        bench.until(End::B, manner.vip(), true);
        let vip = |address: &&str| format!("[[vip]]\naddress = \"{address}\"\n\n");
        let vips = manner.addresses().iter().map(vip).collect::<Vec<_>>().concat();
        // keepalived 2.2 sends IPv6 unicast with the hop limit of the system.
        let more = if ipv6 { "min_ttl = 64" } else { "" };
        let cluster = |other: u8| {
            format!(
                "[[node]]\nname = \"t\"\naddress = \"{}\"\npriority = 200\n\n\
                 [[node]]\nname = \"u\"\naddress = \"{}\"\npriority = 100\n\n\
                 [vrrp]\npreempt = false\nadvert_interval = \"100ms\"\nunicast = true\n{more}\n\n{vips}",
                manner.node(1),
                manner.node(other)
            )
        };
        let ours = bench.pgbaton(End::A, &cluster(2));
        ours.until_counter("t", "adverts_received", 3);
        assert_eq!(ours.ask("status").pointer("/vrrp/active_node").unwrap(), "u", "{}", ours.log());
        theirs.stop();
        bench.until_at(End::A, manner.vip());
        let theirs = bench.keepalived(End::B, &manner.theirs(100, ""));
        ours.until_counter("t", "adverts_sent", ours.counter("t", "adverts_sent") + 20);
        assert!(!bench.has(End::B, manner.vip()), "it hears ours: {}", theirs.log());
        ours.stop();
        bench.until_at(End::B, manner.vip());
        // Whoever isn't a node isn't heard.
        let ours = bench.pgbaton(End::A, &cluster(3));
        ours.until_counter("t", "discarded_unknown_peer", 3);
    }
}

#[test]
fn the_router_of_an_ipv6_cluster_speaks_from_its_link_local_address_and_knows_the_other_node_by_its_own() {
    use crate::net::bed::{inside, port, soon};
    use pgbaton::net::driver::readable_before;
    use pgbaton::net::netlink::Netlink;
    use pgbaton::net::socket::{Delivery, VrrpSocket};
    use std::net::IpAddr;
    use std::os::fd::AsFd;

    let bench = Bench::new("cluster6");
    let six = Manner { ipv6: true, ..PLAIN };
    let theirs = bench.keepalived(End::B, &six.theirs(100, ""));
    bench.until(End::B, six.vip(), true);
    let ours = bench.pgbaton(
        End::A,
        "[[node]]\nname = \"t\"\naddress = \"fd77::1\"\npriority = 200\n\n\
         [[node]]\nname = \"u\"\naddress = \"fd77::2\"\npriority = 100\n\n\
         [vrrp]\npreempt = false\nadvert_interval = \"100ms\"\n\n\
         [[vip]]\naddress = \"fe80::100/64\"\n\n[[vip]]\naddress = \"fd77::100/64\"\n",
    );
    ours.until_counter("t", "adverts_received", 3);
    let status = ours.ask("status");
    assert_eq!(status.pointer("/vrrp/active_node").unwrap(), "u", "{status}");
    theirs.stop();
    bench.until_at(End::A, six.vip());
    let source = inside(bench.namespace(End::B), || {
        let link = port();
        let local =
            Netlink::open().unwrap().addresses().unwrap().into_iter().find_map(|address| {
                match address.address.address() {
                    IpAddr::V6(ip) if address.index == link.index && ip.is_unicast_link_local() => Some(ip),
                    _ => None,
                }
            });
        let socket = VrrpSocket::open_v6(&link, Delivery::Multicast, local.unwrap(), &[51]).unwrap();
        let mut buffer = [0; 256];
        assert!(readable_before(socket.as_fd(), soon()).unwrap());
        socket.recv(&mut buffer).unwrap().unwrap().source
    });
    assert!(matches!(source, IpAddr::V6(ip) if ip.is_unicast_link_local()), "{source}");
}
