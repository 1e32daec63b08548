//! Where a server is in its log: log sequence numbers, timelines and the cluster's system identifier.
//!
//! Pure. Text comes from SQL, history files and `pg_controldata`; a bad one is an error, never a panic.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

/// A position in the write-ahead log, in bytes since the cluster was created (`pg_lsn`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

impl Lsn {
    /// The position that no record has; `pg_controldata` prints it for "none".
    pub const ZERO: Self = Self(0);

    /// Returns whether this is `0/0`, the position that no record has.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Returns how many bytes `self` is ahead of `other`; zero when it isn't.
    pub const fn ahead_of(self, other: Self) -> u64 {
        self.0.saturating_sub(other.0)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl FromStr for Lsn {
    type Err = ParseError;

    /// Reads the text form of `pg_lsn`: two hexadecimal numbers of up to eight digits with a slash between.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || ParseError { what: "log position", text: text.to_owned() };
        let (high, low) = text.split_once('/').ok_or_else(bad)?;
        let half = |digits: &str| {
            let plain = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
            plain.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
        };
        match (half(high), half(low)) {
            (Some(high), Some(low)) => Ok(Self((u64::from(high) << 32) | u64::from(low))),
            _ => Err(bad()),
        }
    }
}

/// A timeline: the number that grows with each promotion. Never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timeline(NonZeroU32);

impl Timeline {
    /// The timeline of a cluster that was never promoted. It has no history file.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// Creates a timeline; `None` for zero.
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Returns the number.
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// Returns the timeline in the name of a WAL segment, as `pg_walfile_name()` prints it.
    pub fn of_wal_file(name: &str) -> Option<Self> {
        let shaped = name.len() == 24 && name.bytes().all(|b| b.is_ascii_hexdigit());
        let digits = name.get(..8).filter(|_| shaped)?;
        u32::from_str_radix(digits, 16).ok().and_then(Self::new)
    }

    /// Returns the name of this timeline's history file, `00000002.history`.
    pub fn history_file_name(self) -> String {
        format!("{:08X}.history", self.0)
    }

    /// Returns the timeline whose history file has this name.
    pub fn of_history_file(name: &str) -> Option<Self> {
        let digits = name.strip_suffix(".history")?;
        let shaped = digits.len() == 8 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'));
        u32::from_str_radix(digits, 16).ok().filter(|_| shaped).and_then(Self::new)
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Timeline {
    type Err = ParseError;

    /// Reads the decimal form, as in history files and `pg_controldata`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        decimal(text)
            .and_then(|number| u32::try_from(number).ok())
            .and_then(Self::new)
            .ok_or_else(|| ParseError { what: "timeline", text: text.to_owned() })
    }
}

/// The system identifier that `initdb` gave the cluster: the same on a primary and all its standbys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SystemId(pub u64);

impl fmt::Display for SystemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SystemId {
    type Err = ParseError;

    /// Reads a decimal number; a negative one is the same 64 bits seen through SQL's `bigint`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let signed = || text.parse::<i64>().ok().filter(|id| *id < 0).map(i64::cast_unsigned);
        decimal(text)
            .or_else(signed)
            .map(Self)
            .ok_or_else(|| ParseError { what: "system identifier", text: text.to_owned() })
    }
}

/// A text that isn't what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" isn't a {what}")]
pub struct ParseError {
    what: &'static str,
    text: String,
}

impl ParseError {
    pub(super) fn new(what: &'static str, text: &str) -> Self {
        Self { what, text: text.to_owned() }
    }
}

/// Digits only: `u64::from_str` alone would take a leading `+`.
fn decimal(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// These travel as strings: a JSON reader's double can't hold 64 bits.
macro_rules! serde_as_string {
    ($($type:ty),+) => {$(
        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}
serde_as_string!(Lsn, SystemId);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_position_survives_its_text_form(raw: u64) {
            prop_assert_eq!(Lsn(raw).to_string().parse::<Lsn>().unwrap(), Lsn(raw));
        }

        #[test]
        fn no_text_makes_the_parsers_panic(text in ".{0,40}") {
            let (_, _, _) = (text.parse::<Lsn>(), text.parse::<Timeline>(), text.parse::<SystemId>());
            let _ = Timeline::of_wal_file(&text);
            let _ = Timeline::of_history_file(&text);
        }

        #[test]
        fn a_timeline_survives_its_file_name(raw in 1u32..) {
            let timeline = Timeline::new(raw).unwrap();
            prop_assert_eq!(Timeline::of_history_file(&timeline.history_file_name()), Some(timeline));
        }
    }

    #[test]
    fn positions_are_read_as_postgresql_writes_them() {
        assert_eq!("0/40000A0".parse(), Ok(Lsn(0x0400_00A0)));
        assert_eq!("16/b374d848".parse(), Ok(Lsn(0x16_B374_D848)));
        for bad in ["", "/", "0/", "/0", "0", "0/0/0", "0x1/2", "+1/2", "123456789/0", "0/-1", " 0/1", "g/0"]
        {
            assert!(bad.parse::<Lsn>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_server_that_is_behind_is_zero_bytes_ahead() {
        assert_eq!(Lsn(10).ahead_of(Lsn(4)), 6);
        assert_eq!(Lsn(4).ahead_of(Lsn(10)), 0);
    }

    #[test]
    fn timeline_zero_does_not_exist() {
        assert_eq!(Timeline::new(0), None);
        assert!("0".parse::<Timeline>().is_err());
        assert!("4294967296".parse::<Timeline>().is_err());
    }

    #[test]
    fn the_timeline_of_a_segment_is_its_first_eight_digits() {
        assert_eq!(Timeline::of_wal_file("0000000A0000000000000003"), Timeline::new(10));
        assert_eq!(Timeline::of_wal_file("0000000A.history"), None);
    }

    #[test]
    fn a_negative_system_identifier_is_the_same_bits() {
        assert_eq!("-1".parse(), Ok(SystemId(u64::MAX)));
        assert_eq!("7523451234567890123".parse(), Ok(SystemId(7_523_451_234_567_890_123)));
    }

    #[test]
    fn json_keeps_all_sixty_four_bits() {
        let id = SystemId(u64::MAX - 1);
        let text = serde_json::to_string(&id).unwrap();
        assert_eq!(text, "\"18446744073709551614\"");
        assert_eq!(serde_json::from_str::<SystemId>(&text).unwrap(), id);
        assert_eq!(serde_json::to_string(&Timeline::FIRST).unwrap(), "1");
    }
}
