//! One run at a time: a lock that the kernel releases when its holder dies, and that says who holds it.

use crate::error::{Error, Kind, Result};
use crate::host::clock::{self, Deadline};
use crate::host::files::{self, Owner};
use crate::net::driver::readable_before;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often the lock is tried even if nothing tells that it is free: when the holder dies, the closing of the
/// file is announced a moment before its lock is released.
const RETRY: Duration = Duration::from_millis(50);
/// The content of a lock file is one short line.
const CONTENT: u64 = 512;

/// A held lock; released when dropped, or when the process dies in any way.
///
/// Child processes don't inherit it (close-on-exec).
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

/// Who holds a lock, as written in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Process id.
    pub pid: u32,
    /// The verb, as typed.
    pub verb: String,
    /// When it took the lock, as time since 1970.
    pub since: Duration,
}

impl Lock {
    /// Takes the lock, waiting at most `timeout` for another run to end.
    ///
    /// A lock still held then is [`Kind::TryAgain`] and names its holder. The file stays when the lock is
    /// released: removing it would let two runs lock two files of the same name.
    pub fn acquire(path: &Path, verb: &str, timeout: Duration) -> Result<Self> {
        let deadline = Deadline::after(timeout);
        let (mut file, mut writable) = open(path)?;
        let mut released = None;
        loop {
            match file.try_lock() {
                Ok(()) if same_file(&file, path) => {
                    let mut lock = Self { file, path: path.to_owned() };
                    if writable {
                        lock.sign(verb).map_err(|error| failed(path, &error))?;
                    }
                    return Ok(lock);
                }
                Err(TryLockError::WouldBlock) if same_file(&file, path) => {
                    if deadline.passed() {
                        return Err(held(path));
                    }
                    // The first time round, watch and try once more: it may have become free in between.
                    match &released {
                        None => released = Some(watch(path).map_err(|error| failed(path, &error))?),
                        Some(events) => pause(events, deadline)?,
                    }
                }
                // Someone has removed or replaced the file in the meantime: go for the new one.
                Ok(()) | Err(TryLockError::WouldBlock) => {
                    (file, writable) = open(path)?;
                    released = None;
                }
                Err(TryLockError::Error(error)) => return Err(failed(path, &error)),
            }
        }
    }

    /// Returns who holds the lock; `None` when nobody does.
    pub fn holder(path: &Path) -> Result<Option<Holder>> {
        let file = match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(path, &error)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(read_holder(&file)),
            Err(TryLockError::Error(error)) => Err(failed(path, &error)),
        }
    }

    /// Returns the path of the lock file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes who we are into the file.
    fn sign(&mut self, verb: &str) -> io::Result<()> {
        let verb: String = verb.chars().filter(|c| !c.is_control()).take(100).collect();
        self.file.set_len(0)?;
        self.file.rewind()?;
        writeln!(self.file, "{} {} {verb}", std::process::id(), clock::wall().as_secs())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // An empty file says that nobody holds it. Unlocked before it is closed, because the closing is
        // what wakes those who wait.
        self.file.set_len(0).and_then(|()| self.file.unlock()).ok();
    }
}

/// Opens the lock file, creating it for everyone who may use its directory. Returns whether it can be
/// written: a lock needs no right to write, only its signature does.
fn open(path: &Path) -> Result<(File, bool)> {
    let mut how = OpenOptions::new();
    how.read(true).custom_flags(libc::O_NOFOLLOW);
    let create = how.clone().write(true).create_new(true).mode(0o644).open(path);
    match create {
        Ok(file) => {
            files::set_owner(&file, &files::directory_of(path), Owner::LikeDirectory)
                .and_then(|()| file.set_permissions(Permissions::from_mode(0o644)))
                .map_err(|error| failed(path, &error))?;
            return Ok((file, true));
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(path, &error)),
    }
    match how.clone().write(true).open(path) {
        Ok(file) => Ok((file, true)),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            how.open(path).map(|file| (file, false)).map_err(|error| failed(path, &error))
        }
        Err(error) => Err(failed(path, &error)),
    }
}

fn same_file(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(ours), Ok(named)) => (ours.dev(), ours.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

/// Watches for the lock file being closed, which is when a lock is released.
fn watch(path: &Path) -> io::Result<OwnedFd> {
    let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    inotify::add_watch(&events, path, WatchFlags::CLOSE_WRITE | WatchFlags::CLOSE_NOWRITE)?;
    Ok(events)
}

fn pause(events: &OwnedFd, deadline: Deadline) -> Result<()> {
    if readable_before(events.as_fd(), deadline.within(RETRY))? {
        let mut scrap = [0_u8; 4096];
        rustix::io::read(events, &mut scrap).ok();
    }
    Ok(())
}

fn read_holder(mut file: &File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(CONTENT).read_to_string(&mut text).ok()?;
    parse_holder(&text)
}

fn parse_holder(text: &str) -> Option<Holder> {
    let mut parts = text.lines().next()?.splitn(3, ' ');
    let pid = parts.next()?.parse().ok()?;
    let since = Duration::from_secs(parts.next()?.parse().ok()?);
    Some(Holder { pid, verb: parts.next()?.to_owned(), since })
}

fn held(path: &Path) -> Error {
    let error = Error::new(Kind::TryAgain, "another run is in progress");
    let holder = OpenOptions::new().read(true).open(path).ok().and_then(|file| read_holder(&file));
    match holder {
        Some(Holder { pid, verb, since }) => {
            let since = i64::try_from(since.as_secs())
                .ok()
                .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
                .map_or_else(|| "an unknown time".to_owned(), |time| time.to_string());
            error.detail(format!("\"{verb}\", process {pid}, since {since}")).hint(format!("ps -fp {pid}"))
        }
        None => error.detail(format!("{} is locked", path.display())),
    }
}

fn failed(path: &Path, error: &io::Error) -> Error {
    files::os_error(error, format!("can't use the lock file {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::files::tests::Scratch;

    #[test]
    fn a_held_lock_says_who_holds_it_and_a_released_one_can_be_taken() {
        let scratch = Scratch::new();
        let path = scratch.0.join("lock");
        assert_eq!(Lock::holder(&path).unwrap(), None);
        let lock = Lock::acquire(&path, "pg promote", Duration::ZERO).unwrap();
        let error = Lock::acquire(&path, "pg fence", Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), Kind::TryAgain);
        assert_eq!(error.message(), "another run is in progress");
        let detail = error.detail_text().unwrap();
        assert!(
            detail.starts_with(&format!("\"pg promote\", process {}, since 20", std::process::id())),
            "{detail}"
        );
        assert_eq!(Lock::holder(&path).unwrap().unwrap().verb, "pg promote");
        drop(lock);
        assert_eq!(Lock::holder(&path).unwrap(), None);
        Lock::acquire(&path, "pg fence", Duration::ZERO).unwrap();
    }

    #[test]
    fn a_waiting_run_gets_the_lock_when_the_holder_ends() {
        let scratch = Scratch::new();
        let path = scratch.0.join("lock");
        let lock = Lock::acquire(&path, "first", Duration::ZERO).unwrap();
        let opened = inotify::init(CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&opened, &path, WatchFlags::OPEN).unwrap();
        let waiter = std::thread::spawn({
            let path = path.clone();
            move || Lock::acquire(&path, "second", Duration::from_secs(30)).map(drop)
        });
        assert!(readable_before(opened.as_fd(), Deadline::after(Duration::from_secs(30))).unwrap());
        drop(lock);
        waiter.join().unwrap().unwrap();
    }

    #[test]
    fn a_removed_lock_file_does_not_let_two_runs_in() {
        let scratch = Scratch::new();
        let path = scratch.0.join("lock");
        let first = Lock::acquire(&path, "first", Duration::ZERO).unwrap();
        fs::remove_file(&path).unwrap();
        let second = Lock::acquire(&path, "second", Duration::ZERO).unwrap();
        assert!(!same_file(&first.file, &path));
        assert!(same_file(&second.file, &path));
    }

    #[test]
    fn a_file_with_anything_in_it_is_read_without_panic() {
        for text in ["", "1", "1 2", "x y z", "1 2 vip up\n", "-1 2 z", "99999999999 1 z", "\u{0} \u{0} "] {
            let _ = parse_holder(text);
        }
        assert_eq!(parse_holder("1 2 vip up\n").unwrap().verb, "vip up");
    }
}
