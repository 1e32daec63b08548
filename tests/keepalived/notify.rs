//! Who is told what: the same program under keepalived and under pgbaton hears the same.

use super::bench::{Bench, End, Folder, PATIENCE};
use pgbaton::host::clock::Deadline;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

const VIP: &str = "10.77.0.100";
const OTHER: &str = "10.77.0.101";

/// Writes a program that appends its arguments to a file, after waiting for a file if it is told to.
fn hook(folder: &Path) -> PathBuf {
    let path = folder.join("hook.sh");
    let text = format!(
        "#!/bin/sh\numask 022\necho \"$*\" >> {0}/lines\nwhile [ -e {0}/wait ]; do sleep 0.02; done\n",
        folder.display()
    );
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn lines(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("lines")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Waits until a line has been written this often.
fn until(folder: &Path, line: &str, times: usize) {
    let deadline = Deadline::after(PATIENCE);
    let mut watch = Folder::new(folder);
    while lines(folder).iter().filter(|each| *each == line).count() < times {
        assert!(watch.changed_before(deadline), "no \"{line}\": {:?}", lines(folder));
    }
}

fn ours(hook: &Path, name: &str, vrid: u8, priority: u8, vip: &str) -> String {
    ours_every("100ms", hook, name, vrid, priority, vip)
}

fn ours_every(interval: &str, hook: &Path, name: &str, vrid: u8, priority: u8, vip: &str) -> String {
    let hook = hook.display();
    format!(
        "[[instance]]\nname = \"{name}\"\ninterface = \"port0\"\nvirtual_router_id = {vrid}\n\
         priority = {priority}\nadvert_interval = \"{interval}\"\naddresses = [\"{vip}/24\"]\n\
         notify = [\"{hook}\", \"any\"]\nnotify_master = [\"{hook}\", \"master\"]\n\
         notify_backup = [\"{hook}\", \"backup\"]\nnotify_fault = [\"{hook}\", \"fault\"]\n\
         notify_stop = [\"{hook}\", \"stop\"]\n\n"
    )
}

/// With an interval of a second.
fn theirs(hook: &Path, name: &str, vrid: u8, priority: u8, vip: &str) -> String {
    let hook = hook.display();
    format!(
        "vrrp_instance {name} {{\n  version 3\n  state BACKUP\n  interface port0\n  virtual_router_id {vrid}\n  \
         priority {priority}\n  advert_int 1\n  notify \"{hook} any\"\n  notify_master \"{hook} master\"\n  \
         notify_backup \"{hook} backup\"\n  notify_fault \"{hook} fault\"\n  notify_stop \"{hook} stop\"\n  \
         virtual_ipaddress {{\n    {vip}/24\n  }}\n}}\n"
    )
}

/// The lines without their order: keepalived runs the programs of one change side by side.
fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

#[test]
fn the_same_program_hears_the_same_from_both() {
    // Alone, with a fault in between, to the end. Slowly: what becomes outdated while a program runs we leave out.
    let mut told = Vec::new();
    for of_keepalived in [false, true] {
        let bench = Bench::new(if of_keepalived { "told-theirs" } else { "told-ours" });
        let folder = bench.folder().to_owned();
        let hook = hook(&folder);
        let group = format!("\"{} any\"", hook.display());
        let stop: Box<dyn FnOnce()> = if of_keepalived {
            let text = format!(
                "vrrp_sync_group g {{\n  group {{\n    x\n    y\n  }}\n  notify {group}\n}}\n{}{}",
                theirs(&hook, "x", 51, 150, VIP),
                theirs(&hook, "y", 52, 150, OTHER)
            );
            let keepalived = bench.keepalived(End::B, &text);
            Box::new(move || keepalived.stop())
        } else {
            let text = format!(
                "{}{}[[group]]\nname = \"g\"\ninstances = [\"x\", \"y\"]\nnotify = [\"{}\", \"any\"]\n",
                ours_every("1s", &hook, "x", 51, 150, VIP),
                ours_every("1s", &hook, "y", 52, 150, OTHER),
                hook.display()
            );
            let daemon = bench.pgbaton(End::B, &text);
            Box::new(move || daemon.stop())
        };
        until(&folder, "any GROUP g MASTER 0", 1);
        until(&folder, "any INSTANCE x MASTER 150", 1);
        until(&folder, "any INSTANCE y MASTER 150", 1);
        until(&folder, "master", 2);
        bench.ip(End::A, &["link", "set", "port0", "down"]);
        until(&folder, "any INSTANCE x FAULT 150", 1);
        until(&folder, "any INSTANCE y FAULT 150", 1);
        until(&folder, "any GROUP g FAULT 0", 1);
        until(&folder, "fault", 2);
        bench.ip(End::A, &["link", "set", "port0", "up"]);
        until(&folder, "any GROUP g MASTER 0", 2);
        until(&folder, "any INSTANCE x MASTER 150", 2);
        until(&folder, "any INSTANCE y MASTER 150", 2);
        until(&folder, "master", 4);
        stop();
        until(&folder, "any GROUP g STOP 0", 1);
        until(&folder, "stop", 2);
        told.push(sorted(lines(&folder)));
    }
    assert_eq!(told[0], told[1]);
}

#[test]
fn the_fifos_have_the_same_lines() {
    let mut told = Vec::new();
    for of_keepalived in [false, true] {
        let bench = Bench::new(if of_keepalived { "fifo-theirs" } else { "fifo-ours" });
        let folder = bench.folder().to_owned();
        let fifo = folder.join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        // Opened for both, so that it has no end.
        let reader = std::fs::File::options().read(true).write(true).open(&fifo).unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(reader));
        let hook = hook(&folder);
        let stop: Box<dyn FnOnce()> = if of_keepalived {
            let keepalived = bench.keepalived_with(
                End::B,
                &format!("  vrrp_notify_fifo {}\n", fifo.display()),
                &theirs(&hook, "x", 51, 150, VIP),
            );
            Box::new(move || keepalived.stop())
        } else {
            let text =
                format!("{}[daemon]\nnotify_fifo = \"{}\"\n", ours(&hook, "x", 51, 150, VIP), fifo.display());
            let daemon = bench.pgbaton(End::B, &text);
            Box::new(move || daemon.stop())
        };
        let mut next = || lines.next().unwrap().unwrap();
        let mut heard = vec![next(), next()];
        bench.ip(End::A, &["link", "set", "port0", "down"]);
        heard.push(next());
        bench.ip(End::A, &["link", "set", "port0", "up"]);
        heard.extend([next(), next()]);
        stop();
        heard.push(next());
        told.push(heard);
    }
    let line = |state: &str| format!("INSTANCE \"x\" {state} 150");
    assert_eq!(told[0], ["BACKUP", "MASTER", "FAULT", "BACKUP", "MASTER", "STOP"].map(line));
    assert_eq!(told[0], told[1]);
}

#[test]
fn while_a_program_runs_only_the_newest_state_is_kept_and_the_daemon_goes_on() {
    let bench = Bench::new("newest");
    let folder = bench.folder().to_owned();
    let hook = hook(&folder);
    std::fs::write(folder.join("wait"), "").unwrap();
    let daemon = bench.pgbaton(End::A, &ours(&hook, "x", 51, 150, VIP));
    until(&folder, "backup", 1);
    bench.until(End::A, VIP, true);
    for state in ["INITIALIZE", "ACTIVE", "INITIALIZE", "ACTIVE"] {
        let up = if state == "ACTIVE" { "up" } else { "down" };
        bench.ip(End::B, &["link", "set", "port0", up]);
        daemon.until_instance("x", |x| x["state"] == state);
    }
    assert_eq!(lines(&folder), ["backup"], "the first program still runs");
    std::fs::remove_file(folder.join("wait")).unwrap();
    until(&folder, "any INSTANCE x MASTER 150", 1);
    assert_eq!(
        lines(&folder),
        ["backup", "any INSTANCE x BACKUP 150", "master", "any INSTANCE x MASTER 150"]
    );
    daemon.until_log("no program is run for");
    daemon.until_log("notify MASTER: ");
    daemon.stop();
    assert_eq!(lines(&folder)[4..], ["stop", "any INSTANCE x STOP 150"], "the daemon waits for the last one");
}

#[test]
fn the_winner_of_a_conflict_is_told_again_and_a_removed_instance_is_a_fault() {
    let bench = Bench::new("winner");
    let folder = bench.folder().to_owned();
    let hook = hook(&folder);
    let daemon = bench.pgbaton(End::A, &ours(&hook, "x", 51, 150, VIP));
    until(&folder, "any INSTANCE x MASTER 150", 1);
    // The other end is deaf until it is Active too.
    bench.run(End::B, "nft", &["add", "table", "inet", "deaf"]);
    let chain = "{ type filter hook input priority 0; }";
    bench.run(End::B, "nft", &["add", "chain", "inet", "deaf", "in", chain]);
    bench.run(End::B, "nft", &["add", "rule", "inet", "deaf", "in", "meta", "l4proto", "112", "drop"]);
    let other = bench.pgbaton(End::B, &ours(&hook, "x", 51, 100, VIP).replace("any", "other"));
    daemon.until_counter("x", "rival_adverts", 1);
    assert_eq!(daemon.instance("x")["state"], "ACTIVE");
    bench.run(End::B, "nft", &["delete", "table", "inet", "deaf"]);
    other.until_instance("x", |x| x["state"] == "BACKUP");
    until(&folder, "any INSTANCE x MASTER 150", 2);
    daemon.reload(&ours(&hook, "y", 52, 150, OTHER));
    until(&folder, "any INSTANCE x FAULT 150", 1);
    assert!(!lines(&folder).contains(&"fault".to_owned()), "as keepalived: no fault of its own");
}
