//! Every history of a small network, instead of many: two and three routers, and a scheduler that may deliver any
//! packet before any other, lose some, let timers run late, and crash, restart or freeze a router.
//!
//! Breadth first over the states that differ (time counts from "now"), so what is found is found in its shortest
//! form. In every state three things hold: each change of state had a cause; whoever is Active and hears a better
//! router yields; and if the trouble ended here, there would be one Active router after a while, for good.
//!
//! `PGBATON_SEARCH_DEPTH` adds to the depths.

use super::{INTERVAL, config, ms};
use pgbaton::units::{Moment, vrrp_group};
use pgbaton::vrrp::checksum::ChecksumForm;
use pgbaton::vrrp::router::{AnnounceSchedule, Config, Event, Output, Router};
use pgbaton::vrrp::types::{Priority, State};
use pgbaton::vrrp::wire::{Advert, RxPacket};
use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::fmt::Write as _;
use std::hash::{Hash, Hasher};
use std::time::Duration;

/// The longest way of a packet, and the most that a timer is late: less than half an interval together.
const WAY: Duration = Duration::from_millis(25);
const LATE: Duration = Duration::from_millis(15);
/// A freeze that nobody notices, and one after which the others have elected anew.
const FREEZES: [Duration; 2] = [Duration::from_millis(150), Duration::from_millis(700)];
/// When peace has settled everything: a down interval, a contest, and room.
const SETTLED: Duration = Duration::from_millis(1200);

/// What the scheduler may do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Start(usize),
    Deliver(usize),
    Lose(usize),
    Timer(usize),
    Crash(usize),
    Leave(usize),
    Freeze(usize, Duration),
}

/// How often it may do what is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Allowance {
    losses: u8,
    crashes: u8,
    freezes: u8,
}

impl Allowance {
    const fn filter_by(self, wanted: bool) -> Option<Self> {
        if wanted { Some(self) } else { None }
    }
}

#[derive(Debug, Clone)]
struct World {
    now: Moment,
    nodes: Vec<Node>,
    flights: Vec<Flight>,
    left: Allowance,
    told: Vec<Act>,
}

#[derive(Debug, Clone)]
struct Node {
    router: Router,
    up: bool,
    asleep: Option<Moment>,
    /// When a router that this one gives way to was last heard, or its farewell, or when this one began to listen.
    respected: Moment,
    said_farewell: bool,
}

#[derive(Debug, Clone)]
struct Flight {
    from: usize,
    to: usize,
    sent: Moment,
    advert: Advert,
}

/// What a step led to that the rules don't allow.
#[derive(Debug)]
struct Wrong(String);

impl World {
    fn new(configs: &[Config], left: Allowance) -> Self {
        let now = Moment::from_nanos(1_000_000_000);
        let node = |config: &Config| Node {
            router: Router::new(config.clone()).unwrap(),
            up: false,
            asleep: None,
            respected: now,
            said_farewell: false,
        };
        Self { now, nodes: configs.iter().map(node).collect(), flights: Vec::new(), left, told: Vec::new() }
    }

    /// Returns what tells this state from others: with what the scheduler may still do, or without.
    fn digest(&self, with_allowance: bool) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.left.filter_by(with_allowance).hash(&mut hasher);
        for node in &self.nodes {
            (node.up, node.asleep.map(|at| at.since(self.now)), node.said_farewell).hash(&mut hasher);
            if node.up {
                node.router.hash_at(self.now, &mut hasher);
                let silent = self.now.since(node.respected).min(SETTLED);
                silent.hash(&mut hasher);
            }
        }
        // The order in which packets were sent is no part of the state: any may arrive first.
        let mut flights: Vec<_> = self
            .flights
            .iter()
            .map(|flight| (flight.to, flight.from, self.now.since(flight.sent), flight.advert.priority))
            .collect();
        flights.sort_unstable();
        flights.hash(&mut hasher);
        hasher.finish()
    }

    /// Returns when a node looks at its timers next.
    fn due(&self, number: usize) -> Option<Moment> {
        let node = &self.nodes[number];
        let Output::Timeout(due) = node.router.clone().poll_output() else { panic!("outputs are left") };
        due.filter(|_| node.up).map(|due| due.max(node.asleep.unwrap_or(due)).max(self.now))
    }

    /// Returns until when a packet must have arrived or be lost.
    fn deadline(&self, flight: &Flight) -> Moment {
        let at = flight.sent + WAY;
        self.nodes[flight.to].asleep.map_or(at, |until| at.max(until + LATE))
    }

    fn acts(&self) -> Vec<Act> {
        let mut acts = Vec::new();
        let numbers = || 0..self.nodes.len();
        for (number, flight) in self.flights.iter().enumerate() {
            if self.nodes[flight.to].asleep.is_none_or(|until| until <= self.now) {
                acts.push(Act::Deliver(number));
            }
            if self.left.losses > 0 {
                acts.push(Act::Lose(number));
            }
        }
        let first = numbers().filter_map(|number| self.due(number)).min();
        let overdue = self.flights.iter().map(|flight| self.deadline(flight)).min();
        for number in numbers() {
            let node = &self.nodes[number];
            if let (Some(due), Some(first)) = (self.due(number), first)
                && due <= first + LATE
                && overdue.is_none_or(|overdue| due <= overdue)
            {
                acts.push(Act::Timer(number));
            }
            if !node.up {
                acts.push(Act::Start(number));
                continue;
            }
            if self.left.crashes > 0 {
                acts.push(Act::Crash(number));
                if node.asleep.is_none() {
                    acts.push(Act::Leave(number));
                }
            }
            if self.left.freezes > 0 && node.asleep.is_none() {
                acts.extend(FREEZES.map(|time| Act::Freeze(number, time)));
            }
        }
        acts
    }

    fn after(&self, act: Act) -> Result<Self, Wrong> {
        let mut world = self.clone();
        world.told.push(act);
        world.carry_out(act)?;
        Ok(world)
    }

    fn carry_out(&mut self, act: Act) -> Result<(), Wrong> {
        match act {
            Act::Start(number) => {
                let node = &mut self.nodes[number];
                node.router = Router::new(node.router.config().clone()).unwrap();
                (node.up, node.asleep) = (true, None);
                (node.respected, node.said_farewell) = (self.now, false);
                self.step(number, Router::startup, None)
            }
            Act::Crash(number) => {
                self.left.crashes -= 1;
                self.nodes[number].up = false;
                self.flights.retain(|flight| flight.to != number);
                Ok(())
            }
            Act::Leave(number) => {
                self.left.crashes -= 1;
                self.step(number, Router::shutdown, Some(Cause::Leave))?;
                self.nodes[number].up = false;
                self.flights.retain(|flight| flight.to != number);
                Ok(())
            }
            Act::Freeze(number, time) => {
                self.left.freezes -= 1;
                self.nodes[number].asleep = Some(self.now + time);
                Ok(())
            }
            Act::Lose(number) => {
                self.left.losses -= 1;
                self.flights.remove(number);
                Ok(())
            }
            Act::Deliver(number) => self.deliver(number),
            Act::Timer(number) => {
                self.now = self.due(number).unwrap();
                self.step(number, Router::handle_timeout, None)
            }
        }
    }

    fn deliver(&mut self, number: usize) -> Result<(), Wrong> {
        let Flight { from, to, advert, .. } = self.flights.remove(number);
        let source = self.nodes[from].router.config().source;
        let destination = vrrp_group(true);
        let octets = advert.emit(ChecksumForm::PseudoHeader, source, destination);
        let node = &mut self.nodes[to];
        let own = (node.router.config().priority, node.router.config().source);
        let preempts = node.router.config().preempt;
        let farewell = advert.priority == Priority::RELEASE;
        if node.router.state() == State::Backup {
            if farewell {
                (node.respected, node.said_farewell) = (self.now, true);
            } else if advert.priority >= own.0 || !preempts {
                (node.respected, node.said_farewell) = (self.now, false);
            }
        }
        let better = !farewell && (advert.priority, source) > own;
        let cause = better.then_some(Cause::Better);
        let receive = |router: &mut Router, now| {
            let packet = RxPacket { ttl: Some(255), source, destination, payload: &octets };
            let policy = router.config().rx_policy();
            router.handle_packet(now, &packet, &policy).unwrap();
        };
        self.step(to, receive, cause)?;
        if better && self.nodes[to].router.state() == State::Active {
            return Err(Wrong(format!("{to} heard a better router and is still Active")));
        }
        Ok(())
    }

    /// Lets a router do something, sends what it has to send, and asks for the cause of every change of state.
    fn step(
        &mut self,
        number: usize,
        what: impl FnOnce(&mut Router, Moment),
        cause: Option<Cause>,
    ) -> Result<(), Wrong> {
        let now = self.now;
        let others = self.nodes.len();
        let up: Vec<bool> = self.nodes.iter().map(|node| node.up).collect();
        let node = &mut self.nodes[number];
        let slept = node.asleep.take_if(|until| *until <= now).is_some();
        let before = node.router.state();
        let (down, skew) = (node.router.down_interval(), node.router.skew());
        what(&mut node.router, now);
        loop {
            match node.router.poll_output() {
                Output::Send(advert) => {
                    for to in (0..others).filter(|to| *to != number && up[*to]) {
                        self.flights.push(Flight { from: number, to, sent: now, advert: advert.clone() });
                    }
                }
                Output::Event(Event::Entered { state: State::Active, .. }) => {
                    let silent = now.since(node.respected);
                    let owner = node.router.config().priority == Priority::OWNER;
                    if !(silent >= down || node.said_farewell && silent >= skew || owner) {
                        return Err(Wrong(format!("{number} is Active after a silence of {silent:?}")));
                    }
                }
                Output::Event(_) => {}
                Output::Timeout(_) => break,
            }
        }
        let after = node.router.state();
        if before == State::Active && after != State::Active {
            if cause.is_none() && !slept {
                return Err(Wrong(format!("{number} gave up being Active without a cause")));
            }
            node.respected = now;
            node.said_farewell = false;
        }
        Ok(())
    }

    fn actives(&self) -> Vec<usize> {
        let active = |number: &usize| {
            let node = &self.nodes[*number];
            node.up && node.router.state() == State::Active
        };
        (0..self.nodes.len()).filter(active).collect()
    }

    /// Does what comes next in peace, where every packet arrives at once and every timer fires in time; returns
    /// whether there was something before `end`.
    fn peaceful_step(&mut self, end: Moment) -> Result<bool, Wrong> {
        let awake = |flight: &Flight| self.nodes[flight.to].asleep.is_none_or(|until| until <= self.now);
        if let Some(arrives) = self.flights.iter().position(awake) {
            self.carry_out(Act::Deliver(arrives))?;
            return Ok(true);
        }
        let next = (0..self.nodes.len()).filter_map(|number| Some((self.due(number)?, number))).min();
        let Some((_, number)) = next.filter(|(due, _)| *due <= end) else {
            self.now = end;
            return Ok(false);
        };
        self.carry_out(Act::Timer(number))?;
        Ok(true)
    }

    fn peace(&mut self, time: Duration) -> Result<(), Wrong> {
        let end = self.now + time;
        while self.peaceful_step(end)? {}
        Ok(())
    }

    /// Checks that from here, peace leads to one Active router that stays. `good` are the states that this is known of:
    /// in peace there is one way on from each, and it is enough to come upon one of them.
    fn ends_well(&self, good: &mut HashSet<u64>) -> Result<(), Wrong> {
        let mut world = self.clone();
        for number in 0..world.nodes.len() {
            if !world.nodes[number].up {
                world.carry_out(Act::Start(number))?;
            }
        }
        let mut passed = Vec::new();
        // The longest freeze ends first.
        let end = world.now + FREEZES[1] + SETTLED;
        loop {
            let here = world.digest(false);
            if good.contains(&here) {
                good.extend(passed);
                return Ok(());
            }
            passed.push(here);
            if !world.peaceful_step(end)? {
                break;
            }
        }
        let actives = world.actives();
        if actives.len() != 1 {
            return Err(Wrong(format!("after peace, {actives:?} are Active")));
        }
        let end = world.now + SETTLED;
        while world.peaceful_step(end)? {
            if world.actives() != actives {
                return Err(Wrong("peace doesn't last".to_owned()));
            }
        }
        let rank = |number: usize| world.nodes[number].router.config().priority;
        let best = (0..world.nodes.len()).map(rank).max().unwrap();
        let preempts = world.nodes.iter().all(|node| node.router.config().preempt);
        if preempts && rank(actives[0]) != best {
            return Err(Wrong(format!("{actives:?} is Active, and it isn't the best")));
        }
        good.extend(passed);
        Ok(())
    }
}

/// Why a router may stop being Active.
#[derive(Debug, Clone, Copy)]
enum Cause {
    Better,
    Leave,
}

fn fail(world: &World, wrong: &Wrong) -> ! {
    let mut story = String::new();
    for act in &world.told {
        write!(story, "\n  {act:?}").unwrap();
    }
    panic!("{}, after:{story}", wrong.0)
}

/// Goes through every state within this many acts of the start; returns how many there are.
fn search(configs: &[Config], allowance: Allowance, depth: usize) -> usize {
    let more = std::env::var("PGBATON_SEARCH_DEPTH").map_or(0, |text| text.parse().unwrap());
    let mut start = World::new(configs, allowance);
    // The beginning is the same in every story: all are up, and the first election is over.
    for number in 0..configs.len() {
        start.carry_out(Act::Start(number)).unwrap_or_else(|wrong| fail(&start, &wrong));
    }
    start.peace(SETTLED).unwrap();
    let mut seen = HashSet::from([start.digest(true)]);
    let mut good = HashSet::new();
    let mut frontier = vec![start];
    for _ in 0..depth + more {
        let mut next = Vec::new();
        for world in &frontier {
            for act in world.acts() {
                match world.after(act) {
                    Ok(after) => {
                        if seen.insert(after.digest(true)) {
                            after.ends_well(&mut good).unwrap_or_else(|wrong| fail(&after, &wrong));
                            next.push(after);
                        }
                    }
                    Err(wrong) => {
                        let mut told = world.clone();
                        told.told.push(act);
                        fail(&told, &wrong);
                    }
                }
            }
        }
        frontier = next;
    }
    seen.len()
}

fn plain(host: u8, priority: u8) -> Config {
    // The second round of gratuitous ARP is no part of the election, and doubles the states.
    let announce = AnnounceSchedule { second_delay: Duration::ZERO, ..AnnounceSchedule::default() };
    Config { announce, ..config(host, priority) }
}

#[test]
fn two_routers_of_different_priority() {
    let allowance = Allowance { losses: 4, crashes: 2, freezes: 1 };
    let states = search(&[plain(1, 200), plain(2, 100)], allowance, 9);
    assert!(states > 1000, "{states}");
}

#[test]
fn two_routers_of_equal_priority() {
    let allowance = Allowance { losses: 4, crashes: 2, freezes: 1 };
    let states = search(&[plain(1, 100), plain(2, 100)], allowance, 9);
    assert!(states > 1000, "{states}");
}

#[test]
fn two_routers_that_do_not_preempt() {
    let stays = |host, priority| Config { preempt: false, ..plain(host, priority) };
    let allowance = Allowance { losses: 4, crashes: 2, freezes: 1 };
    search(&[stays(1, 200), stays(2, 100)], allowance, 9);
}

#[test]
fn an_owner_and_a_backup() {
    let allowance = Allowance { losses: 4, crashes: 2, freezes: 1 };
    search(&[plain(1, 255), plain(2, 100)], allowance, 9);
}

#[test]
fn a_long_silence_between_two_routers() {
    // Only losses, and deeper: takeover, contest, and the way back.
    let allowance = Allowance { losses: 9, crashes: 0, freezes: 0 };
    search(&[plain(1, 101), plain(2, 100)], allowance, 16);
}

#[test]
fn three_routers() {
    let allowance = Allowance { losses: 3, crashes: 1, freezes: 1 };
    let states = search(&[plain(1, 200), plain(2, 100), plain(3, 100)], allowance, 6);
    assert!(states > 1000, "{states}");
}

#[test]
fn the_reader_is_told_the_shortest_way_to_a_mistake() {
    // The search itself: a world whose backup is deaf to the rule is found out.
    let mut world =
        World::new(&[plain(1, 200), plain(2, 100)], Allowance { losses: 0, crashes: 0, freezes: 0 });
    for number in 0..2 {
        world.carry_out(Act::Start(number)).unwrap();
    }
    world.peace(SETTLED).unwrap();
    assert_eq!(world.actives(), [0]);
    world.nodes[1].respected = world.now + INTERVAL * 9;
    world.nodes[0].up = false;
    let wrong = world.peace(ms(1000)).unwrap_err();
    assert!(wrong.0.starts_with("1 is Active after a silence of 0ns"), "{}", wrong.0);
}
