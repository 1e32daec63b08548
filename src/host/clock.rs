//! The only place that reads a clock.

use crate::units::Moment;
use std::time::Duration;

/// Returns the present moment on `CLOCK_BOOTTIME`, which goes on while the machine is suspended.
pub fn now() -> Moment {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Moment::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

/// Returns the wall clock as time since 1970, for records that people read.
pub fn wall() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}

/// Returns `CLOCK_MONOTONIC`, which systemd wants to be told; nothing here decides by it.
pub fn monotonic() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}

/// A point in time after which a wait ends with an error that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Moment);

impl Deadline {
    /// Creates a deadline this long from now.
    pub fn after(duration: Duration) -> Self {
        Self(now() + duration)
    }

    /// Creates a deadline at a moment.
    pub const fn at(moment: Moment) -> Self {
        Self(moment)
    }

    /// Returns the moment.
    pub const fn moment(self) -> Moment {
        self.0
    }

    /// Returns the time that is left; zero when it has passed.
    pub fn left(self) -> Duration {
        self.0.since(now())
    }

    /// Returns whether it has passed.
    pub fn passed(self) -> bool {
        self.left().is_zero()
    }

    /// Returns the earlier of this deadline and one `duration` from now.
    pub fn within(self, duration: Duration) -> Self {
        self.min(Self::after(duration))
    }
}

/// Waits without an event, where there is none: a server has no way to tell when its recovery ends.
pub fn pause(time: Duration) {
    let (_nobody, silence) = std::sync::mpsc::channel::<()>();
    // Always the timeout: the sender lives until the end of this function.
    silence.recv_timeout(time).unwrap_or_default();
}
