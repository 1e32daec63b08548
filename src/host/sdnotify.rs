//! Telling systemd how the daemon is (`sd_notify(3)`); silent where nobody asked.

use crate::error::{Error, Result};
use crate::host::clock;
use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The variables that a child process must not inherit: it would speak for the daemon.
pub const ENVIRONMENT: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"];

/// The connection to the service manager.
#[derive(Debug)]
pub struct SdNotify {
    target: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl SdNotify {
    /// Reads the environment. The variables stay there; children are started without them (`host::spawn`).
    pub fn from_env() -> Result<Self> {
        let pid = env::var("WATCHDOG_PID").ok();
        let usec = env::var("WATCHDOG_USEC").ok();
        let watchdog = watchdog(pid.as_deref(), usec.as_deref(), std::process::id());
        match env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) {
            Some(name) => Self::to(&name, watchdog),
            None => Ok(Self { target: None, watchdog: None }),
        }
    }

    /// Connects to the socket with this name; `@` at its start means the abstract namespace.
    pub fn to(name: &OsStr, watchdog: Option<Duration>) -> Result<Self> {
        let open = || -> io::Result<(UnixDatagram, SocketAddr)> {
            let address = match name.as_bytes() {
                [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
                [b'/', ..] => SocketAddr::from_pathname(name)?,
                _ => return Err(io::ErrorKind::Unsupported.into()),
            };
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            Ok((socket, address))
        };
        match open() {
            Ok(target) => Ok(Self { target: Some(target), watchdog }),
            Err(error) => {
                let name = name.to_string_lossy();
                Err(Error::failed(format!("can't use NOTIFY_SOCKET \"{name}\"")).detail(error))
            }
        }
    }

    /// Returns whether a service manager listens.
    pub const fn is_active(&self) -> bool {
        self.target.is_some()
    }

    /// Returns how often [`Self::watchdog`] is to be called: half of what systemd allows. `None`: never.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog.filter(|_| self.is_active()).map(|period| period / 2)
    }

    /// The daemon is up (or a reload has ended), with a line on its state.
    pub fn ready(&self, status: &str) -> io::Result<()> {
        self.send(&format!("READY=1\nSTATUS={}", line(status)))
    }

    /// A new line on its state, for `systemctl status`.
    pub fn status(&self, status: &str) -> io::Result<()> {
        self.send(&format!("STATUS={}", line(status)))
    }

    /// It is going down.
    pub fn stopping(&self) -> io::Result<()> {
        self.send("STOPPING=1")
    }

    /// It reads its configuration again; [`Self::ready`] ends that. The time is in the same datagram,
    /// because systemd takes a reload without it for a failed one.
    pub fn reloading(&self) -> io::Result<()> {
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", clock::monotonic().as_micros()))
    }

    /// It is alive. To be called by the event loop itself, so that a hung loop is noticed.
    pub fn watchdog(&self) -> io::Result<()> {
        self.send("WATCHDOG=1")
    }

    /// Nothing here ever waits: a service manager that doesn't read loses the message.
    fn send(&self, message: &str) -> io::Result<()> {
        let Some((socket, address)) = &self.target else { return Ok(()) };
        match socket.send_to_addr(message.as_bytes(), address) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// A line break would begin another assignment.
fn line(status: &str) -> String {
    status.replace(['\n', '\r'], " ")
}

fn watchdog(pid: Option<&str>, usec: Option<&str>, own: u32) -> Option<Duration> {
    if pid.is_some_and(|pid| pid.parse() != Ok(own)) {
        return None;
    }
    let micros: u64 = usec?.parse().ok()?;
    (micros > 0).then(|| Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::files::tests::Scratch;

    fn receive(socket: &UnixDatagram) -> String {
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut buffer = [0; 300];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn messages_reach_a_path_socket_and_an_abstract_one() {
        let scratch = Scratch::new();
        let path = scratch.0.join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        SdNotify::to(path.as_os_str(), None).unwrap().ready("VI_1 Backup\nREADY=0").unwrap();
        assert_eq!(receive(&by_path), "READY=1\nSTATUS=VI_1 Backup READY=0");

        let name = format!("pgbaton-test-{}", std::process::id());
        let abstract_address = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
        let by_name = UnixDatagram::bind_addr(&abstract_address).unwrap();
        let notify = SdNotify::to(OsStr::new(&format!("@{name}")), Some(Duration::from_secs(2))).unwrap();
        assert_eq!(notify.watchdog_interval(), Some(Duration::from_secs(1)));
        notify.reloading().unwrap();
        let text = receive(&by_name);
        assert!(text.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{text}");
        notify.stopping().unwrap();
        assert_eq!(receive(&by_name), "STOPPING=1");
    }

    #[test]
    fn a_manager_that_is_gone_or_slow_never_blocks_the_daemon() {
        let scratch = Scratch::new();
        let path = scratch.0.join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        let notify = SdNotify::to(path.as_os_str(), None).unwrap();
        for _ in 0..2000 {
            notify.watchdog().unwrap();
        }
        drop(listener);
        assert!(notify.status("x").is_err());
    }

    #[test]
    fn the_watchdog_of_another_process_is_not_ours() {
        assert_eq!(watchdog(Some("7"), Some("1000"), 7), Some(Duration::from_millis(1)));
        assert_eq!(watchdog(None, Some("1000"), 7), Some(Duration::from_millis(1)));
        assert_eq!(watchdog(Some("8"), Some("1000"), 7), None);
        assert_eq!(watchdog(Some("7"), Some("0"), 7), None);
        assert_eq!(watchdog(Some("7"), Some("soon"), 7), None);
    }
}
