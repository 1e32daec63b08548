//! One promotion at a time where nobody votes: two standbys that both lost their primary must not both be promoted.
//!
//! Each says on its own server that it stands, and looks at the others' servers after that: of two, at least one sees the
//! other. What says so is an advisory lock of the very session that promotes. It ends with that session, so that
//! a candidate that dies blocks nobody; one whose machine is frozen loses the session to the server
//! (`idle_session_timeout`, 14 and newer), and can't go on with it when it wakes.

use super::conn::{ConnError, Session};
use super::peers::Peer;
use crate::error::{Error, Kind, Result};
use crate::host::clock::{Deadline, pause};
use std::sync::Arc;
use std::time::Duration;

/// The key of the lock.
const KEY: i64 = 0x7067_6261_746f_6e02;
/// How often a candidate that goes first looks whether the other one has made way.
const LOOK: Duration = Duration::from_millis(5);
/// How long it waits for that: the other one may have been before it, and is being promoted.
const WAIT: Duration = Duration::from_secs(5);
/// How long the session may be idle while it holds the lock.
const IDLE: Duration = Duration::from_secs(10);

/// Another standby that may be promoted.
#[derive(Debug, Clone)]
pub struct Rival {
    /// It.
    pub peer: Arc<Peer>,
    /// Whether it goes first when both stand.
    pub first: bool,
}

/// The condition that names the lock in `pg_locks`.
fn held() -> String {
    let (high, low) = (KEY >> 32, KEY & 0xffff_ffff);
    format!(
        "EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid::int8 = {high} AND objid::int8 = {low} \
         AND objsubid = 1 AND granted"
    )
}

fn idle_timeout(most: u128) -> String {
    format!(
        "(SELECT set_config('idle_session_timeout', '{most}', false) \
         WHERE current_setting('server_version_num')::int4 >= 140000)"
    )
}

/// Stands for promotion on this session, and returns once none of the rivals does.
///
/// # Errors
/// When a rival is a primary by now, goes first, or can't be asked: then this node doesn't stand any more.
pub fn stand(session: &mut Session, rivals: &[Rival], deadline: Deadline) -> Result<String> {
    let sql = format!("SELECT pg_try_advisory_lock({KEY}), {}", idle_timeout(IDLE.as_millis()));
    let rows = session.query(sql, deadline)?;
    if !rows.first().is_some_and(|row| row.is_true(0)) {
        return Err(Error::new(Kind::TryAgain, "this node is being promoted by another run")
            .hint("wait for its end, then: pgbaton cluster status"));
    }
    let until = deadline.within(WAIT);
    let result = rivals.iter().try_for_each(|rival| clear(rival, until));
    if let Err(error) = result {
        // A session that is lost has given the lock back by itself.
        withdraw(session, deadline).unwrap_or_default();
        return Err(error);
    }
    let names: Vec<&str> = rivals.iter().map(|rival| rival.peer.name.as_str()).collect();
    Ok(format!("{} doesn't stand", names.join(", ")))
}

/// Waits until a rival doesn't stand.
fn clear(rival: &Rival, until: Deadline) -> Result<()> {
    let name = &rival.peer.name;
    loop {
        let sql = format!("SELECT pg_is_in_recovery(), {})", held());
        let asked = rival.peer.with_session(until, |session| session.query(sql.as_str(), until));
        let rows = asked.map_err(|error| {
            Error::new(Kind::TryAgain, format!("can't ask {name} whether it is being promoted")).detail(error)
        })?;
        let is = |column| rows.first().is_some_and(|row| row.is_true(column));
        if !is(0) {
            return Err(Error::refused(format!("{name} has been promoted")).hint("pgbaton cluster status"));
        }
        if !is(1) {
            return Ok(());
        }
        if rival.first || until.passed() {
            return Err(Error::new(Kind::TryAgain, format!("{name} is being promoted"))
                .hint("pgbaton cluster status"));
        }
        pause(LOOK);
    }
}

/// Returns whether this session still stands.
pub fn stands(session: &mut Session, deadline: Deadline) -> Result<bool, ConnError> {
    let rows = session.query(format!("SELECT {} AND pid = pg_backend_pid())", held()), deadline)?;
    Ok(rows.first().is_some_and(|row| row.is_true(0)))
}

/// Stands no more.
pub fn withdraw(session: &mut Session, deadline: Deadline) -> Result<(), ConnError> {
    session.query(format!("SELECT pg_advisory_unlock({KEY}), {}", idle_timeout(0)), deadline).map(drop)
}
