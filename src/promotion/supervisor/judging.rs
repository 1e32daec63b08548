//! What the supervisor concludes from a round of answers: promote, serve, wait, or stop the local server.

use super::{LinkAnswer, Local, Order, Phase, Purpose, Supervisor};
use crate::pg::gates::{self, Evidence, Gateway, PeerAnswer, PeerView, Proof, Verdict, VipProbe};
use crate::promotion::ruling::{self, Ruling};
use crate::units::{Mac, Moment};

impl Supervisor {
    /// Decides as soon as everybody has answered or the round's time is up.
    pub(super) fn judge(&mut self, now: Moment) {
        let Some(round) = &self.round else { return };
        let complete = round.answers.len() >= self.config.peers.len() && round.vip != LinkAnswer::Asking;
        if round.purpose == Purpose::Early || !(complete || now >= round.until) {
            return;
        }
        let Some(round) = self.round.take() else { return };
        let mut peers = round.answers;
        for (node, _) in &self.config.peers {
            if !peers.iter().any(|peer| peer.node == *node) {
                let why = format!("no answer within {} ms", now.since(round.started).as_millis());
                peers.push(PeerView::new(node.clone(), PeerAnswer::Silent(why)));
            }
        }
        self.learn_terms(&peers);
        self.others_answered(round.started, &peers);
        match round.purpose {
            Purpose::Early => {}
            Purpose::Promote => self.judge_promotion(now, round.started, &peers, round.vip.owner()),
            Purpose::Confirm => self.judge_primary(now, round.started, &peers, round.vip.owner()),
            Purpose::Contest => self.judge_contest(&peers),
            Purpose::Explain => {
                self.explain(now, &peers);
                self.judge_lost(now, &peers);
            }
            Purpose::Heartbeat => self.judge_heartbeat(now, round.started, &peers),
        }
    }

    fn judge_promotion(&mut self, now: Moment, asked: Moment, peers: &[PeerView], vip: Option<Mac>) {
        let Some(Local::Standby(view)) = self.local.clone() else {
            self.enter(Phase::Standby);
            self.settle(now);
            return;
        };
        let evidence = Evidence {
            vip: vip.map_or(VipProbe::Free, VipProbe::AnsweredBy),
            proofs: self
                .farewell
                .map(|from| (self.name_of(from), Proof::Farewell))
                .into_iter()
                .chain(self.proofs.iter().cloned())
                .collect(),
            gateway: self.gateway_evidence(now, asked),
            ..Evidence::NONE
        };
        let verdicts = gates::evaluate(&view, peers, &self.config.policy, &evidence);
        if let Some(refusal) = verdicts.iter().find(|verdict| verdict.verdict == Verdict::Refuse) {
            let why = refusal.why.clone();
            let hint = refusal.hint.clone();
            if self.fence_for_proof(peers, &verdicts) {
                self.enter(Phase::Standby);
                return;
            }
            self.decide("refuse", format!("not promoting: {why}"), hint);
            self.enter(Phase::Standby);
            let early = matches!(evidence.gateway, Gateway::Early { .. });
            let wait = self.gateway_wait().filter(|at| early && *at > now);
            self.timer = Some(wait.map_or(now + self.config.retry, |at| at.min(now + self.config.retry)));
            return;
        }
        let warnings: Vec<&str> = verdicts
            .iter()
            .filter(|verdict| verdict.verdict == Verdict::Warn)
            .map(|verdict| verdict.why.as_str())
            .collect();
        let term = gates::next_term(&view, peers);
        let text = if warnings.is_empty() {
            format!("promoting for term {term}: every gate passes")
        } else {
            format!("promoting for term {term}, taking on trust: {}", warnings.join("; "))
        };
        self.decide("promote", text, None);
        self.reason = None;
        self.hint = None;
        self.enter(Phase::Promoting);
        let gone = evidence.proofs.into_iter().map(|(node, _)| node).collect();
        self.plan_term = Some(term);
        let stands = |peer: &&PeerView| matches!(peer.answer, PeerAnswer::Standby(_));
        let rivals = peers.iter().filter(stands).map(|peer| peer.node.clone()).collect();
        self.orders.push_back(Order::Promote { term, gone, rivals });
    }

    fn judge_primary(&mut self, now: Moment, asked: Moment, peers: &[PeerView], vip: Option<Mac>) {
        let Some(Local::Primary(view)) = self.local.clone() else {
            self.enter(Phase::Starting);
            self.settle(now);
            return;
        };
        // A standby that became a primary of a new recorded term under these eyes was promoted by `pg promote`: its
        // gates, or the operator who lifted one, have answered for the nodes that are silent.
        let vouched = self.standby_term.is_some_and(|before| view.term.is_some_and(|term| term > before));
        let availability =
            if vouched { gates::Availability::Prefer } else { self.config.policy.availability };
        let ruled = match &self.config.votes {
            Some(votes) => {
                ruling::rule_by_votes(&self.config.node, &view, peers, votes.electorate, votes.lease)
            }
            None => ruling::rule(&view, peers, availability),
        };
        let ruling = match (ruled, vip) {
            (Ruling::Serve { .. }, Some(mac)) => Ruling::Hold {
                why: format!("{mac} answers for the virtual IP"),
                hint: format!("who has {mac}? `ip neigh` on a client of the same link shows it"),
            },
            (ruling, _) => ruling,
        };
        match ruling {
            Ruling::Serve { warning } => {
                let text = match warning {
                    Some(_) if vouched => format!(
                        "serving: this server was promoted by hand to term {}, nobody who answers is newer",
                        view.term.unwrap_or_default()
                    ),
                    Some(warning) => format!("serving: {warning}"),
                    None => "serving: this server is the newest primary".to_owned(),
                };
                self.decide("serve", text, None);
                self.reason = None;
                self.hint = None;
                self.enter(Phase::TakingUp);
                self.majority_at = Some(asked);
                let adopt = view.term.is_none().then(|| gates::next_term(&view, peers));
                let term = view.term.unwrap_or_default();
                self.plan_term = Some(adopt.unwrap_or(term));
                self.orders.push_back(Order::Serve { adopt, term });
            }
            Ruling::Fence { why } => self.fence(why),
            Ruling::Hold { why, hint } => {
                self.decide("hold", format!("not serving: {why}"), Some(hint));
                if self.config.votes.as_ref().is_some_and(|votes| votes.lease) && self.paused.is_none() {
                    self.lose_lease(format!("this primary has no lease: {why}"));
                    return;
                }
                self.enter(Phase::Held);
                self.timer = Some(now + self.config.retry);
            }
        }
    }

    fn judge_contest(&mut self, peers: &[PeerView]) {
        let Some(Local::Primary(view)) = self.local.clone() else { return };
        if self.phase != Phase::Serving {
            return;
        }
        // Silence changes nothing for a node that serves already: it had its confirmation.
        let ruled = match &self.config.votes {
            // A lease has its own end: a promise to another node is no reason to go before it.
            Some(votes) => ruling::rule_by_votes(&self.config.node, &view, peers, votes.electorate, false),
            None => ruling::rule(&view, peers, gates::Availability::Prefer),
        };
        if let Ruling::Fence { why } = ruled {
            self.fence(why);
        } else {
            self.decide("serve", "the other node is no newer primary: serving on".to_owned(), None);
            // Switches may have learnt the rival's place: say again where the address is.
            self.orders.push_back(Order::Grant);
        }
    }

    /// Says why a node whose server is down stays down.
    fn explain(&mut self, now: Moment, peers: &[PeerView]) {
        let primary = peers.iter().find_map(|peer| match &peer.answer {
            PeerAnswer::Primary(server) => Some((peer.node.clone(), *server)),
            _ => None,
        });
        if matches!(self.phase, Phase::Down | Phase::Fenced) {
            if let Some((node, server)) = primary {
                let term = server.term.unwrap_or_default();
                let what = match (&self.local, self.phase) {
                    (_, Phase::Fenced) => "was fenced",
                    (Some(Local::Hung { .. }), _) => "doesn't answer",
                    (Some(Local::Starting { .. }), _) => "is starting",
                    _ => "doesn't run",
                };
                self.decide(
                    "hold",
                    format!(
                        "PostgreSQL {what}; {node} is the primary of term {term}{}",
                        server
                            .timeline
                            .map_or_else(String::new, |timeline| format!(" on timeline {timeline}"))
                    ),
                    Some(format!("make this node a standby of {node}: `pgbaton pg rebuild-standby` here")),
                );
                self.rejoin(now, &node);
                if self.phase == Phase::Rejoining {
                    return;
                }
            } else {
                self.take_back(now, peers);
            }
            self.timer = Some(now + self.config.retry * 10);
        }
    }
}
