//! keepalived on the hosts of a lab, in the daemon's place: it elects, and its hooks call `pgbaton notify`.

use crate::demo::host::{Host, Rights};
use crate::demo::lab::{Lab, VIP};
use crate::error::{Error, Kind, Result};
use crate::host::clock::Deadline;
use crate::host::process;
use crate::host::spawn::Spawn;
use crate::units::Moment;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

/// Where Debian and others have it.
pub const PROGRAM: &str = "/usr/sbin/keepalived";
/// How long writing the configuration may take, and a stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running keepalived.
#[derive(Debug)]
pub struct Keepalived {
    child: Child,
}

/// Returns the file into which the hooks of a host log.
pub fn hook_log(host: &Host) -> PathBuf {
    host.directory.join("notify.log")
}

/// Writes the configuration of a host by `pgbaton generate keepalived` and returns its path.
///
/// `adjust` may change it: a test's own form of it.
pub fn configure(lab: &Lab, name: &str, style: &str, adjust: impl Fn(String) -> String) -> Result<PathBuf> {
    let host = lab.host(name)?;
    let mut command = Command::new(&lab.options.binary);
    command.arg("--config").arg(lab.config()).args([
        "--node",
        name,
        "generate",
        "keepalived",
        "--style",
        style,
    ]);
    command.arg("--program").arg(&lab.options.binary).arg("--log").arg(hook_log(host));
    let spawn = Spawn::new(command).netns(&host.namespace.path())?;
    let output = process::run_spawn(spawn, Deadline::after(PATIENCE))?;
    if !output.status.success() {
        return Err(Error::failed("no configuration for keepalived was written").detail(output.complaint()));
    }
    let path = host.directory.join("keepalived.conf");
    let text = adjust(String::from_utf8_lossy(&output.stdout).into_owned());
    std::fs::write(&path, text)
        .map_err(|error| Error::failed(format!("can't write {}", path.display())).detail(error))?;
    Ok(path)
}

impl Keepalived {
    /// Starts it on a host with this configuration.
    pub fn start(host: &Host, config: &Path) -> Result<Self> {
        if !Path::new(PROGRAM).exists() {
            return Err(
                Error::new(Kind::Config, "keepalived isn't installed").hint("apt-get install keepalived")
            );
        }
        let file = |name: &str| host.directory.join(name).to_string_lossy().into_owned();
        let (parent, vrrp) = (file("keepalived.pid"), file("vrrp.pid"));
        let config = config.to_string_lossy();
        let arguments = ["-n", "-P", "-l", "-D", "-f", &config, "-p", &parent, "-r", &vrrp];
        let child =
            host.spawn(Path::new(PROGRAM), &arguments, Rights::Root, &host.directory.join("keepalived.log"))?;
        Ok(Self { child })
    }

    /// Returns its process.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap_or_default();
    }

    /// Stops it in order, as a service manager does, and waits for its end.
    pub fn stop(mut self) -> Result<()> {
        self.signal(Signal::SIGTERM);
        self.child.wait().map(drop).map_err(|error| Error::failed("can't wait for keepalived").detail(error))
    }
}

impl Drop for Keepalived {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::SIGKILL);
            self.child.wait().map(drop).unwrap_or_default();
        }
    }
}

/// Starts keepalived on both data nodes, node1 first, and waits until node1 serves.
pub fn start_all(lab: &Lab) -> Result<Vec<Keepalived>> {
    let mut running = Vec::new();
    for name in ["node1", "node2"] {
        let config = configure(lab, name, "elector", |text| text)?;
        let host = lab.host(name)?;
        running.push(Keepalived::start(host, &config)?);
        if name == "node1" {
            lab.patience().until("node1 to take the virtual address", PATIENCE, || {
                Ok(host.has_address(IpAddr::V4(VIP))?.then_some(()))
            })?;
        }
    }
    Ok(running)
}

/// Returns when the log of a host's hooks first has this text, by the wall clock; for measurements.
pub fn said_at(host: &Host, text: &str) -> Option<Moment> {
    let log = std::fs::read_to_string(hook_log(host)).ok()?;
    let line = log.lines().find(|line| line.contains(text))?;
    let at: jiff::Timestamp = line.split(' ').next()?.parse().ok()?;
    let wall = crate::host::clock::wall();
    let at = Duration::from_nanos(u64::try_from(at.as_nanosecond()).ok()?);
    let now = crate::host::clock::now();
    Some(Moment::from_nanos(
        now.as_nanos().checked_sub(u64::try_from(wall.saturating_sub(at).as_nanos()).ok()?)?,
    ))
}
