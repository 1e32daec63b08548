//! The routers that advertise while this one is Active: who they are, and when to speak of them.

use super::Rival;
use crate::units::Moment;
use crate::vrrp::wire::Advert;
use std::net::IpAddr;
use std::time::Duration;

/// The rivals that aren't forgotten yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RivalTable(Vec<Tracked>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Tracked {
    rival: Rival,
    reported: Moment,
}

/// What there is to report about a rival's advert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// It wasn't known.
    First,
    /// It is still there, and wasn't spoken of lately.
    Again,
}

impl RivalTable {
    /// Remembers an advert; returns what there is to report, about once per `pause` for each rival.
    pub(super) fn hear(
        &mut self,
        now: Moment,
        from: IpAddr,
        advert: &Advert,
        wins: bool,
        pause: Duration,
    ) -> Option<News> {
        let Advert { priority, interval, .. } = *advert;
        if let Some(Tracked { rival, reported }) = self.0.iter_mut().find(|each| each.rival.from == from) {
            // An eighth less than the pause, so that one whose clock runs faster isn't heard every other time.
            let speak = now.since(*reported) >= pause * 7 / 8;
            *rival = Rival { priority, interval, wins, last: now, ..*rival };
            return speak.then(|| {
                *reported = now;
                News::Again
            });
        }
        if self.0.len() >= MOST {
            return None;
        }
        let rival = Rival { from, priority, interval, wins, since: now, last: now };
        self.0.push(Tracked { rival, reported: now });
        Some(News::First)
    }

    /// Iterates over the rivals.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Rival> {
        self.0.iter().map(|tracked| &tracked.rival)
    }

    /// Forgets one rival, and returns it.
    pub(super) fn take(&mut self, from: IpAddr) -> Vec<Rival> {
        self.take_if(|rival| rival.from == from)
    }

    /// Forgets the rivals that have been silent for long enough, and returns them.
    pub(super) fn take_silent(&mut self, now: Moment) -> Vec<Rival> {
        self.take_if(|rival| silent_at(rival) <= now)
    }

    /// Returns when the next rival will have been silent for long enough.
    pub(super) fn next_silent(&self) -> Option<Moment> {
        self.iter().map(silent_at).min()
    }

    /// Forgets everyone.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    fn take_if(&mut self, gone: impl Fn(&Rival) -> bool) -> Vec<Rival> {
        let taken = self.iter().copied().filter(|rival| gone(rival)).collect();
        self.0.retain(|tracked| !gone(&tracked.rival));
        taken
    }
}

/// Returns when a rival will have been silent for as long as the protocol waits.
fn silent_at(rival: &Rival) -> Moment {
    rival.last + rival.interval.as_duration() * 3
}

/// As many rivals as are remembered: who sends from ever new addresses must not fill our memory.
const MOST: usize = 8;
