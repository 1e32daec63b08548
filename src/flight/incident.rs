//! From single entries to what happened: a failover, a hand-over, a refusal. Pure.

use super::entry::{Entry, merge};
use serde::Serialize;

/// Entries further apart than this belong to two incidents.
const GAP_MICROS: i64 = 30_000_000;
/// How much of what went before belongs to an incident.
const BEFORE_MICROS: i64 = 2_000_000;

/// What the others miss this soon after a node has come to serve is what it replaces.
const SETTLED_MICROS: i64 = 300_000;

/// What an incident came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A standby was promoted because the primary was gone.
    Failover,
    /// A standby was promoted because the primary was asked to hand over.
    HandOver,
    /// A server that was the primary already got the virtual IP.
    TookUp,
    /// Nobody was promoted: a gate or the configuration held it back.
    Held,
    /// A server was stopped because another is newer.
    Fenced,
    /// Something was noticed, and nothing followed.
    Noticed,
}

impl Outcome {
    /// Returns the outcome in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Failover => "failover",
            Self::HandOver => "hand-over",
            Self::TookUp => "took up service",
            Self::Held => "held back",
            Self::Fenced => "fenced",
            Self::Noticed => "noticed",
        }
    }
}

/// Something that several nodes lived through.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Incident {
    /// Its name for the command line: when it began, UTC, as in 20260102T030405Z.
    pub id: String,
    /// What it came to.
    pub outcome: Outcome,
    /// Who was the primary, if that is known.
    pub from: Option<String>,
    /// Who is the primary since.
    pub to: Option<String>,
    /// The term that began.
    pub term: Option<u64>,
    /// The end of the log that the new primary held when it was promoted.
    pub lsn: Option<String>,
    /// When it began, RFC 3339.
    pub began: String,
    /// Milliseconds from its beginning until it was over.
    pub took_ms: f64,
    /// The nodes whose records are here.
    pub nodes: Vec<String>,
    /// Why nobody was promoted, or what the decision was, in the words of the record.
    pub reason: Option<String>,
    /// What was seen, decided and done, in order.
    pub entries: Vec<Entry>,
}

impl Incident {
    /// Returns the entry that everything is counted from: the first that tells of the trouble.
    pub fn first(&self) -> Option<&Entry> {
        self.entries.iter().find(|entry| is_trigger(&entry.kind)).or_else(|| self.entries.first())
    }

    /// Returns milliseconds from the beginning to an entry; negative before it.
    pub fn offset_ms(&self, entry: &Entry) -> f64 {
        self.first().map_or(0.0, |first| offset_ms(first, entry))
    }

    /// Returns whether it is worth a picture of its own.
    pub const fn is_grave(&self) -> bool {
        !matches!(self.outcome, Outcome::Noticed | Outcome::TookUp)
    }
}

/// Returns the milliseconds between two entries: by the boot clock where they share one, else by the wall clocks.
fn offset_ms(first: &Entry, entry: &Entry) -> f64 {
    if first.boot == entry.boot {
        let ahead = |a: &Entry, b: &Entry| a.at.since(b.at).as_secs_f64() * 1e3;
        return if entry.at >= first.at { ahead(entry, first) } else { -ahead(first, entry) };
    }
    let micros = entry.micros().saturating_sub(first.micros());
    // Within an hour or so of each other, which a float holds exactly.
    let clamped = i32::try_from(micros / 1000).unwrap_or(if micros < 0 { i32::MIN } else { i32::MAX });
    f64::from(clamped) + f64::from(i32::try_from(micros % 1000).unwrap_or(0)) / 1e3
}

/// Whether this kind begins or carries an incident.
fn is_trigger(kind: &str) -> bool {
    matches!(
        kind,
        "advert-late"
            | "farewell-heard"
            | "farewell-sent"
            | "active-down"
            | "postmaster-gone"
            | "probe-failed"
            | "overslept"
            | "contested"
            | "fenced"
            | "decision"
            | "serving"
            | "vip-removed"
            | "address-lost"
            | "resigned"
            | "step-started"
            | "step-done"
    )
}

/// Whether an incident without any of these is not worth telling.
fn is_significant(kind: &str) -> bool {
    !matches!(kind, "advert-late" | "advert-heard" | "vip-removed" | "step-started" | "step-done")
        && is_trigger(kind)
}

/// The entries of one incident, by their times.
struct Group {
    begin: i64,
    end: i64,
    /// Whether there is anything in it that is worth telling.
    significant: bool,
    /// Who has come to serve in it, and when.
    serving: Option<(String, i64)>,
}

impl Group {
    /// Whether an entry begins something new: the node that has come to serve in this group is in trouble itself, or
    /// is missed by the others.
    fn is_over(&self, entry: &Entry) -> bool {
        let Some((serving, since)) = &self.serving else { return false };
        match entry.kind.as_str() {
            "resigned" | "postmaster-gone" | "probe-failed" | "overslept" | "fenced" | "farewell-sent" => {
                *serving == entry.node
            }
            // The other Backups' own intervals run out a moment after one of them has taken over.
            "advert-late" | "active-down" | "farewell-heard" => {
                *serving != entry.node && entry.micros().saturating_sub(*since) > SETTLED_MICROS
            }
            _ => false,
        }
    }
}

/// Finds the incidents in the records of any number of nodes, the oldest first.
pub fn incidents(entries: Vec<Entry>) -> Vec<Incident> {
    let entries = merge(entries);
    let mut groups: Vec<Group> = Vec::new();
    for entry in entries.iter().filter(|entry| is_trigger(&entry.kind)) {
        let at = entry.micros();
        match groups.last_mut() {
            Some(group) if at.saturating_sub(group.end) <= GAP_MICROS && !group.is_over(entry) => {
                group.end = at;
                group.significant |= is_significant(&entry.kind);
                if entry.kind == "serving" {
                    group.serving = Some((entry.node.clone(), at));
                }
            }
            _ => groups.push(Group {
                begin: at,
                end: at,
                significant: is_significant(&entry.kind),
                serving: (entry.kind == "serving").then(|| (entry.node.clone(), at)),
            }),
        }
    }
    let mut serving = None;
    let mut found = Vec::new();
    for (position, group) in groups.iter().enumerate().filter(|(_, group)| group.significant) {
        // What is shown around an incident is never of its neighbours.
        let before =
            position.checked_sub(1).and_then(|before| groups.get(before)).map_or(i64::MIN, |it| it.end);
        let after = groups.get(position.saturating_add(1)).map_or(i64::MAX, |it| it.begin);
        let from = group.begin.saturating_sub(BEFORE_MICROS).max(before.saturating_add(1));
        let until = group.end.saturating_add(1_000_000).min(after.saturating_sub(1)).max(group.end);
        let inside: Vec<Entry> =
            entries.iter().filter(|entry| (from..=until).contains(&entry.micros())).cloned().collect();
        let mut incident = incident(group.begin, inside, serving.as_deref());
        let same = found.iter().filter(|other: &&Incident| other.id.starts_with(&incident.id)).count();
        if same > 0 {
            incident.id = format!("{}-{}", incident.id, same.saturating_add(1));
        }
        serving = incident.to.clone().or(serving);
        found.push(incident);
    }
    found
}

fn incident(begin: i64, entries: Vec<Entry>, serving: Option<&str>) -> Incident {
    let node_of = |test: &dyn Fn(&Entry) -> bool| {
        entries.iter().rev().find(|entry| test(entry)).map(|entry| entry.node.clone())
    };
    let promoted = entries.iter().rev().find(|entry| entry.is_step_done("promote"));
    let to = promoted.map(|entry| entry.node.clone()).or_else(|| node_of(&|entry| entry.kind == "serving"));
    let left = |entry: &Entry| {
        let sign = matches!(
            entry.kind.as_str(),
            "farewell-sent" | "postmaster-gone" | "resigned" | "fenced" | "overslept" | "vip-removed"
        );
        sign && Some(&entry.node) != to.as_ref()
    };
    let from =
        node_of(&left).or_else(|| serving.filter(|node| Some(*node) != to.as_deref()).map(str::to_owned));
    let any = |kind: &str| entries.iter().any(|entry| entry.kind == kind);
    let refused = entries
        .iter()
        .rev()
        .find(|entry| entry.kind == "decision" && matches!(entry.field("verdict"), Some("refuse" | "hold")));
    let outcome = if promoted.is_some() {
        if any("resigned") { Outcome::HandOver } else { Outcome::Failover }
    } else if refused.is_some() && !any("serving") {
        Outcome::Held
    } else if any("fenced") {
        Outcome::Fenced
    } else if any("serving") {
        Outcome::TookUp
    } else {
        Outcome::Noticed
    };
    let decision = entries
        .iter()
        .rev()
        .find(|entry| entry.kind == "decision" && to.as_ref().is_none_or(|to| entry.node == *to));
    let reason = match outcome {
        Outcome::Held => refused,
        _ => decision,
    };
    let mut nodes: Vec<String> = entries.iter().map(|entry| entry.node.clone()).collect();
    nodes.sort();
    nodes.dedup();
    let of_new = |entry: &&Entry| to.as_ref().is_none_or(|to| entry.node == *to);
    let mut incident = Incident {
        id: id(begin),
        outcome,
        term: entries.iter().rev().filter(of_new).find_map(|entry| entry.number("term")),
        lsn: decision.or(promoted).and_then(|entry| entry.field("lsn")).map(str::to_owned),
        began: String::new(),
        took_ms: 0.0,
        nodes,
        reason: reason.map(|entry| entry.text.clone()),
        from,
        to,
        entries,
    };
    let end = incident.entries.iter().rev().find(|entry| {
        entry.kind == "serving" || (incident.outcome != Outcome::TookUp && entry.is_step_done("announce"))
    });
    let end = end.or_else(|| incident.entries.iter().rev().find(|entry| is_trigger(&entry.kind)));
    incident.took_ms = end.map_or(0.0, |end| incident.offset_ms(end).max(0.0));
    incident.began = incident.first().map(|entry| entry.wall.clone()).unwrap_or_default();
    incident
}

/// Returns the name of an incident that began then.
fn id(micros: i64) -> String {
    jiff::Timestamp::from_microsecond(micros)
        .map(|time| time.strftime("%Y%m%dT%H%M%SZ").to_string())
        .unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::entry::tests::entry;
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    /// A failover after a power loss, and ten minutes later the old primary's return.
    pub(crate) fn failover() -> Vec<Entry> {
        let step = |ms, kind: &str, step: &str| {
            entry("node2", ms, kind, step, &[("step", json!(step)), ("term", json!(3))])
        };
        vec![
            entry("node1", 1_000, "serving", "serving", &[("term", json!(2))]),
            entry("node2", 100_000, "advert-late", "the Active node's advert is late", &[]),
            entry("node2", 100_150, "active-down", "the down interval ran out", &[]),
            entry("node2", 100_151, "asking", "asking", &[]),
            entry("node2", 100_152, "peer-answer", "node1: no answer", &[]),
            entry("node2", 100_350, "decision", "go: silence is enough here", &[("lsn", json!("0/5000000"))]),
            step(100_351, "step-started", "promote"),
            step(100_392, "step-done", "promote"),
            step(100_393, "step-started", "record-epoch"),
            step(100_396, "step-done", "record-epoch"),
            step(100_397, "step-started", "add-address"),
            step(100_398, "step-done", "add-address"),
            step(100_399, "step-done", "announce"),
            entry("node2", 100_400, "serving", "serving", &[("term", json!(3))]),
            entry("node1", 700_000, "started", "node1 on eth0", &[]),
            entry("node1", 700_100, "fenced", "PostgreSQL was stopped: node2 has term 3", &[]),
        ]
    }

    #[test]
    fn a_failover_is_one_incident_and_its_aftermath_another() {
        let found = incidents(failover());
        let told: Vec<_> =
            found.iter().map(|it| (it.outcome, it.from.as_deref(), it.to.as_deref(), it.term)).collect();
        assert_eq!(
            told,
            [
                (Outcome::TookUp, None, Some("node1"), Some(2)),
                (Outcome::Failover, Some("node1"), Some("node2"), Some(3)),
                (Outcome::Fenced, Some("node1"), None, None),
            ]
        );
        let failover = &found[1];
        assert!((failover.took_ms - 400.0).abs() < 1e-6, "{}", failover.took_ms);
        assert_eq!(failover.lsn.as_deref(), Some("0/5000000"));
        assert_eq!(failover.reason.as_deref(), Some("go: silence is enough here"));
        assert_eq!(failover.id, "20260102T050140Z");
    }

    #[test]
    fn a_node_that_has_just_come_to_serve_and_hands_over_again_makes_a_second_incident() {
        let mut entries = vec![
            entry("node1", 1_000, "decision", "serving", &[]),
            entry("node1", 1_050, "serving", "serving", &[("term", json!(1))]),
            entry("node1", 2_000, "resigned", "asked to", &[]),
            entry("node1", 2_100, "farewell-sent", "", &[]),
            entry("node2", 2_101, "farewell-heard", "", &[]),
            entry("node2", 2_150, "step-done", "promote", &[("step", json!("promote")), ("term", json!(2))]),
            entry("node2", 2_200, "serving", "serving", &[("term", json!(2))]),
        ];
        let told = |entries: &[Entry]| -> Vec<_> {
            let found = incidents(entries.to_vec());
            found.iter().map(|it| (it.outcome, it.from.clone(), it.to.clone(), it.entries.len())).collect()
        };
        let (node1, node2) = (Some("node1".to_owned()), Some("node2".to_owned()));
        let wanted = [(Outcome::TookUp, None, node1.clone(), 2), (Outcome::HandOver, node1, node2, 5)];
        assert_eq!(told(&entries), wanted);
        // One that dies without a word is missed by the others.
        let mut silent = entries[..2].to_vec();
        silent.extend([
            entry("node2", 2_400, "advert-late", "", &[]),
            entry("node2", 2_600, "active-down", "", &[]),
            entry("node2", 2_700, "step-done", "promote", &[("step", json!("promote")), ("term", json!(2))]),
            entry("node2", 2_750, "serving", "serving", &[("term", json!(2))]),
            entry("node3", 2_800, "active-down", "", &[]),
        ]);
        let found = incidents(silent);
        assert_eq!(
            found.iter().map(|it| it.outcome).collect::<Vec<_>>(),
            [Outcome::TookUp, Outcome::Failover]
        );
        assert_eq!(
            (found[1].from.as_deref(), found[1].first().unwrap().kind.as_str()),
            (Some("node1"), "advert-late")
        );
        // What the old primary goes through afterwards belongs to the same one.
        entries.push(entry("node1", 2_300, "postmaster-gone", "", &[]));
        assert_eq!(told(&entries).len(), 2);
    }

    #[test]
    fn every_key_of_an_incident_is_in_the_manual() {
        use crate::output::schema::{TIMELINE, tests::assert_described};
        let mut incident = incidents(failover()).remove(1);
        incident.entries.clear();
        assert_described(&TIMELINE, &json!({ "incident": incident }));
    }

    #[test]
    fn a_refusal_and_a_late_advert_are_told_apart() {
        let refused = vec![
            entry("node2", 1000, "active-down", "x", &[]),
            entry("node2", 1100, "decision", "not proved dead", &[("verdict", json!("hold"))]),
        ];
        let found = incidents(refused);
        assert_eq!((found[0].outcome, found[0].reason.as_deref()), (Outcome::Held, Some("not proved dead")));
        let late = vec![
            entry("node2", 1000, "advert-late", "x", &[]),
            entry("node2", 1100, "advert-heard", "x", &[]),
        ];
        assert_eq!(incidents(late), []);
    }

    #[test]
    fn moments_of_two_machines_are_compared_by_their_wall_clocks() {
        let (a, b) = (entry("node1", 1000, "resigned", "", &[]), entry("node2", 1250, "serving", "", &[]));
        assert!((offset_ms(&a, &b) - 250.0).abs() < 1e-9);
        assert!((offset_ms(&b, &a) + 250.0).abs() < 1e-9);
        let mut same = b.clone();
        same.boot = a.boot.clone();
        same.at = crate::units::Moment::from_nanos(1_000_500_000);
        assert!((offset_ms(&a, &same) - 0.5).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn no_record_is_too_odd(kinds in proptest::collection::vec((0u64..100_000, 0usize..6, 0usize..3), 0..40)) {
            let names = ["serving", "fenced", "decision", "step-done", "advert-late", "resigned"];
            let entries = kinds.iter().map(|(ms, kind, node)| {
                entry(["a", "b", "c"][*node], *ms, names[*kind], "", &[("step", json!("promote"))])
            });
            for incident in incidents(entries.collect()) {
                prop_assert!(incident.took_ms >= 0.0);
                crate::flight::timeline(&incident);
            }
        }
    }
}
