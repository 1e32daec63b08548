//! What a rebuild is in the middle of, written down beside the data directory before it is done.
//!
//! A run that finds one goes on where the other was killed. Only what facts can't tell is in it: that a `pg_rewind`
//! was begun (its folder can't be trusted), that it ended well, that a copy is complete.

use super::place::Place;
use crate::error::{Error, Result};
use crate::host::files;
use crate::promotion::rules::Register;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// How far a rebuild has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The data directory is as it was; facts decide.
    Begun,
    /// `pg_rewind` is at work.
    Rewinding,
    /// It is done; the configuration isn't.
    Rewound,
    /// The copy is complete, its exchange may be under way.
    Copied,
}

/// The journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// How far.
    pub phase: Phase,
    /// Where things are kept.
    pub kept: PathBuf,
    /// The folders that are exchanged, the data directory first.
    pub exchanges: Vec<Exchange>,
    /// The node's own register, unfit; `None` before anything was to be replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub register: Option<Register>,
    /// The node's own `synchronous_standby_names`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<String>,
    /// The permissions of the data directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
}

/// One folder that is replaced by another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// The folder.
    pub place: PathBuf,
    /// What comes in its place.
    pub new: PathBuf,
    /// Where the old one goes.
    pub old: PathBuf,
    /// The link in the data directory that leads to it.
    pub link: Option<PathBuf>,
}

const LIMIT: u64 = 1 << 20;

fn path(place: &Place) -> PathBuf {
    place.beside(".rebuild")
}

/// Reads the journal of a run that was cut short.
pub fn read(place: &Place) -> Result<Option<Journal>> {
    let path = path(place);
    let Some(bytes) = files::read_optional(&path, LIMIT)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        Error::failed(format!("can't read the journal {}", path.display()))
            .detail(error)
            .hint(format!("is it damaged? look beside it what there is, then rm {}", path.display()))
    })
}

/// Writes the journal, durably.
pub fn write(place: &Place, journal: &Journal) -> Result<()> {
    let bytes = serde_json::to_vec_pretty(journal)
        .map_err(|error| Error::failed("can't write the journal").detail(error))?;
    files::write_atomic_as(&path(place), &bytes, 0o600, place.owner_for_root())
}

/// Takes the journal away; absent is fine.
pub fn clear(place: &Place) -> Result<()> {
    match std::fs::remove_file(path(place)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(files::os_error(&error, format!("can't remove {}", path(place).display())))
        }
        _ => Ok(()),
    }
}
