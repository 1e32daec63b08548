//! `pgbaton notify …`, and the words in which keepalived tells a state.

use super::{DryRun, examples};
use clap::{Args, ValueHint};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// `pgbaton notify`
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(after_long_help = examples::NOTIFY)]
pub struct Notify {
    /// What keepalived tells: INSTANCE NAME STATE PRIORITY as it appends them, or the state alone
    #[arg(value_name = "WORD", conflicts_with = "fifo")]
    pub words: Vec<String>,

    /// Read what keepalived tells from this pipe, which it appends to `notify_fifo_script`
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub fifo: Option<PathBuf>,

    /// Heed only what is told of this VRRP instance or group
    #[arg(long, value_name = "NAME")]
    pub instance: Option<String>,

    /// Believe that keepalived is MASTER only while this machine has this address
    ///
    /// An address that keepalived adds when it becomes MASTER (a `virtual_ipaddress` of the instance). Hooks
    /// arrive late and overtake each other; the address tells what is so now.
    #[arg(long, value_name = "ADDRESS")]
    pub marker: Option<IpAddr>,

    /// Leave the virtual IP to keepalived
    #[arg(long)]
    pub no_vip: bool,

    /// Append log lines to this file instead of sending them to syslog
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, env = "PGBATON_NOTIFY_LOG", hide_env_values = true)]
    pub log: Option<PathBuf>,

    /// Look, act once, report and end, instead of going on in the background
    #[arg(long)]
    pub once: bool,

    /// The flag of every changing command.
    #[command(flatten)]
    pub dry_run: DryRun,
}

/// A state as keepalived tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It has won the election, or says so again.
    Master,
    /// It has lost the election, or has just started.
    Backup,
    /// It can't take part: an interface is down or a tracked script fails.
    Fault,
    /// It is being stopped, or the instance was removed from its configuration.
    Stop,
}

impl State {
    /// Returns the word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Master => "MASTER",
            Self::Backup => "BACKUP",
            Self::Fault => "FAULT",
            Self::Stop => "STOP",
        }
    }

    /// Returns whether the node leaves the election altogether.
    pub const fn is_leaving(self) -> bool {
        matches!(self, Self::Fault | Self::Stop)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for State {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.to_ascii_uppercase().as_str() {
            "MASTER" | "MASTER_RX_LOWER_PRI" | "MASTER_PRIORITY" => Self::Master,
            "BACKUP" | "BACKUP_PRIORITY" => Self::Backup,
            "FAULT" => Self::Fault,
            "STOP" | "DELETED" => Self::Stop,
            _ => return Err(()),
        })
    }
}

/// What was told, and of which instance or group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The instance or group; `None` when only the state was told.
    pub name: Option<String>,
    /// The state.
    pub state: State,
}

impl Told {
    /// Reads the words of a command line: the state alone, or keepalived's four words at the end.
    pub fn from_words(words: &[String]) -> Option<Self> {
        match words {
            [state] => Some(Self { name: None, state: state.parse().ok()? }),
            [.., kind, name, state, priority] => {
                let known = matches!(kind.as_str(), "INSTANCE" | "GROUP");
                let told = known && priority.parse::<u16>().is_ok();
                told.then_some(())?;
                Some(Self { name: Some(name.clone()), state: state.parse().ok()? })
            }
            _ => None,
        }
    }

    /// Reads a line of the pipe: `INSTANCE "VI_1" MASTER 100`.
    pub fn from_line(line: &str) -> Option<Self> {
        let (kind, rest) = line.trim().split_once(' ')?;
        let (name, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_once(' ')?,
        };
        let known = matches!(kind, "INSTANCE" | "GROUP");
        let state = rest.split_whitespace().next()?;
        known.then_some(())?;
        Some(Self { name: Some(name.to_owned()), state: state.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Option<Told> {
        Told::from_words(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    fn told(name: &str, state: State) -> Told {
        Told { name: Some(name.to_owned()), state }
    }

    #[test]
    fn the_four_words_may_follow_others_and_a_state_may_stand_alone() {
        assert_eq!(words("INSTANCE VI_1 MASTER 100"), Some(told("VI_1", State::Master)));
        assert_eq!(words("x y GROUP g FAULT 0"), Some(told("g", State::Fault)));
        assert_eq!(words("INSTANCE a DELETED 0"), Some(told("a", State::Stop)));
        assert_eq!(words("backup"), Some(Told { name: None, state: State::Backup }));
        for wrong in [
            "",
            "master now",
            "INSTANCE VI_1 MASTER",
            "VI_1 INSTANCE MASTER 1",
            "INSTANCE a UP 1",
            "INSTANCE a STOP x",
        ] {
            assert_eq!(words(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_line_of_the_pipe_has_the_name_in_quotes() {
        assert_eq!(Told::from_line("INSTANCE \"VI 1\" MASTER 100\n"), Some(told("VI 1", State::Master)));
        assert_eq!(Told::from_line("INSTANCE \"a\" MASTER_RX_LOWER_PRI 1"), Some(told("a", State::Master)));
        assert_eq!(Told::from_line("GROUP \"g\" BACKUP_PRIORITY 0"), Some(told("g", State::Backup)));
        for wrong in
            ["", "INSTANCE", "INSTANCE \"a", "INSTANCE \"a\"", "VS \"a\" UP 1", "INSTANCE \"a\" \u{0} 1"]
        {
            assert_eq!(Told::from_line(wrong), None, "{wrong}");
        }
    }
}
