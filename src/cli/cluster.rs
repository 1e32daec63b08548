//! `pgbaton cluster …`

use super::examples;
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
