//! Symbolic links as commands: a link named `vip-up` or `pgbaton-vip-up` is `pgbaton vip up`.
//!
//! keepalived and sudoers like one absolute path per action. Pure: only `argv[0]` is looked at.

use super::Cli;
use clap::CommandFactory as _;
use std::ffi::OsString;
use std::path::Path;

/// Replaces the name of a link in `argv[0]` by the words of its command; any other name stays.
///
/// A name without the prefix must have two words: a link that is called `demo` means something else.
pub fn expand(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let words = arguments.first().and_then(|name| {
        let name = Path::new(name).file_name()?.to_str()?;
        (name != "pgbaton").then(|| verb_of(name)).flatten()
    });
    if let Some(words) = words {
        arguments.splice(..1, std::iter::once("pgbaton".to_owned()).chain(words).map(OsString::from));
    }
    arguments
}

fn verb_of(name: &str) -> Option<Vec<String>> {
    let (bare, prefixed) = match name.strip_prefix("pgbaton-") {
        Some(rest) => (rest, true),
        None => (name, false),
    };
    verbs(&Cli::command(), &[])
        .into_iter()
        .find(|words| words.join("-") == bare && (prefixed || words.len() > 1))
}

/// Returns the words of every command that does something.
fn verbs(command: &clap::Command, above: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for subcommand in command.get_subcommands() {
        let mut words = above.to_vec();
        words.push(subcommand.get_name().to_owned());
        if subcommand.has_subcommands() {
            found.extend(verbs(subcommand, &words));
        } else {
            found.push(words);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(line: &str) -> String {
        let arguments = expand(line.split(' ').map(OsString::from).collect());
        arguments.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_link_named_like_a_verb_is_that_verb() {
        for (line, meaning) in [
            ("pg-promote -n", "pgbaton pg promote -n"),
            ("/usr/local/bin/vip-up 192.0.2.1/24", "pgbaton vip up 192.0.2.1/24"),
            ("cluster-status", "pgbaton cluster status"),
            ("pgbaton-pg-promote", "pgbaton pg promote"),
            ("vrrp-check-config", "pgbaton vrrp check-config"),
            ("./pgbaton-demo --clean", "pgbaton demo --clean"),
        ] {
            assert_eq!(expanded(line), meaning);
        }
    }

    #[test]
    fn any_other_name_is_the_program_itself() {
        for line in ["pgbaton vip up", "/usr/bin/pgbaton demo", "demo", "pgb vip up", "vip", "pgbaton-", ""] {
            assert_eq!(expanded(line), line);
        }
        assert!(expand(Vec::new()).is_empty());
    }
}
