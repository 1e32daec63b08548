//! How the supervisor starts the local server: after a crash, where that is tried first, and after a hand-over that nobody
//! has taken.
//!
//! It starts as a standby, so that nothing is writable by a start; whether it may lead again is asked like any
//! other promotion.

use super::{After, Local, OnCrash, Order, Phase, Purpose, Stop, Supervisor};
use crate::pg::gates::PeerView;
use crate::promotion::event::{Event, EventKind};
use crate::units::Moment;
use std::time::Duration;

/// How long the others have to take over from a node that stopped its server for them.
const TAKE_BACK_AFTER: Duration = Duration::from_secs(5);
/// A server that dies again so soon isn't started here a second time.
const RESTART_ONCE_IN: Duration = Duration::from_secs(60);

impl Supervisor {
    /// Takes the death of the server while this node serves.
    pub(super) fn crashed(&mut self, now: Moment, why: String) {
        let OnCrash::RestartFirst { within } = self.config.on_crash else {
            self.give_up(why);
            return;
        };
        if self.terminating
            || self.resigning
            || self.restarted_at.is_some_and(|at| now.since(at) < RESTART_ONCE_IN)
        {
            self.give_up(why);
            return;
        }
        self.note(Event::new(
            EventKind::Restarting,
            format!("{why}: starting it again here first, for {} ms at most", within.as_millis()),
        ));
        self.round = None;
        self.restarted_at = Some(now);
        self.restart_until = Some(now + within);
        self.orders.push_back(Order::DropVip);
        self.enter(Phase::Restarting);
        self.start();
    }

    /// Takes what a server is that is being started again: as a standby it stands for election at once.
    pub(super) fn back(&mut self, now: Moment, local: &Local) {
        match local {
            Local::Standby(_) => {
                self.enter(Phase::Asking);
                self.ask_around(now, Purpose::Promote);
            }
            Local::Primary(_) => {
                self.enter(Phase::Confirming);
                self.ask_around(now, Purpose::Confirm);
            }
            Local::Down { .. } | Local::Starting { .. } | Local::Hung { .. } => {}
        }
    }

    /// Hands over when a restart took too long, or when the server that came back may not lead.
    pub(super) fn watch_restart(&mut self, now: Moment) {
        let Some(until) = self.restart_until else { return };
        let why = match self.phase {
            Phase::Restarting | Phase::Asking | Phase::Confirming if now >= until => {
                "PostgreSQL wasn't back in time".to_owned()
            }
            Phase::Standby | Phase::Held => {
                let why = self.reason.clone().unwrap_or_default();
                format!("PostgreSQL was started again and may not lead: {why}")
            }
            // A plan that runs has its own bounds.
            _ => return,
        };
        self.restart_until = None;
        // What came back is a standby, or it is stopped by this.
        self.release(After::Down { why, farewell: true }, Stop::InTime);
    }

    /// Takes the end of a start.
    pub(super) fn started(&mut self, now: Moment, result: Result<(), String>) {
        self.starting = false;
        if let Err(why) = result {
            self.note(Event::new(EventKind::ProbeFailed, format!("PostgreSQL can't be started: {why}")));
            if self.phase == Phase::Restarting {
                self.restart_until = Some(now);
            } else {
                self.reason = Some(format!("PostgreSQL can't be started: {why}"));
                self.hint = Some("pgbaton pg rebuild-standby --start-only".to_owned());
                self.stopped_at = Some(now);
            }
        }
        self.orders.push_back(Order::Observe);
    }

    /// Starts the server again that this node stopped for others, when they answer and none of them has taken over.
    pub(super) fn take_back(&mut self, now: Moment, peers: &[PeerView]) {
        let Some(since) = self.stopped_at else { return };
        // Where votes decide, a standby does no harm, and two that wait for each other's answers would wait for ever.
        let enough = self.config.votes.is_some() || peers.iter().all(PeerView::answered);
        // By votes a fenced node may stand again; without them it is the others' older rival for ever.
        let may = self.phase == Phase::Down || (self.phase == Phase::Fenced && self.config.votes.is_some());
        if !may
            || now.since(since) < TAKE_BACK_AFTER
            || !enough
            || self.paused.is_some()
            || self.terminating
            || self.starting
            || !matches!(self.local, Some(Local::Down { .. }))
        {
            return;
        }
        self.note(Event::new(
            EventKind::Restarting,
            "no node is the primary: starting PostgreSQL here again, as a standby",
        ));
        self.start();
    }

    fn start(&mut self) {
        self.stopped_at = None;
        self.starting = true;
        self.orders.push_back(Order::Start);
    }
}
