//! Promotion, once it has been decided: the request, the wait, and what has to be written right after it.
//!
//! Nothing here asks whether promoting is right: that is `gates` and the promotion room. Each function may be run
//! again after a kill at any point, and says whether it changed anything.
//!
//! **How the wait is kept short.** `pg_promote(true)` and `pg_ctl promote` look every 100 ms; here it's every
//! millisecond. And when the request arrives in the instant in which the startup process has just asked for a new WAL
//! receiver, it sleeps out `wal_retrieve_retry_interval` (5 s by default) *after* having seen the request. A reload
//! wakes it (SIGHUP sets its latch), so that is sent when the server isn't writable after a few milliseconds;
//! no setting has to be changed and put back.

use super::conn::{ConnError, Session};
use super::epoch::{self, Epoch};
use super::lsn::{Lsn, Timeline};
use super::setting::{self, Saved};
use super::sql::text_array;
use crate::error::{Error, Kind, Result};
use crate::host::clock::{Deadline, now, pause};
use std::time::Duration;

/// What a promotion came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promoted {
    /// The timeline the server writes now.
    pub timeline: Timeline,
    /// Where that timeline begins; `None` when the server was a primary already (its history file tells).
    pub start_lsn: Option<Lsn>,
    /// The end of the log when the server was found writable.
    pub lsn: Lsn,
    /// From the request to the first answer that says writable; zero when it was a primary already.
    pub took: Duration,
    /// How often the startup process had to be woken.
    pub nudges: u32,
    /// Whether this call promoted it; false when it was a primary already.
    pub changed: bool,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// A point in the course of a promotion, for progress and measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The server has taken the request.
    Requested,
    /// The server is still replaying: the end of what it has replayed.
    Replaying(Option<Lsn>),
    /// The server is writable.
    Writable,
}

/// The first wake-up: later than an undisturbed promotion's usual wait for its startup process.
const FIRST_NUDGE: Duration = Duration::from_millis(8);
/// A server with much to replay isn't reloaded more often than this.
const LONGEST_NUDGE: Duration = Duration::from_secs(1);
/// How often the server is asked whether it is writable.
const POLL: Duration = Duration::from_millis(1);

/// Promotes the server and waits until it is writable, on a timeline it wasn't on before.
///
/// When `within` passes, the error is [`Kind::TryAgain`]: a promotion can't be taken back and the server may finish
/// it at any time. Never treat that as "not promoted".
pub fn promote(session: &mut Session, within: Deadline, observer: &mut dyn FnMut(Stage)) -> Result<Promoted> {
    let before = look(session, within).map_err(|error| unanswered(error, false))?;
    if !before.in_recovery {
        return finish(&before, None, Duration::ZERO, 0, Vec::new());
    }
    let begin = now();
    match session.query("SELECT pg_promote(false)", within) {
        Ok(rows) if rows.first().is_some_and(|row| row.is_true(0)) => observer(Stage::Requested),
        Ok(_) => return Err(Error::failed("the server couldn't pass the promotion request on")),
        // "recovery is not in progress": somebody else's promotion has just ended.
        Err(error) if error.sqlstate() == Some("55000") => {}
        Err(error) => return Err(unanswered(error, true)),
    }
    let mut warnings = Vec::new();
    let mut nudges = 0;
    let mut step = FIRST_NUDGE;
    let mut nudge_at = Some(begin + step);
    loop {
        let state = look(session, within).map_err(|error| unanswered(error, true))?;
        if !state.in_recovery {
            observer(Stage::Writable);
            return finish(&state, Some(&before), now().since(begin), nudges, warnings);
        }
        observer(Stage::Replaying(state.replayed));
        if within.passed() {
            return Err(
                not_finished().detail(format!("replayed up to {}", state.replayed.unwrap_or_default()))
            );
        }
        if nudge_at.is_some_and(|at| now() >= at) {
            match setting::reload(session, within) {
                Ok(()) => {
                    nudges += 1;
                    step = step.saturating_mul(2).min(LONGEST_NUDGE);
                    nudge_at = Some(now() + step);
                }
                Err(error) if error.outcome_unknown() => return Err(unanswered(error, true)),
                Err(error) => {
                    warnings.push(format!("the promotion can't be hurried: {error}"));
                    nudge_at = None;
                }
            }
        }
        pause(POLL);
    }
}

/// What the loop needs to know, in one cheap statement.
struct State {
    in_recovery: bool,
    timeline: Option<Timeline>,
    replayed: Option<Lsn>,
    end: Option<Lsn>,
}

fn look(session: &mut Session, deadline: Deadline) -> Result<State, ConnError> {
    // OFFSET 0 keeps the role to one evaluation; it can change from one call to the next.
    const SQL: &str = "SELECT r.standby, CASE WHEN r.standby THEN greatest(\
        (SELECT received_tli FROM pg_stat_get_wal_receiver()), \
        (SELECT nullif(min_recovery_end_timeline, 0) FROM pg_control_recovery()), \
        (SELECT timeline_id FROM pg_control_checkpoint()))::int8 \
        ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int8 END, \
        pg_last_wal_replay_lsn(), CASE WHEN NOT r.standby THEN pg_current_wal_lsn() END \
        FROM (SELECT pg_is_in_recovery() AS standby OFFSET 0) AS r";
    let rows = session.query(SQL, deadline)?;
    let row = rows.first();
    let text = |column| row.and_then(|row| row.get(column));
    let lsn = |column| text(column).and_then(|text| text.parse().ok());
    Ok(State {
        // No row, no promotion: an answer that isn't understood must not look like a primary.
        in_recovery: text(0) != Some("f"),
        timeline: text(1).and_then(|text| text.parse().ok()),
        replayed: lsn(2),
        end: lsn(3),
    })
}

fn finish(
    state: &State,
    before: Option<&State>,
    took: Duration,
    nudges: u32,
    warnings: Vec<String>,
) -> Result<Promoted> {
    let (Some(timeline), Some(lsn)) = (state.timeline, state.end) else {
        return Err(Error::failed("the server is a primary but doesn't tell its timeline"));
    };
    if let Some(old) = before.and_then(|before| before.timeline)
        && timeline <= old
    {
        // A standby that lost its standby.signal and was started again is "promoted" without a new timeline.
        return Err(Error::failed("the server is writable but its timeline isn't new")
            .detail(format!("timeline {timeline}, before {old}"))
            .hint("was standby.signal removed by hand? then rebuild the other nodes from this one"));
    }
    // The last replayed position stays known after the promotion; it is where the new timeline forks off. After a
    // crash recovery there is one too, so it means that only when the promotion was seen.
    let start_lsn = before.and(state.replayed).filter(|lsn| !lsn.is_zero());
    Ok(Promoted { timeline, start_lsn, lsn, took, nudges, changed: before.is_some(), warnings })
}

fn not_finished() -> Error {
    Error::new(Kind::TryAgain, "promotion not finished yet; the server may still finish it")
        .hint("pgbaton cluster status")
        .hint("is restore_command waiting for an archive that is gone?")
}

/// Turns an error of a call into one that says what it means for the promotion.
fn unanswered(error: ConnError, requested: bool) -> Error {
    match (&error, requested) {
        (ConnError::Timeout(_), true) => not_finished().detail(&error),
        (ConnError::Lost(_), true) => Error::new(
            Kind::TryAgain,
            "the connection was lost during the promotion; the server may still finish it",
        )
        .detail(&error)
        .hint("pgbaton cluster status"),
        _ => error.into(),
    }
}

/// `unique_violation`, `duplicate_schema`, `duplicate_table`.
const MADE_MEANWHILE: [&str; 3] = ["23505", "42P06", "42P07"];

/// Whether the epoch row was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// This call wrote it.
    Written,
    /// An earlier run of the same promotion wrote it; it is acknowledged now in any case.
    Unchanged,
}

/// Writes the epoch row, and the table before it when it's missing; returns when the commit is acknowledged under the
/// synchronous names in force.
///
/// Another promotion's row in its place is [`Kind::Refused`]. When the deadline passes the row may be there
/// already, unacknowledged: running it again with the same epoch finishes the work.
pub fn record_epoch(session: &mut Session, epoch: &Epoch, deadline: Deadline) -> Result<Recorded> {
    let late = |error: ConnError| match error {
        ConnError::Timeout(_) => {
            Error::new(Kind::TryAgain, "the epoch isn't acknowledged yet; the row may already be here")
                .detail(error)
                .hint("does a standby of synchronous_standby_names stream from this server?")
        }
        ConnError::NotReplicated(_) => {
            Error::new(Kind::TryAgain, "the wait for the epoch's acknowledgement was cancelled").detail(error)
        }
        other => other.into(),
    };
    let there = session.query("SELECT to_regclass('pgbaton.epoch') IS NOT NULL", deadline).map_err(late)?;
    let schema = if there.first().is_some_and(|row| row.is_true(0)) { "" } else { epoch::SCHEMA };
    // One string is one transaction. The role's own default may be less than `on`, and that acknowledges nothing.
    let sql = format!(
        "{schema} SELECT set_config('synchronous_commit', CASE WHEN current_setting('synchronous_commit') \
         IN ('on', 'remote_apply') THEN current_setting('synchronous_commit') ELSE 'on' END, true); {}",
        epoch.upsert()
    );
    let rows = match session.query(sql.as_str(), deadline) {
        // "IF NOT EXISTS" doesn't see what a killed run's statement is making at this moment; the second look does.
        Err(error) if error.sqlstate().is_some_and(|state| MADE_MEANWHILE.contains(&state)) => {
            session.query(sql, deadline).map_err(late)?
        }
        other => other.map_err(late)?,
    };
    match rows.get(1) {
        Some(row) if row.is_true(0) => Ok(Recorded::Written),
        Some(_) => Ok(Recorded::Unchanged),
        None => Err(Error::refused(format!(
            "term {} (change {}) is another promotion's",
            epoch.term, epoch.change
        ))
        .hint("pgbaton cluster status")),
    }
}

/// Makes sure that a physical replication slot of each name exists, and returns the names of the new ones.
///
/// Slots aren't copied to standbys: without them, the new primary may drop WAL that another node still needs. On a primary
/// a slot keeps WAL from now on, before its node connects; on a standby it keeps nothing until then.
pub fn ensure_slots(session: &mut Session, names: &[&str], deadline: Deadline) -> Result<Vec<String>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    drop_slots(session, names, "NOT pg_is_in_recovery() AND restart_lsn IS NULL", deadline)?;
    let sql = format!(
        "SELECT (pg_create_physical_replication_slot(n, NOT pg_is_in_recovery())).slot_name FROM unnest({}) AS n \
         WHERE NOT EXISTS (SELECT 1 FROM pg_replication_slots WHERE slot_name = n AND slot_type = 'physical')",
        text_array(names)
    );
    let rows = match session.query(sql.as_str(), deadline) {
        // Made by somebody else in between; or a logical one has the name, which the second try says.
        Err(error) if error.sqlstate() == Some("42710") => session.query(sql, deadline)?,
        other => other?,
    };
    Ok(rows.iter().filter_map(|row| row.get(0)).map(str::to_owned).collect())
}

/// Has the slots ready that a standby will need as a primary, none of them keeping WAL: what is left of a time as the
/// primary would keep it for ever.
pub fn prepare_slots(session: &mut Session, names: &[&str], deadline: Deadline) -> Result<Vec<String>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    drop_slots(session, names, "pg_is_in_recovery() AND restart_lsn IS NOT NULL", deadline)?;
    ensure_slots(session, names, deadline)
}

fn drop_slots(session: &mut Session, names: &[&str], which: &str, deadline: Deadline) -> Result<()> {
    let sql = format!(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots \
         WHERE slot_name = ANY ({}) AND slot_type = 'physical' AND NOT active AND {which}",
        text_array(names)
    );
    match session.query(sql, deadline) {
        // Its node has connected in between, or somebody else has dropped it.
        Err(error) if matches!(error.sqlstate(), Some("55006" | "42704")) => Ok(()),
        other => Ok(other.map(drop)?),
    }
}

/// Makes a checkpoint, so that the control file shows the new timeline (`pg_rewind` reads it from there).
pub fn checkpoint(session: &mut Session, deadline: Deadline) -> Result<()> {
    // It may take minutes on a busy server; the caller's deadline is the only bound.
    session.execute("SET statement_timeout = 0", deadline)?;
    let done = session.execute("CHECKPOINT", deadline).map(drop);
    if done.is_ok() {
        session.execute("RESET statement_timeout", deadline)?;
    }
    Ok(done?)
}

/// Looks whether `restore_command` can be taken away for the time of a promotion, which would wait for it three times.
///
/// `None` when it isn't set, or the server is older than 14 and takes a restart. Store what is returned, then
/// [`suspend_restore_command`]; put it back with [`setting::put_back`]. Only for a standby that streams or has
/// streamed everything: what only the archive holds is out of reach meanwhile, history files of other
/// promotions among it.
pub fn restore_command_to_suspend(session: &mut Session, deadline: Deadline) -> Result<Option<Saved>> {
    let sql = "SELECT current_setting('restore_command') <> '' \
               AND current_setting('server_version_num')::int4 >= 140000";
    let set = session.query(sql, deadline)?.first().is_some_and(|row| row.is_true(0));
    Ok(if set { Some(setting::look(session, "restore_command", deadline)?) } else { None })
}

/// Takes `restore_command` away until [`setting::put_back`].
pub fn suspend_restore_command(session: &mut Session, saved: &Saved, deadline: Deadline) -> Result<()> {
    Ok(setting::set(session, &saved.name, "", deadline)?)
}
