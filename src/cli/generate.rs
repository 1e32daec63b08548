//! `pgbaton generate …`

use super::examples;
use clap::{Args, Subcommand, ValueEnum, ValueHint};
use std::path::PathBuf;
use std::str::FromStr;

/// What can be generated.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum GenerateCommand {
    /// Write the man pages into a folder
    #[command(after_long_help = examples::GENERATE_MAN)]
    Man(Man),
    /// Print the completions of one shell, or write those of all into a folder
    #[command(after_long_help = examples::GENERATE_COMPLETIONS)]
    Completions(Completions),
    /// Print a configuration template with every key explained
    #[command(after_long_help = examples::GENERATE_CONFIG)]
    Config,
    /// Print a keepalived.conf for a node of the configured cluster
    ///
    /// For clusters whose election stays with keepalived: its hooks call pgbaton notify, which promotes, puts the
    /// virtual IP up, or stops PostgreSQL, by the same plans as the daemon. It is written for this machine's node, or
    /// that of --node.
    #[command(after_long_help = examples::GENERATE_KEEPALIVED)]
    Keepalived(Keepalived),
    /// Print the unit of the daemon, or write all files for systemd into a folder
    ///
    /// Into a folder it writes pgbaton.service, additions to the units of PostgreSQL and keepalived (a start after
    /// boot is always a standby's; hooks outlive keepalived), a file for tmpfiles.d, and a rule for polkit that lets
    /// the daemon start PostgreSQL by its unit. They belong into /etc/systemd/system, /etc/tmpfiles.d and
    /// /etc/polkit-1/rules.d. The data directory, and from it the unit of PostgreSQL, is that of the configuration,
    /// if there is one.
    #[command(after_long_help = examples::GENERATE_SYSTEMD)]
    Systemd(Systemd),
    /// Write examples for Prometheus, Grafana, Nagios and cron into a folder
    #[command(after_long_help = examples::GENERATE_MONITORING)]
    Monitoring(Into),
    /// Write examples of commands that switch a silent node off, for guard.fence
    #[command(after_long_help = examples::GENERATE_FENCING)]
    Fencing(Into),
    /// Write an example of a role and playbooks for Ansible into a folder
    #[command(after_long_help = examples::GENERATE_ANSIBLE)]
    Ansible(Into),
}

/// `pgbaton generate monitoring`, `pgbaton generate fencing`, `pgbaton generate ansible`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Into {
    /// The folder, which must exist
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub directory: PathBuf,
}

/// `pgbaton generate systemd`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Systemd {
    /// The folder, which must exist; without one, the unit of the daemon is printed
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub directory: Option<PathBuf>,
}

/// `pgbaton generate keepalived`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Keepalived {
    /// Who moves the virtual IP
    #[arg(long, value_name = "STYLE", value_enum, default_value_t)]
    pub style: KeepalivedStyle,

    /// Call this program in the hooks
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, default_value = "/usr/bin/pgbaton")]
    pub program: PathBuf,

    /// Let the hooks log into this file instead of syslog
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub log: Option<PathBuf>,
}

/// Who moves the virtual IP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum KeepalivedStyle {
    /// The hooks, after the promotion: keepalived only elects
    #[default]
    Elector,
    /// keepalived, before the promotion
    Classic,
}

/// `pgbaton generate man`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Man {
    /// The folder, which must exist
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub directory: PathBuf,
}

/// `pgbaton generate completions`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Completions {
    /// The shell (bash, zsh or fish), or the folder, which must exist
    #[arg(value_name = "SHELL|DIR", value_hint = ValueHint::DirPath)]
    pub target: CompletionTarget,
}

/// Where completions go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompletionTarget {
    /// Those of one shell, to standard output.
    Shell(Shell),
    /// Those of all shells, into a folder.
    Directory(PathBuf),
}

impl FromStr for CompletionTarget {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match Shell::from_str(text, false) {
            Ok(shell) => Self::Shell(shell),
            Err(_) => Self::Directory(text.into()),
        })
    }
}

/// A shell whose completions can be generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// bash
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}

impl Shell {
    /// Every shell.
    pub const ALL: [Self; 3] = [Self::Bash, Self::Zsh, Self::Fish];

    /// Returns the name under which this shell looks for the file.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Bash => "pgbaton.bash",
            Self::Zsh => "_pgbaton",
            Self::Fish => "pgbaton.fish",
        }
    }
}
