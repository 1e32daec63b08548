//! Real `PostgreSQL` servers for tests: made from one template, on Unix sockets in a folder under /tmp, gone at
//! the end. Runs the server as user `postgres` when the tests run as root.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgbaton::host::clock::Deadline;
use pgbaton::pg::conn::{ConnSettings, Host, Session};
use pgbaton::pg::server::{DataDirectory, StartOptions, StopMode};
use std::cell::Cell;
use std::ffi::OsStr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Long enough for a loaded machine; nothing waits for it unless it fails.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Returns a deadline [`LONG`] from now.
pub(crate) fn long() -> Deadline {
    Deadline::after(LONG)
}

thread_local! {
    /// The programs of the major that the test of this thread is about.
    static MAJOR: Cell<Option<&'static Path>> = const { Cell::new(None) };
}

/// Lets the test of this thread use another major; its programs are fetched when they aren't there.
pub(crate) fn on_major(major: u32) {
    let fetch = crate::golden::source("tests/majors/fetch");
    must(Command::new(fetch).arg(major.to_string()));
    let folder = crate::golden::source(&format!("target/postgres/{major}/bin"));
    MAJOR.set(Some(Box::leak(folder.into_boxed_path())));
}

/// Returns the folder of the binaries: `PGBATON_TEST_PG_BINDIR`, or the newest installed major's.
pub(crate) fn bin_dir() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    if let Some(folder) = MAJOR.get() {
        return folder;
    }
    DIR.get_or_init(|| {
        if let Some(dir) = std::env::var_os("PGBATON_TEST_PG_BINDIR") {
            return PathBuf::from(dir);
        }
        let majors = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed");
        let mut majors: Vec<PathBuf> = majors.map(|entry| entry.unwrap().path()).collect();
        majors.sort_by_key(|path| {
            path.file_name().and_then(OsStr::to_str).and_then(|name| name.parse::<u32>().ok())
        });
        majors.pop().expect("a major version").join("bin")
    })
}

/// Returns the user the servers run as: `postgres` when this is root.
pub(crate) fn run_as() -> Option<(u32, u32)> {
    static IDS: OnceLock<Option<(u32, u32)>> = OnceLock::new();
    *IDS.get_or_init(|| {
        if !nix::unistd::geteuid().is_root() {
            return None;
        }
        let user = nix::unistd::User::from_name("postgres").unwrap().expect("a user named postgres");
        Some((user.uid.as_raw(), user.gid.as_raw()))
    })
}

/// Returns a command of the server's, to run as the server's user.
pub(crate) fn tool(name: &str) -> Command {
    let mut command = Command::new(bin_dir().join(name));
    command.current_dir("/").stdin(Stdio::null()).env("LC_ALL", "C");
    if let Some((uid, gid)) = run_as() {
        command.uid(uid).gid(gid);
    }
    command
}

/// Runs a command to its end; panics with its output when it fails.
pub(crate) fn must(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}\n{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// A folder of the server's user, removed at the end.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Makes a new one.
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("pgb-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        give(&path);
        Self(path)
    }

    /// Returns where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// Gives a file to the server's user.
pub(crate) fn give(path: &Path) {
    if let Some((uid, gid)) = run_as() {
        std::os::unix::fs::chown(path, Some(uid), Some(gid)).unwrap();
    }
}

/// A data folder that was made once for all tests of this process.
fn template() -> PathBuf {
    {
        // Removed by no one: it's shared by tests that end at different times. So the name is the same for every run.
        let major = must(tool("postgres").arg("--version"));
        let name: String = major.chars().filter(|c| c.is_ascii_digit() || *c == '.').collect();
        let ready = std::env::temp_dir().join(format!("pgb-template-{name}"));
        if !ready.exists() {
            let folder = Folder::new();
            let fresh = folder.path().join("data");
            must(
                tool("initdb")
                    .args(["-U", "postgres", "-A", "trust", "-N", "-E", "UTF8", "--no-locale"])
                    .arg("-D")
                    .arg(&fresh),
            );
            // Two runs may get here at once; the first one's rename wins.
            std::fs::rename(&fresh, &ready).ok();
        }
        ready
    }
}

/// A server and the folder it lives in. Killed for sure when dropped.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// Its name: `application_name` towards its primary.
    pub(crate) name: String,
    folder: Folder,
}

impl Cluster {
    /// Makes a primary and starts it.
    pub(crate) fn primary(name: &str) -> Self {
        Self::primary_with(name, "")
    }

    /// Makes a primary with more lines in its configuration, and starts it.
    pub(crate) fn primary_with(name: &str, settings: &str) -> Self {
        let cluster = Self { name: name.to_owned(), folder: Folder::new() };
        let mut copy = Command::new("cp");
        must(copy.arg("-a").arg(template()).arg(cluster.data()));
        let base = "fsync = off\nwal_level = replica\nwal_log_hints = on\nwal_keep_size = 256MB\n\
            hot_standby = on\nlisten_addresses = ''\nmax_connections = 40\nshared_buffers = 16MB\n\
            log_min_messages = warning\nwal_sender_timeout = 5s\nwal_receiver_timeout = 5s\n";
        cluster.append_settings(&format!("{base}{settings}\n"));
        cluster.set_place();
        cluster.start();
        cluster
    }

    /// Makes a place for a server, without any data.
    pub(crate) fn nothing(name: &str) -> Self {
        Self { name: name.to_owned(), folder: Folder::new() }
    }

    /// Makes a standby of `primary` from a base backup, without starting it.
    pub(crate) fn standby_not_started(name: &str, primary: &Self) -> Self {
        let cluster = Self { name: name.to_owned(), folder: Folder::new() };
        let mut backup = tool("pg_basebackup");
        backup.arg("-D").arg(cluster.data()).arg("-h").arg(primary.sockets());
        must(backup.args(["-p", "5432", "-U", "postgres", "-X", "stream", "-c", "fast", "-N"]));
        cluster.set_place();
        cluster.follow(primary);
        cluster.data_directory().write_standby_signal().unwrap();
        cluster
    }

    /// Copies the data of a stopped server, as another server of the same name; without starting it.
    pub(crate) fn copy_of(stopped: &Self) -> Self {
        let cluster = Self { name: stopped.name.clone(), folder: Folder::new() };
        must(Command::new("cp").args(["-a", "--reflink=auto", "--"]).arg(stopped.data()).arg(cluster.data()));
        cluster.set_place();
        cluster
    }

    /// Makes a standby of `primary`, starts it and waits until it streams.
    pub(crate) fn standby_of(name: &str, primary: &Self) -> Self {
        let cluster = Self::standby_not_started(name, primary);
        cluster.start();
        cluster.wait_until("SELECT count(*) = 1 FROM pg_stat_wal_receiver WHERE status = 'streaming'");
        cluster
    }

    /// Writes where to stream from into the configuration; takes a reload or a start.
    pub(crate) fn follow(&self, primary: &Self) {
        let sockets = primary.sockets().display();
        self.append_settings(&format!(
            "primary_conninfo = 'host={sockets} port=5432 user=postgres application_name={}'",
            self.name
        ));
    }

    /// Returns the data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Returns the data folder as the library sees it.
    pub(crate) fn data_directory(&self) -> DataDirectory {
        DataDirectory::open(&self.data()).unwrap()
    }

    /// Returns how the library starts this server.
    pub(crate) fn start_options(&self) -> StartOptions {
        StartOptions {
            bin_dir: bin_dir().to_path_buf(),
            as_standby: false,
            log: self.folder.path().join("log"),
            config_file: None,
        }
    }

    /// Stops the server in order.
    pub(crate) fn stop(&self) {
        self.data_directory().stop(StopMode::Fast, long()).unwrap();
    }

    /// Returns the folder of the Unix socket.
    pub(crate) fn sockets(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the server's log.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Appends lines to the configuration; later lines win.
    pub(crate) fn append_settings(&self, lines: &str) {
        use std::io::Write as _;
        let mut file =
            std::fs::OpenOptions::new().append(true).open(self.data().join("postgresql.conf")).unwrap();
        writeln!(file, "{lines}").unwrap();
    }

    fn set_place(&self) {
        let sockets = self.sockets().display();
        self.append_settings(&format!("unix_socket_directories = '{sockets}'\nport = 5432"));
    }

    /// Starts the server and waits until it accepts connections.
    pub(crate) fn start(&self) {
        let log = self.folder.path().join("log");
        let mut start = tool("pg_ctl");
        // pg_ctl's own wait looks ten times a second.
        start.args(["start", "-W", "-s", "-D"]).arg(self.data()).arg("-l").arg(&log);
        let status = start.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert!(status.success(), "{} doesn't start:\n{}", self.name, self.log());
        wait_for(&format!("{} to accept connections", self.name), || {
            Session::connect(&self.settings(), long()).is_ok()
        });
    }

    /// Returns settings to connect as the superuser.
    pub(crate) fn settings(&self) -> ConnSettings {
        let mut settings =
            ConnSettings::new(Host::Unix(self.sockets().to_path_buf(), 5432), "postgres", "test");
        settings.connect_timeout = LONG;
        settings
    }

    /// Connects as the superuser.
    pub(crate) fn session(&self) -> Session {
        Session::connect(&self.settings(), long()).unwrap()
    }

    /// Returns the first column of the first row; empty for NULL and for no row.
    pub(crate) fn ask(&self, sql: &str) -> String {
        let rows = self.session().query(sql, long()).unwrap();
        rows.first().and_then(|row| row.get(0)).unwrap_or_default().to_owned()
    }

    /// Waits until a statement returns true.
    pub(crate) fn wait_until(&self, sql: &str) {
        let mut session = self.session();
        wait_for(sql, || session.query(sql, long()).unwrap().first().is_some_and(|row| row.is_true(0)));
    }

    /// Returns the postmaster's process id, from its lock file.
    pub(crate) fn postmaster(&self) -> Option<i32> {
        let text = std::fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        text.lines().next()?.trim().parse().ok()
    }

    /// Returns every process that lives in the data folder.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let Ok(place) = std::fs::metadata(self.data()) else { return Vec::new() };
        let pids = std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
        let lives_here = |pid: &i32| {
            std::fs::metadata(format!("/proc/{pid}/cwd"))
                .is_ok_and(|cwd| (cwd.dev(), cwd.ino()) == (place.dev(), place.ino()))
        };
        pids.filter(lives_here).collect()
    }

    /// Sends a signal to the postmaster.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.postmaster().expect("a postmaster");
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// Ends every process of the server, at once.
    pub(crate) fn kill(&self) {
        wait_for("the server to be gone", || {
            let left = self.processes();
            for pid in &left {
                kill(Pid::from_raw(*pid), Signal::SIGKILL).ok();
            }
            left.is_empty()
        });
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Looks again and again, until it is so or [`LONG`] has passed.
pub(crate) fn wait_for(what: &str, mut so: impl FnMut() -> bool) {
    let (_never, nothing) = std::sync::mpsc::channel::<()>();
    let deadline = long();
    while !so() {
        assert!(!deadline.passed(), "waited in vain: {what}");
        nothing.recv_timeout(Duration::from_millis(2)).ok();
    }
}
