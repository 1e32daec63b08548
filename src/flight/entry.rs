//! One line of a flight record, as any version of the daemon has written it. Pure.

use crate::promotion::event::Record;
use crate::units::Moment;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One thing that a node has seen, decided or done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The node.
    pub node: String,
    /// Names the boot of its machine: moments of one boot can be compared to the nanosecond.
    pub boot: String,
    /// When, on the machine's boot clock.
    #[serde(rename = "at_ns")]
    pub at: Moment,
    /// When, for people: RFC 3339 with microseconds, UTC.
    pub wall: String,
    /// What sort of thing, as a stable word. A text, so that a newer daemon's kinds are read too.
    #[serde(rename = "event")]
    pub kind: String,
    /// One sentence.
    #[serde(default)]
    pub text: String,
    /// The facts.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
}

impl Entry {
    /// Creates an entry from a record of the daemon.
    pub fn of(node: &str, boot: &str, record: &Record) -> Self {
        Self {
            node: node.to_owned(),
            boot: boot.to_owned(),
            at: record.at,
            wall: record.wall.clone(),
            kind: record.event.kind.name(),
            text: record.event.text.clone(),
            fields: record.event.fields.clone(),
        }
    }

    /// Returns a fact that is a text.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).and_then(Value::as_str)
    }

    /// Returns a fact that is a whole number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.fields.get(name).and_then(Value::as_u64)
    }

    /// Returns the wall clock in microseconds since 1970; an unreadable time is the beginning of time.
    pub fn micros(&self) -> i64 {
        self.wall.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_microsecond)
    }

    /// Returns whether a step of this name ended well.
    pub fn is_step_done(&self, step: &str) -> bool {
        self.kind == "step-done"
            && self.field("step") == Some(step)
            && matches!(self.field("status"), None | Some("done" | "unchanged"))
    }

    /// Returns whether a step of this name began.
    pub fn is_step_started(&self, step: &str) -> bool {
        self.kind == "step-started" && self.field("step") == Some(step)
    }

    /// Returns whether a person wants to read it without asking for everything.
    pub fn is_telling(&self) -> bool {
        !matches!(self.kind.as_str(), "step-started" | "peer-answer" | "vip-probe" | "asking")
    }

    /// Returns whether it says that something is wrong.
    pub fn warns(&self) -> bool {
        matches!(
            self.kind.as_str(),
            "postmaster-gone"
                | "probe-failed"
                | "overslept"
                | "contested"
                | "fenced"
                | "address-lost"
                | "active-down"
                | "records-lost"
        ) || self.field("status") == Some("failed")
    }
}

/// Reads the lines of a record; what isn't an entry (the torn last line of a crash) is left out and counted.
pub fn parse(text: &str) -> (Vec<Entry>, usize) {
    let mut entries = Vec::new();
    let mut odd = 0;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        match serde_json::from_str(line) {
            Ok(entry) => entries.push(entry),
            Err(_) => odd += 1,
        }
    }
    (entries, odd)
}

/// Sorts entries of several nodes by time; those of one machine's boot by its own clock, and no entry twice.
pub fn merge(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_by(|a, b| {
        let by_wall = || a.micros().cmp(&b.micros());
        let order = if a.boot == b.boot { a.at.cmp(&b.at) } else { by_wall() };
        // The wall clock decides first, so that the order is one for all.
        by_wall().then(order).then_with(|| a.node.cmp(&b.node))
    });
    entries.dedup();
    entries
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::promotion::event::{Event, EventKind};
    use proptest::prelude::*;

    /// An entry at so many milliseconds.
    pub(crate) fn entry(node: &str, ms: u64, kind: &str, text: &str, fields: &[(&str, Value)]) -> Entry {
        let wall = jiff::Timestamp::from_millisecond(1_767_330_000_000 + i64::try_from(ms).unwrap()).unwrap();
        Entry {
            node: node.to_owned(),
            boot: format!("boot-{node}"),
            at: Moment::from_nanos(ms * 1_000_000),
            wall: format!("{wall:.6}"),
            kind: kind.to_owned(),
            text: text.to_owned(),
            fields: fields.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
        }
    }

    #[test]
    fn a_record_of_the_daemon_is_read_as_it_was_written() {
        let record = Record {
            at: Moment::from_nanos(7),
            wall: "2026-01-01T00:00:00.000001Z".to_owned(),
            event: Event::new(EventKind::Decision, "go").with("lsn", "0/3000000"),
        };
        let written = Entry::of("node1", "b", &record);
        let line = serde_json::to_string(&written).unwrap();
        let (read, odd) = parse(&format!("{line}\n{line}\n{{\"node\":\"x\",\"to"));
        assert_eq!((read.as_slice(), odd), ([written.clone(), written].as_slice(), 1));
        assert_eq!(read[0].kind, "decision");
        assert_eq!(read[0].micros(), 1_767_225_600_000_001);
        assert_eq!(merge(read).len(), 1);
    }

    #[test]
    fn entries_of_several_nodes_are_in_the_order_of_time() {
        let entries = [("a", 5), ("b", 1), ("a", 3)].map(|(node, ms)| entry(node, ms, "state", "", &[]));
        let times: Vec<u64> = merge(entries.to_vec()).iter().map(|it| it.at.as_nanos() / 1_000_000).collect();
        assert_eq!(times, [1, 3, 5]);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(\\PC|\\n){0,200}") {
            let (entries, odd) = parse(&text);
            prop_assert!(entries.len() + odd <= text.lines().count());
        }
    }
}
