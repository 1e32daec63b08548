//! Tells the primary's database how this node is, so that `cluster status` can say so from any node.
//!
//! Best effort: a row of `pgbaton.node_status`, which replication carries to every node, written when something changed.
//! That the daemon lives is said by its session to the primary, which stays. Nothing waits for this thread.

use crate::host::clock::{self, Deadline};
use crate::pg::conn::{ConnError, ConnSettings, Session};
use crate::pg::status_row::{self, NodeStatus};
use crate::units::Moment;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// How often the session asks something.
const BEAT: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest pause between two tries of a server that doesn't answer.
///
/// It may come back, and as the primary: until it is tried again this node looks silent.
const SELDOM: Duration = Duration::from_secs(60);

/// The handle of the reporter's thread.
#[derive(Debug)]
pub(super) struct Reporter {
    news: Sender<NodeStatus>,
    last: Option<NodeStatus>,
}

impl Reporter {
    /// Starts the thread; `servers` are tried in order until one is the primary.
    pub(super) fn start(mut servers: Vec<ConnSettings>, node: &str) -> std::io::Result<Self> {
        let (news, told) = channel();
        for server in &mut servers {
            server.application_name = status_row::session_name(node);
        }
        std::thread::Builder::new().name("reporter".to_owned()).spawn(move || report(&told, servers))?;
        Ok(Self { news, last: None })
    }

    /// Reports how the node is, if that is new.
    pub(super) fn tell(&mut self, status: NodeStatus) {
        if self.last.as_ref() != Some(&status) {
            self.last = Some(status.clone());
            drop(self.news.send(status));
        }
    }
}

/// A server, when it may be asked again, and the session to it while it is the primary.
struct Place {
    server: ConnSettings,
    from: Moment,
    wait: Duration,
    session: Option<Session>,
}

impl Place {
    /// Writes the row if this server is a primary.
    ///
    /// One that doesn't answer in time is asked less and less often: each try leaves a thread behind that waits for it.
    fn write(&mut self, status: &NodeStatus) -> bool {
        let put = |mut session: Session, deadline| {
            let primary = status_row::write(&mut session, status, deadline)?;
            Ok(primary.then_some(session))
        };
        if let Some(session) = self.session.take() {
            self.session = put(session, Deadline::after(PATIENCE)).unwrap_or_default();
        }
        if self.session.is_none() && clock::now() >= self.from {
            let deadline = Deadline::after(PATIENCE);
            let written = Session::connect(&self.server, deadline).and_then(|session| put(session, deadline));
            self.wait = match written {
                Err(ConnError::Timeout(_)) => longer(self.wait),
                _ => Duration::ZERO,
            };
            self.from = clock::now() + self.wait;
            self.session = written.unwrap_or_default();
        }
        self.session.is_some()
    }

    /// Returns whether the session is there and its server still a primary; what isn't is let go.
    fn lives(&mut self) -> bool {
        let asked = |session: &mut Session| {
            let rows = session.query("SELECT NOT pg_is_in_recovery()", Deadline::after(PATIENCE))?;
            Ok::<_, ConnError>(rows.first().is_some_and(|row| row.is_true(0)))
        };
        self.session.take_if(|session| !asked(session).unwrap_or(false));
        self.session.is_some()
    }
}

fn longer(wait: Duration) -> Duration {
    wait.saturating_mul(2).clamp(RETRY, SELDOM)
}

fn report(told: &Receiver<NodeStatus>, servers: Vec<ConnSettings>) {
    let place = |server| Place { server, from: Moment::BOOT, wait: Duration::ZERO, session: None };
    let mut places: Vec<Place> = servers.into_iter().map(place).collect();
    let (mut pending, mut written): (Option<NodeStatus>, Option<NodeStatus>) = (None, None);
    loop {
        match told.recv_timeout(if pending.is_some() { RETRY } else { BEAT }) {
            Ok(status) => {
                pending = Some(status);
                // What is new is worth a try at once: the server may be back, and the primary.
                for place in &mut places {
                    place.from = Moment::BOOT;
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                // A session that ended: who is the primary now?
                let mut lives = false;
                for place in &mut places {
                    lives |= place.lives();
                }
                pending = pending.or_else(|| written.clone().filter(|_| !lives));
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while let Ok(newer) = told.try_recv() {
            pending = Some(newer);
        }
        if let Some(status) = &pending
            && places.iter_mut().any(|place| place.write(status))
        {
            written = pending.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_does_not_answer_is_asked_less_and_less_often() {
        let mut waits = vec![Duration::ZERO];
        for _ in 0..6 {
            waits.push(longer(*waits.last().unwrap()));
        }
        assert_eq!(waits, [0, 3, 6, 12, 24, 48, 60].map(Duration::from_secs));
    }
}
