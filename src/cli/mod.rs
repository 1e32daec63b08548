//! What may be typed: the commands, their flags and their help, as clap reads them.
//!
//! No I/O and no decisions: a doc comment here is the help text, the man page and the completion at once.
//! Values leave as typed flags; what they mean together with the file is decided by `settings`.

mod cluster;
mod demo;
mod examples;
mod generate;
mod multicall;
mod notify;
mod pg;
mod rebuild;
mod vip;
mod vrrp;

pub use cluster::{
    ClusterCheck, ClusterCommand, ClusterEvents, ClusterInit, ClusterPause, ClusterResume, ClusterStatus,
    ClusterSwitchover, ClusterTimeline, RecordSource, StatusFormat,
};
pub use demo::{Demo, Fault};
pub use generate::{
    CompletionTarget, Completions, GenerateCommand, Into, Keepalived, KeepalivedStyle, Man, Shell, Systemd,
};
pub use multicall::expand;
pub use notify::{Notify, State, Told};
pub use pg::{Fence, FetchHistory, ForceGate, PgCommand, Promote, Timelines, Transport};
pub use rebuild::{Compression, RebuildForce, RebuildMethod, RebuildStandby};
pub use vip::{VipCommand, VipDown, VipStatus, VipUp};
pub use vrrp::{
    CheckConfig, LogFormat, LogLevel, Resign, Run, StatsFormat, VrrpCommand, VrrpProbe, VrrpStats, VrrpStatus,
};

use crate::settings::Overrides;
use clap::builder::styling::{AnsiColor, Styles};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint};
use std::path::PathBuf;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// The heading of the flags that every command has.
const GLOBAL: &str = "Global options";

/// PostgreSQL failover for two or three machines: VRRP, a virtual IP and a guarded promotion
///
/// pgbaton makes two or three PostgreSQL machines on one network highly available. Each command works
/// alone; "pgbaton vrrp run" chains the same steps by itself: it elects by VRRP, proves that the old primary
/// is gone, promotes the standby, and only then puts up the virtual IP.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(
    name = "pgbaton",
    version,
    styles = STYLES,
    max_term_width = 100,
    propagate_version = false,
    disable_help_subcommand = true,
    after_long_help = examples::PGBATON
)]
pub struct Cli {
    /// The flags that every command has.
    #[command(flatten)]
    pub globals: Globals,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The flags that every command has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct Globals {
    /// Read this configuration instead of /etc/pgbaton/pgbaton.toml
    #[arg(
        long,
        global = true,
        env = "PGBATON_CONFIG", hide_env_values = true,
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
        help_heading = GLOBAL
    )]
    pub config: Option<PathBuf>,

    /// Be this node, instead of finding out by the machine's addresses
    #[arg(
        long,
        global = true,
        env = "PGBATON_NODE", hide_env_values = true,
        value_name = "NAME",
        value_parser = crate::settings::node_name,
        help_heading = GLOBAL
    )]
    pub node: Option<String>,

    /// Print exactly one JSON document on standard output
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub json: bool,

    /// Print nothing but results and errors
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = GLOBAL)]
    pub quiet: bool,

    /// Say more about what is done
    #[arg(short, long, global = true, help_heading = GLOBAL)]
    pub verbose: bool,

    /// When to use colours
    #[arg(
        long,
        global = true,
        env = "PGBATON_COLOR", hide_env_values = true,
        value_name = "WHEN",
        value_enum,
        default_value_t,
        hide_default_value = true,
        help_heading = GLOBAL
    )]
    pub color: ColorChoice,
}

impl Globals {
    /// Returns what the flags say about the configuration.
    pub fn overrides(&self) -> Overrides {
        Overrides { config: self.config.clone(), node: self.node.clone() }
    }
}

/// When to use colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The nouns.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Elect the node that holds the virtual IP: the daemon, and questions to it
    #[command(subcommand, after_long_help = examples::VRRP)]
    Vrrp(VrrpCommand),
    /// Add, remove and show the virtual IP
    #[command(subcommand, after_long_help = examples::VIP)]
    Vip(VipCommand),
    /// Act on the local PostgreSQL
    #[command(subcommand, after_long_help = examples::PG)]
    Pg(PgCommand),
    /// Prepare, check and watch the whole cluster
    #[command(subcommand, after_long_help = examples::CLUSTER)]
    Cluster(ClusterCommand),
    /// Act on what keepalived tells: promote, take the virtual IP, or stop PostgreSQL
    ///
    /// The one entry point for keepalived, as `notify`, `notify_master` and its like, or `notify_fifo_script`; "pgbaton
    /// generate keepalived" writes the configuration. keepalived then elects, and nothing else: the virtual IP goes
    /// up after the promotion, and a promotion is asked for like that of pg promote.
    ///
    /// Hooks of keepalived arrive late, overlap and are killed with it. So what is told is only the occasion to
    /// look: under a lock, at whether keepalived is MASTER now (--marker), at the local server, the other nodes
    /// and the link. MASTER: the standby is promoted if every guard agrees, and asked again while they don't. FAULT
    /// and STOP: the virtual IP goes down and a primary is stopped for sure, as by pg fence. BACKUP: an outdated primary
    /// is stopped; a current one goes on.
    ///
    /// The hook ends as soon as a process of its own has begun the work, in a session of its own, as the owner of
    /// the data directory. While this node is MASTER or serves, that process stays to renew the lease of the virtual
    /// IP and to look again. It logs to syslog. Refused beside a running "vrrp run".
    Notify(Notify),
    /// Run a whole cluster on this machine and let it fail over
    #[command(after_long_help = examples::DEMO)]
    Demo(Demo),
    /// Write man pages, completions, a configuration template, and files for systemd, keepalived, monitoring, Ansible
    #[command(subcommand, after_long_help = examples::GENERATE)]
    Generate(GenerateCommand),
}

impl Command {
    /// Returns the words of the command as they are typed: `vip up`.
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Vrrp(VrrpCommand::Run(_)) => "vrrp run",
            Self::Vrrp(VrrpCommand::Status(_)) => "vrrp status",
            Self::Vrrp(VrrpCommand::Stats(_)) => "vrrp stats",
            Self::Vrrp(VrrpCommand::Probe(_)) => "vrrp probe",
            Self::Vrrp(VrrpCommand::Resign(_)) => "vrrp resign",
            Self::Vrrp(VrrpCommand::CheckConfig(_)) => "vrrp check-config",
            Self::Vip(VipCommand::Up(_)) => "vip up",
            Self::Vip(VipCommand::Down(_)) => "vip down",
            Self::Vip(VipCommand::Status(_)) => "vip status",
            Self::Pg(PgCommand::Promote(_)) => "pg promote",
            Self::Pg(PgCommand::RebuildStandby(_)) => "pg rebuild-standby",
            Self::Pg(PgCommand::Fence(_)) => "pg fence",
            Self::Pg(PgCommand::FetchHistory(_)) => "pg fetch-history",
            Self::Cluster(ClusterCommand::Status(_)) => "cluster status",
            Self::Cluster(ClusterCommand::Init(_)) => "cluster init",
            Self::Cluster(ClusterCommand::Check(_)) => "cluster check",
            Self::Cluster(ClusterCommand::Events(_)) => "cluster events",
            Self::Cluster(ClusterCommand::Timeline(_)) => "cluster timeline",
            Self::Notify(_) => "notify",
            Self::Cluster(ClusterCommand::Switchover(_)) => "cluster switchover",
            Self::Cluster(ClusterCommand::Pause(_)) => "cluster pause",
            Self::Cluster(ClusterCommand::Resume(_)) => "cluster resume",
            Self::Demo(_) => "demo",
            Self::Generate(GenerateCommand::Man(_)) => "generate man",
            Self::Generate(GenerateCommand::Completions(_)) => "generate completions",
            Self::Generate(GenerateCommand::Config) => "generate config",
            Self::Generate(GenerateCommand::Keepalived(_)) => "generate keepalived",
            Self::Generate(GenerateCommand::Systemd(_)) => "generate systemd",
            Self::Generate(GenerateCommand::Monitoring(_)) => "generate monitoring",
            Self::Generate(GenerateCommand::Fencing(_)) => "generate fencing",
            Self::Generate(GenerateCommand::Ansible(_)) => "generate ansible",
        }
    }
}

/// The flag of every command that changes something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Args)]
pub struct DryRun {
    /// Print the plan and change nothing
    #[arg(short = 'n', long, action = ArgAction::SetTrue)]
    pub dry_run: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn clap_finds_no_contradiction_in_the_commands() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_has_a_help_line_in_the_imperative_without_a_full_stop() {
        fn walk(command: &clap::Command) {
            for argument in command.get_arguments() {
                let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
                let name = format!("{} {}", command.get_name(), argument.get_id());
                assert!(!help.is_empty(), "{name}");
                assert!(!help.ends_with('.'), "{name}: {help}");
                assert!(help.starts_with(char::is_uppercase), "{name}: {help}");
            }
            for subcommand in command.get_subcommands() {
                assert!(subcommand.get_about().is_some(), "{}", subcommand.get_name());
                walk(subcommand);
            }
        }
        walk(&Cli::command());
    }

    #[test]
    fn every_environment_variable_has_the_prefix_of_the_program() {
        fn walk(command: &clap::Command) {
            for argument in command.get_arguments() {
                if let Some(name) = argument.get_env() {
                    assert!(name.to_string_lossy().starts_with("PGBATON_"), "{}", name.display());
                }
            }
            command.get_subcommands().for_each(walk);
        }
        walk(&Cli::command());
    }

    #[test]
    fn the_verb_is_what_was_typed() {
        for line in [
            "vrrp run",
            "vrrp status",
            "vrrp stats",
            "vrrp probe",
            "vrrp resign",
            "vrrp check-config",
            "vip up",
            "vip down",
            "vip status",
            "pg promote",
            "pg rebuild-standby",
            "pg fence",
            "pg fetch-history",
            "cluster status",
            "cluster init",
            "cluster check",
            "cluster events",
            "cluster timeline",
            "notify master",
            "demo",
            "generate man d",
            "generate completions bash",
            "generate config",
            "generate keepalived",
            "generate systemd",
            "generate monitoring d",
            "generate fencing d",
            "generate ansible d",
        ] {
            let cli = Cli::try_parse_from(std::iter::once("pgbaton").chain(line.split(' '))).unwrap();
            assert!(line.starts_with(cli.command.verb()), "{line}");
        }
    }

    #[test]
    fn global_flags_may_stand_before_and_after_the_verb() {
        let before = Cli::try_parse_from(["pgbaton", "--node", "a", "--json", "vip", "up"]).unwrap();
        let after = Cli::try_parse_from(["pgbaton", "vip", "up", "--node", "a", "--json"]).unwrap();
        assert_eq!(before, after);
        assert_eq!(after.globals.overrides().node.as_deref(), Some("a"));
    }
}
