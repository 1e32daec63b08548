//! The promotion protocol, explored: every order of every step and fault within bounds, and what breaks without
//! each rule.
//!
//! The model drives the functions of `promotion::rules` themselves. What it knows of PostgreSQL: a standby copies its
//! upstream's log from the front, the primary acknowledges what W of the members named have flushed, a
//! crash takes what wasn't on disk, `primary_conninfo` outlives it. Messages arrive late, twice or never, because
//! the step that takes them may come at any time. The bounds of `cargo test` run in seconds; `make model` sets
//! `PGBATON_MODEL_STATES` and explores millions of states.

#![allow(
    clippy::cast_possible_truncation,
    clippy::enum_glob_use,
    reason = "a node is a number below six, a state's number fits"
)]

mod algebra;
mod changes;
mod cluster;
mod lease;
mod mutants;
mod search;
mod steps;
mod tables;
mod walk;

use cluster::Scenario;

/// Three data nodes, `ANY 1`: one crash, one commit, one abandonment, two promotions.
pub const THREE: Scenario = Scenario {
    name: "three data nodes",
    data: 0b111,
    w: 1,
    alone: false,
    by_record: false,
    restarts: false,
    vip: false,
    terms: 2,
    left: [1, 1, 0, 0, 1],
    mutant: None,
};
/// Two data nodes, strict: the survivor serves alone.
pub const STRICT: Scenario =
    Scenario { name: "two data nodes, strict", data: 0b11, alone: true, terms: 3, ..THREE };
/// Two data nodes and a witness: a loosening may be recorded.
pub const WITNESS: Scenario = Scenario { name: "two data nodes and a witness", by_record: true, ..STRICT };

/// Returns the bound of a test: the small one, or as many as `make model` says, at most the large one.
pub fn bounds(small: usize, large: usize) -> usize {
    let asked = std::env::var("PGBATON_MODEL_STATES").ok().and_then(|text| text.parse().ok());
    asked.map_or(small, |asked: usize| asked.min(large))
}

const FEW: usize = 20_000;
const MANY: usize = 100_000_000;

/// Explores up to a number of states.
fn explore<const N: usize>(scenarios: &[Scenario]) {
    for scenario in scenarios {
        search::holds::<N>(*scenario, bounds(FEW, MANY), 10);
    }
}

#[test]
fn three_data_nodes() {
    explore::<3>(&[
        THREE,
        Scenario { name: "three, three terms", terms: 3, ..THREE },
        Scenario { name: "three, a change", left: [1, 1, 1, 0, 0], ..THREE },
        Scenario { name: "three, a rebuild", left: [1, 1, 0, 1, 0], ..THREE },
        Scenario {
            name: "three, restarted in place",
            left: [2, 1, 0, 0, 0],
            restarts: true,
            vip: true,
            ..THREE
        },
    ]);
}

#[test]
fn two_data_nodes_strict() {
    explore::<2>(&[
        STRICT,
        Scenario { name: "strict, two changes", left: [1, 1, 2, 0, 0], ..STRICT },
        Scenario { name: "strict, a rebuild", left: [1, 1, 0, 1, 0], ..STRICT },
        Scenario {
            name: "strict, everything",
            left: [2, 2, 1, 1, 1],
            restarts: true,
            vip: true,
            terms: 4,
            ..STRICT
        },
    ]);
}

#[test]
fn two_data_nodes_and_a_witness() {
    explore::<3>(&[
        WITNESS,
        Scenario { name: "witness, two changes", left: [1, 1, 2, 0, 0], terms: 2, ..WITNESS },
        Scenario { name: "witness, a rebuild", left: [1, 1, 0, 1, 0], terms: 2, ..WITNESS },
        Scenario { name: "witness, everything", left: [2, 1, 1, 1, 1], restarts: true, vip: true, ..WITNESS },
    ]);
}
