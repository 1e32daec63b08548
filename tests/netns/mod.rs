//! The lab itself: what it builds is there, what befalls a host is what was asked for, nothing stays behind.
//!
//! These tests need root, namespaces and `PostgreSQL`: where something is missing they fail and say what.

mod demos;
mod failover;
mod fencing;
mod flight;
mod interrupted;
mod lease;
mod logs;
mod lossless;
mod refusals;
mod restart;
mod returning;
mod runbook;
mod silence;

use pgbaton::demo::client::{Manner, Writer, rows_present};
use pgbaton::demo::lab::{Lab, LabOptions, VIP};
use pgbaton::demo::namespace::{Namespace, ip_batch};
use pgbaton::demo::patience::Patience;
use pgbaton::demo::preflight;
use pgbaton::host::clock::now;
use pgbaton::settings::Settings;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

/// Returns the options of a lab that shares nothing with other tests' labs.
pub(crate) fn options(name: &str) -> LabOptions {
    if let Err(error) = preflight::check(None) {
        panic!("this test can't run here: {error} (hints: {})", error.hints().join("; "));
    }
    let mut options = LabOptions::new(PathBuf::from(env!("CARGO_BIN_EXE_pgbaton")));
    options.prefix = format!("pgbt-{name}-");
    options.base = PathBuf::from(format!("/var/lib/pgbaton-test/{name}"));
    options.template = Some(PathBuf::from("/var/lib/pgbaton-test/template"));
    options
}

fn create(options: LabOptions) -> Lab {
    Lab::create(options, Arc::new(Patience::endless()), &|_| {}).expect("the lab is built")
}

fn without_daemons(name: &str) -> Lab {
    let mut options = options(name);
    options.daemons = false;
    create(options)
}

fn give_vip(lab: &Lab, host: &str) {
    let host = lab.host(host).unwrap();
    ip_batch(Some(&host.namespace), &format!("address add {VIP}/24 dev eth0\n")).unwrap();
    // Stands in for the gratuitous ARP.
    ip_batch(Some(&lab.client), &format!("neighbour flush {VIP} dev eth0\n")).unwrap();
}

#[test]
fn a_power_cut_is_survived_by_hand_and_the_ledger_adds_up() {
    let lab = without_daemons("power");
    eprintln!("built in {:?}", lab.built_in);
    let (node1, node2) = (lab.host("node1").unwrap(), lab.host("node2").unwrap());
    assert!(!node1.in_recovery().unwrap());
    assert!(node2.in_recovery().unwrap());
    let here = nix::ifaddrs::getifaddrs().unwrap().filter_map(|entry| entry.address);
    let ours = here.filter_map(|address| address.as_sockaddr_in().map(nix::sys::socket::SockaddrIn::ip));
    assert!(ours.into_iter().all(|ip| ip.octets()[..3] != VIP.octets()[..3]), "an address of the lab leaked");
    give_vip(&lab, "node1");
    assert_eq!(lab.holders().unwrap(), ["node1"]);
    let writer = Writer::start(&lab.client, "client", lab.vip(), Manner::Eager).unwrap();
    let enough =
        |count: usize| move |ledger: &pgbaton::demo::client::Ledger| ledger.acknowledged.len() >= count;
    lab.patience().until("200 rows", LIMIT, || Ok(writer.look(enough(200)).then_some(()))).unwrap();
    let fault = node1.power_off().unwrap();
    assert!(node1.namespace.processes().is_empty());
    node2.sql("SELECT pg_promote(true)").unwrap();
    let promoted = now();
    give_vip(&lab, "node2");
    lab.patience()
        .until("a commit on node2", LIMIT, || {
            Ok(writer.look(|ledger| ledger.first_by_other(fault, "node1")).map(|_| ()))
        })
        .unwrap();
    let ledger = writer.finish();
    let verdict = ledger.verify(&rows_present(&node2.server_socket(), "client", LIMIT).unwrap());
    eprintln!("{verdict:?} {:?} {:?}", ledger.outage(fault).unwrap().length(), ledger.errors);
    assert_eq!(verdict.present + verdict.lost, verdict.acknowledged);
    assert_eq!(ledger.count_by("node1", promoted), 0);
    assert!(ledger.count_by("node2", fault) > 0);
    assert!(ledger.outage(fault).unwrap().to > promoted);
}

#[test]
fn a_frozen_host_answers_nothing_and_goes_on_when_thawed() {
    let lab = without_daemons("freeze");
    give_vip(&lab, "node1");
    let node1 = lab.host("node1").unwrap();
    let writer = Writer::start(&lab.client, "client", lab.vip(), Manner::Eager).unwrap();
    let first_after = |moment| writer.look(|ledger| ledger.first_after(moment));
    lab.patience().until("a row", LIMIT, || Ok(first_after(pgbaton::units::Moment::BOOT))).unwrap();
    node1.freeze().unwrap();
    let frozen = now();
    lab.patience()
        .until("the client to give up", LIMIT, || {
            Ok(writer.look(|ledger| ledger.errors.contains_key("silent")).then_some(()))
        })
        .unwrap();
    assert_eq!(first_after(frozen), None);
    node1.thaw();
    lab.patience().until("a row after the thaw", LIMIT, || Ok(first_after(frozen))).unwrap();
    // A cut cable keeps the carrier: the node itself notices nothing.
    let cut = node1.cut().unwrap() + Duration::from_millis(200);
    lab.patience()
        .until("silence", LIMIT, || Ok((now() > cut + Duration::from_millis(200)).then_some(())))
        .unwrap();
    assert_eq!(first_after(cut), None);
    assert!(!node1.in_recovery().unwrap());
    node1.heal().unwrap();
    lab.patience().until("a row after the healing", LIMIT, || Ok(first_after(cut))).unwrap();
}

#[test]
fn what_a_crashed_run_left_behind_is_removed_by_the_next() {
    let mut lab = without_daemons("leftover");
    let (base, prefix) = (lab.options.base.clone(), lab.options.prefix.clone());
    let busy = Lab::clean(&base, &prefix).unwrap_err();
    assert_eq!(busy.kind(), pgbaton::error::Kind::TryAgain, "{busy}");
    let namespaces = Namespace::all(&prefix);
    assert_eq!(namespaces.len(), 4);
    // As after a SIGKILL of the demo: everything runs on without it.
    lab.keep();
    drop(lab);
    assert!(namespaces.iter().any(|namespace| !namespace.processes().is_empty()));
    assert!(Lab::clean(&base, &prefix).unwrap());
    assert!(namespaces.iter().all(|namespace| !namespace.exists()));
    assert!(!base.exists());
    assert!(!Lab::clean(&base, &prefix).unwrap());
}

#[test]
fn a_shut_down_postmaster_is_reported_and_a_dead_one_stays_dead() {
    let lab = without_daemons("postmaster");
    let node1 = lab.host("node1").unwrap();
    let vip = IpAddr::V4(VIP);
    assert!(!node1.has_address(vip).unwrap());
    node1.kill_postmaster().unwrap();
    lab.patience()
        .until("the server's processes to go", LIMIT, || {
            Ok(node1.namespace.processes().is_empty().then_some(()))
        })
        .unwrap();
    assert!(node1.sql("SELECT 1").is_err());
    node1.start_server().unwrap();
    node1.wait_server().unwrap();
    assert!(!node1.in_recovery().unwrap());
}

#[test]
fn the_settings_file_of_a_lab_is_understood_and_names_the_hosts_own_paths() {
    let mut options = options("settings");
    options.daemons = false;
    options.spare = true;
    options.lease = Some("2s".to_owned());
    let lab = create(options);
    let mut settings = Settings::from_toml(&lab.settings(), "pgbaton.toml").unwrap();
    for host in &lab.hosts {
        settings.choose_me(&host.name).unwrap();
        let node = settings.me().unwrap();
        assert_eq!(settings.control_socket(node), host.control_socket);
        let postgres = settings.postgres_of(node).unwrap();
        assert_eq!(postgres.data_directory, host.data_directory);
        assert_eq!(postgres.socket_directory, host.socket_directory);
    }
}
