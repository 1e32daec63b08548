//! One machine of the lab: a namespace with a cable, a `PostgreSQL` server, a daemon, and what can befall it.

use crate::demo::control;
use crate::demo::namespace::{IpcNamespace, Namespace, signal_all};
use crate::demo::patience::Patience;
use crate::demo::preflight::{Machine, SEARCH_PATH};
use crate::demo::sql::Session;
use crate::demo::switch::Switch;
use crate::error::{Error, Kind, Result};
use crate::host::clock::now;
use crate::host::spawn::Spawn;
use crate::net::caps::Needs;
use crate::units::Moment;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs::OpenOptions;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a server may take to accept connections.
const SERVER_START: Duration = Duration::from_secs(60);
/// How long a daemon may take to answer on its control socket.
const DAEMON_START: Duration = Duration::from_secs(20);
/// How long killed processes may take to be gone.
const DEATH: Duration = Duration::from_secs(10);
/// How long a statement of the lab itself may take.
const STATEMENT: Duration = Duration::from_secs(10);

/// What all hosts of a lab share.
#[derive(Debug)]
pub struct Site {
    /// The bridge.
    pub switch: Switch,
    /// The index of the bridge itself, for putting a port back.
    pub bridge: u32,
    /// What was found on this machine.
    pub machine: Machine,
    /// The program that runs as the daemon.
    pub binary: PathBuf,
    /// The settings file, the same for all.
    pub config: PathBuf,
    /// Ends waits.
    pub patience: Arc<Patience>,
}

/// Which account and rights a program gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// Account `postgres`, nothing more.
    Postgres,
    /// Account `postgres` with `CAP_NET_ADMIN` and `CAP_NET_RAW`, as the daemon's unit grants them.
    Daemon,
    /// Root, as the init system starts what isn't told otherwise.
    Root,
}

/// A host of the lab.
#[derive(Debug)]
pub struct Host {
    /// Its name, which is also the name of its node in the settings.
    pub name: String,
    /// Its network.
    pub namespace: Namespace,
    /// Its own address.
    pub address: Ipv4Addr,
    /// The folder with everything of it.
    pub directory: PathBuf,
    /// The data directory.
    pub data_directory: PathBuf,
    /// The folder of the Unix socket, reachable from every namespace.
    pub socket_directory: PathBuf,
    /// The daemon's control socket.
    pub control_socket: PathBuf,
    site: Arc<Site>,
    port: u32,
    ipc: IpcNamespace,
    children: Mutex<Children>,
    frozen: AtomicBool,
}

#[derive(Debug, Default)]
struct Children {
    postgres: Option<Running>,
    daemon: Option<Running>,
}

/// A child that is reaped the moment it ends: on a real machine init does that, and a zombie would look like
/// a living postmaster to whoever asks by process id.
#[derive(Debug)]
struct Running {
    pid: Pid,
    status: Arc<Mutex<Option<String>>>,
}

impl Running {
    fn watch(mut child: Child) -> Result<Self> {
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
        let status = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&status);
        let watch = move || {
            let text = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        };
        std::thread::Builder::new()
            .name("reaper".to_owned())
            .spawn(watch)
            .map_err(|error| Error::failed("can't start a thread").detail(error))?;
        Ok(Self { pid, status })
    }

    /// Returns how it ended, or `None` while it runs.
    fn ended(&self) -> Option<String> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Host {
    /// Describes a host whose namespace and cable exist already.
    pub fn new(
        site: &Arc<Site>,
        name: &str,
        namespace: Namespace,
        address: Ipv4Addr,
        base: &Path,
    ) -> Result<Self> {
        let directory = base.join(name);
        Ok(Self {
            name: name.to_owned(),
            namespace,
            address,
            data_directory: directory.join("data"),
            socket_directory: directory.clone(),
            control_socket: base.join("run").join(format!("{name}.sock")),
            directory,
            site: Arc::clone(site),
            port: site.switch.port(name)?,
            ipc: IpcNamespace::create()?,
            children: Mutex::new(Children::default()),
            frozen: AtomicBool::new(false),
        })
    }

    /// Returns the path of the server's Unix socket.
    pub fn server_socket(&self) -> PathBuf {
        self.socket_directory.join(".s.PGSQL.5432")
    }

    /// Returns the file with the server's log.
    pub fn server_log(&self) -> PathBuf {
        self.directory.join("postgresql.log")
    }

    /// Returns the file with the daemon's log.
    pub fn daemon_log(&self) -> PathBuf {
        self.directory.join("pgbaton.log")
    }

    /// Starts a program in this host's namespaces, in a session of its own, both outputs to `log`.
    pub fn spawn(&self, program: &Path, arguments: &[&str], rights: Rights, log: &Path) -> Result<Child> {
        let problem = |error: std::io::Error| {
            Error::failed(format!("can't start {} on {}", program.display(), self.name)).detail(error)
        };
        let output = OpenOptions::new().create(true).append(true).open(log).map_err(problem)?;
        let errors = output.try_clone().map_err(problem)?;
        let user = &self.site.machine.postgres;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(&self.directory)
            .env_clear()
            .env("PATH", SEARCH_PATH)
            .env("LC_ALL", "C")
            .env("HOME", &self.directory)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors);
        let mut spawn = Spawn::new(command).new_session();
        match rights {
            Rights::Root => {}
            Rights::Postgres => spawn = spawn.user(user.uid.as_raw(), user.gid.as_raw()),
            Rights::Daemon => {
                spawn = spawn
                    .user(user.uid.as_raw(), user.gid.as_raw())
                    .capabilities(&[Needs::NetAdmin, Needs::NetRaw]);
            }
        }
        // The child is born in the namespaces of the thread that starts it.
        self.namespace.inside(|| {
            self.ipc.enter()?;
            spawn.spawn().map_err(problem)
        })
    }

    /// Starts `PostgreSQL`; [`Host::wait_server`] waits for it.
    pub fn start_server(&self) -> Result<()> {
        let program = self.site.machine.bin_directory.join("postgres");
        let data = self.data_directory.to_string_lossy();
        let child = self.spawn(&program, &["-D", &data], Rights::Postgres, &self.server_log())?;
        let running = Running::watch(child)?;
        self.with_children(|children| children.postgres = Some(running));
        Ok(())
    }

    /// Waits until the server accepts connections.
    pub fn wait_server(&self) -> Result<()> {
        let what = format!("PostgreSQL on {} to accept connections", self.name);
        self.site.patience.until(&what, SERVER_START, || {
            if let Some(status) = self.server_end() {
                return Err(Error::failed(format!("PostgreSQL on {} ended at once", self.name))
                    .detail(status)
                    .detail(last_lines(&self.server_log())));
            }
            Ok(Session::connect(&self.server_socket(), STATEMENT).ok().map(|_| ()))
        })
    }

    /// Starts `pgbaton vrrp run`; [`Host::wait_daemon`] waits for it.
    pub fn start_daemon(&self) -> Result<()> {
        let config = self.site.config.to_string_lossy();
        let arguments = ["--config", &config, "--node", &self.name, "vrrp", "run"];
        let child = self.spawn(&self.site.binary, &arguments, Rights::Daemon, &self.daemon_log())?;
        let running = Running::watch(child)?;
        self.with_children(|children| children.daemon = Some(running));
        Ok(())
    }

    /// Waits until the daemon answers on its control socket.
    pub fn wait_daemon(&self) -> Result<()> {
        let what = format!("the daemon on {} to answer", self.name);
        self.site.patience.until(&what, DAEMON_START, || {
            if let Some(status) = self.daemon_end() {
                return Err(Error::failed(format!("the daemon on {} ended at once", self.name))
                    .detail(status)
                    .detail(last_lines(&self.daemon_log())));
            }
            Ok(self.status().ok().map(|_| ()))
        })
    }

    /// Runs statements on this host's server through its Unix socket.
    pub fn sql(&self, text: &str) -> Result<Vec<Vec<Option<String>>>> {
        Session::connect(&self.server_socket(), STATEMENT)?.query(text)
    }

    /// Runs a statement and returns the first column of the first row.
    pub fn sql_value(&self, text: &str) -> Result<Option<String>> {
        Ok(self.sql(text)?.into_iter().next().and_then(|row| row.into_iter().next().flatten()))
    }

    /// Returns whether the server is in recovery.
    pub fn in_recovery(&self) -> Result<bool> {
        Ok(self.sql_value("SELECT pg_is_in_recovery()")?.as_deref() == Some("t"))
    }

    /// Returns whether a standby of this name streams from this host.
    pub fn streams_to(&self, standby: &str) -> Result<bool> {
        let text = format!(
            "SELECT 1 FROM pg_stat_replication WHERE application_name = '{standby}' AND state = 'streaming'"
        );
        Ok(self.sql_value(&text)?.is_some())
    }

    /// Returns the daemon's `status` document.
    pub fn status(&self) -> Result<Value> {
        control::ask(&self.control_socket, "status")
    }

    /// Returns the daemon's events, oldest first.
    pub fn events(&self) -> Result<Vec<control::Event>> {
        control::events(&self.control_socket)
    }

    /// Asks the daemon to hand its node's role over.
    pub fn resign(&self) -> Result<Value> {
        control::ask(&self.control_socket, "resign")
    }

    /// Returns whether an interface of this host has the address.
    pub fn has_address(&self, wanted: IpAddr) -> Result<bool> {
        self.namespace.inside(|| {
            let found = nix::ifaddrs::getifaddrs()
                .map_err(|errno| Error::failed("can't list the addresses").detail(errno))?;
            Ok(found.filter_map(|entry| entry.address).any(|address| {
                address.as_sockaddr_in().is_some_and(|v4| IpAddr::V4(v4.ip()) == wanted)
                    || address.as_sockaddr_in6().is_some_and(|v6| IpAddr::V6(v6.ip()) == wanted)
            }))
        })
    }

    /// Cuts the power: the cable goes dead, then every process dies at once. Returns the instant.
    ///
    /// The cable goes first, so that no dying socket can say good-bye.
    pub fn power_off(&self) -> Result<Moment> {
        let at = {
            let processes = self.namespace.processes();
            let at = now();
            self.site.switch.set_up(self.port, false)?;
            signal_all(&processes, Signal::SIGKILL);
            at
        };
        self.kill_all()?;
        Ok(at)
    }

    /// Plugs the cable in and starts the daemon, and `PostgreSQL` before it when asked to.
    pub fn power_on(&self, with_server: bool) -> Result<()> {
        self.site.switch.set_up(self.port, true)?;
        if with_server {
            self.start_server()?;
        }
        self.start_daemon()?;
        self.wait_daemon()
    }

    /// Kills every process of the host and waits until they are gone.
    pub fn kill_all(&self) -> Result<()> {
        let what = format!("the processes of {} to be gone", self.name);
        self.site.patience.until(&what, DEATH, || {
            let processes = self.namespace.processes();
            signal_all(&processes, Signal::SIGKILL);
            Ok(processes.is_empty().then_some(()))
        })
    }

    /// Returns the process id in `postmaster.pid`.
    pub fn postmaster(&self) -> Result<Pid> {
        let path = self.data_directory.join("postmaster.pid");
        let problem =
            || Error::failed(format!("PostgreSQL on {} doesn't run", self.name)).detail(path.display());
        let text = std::fs::read_to_string(&path).map_err(|error| problem().detail(error))?;
        text.lines().next().and_then(|line| line.trim().parse().ok()).map(Pid::from_raw).ok_or_else(problem)
    }

    /// Kills the postmaster (SIGKILL) and returns the instant; its children notice by themselves.
    pub fn kill_postmaster(&self) -> Result<Moment> {
        let postmaster = self.postmaster()?;
        let at = now();
        kill(postmaster, Signal::SIGKILL)
            .map_err(|errno| Error::failed("can't kill the postmaster").detail(errno))?;
        Ok(at)
    }

    /// Stops every process of the host in its tracks, as a paused virtual machine; returns the instant.
    pub fn freeze(&self) -> Result<Moment> {
        let at = now();
        self.frozen.store(true, Ordering::Relaxed);
        let mut frozen = Vec::new();
        // A process could fork between the look and the signal: look until nobody is new.
        self.site.patience.until("the host to freeze", DEATH, || {
            let fresh: Vec<Pid> =
                self.namespace.processes().into_iter().filter(|pid| !frozen.contains(pid)).collect();
            signal_all(&fresh, Signal::SIGSTOP);
            let done = fresh.is_empty();
            frozen.extend(fresh);
            Ok(done.then_some(()))
        })?;
        Ok(at)
    }

    /// Lets the frozen processes go on; returns the instant.
    pub fn thaw(&self) -> Moment {
        let at = now();
        signal_all(&self.namespace.processes(), Signal::SIGCONT);
        self.frozen.store(false, Ordering::Relaxed);
        at
    }

    /// Returns whether the host was frozen and not thawed since: its daemon can't answer.
    pub fn is_frozen(&self) -> bool {
        self.frozen.load(Ordering::Relaxed)
    }

    /// Takes the host's port off the bridge: the carrier stays, nothing gets through. Returns the instant.
    pub fn cut(&self) -> Result<Moment> {
        let at = now();
        self.site.switch.set_bridge(self.port, None)?;
        Ok(at)
    }

    /// Puts the port back on the bridge; returns the instant.
    pub fn heal(&self) -> Result<Moment> {
        self.site.switch.set_bridge(self.port, Some(self.site.bridge))?;
        Ok(now())
    }

    /// Unplugs the cable (`false`) or plugs it in; returns the instant.
    pub fn set_link(&self, up: bool) -> Result<Moment> {
        let at = now();
        self.site.switch.set_up(self.port, up)?;
        Ok(at)
    }

    /// Returns the process id of the daemon that was started last, while it runs.
    pub fn daemon_pid(&self) -> Option<Pid> {
        self.with_children(|children| {
            children.daemon.as_ref().filter(|daemon| daemon.ended().is_none()).map(|daemon| daemon.pid)
        })
    }

    /// Returns the server's processes, whoever started them.
    pub fn server_pids(&self) -> Vec<Pid> {
        let is_server = |pid: &Pid| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == "postgres")
        };
        self.namespace.processes().into_iter().filter(is_server).collect()
    }

    /// Sends the daemon SIGTERM, as `systemctl stop` does; returns the instant.
    pub fn sigterm_daemon(&self) -> Result<Moment> {
        let pid =
            self.daemon_pid().ok_or_else(|| Error::failed(format!("no daemon runs on {}", self.name)))?;
        let at = now();
        kill(pid, Signal::SIGTERM).map_err(|errno| Error::failed("can't signal the daemon").detail(errno))?;
        Ok(at)
    }

    /// Waits until the daemon has ended and returns its exit status.
    pub fn wait_daemon_end(&self, limit: Duration) -> Result<String> {
        self.site.patience.until("the daemon to end", limit, || Ok(self.daemon_end()))
    }

    /// Returns how the server that was started last has ended; `None` while it runs.
    pub fn server_end(&self) -> Option<String> {
        self.with_children(|children| children.postgres.as_ref().and_then(Running::ended))
    }

    /// Returns how the daemon that was started last has ended; `None` while it runs.
    pub fn daemon_end(&self) -> Option<String> {
        self.with_children(|children| children.daemon.as_ref().and_then(Running::ended))
    }

    fn with_children<T>(&self, work: impl FnOnce(&mut Children) -> T) -> T {
        work(&mut self.children.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn last_lines(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let tail = lines.get(lines.len().saturating_sub(4)..).unwrap_or_default();
    format!("{}: {}", log.display(), tail.join(" | "))
}

/// Runs a server program as `postgres` in the calling thread's namespaces, and waits for it.
pub fn run_as_postgres(machine: &Machine, program: &str, arguments: &[&str], input: &str) -> Result<String> {
    use std::io::Write;
    let problem = |error: std::io::Error| Error::failed(format!("can't run {program}")).detail(error);
    let mut command = Command::new(machine.bin_directory.join(program));
    command
        .args(arguments)
        .current_dir("/")
        .env_clear()
        .env("PATH", SEARCH_PATH)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let (uid, gid) = (machine.postgres.uid.as_raw(), machine.postgres.gid.as_raw());
    let mut child = Spawn::new(command).user(uid, gid).new_session().spawn().map_err(problem)?;
    if let Some(mut stdin) = child.stdin.take() {
        // When it ends early its own words, below, say more than a broken pipe.
        stdin.write_all(input.as_bytes()).ok();
    }
    let output = child.wait_with_output().map_err(problem)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
    Err(Error::new(Kind::Failed, format!("{program} failed")).detail(output.status).detail(words))
}
