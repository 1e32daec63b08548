//! `[[instance]]` and `[daemon]`: further virtual routers, and the daemon as a process.
//!
//! Pure, like everything under [`Settings::from_toml`](super::Settings::from_toml).

use super::notify::{NotifySettings, RawNotify};
use super::parse::{self, Lease};
use super::problem::Problem;
use super::signing::{RawSigning, SigningSettings};
use super::track::{RawTrack, TrackSettings, Trackers, Weights};
use super::value::{Check, Value};
use super::{Checksum, VipSettings};
use crate::units::InterfaceAddress;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;

/// The count of addresses in a packet is one octet.
const MOST_ADDRESSES: usize = 255;
/// The password's place in a packet of version 2, in octets.
const LONGEST_PASSWORD: usize = 8;

/// A further virtual router, which only elects and moves its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceSettings {
    /// Its name, unique in the file.
    pub name: String,
    /// The interface of its adverts and addresses.
    pub interface: String,
    /// The virtual router id, 1 to 255.
    pub virtual_router_id: u8,
    /// The version of VRRP, 2 or 3.
    pub version: u8,
    /// The priority on this machine, 1 to 255.
    pub priority: Option<u8>,
    /// The priority on each node by name.
    pub priorities: BTreeMap<String, u8>,
    /// The time between two advertisements.
    pub advert_interval: Duration,
    /// Whether it pushes a lower priority aside.
    pub preempt: bool,
    /// How long it waits first.
    pub preempt_delay: Duration,
    /// The virtual addresses, of one family.
    pub addresses: Vec<InterfaceAddress>,
    /// The address that adverts come from; `None`: the interface's first.
    pub source: Option<IpAddr>,
    /// The routers to speak to; empty: the multicast group.
    pub unicast_peers: Vec<IpAddr>,
    /// The lowest TTL of a peer's adverts.
    pub min_ttl: u8,
    /// The highest TTL of a peer's adverts.
    pub max_ttl: u8,
    /// Whether only listed peers are heard.
    pub check_unicast_source: bool,
    /// The password of version 2.
    pub auth_pass: Option<String>,
    /// How its adverts are signed.
    pub signing: SigningSettings,
    /// How many adverts may be missing.
    pub down_timer_adverts: u8,
    /// How long it listens after its start.
    pub start_delay: Duration,
    /// How the checksum of sent IPv4 advertisements is computed.
    pub checksum: Checksum,
    /// How the addresses are announced.
    pub garp: GarpSettings,
    /// How long the kernel keeps an address that nobody renews; `None`: for ever.
    pub lease: Option<Duration>,
    /// The label of the IPv4 addresses.
    pub label: Option<String>,
    /// How far the IPv4 addresses are known.
    pub scope: AddressScope,
    /// What is done when somebody removes an address.
    pub on_address_loss: OnAddressLoss,
    /// What is run at a change of state.
    pub notify: NotifySettings,
    /// What it depends on.
    pub track: TrackSettings,
    /// Whether packets to its addresses are taken though it doesn't own them.
    pub accept: bool,
    /// The interface with its virtual Ethernet address, if it has one.
    pub vmac: Option<String>,
}

impl InstanceSettings {
    /// Returns the priority on a node: its own, the one listed for the node, the node's, or 100.
    pub fn priority_on(&self, node: Option<&super::Node>) -> u8 {
        let listed = || node.and_then(|node| self.priorities.get(&node.name)).copied();
        self.priority.or_else(listed).or_else(|| node.and_then(|node| node.priority)).unwrap_or(100)
    }
}

/// How addresses are announced, by gratuitous ARP or unsolicited neighbour advertisements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GarpSettings {
    /// How many times at once.
    pub burst: u8,
    /// How long until the second burst; zero: none.
    pub second_delay: Duration,
    /// How often again; `None`: never.
    pub refresh: Option<Duration>,
    /// How many times then.
    pub refresh_burst: u8,
    /// The pause between two announcements.
    pub interval: Duration,
}

/// How far an IPv4 address is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressScope {
    /// Everywhere.
    Global,
    /// On the link.
    Link,
    /// On this host.
    Host,
}

/// What is done when somebody removes an address that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnAddressLoss {
    /// It is put back and announced.
    Restore,
    /// The router leaves the election until the configuration is read again.
    Fault,
}

/// The daemon as a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonSettings {
    /// The real-time priority of the event loop, 1 to 99.
    pub realtime_priority: Option<u8>,
    /// Whether memory is locked.
    pub lock_memory: bool,
    /// How long the loop may compute in real time without waiting.
    pub cpu_limit: Duration,
    /// The FIFO that is told of every change of state.
    pub notify_fifo: Option<PathBuf>,
    /// Whether it is told of changed priorities too.
    pub notify_priority_changes: bool,
}

impl Default for DaemonSettings {
    fn default() -> Self {
        Self {
            realtime_priority: None,
            lock_memory: false,
            cpu_limit: Duration::from_secs(1),
            notify_fifo: None,
            notify_priority_changes: false,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawInstance {
    name: Value<String>,
    interface: Value<String>,
    virtual_router_id: Value<i64>,
    version: Value<i64>,
    priority: Value<i64>,
    priorities: Value<BTreeMap<String, Spanned<i64>>>,
    advert_interval: Value<String>,
    preempt: Value<bool>,
    preempt_delay: Value<String>,
    addresses: Value<Vec<Spanned<String>>>,
    source: Value<String>,
    unicast_peers: Value<Vec<Spanned<String>>>,
    min_ttl: Value<i64>,
    max_ttl: Value<i64>,
    check_unicast_source: Value<bool>,
    auth_pass: Value<String>,
    auth_keys: Value<Vec<Spanned<String>>>,
    auth_mode: Value<String>,
    auth_window: Value<String>,
    down_timer_adverts: Value<i64>,
    start_delay: Value<String>,
    checksum: Value<String>,
    garp_burst: Value<i64>,
    garp_second_delay: Value<String>,
    garp_refresh: Value<String>,
    garp_refresh_burst: Value<i64>,
    garp_interval: Value<String>,
    lease: Value<String>,
    label: Value<String>,
    scope: Value<String>,
    on_address_loss: Value<String>,
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
    accept: Value<bool>,
    vmac: Value<bool>,
    vmac_interface: Value<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDaemon {
    realtime_priority: Value<i64>,
    lock_memory: Value<bool>,
    cpu_limit: Value<String>,
    notify_fifo: Value<String>,
    notify_priority_changes: Value<bool>,
}

/// What an instance must not collide with.
pub(super) struct Others<'a> {
    pub(super) nodes: Vec<(&'a str, IpAddr)>,
    pub(super) vips: &'a [VipSettings],
    /// The name of the cluster, which is that of its own virtual router.
    pub(super) cluster: Option<&'a str>,
}

impl Check {
    pub(super) fn daemon(&mut self, raw: RawDaemon) -> DaemonSettings {
        let defaults = DaemonSettings::default();
        DaemonSettings {
            realtime_priority: self.integer("daemon", "realtime_priority", raw.realtime_priority),
            lock_memory: raw.lock_memory.is_some_and(Spanned::into_inner),
            cpu_limit: self.above_zero("cpu_limit", raw.cpu_limit).unwrap_or(defaults.cpu_limit),
            notify_fifo: self.path("notify_fifo", raw.notify_fifo),
            notify_priority_changes: raw.notify_priority_changes.is_some_and(Spanned::into_inner),
        }
    }

    pub(super) fn instances(
        &mut self,
        raw: Vec<Spanned<RawInstance>>,
        others: &Others<'_>,
        trackers: &Trackers,
    ) -> Vec<InstanceSettings> {
        let mut instances: Vec<InstanceSettings> = Vec::new();
        for raw in raw {
            let span = raw.span();
            if let Some(instance) = self.instance(raw.into_inner(), &span, others, trackers) {
                self.beside_instances(&instances, &instance, &span);
                instances.push(instance);
            }
        }
        instances
    }

    fn instance(
        &mut self,
        raw: RawInstance,
        span: &Range<usize>,
        others: &Others<'_>,
        trackers: &Trackers,
    ) -> Option<InstanceSettings> {
        const TABLE: &str = "instance";
        let name = self.required(TABLE, "name", raw.name, Some(span));
        let name = name.and_then(|name| self.name("the instance's name", &name));
        let interface = self.required(TABLE, "interface", raw.interface, Some(span));
        let interface = self.interface("interface", interface);
        if raw.virtual_router_id.is_none() {
            self.wrong(span.clone(), "virtual_router_id is missing in [[instance]]");
        }
        let virtual_router_id: Option<u8> = self.integer(TABLE, "virtual_router_id", raw.virtual_router_id);
        let version: u8 = self.integer(TABLE, "version", raw.version).unwrap_or(3);
        let addresses = self.instance_addresses(raw.addresses, span, others);
        let ipv4 = addresses.first().map(|address| address.address().is_ipv4());
        if version == 2 && ipv4 == Some(false) {
            self.wrong(span.clone(), "VRRP version 2 has no IPv6: leave version out, or list IPv4 addresses");
        }
        if let (Some(map), true) = (&raw.priorities, raw.priority.is_some()) {
            self.wrong(map.span(), "priority and priorities can't both be given");
        }
        let priorities = self.priorities(raw.priorities, others);
        let advert_interval = self.instance_interval(raw.advert_interval, version);
        let source = raw.source.and_then(|source| {
            let address = self.address(&source)?;
            self.same_family(address, ipv4, &source.span(), "source");
            Some(address)
        });
        let unicast_peers = self.unicast_peers(raw.unicast_peers, ipv4);
        if unicast_peers.is_empty() {
            let only = |key: &str| format!("{key} means something only with unicast_peers");
            let given = [("min_ttl", &raw.min_ttl), ("max_ttl", &raw.max_ttl)];
            for (key, value) in given.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?))) {
                self.wrong(value.span(), only(key));
            }
            if let Some(value) = &raw.check_unicast_source {
                self.wrong(value.span(), only("check_unicast_source"));
            }
        }
        let max_span = raw.max_ttl.as_ref().map(Spanned::span);
        let min_ttl = self.integer(TABLE, "min_ttl", raw.min_ttl).unwrap_or(u8::MAX);
        let max_ttl = self.integer(TABLE, "max_ttl", raw.max_ttl).unwrap_or(u8::MAX);
        if let (true, Some(span)) = (min_ttl > max_ttl, max_span) {
            self.wrong(span, format!("max_ttl is lower than min_ttl, which is {min_ttl}"));
        }
        let label = self.label(raw.label, addresses.first().copied());
        let auth_pass = self.auth_pass(raw.auth_pass, version);
        let signing = RawSigning { keys: raw.auth_keys, mode: raw.auth_mode, window: raw.auth_window };
        let signing = self.signing(TABLE, signing, version, advert_interval);
        if let (Some(vmac), false) =
            (raw.vmac.as_ref().filter(|vmac| *vmac.get_ref()), unicast_peers.is_empty())
        {
            self.wrong(
                vmac.span(),
                "vmac can't be used with unicast_peers: adverts to each peer don't teach the network where the address is",
            );
        }
        let vmac = self.vmac(raw.vmac, raw.vmac_interface, virtual_router_id, ipv4 != Some(false));
        let refresh = self.parsed("garp_refresh", raw.garp_refresh, parse::duration);
        let mut duration =
            |key: &str, value: Value<String>| self.parsed(key, value, parse::duration).unwrap_or_default();
        let preempt_delay = duration("preempt_delay", raw.preempt_delay);
        let start_delay = duration("start_delay", raw.start_delay);
        let interval = duration("garp_interval", raw.garp_interval);
        let garp = GarpSettings {
            burst: self.integer(TABLE, "garp_burst", raw.garp_burst).unwrap_or(5),
            second_delay: self
                .parsed("garp_second_delay", raw.garp_second_delay, parse::duration)
                .unwrap_or(Duration::from_secs(5)),
            refresh: refresh.filter(|refresh| !refresh.is_zero()),
            refresh_burst: self.integer(TABLE, "garp_refresh_burst", raw.garp_refresh_burst).unwrap_or(1),
            interval,
        };
        let lease = raw.lease.and_then(|text| self.parsed("lease", Some(text), str::parse::<Lease>));
        let instance = InstanceSettings {
            version,
            priority: self.integer(TABLE, "priority", raw.priority),
            priorities,
            advert_interval,
            preempt: raw.preempt.is_none_or(Spanned::into_inner),
            preempt_delay,
            addresses,
            source,
            unicast_peers,
            min_ttl,
            max_ttl,
            check_unicast_source: raw.check_unicast_source.is_none_or(Spanned::into_inner),
            auth_pass,
            signing,
            down_timer_adverts: self
                .integer(TABLE, "down_timer_adverts", raw.down_timer_adverts)
                .unwrap_or(3),
            start_delay,
            checksum: self
                .word(TABLE, "checksum", raw.checksum, &[Checksum::PseudoHeader, Checksum::Rfc9568])
                .unwrap_or(Checksum::PseudoHeader),
            garp,
            lease: lease.unwrap_or(VipSettings::DEFAULT_LEASE).0,
            label,
            scope: self
                .word(
                    TABLE,
                    "scope",
                    raw.scope,
                    &[AddressScope::Global, AddressScope::Link, AddressScope::Host],
                )
                .unwrap_or(AddressScope::Global),
            on_address_loss: self
                .word(
                    TABLE,
                    "on_address_loss",
                    raw.on_address_loss,
                    &[OnAddressLoss::Restore, OnAddressLoss::Fault],
                )
                .unwrap_or(OnAddressLoss::Restore),
            notify: self.notify(RawNotify {
                any: raw.notify,
                master: raw.notify_master,
                backup: raw.notify_backup,
                fault: raw.notify_fault,
                stop: raw.notify_stop,
                timeout: raw.notify_timeout,
                user: raw.notify_user,
            }),
            track: self.track(
                RawTrack {
                    interfaces: raw.track_interfaces,
                    scripts: raw.track_scripts,
                    processes: raw.track_processes,
                    files: raw.track_files,
                },
                trackers,
            ),
            accept: raw.accept.is_none_or(Spanned::into_inner),
            vmac,
            name: name?,
            interface: interface?,
            virtual_router_id: virtual_router_id?,
        };
        if others.cluster == Some(instance.name.as_str()) {
            let name = &instance.name;
            self.wrong(span.clone(), format!("instance \"{name}\" is called like the cluster"));
        }
        self.warn_of_instance(&instance);
        Some(instance)
    }

    fn vmac(
        &mut self,
        wanted: Value<bool>,
        name: Value<String>,
        vrid: Option<u8>,
        ipv4: bool,
    ) -> Option<String> {
        let wanted = wanted.is_some_and(Spanned::into_inner);
        if let (Some(name), false) = (&name, wanted) {
            self.wrong(name.span(), "vmac_interface means something only with vmac = true");
        }
        let named = name.is_some();
        let name = self.interface("vmac_interface", name);
        let vrid = vrid?;
        if !wanted || (named && name.is_none()) {
            return None;
        }
        Some(name.unwrap_or_else(|| if ipv4 { format!("vrrp.{vrid}") } else { format!("vrrp6.{vrid}") }))
    }

    fn warn_of_instance(&mut self, instance: &InstanceSettings) {
        let InstanceSettings { name, addresses, .. } = instance;
        if let Some(IpAddr::V6(first)) = addresses.first().map(|address| address.address())
            && !first.is_unicast_link_local()
        {
            self.warnings.push(format!(
                "instance \"{name}\": the first IPv6 address should be link-local (RFC 9568 §5.2.9); other routers may refuse its adverts"
            ));
        }
    }

    fn instance_addresses(
        &mut self,
        value: Value<Vec<Spanned<String>>>,
        place: &Range<usize>,
        others: &Others<'_>,
    ) -> Vec<InterfaceAddress> {
        let Some(value) = value else {
            self.wrong(place.clone(), "addresses is missing in [[instance]]");
            return Vec::new();
        };
        let span = value.span();
        let listed = value.into_inner();
        if !(1..=MOST_ADDRESSES).contains(&listed.len()) {
            self.wrong(
                span,
                format!("an instance has 1 to {MOST_ADDRESSES} addresses, not {}", listed.len()),
            );
        }
        let mut addresses: Vec<InterfaceAddress> = Vec::new();
        for text in listed {
            let span = text.span();
            let Some(new) = self.parsed("addresses", Some(text), str::parse::<InterfaceAddress>) else {
                continue;
            };
            let address = new.address();
            if let Some((node, _)) = others.nodes.iter().find(|(_, node)| *node == address) {
                self.wrong(span, format!("{address} is the address of node \"{node}\""));
            } else if others.vips.iter().any(|vip| vip.address.address() == address)
                || addresses.iter().any(|other| other.address() == address)
            {
                self.wrong(span, format!("the virtual IP {address} is listed twice"));
            } else if let Some(first) =
                addresses.first().filter(|f| f.address().is_ipv4() != address.is_ipv4())
            {
                let first = first.address();
                let problem = Problem::at(
                    span,
                    format!(
                        "{address} isn't of the address family of {first}: the two families elect separately"
                    ),
                );
                self.problems.add(problem.hint("write a second [[instance]] for the other family"));
            } else {
                addresses.push(new);
            }
        }
        addresses
    }

    fn priorities(
        &mut self,
        value: Value<BTreeMap<String, Spanned<i64>>>,
        others: &Others<'_>,
    ) -> BTreeMap<String, u8> {
        let mut priorities = BTreeMap::new();
        for (node, priority) in value.map(Spanned::into_inner).unwrap_or_default() {
            if !others.nodes.iter().any(|(known, _)| *known == node) {
                self.wrong(
                    priority.span(),
                    format!("priorities: there is no node \"{}\"", node.escape_debug()),
                );
            }
            match u8::try_from(*priority.get_ref()) {
                Ok(fits) if fits > 0 => {
                    priorities.insert(node, fits);
                }
                _ => {
                    let number = priority.get_ref();
                    self.wrong(
                        priority.span(),
                        format!("priorities: a priority must be from 1 to 255, not {number}"),
                    );
                }
            }
        }
        priorities
    }

    fn instance_interval(&mut self, value: Value<String>, version: u8) -> Duration {
        let default = Duration::from_secs(1);
        if version == 3 {
            return self.parsed("advert_interval", value, parse::advert_interval).unwrap_or(default);
        }
        let Some(span) = value.as_ref().map(Spanned::span) else { return default };
        let Some(interval) = self.parsed("advert_interval", value, parse::duration) else { return default };
        if interval.subsec_nanos() != 0 || !(1..=255).contains(&interval.as_secs()) {
            self.wrong(span, "advert_interval must be whole seconds from \"1s\" to \"255s\" with version 2");
        }
        interval
    }

    fn unicast_peers(&mut self, value: Value<Vec<Spanned<String>>>, ipv4: Option<bool>) -> Vec<IpAddr> {
        let Some(value) = value else { return Vec::new() };
        if value.get_ref().is_empty() {
            self.wrong(value.span(), "unicast_peers is empty: leave it out to use multicast");
        }
        let mut peers = Vec::new();
        for text in value.into_inner() {
            if let Some(address) = self.address(&text) {
                self.same_family(address, ipv4, &text.span(), "unicast_peers");
                peers.push(address);
            }
        }
        peers
    }

    fn same_family(&mut self, address: IpAddr, ipv4: Option<bool>, span: &Range<usize>, key: &str) {
        if ipv4.is_some_and(|ipv4| ipv4 != address.is_ipv4()) {
            self.wrong(
                span.clone(),
                format!("{key}: {address} isn't of the address family of the virtual IPs"),
            );
        }
    }

    fn auth_pass(&mut self, value: Value<String>, version: u8) -> Option<String> {
        let span = value.as_ref().map(Spanned::span)?;
        let password = self.text("auth_pass", value)?;
        if version != 2 {
            self.wrong(span, "auth_pass: only VRRP version 2 has a password");
        } else if password.len() > LONGEST_PASSWORD {
            self.wrong(span, format!("auth_pass: a password has at most {LONGEST_PASSWORD} characters"));
        }
        Some(password)
    }

    /// Compares an instance with those that stand before it.
    fn beside_instances(
        &mut self,
        earlier: &[InstanceSettings],
        new: &InstanceSettings,
        span: &Range<usize>,
    ) {
        let family = |instance: &InstanceSettings| {
            instance.addresses.first().is_some_and(|address| address.address().is_ipv4())
        };
        let addresses = |instance: &InstanceSettings| -> Vec<IpAddr> {
            instance.addresses.iter().map(|address| address.address()).collect()
        };
        for other in earlier {
            if other.name == new.name {
                self.wrong(span.clone(), format!("two instances are called \"{}\"", new.name));
            }
            if other.interface == new.interface
                && other.virtual_router_id == new.virtual_router_id
                && family(other) == family(new)
            {
                self.wrong(
                    span.clone(),
                    format!(
                        "instances \"{}\" and \"{}\" have the same virtual_router_id {} on {}",
                        other.name, new.name, new.virtual_router_id, new.interface
                    ),
                );
            }
            if new.vmac.is_some() && other.vmac == new.vmac {
                let vmac = new.vmac.as_deref().unwrap_or_default();
                let (one, two) = (&other.name, &new.name);
                self.problems.add(
                    Problem::at(
                        span.clone(),
                        format!("instances \"{one}\" and \"{two}\" both use the interface {vmac}"),
                    )
                    .hint("give one of them another vmac_interface"),
                );
            }
            // A link-local address may be used on several interfaces.
            let taken = addresses(other);
            if let Some(twice) = addresses(new).into_iter().find(|address| {
                taken.contains(address)
                    && (other.interface == new.interface
                        || !matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()))
            }) {
                self.wrong(
                    span.clone(),
                    format!("instances \"{}\" and \"{}\" both have {twice}", other.name, new.name),
                );
            }
        }
    }
}
