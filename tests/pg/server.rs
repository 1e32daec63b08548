//! Starting a server, and ending it for sure.

use crate::support::pg::{Cluster, bin_dir, long, wait_for};
use nix::sys::signal::Signal;
use pgbaton::error::Kind;
use pgbaton::host::clock::Deadline;
use pgbaton::pg::control::{self, ClusterState};
use pgbaton::pg::server::{DataDirectory, StartOptions, StopMode, Stopped};
use std::time::Duration;

const AMPLE: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(200);

#[test]
fn a_server_is_started_found_and_stopped() {
    let cluster = Cluster::primary("n1");
    let data = cluster.data_directory();
    let running = data.postmaster().unwrap().unwrap();
    assert!(running.is_open() && i32::try_from(running.pid).ok() == cluster.postmaster());
    assert_eq!(running.socket_dir.as_deref(), Some(cluster.sockets()));
    assert_eq!(running.port, 5432);
    assert!(!data.start(&cluster.start_options(), long()).unwrap().changed);
    assert_eq!(control::read(bin_dir(), data.path(), long()).unwrap().state, ClusterState::InProduction);

    let report = data.stop_for_sure(AMPLE, AMPLE).unwrap();
    println!("fast stop: {report:?}");
    assert_eq!((report.how, report.killed), (Stopped::Fast, 0));
    assert!(data.postmaster().unwrap().is_none() && !data.stop(StopMode::Fast, long()).unwrap());
    assert_eq!(data.stop_for_sure(AMPLE, AMPLE).unwrap().how, Stopped::NotRunning);
    let state = control::read(bin_dir(), data.path(), long()).unwrap().state;
    assert!(state == ClusterState::ShutDown && state.is_clean());

    let started = data.start(&cluster.start_options(), long()).unwrap();
    println!("start: {:?}", started.took);
    assert!(started.changed);
    assert_eq!(cluster.ask("SELECT 1"), "1");
}

#[test]
fn an_old_primary_started_as_a_standby_is_not_writable() {
    let cluster = Cluster::primary("n1");
    cluster.stop();
    let options = StartOptions { as_standby: true, ..cluster.start_options() };
    let data = cluster.data_directory();
    assert!(data.start(&options, long()).unwrap().changed && data.has_standby_signal());
    assert_eq!(cluster.ask("SELECT pg_is_in_recovery()"), "t");
}

#[test]
fn a_server_that_does_not_start_says_why() {
    let cluster = Cluster::primary("n1");
    cluster.stop();
    cluster.append_settings("shared_buffers = 'plenty'");
    let error = cluster.data_directory().start(&cluster.start_options(), long()).unwrap_err();
    assert_eq!((error.kind(), error.message()), (Kind::Failed, "the server doesn't start"));
    assert!(error.detail_text().unwrap().contains("contains errors"), "{error}");
}

#[test]
fn a_session_that_works_does_not_hold_a_fast_stop_up() {
    let cluster = Cluster::primary("n1");
    let mut busy = cluster.session();
    let soon = Deadline::after(Duration::from_millis(50));
    busy.query("SELECT pg_sleep(600)", soon).unwrap_err();
    assert_eq!(cluster.data_directory().stop_for_sure(AMPLE, AMPLE).unwrap().how, Stopped::Fast);
}

#[test]
fn a_hung_postmaster_is_killed_with_all_its_processes() {
    let cluster = Cluster::primary("n1");
    let _session = cluster.session();
    let count = cluster.processes().len();
    cluster.signal(Signal::SIGSTOP);
    let report = cluster.data_directory().stop_for_sure(SHORT, SHORT).unwrap();
    println!("hung: {report:?} of {count}");
    assert_eq!(report.how, Stopped::Killed);
    assert!(report.killed >= 1 && cluster.processes().is_empty());
}

/// The backend's client goes on getting its commits acknowledged after the postmaster has died.
#[test]
fn a_backend_that_outlived_its_postmaster_is_found_and_killed() {
    let cluster = Cluster::primary("n1");
    let mut writer = cluster.session();
    writer.execute("CREATE TABLE public.t (n int)", long()).unwrap();
    let endless = "DO $$ BEGIN LOOP INSERT INTO public.t VALUES (1); COMMIT; END LOOP; END $$";
    writer.query(endless, Deadline::after(Duration::from_millis(50))).unwrap_err();
    let data = cluster.data_directory();
    assert!(data.orphans().unwrap().is_empty());
    cluster.signal(Signal::SIGKILL);
    wait_for("the postmaster to be gone", || data.postmaster().unwrap().is_none());
    assert!(!data.orphans().unwrap().is_empty());
    let error = data.start(&cluster.start_options(), long()).unwrap_err();
    assert_eq!(error.message(), "processes of the former server are still alive");
    let report = data.stop_for_sure(AMPLE, AMPLE).unwrap();
    println!("killed postmaster: {report:?}");
    assert_eq!(report.how, Stopped::Killed);
    assert!(report.killed >= 1 && cluster.processes().is_empty());
    data.start(&cluster.start_options(), long()).unwrap();
    assert!(cluster.ask("SELECT count(*) FROM public.t").parse::<u64>().unwrap() > 0);
}

#[test]
fn the_logging_process_does_not_count_as_an_orphan_to_be_shot() {
    let cluster = Cluster::primary_with("n1", "logging_collector = on\ncluster_name = 'main'");
    let report = cluster.data_directory().stop_for_sure(AMPLE, AMPLE).unwrap();
    assert_eq!((report.how, report.killed), (Stopped::Fast, 0));
    assert!(cluster.processes().is_empty());
}

#[test]
fn a_major_with_recovery_conf_is_refused_with_the_reason() {
    let folder = crate::support::pg::Folder::new();
    for version in ["11", "9.6"] {
        std::fs::write(folder.path().join("PG_VERSION"), format!("{version}\n")).unwrap();
        let error = DataDirectory::open(folder.path()).unwrap_err();
        assert_eq!(error.message(), format!("PostgreSQL {version} isn't supported"));
        assert!(error.detail_text().unwrap().contains("recovery.conf"));
    }
}
