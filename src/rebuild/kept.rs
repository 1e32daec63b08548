//! What rebuilds have kept: folders beside the data directory, each with a report of what is in it.

use super::decision::{Data, Fork};
use super::journal::Exchange;
use super::place::{self, Place};
use super::tools::Tools;
use super::wal;
use crate::error::{Error, Result};
use crate::host::clock::{self, Deadline};
use crate::host::files;
use crate::pg::history::History;
use crate::pg::lsn::{Lsn, Timeline};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// The configuration files that a node has of its own, relative to the data directory.
const OWN_FILES: [&str; 4] = ["postgresql.conf", "postgresql.auto.conf", "pg_hba.conf", "pg_ident.conf"];
const LIMIT: u64 = 64 << 20;
/// Longer lists are cut; the log itself is kept.
const MOST_TRANSACTIONS: usize = 100_000;

/// The report in a kept folder.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct KeptReport {
    /// The version of this document's form.
    pub schema: u32,
    /// When the folder was made, RFC 3339.
    pub made_at: String,
    /// Where the logs part (`TIMELINE:LSN`); `null` when nobody knows.
    pub fork: Option<String>,
    /// Where the dropped log ends (`TIMELINE:LSN`).
    pub end: String,
    /// The transactions that are only in the dropped part of the log, as `pg_waldump` shows them.
    pub transactions: Vec<Value>,
    /// Whether the list is complete and exact; without a known fork it begins with the timeline.
    pub exact: bool,
    /// The WAL segments that were copied to `wal/`.
    pub segments: Vec<String>,
    /// Folders that were moved away and belong to this one.
    pub moved: Vec<PathBuf>,
}

/// A kept folder.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Kept {
    /// Where it is.
    pub path: PathBuf,
    /// Whether the old data directory is in it.
    pub old_data: bool,
    /// Its size in bytes, with what was moved elsewhere.
    pub bytes: u64,
    /// Its report, if it can be read.
    pub report: Option<KeptReport>,
}

/// Returns the name of a new kept folder.
pub fn new_path(place: &Place) -> PathBuf {
    place.beside(&format!(".kept-{}", stamp("%Y%m%dT%H%M%SZ")))
}

fn stamp(form: &str) -> String {
    let seconds = i64::try_from(clock::wall().as_secs()).unwrap_or(0);
    jiff::Timestamp::from_second(seconds).map(|now| now.strftime(form).to_string()).unwrap_or_default()
}

/// Saves what a rebuild will drop. Saving twice adds what is new and takes nothing away.
pub fn save(
    place: &Place,
    tools: &Tools,
    folder: &Path,
    data: &Data,
    (fork, segment_size): (Option<Fork>, u64),
    deadline: Deadline,
) -> Result<KeptReport> {
    place.make(folder)?;
    let pg_wal = place.data().join("pg_wal");
    let mut report = read_report(folder).unwrap_or_else(|| KeptReport {
        schema: 1,
        made_at: stamp("%Y-%m-%dT%H:%M:%SZ"),
        exact: true,
        ..KeptReport::default()
    });
    let begin = fork.map(|fork| (fork.timeline, fork.at)).or_else(|| {
        let parent = data.history.as_ref()?.parent()?;
        Some((data.timeline, parent.at))
    });
    report.fork = fork.map(|fork| format!("{}:{}", fork.timeline, fork.at)).or(report.fork);
    report.end = format!("{}:{}", data.timeline, data.end);
    report.exact &= fork.is_some();
    if let Some((first, from)) = begin {
        // One reads the log, the other the disk: neither waits for the other.
        let segments = std::thread::scope(|scope| {
            let copied = scope.spawn(|| copy_segments(place, &pg_wal, folder, (first, from, segment_size)));
            list_transactions(tools, &pg_wal, data, (first, from), &mut report, deadline)?;
            copied.join().unwrap_or_else(|_| Err(Error::failed("can't keep the log")))
        })?;
        let new = segments.into_iter().filter(|name| !report.segments.contains(name)).collect::<Vec<_>>();
        report.segments.extend(new);
    }
    save_configuration(place, folder)?;
    write_report(place, folder, &report)?;
    Ok(report)
}

/// Lists the transactions of the part that is dropped, timeline by timeline.
fn list_transactions(
    tools: &Tools,
    pg_wal: &Path,
    data: &Data,
    (first, from): (Timeline, Lsn),
    report: &mut KeptReport,
    deadline: Deadline,
) -> Result<()> {
    let forks = data.history.as_ref().map(History::forks).unwrap_or_default();
    let timelines = forks.iter().map(|fork| fork.parent).filter(|parent| *parent >= first);
    for timeline in timelines.chain([data.timeline]) {
        // Where this timeline begins: where the one before it was left.
        let begin = forks.iter().rev().find(|fork| fork.parent < timeline).map(|fork| fork.at);
        let from = from.max(begin.unwrap_or(Lsn::ZERO));
        let mut command = tools.command("pg_waldump");
        command.arg("-p").arg(pg_wal).args(["-r", "Transaction", "-t", &timeline.to_string()]);
        command.args(["-s", &from.to_string()]);
        let KeptReport { transactions, exact, .. } = &mut *report;
        let known: BTreeSet<String> = transactions.iter().map(Value::to_string).collect();
        tools.run(command, deadline, &mut |line, _| {
            let Some(commit) = wal::commit(line) else { return };
            match serde_json::to_value(&commit) {
                Ok(value) if known.contains(&value.to_string()) => {}
                Ok(value) if transactions.len() < MOST_TRANSACTIONS => transactions.push(value),
                _ => *exact = false,
            }
        })?;
    }
    Ok(())
}

/// Copies the segments of the part that is dropped; returns their names.
fn copy_segments(
    place: &Place,
    pg_wal: &Path,
    folder: &Path,
    (first, from, size): (Timeline, Lsn, u64),
) -> Result<Vec<String>> {
    let from = super::decision::segment(from, size);
    let mut segments: Vec<String> = super::observe::segments(pg_wal, size)
        .filter(|(timeline, number)| *timeline >= first && *number >= from)
        .map(|(timeline, number)| (wal::named_segment(timeline, number, size), number))
        .filter(|(name, number)| is_written(&pg_wal.join(name), *number, size))
        .map(|(name, _)| name)
        .collect();
    segments.sort();
    let wal = folder.join("wal");
    let missing: Vec<&String> = segments.iter().filter(|name| !wal.join(name).exists()).collect();
    let needed = u64::try_from(missing.len()).unwrap_or(u64::MAX).saturating_mul(size);
    if place.free().is_some_and(|free| free < needed) {
        return Err(Error::refused("there is no room to keep the log that will be dropped")
            .detail(format!("{} MB needed beside {}", needed >> 20, place.data().display()))
            .hint(
                "make room there; what earlier rebuilds have kept: pgbaton pg rebuild-standby --list-kept",
            ));
    }
    place.make(&wal)?;
    let half = |name: &str| wal.join(format!("{name}.half"));
    for name in &missing {
        copy(&pg_wal.join(name), &half(name), place)?;
    }
    // The disk has been writing since the first; only now is each waited for.
    for name in &missing {
        let failed = |error: io::Error| files::os_error(&error, format!("can't keep {name}"));
        fs::File::open(half(name)).and_then(|file| file.sync_all()).map_err(failed)?;
        fs::rename(half(name), wal.join(name)).map_err(failed)?;
    }
    files::sync_directory(&wal).map_err(|error| files::os_error(&error, "can't keep the log".to_owned()))?;
    Ok(segments)
}

/// Returns whether a segment holds what its name says. The server keeps files ready for the log to come: old segments
/// under new names, which begin with their old address, and empty ones.
fn is_written(path: &Path, number: u64, size: u64) -> bool {
    let mut start = [0; 16];
    let read = fs::File::open(path).and_then(|file| file.read_exact_at(&mut start, 0));
    // What can't be read is for the copy to complain about.
    read.is_err() || wal::first_address(start) == number.checked_mul(size).map(Lsn)
}

fn copy(from: &Path, to: &Path, place: &Place) -> Result<()> {
    fs::copy(from, to).map_err(|error| files::os_error(&error, format!("can't copy {}", from.display())))?;
    place.give(to)
}

fn own_files(root: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = OWN_FILES.iter().map(PathBuf::from).collect();
    let more = fs::read_dir(root.join("conf.d")).into_iter().flatten().flatten();
    found.extend(more.map(|entry| Path::new("conf.d").join(entry.file_name())));
    found.retain(|name| root.join(name).is_file());
    found
}

fn save_configuration(place: &Place, folder: &Path) -> Result<()> {
    let conf = folder.join("conf");
    place.make(&conf)?;
    place.make(&conf.join("conf.d"))?;
    for name in own_files(place.data()) {
        let to = conf.join(&name);
        copy(&place.data().join(&name), &to, place)?;
        fs::File::open(&to)
            .and_then(|file| file.sync_all())
            .map_err(|error| files::os_error(&error, format!("can't keep {}", name.display())))?;
    }
    Ok(())
}

/// Gives a data directory the node's own configuration back.
pub fn restore_configuration(place: &Place, folder: &Path, data: &Path) -> Result<usize> {
    let conf = folder.join("conf");
    let names = own_files(&conf);
    for name in &names {
        let bytes = files::read_limited(&conf.join(name), LIMIT)?;
        let to = data.join(name);
        if fs::read(&to).is_ok_and(|now| now == bytes) {
            continue;
        }
        if name.starts_with("conf.d") {
            place.make(&data.join("conf.d"))?;
        }
        files::write_atomic_as(&to, &bytes, 0o600, place.owner_for_root())?;
    }
    Ok(names.len())
}

fn read_report(folder: &Path) -> Option<KeptReport> {
    let bytes = files::read_optional(&folder.join("report.json"), LIMIT).ok()??;
    serde_json::from_slice(&bytes).ok()
}

fn write_report(place: &Place, folder: &Path, report: &KeptReport) -> Result<()> {
    let bytes = serde_json::to_vec_pretty(report)
        .map_err(|error| Error::failed("can't write the report").detail(error))?;
    files::write_atomic_as(&folder.join("report.json"), &bytes, 0o600, place.owner_for_root())
}

/// Writes down which folders were moved away.
pub fn note_moved(place: &Place, folder: &Path, exchanges: &[Exchange]) -> Result<()> {
    let mut report = read_report(folder).unwrap_or_else(|| KeptReport {
        schema: 1,
        made_at: stamp("%Y-%m-%dT%H:%M:%SZ"),
        ..KeptReport::default()
    });
    let elsewhere = |old: &PathBuf| !old.starts_with(folder);
    report.moved = exchanges.iter().map(|one| one.old.clone()).filter(elsewhere).collect();
    write_report(place, folder, &report)
}

/// Lists what is kept beside a data directory, oldest first.
pub fn list(place: &Place) -> Result<Vec<Kept>> {
    let prefix = place.beside(".kept-");
    let folder = files::directory_of(place.data());
    let entries = fs::read_dir(&folder)
        .map_err(|error| files::os_error(&error, format!("can't look into {}", folder.display())))?;
    let prefix = prefix.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut found: Vec<Kept> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .map(|entry| {
            let path = entry.path();
            let report = read_report(&path);
            let moved = report.iter().flat_map(|report| report.moved.iter());
            let bytes = moved.map(|moved| size_of(moved)).sum::<u64>().saturating_add(size_of(&path));
            Kept { old_data: path.join("data").is_dir(), bytes, report, path }
        })
        // A moved WAL folder of the same name has no report and no data: it is part of another.
        .filter(|kept| kept.report.is_some() || kept.old_data)
        .collect();
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// Removes a kept folder, and what was moved elsewhere for it.
pub fn remove(kept: &Kept) -> Result<()> {
    for moved in kept.report.iter().flat_map(|report| &report.moved) {
        place::remove(moved)?;
    }
    place::remove(&kept.path)
}

/// Removes the old data only; the report, the configuration and the dropped part of the log stay.
pub fn remove_old_data(folder: &Path) -> Result<()> {
    for moved in read_report(folder).iter().flat_map(|report| &report.moved) {
        place::remove(moved)?;
    }
    place::remove(&folder.join("data"))
}

fn size_of(path: &Path) -> u64 {
    let Ok(meta) = fs::symlink_metadata(path) else { return 0 };
    if !meta.is_dir() {
        return meta.len();
    }
    fs::read_dir(path).into_iter().flatten().flatten().map(|entry| size_of(&entry.path())).sum()
}
