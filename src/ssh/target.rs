//! Where a node is reached by SSH and as whom: the settings first, then the user's and the machine's `ssh_config`.
//!
//! An edge: reads those files and the environment. The name that keys are looked up by is the node's alias, so that an
//! address that moved to another machine is noticed.

use super::config::{HostConfig, expand};
use super::known_hosts::lookup_name;
use crate::error::Result;
use crate::host::files::read_optional;
use crate::settings::{Node, Settings, SshSettings, WitnessSettings};
use std::path::{Path, PathBuf};
use std::time::Duration;

const FILE_LIMIT: u64 = 1024 * 1024;
const DEFAULT_PORT: u16 = 22;
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const DEFAULT_IDENTITIES: [&str; 3] = ["~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa"];

/// Everything a connection takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// What messages call it: the node's name, or the host as it was given.
    pub name: String,
    /// The address or host name to connect to.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The user at the other end.
    pub user: String,
    /// The name that its key is looked up by.
    pub lookup: String,
    /// The files of known keys, in order; those that don't exist are as good as empty.
    pub known_hosts: Vec<PathBuf>,
    /// The private keys to try after the agent's.
    pub identities: Vec<PathBuf>,
    /// Whether the agent isn't asked.
    pub identities_only: bool,
    /// How long the TCP connection may take, within the deadline of the call.
    pub connect_timeout: Duration,
}

impl Target {
    /// Returns how a node is reached.
    pub fn node(settings: &Settings, node: &Node) -> Result<Self> {
        let alias = node.ssh_host_key_alias.clone();
        let address = node.address.to_string();
        Self::find(
            &settings.ssh,
            &node.name,
            Some(&address),
            Some(alias.unwrap_or_else(|| node.name.clone())),
        )
    }

    /// Returns how the witness is reached.
    pub fn witness(ssh: &SshSettings, witness: &WitnessSettings) -> Result<Self> {
        let (name, address) = (WitnessSettings::NAME, witness.address.to_string());
        let found = Self::find(ssh, name, Some(&address), Some(name.to_owned()))?;
        Ok(Self {
            port: witness.port.unwrap_or(found.port),
            user: witness.user.clone().unwrap_or_else(|| found.user.clone()),
            ..found
        })
    }

    /// Returns how a host is reached that is no node of the configuration.
    pub fn host(ssh: &SshSettings, name: &str) -> Result<Self> {
        Self::find(ssh, name, None, None)
    }

    fn find(ssh: &SshSettings, name: &str, address: Option<&str>, alias: Option<String>) -> Result<Self> {
        let home = home();
        let mut config = HostConfig::default();
        for file in [Path::new(&home).join(".ssh/config"), PathBuf::from("/etc/ssh/ssh_config")] {
            if let Some(text) = read_optional(&file, FILE_LIMIT)? {
                config.merge(&String::from_utf8_lossy(&text), name);
            }
        }
        let host = config.host_name.clone();
        let host = host.or_else(|| address.map(str::to_owned)).unwrap_or_else(|| name.to_owned());
        let port = ssh.port.or(config.port).unwrap_or(DEFAULT_PORT);
        let path = |text: &String| PathBuf::from(expand(text, &home, &host));
        let many = |texts: Option<&Vec<String>>, or: [&str; 2]| -> Vec<PathBuf> {
            let defaults = || or.iter().map(|text| path(&(*text).to_owned())).collect();
            texts.map_or_else(defaults, |texts| texts.iter().map(path).collect())
        };
        let known_hosts = if let Some(file) = &ssh.known_hosts {
            vec![file.clone()]
        } else {
            let user = ["~/.ssh/known_hosts", "~/.ssh/known_hosts2"];
            let global = ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"];
            let mut files = many(config.user_known_hosts.as_ref(), user);
            files.extend(many(config.global_known_hosts.as_ref(), global));
            files
        };
        let identities = match &ssh.identity_file {
            Some(file) => vec![file.clone()],
            None if config.identity_files.is_empty() => {
                DEFAULT_IDENTITIES.iter().map(|text| path(&(*text).to_owned())).collect()
            }
            None => config.identity_files.iter().map(path).collect(),
        };
        let lookup = alias.or(config.host_key_alias).unwrap_or_else(|| lookup_name(&host, port));
        Ok(Self {
            name: name.to_owned(),
            port,
            user: ssh.user.clone().or(config.user).unwrap_or_else(login_name),
            lookup,
            known_hosts,
            identities,
            identities_only: ssh.identity_file.is_some() || config.identities_only.unwrap_or(false),
            connect_timeout: ssh
                .connect_timeout
                .or(config.connect_timeout)
                .unwrap_or(DEFAULT_CONNECT_TIMEOUT),
            host,
        })
    }

    /// Returns `user@host:port`, for messages.
    pub fn place(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{}@{host}:{}", self.user, self.port)
    }
}

fn home() -> String {
    let account = || nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
    std::env::var("HOME").ok().filter(|home| !home.is_empty()).unwrap_or_else(|| {
        account().map_or_else(|| "/".to_owned(), |user| user.dir.to_string_lossy().into_owned())
    })
}

fn login_name() -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
    user.map_or_else(|| "root".to_owned(), |user| user.name)
}
