//! What is watched beside the network: interfaces, scripts, processes and files, and what each does to a
//! virtual router.
//!
//! Pure, like everything under [`Settings::from_toml`](super::Settings::from_toml).

use super::notify::Words;
use super::problem::{Problem, nearest};
use super::value::{Check, Value, interface_name};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;

/// The largest change of a priority in either direction: between 1 and 254.
const MOST: i64 = 253;

/// What a virtual router depends on, by name and with its weight; zero: without it there is a fault.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrackSettings {
    /// Interfaces that should be up and connected.
    pub interfaces: BTreeMap<String, i16>,
    /// Scripts that should succeed.
    pub scripts: BTreeMap<String, i16>,
    /// Processes that should run.
    pub processes: BTreeMap<String, i16>,
    /// Files with a number.
    pub files: BTreeMap<String, i16>,
}

/// A program that is run again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptSettings {
    /// Its name.
    pub name: String,
    /// What is run.
    pub command: Words,
    /// The time from one start to the next.
    pub interval: Duration,
    /// How long it may run.
    pub timeout: Duration,
    /// How many successes in a row end a failure.
    pub rise: u32,
    /// How many failures in a row end a success.
    pub fall: u32,
    /// Who runs it; `None`: the user of the daemon.
    pub user: Option<String>,
}

/// Processes that are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessSettings {
    /// The name of this entry.
    pub name: String,
    /// The name of the program.
    pub command: String,
    /// Words that must be among its arguments.
    pub arguments: Vec<String>,
    /// How many must run.
    pub quorum: u32,
    /// How often they are looked for while too few run.
    pub interval: Duration,
    /// How long too few may run before that counts.
    pub grace: Duration,
}

/// A file with a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSettings {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
}

/// Everything that may be tracked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trackers {
    /// The scripts.
    pub scripts: Vec<ScriptSettings>,
    /// The processes.
    pub processes: Vec<ProcessSettings>,
    /// The files.
    pub files: Vec<FileSettings>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawScript {
    name: Value<String>,
    command: Value<Vec<Spanned<String>>>,
    interval: Value<String>,
    timeout: Value<String>,
    rise: Value<i64>,
    fall: Value<i64>,
    user: Value<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProcess {
    name: Value<String>,
    command: Value<String>,
    arguments: Value<Vec<String>>,
    quorum: Value<i64>,
    interval: Value<String>,
    grace: Value<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTrackFile {
    name: Value<String>,
    path: Value<String>,
}

/// A table of names and weights.
pub(super) type Weights = Value<BTreeMap<String, Spanned<i64>>>;

/// The keys as they stand in a table; several tables have them.
#[derive(Debug, Default)]
pub(super) struct RawTrack {
    pub(super) interfaces: Weights,
    pub(super) scripts: Weights,
    pub(super) processes: Weights,
    pub(super) files: Weights,
}

impl RawTrack {
    /// Returns the places of those keys that are given.
    pub(super) fn given(&self) -> impl Iterator<Item = (&'static str, Range<usize>)> {
        [
            ("track_interfaces", &self.interfaces),
            ("track_scripts", &self.scripts),
            ("track_processes", &self.processes),
            ("track_files", &self.files),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value.as_ref()?.span())))
    }
}

impl Check {
    pub(super) fn trackers(
        &mut self,
        scripts: Vec<Spanned<RawScript>>,
        processes: Vec<Spanned<RawProcess>>,
        files: Vec<Spanned<RawTrackFile>>,
    ) -> Trackers {
        let mut trackers = Trackers::default();
        for raw in scripts {
            let span = raw.span();
            if let Some(new) = self.script(raw.into_inner(), &span) {
                self.only_once("track_script", &new.name, trackers.scripts.iter().map(|s| &s.name), &span);
                trackers.scripts.push(new);
            }
        }
        for raw in processes {
            let span = raw.span();
            if let Some(new) = self.process(raw.into_inner(), &span) {
                self.only_once("track_process", &new.name, trackers.processes.iter().map(|p| &p.name), &span);
                trackers.processes.push(new);
            }
        }
        for raw in files {
            let span = raw.span();
            if let Some(new) = self.track_file(raw.into_inner(), &span) {
                self.only_once("track_file", &new.name, trackers.files.iter().map(|f| &f.name), &span);
                trackers.files.push(new);
            }
        }
        trackers
    }

    fn only_once<'a>(
        &mut self,
        table: &str,
        name: &str,
        mut earlier: impl Iterator<Item = &'a String>,
        span: &Range<usize>,
    ) {
        if earlier.any(|other| other == name) {
            self.wrong(span.clone(), format!("two [[{table}]] are called \"{name}\""));
        }
    }

    fn tracker_name(&mut self, table: &str, name: Value<String>, span: &Range<usize>) -> Option<String> {
        let name = self.required(table, "name", name, Some(span))?;
        self.name("the name", &name)
    }

    fn script(&mut self, raw: RawScript, span: &Range<usize>) -> Option<ScriptSettings> {
        const TABLE: &str = "track_script";
        let name = self.tracker_name(TABLE, raw.name, span);
        if raw.command.is_none() {
            self.wrong(span.clone(), "command is missing in [[track_script]]");
        }
        let command = self.command("command", raw.command);
        let interval = self.above_zero("interval", raw.interval).unwrap_or(Duration::from_secs(1));
        Some(ScriptSettings {
            interval,
            timeout: self.above_zero("timeout", raw.timeout).unwrap_or(interval),
            rise: self.integer(TABLE, "rise", raw.rise).unwrap_or(1),
            fall: self.integer(TABLE, "fall", raw.fall).unwrap_or(1),
            user: self.text("user", raw.user),
            name: name?,
            command: command?,
        })
    }

    fn process(&mut self, raw: RawProcess, span: &Range<usize>) -> Option<ProcessSettings> {
        const TABLE: &str = "track_process";
        let name = self.tracker_name(TABLE, raw.name, span);
        let command = self.required(TABLE, "command", raw.command, Some(span));
        let command = self.text("command", command);
        Some(ProcessSettings {
            arguments: raw.arguments.map(Spanned::into_inner).unwrap_or_default(),
            quorum: self.integer(TABLE, "quorum", raw.quorum).unwrap_or(1),
            interval: self.above_zero("interval", raw.interval).unwrap_or(Duration::from_secs(1)),
            grace: self.parsed("grace", raw.grace, super::parse::duration).unwrap_or_default(),
            name: name?,
            command: command?,
        })
    }

    fn track_file(&mut self, raw: RawTrackFile, span: &Range<usize>) -> Option<FileSettings> {
        const TABLE: &str = "track_file";
        let name = self.tracker_name(TABLE, raw.name, span);
        let path = self.required(TABLE, "path", raw.path, Some(span));
        let path = self.path("path", path);
        Some(FileSettings { name: name?, path: path? })
    }

    pub(super) fn track(&mut self, raw: RawTrack, trackers: &Trackers) -> TrackSettings {
        let scripts: Vec<&str> = trackers.scripts.iter().map(|script| script.name.as_str()).collect();
        let processes: Vec<&str> = trackers.processes.iter().map(|process| process.name.as_str()).collect();
        let files: Vec<&str> = trackers.files.iter().map(|file| file.name.as_str()).collect();
        TrackSettings {
            interfaces: self.tracked_interfaces(raw.interfaces),
            scripts: self.weights("track_scripts", "track_script", raw.scripts, &scripts),
            processes: self.weights("track_processes", "track_process", raw.processes, &processes),
            files: self.weights("track_files", "track_file", raw.files, &files),
        }
    }

    fn tracked_interfaces(&mut self, value: Weights) -> BTreeMap<String, i16> {
        let span = value.as_ref().map(Spanned::span);
        let weights = self.weights_of("track_interfaces", value);
        for name in weights.keys() {
            if let (Err(why), Some(span)) = (interface_name(name), &span) {
                self.wrong(span.clone(), format!("track_interfaces: {why}"));
            }
        }
        weights
    }

    fn weights(&mut self, key: &str, table: &str, value: Weights, known: &[&str]) -> BTreeMap<String, i16> {
        let span = value.as_ref().map(Spanned::span);
        let weights = self.weights_of(key, value);
        for name in weights.keys().filter(|name| !known.contains(&name.as_str())) {
            let message = format!("{key}: there is no [[{table}]] called \"{}\"", name.escape_debug());
            let problem = span
                .clone()
                .map_or_else(|| Problem::absent(message.clone()), |span| Problem::at(span, message.clone()));
            self.problems.add(match nearest(name, known.iter().copied()) {
                Some(near) => problem.hint(format!("did you mean \"{near}\"?")),
                None => problem,
            });
        }
        weights
    }

    fn weights_of(&mut self, key: &str, value: Weights) -> BTreeMap<String, i16> {
        let mut weights = BTreeMap::new();
        for (name, weight) in value.map(Spanned::into_inner).unwrap_or_default() {
            let number = *weight.get_ref();
            match i16::try_from(number) {
                Ok(fits) if (-MOST..=MOST).contains(&number) => {
                    weights.insert(name, fits);
                }
                _ => self.wrong(
                    weight.span(),
                    format!("{key}: a weight must be from -{MOST} to {MOST}, not {number}"),
                ),
            }
        }
        weights
    }
}
