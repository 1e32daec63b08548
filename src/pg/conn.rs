//! SQL with a hard deadline on every call.
//!
//! The `postgres` crate bounds only the TCP connect: a server that is stopped (SIGSTOP, a frozen disk, a paused
//! machine) accepts and then never answers. So each connection lives on a thread of its own, and the caller waits
//! for that thread with a deadline. When the deadline passes the session is spent and its thread is left behind; it
//! ends when the server answers or dies, or, over TCP, when keepalives find the other machine gone. **Rule for
//! callers**: while such a thread may be alive, keep no more than one per target (probe again on a longer interval).
//!
//! Statements go by the simple protocol: several statements are one round trip, and rows are text.

pub use super::reach::{ConnSettings, Endpoint, Host, password_file};
pub use super::tls::TlsFacts;

use super::dial::{self, Connected, Notices};
use crate::error::{Error, Kind};
use crate::host::clock::Deadline;
use crate::settings::libpq::TargetSession;
use postgres::{Client, SimpleQueryMessage};
use std::sync::PoisonError;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;

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
    /// No encrypted connection as it was asked for: a file, the handshake, the certificate.
    #[error("{0}")]
    Tls(String),
    /// The connection parameters contradict themselves or can't be honoured.
    #[error("{0}")]
    Settings(String),
    /// The server isn't what `target_session_attrs` asks for.
    #[error("{0}")]
    Unsuited(String),
    /// Anything else the server said: SQLSTATE and message.
    #[error("{1} (SQLSTATE {0})")]
    Other(String, String),
}

impl ConnError {
    /// Returns whether the outcome of the statement is unknown.
    pub const fn outcome_unknown(&self) -> bool {
        matches!(self, Self::Timeout(_) | Self::Lost(_))
    }

    /// Returns whether the next of several servers is worth a try; as in libpq a server that answered and said no
    /// to this role ends the search.
    const fn try_next(&self) -> bool {
        matches!(
            self,
            Self::Refused(_)
                | Self::NoRoute(..)
                | Self::Timeout(_)
                | Self::Lost(_)
                | Self::StartingUp(_)
                | Self::Unsuited(_)
        )
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
            ConnError::Refused(_)
            | ConnError::NoRoute(..)
            | ConnError::Timeout(_)
            | ConnError::Lost(_)
            | ConnError::Unsuited(_) => Kind::Unreachable,
            ConnError::Auth(_) => Kind::Permission,
            ConnError::StartingUp(_) | ConnError::TooMany(_) => Kind::TryAgain,
            ConnError::NotFound(_) | ConnError::Tls(_) | ConnError::Settings(_) => Kind::Config,
            ConnError::Other(state, _) if state == "42501" => Kind::Permission,
            ConnError::NotReplicated(_) | ConnError::Other(..) => Kind::Failed,
        };
        let told = Self::new(kind, error.to_string());
        match error {
            ConnError::Refused(_) => told.hint(
                "does PostgreSQL run there, with this port and unix_socket_directories? pg_lsclusters, or ss -ltx",
            ),
            ConnError::NoRoute(..) => told.hint("is the host on, the address right and the network up? ping ADDRESS; ip route get ADDRESS"),
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
    tls: Option<TlsFacts>,
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

impl Session {
    /// Connects to the first server that will do, at the latest until `deadline`.
    ///
    /// Each server gets `connect_timeout`, each address of a name too.
    pub fn connect(settings: &ConnSettings, deadline: Deadline) -> Result<Self, ConnError> {
        if let Some(flaw) = &settings.flaw {
            return Err(ConnError::Settings(flaw.clone()));
        }
        if settings.target == TargetSession::PreferStandby {
            return match Self::first(settings, TargetSession::Standby, deadline) {
                Err(error) if error.try_next() => Self::first(settings, TargetSession::Any, deadline),
                other => other,
            };
        }
        Self::first(settings, settings.target, deadline)
    }

    fn first(settings: &ConnSettings, target: TargetSession, deadline: Deadline) -> Result<Self, ConnError> {
        let mut last = None;
        for endpoint in settings.endpoints() {
            let addresses = match endpoint.addresses(deadline.within(settings.connect_timeout)) {
                Ok(addresses) => addresses,
                Err(error) => {
                    last = Some(error);
                    continue;
                }
            };
            for endpoint in addresses {
                match Self::open(settings.clone(), endpoint, target, deadline) {
                    Err(error) if error.try_next() => last = Some(error),
                    other => return other,
                }
            }
        }
        Err(last.unwrap_or_else(|| ConnError::Settings("no server is named".to_owned())))
    }

    fn open(
        settings: ConnSettings,
        endpoint: Endpoint,
        target: TargetSession,
        deadline: Deadline,
    ) -> Result<Self, ConnError> {
        let place = endpoint.host.to_string();
        let deadline = deadline.within(settings.connect_timeout);
        let (jobs, inbox) = channel::<Job>();
        let (ready, connected) = channel();
        let thread = std::thread::Builder::new()
            .name("sql".to_owned())
            // The daemon locks its memory: the default of 2 MiB for each would count.
            .stack_size(512 * 1024)
            .spawn(move || live(&settings, &endpoint, target, &ready, &inbox))
            .map_err(|error| {
                ConnError::Other("XX000".to_owned(), format!("can't start a thread: {error}"))
            })?;
        match connected.recv_timeout(deadline.left()) {
            Ok(Ok(tls)) => Ok(Self { jobs: Some(jobs), thread: Some(thread), place, tls, spent: None }),
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

    /// Returns what is known of the encryption; `None` when there is none.
    pub const fn tls(&self) -> Option<&TlsFacts> {
        self.tls.as_ref()
    }

    /// Returns when the server's certificate expires, in seconds since 1970.
    pub fn peer_certificate_not_after(&self) -> Option<i64> {
        self.tls.as_ref()?.peer_certificate_not_after
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
fn live(
    settings: &ConnSettings,
    endpoint: &Endpoint,
    target: TargetSession,
    ready: &Sender<Result<Option<TlsFacts>, ConnError>>,
    inbox: &Receiver<Job>,
) {
    let place = endpoint.host.to_string();
    let notices = Notices::default();
    let Connected { mut client, tls } = match dial::connect(settings, endpoint, target, &notices) {
        Ok(connected) => connected,
        Err(error) => {
            ready.send(Err(error)).unwrap_or_default();
            return;
        }
    };
    if ready.send(Ok(tls)).is_err() {
        return;
    }
    for job in inbox {
        let result = run(&mut client, &job.sql, &place, &notices);
        // Nobody waits when the deadline has passed.
        job.answer.send(result).unwrap_or_default();
    }
}

fn run(client: &mut Client, sql: &str, place: &str, notices: &Notices) -> Result<Answer, ConnError> {
    notices.lock().unwrap_or_else(PoisonError::into_inner).clear();
    let messages = client.simple_query(sql).map_err(|error| dial::classify(&error, place))?;
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

#[cfg(test)]
mod tests {
    use super::super::pgpass::{PgPass, Secret};
    use super::*;
    use std::time::Duration;

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
