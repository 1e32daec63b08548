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
        // What the log knows as confirmed is kept: after an abandonment the voter goes back to it.
        let confirmed = self.confirmed_with(standing);
        Ok(Self { promise: Some(promise), confirmed, ..self.clone() })
    }

    /// Returns whether the promised term is settled: a voter that holds none is free.
    ///
    /// The log settles it too: a row of a higher term, or the term's own row where the voter's copy of it alone is an
    /// acknowledgement (`w` is 1 and the voter a member).
    pub fn resolved(&self, standing: &Standing) -> bool {
        let Some(promise) = &self.promise else { return true };
        promise.state != PromiseState::Promised
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

    /// Returns the newest confirmed term, of the register or of the log.
    fn confirmed_with(&self, standing: &Standing) -> Option<Confirmed> {
        let log = standing.log.as_ref().map(|log| Confirmed { term: log.term, holder: log.primary.clone() });
        match (self.confirmed.clone(), log) {
            (Some(own), Some(log)) if log.term > own.term => Some(log),
            (None, log) => log,
            (own, _) => own,
        }
    }

    /// Returns the register after its holder confirmed a term; an older confirmation changes nothing.
    #[must_use]
    pub fn confirm(&self, term: Term, holder: &str) -> Self {
        let mut register = self.clone();
        if let Some(promise) = &mut register.promise
            && promise.term == term
            && promise.holder == holder
        {
            promise.state = PromiseState::Confirmed;
        }
        if register.confirmed.as_ref().is_none_or(|known| known.term < term) {
            register.confirmed = Some(Confirmed { term, holder: holder.to_owned() });
        }
        register
    }

    /// Returns the register after its holder abandoned a term (rule 7); another holder's is left alone.
    #[must_use]
    pub fn abandon(&self, ask: &Ask) -> Self {
        let mut register = self.clone();
        if let Some(promise) = &mut register.promise
            && promise.is_of(ask)
            && promise.state == PromiseState::Promised
        {
            promise.state = PromiseState::Abandoned;
        }
        register
    }

    /// Returns the register with a newer configuration recorded (rule 9): only for the term that it holds as
    /// confirmed, never after promising a higher one.
    pub fn record(&self, configuration: &Configuration) -> Option<Self> {
        let confirmed = self.confirmed.as_ref()?;
        let higher = self
            .promise
            .as_ref()
            .is_some_and(|promise| promise.term > confirmed.term && promise.state != PromiseState::Abandoned);
        if higher || configuration.term != confirmed.term || configuration.primary != confirmed.holder {
            return None;
        }
        if self.record.as_ref().is_some_and(|known| known.version() > configuration.version()) {
            return None;
        }
        Some(Self { record: Some(configuration.clone()), ..self.clone() })
    }

    /// Returns whom a standby may stream from (rule 2): the holder of the term it has promised, or the last
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
}

impl Promise {
    /// Returns whether this is the promise that answered the ask.
    pub fn is_of(&self, ask: &Ask) -> bool {
        self.term == ask.term && self.holder == ask.holder && self.id == ask.id
    }
}
