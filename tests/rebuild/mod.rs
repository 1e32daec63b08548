//! Rebuilds of real servers: what is decided, what is kept, and that a killed run is finished by the next.

mod debian;
mod kill;
mod places;
pub(crate) mod scenarios;
mod start;
pub(crate) mod vote;

use crate::support::pg::{Cluster, bin_dir, long, must, tool};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

/// Returns the verb for a server, with its JSON document.
pub(crate) fn verb(local: &Cluster, source: &Cluster) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgbaton"));
    command.args(["pg", "rebuild-standby", "--json", "--timeout", "120s", "--node", &local.name]);
    command.arg("-D").arg(local.data()).arg("--source-host").arg(source.sockets());
    command.args(["--source-port", "5432", "--user", "postgres", "--bin-directory"]).arg(bin_dir());
    command.env_remove("PGBATON_CONFIG");
    command
}

/// Runs it and returns its exit code and its document.
pub(crate) fn run(command: &mut Command) -> (i32, Value) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = String::from_utf8_lossy(&stdout).into_owned();
    let document = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}\n{}", String::from_utf8_lossy(&stderr)));
    (status.code().unwrap_or(-1), document)
}

/// Runs it; it must end well.
pub(crate) fn rebuilt(local: &Cluster, source: &Cluster, more: &[&str]) -> Value {
    let (code, document) = run(verb(local, source).args(more));
    assert_eq!(code, 0, "{document:#}\n{}", start_log(local));
    let waited = |step: &&Value| step["step"] == "await-streaming" && step["status"] != "skipped";
    let steps = document["steps"].as_array().unwrap();
    assert!(more.contains(&"--drop-kept") || steps.iter().any(|step| waited(&step)), "{document:#}");
    document
}

fn start_log(cluster: &Cluster) -> String {
    std::fs::read_to_string(cluster.data().join("pgbaton-start.log")).unwrap_or_default()
}

/// The exit code, the check or kind, and the message of a refusal.
fn refusal(local: &Cluster, source: &Cluster, more: &[&str]) -> (i32, String) {
    let (code, document) = run(verb(local, source).args(more));
    (code, document["error"]["message"].as_str().unwrap_or_default().to_owned())
}

/// Two servers; the second is promoted. The first may go on writing on its own.
pub(crate) fn pair(settings: &str) -> (Cluster, Cluster) {
    let first = Cluster::primary_with("n1", settings);
    let mut session = first.session();
    session
        .execute("CREATE TABLE public.t (i int); INSERT INTO public.t SELECT generate_series(1, 100)", long())
        .unwrap();
    let second = Cluster::standby_of("n2", &first);
    (first, second)
}

/// Promotes a standby.
pub(crate) fn promote(standby: &Cluster) {
    let end = standby.ask("SELECT pg_promote(true, 60)");
    assert_eq!(end, "t");
    standby.session().execute("INSERT INTO public.t VALUES (2000)", long()).unwrap();
}

/// A former primary that wrote what the new one doesn't have, still running.
pub(crate) fn diverged(settings: &str) -> (Cluster, Cluster) {
    let (first, second) = pair(settings);
    promote(&second);
    first.session().execute("INSERT INTO public.t SELECT generate_series(-10, -1)", long()).unwrap();
    first.session().execute("INSERT INTO public.t VALUES (-100)", long()).unwrap();
    (first, second)
}

/// The standby must hold what the primary holds, now and after the next write.
pub(crate) fn follows(standby: &Cluster, primary: &Cluster) {
    primary.session().execute("INSERT INTO public.t VALUES (3000)", long()).unwrap();
    let (end, rows) = (
        primary.ask("SELECT pg_current_wal_lsn()"),
        primary.ask("SELECT array_agg(i ORDER BY i) FROM public.t"),
    );
    standby.wait_until(&format!("SELECT pg_last_wal_replay_lsn() >= '{end}'"));
    assert_eq!(standby.ask("SELECT array_agg(i ORDER BY i) FROM public.t"), rows);
    assert_eq!(standby.ask("SELECT pg_is_in_recovery()"), "t");
    assert_eq!(standby.ask("SHOW primary_slot_name"), standby.name);
    let slot = format!("SELECT active FROM pg_replication_slots WHERE slot_name = '{}'", standby.name);
    assert_eq!(primary.ask(&slot), "t");
    let leftovers = std::fs::read_dir(standby.sockets()).unwrap().flatten().map(|entry| entry.file_name());
    for name in leftovers {
        let name = name.to_string_lossy().into_owned();
        assert!(name != "data.rebuild" && name != "data.new", "{name}");
    }
}

fn step<'a>(document: &'a Value, name: &str) -> &'a str {
    let steps = document["steps"].as_array().unwrap();
    let found = steps.iter().find(|step| step["step"] == name);
    found.and_then(|step| step["status"].as_str()).unwrap_or("absent")
}

#[test]
pub(crate) fn a_former_primary_with_writes_of_its_own_is_rewound_and_they_are_listed() {
    let (first, second) = diverged("");
    first.stop();
    let own = std::fs::read(first.data().join("postgresql.conf")).unwrap();
    let (code, plan) = run(verb(&first, &second).arg("--dry-run"));
    assert_eq!((code, &plan["decision"], &plan["changed"]), (0, &"rewind".into(), &true.into()), "{plan:#}");
    assert!(!first.data().join("standby.signal").exists());

    let document = rebuilt(&first, &second, &[]);
    assert_eq!(document["decision"], "rewind", "{document:#}");
    assert_eq!(document["changed"], true);
    assert_eq!(step(&document, "rewind"), "done");
    follows(&first, &second);
    assert_eq!(std::fs::read(first.data().join("postgresql.conf")).unwrap(), own);

    let (code, kept) = run(verb(&first, &second).arg("--list-kept"));
    assert_eq!(code, 0);
    let report = &kept["kept"][0]["report"];
    assert_eq!(report["transactions"].as_array().unwrap().len(), 2, "{kept:#}");
    assert_eq!(report["exact"], true);
    assert!(!report["segments"].as_array().unwrap().is_empty());

    let again = rebuilt(&first, &second, &[]);
    assert_eq!((&again["decision"], &again["changed"]), (&"nothing".into(), &false.into()), "{again:#}");
    assert!(again["msg"].as_str().unwrap().starts_with("unchanged: "), "{again:#}");
    let again = rebuilt(&first, &second, &["--method", "basebackup"]);
    assert_eq!(again["changed"], false);

    rebuilt(&first, &second, &["--drop-kept"]);
    let (_, kept) = run(verb(&first, &second).arg("--list-kept"));
    assert_eq!(kept["kept"].as_array().unwrap().len(), 0);
}

#[test]
fn after_a_clean_switchover_a_start_is_enough() {
    let (first, second) = pair("");
    first.stop();
    promote(&second);
    let document = rebuilt(&first, &second, &[]);
    assert_eq!(document["decision"], "start-as-is", "{document:#}");
    assert_eq!(document["kept"], Value::Null);
    follows(&first, &second);
}

#[test]
pub(crate) fn a_crashed_primary_is_recovered_and_rewound() {
    let (first, second) = diverged("");
    // As the daemon leaves it: no start may make it writable. A single-user server doesn't like that file.
    first.data_directory().write_standby_signal().unwrap();
    first.kill();
    let document = rebuilt(&first, &second, &[]);
    assert_eq!(
        (&document["decision"], step(&document, "recover")),
        (&"rewind".into(), "done"),
        "{document:#}"
    );
    follows(&first, &second);
}

#[test]
fn without_hint_bits_in_the_log_everything_is_copied_and_the_old_data_is_kept() {
    let (first, second) = diverged("wal_log_hints = off");
    first.stop();
    assert_eq!(
        refusal(&first, &second, &["--method", "rewind"]).0,
        3,
        "a rewind that can't work is refused when nothing else may be done"
    );
    let document = rebuilt(&first, &second, &[]);
    assert_eq!(document["decision"], "base-backup", "{document:#}");
    assert!(document["why"].as_str().unwrap().contains("wal_log_hints or data checksums"), "{document:#}");
    follows(&first, &second);
    let kept = document["kept"].as_str().unwrap();
    assert!(Path::new(kept).join("data/PG_VERSION").exists());
    assert_eq!(first.ask("SHOW unix_socket_directories"), first.sockets().to_str().unwrap());
}

#[test]
pub(crate) fn a_former_primary_that_recycled_its_log_is_copied() {
    let (first, second) = diverged("wal_keep_size = 0\nmin_wal_size = 32MB\nmax_wal_size = 32MB");
    let mut session = first.session();
    for _ in 0..4 {
        session.execute("SELECT pg_switch_wal()", long()).unwrap();
        session.execute("INSERT INTO public.t VALUES (-5)", long()).unwrap();
        session.execute("CHECKPOINT", long()).unwrap();
    }
    first.stop();
    let document = rebuilt(&first, &second, &["--drop-old"]);
    assert_eq!(document["decision"], "base-backup", "{document:#}");
    follows(&first, &second);
    let kept = document["kept"].as_str().unwrap();
    assert!(!Path::new(kept).join("data").exists());
    assert!(Path::new(kept).join("report.json").exists());
}

#[test]
pub(crate) fn two_promotions_at_one_position_are_not_taken_for_one() {
    let (first, second) = pair("");
    let third = Cluster::standby_of("n3", &first);
    let end = first.ask("SELECT pg_current_wal_lsn()");
    for standby in [&second, &third] {
        standby.wait_until(&format!("SELECT pg_last_wal_replay_lsn() >= '{end}'"));
    }
    first.stop();
    promote(&second);
    promote(&third);
    let history = |cluster: &Cluster| std::fs::read(cluster.data().join("pg_wal/00000002.history")).unwrap();
    assert_eq!(history(&second), history(&third), "the trap: byte-identical histories");
    third.stop();
    second.session().execute("INSERT INTO public.t SELECT generate_series(1, 50000)", long()).unwrap();
    let document = rebuilt(&third, &second, &[]);
    assert_eq!(document["decision"], "base-backup", "{document:#}");
    assert!(document["why"].as_str().unwrap().contains("the logs differ"), "{document:#}");
    follows(&third, &second);
}

#[test]
fn a_log_ahead_of_the_primary_s_on_its_timeline_is_copied_over() {
    let (first, second) = pair("");
    let third = Cluster::standby_of("n3", &first);
    first.stop();
    promote(&second);
    promote(&third);
    third.session().execute("INSERT INTO public.t SELECT generate_series(1, 50000)", long()).unwrap();
    third.stop();
    let document = rebuilt(&third, &second, &[]);
    assert_eq!(document["decision"], "base-backup", "{document:#}");
    follows(&third, &second);
}

#[test]
pub(crate) fn what_must_not_be_touched_is_refused() {
    let (first, second) = diverged("");
    let (code, message) = refusal(&first, &second, &[]);
    assert_eq!((code, message.contains("is a running primary")), (3, true), "{message}");
    // The other way round: the newer one must not follow the older.
    second.stop();
    let (code, message) = refusal(&second, &first, &[]);
    assert_eq!((code, message.contains("the data here is newer than that of")), (3, true), "{message}");

    // A cluster of its own, from its own initdb.
    let stranger = Cluster::nothing("n9");
    must(tool("initdb").args(["-U", "postgres", "-A", "trust", "-N", "-D"]).arg(stranger.data()));
    let (code, message) = refusal(&stranger, &first, &[]);
    assert_eq!((code, message.contains("is of another cluster")), (3, true), "{message}");

    let folder = Cluster::nothing("n8");
    std::fs::create_dir(folder.data()).unwrap();
    std::fs::write(folder.data().join("thesis.txt"), "years of work").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(folder.data(), mode).unwrap();
    let (code, message) = refusal(&folder, &first, &[]);
    assert_eq!((code, message.contains("isn't a data directory")), (3, true), "{message}");

    // Not a primary.
    let third = Cluster::standby_of("n3", &first);
    let (code, message) = refusal(&stranger, &third, &[]);
    assert_eq!((code, message.contains("is a standby, not a primary")), (3, true), "{message}");
}
