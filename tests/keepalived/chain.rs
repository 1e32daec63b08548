//! The chain keepalived → notify → promote → virtual IP, with the real keepalived and real servers; and what keepalived
//! does to its hooks: late, side by side, without an environment, killed.

use crate::support::lab::{BINARY, LIMIT, Stage, require_machine};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgbaton::demo::keepalived::{Keepalived, configure, hook_log, start_all};
use pgbaton::host::clock::{Deadline, now};
use pgbaton::host::process::{Output, run_spawn};
use pgbaton::host::spawn::Spawn;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

fn stage(name: &str, availability: &str) -> Stage {
    Stage::with(name, |options| {
        options.daemons = false;
        availability.clone_into(&mut options.availability);
    })
}

fn log(stage: &Stage, name: &str) -> String {
    std::fs::read_to_string(hook_log(stage.host(name))).unwrap_or_default()
}

fn until_said(stage: &Stage, name: &str, text: &str) {
    stage
        .until(&format!("\"{text}\" in the log of {name}"), || log(stage, name).contains(text).then_some(()));
}

/// Prints the logs of the hooks when a test fails.
struct Logs<'a>(&'a Stage);

impl Drop for Logs<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for host in &self.0.lab.hosts {
                eprintln!("--- hooks of {}\n{}", host.name, log(self.0, &host.name));
                let text = std::fs::read_to_string(host.directory.join("keepalived.log")).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                eprintln!("--- keepalived\n{}", lines[lines.len().saturating_sub(30)..].join("\n"));
            }
        }
    }
}

/// A hook as keepalived starts it: root, umask 0177, nothing in the environment.
fn hook(stage: &Stage, name: &str, words: &[&str]) -> Child {
    let mut command = Command::new(BINARY);
    command.env_clear().arg("notify").args(["--marker", "127.112.0.51", "--node", name]);
    command.arg("--config").arg(stage.lab.config()).arg("--log").arg(hook_log(stage.host(name)));
    command.args(words).current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    // SAFETY: umask only sets a number of the process, takes no lock and can't fail.
    #[allow(unsafe_code, reason = "pre_exec is unsafe by its nature")]
    unsafe {
        command.pre_exec(|| {
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
            Ok(())
        });
    }
    Spawn::new(command).netns(&stage.host(name).namespace.path()).unwrap().spawn().unwrap()
}

fn ended_well(child: Child) {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
}

/// Puts the sign of being MASTER on a host, or takes it away, as keepalived does.
fn marker(stage: &Stage, name: &str, there: bool) {
    let verb = if there { "add" } else { "delete" };
    let namespace = &stage.host(name).namespace;
    pgbaton::demo::namespace::ip_batch(Some(namespace), &format!("address {verb} 127.112.0.51/32 dev lo\n"))
        .unwrap();
}

fn notify_once(stage: &Stage, name: &str, state: &str) -> Output {
    stage.pgbaton(name, &["--json", "notify", state, "--once", "--marker", "127.112.0.51"])
}

fn guards(stage: &Stage, name: &str) -> Vec<Pid> {
    let is_guard = |pid: &Pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains("pgbaton notify ")
    };
    stage.host(name).namespace.processes().into_iter().filter(is_guard).collect()
}

#[test]
fn a_power_loss_is_survived_through_keepalived_alone() {
    let stage = stage("ka-power", "prefer");
    let _logs = Logs(&stage);
    let _running = start_all(&stage.lab).unwrap();
    stage.until_only_holder("node1");
    let writer = stage.writer();
    let fault = stage.host("node1").power_off().unwrap();
    stage.until_commits(&writer, "node2", fault);
    stage.until_only_holder("node2");
    stage.assert_primary("node2", 2, 2);
    let ledger = writer.finish();
    eprintln!("outage {:?}", ledger.outage(fault).unwrap().length());
    assert!(stage.assert_all_kept(&ledger, "node2") >= 50);
    assert!(
        log(&stage, "node2").contains("keepalived says MASTER: promoted: node2 is the primary of term 2")
    );
    // The lease is renewed by the guard for as long as this node serves: three lifetimes.
    let begun = now();
    while now().since(begun) < Duration::from_secs(9) {
        assert!(stage.holds("node2"), "{}", log(&stage, "node2"));
        stage.lab.patience().pause(Duration::from_millis(100)).unwrap();
    }
    let said = log(&stage, "node2");
    assert_eq!(said.matches("is the current primary").count(), 0, "no line for what goes on:\n{said}");
}

#[test]
fn a_keepalived_that_is_stopped_hands_over_and_its_hooks_outlive_it() {
    let stage = stage("ka-stop", "prefer");
    let _logs = Logs(&stage);
    let mut running = start_all(&stage.lab).unwrap();
    stage.until_only_holder("node1");
    let writer = stage.writer();
    let asked = now();
    running.remove(0).stop().unwrap();
    stage.until_commits(&writer, "node2", asked);
    stage.until_only_holder("node2");
    stage.until("node1 to be stopped", || stage.server_processes("node1").is_empty().then_some(()));
    stage.assert_primary("node2", 2, 2);
    let ledger = writer.finish();
    assert_eq!(stage.verify(&ledger, "node2").lost, 0, "the old primary stopped before the promotion");
    until_said(
        &stage,
        "node1",
        "PostgreSQL is stopped and the virtual IP down: keepalived says STOP on this node",
    );
    stage.until("the guard of node1 to end", || guards(&stage, "node1").is_empty().then_some(()));
}

#[test]
fn the_pipe_of_keepalived_tells_the_same() {
    let stage = stage("ka-fifo", "prefer");
    let _logs = Logs(&stage);
    let mut running = Vec::new();
    for name in ["node1", "node2"] {
        let pipe = stage.host(name).directory.join("notify.fifo").display().to_string();
        // The hook becomes the reader of a pipe.
        let config = configure(&stage.lab, name, "elector", |text| {
            let line = text.lines().find(|line| line.trim_start().starts_with("notify ")).unwrap().to_owned();
            let script = line.trim().strip_prefix("notify \"").unwrap().strip_suffix('"').unwrap().to_owned();
            let fifo = format!(
                "    vrrp_notify_fifo {pipe}\n    vrrp_notify_fifo_script \"{script} --instance article --fifo\"\n"
            );
            text.replace(&format!("{line}\n"), "")
                .replace("    script_user root\n", &format!("    script_user root\n{fifo}"))
        });
        running.push(Keepalived::start(stage.host(name), &config.unwrap()).unwrap());
        stage.until_only_holder("node1");
    }
    let writer = stage.writer();
    let asked = now();
    running.remove(0).stop().unwrap();
    stage.until_commits(&writer, "node2", asked);
    stage.until_only_holder("node2");
    stage.assert_primary("node2", 2, 2);
    assert_eq!(stage.verify(&writer.finish(), "node2").lost, 0);
    until_said(&stage, "node1", "keepalived says STOP");
}

#[test]
fn late_and_overlapping_hooks_change_nothing_that_is_not_so_now() {
    let stage = stage("ka-late", "prefer");
    let _logs = Logs(&stage);
    marker(&stage, "node1", true);
    ended_well(hook(&stage, "node1", &["INSTANCE", "article", "MASTER", "200"]));
    stage.until_only_holder("node1");
    assert!(!stage.host("node1").in_recovery().unwrap());
    // Late ones on the node that serves, and MASTER on the one that isn't any more; all at the same time.
    let words = |state: &'static str| ["INSTANCE", "article", state, "190"];
    let mut hooks: Vec<Child> = Vec::new();
    for state in ["BACKUP", "FAULT", "STOP", "MASTER", "STOP", "BACKUP"] {
        hooks.push(hook(&stage, "node1", &words(state)));
        hooks.push(hook(&stage, "node2", &words(state)));
        hooks.push(hook(&stage, "node2", &words("MASTER")));
    }
    hooks.into_iter().for_each(ended_well);
    stage.until("node2's hooks to end", || guards(&stage, "node2").is_empty().then_some(()));
    stage.until("one guard on node1", || (guards(&stage, "node1").len() == 1).then_some(()));
    assert_eq!(stage.lab.holders().unwrap(), ["node1"]);
    assert!(!stage.host("node1").in_recovery().unwrap());
    assert!(stage.host("node2").in_recovery().unwrap());
    // Two that are MASTER: the primary that lives is not taken over, and its virtual IP stays where it is.
    marker(&stage, "node2", true);
    ended_well(hook(&stage, "node2", &["master"]));
    until_said(&stage, "node2", "not promoting: node \"node1\" is alive as a primary");
    assert_eq!(stage.lab.holders().unwrap(), ["node1"]);
    assert!(stage.host("node2").in_recovery().unwrap());
    // When it leaves, the one that was refused is heard: nobody has to tell it again.
    marker(&stage, "node1", false);
    ended_well(hook(&stage, "node1", &["INSTANCE", "article", "FAULT", "200"]));
    stage.until_only_holder("node2");
    stage.assert_primary("node2", 2, 2);
    assert!(stage.host("node1").data_directory.join("pgbaton.needs_check").exists());
}

#[test]
fn a_hook_that_is_killed_at_any_moment_leaves_work_that_the_next_one_finishes() {
    let stage = stage("ka-killed", "prefer");
    let _logs = Logs(&stage);
    marker(&stage, "node1", true);
    ended_well(hook(&stage, "node1", &["MASTER"]));
    stage.until_only_holder("node1");
    stage.host("node1").power_off().unwrap();
    marker(&stage, "node2", true);
    for millis in [0, 20, 60, 120, 200, 300] {
        let child = hook(&stage, "node2", &["INSTANCE", "article", "MASTER", "190"]);
        stage.lab.patience().pause(Duration::from_millis(millis)).unwrap();
        // As at the end of keepalived's control group: the hook and what it has started.
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGKILL).ok();
        for guard in guards(&stage, "node2") {
            kill(guard, Signal::SIGKILL).ok();
        }
        child.wait_with_output().unwrap();
    }
    let left = guards(&stage, "node2");
    for guard in left {
        kill(guard, Signal::SIGKILL).ok();
    }
    // What isn't renewed goes away by itself, also with everything killed.
    stage.until("the lease to end", || (!stage.holds("node2")).then_some(()));
    ended_well(hook(&stage, "node2", &["INSTANCE", "article", "MASTER", "190"]));
    stage.until_only_holder("node2");
    stage.assert_primary("node2", 2, 2);
    // SIGTERM isn't heeded before what is under way is done; then the guard ends, and so does the lease.
    for guard in guards(&stage, "node2") {
        kill(guard, Signal::SIGTERM).unwrap();
    }
    stage.until("the guard to end", || guards(&stage, "node2").is_empty().then_some(()));
    assert!(!stage.host("node2").in_recovery().unwrap());
}

#[test]
fn silence_is_no_proof_for_a_hook_either() {
    let stage = stage("ka-hold", "hold");
    let _logs = Logs(&stage);
    marker(&stage, "node1", true);
    ended_well(hook(&stage, "node1", &["MASTER"]));
    stage.until_only_holder("node1");
    stage.host("node1").power_off().unwrap();
    marker(&stage, "node2", true);
    ended_well(hook(&stage, "node2", &["MASTER"]));
    until_said(&stage, "node2", "not promoting: nothing proves that the old primary is dead");
    assert!(stage.host("node2").in_recovery().unwrap());
    // The old primary's namespace outlives its power: the address there goes with its lease, and nobody takes it.
    stage.until("the lease to end", || {
        let holders = stage.lab.holders().unwrap();
        assert!(!holders.contains(&"node2"), "{holders:?}");
        holders.is_empty().then_some(())
    });
    let output = notify_once(&stage, "node2", "MASTER");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((report["changed"].as_bool(), report["verb"].as_str()), (Some(false), Some("notify")));
    // The operator knows better, and says so; the hook that waits puts the virtual IP up.
    let forced = stage.pgbaton("node2", &["pg", "promote", "--force", "proof-of-death"]);
    assert!(forced.status.success(), "{}", forced.complaint());
    stage.until_only_holder("node2");
    let again =
        stage.pgbaton("node2", &["--json", "notify", "master", "--dry-run", "--marker", "127.112.0.51"]);
    let report: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(report["changed"], false, "{report}");
}

#[test]
fn a_primary_that_was_frozen_stops_itself_when_it_hears_of_the_newer_epoch() {
    let stage = stage("ka-freeze", "prefer");
    let _logs = Logs(&stage);
    let _running = start_all(&stage.lab).unwrap();
    stage.until_only_holder("node1");
    stage.host("node1").freeze().unwrap();
    stage.until("node2 to be promoted", || log(&stage, "node2").contains("promoted: node2").then_some(()));
    stage.host("node1").thaw();
    until_said(
        &stage,
        "node1",
        "PostgreSQL is stopped and the virtual IP down: the data of node \"node2\" is of term 2",
    );
    stage.until_only_holder("node2");
    assert_eq!(stage.server_processes("node1"), [""; 0]);
    stage.assert_primary("node2", 2, 2);
}

#[test]
fn a_hook_beside_the_daemon_is_refused_and_one_that_says_nonsense_is_told_so() {
    let stage = Stage::new("ka-daemon");
    let output = notify_once(&stage, "node1", "MASTER");
    assert_eq!(output.status.code(), Some(3), "{}", output.complaint());
    assert!(output.complaint().contains("looks after this node") || !output.stdout.is_empty());
    let output = stage.pgbaton("node1", &["notify", "INSTANCE", "article", "WINNING", "1"]);
    assert_eq!(output.status.code(), Some(2), "{}", output.complaint());
    // From a real hook the refusal comes back as its own exit status.
    let refused = hook(&stage, "node1", &["MASTER"]).wait_with_output().unwrap();
    assert!(refused.status.success(), "the work has begun; its log tells the rest");
    until_said(&stage, "node1", "looks after this node");
}

#[test]
fn keepalived_accepts_what_is_generated() {
    let stage = stage("ka-generate", "hold");
    for style in ["elector", "classic"] {
        let config = configure(&stage.lab, "node1", style, |text| text).unwrap();
        let mut command = Command::new(pgbaton::demo::keepalived::PROGRAM);
        command.args(["-t", "-f"]).arg(&config);
        let spawn = Spawn::new(command).netns(&stage.host("node1").namespace.path()).unwrap();
        let output = run_spawn(spawn, Deadline::after(LIMIT)).unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{style}: {}\n{said}", std::fs::read_to_string(&config).unwrap());
        assert_eq!(said.trim(), "", "{style}");
    }
    require_machine();
}
