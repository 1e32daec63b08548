//! What is tracked moves the priority or keeps the router out, and back.

use super::bench::{Bench, End};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

const VIP: &str = "10.77.0.100";

fn instance(priority: u8, more: &str) -> String {
    format!(
        "[[instance]]\nname = \"x\"\ninterface = \"port0\"\nvirtual_router_id = 51\npriority = {priority}\n\
         advert_interval = \"100ms\"\naddresses = [\"{VIP}/24\"]\n{more}\n"
    )
}

#[test]
fn an_interface_moves_the_priority_or_is_needed() {
    let bench = Bench::new("interface");
    let add = |name: &str, peer: &str| {
        bench.ip(End::A, &["link", "add", name, "type", "veth", "peer", peer]);
        bench.ip(End::A, &["link", "set", peer, "up"]);
        bench.ip(End::A, &["link", "set", name, "up"]);
    };
    add("more1", "peer1");
    add("more2", "peer2");
    let daemon = bench.pgbaton(End::A, &instance(150, "track_interfaces = { more1 = -60, more2 = 0 }"));
    bench.until(End::A, VIP, true);
    let other = bench.pgbaton(End::B, &instance(100, ""));
    assert_eq!(daemon.instance("x")["priority"], 150);
    bench.ip(End::A, &["link", "set", "more1", "down"]);
    bench.until_at(End::B, VIP);
    let x = daemon.instance("x");
    assert_eq!((&x["priority"], &x["state"]), (&90.into(), &"BACKUP".into()));
    assert!(daemon.log().contains("x: priority 150 -> 90: interface more1 is down"), "{}", daemon.log());
    bench.ip(End::A, &["link", "set", "more1", "up"]);
    bench.until_at(End::A, VIP);
    bench.ip(End::A, &["link", "del", "more2"]);
    bench.until_at(End::B, VIP);
    daemon.until_instance("x", |x| x["state"] == "INITIALIZE");
    assert_eq!(daemon.instance("x")["reason"], "interface more2 is down");
    assert!(other.counter("x", "priority_zero_received") >= 1, "a farewell");
    add("more2", "peer2");
    bench.until_at(End::A, VIP);
}

#[test]
fn a_script_is_waited_for_and_counts_after_some_results_in_a_row() {
    let bench = Bench::new("script");
    let folder = bench.folder().to_owned();
    let (flag, count) = (folder.join("good"), folder.join("count"));
    let script = format!(
        "[[track_script]]\nname = \"web\"\ninterval = \"50ms\"\nrise = 2\nfall = 3\n\
         command = [\"/bin/sh\", \"-c\", \"echo >> {}; echo why >&2; test -e {}\"]\n",
        count.display(),
        flag.display()
    );
    let daemon = bench.pgbaton(End::A, &(instance(150, "track_scripts = { web = 0 }") + &script));
    daemon.until_instance("x", |x| x["reason"] == "script web fails: exit code 1: why");
    assert_eq!(daemon.instance("x")["state"], "INITIALIZE");
    std::fs::write(&flag, "").unwrap();
    bench.until(End::A, VIP, true);
    std::fs::remove_file(&flag).unwrap();
    bench.until(End::A, VIP, false);
    daemon.until_log("out of the election: script web fails");
    let slow =
        script.replace("echo why >&2;", "sleep 100;").replace("interval", "timeout = \"100ms\"\ninterval");
    std::fs::write(&flag, "").unwrap();
    daemon.reload(&(instance(150, "track_scripts = { web = -20 }") + &slow));
    daemon.until_instance("x", |x| x["priority"] == 130 && x["state"] == "ACTIVE");
    daemon.until_log("didn't end in time");
    daemon.reload(&instance(150, ""));
    daemon.until_instance("x", |x| x["priority"] == 150 && x["state"] == "ACTIVE");
}

#[test]
fn the_end_of_a_process_is_noticed_and_a_new_one_found() {
    let bench = Bench::new("process");
    let mark = format!("{}.25", 200_000 + std::process::id());
    let start = || Command::new("sleep").arg(&mark).process_group(0).spawn().unwrap();
    let mut one = start();
    let process = format!(
        "[[track_process]]\nname = \"proxy\"\ncommand = \"sleep\"\narguments = [\"{mark}\"]\ninterval = \"50ms\"\n"
    );
    let daemon = bench.pgbaton(End::A, &(instance(150, "track_processes = { proxy = 0 }") + &process));
    bench.until(End::A, VIP, true);
    one.kill().unwrap();
    one.wait().unwrap();
    bench.until(End::A, VIP, false);
    assert_eq!(daemon.instance("x")["reason"], "process proxy doesn't run");
    let mut two = start();
    bench.until(End::A, VIP, true);
    two.kill().unwrap();
    two.wait().unwrap();
    bench.until(End::A, VIP, false);
}

#[test]
fn the_number_in_a_file_moves_the_priority() {
    let bench = Bench::new("file");
    let path = bench.folder().join("manual");
    let file = format!("[[track_file]]\nname = \"manual\"\npath = \"{}\"\n", path.display());
    let daemon = bench.pgbaton(End::A, &(instance(100, "track_files = { manual = 2 }") + &file));
    daemon.until_instance("x", |x| x["priority"] == 100 && x["state"] == "ACTIVE");
    for (text, priority) in [("30\n", 160), ("-30", 40), ("999", 254), ("x", 100)] {
        std::fs::write(&path, text).unwrap();
        daemon.until_instance("x", |x| x["priority"] == priority);
    }
    std::fs::write(&path, "-200").unwrap();
    daemon.until_instance("x", |x| x["state"] == "INITIALIZE");
    std::fs::remove_file(&path).unwrap();
    daemon.until_instance("x", |x| x["priority"] == 100 && x["state"] == "ACTIVE");
}
