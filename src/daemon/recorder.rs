//! The flight record: the last thousand things seen, decided and done, and the log lines made of them.

use crate::host::clock;
use crate::output::log::{Level, Log};
use crate::promotion::event::{Event, Record};
use crate::units::Moment;
use std::collections::VecDeque;

const KEPT: usize = 1000;

/// Returns the wall clock at a moment of this boot, RFC 3339 in UTC.
fn wall_of(at: Moment) -> String {
    let wall = clock::wall().saturating_sub(clock::now().since(at));
    let micros = i64::try_from(wall.as_micros()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_microsecond(micros).map_or_else(|_| String::new(), |time| format!("{time:.6}"))
}

/// Keeps the last records and writes the lines that a person wants to read.
#[derive(Debug)]
pub(super) struct Recorder {
    records: VecDeque<Record>,
    log: Log,
}

impl Recorder {
    pub(super) fn new(log: Log) -> Self {
        Self { records: VecDeque::with_capacity(KEPT), log }
    }

    /// Writes down an event that happens now.
    pub(super) fn note(&mut self, event: Event) {
        self.note_at(clock::now(), event);
    }

    /// Writes down an event that happened at `at`, on another thread.
    pub(super) fn note_at(&mut self, at: Moment, event: Event) {
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
        self.records.push_back(Record { at, wall, event });
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
