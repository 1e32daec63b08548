//! The steps of a rebuild that touch the node's vote: unfit before the data goes, fit when all of it is back.

use super::conf;
use super::journal::{self, Phase};
use super::place::BARRED;
use super::work::{Done, Work};
use super::{observe, register as vote};
use crate::error::{Error, Kind, Result};
use crate::host::clock::Deadline;
use crate::host::files;
use crate::pg::conn::{ConnError, Session};
use crate::pg::facts;
use crate::pg::lsn::Lsn;
use crate::pg::{register, setting};
use crate::promotion::rules::Register;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

/// The most octets of a configuration file.
const LARGEST: u64 = 16 << 20;
const POLL: Duration = Duration::from_millis(20);
/// How long one look at the standby may take.
const LOOK: Duration = Duration::from_secs(5);

impl Work {
    /// Returns the node's own register, from the journal and from the file as it is now.
    pub(super) fn own_register(&self) -> Result<Register> {
        let file = vote::in_file(&auto_conf(self.place.data())?)?;
        Ok(vote::own(self.journal.register.as_ref(), &file, self.journal.phase == Phase::Begun))
    }

    /// Marks the node unfit, in the journal and in its configuration; its server is stopped.
    pub(super) fn mark_unfit(&mut self) -> Done {
        let own = self.own_register()?;
        // Looked at again: until a moment ago it ran, and may have promised.
        if let Some(error) = vote::bound(&own, self.confirmed.as_ref(), &self.source.name)
            && !self.force_promise
        {
            return Err(error);
        }
        let unfit = Register { unfit: true, ..own };
        let was = self.journal.register.replace(unfit.clone());
        let names = conf::setting(&auto_conf(self.place.data())?, conf::SYNC_NAMES);
        if self.journal.phase == Phase::Begun {
            self.journal.mode = fs::metadata(self.place.data()).ok().map(|meta| meta.mode() & 0o7777);
        }
        if self.journal.phase == Phase::Begun && names.is_some() {
            self.journal.names = names;
        }
        journal::write(&self.place, &self.journal)?;
        let written = self.write_register(self.place.data(), &unfit)?;
        Ok((written || was.as_ref() != Some(&unfit), None))
    }

    fn write_register(&self, data: &Path, register: &Register) -> Result<bool> {
        let text = auto_conf(data)?;
        let new = conf::with_settings(
            &text,
            &[(register::SETTING, register::to_text(register).unwrap_or_default())],
        );
        if new == text {
            return Ok(false);
        }
        let path = data.join(conf::AUTO_CONF);
        files::write_atomic_as(&path, new.as_bytes(), 0o600, self.place.owner_for_root())?;
        Ok(true)
    }

    /// Returns what the node's configuration says about its vote from now on.
    pub(super) fn joined_register(&self) -> Result<Register> {
        let replaced = self.journal.register.as_ref().is_some_and(|own| own.unfit);
        let own = match (&self.journal.register, self.journal.phase) {
            (Some(own), phase) if phase != Phase::Begun => own.clone(),
            _ => self.own_register()?,
        };
        Ok(vote::joined(&own, self.confirmed.as_ref(), replaced))
    }

    /// Makes a start of the server impossible until [`Work::unbar`]: half of the data is another's.
    pub(super) fn bar(&self) -> Result<()> {
        set_mode(self.place.data(), BARRED)
    }

    /// Makes a start possible again.
    pub(super) fn unbar(&self, data: &Path) -> Result<()> {
        if !fs::metadata(data).is_ok_and(|meta| meta.mode() & 0o7777 == BARRED) {
            return Ok(());
        }
        set_mode(data, self.journal.mode.filter(|mode| mode & 0o027 == 0).unwrap_or(0o700))
    }

    /// Waits until the standby has on its disk all that the primary had when it attached, then lets it vote again.
    pub(super) fn become_fit(&mut self, deadline: Deadline) -> Done {
        // It streams already: whatever the primary has now, it had no less when this standby attached.
        let goal = self.source.end(deadline)?;
        let data = self.directory()?;
        let mut session = loop {
            let Some(postmaster) = data.postmaster()? else {
                return Err(
                    Error::failed("the server ended before it had caught up").detail(data.path().display())
                );
            };
            let conn = observe::local_conn(&self.local, &postmaster);
            let until = deadline.within(LOOK);
            let looked = Session::connect(&conn, until)
                .and_then(|mut session| Ok((facts::observe(&mut session, until)?, session)));
            let seen = match looked {
                Ok((facts, session)) => {
                    let streams = facts.receiver.is_some() && facts.in_recovery;
                    // A receiver counts from where its segment begins until something new comes, which on an idle
                    // primary is never; what is replayed was on the disk before.
                    let flushed = facts.standby.and_then(|standby| standby.end()).unwrap_or(Lsn::ZERO);
                    if streams && flushed >= goal {
                        break session;
                    }
                    format!("it has {flushed} on its disk, {goal} is needed")
                }
                Err(error) => error.to_string(),
            };
            if deadline.passed() {
                return Err(Error::new(Kind::TryAgain, "the standby streams but hasn't caught up yet")
                    .detail(seen)
                    .hint("run it again: it goes on waiting"));
            }
            super::tools::pause(POLL);
        };
        // A primary that lost its term meanwhile is no measure.
        let facts = self.source.facts(deadline)?;
        if facts.in_recovery {
            let why = format!("{} isn't a primary any more", self.source.name);
            return Err(Error::new(Kind::TryAgain, why).hint("pgbaton cluster status"));
        }
        if !self.force_promise {
            self.source.confirmed(&facts, deadline)?;
        }
        let changed = update(&mut session, deadline, |own| Register { unfit: false, ..own.clone() })?;
        Ok((changed, Some(format!("it has all up to {goal}"))))
    }
}

/// Reads the register on a running server, changes it and writes it, as one step among all that do so.
pub fn update(
    session: &mut Session,
    deadline: Deadline,
    change: impl FnOnce(&Register) -> Register,
) -> Result<bool> {
    session.query(format!("SELECT pg_advisory_lock({})", register::LOCK), deadline)?;
    let result = locked(session, deadline, change);
    // The lock ends with the session in any case.
    session.query(format!("SELECT pg_advisory_unlock({})", register::LOCK), deadline).ok();
    result
}

fn locked(
    session: &mut Session,
    deadline: Deadline,
    change: impl FnOnce(&Register) -> Register,
) -> Result<bool> {
    // The file, not what is in force: a reload may be on its way.
    let saved = setting::look(session, register::SETTING, deadline).map_err(rights)?;
    let own = register::parse(saved.value.as_deref().unwrap_or_default())
        .map_err(|error| Error::refused("can't read the register of this node's vote").detail(error))?;
    let new = change(&own);
    if new == own {
        return Ok(false);
    }
    for statement in register::write(&new) {
        session.query(statement, deadline).map_err(rights)?;
    }
    Ok(true)
}

fn rights(error: ConnError) -> Error {
    let denied = error.sqlstate() == Some("42501");
    let error = Error::from(error);
    if denied {
        let parameter = register::SETTING;
        error.hint(format!(
            "GRANT SET, ALTER SYSTEM ON PARAMETER {parameter} TO the role (15 and newer), EXECUTE on pg_reload_conf() and pg_show_all_file_settings(); or connect as a superuser"
        ))
    } else {
        error
    }
}

fn auto_conf(data: &Path) -> Result<String> {
    let bytes = files::read_optional(&data.join(conf::AUTO_CONF), LARGEST)?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn set_mode(data: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(data, fs::Permissions::from_mode(mode))
        .and_then(|()| files::sync_directory(data))
        .map_err(|error| files::os_error(&error, format!("can't change the mode of {}", data.display())))
}
