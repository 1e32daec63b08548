//! `pg promote` killed at any moment and run again: a bare standby, no configuration, no daemon.

use crate::support::lab::{BINARY, require_machine};
use crate::support::pg::{Cluster, LONG, run_as};
use pgbaton::host::clock::now;
use pgbaton::pg::epoch::{self, Epoch, PromotionId, Term};
use pgbaton::pg::local::INTENT_FILE;
use pgbaton::pg::lsn::{Lsn, Timeline};
use serde_json::Value;
use std::io::Read as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

const ROUNDS: usize = 100;
/// So many rounds run at once.
const TOGETHER: usize = 2;

/// Makes a stopped standby whose data knows a first epoch.
fn template() -> Cluster {
    let primary = Cluster::primary("origin");
    let first = Epoch {
        term: Term(1),
        change: 0,
        node: "origin".to_owned(),
        promotion_id: PromotionId::from_random([7; 16]),
        timeline: Timeline::new(1).unwrap(),
        start_lsn: Lsn(0x0100_0000),
        w: 0,
        members: Vec::new(),
        at: 0,
    };
    primary
        .session()
        .execute(format!("{}{}", epoch::SCHEMA, first.upsert()), crate::support::pg::long())
        .unwrap();
    let standby = Cluster::standby_of("origin2", &primary);
    standby.wait_until("SELECT to_regclass('pgbaton.epoch') IS NOT NULL");
    standby.stop();
    standby
}

fn promote(server: &Cluster) -> Command {
    let mut command = Command::new(BINARY);
    command.args(["pg", "promote", "--json", "--user", "postgres", "--dbname", "postgres", "--port", "5432"]);
    command.arg("--host").arg(server.sockets()).arg("--data-directory").arg(server.data());
    // No configuration of this machine's is to be found.
    command.env_clear().env("PATH", "/usr/bin:/bin").current_dir("/");
    if let Some((uid, gid)) = run_as() {
        command.uid(uid).gid(gid);
    }
    command
}

/// How a run ended.
struct Run {
    killed: bool,
    code: Option<i32>,
    report: Value,
}

/// Runs the verb and kills it after a while, if it hasn't ended by then.
fn run(server: &Cluster, kill_after: Duration) -> Run {
    let mut child =
        promote(server).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    let mut stdout = child.stdout.take().unwrap();
    let (ended, end) = channel();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).unwrap();
        // Nobody waits for it any more after the kill.
        let _ = ended.send(());
        text
    });
    if end.recv_timeout(kill_after) == Err(RecvTimeoutError::Timeout) {
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    let output = child.wait_with_output().unwrap();
    let text = reader.join().unwrap();
    let report = serde_json::from_str(&text).unwrap_or_default();
    Run { killed: output.status.signal() == Some(9), code: output.status.code(), report }
}

fn fresh(template: &Cluster) -> Cluster {
    let server = Cluster::copy_of(template);
    server.start();
    assert_eq!(server.ask("SELECT pg_is_in_recovery()"), "t");
    server
}

/// What must be so once a run has said that it is done.
fn assert_promoted_once(server: &Cluster, round: &str) {
    let last = run(server, LONG);
    assert_eq!(last.code, Some(0), "{round}: {}", last.report);
    assert_eq!(last.report["changed"], false, "{round}: {}", last.report);
    assert!(last.report["msg"].as_str().unwrap().starts_with("unchanged"), "{round}: {}", last.report);
    let rows = server
        .ask("SELECT string_agg(term || ':' || timeline, ' ' ORDER BY term, change) FROM pgbaton.epoch");
    assert_eq!(rows, "1:1 2:2", "{round}");
    assert_eq!(
        server.ask("SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"),
        "00000002",
        "{round}"
    );
    server.session().execute("CREATE TABLE public.writable ()", crate::support::pg::long()).unwrap();
    assert!(!server.data().join(INTENT_FILE).exists(), "{round}: the intent is still there");
    let ids = server.ask("SELECT count(DISTINCT promotion_id) FROM pgbaton.epoch");
    assert_eq!(ids, "2", "{round}");
}

#[test]
fn a_promotion_that_is_killed_at_any_moment_is_completed_by_the_next_run() {
    require_machine();
    let begun = now();
    let template = template();
    // How long an undisturbed run takes here decides when the others are killed.
    let server = fresh(&template);
    let started = now();
    let whole = run(&server, LONG);
    let span = now().since(started);
    assert_eq!((whole.code, &whole.report["changed"]), (Some(0), &Value::Bool(true)), "{}", whole.report);
    assert_promoted_once(&server, "undisturbed");
    drop(server);
    let span = span.max(Duration::from_millis(80));

    let (next, killed, intents, halfway) =
        (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..TOGETHER {
            scope.spawn(|| {
                while next.fetch_add(1, Ordering::Relaxed) < ROUNDS {
                    let mut random = [0; 8];
                    getrandom::fill(&mut random).unwrap();
                    let nanos = u64::try_from(span.as_nanos()).unwrap();
                    let after = Duration::from_nanos(u64::from_ne_bytes(random) % nanos);
                    let server = fresh(&template);
                    let first = run(&server, after);
                    let round = format!("killed after {after:?} of {span:?}");
                    if first.killed {
                        killed.fetch_add(1, Ordering::Relaxed);
                        if server.data().join(INTENT_FILE).exists() {
                            intents.fetch_add(1, Ordering::Relaxed);
                            if server.ask("SELECT pg_is_in_recovery()") == "f" {
                                halfway.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    } else {
                        assert_eq!(first.code, Some(0), "{round}: {}", first.report);
                    }
                    let second = run(&server, LONG);
                    assert_eq!(second.code, Some(0), "{round}: {}", second.report);
                    assert_promoted_once(&server, &round);
                }
            });
        }
    });
    eprintln!(
        "{ROUNDS} rounds in {:?}; an undisturbed run takes {span:?}; killed: {killed:?}, with the intent written down: \
         {intents:?}, promoted by then: {halfway:?}",
        now().since(begun)
    );
    assert!(killed.load(Ordering::Relaxed) >= ROUNDS / 4, "most runs were over before they were killed");
    assert!(intents.load(Ordering::Relaxed) > 0, "no run was killed between its first step and its last");
}
