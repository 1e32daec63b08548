//! A setting that is changed for a while, and put back even by another process.
//!
//! `ALTER SYSTEM` writes `postgresql.auto.conf`, which outlives whoever wrote it. So what was there before is looked
//! up first ([`look`]) and returned as a value that the caller stores durably; only then is it changed ([`set`]), and
//! whoever finds the stored value may put it back ([`put_back`]), any number of times. `ALTER SYSTEM` needs a
//! superuser, or from major 15 on `GRANT ALTER SYSTEM ON PARAMETER`.

use super::conn::{ConnError, Session};
use super::sql::{ident, literal};
use crate::host::clock::Deadline;
use serde::{Deserialize, Serialize};

/// What `postgresql.auto.conf` held for a setting before it was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    /// The setting's name.
    pub name: String,
    /// Its value in `postgresql.auto.conf`; `None` when it wasn't set there.
    pub value: Option<String>,
}

/// Looks up what `postgresql.auto.conf` holds for a setting.
pub fn look(session: &mut Session, name: &str, deadline: Deadline) -> Result<Saved, ConnError> {
    let sql = format!(
        "SELECT setting FROM pg_show_all_file_settings() WHERE lower(name) = lower({}) \
         AND sourcefile LIKE '%/postgresql.auto.conf' ORDER BY seqno DESC LIMIT 1",
        literal(name)
    );
    let rows = session.query(sql, deadline)?;
    let value = rows.first().map(|row| row.get(0).unwrap_or_default().to_owned());
    Ok(Saved { name: name.to_owned(), value })
}

/// Changes a setting in `postgresql.auto.conf` and reloads.
pub fn set(session: &mut Session, name: &str, value: &str, deadline: Deadline) -> Result<(), ConnError> {
    alter(session, name, Some(value), deadline)
}

/// Puts back what was there and reloads. Running it twice changes nothing more.
pub fn put_back(session: &mut Session, saved: &Saved, deadline: Deadline) -> Result<(), ConnError> {
    alter(session, &saved.name, saved.value.as_deref(), deadline)
}

/// Asks the server to read its configuration again. The change is in force a moment later.
pub fn reload(session: &mut Session, deadline: Deadline) -> Result<(), ConnError> {
    session.query("SELECT pg_reload_conf()", deadline).map(drop)
}

fn alter(
    session: &mut Session,
    name: &str,
    value: Option<&str>,
    deadline: Deadline,
) -> Result<(), ConnError> {
    let name = ident(name);
    // Neither may run in a transaction block, so each is a call of its own.
    let sql = match value {
        Some(value) => format!("ALTER SYSTEM SET {name} = {}", literal(value)),
        None => format!("ALTER SYSTEM RESET {name}"),
    };
    session.execute(sql, deadline)?;
    reload(session, deadline)
}
