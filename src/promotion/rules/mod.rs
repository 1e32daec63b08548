//! The rules of the promotion protocol, as functions: who promises, who has enough promises, whose log leads, who
//! goes. Pure; explained in `pgbaton-protocol(7)`, and explored by the model in the tests of this room.
//!
//! It is Raft's idea with `PostgreSQL` as the log: a term, votes from enough nodes, the most complete log leads, and
//! an entry of the new term must be replicated before the term counts. The daemon, the verbs and the model
//! call the same functions, so that what is explored is what runs.

mod configuration;
mod lease;
mod register;

pub use configuration::{Change, Configuration};
pub use lease::Lease;
pub use register::{Ask, Confirmed, Promise, PromiseState, Refusal, Register, Standing};

use crate::pg::epoch::Term;
use crate::pg::lsn::Lsn;
use std::collections::BTreeSet;
use std::fmt;

/// The answer of a voter that has promised, after it froze.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Vote {
    /// The voter.
    pub voter: String,
    /// What its data is; `None` for a witness.
    pub data: Option<Frozen>,
    /// The newest configuration record of its register, which may be newer than its log.
    pub record: Option<Configuration>,
}

/// The data of a node that has promised: it acknowledges nothing for the old primary any more (rule 2).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Frozen {
    /// The newest term in its log, after replaying all it has.
    pub epoch: Term,
    /// The end of the log on its disk.
    pub end: Lsn,
    /// The newest configuration in its log.
    pub configuration: Option<Configuration>,
}

/// Why a candidate may not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shortage {
    /// Nobody's log or record says whose acknowledgement counted.
    NoConfiguration,
    /// An answer knows of a term that isn't lower than the candidate's.
    Older {
        /// That term.
        newest: Term,
    },
    /// The newest configuration doesn't count on the candidate's acknowledgement, and it isn't its primary.
    NotAMember {
        /// That configuration.
        configuration: Configuration,
    },
    /// Too few voters have promised.
    Promises {
        /// How many did, the candidate included.
        have: usize,
        /// How many must.
        need: usize,
    },
    /// Nobody's acknowledgement holds the old primary back: it may go on until its lease has run out.
    Lease {
        /// The old primary.
        holder: String,
    },
    /// Too few of the members are frozen: others may still acknowledge for the old primary.
    Members {
        /// How many are.
        have: usize,
        /// How many must be.
        need: usize,
    },
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoConfiguration => f.write_str("no node that answers has an epoch row"),
            Self::Older { newest } => write!(f, "term {newest} exists already"),
            Self::NotAMember { configuration } => {
                write!(f, "this node isn't in the configuration in force ({configuration})")
            }
            Self::Promises { have, need } => {
                write!(f, "{have} of the {need} promises that a majority needs")
            }
            Self::Lease { holder } => write!(f, "the lease of {holder} may still run"),
            Self::Members { have, need } => write!(
                f,
                "{have} of the {need} synchronous standbys that must have detached from the old primary"
            ),
        }
    }
}

/// What a candidate with enough promises knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enough {
    /// The newest configuration among all answers.
    pub configuration: Configuration,
    /// The voter whose log is the most complete: the candidate must equal it before it goes on (rule 5).
    pub best: String,
    /// Where that log ends.
    pub end: Lsn,
}

/// How many voters are a majority.
pub const fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

/// Judges the promises of a candidate (rules 3, 4 and 5). `votes` holds the candidate's own; the electorate is the number
/// of all voters.
///
/// Complete are the frozen members of the newest configuration together when every acknowledging set meets them, and so
/// is the data of that configuration's own primary: nothing was acknowledged that its disk hadn't first.
///
/// The term is compared once more: a receiver that was still running when the promise was given may have brought the row
/// of a term that isn't lower, and then two primaries would write under one number.
pub fn enough(ask: &Ask, votes: &[Vote], electorate: usize) -> Result<Enough, Shortage> {
    enough_without(ask, votes, electorate, None)
}

/// Judges as [`enough`] does, knowing that `gone` acknowledges nothing any more: it stopped for sure, or the promises are
/// older than its lease is long (asynchronous, with a witness).
pub fn enough_without(
    ask: &Ask,
    votes: &[Vote],
    electorate: usize,
    gone: Option<&str>,
) -> Result<Enough, Shortage> {
    let candidate = ask.holder.as_str();
    let logs = votes.iter().filter_map(|vote| vote.data.as_ref()?.configuration.as_ref());
    let records = votes.iter().filter_map(|vote| vote.record.as_ref());
    let Some(configuration) = logs.chain(records).max_by_key(|known| known.version()).cloned() else {
        return Err(Shortage::NoConfiguration);
    };
    if configuration.term >= ask.term {
        return Err(Shortage::Older { newest: configuration.term });
    }
    let promised: BTreeSet<&str> = votes.iter().map(|vote| vote.voter.as_str()).collect();
    let resumes = configuration.primary == candidate;
    if !resumes && !configuration.has(candidate) {
        return Err(Shortage::NotAMember { configuration });
    }
    let frozen = |node: &str| votes.iter().any(|vote| vote.voter == node && vote.data.is_some());
    // Nobody can have been promoted past it: the old primary needed this node, or nobody, for every commit.
    let alone = (electorate == 2 && configuration.is_only(candidate))
        || (resumes && configuration.members.is_empty() && in_force(&configuration, candidate, votes));
    let need = if alone { 1 } else { majority(electorate) };
    if promised.len() < need {
        return Err(Shortage::Promises { have: promised.len(), need });
    }
    let of_this_epoch = |vote: &&Vote| {
        vote.voter == configuration.primary
            && vote.data.as_ref().is_some_and(|data| data.epoch == configuration.term)
    };
    let detached = votes.iter().any(|vote| of_this_epoch(&vote));
    // Nobody's acknowledgement holds the old primary back: only its end does, or the end of its lease.
    let leased = !detached && !resumes && configuration.w == 0;
    if leased && gone != Some(configuration.primary.as_str()) {
        return Err(Shortage::Lease { holder: configuration.primary });
    }
    if !leased && !detached {
        let have = configuration.members.iter().filter(|member| frozen(member)).count();
        let need = configuration.blocking();
        if have < need {
            return Err(Shortage::Members { have, need });
        }
    }
    match best(votes, candidate) {
        Some((vote, data)) => Ok(Enough { configuration, best: vote.voter.clone(), end: data.end }),
        None => Err(Shortage::NoConfiguration),
    }
}

/// Judges a candidate whose operator has overridden the votes: the most complete of those who did promise leads, and
/// nothing else is asked of them.
///
/// Nobody's acknowledgement counts in the configuration that follows, so that the new primary can write.
pub fn overridden(ask: &Ask, votes: &[Vote]) -> Result<Enough, Shortage> {
    let logs = votes.iter().filter_map(|vote| vote.data.as_ref()?.configuration.as_ref());
    let records = votes.iter().filter_map(|vote| vote.record.as_ref());
    let newest = logs.chain(records).map(|known| known.term).max();
    if let Some(newest) = newest.filter(|newest| *newest >= ask.term) {
        return Err(Shortage::Older { newest });
    }
    let configuration =
        Configuration { term: ask.term, change: 0, primary: ask.holder.clone(), w: 0, members: Vec::new() };
    match best(votes, &ask.holder) {
        Some((vote, data)) => Ok(Enough { configuration, best: vote.voter.clone(), end: data.end }),
        None => Err(Shortage::NoConfiguration),
    }
}

/// Returns the vote whose log is the most complete.
fn best<'a>(votes: &'a [Vote], candidate: &str) -> Option<(&'a Vote, &'a Frozen)> {
    votes
        .iter()
        .filter_map(|vote| vote.data.as_ref().map(|data| (vote, data)))
        // Of equals the candidate itself: it has nothing to fetch then.
        .max_by_key(|(vote, data)| (data.epoch, data.end, vote.voter == candidate))
}

/// Whether a primary's own newest configuration had come into force before it stopped.
///
/// The row of a change is in its log before anybody has acknowledged it; its own register says so last (rule 9).
/// The row of the promotion itself is in force as soon as it is written when nobody needs to acknowledge it.
fn in_force(configuration: &Configuration, primary: &str, votes: &[Vote]) -> bool {
    configuration.change == 0
        || votes.iter().any(|vote| vote.voter == primary && vote.record.as_ref() == Some(configuration))
}

/// Why a primary must go (rule 8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepDown {
    /// A higher term is confirmed: it may come back only as that holder's standby.
    Confirmed(Confirmed),
    /// So many have promised a higher term that nothing can be acknowledged here any more.
    Promised {
        /// The highest of those terms.
        term: Term,
        /// Whom it was promised to.
        holder: String,
    },
}

impl fmt::Display for StepDown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Confirmed(confirmed) => {
                write!(f, "{} is the primary of term {}", confirmed.holder, confirmed.term)
            }
            Self::Promised { term, holder } => {
                write!(f, "the voters have promised term {term} to {holder}")
            }
        }
    }
}

/// Returns whether a primary that holds a lease has it renewed: a majority of the voters, itself included, has promised
/// nobody else a higher term. Whoever wants to replace it needs one of these promises, and waits from then on.
pub fn renews(own: &Configuration, heard: &[(&str, &Register)], voters: usize) -> bool {
    let free = |register: &Register| {
        let promised = register.open().is_some_and(|it| it.term > own.term && it.holder != own.primary);
        let replaced = register.confirmed.as_ref().is_some_and(|known| known.term > own.term);
        !promised && !replaced
    };
    heard.iter().filter(|(_, register)| free(register)).count() + 1 >= majority(voters)
}

/// Judges what a primary has learnt of the others' registers; `own` is the configuration in force.
///
/// Promises alone end nothing that the candidate can't take over: as long as members enough to acknowledge have promised
/// nobody else, no candidate has enough either, and the primary serves on.
pub fn step_down(own: &Configuration, heard: &[(&str, &Register)], voters: usize) -> Option<StepDown> {
    let confirmed = heard.iter().filter_map(|(_, register)| register.confirmed.as_ref());
    if let Some(newer) = confirmed.filter(|known| known.term > own.term).max_by_key(|known| known.term) {
        return Some(StepDown::Confirmed(newer.clone()));
    }
    let promises: Vec<(&str, &Promise)> = heard
        .iter()
        .filter_map(|(voter, register)| Some((*voter, register.open()?)))
        // What was promised to itself is a promotion of its own that isn't confirmed yet.
        .filter(|(_, promise)| promise.term > own.term && promise.holder != own.primary)
        .collect();
    let members = promises.iter().filter(|(voter, _)| own.has(voter)).count();
    let alone = voters == 2 && promises.iter().any(|(voter, _)| own.is_only(voter));
    let fenced = members >= own.blocking() && (alone || promises.len() >= majority(voters));
    let (_, newest) = promises.iter().max_by_key(|(_, promise)| promise.term)?;
    fenced.then(|| StepDown::Promised { term: newest.term, holder: newest.holder.clone() })
}
