//! `pg promote` as it is typed: its gates, and what goes around the promotion itself.

use crate::support::pg::{Cluster, bin_dir, give, long, wait_for};
use nix::sys::signal::Signal;
use pgbaton::pg::fetch;
use pgbaton::pg::histories;
use pgbaton::pg::local::NEEDS_CHECK_FILE;
use pgbaton::pg::lsn::{Lsn, Timeline};
use pgbaton::pg::promote::promote;
use serde_json::Value;
use std::process::Command;

fn verb(cluster: &Cluster, more: &[&str]) -> (i32, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgbaton"));
    command.args(["pg", "promote", "--json", "-U", "postgres", "-p", "5432", "--bin-directory"]);
    command.arg(bin_dir()).arg("-h").arg(cluster.sockets()).arg("-D").arg(cluster.data()).args(more);
    let output = command.env_remove("PGBATON_CONFIG").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let document = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap_or(-1), document)
}

/// The name that a node has without a configuration.
fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn message(document: &Value) -> &str {
    document["error"]["message"].as_str().unwrap_or_default()
}

fn step(document: &Value, name: &str) -> String {
    let steps = document["steps"].as_array().unwrap();
    let found = steps.iter().find(|step| step["step"] == name);
    found.and_then(|step| step["status"].as_str()).unwrap_or("absent").to_owned()
}

#[test]
fn a_fenced_server_is_promoted_only_by_somebody_who_says_so() {
    let primary = Cluster::primary("n1");
    let standby = Cluster::standby_of("n2", &primary);
    let node = hostname();
    let mark = standby.data().join(NEEDS_CHECK_FILE);
    let text = serde_json::json!({"schema": 1, "node": node, "at": 1, "reason": "two primaries"});
    std::fs::write(&mark, text.to_string()).unwrap();
    give(&mark);
    primary.stop();
    let (code, document) = verb(&standby, &[]);
    assert_eq!((code, message(&document).contains("was fenced (two primaries)")), (3, true), "{document:#}");
    assert_eq!(standby.ask("SELECT pg_is_in_recovery()"), "t");
    let (code, document) = verb(&standby, &["--force", "needs-check"]);
    assert_eq!(code, 0, "{document:#}");
    assert!(!mark.exists());
    assert_eq!(standby.ask("SELECT pg_is_in_recovery()"), "f");
}

#[test]
fn a_standby_that_heard_of_its_primary_too_long_ago_is_refused() {
    let primary = Cluster::primary("n1");
    let standby = Cluster::standby_of("n2", &primary);
    // Nothing but a commit that it has replayed tells a standby later when it last heard of its primary.
    primary.session().execute("CREATE TABLE public.t (i int)", long()).unwrap();
    standby.wait_until("SELECT pg_last_xact_replay_timestamp() IS NOT NULL");
    primary.signal(Signal::SIGKILL);
    standby.wait_until("SELECT count(*) = 0 FROM pg_stat_wal_receiver");
    let (code, document) = verb(&standby, &["--max-silence", "1ms"]);
    assert_eq!((code, message(&document).contains("last heard of")), (3, true), "{document:#}");
    let (code, document) = verb(&standby, &["--max-silence", "1h"]);
    assert_eq!(code, 0, "{document:#}");
}

#[test]
fn a_limit_that_is_given_and_can_t_be_judged_isn_t_taken_for_kept() {
    let primary = Cluster::primary("n1");
    let standby = Cluster::standby_of("n2", &primary);
    primary.signal(Signal::SIGKILL);
    standby.wait_until("SELECT count(*) = 0 FROM pg_stat_wal_receiver");
    let (code, document) = verb(&standby, &["--max-silence", "1h"]);
    let said = message(&document);
    assert_eq!(
        (code, said.contains("nothing tells when the primary was last heard of")),
        (3, true),
        "{said}"
    );
    let (code, document) = verb(&standby, &["--max-lag", "1GB"]);
    let said = message(&document);
    assert_eq!((code, said.contains("how far the primary had got is unknown")), (3, true), "{said}");
    let (code, document) = verb(&standby, &["--max-lag", "1GB", "--force", "lag"]);
    assert_eq!(code, 0, "{document:#}");
}

#[test]
pub(crate) fn an_archive_that_is_gone_isn_t_asked_during_a_promotion() {
    let primary = Cluster::primary("n1");
    let standby = Cluster::standby_of("n2", &primary);
    let asked = standby.sockets().join("asked");
    let command = format!("touch {}; false", asked.display());
    standby.append_settings(&format!("restore_command = '{command}'"));
    standby.ask("SELECT pg_reload_conf()");
    standby.wait_until("SELECT current_setting('restore_command') <> ''");
    let (code, document) = verb(&standby, &[]);
    assert_eq!(code, 0, "{document:#}");
    let statuses = (step(&document, "suspend-restore"), step(&document, "resume-restore"));
    assert_eq!(statuses, ("done".to_owned(), "done".to_owned()), "{document:#}");
    assert!(!asked.exists());
    standby.wait_until("SELECT current_setting('restore_command') <> ''");
    assert_eq!(standby.ask("SHOW restore_command"), command);
    // A run that was killed in between has left its note: the next one puts it back.
    let note = standby.data().join("pgbaton.suspended");
    assert!(!note.exists());
    let node = hostname();
    let saved = serde_json::json!({"name": "restore_command", "value": "later"});
    std::fs::write(&note, serde_json::json!({"node": node, "saved": saved}).to_string()).unwrap();
    give(&note);
    let (code, document) = verb(&standby, &[]);
    assert_eq!((code, step(&document, "resume-restore").as_str()), (0, "done"), "{document:#}");
    standby.wait_until("SELECT current_setting('restore_command') = 'later'");
    assert!(!note.exists());
}

#[test]
pub(crate) fn with_the_peers_histories_a_promotion_makes_a_timeline_of_its_own() {
    let first = Cluster::primary("n1");
    let second = Cluster::standby_of("n2", &first);
    let third = Cluster::standby_of("n3", &first);
    let end = first.ask("SELECT pg_current_wal_lsn()");
    for standby in [&second, &third] {
        standby.wait_until(&format!("SELECT pg_last_wal_replay_lsn() >= '{end}'"));
    }
    first.stop();
    promote(&mut second.session(), long(), &mut |_| ()).unwrap();
    let system_id = third.data_directory().system_id().unwrap();
    let peers = vec![("n1".to_owned(), first.settings()), ("n2".to_owned(), second.settings())];
    let collected = fetch::from_peers(peers, system_id, long());
    // The dead one is named, and nobody waits for it.
    assert_eq!(collected.missing, ["n1"]);
    let replayed: Lsn = third.ask("SELECT pg_last_wal_replay_lsn()").parse().unwrap();
    // A timeline that begins beyond this standby's log would be taken for its future.
    let before = collected.clone().without_futures(Timeline::FIRST, Lsn(replayed.0 - 1));
    assert!(before.files.is_empty());
    let collected = collected.without_futures(Timeline::FIRST, replayed);
    assert_eq!(collected.files.len(), 1);
    for (_, file) in &collected.files {
        histories::store(&third.data().join("pg_wal"), file.timeline(), &file.content).unwrap();
    }
    let promoted = promote(&mut third.session(), long(), &mut |_| ()).unwrap();
    assert_eq!(promoted.timeline, Timeline::new(3).unwrap());
    wait_for("its history", || third.data().join("pg_wal/00000003.history").exists());
}
