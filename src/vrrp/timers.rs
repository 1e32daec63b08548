//! How long to wait, and which waits are running.
//!
//! Nanoseconds throughout, and the multiplication before the division: at 10 ms two neighbouring priorities
//! are 39 µs apart, which centiseconds would round to nothing, and both would take over together.

use super::types::{AdverInterval, Priority, Version};
use crate::units::Moment;
use std::time::Duration;

/// Returns `Skew_Time`: how much longer a router waits the lower its priority is (RFC 9568 §6.1).
///
/// Version 3 scales it with the Active router's interval, version 2 (RFC 3768 §6.1) with one second.
pub fn skew(version: Version, priority: Priority, interval: AdverInterval) -> Duration {
    let scale = match version {
        Version::V2 => 1_000_000_000,
        Version::V3 => interval.as_nanos(),
    };
    Duration::from_nanos((256 - u64::from(priority.0)) * scale / 256)
}

/// Returns `Active_Down_Interval`: how long silence lasts until the Active router counts as gone.
///
/// The protocol has three adverts of silence; keepalived can be told another number, and so can we.
pub fn active_down(version: Version, priority: Priority, interval: AdverInterval, adverts: u8) -> Duration {
    let silence = interval.as_nanos() * u64::from(adverts);
    Duration::from_nanos(silence) + skew(version, priority, interval)
}

/// Returns how long silence lasts until the Active router is suspected: one and a half intervals.
pub fn suspicion(interval: AdverInterval) -> Duration {
    Duration::from_nanos(interval.as_nanos() * 3 / 2)
}

/// The waits of a virtual router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Timer {
    /// Active: until the next advert (`Adver_Timer`).
    Adver,
    /// Backup: until the Active router counts as gone (`Active_Down_Timer`).
    ActiveDown,
    /// Backup: until the Active router is suspected.
    Suspect,
    /// Backup: until a lower priority may be pushed aside.
    Preempt,
    /// Initialize: until the router starts.
    Startup,
    /// Active: until the second burst of gratuitous ARP.
    Again,
    /// Active: until the next refresh of gratuitous ARP.
    Refresh,
    /// Active: until the next rival has been silent long enough to be forgotten.
    Rival,
}

/// When each wait ends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct TimerTable {
    adver: Option<Moment>,
    active_down: Option<Moment>,
    suspect: Option<Moment>,
    preempt: Option<Moment>,
    startup: Option<Moment>,
    again: Option<Moment>,
    refresh: Option<Moment>,
    rival: Option<Moment>,
}

impl TimerTable {
    /// Lets a wait end at this moment, instead of when it would have.
    pub fn set(&mut self, timer: Timer, due: Moment) {
        *self.slot(timer) = Some(due);
    }

    /// Ends a wait without anything happening.
    pub fn stop(&mut self, timer: Timer) {
        *self.slot(timer) = None;
    }

    /// Ends every wait.
    pub fn stop_all(&mut self) {
        *self = Self::default();
    }

    /// Returns when a wait ends, if it is running.
    pub const fn get(&self, timer: Timer) -> Option<Moment> {
        match timer {
            Timer::Adver => self.adver,
            Timer::ActiveDown => self.active_down,
            Timer::Suspect => self.suspect,
            Timer::Preempt => self.preempt,
            Timer::Startup => self.startup,
            Timer::Again => self.again,
            Timer::Refresh => self.refresh,
            Timer::Rival => self.rival,
        }
    }

    /// Returns whether a wait is over, and if so stops it and tells when it was due.
    pub fn take_due(&mut self, timer: Timer, now: Moment) -> Option<Moment> {
        self.slot(timer).take_if(|due| *due <= now)
    }

    /// Returns when the first wait ends.
    pub fn next(&self) -> Option<Moment> {
        [
            self.adver,
            self.active_down,
            self.suspect,
            self.preempt,
            self.startup,
            self.again,
            self.refresh,
            self.rival,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    const fn slot(&mut self, timer: Timer) -> &mut Option<Moment> {
        match timer {
            Timer::Adver => &mut self.adver,
            Timer::ActiveDown => &mut self.active_down,
            Timer::Suspect => &mut self.suspect,
            Timer::Preempt => &mut self.preempt,
            Timer::Startup => &mut self.startup,
            Timer::Again => &mut self.again,
            Timer::Refresh => &mut self.refresh,
            Timer::Rival => &mut self.rival,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn down(version: Version, priority: u8, centiseconds: u16) -> Duration {
        let interval = AdverInterval::from_centiseconds(centiseconds).unwrap();
        active_down(version, Priority(priority), interval, 3)
    }

    #[test]
    fn the_down_interval_of_version_three_is_exact_to_the_nanosecond() {
        for (priority, at_10_ms, at_100_ms, at_1_s) in [
            (254, 30_078_125, 300_781_250, 3_007_812_500),
            (150, 34_140_625, 341_406_250, 3_414_062_500),
            (100, 36_093_750, 360_937_500, 3_609_375_000),
            (1, 39_960_937, 399_609_375, 3_996_093_750),
        ] {
            assert_eq!(down(Version::V3, priority, 1), Duration::from_nanos(at_10_ms));
            assert_eq!(down(Version::V3, priority, 10), Duration::from_nanos(at_100_ms));
            assert_eq!(down(Version::V3, priority, 100), Duration::from_nanos(at_1_s));
        }
    }

    #[test]
    fn the_skew_of_version_two_does_not_grow_with_the_interval() {
        assert_eq!(down(Version::V2, 100, 100), Duration::from_micros(3_609_375));
        assert_eq!(down(Version::V2, 100, 1000), Duration::from_micros(30_609_375));
    }

    #[test]
    fn neighbouring_priorities_never_wait_equally_long() {
        for centiseconds in [1, 2, 7, 100, 4095] {
            for priority in 1..255 {
                let higher = down(Version::V3, priority + 1, centiseconds);
                assert!(higher < down(Version::V3, priority, centiseconds), "{priority} at {centiseconds}");
            }
        }
    }

    #[test]
    fn the_longest_interval_does_not_overflow() {
        assert_eq!(
            skew(Version::V3, Priority(0), AdverInterval::LONGEST),
            AdverInterval::LONGEST.as_duration()
        );
        let longest = AdverInterval::from_seconds(255).unwrap();
        assert_eq!(active_down(Version::V2, Priority(0), longest, 255), Duration::from_secs(255 * 255 + 1));
    }

    #[test]
    fn a_table_tells_the_first_wait_and_takes_what_is_due() {
        let mut table = TimerTable::default();
        assert_eq!(table.next(), None);
        table.set(Timer::Adver, Moment::from_nanos(30));
        table.set(Timer::Rival, Moment::from_nanos(20));
        assert_eq!(table.next(), Some(Moment::from_nanos(20)));
        assert_eq!(table.take_due(Timer::Adver, Moment::from_nanos(29)), None);
        assert_eq!(table.take_due(Timer::Adver, Moment::from_nanos(31)), Some(Moment::from_nanos(30)));
        assert_eq!(table.get(Timer::Adver), None);
    }
}
