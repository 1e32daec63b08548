//! The reader of keepalived's pipe: the same hooks, in the order in which things happened.
//!
//! keepalived starts it (`notify_fifo_script`) and ends it with SIGTERM, often before it has written its last line. So
//! the signal only says that the end is near: the pipe is read until keepalived has closed it, and the work is done by
//! detached processes in any case.

use super::{detach, heeds, say};
use crate::cli::{Globals, Notify, State, Told};
use crate::error::{Error, Result};
use crate::host::clock::Deadline;
use crate::host::signal::{self, Signal};
use crate::net::driver::timespec;
use crate::output::log::{Level, Log};
use crate::settings::Settings;
use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Duration;

/// A line is a few words; what is longer isn't keepalived's.
const LONGEST: usize = 4096;

/// How long the last words are waited for after SIGTERM; keepalived kills what is left of its scripts after a second.
const LAST_WORDS: Duration = Duration::from_millis(900);

/// Reads until keepalived ends.
pub(super) fn read(
    path: &Path,
    args: &Notify,
    globals: &Globals,
    settings: &Settings,
    log: &Log,
) -> Result<()> {
    let failed =
        |error: std::io::Error| Error::failed(format!("can't read {}", path.display())).detail(error);
    signal::block(&[Signal::SIGTERM, Signal::SIGINT])?;
    let mask: SigSet = [Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
    let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .map_err(|error| Error::failed("can't wait for signals").detail(error))?;
    let open = |how: OFlags| {
        let flags = how | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).map(File::from).map_err(|error| failed(error.into()))
    };
    // Opened for writing as well, so that a restart of the writer isn't the end of the file.
    let mut pipe = open(OFlags::RDWR)?;
    let mut pending = Vec::new();
    let mut last: Option<Deadline> = None;
    loop {
        let mut fds = [
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN),
        ];
        let patience = last.map(timespec);
        match poll(&mut fds, patience.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(failed(error.into())),
        }
        if signals.read_signal().is_ok_and(|signal| signal.is_some()) && last.is_none() {
            // Opened anew before the other is closed, so that nothing in it is lost. Its end is that of the writer.
            pipe = open(OFlags::RDONLY)?;
            last = Some(Deadline::after(LAST_WORDS));
        }
        let mut ended = last.is_some_and(Deadline::passed);
        let mut chunk = [0_u8; 4096];
        loop {
            match pipe.read(&mut chunk) {
                Ok(0) => {
                    ended = true;
                    break;
                }
                Ok(count) => pending.extend_from_slice(chunk.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
        if let Some(state) = newest(&mut pending, args, log) {
            if let Err(error) = detach::start(globals, args, settings, state) {
                say(log, Level::Error, &super::told_error(&error));
            }
            ended |= last.is_some() && state == State::Stop;
        }
        if ended {
            return Ok(());
        }
    }
}

/// Takes the complete lines and returns the newest state among them: what was before it is over.
fn newest(pending: &mut Vec<u8>, args: &Notify, log: &Log) -> Option<State> {
    let end = pending.iter().rposition(|octet| *octet == b'\n').map_or(0, |at| at + 1);
    let lines: Vec<u8> = pending.drain(..end).collect();
    if pending.len() > LONGEST {
        pending.clear();
    }
    let mut newest = None;
    for line in String::from_utf8_lossy(&lines).lines() {
        match Told::from_line(line) {
            Some(told) if heeds(args, &told) => newest = Some(told.state),
            Some(_) => {}
            None => say(
                log,
                Level::Warning,
                &format!("not understood: {}", line.chars().take(100).collect::<String>()),
            ),
        }
    }
    newest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::log::LogStyle;

    fn log() -> Log {
        Log::new(Box::new(std::io::sink()), LogStyle::Plain, Level::Info)
    }

    #[test]
    fn the_newest_complete_line_of_the_instance_counts() {
        let args = Notify { instance: Some("a".to_owned()), ..Notify::default() };
        let mut pending =
            b"INSTANCE \"a\" MASTER 1\nINSTANCE \"b\" FAULT 1\nINSTANCE \"a\" BACKUP 1\nINSTANCE \"a\" ST"
                .to_vec();
        assert_eq!(newest(&mut pending, &args, &log()), Some(State::Backup));
        assert_eq!(newest(&mut pending, &args, &log()), None);
        pending.extend_from_slice(b"OP 1\ngarbage\n\xff\xfe\n");
        assert_eq!(newest(&mut pending, &args, &log()), Some(State::Stop));
        assert!(pending.is_empty());
    }

    #[test]
    fn an_endless_line_is_forgotten() {
        let mut pending = vec![b'x'; LONGEST + 1];
        assert_eq!(newest(&mut pending, &Notify::default(), &log()), None);
        assert!(pending.is_empty());
    }
}
