//! The steps a plan is made of, as data: each can be shown, serialised, done twice without harm.

use crate::pg::epoch::{PromotionId, Term};
use crate::pg::lsn::Timeline;
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

impl Step {
    /// Returns the stable name of this kind of step, as in events and JSON documents.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ProbeAddress { .. } => "probe-address",
            Self::AddAddress { .. } => "add-address",
            Self::Announce { .. } => "announce",
            Self::RemoveAddress { .. } => "remove-address",
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
            Self::RecordIntent(intent) => {
                write!(f, "write down the intent: term {} for {}", intent.term, intent.node)
            }
            Self::Promote { within } => {
                write!(f, "promote the standby and wait up to {} s until it is writable", within.as_secs())
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
