//! The node's vote across a rebuild (rules 2a and 12 of the protocol). Pure.
//!
//! A node whose data is replaced forgets what it has acknowledged: from before the first byte goes until it has
//! again all that the primary had when it attached, it is *unfit*, neither votes nor counts. What it has promised is
//! kept all the while, whatever the copied configuration of the primary says.

use super::conf;
use crate::error::{Error, Kind};
use crate::pg::epoch::Epoch;
use crate::pg::register;
use crate::promotion::rules::{Configuration, PromiseState, Register};

/// Reads the register from the text of `postgresql.auto.conf`.
pub fn in_file(text: &str) -> Result<Register, Error> {
    let value = conf::setting(text, register::SETTING).unwrap_or_default();
    register::parse(&value).map_err(|error| {
        Error::refused("can't read the register of this node's vote")
            .detail(format!("{} in postgresql.auto.conf: {error}", register::SETTING))
            .hint("was it written by a newer version, or by hand?")
    })
}

/// Returns the higher of what an earlier run wrote down and what the file holds.
///
/// Only before the data was touched is the file known to be this node's own.
#[must_use]
pub fn own(written_down: Option<&Register>, file: &Register, untouched: bool) -> Register {
    let Some(known) = written_down else {
        return if untouched { file.clone() } else { Register::default() };
    };
    if !untouched {
        return known.clone();
    }
    let promise = match (&known.promise, &file.promise) {
        (Some(old), Some(new)) if new.term < old.term => Some(old.clone()),
        (old, None) => old.clone(),
        (_, new) => new.clone(),
    };
    let confirmed = match (&known.confirmed, &file.confirmed) {
        (Some(old), Some(new)) if new.term < old.term => Some(old.clone()),
        (old, None) => old.clone(),
        (_, new) => new.clone(),
    };
    let record = match (&known.record, &file.record) {
        (Some(old), Some(new)) if new.version() < old.version() => Some(old.clone()),
        (old, None) => old.clone(),
        (_, new) => new.clone(),
    };
    // The file is newer: a mark that it doesn't have any more was taken away in order.
    Register {
        promise,
        confirmed,
        record,
        unfit: file.unfit,
        forced: file.forced,
        upstream: file.upstream.clone(),
    }
}

/// Returns the register of a node that joins the holder of a confirmed term: it streams from that one now.
#[must_use]
pub fn joined(own: &Register, confirmed: Option<&Configuration>, replaced: bool) -> Register {
    let mut joined = match confirmed {
        Some(known) => own.confirm(known),
        None => own.clone(),
    };
    joined.upstream = None;
    joined.forced = None;
    joined.unfit |= replaced;
    joined
}

/// Returns the configuration of the confirmed term that a primary holds; `None` when there never was a term.
///
/// # Errors
/// When its term is only promised, or it isn't the holder of the newest term it knows of: nobody may attach to it.
pub fn tenure(name: &str, register: &Register, row: Option<&Epoch>) -> Result<Option<Configuration>, Error> {
    let row_counts = |epoch: &&Epoch| match &register.promise {
        // Its own row is visible before it is acknowledged when somebody cancels the wait.
        Some(promise) if promise.state == PromiseState::Promised && promise.term == epoch.term => {
            epoch.w == 0
        }
        _ => true,
    };
    let by_row = row.filter(row_counts).map(Configuration::from);
    if let (Some(known), Some(row)) = (&register.confirmed, row)
        && known.term > row.term
        && known.holder != row.node
    {
        return Err(Error::new(
            Kind::TryAgain,
            format!("{name} isn't the primary any more: term {} is {}'s", known.term, known.holder),
        )
        .hint("pgbaton cluster status"));
    }
    // Its record is the proof that a change is in force; the log may hold one that isn't yet.
    let by_record = register.record.clone().filter(|record| {
        let known = register.confirmed.as_ref();
        known.is_some_and(|known| known.term == record.term && known.holder == record.primary)
    });
    let confirmed = match (by_record, by_row) {
        (Some(known), Some(row)) if row.term > known.term => Some(row),
        (known, row) => known.or(row),
    };
    let newest = register.confirmed.as_ref().map(|known| known.term);
    let newest = newest.max(confirmed.as_ref().map(|confirmed| confirmed.term));
    match &register.promise {
        Some(promise) if promise.state == PromiseState::Promised && Some(promise.term) > newest => {
            Err(Error::new(Kind::TryAgain, format!("term {} of {name} isn't confirmed yet", promise.term))
                .detail("a standby may attach only to a primary whose term its voters have confirmed")
                .hint("pgbaton cluster status"))
        }
        _ => Ok(confirmed),
    }
}

/// Returns whether a node may attach to a running primary whose term isn't confirmed: both have promised it to that one,
/// which may have nobody else to acknowledge its row (rule 12).
pub fn helps(own: &Register, theirs: &Register, name: &str) -> bool {
    match (own.open(), theirs.open()) {
        (Some(mine), Some(its)) => {
            mine.term == its.term && mine.id == its.id && mine.holder == name && its.holder == name
        }
        _ => false,
    }
}

/// Returns why a node that has promised a term may not attach to the holder of an older one.
pub fn bound(own: &Register, confirmed: Option<&Configuration>, name: &str) -> Option<Error> {
    let promise = own.promise.as_ref().filter(|promise| promise.state == PromiseState::Promised)?;
    if Some(promise.term) <= confirmed.map(|confirmed| confirmed.term) {
        return None;
    }
    Some(
        Error::new(
            Kind::TryAgain,
            format!(
                "this node has promised term {} to {}, which neither confirmed nor abandoned it",
                promise.term, promise.holder
            ),
        )
        .detail(format!(
            "{name} holds an older term: attached to it, this node would acknowledge for it again"
        ))
        .hint("pgbaton cluster status"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::epoch::{PromotionId, Term};
    use crate::pg::lsn::{Lsn, Timeline};
    use crate::promotion::rules::{Confirmed, Promise};

    #[expect(clippy::unnecessary_wraps, reason = "the fields are options")]
    fn promise(term: u64, holder: &str, state: PromiseState) -> Option<Promise> {
        let id = PromotionId::from_random([1; 16]);
        Some(Promise { term: Term(term), holder: holder.to_owned(), id, state })
    }

    #[expect(clippy::unnecessary_wraps, reason = "the fields are options")]
    fn confirmed(term: u64, holder: &str) -> Option<Confirmed> {
        Some(Confirmed { term: Term(term), holder: holder.to_owned() })
    }

    fn row(term: u64, node: &str, w: u8) -> Epoch {
        Epoch {
            term: Term(term),
            change: 0,
            node: node.to_owned(),
            promotion_id: PromotionId::from_random([1; 16]),
            timeline: Timeline::FIRST,
            start_lsn: Lsn(1),
            w,
            members: Vec::new(),
            at: 0,
        }
    }

    fn configuration(term: u64, primary: &str) -> Configuration {
        Configuration::from(&row(term, primary, 1))
    }

    #[test]
    fn a_primary_whose_term_is_only_promised_is_not_followed() {
        let register = Register { promise: promise(5, "n2", PromiseState::Promised), ..Register::default() };
        for known in [None, Some(row(4, "n1", 1)), Some(row(5, "n2", 1))] {
            let error = tenure("n2", &register, known.as_ref()).unwrap_err();
            assert_eq!(error.kind(), Kind::TryAgain, "{known:?}");
        }
        // Asynchronous: the row alone is enough. And a later row settles the promise.
        for counts in [row(5, "n2", 0), row(6, "n2", 1)] {
            let expected = Some(Configuration::from(&counts));
            assert_eq!(tenure("n2", &register, Some(&counts)).unwrap(), expected);
        }
        let record = Configuration { change: 2, ..configuration(5, "n2") };
        let register = Register { confirmed: confirmed(5, "n2"), record: Some(record.clone()), ..register };
        assert_eq!(tenure("n2", &register, Some(&row(5, "n2", 1))).unwrap(), Some(record));
    }

    #[test]
    fn a_primary_that_was_succeeded_is_not_followed() {
        let register = Register { confirmed: confirmed(5, "n2"), ..Register::default() };
        assert_eq!(tenure("n1", &register, Some(&row(4, "n1", 1))).unwrap_err().kind(), Kind::TryAgain);
        assert_eq!(tenure("n1", &Register::default(), None).unwrap(), None);
    }

    #[test]
    fn a_promise_binds_until_its_term_is_the_primary_s() {
        let own = Register { promise: promise(5, "n2", PromiseState::Promised), ..Register::default() };
        assert!(bound(&own, Some(&configuration(4, "n1")), "n1").is_some());
        assert!(bound(&own, None, "n1").is_some());
        assert!(bound(&own, Some(&configuration(5, "n2")), "n2").is_none());
        let own = Register { promise: promise(5, "n2", PromiseState::Abandoned), ..own };
        assert!(bound(&own, Some(&configuration(4, "n1")), "n1").is_none());
    }

    #[test]
    fn a_voter_helps_the_primary_that_it_has_promised_and_no_other() {
        let with = |promise| Register { promise, ..Register::default() };
        let open = || with(promise(5, "n2", PromiseState::Promised));
        assert!(helps(&open(), &open(), "n2"));
        assert!(!helps(&open(), &open(), "n3"));
        assert!(!helps(&open(), &with(promise(6, "n2", PromiseState::Promised)), "n2"));
        assert!(!helps(&open(), &with(promise(5, "n2", PromiseState::Abandoned)), "n2"));
        assert!(!helps(&with(None), &open(), "n2"));
    }

    #[test]
    fn what_is_joined_is_the_node_s_own_register_or_a_higher_one() {
        let own = Register {
            promise: promise(5, "n2", PromiseState::Promised),
            confirmed: confirmed(3, "n1"),
            upstream: Some("host=n1".to_owned()),
            ..Register::default()
        };
        let joined = joined(&own, Some(&configuration(5, "n2")), true);
        assert_eq!(joined.promise, promise(5, "n2", PromiseState::Confirmed));
        assert_eq!((joined.confirmed, joined.unfit, joined.upstream), (confirmed(5, "n2"), true, None));
        assert_eq!(joined.record, Some(configuration(5, "n2")));
        // An older primary takes nothing back.
        let again = super::joined(&own, Some(&configuration(2, "n9")), false);
        assert_eq!((again.confirmed, again.unfit), (confirmed(3, "n1"), false));
    }

    #[test]
    fn after_the_data_was_touched_only_the_journal_is_believed() {
        let journal = Register { confirmed: confirmed(3, "n1"), unfit: true, ..Register::default() };
        let file = Register { confirmed: confirmed(9, "n9"), ..Register::default() };
        assert_eq!(own(Some(&journal), &file, false), journal);
        assert_eq!(own(None, &file, false), Register::default());
        assert_eq!(own(None, &file, true), file);
        assert_eq!(own(Some(&journal), &file, true), file);
        let older = Register { confirmed: confirmed(2, "n0"), ..Register::default() };
        assert_eq!(own(Some(&journal), &older, true).confirmed, confirmed(3, "n1"));
    }

    #[test]
    fn a_register_in_a_configuration_file_is_found() {
        let text = "a = 'b'\npgbaton.register = '{\"unfit\":true}'\n";
        assert!(in_file(text).unwrap().unfit);
        assert_eq!(in_file("").unwrap(), Register::default());
        assert_eq!(in_file("pgbaton.register = '{'\n").unwrap_err().kind(), Kind::Refused);
    }
}
