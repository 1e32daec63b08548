//! Which node an advert comes from, when it comes from a link-local address.
//!
//! With IPv6 adverts are sent from link-local addresses (RFC 9568 §5.1.2.1), which the configuration doesn't know.
//! What tells the nodes apart then is the priority in their adverts, if each has its own.

use crate::settings::Node;
use crate::vrrp::event::Heard;
use crate::vrrp::types::Priority;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// As many senders as are remembered: who speaks from ever new addresses must not fill our memory.
const MOST: usize = 64;

/// The nodes behind the addresses that adverts came from.
#[derive(Debug, Default)]
pub(super) struct Senders {
    nodes: BTreeMap<IpAddr, IpAddr>,
}

impl Senders {
    /// Learns from an advert. A farewell has no priority: it is known by the adverts before it.
    pub(super) fn hear(&mut self, heard: Heard, nodes: &[Node]) {
        if heard.priority == Priority::RELEASE || !is_link_local(heard.from) {
            return;
        }
        let mut same = nodes.iter().filter(|node| node.priority == Some(heard.priority.0));
        match (same.next(), same.next()) {
            (Some(node), None) if self.nodes.len() < MOST || self.nodes.contains_key(&heard.from) => {
                self.nodes.insert(heard.from, node.address);
            }
            _ => {
                self.nodes.remove(&heard.from);
            }
        }
    }

    /// Returns the address of the node that speaks from there; the address itself if that isn't known.
    pub(super) fn node_of(&self, from: IpAddr) -> IpAddr {
        self.nodes.get(&from).copied().unwrap_or(from)
    }
}

const fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;
    use crate::units::Moment;
    use crate::vrrp::types::AdverInterval;

    fn nodes(priorities: [u8; 2]) -> Vec<Node> {
        let node = |number: usize, priority: u8| {
            format!("[[node]]\nname = \"n{number}\"\naddress = \"fd77::{number}\"\npriority = {priority}\n")
        };
        let [one, two] = priorities;
        let text = format!(
            "[cluster]\nname = \"t\"\n{}{}[[vip]]\naddress = \"fd77::100/64\"\n",
            node(1, one),
            node(2, two)
        );
        Settings::from_toml(&text, "f").unwrap().nodes
    }

    fn heard(from: &str, priority: u8) -> Heard {
        Heard {
            from: from.parse().unwrap(),
            at: Moment::BOOT,
            priority: Priority(priority),
            interval: AdverInterval::DEFAULT,
        }
    }

    #[test]
    fn a_link_local_sender_is_the_only_node_with_its_priority() {
        let nodes = nodes([200, 100]);
        let mut senders = Senders::default();
        let of = |senders: &Senders, from: &str| senders.node_of(from.parse().unwrap()).to_string();
        senders.hear(heard("fe80::a", 0), &nodes);
        assert_eq!(of(&senders, "fe80::a"), "fe80::a", "a farewell alone says nothing");
        senders.hear(heard("fe80::a", 100), &nodes);
        senders.hear(heard("fe80::a", 0), &nodes);
        assert_eq!(of(&senders, "fe80::a"), "fd77::2");
        senders.hear(heard("fe80::b", 150), &nodes);
        assert_eq!(of(&senders, "fe80::b"), "fe80::b");
        senders.hear(heard("fd77::9", 200), &nodes);
        assert_eq!(of(&senders, "fd77::9"), "fd77::9");
        senders.hear(heard("fe80::a", 7), &nodes);
        assert_eq!(of(&senders, "fe80::a"), "fe80::a", "what it said last counts");
    }

    #[test]
    fn nodes_of_one_priority_are_not_told_apart_and_the_memory_is_bounded() {
        let same = nodes([100, 100]);
        let mut senders = Senders::default();
        senders.hear(heard("fe80::a", 100), &same);
        assert!(senders.nodes.is_empty());
        let different = nodes([200, 100]);
        for number in 0..100 {
            senders.hear(heard(&format!("fe80::{number:x}"), 200), &different);
        }
        assert_eq!(senders.nodes.len(), MOST);
    }
}
