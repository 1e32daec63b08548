//! `pgbaton demo`

use crate::settings::parse;
use clap::{Args, ValueEnum, ValueHint};
use std::path::PathBuf;
use std::time::Duration;

/// Run a whole cluster on this machine and let it fail over
///
/// Makes two hosts out of network namespaces, a real PostgreSQL and a real daemon on each, and a client that
/// writes through the virtual IP. Then breaks the primary and shows what happened when, how long the client
/// couldn't write, and whether anything that was acknowledged is lost. Needs root and the programs of
/// PostgreSQL; touches nothing outside its own namespaces and a temporary folder.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Demo {
    /// Add a third host: a spare that is the second synchronous standby
    #[arg(long)]
    pub spare: bool,

    /// What happens to the primary
    #[arg(
        long,
        env = "PGBATON_FAULT",
        hide_env_values = true,
        value_name = "FAULT",
        value_enum,
        default_value_t
    )]
    pub fault: Fault,

    /// The time between two VRRP advertisements
    #[arg(
        long,
        env = "PGBATON_ADVERT", hide_env_values = true,
        value_name = "DURATION",
        value_parser = parse::advert_interval,
        default_value = "100ms"
    )]
    pub advert: Duration,

    /// The directory of `initdb` and `pg_ctl`
    #[arg(long, env = "PGBATON_BIN_DIRECTORY", hide_env_values = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub bin_directory: Option<PathBuf>,

    /// Leave the cluster running and say how to reach it
    #[arg(long)]
    pub keep: bool,

    /// Write a picture of the failover to this file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub svg: Option<PathBuf>,

    /// Remove what an earlier demo has left, and do nothing else
    #[arg(long, conflicts_with_all = ["spare", "keep", "svg"])]
    pub clean: bool,
}

/// What happens to the primary of the demo.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, ValueEnum)]
pub enum Fault {
    /// The host is gone from one moment to the next
    #[default]
    Power,
    /// PostgreSQL is killed, the daemon lives
    Postgres,
    /// Every process of the host stands still, and goes on later
    Freeze,
    /// The network of the host is cut, its processes go on
    Partition,
    /// Nothing breaks: the operator hands over
    Switchover,
}

impl Fault {
    /// Returns the name as it is typed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Power => "power",
            Self::Postgres => "postgres",
            Self::Freeze => "freeze",
            Self::Partition => "partition",
            Self::Switchover => "switchover",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_the_faults_are_what_is_typed() {
        for fault in Fault::value_variants() {
            assert_eq!(fault.to_possible_value().unwrap().get_name(), fault.name());
        }
    }
}
