//! Reads what `nft -n list ruleset` prints.

use super::tables::split;
use super::{Chain, Condition, Rule, Verdict};

/// Reads the chains of all tables.
pub(super) fn read(text: &str) -> Vec<Chain> {
    let mut chains = Vec::new();
    let mut table = String::new();
    let mut chain: Option<Chain> = None;
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix("table ") {
            rest.split('{').next().unwrap_or_default().trim().clone_into(&mut table);
        } else if let Some(rest) = line.strip_prefix("chain ") {
            let name = rest.trim_end_matches('{').trim().to_owned();
            let family = table.split_whitespace().next().unwrap_or_default();
            let families = match family {
                "ip" => (true, false),
                "ip6" => (false, true),
                "inet" | "netdev" => (true, true),
                _ => (false, false),
            };
            chain = Some(Chain {
                name,
                table: table.clone(),
                families,
                outward: None,
                drops: false,
                rules: Vec::new(),
            });
        } else if line == "}" {
            chains.extend(chain.take());
        } else if let Some(chain) = &mut chain {
            if line.starts_with("type ") {
                base(chain, line);
            } else if !line.is_empty() && !line.starts_with('#') && !line.starts_with("comment ") {
                let mut rule = line.to_owned();
                // A long set goes over several lines.
                while rule.matches('{').count() > rule.matches('}').count() {
                    let Some(more) = lines.next() else { break };
                    rule.push(' ');
                    rule.push_str(more);
                }
                chain.rules.extend(rules(&rule));
            }
        } else if line.ends_with('{') {
            // A set, a map, a counter: over at its brace.
            for inside in lines.by_ref() {
                if inside == "}" {
                    break;
                }
            }
        }
    }
    chains
}

/// Reads at which place of a packet's way a chain is.
fn base(chain: &mut Chain, line: &str) {
    let words: Vec<&str> = line.split_whitespace().map(|word| word.trim_end_matches(';')).collect();
    let after = |wanted: &str| {
        words.iter().position(|word| *word == wanted).and_then(|at| words.get(at.checked_add(1)?)).copied()
    };
    chain.drops = after("policy") == Some("drop");
    if after("type") == Some("nat") {
        return;
    }
    chain.outward = match after("hook") {
        Some("ingress" | "prerouting" | "input") => Some(false),
        Some("output" | "postrouting" | "egress") => Some(true),
        _ => None,
    };
    if let (Some(device), Some("ingress" | "egress")) = (after("device"), after("hook")) {
        // Packets of other devices don't pass it: that is each of its rules' first condition.
        let names = vec![device.trim_matches('"').to_owned()];
        let elsewhere = if chain.outward == Some(true) {
            Condition::Leaves(names, true)
        } else {
            Condition::Enters(names, true)
        };
        chain.rules.push(Rule {
            text: line.to_owned(),
            conditions: vec![elsewhere],
            verdict: Verdict::Accept,
        });
    }
}

/// The values that a condition compares with.
enum Values {
    Some(Vec<String>, bool),
    /// What becomes of the packet for each of them.
    Map(Vec<(String, Verdict)>),
    Unknown,
}

struct Words {
    words: Vec<String>,
    at: usize,
}

impl Words {
    fn peek(&self) -> &str {
        self.words.get(self.at).map_or("", String::as_str)
    }

    fn next(&mut self) -> Option<String> {
        let word = self.words.get(self.at).cloned();
        self.at = self.at.saturating_add(1);
        word
    }

    fn skip_if(&mut self, word: &str) -> bool {
        let is = self.peek() == word;
        if is {
            self.at = self.at.saturating_add(1);
        }
        is
    }

    /// Reads what comes in braces, or the one value.
    fn values(&mut self) -> Values {
        let map = self.skip_if("vmap");
        let negated = !map && self.skip_if("!=");
        self.skip_if("==");
        if matches!(self.peek(), "&" | "." | "<" | ">" | "<=" | ">=" | "|" | "and" | "or" | "map" | "set") {
            return Values::Unknown;
        }
        if !self.skip_if("{") {
            let Some(value) = self.next() else { return Values::Unknown };
            if value.starts_with('@') || map {
                return Values::Unknown;
            }
            return Values::Some(value.split(',').map(str::to_owned).collect(), negated);
        }
        let mut inside = Vec::new();
        while let Some(word) = self.next() {
            if word == "}" {
                break;
            }
            inside.push(word);
        }
        let inside = inside.join(" ");
        let elements = inside.split(',').map(str::trim).filter(|element| !element.is_empty());
        if !map {
            return Values::Some(elements.map(str::to_owned).collect(), negated);
        }
        let pair = |element: &str| {
            let (value, verdict) = element.split_once(" : ")?;
            let mut words = Words { words: split(verdict), at: 0 };
            let word = words.next()?;
            Some((value.trim().to_owned(), words.verdict(&word).unwrap_or(Verdict::Unknown)))
        };
        elements.map(pair).collect::<Option<Vec<_>>>().map_or(Values::Unknown, Values::Map)
    }

    fn verdict(&mut self, word: &str) -> Option<Verdict> {
        Some(match word {
            "accept" => Verdict::Accept,
            "drop" | "reject" => Verdict::Drop,
            "return" => Verdict::Return,
            "continue" => Verdict::Nothing,
            "jump" => Verdict::Jump(self.next().unwrap_or_default(), true),
            "goto" => Verdict::Jump(self.next().unwrap_or_default(), false),
            "queue" | "tproxy" => Verdict::Unknown,
            _ => return None,
        })
    }
}

type Make = fn(Vec<String>, bool) -> Condition;

/// Reads a rule; one with a map of verdicts becomes as many as that has.
fn rules(text: &str) -> Vec<Rule> {
    // Braces and commas are words of their own only within a set.
    let mut words = Words { words: split(text), at: 0 };
    let mut conditions = Vec::new();
    let mut map: Option<(Option<Make>, Values)> = None;
    let mut verdict = Verdict::Nothing;
    while let Some(word) = words.next() {
        if let Some(found) = words.verdict(&word) {
            verdict = found;
            break;
        }
        let make: Option<Make> = match word.as_str() {
            "counter" | "log" | "comment" | "notrack" => {
                skip(&mut words, &word);
                continue;
            }
            // Another protocol's header: this isn't it.
            "tcp" | "udp" | "udplite" | "sctp" | "dccp" | "icmp" | "icmpv6" | "igmp" | "gre" | "ah"
            | "esp" | "comp" | "arp" | "vlan" => {
                conditions.push(Condition::Is(false));
                words.next();
                None
            }
            "iif" | "iifname" => Some(Condition::Enters),
            "oif" | "oifname" => Some(Condition::Leaves),
            "meta" => match words.next().unwrap_or_default().as_str() {
                "l4proto" => Some(Condition::Protocol),
                "iif" | "iifname" => Some(Condition::Enters),
                "oif" | "oifname" => Some(Condition::Leaves),
                "pkttype" => Some(Condition::Kind),
                "nfproto" => {
                    conditions.push(family(&words.next().unwrap_or_default()));
                    continue;
                }
                // Something is written into the packet's mark.
                _ if words.skip_if("set") => {
                    words.next();
                    continue;
                }
                _ => None,
            },
            "ip" | "ip6" => {
                conditions.push(family(&word));
                match words.next().unwrap_or_default().as_str() {
                    "saddr" => Some(Condition::Source),
                    "daddr" => Some(Condition::Destination),
                    "protocol" | "nexthdr" => Some(Condition::Protocol),
                    _ => None,
                }
            }
            "ct" => match words.next().unwrap_or_default().as_str() {
                "state" => Some(Condition::State),
                // Nobody translates VRRP.
                "status" if matches!(words.peek(), "dnat" | "snat") => {
                    words.next();
                    conditions.push(Condition::Is(false));
                    continue;
                }
                _ if words.skip_if("set") => {
                    words.next();
                    continue;
                }
                _ => None,
            },
            "fib" => {
                conditions.push(fib(&mut words));
                continue;
            }
            _ => {
                conditions.push(Condition::Unknown);
                continue;
            }
        };
        match (words.values(), make) {
            (Values::Some(values, negated), Some(make)) => conditions.push(make(values, negated)),
            (Values::Some(..), None) if conditions.contains(&Condition::Is(false)) => {}
            (Values::Map(pairs), make) => map = Some((make, Values::Map(pairs))),
            _ => conditions.push(Condition::Unknown),
        }
    }
    let Some((make, Values::Map(pairs))) = map else {
        return vec![Rule { text: text.to_owned(), conditions, verdict }];
    };
    let one = |(value, verdict): (String, Verdict)| {
        let mut conditions = conditions.clone();
        conditions.push(make.map_or(Condition::Unknown, |make| make(vec![value], false)));
        Rule { text: text.to_owned(), conditions, verdict }
    };
    pairs.into_iter().map(one).collect()
}

/// Skips what a statement without consequences says of itself.
fn skip(words: &mut Words, statement: &str) {
    match statement {
        "comment" => {
            words.next();
        }
        "counter" => match words.peek() {
            "packets" => words.at = words.at.saturating_add(4),
            "name" => words.at = words.at.saturating_add(2),
            _ => {}
        },
        _ => {
            while matches!(
                words.peek(),
                "prefix" | "level" | "group" | "snaplen" | "queue-threshold" | "flags"
            ) {
                words.at = words.at.saturating_add(2);
            }
        }
    }
}

fn family(word: &str) -> Condition {
    match word {
        "ip" | "ipv4" | "2" => Condition::Family(4),
        "ip6" | "ipv6" | "10" => Condition::Family(6),
        _ => Condition::Unknown,
    }
}

/// What the routing table says of a packet: of which kind its destination is, or whether there is a way back.
fn fib(words: &mut Words) -> Condition {
    let mut destination = false;
    while let Some(word) = words.next() {
        match word.as_str() {
            "daddr" => destination = true,
            "type" if destination => {
                return match words.values() {
                    Values::Some(values, negated) => Condition::Kind(values, negated),
                    _ => Condition::Unknown,
                };
            }
            // The way back to the other nodes is the way that they come by.
            "oif" | "oifname" => {
                let word = words.next().unwrap_or_default();
                return match word.as_str() {
                    "missing" | "0" => Condition::Is(false),
                    "exists" => Condition::Is(true),
                    _ => Condition::Unknown,
                };
            }
            "saddr" | "." | "iif" | "mark" => {}
            _ => return Condition::Unknown,
        }
    }
    Condition::Unknown
}
