//! Whether VRRP arrives: what every node has sent to the others, what their daemons have counted, and what that means.
//! Pure.
//!
//! A Backup is silent, so a quiet network and one that lets nothing through look alike. Probes
//! ([`crate::vrrp::wire::Probe`]) tell them apart, in both directions and whoever is Active.

use super::finding::{Finding, Findings, Level};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// How many probes of each sender a daemon has counted.
pub type Counted = BTreeMap<IpAddr, u64>;

/// What a node's daemon has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The address that its adverts come from.
    pub source: IpAddr,
    /// How many probes went to each destination: the group, or its peers.
    pub to: BTreeMap<IpAddr, u64>,
    /// Why some couldn't leave.
    pub failed: Option<String>,
}

/// A node that has a part in the election.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Station {
    /// The node's name.
    pub node: String,
    /// Where unicast adverts reach it.
    pub address: IpAddr,
    /// What its daemon had counted before anybody has sent.
    pub before: Result<Counted, String>,
    /// What it has sent.
    pub sent: Result<Sent, String>,
    /// What it has counted since.
    pub after: Result<Counted, String>,
}

impl Station {
    /// Returns what `other` has sent to this node.
    fn sent_here(&self, other: &Sent) -> u64 {
        let here = |to: &&IpAddr| to.is_multicast() || **to == self.address;
        other.to.iter().filter(|(to, _)| here(to)).map(|(_, count)| count).sum()
    }

    /// Returns how many of another's probes have arrived here.
    fn arrived(&self, other: &Sent) -> Result<u64, &str> {
        let count = |counted: &Counted| counted.get(&other.source).copied().unwrap_or(0);
        let before = count(self.before.as_ref().map_err(String::as_str)?);
        Ok(count(self.after.as_ref().map_err(String::as_str)?).saturating_sub(before))
    }
}

/// Returns whether something that was sent hasn't arrived (yet).
pub fn is_awaited(stations: &[Station]) -> bool {
    pairs(stations).any(|(from, to)| {
        from.sent.as_ref().is_ok_and(|sent| to.sent_here(sent) > 0 && to.arrived(sent) == Ok(0))
    })
}

/// Reads the answer of `vrrp stats`: what the daemon's own virtual router has counted.
pub fn read_counted(answer: &Value, cluster: &str) -> Result<Counted, String> {
    let instance = main(answer, cluster)?;
    let probes = instance
        .get("probes")
        .and_then(Value::as_object)
        .ok_or("its daemon doesn't count probes: it is of an older version")?;
    Ok(probes.iter().filter_map(|(from, count)| Some((from.parse().ok()?, count.as_u64()?))).collect())
}

/// Reads the answer of `vrrp probe`.
pub fn read_sent(answer: &Value, cluster: &str) -> Result<Sent, String> {
    let instance = main(answer, cluster)?;
    let source = instance.get("source").and_then(Value::as_str).and_then(|source| source.parse().ok());
    let sent = instance.get("sent").and_then(Value::as_object);
    let (Some(source), Some(sent)) = (source, sent) else {
        return Err("its answer can't be understood".to_owned());
    };
    Ok(Sent {
        source,
        to: sent.iter().filter_map(|(to, count)| Some((to.parse().ok()?, count.as_u64()?))).collect(),
        failed: instance.get("failed").and_then(Value::as_str).map(str::to_owned),
    })
}

fn main<'a>(answer: &'a Value, cluster: &str) -> Result<&'a Value, String> {
    let named = |instance: &&Value| instance.get("name").and_then(Value::as_str) == Some(cluster);
    let instances = answer.get("instances").and_then(Value::as_array).into_iter().flatten();
    instances.into_iter().find(named).ok_or_else(|| "its daemon has no virtual router of [vrrp]".to_owned())
}

fn pairs(stations: &[Station]) -> impl Iterator<Item = (&Station, &Station)> {
    stations
        .iter()
        .flat_map(|to| stations.iter().filter(|from| from.node != to.node).map(move |from| (from, to)))
}

/// Says of every direction whether VRRP gets through; the firewalls that were looked at are in the findings already.
pub fn judge(findings: &mut Findings, stations: &[Station]) {
    for station in stations {
        let node = Some(station.node.as_str());
        let others = || stations.iter().filter(|other| other.node != station.node);
        if let Ok(Sent { failed: Some(why), to, .. }) = &station.sent
            && to.values().sum::<u64>() == 0
        {
            let finding =
                Finding::new("vrrp-leaves", Level::Error, format!("no VRRP leaves this node: {why}"))
                    .why("its adverts aren't heard: while it is Active, the others take it for dead")
                    .mend(
                        firewalls(findings, &[&station.node])
                            .unwrap_or_else(|| "nft list ruleset; ip link".to_owned()),
                    );
            findings.add(node, finding);
        }
        let (mut deaf, mut unknown) = (Vec::new(), Vec::new());
        for other in others() {
            let sent = match &other.sent {
                Ok(sent) => sent,
                Err(why) => {
                    unknown.push(format!("{} has sent nothing: {why}", other.node));
                    continue;
                }
            };
            let (expected, arrived) = (station.sent_here(sent), station.arrived(sent));
            match arrived {
                Err(why) => unknown.push(why.to_owned()),
                Ok(0) if expected > 0 => deaf.push((other, sent)),
                Ok(0) => unknown.push(format!("{} couldn't send anything", other.node)),
                Ok(_) => {}
            }
        }
        unknown.dedup();
        for why in &unknown {
            findings.skip("vrrp-arrives", node, why.as_str());
        }
        for (other, sent) in &deaf {
            let finding = not_arriving(findings, station, other, sent);
            findings.add(node, finding);
        }
        if deaf.is_empty() && unknown.is_empty() && others().next().is_some() {
            findings.check("vrrp-arrives", node, None);
            // Now that is known.
            findings.skipped.retain(|it| !(it.check == "vrrp-heard" && it.node.as_deref() == node));
        }
    }
}

fn not_arriving(findings: &Findings, station: &Station, other: &Station, sent: &Sent) -> Finding {
    let to: Vec<&IpAddr> = sent.to.keys().filter(|to| to.is_multicast() || **to == station.address).collect();
    let to = to.first().map_or_else(String::new, |to| format!(" to {to}"));
    let multicast = sent.to.keys().any(IpAddr::is_multicast);
    let what = format!(
        "nothing that {} sends by VRRP arrives here (IP protocol 112 from {}{to})",
        other.node, sent.source
    );
    let mend = firewalls(findings, &[&station.node, &other.node]).unwrap_or_else(|| {
        let switch = if multicast { "; does the switch snoop IGMP without a querier?" } else { "" };
        format!(
            "on {}: tcpdump -ni any proto 112, while on {}: pgbaton vrrp probe; on both: nft list ruleset{switch}",
            station.node, other.node
        )
    });
    Finding::new("vrrp-arrives", Level::Error, what)
        .why(format!("while {} is Active, this node takes it for dead", other.node))
        .mend(mend)
}

/// What the firewalls of these nodes were found to drop.
fn firewalls(findings: &Findings, nodes: &[&String]) -> Option<String> {
    let of = |finding: &&Finding| {
        finding.code == "firewall" && finding.node.as_ref().is_some_and(|node| nodes.contains(&node))
    };
    let told: Vec<String> = findings
        .found
        .iter()
        .filter(of)
        .map(|finding| format!("on {}: {}", finding.node.as_deref().unwrap_or_default(), finding.what))
        .collect();
    (!told.is_empty()).then(|| told.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const GROUP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(224, 0, 0, 18));

    fn ip(number: u8) -> IpAddr {
        IpAddr::from([10, 77, 0, number])
    }

    fn station(number: u8, hears: &[u8]) -> Station {
        let sent = Sent { source: ip(number), to: [(GROUP, 3)].into(), failed: None };
        Station {
            node: format!("node{number}"),
            address: ip(number),
            before: Ok(Counted::new()),
            sent: Ok(sent),
            after: Ok(hears.iter().map(|from| (ip(*from), 3)).collect()),
        }
    }

    fn told(stations: &[Station]) -> Findings {
        let mut findings = Findings::default();
        findings.skip("vrrp-heard", Some("node1"), "not known");
        judge(&mut findings, stations);
        findings
    }

    #[test]
    fn a_direction_in_which_nothing_arrives_is_told_at_the_node_that_hears_nothing() {
        let stations = [station(1, &[2]), station(2, &[])];
        assert!(is_awaited(&stations));
        let findings = told(&stations);
        let found: Vec<_> = findings.found.iter().map(|it| (it.code.as_ref(), it.node.as_deref())).collect();
        assert_eq!(found, [("vrrp-arrives", Some("node2"))]);
        assert!(findings.found[0].what.contains("node1") && findings.found[0].what.contains("224.0.0.18"));
        assert_eq!(findings.passed.len(), 1, "node1 hears");
        assert!(findings.skipped.is_empty(), "what was unknown before is known now");
    }

    #[test]
    fn the_firewall_that_was_found_is_named() {
        let mut findings = Findings::default();
        findings.add(Some("node2"), Finding::new("firewall", Level::Error, "chain x drops VRRP"));
        judge(&mut findings, &[station(1, &[2]), station(2, &[])]);
        assert_eq!(findings.found[1].mend, "on node2: chain x drops VRRP");
    }

    #[test]
    fn what_was_counted_before_is_no_proof() {
        let mut deaf = station(2, &[1]);
        deaf.before = deaf.after.clone();
        assert_eq!(told(&[station(1, &[2]), deaf]).found.len(), 1);
        assert_eq!(told(&[station(1, &[2]), station(2, &[1])]).found.len(), 0);
    }

    #[test]
    fn a_daemon_that_does_not_answer_is_neither_right_nor_wrong() {
        let mut silent = station(2, &[]);
        silent.after = Err("no daemon".to_owned());
        silent.sent = Err("no daemon".to_owned());
        let findings = told(&[station(1, &[]), silent]);
        assert_eq!((findings.found.len(), findings.passed.len(), findings.skipped.len()), (0, 0, 3));
    }

    #[test]
    fn one_that_can_not_send_is_told_at_itself() {
        let mut first = station(1, &[2]);
        let failed = Some("not permitted".to_owned());
        first.sent = Ok(Sent { source: ip(1), to: [(GROUP, 0)].into(), failed });
        let findings = told(&[first, station(2, &[])]);
        assert_eq!(findings.found[0].code, "vrrp-leaves");
    }

    #[test]
    fn unicast_counts_what_was_sent_to_the_node_itself() {
        let mut first = station(1, &[2]);
        first.sent = Ok(Sent { source: ip(1), to: [(ip(3), 3), (ip(2), 0)].into(), failed: None });
        assert!(!is_awaited(&[first, station(2, &[])]));
    }

    #[test]
    fn the_answers_of_daemons_are_read() {
        let stats =
            json!({ "instances": [{ "name": "x" }, { "name": "main", "probes": { "10.77.0.2": 4 } }] });
        assert_eq!(read_counted(&stats, "main"), Ok([(ip(2), 4)].into()));
        assert!(read_counted(&stats, "x").unwrap_err().contains("older"));
        assert!(read_counted(&stats, "y").is_err());
        let probe = json!({ "instances": [{ "name": "main", "source": "10.77.0.1", "sent": { "224.0.0.18": 3 },
            "failed": null }] });
        assert_eq!(Ok(read_sent(&probe, "main").unwrap()), station(1, &[]).sent);
    }
}
