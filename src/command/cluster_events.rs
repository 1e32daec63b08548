//! `pgbaton cluster events`: the flight record as lines, once or as it grows.

use super::flight_records;
use crate::cli::{ClusterEvents, Globals};
use crate::error::{Error, Result};
use crate::flight::Entry;
use crate::flight::entry::merge;
use crate::flight::store::Follow;
use crate::host::clock;
use crate::host::signal::{self, Signal};
use crate::output::paint::{Paint, Tone};
use crate::output::{Out, clean};
use crate::settings::Settings;
use crate::settings::parse::Since;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::fs::inotify;
use std::os::fd::AsFd as _;

/// Shows the events.
pub(super) fn run(globals: &Globals, args: &ClusterEvents, out: &Out) -> Result<()> {
    let settings =
        if args.source.files.is_empty() { Some(Settings::load(&globals.overrides())?) } else { None };
    // Before reading, so that nothing falls between the two.
    let follow = match (&settings, args.follow) {
        (Some(settings), true) => Some(Follow::new(&settings.cluster.state_directory)),
        _ => None,
    };
    let found = flight_records::read(settings.as_ref(), &args.source)?;
    let wanted = |entry: &Entry| {
        (args.all || entry.is_telling()) && args.since.is_none_or(|since| entry.micros() >= micros(since))
    };
    let mut entries: Vec<Entry> = merge(found.entries).into_iter().filter(wanted).collect();
    entries.drain(..entries.len().saturating_sub(args.last));
    for problem in &found.problems {
        out.warning(problem);
    }
    let mut printer = Printer::new(out, names(&entries, settings.as_ref()));
    match follow {
        None if out.is_json() => out.json(&serde_json::json!({
            "schema": 1,
            "events": entries,
            "files": found.files,
            "warnings": found.problems,
        })),
        None if entries.is_empty() => {
            let place = settings.as_ref().map_or_else(String::new, |settings| {
                format!(" in {}", settings.cluster.state_directory.display())
            });
            out.status(&format!("no events are recorded{place}"));
            Ok(())
        }
        None => printer.print(&entries),
        Some(follow) => {
            printer.print(&entries)?;
            let directory = settings.map(|settings| settings.cluster.state_directory).unwrap_or_default();
            go_on(follow, &directory, args, &mut printer, out)
        }
    }
}

/// Prints what is added until a signal comes or nobody reads any more.
fn go_on(
    mut follow: Follow,
    directory: &std::path::Path,
    args: &ClusterEvents,
    printer: &mut Printer<'_>,
    out: &Out,
) -> Result<()> {
    let cant = |error: rustix::io::Errno| {
        Error::failed(format!("can't watch {}", directory.display())).detail(error)
    };
    signal::block(&[Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP])?;
    let stops: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    let stops = SignalFd::with_flags(&stops, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .map_err(|error| Error::failed("can't wait for signals").detail(error))?;
    let watch =
        inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).map_err(cant)?;
    let flags = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
    inotify::add_watch(&watch, directory, flags).map_err(|error| {
        cant(error).hint("has a daemon of this version ever run here? cluster.state_directory says where")
    })?;
    let mut bell = [0_u8; 4096];
    loop {
        let entries: Vec<Entry> =
            follow.more().into_iter().filter(|entry| args.all || entry.is_telling()).collect();
        printer.print(&entries)?;
        if out.closed() {
            return Ok(());
        }
        let mut waiting =
            [PollFd::new(stops.as_fd(), PollFlags::POLLIN), PollFd::new(watch.as_fd(), PollFlags::POLLIN)];
        match poll(&mut waiting, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(Error::failed("can't wait for events").detail(error)),
        }
        let ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
        if waiting.first().is_some_and(ready) {
            return Ok(());
        }
        // What happened is looked up in the files; here only the bell is silenced.
        while rustix::io::read(&watch, &mut bell).is_ok_and(|read| read > 0) {}
    }
}

/// Returns a point in time as microseconds since 1970.
fn micros(since: Since) -> i64 {
    match since {
        Since::At(micros) => micros,
        Since::Ago(length) => {
            let at = clock::wall().saturating_sub(length);
            i64::try_from(at.as_micros()).unwrap_or(i64::MAX)
        }
    }
}

/// Returns how wide the column of the nodes has to be.
fn names(entries: &[Entry], settings: Option<&Settings>) -> usize {
    let configured = settings.into_iter().flat_map(|settings| &settings.nodes).map(|node| node.name.len());
    entries.iter().map(|entry| entry.node.chars().count()).chain(configured).max().unwrap_or(0)
}

/// Prints entries as lines, with a line for each new day.
struct Printer<'a> {
    out: &'a Out,
    names: usize,
    day: String,
}

impl<'a> Printer<'a> {
    const fn new(out: &'a Out, names: usize) -> Self {
        Self { out, names, day: String::new() }
    }

    fn print(&mut self, entries: &[Entry]) -> Result<()> {
        for entry in entries {
            let text = if self.out.is_json() {
                serde_json::to_string(entry)
                    .map_err(|error| Error::failed("can't write the JSON document").detail(error))?
            } else {
                let day = entry.wall.get(..10).unwrap_or_default();
                let mut text = String::new();
                if day != self.day {
                    day.clone_into(&mut self.day);
                    text = format!("{}\n", self.out.paint().with(Tone::Dim, format_args!("{day} (UTC)")));
                }
                text + &line(entry, self.names, self.out.paint())
            };
            self.out.result(&text)?;
        }
        Ok(())
    }
}

/// Renders an entry as a line.
fn line(entry: &Entry, names: usize, paint: Paint) -> String {
    let time = entry.wall.get(11..23).unwrap_or("??:??:??.???");
    let tone = match entry.kind.as_str() {
        _ if entry.warns() => Tone::Warn,
        "serving" => Tone::Good,
        "decision" | "state" => Tone::Strong,
        _ => Tone::Plain,
    };
    let place = match (entry.number("timeline"), entry.field("lsn")) {
        (Some(timeline), Some(lsn)) => format!(" [{timeline} {lsn}]"),
        _ => String::new(),
    };
    let text = if entry.kind == "step-started" { format!("{} ...", entry.text) } else { entry.text.clone() };
    format!(
        "{}  {:<names$}  {:<15}  {}{}",
        paint.with(Tone::Dim, time),
        clean(&entry.node),
        clean(&entry.kind),
        paint.with(tone, clean(&text).replace('\n', " ")),
        paint.with(Tone::Dim, clean(&place)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Moment;

    #[test]
    fn an_entry_is_one_line_that_can_not_drive_the_terminal() {
        let entry = Entry {
            node: "node1".to_owned(),
            boot: String::new(),
            at: Moment::BOOT,
            wall: "2026-01-02T03:04:05.678901Z".to_owned(),
            kind: "decision".to_owned(),
            text: "go\u{1b}[2J\nx".to_owned(),
            fields: [("lsn".to_owned(), "0/3000000".into()), ("timeline".to_owned(), 2.into())]
                .into_iter()
                .collect(),
        };
        assert_eq!(
            line(&entry, 6, Paint::new(false)),
            "03:04:05.678  node1   decision         go\u{fffd}[2J x [2 0/3000000]"
        );
    }
}
