//! Three data nodes whose commits wait for a standby: nothing acknowledged is lost, whatever ends, and the cluster finds
//! back to one primary and two standbys by itself.

use crate::support::lab::{Stage, assert_none, assert_order};
use crate::support::sshd::{PORT, Sshd};
use pgbaton::host::clock::now;
use std::os::unix::fs::MetadataExt as _;

/// A lab of node1, node2 and spare with synchronous replication.
fn stage(name: &str) -> Stage {
    let stage = Stage::with(name, |options| {
        options.spare = true;
        options.sync = true;
        "hold".clone_into(&mut options.availability);
    });
    stage.until("the names in force", || {
        (stage.ask("node1", "SHOW synchronous_standby_names") == "ANY 1 (\"node2\", \"spare\")").then_some(())
    });
    stage
}

/// Waits until both others stream from a node.
fn until_streams(stage: &Stage, primary: &str, standbys: [&str; 2]) {
    for standby in standbys {
        until_streams_one(stage, primary, standby);
    }
}

fn until_streams_one(stage: &Stage, primary: &str, standby: &str) {
    stage.until(&format!("{standby} to stream from {primary}"), || {
        stage.host(primary).streams_to(standby).unwrap_or(false).then_some(())
    });
    // A standby whose log has diverged connects too, again and again: only one that follows gets the newest row.
    let newest = "SELECT max(term) FROM pgbaton.epoch";
    let term = stage.ask(primary, newest);
    stage.until(&format!("{standby} to have the row of term {term}"), || {
        let value = stage.host(standby).sql_value(newest).ok()??;
        (value == term).then_some(())
    });
}

#[test]
fn a_power_loss_costs_no_acknowledged_commit_and_the_old_primary_rejoins_by_itself() {
    let stage = stage("sync-power");
    let node1 = stage.host("node1");
    let writer = stage.writer();
    let fault = node1.power_off().unwrap();
    stage.until_commits(&writer, "node2", fault);
    stage.until_serving("node2");
    let events = stage.events_since("node2", fault);
    assert_order(
        &events,
        &[
            "decision:promote",
            "step-done:freeze",
            "step-done:collect-votes",
            "step-done:record-intent",
            "step-done:repoint",
            "step-done:promote",
            "step-done:record-epoch",
            "step-done:add-address",
            "serving",
        ],
    );
    assert_none(&events, &["decision:refuse", "decision:hold"]);
    stage.assert_primary("node2", 2, 2);
    assert_eq!(stage.ask("node2", "SHOW synchronous_standby_names"), "ANY 1 (\"node1\", \"spare\")");
    assert_eq!(
        stage.ask(
            "node2",
            "SELECT w || ' ' || array_to_string(members, ',') FROM pgbaton.epoch WHERE term = 2"
        ),
        "1 node1,spare"
    );
    // The old primary starts as its files say, and the daemon makes it a standby again.
    node1.power_on(true).unwrap();
    node1.start_daemon().unwrap();
    until_streams(&stage, "node2", ["node1", "spare"]);
    stage.until_phase("node1", "standby");
    assert!(node1.in_recovery().unwrap());
    let ledger = writer.finish();
    assert_eq!(stage.verify(&ledger, "node2").lost, 0);
    stage.until_only_holder("node2");
    // And back again, now with node1 as the candidate.
    let writer = stage.writer();
    let fault = stage.host("node2").power_off().unwrap();
    stage.until_commits(&writer, "node1", fault);
    assert_eq!(stage.verify(&writer.finish(), "node1").lost, 0);
    assert_eq!(stage.verify(&ledger, "node1").lost, 0);
    stage.assert_primary("node1", 3, 3);
}

#[test]
fn without_the_spares_vote_nobody_is_promoted_and_the_refusal_can_be_seen() {
    let stage = stage("sync-hold");
    let (node1, spare) = (stage.host("node1"), stage.host("spare"));
    spare.power_off().unwrap();
    let writer = stage.writer();
    stage.until("commits with one standby", || {
        (writer.look(|l| l.count_by("node1", now())) == 0).then_some(())
    });
    let fault = node1.power_off().unwrap();
    let held = stage.until_sign("node2", "decision:hold", fault);
    assert!(held.text.contains("promises"), "{}", held.text);
    stage.until("the candidate to go on as a standby", || {
        (stage.status("node2")["phase"] == "standby").then_some(())
    });
    assert!(stage.host("node2").in_recovery().unwrap());
    assert!(!stage.holds("node2"));
    // The spare comes back and has what was acknowledged: now there are votes enough.
    spare.power_on(true).unwrap();
    spare.start_daemon().unwrap();
    stage.until_serving("node2");
    assert_eq!(stage.verify(&writer.finish(), "node2").lost, 0);
}

#[test]
fn by_an_operators_word_the_last_node_serves_alone_and_counts_on_standbys_again_when_they_are_back() {
    let stage = stage("sync-forced");
    let (node1, spare) = (stage.host("node1"), stage.host("spare"));
    spare.power_off().unwrap();
    let fault = node1.power_off().unwrap();
    stage.until_sign("node2", "decision:hold", fault);
    stage.until("the candidate to go on as a standby", || {
        (stage.status("node2")["phase"] == "standby").then_some(())
    });
    let promote = |more: &[&str]| {
        let output = stage.pgbaton("node2", &[&["pg", "promote", "--json"], more].concat());
        let document: serde_json::Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", output.complaint()));
        (document, output.status.code().unwrap())
    };
    // Nothing is promised to anybody before the refusal, and each override is named by itself.
    for (more, gate) in [(&[][..], "votes"), (&["--force", "votes"][..], "proof-of-death")] {
        let (document, code) = promote(more);
        assert_eq!((code, document["changed"].as_bool()), (3, Some(false)), "{document:#}");
        assert!(document["error"]["detail"].to_string().contains(gate), "{document:#}");
    }
    let (document, code) = promote(&["--force", "votes", "--force", "proof-of-death"]);
    assert_eq!(code, 0, "{document:#}");
    let warned = document["warnings"].to_string();
    assert!(warned.contains("acknowledged commits that only the others hold are lost"), "{document:#}");
    let steps = document["steps"].as_array().unwrap();
    let overridden = steps.iter().find(|step| step["step"] == "override-votes").unwrap();
    assert_eq!(overridden["status"], "done", "{document:#}");
    // The daemon serves it, and goes on beyond the time in which an isolated primary lets go.
    stage.until_serving("node2");
    let since = now();
    assert_eq!(stage.ask("node2", "SHOW synchronous_standby_names"), "");
    let writer = stage.writer();
    let isolation = pgbaton::settings::ReplicationSettings::default().isolation_timeout;
    stage.until("commits beyond the isolation", || {
        (writer.look(|ledger| ledger.count_by("node2", since + isolation * 2)) > 10).then_some(())
    });
    spare.power_on(true).unwrap();
    spare.start_daemon().unwrap();
    stage.until("the names in force again", || {
        stage.ask("node2", "SHOW synchronous_standby_names").contains("spare").then_some(())
    });
    until_streams_one(&stage, "node2", "spare");
    assert_eq!(stage.verify(&writer.finish(), "node2").lost, 0);
}

#[test]
fn a_standby_that_dies_does_not_disturb_the_writes() {
    let stage = stage("sync-standby");
    let writer = stage.writer();
    let fault = stage.host("node2").power_off().unwrap();
    let after = fault + std::time::Duration::from_millis(500);
    stage.until("commits without node2", || {
        (writer.look(|ledger| ledger.count_by("node1", after)) > 50).then_some(())
    });
    assert_eq!(stage.status("node1")["phase"], "serving");
    assert_eq!(stage.verify(&writer.finish(), "node1").lost, 0);
}

#[test]
fn a_frozen_primary_loses_its_votes_and_comes_back_as_a_standby() {
    let stage = stage("sync-freeze");
    let node1 = stage.host("node1");
    let writer = stage.writer();
    let fault = node1.freeze().unwrap();
    stage.until_commits(&writer, "node2", fault);
    stage.until_serving("node2");
    node1.thaw();
    until_streams(&stage, "node2", ["node1", "spare"]);
    stage.until_only_holder("node2");
    assert_eq!(stage.verify(&writer.finish(), "node2").lost, 0);
}

#[test]
fn an_isolated_primary_lets_go_and_rejoins_when_the_link_is_back() {
    let stage = stage("sync-partition");
    let node1 = stage.host("node1");
    let writer = stage.writer();
    let fault = node1.cut().unwrap();
    stage.until_commits(&writer, "node2", fault);
    stage.until("node1 to let go", || (!stage.holds("node1")).then_some(()));
    node1.heal().unwrap();
    until_streams(&stage, "node2", ["node1", "spare"]);
    assert_eq!(stage.verify(&writer.finish(), "node2").lost, 0);
    stage.until_only_holder("node2");
}

/// A lab of two nodes, each of which the other's commits wait for.
fn pair(name: &str) -> Stage {
    let stage = Stage::with(name, |options| {
        options.sync = true;
        "hold".clone_into(&mut options.availability);
    });
    stage.until("the names in force", || {
        (stage.ask("node1", "SHOW synchronous_standby_names") == "ANY 1 (\"node2\")").then_some(())
    });
    stage
}

#[test]
fn of_two_nodes_the_survivor_serves_alone_and_waits_for_the_other_when_it_is_back() {
    let stage = pair("sync-pair");
    let node1 = stage.host("node1");
    let writer = stage.writer();
    let fault = node1.power_off().unwrap();
    stage.until_commits(&writer, "node2", fault);
    stage.until_serving("node2");
    assert_eq!(stage.ask("node2", "SHOW synchronous_standby_names"), "");
    node1.power_on(true).unwrap();
    node1.start_daemon().unwrap();
    stage.until("the survivor to wait for the other again", || {
        (stage.ask("node2", "SHOW synchronous_standby_names") == "ANY 1 (\"node1\")").then_some(())
    });
    stage.until("the record of it", || {
        let newest = "SELECT w || ' ' || array_to_string(members, ',') FROM pgbaton.epoch \
                      ORDER BY term DESC, change DESC LIMIT 1";
        (stage.ask("node2", newest) == "1 node1").then_some(())
    });
    assert_eq!(stage.verify(&writer.finish(), "node2").lost, 0);
}

#[test]
fn of_two_nodes_a_primary_without_its_standby_acknowledges_nothing() {
    let stage = pair("sync-strict");
    let writer = stage.writer();
    let fault = stage.host("node2").power_off().unwrap();
    let later = fault + std::time::Duration::from_millis(300);
    stage.until("the writes to stop", || {
        let quiet = writer.look(|ledger| {
            ledger.last_before(now()).is_none_or(|last| now().since(last.at).as_millis() > 1500)
        });
        quiet.then_some(())
    });
    assert_eq!(writer.look(|ledger| ledger.count_by("node1", later)), 0);
    stage.host("node2").power_on(true).unwrap();
    stage.host("node2").start_daemon().unwrap();
    stage.until_commits(&writer, "node1", later);
    assert_eq!(stage.verify(&writer.finish(), "node1").lost, 0);
}

#[test]
fn a_switchover_loses_nothing_and_leaves_the_old_primary_as_a_standby() {
    let stage = stage("sync-switchover");
    let refused = stage.pgbaton("node2", &["cluster", "switchover"]);
    assert_eq!(refused.status.code(), Some(3), "{}", refused.complaint());
    assert!(refused.complaint().contains("run this on node1"), "{}", refused.complaint());
    let plan = stage.pgbaton("node1", &["--json", "cluster", "switchover", "--dry-run"]);
    assert!(plan.status.success(), "{}", plan.complaint());
    stage.assert_primary("node1", 1, 1);
    let writer = stage.writer();
    let fault = now();
    let done = stage.pgbaton("node1", &["--json", "cluster", "switchover"]);
    assert!(done.status.success(), "{} {}", done.complaint(), String::from_utf8_lossy(&done.stdout));
    stage.until_commits(&writer, "node2", fault);
    until_streams(&stage, "node2", ["node1", "spare"]);
    assert_eq!(stage.verify(&writer.finish(), "node2").lost, 0);
    stage.until_only_holder("node2");
}

#[test]
fn a_paused_cluster_changes_nothing_by_itself() {
    let stage = stage("sync-pause");
    let paused = stage.pgbaton("spare", &["cluster", "pause", "--reason", "a test"]);
    assert!(paused.status.success(), "{}", paused.complaint());
    let again = stage.pgbaton("node1", &["--json", "cluster", "pause"]);
    assert!(String::from_utf8_lossy(&again.stdout).contains("\"changed\": false"), "{again:?}");
    for node in ["node1", "node2", "spare"] {
        stage.until(&format!("{node} to know of the pause"), || {
            stage.status(node)["reason"].as_str()?.contains("a test").then_some(())
        });
    }
    let fault = stage.host("node1").power_off().unwrap();
    stage.until_sign("node2", "advert-late", fault);
    let asked = stage.counter("node2", "asked");
    stage.until("the router to ask", || (stage.counter("node2", "asked") > asked + 1).then_some(()));
    assert_none(&stage.events_since("node2", fault), &["decision:promote", "step-started:freeze"]);
    stage.host("node1").power_on(true).unwrap();
    stage.host("node1").start_daemon().unwrap();
}

/// A lab of two nodes and a witness.
fn witnessed(name: &str) -> Stage {
    let stage = Stage::with(name, |options| {
        options.sync = true;
        options.witness = true;
        "hold".clone_into(&mut options.availability);
    });
    stage.until("the names in force", || {
        (stage.ask("node1", "SHOW synchronous_standby_names") == "ANY 1 (\"node2\")").then_some(())
    });
    stage
}

#[test]
fn with_a_witness_writes_go_on_without_the_standby_and_only_the_primary_may_come_back() {
    let stage = witnessed("sync-witness-standby");
    let writer = stage.writer();
    let fault = stage.host("node2").power_off().unwrap();
    stage.until("the primary to go on alone", || {
        // While commits wait, clients that gave up hold every connection there is.
        let names = stage.host("node1").sql_value("SHOW synchronous_standby_names").ok()??;
        names.is_empty().then_some(())
    });
    stage.until_commits(&writer, "node1", fault + std::time::Duration::from_secs(1));
    // What was acknowledged since is on node1 only: node2 may not take its place.
    let fault = stage.host("node1").power_off().unwrap();
    stage.host("node2").power_on(true).unwrap();
    stage.host("node2").start_daemon().unwrap();
    let held = stage.until_sign("node2", "decision:hold", fault);
    assert!(held.text.contains("isn't in the configuration in force"), "{}", held.text);
    stage.host("node1").power_on(true).unwrap();
    stage.host("node1").start_daemon().unwrap();
    stage.until_serving("node1");
    stage.until("node2 to count again", || {
        let names = stage.host("node1").sql_value("SHOW synchronous_standby_names").ok()??;
        (names == "ANY 1 (\"node2\")").then_some(())
    });
    assert_eq!(stage.verify(&writer.finish(), "node1").lost, 0);
}

#[test]
fn with_a_witness_a_partition_is_decided_by_the_side_that_reaches_it() {
    let stage = witnessed("sync-witness-cut");
    let check = |node: &str| {
        let output = stage.pgbaton(node, &["cluster", "check"]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(!check("node1").contains("the witness doesn't answer"), "{}", check("node1"));
    let spare = stage.host("spare").cut().unwrap();
    assert!(check("node1").contains("the witness doesn't answer"), "{}", check("node1"));
    stage.host("spare").heal().unwrap();
    stage.until_sign("node1", "serving", pgbaton::units::Moment::from_nanos(0).min(spare));
    let writer = stage.writer();
    let fault = stage.host("node1").cut().unwrap();
    stage.until_commits(&writer, "node2", fault);
    stage.until("node1 to let go", || (!stage.holds("node1")).then_some(()));
    stage.host("node1").heal().unwrap();
    stage.until("node1 to follow", || stage.host("node2").streams_to("node1").unwrap_or(false).then_some(()));
    assert_eq!(stage.verify(&writer.finish(), "node2").lost, 0);
    stage.until_only_holder("node2");
}

#[test]
fn a_witness_that_missed_the_end_of_a_candidacy_hears_of_it_from_whoever_asks_next() {
    let stage = witnessed("sync-witness-missed");
    let setting = "SELECT setting FROM pg_show_all_file_settings() WHERE name = 'pgbaton.register'";
    let row = "SELECT register FROM pgbaton_witness.register";
    let promise = |term: u64, state: &str| serde_json::json!({ "term": term, "holder": "node2", "id": "00000000000000000000000000000009", "state": state });
    // What a candidacy of node2 leaves that gave up while the witness was out of reach.
    let leave_behind = |term: u64| {
        let node2 = stage.host("node2");
        let mut own: serde_json::Value = serde_json::from_str(&stage.ask("node2", setting)).unwrap();
        own["promise"] = promise(term, "abandoned");
        node2.sql(&format!("ALTER SYSTEM SET pgbaton.register = '{own}'")).unwrap();
        node2.sql("SELECT pg_reload_conf()").unwrap();
        let mut kept: serde_json::Value = serde_json::from_str(&stage.ask("spare", row)).unwrap();
        kept["promise"] = promise(term, "promised");
        let update = format!("UPDATE pgbaton_witness.register SET register = '{kept}'");
        stage.host("spare").sql(&update).unwrap();
    };
    stage.until("both registers", || {
        let own = stage.host("node2").sql_value(setting).ok()??;
        let kept = stage.host("spare").sql_value(row).ok()??;
        (own.contains("confirmed") && kept.contains("confirmed")).then_some(())
    });
    // The primary tells it, which reads both.
    leave_behind(2);
    stage.until("the primary to tell the witness", || {
        stage.host("spare").sql_value(row).ok()??.contains("abandoned").then_some(())
    });
    // And the candidate itself, where there is no primary any more.
    let node2 = stage.host("node2");
    node2.sigterm_daemon().unwrap();
    node2.wait_daemon_end(std::time::Duration::from_secs(20)).unwrap();
    let writer = stage.writer();
    stage.host("node1").power_off().unwrap();
    leave_behind(3);
    node2.start_daemon().unwrap();
    stage.until_serving("node2");
    assert_eq!(stage.ask("node2", "SELECT max(term) FROM pgbaton.epoch"), "4");
    assert_eq!(stage.verify(&writer.finish(), "node2").lost, 0);
}

#[test]
fn a_standby_that_follows_another_standby_is_led_to_the_primary() {
    let stage = stage("sync-strayed");
    let spare = stage.host("spare");
    let conninfo = stage.ask("spare", "SHOW primary_conninfo");
    let astray = conninfo.replace("192.18.12.21", "192.18.12.22");
    assert_ne!(conninfo, astray);
    let alter = format!("ALTER SYSTEM SET primary_conninfo = '{}'", astray.replace('\'', "''"));
    spare.sql(&alter).unwrap();
    spare.sql("SELECT pg_reload_conf()").unwrap();
    stage.until("the spare to lose the primary", || {
        let known = stage.host("spare").sql_value("SHOW primary_conninfo").ok()??;
        (known == astray || known != conninfo).then_some(())
    });
    stage.until("the spare's way back", || {
        (stage.host("spare").sql_value("SHOW primary_conninfo").ok()?? == conninfo).then_some(())
    });
    until_streams_one(&stage, "node1", "spare");
}

#[test]
fn a_candidate_that_never_heard_of_the_newest_term_fetches_it_from_the_spare() {
    let stage = stage("sync-behind");
    let (node1, node2) = (stage.host("node1"), stage.host("node2"));
    let writer = stage.writer();
    // While node2 is away the primary crashes, and comes back by the spare's vote: in a term that node2 knows nothing of.
    node2.cut().unwrap();
    let crash = node1.kill_postmaster().unwrap();
    stage.until_commits(&writer, "node1", crash);
    until_streams_one(&stage, "node1", "spare");
    assert_eq!(stage.ask("node1", "SELECT max(term) FROM pgbaton.epoch"), "2");
    let fault = node1.power_off().unwrap();
    node2.heal().unwrap();
    stage.until_commits(&writer, "node2", fault);
    stage.until_serving("node2");
    assert_eq!(stage.verify(&writer.finish(), "node2").lost, 0);
}

/// A lab of two nodes and a witness that is only reached over SSH.
fn witnessed_over_ssh(name: &str) -> (Stage, Sshd) {
    let stage = Stage::with(name, |options| {
        options.sync = true;
        options.witness = true;
        options.daemons = false;
        "hold".clone_into(&mut options.availability);
    });
    let sshd = Sshd::start(&format!("{}spare", stage.lab.options.prefix), "192.18.12.24", "");
    sshd.known_hosts("known", "", "witness", "host");
    // The daemons run as the owner of the data, who must be able to read the key.
    let base = stage.lab.options.base.clone();
    let owner = std::fs::metadata(&stage.host("node1").data_directory).unwrap();
    for file in ["user", "known"] {
        std::fs::copy(sshd.file(file), base.join(file)).unwrap();
        std::os::unix::fs::chown(base.join(file), Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    let config = std::fs::read_to_string(stage.lab.config()).unwrap();
    let address = "address = \"192.18.12.24\"\n";
    let (here, folder) = (base.display(), sshd.file("register"));
    let config = config.replace(
        address,
        &format!(
            "{address}transport = \"ssh\"\nport = {PORT}\nuser = \"root\"\ndirectory = \"{}\"\n",
            folder.display()
        ),
    );
    let ssh = format!("\n[ssh]\nidentity_file = \"{here}/user\"\nknown_hosts = \"{here}/known\"\n");
    std::fs::write(stage.lab.config(), config + &ssh).unwrap();
    for node in ["node1", "node2"] {
        stage.host(node).start_daemon().unwrap();
        stage.host(node).wait_daemon().unwrap();
    }
    stage.until_serving("node1");
    (stage, sshd)
}

#[test]
fn a_witness_needs_no_more_than_ssh() {
    let (stage, sshd) = witnessed_over_ssh("sync-witness-ssh");
    let names = |node: &str| stage.host(node).sql_value("SHOW synchronous_standby_names").ok()?;
    stage.until("the names in force", || (names("node1")? == "ANY 1 (\"node2\")").then_some(()));
    let writer = stage.writer();
    let fault = stage.host("node1").cut().unwrap();
    stage.until_commits(&writer, "node2", fault);
    stage.host("node1").heal().unwrap();
    stage.until("node1 to follow", || stage.host("node2").streams_to("node1").unwrap_or(false).then_some(()));
    let register = std::fs::read_to_string(sshd.file("register").join("article.register")).unwrap();
    assert!(register.contains("node2"), "{register}");
    // The standby dies: the witness records that the primary goes on alone.
    stage.until("node1 to count", || (names("node2")? == "ANY 1 (\"node1\")").then_some(()));
    let fault = stage.host("node1").power_off().unwrap();
    stage.until("node2 to go on alone", || names("node2")?.is_empty().then_some(()));
    stage.until_commits(&writer, "node2", fault + std::time::Duration::from_secs(1));
    assert_eq!(stage.verify(&writer.finish(), "node2").lost, 0);
}

#[test]
fn of_five_nodes_two_may_go_and_the_most_complete_of_the_rest_leads() {
    let stage = Stage::with("sync-five", |options| {
        options.sync = true;
        options.more = 3;
        "hold".clone_into(&mut options.availability);
    });
    let all = ["node1", "node2", "node3", "node4", "node5"];
    let names = |node: &str| stage.host(node).sql_value("SHOW synchronous_standby_names").ok()?;
    stage.until("the names in force", || {
        (names("node1")? == "ANY 2 (\"node2\", \"node3\", \"node4\", \"node5\")").then_some(())
    });
    let writer = stage.writer();
    // The next in line has less of the log than the others: it fetches what it lacks, or lets another lead.
    stage.host("node2").cut().unwrap();
    let cut = now();
    stage.until_commits(&writer, "node1", cut);
    let fault = stage.host("node1").power_off().unwrap();
    stage.host("node2").heal().unwrap();
    let primary = stage.until("another primary", || {
        let serves = |node: &&str| writer.look(|ledger| ledger.count_by(node, fault)) >= 50;
        all.iter().copied().skip(1).find(serves)
    });
    // One more: three of five are left, and each commit still has two acknowledgements.
    let next = if primary == "node3" { "node4" } else { "node3" };
    let fault = stage.host(next).power_off().unwrap();
    stage.until_commits(&writer, primary, fault + std::time::Duration::from_millis(500));
    for node in ["node1", next] {
        stage.host(node).power_on(true).unwrap();
    }
    for node in all.into_iter().filter(|node| *node != primary) {
        stage.until(&format!("{node} to follow"), || {
            stage.host(primary).streams_to(node).unwrap_or(false).then_some(())
        });
    }
    stage.until_only_holder(primary);
    assert_eq!(stage.verify(&writer.finish(), primary).lost, 0);
}
