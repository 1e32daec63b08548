//! A server that is started again where it was: after a crash, where that is tried first, and after a hand-over that
//! nobody takes. It is promoted anew each time: no start is writable by itself.

use crate::support::lab::{Stage, assert_none};

fn restarting(name: &str, sync: bool) -> Stage {
    Stage::with(name, |options| {
        options.spare = sync;
        options.sync = sync;
        "hold".clone_into(&mut options.availability);
        "on_crash = \"restart-first\"\n".clone_into(&mut options.postgres_settings);
    })
}

#[test]
fn a_crashed_server_is_started_where_it_was_and_only_its_second_crash_moves_the_service() {
    for sync in [false, true] {
        let stage = restarting(if sync { "restart-sync" } else { "restart-async" }, sync);
        let node1 = stage.host("node1");
        let writer = stage.writer();
        let fault = node1.kill_postmaster().unwrap();
        stage.until_sign("node1", "restarting", fault);
        stage.until_commits(&writer, "node1", fault);
        stage.until_serving("node1");
        stage.assert_primary("node1", 2, 2);
        assert_none(&stage.events_since("node2", fault), &["decision:promote"]);
        stage.until("node2 to follow", || node1.streams_to("node2").unwrap_or(false).then_some(()));
        let fault = node1.kill_postmaster().unwrap();
        stage.until_commits(&writer, "node2", fault);
        let again = stage.events_since("node1", fault).into_iter().find(|it| it.text.contains("here first"));
        assert!(again.is_none(), "{again:?}");
        let lost = stage.verify(&writer.finish(), "node2").lost;
        // Without acknowledgements, what hadn't been sent when the server died is lost with the move.
        assert!(lost == 0 || !sync && lost < 50, "{lost} rows are lost");
    }
}

#[test]
fn a_hand_over_that_nobody_takes_is_taken_back() {
    let stage = Stage::with("take-back", |options| "hold".clone_into(&mut options.availability));
    let writer = stage.writer();
    stage.ask("node2", "SELECT pg_wal_replay_pause()");
    let output = stage.pgbaton("node1", &["cluster", "switchover", "--timeout", "4s"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(75), "{text}");
    assert!(text.contains("nobody took over in time"), "{text}");
    stage.until_serving("node1");
    stage.ask("node2", "SELECT pg_wal_replay_resume()");
    stage.until("node2 to follow", || stage.host("node1").streams_to("node2").unwrap_or(false).then_some(()));
    // Without the verb, the daemon sees to it.
    stage.ask("node2", "SELECT pg_wal_replay_pause()");
    let resigned = pgbaton::host::clock::now();
    stage.host("node1").resign().unwrap();
    stage.until_sign("node1", "restarting", resigned);
    stage.until_serving("node1");
    stage.until_commits(&writer, "node1", resigned);
    stage.ask("node2", "SELECT pg_wal_replay_resume()");
    assert_eq!(stage.verify(&writer.finish(), "node1").lost, 0);
}
