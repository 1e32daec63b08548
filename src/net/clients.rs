//! The TCP connections to an address that is about to go: ended while their last word can still leave.
//!
//! A client that waits for an answer sends nothing, so nothing would tell it that the address has moved: it would
//! wait until its keepalives give up, with the kernel's defaults for hours. The kernel can abort a connection over
//! its owner's head (`SOCK_DESTROY`, since 4.9): the client gets a reset, the process here an error. The reset comes
//! from the address, so the address must still be there.

use crate::error::{Error, Kind, Result};
use crate::host::clock::Deadline;
use crate::net::caps::{self, Needs};
use crate::net::driver::readable_before;
use netlink_sys::{Socket, SocketAddr};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd as _;

/// `NETLINK_SOCK_DIAG`.
const SOCK_DIAG: isize = 4;
const BY_FAMILY: u16 = 20;
const DESTROY: u16 = 21;
const DONE: u16 = 3;
const ERROR: u16 = 2;
const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const DUMP: u16 = 0x300;
const HEADER: usize = 16;
/// Ports, addresses, interface and cookie: what names a connection.
const ID: usize = 48;
/// The octets before them in the kernel's answer.
const BEFORE_ID: usize = 4;
/// Established, opening and closing connections; neither those that wait for new ones nor those that are over.
const STATES: u32 = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;
/// "The source is…", in the filter's language.
const SOURCE: u8 = 7;
const FILTER: u16 = 1;
/// How many are ended with one system call.
const BATCH: usize = 64;

/// A connection, as the kernel names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Connection {
    family: u8,
    id: [u8; ID],
}

impl Connection {
    /// Returns the interface that it is bound to; 0 is none.
    fn interface(&self) -> u32 {
        self.id.get(36..40).and_then(|octets| octets.try_into().ok()).map_or(0, u32::from_ne_bytes)
    }
}

/// The connections to one address of this machine.
#[derive(Debug)]
pub struct Clients {
    socket: Socket,
    sequence: u32,
    found: Vec<Connection>,
}

impl Clients {
    /// Looks for the connections whose end here is this address; a link-local address is meant on one interface.
    /// Needs no right.
    pub fn of(address: IpAddr, index: u32, deadline: Deadline) -> Result<Self> {
        let open = || -> io::Result<Socket> {
            let mut socket = Socket::new(SOCK_DIAG)?;
            socket.bind_auto()?;
            socket.set_non_blocking(true)?;
            Ok(socket)
        };
        let socket = open().map_err(|error| looking(address).detail(error))?;
        let mut clients = Self { socket, sequence: 0, found: Vec::new() };
        // A socket of the other family may hold an IPv4 connection, too.
        let families: &[u8] = if address.is_ipv4() { &[INET, INET6] } else { &[INET6] };
        for family in families {
            clients.look(*family, address, deadline)?;
        }
        if matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()) {
            clients.found.retain(|connection| [0, index].contains(&connection.interface()));
        }
        Ok(clients)
    }

    /// Returns how many there are.
    pub const fn count(&self) -> usize {
        self.found.len()
    }

    /// Ends them, as many as the time allows; returns how many were.
    pub fn end(mut self, deadline: Deadline) -> Result<usize> {
        let mut ended = 0_usize;
        for batch in std::mem::take(&mut self.found).chunks(BATCH) {
            if deadline.passed() {
                break;
            }
            let first = self.sequence.wrapping_add(1);
            let mut octets = Vec::new();
            for connection in batch {
                self.sequence = self.sequence.wrapping_add(1);
                octets.extend(destroy_request(connection, self.sequence));
            }
            self.send(&octets)?;
            let mut answers = 0;
            while answers < batch.len() {
                for message in self.receive(deadline)? {
                    if message.sequence.wrapping_sub(first) > u32::MAX / 2 {
                        continue;
                    }
                    answers = answers.saturating_add(1);
                    match message.code {
                        0 => ended = ended.saturating_add(1),
                        // It ended by itself meanwhile.
                        libc::ENOENT => {}
                        code => return Err(refusal(code)),
                    }
                }
            }
        }
        Ok(ended)
    }

    fn look(&mut self, family: u8, address: IpAddr, deadline: Deadline) -> Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        self.send(&list_request(family, address, self.sequence))?;
        loop {
            for message in self.receive(deadline)? {
                if message.sequence != self.sequence {
                    continue;
                }
                match (message.connection, message.code) {
                    (Some(connection), _) => self.found.push(connection),
                    (None, 0) if message.last => return Ok(()),
                    // No socket of this family, nor the means to ask for one.
                    (None, libc::ENOENT) if family == INET6 && address.is_ipv4() => return Ok(()),
                    (None, code) => {
                        return Err(looking(address)
                            .detail(io::Error::from_raw_os_error(code))
                            .hint("does this kernel have CONFIG_INET_DIAG? modprobe tcp_diag"));
                    }
                }
            }
        }
    }

    fn send(&self, octets: &[u8]) -> Result<()> {
        let sent = self.socket.send_to(octets, &SocketAddr::new(0, 0), 0);
        sent.map(drop).map_err(|error| Error::failed("can't ask for TCP connections").detail(error))
    }

    /// Waits for one datagram.
    fn receive(&self, deadline: Deadline) -> Result<Vec<Message>> {
        let mut buffer = vec![0; 32 * 1024];
        loop {
            match self.socket.recv_from(&mut buffer.as_mut_slice(), 0) {
                Ok((length, _)) => return Ok(messages(buffer.get(..length).unwrap_or_default())),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !readable_before(self.socket.as_fd(), deadline)? {
                        return Err(Error::new(Kind::TryAgain, "the list of TCP connections takes too long"));
                    }
                }
                Err(error) => return Err(Error::failed("can't list TCP connections").detail(error)),
            }
        }
    }
}

fn looking(address: IpAddr) -> Error {
    Error::failed(format!("can't list the TCP connections to {address}"))
}

fn refusal(code: i32) -> Error {
    let message = "can't end TCP connections".to_owned();
    match code {
        libc::EPERM => caps::denied(message, Needs::NetAdmin),
        libc::EOPNOTSUPP => Error::failed(message).detail(
            "this kernel doesn't know how (CONFIG_INET_DIAG_DESTROY): clients notice at their next packet",
        ),
        _ => Error::failed(message).detail(io::Error::from_raw_os_error(code)),
    }
}

// --- octets -------------------------------------------------------------------------------------------------

const INET: u8 = 2;
const INET6: u8 = 10;
const TCP: u8 = 6;

/// What the kernel answers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Message {
    sequence: u32,
    connection: Option<Connection>,
    /// The error number of an answer; 0 is none.
    code: i32,
    /// Whether it is the end of a list or an acknowledgement.
    last: bool,
}

fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len().saturating_add(HEADER)).unwrap_or(u32::MAX);
    let mut octets = Vec::with_capacity(HEADER + body.len());
    octets.extend_from_slice(&length.to_ne_bytes());
    octets.extend_from_slice(&kind.to_ne_bytes());
    octets.extend_from_slice(&flags.to_ne_bytes());
    octets.extend_from_slice(&sequence.to_ne_bytes());
    octets.extend_from_slice(&0_u32.to_ne_bytes());
    octets.extend_from_slice(body);
    octets
}

/// Asks for the connections from this address, told apart by the kernel: a busy server has many others.
fn list_request(family: u8, address: IpAddr, sequence: u32) -> Vec<u8> {
    let (of, octets) = match address {
        IpAddr::V4(v4) => (INET, v4.octets().to_vec()),
        IpAddr::V6(v6) => (INET6, v6.octets().to_vec()),
    };
    let bits = u8::try_from(octets.len().saturating_mul(8)).unwrap_or(0);
    // The condition; then how far to go when it holds (to the end: take it) and when it doesn't (past it).
    let step = 12_u8.saturating_add(u8::try_from(octets.len()).unwrap_or(0));
    let mut body = vec![family, TCP, 0, 0];
    body.extend_from_slice(&STATES.to_ne_bytes());
    body.extend_from_slice(&[0; ID]);
    let attribute = u16::from(step).saturating_add(4);
    body.extend_from_slice(&attribute.to_ne_bytes());
    body.extend_from_slice(&FILTER.to_ne_bytes());
    body.extend_from_slice(&[SOURCE, step]);
    body.extend_from_slice(&attribute.to_ne_bytes());
    body.extend_from_slice(&[of, bits, 0, 0]);
    // Any port.
    body.extend_from_slice(&(-1_i32).to_ne_bytes());
    body.extend_from_slice(&octets);
    message(BY_FAMILY, REQUEST | DUMP, sequence, &body)
}

fn destroy_request(connection: &Connection, sequence: u32) -> Vec<u8> {
    let mut body = vec![connection.family, TCP, 0, 0];
    body.extend_from_slice(&STATES.to_ne_bytes());
    body.extend_from_slice(&connection.id);
    message(DESTROY, REQUEST | ACK, sequence, &body)
}

/// Reads the messages of a datagram; stops at the first one that can't be read.
fn messages(datagram: &[u8]) -> Vec<Message> {
    let word = |octets: &[u8], at: usize| -> Option<u32> {
        Some(u32::from_ne_bytes(octets.get(at..at.checked_add(4)?)?.try_into().ok()?))
    };
    let (mut found, mut rest) = (Vec::new(), datagram);
    while let Some(length) = word(rest, 0).and_then(|length| usize::try_from(length).ok()) {
        let (Some(sequence), Some(body)) = (word(rest, 8), rest.get(HEADER..length)) else { break };
        let kind = rest.get(4..6).and_then(|octets| octets.try_into().ok()).map(u16::from_ne_bytes);
        let code = || {
            let number = word(body, 0).map_or(0, |code| i32::from_ne_bytes(code.to_ne_bytes()));
            number.checked_neg().unwrap_or(i32::MAX)
        };
        let read = match kind {
            Some(BY_FAMILY) => connection(body).map(|connection| (Some(connection), 0, false)),
            Some(DONE | ERROR) => Some((None, code(), true)),
            _ => None,
        };
        if let Some((connection, code, last)) = read {
            found.push(Message { sequence, connection, code, last });
        }
        rest = length.checked_next_multiple_of(4).and_then(|next| rest.get(next..)).unwrap_or_default();
    }
    found
}

fn connection(body: &[u8]) -> Option<Connection> {
    let id = body.get(BEFORE_ID..BEFORE_ID + ID)?.try_into().ok()?;
    Some(Connection { family: *body.first()?, id })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The kernel's answer about a connection.
    fn told(family: u8, interface: u32) -> Vec<u8> {
        let mut body = vec![family, 1, 0, 0];
        body.extend_from_slice(&[7; 36]);
        body.extend_from_slice(&interface.to_ne_bytes());
        body.extend_from_slice(&[9; 8 + 20]);
        message(BY_FAMILY, 2, 5, &body)
    }

    #[test]
    fn what_the_kernel_tells_of_a_connection_is_what_it_is_told_to_end() {
        let mut datagram = told(INET, 3);
        datagram.extend(message(DONE, 2, 5, &0_i32.to_ne_bytes()));
        let read = messages(&datagram);
        let found = read[0].connection.unwrap();
        assert_eq!((found.family, found.interface()), (INET, 3));
        assert_eq!((read[1].last, read[1].code), (true, 0));
        let request = destroy_request(&found, 6);
        assert_eq!(request.len(), HEADER + 56);
        assert_eq!(&request[4..6], &DESTROY.to_ne_bytes());
        assert_eq!(request[24..], datagram[20..68]);
    }

    #[test]
    fn a_filter_is_one_condition_that_ends_the_program_or_leaps_over_its_end() {
        for (address, length) in [("192.0.2.1", 16_u8), ("2001:db8::1", 28)] {
            let request = list_request(INET6, address.parse().unwrap(), 1);
            let filter = &request[HEADER + 56..];
            assert_eq!(usize::from(u16::from_ne_bytes([filter[0], filter[1]])), filter.len());
            assert_eq!((filter[4], filter[5]), (SOURCE, length));
            assert_eq!(u16::from_ne_bytes([filter[6], filter[7]]), u16::from(length) + 4);
        }
    }

    #[test]
    fn a_kernel_that_cannot_says_so_in_words() {
        assert!(refusal(libc::EOPNOTSUPP).to_string().contains("CONFIG_INET_DIAG_DESTROY"));
        assert_eq!(refusal(libc::EPERM).kind(), Kind::Permission);
    }

    proptest! {
        #[test]
        fn any_answer_is_read_without_a_panic(datagram in proptest::collection::vec(any::<u8>(), 0..200)) {
            messages(&datagram);
        }

        #[test]
        fn a_damaged_answer_is_read_without_a_panic(at in 0_usize..88, value: u8, cut in 0_usize..88) {
            let mut datagram = told(INET6, 0);
            datagram[at] = value;
            messages(&datagram);
            messages(&datagram[..cut]);
        }
    }
}
