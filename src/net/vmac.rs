//! An interface with the virtual router's Ethernet address: what the kernel must be told so that it alone answers
//! for the virtual addresses.
//!
//! With the kernel's defaults the parent answers ARP requests for them too, with its own Ethernet address, and
//! IPv6 gives the new interface addresses by itself, which would be heard on the network.

use crate::error::{Error, Kind, Result};
use crate::net::netlink::Link;
use crate::units::Mac;
use std::fs;
use std::path::PathBuf;

/// Returns the Ethernet address of a virtual router (RFC 9568 §7.3).
pub const fn address(vrid: u8, ipv4: bool) -> Mac {
    Mac([0, 0, 0x5e, 0, if ipv4 { 1 } else { 2 }, vrid])
}

/// A value of the parent interface that was changed, to be put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    path: PathBuf,
    before: String,
}

impl Changed {
    /// Puts it back; an interface that is gone has nothing to put back.
    pub fn undo(&self) {
        fs::write(&self.path, &self.before).ok();
    }
}

/// Prepares the new interface, before it is up.
pub fn prepare(vmac: &Link, ipv4: bool) -> Result<()> {
    let four = |name: &str, value: &str| set(4, &vmac.name, name, value);
    let six = |name: &str, value: &str| set(6, &vmac.name, name, value);
    // Answer for its own addresses only, and take packets although the way back is through the parent.
    four("arp_ignore", "1")?;
    four("rp_filter", "0")?;
    // An address that goes must not take the others along.
    four("promote_secondaries", "1")?;
    if ipv4 {
        // A kernel without IPv6 has nothing to switch off.
        six("disable_ipv6", "1")
            .or_else(|error| if path(6, &vmac.name, "").exists() { Err(error) } else { Ok(()) })
    } else {
        six("addr_gen_mode", "1")?;
        six("accept_dad", "0")?;
        six("accept_ra", "0")?;
        six("autoconf", "0")?;
        six("router_solicitations", "0")
    }
}

/// Keeps the parent from answering for addresses that aren't its own, and from asking in their name. Returns what
/// was changed.
pub fn prepare_parent(parent: &Link) -> Result<Vec<Changed>> {
    let mut changed = Vec::new();
    for (name, least) in [("arp_ignore", 1_u8), ("arp_announce", 2)] {
        let path = path(4, &parent.name, name);
        let before = read(&path)?;
        if before.trim().parse::<u8>().unwrap_or(0) < least {
            set(4, &parent.name, name, &least.to_string())?;
            changed.push(Changed { path, before });
        }
    }
    relax_strict_filter()?;
    Ok(changed)
}

/// A strict reverse path filter for all interfaces can't be lifted for one: it is moved to each of them instead.
fn relax_strict_filter() -> Result<()> {
    let all = path(4, "all", "rp_filter");
    if read(&all)?.trim() != "1" {
        return Ok(());
    }
    let folder = PathBuf::from("/proc/sys/net/ipv4/conf");
    let failed = |error: std::io::Error| Error::failed("can't list the interfaces' sysctls").detail(error);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let name = name.to_string_lossy();
        if name != "all" && read(&path(4, &name, "rp_filter"))?.trim() == "0" {
            set(4, &name, "rp_filter", "1")?;
        }
    }
    set(4, "all", "rp_filter", "0")
}

fn path(family: u8, interface: &str, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/sys/net/ipv{family}/conf/{interface}")).join(name)
}

fn read(path: &PathBuf) -> Result<String> {
    fs::read_to_string(path)
        .map_err(|error| Error::failed(format!("can't read {}", path.display())).detail(error))
}

fn set(family: u8, interface: &str, name: &str, value: &str) -> Result<()> {
    let path = path(family, interface, name);
    if fs::read_to_string(&path).is_ok_and(|now| now.trim() == value) {
        return Ok(());
    }
    fs::write(&path, value).map_err(|error| {
        let denied = matches!(
            error.kind(),
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem
        );
        let kind = if denied { Kind::Permission } else { Kind::Failed };
        Error::new(kind, format!("can't set {} to {value}", path.display()))
            .detail(error)
            .hint("in a systemd unit: ProtectKernelTunables=no; in a container: a writable /proc/sys/net")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_families_have_different_addresses() {
        assert_eq!(address(51, true).to_string(), "00:00:5e:00:01:33");
        assert_eq!(address(255, false).to_string(), "00:00:5e:00:02:ff");
    }
}
