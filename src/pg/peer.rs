//! Asks another node's server what it is: one connection, one question, one deadline.

use super::conn::{ConnError, ConnSettings, Session};
use super::facts;
use super::gates::{PeerAnswer, PeerView};
use crate::host::clock::Deadline;

/// Asks; whatever happens is an answer.
pub fn ask(node: &str, conn: &ConnSettings, until: Deadline) -> PeerView {
    match Session::connect(conn, until) {
        Ok(mut session) => ask_on(node, &mut session, &conn.user, until),
        Err(error) => unanswered(node, error),
    }
}

/// Asks on an open session.
pub fn ask_on(node: &str, session: &mut Session, user: &str, until: Deadline) -> PeerView {
    match facts::observe(session, until) {
        // Without its epoch a server can't be judged: that is no answer.
        Ok(facts) if facts.epoch_hidden => PeerView::new(
            node,
            PeerAnswer::Silent(format!("role {user} may not read pgbaton.epoch: grant it pg_monitor")),
        ),
        Ok(facts) => PeerView::from_facts(node, &facts),
        Err(error) => unanswered(node, error),
    }
}

/// Returns what an error says about a node's server.
pub(super) fn unanswered(node: &str, error: ConnError) -> PeerView {
    let answer = match error {
        ConnError::Refused(place) => PeerAnswer::Down(format!("nothing listens at {place}")),
        error => PeerAnswer::Silent(error.to_string()),
    };
    PeerView::new(node, answer)
}
