//! What each virtual router of this daemon is to be: settings, held against the interfaces that there are.

use super::signing;
use crate::error::{Error, Result};
use crate::net::netlink::{Address, Link, Scope};
use crate::net::socket::Delivery;
use crate::net::vmac;
use crate::plan::build::Vip;
use crate::settings::{
    self, AddressScope, InstanceSettings, NotifySettings, OnAddressLoss, Settings, TrackSettings,
};
use crate::units::Mac;
use crate::vrrp::checksum::ChecksumForm;
use crate::vrrp::config::{AnnounceSchedule, Config as RouterConfig};
use crate::vrrp::signature::Signing;
use crate::vrrp::types::{AdverInterval, Priority, ValueError, Version, Vrid};
use crate::vrrp::wire::{RxPolicy, password};
use std::net::IpAddr;
use std::time::Duration;

/// One virtual router, ready to be started.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    /// The name of the instance; that of the cluster for the one of `[vrrp]`.
    pub(super) name: String,
    /// Whether it is the one of `[vrrp]`.
    pub(super) main: bool,
    pub(super) link: Link,
    pub(super) router: RouterConfig,
    pub(super) vips: Vec<Place>,
    /// The unicast peers without this machine; empty: multicast.
    pub(super) peers: Vec<IpAddr>,
    pub(super) ttl: (u8, u8),
    pub(super) check_source: bool,
    pub(super) checksum: ChecksumForm,
    /// How adverts are signed, if they are.
    pub(super) signing: Option<Signing>,
    /// The pause between two announcements.
    pub(super) pause: Duration,
    pub(super) on_loss: OnAddressLoss,
    pub(super) notify: NotifySettings,
    /// What its priority and its part in the election depend on.
    pub(super) track: TrackSettings,
    /// The group it belongs to.
    pub(super) group: Option<String>,
    /// The interface of its own, with its own Ethernet address.
    pub(super) vmac: Option<Vmac>,
}

/// An interface with the Ethernet address of a virtual router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Vmac {
    pub(super) name: String,
    pub(super) mac: Mac,
}

/// A virtual IP, and whether the interface has a network for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) vip: Vip,
    /// Whether an address of the interface's own is in the same network.
    pub(super) inside: bool,
    /// How far it is known.
    pub(super) scope: Scope,
}

/// What two virtual routers must share to share their sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SocketKey {
    pub(super) index: u32,
    pub(super) source: IpAddr,
    pub(super) delivery: Delivery,
    /// The number of a router whose adverts leave with an Ethernet address of their own.
    pub(super) alone: Option<u8>,
}

impl Spec {
    pub(super) fn key(&self) -> SocketKey {
        let delivery = if self.peers.is_empty() { Delivery::Multicast } else { Delivery::Unicast };
        let alone = self.vmac.is_some().then(|| self.router.vrid.get());
        SocketKey { index: self.link.index, source: self.router.source, delivery, alone }
    }

    pub(super) fn policy(&self) -> RxPolicy {
        let (min_ttl, max_ttl) = self.ttl;
        RxPolicy {
            min_ttl,
            max_ttl,
            peers: (!self.peers.is_empty()).then(|| self.peers.clone()),
            check_source: self.check_source,
            ..self.router.rx_policy()
        }
    }

    /// Returns whether a running router can become this one without leaving the election.
    pub(super) fn continues(&self, running: &Self) -> bool {
        let identity = |spec: &Self| {
            let RouterConfig { version, vrid, election, priority, startup_delay: _, .. } = spec.router;
            let names = (spec.link.name.clone(), spec.vmac.clone());
            (spec.key(), version, vrid, election, priority == Priority::OWNER, names)
        };
        identity(self) == identity(running)
    }

    /// Returns whether nothing has changed that a running router would notice.
    pub(super) fn same(&self, running: &Self) -> bool {
        let Self { router, vips, peers, ttl, check_source, checksum, pause, on_loss, notify, track, .. } =
            self;
        let signing = self.signing == running.signing;
        self.continues(running)
            && signing
            && (router, vips, peers, ttl, check_source)
                == (&running.router, &running.vips, &running.peers, &running.ttl, &running.check_source)
            && (checksum, pause, on_loss, notify)
                == (&running.checksum, &running.pause, &running.on_loss, &running.notify)
            && (track, &self.group) == (&running.track, &running.group)
    }
}

/// Makes the virtual router of `[vrrp]` and `[[vip]]`.
pub(super) fn main(settings: &Settings, link: Link, vips: Vec<Vip>, own: &[Address]) -> Result<Spec> {
    let me = settings.me()?;
    let vrid = Vrid::try_from(settings.vrrp.virtual_router_id).map_err(bad)?;
    let addresses: Vec<IpAddr> = vips.iter().map(|vip| vip.address.address()).collect();
    let unicast = settings.vrrp.unicast;
    let others = settings.nodes.iter().map(|node| node.address).filter(|address| *address != me.address);
    let peers: Vec<IpAddr> = if unicast { others.collect() } else { Vec::new() };
    if unicast && peers.is_empty() {
        return Err(Error::config("unicast needs another [[node]]"));
    }
    // The other nodes know it by the address that is in the file.
    let source = if unicast { me.address } else { main_source(me.address, &link, own, &addresses) };
    let mut router = if settings.postgres.is_some() {
        RouterConfig::guarded(vrid, source, addresses)
    } else {
        RouterConfig {
            preempt: settings.vrrp.preempt,
            preempt_delay: settings.vrrp.preempt_delay,
            accept: true,
            ..RouterConfig::new(vrid, source, addresses)
        }
    };
    router.priority = Priority(me.priority.unwrap_or(SPARE_PRIORITY));
    router.interval = AdverInterval::from_duration(settings.vrrp.advert_interval).map_err(bad)?;
    router.startup_delay = settings.vrrp.start_delay;
    router.check().map_err(|error| Error::config(error.to_string()))?;
    Ok(Spec {
        name: settings.cluster.name.clone(),
        main: true,
        link,
        router,
        vips: vips.into_iter().map(|vip| Place { vip, inside: true, scope: Scope::Global }).collect(),
        peers,
        ttl: (settings.vrrp.min_ttl, u8::MAX),
        check_source: true,
        checksum: form(settings.vrrp.checksum),
        signing: signing::load(&settings.vrrp.signing)?,
        pause: Duration::ZERO,
        on_loss: OnAddressLoss::Restore,
        notify: settings.vrrp.notify.clone(),
        track: settings.vrrp.track.clone(),
        group: None,
        vmac: None,
    })
}

/// Makes the virtual router of an `[[instance]]`.
///
/// # Errors
/// The interface or its address isn't there (yet).
pub(super) fn instance(
    settings: &Settings,
    instance: &InstanceSettings,
    links: &[Link],
    addresses: &[Address],
) -> Result<Spec> {
    let link = links
        .iter()
        .find(|link| link.name == instance.interface)
        .ok_or_else(|| Error::config(format!("there is no interface \"{}\"", instance.interface)))?;
    let virtual_ip = |address: IpAddr| {
        settings.vips.iter().any(|vip| vip.address.address() == address)
            || settings.instances.iter().any(|i| i.addresses.iter().any(|a| a.address() == address))
    };
    let own: Vec<&Address> = addresses
        .iter()
        .filter(|a| a.index == link.index && !a.is_ours() && !virtual_ip(a.address.address()))
        .collect();
    let source = source(instance, &own)?;
    let vrid = Vrid::try_from(instance.virtual_router_id).map_err(bad)?;
    let interval = match instance.version {
        2 => AdverInterval::from_seconds(u8::try_from(instance.advert_interval.as_secs()).unwrap_or(u8::MAX)),
        _ => AdverInterval::from_duration(instance.advert_interval),
    };
    let group = settings.groups.iter().find(|group| group.instances.contains(&instance.name));
    let listed = instance.addresses.iter().map(|address| address.address()).collect();
    let router = RouterConfig {
        version: Version::try_from(instance.version).map_err(bad)?,
        priority: Priority(instance.priority_on(settings.me().ok())),
        interval: interval.map_err(bad)?,
        preempt: instance.preempt,
        preempt_delay: instance.preempt_delay,
        down_timer_adverts: instance.down_timer_adverts,
        startup_delay: instance.start_delay,
        accept: instance.accept,
        announce: AnnounceSchedule {
            burst: instance.garp.burst,
            second_delay: instance.garp.second_delay,
            refresh: instance.garp.refresh,
            refresh_burst: instance.garp.refresh_burst,
        },
        grouped: group.is_some(),
        phase: vrid.get() % 16,
        auth: instance.auth_pass.as_deref().map(password),
        ..RouterConfig::new(vrid, source, listed)
    };
    router.check().map_err(|error| Error::config(error.to_string()))?;
    let place = |address: &crate::units::InterfaceAddress| Place {
        // The interface of its own has no other address.
        inside: instance.vmac.is_none() && own.iter().any(|own| own.address.contains(address.address())),
        vip: Vip {
            address: *address,
            interface: link.name.clone(),
            label: instance.label.clone(),
            lease: instance.lease,
        },
        scope: match instance.scope {
            AddressScope::Global => Scope::Global,
            AddressScope::Link => Scope::Link,
            AddressScope::Host => Scope::Host,
        },
    };
    let peers: Vec<IpAddr> = instance
        .unicast_peers
        .iter()
        .copied()
        .filter(|peer| *peer != source && !own.iter().any(|own| own.address.address() == *peer))
        .collect();
    if peers.is_empty() && !instance.unicast_peers.is_empty() {
        return Err(Error::config("unicast_peers lists only this machine"));
    }
    Ok(Spec {
        name: instance.name.clone(),
        main: false,
        link: link.clone(),
        router,
        vips: instance.addresses.iter().map(place).collect(),
        peers,
        ttl: (instance.min_ttl, instance.max_ttl),
        check_source: instance.check_unicast_source,
        checksum: form(instance.checksum),
        signing: signing::load(&instance.signing)?,
        pause: instance.garp.interval,
        on_loss: instance.on_address_loss,
        notify: instance.notify.clone(),
        track: instance.track.clone(),
        group: group.map(|group| group.name.clone()),
        vmac: instance
            .vmac
            .clone()
            .map(|name| Vmac { name, mac: vmac::address(instance.virtual_router_id, source.is_ipv4()) }),
    })
}

/// Chooses the address that the adverts of a node come from: its own, and with IPv6 the link-local one of its
/// interface (RFC 9568 §5.1.2.1), if there is one that can be used already.
fn main_source(node: IpAddr, link: &Link, own: &[Address], vips: &[IpAddr]) -> IpAddr {
    let usable = |a: &&Address| a.index == link.index && !a.is_ours() && !a.is_tentative() && !a.dad_failed();
    let local = |address: &IpAddr| matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let found =
        || own.iter().filter(usable).map(|a| a.address.address()).find(|a| local(a) && !vips.contains(a));
    if node.is_ipv6() { found().unwrap_or(node) } else { node }
}

/// Chooses the address that adverts come from (RFC 9568 §5.1.1.1 and §5.1.2.1).
fn source(instance: &InstanceSettings, own: &[&Address]) -> Result<IpAddr> {
    let usable = || own.iter().filter(|a| !a.is_tentative() && !a.dad_failed()).map(|a| a.address.address());
    if let Some(source) = instance.source {
        return usable().find(|address| *address == source).ok_or_else(|| {
            Error::config(format!("{} doesn't have the address {source}, or not yet", instance.interface))
        });
    }
    let local = |address: &IpAddr| matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let ipv4 = instance.addresses.first().is_some_and(|address| address.address().is_ipv4());
    let wants_local = instance.unicast_peers.first().is_none_or(local);
    usable().find(|address| address.is_ipv4() == ipv4 && (ipv4 || local(address) == wants_local)).ok_or_else(
        || {
            let kind = match (ipv4, wants_local) {
                (true, _) => "IPv4",
                (false, true) => "link-local IPv6",
                (false, false) => "global IPv6",
            };
            Error::config(format!("{} has no {kind} address (yet)", instance.interface))
        },
    )
}

fn bad(error: ValueError) -> Error {
    Error::config(error.to_string())
}

const fn form(checksum: settings::Checksum) -> ChecksumForm {
    match checksum {
        settings::Checksum::PseudoHeader => ChecksumForm::PseudoHeader,
        settings::Checksum::Rfc9568 => ChecksumForm::MessageOnly,
    }
}

/// A spare has no priority: it listens and never asks.
const SPARE_PRIORITY: u8 = 1;
