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
