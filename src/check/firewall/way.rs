//! The way of a packet through chains.

use super::{Chain, Condition, Rule, Verdict};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How deep chains may call each other.
const DEEPEST: u8 = 16;

/// One end of a packet's way, as far as its address is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    address: IpAddr,
    /// How many bits of it are certain.
    certain: u8,
}

/// A packet of VRRP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Whether this machine sends it.
    pub outward: bool,
    /// Who sends it.
    pub source: Endpoint,
    /// Whom it is for.
    pub destination: Endpoint,
    /// The interface that it comes in or goes out by.
    pub interface: String,
}

/// Where a packet's way ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It got through.
    Passed,
    /// A rule dropped it, described for a person.
    Dropped(String),
    /// Nobody can say after this rule.
    Unclear(String),
}

impl Endpoint {
    /// This address.
    pub const fn known(address: IpAddr) -> Self {
        Self { address, certain: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// Some link-local address of IPv6.
    pub const fn link_local() -> Self {
        Self { address: IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1)), certain: 64 }
    }

    /// Some address.
    pub const fn any(ipv4: bool) -> Self {
        let address =
            if ipv4 { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
        Self { address, certain: 0 }
    }

    /// Returns the address if it is known in full.
    pub fn exactly(self) -> Option<IpAddr> {
        (self.certain == if self.address.is_ipv4() { 32 } else { 128 }).then_some(self.address)
    }

    /// Returns whether it is in a network, an address or a range; `None`: that can't be said.
    fn is_in(self, network: &str) -> Option<bool> {
        let number = |address: IpAddr| match address {
            IpAddr::V4(ip) => u128::from(u32::from(ip)) << 96,
            IpAddr::V6(ip) => u128::from(ip),
        };
        let same_family = |other: IpAddr| other.is_ipv4() == self.address.is_ipv4();
        if let Some((first, last)) = network.split_once('-') {
            let (first, last): (IpAddr, IpAddr) = (first.parse().ok()?, last.parse().ok()?);
            if !same_family(first) {
                return Some(false);
            }
            let address = self.exactly()?;
            return Some((number(first)..=number(last)).contains(&number(address)));
        }
        let (address, prefix) = match network.split_once('/') {
            Some((address, prefix)) => (address.parse().ok()?, prefix.parse::<u8>().ok()?),
            None => (network.parse().ok()?, 128),
        };
        if !same_family(address) {
            return Some(false);
        }
        let bits = |count: u8| u128::MAX.checked_shl(128_u32.saturating_sub(count.into())).unwrap_or(0);
        let prefix = if address.is_ipv4() { prefix.min(32) } else { prefix };
        let shared = bits(prefix.min(self.certain));
        let alike = number(address) & shared == number(self.address) & shared;
        if alike && prefix > self.certain { None } else { Some(alike) }
    }
}

impl Packet {
    /// Returns whether it is of IPv4.
    pub fn ipv4(&self) -> bool {
        self.source.address.is_ipv4()
    }

    /// Returns whether it passes a chain by itself.
    pub(super) fn passes(&self, chain: &Chain) -> bool {
        let (four, six) = chain.families;
        chain.outward == Some(self.outward) && if self.ipv4() { four } else { six }
    }

    /// Returns whether it meets a condition; `None`: that can't be said.
    fn meets(&self, condition: &Condition) -> Option<bool> {
        let any = |values: &[String], test: &dyn Fn(&str) -> Option<bool>| -> Option<bool> {
            let mut unknown = false;
            for value in values {
                match test(value) {
                    Some(true) => return Some(true),
                    Some(false) => {}
                    None => unknown = true,
                }
            }
            if unknown { None } else { Some(false) }
        };
        let interface = |here: bool, names: &[String]| {
            // The other interface of its way isn't there: no name is it.
            if here { any(names, &|name| Some(is_named(&self.interface, name))) } else { Some(false) }
        };
        let (met, negated) = match condition {
            Condition::Protocol(names, not) => {
                (any(names, &|name| Some(matches!(name, "112" | "vrrp" | "carp" | "all" | "0"))), *not)
            }
            Condition::Source(networks, not) => (any(networks, &|network| self.source.is_in(network)), *not),
            Condition::Destination(networks, not) => {
                (any(networks, &|network| self.destination.is_in(network)), *not)
            }
            Condition::Enters(names, not) => (interface(!self.outward, names), *not),
            Condition::Leaves(names, not) => (interface(self.outward, names), *not),
            // Nobody answers an advert: each is the first of its connection.
            Condition::State(states, not) => {
                (any(states, &|state| Some(state.eq_ignore_ascii_case("new"))), *not)
            }
            Condition::Kind(kinds, not) => {
                let multicast = self.destination.exactly().is_some_and(|address| address.is_multicast());
                let is = |kind: &str| match kind.to_ascii_lowercase().as_str() {
                    "multicast" => Some(multicast),
                    "local" | "host" => Some(!multicast && !self.outward),
                    "broadcast" | "anycast" => Some(false),
                    "unicast" => Some(!multicast && self.outward),
                    _ => None,
                };
                (any(kinds, &is), *not)
            }
            Condition::Family(family) => (Some((*family == 4) == self.ipv4()), false),
            Condition::Is(met) => (Some(*met), false),
            Condition::Unknown => (None, false),
        };
        met.map(|met| met != negated)
    }

    /// Returns whether it meets all conditions of a rule.
    fn meets_all(&self, rule: &Rule) -> Option<bool> {
        let met: Vec<Option<bool>> = rule.conditions.iter().map(|condition| self.meets(condition)).collect();
        if met.contains(&Some(false)) {
            return Some(false);
        }
        (!met.contains(&None)).then_some(true)
    }
}

fn is_named(interface: &str, name: &str) -> bool {
    match name.strip_suffix(['*', '+']) {
        Some(start) => interface.starts_with(start),
        None => interface == name,
    }
}

/// How a chain ends for a packet.
enum Ended {
    Accepted,
    Dropped(String),
    /// Its rules have decided nothing.
    Open,
    Unclear(String),
}

/// Follows a packet through a chain that it passes by itself.
pub(super) fn through(chains: &[Chain], chain: &Chain, packet: &Packet) -> End {
    match follow(chains, chain, packet, 0) {
        Ended::Dropped(what) => End::Dropped(what),
        Ended::Unclear(what) => End::Unclear(what),
        Ended::Open if chain.drops => End::Dropped(format!(
            "the chain {} of table {} drops what it doesn't know, and has no rule for VRRP",
            chain.name, chain.table
        )),
        Ended::Accepted | Ended::Open => End::Passed,
    }
}

fn follow(chains: &[Chain], chain: &Chain, packet: &Packet, depth: u8) -> Ended {
    let at = |rule: &Rule| format!("in the chain {} of table {}: {}", chain.name, chain.table, rule.text);
    for rule in &chain.rules {
        let certain = match packet.meets_all(rule) {
            Some(false) => continue,
            Some(true) => true,
            None => false,
        };
        match &rule.verdict {
            Verdict::Nothing => {}
            Verdict::Jump(name, returns) => {
                let there = chains.iter().find(|other| other.name == *name && other.table == chain.table);
                let ended = match there.filter(|_| depth < DEEPEST) {
                    Some(there) => follow(chains, there, packet, depth.saturating_add(1)),
                    None => Ended::Unclear(at(rule)),
                };
                match ended {
                    Ended::Open if *returns => {}
                    Ended::Open if certain => return Ended::Open,
                    ended if certain => return ended,
                    _ => return Ended::Unclear(at(rule)),
                }
            }
            _ if !certain => return Ended::Unclear(at(rule)),
            Verdict::Accept => return Ended::Accepted,
            Verdict::Drop => {
                return Ended::Dropped(format!("a rule {}", at(rule).replacen(": ", " drops VRRP: ", 1)));
            }
            Verdict::Return => return Ended::Open,
            Verdict::Unknown => return Ended::Unclear(at(rule)),
        }
    }
    Ended::Open
}
