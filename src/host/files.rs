//! Files that are never half written, and never read without a limit.

use crate::error::{Error, Kind, Result};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Who owns a new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    /// Whoever runs this process.
    Current,
    /// When run by root: the owner and the group of the directory. So a verb run by root leaves no file
    /// behind that the daemon (or `PostgreSQL`) can't read or replace.
    LikeDirectory,
    /// This user and group.
    Ids {
        /// User id.
        uid: u32,
        /// Group id.
        gid: u32,
    },
}

/// Replaces a file as a whole: readers see the old or the new content, also after a crash.
///
/// The mode is exact, whatever the umask (keepalived runs hooks with umask 0177).
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    write_atomic_as(path, bytes, mode, Owner::Current)
}

/// Like [`write_atomic`], with an owner.
pub fn write_atomic_as(path: &Path, bytes: &[u8], mode: u32, owner: Owner) -> Result<()> {
    let failed = |error: io::Error| os_error(&error, format!("can't write {}", path.display()));
    let directory = directory_of(path);
    let temporary = temporary_name(path).map_err(failed)?;
    let result = write_new(&temporary, &directory, bytes, mode, owner)
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| sync_directory(&directory));
    result.map_err(|error| {
        // After the rename there is nothing to remove; the error to tell is the first one.
        fs::remove_file(&temporary).ok();
        failed(error)
    })
}

/// Reads a whole file that may have at most `max` octets.
pub fn read_limited(path: &Path, max: u64) -> Result<Vec<u8>> {
    let message = || format!("can't read {}", path.display());
    let open = || -> io::Result<Vec<u8>> {
        // Without O_NONBLOCK the open of a FIFO waits for a writer, for ever.
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        let mut bytes = Vec::new();
        file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = open().map_err(|error| os_error(&error, message()))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > max {
        return Err(Error::failed(message()).detail(format!("it is longer than {max} octets")));
    }
    Ok(bytes)
}

/// Like [`read_limited`]; `None` when there is no such file.
pub fn read_optional(path: &Path, max: u64) -> Result<Option<Vec<u8>>> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        _ => read_limited(path, max).map(Some),
    }
}

/// Makes the names in a directory survive a crash: creations, renames, removals.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Gives a file that root has created the owner it should have.
pub(crate) fn set_owner(file: &File, directory: &Path, owner: Owner) -> io::Result<()> {
    let (uid, gid) = match owner {
        Owner::Current => return Ok(()),
        Owner::Ids { uid, gid } => (uid, gid),
        Owner::LikeDirectory => {
            if !rustix::process::geteuid().is_root() {
                return Ok(());
            }
            let of = fs::metadata(directory)?;
            (of.uid(), of.gid())
        }
    };
    fchown(file, Some(uid), Some(gid))
}

/// Returns the directory that a path is in.
pub(crate) fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Turns an error of a file operation into one with a kind.
pub(crate) fn os_error(error: &io::Error, message: String) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Kind::Permission,
        _ => Kind::Failed,
    };
    Error::new(kind, message).detail(error)
}

/// A name beside the file that nobody else uses: the process and a counter are in it.
fn temporary_name(path: &Path) -> io::Result<PathBuf> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.{}.new", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)));
    Ok(path.with_file_name(temporary))
}

fn write_new(path: &Path, directory: &Path, bytes: &[u8], mode: u32, owner: Owner) -> io::Result<()> {
    let create = || {
        OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(path)
    };
    let mut file = match create() {
        // Left behind by a process with our id that was killed, before a reboot for example.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            create()?
        }
        other => other?,
    };
    file.write_all(bytes)?;
    set_owner(&file, directory, owner)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A directory that is removed at the end of the test.
    pub(crate) struct Scratch(pub(crate) PathBuf);

    impl Scratch {
        pub(crate) fn new() -> Self {
            static COUNTER: AtomicU64 = AtomicU64::new(0);
            let name = format!("pgbaton-{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_with_its_exact_mode_and_nothing_is_left_beside_it() {
        let scratch = Scratch::new();
        let path = scratch.0.join("state");
        write_atomic(&path, b"one", 0o640).unwrap();
        write_atomic(&path, b"two", 0o666).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o666);
        assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let scratch = Scratch::new();
        let path = scratch.0.join("directory");
        fs::create_dir(&path).unwrap();
        let error = write_atomic(&path, b"x", 0o600).unwrap_err();
        assert!(error.message().starts_with("can't write "), "{error}");
        assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 1);
        assert!(write_atomic(&scratch.0.join("no/such"), b"x", 0o600).is_err());
        assert!(write_atomic(Path::new("/"), b"x", 0o600).is_err());
    }

    #[test]
    fn root_leaves_files_that_belong_to_the_owner_of_the_directory() {
        let scratch = Scratch::new();
        std::os::unix::fs::chown(&scratch.0, Some(65534), Some(65534)).unwrap();
        let path = scratch.0.join("state");
        write_atomic_as(&path, b"x", 0o600, Owner::LikeDirectory).unwrap();
        let of = fs::metadata(&path).unwrap();
        assert_eq!((of.uid(), of.gid()), (65534, 65534));
    }

    #[test]
    fn a_file_longer_than_the_limit_is_an_error_and_a_missing_one_can_be_told_apart() {
        let scratch = Scratch::new();
        let path = scratch.0.join("file");
        fs::write(&path, b"12345").unwrap();
        assert_eq!(read_limited(&path, 5).unwrap(), b"12345");
        let error = read_limited(&path, 4).unwrap_err();
        assert_eq!(error.detail_text(), Some("it is longer than 4 octets"));
        assert_eq!(read_optional(&scratch.0.join("none"), 5).unwrap(), None);
        assert_eq!(read_optional(&path, 5).unwrap().as_deref(), Some(b"12345".as_slice()));
        assert!(read_limited(&scratch.0, 5).is_err(), "a directory");
    }
}
