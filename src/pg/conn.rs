//! SQL with a hard deadline on every call.
//!
//! The `postgres` crate bounds only the TCP connect: a server that is stopped (SIGSTOP, a frozen disk, a paused
//! machine) accepts and then never answers. So each connection lives on a thread of its own, and the caller waits
//! for that thread with a deadline. When the deadline passes the session is spent and its thread is left behind; it
//! ends when the server answers or dies, or, over TCP, when keepalives find the other machine gone. **Rule for
//! callers**: while such a thread may be alive, keep no more than one per target (probe again on a longer interval).
//!
//! Statements go by the simple protocol: several statements are one round trip, and rows are text.

use super::pgpass::{PgPass, Secret, Target};
use crate::error::{Error, Kind};
use crate::host::clock::Deadline;
use postgres::config::SslMode;
use postgres::error::DbError;
use postgres::{Client, Config, NoTls, SimpleQueryMessage};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// An address and a port.
    Tcp(IpAddr, u16),
    /// The folder of a Unix socket, and the port in the socket's name.
    Unix(PathBuf, u16),
}

impl Host {
    /// Returns the port.
    pub const fn port(&self) -> u16 {
        match self {
            Self::Tcp(_, port) | Self::Unix(_, port) => *port,
        }
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(ip @ IpAddr::V6(_), port) => write!(f, "[{ip}]:{port}"),
            Self::Tcp(ip, port) => write!(f, "{ip}:{port}"),
            Self::Unix(folder, port) => write!(f, "{}/.s.PGSQL.{port}", folder.display()),
        }
    }
}

/// How to reach a server, and as whom.
#[derive(Debug, Clone)]
pub struct ConnSettings {
    /// The address or socket.
    pub host: Host,
    /// The role.
    pub user: String,
    /// The database.
    pub dbname: String,
    /// The password, if one is known.
    pub password: Option<Secret>,
    /// What `pg_stat_activity` shows, `pgbaton/<verb>`.
    pub application_name: String,
    /// The longest time to wait for a session, within the deadline of the call.
    pub connect_timeout: Duration,
    /// After this the *server* gives a statement up, so that a spent session leaves nothing running there.
    pub statement_timeout: Duration,
}

impl ConnSettings {
    /// Creates settings for `user` on database `postgres`, with the defaults for everything else.
    pub fn new(host: Host, user: impl Into<String>, verb: &str) -> Self {
        Self {
            host,
            user: user.into(),
            dbname: "postgres".to_owned(),
            password: None,
            application_name: format!("pgbaton/{verb}"),
            connect_timeout: Duration::from_secs(2),
            statement_timeout: Duration::from_secs(30),
        }
    }

    /// Finds the password as libpq would: the environment's first, else the file's.
    #[must_use]
    pub fn with_password_from(mut self, environment: Option<Secret>, file: Option<&PgPass>) -> Self {
        if self.password.is_none() {
            self.password = environment.or_else(|| file?.lookup(&self.target()).cloned());
        }
        self
    }

    fn target(&self) -> Target<'_> {
        let socket = matches!(self.host, Host::Unix(..));
        let host = match &self.host {
            Host::Tcp(ip, _) => ip.to_string().into(),
            Host::Unix(folder, _) => folder.to_string_lossy(),
        };
        Target { host, socket, port: self.host.port(), dbname: &self.dbname, user: &self.user }
    }

    fn config(&self) -> Config {
        let mut config = Config::new();
        match &self.host {
            Host::Tcp(ip, port) => config.hostaddr(*ip).port(*port),
            Host::Unix(folder, port) => config.host_path(folder).port(*port),
        };
        config
            .user(&self.user)
            .dbname(&self.dbname)
            .application_name(&self.application_name)
            .ssl_mode(SslMode::Disable)
            .connect_timeout(self.connect_timeout)
            .keepalives(true)
            .keepalives_idle(Duration::from_secs(2))
            .keepalives_interval(Duration::from_secs(1))
            .keepalives_retries(3)
            .tcp_user_timeout(Duration::from_secs(5))
            .options(&format!(
                "-c search_path= -c statement_timeout={} -c default_transaction_read_only=off",
                self.statement_timeout.as_millis()
            ));
        if let Some(password) = &self.password {
            config.password(password.reveal());
        }
        config
    }
}

/// Returns the password file libpq would read: `PGPASSFILE`, else `.pgpass` in the home folder.
pub fn password_file(pgpassfile: Option<&Path>, home: Option<&Path>) -> Option<PathBuf> {
    pgpassfile.map(Path::to_path_buf).or_else(|| home.map(|home| home.join(".pgpass")))
}

/// Why a server didn't do as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnError {
    /// Nothing listens there: the connection was refused or the socket doesn't exist. Says nothing about backends
    /// that outlived their postmaster.
    #[error("nothing listens at {0}")]
    Refused(String),
    /// The network has no way there.
    #[error("{0} can't be reached: {1}")]
    NoRoute(String, String),
    /// No answer by the deadline; whether the statement was done is unknown.
    #[error("no answer from {0} in time")]
    Timeout(String),
    /// The server doesn't let this role in.
    #[error("{0}")]
    Auth(String),
    /// SQLSTATE 57P03: starting up, shutting down, in recovery and not yet open.
    #[error("{0}")]
    StartingUp(String),
    /// SQLSTATE 53300: all connection slots are taken.
    #[error("{0}")]
    TooMany(String),
    /// The database doesn't exist.
    #[error("{0}")]
    NotFound(String),
    /// The connection broke during the call; whether the statement was done is unknown.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// The commit is local only: the wait for a synchronous standby was cancelled. The server reports success.
    #[error("committed here, but not known to be on a standby: {0}")]
    NotReplicated(String),
    /// Anything else the server said: SQLSTATE and message.
    #[error("{1} (SQLSTATE {0})")]
    Other(String, String),
}

impl ConnError {
    /// Returns whether the outcome of the statement is unknown.
    pub const fn outcome_unknown(&self) -> bool {
        matches!(self, Self::Timeout(_) | Self::Lost(_))
    }

    /// Returns the SQLSTATE of [`ConnError::Other`].
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Other(state, _) => Some(state),
            _ => None,
        }
    }
}

impl From<ConnError> for Error {
    fn from(error: ConnError) -> Self {
        let kind = match &error {
            ConnError::Refused(_) | ConnError::NoRoute(..) | ConnError::Timeout(_) | ConnError::Lost(_) => {
                Kind::Unreachable
            }
            ConnError::Auth(_) => Kind::Permission,
            ConnError::StartingUp(_) | ConnError::TooMany(_) => Kind::TryAgain,
            ConnError::NotFound(_) => Kind::Config,
            ConnError::Other(state, _) if state == "42501" => Kind::Permission,
            ConnError::NotReplicated(_) | ConnError::Other(..) => Kind::Failed,
        };
        let told = Self::new(kind, error.to_string());
        match error {
            ConnError::Refused(_) => told.hint(
                "does PostgreSQL run there, with this port and unix_socket_directories? pg_lsclusters, or ss -ltx",
            ),
            ConnError::NoRoute(..) => told.hint("is the address right, and is the network up? ip route get ADDRESS"),
            ConnError::Timeout(_) => told.hint("is the machine up, and does a firewall drop the packets?"),
            ConnError::Auth(_) => told.hint("which line of pg_hba.conf lets this role in from here?"),
            _ => told,
        }
    }
}

/// One row: its columns as text, `None` for NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row(Vec<Option<String>>);

impl Row {
    /// Returns a column's text; `None` for NULL and for a column that isn't there.
    pub fn get(&self, column: usize) -> Option<&str> {
        self.0.get(column)?.as_deref()
    }

    /// Returns whether a boolean column is true.
    pub fn is_true(&self, column: usize) -> bool {
        self.get(column) == Some("t")
    }
}

/// A connection to one server.
#[derive(Debug)]
pub struct Session {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    place: String,
    spent: Option<ConnError>,
}

#[derive(Debug)]
struct Job {
    sql: String,
    answer: Sender<Result<Answer, ConnError>>,
}

#[derive(Debug)]
struct Answer {
    rows: Vec<Row>,
    affected: u64,
}

/// Warnings of the statement that runs, kept for as long as it takes to look at them.
type Notices = Arc<Mutex<Vec<DbError>>>;

impl Session {
    /// Connects, at the latest until `deadline`.
    pub fn connect(settings: &ConnSettings, deadline: Deadline) -> Result<Self, ConnError> {
        let place = settings.host.to_string();
        let deadline = deadline.within(settings.connect_timeout);
        let (jobs, inbox) = channel::<Job>();
        let (ready, connected) = channel();
        let config = settings.config();
        let host = place.clone();
        let thread = std::thread::Builder::new()
            .name("sql".to_owned())
            // The daemon locks its memory: the default of 2 MiB for each would count.
            .stack_size(512 * 1024)
            .spawn(move || live(config, &host, &ready, &inbox))
            .map_err(|error| {
                ConnError::Other("XX000".to_owned(), format!("can't start a thread: {error}"))
            })?;
        match connected.recv_timeout(deadline.left()) {
            Ok(Ok(())) => Ok(Self { jobs: Some(jobs), thread: Some(thread), place, spent: None }),
            Ok(Err(error)) => Err(error),
            Err(RecvTimeoutError::Timeout) => Err(ConnError::Timeout(place)),
            Err(RecvTimeoutError::Disconnected) => {
                Err(ConnError::Lost("the session's thread ended".to_owned()))
            }
        }
    }

    /// Runs one or more statements and returns the rows of all of them.
    ///
    /// Several statements are one transaction unless they say otherwise. A session whose deadline has passed, or
    /// whose connection broke, answers every later call with the same error.
    pub fn query(&mut self, sql: impl Into<String>, deadline: Deadline) -> Result<Vec<Row>, ConnError> {
        self.ask(sql.into(), deadline).map(|answer| answer.rows)
    }

    /// Runs one or more statements and returns how many rows the last one touched.
    pub fn execute(&mut self, sql: impl Into<String>, deadline: Deadline) -> Result<u64, ConnError> {
        self.ask(sql.into(), deadline).map(|answer| answer.affected)
    }

    /// Returns the address or socket, for messages.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Returns why this session can't be used any more.
    pub const fn spent(&self) -> Option<&ConnError> {
        self.spent.as_ref()
    }

    /// Says good-bye and waits until the connection is closed, so that its locks are gone; false when the
    /// deadline passed first.
    pub fn close(mut self, deadline: Deadline) -> bool {
        drop(self.jobs.take());
        let Some(thread) = self.thread.take() else { return false };
        let (done, ended) = channel();
        let waiter = std::thread::Builder::new().name("sql-close".to_owned()).spawn(move || {
            let quiet = thread.join().is_ok();
            // The caller may have stopped waiting.
            done.send(quiet).unwrap_or_default();
        });
        waiter.is_ok() && ended.recv_timeout(deadline.left()).unwrap_or(false)
    }

    fn ask(&mut self, sql: String, deadline: Deadline) -> Result<Answer, ConnError> {
        if let Some(error) = &self.spent {
            return Err(error.clone());
        }
        let (answer, reply) = channel();
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(Job { sql, answer }).is_ok());
        let result =
            if sent { reply.recv_timeout(deadline.left()) } else { Err(RecvTimeoutError::Disconnected) };
        let result = match result {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(ConnError::Timeout(self.place.clone())),
            Err(RecvTimeoutError::Disconnected) => {
                Err(ConnError::Lost("the session's thread ended".to_owned()))
            }
        };
        if let Err(error) = &result
            && error.outcome_unknown()
        {
            self.spent = Some(error.clone());
            self.jobs = None;
        }
        result
    }
}

/// The life of a session's thread: connect, then one job after another until nobody asks any more.
fn live(mut config: Config, place: &str, ready: &Sender<Result<(), ConnError>>, inbox: &Receiver<Job>) {
    let notices = Notices::default();
    let kept = Arc::clone(&notices);
    config.notice_callback(move |notice| {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        // Bounded: a statement may raise any number of notices.
        if kept.len() < 64 {
            kept.push(notice);
        }
    });
    let mut client = match config.connect(NoTls) {
        Ok(client) => client,
        Err(error) => {
            ready.send(Err(classify(&error, place))).unwrap_or_default();
            return;
        }
    };
    if ready.send(Ok(())).is_err() {
        return;
    }
    for job in inbox {
        let result = run(&mut client, &job.sql, place, &notices);
        // Nobody waits when the deadline has passed.
        job.answer.send(result).unwrap_or_default();
    }
}

fn run(client: &mut Client, sql: &str, place: &str, notices: &Notices) -> Result<Answer, ConnError> {
    notices.lock().unwrap_or_else(PoisonError::into_inner).clear();
    let messages = client.simple_query(sql).map_err(|error| classify(&error, place))?;
    // A cancelled wait for a standby is told as a warning only, followed by success. The text is translated, so
    // the place in the server's source is what it is known by.
    let notices = notices.lock().unwrap_or_else(PoisonError::into_inner);
    let leak = notices.iter().find(|n| n.routine() == Some("SyncRepWaitForLSN"));
    if let Some(leak) = leak {
        return Err(ConnError::NotReplicated(leak.message().to_owned()));
    }
    let mut answer = Answer { rows: Vec::new(), affected: 0 };
    for message in messages {
        match message {
            SimpleQueryMessage::Row(row) => {
                let columns = (0..row.len()).map(|at| row.try_get(at).ok().flatten().map(str::to_owned));
                answer.rows.push(Row(columns.collect()));
            }
            SimpleQueryMessage::CommandComplete(count) => answer.affected = count,
            _ => {}
        }
    }
    Ok(answer)
}

fn classify(error: &postgres::Error, place: &str) -> ConnError {
    if let Some(db) = error.as_db_error() {
        let message = db.message().to_owned();
        return match db.code().code() {
            "57P03" => ConnError::StartingUp(message),
            "57P01" | "57P02" | "57P05" => ConnError::Lost(message),
            "53300" => ConnError::TooMany(message),
            "3D000" => ConnError::NotFound(message),
            code if code.starts_with("28") => ConnError::Auth(message),
            code if code.starts_with("08") => ConnError::Lost(message),
            code => ConnError::Other(code.to_owned(), message),
        };
    }
    let source = std::error::Error::source(error);
    if let Some(io) = source.and_then(|source| source.downcast_ref::<std::io::Error>()) {
        use std::io::ErrorKind as Io;
        return match io.kind() {
            Io::ConnectionRefused | Io::NotFound => ConnError::Refused(place.to_owned()),
            Io::TimedOut => ConnError::Timeout(place.to_owned()),
            Io::HostUnreachable | Io::NetworkUnreachable | Io::AddrNotAvailable => {
                ConnError::NoRoute(place.to_owned(), io.to_string())
            }
            Io::PermissionDenied => ConnError::Auth(format!("{place}: {io}")),
            _ => ConnError::Lost(io.to_string()),
        };
    }
    let text = source.map_or_else(|| error.to_string(), ToString::to_string);
    match error.to_string() {
        said if said.starts_with("authentication") || text.contains("password") => ConnError::Auth(text),
        _ => ConnError::Lost(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(folder: &str) -> ConnSettings {
        ConnSettings::new(Host::Unix(folder.into(), 5432), "baton", "test")
    }

    #[test]
    fn a_missing_socket_is_refused_not_silent() {
        let error = Session::connect(&socket("/nonexistent"), Deadline::after(Duration::from_secs(5)));
        assert_eq!(error.unwrap_err(), ConnError::Refused("/nonexistent/.s.PGSQL.5432".to_owned()));
    }

    #[test]
    fn a_closed_port_is_refused() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let settings = ConnSettings { host: Host::Tcp(address.ip(), address.port()), ..socket("") };
        let error = Session::connect(&settings, Deadline::after(Duration::from_secs(5))).unwrap_err();
        assert_eq!(error, ConnError::Refused(address.to_string()));
    }

    #[test]
    fn a_listener_that_never_answers_hits_the_deadline() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap();
        let settings = ConnSettings { host: Host::Tcp(address.ip(), address.port()), ..socket("") };
        let error = Session::connect(&settings, Deadline::after(Duration::from_millis(50))).unwrap_err();
        assert_eq!(error, ConnError::Timeout(address.to_string()));
    }

    #[test]
    fn the_environment_s_password_comes_before_the_file_s() {
        let file = PgPass::parse("localhost:*:*:baton:file");
        let settings = socket("/run/postgresql").with_password_from(None, Some(&file));
        assert_eq!(settings.password, Some(Secret::new("file")));
        let settings = socket("/run/postgresql").with_password_from(Some(Secret::new("env")), Some(&file));
        assert_eq!(settings.password, Some(Secret::new("env")));
    }

    #[test]
    fn settings_do_not_show_the_password() {
        let settings = socket("/run").with_password_from(Some(Secret::new("hunter2")), None);
        assert!(!format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn an_ipv6_place_has_brackets() {
        assert_eq!(Host::Tcp("fe80::1".parse().unwrap(), 5432).to_string(), "[fe80::1]:5432");
    }
}
