//! One server, one connection: plain or encrypted, in libpq's order, and a look at what the server is.
//!
//! Runs on the session's own thread: everything here may hang as long as the server likes.

use super::conn::{ConnError, ConnSettings, Endpoint, Host, TlsFacts};
use super::tls::{Connector, TlsError};
use crate::settings::libpq::{ChannelBinding, SslMode, TargetSession};
use postgres::error::DbError;
use postgres::{Client, Config, NoTls, SimpleQueryMessage};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Warnings of the statement that runs, kept for as long as it takes to look at them.
pub(super) type Notices = Arc<Mutex<Vec<DbError>>>;

/// A connection.
pub(super) struct Connected {
    pub(super) client: Client,
    pub(super) tls: Option<TlsFacts>,
}

/// Connects to one server.
pub(super) fn connect(
    settings: &ConnSettings,
    endpoint: &Endpoint,
    target: TargetSession,
    notices: &Notices,
) -> Result<Connected, ConnError> {
    let mut config = config(settings, endpoint, target);
    let kept = Arc::clone(notices);
    config.notice_callback(move |notice| {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        // Bounded: a statement may raise any number of notices.
        if kept.len() < 64 {
            kept.push(notice);
        }
    });
    let mut attempt = Attempt { settings, endpoint, config, place: endpoint.host.to_string() };
    let mut connected = attempt.by_mode()?;
    suits(&mut connected.client, target, &attempt.place)?;
    Ok(connected)
}

struct Attempt<'a> {
    settings: &'a ConnSettings,
    endpoint: &'a Endpoint,
    config: Config,
    place: String,
}

impl Attempt<'_> {
    fn by_mode(&mut self) -> Result<Connected, ConnError> {
        if matches!(self.endpoint.host, Host::Unix(..)) {
            return self.plain();
        }
        match self.settings.tls.mode {
            SslMode::Disable => self.plain(),
            SslMode::Allow => match self.plain() {
                Err(ConnError::Auth(_)) => self.encrypted(true).1,
                other => other,
            },
            SslMode::Prefer => match self.encrypted(false) {
                // Without a handshake there was no TLS to blame.
                (true, Err(ConnError::Auth(_))) | (_, Err(ConnError::Tls(_))) => self.plain(),
                (_, other) => other,
            },
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => self.encrypted(true).1,
        }
    }

    fn plain(&mut self) -> Result<Connected, ConnError> {
        self.config.ssl_mode(postgres::config::SslMode::Disable);
        let client = self.config.connect(NoTls).map_err(|error| classify(&error, &self.place))?;
        Ok(Connected { client, tls: None })
    }

    /// Also returns whether a handshake was begun.
    fn encrypted(&mut self, required: bool) -> (bool, Result<Connected, ConnError>) {
        use postgres::config::SslMode::{Prefer, Require};
        self.config.ssl_mode(if required { Require } else { Prefer });
        let settings = self.settings;
        let connector =
            Connector::new(&settings.tls, settings.home.as_deref(), self.endpoint.tls_name.as_deref());
        let connector = match connector {
            Ok(connector) => connector,
            Err(error) => return (false, Err(ConnError::Tls(error.to_string()))),
        };
        let result = self.config.connect(connector.clone());
        let result = result.map_err(|error| classify(&error, &self.place));
        (connector.tried(), result.map(|client| Connected { client, tls: connector.facts() }))
    }
}

fn config(settings: &ConnSettings, endpoint: &Endpoint, target: TargetSession) -> Config {
    let mut config = Config::new();
    match &endpoint.host {
        Host::Tcp(ip, port) => config.hostaddr(*ip).host(&ip.to_string()).port(*port),
        Host::Name(name, port) => config.host(name).port(*port),
        Host::Unix(folder, port) => config.host_path(folder).port(*port),
    };
    let timed = |said: Option<Duration>, default: u64| said.unwrap_or(Duration::from_secs(default));
    let keep = &settings.keepalives;
    config
        .user(&settings.user)
        .dbname(&settings.dbname)
        .application_name(&settings.application_name)
        .connect_timeout(settings.connect_timeout)
        .keepalives(keep.on.unwrap_or(true))
        .keepalives_idle(timed(keep.idle, 2))
        .keepalives_interval(timed(keep.interval, 1))
        .keepalives_retries(keep.count.unwrap_or(3))
        .tcp_user_timeout(timed(keep.user_timeout, 5))
        .channel_binding(match settings.channel_binding {
            ChannelBinding::Disable => postgres::config::ChannelBinding::Disable,
            ChannelBinding::Prefer => postgres::config::ChannelBinding::Prefer,
            ChannelBinding::Require => postgres::config::ChannelBinding::Require,
        })
        .ssl_negotiation(if settings.tls.direct {
            postgres::config::SslNegotiation::Direct
        } else {
            postgres::config::SslNegotiation::Postgres
        });
    // What the server's own setting says is looked at first when that is what matters.
    let writes = match target {
        TargetSession::ReadWrite | TargetSession::ReadOnly => "",
        _ => " -c default_transaction_read_only=off",
    };
    // The last one wins: what pgbaton relies on stands after what was asked for.
    config.options(&format!(
        "{} -c search_path= -c statement_timeout={}{writes}",
        settings.options.as_deref().unwrap_or_default(),
        settings.statement_timeout.as_millis()
    ));
    if let Some(password) = &endpoint.password {
        config.password(password.reveal());
    }
    config
}

/// Refuses a server that isn't what was asked for.
fn suits(client: &mut Client, target: TargetSession, place: &str) -> Result<(), ConnError> {
    let (question, wanted) = match target {
        TargetSession::Any | TargetSession::PreferStandby => return Ok(()),
        TargetSession::Primary => ("SELECT pg_is_in_recovery()", "f"),
        TargetSession::Standby => ("SELECT pg_is_in_recovery()", "t"),
        TargetSession::ReadWrite => ("SHOW transaction_read_only", "off"),
        TargetSession::ReadOnly => ("SHOW transaction_read_only", "on"),
    };
    let messages = client.simple_query(question).map_err(|error| classify(&error, place))?;
    let answer = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.try_get(0).ok().flatten(),
        _ => None,
    });
    if answer != Some(wanted) {
        return Err(ConnError::Unsuited(format!("the server at {place} isn't {}", target.name())));
    }
    if matches!(target, TargetSession::ReadWrite | TargetSession::ReadOnly) {
        client
            .simple_query("SET default_transaction_read_only = off")
            .map_err(|error| classify(&error, place))?;
    }
    Ok(())
}

/// Sorts an error of the crate by what it means here.
pub(super) fn classify(error: &postgres::Error, place: &str) -> ConnError {
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
    if error.to_string().starts_with("error performing TLS handshake") {
        let why = source.map_or_else(|| error.to_string(), ToString::to_string);
        return ConnError::Tls(match source.and_then(|source| source.downcast_ref::<TlsError>()) {
            Some(ours) => format!("{place}: {ours}"),
            None => format!("{place}: {why}"),
        });
    }
    if let Some(io) = source.and_then(|source| source.downcast_ref::<std::io::Error>()) {
        use std::io::ErrorKind as Io;
        return match io.kind() {
            Io::ConnectionRefused | Io::NotFound => ConnError::Refused(place.to_owned()),
            Io::TimedOut => ConnError::Timeout(place.to_owned()),
            Io::HostUnreachable | Io::NetworkUnreachable | Io::AddrNotAvailable => {
                ConnError::NoRoute(place.to_owned(), crate::error::plain(io.to_string()))
            }
            Io::PermissionDenied => ConnError::Auth(format!("{place}: {io}")),
            // What the library says of an answer that ended early.
            Io::UnexpectedEof => ConnError::Lost(format!("{place} ended the connection within an answer")),
            _ => ConnError::Lost(crate::error::plain(io.to_string())),
        };
    }
    let text = source.map_or_else(|| error.to_string(), ToString::to_string);
    match error.to_string() {
        said if said.starts_with("authentication") || text.contains("password") => ConnError::Auth(text),
        _ => ConnError::Lost(text),
    }
}
