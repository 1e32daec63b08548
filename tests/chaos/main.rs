//! `make chaos`: the campaign, as long as wanted. `make chaos ARGS="--help"` says how.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::let_underscore_must_use,
    unreachable_pub,
    reason = "a program for developers: it prints, and stops when something is missing"
)]

mod campaign;
mod table;

use campaign::fault::{KINDS, Kind, Target};
use campaign::{Campaign, MODES, Mode, Options, Report, logs};
use pgbaton::host::clock::now;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// The binary that is tested.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_pgbaton");

const HELP: &str = "\
the campaign: faults on a real cluster in network namespaces, and a judge (as root)

  --mode MODE      prefer, hold, async-witness, sync2, sync-witness or sync3 [sync3]
  --seed N         where chance begins [1]
  --runs N         how many runs [50]
  --first N        the number of the first run; with --runs 1: that run alone [0]
  --fault A,B      only these kinds of fault; --fault list names them
  --target WHO     every fault to: primary, first, second
  --longest TIME   the longest that a fault lasts, in seconds [6]
  --double N       in how many of a hundred runs two faults come together [15]
  --advert MS      the advert interval in milliseconds [200]
  --minutes N      no new run after this time
  --keep-going     go on, with a new cluster, after a run that went wrong
  --logs DIR       where the logs of such a run are kept
  --table          what each mode, or that of --mode, loses to each fault, and why (--runs: how often each)
";

struct Line {
    options: Options,
    runs: u64,
    first: u64,
    minutes: Option<u64>,
    keep_going: bool,
    table: bool,
}

fn parse(words: &[String]) -> Result<Line, String> {
    let mut options = Options::new(Mode::Sync3, 1);
    let mut line =
        Line { options: options.clone(), runs: 50, first: 0, minutes: None, keep_going: false, table: false };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().cloned().ok_or(format!("{word} takes a value"));
        let number =
            |text: String| text.parse::<u64>().map_err(|_| format!("{word} takes a number, not {text}"));
        match word.as_str() {
            // Cargo's own.
            "--bench" => {}
            "--mode" => {
                let name = value()?;
                let found = MODES.iter().find(|(_, known)| *known == name);
                options.mode = found.ok_or(format!("no mode is called {name}"))?.0;
            }
            "--seed" => options.seed = number(value()?)?,
            "--runs" => line.runs = number(value()?)?,
            "--first" => line.first = number(value()?)?,
            "--fault" => {
                let names = value()?;
                if names == "list" {
                    let all: Vec<&str> = KINDS.iter().map(|(_, name)| *name).collect();
                    return Err(all.join("\n"));
                }
                let kinds: Option<Vec<Kind>> = names.split(',').map(Kind::parse).collect();
                options.kinds = kinds.ok_or(format!("unknown fault in {names}: --fault list"))?;
            }
            "--target" => {
                options.target = Some(match value()?.as_str() {
                    "primary" => Target::Primary,
                    "first" => Target::First,
                    "second" => Target::Second,
                    other => return Err(format!("no target is called {other}")),
                });
            }
            "--longest" => options.longest = Duration::from_secs(number(value()?)?),
            "--double" => options.double = number(value()?)?,
            "--advert" => options.advert = Duration::from_millis(number(value()?)?),
            "--minutes" => line.minutes = Some(number(value()?)?),
            "--keep-going" => line.keep_going = true,
            "--logs" => options.logs = PathBuf::from(value()?),
            "--table" => line.table = true,
            _ => return Err(HELP.to_owned()),
        }
    }
    options.name = format!("chaos-{}", options.mode.name());
    line.options = options;
    Ok(line)
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let line = match parse(&words) {
        Ok(line) => line,
        Err(text) => {
            println!("{text}");
            return ExitCode::from(2);
        }
    };
    if line.table {
        let only = words.iter().any(|word| word == "--mode").then_some(line.options.mode);
        table::print(&line.options, only, line.runs, line.first);
        return ExitCode::SUCCESS;
    }
    if campaign(&line, &words) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What all runs together have shown.
#[derive(Default)]
struct Sum {
    runs: u64,
    faults_gone_wrong: Vec<u64>,
    acknowledged: usize,
    lost: usize,
    typed: usize,
    outages: Vec<Duration>,
}

fn campaign(line: &Line, words: &[String]) -> bool {
    let (options, begun) = (&line.options, now());
    let minutes = line.minutes.map(|minutes| Duration::from_secs(minutes * 60));
    let mut sum = Sum::default();
    let mut current: Option<Campaign> = None;
    for run in line.first..line.first + line.runs {
        if minutes.is_some_and(|limit| now().since(begun) > limit) {
            break;
        }
        let mut campaign = current.take().unwrap_or_else(|| Campaign::build(options.clone()));
        let report = campaign.run(run);
        print_run(&report);
        sum.add(&report);
        if report.violations.is_empty() {
            if sum.runs.is_multiple_of(5) {
                campaign.tidy();
            }
            current = Some(campaign);
            continue;
        }
        println!("    logs: {}", logs(options, run));
        println!("    again: make chaos ARGS=\"{}\"", again(words, options, run));
        if !line.keep_going {
            sum.print(options);
            return false;
        }
    }
    if let Some(campaign) = current {
        let (measures, violations) = campaign.finish();
        println!(
            "all rows of the last cluster once more: {} acknowledged, {} lost since",
            measures.acknowledged, measures.lost
        );
        for violation in &violations {
            println!("    {violation}");
        }
        if !violations.is_empty() {
            sum.faults_gone_wrong.push(line.first + line.runs);
        }
    }
    sum.print(options);
    sum.faults_gone_wrong.is_empty()
}

/// Returns the arguments that do a run again.
fn again(words: &[String], options: &Options, run: u64) -> String {
    let mut kept =
        vec![format!("--mode {} --seed {} --first {run} --runs 1", options.mode.name(), options.seed)];
    for pair in words.windows(2) {
        if ["--fault", "--target", "--longest", "--double", "--advert"].contains(&pair[0].as_str()) {
            kept.push(pair.join(" "));
        }
    }
    kept.join(" ")
}

fn print_run(report: &Report) {
    let measures = &report.measures;
    println!(
        "run {:>4}  outage {:>6.0} ms  whole {:>5.1} s  {:>5} acknowledged  {:>3} lost  {}{}  {}",
        report.run,
        measures.outage.as_secs_f64() * 1e3,
        report.settled_in.as_secs_f64(),
        measures.acknowledged,
        measures.lost,
        report.primary,
        if report.typed.is_empty() { String::new() } else { format!("  (a person: {})", report.typed.len()) },
        report.story,
    );
    for typed in &report.typed {
        println!("    typed: {typed}");
    }
    for violation in &report.violations {
        println!("    {violation}");
    }
}

impl Sum {
    fn add(&mut self, report: &Report) {
        self.runs += 1;
        self.acknowledged += report.measures.acknowledged;
        self.lost += report.measures.lost;
        self.typed += report.typed.len();
        self.outages.push(report.measures.outage);
        if !report.violations.is_empty() {
            self.faults_gone_wrong.push(report.run);
        }
    }

    fn print(&mut self, options: &Options) {
        self.outages.sort();
        let at = |percent: usize| {
            let place = (self.outages.len() * percent).div_ceil(100).max(1) - 1;
            self.outages.get(place).map_or(0.0, |outage| outage.as_secs_f64() * 1e3)
        };
        println!(
            "{}, seed {}: {} runs, {} went wrong {:?}; {} rows acknowledged, {} lost; outage median {:.0} ms, p95 {:.0} ms, \
             longest {:.0} ms; a person typed {} commands",
            options.mode.name(),
            options.seed,
            self.runs,
            self.faults_gone_wrong.len(),
            self.faults_gone_wrong,
            self.acknowledged,
            self.lost,
            at(50),
            at(95),
            at(100),
            self.typed
        );
    }
}
