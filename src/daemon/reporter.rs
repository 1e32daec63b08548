//! Tells the primary's database how this node is, so that `cluster status` can say so from any node.
//!
//! Best effort: a row of `pgbaton.node_status`, which replication carries to every node. It is written when something
//! changed, and now and then to show that the daemon lives. Nothing waits for this thread.

use crate::host::clock::Deadline;
use crate::pg::conn::{ConnSettings, Session};
use crate::pg::status_row::{self, NodeStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// How often a row that says nothing new is written again.
const BEAT: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(2);

/// The handle of the reporter's thread.
#[derive(Debug)]
pub(super) struct Reporter {
    news: Sender<NodeStatus>,
    last: Option<NodeStatus>,
}

impl Reporter {
    /// Starts the thread; `servers` are tried in order until one is the primary.
    pub(super) fn start(servers: Vec<ConnSettings>) -> std::io::Result<Self> {
        let (news, told) = channel();
        std::thread::Builder::new().name("reporter".to_owned()).spawn(move || report(&told, &servers))?;
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

fn report(told: &Receiver<NodeStatus>, servers: &[ConnSettings]) {
    let (mut pending, mut written): (Option<NodeStatus>, Option<NodeStatus>) = (None, None);
    loop {
        match told.recv_timeout(if pending.is_some() { RETRY } else { BEAT }) {
            Ok(status) => pending = Some(status),
            Err(RecvTimeoutError::Timeout) => pending = pending.or_else(|| written.clone()),
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while let Ok(newer) = told.try_recv() {
            pending = Some(newer);
        }
        if let Some(status) = &pending
            && servers.iter().any(|server| write(server, status))
        {
            written = pending.take();
        }
    }
}

/// Writes the row if this server is a primary.
fn write(server: &ConnSettings, status: &NodeStatus) -> bool {
    let deadline = Deadline::after(PATIENCE);
    Session::connect(server, deadline)
        .is_ok_and(|mut session| status_row::write(&mut session, status, deadline).unwrap_or(false))
}
