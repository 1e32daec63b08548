//! The judge must notice: each kind of harm is put into made-up records.

use super::campaign::checker::*;
use super::campaign::client::{Journal, Outcome, Row, State};
use pgbaton::units::Moment;
use std::collections::BTreeMap;
use std::time::Duration;

fn at(ms: u64) -> Moment {
    Moment::from_nanos(ms * 1_000_000)
}

fn ack(sent: u64, server: &str, timeline: u32) -> Row {
    let outcome = Outcome::Acknowledged { at: at(sent + 1), server: server.to_owned(), timeline };
    Row { sent: at(sent), outcome }
}

fn records(rows: Vec<Row>, present: &[u64]) -> Records {
    let journal = Journal { rows, states: Vec::new() };
    Records {
        witnesses: vec![Witness { client: "c".to_owned(), pinned: None, journal }],
        tenures: Vec::new(),
        since: at(0),
        settled: at(900),
        until: at(1000),
        present: present.iter().map(|id| ("c".to_owned(), *id)).collect(),
        lowest: BTreeMap::new(),
    }
}

const SYNC: Promise = Promise { lossless: true, one_writer: true, vip: Duration::from_millis(100) };
const ASYNC: Promise = Promise { lossless: false, one_writer: false, vip: Duration::from_millis(100) };

fn found(records: &Records, promise: Promise) -> Vec<Violation> {
    judge(records, promise, &mut Memory::default()).1
}

#[test]
fn a_good_run_is_good_and_its_outage_is_measured() {
    let all =
        records(vec![ack(10, "a", 1), ack(20, "a", 1), ack(320, "b", 2), ack(330, "b", 2)], &[1, 2, 3, 4]);
    let (measures, violations) = judge(&all, SYNC, &mut Memory::default());
    assert_eq!(violations, []);
    assert_eq!((measures.acknowledged, measures.lost), (4, 0));
    assert_eq!(measures.outage, Duration::from_millis(300));
}

#[test]
fn a_lost_row_is_a_violation_where_that_is_promised_and_a_figure_elsewhere() {
    let one = records(vec![ack(10, "a", 1), ack(20, "a", 1)], &[1]);
    let lost = Violation::Lost { count: 1, first: ("c".to_owned(), 2), server: "a".to_owned(), timeline: 1 };
    assert_eq!(found(&one, SYNC), [lost]);
    assert_eq!(found(&one, ASYNC), []);
    assert_eq!(judge(&one, ASYNC, &mut Memory::default()).0.lost, 1);
}

#[test]
fn a_row_that_is_lost_and_found_again_is_a_violation_everywhere() {
    let mut memory = Memory::default();
    judge(&records(vec![ack(10, "a", 1)], &[]), ASYNC, &mut memory);
    let again = judge(&records(vec![ack(10, "a", 1)], &[1]), ASYNC, &mut memory).1;
    assert_eq!(again, [Violation::FoundAgain { row: ("c".to_owned(), 1), acknowledged: true }]);
    let unknown = |there: &[u64]| Records {
        until: at(4000),
        ..records(vec![Row { sent: at(10), outcome: Outcome::Unknown }], there)
    };
    judge(&unknown(&[]), ASYNC, &mut memory);
    let again = judge(&unknown(&[1]), ASYNC, &mut memory).1;
    assert_eq!(again, [Violation::FoundAgain { row: ("c".to_owned(), 1), acknowledged: false }]);
    // One that was still on its way when the rows were read may come later.
    let late = || vec![Row { sent: at(950), outcome: Outcome::Unknown }];
    let mut memory = Memory::default();
    judge(&records(late(), &[]), ASYNC, &mut memory);
    assert_eq!(judge(&records(late(), &[1]), ASYNC, &mut memory).1, []);
}

#[test]
fn a_refused_row_that_is_there_is_a_violation() {
    let refused = records(vec![Row { sent: at(10), outcome: Outcome::Refused }], &[1]);
    assert_eq!(found(&refused, ASYNC), [Violation::Refused { row: ("c".to_owned(), 1) }]);
}

#[test]
fn two_writers_show_by_what_was_sent_after_the_newer_had_acknowledged() {
    let rows = vec![ack(10, "a", 1), ack(20, "b", 2), ack(60, "a", 1)];
    let both = records(rows, &[1, 2, 3]);
    let writers = Violation::TwoWriters {
        server: "a".to_owned(),
        timeline: 1,
        newer: 2,
        after: Duration::from_millis(39),
    };
    assert_eq!(found(&both, SYNC), [writers]);
    assert_eq!(judge(&both, ASYNC, &mut Memory::default()).0.two_writers, Duration::from_millis(39));
    // Sent before, answered late: the network's doing.
    let mut slow = ack(15, "a", 1);
    slow.outcome = Outcome::Acknowledged { at: at(70), server: "a".to_owned(), timeline: 1 };
    assert_eq!(found(&records(vec![ack(10, "a", 1), ack(20, "b", 2), slow], &[1, 2, 3]), SYNC), []);
}

#[test]
fn one_timeline_belongs_to_one_server() {
    let twice = records(vec![ack(10, "a", 2), ack(20, "b", 2), ack(30, "b", 2)], &[1, 2, 3]);
    let servers = ("a".to_owned(), "b".to_owned());
    assert_eq!(found(&twice, ASYNC), [Violation::SameTimeline { timeline: 2, servers }]);
}

#[test]
fn the_address_on_a_server_that_cannot_write_is_a_violation_after_its_bound() {
    let mut all = records(Vec::new(), &[]);
    let states = vec![
        (at(0), State::Acknowledging),
        (at(100), State::Hung),
        (at(150), State::Refused),
        (at(300), State::Blocked),
    ];
    let journal = Journal { rows: Vec::new(), states };
    all.witnesses.push(Witness { client: "p".to_owned(), pinned: Some("a".to_owned()), journal });
    all.tenures = vec![("a".to_owned(), vec![(at(0), Some(at(180)))])];
    assert_eq!(found(&all, SYNC), []);
    all.tenures = vec![("a".to_owned(), vec![(at(0), None)])];
    let lasted = Duration::from_millis(200);
    assert_eq!(found(&all, SYNC), [Violation::Vip { host: "a".to_owned(), state: State::Refused, lasted }]);
    all.tenures.push(("b".to_owned(), vec![(at(10), Some(at(20))), (at(850), None)]));
    let hosts = ("a".to_owned(), "b".to_owned());
    let twice = Violation::TwoHolders { hosts, lasted: Duration::from_millis(150) };
    assert!(found(&all, SYNC).contains(&twice));
    assert!(!found(&all, ASYNC).contains(&twice));
}
