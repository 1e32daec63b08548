//! The two daemons, started with the same virtual routers.

use super::bed::Cable;
use crate::BINARY;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Engine {
    Pgbaton,
    Keepalived,
}

/// Virtual routers with neighbouring numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Instances {
    pub(super) first: u8,
    pub(super) count: u8,
    pub(super) priority: u8,
    pub(super) millis: u64,
}

impl Instances {
    fn numbers(&self) -> impl Iterator<Item = u8> {
        self.first..=self.first + (self.count - 1)
    }

    fn of_pgbaton(&self, home: &Path, realtime: bool) -> String {
        let mut text = format!("[cluster]\nname = \"t\"\nruntime_directory = \"{}\"\n", home.display());
        if realtime {
            text.push_str("\n[daemon]\nrealtime_priority = 50\nlock_memory = true\n");
        }
        for number in self.numbers() {
            write!(
                text,
                "\n[[instance]]\nname = \"v{number}\"\ninterface = \"port0\"\nvirtual_router_id = {number}\n\
                 priority = {}\nadvert_interval = \"{}ms\"\naddresses = [\"{}/16\"]\n",
                self.priority,
                self.millis,
                vip(number)
            )
            .unwrap();
        }
        text
    }

    fn of_keepalived(&self, realtime: bool) -> String {
        let mut text = "global_defs {\n  router_id bench\n  vrrp_garp_master_delay 5\n".to_owned();
        if realtime {
            text.push_str("  vrrp_rt_priority 50\n  vrrp_no_swap\n");
        }
        text.push_str("}\n");
        for number in self.numbers() {
            write!(
                text,
                "vrrp_instance v{number} {{\n  version 3\n  state BACKUP\n  interface port0\n  \
                 virtual_router_id {number}\n  priority {}\n  advert_int {}\n  virtual_ipaddress {{\n    {}/16\n  }}\n}}\n",
                self.priority,
                Duration::from_millis(self.millis).as_secs_f64(),
                vip(number)
            )
            .unwrap();
        }
        text
    }
}

/// The virtual address of a number.
pub(super) fn vip(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 77, 1, number).into()
}

/// A daemon that runs; it is killed when it goes out of scope.
pub(super) struct Running {
    child: Child,
    /// The process that does the work.
    worker: u32,
    home: PathBuf,
}

impl Running {
    pub(super) fn start(engine: Engine, cable: &Cable, end: usize, own: &Instances, realtime: bool) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let home = std::env::temp_dir().join(format!("pgbench-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&home).unwrap();
        let config = home.join("config");
        let mut command = match engine {
            Engine::Pgbaton => {
                std::fs::write(&config, own.of_pgbaton(&home, realtime)).unwrap();
                let mut command = Command::new(BINARY);
                command.args(["vrrp", "run", "--config"]).arg(&config);
                command
            }
            Engine::Keepalived => {
                std::fs::write(&config, own.of_keepalived(realtime)).unwrap();
                let mut command = Command::new("keepalived");
                command.args(["-n", "-P", "-l", "-f"]).arg(&config);
                command.arg("-p").arg(home.join("parent.pid")).arg("-r").arg(home.join("vrrp.pid"));
                command
            }
        };
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(std::fs::File::create(home.join("log")).unwrap());
        let child = cable.inside(end, || command.spawn().unwrap());
        let worker = match engine {
            Engine::Pgbaton => child.id(),
            Engine::Keepalived => number_in(&home.join("vrrp.pid")),
        };
        Self { child, worker, home }
    }

    pub(super) fn terminate(&self) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGTERM).unwrap();
    }

    /// Returns the CPU time that the process has used, all its threads together.
    pub(super) fn cpu(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.worker)).unwrap();
        tasks
            .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok())
            .filter_map(|text| text.split(' ').next()?.parse().ok())
            .map(Duration::from_nanos)
            .sum()
    }

    /// Returns what the resident memory consists of, in MB.
    pub(super) fn profile(&self) -> BTreeMap<&'static str, f64> {
        let directory = format!("/proc/{}", self.worker);
        let own = std::fs::read_link(format!("{directory}/exe")).unwrap().display().to_string();
        let text = std::fs::read_to_string(format!("{directory}/smaps")).unwrap();
        let kinds = [
            "code of the program",
            "its constants",
            "its data, and what the loader wrote",
            "shared libraries",
            "heap",
            "stacks and other memory",
        ];
        let mut parts: BTreeMap<_, _> = kinds.iter().map(|kind| (*kind, 0.0)).collect();
        let mut kind = kinds[0];
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let ["Rss:", kilobytes, _] = words[..] {
                *parts.get_mut(kind).unwrap() += kilobytes.parse::<f64>().unwrap() * 1024.0 / 1e6;
            } else if words[0].contains('-') {
                kind = match words[5..] {
                    [file] if file == own && words[1] == "r-xp" => kinds[0],
                    [file] if file == own && words[1] == "r--p" && words[2] == "00000000" => kinds[1],
                    [file] if file == own => kinds[2],
                    [file] if file.starts_with('/') => kinds[3],
                    ["[heap]"] => kinds[4],
                    _ => kinds[5],
                };
            }
        }
        parts
    }

    /// Returns a line of the working process's memory, in MB.
    pub(super) fn memory(&self, field: &str) -> f64 {
        memory_of(self.worker, field)
    }

    /// Returns a line of the memory of the whole daemon, its parent included, in MB.
    pub(super) fn memory_of_all(&self, field: &str) -> f64 {
        let parent = (self.child.id() != self.worker).then(|| memory_of(self.child.id(), field));
        memory_of(self.worker, field) + parent.unwrap_or(0.0)
    }
}

fn memory_of(process: u32, field: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("{field}:"))).unwrap_or_default();
    let kilobytes: f64 = line.split_whitespace().nth(1).and_then(|kb| kb.parse().ok()).unwrap_or(f64::NAN);
    kilobytes * 1024.0 / 1e6
}

impl Drop for Running {
    fn drop(&mut self) {
        // keepalived's parent ends its child; a dead parent would leave it for a moment.
        self.terminate();
        let patience = Instant::now() + Duration::from_secs(10);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.child.kill().ok();
        self.child.wait().ok();
        std::fs::remove_dir_all(&self.home).ok();
    }
}

fn number_in(file: &Path) -> u32 {
    let patience = Instant::now() + Duration::from_secs(20);
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if let Ok(number) = text.trim().parse() {
            return number;
        }
        assert!(Instant::now() < patience, "{} isn't written", file.display());
        std::thread::sleep(Duration::from_millis(1));
    }
}
