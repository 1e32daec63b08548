//! The gates a promotion must pass: facts in, a verdict per gate out. Pure.
//!
//! The shell verb shows the verdicts under `--dry-run` and lets an operator override them by name; the daemon
//! acts on them. Silence is never proof of death: a node that doesn't answer is an unknown, not a dead one.

use super::epoch::{Epoch, Term};
use super::lsn::{Lsn, SystemId, Timeline};
use crate::units::Mac;
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// What is done when nothing proves that the old primary is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Availability {
    /// Nothing is promoted.
    #[default]
    Hold,
    /// Silence is taken for death.
    Prefer,
}

/// What the gates may take on trust.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// What to do without proof of the old primary's death.
    pub availability: Availability,
    /// The most write-ahead log, in bytes, that may be known to be missing.
    pub max_lag: Option<u64>,
    /// Gates that an operator overrides; each refusal of theirs becomes a warning.
    pub forced: Vec<Gate>,
}

/// What is known of the local server.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalView {
    /// Whether it is in recovery.
    pub in_recovery: bool,
    /// The system identifier of its data.
    pub system_id: SystemId,
    /// The timeline it is on.
    pub timeline: Timeline,
    /// How far its log reaches: received and flushed, or replayed, whichever is more.
    pub end: Lsn,
    /// Whether replay was paused by a person.
    pub replay_paused: bool,
    /// Whether a receiver streams at this moment.
    pub receiving: bool,
    /// The end of the primary's log as last told by the primary.
    pub primary_end: Option<Lsn>,
    /// How long ago the primary was last heard over replication.
    pub last_contact: Option<Duration>,
    /// The newest epoch in its data.
    pub epoch: Option<Epoch>,
}

/// What another node's server says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerServer {
    /// The system identifier of its data.
    pub system_id: SystemId,
    /// The timeline it is on.
    pub timeline: Timeline,
    /// How far its log reaches.
    pub end: Lsn,
    /// The newest epoch in its data.
    pub epoch: Option<Epoch>,
}

/// What became of asking another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerAnswer {
    /// It accepts writes.
    Primary(Box<PeerServer>),
    /// It is in recovery.
    Standby(Box<PeerServer>),
    /// Its host refused the connection: nothing listens there at this moment.
    Down {
        /// What the system said.
        why: String,
    },
    /// No answer, or none that can be understood: nothing is known.
    Silent {
        /// What was waited for.
        why: String,
    },
}

impl fmt::Display for PeerAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Primary(server) => write!(f, "primary on timeline {}, {}", server.timeline, server.end),
            Self::Standby(server) => write!(f, "standby on timeline {}, {}", server.timeline, server.end),
            Self::Down { why } => write!(f, "down ({why})"),
            Self::Silent { why } => write!(f, "silent ({why})"),
        }
    }
}

/// The answer of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerView {
    /// The node.
    pub node: String,
    /// Its answer.
    pub answer: PeerAnswer,
}

/// What else is known at the moment of decision.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// The node that sent priority 0 after it had stopped its server, and hasn't been heard since.
    pub farewell: Option<String>,
    /// Who answers for a virtual IP on the link.
    pub vip_answered_by: Option<Mac>,
}

/// One gate. The names are those of `--force`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// The local server is a standby.
    InRecovery,
    /// All nodes that answer hold the same database cluster.
    SystemId,
    /// Replay goes on: a promotion would otherwise wait, or drop what is held back on purpose.
    ReplayNotPaused,
    /// No more of the log is missing than allowed.
    Lag,
    /// No other node is alive as a primary.
    PeerPrimary,
    /// No other node has data of a newer term.
    NewerEpoch,
    /// No other node that answers has more of the log.
    MostComplete,
    /// Nobody answers for the virtual IP.
    VipFree,
    /// The old primary is proved dead, or is this node.
    ProofOfDeath,
}

impl Gate {
    /// Every gate, in the order in which they are judged.
    pub const ALL: [Self; 9] = [
        Self::InRecovery,
        Self::SystemId,
        Self::PeerPrimary,
        Self::NewerEpoch,
        Self::ReplayNotPaused,
        Self::VipFree,
        Self::MostComplete,
        Self::ProofOfDeath,
        Self::Lag,
    ];

    /// Returns the name for `--force`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InRecovery => "in-recovery",
            Self::SystemId => "system-id",
            Self::ReplayNotPaused => "replay-not-paused",
            Self::Lag => "lag",
            Self::PeerPrimary => "peer-primary",
            Self::NewerEpoch => "newer-epoch",
            Self::MostComplete => "most-complete",
            Self::VipFree => "vip-free",
            Self::ProofOfDeath => "proof-of-death",
        }
    }
}

/// How a gate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing against it.
    Pass,
    /// Goes ahead, and says what is risked.
    Warn,
    /// Stops here.
    Refuse,
}

/// The verdict of one gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GateVerdict {
    /// The gate.
    pub gate: Gate,
    /// How it stands.
    pub verdict: Verdict,
    /// Why, in one clause.
    pub why: String,
    /// What a person can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl GateVerdict {
    /// Returns whether the gate stops the promotion.
    pub fn refuses(&self) -> bool {
        self.verdict == Verdict::Refuse
    }

    /// Returns whether something is taken on trust.
    pub fn warns(&self) -> bool {
        self.verdict == Verdict::Warn
    }
}

/// Judges every gate; a promotion may go ahead when none refuses.
pub fn evaluate(local: &LocalView, peers: &[PeerView], policy: &Policy, evidence: &Evidence) -> Vec<GateVerdict> {
    Gate::ALL
        .into_iter()
        .map(|gate| {
            let mut verdict = match gate {
                Gate::InRecovery => in_recovery(local),
                Gate::SystemId => system_id(local, peers),
                Gate::PeerPrimary => peer_primary(local, peers),
                Gate::NewerEpoch => newer_epoch(local, peers),
                Gate::ReplayNotPaused => replay_not_paused(local),
                Gate::VipFree => vip_free(evidence),
                Gate::MostComplete => most_complete(local, peers, policy),
                Gate::ProofOfDeath => proof_of_death(local, peers, policy, evidence),
                Gate::Lag => lag(local, policy, evidence),
            };
            if verdict.refuses() && policy.forced.contains(&gate) {
                verdict.verdict = Verdict::Warn;
                verdict.why = format!("{} (overridden by --force {})", verdict.why, gate.name());
            }
            verdict
        })
        .collect()
}

/// Returns the term a promotion would take: higher than any that is known of.
pub fn next_term(local: &LocalView, peers: &[PeerView]) -> Term {
    let theirs = peers.iter().filter_map(|peer| server(peer)).filter_map(|server| server.epoch.as_ref());
    theirs.chain(local.epoch.as_ref()).map(|epoch| epoch.term).max().unwrap_or_default().next()
}

fn pass(gate: Gate, why: impl Into<String>) -> GateVerdict {
    GateVerdict { gate, verdict: Verdict::Pass, why: why.into(), hint: None }
}

fn warn(gate: Gate, why: impl Into<String>) -> GateVerdict {
    GateVerdict { gate, verdict: Verdict::Warn, why: why.into(), hint: None }
}

fn refuse(gate: Gate, why: impl Into<String>, hint: impl Into<String>) -> GateVerdict {
    GateVerdict { gate, verdict: Verdict::Refuse, why: why.into(), hint: Some(hint.into()) }
}

fn in_recovery(local: &LocalView) -> GateVerdict {
    if local.in_recovery {
        pass(Gate::InRecovery, "the local server is a standby")
    } else {
        pass(Gate::InRecovery, "the local server is a primary already")
    }
}

fn system_id(local: &LocalView, peers: &[PeerView]) -> GateVerdict {
    let stranger = peers.iter().find(|peer| server(peer).is_some_and(|server| server.system_id != local.system_id));
    match stranger {
        None => pass(Gate::SystemId, "every node that answers holds this database cluster"),
        Some(peer) => refuse(
            Gate::SystemId,
            format!("{} belongs to another database cluster: its system identifier differs", peer.node),
            "is the address of that node right, and was its data folder copied from this cluster?",
        ),
    }
}

fn peer_primary(local: &LocalView, peers: &[PeerView]) -> GateVerdict {
    let mine = term_of(local.epoch.as_ref());
    let alive = peers.iter().find_map(|peer| match &peer.answer {
        PeerAnswer::Primary(server) => Some((peer, server)),
        _ => None,
    });
    match alive {
        None => pass(Gate::PeerPrimary, "no other node answers as a primary"),
        Some((peer, server)) => refuse(
            Gate::PeerPrimary,
            format!(
                "{} is alive as a primary of term {} (this data: term {mine})",
                peer.node,
                term_of(server.epoch.as_ref())
            ),
            format!(
                "do its adverts reach this node? `tcpdump -ni any ip proto 112`; to move the service on purpose: `pgbaton vrrp resign` on {}",
                peer.node
            ),
        ),
    }
}

fn newer_epoch(local: &LocalView, peers: &[PeerView]) -> GateVerdict {
    let mine = term_of(local.epoch.as_ref());
    let newer = peers.iter().find_map(|peer| {
        let theirs = term_of(server(peer)?.epoch.as_ref());
        (theirs > mine).then_some((peer, theirs))
    });
    match newer {
        None => pass(Gate::NewerEpoch, format!("no node that answers has data of a newer term than {mine}")),
        Some((peer, theirs)) => refuse(
            Gate::NewerEpoch,
            format!("{} has data of term {theirs}, this node's data ends in term {mine}", peer.node),
            format!("promote {} instead, and rebuild this node from it", peer.node),
        ),
    }
}

fn replay_not_paused(local: &LocalView) -> GateVerdict {
    if local.replay_paused {
        refuse(
            Gate::ReplayNotPaused,
            "replay is paused on this node",
            "why was it paused? to go on: psql -c 'SELECT pg_wal_replay_resume()'",
        )
    } else {
        pass(Gate::ReplayNotPaused, "replay isn't paused")
    }
}

fn vip_free(evidence: &Evidence) -> GateVerdict {
    match evidence.vip_answered_by {
        None => pass(Gate::VipFree, "nobody answers for the virtual IP"),
        Some(mac) => refuse(
            Gate::VipFree,
            format!("{mac} answers for the virtual IP: a node that has it is alive"),
            format!("which node has {mac}? its lease ends by itself when its daemon is dead"),
        ),
    }
}

fn most_complete(local: &LocalView, peers: &[PeerView], policy: &Policy) -> GateVerdict {
    let mine = (term_of(local.epoch.as_ref()), local.end);
    let ahead = peers
        .iter()
        .filter_map(|peer| match &peer.answer {
            PeerAnswer::Standby(server) => Some((peer, (term_of(server.epoch.as_ref()), server.end))),
            _ => None,
        })
        .filter(|(_, theirs)| *theirs > mine)
        .max_by_key(|(_, theirs)| *theirs);
    let Some((peer, (_, end))) = ahead else {
        return pass(Gate::MostComplete, "no node that answers has more of the log");
    };
    let why = format!("{} has {} bytes more of the log ({end}, here {})", peer.node, end.ahead_of(local.end), local.end);
    match policy.availability {
        Availability::Prefer => warn(Gate::MostComplete, format!("{why}: they are lost here")),
        Availability::Hold => refuse(
            Gate::MostComplete,
            why,
            format!("promote {} instead, or let this node stream from it until it has caught up", peer.node),
        ),
    }
}

fn proof_of_death(local: &LocalView, peers: &[PeerView], policy: &Policy, evidence: &Evidence) -> GateVerdict {
    let gate = Gate::ProofOfDeath;
    let unknown: Vec<&PeerView> = peers.iter().filter(|peer| server(peer).is_none()).collect();
    if unknown.is_empty() {
        return pass(gate, "every other node answers, and none is a primary");
    }
    // The newest primary this data knows of. Another node could be newer only if it was promoted since, and
    // then it is among those that don't answer.
    let old = local.epoch.as_ref().map(|epoch| epoch.node.as_str());
    if let Some(left) = &evidence.farewell
        && old.is_none_or(|old| old == left)
        && unknown.iter().all(|peer| peer.node == *left)
    {
        return pass(gate, format!("{left} said that it has stopped its PostgreSQL (priority 0)"));
    }
    let names: Vec<&str> = unknown.iter().map(|peer| peer.node.as_str()).collect();
    let names = names.join(", ");
    match policy.availability {
        Availability::Prefer => warn(
            gate,
            format!("{names} is silent, which is no proof of its death: if it lives, there are two primaries; {}", loss(local)),
        ),
        Availability::Hold => refuse(
            gate,
            format!("{names} is silent, and nothing proves that its PostgreSQL is dead"),
            format!(
                "if you know that it is dead (power off, unplugged): `pgbaton pg promote --force {}`; to accept the risk every time: guard.availability = \"prefer\"",
                gate.name()
            ),
        ),
    }
}

fn lag(local: &LocalView, policy: &Policy, evidence: &Evidence) -> GateVerdict {
    // A farewell comes after a stop that ships everything; otherwise only what the primary last told counts.
    let missing = local.primary_end.map_or(0, |end| end.ahead_of(local.end));
    let known = format!("{missing} bytes of the log are known to be missing");
    match policy.max_lag {
        Some(most) if missing > most => refuse(
            Gate::Lag,
            format!("{known}, {most} are allowed"),
            format!("to lose them: --force {}, or a larger guard.max_lag", Gate::Lag.name()),
        ),
        _ if missing > 0 && evidence.farewell.is_none() => warn(Gate::Lag, known),
        _ => pass(Gate::Lag, known),
    }
}

/// What may be lost, as far as it can be bounded.
fn loss(local: &LocalView) -> String {
    let missing = local.primary_end.map_or(0, |end| end.ahead_of(local.end));
    match local.last_contact {
        Some(age) => format!(
            "what it committed after {} is lost here: {missing} bytes are known of, and whatever it wrote in the {} ms since it was last heard",
            local.end,
            age.as_millis()
        ),
        None => format!("what it committed after {} is lost here, and how much that is isn't known", local.end),
    }
}

fn server(peer: &PeerView) -> Option<&PeerServer> {
    match &peer.answer {
        PeerAnswer::Primary(server) | PeerAnswer::Standby(server) => Some(server),
        PeerAnswer::Down { .. } | PeerAnswer::Silent { .. } => None,
    }
}

fn term_of(epoch: Option<&Epoch>) -> Term {
    epoch.map_or_else(Term::default, |epoch| epoch.term)
}
