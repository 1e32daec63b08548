//! The control file of a stopped server, as `pg_controldata` prints it.
//!
//! The parser is pure; [`read`] runs the program, in the C locale, since its labels are translated. While a server
//! runs, ask the server instead: here "Minimum recovery ending location" may be far behind, and after a
//! promotion the timeline is the old one until the next checkpoint.

use super::lsn::{Lsn, SystemId, Timeline};
use crate::error::{Error, Result};
use crate::host::clock::Deadline;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::Command;

/// What the control file says, as far as a rebuild or a start needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlData {
    /// How the server was left.
    pub state: ClusterState,
    /// The cluster.
    pub system_id: SystemId,
    /// Where the last checkpoint's record begins.
    pub checkpoint: Lsn,
    /// Where the replay would begin after a crash.
    pub redo: Lsn,
    /// The timeline of the last checkpoint.
    pub timeline: Timeline,
    /// The timeline before it, when the checkpoint ended a recovery; else the same.
    pub previous_timeline: Option<Timeline>,
    /// How far a standby has to replay before its data is consistent; `None` when there is no such bound.
    pub min_recovery_end: Option<Lsn>,
    /// The timeline of that position.
    pub min_recovery_timeline: Option<Timeline>,
    /// Whether hint bits are logged, which `pg_rewind` needs when there are no checksums.
    pub wal_log_hints: bool,
    /// Whether pages have checksums.
    pub checksums: bool,
    /// Whether whole pages are logged, which `pg_rewind` needs too.
    pub full_page_writes: bool,
    /// The size of a WAL segment in bytes.
    pub wal_segment_size: u64,
    /// The format of the control file; 1300 for major 13 to 17.
    pub control_version: u32,
    /// The catalog version: two servers with different ones can't share data.
    pub catalog_version: u32,
}

impl ControlData {
    /// Returns whether `pg_rewind` may work on this data at all.
    pub const fn can_rewind(&self) -> bool {
        self.checksums || self.wal_log_hints
    }
}

/// How the server was left ("Database cluster state").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClusterState {
    /// Never run.
    StartingUp,
    /// A primary that was stopped in order; its last record is the shutdown checkpoint.
    ShutDown,
    /// A standby that was stopped in order.
    ShutDownInRecovery,
    /// In the middle of a stop, or died in it.
    ShuttingDown,
    /// Replaying after a crash, or died in it.
    InCrashRecovery,
    /// A running standby, or one that died.
    InArchiveRecovery,
    /// A running primary, or one that died.
    InProduction,
}

impl ClusterState {
    /// Returns whether the server was stopped in order, as a primary or as a standby.
    pub const fn is_clean(self) -> bool {
        matches!(self, Self::ShutDown | Self::ShutDownInRecovery)
    }

    /// Returns whether the data was last a standby's.
    pub const fn is_standby(self) -> bool {
        matches!(self, Self::ShutDownInRecovery | Self::InArchiveRecovery)
    }

    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "starting up" => Self::StartingUp,
            "shut down" => Self::ShutDown,
            "shut down in recovery" => Self::ShutDownInRecovery,
            "shutting down" => Self::ShuttingDown,
            "in crash recovery" => Self::InCrashRecovery,
            "in archive recovery" => Self::InArchiveRecovery,
            "in production" => Self::InProduction,
            _ => return None,
        })
    }
}

/// A line that is missing or that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pg_controldata: no usable line \"{0}\"")]
pub struct ControlError(&'static str);

/// Reads the output of `pg_controldata` in the C locale.
pub fn parse(text: &str) -> Result<ControlData, ControlError> {
    let find = |label: &'static str| {
        let mut values = text.lines().filter_map(|line| line.strip_prefix(label)?.strip_prefix(':'));
        values.next().map(str::trim).ok_or(ControlError(label))
    };
    macro_rules! get {
        ($label:literal) => {
            find($label).and_then(|value| value.parse().map_err(|_| ControlError($label)))
        };
    }
    let state = "Database cluster state";
    let min_recovery_end: Lsn = get!("Minimum recovery ending location")?;
    Ok(ControlData {
        state: find(state).and_then(|text| ClusterState::parse(text).ok_or(ControlError(state)))?,
        system_id: get!("Database system identifier")?,
        checkpoint: get!("Latest checkpoint location")?,
        redo: get!("Latest checkpoint's REDO location")?,
        timeline: get!("Latest checkpoint's TimeLineID")?,
        previous_timeline: get!("Latest checkpoint's PrevTimeLineID").ok(),
        min_recovery_end: (!min_recovery_end.is_zero()).then_some(min_recovery_end),
        // "0" when there is none.
        min_recovery_timeline: get!("Min recovery ending loc's timeline").ok(),
        wal_log_hints: find("wal_log_hints setting")? == "on",
        checksums: get!("Data page checksum version").map(|version: u32| version != 0)?,
        full_page_writes: find("Latest checkpoint's full_page_writes")? == "on",
        wal_segment_size: get!("Bytes per WAL segment")?,
        control_version: get!("pg_control version number")?,
        catalog_version: get!("Catalog version number")?,
    })
}

/// Runs `pg_controldata` of `bin_dir` on a data folder.
pub fn read(bin_dir: &Path, data_dir: &Path, deadline: Deadline) -> Result<ControlData> {
    let mut command = Command::new(bin_dir.join("pg_controldata"));
    command.env("LC_ALL", "C").arg("-D").arg(data_dir);
    let output = crate::host::process::run(command, deadline)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Error::failed(format!("can't read the control file of \"{}\"", data_dir.display()))
            .detail(said.trim()));
    }
    parse(&String::from_utf8_lossy(&output.stdout))
        .map_err(|error| Error::failed(error.to_string()).detail(data_dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STANDBY: &str = "\
pg_control version number:            1300
Catalog version number:               202209061
Database system identifier:           7523451234567890123
Database cluster state:               shut down in recovery
pg_control last modified:             Sun Nov 22 15:50:00 2026
Latest checkpoint location:           0/3000060
Latest checkpoint's REDO location:    0/3000028
Latest checkpoint's REDO WAL file:    000000010000000000000003
Latest checkpoint's TimeLineID:       1
Latest checkpoint's PrevTimeLineID:   1
Latest checkpoint's full_page_writes: on
Minimum recovery ending location:     0/4637AC0
Min recovery ending loc's timeline:   1
wal_level setting:                    replica
wal_log_hints setting:                on
Bytes per WAL segment:                16777216
Data page checksum version:           0
";

    #[test]
    fn a_stopped_standby_is_read() {
        let data = parse(STANDBY).unwrap();
        assert_eq!(data.state, ClusterState::ShutDownInRecovery);
        assert!(data.state.is_clean() && data.state.is_standby() && data.can_rewind() && !data.checksums);
        assert_eq!(data.checkpoint.to_string(), "0/3000060");
        assert_eq!(data.min_recovery_end.unwrap().to_string(), "0/4637AC0");
        assert_eq!(data.wal_segment_size, 16 << 20);
    }

    #[test]
    fn a_primary_has_no_minimum_recovery_end() {
        let text = STANDBY
            .replace("ending location:     0/4637AC0", "ending location:     0/0")
            .replace("loc's timeline:   1", "loc's timeline:   0");
        let data = parse(&text).unwrap();
        assert_eq!((data.min_recovery_end, data.min_recovery_timeline), (None, None));
    }

    #[test]
    fn a_missing_or_translated_line_is_named() {
        let text = STANDBY.replace("shut down in recovery", "heruntergefahren");
        assert_eq!(parse(&text), Err(ControlError("Database cluster state")));
        assert_eq!(parse(""), Err(ControlError("Minimum recovery ending location")));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(cut in 0usize..900, noise in "(?s).{0,20}") {
            let cut = cut.min(STANDBY.len());
            parse(&format!("{}{noise}{}", &STANDBY[..cut], &STANDBY[cut..])).ok();
        }
    }
}
