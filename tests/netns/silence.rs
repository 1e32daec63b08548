//! Nodes that are alive and can't be heard: frozen, cut off, or without their daemon.

use crate::support::lab::{Stage, assert_none, assert_order, sign};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgbaton::demo::client::{Manner, Writer};
use pgbaton::demo::lab::{CLIENT, VIP};
use pgbaton::demo::namespace::ip_batch;
use pgbaton::host::clock::now;
use std::net::SocketAddr;
use std::time::Duration;

#[test]
fn a_frozen_primary_loses_the_address_by_itself_and_fences_itself_when_it_wakes() {
    let stage = Stage::with("freeze-lease", |options| options.lease = Some("2s".to_owned()));
    let (node1, node2) = (stage.host("node1"), stage.host("node2"));
    let writer = stage.writer();
    let frozen = node1.freeze().unwrap();
    // A frozen machine's kernel answers for its addresses; the standby waits for it to stop.
    while stage.holds("node1") {
        assert!(!stage.holds("node2"), "two nodes had the address");
        assert!(now().since(frozen) < Duration::from_secs(2 + 10), "the lease didn't end");
        stage.lab.patience().pause(Duration::from_millis(5)).unwrap();
    }
    stage.until_commits(&writer, "node2", frozen);
    stage.until_serving("node2");
    assert_eq!(stage.lab.holders().unwrap(), ["node2"]);
    stage.assert_primary("node2", 2, 2);

    let thawed = node1.thaw();
    stage.until_phase("node1", "fenced");
    assert_eq!(stage.server_processes("node1"), [""; 0]);
    let events = stage.events_since("node1", thawed);
    assert_eq!(sign(&events[0]), "overslept", "{:#?}", events.iter().map(sign).collect::<Vec<_>>());
    assert_order(&events, &["overslept", "decision:fence", "step-done:stop-server", "fenced"]);
    assert_none(&events, &["farewell-sent", "serving", "step-started:add-address", "state:ACTIVE"]);
    assert_eq!(stage.lab.holders().unwrap(), ["node2"]);
    assert!(!node2.in_recovery().unwrap());
    assert_none(&stage.events_since("node2", thawed), &["decision:fence", "vip-removed"]);
    let ledger = writer.finish();
    assert_eq!(ledger.count_by("node1", thawed), 0, "node1 acknowledged to clients of the address");
    stage.assert_all_kept(&ledger, "node2");
}

/// Two asynchronous nodes that hold on silence, and ask the client's host as their gateway.
fn with_gateway(name: &str) -> Stage {
    Stage::with(name, |options| {
        "hold".clone_into(&mut options.availability);
        options.extra_settings = format!("gateway = \"{CLIENT}\"\n");
    })
}

#[test]
fn where_the_gateway_answers_a_silent_primary_is_replaced_after_its_bound_and_the_proof_is_called_weak() {
    let stage = with_gateway("gateway-power");
    let check = stage.pgbaton("node2", &["cluster", "check", "--json"]);
    let check = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(!check.contains("doesn't answer by ARP"), "{check}");
    let writer = stage.writer();
    let fault = stage.host("node1").power_off().unwrap();
    stage.until_commits(&writer, "node2", fault);
    let promoted = stage.until_sign("node2", "decision:promote", fault);
    assert!(promoted.text.contains("weak proof"), "{}", promoted.text);
    assert!(promoted.at.since(fault) >= Duration::from_millis(4900), "{:?}", promoted.at.since(fault));
    stage.assert_primary("node2", 2, 2);
}

#[test]
fn a_primary_that_is_cut_off_from_the_gateway_and_the_others_stops_before_it_is_replaced() {
    let stage = with_gateway("gateway-cut");
    let node1 = stage.host("node1");
    let writer = stage.writer();
    let local = SocketAddr::from((node1.address, 5432));
    let local = Writer::start(&node1.namespace, "local", local, Manner::Stubborn).unwrap();
    let cut = node1.cut().unwrap();
    stage.until_commits(&writer, "node2", cut);
    let replaced = stage.until_sign("node2", "decision:promote", cut).at;
    assert_eq!(stage.server_processes("node1"), [""; 0]);
    let ledger = local.finish();
    assert_eq!(ledger.count_by("node1", replaced), 0, "two nodes acknowledged at one time");
    stage.until_phase("node1", "down");
    assert!(stage.status("node1")["reason"].as_str().unwrap().contains("neither the gateway"));
    writer.finish();
    node1.heal().unwrap();
    stage.until_only_holder("node2");
}

#[test]
fn after_a_partition_the_primary_of_the_lower_term_fences_itself_whatever_the_priorities() {
    let stage = Stage::new("partition");
    let node1 = stage.host("node1");
    let writer = stage.writer();
    let local = SocketAddr::from((node1.address, 5432));
    let local = Writer::start(&node1.namespace, "local", local, Manner::Stubborn).unwrap();
    let cut = node1.cut().unwrap();
    stage.until_commits(&writer, "node2", cut);
    stage.until_serving("node2");
    stage.assert_primary("node2", 2, 2);
    // The carrier stays and a partner is silent: nothing tells node1 that it is the one that is cut off.
    assert_eq!(stage.status("node1")["phase"], "serving");
    let priority = |name: &str| stage.status(name).pointer("/vrrp/priority").unwrap().as_u64();
    assert!(priority("node1") > priority("node2"));

    let healed = node1.heal().unwrap();
    stage.until_phase("node1", "fenced");
    stage.until_only_holder("node2");
    assert_eq!(stage.server_processes("node1"), [""; 0]);
    let events = stage.events_since("node1", healed);
    assert_order(&events, &["contested", "decision:fence", "step-done:stop-server", "fenced"]);
    assert_none(&events, &["farewell-sent"]);
    assert_none(&stage.events_since("node2", healed), &["decision:fence", "vip-removed"]);
    let since = now();
    stage.until_commits(&writer, "node2", since);
    assert_eq!(stage.status("node2")["phase"], "serving");
    let fenced = stage.until_sign("node1", "fenced", healed).at;
    assert_eq!(local.finish().count_by("node1", fenced), 0);
    stage.assert_all_kept(&writer.finish(), "node2");
    stage.assert_primary("node2", 2, 2);
}

fn daemon_pid(stage: &Stage, name: &str) -> Pid {
    Pid::from_raw(i32::try_from(stage.status(name)["pid"].as_i64().unwrap()).unwrap())
}

#[test]
fn a_killed_daemons_address_goes_with_its_lease_and_comes_back_with_the_daemon() {
    let stage = Stage::with("daemon-kill", |options| options.lease = Some("2s".to_owned()));
    let node1 = stage.host("node1");
    let postmaster = node1.postmaster().unwrap();
    let killed = now();
    kill(daemon_pid(&stage, "node1"), Signal::SIGKILL).unwrap();
    stage.until("the lease to end", || (!stage.holds("node1")).then_some(()));
    let took = now().since(killed);
    assert!(took < Duration::from_secs(2 + 2), "the address outlived its daemon by {took:?}");
    // The standby sees silence, asks, and is told by the living primary.
    stage.until_sign("node2", "decision:refuse", killed);
    assert!(stage.lab.holders().unwrap().is_empty());
    let restarted = now();
    node1.start_daemon().unwrap();
    node1.wait_daemon().unwrap();
    stage.until_serving("node1");
    assert_eq!(stage.lab.holders().unwrap(), ["node1"]);
    assert_eq!(node1.postmaster().unwrap(), postmaster, "the server was touched");
    stage.assert_primary("node1", 1, 1);
    assert_none(
        &stage.events_since("node1", restarted),
        &["step-started:stop-server", "step-started:promote"],
    );
    assert_none(&stage.events_since("node2", killed), &["step-started:promote", "step-started:add-address"]);
    let writer = stage.writer();
    assert_eq!(stage.verify(&writer.finish(), "node1").lost, 0);
}

#[test]
fn an_address_that_is_removed_by_hand_comes_back_at_once() {
    let stage = Stage::new("vip-removed");
    let (node1, removed) = (stage.host("node1"), now());
    ip_batch(Some(&node1.namespace), &format!("address del {VIP}/24 dev eth0\n")).unwrap();
    stage.until_sign("node1", "address-lost", removed);
    stage.until("the address on node1", || stage.holds("node1").then_some(()));
    let writer = stage.writer();
    assert_eq!(stage.status("node1")["phase"], "serving");
    assert_none(&stage.events_since("node2", removed), &["active-down", "step-started:promote"]);
    assert_eq!(stage.verify(&writer.finish(), "node1").lost, 0);
}
