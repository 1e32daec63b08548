//! Looking at a primary as its superuser, and making the items of the plan so.

use super::plan::{Action, Role, Seen, rights};
use crate::error::{Error, Result};
use crate::host::clock::Deadline;
use crate::host::files::{self, Owner};
use crate::pg::conn::{ConnError, Session};
use crate::pg::facts::ServerFacts;
use crate::pg::pgpass::{PgPass, Target};
use crate::pg::setting;
use crate::pg::sql::{ident, literal};
use crate::settings::PostgresSettings;
use std::borrow::Cow;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Files of this kind have a few kilobytes.
const LARGEST: u64 = 4 << 20;

/// Looks at a primary.
pub fn look(
    session: &mut Session,
    facts: &ServerFacts,
    postgres: &PostgresSettings,
    passwords: PathBuf,
    deadline: Deadline,
) -> Result<Seen> {
    let rows = session.query("SELECT name, setting FROM pg_settings", deadline)?;
    let settings: std::collections::BTreeMap<String, String> = rows
        .iter()
        .filter_map(|row| Some((row.get(0)?.to_owned(), row.get(1).unwrap_or_default().to_owned())))
        .collect();
    let rows = session.query("SELECT slot_name FROM pg_replication_slots", deadline)?;
    let slots = rows.iter().filter_map(|row| row.get(0)).map(str::to_owned).collect();
    let role = role(session, facts.major(), postgres, deadline)?;
    let hba = PathBuf::from(settings.get("hba_file").map_or("", String::as_str));
    let text = read(&hba)?.unwrap_or_default();
    let passwords_text = read(&passwords)?;
    // What waits for a restart is as good as set.
    let mut settings = settings;
    let pending = session.query(
        "SELECT name, setting FROM (SELECT DISTINCT ON (name) name, setting FROM pg_file_settings \
         WHERE sourcefile LIKE '%postgresql.auto.conf' ORDER BY name, seqno DESC) AS s",
        deadline,
    )?;
    for row in &pending {
        if let (Some(name), Some(value)) = (row.get(0), row.get(1))
            && matches!(
                name,
                "wal_log_hints"
                    | "hot_standby"
                    | "wal_level"
                    | "max_wal_senders"
                    | "max_replication_slots"
                    | "listen_addresses"
            )
        {
            settings.insert(name.to_owned(), value.to_owned());
        }
    }
    Ok(Seen {
        major: facts.major(),
        settings,
        checksums: facts.data_checksums,
        slots,
        role,
        hba: (hba, text),
        passwords: (passwords, passwords_text),
    })
}

fn role(
    session: &mut Session,
    major: u32,
    postgres: &PostgresSettings,
    deadline: Deadline,
) -> Result<Role, ConnError> {
    let name = &postgres.user;
    let rows = session.query(
        format!(
            "SELECT rolcanlogin AND (rolreplication OR rolsuper), rolpassword IS NOT NULL, rolsuper \
             FROM pg_authid WHERE rolname = {}",
            literal(name)
        ),
        deadline,
    )?;
    let Some(row) = rows.first() else { return Ok(Role::default()) };
    let rights = rights(major, name, &postgres.database);
    let questions: Vec<&str> = rights.iter().map(|(_, question)| question.as_str()).collect();
    let answers = session.query(format!("SELECT {}", questions.join(", ")), deadline)?;
    let has = rights
        .iter()
        .enumerate()
        .filter(|(position, _)| answers.first().is_some_and(|answer| answer.is_true(*position)))
        .map(|(_, (grant, _))| grant.clone())
        .collect();
    Ok(Role { exists: true, ready: row.is_true(0), password: row.is_true(1), superuser: row.is_true(2), has })
}

/// Reads a text file that may be missing.
pub fn read(path: &Path) -> Result<Option<String>> {
    let bytes = files::read_optional(path, LARGEST)?;
    bytes
        .map(|bytes| {
            String::from_utf8(bytes)
                .map_err(|_| Error::failed(format!("{} isn't UTF-8 text", path.display())))
        })
        .transpose()
}

/// Makes one item so; returns facts for the report.
pub fn apply(
    session: Option<&mut Session>,
    action: &Action,
    postgres: &PostgresSettings,
    passwords: &Path,
    deadline: Deadline,
) -> Result<Option<String>> {
    let none = || Error::failed("there is no connection to the server");
    match action {
        Action::Setting { name, value, restart } => {
            setting::set(session.ok_or_else(none)?, name, value, deadline)?;
            Ok(restart.then(|| "it counts once the server is restarted".to_owned()))
        }
        Action::Statement(statement) => {
            session.ok_or_else(none)?.execute(statement.as_str(), deadline)?;
            Ok(None)
        }
        Action::File { path, text } => {
            let mode = std::fs::metadata(path).map_or(0o640, |about| about.permissions().mode() & 0o7777);
            files::write_atomic_as(path, text.as_bytes(), mode, Owner::LikeDirectory)?;
            if let Some(session) = session {
                setting::reload(session, deadline)?;
            }
            Ok(None)
        }
        Action::PasswordLine { file, role } => {
            let text = read(file)?.unwrap_or_default();
            let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
            let role = role.replace('\\', "\\\\").replace(':', "\\:");
            // The virtual IP moves, and so does the primary: one line for all of them.
            let text = format!("{text}{gap}*:*:*:{role}:{}\n", password()?);
            files::write_atomic(file, text.as_bytes(), 0o600)?;
            Ok(None)
        }
        Action::Role { name, exists, password } => {
            let session = session.ok_or_else(none)?;
            let mut statement = format!(
                "{} ROLE {} LOGIN REPLICATION",
                if *exists { "ALTER" } else { "CREATE" },
                ident(name)
            );
            if *password {
                // Hashed here, so that the password is in no log of the server.
                let text = read(passwords)?.unwrap_or_default();
                let secret = secret(&text, name, postgres).ok_or_else(|| {
                    Error::failed(format!("{} has no password for {name}", passwords.display()))
                })?;
                let hash = postgres_protocol::password::scram_sha_256(secret.as_bytes());
                statement.push_str(&format!(" PASSWORD {}", literal(&hash)));
            }
            session.execute(statement, deadline)?;
            Ok(None)
        }
    }
}

/// Looks the password of a role up, as a connection from anywhere in the cluster would.
fn secret(text: &str, role: &str, postgres: &PostgresSettings) -> Option<String> {
    let target = Target {
        host: Cow::Borrowed("localhost"),
        socket: false,
        port: postgres.port,
        dbname: &postgres.database,
        user: role,
    };
    PgPass::parse(text).lookup(&target).map(|secret| secret.reveal().to_owned())
}

/// Returns a new password: 24 random octets, in letters that need no quoting anywhere.
fn password() -> Result<String> {
    use base64::Engine as _;
    let mut octets = [0; 24];
    getrandom::fill(&mut octets).map_err(|error| Error::failed("can't make a password").detail(error))?;
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(octets))
}
