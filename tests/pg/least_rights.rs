//! The role of the manual page: its grants suffice for everything that pgbaton asks of a server.

use crate::support::pg::{Cluster, long};
use pgbaton::command::generate::LEAST_RIGHTS;
use pgbaton::host::clock::Deadline;
use pgbaton::pg::conn::{ConnSettings, Session};
use pgbaton::pg::epoch::{Epoch, PromotionId, Term};
use pgbaton::pg::status_row::{self, NodeStatus};
use pgbaton::pg::{facts, peer, promote};

fn as_pgbaton(server: &Cluster) -> ConnSettings {
    ConnSettings { user: "pgbaton".to_owned(), ..server.settings() }
}

fn status() -> NodeStatus {
    NodeStatus {
        node: "n2".to_owned(),
        vrrp_state: "ACTIVE".to_owned(),
        phase: "serving".to_owned(),
        reason: None,
        hint: None,
        config: None,
    }
}

#[test]
fn the_grants_of_the_manual_suffice_for_a_failover() {
    let primary = Cluster::primary("n1");
    let version: u32 = primary.ask("SHOW server_version_num").parse().unwrap();
    for statement in LEAST_RIGHTS {
        // The role pg_checkpoint came with major 15.
        if version >= 150_000 || !statement.contains("pg_checkpoint") {
            primary
                .session()
                .execute(*statement, long())
                .unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
    }
    assert_eq!(primary.ask("SELECT rolsuper FROM pg_roles WHERE rolname = 'pgbaton'"), "f");
    let mut before = Session::connect(&as_pgbaton(&primary), long()).unwrap();
    assert_eq!(status_row::write(&mut before, &status(), long()), Ok(true));

    let standby = Cluster::standby_of("n2", &primary);
    let end = primary.ask("SELECT pg_current_wal_lsn()");
    standby.wait_until(&format!("SELECT pg_last_wal_replay_lsn() >= '{end}'"));
    let mut session = Session::connect(&as_pgbaton(&standby), long()).unwrap();
    let seen = facts::observe(&mut session, long()).unwrap();
    assert!(!seen.superuser && seen.in_recovery && !seen.epoch_hidden, "{seen:?}");
    assert!(seen.data_directory.is_some() && seen.primary_conninfo.is_some(), "{seen:?}");
    assert_eq!(seen.receiver.unwrap().status.as_deref(), Some("streaming"));
    let answer = peer::ask("node1", &as_pgbaton(&primary), long()).answer;
    assert!(!answer.to_string().contains("may not"), "{answer}");

    primary.kill();
    let promoted = promote::promote(&mut session, long(), &mut |_| {}).unwrap();
    assert!(promoted.changed, "{promoted:?}");
    assert!(promoted.warnings.is_empty(), "{promoted:?}");
    let epoch = Epoch {
        term: Term(2),
        change: 0,
        node: "n2".to_owned(),
        promotion_id: PromotionId::from_random([7; 16]),
        timeline: promoted.timeline,
        start_lsn: promoted.lsn,
        w: 0,
        members: Vec::new(),
        at: 1_700_000_000,
    };
    promote::record_epoch(&mut session, &epoch, long()).unwrap();
    assert_eq!(promote::ensure_slots(&mut session, &["n1"], long()).unwrap(), ["n1"]);
    if version >= 150_000 {
        promote::checkpoint(&mut session, Deadline::after(crate::support::pg::LONG)).unwrap();
    }
    assert_eq!(status_row::write(&mut session, &status(), long()), Ok(true));
    let after = facts::observe(&mut session, long()).unwrap();
    assert_eq!(after.epoch, Some(epoch));
}
