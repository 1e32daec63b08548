//! The gates of a promotion: what must be so before a standby may ask to become the primary.
//!
//! Pure: facts in, verdicts out. A gate passes, warns or refuses; an operator may turn a refusal into a warning by
//! naming the gate (`--force lag`), one at a time. Two rules shape the rest: **silence is never proof of death**, and
//! a primary that is alive in the same or a newer term always wins. The votes of the promotion protocol come
//! on top of these gates, not in their place.

mod evidence;
mod standing;
mod votes;

pub use evidence::{Evidence, Foreseen, Gateway, Histories, Proof, VipProbe};
pub use votes::{foresee, votes_overridden};

use super::epoch::{PromotionId, Term};
use super::lsn::{Lsn, SystemId, Timeline};
use crate::promotion::rules::{Configuration, Register};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// One thing that is looked at. The names are what `--force` takes and what reports show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// The server is a standby. Can't be forced: there would be nothing to promote.
    InRecovery,
    /// The data is this cluster's.
    SystemId,
    /// Nobody paused the replay.
    ReplayNotPaused,
    /// The operator hasn't paused the cluster.
    Paused,
    /// Nobody fenced this server without looking at its data since.
    NeedsCheck,
    /// Enough of the other nodes would promise the term, where commits wait for standbys.
    Votes,
    /// What may be missing here is within `max_lag`.
    Lag,
    /// The primary was last heard of within `max_silence`.
    LastContact,
    /// No other standby holds more of the log.
    MostComplete,
    /// No peer runs as primary in the same or a newer term.
    PeerPrimary,
    /// Nobody has seen a newer term or timeline than this server.
    NewerEpoch,
    /// Nobody else answers for the virtual IP.
    VipFree,
    /// Each peer that may have been the primary is known to be dead or unable to acknowledge.
    ProofOfDeath,
    /// The timeline that will be made is nobody else's.
    TimelineUnique,
    /// `restore_command` can't hold the promotion up.
    RestoreCommand,
}

impl Gate {
    /// Every gate, in the order they are shown.
    pub const ALL: [Self; 15] = [
        Self::InRecovery,
        Self::SystemId,
        Self::ReplayNotPaused,
        Self::Paused,
        Self::NeedsCheck,
        Self::Votes,
        Self::Lag,
        Self::LastContact,
        Self::MostComplete,
        Self::PeerPrimary,
        Self::NewerEpoch,
        Self::VipFree,
        Self::ProofOfDeath,
        Self::TimelineUnique,
        Self::RestoreCommand,
    ];

    /// Returns the name, as `--force` takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InRecovery => "in-recovery",
            Self::SystemId => "system-id",
            Self::ReplayNotPaused => "replay-not-paused",
            Self::Paused => "paused",
            Self::NeedsCheck => "needs-check",
            Self::Votes => "votes",
            Self::Lag => "lag",
            Self::LastContact => "last-contact",
            Self::MostComplete => "most-complete",
            Self::PeerPrimary => "peer-primary",
            Self::NewerEpoch => "newer-epoch",
            Self::VipFree => "vip-free",
            Self::ProofOfDeath => "proof-of-death",
            Self::TimelineUnique => "timeline-unique",
            Self::RestoreCommand => "restore-command",
        }
    }

    /// Returns whether an operator may overrule this gate.
    pub const fn can_be_forced(self) -> bool {
        !matches!(self, Self::InRecovery)
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Gate {
    type Err = UnknownGate;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|gate| gate.name() == text).ok_or_else(|| UnknownGate(text.to_owned()))
    }
}

/// A name that isn't a gate's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no gate \"{0}\"")]
pub struct UnknownGate(String);

/// This server, as far as the gates look at it.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not a state")]
#[derive(Debug, Clone, PartialEq)]
pub struct LocalView {
    /// Whether it is a standby.
    pub in_recovery: bool,
    /// The cluster its data belongs to.
    pub system_id: Option<SystemId>,
    /// The timeline it follows.
    pub timeline: Option<Timeline>,
    /// The newest term in its data; `None` when there never was one.
    pub term: Option<Term>,
    /// The promotion that term began with.
    pub promotion_id: Option<PromotionId>,
    /// Whether it streams from another server at this moment.
    pub receiving: bool,
    /// The end of the log it holds.
    pub end: Option<Lsn>,
    /// The end of what it has replayed.
    pub replayed: Option<Lsn>,
    /// Whether the replay is paused.
    pub replay_paused: bool,
    /// Why this server was fenced, if nobody has looked at its data since.
    pub needs_check: Option<String>,
    /// How long ago anything came from the primary, at most; `None` when nothing tells.
    pub last_heard: Option<Duration>,
    /// What is known about the primary's log.
    pub primary_known: Option<LastKnown>,
    /// Whether `restore_command` is set; `None` when the role may not see it.
    pub restore_command: Option<bool>,
    /// Whose acknowledgement counted in that term.
    pub configuration: Option<Configuration>,
    /// What it has promised as a voter.
    pub register: Register,
    /// Whether it has an upstream: a frozen standby has none.
    pub attached: bool,
    /// The node that is its upstream, where `primary_conninfo` names a known one.
    pub upstream: Option<String>,
    /// Why the operator has paused the cluster, if it is paused.
    pub paused: Option<String>,
}

/// The end of the primary's log as it was last told, and how long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastKnown {
    /// The position.
    pub end: Lsn,
    /// Its age; what was written since is not in it.
    pub age: Option<Duration>,
}

impl LocalView {
    /// Returns how much of the primary's last known log is missing here, in bytes.
    pub fn missing(&self) -> Option<u64> {
        Some(self.primary_known?.end.ahead_of(self.end.unwrap_or(Lsn::ZERO)))
    }
}

/// Another data node, and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerView {
    /// Its name.
    pub node: String,
    /// What came of asking it.
    pub answer: PeerAnswer,
    /// What it has promised as a voter.
    pub register: Register,
}

impl PeerView {
    /// Creates the view of a node whose register is empty or unknown.
    pub fn new(node: impl Into<String>, answer: PeerAnswer) -> Self {
        Self { node: node.into(), answer, register: Register::default() }
    }

    /// Returns whether it answered as a server of some role.
    pub const fn answered(&self) -> bool {
        matches!(self.answer, PeerAnswer::Primary(_) | PeerAnswer::Standby(_) | PeerAnswer::Witness)
    }
}

/// What came of asking a peer's server, on every path there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerAnswer {
    /// It runs as primary.
    Primary(PeerServer),
    /// It runs as standby.
    Standby(PeerServer),
    /// Its machine says that nothing listens. Not proof: backends outlive a killed postmaster and still acknowledge,
    /// and a firewall says the same.
    Down(String),
    /// It gives no answer, or none that tells a role.
    Silent(String),
    /// It is a witness: it answers, and has no data.
    Witness,
}

/// What a peer's server said about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerServer {
    /// The newest term in its data; `None` when it has none or it wouldn't say.
    pub term: Option<Term>,
    /// The promotion that term began with.
    pub promotion_id: Option<PromotionId>,
    /// The timeline it writes or follows.
    pub timeline: Option<Timeline>,
    /// The end of the log it holds.
    pub end: Option<Lsn>,
    /// The cluster its data belongs to.
    pub system_id: Option<SystemId>,
}

impl fmt::Display for PeerAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = |f: &mut fmt::Formatter<'_>, role: &str, server: &PeerServer| {
            f.write_str(role)?;
            if let Some(timeline) = server.timeline {
                write!(f, " on timeline {timeline}")?;
            }
            server.end.map_or(Ok(()), |end| write!(f, ", {end}"))
        };
        match self {
            Self::Primary(facts) => server(f, "primary", facts),
            Self::Standby(facts) => server(f, "standby", facts),
            Self::Down(why) => write!(f, "down ({why})"),
            Self::Silent(why) => write!(f, "silent ({why})"),
            Self::Witness => f.write_str("witness"),
        }
    }
}

/// What to do when nothing proves that the old primary can't go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Availability {
    /// Wait: rather no primary than two.
    #[default]
    Hold,
    /// Go on: rather two primaries for a while, and what the standby hasn't received lost, than none.
    Prefer,
}

/// What the operator has decided beforehand, and on the command line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// Whether the votes of the promotion protocol decide about the old primary, and fetch what others have more.
    pub votes: bool,
    /// Whether nothing that was acknowledged can be missing where the votes are enough: commits wait for standbys.
    pub lossless: bool,
    /// What silence means.
    pub availability: Availability,
    /// The most that may be missing, in bytes; `None` is no limit.
    pub max_lag: Option<u64>,
    /// The longest time since the primary was heard of; `None` is no limit.
    pub max_silence: Option<Duration>,
    /// Whether a limit that can't be judged is one that isn't kept, whatever silence means: it was given for this time.
    pub strict: bool,
    /// The cluster's system identifier, when the configuration names it.
    pub system_id: Option<SystemId>,
    /// The gates whose refusal is only a warning this time.
    pub forced: BTreeSet<Gate>,
}

/// What a gate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing against it.
    Pass,
    /// Nothing that stops it, but a person should know.
    Warn,
    /// It must not be.
    Refuse,
}

/// One gate's verdict and its reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateVerdict {
    /// The gate.
    pub gate: Gate,
    /// What it says.
    pub verdict: Verdict,
    /// The facts behind it.
    pub why: String,
    /// What to do about it: a command or a question.
    pub hint: Option<String>,
    /// Whether the operator has overruled a refusal.
    pub forced: bool,
}

/// Looks at everything and returns one verdict for each gate, in the order of [`Gate::ALL`].
pub fn evaluate(
    local: &LocalView,
    peers: &[PeerView],
    policy: &Policy,
    evidence: &Evidence,
) -> Vec<GateVerdict> {
    // Without the votes, everything they would have answered for has to be answered for one by one.
    let alone = Policy { votes: false, lossless: false, ..policy.clone() };
    let asked = policy;
    let policy = if votes_overridden(policy, evidence) { &alone } else { policy };
    let judge = |gate| match gate {
        Gate::InRecovery => in_recovery(local),
        Gate::SystemId => system_id(local, peers, policy),
        Gate::ReplayNotPaused => replay_not_paused(local),
        Gate::Paused => standing::paused(local),
        Gate::NeedsCheck => standing::needs_check(local),
        Gate::Votes => votes::votes(asked, evidence),
        Gate::Lag => lag(local, policy),
        Gate::LastContact => standing::last_contact(local, policy),
        Gate::MostComplete => most_complete(local, peers, policy),
        Gate::PeerPrimary => peer_primary(local, peers),
        Gate::NewerEpoch => newer_epoch(local, peers, policy),
        Gate::VipFree => vip_free(evidence),
        Gate::ProofOfDeath => proof_of_death(local, peers, policy, evidence),
        Gate::TimelineUnique => timeline_unique(peers, evidence),
        Gate::RestoreCommand => restore_command(local),
    };
    let finish = |gate: Gate| {
        let Said { mut verdict, why, hint } = judge(gate);
        let forced = verdict == Verdict::Refuse && gate.can_be_forced() && policy.forced.contains(&gate);
        if forced {
            verdict = Verdict::Warn;
        }
        GateVerdict { gate, verdict, why, hint, forced }
    };
    Gate::ALL.into_iter().map(finish).collect()
}

/// Returns the term a promotion would take: higher than any that is known of.
pub fn next_term(local: &LocalView, peers: &[PeerView]) -> Term {
    servers(local, peers)
        .filter_map(|(_, _, server)| server.term)
        .chain(local.term)
        .chain(peers.iter().filter_map(|peer| peer.register.newest_term()))
        .chain(local.register.newest_term())
        .max()
        .map_or(Term(1), Term::next)
}

/// Returns whether nothing refuses.
pub fn may_promote(verdicts: &[GateVerdict]) -> bool {
    verdicts.iter().all(|verdict| verdict.verdict != Verdict::Refuse)
}

/// A verdict before the operator's word.
struct Said {
    verdict: Verdict,
    why: String,
    hint: Option<String>,
}

impl Said {
    fn pass(why: impl Into<String>) -> Self {
        Self { verdict: Verdict::Pass, why: why.into(), hint: None }
    }

    fn warn(why: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warn, why: why.into(), hint: None }
    }

    fn refuse(why: impl Into<String>) -> Self {
        Self { verdict: Verdict::Refuse, why: why.into(), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The peers that belong to this cluster and answered, with whether they are primary.
fn servers<'a>(
    local: &'a LocalView,
    peers: &'a [PeerView],
) -> impl Iterator<Item = (&'a str, bool, PeerServer)> + 'a {
    let stranger =
        |server: &PeerServer| matches!((server.system_id, local.system_id), (Some(a), Some(b)) if a != b);
    peers.iter().filter_map(move |peer| {
        let (primary, server) = match &peer.answer {
            PeerAnswer::Primary(server) => (true, *server),
            PeerAnswer::Standby(server) => (false, *server),
            PeerAnswer::Down(_) | PeerAnswer::Silent(_) | PeerAnswer::Witness => return None,
        };
        (!stranger(&server)).then_some((peer.node.as_str(), primary, server))
    })
}

fn in_recovery(local: &LocalView) -> Said {
    if local.in_recovery {
        Said::pass("this server is a standby")
    } else {
        Said::refuse("this server is a primary already")
    }
}

fn system_id(local: &LocalView, peers: &[PeerView], policy: &Policy) -> Said {
    let Some(mine) = local.system_id else {
        return Said::refuse("this server's system identifier is unknown")
            .hint("may the role execute pg_control_system()?");
    };
    if let Some(expected) = policy.system_id.filter(|expected| *expected != mine) {
        return Said::refuse(format!(
            "this server's system identifier is {mine}, the cluster's is {expected}"
        ))
        .hint("does postgres.data_dir point at the right cluster?");
    }
    let other = peers.iter().find_map(|peer| match &peer.answer {
        PeerAnswer::Primary(server) | PeerAnswer::Standby(server) => {
            server.system_id.filter(|id| *id != mine).map(|id| (&peer.node, id))
        }
        _ => None,
    });
    match other {
        // The configuration has named this server's cluster: then the peer is the stranger.
        Some((node, id)) if policy.system_id.is_some() => {
            Said::warn(format!("node \"{node}\" holds another cluster, with system identifier {id}"))
        }
        Some((node, id)) => Said::refuse(format!(
            "this server's system identifier is {mine}, that of node \"{node}\" is {id}"
        ))
        .hint("is one of them the server of another cluster, or one made by initdb?"),
        None => Said::pass(format!("system identifier {mine}")),
    }
}

fn replay_not_paused(local: &LocalView) -> Said {
    if local.replay_paused {
        Said::refuse("somebody paused the replay").hint("SELECT pg_wal_replay_resume()")
    } else {
        Said::pass("the replay isn't paused")
    }
}

fn lag(local: &LocalView, policy: &Policy) -> Said {
    if policy.lossless {
        return Said::pass("the votes decide: nothing acknowledged is missing where they are enough");
    }
    // What isn't replayed isn't lost, but the promotion waits for it.
    let backlog = local.end.zip(local.replayed).map_or(0, |(end, replayed)| end.ahead_of(replayed));
    if let Some(most) = policy.max_lag.filter(|most| backlog > *most) {
        return Said::refuse(format!(
            "{backlog} bytes are received and not yet replayed, which the promotion would wait for; at most {most} \
             bytes are allowed"
        ))
        .hint("wait until they are replayed, or allow more with --max-lag");
    }
    let Some(known) = local.primary_known else {
        let why = "how far the primary had got is unknown";
        return match policy.max_lag {
            Some(_) if policy.availability == Availability::Hold || policy.strict => Said::refuse(why)
                .hint("the daemon remembers it: does it run here, and has this standby streamed since it was started?"),
            _ => Said::warn(why),
        };
    };
    let missing = local.missing().unwrap_or(u64::MAX);
    let why = bound(missing, known);
    match policy.max_lag {
        Some(most) if missing > most => Said::refuse(format!("{why}; at most {most} bytes are allowed"))
            .hint("can the rest be had from the old primary, or from another standby?"),
        _ if missing > 0 => Said::warn(why),
        _ => Said::pass(why),
    }
}

/// What may be lost, in words.
fn bound(missing: u64, known: LastKnown) -> String {
    let age = known.age.map_or_else(
        || "told at an unknown time".to_owned(),
        |age| format!("told {:.1} s ago", age.as_secs_f64()),
    );
    format!("{missing} bytes are missing up to the primary's last known position {}, {age}", known.end)
}

fn most_complete(local: &LocalView, peers: &[PeerView], policy: &Policy) -> Said {
    let mine = (local.term, local.end);
    // Positions of different terms don't compare: the newer term decides first, in its own gate.
    let ahead = servers(local, peers)
        .filter(|(_, primary, server)| !primary && server.term == local.term && server.end > mine.1)
        .max_by_key(|(_, _, server)| server.end);
    match ahead {
        Some((node, _, server)) => {
            let more = server.end.unwrap_or_default().ahead_of(mine.1.unwrap_or_default());
            let why = format!("standby \"{node}\" holds {more} bytes more of the log");
            if policy.votes {
                return Said::pass(format!("{why}: they are fetched first"));
            }
            if policy.availability == Availability::Prefer {
                return Said::warn(format!("{why}: they are lost here"));
            }
            Said::refuse(why)
                .hint(format!("promote \"{node}\" instead, or let this server stream from it first"))
        }
        None => Said::pass("no standby that answers holds more of the log"),
    }
}

fn peer_primary(local: &LocalView, peers: &[PeerView]) -> Said {
    let mut old = None;
    for (node, _, server) in servers(local, peers).filter(|(_, primary, _)| *primary) {
        // Without terms on both sides, the one that runs is right.
        match (server.term, local.term) {
            (theirs, Some(mine)) if theirs.is_some_and(|theirs| theirs < mine) => {
                old = Some((node, theirs, mine));
            }
            _ => {
                let term = server.term.map_or_else(String::new, |term| format!(" in term {term}"));
                return Said::refuse(format!("node \"{node}\" is alive as a primary{term}")).hint(format!(
                    "do its adverts reach this node? tcpdump -ni any ip proto 112; to move the service on purpose: \
                     pgbaton vrrp resign (on \"{node}\")"
                ));
            }
        }
    }
    match old {
        Some((node, theirs, mine)) => Said::warn(format!(
            "node \"{node}\" still runs as primary of the older term {}; this server's data is of term {mine}",
            theirs.unwrap_or_default()
        ))
        .hint(format!("pgbaton pg fence (on \"{node}\")")),
        None => Said::pass("no peer that answers runs as primary"),
    }
}

fn newer_epoch(local: &LocalView, peers: &[PeerView], policy: &Policy) -> Said {
    let mut fetched = None;
    for (node, primary, server) in servers(local, peers) {
        // The votes judge who has the newest data; a candidate that only lacks the end of the log fetches it (rule 5).
        if policy.votes && !primary && server.term > local.term && server.timeline >= local.timeline {
            fetched = Some(node);
            continue;
        }
        if server.term > local.term {
            return Said::refuse(format!(
                "the data of node \"{node}\" is of term {}, this server's of {}",
                server.term.unwrap_or_default(),
                local.term.map_or_else(|| "none".to_owned(), |term| format!("term {term}"))
            ))
            .hint(format!("promote \"{node}\" instead; then, here: pgbaton pg rebuild-standby"));
        }
        if server.term == local.term && server.timeline > local.timeline {
            return Said::refuse(format!(
                "node \"{node}\" is on timeline {}, this server on {}",
                server.timeline.unwrap_or(Timeline::FIRST),
                local.timeline.map_or_else(|| "an unknown one".to_owned(), |timeline| timeline.to_string())
            ))
            .hint("was another server promoted without pgbaton?");
        }
    }
    match fetched {
        Some(node) => {
            Said::pass(format!("standby \"{node}\" has the row of a newer term: it is fetched first"))
        }
        None => Said::pass("no peer that answers has seen a newer term or timeline"),
    }
}

fn vip_free(evidence: &Evidence) -> Said {
    match evidence.vip {
        VipProbe::Free => Said::pass("nothing answers for the virtual IP"),
        VipProbe::Here => Said::pass("the virtual IP is on this machine"),
        VipProbe::NotAsked => Said::pass("no virtual IP was asked for"),
        VipProbe::CantAsk => Said::warn("whether anybody answers for the virtual IP can't be asked")
            .hint("it takes the capability CAP_NET_RAW: run this as root"),
        VipProbe::AnsweredBy(mac) => Said::refuse(format!("{mac} answers for the virtual IP"))
            .hint("is the old primary's machine alive? its lease ends by itself when its daemon is dead"),
    }
}

fn proof_of_death(local: &LocalView, peers: &[PeerView], policy: &Policy, evidence: &Evidence) -> Said {
    if policy.votes {
        return Said::pass(
            "the votes decide: without those who give them the old primary can't acknowledge anything, or not for long",
        );
    }
    if evidence.detached_by_majority {
        return Said::pass("a majority has detached from the old primary: it can't acknowledge anything");
    }
    let mut proven = Vec::new();
    let mut unproven = Vec::new();
    for peer in peers {
        let why = match &peer.answer {
            PeerAnswer::Primary(_) | PeerAnswer::Standby(_) | PeerAnswer::Witness => continue,
            PeerAnswer::Down(why) | PeerAnswer::Silent(why) => why,
        };
        match evidence.proofs.iter().find(|(node, _)| *node == peer.node) {
            Some((node, proof)) => proven.push(format!("node \"{node}\" {}", proof.describe())),
            None => unproven.push(format!("node \"{}\": {why}", peer.node)),
        }
    }
    if unproven.is_empty() {
        let why = if proven.is_empty() { "every peer has answered".to_owned() } else { proven.join("; ") };
        return Said::pass(why);
    }
    let unproven = unproven.join("; ");
    // A machine that says that nothing listens isn't cut off: then the gateway tells nothing.
    let silent = |peer: &PeerView| !matches!(peer.answer, PeerAnswer::Down(_));
    if peers.iter().all(silent)
        && let Some(said) = standing::cut_off(policy, evidence.gateway, &unproven)
    {
        return said;
    }
    match policy.availability {
        Availability::Hold => Said::refuse(format!("nothing proves that the old primary is dead ({unproven})"))
            .hint(
                "if you know that it is dead (powered off, unplugged): pgbaton pg promote --force proof-of-death; to \
                 take silence for death every time: guard.availability = \"prefer\"",
            ),
        Availability::Prefer => {
            let loss = match (local.primary_known, local.missing()) {
                (Some(known), Some(missing)) => bound(missing, known),
                _ => "how much may be lost is unknown".to_owned(),
            };
            Said::warn(format!(
                "nothing proves that the old primary is dead ({unproven}): there may be two primaries, and what only \
                 the old one holds is lost; {loss}"
            ))
        }
    }
}

fn timeline_unique(peers: &[PeerView], evidence: &Evidence) -> Said {
    match &evidence.histories {
        Histories::Collected => Said::pass("the peers' history files are here"),
        Histories::Missing(_) if peers.is_empty() => Said::pass("there is no peer"),
        Histories::Missing(nodes) => {
            let whose = if nodes.is_empty() { "the peers'".to_owned() } else { nodes.join(", ") };
            // No refusal: a dead peer's can't be had, and the epoch's random id tells twins apart afterwards.
            Said::pass(format!(
                "{whose} history files weren't compared; the epoch's random id tells twins apart"
            ))
        }
    }
}

fn restore_command(local: &LocalView) -> Said {
    match local.restore_command {
        Some(false) => Said::pass("restore_command isn't set"),
        Some(true) => Said::warn(
            "restore_command is set: a promotion waits for it up to three times, unless it is suspended",
        )
        .hint("does the command end in time when the archive is gone?"),
        None => Said::pass("restore_command is hidden from this role"),
    }
}

#[cfg(test)]
#[path = "gates_tests.rs"]
mod tests;
