//! What follows when the primary's host, its server or its daemon ends.

use crate::support::lab::{LIMIT, Stage, assert_none, assert_order};
use pgbaton::demo::sql::Session;
use pgbaton::host::clock::now;
use pgbaton::units::Moment;
use serde_json::Value;
use std::time::Duration;

const TAKEOVER: [&str; 8] = [
    "decision:promote",
    "step-done:record-intent",
    "step-done:promote",
    "step-done:record-epoch",
    "step-done:protect-start",
    "step-done:add-address",
    "step-done:announce",
    "serving",
];

#[test]
fn after_a_power_loss_the_standby_is_the_primary_of_a_new_term_and_holds_the_address() {
    let stage = Stage::new("power-loss");
    let (node1, node2) = (stage.host("node1"), stage.host("node2"));
    stage.assert_primary("node1", 1, 1);
    let writer = stage.writer();
    let fault = node1.power_off().unwrap();
    stage.until_commits(&writer, "node2", fault);
    stage.until_serving("node2");
    // The dead machine's kernel forgets the address with its lease, too.
    stage.until_only_holder("node2");

    let events = stage.events_since("node2", fault);
    assert_order(&events, &["advert-late", "active-down"]);
    assert_order(&events, &TAKEOVER);
    assert_order(&events, &["active-down", "decision:promote"]);
    assert_none(&events, &["farewell-heard", "decision:refuse", "decision:hold"]);

    stage.assert_primary("node2", 2, 2);
    assert_eq!(
        stage.ask(
            "node2",
            "SELECT string_agg(term || ':' || node || ':' || timeline, ' ' ORDER BY term) FROM pgbaton.epoch"
        ),
        "1:node1:1 2:node2:2"
    );
    assert_eq!(stage.ask("node2", "SELECT string_agg(slot_name, ' ') FROM pg_replication_slots"), "node1");
    assert!(!node2.in_recovery().unwrap());
    let status = stage.status("node2");
    assert_eq!(status.pointer("/vrrp/state").unwrap(), "ACTIVE");
    assert_eq!(status.pointer("/term").unwrap(), 2);
    assert_eq!(status.pointer("/reason").unwrap(), &Value::Null);

    let ledger = writer.finish();
    assert!(stage.assert_all_kept(&ledger, "node2") >= 50);
    // Nothing but the tail that had not been streamed may be missing: rows acknowledged just before the fault.
    let verdict = stage.verify(&ledger, "node2");
    assert!(verdict.lost <= 50, "{verdict:?}");
    assert_eq!(ledger.count_by("node1", fault + Duration::from_millis(100)), 0);
}

/// A backend that commits for ever and doesn't look whether its postmaster lives.
fn keep_a_backend_busy(stage: &Stage, name: &str) -> std::thread::JoinHandle<()> {
    stage.ask(name, "CREATE TABLE busy (at timestamptz)");
    let socket = stage.host(name).server_socket();
    let thread = std::thread::spawn(move || {
        let mut session = Session::connect(&socket, LIMIT).unwrap();
        let for_ever =
            "DO $$ BEGIN LOOP INSERT INTO busy VALUES (clock_timestamp()); COMMIT; END LOOP; END $$";
        session.query(for_ever).unwrap_err();
    });
    stage.until("the busy backend's commits", || {
        (stage.ask(name, "SELECT count(*) > 10 FROM busy") == "t").then_some(())
    });
    thread
}

#[test]
fn a_killed_postmasters_busy_backends_are_ended_before_the_farewell_on_which_the_standby_takes_over() {
    let stage = Stage::new("postmaster-kill");
    let writer = stage.writer();
    let busy = keep_a_backend_busy(&stage, "node1");
    let fault = stage.host("node1").kill_postmaster().unwrap();
    stage.until_commits(&writer, "node2", fault);
    stage.until_serving("node2");
    assert_eq!(stage.server_processes("node1"), [""; 0]);
    assert_eq!(stage.lab.holders().unwrap(), ["node2"]);
    busy.join().unwrap();

    let old = stage.events_since("node1", fault);
    assert_order(
        &old,
        &["postmaster-gone", "step-done:remove-address", "step-done:stop-server", "farewell-sent"],
    );
    let new = stage.events_since("node2", fault);
    assert_order(&new, &["farewell-heard", "decision:promote", "step-started:promote"]);
    assert_order(&new, &TAKEOVER);
    let at = |events: &[pgbaton::demo::control::Event], kind: &str| -> Moment {
        events.iter().find(|event| event.kind == kind).unwrap().at
    };
    let farewell = at(&old, "farewell-sent");
    assert!(at(&old, "postmaster-gone") < farewell && farewell <= at(&new, "farewell-heard"));
    // Sooner than silence alone would have allowed: three intervals and the skew.
    assert_none(&new, &["advert-late"]);

    stage.assert_primary("node2", 2, 2);
    let ledger = writer.finish();
    assert_eq!(ledger.count_by("node1", farewell), 0, "node1 has acknowledged after its farewell");
    assert!(stage.assert_all_kept(&ledger, "node2") >= 50);
    assert_eq!(stage.status("node1").pointer("/phase").unwrap(), "down");
}

/// What must hold after a planned hand-over from node1, however it was asked for.
fn assert_handed_over(stage: &Stage, writer: pgbaton::demo::client::Writer, asked: Moment) {
    stage.until_commits(&writer, "node2", asked);
    stage.until_serving("node2");
    assert_eq!(stage.lab.holders().unwrap(), ["node2"]);
    assert_eq!(stage.server_processes("node1"), [""; 0]);
    let events = stage.events_since("node2", asked);
    assert_order(&events, &["farewell-heard", "decision:promote"]);
    assert_order(&events, &TAKEOVER);
    assert_none(&events, &["advert-late", "decision:refuse"]);
    stage.assert_primary("node2", 2, 2);
    let control = std::process::Command::new(
        crate::support::lab::require_machine().bin_directory.join("pg_controldata"),
    )
    .arg(&stage.host("node1").data_directory)
    .env("LC_ALL", "C")
    .output()
    .unwrap();
    let text = String::from_utf8_lossy(&control.stdout).into_owned();
    let ended = text.lines().find(|line| line.starts_with("Database cluster state")).unwrap();
    assert!(ended.ends_with("shut down"), "a fast stop leaves a clean server: {ended}");
    let ledger = writer.finish();
    let verdict = stage.verify(&ledger, "node2");
    assert_eq!(verdict.lost, 0, "a planned hand-over loses nothing: {verdict:?}");
}

#[test]
fn a_daemon_that_is_told_to_stop_hands_over_without_loss_and_ends_with_success() {
    let stage = Stage::new("sigterm");
    let node1 = stage.host("node1");
    let writer = stage.writer();
    let asked = node1.sigterm_daemon().unwrap();
    assert_eq!(node1.wait_daemon_end(LIMIT).unwrap(), "exit status: 0");
    assert!(!stage.holds("node1"));
    assert!(!node1.control_socket.exists());
    assert_handed_over(&stage, writer, asked);
}

#[test]
fn resign_hands_over_without_loss_and_a_second_resign_changes_nothing() {
    let stage = Stage::new("resign");
    let writer = stage.writer();
    let asked = now();
    let output = stage.pgbaton("node1", &["vrrp", "resign", "--json"]);
    assert!(output.status.success(), "{}", output.complaint());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["verb"], "vrrp resign");
    assert_eq!(report["changed"], true);
    let old = stage.events_since("node1", asked);
    assert_order(
        &old,
        &["resigned", "step-done:remove-address", "vip-removed", "step-done:stop-server", "farewell-sent"],
    );
    assert_handed_over(&stage, writer, asked);
    assert_eq!(stage.status("node1").pointer("/phase").unwrap(), "down");
    let again = stage.pgbaton("node1", &["vrrp", "resign", "--json"]);
    assert!(again.status.success(), "{}", again.complaint());
    let report: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(report["changed"], false);
    assert_eq!(stage.lab.holders().unwrap(), ["node2"]);
}

#[test]
fn a_checkpoint_that_takes_longer_than_the_lease_does_not_cost_the_new_primary_its_address() {
    let stage = Stage::with("slow-checkpoint", |options| options.lease = Some("1s".to_owned()));
    let writer = stage.writer();
    let pid = stage.ask("node2", "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'");
    let checkpointer = nix::unistd::Pid::from_raw(pid.parse().unwrap());
    nix::sys::signal::kill(checkpointer, nix::sys::signal::Signal::SIGSTOP).unwrap();
    let fault = stage.host("node1").power_off().unwrap();
    stage.until_sign("node2", "step-started:checkpoint", fault);
    stage.until_only_holder("node2");
    stage.until_commits(&writer, "node2", fault);
    // Three lifetimes of the lease with the checkpoint under way.
    let begun = now();
    while now().since(begun) < Duration::from_secs(3) {
        assert!(stage.holds("node2"), "the lease ran out after {:?}", now().since(begun));
        stage.lab.patience().pause(Duration::from_millis(20)).unwrap();
    }
    assert_eq!(stage.status("node2").pointer("/vrrp/state").unwrap(), "ACTIVE", "others must hear it");
    nix::sys::signal::kill(checkpointer, nix::sys::signal::Signal::SIGCONT).unwrap();
    stage.until_sign("node2", "step-done:clear-intent", fault);
    stage.until_serving("node2");
    stage.assert_primary("node2", 2, 2);
    stage.assert_all_kept(&writer.finish(), "node2");
}

#[test]
fn of_two_asynchronous_standbys_that_could_both_be_promoted_one_is() {
    let stage = Stage::with("async-three", |options| {
        options.more = 1;
        "hold".clone_into(&mut options.availability);
    });
    stage.until("both standbys to stream", || {
        ["node2", "node3"]
            .into_iter()
            .all(|node| stage.host("node1").streams_to(node).unwrap_or(false))
            .then_some(())
    });
    let writer = stage.writer();
    let fault = stage.host("node1").kill_postmaster().unwrap();
    stage.until_commits(&writer, "node2", fault);
    stage.until_serving("node2");
    assert!(stage.host("node3").in_recovery().unwrap(), "two standbys were promoted");
    let events = stage.events_since("node3", fault);
    assert_none(&events, &["step-started:promote"]);
    writer.finish();
}

#[test]
fn of_two_standbys_that_boot_at_the_same_time_one_is_promoted() {
    let stage = Stage::with("async-boot", |options| "hold".clone_into(&mut options.availability));
    let writer = stage.writer();
    stage.until("rows", || writer.look(|ledger| ledger.acknowledged.len() > 20).then_some(()));
    writer.finish();
    let nodes = ["node1", "node2"].map(|name| stage.host(name));
    for node in nodes {
        node.power_off().unwrap();
    }
    for node in nodes {
        node.power_on(true).unwrap();
    }
    for node in nodes {
        node.start_daemon().unwrap();
    }
    let primaries = || nodes.iter().filter(|node| !node.in_recovery().unwrap_or(true)).count();
    stage.until("a primary", || (primaries() > 0).then_some(()));
    stage.until("one that serves", || {
        let serves = |name: &&str| stage.host(name).status().is_ok_and(|status| status["phase"] == "serving");
        ["node1", "node2"].iter().find(|name| serves(name)).map(drop)
    });
    assert_eq!(primaries(), 1, "two standbys were promoted");
}
