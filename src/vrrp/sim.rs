//! A network of virtual routers in virtual time: what the tests try to break the election with.
//!
//! Pure and deterministic: one seed is one history. Adverts travel as octets, through the codec and its
//! checks, over a network that loses, delays, duplicates and reorders them, between nodes that freeze, wake
//! late, crash and count time from different boots at slightly different speeds.

use super::checksum::ChecksumForm;
use super::router::{Config, ConfigError, Event, Output, Router};
use super::types::State;
use super::wire::RxPacket;
use crate::units::{Moment, vrrp_group};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

/// The network and its nodes.
#[derive(Debug, Clone)]
pub struct Sim {
    /// What packets sent from now on go through.
    pub weather: Weather,
    /// Whether each packet sent from now on arrives, one after the other; the weather rules when it is used up.
    pub script: VecDeque<bool>,
    now: Moment,
    random: Random,
    nodes: Vec<Node>,
    /// One-way cuts: from, to.
    cuts: BTreeSet<(usize, usize)>,
    flying: BinaryHeap<Reverse<Flight>>,
    launched: u64,
    log: Vec<Entry>,
}

/// How badly the network and the machines behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    /// Packets lost, of a thousand.
    pub loss: u16,
    /// Packets that arrive twice, of a thousand.
    pub duplicates: u16,
    /// The shortest way of a packet.
    pub delay_min: Duration,
    /// The longest way of a packet; the difference is what reorders them.
    pub delay_max: Duration,
    /// How late a node wakes at most when a timer of it is due.
    pub lateness: Duration,
}

impl Weather {
    /// Nothing is lost, everything takes 100 µs.
    pub const CALM: Self = Self {
        loss: 0,
        duplicates: 0,
        delay_min: Duration::from_micros(100),
        delay_max: Duration::from_micros(100),
        lateness: Duration::ZERO,
    };
}

/// Something a node said, and when, by the clock of the simulation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entry {
    /// When.
    pub at: Moment,
    /// Which node.
    pub node: usize,
    /// What; `None` is an advert that it sent.
    pub event: Option<Event>,
}

#[derive(Debug, Clone)]
struct Node {
    router: Router,
    config: Config,
    up: bool,
    frozen: bool,
    wake: Option<Moment>,
    inbox: VecDeque<Flight>,
    boot: Duration,
    drift_ppm: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Flight {
    at: Moment,
    order: u64,
    to: usize,
    from: IpAddr,
    octets: Vec<u8>,
}

impl Sim {
    /// Creates an empty network whose chances are those of the seed.
    pub fn new(seed: u64) -> Self {
        Self {
            weather: Weather::CALM,
            script: VecDeque::new(),
            now: Moment::from_nanos(1_000_000_000),
            random: Random(seed),
            nodes: Vec::new(),
            cuts: BTreeSet::new(),
            flying: BinaryHeap::new(),
            launched: 0,
            log: Vec::new(),
        }
    }

    /// Adds a node and starts its router; returns its number.
    pub fn add(&mut self, config: Config) -> Result<usize, ConfigError> {
        let router = Router::new(config.clone())?;
        let boot = Duration::from_nanos(self.random.below(1_000_000_000_000));
        let drift_ppm = u32::try_from(self.random.below(200)).unwrap_or(0);
        self.nodes.push(Node {
            router,
            config,
            up: true,
            frozen: false,
            wake: None,
            inbox: VecDeque::new(),
            boot,
            drift_ppm,
        });
        let number = self.nodes.len() - 1;
        self.act(number, Router::startup);
        Ok(number)
    }

    /// Returns the present moment of the simulation.
    pub const fn now(&self) -> Moment {
        self.now
    }

    /// Returns the chances of this network, for a test to take its own from.
    pub const fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// Returns the router of a node, unless it has crashed.
    pub fn router(&self, node: usize) -> Option<&Router> {
        self.nodes.get(node).filter(|node| node.up).map(|node| &node.router)
    }

    /// Returns the nodes that run and are Active, frozen ones left out.
    pub fn actives(&self) -> Vec<usize> {
        self.nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| node.up && !node.frozen && node.router.state() == State::Active)
            .map(|(number, _)| number)
            .collect()
    }

    /// Takes what was said since the last call.
    pub fn take_log(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.log)
    }

    /// Does something to a router, by its own clock, and lets it send what it has to. Not to one that is down.
    pub fn act<T>(&mut self, number: usize, action: impl FnOnce(&mut Router, Moment) -> T) -> Option<T> {
        let now = self.now;
        let node = self.nodes.get_mut(number).filter(|node| node.up && !node.frozen)?;
        let local = node.local(now);
        let result = action(&mut node.router, local);
        self.drain(number);
        Some(result)
    }

    /// Stops a node as a power cut does.
    pub fn crash(&mut self, number: usize) {
        if let Some(node) = self.nodes.get_mut(number) {
            node.up = false;
            node.frozen = false;
            node.wake = None;
            node.inbox.clear();
        }
    }

    /// Starts a crashed node again, with nothing remembered.
    pub fn restart(&mut self, number: usize) {
        if let Some(node) = self.nodes.get_mut(number).filter(|node| !node.up)
            && let Ok(router) = Router::new(node.config.clone())
        {
            node.router = router;
            node.up = true;
            self.act(number, Router::startup);
        }
    }

    /// Stops a node from running, as SIGSTOP or a paused virtual machine does; what arrives waits for it.
    pub fn freeze(&mut self, number: usize) {
        if let Some(node) = self.nodes.get_mut(number).filter(|node| node.up) {
            node.frozen = true;
        }
    }

    /// Lets a frozen node run again; by chance it looks first at its timers or first at its socket.
    pub fn thaw(&mut self, number: usize) {
        let Some(node) = self.nodes.get_mut(number).filter(|node| node.frozen) else { return };
        node.frozen = false;
        let waiting = std::mem::take(&mut node.inbox);
        let timers_first = self.random.chance(500);
        if timers_first {
            self.act(number, Router::handle_timeout);
        }
        for flight in waiting {
            self.receive(flight);
        }
        self.act(number, Router::handle_timeout);
    }

    /// Returns whether a node is frozen.
    pub fn is_frozen(&self, number: usize) -> bool {
        self.nodes.get(number).is_some_and(|node| node.frozen)
    }

    /// Cuts the way from one node to another; the way back stays.
    pub fn cut(&mut self, from: usize, to: usize) {
        self.cuts.insert((from, to));
    }

    /// Cuts every way between two groups: the nodes in `one`, and the others.
    pub fn partition(&mut self, one: &[usize]) {
        for from in 0..self.nodes.len() {
            for to in 0..self.nodes.len() {
                if one.contains(&from) != one.contains(&to) {
                    self.cut(from, to);
                }
            }
        }
    }

    /// Mends every cut.
    pub fn heal(&mut self) {
        self.cuts.clear();
    }

    /// Makes everything as good as it can be: no cuts, calm weather, nobody frozen or down.
    pub fn calm(&mut self) {
        self.heal();
        self.script.clear();
        self.weather = Weather::CALM;
        for number in 0..self.nodes.len() {
            self.thaw(number);
            self.restart(number);
        }
    }

    /// Lets this much time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Lets time pass until the condition holds, at most this long; returns whether it does.
    pub fn run_until(&mut self, time: Duration, condition: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + time;
        while !condition(self) {
            if !self.step(end) {
                self.now = end;
                return condition(self);
            }
        }
        true
    }

    /// Goes on to the next thing that happens, unless that is after `end`; returns whether anything did.
    pub fn step(&mut self, end: Moment) -> bool {
        let arrival = self.flying.peek().map(|Reverse(flight)| flight.at);
        let awake = |node: &Node| node.up && !node.frozen;
        let wake = self
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| awake(node))
            .filter_map(|(number, node)| node.wake.map(|at| (at, number)))
            .min();
        match (arrival, wake) {
            (Some(at), other) if at <= end && other.is_none_or(|(wake, _)| at <= wake) => {
                self.now = self.now.max(at);
                if let Some(Reverse(flight)) = self.flying.pop() {
                    self.receive(flight);
                }
                true
            }
            (_, Some((at, number))) if at <= end => {
                self.now = self.now.max(at);
                self.act(number, Router::handle_timeout);
                true
            }
            _ => false,
        }
    }

    fn receive(&mut self, flight: Flight) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(flight.to).filter(|node| node.up) else { return };
        if node.frozen {
            // A socket buffer is finite: the newest is what is lost.
            if node.inbox.len() < SOCKET_BUFFER {
                node.inbox.push_back(flight);
            }
            return;
        }
        let destination = vrrp_group(flight.from.is_ipv4());
        let packet = RxPacket { ttl: Some(255), source: flight.from, destination, payload: &flight.octets };
        let policy = node.router.config().rx_policy();
        let local = node.local(now);
        // What is refused is counted; there is nobody here to tell.
        node.router.handle_packet(local, &packet, &policy).unwrap_or_default();
        self.drain(flight.to);
    }

    /// Takes every output of a router and puts it where it belongs.
    fn drain(&mut self, number: usize) {
        loop {
            let Some(node) = self.nodes.get_mut(number) else { return };
            match node.router.poll_output() {
                Output::Send(advert) => {
                    let source = node.config.source;
                    let form = if self.launched.is_multiple_of(2) {
                        ChecksumForm::PseudoHeader
                    } else {
                        ChecksumForm::MessageOnly
                    };
                    let octets = advert.emit(form, source, vrrp_group(source.is_ipv4()));
                    self.log.push(Entry { at: self.now, node: number, event: None });
                    self.launch(number, source, &octets);
                }
                Output::Event(event) => {
                    self.log.push(Entry { at: self.now, node: number, event: Some(event) });
                }
                Output::Timeout(due) => {
                    let late = Duration::from_nanos(self.random.upto(self.weather.lateness));
                    node.wake = due.map(|due| node.global(due).max(self.now) + late);
                    return;
                }
            }
        }
    }

    fn launch(&mut self, number: usize, from: IpAddr, octets: &[u8]) {
        let arrives = self.script.pop_front();
        for to in (0..self.nodes.len()).filter(|to| *to != number) {
            if self.cuts.contains(&(number, to)) {
                continue;
            }
            let lost = arrives.map_or_else(|| self.random.chance(self.weather.loss), |arrives| !arrives);
            if lost {
                continue;
            }
            let copies = if self.random.chance(self.weather.duplicates) { 2 } else { 1 };
            for _ in 0..copies {
                let Weather { delay_min, delay_max, .. } = self.weather;
                let spread = Duration::from_nanos(self.random.upto(delay_max.saturating_sub(delay_min)));
                let at = self.now + delay_min + spread;
                self.launched += 1;
                let flight = Flight { at, order: self.launched, to, from, octets: octets.to_vec() };
                self.flying.push(Reverse(flight));
            }
        }
    }
}

impl Node {
    /// Returns what this node's clock shows.
    fn local(&self, global: Moment) -> Moment {
        let drift = u128::from(global.as_nanos()) * u128::from(self.drift_ppm) / 1_000_000;
        global + self.boot + Duration::from_nanos(u64::try_from(drift).unwrap_or(u64::MAX))
    }

    /// Returns the first moment of the simulation at which this node's clock shows at least `local`.
    fn global(&self, local: Moment) -> Moment {
        let since_boot = u128::from((local - self.boot).as_nanos());
        let nanos = (since_boot * 1_000_000).div_ceil(1_000_000 + u128::from(self.drift_ppm));
        let mut global = Moment::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        while self.local(global) < local {
            global = global + Duration::from_nanos(1);
        }
        global
    }
}

/// Chances that are the same for the same seed (`SplitMix64`).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Creates the chances of a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns any number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `limit`, or 0 if that is 0.
    pub const fn below(&mut self, limit: u64) -> u64 {
        match self.next().checked_rem(limit) {
            Some(number) => number,
            None => 0,
        }
    }

    /// Returns a number of nanoseconds up to a duration.
    pub fn upto(&mut self, longest: Duration) -> u64 {
        if longest.is_zero() {
            return 0;
        }
        self.below(u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX).saturating_add(1))
    }

    /// Returns true this many times of a thousand.
    pub const fn chance(&mut self, of_a_thousand: u16) -> bool {
        of_a_thousand > 0 && self.below(1000) < of_a_thousand as u64
    }
}

const SOCKET_BUFFER: usize = 32;
