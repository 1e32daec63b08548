//! The Linux edges: sockets, netlink, ARP and neighbour discovery, epoll and timers, capabilities.
//!
//! What enters: bytes from the wire and events from the kernel. What leaves: decoded facts (addresses,
//! links, datagrams) and changes of an interface. Nothing here decides anything: `vrrp`, `promotion` and
//! `plan` do. Together with `host` this is the only room with `unsafe` code. Every descriptor opened here is
//! close-on-exec, so no child process (`pg_ctl`, a hook) ever holds one of our sockets.

pub mod arp;
pub mod caps;
pub mod clients;
pub mod driver;
pub mod ndp;
pub mod netlink;
pub mod nft;
pub mod packet;
pub mod sched;
pub mod socket;
pub mod vip;
pub mod vmac;

use crate::error::{Error, Kind};
use std::io;

/// Returns the error of a system call that needed `capability`, or failed for another reason.
fn os_error(error: &io::Error, message: String, capability: caps::Needs) -> Error {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => caps::denied(message, capability).detail(error),
        Some(libc::ENODEV | libc::ENXIO) => Error::failed(message).detail("no such interface"),
        Some(libc::ENETDOWN | libc::ENETUNREACH | libc::EHOSTUNREACH) => {
            Error::new(Kind::Unreachable, message).detail(error)
        }
        Some(libc::EAGAIN | libc::ENOBUFS) => Error::new(Kind::TryAgain, message).detail(error),
        _ => Error::failed(message).detail(error),
    }
}
