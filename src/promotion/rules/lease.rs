//! How long a primary may serve that nobody's acknowledgement holds back (asynchronous, with a witness).
//!
//! The primary asks the voters again and again; an answer that knows of no promise to another node renews its lease. A
//! candidate has a majority's promises first, and then waits as long as a lease lasts. Both count on their own clocks,
//! which may run apart: each counts from the event that favours the other.

use std::time::Duration;

/// What both sides know of the lease: it is in the configuration, the same on every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// How long a candidate waits after the last of its promises.
    pub length: Duration,
    /// How far a clock may be from the true rate, in millionths.
    pub drift: u32,
    /// How long the primary needs to stop for sure: VIP, server, the last acknowledgement.
    pub stop: Duration,
}

impl Lease {
    /// Returns how long the primary may serve, by its own clock, since it *sent* the question that renewed it.
    ///
    /// Zero when the length leaves no time to stop. The drift counts twice: this clock may be slow and the
    /// candidate's fast.
    pub fn serves_for(&self) -> Duration {
        let lost = u128::from(self.drift) * 2 * self.length.as_nanos() / 1_000_000;
        let lost = Duration::from_nanos(u64::try_from(lost).unwrap_or(u64::MAX));
        self.length.saturating_sub(lost).saturating_sub(self.stop)
    }

    /// Returns whether the candidate may go on: `since` is the time, by its own clock, since the last of the promises
    /// that a majority takes was *answered*.
    pub fn is_over(&self, since: Duration) -> bool {
        since >= self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_lease_leaves_time_for_the_clocks_and_for_the_stop() {
        let lease = Lease { length: Duration::from_secs(10), drift: 10_000, stop: Duration::from_secs(3) };
        assert_eq!(lease.serves_for(), Duration::from_millis(6800));
        assert!(!lease.is_over(Duration::from_millis(9999)) && lease.is_over(Duration::from_secs(10)));
        let short = Lease { length: Duration::from_secs(3), ..lease };
        assert_eq!(short.serves_for(), Duration::ZERO);
    }

    proptest! {
        /// The slowest clock of the primary, the fastest of the candidate, the question under way for no time at all:
        /// the primary has stopped in true time before the candidate goes on.
        #[test]
        fn the_primary_has_stopped_before_the_candidate_goes_on(
            length in 1u64..1_000_000_000, drift in 0u32..400_000, stop in 0u64..1_000_000_000,
        ) {
            let lease =
                Lease { length: Duration::from_nanos(length), drift, stop: Duration::from_nanos(stop) };
            let served = lease.serves_for().as_nanos();
            prop_assume!(served > 0);
            // served / (1 - d) + stop <= length / (1 + d), without fractions.
            let (slow, fast) = (1_000_000 - u128::from(drift), 1_000_000 + u128::from(drift));
            let stopped = served * 1_000_000 * fast + u128::from(stop) * slow * fast;
            // One nanosecond for the rounding of the loss.
            prop_assert!(stopped <= (u128::from(length) + 1) * 1_000_000 * slow);
        }
    }
}
