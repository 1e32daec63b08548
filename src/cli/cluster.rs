//! `pgbaton cluster …`

use super::{DryRun, examples};
use crate::settings::parse;
use clap::{Args, Subcommand};
use std::time::Duration;

/// What can be seen of the whole cluster.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum ClusterCommand {
    /// Show every node: VRRP state, role, timeline, lag, who holds the virtual IP
    ///
    /// Asks every node at the same time; a node that doesn't answer costs no more than the timeout. The exit
    /// status is 0 when nothing is wrong, and 1 when a problem or a warning is shown.
    #[command(after_long_help = examples::CLUSTER_STATUS)]
    Status(ClusterStatus),
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

/// `pgbaton cluster status`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ClusterStatus {
    /// Repeat until interrupted, with this pause between two looks
    #[arg(
        short,
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
