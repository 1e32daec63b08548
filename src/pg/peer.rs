//! Asks another node's server what it is: one connection, one question, one deadline.

use super::conn::{ConnError, ConnSettings, Session};
use super::facts;
use super::gates::{PeerAnswer, PeerServer};
use crate::host::clock::Deadline;

/// Asks; whatever happens is an answer.
pub fn ask(conn: &ConnSettings, until: Deadline) -> PeerAnswer {
    let facts = Session::connect(conn, until).and_then(|mut session| facts::observe(&mut session, until));
    match facts {
        // Without its epoch a server can't be judged: that is no answer.
        Ok(facts) if facts.epoch_hidden => {
            PeerAnswer::Silent(format!("role {} may not read pgbaton.epoch: grant it pg_monitor", conn.user))
        }
        Ok(facts) => PeerServer::answer(&facts),
        Err(ConnError::Refused(place)) => PeerAnswer::Down(format!("nothing listens at {place}")),
        Err(error) => PeerAnswer::Silent(error.to_string()),
    }
}
