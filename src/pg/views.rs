//! From what a server says about itself to what the gates judge.

use super::facts::ServerFacts;
use super::gates::{LastKnown, LocalView, PeerAnswer, PeerServer, PeerView};
use crate::promotion::rules::{Configuration, Register};
use std::time::Duration;

impl LocalView {
    /// Takes what the gates need out of a server's facts. `remembered` is what was persisted of the primary's
    /// position while its receiver was alive; the receiver's own word comes first.
    pub fn from_facts(facts: &ServerFacts, remembered: Option<LastKnown>) -> Self {
        let told = facts.receiver.as_ref().and_then(|receiver| {
            let age =
                receiver.last_message_age.and_then(|age| Duration::try_from_secs_f64(age.max(0.0)).ok());
            receiver.latest_end_lsn.map(|end| LastKnown { end, age })
        });
        let standby = facts.standby.as_ref();
        let seconds = |age: Option<f64>| Duration::try_from_secs_f64(age?.max(0.0)).ok();
        // Either is an upper bound: a commit that was replayed came from the primary, too.
        let message = seconds(facts.receiver.as_ref().and_then(|receiver| receiver.last_message_age));
        let commit = seconds(standby.and_then(|standby| standby.last_transaction_age));
        Self {
            in_recovery: facts.in_recovery,
            system_id: facts.system_id,
            timeline: facts.timeline,
            term: facts.epoch.as_ref().map(|epoch| epoch.term),
            promotion_id: facts.epoch.as_ref().map(|epoch| epoch.promotion_id),
            receiving: facts
                .receiver
                .as_ref()
                .is_some_and(|receiver| receiver.status.as_deref() == Some("streaming")),
            end: facts.end(),
            replayed: standby.and_then(|standby| standby.replay),
            replay_paused: standby.is_some_and(|standby| standby.replay_paused),
            needs_check: None,
            last_heard: message.into_iter().chain(commit).chain(remembered.and_then(|known| known.age)).min(),
            primary_known: told.or(remembered),
            restore_command: facts.restore_command.as_ref().map(|command| !command.is_empty()),
            configuration: facts.epoch.as_ref().map(Configuration::from),
            register: register(facts),
            paused: facts.pause.as_ref().map(|pause| pause.reason.clone()),
            attached: facts.primary_conninfo.as_deref().is_none_or(|conninfo| !conninfo.is_empty()),
            upstream: None,
        }
    }
}

impl PeerView {
    /// Makes a node's view of its server's facts.
    pub fn from_facts(node: impl Into<String>, facts: &ServerFacts) -> Self {
        Self { node: node.into(), answer: PeerServer::answer(facts), register: register(facts) }
    }
}

/// Reads the register of a server; one that can't be read counts as empty here: who acts on it reads it again under
/// its lock and is refused there.
fn register(facts: &ServerFacts) -> Register {
    facts.register.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

impl PeerServer {
    /// Takes what the gates need out of a peer's facts.
    pub fn answer(facts: &ServerFacts) -> PeerAnswer {
        let server = Self {
            term: facts.epoch.as_ref().map(|epoch| epoch.term),
            promotion_id: facts.epoch.as_ref().map(|epoch| epoch.promotion_id),
            timeline: facts.timeline,
            end: facts.end(),
            system_id: facts.system_id,
        };
        if facts.in_recovery { PeerAnswer::Standby(server) } else { PeerAnswer::Primary(server) }
    }
}
