//! The rewind itself: what has to be true before, `pg_rewind`, and what its failure means.
//!
//! There is no rehearsal by `--dry-run`: it reads the same log and lists the same files as the rewind does, so that a
//! large server would pay twice. What the rehearsal would tell is looked up where it is cheap (where the last common
//! checkpoint is, and whether the primary still has the log from there on), and `pg_rewind` says itself when its looking
//! ends and its writing begins.

use super::decision::{Fork, segment};
use super::journal::Phase;
use super::tools::Ended;
use super::work::{Done, Tick, Work, last_line};
use super::{observe, place, wal};
use crate::error::{Error, Result};
use crate::host::clock::Deadline;
use crate::host::files;
use crate::pg::history::History;
use crate::pg::lsn::{Lsn, Timeline};
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

/// Beside the data directory while a single-user server runs, which can't work with it.
const SIGNAL_ASIDE: &str = "standby.signal.pgbaton";

impl Work {
    /// Lets a single-user server replay the log, as `pg_rewind` would, but with the archive left alone.
    pub(super) fn recover(&mut self, deadline: Deadline) -> Done {
        self.directory()?.clear_zombie_s_locks(deadline)?;
        let data = self.place.data().to_owned();
        let (signal, aside) = (data.join("standby.signal"), data.join(SIGNAL_ASIDE));
        let moved = |from: &Path, to: &Path| match fs::rename(from, to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(files::os_error(&error, format!("can't move {}", from.display())))
            }
            _ => Ok(()),
        };
        moved(&signal, &aside)?;
        let mut command = self.tools.command("postgres");
        command.arg("--single").arg("-D").arg(&data).args(["-c", "archive_command=false"]);
        // Its last checkpoint must not take the log away that the rewind reads.
        let keep = if self.major >= 13 { "wal_keep_size=1000TB" } else { "wal_keep_segments=100000000" };
        command.args(["-c", keep]);
        if let Some(file) = self.start.config_file() {
            command.arg("-c").arg(format!("config_file={}", file.display()));
        }
        command.arg("template1");
        let ended = self.tools.run(command, deadline, &mut |_, _| {});
        // Whatever came of it: from here on no start may be a primary's.
        moved(&aside, &signal)?;
        self.directory()?.write_standby_signal()?;
        let ended = ended?;
        if !ended.success {
            let why = format!("the log can't be replayed here ({})", last_line(&ended.said));
            return Err(self.impossible(why, Some(&ended)));
        }
        Ok((true, None))
    }

    fn rewind_command(&self) -> Command {
        let mut info = self.source.conninfo(self.major);
        info.set("dbname", &self.source.conn.dbname);
        info.set("application_name", "pgbaton/rewind");
        info.set("options", "-c statement_timeout=0 -c lock_timeout=0 -c idle_session_timeout=0");
        if self.data.as_ref().is_some_and(|data| data.major < 14) {
            info.set("options", "-c statement_timeout=0 -c lock_timeout=0");
        }
        let mut command = self.tools.command("pg_rewind");
        command.arg("--target-pgdata").arg(self.place.data());
        command.arg("--source-server").arg(info.to_string()).args(["--progress", "--no-ensure-shutdown"]);
        if let Some(file) = self.start.config_file()
            && self.data.as_ref().is_some_and(|data| data.major >= 15)
        {
            command.arg("--config-file").arg(file);
        }
        // Makes it a standby before it ends, so that no moment is left in which it isn't one.
        command.arg("--write-recovery-conf");
        command
    }

    /// Makes sure that the primary still has what the standby will replay first: `pg_rewind` doesn't ask.
    pub(super) fn check_rewind(&mut self, fork: Option<Fork>, deadline: Deadline) -> Done {
        let Some(fork) = fork else { return Ok((false, None)) };
        let Some((checkpoint, timeline)) = self.common_checkpoint(fork, deadline)? else {
            let why = format!("there is no checkpoint before {} in the log that is still here", fork.at);
            return Err(self.impossible(why, None));
        };
        let (_, source) = self.source.observe(deadline)?;
        let redo = checkpoint.redo;
        if source.oldest_segment.is_some_and(|oldest| oldest > segment(redo, source.segment_size)) {
            let why = format!("{} no longer has the WAL from {redo} on", source.name);
            return Err(self.impossible(why, None));
        }
        Ok((false, Some(format!("last common checkpoint {} on timeline {timeline}", checkpoint.at))))
    }

    /// Returns the last checkpoint before the fork, and the timeline that it was written on; `None` when the log that
    /// is here doesn't reach back to one.
    fn common_checkpoint(
        &self,
        fork: Fork,
        deadline: Deadline,
    ) -> Result<Option<(wal::Checkpoint, Timeline)>> {
        let pg_wal = self.place.data().join("pg_wal");
        let size = self.segment_size;
        let here: Vec<(Timeline, u64)> = observe::segments(&pg_wal, size).collect();
        let history = self.data.as_ref().and_then(|data| data.history.clone());
        let forks = history.as_ref().map(History::forks).unwrap_or_default();
        let (mut timeline, mut until) = (fork.timeline, fork.at);
        // A timeline that begins in the segment of the fork has the beginning of that segment too.
        let number = segment(fork.at, size);
        let own = self.data.as_ref().map(|data| data.timeline);
        let later = forks.iter().map(|fork| fork.parent).chain(own);
        for later in later.filter(|later| *later > timeline && here.contains(&(*later, number))) {
            if let Some(found) = self.last_checkpoint(later, number, until, deadline)? {
                return Ok(Some((found, timeline)));
            }
        }
        loop {
            for first in wal::windows(&here, timeline, until, size) {
                if let Some(found) = self.last_checkpoint(timeline, first, until, deadline)? {
                    return Ok(Some((found, timeline)));
                }
            }
            let Some(parent) = forks.iter().rev().find(|parent| parent.parent < timeline) else {
                return Ok(None);
            };
            (timeline, until) = (parent.parent, until.min(parent.at));
        }
    }

    /// Reads from the beginning of a segment; returns the last checkpoint before `until`.
    fn last_checkpoint(
        &self,
        timeline: Timeline,
        first: u64,
        until: Lsn,
        deadline: Deadline,
    ) -> Result<Option<wal::Checkpoint>> {
        let mut last = None;
        let mut command = self.tools.command("pg_waldump");
        let from = Lsn(first.saturating_mul(self.segment_size));
        command.arg("-p").arg(self.place.data().join("pg_wal"));
        command.args(["-r", "XLOG", "-t", &timeline.to_string()]);
        command.args(["-s", &from.to_string(), "-e", &until.to_string()]);
        // Its own verdict doesn't matter: the log may end before that, or go on under another name.
        self.tools.run(command, deadline, &mut |line, _| {
            last = wal::checkpoint(line).filter(|found| found.at < until).or(last);
        })?;
        Ok(last)
    }

    /// Runs `pg_rewind`.
    pub(super) fn rewind(&mut self, deadline: Deadline) -> Done {
        self.nobody_home()?;
        self.phase(Phase::Rewinding)?;
        self.bar()?;
        let (command, ticks) = (self.rewind_command(), self.ticks.clone());
        let mut wrote = false;
        let ended = self.tools.run(command, deadline, &mut |line, _| {
            wrote |= wal::rewind_writes(line);
            if let (Some((done, total)), Some(ticks)) = (wal::progress(line), &ticks) {
                // Nobody has to watch.
                ticks.send(Tick { done, total }).unwrap_or_default();
            }
        })?;
        if !ended.success && !wrote {
            // It had only looked: the data is as it was.
            let data = self.place.data().to_owned();
            self.unbar(&data)?;
            self.phase(Phase::Begun)?;
            let why = format!("pg_rewind can't do it ({})", last_line(&ended.said));
            return Err(self.impossible(why, Some(&ended)));
        }
        if !ended.success {
            let why = format!("pg_rewind failed half-way ({})", last_line(&ended.said));
            return Err(self.impossible(why, Some(&ended)));
        }
        self.directory()?.write_standby_signal()?;
        place::remove_socket_locks(self.place.data())?;
        self.phase(Phase::Rewound)?;
        Ok((true, Some(last_line(&ended.said))))
    }

    fn impossible(&mut self, why: String, ended: Option<&Ended>) -> Error {
        let mut error = Error::failed(format!("a rewind isn't possible: {why}"));
        if let Some(ended) = ended {
            error = error.detail(&ended.said);
        }
        self.no_rewind = Some(why);
        error.hint("run it with --method basebackup")
    }
}
