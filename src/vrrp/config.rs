//! What a virtual router is told before it starts.

use super::types::{AdverInterval, Priority, ValueError, Version, Vrid};
use super::wire::RxPolicy;
use serde::Serialize;
use std::net::IpAddr;
use std::time::Duration;

/// Everything that a [`Router`](super::router::Router) needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, each with its name")]
pub struct Config {
    /// The version it speaks.
    pub version: Version,
    /// Its identifier.
    pub vrid: Vrid,
    /// Its priority, 1 to 255.
    pub priority: Priority,
    /// The time between its adverts while it is Active.
    pub interval: AdverInterval,
    /// Whether it pushes an Active router of lower priority aside; never done in a guarded election.
    pub preempt: bool,
    /// How long it lets a lower priority be before it does.
    pub preempt_delay: Duration,
    /// The virtual addresses, of one family; with IPv6 the first one should be link-local.
    pub addresses: Vec<IpAddr>,
    /// The address its adverts come from; it breaks a tie.
    pub source: IpAddr,
    /// Who decides that it becomes Active.
    pub election: Election,
    /// How many adverts may be missing before the Active router counts as gone; the protocol has 3.
    pub down_timer_adverts: u8,
    /// How long after its start it stays out of the election.
    pub startup_delay: Duration,
    /// Whether packets to the virtual addresses are taken though it doesn't own them (`Accept_Mode`).
    pub accept: bool,
    /// When gratuitous ARP and unsolicited neighbour advertisements are repeated.
    pub announce: AnnounceSchedule,
    /// How often a farewell is sent; the protocol has 1, more survive the loss of a packet.
    pub farewells: u8,
    /// Whether a losing advert is answered with an advert at once (new in RFC 9568; keepalived always does).
    pub assert_to_losers: bool,
    /// Whether it becomes Active only together with others ([`super::group`]); for free elections.
    pub grouped: bool,
    /// By how many sixteenths of an interval its second advert comes sooner than that, 0 to 15: routers that became
    /// Active together, hundreds with one cable, then don't all speak at the same moment for ever. A sooner advert harms
    /// nobody.
    #[serde(skip)]
    pub phase: u8,
    /// The password of version 2.
    #[serde(skip)]
    pub auth: Option<[u8; 8]>,
}

impl Config {
    /// Creates the configuration of a free version 3 router with the defaults of RFC 9568.
    pub fn new(vrid: Vrid, source: IpAddr, addresses: Vec<IpAddr>) -> Self {
        Self {
            version: Version::V3,
            vrid,
            priority: Priority::DEFAULT,
            interval: AdverInterval::DEFAULT,
            preempt: true,
            preempt_delay: Duration::ZERO,
            addresses,
            source,
            election: Election::Free,
            down_timer_adverts: 3,
            startup_delay: Duration::ZERO,
            accept: false,
            announce: AnnounceSchedule::default(),
            farewells: 1,
            assert_to_losers: true,
            grouped: false,
            phase: 0,
            auth: None,
        }
    }

    /// Creates the configuration of a router whose supervisor decides: guarded, accepting, three farewells.
    pub fn guarded(vrid: Vrid, source: IpAddr, addresses: Vec<IpAddr>) -> Self {
        Self {
            election: Election::Guarded,
            preempt: false,
            accept: true,
            farewells: 3,
            ..Self::new(vrid, source, addresses)
        }
    }

    /// Returns what is wrong with the configuration, if anything is.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.priority == Priority::RELEASE {
            return Err(ConfigError::PriorityZero);
        }
        if !self.interval.suits(self.version) {
            let interval = self.interval.as_duration();
            return Err(ConfigError::Interval(match self.version {
                Version::V2 => ValueError::IntervalSeconds(interval),
                Version::V3 => ValueError::IntervalRange(interval),
            }));
        }
        if !(1..=255).contains(&self.addresses.len()) {
            return Err(ConfigError::AddressCount(self.addresses.len()));
        }
        if let Some(other) = self.addresses.iter().find(|a| a.is_ipv4() != self.source.is_ipv4()) {
            return Err(ConfigError::Family { own: self.source, other: *other });
        }
        if self.version == Version::V2 && self.source.is_ipv6() {
            return Err(ConfigError::VersionTwoIpv6);
        }
        if self.auth.is_some() && self.version == Version::V3 {
            return Err(ConfigError::AuthInVersionThree);
        }
        if !(1..=100).contains(&self.down_timer_adverts) {
            return Err(ConfigError::DownTimerAdverts(self.down_timer_adverts));
        }
        if self.farewells == 0 {
            return Err(ConfigError::NoFarewell);
        }
        Ok(())
    }

    /// Returns what the router demands of packets: over multicast with TTL 255, either form of checksum.
    pub fn rx_policy(&self) -> RxPolicy {
        RxPolicy {
            version: self.version,
            vrid: self.vrid,
            interval: self.interval,
            addresses: self.addresses.clone(),
            auth: self.auth,
            own: self.source,
            min_ttl: 255,
            max_ttl: 255,
            peers: None,
            check_source: true,
            checksum: None,
        }
    }
}

/// Who decides that a router becomes Active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Election {
    /// The protocol: silence and priority.
    #[default]
    Free,
    /// A supervisor: the router asks, and only a grant makes it Active; only the supervisor makes it yield.
    Guarded,
}

/// When an Active router tells the network again where the virtual addresses are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct AnnounceSchedule {
    /// How many times each address is announced in one round.
    pub burst: u8,
    /// How long after the first round the second one comes, for switches that were still learning; zero
    /// leaves it out.
    pub second_delay: Duration,
    /// How often it is repeated for as long as the router is Active.
    pub refresh: Option<Duration>,
    /// How many times each address is announced in a refresh.
    pub refresh_burst: u8,
}

impl Default for AnnounceSchedule {
    /// What keepalived does: five at once, five more after five seconds, no refresh.
    fn default() -> Self {
        Self { burst: 5, second_delay: Duration::from_secs(5), refresh: None, refresh_burst: 1 }
    }
}

/// Why a configuration can't be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// 0 is the farewell.
    #[error("priority 0 means that a router leaves; a router has 1 to 255")]
    PriorityZero,
    /// The packets of this version can't carry the interval.
    #[error(transparent)]
    Interval(ValueError),
    /// The count in the packet is one octet, and 0 is refused by receivers.
    #[error("a virtual router has 1 to 255 virtual addresses, not {0}")]
    AddressCount(usize),
    /// IPv4 and IPv6 are independent routers.
    #[error("{other} isn't of the address family of {own}")]
    Family {
        /// The address that adverts come from.
        own: IpAddr,
        /// The virtual address of another family.
        other: IpAddr,
    },
    /// Version 2 has no IPv6.
    #[error("VRRP version 2 has no IPv6")]
    VersionTwoIpv6,
    /// Version 3 has no password.
    #[error("VRRP version 3 has no authentication")]
    AuthInVersionThree,
    /// No number of adverts, or so many that nothing would ever happen.
    #[error("the down timer waits for 1 to 100 adverts, not {0}")]
    DownTimerAdverts(u8),
    /// Leaving without a word would be taken for a crash.
    #[error("at least one farewell is sent")]
    NoFarewell,
    /// A running router was to become another one.
    #[error("version, identifier, source and owner of a running virtual router can't be changed")]
    AnotherRouter,
}
