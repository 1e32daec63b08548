//! Maintenance: whether the operator has paused the cluster, as a row that replication carries to every node.

use super::conn::{ConnError, Session};
use super::sql::literal;
use crate::host::clock::Deadline;
use serde::{Deserialize, Serialize};

/// Why and by whom the cluster is paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Why, in the operator's words.
    pub reason: String,
    /// Since when: seconds since 1970 by the primary's clock.
    pub since: u64,
}

/// Makes the table; `pg_monitor` may read it.
const SCHEMA: &str = "\
CREATE SCHEMA IF NOT EXISTS pgbaton; \
CREATE TABLE IF NOT EXISTS pgbaton.pause (single bool PRIMARY KEY DEFAULT true CHECK (single), \
    reason text NOT NULL, since int8 NOT NULL); \
GRANT USAGE ON SCHEMA pgbaton TO pg_monitor; \
GRANT SELECT ON pgbaton.pause TO pg_monitor;";

/// Returns an expression for the pause of the database as JSON; NULL when it isn't paused, or the role may not know.
pub(super) fn expression() -> String {
    let select = "SELECT encode(convert_to(json_build_object('reason', reason, 'since', since)::text, 'UTF8'), \
                  'hex') AS h FROM pgbaton.pause";
    format!(
        "CASE WHEN e.usable THEN CASE WHEN to_regclass('pgbaton.pause') IS NOT NULL \
         AND has_table_privilege(to_regclass('pgbaton.pause')::oid, 'SELECT') THEN convert_from(decode(substring(\
         query_to_xml({}, false, false, '')::text FROM '<h>([0-9a-f]*)</h>'), 'hex'), 'UTF8')::json END END",
        literal(select)
    )
}

/// Pauses or resumes, on the primary; false when it was so already.
pub fn set(session: &mut Session, reason: Option<&str>, deadline: Deadline) -> Result<bool, ConnError> {
    let there = session.query("SELECT to_regclass('pgbaton.pause') IS NOT NULL", deadline)?;
    let there = there.first().is_some_and(|row| row.is_true(0));
    let Some(reason) = reason else {
        return Ok(there && session.execute("DELETE FROM pgbaton.pause", deadline)? > 0);
    };
    if !there {
        session.execute(SCHEMA, deadline)?;
    }
    let sql = format!(
        "INSERT INTO pgbaton.pause (reason, since) VALUES ({}, extract(epoch FROM now())::int8) \
         ON CONFLICT (single) DO NOTHING",
        literal(reason)
    );
    Ok(session.execute(sql, deadline)? > 0)
}
