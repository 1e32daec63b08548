//! `make bench`: the figures of the README and the design, measured on this machine, now.
//!
//! Everything is printed as stage times, or as a ratio to a floor or a peer that is measured in the same run;
//! nothing is asserted. `cargo bench -- --rounds 10` takes more rounds, `--seconds 10` shorter windows, and `failover`,
//! `engine`, `verbs` or `process` one part, `engine memory costs`, `verbs rewind` or `failover freeze` some rows of it;
//! `--megabytes 2000` is how much data a rebuild copies.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a program for developers: it prints, and stops when something is missing"
)]

mod engine;
mod keepalived;
mod peer;
#[path = "../support/pg.rs"]
#[allow(dead_code, reason = "the tests use the rest of it")]
mod support;
mod verbs;

/// What the tests' servers need of the tests' own room.
mod golden {
    pub(crate) fn source(path: &str) -> std::path::PathBuf {
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
    }
}

use clap::ValueEnum as _;
use pgbaton::cli::Fault;
use pgbaton::demo::lab::{Lab, LabOptions};
use pgbaton::demo::namespace::{Namespace, ip_batch};
use pgbaton::demo::patience::Patience;
use pgbaton::demo::report::DemoReport;
use pgbaton::demo::scenario::{self, DemoOptions, Unseen};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_pgbaton");

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |flag: &str, default: usize| {
        let text = words.iter().position(|word| word == flag).and_then(|at| words.get(at + 1));
        text.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{flag} takes a number")))
    };
    let rounds = number("--rounds", 5);
    let only: Vec<&str> = ["process", "verbs", "engine", "failover", "keepalived"]
        .into_iter()
        .filter(|part| words.iter().any(|word| word == part))
        .collect();
    let wanted = |part| only.is_empty() || only.contains(&part);
    assert!(rustix_is_root(), "the figures need root: sudo make bench");
    println!("pgbaton {}, {rounds} rounds each; machine: {}", env!("CARGO_PKG_VERSION"), machine());
    if wanted("process") {
        processes(rounds.max(20));
        memory();
    }
    if wanted("verbs") {
        verbs::run(rounds, number("--megabytes", 500), &words);
    }
    if wanted("engine") {
        engine::run(u64::try_from(number("--seconds", 60)).expect("a number of seconds"), &words);
    }
    if wanted("failover") {
        failovers(rounds, &words);
    }
    if wanted("keepalived") {
        keepalived::outages(rounds);
        drop(std::fs::remove_dir_all(Path::new("/var/lib/pgbaton-bench")));
    }
}

fn rustix_is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("{cores} cores, load {}", load.split(' ').next().unwrap_or("?"))
}

/// The process figures: what a hook or a cron job pays.
fn processes(rounds: usize) {
    println!("\nprocesses (milliseconds: min / median / max of {rounds}; the ratio is that of the medians)");
    let namespace = bed();
    let inside = |program: &str, arguments: &[&str]| {
        let (program, arguments) =
            (program.to_owned(), arguments.iter().map(ToString::to_string).collect::<Vec<_>>());
        namespace.inside(move || Ok(timed(&program, &arguments))).expect("a run inside the namespace")
    };
    let floor = series(rounds, || timed("/bin/true", &[]));
    print_series("/bin/true (the floor)", &floor, None);
    print_series(
        "pgbaton --version",
        &series(rounds, || timed(BINARY, &["--version".to_owned()])),
        Some(&floor),
    );

    // The peer does less: it neither probes nor announces.
    let add = series(rounds, || {
        let took = inside("/sbin/ip", &["address", "add", "192.18.12.23/24", "dev", "b0"]);
        inside("/sbin/ip", &["address", "delete", "192.18.12.23/24", "dev", "b0"]);
        took
    });
    print_series("ip address add", &add, None);
    for (label, extra) in [
        ("pgbaton vip up --no-probe", "--no-probe"),
        ("pgbaton vip up (20 ms probe)", "--probe-timeout=20ms"),
    ] {
        let up = series(rounds, || {
            let took =
                inside(BINARY, &["vip", "up", "192.18.12.23/24", "--interface", "b0", "--quiet", extra]);
            inside(BINARY, &["vip", "down", "192.18.12.23/24", "--interface", "b0", "--quiet"]);
            took
        });
        print_series(label, &up, Some(&add));
    }
    namespace.delete().expect("the namespace goes");
    other_end().delete().expect("the namespace goes");
}

fn bed_name(end: &str) -> String {
    format!("pgbench-{}-{end}", std::process::id())
}

fn other_end() -> Namespace {
    Namespace::named(bed_name("b"))
}

fn bed() -> Namespace {
    let (a, b) = (Namespace::named(bed_name("a")), other_end());
    let lines = format!("netns add {}\nnetns add {}\n", a.name(), b.name());
    ip_batch(None, &lines).expect("two namespaces");
    let lines = format!(
        "link add b0 type veth peer name b1 netns {}\nlink set b0 up\nlink set lo up\naddress add 192.18.12.21/24 dev b0\n",
        b.name()
    );
    ip_batch(Some(&a), &lines).expect("a link");
    ip_batch(Some(&b), "link set b1 up\naddress add 192.18.12.22/24 dev b1\n").expect("its other end");
    a
}

fn timed(program: &str, arguments: &[String]) -> f64 {
    let begin = Instant::now();
    let status = Command::new(program)
        .args(arguments)
        .env_remove("PGBATON_CONFIG")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .status()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(status.success(), "{program} {arguments:?}: {status}");
    millis(begin.elapsed())
}

/// The daemon's memory, beside the binary's size.
fn memory() {
    println!("\nmemory and size");
    let size = std::fs::metadata(BINARY).map_or(0, |about| about.len());
    println!("  binary                         {:>8.1} MB", mega(size));
    let lab = lab("memory", Duration::from_millis(100));
    for name in lab.options.node_names() {
        let status = lab.host(name).and_then(pgbaton::demo::host::Host::status).expect("the daemon answers");
        let pid = status["pid"].as_u64().expect("it says its pid");
        let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let field = |key: &str| {
            let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
            line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) * 1024
        };
        println!(
            "  daemon on {name:<20} {:>8.1} MB resident, {:.1} MB of it its own",
            mega(field("VmRSS")),
            mega(field("RssAnon"))
        );
    }
    let config = lab.config().display().to_string();
    let status = series(10, || {
        let arguments: Vec<String> =
            ["--config", &config, "--quiet", "cluster", "status"].iter().map(ToString::to_string).collect();
        lab.client.inside(move || Ok(timed(BINARY, &arguments))).expect("a look from the client")
    });
    println!("\nlooking");
    print_series("pgbaton cluster status, 2 nodes", &status, None);
    lab.destroy().expect("the lab goes");
}

fn lab_options(name: &str, advert: Duration) -> LabOptions {
    LabOptions {
        prefix: format!("pgbench-{name}-"),
        base: PathBuf::from(format!("/var/lib/pgbaton-bench/{name}")),
        template: Some(PathBuf::from("/var/lib/pgbaton-bench/template")),
        advert,
        ..LabOptions::new(PathBuf::from(BINARY))
    }
}

fn lab(name: &str, advert: Duration) -> Lab {
    Lab::create(lab_options(name, advert), Arc::new(Patience::endless()), &|_| {}).expect("the lab is built")
}

/// How the nodes are set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Pair,
    Three,
    PairAndWitness,
    PairAndWitnessAsync,
}

impl Mode {
    const fn describe(self) -> &'static str {
        match self {
            Self::Pair => "two nodes, asynchronous",
            Self::Three => "three nodes, synchronous",
            Self::PairAndWitness => "two nodes and a witness, synchronous",
            Self::PairAndWitnessAsync => "two nodes and a witness, asynchronous (lease 5 s)",
        }
    }

    fn set(self, options: &mut LabOptions) {
        options.spare = self == Self::Three;
        options.witness = matches!(self, Self::PairAndWitness | Self::PairAndWitnessAsync);
        options.sync = matches!(self, Self::Three | Self::PairAndWitness);
        if self != Self::Pair {
            "hold".clone_into(&mut options.availability);
        }
    }
}

/// The faults of each mode: the advert interval in milliseconds, and the budget.
const CASES: &[(Mode, Fault, u64, &str)] = &[
    (Mode::Pair, Fault::Power, 100, "3 adverts + 150 ms = 450"),
    (Mode::Pair, Fault::Power, 10, "200"),
    (Mode::Pair, Fault::Postgres, 100, "120"),
    (Mode::Pair, Fault::Switchover, 100, "300"),
    (Mode::Pair, Fault::Freeze, 100, "the lease (3 s) + 1 s"),
    (Mode::Pair, Fault::Partition, 100, "none"),
    (Mode::Three, Fault::Power, 100, "3 adverts + 200 ms = 500"),
    (Mode::Three, Fault::Power, 10, "250"),
    (Mode::Three, Fault::Postgres, 100, "180"),
    (Mode::Three, Fault::Switchover, 100, "300"),
    (Mode::Three, Fault::Freeze, 100, "the lease (3 s) + 1 s"),
    (Mode::Three, Fault::Partition, 100, "none"),
    (Mode::PairAndWitness, Fault::Power, 100, "none"),
    (Mode::PairAndWitness, Fault::Postgres, 100, "none"),
    (Mode::PairAndWitnessAsync, Fault::Power, 100, "none: the lease is waited out"),
    (Mode::PairAndWitnessAsync, Fault::Postgres, 100, "none: a farewell ends the lease"),
];

/// The outages that a client of the virtual IP sees, and where the time goes.
fn failovers(rounds: usize, words: &[String]) {
    let named: Vec<Fault> = Fault::value_variants()
        .iter()
        .copied()
        .filter(|fault| words.iter().any(|word| word == fault.name()))
        .collect();
    println!("\nfailovers: write outage of a client (milliseconds: min / median / p95 / max of {rounds})");
    let mut ours = Vec::new();
    let mut shown = None;
    for (mode, fault, advert, budget) in CASES.iter().copied() {
        if !named.is_empty() && !named.contains(&fault) {
            continue;
        }
        if shown.replace(mode) != Some(mode) {
            println!("\n  == {}", mode.describe());
        }
        let rounds = if matches!(fault, Fault::Freeze | Fault::Partition) || mode == Mode::PairAndWitnessAsync
        {
            rounds.min(3)
        } else {
            rounds
        };
        let reports: Vec<DemoReport> = (0..rounds).map(|_| play(mode, fault, advert)).collect();
        let outages: Vec<f64> = reports.iter().map(|report| report.write_outage_ms).collect();
        let lost: Vec<String> = reports.iter().map(|report| report.rows.lost.to_string()).collect();
        println!(
            "\n  {} with {advert} ms adverts: {}   (budget {budget}; rows lost: {})",
            fault.name(),
            spread(&outages),
            lost.join(" ")
        );
        stages(&reports);
        if mode == Mode::Pair {
            ours.push((fault, advert, outages));
        }
    }
    peer::compare(rounds, &ours);
    drop(std::fs::remove_dir_all(Path::new("/var/lib/pgbaton-bench")));
}

fn play(mode: Mode, fault: Fault, advert_ms: u64) -> DemoReport {
    let mut options = DemoOptions {
        fault,
        lab: lab_options("failover", Duration::from_millis(advert_ms)),
        keep: false,
        svg: Some(std::env::temp_dir().join("pgbaton-bench.svg")),
    };
    mode.set(&mut options.lab);
    let (report, _) =
        scenario::run(&options, &Arc::new(Patience::endless()), &Unseen).expect("the demo runs");
    report
}

/// Prints the median of when each stage was reached and how long it took.
fn stages(reports: &[DemoReport]) {
    let mut order: Vec<(&str, &str)> = Vec::new();
    let mut at: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut took: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for stage in reports.iter().flat_map(|report| &report.stages) {
        if !at.contains_key(stage.stage) {
            order.push((stage.stage, stage.label));
        }
        at.entry(stage.stage).or_default().push(stage.at_ms);
        took.entry(stage.stage).or_default().push(stage.took_ms);
    }
    order.sort_by(|a, b| median(&at[a.0]).total_cmp(&median(&at[b.0])));
    for (stage, label) in order {
        println!("    {:>8.1}  +{:>7.1}  {label}", median(&at[stage]), median(&took[stage]));
    }
}

fn series(rounds: usize, mut run: impl FnMut() -> f64) -> Vec<f64> {
    run();
    (0..rounds).map(|_| run()).collect()
}

fn print_series(label: &str, values: &[f64], floor: Option<&[f64]>) {
    let ratio = floor.map_or_else(String::new, |floor| format!("   {:.2} ×", median(values) / median(floor)));
    let (least, most) =
        (values.iter().copied().fold(f64::MAX, f64::min), values.iter().copied().fold(0.0, f64::max));
    println!("  {label:<30} {least:>7.2} / {:>7.2} / {most:>7.2}{ratio}", median(values));
}

fn spread(values: &[f64]) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |percent: usize| sorted[(sorted.len() * percent).div_ceil(100).clamp(1, sorted.len()) - 1];
    format!("{:.0} / {:.0} / {:.0} / {:.0}", sorted[0], median(values), at(95), sorted[sorted.len() - 1])
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[allow(clippy::cast_precision_loss, reason = "a size for people")]
fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
