//! What a running server says about itself, asked in one round trip.
//!
//! Works on primaries and standbys of majors 13 to 18, as a superuser and as a member of `pg_monitor`; what a role
//! may not see is `None`. Facts are one moment's truth: whoever acts on them looks again right before.

use super::conn::{ConnError, Session};
use super::epoch::Epoch;
use super::lsn::{Lsn, SystemId, Timeline};
use crate::host::clock::Deadline;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// One server, at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "they are the server's own, not our states")]
pub struct ServerFacts {
    /// Whether it is a standby (`pg_is_in_recovery()`).
    pub in_recovery: bool,
    /// The cluster it belongs to.
    pub system_id: Option<SystemId>,
    /// For example 150004.
    pub server_version: u32,
    /// The timeline it writes, or the newest it is known to follow.
    ///
    /// On a primary it comes from the name of the WAL file in use, which is right from the first moment after a
    /// promotion; the control file lags behind until the next checkpoint.
    pub timeline: Option<Timeline>,
    /// The primary's log positions; `None` on a standby.
    pub primary: Option<PrimaryFacts>,
    /// The standby's log positions; `None` on a primary.
    pub standby: Option<StandbyFacts>,
    /// The receiver of a standby that is connected or connecting.
    pub receiver: Option<ReceiverFacts>,
    /// The standbys that stream from this server.
    #[serde(deserialize_with = "null_is_empty")]
    pub replication: Vec<ReplicationFacts>,
    /// Where it streams from; `None` when the role may not see it.
    pub primary_conninfo: Option<String>,
    /// The slot it streams from.
    pub primary_slot_name: Option<String>,
    /// `synchronous_standby_names`; empty when replication is asynchronous.
    pub synchronous_standby_names: Option<String>,
    /// `restore_command`; empty when WAL comes by streaming only.
    pub restore_command: Option<String>,
    /// The newest row of `pgbaton.epoch`; `None` when there is none or the role may not read it.
    pub epoch: Option<Epoch>,
    /// Whether the table is there but the role may not read it: then `epoch` means nothing.
    pub epoch_hidden: bool,
    /// Whether the operator has paused the cluster.
    #[serde(default)]
    pub pause: Option<super::pause::Pause>,
    /// The voter's register, as the server has read it; `None` when it holds nothing.
    pub register: Option<String>,
    /// When the postmaster started: seconds since 1970 by the server's clock.
    pub started_at: f64,
    /// `data_directory`; `None` when the role may not see it.
    pub data_directory: Option<String>,
    /// `wal_log_hints`.
    pub wal_log_hints: bool,
    /// Whether pages have checksums. Without these and without hints `pg_rewind` can't work.
    pub data_checksums: bool,
    /// `restart_after_crash`: whether the server comes back by itself after a backend's crash.
    pub restart_after_crash: bool,
    /// Whether the role is a superuser.
    pub superuser: bool,
}

/// The ends of a primary's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrimaryFacts {
    /// The end of what is inserted, in memory.
    pub insert: Lsn,
    /// The end of what is written to the system.
    pub write: Lsn,
    /// The end of what is safe on this server's disk.
    pub flush: Lsn,
}

/// How far a standby has got.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StandbyFacts {
    /// The end of what was streamed and flushed; `None` before the first streaming, and it can be behind `replay`.
    pub receive: Option<Lsn>,
    /// The end of what is replayed; `None` before the first record.
    pub replay: Option<Lsn>,
    /// Whether a pause of the replay was asked for.
    pub replay_paused: bool,
    /// Seconds since the last transaction that was replayed was committed; also grows when nothing is written.
    pub last_transaction_age: Option<f64>,
}

impl StandbyFacts {
    /// Returns the end of the log that this standby holds: what orders the candidates of a promotion.
    pub fn end(&self) -> Option<Lsn> {
        // Either can be ahead: receive restarts at a segment's begin, replay also reads the archive.
        self.receive.max(self.replay)
    }
}

/// The WAL receiver of a standby.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReceiverFacts {
    /// `streaming`, `waiting`, `starting`…; `None` when the role may not see it.
    pub status: Option<String>,
    /// Where it is connected to.
    pub sender_host: Option<String>,
    /// The port it is connected to.
    pub sender_port: Option<u16>,
    /// The slot it uses.
    pub slot_name: Option<String>,
    /// The timeline it receives.
    pub received_timeline: Option<Timeline>,
    /// The end of the primary's log as it last told: the base of a lag that is known after its death.
    pub latest_end_lsn: Option<Lsn>,
    /// Seconds since its last message.
    pub last_message_age: Option<f64>,
}

/// A standby, as the server it streams from sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplicationFacts {
    /// The name it gives itself; what `synchronous_standby_names` lists.
    pub application_name: String,
    /// Its address; `None` over a Unix socket.
    pub client_addr: Option<IpAddr>,
    /// `streaming`, `catchup`…; `None` when the role may not see it.
    pub state: Option<String>,
    /// `sync`, `quorum`, `potential` or `async`.
    pub sync_state: Option<String>,
    /// The end of what was sent to it.
    pub sent: Option<Lsn>,
    /// The end of what it has on disk.
    pub flush: Option<Lsn>,
    /// The end of what it has replayed. **Beyond `sent`** means that its data is not this server's.
    pub replay: Option<Lsn>,
    /// Seconds between a commit here and its replay there; `None` when nothing was written lately.
    pub replay_lag: Option<f64>,
}

impl ServerFacts {
    /// Returns the major version, 15 for 150004.
    pub const fn major(&self) -> u32 {
        self.server_version / 10_000
    }

    /// Returns the end of the log on this server's disk.
    pub fn end(&self) -> Option<Lsn> {
        match (&self.primary, &self.standby) {
            (Some(primary), _) => Some(primary.flush),
            (None, Some(standby)) => standby.end(),
            (None, None) => None,
        }
    }
}

/// Asks a server everything, in one round trip.
pub fn observe(session: &mut Session, deadline: Deadline) -> Result<ServerFacts, ConnError> {
    let rows = match session.query(query(), deadline) {
        // The recovery ended between two pieces of the statement: look again, as a primary.
        Err(error) if error.sqlstate() == Some("55000") => session.query(query(), deadline)?,
        other => other?,
    };
    let text = rows.first().and_then(|row| row.get(0)).unwrap_or_default();
    let mut facts: ServerFacts = serde_json::from_str(text)
        .map_err(|error| ConnError::Other("XX000".to_owned(), format!("the facts can't be read: {error}")))?;
    // A standby's control file tells of a timeline late; the row of a promotion is on the timeline that it made.
    facts.timeline = facts.timeline.max(facts.epoch.as_ref().map(|epoch| epoch.timeline));
    Ok(facts)
}

/// Reads the newest epoch row; `None` when there is none.
///
/// A role that may not read the table gets an error: who decides by epochs mustn't take "hidden" for "none".
pub fn newest_epoch(session: &mut Session, deadline: Deadline) -> Result<Option<Epoch>, ConnError> {
    let there = session.query("SELECT to_regclass('pgbaton.epoch') IS NOT NULL", deadline)?;
    if !there.first().is_some_and(|row| row.is_true(0)) {
        return Ok(None);
    }
    let rows = session.query(super::epoch::SELECT_NEWEST, deadline)?;
    let Some(text) = rows.first().and_then(|row| row.get(0)) else { return Ok(None) };
    Epoch::parse(text).map(Some).map_err(|error| ConnError::Other("XX001".to_owned(), error.to_string()))
}

/// The statement behind [`observe`].
///
/// Each piece that can fail stands behind the test that says it won't: a CASE is evaluated in order, and none of the
/// functions is folded into a constant. `query_to_xml` runs a statement only when its turn comes, so that the epoch
/// table may be missing; the hexadecimal digits save the unescaping of XML.
fn query() -> String {
    // `clock_timestamp`, not `now`: the server's standing transaction must not freeze an age.
    let age = |moment: &str| format!("extract(epoch FROM clock_timestamp() - {moment})");
    let privileged = |name: &str| {
        format!(
            "CASE WHEN pg_has_role('pg_read_all_settings', 'USAGE') THEN current_setting('{name}', true) END"
        )
    };
    let on_or_off = |name: &str| format!("current_setting('{name}')::bool");
    let readable = "to_regclass('pgbaton.epoch') IS NOT NULL \
        AND has_table_privilege(to_regclass('pgbaton.epoch')::oid, 'SELECT')";
    format!(
        "SELECT json_build_object(\
         'in_recovery', r.standby, \
         'system_id', (SELECT system_identifier::text FROM pg_control_system()), \
         'server_version', current_setting('server_version_num')::int4, \
         'timeline', CASE WHEN r.standby THEN greatest(\
             (SELECT received_tli FROM pg_stat_get_wal_receiver()), \
             (SELECT nullif(min_recovery_end_timeline, 0) FROM pg_control_recovery()), \
             (SELECT timeline_id FROM pg_control_checkpoint()))::int8 \
           ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int8 END, \
         'primary', CASE WHEN NOT r.standby THEN json_build_object(\
             'insert', pg_current_wal_insert_lsn()::text, 'write', pg_current_wal_lsn()::text, \
             'flush', pg_current_wal_flush_lsn()::text) END, \
         'standby', CASE WHEN r.standby THEN json_build_object(\
             'receive', pg_last_wal_receive_lsn()::text, 'replay', pg_last_wal_replay_lsn()::text, \
             'replay_paused', pg_is_wal_replay_paused(), \
             'last_transaction_age', {replay_age}) END, \
         'receiver', (SELECT json_build_object('status', status, 'sender_host', sender_host, \
             'sender_port', sender_port, 'slot_name', nullif(slot_name, ''), \
             'received_timeline', nullif(received_tli, 0), 'latest_end_lsn', latest_end_lsn::text, \
             'last_message_age', {message_age}) FROM pg_stat_wal_receiver), \
         'replication', (SELECT json_agg(json_build_object('application_name', coalesce(application_name, ''), \
             'client_addr', host(client_addr), 'state', state, 'sync_state', sync_state, \
             'sent', sent_lsn::text, 'flush', flush_lsn::text, 'replay', replay_lsn::text, \
             'replay_lag', extract(epoch FROM replay_lag)) ORDER BY application_name, pid) \
             FROM pg_stat_replication), \
         'primary_conninfo', {conninfo}, \
         'primary_slot_name', nullif({slot}, ''), \
         'synchronous_standby_names', {names}, \
         'restore_command', {restore}, \
         'epoch', CASE WHEN e.usable THEN CASE WHEN {readable} THEN convert_from(decode(substring(\
             query_to_xml({select}, false, false, '')::text FROM '<h>([0-9a-f]*)</h>'), 'hex'), 'UTF8')::json \
             END END, \
         'epoch_hidden', CASE WHEN e.usable IS NULL THEN false WHEN NOT e.usable THEN true \
             WHEN to_regclass('pgbaton.epoch') IS NULL THEN false ELSE NOT ({readable}) END, \
         'pause', {pause}, \
         'register', nullif(current_setting('pgbaton.register', true), ''), \
         'started_at', extract(epoch FROM pg_postmaster_start_time()), \
         'data_directory', {data_directory}, \
         'wal_log_hints', {hints}, 'data_checksums', {checksums}, 'restart_after_crash', {restart}, \
         'superuser', current_setting('is_superuser')::bool) \
         FROM (SELECT pg_is_in_recovery() AS standby OFFSET 0) AS r, \
         (SELECT has_schema_privilege(to_regnamespace('pgbaton')::oid, 'USAGE') AS usable) AS e",
        pause = super::pause::expression(),
        replay_age = age("pg_last_xact_replay_timestamp()"),
        message_age = age("last_msg_receipt_time"),
        conninfo = privileged("primary_conninfo"),
        slot = privileged("primary_slot_name"),
        names = privileged("synchronous_standby_names"),
        restore = privileged("restore_command"),
        data_directory = privileged("data_directory"),
        hints = on_or_off("wal_log_hints"),
        checksums = on_or_off("data_checksums"),
        restart = on_or_off("restart_after_crash"),
        select = super::sql::literal(&format!(
            "SELECT encode(convert_to(j::text, 'UTF8'), 'hex') AS h FROM ({}) AS newest",
            super::epoch::SELECT_NEWEST
        )),
    )
}

/// `json_agg` over no rows is NULL.
fn null_is_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::<Vec<T>>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_standby_s_log_is_whichever_position_is_further() {
        let standby = |receive, replay| StandbyFacts {
            receive,
            replay,
            replay_paused: false,
            last_transaction_age: None,
        };
        assert_eq!(standby(Some(Lsn(9)), Some(Lsn(4))).end(), Some(Lsn(9)));
        assert_eq!(standby(Some(Lsn(4)), Some(Lsn(9))).end(), Some(Lsn(9)));
        assert_eq!(standby(None, Some(Lsn(9))).end(), Some(Lsn(9)));
        assert_eq!(standby(None, None).end(), None);
    }

    #[test]
    fn the_statement_is_one_statement() {
        assert!(!query().contains(';'));
    }
}
