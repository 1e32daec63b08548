//! Every gate, from both sides.

use super::*;
use crate::promotion::rules::{Ask, Standing};
use crate::units::Mac;
use proptest::prelude::*;

const ID: SystemId = SystemId(42);

fn local() -> LocalView {
    LocalView {
        in_recovery: true,
        system_id: Some(ID),
        timeline: Timeline::new(3),
        term: Some(Term(5)),
        promotion_id: None,
        receiving: true,
        end: Some(Lsn(1000)),
        replayed: Some(Lsn(1000)),
        replay_paused: false,
        primary_known: Some(LastKnown { end: Lsn(1000), age: Some(Duration::from_millis(300)) }),
        needs_check: None,
        last_heard: Some(Duration::from_secs(1)),
        restore_command: Some(false),
        configuration: None,
        register: Register::default(),
        attached: true,
        upstream: None,
        paused: None,
    }
}

fn server() -> PeerServer {
    PeerServer {
        term: Some(Term(5)),
        promotion_id: None,
        timeline: Timeline::new(3),
        end: Some(Lsn(1000)),
        system_id: Some(ID),
    }
}

fn peer(answer: PeerAnswer) -> Vec<PeerView> {
    vec![PeerView::new("node1", answer)]
}

fn silent() -> Vec<PeerView> {
    peer(PeerAnswer::Silent("no answer in time".to_owned()))
}

fn policy(availability: Availability) -> Policy {
    Policy { availability, system_id: Some(ID), ..Policy::default() }
}

fn evidence() -> Evidence {
    Evidence { vip: VipProbe::Free, histories: Histories::Collected, ..Evidence::NONE }
}

fn of(gate: Gate, verdicts: &[GateVerdict]) -> &GateVerdict {
    verdicts.iter().find(|verdict| verdict.gate == gate).unwrap()
}

/// The verdict of one gate under `hold`.
fn hold(gate: Gate, local: &LocalView, peers: &[PeerView]) -> Verdict {
    of(gate, &evaluate(local, peers, &policy(Availability::Hold), &evidence())).verdict
}

#[test]
fn a_standby_whose_peers_all_answer_as_standbys_may_be_promoted() {
    let verdicts =
        evaluate(&local(), &peer(PeerAnswer::Standby(server())), &policy(Availability::Hold), &evidence());
    assert!(verdicts.iter().all(|v| v.verdict == Verdict::Pass), "{verdicts:#?}");
    assert!(may_promote(&verdicts));
    assert_eq!(verdicts.iter().map(|v| v.gate).collect::<Vec<_>>(), Gate::ALL);
}

#[test]
fn a_primary_is_not_promoted_even_by_force() {
    let mut policy = policy(Availability::Prefer);
    policy.forced = Gate::ALL.into_iter().collect();
    let verdicts = evaluate(&LocalView { in_recovery: false, ..local() }, &[], &policy, &evidence());
    assert_eq!(of(Gate::InRecovery, &verdicts).verdict, Verdict::Refuse);
    assert!(!may_promote(&verdicts));
}

#[test]
fn a_peer_alive_as_primary_of_the_same_or_a_newer_or_an_unknown_term_refuses() {
    for term in [Some(Term(5)), Some(Term(6)), None] {
        let peers = peer(PeerAnswer::Primary(PeerServer { term, ..server() }));
        assert_eq!(hold(Gate::PeerPrimary, &local(), &peers), Verdict::Refuse, "{term:?}");
        let verdicts = evaluate(&local(), &peers, &policy(Availability::Prefer), &evidence());
        assert_eq!(of(Gate::PeerPrimary, &verdicts).verdict, Verdict::Refuse, "{term:?}");
    }
    let peers = peer(PeerAnswer::Primary(server()));
    assert_eq!(hold(Gate::PeerPrimary, &LocalView { term: None, ..local() }, &peers), Verdict::Refuse);
}

#[test]
fn a_peer_alive_as_primary_of_an_older_term_only_warns() {
    let peers = peer(PeerAnswer::Primary(PeerServer { term: Some(Term(4)), ..server() }));
    assert_eq!(hold(Gate::PeerPrimary, &local(), &peers), Verdict::Warn);
}

#[test]
fn an_older_primary_does_not_hide_a_newer_one() {
    let mut peers = peer(PeerAnswer::Primary(PeerServer { term: Some(Term(4)), ..server() }));
    peers.extend(peer(PeerAnswer::Primary(server())));
    assert_eq!(hold(Gate::PeerPrimary, &local(), &peers), Verdict::Refuse);
}

#[test]
fn a_silent_or_refusing_peer_without_proof_refuses_under_hold_and_warns_under_prefer() {
    for peers in [silent(), peer(PeerAnswer::Down("nothing listens".to_owned()))] {
        assert_eq!(hold(Gate::ProofOfDeath, &local(), &peers), Verdict::Refuse);
        let behind = LocalView { end: Some(Lsn(900)), ..local() };
        let verdicts = evaluate(&behind, &peers, &policy(Availability::Prefer), &evidence());
        let said = of(Gate::ProofOfDeath, &verdicts);
        assert_eq!(said.verdict, Verdict::Warn);
        let bound = "100 bytes are missing up to the primary's last known position 0/3E8, told 0.3 s ago";
        assert!(said.why.contains(bound), "{}", said.why);
        assert!(may_promote(&verdicts));
    }
}

#[test]
fn each_proof_is_enough_for_its_own_node_only() {
    for proof in [Proof::Farewell, Proof::StoppedBySsh, Proof::Fenced, Proof::LeaseExpired] {
        let with = |node: &str| Evidence { proofs: vec![(node.to_owned(), proof)], ..evidence() };
        let judge = |evidence: &Evidence| {
            let verdicts = evaluate(&local(), &silent(), &policy(Availability::Hold), evidence);
            of(Gate::ProofOfDeath, &verdicts).verdict
        };
        assert_eq!(judge(&with("node1")), Verdict::Pass);
        assert_eq!(judge(&with("node3")), Verdict::Refuse);
    }
}

#[test]
fn a_majority_that_has_detached_stands_for_every_proof() {
    let evidence = Evidence { detached_by_majority: true, ..evidence() };
    let verdicts = evaluate(&local(), &silent(), &policy(Availability::Hold), &evidence);
    assert!(may_promote(&verdicts), "{verdicts:#?}");
}

#[test]
fn proof_of_death_does_not_overrule_a_primary_that_answers() {
    let evidence = Evidence {
        detached_by_majority: true,
        proofs: vec![("node1".to_owned(), Proof::Farewell)],
        ..evidence()
    };
    let peers = peer(PeerAnswer::Primary(server()));
    assert!(!may_promote(&evaluate(&local(), &peers, &policy(Availability::Prefer), &evidence)));
}

#[test]
fn another_cluster_is_refused() {
    let stranger = LocalView { system_id: Some(SystemId(7)), ..local() };
    assert_eq!(hold(Gate::SystemId, &stranger, &[]), Verdict::Refuse);
    assert_eq!(hold(Gate::SystemId, &LocalView { system_id: None, ..local() }, &[]), Verdict::Refuse);
    let peers = peer(PeerAnswer::Standby(PeerServer { system_id: Some(SystemId(7)), ..server() }));
    assert_eq!(
        hold(Gate::SystemId, &local(), &peers),
        Verdict::Warn,
        "the configuration knows which is right"
    );
    let unnamed = Policy { system_id: None, ..policy(Availability::Hold) };
    let verdicts = evaluate(&local(), &peers, &unnamed, &evidence());
    assert_eq!(of(Gate::SystemId, &verdicts).verdict, Verdict::Refuse);
}

#[test]
fn a_stranger_s_terms_and_positions_count_for_nothing() {
    let stranger = PeerServer {
        promotion_id: None,
        system_id: Some(SystemId(7)),
        term: Some(Term(99)),
        timeline: Timeline::new(99),
        end: Some(Lsn(u64::MAX)),
    };
    for answer in [PeerAnswer::Primary(stranger), PeerAnswer::Standby(stranger)] {
        let peers = peer(answer);
        for gate in [Gate::PeerPrimary, Gate::NewerEpoch, Gate::MostComplete] {
            assert_eq!(hold(gate, &local(), &peers), Verdict::Pass);
        }
    }
}

#[test]
fn a_newer_term_or_timeline_anywhere_refuses() {
    let newer = [
        PeerServer { term: Some(Term(6)), ..server() },
        PeerServer { timeline: Timeline::new(4), ..server() },
    ];
    for server in newer {
        for answer in [PeerAnswer::Standby(server), PeerAnswer::Primary(server)] {
            assert_eq!(hold(Gate::NewerEpoch, &local(), &peer(answer)), Verdict::Refuse);
        }
    }
    let fresh = LocalView { term: None, ..local() };
    // By votes the row is fetched, if it is the end of the same log.
    let by_votes = Policy { votes: true, ..policy(Availability::Hold) };
    let newer = |timeline| PeerServer { term: Some(Term(6)), timeline: Timeline::new(timeline), ..server() };
    let judged = |answer| {
        let verdicts = evaluate(&local(), &peer(answer), &by_votes, &evidence());
        of(Gate::NewerEpoch, &verdicts).verdict
    };
    assert_eq!(judged(PeerAnswer::Standby(newer(9))), Verdict::Pass);
    assert_eq!(judged(PeerAnswer::Standby(newer(1))), Verdict::Refuse);
    assert_eq!(judged(PeerAnswer::Primary(newer(9))), Verdict::Refuse);
    assert_eq!(hold(Gate::NewerEpoch, &fresh, &peer(PeerAnswer::Standby(server()))), Verdict::Refuse);
    // A dead branch: a higher timeline number of an older term.
    let branch = PeerServer { term: Some(Term(4)), timeline: Timeline::new(9), ..server() };
    assert_eq!(hold(Gate::NewerEpoch, &local(), &peer(PeerAnswer::Standby(branch))), Verdict::Pass);
}

#[test]
fn a_standby_with_more_of_the_log_refuses_and_one_of_an_older_term_does_not() {
    let ahead = PeerServer { end: Some(Lsn(1100)), ..server() };
    assert_eq!(hold(Gate::MostComplete, &local(), &peer(PeerAnswer::Standby(ahead))), Verdict::Refuse);
    let old = PeerServer { term: Some(Term(4)), ..ahead };
    assert_eq!(hold(Gate::MostComplete, &local(), &peer(PeerAnswer::Standby(old))), Verdict::Pass);
}

#[test]
fn lag_is_measured_from_the_last_known_position() {
    let behind = LocalView { end: Some(Lsn(900)), ..local() };
    let limit = |most| Policy { max_lag: Some(most), ..policy(Availability::Hold) };
    let judge = |local: &LocalView, policy: &Policy| {
        of(Gate::Lag, &evaluate(local, &[], policy, &evidence())).verdict
    };
    assert_eq!(judge(&behind, &limit(99)), Verdict::Refuse);
    assert_eq!(judge(&behind, &limit(100)), Verdict::Warn);
    assert_eq!(judge(&local(), &limit(0)), Verdict::Pass);
    let unknown = LocalView { primary_known: None, ..local() };
    assert_eq!(judge(&unknown, &limit(0)), Verdict::Refuse);
    assert_eq!(judge(&unknown, &Policy { availability: Availability::Prefer, ..limit(0) }), Verdict::Warn);
    assert_eq!(judge(&unknown, &policy(Availability::Hold)), Verdict::Warn);
}

#[test]
fn a_paused_replay_refuses_with_the_statement_that_mends_it() {
    let paused = LocalView { replay_paused: true, ..local() };
    let verdicts = evaluate(&paused, &[], &policy(Availability::Prefer), &evidence());
    let said = of(Gate::ReplayNotPaused, &verdicts);
    assert_eq!(said.verdict, Verdict::Refuse);
    assert_eq!(said.hint.as_deref(), Some("SELECT pg_wal_replay_resume()"));
}

#[test]
fn a_virtual_ip_that_another_machine_answers_for_refuses() {
    let judge = |vip| {
        let evidence = Evidence { vip, ..evidence() };
        of(Gate::VipFree, &evaluate(&local(), &[], &policy(Availability::Prefer), &evidence)).verdict
    };
    assert_eq!(judge(VipProbe::AnsweredBy(Mac([2, 0, 0, 0, 0, 1]))), Verdict::Refuse);
    for vip in [VipProbe::Free, VipProbe::Here, VipProbe::NotAsked] {
        assert_eq!(judge(vip), Verdict::Pass);
    }
    assert_eq!(judge(VipProbe::CantAsk), Verdict::Warn);
}

#[test]
fn a_fenced_server_isn_t_promoted_until_somebody_has_looked() {
    let fenced = LocalView { needs_check: Some("split brain".to_owned()), ..local() };
    assert_eq!(hold(Gate::NeedsCheck, &fenced, &[]), Verdict::Refuse);
    assert_eq!(hold(Gate::NeedsCheck, &local(), &[]), Verdict::Pass);
}

#[test]
fn a_standby_that_heard_of_its_primary_long_ago_is_refused_where_there_is_a_limit() {
    let verdict = |local: &LocalView, policy: &Policy| {
        let verdicts = evaluate(local, &[], policy, &evidence());
        verdicts.iter().find(|verdict| verdict.gate == Gate::LastContact).unwrap().verdict
    };
    let limit = Policy { max_silence: Some(Duration::from_secs(10)), ..policy(Availability::Hold) };
    let long = LocalView { last_heard: Some(Duration::from_secs(11)), ..local() };
    assert_eq!(verdict(&local(), &limit), Verdict::Pass);
    assert_eq!(verdict(&long, &limit), Verdict::Refuse);
    assert_eq!(verdict(&long, &policy(Availability::Hold)), Verdict::Pass);
    let unknown = LocalView { last_heard: None, ..local() };
    assert_eq!(verdict(&unknown, &limit), Verdict::Refuse);
    let prefer = Policy { availability: Availability::Prefer, ..limit };
    assert_eq!(verdict(&unknown, &prefer), Verdict::Warn);
}

#[test]
fn a_restore_command_warns_and_missing_history_files_are_said() {
    let evidence = Evidence { histories: Histories::Missing(vec!["node1".to_owned()]), ..evidence() };
    let local = LocalView { restore_command: Some(true), ..local() };
    let verdicts = evaluate(&local, &silent(), &policy(Availability::Prefer), &evidence);
    assert_eq!(of(Gate::TimelineUnique, &verdicts).verdict, Verdict::Pass);
    assert!(of(Gate::TimelineUnique, &verdicts).why.contains("node1"));
    assert_eq!(of(Gate::RestoreCommand, &verdicts).verdict, Verdict::Warn);
}

#[test]
fn force_overrules_the_named_gate_and_no_other() {
    let paused = LocalView { replay_paused: true, ..local() };
    let mut policy = policy(Availability::Hold);
    policy.forced.insert(Gate::ProofOfDeath);
    let verdicts = evaluate(&paused, &silent(), &policy, &evidence());
    let proof = of(Gate::ProofOfDeath, &verdicts);
    assert!(proof.forced && proof.verdict == Verdict::Warn);
    assert_eq!(of(Gate::ReplayNotPaused, &verdicts).verdict, Verdict::Refuse);
    policy.forced.insert(Gate::ReplayNotPaused);
    assert!(may_promote(&evaluate(&paused, &silent(), &policy, &evidence())));
}

#[test]
fn a_paused_cluster_is_promoted_only_by_somebody_who_says_so() {
    let local = LocalView { paused: Some("new disks".to_owned()), ..local() };
    let mut policy = policy(Availability::Prefer);
    let verdicts = evaluate(&local, &[], &policy, &evidence());
    assert!(of(Gate::Paused, &verdicts).why.contains("new disks"));
    assert!(!may_promote(&verdicts));
    policy.forced.insert(Gate::Paused);
    assert!(may_promote(&evaluate(&local, &[], &policy, &evidence())));
}

#[test]
fn what_is_received_and_not_replayed_counts_against_the_limit() {
    let local = LocalView { end: Some(Lsn(1000)), replayed: Some(Lsn(900)), ..local() };
    let judge = |most| {
        let policy = Policy { max_lag: most, ..policy(Availability::Hold) };
        of(Gate::Lag, &evaluate(&local, &[], &policy, &evidence())).verdict
    };
    assert_eq!(
        (judge(None), judge(Some(100)), judge(Some(99))),
        (Verdict::Pass, Verdict::Pass, Verdict::Refuse)
    );
}

#[test]
fn a_limit_given_for_this_time_is_not_kept_when_nothing_tells() {
    let local = LocalView { primary_known: None, last_heard: None, ..local() };
    let given = Policy {
        max_lag: Some(1),
        max_silence: Some(Duration::from_secs(1)),
        strict: true,
        ..policy(Availability::Prefer)
    };
    let verdicts = evaluate(&local, &[], &given, &evidence());
    for gate in [Gate::Lag, Gate::LastContact] {
        assert_eq!(of(gate, &verdicts).verdict, Verdict::Refuse);
    }
}

/// Three data nodes of which any one acknowledges; this one is `n2`.
fn synchronous() -> LocalView {
    let configuration = Configuration {
        term: Term(5),
        change: 0,
        primary: "node1".to_owned(),
        w: 1,
        members: vec!["n2".to_owned(), "n3".to_owned()],
    };
    LocalView { configuration: Some(configuration), ..local() }
}

#[test]
fn votes_are_foreseen_as_they_will_be_counted() {
    let n3 = PeerView::new("n3", PeerAnswer::Standby(server()));
    let node1 = PeerView::new("node1", PeerAnswer::Silent("no answer in time".to_owned()));
    let both = [node1.clone(), n3.clone()];
    assert!(
        matches!(foresee("n2", &synchronous(), &both, 3), Foreseen::Enough(why) if why.contains("n2, n3"))
    );
    let Foreseen::Short(why) = foresee("n2", &synchronous(), std::slice::from_ref(&node1), 3) else {
        panic!()
    };
    assert!(why.contains("promises") && why.contains("no answer in time"), "{why}");
    // What it has promised to another, or what this node has, is no vote.
    let ask = Ask { term: Term(6), holder: "n4".to_owned(), id: PromotionId::from_random([1; 16]) };
    let held = n3.register.promise(&ask, &Standing::default()).unwrap();
    let n3 = PeerView { register: held.clone(), ..n3 };
    assert!(matches!(foresee("n2", &synchronous(), &[node1, n3], 3), Foreseen::Short(_)));
    let local = LocalView { register: held, ..synchronous() };
    assert!(
        matches!(foresee("n2", &local, &both, 3), Foreseen::Short(why) if why.contains("promised term 6 to n4"))
    );
}

#[test]
fn votes_that_are_overridden_leave_everything_else_to_be_answered_for() {
    let local = synchronous();
    let short = Evidence { votes: Foreseen::Short("too few".to_owned()), ..evidence() };
    let mut policy = Policy { votes: true, lossless: true, ..policy(Availability::Hold) };
    let refusing = |policy: &Policy, evidence: &Evidence| -> Vec<Gate> {
        let verdicts = evaluate(&local, &silent(), policy, evidence);
        verdicts.iter().filter(|gate| gate.verdict == Verdict::Refuse).map(|gate| gate.gate).collect()
    };
    assert_eq!(refusing(&policy, &short), [Gate::Votes]);
    policy.forced.insert(Gate::Votes);
    assert_eq!(refusing(&policy, &short), [Gate::ProofOfDeath]);
    policy.forced.insert(Gate::ProofOfDeath);
    assert!(refusing(&policy, &short).is_empty());
    // Votes that are enough aren't overridden.
    let enough = Evidence { votes: Foreseen::Enough("n2, n3".to_owned()), ..evidence() };
    assert!(votes_overridden(&policy, &short) && !votes_overridden(&policy, &enough));
}

#[test]
fn names_are_read_back_and_unknown_ones_are_refused() {
    for gate in Gate::ALL {
        assert_eq!(gate.name().parse(), Ok(gate));
        assert_eq!(serde_json::to_value(gate).unwrap(), gate.name());
    }
    assert_eq!("everything".parse::<Gate>(), Err(UnknownGate("everything".to_owned())));
}

fn any_server() -> impl Strategy<Value = PeerServer> {
    (prop::option::of(0u64..4), 1u32..4, prop::option::of(0u64..4), prop::option::of(41u64..43)).prop_map(
        |(term, timeline, end, id)| PeerServer {
            promotion_id: None,
            term: term.map(Term),
            timeline: Timeline::new(timeline),
            end: end.map(Lsn),
            system_id: id.map(SystemId),
        },
    )
}

fn any_answer() -> impl Strategy<Value = PeerAnswer> {
    prop_oneof![
        any_server().prop_map(PeerAnswer::Primary),
        any_server().prop_map(PeerAnswer::Standby),
        Just(PeerAnswer::Down("refused".to_owned())),
        Just(PeerAnswer::Silent("timeout".to_owned())),
    ]
}

proptest! {
    #[test]
    fn nothing_unforced_passes_a_live_primary_of_our_term_or_a_silent_peer_under_hold(
        answers in prop::collection::vec(any_answer(), 0..4),
        term in prop::option::of(0u64..4),
        end in prop::option::of(0u64..4),
    ) {
        let local = LocalView { term: term.map(Term), end: end.map(Lsn), ..local() };
        let name = |(n, answer)| PeerView::new(format!("n{n}"), answer);
        let peers: Vec<PeerView> = answers.into_iter().enumerate().map(name).collect();
        let verdicts = evaluate(&local, &peers, &policy(Availability::Hold), &evidence());
        let threat = |peer: &PeerView| match &peer.answer {
            PeerAnswer::Primary(server) => {
                server.system_id.is_none_or(|id| id == ID)
                    && !matches!((server.term, local.term), (Some(a), Some(b)) if a < b)
            }
            PeerAnswer::Standby(_) => false,
            PeerAnswer::Down(_) | PeerAnswer::Silent(_) | PeerAnswer::Witness => true,
        };
        if peers.iter().any(threat) {
            prop_assert!(!may_promote(&verdicts));
        }
    }
}
