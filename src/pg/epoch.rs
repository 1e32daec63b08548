//! Terms and epochs: who was made primary when, recorded in the database and beside it.
//!
//! Pure. Two standbys promoted at one position make the same timeline with byte-identical history files, and then
//! `pg_rewind` sees nothing to do. The term, and the random id in each epoch, are what tells them apart. A new primary
//! writes its epoch as its first commit; the row is replicated like any other, so every data folder knows the epoch its
//! data belongs to. The same record, as text, is the marker on disk.

use super::lsn::{Lsn, ParseError, Timeline};
use super::sql::{literal, text_array};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A number that grows with each promotion; promised by voters, confirmed by the epoch row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Term(pub u64);

impl Term {
    /// Returns the next term; the last one stays the last.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// 128 random bits that name one promotion. No two promotions share them, even on one timeline number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PromotionId(u128);

impl PromotionId {
    /// Makes an id from random bytes, which the edge draws from the kernel.
    pub const fn from_random(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

impl fmt::Display for PromotionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for PromotionId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shaped = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let id = shaped.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        id.map(Self).ok_or_else(|| ParseError::new("promotion id", text))
    }
}

impl Serialize for PromotionId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PromotionId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// One row of `pgbaton.epoch`: a promotion, or a change of the configuration it made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Epoch {
    /// The term.
    pub term: Term,
    /// Counts the configuration changes within the term; the promotion itself is 0.
    pub change: u32,
    /// The node that is primary in this term.
    pub node: String,
    /// Names this promotion and no other.
    pub promotion_id: PromotionId,
    /// The timeline the promotion made.
    pub timeline: Timeline,
    /// The first position of that timeline.
    pub start_lsn: Lsn,
    /// How many of `members` must acknowledge a commit.
    pub w: u8,
    /// The data nodes whose acknowledgement counts.
    pub members: Vec<String>,
    /// When it was written: seconds since 1970 by the writer's wall clock; only for people.
    pub at: u64,
}

impl Epoch {
    /// Returns what orders two epochs: the newer is greater.
    pub const fn version(&self) -> (Term, u32) {
        (self.term, self.change)
    }

    /// Returns whether `other` was written by the same promotion.
    pub fn same_promotion(&self, other: &Self) -> bool {
        self.term == other.term && self.promotion_id == other.promotion_id
    }

    /// Returns the text of a marker file: one line of JSON.
    pub fn to_marker(&self) -> String {
        // The value has no map with keys that JSON can't hold, so this can't fail.
        let mut text = serde_json::to_string(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Reads a marker file or the JSON that [`SELECT_NEWEST`] returns.
    pub fn parse(text: &str) -> Result<Self, EpochError> {
        serde_json::from_str(text.trim()).map_err(|error| EpochError(error.to_string()))
    }

    /// Returns the statement that writes this row.
    ///
    /// It returns `inserted` (a boolean), or no row when another promotion has taken this term and change number. The
    /// row is written anew even when it is there: only a transaction that writes waits for the standbys, and the run
    /// that wrote it first may have ended before they answered.
    pub fn upsert(&self) -> String {
        format!(
            "INSERT INTO pgbaton.epoch AS e \
             (term, change, node, promotion_id, timeline, start_lsn, w, members, at) \
             VALUES ({}, {}, {}, {}, {}, {}, {}, {}, {}) \
             ON CONFLICT (term, change) DO UPDATE SET node = EXCLUDED.node \
             WHERE e.promotion_id = EXCLUDED.promotion_id \
             RETURNING (e.xmax = '0'::xid)",
            self.term,
            self.change,
            literal(&self.node),
            literal(&self.promotion_id.to_string()),
            self.timeline,
            literal(&self.start_lsn.to_string()),
            self.w,
            text_array(&self.members),
            self.at,
        )
    }
}

/// A marker or row that doesn't hold an epoch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an epoch record: {0}")]
pub struct EpochError(String);

/// Makes the schema and the table; the first primary runs it, every later run changes nothing.
///
/// `pg_monitor` may read it: that is the right the observing role has anyway.
pub const SCHEMA: &str = "\
CREATE SCHEMA IF NOT EXISTS pgbaton;
CREATE TABLE IF NOT EXISTS pgbaton.epoch (
    term         int8 NOT NULL,
    change       int8 NOT NULL,
    node         text NOT NULL,
    promotion_id text NOT NULL,
    timeline     int8 NOT NULL,
    start_lsn    pg_lsn NOT NULL,
    w            int2 NOT NULL,
    members      text[] NOT NULL,
    at           int8 NOT NULL,
    PRIMARY KEY (term, change)
);
GRANT USAGE ON SCHEMA pgbaton TO pg_monitor;
GRANT SELECT ON pgbaton.epoch TO pg_monitor;
";

/// Returns the newest row as JSON, in the form that [`Epoch::parse`] reads. Fails when the table doesn't exist.
pub const SELECT_NEWEST: &str = "\
SELECT json_build_object('term', term, 'change', change, 'node', node, \
'promotion_id', promotion_id, 'timeline', timeline, 'start_lsn', start_lsn::text, 'w', w, \
'members', members, 'at', at) AS j FROM pgbaton.epoch ORDER BY term DESC, change DESC LIMIT 1";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn epoch() -> Epoch {
        Epoch {
            term: Term(7),
            change: 0,
            node: "node2".to_owned(),
            promotion_id: PromotionId::from_random([0xab; 16]),
            timeline: Timeline::new(3).unwrap(),
            start_lsn: Lsn(0x0400_00A0),
            w: 1,
            members: vec!["node1".to_owned(), "spare".to_owned()],
            at: 1_700_000_000,
        }
    }

    #[test]
    fn a_marker_is_one_line_of_json() {
        let expected = "{\"term\":7,\"change\":0,\"node\":\"node2\",\
             \"promotion_id\":\"abababababababababababababababab\",\"timeline\":3,\"start_lsn\":\"0/40000A0\",\
             \"w\":1,\"members\":[\"node1\",\"spare\"],\"at\":1700000000}\n";
        assert_eq!(epoch().to_marker(), expected);
        assert_eq!(Epoch::parse(expected), Ok(epoch()));
    }

    #[test]
    fn a_promotion_id_is_thirty_two_digits() {
        let id = PromotionId::from_random([0; 16]);
        assert_eq!(id.to_string(), "0".repeat(32));
        for bad in ["", "0", &"g".repeat(32), &"0".repeat(33), "+0000000000000000000000000000000"] {
            assert!(bad.parse::<PromotionId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_configuration_change_is_newer_than_its_promotion_and_older_than_the_next() {
        let promotion = epoch();
        let change = Epoch { change: 1, ..epoch() };
        let next = Epoch { term: promotion.term.next(), ..epoch() };
        assert!(promotion.version() < change.version() && change.version() < next.version());
        assert!(promotion.same_promotion(&change) && !promotion.same_promotion(&next));
    }

    #[test]
    fn a_node_name_cannot_end_the_statement() {
        let sql = Epoch { node: "x'; DROP TABLE y --".to_owned(), ..epoch() }.upsert();
        assert!(sql.contains("'x''; DROP TABLE y --'"), "{sql}");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(?s).{0,80}") {
            Epoch::parse(&text).ok();
        }

        #[test]
        fn any_epoch_survives_its_marker(term: u64, change: u32, node in ".{0,12}", id: [u8; 16], lsn: u64) {
            let epoch = Epoch {
                term: Term(term),
                change,
                node,
                promotion_id: PromotionId::from_random(id),
                start_lsn: Lsn(lsn),
                ..epoch()
            };
            prop_assert_eq!(Epoch::parse(&epoch.to_marker()), Ok(epoch));
        }
    }
}
