//! Who starts the server on this machine: a command of the operator's, the distribution's unit, or `pg_ctl`.

use crate::error::{Error, Kind, Result};
use crate::host::clock::Deadline;
use crate::host::process;
use crate::pg::server::{DataDirectory, StartOptions};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How the server is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// The operator's own command, by `sh -c`.
    Own(String),
    /// A cluster of Debian's packages: its unit, or its wrapper where there is no systemd.
    Cluster {
        /// The major version.
        major: u32,
        /// The cluster's name.
        name: String,
        /// Its configuration file.
        config_file: PathBuf,
        /// Whether systemd runs: the unit is asked for, so that the server isn't a child of whoever starts it.
        unit: bool,
    },
    /// A unit of systemd.
    Unit(String),
    /// The server's own program.
    PgCtl,
}

impl std::fmt::Display for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Own(command) => f.write_str(command),
            Self::Cluster { major, name, unit: true, .. } => {
                write!(f, "systemctl start {}", cluster_unit(*major, name))
            }
            Self::Cluster { major, name, .. } => write!(f, "pg_ctlcluster {major} {name} start"),
            Self::Unit(unit) => write!(f, "systemctl start {unit}"),
            Self::PgCtl => f.write_str("pg_ctl start"),
        }
    }
}

impl Start {
    /// Finds out who starts the server of a data directory; a running one (its process id) tells its unit itself.
    pub fn detect(own: Option<&str>, data: &Path, major: u32, running: Option<u32>) -> Self {
        if let Some(command) = own {
            return Self::Own(command.to_owned());
        }
        debian(data, major)
            .or_else(|| running.and_then(unit_of))
            .or_else(|| unit(data, major))
            .unwrap_or(Self::PgCtl)
    }

    /// Returns the configuration file, where it isn't in the data directory.
    pub fn config_file(&self) -> Option<&Path> {
        match self {
            Self::Cluster { config_file, .. } => Some(config_file),
            _ => None,
        }
    }

    /// Returns how the server is stopped, in words.
    pub fn stop_words(&self, own: Option<&str>) -> String {
        match (own, self) {
            (Some(own), _) => own.to_owned(),
            (None, Self::Cluster { major, name, unit: true, .. }) => {
                format!("systemctl stop {}", cluster_unit(*major, name))
            }
            (None, Self::Cluster { major, name, .. }) => format!("pg_ctlcluster {major} {name} stop -m fast"),
            (None, Self::Unit(unit)) => format!("systemctl stop {unit}"),
            (None, Self::Own(_) | Self::PgCtl) => "pg_ctl stop -m fast".to_owned(),
        }
    }

    /// Asks whoever starts the server to stop it, so that it doesn't start it again; the caller sees to it that it is
    /// stopped.
    pub fn stop(&self, own: Option<&str>, deadline: Deadline) -> Result<()> {
        match (own, self) {
            (None, Self::Own(_) | Self::PgCtl) => Ok(()),
            (Some(line), _) => carry_out(shell(line), line, deadline),
            (None, Self::Cluster { major, name, unit: true, .. }) => {
                by_unit("stop", &cluster_unit(*major, name), deadline).or_else(|error| {
                    without_unit(error, &[&major.to_string(), name, "stop", "-m", "fast"], deadline)
                })
            }
            (None, Self::Cluster { major, name, .. }) => {
                wrapper(&[&major.to_string(), name, "stop", "-m", "fast"], deadline)
            }
            (None, Self::Unit(unit)) => by_unit("stop", unit, deadline),
        }
    }

    /// Starts the server; returns whether it had to be.
    pub fn start(&self, data: &DataDirectory, bin_dir: &Path, deadline: Deadline) -> Result<bool> {
        if data.postmaster()?.is_some_and(|postmaster| postmaster.is_open()) {
            return Ok(false);
        }
        match self {
            Self::PgCtl => {
                let options = StartOptions {
                    bin_dir: bin_dir.to_owned(),
                    as_standby: true,
                    log: data.path().join("pgbaton-start.log"),
                    config_file: None,
                };
                return Ok(data.start(&options, deadline)?.changed);
            }
            Self::Own(line) => carry_out(shell(line), line, deadline)?,
            Self::Cluster { major, name, unit, .. } => {
                let arguments = [&major.to_string(), name.as_str(), "start"];
                if *unit {
                    by_unit("start", &cluster_unit(*major, name), deadline)
                        .or_else(|error| without_unit(error, &arguments, deadline))?;
                } else {
                    wrapper(&arguments, deadline)?;
                }
            }
            Self::Unit(unit) => by_unit("start", unit, deadline)?,
        }
        while !data.postmaster()?.is_some_and(|postmaster| postmaster.is_open()) {
            if deadline.passed() {
                return Err(Error::failed(format!("\"{self}\" ended well, but the server isn't open"))
                    .hint("is it the right command for this data directory?"));
            }
            super::tools::pause(Duration::from_millis(20));
        }
        Ok(true)
    }
}

/// Returns the name of the unit of a cluster of Debian's packages.
fn cluster_unit(major: u32, name: &str) -> String {
    format!("postgresql@{major}-{name}.service")
}

fn shell(line: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", line]);
    command
}

fn carry_out(mut command: Command, words: &str, deadline: Deadline) -> Result<()> {
    command.current_dir("/");
    let output = process::run(command, deadline)?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::failed(format!("\"{words}\" failed")).detail(output.complaint()))
}

/// Asks systemd; who isn't root needs a rule of polkit for that, and is never asked for a password.
fn by_unit(verb: &str, unit: &str, deadline: Deadline) -> Result<()> {
    let words = format!("systemctl {verb} {unit}");
    let mut command = Command::new("systemctl");
    command.args(["--no-ask-password", verb, unit]).current_dir("/").env("LC_ALL", "C");
    let output = process::run(command, deadline)?;
    if output.status.success() {
        return Ok(());
    }
    let complaint = output.complaint();
    let error = Error::failed(format!("\"{words}\" failed")).detail(complaint.clone());
    if not_allowed(&complaint) {
        return Err(error.with_kind(Kind::Permission).hint(
            "the rule for polkit that \"pgbaton generate systemd\" writes lets the user of the server do that; or set \
             postgres.start_command",
        ));
    }
    Err(error)
}

/// Whether systemd's answer is that this user may not.
fn not_allowed(complaint: &str) -> bool {
    ["authentication required", "Access denied", "not authorized", "Permission denied"]
        .iter()
        .any(|words| complaint.contains(words))
}

/// From a shell, who isn't allowed to ask systemd may start his own server all the same; from a service it would become
/// part of that service, share its restrictions and end with it.
fn without_unit(error: Error, arguments: &[&str], deadline: Deadline) -> Result<()> {
    let in_service = std::fs::read_to_string("/proc/self/cgroup").is_ok_and(|text| is_service(&text));
    if error.kind() != Kind::Permission || in_service {
        return Err(error);
    }
    wrapper(arguments, deadline)
}

/// Whether the text of `/proc/PID/cgroup` is that of a service of the system.
fn is_service(text: &str) -> bool {
    text.lines().any(|line| line.ends_with(".service") && line.contains("/system.slice/"))
}

fn wrapper(arguments: &[&str], deadline: Deadline) -> Result<()> {
    let mut command = Command::new("pg_ctlcluster");
    command.args(arguments);
    carry_out(command, &format!("pg_ctlcluster {}", arguments.join(" ")), deadline)
}

fn systemd_runs() -> bool {
    Path::new("/run/systemd/system").exists()
}

fn debian(data: &Path, major: u32) -> Option<Start> {
    if !Path::new("/usr/bin/pg_ctlcluster").exists() {
        return None;
    }
    let clusters = std::fs::read_dir(format!("/etc/postgresql/{major}")).ok()?;
    clusters.flatten().find_map(|entry| {
        let config_file = entry.path().join("postgresql.conf");
        let text = std::fs::read_to_string(&config_file).ok()?;
        let own = super::conf::setting(&text, "data_directory")?;
        let name = entry.file_name().to_str()?.to_owned();
        let same = std::fs::canonicalize(&own).unwrap_or_else(|_| own.into()) == data;
        same.then(|| Start::Cluster { major, name, config_file, unit: systemd_runs() })
    })
}

/// Returns the unit of systemd that a process belongs to, when it is a service of the system.
fn unit_of(pid: u32) -> Option<Start> {
    if !systemd_runs() {
        return None;
    }
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    service_in(&text).map(|unit| Start::Unit(unit.to_owned()))
}

/// Finds the service in the text of `/proc/PID/cgroup`; a shell's or a user's scope is none.
fn service_in(text: &str) -> Option<&str> {
    text.lines().find_map(|line| {
        let path = line.splitn(3, ':').nth(2)?.strip_prefix("/system.slice/")?;
        let unit = path.split('/').find(|part| part.ends_with(".service"))?;
        unit.contains("postgres").then_some(unit)
    })
}

fn unit(data: &Path, major: u32) -> Option<Start> {
    if !systemd_runs() {
        return None;
    }
    [format!("postgresql-{major}.service"), "postgresql.service".to_owned()].into_iter().find_map(|unit| {
        let mut command = Command::new("systemctl");
        command.args(["show", "-p", "Environment", "--value", &unit]);
        let output = process::run(command, Deadline::after(Duration::from_secs(5))).ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let own = text.split_whitespace().find_map(|word| word.strip_prefix("PGDATA="))?;
        let same = std::fs::canonicalize(own).ok()? == data;
        same.then_some(Start::Unit(unit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_server_tells_its_unit() {
        let unit = service_in;
        assert_eq!(unit("0::/system.slice/postgresql-15.service\n"), Some("postgresql-15.service"));
        let nested = "0::/system.slice/system-postgresql.slice/postgresql@15-main.service\n";
        assert_eq!(unit(nested), Some("postgresql@15-main.service"));
        assert_eq!(unit("1:name=systemd:/system.slice/ssh.service\n0::/user.slice/a.scope\n"), None);
        assert_eq!(unit("0::/system.slice/pgbaton.service\n"), None);
        assert_eq!(unit(""), None);
    }

    #[test]
    fn a_stop_is_said_in_the_words_of_whoever_started_it() {
        let unit = Start::Unit("postgresql.service".to_owned());
        assert_eq!(unit.stop_words(None), "systemctl stop postgresql.service");
        assert_eq!(unit.stop_words(Some("x stop")), "x stop");
        assert_eq!(Start::PgCtl.stop_words(None), "pg_ctl stop -m fast");
        let cluster =
            |unit| Start::Cluster { major: 15, name: "main".to_owned(), config_file: "/x".into(), unit };
        assert_eq!(cluster(true).to_string(), "systemctl start postgresql@15-main.service");
        assert_eq!(cluster(true).stop_words(None), "systemctl stop postgresql@15-main.service");
        assert_eq!(cluster(false).to_string(), "pg_ctlcluster 15 main start");
    }

    #[test]
    fn a_refusal_of_systemd_is_told_from_a_failure_and_a_service_from_a_shell() {
        assert!(not_allowed(
            "Failed to start postgresql@15-main.service: Interactive authentication required."
        ));
        assert!(!not_allowed("Job for postgresql@15-main.service failed"));
        assert!(is_service("0::/system.slice/pgbaton.service\n"));
        assert!(!is_service("0::/user.slice/user-26.slice/session-3.scope\n"));
    }
}
