//! What a primary still needs, as a list of items. Pure.

use crate::pg::sql::{ident, literal};
use crate::settings::{Node, NodeRole, PostgresSettings, Settings};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The lines around the block in `pg_hba.conf`.
const BEGIN: &str = "# pgbaton: the nodes of the cluster (written by \"pgbaton cluster init\")";
const END: &str = "# pgbaton: end";

/// One thing that is to be so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The stable name of the step.
    pub step: &'static str,
    /// What is done, in the imperative.
    pub describe: String,
    /// What makes it so; `None` when it is so already.
    pub action: Option<Action>,
}

/// What makes an item so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Change a setting; some count from the next restart on.
    Setting {
        /// Its name.
        name: &'static str,
        /// Its value.
        value: String,
        /// Whether it needs a restart.
        restart: bool,
    },
    /// Run a statement.
    Statement(String),
    /// Make the role, or let it log in and replicate.
    Role {
        /// Its name.
        name: String,
        /// Whether it exists.
        exists: bool,
        /// Whether it gets the password of the password file.
        password: bool,
    },
    /// Add a line with a new password to the password file.
    PasswordLine {
        /// The file.
        file: PathBuf,
        /// The role.
        role: String,
    },
    /// Replace a file.
    File {
        /// The file.
        path: PathBuf,
        /// Its text.
        text: String,
    },
}

/// The role that pgbaton connects as, as the server knows it.
#[expect(clippy::struct_excessive_bools, reason = "four independent facts, not a state")]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Role {
    /// Whether it exists.
    pub exists: bool,
    /// Whether it may log in and replicate.
    pub ready: bool,
    /// Whether it has a password.
    pub password: bool,
    /// Whether it is a superuser, and needs no grants.
    pub superuser: bool,
    /// The rights that it has, by the statement that grants them.
    pub has: Vec<String>,
}

/// What was seen of the primary.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The major version.
    pub major: u32,
    /// Settings by name.
    pub settings: BTreeMap<String, String>,
    /// Whether pages have checksums.
    pub checksums: bool,
    /// The slots that there are.
    pub slots: Vec<String>,
    /// The role.
    pub role: Role,
    /// `pg_hba.conf`.
    pub hba: (PathBuf, String),
    /// The password file and its text, if it is there.
    pub passwords: (PathBuf, Option<String>),
}

/// Returns everything that a primary is to have, done or not.
pub fn primary(settings: &Settings, me: &Node, postgres: &PostgresSettings, seen: &Seen) -> Vec<Item> {
    let mut items = server_settings(settings, me, seen);
    items.extend(role(postgres, seen));
    for node in settings.nodes.iter().filter(|node| node.name != me.name) {
        let slot = node.name.replace('-', "_");
        let there = seen.slots.contains(&slot);
        items.push(Item {
            step: "slot",
            describe: format!("make the replication slot {slot}"),
            action: (!there).then(|| {
                Action::Statement(format!("SELECT pg_create_physical_replication_slot({})", literal(&slot)))
            }),
        });
    }
    items.push(host_based(settings, postgres, &seen.hba.0, &seen.hba.1));
    items
}

fn server_settings(settings: &Settings, me: &Node, seen: &Seen) -> Vec<Item> {
    let is = |name: &str| seen.settings.get(name).map_or("", String::as_str);
    let number = |name: &str| is(name).parse::<i64>().unwrap_or(0);
    let nodes = i64::try_from(settings.nodes.len()).unwrap_or(i64::MAX);
    let mut wanted: Vec<(&'static str, Option<String>, bool)> = vec![
        ("wal_level", (is("wal_level") == "minimal").then(|| "replica".to_owned()), true),
        ("hot_standby", (is("hot_standby") != "on").then(|| "on".to_owned()), true),
        // The other nodes, a base backup's two, and one to spare.
        ("max_wal_senders", (number("max_wal_senders") < nodes + 3).then(|| "10".to_owned()), true),
        ("max_replication_slots", (number("max_replication_slots") < nodes).then(|| "10".to_owned()), true),
        ("wal_log_hints", (is("wal_log_hints") != "on" && !seen.checksums).then(|| "on".to_owned()), true),
        ("restart_after_crash", (is("restart_after_crash") != "off").then(|| "off".to_owned()), false),
        // In megabytes: for standbys whose slot isn't made yet, right after a promotion.
        ("wal_keep_size", (number("wal_keep_size") < 256).then(|| "256MB".to_owned()), false),
    ];
    let listen = is("listen_addresses");
    let all: Vec<&str> = listen.split(',').map(str::trim).collect();
    let has = |address: std::net::IpAddr| {
        let any = if address.is_ipv4() { "0.0.0.0" } else { "::" };
        all.iter().any(|it| *it == "*" || *it == any || it.parse() == Ok(address))
    };
    let vips = settings.vips.iter().map(|vip| vip.address.address()).filter(|_| me.role == NodeRole::Data);
    let reached = std::iter::once(me.address).chain(vips).all(has);
    wanted.push(("listen_addresses", (!reached).then(|| "*".to_owned()), true));
    wanted
        .into_iter()
        .map(|(name, value, restart)| {
            let shown = value.clone().unwrap_or_else(|| is(name).to_owned());
            Item {
                step: "setting",
                describe: format!("set {name} = {shown}"),
                action: value.map(|value| Action::Setting { name, value, restart }),
            }
        })
        .collect()
}

fn role(postgres: &PostgresSettings, seen: &Seen) -> Vec<Item> {
    let name = &postgres.user;
    let (file, text) = &seen.passwords;
    let known = text.as_deref().is_some_and(|text| has_line(text, name));
    let mut items = vec![
        Item {
            step: "password",
            describe: format!("put a new password for {name} into {}", file.display()),
            action: (!known && !seen.role.password)
                .then(|| Action::PasswordLine { file: file.clone(), role: name.clone() }),
        },
        Item {
            step: "role",
            describe: format!("make the role {name} with LOGIN and REPLICATION"),
            action: (!seen.role.ready || !seen.role.password).then(|| Action::Role {
                name: name.clone(),
                exists: seen.role.exists,
                password: !seen.role.password,
            }),
        },
    ];
    if !seen.role.superuser {
        for grant in grants(seen.major, name, &postgres.database) {
            let has = seen.role.has.contains(&grant);
            items.push(Item {
                step: "grant",
                describe: grant.clone(),
                action: (!has).then_some(Action::Statement(grant)),
            });
        }
    }
    items
}

/// Whether a password file has a line for this role.
fn has_line(text: &str, role: &str) -> bool {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .any(|line| matches!(line.split(':').nth(3), Some(user) if user == role || user == "*"))
}

/// The statements that give a role every right that pgbaton asks for, each with the question whether it has it.
pub fn rights(major: u32, role: &str, database: &str) -> Vec<(String, String)> {
    let (to, who) = (ident(role), literal(role));
    let mut all = Vec::new();
    let mut member = |group: &str| {
        all.push((format!("GRANT {group} TO {to}"), format!("pg_has_role({who}, '{group}', 'USAGE')")));
    };
    member("pg_monitor");
    if major >= 15 {
        member("pg_checkpoint");
    }
    all.push((
        format!("GRANT CREATE ON DATABASE {} TO {to}", ident(database)),
        format!("has_database_privilege({who}, {}, 'CREATE')", literal(database)),
    ));
    for function in [
        "pg_promote(boolean, integer)",
        "pg_reload_conf()",
        "pg_show_all_file_settings()",
        "pg_hba_file_rules()",
        "pg_ls_dir(text, boolean, boolean)",
        "pg_stat_file(text, boolean)",
        "pg_read_binary_file(text)",
        "pg_read_binary_file(text, bigint, bigint, boolean)",
    ] {
        all.push((
            format!("GRANT EXECUTE ON FUNCTION pg_catalog.{function} TO {to}"),
            format!("has_function_privilege({who}, '{function}', 'EXECUTE')"),
        ));
    }
    if major >= 15 {
        for (what, parameter) in [
            ("ALTER SYSTEM", "primary_conninfo"),
            ("ALTER SYSTEM", "primary_slot_name"),
            ("ALTER SYSTEM", "synchronous_standby_names"),
            ("SET", "pgbaton.register"),
            ("ALTER SYSTEM", "pgbaton.register"),
        ] {
            all.push((
                format!("GRANT {what} ON PARAMETER {parameter} TO {to}"),
                format!("has_parameter_privilege({who}, '{parameter}', '{what}')"),
            ));
        }
    }
    all
}

fn grants(major: u32, role: &str, database: &str) -> Vec<String> {
    rights(major, role, database).into_iter().map(|(grant, _)| grant).collect()
}

/// Returns the item for a `pg_hba.conf`.
pub fn host_based(settings: &Settings, postgres: &PostgresSettings, path: &Path, text: &str) -> Item {
    let wanted = with_block(text, &block(settings, postgres));
    Item {
        step: "pg-hba",
        describe: format!("let the nodes in by {}", path.display()),
        action: (wanted != text).then(|| Action::File { path: path.to_owned(), text: wanted }),
    }
}

/// The lines that let every node in, the same on every node.
fn block(settings: &Settings, postgres: &PostgresSettings) -> String {
    let (role, database) = (word(&postgres.user), word(&postgres.database));
    let mut lines = vec![BEGIN.to_owned(), format!("local   {database}  {role}  scram-sha-256")];
    for node in &settings.nodes {
        let prefix = if node.address.is_ipv4() { 32 } else { 128 };
        for database in [database.as_str(), "replication"] {
            lines.push(format!("host    {database}  {role}  {}/{prefix}  scram-sha-256", node.address));
        }
    }
    lines.push(END.to_owned());
    lines.join("\n") + "\n"
}

/// Returns a name as `pg_hba.conf` wants it: in quotes where it could be taken for something else.
fn word(name: &str) -> String {
    let plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !matches!(name, "all" | "replication" | "sameuser" | "samerole" | "samegroup");
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// Puts the block where the old one was, or first: the first line that fits decides.
fn with_block(text: &str, block: &str) -> String {
    if let Some((before, rest)) = text.split_once(BEGIN)
        && let Some((_, after)) = rest.split_once(END)
    {
        return format!("{before}{block}{}", after.strip_prefix('\n').unwrap_or(after));
    }
    format!("{block}\n{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOML: &str = "[cluster]\nname = \"article\"\n\
        [[node]]\nname = \"node1\"\naddress = \"192.0.2.21\"\npriority = 200\n\
        [[node]]\nname = \"node-2\"\naddress = \"192.0.2.22\"\npriority = 100\n\
        [[vip]]\naddress = \"192.0.2.23/24\"\n\
        [postgres]\ndata_directory = \"/data\"\nuser = \"pgbaton\"\n";

    fn seen(settings: &[(&str, &str)]) -> Seen {
        Seen {
            major: 15,
            settings: settings
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            checksums: false,
            slots: Vec::new(),
            role: Role::default(),
            hba: ("/data/pg_hba.conf".into(), "local all all peer\n".to_owned()),
            passwords: ("/home/.pgpass".into(), None),
        }
    }

    fn plan(seen: &Seen) -> Vec<Item> {
        let settings = Settings::from_toml(TOML, "t").unwrap();
        let me = settings.nodes[0].clone();
        let postgres = settings.postgres_of(&me).unwrap();
        primary(&settings, &me, &postgres, seen)
    }

    const DEFAULTS: &[(&str, &str)] = &[
        ("wal_level", "replica"),
        ("hot_standby", "on"),
        ("max_wal_senders", "10"),
        ("max_replication_slots", "10"),
        ("wal_log_hints", "off"),
        ("restart_after_crash", "on"),
        ("wal_keep_size", "0"),
        ("listen_addresses", "localhost"),
    ];

    #[test]
    fn a_server_as_it_is_installed_needs_these_steps() {
        let items = plan(&seen(DEFAULTS));
        let todo: Vec<String> =
            items.iter().filter(|item| item.action.is_some()).map(|item| item.describe.clone()).collect();
        insta::assert_snapshot!("defaults", todo.join("\n"));
    }

    #[test]
    fn a_prepared_server_needs_nothing() {
        let mut prepared = seen(DEFAULTS);
        for item in plan(&prepared) {
            match item.action {
                Some(Action::Setting { name, value, .. }) => {
                    prepared.settings.insert(name.to_owned(), value.trim_end_matches("MB").to_owned());
                }
                Some(Action::File { text, .. }) => prepared.hba.1 = text,
                Some(Action::Statement(statement)) if statement.starts_with("GRANT") => {
                    prepared.role.has.push(statement);
                }
                Some(Action::Statement(_)) => prepared.slots.push("node_2".to_owned()),
                Some(Action::Role { .. }) => {
                    prepared.role = Role { exists: true, ready: true, password: true, ..prepared.role };
                }
                Some(Action::PasswordLine { .. }) => {
                    prepared.passwords.1 = Some("*:*:*:pgbaton:x\n".to_owned());
                }
                None => {}
            }
        }
        let left: Vec<Item> = plan(&prepared).into_iter().filter(|item| item.action.is_some()).collect();
        assert_eq!(left, []);
    }

    #[test]
    fn the_block_stands_first_and_is_replaced_where_it_is() {
        let first = with_block("local all all peer\n", "B\n");
        assert_eq!(first, "B\n\nlocal all all peer\n");
        let old = format!("x\n{BEGIN}\nold\n{END}\ny\n");
        assert_eq!(
            with_block(&old, &format!("{BEGIN}\nnew\n{END}\n")),
            format!("x\n{BEGIN}\nnew\n{END}\ny\n")
        );
        assert_eq!(word("all"), "\"all\"");
        assert_eq!(word("Pg\"x"), "\"Pg\"\"x\"");
    }
}
