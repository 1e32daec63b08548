//! What this machine says when it is checked: its files, interfaces, services, firewall, its way to the others.

use super::firewall::{Firewall, Ruleset};
use crate::daemon::control::{self, Request};
use crate::daemon::setup;
use crate::host::clock::Deadline;
use crate::host::process;
use crate::net::netlink::{Address, Link, Netlink};
use crate::pg::pgpass;
use crate::pg::server::DataDirectory;
use crate::rebuild::tools::Tools;
use crate::settings::{Node, Settings};
use crate::ssh::{session, target::Target};
use crate::units::Mac;
use serde_json::Value;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long the link is asked who has an address.
const ARP_WAIT: Duration = Duration::from_millis(200);
/// How long a local program may take.
const PROGRAM_WAIT: Duration = Duration::from_secs(5);

/// This machine, which is one of the nodes.
#[derive(Debug, Clone)]
pub struct HostFacts {
    /// Its node.
    pub node: Node,
    /// The interface that carries the node's address, or why there is none that does.
    pub link: Result<Link, String>,
    /// Every address of the machine.
    pub addresses: Vec<Address>,
    /// Who answers for each virtual IP on the link; `None`: it couldn't be asked.
    pub owners: Option<Vec<(std::net::IpAddr, Option<Mac>)>>,
    /// Whether the gateway answers by ARP; `None`: there is none, or it couldn't be asked.
    pub gateway: Option<bool>,
    /// The Ethernet addresses of the other nodes, as far as they answered.
    pub macs: Vec<(String, Mac)>,
    /// Kernel parameters by name.
    pub kernel: Vec<(String, String)>,
    /// What the daemon's control socket said: status and counters.
    pub daemon: Result<(Value, Value), String>,
    /// What `systemctl is-enabled` says of the unit; `None` without systemd.
    pub enabled: Option<String>,
    /// Whether a keepalived runs.
    pub keepalived: bool,
    /// The firewall's rules.
    pub firewall: Firewall,
    /// The password file of the server's user: path, and why it is ignored.
    pub password_file: Option<(PathBuf, Option<String>)>,
    /// Where the programs of the server's version are, or why not.
    pub programs: Result<PathBuf, String>,
    /// The file system of the data directory: bytes free for the server, and in all.
    pub disk: Option<(u64, u64)>,
    /// Whether flight records can be kept, and if not, why.
    pub state_directory: Option<String>,
    /// The other nodes over SSH: name, and why not.
    pub ssh: Vec<(String, Option<String>)>,
}

/// Looks at this machine; `None` when it is none of the nodes.
pub fn look(settings: &Settings, timeout: Duration) -> Option<HostFacts> {
    let node = settings.me().ok()?.clone();
    let mut netlink = Netlink::open().ok()?;
    let addresses = netlink.addresses().unwrap_or_default();
    let link = setup::node_link(settings, &mut netlink, &addresses).map_err(|error| error.to_string());
    let postgres = settings.postgres_of(&node);
    let data = postgres.as_ref().map(|postgres| postgres.data_directory.clone());
    let (owners, macs) = match &link {
        Ok(link) => ask_link(settings, link, &addresses),
        Err(_) => (None, Vec::new()),
    };
    let gateway = settings.guard.gateway.and_then(|gateway| {
        let address = crate::units::InterfaceAddress::new(gateway.into(), 32)?;
        let link = link.as_ref().ok()?;
        Some(crate::net::vip::probe(link, address, Deadline::after(ARP_WAIT)).ok()?.is_some())
    });
    let programs = match (&postgres, &data) {
        (Some(postgres), Some(data)) => DataDirectory::open(data)
            .and_then(|data| Tools::find_bin_dir(data.version(), postgres.bin_directory.as_deref()))
            .map_err(|error| error.to_string()),
        _ => Err("there is no [postgres]".to_owned()),
    };
    let interface = link.as_ref().map(|link| link.name.clone()).unwrap_or_default();
    Some(HostFacts {
        owners,
        gateway,
        macs,
        kernel: kernel(&interface),
        daemon: daemon(settings, &node, timeout),
        enabled: enabled(),
        keepalived: runs("keepalived"),
        firewall: firewall(),
        password_file: data.as_deref().and_then(password_file),
        programs,
        disk: data.as_deref().and_then(room),
        state_directory: state_directory(settings),
        ssh: over_ssh(settings, timeout),
        addresses,
        link,
        node,
    })
}

type Owners = Option<Vec<(std::net::IpAddr, Option<Mac>)>>;

/// Asks the link who has the virtual IPs, and which Ethernet addresses the other nodes have.
fn ask_link(settings: &Settings, link: &Link, addresses: &[Address]) -> (Owners, Vec<(String, Mac)>) {
    let mine = |address| addresses.iter().any(|mine| mine.address.address() == address);
    let ask = |address: std::net::IpAddr| {
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        let address = crate::units::InterfaceAddress::new(address, prefix)?;
        crate::net::vip::probe(link, address, Deadline::after(ARP_WAIT)).ok()
    };
    let mut owners = Vec::new();
    for vip in settings.vips.iter().map(|vip| vip.address.address()) {
        if mine(vip) {
            owners.push((vip, link.mac));
        } else {
            let Some(owner) = ask(vip) else { return (None, Vec::new()) };
            owners.push((vip, owner));
        }
    }
    let macs = settings.peers().filter_map(|peer| Some((peer.name.clone(), ask(peer.address)??))).collect();
    (Some(owners), macs)
}

fn kernel(interface: &str) -> Vec<(String, String)> {
    let mut names: Vec<String> =
        ["net/ipv4/ip_nonlocal_bind", "net/ipv6/ip_nonlocal_bind"].map(str::to_owned).into();
    for scope in ["all", interface] {
        for name in ["rp_filter", "arp_ignore", "arp_announce", "promote_secondaries"] {
            names.push(format!("net/ipv4/conf/{scope}/{name}"));
        }
    }
    names
        .into_iter()
        .filter_map(|name| {
            let text = std::fs::read_to_string(Path::new("/proc/sys").join(&name)).ok()?;
            Some((name.replace('/', "."), text.trim().to_owned()))
        })
        .collect()
}

fn daemon(settings: &Settings, node: &Node, timeout: Duration) -> Result<(Value, Value), String> {
    let path = settings.control_socket(node);
    let ask =
        |request| control::ask(&path, request, Deadline::after(timeout)).map_err(|error| error.to_string());
    Ok((ask(Request::Status)?, ask(Request::Stats)?))
}

fn enabled() -> Option<String> {
    if !Path::new("/run/systemd/system").is_dir() {
        return None;
    }
    let mut command = Command::new("systemctl");
    command.args(["is-enabled", "pgbaton.service"]).env("LC_ALL", "C");
    let output = process::run(command, Deadline::after(PROGRAM_WAIT)).ok()?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Some(if said.is_empty() { "not-found".to_owned() } else { said })
}

/// Whether a process of this name runs, in this machine's or any container's processes that are seen from here.
fn runs(program: &str) -> bool {
    let named = |entry: std::fs::DirEntry| {
        let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        // Another network's keepalived is none of this node's.
        let network = |path: PathBuf| std::fs::read_link(path).ok();
        name.trim() == program
            && network(entry.path().join("ns/net")) == network(PathBuf::from("/proc/self/ns/net"))
    };
    std::fs::read_dir("/proc").is_ok_and(|entries| entries.flatten().any(named))
}

/// Reads the rules of nftables, and those of the older tables that it doesn't show.
fn firewall() -> Firewall {
    let mut firewall = Firewall::default();
    let mut read = |program: &str, arguments: &[&str]| match print(program, arguments) {
        Some(Ok(text)) => {
            firewall.rules.push(Ruleset { program: program.to_owned(), text });
            true
        }
        Some(Err(why)) => {
            firewall.unseen.push(why);
            true
        }
        None => false,
    };
    let nft = read("nft", &["list", "ruleset"]);
    let mut blind = Vec::new();
    for family in ["ip", "ip6"] {
        // The kernel's older tables, if it has any; only root may ask.
        let tables = std::fs::read_to_string(format!("/proc/net/{family}_tables_names")).unwrap_or_default();
        let legacy = !tables.trim().is_empty();
        let wanted = [(legacy, "tables-legacy-save"), (legacy || !nft, "tables-save")];
        let found = wanted.iter().any(|(wanted, end)| *wanted && read(&format!("{family}{end}"), &[]));
        if legacy && !found {
            let tables = tables.split_whitespace().collect::<Vec<_>>().join(", ");
            blind.push(format!(
                "there are {family}tables rules ({tables}) here, and no {family}tables-save to read them"
            ));
        }
    }
    firewall.unseen.extend(blind);
    if firewall == Firewall::default() {
        firewall.unseen.push("there is neither nft nor iptables-save here".to_owned());
    }
    firewall
}

/// Returns what a program prints, or why it doesn't; `None`: there is no such program.
fn print(program: &str, arguments: &[&str]) -> Option<Result<String, String>> {
    let mut command = Command::new(program);
    command.args(arguments).env("LC_ALL", "C");
    let output = process::run(command, Deadline::after(PROGRAM_WAIT)).ok()?;
    Some(if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("{program}: {}", output.complaint()))
    })
}

/// The password file of the user whose server this is.
fn password_file(data: &Path) -> Option<(PathBuf, Option<String>)> {
    let owner = std::fs::metadata(data).ok()?.uid();
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(owner)).ok().flatten()?;
    let own = rustix::process::geteuid().as_raw() == owner;
    let home = std::env::var_os("HOME").filter(|_| own).map_or_else(|| user.dir.clone(), PathBuf::from);
    let file = home.join(".pgpass");
    let about = std::fs::symlink_metadata(&file).ok()?;
    let ignored = pgpass::load(&file)
        .err()
        .or_else(|| (about.uid() != owner).then(|| format!("it belongs to another user than {}", user.name)));
    Some((file, ignored))
}

fn room(data: &Path) -> Option<(u64, u64)> {
    let room = rustix::fs::statvfs(data).ok()?;
    Some((room.f_bavail.checked_mul(room.f_frsize)?, room.f_blocks.checked_mul(room.f_frsize)?))
}

/// Why flight records can't be kept; `None` when they can, or nobody has tried.
fn state_directory(settings: &Settings) -> Option<String> {
    let directory = &settings.cluster.state_directory;
    match std::fs::metadata(directory) {
        Ok(about) if about.is_dir() => None,
        Ok(_) => Some(format!("{} is no directory", directory.display())),
        Err(error) => Some(format!("{}: {error}", directory.display())),
    }
}

fn over_ssh(settings: &Settings, timeout: Duration) -> Vec<(String, Option<String>)> {
    let try_it = |peer: &Node| {
        let place = Target::node(settings, peer).map_err(|error| error.to_string())?;
        session::with(&place, Deadline::after(timeout), |ssh| ssh.exec("true"))
            .map(drop)
            // The finding itself says that the node can't be reached.
            .map_err(|error| match error.detail_text() {
                Some(detail) if error.message().ends_with("can't be reached over SSH") => detail.to_owned(),
                _ => error.to_string(),
            })
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            settings.peers().map(|peer| (peer.name.clone(), scope.spawn(move || try_it(peer)))).collect();
        threads
            .into_iter()
            .map(|(name, thread)| {
                let result =
                    thread.join().unwrap_or_else(|_| Err("the asking thread ended early".to_owned()));
                (name, result.err())
            })
            .collect()
    })
}
