//! How a server is reached and as whom: what a session is opened with.
//!
//! Values only; the one function that asks the network is [`Endpoint::addresses`], with a deadline.

use super::conn::ConnError;
use super::pgpass::{PgPass, Secret, Target};
use crate::host::clock::Deadline;
use crate::settings::libpq::{ChannelBinding, Keepalives, TargetSession, Tls};
use std::net::{IpAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Duration;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// An address and a port.
    Tcp(IpAddr, u16),
    /// A host name, looked up when the connection is made, and a port.
    Name(String, u16),
    /// The folder of a Unix socket, and the port in the socket's name.
    Unix(PathBuf, u16),
}

impl Host {
    /// Returns the port.
    pub const fn port(&self) -> u16 {
        match self {
            Self::Tcp(_, port) | Self::Name(_, port) | Self::Unix(_, port) => *port,
        }
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(ip @ IpAddr::V6(_), port) => write!(f, "[{ip}]:{port}"),
            Self::Tcp(ip, port) => write!(f, "{ip}:{port}"),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
            Self::Unix(folder, port) => write!(f, "{}/.s.PGSQL.{port}", folder.display()),
        }
    }
}

/// One of the servers that are tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The address or socket.
    pub host: Host,
    /// The host as it was written, if that isn't [`Self::host`]: the password is looked up by it.
    pub name: Option<String>,
    /// The host that the certificate must be made out to; `None`: nobody can be verified.
    pub tls_name: Option<String>,
    /// The password, if one is known.
    pub password: Option<Secret>,
}

impl Endpoint {
    /// Creates an endpoint whose names are those of the host.
    pub fn new(host: Host) -> Self {
        let tls_name = match &host {
            Host::Tcp(ip, _) => Some(ip.to_string()),
            Host::Name(name, _) => Some(name.clone()),
            Host::Unix(..) => None,
        };
        Self { host, name: None, tls_name, password: None }
    }

    /// Looks a name up; everything else is itself.
    pub(super) fn addresses(&self, deadline: Deadline) -> Result<Vec<Self>, ConnError> {
        let Host::Name(name, port) = &self.host else { return Ok(vec![self.clone()]) };
        let (answer, found) = channel();
        let question = (name.clone(), *port);
        // The system's resolver knows no deadline, so it is asked on a thread that may be left behind.
        let asked = std::thread::Builder::new().name("resolve".to_owned()).spawn(move || {
            let addresses = question.to_socket_addrs().map(Iterator::collect::<Vec<_>>);
            answer.send(addresses).unwrap_or_default();
        });
        let unknown = |why: &dyn std::fmt::Display| ConnError::NoRoute(name.clone(), why.to_string());
        asked.map_err(|error| unknown(&error))?;
        let addresses = match found.recv_timeout(deadline.left()) {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(error)) => return Err(unknown(&error)),
            Err(_) => return Err(ConnError::Timeout(self.host.to_string())),
        };
        let at = |address: std::net::SocketAddr| Self {
            host: Host::Tcp(address.ip(), *port),
            name: Some(self.name.clone().unwrap_or_else(|| name.clone())),
            ..self.clone()
        };
        Ok(addresses.into_iter().map(at).collect())
    }
}

/// How to reach a server, and as whom.
#[derive(Debug, Clone)]
pub struct ConnSettings {
    /// The address or socket.
    pub host: Host,
    /// The host as it was written, if that isn't [`Self::host`]: the password is looked up by it.
    pub name: Option<String>,
    /// The host that the certificate must be made out to, if it isn't the one above.
    pub tls_name: Option<String>,
    /// The servers that are tried after it, in this order.
    pub others: Vec<Endpoint>,
    /// The role.
    pub user: String,
    /// The database.
    pub dbname: String,
    /// The password, if one is known.
    pub password: Option<Secret>,
    /// What `pg_stat_activity` shows, `pgbaton/<verb>`.
    pub application_name: String,
    /// The longest time to wait for a session with one server, within the deadline of the call.
    pub connect_timeout: Duration,
    /// After this the *server* gives a statement up, so that a spent session leaves nothing running there.
    pub statement_timeout: Duration,
    /// What the server must be.
    pub target: TargetSession,
    /// How a connection over TCP is encrypted.
    pub tls: Tls,
    /// Whether the password exchange must be bound to it.
    pub channel_binding: ChannelBinding,
    /// How a dead machine is noticed.
    pub keepalives: Keepalives,
    /// More options for the server's session, as in `PGOPTIONS`.
    pub options: Option<String>,
    /// How the connection is protected and kept alive, as libpq's programs are told: keyword and value.
    pub handed_on: Vec<(String, String)>,
    /// Where `.postgresql/root.crt` and its like are.
    pub home: Option<PathBuf>,
    /// Why no connection can be made with these settings.
    pub flaw: Option<String>,
}

impl ConnSettings {
    /// Creates settings for `user` on database `postgres`, with the defaults for everything else.
    pub fn new(host: Host, user: impl Into<String>, verb: &str) -> Self {
        Self {
            host,
            name: None,
            tls_name: None,
            others: Vec::new(),
            user: user.into(),
            dbname: "postgres".to_owned(),
            password: None,
            application_name: format!("pgbaton/{verb}"),
            connect_timeout: Duration::from_secs(2),
            statement_timeout: Duration::from_secs(30),
            target: TargetSession::Any,
            tls: Tls::default(),
            channel_binding: ChannelBinding::default(),
            keepalives: Keepalives::default(),
            options: None,
            handed_on: Vec::new(),
            home: None,
            flaw: None,
        }
    }

    /// Finds the passwords as libpq would: the environment's first, else the file's.
    #[must_use]
    pub fn with_password_from(mut self, environment: Option<Secret>, file: Option<&PgPass>) -> Self {
        if self.password.is_none() {
            self.password = environment;
        }
        let said = self.password.clone();
        let find = |endpoint: &Endpoint| {
            said.clone().or_else(|| file?.lookup(&target(endpoint, &self.dbname, &self.user)).cloned())
        };
        let password = find(&self.first_endpoint());
        let others: Vec<Option<Secret>> = self.others.iter().map(find).collect();
        self.password = password;
        for (other, password) in self.others.iter_mut().zip(others) {
            other.password = password;
        }
        self
    }

    /// Returns the servers in the order in which they are tried.
    pub fn endpoints(&self) -> impl Iterator<Item = Endpoint> + '_ {
        std::iter::once(self.first_endpoint()).chain(self.others.iter().cloned())
    }

    fn first_endpoint(&self) -> Endpoint {
        let mut first = Endpoint::new(self.host.clone());
        first.name.clone_from(&self.name);
        first.password.clone_from(&self.password);
        if self.tls_name.is_some() {
            first.tls_name.clone_from(&self.tls_name);
        }
        first
    }
}

fn target<'a>(endpoint: &'a Endpoint, dbname: &'a str, user: &'a str) -> Target<'a> {
    let socket = matches!(endpoint.host, Host::Unix(..));
    let host = match (&endpoint.name, &endpoint.host) {
        (Some(name), _) | (None, Host::Name(name, _)) => name.as_str().into(),
        (None, Host::Tcp(ip, _)) => ip.to_string().into(),
        (None, Host::Unix(folder, _)) => folder.to_string_lossy(),
    };
    Target { host, socket, port: endpoint.host.port(), dbname, user }
}

/// Returns the password file libpq would read: `PGPASSFILE`, else `.pgpass` in the home folder.
pub fn password_file(pgpassfile: Option<&Path>, home: Option<&Path>) -> Option<PathBuf> {
    pgpassfile.map(Path::to_path_buf).or_else(|| home.map(|home| home.join(".pgpass")))
}
