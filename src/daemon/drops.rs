//! What is said of dropped packets: one line a minute for each reason, and how many there were between.

use crate::units::Moment;
use crate::vrrp::wire::Discard;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// How long a reason isn't told again.
const QUIET: Duration = Duration::from_secs(60);

/// Remembers what was said.
#[derive(Debug, Default)]
pub(super) struct Drops {
    told: BTreeMap<Discard, (Moment, u64)>,
}

impl Drops {
    /// Notes a dropped packet; returns the line to write, if it is time for one.
    pub(super) fn note(&mut self, now: Moment, from: IpAddr, reason: Discard) -> Option<String> {
        // Our own echo, what comes before the start and what asks whether it arrives are nobody's mistake.
        if matches!(reason, Discard::OwnSource | Discard::NotRunning | Discard::Probe) {
            return None;
        }
        let text = format!("dropped an advert from {from}: {}", reason.explain());
        let Some((at, hidden)) = self.told.get_mut(&reason) else {
            self.told.insert(reason, (now, 0));
            return Some(text);
        };
        if now.since(*at) < QUIET {
            *hidden += 1;
            return None;
        }
        let more = std::mem::take(hidden);
        *at = now;
        Some(if more == 0 { text } else { format!("{text} ({more} more since the last such line)") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_told_once_a_minute_with_the_number_of_those_left_out() {
        let mut drops = Drops::default();
        let from = IpAddr::from([192, 0, 2, 1]);
        let start = Moment::from_nanos(0);
        assert!(drops.note(start, from, Discard::Checksum).is_some());
        assert!(drops.note(start, from, Discard::Ttl).is_some());
        for _ in 0..3 {
            assert_eq!(drops.note(start + Duration::from_secs(59), from, Discard::Checksum), None);
        }
        let line = drops.note(start + Duration::from_secs(60), from, Discard::Checksum).unwrap();
        assert!(line.ends_with("(3 more since the last such line)"), "{line}");
    }

    #[test]
    fn our_own_echo_is_never_told() {
        let from = IpAddr::from([192, 0, 2, 1]);
        assert_eq!(Drops::default().note(Moment::from_nanos(0), from, Discard::OwnSource), None);
    }
}
