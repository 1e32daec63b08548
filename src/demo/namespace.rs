//! Network namespaces by name, as `ip netns` keeps them, and the processes that live in one.

use crate::error::{Error, Kind, Result};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where iproute2 keeps the named namespaces.
const FOLDER: &str = "/run/netns";

/// A network namespace with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Names a namespace; nothing is made.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    /// Returns the namespaces that exist with this prefix, in the order of their names.
    pub fn all(prefix: &str) -> Vec<Self> {
        let mut names: Vec<String> = std::fs::read_dir(FOLDER)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name.starts_with(prefix))
            .collect();
        names.sort();
        names.into_iter().map(|name| Self { name }).collect()
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the path that other programs can open.
    pub fn path(&self) -> PathBuf {
        Path::new(FOLDER).join(&self.name)
    }

    /// Returns whether it exists.
    pub fn exists(&self) -> bool {
        self.path().exists()
    }

    /// Runs `work` on a thread that lives in this namespace; sockets and children made there belong to it.
    ///
    /// The thread ends with the work, so the caller's own namespace never changes.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let door = self.open()?;
        std::thread::scope(|scope| {
            let run = || {
                enter(&door).map_err(|error| error.detail(&self.name))?;
                work()
            };
            let thread = std::thread::Builder::new()
                .name("netns".to_owned())
                .spawn_scoped(scope, run)
                .map_err(|error| Error::failed("can't start a thread").detail(error))?;
            thread.join().map_err(|_| Error::failed("a thread inside a namespace failed"))?
        })
    }

    /// Opens the namespace, for [`enter`].
    pub fn open(&self) -> Result<OwnedFd> {
        File::open(self.path()).map(OwnedFd::from).map_err(|error| {
            Error::failed("can't open the network namespace").detail(&self.name).detail(error)
        })
    }

    /// Returns the processes whose network is this one, this process itself excepted.
    pub fn processes(&self) -> Vec<Pid> {
        let Ok(meta) = std::fs::metadata(self.path()) else { return Vec::new() };
        let link = format!("net:[{}]", meta.ino());
        processes_where(|folder| {
            std::fs::read_link(folder.join("ns/net"))
                .is_ok_and(|found| found.as_os_str() == OsStr::new(&link))
        })
    }

    /// Deletes the name; the namespace itself goes with its last process.
    pub fn delete(&self) -> Result<()> {
        if self.exists() { ip(&["netns", "delete", &self.name]) } else { Ok(()) }
    }
}

/// Moves the calling thread (only) into an opened network namespace.
pub fn enter(door: &OwnedFd) -> Result<()> {
    setns(door, CloneFlags::CLONE_NEWNET).map_err(|errno| {
        Error::new(Kind::Permission, "can't enter the network namespace")
            .detail(errno)
            .hint("run it as root (CAP_SYS_ADMIN)")
    })
}

/// An IPC namespace: `PostgreSQL`'s System V segment lives in it and vanishes with the last process of the
/// host, even when that was killed.
#[derive(Debug)]
pub struct IpcNamespace(OwnedFd);

impl IpcNamespace {
    /// Makes a new one, held open by the returned value.
    pub fn create() -> Result<Self> {
        fn problem() -> Error {
            Error::failed("can't make an IPC namespace")
        }
        let make = || {
            unshare(CloneFlags::CLONE_NEWIPC).map_err(|errno| problem().detail(errno))?;
            File::open("/proc/thread-self/ns/ipc").map_err(|error| problem().detail(error))
        };
        let file = std::thread::spawn(make).join().map_err(|_| problem())??;
        Ok(Self(file.into()))
    }

    /// Moves the calling thread (only) into it.
    pub fn enter(&self) -> Result<()> {
        setns(&self.0, CloneFlags::CLONE_NEWIPC)
            .map_err(|errno| Error::failed("can't enter the IPC namespace").detail(errno))
    }
}

/// Returns the processes with a working directory in `folder` and a network that isn't ours.
///
/// This finds what a crashed run left when its namespaces have lost their names.
pub fn strays(folder: &Path) -> Vec<Pid> {
    let Ok(ours) = std::fs::read_link("/proc/self/ns/net") else { return Vec::new() };
    processes_where(|process| {
        std::fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder))
            && std::fs::read_link(process.join("ns/net")).is_ok_and(|network| network != ours)
    })
}

fn processes_where(mut wanted: impl FnMut(&Path) -> bool) -> Vec<Pid> {
    let myself = Pid::this();
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()))
        .map(Pid::from_raw)
        .filter(|pid| *pid != myself && wanted(Path::new(&format!("/proc/{pid}"))))
        .collect()
}

/// Sends a signal to each of these processes; those that are gone already don't count.
pub fn signal_all(processes: &[Pid], signal: Signal) {
    for pid in processes {
        // ESRCH: it has ended between the look and the signal, which is what was wanted.
        kill(*pid, signal).ok();
    }
}

/// Runs `ip` with these arguments.
pub fn ip(arguments: &[&str]) -> Result<()> {
    run_ip(arguments, "")
}

/// Runs `ip -batch` with these lines, optionally inside a namespace: one process for any number of changes.
pub fn ip_batch(namespace: Option<&Namespace>, lines: &str) -> Result<()> {
    let mut arguments = Vec::new();
    if let Some(namespace) = namespace {
        arguments.extend(["-netns", namespace.name()]);
    }
    arguments.extend(["-batch", "-"]);
    run_ip(&arguments, lines)
}

fn run_ip(arguments: &[&str], input: &str) -> Result<()> {
    let shown = || format!("ip {}", arguments.join(" "));
    let problem = |error: std::io::Error| {
        Error::failed("can't run ip").detail(shown()).detail(error).hint("apt-get install iproute2")
    };
    let mut child = Command::new("ip")
        .args(arguments)
        .env("LC_ALL", "C")
        .env("PATH", crate::demo::preflight::SEARCH_PATH)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(problem)?;
    if let Some(mut stdin) = child.stdin.take() {
        // When ip has refused an earlier line the pipe is closed; its own words come below.
        stdin.write_all(input.as_bytes()).ok();
    }
    let output = child.wait_with_output().map_err(problem)?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
    let error = Error::failed("the network of the lab can't be built").detail(shown()).detail(&words);
    Err(if words.contains("Operation not permitted") {
        error.with_kind(Kind::Permission).hint("run it as root, outside of a container without CAP_SYS_ADMIN")
    } else if words.contains("Unknown device type") || words.contains("not supported") {
        error.hint("the kernel lacks veth or bridge: modprobe veth bridge")
    } else {
        error
    })
}
