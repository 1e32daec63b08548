//! What the daemon does to addresses and neighbours, and what is left when it can't do anything any more.

use super::bench::{Bench, End};
use crate::net::bed::{inside, port, soon};
use nix::sys::signal::Signal;
use pgbaton::host::clock::Deadline;
use pgbaton::net::arp::parse_arp_reply;
use pgbaton::net::driver::readable_before;
use pgbaton::net::netlink::{Monitor, NetEvent};
use pgbaton::net::packet::{ETHERTYPE_ARP, PacketSocket};
use std::io::{ErrorKind, Read as _};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const VIP: &str = "10.77.0.100";
const LEASE: Duration = Duration::from_secs(2);

fn instance(name: &str, vrid: u8, priority: u8, addresses: &str, more: &str) -> String {
    format!(
        "[[instance]]\nname = \"{name}\"\ninterface = \"port0\"\nvirtual_router_id = {vrid}\n\
         priority = {priority}\nadvert_interval = \"100ms\"\naddresses = [{addresses}]\nlease = \"2s\"\n{more}\n"
    )
}

fn one(priority: u8, more: &str) -> String {
    instance("x", 51, priority, "\"10.77.0.100/24\"", more)
}

#[test]
fn an_address_that_someone_removes_is_put_back() {
    let bench = Bench::new("restore");
    let daemon = bench.pgbaton(End::A, &one(100, ""));
    bench.until(End::A, VIP, true);
    bench.ip(End::A, &["addr", "del", "10.77.0.100/24", "dev", "port0"]);
    daemon.until_log("was removed: putting it back");
    bench.until(End::A, VIP, true);
    assert_eq!(daemon.instance("x")["state"], "ACTIVE");
}

/// A client at b that is connected to the address at a and waits for an answer; with the server's end.
fn client(bench: &Bench) -> (TcpStream, TcpStream) {
    let address = (VIP.parse::<IpAddr>().unwrap(), 5432);
    let listener = inside(bench.namespace(End::A), || TcpListener::bind(address).unwrap());
    let client = inside(bench.namespace(End::B), || TcpStream::connect(address).unwrap());
    client.set_read_timeout(Some(super::bench::PATIENCE)).unwrap();
    (client, listener.accept().unwrap().0)
}

#[test]
fn a_client_that_waits_at_the_address_is_told_when_it_goes() {
    let bench = Bench::new("clients");
    let daemon = bench.pgbaton(End::A, &one(150, ""));
    bench.until(End::A, VIP, true);
    let other = bench.pgbaton(End::B, &one(100, ""));
    other.until_counter("x", "adverts_received", 1);
    let (mut client_of_daemon, _server) = client(&bench);
    daemon.signal(Signal::SIGTERM);
    let end = client_of_daemon.read(&mut [0]).unwrap_err();
    assert_eq!(end.kind(), ErrorKind::ConnectionReset);
    daemon.until_log("removed 10.77.0.100/24: stopping; client connections ended: 1");
    bench.until_at(End::B, VIP);
    drop((daemon, other));

    let bench = Bench::new("clientsverb");
    let verb = |more: &[&str]| {
        let args: Vec<&str> = ["vip", more[0], "10.77.0.100/24", "--interface", "port0", "--json"]
            .into_iter()
            .chain(more[1..].iter().copied())
            .collect();
        bench.run(End::A, env!("CARGO_BIN_EXE_pgbaton"), &args)
    };
    verb(&["up", "--no-probe"]);
    let (mut client_of_verb, _server) = client(&bench);
    let said = verb(&["down"]);
    assert!(said.contains("removed; client connections ended: 1"), "{said}");
    assert_eq!(client_of_verb.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(!verb(&["down"]).contains("connections"));
}

#[test]
fn an_address_that_someone_removes_is_given_to_the_other_if_so_configured() {
    let bench = Bench::new("fault");
    let loses = "on_address_loss = \"fault\"";
    let daemon = bench.pgbaton(End::A, &one(150, loses));
    bench.until(End::A, VIP, true);
    let other = bench.pgbaton(End::B, &one(100, ""));
    bench.ip(End::A, &["addr", "del", "10.77.0.100/24", "dev", "port0"]);
    bench.until_at(End::B, VIP);
    daemon.until_instance("x", |x| x["state"] == "INITIALIZE");
    assert!(daemon.instance("x")["reason"].as_str().unwrap().contains("SIGHUP"));
    assert!(other.counter("x", "priority_zero_received") >= 1, "a farewell: {}", other.log());
    daemon.signal(Signal::SIGHUP);
    bench.until_at(End::A, VIP);
}

#[test]
fn a_killed_daemons_address_goes_with_its_lease() {
    let bench = Bench::new("killed");
    let daemon = bench.pgbaton(End::A, &instance("x", 51, 100, "\"10.77.0.100/24\"", ""));
    let six = bench.pgbaton(End::B, &instance("y", 52, 100, "\"fe80::200/64\", \"fd77::200/64\"", ""));
    bench.until(End::A, VIP, true);
    bench.until(End::B, "fd77::200", true);
    daemon.kill();
    bench.until_within(End::A, VIP, false, LEASE + Duration::from_secs(1));
    six.kill();
    bench.until_within(End::B, "fd77::200", false, LEASE + Duration::from_secs(1));
    assert!(bench.has(End::B, "fd77::2"), "the node's own address stays");
}

#[test]
fn under_full_load_no_lease_ends_by_accident() {
    let bench = Bench::new("busy");
    let daemon = bench.pgbaton(End::A, &one(100, ""));
    bench.until(End::A, VIP, true);
    // All on one processor, so that the tests beside this one have the others.
    let pin = |args: &[&str]| {
        let status = Command::new("taskset").args(args).stdout(Stdio::null()).status();
        assert!(status.unwrap().success(), "taskset {args:?}");
    };
    pin(&["--all-tasks", "--pid", "--cpu-list", "0", &daemon.pid().to_string()]);
    let busy = |_| {
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", "0", "sh", "-c", "while :; do :; done"]).process_group(0);
        Busy(command.spawn().unwrap())
    };
    let load: Vec<Busy> = (0..24).map(busy).collect();
    inside(bench.namespace(End::A), || {
        let mut monitor = Monitor::open().unwrap();
        let end = Deadline::after(LEASE * 4);
        let mut renewals = 0;
        while readable_before(monitor.as_fd(), end).unwrap() {
            for event in monitor.read().unwrap() {
                assert!(!matches!(event, NetEvent::AddressRemoved(_)), "{event:?}\n{}", daemon.log());
                renewals += usize::from(matches!(event, NetEvent::AddressAdded(_)));
            }
        }
        assert!(renewals >= 8, "renewed in time: {renewals}");
    });
    drop(load);
    assert_eq!(daemon.instance("x")["state"], "ACTIVE");
    assert_eq!(daemon.counter("x", "overslept"), 0, "{}", daemon.log());
}

/// A process that does nothing, as fast as it can.
struct Busy(Child);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn label_and_scope_are_those_of_the_configuration() {
    let bench = Bench::new("label");
    let options = "label = \"port0:web\"\nscope = \"link\"";
    let _daemon = bench.pgbaton(End::A, &instance("x", 51, 100, "\"10.9.0.1/32\"", options));
    bench.until(End::A, "10.9.0.1", true);
    let shown = bench.run(End::A, "ip", &["-oneline", "address", "show", "to", "10.9.0.1"]);
    assert!(shown.contains(" scope link ") && shown.contains(" port0:web"), "{shown}");
}

#[test]
fn a_frozen_daemon_loses_its_address_and_does_not_take_it_back_when_it_wakes() {
    let bench = Bench::new("frozen");
    let daemon = bench.pgbaton(End::A, &one(150, "preempt = false"));
    bench.until(End::A, VIP, true);
    let other = bench.pgbaton(End::B, &one(100, ""));
    other.until_counter("x", "adverts_received", 1);
    daemon.signal(Signal::SIGSTOP);
    bench.until(End::B, VIP, true);
    bench.until_within(End::A, VIP, false, LEASE + Duration::from_secs(1));
    daemon.signal(Signal::SIGCONT);
    daemon.until_log("slept");
    daemon.until_counter("x", "adverts_received", 20);
    assert_eq!(daemon.instance("x")["state"], "BACKUP");
    assert!(!bench.has(End::A, VIP));
    assert_eq!(other.instance("x")["state"], "ACTIVE");
    assert_eq!(
        other.counter("x", "rival_adverts"),
        0,
        "not one advert of the sleeper came: {}",
        daemon.log()
    );
}

#[test]
fn addresses_of_an_earlier_life_are_removed_for_every_instance() {
    let bench = Bench::new("stale");
    let two = |priority| one(priority, "") + &instance("y", 52, priority, "\"10.77.0.101/24\"", "");
    let other = bench.pgbaton(End::B, &two(200));
    bench.until(End::B, VIP, true);
    bench.until(End::B, "10.77.0.101", true);
    bench.ip(End::A, &["addr", "add", "10.77.0.100/32", "dev", "port0"]);
    bench.ip(End::A, &["addr", "add", "10.77.0.101/24", "dev", "port0"]);
    let daemon = bench.pgbaton(End::A, &two(100));
    bench.until(End::A, VIP, false);
    bench.until(End::A, "10.77.0.101", false);
    assert!(bench.has(End::A, "10.77.0.1"), "the node's own address stays: {}", daemon.log());
    assert_eq!(other.instance("y")["state"], "ACTIVE");
}

#[test]
fn addresses_are_announced_at_once_again_later_and_now_and_then() {
    let bench = Bench::new("announce");
    inside(bench.namespace(End::B), || {
        let socket = PacketSocket::receiver(&port(), ETHERTYPE_ARP, &[]).unwrap();
        let options =
            "garp_burst = 2\ngarp_second_delay = \"1s\"\ngarp_refresh = \"500ms\"\ngarp_interval = \"10ms\"";
        let _daemon = bench.pgbaton(End::A, &one(100, options));
        let (mut requests, mut replies) = (0, 0);
        // Two and two at once, four more after a second, one a refresh.
        while requests < 7 || replies < 7 {
            assert!(readable_before(socket.as_fd(), soon()).unwrap(), "{requests} {replies}");
            let mut buffer = [0; 128];
            while let Some(frame) = socket.receive(&mut buffer).unwrap() {
                if parse_arp_reply(frame, VIP.parse().unwrap()).is_some() {
                    match frame[21] {
                        1 => requests += 1,
                        _ => replies += 1,
                    }
                }
            }
        }
    });
}

#[test]
fn an_instance_waits_for_its_interface_and_leaves_the_election_with_its_link() {
    let bench = Bench::new("waits");
    let late = one(100, "").replace("port0", "late0");
    let daemon = bench.pgbaton(End::A, &(instance("y", 52, 100, "\"10.77.0.101/24\"", "") + &late));
    bench.until(End::A, "10.77.0.101", true);
    assert!(daemon.instance("x")["reason"].as_str().unwrap().contains("no interface"));
    bench.ip(End::A, &["link", "add", "late0", "type", "veth", "peer", "late1"]);
    bench.ip(End::A, &["link", "set", "late1", "up"]);
    bench.ip(End::A, &["addr", "add", "10.77.0.7/24", "dev", "late0"]);
    bench.ip(End::A, &["link", "set", "late0", "up"]);
    daemon.until_instance("x", |x| x["state"] == "ACTIVE");
    bench.ip(End::A, &["link", "set", "late1", "down"]);
    daemon.until_instance("x", |x| x["state"] == "INITIALIZE" && x["reason"] == "the link is down");
    bench.ip(End::A, &["link", "set", "late1", "up"]);
    daemon.until_instance("x", |x| x["state"] == "ACTIVE");
    bench.ip(End::A, &["link", "del", "late0"]);
    daemon.until_instance("x", |x| x["state"] == "INITIALIZE");
    bench.ip(End::A, &["link", "add", "late0", "type", "veth", "peer", "late1"]);
    bench.ip(End::A, &["link", "set", "late1", "up"]);
    bench.ip(End::A, &["addr", "add", "10.77.0.7/24", "dev", "late0"]);
    bench.ip(End::A, &["link", "set", "late0", "up"]);
    daemon.until_instance("x", |x| x["state"] == "ACTIVE");
    assert_eq!(daemon.instance("y")["state"], "ACTIVE");
}

#[test]
fn the_owner_of_the_addresses_is_active_at_once_and_takes_them_from_anyone() {
    let bench = Bench::new("owner");
    let other = bench.pgbaton(End::B, &one(254, ""));
    bench.until(End::B, VIP, true);
    let owner = bench.pgbaton(End::A, &one(255, ""));
    bench.until_at(End::A, VIP);
    other.until_instance("x", |x| x["state"] == "BACKUP");
    assert_eq!(owner.instance("x")["priority"], 255);
}

#[test]
fn one_daemon_runs_every_virtual_router_of_an_interface() {
    let bench = Bench::new("many");
    let all: String = (1..=255_u8)
        .map(|vrid| instance(&format!("x{vrid}"), vrid, 100, &format!("\"10.77.2.{vrid}/32\""), ""))
        .collect();
    let daemon = bench.pgbaton(End::A, &all);
    for address in ["10.77.2.1", "10.77.2.128", "10.77.2.255"] {
        bench.until(End::A, address, true);
    }
    daemon.until_instance("x255", |x| x["state"] == "ACTIVE");
    daemon.stop();
    for address in ["10.77.2.1", "10.77.2.128", "10.77.2.255"] {
        assert!(!bench.has(End::A, address));
    }
    assert!(bench.has(End::A, "10.77.0.1"));
}

#[test]
fn two_instances_may_share_a_network_that_the_interface_has_no_address_in() {
    let bench = Bench::new("shared");
    let x = instance("x", 51, 100, "\"10.9.0.1/24\"", "on_address_loss = \"fault\"");
    let y = instance("y", 52, 100, "\"10.9.0.2/24\"", "on_address_loss = \"fault\"");
    let daemon = bench.pgbaton(End::A, &(x.clone() + &y));
    for address in ["10.9.0.1", "10.9.0.2"] {
        bench.until(End::A, address, true);
    }
    for (gone, stays, left) in [("10.9.0.1", "10.9.0.2", &y), ("10.9.0.2", "10.9.0.1", &x)] {
        daemon.reload(left);
        bench.until(End::A, gone, false);
        bench.until(End::A, stays, true);
        // The kernel tells of the address before the daemon does.
        daemon.until_log(&format!("removed {gone}/24: no longer configured"));
        daemon.reload(&(x.clone() + &y));
        bench.until(End::A, gone, true);
    }
    assert!(!daemon.log().contains("leaving the election"), "{}", daemon.log());
}

#[test]
fn what_the_daemon_section_asks_for_is_there_or_the_daemon_says_what_is_missing() {
    let bench = Bench::new("realtime");
    let more = "[daemon]\nrealtime_priority = 10\nlock_memory = true\ncpu_limit = \"2s\"\n";
    match bench.try_pgbaton(End::A, &(one(100, "") + more)) {
        Ok(daemon) => {
            bench.until(End::A, VIP, true);
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
            // proc_pid_stat(5): 40 is the real-time priority, 41 the policy; SCHED_RR is 2.
            let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
            assert_eq!((fields[37], fields[38]), ("10", "2"));
            let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
            let locked = status.lines().find(|line| line.starts_with("VmLck:")).unwrap();
            assert!(!locked.ends_with(" 0 kB"), "{locked}");
        }
        Err(log) => assert!(log.contains("LimitRTPRIO") || log.contains("LimitMEMLOCK"), "{log}"),
    }
}
