//! Other processes: finding them, waiting for their end, signalling them, running short-lived ones.
//!
//! A process is held by a pidfd, never by its number alone: numbers are used again.

use crate::error::{Error, Kind, Result};
use crate::host::clock::Deadline;
use crate::host::signal::Signal;
use crate::host::spawn::Spawn;
use crate::net::driver::{readable_before, timespec};
use crate::units::Moment;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, kill_process_group, pidfd_open, pidfd_send_signal};
use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// The most that is kept of each output stream of a child; the rest is read and thrown away.
const OUTPUT: usize = 1024 * 1024;

/// A handle of a process: readable (for epoll) when the process has ended.
#[derive(Debug)]
pub struct Pidfd {
    fd: OwnedFd,
    pid: u32,
}

impl Pidfd {
    /// Opens a process by its number; `None` when there is no such process.
    ///
    /// The number may have been used again since it was written down: check what it is (with
    /// [`start_time`], or its directory) *after* opening.
    pub fn open(pid: u32) -> Result<Option<Self>> {
        let Some(raw) = raw_pid(pid) else { return Ok(None) };
        match pidfd_open(raw, PidfdFlags::empty()) {
            Ok(fd) => Ok(Some(Self { fd, pid })),
            // INVAL: the number of a thread that isn't a process.
            Err(Errno::SRCH | Errno::INVAL) => Ok(None),
            Err(error) => Err(Error::failed(format!("can't watch process {pid}")).detail(error)),
        }
    }

    /// Returns the number of the process.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for the end of the process; returns whether it has ended.
    pub fn wait(&self, deadline: Deadline) -> Result<bool> {
        readable_before(self.fd.as_fd(), deadline)
    }

    /// Returns whether the process has ended (it may still be a zombie).
    pub fn has_ended(&self) -> Result<bool> {
        self.wait(Deadline::at(Moment::BOOT))
    }

    /// Sends a signal; returns whether the process was still there.
    pub fn signal(&self, signal: Signal) -> Result<bool> {
        let Some(named) = rustix::process::Signal::from_named_raw(signal as i32) else {
            return Err(Error::failed(format!("can't send {signal}")));
        };
        match pidfd_send_signal(&self.fd, named) {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(error) => {
                let kind = if error == Errno::PERM { Kind::Permission } else { Kind::Failed };
                Err(Error::new(kind, format!("can't send {signal} to process {}", self.pid)).detail(error))
            }
        }
    }
}

impl AsFd for Pidfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Returns the numbers of the processes whose working directory is this one, in ascending order.
///
/// Every `PostgreSQL` process works in its data directory, so this finds a server whatever its pid file says.
/// Processes of other users can only be seen by root: no result is not proof that there is none.
pub fn find_by_cwd(directory: &Path) -> Result<Vec<u32>> {
    let failed = |error: io::Error| Error::failed("can't look for processes").detail(error);
    let wanted = fs::metadata(directory).map_err(|error| failed(error).detail(directory.display()))?;
    let mut found: Vec<u32> = fs::read_dir("/proc")
        .map_err(failed)?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| {
            // The link may show a path of another mount namespace; what it leads to can't lie.
            fs::metadata(format!("/proc/{pid}/cwd"))
                .is_ok_and(|cwd| (cwd.dev(), cwd.ino()) == (wanted.dev(), wanted.ino()))
        })
        .collect();
    found.sort_unstable();
    Ok(found)
}

/// Returns the numbers of the processes that were started as this program with this word among their arguments.
///
/// For children that outlive a killed parent: `pg_basebackup` has one that goes on writing.
pub fn find_by_argument(program: &str, argument: &Path) -> Result<Vec<u32>> {
    let failed = |error: io::Error| Error::failed("can't look for processes").detail(error);
    let wanted = argument.as_os_str().as_encoded_bytes();
    Ok(fs::read_dir("/proc")
        .map_err(failed)?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut words = line.split(|octet| *octet == 0);
            let name = words.next().and_then(|first| first.rsplit(|octet| *octet == b'/').next());
            name == Some(program.as_bytes()) && words.any(|word| word == wanted)
        })
        .collect())
}

/// Returns the numbers of the processes of a program, given by its name without folder, that have all these words
/// among their arguments, in ascending order. Zombies and kernel threads aren't among them.
pub fn find_by_name(program: &str, arguments: &[String]) -> Result<Vec<u32>> {
    /// The kernel keeps this much of a process's name.
    const COMM: usize = 15;
    let failed = |error: io::Error| Error::failed("can't look for processes").detail(error);
    let short = program.as_bytes().get(..COMM).unwrap_or(program.as_bytes());
    let mut found: Vec<u32> = fs::read_dir("/proc")
        .map_err(failed)?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if line.is_empty() {
                return false;
            }
            let words: Vec<&[u8]> = line.split(|octet| *octet == 0).collect();
            let base = words.first().and_then(|word| word.rsplit(|octet| *octet == b'/').next());
            let named = || {
                let comm = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
                comm.strip_suffix(b"\n").unwrap_or(&comm) == short
            };
            arguments.iter().all(|argument| words.iter().skip(1).any(|word| *word == argument.as_bytes()))
                && (base == Some(program.as_bytes()) || named())
        })
        .collect();
    found.sort_unstable();
    Ok(found)
}

/// Returns when a process was started, to hundredths of a second; `None` when there is no such process.
pub fn start_time(pid: u32) -> Option<Moment> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let ticks = start_ticks(&stat)?;
    let per_second = rustix::param::clock_ticks_per_second();
    Some(Moment::from_nanos(ticks.checked_mul(1_000_000_000)?.checked_div(per_second)?))
}

/// The 22nd field of `/proc/PID/stat`. The second, the name, may hold blanks and parentheses.
fn start_ticks(stat: &[u8]) -> Option<u64> {
    let end = stat.iter().rposition(|octet| *octet == b')')?;
    let rest = std::str::from_utf8(stat.get(end.checked_add(1)?..)?).ok()?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// What a child process has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to its standard output (the first MiB).
    pub stdout: Vec<u8>,
    /// What it wrote to its standard error (the first MiB).
    pub stderr: Vec<u8>,
}

impl Output {
    /// Returns the standard error as text without white space around it, for an error's detail.
    pub fn complaint(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim().to_owned()
    }
}

/// Runs a command to its end, or kills it (and its process group) at the deadline.
///
/// Its standard input is empty. What it leaves running in the background (`pg_ctl start` does) isn't waited
/// for, even when that holds its output open.
pub fn run(command: Command, deadline: Deadline) -> Result<Output> {
    run_spawn(Spawn::new(command), deadline)
}

/// Like [`run`], as another user or somewhere else.
pub fn run_spawn(spawn: Spawn, deadline: Deadline) -> Result<Output> {
    run_with_grace(spawn, deadline, None)
}

/// Like [`run_spawn`], but the process group is asked to end (`SIGTERM`) first, and killed only after `grace`.
pub fn run_gently(spawn: Spawn, deadline: Deadline, grace: Duration) -> Result<Output> {
    run_with_grace(spawn, deadline, Some(grace))
}

fn run_with_grace(mut spawn: Spawn, deadline: Deadline, grace: Option<Duration>) -> Result<Output> {
    let command = spawn.command_mut();
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = spawn.spawn().map_err(|error| not_started(&program, &error))?;
    let mut running = Running { child: &mut child, reaped: false };
    let result = running.collect(deadline, grace);
    let ended = match result {
        Ok(ended) => ended,
        Err(error) => return Err(error.detail(program)),
    };
    match ended {
        Ended::Exited(output) => Ok(output),
        Ended::Stopped(stderr) => {
            let error =
                Error::new(Kind::TryAgain, format!("\"{program}\" didn't end in time and was stopped"));
            let words = String::from_utf8_lossy(&stderr);
            Err(match words.trim() {
                "" => error,
                words => error.detail(words),
            })
        }
        Ended::Killed(stderr) => {
            let error =
                Error::new(Kind::TryAgain, format!("\"{program}\" didn't end in time and was killed"));
            let words = String::from_utf8_lossy(&stderr);
            Err(match words.trim() {
                "" => error,
                words => error.detail(words),
            })
        }
    }
}

enum Ended {
    Exited(Output),
    /// It ended when it was asked to.
    Stopped(Vec<u8>),
    Killed(Vec<u8>),
}

/// A started child, which is killed if it is left in the middle.
struct Running<'a> {
    child: &'a mut Child,
    reaped: bool,
}

impl Running<'_> {
    fn collect(&mut self, mut deadline: Deadline, mut grace: Option<Duration>) -> Result<Ended> {
        let lost = |error: io::Error| Error::failed("can't follow a child process").detail(error);
        let pidfd = raw_pid(self.child.id())
            .ok_or_else(|| Error::failed("a child process has no number"))
            .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).map_err(|error| lost(error.into())))?;
        let (mut out, mut err) = (self.child.stdout.take(), self.child.stderr.take());
        for fd in out.iter().map(AsFd::as_fd).chain(err.iter().map(AsFd::as_fd)) {
            rustix::io::ioctl_fionbio(fd, true).map_err(|error| lost(error.into()))?;
        }
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut asked = false;
        loop {
            let exited = {
                let mut fds = vec![PollFd::new(&pidfd, PollFlags::IN)];
                fds.extend(out.iter().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
                fds.extend(err.iter().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
                match poll(&mut fds, Some(&timespec(deadline))) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error) => return Err(lost(error.into())),
                }
                fds.first().is_some_and(|fd| !fd.revents().is_empty())
            };
            // After the exit once more: what it wrote last is in the pipes by now.
            drain(&mut out, &mut stdout);
            drain(&mut err, &mut stderr);
            if exited {
                let status = self.child.wait().map_err(lost)?;
                self.reaped = true;
                if asked {
                    return Ok(Ended::Stopped(stderr));
                }
                return Ok(Ended::Exited(Output { status, stdout, stderr }));
            }
            if deadline.passed() {
                let Some(grace) = grace.take() else { return Ok(Ended::Killed(stderr)) };
                asked = true;
                deadline = Deadline::after(grace);
                self.signal_group(rustix::process::Signal::TERM);
            }
        }
    }
}

impl Running<'_> {
    /// Signals the child and all that it has started. The child isn't reaped yet, so the number is still its own.
    fn signal_group(&self, signal: rustix::process::Signal) {
        if let Some(group) = raw_pid(self.child.id()) {
            kill_process_group(group, signal).ok();
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        self.signal_group(rustix::process::Signal::KILL);
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Reads what is in a pipe now; closes it at its end.
fn drain<R: Read>(pipe: &mut Option<R>, into: &mut Vec<u8>) {
    let mut chunk = [0; 16 * 1024];
    while let Some(reader) = pipe {
        match reader.read(&mut chunk) {
            Ok(0) => *pipe = None,
            Ok(length) => {
                let room = OUTPUT.saturating_sub(into.len());
                into.extend_from_slice(chunk.get(..length.min(room)).unwrap_or_default());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(_) => *pipe = None,
        }
    }
}

fn not_started(program: &str, error: &io::Error) -> Error {
    let message = format!("can't start \"{program}\"");
    match error.kind() {
        io::ErrorKind::NotFound => Error::config(message).detail(error),
        io::ErrorKind::PermissionDenied => Error::new(Kind::Permission, message).detail(error),
        _ => Error::failed(message).detail(error),
    }
}

fn raw_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().filter(|pid| *pid > 0).and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::clock;
    use crate::host::files::tests::Scratch;

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(30))
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_child_gives_its_status_and_both_streams() {
        let output = run(shell("echo out; echo err >&2; read x || exit 3"), soon()).unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(output.stdout, b"out\n");
        assert_eq!(output.complaint(), "err");
    }

    #[test]
    fn more_output_than_a_pipe_holds_is_no_deadlock_and_is_cut_at_the_limit() {
        let output = run(shell("head -c 3000000 /dev/zero; head -c 300000 /dev/zero >&2"), soon()).unwrap();
        assert_eq!((output.stdout.len(), output.stderr.len()), (OUTPUT, 300_000));
    }

    #[test]
    fn a_child_that_does_not_end_is_killed_with_its_group() {
        let scratch = Scratch::new();
        let mut command = shell("echo starting >&2; sleep 1000 & wait");
        command.current_dir(&scratch.0);
        let error = run(command, Deadline::after(Duration::from_millis(300))).unwrap_err();
        assert_eq!(error.kind(), Kind::TryAgain);
        assert_eq!(error.message(), "\"sh\" didn't end in time and was killed");
        for pid in find_by_cwd(&scratch.0).unwrap() {
            if let Some(process) = Pidfd::open(pid).unwrap() {
                assert!(process.wait(soon()).unwrap());
            }
        }
    }

    #[test]
    fn a_child_may_end_by_itself_when_it_is_asked_to() {
        let gently = |script: &str| {
            run_gently(
                Spawn::new(shell(script)),
                Deadline::after(Duration::from_millis(200)),
                Duration::from_millis(300),
            )
            .unwrap_err()
        };
        let error = gently("trap 'echo asked >&2; exit 0' TERM; while :; do sleep 0.05; done");
        assert_eq!(error.message(), "\"sh\" didn't end in time and was stopped");
        assert!(error.to_string().contains("asked"), "{error}");
        let error = gently("trap '' TERM; while :; do sleep 0.05; done");
        assert_eq!(error.message(), "\"sh\" didn't end in time and was killed");
    }

    #[test]
    fn a_background_process_that_holds_the_output_open_is_not_waited_for() {
        let scratch = Scratch::new();
        let mut command = shell("sleep 1000 & echo $!");
        command.current_dir(&scratch.0);
        let output = run(command, soon()).unwrap();
        let pid = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        assert_eq!(find_by_cwd(&scratch.0).unwrap(), [pid]);
        let process = Pidfd::open(pid).unwrap().unwrap();
        assert!(!process.has_ended().unwrap());
        assert!(process.signal(Signal::SIGKILL).unwrap());
        assert!(process.wait(soon()).unwrap());
    }

    #[test]
    fn a_process_is_found_by_its_name_and_arguments_and_not_after_its_end() {
        let mark = format!("{}.5", 100_000 + std::process::id());
        let mut child = Command::new("sleep").arg(&mark).spawn().unwrap();
        let find = |words: &[&str]| {
            find_by_name("sleep", &words.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
        };
        // Between fork and exec the child still has our name.
        let deadline = soon();
        while find(&[&mark]) != [child.id()] {
            assert!(!deadline.passed());
        }
        assert_eq!(find(&[&mark, "more"]), [0_u32; 0]);
        child.kill().unwrap();
        let process = Pidfd::open(child.id()).unwrap().unwrap();
        assert!(process.wait(soon()).unwrap());
        assert_eq!(find(&[&mark]), [0_u32; 0], "a zombie doesn't run");
        child.wait().unwrap();
    }

    #[test]
    fn a_program_that_is_not_there_is_a_configuration_error() {
        let error = run(Command::new("/no/such/program"), soon()).unwrap_err();
        assert_eq!(error.kind(), Kind::Config);
        assert_eq!(error.message(), "can't start \"/no/such/program\"");
    }

    #[test]
    fn a_process_that_is_not_there_has_no_handle() {
        for pid in [0, u32::MAX, 4_194_305] {
            assert!(Pidfd::open(pid).unwrap().is_none(), "{pid}");
        }
    }

    #[test]
    fn the_start_of_this_process_lies_in_the_past() {
        let start = start_time(std::process::id()).unwrap();
        assert!(start > Moment::BOOT && start <= clock::now());
        assert_eq!(start_time(u32::MAX), None);
    }

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let mut stat = b"42 (a) b) (c) S".to_vec();
        stat.extend((4..=22).flat_map(|field| format!(" {field}").into_bytes()));
        assert_eq!(start_ticks(&stat), Some(22));
        for length in 0..stat.len() {
            let _ = start_ticks(&stat[..length]);
        }
        assert_eq!(start_ticks(b")"), None);
    }
}
