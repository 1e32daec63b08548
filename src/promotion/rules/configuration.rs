//! Whose acknowledgement counts, and how that may change (rule 9).

use crate::pg::epoch::{Epoch, Term};
use serde::{Deserialize, Serialize};
use std::fmt;

/// `synchronous_standby_names = ANY w (members)` of one primary, as its epoch row records it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Configuration {
    /// The term of its primary.
    pub term: Term,
    /// Counts the changes within the term; the promotion itself is 0.
    pub change: u32,
    /// The primary of the term.
    pub primary: String,
    /// How many members must acknowledge a commit; 0: nobody.
    pub w: u8,
    /// The data nodes whose acknowledgement counts.
    pub members: Vec<String>,
}

/// What a change of configuration is, seen by the sets of members that can acknowledge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// The same sets.
    Same,
    /// Every new acknowledging set contains an old one: names first, then the row under the new names.
    Tightening,
    /// Every old acknowledging set contains a new one: the row under the old names first (or recorded by a majority
    /// of the voters), then the names.
    Loosening,
    /// Neither: two steps, by way of a tighter one.
    Neither,
}

impl Configuration {
    /// Returns what orders configurations: the newer is greater.
    pub const fn version(&self) -> (Term, u32) {
        (self.term, self.change)
    }

    /// Returns whether a node's acknowledgement counts.
    pub fn has(&self, node: &str) -> bool {
        self.members.iter().any(|member| member == node)
    }

    /// Returns whether this node's acknowledgement is the one that every commit needs.
    pub fn is_only(&self, node: &str) -> bool {
        self.w == 1 && self.members.len() == 1 && self.has(node)
    }

    /// Returns how many members meet every acknowledging set: |E| − W + 1 (rule 4).
    pub fn blocking(&self) -> usize {
        (self.members.len() + 1).saturating_sub(usize::from(self.w))
    }

    /// Returns the value of `synchronous_standby_names`, the names sorted and quoted.
    pub fn names(&self) -> String {
        if self.w == 0 || self.members.is_empty() {
            return String::new();
        }
        let quoted: Vec<String> = self.members.iter().map(|name| format!("\"{name}\"")).collect();
        format!("ANY {} ({})", self.w, quoted.join(", "))
    }

    /// Judges a change from this configuration to another of the same primary.
    ///
    /// Where nobody needs to acknowledge, the members are those who may stand: to drop one takes the proof that a
    /// loosening takes, for that one may be standing already.
    pub fn change_to(&self, new: &Self) -> Change {
        let waits = self.w > 0 || new.w > 0;
        let within = |one: &Self, other: &Self| one.members.iter().all(|member| other.has(member));
        let tighter = if waits { new.least_common(self) >= usize::from(self.w) } else { within(self, new) };
        let looser = if waits { self.least_common(new) >= usize::from(new.w) } else { within(new, self) };
        match (tighter, looser) {
            (true, true) => Change::Same,
            (true, false) => Change::Tightening,
            (false, true) => Change::Loosening,
            (false, false) => Change::Neither,
        }
    }

    /// Returns how many members of `other` every acknowledging set of this configuration holds at least.
    fn least_common(&self, other: &Self) -> usize {
        let strangers = self.members.iter().filter(|member| !other.has(member)).count();
        usize::from(self.w).saturating_sub(strangers)
    }
}

impl From<&Epoch> for Configuration {
    fn from(epoch: &Epoch) -> Self {
        let mut members = epoch.members.clone();
        members.sort_unstable();
        members.dedup();
        Self { term: epoch.term, change: epoch.change, primary: epoch.node.clone(), w: epoch.w, members }
    }
}

impl fmt::Display for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "term {}.{}, primary {}, ", self.term, self.change, self.primary)?;
        match self.w {
            0 => f.write_str("asynchronous"),
            w => write!(f, "any {w} of {}", self.members.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(w: u8, members: &[&str]) -> Configuration {
        Configuration {
            term: Term(1),
            change: 0,
            primary: "a".to_owned(),
            w,
            members: members.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn a_change_is_judged_by_the_sets_that_can_acknowledge() {
        let cases = [
            (configuration(1, &["b", "c"]), configuration(1, &["b", "c"]), Change::Same),
            (configuration(0, &[]), configuration(1, &["b"]), Change::Tightening),
            (configuration(1, &["b"]), configuration(0, &[]), Change::Loosening),
            // One more member that may answer instead is a loosening, however good it looks.
            (configuration(1, &["b"]), configuration(1, &["b", "c"]), Change::Loosening),
            (configuration(1, &["b", "c"]), configuration(1, &["b"]), Change::Tightening),
            (configuration(1, &["b", "c"]), configuration(2, &["b", "c"]), Change::Tightening),
            (configuration(1, &["b"]), configuration(1, &["c"]), Change::Neither),
            (configuration(2, &["b", "c"]), configuration(2, &["b", "c", "d"]), Change::Loosening),
            (configuration(1, &["b", "c"]), configuration(2, &["b", "c", "d"]), Change::Tightening),
            // Nobody acknowledges, but somebody may stand.
            (configuration(0, &["b"]), configuration(0, &[]), Change::Loosening),
            (configuration(0, &[]), configuration(0, &["b"]), Change::Tightening),
            (configuration(0, &["b"]), configuration(0, &["c"]), Change::Neither),
        ];
        for (old, new, expected) in cases {
            assert_eq!(old.change_to(&new), expected, "{old} -> {new}");
        }
    }

    #[test]
    fn the_names_are_quoted_and_empty_without_members() {
        assert_eq!(configuration(1, &["node2", "spare"]).names(), "ANY 1 (\"node2\", \"spare\")");
        assert_eq!(configuration(0, &[]).names(), "");
    }

    #[test]
    fn members_enough_to_meet_every_acknowledging_set_block_the_old_primary() {
        assert_eq!(configuration(1, &["b", "c"]).blocking(), 2);
        assert_eq!(configuration(2, &["b", "c"]).blocking(), 1);
        assert_eq!(configuration(1, &["b"]).blocking(), 1);
    }
}
