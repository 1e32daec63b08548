//! The writer: a client in a namespace that commits numbered rows as fast as one connection can.
//!
//! One thread, any number of sockets, all without blocking. In quiet times there is exactly one connection
//! with one INSERT on its way. When nothing has been heard for [`HEDGE`], it tries a further connection
//! beside those that are silent, each with a new row, and the first acknowledgement wins; so the outage it
//! measures is the service's and not that of the client's own timeouts. A number is never sent twice: a row
//! that turns up without acknowledgement is counted as such.

use crate::demo::namespace::{Namespace, enter};
use crate::demo::sql;
use crate::error::{Error, Result};
use crate::host::clock::{Deadline, now};
use crate::units::Moment;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;
use socket2::{Domain, SockAddr, Socket, Type};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Without an acknowledgement for this long, a further connection is tried beside the silent one.
pub const HEDGE: Duration = Duration::from_millis(5);
/// The hedge where a server has accepted the connection, or commits slowly.
const LONGEST_HEDGE: Duration = Duration::from_millis(50);
/// A connection that has been silent for this long is given up.
pub const GIVE_UP: Duration = Duration::from_millis(100);
/// After a refusal, the pause before the next attempt.
const PAUSE: Duration = Duration::from_millis(2);
/// The longest sleep, so that a stop is noticed.
const NAP: Duration = Duration::from_millis(20);

/// One acknowledged commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The row's number.
    pub id: u64,
    /// When the acknowledgement was read.
    pub at: Moment,
    /// Who acknowledged: an index into [`Ledger::servers`].
    pub server: usize,
}

/// A time without acknowledgements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The last acknowledgement before it.
    pub from: Moment,
    /// The first acknowledgement after it.
    pub to: Moment,
}

impl Gap {
    /// Returns its length.
    pub fn length(self) -> Duration {
        self.to.since(self.from)
    }
}

/// What the writer knows.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// The acknowledged commits in the order in which they were acknowledged.
    pub acknowledged: Vec<Acknowledgement>,
    /// The names (`cluster_name`) of the servers that have acknowledged anything.
    pub servers: Vec<String>,
    /// Connections tried.
    pub attempts: u64,
    /// Rows sent: numbers 1 to this.
    pub sent: u64,
    /// How attempts ended other than by an acknowledgement, and how often.
    pub errors: BTreeMap<String, u64>,
}

impl Ledger {
    /// Returns the first acknowledgement after this moment.
    pub fn first_after(&self, moment: Moment) -> Option<Acknowledgement> {
        self.acknowledged.iter().find(|found| found.at > moment).copied()
    }

    /// Returns the first acknowledgement after this moment by another server than `server`.
    pub fn first_by_other(&self, moment: Moment, server: &str) -> Option<Acknowledgement> {
        self.acknowledged
            .iter()
            .find(|found| found.at > moment && self.server_name(found.server) != server)
            .copied()
    }

    /// Returns the last acknowledgement that isn't after this moment.
    pub fn last_before(&self, moment: Moment) -> Option<Acknowledgement> {
        self.acknowledged.iter().rev().find(|found| found.at <= moment).copied()
    }

    /// Returns the name of a server.
    pub fn server_name(&self, server: usize) -> &str {
        self.servers.get(server).map_or("", String::as_str)
    }

    /// Returns the longest time between two acknowledgements that ends after `fault`.
    pub fn outage(&self, fault: Moment) -> Option<Gap> {
        let next = self.acknowledged.iter().skip(1);
        self.acknowledged
            .iter()
            .zip(next)
            .map(|(earlier, later)| Gap { from: earlier.at, to: later.at })
            .filter(|gap| gap.to > fault)
            .max_by_key(|gap| gap.length())
    }

    /// Returns how many commits a server acknowledged after a moment.
    pub fn count_by(&self, server: &str, after: Moment) -> u64 {
        let by = |found: &&Acknowledgement| found.at > after && self.server_name(found.server) == server;
        u64::try_from(self.acknowledged.iter().filter(by).count()).unwrap_or(u64::MAX)
    }

    /// Compares with the numbers that are present on a server.
    pub fn verify(&self, present: &BTreeSet<u64>) -> Verdict {
        let acknowledged: BTreeSet<u64> = self.acknowledged.iter().map(|found| found.id).collect();
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let lost: Vec<u64> = acknowledged.difference(present).copied().collect();
        Verdict {
            acknowledged: count(acknowledged.len()),
            present: count(acknowledged.intersection(present).count()),
            lost: count(lost.len()),
            found_unacknowledged: count(present.difference(&acknowledged).count()),
            first_lost: lost.first().copied(),
        }
    }
}

/// What became of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Rows whose commit was acknowledged to the client.
    pub acknowledged: u64,
    /// Acknowledged rows that the server has.
    pub present: u64,
    /// Acknowledged rows that it doesn't have.
    pub lost: u64,
    /// Rows that it has although the client never got an acknowledgement (the connection broke before).
    pub found_unacknowledged: u64,
    /// The number of the first lost row.
    pub first_lost: Option<u64>,
}

/// How a writer treats a server that is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Tries further connections beside it and gives it up after [`GIVE_UP`].
    Eager,
    /// Waits for ever on its one connection, as most programs do; only an error makes it connect again.
    Stubborn,
}

/// The running writer.
#[derive(Debug)]
pub struct Writer {
    ledger: Arc<Mutex<Ledger>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts a writer with this name inside a namespace, towards one address.
    pub fn start(namespace: &Namespace, name: &str, server: SocketAddr, manner: Manner) -> Result<Self> {
        let door = namespace.open()?;
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let mut work = Work {
            name: name.to_owned(),
            server,
            manner,
            ledger: Arc::clone(&ledger),
            connections: Vec::new(),
            usual: HEDGE,
        };
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name(format!("writer-{name}"))
            .spawn(move || {
                if let Err(error) = enter(&door) {
                    work.count(&error.to_string());
                    return;
                }
                work.run(&stopped);
            })
            .map_err(|error| Error::failed("can't start the client's thread").detail(error))?;
        Ok(Self { ledger, stop, thread: Some(thread) })
    }

    /// Looks at the ledger as it is now.
    pub fn look<T>(&self, look: impl FnOnce(&Ledger) -> T) -> T {
        look(&lock(&self.ledger))
    }

    /// Stops the writer and returns its ledger.
    pub fn finish(mut self) -> Ledger {
        self.halt();
        lock(&self.ledger).clone()
    }

    fn halt(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed by the panic hook; the ledger is still good.
            thread.join().ok();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.halt();
    }
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    LoggingIn,
    Waiting(u64),
}

struct Connection {
    socket: Socket,
    stage: Stage,
    heard: Moment,
    sent: Moment,
    input: Vec<u8>,
    server: Option<String>,
    spoiled: Option<String>,
}

/// What became of a connection after looking at it.
enum Outcome {
    Open,
    Acknowledged { id: u64, server: String },
    Ended(String),
}

struct Work {
    name: String,
    server: SocketAddr,
    manner: Manner,
    ledger: Arc<Mutex<Ledger>>,
    connections: Vec<Connection>,
    /// What a commit usually takes (a moving average).
    usual: Duration,
}

impl Work {
    fn run(&mut self, stop: &AtomicBool) {
        let mut next_attempt = now();
        while !stop.load(Ordering::Relaxed) {
            let time = now();
            self.give_up(time);
            let hedge = self.hedge();
            let all_silent = self.connections.iter().all(|found| time.since(found.heard) >= hedge);
            if all_silent && time >= next_attempt {
                next_attempt = time + if self.open(time) { HEDGE } else { PAUSE };
            }
            let nap = self.nap(time, hedge, next_attempt);
            let ready = self.wait(nap);
            for position in ready.into_iter().rev() {
                let Some(connection) = self.connections.get_mut(position) else { continue };
                match connection.advance(&self.name, &self.ledger) {
                    Outcome::Open => {}
                    Outcome::Acknowledged { id, server } => {
                        let at = now();
                        let mut winner = self.connections.swap_remove(position);
                        self.usual = (self.usual.saturating_mul(7) + at.since(winner.sent)) / 8;
                        self.acknowledge(Acknowledgement { id, at, server: 0 }, server);
                        // The others were hedges: whatever they still bring isn't an acknowledgement.
                        self.connections.clear();
                        if winner.insert(&self.name, &self.ledger).is_ok() {
                            self.connections.push(winner);
                        }
                        break;
                    }
                    Outcome::Ended(why) => {
                        self.connections.swap_remove(position);
                        self.count(&why);
                        next_attempt = now() + PAUSE;
                    }
                }
            }
        }
    }

    /// Starts a connection; `false` when even that was refused.
    fn open(&mut self, time: Moment) -> bool {
        lock(&self.ledger).attempts += 1;
        match Connection::open(self.server, time) {
            Ok(connection) => {
                self.connections.push(connection);
                true
            }
            Err(error) => {
                self.count(&describe(&error));
                false
            }
        }
    }

    fn give_up(&mut self, time: Moment) {
        if self.manner == Manner::Stubborn {
            return;
        }
        let before = self.connections.len();
        self.connections.retain(|found| time.since(found.heard) < GIVE_UP);
        for _ in self.connections.len()..before {
            self.count("silent");
        }
    }

    /// Returns how long all connections are silent before a further one is tried.
    ///
    /// Where nothing answers a SYN a further one costs nobody anything. A server that has accepted a
    /// connection is left more time: to commit as slowly as it usually does, and not to be flooded.
    fn hedge(&self) -> Duration {
        match (self.manner, self.connections.as_slice()) {
            (Manner::Stubborn, [_, ..]) => Duration::MAX,
            (_, [single]) if matches!(single.stage, Stage::Waiting(_)) => {
                self.usual.saturating_mul(8).clamp(HEDGE, LONGEST_HEDGE)
            }
            (_, [.., newest]) if newest.stage != Stage::Connecting => LONGEST_HEDGE,
            _ => HEDGE,
        }
    }

    fn nap(&self, time: Moment, hedge: Duration, next_attempt: Moment) -> Duration {
        let hedge = self.connections.iter().map(|found| found.heard + hedge).max().unwrap_or(time);
        let give_up = self.connections.iter().map(|found| found.heard + GIVE_UP).min();
        let until = hedge.max(next_attempt).since(time).min(NAP);
        give_up.filter(|_| self.manner == Manner::Eager).map_or(until, |moment| until.min(moment.since(time)))
    }

    /// Waits until something can be done and returns the positions of the connections where it can.
    fn wait(&self, nap: Duration) -> Vec<usize> {
        let interest = |found: &Connection| {
            if found.stage == Stage::Connecting { PollFlags::POLLOUT } else { PollFlags::POLLIN }
        };
        let mut sources: Vec<PollFd<'_>> =
            self.connections.iter().map(|found| PollFd::new(found.socket.as_fd(), interest(found))).collect();
        // Rounded up: a nap of 0 would burn the processor until the moment comes.
        let millis = u16::try_from(nap.as_micros().div_ceil(1000)).unwrap_or(u16::MAX);
        if poll(&mut sources, PollTimeout::from(millis)).unwrap_or(0) <= 0 {
            return Vec::new();
        }
        sources
            .iter()
            .enumerate()
            .filter(|(_, source)| source.revents().is_none_or(|events| !events.is_empty()))
            .map(|(position, _)| position)
            .collect()
    }

    fn acknowledge(&self, mut acknowledgement: Acknowledgement, server: String) {
        let mut ledger = lock(&self.ledger);
        let known = ledger.servers.iter().position(|known| *known == server);
        acknowledgement.server = known.unwrap_or_else(|| {
            ledger.servers.push(server);
            ledger.servers.len() - 1
        });
        ledger.acknowledged.push(acknowledgement);
    }

    fn count(&self, why: &str) {
        *lock(&self.ledger).errors.entry(why.to_owned()).or_default() += 1;
    }
}

impl Connection {
    fn open(server: SocketAddr, time: Moment) -> std::io::Result<Self> {
        let socket = Socket::new(Domain::for_address(server), Type::STREAM.nonblocking().cloexec(), None)?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&SockAddr::from(server)) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            _ => {}
        }
        Ok(Self {
            socket,
            stage: Stage::Connecting,
            heard: time,
            sent: time,
            input: Vec::new(),
            server: None,
            spoiled: None,
        })
    }

    fn advance(&mut self, name: &str, ledger: &Mutex<Ledger>) -> Outcome {
        self.try_advance(name, ledger).unwrap_or_else(|error| Outcome::Ended(describe(&error)))
    }

    fn try_advance(&mut self, name: &str, ledger: &Mutex<Ledger>) -> std::io::Result<Outcome> {
        if self.stage == Stage::Connecting {
            if let Some(error) = self.socket.take_error()? {
                return Err(error);
            }
            self.heard = now();
            self.socket.write_all(&sql::startup("postgres", "postgres", name))?;
            self.stage = Stage::LoggingIn;
            return Ok(Outcome::Open);
        }
        let mut chunk = [0; 4096];
        match self.socket.read(&mut chunk) {
            Ok(0) => return Ok(Outcome::Ended("closed".to_owned())),
            Ok(count) => self.input.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Outcome::Open),
            Err(error) => return Err(error),
        }
        self.heard = now();
        while let Some(message) = sql::take(&mut self.input).map_err(std::io::Error::other)? {
            match message.kind {
                b'D' => self.server = message.columns().and_then(|row| row.into_iter().next().flatten()),
                // "canceling wait for synchronous replication" is the one a commit can bring: the row is
                // there, but nothing was promised. Any other warning of an INSERT is as suspicious.
                b'N' if message.field(b'V').is_some_and(|severity| severity == "WARNING") => {
                    self.spoiled = Some("acknowledged with a warning".to_owned());
                }
                b'E' => {
                    let code = message.field(b'C').unwrap_or_default();
                    return Ok(Outcome::Ended(format!("refused: {code}")));
                }
                b'Z' => return self.ready(name, ledger),
                _ => {}
            }
        }
        Ok(Outcome::Open)
    }

    fn ready(&mut self, name: &str, ledger: &Mutex<Ledger>) -> std::io::Result<Outcome> {
        let Stage::Waiting(id) = self.stage else {
            self.insert(name, ledger)?;
            return Ok(Outcome::Open);
        };
        Ok(match (self.spoiled.take(), self.server.take()) {
            (Some(why), _) => Outcome::Ended(why),
            (None, Some(server)) => Outcome::Acknowledged { id, server },
            (None, None) => Outcome::Ended("no row came back".to_owned()),
        })
    }

    fn insert(&mut self, name: &str, ledger: &Mutex<Ledger>) -> std::io::Result<()> {
        let id = {
            let mut ledger = lock(ledger);
            ledger.sent += 1;
            ledger.sent
        };
        let text = format!(
            "INSERT INTO demo(id, client, at) VALUES ({id}, '{name}', clock_timestamp()) \
             RETURNING current_setting('cluster_name')"
        );
        self.stage = Stage::Waiting(id);
        self.sent = now();
        self.heard = self.sent;
        self.socket.write_all(&sql::query(&text))
    }
}

fn describe(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => "connection reset".to_owned(),
        ErrorKind::HostUnreachable => "host unreachable".to_owned(),
        ErrorKind::NetworkUnreachable => "network unreachable".to_owned(),
        _ => error.to_string(),
    }
}

/// Returns the numbers of a client's rows that a server has, asked through its Unix socket.
pub fn rows_present(socket: &std::path::Path, client: &str, limit: Duration) -> Result<BTreeSet<u64>> {
    let deadline = Deadline::after(limit);
    let mut session = sql::Session::connect(socket, deadline.left())?;
    let rows = session.query(&format!("SELECT id FROM demo WHERE client = '{client}'"))?;
    Ok(rows
        .into_iter()
        .filter_map(|row| row.into_iter().next().flatten())
        .filter_map(|id| id.parse().ok())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(times: &[(u64, u64, usize)]) -> Ledger {
        Ledger {
            acknowledged: times
                .iter()
                .map(|(id, at, server)| Acknowledgement {
                    id: *id,
                    at: Moment::from_nanos(*at),
                    server: *server,
                })
                .collect(),
            servers: vec!["node1".to_owned(), "node2".to_owned()],
            ..Ledger::default()
        }
    }

    #[test]
    fn the_outage_is_the_longest_gap_that_ends_after_the_fault() {
        let ledger = ledger(&[(1, 0, 0), (2, 500, 0), (3, 600, 0), (4, 900, 1), (5, 910, 1)]);
        let gap = ledger.outage(Moment::from_nanos(610)).unwrap();
        assert_eq!((gap.from.as_nanos(), gap.to.as_nanos()), (600, 900));
        assert_eq!(ledger.outage(Moment::from_nanos(910)), None);
        assert_eq!(ledger.first_by_other(Moment::from_nanos(550), "node1").unwrap().id, 4);
        assert_eq!(ledger.last_before(Moment::from_nanos(610)).unwrap().id, 3);
        assert_eq!(ledger.count_by("node1", Moment::from_nanos(100)), 2);
    }

    #[test]
    fn acknowledged_rows_that_are_missing_are_lost_and_others_are_a_surplus() {
        let verdict = ledger(&[(1, 1, 0), (2, 2, 0), (4, 3, 0)]).verify(&BTreeSet::from([1, 3, 4]));
        assert_eq!(
            verdict,
            Verdict { acknowledged: 3, present: 2, lost: 1, found_unacknowledged: 1, first_lost: Some(2) }
        );
    }
}
