//! What a server says when it is checked: its settings, slots, rights, `pg_hba.conf`.

use super::hba::Rule;
use crate::host::clock::{self, Deadline};
use crate::pg::conn::{ConnError, ConnSettings, Session};
use crate::pg::facts::{self, ServerFacts};
use crate::pg::sql::literal;
use crate::pg::walsender::WalSender;
use crate::pg::{status_row, target};
use crate::settings::Settings;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// What was seen of one node from this machine.
#[derive(Debug, Clone)]
pub struct NodeSeen {
    /// Its server; the words of the failure when it couldn't be asked.
    pub server: Result<ServerSeen, String>,
    /// Whether it takes a replication connection from here: the words of the failure if not.
    pub replication: Option<Result<(), String>>,
}

/// A server that answered.
#[derive(Debug, Clone)]
pub struct ServerSeen {
    /// What the other verbs ask too.
    pub facts: ServerFacts,
    /// What only this verb asks.
    pub more: More,
    /// `pg_hba.conf`; `None` when the role may not see it.
    pub hba: Option<Vec<Rule>>,
    /// Mistakes in the configuration files; `None` when the role may not see them.
    pub file_errors: Option<Vec<String>>,
    /// How far its clock is ahead of this machine's, in seconds, and how sure that is.
    pub clock: (f64, f64),
    /// When the certificate that it showed expires, in seconds since 1970.
    pub certificate_until: Option<i64>,
    /// The digests of the configuration that the daemons wrote down: node, digest.
    pub digests: Vec<(String, Option<String>)>,
}

/// The answer to one statement.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct More {
    /// Settings by name, in their base units.
    pub settings: BTreeMap<String, String>,
    /// Settings that wait for a restart.
    pub pending_restart: Option<Vec<String>>,
    /// Replication slots.
    pub slots: Option<Vec<Slot>>,
    /// The role's name.
    pub role: String,
    /// The role may replicate.
    pub replication: bool,
    /// What the role may do, by name.
    pub rights: BTreeMap<String, bool>,
    /// The archiver's last failure is newer than its last success.
    pub archive_failing: bool,
    /// The segment that it failed with.
    pub archive_failed_wal: Option<String>,
    /// The size of `pg_wal` in bytes.
    pub wal_bytes: Option<u64>,
    /// The wall clock, in seconds since 1970.
    pub now: f64,
}

/// A replication slot.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// `physical` or `logical`.
    pub kind: String,
    /// Whether somebody uses it.
    pub active: bool,
    /// `reserved`, `extended`, `unreserved` or `lost`.
    pub wal_status: Option<String>,
    /// How much log it keeps, in bytes.
    pub held: Option<i64>,
    /// Whether a logical one is kept in step on the standbys.
    pub failover: bool,
}

impl ServerSeen {
    /// Returns a setting as a number.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.more.settings.get(name)?.parse().ok()
    }

    /// Returns a setting as it is shown.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.more.settings.get(name).map(String::as_str)
    }

    /// Returns whether a setting is on; `None` when it isn't known.
    pub fn is_on(&self, name: &str) -> Option<bool> {
        self.text(name).map(|value| value == "on")
    }

    /// Returns whether the role may do something; `None` when that isn't known.
    pub fn may(&self, right: &str) -> Option<bool> {
        if self.facts.superuser { Some(true) } else { self.more.rights.get(right).copied() }
    }
}

/// The settings that rules look at.
const SETTINGS: &[&str] = &[
    "archive_mode",
    "fsync",
    "full_page_writes",
    "hot_standby",
    "listen_addresses",
    "max_connections",
    "max_locks_per_transaction",
    "max_prepared_transactions",
    "max_replication_slots",
    "max_slot_wal_keep_size",
    "max_wal_senders",
    "max_worker_processes",
    "port",
    "primary_conninfo",
    "primary_slot_name",
    "recovery_min_apply_delay",
    "recovery_target_timeline",
    "restart_after_crash",
    "restore_command",
    "ssl",
    "synchronous_commit",
    "synchronous_standby_names",
    "wal_keep_size",
    "wal_level",
    "wal_log_hints",
    "wal_receiver_timeout",
    "wal_sender_timeout",
];

/// Asks every node of these settings at the same time; each has `timeout`.
pub fn ask_all(settings: &Settings, timeout: Duration) -> Vec<NodeSeen> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = settings
            .nodes
            .iter()
            .enumerate()
            .map(|(position, _)| scope.spawn(move || ask_node(settings, position, timeout)))
            .collect();
        let early =
            || NodeSeen { server: Err("the asking thread ended early".to_owned()), replication: None };
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| early())).collect()
    })
}

/// Returns how the server of a node is reached from here; the Unix socket comes first on its own machine.
pub fn ways(settings: &Settings, position: usize, timeout: Duration) -> Vec<ConnSettings> {
    let Some(node) = settings.nodes.get(position) else { return Vec::new() };
    let Some(postgres) = settings.postgres_of(node) else { return Vec::new() };
    let mut ways = Vec::new();
    if settings.me == Some(position) {
        ways.push(target::local(&postgres, "cluster-check"));
    }
    ways.push(target::peer(node, &postgres, "cluster-check"));
    ways.into_iter()
        .map(|conn| ConnSettings { connect_timeout: timeout, statement_timeout: timeout, ..conn })
        .collect()
}

fn ask_node(settings: &Settings, position: usize, timeout: Duration) -> NodeSeen {
    let ways = ways(settings, position, timeout);
    if ways.is_empty() {
        return NodeSeen {
            server: Err("there is no [postgres] in the configuration".to_owned()),
            replication: None,
        };
    }
    let mut first = None;
    let mut server = None;
    for way in &ways {
        match ask(way, Deadline::after(timeout)) {
            Ok(seen) => {
                server = Some(seen);
                break;
            }
            Err(error) => first = first.or(Some(error.to_string())),
        }
    }
    let server = server.ok_or_else(|| first.unwrap_or_default());
    // Over TCP, as a standby or pg_rewind on this machine would; to the own server that says nothing.
    let replication = match (&server, ways.last()) {
        (Ok(_), Some(way)) if settings.me.is_some() && settings.me != Some(position) => {
            Some(replicate(way, Deadline::after(timeout)).map_err(|error| error.to_string()))
        }
        _ => None,
    };
    NodeSeen { server, replication }
}

fn replicate(way: &ConnSettings, deadline: Deadline) -> Result<(), ConnError> {
    WalSender::connect(&target::for_replication(way), deadline)?.identify(deadline).map(drop)
}

fn ask(way: &ConnSettings, deadline: Deadline) -> Result<ServerSeen, ConnError> {
    let mut session = Session::connect(way, deadline)?;
    let facts = facts::observe(&mut session, deadline)?;
    let before = clock::wall();
    let rows = session.query(query(facts.major()), deadline)?;
    let after = clock::wall();
    let text = rows.first().and_then(|row| row.get(0)).unwrap_or_default();
    let odd = |error: serde_json::Error| {
        ConnError::Other("XX000".to_owned(), format!("the answer can't be read: {error}"))
    };
    let more: More = serde_json::from_str(text).map_err(odd)?;
    let may = |right: &str| facts.superuser || more.rights.get(right) == Some(&true);
    let hba = if may("pg_hba_file_rules") {
        let rows = session.query(HBA, deadline)?;
        let text = rows.first().and_then(|row| row.get(0)).unwrap_or("[]");
        Some(serde_json::from_str(text).map_err(odd)?)
    } else {
        None
    };
    let file_errors = if may("pg_show_all_file_settings") {
        let rows = session.query(FILE_ERRORS, deadline)?;
        Some(rows.iter().filter_map(|row| row.get(0)).map(str::to_owned).collect())
    } else {
        None
    };
    let digests = status_row::digests(&mut session, deadline)?;
    let half = after.saturating_sub(before).as_secs_f64() / 2.0;
    let middle = before.as_secs_f64() + half;
    Ok(ServerSeen {
        clock: (more.now - middle, half),
        certificate_until: session.peer_certificate_not_after(),
        facts,
        more,
        hba,
        file_errors,
        digests,
    })
}

const HBA: &str = "SELECT coalesce(json_agg(json_build_object('line', line_number, 'kind', type, \
    'database', database, 'user', user_name, 'address', address, 'netmask', netmask, 'method', auth_method, \
    'error', error) ORDER BY line_number), '[]') FROM pg_hba_file_rules()";

const FILE_ERRORS: &str = "SELECT sourcefile || ':' || sourceline || ': ' || coalesce(name, '') || ' ' || error \
    FROM pg_show_all_file_settings() WHERE error IS NOT NULL AND error <> 'setting could not be applied'";

/// The statement behind [`More`].
fn query(major: u32) -> String {
    let names: Vec<String> = SETTINGS.iter().map(|name| literal(name)).collect();
    let function = |name: &str, signature: &str| {
        format!("'{name}', has_function_privilege('{name}({signature})', 'EXECUTE')")
    };
    let mut rights = vec![
        "'pg_monitor', pg_has_role('pg_monitor', 'USAGE')".to_owned(),
        "'create', has_database_privilege(current_database(), 'CREATE')".to_owned(),
        "'epoch', CASE WHEN to_regclass('pgbaton.epoch') IS NULL THEN NULL \
         ELSE has_table_privilege(to_regclass('pgbaton.epoch')::oid, 'INSERT') END"
            .to_owned(),
        function("pg_promote", "boolean, integer"),
        function("pg_reload_conf", ""),
        function("pg_show_all_file_settings", ""),
        function("pg_hba_file_rules", ""),
        function("pg_ls_dir", "text, boolean, boolean"),
        function("pg_stat_file", "text, boolean"),
        function("pg_read_binary_file", "text, bigint, bigint, boolean"),
    ];
    if major >= 15 {
        rights.push("'pg_checkpoint', pg_has_role('pg_checkpoint', 'USAGE')".to_owned());
        for name in ["primary_conninfo", "primary_slot_name", "synchronous_standby_names", "pgbaton.register"]
        {
            rights.push(format!("'alter {name}', has_parameter_privilege('{name}', 'ALTER SYSTEM')"));
        }
        rights.push("'set pgbaton.register', has_parameter_privilege('pgbaton.register', 'SET')".to_owned());
    }
    let failover = if major >= 17 { "failover" } else { "false" };
    format!(
        "SELECT json_build_object(\
         'settings', (SELECT json_object_agg(name, coalesce(setting, '')) FROM pg_settings WHERE name IN ({names})), \
         'pending_restart', (SELECT json_agg(name ORDER BY name) FROM pg_settings WHERE pending_restart), \
         'slots', (SELECT json_agg(json_build_object('name', slot_name, 'kind', slot_type, 'active', active, \
             'wal_status', wal_status, 'failover', {failover}, 'held', CASE WHEN restart_lsn IS NULL THEN NULL \
             WHEN pg_is_in_recovery() THEN pg_wal_lsn_diff(pg_last_wal_replay_lsn(), restart_lsn)::int8 \
             ELSE pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::int8 END) ORDER BY slot_name) \
             FROM pg_replication_slots), \
         'role', current_user, \
         'replication', (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user), \
         'rights', json_strip_nulls(json_build_object({rights})), \
         'archive_failing', (SELECT coalesce(last_failed_time > last_archived_time, last_failed_time IS NOT NULL) \
             FROM pg_stat_archiver), \
         'archive_failed_wal', (SELECT last_failed_wal FROM pg_stat_archiver), \
         'now', extract(epoch FROM clock_timestamp()))",
        names = names.join(", "),
        rights = rights.join(", "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statement_asks_a_version_only_for_what_it_has() {
        assert!(!query(14).contains("has_parameter_privilege"));
        assert!(query(15).contains("has_parameter_privilege"));
        assert!(!query(15).contains("'failover', failover"));
        assert!(query(17).contains("'failover', failover"));
        assert!(!query(18).contains(';'));
    }

    #[test]
    fn an_answer_with_nulls_is_read() {
        let more: More = serde_json::from_str(
            r#"{"settings":{"port":"5432"},"pending_restart":null,"slots":null,"role":"x","replication":true,
                "rights":{"create":true},"archive_failing":false,"archive_failed_wal":null,"now":1.5}"#,
        )
        .unwrap();
        assert_eq!((more.slots, more.rights.get("create")), (None, Some(&true)));
    }
}
