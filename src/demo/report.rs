//! What a demo has measured, as the one JSON document of `--json`.

use crate::demo::client::Verdict;
use crate::units::Moment;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The document's version; it grows when a field changes its meaning.
pub const SCHEMA: u32 = 1;

/// The measured failover. All times ending in `_ms` count from the fault unless they say otherwise.
#[derive(Debug, Clone, Serialize)]
pub struct DemoReport {
    /// [`SCHEMA`].
    pub schema: u32,
    /// `demo`.
    pub verb: &'static str,
    /// The fault by its name on the command line.
    pub fault: &'static str,
    /// How many nodes.
    pub nodes: usize,
    /// The advert interval.
    pub advert_ms: f64,
    /// `guard.availability`.
    pub availability: String,
    /// The servers' version.
    pub postgres_version: String,
    /// How long the lab took to build.
    pub built_ms: f64,
    /// The instant of the fault on `CLOCK_BOOTTIME`.
    pub fault_at_ns: Moment,
    /// Who was the primary.
    pub old_primary: String,
    /// Who took over.
    pub new_primary: String,
    /// The stages in the order in which they happened.
    pub stages: Vec<Stage>,
    /// The longest time between two acknowledgements that the client has seen.
    pub write_outage_ms: f64,
    /// The last acknowledgement before the outage.
    pub last_commit_ms: f64,
    /// The first acknowledgement by the new primary.
    pub first_commit_ms: f64,
    /// What became of the rows written through the virtual address.
    pub rows: Verdict,
    /// What the client has tried.
    pub client: ClientReport,
    /// What the old primary did when it was back; only for faults that it survives.
    pub returned: Option<Returned>,
    /// Everything that was recorded, of all nodes and the client, in the order of time.
    pub events: Vec<Happening>,
    /// The picture.
    pub svg: Option<PathBuf>,
    /// Whether the lab was left running.
    pub kept: bool,
}

/// One stage of the failover.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stage {
    /// The stage in kebab-case.
    pub stage: &'static str,
    /// The stage in words.
    pub label: &'static str,
    /// Whose stage it is.
    pub source: String,
    /// When it was reached.
    pub at_ms: f64,
    /// The time since the stage before.
    pub took_ms: f64,
}

/// What the client has tried.
#[derive(Debug, Clone, Serialize)]
pub struct ClientReport {
    /// Connections tried.
    pub attempts: u64,
    /// Rows sent.
    pub sent: u64,
    /// Acknowledged commits per second before the fault.
    pub commits_per_second: f64,
    /// How attempts ended otherwise.
    pub errors: BTreeMap<String, u64>,
}

/// The old primary after the fault was over (thaw, healed network).
#[derive(Debug, Clone, Serialize)]
pub struct Returned {
    /// When the fault ended.
    pub at_ms: f64,
    /// Rows that it acknowledged to any client after the new primary had been promoted.
    pub acknowledged_after_promotion: u64,
    /// For how long both acknowledged: from the promotion to its last acknowledgement.
    pub both_acknowledged_ms: f64,
    /// What became of the rows written on the old primary's own address: counted on the new primary.
    pub local_rows: Verdict,
    /// When it gave the virtual address up.
    pub vip_removed_ms: Option<f64>,
    /// When its server was stopped for certain.
    pub fenced_ms: Option<f64>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Happening {
    /// When.
    pub at_ms: f64,
    /// A node's name, `client` or `lab`.
    pub source: String,
    /// The kind in kebab-case.
    pub event: String,
    /// One sentence.
    pub text: String,
}

/// Returns milliseconds from the fault, to the microsecond; negative before it.
pub fn since_fault(moment: Moment, fault: Moment) -> f64 {
    if moment >= fault { millis(moment.since(fault)) } else { -millis(fault.since(moment)) }
}

/// Returns milliseconds to the microsecond.
pub fn millis(duration: std::time::Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_the_fault_are_negative() {
        let (early, late) = (Moment::from_nanos(1_000_000), Moment::from_nanos(3_500_400));
        assert!((since_fault(late, early) - 2.5).abs() < 1e-9);
        assert!((since_fault(early, late) + 2.5).abs() < 1e-9);
    }
}
