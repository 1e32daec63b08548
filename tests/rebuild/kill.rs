//! SIGKILL at any moment: the next run completes the work, and nothing is ever writable on its own.

use super::{diverged, follows, rebuilt, run, verb, vote};
use crate::support::pg::{Cluster, LONG};
use pgbaton::host::clock::Deadline;
use pgbaton::pg::server::BARRED;
use pgbaton::promotion::rules::{Promise, PromiseState, Register};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

/// How many kills there are: `PGBATON_TEST_KILLS`, or so many that all tests still end within minutes.
fn kills() -> u32 {
    std::env::var("PGBATON_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(60)
}

/// Each kill leaves a wal sender and a slot behind for a moment, and each copy is a segment of WAL.
const SETTINGS: &str = "max_wal_senders = 60\nmax_replication_slots = 60\nwal_keep_size = 4GB";

/// A number that differs each time.
pub(super) fn random(below: u64) -> u64 {
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
    // In which step each kill came.
    let mut hit: BTreeMap<String, u32> = BTreeMap::new();
    while done < wanted {
        round += 1;
        let method = if round % 2 == 0 { "basebackup" } else { "auto" };
        let old = Cluster::copy_of(&first);
        let mut killed = 0;
        while killed < 12 && done < wanted {
            // Now at any moment of the run, now at any moment of one step: the short ones would hardly be met.
            let aim = if random(6) == 0 { Aim::Run(usual) } else { one_step(&old, &second, method) };
            let mut child = verb(&old, &second);
            child.args(["--events", "--method", method]).stdout(Stdio::null()).stderr(Stdio::piped());
            let Some(step) = kill_in(child.spawn().unwrap(), &aim) else { break };
            *hit.entry(step).or_default() += 1;
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
        println!("round {round}, {method}, {killed} kills: {}, {}", document["decision"], document["why"]);
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
    println!("{done} kills: {hit:?}");
}

/// Chooses one of the steps that the next run will take.
fn one_step(old: &Cluster, source: &Cluster, method: &str) -> Aim {
    let (_, plan) = run(verb(old, source).args(["--dry-run", "--method", method]));
    let steps = plan["steps"].as_array().cloned().unwrap_or_default();
    let names: Vec<&str> = steps.iter().filter_map(|step| step["step"].as_str()).collect();
    // Rather an early one: after a late one there is less left to be killed in.
    let place = || random(names.len().max(1) as u64);
    let chosen = names.get(usize::try_from(place().min(place())).unwrap());
    Aim::Step((*chosen.unwrap_or(&"copy")).to_owned())
}

/// When a kill comes.
#[derive(Debug, Clone)]
enum Aim {
    /// At any moment of so long.
    Run(Duration),
    /// At any moment of this step.
    Step(String),
}

/// Kills a run, and returns in which step that was; `None` when it ended before.
fn kill_in(mut child: Child, aim: &Aim) -> Option<String> {
    let (told, events) = std::sync::mpsc::channel();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    std::thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            let Ok(event) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
            told.send(event).ok();
        }
    });
    let soon = |span: u64| Deadline::after(Duration::from_micros(random(span.max(1))));
    let mut at = match aim {
        Aim::Run(usual) => Some(soon(u64::try_from(usual.as_micros()).unwrap())),
        Aim::Step(_) => None,
    };
    let mut step = "before the first".to_owned();
    let named = |event: &serde_json::Value| {
        let name = event["step"].as_str().unwrap_or_default();
        if event["event"] == "step-done" { format!("after {name}") } else { name.to_owned() }
    };
    loop {
        let left = at.map_or(LONG, Deadline::left);
        match events.recv_timeout(left) {
            Ok(event) => {
                step = named(&event);
                if let (Aim::Step(wanted), None) = (aim, &at)
                    && *wanted == step
                {
                    // Most steps take milliseconds, some a second.
                    at = Some(soon([500, 3_000, 15_000, 60_000][usize::try_from(random(4)).unwrap()]));
                }
            }
            Err(RecvTimeoutError::Timeout) => break,
            Err(RecvTimeoutError::Disconnected) => {
                child.wait().unwrap();
                return None;
            }
        }
    }
    child.kill().ok();
    let ended = child.wait().unwrap();
    // What it said before it died, which is in the pipe by now.
    while let Ok(event) = events.recv_timeout(Duration::from_millis(50)) {
        step = named(&event);
    }
    (ended.signal() == Some(9)).then_some(step)
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
    let until = Deadline::after(Duration::from_secs(2));
    let session = pgbaton::pg::conn::Session::connect(&cluster.settings(), until);
    session
        .and_then(|mut session| session.query("SELECT pg_is_in_recovery()", until))
        .is_ok_and(|rows| rows.first().is_some_and(|row| row.get(0) == Some("f")))
}
