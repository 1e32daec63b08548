//! The campaign: a real cluster, clients, faults, and a judge.
//!
//! A run is: draw faults from the seed and the run's number, carry them out, undo them, wait until the cluster
//! is whole, read the rows, judge. Runs follow each other on one cluster; after a run that went wrong a new one
//! is built. The judge sees records only: what the clients wrote down, who had the address when, which rows are
//! there.

pub mod checker;
pub mod client;
pub mod dice;
pub mod fault;
pub mod inflict;
pub mod operator;
pub mod watch;

use crate::BINARY;
use checker::{Measures, Memory, Promise, Records, RowId, Violation, Witness};
use client::{Client, Manner};
use fault::{Fault, Kind, Menu, Target};
use inflict::Harm;
use operator::{Person, Server, server, whole};
use pgbaton::demo::host::Host;
use pgbaton::demo::lab::{Lab, LabOptions};
use pgbaton::demo::patience::Patience;
use pgbaton::host::clock::{Deadline, now};
use pgbaton::units::Moment;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use watch::Watch;

/// What a cluster is set up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Two nodes, asynchronous, `availability = "prefer"`.
    Prefer,
    /// Two nodes, asynchronous, `availability = "hold"`.
    Hold,
    /// Two data nodes, strictly synchronous.
    Sync2,
    /// Three data nodes, synchronous.
    Sync3,
    /// Two data nodes and a witness, synchronous while both are up.
    SyncWitness,
    /// Two data nodes and a witness, asynchronous under a lease.
    AsyncWitness,
}

/// All of them, with the names that a command line takes.
pub const MODES: [(Mode, &str); 6] = [
    (Mode::Prefer, "prefer"),
    (Mode::Hold, "hold"),
    (Mode::AsyncWitness, "async-witness"),
    (Mode::Sync2, "sync2"),
    (Mode::SyncWitness, "sync-witness"),
    (Mode::Sync3, "sync3"),
];

impl Mode {
    /// Returns the name on the command line.
    pub fn name(self) -> &'static str {
        MODES.iter().find(|(mode, _)| *mode == self).unwrap().1
    }

    /// Returns whether nothing acknowledged may be lost.
    pub fn is_lossless(self) -> bool {
        matches!(self, Self::Sync2 | Self::Sync3 | Self::SyncWitness)
    }

    /// Returns whether no two nodes may acknowledge beside each other.
    pub fn has_one_writer(self) -> bool {
        self.is_lossless() || self == Self::AsyncWitness
    }

    /// Returns whether the third host is a witness.
    pub fn has_witness(self) -> bool {
        matches!(self, Self::SyncWitness | Self::AsyncWitness)
    }

    /// Returns whether the product promises to be whole again without a person.
    pub fn heals_itself(self) -> bool {
        self.has_one_writer()
    }
}

/// How a campaign is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The set-up.
    pub mode: Mode,
    /// Where chance begins.
    pub seed: u64,
    /// What may happen.
    pub kinds: Vec<Kind>,
    /// The longest that a fault lasts.
    pub longest: Duration,
    /// In how many of a hundred runs two faults come together.
    pub double: u64,
    /// `Some`: the target of every fault.
    pub target: Option<Target>,
    /// The advert interval.
    pub advert: Duration,
    /// How long the cluster may take to be whole again.
    pub patience: Duration,
    /// The name of the lab, which no other lab on this machine bears.
    pub name: String,
    /// Where the logs of a run that went wrong are kept.
    pub logs: PathBuf,
}

/// The lifetime of the virtual IP in the kernel.
const LEASE: Duration = Duration::from_secs(2);
/// What the address may stay longer than its lease on a node that can't write: to notice that (2 s at most,
/// `isolation_timeout`), and to act, under load.
const SLACK: Duration = Duration::from_secs(6);
/// A host's disk.
const DISK: u64 = 1536 << 20;
/// Little log, so that many runs fit on it, and many copies.
const SERVER: &str = "max_wal_size = '96MB'\nmin_wal_size = '32MB'\nwal_keep_size = '16MB'\n";

impl Options {
    /// Returns the usual campaign of a mode.
    pub fn new(mode: Mode, seed: u64) -> Self {
        Self {
            mode,
            seed,
            kinds: fault::KINDS.iter().map(|(kind, _)| *kind).collect(),
            longest: Duration::from_secs(6),
            double: 15,
            target: None,
            advert: Duration::from_millis(200),
            patience: Duration::from_secs(45),
            name: format!("chaos-{}", mode.name()),
            logs: std::env::temp_dir().join("pgbaton-chaos"),
        }
    }

    /// Returns what may be drawn.
    pub fn menu(&self) -> Menu {
        Menu {
            kinds: self.kinds.clone(),
            standbys: if self.mode == Mode::Sync3 || self.mode.has_witness() { 2 } else { 1 },
            longest: self.longest,
            double: self.double,
            target: self.target,
        }
    }

    fn lab(&self) -> LabOptions {
        LabOptions {
            prefix: format!("pgbt-{}-", self.name),
            base: PathBuf::from(format!("/var/lib/pgbaton-test/{}", self.name)),
            template: Some(PathBuf::from("/var/lib/pgbaton-test/template")),
            spare: self.mode == Mode::Sync3,
            witness: self.mode.has_witness(),
            advert: self.advert,
            availability: if self.mode == Mode::Prefer { "prefer" } else { "hold" }.to_owned(),
            lease: Some(format!("{}s", LEASE.as_secs())),
            sync: self.mode.is_lossless(),
            extra_server_settings: SERVER.to_owned(),
            disk: Some(DISK),
            ..LabOptions::new(PathBuf::from(BINARY))
        }
    }
}

/// What became of a run.
#[derive(Debug, Clone)]
pub struct Report {
    /// Its number.
    pub run: u64,
    /// What was done to whom.
    pub story: String,
    /// What was measured.
    pub measures: Measures,
    /// What must not be.
    pub violations: Vec<Violation>,
    /// Who served in the end.
    pub primary: String,
    /// From the healing until the cluster was whole.
    pub settled_in: Duration,
    /// What a person had to type.
    pub typed: Vec<String>,
}

/// A campaign on one cluster.
#[derive(Debug)]
pub struct Campaign {
    options: Options,
    // Clients and watches end before the lab goes.
    clients: Vec<(Client, Option<String>)>,
    watches: Vec<Watch>,
    memory: Memory,
    lowest: BTreeMap<String, u64>,
    harm: Harm,
    lab: Lab,
}

impl Campaign {
    /// Builds the cluster and starts the clients.
    pub fn build(options: Options) -> Self {
        let lab = match Lab::create(options.lab(), Arc::new(Patience::endless()), &|_| {}) {
            Ok(lab) => lab,
            Err(error) => panic!("the lab isn't built: {error} {:?}", error.hints()),
        };
        let deadline = Deadline::after(options.patience);
        while let Err(why) = whole(&lab) {
            assert!(!deadline.passed(), "a fresh cluster isn't whole: {why}");
            lab.patience().pause(Duration::from_millis(20)).unwrap();
        }
        let manner = |pause, give_up: Option<u64>| Manner {
            pause: Duration::from_millis(pause),
            give_up: give_up.map(Duration::from_millis),
        };
        let vip = lab.vip();
        let free = [("c1", manner(8, Some(400))), ("c2", manner(23, Some(2500))), ("c3", manner(40, None))];
        let mut clients: Vec<(Client, Option<String>)> = free
            .into_iter()
            .map(|(name, manner)| (Client::start(&lab.client, name, vip, manner), None))
            .collect();
        for host in lab.members() {
            let own = SocketAddr::from((host.address, 5432));
            let name = format!("at-{}", host.name);
            let client = Client::start(&host.namespace, &name, own, manner(50, Some(3000)));
            clients.push((client, Some(host.name.clone())));
        }
        let watches = lab.members().map(Watch::start).collect();
        let (memory, lowest) = (Memory::default(), BTreeMap::new());
        Self { options, clients, watches, memory, lowest, harm: Harm::default(), lab }
    }

    /// Does one run.
    pub fn run(&mut self, run: u64) -> Report {
        let script = fault::draw(&self.options.menu(), self.options.seed, run);
        self.play(run, &script)
    }

    /// Does one run with these faults.
    pub fn play(&mut self, run: u64, script: &[Fault]) -> Report {
        let primary = whole(&self.lab).map_or_else(|_| "node1".to_owned(), |host| host.name.clone());
        self.until_commits();
        let since = now();
        let story = self.strike(script, &primary, since);
        self.harm.heal(&self.lab);
        let healed = now();
        let (settled, typed, mut violations) = self.settle();
        if settled.is_some() && !self.until_commits() {
            let why = "nothing is acknowledged to the clients of the virtual IP".to_owned();
            violations.push(Violation::NotSettled { why });
        }
        let (measures, found) = self.judge(since, settled.unwrap_or_else(now), false);
        violations.extend(found);
        let primary = whole(&self.lab).map_or_else(|_| String::new(), |host| host.name.clone());
        let settled_in = settled.unwrap_or_else(now).since(healed);
        let report = Report { run, story, measures, violations, primary, settled_in, typed };
        if !report.violations.is_empty() {
            self.keep_logs(&report);
        }
        report
    }

    /// Carries out a script and undoes each fault in its time; returns what was done.
    fn strike(&mut self, script: &[Fault], primary: &str, since: Moment) -> String {
        let lab = &self.lab;
        let others: Vec<&Host> = lab.hosts.iter().filter(|host| host.name != primary).collect();
        let find = |target| match target {
            Target::Primary => lab.host(primary).unwrap(),
            Target::First => others[0],
            Target::Second => others[others.len() - 1],
        };
        let mut plan: Vec<(Duration, usize, bool)> = Vec::new();
        for (id, fault) in script.iter().enumerate() {
            plan.push((fault.after, id, true));
            plan.push((fault.after + fault.lasts, id, false));
        }
        plan.sort();
        let mut story: Vec<String> = Vec::new();
        for (after, id, begins) in plan {
            let fault = &script[id];
            let wait = after.saturating_sub(now().since(since));
            if begins || !fault.kind.is_a_moment() {
                self.lab.patience().pause(wait).unwrap();
            }
            let host = find(fault.target);
            if begins {
                story.push(format!("{fault} = {}", host.name));
                self.harm.inflict(lab, id, fault, host, find(fault.other));
            } else {
                self.harm.undo(lab, id, fault, host);
            }
        }
        story.join(" + ")
    }

    /// Waits until a client of the address gets an acknowledgement; returns whether it came.
    fn until_commits(&self) -> bool {
        let begun = now();
        let deadline = Deadline::after(self.options.patience);
        let fresh =
            |row: &client::Row| matches!(row.outcome, client::Outcome::Acknowledged { at, .. } if at > begun);
        let goes = |(client, pinned): &(Client, Option<String>)| {
            pinned.is_none() && client.look(|journal| journal.rows.iter().rev().take(50).any(fresh))
        };
        while !self.clients.iter().any(goes) {
            if deadline.passed() {
                return false;
            }
            self.lab.patience().pause(Duration::from_millis(5)).unwrap();
        }
        true
    }

    /// Waits until the cluster is whole; where the mode leaves that to a person, one helps.
    fn settle(&mut self) -> (Option<Moment>, Vec<String>, Vec<Violation>) {
        let deadline = Deadline::after(self.options.patience);
        let (mut person, mut violations) = (Person::new(), Vec::new());
        let alone = self.options.mode.heals_itself();
        // One look may catch the moment between two changes.
        let mut calm = 0;
        loop {
            let why = match whole(&self.lab) {
                Ok(_) if calm >= 3 => return (Some(now()), person.typed, violations),
                Ok(_) => {
                    calm += 1;
                    String::new()
                }
                Err(why) => {
                    calm = 0;
                    why
                }
            };
            if deadline.passed() {
                violations.push(Violation::NotSettled { why });
                return (None, person.typed, violations);
            }
            for host in &self.lab.hosts {
                inflict::ensure_daemon(&self.lab, host);
            }
            if !alone && calm == 0 {
                person.act(&self.lab);
            }
            self.lab.patience().pause(Duration::from_millis(20)).unwrap();
        }
    }

    /// Takes the records and judges them; `all` reads every row that was ever acknowledged.
    fn judge(&mut self, since: Moment, settled: Moment, all: bool) -> (Measures, Vec<Violation>) {
        let witnesses: Vec<Witness> = self
            .clients
            .iter()
            .map(|(client, pinned)| Witness {
                client: client.name.clone(),
                pinned: pinned.clone(),
                journal: client.look(Clone::clone),
            })
            .collect();
        let until = now();
        let Ok(primary) = whole(&self.lab) else { return (Measures::default(), Vec::new()) };
        let lowest = if all { BTreeMap::new() } else { self.lowest.clone() };
        let present = match present(primary, &witnesses, &lowest) {
            Ok(present) => present,
            Err(why) => {
                let why = format!("the rows of {} can't be read: {why}", primary.name);
                return (Measures::default(), vec![Violation::NotSettled { why }]);
            }
        };
        let tenures = self.watches.iter().map(|watch| (watch.host.clone(), watch.tenures())).collect();
        // The rows of this run are looked at once more after the next one.
        self.lowest = witnesses
            .iter()
            .map(|witness| {
                let before = witness.journal.rows.partition_point(|row| row.sent < since);
                (witness.client.clone(), u64::try_from(before.max(1)).unwrap())
            })
            .collect();
        let records = Records { witnesses, tenures, since, settled, until, present, lowest };
        let promise = Promise {
            lossless: self.options.mode.is_lossless(),
            one_writer: self.options.mode.has_one_writer(),
            vip: LEASE + SLACK,
        };
        checker::judge(&records, promise, &mut self.memory)
    }

    /// Ends the campaign: every row once more, on every node.
    pub fn finish(mut self) -> (Measures, Vec<Violation>) {
        let (measures, mut violations) = self.judge(now(), now(), true);
        let Ok(primary) = whole(&self.lab) else { return (measures, violations) };
        let free = self.clients.split_off(0);
        drop(free);
        let sum =
            "SELECT count(*) || ' rows, ' || coalesce(sum(hashtext(client || id)::bigint), 0) FROM demo";
        let wanted = primary.sql_value(sum).ok().flatten();
        for host in self.lab.members().filter(|host| host.name != primary.name) {
            let deadline = Deadline::after(self.options.patience);
            loop {
                let found = host.sql_value(sum).ok().flatten();
                if found == wanted {
                    break;
                }
                if deadline.passed() {
                    let why = format!("{found:?} instead of {wanted:?}");
                    violations.push(Violation::Differs { host: host.name.clone(), why });
                    break;
                }
                self.lab.patience().pause(Duration::from_millis(50)).unwrap();
            }
        }
        (measures, violations)
    }

    /// Removes the data that rebuilds have kept, so that many runs fit on a disk.
    pub fn tidy(&mut self) {
        for host in self.lab.members() {
            if server(host) != Server::Silent {
                Person::new().run(&self.lab, host, &["pg", "rebuild-standby", "--drop-kept"]);
            }
        }
    }

    fn keep_logs(&self, report: &Report) {
        let folder = self.options.logs.join(format!(
            "{}-{}-{}",
            self.options.mode.name(),
            self.options.seed,
            report.run
        ));
        std::fs::create_dir_all(&folder).unwrap();
        for host in &self.lab.hosts {
            // A server that a rebuild started logs beside its data.
            let started = host.data_directory.join("pgbaton-start.log");
            for log in [host.daemon_log(), host.server_log(), started] {
                let name = log.file_name().unwrap().to_string_lossy().into_owned();
                drop(std::fs::copy(&log, folder.join(format!("{}-{name}", host.name))));
            }
        }
        drop(std::fs::copy(self.lab.options.base.join("person.log"), folder.join("person.log")));
        for (client, _) in &self.clients {
            let text = client.look(|journal| serde_json::to_string(journal).unwrap());
            std::fs::write(folder.join(format!("{}.json", client.name)), text).unwrap();
        }
        std::fs::write(folder.join("report.txt"), format!("{report:#?}\n")).unwrap();
    }
}

fn present(
    primary: &Host,
    witnesses: &[Witness],
    lowest: &BTreeMap<String, u64>,
) -> pgbaton::error::Result<BTreeSet<RowId>> {
    let mut session =
        pgbaton::demo::sql::Session::connect(&primary.server_socket(), Duration::from_secs(20))?;
    let mut rows = BTreeSet::new();
    for witness in witnesses {
        let (client, from) = (&witness.client, lowest.get(&witness.client).copied().unwrap_or(1));
        let found =
            session.query(&format!("SELECT id FROM demo WHERE client = '{client}' AND id >= {from}"))?;
        let ids = found.into_iter().filter_map(|row| row.into_iter().next().flatten()?.parse().ok());
        rows.extend(ids.map(|id| (client.clone(), id)));
    }
    Ok(rows)
}

/// Returns the folder of a run's logs, for a person.
pub fn logs(options: &Options, run: u64) -> String {
    let folder = options.logs.join(format!("{}-{}-{run}", options.mode.name(), options.seed));
    Path::new(&folder).display().to_string()
}
