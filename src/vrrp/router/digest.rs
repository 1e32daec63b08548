//! What tells one state of a router from another, whatever the clock shows: for searches through all states.

use super::{Listening, Router};
use crate::units::Moment;
use crate::vrrp::timers::Timer;
use std::hash::{Hash, Hasher};
use std::time::Duration;

impl Router {
    /// Feeds a hasher with everything that what the router does next depends on; moments count from `now`.
    ///
    /// Left out are the counters, and when a difference between configurations was last spoken of. What was heard
    /// or sent longer ago than any wait of the protocol was heard or sent long ago.
    pub fn hash_at(&self, now: Moment, hasher: &mut impl Hasher) {
        let Self {
            config,
            state,
            running,
            faulted,
            timers,
            active_interval,
            active_since: _,
            last_sent,
            last_assert,
            last_heard,
            listening,
            hold_until,
            rivals,
            told,
            stats: _,
            outputs,
        } = self;
        let long_ago = self.down_interval() + active_interval.as_duration();
        let ago = |at: Moment| now.since(at).min(long_ago);
        let ahead = |at: Moment| (at.since(now), now.since(at));
        (config, *state as u8, running, faulted, active_interval).hash(hasher);
        for timer in ALL {
            timers.get(timer).map(ahead).hash(hasher);
        }
        let waits: [Option<Duration>; 3] =
            [last_sent.map(ago), last_assert.map(ago), hold_until.map(|until| until.since(now))];
        waits.hash(hasher);
        last_heard.map(|heard| (heard.from, ago(heard.at), heard.priority, heard.interval)).hash(hasher);
        let Listening { farewell, suspected, preempt_ready, graced, wants } = listening;
        (farewell, suspected, preempt_ready, graced, wants).hash(hasher);
        for rival in rivals.iter() {
            (rival.from, rival.priority, rival.interval, rival.wins, ago(rival.last)).hash(hasher);
        }
        (told.len(), outputs.len()).hash(hasher);
    }
}

const ALL: [Timer; 8] = [
    Timer::Adver,
    Timer::ActiveDown,
    Timer::Suspect,
    Timer::Preempt,
    Timer::Startup,
    Timer::Again,
    Timer::Refresh,
    Timer::Rival,
];
