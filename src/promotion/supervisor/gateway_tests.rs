//! The gateway's rules, driven with virtual time.

use super::tests::{Node2, peer, server, silent};
use super::*;
use crate::pg::gates::{Availability, PeerAnswer};

const BOUNDS: GatewayBounds =
    GatewayBounds { serves_for: Duration::from_millis(2900), wait: Duration::from_secs(5) };

fn with_gateway(config: &mut Config) {
    config.gateway = Some(BOUNDS);
}

/// Answers the gateway's open question, if there is one.
fn gateway(node: &mut Node2, answered: bool) {
    if node.did(&Order::AskGateway) {
        node.orders.retain(|order| *order != Order::AskGateway);
        let asked = node.now;
        node.tell(Input::GatewayAsked { asked, answered });
    }
}

#[test]
fn a_primary_that_neither_the_gateway_nor_a_node_answers_stops_in_its_time() {
    let mut node = Node2::serving_with(Availability::Hold, with_gateway);
    for _ in 0..100 {
        node.pass(100);
        gateway(&mut node, true);
    }
    assert_eq!(node.supervisor.phase(), Phase::Serving);
    let cut = node.now;
    while node.supervisor.phase() == Phase::Serving {
        node.pass(100);
        gateway(&mut node, false);
    }
    let served = node.now.since(cut);
    assert!(served <= BOUNDS.serves_for && served > BOUNDS.serves_for / 2, "{served:?}");
    assert!(node.did(&Order::DropVip) && node.did(&Order::Release { stop: Stop::Now }), "{:?}", node.orders);
}

#[test]
fn a_gateway_that_is_switched_off_ends_nothing_while_another_node_answers() {
    let mut node = Node2::serving_with(Availability::Hold, with_gateway);
    for _ in 0..200 {
        node.pass(100);
        gateway(&mut node, false);
        node.answer(peer(PeerAnswer::Standby(server(2, "node2"))));
    }
    assert_eq!(node.supervisor.phase(), Phase::Serving);
}

/// A standby whose primary falls silent; the gateway answers or doesn't. Returns what it waited until it promoted.
fn promoted_after(answered: bool, heard: impl Fn() -> PeerView) -> Option<Duration> {
    let mut node = Node2::standby_with(Availability::Hold, with_gateway);
    node.tell(Input::Suspect);
    let silent_since = node.now;
    gateway(&mut node, answered);
    node.pass(200);
    node.tell(Input::Ask(Asked::Silence));
    for _ in 0..300 {
        gateway(&mut node, answered);
        node.answer(heard());
        node.probe(None);
        // A question that was asked with the first suspicion counts: no refusal blames this node's own cable.
        let blamed = |order: &Order| matches!(order, Order::Note(event) if event.text.contains("doesn't answer here either"));
        assert!(!answered || !node.orders.iter().any(blamed), "{:?}", node.orders);
        if node.promoted() {
            return Some(node.now.since(silent_since));
        }
        node.pass(50);
    }
    None
}

#[test]
fn a_standby_that_the_gateway_answers_waits_for_the_end_of_a_silent_primary() {
    let waited = promoted_after(true, silent).unwrap();
    assert!(waited >= BOUNDS.wait && waited < BOUNDS.wait + Duration::from_secs(1), "{waited:?}");
    // It may be the one that is cut off.
    assert_eq!(promoted_after(false, silent), None);
    // A machine that answers isn't cut off, whatever its server does.
    assert_eq!(promoted_after(true, || peer(PeerAnswer::Down("nothing listens".to_owned()))), None);
    assert_eq!(promoted_after(true, || peer(PeerAnswer::Primary(server(1, "node1")))), None);
}
