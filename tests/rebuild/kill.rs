//! SIGKILL at any moment: the next run completes the work, and nothing is ever writable on its own.

use super::{diverged, follows, rebuilt, run, verb, vote};
use crate::support::pg::Cluster;
use pgbaton::pg::server::BARRED;
use pgbaton::promotion::rules::{Promise, PromiseState, Register};
use std::os::unix::fs::MetadataExt as _;
use std::process::Stdio;
use std::time::Duration;

/// How many kills there are: `PGBATON_TEST_KILLS`, or so many that all tests still end within minutes.
fn kills() -> u32 {
    std::env::var("PGBATON_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(60)
}

/// Each kill leaves a wal sender and a slot behind for a moment, and each copy is a segment of WAL.
const SETTINGS: &str = "max_wal_senders = 60\nmax_replication_slots = 60\nwal_keep_size = 4GB";

/// A number that differs each time.
fn random(below: u64) -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).unwrap();
    u64::from_ne_bytes(bytes) % below
}

#[test]
fn a_run_that_is_killed_at_any_moment_is_finished_by_the_next() {
    let (first, second) = diverged(SETTINGS);
    vote::write(&second, &vote::of_the_primary());
    let own = vote::promise(2, "n2", 7, PromiseState::Promised);
    vote::write(&first, &Register { promise: own.clone(), ..Register::default() });
    first.kill();
    let wanted = kills();
    let (mut done, mut round) = (0, 0_u32);
    // How long an undisturbed run takes here and now: the kills are spread over that.
    let mut usual = Duration::from_secs(2);
    while done < wanted {
        round += 1;
        let method = if round % 2 == 0 { "basebackup" } else { "auto" };
        let old = Cluster::copy_of(&first);
        let mut killed = 0;
        while killed < 12 && done < wanted {
            let mut child = verb(&old, &second)
                .args(["--method", method])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let span = u64::try_from(usual.as_millis()).unwrap().max(100);
            let (_never, nothing) = std::sync::mpsc::channel::<()>();
            nothing.recv_timeout(Duration::from_millis(random(span))).ok();
            let ended = child.try_wait().unwrap().is_some();
            child.kill().ok();
            child.wait().unwrap();
            if ended {
                break;
            }
            killed += 1;
            done += 1;
            vote_is_kept(&old, own.as_ref());
            // Whatever is there now, a start of it isn't a primary's once the data itself was touched.
            let started = old.data().join("postmaster.pid").exists();
            if started {
                assert!(old.data().join("standby.signal").exists() || !open(&old), "round {round}");
            }
        }
        let begin = pgbaton::host::clock::now();
        // What a killed run has started may be ending just now: "partly done, run again" (4) is an answer, too,
        // but not for ever.
        let mut more = 0;
        while let (4, document) = run(verb(&old, &second).args(["--method", method])) {
            more += 1;
            println!("round {round}: once more, {}", document["error"]);
            assert!(more < 4, "round {round}: {document:#}");
        }
        let document = rebuilt(&old, &second, &["--method", method]);
        if document["changed"] == true {
            let took = pgbaton::host::clock::now().since(begin);
            usual = took.clamp(Duration::from_secs(1), Duration::from_millis(2500));
        }
        println!("round {round}, {method}, {killed} kills: {document:#}\n{}", super::start_log(&old));
        follows(&old, &second);
        assert!(
            !vote::read(&old).unfit
                && vote::read(&old).promise.is_some_and(|kept| kept.id == own.as_ref().unwrap().id)
        );
        old.kill();
        let slot = format!("SELECT pg_drop_replication_slot('{}')", old.name);
        second.wait_until("SELECT count(*) = 0 FROM pg_replication_slots WHERE active");
        second.ask(&slot);
    }
}

/// Whatever a killed run has left: no server can start there with another node's vote, or with a vote that is counted
/// while its data is another's.
fn vote_is_kept(cluster: &Cluster, own: Option<&Promise>) {
    let Ok(meta) = std::fs::metadata(cluster.data().join("PG_VERSION")) else { return };
    let barred = std::fs::metadata(cluster.data()).is_ok_and(|meta| meta.mode() & 0o7777 == BARRED);
    if barred || !meta.is_file() {
        return;
    }
    let register = vote::read(cluster);
    assert_eq!(register.promise.as_ref().map(|kept| kept.id), own.map(|own| own.id));
    let journal = std::fs::read_to_string(cluster.sockets().join("data.rebuild")).unwrap_or_default();
    let touched = ["rewinding", "rewound"].iter().any(|phase| journal.contains(phase));
    assert!(register.unfit || !touched || cluster.postmaster().is_some(), "{register:?}\n{journal}");
}

/// Whether a server with a socket of its own accepts connections as a primary.
fn open(cluster: &Cluster) -> bool {
    let until = pgbaton::host::clock::Deadline::after(Duration::from_secs(2));
    let session = pgbaton::pg::conn::Session::connect(&cluster.settings(), until);
    session
        .and_then(|mut session| session.query("SELECT pg_is_in_recovery()", until))
        .is_ok_and(|rows| rows.first().is_some_and(|row| row.get(0) == Some("f")))
}
