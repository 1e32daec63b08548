//! The man pages: one for the program, one for each verb, one for the configuration file, one for the protocol.
//!
//! Options come from the commands as clap knows them, exit codes from the error kinds, keys from the table of
//! keys; only the words around them stand here.

use super::Document;
use super::roff::{Page, bold, escape, italic};
use crate::cli::Cli;
use crate::error::Kind;
use crate::settings::keys::{self, Default};
use clap::{Arg, ArgAction, Command, CommandFactory as _};

/// Frozen, so that a page changes only when its content does.
const DATE: &str = "2026-11-22";
const GLOBAL: &str = "Global options";

/// Returns every man page.
pub fn pages() -> Vec<Document> {
    let mut root = Cli::command();
    root.build();
    let mut verbs = Vec::new();
    collect(&root, &mut Vec::new(), &mut verbs);
    let names: Vec<String> = verbs.iter().map(Verb::page).collect();
    let mut pages = vec![("pgbaton.8".to_owned(), program(&root, &verbs))];
    for verb in &verbs {
        pages.push((format!("{}.8", verb.page()), verb_page(verb, &names)));
    }
    pages.push(("pgbaton.toml.5".to_owned(), configuration()));
    pages.push(("pgbaton-json.7".to_owned(), super::documents::page()));
    pages.extend(super::pages::pages());
    pages.push(("pgbaton-protocol.7".to_owned(), super::protocol::page()));
    pages
}

/// A command that does something, with the words that lead to it.
struct Verb<'a> {
    words: Vec<&'a str>,
    command: &'a Command,
}

impl Verb<'_> {
    fn page(&self) -> String {
        format!("pgbaton-{}", self.words.join("-"))
    }

    fn noun(&self) -> Option<&str> {
        self.words.first().copied()
    }
}

fn collect<'a>(command: &'a Command, words: &mut Vec<&'a str>, verbs: &mut Vec<Verb<'a>>) {
    for subcommand in command.get_subcommands() {
        words.push(subcommand.get_name());
        if subcommand.has_subcommands() {
            collect(subcommand, words, verbs);
        } else {
            verbs.push(Verb { words: words.clone(), command: subcommand });
        }
        words.pop();
    }
}

pub(super) fn start(name: &str, section: u8, about: &str) -> Page {
    let mut page = Page::new(name, section, DATE, concat!("pgbaton ", env!("CARGO_PKG_VERSION")));
    page.section("NAME");
    let mut letters = about.chars();
    // The line of a NAME section begins with a small letter, unless the word is a name.
    let about = match letters.next() {
        Some(first) if !about.starts_with("PostgreSQL") => first.to_lowercase().chain(letters).collect(),
        _ => about.to_owned(),
    };
    page.running(&format!("{} \\- {}", escape(name), escape(&about)));
    page
}

fn program(root: &Command, verbs: &[Verb<'_>]) -> String {
    let mut page = start("pgbaton", 8, &about(root));
    page.section("SYNOPSIS");
    page.raw(&format!("{} [{}] {}", bold("pgbaton"), italic("options"), italic("command")));
    page.section("DESCRIPTION");
    page.paragraphs(long_about(root).iter().map(String::as_str));
    page.raw(".PP");
    page.text(
        "A symbolic link to pgbaton that is named like a command, as in pg-promote, vip-up or \
         pgbaton-cluster-status, is that command.",
    );
    page.section("COMMANDS");
    for verb in verbs {
        page.item(&format!("\\fB{}\\fR(8)", escape(&verb.page())));
        page.text(&about(verb.command));
    }
    page.section("OPTIONS");
    options(&mut page, root.get_arguments().collect());
    exit_status(&mut page);
    super::connections::sections(&mut page);
    page.section("ENVIRONMENT");
    let mut seen: Vec<(String, Vec<String>)> = Vec::new();
    for command in std::iter::once(root).chain(verbs.iter().map(|verb| verb.command)) {
        for argument in command.get_arguments() {
            if let (Some(variable), Some(flag)) = (variable(argument), argument.get_long()) {
                match seen.iter_mut().find(|(name, _)| *name == variable) {
                    Some((_, flags)) if flags.iter().any(|other| other == flag) => {}
                    Some((_, flags)) => flags.push(flag.to_owned()),
                    None => seen.push((variable, vec![flag.to_owned()])),
                }
            }
        }
    }
    for (variable, flags) in seen {
        page.item(&bold(&variable));
        let flags: Vec<String> = flags.iter().map(|flag| format!("--{flag}")).collect();
        page.text(&format!("The value of {} where the flag isn't given.", flags.join(" or ")));
    }
    terminal_variables(&mut page);
    page.item(&format!("{}, {}, {}...", bold("PGHOST"), bold("PGPASSFILE"), bold("PGSSLMODE")));
    page.text("The variables of libpq, as far as CONNECTIONS above says.");
    files(&mut page);
    examples(&mut page, root);
    page.section("SEE ALSO");
    let mut see: Vec<String> = verbs.iter().map(Verb::page).map(|name| reference(&name, 8)).collect();
    see.push(reference("pgbaton.toml", 5));
    see.push(reference("pgbaton-json", 7));
    see.extend(["pgbaton-guide", "pgbaton-runbook"].map(|name| reference(name, 7)));
    see.push(reference("pgbaton-protocol", 7));
    page.raw(&see.join(",\n"));
    page.finish()
}

fn verb_page(verb: &Verb<'_>, names: &[String]) -> String {
    let name = verb.page();
    let mut page = start(&name, 8, &about(verb.command));
    page.section("SYNOPSIS");
    page.raw(&synopsis(verb));
    page.section("DESCRIPTION");
    page.paragraphs(long_about(verb.command).iter().map(String::as_str));
    let (global, own): (Vec<&Arg>, Vec<&Arg>) = verb
        .command
        .get_arguments()
        .filter(|argument| argument.get_id() != "help")
        .partition(|argument| argument.get_help_heading() == Some(GLOBAL));
    page.section("OPTIONS");
    if !own.is_empty() {
        options(&mut page, own.clone());
        page.subsection(GLOBAL);
    }
    options(&mut page, global.clone());
    exit_status(&mut page);
    page.section("ENVIRONMENT");
    for argument in own.iter().chain(&global) {
        if let (Some(variable), Some(flag)) = (variable(argument), argument.get_long()) {
            page.item(&bold(&variable));
            page.text(&format!("The value of --{flag} where the flag isn't given."));
        }
    }
    terminal_variables(&mut page);
    files(&mut page);
    examples(&mut page, verb.command);
    page.section("SEE ALSO");
    let mut see = vec![reference("pgbaton", 8)];
    let prefix = format!("pgbaton-{}-", verb.noun().unwrap_or_default());
    let siblings = names.iter().filter(|other| **other != name && other.starts_with(&prefix));
    see.extend(siblings.map(|other| reference(other, 8)));
    see.push(reference("pgbaton.toml", 5));
    see.push(reference("pgbaton-json", 7));
    page.raw(&see.join(",\n"));
    page.finish()
}

fn configuration() -> String {
    let mut page = start("pgbaton.toml", 5, "the configuration of pgbaton");
    page.section("SYNOPSIS");
    page.raw(&escape(crate::settings::DEFAULT_FILE));
    page.section("DESCRIPTION");
    page.paragraphs(
        [
            "The file is written in TOML and is the same on every node of the cluster. An unknown key is an \
             error with its line, as is a value of the wrong form. Flags come before environment variables, \
             those before this file, and the file before the defaults.",
            "It must belong to root or to the user who runs pgbaton, and must not be writable by everyone: \
             whoever can write it can name the programs that are run.",
        ]
        .into_iter(),
    );
    page.subsection("Values");
    page.item("duration");
    page.text("A number and its unit (ms, s, m or h) in quotes: \"100ms\", \"1.5s\".");
    page.item("size");
    page.text("A whole number and its unit (B, kB, MB, GB or TB, powers of 1024) in quotes: \"16MB\".");
    page.section("TABLES");
    for section in keys::SECTIONS {
        page.subsection(&section.heading());
        page.text(section.doc);
        for key in section.keys {
            page.item(&format!("{} ({})", bold(key.name), escape(&key.form.describe())));
            page.text(key.doc);
            page.raw(".br");
            page.text(&match key.default {
                Default::Required => "Required.".to_owned(),
                Default::Value(value) => format!("Default: {value}."),
                Default::Found(words) => format!("When absent: {words}."),
            });
        }
    }
    page.section("NOTIFICATIONS");
    page.paragraphs(
        [
            "A program of notify gets what keepalived gives to one: INSTANCE or GROUP, the name, the state and \
             the priority, as in: notify.sh INSTANCE web MASTER 150. The states are MASTER (Active), BACKUP, \
             FAULT (out of the election, or no longer configured) and STOP (the daemon ends). For [vrrp] the \
             name is that of the cluster.",
            "The programs of one virtual router run one after the other, that of the state before that of \
             notify. While one runs, only the newest state is kept: what became outdated meanwhile is not run, \
             and the log says so. The exit status is written to the log. A program has umask 077, / as its \
             working directory, no capability and no descriptor of the daemon. When a router stays Active \
             after another one claimed to be, its programs are run for MASTER once more.",
            "The FIFO of [daemon] gets a line for every change, in order, with the name in quotes: INSTANCE \
             \"web\" MASTER 150. MASTER_RX_LOWER_PRI says that another router claims to be Active too.",
        ]
        .into_iter(),
    );
    page.section("FILES");
    page.item(&escape(crate::settings::DEFAULT_FILE));
    page.text("The configuration, unless --config or PGBATON_CONFIG names another.");
    page.section("EXAMPLES");
    page.text("Two machines with PostgreSQL 15 and one virtual IP:");
    page.example(&SMALL.lines().collect::<Vec<_>>());
    page.raw(".PP");
    page.text("A template with every key is printed by pgbaton generate config.");
    page.section("SEE ALSO");
    let see = [("pgbaton", 8), ("pgbaton-vrrp-check-config", 8), ("pgbaton-generate-config", 8)];
    page.raw(&see.map(|(name, section)| reference(name, section)).join(",\n"));
    page.finish()
}

/// The example of pgbaton.toml(5).
pub(super) const SMALL: &str = r#"[cluster]
name = "main"

[[node]]
name = "node1"
address = "192.0.2.21"
priority = 200

[[node]]
name = "node2"
address = "192.0.2.22"
priority = 100

[[vip]]
address = "192.0.2.23/24"

[postgres]
data_directory = "/var/lib/postgresql/15/main""#;

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

/// Returns the paragraphs of a description; the first one only repeats the NAME if others follow.
fn long_about(command: &Command) -> Vec<String> {
    let long = command.get_long_about().or_else(|| command.get_about()).map(ToString::to_string);
    let long = long.unwrap_or_default();
    let mut paragraphs: Vec<String> = long.split("\n\n").map(str::to_owned).collect();
    if paragraphs.len() > 1 {
        paragraphs.remove(0);
    } else if let Some(only) = paragraphs.first_mut() {
        only.push('.');
    }
    paragraphs
}

pub(super) fn reference(name: &str, section: u8) -> String {
    format!("{}({section})", bold(name))
}

fn synopsis(verb: &Verb<'_>) -> String {
    let mut parts = vec![bold(&format!("pgbaton {}", verb.words.join(" ")))];
    for argument in verb.command.get_arguments() {
        if argument.is_positional()
            || argument.get_help_heading() == Some(GLOBAL)
            || argument.get_id() == "help"
        {
            continue;
        }
        let flag = match (argument.get_short(), argument.get_long()) {
            (Some(short), None) => bold(&format!("-{short}")),
            (_, Some(long)) => bold(&format!("--{long}")),
            (None, None) => continue,
        };
        let more = if matches!(argument.get_action(), ArgAction::Append) { " ..." } else { "" };
        parts.push(format!("[{flag}{}]{more}", value(argument)));
    }
    parts.push(format!("[{}]", italic("global options")));
    for argument in verb.command.get_positionals() {
        let name = italic(&value_name(argument));
        parts.push(if argument.is_required_set() {
            name
        } else if matches!(argument.get_action(), ArgAction::Append) {
            format!("[{name} ...]")
        } else {
            format!("[{name}]")
        });
    }
    parts.join("\n")
}

fn value_name(argument: &Arg) -> String {
    argument.get_value_names().map(|names| names.join(" ")).unwrap_or_default()
}

fn takes_value(argument: &Arg) -> bool {
    matches!(argument.get_action(), ArgAction::Set | ArgAction::Append)
}

fn value(argument: &Arg) -> String {
    if !takes_value(argument) {
        return String::new();
    }
    let optional = argument.get_num_args().is_some_and(|range| range.min_values() == 0);
    let name = italic(&value_name(argument));
    if optional { format!(" [{name}]") } else { format!(" {name}") }
}

fn variable(argument: &Arg) -> Option<String> {
    argument.get_env().map(|name| name.to_string_lossy().into_owned())
}

fn options(page: &mut Page, arguments: Vec<&Arg>) {
    for argument in arguments {
        let tag = match (argument.get_short(), argument.get_long()) {
            _ if argument.is_positional() => italic(&value_name(argument)),
            (Some(short), Some(long)) => {
                format!("{}, {}{}", bold(&format!("-{short}")), bold(&format!("--{long}")), value(argument))
            }
            (Some(short), None) => format!("{}{}", bold(&format!("-{short}")), value(argument)),
            (None, Some(long)) => format!("{}{}", bold(&format!("--{long}")), value(argument)),
            (None, None) => continue,
        };
        page.item(&tag);
        let help = argument.get_long_help().or_else(|| argument.get_help()).map(ToString::to_string);
        page.text(&format!("{}.", help.unwrap_or_default()));
        let defaults = argument.get_default_values();
        if takes_value(argument) && !defaults.is_empty() && !argument.is_hide_default_value_set() {
            let defaults: Vec<String> =
                defaults.iter().map(|value| value.to_string_lossy().into_owned()).collect();
            page.text(&format!("Default: {}.", defaults.join(", ")));
        }
        let possible = argument.get_possible_values();
        if takes_value(argument) && !possible.is_empty() {
            page.raw(".RS");
            for value in possible {
                page.item(&bold(value.get_name()));
                page.text(&format!("{}.", value.get_help().map(ToString::to_string).unwrap_or_default()));
            }
            page.raw(".RE");
        }
    }
}

fn exit_status(page: &mut Page) {
    page.section("EXIT STATUS");
    page.text("The exit status is the same for every command:");
    page.item(&bold("0"));
    page.text("Done, or already so.");
    for kind in Kind::ALL {
        page.item(&bold(&kind.exit_code().to_string()));
        let explain = kind.explain();
        let mut letters = explain.chars();
        let first = letters.next().map(|first| first.to_uppercase().collect::<String>()).unwrap_or_default();
        page.text(&format!("{first}{} (\"{}\" in JSON documents).", letters.as_str(), kind.name()));
    }
}

fn terminal_variables(page: &mut Page) {
    page.item(&format!("{}, {}, {}", bold("NO_COLOR"), bold("CLICOLOR_FORCE"), bold("TERM")));
    page.text("Whether colours are used when --color is \"auto\".");
}

fn files(page: &mut Page) {
    page.section("FILES");
    page.item(&escape(crate::settings::DEFAULT_FILE));
    page.text("The configuration; see pgbaton.toml(5).");
    page.item("/run/pgbaton/\\fINODE\\fR.sock");
    page.text("The control socket of the daemon.");
    page.item("/run/pgbaton/\\fINODE\\fR.lock");
    page.text("The lock of the daemon.");
    page.item("/var/lib/pgbaton/\\fINODE\\fR.events.jsonl");
    page.text("The flight record of the daemon.");
}

/// Sets the examples of the help: two spaces and a sentence, four spaces and a command.
fn examples(page: &mut Page, command: &Command) {
    let text = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    page.section("EXAMPLES");
    let mut first = true;
    for line in text.lines().skip(1) {
        if let Some(command) = line.strip_prefix("    ") {
            page.example(&[command]);
        } else {
            if !first {
                page.raw(".PP");
            }
            first = false;
            page.text(&format!("{}:", line.trim()));
        }
    }
}
