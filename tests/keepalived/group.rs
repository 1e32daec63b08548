//! Groups: two networks, one keepalived with a sync group and one pgbaton with a group.

use super::bench::{Bench, End};

const X: &str = "10.77.0.100";

/// A second cable between the two ends, as port1.
fn second_cable(bench: &Bench) {
    let (a, b) = (bench.namespace(End::A).to_owned(), bench.namespace(End::B).to_owned());
    crate::net::bed::ip(&["-n", &a, "link", "add", "port1", "type", "veth", "peer", "port1", "netns", &b]);
    for (end, address) in [(End::A, "10.78.0.1/24"), (End::B, "10.78.0.2/24")] {
        bench.ip(end, &["addr", "add", address, "dev", "port1"]);
        bench.ip(end, &["link", "set", "port1", "up"]);
    }
}

fn ours(priority: u8) -> String {
    let one = |name: &str, port: &str, vrid: u8, vip: &str| {
        format!(
            "[[instance]]\nname = \"{name}\"\ninterface = \"{port}\"\nvirtual_router_id = {vrid}\n\
             priority = {priority}\nadvert_interval = \"100ms\"\naddresses = [\"{vip}/24\"]\n\n"
        )
    };
    one("x", "port0", 51, X)
        + &one("y", "port1", 52, "10.78.0.100")
        + "[[group]]\nname = \"g\"\ninstances = [\"x\", \"y\"]\n"
}

fn theirs(priority: u8) -> String {
    let one = |name: &str, port: &str, vrid: u8, vip: &str| {
        format!(
            "vrrp_instance {name} {{\n  version 3\n  state BACKUP\n  interface {port}\n  virtual_router_id {vrid}\n  \
             priority {priority}\n  advert_int 0.1\n  virtual_ipaddress {{\n    {vip}/24\n  }}\n}}\n"
        )
    };
    "vrrp_sync_group g {\n  group {\n    x\n    y\n  }\n}\n".to_owned()
        + &one("x", "port0", 51, X)
        + &one("y", "port1", 52, "10.78.0.100")
}

#[test]
fn a_cable_that_goes_moves_both_addresses_between_keepalived_and_us_in_either_direction() {
    let bench = Bench::new("group");
    second_cable(&bench);
    let daemon = bench.pgbaton(End::A, &ours(150));
    daemon.until_instance("y", |y| y["state"] == "ACTIVE");
    assert_eq!(daemon.instance("x")["state"], "ACTIVE");
    let keepalived = bench.keepalived(End::B, &theirs(100));
    // Only the cable of y, seen from our end: x goes too, with a farewell.
    bench.ip(End::A, &["link", "set", "port1", "down"]);
    daemon.until_instance("x", |x| x["state"] == "INITIALIZE");
    assert_eq!(daemon.instance("x")["reason"], "another router of its group is out of the election");
    // Their y has no carrier either: nobody can have the group.
    bench.ip(End::A, &["link", "set", "port1", "up"]);
    bench.until_at(End::A, X);
    daemon.until_instance("y", |y| y["state"] == "ACTIVE");
    daemon.stop();
    bench.until_at(End::B, X);
    let daemon = bench.pgbaton(End::A, &ours(150));
    bench.until_at(End::A, X);
    daemon.until_instance("y", |y| y["state"] == "ACTIVE");
    keepalived.stop();
}

#[test]
fn one_member_that_cannot_be_active_keeps_the_other_from_it() {
    let bench = Bench::new("whole");
    second_cable(&bench);
    // The other end has only y, and a higher priority there.
    let y = theirs(200);
    let y = &y[y.find("vrrp_instance y").unwrap()..];
    let keepalived = bench.keepalived(End::B, y);
    let daemon = bench.pgbaton(End::A, &ours(150));
    daemon.until_counter("y", "adverts_received", 20);
    assert_eq!(
        (&daemon.instance("x")["state"], &daemon.instance("y")["state"]),
        (&"BACKUP".into(), &"BACKUP".into())
    );
    assert!(!bench.has(End::A, X), "{}", daemon.log());
    keepalived.stop();
    bench.until(End::A, X, true);
    daemon.until_instance("y", |y| y["state"] == "ACTIVE");
    let keepalived = bench.keepalived(End::B, y);
    daemon.until_instance("x", |x| x["state"] == "BACKUP");
    bench.until(End::A, X, false);
    assert!(daemon.log().contains("another router of its group no longer is"), "{}", daemon.log());
    drop(keepalived);
}
