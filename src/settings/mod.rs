//! What was meant: the configuration file and the flags, checked, as values of the right type.
//!
//! Flags and environment (read by `cli`) come before the file, the file before the defaults. Only
//! [`Settings::load`] and [`Settings::load_if_present`] open a file; everything else is pure, and nothing here
//! asks the network: which addresses this machine has is told to [`Settings::find_me`].

mod file;
mod group;
mod guard;
mod instance;
pub mod keys;
pub mod libpq;
mod notify;
pub mod parse;
mod problem;
mod replication;
mod shape;
mod signing;
#[cfg(test)]
mod tests;
pub mod threshold;
mod track;
mod value;
mod witness;

use crate::error::{Error, Kind, Result};
use crate::units::InterfaceAddress;
use libpq::Params;
use parse::Lease;

pub use group::GroupSettings;
pub use guard::{Availability, Fence, GuardSettings};
pub use instance::{AddressScope, DaemonSettings, GarpSettings, InstanceSettings, OnAddressLoss};
pub use notify::{NotifySettings, Words};
pub use replication::{Rejoin, ReplicationMode, ReplicationSettings};
pub use signing::{Secret, SigningKey, SigningMode, SigningSettings, from_hex};
use std::fs::File;
use std::io::Read as _;
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
pub use track::{FileSettings, ProcessSettings, ScriptSettings, TrackSettings, Trackers};
pub use witness::{WitnessSettings, WitnessTransport};

/// Where the configuration is read from when no file is named.
pub const DEFAULT_FILE: &str = "/etc/pgbaton/pgbaton.toml";

/// A configuration is a few kilobytes; more than this is the wrong file.
const LARGEST_FILE: u64 = 1 << 20;

/// Everything that a verb is told about the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The file that was read; `None` when the settings were made from flags.
    pub file: Option<PathBuf>,
    /// Names the text of the file: two nodes with one digest have the same configuration.
    pub digest: String,
    /// The cluster as a whole.
    pub cluster: ClusterSettings,
    /// Every node, in the order of the file.
    pub nodes: Vec<Node>,
    /// Which of [`Self::nodes`] this machine is, once that is known.
    pub me: Option<usize>,
    /// The election.
    pub vrrp: VrrpSettings,
    /// The virtual IPs of the cluster; none when the file has only instances.
    pub vips: Vec<VipSettings>,
    /// The database; `None` when only the address moves.
    pub postgres: Option<PostgresSettings>,
    /// What a promotion must know first.
    pub guard: GuardSettings,
    /// How replication is run.
    pub replication: ReplicationSettings,
    /// The third vote of two nodes.
    pub witness: Option<WitnessSettings>,
    /// How the other nodes are reached over SSH.
    pub ssh: SshSettings,
    /// Further virtual routers, which only elect and move their addresses.
    pub instances: Vec<InstanceSettings>,
    /// Instances that are Active together or not at all.
    pub groups: Vec<GroupSettings>,
    /// What may be tracked.
    pub trackers: Trackers,
    /// The daemon as a process.
    pub daemon: DaemonSettings,
    /// What is allowed but probably not meant, as sentences for a person.
    pub warnings: Vec<String>,
}

/// The cluster as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSettings {
    /// Its name.
    pub name: String,
    /// Where control sockets and locks are made.
    pub runtime_directory: PathBuf,
    /// Where flight records are kept.
    pub state_directory: PathBuf,
}

/// One machine of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name, unique in the cluster.
    pub name: String,
    /// Where it answers itself; never a virtual IP.
    pub address: IpAddr,
    /// The VRRP priority, 1 to 254; `None` for a spare.
    pub priority: Option<u8>,
    /// Whether it may become the primary.
    pub role: NodeRole,
    /// The interface, if it is called otherwise than on the others.
    pub interface: Option<String>,
    /// The data directory, if it is another than on the others.
    pub data_directory: Option<PathBuf>,
    /// The port, if it is another than on the others.
    pub port: Option<u16>,
    /// The directory of the Unix socket, if it is another than on the others.
    pub socket_directory: Option<PathBuf>,
    /// The name its SSH host key is known by; `None`: the node's name.
    pub ssh_host_key_alias: Option<String>,
    /// Connection parameters of this node's server, before those of all.
    pub conninfo: Params,
    /// The host name in the certificate of this node's server, if that isn't the address.
    pub tls_name: Option<String>,
}

/// Whether a node may become the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeRole {
    /// May become the primary and hold the virtual IP.
    Data,
    /// The second synchronous standby and the third voter; never the primary, takes no part in VRRP.
    Spare,
}

/// The election.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VrrpSettings {
    /// The interface; `None`: the one that carries the node's address.
    pub interface: Option<String>,
    /// The virtual router id (RFC 9568 §5.2.3), 1 to 255.
    pub virtual_router_id: u8,
    /// The time between two advertisements, whole centiseconds from 10 ms to 40.95 s.
    pub advert_interval: Duration,
    /// Whether a returning node of higher priority takes over; never with `PostgreSQL`.
    pub preempt: bool,
    /// How long it waits first.
    pub preempt_delay: Duration,
    /// How long a daemon listens after its start before it may become Active.
    pub start_delay: Duration,
    /// How the checksum of sent IPv4 advertisements is computed.
    pub checksum: Checksum,
    /// Whether adverts go to each node instead of the group.
    pub unicast: bool,
    /// The lowest TTL of the others' adverts.
    pub min_ttl: u8,
    /// How its adverts are signed.
    pub signing: SigningSettings,
    /// What is run at a change of state.
    pub notify: NotifySettings,
    /// What it depends on; nothing with `PostgreSQL`.
    pub track: TrackSettings,
}

impl Default for VrrpSettings {
    fn default() -> Self {
        Self {
            interface: None,
            virtual_router_id: 51,
            advert_interval: Duration::from_secs(1),
            preempt: false,
            preempt_delay: Duration::ZERO,
            start_delay: Duration::ZERO,
            checksum: Checksum::PseudoHeader,
            unicast: false,
            min_ttl: u8::MAX,
            signing: SigningSettings::default(),
            notify: NotifySettings::default(),
            track: TrackSettings::default(),
        }
    }
}

/// How the checksum of an IPv4 advertisement is computed; both are accepted from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Checksum {
    /// With the pseudo-header, as RFC 5798 was read by keepalived.
    PseudoHeader,
    /// Over the message alone (RFC 9568 §5.2.8).
    Rfc9568,
}

/// A virtual IP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VipSettings {
    /// The address with the prefix length of its network.
    pub address: InterfaceAddress,
    /// The interface; `None`: that of the node.
    pub interface: Option<String>,
    /// The label of an IPv4 address.
    pub label: Option<String>,
    /// How long the kernel keeps an address that nobody renews, in whole seconds; `None`: for ever.
    pub lease: Option<Duration>,
}

impl VipSettings {
    /// The lease when none is given.
    pub const DEFAULT_LEASE: Lease = Lease(Some(Duration::from_secs(3)));

    /// Creates a virtual IP with the defaults of the file.
    pub const fn new(address: InterfaceAddress) -> Self {
        Self { address, interface: None, label: None, lease: Self::DEFAULT_LEASE.0 }
    }
}

/// The database on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresSettings {
    /// The data directory; empty in [`Settings::postgres`] when each node has its own.
    pub data_directory: PathBuf,
    /// Where `pg_ctl` is; `None`: to be looked for.
    pub bin_directory: Option<PathBuf>,
    /// The port.
    pub port: u16,
    /// The directory of the Unix socket.
    pub socket_directory: PathBuf,
    /// The role for connections.
    pub user: String,
    /// The database for connections.
    pub database: String,
    /// The time between two health probes.
    pub probe_interval: Duration,
    /// How long a probe may take.
    pub probe_timeout: Duration,
    /// How long a fast stop may take, and then an immediate one.
    pub stop_timeout: Duration,
    /// What follows when the server of the node that serves dies by itself.
    pub on_crash: OnCrash,
    /// How long the service may be away for a restart here.
    pub restart_timeout: Duration,
    /// How long a promotion may take.
    pub promote_timeout: Duration,
    /// How long a connection attempt may take, until the server has answered.
    pub connect_timeout: Duration,
    /// The shell command that starts the server; `None`: the service manager's or `pg_ctl`.
    pub start_command: Option<String>,
    /// The shell command that stops the server in order; `None`: the service manager's or `pg_ctl`.
    pub stop_command: Option<String>,
    /// More connection parameters: TLS, timeouts, options; never where the server is.
    pub conninfo: Params,
    /// The host name in the server's certificate, if that isn't the address.
    pub tls_name: Option<String>,
}

/// What follows when the server of the node that serves dies by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnCrash {
    /// Another node takes over.
    Failover,
    /// It is started here again first.
    RestartFirst,
}

impl PostgresSettings {
    /// Creates the settings of a server with the defaults of the file.
    pub fn new(data_directory: PathBuf) -> Self {
        Self {
            data_directory,
            bin_directory: None,
            port: 5432,
            socket_directory: "/var/run/postgresql".into(),
            user: "postgres".to_owned(),
            database: "postgres".to_owned(),
            probe_interval: Duration::from_millis(500),
            probe_timeout: Duration::from_secs(2),
            stop_timeout: Duration::from_secs(5),
            on_crash: OnCrash::Failover,
            restart_timeout: Duration::from_secs(10),
            promote_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(1),
            start_command: None,
            stop_command: None,
            conninfo: Params::default(),
            tls_name: None,
        }
    }
}

/// How the other nodes are reached over SSH; what is `None` is `ssh_config(5)`'s to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshSettings {
    /// The user at the other end.
    pub user: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// The private key; with it the agent isn't asked.
    pub identity_file: Option<PathBuf>,
    /// The file of known host keys, instead of the user's and the machine's.
    pub known_hosts: Option<PathBuf>,
    /// How long a connection may take.
    pub connect_timeout: Option<Duration>,
    /// What runs pgbaton at the other end: a command line, to which arguments are added.
    pub remote_command: String,
}

impl Default for SshSettings {
    fn default() -> Self {
        Self {
            user: None,
            port: None,
            identity_file: None,
            known_hosts: None,
            connect_timeout: None,
            remote_command: "pgbaton".to_owned(),
        }
    }
}

/// What the command line says about the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// The file, instead of [`DEFAULT_FILE`].
    pub config: Option<PathBuf>,
    /// Which node this machine is, instead of finding out by addresses.
    pub node: Option<String>,
}

impl Settings {
    /// Returns whether commits wait for standbys, and promotions for votes.
    pub fn synchronous(&self) -> bool {
        self.replication.mode == ReplicationMode::Sync
    }

    /// Returns whether promotions need votes: where commits wait for standbys, or a witness has the last word.
    pub fn votes(&self) -> bool {
        self.synchronous() || self.witness.is_some()
    }

    /// Returns how many standbys must have a commit on disk before its client is told.
    pub fn acknowledgements(&self) -> u8 {
        if self.synchronous() { self.replication.acknowledgements } else { 0 }
    }

    /// Reads the file that is named, or the one at the usual place.
    pub fn load(overrides: &Overrides) -> Result<Self> {
        let path = overrides.config.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
        let text = read_file(path)?;
        let mut settings = Self::from_toml(&text, &path.display().to_string())?;
        settings.file = Some(path.to_owned());
        if let Some(name) = &overrides.node {
            settings.choose_me(name)?;
        }
        Ok(settings)
    }

    /// Reads the file like [`Self::load`]; `None` when no file is named and there is none at the usual place.
    pub fn load_if_present(overrides: &Overrides) -> Result<Option<Self>> {
        if overrides.config.is_none() && !Path::new(DEFAULT_FILE).exists() {
            return Ok(None);
        }
        Self::load(overrides).map(Some)
    }

    /// Reads the text of a file; `name` is what error messages call it.
    pub fn from_toml(text: &str, name: &str) -> Result<Self> {
        file::read(text, name)
    }

    /// Says by name which node this machine is.
    pub fn choose_me(&mut self, name: &str) -> Result<()> {
        let found = self.nodes.iter().position(|node| node.name == name);
        self.me = Some(found.ok_or_else(|| file::unknown_node(name, &self.nodes))?);
        Ok(())
    }

    /// Finds out by this machine's addresses which node it is, unless that has been said already.
    pub fn find_me(&mut self, local: &[IpAddr]) -> Result<()> {
        if self.me.is_some() || self.nodes.is_empty() {
            return Ok(());
        }
        let mine = |node: &&Node| local.contains(&node.address);
        let found: Vec<&str> = self.nodes.iter().filter(mine).map(|node| node.name.as_str()).collect();
        match found.as_slice() {
            [_] => {
                self.me = self.nodes.iter().position(|node| local.contains(&node.address));
                Ok(())
            }
            [] => Err(self.stranger(local)),
            several => Err(Error::config(format!(
                "this machine has the addresses of several nodes: {}",
                several.join(", ")
            ))
            .hint("say which one is meant with --node NAME")),
        }
    }

    fn stranger(&self, local: &[IpAddr]) -> Error {
        let nodes: Vec<String> =
            self.nodes.iter().map(|node| format!("{} {}", node.name, node.address)).collect();
        let local: Vec<String> =
            local.iter().filter(|address| !address.is_loopback()).map(ToString::to_string).collect();
        let local = if local.is_empty() { "none".to_owned() } else { local.join(", ") };
        let file = self.file.as_deref().map_or_else(String::new, |file| format!(" of {}", file.display()));
        Error::config(format!("this machine isn't one of the nodes{file}"))
            .detail(format!("its addresses: {local}\nthe nodes: {}", nodes.join(", ")))
            .hint("say which one is meant with --node NAME, or correct the addresses in the file")
    }

    /// Returns the node that this machine is.
    pub fn me(&self) -> Result<&Node> {
        self.me.and_then(|position| self.nodes.get(position)).ok_or_else(|| {
            Error::config("it isn't known which node this machine is")
                .hint("say which one is meant with --node NAME")
        })
    }

    /// Returns the name of this machine in the cluster: its node's, or the cluster's where no nodes are listed.
    pub fn identity(&self) -> Result<&str> {
        if self.nodes.is_empty() { Ok(&self.cluster.name) } else { self.me().map(|me| me.name.as_str()) }
    }

    /// Returns the other nodes; all of them when it isn't known which one this machine is.
    pub fn peers(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().enumerate().filter(|(position, _)| Some(*position) != self.me).map(|(_, node)| node)
    }

    /// Returns the database settings of a node, its own values in place; `None` without `[postgres]`.
    pub fn postgres_of(&self, node: &Node) -> Option<PostgresSettings> {
        let mut postgres = self.postgres.clone()?;
        if let Some(directory) = &node.data_directory {
            postgres.data_directory.clone_from(directory);
        }
        if let Some(port) = node.port {
            postgres.port = port;
        }
        if let Some(directory) = &node.socket_directory {
            postgres.socket_directory.clone_from(directory);
        }
        postgres.conninfo = node.conninfo.clone().over(&postgres.conninfo);
        postgres.tls_name.clone_from(&node.tls_name);
        Some(postgres)
    }

    /// Returns the name of the interface of a node, if one is configured.
    pub fn interface_of<'a>(&'a self, node: &'a Node) -> Option<&'a str> {
        node.interface.as_deref().or(self.vrrp.interface.as_deref())
    }

    /// Returns the path of the daemon's control socket on a node.
    pub fn control_socket(&self, node: &Node) -> PathBuf {
        control_socket(&self.cluster, &node.name)
    }

    /// Returns the path of the control socket of this machine's daemon.
    pub fn control_socket_here(&self) -> Result<PathBuf> {
        Ok(control_socket(&self.cluster, self.identity()?))
    }

    /// Returns the path of the file whose lock the daemon of this machine holds.
    pub fn lock_file_here(&self) -> Result<PathBuf> {
        Ok(self.cluster.runtime_directory.join(format!("{}.lock", self.identity()?)))
    }
}

fn control_socket(cluster: &ClusterSettings, node: &str) -> PathBuf {
    cluster.runtime_directory.join(format!("{node}.sock"))
}

/// Checks the name of a network interface that came from a flag.
pub fn interface_name(text: &str) -> std::result::Result<String, String> {
    value::interface_name(text).map(|()| text.to_owned())
}

/// Checks the name of a node that came from a flag.
pub fn node_name(text: &str) -> std::result::Result<String, String> {
    if value::is_name(text) {
        return Ok(text.to_owned());
    }
    Err("a name is 1 to 63 of the characters a-z, 0-9, _ and -".to_owned())
}

fn read_file(path: &Path) -> Result<String> {
    let shown = path.display();
    let unreadable = |error: &std::io::Error| {
        let (kind, hint) = match error.kind() {
            std::io::ErrorKind::NotFound => (
                Kind::Config,
                "\"pgbaton generate config\" prints a template; another file is named by --config FILE"
                    .to_owned(),
            ),
            std::io::ErrorKind::PermissionDenied => {
                (Kind::Permission, format!("run as root, or as a user who may read {shown}"))
            }
            _ => (Kind::Config, "is it a regular file?".to_owned()),
        };
        Error::new(kind, format!("can't read the configuration {shown}")).detail(error).hint(hint)
    };
    // Without O_NONBLOCK the open of a FIFO would wait for a writer.
    let mut file = File::options();
    file.read(true).custom_flags(libc::O_NONBLOCK);
    let mut file = file.open(path).map_err(|error| unreadable(&error))?;
    let about = file.metadata().map_err(|error| unreadable(&error))?;
    if !about.is_file() {
        return Err(Error::config(format!("the configuration {shown} isn't a regular file")));
    }
    // Whoever can write the file can name the programs that root runs.
    if about.mode() & 0o002 != 0 {
        return Err(Error::config(format!("the configuration {shown} can be written by everyone"))
            .detail(format!("its mode is {:04o}", about.mode() & 0o7777))
            .hint(format!("chmod o-w {shown}")));
    }
    let me = rustix::process::geteuid().as_raw();
    if about.uid() != 0 && about.uid() != me {
        return Err(Error::config(format!("the configuration {shown} belongs to another user"))
            .detail(format!("its owner is uid {}, this process is uid {me}", about.uid()))
            .hint(format!("chown root {shown}")));
    }
    if about.len() > LARGEST_FILE {
        return Err(Error::config(format!("{shown} is too large for a configuration"))
            .detail(format!("{} bytes", about.len())));
    }
    let mut bytes = Vec::new();
    file.by_ref().take(LARGEST_FILE).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    String::from_utf8(bytes).map_err(|error| {
        Error::config(format!("the configuration {shown} isn't UTF-8 text"))
            .detail(format!("at byte {}", error.utf8_error().valid_up_to()))
    })
}
