//! What the gates look at beside the servers' own words. Values only.

use crate::units::Mac;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What was found out beside asking the servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// What answers for the virtual IP.
    pub vip: VipProbe,
    /// Proofs of death, each for one node.
    pub proofs: Vec<(String, Proof)>,
    /// Whether a majority of the voters has detached from every older primary: none can acknowledge any more.
    pub detached_by_majority: bool,
    /// The history files of the peers.
    pub histories: Histories,
    /// What asking for votes would come to.
    pub votes: Foreseen,
    /// What the gateway says about this node, and for how long it has been asked.
    pub gateway: Gateway,
}

impl Evidence {
    /// Nothing found out yet.
    pub const NONE: Self = Self {
        vip: VipProbe::NotAsked,
        proofs: Vec::new(),
        detached_by_majority: false,
        histories: Histories::Missing(Vec::new()),
        votes: Foreseen::NotJudged,
        gateway: Gateway::None,
    };
}

/// What is known from the gateway: the weak form of a proof. It tells which side of a dead port or cable this node is
/// on, and nothing of a cut between two nodes that it answers both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gateway {
    /// There is none, or nobody asks it.
    None,
    /// It doesn't answer: this node may be the one that is cut off.
    Silent,
    /// It answers, but a primary that is cut off may still go on, within its bound.
    Early {
        /// That bound, since the primary fell silent.
        bound: Duration,
    },
    /// It answers, and a primary that is cut off has stopped.
    Answers,
}

/// What the other nodes' answers say about the votes that they would give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Foreseen {
    /// Nobody looked: the votes themselves will show it.
    NotJudged,
    /// They would be enough: who gives them.
    Enough(String),
    /// They wouldn't be enough: why.
    Short(String),
}

/// What answers for the virtual IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VipProbe {
    /// Nobody has been asked, or there is no virtual IP.
    NotAsked,
    /// It can't be asked: the right to send ARP is missing.
    CantAsk,
    /// Nothing answers.
    Free,
    /// It is on this machine already.
    Here,
    /// Another machine answers.
    AnsweredBy(Mac),
}

/// Why a node is known to acknowledge nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// Its daemon said good-bye (priority 0), which it does only after `PostgreSQL` has stopped.
    Farewell,
    /// A stop over SSH said that it is done.
    StoppedBySsh,
    /// A fencing command said that it is done.
    Fenced,
    /// Its lease has run out by our own clock.
    LeaseExpired,
}

impl Proof {
    /// Returns what to say about it.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Farewell => "said good-bye after stopping",
            Self::StoppedBySsh => "was stopped over SSH",
            Self::Fenced => "was fenced",
            Self::LeaseExpired => "has lost its lease",
        }
    }
}

/// The history files that decide which timeline number is free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Histories {
    /// All peers' are here.
    Collected,
    /// These nodes' aren't; with no names, none were asked for.
    Missing(Vec<String>),
}
