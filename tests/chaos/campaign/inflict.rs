//! Faults carried out on the lab, and undone.
//!
//! What isn't possible without harm to the machine that runs this, and so isn't here: a jump of the clock (time
//! namespaces fix their offset when they are made) and a disk that is slow to read. A disk that is slow to
//! write is stood in for by `commit_delay`, which makes every flush of a primary's log wait.

use super::fault::{Fault, Kind};
use nix::sys::signal::{Signal, kill};
use pgbaton::demo::host::{Host, Rights};
use pgbaton::demo::lab::Lab;
use pgbaton::demo::namespace::{Namespace, signal_all};
use pgbaton::host::clock::now;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What fills the disk.
const FILL: &str = "fill";

/// The faults that are in force.
#[derive(Debug, Default)]
pub struct Harm {
    rules: BTreeMap<usize, String>,
    slowed: bool,
}

impl Harm {
    /// Carries out fault number `id` of a script. What it needs and isn't there any more, isn't harmed.
    pub fn inflict(&mut self, lab: &Lab, id: usize, fault: &Fault, host: &Host, other: &Host) {
        let daemon = |signal| {
            if let Some(pid) = host.daemon_pid() {
                let _ = kill(pid, signal);
            }
        };
        let (name, far) = (&host.name, &other.name);
        match fault.kind {
            Kind::Power => {
                host.power_off().unwrap();
            }
            Kind::Postmaster => {
                let _ = host.kill_postmaster();
            }
            Kind::Backend => {
                let postmaster = host.postmaster().ok();
                let mut children = host.server_pids();
                children.retain(|pid| Some(*pid) != postmaster);
                if let Some(pid) =
                    children.get(usize::try_from(fault.percent).unwrap() % children.len().max(1))
                {
                    let _ = kill(*pid, Signal::SIGKILL);
                }
            }
            Kind::Daemon => daemon(Signal::SIGKILL),
            Kind::DaemonStop => daemon(Signal::SIGTERM),
            Kind::FreezeHost => {
                host.freeze().unwrap();
            }
            Kind::FreezeDaemon => daemon(Signal::SIGSTOP),
            Kind::FreezePostgres => freeze_server(host),
            Kind::Link => {
                host.set_link(false).unwrap();
            }
            Kind::Cut => {
                host.cut().unwrap();
            }
            Kind::Deaf => self.rule(lab, id, format!("oifname \"{name}\" drop")),
            Kind::Mute => self.rule(lab, id, format!("iifname \"{name}\" drop")),
            Kind::Pair => self.rule(
                lab,
                id,
                format!(
                    "iifname \"{name}\" oifname \"{far}\" drop\niifname \"{far}\" oifname \"{name}\" drop"
                ),
            ),
            Kind::Loss => {
                let lost = format!("numgen random mod 100 < {} drop", fault.percent);
                self.rule(lab, id, format!("iifname \"{name}\" {lost}\noifname \"{name}\" {lost}"));
            }
            Kind::StopFast => stop(host, "fast"),
            Kind::StopImmediate => stop(host, "immediate"),
            Kind::SlowDisk => {
                self.slowed = true;
                for text in ["commit_delay = 100000", "commit_siblings = 0"] {
                    let _ = host.sql(&format!("ALTER SYSTEM SET {text}"));
                }
                let _ = host.sql("SELECT pg_reload_conf()");
            }
            Kind::FullDisk if lab.options.disk.is_none() => {}
            Kind::FullDisk => fill(host),
            Kind::Resign => {
                let _ = host.resign();
            }
        }
    }

    /// Undoes a fault; what follows of itself (a start after a boot) is begun and not waited for.
    pub fn undo(&mut self, lab: &Lab, id: usize, fault: &Fault, host: &Host) {
        match fault.kind {
            Kind::Power => {
                host.set_link(true).unwrap();
                if fault.with_server {
                    host.start_server().unwrap();
                }
                ensure_daemon(lab, host);
            }
            Kind::Daemon | Kind::DaemonStop => ensure_daemon(lab, host),
            Kind::FreezeHost | Kind::FreezeDaemon | Kind::FreezePostgres => {
                host.thaw();
            }
            Kind::Link => {
                host.set_link(true).unwrap();
            }
            Kind::Cut => {
                host.heal().unwrap();
            }
            Kind::Deaf | Kind::Mute | Kind::Pair | Kind::Loss => {
                self.rules.remove(&id);
                self.apply(lab);
            }
            Kind::FullDisk => drop(std::fs::remove_file(host.directory.join(FILL))),
            Kind::SlowDisk => self.hasten(lab),
            Kind::Postmaster | Kind::Backend | Kind::StopFast | Kind::StopImmediate | Kind::Resign => {}
        }
    }

    /// Undoes everything that any fault may have left, and starts daemons that have ended, as systemd would.
    pub fn heal(&mut self, lab: &Lab) {
        if !std::mem::take(&mut self.rules).is_empty() {
            self.apply(lab);
        }
        for host in &lab.hosts {
            host.set_link(true).unwrap();
            host.heal().unwrap();
            host.thaw();
            drop(std::fs::remove_file(host.directory.join(FILL)));
            ensure_daemon(lab, host);
        }
        self.hasten(lab);
    }

    fn hasten(&mut self, lab: &Lab) {
        if !self.slowed {
            return;
        }
        let mut done = true;
        for host in &lab.hosts {
            for text in ["commit_delay", "commit_siblings"] {
                done &= host.sql(&format!("ALTER SYSTEM RESET {text}")).is_ok();
            }
            done &= host.sql("SELECT pg_reload_conf()").is_ok();
        }
        self.slowed = !done;
    }

    fn rule(&mut self, lab: &Lab, id: usize, rule: String) {
        self.rules.insert(id, rule);
        self.apply(lab);
    }

    /// Gives the switch all rules at once.
    fn apply(&self, lab: &Lab) {
        let rules: Vec<&str> = self.rules.values().map(String::as_str).collect();
        let text = format!(
            "table bridge chaos\ndelete table bridge chaos\ntable bridge chaos {{\nchain cuts {{\n\
             type filter hook forward priority 0; policy accept;\n{}\n}}\n}}\n",
            rules.join("\n")
        );
        let switch = Namespace::named(format!("{}net", lab.options.prefix));
        let mut command = Command::new("nft");
        command.args(["-f", "-"]).stdin(Stdio::piped());
        let told = switch.inside(move || {
            let mut child = command.spawn().expect("nft is installed (apt-get install nftables)");
            child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
            Ok(child.wait().unwrap())
        });
        assert!(told.unwrap().success(), "nft refuses the rules");
    }
}

/// Starts the daemon of a host that has none; a witness has a server instead, that its machine looks after.
pub fn ensure_daemon(lab: &Lab, host: &Host) {
    if lab.members().all(|member| member.name != host.name) {
        if host.server_pids().is_empty() {
            host.start_server().unwrap();
        }
    } else if host.daemon_pid().is_none() {
        host.start_daemon().unwrap();
    }
}

fn freeze_server(host: &Host) {
    let mut frozen = Vec::new();
    // One could fork between the look and the signal.
    for _ in 0..20 {
        let fresh: Vec<_> = host.server_pids().into_iter().filter(|pid| !frozen.contains(pid)).collect();
        if fresh.is_empty() {
            break;
        }
        signal_all(&fresh, Signal::SIGSTOP);
        frozen.extend(fresh);
    }
}

fn stop(host: &Host, manner: &str) {
    let program = pgbaton::demo::preflight::check(None).unwrap().bin_directory.join("pg_ctl");
    let data = host.data_directory.display().to_string();
    let words = ["stop", "-D", &data, "-m", manner, "-W", "-s"];
    let mut child =
        host.spawn(&program, &words, Rights::Postgres, &host.directory.join("pg_ctl.log")).unwrap();
    let _ = child.wait();
}

/// Fills the host's disk and has its server want a new segment.
fn fill(host: &Host) {
    let mut file = File::create(host.directory.join(FILL)).unwrap();
    let block = vec![0; 1 << 20];
    let begun = now();
    while file.write_all(&block).is_ok() && now().since(begun) < Duration::from_secs(10) {}
    for _ in 0..4 {
        if host.sql("SELECT pg_switch_wal()").is_err() {
            break;
        }
    }
}
