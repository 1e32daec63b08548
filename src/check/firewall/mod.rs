//! What this machine's firewall does to VRRP: the rules that nft or iptables-save tell, followed for every packet that
//! the other nodes send and for those that leave. Pure.
//!
//! ```text
//! nft -n list ruleset ─→ nft    ┐
//!                               ├─→ chains ─→ the way of a packet through them ─→ the rule that drops it
//! iptables-save, ip6… ─→ tables ┘
//! ```
//!
//! A condition that can't be understood, or depends on what isn't known here, makes the end of that way unknown: then
//! nothing is claimed.

mod nft;
mod tables;
mod way;

pub use way::{End, Endpoint, Packet};

use crate::settings::{Node, NodeRole, Settings};
use std::net::IpAddr;

/// The rules of one program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruleset {
    /// What printed them: `nft`, `iptables-save`, `ip6tables-legacy-save`…
    pub program: String,
    /// What it printed.
    pub text: String,
}

/// What is known of this machine's firewall.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Firewall {
    /// The rules that could be read.
    pub rules: Vec<Ruleset>,
    /// Why others couldn't.
    pub unseen: Vec<String>,
}

/// A chain, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Chain {
    name: String,
    /// The table, as its program calls it.
    table: String,
    /// The addresses that it sees: of IPv4, IPv6.
    families: (bool, bool),
    /// For a chain that packets pass by themselves: whether those are the ones that leave.
    outward: Option<bool>,
    /// Whether what its rules don't decide is dropped.
    drops: bool,
    rules: Vec<Rule>,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    text: String,
    conditions: Vec<Condition>,
    verdict: Verdict,
}

/// What a rule does with a packet that meets its conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Accept,
    Drop,
    Return,
    /// Another chain goes on; whether this one does after that.
    Jump(String, bool),
    /// Something else that doesn't end its way.
    Nothing,
    /// Nobody here can say.
    Unknown,
}

/// What a rule asks of a packet; the flag says whether it asks for the contrary.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    /// The protocol inside is one of these.
    Protocol(Vec<String>, bool),
    /// It comes from one of these networks.
    Source(Vec<String>, bool),
    /// It goes to one of these networks.
    Destination(Vec<String>, bool),
    /// It came in by one of these interfaces; `*` and `+` stand for any rest of a name.
    Enters(Vec<String>, bool),
    /// It leaves by one of these interfaces.
    Leaves(Vec<String>, bool),
    /// The state of its connection is one of these.
    State(Vec<String>, bool),
    /// It is for everybody (`multicast`), or for this machine (`local`, `host`, `unicast`).
    Kind(Vec<String>, bool),
    /// It is of this family: 4 or 6.
    Family(u8),
    /// Known beforehand.
    Is(bool),
    Unknown,
}

/// A place where VRRP ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// Whether it is VRRP that leaves, not that arrives.
    pub outward: bool,
    /// Where it is and what it drops.
    pub what: String,
    /// The command that lets VRRP through.
    pub mend: String,
}

/// What the rules were found to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Where VRRP ends.
    pub obstacles: Vec<Obstacle>,
    /// The first rule on its way whose effect isn't known.
    pub unclear: Option<String>,
}

/// Follows every packet through all rules; of each direction the first obstacle is told.
pub fn judge(firewall: &Firewall, packets: &[Packet]) -> Judgement {
    let mut judged = Judgement::default();
    for ruleset in &firewall.rules {
        let chains = match ruleset.program.as_str() {
            "nft" => nft::read(&ruleset.text),
            program => tables::read(program, &ruleset.text),
        };
        for packet in packets {
            for chain in chains.iter().filter(|chain| packet.passes(chain)) {
                match way::through(&chains, chain, packet) {
                    End::Passed => {}
                    End::Unclear(what) => {
                        judged.unclear.get_or_insert(what);
                    }
                    End::Dropped(what) => {
                        let obstacle = Obstacle {
                            outward: packet.outward,
                            what,
                            mend: mend(&ruleset.program, chain, &chains, packet, packets),
                        };
                        if !judged.obstacles.iter().any(|known| known.outward == obstacle.outward) {
                            judged.obstacles.push(obstacle);
                        }
                    }
                }
            }
        }
    }
    judged
}

/// The command that lets VRRP through a chain: that of the program which keeps the rules, where one is known to.
fn mend(program: &str, chain: &Chain, chains: &[Chain], packet: &Packet, packets: &[Packet]) -> String {
    if chain.table.contains("firewalld") {
        return "firewall-cmd --permanent --add-protocol=vrrp && firewall-cmd --reload".to_owned();
    }
    let mut others: Vec<String> = packets
        .iter()
        .filter(|other| (other.outward, other.ipv4()) == (packet.outward, packet.ipv4()))
        .filter_map(|other| if packet.outward { None } else { other.source.exactly() })
        .map(|address| address.to_string())
        .collect();
    others.sort_unstable();
    others.dedup();
    let base = &chain.name;
    if chains.iter().any(|chain| chain.name.starts_with("ufw")) {
        let (file, six) = if packet.ipv4() { ("before.rules", "") } else { ("before6.rules", "6") };
        let way = if packet.outward { "output" } else { "input" };
        return format!(
            "in /etc/ufw/{file}, before its other rules: -A ufw{six}-before-{way} -p 112 -j ACCEPT; then ufw reload"
        );
    }
    if program == "nft" {
        let from = match (&others[..], packet.ipv4()) {
            ([], _) => String::new(),
            (some, true) => format!("ip saddr {{ {} }} ", some.join(", ")),
            (some, false) => format!("ip6 saddr {{ {} }} ", some.join(", ")),
        };
        return format!("nft insert rule {} {base} {from}meta l4proto 112 accept", chain.table);
    }
    let command = program.strip_suffix("-save").unwrap_or(program);
    let table = chain.table.split_whitespace().next().filter(|table| *table != "filter");
    let table = table.map(|table| format!("-t {table} ")).unwrap_or_default();
    let from = if others.is_empty() { String::new() } else { format!("-s {} ", others.join(",")) };
    format!("{command} {table}-I {base} {from}-p 112 -j ACCEPT")
}

/// The packets of VRRP that must get through here, of the cluster's own virtual router and of every other.
pub fn packets(settings: &Settings, me: &Node, interface: &str) -> Vec<Packet> {
    let mut packets = Vec::new();
    let mut add = |outward: bool, from: Endpoint, to: Endpoint, interface: &str| {
        packets.push(Packet { outward, source: from, destination: to, interface: interface.to_owned() });
    };
    let group = |ipv4: bool| Endpoint::known(crate::units::vrrp_group(ipv4));
    let unicast = settings.vrrp.unicast;
    // Over IPv6 what goes to the group comes from an address that only the sender knows.
    let sender = |address: IpAddr| match address {
        IpAddr::V6(_) if !unicast => Endpoint::link_local(),
        address => Endpoint::known(address),
    };
    if me.role == NodeRole::Data && !settings.vips.is_empty() {
        for peer in settings.peers().filter(|peer| peer.role == NodeRole::Data) {
            let ends =
                |to: &Node| if unicast { Endpoint::known(to.address) } else { group(to.address.is_ipv4()) };
            add(false, sender(peer.address), ends(me), interface);
            add(true, sender(me.address), ends(peer), interface);
        }
    }
    for instance in &settings.instances {
        let ipv4 = instance.addresses.first().is_some_and(|address| address.address().is_ipv4());
        let some = || if ipv4 { Endpoint::any(true) } else { Endpoint::link_local() };
        if instance.unicast_peers.is_empty() {
            add(false, some(), group(ipv4), &instance.interface);
            add(true, some(), group(ipv4), &instance.interface);
        }
        for peer in &instance.unicast_peers {
            add(false, Endpoint::known(*peer), Endpoint::any(peer.is_ipv4()), &instance.interface);
            add(true, Endpoint::any(peer.is_ipv4()), Endpoint::known(*peer), &instance.interface);
        }
    }
    packets
}

#[cfg(test)]
mod tests;
