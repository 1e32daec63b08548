//! The rules as algebra: what must be so for any sets, whatever the history.

use pgbaton::pg::epoch::{PromotionId, Term};
use pgbaton::pg::lsn::Lsn;
use pgbaton::promotion::rules::{
    Ask, Change, Configuration, Frozen, Register, Standing, Vote, enough, majority,
};
use proptest::prelude::*;

const NAMES: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];

fn chosen(mask: u8) -> impl Iterator<Item = &'static str> {
    NAMES.iter().enumerate().filter(move |(at, _)| mask & (1 << at) != 0).map(|(_, name)| *name)
}

fn configuration(change: u32, w: u8, mask: u8) -> Configuration {
    let members: Vec<String> = chosen(mask & !1).map(str::to_owned).collect();
    let w = w.min(members.len() as u8);
    Configuration { term: Term(1), change, primary: "a".to_owned(), w, members }
}

/// Returns whether the members of a set are enough to acknowledge.
fn acknowledges(configuration: &Configuration, mask: u8) -> bool {
    chosen(mask).filter(|name| configuration.has(name)).count() >= usize::from(configuration.w)
}

fn votes(configuration: &Configuration, mask: u8) -> Vec<Vote> {
    let data = |name: &str| {
        let end = Lsn(if configuration.has(name) { 5 } else { 3 });
        Some(Frozen { epoch: Term(1), end, configuration: Some(configuration.clone()) })
    };
    chosen(mask).map(|name| Vote { voter: name.to_owned(), data: data(name), record: None }).collect()
}

fn ask(term: u64, holder: &str) -> Ask {
    Ask { term: Term(term), holder: holder.to_owned(), id: PromotionId::from_random([3; 16]) }
}

proptest! {
    /// Two candidates that both had enough were promised something by one and the same voter.
    #[test]
    fn two_sets_that_are_enough_have_a_voter_in_common(
        voters in 3usize..=7, w in 1u8..4, members: u8, one: u8, other: u8, who in 1usize..7, whom in 1usize..7,
    ) {
        let all = (1u8 << voters).wrapping_sub(1);
        let configuration = configuration(0, w, members & all);
        prop_assume!(configuration.w > 0);
        let (one, other) = ((one | 1 << (who % voters)) & all, (other | 1 << (whom % voters)) & all);
        let first = enough(&ask(2, NAMES[who % voters]), &votes(&configuration, one), voters);
        let second = enough(&ask(3, NAMES[whom % voters]), &votes(&configuration, other), voters);
        if first.is_ok() && second.is_ok() {
            prop_assert!(one & other != 0, "{one:b} {other:b} {configuration}");
        }
    }

    /// Whatever could acknowledge for the old primary has a member among the frozen, or the old primary is.
    #[test]
    fn the_frozen_meet_every_set_that_acknowledges(
        voters in 2usize..=7, w in 1u8..4, members: u8, frozen: u8, who in 1usize..7, acks: u8,
    ) {
        let all = (1u8 << voters).wrapping_sub(1);
        let configuration = configuration(0, w, members & all);
        prop_assume!(configuration.w > 0);
        let frozen = (frozen | 1 << (who % voters)) & all;
        if let Ok(told) = enough(&ask(2, NAMES[who % voters]), &votes(&configuration, frozen), voters) {
            if frozen & 1 == 0 {
                prop_assert!(!acknowledges(&configuration, acks & !frozen & all), "{acks:b} {frozen:b} {configuration}");
            }
            prop_assert!(chosen(frozen).any(|name| name == told.best));
        }
    }

    /// `change_to` says what the sets say.
    #[test]
    fn a_change_is_what_it_does_to_the_sets(w in 1u8..4, members: u8, new_w in 1u8..4, new_members: u8) {
        let (old, new) = (configuration(0, w, members), configuration(1, new_w, new_members));
        prop_assume!(old.w > 0 && new.w > 0);
        let sets = || 0u8..128;
        // Every set that acknowledges under the one also does under the other.
        let tighter = sets().all(|set| !acknowledges(&new, set) || acknowledges(&old, set));
        let looser = sets().all(|set| !acknowledges(&old, set) || acknowledges(&new, set));
        let expected = match (tighter, looser) {
            (true, true) => Change::Same,
            (true, false) => Change::Tightening,
            (false, true) => Change::Loosening,
            (false, false) => Change::Neither,
        };
        prop_assert_eq!(old.change_to(&new), expected, "{} -> {}", old, new);
        let back = match expected {
            Change::Tightening => Change::Loosening,
            Change::Loosening => Change::Tightening,
            same => same,
        };
        prop_assert_eq!(new.change_to(&old), back);
    }

    /// A voter never holds two promises, never goes back, and says the same twice.
    #[test]
    fn a_register_only_goes_forward(moves in prop::collection::vec((0u8..4, 1u64..6, 1usize..4), 1..24)) {
        let standing = Standing { voter: "w".to_owned(), primary: false, log: None };
        let mut register = Register::default();
        for (what, term, holder) in moves {
            let ask = ask(term, NAMES[holder]);
            let confirmed = Configuration { primary: ask.holder.clone(), term: ask.term, ..configuration(0, 0, 0) };
            let after = match what {
                0 => register.promise(&ask, &standing).unwrap_or_else(|_| register.clone()),
                1 => register.confirm(&confirmed),
                2 => register.abandon(&ask),
                _ => register.record(&Configuration { change: 1, ..confirmed }).unwrap_or_else(|| register.clone()),
            };
            prop_assert!(after.newest_term() >= register.newest_term());
            prop_assert!(after.confirmed.as_ref().map(|known| known.term)
                >= register.confirmed.as_ref().map(|known| known.term));
            // What is known as confirmed is known with its configuration.
            prop_assert!(after.record.as_ref().map(|known| known.term)
                >= after.confirmed.as_ref().map(|known| known.term));
            if let (Some(open), Some(now)) = (register.open(), after.open()) {
                prop_assert_eq!((open.term, &open.holder), (now.term, &now.holder));
            }
            if what == 0 && after != register {
                prop_assert_eq!(after.promise(&ask, &standing), Ok(after.clone()));
            }
            register = after;
        }
    }

    #[test]
    fn two_majorities_have_a_voter_in_common(voters in 1usize..200) {
        prop_assert!(2 * majority(voters) > voters && 2 * (majority(voters) - 1) <= voters);
    }
}
