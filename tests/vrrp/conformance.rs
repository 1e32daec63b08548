//! The state machine, one test for each clause of RFC 9568 §6.4 (and where it differs, of RFC 3768 §6.4).

use super::{Bench, INTERVAL, config, config_v2, entered, ip, ms, vrid};
use pgbaton::vrrp::router::{
    AnnounceSchedule, Config, ConfigError, Difference, Event, Output, Reason, Resign, Round, Router,
};
use pgbaton::vrrp::timers::Timer;
use pgbaton::vrrp::types::{AdverInterval, Priority, State, Version};
use pgbaton::vrrp::wire::{Advert, Discard};
use std::time::Duration;

/// Priority 100 at 100 ms: three intervals and 156/256 of one.
const DOWN: Duration = Duration::from_nanos(360_937_500);
const SKEW: Duration = Duration::from_nanos(60_937_500);

const FIRST_ROUND: Event = Event::Announce { round: Round::First, burst: 5 };

fn sent(output: &Output) -> Option<&Advert> {
    if let Output::Send(advert) = output { Some(advert) } else { None }
}

// Initialize

#[test]
fn startup_of_the_owner_makes_it_active_with_an_advert_first() {
    let mut bench = Bench::new(config(2, 255));
    bench.tell(Router::startup);
    let said = bench.take();
    let advert = sent(&said[0]).unwrap();
    assert_eq!((advert.priority, advert.addresses.as_slice()), (Priority::OWNER, &[ip("10.77.0.100")][..]));
    assert_eq!(said[1], Output::Event(entered(State::Active, Reason::Owner)));
    assert_eq!(said[2], Output::Event(FIRST_ROUND));
    assert_eq!(bench.router.timer(Timer::Adver), Some(bench.now + INTERVAL));
    assert_eq!(bench.router.active_since(), Some(bench.now));
}

#[test]
fn startup_of_any_other_makes_it_a_backup_that_waits_a_down_interval() {
    let mut bench = Bench::new(config(2, 254));
    bench.tell(Router::startup);
    assert_eq!(bench.take(), [Output::Event(entered(State::Backup, Reason::Startup))]);
    let down = Duration::from_nanos(300_781_250);
    assert_eq!(bench.router.timer(Timer::ActiveDown), Some(bench.now + down));
}

#[test]
fn adverts_mean_nothing_before_startup() {
    let mut bench = Bench::new(config(2, 100));
    bench.hear(3, 200);
    assert_eq!(bench.take(), []);
    assert_eq!(bench.state(), State::Initialize);
    assert_eq!(bench.router.stats().discarded(Discard::NotRunning), 1);
}

#[test]
fn startup_twice_is_startup_once() {
    let mut bench = Bench::active(config(2, 100));
    bench.tell(Router::startup);
    assert_eq!(bench.take(), []);
    assert_eq!(bench.state(), State::Active);
}

#[test]
fn a_startup_delay_comes_before_everything() {
    let mut bench = Bench::new(Config { startup_delay: ms(2000), ..config(2, 255) });
    bench.tell(Router::startup);
    bench.hear(3, 100);
    bench.pass(ms(1999));
    assert_eq!(bench.state(), State::Initialize);
    bench.pass(ms(1));
    assert_eq!(bench.state(), State::Active);
}

// Backup

#[test]
fn shutdown_of_a_backup_is_silent() {
    let mut bench = Bench::started(config(2, 100));
    let hold = Resign { farewell: false, hold: Some(ms(5000)) };
    bench.tell(|router, now| router.resign(now, hold));
    bench.tell(Router::shutdown);
    assert_eq!(bench.take(), [Output::Event(entered(State::Initialize, Reason::Shutdown))]);
    assert_eq!(bench.router.poll_output(), Output::Timeout(None));
    assert_eq!(bench.router.hold_until(), None, "who comes back begins anew");
}

#[test]
fn a_down_timer_that_fires_makes_a_backup_active_with_an_advert_first() {
    let mut bench = Bench::started(config(2, 100));
    bench.pass(DOWN - Duration::from_nanos(1));
    assert_eq!(bench.state(), State::Backup);
    bench.take();
    bench.pass(Duration::from_nanos(1));
    let said = bench.take();
    assert_eq!(sent(&said[0]).unwrap().priority, Priority(100));
    assert_eq!(said[1], Output::Event(entered(State::Active, Reason::NoResponse)));
    assert_eq!(said[2], Output::Event(FIRST_ROUND));
    assert_eq!(bench.router.timer(Timer::Adver), Some(bench.now + INTERVAL));
    assert_eq!(bench.router.timer(Timer::ActiveDown), None);
}

#[test]
fn an_advert_of_priority_zero_leaves_a_backup_its_skew_to_wait() {
    let mut bench = Bench::started(config(2, 100));
    bench.hear(3, 200);
    bench.hear(3, 0);
    assert_eq!(bench.router.timer(Timer::ActiveDown), Some(bench.now + SKEW));
    bench.pass(SKEW);
    assert!(bench.events().contains(&entered(State::Active, Reason::Farewell)));
}

#[test]
fn an_advert_of_at_least_our_priority_resets_the_down_timer() {
    for priority in [100, 101, 255] {
        let mut bench = Bench::started(config(2, 100));
        bench.pass(ms(300));
        bench.hear(1, priority);
        assert_eq!(bench.router.timer(Timer::ActiveDown), Some(bench.now + DOWN), "{priority}");
        bench.hear(1, 0);
        bench.hear(1, priority);
        assert_eq!(bench.router.timer(Timer::ActiveDown), Some(bench.now + DOWN), "after a farewell");
    }
}

#[test]
fn a_backup_adopts_the_interval_of_the_active_router_and_advertises_at_its_own() {
    let mut bench = Bench::started(config(2, 100));
    bench.hear_with(3, 200, AdverInterval::DEFAULT);
    assert_eq!(bench.router.active_interval(), AdverInterval::DEFAULT);
    assert_eq!(bench.router.timer(Timer::ActiveDown), Some(bench.now + Duration::from_nanos(3_609_375_000)));
    assert_eq!(bench.router.stats().interval_adopted, 1);
    bench.pass(ms(3700));
    assert_eq!(bench.state(), State::Active);
    let advert = bench.said.iter().find_map(sent).unwrap();
    assert_eq!(advert.interval.as_duration(), INTERVAL);
}

#[test]
fn a_lower_priority_does_not_reset_the_down_timer_of_a_router_that_preempts() {
    let mut bench = Bench::started(config(2, 100));
    let due = bench.router.timer(Timer::ActiveDown);
    bench.pass(ms(90));
    bench.hear_with(3, 99, AdverInterval::DEFAULT);
    assert_eq!(bench.router.timer(Timer::ActiveDown), due);
    assert_eq!(bench.router.active_interval().as_duration(), INTERVAL, "nor is its interval adopted");
    for _ in 0..4 {
        bench.pass(ms(90));
        bench.hear(3, 99);
    }
    let events = bench.events();
    assert!(events.contains(&entered(State::Active, Reason::Preempted)), "{events:?}");
    assert!(!events.iter().any(|event| matches!(event, Event::Suspect { .. })), "it wasn't silent");
}

#[test]
fn a_lower_priority_resets_the_down_timer_of_a_router_that_does_not_preempt() {
    let mut bench = Bench::started(Config { preempt: false, ..config(2, 200) });
    for _ in 0..50 {
        bench.pass(INTERVAL);
        bench.hear(3, 1);
    }
    assert_eq!(bench.state(), State::Backup);
}

#[test]
fn the_address_is_no_tie_break_in_backup() {
    let mut bench = Bench::started(config(2, 100));
    bench.pass(ms(300));
    bench.hear(1, 100);
    assert_eq!(bench.router.timer(Timer::ActiveDown), Some(bench.now + DOWN));
}

#[test]
fn a_preempt_delay_begins_with_the_first_lower_advert() {
    let mut bench = Bench::started(Config { preempt_delay: ms(1000), ..config(2, 200) });
    let started = bench.now;
    while bench.state() == State::Backup && bench.now.since(started) < ms(5000) {
        bench.pass(ms(100));
        bench.hear(3, 100);
    }
    let waited = bench.now.since(started);
    assert!(waited > ms(1100) + ms(200) && waited < ms(1600), "{waited:?}");
    assert!(bench.events().contains(&entered(State::Active, Reason::Preempted)));
}

#[test]
fn a_preempt_delay_does_not_delay_a_failover() {
    let mut bench = Bench::started(Config { preempt_delay: ms(60_000), ..config(2, 100) });
    bench.hear(3, 50);
    bench.pass(DOWN);
    assert_eq!(bench.state(), State::Active);
}

#[test]
fn a_higher_advert_ends_the_preempt_delay() {
    let mut bench = Bench::started(Config { preempt_delay: ms(1000), ..config(2, 100) });
    bench.hear(3, 50);
    assert!(bench.router.timer(Timer::Preempt).is_some());
    bench.hear(4, 150);
    assert_eq!(bench.router.timer(Timer::Preempt), None);
}

// Active

#[test]
fn shutdown_of_the_active_router_is_a_farewell() {
    let mut bench = Bench::active(config(2, 100));
    bench.tell(Router::shutdown);
    let said = bench.take();
    assert_eq!(said[0], Output::Event(entered(State::Initialize, Reason::Shutdown)));
    assert_eq!(sent(&said[1]).unwrap().priority, Priority::RELEASE);
    assert_eq!(said.len(), 2);
    assert_eq!(bench.router.poll_output(), Output::Timeout(None));
}

#[test]
fn the_advert_timer_sends_and_does_not_drift() {
    let mut bench = Bench::active(config(2, 100));
    let due = bench.router.timer(Timer::Adver).unwrap();
    bench.sleep(ms(130));
    assert_eq!(bench.adverts(), [100]);
    assert_eq!(bench.router.timer(Timer::Adver), Some(due + INTERVAL));
    bench.pass(ms(10_000));
    assert_eq!(bench.adverts().len(), 100);
}

#[test]
fn the_phase_of_a_router_only_brings_its_second_advert_forward() {
    let mut bench = Bench::active(Config { phase: 4, ..config(2, 100) });
    let due = bench.router.timer(Timer::Adver).unwrap();
    assert_eq!(due, bench.now + INTERVAL * 12 / 16);
    bench.pass(INTERVAL);
    assert_eq!(bench.adverts().len(), 1);
    assert_eq!(bench.router.timer(Timer::Adver), Some(due + INTERVAL));
}

#[test]
fn a_late_advert_timer_sends_once_and_not_in_a_burst() {
    let mut bench = Bench::active(config(2, 100));
    bench.sleep(ms(290));
    assert_eq!(bench.adverts(), [100]);
    assert_eq!(bench.router.timer(Timer::Adver), Some(bench.now + INTERVAL));
}

#[test]
fn a_farewell_is_answered_with_an_advert_by_the_active_router() {
    let mut bench = Bench::active(config(2, 100));
    bench.pass(ms(50));
    bench.hear(3, 0);
    assert_eq!(bench.adverts(), [100]);
    assert_eq!(bench.router.timer(Timer::Adver), Some(bench.now + INTERVAL));
    assert_eq!(bench.state(), State::Active);
}

#[test]
fn a_higher_priority_makes_the_active_router_a_backup_that_follows_it() {
    let mut bench = Bench::active(config(2, 100));
    bench.hear_with(1, 101, AdverInterval::DEFAULT);
    assert_eq!(bench.take()[0], Output::Event(entered(State::Backup, Reason::HigherPriority)));
    assert_eq!(bench.router.timer(Timer::Adver), None);
    assert_eq!(bench.router.timer(Timer::ActiveDown), Some(bench.now + Duration::from_nanos(3_609_375_000)));
    assert_eq!(bench.router.active_since(), None);
}

#[test]
fn between_equal_priorities_the_higher_address_wins_as_an_unsigned_number() {
    let mut bench = Bench::active(config(2, 100));
    bench.hear(1, 100);
    assert_eq!(bench.state(), State::Active);
    bench.hear(200, 100);
    assert_eq!(bench.state(), State::Backup);
}

#[test]
fn preempt_mode_is_not_looked_at_while_active() {
    let mut bench = Bench::active(Config { preempt: false, ..config(2, 100) });
    bench.hear(1, 101);
    assert_eq!(bench.state(), State::Backup);
}

#[test]
fn a_losing_advert_is_answered_at_once() {
    let mut bench = Bench::active(config(2, 100));
    bench.pass(ms(30));
    let due = bench.router.timer(Timer::Adver);
    bench.hear(3, 99);
    let said = bench.take();
    assert_eq!(sent(&said[0]).unwrap().priority, Priority(100));
    assert_eq!(said[1], Output::Event(Event::Announce { round: Round::Contest, burst: 5 }));
    assert_eq!(bench.router.timer(Timer::Adver), due, "the regular advert comes all the same");
}

#[test]
fn a_flood_of_losing_adverts_is_not_answered_with_a_flood() {
    let mut bench = Bench::active(config(2, 100));
    for _ in 0..1000 {
        bench.pass(Duration::from_micros(100));
        bench.hear(3, 99);
    }
    assert_eq!(bench.adverts().len(), 3, "two answers and the regular one");
}

#[test]
fn the_answer_to_losers_can_be_left_out_as_in_rfc_3768() {
    let mut bench = Bench::active(Config { assert_to_losers: false, ..config(2, 100) });
    bench.hear(3, 99);
    assert_eq!(bench.adverts(), [] as [u8; 0]);
}

#[test]
fn addresses_are_announced_again_when_the_last_rival_is_gone() {
    let mut bench = Bench::active(config(2, 100));
    bench.hear(3, 99);
    bench.hear(4, 98);
    assert_eq!(bench.router.rivals().count(), 2);
    assert_eq!(bench.router.rival().unwrap().from, ip("10.77.0.3"));
    bench.take();
    bench.hear(4, 0);
    assert_eq!(bench.events(), [Event::Uncontested { from: ip("10.77.0.4") }]);
    bench.pass(ms(300));
    let over = [
        Event::Uncontested { from: ip("10.77.0.3") },
        Event::Announce { round: Round::ContestOver, burst: 5 },
    ];
    assert_eq!(bench.events(), over);
    assert_eq!(bench.router.rival(), None);
}

#[test]
fn addresses_are_announced_a_second_time_and_then_now_and_then() {
    let announce = AnnounceSchedule { refresh: Some(ms(20_000)), ..AnnounceSchedule::default() };
    let mut bench = Bench::active(Config { announce, ..config(2, 100) });
    bench.pass(ms(4999));
    assert_eq!(bench.events(), []);
    bench.pass(ms(1));
    assert_eq!(bench.events(), [Event::Announce { round: Round::Second, burst: 5 }]);
    bench.pass(ms(35_000));
    assert_eq!(bench.events(), [Event::Announce { round: Round::Refresh, burst: 1 }; 2]);
    bench.tell(Router::announce_again);
    assert_eq!(bench.events(), [Event::Announce { round: Round::LinkBack, burst: 5 }]);
}

// Around the clauses

#[test]
fn a_second_owner_is_heard_and_the_address_decides() {
    let mut bench = Bench::active(config(2, 255));
    bench.hear(1, 255);
    assert_eq!(bench.state(), State::Active);
    bench.hear(3, 255);
    let events = bench.events();
    assert!(events.contains(&Event::Differs { from: ip("10.77.0.1"), what: Difference::SecondOwner }));
    assert!(events.contains(&entered(State::Backup, Reason::HigherPriority)));
}

#[test]
fn version_two_drops_another_interval_and_version_three_only_speaks_of_it() {
    let two_seconds = AdverInterval::from_seconds(2).unwrap();
    let mut bench = Bench::started(config_v2(2, 100));
    bench.hear_with(3, 200, two_seconds);
    assert_eq!(bench.router.last_heard(), None);
    assert_eq!(bench.router.stats().discarded(Discard::IntervalMismatch), 1);
    let mut bench = Bench::started(config(2, 100));
    bench.hear_with(3, 200, two_seconds);
    bench.hear_with(3, 200, two_seconds);
    assert_eq!(bench.events(), [Event::Differs { from: ip("10.77.0.3"), what: Difference::Interval }]);
    assert_eq!(bench.router.stats().interval_differs, 2);
}

#[test]
fn version_two_has_a_skew_of_its_own() {
    let config = Config { interval: AdverInterval::from_seconds(10).unwrap(), ..config_v2(2, 100) };
    let mut bench = Bench::started(config);
    bench.hear(3, 200);
    assert_eq!(bench.router.timer(Timer::ActiveDown), Some(bench.now + Duration::from_nanos(30_609_375_000)));
    bench.hear(3, 0);
    assert_eq!(bench.router.timer(Timer::ActiveDown), Some(bench.now + Duration::from_nanos(609_375_000)));
}

#[test]
fn what_is_not_for_this_router_changes_nothing() {
    let mut bench = Bench::started(config(2, 100));
    let advert = Advert {
        version: Version::V3,
        vrid: vrid(),
        priority: Priority(200),
        interval: AdverInterval::DEFAULT,
        addresses: vec![ip("10.77.0.100")],
        auth: None,
    };
    let other = Advert { vrid: 52.try_into().unwrap(), ..advert.clone() };
    let older = Advert { version: Version::V2, ..advert.clone() };
    for (from, advert, reason) in [
        (ip("10.77.0.3"), &other, Discard::Vrid),
        (ip("10.77.0.3"), &older, Discard::VersionMismatch),
        (ip("fe80::3"), &advert, Discard::Family),
        (ip("10.77.0.2"), &advert, Discard::OwnSource),
    ] {
        bench.tell(|router, now| router.handle_advert(now, from, advert));
        assert_eq!(bench.router.stats().discarded(reason), 1, "{reason:?}");
    }
    assert_eq!(bench.router.last_heard(), None);
    assert_eq!(bench.router.stats().adverts_received, 0);
}

#[test]
fn a_suspicion_is_voiced_once_and_taken_back() {
    let mut bench = Bench::started(config(2, 100));
    bench.hear(3, 200);
    let heard = bench.router.last_heard();
    bench.pass(ms(149));
    assert_eq!(bench.events(), []);
    bench.pass(ms(100));
    assert_eq!(bench.events(), [Event::Suspect { last_heard: heard }]);
    assert!(bench.router.is_suspecting());
    bench.hear(3, 200);
    assert_eq!(bench.events(), [Event::Heard { from: ip("10.77.0.3") }]);
    bench.hear(3, 200);
    assert_eq!(bench.events(), []);
}

#[test]
fn resigning_is_a_farewell_and_a_hold() {
    let mut bench = Bench::active(config(2, 200));
    let resign = Resign { farewell: true, hold: Some(ms(5000)) };
    assert!(bench.tell(|router, now| router.resign(now, resign)));
    let said = bench.take();
    assert_eq!(said[0], Output::Event(entered(State::Backup, Reason::Resigned)));
    assert_eq!(sent(&said[1]).unwrap().priority, Priority::RELEASE);
    for _ in 0..20 {
        bench.pass(INTERVAL);
        bench.hear(3, 100);
    }
    assert_eq!(bench.state(), State::Backup, "a lower router is let be");
    bench.pass(ms(2999));
    assert_eq!(bench.state(), State::Backup, "and so is silence");
    bench.pass(ms(1));
    assert_eq!(bench.state(), State::Active, "until the hold is over");
    assert_eq!(bench.router.hold_until(), None);
}

#[test]
fn yielding_is_silent_and_follows_the_rival() {
    let mut bench = Bench::active(config(2, 200));
    bench.hear_with(3, 100, AdverInterval::DEFAULT);
    bench.take();
    assert!(bench.tell(Router::yield_to_rival));
    assert_eq!(bench.take(), [Output::Event(entered(State::Backup, Reason::Yielded))]);
    assert_eq!(bench.router.active_interval(), AdverInterval::DEFAULT);
    assert!(!bench.tell(Router::yield_to_rival));
    assert_eq!(bench.router.rival(), None, "who is no longer Active has no rivals");
}

#[test]
fn a_fault_of_a_free_router_is_a_farewell_and_its_end_is_a_start() {
    let mut bench = Bench::active(config(2, 100));
    bench.tell(|router, now| router.set_fault(now, true));
    assert_eq!(bench.state(), State::Initialize);
    assert_eq!(bench.adverts(), [0]);
    bench.hear(3, 200);
    bench.pass(ms(10_000));
    assert!(!bench.tell(Router::grant));
    assert_eq!(bench.take(), []);
    bench.tell(|router, now| router.set_fault(now, false));
    assert_eq!(bench.take(), [Output::Event(entered(State::Backup, Reason::FaultCleared))]);
    bench.tell(|router, now| router.set_fault(now, true));
    bench.tell(Router::shutdown);
    bench.tell(|router, now| router.set_fault(now, false));
    assert_eq!(bench.state(), State::Initialize, "a router that was stopped stays so");
}

#[test]
fn a_fault_before_startup_keeps_a_router_out() {
    let mut bench = Bench::new(config(2, 255));
    bench.tell(|router, now| router.set_fault(now, true));
    bench.tell(Router::startup);
    assert_eq!((bench.state(), bench.take()), (State::Initialize, vec![]));
    bench.tell(|router, now| router.set_fault(now, false));
    assert_eq!(bench.state(), State::Active);
}

#[test]
fn a_new_priority_moves_the_waits_that_are_running() {
    let mut bench = Bench::started(config(2, 100));
    bench.pass(ms(50));
    bench.tell(|router, now| router.set_priority(now, Priority(254)));
    let left = bench.router.timer(Timer::ActiveDown).unwrap().since(bench.now);
    assert_eq!(left, Duration::from_nanos(300_781_250) - ms(50));
    bench.tell(|router, now| router.set_priority(now, Priority::RELEASE));
    assert_eq!(bench.router.config().priority, Priority(1));
}

#[test]
fn a_shorter_interval_is_told_at_once_and_is_no_oversleeping() {
    let mut bench = Bench::active(Config { interval: AdverInterval::DEFAULT, ..config(2, 100) });
    bench.pass(ms(900));
    let fast = AdverInterval::from_centiseconds(1).unwrap();
    bench.tell(|router, now| router.set_interval(now, fast)).unwrap();
    bench.pass(ms(100));
    assert_eq!(bench.adverts().len(), 11);
    assert_eq!(bench.state(), State::Active);
    let zero = bench.tell(|router, now| router.set_interval(now, AdverInterval::from_seconds(255).unwrap()));
    assert!(matches!(zero, Err(ConfigError::Interval(_))));
}

#[test]
fn one_who_overslept_says_so_first_sends_nothing_and_steps_down() {
    let mut bench = Bench::active(config(2, 200));
    bench.sleep(ms(301));
    let said = bench.take();
    assert_eq!(
        said,
        [
            Output::Event(Event::Overslept { by: ms(301) }),
            Output::Event(entered(State::Backup, Reason::Overslept)),
        ]
    );
    bench.hear(3, 250);
    assert_eq!(bench.state(), State::Backup);
}

#[test]
fn one_who_overslept_and_is_woken_by_an_advert_does_not_contest_it() {
    let mut bench = Bench::active(config(2, 200));
    bench.now = bench.now + ms(1000);
    bench.hear(3, 100);
    assert_eq!(bench.adverts(), [] as [u8; 0]);
    assert_eq!(bench.state(), State::Backup);
    let mut bench = Bench::active(config(2, 200));
    bench.now = bench.now + ms(1000);
    bench.tell(Router::shutdown);
    assert_eq!(bench.adverts(), [] as [u8; 0], "nor is there a farewell to say");
}

#[test]
fn a_grant_from_before_a_sleep_is_not_taken() {
    let mut bench = Bench::active(config(2, 200));
    bench.now = bench.now + ms(1000);
    assert!(!bench.tell(Router::grant));
    assert_eq!(bench.state(), State::Backup);
    assert!(bench.tell(Router::grant), "but a new one is");
}

#[test]
fn one_who_woke_late_but_before_the_others_stays_active() {
    let mut bench = Bench::active(config(2, 200));
    bench.sleep(ms(300));
    assert_eq!((bench.state(), bench.adverts()), (State::Active, vec![200]));
}

#[test]
fn a_backup_that_overslept_listens_once_more_before_it_takes_over() {
    let mut bench = Bench::started(config(2, 100));
    bench.hear(3, 200);
    bench.sleep(ms(5000));
    assert_eq!(bench.take(), [], "it can't tell silence from its own deafness");
    assert_eq!(bench.router.stats().late_wakeups, 1);
    bench.sleep(ms(5000));
    assert_eq!(bench.state(), State::Active, "but it doesn't wait for ever");
    bench.hear(3, 200);
    bench.sleep(ms(5000));
    bench.hear(3, 200);
    bench.sleep(ms(5000));
    assert_eq!(bench.state(), State::Backup, "each silence has its own second chance");
}

#[test]
fn configurations_that_no_packet_can_carry_are_refused() {
    let check = |config: Config| Router::new(config).err().map(|error| error.to_string());
    let many = (0..=255).map(|host| ip(&format!("10.77.1.{host}"))).collect();
    for (config, message) in [
        (config(2, 0), "priority 0 means that a router leaves; a router has 1 to 255"),
        (
            Config { interval: AdverInterval::from_centiseconds(50).unwrap(), ..config_v2(2, 1) },
            "an advertisement interval of VRRP version 2 is 1 to 255 whole seconds, not 500ms",
        ),
        (
            Config { interval: AdverInterval::from_seconds(50).unwrap(), ..config(2, 1) },
            "an advertisement interval is 10 ms to 40.95 s, not 50s",
        ),
        (
            Config { addresses: vec![], ..config(2, 1) },
            "a virtual router has 1 to 255 virtual addresses, not 0",
        ),
        (
            Config { addresses: many, ..config(2, 1) },
            "a virtual router has 1 to 255 virtual addresses, not 256",
        ),
        (
            Config { addresses: vec![ip("fe80::100")], ..config(2, 1) },
            "fe80::100 isn't of the address family of 10.77.0.2",
        ),
        (
            Config { addresses: vec![ip("fe80::100")], source: ip("fe80::1"), ..config_v2(2, 1) },
            "VRRP version 2 has no IPv6",
        ),
        (Config { auth: Some([0; 8]), ..config(2, 1) }, "VRRP version 3 has no authentication"),
        (
            Config { down_timer_adverts: 0, ..config(2, 1) },
            "the down timer waits for 1 to 100 adverts, not 0",
        ),
        (Config { farewells: 0, ..config(2, 1) }, "at least one farewell is sent"),
    ] {
        assert_eq!(check(config).as_deref(), Some(message));
    }
}

#[test]
fn events_are_written_with_the_words_of_the_protocol() {
    let event = entered(State::Active, Reason::NoResponse);
    assert_eq!(
        serde_json::to_string(&event).unwrap(),
        r#"{"event":"entered","state":"ACTIVE","reason":"no-response"}"#
    );
}
