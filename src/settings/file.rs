//! From the text of `pgbaton.toml` to checked [`Settings`].
//!
//! Three passes, each of which collects all its mistakes: syntax (toml), shape (`shape`), meaning (here).
//! Pure: the text comes in, nothing is opened.

use super::group::RawGroup;
use super::guard::RawGuard;
use super::instance::{Others, RawDaemon, RawInstance};
use super::notify::RawNotify;
use super::parse::{self, Lease};
use super::problem::{Problem, Problems, nearest};
use super::replication::RawReplication;
use super::signing::RawSigning;
use super::track::{RawProcess, RawScript, RawTrack, RawTrackFile, Trackers, Weights};
use super::value::{Check, Value};
use super::witness::RawWitness;
use super::{
    Checksum, ClusterSettings, Node, NodeRole, OnCrash, PostgresSettings, Settings, SshSettings, VipSettings,
    VrrpSettings,
};
use crate::error::{Error, Result};
use crate::units::InterfaceAddress;
use serde::Deserialize;
use std::ops::Range;
use std::path::PathBuf;
use toml::Spanned;
use toml::de::DeTable;

/// The most data nodes of a cluster: every one more is a voter more to wait for.
const MOST_DATA_NODES: usize = 7;
/// `sun_path` of unix(7) less the final zero.
const LONGEST_SOCKET_PATH: usize = 107;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    cluster: Option<RawCluster>,
    #[serde(default)]
    node: Vec<Spanned<RawNode>>,
    #[serde(default)]
    vrrp: RawVrrp,
    #[serde(default)]
    vip: Vec<Spanned<RawVip>>,
    postgres: Value<RawPostgres>,
    #[serde(default)]
    guard: RawGuard,
    #[serde(default)]
    replication: RawReplication,
    witness: Value<RawWitness>,
    #[serde(default)]
    ssh: RawSsh,
    #[serde(default)]
    instance: Vec<Spanned<RawInstance>>,
    #[serde(default)]
    daemon: RawDaemon,
    #[serde(default)]
    group: Vec<Spanned<RawGroup>>,
    #[serde(default)]
    track_script: Vec<Spanned<RawScript>>,
    #[serde(default)]
    track_process: Vec<Spanned<RawProcess>>,
    #[serde(default)]
    track_file: Vec<Spanned<RawTrackFile>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCluster {
    name: Value<String>,
    runtime_directory: Value<String>,
    state_directory: Value<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNode {
    name: Value<String>,
    address: Value<String>,
    priority: Value<i64>,
    role: Value<String>,
    interface: Value<String>,
    data_directory: Value<String>,
    port: Value<i64>,
    socket_directory: Value<String>,
    ssh_host_key_alias: Value<String>,
    conninfo: Value<String>,
    tls_name: Value<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawVrrp {
    interface: Value<String>,
    virtual_router_id: Value<i64>,
    advert_interval: Value<String>,
    preempt: Value<bool>,
    preempt_delay: Value<String>,
    start_delay: Value<String>,
    checksum: Value<String>,
    unicast: Value<bool>,
    min_ttl: Value<i64>,
    auth_keys: Value<Vec<Spanned<String>>>,
    auth_mode: Value<String>,
    auth_window: Value<String>,
    notify: Value<Vec<Spanned<String>>>,
    notify_master: Value<Vec<Spanned<String>>>,
    notify_backup: Value<Vec<Spanned<String>>>,
    notify_fault: Value<Vec<Spanned<String>>>,
    notify_stop: Value<Vec<Spanned<String>>>,
    notify_timeout: Value<String>,
    notify_user: Value<String>,
    track_interfaces: Weights,
    track_scripts: Weights,
    track_processes: Weights,
    track_files: Weights,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawVip {
    address: Value<String>,
    interface: Value<String>,
    label: Value<String>,
    lease: Value<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPostgres {
    data_directory: Value<String>,
    bin_directory: Value<String>,
    port: Value<i64>,
    socket_directory: Value<String>,
    user: Value<String>,
    database: Value<String>,
    probe_interval: Value<String>,
    probe_timeout: Value<String>,
    stop_timeout: Value<String>,
    on_crash: Value<String>,
    restart_timeout: Value<String>,
    promote_timeout: Value<String>,
    connect_timeout: Value<String>,
    start_command: Value<String>,
    stop_command: Value<String>,
    conninfo: Value<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSsh {
    user: Value<String>,
    port: Value<i64>,
    identity_file: Value<String>,
    known_hosts: Value<String>,
    connect_timeout: Value<String>,
    remote_command: Value<String>,
}

/// Reads the text of a file; `name` is the file's name in error messages.
pub(super) fn read(text: &str, name: &str) -> Result<Settings> {
    let syntax = |error: &toml::de::Error| {
        let mut problems = Problems::default();
        problems.add(match error.span() {
            Some(span) => Problem::at(span, one_line(error.message())),
            None => Problem::absent(one_line(error.message())),
        });
        problems.into_error(name, text)
    };
    let document = DeTable::parse(text).map_err(|error| syntax(&error))?;
    let mut problems = Problems::default();
    super::shape::check(document.get_ref(), &mut problems);
    if !problems.is_empty() {
        return Err(problems.into_error(name, text));
    }
    let raw: RawFile = toml::from_str(text).map_err(|error| syntax(&error))?;
    let mut check = Check { problems, warnings: Vec::new() };
    let settings = check.file(raw);
    match settings {
        Some(settings) if check.problems.is_empty() => {
            Ok(Settings { digest: digest(text), warnings: check.warnings, ..settings })
        }
        _ => Err(check.problems.into_error(name, text)),
    }
}

/// Returns what names the text of a file.
fn digest(text: &str) -> String {
    use sha1::Digest as _;
    let digest = sha1::Sha1::digest(text.as_bytes());
    let first = digest.iter().take(8).fold(0_u64, |all, octet| (all << 8) | u64::from(*octet));
    format!("{first:016x}")
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Check {
    fn file(&mut self, raw: RawFile) -> Option<Settings> {
        let with_postgres = raw.postgres.is_some();
        let cluster = if let Some(cluster) = raw.cluster {
            self.cluster(cluster)
        } else {
            let missing = Problem::absent("the table [cluster] is missing");
            self.problems.add(missing.hint("\"pgbaton generate config\" prints a template"));
            None
        };
        let directory_span = raw.postgres.as_ref().map(Spanned::span);
        let postgres = raw.postgres.and_then(|raw| self.postgres(raw.into_inner()));
        // Without a virtual router of its own the cluster is a name and maybe a list of nodes.
        let instances_only = raw.vip.is_empty() && !with_postgres && !raw.instance.is_empty();
        let nodes = self.nodes(raw.node, instances_only);
        let trackers = self.trackers(raw.track_script, raw.track_process, raw.track_file);
        let vrrp = self.vrrp(raw.vrrp, with_postgres, &trackers);
        let vips = self.vips(raw.vip, &nodes, instances_only);
        let others = Others {
            nodes: nodes.iter().map(|node| (node.node.name.as_str(), node.node.address)).collect(),
            vips: &vips,
            cluster: cluster.as_ref().map(|cluster| cluster.name.as_str()),
        };
        let instances = self.instances(raw.instance, &others, &trackers);
        let groups = self.groups(raw.group, &instances);
        let daemon = self.daemon(raw.daemon);
        let gateway = raw.guard.gateway.as_ref().map(Spanned::span);
        let guard = self.guard(raw.guard, vrrp.advert_interval);
        let roles: Vec<NodeRole> = nodes.iter().map(|node| node.node.role).collect();
        let replication = self.replication(raw.replication, &roles);
        if let Some(place) = gateway {
            self.gateway_decides(&guard, replication.mode, raw.witness.is_some(), place);
        }
        let place = raw.witness.as_ref().map(Spanned::span);
        let witness = raw.witness.and_then(|raw| self.witness(raw.into_inner()));
        if let Some(place) = place
            && roles.len() != 2
        {
            let problem = Problem::at(place, "a witness is the third vote of two nodes");
            self.problems.add(problem.hint("two [[node]]s, or no [witness]"));
        }
        let ssh = self.ssh(raw.ssh);
        let unplaced = |node: &&Checked| node.node.data_directory.is_none();
        if let (Some(span), Some((None, _))) = (directory_span, &postgres)
            && let Some(node) = nodes.iter().find(unplaced)
        {
            let name = &node.node.name;
            let problem =
                Problem::at(span, format!("data_directory is missing, and node \"{name}\" has none"));
            self.problems.add(problem.hint("set data_directory in [postgres] or for each [[node]]"));
        }
        let postgres = postgres.map(|(directory, postgres)| PostgresSettings {
            data_directory: directory.unwrap_or_default(),
            ..postgres
        });
        let cluster = cluster?;
        let nodes: Vec<Node> = nodes.into_iter().map(|checked| checked.node).collect();
        self.socket_paths(&cluster, &nodes);
        Some(Settings {
            file: None,
            digest: String::new(),
            cluster,
            nodes,
            me: None,
            vrrp,
            vips,
            postgres,
            guard,
            replication,
            witness,
            ssh,
            instances,
            groups,
            trackers,
            daemon,
            warnings: Vec::new(),
        })
    }

    fn cluster(&mut self, raw: RawCluster) -> Option<ClusterSettings> {
        let name = self.required("cluster", "name", raw.name, None)?;
        let name = self.name("the cluster's name", &name)?;
        let runtime_directory =
            self.path("runtime_directory", raw.runtime_directory).unwrap_or_else(|| "/run/pgbaton".into());
        let state_directory =
            self.path("state_directory", raw.state_directory).unwrap_or_else(|| "/var/lib/pgbaton".into());
        Some(ClusterSettings { name, runtime_directory, state_directory })
    }

    fn nodes(&mut self, raw: Vec<Spanned<RawNode>>, may_be_none: bool) -> Vec<Checked> {
        if raw.is_empty() && may_be_none {
            return Vec::new();
        }
        let none_listed = raw.is_empty();
        let mut nodes: Vec<Checked> = Vec::new();
        for raw in raw {
            let span = raw.span();
            if let Some(node) = self.node(raw.into_inner(), span) {
                self.beside(&nodes, &node);
                nodes.push(node);
            }
        }
        let data = nodes.iter().filter(|node| node.node.role == NodeRole::Data).count();
        if none_listed || (data == 0 && self.problems.is_empty()) {
            let none = Problem::absent("no [[node]] with the role \"data\"");
            self.problems.add(none.hint("list every machine of the cluster as a [[node]]"));
        }
        if let (true, Some(node)) = (data > MOST_DATA_NODES, nodes.last()) {
            self.wrong(
                node.span.clone(),
                format!("{data} data nodes are too many: at most {MOST_DATA_NODES} can vote in time"),
            );
        }
        nodes
    }

    fn node(&mut self, raw: RawNode, span: Range<usize>) -> Option<Checked> {
        let name = self.required("node", "name", raw.name, Some(&span));
        let address = self.required("node", "address", raw.address, Some(&span));
        let role_given = raw.role.is_some();
        let role = self.word("node", "role", raw.role, &[NodeRole::Data, NodeRole::Spare]);
        // What a node needs can't be said when it isn't known what it is meant to be.
        let role_unknown = role_given && role.is_none();
        let role = role.unwrap_or(NodeRole::Data);
        let name_span = name.as_ref().map(Spanned::span);
        let name = name.and_then(|name| self.name("the node's name", &name));
        let address_span = address.as_ref().map(Spanned::span);
        let address = address.and_then(|address| self.address(&address));
        let called = name.as_ref().map_or_else(String::new, |name| format!("node \"{name}\": "));
        let priority = match (role, raw.priority) {
            (NodeRole::Spare, Some(priority)) => {
                self.wrong(
                    priority.span(),
                    format!("{called}a spare has no priority: it never takes the virtual IP"),
                );
                None
            }
            (NodeRole::Data, None) if !role_unknown => {
                let missing = Problem::at(span.clone(), format!("{called}priority is missing"));
                self.problems
                    .add(missing.hint("a data node needs a priority from 1 to 254, as in: priority = 200"));
                None
            }
            (_, priority) => self.integer("node", "priority", priority),
        };
        let node = Node {
            priority,
            role,
            interface: self.interface("interface", raw.interface),
            data_directory: self.path("data_directory", raw.data_directory),
            port: self.integer("node", "port", raw.port),
            socket_directory: self.path("socket_directory", raw.socket_directory),
            ssh_host_key_alias: self.text("ssh_host_key_alias", raw.ssh_host_key_alias),
            conninfo: self.conninfo(raw.conninfo),
            tls_name: self.text("tls_name", raw.tls_name),
            name: name?,
            address: address?,
        };
        Some(Checked {
            node,
            name_span: name_span.unwrap_or_else(|| span.clone()),
            address_span: address_span.unwrap_or_else(|| span.clone()),
            span,
        })
    }

    /// Compares a node with those that stand before it.
    fn beside(&mut self, earlier: &[Checked], new: &Checked) {
        if earlier.iter().any(|other| other.node.name == new.node.name) {
            self.wrong(new.name_span.clone(), format!("two nodes are called \"{}\"", new.node.name));
        }
        if let Some(other) = earlier.iter().find(|other| other.node.address == new.node.address) {
            let same = Problem::at(
                new.address_span.clone(),
                format!(
                    "node \"{}\" has the address {} of node \"{}\"",
                    new.node.name, new.node.address, other.node.name
                ),
            );
            self.problems
                .add(same.hint("each node answers on an address of its own: `ip -brief address` there"));
        }
        if let Some(other) =
            earlier.first().filter(|other| other.node.address.is_ipv4() != new.node.address.is_ipv4())
        {
            self.wrong(
                new.address_span.clone(),
                format!(
                    "{} and {} are of different families: the nodes must all have IPv4 or all IPv6 addresses",
                    other.node.address, new.node.address
                ),
            );
        }
        let same = |other: &&Checked| new.node.priority.is_some() && other.node.priority == new.node.priority;
        if let (Some(other), Some(priority)) = (earlier.iter().find(same), new.node.priority) {
            self.warnings.push(format!(
                "nodes \"{}\" and \"{}\" have the same priority {priority}: the higher address decides between them",
                other.node.name, new.node.name
            ));
        }
    }

    fn vrrp(&mut self, raw: RawVrrp, with_postgres: bool, trackers: &Trackers) -> VrrpSettings {
        let track = RawTrack {
            interfaces: raw.track_interfaces,
            scripts: raw.track_scripts,
            processes: raw.track_processes,
            files: raw.track_files,
        };
        if with_postgres {
            let why = "can't be used beside [postgres]: a healthy primary is never displaced";
            if let Some(preempt) = raw.preempt.as_ref().filter(|preempt| *preempt.get_ref()) {
                self.wrong(preempt.span(), format!("preempt {why}"));
            }
            if let Some(delay) = &raw.preempt_delay {
                self.wrong(delay.span(), format!("preempt_delay {why}"));
            }
            for (key, span) in track.given() {
                self.wrong(span, format!("{key} {why}"));
            }
        }
        let defaults = VrrpSettings::default();
        let advert_interval = self
            .parsed("advert_interval", raw.advert_interval, parse::advert_interval)
            .unwrap_or(defaults.advert_interval);
        let signing = RawSigning { keys: raw.auth_keys, mode: raw.auth_mode, window: raw.auth_window };
        let unicast = raw.unicast.is_some_and(Spanned::into_inner);
        if let (Some(min_ttl), false) = (raw.min_ttl.as_ref().filter(|ttl| *ttl.get_ref() != 255), unicast) {
            self.wrong(min_ttl.span(), "min_ttl means something only with unicast = true");
        }
        VrrpSettings {
            unicast,
            min_ttl: self.integer("vrrp", "min_ttl", raw.min_ttl).unwrap_or(defaults.min_ttl),
            signing: self.signing("vrrp", signing, 3, advert_interval),
            interface: self.interface("interface", raw.interface),
            virtual_router_id: self
                .integer("vrrp", "virtual_router_id", raw.virtual_router_id)
                .unwrap_or(defaults.virtual_router_id),
            advert_interval,
            preempt: raw.preempt.map_or(!with_postgres, Spanned::into_inner),
            preempt_delay: self
                .parsed("preempt_delay", raw.preempt_delay, parse::duration)
                .unwrap_or(defaults.preempt_delay),
            start_delay: self
                .parsed("start_delay", raw.start_delay, parse::duration)
                .unwrap_or(defaults.start_delay),
            checksum: self
                .word("vrrp", "checksum", raw.checksum, &[Checksum::PseudoHeader, Checksum::Rfc9568])
                .unwrap_or(defaults.checksum),
            notify: self.notify(RawNotify {
                any: raw.notify,
                master: raw.notify_master,
                backup: raw.notify_backup,
                fault: raw.notify_fault,
                stop: raw.notify_stop,
                timeout: raw.notify_timeout,
                user: raw.notify_user,
            }),
            track: self.track(track, trackers),
        }
    }

    fn vips(&mut self, raw: Vec<Spanned<RawVip>>, nodes: &[Checked], may_be_none: bool) -> Vec<VipSettings> {
        if raw.is_empty() && !may_be_none {
            let none = Problem::absent("no [[vip]]: there is no address to move");
            self.problems.add(none.hint("as in: [[vip]] address = \"192.0.2.23/24\""));
        }
        let mut vips: Vec<VipSettings> = Vec::new();
        for raw in raw {
            let span = raw.span();
            let raw = raw.into_inner();
            let address = self.required("vip", "address", raw.address, Some(&span)).and_then(|text| {
                let address = self.parsed("address", Some(text.clone()), str::parse::<InterfaceAddress>)?;
                self.vip_address(address, &text.span(), nodes, &vips);
                Some(address)
            });
            let lease = raw.lease.and_then(|text| self.parsed("lease", Some(text), str::parse::<Lease>));
            let interface = self.interface("interface", raw.interface);
            let label = self.label(raw.label, address);
            if let Some(address) = address {
                let lease = lease.unwrap_or(VipSettings::DEFAULT_LEASE).0;
                vips.push(VipSettings { address, interface, label, lease });
            }
        }
        vips
    }

    fn vip_address(
        &mut self,
        vip: InterfaceAddress,
        span: &Range<usize>,
        nodes: &[Checked],
        vips: &[VipSettings],
    ) {
        let address = vip.address();
        if let Some(node) = nodes.iter().find(|node| node.node.address == address) {
            let name = &node.node.name;
            self.wrong(span.clone(), format!("the virtual IP {address} is the address of node \"{name}\""));
        }
        if vips.iter().any(|other| other.address.address() == address) {
            self.wrong(span.clone(), format!("the virtual IP {address} is listed twice"));
        }
        if let Some(node) = nodes.first().filter(|node| node.node.address.is_ipv4() != address.is_ipv4()) {
            let other = node.node.address;
            self.wrong(
                span.clone(),
                format!("the virtual IP {address} isn't of the address family of the nodes ({other})"),
            );
        }
    }

    fn postgres(&mut self, raw: RawPostgres) -> Option<(Option<PathBuf>, PostgresSettings)> {
        let before = self.problems.len();
        let directory = self.path("data_directory", raw.data_directory);
        let base = PostgresSettings::new(PathBuf::new());
        let postgres = PostgresSettings {
            data_directory: PathBuf::new(),
            bin_directory: self.path("bin_directory", raw.bin_directory),
            port: self.integer("postgres", "port", raw.port).unwrap_or(base.port),
            socket_directory: self
                .path("socket_directory", raw.socket_directory)
                .unwrap_or(base.socket_directory),
            user: self.text("user", raw.user).unwrap_or(base.user),
            database: self.text("database", raw.database).unwrap_or(base.database),
            probe_interval: self
                .above_zero("probe_interval", raw.probe_interval)
                .unwrap_or(base.probe_interval),
            probe_timeout: self.above_zero("probe_timeout", raw.probe_timeout).unwrap_or(base.probe_timeout),
            stop_timeout: self.above_zero("stop_timeout", raw.stop_timeout).unwrap_or(base.stop_timeout),
            on_crash: self
                .word("postgres", "on_crash", raw.on_crash, &[OnCrash::Failover, OnCrash::RestartFirst])
                .unwrap_or(base.on_crash),
            restart_timeout: self
                .above_zero("restart_timeout", raw.restart_timeout)
                .unwrap_or(base.restart_timeout),
            promote_timeout: self
                .above_zero("promote_timeout", raw.promote_timeout)
                .unwrap_or(base.promote_timeout),
            connect_timeout: self
                .above_zero("connect_timeout", raw.connect_timeout)
                .unwrap_or(base.connect_timeout),
            start_command: self.text("start_command", raw.start_command),
            stop_command: self.text("stop_command", raw.stop_command),
            conninfo: self.conninfo(raw.conninfo),
            tls_name: None,
        };
        (self.problems.len() == before).then_some((directory, postgres))
    }

    fn ssh(&mut self, raw: RawSsh) -> SshSettings {
        let defaults = SshSettings::default();
        SshSettings {
            user: self.text("user", raw.user),
            port: self.integer("ssh", "port", raw.port),
            identity_file: self.path("identity_file", raw.identity_file),
            known_hosts: self.path("known_hosts", raw.known_hosts),
            connect_timeout: self.above_zero("connect_timeout", raw.connect_timeout),
            remote_command: self
                .text("remote_command", raw.remote_command)
                .unwrap_or(defaults.remote_command),
        }
    }

    fn socket_paths(&mut self, cluster: &ClusterSettings, nodes: &[Node]) {
        for node in nodes {
            let path = super::control_socket(cluster, &node.name);
            if path.as_os_str().len() > LONGEST_SOCKET_PATH {
                self.problems.add(Problem::absent(format!(
                    "the path of the control socket {} is longer than {LONGEST_SOCKET_PATH} bytes",
                    path.display()
                )));
                return;
            }
        }
    }
}

/// A node with the places of its values.
struct Checked {
    node: Node,
    span: Range<usize>,
    name_span: Range<usize>,
    address_span: Range<usize>,
}

/// Returns the error of a node name that isn't in the file.
pub(super) fn unknown_node(name: &str, nodes: &[Node]) -> Error {
    let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    let error = Error::config(format!("there is no node \"{}\"", name.escape_debug()))
        .detail(format!("the nodes are {}", names.join(", ")));
    match nearest(name, names.into_iter()) {
        Some(near) => error.hint(format!("did you mean \"{near}\"?")),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::keys::{SECTIONS, section};
    use serde::de::DeserializeOwned;

    /// Returns the fields of a struct, as serde lists them when it meets an unknown one.
    fn fields<T: DeserializeOwned + std::fmt::Debug>() -> Vec<String> {
        let error = toml::from_str::<T>("zz = 1").unwrap_err();
        let expected = error.message().split_once("expected").unwrap().1.to_owned();
        expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn the_table_of_keys_is_what_serde_reads() {
        let tables = fields::<RawFile>();
        assert_eq!(tables, SECTIONS.iter().map(|section| section.name).collect::<Vec<_>>());
        for (name, fields) in [
            ("cluster", fields::<RawCluster>()),
            ("node", fields::<RawNode>()),
            ("vrrp", fields::<RawVrrp>()),
            ("vip", fields::<RawVip>()),
            ("postgres", fields::<RawPostgres>()),
            ("guard", fields::<RawGuard>()),
            ("ssh", fields::<RawSsh>()),
            ("instance", fields::<RawInstance>()),
            ("daemon", fields::<RawDaemon>()),
            ("group", fields::<RawGroup>()),
            ("track_script", fields::<RawScript>()),
            ("track_process", fields::<RawProcess>()),
            ("track_file", fields::<RawTrackFile>()),
        ] {
            let keys: Vec<&str> = section(name).unwrap().keys.iter().map(|key| key.name).collect();
            assert_eq!(keys, fields, "[{name}]");
        }
    }
}
