//! The promotion protocol, explored.
mod cluster;
mod mutants;
mod search;
mod steps;
mod tables;

use cluster::Scenario;

/// Three data nodes, `ANY 1`.
pub const THREE: Scenario = Scenario {
    name: "three data nodes",
    data: 0b111,
    w: 1,
    alone: false,
    by_record: false,
    restarts: false,
    vip: false,
    terms: 3,
    left: [1, 1, 0, 0, 1],
    mutant: None,
};
/// Two data nodes, strict.
pub const STRICT: Scenario = Scenario { name: "two strict", data: 0b11, alone: true, ..THREE };
/// Two data nodes and a witness.
pub const WITNESS: Scenario = Scenario { name: "two and a witness", data: 0b11, alone: true, by_record: true, ..THREE };

fn most() -> usize {
    std::env::var("PGBATON_MODEL_STATES").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000_000)
}

#[test]
fn three() {
    search::holds::<3>(THREE, most(), 7);
}

#[test]
fn strict() {
    search::holds::<2>(STRICT, most(), 7);
}

#[test]
fn witness() {
    search::holds::<3>(WITNESS, most(), 7);
}
