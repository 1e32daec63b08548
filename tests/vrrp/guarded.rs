//! The guarded election: a router that asks, and a supervisor that alone decides.

use super::{Bench, INTERVAL, config, entered, guarded, ip, ms};
use pgbaton::vrrp::router::{AskReason, Config, Event, Output, Reason, Resign, Router};
use pgbaton::vrrp::timers::Timer;
use pgbaton::vrrp::types::{AdverInterval, Priority, State};

fn asks(events: &[Event]) -> usize {
    events.iter().filter(|event| matches!(event, Event::Ask { .. })).count()
}

#[test]
fn silence_makes_it_ask_and_ask_again_but_never_active() {
    let mut bench = Bench::started(guarded(2, 255));
    bench.hear(3, 100);
    let last_heard = bench.router.last_heard();
    bench.pass(ms(60_000));
    let events = bench.events();
    assert_eq!(bench.state(), State::Backup);
    let first = events.iter().find(|event| matches!(event, Event::Ask { .. })).unwrap();
    assert_eq!(*first, Event::Ask { reason: AskReason::Silence { last_heard } });
    assert_eq!(asks(&events), 199, "every 300.39 ms");
    assert_eq!(bench.adverts(), [] as [u8; 0]);
}

#[test]
fn the_owner_too_starts_as_a_backup() {
    let mut bench = Bench::new(guarded(2, 255));
    bench.tell(Router::startup);
    assert_eq!(bench.take(), [Output::Event(entered(State::Backup, Reason::Startup))]);
}

#[test]
fn a_farewell_makes_it_ask_after_its_skew() {
    let mut bench = Bench::started(guarded(2, 100));
    bench.hear(3, 200);
    bench.hear(3, 0);
    bench.pass(ms(61));
    let farewell = Event::Ask { reason: AskReason::Farewell { from: ip("10.77.0.3") } };
    assert_eq!(bench.events(), [farewell]);
    bench.pass(ms(361));
    assert_eq!(bench.events(), [farewell], "the farewell is still the last that was heard");
    bench.hear(3, 200);
    bench.pass(ms(361));
    let reason = AskReason::Silence { last_heard: bench.router.last_heard() };
    assert_eq!(bench.events().last(), Some(&Event::Ask { reason }));
}

#[test]
fn a_farewell_from_another_than_the_active_router_proves_nothing() {
    let mut bench = Bench::started(guarded(2, 100));
    bench.hear(3, 200);
    let due = bench.router.timer(Timer::ActiveDown);
    bench.hear(4, 0);
    assert_eq!(bench.router.timer(Timer::ActiveDown), due);
    assert_eq!(bench.router.last_heard().unwrap().from, ip("10.77.0.3"));
    bench.pass(ms(2000));
    bench.hear(4, 0);
    bench.take();
    bench.pass(ms(61));
    assert_eq!(asks(&bench.events()), 1, "unless nothing else was heard for long");
}

#[test]
fn a_farewell_before_a_long_sleep_proves_nothing() {
    let mut bench = Bench::started(guarded(2, 100));
    bench.hear(3, 200);
    bench.hear(3, 0);
    bench.sleep(ms(10_000));
    assert_eq!(bench.take(), []);
    bench.pass(ms(361));
    let reason = AskReason::Silence { last_heard: bench.router.last_heard() };
    assert_eq!(bench.events().last(), Some(&Event::Ask { reason }));
}

#[test]
fn a_farewell_of_long_ago_is_no_reason_to_ask_after_having_been_active() {
    let mut bench = Bench::started(guarded(2, 100));
    bench.hear(3, 200);
    bench.hear(3, 0);
    bench.tell(Router::grant);
    bench.tell(|router, now| router.resign(now, Resign::default()));
    bench.take();
    bench.pass(ms(400));
    assert!(matches!(bench.events().last(), Some(Event::Ask { reason: AskReason::Silence { .. } })));
}

#[test]
fn only_a_grant_makes_it_active() {
    let mut bench = Bench::new(guarded(2, 100));
    assert!(!bench.tell(Router::grant), "not before it was started");
    bench.tell(Router::startup);
    bench.take();
    assert!(bench.tell(Router::grant));
    let said = bench.take();
    assert!(matches!(&said[0], Output::Send(advert) if advert.priority == Priority(100)));
    assert_eq!(said[1], Output::Event(entered(State::Active, Reason::Granted)));
    assert!(bench.tell(Router::grant), "twice is once");
    assert_eq!(bench.take(), []);
}

#[test]
fn a_grant_ends_a_startup_delay_and_a_hold() {
    let mut bench = Bench::new(Config { startup_delay: ms(9000), ..guarded(2, 100) });
    bench.tell(Router::startup);
    assert!(bench.tell(Router::grant));
    let resign = Resign { farewell: false, hold: Some(ms(9000)) };
    bench.tell(|router, now| router.resign(now, resign));
    assert!(bench.tell(Router::grant));
    assert_eq!(bench.router.hold_until(), None);
    bench.take();
    bench.pass(ms(9000));
    assert!(!bench.events().iter().any(|event| matches!(event, Event::Entered { .. })));
}

#[test]
fn a_hold_keeps_it_from_asking() {
    let mut bench = Bench::active(guarded(2, 100));
    let resign = Resign { farewell: true, hold: Some(ms(5000)) };
    bench.tell(|router, now| router.resign(now, resign));
    assert_eq!(bench.adverts(), [0, 0, 0], "three farewells survive the loss of two");
    bench.pass(ms(4999));
    assert_eq!(asks(&bench.events()), 0);
    bench.pass(ms(1));
    assert_eq!(asks(&bench.events()), 1);
}

#[test]
fn a_winning_advert_is_reported_and_not_obeyed() {
    let mut bench = Bench::active(guarded(2, 100));
    bench.hear(3, 200);
    let contested = Event::Contested { from: ip("10.77.0.3"), priority: Priority(200), wins: true };
    assert_eq!(bench.take(), [Output::Event(contested)]);
    assert_eq!(bench.state(), State::Active);
    let rival = *bench.router.rival().unwrap();
    assert_eq!((rival.from, rival.wins, rival.since), (ip("10.77.0.3"), true, bench.now));
    bench.pass(INTERVAL);
    assert_eq!(bench.adverts(), [100], "and it adverts on");
}

#[test]
fn a_contest_is_reported_at_once_for_each_rival_and_then_about_once_per_interval() {
    let mut bench = Bench::active(guarded(2, 100));
    for _ in 0..1000 {
        bench.hear(3, 200);
        bench.hear(4, 50);
        bench.pass(ms(1));
    }
    let contests = |host: &str, events: &[Event]| {
        events.iter().filter(|e| matches!(e, Event::Contested { from, .. } if *from == ip(host))).count()
    };
    let events = bench.events();
    for host in ["10.77.0.3", "10.77.0.4"] {
        assert!((10..=12).contains(&contests(host, &events)), "{host}");
    }
}

#[test]
fn a_losing_rival_is_reported_and_answered() {
    let mut bench = Bench::active(guarded(2, 100));
    bench.hear(3, 50);
    let said = bench.take();
    let contested = Event::Contested { from: ip("10.77.0.3"), priority: Priority(50), wins: false };
    assert_eq!(said[0], Output::Event(contested));
    assert!(matches!(said[1], Output::Send(_)));
}

#[test]
fn rivals_from_ever_new_addresses_do_not_fill_the_memory() {
    let mut bench = Bench::active(guarded(2, 100));
    for host in 3..250 {
        bench.hear(host, 200);
    }
    assert_eq!(bench.router.rivals().count(), 8);
    assert_eq!(bench.events().len(), 8);
}

#[test]
fn only_the_supervisor_makes_it_yield() {
    let mut bench = Bench::active(guarded(2, 100));
    bench.hear(3, 200);
    assert!(bench.tell(Router::yield_to_rival));
    assert_eq!(bench.state(), State::Backup);
    assert_eq!(bench.adverts(), [] as [u8; 0]);
}

#[test]
fn a_fault_sends_no_farewell_because_only_the_supervisor_knows_that_nothing_is_served() {
    let mut bench = Bench::active(guarded(2, 100));
    bench.tell(|router, now| router.set_fault(now, true));
    assert_eq!(bench.take(), [Output::Event(entered(State::Initialize, Reason::Fault))]);
}

#[test]
fn one_who_overslept_steps_down_and_asks_again() {
    let mut bench = Bench::active(guarded(2, 100));
    bench.sleep(ms(700));
    assert_eq!(
        bench.take(),
        [
            Output::Event(Event::Overslept { by: ms(700) }),
            Output::Event(entered(State::Backup, Reason::Overslept)),
        ]
    );
    bench.pass(ms(361));
    assert_eq!(asks(&bench.events()), 1);
}

#[test]
fn it_never_preempts_whatever_the_configuration_says() {
    let mut bench = Bench::started(Config { preempt: true, ..guarded(2, 200) });
    for _ in 0..50 {
        bench.pass(INTERVAL);
        bench.hear(3, 1);
    }
    assert_eq!(asks(&bench.events()), 0);
}

#[test]
fn it_hears_a_suspicion_early_enough_to_ask_around() {
    let mut bench = Bench::started(guarded(2, 100));
    bench.hear(3, 200);
    bench.pass(ms(361));
    let events = bench.events();
    assert!(matches!(events[..], [Event::Suspect { .. }, Event::Ask { .. }]), "{events:?}");
}

#[test]
fn a_free_router_can_be_granted_too() {
    let mut bench = Bench::active(config(2, 100));
    bench.hear_with(3, 200, AdverInterval::DEFAULT);
    assert_eq!(bench.state(), State::Backup);
}
