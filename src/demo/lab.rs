//! The lab: builds the cluster, and takes it away again whatever has happened.

use crate::demo::host::{Host, Site, run_as_postgres};
use crate::demo::namespace::{Namespace, ip_batch, signal_all, strays};
use crate::demo::patience::Patience;
use crate::demo::preflight::{self, Machine};
use crate::demo::switch::{BRIDGE, Switch};
use crate::error::{Error, Kind, Result};
use crate::host::clock::{Deadline, now};
use crate::host::lock::Lock;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;
use nix::unistd::chown;
use std::fmt::Write as _;
use std::fs::{DirBuilder, OpenOptions};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// The virtual address, the article's.
pub const VIP: Ipv4Addr = Ipv4Addr::new(192, 18, 12, 23);
/// The client's address.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 18, 12, 9);
/// The hosts by name, with their addresses and VRRP priorities; the spare has none.
const NODES: [(&str, Ipv4Addr, Option<u8>); 6] = [
    ("node1", Ipv4Addr::new(192, 18, 12, 21), Some(200)),
    ("node2", Ipv4Addr::new(192, 18, 12, 22), Some(190)),
    ("spare", Ipv4Addr::new(192, 18, 12, 24), None),
    ("node3", Ipv4Addr::new(192, 18, 12, 25), Some(180)),
    ("node4", Ipv4Addr::new(192, 18, 12, 26), Some(170)),
    ("node5", Ipv4Addr::new(192, 18, 12, 27), Some(160)),
];
/// How long the standbys may take to stream, and node1 to take the virtual address.
const SETTLE: Duration = Duration::from_secs(60);

/// How to build a lab.
#[expect(clippy::struct_excessive_bools, reason = "independent choices")]
#[derive(Debug, Clone)]
pub struct LabOptions {
    /// The folder for everything; it is removed with the lab.
    pub base: PathBuf,
    /// How the names of the network namespaces begin; it must be the lab's own on this machine.
    pub prefix: String,
    /// Whether there is a third node, the spare.
    pub spare: bool,
    /// Whether commits wait for standbys.
    pub sync: bool,
    /// Whether the third host is a witness instead of a spare: a server of its own, and no daemon.
    pub witness: bool,
    /// How many data nodes there are besides node1 and node2.
    pub more: usize,
    /// The advert interval.
    pub advert: Duration,
    /// `guard.availability`: `prefer` or `hold`.
    pub availability: String,
    /// The lifetime of the virtual address in the kernel; `None`: the daemon's default.
    pub lease: Option<String>,
    /// The folder with `PostgreSQL`'s programs; `None`: found.
    pub bin_directory: Option<PathBuf>,
    /// The program that runs as the daemon: this one.
    pub binary: PathBuf,
    /// Whether daemons are started at all.
    pub daemons: bool,
    /// Where to keep the pristine data directory between labs; `None`: made anew each time.
    pub template: Option<PathBuf>,
    /// More lines for the settings file, after the others.
    pub extra_settings: String,
    /// More lines for `[postgres]` in the settings file.
    pub postgres_settings: String,
    /// More lines for every `postgresql.conf`, after the others.
    pub extra_server_settings: String,
    /// The size of each host's own disk, which is in memory and can fill up; `None`: a folder like any other.
    pub disk: Option<u64>,
}

impl LabOptions {
    /// Returns what `pgbaton demo` uses.
    pub fn new(binary: PathBuf) -> Self {
        Self {
            base: PathBuf::from("/var/lib/pgbaton-demo"),
            prefix: "pgbaton-".to_owned(),
            spare: false,
            sync: false,
            witness: false,
            more: 0,
            advert: Duration::from_secs(1),
            availability: "prefer".to_owned(),
            lease: None,
            bin_directory: None,
            binary,
            daemons: true,
            template: None,
            extra_settings: String::new(),
            postgres_settings: String::new(),
            extra_server_settings: String::new(),
            disk: None,
        }
    }

    /// Returns the names of the nodes.
    pub fn node_names(&self) -> impl Iterator<Item = &'static str> {
        self.nodes().map(|(name, ..)| name)
    }

    /// Returns whether this host is the witness.
    fn is_witness(&self, name: &str) -> bool {
        self.witness && name == "spare"
    }

    fn nodes(&self) -> impl Iterator<Item = (&'static str, Ipv4Addr, Option<u8>)> {
        let third = self.spare || self.witness;
        NODES
            .into_iter()
            .filter(move |(name, ..)| *name != "spare" || third)
            .take(2 + usize::from(third) + self.more)
    }
}

/// A running lab. Dropping it takes everything away.
#[derive(Debug)]
pub struct Lab {
    /// How it was built.
    pub options: LabOptions,
    /// The hosts: node1, node2 and perhaps spare.
    pub hosts: Vec<Host>,
    /// Where the client lives.
    pub client: Namespace,
    /// How long the building took.
    pub built_in: Duration,
    site: Arc<Site>,
    network: Network,
    kept: bool,
}

/// The namespaces of a lab with their lock: gone when dropped.
#[derive(Debug)]
struct Network {
    base: PathBuf,
    prefix: String,
    kept: bool,
    /// Released last, with this value.
    _lock: Lock,
}

impl Lab {
    /// Builds a lab and waits until all standbys stream and node1 has the virtual address.
    ///
    /// `progress` is told what is being done. What an earlier run left behind is removed first.
    pub fn create(options: LabOptions, patience: Arc<Patience>, progress: &dyn Fn(&str)) -> Result<Self> {
        let started = now();
        let machine = preflight::check(options.bin_directory.as_deref())?;
        let network = Network::claim(&options.base, &options.prefix)?;
        progress("network namespaces");
        make_folder(&options.base, None)?;
        make_folder(&options.base.join("run"), Some(&machine))?;
        build_network(&options)?;
        let switch_namespace = Namespace::named(format!("{}net", options.prefix));
        let switch = Switch::open(&switch_namespace)?;
        let bridge = switch.port(BRIDGE)?;
        let config = options.base.join("pgbaton.toml");
        let site =
            Arc::new(Site { switch, bridge, machine, binary: options.binary.clone(), config, patience });
        let mut hosts = Vec::new();
        for (name, address, _) in options.nodes() {
            let namespace = Namespace::named(format!("{}{name}", options.prefix));
            hosts.push(Host::new(&site, name, namespace, address, &options.base)?);
        }
        let client = Namespace::named(format!("{}client", options.prefix));
        let mut lab = Self { options, hosts, client, built_in: Duration::ZERO, site, network, kept: false };
        write(&lab.site.config, &lab.settings())?;
        lab.build_servers(progress)?;
        if lab.options.daemons {
            lab.start_daemons(progress)?;
        }
        lab.built_in = now().since(started);
        Ok(lab)
    }

    /// Removes what a crashed or kept lab left: processes, namespaces, folder. Returns whether there was any.
    pub fn clean(base: &Path, prefix: &str) -> Result<bool> {
        let there_was = base.exists() || namespaces(prefix).iter().any(Namespace::exists);
        Network::claim(base, prefix).map(|_| there_was)
    }

    /// Returns a host by its name.
    pub fn host(&self, name: &str) -> Result<&Host> {
        self.hosts
            .iter()
            .find(|host| host.name == name)
            .ok_or_else(|| Error::failed(format!("the lab has no host named {name}")))
    }

    /// Returns the address that clients connect to.
    pub fn vip(&self) -> SocketAddr {
        SocketAddr::from((VIP, 5432))
    }

    /// Returns the path of the settings file.
    pub fn config(&self) -> &Path {
        &self.site.config
    }

    /// Returns the patience that ends this lab's waits.
    pub fn patience(&self) -> &Patience {
        &self.site.patience
    }

    /// Returns the version of the servers, as `15.20`, without the packager's words.
    pub fn server_version(&self) -> Result<String> {
        let answers = self.hosts.iter().find_map(|host| host.sql_value("SHOW server_version").ok().flatten());
        let version = answers.ok_or_else(|| Error::new(Kind::Unreachable, "no server of the lab answers"))?;
        Ok(version.split_whitespace().next().unwrap_or_default().to_owned())
    }

    /// Returns the hosts that have the virtual address at this moment.
    pub fn holders(&self) -> Result<Vec<&str>> {
        let mut holders = Vec::new();
        for host in &self.hosts {
            if host.has_address(IpAddr::V4(VIP))? {
                holders.push(host.name.as_str());
            }
        }
        Ok(holders)
    }

    /// Leaves everything running when this value is dropped; [`Lab::clean`] or the next lab removes it.
    pub fn keep(&mut self) {
        self.kept = true;
        self.network.kept = true;
    }

    /// Takes everything away, and says what couldn't be.
    pub fn destroy(mut self) -> Result<()> {
        self.kept = true;
        self.network.remove()
    }

    /// Returns the settings file's text.
    pub fn settings(&self) -> String {
        let base = self.options.base.display();
        let mut text = format!(
            "# made by `pgbaton demo`; the same file serves every node\n\
             [cluster]\nname = \"article\"\nruntime_directory = \"{base}/run\"\n\
             state_directory = \"{base}/run\"\n"
        );
        for (name, address, priority) in self.options.nodes() {
            if self.options.is_witness(name) {
                continue;
            }
            let role = if priority.is_some() { "data" } else { "spare" };
            let priority = priority.map(|value| format!("priority = {value}\n")).unwrap_or_default();
            // Writing to a String can't fail.
            write!(
                text,
                "\n[[node]]\nname = \"{name}\"\naddress = \"{address}\"\nrole = \"{role}\"\n{priority}\
                 data_directory = \"{base}/{name}/data\"\nsocket_directory = \"{base}/{name}\"\n"
            )
            .ok();
        }
        let advert = self.options.advert.as_millis();
        let lease =
            self.options.lease.as_ref().map(|lease| format!("lease = \"{lease}\"\n")).unwrap_or_default();
        let bin = self.site.machine.bin_directory.display();
        let availability = &self.options.availability;
        write!(
            text,
            "\n[vrrp]\ninterface = \"eth0\"\nvirtual_router_id = 51\nadvert_interval = \"{advert}ms\"\n\
             \n[[vip]]\naddress = \"{VIP}/24\"\n{lease}\
             \n[postgres]\ndata_directory = \"{base}/node1/data\"\nbin_directory = \"{bin}\"\nport = 5432\n\
             socket_directory = \"{base}/node1\"\n{}\
             \n[guard]\navailability = \"{availability}\"\n{}{}",
            self.options.postgres_settings,
            match (self.options.sync, self.options.witness) {
                (true, true) => {
                    "\n[replication]\nmode = \"sync\"\n\n[witness]\naddress = \"192.18.12.24\"\n"
                }
                (true, false) if self.options.more > 0 => "\n[replication]\nmode = \"sync\"\nacknowledgements = 2\n",
                (true, false) => "\n[replication]\nmode = \"sync\"\n",
                (false, true) => "\n[replication]\nrejoin = \"auto\"\n\n[witness]\naddress = \"192.18.12.24\"\nlease = \"5s\"\n",
                (false, false) => "",
            },
            self.options.extra_settings
        )
        .ok();
        text
    }

    fn build_servers(&self, progress: &dyn Fn(&str)) -> Result<()> {
        progress("PostgreSQL: one data directory");
        let machine = &self.site.machine;
        let template = match &self.options.template {
            Some(shared) => shared.clone(),
            None => self.options.base.join("template"),
        };
        // Born in a namespace of the lab, even initdb is found and ended after a crash of the demo.
        self.client.inside(|| make_template(machine, &template))?;
        progress("PostgreSQL: copies for the standbys");
        std::thread::scope(|scope| {
            let copies: Vec<_> = self
                .hosts
                .iter()
                .map(|host| {
                    let template = &template;
                    scope
                        .spawn(move || self.prepare_server(host, template).and_then(|()| host.start_server()))
                })
                .collect();
            copies
                .into_iter()
                .try_for_each(|copy| copy.join().map_err(|_| Error::failed("a copying thread failed"))?)
        })?;
        progress("PostgreSQL: streaming");
        for host in &self.hosts {
            host.wait_server()?;
        }
        let primary = self.host("node1")?;
        self.patience()
            .until("node2 to stream from node1", SETTLE, || Ok(primary.streams_to("node2")?.then_some(())))
    }

    fn start_daemons(&self, progress: &dyn Fn(&str)) -> Result<()> {
        progress("pgbaton vrrp run on every node");
        for host in self.members() {
            host.start_daemon()?;
        }
        for host in self.members() {
            host.wait_daemon()?;
        }
        progress("the virtual address on node1");
        let primary = self.host("node1")?;
        self.patience().until("node1 to take the virtual address", SETTLE, || {
            Ok(primary.has_address(IpAddr::V4(VIP))?.then_some(()))
        })?;
        if self.options.spare {
            progress("the spare streams from the virtual address");
            self.patience()
                .until("the spare to stream", SETTLE, || Ok(primary.streams_to("spare")?.then_some(())))?;
        }
        Ok(())
    }

    /// Returns the hosts that have the cluster's data: all but a witness.
    pub fn members(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|host| !self.options.is_witness(&host.name))
    }

    /// Copies the pristine data directory and makes it this host's: a primary, or a standby of one.
    ///
    /// A cold copy of a cleanly stopped server is a base backup; it takes a tenth of `pg_basebackup`'s time.
    fn prepare_server(&self, host: &Host, template: &Path) -> Result<()> {
        let machine = &self.site.machine;
        make_folder(&host.directory, None)?;
        if let Some(size) = self.options.disk {
            mount_disk(&host.directory, size)?;
        }
        give(&host.directory, machine)?;
        let problem = |error: &dyn std::fmt::Display| {
            Error::failed("can't copy the data directory").detail(host.data_directory.display()).detail(error)
        };
        let mut copy = Command::new("cp");
        copy.args(["-a", "--reflink=auto", "--"])
            .args([template, &host.data_directory])
            .env("PATH", preflight::SEARCH_PATH)
            .stdin(Stdio::null());
        let output = host.namespace.inside(|| copy.output().map_err(|error| problem(&error)))?;
        if !output.status.success() {
            return Err(problem(&String::from_utf8_lossy(&output.stderr).trim()));
        }
        let folder = &host.data_directory;
        append(&folder.join("postgresql.conf"), &self.server_settings(host))?;
        append(&folder.join("pg_hba.conf"), HBA)?;
        if host.name != "node1" && !self.options.is_witness(&host.name) {
            // The spare follows the virtual address, and so the primary, without being told.
            let follows_vip = host.name == "spare" && !self.options.sync;
            let upstream = if follows_vip { VIP } else { self.host("node1")?.address };
            let conninfo = primary_conninfo(upstream, &host.name);
            append(&folder.join("postgresql.auto.conf"), &format!("primary_conninfo = '{conninfo}'\n"))?;
            append(&folder.join("standby.signal"), "")?;
        }
        for name in ["postgresql.auto.conf", "standby.signal"] {
            let path = folder.join(name);
            if path.exists() {
                give(&path, machine)?;
            }
        }
        Ok(())
    }

    fn server_settings(&self, host: &Host) -> String {
        let name = &host.name;
        let sockets = host.socket_directory.display();
        // A node that is a primary now knows whom to follow when it comes back as a standby.
        let peer = self.hosts.iter().find(|other| other.name == "node2").map_or(VIP, |other| other.address);
        let upstream = if name == "node1" {
            format!("primary_conninfo = '{}'\n", primary_conninfo(peer, name))
        } else {
            String::new()
        };
        format!(
            "\n# the lab's\ncluster_name = '{name}'\nunix_socket_directories = '{sockets}'\n{upstream}\
             max_connections = {CONNECTIONS}\n{SERVER}{}",
            self.options.extra_server_settings
        )
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !self.kept {
            self.network.remove().ok();
        }
    }
}

/// `max_connections` of every server.
const CONNECTIONS: u32 = 250;

/// What every server of the lab is told. fsync stays on: the numbers are meant to be true.
const SERVER: &str = "\
listen_addresses = '*'
port = 5432
shared_buffers = '16MB'
dynamic_shared_memory_type = mmap
wal_level = replica
wal_log_hints = on
hot_standby = on
max_wal_senders = 10
max_replication_slots = 10
wal_keep_size = '128MB'
max_wal_size = '256MB'
wal_receiver_timeout = '3s'
wal_sender_timeout = '3s'
wal_retrieve_retry_interval = '100ms'
wal_receiver_status_interval = '1s'
restart_after_crash = off
tcp_keepalives_idle = 2
tcp_keepalives_interval = 1
tcp_keepalives_count = 3
tcp_user_timeout = 3000
logging_collector = off
log_destination = 'stderr'
log_line_prefix = '%m [%p] '
log_checkpoints = on
timezone = 'UTC'
log_timezone = 'UTC'
";

/// Nobody but the lab's hosts can reach its servers: they listen inside of namespaces.
const HBA: &str = "\
host all         all 192.18.12.0/24 trust
host replication all 192.18.12.0/24 trust
";

/// The table that the client writes to.
const TABLE: &str = "CREATE TABLE demo (client text NOT NULL, id bigint NOT NULL, at timestamptz NOT NULL, \
                     PRIMARY KEY (client, id))\n";

fn primary_conninfo(upstream: Ipv4Addr, name: &str) -> String {
    format!(
        "host={upstream} port=5432 user=postgres application_name={name} connect_timeout=2 \
         keepalives_idle=2 keepalives_interval=1 keepalives_count=3 tcp_user_timeout=3000"
    )
}

/// Makes a pristine, cleanly stopped data directory with the demo's table; keeps one that is there.
fn make_template(machine: &Machine, template: &Path) -> Result<()> {
    let folder = template.parent().unwrap_or(Path::new("/"));
    make_folder(folder, None)?;
    let lock = Lock::acquire(&template.with_extension("lock"), "demo", Duration::from_secs(60))?;
    let is_ours = |meta: std::fs::Metadata| meta.uid() == machine.postgres.uid.as_raw();
    if template.join("PG_VERSION").exists() && std::fs::symlink_metadata(template).is_ok_and(is_ours) {
        return Ok(());
    }
    let problem = |error: std::io::Error| {
        Error::failed("can't make the first data directory").detail(template.display()).detail(error)
    };
    let work = template.with_extension("new");
    remove_folder(&work)?;
    make_folder(&work, Some(machine))?;
    let data = work.join("data");
    let data_text = data.to_string_lossy();
    let options = ["--locale=C", "--encoding=UTF8", "--auth=trust", "--username=postgres", "--no-sync"];
    let mut arguments = vec!["-D", &data_text];
    arguments.extend(options);
    run_as_postgres(machine, "initdb", &arguments, "")?;
    // A standby refuses to start with fewer connections than its control file remembers of the primary.
    let limit = format!("max_connections={CONNECTIONS}");
    run_as_postgres(machine, "postgres", &["--single", "-D", &data_text, "-c", &limit, "postgres"], TABLE)?;
    remove_folder(template)?;
    std::fs::rename(&data, template).map_err(problem)?;
    remove_folder(&work)?;
    drop(lock);
    Ok(())
}

fn build_network(options: &LabOptions) -> Result<()> {
    let prefix = &options.prefix;
    let mut names: Vec<(String, Ipv4Addr)> =
        options.nodes().map(|(name, address, _)| (name.to_owned(), address)).collect();
    names.push(("client".to_owned(), CLIENT));
    let mut lines = format!("netns add {prefix}net\n");
    for (name, _) in &names {
        writeln!(lines, "netns add {prefix}{name}").ok();
    }
    ip_batch(None, &lines)?;
    let mut lines = format!(
        "link set lo up\nlink add {BRIDGE} type bridge forward_delay 0 mcast_snooping 0\nlink set {BRIDGE} up\n"
    );
    for (name, _) in &names {
        write!(
            lines,
            "link add {name} type veth peer name eth0 netns {prefix}{name}\n\
             link set {name} master {BRIDGE}\nlink set {name} up\n"
        )
        .ok();
    }
    ip_batch(Some(&Namespace::named(format!("{prefix}net"))), &lines)?;
    for (name, address) in &names {
        ip_batch(
            Some(&Namespace::named(format!("{prefix}{name}"))),
            &format!("link set lo up\naddress add {address}/24 brd + dev eth0\nlink set eth0 up\n"),
        )?;
    }
    Ok(())
}

/// Returns every namespace that a lab with this prefix can have made.
fn namespaces(prefix: &str) -> Vec<Namespace> {
    ["net", "client"]
        .into_iter()
        .chain(NODES.iter().map(|(name, ..)| *name))
        .map(|name| Namespace::named(format!("{prefix}{name}")))
        .collect()
}

impl Network {
    /// Takes the lock of the prefix and removes whatever is left there.
    fn claim(base: &Path, prefix: &str) -> Result<Self> {
        let path = format!("/run/{prefix}lab.lock");
        let lock = Lock::acquire(Path::new(&path), "demo", Duration::ZERO).map_err(|error| {
            let busy = error.kind() == Kind::TryAgain;
            if busy { error.hint("is another `pgbaton demo` running on this machine?") } else { error }
        })?;
        let network = Self { base: base.to_owned(), prefix: prefix.to_owned(), kept: false, _lock: lock };
        network.remove()?;
        Ok(network)
    }

    fn remove(&self) -> Result<()> {
        let namespaces = namespaces(&self.prefix);
        // A canonical path, as /proc shows it.
        let base = std::fs::canonicalize(&self.base).ok();
        let deadline = Deadline::after(Duration::from_secs(10));
        let patience = Patience::endless();
        loop {
            let mut processes: Vec<_> = namespaces.iter().flat_map(Namespace::processes).collect();
            processes.extend(base.iter().flat_map(|base| strays(base)));
            signal_all(&processes, Signal::SIGKILL);
            if processes.is_empty() {
                if let Some(base) = &base {
                    unmount_disks(base);
                }
                // Something may have been written up to the very last moment: then once more.
                match remove_folder(&self.base) {
                    Ok(()) => break,
                    Err(error) if deadline.passed() => return Err(error),
                    Err(_) => {}
                }
            } else if deadline.passed() {
                return Err(Error::failed("processes of the lab don't end").detail(format!("{processes:?}")));
            }
            patience.pause(Duration::from_millis(2))?;
        }
        namespaces.iter().try_for_each(Namespace::delete)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if !self.kept {
            self.remove().ok();
        }
    }
}

fn make_folder(path: &Path, owner: Option<&Machine>) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .map_err(|error| Error::failed("can't make a folder").detail(path.display()).detail(error))?;
    owner.map_or(Ok(()), |machine| give(path, machine))
}

fn give(path: &Path, machine: &Machine) -> Result<()> {
    chown(path, Some(machine.postgres.uid), Some(machine.postgres.gid))
        .map_err(|errno| Error::failed("can't change the owner").detail(path.display()).detail(errno))
}

/// Gives a host a disk of its own, in memory, that is full when it is full.
fn mount_disk(folder: &Path, size: u64) -> Result<()> {
    let options = format!("size={size},mode=0755");
    mount(Some("pgbaton-lab"), folder, Some("tmpfs"), MsFlags::empty(), Some(options.as_str())).map_err(
        |errno| Error::failed("can't mount a disk for a host").detail(folder.display()).detail(errno),
    )
}

/// Takes the disks of all hosts off; where there is none, nothing happens.
fn unmount_disks(base: &Path) {
    for (name, ..) in NODES {
        // EINVAL, ENOENT: nothing is mounted there, which is what was wanted.
        umount2(&base.join(name), MntFlags::MNT_DETACH).ok();
    }
}

fn remove_folder(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::failed("can't remove").detail(path.display()).detail(error))
        }
        _ => Ok(()),
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text)
        .map_err(|error| Error::failed("can't write").detail(path.display()).detail(error))
}

fn append(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| Error::failed("can't write").detail(path.display()).detail(error))
}
