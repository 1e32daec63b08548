//! Where a node's server is reached, from the settings: the local one by its Unix socket, a peer by TCP.

use super::conn::{ConnSettings, Host};
use super::pgpass::Secret;
use crate::settings::{Node, PostgresSettings};
use std::path::PathBuf;

/// Returns how the local server is reached.
pub fn local(postgres: &PostgresSettings, verb: &str) -> ConnSettings {
    with_host(Host::Unix(postgres.socket_directory.clone(), postgres.port), postgres, verb)
}

/// Returns how a peer's server is reached.
pub fn peer(node: &Node, postgres: &PostgresSettings, verb: &str) -> ConnSettings {
    with_host(Host::Tcp(node.address, postgres.port), postgres, verb)
}

/// Returns how the server behind an address is reached.
pub fn address(address: std::net::IpAddr, postgres: &PostgresSettings, verb: &str) -> ConnSettings {
    with_host(Host::Tcp(address, postgres.port), postgres, verb)
}

/// Returns how the server at a host is reached, with everything else from the settings.
pub fn with_host(host: Host, postgres: &PostgresSettings, verb: &str) -> ConnSettings {
    let mut conn = ConnSettings::new(host, postgres.user.clone(), verb);
    conn.dbname.clone_from(&postgres.database);
    conn.connect_timeout = postgres.connect_timeout;
    with_password(conn)
}

/// Adds the password that libpq would use: `PGPASSWORD`, else the password file.
pub fn with_password(conn: ConnSettings) -> ConnSettings {
    let environment = std::env::var("PGPASSWORD").ok().map(Secret::new);
    let file = super::conn::password_file(
        std::env::var_os("PGPASSFILE").map(PathBuf::from).as_deref(),
        std::env::var_os("HOME").map(PathBuf::from).as_deref(),
    );
    // A password file that others may read is ignored, as libpq does; `cluster check` is the place to say so.
    let passwords = file.and_then(|file| super::pgpass::load(&file).ok().flatten());
    conn.with_password_from(environment, passwords.as_ref())
}
