//! PostgreSQL's own programs, run as the owner of the data, their lines followed while they run.

use crate::error::{Error, Kind, Result};
use crate::host::clock::Deadline;
use crate::host::spawn::Spawn;
use crate::host::user;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Where the programs are and as whom they run.
#[derive(Debug, Clone)]
pub struct Tools {
    /// The folder of the programs.
    pub bin_dir: PathBuf,
    /// The owner of the data.
    pub uid: u32,
    /// The password for the primary, if one is known.
    pub password: Option<crate::pg::pgpass::Secret>,
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// Whether it said so itself that all is well.
    pub success: bool,
    /// The last lines of its standard error.
    pub said: String,
}

/// The most lines of a program's complaints that are kept.
const LINES: usize = 200;

enum Line {
    Out(String),
    Err(String),
}

impl Tools {
    /// Looks for the programs of a major version.
    pub fn find_bin_dir(major: u32, given: Option<&Path>) -> Result<PathBuf> {
        let complete = |folder: &Path| folder.join("pg_rewind").exists() && folder.join("pg_ctl").exists();
        if let Some(given) = given {
            return Ok(given.to_owned());
        }
        let mut folders = vec![
            PathBuf::from(format!("/usr/lib/postgresql/{major}/bin")),
            PathBuf::from(format!("/usr/pgsql-{major}/bin")),
        ];
        folders.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
        folders.extend(["/usr/local/pgsql/bin", "/usr/local/bin", "/usr/bin"].map(PathBuf::from));
        folders.into_iter().find(|folder| complete(folder)).ok_or_else(|| {
            Error::config(format!("can't find the programs of PostgreSQL {major}")).hint(
                "name their folder with --bin-directory, or postgres.bin_directory in the configuration",
            )
        })
    }

    /// Returns a command that runs one of the programs.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin_dir.join(program));
        command.current_dir("/");
        for (name, _) in std::env::vars_os() {
            let bytes = name.as_encoded_bytes();
            // PGPORT and its kind would be silent defaults; a password may be needed.
            if bytes.starts_with(b"PG") && !bytes.starts_with(b"PGPASS") && !bytes.starts_with(b"PGSSL") {
                command.env_remove(name);
            }
        }
        command.env("LC_ALL", "C");
        if let Some(password) = &self.password {
            command.env("PGPASSWORD", password.reveal());
        }
        command
    }

    /// Runs a command to its end; tells each line, `true` for standard error. The program dies with this process.
    pub fn run(
        &self,
        mut command: Command,
        deadline: Deadline,
        told: &mut dyn FnMut(&str, bool),
    ) -> Result<Ended> {
        let program = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut spawn = Spawn::new(command).parent_death_signal(nix::sys::signal::Signal::SIGKILL);
        if user::is_root() {
            let owner = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(self.uid)).ok().flatten();
            let owner = owner.ok_or_else(|| Error::config(format!("there is no user {}", self.uid)))?;
            let owner = user::lookup(&owner.name)?;
            spawn = spawn.user(owner.uid, owner.gid).groups(&owner.groups);
        }
        let child = spawn.spawn().map_err(|error| {
            Error::config(format!("can't start \"{program}\""))
                .detail(error)
                .hint("is --bin-directory right?")
        })?;
        let mut child = Running(child);
        let (lines, inbox) = channel();
        let (out, err) = (child.0.stdout.take(), child.0.stderr.take());
        follow(out, lines.clone(), Line::Out)?;
        follow(err, lines, Line::Err)?;
        let mut said: Vec<String> = Vec::new();
        loop {
            match inbox.recv_timeout(deadline.left()) {
                Ok(Line::Out(line)) => told(&line, false),
                Ok(Line::Err(line)) => {
                    told(&line, true);
                    if said.len() < LINES && super::wal::progress(&line).is_none() {
                        said.push(line);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    return Err(Error::new(
                        Kind::TryAgain,
                        format!("\"{program}\" didn't end in time and was stopped"),
                    )
                    .detail(said.join("; "))
                    .hint("give it longer with --timeout"));
                }
            }
        }
        let status = child.0.wait().map_err(|error| Error::failed("can't follow a program").detail(error))?;
        Ok(Ended { success: status.success(), said: said.join("\n") })
    }
}

/// A child that is killed if it is left in the middle.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Reads lines (progress ends them with a carriage return) until the end.
fn follow<R: Read + Send + 'static>(
    pipe: Option<R>,
    lines: Sender<Line>,
    wrap: fn(String) -> Line,
) -> Result<()> {
    let Some(mut pipe) = pipe else { return Ok(()) };
    let read = move || {
        let (mut chunk, mut line) = ([0_u8; 8192], Vec::new());
        while let Ok(length) = pipe.read(&mut chunk) {
            if length == 0 {
                break;
            }
            for octet in chunk.iter().take(length) {
                if matches!(octet, b'\n' | b'\r') {
                    if !line.is_empty() && lines.send(wrap(lossy(&line))).is_err() {
                        return;
                    }
                    line.clear();
                } else if line.len() < 64 * 1024 {
                    line.push(*octet);
                }
            }
        }
        if !line.is_empty() {
            lines.send(wrap(lossy(&line))).unwrap_or_default();
        }
    };
    std::thread::Builder::new()
        .name("lines".to_owned())
        .spawn(read)
        .map(drop)
        .map_err(|error| Error::failed("can't start a thread").detail(error))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Waits without an event, where none can be had.
pub fn pause(time: Duration) {
    let (_nobody, silence) = channel::<()>();
    silence.recv_timeout(time).unwrap_or_default();
}
