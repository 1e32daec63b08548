//! A real cluster for one test: two hosts in network namespaces with real servers, daemons and a client.
//!
//! At most [`SEATS`] labs live at once, however many test threads there are. When a test fails, the daemons' records
//! and the ends of all logs are printed. A machine that can't run a lab fails the test with the reason.

use pgbaton::demo::client::{Ledger, Manner, Verdict, Writer, rows_present};
use pgbaton::demo::control::Event;
use pgbaton::demo::host::Host;
use pgbaton::demo::lab::{Lab, LabOptions, VIP};
use pgbaton::demo::patience::Patience;
use pgbaton::demo::preflight;
use pgbaton::host::clock::Deadline;
use pgbaton::host::process::{Output, run_spawn};
use pgbaton::host::spawn::Spawn;
use pgbaton::net::caps::Needs;
use pgbaton::pg::local::INTENT_FILE;
use pgbaton::units::Moment;
use serde_json::Value;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How many labs may live at once.
const SEATS: usize = 2;
/// Long enough for a loaded machine; nothing waits for it unless it fails.
pub const LIMIT: Duration = Duration::from_secs(60);
/// The binary that is tested.
pub const BINARY: &str = env!("CARGO_BIN_EXE_pgbaton");

static TAKEN: Mutex<usize> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

/// The right to run a lab.
#[derive(Debug)]
pub struct Seat(());

impl Seat {
    /// Waits until a lab may be built.
    pub fn take() -> Self {
        let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = FREED.wait_while(taken, |taken| *taken >= SEATS).unwrap();
        *taken += 1;
        Self(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        FREED.notify_one();
    }
}

/// Returns where the server's programs are; fails the test when this machine can't run a lab.
pub fn require_machine() -> preflight::Machine {
    assert!(
        nix::unistd::geteuid().is_root(),
        "this test builds network namespaces and runs PostgreSQL as another user: run it as root"
    );
    match preflight::check(None) {
        Ok(machine) => machine,
        Err(error) => panic!("this machine can't run a lab: {error}; {}", error.hints().join("; ")),
    }
}

/// Returns the options of a lab that shares nothing with other tests' labs.
pub fn options(name: &str) -> LabOptions {
    require_machine();
    let mut options = LabOptions::new(PathBuf::from(BINARY));
    options.prefix = format!("pgbt-{name}-");
    options.base = PathBuf::from(format!("/var/lib/pgbaton-test/{name}"));
    options.template = Some(PathBuf::from("/var/lib/pgbaton-test/template"));
    // Quick enough for a test, slow enough for a machine with other work.
    options.advert = Duration::from_millis(400);
    options
}

/// A lab with its seat.
#[derive(Debug)]
pub struct Stage {
    /// The lab.
    pub lab: Lab,
    /// Given back after the lab has gone.
    _seat: Seat,
}

impl Stage {
    /// Builds a lab: both servers stream, both daemons run, node1 serves.
    pub fn new(name: &str) -> Self {
        Self::with(name, |_| {})
    }

    /// Builds a lab with other options.
    pub fn with(name: &str, adjust: impl FnOnce(&mut LabOptions)) -> Self {
        let mut options = options(name);
        adjust(&mut options);
        let seat = Seat::take();
        let daemons = options.daemons;
        let lab = match Lab::create(options, Arc::new(Patience::endless()), &|_| {}) {
            Ok(lab) => lab,
            Err(error) => panic!("the lab isn't built: {error}"),
        };
        let stage = Self { lab, _seat: seat };
        if daemons {
            stage.until_serving("node1");
            stage.until("node2 to hear node1", || {
                (stage.status("node2").pointer("/vrrp/active_node")? == "node1").then_some(())
            });
        }
        stage
    }

    /// Returns a host.
    pub fn host(&self, name: &str) -> &Host {
        self.lab.host(name).unwrap()
    }

    /// Waits for something, looking again and again.
    pub fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        match self.lab.patience().until(what, LIMIT, || Ok(look())) {
            Ok(found) => found,
            Err(error) => panic!("{error}"),
        }
    }

    /// Waits until a daemon says that it serves and the kernel has the address.
    pub fn until_serving(&self, name: &str) {
        self.until_phase(name, "serving");
        self.until(&format!("the address on {name}"), || self.holds(name).then_some(()));
    }

    /// Waits until a daemon is in a phase.
    pub fn until_phase(&self, name: &str, phase: &str) {
        self.until(&format!("{name} to be {phase}"), || {
            (self.status(name).get("phase")? == phase).then_some(())
        });
    }

    /// Waits until exactly this host has the virtual address.
    pub fn until_only_holder(&self, name: &str) {
        self.until(&format!("the address on {name} only"), || {
            (self.lab.holders().unwrap() == [name]).then_some(())
        });
    }

    /// Waits until a daemon has recorded a sign (see [`sign`]) since a moment, and returns the event.
    pub fn until_sign(&self, name: &str, wanted: &str, since: Moment) -> Event {
        self.until(&format!("{wanted} on {name}"), || {
            self.events_since(name, since).into_iter().find(|event| fits(event, wanted))
        })
    }

    /// Returns a daemon's status document; null when it doesn't answer.
    pub fn status(&self, name: &str) -> Value {
        self.host(name).status().unwrap_or_default()
    }

    /// Returns a counter of a daemon's statistics.
    pub fn counter(&self, name: &str, counter: &str) -> u64 {
        let stats = pgbaton::demo::control::ask(&self.host(name).control_socket, "stats").unwrap_or_default();
        stats.pointer(&format!("/counters/{counter}")).and_then(Value::as_u64).unwrap_or(0)
    }

    /// Returns what a daemon has recorded; nothing when it doesn't answer.
    pub fn events(&self, name: &str) -> Vec<Event> {
        self.host(name).events().unwrap_or_default()
    }

    /// Returns what a daemon has recorded since a moment.
    pub fn events_since(&self, name: &str, since: Moment) -> Vec<Event> {
        self.events(name).into_iter().filter(|event| event.at >= since).collect()
    }

    /// Returns whether a host has the virtual address.
    pub fn holds(&self, name: &str) -> bool {
        self.host(name).has_address(IpAddr::V4(VIP)).unwrap()
    }

    /// Returns the first column of the first row; empty for NULL and for no row.
    pub fn ask(&self, name: &str, sql: &str) -> String {
        match self.host(name).sql_value(sql) {
            Ok(value) => value.unwrap_or_default(),
            Err(error) => panic!("{name}: {sql}: {error}"),
        }
    }

    /// Starts the client and waits until it has written enough.
    pub fn writer(&self) -> Writer {
        let writer = Writer::start(&self.lab.client, "client", self.lab.vip(), Manner::Eager).unwrap();
        self.until("200 rows", || writer.look(|ledger| ledger.acknowledged.len() >= 200).then_some(()));
        writer
    }

    /// Waits until the client's rows are acknowledged by `name` after a moment.
    pub fn until_commits(&self, writer: &Writer, name: &str, since: Moment) {
        self.until(&format!("50 commits on {name}"), || {
            (writer.look(|ledger| ledger.count_by(name, since)) >= 50).then_some(())
        });
    }

    /// Compares the ledger with the rows that a host has.
    pub fn verify(&self, ledger: &Ledger, name: &str) -> Verdict {
        ledger.verify(&rows_present(&self.host(name).server_socket(), "client", LIMIT).unwrap())
    }

    /// Asserts that every row that `name` has acknowledged is there, and returns how many those are.
    pub fn assert_all_kept(&self, ledger: &Ledger, name: &str) -> usize {
        let present = rows_present(&self.host(name).server_socket(), "client", LIMIT).unwrap();
        let own: Vec<u64> = ledger
            .acknowledged
            .iter()
            .filter(|found| ledger.server_name(found.server) == name)
            .map(|found| found.id)
            .collect();
        let lost: Vec<&u64> = own.iter().filter(|id| !present.contains(id)).collect();
        assert!(lost.is_empty(), "{name} has acknowledged and lost {lost:?}");
        own.len()
    }

    /// Runs the binary on a host as root would, with the lab's settings.
    pub fn pgbaton(&self, name: &str, arguments: &[&str]) -> Output {
        self.pgbaton_as(name, None, arguments)
    }

    /// Runs the binary on a host as account `postgres` with these capabilities.
    pub fn pgbaton_as(&self, name: &str, rights: Option<&[Needs]>, arguments: &[&str]) -> Output {
        let mut command = Command::new(BINARY);
        command.arg("--config").arg(self.lab.config()).args(["--node", name, "--color", "never"]);
        command.args(arguments).current_dir("/");
        let mut spawn = Spawn::new(command).netns(&self.host(name).namespace.path()).unwrap();
        if let Some(rights) = rights {
            let user = require_machine().postgres;
            spawn = spawn.user(user.uid.as_raw(), user.gid.as_raw()).capabilities(rights);
        }
        run_spawn(spawn, Deadline::after(LIMIT)).unwrap()
    }

    /// Asserts that this host is the confirmed primary of a term: timeline, epoch row, start protection, address.
    pub fn assert_primary(&self, name: &str, term: u64, timeline: u32) {
        let host = self.host(name);
        assert_eq!(self.ask(name, "SELECT pg_is_in_recovery()"), "f");
        let now = "SELECT ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int";
        assert_eq!(self.ask(name, now), timeline.to_string(), "the timeline of {name}");
        let newest = "SELECT term || ' ' || node FROM pgbaton.epoch ORDER BY term DESC, change DESC LIMIT 1";
        assert_eq!(self.ask(name, newest), format!("{term} {name}"), "the newest epoch");
        let once = format!("SELECT count(*) FROM pgbaton.epoch WHERE term = {term}");
        assert_eq!(self.ask(name, &once), "1", "rows of term {term}");
        assert!(host.data_directory.join("standby.signal").exists(), "{name} would start writable by itself");
        self.until("the intent to be taken away", || {
            (!host.data_directory.join(INTENT_FILE).exists()).then_some(())
        });
        assert!(self.holds(name), "{name} doesn't have the address");
    }

    /// Returns the server processes that live on a host.
    pub fn server_processes(&self, name: &str) -> Vec<String> {
        let named = |pid: nix::unistd::Pid| {
            let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
            // A zombie's command line is empty: it writes nothing any more.
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            (comm.trim() == "postgres" && !line.is_empty())
                .then(|| format!("{pid} {}", String::from_utf8_lossy(&line).replace('\0', " ")))
        };
        self.host(name).namespace.processes().into_iter().filter_map(named).collect()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for host in &self.lab.hosts {
            eprintln!("--- {}: events", host.name);
            for event in self.events(&host.name) {
                eprintln!("{:>14} {} {}", event.at.as_nanos() / 1_000_000, sign(&event), event.text);
            }
            for log in [host.daemon_log(), host.server_log()] {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                eprintln!("--- {}\n{}", log.display(), lines[lines.len().saturating_sub(40)..].join("\n"));
            }
        }
        eprintln!("--- the address is on {:?}", self.lab.holders());
    }
}

/// Returns an event's kind with what tells it from others of the kind: `decision:promote`, `step-done:announce`,
/// `state:BACKUP`.
pub fn sign(event: &Event) -> String {
    let told = ["verdict", "step", "state"].iter().find_map(|field| event.text_field(field));
    told.map_or_else(|| event.kind.clone(), |told| format!("{}:{told}", event.kind))
}

/// Returns whether an event has this sign, or is of this kind.
pub fn fits(event: &Event, wanted: &str) -> bool {
    event.kind == wanted || sign(event) == wanted
}

/// Asserts that these signs are in the record in this order, other events between them allowed.
pub fn assert_order(events: &[Event], wanted: &[&str]) {
    let mut rest = events.iter();
    for one in wanted {
        assert!(
            rest.any(|event| fits(event, one)),
            "{one} is missing or out of order in {:#?}",
            events.iter().map(sign).collect::<Vec<_>>()
        );
    }
}

/// Asserts that none of these signs is in the record.
pub fn assert_none(events: &[Event], unwanted: &[&str]) {
    for one in unwanted {
        if let Some(found) = events.iter().find(|event| fits(event, one)) {
            panic!("{one}: {}, in {:#?}", found.text, events.iter().map(sign).collect::<Vec<_>>());
        }
    }
}
