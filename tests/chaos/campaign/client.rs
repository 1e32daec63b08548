//! A client that commits numbered rows at an ordinary pace and writes down what became of each.
//!
//! Unlike `demo::client` it never hedges: one connection, one row on its way. A row that was sent and not
//! answered is unknown for ever; one that was answered with a warning isn't acknowledged. The journal is kept
//! in memory; it is written to a file only when something went wrong.

use pgbaton::demo::namespace::{Namespace, enter};
use pgbaton::demo::sql;
use pgbaton::host::clock::now;
use pgbaton::units::Moment;
use serde::Serialize;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long the network may take to say whether there is a server.
const CONNECT: Duration = Duration::from_millis(300);
/// How often a waiting client looks whether it is to stop.
const SLICE: Duration = Duration::from_millis(50);
/// The pause after a failure.
const PAUSE: Duration = Duration::from_millis(20);

/// What became of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Outcome {
    /// On its way, or the connection ended before an answer.
    Unknown,
    /// The server said that it did not commit it.
    Refused,
    /// Committed with a warning: the row is there, but nothing was promised.
    Warned,
    /// Acknowledged.
    Acknowledged {
        /// When the answer was read.
        at: Moment,
        /// Who answered (`cluster_name`).
        server: String,
        /// The timeline it was written on.
        timeline: u32,
    },
}

/// A row; its number is its place in the journal, from 1.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// When it was sent.
    pub sent: Moment,
    /// What became of it.
    pub outcome: Outcome,
}

/// What a client found last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum State {
    /// Rows are acknowledged.
    Acknowledging,
    /// The server refuses writes.
    ReadOnly,
    /// There is no server, or it takes nobody in.
    Refused,
    /// Nothing answers at all, or nobody answers the log-in.
    Hung,
    /// Logged in, and a commit is not answered.
    Blocked,
}

/// All that a client knows.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Journal {
    /// Its rows.
    pub rows: Vec<Row>,
    /// What it found, whenever that changed.
    pub states: Vec<(Moment, State)>,
}

impl Journal {
    fn note(&mut self, state: State) {
        if self.states.last().is_none_or(|(_, last)| *last != state) {
            self.states.push((now(), state));
        }
    }
}

/// How a client behaves.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// The pause between two rows.
    pub pause: Duration,
    /// After how long without an answer it connects again; `None`: never.
    pub give_up: Option<Duration>,
}

/// A running client.
#[derive(Debug)]
pub struct Client {
    /// Its name, which its rows bear.
    pub name: String,
    journal: Arc<Mutex<Journal>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    /// Starts a client in a namespace.
    pub fn start(namespace: &Namespace, name: &str, server: SocketAddr, manner: Manner) -> Self {
        let door = namespace.open().unwrap();
        let (journal, stop) = (Arc::new(Mutex::new(Journal::default())), Arc::new(AtomicBool::new(false)));
        let work = Work {
            name: name.to_owned(),
            server,
            manner,
            journal: Arc::clone(&journal),
            stop: Arc::clone(&stop),
        };
        let run = move || {
            enter(&door).unwrap();
            while !work.stopped() {
                if work.session().is_none() {
                    std::thread::park_timeout(PAUSE);
                }
            }
        };
        let thread = std::thread::Builder::new().name(format!("client-{name}")).spawn(run).unwrap();
        Self { name: name.to_owned(), journal, stop, thread: Some(thread) }
    }

    /// Looks at the journal.
    pub fn look<T>(&self, look: impl FnOnce(&Journal) -> T) -> T {
        look(&self.journal.lock().unwrap())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

struct Work {
    name: String,
    server: SocketAddr,
    manner: Manner,
    journal: Arc<Mutex<Journal>>,
    stop: Arc<AtomicBool>,
}

/// What ended a conversation's step.
enum End {
    Ready,
    Closed,
    Silent,
    Said { fatal: bool, code: String },
}

/// A connection and what has come of the next message.
struct Talk {
    stream: TcpStream,
    input: Vec<u8>,
}

#[derive(Default)]
struct Heard {
    columns: Option<Vec<Option<String>>>,
    warned: bool,
    refusal: Option<String>,
}

impl Work {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn note(&self, state: State) {
        self.journal.lock().unwrap().note(state);
    }

    /// Connects and commits rows until something goes wrong; always `None`.
    fn session(&self) -> Option<()> {
        let connected = TcpStream::connect_timeout(&self.server, CONNECT);
        let mut stream = connected
            .inspect_err(|error| {
                let refused = error.kind() == ErrorKind::ConnectionRefused;
                self.note(if refused { State::Refused } else { State::Hung });
            })
            .ok()?;
        stream.set_nodelay(true).ok()?;
        stream.set_read_timeout(Some(SLICE)).ok()?;
        // A row that is given up goes with its connection: the kernel must not deliver it later.
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).ok()?;
        stream.write_all(&sql::startup("postgres", "postgres", &self.name)).ok()?;
        let mut talk = Talk { stream, input: Vec::new() };
        match self.hear(&mut talk, &mut Heard::default(), State::Hung) {
            End::Ready => {}
            End::Silent => return self.failed(State::Hung),
            End::Closed | End::Said { .. } => return self.failed(State::Refused),
        }
        while !self.stopped() {
            let id = self.begin();
            talk.stream.write_all(&sql::query(&insert(&self.name, id))).ok()?;
            let mut heard = Heard::default();
            match self.hear(&mut talk, &mut heard, State::Blocked) {
                End::Ready => self.end(id, &heard),
                End::Silent => return self.failed(State::Blocked),
                End::Closed => return self.failed(State::Refused),
                End::Said { fatal, code } => {
                    if !fatal {
                        self.settle(id, Outcome::Refused);
                    }
                    return self.failed(if code == "25006" { State::ReadOnly } else { State::Refused });
                }
            }
            std::thread::park_timeout(self.manner.pause);
        }
        None
    }

    fn failed(&self, state: State) -> Option<()> {
        self.note(state);
        None
    }

    fn begin(&self) -> usize {
        let mut journal = self.journal.lock().unwrap();
        journal.rows.push(Row { sent: now(), outcome: Outcome::Unknown });
        journal.rows.len()
    }

    fn settle(&self, id: usize, outcome: Outcome) {
        self.journal.lock().unwrap().rows[id - 1].outcome = outcome;
    }

    fn end(&self, id: usize, heard: &Heard) {
        let at = now();
        let column = |at: usize| heard.columns.as_ref().and_then(|row| row.get(at)?.clone());
        let timeline = column(1).and_then(|text| text.parse().ok());
        let outcome = match (heard.warned, column(0), timeline) {
            (false, Some(server), Some(timeline)) => Outcome::Acknowledged { at, server, timeline },
            _ => Outcome::Warned,
        };
        let state = if heard.warned { State::Blocked } else { State::Acknowledging };
        self.settle(id, outcome);
        self.note(state);
    }

    /// Reads until the server is ready for a query, or something else ends it.
    fn hear(&self, talk: &mut Talk, heard: &mut Heard, silence: State) -> End {
        let begun = now();
        let mut chunk = [0; 4096];
        loop {
            while let Ok(Some(message)) = sql::take(&mut talk.input) {
                match message.kind {
                    b'D' => heard.columns = message.columns(),
                    // "canceling wait for synchronous replication" is the one that a commit can bring.
                    b'N' => heard.warned |= message.field(b'V').is_some_and(|word| word == "WARNING"),
                    b'E' => {
                        let code = message.field(b'C').unwrap_or_default();
                        if message.field(b'V').is_some_and(|word| word != "ERROR") {
                            return End::Said { fatal: true, code };
                        }
                        heard.refusal = Some(code);
                    }
                    b'Z' => {
                        return match heard.refusal.take() {
                            Some(code) => End::Said { fatal: false, code },
                            None => End::Ready,
                        };
                    }
                    _ => {}
                }
            }
            match talk.stream.read(&mut chunk) {
                Ok(0) => return End::Closed,
                Ok(count) => talk.input.extend_from_slice(&chunk[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    let waited = now().since(begun);
                    if self.stopped() || self.manner.give_up.is_some_and(|limit| waited > limit) {
                        return End::Silent;
                    }
                    if waited > CONNECT {
                        // Not the end yet, but already true.
                        self.note(silence);
                    }
                }
                Err(_) => return End::Closed,
            }
        }
    }
}

fn insert(name: &str, id: usize) -> String {
    format!(
        "INSERT INTO demo(client, id, at) VALUES ('{name}', {id}, clock_timestamp()) \
         RETURNING current_setting('cluster_name'), \
         ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int"
    )
}
