//! A hook that keepalived can't take down with it: its work is done by a new process, in a session of its own, as the
//! owner of the data directory, with two capabilities and a known environment.
//!
//! The hook ends when that process says that it has begun, or with its error.

use crate::cli::{Globals, Notify, State};
use crate::error::{Error, Kind, Result};
use crate::host::clock::Deadline;
use crate::host::signal::{self, Signal};
use crate::host::spawn::Spawn;
use crate::host::user;
use crate::net::caps::Needs;
use crate::net::driver::readable_before;
use crate::settings::Settings;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What asks the detached process to end; held back until its work allows it.
pub(super) const HELD_BACK: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

/// Tells the new process that it is one.
const CHILD: &str = "PGBATON_NOTIFY_DETACHED";
const BEGUN: &str = "begun\n";
/// How long the new process may take to begin; a machine that has just lost its storage is slow.
const PATIENCE: Duration = Duration::from_secs(10);
const SEARCH_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Returns whether this is the detached process.
pub(super) fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Says to the hook that the work has begun. One that has been killed meanwhile doesn't hear it.
pub(super) fn started() {
    let mut out = std::io::stdout();
    out.write_all(BEGUN.as_bytes()).and_then(|()| out.flush()).unwrap_or_default();
}

/// Holds back what asks this process to end.
pub(super) fn hold_signals() -> Result<()> {
    signal::block(&HELD_BACK)
}

/// Makes the detached process independent of what its caller was given.
pub(super) fn begin() {
    // keepalived's is 0177: no folder that is made could be entered.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
}

/// Starts the detached process and waits until it has begun.
pub(super) fn start(globals: &Globals, args: &Notify, settings: &Settings, told: State) -> Result<()> {
    let program = std::env::current_exe()
        .map_err(|error| Error::failed("can't tell where this program is").detail(error))?;
    let mut command = Command::new(program);
    let said = |name: &str| std::env::var_os(name);
    command.env_clear().env(CHILD, "1").env("PATH", SEARCH_PATH).env("LC_ALL", "C");
    for name in ["HOME", "PGPASSFILE", "PGSSLMODE", "RUST_BACKTRACE"] {
        if let Some(value) = said(name) {
            command.env(name, value);
        }
    }
    command.arg("notify").arg(told.name());
    let mut option = |name: &str, value: &std::ffi::OsStr| {
        command.arg(name).arg(value);
    };
    if let Some(file) = &settings.file {
        let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
        option("--config", file.as_os_str());
    }
    if let Some(node) = &globals.node {
        option("--node", node.as_ref());
    }
    if let Some(log) = &args.log {
        let log = std::path::absolute(log).unwrap_or_else(|_| log.clone());
        option("--log", log.as_os_str());
    }
    if let Some(marker) = args.marker {
        option("--marker", marker.to_string().as_ref());
    }
    if args.no_vip {
        command.arg("--no-vip");
    }
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let spawn = as_owner(Spawn::new(command).new_session(), settings)?;
    let mut child =
        spawn.spawn().map_err(|error| Error::failed("can't start a process of its own").detail(error))?;
    let mut heard = [0_u8; BEGUN.len()];
    let begun = match child.stdout.take() {
        Some(mut pipe) if readable_before(pipe.as_fd(), Deadline::after(PATIENCE))? => {
            pipe.read_exact(&mut heard).is_ok() && heard == BEGUN.as_bytes()
        }
        Some(_) => {
            return Err(Error::new(Kind::TryAgain, "the process that does the work hasn't begun")
                .detail(format!("process {}, after {} s", child.id(), PATIENCE.as_secs())));
        }
        None => false,
    };
    if begun {
        return Ok(());
    }
    Err(complaint(child))
}

/// What the detached process said before it ended without having begun.
fn complaint(child: std::process::Child) -> Error {
    let failed = |detail: String| Error::failed("the process that does the work has failed").detail(detail);
    match child.wait_with_output() {
        Err(error) => failed(error.to_string()),
        Ok(output) => {
            let kind =
                Kind::ALL.into_iter().find(|kind| Some(i32::from(kind.exit_code())) == output.status.code());
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            failed(if said.is_empty() { output.status.to_string() } else { said })
                .with_kind(kind.unwrap_or(Kind::Failed))
        }
    }
}

/// Makes the process one of the data directory's owner, who may connect as the server's own role, when this is root.
fn as_owner(spawn: Spawn, settings: &Settings) -> Result<Spawn> {
    if !user::is_root() {
        return Ok(spawn);
    }
    let me = settings.me.and_then(|_| settings.me().ok());
    let postgres = me.and_then(|me| settings.postgres_of(me)).or_else(|| settings.postgres.clone());
    let Some(about) = postgres.and_then(|postgres| std::fs::metadata(&postgres.data_directory).ok()) else {
        return Ok(spawn);
    };
    runtime_directory(&settings.cluster.runtime_directory, about.uid(), about.gid())?;
    if about.uid() == 0 {
        return Ok(spawn.capabilities(&[Needs::NetAdmin, Needs::NetRaw]));
    }
    let owner = user::by_id(about.uid())?;
    let mut spawn = spawn
        .user(owner.uid, owner.gid)
        .groups(&owner.groups)
        .capabilities(&[Needs::NetAdmin, Needs::NetRaw]);
    spawn.command_mut().env("HOME", &owner.home);
    Ok(spawn)
}

/// Makes the folder of locks where neither systemd nor a package has made it.
fn runtime_directory(path: &Path, uid: u32, gid: u32) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    let failed =
        |error: std::io::Error| Error::failed(format!("can't make {}", path.display())).detail(error);
    std::fs::DirBuilder::new().mode(0o755).create(path).map_err(failed)?;
    // The mask of keepalived's hooks takes the right to enter.
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).map_err(failed)?;
    std::os::unix::fs::chown(path, Some(uid), Some(gid)).map_err(failed)
}
