//! What all virtual routers of a daemon share: sockets, netlink, the log.

use super::recorder::Recorder;
use super::spec::{SocketKey, Spec};
use crate::error::{Error, Result};
use crate::net::driver::{Poller, Token};
use crate::net::netlink::{Link, Netlink};
use crate::net::socket::VrrpSocket;
use crate::net::vip::LinkAnnouncer;
use crate::units::vrrp_group;
use crate::vrrp::checksum::ChecksumForm;
use crate::vrrp::wire::Advert;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The number of a virtual router within the daemon; never used again.
pub(super) type Id = u32;

/// The first token that is a VRRP socket's; those below are the loop's own.
const FIRST_SOCKET: u64 = 64;

/// The shared edges.
pub(super) struct Edges {
    pub(super) poller: Poller,
    pub(super) netlink: Netlink,
    pub(super) recorder: Recorder,
    sockets: BTreeMap<u64, Shared>,
    next: u64,
    announcers: BTreeMap<u32, LinkAnnouncer>,
    buffer: Vec<u8>,
}

/// A socket pair, and the virtual routers that speak through it.
#[derive(Debug)]
struct Shared {
    key: SocketKey,
    socket: VrrpSocket,
    routers: BTreeMap<u8, Id>,
}

impl Edges {
    pub(super) fn new(poller: Poller, netlink: Netlink, recorder: Recorder) -> Self {
        Self {
            poller,
            netlink,
            recorder,
            sockets: BTreeMap::new(),
            next: FIRST_SOCKET,
            announcers: BTreeMap::new(),
            buffer: Vec::with_capacity(64),
        }
    }

    /// Gives a virtual router its place on a socket, opening one if it is the first there.
    pub(super) fn join(&mut self, spec: &Spec, id: Id) -> Result<u64> {
        let (key, vrid) = (spec.key(), spec.router.vrid.get());
        if let Some((token, shared)) = self.sockets.iter_mut().find(|(_, shared)| shared.key == key) {
            if shared.routers.contains_key(&vrid) {
                return Err(Error::config(format!("{} has a virtual router {vrid} already", spec.link.name)));
            }
            shared.routers.insert(vrid, id);
            shared.admit()?;
            return Ok(*token);
        }
        let socket = match key.source {
            IpAddr::V4(source) => VrrpSocket::open_v4(&spec.link, key.delivery, source, &[vrid]),
            IpAddr::V6(source) => VrrpSocket::open_v6(&spec.link, key.delivery, source, &[vrid]),
        }?;
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

    /// Sends an advert to the group or to each peer; returns whether all of it could be sent.
    pub(super) fn send(&mut self, token: u64, advert: &Advert, form: ChecksumForm, peers: &[IpAddr]) -> bool {
        let Some(shared) = self.sockets.get(&token) else { return false };
        let source = shared.key.source;
        let group = [vrrp_group(source.is_ipv4())];
        let mut sent = true;
        for destination in if peers.is_empty() { &group } else { peers } {
            advert.emit_into(&mut self.buffer, form, source, *destination);
            sent &= shared.socket.send(&self.buffer, *destination).is_ok();
        }
        sent
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

    /// Forgets an interface that is gone.
    pub(super) fn forget_link(&mut self, index: u32) {
        self.announcers.remove(&index);
    }
}

impl Shared {
    fn admit(&self) -> Result<()> {
        self.socket.set_vrids(&self.routers.keys().copied().collect::<Vec<_>>())
    }
}
