//! A witness: a voter without data of the cluster, whose register is a row in any `PostgreSQL` on a third host.
//!
//! One row for each cluster, changed under its lock and durable before it is answered. The server must not be one of
//! the cluster's own: its vote would go with the data that it votes about.

pub mod ssh;

use super::conn::{ConnError, Session};
use super::register::parse;
use super::sql::literal;
use crate::host::clock::Deadline;
use crate::promotion::rules::Register;

/// Makes the table.
const SCHEMA: &str = "\
CREATE SCHEMA IF NOT EXISTS pgbaton_witness; \
CREATE TABLE IF NOT EXISTS pgbaton_witness.register (cluster text PRIMARY KEY, register text NOT NULL)";

/// Reads the register of a cluster; one that was never written has promised nothing.
pub fn read(session: &mut Session, cluster: &str, deadline: Deadline) -> Result<Register, ConnError> {
    prepare(session, deadline)?;
    select(session, cluster, "", deadline)
}

/// Changes the register of a cluster by a rule, under its row's lock; returns what it was and what the rule said.
pub fn change<T, E: From<ConnError>>(
    session: &mut Session,
    cluster: &str,
    deadline: Deadline,
    rule: impl FnOnce(&Register) -> Result<(Register, T), E>,
) -> Result<T, E> {
    prepare(session, deadline)?;
    let cluster_text = literal(cluster);
    session.execute(
        format!(
            "INSERT INTO pgbaton_witness.register VALUES ({cluster_text}, '') ON CONFLICT (cluster) DO NOTHING"
        ),
        deadline,
    )?;
    session.execute("BEGIN", deadline)?;
    // A node that is frozen at this moment must not keep the row from the others.
    session.query("SELECT set_config('idle_in_transaction_session_timeout', '1s', true)", deadline)?;
    let result = select(session, cluster, "FOR UPDATE", deadline).map_err(E::from).and_then(|register| {
        let (new, said) = rule(&register)?;
        if new != register {
            let text = literal(&serde_json::to_string(&new).unwrap_or_default());
            // Durable before it is answered, whatever the server's default is.
            session.query("SELECT set_config('synchronous_commit', 'on', true)", deadline)?;
            session.execute(
                format!(
                    "UPDATE pgbaton_witness.register SET register = {text} WHERE cluster = {cluster_text}"
                ),
                deadline,
            )?;
        }
        Ok(said)
    });
    session.execute(if result.is_ok() { "COMMIT" } else { "ROLLBACK" }, deadline)?;
    result
}

fn select(
    session: &mut Session,
    cluster: &str,
    lock: &str,
    deadline: Deadline,
) -> Result<Register, ConnError> {
    let sql =
        format!("SELECT register FROM pgbaton_witness.register WHERE cluster = {} {lock}", literal(cluster));
    let rows = session.query(sql, deadline)?;
    let text = rows.first().and_then(|row| row.get(0)).unwrap_or_default();
    parse(text).map_err(|error| {
        ConnError::Other("XX001".to_owned(), format!("the witness's register can't be read: {error}"))
    })
}

fn prepare(session: &mut Session, deadline: Deadline) -> Result<(), ConnError> {
    let there = session.query("SELECT to_regclass('pgbaton_witness.register') IS NOT NULL", deadline)?;
    if there.first().is_some_and(|row| row.is_true(0)) {
        return Ok(());
    }
    match session.execute(SCHEMA, deadline) {
        // The other node made it at this moment.
        Err(error) if matches!(error.sqlstate(), Some("23505" | "42P06" | "42P07")) => Ok(()),
        other => other.map(drop),
    }
}
