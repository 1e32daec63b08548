//! VRRP: the packet, the state machine clause by clause, the guarded election, and networks in virtual time.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unchecked_time_subtraction,
    clippy::duration_suboptimal_units,
    reason = "helpers of tests are outside of test functions, and a failure there is a failed test"
)]

mod conformance;
mod exhaustive;
mod groups;
mod guarded;
mod simulation;
mod wire;

use pgbaton::units::Moment;
use pgbaton::vrrp::router::{Config, Event, Output, Reason, Router};
use pgbaton::vrrp::types::{AdverInterval, Priority, State, Version, Vrid};
use pgbaton::vrrp::wire::Advert;
use std::net::IpAddr;
use std::time::Duration;

/// The interval of the tests.
const INTERVAL: Duration = Duration::from_millis(100);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn vrid() -> Vrid {
    Vrid::try_from(51).unwrap()
}

/// A version 3 configuration with an interval of 100 ms; its address ends in `host`.
fn config(host: u8, priority: u8) -> Config {
    let source = IpAddr::from([10, 77, 0, host]);
    Config {
        priority: Priority(priority),
        interval: AdverInterval::from_duration(INTERVAL).unwrap(),
        ..Config::new(vrid(), source, vec![ip("10.77.0.100")])
    }
}

fn config_v2(host: u8, priority: u8) -> Config {
    Config { version: Version::V2, interval: AdverInterval::DEFAULT, ..config(host, priority) }
}

fn guarded(host: u8, priority: u8) -> Config {
    let config = config(host, priority);
    Config {
        priority: config.priority,
        interval: config.interval,
        ..Config::guarded(config.vrid, config.source, config.addresses)
    }
}

/// A router, the time, and what the router said since it was last asked.
struct Bench {
    router: Router,
    now: Moment,
    said: Vec<Output>,
}

impl Bench {
    fn new(config: Config) -> Self {
        let now = Moment::from_nanos(5_000_000_000);
        Self { router: Router::new(config).unwrap(), now, said: Vec::new() }
    }

    /// A router that was started, with what it said then forgotten.
    fn started(config: Config) -> Self {
        let mut bench = Self::new(config);
        bench.tell(Router::startup);
        bench.said.clear();
        bench
    }

    /// A router that became Active by silence (or by a grant), with what it said then forgotten.
    fn active(config: Config) -> Self {
        let mut bench = Self::started(config);
        bench.tell(Router::grant);
        assert_eq!(bench.state(), State::Active);
        bench.said.clear();
        bench
    }

    fn tell<T>(&mut self, action: impl FnOnce(&mut Router, Moment) -> T) -> T {
        let result = action(&mut self.router, self.now);
        loop {
            match self.router.poll_output() {
                Output::Timeout(_) => return result,
                said => self.said.push(said),
            }
        }
    }

    /// An advert from the host that ends in `host`, with the router's own interval and addresses.
    fn hear(&mut self, host: u8, priority: u8) {
        let interval = self.router.config().interval;
        self.hear_with(host, priority, interval);
    }

    fn hear_with(&mut self, host: u8, priority: u8, interval: AdverInterval) {
        let Config { version, vrid, addresses, auth, .. } = self.router.config().clone();
        let advert = Advert { version, vrid, priority: Priority(priority), interval, addresses, auth };
        self.tell(|router, now| router.handle_advert(now, IpAddr::from([10, 77, 0, host]), &advert));
    }

    /// Lets time pass, waking the router exactly when it wants to be.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Output::Timeout(Some(due)) = self.router.poll_output() {
            if due > end {
                break;
            }
            self.now = self.now.max(due);
            self.tell(Router::handle_timeout);
        }
        self.now = end;
    }

    /// Lets time pass without the router being run, and then runs it.
    fn sleep(&mut self, time: Duration) {
        self.now = self.now + time;
        self.tell(Router::handle_timeout);
    }

    fn state(&self) -> State {
        self.router.state()
    }

    /// Takes what was said.
    fn take(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.said)
    }

    /// Takes what was said, and returns only the events.
    fn events(&mut self) -> Vec<Event> {
        self.take()
            .into_iter()
            .filter_map(|output| if let Output::Event(event) = output { Some(event) } else { None })
            .collect()
    }

    /// Takes what was said, and returns only the priorities of the adverts.
    fn adverts(&mut self) -> Vec<u8> {
        self.take()
            .into_iter()
            .filter_map(
                |output| if let Output::Send(advert) = output { Some(advert.priority.0) } else { None },
            )
            .collect()
    }
}

const fn entered(state: State, reason: Reason) -> Event {
    Event::Entered { state, reason }
}
