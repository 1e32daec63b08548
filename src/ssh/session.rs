//! One SSH connection, with a deadline that holds.
//!
//! libssh2's own time limit counts each wait anew, closing included. So the work runs on a thread of its own, and when
//! the deadline passes the caller goes on and shuts the socket down, which ends every wait of that thread. A key is
//! judged by [`known_hosts`](super::known_hosts), never by libssh2.

use super::known_hosts::{KnownHosts, Verdict, fingerprint, kind_of};
use super::target::Target;
use crate::error::{Error, Kind, Result};
use crate::host::clock::Deadline;
use crate::host::files::read_optional;
use crate::net::driver::readable_before;
use ssh2::{ErrorCode, HashType, MethodType, Session};
use std::io::{self, Read};
use std::net::{Shutdown, TcpStream, ToSocketAddrs as _};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// The most that is kept of each output stream; the rest is read and thrown away.
const OUTPUT: usize = 1024 * 1024;
const KNOWN_HOSTS_LIMIT: u64 = 16 * 1024 * 1024;
/// `SSH_FX_NO_SUCH_FILE` of the SFTP protocol.
const NO_SUCH_FILE: i32 = 2;
/// How often a quiet connection is looked at for an end that came without octets.
const LOOK: Duration = Duration::from_millis(200);

/// How a command at the other end ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Code(i32),
    /// By a signal, without the "SIG". libssh2 says status 0 then, too.
    Signal(String),
}

/// What a command at the other end has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// How it ended.
    pub exit: Exit,
    /// Its standard output (the first MiB).
    pub stdout: Vec<u8>,
    /// Its standard error (the first MiB).
    pub stderr: Vec<u8>,
}

/// A connection whose host is known and that has let us in.
pub struct Ssh {
    session: Session,
    stream: TcpStream,
    deadline: Deadline,
    place: String,
}

/// Connects, does the work, and hangs up; returns by the deadline, whatever the other end does.
///
/// # Errors
/// [`Kind::Unreachable`] when there is no connection, [`Kind::Permission`] when the host's key isn't known or no key of
/// ours is accepted, [`Kind::Refused`] when the host's key has changed or is revoked, [`Kind::TryAgain`] when the
/// deadline passed: whether the work was done is then unknown.
pub fn with<T: Send + 'static>(
    target: &Target,
    deadline: Deadline,
    work: impl FnOnce(&mut Ssh) -> Result<T> + Send + 'static,
) -> Result<T> {
    let (lend, socket) = channel();
    let (done, ended) = channel();
    let (thread_target, place) = (target.clone(), target.place());
    std::thread::Builder::new()
        .name("ssh".to_owned())
        .spawn(move || {
            let result = open(&thread_target, deadline, &lend).and_then(|mut ssh| {
                let result = work(&mut ssh);
                ssh.hang_up();
                result
            });
            // Nobody waits when the deadline has passed.
            done.send(result).unwrap_or_default();
        })
        .map_err(|error| Error::failed("can't start a thread").detail(error))?;
    let result = ended.recv_timeout(deadline.left());
    if let (Err(_), Ok(stream)) = (&result, socket.try_recv()) {
        let stream: TcpStream = stream;
        stream.shutdown(Shutdown::Both).ok();
    }
    result.unwrap_or_else(|error| {
        Err(match error {
            RecvTimeoutError::Timeout => {
                Error::new(Kind::TryAgain, "no answer over SSH in time").detail(place)
            }
            RecvTimeoutError::Disconnected => Error::failed("the SSH thread ended").detail(place),
        })
    })
}

/// Connects and logs in; lends the socket out, so that whoever waits can cut it.
pub(super) fn open(target: &Target, deadline: Deadline, lend: &Sender<TcpStream>) -> Result<Ssh> {
    let place = target.place();
    let unreachable = |error: &dyn std::fmt::Display| {
        Error::new(Kind::Unreachable, format!("{} can't be reached over SSH", target.name))
            .detail(format!("{place}: {error}"))
    };
    let stream = connect(target, deadline).map_err(|error| unreachable(&error))?;
    let failed = |error: io::Error| Error::failed("can't share a socket").detail(error);
    lend.send(stream.try_clone().map_err(failed)?).unwrap_or_default();
    let known = read_known_hosts(target)?;
    let mut session = Session::new().map_err(|error| Error::failed("can't begin SSH").detail(error))?;
    session.set_tcp_stream(stream.try_clone().map_err(failed)?);
    session.set_timeout(millis(deadline));
    session
        .method_pref(MethodType::HostKey, &known.algorithms(&target.lookup))
        .and_then(|()| session.handshake())
        .map_err(|error| unreachable(&error))?;
    check_host(target, &session, &known)?;
    session.set_timeout(millis(deadline));
    log_in(target, &session, deadline)?;
    Ok(Ssh { session, stream, deadline, place })
}

/// Connects to the first address that answers.
fn connect(target: &Target, deadline: Deadline) -> io::Result<TcpStream> {
    let deadline = deadline.within(target.connect_timeout);
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
    for address in (target.host.as_str(), target.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, deadline.left().max(Duration::from_millis(1))) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn read_known_hosts(target: &Target) -> Result<KnownHosts> {
    let mut known = KnownHosts::default();
    for file in &target.known_hosts {
        if let Some(text) = read_optional(file, KNOWN_HOSTS_LIMIT)? {
            known.add(&String::from_utf8_lossy(&text), &file.display().to_string());
        }
    }
    Ok(known)
}

fn check_host(target: &Target, session: &Session, known: &KnownHosts) -> Result<()> {
    let place = target.place();
    let (key, _) = session
        .host_key()
        .ok_or_else(|| Error::failed(format!("{} shows no host key", target.name)).detail(&place))?;
    let kind = kind_of(key).unwrap_or("unknown").to_owned();
    let print = session.host_key_hash(HashType::Sha256).map_or_else(|| "unknown".to_owned(), fingerprint);
    let facts = format!("{kind} {print} at {place}, looked up as \"{}\"", target.lookup);
    let file = target.known_hosts.first().map_or_else(String::new, |file| file.display().to_string());
    let scan = format!(
        "ssh-keyscan -p {} {} | sed 's/^[^ ]*/{}/' >> {file}",
        target.port, target.host, target.lookup
    );
    let compare = format!(
        "first compare the fingerprint on {} itself: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
        target.name
    );
    match known.check(&target.lookup, &kind, key) {
        Verdict::Known => Ok(()),
        Verdict::Unknown { certificates } => {
            let error =
                Error::new(Kind::Permission, format!("the SSH host key of {} isn't known", target.name));
            let error = if certificates {
                error
                    .detail(format!("{facts}; @cert-authority lines aren't supported: a plain key is needed"))
            } else {
                error.detail(facts)
            };
            Err(error.hint(compare).hint(scan))
        }
        Verdict::OtherKind { known } => {
            let message = format!("only other kinds of SSH host keys of {} are known", target.name);
            Err(Error::new(Kind::Permission, message)
                .detail(format!("{facts}; known: {}", known.join(", ")))
                .hint(compare)
                .hint(scan))
        }
        Verdict::Changed { place } => {
            let message =
                format!("the SSH host key of {} HAS CHANGED: another machine may be answering", target.name);
            Err(Error::refused(message)
                .detail(format!("{facts}; the known key is at {place}"))
                .hint(format!("was {} installed anew? {compare}", target.name))
                .hint(format!("only then: ssh-keygen -R '{}' -f {file}", target.lookup)))
        }
        Verdict::Revoked { place } => {
            Err(Error::refused(format!("the SSH host key of {} is REVOKED", target.name))
                .detail(format!("{facts}; revoked at {place}")))
        }
    }
}

/// The agent's keys first, then the files; a password never.
fn log_in(target: &Target, session: &Session, deadline: Deadline) -> Result<()> {
    let mut tried = Vec::new();
    if !target.identities_only && std::env::var_os("SSH_AUTH_SOCK").is_some() {
        match by_agent(target, session) {
            Ok(true) => return Ok(()),
            Ok(false) => tried.push("the agent's keys".to_owned()),
            Err(error) => tried.push(format!("the agent: {error}")),
        }
    }
    for file in target.identities.iter().filter(|file| file.exists()) {
        session.set_timeout(millis(deadline));
        match session.userauth_pubkey_file(&target.user, None, file, None) {
            Ok(()) if session.authenticated() => return Ok(()),
            Ok(()) => tried.push(file.display().to_string()),
            Err(error) => tried.push(format!("{}: {error}", file.display())),
        }
    }
    let tried = if tried.is_empty() { "no key was found".to_owned() } else { tried.join("; ") };
    Err(Error::new(Kind::Permission, format!("{} accepts no SSH key of ours", target.name))
        .detail(format!("{}: {tried}", target.place()))
        .hint("a key with a passphrase must be in the agent: ssh-add")
        .hint(format!("ssh -o BatchMode=yes -p {} {}@{} true", target.port, target.user, target.host)))
}

fn by_agent(target: &Target, session: &Session) -> Result<bool, ssh2::Error> {
    let mut agent = session.agent()?;
    agent.connect()?;
    agent.list_identities()?;
    for identity in agent.identities()? {
        if agent.userauth(&target.user, &identity).is_ok() && session.authenticated() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn millis(deadline: Deadline) -> u32 {
    // Zero would mean "for ever".
    u32::try_from(deadline.left().as_millis()).unwrap_or(u32::MAX).max(1)
}

impl Ssh {
    /// Sets the time by which what follows must be done.
    pub(super) const fn until(&mut self, deadline: Deadline) {
        self.deadline = deadline;
    }

    /// Runs a command (a line for the shell at the other end; see [`quote`](super::quote)) to its end.
    pub fn exec(&mut self, line: &str) -> Result<Executed> {
        let place = self.place.clone();
        let failed = |error: &dyn std::fmt::Display| {
            Error::new(Kind::TryAgain, "the command's end isn't known").detail(format!("{place}: {error}"))
        };
        self.session.set_timeout(millis(self.deadline));
        let mut channel = self.session.channel_session().map_err(|error| failed(&error))?;
        channel.exec(line).map_err(|error| failed(&error))?;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        // Both streams in turn, without waiting for either: one that isn't read would hold the other up.
        self.session.set_blocking(false);
        let drained = loop {
            let moved = drain(&mut channel.stream(0), &mut stdout)
                .and_then(|out| drain(&mut channel.stderr(), &mut stderr).map(|err| out || err));
            match moved {
                Err(error) => break Err(failed(&error)),
                Ok(_) if channel.eof() => break Ok(()),
                Ok(_) if self.deadline.passed() => break Err(failed(&"the deadline has passed")),
                Ok(true) => {}
                Ok(false) => {
                    readable_before(self.stream.as_fd(), self.deadline.within(LOOK))?;
                }
            }
        };
        self.session.set_blocking(true);
        drained?;
        self.session.set_timeout(millis(self.deadline));
        channel.wait_close().map_err(|error| failed(&error))?;
        // The signal first: killed commands have exit status 0 here.
        let signal = channel.exit_signal().map_err(|error| failed(&error))?.exit_signal;
        let exit = match signal {
            Some(name) => Exit::Signal(name),
            None => Exit::Code(channel.exit_status().map_err(|error| failed(&error))?),
        };
        Ok(Executed { exit, stdout, stderr })
    }

    /// Reads a file of at most `max` octets by SFTP; `None` when there is no such file.
    pub fn read_file(&mut self, path: &Path, max: usize) -> Result<Option<Vec<u8>>> {
        let failed = |error: &dyn std::fmt::Display| {
            Error::failed(format!("can't read {} over SFTP", path.display()))
                .detail(format!("{}: {error}", self.place))
        };
        self.session.set_timeout(millis(self.deadline));
        let sftp = self.session.sftp().map_err(|error| failed(&error))?;
        let file = match sftp.open(path) {
            Ok(file) => file,
            Err(error) if error.code() == ErrorCode::SFTP(NO_SUCH_FILE) => return Ok(None),
            Err(error) => return Err(failed(&error)),
        };
        let mut bytes = Vec::new();
        let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
        file.take(limit).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
        if bytes.len() > max {
            return Err(failed(&format!("it is longer than {max} octets")));
        }
        Ok(Some(bytes))
    }

    /// Lists the names in a folder by SFTP.
    pub fn list(&mut self, folder: &Path) -> Result<Vec<String>> {
        let failed = |error: ssh2::Error| {
            Error::failed(format!("can't list {} over SFTP", folder.display()))
                .detail(format!("{}: {error}", self.place))
        };
        self.session.set_timeout(millis(self.deadline));
        let entries = self.session.sftp().and_then(|sftp| sftp.readdir(folder)).map_err(failed)?;
        Ok(entries.into_iter().filter_map(|(path, _)| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    /// Says good-bye, if the other end still listens.
    pub(super) fn hang_up(&self) {
        self.session.set_timeout(millis(self.deadline));
        self.session.disconnect(None, "done", None).ok();
    }
}

/// Reads what is there now; returns whether there was anything.
fn drain(stream: &mut impl Read, into: &mut Vec<u8>) -> io::Result<bool> {
    let mut chunk = [0; 16 * 1024];
    let mut moved = false;
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(moved),
            Ok(count) => {
                moved = true;
                let room = OUTPUT.saturating_sub(into.len()).min(count);
                into.extend_from_slice(chunk.get(..room).unwrap_or_default());
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(moved),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(port: u16) -> Target {
        Target {
            name: "node1".to_owned(),
            host: "127.0.0.1".to_owned(),
            port,
            user: "nobody".to_owned(),
            lookup: "node1".to_owned(),
            known_hosts: Vec::new(),
            identities: Vec::new(),
            identities_only: true,
            connect_timeout: Duration::from_secs(5),
        }
    }

    #[test]
    fn a_port_where_nobody_listens_is_unreachable() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let error = with(&target(port), Deadline::after(Duration::from_secs(5)), |_| Ok(())).unwrap_err();
        assert_eq!(error.kind(), Kind::Unreachable);
    }

    #[test]
    fn a_silent_listener_meets_the_deadline_once_not_twice() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        let begin = crate::host::clock::now();
        let error = with(&target(port), Deadline::after(Duration::from_millis(300)), |_| Ok(())).unwrap_err();
        assert!([Kind::TryAgain, Kind::Unreachable].contains(&error.kind()), "{error}");
        assert!(crate::host::clock::now().since(begin) < Duration::from_secs(5));
    }
}
