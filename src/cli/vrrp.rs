//! `pgbaton vrrp …`

use super::examples;
use crate::settings::parse;
use clap::{Args, Subcommand, ValueEnum};
use std::time::Duration;

/// What can be done about the election.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum VrrpCommand {
    /// Run the daemon of this node in the foreground
    ///
    /// The daemon elects by VRRP version 3 (RFC 9568). With a [postgres] table it also watches PostgreSQL,
    /// promotes the standby when the old primary is proved to be gone, and stops PostgreSQL and drops the
    /// virtual IP when this node has lost its place. Being Active is the permission to ask, never an order
    /// to promote.
    ///
    /// Each [[instance]] is a further virtual router, which only elects and moves its addresses.
    ///
    /// It stays in the foreground and logs to standard error. SIGTERM and SIGINT make it leave in order;
    /// SIGHUP makes it read the configuration again: unchanged instances run on, changed priorities, intervals
    /// and addresses count at once, and a file with a mistake changes nothing. What belongs to PostgreSQL
    /// counts from the next start on.
    #[command(after_long_help = examples::VRRP_RUN)]
    Run(Run),
    /// Show the state of the running daemon
    ///
    /// Asks the daemon of this node over its control socket. The exit status is 69 if none is running.
    #[command(after_long_help = examples::VRRP_STATUS)]
    Status(VrrpStatus),
    /// Show the counters of the running daemon
    ///
    /// Advertisements sent, received and refused, each with the reason, for each virtual router since it was
    /// started.
    #[command(after_long_help = examples::VRRP_STATS)]
    Stats(VrrpStats),
    /// Send the other nodes packets that do nothing but arrive
    ///
    /// The daemon of this node sends three packets for each virtual router the way that its advertisements take. They
    /// are of a type that doesn't exist, so every router discards them; pgbaton counts them by their sender, which
    /// "vrrp stats" shows on the other nodes. "cluster check --peers" does this in every direction.
    #[command(after_long_help = examples::VRRP_PROBE)]
    Probe(VrrpProbe),
    /// Make the Active node hand over to a Backup
    ///
    /// The daemon of this node gives up being Active: it stops PostgreSQL, drops the virtual IP and says
    /// farewell with an advertisement of priority 0, so that the Backup acts without waiting.
    #[command(after_long_help = examples::VRRP_RESIGN)]
    Resign(Resign),
    /// Check the configuration and show what it means
    ///
    /// Reads the configuration like the daemon does, reports every mistake with its line, and finds out
    /// which node this machine is when --node is given. Changes nothing.
    #[command(after_long_help = examples::VRRP_CHECK_CONFIG)]
    CheckConfig(CheckConfig),
}

/// `pgbaton vrrp run`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Run {
    /// Log nothing below this level
    #[arg(
        long,
        env = "PGBATON_LOG_LEVEL",
        hide_env_values = true,
        value_name = "LEVEL",
        value_enum,
        default_value_t
    )]
    pub log_level: LogLevel,

    /// Write log lines in this form
    #[arg(
        long,
        env = "PGBATON_LOG_FORMAT",
        hide_env_values = true,
        value_name = "FORMAT",
        value_enum,
        default_value_t
    )]
    pub log_format: LogFormat,
}

/// The least important records that are logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// What failed
    Error,
    /// What may fail next
    Warning,
    /// What an operator should know: state changes, promotions
    Notice,
    /// Each step
    #[default]
    Info,
    /// Everything
    Debug,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// As "journal" under systemd, otherwise as "plain"
    #[default]
    Auto,
    /// With the priority in front, as sd-daemon(3) describes
    Journal,
    /// With the time and the level in front
    Plain,
}

/// `pgbaton vrrp status`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct VrrpStatus {
    /// Give up when the daemon hasn't answered after this time
    #[arg(
        long,
        env = "PGBATON_TIMEOUT", hide_env_values = true,
        value_name = "DURATION",
        value_parser = parse::duration,
        default_value = "1s"
    )]
    pub timeout: Duration,
}

/// `pgbaton vrrp stats`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct VrrpStats {
    /// Give up when the daemon hasn't answered after this time
    #[arg(
        long,
        env = "PGBATON_TIMEOUT", hide_env_values = true,
        value_name = "DURATION",
        value_parser = parse::duration,
        default_value = "1s"
    )]
    pub timeout: Duration,

    /// Write the counters in this form
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub format: StatsFormat,
}

/// How counters are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum StatsFormat {
    /// As a table
    #[default]
    Human,
    /// In the text format of Prometheus
    Prometheus,
}

/// `pgbaton vrrp probe`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct VrrpProbe {
    /// Give up when the daemon hasn't answered after this time
    #[arg(
        long,
        env = "PGBATON_TIMEOUT", hide_env_values = true,
        value_name = "DURATION",
        value_parser = parse::duration,
        default_value = "1s"
    )]
    pub timeout: Duration,
}

/// `pgbaton vrrp resign`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Resign {
    /// Give up waiting for the hand-over after this time
    #[arg(
        long,
        env = "PGBATON_TIMEOUT", hide_env_values = true,
        value_name = "DURATION",
        value_parser = parse::duration,
        default_value = "30s"
    )]
    pub timeout: Duration,
}

/// `pgbaton vrrp check-config`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct CheckConfig {}
