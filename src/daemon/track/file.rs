//! A file with a number, which is read again whenever it changes.

use super::Teller;
use crate::host::clock::Deadline;
use crate::net::driver::{Waker, timespec};
use crate::settings::FileSettings;
use crate::vrrp::track::{Seen, number};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

/// A number is short; more than this is the wrong file.
const MOST: u64 = 64;
/// How often it is read when its folder can't be watched (it may not be there yet).
const POLL: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(3600);

/// Watches the file until told to stop.
pub(super) fn watch(file: &FileSettings, teller: &Teller, stop: &Waker) {
    let mut told = None;
    loop {
        // Before it is read: a change in between is seen afterwards.
        let events = folder(&file.path);
        let (value, note) = read(&file.path);
        if told != Some(value) {
            told = Some(value);
            if !teller.tell(Seen::Number(value), format!("file {} has {value}{note}", file.name)) {
                return;
            }
        }
        if stopped(stop, events.as_ref()) {
            return;
        }
    }
}

/// Watches the folder of a file, because the file may be replaced by another or not be there.
fn folder(path: &Path) -> Option<OwnedFd> {
    let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
    let flags = WatchFlags::CLOSE_WRITE
        | WatchFlags::MOVED_TO
        | WatchFlags::MOVED_FROM
        | WatchFlags::DELETE
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF;
    inotify::add_watch(&events, path.parent()?, flags).ok()?;
    Some(events)
}

/// Reads the number; a missing file has 0.
fn read(path: &Path) -> (i64, &'static str) {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MOST).read_to_string(&mut text));
    match read {
        Ok(_) => number(&text).map_or((0, " (no number)"), |value| (value, "")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => (0, " (it isn't there)"),
        Err(_) => (0, " (it can't be read)"),
    }
}

/// Waits for something to happen in the folder; returns whether to stop.
fn stopped(stop: &Waker, events: Option<&OwnedFd>) -> bool {
    let mut fds = vec![PollFd::new(stop, PollFlags::IN)];
    fds.extend(events.map(|events| PollFd::new(events, PollFlags::IN)));
    let until = Deadline::after(if events.is_some() { LONG } else { POLL });
    match poll(&mut fds, Some(&timespec(until))) {
        Ok(_) => fds.first().is_some_and(|fd| !fd.revents().is_empty()),
        Err(error) => error != Errno::INTR,
    }
}
