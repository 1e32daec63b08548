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

use crate::cli::{ClusterStatus, Globals};
use crate::error::{Error, Result};
use crate::host::signal::{self, Signal};
use crate::output::Out;
use crate::output::status::StatusReport;
use crate::settings::Settings;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io::IsTerminal as _;
use std::os::fd::AsFd as _;
use std::time::Duration;

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
    let settings = Settings::load(&globals.overrides())?;
    for warning in &settings.warnings {
        out.warning(warning);
    }
    match args.watch {
        Some(interval) => watch(settings, args.timeout, interval, out),
        None => once(settings, args.timeout, out),
    }
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
    let mut collector = Collector::new(settings, timeout);
    let mut first = true;
    let ended = loop {
        let report = StatusReport::new(collector.collect());
        let shown = if out.is_json() {
            serde_json::to_string(&report)
                .map_err(|error| Error::failed("can't write the JSON document").detail(error))
                .and_then(|line| out.result(&line))
        } else {
            let text = report.render(out.paint(), out.width());
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
