//! `pgbaton pg …`

use super::{DryRun, RebuildStandby, examples};
use crate::settings::parse;
use clap::{ArgAction, Args, Subcommand, ValueEnum, ValueHint};
use std::path::PathBuf;
use std::time::Duration;

/// What can be done with the local `PostgreSQL`.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum PgCommand {
    /// Promote the local standby, after every guard has agreed
    ///
    /// Looks first, and refuses with exit status 3 before anything is changed: the server must be a standby
    /// of this cluster, replay not paused, the lag within its limit, no other node a living primary, the
    /// virtual IP not answering elsewhere, and the old primary proved to be gone. Then promotes, waits until
    /// the server is writable on a timeline of its own, and records the promotion. Running it on a primary
    /// changes nothing.
    ///
    /// Works without a configuration; then no other node and no virtual IP is asked, and whoever runs it answers for
    /// them: that the old primary is dead, and that no other standby has more.
    ///
    /// With replication.mode = "sync" the other nodes vote, and --dry-run says whether their votes would be enough. Where
    /// they aren't because the nodes are gone for good, --force votes goes on without them: commits that were acknowledged
    /// and that only they hold are lost, the guards that the votes stood in for count again (lag, proof-of-death,
    /// most-complete), and commits wait for nobody until a standby streams and the daemon counts on it.
    ///
    /// The server is found by libpq's conventions; but where a configuration
    /// names it, PGHOST, PGPORT, PGUSER, PGDATABASE and PGSERVICE aren't read: they often name the virtual IP,
    /// and this must not promote a server by accident. PGDATA is never read.
    #[command(after_long_help = examples::PG_PROMOTE)]
    Promote(Promote),
    /// Make this node a streaming standby of the current primary: an old primary, a broken standby, an empty folder
    ///
    /// Looks at the data directory and at the primary, and does what is needed: nothing, a start, a rewind, or a
    /// base backup. Prints what it decided and why. Refuses with exit status 3 before anything is changed when the
    /// server here is a running primary, when the data here is newer than the primary's or of another cluster,
    /// or when there is no room.
    ///
    /// What is dropped is kept first, in a folder beside the data directory: the list of the transactions that only
    /// this node has, their write-ahead log, the configuration, and the old data when a base backup replaces it.
    /// It can be killed at any moment; running it again finishes the work. It ends well only when the
    /// standby streams, on the primary's timeline, from behind.
    ///
    /// Incremental base backups (`PostgreSQL` 17) aren't used: they are put on top of an unchanged copy of an earlier
    /// backup, and a data directory that a server has worked in isn't one. What a second copy of the database, kept for
    /// that, would save on the way is what `pg_rewind` saves without it.
    #[command(after_long_help = examples::PG_REBUILD_STANDBY)]
    RebuildStandby(RebuildStandby),
    /// Stop PostgreSQL for sure and keep it from starting writable
    ///
    /// Removes the virtual IPs from this machine, puts standby.signal and the mark `pgbaton.needs_check` into
    /// the data directory, and stops PostgreSQL: fast, then immediate, then by SIGKILL, until no process of
    /// it is left. With --json the document is the proof: `stopped`, `processes_left` and `how`. Running it
    /// twice is safe: the second run says "unchanged". Remove the mark yourself once you know that the data
    /// is good.
    ///
    /// With --node NAME and the name of another machine's node, that machine is asked over SSH to fence
    /// itself. Only a document that says so, for this node and this cluster, counts: anything else means
    /// that the node isn't known to be fenced (exit status 69 or 75).
    #[command(after_long_help = examples::PG_FENCE)]
    Fence(Fence),
    /// Copy timeline history files from another server
    ///
    /// Asks for the files over the replication protocol, by SQL or over SSH, checks them (names, parents,
    /// positions, the system identifier) and writes those that are missing into `pg_wal` of this server or
    /// into an archive folder. A file that is there with another content is never replaced: it means that
    /// the same timeline was made twice, and the command refuses with exit status 3.
    #[command(after_long_help = examples::PG_FETCH_HISTORY)]
    FetchHistory(FetchHistory),
}

/// `pgbaton pg fence`
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct Fence {
    /// The data directory of the server
    #[arg(
        short = 'D',
        long,
        env = "PGBATON_DATA_DIRECTORY", hide_env_values = true,
        value_name = "DIR",
        value_hint = ValueHint::DirPath
    )]
    pub data_directory: Option<PathBuf>,

    /// Wait this long for a fast stop [default: that of the configuration, else 5s]
    #[arg(long, env = "PGBATON_FAST_TIMEOUT", hide_env_values = true, value_name = "DURATION", value_parser = parse::duration)]
    pub fast_timeout: Option<Duration>,

    /// Wait this long for an immediate stop after that [default: that of the configuration, else 5s]
    #[arg(long, env = "PGBATON_IMMEDIATE_TIMEOUT", hide_env_values = true, value_name = "DURATION", value_parser = parse::duration)]
    pub immediate_timeout: Option<Duration>,

    /// Write this into the mark as the reason
    #[arg(long, value_name = "TEXT", default_value = "fenced by hand")]
    pub reason: String,

    /// Refuse unless the server is of the cluster with this system identifier
    ///
    /// When another node is fenced, the default is the system identifier of the local data directory.
    #[arg(long, value_name = "ID")]
    pub system_id: Option<u64>,

    /// The flag of every changing command.
    #[command(flatten)]
    pub dry_run: DryRun,
}

/// `pgbaton pg fetch-history`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct FetchHistory {
    /// Ask this node or host (default: every other node, until one answers)
    #[arg(long, value_name = "NODE|HOST")]
    pub from: Option<String>,

    /// Fetch the history of this timeline, or of all that the server went through
    #[arg(long, value_name = "N|all", value_parser = timelines, default_value = "all")]
    pub timeline: Timelines,

    /// Write the files into this folder, too
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub to_archive: Option<PathBuf>,

    /// Don't write into `pg_wal` of the local data directory
    #[arg(long, requires = "to_archive")]
    pub no_pg_wal: bool,

    /// Ask in these ways, in this order
    #[arg(
        long,
        value_name = "LIST",
        value_enum,
        value_delimiter = ',',
        default_value = "replication,sql,ssh"
    )]
    pub transport: Vec<Transport>,

    /// The data directory of the local server
    #[arg(
        short = 'D',
        long,
        env = "PGBATON_DATA_DIRECTORY", hide_env_values = true,
        value_name = "DIR",
        value_hint = ValueHint::DirPath
    )]
    pub data_directory: Option<PathBuf>,

    /// The data directory of the other server, for SSH
    #[arg(long, value_name = "DIR")]
    pub remote_data_directory: Option<PathBuf>,

    /// The port of the other server
    #[arg(short, long, env = "PGBATON_PORT", hide_env_values = true, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,

    /// The role to connect as
    #[arg(short = 'U', long, env = "PGBATON_USER", hide_env_values = true, value_name = "ROLE")]
    pub user: Option<String>,

    /// Give up asking one server in one way after this time
    #[arg(
        long,
        env = "PGBATON_TIMEOUT", hide_env_values = true,
        value_name = "DURATION",
        value_parser = parse::duration,
        default_value = "10s"
    )]
    pub timeout: Duration,

    /// The flag of every changing command.
    #[command(flatten)]
    pub dry_run: DryRun,
}

/// Which timelines' files are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timelines {
    /// All that the server went through.
    All,
    /// This one.
    One(std::num::NonZeroU32),
}

/// A way to get at a file of another server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum Transport {
    /// The replication protocol
    Replication,
    /// `pg_read_binary_file()` in SQL
    Sql,
    /// SFTP
    Ssh,
}

impl Transport {
    /// Returns the name as it is typed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Replication => "replication",
            Self::Sql => "sql",
            Self::Ssh => "ssh",
        }
    }
}

fn timelines(text: &str) -> Result<Timelines, String> {
    if text == "all" {
        return Ok(Timelines::All);
    }
    let number = text.parse().map_err(|_| "write a number from 1, or \"all\"".to_owned())?;
    Ok(Timelines::One(number))
}

/// `pgbaton pg promote`
// `-h` is the host, as in psql, so help is `--help` alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(disable_help_flag = true)]
pub struct Promote {
    /// The data directory of the server
    #[arg(
        short = 'D',
        long,
        env = "PGBATON_DATA_DIRECTORY", hide_env_values = true,
        value_name = "DIR",
        value_hint = ValueHint::DirPath
    )]
    pub data_directory: Option<PathBuf>,

    /// The directory of `pg_ctl` and `pg_controldata`
    #[arg(long, env = "PGBATON_BIN_DIRECTORY", hide_env_values = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub bin_directory: Option<PathBuf>,

    /// The directory of the server's Unix socket, or the host it listens on
    #[arg(short = 'h', long, env = "PGBATON_HOST", hide_env_values = true, value_name = "HOST")]
    pub host: Option<String>,

    /// The port of the server
    #[arg(short, long, env = "PGBATON_PORT", hide_env_values = true, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,

    /// The role to connect as
    #[arg(short = 'U', long, env = "PGBATON_USER", hide_env_values = true, value_name = "ROLE")]
    pub user: Option<String>,

    /// The database to connect to, or a connection string
    #[arg(short = 'd', long, env = "PGBATON_DBNAME", hide_env_values = true, value_name = "DB")]
    pub dbname: Option<String>,

    /// Refuse if more write-ahead log than this is missing here, or is here and not yet replayed
    #[arg(long, env = "PGBATON_MAX_LAG", hide_env_values = true, value_name = "SIZE", value_parser = parse::size)]
    pub max_lag: Option<u64>,

    /// Refuse if the last word of the primary is older than this
    #[arg(long, env = "PGBATON_MAX_SILENCE", hide_env_values = true, value_name = "DURATION", value_parser = parse::duration)]
    pub max_silence: Option<Duration>,

    /// Promote although this guard refuses (can be repeated)
    #[arg(long, value_name = "GATE", value_enum)]
    pub force: Vec<ForceGate>,

    /// Give up waiting for the promotion after this time [default: 30s]
    #[arg(long, env = "PGBATON_TIMEOUT", hide_env_values = true, value_name = "DURATION", value_parser = parse::duration)]
    pub timeout: Option<Duration>,

    /// The flag of every changing command.
    #[command(flatten)]
    pub dry_run: DryRun,

    /// Whether other nodes are given only `guard.ask_timeout` to answer; not for the command line.
    #[arg(skip)]
    pub hurry: bool,

    /// Print help
    #[arg(long, action = ArgAction::Help)]
    pub help: Option<bool>,
}

impl Promote {
    /// The timeout when neither a flag nor the file says one.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
}

/// A guard that an operator can lift by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum ForceGate {
    /// The nodes must have one system identifier
    SystemId,
    /// Replay must not be paused
    ReplayNotPaused,
    /// The cluster must not be paused by the operator
    Paused,
    /// The server must not have been fenced without a look at its data since
    NeedsCheck,
    /// The other nodes' votes must be enough, where commits wait for standbys
    Votes,
    /// The lag must be within --max-lag
    Lag,
    /// The primary must have been heard of within --max-silence
    LastContact,
    /// No other node may be a living primary
    PeerPrimary,
    /// No other node may know a newer epoch
    NewerEpoch,
    /// The virtual IP must not answer elsewhere
    VipFree,
    /// The old primary must be proved to be gone
    ProofOfDeath,
    /// No other node that answers may have more of the write-ahead log
    MostComplete,
}

impl ForceGate {
    /// Returns the name as it is typed, which is that of the guard.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SystemId => "system-id",
            Self::ReplayNotPaused => "replay-not-paused",
            Self::Paused => "paused",
            Self::NeedsCheck => "needs-check",
            Self::Votes => "votes",
            Self::Lag => "lag",
            Self::LastContact => "last-contact",
            Self::PeerPrimary => "peer-primary",
            Self::NewerEpoch => "newer-epoch",
            Self::VipFree => "vip-free",
            Self::ProofOfDeath => "proof-of-death",
            Self::MostComplete => "most-complete",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser as _;

    #[test]
    fn the_names_of_the_guards_are_what_is_typed() {
        for gate in ForceGate::value_variants() {
            assert_eq!(gate.to_possible_value().unwrap().get_name(), gate.name());
        }
    }

    #[test]
    fn the_connection_flags_are_those_of_psql() {
        let line =
            "pgbaton pg promote -h /tmp -p 5433 -U me -d mine -D /data --force lag --force vip-free -n";
        let Command::Pg(PgCommand::Promote(promote)) = Cli::try_parse_from(line.split(' ')).unwrap().command
        else {
            panic!()
        };
        assert_eq!(promote.host.as_deref(), Some("/tmp"));
        assert_eq!(promote.port, Some(5433));
        assert_eq!(promote.force, [ForceGate::Lag, ForceGate::VipFree]);
        assert!(promote.dry_run.dry_run);
    }
}
