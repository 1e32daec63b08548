//! A virtual Ethernet address, and packets that aren't taken: what a neighbour sees.

use super::bench::{Bench, End};

const VIP: &str = "10.77.0.100";
const MAC: &str = "00:00:5e:00:01:33";

fn instance(priority: u8, addresses: &str, more: &str) -> String {
    format!(
        "[[instance]]\nname = \"x\"\ninterface = \"port0\"\nvirtual_router_id = 51\npriority = {priority}\n\
         advert_interval = \"100ms\"\naddresses = [{addresses}]\n{more}\n"
    )
}

fn ours(priority: u8, more: &str) -> String {
    instance(priority, "\"10.77.0.100/24\"", more)
}

/// What the neighbour at `end` has learned of an address.
fn neighbour(bench: &Bench, end: End, address: &str) -> String {
    bench.run(end, "ip", &["neigh", "show", address])
}

/// Whether an address takes packets: nothing listens, so what arrives is refused.
fn answers(bench: &Bench, end: End, address: &str) -> bool {
    let address = std::net::SocketAddr::new(address.parse().unwrap(), 9);
    crate::net::bed::inside(bench.namespace(end), || {
        let patience = std::time::Duration::from_secs(1);
        std::net::TcpStream::connect_timeout(&address, patience)
            .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
    })
}

#[test]
fn the_address_has_the_virtual_ethernet_address_on_every_way() {
    let bench = Bench::new("vmac");
    let daemon = bench.pgbaton(End::A, &ours(150, "vmac = true"));
    daemon.until_instance("x", |x| x["state"] == "ACTIVE");
    let show = bench.run(End::A, "ip", &["-d", "addr", "show", "dev", "vrrp.51"]);
    assert!(show.contains(MAC) && show.contains(VIP) && show.contains("macvlan mode bridge"), "{show}");
    assert!(show.contains("alias pgbaton t"), "{show}");
    assert!(!show.contains("inet6"), "nothing that speaks by itself: {show}");
    // Asked for by ARP, and asked by an address that the server doesn't know yet.
    bench.run(End::B, "ip", &["neigh", "flush", "dev", "port0"]);
    bench.run(End::A, "ip", &["neigh", "flush", "dev", "port0"]);
    assert!(answers(&bench, End::B, VIP), "{}", daemon.log());
    let learned = neighbour(&bench, End::B, VIP);
    assert!(learned.contains(MAC), "{learned}");
    // The node's own address keeps its own.
    assert!(answers(&bench, End::B, "10.77.0.1"));
    let learned = neighbour(&bench, End::B, "10.77.0.1");
    assert!(!learned.contains("00:00:5e") && learned.contains("lladdr"), "{learned}");
    daemon.stop();
    let links = bench.run(End::A, "ip", &["-brief", "link"]);
    assert!(!links.contains("vrrp.51"), "{links}");
    let ignore = bench.run(End::A, "cat", &["/proc/sys/net/ipv4/conf/port0/arp_ignore"]);
    assert_eq!(ignore.trim(), "0", "what was changed is put back");
}

#[test]
fn a_neighbour_needs_to_learn_nothing_at_a_takeover_from_keepalived() {
    let bench = Bench::new("vmacboth");
    let keepalived = bench.keepalived(
        End::B,
        "vrrp_instance x {\n  version 3\n  state BACKUP\n  interface port0\n  use_vmac\n  virtual_router_id 51\n  \
         priority 100\n  advert_int 0.1\n  virtual_ipaddress {\n    10.77.0.100/24\n  }\n}\n",
    );
    let ours = || bench.pgbaton(End::A, &ours(150, "vmac = true"));
    let daemon = ours();
    daemon.until_instance("x", |x| x["state"] == "ACTIVE");
    daemon.stop();
    let on_b = || bench.run(End::B, "ip", &["addr", "show", "dev", "vrrp.51"]).contains(VIP);
    let deadline = pgbaton::host::clock::Deadline::after(super::bench::PATIENCE);
    while !on_b() {
        assert!(!deadline.passed(), "{}", keepalived.log());
    }
    // Their adverts come from the Ethernet address that is ours too.
    let daemon = ours();
    daemon.until_counter("x", "adverts_received", 1);
    daemon.until_instance("x", |x| x["state"] == "ACTIVE");
    while on_b() {
        assert!(!deadline.passed(), "{}", keepalived.log());
    }
    assert_eq!(daemon.instance("x")["state"], "ACTIVE");
}

#[test]
fn probes_of_a_backup_leave_by_the_interface_of_the_node() {
    for (name, address, family) in
        [("vmacprobe", "\"10.77.0.100/24\"", "ipv4"), ("vmacprobe6", "\"fe80::100/64\"", "ipv6")]
    {
        let bench = Bench::new(name);
        let daemons = [(End::A, 150), (End::B, 100)]
            .map(|(end, priority)| bench.pgbaton(end, &instance(priority, address, "vmac = true")));
        let [active, backup] = &daemons;
        active.until_instance("x", |x| x["state"] == "ACTIVE");
        backup.until_counter("x", "adverts_received", 1);
        let told = backup.ask("probe");
        let probed = &told["instances"][0];
        assert_eq!(
            (&probed["failed"], &probed["family"]),
            (&serde_json::Value::Null, &family.into()),
            "{told:#}"
        );
        let source = probed["source"].as_str().unwrap();
        let heard = || active.ask("stats")["instances"][0]["probes"][source].as_u64() == Some(3);
        let deadline = pgbaton::host::clock::Deadline::after(super::bench::PATIENCE);
        while !heard() {
            assert!(!deadline.passed(), "{told:#}\n{}", active.log());
        }
        // No switch may learn that the virtual Ethernet address is here.
        let now = backup.instance("x");
        let own = now["vmac"]["interface"].as_str().unwrap();
        let own = bench.run(End::B, "ip", &["link", "show", "dev", own]);
        assert!(own.contains("state DOWN") && now["state"] == "BACKUP", "{own}");
    }
}

#[test]
fn an_interface_of_an_earlier_life_is_removed_and_one_of_somebody_else_respected() {
    let bench = Bench::new("vmacstale");
    let daemon = bench.pgbaton(End::A, &ours(150, "vmac = true\nlease = \"1s\""));
    daemon.until_instance("x", |x| x["state"] == "ACTIVE");
    daemon.kill();
    assert!(bench.run(End::A, "ip", &["-brief", "link"]).contains("vrrp.51"));
    let daemon = bench.pgbaton(End::A, &ours(150, ""));
    bench.until(End::A, VIP, true);
    assert!(!bench.run(End::A, "ip", &["-brief", "link"]).contains("vrrp.51"), "{}", daemon.log());
    bench.ip(End::A, &["link", "add", "vrrp.51", "type", "veth", "peer", "other"]);
    daemon.reload(&ours(150, "vmac = true"));
    daemon.until_log("isn't that of a virtual router");
    bench.ip(End::A, &["link", "del", "vrrp.51"]);
    daemon.reload(&ours(150, "vmac = true"));
    daemon.until_instance("x", |x| x["state"] == "ACTIVE");
    // Whoever removes it gets it again.
    bench.ip(End::A, &["link", "del", "vrrp.51"]);
    daemon.until_log("its interface vrrp.51 was removed by someone else");
    daemon.until_instance("x", |x| x["state"] == "ACTIVE");
    assert!(bench.run(End::A, "ip", &["addr", "show", "dev", "vrrp.51"]).contains(VIP));
}

#[test]
fn ipv6_has_a_virtual_ethernet_address_of_its_own() {
    let bench = Bench::new("vmacsix");
    let addresses = "\"fe80::100/64\", \"fd77::100/64\"";
    let daemon = bench.pgbaton(End::A, &instance(150, addresses, "vmac = true"));
    daemon.until_instance("x", |x| x["state"] == "ACTIVE");
    let other = bench.pgbaton(End::B, &instance(100, addresses, "vmac = true"));
    other.until_counter("x", "adverts_received", 5);
    assert!(answers(&bench, End::B, "fd77::100"), "{}", daemon.log());
    let learned = neighbour(&bench, End::B, "fd77::100");
    assert!(learned.contains("00:00:5e:00:02:33"), "{learned}");
    daemon.stop();
    other.until_instance("x", |x| x["state"] == "ACTIVE");
    assert!(answers(&bench, End::A, "fd77::100"), "{}", other.log());
}

#[test]
fn packets_to_the_address_are_dropped_unless_they_are_accepted() {
    let bench = Bench::new("accept");
    let both = |more: &str| {
        ours(150, more)
            + &instance(150, "\"fe80::100/64\", \"fd77::100/64\"", more).replace("\"x\"", "\"six\"")
    };
    let daemon = bench.pgbaton(End::A, &both("accept = false"));
    daemon.until_instance("x", |x| x["state"] == "ACTIVE");
    daemon.until_instance("six", |x| x["state"] == "ACTIVE");
    for address in [VIP, "fd77::100"] {
        assert!(!answers(&bench, End::B, address));
        let learned = neighbour(&bench, End::B, address);
        assert!(learned.contains("lladdr"), "neighbours still find it: {learned}");
    }
    assert!(answers(&bench, End::B, "10.77.0.1"));
    let rules = bench.run(End::A, "nft", &["list", "ruleset"]);
    assert!(rules.contains("table inet pgbaton-t") && rules.contains("ip daddr 10.77.0.100 drop"), "{rules}");
    // A firewall that starts anew doesn't open them.
    bench.run(End::A, "nft", &["flush", "ruleset"]);
    assert!(!answers(&bench, End::B, VIP));
    daemon.reload(&both(""));
    daemon.until_log("the configuration was read again");
    for address in [VIP, "fd77::100"] {
        assert!(answers(&bench, End::B, address), "{address}");
    }
    daemon.reload(&both("accept = false"));
    let deadline = pgbaton::host::clock::Deadline::after(super::bench::PATIENCE);
    while answers(&bench, End::B, VIP) {
        assert!(!deadline.passed());
    }
    daemon.kill();
    let rules = bench.run(End::A, "nft", &["list", "ruleset"]);
    assert!(!rules.contains("pgbaton"), "it goes with the daemon, however that ends: {rules}");
}
