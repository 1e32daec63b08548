//! Watches what virtual routers depend on beside the network: scripts, processes, files, each on a thread.
//!
//! The loop hears of changes only. Interfaces need no thread: netlink tells of them.

mod file;
mod process;
mod script;

use super::event_loop::{Mailbox, Message};
use crate::net::driver::Waker;
use crate::settings::{FileSettings, ProcessSettings, ScriptSettings, Trackers};
use crate::vrrp::track::Seen;
use std::collections::BTreeMap;

/// What sort of thing is tracked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Sort {
    Interface,
    Script,
    Process,
    File,
}

/// A thing that is tracked: its sort and its name.
pub(super) type Key = (Sort, String);

/// A changed state of something that is tracked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sighting {
    pub(super) key: Key,
    pub(super) seen: Seen,
    /// Why, for the log.
    pub(super) text: String,
    /// Which of its watchers saw it: one of an old configuration doesn't count.
    watcher: u64,
}

/// What is watched, as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Subject {
    Script(ScriptSettings),
    Process(ProcessSettings),
    File(FileSettings),
}

/// The running watchers.
#[derive(Debug)]
pub(super) struct Watchers {
    mailbox: Mailbox,
    running: BTreeMap<Key, Watcher>,
    next: u64,
}

#[derive(Debug)]
struct Watcher {
    subject: Subject,
    number: u64,
    /// The thread ends when it is woken by this.
    stop: Waker,
}

/// What a thread sends its sightings with.
struct Teller {
    mailbox: Mailbox,
    key: Key,
    watcher: u64,
}

impl Teller {
    /// Tells what is seen now; false when nobody wants to know any more.
    fn tell(&self, seen: Seen, text: impl Into<String>) -> bool {
        let sighting = Sighting { key: self.key.clone(), seen, text: text.into(), watcher: self.watcher };
        self.mailbox.send(Message::Sighted(sighting))
    }
}

impl Watchers {
    pub(super) const fn new(mailbox: Mailbox) -> Self {
        Self { mailbox, running: BTreeMap::new(), next: 0 }
    }

    /// Watches exactly these; what hasn't changed goes on. Returns the keys of those that start anew or end, and
    /// what went wrong.
    pub(super) fn watch(&mut self, trackers: &Trackers) -> (Vec<Key>, Vec<String>) {
        let scripts =
            trackers.scripts.iter().map(|s| ((Sort::Script, s.name.clone()), Subject::Script(s.clone())));
        let processes =
            trackers.processes.iter().map(|p| ((Sort::Process, p.name.clone()), Subject::Process(p.clone())));
        let files = trackers.files.iter().map(|f| ((Sort::File, f.name.clone()), Subject::File(f.clone())));
        let wanted: BTreeMap<Key, Subject> = scripts.chain(processes).chain(files).collect();
        let gone: Vec<Key> = self
            .running
            .iter()
            .filter(|(key, watcher)| wanted.get(*key) != Some(&watcher.subject))
            .map(|(key, _)| key.clone())
            .collect();
        for key in &gone {
            if let Some(watcher) = self.running.remove(key) {
                watcher.stop.wake().ok();
            }
        }
        let (mut changed, mut problems) = (gone, Vec::new());
        for (key, subject) in wanted {
            if self.running.contains_key(&key) {
                continue;
            }
            match self.start(&key, &subject) {
                Ok(watcher) => drop(self.running.insert(key.clone(), watcher)),
                Err(error) => problems.push(format!("can't watch \"{}\": {error}", key.1)),
            }
            changed.push(key);
        }
        (changed, problems)
    }

    fn start(&mut self, key: &Key, subject: &Subject) -> std::io::Result<Watcher> {
        self.next += 1;
        let number = self.next;
        let stop = Waker::new().map_err(|error| std::io::Error::other(error.to_string()))?;
        let teller = Teller { mailbox: self.mailbox.clone(), key: key.clone(), watcher: number };
        let (work, ended) = (subject.clone(), stop.clone());
        std::thread::Builder::new().name("track".to_owned()).spawn(move || match work {
            Subject::Script(script) => script::watch(&script, &teller, &ended),
            Subject::Process(process) => process::watch(&process, &teller, &ended),
            Subject::File(file) => file::watch(&file, &teller, &ended),
        })?;
        Ok(Watcher { subject: subject.clone(), number, stop })
    }

    /// Returns whether a sighting is one of a watcher that still runs.
    pub(super) fn is_current(&self, sighting: &Sighting) -> bool {
        self.running.get(&sighting.key).is_some_and(|watcher| watcher.number == sighting.watcher)
    }
}

impl Drop for Watchers {
    fn drop(&mut self) {
        for watcher in self.running.values() {
            watcher.stop.wake().ok();
        }
    }
}
