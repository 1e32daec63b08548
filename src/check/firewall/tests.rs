//! What rules do to adverts, and what is said of them.

use super::*;

const GROUP: &str = "224.0.0.18";

fn packet(outward: bool, source: &str, destination: &str) -> Packet {
    let [source, destination] =
        [source, destination].map(|address| Endpoint::known(address.parse().unwrap()));
    Packet { outward, source, destination, interface: "eth0".to_owned() }
}

/// What a ruleset does to adverts of 192.0.2.22, and to those that are sent to it.
fn told(program: &str, text: &str) -> Judgement {
    let firewall = Firewall {
        rules: vec![Ruleset { program: program.to_owned(), text: text.to_owned() }],
        unseen: Vec::new(),
    };
    judge(&firewall, &[packet(false, "192.0.2.22", GROUP), packet(true, "192.0.2.21", GROUP)])
}

/// What a chain for arriving packets does: the obstacle, `None` when they get through.
fn input(policy: &str, rules: &str) -> Option<String> {
    let rules = rules.replace('\n', "\n\t\t");
    let judged = told(
        "nft",
        &format!(
            "table inet filter {{\n\tset s {{\n\t\ttype ipv4_addr\n\t\telements = {{ 192.0.2.1,\n\t\t\t     192.0.2.2 }}\n\t}}\n\n\
             \tchain input {{\n\t\ttype filter hook input priority 0; policy {policy};\n\t\t{rules}\n\t}}\n\
             \n\tchain more {{\n\t\tmeta l4proto {{ icmp, ipv6-icmp }} accept\n\t\treject with icmpx admin-prohibited\n\t}}\n\
             \n\tchain nothing {{\n\t\ttcp dport 22 accept\n\t}}\n}}\n"
        ),
    );
    assert!(judged.unclear.is_none(), "{judged:?}");
    judged.obstacles.first().map(|obstacle| obstacle.what.clone())
}

fn unclear(rules: &str) -> bool {
    let text = format!(
        "table ip f {{\n\tchain i {{\n\t\ttype filter hook input priority 0; policy accept;\n\t\t{rules}\n\t}}\n}}\n"
    );
    let judged = told("nft", &text);
    assert!(judged.obstacles.is_empty(), "{judged:?}");
    judged.unclear.is_some()
}

#[test]
fn a_chain_that_drops_by_policy_needs_a_rule_for_vrrp() {
    let no_rule = "the chain input of table inet filter drops what it doesn't know, and has no rule for VRRP";
    assert_eq!(input("drop", "ct state established,related accept\ntcp dport 22 accept").unwrap(), no_rule);
    assert_eq!(
        input("drop", "iifname \"lo\" accept\nudp dport { 53, 67 } accept\nmeta mark set 0x1").unwrap(),
        no_rule
    );
    for rule in [
        "ip protocol 112 accept",
        "ip protocol vrrp counter packets 3 bytes 120 log prefix \"it is: a \" level info accept comment \"x drop\"",
        "ip protocol { 2, 112 } accept",
        "meta l4proto vrrp accept",
        "ip saddr 192.0.2.0/24 accept",
        "ip saddr { 192.0.2.1-192.0.2.30, 10.0.0.0/8 } ct state new accept",
        "ip daddr 224.0.0.0/24 accept",
        "iifname \"eth*\" accept",
        "iifname != { \"wan0\", \"lo\" } accept",
        "meta pkttype multicast accept",
        "fib daddr type { broadcast, multicast } accept",
        "ct state vmap { invalid : drop, established : accept, new : accept }",
        "iifname vmap { \"lo\" : accept, \"eth0\" : jump nothing }\naccept",
    ] {
        assert_eq!(input("drop", rule), None, "{rule}");
    }
    assert_eq!(input("drop", "ip saddr 192.0.2.23 ip protocol vrrp accept").unwrap(), no_rule, "another's");
}

#[test]
fn the_rule_that_drops_vrrp_is_named() {
    assert_eq!(input("accept", "tcp dport 23 drop\nct state invalid drop\nip6 saddr ::/0 drop"), None);
    let what = input("accept", "ip protocol vrrp counter packets 0 bytes 0 drop").unwrap();
    assert_eq!(
        what,
        "a rule in the chain input of table inet filter drops VRRP: ip protocol vrrp counter packets 0 bytes 0 drop"
    );
    assert!(input("accept", "fib daddr type multicast drop").is_some());
    assert!(input("accept", "ct state vmap { established : accept, new : drop }").is_some());
    // In another chain, as firewalld has it.
    let what = input("accept", "jump nothing\niifname \"eth0\" goto more").unwrap();
    assert!(
        what.starts_with("a rule in the chain more of table inet filter drops VRRP: reject with"),
        "{what}"
    );
    assert_eq!(input("accept", "jump nothing\naccept\njump more"), None);
}

#[test]
fn nothing_is_claimed_where_a_rule_can_not_be_judged() {
    assert!(unclear("limit rate 3/second accept"));
    assert!(unclear("ip saddr @allowed accept"));
    assert!(unclear("jump elsewhere"));
    assert!(unclear("meta pkttype multicast limit rate over 5/second drop"));
    assert!(!unclear("limit rate 3/second counter packets 0 bytes 0"));
    assert!(!unclear("tcp flags fin,syn / fin,syn drop"));
    assert!(!unclear("ip protocol tcp ip saddr @allowed drop"));
}

#[test]
fn the_other_family_and_the_other_direction_are_not_ours() {
    let chain = |family: &str, hook: &str| {
        format!(
            "table {family} f {{\n\tchain c {{\n\t\ttype filter hook {hook} priority 0; policy drop;\n\t}}\n}}\n"
        )
    };
    assert_eq!(told("nft", &chain("ip6", "input")), Judgement::default());
    assert_eq!(told("nft", &chain("ip", "forward")), Judgement::default());
    let outward = told("nft", &chain("ip", "output")).obstacles;
    assert!(outward.len() == 1 && outward[0].outward && outward[0].what.contains("chain c of table ip f"));
    let device = |name: &str| {
        format!(
            "table netdev e {{\n\tchain c {{\n\t\ttype filter hook ingress device \"{name}\" priority filter; policy accept;\n\t\tip protocol vrrp drop\n\t}}\n}}\n"
        )
    };
    assert_eq!(told("nft", &device("eth1")), Judgement::default());
    assert_eq!(told("nft", &device("eth0")).obstacles.len(), 1);
    assert_eq!(told("nft", "no ruleset\n}\n{\n"), Judgement::default());
}

#[test]
fn what_mends_it_is_a_command_of_the_program_that_keeps_the_rules() {
    let mend = |program: &str, text: &str| told(program, text).obstacles[0].mend.clone();
    let chain = |table: &str, hook: &str| {
        format!(
            "table {table} {{\n\tchain c {{\n\t\ttype filter hook {hook} priority 0; policy drop;\n\t}}\n}}\n"
        )
    };
    assert_eq!(
        mend("nft", &chain("inet filter", "input")),
        "nft insert rule inet filter c ip saddr { 192.0.2.22 } meta l4proto 112 accept"
    );
    assert_eq!(mend("nft", &chain("ip f", "output")), "nft insert rule ip f c meta l4proto 112 accept");
    assert!(mend("nft", &chain("inet firewalld", "input")).starts_with("firewall-cmd --permanent"));
    let ufw = "*filter\n:INPUT DROP [0:0]\n:ufw-before-input - [0:0]\nCOMMIT\n";
    assert!(mend("iptables-save", ufw).contains("/etc/ufw/before.rules"));
    assert_eq!(
        mend(
            "iptables-legacy-save",
            "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p 112 -j DROP\nCOMMIT\n"
        ),
        "iptables-legacy -t raw -I PREROUTING -s 192.0.2.22 -p 112 -j ACCEPT"
    );
}

/// What Red Hat's old default, with a few more rules, does; printed by iptables-legacy-save 1.8.9.
const TABLES: &str = r#"# Generated by iptables-save v1.8.9 on Mon Nov 30 03:05:41 2026
*nat
:PREROUTING DROP [0:0]
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:foo - [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -m comment --comment "a -j DROP" -j ACCEPT
-A INPUT -p icmp -j ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT -p tcp -m state --state NEW -m tcp --dport 22 -j ACCEPT
-A INPUT ! -i lo -p vrrp -j foo
-A INPUT -j REJECT --reject-with icmp-host-prohibited
-A foo -s 192.0.2.99/32 -j ACCEPT
-A foo -m limit --limit 3/min -j LOG --log-prefix "vrrp "
COMMIT
# Completed on Mon Nov 30 03:05:41 2026
"#;

#[test]
fn the_rules_of_iptables_are_followed() {
    let obstacles = told("iptables-legacy-save", TABLES).obstacles;
    assert_eq!(obstacles.len(), 1);
    assert_eq!(
        obstacles[0].what,
        "a rule in the chain INPUT of table filter (iptables-legacy) drops VRRP: -A INPUT -j REJECT --reject-with icmp-host-prohibited"
    );
    for (rule, passes) in [
        ("-A foo -s 192.0.2.0/24 -j ACCEPT", true),
        ("-A foo -m addrtype --dst-type MULTICAST -j ACCEPT", true),
        ("-A foo -m pkttype --pkt-type multicast -j RETURN", false),
        ("-A foo ! -s 192.0.2.22/32 -j ACCEPT", false),
        ("-A foo -m iprange --src-range 192.0.2.20-192.0.2.30 -j ACCEPT", true),
        ("-A foo -i eth+ -j ACCEPT", true),
        ("-A foo -o eth0 -j ACCEPT", false),
    ] {
        let judged = told("iptables-save", &TABLES.replace("COMMIT\n# C", &format!("{rule}\nCOMMIT\n# C")));
        assert_eq!((judged.obstacles.is_empty(), &judged.unclear), (passes, &None), "{rule}");
    }
    let unclear = TABLES.replace("COMMIT\n# C", "-A foo -m set --match-set peers src -j ACCEPT\nCOMMIT\n# C");
    let judged = told("iptables-save", &unclear);
    assert!(judged.obstacles.is_empty() && judged.unclear.unwrap().contains("--match-set peers"));
    assert_eq!(told("ip6tables-save", TABLES), Judgement::default(), "the other family's");
}

#[test]
fn a_link_local_address_is_known_only_in_part() {
    let packet = Packet {
        outward: false,
        source: Endpoint::link_local(),
        destination: Endpoint::known("ff02::12".parse().unwrap()),
        interface: "eth0".to_owned(),
    };
    let judged = |rules: &str| {
        let text = format!("*filter\n:INPUT DROP [0:0]\n{rules}\nCOMMIT\n");
        let rules = vec![Ruleset { program: "ip6tables-save".to_owned(), text }];
        judge(&Firewall { rules, unseen: Vec::new() }, std::slice::from_ref(&packet))
    };
    assert_eq!(judged("-A INPUT -s fe80::/10 -j ACCEPT"), Judgement::default());
    assert_eq!(judged("-A INPUT -d ff02::12/128 -p vrrp -j ACCEPT"), Judgement::default());
    assert_eq!(judged("-A INPUT -s fd77::/64 -j ACCEPT").obstacles.len(), 1);
    assert!(judged("-A INPUT -s fe80::7/128 -j ACCEPT").unclear.is_some());
}
