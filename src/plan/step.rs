//! The steps a plan is made of, as data: each can be shown, serialised, done twice without harm.

use crate::pg::epoch::{PromotionId, Term};
use crate::pg::lsn::Timeline;
use crate::promotion::rules::Ask;
use crate::rebuild::step::RebuildStep;
use crate::units::InterfaceAddress;
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// One step. Doing it when it is already done changes nothing.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// Asks the link whether anyone answers for the address (RFC 5227) and refuses if so.
    ProbeAddress {
        /// The address that must be free.
        vip: InterfaceAddress,
        /// The interface to ask on.
        interface: String,
        /// How long an answer is waited for.
        #[serde(serialize_with = "as_millis")]
        wait: Duration,
    },
    /// Adds the address to the interface, as a lease when one is given.
    AddAddress {
        /// The address.
        vip: InterfaceAddress,
        /// The interface.
        interface: String,
        /// The label that old tools show (`eth0:vip`), IPv4 only.
        label: Option<String>,
        /// The valid lifetime after which the kernel removes the address by itself.
        #[serde(serialize_with = "as_optional_millis")]
        lease: Option<Duration>,
    },
    /// Tells the link where the address is now: gratuitous ARP or unsolicited neighbour advertisements.
    Announce {
        /// The address.
        vip: InterfaceAddress,
        /// The interface.
        interface: String,
    },
    /// Removes the address from the interface.
    RemoveAddress {
        /// The address.
        vip: InterfaceAddress,
        /// The interface.
        interface: String,
    },
    /// Says that this standby is about to be promoted, and makes sure that none of these is: nobody votes.
    Stand {
        /// The other standbys.
        rivals: Vec<String>,
    },
    /// Promises the term here and stops receiving: the candidate freezes itself before it asks anyone.
    Freeze(Ask),
    /// Asks the other voters to promise the term and to detach from the old primary, until that is enough.
    CollectVotes {
        /// The voters that are asked.
        voters: Vec<String>,
        /// How long their answers are waited for.
        #[serde(serialize_with = "as_millis")]
        within: Duration,
    },
    /// Waits until the old primary's lease has run out, unless it is known to have stopped.
    OutlastLease {
        /// How long the lease is; it counts from the last promise.
        #[serde(serialize_with = "as_millis")]
        lease: Duration,
        /// Who is known to have stopped.
        gone: Vec<String>,
    },
    /// Asks the other voters for the term, and goes on whatever they answer: an operator has said so.
    OverrideVotes {
        /// The voters that are asked.
        voters: Vec<String>,
        /// How long their answers are waited for.
        #[serde(serialize_with = "as_millis")]
        within: Duration,
    },
    /// Fetches what another frozen node has more of the log.
    CatchUp {
        /// How long that may take.
        #[serde(serialize_with = "as_millis")]
        within: Duration,
    },
    /// Puts the synchronous names of the new term in force, before the server is writable.
    SetNames {
        /// The first term of a database that had none: there are no votes to go by.
        first: Option<Term>,
    },
    /// Has the standbys that voted stream from this node.
    Repoint {
        /// The address they reach this node's server at.
        host: String,
        /// Its port.
        port: u16,
    },
    /// Tells the voters that the term is confirmed.
    ConfirmTerm {
        /// The term.
        term: Term,
    },
    /// Brings the synchronous names and their record in line with the standbys that there are.
    Reconfigure {
        /// The term of the primary.
        term: Term,
        /// Whether an acknowledgement is waited for even when nothing changes.
        prove: bool,
    },
    /// Writes down, durably, that this promotion is under way, so that a killed run is finished by the next.
    RecordIntent(Intent),
    /// Promotes the standby and waits until it is writable on a new timeline.
    Promote {
        /// How long until the outcome is called unknown.
        #[serde(serialize_with = "as_millis")]
        within: Duration,
    },
    /// Commits the epoch row: the first commit of the new primary.
    RecordEpoch(Intent),
    /// Puts `standby.signal` beside the running primary, so that no start makes it writable by itself.
    ProtectStart,
    /// Creates the physical replication slots of the other nodes.
    EnsureSlots {
        /// The slots' names.
        names: Vec<String>,
    },
    /// Takes the intent away: the promotion is complete.
    ClearIntent,
    /// Writes a checkpoint, so that the control file shows the new timeline (`pg_rewind` reads it there).
    Checkpoint,
    /// Stops the server for sure: fast, then immediate, then SIGKILL; ends when no process of it is left.
    StopServer {
        /// How long a fast stop may take.
        #[serde(serialize_with = "as_millis")]
        fast: Duration,
        /// How long an immediate stop may take after that.
        #[serde(serialize_with = "as_millis")]
        immediate: Duration,
    },
    /// Marks the data as "needs check": somebody has to look before it may be a primary again.
    MarkNeedsCheck(NeedsCheck),
    /// Writes one timeline history file into a folder, whole or not at all.
    WriteHistory {
        /// The timeline; the file's name follows from it.
        timeline: Timeline,
        /// The folder: `pg_wal` or an archive.
        folder: PathBuf,
        /// The content, octet by octet as the other server has it.
        #[serde(skip)]
        content: Vec<u8>,
    },
    /// Takes `restore_command` away for the time of the promotion, which would wait for it three times.
    SuspendRestore,
    /// Puts `restore_command` back as it was.
    ResumeRestore,
    /// One of the steps of a rebuild.
    #[serde(untagged)]
    Rebuild(RebuildStep),
}

/// Why the data of a fenced server must be looked at before it may be a primary again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct NeedsCheck {
    /// The version of this document's form.
    pub schema: u32,
    /// The node that was fenced; another node's mark (copied with its data folder) is not ours.
    pub node: String,
    /// When: seconds since 1970 by that node's wall clock.
    pub at: u64,
    /// Why, in words.
    pub reason: String,
}

/// What is written down before a promotion and becomes the epoch row after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Intent {
    /// The node that is promoted; another node's intent (copied with its data folder) is not ours.
    pub node: String,
    /// The term of the promotion: higher than any this node knows of.
    pub term: Term,
    /// The random id that tells this promotion from any other at the same place.
    pub promotion_id: PromotionId,
}

impl Intent {
    /// Returns what the voters are asked for.
    pub fn ask(&self) -> Ask {
        Ask { term: self.term, holder: self.node.clone(), id: self.promotion_id }
    }
}

impl Step {
    /// Returns the stable name of this kind of step, as in events and JSON documents.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ProbeAddress { .. } => "probe-address",
            Self::AddAddress { .. } => "add-address",
            Self::Announce { .. } => "announce",
            Self::RemoveAddress { .. } => "remove-address",
            Self::Stand { .. } => "stand",
            Self::Freeze(_) => "freeze",
            Self::CollectVotes { .. } => "collect-votes",
            Self::OutlastLease { .. } => "outlast-lease",
            Self::OverrideVotes { .. } => "override-votes",
            Self::CatchUp { .. } => "catch-up",
            Self::SetNames { .. } => "set-names",
            Self::Repoint { .. } => "repoint",
            Self::ConfirmTerm { .. } => "confirm-term",
            Self::Reconfigure { .. } => "reconfigure",
            Self::RecordIntent(_) => "record-intent",
            Self::Promote { .. } => "promote",
            Self::RecordEpoch(_) => "record-epoch",
            Self::ProtectStart => "protect-start",
            Self::EnsureSlots { .. } => "ensure-slots",
            Self::ClearIntent => "clear-intent",
            Self::Checkpoint => "checkpoint",
            Self::StopServer { .. } => "stop-server",
            Self::Rebuild(step) => step.name(),
            Self::MarkNeedsCheck(_) => "mark-needs-check",
            Self::WriteHistory { .. } => "write-history",
            Self::SuspendRestore => "suspend-restore",
            Self::ResumeRestore => "resume-restore",
        }
    }

    /// Returns whether the plan goes on when this step fails: the service works without it, with a warning.
    pub const fn optional(&self) -> bool {
        matches!(
            self,
            Self::Announce { .. }
                | Self::EnsureSlots { .. }
                | Self::Checkpoint
                | Self::ClearIntent
                | Self::SuspendRestore
                | Self::ResumeRestore
                | Self::Repoint { .. }
                | Self::ConfirmTerm { .. }
        )
    }
}

/// What the step does, in words, as `--dry-run` shows it.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProbeAddress { vip, interface, wait } => {
                write!(
                    f,
                    "ask the link on {interface} for {} ms whether anyone has {}",
                    wait.as_millis(),
                    vip.address()
                )
            }
            Self::AddAddress { vip, interface, lease, .. } => {
                write!(f, "add {vip} to {interface}")?;
                match lease {
                    Some(lease) => write!(f, ", as a lease of {} s", lease.as_secs()),
                    None => Ok(()),
                }
            }
            Self::Announce { vip, interface } => {
                let how = if vip.address().is_ipv4() { "gratuitous ARP" } else { "neighbour advertisements" };
                write!(f, "announce {} on {interface} by {how}", vip.address())
            }
            Self::RemoveAddress { vip, interface } => write!(f, "remove {vip} from {interface}"),
            Self::Stand { rivals } => {
                write!(f, "make sure that {} isn't being promoted at this moment", rivals.join(", "))
            }
            Self::Freeze(ask) => {
                write!(f, "promise term {} to {} here, and stop receiving", ask.term, ask.holder)
            }
            Self::CollectVotes { voters, within } => write!(
                f,
                "ask {} for the term and to detach from the old primary, within {} ms",
                voters.join(", "),
                within.as_millis()
            ),
            Self::OutlastLease { lease, .. } => {
                write!(f, "wait until the old primary's lease has run out: {} s at most", lease.as_secs_f32())
            }
            Self::OverrideVotes { voters, within } => write!(
                f,
                "override the votes: ask {} for the term within {} ms, and go on whatever they answer",
                voters.join(", "),
                within.as_millis()
            ),
            Self::CatchUp { within } => {
                write!(f, "fetch what a voter has more of the log, within {} s", within.as_secs_f32())
            }
            Self::SetNames { .. } => f.write_str("put the synchronous names of the new term in force"),
            Self::Repoint { host, port } => {
                write!(f, "have the standbys that voted stream from {host}:{port}")
            }
            Self::ConfirmTerm { term } => write!(f, "tell the voters that term {term} is confirmed"),
            Self::Reconfigure { term, .. } => {
                write!(
                    f,
                    "bring the synchronous names of term {term} in line with the standbys that there are"
                )
            }
            Self::RecordIntent(intent) => {
                write!(f, "write down the intent: term {} for {}", intent.term, intent.node)
            }
            Self::Promote { within } => {
                write!(
                    f,
                    "promote the standby and wait up to {:.0} s until it is writable",
                    within.as_secs_f64()
                )
            }
            Self::RecordEpoch(intent) => write!(f, "commit the epoch row of term {}", intent.term),
            Self::ProtectStart => {
                f.write_str("keep standby.signal in place, so that no start is writable by itself")
            }
            Self::EnsureSlots { names } => write!(f, "create the replication slots {}", names.join(", ")),
            Self::ClearIntent => f.write_str("take the intent away"),
            Self::Checkpoint => f.write_str("write a checkpoint"),
            Self::StopServer { fast, immediate } => write!(
                f,
                "stop PostgreSQL: fast within {} s, immediate within {} s, then SIGKILL",
                fast.as_secs_f32(),
                immediate.as_secs_f32()
            ),
            Self::Rebuild(step) => step.fmt(f),
            Self::MarkNeedsCheck(mark) => {
                write!(f, "mark the data directory as needing a check: {}", mark.reason)
            }
            Self::WriteHistory { timeline, folder, .. } => {
                write!(f, "write {} into {}", timeline.history_file_name(), folder.display())
            }
            Self::SuspendRestore => {
                f.write_str("suspend restore_command, which the promotion would wait for")
            }
            Self::ResumeRestore => f.write_str("put restore_command back"),
        }
    }
}

fn as_millis<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

#[expect(clippy::ref_option, reason = "serde calls it with a reference to the field")]
fn as_optional_millis<S: serde::Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => as_millis(duration, serializer),
        None => serializer.serialize_none(),
    }
}
