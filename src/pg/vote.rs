//! A voter's register beside the server it fences: promises over plain SQL, with no agent on the other node.
//!
//! The register is one line of JSON in the custom setting `pgbaton.register`, written by `ALTER SYSTEM`, which works
//! on a hot standby too and is durable before it returns (`postgresql.auto.conf` is written anew, synced and renamed).
//! An advisory lock makes a compare-and-set of the several statements: `ALTER SYSTEM` may not stand in a
//! transaction. The custom name must be set in the session first, or the server doesn't know it.
//!
//! Order within a promise: register, then detach, then the answer. A voter that dies in between has promised and
//! is attached at most to a primary that the others have left.

use super::conn::{ConnError, Session};
use super::epoch::Epoch;
use super::lsn::Lsn;
use super::register::{self, LOCK, SETTING};
use super::sql::{ident, literal};
use crate::error::{Error, Kind};
use crate::host::clock::{Deadline, now, pause};
use crate::promotion::rules::{Ask, Configuration, Frozen, Refusal, Register, Standing, Vote};
use crate::rebuild::conf::ConnInfo;
use crate::units::Moment;
use std::time::Duration;

/// How often a detaching standby is looked at.
const POLL: Duration = Duration::from_micros(500);

/// How long the server at hand may take for a short answer, when the time for the work has gone by.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// How long a session may say nothing while it holds the register's lock.
const LOCKED_IDLE: Duration = Duration::from_secs(1);

/// Why a voter gave no vote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoVote {
    /// The rules forbid it.
    #[error("{0}")]
    Refused(Refusal),
    /// It couldn't be asked, or didn't answer in time: it may have promised all the same.
    #[error("{0}")]
    Silent(ConnError),
}

impl From<ConnError> for NoVote {
    fn from(error: ConnError) -> Self {
        Self::Silent(error)
    }
}

/// What a server's register and its surroundings are.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// The register.
    pub register: Register,
    /// Whether the server is a standby.
    pub in_recovery: bool,
    /// The upstream in the file; `None` when it is empty.
    pub upstream: Option<String>,
    /// The newest epoch row of its data.
    pub epoch: Option<Epoch>,
    /// The synchronous names in the file.
    pub names: String,
}

impl Stored {
    /// Returns whether it is a standby that no promise keeps from streaming.
    pub fn is_free(&self, voter: &str) -> bool {
        self.in_recovery && self.register.resolved(&self.standing(voter))
    }

    fn standing(&self, voter: &str) -> Standing {
        Standing {
            voter: voter.to_owned(),
            primary: !self.in_recovery,
            log: self.epoch.as_ref().map(Configuration::from),
        }
    }
}

/// Reads a register and what decides with it. What the *file* holds counts: the server may not have read it yet.
pub fn read(session: &mut Session, deadline: Deadline) -> Result<Stored, ConnError> {
    let file = |name: &str| {
        format!(
            "coalesce((SELECT setting FROM pg_show_all_file_settings() WHERE lower(name) = {} \
             ORDER BY seqno DESC LIMIT 1), '')",
            literal(name)
        )
    };
    let rows = session.query(
        format!(
            "SELECT {}, pg_is_in_recovery(), {}, {}",
            file(SETTING),
            file("primary_conninfo"),
            file("synchronous_standby_names")
        ),
        deadline,
    )?;
    let text = |column| rows.first().and_then(|row| row.get(column)).unwrap_or_default().to_owned();
    let upstream = Some(text(2)).filter(|upstream| !upstream.is_empty());
    Ok(Stored {
        register: register::parse(&text(0)).map_err(|error| {
            ConnError::Other("XX001".to_owned(), format!("{SETTING} can't be read: {error}"))
        })?,
        in_recovery: text(1) != "f",
        upstream,
        epoch: super::facts::newest_epoch(session, deadline)?,
        names: text(3),
    })
}

/// Asks a standby to promise a term, and returns its vote once it is frozen (rules 1 and 2): its receiver is gone
/// and all it has received is replayed.
pub fn promise(session: &mut Session, voter: &str, ask: &Ask, deadline: Deadline) -> Result<Vote, NoVote> {
    let register = engage(session, voter, ask, deadline)?;
    let data = frozen(session, deadline)?;
    Ok(Vote { voter: voter.to_owned(), data: Some(data), record: register.record })
}

/// Has a standby promise a term and let go of its primary, without waiting until it is [`frozen`]; returns its register.
pub fn engage(session: &mut Session, voter: &str, ask: &Ask, deadline: Deadline) -> Result<Register, NoVote> {
    engage_by(session, voter, |register, standing| register.promise(ask, standing), deadline)
}

/// Promises a term to this node itself although it has promised another, because an operator says so; as [`engage`].
pub fn force(session: &mut Session, voter: &str, ask: &Ask, deadline: Deadline) -> Result<Register, NoVote> {
    engage_by(session, voter, |register, standing| register.force(ask, standing), deadline)
}

fn engage_by(
    session: &mut Session,
    voter: &str,
    rule: impl FnOnce(&Register, &Standing) -> Result<Register, Refusal>,
    deadline: Deadline,
) -> Result<Register, NoVote> {
    locked(session, deadline, |session| {
        let stored = read(session, deadline)?;
        let mut register = rule(&stored.register, &stored.standing(voter)).map_err(NoVote::Refused)?;
        if let Some(upstream) = &stored.upstream {
            register.upstream = Some(without_password(upstream));
        }
        if register != stored.register {
            write(session, &register, deadline)?;
        }
        if stored.upstream.is_some() {
            alter(session, "primary_conninfo", "", deadline)?;
        }
        super::setting::reload(session, deadline)?;
        Ok(register)
    })
}

/// Waits until a detached standby's receiver is gone and everything it received is replayed; returns what it holds.
///
/// What was received may end within a record: the sender cuts long stretches at the end of a page. Replay never gets there,
/// and isn't waited for once it has looked again and again, and waits ([`Stuck`]; to see that takes `pg_monitor`).
pub fn frozen(session: &mut Session, deadline: Deadline) -> Result<Frozen, ConnError> {
    // The receiver's own function shows its process id to every role, the view hides nothing more of it. Replay may
    // stand behind: the epoch of what isn't replayed can't be read.
    const SQL: &str = "SELECT (SELECT pid FROM pg_stat_get_wal_receiver()) IS NULL, \
        greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), \
        coalesce(pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn(), true), pg_last_wal_replay_lsn(), \
        pg_wal_lsn_diff(pg_last_wal_receive_lsn(), '0/0') % current_setting('wal_block_size')::int4 = 0, \
        (SELECT coalesce(wait_event, '') = 'RecoveryRetrieveRetryInterval' FROM pg_stat_activity WHERE backend_type = 'startup')";
    // Gone once may be the moment between two receivers; gone twice, with the same end, is gone.
    let mut before: Option<Lsn> = None;
    let mut stuck = Stuck::default();
    loop {
        let rows = session.query(SQL, deadline)?;
        let row = rows.first();
        let is = |column| row.is_some_and(|row| row.is_true(column));
        let lsn = |column| row.and_then(|row| row.get(column)).and_then(|text| text.parse().ok());
        let end: Lsn = lsn(1).unwrap_or_default();
        let cut = is(0) && !is(2) && is(4);
        if stuck.look(cut.then(|| lsn(3).unwrap_or_default()), is(5), now()) {
            super::setting::reload(session, deadline)?;
        }
        let still = is(0) && (is(2) || (is(5) && stuck.is_certain(now())));
        if still && before == Some(end) {
            let epoch = super::facts::newest_epoch(session, deadline)?;
            return Ok(Frozen {
                epoch: epoch.as_ref().map(|epoch| epoch.term).unwrap_or_default(),
                end,
                configuration: epoch.as_ref().map(Configuration::from),
            });
        }
        before = still.then_some(end);
        if deadline.passed() {
            return Err(ConnError::Timeout("the standby, which is still receiving or replaying".to_owned()));
        }
        pause(POLL);
    }
}

/// Replay that stands still before the end of what was received, which is the end of a page.
///
/// The startup process may have something to read and not have run yet. It is woken again and again, and each time it
/// reads all that is there before it waits.
#[derive(Debug, Default)]
struct Stuck {
    /// Where it stands, since when, when it was woken last and how often.
    at: Option<(Lsn, Moment, Moment, u32)>,
}

impl Stuck {
    /// How often the startup process is woken.
    const WAKE: Duration = Duration::from_millis(20);
    /// How often it must have been woken in vain, and for how long it must have stood.
    const TIMES: u32 = 4;
    const STOOD: Duration = Duration::from_millis(100);

    /// Takes a look: where replay stands, if it stands before the end of a page, and whether the startup process waits.
    /// Returns whether to wake it; only one that waits is woken, and counted.
    fn look(&mut self, at: Option<Lsn>, waits: bool, now: Moment) -> bool {
        let known = self.at.filter(|(known, ..)| Some(*known) == at);
        let wake = waits && known.is_none_or(|(_, _, woken, _)| now.since(woken) >= Self::WAKE);
        self.at = match (at, known) {
            (None, _) => None,
            (Some(at), None) => Some((at, now, now, u32::from(wake))),
            (Some(_), Some((at, since, _, times))) if wake => Some((at, since, now, times + 1)),
            (Some(_), Some(known)) => Some(known),
        };
        wake && self.at.is_some()
    }

    /// Returns whether what follows can't be a whole record.
    fn is_certain(&self, now: Moment) -> bool {
        self.at.is_some_and(|(_, since, _, times)| times >= Self::TIMES && now.since(since) >= Self::STOOD)
    }
}

/// Attaches a standby to another server (rule 2): only when its register lets it, and when it isn't already.
///
/// `holder` is the node it shall follow, `host` and `port` where that is.
pub fn attach(
    session: &mut Session,
    holder: &str,
    host: &str,
    port: u16,
    deadline: Deadline,
) -> Result<bool, ConnError> {
    locked(session, deadline, |session| {
        let stored = read(session, deadline)?;
        if !stored.in_recovery {
            return Err(refused(format!("it is a primary: it can't follow {holder}")));
        }
        if let Some(allowed) = stored.register.upstream_of().filter(|allowed| *allowed != holder) {
            return Err(refused(format!("its register lets it follow {allowed} only, not {holder}")));
        }
        let known = stored.upstream.as_ref().or(stored.register.upstream.as_ref());
        let Some(conninfo) = known.and_then(|known| ConnInfo::parse(known)) else {
            return Err(refused("it has no primary_conninfo to go by".to_owned()));
        };
        let conninfo = led_to(conninfo, host, port);
        if stored.upstream.as_deref() == Some(conninfo.as_str()) {
            return Ok(false);
        }
        alter(session, "primary_conninfo", &conninfo, deadline)?;
        super::setting::reload(session, deadline)?;
        Ok(true)
    })
}

/// Makes a frozen candidate fetch what another frozen node has more: streams from it without leaving its promise, and
/// without a slot, which a standby keeps for nobody.
pub fn catch_up(
    session: &mut Session,
    host: &str,
    port: u16,
    until: Lsn,
    deadline: Deadline,
) -> Result<Frozen, ConnError> {
    const SLOT: &str = "primary_slot_name";
    let slot = session.query(format!("SHOW {SLOT}"), deadline)?;
    let slot = slot.first().and_then(|row| row.get(0)).unwrap_or_default().to_owned();
    let upstream = locked(session, deadline, |session| {
        let stored = read(session, deadline)?;
        let known = stored.register.upstream.as_ref().or(stored.upstream.as_ref());
        let Some(conninfo) = known.and_then(|known| ConnInfo::parse(known)) else {
            return Err(refused("it has no primary_conninfo to go by".to_owned()));
        };
        let conninfo = led_to(conninfo, host, port);
        if !slot.is_empty() {
            alter(session, SLOT, "", deadline)?;
        }
        alter(session, "primary_conninfo", &conninfo, deadline)?;
        super::setting::reload(session, deadline)?;
        Ok(())
    })
    .and_then(|()| {
        let sql = format!("SELECT pg_last_wal_receive_lsn() >= {}::pg_lsn", literal(&until.to_string()));
        loop {
            // The server answers at once: the deadline is the other one's, and the session is needed after it.
            let rows = session.query(sql.as_str(), deadline.max(Deadline::after(ANSWER_WITHIN)))?;
            if rows.first().is_some_and(|row| row.is_true(0)) {
                return Ok(());
            }
            if deadline.passed() {
                return Err(ConnError::Timeout(format!("{host}, which has more of the log")));
            }
            pause(POLL);
        }
    });
    // Detached again whatever came of it: only a frozen candidate may go on.
    let within = deadline.max(Deadline::after(ANSWER_WITHIN));
    locked(session, within, |session| {
        alter(session, "primary_conninfo", "", within)?;
        if !slot.is_empty() {
            alter(session, SLOT, &slot, within)?;
        }
        super::setting::reload(session, within)
    })?;
    upstream?;
    frozen(session, deadline)
}

/// Records that a term is confirmed, and whose acknowledgement counts in it.
pub fn confirm(
    session: &mut Session,
    configuration: &Configuration,
    deadline: Deadline,
) -> Result<bool, ConnError> {
    change(session, deadline, |register| Some(register.confirm(configuration)))
}

/// Records here that this node's term is confirmed, and that an operator's word stood in for the votes.
pub fn confirm_forced(
    session: &mut Session,
    configuration: &Configuration,
    deadline: Deadline,
) -> Result<bool, ConnError> {
    let forced = Some(configuration.term);
    change(session, deadline, |register| {
        Some(Register { forced, unfit: false, ..register.confirm(configuration) })
    })
}

/// Takes what another voter's register tells: a newer confirmed term, and what became of a promise to that voter
/// (rule 7). A standby that is free by it goes back to where it streamed from.
pub fn heard(
    session: &mut Session,
    from: &str,
    other: &Register,
    deadline: Deadline,
) -> Result<bool, ConnError> {
    change(session, deadline, |register| Some(register.heard(from, other)))
}

/// Records that a candidate gave its term up, and lets the standby go back (rule 7): to the node that its register names,
/// where `place_of` knows its host and port, or else to where it streamed from.
pub fn abandon(
    session: &mut Session,
    ask: &Ask,
    place_of: impl Fn(&str) -> Option<(String, u16)>,
    deadline: Deadline,
) -> Result<bool, ConnError> {
    locked(session, deadline, |session| {
        let stored = read(session, deadline)?;
        let register = stored.register.abandon(ask);
        if register == stored.register {
            return Ok(false);
        }
        write(session, &register, deadline)?;
        if let (true, None, Some(upstream)) = (stored.in_recovery, &stored.upstream, &register.upstream) {
            // Where it streamed from may be a standby itself by now.
            let place = register.upstream_of().and_then(place_of);
            let upstream = match (place, ConnInfo::parse(upstream)) {
                (Some((host, port)), Some(known)) => led_to(known, &host, port),
                _ => upstream.clone(),
            };
            alter(session, "primary_conninfo", &upstream, deadline)?;
        }
        super::setting::reload(session, deadline)?;
        Ok(true)
    })
}

/// Lets a standby whose promise is settled go back to where it streamed from: its candidate is gone without having
/// told it. False when there was nothing to do.
pub fn resume(session: &mut Session, voter: &str, deadline: Deadline) -> Result<bool, ConnError> {
    locked(session, deadline, |session| {
        let stored = read(session, deadline)?;
        if !stored.in_recovery
            || stored.upstream.is_some()
            || !stored.register.resolved(&stored.standing(voter))
        {
            return Ok(false);
        }
        let Some(upstream) = &stored.register.upstream else { return Ok(false) };
        alter(session, "primary_conninfo", upstream, deadline)?;
        super::setting::reload(session, deadline)?;
        Ok(true)
    })
}

/// Records a configuration before it is in the log (rule 9); false when the rules forbid it.
pub fn record(
    session: &mut Session,
    configuration: &Configuration,
    deadline: Deadline,
) -> Result<bool, ConnError> {
    change(session, deadline, |register| register.record(configuration))
}

/// Sets the synchronous names in the file and has the server read them. False when they are in force already.
pub fn set_names(session: &mut Session, names: &str, deadline: Deadline) -> Result<bool, ConnError> {
    let rows = session.query(
        "SELECT current_setting('synchronous_standby_names'), coalesce((SELECT setting FROM \
         pg_show_all_file_settings() WHERE lower(name) = 'synchronous_standby_names' ORDER BY seqno DESC LIMIT 1), '')",
        deadline,
    )?;
    let is = |column| rows.first().and_then(|row| row.get(column)) == Some(names);
    if is(0) && is(1) {
        return Ok(false);
    }
    alter(session, "synchronous_standby_names", names, deadline)?;
    super::setting::reload(session, deadline)?;
    let sql = "SELECT current_setting('synchronous_standby_names')";
    while session.query(sql, deadline)?.first().and_then(|row| row.get(0)) != Some(names) {
        if deadline.passed() {
            return Err(ConnError::Timeout("the server, which hasn't read its new settings".to_owned()));
        }
        pause(POLL);
    }
    Ok(true)
}

/// Changes a register by a rule; false when there is nothing to change or the rule forbids it.
fn change(
    session: &mut Session,
    deadline: Deadline,
    rule: impl FnOnce(&Register) -> Option<Register>,
) -> Result<bool, ConnError> {
    locked(session, deadline, |session| {
        let stored = read(session, deadline)?;
        match rule(&stored.register) {
            Some(register) if register != stored.register => {
                write(session, &register, deadline)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    })
}

fn write(session: &mut Session, register: &Register, deadline: Deadline) -> Result<(), ConnError> {
    for statement in register::write(register) {
        session.query(statement, deadline)?;
    }
    // What the session was told to know the name by would hide the register from it for ever.
    session.query(format!("RESET {}", ident(SETTING)), deadline).map(drop)
}

fn alter(session: &mut Session, name: &str, value: &str, deadline: Deadline) -> Result<(), ConnError> {
    session.execute(format!("ALTER SYSTEM SET {} = {}", ident(name), literal(value)), deadline).map(drop)
}

/// Does something under the register's lock. A session that is lost gives the lock back by itself, and one whose machine
/// is frozen is ended by the server after [`LOCKED_IDLE`] (14 and newer): others must be able to vote.
fn locked<T, E: From<ConnError>>(
    session: &mut Session,
    deadline: Deadline,
    work: impl FnOnce(&mut Session) -> Result<T, E>,
) -> Result<T, E> {
    let idle = |most: u128| {
        format!(
            "(SELECT set_config('idle_session_timeout', '{most}', false) \
             WHERE current_setting('server_version_num')::int4 >= 140000)"
        )
    };
    let bound = idle(LOCKED_IDLE.as_millis());
    session.query(format!("SELECT pg_advisory_lock({LOCK}), {bound}"), deadline)?;
    let result = work(session);
    let unlocked = session.query(format!("SELECT pg_advisory_unlock({LOCK}), {}", idle(0)), deadline);
    let value = result?;
    unlocked?;
    Ok(value)
}

/// A connection string, for another server.
fn led_to(mut conninfo: ConnInfo, host: &str, port: u16) -> String {
    conninfo.set("host", host);
    conninfo.remove("hostaddr");
    conninfo.set("port", &port.to_string());
    conninfo.to_string()
}

/// A connection string as it may be shown: every role can read a custom setting.
fn without_password(conninfo: &str) -> String {
    match ConnInfo::parse(conninfo) {
        Some(mut parsed) => {
            parsed.remove("password");
            parsed.to_string()
        }
        None => String::new(),
    }
}

fn refused(why: String) -> ConnError {
    ConnError::Other("55000".to_owned(), why)
}

impl From<NoVote> for Error {
    fn from(no: NoVote) -> Self {
        match no {
            NoVote::Refused(refusal) => Self::refused(refusal.to_string()).hint("pgbaton cluster status"),
            NoVote::Silent(error) => Self::new(Kind::TryAgain, error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replay_that_stands_still_is_believed_only_after_it_was_woken_in_vain() {
        let ms = |ms: u64| Moment::from_nanos(ms * 1_000_000);
        let mut stuck = Stuck::default();
        assert!(stuck.look(Some(Lsn(5)), true, ms(0)) && !stuck.look(Some(Lsn(5)), true, ms(10)));
        for at in [20, 40, 60] {
            assert!(stuck.look(Some(Lsn(5)), true, ms(at)) && !stuck.is_certain(ms(at)));
            // It looks for more.
            assert!(!stuck.look(Some(Lsn(5)), false, ms(at + 1)));
        }
        assert!(stuck.is_certain(ms(100)));
        // It goes on: everything counts anew. One that is at work all the time is never woken, and never believed.
        assert!(stuck.look(Some(Lsn(6)), true, ms(101)) && !stuck.is_certain(ms(500)));
        assert!(!stuck.look(None, true, ms(600)) && !stuck.is_certain(ms(9000)));
        for at in 0..100 {
            assert!(!stuck.look(Some(Lsn(7)), false, ms(10_000 + 50 * at)));
        }
        assert!(!stuck.is_certain(ms(20_000)));
    }

    #[test]
    fn a_password_never_gets_into_the_register() {
        let kept = without_password("host=10.0.0.1 user=repl password='se cret' application_name=node2");
        assert_eq!(kept, "host=10.0.0.1 user=repl application_name=node2");
        assert_eq!(without_password("postgresql://u:secret@h/"), "");
    }
}
