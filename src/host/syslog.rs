//! Log lines of processes that nobody watches: datagrams to the local syslog, which the journal reads, too.

use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;

/// Where syslog listens.
const SOCKET: &str = "/dev/log";
/// `LOG_DAEMON`.
const FACILITY: u8 = 3 << 3;

/// A writer that takes lines of the journal's form (`<5>text`) and sends them to syslog.
#[derive(Debug)]
pub struct Syslog {
    socket: UnixDatagram,
    tag: String,
}

impl Syslog {
    /// Connects; an error where no syslog listens.
    pub fn open(name: &str) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(SOCKET)?;
        // A log that isn't read must not hold anything up.
        socket.set_nonblocking(true)?;
        Ok(Self { socket, tag: format!("{name}[{}]", std::process::id()) })
    }
}

impl Write for Syslog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.send(datagram(&self.tag, &String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the datagram of a line.
fn datagram(tag: &str, line: &str) -> String {
    let line = line.trim_end();
    let parsed = line.strip_prefix('<').and_then(|rest| rest.split_once('>'));
    let (level, text) =
        parsed.and_then(|(level, text)| Some((level.parse::<u8>().ok()?, text))).unwrap_or((5, line));
    format!("<{}>{tag}: {text}", FACILITY | (level & 7))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_priority_of_a_line_becomes_that_of_the_datagram() {
        assert_eq!(datagram("pgbaton[7]", "<3>can't promote\n"), "<27>pgbaton[7]: can't promote");
        assert_eq!(datagram("pgbaton[7]", "no priority"), "<29>pgbaton[7]: no priority");
    }
}
