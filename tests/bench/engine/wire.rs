//! What goes over the cable, with the kernel's own time.

use super::bed::Cable;
use nix::sys::socket::sockopt::{RcvBufForce, ReceiveTimestampns};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt};
use nix::sys::time::TimeSpec;
use pgbaton::host::clock::Deadline;
use pgbaton::net::driver::readable_before;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BTreeSet;
use std::io::IoSliceMut;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::{Duration, Instant, SystemTime};

const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// An advert.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// By the wall clock, as the kernel stamped it.
    pub(super) at: Duration,
    /// The last octet of the sender.
    pub(super) from: u8,
    pub(super) vrid: u8,
    pub(super) priority: u8,
}

/// What a read gave.
enum Frame {
    Advert(Seen),
    Other,
    None,
}

/// A socket that sees what goes in and out at one end.
pub(super) struct Wire {
    socket: Socket,
}

impl Wire {
    pub(super) fn open(cable: &Cable, end: usize) -> Self {
        let socket = cable.inside(end, || {
            let everything = i32::from(3_u16.to_be());
            Socket::new(Domain::PACKET, Type::RAW.nonblocking(), Some(Protocol::from(everything))).unwrap()
        });
        // What doesn't fit is only lost to the figures; root may have more than others.
        setsockopt(&socket, RcvBufForce, &(32 << 20)).unwrap();
        setsockopt(&socket, ReceiveTimestampns, &true).unwrap();
        Self { socket }
    }

    /// Returns the next advert, or `None` when the time is over.
    pub(super) fn next_before(&mut self, end: Instant) -> Option<Seen> {
        loop {
            loop {
                match self.read() {
                    Frame::Advert(seen) => return Some(seen),
                    Frame::Other => {}
                    Frame::None => break,
                }
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            readable_before(self.socket.as_fd(), Deadline::after(left)).unwrap();
        }
    }

    fn read(&self) -> Frame {
        let mut frame = [0_u8; 256];
        let mut control = nix::cmsg_space!(TimeSpec);
        let mut parts = [IoSliceMut::new(&mut frame)];
        let Ok(message) =
            recvmsg::<()>(self.socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty())
        else {
            return Frame::None;
        };
        let stamp = message.cmsgs().unwrap().find_map(|part| match part {
            ControlMessageOwned::ScmTimestampns(time) => Some(Duration::from(time)),
            _ => None,
        });
        let length = message.bytes;
        let frame = &frame[..length.min(256)];
        if frame.len() < 42 || frame[12..14] != [8, 0] || frame[23] != 112 {
            return Frame::Other;
        }
        let at = stamp.unwrap_or_else(now);
        Frame::Advert(Seen { at, from: frame[29], vrid: frame[35], priority: frame[36] })
    }

    /// Waits for an advert.
    pub(super) fn until(&mut self, fits: impl Fn(&Seen) -> bool) -> Seen {
        let patience = Instant::now() + LONGEST_WAIT;
        loop {
            let seen = self.next_before(patience).unwrap_or_else(|| panic!("an advert doesn't come"));
            if fits(&seen) {
                return seen;
            }
        }
    }

    /// Waits until that many routers have sent from one end, and the other end has been silent for a while.
    pub(super) fn until_all(&mut self, count: u8, from: u8) {
        let (mut known, mut quiet) = (BTreeSet::new(), Instant::now());
        let patience = Instant::now() + LONGEST_WAIT;
        while known.len() < usize::from(count) || quiet.elapsed() < Duration::from_millis(700) {
            let seen = self.next_before(patience).unwrap_or_else(|| {
                panic!("{} of {count} routers are Active at the right end", known.len());
            });
            if seen.from == from {
                known.insert(seen.vrid);
            } else {
                quiet = Instant::now();
            }
        }
        while !matches!(self.read(), Frame::None) {}
    }

    /// Collects what is seen in this time.
    pub(super) fn collect(&mut self, time: Duration) -> Vec<Seen> {
        let end = Instant::now() + time;
        let mut all = Vec::new();
        while let Some(seen) = self.next_before(end) {
            all.push(seen);
            if Instant::now() >= end {
                break;
            }
        }
        all
    }
}

/// The wall clock, which the kernel's stamps are of.
pub(super) fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap()
}
