//! From settings to the parts of a daemon: everything that can be refused is refused here, before anything runs.

use super::control;
use super::event_loop::{Database, Mailbox, Message};
use super::reporter::Reporter;
use super::signing;
use super::spec::{self, Spec};
use super::worker::{self, PlanConfig};
use crate::error::{Error, Kind, Result};
use crate::host::lock::Lock;
use crate::host::sdnotify::SdNotify;
use crate::net::caps;
use crate::net::netlink::{Address, Link, Netlink};
use crate::output::log::Log;
use crate::pg::candidacy::Rival;
use crate::pg::conn::ConnSettings;
use crate::pg::gates::Policy;
use crate::pg::peers::Peers;
use crate::pg::server::DataDirectory;
use crate::pg::target;
use crate::pg::witness::ssh::SshRegister;
use crate::plan::build::{StopBounds, Vip};
use crate::plan::election::Voters;
use crate::promotion::rules::Lease;
use crate::promotion::supervisor::{self, Supervisor};
use crate::settings::{self, NodeRole, PostgresSettings, Settings, WitnessSettings, WitnessTransport};
use crate::ssh::{self, kept::Kept};
use crate::watch::{self, Watch};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How often a node that must wait asks again.
const RETRY: Duration = Duration::from_millis(500);
/// How long a candidate waits for votes: a standby lets go of its primary within tens of milliseconds.
const VOTE_WITHIN: Duration = Duration::from_secs(1);
/// How far a clock may be from the true rate, in millionths: far more than a clock that anything disciplines.
const CLOCK_DRIFT: u32 = 10_000;
/// How a server is stopped whose lease runs out: before the next node may be promoted.
pub(super) const HASTY_STOP: StopBounds =
    StopBounds { fast: Duration::from_millis(500), immediate: Duration::from_millis(500) };
/// The same where the witness may have to be connected to over SSH first.
const VOTE_WITHIN_SSH: Duration = Duration::from_secs(3);
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// Checks that the files hold keys to sign adverts with.
pub fn check_keys(settings: &Settings) -> Result<()> {
    let instances = settings.instances.iter().map(|instance| &instance.signing);
    instances.chain([&settings.vrrp.signing]).try_for_each(|keys| signing::load(keys).map(drop))
}

/// What the loop is made of.
#[derive(Debug)]
pub struct Parts {
    pub(super) settings: Settings,
    pub(super) node: Node,
    pub(super) supervisor: Option<Supervisor>,
    pub(super) log: Log,
    pub(super) control_socket: PathBuf,
    pub(super) notify: SdNotify,
    /// Held for as long as the daemon lives: one daemon per node.
    pub(super) lock: Lock,
}

/// What the loop knows of its node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) cluster: String,
    pub(super) name: String,
    /// The virtual router of `[vrrp]`, if there is one.
    pub(super) main: Option<Spec>,
    peers: Vec<(String, IpAddr)>,
    database: Option<DatabaseConfig>,
}

#[derive(Debug)]
struct DatabaseConfig {
    watch: watch::Config,
    plan: PlanConfig,
    peers: Peers,
    report_to: Vec<ConnSettings>,
}

impl Parts {
    /// Checks everything a daemon needs and makes it ready to run.
    ///
    /// # Errors
    /// Missing capabilities, no such interface, a virtual IP outside every network of the interface, a data
    /// directory that isn't one, another daemon that runs for this node.
    pub fn prepare(mut settings: Settings, log: Log) -> Result<Self> {
        caps::require_net_admin()?;
        caps::require_net_raw()?;
        let mut netlink = Netlink::open()?;
        let addresses = netlink.addresses()?;
        let local: Vec<IpAddr> = addresses.iter().map(|address| address.address.address()).collect();
        settings.find_me(&local)?;
        let settings = settings;
        let main = if settings.vips.is_empty() {
            None
        } else {
            Some(main_spec(&settings, &mut netlink, &addresses)?)
        };
        let (mut database, mut supervisor) = (None, None);
        if let Some(spec) = &main
            && let Some(postgres) = settings.postgres_of(settings.me()?)
        {
            database = Some(database_config(&settings, &postgres, spec)?);
            supervisor = Some(Supervisor::new(supervisor_config(&settings, spec)));
        }
        let node = Node {
            cluster: settings.cluster.name.clone(),
            name: settings.identity()?.to_owned(),
            main,
            peers: settings.peers().map(|peer| (peer.name.clone(), peer.address)).collect(),
            database,
        };
        runtime_directory(&settings)?;
        let lock = Lock::acquire(&settings.lock_file_here()?, "vrrp run", LOCK_WAIT)?;
        Ok(Self {
            control_socket: settings.control_socket_here()?,
            settings,
            node,
            supervisor,
            log,
            notify: SdNotify::from_env()?,
            lock,
        })
    }
}

/// Makes the virtual router of `[vrrp]`, held against the interfaces that there are.
pub(super) fn main_spec(settings: &Settings, netlink: &mut Netlink, addresses: &[Address]) -> Result<Spec> {
    let link = node_link(settings, netlink, addresses)?;
    let vips = vips_on(settings, &link, addresses)?;
    spec::main(settings, link, vips, addresses)
}

impl Node {
    /// Returns the name of the node that speaks from this address, or the address.
    pub(super) fn name_of(&self, address: IpAddr) -> String {
        self.peers
            .iter()
            .find(|(_, peer)| *peer == address)
            .map_or_else(|| address.to_string(), |(name, _)| name.clone())
    }

    /// Starts the watch, the worker and the reporter, if there is a database.
    pub(super) fn start_database_threads(&self, mailbox: &Mailbox) -> Result<Option<Database>> {
        let Some(config) = &self.database else { return Ok(None) };
        let failed = |error: std::io::Error| Error::failed("can't start a thread").detail(error);
        let seen = mailbox.clone();
        let watch =
            Watch::start(config.watch.clone(), move |look| seen.send(Message::Seen(look))).map_err(failed)?;
        let told = mailbox.clone();
        let jobs = worker::start(config.plan.clone(), move |news| {
            told.send(Message::Worker(news));
        })
        .map_err(failed)?;
        let told = mailbox.clone();
        let upkeep = worker::start(config.plan.clone(), move |news| {
            told.send(Message::Worker(news));
        })
        .map_err(failed)?;
        let reporter = Reporter::start(config.report_to.clone(), &self.name).map_err(failed)?;
        Ok(Some(Database {
            watch,
            jobs,
            upkeep,
            tending: false,
            upkeep_trouble: None,
            peers: config.peers.clone(),
            reporter,
        }))
    }
}

/// Finds the interface of this node: the configured one, or the one that carries its address.
pub fn node_link(settings: &Settings, netlink: &mut Netlink, addresses: &[Address]) -> Result<Link> {
    let me = settings.me()?;
    let carrier = addresses.iter().find(|address| address.address.address() == me.address);
    let Some(carrier) = carrier else {
        return Err(Error::config(format!("no interface has the address {} of {}", me.address, me.name))
            .hint("is the network up? `ip address` shows what there is"));
    };
    let links = netlink.links()?;
    let link = match settings.interface_of(me) {
        Some(name) => links.into_iter().find(|link| link.name == name).ok_or_else(|| {
            Error::config(format!("there is no interface \"{name}\"")).hint("ip -brief link")
        })?,
        None => links
            .into_iter()
            .find(|link| link.index == carrier.index)
            .ok_or_else(|| Error::failed("the interface went away"))?,
    };
    if link.index != carrier.index {
        return Err(Error::config(format!(
            "interface \"{}\" doesn't have the address {} of {}",
            link.name, me.address, me.name
        ))
        .hint(
            "adverts are sent from that address: name the interface that has it, or leave vrrp.interface out",
        ));
    }
    Ok(link)
}

/// Checks that each virtual IP belongs to a network of the interface.
fn vips_on(settings: &Settings, link: &Link, addresses: &[Address]) -> Result<Vec<Vip>> {
    let mut vips = Vec::new();
    for vip in &settings.vips {
        if vip.interface.as_deref().is_some_and(|interface| interface != link.name) {
            return Err(Error::config(format!(
                "{} is to be on another interface than the adverts",
                vip.address
            ))
            .detail(format!("adverts go out on {}", link.name))
            .hint("remove the interface of the [[vip]], or set vrrp.interface to it"));
        }
        let inside = addresses.iter().any(|address| {
            address.index == link.index
                && address.address.address() != vip.address.address()
                && address.address.contains(vip.address.address())
        });
        if !inside {
            return Err(outside_subnet(
                vip.address,
                &link.name,
                addresses.iter().filter(|a| a.index == link.index),
            ));
        }
        vips.push(Vip {
            address: vip.address,
            interface: link.name.clone(),
            label: vip.label.clone(),
            lease: vip.lease,
        });
    }
    Ok(vips)
}

/// The error for a virtual IP that no network of the interface contains.
pub fn outside_subnet<'a>(
    vip: crate::units::InterfaceAddress,
    interface: &str,
    addresses: impl Iterator<Item = &'a Address>,
) -> Error {
    let have: Vec<String> = addresses.map(|address| address.address.to_string()).collect();
    Error::config(format!("{vip} isn't in a network of {interface}"))
        .detail(if have.is_empty() {
            format!("{interface} has no address")
        } else {
            format!("{interface} has {}", have.join(", "))
        })
        .hint("clients could not reach it there: correct the address, its prefix length or the interface")
}

fn supervisor_config(settings: &Settings, spec: &Spec) -> supervisor::Config {
    let availability = match settings.guard.availability {
        settings::Availability::Hold => crate::pg::gates::Availability::Hold,
        settings::Availability::Prefer => crate::pg::gates::Availability::Prefer,
    };
    let me = settings.me().ok();
    let witness = settings.witness.as_ref();
    let lease = lease(settings);
    supervisor::Config {
        node: me.map_or_else(String::new, |me| me.name.clone()),
        electable: me.is_some_and(|me| me.role == NodeRole::Data),
        peers: settings
            .peers()
            .map(|peer| (peer.name.clone(), peer.address))
            .chain(witness.map(|witness| (WitnessSettings::NAME.to_owned(), witness.address)))
            .collect(),
        policy: Policy {
            votes: settings.votes(),
            lossless: settings.synchronous(),
            availability,
            max_lag: settings.guard.max_lag,
            max_silence: settings.guard.max_silence,
            ..Policy::default()
        },
        ask_timeout: settings.guard.ask_timeout,
        retry: RETRY,
        // Others go ahead without this node only where that was chosen; and they wait for a down interval,
        // of which this leaves one interval for the stop.
        isolation: match (settings.votes(), availability) {
            // A lease has its own end.
            (true, _) if lease.is_some() => None,
            (true, _) => Some(settings.replication.isolation_timeout),
            (false, crate::pg::gates::Availability::Prefer) => Some(spec.router.interval.as_duration() * 2),
            (false, crate::pg::gates::Availability::Hold) => None,
        },
        votes: settings.votes().then_some(supervisor::Votes {
            electorate: settings.nodes.len() + usize::from(settings.witness.is_some()),
            pair: settings.nodes.len() == 2,
            heartbeat: settings.replication.heartbeat,
            isolation: lease.as_ref().map_or(settings.replication.isolation_timeout, Lease::serves_for),
            lease: lease.is_some(),
        }),
        on_crash: match settings
            .postgres
            .as_ref()
            .map(|postgres| (postgres.on_crash, postgres.restart_timeout))
        {
            Some((settings::OnCrash::RestartFirst, within)) => supervisor::OnCrash::RestartFirst { within },
            _ => supervisor::OnCrash::Failover,
        },
        gateway: settings.guard.gateway.map(|_| {
            let bound = gateway_bound(settings);
            supervisor::GatewayBounds { serves_for: bound.serves_for(), wait: bound.length }
        }),
        fences: settings.guard.fence != settings::Fence::None,
        rejoin: match settings.replication.rejoin {
            settings::Rejoin::Auto => supervisor::Rejoin::Auto,
            settings::Rejoin::Manual => supervisor::Rejoin::Manual,
        },
    }
}

fn database_config(settings: &Settings, postgres: &PostgresSettings, spec: &Spec) -> Result<DatabaseConfig> {
    let me = settings.me()?;
    // Refuses what isn't a data directory now, not at the first failover.
    DataDirectory::open(&postgres.data_directory)?;
    let conn = target::local(postgres, "vrrp run");
    let peers = peers(settings, "vrrp run");
    let report_to = std::iter::once(conn.clone()).chain(peers.iter().map(|peer| peer.conn.clone())).collect();
    let voters = voters(settings, &peers, postgres);
    Ok(DatabaseConfig {
        watch: watch::Config {
            node: me.name.clone(),
            conn: conn.clone(),
            data_directory: postgres.data_directory.clone(),
            upstreams: peers
                .iter()
                .map(|peer| {
                    let (host, port) = peer.place();
                    (peer.name.clone(), host, port)
                })
                .collect(),
            interval: postgres.probe_interval,
            timeout: postgres.probe_timeout,
        },
        plan: PlanConfig {
            node: me.name.clone(),
            voters,
            rivals: rivals(settings, &peers),
            place: (me.address.to_string(), postgres.port),
            conn,
            data_directory: postgres.data_directory.clone(),
            vips: match me.role {
                NodeRole::Data => spec.vips.iter().map(|place| place.vip.clone()).collect(),
                NodeRole::Spare => Vec::new(),
            },
            slots: settings.peers().map(|peer| slot_name(&peer.name)).collect(),
            stop: StopBounds { fast: postgres.stop_timeout, immediate: postgres.stop_timeout },
            promote_within: postgres.promote_timeout,
            connect_within: postgres.connect_timeout,
        },
        peers,
        report_to,
    })
}

/// Returns the other nodes that could be promoted beside this one, where nobody votes. Of two that stand the one with the
/// higher priority goes first, and of equals the one with the higher address, as in VRRP.
pub fn rivals(settings: &Settings, peers: &Peers) -> Vec<Rival> {
    let Ok(me) = settings.me() else { return Vec::new() };
    let rank = |node: &settings::Node| (node.priority, node.address);
    let electable = settings.peers().filter(|node| node.role == NodeRole::Data && !settings.votes());
    electable
        .filter_map(|node| {
            Some(Rival { peer: Arc::clone(peers.get(&node.name)?), first: rank(node) > rank(me) })
        })
        .collect()
}

/// Returns who votes with this node; `None` when replication is asynchronous.
pub fn voters(settings: &Settings, peers: &Peers, postgres: &PostgresSettings) -> Option<Voters> {
    let me = settings.me().ok()?;
    settings.votes().then(|| Voters {
        node: me.name.clone(),
        peers: peers.clone(),
        acknowledgements: settings.acknowledgements(),
        lease: lease(settings).map(|lease| lease.length),
        vote_within: match settings.witness.as_ref().map(|witness| witness.transport) {
            Some(WitnessTransport::Ssh) => VOTE_WITHIN_SSH,
            _ => VOTE_WITHIN.max(settings.guard.ask_timeout),
        },
        catch_up_within: postgres.promote_timeout,
        missing_since: Arc::default(),
        overridden: false,
    })
}

/// Returns the lease of a primary that nobody's acknowledgement holds back; `None` where there is none.
fn lease(settings: &Settings) -> Option<Lease> {
    let witness = settings.witness.as_ref().filter(|_| !settings.synchronous())?;
    Some(Lease {
        length: witness.lease,
        drift: CLOCK_DRIFT,
        stop: HASTY_STOP.fast + HASTY_STOP.immediate * 3,
    })
}

/// Returns how long whom goes on without the gateway: the same sum as a lease's.
fn gateway_bound(settings: &Settings) -> Lease {
    Lease {
        length: settings.guard.gateway_timeout,
        drift: CLOCK_DRIFT,
        stop: HASTY_STOP.fast + HASTY_STOP.immediate * 3,
    }
}

/// Returns the servers of the other nodes, as `verb` asks them.
pub fn peers(settings: &Settings, verb: &str) -> Peers {
    let places = settings.peers().filter_map(|peer| Some((peer, settings.postgres_of(peer)?)));
    let peers =
        Peers::new(places.map(|(peer, postgres)| (peer.name.clone(), target::peer(peer, &postgres, verb))));
    match &settings.witness {
        Some(witness) => {
            let (name, cluster) = (WitnessSettings::NAME, settings.cluster.name.as_str());
            let conn = target::witness(witness, settings.postgres.as_ref(), verb);
            match witness.transport {
                WitnessTransport::Postgres => peers.with_witness(name, conn, cluster),
                WitnessTransport::Ssh => {
                    let host = Kept::new(ssh::target::Target::witness(&settings.ssh, witness));
                    let register = SshRegister::new(host, witness.directory.clone(), cluster.to_owned());
                    peers.with_ssh_witness(name, conn, register)
                }
            }
        }
        None => peers,
    }
}

/// Returns the name of a node's replication slot; slots allow no hyphen.
pub fn slot_name(node: &str) -> String {
    node.replace('-', "_")
}

/// Makes the runtime directory if it is missing and this user may.
fn runtime_directory(settings: &Settings) -> Result<()> {
    let directory = &settings.cluster.runtime_directory;
    std::fs::create_dir_all(directory).map_err(|error| {
        let kind = if error.kind() == std::io::ErrorKind::PermissionDenied { Kind::Permission } else { Kind::Failed };
        Error::new(kind, format!("can't make {}", directory.display()))
            .detail(error)
            .hint("systemd's RuntimeDirectory=pgbaton makes it; otherwise: install -d -o postgres -m 0750 that directory, or set cluster.runtime_directory")
    })
}

/// Where the local daemon of these settings listens.
pub fn control_path(settings: &mut Settings) -> Result<PathBuf> {
    let mut netlink = Netlink::open()?;
    let local: Vec<IpAddr> = netlink.addresses()?.iter().map(|address| address.address.address()).collect();
    settings.find_me(&local)?;
    settings.control_socket_here()
}

/// Asks the local daemon.
pub fn ask_daemon(
    settings: &mut Settings,
    request: control::Request,
    patience: Duration,
) -> Result<serde_json::Value> {
    let path = control_path(settings)?;
    control::ask(&path, request, crate::host::clock::Deadline::after(patience))
}
