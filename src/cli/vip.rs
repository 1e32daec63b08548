//! `pgbaton vip …`

use super::{DryRun, examples};
use crate::settings::parse::{self, Lease};
use crate::units::InterfaceAddress;
use clap::{Args, Subcommand};
use std::time::Duration;

/// What can be done with the virtual IP.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum VipCommand {
    /// Add the virtual IP to this machine and announce it
    ///
    /// Asks the network first whether another machine has the address, and refuses if one answers. Then adds
    /// the address and announces it by gratuitous ARP (IPv4) or unsolicited neighbour advertisements (IPv6).
    /// Running it twice is safe: the second run renews the lease and says "unchanged".
    ///
    /// Without ADDRESS the virtual IPs of the configuration are meant. With ADDRESS and --interface no
    /// configuration is needed.
    #[command(after_long_help = examples::VIP_UP)]
    Up(VipUp),
    /// Remove the virtual IP from this machine
    ///
    /// Without ADDRESS the virtual IPs of the configuration are meant. Running it twice is safe.
    ///
    /// TCP connections to the address are reset first, unless another interface has it too: a client that waits for
    /// an answer would otherwise wait until its keepalives give up.
    #[command(after_long_help = examples::VIP_DOWN)]
    Down(VipDown),
    /// Show whether this machine has the virtual IP, and for how long
    #[command(after_long_help = examples::VIP_STATUS)]
    Status(VipStatus),
}

/// `pgbaton vip up`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct VipUp {
    /// The virtual IP with the prefix length of its network (can be repeated)
    #[arg(value_name = "ADDRESS/PREFIX")]
    pub addresses: Vec<InterfaceAddress>,

    /// Add it to this interface
    #[arg(
        short,
        long,
        env = "PGBATON_INTERFACE", hide_env_values = true,
        value_name = "IF",
        value_parser = crate::settings::interface_name
    )]
    pub interface: Option<String>,

    /// Give an IPv4 address this label, as ip(8) shows it
    #[arg(long, env = "PGBATON_LABEL", hide_env_values = true, value_name = "LABEL", value_parser = crate::settings::interface_name)]
    pub label: Option<String>,

    /// Let the kernel remove the address after this time, in whole seconds, or "off"
    #[arg(long, env = "PGBATON_LEASE", hide_env_values = true, value_name = "DURATION|off")]
    pub lease: Option<Lease>,

    /// Add the address even if another machine answers for it
    #[arg(short, long)]
    pub force: bool,

    /// Don't ask the network whether another machine has the address
    #[arg(long)]
    pub no_probe: bool,

    /// Wait this long for another machine's answer
    #[arg(
        long,
        env = "PGBATON_PROBE_TIMEOUT", hide_env_values = true,
        value_name = "DURATION",
        value_parser = parse::duration,
        default_value = "200ms",
        conflicts_with = "no_probe"
    )]
    pub probe_timeout: Duration,

    /// The flag of every changing command.
    #[command(flatten)]
    pub dry_run: DryRun,
}

/// `pgbaton vip down`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct VipDown {
    /// The virtual IP with the prefix length of its network (can be repeated)
    #[arg(value_name = "ADDRESS/PREFIX")]
    pub addresses: Vec<InterfaceAddress>,

    /// Remove it from this interface
    #[arg(
        short,
        long,
        env = "PGBATON_INTERFACE", hide_env_values = true,
        value_name = "IF",
        value_parser = crate::settings::interface_name
    )]
    pub interface: Option<String>,

    /// The flag of every changing command.
    #[command(flatten)]
    pub dry_run: DryRun,
}

/// `pgbaton vip status`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct VipStatus {
    /// The virtual IP with the prefix length of its network (can be repeated)
    #[arg(value_name = "ADDRESS/PREFIX")]
    pub addresses: Vec<InterfaceAddress>,

    /// Look at this interface
    #[arg(
        short,
        long,
        env = "PGBATON_INTERFACE", hide_env_values = true,
        value_name = "IF",
        value_parser = crate::settings::interface_name
    )]
    pub interface: Option<String>,
}
