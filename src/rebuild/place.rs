//! The data directory as a place among others: what lies beside it, who owns it, how much room there is.

use super::decision::Tablespace;
use crate::error::{Error, Kind, Result};
use crate::host::files::{self, Owner};
use crate::host::user;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The mode of a data directory that is half-way rewound: no server starts on one that its group may write to, and
/// writing without searching lets nobody in.
pub const BARRED: u32 = crate::pg::server::BARRED;

/// A data directory, which may not be there yet, and its neighbours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    data: PathBuf,
    uid: u32,
    gid: u32,
}

impl Place {
    /// Finds out where a data directory really is and whose it is.
    pub fn find(path: &Path) -> Result<Self> {
        let failed = |error: io::Error| files::os_error(&error, format!("can't look at {}", path.display()));
        let data = match fs::canonicalize(path) {
            Ok(data) => data,
            // While an interrupted exchange is under way it is not there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let name = path.file_name().ok_or_else(|| {
                    Error::config(format!("\"{}\" can't be a data directory", path.display()))
                })?;
                let parent = fs::canonicalize(files::directory_of(path)).map_err(|error| {
                    files::os_error(&error, format!("can't look at the folder above {}", path.display()))
                })?;
                parent.join(name)
            }
            Err(error) => return Err(failed(error)),
        };
        if data.parent().is_none() {
            return Err(Error::config("\"/\" can't be a data directory"));
        }
        let owner = fs::metadata(&data).or_else(|_| fs::metadata(files::directory_of(&data)));
        let owner = owner.map_err(failed)?;
        let (mut uid, mut gid) = (owner.uid(), owner.gid());
        if uid == 0 {
            // A server doesn't run as root, and an empty folder made by root says nothing.
            let postgres = user::lookup("postgres").map_err(|_| {
                Error::config(format!("{} belongs to root, and there is no user postgres", data.display()))
                    .hint(format!("install -d -m 0700 -o USER {}", data.display()))
            })?;
            (uid, gid) = (postgres.uid, postgres.gid);
        }
        if !user::is_root() && uid != rustix::process::geteuid().as_raw() {
            return Err(Error::new(Kind::Permission, format!("{} belongs to another user", data.display()))
                .hint("run this as its owner or as root"));
        }
        Ok(Self { data, uid, gid })
    }

    /// Returns the data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Returns the owner's user id.
    pub const fn uid(&self) -> u32 {
        self.uid
    }

    /// Returns the owner of new files.
    pub fn owner_for_root(&self) -> Owner {
        if user::is_root() { Owner::Ids { uid: self.uid, gid: self.gid } } else { Owner::Current }
    }

    /// Returns the path beside the data directory with this added to its name.
    pub fn beside(&self, suffix: &str) -> PathBuf {
        with_suffix(&self.data, suffix)
    }

    /// Returns whether there is nothing in it.
    pub fn is_empty(&self) -> Result<bool> {
        match fs::read_dir(&self.data) {
            Ok(mut entries) => Ok(entries.next().is_none()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(files::os_error(&error, format!("can't look into {}", self.data.display()))),
        }
    }

    /// Returns whether a rewind has made a start impossible and not ended.
    pub fn is_barred(&self) -> bool {
        fs::metadata(&self.data).is_ok_and(|meta| meta.mode() & 0o7777 == BARRED)
    }

    /// Returns why the folder can't be exchanged for another.
    pub fn fixed(&self) -> Option<String> {
        let own = fs::metadata(&self.data).ok()?;
        let above = fs::metadata(files::directory_of(&self.data)).ok()?;
        (own.dev() != above.dev()).then(|| format!("{} is a mount point", self.data.display()))
    }

    /// Returns how many bytes are free beside it.
    pub fn free(&self) -> Option<u64> {
        let room = rustix::fs::statvfs(files::directory_of(&self.data)).ok()?;
        room.f_bavail.checked_mul(room.f_frsize)
    }

    /// Makes a folder for the server's user; one that is there stays.
    pub fn make(&self, path: &Path) -> Result<()> {
        let failed = |error: io::Error| files::os_error(&error, format!("can't make {}", path.display()));
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other.map_err(failed)?,
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(failed)?;
        self.give(path)
    }

    /// Gives a file or folder to the server's user.
    pub fn give(&self, path: &Path) -> Result<()> {
        if !user::is_root() {
            return Ok(());
        }
        std::os::unix::fs::lchown(path, Some(self.uid), Some(self.gid))
            .map_err(|error| files::os_error(&error, format!("can't change the owner of {}", path.display())))
    }
}

/// Returns a path with this added to its last name.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

/// Returns the tablespaces that the links of a data directory lead to.
pub fn tablespaces(data: &Path) -> Vec<Tablespace> {
    let Ok(entries) = fs::read_dir(data.join("pg_tblspc")) else { return Vec::new() };
    let mut found: Vec<Tablespace> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let oid = entry.file_name().to_str()?.parse().ok()?;
            let path = fs::read_link(entry.path()).ok()?;
            Some(Tablespace { oid, path: path.to_str()?.to_owned() })
        })
        .collect();
    found.sort_by_key(|tablespace| tablespace.oid);
    found
}

/// Returns where the WAL is when it isn't in the data directory.
pub fn wal_elsewhere(data: &Path) -> Option<PathBuf> {
    fs::read_link(data.join("pg_wal")).ok()
}

/// Removes the lock files of sockets that came along from a server whose sockets are in its data directory: they name
/// a process of that server, and a start would look for it here.
pub fn remove_socket_locks(data: &Path) -> Result<()> {
    let failed = |error: io::Error| files::os_error(&error, format!("can't read {}", data.display()));
    for entry in fs::read_dir(data).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(".s.PGSQL.") && name.ends_with(".lock") {
            let path = entry.path();
            fs::remove_file(&path)
                .map_err(|error| files::os_error(&error, format!("can't remove {}", path.display())))?;
        }
    }
    Ok(())
}

/// Removes a folder with everything in it; absent is fine.
pub fn remove(path: &Path) -> Result<()> {
    // A program that dies with us may still be writing its last file.
    let mut tries = 0;
    loop {
        tries += 1;
        match fs::remove_dir_all(path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && tries < 50 => {
                super::tools::pause(std::time::Duration::from_millis(20));
            }
            Err(error) => {
                return Err(files::os_error(&error, format!("can't remove {}", path.display())));
            }
        }
    }
}

/// Points a link elsewhere, at once.
pub fn relink(link: &Path, to: &Path, place: &Place) -> Result<()> {
    let failed = |error: io::Error| files::os_error(&error, format!("can't change {}", link.display()));
    if fs::read_link(link).is_ok_and(|now| now == to) {
        return Ok(());
    }
    let new = with_suffix(link, ".relink");
    fs::remove_file(&new).ok();
    std::os::unix::fs::symlink(to, &new).map_err(failed)?;
    place.give(&new)?;
    fs::rename(&new, link).map_err(failed)
}
