//! What a virtual router says: the outputs of [`Router::poll_output`](super::router::Router::poll_output).

use super::types::{AdverInterval, Priority, State};
use super::wire::Advert;
use crate::units::Moment;
use serde::Serialize;
use std::net::IpAddr;
use std::time::Duration;

/// One thing for the edge to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this advert, to the group or to each unicast peer.
    Send(Advert),
    /// Something happened that others act on.
    Event(Event),
    /// Nothing more for now; call `handle_timeout` at this moment, or never.
    Timeout(Option<Moment>),
}

/// Something that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// The router is in another state now.
    Entered {
        /// The new state.
        state: State,
        /// What led to it.
        reason: Reason,
    },
    /// The addresses are to be announced by gratuitous ARP or unsolicited neighbour advertisement.
    Announce {
        /// Why now.
        round: Round,
        /// How many times each address.
        burst: u8,
    },
    /// No advert for one and a half intervals; said once per silence, so that others can be asked early.
    Suspect {
        /// The last advert, if there ever was one.
        last_heard: Option<Heard>,
    },
    /// Adverts are back after a suspicion.
    Heard {
        /// Who sent it.
        from: IpAddr,
    },
    /// Guarded: may I become Active? Said again after each further down interval until something changes.
    Ask {
        /// What makes the router ask.
        reason: AskReason,
    },
    /// Guarded: another router is Active as well. At once for a new rival, then at most once per interval.
    Contested {
        /// The rival.
        from: IpAddr,
        /// Its priority.
        priority: Priority,
        /// Whether it would win by the rules of the protocol.
        wins: bool,
    },
    /// A rival has said farewell or has been silent long enough to be forgotten.
    Uncontested {
        /// The former rival.
        from: IpAddr,
    },
    /// While Active, this process slept so long that another one may have taken over. Comes before anything else.
    Overslept {
        /// The time since the last advert that was sent.
        by: Duration,
    },
    /// A peer is configured differently; said at most once a minute for each kind.
    Differs {
        /// The peer.
        from: IpAddr,
        /// What differs.
        what: Difference,
    },
}

/// Why a router changed its state; the vocabulary of RFC 9568 §6.4 and of the YANG model (RFC 8347).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// It was started.
    Startup,
    /// It was started and owns the addresses.
    Owner,
    /// It was stopped.
    Shutdown,
    /// The Active router fell silent.
    NoResponse,
    /// The Active router said farewell.
    Farewell,
    /// The Active router had a lower priority.
    Preempted,
    /// Another Active router has a higher priority, or the same and a higher address.
    HigherPriority,
    /// The supervisor granted it.
    Granted,
    /// It was told to give up.
    Resigned,
    /// It was told to give way to a rival.
    Yielded,
    /// It slept longer than the others wait.
    Overslept,
    /// Something it needs is missing (a link, an address).
    Fault,
    /// What was missing is back.
    FaultCleared,
    /// Every router of its group wants to be Active.
    GroupRises,
    /// Another router of its group is no longer Active.
    GroupFalls,
}

impl Reason {
    /// Returns the reason as a clause for a log line.
    pub const fn explain(self) -> &'static str {
        match self {
            Self::Startup => "started",
            Self::Owner => "started as the owner of the addresses",
            Self::Shutdown => "stopped",
            Self::NoResponse => "the active router fell silent",
            Self::Farewell => "the active router said farewell",
            Self::Preempted => "the active router had a lower priority",
            Self::HigherPriority => "another active router ranks higher",
            Self::Granted => "the supervisor granted it",
            Self::Resigned => "resigned",
            Self::Yielded => "gave way to a rival",
            Self::Overslept => "slept longer than the others wait",
            Self::Fault => "something it needs is missing",
            Self::FaultCleared => "what was missing is back",
            Self::GroupRises => "every router of its group can be",
            Self::GroupFalls => "another router of its group no longer is",
        }
    }
}

/// Why a guarded router asks to become Active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "reason")]
pub enum AskReason {
    /// The Active router sent priority 0: it has left by its own account.
    Farewell {
        /// Who left.
        from: IpAddr,
    },
    /// Nothing was heard for a down interval. Silence is no proof of death.
    Silence {
        /// The last advert, if there ever was one.
        last_heard: Option<Heard>,
    },
}

/// What makes a router announce its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Round {
    /// It has just become Active.
    First,
    /// Some time later, for switches that were still learning.
    Second,
    /// Now and then for as long as it is Active.
    Refresh,
    /// A losing rival showed up, and may have announced the addresses as its own.
    Contest,
    /// The last rival is gone.
    ContestOver,
    /// The network came back (a link, an address), asked for by the edge.
    LinkBack,
}

/// What may differ between two routers that still understand each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Difference {
    /// The advertisement interval.
    Interval,
    /// The list of virtual addresses.
    Addresses,
    /// It advertises although this router owns the addresses (erratum 8298: process it all the same).
    NotOwner,
    /// It too claims to own the addresses.
    SecondOwner,
}

/// The last advert from anyone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Heard {
    /// The sender.
    pub from: IpAddr,
    /// When it came.
    #[serde(skip)]
    pub at: Moment,
    /// The sender's priority; 0 is a farewell.
    pub priority: Priority,
    /// The sender's interval.
    pub interval: AdverInterval,
}

/// Another router that was Active at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Rival {
    /// The sender.
    pub from: IpAddr,
    /// Its priority.
    pub priority: Priority,
    /// Its interval.
    pub interval: AdverInterval,
    /// Whether it would win by the rules of the protocol.
    pub wins: bool,
    /// When its first advert came.
    #[serde(skip)]
    pub since: Moment,
    /// When its last advert came.
    #[serde(skip)]
    pub last: Moment,
}

/// How to give up being Active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Resign {
    /// Whether to send a farewell: others then take over after their skew. Guarded routers take it as proof, so
    /// it is only sent once nothing is served any more.
    pub farewell: bool,
    /// How long neither to become Active nor to ask for it.
    pub hold: Option<Duration>,
}
