//! `--start-only`: the server starts as a standby with its data as it is, where no primary is there to compare it with.
//!
//! `standby.signal` goes first, so that nothing becomes writable: whether this node may lead is asked afterwards.

use super::target::Target;
use crate::error::{Error, Kind, Result};
use crate::host::clock::Deadline;
use crate::output::Out;
use crate::output::report::{Report, StepReport, StepStatus};
use crate::pg::server::DataDirectory;
use crate::rebuild::journal::{self, Phase};
use crate::rebuild::place::Place;
use crate::rebuild::service::Start;
use crate::rebuild::tools::Tools;
use std::time::Duration;

/// How long the processes of a server that died may take to end by themselves.
const LEFTOVERS: Duration = Duration::from_millis(200);
/// How often a start is tried that meets what a killed run has just started.
const TRIES: u32 = 3;

/// Starts the server of a data directory that no rebuild is in the middle of.
pub(super) fn only(
    target: &Target,
    place: &Place,
    deadline: Deadline,
    dry_run: bool,
    out: &Out,
) -> Result<()> {
    let half_done = journal::read(place)?.is_some_and(|journal| journal.phase != Phase::Begun);
    if half_done || place.is_empty()? || place.is_barred() {
        return Err(Error::refused("an earlier rebuild of this data isn't finished")
            .hint("pgbaton pg rebuild-standby"));
    }
    let data = DataDirectory::open(place.data())?;
    let major = data.version();
    let start = Start::detect(target.start_command.as_deref(), place.data(), major, None);
    let bin_dir = Tools::find_bin_dir(major, target.postgres.bin_directory.as_deref())?;
    let running = data.postmaster()?.is_some_and(|postmaster| postmaster.is_open());
    let mut report = Report::new(super::VERB);
    report.dry_run = dry_run;
    let planned = if running { StepStatus::Unchanged } else { StepStatus::Planned };
    let mut protect = StepReport::new(
        "protect-start",
        "put standby.signal in place, so that it starts as a standby".to_owned(),
        planned,
    );
    let mut begin = StepReport::new("start-server", format!("start the server: {start}"), planned);
    report.changed = !running;
    if running {
        "unchanged: the server runs".clone_into(&mut report.msg);
    } else if dry_run {
        "would start the server as a standby, its data as it is".clone_into(&mut report.msg);
    } else {
        let done = |changed| if changed { StepStatus::Done } else { StepStatus::Unchanged };
        protect.status = done(data.write_standby_signal()?);
        let mut tries = TRIES;
        report.changed = loop {
            if data.postmaster()?.is_none() {
                // What a killed postmaster leaves behind goes by itself, but not at once.
                data.stop_for_sure(LEFTOVERS, LEFTOVERS)?;
            }
            tries -= 1;
            match start.start(&data, &bin_dir, deadline) {
                // What a killed run has started came up between the look and the start.
                Err(error) if error.kind() == Kind::Refused && tries > 0 => {}
                result => break result?,
            }
        };
        begin.status = done(report.changed);
        "the server runs as a standby, its data as it is".clone_into(&mut report.msg);
    }
    report.steps = vec![protect, begin];
    out.report(&report)
}
