//! The table of nftables that keeps packets from addresses which this host has but doesn't serve.
//!
//! Spoken directly with the kernel: no program has to be there, and the table can belong to this socket. Then the
//! kernel removes it with the process, however that ends, and a firewall that flushes its rules leaves it alone.

use crate::error::{Error, Kind, Result};
use crate::host::clock::Deadline;
use crate::net::caps::{self, Needs};
use crate::net::driver::readable_before;
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::time::Duration;

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const DELETE_TABLE: u16 = (SUBSYSTEM << 8) | 2;
const NEW_CHAIN: u16 = (SUBSYSTEM << 8) | 3;
const NEW_RULE: u16 = (SUBSYSTEM << 8) | 6;
const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
const NESTED: u16 = 0x8000;
/// The table belongs to the socket that makes it (kernel 5.12).
const OWNED: u32 = 0x2;
/// The family for rules of both IPv4 and IPv6.
const INET: u8 = 1;
const LOCAL_IN: u32 = 1;
/// Just before the chains of an ordinary firewall.
const PRIORITY: i32 = -1;
const CHAIN: &str = "input";
const ICMPV6: u8 = 58;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

/// The table, for as long as this lives.
#[derive(Debug)]
pub struct DropTable {
    socket: Socket,
    sequence: u32,
    name: String,
    /// The addresses that are in it; none: there is no table.
    addresses: Vec<IpAddr>,
}

/// A message of a batch: its type, flags, family and attributes.
struct Message {
    kind: u16,
    flags: u16,
    body: Vec<u8>,
}

impl DropTable {
    /// Opens the connection to the kernel and removes a table of this name that an earlier life left behind.
    pub fn open(name: &str) -> Result<Self> {
        let open = || -> io::Result<Socket> {
            let mut socket = Socket::new(NETLINK_NETFILTER)?;
            socket.bind_auto()?;
            socket.set_non_blocking(true)?;
            Ok(socket)
        };
        let socket = open().map_err(|error| {
            Error::failed("can't open netlink for nftables")
                .detail(error)
                .hint("does this kernel have nftables? modprobe nf_tables")
        })?;
        let mut table = Self { socket, sequence: 0, name: name.to_owned(), addresses: Vec::new() };
        match table.send(&[table.delete()])? {
            0 | libc::ENOENT => Ok(table),
            code => Err(table.refusal(code)),
        }
    }

    /// Drops packets that arrive for exactly these addresses from now on, all at once.
    pub fn set(&mut self, addresses: &[IpAddr]) -> Result<()> {
        let mut wanted = addresses.to_vec();
        wanted.sort_unstable();
        wanted.dedup();
        if wanted == self.addresses {
            return Ok(());
        }
        let mut code = self.replace(&wanted, OWNED)?;
        if matches!(code, libc::EOPNOTSUPP | libc::EINVAL) {
            code = self.replace(&wanted, 0)?;
        }
        if code != 0 {
            return Err(self.refusal(code));
        }
        self.addresses = wanted;
        Ok(())
    }

    fn replace(&mut self, addresses: &[IpAddr], flags: u32) -> Result<i32> {
        let mut batch = Vec::new();
        if !self.addresses.is_empty() {
            batch.push(self.delete());
        }
        if !addresses.is_empty() {
            batch.push(self.table(flags));
            batch.push(self.chain());
            if addresses.iter().any(IpAddr::is_ipv6) {
                batch.push(self.rule(&neighbour_discovery()));
            }
            batch.extend(addresses.iter().map(|address| self.rule(&dropped(*address))));
        }
        self.send(&batch)
    }

    fn delete(&self) -> Message {
        let mut body = header(INET);
        attribute(&mut body, 1, &text(&self.name));
        Message { kind: DELETE_TABLE, flags: 0, body }
    }

    fn table(&self, flags: u32) -> Message {
        let mut body = header(INET);
        attribute(&mut body, 1, &text(&self.name));
        attribute(&mut body, 2, &flags.to_be_bytes());
        Message { kind: NEW_TABLE, flags: CREATE, body }
    }

    fn chain(&self) -> Message {
        let mut body = header(INET);
        attribute(&mut body, 1, &text(&self.name));
        attribute(&mut body, 3, &text(CHAIN));
        nest(&mut body, 4, |hook| {
            attribute(hook, 1, &LOCAL_IN.to_be_bytes());
            attribute(hook, 2, &PRIORITY.to_be_bytes());
        });
        attribute(&mut body, 5, &ACCEPT.to_be_bytes());
        attribute(&mut body, 7, &text("filter"));
        Message { kind: NEW_CHAIN, flags: CREATE, body }
    }

    fn rule(&self, expressions: &[Expression]) -> Message {
        let mut body = header(INET);
        attribute(&mut body, 1, &text(&self.name));
        attribute(&mut body, 2, &text(CHAIN));
        nest(&mut body, 4, |list| {
            for expression in expressions {
                nest(list, 1, |element| expression.write(element));
            }
        });
        Message { kind: NEW_RULE, flags: CREATE | APPEND, body }
    }

    /// Sends messages as one change; returns the kernel's first error number, or 0.
    fn send(&mut self, batch: &[Message]) -> Result<i32> {
        if batch.is_empty() {
            return Ok(0);
        }
        let mut octets = Vec::new();
        let first = self.sequence.wrapping_add(1);
        let frame = |kind: u16, family: u8| {
            let mut body = header(family);
            if let Some(resource) = body.get_mut(2..4) {
                resource.copy_from_slice(&SUBSYSTEM.to_be_bytes());
            }
            Message { kind, flags: 0, body }
        };
        self.put(&mut octets, &frame(BATCH_BEGIN, 0), 0);
        for message in batch {
            self.put(&mut octets, message, ACK);
        }
        self.put(&mut octets, &frame(BATCH_END, 0), 0);
        self.socket
            .send_to(&octets, &SocketAddr::new(0, 0), 0)
            .map_err(|error| Error::failed("can't send to nftables").detail(error))?;
        self.answers(first, batch.len())
    }

    fn put(&mut self, octets: &mut Vec<u8>, message: &Message, more: u16) {
        self.sequence = self.sequence.wrapping_add(1);
        let length = u32::try_from(message.body.len().saturating_add(16)).unwrap_or(u32::MAX);
        octets.extend_from_slice(&length.to_ne_bytes());
        octets.extend_from_slice(&message.kind.to_ne_bytes());
        octets.extend_from_slice(&(message.flags | more | REQUEST).to_ne_bytes());
        octets.extend_from_slice(&self.sequence.to_ne_bytes());
        octets.extend_from_slice(&0_u32.to_ne_bytes());
        octets.extend_from_slice(&message.body);
        pad(octets);
    }

    /// Reads the kernel's answer to each message.
    fn answers(&self, first: u32, expected: usize) -> Result<i32> {
        let deadline = Deadline::after(Duration::from_secs(5));
        let (mut buffer, mut seen, mut error) = (vec![0; 64 * 1024], 0_usize, 0);
        while seen < expected {
            let length = match self.socket.recv_from(&mut buffer.as_mut_slice(), 0) {
                Ok((length, _)) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !readable_before(self.socket.as_fd(), deadline)? {
                        return Err(Error::new(Kind::TryAgain, "nftables doesn't answer"));
                    }
                    continue;
                }
                Err(error) => return Err(Error::failed("can't receive from nftables").detail(error)),
            };
            for (sequence, code) in codes(buffer.get(..length).unwrap_or_default()) {
                if sequence.wrapping_sub(first) > u32::MAX / 2 {
                    continue;
                }
                seen = seen.saturating_add(1);
                if code != 0 && error == 0 {
                    error = code;
                    if sequence == first {
                        // The batch as a whole was refused: there are no further answers.
                        return Ok(error);
                    }
                }
            }
        }
        Ok(error)
    }

    fn refusal(&self, code: i32) -> Error {
        let message = format!("can't change the nftables table inet {}", self.name);
        let error = match code {
            libc::EPERM => caps::denied(message, Needs::NetAdmin),
            _ => Error::failed(message),
        };
        error
            .detail(io::Error::from_raw_os_error(code))
            .hint(format!("does another program own it? nft list table inet {}", self.name))
    }
}

impl Drop for DropTable {
    fn drop(&mut self) {
        // Without an owner (an old kernel) it would stay.
        self.set(&[]).ok();
    }
}

/// Returns the error numbers of the answers in a datagram, with the sequence numbers that they are to.
fn codes(datagram: &[u8]) -> Vec<(u32, i32)> {
    const ERROR: u16 = 2;
    let mut found = Vec::new();
    let mut rest = datagram;
    let word = |octets: &[u8], at: usize| -> Option<u32> {
        Some(u32::from_ne_bytes(octets.get(at..at.checked_add(4)?)?.try_into().ok()?))
    };
    while let Some(length) = word(rest, 0).and_then(|length| usize::try_from(length).ok()) {
        if length < 16 {
            break;
        }
        let kind = rest.get(4..6).and_then(|octets| octets.try_into().ok()).map(u16::from_ne_bytes);
        if let (Some(ERROR), Some(sequence), Some(code)) = (kind, word(rest, 8), word(rest, 16)) {
            let code = i32::from_ne_bytes(code.to_ne_bytes());
            found.push((sequence, code.checked_neg().unwrap_or(i32::MAX)));
        }
        let next = length.checked_next_multiple_of(4).and_then(|next| rest.get(next..));
        rest = next.unwrap_or_default();
    }
    found
}

// --- the rules ----------------------------------------------------------------------------------------------

const DROP: u32 = 0;
const ACCEPT: u32 = 1;
const REGISTER: u32 = 1;
const VERDICT: u32 = 0;

/// One step of a rule.
enum Expression {
    /// Loads what is known of the packet: 15 is its family, 16 the protocol inside.
    Meta(u32),
    /// Loads octets of the network (1) or transport (2) header.
    Payload { base: u32, offset: u32, length: u32 },
    /// Goes on if what was loaded compares like this: 0 equal, 3 at most, 5 at least.
    Compare { how: u32, value: Vec<u8> },
    /// Ends with this verdict.
    Verdict(u32),
}

const EQUAL: u32 = 0;
const AT_MOST: u32 = 3;
const AT_LEAST: u32 = 5;

impl Expression {
    fn write(&self, out: &mut Vec<u8>) {
        let name = match self {
            Self::Meta(_) => "meta",
            Self::Payload { .. } => "payload",
            Self::Compare { .. } => "cmp",
            Self::Verdict(_) => "immediate",
        };
        attribute(out, 1, &text(name));
        nest(out, 2, |data| match self {
            Self::Meta(key) => {
                attribute(data, 1, &REGISTER.to_be_bytes());
                attribute(data, 2, &key.to_be_bytes());
            }
            Self::Payload { base, offset, length } => {
                for (kind, value) in (1..).zip([REGISTER, *base, *offset, *length]) {
                    attribute(data, kind, &value.to_be_bytes());
                }
            }
            Self::Compare { how, value } => {
                attribute(data, 1, &REGISTER.to_be_bytes());
                attribute(data, 2, &how.to_be_bytes());
                nest(data, 3, |wrapped| attribute(wrapped, 1, value));
            }
            Self::Verdict(verdict) => {
                attribute(data, 1, &VERDICT.to_be_bytes());
                nest(data, 2, |wrapped| {
                    nest(wrapped, 2, |code| attribute(code, 1, &verdict.to_be_bytes()));
                });
            }
        });
    }
}

/// Packets to this address are dropped.
fn dropped(address: IpAddr) -> Vec<Expression> {
    let (family, offset, octets) = match address {
        IpAddr::V4(ip) => (2_u8, 16, ip.octets().to_vec()),
        IpAddr::V6(ip) => (10_u8, 24, ip.octets().to_vec()),
    };
    let length = u32::try_from(octets.len()).unwrap_or(0);
    vec![
        Expression::Meta(15),
        Expression::Compare { how: EQUAL, value: vec![family] },
        Expression::Payload { base: 1, offset, length },
        Expression::Compare { how: EQUAL, value: octets },
        Expression::Verdict(DROP),
    ]
}

/// Neighbour discovery goes on: without it nobody could send through this router (RFC 9568 §6.1).
fn neighbour_discovery() -> Vec<Expression> {
    vec![
        Expression::Meta(16),
        Expression::Compare { how: EQUAL, value: vec![ICMPV6] },
        Expression::Payload { base: 2, offset: 0, length: 1 },
        Expression::Compare { how: AT_LEAST, value: vec![NEIGHBOUR_SOLICITATION] },
        Expression::Compare { how: AT_MOST, value: vec![NEIGHBOUR_ADVERTISEMENT] },
        Expression::Verdict(ACCEPT),
    ]
}

// --- octets -------------------------------------------------------------------------------------------------

fn header(family: u8) -> Vec<u8> {
    vec![family, 0, 0, 0]
}

fn text(text: &str) -> Vec<u8> {
    text.bytes().chain([0]).collect()
}

fn attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len().saturating_add(4)).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(value);
    pad(out);
}

fn nest(out: &mut Vec<u8>, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    fill(&mut inner);
    attribute(out, kind | NESTED, &inner);
}

fn pad(out: &mut Vec<u8>) {
    while !out.len().is_multiple_of(4) {
        out.push(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn attributes_are_padded_and_nested_ones_marked() {
        let mut out = Vec::new();
        nest(&mut out, 4, |inner| attribute(inner, 1, b"abc"));
        let mut expected = Vec::new();
        for half in [12_u16, 4 | NESTED, 7, 1] {
            expected.extend_from_slice(&half.to_ne_bytes());
        }
        expected.extend_from_slice(b"abc\0");
        assert_eq!(out, expected);
    }

    proptest! {
        #[test]
        fn any_answer_is_read_without_a_panic(datagram in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = codes(&datagram);
        }
    }
}
