//! The gateway as the weak form of a proof: a primary that it and all others don't answer stops itself within a bound, and
//! a standby that it answers waits for that bound.
//!
//! It decides which side of a dead port, cable or machine is the living one. It can't decide a cut between two nodes that it
//! answers both: that takes a third vote.

use super::{After, GatewayBounds, Local, Order, Phase, Purpose, Stop, Supervisor};
use crate::pg::gates::{Gateway, PeerAnswer, PeerView};
use crate::promotion::event::{Event, EventKind};
use crate::units::Moment;

/// How many times the gateway is asked while a primary may serve without its answer.
const QUESTIONS: u32 = 6;

impl Supervisor {
    /// Returns when the gateway is asked next.
    pub(super) fn gateway_due(&self) -> Option<Moment> {
        self.config.gateway.and(self.gateway_next).filter(|_| self.minds_gateway())
    }

    /// Returns when a primary that nobody answers has to go.
    pub(super) fn gateway_end(&self) -> Option<Moment> {
        let bounds = self.config.gateway?;
        self.minds_gateway().then_some(self.answered_at? + bounds.serves_for)
    }

    fn minds_gateway(&self) -> bool {
        matches!(self.phase, Phase::Serving | Phase::Held | Phase::Confirming)
            && matches!(self.local, Some(Local::Primary(_)))
            && self.paused.is_none()
    }

    /// Asks the gateway when it is time, and stops a primary that nobody has answered for too long.
    pub(super) fn mind_gateway(&mut self, now: Moment) {
        let Some(bounds) = self.config.gateway else { return };
        if !self.minds_gateway() {
            self.answered_at = None;
            return;
        }
        let since = *self.answered_at.get_or_insert(now);
        if self.gateway_next.is_none_or(|at| now >= at) {
            self.gateway_next = Some(now + bounds.serves_for / QUESTIONS);
            self.orders.push_back(Order::AskGateway);
        }
        if now >= since + bounds.serves_for {
            let why = format!(
                "neither the gateway nor another node has answered for {} ms: this node is cut off, and another may serve \
                 soon",
                now.since(since).as_millis()
            );
            self.note(Event::new(EventKind::ProbeFailed, why.clone()));
            self.orders.push_back(Order::DropVip);
            self.release(After::Down { why, farewell: false }, Stop::Now);
        }
    }

    /// Takes the gateway's answer, or that there was none: then the other nodes' answers count as well.
    pub(super) fn gateway_asked(&mut self, now: Moment, asked: Moment, answered: bool) {
        self.gateway_said = Some((asked, answered));
        if answered {
            self.somebody_answered(asked);
        } else if self.minds_gateway() && self.round.is_none() {
            self.ask_around_until(now, Purpose::Heartbeat, now + self.config.ask_timeout);
        }
    }

    /// Notes that this node isn't cut off: an answer counts from its question.
    pub(super) fn somebody_answered(&mut self, asked: Moment) {
        self.answered_at = self.answered_at.map(|at| at.max(asked));
    }

    /// Notes which of the other nodes can be reached; a machine that says that nothing listens can.
    pub(super) fn others_answered(&mut self, asked: Moment, peers: &[PeerView]) {
        if peers.iter().any(|peer| !matches!(peer.answer, PeerAnswer::Silent(_))) {
            self.somebody_answered(asked);
        }
    }

    /// Returns what the gateway's answer to a question of this round says about a promotion.
    pub(super) fn gateway_evidence(&self, now: Moment, since: Moment) -> Gateway {
        let Some(GatewayBounds { wait, .. }) = self.config.gateway else { return Gateway::None };
        if !self.gateway_said.is_some_and(|(asked, answered)| answered && asked >= since) {
            return Gateway::Silent;
        }
        match self.silent_since {
            Some(silent) if now >= silent + wait => Gateway::Answers,
            _ => Gateway::Early { bound: wait },
        }
    }

    /// Returns when a standby that waits for the end of a primary that is cut off asks again.
    pub(super) fn gateway_wait(&self) -> Option<Moment> {
        Some(self.silent_since? + self.config.gateway?.wait)
    }
}
