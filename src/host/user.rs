//! Users of this machine, by name.

use crate::error::{Error, Result};
use std::ffi::CString;
use std::path::PathBuf;

/// A user, with what a process needs to become it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Id of the primary group.
    pub gid: u32,
    /// Ids of all groups, the primary one among them (for example `ssl-cert`, to read a server's key).
    pub groups: Vec<u32>,
    /// The home directory.
    pub home: PathBuf,
}

/// Looks a user up by name; an unknown one is a configuration error.
pub fn lookup(name: &str) -> Result<User> {
    let unknown =
        || Error::config(format!("there is no user \"{name}\"")).hint(format!("getent passwd {name}"));
    let user = nix::unistd::User::from_name(name)
        .map_err(|error| Error::failed(format!("can't look up the user \"{name}\"")).detail(error))?
        .ok_or_else(unknown)?;
    let c_name = CString::new(name).map_err(|_| unknown())?;
    let groups = nix::unistd::getgrouplist(&c_name, user.gid)
        .unwrap_or_else(|_| vec![user.gid])
        .into_iter()
        .map(nix::unistd::Gid::as_raw)
        .collect();
    Ok(User { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw(), groups, home: user.dir })
}

/// Looks a user up by its number.
pub fn by_id(uid: u32) -> Result<User> {
    let found = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid))
        .map_err(|error| Error::failed(format!("can't look up the user {uid}")).detail(error))?
        .ok_or_else(|| Error::config(format!("there is no user with the number {uid}")))?;
    lookup(&found.name)
}

/// Returns whether this process runs as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn root_has_id_zero_and_an_unknown_user_is_a_configuration_error() {
        let root = lookup("root").unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert!(root.groups.contains(&0));
        assert_eq!(lookup("no-such-user").unwrap_err().kind(), Kind::Config);
        assert_eq!(lookup("a\0b").unwrap_err().kind(), Kind::Config);
    }
}
