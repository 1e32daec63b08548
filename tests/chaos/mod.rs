//! A bounded part of the campaign; `make chaos` runs as much of it as wanted.

#[path = "campaign/mod.rs"]
mod campaign;
mod checker_tests;

use crate::support::lab::{Seat, require_machine};
use campaign::{Campaign, Mode, Options, logs};

/// Runs a piece of a campaign on a fresh cluster; nothing must go wrong.
fn runs(name: &str, mode: Mode, seed: u64, first: u64, count: u64) {
    require_machine();
    let _seat = Seat::take();
    let mut options = Options::new(mode, seed);
    name.clone_into(&mut options.name);
    options.longest = std::time::Duration::from_secs(2);
    let mut campaign = Campaign::build(options.clone());
    for run in first..first + count {
        let report = campaign.run(run);
        println!(
            "run {run}: {}; whole after {:?} on {}; {:?}; typed {:?}",
            report.story, report.settled_in, report.primary, report.measures, report.typed
        );
        let folder = logs(&options, run);
        assert!(
            report.violations.is_empty(),
            "run {run}: {}: {:#?}; {folder}",
            report.story,
            report.violations
        );
    }
    campaign.tidy();
    let (_, violations) = campaign.finish();
    assert!(violations.is_empty(), "{violations:#?}");
}

#[test]
fn two_nodes_that_prefer_availability_end_with_one_primary_and_never_revive_a_row() {
    runs("chaos-ci-prefer", Mode::Prefer, 1, 0, 8);
}

#[test]
fn two_nodes_that_hold_end_with_one_primary_and_never_revive_a_row() {
    runs("chaos-ci-hold", Mode::Hold, 1, 100, 8);
}

#[test]
fn three_nodes_lose_nothing_and_come_together_by_themselves() {
    runs("chaos-ci-sync3", Mode::Sync3, 1, 300, 10);
}

#[test]
fn two_strict_nodes_lose_nothing_and_come_together_by_themselves() {
    runs("chaos-ci-sync2", Mode::Sync2, 1, 400, 5);
}

#[test]
fn two_nodes_and_a_witness_lose_nothing_and_come_together_by_themselves() {
    runs("chaos-ci-witness", Mode::SyncWitness, 1, 200, 6);
}

#[test]
fn two_asynchronous_nodes_under_a_lease_have_one_writer_and_come_together_by_themselves() {
    runs("chaos-ci-lease", Mode::AsyncWitness, 1, 500, 4);
}
