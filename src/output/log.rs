//! Log lines of the daemon: one record, one line, on standard error.
//!
//! Under systemd the priority stands in front and the journal adds the time; elsewhere the time and the level
//! do. There are no log files of our own. The time is passed in.

use crate::cli::LogLevel;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How important a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Something failed.
    Error,
    /// Something may fail next.
    Warning,
    /// An operator should know.
    Notice,
    /// A step.
    Info,
    /// Everything else.
    Debug,
}

impl Level {
    /// Returns the priority of syslog(3).
    pub const fn priority(self) -> u8 {
        match self {
            Self::Error => 3,
            Self::Warning => 4,
            Self::Notice => 5,
            Self::Info => 6,
            Self::Debug => 7,
        }
    }

    /// Returns the word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

impl From<LogLevel> for Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::Error,
            LogLevel::Warning => Self::Warning,
            LogLevel::Notice => Self::Notice,
            LogLevel::Info => Self::Info,
            LogLevel::Debug => Self::Debug,
        }
    }
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStyle {
    /// `<5>text`, as sd-daemon(3) describes.
    Journal,
    /// `2026-11-22T16:00:00.123456Z notice: text`.
    Plain,
}

impl LogStyle {
    /// Returns the form for a standard error with this device and inode: `JOURNAL_STREAM` says whether it is
    /// the journal's, and may be left over from a parent whose standard error was.
    pub fn detect(journal_stream: Option<&str>, device: u64, inode: u64) -> Self {
        let same = |value: &str| {
            let (named_device, named_inode) = value.split_once(':')?;
            Some(named_device.parse() == Ok(device) && named_inode.parse() == Ok(inode))
        };
        if journal_stream.and_then(same) == Some(true) { Self::Journal } else { Self::Plain }
    }
}

/// Renders one record; `wall` is the time since 1970.
pub fn line(style: LogStyle, level: Level, wall: Duration, text: &str) -> String {
    let text = one_line(text);
    match style {
        LogStyle::Journal => format!("<{}>{text}\n", level.priority()),
        LogStyle::Plain => format!("{} {}: {text}\n", timestamp(wall), level.name()),
    }
}

/// Writes a time since 1970 as RFC 3339 in UTC with microseconds.
pub fn timestamp(wall: Duration) -> String {
    let micros = i64::try_from(wall.as_micros()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_microsecond(micros)
        .map_or_else(|_| format!("{micros}us"), |time| format!("{time:.6}"))
}

/// Puts a text onto one line: a record that could break it could forge the next one.
fn one_line(text: &str) -> String {
    let text = text.trim_end().replace('\n', "; ");
    text.chars()
        .map(|c| {
            if c == '\t' {
                ' '
            } else if c.is_control() {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// Where a daemon's records go.
pub struct Log {
    writer: Mutex<Box<dyn Write + Send>>,
    style: LogStyle,
    least: Level,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("style", &self.style).field("least", &self.least).finish_non_exhaustive()
    }
}

impl Log {
    /// Creates a log that leaves out what is less important than `least`.
    pub fn new(writer: Box<dyn Write + Send>, style: LogStyle, least: Level) -> Self {
        Self { writer: Mutex::new(writer), style, least }
    }

    /// Creates a log on standard error.
    pub fn stderr(style: LogStyle, least: Level) -> Self {
        Self::new(Box::new(std::io::stderr()), style, least)
    }

    /// Returns whether a record of this level is written.
    pub fn takes(&self, level: Level) -> bool {
        level <= self.least
    }

    /// Writes a record; `wall` is the time since 1970. A daemon doesn't fail because nobody reads its log.
    pub fn write(&self, level: Level, wall: Duration, text: &str) {
        if self.takes(level) {
            let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
            // One write for one record, so that lines of several processes don't mix.
            drop(writer.write_all(line(self.style, level, wall, text).as_bytes()));
            drop(writer.flush());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Shared;
    use super::*;

    const WALL: Duration = Duration::from_micros(1_700_000_000_123_456);

    #[test]
    fn a_record_is_one_line_in_either_form() {
        assert_eq!(line(LogStyle::Journal, Level::Notice, WALL, "BACKUP → ACTIVE"), "<5>BACKUP → ACTIVE\n");
        assert_eq!(
            line(LogStyle::Plain, Level::Error, WALL, "can't promote\n<0>forged\u{1b}"),
            "2023-11-14T22:13:20.123456Z error: can't promote; <0>forged\u{fffd}\n"
        );
    }

    #[test]
    fn the_journal_is_recognised_by_device_and_inode() {
        assert_eq!(LogStyle::detect(Some("9:31337"), 9, 31337), LogStyle::Journal);
        for other in [Some("9:1"), Some("31337"), Some("a:b"), Some(""), None] {
            assert_eq!(LogStyle::detect(other, 9, 31337), LogStyle::Plain);
        }
    }

    #[test]
    fn less_important_records_are_left_out() {
        let shared = Shared::default();
        let log = Log::new(Box::new(shared.clone()), LogStyle::Journal, Level::Notice);
        log.write(Level::Info, WALL, "a");
        log.write(Level::Warning, WALL, "b");
        assert_eq!(shared.text(), "<4>b\n");
    }
}
