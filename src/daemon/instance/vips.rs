//! The addresses of a virtual router: put up, kept, taken down.

use super::{Edges, Instance, RENEWALS, SHARES, TRY_AGAIN};
use crate::daemon::keeper::{self, Renewal};
use crate::daemon::spec::Place;
use crate::error::Result;
use crate::net::netlink::{Address, AddressOptions, Change};
use crate::net::vip;
use crate::promotion::event::{Event, EventKind};
use crate::units::Moment;
use std::time::Duration;

impl Instance {
    /// Notes whether the addresses belong here, and begins or ends the renewal of their lease.
    pub(in crate::daemon) fn hold(&mut self, now: Moment, held: bool, edges: &mut Edges) {
        if self.held != held {
            self.held = held;
            if !held {
                edges.stop_renewing(self.id);
            }
            // Each at its own time: hundreds that renew at once would keep the adverts waiting.
            let share = u32::from(self.spec.router.vrid.get() % SHARES) + 1;
            let first = |interval: Duration| now + interval * share / u32::from(SHARES);
            self.renew = if held { self.renewal().map(first) } else { None };
        }
    }

    pub(super) fn renewal(&self) -> Option<Duration> {
        self.spec.vips.iter().filter_map(|place| place.vip.lease).min().map(|lease| lease / RENEWALS)
    }

    /// How each address is to be.
    fn options(&self, Place { vip, inside, scope }: &Place) -> AddressOptions {
        let ipv6 = vip.address.address().is_ipv6();
        AddressOptions {
            label: vip.label.clone(),
            lease: vip.lease,
            scope: *scope,
            replace: true,
            // A service address is no address to speak from.
            preferred_zero_v6: ipv6,
            no_prefix_route: (ipv6 && *inside) || self.vmac.is_some(),
            ..AddressOptions::default()
        }
    }

    /// Puts the addresses up: one system call each.
    pub(super) fn put_up(&mut self, now: Moment, edges: &mut Edges) {
        let mut failure = None;
        for place in &self.spec.vips {
            let (address, home) = (place.vip.address, self.home());
            if let Err(error) = edges.netlink.add_address(home.index, address, &self.options(place)) {
                failure = Some(format!("can't keep {address} on {}: {error}", home.name));
            }
        }
        self.unplaced = failure.is_some();
        match failure {
            Some(text) => self.complain(now, &text, edges),
            None => self.complained = false,
        }
    }

    /// Has the leases renewed: by another thread, because the kernel may take its time.
    pub(super) fn have_renewed(&self, now: Moment, edges: &Edges) {
        let Some(interval) = self.renewal() else { return };
        let leases = self.spec.vips.iter().map(|place| (place.vip.address, self.options(place)));
        edges.renew(
            self.id,
            keeper::Order {
                until: now + interval.min(keeper::FRESH),
                index: self.home().index,
                leases: leases.collect(),
            },
        );
    }

    /// Learns how a renewal went.
    pub(in crate::daemon) fn renewed(&mut self, now: Moment, renewal: Renewal, edges: &mut Edges) {
        match renewal {
            Renewal::Recovered => self.complained = false,
            Renewal::Absent(address) => self.address_removed(now, address.address(), edges),
            Renewal::Failed(why) if self.held => {
                let text = format!("can't keep the virtual IPs on {}: {why}", self.home().name);
                self.complain(now, &text, edges);
            }
            Renewal::Failed(_) => {}
        }
    }

    /// Says once that an address can't be kept, and tries again soon.
    fn complain(&mut self, now: Moment, text: &str, edges: &mut Edges) {
        self.renew = Some(now + TRY_AGAIN);
        if !std::mem::replace(&mut self.complained, true) {
            edges.recorder.warn(&self.labelled(text));
        }
    }

    /// Takes the addresses down.
    pub(in crate::daemon) fn drop_vips(&mut self, why: &str, edges: &mut Edges) {
        self.held = false;
        self.renew = None;
        edges.stop_renewing(self.id);
        for place in self.spec.vips.clone() {
            self.remove(&place, why, edges);
        }
    }

    pub(super) fn remove(&self, place: &Place, why: &str, edges: &mut Edges) {
        let address = place.vip.address;
        let index = self.home().index;
        // While it is still here: their last word comes from it.
        let ended = edges.end_connections(index, address.address());
        let removed = if place.inside || address.address().is_ipv6() || self.vmac.is_some() {
            edges.netlink.delete_address(index, address)
        } else {
            // The first address of its network: others would go with it.
            edges.netlink.addresses().and_then(|present| {
                let found = present.iter().find(|found| found.index == index && found.address == address);
                found.map_or(Ok(Change::Unchanged), |found| vip::remove(&mut edges.netlink, found))
            })
        };
        match removed {
            Ok(change) if change.is_change() => {
                let mut event = Event::new(EventKind::VipRemoved, format!("removed {address}: {why}"));
                if ended > 0 {
                    event.text.push_str(&format!("; client connections ended: {ended}"));
                    event = event.with("connections_ended", ended);
                }
                self.note(event, edges);
            }
            Ok(_) => {}
            Err(error) => edges.recorder.warn(&self.labelled(&format!("can't remove {address}: {error}"))),
        }
    }

    pub(super) fn remove_leftovers(&self, present: &[Address], edges: &mut Edges) -> Result<()> {
        for address in present.iter().filter(|present| {
            present.index == self.spec.link.index
                && self.spec.vips.iter().any(|place| place.vip.address.address() == present.address.address())
        }) {
            edges.netlink.delete_address(address.index, address.address)?;
            let text = format!("removed {}: left over from an earlier run", address.address);
            self.note(Event::new(EventKind::VipRemoved, text), edges);
        }
        Ok(())
    }
}
