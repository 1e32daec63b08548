//! Processes that should run: held by pidfd while enough of them do, looked for while too few do.
//!
//! The kernel's process events would also tell of new ones, but of every other fork on the machine as well, and
//! they exist only in the first network namespace; what has to be noticed at once is the end.

use super::Teller;
use crate::error::Result;
use crate::host::clock::{self, Deadline};
use crate::host::process::{Pidfd, find_by_name};
use crate::net::driver::{Waker, timespec};
use crate::settings::ProcessSettings;
use crate::vrrp::track::Seen;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::time::Duration;

/// How long is waited when nothing has to be looked for.
const LONG: Duration = Duration::from_secs(3600);

/// Watches the processes until told to stop.
pub(super) fn watch(settings: &ProcessSettings, teller: &Teller, stop: &Waker) {
    let quorum = usize::try_from(settings.quorum).unwrap_or(usize::MAX);
    let mut told = None;
    let mut missing_since = None;
    loop {
        let found = look(settings).unwrap_or_default();
        let enough = found.len() >= quorum;
        let now = clock::now();
        let since = if enough { None } else { Some(missing_since.unwrap_or(now)) };
        missing_since = since;
        // The first look counts at once: a process that never ran isn't being restarted.
        let spared = told == Some(true) && since.is_some_and(|since| now.since(since) < settings.grace);
        if told != Some(enough) && !spared {
            told = Some(enough);
            let (seen, name) = (if enough { Seen::Good } else { Seen::Bad }, &settings.name);
            let text = match (enough, found.len()) {
                (true, _) => format!("process {name} runs"),
                (false, 0) => format!("process {name} doesn't run"),
                (false, some) => format!("process {name}: only {some} of {quorum} run"),
            };
            if !teller.tell(seen, text) {
                return;
            }
        }
        let wait = match since {
            None => LONG,
            Some(since) if spared => settings.grace.saturating_sub(now.since(since)).min(settings.interval),
            Some(_) => settings.interval,
        };
        if stopped(stop, &found, Deadline::after(wait)) {
            return;
        }
    }
}

/// Finds the processes and holds them.
fn look(settings: &ProcessSettings) -> Result<Vec<Pidfd>> {
    let find = || find_by_name(&settings.command, &settings.arguments);
    let held: Vec<Pidfd> = find()?.into_iter().filter_map(|pid| Pidfd::open(pid).ok().flatten()).collect();
    // A number may have been used again before it was held: look once more.
    let still = find()?;
    Ok(held.into_iter().filter(|process| still.contains(&process.pid())).collect())
}

/// Waits until a process ends or the time is over; returns whether to stop.
fn stopped(stop: &Waker, processes: &[Pidfd], until: Deadline) -> bool {
    let mut fds = vec![PollFd::new(stop, PollFlags::IN)];
    fds.extend(processes.iter().map(|process| PollFd::new(process, PollFlags::IN)));
    match poll(&mut fds, Some(&timespec(until))) {
        Ok(_) => fds.first().is_some_and(|fd| !fd.revents().is_empty()),
        Err(error) => error != Errno::INTR,
    }
}
