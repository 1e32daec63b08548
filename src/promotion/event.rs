//! What the daemon writes down about a failover: one record per thing seen, decided or done.

use crate::units::Moment;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What sort of thing happened. The names are stable: they are in logs, JSON and pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// The daemon started.
    Started,
    /// The VRRP router entered a state.
    State,
    /// One and a half intervals passed without an advert of the Active node.
    AdvertLate,
    /// Adverts are heard again.
    AdvertHeard,
    /// The Active node said that it leaves (priority 0).
    FarewellHeard,
    /// The down interval ran out: permission to ask.
    ActiveDown,
    /// The other nodes are being asked what they are.
    Asking,
    /// A node answered, or its answer's time ran out.
    PeerAnswer,
    /// The link was asked whether anyone has the virtual IP.
    VipProbe,
    /// What was decided, and why.
    Decision,
    /// A step of a plan began.
    StepStarted,
    /// A step of a plan ended.
    StepDone,
    /// The node serves: its server is the confirmed primary, the virtual IP is on it.
    Serving,
    /// The virtual IP left this node.
    VipRemoved,
    /// The local server was stopped because another is newer, or because it can't be trusted.
    Fenced,
    /// Priority 0 was sent: the server has stopped.
    FarewellSent,
    /// The postmaster is gone.
    PostmasterGone,
    /// A postmaster is there.
    PostmasterUp,
    /// The server doesn't answer its health probe.
    ProbeFailed,
    /// The loop slept longer than the others wait.
    Overslept,
    /// Another node sends adverts as Active while this one serves.
    Contested,
    /// The link of the interface came up or went down.
    Link,
    /// The virtual IP was removed by someone else.
    AddressLost,
    /// A silent node is being fenced, or was.
    Fencing,
    /// The operator paused the cluster, or resumed it.
    Paused,
    /// What a voter looks after couldn't be done.
    Upkeep,
    /// The server is being started here again.
    Restarting,
    /// The node is being made a standby of the primary again.
    Rejoining,
    /// The node is a standby of the primary again.
    Rejoined,
    /// An operator asked the node to hand over.
    Resigned,
    /// Something that a virtual router depends on has changed, and what it does to the router.
    Tracked,
    /// A program was told of a change of state, and did its part.
    Notified,
    /// A program was told of a change of state, and failed.
    NotifyFailed,
    /// The daemon stops.
    Stopping,
    /// The record on disk has a gap: the disk was too slow.
    RecordsLost,
}

impl EventKind {
    /// Returns the stable name, as in JSON.
    pub fn name(self) -> String {
        match serde_json::to_value(self) {
            Ok(Value::String(name)) => name,
            _ => String::new(),
        }
    }

    /// Returns whether a person at 3 a.m. wants this line in the log; the rest is for the record only.
    pub const fn logged(self) -> bool {
        !matches!(self, Self::StepStarted | Self::PeerAnswer | Self::VipProbe | Self::Asking)
    }

    /// Returns whether the line is a warning.
    pub const fn warns(self) -> bool {
        matches!(
            self,
            Self::PostmasterGone
                | Self::ProbeFailed
                | Self::Overslept
                | Self::Contested
                | Self::Fenced
                | Self::AddressLost
                | Self::ActiveDown
                | Self::NotifyFailed
        )
    }
}

/// One thing that happened, without its time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// What sort of thing.
    #[serde(rename = "event")]
    pub kind: EventKind,
    /// One sentence for a person, lower case.
    pub text: String,
    /// The facts, for programs.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
}

impl Event {
    /// Creates an event without fields.
    pub fn new(kind: EventKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), fields: Map::new() }
    }

    /// Adds a fact.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(key.to_owned(), value.into());
        self
    }
}

/// An event with its times: on this machine's boot clock, and for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Nanoseconds since boot (`CLOCK_BOOTTIME`).
    #[serde(rename = "at_ns")]
    pub at: Moment,
    /// The wall clock, RFC 3339 with microseconds, UTC.
    pub wall: String,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}
