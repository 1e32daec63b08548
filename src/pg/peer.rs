//! Asks another node's server what it is: one connection, one question, one deadline.

use super::conn::{ConnError, ConnSettings, Session};
use super::facts;
use super::views;
use super::gates::PeerAnswer;
use crate::host::clock::Deadline;

/// Asks; whatever happens is an answer.
pub fn ask(conn: &ConnSettings, until: Deadline) -> PeerAnswer {
    let seen = Session::connect(conn, until)
        .and_then(|mut session| facts::observe(&mut session, until))
        .and_then(|facts| views::peer(&facts).map(|server| (facts.in_recovery, Box::new(server))));
    match seen {
        Ok((true, server)) => PeerAnswer::Standby(server),
        Ok((false, server)) => PeerAnswer::Primary(server),
        Err(ConnError::Refused(why)) => PeerAnswer::Down { why },
        Err(error) => PeerAnswer::Silent { why: error.to_string() },
    }
}
