//! Networks of routers in virtual time, thousands of histories, each from its seed.
//!
//! A failure prints its seed, and the same seed is the same history. `PGBATON_SEEDS=20` tries twenty times as many.

use super::{INTERVAL, config, config_v2, guarded, ip, ms};
use pgbaton::vrrp::router::{Config, Event, Reason, Resign, Router};
use pgbaton::vrrp::sim::{Entry, Random, Sim, Weather};
use pgbaton::vrrp::types::{AdverInterval, Priority, State};
use pgbaton::vrrp::wire::{Discard, password};
use proptest::prelude::*;
use std::time::Duration;

/// The longest down interval of the tests, with room for a last lost contest.
const SETTLED: Duration = Duration::from_millis(1000);

fn random_weather(random: &mut Random) -> Weather {
    let delay_min = Duration::from_micros(20 + random.below(500));
    let pick = |random: &mut Random, choices: [u16; 4]| choices[usize::try_from(random.below(4)).unwrap()];
    Weather {
        loss: pick(random, [0, 20, 200, 700]),
        duplicates: pick(random, [0, 10, 100, 500]),
        delay_min,
        delay_max: delay_min + Duration::from_micros(random.below(120_000)),
        lateness: Duration::from_micros(random.below(150_000)),
    }
}

/// One to four free routers, some preempting, some of equal priority, some with other intervals.
fn random_network(seed: u64) -> (Sim, usize) {
    let mut sim = Sim::new(seed);
    let count = 1 + u8::try_from(sim.random().below(4)).unwrap();
    for host in 1..=count {
        let random = sim.random();
        let priority = [100, 100, 150, 1, 254, 255][usize::try_from(random.below(6)).unwrap()];
        let config = Config {
            preempt: random.chance(700),
            preempt_delay: if random.chance(300) { ms(random.below(500)) } else { Duration::ZERO },
            startup_delay: if random.chance(200) { ms(random.below(500)) } else { Duration::ZERO },
            interval: if random.chance(100) {
                AdverInterval::from_centiseconds(5).unwrap()
            } else {
                AdverInterval::from_duration(INTERVAL).unwrap()
            },
            farewells: if random.chance(500) { 3 } else { 1 },
            ..config(host, priority)
        };
        sim.add(config).unwrap();
    }
    (sim, usize::from(count))
}

/// Does something bad to a node or to the network, or mends it.
fn trouble(sim: &mut Sim, nodes: usize) {
    let node = usize::try_from(sim.random().below(nodes as u64)).unwrap();
    let other = usize::try_from(sim.random().below(nodes as u64)).unwrap();
    match sim.random().below(13) {
        0 => sim.crash(node),
        1 => sim.restart(node),
        2 => sim.freeze(node),
        3 => sim.thaw(node),
        4 => sim.cut(node, other),
        5 => sim.partition(&[node]),
        6 => sim.heal(),
        7 => {
            sim.act(node, Router::shutdown);
        }
        8 => {
            sim.act(node, Router::startup);
        }
        9 => {
            let hold = Some(ms(sim.random().below(1000)));
            let farewell = sim.random().chance(500);
            sim.act(node, |router, now| router.resign(now, Resign { farewell, hold }));
        }
        10 => {
            let faulted = sim.random().chance(500);
            sim.act(node, |router, now| router.set_fault(now, faulted));
        }
        11 => {
            let priority = Priority(u8::try_from(sim.random().below(256)).unwrap());
            sim.act(node, |router, now| router.set_priority(now, priority));
        }
        _ => sim.weather = random_weather(sim.random()),
    }
}

/// Returns this many seeds, or a multiple of it.
fn seeds(count: u64) -> std::ops::Range<u64> {
    let times = std::env::var("PGBATON_SEEDS").map_or(1, |text| text.parse().unwrap());
    0..count * times
}

/// Ends all trouble, including what was done to routers on purpose.
fn end_trouble(sim: &mut Sim, nodes: usize) {
    sim.calm();
    for node in 0..nodes {
        sim.act(node, |router, now| router.set_fault(now, false));
        sim.act(node, Router::startup);
    }
}

fn transitions(log: &[Entry]) -> Vec<&Entry> {
    log.iter().filter(|entry| matches!(entry.event, Some(Event::Entered { .. }))).collect()
}

/// After any trouble and one quiet spell there is one Active router, and it stays.
fn one_active_after_trouble(seed: u64) {
    let (mut sim, nodes) = random_network(seed);
    sim.weather = random_weather(sim.random());
    for _ in 0..12 {
        trouble(&mut sim, nodes);
        let pause = ms(sim.random().below(800));
        sim.run(pause);
    }
    end_trouble(&mut sim, nodes);
    // Holds and preempt delays of up to a second run out first.
    sim.run(ms(1000) + SETTLED);
    let actives = sim.actives();
    assert_eq!(actives.len(), 1, "seed {seed}: {actives:?}");
    sim.run(SETTLED);
    sim.take_log();
    sim.run(ms(5000));
    let log = sim.take_log();
    assert!(transitions(&log).is_empty(), "seed {seed}: {:?}", transitions(&log));
    assert_eq!(sim.actives().len(), 1, "seed {seed}");
}

#[test]
fn after_any_trouble_and_a_quiet_spell_there_is_one_active_router_and_it_stays() {
    for seed in seeds(3000) {
        one_active_after_trouble(seed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn after_any_trouble_there_is_one_active_router_whatever_the_seed(seed in any::<u64>()) {
        one_active_after_trouble(seed);
    }
}

#[test]
fn each_side_of_a_partition_has_one_active_router_and_the_healed_network_too() {
    for seed in seeds(1000) {
        let (mut sim, nodes) = random_network(seed);
        sim.run(ms(500) + SETTLED + SETTLED);
        let side: Vec<_> = (0..nodes).filter(|_| sim.random().chance(500)).collect();
        sim.partition(&side);
        sim.run(SETTLED);
        let actives = sim.actives();
        let here = actives.iter().filter(|node| side.contains(node)).count();
        assert_eq!(here, usize::from(!side.is_empty()), "seed {seed}: {side:?} {actives:?}");
        assert_eq!(
            actives.len() - here,
            usize::from(side.len() < nodes),
            "seed {seed}: {side:?} {actives:?}"
        );
        sim.heal();
        sim.run(SETTLED);
        assert_eq!(sim.actives().len(), 1, "seed {seed}: {side:?}");
    }
}

#[test]
fn without_a_cause_nothing_changes() {
    // Delays below a third of an interval and no loss: the first election is the only one.
    for seed in seeds(500) {
        let mut sim = Sim::new(seed);
        sim.weather = Weather {
            duplicates: 300,
            delay_min: Duration::from_micros(50),
            delay_max: ms(15),
            lateness: ms(15),
            ..Weather::CALM
        };
        let priorities = [200, 100, 100];
        for (host, priority) in (1..).zip(priorities) {
            sim.add(config(host, priority)).unwrap();
        }
        sim.run(SETTLED);
        sim.take_log();
        sim.run(ms(30_000));
        let log = sim.take_log();
        assert!(transitions(&log).is_empty(), "seed {seed}: {:?}", transitions(&log));
        assert!(!log.iter().any(|entry| matches!(entry.event, Some(Event::Suspect { .. }))), "seed {seed}");
    }
}

#[test]
fn the_highest_priority_then_the_highest_address_is_active_in_the_end() {
    for seed in seeds(1000) {
        let mut sim = Sim::new(seed);
        sim.weather = random_weather(sim.random());
        let priorities: Vec<u8> = (0..4).map(|_| 99 + u8::try_from(sim.random().below(4)).unwrap()).collect();
        for (host, priority) in (1..).zip(&priorities) {
            sim.add(config(host, *priority)).unwrap();
        }
        sim.run(ms(3000));
        end_trouble(&mut sim, 4);
        sim.run(SETTLED + SETTLED);
        let active = *sim.actives().first().unwrap();
        let highest = *priorities.iter().max().unwrap();
        assert_eq!(priorities[active], highest, "seed {seed}: {priorities:?}");
    }
}

#[test]
fn equal_priorities_settle_on_the_higher_address() {
    for seed in seeds(200) {
        let mut sim = Sim::new(seed);
        let ours = config(1, 100);
        let theirs = config(2, 100);
        let (low, high) = (sim.add(ours).unwrap(), sim.add(theirs).unwrap());
        sim.partition(&[low]);
        sim.run(SETTLED);
        assert_eq!(sim.actives(), [low, high]);
        sim.heal();
        sim.run(INTERVAL + ms(1));
        assert_eq!(sim.actives(), [high], "seed {seed}: one advert is enough");
    }
}

#[test]
fn a_one_way_cut_makes_two_active_routers_and_mending_it_makes_one() {
    let mut sim = Sim::new(1);
    let high = sim.add(config(1, 200)).unwrap();
    let low = sim.add(config(2, 100)).unwrap();
    sim.run(SETTLED);
    sim.cut(high, low);
    sim.run(SETTLED);
    assert_eq!(sim.actives(), [high, low], "the deaf one takes over, and the other hears only a loser");
    assert!(sim.router(high).unwrap().rival().is_some());
    sim.heal();
    sim.run(INTERVAL);
    assert_eq!(sim.actives(), [high]);
}

#[test]
fn a_crash_is_noticed_after_the_down_interval_and_a_shutdown_after_the_skew() {
    let takeover = |end: fn(&mut Sim)| {
        let mut sim = Sim::new(7);
        sim.add(config(1, 200)).unwrap();
        let backup = sim.add(config(2, 100)).unwrap();
        sim.run(SETTLED);
        end(&mut sim);
        let begin = sim.now();
        assert!(sim.run_until(SETTLED, |sim| sim.actives() == [backup]));
        sim.now().since(begin)
    };
    let crash = takeover(|sim| sim.crash(0));
    assert!(crash > ms(260) && crash < ms(362), "{crash:?}");
    let shutdown = takeover(|sim| {
        sim.act(0, Router::shutdown);
    });
    assert!(shutdown > ms(60) && shutdown < ms(62), "{shutdown:?}");
}

#[test]
fn one_who_was_frozen_says_so_before_it_sends_anything() {
    for seed in seeds(500) {
        let mut sim = Sim::new(seed);
        let high = sim.add(config(1, 200)).unwrap();
        sim.add(config(2, 100)).unwrap();
        sim.run(SETTLED);
        sim.freeze(high);
        let pause = ms(450 + sim.random().below(3000));
        sim.run(pause);
        sim.take_log();
        sim.thaw(high);
        let log = sim.take_log();
        let first = log.iter().find(|entry| entry.node == high).unwrap();
        assert!(
            matches!(first.event, Some(Event::Overslept { by }) if by >= pause),
            "seed {seed}: {first:?}"
        );
        assert!(log.iter().all(|entry| entry.node != high || entry.event.is_some()), "seed {seed}: it sent");
        sim.run(SETTLED);
        assert_eq!(sim.actives(), [high], "seed {seed}: and then it preempts as any other");
    }
}

#[test]
fn a_backup_that_was_frozen_takes_nothing_over() {
    for seed in seeds(500) {
        let mut sim = Sim::new(seed);
        let active = sim.add(config(1, 200)).unwrap();
        let backup = sim.add(config(2, 100)).unwrap();
        sim.run(SETTLED);
        sim.freeze(backup);
        let pause = ms(500 + sim.random().below(20_000));
        sim.run(pause);
        sim.thaw(backup);
        sim.run(SETTLED);
        assert_eq!(sim.actives(), [active], "seed {seed}");
        assert_eq!(sim.router(backup).unwrap().stats().became_active, 0, "seed {seed}");
    }
}

#[test]
fn a_guarded_router_is_never_active_without_a_grant() {
    for seed in seeds(2000) {
        let mut sim = Sim::new(seed);
        for host in 1..=3 {
            let priority = [100, 255, 254][usize::try_from(sim.random().below(3)).unwrap()];
            sim.add(guarded(host, priority)).unwrap();
        }
        sim.weather = random_weather(sim.random());
        for _ in 0..20 {
            if sim.random().chance(200) {
                let node = usize::try_from(sim.random().below(3)).unwrap();
                sim.act(node, Router::grant);
                for entry in transitions(&sim.take_log()) {
                    let Some(Event::Entered { state, reason }) = entry.event else { continue };
                    assert_eq!((state, reason) == (State::Active, Reason::Granted), state == State::Active);
                }
            } else {
                trouble(&mut sim, 3);
            }
            let pause = ms(sim.random().below(800));
            sim.run(pause);
            for entry in transitions(&sim.take_log()) {
                let active = matches!(entry.event, Some(Event::Entered { state: State::Active, .. }));
                assert!(!active, "seed {seed}: {entry:?}");
            }
        }
    }
}

#[test]
fn a_guarded_router_keeps_asking_as_long_as_nobody_is_active() {
    for seed in seeds(300) {
        let mut sim = Sim::new(seed);
        sim.weather = random_weather(sim.random());
        for host in 1..=2 {
            sim.add(guarded(host, 100)).unwrap();
        }
        sim.run(ms(2000));
        for _ in 0..5 {
            sim.take_log();
            sim.run(ms(1500));
            let log = sim.take_log();
            for node in 0..2 {
                let asks =
                    |entry: &Entry| entry.node == node && matches!(entry.event, Some(Event::Ask { .. }));
                assert!(log.iter().any(asks), "seed {seed}, node {node}");
            }
        }
    }
}

#[test]
fn two_guarded_actives_both_report_the_contest_until_a_supervisor_ends_it() {
    let mut sim = Sim::new(3);
    let one = sim.add(guarded(1, 100)).unwrap();
    let two = sim.add(guarded(2, 200)).unwrap();
    sim.act(one, Router::grant);
    sim.act(two, Router::grant);
    sim.run(ms(3000));
    assert_eq!(sim.actives(), [one, two], "neither yields by itself");
    let log = sim.take_log();
    for (node, expected) in [(one, true), (two, false)] {
        let reports = log.iter().filter(|entry| {
            entry.node == node
                && matches!(entry.event, Some(Event::Contested { wins, .. }) if wins == expected)
        });
        assert!((25..=35).contains(&reports.count()), "once per interval");
    }
    sim.act(two, Router::yield_to_rival);
    sim.run(SETTLED);
    assert_eq!(sim.actives(), [one]);
    let over = Event::Uncontested { from: ip("10.77.0.2") };
    assert!(sim.take_log().iter().any(|entry| entry.node == one && entry.event == Some(over)));
}

/// Every pattern of loss over the first adverts, for networks that are hard: then silence heals.
#[test]
fn whatever_of_the_first_twelve_adverts_is_lost_one_router_is_active() {
    for priorities in [[100, 100], [101, 100], [255, 255], [254, 1]] {
        for pattern in 0_u32..4096 {
            let mut sim = Sim::new(u64::from(pattern));
            sim.script = (0..12).map(|bit| pattern & (1 << bit) != 0).collect();
            for (host, priority) in (1..).zip(priorities) {
                sim.add(config(host, priority)).unwrap();
            }
            sim.run_until(ms(5000), |sim| sim.script.is_empty());
            sim.run(SETTLED);
            assert_eq!(sim.actives().len(), 1, "{priorities:?}, pattern {pattern:b}");
        }
    }
}

#[test]
fn version_two_with_a_password_and_version_three_over_ipv6_elect_alike() {
    let secret = Some(password("secret12"));
    let v2 = |host, priority| Config { auth: secret, ..config_v2(host, priority) };
    let v6 = |host: u8, priority| Config {
        source: ip(&format!("fe80::{host}")),
        addresses: vec![ip("fe80::100"), ip("fd00:77::100")],
        ..config(host, priority)
    };
    let pairs = [[v2(1, 200), v2(2, 100)], [v6(1, 200), v6(2, 100)]];
    for [one, two] in pairs {
        let mut sim = Sim::new(11);
        let (high, low) = (sim.add(one).unwrap(), sim.add(two).unwrap());
        sim.run(ms(10_000));
        assert_eq!(sim.actives(), [high]);
        let stats = sim.router(low).unwrap().stats();
        assert!(stats.adverts_received >= 6 && stats.discarded_in_all() == 0, "{stats:?}");
        sim.crash(high);
        sim.run(ms(4000));
        assert_eq!(sim.actives(), [low]);
        sim.restart(high);
        sim.run(ms(5000));
        assert_eq!(sim.actives(), [high]);
    }
}

#[test]
fn another_password_makes_another_network() {
    let with = |host, text| Config { auth: Some(password(text)), ..config_v2(host, 100) };
    let mut sim = Sim::new(12);
    sim.add(with(1, "one")).unwrap();
    sim.add(with(2, "two")).unwrap();
    sim.run(ms(10_000));
    assert_eq!(sim.actives(), [0, 1]);
    assert!(sim.router(0).unwrap().stats().discarded(Discard::AuthFailed) > 5);
}

/// What can be done to a network of two, one after the other in every order.
const DEEDS: [fn(&mut Sim); 9] = [
    |sim| sim.run(ms(70)),
    |sim| sim.run(ms(350)),
    |sim| sim.cut(0, 1),
    |sim| sim.cut(1, 0),
    |sim| sim.heal(),
    |sim| if sim.router(0).is_some() { sim.crash(0) } else { sim.restart(0) },
    |sim| if sim.is_frozen(0) { sim.thaw(0) } else { sim.freeze(0) },
    |sim| if sim.is_frozen(1) { sim.thaw(1) } else { sim.freeze(1) },
    |sim| {
        sim.act(0, |router, now| router.resign(now, Resign { farewell: true, hold: Some(ms(300)) }));
    },
];

fn every_story(sim: &Sim, chapters: u32, told: &mut Vec<usize>) {
    let mut end = sim.clone();
    end.calm();
    end.run(ms(300) + SETTLED);
    let actives = end.actives();
    assert_eq!(actives.len(), 1, "{told:?}");
    // With equal priorities nobody preempts, and either may be the one.
    let rank = |node| end.router(node).unwrap().config().priority;
    assert!(rank(actives[0]) >= rank(0), "{told:?}");
    if chapters == 0 {
        return;
    }
    for (number, deed) in DEEDS.iter().enumerate() {
        let mut next = sim.clone();
        deed(&mut next);
        next.run(ms(15));
        told.push(number);
        every_story(&next, chapters - 1, told);
        told.pop();
    }
}

#[test]
fn every_story_of_four_deeds_ends_well() {
    for (priority, chapters) in [(150, 4), (100, 3)] {
        let mut sim = Sim::new(6);
        sim.add(config(1, priority)).unwrap();
        sim.add(config(2, 100)).unwrap();
        every_story(&sim, chapters, &mut vec![]);
    }
}
