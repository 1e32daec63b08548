//! The supervisor's rules, each driven with virtual time.

use super::*;
use crate::pg::epoch::PromotionId;
use crate::pg::gates::{Availability, LastKnown, PeerAnswer, PeerServer, Policy};
use crate::pg::lsn::{Lsn, SystemId, Timeline};
use crate::promotion::rules::{Confirmed, Promise, PromiseState, Register};

const NODE1: &str = "192.18.12.21";

fn ms(ms: u64) -> Moment {
    Moment::from_nanos(ms * 1_000_000)
}

fn id(term: u64, node: &str) -> PromotionId {
    PromotionId::from_random([u8::try_from(term).unwrap() ^ node.as_bytes()[node.len() - 1]; 16])
}

fn timeline(term: u64) -> Option<Timeline> {
    Timeline::new(u32::try_from(term).unwrap())
}

fn view(in_recovery: bool, term: u64, node: &str) -> LocalView {
    LocalView {
        in_recovery,
        system_id: Some(SystemId(7)),
        timeline: timeline(term),
        term: Some(Term(term)),
        promotion_id: Some(id(term, node)),
        receiving: in_recovery,
        end: Some(Lsn(1000)),
        replayed: Some(Lsn(1000)),
        replay_paused: false,
        primary_known: in_recovery
            .then_some(LastKnown { end: Lsn(1000), age: Some(Duration::from_millis(20)) }),
        needs_check: None,
        last_heard: None,
        restore_command: Some(false),
        configuration: None,
        register: Register::default(),
        attached: true,
        upstream: None,
        paused: None,
    }
}

pub(super) fn peer(answer: PeerAnswer) -> PeerView {
    PeerView::new("node1", answer)
}

pub(super) fn server(term: u64, node: &str) -> PeerServer {
    PeerServer {
        system_id: Some(SystemId(7)),
        timeline: timeline(term),
        end: Some(Lsn(1000)),
        term: Some(Term(term)),
        promotion_id: Some(id(term, node)),
    }
}

pub(super) fn silent() -> PeerView {
    peer(PeerAnswer::Silent("no answer".to_owned()))
}

/// A supervisor of node2, and what it has ordered.
pub(super) struct Node2 {
    pub(super) supervisor: Supervisor,
    pub(super) orders: Vec<Order>,
    pub(super) now: Moment,
    round: u64,
}

impl Node2 {
    fn new(availability: Availability) -> Self {
        Self::with(availability, |_| {})
    }

    fn with(availability: Availability, adjust: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            node: "node2".to_owned(),
            electable: true,
            peers: vec![("node1".to_owned(), NODE1.parse().unwrap())],
            policy: Policy { availability, ..Policy::default() },
            ask_timeout: Duration::from_millis(200),
            retry: Duration::from_millis(500),
            isolation: (availability == Availability::Prefer).then(|| Duration::from_millis(200)),
            votes: None,
            gateway: None,
            rejoin: Rejoin::Manual,
            fences: false,
            on_crash: OnCrash::Failover,
        };
        adjust(&mut config);
        Self { supervisor: Supervisor::new(config), orders: vec![], now: ms(1000), round: 0 }
    }

    fn standby(availability: Availability) -> Self {
        Self::standby_with(availability, |_| {})
    }

    pub(super) fn standby_with(availability: Availability, adjust: impl FnOnce(&mut Config)) -> Self {
        let mut node = Self::with(availability, adjust);
        node.tell(Input::Local(Local::Standby(Box::new(view(true, 1, "node1")))));
        assert_eq!(node.supervisor.phase(), Phase::Standby);
        assert!(node.did(&Order::Eligible(true)));
        node.orders.clear();
        node
    }

    fn serving(availability: Availability) -> Self {
        Self::serving_with(availability, |_| {})
    }

    pub(super) fn serving_with(availability: Availability, adjust: impl FnOnce(&mut Config)) -> Self {
        let mut node = Self::with(availability, adjust);
        node.tell(Input::Local(Local::Primary(Box::new(view(false, 2, "node2")))));
        node.answer(peer(PeerAnswer::Standby(server(2, "node2"))));
        node.probe(None);
        node.tell(Input::PlanDone(PlanResult::Done));
        assert_eq!(node.supervisor.phase(), Phase::Serving);
        assert!(node.did(&Order::Grant));
        node.orders.clear();
        node
    }

    pub(super) fn tell(&mut self, input: Input) {
        self.supervisor.handle(self.now, input);
        while let Some(order) = self.supervisor.next_order() {
            if let Order::Ask { round, .. } = order {
                self.round = round;
            }
            self.orders.push(order);
        }
    }

    pub(super) fn answer(&mut self, view: PeerView) {
        self.tell(Input::PeerAnswered { round: self.round, view });
    }

    pub(super) fn probe(&mut self, mac: Option<Mac>) {
        self.tell(Input::VipProbed { round: self.round, mac });
    }

    pub(super) fn pass(&mut self, time: u64) {
        let end = self.now + Duration::from_millis(time);
        while let Some(due) = self.supervisor.timer().filter(|due| *due <= end) {
            self.now = due.max(self.now + Duration::from_nanos(1));
            self.tell(Input::Timer);
        }
        self.now = end;
        self.tell(Input::Timer);
    }

    /// Lets time pass until the others are asked again.
    fn until_asked(&mut self) {
        let before = self.round;
        while self.round == before {
            self.pass(50);
        }
    }

    pub(super) fn did(&self, order: &Order) -> bool {
        self.orders.contains(order)
    }

    pub(super) fn promoted(&self) -> bool {
        self.orders.iter().any(|order| matches!(order, Order::Promote { .. }))
    }
}

#[test]
fn a_standby_promotes_after_a_farewell_even_where_silence_holds() {
    let mut node = Node2::standby(Availability::Hold);
    node.tell(Input::Farewell { from: NODE1.parse().unwrap() });
    node.answer(peer(PeerAnswer::Down("connection refused".to_owned())));
    node.probe(None);
    assert!(!node.promoted(), "not before the router asks");
    node.tell(Input::Ask(Asked::Farewell { from: NODE1.parse().unwrap() }));
    assert!(node.did(&Order::Promote { term: Term(2), gone: vec!["node1".to_owned()], rivals: Vec::new() }));
    node.tell(Input::PlanDone(PlanResult::Done));
    assert!(node.did(&Order::Grant));
    assert!(node.supervisor.holds_vip());
}

#[test]
fn silence_alone_promotes_nothing_by_default_and_says_why() {
    let mut node = Node2::standby(Availability::Hold);
    node.tell(Input::Suspect);
    node.pass(175);
    node.tell(Input::Ask(Asked::Silence));
    node.answer(silent());
    node.probe(None);
    assert!(!node.promoted());
    assert!(node.supervisor.reason().unwrap().contains("nothing proves that the old primary is dead"));
    assert!(node.supervisor.hint().unwrap().contains("--force proof-of-death"));
    let said = node.orders.len();
    // Asking again and again is not worth a line each time.
    for _ in 0..5 {
        node.pass(600);
        node.answer(silent());
        node.probe(None);
    }
    assert!(!node.promoted());
    let notes = node.orders[said..].iter().filter(|order| matches!(order, Order::Note(_))).count();
    assert_eq!(notes, 0, "{:?}", &node.orders[said..]);
}

#[test]
fn silence_promotes_where_the_operator_prefers_availability() {
    let mut node = Node2::standby(Availability::Prefer);
    node.tell(Input::Suspect);
    node.probe(None);
    node.pass(175);
    node.tell(Input::Ask(Asked::Silence));
    assert!(!node.promoted(), "the round's time isn't up yet");
    node.pass(26);
    assert!(node.did(&Order::Promote { term: Term(2), gone: Vec::new(), rivals: Vec::new() }));
}

#[test]
fn a_peer_that_answers_as_a_primary_is_never_displaced() {
    for availability in [Availability::Hold, Availability::Prefer] {
        let mut node = Node2::standby(availability);
        node.tell(Input::Ask(Asked::Silence));
        node.answer(peer(PeerAnswer::Primary(server(1, "node1"))));
        node.probe(None);
        assert!(!node.promoted());
        assert!(node.supervisor.reason().unwrap().contains("\"node1\" is alive as a primary"));
    }
}

#[test]
fn an_answer_for_the_vip_holds_until_it_stops() {
    let mut node = Node2::standby(Availability::Prefer);
    node.tell(Input::Ask(Asked::Silence));
    node.answer(silent());
    node.probe(Some(Mac([2, 0, 0, 0, 0, 1])));
    assert!(!node.promoted());
    node.pass(501);
    node.answer(silent());
    node.probe(None);
    assert!(node.promoted());
}

#[test]
fn a_node_without_a_link_blames_itself() {
    let mut node = Node2::standby(Availability::Prefer);
    node.tell(Input::Link { up: false });
    node.tell(Input::Suspect);
    node.tell(Input::Ask(Asked::Silence));
    node.pass(3000);
    assert!(!node.promoted());
}

#[test]
fn a_spare_never_asks() {
    let mut node = Node2::standby(Availability::Prefer);
    node.supervisor.config.electable = false;
    node.tell(Input::Ask(Asked::Silence));
    node.pass(3000);
    assert!(!node.promoted());
}

#[test]
fn adverts_that_come_back_end_the_asking() {
    let mut node = Node2::standby(Availability::Prefer);
    node.tell(Input::Suspect);
    node.tell(Input::Heard);
    node.pass(3000);
    assert!(!node.promoted());
    assert_eq!(node.supervisor.phase(), Phase::Standby);
}

#[test]
fn a_refusal_is_forgotten_when_adverts_are_heard_and_the_next_silence_is_told_in_full() {
    let mut node = Node2::standby(Availability::Hold);
    let silence = |node: &mut Node2| {
        node.orders.clear();
        node.tell(Input::Suspect);
        node.tell(Input::Ask(Asked::Silence));
        node.answer(peer(PeerAnswer::Primary(server(1, "node1"))));
        node.probe(None);
        assert!(node.supervisor.reason().is_some());
        let told = |kind: EventKind| {
            node.orders.iter().any(|order| matches!(order, Order::Note(event) if event.kind == kind))
        };
        assert!(told(EventKind::ActiveDown) && told(EventKind::Decision));
    };
    silence(&mut node);
    node.tell(Input::Heard);
    assert_eq!((node.supervisor.reason(), node.supervisor.hint()), (None, None));
    silence(&mut node);
}

#[test]
fn a_primary_serves_only_when_the_others_know_of_no_newer_one() {
    let mut node = Node2::new(Availability::Prefer);
    node.tell(Input::Local(Local::Primary(Box::new(view(false, 1, "node2")))));
    assert_eq!(node.supervisor.phase(), Phase::Confirming);
    node.answer(peer(PeerAnswer::Primary(server(2, "node1"))));
    node.probe(None);
    assert!(node.did(&Order::DropVip));
    assert!(node.did(&Order::Release { stop: Stop::InTime }));
    assert!(!node.did(&Order::Grant));
    node.tell(Input::PlanDone(PlanResult::Done));
    assert_eq!(node.supervisor.phase(), Phase::Fenced);
    assert!(!node.did(&Order::Yield { farewell: true }), "a fenced node's farewell would be a lie");
}

#[test]
fn a_standby_of_a_newer_term_fences_a_stale_primary_too() {
    let mut node = Node2::new(Availability::Prefer);
    node.tell(Input::Local(Local::Primary(Box::new(view(false, 1, "node2")))));
    node.answer(peer(PeerAnswer::Standby(server(2, "node3"))));
    node.probe(None);
    assert!(node.did(&Order::Release { stop: Stop::InTime }));
}

#[test]
fn a_primary_that_can_ask_nobody_waits_without_the_vip() {
    let mut node = Node2::new(Availability::Hold);
    node.tell(Input::Local(Local::Primary(Box::new(view(false, 1, "node2")))));
    node.answer(silent());
    node.probe(None);
    assert_eq!(node.supervisor.phase(), Phase::Held);
    assert!(!node.supervisor.holds_vip());
    // It asks again, and serves as soon as somebody answers.
    node.pass(501);
    node.answer(peer(PeerAnswer::Standby(server(1, "node2"))));
    node.probe(None);
    assert!(node.did(&Order::Serve { adopt: None, term: Term(1) }));
}

#[test]
fn a_promotion_by_hand_under_its_eyes_is_word_enough_to_serve() {
    let mut node = Node2::standby(Availability::Hold);
    // Seen between the promotion and its epoch row: nothing vouches for it yet.
    node.tell(Input::Local(Local::Primary(Box::new(view(false, 1, "node1")))));
    node.answer(silent());
    node.probe(None);
    assert_eq!(node.supervisor.phase(), Phase::Held);
    node.tell(Input::Local(Local::Primary(Box::new(view(false, 2, "node2")))));
    node.pass(501);
    node.answer(silent());
    node.probe(None);
    assert!(node.did(&Order::Serve { adopt: None, term: Term(2) }));
    node.tell(Input::PlanDone(PlanResult::Done));
    // The word was for that moment: after a sleep it has to be asked again.
    node.tell(Input::Overslept { by: Duration::from_secs(9) });
    node.answer(silent());
    node.probe(None);
    assert_eq!(node.supervisor.phase(), Phase::Held);
}

#[test]
fn a_promotion_by_hand_does_not_outweigh_a_newer_primary() {
    let mut node = Node2::standby(Availability::Hold);
    node.tell(Input::Local(Local::Primary(Box::new(view(false, 2, "node2")))));
    node.answer(peer(PeerAnswer::Primary(server(3, "node1"))));
    node.probe(None);
    assert!(node.did(&Order::Release { stop: Stop::InTime }));
}

#[test]
fn a_database_without_an_epoch_gets_its_first() {
    let mut node = Node2::new(Availability::Hold);
    let mut local = view(false, 1, "node2");
    local.term = None;
    local.promotion_id = None;
    node.tell(Input::Local(Local::Primary(Box::new(local))));
    let mut other = server(1, "node2");
    other.term = None;
    other.promotion_id = None;
    node.answer(peer(PeerAnswer::Standby(other)));
    node.probe(None);
    assert!(node.did(&Order::Serve { adopt: Some(Term(1)), term: Term(0) }));
}

#[test]
fn a_serving_node_whose_postmaster_dies_says_farewell_after_the_stop() {
    let mut node = Node2::serving(Availability::Hold);
    node.tell(Input::Local(Local::Down { why: "the postmaster ended".to_owned() }));
    assert!(node.did(&Order::Release { stop: Stop::InTime }));
    assert!(!node.did(&Order::Yield { farewell: true }), "not before the stop is proved");
    node.tell(Input::PlanDone(PlanResult::Done));
    assert!(node.did(&Order::Yield { farewell: true }));
    assert_eq!(node.supervisor.phase(), Phase::Down);
}

#[test]
fn a_stop_that_is_not_proved_is_no_farewell() {
    let mut node = Node2::serving(Availability::Hold);
    node.tell(Input::Local(Local::Hung { why: "no answer within 2000 ms".to_owned() }));
    node.tell(Input::PlanDone(PlanResult::Failed { why: "a process is left".to_owned(), hint: None }));
    assert!(node.did(&Order::Yield { farewell: false }));
    assert!(!node.did(&Order::Yield { farewell: true }));
}

#[test]
fn oversleeping_drops_the_vip_before_anything_else() {
    let mut node = Node2::serving(Availability::Hold);
    node.tell(Input::Overslept { by: Duration::from_secs(5) });
    let acts: Vec<&Order> = node.orders.iter().filter(|order| !matches!(order, Order::Note(_))).collect();
    assert_eq!(acts[0], &Order::DropVip);
    assert!(!node.supervisor.holds_vip());
    node.answer(peer(PeerAnswer::Primary(server(3, "node1"))));
    node.probe(None);
    assert!(node.did(&Order::Release { stop: Stop::InTime }));
}

#[test]
fn two_actives_compare_terms_not_priorities() {
    let mut node = Node2::serving(Availability::Hold);
    node.tell(Input::Contested { from: NODE1.parse().unwrap() });
    node.answer(peer(PeerAnswer::Primary(server(1, "node1"))));
    node.probe(None);
    assert_eq!(node.supervisor.phase(), Phase::Serving, "term 2 stays");
    node.tell(Input::Contested { from: NODE1.parse().unwrap() });
    node.answer(peer(PeerAnswer::Primary(server(3, "node1"))));
    node.probe(None);
    assert_eq!(node.supervisor.phase(), Phase::Releasing, "term 2 yields to term 3");
}

#[test]
fn an_isolated_node_stops_before_the_others_go_ahead() {
    let mut node = Node2::serving(Availability::Prefer);
    node.tell(Input::Link { up: false });
    node.pass(150);
    assert_eq!(node.supervisor.phase(), Phase::Serving);
    node.pass(60);
    assert!(node.did(&Order::Release { stop: Stop::InTime }));
    node.tell(Input::PlanDone(PlanResult::Done));
    assert!(!node.did(&Order::Yield { farewell: true }), "nobody could hear it");
}

#[test]
fn resigning_stops_the_server_and_answers_the_operator() {
    let mut node = Node2::serving(Availability::Hold);
    node.tell(Input::Resign);
    assert!(node.did(&Order::Release { stop: Stop::InTime }));
    node.tell(Input::PlanDone(PlanResult::Done));
    assert!(node.did(&Order::Yield { farewell: true }));
    assert!(node.did(&Order::Resigned(Ok(()))));
    node.tell(Input::Resign);
    assert!(node.did(&Order::Resigned(Err("this node doesn't serve".to_owned()))));
}

#[test]
fn terminating_waits_for_the_promotion_in_hand_and_then_releases() {
    let mut node = Node2::standby(Availability::Prefer);
    node.tell(Input::Ask(Asked::Silence));
    node.answer(silent());
    node.probe(None);
    node.tell(Input::Terminate);
    assert!(!node.did(&Order::Exit));
    node.tell(Input::PlanDone(PlanResult::Done));
    assert!(node.did(&Order::Release { stop: Stop::InTime }));
    node.tell(Input::PlanDone(PlanResult::Done));
    assert!(node.did(&Order::Yield { farewell: true }));
    assert_eq!(node.orders.last(), Some(&Order::Exit));
}

#[test]
fn a_node_that_is_down_says_who_is_the_primary() {
    let mut node = Node2::new(Availability::Hold);
    node.tell(Input::Local(Local::Down { why: "PostgreSQL isn't running".to_owned() }));
    assert_eq!(node.supervisor.phase(), Phase::Down);
    node.answer(peer(PeerAnswer::Primary(server(4, "node1"))));
    node.probe(None);
    assert_eq!(
        node.supervisor.reason(),
        Some("PostgreSQL doesn't run; node1 is the primary of term 4 on timeline 4")
    );
    assert!(
        node.supervisor
            .hint()
            .unwrap()
            .contains("make this node a standby of node1: `pgbaton pg rebuild-standby`")
    );
}

/// A serving node2 of two asynchronous nodes and a witness.
fn leased() -> Node2 {
    let mut node = Node2::with(Availability::Hold, |config| {
        config.peers.push(("witness".to_owned(), "10.0.0.9".parse().unwrap()));
        config.votes = Some(Votes {
            electorate: 3,
            pair: true,
            heartbeat: Duration::from_millis(500),
            isolation: Duration::from_secs(5),
            lease: true,
        });
    });
    node.tell(Input::Local(Local::Primary(Box::new(view(false, 2, "node2")))));
    node.answer(peer(PeerAnswer::Standby(server(2, "node2"))));
    node.answer(witness(None));
    node.probe(None);
    node.tell(Input::PlanDone(PlanResult::Done));
    assert_eq!(node.supervisor.phase(), Phase::Serving);
    node.orders.clear();
    node
}

fn witness(promise: Option<Promise>) -> PeerView {
    let register = Register { promise, ..Register::default() };
    PeerView { register, ..PeerView::new("witness", PeerAnswer::Witness) }
}

#[test]
fn a_lease_that_nobody_renews_ends_the_service_in_its_time_and_one_voter_renews_it() {
    let mut node = leased();
    let begun = node.now;
    for _ in 0..20 {
        node.pass(500);
        node.answer(witness(None));
    }
    assert_eq!(node.supervisor.phase(), Phase::Serving);
    assert!(node.now.since(begun) > Duration::from_secs(9));
    // Since the last question that was answered: five seconds.
    node.pass(4400);
    assert_eq!(node.supervisor.phase(), Phase::Serving, "{:?}", node.orders);
    node.pass(600);
    assert_eq!(node.supervisor.phase(), Phase::Releasing);
    let dropped = node.orders.iter().position(|order| *order == Order::DropVip);
    let stopped = node.orders.iter().position(|order| *order == Order::Release { stop: Stop::Now });
    assert!(dropped.is_some() && dropped < stopped, "{:?}", node.orders);
}

#[test]
fn a_promise_to_another_node_renews_nothing_and_ends_nothing_before_the_lease() {
    let mut node = leased();
    let promise = Promise {
        term: Term(3),
        holder: "node1".to_owned(),
        id: PromotionId::from_random([3; 16]),
        state: PromiseState::Promised,
    };
    for _ in 0..8 {
        node.pass(500);
        node.answer(witness(Some(promise.clone())));
        assert_eq!(node.supervisor.phase(), Phase::Serving);
        node.pass(100);
    }
    node.pass(2000);
    assert!(node.did(&Order::Release { stop: Stop::Now }), "{:?}", node.orders);
}

#[test]
fn a_witness_is_told_by_the_primary_what_became_of_its_promise() {
    let promise = |state| Promise {
        term: Term(3),
        holder: "node1".to_owned(),
        id: PromotionId::from_random([3; 16]),
        state,
    };
    let mut node = leased();
    node.pass(500);
    let register = Register { promise: Some(promise(PromiseState::Abandoned)), ..Register::default() };
    node.answer(PeerView { register: register.clone(), ..peer(PeerAnswer::Standby(server(2, "node2"))) });
    node.answer(witness(Some(promise(PromiseState::Promised))));
    let relay =
        Order::Relay { to: "witness".to_owned(), from: "node1".to_owned(), register: Box::new(register) };
    assert!(node.did(&relay), "{:?}", node.orders);
}

#[test]
fn a_voter_that_streams_from_another_node_than_its_register_says_is_led_back() {
    let strayed = |upstream: &str, confirmed: u64| {
        let mut node = leased_standby();
        let mut view = view(true, 2, "node1");
        view.upstream = Some(upstream.to_owned());
        view.register.confirmed = Some(Confirmed { term: Term(confirmed), holder: "node1".to_owned() });
        node.orders.clear();
        node.tell(Input::Local(Local::Standby(Box::new(view))));
        node.did(&Order::Resume)
    };
    assert!(strayed("spare", 2));
    assert!(!strayed("node1", 2));
    // A register that is older than the log doesn't know who the primary is.
    assert!(!strayed("spare", 1));
}

/// A standby of the same cluster.
fn leased_standby() -> Node2 {
    let mut node = leased();
    node.supervisor = Supervisor::new(node.supervisor.config.clone());
    node.tell(Input::Local(Local::Standby(Box::new(view(true, 2, "node1")))));
    node.answer(peer(PeerAnswer::Primary(server(2, "node1"))));
    node.answer(witness(None));
    node
}

#[test]
fn a_crash_is_answered_by_a_restart_once_and_a_second_one_by_a_hand_over() {
    let restart = |config: &mut Config| {
        config.on_crash = OnCrash::RestartFirst { within: Duration::from_secs(10) };
    };
    let down = || Input::Local(Local::Down { why: "SIGKILL".to_owned() });
    let mut node = Node2::serving_with(Availability::Hold, restart);
    node.tell(down());
    assert!(node.did(&Order::DropVip) && node.did(&Order::Start), "{:?}", node.orders);
    assert_eq!(node.supervisor.phase(), Phase::Restarting);
    node.tell(Input::Started(Ok(())));
    node.tell(Input::Local(Local::Standby(Box::new(view(true, 2, "node2")))));
    node.answer(peer(PeerAnswer::Standby(server(2, "node2"))));
    node.probe(None);
    assert!(
        node.did(&Order::Promote { term: Term(3), gone: Vec::new(), rivals: vec!["node1".to_owned()] }),
        "{:?}",
        node.orders
    );
    node.tell(Input::PlanDone(PlanResult::Done));
    node.tell(Input::Local(Local::Primary(Box::new(view(false, 3, "node2")))));
    assert_eq!(node.supervisor.phase(), Phase::Serving);
    node.orders.clear();
    node.pass(30_000);
    node.tell(down());
    assert!(
        node.did(&Order::Release { stop: Stop::InTime }) && !node.did(&Order::Start),
        "{:?}",
        node.orders
    );
    // One that doesn't come back in its time moves the service.
    let mut node = Node2::serving_with(Availability::Hold, restart);
    node.tell(down());
    node.pass(9_900);
    assert_eq!(node.supervisor.phase(), Phase::Restarting);
    node.pass(200);
    assert!(node.did(&Order::Release { stop: Stop::InTime }), "{:?}", node.orders);
}

#[test]
fn a_service_that_was_given_up_and_that_nobody_took_is_taken_back_when_the_others_answer() {
    let mut node = Node2::serving(Availability::Hold);
    node.tell(Input::Resign);
    node.tell(Input::PlanDone(PlanResult::Done));
    node.tell(Input::Local(Local::Down { why: "stopped".to_owned() }));
    assert_eq!(node.supervisor.phase(), Phase::Down);
    for _ in 0..3 {
        node.until_asked();
        node.answer(silent());
    }
    assert!(!node.did(&Order::Start), "the other node may serve: it doesn't answer");
    node.until_asked();
    node.answer(peer(PeerAnswer::Standby(server(2, "node2"))));
    assert!(node.did(&Order::Start), "{:?}", node.orders);
}
