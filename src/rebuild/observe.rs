//! What is in the place of the data directory: control data when it is stopped, the server's own word when it runs.

use super::decision::{Data, LogComparison, Promotion, Role, Source, State, Target, segment};
use super::place::{self, Place};
use super::source::SourceServer;
use super::tools::Tools;
use super::{conf, wal};
use crate::error::{Error, Kind, Result};
use crate::host::clock::Deadline;
use crate::host::files;
use crate::pg::conn::{ConnSettings, Host, Session};
use crate::pg::control::{self, ClusterState, ControlData};
use crate::pg::facts::{self, ServerFacts};
use crate::pg::history::History;
use crate::pg::lsn::{Lsn, Timeline};
use crate::pg::server::{DataDirectory, Postmaster};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

/// What was seen of the data directory before the primary was asked.
#[derive(Debug)]
pub struct Seen {
    /// The data directory.
    pub data: DataDirectory,
    /// Its control file.
    pub control: ControlData,
    /// The server's own word, if it runs and answers.
    pub facts: Option<ServerFacts>,
    /// Whether it runs.
    pub running: bool,
}

/// How much of two logs is compared at each end of their shared part.
const WINDOW: u64 = 16 * 1024;
/// A standby that has lost its connection tries again within this, usually.
const SETTLE: Duration = Duration::from_secs(3);

/// Returns the connection to the server of a postmaster, by its own socket.
pub fn local_conn(template: &ConnSettings, postmaster: &Postmaster) -> ConnSettings {
    let mut conn = template.clone();
    if let Some(folder) = &postmaster.socket_dir {
        conn.host = Host::Unix(folder.clone(), postmaster.port);
    }
    conn
}

/// Looks at a data directory that isn't empty.
pub fn look(place: &Place, tools: &Tools, local: &ConnSettings, deadline: Deadline) -> Result<Seen> {
    let not_ours = |error: Error| match error.kind() {
        Kind::Config => error.with_kind(Kind::Refused),
        _ => error,
    };
    let data = DataDirectory::open(place.data()).map_err(not_ours)?;
    let postmaster = data.postmaster()?;
    let orphans = if postmaster.is_none() { data.processes()? } else { Vec::new() };
    if !orphans.is_empty() {
        return Err(Error::refused("processes of the former server are still alive")
            .detail(format!("{orphans:?}"))
            .hint("is another rebuild, or a single-user server, at work here?"));
    }
    let facts = postmaster.as_ref().and_then(|postmaster| {
        let conn = local_conn(local, postmaster);
        let until = deadline.within(Duration::from_secs(5));
        let mut session = Session::connect(&conn, until).ok()?;
        facts::observe(&mut session, until).ok()
    });
    let control = control::read(&tools.bin_dir, data.path(), deadline).map_err(|error| {
        error.with_kind(Kind::Refused).hint("is it damaged? move the folder away to copy the primary here")
    })?;
    Ok(Seen { data, control, facts, running: postmaster.is_some() })
}

/// Puts together what the decision needs, with the primary's log as a measure.
pub fn target(
    seen: &Seen,
    tools: &Tools,
    server: &mut SourceServer,
    source: &Source,
    node: &str,
    deadline: Deadline,
) -> Result<Target> {
    let control = &seen.control;
    let data = seen.data.path();
    let pg_wal = data.join("pg_wal");
    let label = files::read_optional(&data.join("backup_label"), 64 * 1024)?
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let (role, state, timeline, end) = if seen.running {
        running(seen, server, source, node, deadline)?
    } else {
        let role = if control.state.is_standby() || label.is_some() { Role::Standby } else { Role::Primary };
        let state = if control.state.is_clean() { State::Clean } else { State::Crashed };
        let (timeline, end) = stopped(control, label.as_deref(), &pg_wal, tools, deadline)?;
        (role, state, timeline, end)
    };
    let history = seen.data.history(timeline)?;
    let lacks = source.oldest_segment.is_some_and(|oldest| oldest > segment(end, source.segment_size));
    let readable = if seen.running || !lacks {
        end
    } else {
        readable(&pg_wal, tools, source, (timeline, end), deadline)?
    };
    let shared = match source.history.fork_of(timeline) {
        Some(fork) => Some(readable.min(fork)),
        None if timeline == source.timeline => Some(readable.min(source.end)),
        None => None,
    };
    let log = match shared {
        Some(until) => {
            let begin = history.as_ref().and_then(History::parent).map_or(Lsn::ZERO, |fork| fork.at);
            compare(&pg_wal, server, source, timeline, (begin, until), deadline)?
        }
        None => LogComparison::Unknown,
    };
    let oldest_segment = segments(&pg_wal, control.wal_segment_size).map(|(_, number)| number).min();
    Ok(Target::Data(Box::new(Data {
        role,
        state,
        system_id: control.system_id,
        major: seen.data.version(),
        timeline,
        end,
        readable,
        history,
        epoch: seen
            .facts
            .as_ref()
            .and_then(|facts| facts.epoch.as_ref())
            .map(|epoch| Promotion { term: epoch.term, id: epoch.promotion_id }),
        can_rewind: control.can_rewind(),
        log,
        oldest_segment,
        tablespaces: place::tablespaces(data),
        restore_command: restore_command(seen),
    })))
}

/// A running server: its own word, or as much as the control file says when it doesn't answer.
fn running(
    seen: &Seen,
    server: &mut SourceServer,
    source: &Source,
    node: &str,
    deadline: Deadline,
) -> Result<(Role, State, Timeline, Lsn)> {
    let control = &seen.control;
    let Some(facts) = &seen.facts else {
        let standby = control.state == ClusterState::InArchiveRecovery
            || (seen.data.has_standby_signal() && control.state.is_standby());
        let role = if standby { Role::Standby } else { Role::Primary };
        let end = control.min_recovery_end.unwrap_or(control.checkpoint);
        return Ok((role, State::Running, control.min_recovery_timeline.unwrap_or(control.timeline), end));
    };
    let timeline = facts.timeline.unwrap_or(control.timeline);
    let end = facts.end().unwrap_or(control.checkpoint);
    if !facts.in_recovery {
        return Ok((Role::Primary, State::Running, timeline, end));
    }
    let streams = streams(facts, &server.facts(deadline)?, source.timeline, node);
    let state = if streams { State::Streaming } else { State::Running };
    Ok((Role::Standby, state, timeline, end))
}

/// Returns whether a standby streams from a primary on its timeline, as both of them see it.
pub fn streams(standby: &ServerFacts, primary: &ServerFacts, timeline: Timeline, node: &str) -> bool {
    let receives = standby.receiver.as_ref().is_some_and(|receiver| {
        receiver.status.as_deref() == Some("streaming") && receiver.received_timeline == Some(timeline)
    });
    let sent = primary.replication.iter().any(|row| {
        row.application_name == node
            && row.state.as_deref() == Some("streaming")
            && row.replay <= row.sent
            && row.flush <= row.sent
    });
    receives && sent && standby.in_recovery
}

/// Looks again for a moment at a standby that doesn't stream: it may just be connecting.
pub fn settle(seen: &mut Seen, local: &ConnSettings, deadline: Deadline) {
    let until = deadline.within(SETTLE);
    let waits = |facts: &ServerFacts| {
        let status = facts.receiver.as_ref().and_then(|receiver| receiver.status.as_deref());
        facts.in_recovery && status != Some("streaming")
    };
    while seen.facts.as_ref().is_some_and(waits) && !until.passed() {
        super::tools::pause(Duration::from_millis(100));
        let Ok(Some(postmaster)) = seen.data.postmaster() else { return };
        let conn = local_conn(local, &postmaster);
        let again =
            Session::connect(&conn, until).and_then(|mut session| facts::observe(&mut session, until));
        if let Ok(facts) = again {
            seen.facts = Some(facts);
        }
    }
}

/// A stopped server: where what is on its disk ends, and on which timeline.
fn stopped(
    control: &ControlData,
    label: Option<&str>,
    pg_wal: &Path,
    tools: &Tools,
    deadline: Deadline,
) -> Result<(Timeline, Lsn)> {
    let size = control.wal_segment_size;
    // No page on a standby's disk is newer than this position; the server sees to it.
    if control.state.is_standby()
        && let (Some(end), Some(timeline)) = (control.min_recovery_end, control.min_recovery_timeline)
    {
        return Ok((timeline, end));
    }
    if let Some(label) = label {
        let value = |name: &str| label.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let at = value("START WAL LOCATION:").and_then(|text| text.split(' ').next()?.parse().ok());
        let timeline = value("START TIMELINE:").and_then(|text| text.parse().ok());
        return Ok((timeline.unwrap_or(control.timeline), at.unwrap_or(control.checkpoint)));
    }
    if control.state.is_clean() {
        let end = record_length(pg_wal, control.timeline, control.checkpoint, size)
            .and_then(|length| wal::record_end(control.checkpoint, length, size));
        return Ok((control.timeline, end.unwrap_or(control.checkpoint)));
    }
    // A primary that crashed right after its promotion has the old timeline in its control file.
    let redo = segment(control.redo, size);
    let timeline = segments(pg_wal, size)
        .filter(|(timeline, number)| *number >= redo && pg_wal.join(timeline.history_file_name()).exists())
        .map(|(timeline, _)| timeline)
        .chain([control.timeline])
        .max()
        .unwrap_or(control.timeline);
    let from = if timeline == control.timeline {
        control.redo
    } else {
        let text = files::read_optional(&pg_wal.join(timeline.history_file_name()), 1 << 20)?;
        let text = text.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let parent = History::parse(timeline, &text).ok().and_then(|history| Some(history.parent()?.at));
        parent.unwrap_or(control.redo)
    };
    let mut end = from;
    let mut command = tools.command("pg_waldump");
    command.arg("-p").arg(pg_wal).args(["-t", &timeline.to_string(), "-s", &from.to_string()]);
    // It always ends with an error: the log has no end but the first bytes that aren't a record.
    tools.run(command, deadline, &mut |line, _| {
        if let Some(record) = wal::parse_record(line) {
            end = wal::record_end(record.at, record.length, size).unwrap_or(record.at);
        }
    })?;
    Ok((timeline, end))
}

/// Follows the log that is here along the primary's history; returns where it ends.
///
/// A standby's pages lag behind what it has received: its slot lets the primary throw away what only this log still has.
fn readable(
    pg_wal: &Path,
    tools: &Tools,
    source: &Source,
    (mut timeline, mut at): (Timeline, Lsn),
    deadline: Deadline,
) -> Result<Lsn> {
    let size = source.segment_size;
    loop {
        let fork = source.history.fork_of(timeline);
        let mut command = tools.command("pg_waldump");
        command.arg("-p").arg(pg_wal).args(["-t", &timeline.to_string(), "-s", &at.to_string()]);
        command.args(fork.iter().flat_map(|fork| ["-e".to_owned(), fork.to_string()]));
        tools.run(command, deadline, &mut |line, _| {
            if let Some(record) = wal::parse_record(line) {
                at = at.max(wal::next_record(&record, size).unwrap_or(record.at));
            }
        })?;
        let next = source.history.forks().iter().map(|fork| fork.parent).chain([source.timeline]);
        match (fork, next.filter(|next| *next > timeline).min()) {
            (Some(fork), Some(next)) if at >= fork => (timeline, at) = (next, fork),
            _ => return Ok(at),
        }
    }
}

fn record_length(pg_wal: &Path, timeline: Timeline, at: Lsn, size: u64) -> Option<u32> {
    let file = File::open(pg_wal.join(wal::segment_name(timeline, at, size))).ok()?;
    let mut length = [0; 4];
    file.read_exact_at(&mut length, at.0.checked_rem(size)?).ok()?;
    // A record has at least its header; a length of nonsense would be an end of nonsense.
    Some(u32::from_ne_bytes(length)).filter(|length| (24..4096).contains(length))
}

/// Returns the segments in a `pg_wal`: timeline and number.
pub fn segments(pg_wal: &Path, size: u64) -> impl Iterator<Item = (Timeline, u64)> {
    let entries = std::fs::read_dir(pg_wal).ok().into_iter().flatten();
    entries.filter_map(move |entry| wal::parse_segment(entry.ok()?.file_name().to_str()?, size))
}

/// Compares the first and the last bytes of what two logs should share on a timeline.
fn compare(
    pg_wal: &Path,
    server: &mut SourceServer,
    source: &Source,
    timeline: Timeline,
    (begin, until): (Lsn, Lsn),
    deadline: Deadline,
) -> Result<LogComparison> {
    if until <= begin {
        // Nothing of this timeline is here yet.
        return Ok(LogComparison::Unknown);
    }
    let size = source.segment_size;
    let start_of = |at: u64| at.checked_div(size).and_then(|number| number.checked_mul(size)).unwrap_or(0);
    let last = until.0.saturating_sub(1);
    let tail = (begin.0.max(start_of(last)).max(until.0.saturating_sub(WINDOW)), until.0);
    let head_end = start_of(begin.0).saturating_add(size).min(until.0).min(begin.0.saturating_add(WINDOW));
    let mut result = LogComparison::Unknown;
    for (from, to) in [tail, (begin.0, head_end)] {
        let length = to.saturating_sub(from);
        if from == 0 || length == 0 {
            continue;
        }
        let offset = from.saturating_sub(start_of(from));
        let Some(mine) = local_bytes(pg_wal, timeline, Lsn(from), (offset, length), size) else { continue };
        // The primary may have the bytes in the segment with which its next timeline begins.
        let later = source.history.forks().iter().map(|fork| fork.parent).chain([source.timeline]);
        for name in later.filter(|later| *later >= timeline) {
            let name = wal::segment_name(name, Lsn(from), size);
            let theirs = server.wal_bytes(&name, offset, length, deadline)?;
            let Some(theirs) = theirs.filter(|theirs| theirs.len() == mine.len()) else { continue };
            if theirs != mine {
                return Ok(LogComparison::Differs);
            }
            result = LogComparison::Same;
            break;
        }
    }
    Ok(result)
}

fn local_bytes(
    pg_wal: &Path,
    timeline: Timeline,
    from: Lsn,
    (offset, length): (u64, u64),
    size: u64,
) -> Option<Vec<u8>> {
    let file = File::open(pg_wal.join(wal::segment_name(timeline, from, size))).ok()?;
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    file.read_exact_at(&mut bytes, offset).ok()?;
    Some(bytes)
}

fn restore_command(seen: &Seen) -> bool {
    if let Some(facts) = &seen.facts {
        return facts.restore_command.as_deref().is_some_and(|command| !command.is_empty());
    }
    ["postgresql.auto.conf", "postgresql.conf"].iter().any(|name| {
        let bytes = files::read_optional(&seen.data.path().join(name), 1 << 20).ok().flatten();
        let text = bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        conf::setting(&text, "restore_command").is_some_and(|command| !command.is_empty())
    })
}
