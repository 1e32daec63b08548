//! Empty folders, tablespaces, WAL on another disk, standbys that lost their way.

use super::{diverged, follows, pair, promote, rebuilt, run, verb};
use crate::support::pg::{Cluster, bin_dir, long, must, run_as};
use std::path::PathBuf;
use std::process::Command;

/// Makes a folder for the server's user beside the data directory.
fn folder(cluster: &Cluster, name: &str) -> PathBuf {
    let path = cluster.sockets().join(name);
    std::fs::create_dir(&path).unwrap();
    must(Command::new("chown").arg("--reference").arg(cluster.sockets()).arg(&path));
    path
}

#[test]
fn an_empty_folder_becomes_a_standby() {
    let (first, _second) = pair("");
    for exists in [true, false] {
        let third = Cluster::nothing("n3");
        if exists {
            folder(&third, "data");
        }
        let mut command = verb(&third, &first);
        command.arg("--socket-directory").arg(third.sockets()).args(["--port", "5432"]);
        let (code, document) = run(&mut command);
        assert_eq!((code, &document["decision"]), (0, &"base-backup".into()), "{document:#}");
        follows(&third, &first);
        let again = rebuilt(&third, &first, &[]);
        assert_eq!(again["changed"], false, "{again:#}");
        // A restart of it by hand is still a standby's.
        third.stop();
    }
}

#[test]
fn a_program_is_told_each_step_and_how_far_a_copy_is() {
    let (first, _second) = pair("");
    let third = Cluster::nothing("n3");
    let mut command = verb(&third, &first);
    command.arg("--socket-directory").arg(third.sockets()).args(["--port", "5432", "--events"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let told = String::from_utf8(output.stderr).unwrap();
    let events: Vec<serde_json::Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let is =
        |event: &serde_json::Value, kind: &str, step: &str| event["event"] == kind && event["step"] == step;
    let at = |kind: &str, step: &str| events.iter().position(|event| is(event, kind, step)).unwrap();
    assert!(
        at("step-started", "copy") < at("progress", "copy")
            && at("progress", "copy") < at("step-done", "copy")
    );
    let last = events.iter().rfind(|event| is(event, "progress", "copy")).unwrap();
    assert_eq!((&last["percent"], &last["done"]), (&100.into(), &last["total"]), "{told}");
    assert!(at("step-done", "copy") < at("step-started", "await-streaming"));
    // The document is whole all the same.
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["changed"], true);
}

#[test]
fn a_standby_that_points_elsewhere_is_led_back() {
    let (first, second) = pair("");
    second.append_settings("primary_conninfo = 'host=/nowhere user=postgres'");
    second.stop();
    second.start();
    let document = rebuilt(&second, &first, &[]);
    assert_eq!(document["decision"], "start-as-is", "{document:#}");
    follows(&second, &first);
    // And one that was killed.
    second.kill();
    let document = rebuilt(&second, &first, &[]);
    assert_eq!(document["decision"], "start-as-is", "{document:#}");
    follows(&second, &first);
}

#[test]
fn the_configured_commands_stop_and_start_the_server() {
    let (first, second) = pair("");
    let third = Cluster::standby_of("n3", &first);
    let folder = third.sockets().display();
    let pg_ctl = format!("{} -D {}", bin_dir().join("pg_ctl").display(), third.data().display());
    let as_owner = if run_as().is_some() { "runuser -u postgres -- " } else { "" };
    let text = format!(
        "[cluster]\nname = \"c\"\n[vrrp]\nvirtual_router_id = 51\n\
         [[node]]\nname = \"n1\"\naddress = \"192.0.2.21\"\npriority = 200\n\
         [[node]]\nname = \"n3\"\naddress = \"192.0.2.23\"\npriority = 100\n\
         [[vip]]\naddress = \"192.0.2.29/24\"\n\
         [postgres]\ndata_directory = \"{}\"\nsocket_directory = \"{folder}\"\n\
         stop_command = \"touch {folder}/stopped; cd /; {as_owner}{pg_ctl} -m fast stop\"\n\
         start_command = \"touch {folder}/started; cd /; {as_owner}{pg_ctl} -l {folder}/log -w start >/dev/null\"\n",
        third.data().display()
    );
    let file = third.sockets().join("pgbaton.toml");
    std::fs::write(&file, text).unwrap();
    // It follows a primary that has lost its part.
    first.stop();
    promote(&second);
    let mut dry = verb(&third, &second);
    let (code, plan) = run(dry.arg("--config").arg(&file).arg("--dry-run"));
    assert_eq!(code, 0, "{plan:#}");
    let said = plan["steps"].to_string();
    assert!(said.contains("/stopped") && said.contains("/started"), "{plan:#}");
    let (code, document) = run(verb(&third, &second).arg("--config").arg(&file));
    assert_eq!(code, 0, "{document:#}");
    assert!(third.sockets().join("stopped").exists() && third.sockets().join("started").exists());
    follows(&third, &second);
}

#[test]
fn a_log_on_another_disk_stays_there_whatever_the_method() {
    let (first, second) = diverged("");
    first.stop();
    let wal = first.sockets().join("wal");
    must(Command::new("mv").arg(first.data().join("pg_wal")).arg(&wal));
    std::os::unix::fs::symlink(&wal, first.data().join("pg_wal")).unwrap();
    let document = rebuilt(&first, &second, &[]);
    assert_eq!(document["decision"], "rewind", "{document:#}");
    follows(&first, &second);
    assert_eq!(std::fs::read_link(first.data().join("pg_wal")).unwrap(), wal);

    first.stop();
    let document = rebuilt(&first, &second, &["--method", "basebackup"]);
    assert_eq!(document["decision"], "base-backup", "{document:#}");
    follows(&first, &second);
    assert_eq!(std::fs::read_link(first.data().join("pg_wal")).unwrap(), wal);
    // The old data leads to its own log, not to the new one.
    let kept = PathBuf::from(document["kept"].as_str().unwrap());
    let old = std::fs::read_link(kept.join("data/pg_wal")).unwrap();
    assert!(old != wal && old.join("archive_status").exists(), "{}", old.display());
    rebuilt(&first, &second, &["--drop-kept"]);
    assert!(!old.exists() && wal.exists());
}

#[test]
fn tablespaces_stay_where_this_node_has_them_whatever_the_method() {
    let first = Cluster::primary("n1");
    let place = folder(&first, "space");
    let create = format!("CREATE TABLESPACE fast LOCATION '{}'", place.display());
    first.session().execute(create, long()).unwrap();
    first.session().execute("CREATE TABLE public.t (i int) TABLESPACE fast", long()).unwrap();
    first.session().execute("INSERT INTO public.t SELECT generate_series(1, 100)", long()).unwrap();
    // On one machine, each server needs a place of its own.
    let second = Cluster::nothing("n2");
    let elsewhere = second.sockets().join("elsewhere");
    let mut backup = crate::support::pg::tool("pg_basebackup");
    backup.arg("-D").arg(second.data()).arg("-h").arg(first.sockets());
    backup.arg("-T").arg(format!("{}={}", place.display(), elsewhere.display()));
    must(backup.args(["-p", "5432", "-U", "postgres", "-X", "stream", "-c", "fast", "-N"]));
    second.append_settings(&format!("unix_socket_directories = '{}'", second.sockets().display()));
    second.follow(&first);
    second.data_directory().write_standby_signal().unwrap();
    second.start();
    second.wait_until("SELECT count(*) = 1 FROM pg_stat_wal_receiver WHERE status = 'streaming'");

    promote(&second);
    first.session().execute("INSERT INTO public.t VALUES (-1)", long()).unwrap();
    first.stop();
    let document = rebuilt(&first, &second, &[]);
    assert_eq!(document["decision"], "rewind", "{document:#}");
    follows(&first, &second);

    first.stop();
    let document = rebuilt(&first, &second, &["--method", "basebackup"]);
    assert_eq!(document["decision"], "base-backup", "{document:#}");
    follows(&first, &second);
    let oid = first.ask("SELECT oid FROM pg_tablespace WHERE spcname = 'fast'");
    assert_eq!(std::fs::read_link(first.data().join("pg_tblspc").join(&oid)).unwrap(), place);
    assert!(elsewhere.exists());
}
