//! `pgbaton cluster status`: asks every node at the same time and shows what they say.
//!
//! ```text
//! settings ─→ collect (threads, SQL, control sockets) ─→ shape (pure) ─→ output::status ─→ stdout, exit code
//! ```
//!
//! Needs no `PostgreSQL` on the asking machine. A node that doesn't answer costs its timeout, not more.

mod collect;
mod shape;

pub use collect::Collector;

use crate::cli::{ClusterStatus, Globals, StatusFormat};
use crate::error::{Error, Kind, Result};
use crate::flight::entry::{Entry, merge};
use crate::flight::store::{self, Follow};
use crate::host::signal::{self, Signal};
use crate::host::{clock, files};
use crate::output::Out;
use crate::output::paint::Tone;
use crate::output::status::{History, PluginOutput, PluginState, StatusReport, Thresholds};
use crate::settings::Settings;
use crate::settings::threshold::Measure;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io::IsTerminal as _;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Duration;

/// Events older than this aren't news when a watch begins.
const RECENT: Duration = Duration::from_secs(600);

/// Moves to the upper left corner, and hides the cursor.
const HOME: &str = "\u{1b}[?25l\u{1b}[H";
/// Clears what is left of an earlier, longer line.
const CLEAR_LINE: &str = "\u{1b}[K";
/// Clears what is left of this line and of an earlier, longer picture.
const CLEAR_BELOW: &str = "\u{1b}[J";
/// Shows the cursor again.
const RESTORE: &str = "\u{1b}[?25h";

/// Shows the cluster, once or again and again.
///
/// # Errors
/// [`crate::error::Kind::Failed`] when something is wrong with the cluster.
pub(super) fn run(globals: &Globals, args: &ClusterStatus, out: &Out) -> Result<()> {
    if let Some(wrong) = misused(args, out.is_json()) {
        return Err(wrong);
    }
    let settings = Settings::load(&globals.overrides())?;
    for warning in &settings.warnings {
        out.warning(warning);
    }
    match (args.format, args.watch) {
        (StatusFormat::Prometheus, _) => metrics(settings, args, out),
        (_, Some(interval)) => watch(settings, args.timeout, interval, out),
        (_, None) => once(settings, args.timeout, out),
    }
}

/// Looks at the cluster as a monitoring plugin does; returns the exit code.
pub(super) fn plugin(globals: &Globals, args: &ClusterStatus, out: &Out) -> u8 {
    let started = clock::now();
    let settings = match misused(args, out.is_json()) {
        Some(wrong) => Err(wrong),
        None => Settings::load(&globals.overrides()),
    };
    match settings {
        Ok(settings) => {
            let report = StatusReport::new(Collector::new(settings, args.timeout).collect());
            let thresholds = Thresholds { warning: args.warning.clone(), critical: args.critical.clone() };
            print_plugin(&report.nagios(&thresholds, clock::now().since(started)), out)
        }
        Err(error) => cannot(&error, out),
    }
}

/// Says as a monitoring plugin that the question couldn't be asked.
pub(super) fn cannot(error: &Error, out: &Out) -> u8 {
    print_plugin(&PluginOutput::unknown(error.message(), error.detail_text(), error.hints()), out)
}

fn print_plugin(output: &PluginOutput, out: &Out) -> u8 {
    match out.result(&output.text) {
        Ok(()) => output.state.exit_code(),
        Err(_) => PluginState::Unknown.exit_code(),
    }
}

/// Returns what is wrong with a combination of flags that clap can't know.
fn misused(args: &ClusterStatus, json: bool) -> Option<Error> {
    let usage = |message: &str, hint: &str| Some(Error::new(Kind::Usage, message).hint(hint));
    if json && args.format != StatusFormat::Human {
        return usage("--json and --format are two forms of one answer", "use one of them");
    }
    if args.watch.is_some() && args.format != StatusFormat::Human {
        return usage("--watch shows a table", "leave --format out, or have cron repeat the command");
    }
    if args.output.is_some() && args.format != StatusFormat::Prometheus {
        return usage("--output is for metrics", "add --format prometheus, or redirect standard output");
    }
    let thresholds = !args.warning.is_empty() || !args.critical.is_empty();
    if thresholds && args.format != StatusFormat::Nagios {
        return usage("--warning and --critical are for a monitoring plugin", "add --format nagios");
    }
    for (flag, all) in [("--warning", &args.warning), ("--critical", &args.critical)] {
        let twice = |measure| all.iter().filter(|threshold| threshold.measure == measure).count() > 1;
        if twice(Measure::Bytes) || twice(Measure::Time) {
            return usage(
                &format!("{flag} is there twice for one kind of lag"),
                "once in bytes and once in time is the most, as in -w 16MB -w 10s",
            );
        }
    }
    None
}

fn once(settings: Settings, timeout: Duration, out: &Out) -> Result<()> {
    let report = StatusReport::new(Collector::new(settings, timeout).collect());
    if out.is_json() {
        out.json(&report)?;
    } else {
        out.result(&report.render(out.paint(), out.width()))?;
    }
    if report.healthy {
        return Ok(());
    }
    Err(Error::failed(format!("the cluster {} isn't healthy", report.view.cluster)))
}

/// Writes the metrics; what they say is not this command's success or failure.
fn metrics(settings: Settings, args: &ClusterStatus, out: &Out) -> Result<()> {
    let started = clock::now();
    let report = StatusReport::new(Collector::new(settings, args.timeout).collect());
    let text = report.prometheus(clock::wall(), clock::now().since(started));
    match &args.output {
        // The collector runs as a user of its own.
        Some(file) => files::write_atomic(file, text.as_bytes(), 0o644),
        None => out.result(&text),
    }
}

/// Shows the cluster until a signal comes or nobody reads any more; on a terminal always in the same place.
///
/// Under `--json` each look is one line.
fn watch(settings: Settings, timeout: Duration, interval: Duration, out: &Out) -> Result<()> {
    // Before the first thread, so that every thread leaves them to the descriptor.
    signal::block(&[Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP])?;
    let stops: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    let stops = SignalFd::with_flags(&stops, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .map_err(|error| Error::failed("can't wait for signals").detail(error))?;
    let in_place = std::io::stdout().is_terminal() && !out.is_json();
    // What the daemon of this machine writes down, if there is one and its record may be read.
    let directory = settings.cluster.state_directory.clone();
    let mut follow = Follow::new(&directory);
    let mut history = History::default();
    remember(&mut history, &recent(&directory));
    let mut collector = Collector::new(settings, timeout);
    let mut first = true;
    let ended = loop {
        let report = StatusReport::new(collector.collect());
        history.see(&report);
        remember(&mut history, &follow.more());
        let shown = if out.is_json() {
            serde_json::to_string(&report)
                .map_err(|error| Error::failed("can't write the JSON document").detail(error))
                .and_then(|line| out.result(&line))
        } else {
            let mut text = report.render(out.paint(), out.width());
            text.push_str(&history.render(out.paint(), out.width()));
            let gap = if first { "" } else { "\n" };
            out.result(&if in_place { redrawn(&report, &text, first) } else { format!("{gap}{text}") })
        };
        first = false;
        if shown.is_err() || out.closed() {
            break shown;
        }
        match stopped(&stops, interval) {
            Ok(false) => {}
            Ok(true) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    if in_place {
        // The error of the loop is the one to tell.
        drop(out.result(RESTORE));
    }
    ended
}

/// Returns what was recorded in the last minutes.
fn recent(directory: &Path) -> Vec<Entry> {
    let since = i64::try_from(clock::wall().saturating_sub(RECENT).as_micros()).unwrap_or(i64::MAX);
    let entries = store::read(directory).entries.into_iter().filter(|entry| entry.micros() >= since);
    merge(entries.collect())
}

fn remember(history: &mut History, entries: &[Entry]) {
    for entry in entries.iter().filter(|entry| entry.is_telling() && entry.kind != "step-done") {
        let tone = if entry.warns() { Tone::Warn } else { Tone::Plain };
        history.note(&entry.wall, format!("{}: {}", entry.node, entry.text), tone);
    }
}

/// Returns the picture as it is drawn over the one before.
fn redrawn(report: &StatusReport, text: &str, first: bool) -> String {
    let mut drawn = if first { format!("\u{1b}[2J{HOME}") } else { HOME.to_owned() };
    for line in text.lines().chain([""]) {
        drawn.extend([line, CLEAR_LINE, "\n"]);
    }
    drawn.extend([report.view.at.as_str(), CLEAR_BELOW, "\n"]);
    drawn
}

/// Waits for a signal, for so long.
fn stopped(stops: &SignalFd, interval: Duration) -> Result<bool> {
    let milliseconds = i32::try_from(interval.as_millis()).unwrap_or(i32::MAX).max(1);
    let timeout = PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX);
    let mut waiting = [PollFd::new(stops.as_fd(), PollFlags::POLLIN)];
    match poll(&mut waiting, timeout) {
        Ok(ready) => Ok(ready > 0),
        Err(nix::errno::Errno::EINTR) => Ok(false),
        Err(error) => Err(Error::failed("can't wait for signals").detail(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::status::ClusterView;

    #[test]
    fn a_shorter_picture_leaves_nothing_of_the_longer_one() {
        let report = StatusReport::new(ClusterView { at: "now".to_owned(), ..ClusterView::default() });
        let drawn = redrawn(&report, "a\nb\n", false);
        assert_eq!(drawn, "\u{1b}[?25l\u{1b}[Ha\u{1b}[K\nb\u{1b}[K\n\u{1b}[K\nnow\u{1b}[J\n");
    }
}
