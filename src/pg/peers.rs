//! The other nodes' servers, each with a session that is kept: a question on the failover path costs no handshake.
//!
//! An edge. Every question has a thread of its own, because a machine that is gone answers nothing at all; a peer
//! whose earlier questions still hang isn't asked again meanwhile.

use super::conn::{ConnError, ConnSettings, Host, Session};
use super::gates::{PeerAnswer, PeerView};
use super::peer;
use crate::host::clock::Deadline;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How many questions to one peer may hang at once.
const MOST_OPEN_QUESTIONS: usize = 4;

/// Another node's server.
#[derive(Debug)]
pub struct Peer {
    /// The node.
    pub name: String,
    /// How it is reached.
    pub conn: ConnSettings,
    kept: Mutex<Option<Session>>,
    open: AtomicUsize,
}

/// The other nodes' servers.
#[derive(Debug, Clone, Default)]
pub struct Peers(Arc<Vec<Arc<Peer>>>);

impl Peers {
    /// Creates the list; nothing is connected yet.
    pub fn new(peers: impl IntoIterator<Item = (String, ConnSettings)>) -> Self {
        let peer =
            |(name, conn)| Arc::new(Peer { name, conn, kept: Mutex::new(None), open: AtomicUsize::new(0) });
        Self(Arc::new(peers.into_iter().map(peer).collect()))
    }

    /// Returns each peer.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Peer>> {
        self.0.iter()
    }

    /// Returns the peer of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Peer>> {
        self.iter().find(|peer| peer.name == name)
    }

    /// Returns how many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Asks every peer what it is; `tell` is called once for each, from its own thread.
    pub fn ask(&self, until: Deadline, tell: &(impl Fn(PeerView) + Clone + Send + 'static)) {
        for peer in self.iter() {
            let told = tell.clone();
            let question = move |peer: &Peer| told(peer.ask(until));
            if let Err(why) = peer.on_a_thread("asker", question) {
                tell(PeerView::new(peer.name.clone(), PeerAnswer::Silent(why)));
            }
        }
    }
}

impl Peer {
    /// Does something with this peer on a thread of its own; the error says why not.
    pub fn on_a_thread(
        self: &Arc<Self>,
        name: &str,
        work: impl FnOnce(&Self) + Send + 'static,
    ) -> Result<(), String> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= MOST_OPEN_QUESTIONS {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err("earlier questions still hang".to_owned());
        }
        let peer = Arc::clone(self);
        let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            work(&peer);
            peer.open.fetch_sub(1, Ordering::Relaxed);
        });
        spawned.map(drop).map_err(|error| {
            self.open.fetch_sub(1, Ordering::Relaxed);
            format!("no thread to ask with: {error}")
        })
    }

    /// Asks it what it is; whatever happens is an answer.
    pub fn ask(&self, until: Deadline) -> PeerView {
        let mut broken = false;
        let asked = self.with_session(until, |session| {
            let view = peer::ask_on(&self.name, session, &self.conn.user, until);
            // A kept session whose server was restarted meanwhile says nothing about the server.
            match (session.spent(), view.answered()) {
                (Some(why), false) if !broken => {
                    broken = true;
                    Err(why.clone())
                }
                _ => Ok(view),
            }
        });
        asked.unwrap_or_else(|error| peer::unanswered(&self.name, error))
    }

    /// Does something on the kept session, or on a new one. When a kept session turns out to be broken, `work` is
    /// done once more on a new one: it must be fit to be done twice.
    pub fn with_session<T, E: From<ConnError>>(
        &self,
        deadline: Deadline,
        mut work: impl FnMut(&mut Session) -> Result<T, E>,
    ) -> Result<T, E> {
        let kept = self.slot().take().filter(|session| session.spent().is_none());
        if let Some(mut session) = kept {
            let result = work(&mut session);
            match session.spent() {
                None => {
                    self.keep(session);
                    return result;
                }
                // It hung until the deadline: a new one would have no time left.
                Some(_) if deadline.passed() => return result,
                Some(_) => {}
            }
        }
        let mut session = Session::connect(&self.conn, deadline)?;
        let result = work(&mut session);
        if session.spent().is_none() {
            self.keep(session);
        }
        result
    }

    /// Returns the host and port that its server is reached at.
    pub fn place(&self) -> (String, u16) {
        match &self.conn.host {
            Host::Tcp(address, port) => (address.to_string(), *port),
            Host::Name(name, port) => (name.clone(), *port),
            Host::Unix(folder, port) => (folder.display().to_string(), *port),
        }
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Session>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, session: Session) {
        *self.slot() = Some(session);
    }
}
