//! What the nodes of a cluster said when they were asked.

use crate::pg::history::History;
use crate::pg::lsn::{Lsn, Timeline};
use serde::{Serialize, Serializer};

/// The whole cluster at one moment.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct ClusterView {
    /// The name of the cluster.
    pub cluster: String,
    /// When the nodes were asked: RFC 3339, by the clock of the asking machine.
    pub at: String,
    /// The node that asked; `None` when the asking machine is none of them.
    pub asked_from: Option<String>,
    /// The limit of `guard.max_lag` in bytes.
    pub max_lag: Option<u64>,
    /// The virtual IPs.
    pub vips: Vec<VipView>,
    /// Every configured node, in the order of the configuration.
    pub nodes: Vec<NodeView>,
}

impl ClusterView {
    /// Returns the nodes whose server is a primary.
    pub fn primaries(&self) -> impl Iterator<Item = (&NodeView, &ServerView)> {
        self.servers().filter(|(_, server)| server.role == ServerRole::Primary)
    }

    /// Returns the primary, when there is exactly one.
    pub fn primary(&self) -> Option<&NodeView> {
        let mut primaries = self.primaries();
        let first = primaries.next();
        if primaries.next().is_some() { None } else { first.map(|(node, _)| node) }
    }

    /// Returns the nodes whose server answered, with what it said.
    pub fn servers(&self) -> impl Iterator<Item = (&NodeView, &ServerView)> {
        self.nodes.iter().filter_map(|node| node.server.as_ref().map(|server| (node, server)))
    }
}

/// A virtual IP and who answers behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VipView {
    /// The address with its prefix length.
    pub address: String,
    /// Who answered there.
    pub answer: VipAnswer,
}

/// Who answered behind a virtual IP, told apart by the server's start time, system id and role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub enum VipAnswer {
    /// The server of this node.
    Node {
        /// Its name.
        node: String,
    },
    /// A server that is none of those the nodes showed.
    Stranger {
        /// What it said about itself.
        detail: String,
    },
    /// Nobody: refused, or no answer in time.
    Nobody {
        /// What the attempt said.
        detail: String,
    },
    /// Somebody, but it can't be told who.
    Unknown {
        /// Why not.
        detail: String,
    },
    /// There is no `[postgres]`, so nobody was asked.
    NotAsked,
}

/// What is known of one node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// Where it answers itself.
    pub address: String,
    /// Whether it is a spare, which never becomes the primary.
    pub spare: bool,
    /// Whether its `PostgreSQL` answered.
    pub reach: Reach,
    /// The words of the failure.
    pub detail: Option<String>,
    /// What its `PostgreSQL` said.
    pub server: Option<ServerView>,
    /// Why it was fenced, if nobody has looked at its data since.
    pub needs_check: Option<String>,
    /// What its daemon said.
    pub daemon: DaemonView,
}

/// Whether a server answered, and if not, how not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// It answered.
    Answered,
    /// The host answers and nothing listens: `PostgreSQL` is down.
    Refused,
    /// Nothing came back in time: host down, cut off, or server frozen.
    Timeout,
    /// The network has no way there.
    NoRoute,
    /// The server doesn't let this role in.
    Auth,
    /// It runs and isn't open yet (or not any more).
    Starting,
    /// It answered with another error.
    Error,
    /// There is no `[postgres]`, so it wasn't asked.
    NotAsked,
}

/// What a `PostgreSQL` server said about itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ServerView {
    /// Primary or standby, by `pg_is_in_recovery()`.
    pub role: ServerRole,
    /// `server_version_num`.
    pub version: u32,
    /// The system identifier, as text: JSON numbers can't hold it.
    pub system_id: String,
    /// The timeline it writes or follows.
    pub timeline: Timeline,
    /// Primary: the end of its log. Standby: what it has replayed.
    #[serde(serialize_with = "lsn")]
    pub lsn: Lsn,
    /// Standby: what it has received and flushed.
    #[serde(serialize_with = "optional_lsn")]
    pub received_lsn: Option<Lsn>,
    /// Standby: bytes that the primary has and it hasn't replayed.
    pub lag_bytes: Option<u64>,
    /// Standby: age of the last replayed transaction when it lags, 0 when it doesn't.
    pub lag_seconds: Option<f64>,
    /// Standby: whether replay was paused by hand.
    pub replay_paused: bool,
    /// Standby: its WAL receiver, if one runs.
    pub receiver: Option<Receiver>,
    /// Standby: whether `primary_conninfo` is set; `None` when this role may not read it.
    pub upstream_configured: Option<bool>,
    /// The servers that stream from it.
    pub senders: Vec<Sender>,
    /// The names in `synchronous_standby_names`.
    pub synchronous_standby_names: String,
    /// The newest row of `pgbaton.epoch` in its database.
    pub epoch: Option<EpochView>,
    /// Why the operator has paused the cluster, as its database says; `None`: it isn't paused.
    pub pause: Option<PauseView>,
    /// When its postmaster was started, RFC 3339.
    pub started_at: Option<String>,
    /// How long ago that was.
    pub up_seconds: Option<u64>,
    /// `restart_after_crash`.
    pub restart_after_crash: Option<bool>,
    /// Whether `pg_rewind` can work on it: `wal_log_hints`, or data checksums.
    pub rewindable: Option<bool>,
    /// Primary: whether a `standby.signal` keeps it from starting writable by itself.
    pub start_protected: Option<bool>,
    /// The history of its timeline.
    #[serde(skip)]
    pub history: Option<History>,
}

/// The operator's pause: no daemon promotes, stops or rebuilds anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PauseView {
    /// Why, in the operator's words.
    pub reason: String,
    /// How long ago it began.
    pub since_seconds: Option<u64>,
}

/// The role of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerRole {
    /// Accepts writes.
    Primary,
    /// Is in recovery.
    Standby,
}

/// A WAL receiver (`pg_stat_wal_receiver`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Receiver {
    /// Its state; `None` when this role may not see it (`pg_monitor` may).
    pub status: Option<String>,
    /// Where it is connected to.
    pub sender_host: Option<String>,
    /// The port there.
    pub sender_port: Option<u16>,
}

/// A WAL sender (`pg_stat_replication`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sender {
    /// The standby's `application_name`.
    pub name: String,
    /// The standby's address; `None` over a Unix socket.
    pub address: Option<String>,
    /// Its state; `None` when this role may not see it.
    pub state: Option<String>,
    /// `async`, `potential`, `sync` or `quorum`.
    pub sync_state: Option<String>,
    /// What was sent.
    #[serde(serialize_with = "optional_lsn")]
    pub sent_lsn: Option<Lsn>,
    /// What the standby has flushed.
    #[serde(serialize_with = "optional_lsn")]
    pub flush_lsn: Option<Lsn>,
    /// What the standby has replayed.
    #[serde(serialize_with = "optional_lsn")]
    pub replay_lsn: Option<Lsn>,
}

/// A confirmed term, as the database records it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EpochView {
    /// The term.
    pub term: u64,
    /// The node that became the primary in it.
    pub node: String,
    /// Names the promotion.
    pub promotion_id: String,
    /// The timeline it made.
    pub timeline: Timeline,
}

/// What is known of a node's daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum DaemonView {
    /// Nobody told.
    Unknown,
    /// It doesn't run.
    NotRunning {
        /// How that was seen.
        detail: String,
    },
    /// It said this.
    Told(Told),
}

impl DaemonView {
    /// Returns what the daemon said.
    pub const fn told(&self) -> Option<&Told> {
        match self {
            Self::Told(told) => Some(told),
            _ => None,
        }
    }
}

/// What a daemon said about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    /// How it is known.
    pub source: Source,
    /// When a row in the primary was written, RFC 3339.
    pub at: Option<String>,
    /// ACTIVE, BACKUP or INITIALIZE.
    pub vrrp_state: Option<String>,
    /// What it is doing: `serving`, `standby`, `fenced`…
    pub phase: Option<String>,
    /// Why it is doing that.
    pub reason: Option<String>,
    /// What a person should do.
    pub hint: Option<String>,
    /// How long it has been in its VRRP state.
    pub since_seconds: Option<u64>,
    /// Whether it has its session to the primary; `None`: it isn't known.
    pub connected: Option<bool>,
    /// The virtual IPs that it holds; `None` when it didn't say.
    pub held: Option<Vec<String>>,
    /// The term it knows.
    pub term: Option<u64>,
}

/// How a daemon's words reached us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// It was asked over its control socket, just now.
    Socket,
    /// It wrote them into the primary's table when they last changed.
    Table,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn lsn<S: Serializer>(lsn: &Lsn, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(lsn)
}

#[expect(clippy::ref_option, reason = "serde calls it with a reference")]
fn optional_lsn<S: Serializer>(lsn: &Option<Lsn>, serializer: S) -> Result<S::Ok, S::Error> {
    match lsn {
        Some(lsn) => serializer.collect_str(lsn),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn told(vrrp_state: &str, phase: &str) -> Told {
        Told {
            source: Source::Table,
            at: None,
            vrrp_state: Some(vrrp_state.to_owned()),
            phase: Some(phase.to_owned()),
            reason: None,
            hint: None,
            since_seconds: Some(7260),
            connected: Some(true),
            held: None,
            term: Some(2),
        }
    }

    fn server(role: ServerRole) -> ServerView {
        let standby = role == ServerRole::Standby;
        ServerView {
            role,
            version: 150_020,
            system_id: "7400000000000000001".to_owned(),
            timeline: Timeline::new(3).unwrap(),
            lsn: Lsn(0x0404_F570),
            received_lsn: standby.then_some(Lsn(0x0404_F570)),
            lag_bytes: standby.then_some(0),
            lag_seconds: standby.then_some(0.0),
            replay_paused: false,
            receiver: standby.then(|| Receiver {
                status: Some("streaming".to_owned()),
                sender_host: Some("192.0.2.21".to_owned()),
                sender_port: Some(5432),
            }),
            upstream_configured: standby.then_some(true),
            senders: Vec::new(),
            synchronous_standby_names: String::new(),
            epoch: Some(EpochView {
                term: 2,
                node: "node1".to_owned(),
                promotion_id: "abab".to_owned(),
                timeline: Timeline::new(3).unwrap(),
            }),
            pause: None,
            started_at: Some("2026-01-02T03:04:05Z".to_owned()),
            up_seconds: Some(7300),
            restart_after_crash: Some(false),
            rewindable: Some(true),
            start_protected: (!standby).then_some(true),
            history: None,
        }
    }

    fn sender(name: &str, address: &str) -> Sender {
        Sender {
            name: name.to_owned(),
            address: Some(address.to_owned()),
            state: Some("streaming".to_owned()),
            sync_state: Some("quorum".to_owned()),
            sent_lsn: Some(Lsn(0x0404_F570)),
            flush_lsn: Some(Lsn(0x0404_F570)),
            replay_lsn: Some(Lsn(0x0404_F570)),
        }
    }

    fn node(name: &str, address: &str, role: ServerRole, vrrp: &str) -> NodeView {
        let phase = if role == ServerRole::Primary { "serving" } else { "standby" };
        NodeView {
            name: name.to_owned(),
            address: address.to_owned(),
            spare: false,
            reach: Reach::Answered,
            detail: None,
            server: Some(server(role)),
            needs_check: None,
            daemon: DaemonView::Told(told(vrrp, phase)),
        }
    }

    /// Three nodes as they should be.
    pub(crate) fn healthy() -> ClusterView {
        let history = History::parse(
            Timeline::new(3).unwrap(),
            "1\t0/3000000\tno recovery target specified\n\n2\t0/4000000\tno recovery target specified\n",
        );
        let mut node1 = node("node1", "192.0.2.21", ServerRole::Primary, "ACTIVE");
        if let Some(server) = &mut node1.server {
            server.senders = vec![sender("node2", "192.0.2.22"), sender("spare", "192.0.2.24")];
            server.synchronous_standby_names = "ANY 1 (node2, spare)".to_owned();
            server.history = history.ok();
        }
        let node2 = node("node2", "192.0.2.22", ServerRole::Standby, "BACKUP");
        let mut spare = node("spare", "192.0.2.24", ServerRole::Standby, "BACKUP");
        spare.spare = true;
        spare.daemon = DaemonView::Unknown;
        ClusterView {
            cluster: "article".to_owned(),
            at: "2026-01-02T05:04:05Z".to_owned(),
            asked_from: Some("node1".to_owned()),
            max_lag: Some(16 << 20),
            vips: vec![VipView {
                address: "192.0.2.23/24".to_owned(),
                answer: VipAnswer::Node { node: "node1".to_owned() },
            }],
            nodes: vec![node1, node2, spare],
        }
    }
}
