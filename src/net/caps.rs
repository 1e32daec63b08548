//! Capabilities: is the right there that a verb needs, and do children start without it.
//!
//! The daemon runs as an ordinary user with two ambient capabilities. They are for this process alone: a
//! hook or a `pg_ctl` that inherited them could reconfigure the network.

use crate::error::{Error, Kind, Result};
use rustix::thread::CapabilitySet;
use std::io;

/// A capability that this program needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Needs {
    /// `CAP_NET_ADMIN`: adding and removing addresses.
    NetAdmin,
    /// `CAP_NET_RAW`: raw sockets, for VRRP, ARP and neighbour discovery.
    NetRaw,
}

impl Needs {
    /// Returns the kernel's name of the capability.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::NetRaw => "CAP_NET_RAW",
        }
    }

    /// Returns what it is needed for, as the end of a sentence.
    pub const fn purpose(self) -> &'static str {
        match self {
            Self::NetAdmin => "to add and remove addresses",
            Self::NetRaw => "to send and receive VRRP, ARP and neighbour discovery",
        }
    }

    /// Returns the capability as a set of one.
    pub(crate) const fn set(self) -> CapabilitySet {
        match self {
            Self::NetAdmin => CapabilitySet::NET_ADMIN,
            Self::NetRaw => CapabilitySet::NET_RAW,
        }
    }
}

/// Returns whether the calling thread has the capability in its effective set.
pub fn has(needs: Needs) -> bool {
    rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(needs.set()))
}

/// Checks that addresses can be changed.
pub fn require_net_admin() -> Result<()> {
    require(Needs::NetAdmin)
}

/// Checks that raw sockets can be opened.
pub fn require_net_raw() -> Result<()> {
    require(Needs::NetRaw)
}

fn require(needs: Needs) -> Result<()> {
    if has(needs) {
        return Ok(());
    }
    Err(denied(format!("{} is missing {}", needs.name(), needs.purpose()), needs))
}

/// Returns the error for an action that the kernel refused because the capability is missing.
pub(crate) fn denied(message: String, needs: Needs) -> Error {
    let error = Error::new(Kind::Permission, message);
    let error =
        if has(needs) { error } else { error.detail(format!("this process has no {}", needs.name())) };
    error
        .hint("run it as root, or: setcap cap_net_admin,cap_net_raw+ep \"$(command -v pgbaton)\"")
        .hint("in a systemd unit: AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW")
}

/// Empties the ambient set of the calling thread, so that what it executes gets none of our capabilities.
///
/// Only makes system calls, so it may be called between `fork` and `exec`. A process with user id 0 keeps
/// its rights all the same: they come from the user id, not from the ambient set.
pub fn drop_ambient() -> io::Result<()> {
    Ok(rustix::thread::clear_ambient_capability_set()?)
}

/// Empties the ambient and the inheritable set, so that not even a file capability of the executed program
/// can bring them back. For use between `fork` and `exec`.
pub fn drop_inheritable() -> io::Result<()> {
    drop_ambient()?;
    let mut sets = rustix::thread::capabilities(None)?;
    sets.inheritable = CapabilitySet::empty();
    Ok(rustix::thread::set_capabilities(None, sets)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_capability_and_both_ways_to_grant_it() {
        let error = denied("can't add 192.0.2.1/24".to_owned(), Needs::NetAdmin);
        assert_eq!(error.kind(), Kind::Permission);
        assert_eq!(error.hints().len(), 2);
        assert!(error.hints()[0].contains("setcap cap_net_admin,cap_net_raw+ep"));
        assert!(error.hints()[1].contains("AmbientCapabilities="));
    }
}
