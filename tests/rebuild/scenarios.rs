//! Chains of standbys, and standbys that look well and aren't.

use super::{diverged, follows, pair, promote, rebuilt, step};
use crate::support::pg::{Cluster, long, must, tool, wait_for};
use std::path::Path;
use std::process::Command;

#[test]
pub(crate) fn in_a_cascade_the_middle_one_follows_the_one_below_it() {
    let (first, second) = pair("");
    let third = Cluster::standby_of("n3", &second);
    let end = first.ask("SELECT pg_current_wal_lsn()");
    third.wait_until(&format!("SELECT pg_last_wal_replay_lsn() >= '{end}'"));
    first.stop();
    promote(&third);
    let document = rebuilt(&second, &third, &[]);
    assert_eq!(document["decision"], "start-as-is", "{document:#}");
    follows(&second, &third);
    rebuilt(&first, &third, &[]);
    follows(&first, &third);
}

#[test]
pub(crate) fn a_standby_that_is_stuck_on_an_old_timeline_is_rewound() {
    let (first, second) = diverged("");
    first.stop();
    // Started before anybody brought the history: it comes up, answers, and never gets any further.
    first.follow(&second);
    first.data_directory().write_standby_signal().unwrap();
    first.start();
    let stuck = "forked off current database system timeline";
    wait_for("it to be stuck", || first.log().contains(stuck));
    assert_eq!(first.ask("SELECT pg_is_in_recovery()"), "t");
    let document = rebuilt(&first, &second, &[]);
    assert_eq!(document["decision"], "rewind", "{document:#}");
    follows(&first, &second);
}

/// Writes a row into each of so many segments, and leaves them.
fn leave_segments(server: &Cluster, count: u32) {
    for _ in 0..count {
        server.session().execute("INSERT INTO public.t VALUES (7)", long()).unwrap();
        server.session().execute("SELECT pg_switch_wal()", long()).unwrap();
    }
}

/// A crashed standby that has received more than its pages hold, while the primary has thrown all that away.
fn received_ahead_of_its_pages(more_on_the_primary: bool) -> (Cluster, Cluster) {
    let (first, second) = pair("wal_keep_size = 0\nmin_wal_size = 32MB");
    second.session().execute("CHECKPOINT", long()).unwrap();
    let write = |sql: &str| first.session().execute(sql, long()).unwrap();
    leave_segments(&first, 3);
    let end = first.ask("SELECT pg_current_wal_lsn()");
    second.wait_until(&format!("SELECT pg_last_wal_replay_lsn() >= '{end}'"));
    second.kill();
    if more_on_the_primary {
        leave_segments(&first, 3);
    }
    write("CHECKPOINT");
    (first, second)
}

#[test]
pub(crate) fn what_a_standby_has_received_need_not_come_from_the_primary_again() {
    let (first, second) = received_ahead_of_its_pages(false);
    let oldest = first.ask("SELECT min(name) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'");
    let text = must(tool("pg_controldata").arg("-D").arg(second.data()));
    let line = text.lines().find(|line| line.contains("Minimum recovery ending location")).unwrap();
    let pages = first.ask(&format!("SELECT pg_walfile_name('{}')", line.rsplit(' ').next().unwrap()));
    assert!(oldest > pages, "the primary has {oldest}, the pages end in {pages}");
    let document = rebuilt(&second, &first, &[]);
    assert_eq!(document["decision"], "start-as-is", "{document:#}");
    follows(&second, &first);
}

#[test]
fn a_standby_that_lacks_log_the_primary_has_thrown_away_is_copied() {
    let (first, second) = received_ahead_of_its_pages(true);
    let document = rebuilt(&second, &first, &[]);
    assert_eq!(document["decision"], "base-backup", "{document:#}");
    assert!(document["why"].as_str().unwrap().contains("no longer has the WAL after"), "{document:#}");
    follows(&second, &first);
}

/// The number of the segment in which a stopped server's replay would begin, as the last 16 digits of its name.
fn redo_segment(server: &Cluster) -> String {
    let text = must(tool("pg_controldata").arg("-D").arg(server.data()));
    let line = text.lines().find(|line| line.contains("REDO WAL file:")).unwrap();
    line.rsplit(' ').next().unwrap()[8..].to_owned()
}

/// A crashed former primary whose last checkpoint before the fork is some segments back.
fn crashed_far_from_its_checkpoint(kept_by_the_other: &str) -> (Cluster, Cluster) {
    let (first, second) = pair("wal_keep_size = 0\nmin_wal_size = 32MB");
    let write = |sql: &str| first.session().execute(sql, long()).unwrap();
    second.append_settings(&format!("wal_keep_size = {kept_by_the_other}"));
    second.ask("SELECT pg_reload_conf()");
    second.wait_until(&format!("SELECT current_setting('wal_keep_size') = '{kept_by_the_other}'"));
    write("CHECKPOINT");
    leave_segments(&first, 3);
    write("INSERT INTO public.t VALUES (8)");
    let end = first.ask("SELECT pg_current_wal_lsn()");
    second.wait_until(&format!("SELECT pg_last_wal_replay_lsn() >= '{end}'"));
    promote(&second);
    write("INSERT INTO public.t VALUES (-1)");
    first.kill();
    (first, second)
}

#[test]
pub(crate) fn a_crashed_primary_s_own_recovery_leaves_the_log_that_the_rewind_reads() {
    let (first, second) = crashed_far_from_its_checkpoint("1GB");
    let document = rebuilt(&first, &second, &[]);
    assert_eq!(
        (&document["decision"], step(&document, "rewind")),
        (&"rewind".into(), "done"),
        "{document:#}"
    );
    follows(&first, &second);
}

#[test]
fn a_rewind_whose_log_the_primary_has_thrown_away_is_a_base_backup() {
    let (first, second) = crashed_far_from_its_checkpoint("0");
    // The primary keeps the segment of the fork, but not the one that a replay would begin with.
    second.session().execute("CHECKPOINT", long()).unwrap();
    let oldest = second.ask("SELECT min(name) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'");
    assert!(oldest[8..] > *redo_segment(&first), "{oldest}");
    let document = rebuilt(&first, &second, &[]);
    assert_eq!(document["decision"], "base-backup", "{document:#}");
    assert!(document["why"].as_str().unwrap().contains("no longer has the WAL from"), "{document:#}");
    assert_eq!(step(&document, "rewind"), "skipped", "{document:#}");
    follows(&first, &second);
}

#[test]
pub(crate) fn a_rewind_that_pg_rewind_refuses_has_written_nothing() {
    let (first, second) = diverged("");
    let write = |sql: &str| first.session().execute(sql, long()).unwrap();
    let damaged = first.ask("SELECT pg_walfile_name(pg_switch_wal() + 1)");
    write("INSERT INTO public.t VALUES (-200)");
    write("SELECT pg_switch_wal()");
    write("INSERT INTO public.t VALUES (-201)");
    first.stop();
    // A segment after the fork is gone: only pg_rewind notices.
    std::fs::remove_file(first.data().join("pg_wal").join(damaged)).unwrap();
    let document = rebuilt(&first, &second, &[]);
    assert_eq!(document["decision"], "base-backup", "{document:#}");
    assert!(document["why"].as_str().unwrap().contains("pg_rewind can't do it"), "{document:#}");
    follows(&first, &second);
    let kept = document["kept"].as_str().unwrap();
    let old = Path::new(kept).join("data");
    assert!(old.join("PG_VERSION").exists());
    // A rewound folder has the primary's control file; this one has its own.
    let control = |data: &Path| std::fs::read(data.join("global/pg_control")).unwrap();
    assert_ne!(control(&old), control(&first.data()));
}

#[test]
fn a_node_that_was_promoted_too_late_is_rewound_past_its_own_promotion() {
    // With an archive a server renames the segment in which it left a timeline: `.partial`.
    let (first, second) = pair("archive_mode = on\narchive_command = 'true'\nwal_keep_size = 1GB");
    let third = Cluster::standby_of("n3", &first);
    let write = |server: &Cluster, sql: &str| server.session().execute(sql, long()).unwrap();
    let caught_up = |standby: &Cluster| {
        let end = first.ask("SELECT pg_current_wal_lsn()");
        standby.wait_until(&format!("SELECT pg_last_wal_replay_lsn() >= '{end}'"));
    };
    caught_up(&third);
    third.append_settings("primary_conninfo = ''");
    third.ask("SELECT pg_reload_conf()");
    third.wait_until("SELECT count(*) = 0 FROM pg_stat_wal_receiver");
    write(&first, "INSERT INTO public.t VALUES (9)");
    caught_up(&second);
    first.stop();
    promote(&second);
    let history = std::fs::read(second.data().join("pg_wal/00000002.history")).unwrap();
    std::fs::write(third.data().join("pg_wal/00000002.history"), history).unwrap();
    must(Command::new("chown").args(["postgres", "--"]).arg(third.data().join("pg_wal/00000002.history")));
    promote(&third);
    assert_eq!(third.ask("SELECT timeline_id FROM pg_control_checkpoint()"), "3");
    second.stop();
    let document = rebuilt(&second, &third, &[]);
    assert_eq!(
        (&document["decision"], step(&document, "rewind")),
        (&"rewind".into(), "done"),
        "{document:#}"
    );
    follows(&second, &third);
}

#[test]
pub(crate) fn segments_that_wait_for_their_use_are_not_kept() {
    // A checkpoint renames old segments for the log to come.
    let (first, second) = pair("min_wal_size = 160MB\nwal_keep_size = 48MB");
    let write = |sql: &str| first.session().execute(sql, long()).unwrap();
    leave_segments(&first, 6);
    write("CHECKPOINT");
    let end = first.ask("SELECT pg_current_wal_lsn()");
    second.wait_until(&format!("SELECT pg_last_wal_replay_lsn() >= '{end}'"));
    promote(&second);
    write("INSERT INTO public.t VALUES (-1)");
    write("SELECT pg_switch_wal()");
    write("INSERT INTO public.t VALUES (-2)");
    let last = first.ask("SELECT pg_walfile_name(pg_current_wal_lsn())");
    let later = first.ask(&format!("SELECT count(*) FROM pg_ls_waldir() WHERE name > '{last}'"));
    assert!(later.parse::<u32>().unwrap() >= 3, "{later} after {last}");
    first.stop();
    let document = rebuilt(&first, &second, &[]);
    assert_eq!(document["decision"], "rewind", "{document:#}");
    let kept = Path::new(document["kept"].as_str().unwrap()).join("wal");
    let mut names: Vec<String> = std::fs::read_dir(kept)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.last(), Some(&last), "{names:?}");
    assert_eq!(names.len(), 2, "{names:?}");
    follows(&first, &second);
}
