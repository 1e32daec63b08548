//! What an advert from another router does, in each state (RFC 9568 §6.4.2 and §6.4.3).

use super::rivals::News;
use super::{Config, Difference, Election, Event, Heard, Reason, Rival, Round, Router};
use crate::units::Moment;
use crate::vrrp::timers::{self, Timer};
use crate::vrrp::types::{Priority, State, Version};
use crate::vrrp::wire::{Advert, Discard, RxPacket, RxPolicy, parse, same_set};
use std::net::IpAddr;
use std::time::Duration;

impl Router {
    /// Takes a packet: checks it, counts it, and acts on it if it is sound.
    ///
    /// The policy is the edge's (it knows about unicast peers); [`Config::rx_policy`] is where it begins.
    pub fn handle_packet(
        &mut self,
        now: Moment,
        packet: &RxPacket<'_>,
        policy: &RxPolicy,
    ) -> Result<(), Discard> {
        let (advert, form) =
            parse(packet, policy).inspect_err(|reason| self.stats.discard_from(*reason, packet.source))?;
        self.stats.checksum(form);
        self.handle_advert(now, packet.source, &advert);
        Ok(())
    }

    /// Takes an advert that has passed [`parse`].
    pub fn handle_advert(&mut self, now: Moment, from: IpAddr, advert: &Advert) {
        self.wake(now);
        if let Some(reason) = self.refuses(from, advert) {
            self.stats.discard(reason);
            return;
        }
        self.stats.adverts_received += 1;
        if advert.priority == Priority::RELEASE {
            self.stats.priority_zero_received += 1;
            if self.is_aside(now, from) {
                return;
            }
        }
        self.last_heard = Some(Heard { from, at: now, priority: advert.priority, interval: advert.interval });
        match self.state {
            State::Initialize => {}
            State::Backup => self.advert_in_backup(now, from, advert),
            State::Active => self.advert_in_active(now, from, advert),
        }
        self.compare_configuration(now, from, advert);
    }

    fn refuses(&self, from: IpAddr, advert: &Advert) -> Option<Discard> {
        let Config { version, vrid, interval, source, .. } = self.config;
        if !self.running || self.faulted {
            Some(Discard::NotRunning)
        } else if from.is_ipv4() != source.is_ipv4() {
            Some(Discard::Family)
        } else if advert.vrid != vrid {
            Some(Discard::Vrid)
        } else if advert.version != version {
            Some(Discard::VersionMismatch)
        } else if version == Version::V2 && advert.interval != interval {
            Some(Discard::IntervalMismatch)
        } else if from == source {
            Some(Discard::OwnSource)
        } else {
            None
        }
    }

    /// Returns whether a farewell isn't that of the router listened to, so that a guarded router mustn't take
    /// it as proof that the Active one has left.
    fn is_aside(&self, now: Moment, from: IpAddr) -> bool {
        let fresh = timers::suspicion(self.active_interval);
        self.config.election == Election::Guarded
            && self.state == State::Backup
            && self.last_heard.is_some_and(|heard| {
                heard.from != from && heard.priority != Priority::RELEASE && now.since(heard.at) < fresh
            })
    }

    fn advert_in_backup(&mut self, now: Moment, from: IpAddr, advert: &Advert) {
        self.listening.graced = false;
        self.listening.farewell = None;
        if advert.priority == Priority::RELEASE {
            self.listening.farewell = Some(from);
            self.timers.stop(Timer::Suspect);
            self.timers.set(Timer::ActiveDown, now + self.skew());
            return;
        }
        if std::mem::take(&mut self.listening.suspected) {
            self.event(Event::Heard { from });
        }
        let higher = advert.priority >= self.config.priority;
        if higher {
            self.listening.preempt_ready = false;
            self.timers.stop(Timer::Preempt);
        }
        if higher || !self.pushes_aside(now) {
            self.listening.wants = false;
            if self.active_interval != advert.interval {
                self.active_interval = advert.interval;
                self.stats.interval_adopted += 1;
            }
            self.listen(now);
        } else {
            // The down timer goes on, but the lower router isn't silent.
            self.timers.set(Timer::Suspect, now + timers::suspicion(advert.interval));
        }
    }

    /// Returns whether a lower priority is pushed aside now; starts the preempt delay when one is first heard.
    fn pushes_aside(&mut self, now: Moment) -> bool {
        if !self.config.preempt || self.config.election == Election::Guarded || self.holds(now) {
            return false;
        }
        if !self.config.preempt_delay.is_zero()
            && !self.listening.preempt_ready
            && self.timers.get(Timer::Preempt).is_none()
        {
            self.timers.set(Timer::Preempt, now + self.config.preempt_delay);
        }
        self.config.preempt_delay.is_zero() || self.listening.preempt_ready
    }

    fn advert_in_active(&mut self, now: Moment, from: IpAddr, advert: &Advert) {
        if advert.priority == Priority::RELEASE {
            self.stats.asserted += 1;
            self.send(now, self.config.priority);
            self.timers.set(Timer::Adver, now + self.config.interval.as_duration());
            let left = self.rivals.take(from);
            self.rivals_left(now, &left);
            return;
        }
        self.stats.rival_adverts += 1;
        let wins = (advert.priority, from) > (self.config.priority, self.config.source);
        if wins && self.config.election == Election::Free {
            self.active_interval = advert.interval;
            self.become_backup(now, Reason::HigherPriority);
            return;
        }
        let news = self.rivals.hear(now, from, advert, wins, self.config.interval.as_duration());
        self.arm_rival();
        if self.config.election == Election::Guarded && news.is_some() {
            self.event(Event::Contested { from, priority: advert.priority, wins });
        }
        if !wins {
            self.assert(now);
            if news == Some(News::First) {
                self.announce(Round::Contest);
            }
        }
    }

    pub(super) fn rivals_left(&mut self, now: Moment, left: &[Rival]) {
        for rival in left {
            self.event(Event::Uncontested { from: rival.from });
        }
        if !left.is_empty() && self.rivals.iter().next().is_none() {
            self.announce(Round::ContestOver);
            self.arm_again(now);
        }
        self.arm_rival();
    }

    fn arm_rival(&mut self) {
        match self.rivals.next_silent() {
            Some(due) => self.timers.set(Timer::Rival, due),
            None => self.timers.stop(Timer::Rival),
        }
    }

    /// Sends an advert at once to a rival that should yield, at most two per interval.
    fn assert(&mut self, now: Moment) {
        let pause = self.config.interval.as_duration() / 2;
        let recently = self.last_assert.is_some_and(|last| now.since(last) < pause);
        if self.config.assert_to_losers && !recently {
            self.last_assert = Some(now);
            self.stats.asserted += 1;
            self.send(now, self.config.priority);
        }
    }

    /// Counts and, once a minute, tells what an accepted advert shows of a different configuration.
    fn compare_configuration(&mut self, now: Moment, from: IpAddr, advert: &Advert) {
        if advert.interval != self.config.interval {
            self.stats.interval_differs += 1;
            self.tell(now, from, Difference::Interval);
        }
        if !same_set(&advert.addresses, &self.config.addresses) {
            self.stats.address_list_differs += 1;
            self.tell(now, from, Difference::Addresses);
        }
        if self.config.priority == Priority::OWNER {
            let second = advert.priority == Priority::OWNER;
            self.tell(now, from, if second { Difference::SecondOwner } else { Difference::NotOwner });
        }
    }

    fn tell(&mut self, now: Moment, from: IpAddr, what: Difference) {
        match self.told.iter_mut().find(|(told, _)| *told == what) {
            Some((_, at)) if now.since(*at) < TELL_AGAIN => return,
            Some((_, at)) => *at = now,
            None => self.told.push((what, now)),
        }
        self.event(Event::Differs { from, what });
    }
}

/// How long a difference between configurations isn't mentioned again.
const TELL_AGAIN: Duration = Duration::from_secs(60);
