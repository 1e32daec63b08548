//! What the lab needs of this machine, looked at before anything is made.

use crate::error::{Error, Kind, Result};
use nix::unistd::{User, geteuid};
use std::path::{Path, PathBuf};

/// Where programs are looked for, whatever the caller's environment says.
pub const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The programs of `PostgreSQL` that the lab runs.
const SERVER_PROGRAMS: [&str; 3] = ["postgres", "initdb", "pg_controldata"];

/// What was found.
#[derive(Debug, Clone)]
pub struct Machine {
    /// The folder with the server's programs.
    pub bin_directory: PathBuf,
    /// The account that the servers and daemons run as.
    pub postgres: User,
}

/// Looks for everything the lab needs; `bin_directory` overrides the search for `PostgreSQL`.
pub fn check(bin_directory: Option<&Path>) -> Result<Machine> {
    if !geteuid().is_root() {
        return Err(Error::new(Kind::Permission, "the demo needs root")
            .detail("it makes network namespaces and runs servers in them")
            .hint("sudo pgbaton demo"));
    }
    for (program, package) in [("ip", "iproute2"), ("cp", "coreutils")] {
        if find_program(program).is_none() {
            return Err(Error::failed(format!("{program} isn't installed"))
                .detail(format!("not in {SEARCH_PATH}"))
                .hint(format!("apt-get install {package}")));
        }
    }
    if !Path::new("/proc/self/ns/net").exists() {
        return Err(Error::failed("this kernel has no network namespaces").detail("CONFIG_NET_NS"));
    }
    let bin_directory = match bin_directory {
        Some(folder) => Some(folder.to_owned()).filter(|folder| is_server(folder)),
        None => find_server(),
    };
    let bin_directory = bin_directory.ok_or_else(|| {
        Error::failed("PostgreSQL's server programs aren't installed")
            .detail("looked for postgres, initdb and pg_controldata in /usr/lib/postgresql/*/bin, /usr/pgsql-*/bin and the usual folders")
            .hint("apt-get install postgresql")
    })?;
    let postgres = User::from_name("postgres").ok().flatten().ok_or_else(|| {
        Error::failed("there is no account named postgres")
            .detail("PostgreSQL refuses to run as root")
            .hint("apt-get install postgresql")
            .hint("useradd --system --user-group postgres")
    })?;
    Ok(Machine { bin_directory, postgres })
}

/// Returns the path of a program.
pub fn find_program(name: &str) -> Option<PathBuf> {
    SEARCH_PATH.split(':').map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())
}

fn is_server(folder: &Path) -> bool {
    SERVER_PROGRAMS.iter().all(|program| folder.join(program).is_file())
}

/// Returns the newest server: Debian keeps each version in a folder of its own, so does the PGDG for RPM.
fn find_server() -> Option<PathBuf> {
    let debian =
        numbered("/usr/lib/postgresql", "").into_iter().map(|(number, path)| (number, path.join("bin")));
    let rpm = numbered("/usr", "pgsql-").into_iter().map(|(number, path)| (number, path.join("bin")));
    let newest = debian.chain(rpm).filter(|(_, folder)| is_server(folder)).max_by_key(|(number, _)| *number);
    newest
        .map(|(_, folder)| folder)
        .or_else(|| SEARCH_PATH.split(':').map(PathBuf::from).find(|folder| is_server(folder)))
}

fn numbered(folder: &str, prefix: &str) -> Vec<(u32, PathBuf)> {
    std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let number = name.strip_prefix(prefix)?.parse().ok()?;
            Some((number, entry.path()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_a_server_is_not_taken() {
        assert!(!is_server(Path::new("/")));
        assert!(find_program("no-such-program-here").is_none());
    }
}
