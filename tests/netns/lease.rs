//! Two asynchronous nodes and a witness: the primary serves under a lease, and a promotion by silence waits until that has
//! run out. Commits that hadn't arrived are lost; two that acknowledge there never are.

use crate::support::lab::{Stage, assert_none, assert_order};
use pgbaton::demo::client::Ledger;
use std::time::Duration;

/// The lease of the labs.
const LEASE: Duration = Duration::from_secs(5);

fn stage(name: &str) -> Stage {
    let stage = Stage::with(name, |options| {
        options.witness = true;
        "hold".clone_into(&mut options.availability);
    });
    stage.until_serving("node1");
    stage
}

fn until_follows(stage: &Stage, primary: &str, standby: &str) {
    stage.until(&format!("{standby} to stream from {primary}"), || {
        stage.host(primary).streams_to(standby).unwrap_or(false).then_some(())
    });
}

/// What a failover may lose is what hadn't arrived: the newest rows, and nothing before them.
fn assert_only_the_newest_are_lost(stage: &Stage, ledger: &Ledger, name: &str, most: u64) {
    let verdict = stage.verify(ledger, name);
    assert!(verdict.lost <= most, "{} rows are lost", verdict.lost);
}

#[test]
fn after_a_power_loss_the_standby_waits_for_the_end_of_the_lease() {
    let stage = stage("lease-power");
    let writer = stage.writer();
    let fault = stage.host("node1").power_off().unwrap();
    stage.until_commits(&writer, "node2", fault);
    stage.until_serving("node2");
    let events = stage.events_since("node2", fault);
    assert_order(
        &events,
        &[
            "decision:promote",
            "step-done:collect-votes",
            "step-done:outlast-lease",
            "step-done:record-intent",
            "step-done:promote",
            "serving",
        ],
    );
    let asked = stage.until_sign("node2", "step-done:collect-votes", fault);
    let waited = stage.until_sign("node2", "step-done:outlast-lease", fault);
    assert!(waited.text.contains("has run out"), "{}", waited.text);
    assert!(
        waited.at.since(asked.at) + Duration::from_millis(200) >= LEASE,
        "{:?}",
        waited.at.since(asked.at)
    );
    assert_only_the_newest_are_lost(&stage, &writer.finish(), "node2", 50);
    stage.host("node1").power_on(true).unwrap();
    until_follows(&stage, "node2", "node1");
    stage.until_only_holder("node2");
}

#[test]
fn a_primary_that_says_farewell_isnt_waited_for() {
    let stage = stage("lease-farewell");
    let writer = stage.writer();
    let fault = stage.host("node1").kill_postmaster().unwrap();
    stage.until_commits(&writer, "node2", fault);
    let waited = stage.until_sign("node2", "step-done:outlast-lease", fault);
    assert!(waited.text.contains("node1 has stopped"), "{}", waited.text);
    assert_only_the_newest_are_lost(&stage, &writer.finish(), "node2", 50);
    until_follows(&stage, "node2", "node1");
}

#[test]
fn a_primary_that_is_cut_off_has_stopped_before_the_other_one_is_promoted() {
    let stage = stage("lease-cut");
    let writer = stage.writer();
    let fault = stage.host("node1").cut().unwrap();
    let stopped = stage.until_sign("node1", "step-done:stop-server", fault);
    assert!(stopped.at.since(fault) < LEASE, "it stopped after {:?}", stopped.at.since(fault));
    assert!(stage.server_processes("node1").is_empty());
    stage.until_commits(&writer, "node2", fault);
    let promoted = stage.until_sign("node2", "step-started:promote", fault);
    assert!(promoted.at > stopped.at);
    stage.host("node1").heal().unwrap();
    until_follows(&stage, "node2", "node1");
    stage.until_only_holder("node2");
    assert_only_the_newest_are_lost(&stage, &writer.finish(), "node2", 5000);
}

#[test]
fn a_short_cut_ends_a_candidacy_and_not_the_service() {
    let stage = stage("lease-glitch");
    let writer = stage.writer();
    let fault = stage.host("node1").cut().unwrap();
    stage.until_sign("node2", "step-done:collect-votes", fault);
    let healed = stage.host("node1").heal().unwrap();
    let end = stage.until_sign("node2", "step-done:outlast-lease", healed);
    assert!(end.text.contains("node1 is alive"), "{}", end.text);
    stage.until_commits(&writer, "node1", healed);
    until_follows(&stage, "node1", "node2");
    stage.lab.patience().pause(LEASE).unwrap();
    stage.until_serving("node1");
    assert_none(&stage.events_since("node1", fault), &["step-done:stop-server"]);
    assert_eq!(stage.verify(&writer.finish(), "node1").lost, 0);
}

#[test]
fn without_the_witness_the_service_goes_on_and_without_the_standby_too() {
    let stage = stage("lease-others");
    let writer = stage.writer();
    let fault = stage.host("spare").power_off().unwrap();
    stage.lab.patience().pause(LEASE * 2).unwrap();
    stage.until_commits(&writer, "node1", fault + LEASE);
    let spare = stage.host("spare");
    spare.set_link(true).unwrap();
    spare.start_server().unwrap();
    spare.wait_server().unwrap();
    let fault = stage.host("node2").power_off().unwrap();
    // A standby that has been away misses what was acknowledged meanwhile: it may not stand until it has that.
    stage.until("node2 to be left out", || {
        let row = "SELECT members::text FROM pgbaton.epoch ORDER BY term DESC, change DESC LIMIT 1";
        (stage.ask("node1", row) == "{}").then_some(())
    });
    stage.until_commits(&writer, "node1", fault + LEASE);
    let fault = stage.host("node1").power_off().unwrap();
    stage.host("node2").power_on(true).unwrap();
    let held = stage.until_sign("node2", "decision:hold", fault);
    assert!(held.text.contains("isn't in the configuration in force"), "{}", held.text);
    stage.host("node1").power_on(true).unwrap();
    stage.until_serving("node1");
    until_follows(&stage, "node1", "node2");
    assert_eq!(stage.verify(&writer.finish(), "node1").lost, 0);
}
