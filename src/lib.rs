//! pgbaton: `PostgreSQL` failover for two or three machines on one network.
//!
//! This file is the map. Each room says in its header why it exists and what may enter or leave.
//!
//! ```text
//! argv, env, file ─→ cli ─→ settings ─→ command ── observe ─→ facts ┐
//!                                         goal ─────────────────────┤
//!                                                                   ▼
//!                                             plan (pure) ─ --dry-run ─→ report ─┐
//!                                               └─→ plan::apply ─→ changes ──────┴→ output ─→ stdout
//!
//! vrrp run:  fds ready ─→ net ─→ vrrp::wire ─→ vrrp::router ─→ promotion::supervisor ─→ plan ─→ the world
//!            (daemon: one thread, epoll, timerfd)    (pure)        (pure)              (worker thread)
//! ```
//!
//! The three files to read first: `vrrp/router.rs` (where an advert becomes a decision),
//! `promotion/supervisor/judging.rs` (where a decision becomes a plan) and `plan/apply.rs` (where a plan touches
//! the world). The daemon and the shell verb meet in the same plan.
//!
//! | room | why it exists |
//! |---|---|
//! | `cli`, `settings` | what may be typed, what was meant |
//! | `command` | one file per verb, a list of steps |
//! | `plan` | what will be done, as data; `plan::apply` does it |
//! | `vrrp`, `promotion` | the protocol and the decisions, without clock or socket |
//! | `pg`, `rebuild`, `watch` | `PostgreSQL`: what it says, what is done to it, its health as events |
//! | `net`, `host`, `ssh` | the edges: sockets, netlink, processes, files, other machines |
//! | `daemon` | the loop that drives all of it |
//! | `init` | from one running primary to a prepared cluster |
//! | `check` | what would make a failover fail, found before it does |
//! | `flight` | the flight record on disk, and what can be told from it |
//! | `demo` | a cluster in namespaces, for people and for the tests |
//! | `output` | what a person or a program reads |

pub mod check;
pub mod cli;
pub mod command;
pub mod daemon;
pub mod demo;
pub mod error;
pub mod flight;
pub mod host;
pub mod init;
pub mod net;
pub mod output;
pub mod pg;
pub mod plan;
pub mod promotion;
pub mod rebuild;
pub mod settings;
pub mod ssh;
pub mod units;
pub mod vrrp;
pub mod watch;

use clap::Parser as _;
use cli::{Cli, ColorChoice, Globals};
use error::{Error, Kind};
use output::{Out, Surroundings};
use std::ffi::OsString;
use std::io::IsTerminal as _;

/// Does what the command line says and returns the exit code of the process.
pub fn run(arguments: Vec<OsString>) -> u8 {
    let arguments = cli::expand(arguments);
    match Cli::try_parse_from(&arguments) {
        Ok(cli) => {
            let out = Out::standard(&cli.globals, surroundings());
            if let Some(code) = command::as_plugin(&cli, &out) {
                return code;
            }
            match command::dispatch(&cli, &out) {
                Ok(()) => 0,
                Err(error) => {
                    out.error(cli.command.verb(), &error);
                    error.kind().exit_code()
                }
            }
        }
        Err(answer) => not_parsed(&arguments, &answer),
    }
}

/// Prints what clap has to say instead of a command: help, the version, or what is wrong with the line.
fn not_parsed(arguments: &[OsString], answer: &clap::Error) -> u8 {
    // The flags couldn't be read in order, so they are looked for.
    let given =
        |flag: &str| arguments.iter().skip(1).take_while(|word| *word != "--").any(|word| word == flag);
    let chosen = |when: &str| {
        let pair = |pair: &[OsString]| {
            pair.first().is_some_and(|flag| flag == "--color") && pair.ends_with(&[when.into()])
        };
        given(&format!("--color={when}")) || arguments.windows(2).any(pair)
    };
    let color = match () {
        () if chosen("always") => ColorChoice::Always,
        () if chosen("never") => ColorChoice::Never,
        () => ColorChoice::Auto,
    };
    let globals = Globals { json: given("--json"), color, ..Globals::default() };
    let out = Out::standard(&globals, surroundings());
    let words: Vec<&std::ffi::OsStr> = arguments.iter().map(OsString::as_os_str).collect();
    let plugin = given("--format=nagios") || words.windows(2).any(|pair| pair == ["--format", "nagios"]);
    if plugin && answer.use_stderr() {
        // Its caller reads standard output only, and takes 2 for "critical".
        return command::plugin_cannot(&usage_error(answer), &out);
    }
    let printed = if answer.use_stderr() {
        if globals.json {
            out.error("", &usage_error(answer));
        } else {
            out.usage(&answer.render());
        }
        return Kind::Usage.exit_code();
    } else {
        out.help(&answer.render())
    };
    match printed {
        Ok(()) => 0,
        Err(error) => {
            out.error("", &error);
            error.kind().exit_code()
        }
    }
}

/// Returns what clap says about a line as the error of a JSON document.
fn usage_error(answer: &clap::Error) -> Error {
    let text = answer.render().to_string();
    let mut parts = text.trim().splitn(2, "\n\n");
    let message = parts.next().unwrap_or_default().trim_start_matches("error: ");
    let error = Error::new(Kind::Usage, message.split_whitespace().collect::<Vec<_>>().join(" "));
    match parts.next() {
        Some(rest) => error.detail(rest),
        None => error,
    }
}

/// Collects what the output depends on besides the flags.
fn surroundings() -> Surroundings {
    let stdout = std::io::stdout();
    let mut surroundings = Surroundings::from_environment(|name| std::env::var(name).ok());
    surroundings.stdout_is_terminal = stdout.is_terminal();
    surroundings.stderr_is_terminal = std::io::stderr().is_terminal();
    if surroundings.columns.is_none() {
        let size = rustix::termios::tcgetwinsize(&stdout).ok();
        surroundings.columns = size.map(|size| size.ws_col).filter(|columns| *columns > 0);
    }
    surroundings
}
