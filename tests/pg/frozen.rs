//! A voter's freeze, where the end of what it received isn't the end of a record.

use crate::support::pg::{Cluster, long, wait_for};
use pgbaton::host::clock::Deadline;
use pgbaton::pg::conn::Session;
use pgbaton::pg::epoch::{PromotionId, Term};
use pgbaton::pg::vote;
use pgbaton::promotion::rules::Ask;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[test]
fn a_standby_whose_log_ends_within_a_record_is_frozen_all_the_same() {
    let primary = Cluster::primary("n1");
    let standby = Cluster::standby_of("n2", &primary);
    primary.ask("CREATE TABLE public.wide (t text)");
    let done = AtomicBool::new(false);
    let cut = std::thread::scope(|scope| {
        // Records of many pages, so that a stretch that ends with a page ends within one.
        let write = || {
            let mut session = primary.session();
            session.query("SET synchronous_commit = off", long()).unwrap();
            while !done.load(Ordering::Relaxed) {
                let sql = "SELECT pg_logical_emit_message(false, 'x', repeat('y', 300000)) FROM generate_series(1, 40)";
                session.query(sql, long()).unwrap();
            }
        };
        scope.spawn(write);
        let cut = rounds(&standby);
        done.store(true, Ordering::Relaxed);
        cut
    });
    assert!(cut > 0, "no stretch ended within a record: the test shows nothing");
}

/// Freezes the standby again and again; returns how often its log ended within a record.
fn rounds(standby: &Cluster) -> usize {
    let mut session = standby.session();
    let mut cut = 0;
    for round in 1..=40_u8 {
        wait_for("the standby to stream", || receives(&mut session));
        let id = PromotionId::from_random([round; 16]);
        let ask = Ask { term: Term(u64::from(round)), holder: "n3".to_owned(), id };
        let vote = vote::promise(&mut session, "n2", &ask, Deadline::after(Duration::from_secs(20)));
        assert!(vote.is_ok(), "round {round}: {vote:?}");
        let behind = "SELECT pg_last_wal_replay_lsn() < pg_last_wal_receive_lsn()";
        cut += usize::from(session.query(behind, long()).unwrap()[0].is_true(0));
        vote::abandon(&mut session, &ask, |_| None, long()).unwrap();
        if cut == 3 {
            break;
        }
    }
    cut
}

fn receives(session: &mut Session) -> bool {
    let sql = "SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'";
    session.query(sql, long()).unwrap()[0].get(0) == Some("1")
}
