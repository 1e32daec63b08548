//! How a node is, as its daemon tells the primary's database: table `pgbaton.node_status`.
//!
//! Replication carries the rows to every node, so that `cluster status` can say why a node stays down without
//! reaching that node's daemon.

use super::conn::{ConnError, Session};
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
}

const CREATE: &str = "CREATE SCHEMA IF NOT EXISTS pgbaton; \
    CREATE TABLE IF NOT EXISTS pgbaton.node_status (node text PRIMARY KEY, at timestamptz NOT NULL, \
    vrrp_state text NOT NULL, phase text NOT NULL, reason text, hint text)";

/// Writes the row; false when this server is not a primary.
pub fn write(session: &mut Session, status: &NodeStatus, deadline: Deadline) -> Result<bool, ConnError> {
    let rows = session.query(
        "SELECT pg_catalog.pg_is_in_recovery()::text, pg_catalog.to_regclass('pgbaton.node_status')::text",
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
    }
    let literal = super::sql::literal;
    let optional = |text: &Option<String>| text.as_deref().map_or_else(|| "NULL".to_owned(), literal);
    session.execute(
        format!(
            "INSERT INTO pgbaton.node_status VALUES ({}, now(), {}, {}, {}, {}) ON CONFLICT (node) DO UPDATE SET \
             at = excluded.at, vrrp_state = excluded.vrrp_state, phase = excluded.phase, \
             reason = excluded.reason, hint = excluded.hint",
            literal(&status.node),
            literal(&status.vrrp_state),
            literal(&status.phase),
            optional(&status.reason),
            optional(&status.hint),
        ),
        deadline,
    )?;
    Ok(true)
}
