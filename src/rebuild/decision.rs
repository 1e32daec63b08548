//! What a data directory needs to become a standby of the primary: nothing, a start, a rewind or a copy. Pure.
//!
//! The rule for "is a rewind needed" is the one that Patroni proved in the field: a standby's log may end at or before
//! the fork, a stopped primary's must end exactly there. It doesn't see two promotions that made one timeline number
//! at one position; those are told apart by epochs and by comparing the log itself, byte by byte.

use crate::pg::epoch::{PromotionId, Term};
use crate::pg::history::History;
use crate::pg::lsn::{Lsn, SystemId, Timeline};
use serde::Serialize;

/// The primary that is to be followed.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// The node's name, or its address.
    pub name: String,
    /// The cluster.
    pub system_id: SystemId,
    /// The major version.
    pub major: u32,
    /// The timeline it writes.
    pub timeline: Timeline,
    /// The end of its log on disk, asked after the target was looked at.
    pub end: Lsn,
    /// The history of its timeline.
    pub history: History,
    /// The newest epoch that its database knows.
    pub epoch: Option<Promotion>,
    /// Whether whole pages are logged.
    pub full_page_writes: bool,
    /// The number of its oldest WAL segment, counted from the beginning of the log.
    pub oldest_segment: Option<u64>,
    /// The size of a WAL segment.
    pub segment_size: u64,
    /// Its tablespaces.
    pub tablespaces: Vec<Tablespace>,
    /// The size of its data, tablespaces and WAL, in bytes.
    pub size: u64,
}

/// Names a promotion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Promotion {
    /// The term.
    pub term: Term,
    /// Its random id.
    pub id: PromotionId,
}

/// A tablespace of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Tablespace {
    /// Its number; the link `pg_tblspc/<oid>` leads to it.
    pub oid: u32,
    /// Where it is.
    pub path: String,
}

/// What is in the place of the data directory.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// Nothing, or an empty folder.
    Empty,
    /// A cluster's data.
    Data(Box<Data>),
}

/// A data directory.
#[derive(Debug, Clone, PartialEq)]
pub struct Data {
    /// What its server was last.
    pub role: Role,
    /// How its server is now.
    pub state: State,
    /// The cluster.
    pub system_id: SystemId,
    /// The major version.
    pub major: u32,
    /// The timeline its log ends on.
    pub timeline: Timeline,
    /// The end of its log: of a stopped standby, no less than what its pages hold.
    pub end: Lsn,
    /// How far a start can go with the log that is here, along the primary's history; no less than `end`. What comes
    /// after it must come from the primary.
    pub readable: Lsn,
    /// The history of its timeline, if its file is there (timeline 1 has none and needs none).
    pub history: Option<History>,
    /// The newest epoch in its database; only a running server can be asked.
    pub epoch: Option<Promotion>,
    /// Whether pages have checksums or hint bits are logged.
    pub can_rewind: bool,
    /// What a comparison of its log with the primary's came to.
    pub log: LogComparison,
    /// The number of its oldest WAL segment.
    pub oldest_segment: Option<u64>,
    /// Its tablespaces.
    pub tablespaces: Vec<Tablespace>,
    /// Whether WAL can also come from an archive.
    pub restore_command: bool,
}

/// What a server was last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It wrote.
    Primary,
    /// It replayed.
    Standby,
}

/// How a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Stopped in order.
    Clean,
    /// Not running, and not stopped in order.
    Crashed,
    /// Running.
    Running,
    /// Running, and streaming from the primary on its timeline.
    Streaming,
}

/// What a comparison of the shared part of two logs came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogComparison {
    /// The bytes are the same.
    Same,
    /// The bytes differ: these are two timelines with one number.
    Differs,
    /// One side doesn't have the segment any more.
    Unknown,
}

/// How the operator wants it done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Whatever is needed.
    #[default]
    Auto,
    /// Never a base backup.
    Rewind,
    /// Never a rewind.
    BaseBackup,
}

/// What else the decision depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// The method that was asked for.
    pub method: Method,
    /// Whether newer data may be thrown away.
    pub force_newer: bool,
    /// Why a rewind is out of the question: an earlier one failed or was interrupted.
    pub no_rewind: Option<String>,
    /// Free bytes beside the data directory.
    pub free: Option<u64>,
    /// Why the folder can't be exchanged (it is a mount point).
    pub fixed: Option<String>,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// It streams already.
    Nothing,
    /// Its log is a prefix of the primary's: configure and start.
    StartAsIs,
    /// Take back what the primary doesn't have.
    Rewind,
    /// Copy everything.
    BaseBackup,
}

/// A decision and its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// What is to be done.
    pub decision: Decision,
    /// Why, in one sentence.
    pub why: String,
    /// Where the logs part; `None` when they don't or when nobody can tell.
    pub fork: Option<Fork>,
}

/// A position on a timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Fork {
    /// The last timeline that both share.
    pub timeline: Timeline,
    /// The end of the shared part.
    pub at: Lsn,
}

/// Why nothing will be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The stable name of the check.
    pub check: &'static str,
    /// Why.
    pub why: String,
    /// What a person can do.
    pub hint: Option<String>,
}

impl Refusal {
    fn new(check: &'static str, why: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { check, why: why.into(), hint: Some(hint.into()) }
    }
}

/// What the facts call for, before anyone asks whether it can be done.
enum Need {
    Nothing(String),
    Start(String),
    Rewind(String, Fork),
    Copy(String, Option<Fork>),
}

/// Decides.
pub fn decide(source: &Source, target: &Target, asked: &Asked) -> Result<Verdict, Refusal> {
    let Target::Data(data) = target else {
        return copy(source, asked, "there is no data here".to_owned(), None);
    };
    refuse(source, data, asked)?;
    if let Some(why) = asked.no_rewind.clone().filter(|_| data.state != State::Streaming) {
        // After a rewind that was cut short nothing in the folder can be trusted.
        return copy(source, asked, why, None);
    }
    let verdict = |decision, why, fork| Ok(Verdict { decision, why, fork });
    match (needed(source, data), asked.method) {
        (Need::Nothing(why), _) => verdict(Decision::Nothing, why, None),
        (Need::Start(why), Method::Auto | Method::Rewind) => verdict(Decision::StartAsIs, why, None),
        (Need::Start(_), Method::BaseBackup) => {
            copy(source, asked, "a base backup was asked for".to_owned(), None)
        }
        (Need::Rewind(why, fork), Method::BaseBackup) => {
            copy(source, asked, format!("{why}, and a base backup was asked for"), Some(fork))
        }
        (Need::Rewind(why, fork), _) => match obstacle(source, data, fork) {
            None => verdict(Decision::Rewind, why, Some(fork)),
            Some(obstacle) => copy(source, asked, format!("{why}, but {obstacle}"), Some(fork)),
        },
        (Need::Copy(why, fork), _) => copy(source, asked, why, fork),
    }
}

/// Everything that must not be touched.
fn refuse(source: &Source, data: &Data, asked: &Asked) -> Result<(), Refusal> {
    let name = &source.name;
    if data.system_id != source.system_id {
        return Err(Refusal::new(
            "system-id",
            format!(
                "the data here is of another cluster: its system identifier is {}, that of {name} is {}",
                data.system_id, source.system_id
            ),
            "is this the right data directory, and the right primary? move the folder away to copy the primary here",
        ));
    }
    if data.major != source.major {
        return Err(Refusal::new(
            "version",
            format!("the data here is of PostgreSQL {}, {name} is {}", data.major, source.major),
            "is this the right data directory? move the folder away to copy the primary here",
        ));
    }
    let running = matches!(data.state, State::Running | State::Streaming);
    if running && data.role == Role::Primary {
        return Err(Refusal::new(
            "running-primary",
            format!("the server here is a running primary, on timeline {}", data.timeline),
            "which of the two is the right one? pgbaton cluster status; the other must be stopped first",
        ));
    }
    let newer = match (data.epoch, source.epoch) {
        (Some(mine), Some(theirs)) if mine.term > theirs.term => {
            Some(format!("term {} against {}", mine.term, theirs.term))
        }
        _ if data.timeline > source.timeline => {
            Some(format!("timeline {} against {}", data.timeline, source.timeline))
        }
        _ => None,
    };
    match newer {
        Some(what) if !asked.force_newer => Err(Refusal::new(
            "newer-data",
            format!("the data here is newer than that of {name}: {what}"),
            "is this the right primary? --from NODE names another, --force newer-data throws the newer data away",
        )),
        _ => Ok(()),
    }
}

fn needed(source: &Source, data: &Data) -> Need {
    let name = &source.name;
    let history = data
        .history
        .clone()
        .or_else(|| (data.timeline == Timeline::FIRST).then(|| History::root(Timeline::FIRST)));
    let common = history.as_ref().and_then(|history| history.common_point(&source.history));
    let fork = common.and_then(|common| Some(Fork { timeline: common.timeline, at: common.until? }));
    // Without its own history file, all that is known is where the primary left this timeline.
    let left = source.history.fork_of(data.timeline).filter(|_| history.is_none());
    let fork = fork.or_else(|| left.map(|at| Fork { timeline: data.timeline, at }));
    if let (Some(mine), Some(theirs)) = (data.epoch, source.epoch)
        && mine.term == theirs.term
        && mine.id != theirs.id
    {
        let why =
            format!("term {} was given twice: two servers were promoted apart from each other", mine.term);
        return Need::Copy(why, None);
    }
    if data.log == LogComparison::Differs {
        let why = format!(
            "timeline {} here isn't timeline {} of {name}: the logs differ where they should be the same",
            data.timeline, data.timeline
        );
        return Need::Copy(why, None);
    }
    if data.timeline == source.timeline {
        if fork.is_some() || history.is_some() && common.is_none() {
            let why = format!("timeline {} was made twice, at different positions", data.timeline);
            return Need::Copy(why, fork);
        }
        if data.end > source.end {
            let why = format!(
                "the log here ends at {} on timeline {}, beyond {} of {name}: it isn't the same log",
                data.end, data.timeline, source.end
            );
            return Need::Copy(why, None);
        }
        return starts(source, data, format!("its log is a part of that of {name}"));
    }
    let own_branch = fork.filter(|fork| fork.timeline <= data.timeline);
    match own_branch {
        Some(fork) if fork.timeline == data.timeline => at_fork(source, data, fork),
        Some(fork) => {
            Need::Rewind(format!("timeline {} isn't one that {name} went through", data.timeline), fork)
        }
        // The newer of the two, on the very timeline of the source: taken back to the source's end.
        None => match common {
            Some(_) => Need::Copy(
                format!("timeline {} descends from what {name} is still writing", data.timeline),
                None,
            ),
            None => Need::Copy(format!("its history shares nothing with that of {name}"), None),
        },
    }
}

/// The log ends on a timeline that the primary left at the fork.
fn at_fork(source: &Source, data: &Data, fork: Fork) -> Need {
    let name = &source.name;
    let exact = data.role == Role::Primary && data.state == State::Clean;
    if data.end > fork.at {
        return Need::Rewind(
            format!(
                "the log here ends at {}, {} bytes after {name} left timeline {} at {}",
                data.end,
                data.end.ahead_of(fork.at),
                fork.timeline,
                fork.at
            ),
            fork,
        );
    }
    if exact && data.end < fork.at && data.log != LogComparison::Same {
        return Need::Rewind(
            format!(
                "this primary stopped at {}, but {name} has timeline {} up to {}",
                data.end, fork.timeline, fork.at
            ),
            fork,
        );
    }
    // What a crashed primary finds at its own recovery may be more than what can be read now; a record too many would be
    // replayed in silence.
    if data.role == Role::Primary && data.state == State::Crashed && obstacle(source, data, fork).is_none() {
        return Need::Rewind(
            format!(
                "this primary crashed at {} or later, and {name} left timeline {} at {}",
                data.end, fork.timeline, fork.at
            ),
            fork,
        );
    }
    starts(source, data, format!("its log ends at {}, no later than {name} left it at {}", data.end, fork.at))
}

/// The log is a part of the primary's: does the primary still have what comes next?
fn starts(source: &Source, data: &Data, why: String) -> Need {
    if data.state == State::Streaming {
        return Need::Nothing(format!("it streams from {} on timeline {}", source.name, source.timeline));
    }
    let wanted = segment(data.readable.max(data.end), source.segment_size);
    if !data.restore_command && source.oldest_segment.is_some_and(|oldest| oldest > wanted) {
        let why =
            format!("{why}, but {} no longer has the WAL after {}", source.name, data.readable.max(data.end));
        return Need::Copy(why, None);
    }
    Need::Start(why)
}

/// Why a rewind can't work, as far as the facts say.
fn obstacle(source: &Source, data: &Data, fork: Fork) -> Option<String> {
    if !data.can_rewind {
        return Some("pg_rewind needs wal_log_hints or data checksums here".to_owned());
    }
    if !source.full_page_writes {
        return Some(format!("pg_rewind needs full_page_writes on {}", source.name));
    }
    let wanted = segment(fork.at, source.segment_size);
    if data.oldest_segment.is_none_or(|oldest| oldest > wanted) {
        return Some(format!("the WAL from {} on isn't here any more", fork.at));
    }
    let here = |oid: u32| data.tablespaces.iter().any(|own| own.oid == oid);
    let new = source.tablespaces.iter().find(|tablespace| !here(tablespace.oid))?;
    Some(format!("tablespace {} of {} isn't here", new.oid, source.name))
}

/// A base backup, if there is room for one.
fn copy(source: &Source, asked: &Asked, why: String, fork: Option<Fork>) -> Result<Verdict, Refusal> {
    if asked.method == Method::Rewind {
        return Err(Refusal::new(
            "method",
            format!("a rewind isn't enough: {why}"),
            "run it without --method rewind for a base backup",
        ));
    }
    if let Some(fixed) = &asked.fixed {
        return Err(Refusal::new(
            "mount-point",
            format!("a base backup is needed ({why}), but {fixed}"),
            "put the data into a folder below the mount point",
        ));
    }
    match asked.free {
        Some(free) if free < source.size => Err(Refusal::new(
            "space",
            format!(
                "a base backup is needed ({why}), but there is no room for it: {} MB free, {} MB needed",
                free >> 20,
                (source.size >> 20).saturating_add(1)
            ),
            "does --list-kept show something that --drop-kept may remove?",
        )),
        _ => Ok(Verdict { decision: Decision::BaseBackup, why, fork }),
    }
}

/// Returns the number of the segment that a position is in.
pub const fn segment(at: Lsn, size: u64) -> u64 {
    match at.0.checked_div(size) {
        Some(number) => number,
        None => 0,
    }
}

#[cfg(test)]
#[path = "decision_tests.rs"]
mod tests;
