//! Asks another node's server what it is: one connection, one question, one deadline.

use super::conn::{ConnError, ConnSettings, Session};
use super::facts::{self, ServerFacts};
use super::gates::{PeerAnswer, PeerServer};
use crate::host::clock::Deadline;

/// Asks; whatever happens is an answer.
pub fn ask(conn: &ConnSettings, until: Deadline) -> PeerAnswer {
    let facts = Session::connect(conn, until).and_then(|mut session| facts::observe(&mut session, until));
    match facts {
        Ok(facts) => answer(&facts),
        Err(ConnError::Refused(why)) => PeerAnswer::Down { why },
        Err(error) => PeerAnswer::Silent { why: error.to_string() },
    }
}

fn answer(facts: &ServerFacts) -> PeerAnswer {
    let server = Box::new(PeerServer::from(facts));
    if facts.in_recovery { PeerAnswer::Standby(server) } else { PeerAnswer::Primary(server) }
}
