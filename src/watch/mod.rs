//! `PostgreSQL`'s health as events: what the local server is, seen from outside and over SQL.
//!
//! The death of the postmaster is the event loop's own business (a pidfd, no polling); this room asks the
//! server what it is, on its own thread, with a deadline on every question, so that a hung server is noticed
//! and never hangs anything else.

use crate::host::clock::{Deadline, now};
use crate::pg::conn::{ConnError, ConnSettings, Session};
use crate::pg::facts;
use crate::pg::gates::{LastKnown, LocalView};
use crate::pg::local;
use crate::pg::lsn::Lsn;
use crate::pg::server::DataDirectory;
use crate::promotion::supervisor::Local;
use crate::rebuild::conf::ConnInfo;
use crate::units::Moment;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// What the watch needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// The node's name.
    pub node: String,
    /// Where the local server listens.
    pub conn: ConnSettings,
    /// Its data directory.
    pub data_directory: std::path::PathBuf,
    /// Where the other nodes' servers are: name, host and port.
    pub upstreams: Vec<(String, String, u16)>,
    /// How often it is asked when nothing happens.
    pub interval: Duration,
    /// How long an answer may take before the server is called hung.
    pub timeout: Duration,
}

/// One look at the local server.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The postmaster, if one runs.
    pub postmaster: Option<u32>,
    /// What the server is.
    pub local: Local,
}

/// The handle of the watch: poke it to look now.
#[derive(Debug)]
pub struct Watch {
    poke: Sender<()>,
}

impl Watch {
    /// Starts the watch's thread; `tell` is called from it with every look, and answers whether to go on.
    ///
    /// # Errors
    /// When the thread can't be started.
    pub fn start(
        config: Config,
        mut tell: impl FnMut(Seen) -> bool + Send + 'static,
    ) -> std::io::Result<Self> {
        let (poke, poked) = channel();
        std::thread::Builder::new().name("watch".to_owned()).spawn(move || {
            let mut watcher = Watcher { config, session: None, told: None };
            while tell(watcher.look()) && wait(&poked, watcher.config.interval) {}
        })?;
        Ok(Self { poke })
    }

    /// Asks for a look now.
    pub fn poke(&self) {
        // A watch whose thread has ended has nobody to tell either.
        self.poke.send(()).unwrap_or_default();
    }
}

/// Waits for a poke or the interval; several pokes are one look. False when nobody can poke any more.
fn wait(poked: &Receiver<()>, interval: Duration) -> bool {
    match poked.recv_timeout(interval) {
        Ok(()) => {
            while poked.try_recv().is_ok() {}
            true
        }
        Err(RecvTimeoutError::Timeout) => true,
        Err(RecvTimeoutError::Disconnected) => false,
    }
}

struct Watcher {
    config: Config,
    session: Option<Session>,
    /// How far the primary's log had got when it was last heard of, and when that was: the server forgets it with its
    /// receiver, which is when it matters.
    told: Option<(Lsn, Moment)>,
}

impl Watcher {
    fn look(&mut self) -> Seen {
        let postmaster =
            match DataDirectory::open(&self.config.data_directory).and_then(|data| data.postmaster()) {
                Ok(Some(postmaster)) => postmaster.pid,
                Ok(None) => {
                    self.session = None;
                    return Seen {
                        postmaster: None,
                        local: Local::Down { why: "PostgreSQL isn't running".to_owned() },
                    };
                }
                Err(error) => {
                    self.session = None;
                    return Seen { postmaster: None, local: Local::Down { why: error.to_string() } };
                }
            };
        let local = self.ask().unwrap_or_else(|error| {
            self.session = None;
            match error {
                ConnError::StartingUp(why) => Local::Starting { why },
                ConnError::Refused(_) => {
                    Local::Starting { why: "PostgreSQL doesn't take connections yet".to_owned() }
                }
                ConnError::Timeout(_) => {
                    Local::Hung { why: format!("no answer within {} ms", self.config.timeout.as_millis()) }
                }
                other => Local::Starting { why: format!("PostgreSQL can't be asked: {other}") },
            }
        });
        Seen { postmaster: Some(postmaster), local }
    }

    /// Returns the node that a connection string leads to.
    fn upstream(&self, conninfo: &str) -> Option<String> {
        let conninfo = ConnInfo::parse(conninfo)?;
        let is = |key, value: &str| conninfo.get(key) == Some(value);
        let leads = |(node, host, port): &&(String, String, u16)| {
            (is("host", node) || is("host", host) || is("hostaddr", host))
                && conninfo.get("port").is_none_or(|known| known == port.to_string())
        };
        self.config.upstreams.iter().find(leads).map(|(node, ..)| node.clone())
    }

    fn remembered(&self) -> Option<LastKnown> {
        let (end, at) = self.told?;
        Some(LastKnown { end, age: Some(now().since(at)) })
    }

    fn ask(&mut self) -> Result<Local, ConnError> {
        let deadline = Deadline::after(self.config.timeout);
        if self.session.as_ref().is_none_or(|session| session.spent().is_some()) {
            self.session = Some(Session::connect(&self.config.conn, deadline)?);
        }
        let Some(session) = self.session.as_mut() else {
            return Err(ConnError::Timeout("no session".to_owned()));
        };
        let facts = facts::observe(session, deadline)?;
        let mut view = Box::new(LocalView::from_facts(&facts, self.remembered()));
        view.upstream = facts.primary_conninfo.as_deref().and_then(|known| self.upstream(known));
        let known = view.primary_known.filter(|_| facts.in_recovery);
        self.told = known.map(|LastKnown { end, age }| (end, now() - age.unwrap_or_default()));
        let mark = local::needs_check(&self.config.data_directory, &self.config.node);
        // What can't be looked at is no reason to stay down; `cluster status` looks, too.
        view.needs_check = mark.ok().flatten().map(|mark| mark.reason);
        Ok(if facts.in_recovery { Local::Standby(view) } else { Local::Primary(view) })
    }
}
