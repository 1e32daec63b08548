//! Probes: they arrive and are counted, a firewall in one direction is found, and keepalived doesn't move for them.

use super::bench::{Bench, Daemon, End};
use crate::support::document;
use crate::support::sshd::{PORT, Sshd};
use serde_json::Value;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// A cluster that only elects; the two nodes are the ends of the cable.
fn tables(ipv6: bool, unicast: bool, ssh: &str) -> String {
    let (a, b) = if ipv6 { ("fd77::1", "fd77::2") } else { ("10.77.0.1", "10.77.0.2") };
    let vips: &[&str] = if ipv6 { &["fe80::100/64", "fd77::100/64"] } else { &["10.77.0.100/24"] };
    let vips = vips.iter().map(|vip| format!("[[vip]]\naddress = \"{vip}\"\n")).collect::<Vec<_>>().concat();
    format!(
        "[[node]]\nname = \"one\"\naddress = \"{a}\"\npriority = 200\n\
         [[node]]\nname = \"two\"\naddress = \"{b}\"\npriority = 100\n\
         [vrrp]\nadvert_interval = \"100ms\"\nunicast = {unicast}\n{vips}{ssh}"
    )
}

/// What `cluster check --peers` says at the first end.
fn check(bench: &Bench, one: &Daemon) -> Value {
    let mut command = Command::new("ip");
    command.args([
        "netns",
        "exec",
        bench.namespace(End::A),
        env!("CARGO_BIN_EXE_pgbaton"),
        "--json",
        "--config",
    ]);
    document(&command.arg(one.config()).args(["cluster", "check", "--peers"]).output().unwrap()).0
}

/// The nodes of which a list says something under this code.
fn nodes(told: &Value, list: &str, code: &str) -> Vec<String> {
    let of_code =
        told[list].as_array().unwrap().iter().filter(|it| it["code"] == code || it["check"] == code);
    of_code.map(|it| it["node"].as_str().unwrap_or_default().to_owned()).collect()
}

fn mend<'a>(told: &'a Value, code: &str) -> &'a str {
    let found = told["findings"].as_array().unwrap().iter().find(|it| it["code"] == code);
    found.and_then(|it| it["mend"].as_str()).unwrap_or_else(|| panic!("{code}: {told:#}"))
}

/// Replaces the firewall of an end.
fn firewall(bench: &Bench, end: End, rules: &str) {
    let mut nft = Command::new("ip")
        .args(["netns", "exec", bench.namespace(end), "nft", "-f", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    nft.stdin.take().unwrap().write_all(format!("flush ruleset\n{rules}\n").as_bytes()).unwrap();
    assert!(nft.wait().unwrap().success());
}

struct Cluster {
    bench: Bench,
    _sshd: Sshd,
    one: Daemon,
    two: Daemon,
}

fn cluster(name: &str, ipv6: bool, unicast: bool) -> Cluster {
    let bench = Bench::new(name);
    let address = if ipv6 { "fd77::2" } else { "10.77.0.2" };
    let listen = if ipv6 { "[fd77::2]" } else { address };
    let sshd = Sshd::start(bench.namespace(End::B), listen, "");
    let known = sshd.known_hosts("known", "", "two", "host");
    let ssh = format!(
        "[ssh]\nuser = \"root\"\nport = {PORT}\nconnect_timeout = \"2s\"\nidentity_file = \"{}\"\n\
         known_hosts = \"{}\"\nremote_command = \"env PGBATON_CONFIG={}/B/pgbaton.toml {}\"\n",
        sshd.file("user").display(),
        known.display(),
        bench.folder().display(),
        env!("CARGO_BIN_EXE_pgbaton"),
    );
    let one = bench.pgbaton(End::A, &tables(ipv6, unicast, &ssh));
    let two = bench.pgbaton(End::B, &tables(ipv6, unicast, ""));
    one.until_instance("t", |it| it["state"] == "ACTIVE");
    two.until_instance("t", |it| it["state"] == "BACKUP");
    Cluster { bench, _sshd: sshd, one, two }
}

#[test]
fn a_firewall_that_drops_vrrp_in_one_direction_is_found_whoever_is_active() {
    let Cluster { bench, _sshd, one, two } = cluster("arrival", false, false);
    let told = check(&bench, &one);
    assert_eq!(nodes(&told, "passed", "vrrp-arrives"), ["one", "two"], "{told:#}");
    assert_eq!(nodes(&told, "skipped", "vrrp-heard"), [""; 0], "{told:#}");
    let before = (one.instance("t")["since_ns"].clone(), two.instance("t")["since_ns"].clone());

    // From the Backup to the Active: nothing else shows it, as a Backup is silent.
    let rule = |hook: &str, rule: &str| {
        format!(
            "table inet filter {{ chain {hook} {{ type filter hook {hook} priority 0; policy accept; {rule}; }}; }}"
        )
    };
    firewall(&bench, End::A, &rule("input", "ip saddr 10.77.0.2 ip protocol 112 drop"));
    let told = check(&bench, &one);
    assert_eq!(nodes(&told, "findings", "vrrp-arrives"), ["one"], "{told:#}");
    assert_eq!(nodes(&told, "passed", "vrrp-arrives"), ["two"], "{told:#}");
    let named = "on one: a rule in the chain input of table inet filter drops VRRP: ip saddr 10.77.0.2 ip protocol vrrp drop";
    assert_eq!(mend(&told, "vrrp-arrives"), named);

    // A rule that looks at the port of the cable, where no chain of the machine's own is.
    let early = |rule: &str| {
        format!(
            "table netdev early {{ chain ingress {{ type filter hook ingress device port0 priority 0; {rule}; }}; }}"
        )
    };
    firewall(&bench, End::A, &early("ip protocol 112 drop"));
    let told = check(&bench, &one);
    assert_eq!(nodes(&told, "findings", "vrrp-arrives"), ["one"], "{told:#}");
    assert!(mend(&told, "vrrp-arrives").contains("chain ingress of table netdev early"), "{told:#}");

    // One whose effect can't be told: then it is said that it can't, and that nothing arrives all the same.
    firewall(&bench, End::A, &early("ip protocol 112 limit rate over 1/day burst 1 packets drop"));
    let told = check(&bench, &one);
    assert!(nodes(&told, "skipped", "firewall").contains(&"one".to_owned()), "{told:#}");
    firewall(&bench, End::A, &early("ip protocol 112 meta length 1-1500 drop"));
    let told = check(&bench, &one);
    assert_eq!(nodes(&told, "findings", "vrrp-arrives"), ["one"], "{told:#}");
    assert!(mend(&told, "vrrp-arrives").contains("tcpdump -ni any proto 112"), "{told:#}");
    firewall(&bench, End::A, "");

    // What the sender's own firewall keeps in.
    firewall(&bench, End::B, &rule("output", "ip protocol 112 drop"));
    let told = check(&bench, &one);
    assert_eq!(nodes(&told, "findings", "vrrp-leaves"), ["two"], "{told:#}");
    assert!(mend(&told, "vrrp-leaves").contains("chain output of table inet filter"), "{told:#}");
    firewall(&bench, End::B, "");
    let told = check(&bench, &one);
    assert_eq!(nodes(&told, "passed", "vrrp-arrives"), ["one", "two"], "{told:#}");

    let after = (one.instance("t")["since_ns"].clone(), two.instance("t")["since_ns"].clone());
    assert_eq!(before, after, "nobody moved for a probe:\n{}\n{}", one.log(), two.log());
    let stats = two.ask("stats");
    assert!(stats.pointer("/instances/0/probes/10.77.0.1").and_then(Value::as_u64) >= Some(12), "{stats:#}");
    assert!(!two.log().contains("dropped an advert"), "{}", two.log());

    // Without the other's daemon nothing is claimed.
    two.stop();
    let told = check(&bench, &one);
    assert_eq!(nodes(&told, "findings", "vrrp-arrives"), [""; 0], "{told:#}");
    let skipped = told["skipped"].to_string();
    assert!(skipped.contains("the daemon isn't running on two"), "{told:#}");
}

// The kernel's older tables, which nft doesn't show.
#[test]
fn the_rules_of_iptables_legacy_are_read_too() {
    for (name, ipv6, program) in
        [("arrivalx", false, "iptables-legacy"), ("arrivalx6", true, "ip6tables-legacy")]
    {
        let Cluster { bench, _sshd, one, two: _two } = cluster(name, ipv6, false);
        let rules: [&[&str]; 4] = [
            &["-N", "guard"],
            &["-A", "INPUT", "!", "-i", "lo", "-m", "comment", "--comment", "who comes in", "-j", "guard"],
            &["-A", "guard", "-p", "tcp", "-j", "ACCEPT"],
            &["-A", "guard", "-p", "112", "-j", "DROP"],
        ];
        for rule in rules {
            bench.run(End::A, program, rule);
        }
        let told = check(&bench, &one);
        assert_eq!(nodes(&told, "findings", "vrrp-arrives"), ["one"], "{told:#}");
        let named = format!("chain guard of table filter ({program}) drops VRRP: -A guard -p vrrp -j DROP");
        assert!(mend(&told, "vrrp-arrives").contains(&named), "{told:#}");
        assert!(mend(&told, "firewall").starts_with(&format!("{program} -I INPUT ")), "{told:#}");
        // What it says mends it.
        let words: Vec<&str> = mend(&told, "firewall").split(' ').collect();
        bench.run(End::A, words[0], &words[1..]);
        let told = check(&bench, &one);
        assert_eq!(nodes(&told, "findings", "firewall"), [""; 0], "{told:#}");
        assert_eq!(nodes(&told, "passed", "vrrp-arrives"), ["one", "two"], "{told:#}");
    }
}

#[test]
fn probes_take_the_way_of_the_adverts_also_over_ipv6_and_by_unicast() {
    for (name, ipv6, unicast) in
        [("arrival6", true, false), ("arrival4u", false, true), ("arrival6u", true, true)]
    {
        let Cluster { bench, _sshd, one, two: _two } = cluster(name, ipv6, unicast);
        let told = check(&bench, &one);
        assert_eq!(nodes(&told, "passed", "vrrp-arrives"), ["one", "two"], "{name}: {told:#}");
        let family = if ipv6 { "ip6 nexthdr 112" } else { "ip protocol 112" };
        let rules = format!(
            "table inet f {{ chain i {{ type filter hook input priority 0; policy accept; {family} drop; }}; }}"
        );
        firewall(&bench, End::A, &rules);
        let told = check(&bench, &one);
        assert_eq!(nodes(&told, "findings", "vrrp-arrives"), ["one"], "{name}: {told:#}");
        assert!(mend(&told, "vrrp-arrives").contains("chain i of table inet f"), "{name}: {told:#}");
    }
}

/// Sends a few, and returns which address they came from.
fn probe(daemon: &Daemon) -> String {
    let told = daemon.ask("probe");
    let instance = &told["instances"][0];
    assert_eq!(instance["sent"].as_object().unwrap().values().next(), Some(&3.into()), "{told:#}");
    instance["source"].as_str().unwrap().to_owned()
}

#[test]
fn keepalived_does_not_move_for_a_probe() {
    let ours = |version: u8, ipv6: bool, priority: u8| {
        let addresses = if ipv6 { "[\"fe80::100/64\"]" } else { "[\"10.77.0.100/24\"]" };
        format!(
            "[[instance]]\nname = \"x\"\ninterface = \"port0\"\nvirtual_router_id = 51\nversion = {version}\n\
             priority = {priority}\nadvert_interval = \"1s\"\naddresses = {addresses}\n"
        )
    };
    let theirs = |version: u8, ipv6: bool| {
        let address = if ipv6 { "fe80::100/64" } else { "10.77.0.100/24" };
        format!(
            "vrrp_instance x {{\n  version {version}\n  state BACKUP\n  interface port0\n  virtual_router_id 51\n  \
             priority 100\n  advert_int 1\n  virtual_ipaddress {{\n    {address}\n  }}\n}}\n"
        )
    };
    for (name, version, ipv6) in [("probe3", 3, false), ("probe2", 2, false), ("probe6", 3, true)] {
        let vip = if ipv6 { "fe80::100" } else { "10.77.0.100" };
        let bench = Bench::new(name);
        // It is Backup.
        let daemon = bench.pgbaton(End::A, &ours(version, ipv6, 200));
        bench.until(End::A, vip, true);
        let keepalived = bench.keepalived(End::B, &theirs(version, ipv6));
        let moves = || keepalived.log().matches("STATE").count();
        let told = || keepalived.log().matches("nvalid packet type").count();
        let sent = daemon.counter("x", "adverts_sent");
        daemon.until_counter("x", "adverts_sent", sent + 3);
        let before = moves();
        probe(&daemon);
        let sent = daemon.counter("x", "adverts_sent");
        daemon.until_counter("x", "adverts_sent", sent + 4);
        assert!(!bench.has(End::B, vip), "{}", keepalived.log());
        assert_eq!(moves(), before, "{}", keepalived.log());
        assert!(told() > 0, "it has seen and refused them: {}", keepalived.log());
        // It is Active.
        daemon.stop();
        bench.until_at(End::B, vip);
        let daemon = bench.pgbaton(End::A, &ours(version, ipv6, 50));
        daemon.until_counter("x", "adverts_received", 2);
        let (before, heard) = (moves(), daemon.counter("x", "adverts_received"));
        probe(&daemon);
        daemon.until_counter("x", "adverts_received", heard + 3);
        assert!(bench.has(End::B, vip) && !bench.has(End::A, vip), "{}", keepalived.log());
        assert_eq!(moves(), before, "{}", keepalived.log());
    }
}
