//! The local server: its data folder, its processes, its start and its sure end.
//!
//! An edge: files, signals and processes. A server is stopped by signals to its postmaster, held by a pidfd, so that no
//! child process stands between the decision and the end. A postmaster that was killed leaves backends that go on
//! acknowledging commits: so the server counts as stopped only when no process of it is left in the data folder.

use super::history::History;
use super::lsn::{SystemId, Timeline};
use crate::error::{Error, Kind, Result};
use crate::host::clock::{Deadline, now, pause};
use crate::host::files::{Owner, read_limited, read_optional, sync_directory, write_atomic_as};
use crate::host::process::{Pidfd, find_by_cwd, run_spawn};
use crate::host::spawn::Spawn;
use crate::host::user;
use nix::sys::signal::Signal;
use std::fs;
use std::io::{self, Read as _, Seek as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// A data folder that was looked at and found to be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDirectory {
    path: PathBuf,
    major: u32,
    uid: u32,
}

/// A running postmaster, as its lock file describes it (`postmaster.pid`).
#[derive(Debug)]
pub struct Postmaster {
    /// Its process id.
    pub pid: u32,
    /// When it was started: seconds since 1970 by the wall clock of that time.
    pub started_at: u64,
    /// The port.
    pub port: u16,
    /// The first folder it keeps a Unix socket in; `None` when it has none.
    pub socket_dir: Option<PathBuf>,
    /// How far its start or stop has got.
    pub status: PostmasterStatus,
    handle: Pidfd,
}

/// The last line of `postmaster.pid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostmasterStatus {
    /// Starting, or replaying and not open yet.
    Starting,
    /// Open for connections.
    Ready,
    /// A standby that isn't open for queries (`hot_standby = off`).
    Standby,
    /// Stopping.
    Stopping,
    /// Not written yet.
    Unknown,
}

/// How a server is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// Sessions are ended, a shutdown checkpoint is written and sent to the standbys (SIGINT).
    Fast,
    /// No checkpoint; the next start replays (SIGQUIT).
    Immediate,
    /// SIGKILL, to every process.
    Kill,
}

/// How a server came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// There was no process of it.
    NotRunning,
    /// By a fast stop.
    Fast,
    /// By an immediate stop.
    Immediate,
    /// By SIGKILL.
    Killed,
}

/// What a sure stop came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopReport {
    /// What it took.
    pub how: Stopped,
    /// From the call until no process was left.
    pub took: Duration,
    /// How many processes had to be killed.
    pub killed: u32,
}

impl StopReport {
    /// Returns whether there was anything to stop.
    pub fn changed(&self) -> bool {
        self.how != Stopped::NotRunning
    }
}

/// What a start takes.
#[derive(Debug, Clone)]
pub struct StartOptions {
    /// The folder of the server's programs.
    pub bin_dir: PathBuf,
    /// Whether to write `standby.signal` first. Without it, the server starts as the data folder says.
    pub as_standby: bool,
    /// The file its output goes to until its own logging begins. Its folder must let the server's user write.
    pub log: PathBuf,
    /// The configuration file, where it isn't in the data folder (as on Debian).
    pub config_file: Option<PathBuf>,
}

/// What a start came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    /// False when it ran already.
    pub changed: bool,
    /// From the call until the server said it was ready.
    pub took: Duration,
}

/// SIGKILL ends a process at once, unless it hangs in the kernel, on a dead disk for example.
const KILL_WITHIN: Duration = Duration::from_secs(10);
/// The logging process ends by itself when nothing writes to it any more; it holds no data.
const LOGGER_GRACE: Duration = Duration::from_secs(3);
/// Process 1 collects its dead within milliseconds, if it does it at all.
const ZOMBIE_GRACE: Duration = Duration::from_secs(1);
const PID_FILE_MAX: u64 = 64 * 1024;
/// The oldest major version that is supported: the first that can be re-pointed without a restart.
const OLDEST: u32 = 13;

/// The mode of a data directory on which a rebuild is at work: PostgreSQL refuses to start on it.
pub const BARRED: u32 = 0o720;

/// How often a start is looked at; `postmaster.pid` tells, and looking is a read of a few lines.
const START_POLL: Duration = Duration::from_millis(2);

/// What to do when the configured folder isn't one.
const WHICH_DIRECTORY: &str = "psql -c 'SHOW data_directory' on a running server tells which it is";

impl DataDirectory {
    /// Opens a data folder: it must be there, hold a cluster, and belong to us (or we are root).
    pub fn open(path: &Path) -> Result<Self> {
        let shown = path.display();
        let meta = fs::metadata(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                Error::config(format!("there is no data directory \"{shown}\"")).hint(WHICH_DIRECTORY)
            }
            io::ErrorKind::PermissionDenied => {
                Error::new(Kind::Permission, format!("can't look at the data directory \"{shown}\""))
                    .detail(error)
                    .hint("run this as its owner (usually postgres) or root")
            }
            _ => Error::failed(format!("can't look at the data directory \"{shown}\"")).detail(error),
        })?;
        if !meta.is_dir() {
            return Err(Error::config(format!("\"{shown}\" isn't a directory")).hint(WHICH_DIRECTORY));
        }
        let me = nix::unistd::geteuid();
        if !me.is_root() && meta.uid() != me.as_raw() {
            let owner = name_of(meta.uid());
            return Err(Error::new(Kind::Permission, format!("the data directory \"{shown}\" is {owner}'s"))
                .hint(format!("run this as {owner} or root")));
        }
        if meta.mode() & 0o027 != 0 && meta.mode() & 0o7777 != BARRED {
            return Err(Error::config(format!(
                "the permissions of the data directory \"{shown}\" are too wide"
            ))
            .detail(format!("{:04o}", meta.mode() & 0o7777))
            .hint(format!("chmod 0700 {shown}")));
        }
        let version = read_optional(&path.join("PG_VERSION"), 64)?.ok_or_else(|| {
            Error::config(format!("\"{shown}\" isn't a data directory: no PG_VERSION")).hint(WHICH_DIRECTORY)
        })?;
        let version = String::from_utf8_lossy(&version);
        let major =
            version.trim().split('.').next().and_then(|major| major.parse().ok()).ok_or_else(|| {
                Error::config(format!("PG_VERSION of \"{shown}\" holds no version")).detail(version.trim())
            })?;
        if major < OLDEST {
            return Err(Error::config(format!("PostgreSQL {} isn't supported", version.trim()))
                .detail(if major < 12 {
                    "its standbys are configured by recovery.conf, which pgbaton doesn't write"
                } else {
                    "a change of its primary_conninfo takes a restart"
                })
                .hint(format!("pg_upgrade to {OLDEST} or newer")));
        }
        // The same folder by every name, as the processes' working directories show it.
        let path = fs::canonicalize(path)
            .map_err(|error| Error::failed(format!("can't resolve \"{shown}\"")).detail(error))?;
        Ok(Self { path, major, uid: meta.uid() })
    }

    /// Returns the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the major version of the cluster, 15 for example.
    pub const fn version(&self) -> u32 {
        self.major
    }

    /// Returns the user the cluster belongs to.
    pub const fn owner(&self) -> u32 {
        self.uid
    }

    /// Returns the cluster's system identifier: the first eight octets of the control file, in every version.
    pub fn system_id(&self) -> Result<SystemId> {
        let path = self.path.join("global/pg_control");
        let bytes = read_limited(&path, 64 * 1024)?;
        let first: Option<[u8; 8]> = bytes.first_chunk().copied();
        let id = first.map(u64::from_ne_bytes).filter(|id| *id != 0);
        id.map(SystemId).ok_or_else(|| {
            Error::failed("the control file holds no system identifier").detail(path.display())
        })
    }

    /// Returns the postmaster that runs on this folder, verified: the process of the lock file exists, is a server and
    /// works in this folder. The lock file alone may be from before a crash, its number somebody else's by now.
    pub fn postmaster(&self) -> Result<Option<Postmaster>> {
        let Some(text) = read_optional(&self.path.join("postmaster.pid"), PID_FILE_MAX)? else {
            return Ok(None);
        };
        let Some(file) = PidFile::parse(&String::from_utf8_lossy(&text)) else { return Ok(None) };
        let Some(handle) = Pidfd::open(file.pid)? else { return Ok(None) };
        // In this order: what the number meant when the handle was opened is what is looked at.
        if !self.is_home_of(file.pid) || !is_server(file.pid) || handle.has_ended()? {
            return Ok(None);
        }
        let PidFile { pid, started_at, port, socket_dir, status } = file;
        Ok(Some(Postmaster { pid, started_at, port, socket_dir, status, handle }))
    }

    /// Returns the server's processes that live in this folder without a postmaster.
    pub fn orphans(&self) -> Result<Vec<u32>> {
        if self.postmaster()?.is_some() { Ok(Vec::new()) } else { self.processes() }
    }

    /// Returns every process of the server.
    pub fn processes(&self) -> Result<Vec<u32>> {
        // A shell whose working directory this is stays alive, and so does a verb started from here.
        Ok(find_by_cwd(&self.path)?.into_iter().filter(|pid| is_server(*pid)).collect())
    }

    /// Returns whether the folder says that the server starts as a standby.
    pub fn has_standby_signal(&self) -> bool {
        self.path.join("standby.signal").exists()
    }

    /// Makes the server start as a standby from now on, so that it can't come up writable by itself. Returns whether
    /// that was new.
    pub fn write_standby_signal(&self) -> Result<bool> {
        if self.has_standby_signal() {
            return Ok(false);
        }
        write_atomic_as(&self.path.join("standby.signal"), b"", 0o600, Owner::LikeDirectory)?;
        Ok(true)
    }

    /// Takes `standby.signal` away; returns whether it was there.
    pub fn remove_standby_signal(&self) -> Result<bool> {
        let failed = |error| Error::failed("can't remove standby.signal").detail(error);
        match fs::remove_file(self.path.join("standby.signal")) {
            Ok(()) => sync_directory(&self.path).map(|()| true).map_err(failed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    /// Returns the history of a timeline from `pg_wal`; `None` when its file isn't there.
    pub fn history(&self, timeline: Timeline) -> Result<Option<History>> {
        let path = self.path.join("pg_wal").join(timeline.history_file_name());
        let Some(bytes) = read_optional(&path, 1024 * 1024)? else { return Ok(None) };
        History::parse(timeline, &String::from_utf8_lossy(&bytes))
            .map(Some)
            .map_err(|error| Error::failed(error.to_string()).detail(path.display()))
    }

    /// Starts the server and waits until it is open (or, with `hot_standby = off`, until it replays).
    ///
    /// It is started by `pg_ctl` (which makes it a session leader), as the folder's owner: nothing that ends us ends it. When
    /// the deadline passes the error is [`Kind::TryAgain`] and the server may still come up.
    pub fn start(&self, options: &StartOptions, deadline: Deadline) -> Result<Started> {
        let begin = now();
        if self.postmaster()?.is_some_and(|postmaster| postmaster.is_open()) {
            return Ok(Started { changed: false, took: Duration::ZERO });
        }
        let orphans = self.orphans()?;
        if !orphans.is_empty() {
            return Err(Error::refused("processes of the former server are still alive")
                .detail(format!("{orphans:?}"))
                .hint("pgbaton pg fence"));
        }
        self.clear_zombie_s_locks(deadline)?;
        if options.as_standby {
            self.write_standby_signal()?;
        }
        let logged = fs::metadata(&options.log).map_or(0, |meta| meta.len());
        let spawn = self.pg_ctl_start(options, deadline)?;
        let (done, ended) = channel();
        std::thread::Builder::new()
            .name("pg_ctl".to_owned())
            .spawn(move || done.send(run_spawn(spawn, deadline)).unwrap_or_default())
            .map_err(|error| Error::failed("can't start a thread").detail(error))?;
        let mut output = None;
        loop {
            // pg_ctl looks ten times a second: the lock file says it sooner, pg_ctl's end says what went wrong.
            let result = match output.take() {
                Some(output) => {
                    pause(START_POLL);
                    Ok(Ok(output))
                }
                None => ended.recv_timeout(START_POLL),
            };
            let postmaster = self.postmaster()?;
            if postmaster.as_ref().is_some_and(Postmaster::is_open) {
                return Ok(Started { changed: true, took: now().since(begin) });
            }
            let late = || {
                Error::new(Kind::TryAgain, "the server isn't open yet; it may still come up")
                    .hint(format!("tail {}", options.log.display()))
            };
            let said = match result {
                Err(RecvTimeoutError::Timeout) if deadline.passed() => return Err(late()),
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return Err(Error::failed("pg_ctl's thread ended")),
                Ok(Err(error)) if postmaster.is_none() => return Err(error),
                Ok(Err(_)) => return Err(late()),
                Ok(Ok(output)) => output,
            };
            if postmaster.is_some() {
                if deadline.passed() {
                    return Err(late());
                }
                // Somebody else's start, perhaps that of a run that was killed, came first: it is as good.
                output = Some(said);
                continue;
            }
            let log = log_since(&options.log, logged);
            return Err(Error::failed("the server doesn't start")
                .detail(if log.is_empty() { said.complaint() } else { log })
                .hint(format!("tail {}", options.log.display())));
        }
    }

    /// Asks the server to stop and waits for its end; returns false when it didn't run.
    pub fn stop(&self, mode: StopMode, deadline: Deadline) -> Result<bool> {
        if mode == StopMode::Kill {
            return self.kill(deadline).map(|killed| killed > 0);
        }
        let Some(postmaster) = self.postmaster()? else { return Ok(false) };
        postmaster.handle.signal(mode.signal())?;
        if postmaster.handle.wait(deadline)? {
            return Ok(true);
        }
        Err(Error::new(Kind::TryAgain, "the server hasn't stopped in time")
            .detail(format!("process {}", postmaster.pid))
            .hint("pgbaton pg fence"))
    }

    /// Stops the server, whatever it takes: fast, then immediate, then SIGKILL. When this returns, no process of the
    /// server is left that could acknowledge anything; an error means that this isn't known.
    pub fn stop_for_sure(&self, fast_within: Duration, immediate_within: Duration) -> Result<StopReport> {
        let begin = now();
        let mut how = Stopped::NotRunning;
        let mut ended = false;
        for (mode, within, name) in [
            (StopMode::Fast, fast_within, Stopped::Fast),
            (StopMode::Immediate, immediate_within, Stopped::Immediate),
        ] {
            let Some(postmaster) = self.postmaster()? else {
                ended = true;
                break;
            };
            postmaster.handle.signal(mode.signal())?;
            how = name;
            ended = postmaster.handle.wait(Deadline::after(within))?;
            if ended {
                break;
            }
        }
        let killed = self.kill(Deadline::after(KILL_WITHIN))?;
        if !ended || (how == Stopped::NotRunning && killed > 0) {
            how = Stopped::Killed;
        }
        Ok(StopReport { how, took: now().since(begin), killed })
    }

    /// Kills every process of the server, the postmaster first so that it can't start new ones; returns how many.
    fn kill(&self, deadline: Deadline) -> Result<u32> {
        let mut killed = 0;
        let grace = deadline.within(LOGGER_GRACE);
        loop {
            if let Some(postmaster) = self.postmaster()? {
                killed += u32::from(end(&postmaster.handle, deadline)?);
            }
            let (loggers, others): (Vec<u32>, Vec<u32>) =
                self.processes()?.into_iter().partition(|pid| is_logger(*pid));
            for pid in &others {
                if let Some(handle) = self.held(*pid)? {
                    killed += u32::from(end(&handle, deadline)?);
                }
            }
            if !others.is_empty() {
                if deadline.passed() {
                    return Err(Error::failed("processes of the server keep coming back")
                        .detail(format!("{others:?}"))
                        .hint("does a service manager restart it? stop its unit first"));
                }
                // One of them may have just had a child.
                continue;
            }
            let Some(pid) = loggers.first() else { return Ok(killed) };
            if let Some(handle) = self.held(*pid)?
                && !handle.wait(grace)?
            {
                end(&handle, deadline)?;
            }
        }
    }

    /// Sees to it that the lock files of a dead postmaster don't keep the server from starting.
    ///
    /// The server asks only whether the number in them is in use, and a dead process keeps its number until its parent
    /// has collected it. Where process 1 of a container doesn't do that in time, the files have to go.
    pub(crate) fn clear_zombie_s_locks(&self, deadline: Deadline) -> Result<()> {
        let deadline = deadline.within(ZOMBIE_GRACE);
        let own = self.path.join("postmaster.pid");
        let (_nobody, silence) = channel::<()>();
        let file = loop {
            let Some(text) = read_optional(&own, PID_FILE_MAX)? else { return Ok(()) };
            let file = PidFile::parse(&String::from_utf8_lossy(&text));
            let Some(file) = file.filter(|file| is_zombie(file.pid)) else { return Ok(()) };
            if deadline.passed() {
                break file;
            }
            silence.recv_timeout(START_POLL).unwrap_or_default();
        };
        // Dead for certain, and no other process of the server was found: the files protect nothing.
        let socket = file.socket_dir.map(|dir| dir.join(format!(".s.PGSQL.{}.lock", file.port)));
        for path in socket.into_iter().chain([own]) {
            let text = read_optional(&path, PID_FILE_MAX)?.unwrap_or_default();
            let holder = PidFile::parse(&String::from_utf8_lossy(&text));
            if holder.is_some_and(|holder| holder.pid == file.pid) {
                fs::remove_file(&path).map_err(|error| {
                    Error::failed(format!("can't remove a dead server's \"{}\"", path.display()))
                        .detail(error)
                })?;
            }
        }
        Ok(())
    }

    /// Opens a process and makes sure that it is still one of this server's.
    fn held(&self, pid: u32) -> Result<Option<Pidfd>> {
        Ok(Pidfd::open(pid)?.filter(|_| self.is_home_of(pid) && is_server(pid)))
    }

    fn is_home_of(&self, pid: u32) -> bool {
        let same = |a: &fs::Metadata, b: &fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
        let cwd = fs::metadata(format!("/proc/{pid}/cwd"));
        cwd.is_ok_and(|cwd| fs::metadata(&self.path).is_ok_and(|home| same(&cwd, &home)))
    }

    fn pg_ctl_start(&self, options: &StartOptions, deadline: Deadline) -> Result<Spawn> {
        let mut command = Command::new(options.bin_dir.join("pg_ctl"));
        // Its own limit is only the safety net.
        let seconds = deadline.left().as_secs().saturating_add(1).to_string();
        command.args(["start", "-w", "-s", "-t", &seconds, "-D"]).arg(&self.path).arg("-l").arg(&options.log);
        if let Some(file) = &options.config_file {
            // pg_ctl hands this to a shell.
            let quoted = file.display().to_string().replace('\'', r"'\''");
            command.arg("-o").arg(format!("-c config_file='{quoted}'"));
        }
        command.current_dir("/");
        // PGPORT and its kind would be the server's defaults.
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"PG") {
                command.env_remove(name);
            }
        }
        let spawn = Spawn::new(command);
        if !user::is_root() {
            return Ok(spawn);
        }
        let owner = user::lookup(&name_of(self.uid))?;
        Ok(spawn.user(owner.uid, owner.gid).groups(&owner.groups))
    }
}

impl Postmaster {
    /// Returns whether the server is as open as it is going to be.
    pub fn is_open(&self) -> bool {
        matches!(self.status, PostmasterStatus::Ready | PostmasterStatus::Standby)
    }

    /// Returns the handle of the process: readable (for epoll) when it has ended.
    pub const fn handle(&self) -> &Pidfd {
        &self.handle
    }

    /// Gives the handle away.
    pub fn into_handle(self) -> Pidfd {
        self.handle
    }
}

impl StopMode {
    const fn signal(self) -> Signal {
        match self {
            Self::Fast => Signal::SIGINT,
            Self::Immediate => Signal::SIGQUIT,
            Self::Kill => Signal::SIGKILL,
        }
    }
}

/// The lines of `postmaster.pid`; see `miscadmin.h` of the server for their order.
#[derive(Debug, PartialEq, Eq)]
pub struct PidFile {
    /// The process that wrote it.
    pub pid: u32,
    /// When it was started, 0 when that isn't written yet.
    pub started_at: u64,
    /// Its port, 0 when that isn't written yet.
    pub port: u16,
    /// The first folder of a Unix socket.
    pub socket_dir: Option<PathBuf>,
    /// The last line.
    pub status: PostmasterStatus,
}

impl PidFile {
    /// Reads what is there: the server writes the file in several steps.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().map(str::trim);
        // Negative for a single-user server.
        let pid: u32 = lines.next()?.trim_start_matches('-').parse().ok()?;
        // Not a number that a signal would reach a group of processes by, or that the kernel never gives.
        if pid == 0 || i32::try_from(pid).is_err() {
            return None;
        }
        let _folder = lines.next();
        let started_at = lines.next().and_then(|line| line.parse().ok()).unwrap_or(0);
        let port = lines.next().and_then(|line| line.parse().ok()).unwrap_or(0);
        let socket_dir = lines.next().filter(|line| !line.is_empty()).map(PathBuf::from);
        let (_address, _memory) = (lines.next(), lines.next());
        let status = match lines.next() {
            Some("starting") => PostmasterStatus::Starting,
            Some("ready") => PostmasterStatus::Ready,
            Some("standby") => PostmasterStatus::Standby,
            Some("stopping") => PostmasterStatus::Stopping,
            _ => PostmasterStatus::Unknown,
        };
        Some(Self { pid, started_at, port, socket_dir, status })
    }
}

/// Sends SIGKILL and waits for the end; returns whether the process was still there.
fn end(handle: &Pidfd, deadline: Deadline) -> Result<bool> {
    let there = handle.signal(Signal::SIGKILL)?;
    if handle.wait(deadline)? {
        return Ok(there);
    }
    Err(Error::failed("a process of the server doesn't end, even by SIGKILL")
        .detail(format!("process {}", handle.pid()))
        .hint("does it wait for a disk that doesn't answer? then only switching the machine off is sure"))
}

/// Whether a process runs the server's program. Its command line is no help: a server changes that.
fn is_server(pid: u32) -> bool {
    let server = |name: &str| name.contains("postgres") || name.contains("postmaster");
    match fs::read_link(format!("/proc/{pid}/exe")) {
        // An upgraded package leaves "postgres (deleted)".
        Ok(exe) => exe.file_name().and_then(|name| name.to_str()).is_some_and(server),
        Err(_) => fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| server(&name)),
    }
}

/// Whether a process has ended and only its number is left.
fn is_zombie(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name before the state may hold blanks and parentheses.
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
}

/// Whether a process is the server's logging collector, by the title it gives itself.
fn is_logger(pid: u32) -> bool {
    let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    // A process that is just ending has no title any more; like the logger, it is given the time to.
    if title.is_empty() {
        return true;
    }
    let title = String::from_utf8_lossy(&title);
    title.starts_with("postgres: ") && title.trim_end_matches(['\0', ' ']).ends_with(": logger")
}

/// What the server wrote to its log since it had this length: the lines that say why it doesn't start.
fn log_since(log: &Path, length: u64) -> String {
    let Ok(mut file) = fs::File::open(log) else { return String::new() };
    let end = file.metadata().map_or(0, |meta| meta.len());
    let mut bytes = Vec::new();
    // What can't be read can't be told; the caller has other words then.
    file.seek(io::SeekFrom::Start(length.max(end.saturating_sub(64 * 1024)))).ok();
    file.take(64 * 1024).read_to_end(&mut bytes).ok();
    let text = String::from_utf8_lossy(&bytes);
    let telling =
        |line: &&str| ["FATAL:", "PANIC:", "DETAIL:", "HINT:"].iter().any(|word| line.contains(word));
    let lines: Vec<&str> = text.lines().filter(telling).map(str::trim).collect();
    // The last ones: those before are of earlier attempts.
    let skip = lines.len().saturating_sub(4);
    lines.into_iter().skip(skip).collect::<Vec<_>>().join("; ")
}

/// The name of a user, or its number.
fn name_of(uid: u32) -> String {
    let found = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)).ok().flatten();
    found.map_or_else(|| uid.to_string(), |user| user.name)
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
