//! What all virtual routers of a daemon share: sockets, netlink, the log.

use super::keeper::{self, Keeper};
use super::notify::Notifier;
use super::recorder::Recorder;
use super::spec::{SocketKey, Spec};
use crate::error::{Error, Result};
use crate::host::clock::{self, Deadline};
use crate::net::clients::Clients;
use crate::net::driver::{Poller, Token};
use crate::net::netlink::{Link, Netlink};
use crate::net::nft::DropTable;
use crate::net::socket::VrrpSocket;
use crate::net::vip::{self, LinkAnnouncer};
use crate::net::vmac;
use crate::units::{Moment, vrrp_group};
use crate::vrrp::checksum::ChecksumForm;
use crate::vrrp::wire::{Advert, Probe};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// The number of a virtual router within the daemon; never used again.
pub(super) type Id = u32;

/// The first token that is a VRRP socket's; those below are the loop's own.
const FIRST_SOCKET: u64 = 64;

/// How long the clients of addresses that go may keep the loop within a second: many routers may leave at once.
const GOODBYES: Duration = Duration::from_millis(20);

/// How long a renewal that is at the kernel is waited for. What the removal after it waits for is the same lock; and a
/// renewal that comes after the removal brings nothing back.
const LAST_RENEWAL: Duration = Duration::from_millis(100);

/// How long the first look at the machine's connections may take: a module may have to be loaded.
const ACQUAINTANCE: Duration = Duration::from_secs(1);

/// The shared edges.
pub(super) struct Edges {
    pub(super) poller: Poller,
    pub(super) netlink: Netlink,
    pub(super) recorder: Recorder,
    pub(super) notifier: Notifier,
    keeper: Keeper,
    sockets: BTreeMap<u64, Shared>,
    next: u64,
    announcers: BTreeMap<u32, LinkAnnouncer>,
    buffer: Vec<u8>,
    /// The packets that aren't taken; only once there are any.
    drops: Option<DropTable>,
    /// What was changed on interfaces that carry another one, and how many they carry.
    parents: BTreeMap<u32, (usize, Vec<vmac::Changed>)>,
    /// Since when, and for how long, clients were taken leave of.
    goodbyes: (Moment, Duration),
    /// Why that can't be done; said once.
    rude: Option<String>,
}

/// A socket pair, and the virtual routers that speak through it.
#[derive(Debug)]
struct Shared {
    key: SocketKey,
    socket: VrrpSocket,
    routers: BTreeMap<u8, Id>,
}

impl Edges {
    pub(super) fn new(
        poller: Poller,
        netlink: Netlink,
        recorder: Recorder,
        notifier: Notifier,
        keeper: Keeper,
    ) -> Self {
        Self {
            poller,
            netlink,
            recorder,
            notifier,
            keeper,
            sockets: BTreeMap::new(),
            next: FIRST_SOCKET,
            announcers: BTreeMap::new(),
            buffer: Vec::with_capacity(64),
            drops: None,
            parents: BTreeMap::new(),
            goodbyes: (Moment::BOOT, Duration::ZERO),
            rude: None,
        }
    }

    /// Gives a virtual router its place on a socket, opening one if it is the first there.
    ///
    /// Its adverts leave through `via`, the interface of its own if it has one.
    pub(super) fn join(&mut self, spec: &Spec, via: &Link, id: Id) -> Result<u64> {
        let (key, vrid) = (spec.key(), spec.router.vrid.get());
        if let Some((token, shared)) = self.sockets.iter_mut().find(|(_, shared)| shared.key == key) {
            if shared.routers.contains_key(&vrid) {
                return Err(Error::config(format!("{} has a virtual router {vrid} already", spec.link.name)));
            }
            shared.routers.insert(vrid, id);
            shared.admit()?;
            return Ok(*token);
        }
        let socket = open(key, &spec.link, via, &[vrid])?;
        let token = self.next;
        self.poller.add(&socket, Token(token))?;
        self.next += 1;
        self.sockets.insert(token, Shared { key, socket, routers: BTreeMap::from([(vrid, id)]) });
        Ok(token)
    }

    /// Takes a virtual router from its socket, which is closed with its last one.
    pub(super) fn leave(&mut self, token: u64, id: Id) {
        let Some(shared) = self.sockets.get_mut(&token) else { return };
        shared.routers.retain(|_, router| *router != id);
        if !shared.routers.is_empty() {
            // At worst packets of the one that left come in, and are nobody's.
            drop(shared.admit());
        } else if let Some(shared) = self.sockets.remove(&token) {
            drop(self.poller.remove(&shared.socket));
        }
    }

    /// Returns the socket of a token.
    pub(super) fn socket(&self, token: u64) -> Option<(&VrrpSocket, SocketKey)> {
        self.sockets.get(&token).map(|shared| (&shared.socket, shared.key))
    }

    /// Returns the virtual router of this number on a socket.
    pub(super) fn router_of(&self, token: u64, vrid: u8) -> Option<Id> {
        self.sockets.get(&token)?.routers.get(&vrid).copied()
    }

    /// Sends an advert to the group or to each peer, with what is to stand behind it; returns whether all of it could
    /// be sent.
    pub(super) fn send(
        &mut self,
        token: u64,
        advert: &Advert,
        form: ChecksumForm,
        peers: &[IpAddr],
        trailer: &[u8],
    ) -> bool {
        let Some(shared) = self.sockets.get(&token) else { return false };
        let source = shared.key.source;
        let group = [vrrp_group(source.is_ipv4())];
        let mut sent = true;
        for destination in if peers.is_empty() { &group } else { peers } {
            advert.emit_into(&mut self.buffer, form, source, *destination);
            self.buffer.extend_from_slice(trailer);
            sent &= shared.socket.send(&self.buffer, *destination).is_ok();
        }
        sent
    }

    /// Sends probes to the group or to each peer; returns how many have left for each, and why one hasn't.
    ///
    /// A virtual router whose own interface is down, because it isn't Active, sends them by the interface of the node:
    /// the way through the network and the firewalls is that of its adverts, and no switch learns where the virtual
    /// Ethernet address is.
    pub(super) fn probe(
        &self,
        token: u64,
        spec: &Spec,
        silent: bool,
        count: u32,
    ) -> (BTreeMap<IpAddr, u32>, Option<Error>) {
        let Some(shared) = self.sockets.get(&token) else { return (BTreeMap::new(), None) };
        let own;
        let socket = if silent {
            match open(shared.key, &spec.link, &spec.link, &[spec.router.vrid.get()]) {
                Ok(socket) => {
                    own = socket;
                    &own
                }
                Err(error) => return (BTreeMap::new(), Some(error)),
            }
        } else {
            &shared.socket
        };
        let source = shared.key.source;
        let probe = Probe { version: spec.router.version, vrid: spec.router.vrid };
        let group = [vrrp_group(source.is_ipv4())];
        let (mut sent, mut failed) = (BTreeMap::new(), None);
        for to in if spec.peers.is_empty() { &group } else { spec.peers.as_slice() } {
            let left = sent.entry(*to).or_insert(0_u32);
            for _ in 0..count {
                match socket.send(&probe.emit(spec.checksum, source, *to), *to) {
                    Ok(()) => *left = left.saturating_add(1),
                    Err(error) => failed = Some(error),
                }
            }
        }
        (sent, failed)
    }

    /// Has the leases of a virtual router's addresses renewed, without waiting for it.
    pub(super) fn renew(&self, id: Id, order: keeper::Order) {
        self.keeper.order(id, order);
    }

    /// Sees to it that no lease of a virtual router is renewed any more: before an address is removed, by whomever.
    pub(super) fn stop_renewing(&mut self, id: Id) {
        if !self.keeper.withdraw(id, Deadline::after(LAST_RENEWAL)) {
            let text = "the kernel is long at the renewal of a lease; not waiting for it";
            self.recorder.warn(text);
        }
    }

    /// Announces an address on an interface once.
    pub(super) fn announce(&mut self, link: &Link, vip: IpAddr) {
        // Another Ethernet address (a bond that changed its port) needs another socket.
        if self.announcers.get(&link.index).is_some_and(|open| Some(open.mac()) != link.mac) {
            self.announcers.remove(&link.index);
        }
        if !self.announcers.contains_key(&link.index)
            && let Ok(announcer) = LinkAnnouncer::open(link)
        {
            self.announcers.insert(link.index, announcer);
        }
        // What can't leave now is announced again when the link is back.
        if let Some(announcer) = self.announcers.get(&link.index) {
            drop(announcer.announce(vip));
        }
    }

    /// Looks for connections once, so that the kernel has loaded what it needs for that before it is urgent.
    pub(super) fn get_acquainted(&mut self) {
        let nobody = IpAddr::from([0, 0, 0, 0]);
        if let Err(error) = Clients::of(nobody, 0, Deadline::after(ACQUAINTANCE)) {
            self.recorder.warn(&format!("clients won't be told when a virtual IP goes: {error}"));
        }
    }

    /// Ends the clients' connections to an address that is about to go; returns how many.
    pub(super) fn end_connections(&mut self, index: u32, address: IpAddr) -> usize {
        let begin = clock::now();
        if begin.since(self.goodbyes.0) > Duration::from_secs(1) {
            self.goodbyes = (begin, Duration::ZERO);
        }
        let left = GOODBYES.saturating_sub(self.goodbyes.1);
        if left.is_zero() {
            return 0;
        }
        let ended = vip::end_connections(&mut self.netlink, index, address, Deadline::after(left));
        self.goodbyes.1 += clock::now().since(begin);
        ended.unwrap_or_else(|error| {
            let why = error.to_string();
            if self.rude.as_ref() != Some(&why) {
                self.recorder.warn(&why);
                self.rude = Some(why);
            }
            0
        })
    }

    /// Makes the interface of its own for a virtual router, and removes what an earlier life left of it.
    pub(super) fn make_vmac(&mut self, spec: &Spec, alias: &str) -> Result<Option<Link>> {
        let Some(vmac) = &spec.vmac else { return Ok(None) };
        if let Some(old) = self.netlink.links()?.into_iter().find(|link| link.name == vmac.name) {
            if old.kind.as_deref() != Some("macvlan") || old.mac != Some(vmac.mac) {
                return Err(Error::config(format!(
                    "there is an interface \"{}\" already, which isn't that of a virtual router",
                    vmac.name
                ))
                .hint("name another one in vmac_interface"));
            }
            self.netlink.delete_link(&old)?;
        }
        let link = self.netlink.add_macvlan(&spec.link, &vmac.name, vmac.mac, alias)?;
        let ipv4 = spec.router.source.is_ipv4();
        let prepared = vmac::prepare(&link, ipv4).and_then(|()| {
            if let Some((users, _)) = self.parents.get_mut(&spec.link.index) {
                *users += 1;
                return Ok(());
            }
            let changed = vmac::prepare_parent(&spec.link)?;
            self.parents.insert(spec.link.index, (1, changed));
            Ok(())
        });
        if let Err(error) = prepared {
            self.netlink.delete_link(&link)?;
            return Err(error);
        }
        Ok(Some(link))
    }

    /// Removes the interface of its own of a virtual router.
    pub(super) fn remove_vmac(&mut self, parent: &Link, link: &Link) -> Result<()> {
        self.forget_link(link.index);
        if let Some((users, changed)) = self.parents.get_mut(&parent.index) {
            *users = users.saturating_sub(1);
            if *users == 0 {
                changed.iter().for_each(vmac::Changed::undo);
                self.parents.remove(&parent.index);
            }
        }
        self.netlink.delete_link(link)
    }

    /// Drops packets that arrive for exactly these addresses from now on.
    pub(super) fn drop_packets(&mut self, table: &str, addresses: &[IpAddr]) -> Result<()> {
        if self.drops.is_none() && !addresses.is_empty() {
            self.drops = Some(DropTable::open(table)?);
        }
        let Some(drops) = &mut self.drops else { return Ok(()) };
        drops.set(addresses)
    }

    /// Forgets an interface that is gone.
    pub(super) fn forget_link(&mut self, index: u32) {
        self.announcers.remove(&index);
    }
}

/// Opens sockets that receive on an interface and send through it or the one beside it.
fn open(key: SocketKey, link: &Link, via: &Link, vrids: &[u8]) -> Result<VrrpSocket> {
    match key.source {
        IpAddr::V4(source) => VrrpSocket::open_v4_via(link, via, key.delivery, source, vrids),
        IpAddr::V6(source) => VrrpSocket::open_v6_via(link, via, key.delivery, source, vrids),
    }
}

impl Shared {
    fn admit(&self) -> Result<()> {
        self.socket.set_vrids(&self.routers.keys().copied().collect::<Vec<_>>())
    }
}
