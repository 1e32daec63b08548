//! What goes into the supervisor and what comes out of it.

use crate::pg::epoch::Term;
use crate::pg::gates::{LocalView, PeerView, Policy, Proof};
use crate::promotion::event::Event;
use crate::promotion::rules::Register;
use crate::units::{Mac, Moment};
use serde::Serialize;
use std::net::IpAddr;
use std::time::Duration;

/// What the supervisor is told once.
#[derive(Debug, Clone)]
pub struct Config {
    /// This node's name.
    pub node: String,
    /// Whether it may become the primary; a spare never asks.
    pub electable: bool,
    /// The other nodes, and the address each speaks VRRP from.
    pub peers: Vec<(String, IpAddr)>,
    /// What the gates may take on trust.
    pub policy: Policy,
    /// How long a round of questions waits for answers on the failover path.
    pub ask_timeout: Duration,
    /// How long a refused node waits before it asks again.
    pub retry: Duration,
    /// How long the link may be down before a serving node stops its server (only where others go ahead
    /// without it); `None`: it goes on.
    pub isolation: Option<Duration>,
    /// How the votes go; `None`: replication is asynchronous.
    pub votes: Option<Votes>,
    /// The gateway that is asked where nothing better proves that a silent primary is dead.
    pub gateway: Option<GatewayBounds>,
    /// What becomes of this node when its data is of an older term.
    pub rejoin: Rejoin,
    /// Whether a silent node can be fenced.
    pub fences: bool,
    /// What follows when the server of a serving node dies.
    pub on_crash: OnCrash,
}

/// How long whom goes on without the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GatewayBounds {
    /// How long a primary serves that neither it nor another node answers; the stop comes after.
    pub serves_for: Duration,
    /// How long whoever replaces it waits, since its first late advert.
    pub wait: Duration,
}

/// How a cluster votes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Votes {
    /// How many voters there are, this node included.
    pub electorate: usize,
    /// Whether only two of them have data.
    pub pair: bool,
    /// How often a serving node asks the others.
    pub heartbeat: Duration,
    /// How long it goes on without the answer of a majority.
    pub isolation: Duration,
    /// Whether that is a lease: nobody's acknowledgement holds the primary back, and whoever replaces it waits for the
    /// end of this time.
    pub lease: bool,
}

/// What follows when the server of a serving node dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnCrash {
    /// Another node takes over.
    Failover,
    /// It is started again here first, and another node takes over when it doesn't serve within this time.
    RestartFirst {
        /// How long it may be away.
        within: Duration,
    },
}

/// What becomes of a node whose data is of an older term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejoin {
    /// The daemon rebuilds it.
    Auto,
    /// It waits for an operator.
    Manual,
}

/// What is known of the local server.
#[derive(Debug, Clone, PartialEq)]
pub enum Local {
    /// No postmaster runs on the data directory.
    Down {
        /// Why, as far as known.
        why: String,
    },
    /// A postmaster runs but takes no connections yet.
    Starting {
        /// What it says.
        why: String,
    },
    /// A postmaster runs and doesn't answer in its time.
    Hung {
        /// What was waited for.
        why: String,
    },
    /// It is in recovery.
    Standby(Box<LocalView>),
    /// It accepts writes.
    Primary(Box<LocalView>),
}

/// Why the router asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The down interval ran out.
    Silence,
    /// The Active node said that it leaves.
    Farewell {
        /// Who said so.
        from: IpAddr,
    },
}

/// What happened.
#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack")]
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The watch saw the local server.
    Local(Local),
    /// Adverts are late: ask around early.
    Suspect,
    /// Adverts are heard again.
    Heard,
    /// The Active node sent priority 0.
    Farewell {
        /// Who.
        from: IpAddr,
    },
    /// The router has permission to ask.
    Ask(Asked),
    /// Another node sends adverts as Active while this one does.
    Contested {
        /// Who.
        from: IpAddr,
    },
    /// The loop slept longer than the others wait.
    Overslept {
        /// By how much.
        by: Duration,
    },
    /// A peer answered a round, or its time ran out at the edge.
    PeerAnswered {
        /// The round.
        round: u64,
        /// The answer.
        view: PeerView,
    },
    /// The gateway was asked.
    GatewayAsked {
        /// When.
        asked: Moment,
        /// Whether it answered.
        answered: bool,
    },
    /// The link answered whether anyone has the virtual IP.
    VipProbed {
        /// The round.
        round: u64,
        /// Who has it.
        mac: Option<Mac>,
    },
    /// The plan in hand ended.
    PlanDone(PlanResult),
    /// A fencing ended: the proof, or why there is none.
    Fenced {
        /// The node.
        node: String,
        /// What came of it.
        result: Result<Proof, String>,
    },
    /// The rejoin ended: what it came to, or why it failed.
    Rejoined(Result<String, String>),
    /// The start of the server as a standby ended; why it failed.
    Started(Result<(), String>),
    /// The carrier of the VRRP interface changed.
    Link {
        /// Whether there is a carrier.
        up: bool,
    },
    /// An operator asked to hand over.
    Resign,
    /// The daemon is asked to stop.
    Terminate,
    /// The timer that was asked for.
    Timer,
}

/// How a plan ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanResult {
    /// Every step that matters is done.
    Done,
    /// A step failed.
    Failed {
        /// The error in one line.
        why: String,
        /// What a person can do.
        hint: Option<String>,
    },
}

/// What is to be carried out.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// Ask every peer over SQL, and the link for the virtual IP; answers come as inputs of this round.
    Ask {
        /// The round the answers belong to.
        round: u64,
        /// When an answer is too late.
        until: Moment,
        /// Whether the link is asked too.
        link: bool,
    },
    /// Look at the local server now instead of at the next probe.
    Observe,
    /// Run the failover plan for this term.
    Promote {
        /// The term of the promotion.
        term: Term,
        /// Who is known to have stopped.
        gone: Vec<String>,
        /// Which of the other nodes are standbys: they could be promoted, too.
        rivals: Vec<String>,
    },
    /// Run the serve plan; `adopt` gives a database without an epoch its first.
    Serve {
        /// The first term, for a database that has none.
        adopt: Option<Term>,
        /// The term it has otherwise.
        term: Term,
    },
    /// Bring the synchronous names in line with the standbys that there are.
    Reconfigure {
        /// The primary's term.
        term: Term,
    },
    /// Tell these voters that the term is confirmed.
    Confirm {
        /// The term.
        term: Term,
        /// The voters.
        nodes: Vec<String>,
    },
    /// Have in place what a promotion of this standby would need.
    Prepare,
    /// Settle what this node has promised, and go back to where it streamed from.
    Resume,
    /// Take what another voter's register tells.
    Heard {
        /// The voter.
        from: String,
        /// Its register.
        register: Box<Register>,
    },
    /// Tell a voter what another one's register holds: a witness asks nobody itself.
    Relay {
        /// The voter that is told.
        to: String,
        /// The voter whose register it is.
        from: String,
        /// That register.
        register: Box<Register>,
    },
    /// Ask the gateway.
    AskGateway,
    /// Make sure that these nodes are dead.
    Fence {
        /// The nodes.
        nodes: Vec<String>,
    },
    /// Make this node a standby of the primary.
    Rejoin {
        /// The primary.
        primary: String,
    },
    /// Start the server as a standby, its data as it is.
    Start,
    /// Run the release plan.
    Release {
        /// Whether the server is stopped too, and how.
        stop: Stop,
    },
    /// Remove the virtual IPs now, on the loop's own thread, before anything else.
    DropVip,
    /// Tell the router whether it takes part in elections.
    Eligible(bool),
    /// Make the router Active.
    Grant,
    /// Make the router Backup; with a farewell when the server is proved stopped.
    Yield {
        /// Whether priority 0 is sent.
        farewell: bool,
    },
    /// Write an event down.
    Note(Event),
    /// Answer the operator who asked to hand over.
    Resigned(Result<(), String>),
    /// Leave the loop.
    Exit,
}

/// What a release does to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It stops, in the time that the configuration gives it.
    InTime,
    /// It stops now: its lease runs out.
    Now,
}

/// Where the node stands, as `vrrp status` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Nothing is known of the server yet.
    Starting,
    /// The server is a standby; the router listens.
    Standby,
    /// The peers are asked whether this standby may become the primary.
    Asking,
    /// The failover plan runs.
    Promoting,
    /// The server is a primary; the peers are asked whether it is the newest.
    Confirming,
    /// The serve plan runs.
    TakingUp,
    /// The service is here.
    Serving,
    /// The server died and is being started again; no virtual IP meanwhile.
    Restarting,
    /// The release plan runs.
    Releasing,
    /// The server is a primary that can't know whether it is the newest: no virtual IP.
    Held,
    /// The server is being made a standby of the primary again.
    Rejoining,
    /// The server was stopped because another is newer.
    Fenced,
    /// The server doesn't run.
    Down,
}
