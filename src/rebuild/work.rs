//! Carries the steps of a rebuild out. Each may be done again by a later run, whatever ended this one.

use super::conf::{self, ConnInfo};
use super::decision::Data;
use super::journal::{self, Exchange, Journal, Phase};
use super::kept;
use super::place::{self, Place, with_suffix};
use super::service::Start;
use super::source::SourceServer;
use super::step::RebuildStep;
use super::tools::{Ended, Tools};
use super::{verify, wal};
use crate::error::{Error, Kind, Result};
use crate::host::clock::Deadline;
use crate::host::files;
use crate::host::process::{self, Pidfd};
use crate::host::signal::Signal;
use crate::pg::conn::{ConnSettings, Host};
use crate::pg::local::NEEDS_CHECK_FILE;
use crate::pg::promote;
use crate::pg::register;
use crate::pg::server::{DataDirectory, StopMode};
use crate::promotion::rules::{Configuration, Register};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::Sender;
use std::time::Duration;

/// How far a long step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// Bytes done.
    pub done: u64,
    /// Bytes in all, about.
    pub total: u64,
}

/// Where a node's server listens, for a node whose configuration is copied from the primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnPlace {
    /// The port.
    pub port: u16,
    /// The folder of the Unix socket.
    pub folder: PathBuf,
    /// `listen_addresses`, when they were named.
    pub listen: Option<String>,
    /// The node's address, when it is known.
    pub address: Option<std::net::IpAddr>,
}

/// Everything the steps act on.
#[derive(Debug)]
pub struct Work {
    /// The data directory and its neighbours.
    pub place: Place,
    /// The programs.
    pub tools: Tools,
    /// The node's name: what the standby calls itself.
    pub node: String,
    /// The primary.
    pub source: SourceServer,
    /// The slot.
    pub slot: String,
    /// How the local server is reached; its socket is taken from its lock file.
    pub local: ConnSettings,
    /// Where a node without a configuration of its own listens.
    pub own_place: Option<OwnPlace>,
    /// What was here.
    pub data: Option<Data>,
    /// The major version.
    pub major: u32,
    /// The size of a WAL segment.
    pub segment_size: u64,
    /// How the server is started.
    pub start: Start,
    /// The operator's command that stops it.
    pub stop_command: Option<String>,
    /// How far an earlier run got, and what is exchanged.
    pub journal: Journal,
    /// `pg_basebackup --max-rate`.
    pub rate: Option<String>,
    /// The server-side compression of a base backup.
    pub compress: Option<String>,
    /// Where progress is told.
    pub ticks: Option<Sender<Tick>>,
    /// The confirmed term of the primary, with whose acknowledgement counts; `None` when there never was one.
    pub confirmed: Option<Configuration>,
    /// Whether the operator has lifted what a promise binds this node to.
    pub force_promise: bool,
    /// Why a rewind turned out to be impossible.
    pub no_rewind: Option<String>,
}

/// How long a server that is in the way may take to stop, in order and then at once.
const STOP: Duration = Duration::from_secs(10);

/// What came of a step: whether it changed anything, and a fact about it.
pub(super) type Done = Result<(bool, Option<String>)>;

impl Work {
    /// Carries out one step; returns whether it changed anything, and a fact about it.
    pub fn apply(&mut self, step: &RebuildStep, deadline: Deadline) -> Done {
        match step {
            RebuildStep::StopStandby { .. } => {
                let asked = self.start.stop(self.stop_command.as_deref(), deadline);
                // Whatever came of asking: it must not run on.
                let data = self.directory()?;
                let stopped = data.stop(StopMode::Fast, deadline)? || asked.is_ok();
                if data.postmaster()?.is_some() {
                    asked?;
                }
                Ok((stopped, None))
            }
            RebuildStep::MarkUnfit => self.mark_unfit(),
            RebuildStep::SaveLosses { kept, fork } => self.save(kept, *fork, deadline),
            RebuildStep::FetchHistory { .. } => self.fetch_history(deadline),
            RebuildStep::EnsureSlot { slot, .. } => {
                let created =
                    promote::ensure_slots(self.source.session(deadline)?, &[slot.as_str()], deadline)?;
                Ok((!created.is_empty(), None))
            }
            RebuildStep::SourceCheckpoint { .. } => {
                promote::checkpoint(self.source.session(deadline)?, deadline)?;
                Ok((false, None))
            }
            RebuildStep::Recover => self.recover(deadline),
            RebuildStep::CheckRewind { fork } => self.check_rewind(*fork, deadline),
            RebuildStep::Rewind { .. } => self.rewind(deadline),
            RebuildStep::Copy { .. } => self.copy(deadline),
            RebuildStep::Exchange { .. } => self.exchange(),
            RebuildStep::Configure { .. } => self.configure(deadline),
            RebuildStep::Start { .. } => {
                let (data, bin_dir) = (self.directory()?, self.tools.bin_dir.clone());
                Ok((self.start.start(&data, &bin_dir, deadline)?, None))
            }
            RebuildStep::AwaitStreaming { .. } => {
                let data = self.directory()?;
                let said = verify::streaming(&data, &self.local, &mut self.source, &self.node, deadline)?;
                Ok((false, Some(said)))
            }
            RebuildStep::BecomeFit { .. } => self.become_fit(deadline),
            RebuildStep::Finish { drop_old } => {
                if *drop_old {
                    kept::remove_old_data(&self.journal.kept)?;
                }
                // It streams, so it has been looked at: what `pg fence` asked for is done.
                fs::remove_file(self.place.data().join(NEEDS_CHECK_FILE)).ok();
                journal::clear(&self.place)?;
                Ok((*drop_old, None))
            }
        }
    }

    /// Makes sure that nobody has started a server meanwhile: a run that was killed may have left a `pg_ctl` behind
    /// that starts one a moment later.
    pub(super) fn nobody_home(&self) -> Result<()> {
        let processes = self.directory()?.processes()?;
        if processes.is_empty() {
            return Ok(());
        }
        Err(Error::new(Kind::TryAgain, "a server was started here in the meantime")
            .detail(format!("{processes:?}"))
            .hint("run it again: it looks at that server first"))
    }

    pub(super) fn directory(&self) -> Result<DataDirectory> {
        DataDirectory::open(self.place.data())
    }

    pub(super) fn phase(&mut self, phase: Phase) -> Result<()> {
        self.journal.phase = phase;
        journal::write(&self.place, &self.journal)
    }

    fn save(&mut self, folder: &Path, fork: Option<super::decision::Fork>, deadline: Deadline) -> Done {
        let Some(data) = self.data.clone() else { return Ok((false, None)) };
        if self.journal.phase != Phase::Begun {
            return Ok((false, Some("saved by an earlier run".to_owned())));
        }
        self.phase(Phase::Begun)?;
        let what = (fork, self.segment_size);
        let report = kept::save(&self.place, &self.tools, folder, &data, what, deadline)?;
        let said =
            format!("{} transactions, {} segments of WAL", report.transactions.len(), report.segments.len());
        Ok((true, Some(said)))
    }

    /// Writes the history files that aren't here. One of the same name stays: it is of this node's own past, and
    /// `pg_rewind` has to know it.
    fn fetch_history(&mut self, deadline: Deadline) -> Done {
        let (_, source) = self.source.observe(deadline)?;
        let pg_wal = self.place.data().join("pg_wal");
        let mut fetched = Vec::new();
        let timelines = source.history.forks().iter().map(|fork| fork.parent).chain([source.timeline]);
        for timeline in timelines {
            let name = timeline.history_file_name();
            let path = pg_wal.join(&name);
            if path.exists() {
                continue;
            }
            if let Some(bytes) = self.source.history_text(timeline, deadline)? {
                files::write_atomic_as(&path, &bytes, 0o600, self.place.owner_for_root())?;
                fetched.push(name);
            }
        }
        Ok((!fetched.is_empty(), Some(fetched.join(", ")).filter(|names| !names.is_empty())))
    }

    pub(super) fn run_with_ticks(&self, command: Command, deadline: Deadline) -> Result<Ended> {
        self.tools.run(command, deadline, &mut |line, _| {
            if let (Some((done, total)), Some(ticks)) = (wal::progress(line), &self.ticks) {
                // Nobody has to watch.
                ticks.send(Tick { done, total }).unwrap_or_default();
            }
        })
    }

    /// Copies the primary into the new folders and makes them ready.
    fn copy(&mut self, deadline: Deadline) -> Done {
        // The phase stays what it was: a folder that was spoiled by a rewind is still spoiled.
        let phase = self.journal.phase;
        // A new node has promised nothing yet; it can't vote before it has the data either.
        self.journal.register.get_or_insert_with(|| Register { unfit: true, ..Register::default() });
        self.phase(phase)?;
        let exchanges = self.journal.exchanges.clone();
        let Some((main, others)) = exchanges.split_first() else {
            return Err(Error::failed("there is nothing to exchange"));
        };
        end_leftovers(&main.new, deadline)?;
        for one in &exchanges {
            place::remove(&one.new)?;
            self.place.make(&one.new)?;
        }
        let mut info = self.source.conninfo(self.major);
        info.set("application_name", "pgbaton/copy");
        info.set("options", "-c statement_timeout=0");
        let mut command = self.tools.command("pg_basebackup");
        command.arg("--pgdata").arg(&main.new).arg("--dbname").arg(info.to_string());
        command.args(["--checkpoint=fast", "--wal-method=stream", "--write-recovery-conf", "--progress"]);
        command.args(["--no-password", "--label=pgbaton rebuild-standby"]);
        if let Some(rate) = &self.rate {
            command.arg("--max-rate").arg(rate);
        }
        if let Some(method) = &self.compress {
            command.arg(format!("--compress=server-{method}"));
        }
        let (_, source) = self.source.observe(deadline)?;
        for one in others {
            let Some(link) = &one.link else { continue };
            if link == Path::new("pg_wal") {
                command.arg("--waldir").arg(&one.new);
                continue;
            }
            let oid = link.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
            let from = source.tablespaces.iter().find(|tablespace| Some(tablespace.oid) == oid);
            if let Some(from) = from {
                let escaped = |path: &str| path.replace('=', r"\=");
                let to = escaped(&one.new.to_string_lossy());
                command.arg(format!("--tablespace-mapping={}={to}", escaped(&from.path)));
            }
        }
        let ended = self.run_with_ticks(command, deadline)?;
        if !ended.success {
            return Err(Error::failed("the base backup failed").detail(&ended.said).hint(
                "the role needs REPLICATION, a line for \"replication\" in pg_hba.conf of the primary, and a free wal sender",
            ));
        }
        // The links lead to where the folders will be.
        for one in others {
            if let Some(link) = &one.link {
                place::relink(&main.new.join(link), &one.place, &self.place)?;
            }
        }
        place::remove_socket_locks(&main.new)?;
        kept::restore_configuration(&self.place, &self.journal.kept, &main.new)?;
        self.write_settings(&main.new, deadline)?;
        let signal = main.new.join("standby.signal");
        files::write_atomic_as(&signal, b"", 0o600, self.place.owner_for_root())?;
        self.phase(Phase::Copied)?;
        Ok((true, None))
    }

    /// Puts the new folders in the place of the old ones. While it is under way there is no data directory, so that
    /// nothing can start one half of it.
    fn exchange(&mut self) -> Done {
        let exchanges = self.journal.exchanges.clone();
        let Some((main, others)) = exchanges.split_first() else {
            return Err(Error::failed("there is nothing to exchange"));
        };
        let mut changed = false;
        if main.new.exists() && main.place.exists() {
            if self.place.is_empty()? {
                fs::remove_dir(&main.place).map_err(|error| moving(&main.place, &error))?;
            } else {
                self.nobody_home()?;
                self.place.make(&self.journal.kept)?;
                kept::note_moved(&self.place, &self.journal.kept, &exchanges)?;
                rename(&main.place, &main.old)?;
                self.unbar(&main.old)?;
            }
        }
        if main.new.exists() && main.old.join("PG_VERSION").exists() {
            // One that came up between the look and the move; none can come up where there is no folder.
            let old = DataDirectory::open(&main.old)?;
            old.stop_for_sure(STOP, STOP)?;
            // A dead one that process 1 hasn't collected would keep the new one from its socket.
            old.clear_zombie_s_locks(Deadline::after(STOP))?;
        }
        for one in others.iter().filter(|one| one.new.exists()) {
            if one.place.exists() && fs::remove_dir(&one.place).is_err() {
                rename(&one.place, &one.old)?;
            }
            rename(&one.new, &one.place)?;
            changed = true;
        }
        for one in others {
            // The kept data leads to its own folders, so that it could be started again.
            if let Some(link) = &one.link
                && one.old.exists()
                && fs::symlink_metadata(main.old.join(link)).is_ok()
            {
                place::relink(&main.old.join(link), &one.old, &self.place)?;
            }
        }
        if main.new.exists() {
            rename(&main.new, &main.place)?;
            changed = true;
        }
        Ok((changed, None))
    }

    fn configure(&mut self, deadline: Deadline) -> Done {
        let data = self.place.data().to_owned();
        if self.journal.phase != Phase::Begun {
            kept::restore_configuration(&self.place, &self.journal.kept, &data)?;
        }
        let changed = self.write_settings(&data, deadline)?;
        fs::remove_file(data.join("recovery.signal")).ok();
        let signal = self.directory()?.write_standby_signal()?;
        self.unbar(&data)?;
        Ok((changed || signal, None))
    }

    /// Returns the `synchronous_standby_names` to write: the node's own. Those that came with a copy would count
    /// whom the primary counts.
    fn names_here(&self, text: &str, data: &Path) -> Result<Option<String>> {
        if self.journal.phase == Phase::Begun && self.data.is_some() {
            return Ok(None);
        }
        let own = self.journal.names.clone();
        let bytes = files::read_optional(&data.join("postgresql.conf"), 16 << 20)?.unwrap_or_default();
        let in_file = conf::setting(&String::from_utf8_lossy(&bytes), conf::SYNC_NAMES);
        let came = |value: Option<String>| value.is_some_and(|value| !value.is_empty());
        let came_alone = self.data.is_none() && !self.journal.kept.join("conf").exists();
        let needed = came_alone && (came(conf::setting(text, conf::SYNC_NAMES)) || came(in_file));
        Ok(own.or_else(|| needed.then(String::new)))
    }

    /// Writes where to stream from; returns whether that was new.
    fn write_settings(&mut self, data: &Path, _deadline: Deadline) -> Result<bool> {
        let path = data.join(conf::AUTO_CONF);
        let read = |path: &Path| -> Result<String> {
            let bytes = files::read_optional(path, 16 << 20)?.unwrap_or_default();
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let text = read(&path)?;
        let from = |text: &str| {
            let own = conf::setting(text, "primary_conninfo").filter(|info| !info.is_empty())?;
            ConnInfo::parse(&own)
        };
        let in_file = || -> Option<ConnInfo> {
            let file =
                self.start.config_file().map_or_else(|| data.join("postgresql.conf"), Path::to_path_buf);
            from(&read(&file).ok()?)
        };
        let mut info = from(&text).or_else(in_file).unwrap_or_default();
        self.source.point(&mut info, self.major);
        info.set("application_name", &self.node);
        // What pg_basebackup and pg_rewind leave behind was meant for them.
        for name in ["options", "dbname", "fallback_application_name", "replication"] {
            info.remove(name);
        }
        let has_own_file = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(self.place.uid()))
            .ok()
            .flatten()
            .is_some_and(|user| user.dir.join(".pgpass").exists());
        if let Some(password) = &self.tools.password
            && info.get("password").is_none()
            && info.get("passfile").is_none()
            && !has_own_file
        {
            info.set("password", password.reveal());
        }
        let mut settings =
            vec![("primary_conninfo", info.to_string()), ("primary_slot_name", self.slot.clone())];
        if let (Some(place), true) = (&self.own_place, self.data.is_none()) {
            settings.push(("port", place.port.to_string()));
            settings.push(("unix_socket_directories", place.folder.display().to_string()));
            let conf = read(&data.join("postgresql.conf"))?;
            settings.extend(self.listening(place, &text, &conf).map(|list| ("listen_addresses", list)));
        }
        if let Some(names) = self.names_here(&text, data)? {
            settings.push((conf::SYNC_NAMES, names));
        }
        let vote = self.joined_register()?;
        let vote = register::to_text(&vote);
        if vote.is_some() || conf::setting(&text, register::SETTING).is_some() {
            settings.push((register::SETTING, vote.unwrap_or_default()));
        }
        let new = conf::with_settings(&text, &settings);
        if new == text {
            return Ok(false);
        }
        files::write_atomic_as(&path, new.as_bytes(), 0o600, self.place.owner_for_root())?;
        Ok(true)
    }
}

impl Work {
    /// Returns the `listen_addresses` that a copied configuration must not keep: the primary's address can't be bound
    /// here, and the server wouldn't start.
    fn listening(&self, place: &OwnPlace, auto: &str, conf: &str) -> Option<String> {
        if place.listen.is_some() {
            return place.listen.clone();
        }
        let Host::Tcp(theirs, _) = &self.source.conn.host else { return None };
        let listed =
            conf::setting(auto, "listen_addresses").or_else(|| conf::setting(conf, "listen_addresses"));
        conf::listening_here(&listed?, &theirs.to_string(), &place.address?.to_string())
    }
}

/// Returns what a base backup exchanges: the data directory, a WAL folder elsewhere, the tablespaces.
pub fn exchanges(place: &Place, kept: &Path, source: &super::decision::Source) -> Vec<Exchange> {
    let stamp = kept.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stamp = stamp.rsplit_once(".kept-").map_or_else(String::new, |(_, stamp)| stamp.to_owned());
    let elsewhere = |path: PathBuf, link: PathBuf| Exchange {
        new: with_suffix(&path, ".new"),
        old: with_suffix(&path, &format!(".kept-{stamp}")),
        link: Some(link),
        place: path,
    };
    let data = place.data();
    let mut found = vec![Exchange {
        place: data.to_owned(),
        new: place.beside(".new"),
        old: kept.join("data"),
        link: None,
    }];
    found.extend(place::wal_elsewhere(data).map(|wal| elsewhere(wal, "pg_wal".into())));
    let own = place::tablespaces(data);
    for tablespace in &source.tablespaces {
        let here = own.iter().find(|own| own.oid == tablespace.oid);
        let path = here.map_or(&tablespace.path, |own| &own.path);
        found.push(elsewhere(path.into(), Path::new("pg_tblspc").join(tablespace.oid.to_string())));
    }
    found
}

/// Returns why a place that isn't this data directory's own can't be used for a copy.
pub fn in_the_way(place: &Place, exchanges: &[Exchange]) -> Option<Error> {
    exchanges.iter().skip(1).find_map(|one| {
        let link = place.data().join(one.link.as_ref()?);
        let own = fs::read_link(link).is_ok_and(|to| to == one.place);
        let used = fs::read_dir(&one.place).is_ok_and(|mut entries| entries.next().is_some());
        (used && !own).then(|| {
            Error::new(Kind::Refused, format!("{} is in the way of a tablespace", one.place.display()))
                .hint("is it in use by another server? move it away, or empty it")
        })
    })
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|error| moving(from, &error).detail(to.display()))?;
    for folder in [files::directory_of(from), files::directory_of(to)] {
        files::sync_directory(&folder).map_err(|error| moving(from, &error))?;
    }
    Ok(())
}

fn moving(path: &Path, error: &io::Error) -> Error {
    files::os_error(error, format!("can't move {}", path.display()))
}

pub(super) fn last_line(text: &str) -> String {
    let errors = text.lines().rev().find(|line| line.contains("error:") || line.contains("FATAL:"));
    errors.or_else(|| text.lines().last()).unwrap_or_default().trim().to_owned()
}

/// Ends the `pg_basebackup` of a killed run: its child would go on writing into the folder that is filled anew.
fn end_leftovers(folder: &Path, deadline: Deadline) -> Result<()> {
    for pid in process::find_by_argument("pg_basebackup", folder)? {
        if let Some(handle) = Pidfd::open(pid)? {
            handle.signal(Signal::SIGKILL)?;
            if !handle.wait(deadline)? {
                return Err(Error::failed("a pg_basebackup of an earlier run doesn't end")
                    .detail(format!("process {pid}")));
            }
        }
    }
    Ok(())
}
