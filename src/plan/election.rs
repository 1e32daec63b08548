//! The edge of a lossless promotion: where its steps ask the voters.
//!
//! Which answer follows from which facts is `promotion::rules`; here are the sessions, the threads and the deadlines.
//! The election lives from the freeze to the epoch row. Until the intent is written it can be given up, and is when
//! a step fails: every voter is told, so that nobody waits for a candidate that has gone.

use crate::error::{Error, Kind, Result};
use crate::host::clock::{self, Deadline};
use crate::pg::conn::{ConnError, Session};
use crate::pg::epoch::Term;
use crate::pg::gates::PeerAnswer;
use crate::pg::peers::{Peer, Peers};
use crate::pg::vote::{self, NoVote};
use crate::promotion::rules::{self, Ask, Configuration, Enough, Refusal, Register, Vote};
use crate::units::Moment;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the voters answer, each with its name.
type Answers = std::sync::mpsc::Receiver<(String, std::result::Result<Vote, NoVote>)>;

/// How long the others are told that a candidacy is given up, and then this node's own register.
const GIVE_UP_WITHIN: Duration = Duration::from_secs(1);
/// How long fetching the row of a newer term may take.
const NEWER_TERM_WITHIN: Duration = Duration::from_secs(5);
/// How often an old primary is looked at whose lease is waited out.
const LOOK: Duration = Duration::from_millis(500);

/// What a node needs to stand for election.
#[derive(Debug, Clone)]
pub struct Voters {
    /// This node.
    pub node: String,
    /// The other voters.
    pub peers: Peers,
    /// How many standbys must have a commit before its client is told.
    pub acknowledgements: u8,
    /// How long a primary that nobody's acknowledgement holds back may go on after the promises; `None`: none may.
    pub lease: Option<Duration>,
    /// How long the others' votes are waited for.
    pub vote_within: Duration,
    /// How long a node that has less of the log may take to fetch the rest.
    pub catch_up_within: Duration,
    /// Since when the only standby has been away; for a pair with a witness.
    pub missing_since: Arc<Mutex<Option<Moment>>>,
    /// Whether an operator has overridden the votes: those that are given count, none is needed, and nobody's
    /// acknowledgement is waited for afterwards.
    pub overridden: bool,
}

/// One candidacy.
#[derive(Debug)]
pub struct Election {
    voters: Voters,
    ask: Option<Ask>,
    /// This node's own register, since it promised.
    own: Register,
    votes: Vec<Vote>,
    enough: Option<Enough>,
    /// When the promises were enough but for the lease of the old primary.
    promised_at: Option<Moment>,
    /// The old primary, when it is known to acknowledge nothing any more.
    gone: Option<String>,
    configuration: Option<Configuration>,
    intended: bool,
}

impl Election {
    /// Creates an election in which nobody has been asked anything.
    pub fn new(voters: Voters) -> Self {
        Self {
            voters,
            ask: None,
            own: Register::default(),
            votes: Vec::new(),
            enough: None,
            promised_at: None,
            gone: None,
            configuration: None,
            intended: false,
        }
    }

    /// Creates the election of a candidacy that an earlier run left behind.
    pub fn of(voters: Voters, ask: Ask) -> Self {
        Self { ask: Some(ask), ..Self::new(voters) }
    }

    /// Promises the term here first: the candidate freezes itself before it asks anyone (rule 3). `intended` says whether
    /// the intent of this candidacy is on disk already; what an earlier one had intended says nothing about it.
    pub fn freeze(
        &mut self,
        session: &mut Session,
        ask: &Ask,
        intended: bool,
        deadline: Deadline,
    ) -> Result<String> {
        self.intended = false;
        self.configuration = None;
        let mut promised = if self.voters.overridden {
            vote::force(session, &self.voters.node, ask, deadline)
        } else {
            vote::engage(session, &self.voters.node, ask, deadline)
        };
        if let Err(NoVote::Refused(Refusal::Held { holder, .. })) = &promised
            && *holder == self.voters.node
        {
            // An earlier candidacy of this node that wasn't brought to its end: no intent was written, or it would be
            // this one.
            if let Some(left) = vote::read(session, deadline)?.register.promise {
                self.ask = Some(Ask { term: left.term, holder: left.holder, id: left.id });
                self.abandon(session);
            }
            promised = vote::engage(session, &self.voters.node, ask, deadline);
        }
        self.ask = Some(ask.clone());
        self.intended = intended;
        self.own = promised.map_err(|no| match no {
            NoVote::Refused(refusal) => {
                Error::refused(format!("this node may not stand for term {}: {refusal}", ask.term))
                    .hint("pgbaton cluster status")
            }
            NoVote::Silent(error) => error.into(),
        })?;
        self.votes.clear();
        self.enough = None;
        self.promised_at = None;
        self.gone = None;
        Ok(format!("term {} is promised to this node", ask.term))
    }

    /// Asks the other voters, all at once, until their promises are enough (rules 1 to 4). Their receivers and this node's
    /// own end at the same time; nothing is judged before this one is frozen.
    pub fn collect(&mut self, session: &mut Session, deadline: Deadline) -> Result<String> {
        let ask = self.asked()?.clone();
        let until = deadline.within(self.voters.vote_within);
        let (told, answers) = channel();
        let mut open = 0;
        let mut refusals = Vec::new();
        for peer in self.voters.peers.voters() {
            let (told, ask, own) = (told.clone(), ask.clone(), self.own.clone());
            let question = move |peer: &Peer| {
                let vote = peer.promise(&ask, &own, until);
                // Nobody listens any more when the others were enough.
                told.send((peer.name.clone(), vote)).unwrap_or_default();
            };
            match peer.on_a_thread("voter", question) {
                Ok(()) => open += 1,
                Err(why) => refusals.push(format!("{}: {why}", peer.name)),
            }
        }
        drop(told);
        // Its own replay may take longer than the others' patience: their answers wait meanwhile.
        let own = vote::frozen(session, deadline)?;
        self.votes =
            vec![Vote { voter: self.voters.node.clone(), data: Some(own), record: self.own.record.clone() }];
        if self.voters.overridden {
            return self.hear(&answers, refusals, until);
        }
        loop {
            let shortage = match self.judge() {
                judged @ (Ok(_) | Err(rules::Shortage::Lease { .. })) => {
                    let said = format!(
                        "{} of {} voters; {}",
                        self.votes.len(),
                        self.voters.peers.count() + 1,
                        self.votes.iter().map(described).collect::<Vec<_>>().join(", ")
                    );
                    self.enough = judged.ok();
                    self.promised_at = Some(clock::now());
                    return Ok(said);
                }
                Err(shortage) => shortage,
            };
            if open == 0 {
                return Err(short(&shortage, &refusals));
            }
            match answers.recv_timeout(until.left()) {
                Ok((_, Ok(vote))) => {
                    open -= 1;
                    self.votes.retain(|known| known.voter != vote.voter);
                    self.votes.push(vote);
                }
                Ok((node, Err(no))) => {
                    open -= 1;
                    refusals.push(format!("{node}: {no}"));
                }
                Err(RecvTimeoutError::Timeout) => {
                    refusals.push(format!("no answer of {open} more"));
                    return Err(short(&shortage, &refusals));
                }
                Err(RecvTimeoutError::Disconnected) => open = 0,
            }
        }
    }

    /// Waits out the old primary's lease: it counts from the question that a voter answered before it promised this node,
    /// so that it ends before the same time has gone by since the last promise. Should the primary turn out to be
    /// alive meanwhile, the candidacy is over: nothing has happened yet.
    pub fn outlast(
        &mut self,
        lease: Duration,
        gone: &[String],
        deadline: Deadline,
    ) -> Result<Option<String>> {
        let holder = match self.judge() {
            Err(rules::Shortage::Lease { holder }) => holder,
            Ok(_) => return Ok(None),
            Err(shortage) => return Err(short(&shortage, &[])),
        };
        let said = if gone.contains(&holder) {
            format!("{holder} has stopped")
        } else {
            let promised =
                self.promised_at.ok_or_else(|| Error::failed("the votes haven't been collected"))?;
            self.sit_out(&holder, Deadline::at(promised + lease), deadline)?;
            format!("the lease of {holder} has run out")
        };
        self.gone = Some(holder);
        self.enough = Some(self.judge().map_err(|shortage| short(&shortage, &[]))?);
        Ok(Some(said))
    }

    fn sit_out(&self, holder: &str, until: Deadline, deadline: Deadline) -> Result<()> {
        while !until.passed() {
            if deadline.passed() {
                return Err(Error::new(
                    Kind::TryAgain,
                    "no time is left for the old primary's lease to run out",
                )
                .hint("raise postgres.promote_timeout"));
            }
            let step = until.within(LOOK);
            let answer = self.voters.peers.get(holder).map(|peer| peer.ask(step).answer);
            if matches!(answer, Some(PeerAnswer::Primary(_))) {
                return Err(Error::refused(format!("{holder} is alive, and the primary"))
                    .hint("pgbaton cluster status"));
            }
            clock::pause(step.left());
        }
        Ok(())
    }

    /// Takes the promises that are given, where none is needed: whoever promises is frozen by it, and may have more of
    /// the log. A node that knows of a newer term isn't overridden.
    fn hear(&mut self, answers: &Answers, mut silent: Vec<String>, until: Deadline) -> Result<String> {
        let mut open: Vec<String> = self.voters.peers.voters().map(|peer| peer.name.clone()).collect();
        open.retain(|node| !silent.iter().any(|why| why.starts_with(&format!("{node}: "))));
        while !open.is_empty() {
            match answers.recv_timeout(until.left()) {
                Ok((node, Ok(vote))) => {
                    open.retain(|name| *name != node);
                    self.votes.push(vote);
                }
                Ok((node, Err(NoVote::Refused(Refusal::Older { newest })))) => {
                    let why = format!("{node}: it knows of term {newest}");
                    return Err(short(&rules::Shortage::Older { newest }, &[why]));
                }
                Ok((node, Err(no))) => {
                    open.retain(|name| *name != node);
                    silent.push(format!("{node}: {no}"));
                }
                Err(_) => {
                    silent.extend(open.drain(..).map(|node| format!("{node}: no answer")));
                }
            }
        }
        self.enough = Some(self.judge().map_err(|shortage| short(&shortage, &silent))?);
        let given: Vec<String> = self.votes.iter().map(described).collect();
        Ok([given, silent].concat().join("; "))
    }

    /// Fetches what another frozen node has more of the log (rule 5), and judges again.
    pub fn catch_up(&mut self, session: &mut Session, deadline: Deadline) -> Result<Option<String>> {
        let enough = self.judged()?.clone();
        if enough.best == self.voters.node {
            return Ok(None);
        }
        let Some(peer) = self.voters.peers.get(&enough.best) else {
            return Err(Error::failed(format!("{} has more of the log and isn't known", enough.best)));
        };
        let (host, port) = peer.place();
        // A log that has diverged never gets the row of a newer term, and the others wait meanwhile.
        let term = |node: &str| {
            let of = |vote: &&Vote| vote.voter == node;
            self.votes.iter().find(of).and_then(|vote| vote.data.as_ref()).map(|data| data.epoch)
        };
        let most = if term(&enough.best) > term(&self.voters.node) {
            NEWER_TERM_WITHIN.min(self.voters.catch_up_within)
        } else {
            self.voters.catch_up_within
        };
        let within = deadline.within(most);
        let frozen = vote::catch_up(session, &host, port, enough.end, within).map_err(|error| {
            Error::new(Kind::TryAgain, format!("can't fetch what {} has more of the log", enough.best))
                .detail(error)
                .hint(format!("promote {} instead if it may serve", enough.best))
        })?;
        let node = self.voters.node.clone();
        let said = format!("from {} up to {}", enough.best, frozen.end);
        for vote in self.votes.iter_mut().filter(|vote| vote.voter == node) {
            vote.data = Some(frozen.clone());
        }
        match self.judge() {
            Ok(enough) if enough.best == node => self.enough = Some(enough),
            Ok(enough) => {
                return Err(Error::new(Kind::TryAgain, format!("{} still has more of the log", enough.best)));
            }
            Err(shortage) => return Err(short(&shortage, &[])),
        }
        Ok(Some(said))
    }

    /// Decides whose acknowledgement counts in the new term, and has the server use it (rule 6). The `first` term of
    /// a database has no votes behind it.
    pub fn configure(
        &mut self,
        session: &mut Session,
        first: Option<Term>,
        deadline: Deadline,
    ) -> Result<(bool, String)> {
        let term = if let Some(term) = first {
            term
        } else {
            self.judged()?;
            self.asked()?.term
        };
        let others: Vec<String> = self.voters.peers.iter().map(|peer| peer.name.clone()).collect();
        // Of two nodes only one that is frozen, and so known to be well, is waited for: otherwise the survivor
        // would serve nobody until the other one is back.
        let members: Vec<String> = match others.len() {
            _ if self.voters.overridden => Vec::new(),
            1 if first.is_none() => self
                .votes
                .iter()
                .map(|vote| vote.voter.clone())
                .filter(|node| others.contains(node))
                .collect(),
            _ => others,
        };
        let configuration = configuration(&self.voters, term, 0, members);
        let names = configuration.names();
        let changed = vote::set_names(session, &names, deadline)?;
        let said = if names.is_empty() { "nobody's acknowledgement is waited for".to_owned() } else { names };
        self.configuration = Some(configuration);
        Ok((changed, said))
    }

    /// Takes the configuration from the names the server has, where an earlier run has put them in force.
    pub fn adopt_names(&mut self, session: &mut Session, term: Term, deadline: Deadline) -> Result<()> {
        if self.configuration.as_ref().is_some_and(|known| known.term == term) {
            return Ok(());
        }
        let names = vote::read(session, deadline)?.names;
        let is_in_force = |peer: &&Arc<Peer>| names.contains(&format!("\"{}\"", peer.name));
        let members = self.voters.peers.iter().filter(is_in_force).map(|peer| peer.name.clone()).collect();
        self.configuration = Some(configuration(&self.voters, term, 0, members));
        Ok(())
    }

    /// Notes that the intent is on disk: from here on the candidacy must be finished (rule 7).
    pub const fn intended(&mut self) {
        self.intended = true;
    }

    /// Returns who votes.
    pub const fn voters(&self) -> &Voters {
        &self.voters
    }

    /// Returns whose acknowledgement counts in the new term.
    pub const fn configuration(&self) -> Option<&Configuration> {
        self.configuration.as_ref()
    }

    /// Has the standbys that promised follow this node: each has a part of this node's log (rule 5), so that it may
    /// even before the term is confirmed (rule 2).
    pub fn repoint(&self, own: (&str, u16), deadline: Deadline) -> Result<String> {
        let followers: Vec<&Peer> = self
            .votes
            .iter()
            .filter(|vote| vote.data.is_some())
            .filter_map(|vote| self.voters.peers.get(&vote.voter).map(AsRef::as_ref))
            .collect();
        let node = self.voters.node.as_str();
        let follow = |peer: &Peer| {
            peer.with_session(deadline, |session| vote::attach(session, node, own.0, own.1, deadline))
        };
        on_all(&followers, follow)
    }

    /// Tells the voters, and this node's own register, that a term is confirmed.
    pub fn confirm(&self, session: &mut Session, term: Term, deadline: Deadline) -> Result<String> {
        let configuration = confirmed(session, &self.voters.node, term, deadline)?;
        if self.voters.overridden {
            vote::confirm_forced(session, &configuration, deadline)?;
        } else {
            vote::confirm(session, &configuration, deadline)?;
        }
        let peers: Vec<&Peer> = self.voters.peers.voters().map(AsRef::as_ref).collect();
        on_all(&peers, |peer| confirm(peer, &configuration, deadline))
    }

    /// Gives the candidacy up, if that is still allowed: the others first, then this node, so that its own register
    /// says so only when theirs do or can't be reached.
    pub fn abandon(&mut self, session: &mut Session) -> Option<String> {
        let deadline = Deadline::after(GIVE_UP_WITHIN);
        let ask = self.ask.take().filter(|_| !self.intended)?;
        self.votes.clear();
        let peers: Vec<&Peer> = self.voters.peers.voters().map(AsRef::as_ref).collect();
        let place_of = |node: &str| self.voters.peers.get(node).map(|peer| peer.place());
        let told = on_all(&peers, |peer| peer.abandon(&ask, place_of, deadline));
        // The others' silence has used up their time, not this node's.
        let here = vote::abandon(session, &ask, place_of, Deadline::after(GIVE_UP_WITHIN));
        let why = told.err().map(|error| error.to_string()).or_else(|| here.err().map(|e| e.to_string()));
        Some(match why {
            None => format!("term {} is abandoned", ask.term),
            Some(why) => format!("term {} is abandoned, which not every voter knows yet: {why}", ask.term),
        })
    }

    fn judge(&self) -> std::result::Result<Enough, rules::Shortage> {
        match &self.ask {
            Some(ask) if self.voters.overridden => rules::overridden(ask, &self.votes),
            Some(ask) => {
                rules::enough_without(ask, &self.votes, self.voters.peers.count() + 1, self.gone.as_deref())
            }
            None => Err(rules::Shortage::NoConfiguration),
        }
    }

    fn asked(&self) -> Result<&Ask> {
        self.ask.as_ref().ok_or_else(|| Error::failed("this node hasn't frozen itself"))
    }

    fn judged(&self) -> Result<&Enough> {
        self.enough.as_ref().ok_or_else(|| Error::failed("the votes haven't been collected"))
    }
}

fn short(shortage: &rules::Shortage, refusals: &[String]) -> Error {
    let error = Error::refused(format!("not enough votes: {shortage}"));
    let error = if refusals.is_empty() { error } else { error.detail(refusals.join("; ")) };
    error.hint("bring back one of the other nodes, or its PostgreSQL: `pgbaton cluster status` shows them")
}

/// Returns the configuration of a primary that `members` acknowledge for.
pub fn configuration(voters: &Voters, term: Term, change: u32, mut members: Vec<String>) -> Configuration {
    members.sort_unstable();
    let most = u8::try_from(members.len()).unwrap_or(u8::MAX);
    Configuration {
        term,
        change,
        primary: voters.node.clone(),
        w: voters.acknowledgements.min(most),
        members,
    }
}

/// Reads what a serving primary's newest row records, to confirm it to the voters.
pub fn confirmed(session: &mut Session, node: &str, term: Term, deadline: Deadline) -> Result<Configuration> {
    let row = vote::read(session, deadline)?.epoch;
    row.filter(|row| row.term == term && row.node == node).map(|row| Configuration::from(&row)).ok_or_else(
        || Error::refused(format!("term {term} isn't this server's newest")).hint("pgbaton cluster status"),
    )
}

/// Tells one voter that a term is confirmed.
pub fn confirm(
    peer: &Peer,
    configuration: &Configuration,
    deadline: Deadline,
) -> std::result::Result<bool, ConnError> {
    peer.confirm(configuration, deadline)
}

/// Does something on several nodes at once; the error names those where it couldn't be done.
fn on_all(
    peers: &[&Peer],
    work: impl Fn(&Peer) -> std::result::Result<bool, ConnError> + Sync,
) -> Result<String> {
    let results: Vec<(&str, std::result::Result<bool, ConnError>)> = std::thread::scope(|scope| {
        let running: Vec<_> =
            peers.iter().map(|peer| (peer.name.as_str(), scope.spawn(|| work(peer)))).collect();
        let lost = || Err(ConnError::Lost("the thread that asked".to_owned()));
        running.into_iter().map(|(name, thread)| (name, thread.join().unwrap_or_else(|_| lost()))).collect()
    });
    let failed: Vec<String> = results
        .iter()
        .filter_map(|(name, result)| result.as_ref().err().map(|error| format!("{name}: {error}")))
        .collect();
    if failed.is_empty() {
        Ok(results.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "))
    } else {
        Err(Error::new(Kind::TryAgain, failed.join("; ")))
    }
}

fn described(vote: &Vote) -> String {
    match &vote.data {
        Some(data) => format!("{} at {} of term {}", vote.voter, data.end, data.epoch),
        None => format!("{} (witness)", vote.voter),
    }
}
