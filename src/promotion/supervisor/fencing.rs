//! How the supervisor gets a proof of death where silence is all there is: once for each silence, each silent node is
//! fenced, and only what answers "it is dead" counts.

use super::{Order, Phase, Purpose, Supervisor};
use crate::pg::gates::{Gate, GateVerdict, PeerView, Proof, Verdict};
use crate::promotion::event::{Event, EventKind};
use crate::units::Moment;

impl Supervisor {
    /// Starts the fencing of the silent nodes when nothing but the proof of their death is missing; false when there
    /// is nothing to start.
    pub(super) fn fence_for_proof(&mut self, peers: &[PeerView], verdicts: &[GateVerdict]) -> bool {
        let only_proof = verdicts
            .iter()
            .filter(|verdict| verdict.verdict == Verdict::Refuse)
            .all(|verdict| verdict.gate == Gate::ProofOfDeath);
        if !self.config.fences || self.fenced_once || !only_proof {
            return false;
        }
        let unproved =
            |peer: &&PeerView| !peer.answered() && !self.proofs.iter().any(|(node, _)| *node == peer.node);
        let nodes: Vec<String> = peers.iter().filter(unproved).map(|peer| peer.node.clone()).collect();
        if nodes.is_empty() {
            return false;
        }
        self.fenced_once = true;
        self.fencing.clone_from(&nodes);
        self.note(
            Event::new(EventKind::Fencing, format!("making sure that {} is dead", nodes.join(", ")))
                .with("nodes", nodes.clone()),
        );
        self.orders.push_back(Order::Fence { nodes });
        true
    }

    /// Takes what came of a fencing; when the last has ended, everything is looked at anew.
    pub(super) fn fence_ended(&mut self, now: Moment, node: String, result: Result<Proof, String>) {
        if !self.fencing.contains(&node) {
            return;
        }
        self.fencing.retain(|open| *open != node);
        match result {
            Ok(proof) => {
                self.note(Event::new(EventKind::Fencing, format!("{node} {}", proof.describe())));
                self.proofs.push((node, proof));
            }
            Err(why) => {
                self.note(Event::new(
                    EventKind::Fencing,
                    format!("nothing proves that {node} is dead: {why}"),
                ));
            }
        }
        if self.fencing.is_empty() && self.phase == Phase::Standby && self.silent_since.is_some() {
            self.enter(Phase::Asking);
            self.ask_around(now, Purpose::Promote);
        }
    }

    /// Forgets the proofs: whoever is heard again, or replaced, was fenced for a silence that is over.
    pub(super) fn forget_proofs(&mut self) {
        self.proofs.clear();
        self.fencing.clear();
        self.fenced_once = false;
    }
}
