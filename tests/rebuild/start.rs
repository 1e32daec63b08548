//! `--start-only`: nothing is touched by a dry run, and a run that is killed is finished by the next.

use super::{run, step};
use crate::support::pg::{Cluster, bin_dir, long, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgbaton::host::clock::{now, pause};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

fn verb(local: &Cluster) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgbaton"));
    command.args([
        "pg",
        "rebuild-standby",
        "--start-only",
        "--json",
        "--timeout",
        "60s",
        "--node",
        &local.name,
    ]);
    command.arg("-D").arg(local.data()).args(["--user", "postgres", "--bin-directory"]).arg(bin_dir());
    command.env_remove("PGBATON_CONFIG");
    command
}

/// Everything in a folder, as far as somebody could have touched it.
fn seen(folder: &Path) -> BTreeMap<PathBuf, (u64, u32, u64, i64, i64)> {
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let meta = std::fs::symlink_metadata(&path).unwrap();
            if meta.is_dir() {
                folders.push(path.clone());
            }
            all.insert(path, (meta.ino(), meta.mode(), meta.size(), meta.mtime_nsec(), meta.ctime_nsec()));
        }
    }
    all
}

#[test]
fn a_dry_run_of_a_start_touches_nothing_whether_the_server_runs_or_not() {
    let server = Cluster::primary("n1");
    let (code, document) = run(verb(&server).arg("--dry-run"));
    assert_eq!((code, &document["changed"]), (0, &false.into()), "{document:#}");
    assert_eq!(server.ask("SELECT pg_is_in_recovery()"), "f");
    server.kill();
    let before = seen(server.sockets());
    let (code, document) = run(verb(&server).arg("--dry-run"));
    assert_eq!(code, 0, "{document:#}");
    assert_eq!((&document["dry_run"], &document["changed"]), (&true.into(), &true.into()), "{document:#}");
    for name in ["protect-start", "start-server"] {
        assert_eq!(step(&document, name), "planned", "{document:#}");
    }
    assert_eq!(seen(server.sockets()), before);
    assert!(server.processes().is_empty());

    // What it said is what happens; and a second run has nothing to do.
    let (code, document) = run(&mut verb(&server));
    assert_eq!((code, &document["changed"]), (0, &true.into()), "{document:#}");
    assert_eq!(server.ask("SELECT pg_is_in_recovery()"), "t");
    let (code, document) = run(&mut verb(&server));
    assert_eq!((code, &document["changed"]), (0, &false.into()), "{document:#}");
    let message = document["msg"].as_str().unwrap();
    assert!(message.starts_with("unchanged"), "{document:#}");
}

#[test]
fn data_in_the_middle_of_a_rebuild_is_not_started() {
    let server = Cluster::primary("n1");
    server.stop();
    let before = seen(&server.data());
    std::fs::write(server.sockets().join("data.rebuild"), "not a journal").unwrap();
    let (code, document) = run(&mut verb(&server));
    assert_ne!(code, 0, "{document:#}");
    assert!(server.processes().is_empty() && !server.data().join("standby.signal").exists());
    assert_eq!(seen(&server.data()), before);
}

#[test]
fn a_start_that_is_killed_at_any_moment_is_finished_by_the_next_and_is_never_a_primarys() {
    let wanted = std::env::var("PGBATON_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(40);
    let server = Cluster::primary("n1");
    let mut session = server.session();
    session.execute("CREATE TABLE public.t AS SELECT generate_series(1, 1000) AS i", long()).unwrap();
    drop(session);
    let mut last = end(&server);
    // How long an undisturbed start takes here and now.
    let mut usual = Duration::from_millis(400);
    let (mut done, mut late, mut begun) = (0, 0, 0);
    while done < wanted {
        if done % 3 == 0 {
            // As a power loss leaves it: nobody has said yet that it isn't a primary's.
            last = end(&server);
            std::fs::remove_file(server.data().join("standby.signal")).ok();
        }
        let mut child = verb(&server);
        child.process_group(0).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = child.spawn().unwrap();
        let mut span = usual;
        if super::kill::random(3) > 0 {
            // The server comes early in a start, and is what matters most.
            wait_for("a server, or the end", || {
                server.postmaster() != last || !matches!(child.try_wait(), Ok(None))
            });
            span =
                [1, 10, 60, 300].map(Duration::from_millis)[usize::try_from(super::kill::random(4)).unwrap()];
        }
        pause(Duration::from_micros(super::kill::random(micros(span))));
        // Either the verb alone, or with all that it has in its group, as at the end of a terminal.
        let pid = i32::try_from(child.id()).unwrap();
        let whom = if done % 2 == 0 { pid } else { -pid };
        kill(Pid::from_raw(whom), Signal::SIGKILL).ok();
        let ended = child.wait().unwrap();
        late += u32::from(ended.signal().is_none());
        done += 1;
        // A server that is there was told before that it is a standby's.
        if server.postmaster().is_some() && !server.processes().is_empty() {
            begun += 1;
            assert!(server.data().join("standby.signal").exists(), "kill {done}");
        }
        let begin = now();
        let (code, document) = run(&mut verb(&server));
        assert_eq!(code, 0, "kill {done}: {document:#}\n{}", log(&server));
        if step(&document, "start-server") == "done" {
            usual = now().since(begin).clamp(Duration::from_millis(100), Duration::from_secs(2));
        }
        assert_eq!(server.ask("SELECT pg_is_in_recovery()"), "t", "kill {done}");
        assert_eq!(server.ask("SELECT count(*) FROM public.t"), "1000");
        let (code, document) = run(&mut verb(&server));
        assert_eq!((code, &document["changed"]), (0, &false.into()), "kill {done}: {document:#}");
        last = end(&server);
    }
    println!("{done} kills, {late} after the end, {begun} with a server; a start takes {usual:?}");
}

/// Kills the server; returns once whoever inherited its processes has taken note.
fn end(server: &Cluster) -> Option<i32> {
    let pid = server.postmaster();
    server.kill();
    wait_for("the dead to be buried", || pid.is_none_or(|pid| kill(Pid::from_raw(pid), None).is_err()));
    pid
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap()
}

fn log(server: &Cluster) -> String {
    std::fs::read_to_string(server.data().join("pgbaton-start.log")).unwrap_or_default()
}
