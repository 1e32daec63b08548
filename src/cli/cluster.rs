//! `pgbaton cluster …`

use super::{DryRun, examples};
use crate::settings::parse::{self, Since};
use crate::settings::threshold::Threshold;
use clap::{Args, Subcommand, ValueEnum, ValueHint};
use std::path::PathBuf;
use std::time::Duration;

/// What can be seen of the whole cluster.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum ClusterCommand {
    /// Show every node: VRRP state, role, timeline, lag, who holds the virtual IP
    ///
    /// Asks every node at the same time; a node that doesn't answer costs no more than the timeout. It works from
    /// any machine with the configuration, also from one without PostgreSQL. The exit status is 0 when nothing is
    /// wrong, and 1 when a problem or a warning is shown; notes don't count. The document of --json is described
    /// in pgbaton-json(7).
    ///
    /// With --format nagios it is a monitoring plugin: the exit status is 0 (OK), 1 (WARNING: the cluster serves,
    /// but the next fault may hurt), 2 (CRITICAL: clients can't write, or data is in danger) or 3 (UNKNOWN: the
    /// question couldn't be asked). --warning and --critical are ranges as in other plugins: 16MB alerts above it,
    /// 1MB: below it, @1MB:2MB inside; an end in ms, s, m or h is a lag in time.
    ///
    /// With --format prometheus it writes metrics for the textfile collector of the node exporter, and the exit
    /// status is 0 when they were written, whatever they say.
    #[command(after_long_help = examples::CLUSTER_STATUS)]
    Status(ClusterStatus),
    /// Prepare this node for the cluster: the primary's server, or a standby of it
    ///
    /// There is no agent: it is run on each node, as the user of the server, with the same configuration there.
    ///
    /// On the node whose server is the primary it changes what a failover needs: settings (`wal_log_hints`,
    /// `restart_after_crash`, `wal_keep_size` and the rest), a role of its own with the least rights and a random
    /// password in ~/.pgpass, a replication slot for each other node, and lines in `pg_hba.conf` for all nodes. It
    /// never restarts the server: what waits for that is said.
    ///
    /// On another node it puts the same lines into `pg_hba.conf` and makes the server a streaming standby, as "pg
    /// rebuild-standby" does, by a base backup into an empty data directory for example. The password must be in
    /// ~/.pgpass there first: copy the line from the primary.
    ///
    /// A second run says that nothing is to be changed.
    #[command(after_long_help = examples::CLUSTER_INIT)]
    Init(ClusterInit),
    /// Find what would make a failover, a rebuild or a hand-over fail, before it does
    ///
    /// Asks every server for its settings, slots and `pg_hba.conf`, and what the role may do there; looks at this
    /// machine's interface, firewall, kernel parameters, services, files and its way to the others. Each finding
    /// says what, why it matters, and the command that mends it; what couldn't be checked is listed too. What
    /// concerns a machine is seen on that machine only: with --peers the others are asked over SSH to look at
    /// themselves, and every node sends packets to see whether VRRP arrives at the others; without it, run it on
    /// each node.
    ///
    /// The exit status is 0 when nothing worse than a note was found, else 1; with --fix it is 4 when some was
    /// mended and something is left.
    #[command(after_long_help = examples::CLUSTER_CHECK)]
    Check(ClusterCheck),
    /// Show what the daemons have seen, decided and done
    ///
    /// Reads the flight record that the daemon of this node keeps in its state directory. With --peers the other
    /// nodes are asked for theirs over SSH; files copied from them can be named instead.
    #[command(after_long_help = examples::CLUSTER_EVENTS)]
    Events(ClusterEvents),
    /// Draw a failover as it happened
    ///
    /// Finds failovers, hand-overs and refusals in the flight record, and draws one of them: a lane for each node,
    /// from the first sign of trouble on. Without --id it is the last one.
    #[command(after_long_help = examples::CLUSTER_TIMELINE)]
    Timeline(ClusterTimeline),
    /// Hand the service to another node on purpose, without losing anything
    ///
    /// Run on the node that serves. Looks first whether the other node can take over; then the virtual IP goes, PostgreSQL
    /// stops and sends its standbys all it has, the other node promotes, and this one becomes its standby. When
    /// nobody takes over in time, this node takes the service back.
    #[command(after_long_help = examples::CLUSTER_SWITCHOVER)]
    Switchover(ClusterSwitchover),
    /// Begin maintenance: no daemon promotes, fences or rebuilds anything until `cluster resume`
    ///
    /// Recorded in the database, so that every node knows it. The virtual IP stays where it is, also while its
    /// PostgreSQL is stopped or restarted by hand.
    #[command(after_long_help = examples::CLUSTER_PAUSE)]
    Pause(ClusterPause),
    /// End maintenance
    #[command(after_long_help = examples::CLUSTER_RESUME)]
    Resume(ClusterResume),
}

/// `pgbaton cluster init`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ClusterInit {
    /// Connect to the local server as this superuser
    #[arg(long, value_name = "ROLE", default_value = "postgres")]
    pub superuser: String,

    /// Make a database cluster in an empty data directory first (initdb), if no node has a primary yet
    #[arg(long)]
    pub create: bool,

    /// Give up when the questions to the primary aren't answered after this time; a copy may take as long as it does
    #[arg(
        long,
        env = "PGBATON_TIMEOUT", hide_env_values = true,
        value_name = "DURATION",
        value_parser = parse::duration,
        default_value = "30s"
    )]
    pub timeout: Duration,

    /// The flag that only shows.
    #[command(flatten)]
    pub dry_run: DryRun,
}

/// `pgbaton cluster check`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ClusterCheck {
    /// Mend what is safe to mend: settings by ALTER SYSTEM, the mode of a password file
    #[arg(long)]
    pub fix: bool,

    /// Have the other nodes look at their own machines too, over SSH
    #[arg(long)]
    pub peers: bool,

    /// Give up on a node that hasn't answered after this time
    #[arg(
        long,
        env = "PGBATON_TIMEOUT", hide_env_values = true,
        value_name = "DURATION",
        value_parser = parse::duration,
        default_value = "3s"
    )]
    pub timeout: Duration,
}

/// Where flight records are read from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct RecordSource {
    /// Ask the other nodes for their records too, over SSH
    #[arg(long)]
    pub peers: bool,

    /// Give up on a node that hasn't answered over SSH after this time
    #[arg(
        long,
        env = "PGBATON_TIMEOUT", hide_env_values = true,
        value_name = "DURATION",
        value_parser = parse::duration,
        default_value = "5s"
    )]
    pub timeout: Duration,

    /// Read these files instead of the record of this node
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "peers")]
    pub files: Vec<PathBuf>,
}

/// `pgbaton cluster events`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ClusterEvents {
    /// Where the records are.
    #[command(flatten)]
    pub source: RecordSource,

    /// Show what happened since then: a duration ago, as in 10m, or a time, as in 2026-01-02T03:04:05Z
    #[arg(long, value_name = "WHEN", value_parser = parse::since)]
    pub since: Option<Since>,

    /// Show this many events at most, the newest
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    pub last: usize,

    /// Show every question and answer too
    #[arg(short, long)]
    pub all: bool,

    /// Go on, and show what happens until interrupted (each a line of JSON under --json)
    #[arg(short, long, conflicts_with_all = ["peers", "files"])]
    pub follow: bool,
}

/// `pgbaton cluster timeline`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ClusterTimeline {
    /// Where the records are.
    #[command(flatten)]
    pub source: RecordSource,

    /// Draw the last failover, hand-over or refusal (what is done without --id)
    #[arg(long, conflicts_with_all = ["id", "list"])]
    pub last: bool,

    /// Draw the one of this name, or of this term
    #[arg(long, value_name = "ID|TERM", conflicts_with = "list")]
    pub id: Option<String>,

    /// List all of them
    #[arg(short, long)]
    pub list: bool,

    /// Draw it as SVG into this file too
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "list")]
    pub svg: Option<PathBuf>,
}

/// `pgbaton cluster status`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ClusterStatus {
    /// Repeat until interrupted, with this pause between two looks
    #[arg(
        long,
        value_name = "INTERVAL",
        value_parser = parse::duration,
        num_args = 0..=1,
        default_missing_value = "1s"
    )]
    pub watch: Option<Duration>,

    /// Give up on a node that hasn't answered after this time
    #[arg(
        long,
        env = "PGBATON_TIMEOUT", hide_env_values = true,
        value_name = "DURATION",
        value_parser = parse::duration,
        default_value = "1s"
    )]
    pub timeout: Duration,

    /// Write the answer in this form
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub format: StatusFormat,

    /// Write the metrics into this file, as a whole, instead of to standard output (with --format prometheus)
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "watch")]
    pub output: Option<PathBuf>,

    /// Warn about a lag in this range (with --format nagios; once in bytes and once in time, as in 16MB and 10s)
    #[arg(short, long, value_name = "RANGE", value_parser = Threshold::parse, allow_hyphen_values = true)]
    pub warning: Vec<Threshold>,

    /// Be critical about a lag in this range (with --format nagios; once in bytes and once in time)
    #[arg(short, long, value_name = "RANGE", value_parser = Threshold::parse, allow_hyphen_values = true)]
    pub critical: Vec<Threshold>,
}

/// How the state of the cluster is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum StatusFormat {
    /// As a table and the problems below it
    #[default]
    Human,
    /// As a monitoring plugin: one line with performance data, exit status 0, 1, 2 or 3
    Nagios,
    /// In the text format of Prometheus, for the textfile collector
    Prometheus,
}

/// `pgbaton cluster switchover`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ClusterSwitchover {
    /// The node that shall take over; the one with the highest priority when it isn't said
    #[arg(long, value_name = "NODE")]
    pub to: Option<String>,

    /// How long the whole may take
    #[arg(
        long,
        env = "PGBATON_TIMEOUT", hide_env_values = true,
        value_name = "DURATION",
        value_parser = parse::duration,
        default_value = "60s"
    )]
    pub timeout: Duration,

    /// Whether the plan is only shown.
    #[command(flatten)]
    pub dry_run: DryRun,
}

/// `pgbaton cluster pause`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ClusterPause {
    /// Why, for those who look at the cluster meanwhile
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,

    /// How long the whole may take
    #[arg(
        long,
        env = "PGBATON_TIMEOUT", hide_env_values = true,
        value_name = "DURATION",
        value_parser = parse::duration,
        default_value = "10s"
    )]
    pub timeout: Duration,

    /// Whether the plan is only shown.
    #[command(flatten)]
    pub dry_run: DryRun,
}

/// `pgbaton cluster resume`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ClusterResume {
    /// How long the whole may take
    #[arg(
        long,
        env = "PGBATON_TIMEOUT", hide_env_values = true,
        value_name = "DURATION",
        value_parser = parse::duration,
        default_value = "10s"
    )]
    pub timeout: Duration,

    /// Whether the plan is only shown.
    #[command(flatten)]
    pub dry_run: DryRun,
}
