//! The steps of a rebuild, as data, and the plan that a verdict calls for. Pure.

use super::decision::{Decision, Fork, State, Verdict};
use crate::plan::{Plan, Step};
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;

/// One step. Doing it when it is already done changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum RebuildStep {
    /// Stops the standby that runs but doesn't follow.
    StopStandby {
        /// How.
        how: String,
    },
    /// Marks the node unfit to vote, before the first byte of its data goes.
    MarkUnfit,
    /// Lists the transactions that will be lost, copies their WAL and the node's own configuration.
    SaveLosses {
        /// Where to.
        kept: PathBuf,
        /// Where the logs part; `None` when nobody knows.
        fork: Option<Fork>,
    },
    /// Brings the primary's history files, so that a server whose log went elsewhere refuses to start.
    FetchHistory {
        /// The primary.
        source: String,
    },
    /// Makes the replication slot on the primary, which keeps WAL from then on.
    EnsureSlot {
        /// The slot.
        slot: String,
        /// The primary.
        source: String,
    },
    /// Makes the primary write its new timeline into its control file, where `pg_rewind` reads it.
    SourceCheckpoint {
        /// The primary.
        source: String,
    },
    /// Replays the log of a primary that wasn't stopped in order.
    Recover,
    /// Looks for the last common checkpoint, and asks the primary whether it has the WAL from there on.
    CheckRewind {
        /// Where the logs part.
        fork: Option<Fork>,
    },
    /// Takes back what the primary doesn't have.
    Rewind {
        /// The primary.
        source: String,
    },
    /// Copies the primary into a folder beside the data directory.
    Copy {
        /// The primary.
        source: String,
        /// How much, about.
        bytes: u64,
        /// Where to.
        to: PathBuf,
    },
    /// Puts the copy in the place of the data directory, which is kept.
    Exchange {
        /// The data directory.
        data: PathBuf,
        /// Where the old one goes; `None` when there is none.
        kept: Option<PathBuf>,
    },
    /// Gives the node its own configuration back and makes it a standby of the primary.
    Configure {
        /// The primary.
        source: String,
        /// The slot.
        slot: String,
    },
    /// Starts the server.
    Start {
        /// How.
        how: String,
    },
    /// Waits until it streams, on the primary's timeline, and isn't ahead of it.
    AwaitStreaming {
        /// The primary.
        source: String,
    },
    /// Waits until it has all that the primary had when it attached, and lets it vote again.
    BecomeFit {
        /// The primary.
        source: String,
    },
    /// Takes the journal away, and the old data if that was asked for.
    Finish {
        /// Whether the old data is removed.
        drop_old: bool,
    },
}

impl RebuildStep {
    /// Returns the stable name of this kind of step.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::StopStandby { .. } => "stop-standby",
            Self::MarkUnfit => "mark-unfit",
            Self::SaveLosses { .. } => "save-losses",
            Self::FetchHistory { .. } => "fetch-history",
            Self::EnsureSlot { .. } => "ensure-slot",
            Self::SourceCheckpoint { .. } => "source-checkpoint",
            Self::Recover => "recover",
            Self::CheckRewind { .. } => "check-rewind",
            Self::Rewind { .. } => "rewind",
            Self::Copy { .. } => "copy",
            Self::Exchange { .. } => "exchange",
            Self::Configure { .. } => "configure",
            Self::Start { .. } => "start",
            Self::AwaitStreaming { .. } => "await-streaming",
            Self::BecomeFit { .. } => "become-fit",
            Self::Finish { .. } => "finish",
        }
    }
}

impl fmt::Display for RebuildStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StopStandby { how } => write!(f, "stop the standby: {how}"),
            Self::MarkUnfit => f.write_str("mark it unfit to vote: what it holds is about to go"),
            Self::SaveLosses { kept, .. } => {
                write!(f, "save what will be lost, and the configuration, to {}", kept.display())
            }
            Self::FetchHistory { source } => write!(f, "fetch the timeline history of {source}"),
            Self::EnsureSlot { slot, source } => write!(f, "make the replication slot {slot} on {source}"),
            Self::SourceCheckpoint { source } => write!(f, "write a checkpoint on {source}"),
            Self::Recover => f.write_str("replay the log of the server that wasn't stopped in order"),
            Self::CheckRewind { .. } => {
                f.write_str("look whether the primary has the log from the last common checkpoint on")
            }
            Self::Rewind { source } => write!(f, "rewind to where {source} went its own way"),
            Self::Copy { source, bytes, to } => {
                write!(f, "copy {source} (about {} MB) to {}", bytes >> 20, to.display())
            }
            Self::Exchange { data, kept: Some(kept) } => {
                write!(f, "keep the old data in {}, put the copy at {}", kept.display(), data.display())
            }
            Self::Exchange { data, kept: None } => write!(f, "put the copy at {}", data.display()),
            Self::Configure { source, slot } => {
                write!(f, "configure it as a standby of {source} with slot {slot}")
            }
            Self::Start { how } => write!(f, "start it: {how}"),
            Self::AwaitStreaming { source } => write!(f, "wait until it streams from {source}"),
            Self::BecomeFit { source } => {
                write!(f, "wait until it has all that {source} had when it attached; it may vote again then")
            }
            Self::Finish { drop_old: true } => f.write_str("finish, and remove the old data"),
            Self::Finish { drop_old: false } => f.write_str("finish"),
        }
    }
}

/// What a plan is built from besides the verdict.
#[derive(Debug, Clone)]
pub struct Outline {
    /// The node that is rebuilt.
    pub node: String,
    /// The primary.
    pub source: String,
    /// The slot.
    pub slot: String,
    /// The data directory.
    pub data: PathBuf,
    /// Where the copy is made.
    pub copy_to: PathBuf,
    /// Where things are kept.
    pub kept: PathBuf,
    /// How the old data's server is; `None` when there is no data.
    pub state: Option<State>,
    /// Whether its log has to be replayed before a rewind.
    pub recover: bool,
    /// How much is to be copied.
    pub bytes: u64,
    /// How the server is started.
    pub start: String,
    /// How the server is stopped.
    pub stop: String,
    /// Whether the old data is removed at the end.
    pub drop_old: bool,
    /// What an earlier run that was cut short has done already.
    pub done: Done,
    /// Whether the node is unfit to vote already.
    pub unfit: bool,
}

/// How far an earlier run has got with the data itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// The data is as it was.
    Nothing,
    /// It is rewound.
    Rewound,
    /// The copy is complete beside it.
    Copied,
}

/// Returns the plan that a verdict calls for.
pub fn plan(verdict: &Verdict, outline: &Outline) -> Plan {
    let Outline { source, slot, .. } = outline;
    let mut plan =
        Plan::new("pg rebuild-standby", format!("{} is a streaming standby of {source}", outline.node));
    if verdict.decision == Decision::Nothing {
        plan.unchanged(
            Step::Rebuild(RebuildStep::AwaitStreaming { source: source.clone() }),
            verdict.why.clone(),
        );
        if outline.unfit {
            plan.needed(Step::Rebuild(RebuildStep::BecomeFit { source: source.clone() }));
        }
        return plan;
    }
    let mut steps = Vec::new();
    if matches!(outline.state, Some(State::Running | State::Streaming)) {
        steps.push(RebuildStep::StopStandby { how: outline.stop.clone() });
    }
    let save = RebuildStep::SaveLosses { kept: outline.kept.clone(), fork: verdict.fork };
    let ensure = RebuildStep::EnsureSlot { slot: slot.clone(), source: source.clone() };
    let exchange = RebuildStep::Exchange {
        data: outline.data.clone(),
        kept: outline.state.map(|_| outline.kept.clone()),
    };
    match (outline.done, verdict.decision) {
        (Done::Rewound, _) => steps.push(ensure),
        (Done::Copied, _) => steps.extend([ensure, exchange]),
        (Done::Nothing, Decision::Rewind) => {
            steps.extend([
                RebuildStep::MarkUnfit,
                save,
                RebuildStep::FetchHistory { source: source.clone() },
                ensure,
                RebuildStep::SourceCheckpoint { source: source.clone() },
            ]);
            if outline.recover {
                steps.push(RebuildStep::Recover);
            }
            let fork = verdict.fork;
            steps.extend([RebuildStep::CheckRewind { fork }, RebuildStep::Rewind { source: source.clone() }]);
        }
        (Done::Nothing, Decision::BaseBackup) => {
            if outline.state.is_some() {
                steps.extend([RebuildStep::MarkUnfit, save]);
            }
            let (to, bytes) = (outline.copy_to.clone(), outline.bytes);
            steps.extend([ensure, RebuildStep::Copy { source: source.clone(), bytes, to }, exchange]);
        }
        (Done::Nothing, Decision::StartAsIs | Decision::Nothing) => {
            steps.extend([RebuildStep::FetchHistory { source: source.clone() }, ensure]);
        }
    }
    steps.extend([
        RebuildStep::Configure { source: source.clone(), slot: slot.clone() },
        RebuildStep::Start { how: outline.start.clone() },
        RebuildStep::AwaitStreaming { source: source.clone() },
    ]);
    let replaced =
        outline.done != Done::Nothing || matches!(verdict.decision, Decision::Rewind | Decision::BaseBackup);
    if replaced || outline.unfit {
        steps.push(RebuildStep::BecomeFit { source: source.clone() });
    }
    steps.push(RebuildStep::Finish { drop_old: outline.drop_old });
    for step in steps {
        plan.needed(Step::Rebuild(step));
    }
    plan
}
