//! How a node is, as its daemon tells the primary's database: table `pgbaton.node_status`.
//!
//! Replication carries the rows to every node, so that `cluster status` can say why a node stays down without
//! reaching that node's daemon.

use super::conn::{ConnError, Row, Session};
use crate::host::clock::Deadline;

/// How a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    /// The node.
    pub node: String,
    /// The state of its virtual router.
    pub vrrp_state: String,
    /// Where its daemon stands.
    pub phase: String,
    /// Why it doesn't serve, if there is something to say.
    pub reason: Option<String>,
    /// What a person can do.
    pub hint: Option<String>,
    /// The digest of the configuration its daemon runs with.
    pub config: Option<String>,
}

const CREATE: &str = "CREATE SCHEMA IF NOT EXISTS pgbaton; \
    CREATE TABLE IF NOT EXISTS pgbaton.node_status (node text PRIMARY KEY, at timestamptz NOT NULL, \
    vrrp_state text NOT NULL, phase text NOT NULL, reason text, hint text, config text)";

/// For a table that an older version has made.
const WIDEN: &str = "ALTER TABLE pgbaton.node_status ADD COLUMN IF NOT EXISTS config text";

/// Whether the table has the newest column.
const HAS_CONFIG: &str = "EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('pgbaton.node_status') \
    AND attname = 'config' AND NOT attisdropped)";

/// Returns the `application_name` of the session that a node's daemon keeps open to the primary, as far as the server
/// keeps such a name: that it is there says that the daemon lives, without a row that is written again and again (which
/// an idle cluster's archive would have to keep).
pub fn session_name(node: &str) -> String {
    format!("{SESSION}{node}")
}

const SESSION: &str = "pgbaton/daemon ";

/// How long a daemon's session may be idle: it asks something every 10 s.
const LONGEST_IDLE: &str = "35 s";

/// Writes the row, unless it says nothing new; false when this server is not a primary.
pub fn write(session: &mut Session, status: &NodeStatus, deadline: Deadline) -> Result<bool, ConnError> {
    let rows = session.query(
        format!(
            "SELECT pg_catalog.pg_is_in_recovery()::text, pg_catalog.to_regclass('pgbaton.node_status')::text, \
             {HAS_CONFIG}"
        ),
        deadline,
    )?;
    let first = rows.first();
    if first.and_then(|row| row.get(0)) != Some("false") {
        return Ok(false);
    }
    // A status row must never wait for a synchronous standby: it would hang exactly when it is wanted.
    session.execute("SET synchronous_commit = off", deadline)?;
    session.execute("SET client_min_messages = warning", deadline)?;
    if first.and_then(|row| row.get(1)).is_none() {
        session.execute(CREATE, deadline)?;
    } else if !first.is_some_and(|row| row.is_true(2)) {
        session.execute(WIDEN, deadline)?;
    }
    let literal = super::sql::literal;
    let optional = |text: &Option<String>| text.as_deref().map_or_else(|| "NULL".to_owned(), literal);
    session.execute(
        format!(
            "INSERT INTO pgbaton.node_status AS old (node, at, vrrp_state, phase, reason, hint, config) \
             VALUES ({}, now(), {}, {}, {}, {}, {}) ON CONFLICT (node) DO UPDATE SET \
             at = excluded.at, vrrp_state = excluded.vrrp_state, phase = excluded.phase, \
             reason = excluded.reason, hint = excluded.hint, config = excluded.config \
             WHERE (old.vrrp_state, old.phase, old.reason, old.hint, old.config) IS DISTINCT FROM \
             (excluded.vrrp_state, excluded.phase, excluded.reason, excluded.hint, excluded.config)",
            literal(&status.node),
            literal(&status.vrrp_state),
            literal(&status.phase),
            optional(&status.reason),
            optional(&status.hint),
            optional(&status.config),
        ),
        deadline,
    )?;
    Ok(true)
}

/// A row, and how old it is.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredStatus {
    /// What the daemon wrote.
    pub status: NodeStatus,
    /// When: seconds since 1970 by the clock of the primary of that moment.
    pub at: f64,
    /// Seconds since then, by the clock of the server that was asked.
    pub age: f64,
    /// Whether the daemon's session to this server is there; `None`: it isn't the primary.
    pub connected: Option<bool>,
}

/// Whether the table is there and may be read: each question only when the one before allows it.
const READABLE: &str = "SELECT CASE WHEN to_regnamespace('pgbaton') IS NULL THEN false \
    WHEN NOT has_schema_privilege(to_regnamespace('pgbaton')::oid, 'USAGE') THEN false \
    WHEN to_regclass('pgbaton.node_status') IS NULL THEN false \
    ELSE has_table_privilege(to_regclass('pgbaton.node_status')::oid, 'SELECT') END";

/// Reads the rows that this server holds; none when the table isn't there or the role may not read it.
pub fn read(session: &mut Session, deadline: Deadline) -> Result<Vec<StoredStatus>, ConnError> {
    if !session.query(READABLE, deadline)?.first().is_some_and(|row| row.is_true(0)) {
        return Ok(Vec::new());
    }
    let rows = session.query(
        // Names are shown to everybody, times aren't: a session that is there counts then.
        format!(
            "SELECT node, vrrp_state, phase, reason, hint, extract(epoch FROM at), \
             extract(epoch FROM clock_timestamp() - at), CASE WHEN NOT pg_is_in_recovery() THEN \
             EXISTS (SELECT FROM pg_stat_activity WHERE application_name = left('{SESSION}' || node, 63) \
             AND (state_change IS NULL OR state_change > clock_timestamp() - interval '{LONGEST_IDLE}')) END \
             FROM pgbaton.node_status"
        ),
        deadline,
    )?;
    let text = |row: &Row, column| row.get(column).map(str::to_owned);
    let number = |row: &Row, column| row.get(column).and_then(|text| text.parse().ok());
    let stored = |row: &Row| {
        Some(StoredStatus {
            status: NodeStatus {
                node: text(row, 0)?,
                vrrp_state: text(row, 1)?,
                phase: text(row, 2)?,
                reason: text(row, 3),
                hint: text(row, 4),
                config: None,
            },
            at: number(row, 5)?,
            age: number(row, 6)?,
            connected: row.get(7).map(|_| row.is_true(7)),
        })
    };
    Ok(rows.iter().filter_map(stored).collect())
}

/// Reads which configuration each daemon runs with: node, digest; none when the table can't be read.
pub fn digests(
    session: &mut Session,
    deadline: Deadline,
) -> Result<Vec<(String, Option<String>)>, ConnError> {
    if !session.query(READABLE, deadline)?.first().is_some_and(|row| row.is_true(0)) {
        return Ok(Vec::new());
    }
    let widened = session.query(format!("SELECT {HAS_CONFIG}"), deadline)?;
    let column = if widened.first().is_some_and(|row| row.is_true(0)) { "config" } else { "NULL" };
    let rows = session.query(format!("SELECT node, {column} FROM pgbaton.node_status"), deadline)?;
    let pair = |row: &Row| Some((row.get(0)?.to_owned(), row.get(1).map(str::to_owned)));
    Ok(rows.iter().filter_map(pair).collect())
}
