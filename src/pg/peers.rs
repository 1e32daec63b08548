//! The other nodes' servers, each with a session that is kept: a question on the failover path costs no handshake.
//!
//! An edge. Every question has a thread of its own, because a machine that is gone answers nothing at all; a peer
//! whose earlier questions still hang isn't asked again meanwhile.

use super::conn::{ConnError, ConnSettings, Host, Session};
use super::gates::{PeerAnswer, PeerView};
use super::vote::{self, NoVote};
use super::witness::ssh::SshRegister;
use super::{peer, witness};
use crate::host::clock::Deadline;
use crate::promotion::rules::{Ask, Configuration, Register, Standing, Vote};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

/// The stack of a thread that only waits and asks once: the daemon may lock its memory.
const STACK: usize = 256 * 1024;
/// How many questions to one peer may hang at once.
const MOST_OPEN_QUESTIONS: usize = 4;

/// Another node's server.
#[derive(Debug)]
pub struct Peer {
    /// The node.
    pub name: String,
    /// How it is reached.
    pub conn: ConnSettings,
    /// Where its register is, if it is a witness.
    witness: Option<Witness>,
    kept: Mutex<Option<Session>>,
    open: AtomicUsize,
}

/// Where a witness keeps the register of a cluster.
#[derive(Debug)]
enum Witness {
    /// In a row of its `PostgreSQL`, by the name of the cluster.
    Row(String),
    /// In a file.
    File(Box<SshRegister>),
}

/// The other nodes' servers, and the witness if there is one.
#[derive(Debug, Clone, Default)]
pub struct Peers {
    data: Arc<Vec<Arc<Peer>>>,
    witness: Option<Arc<Peer>>,
}

impl Peers {
    /// Creates the list; nothing is connected yet.
    pub fn new(peers: impl IntoIterator<Item = (String, ConnSettings)>) -> Self {
        let peer = |(name, conn)| Arc::new(Peer::new(name, conn, None));
        Self { data: Arc::new(peers.into_iter().map(peer).collect()), witness: None }
    }

    /// Adds the witness of a cluster that is a `PostgreSQL`.
    #[must_use]
    pub fn with_witness(self, name: &str, conn: ConnSettings, cluster: &str) -> Self {
        let witness = Peer::new(name.to_owned(), conn, Some(Witness::Row(cluster.to_owned())));
        Self { witness: Some(Arc::new(witness)), ..self }
    }

    /// Adds the witness of a cluster that is asked over SSH; `conn` says where it is, and is never used.
    #[must_use]
    pub fn with_ssh_witness(self, name: &str, conn: ConnSettings, register: SshRegister) -> Self {
        let witness = Peer::new(name.to_owned(), conn, Some(Witness::File(Box::new(register))));
        Self { witness: Some(Arc::new(witness)), ..self }
    }

    /// Returns each node with data.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Peer>> {
        self.data.iter()
    }

    /// Returns everybody who votes: the nodes with data, and the witness.
    pub fn voters(&self) -> impl Iterator<Item = &Arc<Peer>> {
        self.data.iter().chain(&self.witness)
    }

    /// Returns the witness.
    pub const fn witness(&self) -> Option<&Arc<Peer>> {
        self.witness.as_ref()
    }

    /// Returns the voter of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Peer>> {
        self.voters().find(|peer| peer.name == name)
    }

    /// Returns how many vote.
    pub fn count(&self) -> usize {
        self.voters().count()
    }

    /// Asks every peer what it is; `tell` is called for each from its own thread: once, or a second time with an answer
    /// after a silence.
    pub fn ask(&self, until: Deadline, tell: &(impl Fn(PeerView) + Clone + Send + 'static)) {
        for peer in self.voters() {
            let told = tell.clone();
            let (open, over) = channel();
            let question = move |peer: &Peer| {
                let _open: Sender<()> = open;
                told(peer.ask(until));
            };
            match peer.on_a_thread("asker", question) {
                Ok(()) => peer.ask_once_more(until, over, tell.clone()),
                Err(why) => tell(PeerView::new(peer.name.clone(), PeerAnswer::Silent(why))),
            }
        }
    }
}

impl Peer {
    fn new(name: String, conn: ConnSettings, witness: Option<Witness>) -> Self {
        Self { name, conn, witness, kept: Mutex::new(None), open: AtomicUsize::new(0) }
    }

    /// Asks it for its promise (rules 1 and 2). `own` is the candidate's register, which settles what a witness had
    /// promised to it before: nobody else tells a witness what it missed.
    pub fn promise(&self, ask: &Ask, own: &Register, deadline: Deadline) -> Result<Vote, NoVote> {
        if self.witness.is_none() {
            return self.with_session(deadline, |session| vote::promise(session, &self.name, ask, deadline));
        }
        let standing = Standing { voter: self.name.clone(), ..Standing::default() };
        let record = self.change(deadline, |register| {
            let known = register.heard(&ask.holder, own);
            let new = known.promise(ask, &standing).map_err(NoVote::Refused)?;
            let record = new.record.clone();
            Ok::<_, NoVote>((new, record))
        })?;
        Ok(Vote { voter: self.name.clone(), data: None, record })
    }

    /// Tells it that a candidacy is given up (rule 7); `place_of` says where the primary that it goes back to is.
    pub fn abandon(
        &self,
        ask: &Ask,
        place_of: impl Fn(&str) -> Option<(String, u16)>,
        deadline: Deadline,
    ) -> Result<bool, ConnError> {
        if self.witness.is_none() {
            return self.with_session(deadline, |session| vote::abandon(session, ask, &place_of, deadline));
        }
        self.change(deadline, |register| Ok(told(register, register.abandon(ask))))
    }

    /// Tells it what another voter's register holds (rule 7).
    pub fn heard(&self, from: &str, other: &Register, deadline: Deadline) -> Result<bool, ConnError> {
        if self.witness.is_none() {
            return self.with_session(deadline, |session| vote::heard(session, from, other, deadline));
        }
        self.change(deadline, |register| Ok(told(register, register.heard(from, other))))
    }

    /// Tells it that a term is confirmed.
    pub fn confirm(&self, configuration: &Configuration, deadline: Deadline) -> Result<bool, ConnError> {
        if self.witness.is_none() {
            return self.with_session(deadline, |session| vote::confirm(session, configuration, deadline));
        }
        self.change(deadline, |register| Ok(told(register, register.confirm(configuration))))
    }

    /// Has it record a configuration (rule 9); false when the rules forbid it.
    pub fn record(&self, configuration: &Configuration, deadline: Deadline) -> Result<bool, ConnError> {
        if self.witness.is_none() {
            return self.with_session(deadline, |session| vote::record(session, configuration, deadline));
        }
        self.change(deadline, |register| {
            let new = register.record(configuration);
            let recorded = new.is_some();
            Ok((new.unwrap_or_else(|| register.clone()), recorded))
        })
    }

    /// Changes a witness's register by a rule.
    fn change<T, E: From<ConnError>>(
        &self,
        deadline: Deadline,
        rule: impl Fn(&Register) -> Result<(Register, T), E>,
    ) -> Result<T, E> {
        match &self.witness {
            Some(Witness::File(register)) => register.change(deadline, rule),
            Some(Witness::Row(cluster)) => {
                self.with_session(deadline, |session| witness::change(session, cluster, deadline, &rule))
            }
            None => Err(ConnError::Other("XX000".to_owned(), format!("{} is no witness", self.name)).into()),
        }
    }

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
        if let Some(Witness::File(register)) = &self.witness {
            return self.witness_view(register.read(until));
        }
        let mut broken = false;
        let asked = self.with_session(until, |session| {
            let view = match &self.witness {
                Some(Witness::Row(cluster)) => self.witness_view(witness::read(session, cluster, until)),
                _ => peer::ask_on(&self.name, session, &self.conn.user, until),
            };
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

    /// Asks once more, over a connection of its own, when half of the time has brought no answer: the packet that was lost
    /// may be the first of a connection, or of a session that has been silent since, and the kernel takes a second and
    /// more to send it again. Only an answer is told.
    fn ask_once_more(
        self: &Arc<Self>,
        until: Deadline,
        over: Receiver<()>,
        tell: impl FnOnce(PeerView) + Send + 'static,
    ) {
        if matches!(self.witness, Some(Witness::File(_))) {
            return;
        }
        let (peer, half) = (Arc::clone(self), until.left() / 2);
        let more = move || {
            if over.recv_timeout(half) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            let Ok(mut session) = Session::connect(&peer.conn, until) else { return };
            let view = match &peer.witness {
                Some(Witness::Row(cluster)) => peer.witness_view(witness::read(&mut session, cluster, until)),
                _ => peer::ask_on(&peer.name, &mut session, &peer.conn.user, until),
            };
            if view.answered() {
                peer.keep(session);
                tell(view);
            }
        };
        // Without a thread there is one question instead of two.
        drop(std::thread::Builder::new().name("asker".to_owned()).stack_size(STACK).spawn(more));
    }

    fn witness_view(&self, read: Result<Register, ConnError>) -> PeerView {
        match read {
            Ok(register) => PeerView { register, ..PeerView::new(self.name.clone(), PeerAnswer::Witness) },
            Err(error) => peer::unanswered(&self.name, error),
        }
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

/// A register after a rule, and whether that changed it.
fn told(before: &Register, after: Register) -> (Register, bool) {
    let changed = after != *before;
    (after, changed)
}
