//! The numbers of the protocol, each in a type that can't hold a value the protocol doesn't have.

use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::num::NonZeroU8;
use std::time::Duration;

/// Why a number can't be used in VRRP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// A version other than 2 and 3.
    #[error("VRRP version {0} doesn't exist: it is 2 or 3")]
    Version(u8),
    /// A virtual router identifier of 0.
    #[error("a virtual router identifier is 1 to 255")]
    Vrid,
    /// An advertisement interval outside the twelve bits of version 3.
    #[error("an advertisement interval is 10 ms to 40.95 s, not {0:?}")]
    IntervalRange(Duration),
    /// An advertisement interval between two centiseconds, which no packet can carry.
    #[error("an advertisement interval is a multiple of 10 ms, not {0:?}")]
    IntervalStep(Duration),
    /// An advertisement interval that a packet of version 2 can't carry.
    #[error("an advertisement interval of VRRP version 2 is 1 to 255 whole seconds, not {0:?}")]
    IntervalSeconds(Duration),
}

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Version {
    /// RFC 3768: IPv4 only, whole seconds, optional password.
    V2,
    /// RFC 9568 (and RFC 5798): IPv4 and IPv6, centiseconds, no authentication.
    V3,
}

impl Version {
    /// Returns the number in the packet.
    pub const fn number(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }
}

impl TryFrom<u8> for Version {
    type Error = ValueError;

    fn try_from(number: u8) -> Result<Self, ValueError> {
        match number {
            2 => Ok(Self::V2),
            3 => Ok(Self::V3),
            other => Err(ValueError::Version(other)),
        }
    }
}

impl From<Version> for u8 {
    fn from(version: Version) -> Self {
        version.number()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

/// A virtual router identifier, 1 to 255; one network may hold one router of each number and family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Vrid(NonZeroU8);

impl Vrid {
    /// Returns the number in the packet.
    pub const fn get(self) -> u8 {
        self.0.get()
    }
}

impl TryFrom<u8> for Vrid {
    type Error = ValueError;

    fn try_from(number: u8) -> Result<Self, ValueError> {
        NonZeroU8::new(number).map(Self).ok_or(ValueError::Vrid)
    }
}

impl From<Vrid> for u8 {
    fn from(vrid: Vrid) -> Self {
        vrid.get()
    }
}

impl fmt::Display for Vrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A priority: the higher one wins the election (RFC 9568 §5.2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Priority(pub u8);

impl Priority {
    /// The Active router says that it leaves: no priority at all, but a farewell.
    pub const RELEASE: Self = Self(0);
    /// The router that owns the addresses: Active as soon as it starts.
    pub const OWNER: Self = Self(255);
    /// What a Backup router has when nothing else was said.
    pub const DEFAULT: Self = Self(100);
}

impl Default for Priority {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The time between two adverts, in centiseconds.
///
/// Version 3 has 1 to 4095 (10 ms to 40.95 s); version 2 has 1 to 255 whole seconds, which
/// [`AdverInterval::from_seconds`] makes and [`AdverInterval::suits`] tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct AdverInterval(u16);

impl AdverInterval {
    /// One second, the default of both versions.
    pub const DEFAULT: Self = Self(100);
    /// The longest interval that the twelve bits of version 3 hold.
    pub const LONGEST: Self = Self(4095);

    /// Creates an interval from centiseconds, 1 to 4095.
    pub fn from_centiseconds(centiseconds: u16) -> Result<Self, ValueError> {
        if (1..=Self::LONGEST.0).contains(&centiseconds) {
            Ok(Self(centiseconds))
        } else {
            Err(ValueError::IntervalRange(Self(centiseconds).as_duration()))
        }
    }

    /// Creates an interval from the whole seconds of version 2, 1 to 255.
    pub fn from_seconds(seconds: u8) -> Result<Self, ValueError> {
        if seconds == 0 {
            return Err(ValueError::IntervalSeconds(Duration::ZERO));
        }
        Ok(Self(u16::from(seconds) * 100))
    }

    /// Creates an interval from a duration, which must be a multiple of 10 ms: rounding in silence would give
    /// two nodes different ideas of how long silence lasts.
    pub fn from_duration(duration: Duration) -> Result<Self, ValueError> {
        let nanos = duration.as_nanos();
        if !nanos.is_multiple_of(10_000_000) {
            return Err(ValueError::IntervalStep(duration));
        }
        let range = ValueError::IntervalRange(duration);
        let centiseconds = u16::try_from(nanos / 10_000_000).map_err(|_| range)?;
        Self::from_centiseconds(centiseconds).map_err(|_| range)
    }

    /// Returns the interval in centiseconds.
    pub const fn centiseconds(self) -> u16 {
        self.0
    }

    /// Returns the interval as a duration.
    pub const fn as_duration(self) -> Duration {
        Duration::from_nanos(self.as_nanos())
    }

    /// Returns the interval in nanoseconds.
    pub const fn as_nanos(self) -> u64 {
        // A widening: `u64::from` isn't const.
        (self.0 as u64) * 10_000_000
    }

    /// Returns the whole seconds that a packet of version 2 carries, if the interval is that.
    pub fn whole_seconds(self) -> Option<u8> {
        if self.0.is_multiple_of(100) { u8::try_from(self.0 / 100).ok().filter(|s| *s > 0) } else { None }
    }

    /// Returns whether packets of this version can carry the interval.
    pub fn suits(self, version: Version) -> bool {
        match version {
            Version::V2 => self.whole_seconds().is_some(),
            Version::V3 => self <= Self::LONGEST,
        }
    }
}

impl Default for AdverInterval {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for AdverInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_duration())
    }
}

/// What a virtual router is doing (RFC 9568 §6.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum State {
    /// Not taking part: not started, stopped, or kept out by a fault.
    #[default]
    Initialize,
    /// Listening to the Active router, ready to take over.
    Backup,
    /// Advertising.
    Active,
}

impl State {
    /// Returns the name as RFC 9568 has it, in capitals.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Initialize => "INITIALIZE",
            Self::Backup => "BACKUP",
            Self::Active => "ACTIVE",
        }
    }

    /// Returns the word that keepalived gives to notify scripts; a router outside the election is in FAULT.
    pub const fn keepalived_name(self) -> &'static str {
        match self {
            Self::Initialize => "FAULT",
            Self::Backup => "BACKUP",
            Self::Active => "MASTER",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_has_the_range_and_the_step_of_the_packet() {
        let from = AdverInterval::from_duration;
        assert_eq!(from(Duration::from_millis(10)).unwrap().centiseconds(), 1);
        assert_eq!(from(Duration::from_millis(40_950)).unwrap(), AdverInterval::LONGEST);
        assert_eq!(
            from(Duration::from_millis(40_960)),
            Err(ValueError::IntervalRange(Duration::from_millis(40_960)))
        );
        assert_eq!(from(Duration::ZERO), Err(ValueError::IntervalRange(Duration::ZERO)));
        assert_eq!(from(Duration::from_millis(15)), Err(ValueError::IntervalStep(Duration::from_millis(15))));
        assert!(from(Duration::MAX).is_err());
        assert!(AdverInterval::from_centiseconds(0).is_err());
        assert!(AdverInterval::from_centiseconds(4096).is_err());
    }

    #[test]
    fn version_two_has_whole_seconds() {
        let longest = AdverInterval::from_seconds(255).unwrap();
        assert_eq!(longest.as_duration(), Duration::from_secs(255));
        assert!(longest.suits(Version::V2) && !longest.suits(Version::V3));
        let half = AdverInterval::from_centiseconds(150).unwrap();
        assert!(!half.suits(Version::V2) && half.suits(Version::V3));
        assert!(AdverInterval::from_seconds(0).is_err());
    }

    #[test]
    fn identifiers_start_at_one() {
        assert_eq!(Vrid::try_from(0), Err(ValueError::Vrid));
        assert_eq!(Vrid::try_from(255).unwrap().get(), 255);
        assert!(serde_json::from_str::<Vrid>("0").is_err());
        assert_eq!(serde_json::to_string(&Vrid::try_from(51).unwrap()).unwrap(), "51");
    }

    #[test]
    fn states_have_the_names_of_the_rfc_and_of_keepalived() {
        assert_eq!(format!("{:>10}", State::Active), "    ACTIVE");
        assert_eq!(serde_json::to_string(&State::Backup).unwrap(), "\"BACKUP\"");
        assert_eq!(State::Active.keepalived_name(), "MASTER");
        assert_eq!(State::Initialize.keepalived_name(), "FAULT");
    }
}
