//! The server on this machine, as steps act on it: its data directory, one session, and the intent on disk.

use super::conn::{ConnSettings, Session};
use super::lsn::{Lsn, Timeline};
use super::server::{DataDirectory, StopReport};
use super::setting::Saved;
use crate::error::{Error, Kind, Result};
use crate::host::clock::Deadline;
use crate::host::files::{self, Owner};
use crate::plan::step::{Intent, NeedsCheck};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The name of the intent's file inside the data directory: beside what it is about, owned by its owner.
pub const INTENT_FILE: &str = "pgbaton.intent";
const INTENT_MODE: u32 = 0o600;
const INTENT_LIMIT: u64 = 4096;

/// The name of the mark that a fenced server's data directory carries.
pub const NEEDS_CHECK_FILE: &str = "pgbaton.needs_check";

/// The name of the note that says what a promotion has suspended.
const SUSPENDED_FILE: &str = "pgbaton.suspended";

#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Suspended {
    node: String,
    saved: Saved,
}

/// Reads the mark of a node's data directory; another node's (it travels with a copied data directory) is not ours. A
/// mark that can't be read is still one.
pub fn needs_check(data: &Path, node: &str) -> Result<Option<NeedsCheck>> {
    let path = data.join(NEEDS_CHECK_FILE);
    let Some(text) = files::read_optional(&path, INTENT_LIMIT)? else { return Ok(None) };
    let mark = serde_json::from_slice::<NeedsCheck>(&text).unwrap_or_else(|_| NeedsCheck {
        schema: 0,
        node: node.to_owned(),
        at: 0,
        reason: format!("{} can't be read", path.display()),
    });
    Ok((mark.node == node).then_some(mark))
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::failed(format!("can't remove {}", path.display())).detail(error))
        }
        _ => Ok(()),
    }
}

/// The local server.
#[derive(Debug)]
pub struct LocalServer {
    node: String,
    conn: ConnSettings,
    data: DataDirectory,
    session: Option<Session>,
}

impl LocalServer {
    /// Creates the handle; connects when a session is first needed.
    pub fn new(node: impl Into<String>, conn: ConnSettings, data: DataDirectory) -> Self {
        Self { node: node.into(), conn, data, session: None }
    }

    /// Returns the node's name.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Returns the data directory.
    pub fn data(&self) -> &DataDirectory {
        &self.data
    }

    /// Returns a session that works: the open one, or a new one.
    ///
    /// # Errors
    /// Those of connecting; [`Kind::Unreachable`] when nothing listens.
    pub fn session(&mut self, deadline: Deadline) -> Result<&mut Session> {
        if self.session.as_ref().is_none_or(|session| session.spent().is_some()) {
            self.session = Some(Session::connect(&self.conn, deadline)?);
        }
        self.session.as_mut().ok_or_else(|| Error::new(Kind::Unreachable, "no session"))
    }

    /// Closes the session, so that the next use connects anew.
    pub fn hang_up(&mut self) {
        self.session = None;
    }

    /// Writes the intent down, durably, before the promotion it is about.
    pub fn write_intent(&self, intent: &Intent) -> Result<()> {
        let text = serde_json::to_vec(intent)
            .map_err(|error| Error::failed("can't write the intent").detail(error))?;
        files::write_atomic_as(&self.intent_path(), &text, INTENT_MODE, Owner::LikeDirectory)
    }

    /// Reads the intent of an earlier run; another node's (it travels with a copied data directory) is not ours.
    pub fn read_intent(&self) -> Result<Option<Intent>> {
        let path = self.intent_path();
        if !path.exists() {
            return Ok(None);
        }
        let text = files::read_limited(&path, INTENT_LIMIT)?;
        match serde_json::from_slice::<Intent>(&text) {
            Ok(intent) if intent.node == self.node => Ok(Some(intent)),
            Ok(_) => Ok(None),
            Err(error) => Err(Error::failed(format!("{} can't be read", path.display()))
                .detail(error)
                .hint(format!("is it damaged? if no promotion is under way: rm {}", path.display()))),
        }
    }

    /// Takes the intent away; absent is fine.
    pub fn clear_intent(&self) -> Result<()> {
        remove(&self.intent_path())
    }

    /// Marks the data directory as needing a check, durably.
    pub fn write_needs_check(&self, mark: &NeedsCheck) -> Result<()> {
        let text = serde_json::to_vec(mark)
            .map_err(|error| Error::failed("can't write the mark \"needs check\"").detail(error))?;
        let path = self.data.path().join(NEEDS_CHECK_FILE);
        files::write_atomic_as(&path, &text, INTENT_MODE, Owner::LikeDirectory)
    }

    /// Reads the mark; another node's (it travels with a copied data directory) is not ours. A mark that can't be
    /// read is still one.
    pub fn read_needs_check(&self) -> Result<Option<NeedsCheck>> {
        needs_check(self.data.path(), &self.node)
    }

    /// Takes the mark away: somebody has decided that the data is the right one. Absent is fine.
    pub fn clear_needs_check(&self) -> Result<()> {
        remove(&self.data.path().join(NEEDS_CHECK_FILE))
    }

    /// Writes down a setting that is about to be changed for the time of a promotion, unless an earlier run has.
    pub fn write_suspended(&self, saved: &Saved) -> Result<()> {
        if self.read_suspended()?.is_some() {
            return Ok(());
        }
        let suspended = Suspended { node: self.node.clone(), saved: saved.clone() };
        let text = serde_json::to_vec(&suspended)
            .map_err(|error| Error::failed("can't write down what is suspended").detail(error))?;
        files::write_atomic_as(&self.suspended_path(), &text, INTENT_MODE, Owner::LikeDirectory)
    }

    /// Reads what a promotion has suspended and not put back; another node's is not ours.
    pub fn read_suspended(&self) -> Result<Option<Saved>> {
        let path = self.suspended_path();
        let Some(text) = files::read_optional(&path, INTENT_LIMIT)? else { return Ok(None) };
        let suspended: Suspended = serde_json::from_slice(&text).map_err(|error| {
            Error::failed(format!("{} can't be read", path.display())).detail(error).hint(
                "it says what restore_command was before a promotion; is restore_command as it should be?",
            )
        })?;
        Ok((suspended.node == self.node).then_some(suspended.saved))
    }

    /// Takes the note of what is suspended away; absent is fine.
    pub fn clear_suspended(&self) -> Result<()> {
        remove(&self.suspended_path())
    }

    fn suspended_path(&self) -> PathBuf {
        self.data.path().join(SUSPENDED_FILE)
    }

    /// Returns where a timeline begins, from its history file; the first one begins at the beginning.
    pub fn start_of(&self, timeline: Timeline) -> Option<Lsn> {
        Some(self.data.history(timeline).ok()??.parent()?.at)
    }

    /// Stops the server for sure; see [`DataDirectory::stop_for_sure`].
    pub fn stop_for_sure(&mut self, fast: Duration, immediate: Duration) -> Result<StopReport> {
        self.hang_up();
        self.data.stop_for_sure(fast, immediate)
    }

    fn intent_path(&self) -> PathBuf {
        self.data.path().join(INTENT_FILE)
    }
}
