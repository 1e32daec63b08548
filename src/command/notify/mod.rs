//! `notify`: the one entry point for keepalived, whose hooks overlap, arrive late, have next to no environment and are
//! killed when keepalived ends.
//!
//! A hook therefore believes nothing that it is told. It starts itself again, detached, as the owner of the data
//! directory ([`detach`]); takes a lock; looks at the world; lets [`decide`] say what to do; does it by the plans of
//! the other verbs ([`act`]); and, while this node is MASTER or serves, stays to look again ([`guard`]).

mod act;
mod decide;
mod detach;
mod fifo;
mod guard;

use crate::cli::{Globals, Notify, State, Told};
use crate::error::{Error, Kind, Result};
use crate::host::clock;
use crate::host::files::{self, Owner};
use crate::host::syslog::Syslog;
use crate::output::Out;
use crate::output::log::{Level, Log, LogStyle};
use crate::settings::Settings;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;

pub(super) fn run(globals: &Globals, args: &Notify, out: &Out) -> Result<()> {
    if !args.once && !args.dry_run.dry_run {
        // A keepalived that ends sends SIGTERM to its hooks at once, and that of STOP is one of them.
        detach::hold_signals()?;
    }
    let mut settings = Settings::load(&globals.overrides())?;
    if let Some(path) = &args.fifo {
        let log = open_log(args)?;
        return fifo::read(path, args, globals, &settings, &log);
    }
    let told = Told::from_words(&args.words).ok_or_else(|| {
        Error::new(Kind::Usage, format!("\"{}\" isn't what keepalived tells", args.words.join(" ")))
            .hint("INSTANCE NAME MASTER|BACKUP|FAULT|STOP PRIORITY, or the state alone")
    })?;
    if !heeds(args, &told) {
        return Ok(());
    }
    if args.once || args.dry_run.dry_run {
        let mut node = act::Node::new(&mut settings, globals, args)?;
        return act::once(&mut node, told.state, args.dry_run.dry_run, out);
    }
    if detach::is_child() {
        return work(&mut settings, globals, args, told.state);
    }
    detach::start(globals, args, &settings, told.state)
}

/// Returns whether this is told of the instance that matters.
fn heeds(args: &Notify, told: &Told) -> bool {
    match (&args.instance, &told.name) {
        (Some(wanted), Some(name)) => wanted == name,
        _ => true,
    }
}

/// What the detached process does.
fn work(settings: &mut Settings, globals: &Globals, args: &Notify, told: State) -> Result<()> {
    let log = open_log(args)?;
    detach::begin();
    let result = act::Node::new(settings, globals, args).and_then(|node| {
        // From here on keepalived may think that its hook has ended.
        detach::started();
        guard::run(node, told, &log)
    });
    if let Err(error) = &result {
        say(&log, Level::Error, &told_error(error));
    }
    result
}

/// Returns an error on one line.
fn told_error(error: &Error) -> String {
    let mut text = error.message().to_owned();
    if let Some(detail) = error.detail_text() {
        text.push_str(&format!(" ({detail})"));
    }
    for hint in error.hints() {
        text.push_str(&format!("; hint: {hint}"));
    }
    text
}

fn say(log: &Log, level: Level, text: &str) {
    log.write(level, clock::wall(), text);
}

/// Opens the log: the file that was named, else syslog, else standard error.
fn open_log(args: &Notify) -> Result<Log> {
    if let Some(path) = &args.log {
        let file = OpenOptions::new().create(true).append(true).mode(0o640).open(path);
        let failed =
            |error: std::io::Error| Error::failed(format!("can't open {}", path.display())).detail(error);
        let file = file.map_err(failed)?;
        // The reader of a pipe is root, and the work is done by the owner of the data.
        files::set_owner(&file, &files::directory_of(path), Owner::LikeDirectory).map_err(failed)?;
        return Ok(Log::new(Box::new(file), LogStyle::Plain, Level::Info));
    }
    Ok(match Syslog::open("pgbaton") {
        Ok(syslog) => Log::new(Box::new(syslog), LogStyle::Journal, Level::Info),
        Err(_) => Log::stderr(LogStyle::Plain, Level::Info),
    })
}
