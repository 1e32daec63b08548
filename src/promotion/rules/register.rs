//! What a voter keeps, durably, about terms (rules 1, 2 and 7).

use super::Configuration;
use crate::pg::epoch::{PromotionId, Term};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A voter's register: durable before anything that depends on it is answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// The highest term that was promised here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promise: Option<Promise>,
    /// The highest term that is known as confirmed: its holder is "the old primary" of the rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<Confirmed>,
    /// The newest configuration that was recorded here instead of, or before, in the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Configuration>,
    /// Whether the data was replaced and hasn't caught up since (rule 2a): it neither promises nor counts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unfit: bool,
    /// The term that this node took by an operator's word, without the votes: it serves alone in it until a standby
    /// acknowledges again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forced: Option<Term>,
    /// Where a frozen standby streamed from, as a connection string without password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
}

/// A term that was promised to a candidate.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promise {
    /// The term.
    pub term: Term,
    /// Whom it was promised to.
    pub holder: String,
    /// The random id of the promotion it is for.
    pub id: PromotionId,
    /// What became of it.
    pub state: PromiseState,
}

/// What became of a promised term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PromiseState {
    /// Nothing yet: the voter is frozen and waits for the holder.
    Promised,
    /// The holder's epoch row was acknowledged.
    Confirmed,
    /// The holder gave up before it wrote its intent.
    Abandoned,
}

/// A confirmed term and its holder.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmed {
    /// The term.
    pub term: Term,
    /// The node that was, or is, its primary.
    pub holder: String,
}

/// What a candidate asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ask {
    /// The term.
    pub term: Term,
    /// The candidate.
    pub holder: String,
    /// The random id of the promotion.
    pub id: PromotionId,
}

/// What else of a voter decides about a promise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// The voter's name.
    pub voter: String,
    /// Whether its server runs as a primary.
    pub primary: bool,
    /// The newest configuration in its log; `None` for a witness and for a log without one.
    pub log: Option<Configuration>,
}

/// Why a voter doesn't promise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "refusal", rename_all = "kebab-case")]
pub enum Refusal {
    /// It runs as a primary itself.
    Primary,
    /// It has promised a term that nobody has resolved.
    Held {
        /// That term.
        term: Term,
        /// Whom it was promised to.
        holder: String,
    },
    /// It knows of a term that isn't lower.
    Older {
        /// That term.
        newest: Term,
    },
    /// Its data was replaced and hasn't caught up.
    Unfit,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Primary => f.write_str("it runs as a primary"),
            Self::Held { term, holder } => {
                write!(f, "it has promised term {term} to {holder}, which neither confirmed nor abandoned it")
            }
            Self::Older { newest } => write!(f, "it knows of term {newest}"),
            Self::Unfit => f.write_str("its data was replaced and hasn't caught up yet"),
        }
    }
}

impl Register {
    /// Returns the register after the promise, or why it isn't given (rule 1). The same ask twice is promised twice.
    pub fn promise(&self, ask: &Ask, standing: &Standing) -> Result<Self, Refusal> {
        if standing.primary {
            return Err(Refusal::Primary);
        }
        if self.unfit {
            return Err(Refusal::Unfit);
        }
        if let Some(promise) = &self.promise {
            if promise.is_of(ask) && promise.state == PromiseState::Promised {
                return Ok(self.clone());
            }
            if !self.resolved(standing) {
                return Err(Refusal::Held { term: promise.term, holder: promise.holder.clone() });
            }
        }
        let newest = self.newest_term().max(standing.log.as_ref().map(|log| log.term)).unwrap_or_default();
        if ask.term <= newest {
            return Err(Refusal::Older { newest });
        }
        let promise =
            Promise { term: ask.term, holder: ask.holder.clone(), id: ask.id, state: PromiseState::Promised };
        // What the log knows is kept: after an abandonment the voter goes back to it.
        Ok(Self { promise: Some(promise), ..self.with_log(standing) })
    }

    /// Returns the register of a candidate whose operator has overridden the votes: whatever it had promised to another,
    /// and although its data was replaced. A term that isn't the highest can't be had by force either.
    pub fn force(&self, ask: &Ask, standing: &Standing) -> Result<Self, Refusal> {
        if standing.primary {
            return Err(Refusal::Primary);
        }
        if self.promise.as_ref().is_some_and(|own| own.is_of(ask) && own.state == PromiseState::Promised) {
            return Ok(Self { unfit: false, forced: Some(ask.term), ..self.clone() });
        }
        let newest = self.newest_term().max(standing.log.as_ref().map(|log| log.term)).unwrap_or_default();
        if ask.term <= newest {
            return Err(Refusal::Older { newest });
        }
        let promise =
            Promise { term: ask.term, holder: ask.holder.clone(), id: ask.id, state: PromiseState::Promised };
        let known = self.with_log(standing);
        Ok(Self { promise: Some(promise), unfit: false, forced: Some(ask.term), ..known })
    }

    /// Returns whether the promised term is settled: a voter that holds none is free.
    ///
    /// A confirmed term settles those below it: of two majorities one voter would have had to promise both. The log
    /// settles it too: a row of a higher term, or the term's own row where the voter's copy of it alone is an
    /// acknowledgement (`w` is 1 and the voter a member).
    pub fn resolved(&self, standing: &Standing) -> bool {
        let Some(promise) = &self.promise else { return true };
        promise.state != PromiseState::Promised
            || self.confirmed.as_ref().is_some_and(|confirmed| confirmed.term >= promise.term)
            || standing.log.as_ref().is_some_and(|log| {
                log.term > promise.term
                    || (log.term == promise.term
                        && log.primary == promise.holder
                        && log.w <= 1
                        && (log.w == 0 || log.has(&standing.voter)))
            })
    }

    /// Returns the highest term this register names.
    pub fn newest_term(&self) -> Option<Term> {
        let promise = self.promise.as_ref().map(|promise| promise.term);
        let confirmed = self.confirmed.as_ref().map(|confirmed| confirmed.term);
        let record = self.record.as_ref().map(|record| record.term);
        promise.max(confirmed).max(record)
    }

    /// Returns the register with what the log knows of a newer term.
    ///
    /// A primary's own changes are left out: its record is its proof that a change had come into force, and its log
    /// may hold one that hadn't.
    fn with_log(&self, standing: &Standing) -> Self {
        match &standing.log {
            Some(log)
                if self.confirmed.as_ref().is_none_or(|known| known.term < log.term)
                    && (log.primary != standing.voter || log.change == 0) =>
            {
                self.confirm(log)
            }
            _ => self.clone(),
        }
    }

    /// Returns the register after its holder confirmed a term; an older confirmation changes nothing.
    ///
    /// The configuration is recorded in the same step: a voter that knew the term but not whose acknowledgement counts
    /// in it would let a node stand that the new primary doesn't depend on.
    #[must_use]
    pub fn confirm(&self, configuration: &Configuration) -> Self {
        let mut register = self.clone();
        let (term, holder) = (configuration.term, &configuration.primary);
        if let Some(promise) = &mut register.promise
            && promise.term == term
            && promise.holder == *holder
        {
            promise.state = PromiseState::Confirmed;
        }
        if register.confirmed.as_ref().is_none_or(|known| known.term < term) {
            register.confirmed = Some(Confirmed { term, holder: holder.clone() });
        }
        if register.forced.is_some_and(|forced| forced < term) {
            register.forced = None;
        }
        if register.record.as_ref().is_none_or(|known| known.version() < configuration.version()) {
            register.record = Some(configuration.clone());
        }
        register
    }

    /// Returns the register after its holder abandoned a term (rule 7); another holder's is left alone.
    ///
    /// A voter that the ask hasn't reached yet remembers the term as abandoned, so that a late ask finds it settled.
    #[must_use]
    pub fn abandon(&self, ask: &Ask) -> Self {
        let mut register = self.clone();
        match &mut register.promise {
            Some(promise) if promise.is_of(ask) => {
                if promise.state == PromiseState::Promised {
                    promise.state = PromiseState::Abandoned;
                }
            }
            Some(promise) if promise.term >= ask.term || promise.state == PromiseState::Promised => {}
            _ => {
                register.promise = Some(Promise {
                    term: ask.term,
                    holder: ask.holder.clone(),
                    id: ask.id,
                    state: PromiseState::Abandoned,
                });
            }
        }
        register
    }

    /// Returns the register after the register of another voter was read: a newer confirmed term, and the end of a
    /// promise if the other one is its holder (rule 7: it answers truthfully about its terms for ever after).
    #[must_use]
    pub fn heard(&self, from: &str, other: &Self) -> Self {
        let mut register = self.clone();
        if let (Some(confirmed), Some(record)) = (&other.confirmed, &other.record)
            && confirmed.term == record.term
            && confirmed.holder == record.primary
            && self.confirmed.as_ref().is_none_or(|known| known.term < confirmed.term)
        {
            register = register.confirm(record);
        }
        if let Some(promise) = &mut register.promise
            && promise.state == PromiseState::Promised
            && promise.holder == from
        {
            promise.state = other.fate_of(promise);
        }
        register
    }

    /// Returns what became of a promise, from the register of its holder.
    ///
    /// The holder promised the term to itself before it asked anybody. If it has promised a higher one since, this
    /// one was resolved: confirmed if it says so, abandoned if what it knows as confirmed is lower.
    fn fate_of(&self, promise: &Promise) -> PromiseState {
        match &self.promise {
            Some(own) if own.term == promise.term && own.holder == promise.holder && own.id == promise.id => {
                own.state
            }
            Some(own) if own.term > promise.term => match &self.confirmed {
                Some(confirmed) if confirmed.term == promise.term && confirmed.holder == promise.holder => {
                    PromiseState::Confirmed
                }
                Some(confirmed) if confirmed.term >= promise.term => PromiseState::Promised,
                _ => PromiseState::Abandoned,
            },
            _ => PromiseState::Promised,
        }
    }

    /// Returns the register with a newer configuration recorded (rule 9): only for the term that it holds as
    /// confirmed, never after promising a higher one.
    ///
    /// The primary records a loosening in its own register last, when it is in force (its row acknowledged under the
    /// old names, or recorded by the others that a majority needs): its own record is what lets it resume
    /// alone ([`enough`](super::enough)).
    pub fn record(&self, configuration: &Configuration) -> Option<Self> {
        let confirmed = self.confirmed.as_ref()?;
        let higher = self
            .promise
            .as_ref()
            .is_some_and(|promise| promise.term > confirmed.term && promise.state != PromiseState::Abandoned);
        if higher || configuration.term != confirmed.term || configuration.primary != confirmed.holder {
            return None;
        }
        // One number is never two changes: a primary that finds it taken counts on.
        let older =
            |known: &Configuration| known.version() < configuration.version() || known == configuration;
        if !self.record.as_ref().is_none_or(older) {
            return None;
        }
        Some(Self { record: Some(configuration.clone()), ..self.clone() })
    }

    /// Returns whom a standby looks for first (rule 2): the holder of the term it has promised, or the last
    /// confirmed primary when it has promised none since or that one was abandoned.
    pub fn upstream_of(&self) -> Option<&str> {
        match &self.promise {
            Some(promise)
                if promise.state != PromiseState::Abandoned
                    && self.confirmed.as_ref().is_none_or(|known| known.term < promise.term) =>
            {
                Some(&promise.holder)
            }
            _ => self.confirmed.as_ref().map(|confirmed| confirmed.holder.as_str()),
        }
    }

    /// Returns whether a standby may stream from a node that holds a term (rule 2); `prefix` says whether all of the
    /// standby's log is the beginning of that node's.
    ///
    /// With an open promise only from its holder. A free node may also help the running primary of a higher term that
    /// isn't confirmed yet: it may have been promised while this node had abandoned a higher one, and then nobody else can acknowledge
    /// its row.
    pub fn follows(&self, holder: &str, term: Term, prefix: bool) -> bool {
        let known = self.confirmed.as_ref();
        if known.is_some_and(|known| known.term == term && known.holder == holder) {
            return self.open().is_none();
        }
        let newer = known.is_none_or(|known| known.term < term);
        let free = self.open().is_none_or(|promise| promise.term == term && promise.holder == holder);
        newer && free && prefix
    }

    /// Returns whether a node's data may be replaced by that of the running primary of a term (rule 12): a confirmed
    /// one, or the one that the node has promised. That one has had enough promises before it was promoted, and it may
    /// need this node to acknowledge its row.
    pub fn may_be_rebuilt_from(&self, holder: &str, term: Term) -> bool {
        match self.open() {
            Some(promise) => promise.term == term && promise.holder == holder,
            None => self.confirmed.as_ref().is_some_and(|known| known.term == term && known.holder == holder),
        }
    }

    /// Returns the promise that nobody has settled.
    pub fn open(&self) -> Option<&Promise> {
        self.promise.as_ref().filter(|promise| {
            promise.state == PromiseState::Promised
                && self.confirmed.as_ref().is_none_or(|known| known.term < promise.term)
        })
    }
}

impl Promise {
    /// Returns whether this is the promise that answered the ask.
    pub fn is_of(&self, ask: &Ask) -> bool {
        self.term == ask.term && self.holder == ask.holder && self.id == ask.id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(term: u64, holder: &str) -> Ask {
        Ask { term: Term(term), holder: holder.to_owned(), id: PromotionId::from_random([7; 16]) }
    }

    fn configuration(term: u64, change: u32, primary: &str, w: u8, members: &[&str]) -> Configuration {
        let members = members.iter().map(|name| (*name).to_owned()).collect();
        Configuration { term: Term(term), change, primary: primary.to_owned(), w, members }
    }

    fn witness() -> Standing {
        Standing { voter: "w".to_owned(), primary: false, log: None }
    }

    fn fresh() -> Register {
        Register::default().confirm(&configuration(1, 0, "a", 1, &["b"]))
    }

    #[test]
    fn a_promise_is_kept_until_its_holder_settles_it() {
        let promised = fresh().promise(&ask(2, "b"), &witness()).unwrap();
        assert_eq!(promised.promise(&ask(2, "b"), &witness()), Ok(promised.clone()));
        let held = Refusal::Held { term: Term(2), holder: "b".to_owned() };
        assert_eq!(promised.promise(&ask(3, "c"), &witness()), Err(held));
        assert_eq!(promised.upstream_of(), Some("b"));
        let abandoned = promised.abandon(&ask(2, "b"));
        assert_eq!(abandoned.upstream_of(), Some("a"));
        assert_eq!(abandoned.promise(&ask(2, "b"), &witness()), Err(Refusal::Older { newest: Term(2) }));
        assert!(abandoned.promise(&ask(3, "c"), &witness()).is_ok());
    }

    #[test]
    fn force_overrides_what_was_promised_but_no_higher_term() {
        let held = Register { unfit: true, ..fresh().promise(&ask(2, "b"), &witness()).unwrap() };
        let forced = held.force(&ask(3, "c"), &witness()).unwrap();
        assert_eq!(forced.open().map(|promise| promise.holder.as_str()), Some("c"));
        assert_eq!((forced.unfit, forced.forced), (false, Some(Term(3))));
        assert_eq!(forced.force(&ask(3, "c"), &witness()), Ok(forced.clone()));
        assert_eq!(held.force(&ask(2, "c"), &witness()), Err(Refusal::Older { newest: Term(2) }));
        let primary = Standing { primary: true, ..witness() };
        assert_eq!(held.force(&ask(3, "c"), &primary), Err(Refusal::Primary));
        // Its own confirmation keeps the mark; a later term's takes it away.
        assert_eq!(forced.confirm(&configuration(3, 0, "c", 0, &[])).forced, Some(Term(3)));
        assert_eq!(forced.confirm(&configuration(4, 0, "b", 1, &["c"])).forced, None);
    }

    #[test]
    fn an_abandoned_term_is_settled_before_its_ask_arrives() {
        let told = fresh().abandon(&ask(2, "b"));
        assert_eq!(told.promise(&ask(2, "b"), &witness()), Err(Refusal::Older { newest: Term(2) }));
        // But it takes nobody else's promise back.
        let promised = fresh().promise(&ask(2, "c"), &witness()).unwrap();
        assert_eq!(promised.abandon(&ask(3, "b")), promised);
    }

    #[test]
    fn a_confirmed_higher_term_settles_a_witness_promise_too() {
        let promised = fresh().promise(&ask(2, "b"), &witness()).unwrap();
        let confirmed = promised.confirm(&configuration(3, 0, "c", 1, &["a"]));
        assert!(confirmed.resolved(&witness()));
        assert_eq!(confirmed.upstream_of(), Some("c"));
        assert_eq!(confirmed.record, Some(configuration(3, 0, "c", 1, &["a"])));
    }

    #[test]
    fn a_change_is_recorded_for_the_confirmed_term_only() {
        let loose = configuration(1, 1, "a", 0, &[]);
        assert_eq!(fresh().record(&loose).and_then(|register| register.record), Some(loose.clone()));
        assert_eq!(fresh().record(&configuration(2, 1, "a", 0, &[])), None);
        let promised = fresh().promise(&ask(2, "b"), &witness()).unwrap();
        assert_eq!(promised.record(&loose), None);
        let other = fresh().record(&configuration(1, 1, "a", 1, &["c"])).unwrap();
        assert_eq!(other.record(&loose), None);
    }

    #[test]
    fn what_became_of_a_promise_is_read_from_its_holder() {
        let voter = fresh().promise(&ask(2, "b"), &witness()).unwrap();
        let holder = fresh().promise(&ask(2, "b"), &witness()).unwrap();
        assert_eq!(voter.heard("b", &holder), voter);
        let gone = holder.abandon(&ask(2, "b"));
        assert!(voter.heard("b", &gone).resolved(&witness()));
        assert_eq!(voter.heard("c", &gone), voter);
        // It has moved on since: to a term that it couldn't have promised with this one open.
        let moved = gone.promise(&ask(4, "c"), &witness()).unwrap();
        assert_eq!(voter.heard("b", &moved).promise.unwrap().state, PromiseState::Abandoned);
        let confirmed = holder.confirm(&configuration(2, 0, "b", 0, &[]));
        let told = voter.heard("b", &confirmed);
        assert_eq!(told.promise.unwrap().state, PromiseState::Confirmed);
        assert_eq!(told.confirmed.unwrap().holder, "b");
    }

    #[test]
    fn an_own_change_in_the_log_is_no_proof_that_it_was_in_force() {
        let log = configuration(1, 1, "a", 0, &[]);
        let standing = Standing { voter: "a".to_owned(), primary: false, log: Some(log.clone()) };
        let register = Register::default().promise(&ask(2, "a"), &standing).unwrap();
        assert_eq!(register.record, None);
        let other = Standing { voter: "b".to_owned(), ..standing };
        assert_eq!(Register::default().promise(&ask(2, "b"), &other).unwrap().record, Some(log));
    }
}
