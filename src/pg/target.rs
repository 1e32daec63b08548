//! Where a server is reached, from the settings, the command line and what libpq reads: environment, password
//! file, service file.
//!
//! A server that the configuration names is reached as the configuration says: of the environment only what
//! protects the connection counts then. `PGHOST` often names the virtual IP, and following it would promote, or
//! ask, another server than the one that was meant.

use super::conn::{ConnSettings, Endpoint, Host};
use super::pgpass::Secret;
use crate::error::{Error, Result};
use crate::settings::libpq::{self, Connection, ConninfoError, Params, Place, PlaceHost};
use crate::settings::{Node, PostgresSettings, WitnessSettings};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// No limit of its own, for `connect_timeout=0`; the deadline of the call still holds.
const UNLIMITED: Duration = Duration::from_secs(86_400);

/// Where Debian's libpq looks when `PGSYSCONFDIR` isn't set.
const SYSTEM_FOLDER: &str = "/etc/postgresql-common";

/// What a program of libpq's needs to be told to connect as safely: everything but where, as whom and what for.
const HANDED_ON: [&str; 18] = [
    "sslmode",
    "sslnegotiation",
    "sslcert",
    "sslkey",
    "sslcertmode",
    "sslrootcert",
    "sslcrl",
    "sslcrldir",
    "sslsni",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "channel_binding",
    "passfile",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
];

/// Returns the first major whose libpq knows a keyword.
pub fn known_since(keyword: &str) -> u32 {
    match keyword {
        "sslnegotiation" => 17,
        "sslcertmode" => 16,
        "sslsni" | "sslcrldir" => 14,
        _ => 13,
    }
}

/// Returns how the local server is reached.
pub fn local(postgres: &PostgresSettings, verb: &str) -> ConnSettings {
    with_host(Host::Unix(postgres.socket_directory.clone(), postgres.port), postgres, verb)
}

/// Returns how a peer's server is reached.
pub fn peer(node: &Node, postgres: &PostgresSettings, verb: &str) -> ConnSettings {
    with_host(Host::Tcp(node.address, postgres.port), postgres, verb)
}

/// Returns how the witness's server is reached.
pub fn witness(witness: &WitnessSettings, postgres: Option<&PostgresSettings>, verb: &str) -> ConnSettings {
    let defaults = PostgresSettings::new(PathBuf::new());
    let settings = PostgresSettings {
        port: witness.port.unwrap_or(defaults.port),
        user: witness.user.clone().unwrap_or_else(|| defaults.user.clone()),
        database: witness.database.clone(),
        conninfo: witness.conninfo.clone(),
        connect_timeout: postgres.map_or(defaults.connect_timeout, |own| own.connect_timeout),
        ..defaults
    };
    with_host(Host::Tcp(witness.address, settings.port), &settings, verb)
}

/// Returns how the server behind an address is reached.
pub fn address(address: std::net::IpAddr, postgres: &PostgresSettings, verb: &str) -> ConnSettings {
    with_host(Host::Tcp(address, postgres.port), postgres, verb)
}

/// Returns how the server at a host is reached, with everything else from the settings.
pub fn with_host(host: Host, postgres: &PostgresSettings, verb: &str) -> ConnSettings {
    let params = postgres.conninfo.clone().over(&environment(true));
    let mut conn = base(host, postgres, verb);
    conn.tls_name.clone_from(&postgres.tls_name);
    match Connection::resolve(&params) {
        Ok(connection) => complete(conn, &params, connection),
        // Told when the connection is made, so that a wrong variable doesn't stop what needs none.
        Err(error) => ConnSettings { flaw: Some(error.to_string()), ..conn },
    }
}

/// Returns how the server is reached that was named on the command line or, without a configuration, by libpq's
/// environment. `postgres` holds the defaults; `said` comes before everything.
pub fn named(
    said: Params,
    postgres: &PostgresSettings,
    configured: bool,
    verb: &str,
) -> Result<ConnSettings> {
    let environment = environment(configured);
    let wrong = |error: ConninfoError| Error::config(error.to_string());
    let service = said.get("service").or_else(|| environment.get("service")).map(str::to_owned);
    let said = match service {
        Some(service) => {
            let file = said.get("servicefile").or_else(|| environment.get("servicefile")).map(PathBuf::from);
            said.over(&find_service(&service, file)?)
        }
        None => said,
    };
    let params = said.over(&postgres.conninfo).over(&environment);
    let connection = Connection::resolve(&params).map_err(wrong)?;
    let text = |name: &str| params.get(name).filter(|value| !value.is_empty()).map(str::to_owned);
    let mut endpoints = connection.places.iter().map(|place| endpoint(place, postgres));
    let Some(first) = endpoints.next() else { return Err(Error::config("no server is named")) };
    let others: Vec<Endpoint> = endpoints.collect();
    let mut conn = base(first.host, postgres, verb);
    conn.name = first.name;
    conn.tls_name = first.tls_name;
    conn.others = others;
    conn.user = text("user").unwrap_or(conn.user);
    conn.dbname = text("dbname").unwrap_or(conn.dbname);
    Ok(complete(conn, &params, connection))
}

fn base(host: Host, postgres: &PostgresSettings, verb: &str) -> ConnSettings {
    let mut conn = ConnSettings::new(host, postgres.user.clone(), verb);
    conn.dbname.clone_from(&postgres.database);
    conn.connect_timeout = postgres.connect_timeout;
    conn
}

fn endpoint(place: &Place, postgres: &PostgresSettings) -> Endpoint {
    let port = place.port.unwrap_or(postgres.port);
    let host = match &place.host {
        PlaceHost::Usual => Host::Unix(postgres.socket_directory.clone(), port),
        PlaceHost::Socket(folder) => Host::Unix(folder.clone(), port),
        PlaceHost::Address(address) => Host::Tcp(*address, port),
        PlaceHost::Name(name) => Host::Name(name.clone(), port),
    };
    let mut endpoint = Endpoint::new(host);
    if let Some(name) = &place.name {
        endpoint.name = Some(name.clone());
        endpoint.tls_name = Some(name.clone());
    }
    endpoint
}

/// Adds what the parameters say besides the place, and the password.
fn complete(mut conn: ConnSettings, params: &Params, connection: Connection) -> ConnSettings {
    let text = |name: &str| params.get(name).filter(|value| !value.is_empty());
    conn.target = connection.target;
    conn.tls = connection.tls;
    conn.channel_binding = connection.channel_binding;
    conn.keepalives = connection.keepalives;
    conn.options = text("options").map(str::to_owned);
    let handed_on = HANDED_ON.iter().filter_map(|name| Some(((*name).to_owned(), text(name)?.to_owned())));
    conn.handed_on = handed_on.collect();
    if let Some(name) = text("application_name").or_else(|| text("fallback_application_name")) {
        name.clone_into(&mut conn.application_name);
    }
    if let Some(limit) = connection.connect_timeout {
        conn.connect_timeout = limit.unwrap_or(UNLIMITED);
    }
    conn.home = home();
    let file = super::conn::password_file(text("passfile").map(Path::new), conn.home.as_deref());
    // A password file that others may read is ignored, as libpq does; `cluster check` is the place to say so.
    let passwords = file.and_then(|file| super::pgpass::load(&file).ok().flatten());
    conn.with_password_from(text("password").map(Secret::new), passwords.as_ref())
}

/// Returns the settings of a replication connection to the same server: the password file has lines of its own
/// for those, with `replication` in the place of the database.
pub fn for_replication(conn: &ConnSettings) -> ConnSettings {
    let conn = ConnSettings { dbname: "replication".to_owned(), ..conn.clone() };
    let named = std::env::var_os("PGPASSFILE").map(PathBuf::from);
    let file = super::conn::password_file(named.as_deref(), conn.home.as_deref());
    let passwords = file.and_then(|file| super::pgpass::load(&file).ok().flatten());
    let found =
        ConnSettings { password: None, ..conn.clone() }.with_password_from(None, passwords.as_ref()).password;
    ConnSettings { password: found.or_else(|| conn.password.clone()), ..conn }
}

/// Reads libpq's variables; of a configured server only those that protect the connection.
fn environment(configured: bool) -> Params {
    Params::from_environment(|name| {
        let counts = !configured || name == "PGSERVICEFILE" || libpq::PROTECTING_VARIABLES.contains(&name);
        std::env::var(name).ok().filter(|_| counts)
    })
}

fn home() -> Option<PathBuf> {
    let said = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    said.or_else(|| nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten().map(|user| user.dir))
}

/// Looks a service up: in the file that is named or the user's own, then in the system's.
fn find_service(service: &str, named: Option<PathBuf>) -> Result<Params> {
    let must = named.is_some();
    let own = named.or_else(|| home().map(|home| home.join(".pg_service.conf")));
    let folder = std::env::var_os("PGSYSCONFDIR").filter(|folder| !folder.is_empty());
    let system = folder.map_or_else(|| PathBuf::from(SYSTEM_FOLDER), PathBuf::from).join("pg_service.conf");
    for (file, must) in own.into_iter().map(|file| (file, must)).chain([(system, false)]) {
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must => continue,
            Err(error) => {
                return Err(
                    Error::config(format!("can't read the service file {}", file.display())).detail(error)
                );
            }
        };
        let found = libpq::find_service(&text, &file.display().to_string(), service);
        if let Some(params) = found.map_err(|error| Error::config(error.to_string()))? {
            return Ok(params);
        }
    }
    Err(Error::config(format!("there is no service \"{}\" in the service files", service.escape_debug()))
        .hint("they are PGSERVICEFILE or ~/.pg_service.conf, and pg_service.conf in PGSYSCONFDIR"))
}
