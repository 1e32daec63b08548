//! Starting order, an old primary that comes back, and a node that may not go ahead by itself.

use crate::support::lab::{LIMIT, Stage, assert_none, assert_order};
use pgbaton::host::clock::now;
use pgbaton::units::Moment;

/// What a node that isn't to serve must not have done.
const SERVICE: [&str; 5] =
    ["step-started:promote", "step-started:add-address", "serving", "decision:promote", "decision:serve"];

#[test]
fn a_standbys_daemon_that_starts_first_takes_nothing_while_the_primary_lives() {
    let stage = Stage::with("order-standby", |options| options.daemons = false);
    let (node1, node2) = (stage.host("node1"), stage.host("node2"));
    node2.start_daemon().unwrap();
    node2.wait_daemon().unwrap();
    // It hears nobody, so it asks; and the living primary answers.
    stage.until_sign("node2", "active-down", Moment::BOOT);
    stage.until_sign("node2", "decision:refuse", Moment::BOOT);
    let asked = stage.counter("node2", "asked");
    stage.until("it to ask again", || (stage.counter("node2", "asked") >= asked + 2).then_some(()));
    stage.until_phase("node2", "standby");
    let status = stage.status("node2");
    assert!(status["reason"].as_str().unwrap().contains("node1"), "{status}");
    assert!(stage.lab.holders().unwrap().is_empty());
    node1.start_daemon().unwrap();
    node1.wait_daemon().unwrap();
    stage.until_serving("node1");
    stage.until("node2 to hear node1", || {
        (stage.status("node2").pointer("/vrrp/active_node")? == "node1").then_some(())
    });
    assert_eq!(stage.lab.holders().unwrap(), ["node1"]);
    assert!(node2.in_recovery().unwrap());
    assert_none(&stage.events("node2"), &SERVICE);
    stage.assert_primary("node1", 1, 1);
    stage.until("the reason to go", || stage.status("node2")["reason"].is_null().then_some(()));
}

#[test]
fn a_primarys_daemon_that_starts_first_serves_and_the_standbys_listens() {
    let stage = Stage::with("order-primary", |options| options.daemons = false);
    let (node1, node2) = (stage.host("node1"), stage.host("node2"));
    node1.start_daemon().unwrap();
    node1.wait_daemon().unwrap();
    stage.until_serving("node1");
    node2.start_daemon().unwrap();
    node2.wait_daemon().unwrap();
    stage.until("node2 to hear some adverts", || {
        (stage.counter("node2", "adverts_received") >= 10).then_some(())
    });
    assert_eq!(stage.lab.holders().unwrap(), ["node1"]);
    assert_eq!(stage.status("node2")["phase"], "standby");
    assert_none(&stage.events("node2"), &SERVICE);
    stage.assert_primary("node1", 1, 1);
}

/// Cuts node1's power and waits until node2 serves.
fn node2_takes_over(stage: &Stage) -> Moment {
    let fault = stage.host("node1").power_off().unwrap();
    stage.until_serving("node2");
    stage.until_only_holder("node2");
    stage.assert_primary("node2", 2, 2);
    fault
}

fn assert_node2_serves_undisturbed(stage: &Stage) {
    assert_eq!(stage.lab.holders().unwrap(), ["node2"]);
    assert_eq!(stage.status("node2")["phase"], "serving");
    stage.assert_primary("node2", 2, 2);
}

#[test]
fn an_old_primary_whose_server_is_down_stays_down_and_says_who_serves() {
    let stage = Stage::new("back-down");
    node2_takes_over(&stage);
    let back = now();
    stage.host("node1").power_on(false).unwrap();
    let reason = stage.until("a reason that names node2", || {
        let status = stage.status("node1");
        let reason = status["reason"].as_str()?.to_owned();
        (status["phase"] == "down" && reason.contains("node2")).then_some(reason)
    });
    let output = stage.pgbaton("node1", &["vrrp", "status", "--json"]);
    assert!(output.status.success(), "{}", output.complaint());
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told["phase"], &told["reason"]), (&"down".into(), &reason.clone().into()));
    assert!(told["hint"].as_str().unwrap().contains("node2"), "{told}");
    stage.until("the row on node2", || {
        let row = stage
            .host("node2")
            .sql_value("SELECT phase || ': ' || reason FROM pgbaton.node_status WHERE node = 'node1'");
        (row.ok()?? == format!("down: {reason}")).then_some(())
    });
    assert_none(&stage.events_since("node1", back), &SERVICE);
    assert_eq!(stage.server_processes("node1"), [""; 0]);
    assert_node2_serves_undisturbed(&stage);
}

#[test]
fn an_old_primary_that_starts_with_its_machine_is_a_standby_that_refuses_writes() {
    let stage = Stage::new("back-boot");
    node2_takes_over(&stage);
    let (node1, back) = (stage.host("node1"), now());
    node1.power_on(true).unwrap();
    node1.wait_server().unwrap();
    assert!(node1.in_recovery().unwrap());
    let refused = node1.sql("INSERT INTO demo VALUES ('stray', 1, now())").unwrap_err();
    assert!(refused.to_string().contains("read-only"), "{refused}");
    stage.until_phase("node1", "standby");
    let heard = stage.counter("node1", "adverts_received");
    stage.until("node1 to hear node2", || {
        (stage.counter("node1", "adverts_received") >= heard + 5).then_some(())
    });
    assert!(node1.in_recovery().unwrap());
    assert_none(&stage.events_since("node1", back), &SERVICE);
    assert_node2_serves_undisturbed(&stage);
}

#[test]
fn an_old_primary_that_was_started_writable_is_fenced_by_its_daemon() {
    let stage = Stage::new("back-writable");
    node2_takes_over(&stage);
    let (node1, back) = (stage.host("node1"), now());
    std::fs::remove_file(node1.data_directory.join("standby.signal")).unwrap();
    node1.set_link(true).unwrap();
    node1.start_server().unwrap();
    node1.wait_server().unwrap();
    assert!(!node1.in_recovery().unwrap());
    node1.start_daemon().unwrap();
    node1.wait_daemon().unwrap();
    stage.until_phase("node1", "fenced");
    assert_eq!(stage.server_processes("node1"), [""; 0]);
    let events = stage.events_since("node1", back);
    assert_order(&events, &["postmaster-up", "decision:fence", "step-done:stop-server", "fenced"]);
    assert_none(&events, &SERVICE);
    assert_none(&events, &["farewell-sent"]);
    stage.until("a reason that names node2", || {
        stage.status("node1")["reason"].as_str()?.contains("node2").then_some(())
    });
    assert_node2_serves_undisturbed(&stage);
}

#[test]
fn a_node_that_holds_waits_for_the_operators_word_and_serves_after_it() {
    let stage = Stage::with("hold", |options| options.availability = "hold".to_owned());
    let writer = stage.writer();
    let fault = stage.host("node1").power_off().unwrap();
    stage.until_sign("node2", "decision:refuse", fault);
    // It goes on asking and goes on refusing; and the dead machine's lease runs out.
    let asked = stage.counter("node2", "asked");
    stage.until("it to ask again", || (stage.counter("node2", "asked") >= asked + 3).then_some(()));
    stage.until("the lease to end", || stage.lab.holders().unwrap().is_empty().then_some(()));
    assert!(stage.host("node2").in_recovery().unwrap());
    assert_none(&stage.events_since("node2", fault), &SERVICE);
    let shown = stage.pgbaton("node2", &["vrrp", "status"]);
    let text = String::from_utf8(shown.stdout).unwrap();
    let line = |label: &str| text.lines().find(|line| line.starts_with(label)).map(str::to_owned);
    assert!(line("reason").unwrap().contains("node1"), "{text}");
    assert!(line("hint").unwrap().contains("proof-of-death"), "{text}");

    // Without the word the verb refuses as the daemon does, and changes nothing.
    let refused = stage.pgbaton_as("node2", Some(&[]), &["pg", "promote"]);
    assert_eq!(refused.status.code(), Some(3), "{}", refused.complaint());
    assert!(stage.host("node2").in_recovery().unwrap());
    let word = ["pg", "promote", "--force", "proof-of-death", "--json"];
    let promoted = stage.pgbaton_as("node2", Some(&[]), &word);
    assert!(
        promoted.status.success(),
        "{} {}",
        String::from_utf8_lossy(&promoted.stdout),
        promoted.complaint()
    );
    let report: serde_json::Value = serde_json::from_slice(&promoted.stdout).unwrap();
    assert_eq!(report["changed"], true);
    stage.until_serving("node2");
    stage.until_commits(&writer, "node2", fault);
    stage.assert_primary("node2", 2, 2);
    let again = stage.pgbaton_as("node2", Some(&[]), &word);
    let report: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!((again.status.code(), &report["changed"]), (Some(0), &false.into()), "{report}");
    stage.assert_all_kept(&writer.finish(), "node2");
    assert!(LIMIT > now().since(fault) || !stage.holds("node1"));
}
