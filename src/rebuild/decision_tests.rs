//! Every rule of the decision, and every combination of facts.

use super::*;

fn tli(number: u32) -> Timeline {
    Timeline::new(number).unwrap()
}

fn lsn(text: &str) -> Lsn {
    text.parse().unwrap()
}

const fn promotion(term: u64, id: u8) -> Promotion {
    Promotion { term: Term(term), id: PromotionId::from_random([id; 16]) }
}

/// A primary on timeline 2, which it began at 0/4000000.
fn source() -> Source {
    Source {
        name: "node2".to_owned(),
        system_id: SystemId(7),
        major: 15,
        timeline: tli(2),
        end: lsn("0/6000000"),
        history: History::parse(tli(2), "1\t0/4000000\tx").unwrap(),
        epoch: Some(promotion(2, 2)),
        full_page_writes: true,
        oldest_segment: Some(1),
        segment_size: 16 << 20,
        tablespaces: Vec::new(),
        size: 1000,
    }
}

/// The former primary, stopped in order at the fork.
fn data() -> Data {
    Data {
        role: Role::Primary,
        state: State::Clean,
        system_id: SystemId(7),
        major: 15,
        timeline: tli(1),
        end: lsn("0/4000000"),
        readable: lsn("0/4000000"),
        history: None,
        epoch: None,
        can_rewind: true,
        log: LogComparison::Same,
        oldest_segment: Some(1),
        tablespaces: Vec::new(),
        restore_command: false,
    }
}

fn judge_with(source: &Source, data: Data, asked: &Asked) -> Result<Verdict, Refusal> {
    decide(source, &Target::Data(Box::new(data)), asked)
}

fn judge(data: Data) -> Verdict {
    judge_with(&source(), data, &Asked::default()).unwrap()
}

fn decided(data: Data) -> Decision {
    judge(data).decision
}

fn refused(data: Data) -> &'static str {
    judge_with(&source(), data, &Asked::default()).unwrap_err().check
}

#[test]
fn an_empty_folder_is_filled() {
    let verdict = decide(&source(), &Target::Empty, &Asked::default()).unwrap();
    assert_eq!((verdict.decision, verdict.why.as_str()), (Decision::BaseBackup, "there is no data here"));
}

#[test]
fn a_former_primary_that_stopped_exactly_at_the_fork_only_has_to_start() {
    assert_eq!(decided(data()), Decision::StartAsIs);
}

#[test]
fn one_byte_beyond_the_fork_is_a_rewind() {
    for role in [Role::Primary, Role::Standby] {
        for state in [State::Clean, State::Crashed] {
            let verdict = judge(Data { role, state, end: lsn("0/4000001"), ..data() });
            assert_eq!(verdict.decision, Decision::Rewind);
            assert_eq!(verdict.fork, Some(Fork { timeline: tli(1), at: lsn("0/4000000") }));
        }
    }
}

#[test]
fn a_standby_before_the_fork_only_has_to_start() {
    let end = lsn("0/3000000");
    for state in [State::Clean, State::Crashed, State::Running] {
        assert_eq!(decided(Data { role: Role::Standby, state, end, ..data() }), Decision::StartAsIs);
    }
}

#[test]
fn a_crashed_primary_is_rewound_even_if_nothing_beyond_the_fork_can_be_read() {
    let crashed = || Data { state: State::Crashed, ..data() };
    assert_eq!(decided(crashed()), Decision::Rewind);
    assert_eq!(decided(Data { can_rewind: false, ..crashed() }), Decision::StartAsIs);
}

#[test]
fn a_stopped_primary_before_the_fork_is_rewound_unless_the_logs_are_known_to_agree() {
    let end = lsn("0/3000000");
    assert_eq!(decided(Data { end, log: LogComparison::Unknown, ..data() }), Decision::Rewind);
    assert_eq!(decided(Data { end, ..data() }), Decision::StartAsIs);
}

#[test]
fn a_standby_that_streams_is_left_alone_whatever_method_was_asked_for() {
    let streaming = Data {
        role: Role::Standby,
        state: State::Streaming,
        timeline: tli(2),
        history: Some(source().history),
        end: lsn("0/5000000"),
        ..data()
    };
    for method in [Method::Auto, Method::Rewind, Method::BaseBackup] {
        let asked = Asked { method, no_rewind: Some("x".to_owned()), ..Asked::default() };
        assert_eq!(judge_with(&source(), streaming.clone(), &asked).unwrap().decision, Decision::Nothing);
    }
}

fn on_second() -> Data {
    Data {
        role: Role::Standby,
        timeline: tli(2),
        history: Some(source().history),
        end: lsn("0/5000000"),
        ..data()
    }
}

#[test]
fn on_the_same_timeline_and_behind_it_only_has_to_start() {
    assert_eq!(decided(on_second()), Decision::StartAsIs);
    assert_eq!(decided(Data { history: None, ..on_second() }), Decision::StartAsIs);
    assert_eq!(decided(Data { end: source().end, ..on_second() }), Decision::StartAsIs);
}

#[test]
fn on_the_same_timeline_but_ahead_it_is_another_log() {
    let verdict = judge(Data { end: lsn("0/6000001"), ..on_second() });
    assert_eq!(verdict.decision, Decision::BaseBackup);
    assert!(verdict.why.contains("beyond 0/6000000 of node2"), "{}", verdict.why);
    // It streams, even: the symptom of two promotions at one position.
    assert_eq!(
        decided(Data { end: lsn("0/6000001"), state: State::Streaming, ..on_second() }),
        Decision::BaseBackup
    );
}

#[test]
fn two_promotions_in_one_term_are_two_logs() {
    let twice = Data { epoch: Some(promotion(2, 9)), ..on_second() };
    assert_eq!(decided(twice), Decision::BaseBackup);
    assert_eq!(decided(Data { epoch: Some(promotion(2, 2)), ..on_second() }), Decision::StartAsIs);
}

#[test]
fn a_log_that_differs_where_it_should_be_the_same_is_never_rewound() {
    for data in [data(), on_second(), Data { end: lsn("0/5000000"), ..data() }] {
        assert_eq!(decided(Data { log: LogComparison::Differs, ..data }), Decision::BaseBackup);
    }
}

#[test]
fn one_timeline_number_made_at_two_positions_is_copied() {
    let history = History::parse(tli(2), "1\t0/3000000\tx").unwrap();
    let verdict = judge(Data { history: Some(history), ..on_second() });
    assert_eq!(verdict.decision, Decision::BaseBackup);
    assert_eq!(verdict.fork.unwrap().at, lsn("0/3000000"));
}

#[test]
fn a_timeline_that_the_primary_never_went_through_is_rewound_to_what_both_share() {
    let source =
        Source { timeline: tli(3), history: History::parse(tli(3), "1\t0/4000000\tx").unwrap(), ..source() };
    let history = Some(History::parse(tli(2), "1\t0/3800000\tx").unwrap());
    let verdict = judge_with(&source, Data { history, ..on_second() }, &Asked::default()).unwrap();
    assert_eq!(verdict.decision, Decision::Rewind);
    assert_eq!(verdict.fork, Some(Fork { timeline: tli(1), at: lsn("0/3800000") }));
    let verdict = judge_with(&source, Data { history: None, ..on_second() }, &Asked::default()).unwrap();
    assert_eq!(verdict.decision, Decision::BaseBackup);
}

#[test]
fn what_stands_in_the_way_of_a_rewind_is_said() {
    let beyond = Data { end: lsn("0/4000001"), ..data() };
    let why = |data: Data| {
        let verdict = judge(data);
        assert_eq!(verdict.decision, Decision::BaseBackup);
        verdict.why
    };
    assert!(why(Data { can_rewind: false, ..beyond.clone() }).contains("wal_log_hints or data checksums"));
    assert!(why(Data { oldest_segment: Some(5), ..beyond.clone() }).contains("isn't here any more"));
    assert!(why(Data { oldest_segment: None, ..beyond.clone() }).contains("isn't here any more"));
    let source = Source { full_page_writes: false, ..source() };
    let verdict = judge_with(&source, beyond.clone(), &Asked::default()).unwrap();
    assert!(verdict.why.contains("full_page_writes"), "{}", verdict.why);
    let tablespaces = vec![Tablespace { oid: 16400, path: "/ts".to_owned() }];
    let source = Source { full_page_writes: true, tablespaces: tablespaces.clone(), ..source };
    let verdict = judge_with(&source, beyond.clone(), &Asked::default()).unwrap();
    assert!(verdict.why.contains("tablespace 16400"), "{}", verdict.why);
    let verdict = judge_with(&source, Data { tablespaces, ..beyond }, &Asked::default()).unwrap();
    assert_eq!(verdict.decision, Decision::Rewind);
}

#[test]
fn a_primary_without_the_wal_that_comes_next_is_copied_unless_there_is_an_archive() {
    let source = Source { oldest_segment: Some(6), ..source() };
    let verdict = judge_with(&source, on_second(), &Asked::default()).unwrap();
    assert_eq!(verdict.decision, Decision::BaseBackup);
    // Its pages lag behind, but the log that it received goes on to what the primary still has.
    let received = Data { readable: lsn("0/6000000"), ..on_second() };
    assert_eq!(judge_with(&source, received, &Asked::default()).unwrap().decision, Decision::StartAsIs);
    let archive = Data { restore_command: true, ..on_second() };
    assert_eq!(judge_with(&source, archive, &Asked::default()).unwrap().decision, Decision::StartAsIs);
}

#[test]
fn another_cluster_another_major_and_a_running_primary_are_refused() {
    assert_eq!(refused(Data { system_id: SystemId(8), ..data() }), "system-id");
    assert_eq!(refused(Data { major: 14, ..data() }), "version");
    assert_eq!(refused(Data { state: State::Running, ..data() }), "running-primary");
    let newer = Data { state: State::Running, epoch: Some(promotion(9, 9)), ..data() };
    assert_eq!(refused(newer), "running-primary");
}

#[test]
fn newer_data_is_refused_unless_it_is_given_up_by_name() {
    let history = Some(History::parse(tli(3), "1\t0/4000000\tx\n\n2\t0/5000000\tx").unwrap());
    let third = Data { timeline: tli(3), history, end: lsn("0/5100000"), ..on_second() };
    assert_eq!(refused(third.clone()), "newer-data");
    assert_eq!(refused(Data { epoch: Some(promotion(3, 3)), ..on_second() }), "newer-data");
    let forced = Asked { force_newer: true, ..Asked::default() };
    let verdict = judge_with(&source(), third, &forced).unwrap();
    assert_eq!(verdict.decision, Decision::Rewind);
    assert_eq!(verdict.fork, Some(Fork { timeline: tli(2), at: lsn("0/5000000") }));
}

#[test]
fn the_method_that_was_asked_for_is_obeyed_or_refused() {
    let beyond = Data { end: lsn("0/4000001"), ..data() };
    let asked = |method| Asked { method, ..Asked::default() };
    let only = |method, data: Data| judge_with(&source(), data, &asked(method));
    assert_eq!(only(Method::BaseBackup, beyond.clone()).unwrap().decision, Decision::BaseBackup);
    assert_eq!(only(Method::BaseBackup, data()).unwrap().decision, Decision::BaseBackup);
    assert_eq!(only(Method::Rewind, data()).unwrap().decision, Decision::StartAsIs);
    assert_eq!(only(Method::Rewind, beyond.clone()).unwrap().decision, Decision::Rewind);
    assert_eq!(only(Method::Rewind, Data { can_rewind: false, ..beyond }).unwrap_err().check, "method");
    let empty = decide(&source(), &Target::Empty, &asked(Method::Rewind));
    assert_eq!(empty.unwrap_err().check, "method");
}

#[test]
fn a_rewind_that_was_cut_short_is_followed_by_a_copy() {
    let asked =
        Asked { no_rewind: Some("an earlier pg_rewind was cut short".to_owned()), ..Asked::default() };
    for data in [data(), on_second(), Data { end: lsn("0/4000001"), ..data() }] {
        let verdict = judge_with(&source(), data, &asked).unwrap();
        assert_eq!(verdict.decision, Decision::BaseBackup);
        assert_eq!(verdict.why, "an earlier pg_rewind was cut short");
    }
}

#[test]
fn a_copy_needs_room_and_a_folder_that_can_be_exchanged() {
    let asked = Asked { free: Some(999), ..Asked::default() };
    assert_eq!(decide(&source(), &Target::Empty, &asked).unwrap_err().check, "space");
    let asked = Asked { fixed: Some("/data is a mount point".to_owned()), ..Asked::default() };
    assert_eq!(decide(&source(), &Target::Empty, &asked).unwrap_err().check, "mount-point");
    // Neither matters when nothing is copied.
    let asked = Asked { free: Some(0), fixed: Some("x".to_owned()), ..Asked::default() };
    assert_eq!(judge_with(&source(), data(), &asked).unwrap().decision, Decision::StartAsIs);
}

#[test]
fn every_combination_of_facts_has_an_answer_and_no_log_beyond_the_primary_s_is_started() {
    for role in [Role::Primary, Role::Standby] {
        for state in [State::Clean, State::Crashed, State::Running, State::Streaming] {
            for timeline in [1, 2, 3] {
                for end in ["0/3000000", "0/4000000", "0/4000001", "0/6000000", "0/7000000"] {
                    for log in [LogComparison::Same, LogComparison::Differs, LogComparison::Unknown] {
                        let history = match timeline {
                            1 => None,
                            2 => Some(source().history),
                            _ => Some(History::parse(tli(3), "1\t0/3500000\tx").unwrap()),
                        };
                        let end = lsn(end);
                        let facts =
                            Data { role, state, timeline: tli(timeline), end, log, history, ..data() };
                        let Ok(verdict) = judge_with(&source(), facts, &Asked::default()) else {
                            let primary =
                                role == Role::Primary && matches!(state, State::Running | State::Streaming);
                            assert!(primary || timeline == 3);
                            continue;
                        };
                        let limit = if timeline == 1 { lsn("0/4000000") } else { source().end };
                        if matches!(verdict.decision, Decision::StartAsIs | Decision::Nothing) {
                            assert!(end <= limit && log != LogComparison::Differs, "{verdict:?}");
                        }
                        if verdict.decision == Decision::Rewind {
                            assert!(log != LogComparison::Differs && timeline == 1, "{verdict:?}");
                        }
                    }
                }
            }
        }
    }
}
