//! The flight record: the last thousand things seen, decided and done, and the log lines made of them.

use crate::flight::store::Store;
use crate::host::clock;
use crate::output::log::{Level, Log};
use crate::pg::gates::LocalView;
use crate::promotion::event::{Event, EventKind, Record};
use crate::units::Moment;
use std::collections::VecDeque;
use std::path::Path;

const KEPT: usize = 1000;

/// Returns the wall clock at a moment of this boot, RFC 3339 in UTC.
fn wall_of(at: Moment) -> String {
    let wall = clock::wall().saturating_sub(clock::now().since(at));
    let micros = i64::try_from(wall.as_micros()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_microsecond(micros).map_or_else(|_| String::new(), |time| format!("{time:.6}"))
}

/// Keeps the last records, hands them to the disk, and writes the lines that a person wants to read.
#[derive(Debug)]
pub(super) struct Recorder {
    records: VecDeque<Record>,
    log: Log,
    /// `None` when there is no directory for it.
    store: Option<Store>,
    /// The local server's log as it was last seen: timeline and position.
    position: Option<(u32, String)>,
    /// The term of the promotion under way, or of the last one.
    term: Option<u64>,
}

/// Whether a record of this kind says where the local server's log was.
const fn says_position(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Decision
            | EventKind::ActiveDown
            | EventKind::FarewellHeard
            | EventKind::FarewellSent
            | EventKind::PostmasterGone
            | EventKind::ProbeFailed
            | EventKind::Fenced
            | EventKind::Serving
            | EventKind::Overslept
            | EventKind::Contested
            | EventKind::Resigned
            | EventKind::Stopping
    )
}

impl Recorder {
    /// Creates a recorder that keeps its records in this directory too.
    pub(super) fn new(log: Log, directory: &Path, node: &str) -> Self {
        let records = VecDeque::with_capacity(KEPT);
        let mut recorder = Self { records, log, store: None, position: None, term: None };
        match Store::open(directory, node) {
            Ok(store) => recorder.store = Some(store),
            // Without its record on disk a daemon is still a daemon.
            Err(error) => recorder.warn(&error.to_string()),
        }
        recorder
    }

    /// Is told where the local server's log is.
    pub(super) fn at_position(&mut self, view: &LocalView) {
        if let (Some(timeline), Some(end)) = (view.timeline, view.end) {
            self.position = Some((timeline.get(), end.to_string()));
        }
        if let Some(term) = view.term {
            self.term = self.term.max(Some(term.0));
        }
    }

    /// Is told which term a promotion is for.
    pub(super) fn in_term(&mut self, term: u64) {
        self.term = Some(term);
    }

    /// Writes down an event that happens now.
    pub(super) fn note(&mut self, event: Event) {
        self.note_at(clock::now(), event);
    }

    /// Writes down an event that happened at `at`, on another thread.
    pub(super) fn note_at(&mut self, at: Moment, mut event: Event) {
        if let Some((timeline, lsn)) = &self.position
            && says_position(event.kind)
            && !event.fields.contains_key("lsn")
        {
            event = event.with("timeline", *timeline).with("lsn", lsn.as_str());
        }
        let of_term = matches!(event.kind, EventKind::StepStarted | EventKind::StepDone | EventKind::Serving);
        if let Some(term) = self.term.filter(|_| of_term && !event.fields.contains_key("term")) {
            event = event.with("term", term);
        }
        if event.kind.logged() {
            let level = if event.kind.warns() { Level::Warning } else { Level::Info };
            let hint = event.fields.get("hint").and_then(|hint| hint.as_str());
            match hint {
                Some(hint) => self.log.write(level, clock::wall(), &format!("{}; hint: {hint}", event.text)),
                None => self.log.write(level, clock::wall(), &event.text),
            }
        }
        if self.records.len() == KEPT {
            self.records.pop_front();
        }
        let wall = wall_of(at);
        let record = Record { at, wall, event };
        if let Some(store) = &mut self.store {
            store.write(&record);
        }
        self.records.push_back(record);
    }

    pub(super) fn warn(&mut self, text: &str) {
        self.log.write(Level::Warning, clock::wall(), text);
    }

    pub(super) fn info(&mut self, text: &str) {
        self.log.write(Level::Info, clock::wall(), text);
    }

    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.iter()
    }
}
