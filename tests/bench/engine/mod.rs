//! The VRRP engine beside keepalived: the same network, the same moment, one ratio per row.
//!
//! Both ends of a cable are namespaces; a packet socket at one end sees every advert with the kernel's own time.
//! What is printed as ×: pgbaton's value by keepalived's, so less than 1 is better.

mod bed;
mod peer;
mod wire;

use crate::{Instant, median};
use bed::{Busy, Cable};
use peer::{Engine, Instances, Running};
use pgbaton::net::socket::{Delivery, VrrpSocket};
use pgbaton::units::vrrp_group;
use pgbaton::vrrp::checksum::ChecksumForm;
use pgbaton::vrrp::timers;
use pgbaton::vrrp::types::{AdverInterval, Priority, Version, Vrid};
use pgbaton::vrrp::wire::Advert;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::Duration;
use wire::{Seen, Wire};

const ENGINES: [Engine; 2] = [Engine::Pgbaton, Engine::Keepalived];
const HIGH: u8 = 200;
const LOW: u8 = 100;

/// The groups of rows, by the words that choose them.
const GROUPS: [&str; 6] = ["takeovers", "farewells", "costs", "memory", "punctuality", "false-takeovers"];

/// Prints the rows that were asked for, or all; `seconds` is how long each window is that CPU and false takeovers are
/// counted in.
pub(crate) fn run(seconds: u64, words: &[String]) {
    let version = std::process::Command::new("keepalived").arg("--version").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stderr).into_owned());
    let version = version.unwrap_or_else(|_| panic!("keepalived is needed: apt-get install keepalived"));
    println!(
        "\nthe engine, beside {} (× is pgbaton / keepalived)",
        version.lines().next().unwrap_or("keepalived")
    );
    let chosen = |group: &&str| words.iter().any(|word| word == *group);
    let all = !GROUPS.iter().any(&chosen);
    for group in GROUPS.iter().filter(|group| all || chosen(group)) {
        match *group {
            "takeovers" => takeovers(),
            "farewells" => farewells(),
            "costs" => costs(seconds.min(10)),
            "memory" => memory(),
            "punctuality" => punctuality(seconds.min(10)),
            _ => false_takeovers(seconds),
        }
    }
}

/// Prints one value of each engine and their ratio.
fn row(label: &str, unit: &str, values: [f64; 2]) {
    println!(
        "  {label:<46} {:>10.3} {:>10.3} {unit:<6} {:>6.2} ×",
        values[0],
        values[1],
        values[0] / values[1]
    );
}

fn heading(text: &str) {
    println!("\n  {text:<46} {:>10} {:>10}", "pgbaton", "keepalived");
}

fn interval(millis: u64) -> AdverInterval {
    AdverInterval::from_duration(Duration::from_millis(millis)).unwrap()
}

/// From the last advert of an Active router to the first of the one that takes over, less what the formula says.
fn takeovers() {
    heading("takeover: later than the down interval by");
    for (millis, rounds) in [(1000, 4), (100, 30), (10, 150)] {
        let late = ENGINES.map(|engine| lateness(engine, millis, rounds));
        for (name, percent) in [("p50", 50), ("p99", 99), ("max", 100)] {
            let values = [percentile(&late[0], percent), percentile(&late[1], percent)];
            row(&format!("adverts each {millis} ms, {rounds} takeovers, {name}"), "ms", values);
        }
    }
}

fn lateness(engine: Engine, millis: u64, rounds: usize) -> Vec<f64> {
    let cable = Cable::new();
    let own = Instances { first: 1, count: 1, priority: LOW, millis };
    let daemon = Running::start(engine, &cable, 1, &own, false);
    let mut wire = Wire::open(&cable, 1);
    let advert = Advert {
        version: Version::V3,
        vrid: Vrid::try_from(1).unwrap(),
        priority: Priority(HIGH),
        interval: interval(millis),
        addresses: vec![peer::vip(1)],
        auth: None,
    };
    let source = Ipv4Addr::new(10, 77, 0, 1);
    let octets = advert.emit(ChecksumForm::PseudoHeader, IpAddr::V4(source), vrrp_group(true));
    let socket =
        cable.inside(0, || VrrpSocket::open_v4(&bed::port(), Delivery::Multicast, source, &[1]).unwrap());
    let formula = timers::active_down(Version::V3, Priority(LOW), interval(millis), 3);
    let pause = Duration::from_millis(millis);
    let mut late = Vec::new();
    for round in 0..=rounds {
        let mut last = Duration::ZERO;
        for _ in 0..5 {
            socket.send(&octets, vrrp_group(true)).unwrap();
            let next = Instant::now() + pause;
            while let Some(seen) = wire.next_before(next) {
                if seen.from == 1 {
                    last = seen.at;
                }
            }
        }
        let patience = Instant::now() + formula * 3 + Duration::from_secs(5);
        let taken = loop {
            let seen = wire.next_before(patience).unwrap_or_else(|| panic!("{engine:?} doesn't take over"));
            if seen.from == 2 && seen.priority == LOW {
                break seen.at;
            }
        };
        // The first one also pays for the start.
        if round > 0 {
            late.push((taken.as_secs_f64() - last.as_secs_f64() - formula.as_secs_f64()) * 1e3);
        }
    }
    drop(daemon);
    late
}

/// How soon a stopped daemon says farewell, and how soon a lost carrier takes the address away.
fn farewells() {
    heading("leaving");
    let own = Instances { first: 1, count: 1, priority: HIGH, millis: 100 };
    let stop = ENGINES.map(|engine| {
        let took = (0..10).map(|_| {
            let cable = Cable::new();
            let daemon = Running::start(engine, &cable, 0, &own, false);
            let mut wire = Wire::open(&cable, 1);
            wire.until(|seen| seen.from == 1 && seen.priority == HIGH);
            let begin = wire::now();
            daemon.terminate();
            let farewell = wire.until(|seen| seen.from == 1 && seen.priority == 0);
            (farewell.at.as_secs_f64() - begin.as_secs_f64()) * 1e3
        });
        median(&took.collect::<Vec<_>>())
    });
    row("SIGTERM to farewell on the wire, median of 10", "ms", stop);
    let carrier = ENGINES.map(|engine| {
        let took = (0..10).map(|_| {
            let cable = Cable::new();
            let _daemon = Running::start(engine, &cable, 0, &own, false);
            cable.until_vip(0, true);
            let begin = Instant::now();
            cable.pull(1);
            cable.until_vip(0, false);
            begin.elapsed().as_secs_f64() * 1e3
        });
        median(&took.collect::<Vec<_>>())
    });
    row("carrier lost to address gone, median of 10", "ms", carrier);
}

/// CPU time of each side per thousand adverts.
fn costs(seconds: u64) {
    heading("CPU per 1,000 adverts");
    for (count, millis) in [(1, 10), (64, 100), (254, 100)] {
        let measured = ENGINES.map(|engine| {
            let cable = Cable::new();
            let (active, backup) = pair(engine, &cable, count, millis, false);
            let mut wire = Wire::open(&cable, 1);
            wire.until_all(count, 1);
            let before = [active.cpu(), backup.cpu()];
            let adverts = wire.collect(Duration::from_secs(seconds)).len();
            let used = [active.cpu().saturating_sub(before[0]), backup.cpu().saturating_sub(before[1])];
            used.map(|used| used.as_secs_f64() * 1e3 / (count_of(adverts) / 1000.0))
        });
        for (side, name) in ["sent", "received"].iter().enumerate() {
            let label = format!("{count} instance(s) each {millis} ms, {name}");
            row(&label, "ms", [measured[0][side], measured[1][side]]);
        }
    }
}

fn memory() {
    heading("memory");
    for count in [1, 64, 254] {
        let measured = ENGINES.map(|engine| {
            let cable = Cable::new();
            let (active, _backup) = pair(engine, &cable, count, 100, false);
            let mut wire = Wire::open(&cable, 1);
            wire.until_all(count, 1);
            // What only the start needed is given back a little later.
            wire.collect(Duration::from_secs(6));
            let whole = active.memory_of_all("Rss");
            ([whole, active.memory("Rss"), active.memory("Private_Dirty")], active.profile())
        });
        let [(ours, profile), (theirs, other)] = &measured;
        for (field, name) in ["all processes", "sender", "sender: written"].iter().enumerate() {
            row(&format!("{count} instance(s), resident, {name}"), "MB", [ours[field], theirs[field]]);
        }
        if count != 64 {
            for (what, megabytes) in profile {
                row(&format!("  of that: {what}"), "MB", [*megabytes, other[what]]);
            }
        }
    }
}

/// How far from their interval the adverts of many instances are.
fn punctuality(seconds: u64) {
    heading("254 instances: adverts off their interval by");
    for millis in [100, 10] {
        let measured = ENGINES.map(|engine| {
            let cable = Cable::new();
            let own = Instances { first: 1, count: 254, priority: HIGH, millis };
            let _daemon = Running::start(engine, &cable, 0, &own, false);
            let mut wire = Wire::open(&cable, 1);
            wire.until_all(254, 1);
            let seen = wire.collect(Duration::from_secs(seconds));
            let sent =
                count_of(seen.len()) / (254.0 * 1000.0 / millis_of(millis) * millis_of(seconds * 1000) / 1e3);
            (gaps(&seen, millis), sent * 100.0)
        });
        for (name, percent) in [("p50", 50), ("p99", 99), ("max", 100)] {
            let value = |side: usize| percentile(&measured[side].0, percent);
            row(&format!("each {millis} ms, {name}"), "ms", [value(0), value(1)]);
        }
        row(&format!("each {millis} ms, sent of what is due"), "%", [measured[0].1, measured[1].1]);
    }
    println!(
        "  (pgbaton keeps its schedule: after a late advert the next gap is shorter, and both count; keepalived's next\n  \
         advert is an interval after the late one, so that it sends fewer than are due)"
    );
}

/// Both pairs run beside each other, under the same load: how often the Backup thought that the Active had gone.
fn false_takeovers(seconds: u64) {
    heading(&format!("false takeovers in {seconds} s, 10 ms adverts"));
    for (realtime, restless) in [(false, false), (true, false), (false, true), (true, true)] {
        let (ours, theirs, others) = (Cable::new(), Cable::new(), Cable::new());
        let pairs = [pair(ENGINES[0], &ours, 1, 10, realtime), pair(ENGINES[1], &theirs, 1, 10, realtime)];
        let mut wires = [Wire::open(&ours, 1), Wire::open(&theirs, 1)];
        for wire in &mut wires {
            wire.until_all(1, 1);
        }
        let busy = if restless { Busy::with_interfaces(&others) } else { Busy::start(16) };
        let counted = thread::scope(|scope| {
            let count = |wire: &mut Wire| {
                let seen = wire.collect(Duration::from_secs(seconds));
                (takeovers_in(&seen), gaps(&seen, 10))
            };
            let threads = wires.each_mut().map(|wire| scope.spawn(move || count(wire)));
            threads.map(|thread| thread.join().unwrap())
        });
        drop((busy, pairs));
        let load = if restless { "interfaces come and go" } else { "16 busy processes" };
        let how = if realtime { "real-time, locked" } else { "default priority" };
        row(&format!("{load}, {how}"), "", counted.each_ref().map(|(count, _)| count_of(*count)));
        for (name, percent) in [("p99", 99), ("max", 100)] {
            let late = counted.each_ref().map(|(_, gaps)| percentile(gaps, percent));
            row(&format!("  adverts off their interval by, {name}"), "ms", late);
        }
    }
}

/// An Active router with many instances at one end, its Backup at the other.
fn pair(engine: Engine, cable: &Cable, count: u8, millis: u64, realtime: bool) -> (Running, Running) {
    let active = Instances { first: 1, count, priority: HIGH, millis };
    let backup = Instances { priority: LOW, ..active };
    (Running::start(engine, cable, 0, &active, realtime), Running::start(engine, cable, 1, &backup, realtime))
}

/// Counts how often the end with the lower priority began to send.
fn takeovers_in(seen: &[Seen]) -> usize {
    let mut last = Duration::ZERO;
    let mut count = 0;
    for advert in seen.iter().filter(|seen| seen.from == 2 && seen.priority > 0) {
        if advert.at.saturating_sub(last) > Duration::from_millis(25) {
            count += 1;
        }
        last = advert.at;
    }
    count
}

fn gaps(seen: &[Seen], millis: u64) -> Vec<f64> {
    let mut last: BTreeMap<u8, Duration> = BTreeMap::new();
    let mut off = Vec::new();
    for advert in seen.iter().filter(|seen| seen.from == 1) {
        if let Some(before) = last.insert(advert.vrid, advert.at) {
            off.push(((advert.at.as_secs_f64() - before.as_secs_f64()) * 1e3 - millis_of(millis)).abs());
        }
    }
    off
}

fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
        .get((sorted.len() * percent).div_ceil(100).clamp(1, sorted.len().max(1)) - 1)
        .copied()
        .unwrap_or(f64::NAN)
}

#[allow(clippy::cast_precision_loss, reason = "counts are small")]
fn count_of(count: usize) -> f64 {
    count as f64
}

#[allow(clippy::cast_precision_loss, reason = "milliseconds of minutes")]
fn millis_of(millis: u64) -> f64 {
    millis as f64
}
