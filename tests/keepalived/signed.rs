//! Signed adverts: who knows the key takes part, and nobody else.

use super::bench::{Bench, Daemon, End};

const VIP: &str = "10.77.0.100";

fn instance(priority: u8, ipv6: bool, more: &str) -> String {
    let addresses = if ipv6 { "\"fe80::100/64\", \"fd77::100/64\"" } else { "\"10.77.0.100/24\"" };
    format!(
        "[[instance]]\nname = \"x\"\ninterface = \"port0\"\nvirtual_router_id = 51\npriority = {priority}\n\
         advert_interval = \"100ms\"\naddresses = [{addresses}]\n{more}\n"
    )
}

fn key(id: u8, octet: &str) -> String {
    format!("\"{id} hex:{}\"", octet.repeat(32))
}

fn signed(keys: &[String]) -> String {
    format!("auth_keys = [{}]", keys.join(", "))
}

fn is_backup(daemon: &Daemon, of: &str) {
    daemon.until_counter("x", "adverts_received", 5);
    let x = daemon.instance("x");
    assert_eq!((&x["state"], &x["active"]), (&"BACKUP".into(), &of.into()), "{}", daemon.log());
}

#[test]
fn who_has_the_key_takes_part_over_both_families_and_by_multicast_and_unicast() {
    for (ipv6, peers, source) in [
        (false, "", "10.77.0.1"),
        (false, "unicast_peers = [\"10.77.0.1\", \"10.77.0.2\"]", "10.77.0.1"),
        (true, "unicast_peers = [\"fd77::1\", \"fd77::2\"]", "fd77::1"),
    ] {
        let bench = Bench::new(&format!("signed{}{}", u8::from(ipv6), peers.len()));
        let more = format!("{}\n{peers}", signed(&[key(1, "ab")]));
        let high = bench.pgbaton(End::A, &instance(150, ipv6, &more));
        let vip = if ipv6 { "fd77::100" } else { VIP };
        bench.until(End::A, vip, true);
        let low = bench.pgbaton(End::B, &instance(100, ipv6, &more));
        is_backup(&low, source);
        high.stop();
        bench.until_at(End::B, vip);
        assert!(low.counter("x", "priority_zero_received") >= 1, "the farewell is signed too: {}", low.log());
    }
}

#[test]
fn without_the_key_or_with_another_one_nobody_is_heard() {
    let bench = Bench::new("forged");
    let daemon = bench.pgbaton(End::A, &instance(100, false, &signed(&[key(1, "ab")])));
    bench.until(End::A, VIP, true);
    for (more, counter, words) in [
        (String::new(), "discarded_unsigned", "it isn't signed"),
        (signed(&[key(1, "cd")]), "discarded_signature", "its signature is wrong"),
        (signed(&[key(2, "ab")]), "discarded_signature", "of a key that isn't configured here"),
    ] {
        let before = daemon.counter("x", counter);
        let forger = bench.pgbaton(End::B, &instance(200, false, &more));
        daemon.until_counter("x", counter, before + 5);
        daemon.until_log(words);
        assert_eq!(daemon.instance("x")["state"], "ACTIVE", "{}", daemon.log());
        forger.stop();
    }
    assert_eq!(daemon.counter("x", "adverts_received"), 0);
}

#[test]
fn a_key_is_replaced_without_a_flap() {
    let bench = Bench::new("rotated");
    let (old, new) = (key(1, "ab"), key(2, "cd"));
    let of = |priority: u8, keys: &[&String]| {
        let keys: Vec<String> = keys.iter().map(|key| (*key).clone()).collect();
        instance(priority, false, &signed(&keys))
    };
    let high = bench.pgbaton(End::A, &of(150, &[&old]));
    bench.until(End::A, VIP, true);
    let low = bench.pgbaton(End::B, &of(100, &[&old]));
    is_backup(&low, "10.77.0.1");
    let since = [&high, &low].map(|daemon| daemon.instance("x")["since_ns"].clone());
    for keys in [&[&old, &new][..], &[&new, &old], &[&new]] {
        for (daemon, priority) in [(&high, 150), (&low, 100)] {
            daemon.reloaded(&of(priority, keys));
        }
        low.until_counter("x", "adverts_received", low.counter("x", "adverts_received") + 10);
    }
    assert_eq!([&high, &low].map(|daemon| daemon.instance("x")["since_ns"].clone()), since, "{}", low.log());
}

#[test]
fn unsigned_routers_are_led_to_signatures_step_by_step() {
    let bench = Bench::new("led");
    let mode = |mode: &str| format!("{}\nauth_mode = \"{mode}\"", signed(&[key(1, "ab")]));
    let high = bench.pgbaton(End::A, &instance(150, false, ""));
    bench.until(End::A, VIP, true);
    let low = bench.pgbaton(End::B, &instance(100, false, ""));
    is_backup(&low, "10.77.0.1");
    let since = [&high, &low].map(|daemon| daemon.instance("x")["since_ns"].clone());
    for step in ["receive-only", "permissive", "enforce"] {
        for (daemon, priority) in [(&low, 100), (&high, 150)] {
            daemon.reloaded(&instance(priority, false, &mode(step)));
            low.until_counter("x", "adverts_received", low.counter("x", "adverts_received") + 5);
        }
    }
    assert_eq!([&high, &low].map(|daemon| daemon.instance("x")["since_ns"].clone()), since, "{}", low.log());
    assert_eq!(low.counter("x", "discarded_unsigned"), 0);
}
