//! The election: one virtual router, from adverts and moments to decisions (RFC 9568 §6.4).
//!
//! Pure. The caller hands in one thing at a time, each with the present moment, and after each one takes
//! [`Router::poll_output`] until it says [`Output::Timeout`]:
//!
//! ```text
//! getters      state, config, active_since, last_heard, rivals, stats, hold_until
//! handlers     handle_packet(now, packet, policy)   handle_advert(now, from, advert)   handle_timeout(now)
//! mutators     startup  shutdown  grant  resign  yield_to_rival  set_priority  set_interval  set_fault
//! outputs      poll_output: Send, Event, then Timeout
//! ```
//!
//! What an advert does is in `router/adverts.rs`, all else here. A free router follows the RFC. A guarded one
//! asks before it becomes Active and never yields by itself: behind it stands a database, and priorities know
//! nothing of where the newest data is.

pub use super::config::{AnnounceSchedule, Config, ConfigError, Election};
pub use super::event::{AskReason, Difference, Event, Heard, Output, Reason, Resign, Rival, Round};

mod adverts;
mod digest;
mod rivals;

use self::rivals::RivalTable;
use super::stats::Stats;
use super::timers::{self, Timer, TimerTable};
use super::types::{AdverInterval, Priority, State, Version};
use super::wire::Advert;
use crate::units::Moment;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

/// One virtual router on one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Router {
    config: Config,
    state: State,
    running: bool,
    faulted: bool,
    timers: TimerTable,
    /// `Active_Adver_Interval`: what the Active router says its interval is; ours until one is heard.
    active_interval: AdverInterval,
    active_since: Option<Moment>,
    last_sent: Option<Moment>,
    last_assert: Option<Moment>,
    last_heard: Option<Heard>,
    listening: Listening,
    hold_until: Option<Moment>,
    rivals: RivalTable,
    told: Vec<(Difference, Moment)>,
    stats: Stats,
    outputs: VecDeque<Output>,
}

/// What a Backup remembers of what it heard, until it is something else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each with its name")]
struct Listening {
    /// Who said farewell, for as long as that is the last thing heard by a router that wasn't deaf since.
    farewell: Option<IpAddr>,
    /// Whether a suspicion was voiced.
    suspected: bool,
    /// Whether the preempt delay has passed for the lower priority that is Active.
    preempt_ready: bool,
    /// Whether this silence was already given a second chance after waking late.
    graced: bool,
    /// Whether it would be Active by now if it weren't for its group.
    wants: bool,
}

impl Router {
    /// Creates a router that isn't started.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self {
            state: State::Initialize,
            running: false,
            faulted: false,
            timers: TimerTable::default(),
            active_interval: config.interval,
            active_since: None,
            last_sent: None,
            last_assert: None,
            last_heard: None,
            listening: Listening::default(),
            hold_until: None,
            rivals: RivalTable::default(),
            told: Vec::new(),
            stats: Stats::default(),
            outputs: VecDeque::new(),
            config,
        })
    }

    /// Returns the state.
    pub const fn state(&self) -> State {
        self.state
    }

    /// Returns the configuration, with the priority and interval of the moment.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Returns since when the router has been Active.
    pub const fn active_since(&self) -> Option<Moment> {
        self.active_since
    }

    /// Returns the last advert from anyone, farewells included.
    pub const fn last_heard(&self) -> Option<Heard> {
        self.last_heard
    }

    /// Returns whether the Active router is suspected to be gone.
    pub const fn is_suspecting(&self) -> bool {
        self.listening.suspected
    }

    /// Returns whether it would be Active by now if it weren't for its group.
    pub const fn wants_active(&self) -> bool {
        self.listening.wants
    }

    /// Returns whether a fault keeps the router out of the election.
    pub const fn is_faulted(&self) -> bool {
        self.faulted
    }

    /// Returns until when the router neither becomes Active nor asks for it.
    pub const fn hold_until(&self) -> Option<Moment> {
        self.hold_until
    }

    /// Returns `Active_Adver_Interval`: the interval that the Active router uses, as far as is known.
    pub const fn active_interval(&self) -> AdverInterval {
        self.active_interval
    }

    /// Returns `Active_Down_Interval`: how long silence lasts until the Active router counts as gone.
    pub fn down_interval(&self) -> Duration {
        let Config { version, priority, down_timer_adverts, .. } = self.config;
        timers::active_down(version, priority, self.active_interval, down_timer_adverts)
    }

    /// Returns `Skew_Time`.
    pub fn skew(&self) -> Duration {
        timers::skew(self.config.version, self.config.priority, self.active_interval)
    }

    /// Returns when a wait ends, if it is running.
    pub const fn timer(&self, timer: Timer) -> Option<Moment> {
        self.timers.get(timer)
    }

    /// Returns the routers that were heard while this one is Active, and aren't forgotten yet.
    pub fn rivals(&self) -> impl Iterator<Item = &Rival> {
        self.rivals.iter()
    }

    /// Returns the rival that ranks highest.
    pub fn rival(&self) -> Option<&Rival> {
        self.rivals().max_by_key(|rival| (rival.priority, rival.from))
    }

    /// Returns the counters.
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Returns the counters, for the edge to count what it dropped by itself.
    pub const fn stats_mut(&mut self) -> &mut Stats {
        &mut self.stats
    }

    /// Returns the next thing to do. To be called after each handler or mutator until it says `Timeout`.
    pub fn poll_output(&mut self) -> Output {
        self.outputs.pop_front().unwrap_or_else(|| Output::Timeout(self.timers.next()))
    }

    /// Enters the election (RFC 9568 §6.4.1), after the startup delay. Does nothing if already started.
    pub fn startup(&mut self, now: Moment) {
        if self.running {
            return;
        }
        self.running = true;
        if self.faulted {
            return;
        }
        if self.config.startup_delay.is_zero() {
            self.enter(now, Reason::Startup);
        } else {
            self.timers.set(Timer::Startup, now + self.config.startup_delay);
        }
    }

    /// Leaves the election, with a farewell if Active.
    pub fn shutdown(&mut self, now: Moment) {
        self.wake(now);
        self.running = false;
        self.hold_until = None;
        self.initialize(now, Reason::Shutdown, true);
    }

    /// Does what is due; harmless when nothing is.
    pub fn handle_timeout(&mut self, now: Moment) {
        self.wake(now);
        if self.timers.take_due(Timer::Startup, now).is_some() {
            self.enter(now, Reason::Startup);
        }
        if self.timers.take_due(Timer::Preempt, now).is_some() {
            self.listening.preempt_ready = true;
        }
        self.give_a_second_chance(now);
        if self.timers.take_due(Timer::Suspect, now).is_some() {
            self.listening.suspected = true;
            self.stats.suspected += 1;
            self.event(Event::Suspect { last_heard: self.last_heard });
        }
        if self.timers.take_due(Timer::ActiveDown, now).is_some() {
            self.active_is_down(now);
        }
        if let Some(due) = self.timers.take_due(Timer::Adver, now) {
            self.send(now, self.config.priority);
            // From when it was due, so that lateness doesn't add up; but never to catch up in a burst.
            let next = due + self.config.interval.as_duration();
            let next = if next > now { next } else { now + self.config.interval.as_duration() };
            self.timers.set(Timer::Adver, next);
        }
        if self.timers.take_due(Timer::Again, now).is_some() {
            self.announce(Round::Second);
        }
        if self.timers.take_due(Timer::Refresh, now).is_some() {
            self.announce(Round::Refresh);
            self.arm_refresh(now);
        }
        if self.timers.take_due(Timer::Rival, now).is_some() {
            let silent = self.rivals.take_silent(now);
            self.rivals_left(now, &silent);
        }
    }

    /// Makes a Backup Active, or one that waits for its startup delay; ends a hold.
    ///
    /// Returns whether the router is Active now. It isn't when it was never started, has a fault, or has just
    /// found that it overslept: the grant may be as old as the sleep.
    pub fn grant(&mut self, now: Moment) -> bool {
        let overslept = self.wake(now);
        if overslept || !self.running || self.faulted {
            return false;
        }
        if self.state != State::Active {
            self.hold_until = None;
            self.become_active(now, Reason::Granted);
        }
        true
    }

    /// Gives up being Active, or only begins the hold when it isn't. Returns whether it was Active.
    pub fn resign(&mut self, now: Moment, how: Resign) -> bool {
        self.wake(now);
        let was_active = self.state == State::Active;
        if let Some(hold) = how.hold {
            self.hold_until = Some(now + hold);
        }
        if was_active {
            self.active_interval = self.config.interval;
            self.become_backup(now, Reason::Resigned);
            if how.farewell {
                self.farewell(now);
            }
        }
        was_active
    }

    /// Makes a Backup Active together with the other routers of its group.
    pub fn rise(&mut self, now: Moment) {
        if self.running && !self.faulted && self.state == State::Backup && !self.holds(now) {
            self.become_active(now, Reason::GroupRises);
        }
    }

    /// Makes an Active router Backup because another one of its group is, with a farewell.
    pub fn fall(&mut self, now: Moment) {
        if !self.wake(now) && self.state == State::Active {
            self.active_interval = self.config.interval;
            self.become_backup(now, Reason::GroupFalls);
            self.farewell(now);
        }
    }

    /// Gives way to the highest rival without a farewell. Returns whether the router was Active.
    pub fn yield_to_rival(&mut self, now: Moment) -> bool {
        self.wake(now);
        if self.state != State::Active {
            return false;
        }
        self.active_interval = self.rival().map_or(self.config.interval, |rival| rival.interval);
        self.become_backup(now, Reason::Yielded);
        true
    }

    /// Changes the priority; 0 counts as 1, because 0 is a farewell.
    pub fn set_priority(&mut self, now: Moment, priority: Priority) {
        self.wake(now);
        let before = self.skew();
        self.config.priority = priority.max(Priority(1));
        let after = self.skew();
        // Both waits that this timer may stand for hold one skew.
        if let Some(due) = self.timers.get(Timer::ActiveDown) {
            self.timers.set(Timer::ActiveDown, (due + after) - before);
        }
    }

    /// Changes the advertisement interval.
    pub fn set_interval(&mut self, now: Moment, interval: AdverInterval) -> Result<(), ConfigError> {
        self.wake(now);
        Config { interval, ..self.config.clone() }.check()?;
        self.config.interval = interval;
        match self.state {
            State::Active => {
                // At once: the others must learn it, and the time since the last advert is measured by it.
                self.send(now, self.config.priority);
                self.timers.set(Timer::Adver, now + interval.as_duration());
            }
            // What the Active router says counts; with version 2, or before it has spoken, our own does.
            State::Backup if self.config.version == Version::V2 || self.last_heard.is_none() => {
                self.active_interval = interval;
                self.listen(now);
            }
            State::Backup | State::Initialize => {}
        }
        Ok(())
    }

    /// Takes over another configuration without leaving its state: priority, interval, preemption, addresses,
    /// announcements. What makes it another router (version, identifier, source, election, being the owner) is
    /// refused, and nothing has changed then.
    pub fn reconfigure(&mut self, now: Moment, config: Config) -> Result<(), ConfigError> {
        config.check()?;
        let owner = |config: &Config| config.priority == Priority::OWNER;
        let own = &self.config;
        if (own.version, own.vrid, own.source, own.election)
            != (config.version, config.vrid, config.source, config.election)
            || owner(own) != owner(&config)
        {
            return Err(ConfigError::AnotherRouter);
        }
        let (priority, interval) = (config.priority, config.interval);
        self.config = Config { priority: own.priority, interval: own.interval, ..config };
        if priority != self.config.priority {
            self.set_priority(now, priority);
        }
        if interval != self.config.interval {
            self.set_interval(now, interval)?;
        }
        if self.state == State::Active && self.timers.get(Timer::Refresh).is_none() {
            self.arm_refresh(now);
        }
        Ok(())
    }

    /// Takes the router out of the election for as long as something it needs is missing.
    ///
    /// A free router says farewell if Active. A guarded one doesn't: its farewell is a proof that nothing is
    /// served any more, which only its supervisor knows ([`Router::resign`] first).
    pub fn set_fault(&mut self, now: Moment, faulted: bool) {
        self.wake(now);
        if faulted == self.faulted {
            return;
        }
        self.faulted = faulted;
        if faulted {
            self.initialize(now, Reason::Fault, self.config.election == Election::Free);
        } else if self.running {
            self.enter(now, Reason::FaultCleared);
        }
    }

    /// Announces the addresses once more if Active, for an edge that saw the network come back.
    pub fn announce_again(&mut self, now: Moment) {
        self.wake(now);
        if self.state == State::Active {
            self.announce(Round::LinkBack);
            self.arm_again(now);
        }
    }
}

/// The states, and the ways between them.
impl Router {
    fn enter(&mut self, now: Moment, reason: Reason) {
        self.active_interval = self.config.interval;
        let owner = self.config.priority == Priority::OWNER && self.config.election == Election::Free;
        if owner && !self.holds(now) && !self.config.grouped {
            self.become_active(now, Reason::Owner);
        } else {
            self.become_backup(now, reason);
            if owner {
                // It waits for its group and for nobody else.
                self.timers.set(Timer::ActiveDown, now);
            }
        }
    }

    fn initialize(&mut self, now: Moment, reason: Reason, say_farewell: bool) {
        let before = self.state;
        self.leave(State::Initialize);
        if before != State::Initialize {
            self.event(Event::Entered { state: State::Initialize, reason });
        }
        if before == State::Active && say_farewell {
            self.farewell(now);
        }
    }

    fn become_backup(&mut self, now: Moment, reason: Reason) {
        self.leave(State::Backup);
        self.event(Event::Entered { state: State::Backup, reason });
        self.listen(now);
    }

    fn become_active(&mut self, now: Moment, reason: Reason) {
        self.leave(State::Active);
        self.active_since = Some(now);
        // The advert is out before anything else is done: it is what keeps the next Backup from trying.
        self.send(now, self.config.priority);
        let interval = self.config.interval.as_duration();
        self.timers.set(Timer::Adver, now + interval * (16 - u32::from(self.config.phase % 16)) / 16);
        self.event(Event::Entered { state: State::Active, reason });
        self.announce(Round::First);
        self.arm_again(now);
        self.arm_refresh(now);
    }

    /// Ends everything that belongs to the state of before.
    fn leave(&mut self, next: State) {
        if next != self.state {
            self.stats.entered(next);
        }
        self.state = next;
        self.timers.stop_all();
        self.active_since = None;
        self.last_sent = None;
        self.last_assert = None;
        self.listening = Listening::default();
        self.rivals.clear();
    }

    fn active_is_down(&mut self, now: Moment) {
        if let Some(until) = self.hold_until {
            if until > now {
                self.timers.set(Timer::ActiveDown, until);
                return;
            }
            self.hold_until = None;
        }
        match self.config.election {
            Election::Free if self.config.grouped => {
                self.listening.wants = true;
                self.timers.set(Timer::ActiveDown, now + self.down_interval());
            }
            Election::Free => {
                let lower = self.last_heard.is_some_and(|heard| {
                    heard.priority < self.config.priority && now.since(heard.at) < self.down_interval()
                });
                let reason = match self.listening.farewell {
                    Some(_) => Reason::Farewell,
                    None if lower => Reason::Preempted,
                    None => Reason::NoResponse,
                };
                self.become_active(now, reason);
            }
            Election::Guarded => {
                self.stats.asked += 1;
                let reason = match self.listening.farewell {
                    Some(from) => AskReason::Farewell { from },
                    None => AskReason::Silence { last_heard: self.last_heard },
                };
                self.event(Event::Ask { reason });
                self.timers.set(Timer::ActiveDown, now + self.down_interval());
            }
        }
    }
}

/// Time.
impl Router {
    /// Looks at how long the process slept, before anything else is done with what woke it.
    ///
    /// The others count from the last advert that they heard, so that is what counts here. Nothing is sent:
    /// an advert now would push aside the one who took over.
    /// Returns whether it stepped down.
    fn wake(&mut self, now: Moment) -> bool {
        let Some(last_sent) = self.last_sent.filter(|_| self.state == State::Active) else { return false };
        let by = now.since(last_sent);
        let Config { version, interval, down_timer_adverts, .. } = self.config;
        if by <= timers::active_down(version, HASTIEST, interval, down_timer_adverts) {
            return false;
        }
        self.stats.overslept += 1;
        self.event(Event::Overslept { by });
        self.active_interval = interval;
        self.become_backup(now, Reason::Overslept);
        true
    }

    /// Waits once more when a Backup wakes so late that adverts may lie unread in its socket.
    fn give_a_second_chance(&mut self, now: Moment) {
        let Some(due) = self.timers.get(Timer::ActiveDown) else { return };
        if self.listening.graced || now.since(due) <= self.active_interval.as_duration() {
            return;
        }
        self.listening.graced = true;
        self.stats.late_wakeups += 1;
        // A farewell heard before a long sleep proves nothing: its sender may have come back meanwhile.
        self.listening.farewell = self.listening.farewell.filter(|_| now.since(due) <= self.down_interval());
        let wait = if self.listening.farewell.is_some() { self.skew() } else { self.down_interval() };
        self.timers.set(Timer::ActiveDown, now + wait);
        if self.timers.get(Timer::Suspect).is_some() {
            self.timers.set(Timer::Suspect, now + timers::suspicion(self.active_interval));
        }
    }

    /// Starts both waits of a Backup anew.
    fn listen(&mut self, now: Moment) {
        self.timers.set(Timer::ActiveDown, now + self.down_interval());
        self.timers.set(Timer::Suspect, now + timers::suspicion(self.active_interval));
    }

    fn arm_again(&mut self, now: Moment) {
        if !self.config.announce.second_delay.is_zero() {
            self.timers.set(Timer::Again, now + self.config.announce.second_delay);
        }
    }

    fn arm_refresh(&mut self, now: Moment) {
        if let Some(refresh) = self.config.announce.refresh.filter(|refresh| !refresh.is_zero()) {
            self.timers.set(Timer::Refresh, now + refresh);
        }
    }

    fn holds(&self, now: Moment) -> bool {
        self.hold_until.is_some_and(|until| until > now)
    }
}

/// What goes out.
impl Router {
    fn send(&mut self, now: Moment, priority: Priority) {
        let Config { version, vrid, interval, auth, .. } = self.config;
        let addresses = self.config.addresses.clone();
        self.stats.adverts_sent += 1;
        self.last_sent = Some(now);
        self.outputs.push_back(Output::Send(Advert { version, vrid, priority, interval, addresses, auth }));
    }

    fn farewell(&mut self, now: Moment) {
        for _ in 0..self.config.farewells {
            self.stats.priority_zero_sent += 1;
            self.send(now, Priority::RELEASE);
        }
    }

    fn announce(&mut self, round: Round) {
        let AnnounceSchedule { burst, refresh_burst, .. } = self.config.announce;
        let burst = if round == Round::Refresh { refresh_burst } else { burst };
        self.event(Event::Announce { round, burst });
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }
}

/// The Backup that waits the shortest: the highest priority a Backup has.
const HASTIEST: Priority = Priority(254);
