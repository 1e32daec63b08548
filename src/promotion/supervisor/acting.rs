//! What the supervisor does when a plan has ended, and how it gives the service up.

use super::{After, Local, Order, Phase, PlanResult, Stop, Supervisor};
use crate::promotion::event::{Event, EventKind};
use crate::units::Moment;

impl Supervisor {
    pub(super) fn plan_done(&mut self, now: Moment, result: PlanResult) {
        match (self.phase, result) {
            (phase @ (Phase::Promoting | Phase::TakingUp), PlanResult::Done) => {
                self.enter(Phase::Serving);
                self.know_term();
                self.said = None;
                self.standby_term = None;
                self.silent_since = None;
                self.farewell = None;
                self.forget_proofs();
                self.restart_until = None;
                self.begin_heartbeats(now, phase == Phase::Promoting);
                self.note(Event::new(EventKind::Serving, "serving: the primary and the virtual IP are here"));
                self.orders.push_back(Order::Grant);
                self.orders.push_back(Order::Observe);
                if self.terminating || self.resigning {
                    self.release_for_operator();
                } else if let Some(Local::Down { why } | Local::Hung { why }) = self.local.clone() {
                    self.give_up(why);
                }
            }
            (Phase::Promoting | Phase::TakingUp, PlanResult::Failed { why, hint }) => {
                self.decide("hold", format!("the plan stopped: {why}"), hint);
                // What the server is now decides what is tried next; it may have been promoted all the same.
                self.orders.push_back(Order::DropVip);
                self.enter(Phase::Held);
                self.timer = Some(now + self.backoff());
                self.orders.push_back(Order::Observe);
                if self.terminating {
                    self.orders.push_back(Order::Exit);
                }
            }
            (Phase::Releasing, result) => self.released(now, result),
            _ => {}
        }
    }

    /// Brings the view of the server up to the plan that has just ended: what was seen before it is of an older term,
    /// and would make this node yield to its own standby.
    fn know_term(&mut self) {
        if let (Some(Local::Primary(view) | Local::Standby(view)), Some(term)) =
            (&mut self.local, self.plan_term)
        {
            view.term = view.term.max(Some(term));
        }
    }

    pub(super) fn released(&mut self, now: Moment, result: PlanResult) {
        let stopped = result == PlanResult::Done;
        let after = self.after.take();
        if let PlanResult::Failed { why, hint } = result {
            self.decide("hold", format!("can't prove that PostgreSQL has stopped: {why}"), hint);
        }
        let farewell =
            stopped && !matches!(after, Some(After::Down { farewell: false, .. } | After::Fenced { .. }));
        self.orders.push_back(Order::Yield { farewell });
        if farewell {
            self.note(Event::new(EventKind::FarewellSent, "sent priority 0: PostgreSQL has stopped here"));
        }
        if self.resigning {
            self.resigning = false;
            let answer = if stopped { Ok(()) } else { Err("PostgreSQL couldn't be stopped".to_owned()) };
            self.orders.push_back(Order::Resigned(answer));
        }
        if self.terminating || after == Some(After::Exit) {
            self.orders.push_back(Order::Exit);
            return;
        }
        self.eligible(false);
        match after {
            Some(After::Fenced { why }) => {
                self.note(Event::new(EventKind::Fenced, format!("PostgreSQL was stopped: {why}")));
                self.enter(Phase::Fenced);
                self.reason = Some(why);
                self.stopped_at = stopped.then_some(now);
            }
            Some(After::Down { why, .. }) => {
                self.enter(Phase::Down);
                self.reason = Some(why);
                self.stopped_at = stopped.then_some(now);
            }
            _ => self.enter(Phase::Down),
        }
        self.timer = Some(now + self.config.retry);
    }

    /// Leaves the service because the local server can't be trusted any more.
    pub(super) fn give_up(&mut self, why: String) {
        self.release(After::Down { why, farewell: true }, Stop::InTime);
    }

    /// Leaves the service, and stops the server, because another is newer.
    pub(super) fn fence(&mut self, why: String) {
        self.decide("fence", format!("stopping PostgreSQL here: {why}"), None);
        self.orders.push_back(Order::DropVip);
        self.release(After::Fenced { why }, Stop::InTime);
    }

    pub(super) fn release_for_operator(&mut self) {
        let after = if self.terminating {
            After::Exit
        } else {
            After::Down { why: "an operator asked this node to hand over".to_owned(), farewell: true }
        };
        self.release(after, Stop::InTime);
    }

    pub(super) fn release(&mut self, after: After, stop: Stop) {
        self.round = None;
        self.after = Some(after);
        self.enter(Phase::Releasing);
        self.orders.push_back(Order::Release { stop });
    }

    pub(super) fn resign(&mut self) {
        match self.phase {
            Phase::Serving => {
                self.note(Event::new(EventKind::Resigned, "an operator asked this node to hand over"));
                self.resigning = true;
                self.release_for_operator();
            }
            Phase::Promoting | Phase::TakingUp => self.resigning = true,
            _ => self.orders.push_back(Order::Resigned(Err("this node doesn't serve".to_owned()))),
        }
    }

    pub(super) fn terminate(&mut self) {
        if !self.terminating {
            self.note(Event::new(EventKind::Stopping, "stopping"));
        }
        self.terminating = true;
        match self.phase {
            Phase::Serving => self.release_for_operator(),
            Phase::Promoting | Phase::TakingUp | Phase::Releasing => {}
            // What a rebuild does can be killed and run again; the daemon doesn't wait for it.
            _ => self.orders.push_back(Order::Exit),
        }
    }
}
