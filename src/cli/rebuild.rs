//! `pgbaton pg rebuild-standby`

use super::DryRun;
use crate::settings::parse;
use clap::{ArgAction, Args, ValueEnum, ValueHint};
use std::path::PathBuf;
use std::time::Duration;

/// `pgbaton pg rebuild-standby`
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct RebuildStandby {
    /// Follow this node instead of the one that answers as primary with the newest term
    #[arg(long, value_name = "NODE", value_parser = crate::settings::node_name)]
    pub from: Option<String>,

    /// How to bring the data in line
    #[arg(
        long,
        env = "PGBATON_METHOD",
        hide_env_values = true,
        value_name = "METHOD",
        value_enum,
        default_value_t
    )]
    pub method: RebuildMethod,

    /// The data directory of this node
    #[arg(
        short = 'D',
        long,
        env = "PGBATON_DATA_DIRECTORY", hide_env_values = true,
        value_name = "DIR",
        value_hint = ValueHint::DirPath
    )]
    pub data_directory: Option<PathBuf>,

    /// The directory of `pg_rewind`, `pg_basebackup` and `pg_ctl`
    #[arg(long, env = "PGBATON_BIN_DIRECTORY", hide_env_values = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub bin_directory: Option<PathBuf>,

    /// The address of the primary, or the directory of its Unix socket, instead of the configured node's
    #[arg(long, env = "PGBATON_SOURCE_HOST", hide_env_values = true, value_name = "HOST")]
    pub source_host: Option<String>,

    /// The port of the primary
    #[arg(long, env = "PGBATON_SOURCE_PORT", hide_env_values = true, value_name = "PORT", requires = "source_host", value_parser = clap::value_parser!(u16).range(1..))]
    pub source_port: Option<u16>,

    /// The role to connect as
    #[arg(short = 'U', long, env = "PGBATON_USER", hide_env_values = true, value_name = "ROLE")]
    pub user: Option<String>,

    /// The database to connect to
    #[arg(short = 'd', long, env = "PGBATON_DBNAME", hide_env_values = true, value_name = "DB")]
    pub dbname: Option<String>,

    /// The port of this node's server, for a folder that has no configuration yet
    #[arg(short, long, env = "PGBATON_PORT", hide_env_values = true, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,

    /// The directory of this node's Unix socket, for a folder that has no configuration yet
    #[arg(long, env = "PGBATON_SOCKET_DIRECTORY", hide_env_values = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub socket_directory: Option<PathBuf>,

    /// The addresses this node's server listens on, for a folder that has no configuration yet [default: those of the primary,
    /// with this node's address in the place of the primary's]
    #[arg(long, env = "PGBATON_LISTEN_ADDRESSES", hide_env_values = true, value_name = "LIST")]
    pub listen_addresses: Option<String>,

    /// The replication slot on the primary [default: the node's name]
    #[arg(long, env = "PGBATON_SLOT", hide_env_values = true, value_name = "NAME", value_parser = slot_name)]
    pub slot: Option<String>,

    /// Copy at most so much in a second, as `pg_basebackup` reads it: 32M
    #[arg(long, env = "PGBATON_RATE", hide_env_values = true, value_name = "RATE", value_parser = rate)]
    pub rate: Option<String>,

    /// Compress a base backup on its way (`PostgreSQL` 15 and newer)
    #[arg(long, env = "PGBATON_COMPRESS", hide_env_values = true, value_name = "METHOD", value_enum)]
    pub compress: Option<Compression>,

    /// Start the server by this shell command instead of the service manager or `pg_ctl`
    #[arg(long, env = "PGBATON_START_COMMAND", hide_env_values = true, value_name = "COMMAND")]
    pub start_command: Option<String>,

    /// Do it although this check refuses (can be repeated)
    #[arg(long, value_name = "CHECK", value_enum)]
    pub force: Vec<RebuildForce>,

    /// Only start the server, as a standby and with its data as it is: no node answers as a primary
    #[arg(long, action = ArgAction::SetTrue, conflicts_with_all = ["from", "source_host", "method", "drop_old", "list_kept", "drop_kept"])]
    pub start_only: bool,

    /// Remove the old data once the standby streams; the list of what was lost stays
    #[arg(long, action = ArgAction::SetTrue)]
    pub drop_old: bool,

    /// Show what rebuilds have kept beside the data directory
    #[arg(long, action = ArgAction::SetTrue, conflicts_with = "drop_kept")]
    pub list_kept: bool,

    /// Remove what rebuilds have kept beside the data directory
    #[arg(long, action = ArgAction::SetTrue)]
    pub drop_kept: bool,

    /// Tell each step and its progress on standard error as lines of JSON
    #[arg(long, action = ArgAction::SetTrue)]
    pub events: bool,

    /// Give up after this time; running it again continues [default: 24h]
    #[arg(long, env = "PGBATON_TIMEOUT", hide_env_values = true, value_name = "DURATION", value_parser = parse::duration)]
    pub timeout: Option<Duration>,

    /// The flag of every changing command.
    #[command(flatten)]
    pub dry_run: DryRun,
}

impl RebuildStandby {
    /// The timeout when no flag says one: a base backup of terabytes takes hours.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
}

/// How the data is brought in line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum RebuildMethod {
    /// Whatever is needed
    #[default]
    Auto,
    /// A start or `pg_rewind`, never a base backup
    Rewind,
    /// A base backup, unless it streams already
    Basebackup,
}

/// How a base backup is compressed by the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Compression {
    /// Widely available, slow
    Gzip,
    /// Fast
    Lz4,
    /// Small
    Zstd,
}

impl Compression {
    /// Returns the name as `pg_basebackup` knows it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// A check that an operator can lift by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RebuildForce {
    /// The data here must not be newer than the primary's
    NewerData,
    /// The primary's term must be confirmed, and this node may not have promised a newer one
    Promise,
}

fn slot_name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if (1..=63).contains(&text.len()) && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err("the name of a slot is 1 to 63 of the characters a-z, 0-9 and _".to_owned())
}

fn rate(text: &str) -> Result<String, String> {
    let digits = text.strip_suffix(['k', 'M']).unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|octet| octet.is_ascii_digit()) {
        return Ok(text.to_owned());
    }
    Err("a rate is a number of kilobytes per second, or one with k or M".to_owned())
}
