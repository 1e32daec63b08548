//! The record on disk: a thread that appends JSON lines, syncs them, and keeps their size bounded; and the reading of
//! them.
//!
//! The loop's thread only puts a record into a queue of limited length. When the disk hangs the queue fills, further
//! records are counted, and the count is written when the disk is back. A torn last line of a crash is ended by the
//! next daemon, and skipped by readers.

use super::entry::{self, Entry};
use crate::error::{Error, Kind, Result};
use crate::host::files;
use crate::promotion::event::{Event, EventKind, Record};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// A file is put aside when it is larger than this.
const LARGEST: u64 = 1 << 20;
/// How many files that were put aside are kept.
const KEPT: u32 = 4;
/// How many records may wait for the disk.
const QUEUE: usize = 4096;
/// How long the end of the daemon waits for the disk.
const PATIENCE: Duration = Duration::from_millis(500);
const SUFFIX: &str = ".events.jsonl";

/// The writing end: hands records to the thread.
#[derive(Debug)]
pub struct Store {
    records: Option<Sender<Record>>,
    /// How many are in the queue. A channel of fixed length would hold the memory for all of them from the start.
    waiting: Arc<AtomicUsize>,
    ended: Receiver<()>,
    lost: u64,
}

impl Store {
    /// Opens the record of a node in this directory, which is made if it is missing, and starts the thread.
    ///
    /// # Errors
    /// When the file can't be opened for appending. A daemon goes on without, and says so.
    pub fn open(directory: &Path, node: &str) -> Result<Self> {
        let cant = |error: &io::Error| {
            let denied = error.kind() == io::ErrorKind::PermissionDenied;
            let kind = if denied { Kind::Permission } else { Kind::Failed };
            Error::new(kind, format!("can't keep a flight record in {}", directory.display()))
                .detail(error)
                .hint("systemd's StateDirectory=pgbaton makes it; otherwise: install -d -o postgres -m 0750 that directory, or set cluster.state_directory")
        };
        fs::create_dir_all(directory).map_err(|error| cant(&error))?;
        let mut file = Lines::open(directory, node).map_err(|error| cant(&error))?;
        let (records, queue) = channel::<Record>();
        let waiting = Arc::new(AtomicUsize::new(0));
        let taken = Arc::clone(&waiting);
        let (end, ended) = channel();
        let (node, boot) = (node.to_owned(), boot_id());
        std::thread::Builder::new()
            .name("flight-record".to_owned())
            .spawn(move || {
                while let Ok(record) = queue.recv() {
                    let mut text = String::new();
                    // Whatever has come meanwhile shares one write and one sync.
                    for record in std::iter::once(record).chain(queue.try_iter().take(QUEUE)) {
                        taken.fetch_sub(1, Ordering::Relaxed);
                        if let Ok(line) = serde_json::to_string(&Entry::of(&node, &boot, &record)) {
                            text.extend([line.as_str(), "\n"]);
                        }
                    }
                    // A full disk loses records, and must lose nothing else.
                    file.append(&text).unwrap_or_default();
                }
                end.send(()).unwrap_or_default();
            })
            .map_err(|error| cant(&error))?;
        Ok(Self { records: Some(records), waiting, ended, lost: 0 })
    }

    /// Writes a record down; never waits.
    pub fn write(&mut self, record: &Record) {
        if self.lost > 0 {
            let text = format!("{} records before this one couldn't be written in time", self.lost);
            let event = Event::new(EventKind::RecordsLost, text).with("lost", self.lost);
            if self.put(Record { event, ..record.clone() }) {
                self.lost = 0;
            }
        }
        if !self.put(record.clone()) {
            self.lost = self.lost.saturating_add(1);
        }
    }

    /// Puts a record into the queue; returns whether there was room.
    fn put(&mut self, record: Record) -> bool {
        let Some(records) = &self.records else { return true };
        if self.waiting.load(Ordering::Relaxed) >= QUEUE {
            return false;
        }
        // Only this end counts up, so that there are never more.
        self.waiting.fetch_add(1, Ordering::Relaxed);
        if records.send(record).is_err() {
            self.records = None;
        }
        true
    }
}

impl Drop for Store {
    /// Waits until what was handed over is on disk, but not for a disk that hangs.
    fn drop(&mut self) {
        self.records = None;
        self.ended.recv_timeout(PATIENCE).unwrap_or_default();
    }
}

/// The file that is appended to.
#[derive(Debug)]
struct Lines {
    directory: PathBuf,
    node: String,
    file: File,
    size: u64,
}

impl Lines {
    fn open(directory: &Path, node: &str) -> io::Result<Self> {
        let path = path(directory, node, 0);
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o640)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)?;
        let size = file.metadata()?.len();
        if size > 0 {
            file.seek(SeekFrom::End(-1))?;
            let mut last = [0];
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
            }
        }
        files::sync_directory(directory)?;
        Ok(Self { directory: directory.to_owned(), node: node.to_owned(), file, size })
    }

    fn append(&mut self, text: &str) -> io::Result<()> {
        if self.size > LARGEST {
            self.put_aside()?;
        }
        self.file.write_all(text.as_bytes())?;
        self.size = self.size.saturating_add(u64::try_from(text.len()).unwrap_or(u64::MAX));
        self.file.sync_data()
    }

    /// Renames the file and its predecessors by one number, the oldest going away, and begins a new one.
    fn put_aside(&mut self) -> io::Result<()> {
        for number in (0..KEPT).rev() {
            let (from, to) =
                (path(&self.directory, &self.node, number), path(&self.directory, &self.node, number + 1));
            match fs::rename(from, to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        *self = Self::open(&self.directory, &self.node)?;
        Ok(())
    }
}

/// Returns the path of a node's record; number 0 is the one that is written.
fn path(directory: &Path, node: &str, number: u32) -> PathBuf {
    match number {
        0 => directory.join(format!("{node}{SUFFIX}")),
        number => directory.join(format!("{node}{SUFFIX}.{number}")),
    }
}

/// Returns what names this boot of the machine.
pub fn boot_id() -> String {
    let text = files::read_limited(Path::new("/proc/sys/kernel/random/boot_id"), 64).unwrap_or_default();
    String::from_utf8_lossy(&text).trim().to_owned()
}

/// What was read from files.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// The entries, in no order.
    pub entries: Vec<Entry>,
    /// The files they came from.
    pub files: Vec<PathBuf>,
    /// What couldn't be read, as sentences.
    pub problems: Vec<String>,
}

impl Found {
    /// Adds the entries of a file.
    pub fn add_file(&mut self, file: &Path) -> Result<()> {
        // A file is a little larger than the limit after which it is put aside; one from elsewhere may be anything.
        let bytes = files::read_limited(file, 64 << 20)?;
        let (entries, odd) = entry::parse(&String::from_utf8_lossy(&bytes));
        if odd > 0 && entries.is_empty() {
            return Err(Error::failed(format!("{} isn't a flight record", file.display())));
        }
        self.entries.extend(entries);
        self.files.push(file.to_owned());
        Ok(())
    }
}

/// Reads the records of all nodes in a directory; those of one node usually.
pub fn read(directory: &Path) -> Found {
    let mut found = Found::default();
    let listed = match fs::read_dir(directory) {
        Ok(listed) => listed,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                found.problems.push(format!("can't read {}: {error}", directory.display()));
            }
            return found;
        }
    };
    let mut names: Vec<PathBuf> = listed.flatten().map(|entry| entry.path()).collect();
    names.sort();
    for file in names {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let number = name.rsplit_once(SUFFIX).map(|(_, number)| number);
        if number.is_some_and(|number| number.is_empty() || number.starts_with('.'))
            && let Err(error) = found.add_file(&file)
        {
            found.problems.push(error.to_string());
        }
    }
    found
}

/// Reads what is added to the records of a directory, look by look.
#[derive(Debug)]
pub struct Follow {
    directory: PathBuf,
    places: std::collections::BTreeMap<PathBuf, (u64, u64)>,
    /// Whether the first look is over: a file that comes later is read from its beginning.
    begun: bool,
}

impl Follow {
    /// Begins at the present end of every record.
    pub fn new(directory: &Path) -> Self {
        let mut follow =
            Self { directory: directory.to_owned(), places: std::collections::BTreeMap::new(), begun: false };
        follow.more();
        follow.begun = true;
        follow
    }

    /// Returns what was added since the last look.
    pub fn more(&mut self) -> Vec<Entry> {
        use std::os::unix::fs::MetadataExt as _;
        let mut entries = Vec::new();
        for file in fs::read_dir(&self.directory).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if !file.to_string_lossy().ends_with(SUFFIX) {
                continue;
            }
            let Ok(mut open) = File::open(&file) else { continue };
            let Ok(about) = open.metadata() else { continue };
            let place = self.places.get(&file).copied();
            // Another file under the name: the one before was put aside.
            let from = match place {
                Some((inode, at)) if inode == about.ino() => at,
                Some(_) => 0,
                None if self.begun => 0,
                None => about.len(),
            };
            let mut text = Vec::new();
            let read = open.seek(SeekFrom::Start(from)).and_then(|_| open.read_to_end(&mut text));
            if read.is_err() {
                continue;
            }
            // What has no line break yet is still being written.
            let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            text.truncate(whole);
            let at = from.saturating_add(u64::try_from(whole).unwrap_or(0));
            self.places.insert(file, (about.ino(), at));
            entries.extend(entry::parse(&String::from_utf8_lossy(&text)).0);
        }
        entry::merge(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Moment;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("pgbaton-flight-{name}-{}", std::process::id()));
        fs::remove_dir_all(&path).ok();
        path
    }

    fn record(at: u64, text: &str) -> Record {
        Record {
            at: Moment::from_nanos(at),
            wall: "2026-01-01T00:00:00.000000Z".to_owned(),
            event: Event::new(EventKind::State, text),
        }
    }

    #[test]
    fn what_was_handed_over_is_there_after_the_end() {
        let directory = scratch("end");
        let mut store = Store::open(&directory, "node1").unwrap();
        for at in 0..100 {
            store.write(&record(at, "x"));
        }
        drop(store);
        let found = read(&directory);
        assert_eq!((found.entries.len(), found.problems.len()), (100, 0));
        assert_eq!(found.entries[99].at, Moment::from_nanos(99));
        assert!(!found.entries[0].boot.is_empty());
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_torn_line_is_ended_and_skipped() {
        let directory = scratch("torn");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("node1.events.jsonl"), "{\"node\":\"node1\",\"bo").unwrap();
        let mut store = Store::open(&directory, "node1").unwrap();
        store.write(&record(1, "x"));
        drop(store);
        assert_eq!(read(&directory).entries.len(), 1);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn the_size_is_bounded_and_the_newest_is_kept() {
        let directory = scratch("size");
        fs::create_dir_all(&directory).unwrap();
        let mut lines = Lines::open(&directory, "node1").unwrap();
        let text = "x".repeat(1000);
        let entry = |at| serde_json::to_string(&Entry::of("node1", "b", &record(at, &text))).unwrap() + "\n";
        for batch in 0..80 {
            lines.append(&(0..100).map(|n| entry(batch * 100 + n)).collect::<String>()).unwrap();
        }
        let sizes: Vec<u64> =
            fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).collect();
        assert_eq!(sizes.len(), 5);
        assert!(sizes.iter().sum::<u64>() < 5 * (LARGEST + 200_000));
        let found = read(&directory);
        assert!(found.entries.iter().any(|entry| entry.at == Moment::from_nanos(7999)));
        assert!(!found.entries.iter().any(|entry| entry.at == Moment::from_nanos(0)));
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn followers_see_what_is_added_also_across_a_new_file() {
        let directory = scratch("follow");
        fs::create_dir_all(&directory).unwrap();
        let mut lines = Lines::open(&directory, "node1").unwrap();
        let entry = |at| serde_json::to_string(&Entry::of("node1", "b", &record(at, "x"))).unwrap() + "\n";
        lines.append(&entry(1)).unwrap();
        let mut follow = Follow::new(&directory);
        assert_eq!(follow.more(), []);
        lines.append(&entry(2)).unwrap();
        assert_eq!(follow.more().len(), 1);
        lines.put_aside().unwrap();
        lines.append(&entry(3)).unwrap();
        let more = follow.more();
        assert_eq!((more.len(), more[0].at), (1, Moment::from_nanos(3)));
        fs::remove_dir_all(directory).unwrap();
    }
}
