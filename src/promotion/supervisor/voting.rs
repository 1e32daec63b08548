//! What the supervisor does where commits wait for standbys and promotions for votes: the primary's heartbeat, and
//! the upkeep of what this node has promised.
//!
//! None of this makes a commit safe: that the votes do. It is what makes an isolated primary let go of the virtual
//! IP, and a voter find its way back.

use super::{After, Local, Order, Phase, Purpose, Stop, Supervisor, types::Rejoin};
use crate::pg::gates::{LocalView, PeerAnswer, PeerView};
use crate::promotion::event::{Event, EventKind};
use crate::promotion::rules::PromiseState;
use crate::promotion::ruling::{self, Ruling};
use crate::units::Moment;
use std::time::Duration;

/// How long a standby may be without its primary before it asks who that is.
const LOST_FOR: Duration = Duration::from_secs(3);

impl Supervisor {
    /// Returns when the next heartbeat is due.
    pub(super) fn heartbeat_due(&self) -> Option<Moment> {
        self.config.votes.as_ref().and(self.heartbeat).filter(|_| self.phase == Phase::Serving)
    }

    /// Starts the heartbeats of a node that has begun to serve.
    ///
    /// A promotion's promises bar everybody else until its term is confirmed, so that its lease begins here; a primary
    /// that was found running has its lease from the question that it was confirmed by.
    pub(super) fn begin_heartbeats(&mut self, now: Moment, promoted: bool) {
        if let Some(votes) = &self.config.votes {
            self.heartbeat = Some(if votes.lease { now } else { now + votes.heartbeat });
            if promoted || !votes.lease {
                self.majority_at = Some(now);
            }
        }
    }

    /// Returns when the lease of a serving primary ends.
    pub(super) fn lease_end(&self) -> Option<Moment> {
        let votes = self.config.votes.as_ref().filter(|votes| votes.lease)?;
        let since = self.majority_at?;
        (self.phase == Phase::Serving && self.paused.is_none()).then(|| since + votes.isolation)
    }

    /// Stops a primary whose lease has run out.
    pub(super) fn watch_lease(&mut self, now: Moment) {
        if self.lease_end().is_some_and(|end| now >= end) {
            let since = self.majority_at.map_or(Duration::ZERO, |at| now.since(at));
            self.lose_lease(format!(
                "no majority of the voters has renewed this primary's lease for {} ms",
                since.as_millis()
            ));
        }
    }

    /// Lets go of the address and stops the server, at once.
    pub(super) fn lose_lease(&mut self, why: String) {
        self.note(Event::new(EventKind::ProbeFailed, why.clone()));
        self.orders.push_back(Order::DropVip);
        self.release(After::Down { why, farewell: false }, Stop::Now);
    }

    /// Asks the other voters, when it is time.
    pub(super) fn beat(&mut self, now: Moment) {
        let Some(votes) = &self.config.votes else { return };
        let (interval, patience) = (votes.heartbeat, votes.isolation.min(votes.heartbeat * 2));
        if self.heartbeat_due().is_none_or(|at| now < at) {
            return;
        }
        self.heartbeat = Some(now + interval);
        if self.round.is_none() {
            self.ask_around_until(now, Purpose::Heartbeat, now + patience);
        }
    }

    /// Judges what the others said at a heartbeat (rule 8).
    pub(super) fn judge_heartbeat(&mut self, now: Moment, asked: Moment, peers: &[PeerView]) {
        let Some(votes) = self.config.votes.clone() else { return };
        let (Phase::Serving, Some(Local::Primary(view))) = (self.phase, self.local.clone()) else { return };
        let term = view.term.unwrap_or_default();
        match ruling::rule_by_votes(&self.config.node, &view, peers, votes.electorate, votes.lease) {
            Ruling::Fence { why } => {
                self.fence(why);
                return;
            }
            // A lease counts from the question: the answer may be late.
            Ruling::Serve { .. } => self.majority_at = Some(if votes.lease { asked } else { now }),
            Ruling::Hold { why, .. } => {
                let alone = self.majority_at.map_or(Duration::ZERO, |at| now.since(at));
                // Of two nodes the silent one may as well be dead: nothing is acknowledged without it, and writes go on
                // when it is back.
                if alone >= votes.isolation && votes.electorate > 2 && !votes.lease && self.paused.is_none() {
                    self.note(Event::new(
                        EventKind::ProbeFailed,
                        format!("isolated for {} ms: {why}", alone.as_millis()),
                    ));
                    self.orders.push_back(Order::DropVip);
                    self.release(
                        After::Down { why: format!("this primary was isolated: {why}"), farewell: false },
                        Stop::InTime,
                    );
                    return;
                }
            }
        }
        // Every voter knows the term as confirmed: only then does it record changes, and find its way back.
        let uninformed = |peer: &&PeerView| {
            let known = peer.register.confirmed.as_ref();
            let promised_here = peer.register.promise.as_ref().is_some_and(|promise| {
                promise.term == term
                    && promise.holder == self.config.node
                    && promise.state == PromiseState::Promised
            });
            peer.answered() && (promised_here || known.is_none_or(|known| known.term < term))
        };
        let nodes: Vec<String> = peers.iter().filter(uninformed).map(|peer| peer.node.clone()).collect();
        if !nodes.is_empty() && view.configuration.is_some() {
            self.orders.push_back(Order::Confirm { term, nodes });
        }
        self.relay(peers, &view);
        if votes.pair || view.configuration.as_ref().is_none_or(|now| now.w == 0) {
            self.orders.push_back(Order::Reconfigure { term });
        }
    }

    /// Tells the witness what became of what it has promised, where a node's own register shows it: it asks nobody, and a
    /// candidate that gave up may not have reached it.
    fn relay(&mut self, peers: &[PeerView], own: &LocalView) {
        let Some(witness) = peers.iter().find(|peer| peer.answer == PeerAnswer::Witness) else { return };
        let nodes = peers.iter().filter(|peer| peer.answered()).map(|peer| (&peer.node, &peer.register));
        let news = nodes
            .chain([(&self.config.node, &own.register)])
            .find(|(node, register)| witness.register.heard(node, register) != witness.register);
        if let Some((node, register)) = news {
            self.orders.push_back(Order::Relay {
                to: witness.node.clone(),
                from: node.clone(),
                register: Box::new(register.clone()),
            });
        }
    }

    /// Looks after the promises of a standby that is attached to nobody, and after one that lost its primary.
    pub(super) fn tend(&mut self, now: Moment) {
        let Some(Local::Standby(view)) = &self.local else {
            self.lost_since = None;
            return;
        };
        if self.strayed(view) && self.phase == Phase::Standby && self.round.is_none() && self.paused.is_none()
        {
            self.orders.push_back(Order::Resume);
        }
        if self.follows_well(view) {
            self.lost_since = None;
            return;
        }
        let since = *self.lost_since.get_or_insert(now);
        if self.phase != Phase::Standby || self.round.is_some() {
            return;
        }
        if self.config.votes.is_some() && !view.attached {
            let promise = view.register.promise.as_ref();
            let waiting = promise.is_some_and(|promise| {
                promise.state == PromiseState::Promised && promise.holder != self.config.node
            });
            if !waiting {
                self.orders.push_back(Order::Resume);
            }
        }
        if now.since(since) >= LOST_FOR && self.explain_due.is_none_or(|at| now >= at) {
            self.explain_due = Some(now + LOST_FOR);
            self.ask_around(now, Purpose::Explain);
        }
    }

    /// Notices whether the operator has paused the cluster, or resumed it.
    pub(super) fn look_for_pause(&mut self) {
        let Some(view) = self.view() else { return };
        let paused = view.paused.as_ref().map(|reason| format!("paused by the operator: {reason}"));
        if paused == self.paused {
            return;
        }
        let text = paused.clone().unwrap_or_else(|| "the operator has resumed the cluster".to_owned());
        self.note(Event::new(EventKind::Paused, text));
        self.paused = paused;
    }

    /// Returns whether a standby streams what it should. One whose log has diverged connects again and again, and may
    /// look well at any moment: it never gets the rows of the newer term.
    fn follows_well(&self, view: &LocalView) -> bool {
        view.receiving && view.term >= self.newest_term
    }

    /// Returns whether a voter streams from another node than its register says: from a standby its acknowledgement
    /// doesn't reach the primary. A register that is older than the log says nothing.
    fn strayed(&self, view: &LocalView) -> bool {
        let register = &view.register;
        let open = register.promise.as_ref().is_some_and(|promise| {
            promise.state == PromiseState::Promised
                && register.confirmed.as_ref().is_none_or(|known| known.term < promise.term)
        });
        let holder = register
            .confirmed
            .as_ref()
            .filter(|known| !open && Some(known.term) >= view.term && known.holder != self.config.node)
            .map(|known| &known.holder);
        self.config.votes.is_some()
            && view.attached
            && holder.is_some_and(|holder| view.upstream.as_ref().is_some_and(|upstream| upstream != holder))
    }

    /// Notes the newest term that anybody has data of.
    pub(super) fn learn_terms(&mut self, peers: &[PeerView]) {
        let terms = peers.iter().filter_map(|peer| match &peer.answer {
            PeerAnswer::Primary(server) | PeerAnswer::Standby(server) => server.term,
            PeerAnswer::Down(_) | PeerAnswer::Silent(_) | PeerAnswer::Witness => None,
        });
        self.newest_term = self.newest_term.max(terms.max());
    }

    /// Judges what the others say about a standby that is attached to nobody, or to a primary that is gone.
    pub(super) fn judge_lost(&mut self, now: Moment, peers: &[PeerView]) {
        let Some(Local::Standby(view)) = self.local.clone() else { return };
        if self.phase != Phase::Standby || self.follows_well(&view) {
            return;
        }
        // What the others' registers tell settles what this node has promised: its holder's above all.
        let news = peers.iter().find(|peer| view.register.heard(&peer.node, &peer.register) != view.register);
        if let (Some(peer), true) = (news, self.config.votes.is_some()) {
            self.orders.push_back(Order::Heard {
                from: peer.node.clone(),
                register: Box::new(peer.register.clone()),
            });
            return;
        }
        let primary = peers.iter().find_map(|peer| match &peer.answer {
            PeerAnswer::Primary(server) if server.term >= view.term => Some((peer, *server)),
            _ => None,
        });
        let Some((peer, server)) = primary else { return };
        // Only towards a term that is confirmed (rule 12): the primary's own register says whether it is.
        let confirmed = self.config.votes.is_none()
            || peer.register.confirmed.as_ref().map(|known| known.term) == server.term
            || peer.register.promise.as_ref().is_none_or(|own| Some(own.term) < server.term);
        let since = self.lost_since.map_or(Duration::ZERO, |since| now.since(since));
        if confirmed && since >= LOST_FOR {
            let node = peer.node.clone();
            self.reason = Some(format!(
                "standby that lost its primary; {node} is the primary of term {}",
                server.term.unwrap_or_default()
            ));
            self.hint =
                Some(format!("make this node a standby of {node}: `pgbaton pg rebuild-standby` here"));
            self.rejoin(now, &node);
        }
    }

    /// Makes this node a standby of the primary again, where that is the daemon's to do.
    pub(super) fn rejoin(&mut self, now: Moment, primary: &str) {
        if self.config.rejoin == Rejoin::Manual
            || self.terminating
            || self.paused.is_some()
            || self.rejoin_after.is_some_and(|at| now < at)
            || !matches!(self.phase, Phase::Standby | Phase::Down | Phase::Fenced)
        {
            return;
        }
        self.note(
            Event::new(EventKind::Rejoining, format!("making this node a standby of {primary}"))
                .with("primary", primary),
        );
        self.enter(Phase::Rejoining);
        self.eligible(false);
        self.orders.push_back(Order::Rejoin { primary: primary.to_owned() });
    }

    /// Takes the end of a rejoin.
    pub(super) fn rejoined(&mut self, now: Moment, result: Result<String, String>) {
        if self.phase != Phase::Rejoining {
            return;
        }
        self.enter(Phase::Starting);
        self.lost_since = None;
        match result {
            Ok(text) => {
                self.rejoin_after = None;
                self.rejoin_failures = 0;
                self.reason = None;
                self.hint = None;
                self.note(Event::new(EventKind::Rejoined, text));
            }
            Err(why) => {
                self.rejoin_failures = self.rejoin_failures.saturating_add(1);
                let wait = self.config.retry * 2u32.saturating_pow(self.rejoin_failures.min(6));
                self.rejoin_after = Some(now + wait);
                self.decide(
                    "hold",
                    format!("this node can't be made a standby: {why}"),
                    Some("pgbaton pg rebuild-standby --dry-run".to_owned()),
                );
            }
        }
        self.orders.push_back(Order::Observe);
        self.settle(now);
        self.timer = Some(now + self.config.retry);
        if self.terminating {
            self.orders.push_back(Order::Exit);
        }
    }

    /// Returns how long this node waits after an election that it didn't win: two candidates mustn't meet again.
    pub(super) fn backoff(&self) -> Duration {
        let hash = self
            .config
            .node
            .bytes()
            .fold(7u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(byte)));
        let spread = u64::from((hash ^ u32::try_from(self.rounds % 97).unwrap_or(0).wrapping_mul(613)) % 400);
        self.config.retry + Duration::from_millis(spread)
    }
}
