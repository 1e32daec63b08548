//! Asks the nodes: SQL to every server and through every virtual IP, and the daemons' control sockets, all at once.

use super::shape::{self, Asked, DaemonAnswer, Extras, Seen};
use crate::daemon::control::{self, Request};
use crate::error::Kind;
use crate::host::clock::{self, Deadline};
use crate::output::status::ClusterView;
use crate::pg::conn::{ConnError, ConnSettings, Session};
use crate::pg::local::{self, NEEDS_CHECK_FILE};
use crate::pg::sql::literal;
use crate::pg::{facts, fetch, status_row, target};
use crate::plan::step::NeedsCheck;
use crate::settings::{PostgresSettings, Settings};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::thread::{Builder, Scope, ScopedJoinHandle};
use std::time::Duration;

/// How long a server is left alone after it didn't answer: each attempt may leave a thread behind until then.
const REST: Duration = Duration::from_secs(5);

/// Asks a cluster, once or repeatedly; keeps its sessions in between.
#[derive(Debug)]
pub struct Collector {
    settings: Settings,
    timeout: Duration,
    nodes: Vec<Target>,
    vips: Vec<Target>,
    sockets: Vec<PathBuf>,
}

/// A server to ask, and what is kept of the last time.
#[derive(Debug)]
struct Target {
    /// The ways to it, tried in order.
    ways: Vec<ConnSettings>,
    /// Whether a session may be used again; through a virtual IP it would stay with the old node.
    keep: bool,
    session: Option<Session>,
    resting: Option<(Deadline, ConnError)>,
}

impl Collector {
    /// Prepares to ask the nodes of these settings; each has `timeout` for its answer.
    ///
    /// Finds out by this machine's addresses which node it is, if that isn't known yet; on a machine that is none of
    /// them, that stays unknown.
    pub fn new(mut settings: Settings, timeout: Duration) -> Self {
        if settings.me.is_none() {
            // Not being one of the nodes is fine here.
            drop(settings.find_me(&local_addresses()));
        }
        let prepared = |conn: ConnSettings| ConnSettings {
            connect_timeout: timeout,
            statement_timeout: timeout.max(Duration::from_millis(1)),
            ..conn
        };
        let mut nodes = Vec::new();
        for (position, node) in settings.nodes.iter().enumerate() {
            let mut ways = Vec::new();
            if let Some(postgres) = settings.postgres_of(node) {
                if settings.me == Some(position) {
                    ways.push(prepared(target::local(&postgres, "cluster-status")));
                }
                ways.push(prepared(target::peer(node, &postgres, "cluster-status")));
            }
            nodes.push(Target { ways, keep: true, session: None, resting: None });
        }
        let vips = settings.vips.iter().map(|vip| {
            let conn = |postgres: PostgresSettings| {
                prepared(target::address(vip.address.address(), &postgres, "cluster-status"))
            };
            let ways = behind_vip(&settings).map(conn).into_iter().collect();
            Target { ways, keep: false, session: None, resting: None }
        });
        let vips = vips.collect();
        let sockets = settings.nodes.iter().map(|node| settings.control_socket(node)).collect();
        Self { settings, timeout, nodes, vips, sockets }
    }

    /// Returns the settings, with the node that this machine is.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Asks everyone and returns what they said; takes the timeout at most.
    pub fn collect(&mut self) -> ClusterView {
        let timeout = self.timeout;
        let (nodes, vips, daemons) = std::thread::scope(|scope| {
            let nodes: Vec<_> = start_all(scope, &mut self.nodes, timeout, true);
            let vips: Vec<_> = start_all(scope, &mut self.vips, timeout, false);
            let daemons: Vec<_> = self
                .sockets
                .iter()
                .map(|path| Builder::new().spawn_scoped(scope, move || ask_daemon(path, timeout)).ok())
                .collect();
            (finish_all(nodes), finish_all(vips), finish_daemons(daemons))
        });
        let mark_here = mark_here(&self.settings);
        let seen = Seen { nodes, vips, daemons, mark_here, wall: clock::wall(), now: clock::now() };
        shape::view(&self.settings, &seen)
    }
}

type Pending<'scope> = std::io::Result<ScopedJoinHandle<'scope, Option<Result<Asked, ConnError>>>>;

fn start_all<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    targets: &'env mut [Target],
    timeout: Duration,
    extras: bool,
) -> Vec<Pending<'scope>> {
    targets
        .iter_mut()
        .map(|target| Builder::new().spawn_scoped(scope, move || target.ask(timeout, extras)))
        .collect()
}

fn finish_all(pending: Vec<Pending<'_>>) -> Vec<Option<Result<Asked, ConnError>>> {
    let failed = |why: String| Some(Err(ConnError::Other("XX000".to_owned(), why)));
    pending
        .into_iter()
        .map(|thread| match thread {
            Ok(thread) => {
                thread.join().unwrap_or_else(|_| failed("the asking thread ended early".to_owned()))
            }
            Err(error) => failed(format!("can't start a thread: {error}")),
        })
        .collect()
}

fn finish_daemons(pending: Vec<Option<ScopedJoinHandle<'_, DaemonAnswer>>>) -> Vec<DaemonAnswer> {
    let unknown = DaemonAnswer::Hidden;
    pending
        .into_iter()
        .map(|thread| thread.map_or(unknown.clone(), |thread| thread.join().unwrap_or(unknown.clone())))
        .collect()
}

impl Target {
    /// Asks the server; `None` when there is no way to it in the settings.
    fn ask(&mut self, timeout: Duration, extras: bool) -> Option<Result<Asked, ConnError>> {
        if let Some((until, error)) = &self.resting
            && !until.passed()
        {
            return Some(Err(error.clone()));
        }
        self.resting = None;
        let deadline = Deadline::after(timeout);
        if let Some(mut session) = self.session.take() {
            match asked(&mut session, deadline, extras) {
                Ok(asked) => {
                    self.session = Some(session);
                    return Some(Ok(asked));
                }
                // The server was restarted since the last time, or is gone: the attempt below tells.
                Err(ConnError::Lost(_)) => {}
                Err(error) => return Some(Err(self.failed(error))),
            }
        }
        let mut first = None;
        for way in &self.ways {
            let answer = Session::connect(way, deadline).and_then(|mut session| {
                let asked = asked(&mut session, deadline, extras)?;
                Ok((session, asked))
            });
            match answer {
                Ok((session, asked)) => {
                    if self.keep {
                        self.session = Some(session);
                    }
                    return Some(Ok(asked));
                }
                Err(error @ ConnError::Timeout(_)) => {
                    first = Some(error);
                    break;
                }
                Err(error) => first = first.or(Some(error)),
            }
        }
        first.map(|error| Err(self.failed(error)))
    }

    fn failed(&mut self, error: ConnError) -> ConnError {
        if matches!(error, ConnError::Timeout(_)) {
            self.resting = Some((Deadline::after(REST), error.clone()));
        }
        error
    }
}

/// Asks one server for its facts and, where a role may see them, for what only this verb wants.
fn asked(session: &mut Session, deadline: Deadline, extras: bool) -> Result<Asked, ConnError> {
    let facts = facts::observe(session, deadline)?;
    let mut more = Extras::default();
    if extras {
        more.statuses = status_row::read(session, deadline)?;
        more.needs_check = mark(session, deadline)?;
        let timeline = facts.timeline.filter(|_| facts.superuser && !facts.in_recovery);
        if let Some(timeline) = timeline {
            let rows = session.query(
                format!(
                    "SELECT pg_read_file('pg_wal/{}', 0, 1048576, true), \
                     (pg_stat_file('standby.signal', true)).size IS NOT NULL",
                    timeline.history_file_name()
                ),
                deadline,
            )?;
            let row = rows.first();
            more.history = row.and_then(|row| row.get(0)).map(str::to_owned);
            more.standby_signal = row.map(|row| row.is_true(1));
        }
    }
    Ok(Asked { facts, extras: more })
}

/// Reads the mark of a fence from a server's data directory, where the role may.
fn mark(session: &mut Session, deadline: Deadline) -> Result<Option<NeedsCheck>, ConnError> {
    let sql = format!(
        "SELECT CASE WHEN has_function_privilege(\
         'pg_read_binary_file(text, bigint, bigint, boolean)', 'EXECUTE') \
         THEN encode(pg_read_binary_file({}, 0, 4096, true), 'hex') END",
        literal(NEEDS_CHECK_FILE)
    );
    let rows = session.query(sql, deadline)?;
    let bytes = rows.first().and_then(|row| fetch::from_hex(row.get(0)?));
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// Reads the mark on this machine; what can't be read isn't known.
fn mark_here(settings: &Settings) -> Option<NeedsCheck> {
    let me = settings.me().ok()?;
    local::needs_check(&settings.postgres_of(me)?.data_directory, &me.name).ok()?
}

fn ask_daemon(path: &Path, timeout: Duration) -> DaemonAnswer {
    match control::ask(path, Request::Status, Deadline::after(timeout)) {
        Ok(answer) => DaemonAnswer::Said(answer),
        Err(error) => match error.kind() {
            Kind::Unreachable => DaemonAnswer::Absent(error.message().to_owned()),
            Kind::TryAgain => DaemonAnswer::Absent("it doesn't answer on its control socket".to_owned()),
            _ => DaemonAnswer::Hidden,
        },
    }
}

/// Returns the settings of the server behind a virtual IP: with the port that the data nodes agree on.
fn behind_vip(settings: &Settings) -> Option<PostgresSettings> {
    let mut postgres = settings.postgres.clone()?;
    let mut ports: Vec<u16> = settings
        .nodes
        .iter()
        .filter(|node| node.priority.is_some())
        .filter_map(|node| settings.postgres_of(node))
        .map(|postgres| postgres.port)
        .collect();
    ports.sort_unstable();
    ports.dedup();
    if let [port] = ports.as_slice() {
        postgres.port = *port;
    }
    Some(postgres)
}

/// Returns this machine's addresses; none when they can't be read.
fn local_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
        })
        .collect()
}
