//! The interface of its own that a virtual router may have, with its own Ethernet address.
//!
//! It is up only while the router is Active: a Backup must take nothing that is sent to that address (RFC 9568
//! §6.4.2), and must not be heard from it.

use super::{Edges, Instance};
use crate::net::netlink::Link;
use crate::promotion::event::{Event, EventKind};
use crate::vrrp::types::State;

impl Instance {
    /// Returns the interface that its addresses belong on.
    pub(in crate::daemon) fn home(&self) -> &Link {
        self.vmac.as_ref().map_or(&self.spec.link, |(link, _)| link)
    }

    /// Sets the interface up before the first advert of an Active router.
    pub(super) fn open_vmac(&mut self, edges: &mut Edges) {
        if self.router.state() == State::Active {
            self.set_vmac(true, edges);
        }
    }

    /// Sets the interface down once a router that isn't Active any more has nothing more to say.
    pub(super) fn close_vmac(&mut self, edges: &mut Edges) {
        if self.router.state() != State::Active {
            self.set_vmac(false, edges);
        }
    }

    fn set_vmac(&mut self, up: bool, edges: &mut Edges) {
        let Some((link, is_up)) = &mut self.vmac else { return };
        if *is_up == up {
            return;
        }
        match edges.netlink.set_up(link, up) {
            Ok(()) => *is_up = up,
            Err(error) => edges.recorder.warn(&format!("{}: {error}", self.spec.name)),
        }
        if !up {
            // A socket on an interface that went down fails at its next use.
            edges.forget_link(link.index);
        }
    }

    /// Learns that somebody has removed the interface, and everything on it.
    pub(in crate::daemon) fn lose_vmac(&mut self, edges: &mut Edges) {
        let text = format!("its interface {} was removed by someone else: starting anew", self.home().name);
        self.note(Event::new(EventKind::AddressLost, text), edges);
        self.remove_vmac(edges);
    }

    /// Removes the interface.
    pub(super) fn remove_vmac(&mut self, edges: &mut Edges) {
        if let Some((link, _)) = self.vmac.take()
            && let Err(error) = edges.remove_vmac(&self.spec.link, &link)
        {
            edges.recorder.warn(&format!("{}: {error}", self.spec.name));
        }
    }
}
