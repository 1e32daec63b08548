//! The lease of the asynchronous mode, explored with two clocks that run apart.
//!
//! Time is counted in ticks. A clock advances by nine or eleven tenths of each, differently each time; a
//! message takes any number of ticks, or never arrives.

use pgbaton::promotion::rules::Lease;
use std::collections::{HashSet, VecDeque};
use std::time::Duration;

/// One tick, in the tenths that the clocks count.
const TICK: u64 = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    /// Whether the old primary acknowledges: until when, since it sent the last request that was granted.
    serves: bool,
    since_sent: u64,
    /// Its stop is under way: true ticks left.
    stopping: Option<u64>,
    /// The request on its way, with its age by the primary's clock; and the grant on its way back.
    request: Option<u64>,
    grant: Option<u64>,
    /// Whether the voter has promised the other node, and for how long that node has waited, by its own clock.
    promised: bool,
    waited: u64,
    /// Whether the other node was promoted.
    promoted: bool,
}

/// Which rule is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mutant {
    CountsFromTheGrant,
    NoDrift,
    NoTimeToStop,
    PromotesAtOnce,
    RenewsAfterThePromise,
}

fn units(count: u64) -> Duration {
    Duration::from_nanos(count)
}

/// Explores everything; returns the states, and whether both nodes ever served.
fn explore(lease: Lease, mutant: Option<Mutant>) -> (usize, bool) {
    let counted = match mutant {
        Some(Mutant::NoDrift) => Lease { drift: 0, ..lease },
        Some(Mutant::NoTimeToStop) => Lease { stop: Duration::ZERO, ..lease },
        _ => lease,
    };
    let serves_for = u64::try_from(counted.serves_for().as_nanos()).unwrap();
    let (length, stop) = (lease.length.as_nanos() as u64, lease.stop.as_nanos() as u64 / TICK);
    let start = State {
        serves: true,
        since_sent: 0,
        stopping: None,
        request: None,
        grant: None,
        promised: false,
        waited: 0,
        promoted: false,
    };
    let (mut seen, mut queue) = (HashSet::from([start]), VecDeque::from([start]));
    while let Some(state) = queue.pop_front() {
        let mut next = Vec::new();
        if state.promoted && state.serves {
            return (seen.len(), true);
        }
        if state.promoted {
            continue;
        }
        // A tick passes. The primary looks at its clock: when its time is up it begins to stop.
        for primary in [TICK - 1, TICK + 1] {
            for candidate in [TICK - 1, TICK + 1] {
                let mut after = state;
                after.since_sent = (after.since_sent + primary).min(length);
                after.request = after.request.map(|age| (age + primary).min(length));
                after.grant = after.grant.map(|age| (age + primary).min(length));
                if after.promised {
                    after.waited = (after.waited + candidate).min(length);
                }
                match after.stopping {
                    Some(left) if left <= 1 => (after.serves, after.stopping) = (false, None),
                    Some(left) => after.stopping = Some(left - 1),
                    None => {}
                }
                if after.serves && after.stopping.is_none() && after.since_sent >= serves_for {
                    after.stopping = Some(stop);
                    if stop == 0 {
                        (after.serves, after.stopping) = (false, None);
                    }
                }
                next.push(after);
            }
        }
        if state.serves && state.stopping.is_none() && state.request.is_none() && state.grant.is_none() {
            next.push(State { request: Some(0), ..state });
        }
        if let Some(age) = state.request {
            // It arrives, or it is lost.
            if !state.promised || mutant == Some(Mutant::RenewsAfterThePromise) {
                next.push(State { request: None, grant: Some(age), ..state });
            }
            next.push(State { request: None, ..state });
        }
        if let Some(age) = state.grant {
            let age = if mutant == Some(Mutant::CountsFromTheGrant) { 0 } else { age };
            let renewed = state.stopping.is_none() && age < state.since_sent;
            let since_sent = if renewed { age } else { state.since_sent };
            next.push(State { grant: None, since_sent, ..state });
            next.push(State { grant: None, ..state });
        }
        // The promise is durable: a voter that is restarted keeps it. A candidate that gives up takes it back.
        next.push(State { promised: !state.promised, waited: 0, ..state });
        let waits = mutant != Some(Mutant::PromotesAtOnce);
        if state.promised && (lease.is_over(units(state.waited)) || !waits) {
            next.push(State { promoted: true, ..state });
        }
        for after in next {
            if seen.insert(after) {
                queue.push_back(after);
            }
        }
    }
    (seen.len(), false)
}

fn lease(ticks: u64, stop: u64) -> Lease {
    Lease { length: units(ticks * TICK), drift: 100_000, stop: units(stop * TICK) }
}

#[test]
fn the_old_primary_has_stopped_before_the_other_node_is_promoted() {
    for (ticks, stop) in [(4, 0), (6, 1)] {
        let (states, both) = explore(lease(ticks, stop), None);
        assert!(!both && states > 1000, "{ticks} {stop}: {states}");
    }
}

#[test]
fn a_lease_that_is_counted_wrong_makes_two_writers() {
    let mutants = [
        Mutant::CountsFromTheGrant,
        Mutant::NoDrift,
        Mutant::NoTimeToStop,
        Mutant::PromotesAtOnce,
        Mutant::RenewsAfterThePromise,
    ];
    for mutant in mutants {
        assert!(explore(lease(6, 1), Some(mutant)).1, "{mutant:?}");
    }
}
