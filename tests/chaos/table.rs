//! What each mode loses to each fault of its primary, measured, and why.

use crate::campaign::fault::{Kind, Target};
use crate::campaign::{Campaign, MODES, Mode, Options};
use std::time::Duration;

/// The faults of the table, and what they do to an asynchronous pair.
const ROWS: [(Kind, &str); 10] = [
    (Kind::Resign, "the old primary stops and sends all it has before the farewell"),
    (Kind::DaemonStop, "a hand-over: as above"),
    (Kind::Postmaster, "the rest of its log was not sent when it died; the data directory keeps it"),
    (Kind::StopImmediate, "as above"),
    (Kind::Power, "what was acknowledged and not yet sent is on the dead machine only"),
    (
        Kind::FreezeHost,
        "the standby takes over when the lease has ended; the frozen server wakes and is fenced",
    ),
    (Kind::FreezePostgres, "as a hang; commits that it acknowledged were sent, but for the last moment"),
    (Kind::Link, "the cut-off primary acknowledges to whoever reaches it until it stops itself"),
    (
        Kind::Cut,
        "as above, without a carrier to tell it: the isolated side goes on until it hears of the newer",
    ),
    (Kind::Deaf, "it is heard, so nobody takes over; answers reach nobody"),
];

/// Plays each fault so often in each mode and prints one row for each.
pub(crate) fn print(options: &Options, only: Option<Mode>, runs: u64, first: u64) {
    println!(
        "what each mode loses when this befalls the primary ({runs} runs each, {} ms adverts)",
        options.advert.as_millis()
    );
    for (mode, name) in MODES.into_iter().filter(|(mode, _)| only.is_none_or(|only| only == *mode)) {
        println!("\n{name}");
        println!(
            "  {:<16} {:>9} {:>6} {:>13} {:>12} {:>10} {:>8}",
            "fault", "acked", "lost", "2nd writer's", "two writers", "outage", "person"
        );
        for (kind, why) in ROWS {
            let mut options = Options::new(mode, options.seed);
            options.kinds = vec![kind];
            options.target = Some(Target::Primary);
            options.double = 0;
            options.longest = Duration::from_secs(6);
            row(&options, kind, runs, first);
            if mode == Mode::Prefer {
                println!("      {why}");
            }
        }
    }
}

fn row(options: &Options, kind: Kind, runs: u64, first: u64) {
    let mut campaign = Campaign::build(options.clone());
    let (mut acknowledged, mut lost, mut second, mut typed) = (0, 0, 0, 0);
    let (mut both, mut outages, mut wrong) = (Duration::ZERO, Vec::new(), Vec::new());
    for run in first..first + runs {
        let mut script = crate::campaign::fault::draw(&options.menu(), options.seed, run);
        for fault in &mut script {
            // Long enough that a standby can take over.
            fault.lasts = fault.lasts.max(Duration::from_secs(4));
        }
        let report = campaign.play(run, &script);
        acknowledged += report.measures.acknowledged;
        lost += report.measures.lost;
        second += report.measures.lost_to_second_writer;
        both = both.max(report.measures.two_writers);
        typed += report.typed.len();
        outages.push(report.measures.outage);
        if !report.violations.is_empty() {
            wrong.extend(report.violations);
            campaign = Campaign::build(options.clone());
        }
    }
    outages.sort();
    let median = outages.get(outages.len() / 2).copied().unwrap_or_default();
    println!(
        "  {:<16} {acknowledged:>9} {lost:>6} {second:>13} {:>9.0} ms {:>7.0} ms {typed:>8}",
        kind.name(),
        both.as_secs_f64() * 1e3,
        median.as_secs_f64() * 1e3
    );
    for violation in wrong {
        println!("      {violation}");
    }
}
