//! From what a server says about itself to what the gates judge. Pure.

use super::conn::ConnError;
use super::facts::ServerFacts;
use super::gates::{LocalView, PeerServer};
use super::lsn::Lsn;
use std::time::Duration;

/// Returns the local server as the gates see it.
///
/// # Errors
/// When the role may not see what the gates need.
pub fn local(facts: &ServerFacts) -> Result<LocalView, ConnError> {
    let server = peer(facts)?;
    let receiver = facts.receiver.as_ref();
    Ok(LocalView {
        in_recovery: facts.in_recovery,
        system_id: server.system_id,
        timeline: server.timeline,
        end: server.end,
        replay_paused: facts.standby.as_ref().is_some_and(|standby| standby.replay_paused),
        receiving: receiver.is_some_and(|receiver| receiver.status.as_deref() == Some("streaming")),
        primary_end: receiver.and_then(|receiver| receiver.latest_end_lsn),
        last_contact: receiver
            .and_then(|receiver| receiver.last_message_age)
            .and_then(|age| Duration::try_from_secs_f64(age.max(0.0)).ok()),
        epoch: server.epoch,
    })
}

/// Returns another node's server as the gates see it.
///
/// # Errors
/// When the role may not see what the gates need; a server that hides its epoch can't be judged.
pub fn peer(facts: &ServerFacts) -> Result<PeerServer, ConnError> {
    let hidden = |what: &str| ConnError::Auth(format!("the role may not see {what}: grant it pg_monitor"));
    if facts.epoch_hidden {
        return Err(hidden("pgbaton.epoch"));
    }
    Ok(PeerServer {
        system_id: facts.system_id.ok_or_else(|| hidden("the system identifier"))?,
        timeline: facts.timeline.ok_or_else(|| hidden("the timeline"))?,
        end: facts.end().unwrap_or(Lsn::ZERO),
        epoch: facts.epoch.clone(),
    })
}
