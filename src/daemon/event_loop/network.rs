//! What netlink tells: interfaces and addresses that come, change and go, and whom that concerns.

use super::Loop;
use crate::daemon::edges::Id;
use crate::daemon::instance::Instance;
use crate::error::Result;
use crate::net::netlink::{Link, NetEvent};
use crate::promotion::supervisor::Input;
use crate::units::Moment;
use std::net::IpAddr;

impl Loop {
    pub(super) fn network_changed(&mut self, now: Moment) -> Result<()> {
        let mut look_again = false;
        for event in self.monitor.read()? {
            match event {
                NetEvent::LinkChanged(link) => {
                    self.interface_seen(now, &link.name, link.is_usable());
                    let known = self.on_link(link.index);
                    // An interface that went away and came back is another one to the kernel.
                    look_again |= known.is_empty() && self.names_interface(&link.name);
                    look_again |= !self.waiting.is_empty();
                    for id in known {
                        self.link_changed(now, id, &link);
                    }
                }
                NetEvent::LinkGone { index, name } => {
                    self.interface_seen(now, &name, false);
                    for id in self.on_link(index) {
                        let Some(instance) = self.instances.get(&id) else { continue };
                        let mut link = instance.spec().link.clone();
                        link.carrier = false;
                        self.link_changed(now, id, &link);
                    }
                    self.edges.forget_link(index);
                    look_again |= self.vmac_gone(now, index);
                }
                NetEvent::AddressRemoved(address) => {
                    let ip = address.address.address();
                    for id in self.concerned(address.index, ip) {
                        self.act(now, id, |instance, edges| instance.address_removed(now, ip, edges));
                    }
                }
                NetEvent::AddressAdded(address) => {
                    look_again |= !self.waiting.is_empty() && !address.is_ours();
                    // Every renewed lease is such an event, and none is news.
                    if address.is_ours() {
                        continue;
                    }
                    let ip = address.address.address();
                    for id in self.concerned(address.index, ip) {
                        self.act(now, id, |instance, edges| instance.address_added(now, ip, edges));
                    }
                }
                NetEvent::Overrun => {
                    look_again = true;
                    for id in self.ids() {
                        self.act(now, id, |instance, edges| instance.make_sure(now, edges));
                    }
                }
            }
        }
        if look_again {
            self.reconcile(now)?;
        }
        Ok(())
    }

    pub(super) fn ids(&self) -> Vec<Id> {
        self.instances.keys().copied().collect()
    }

    fn on_link(&self, index: u32) -> Vec<Id> {
        let here = |(id, instance): (&Id, &Instance)| (instance.spec().link.index == index).then_some(*id);
        self.instances.iter().filter_map(here).collect()
    }

    /// Returns the virtual routers that an address means something to.
    fn concerned(&self, index: u32, ip: IpAddr) -> Vec<Id> {
        let concerned = |(id, instance): (&Id, &Instance)| instance.knows(index, ip).then_some(*id);
        self.instances.iter().filter_map(concerned).collect()
    }

    fn names_interface(&self, name: &str) -> bool {
        self.settings.instances.iter().any(|instance| instance.interface == name)
    }

    fn link_changed(&mut self, now: Moment, id: Id, link: &Link) {
        let changed = self.act(now, id, |instance, edges| instance.link_changed(now, link, edges));
        if let (Some(Some(up)), true) = (changed, self.main == Some(id)) {
            self.tell(now, Input::Link { up });
        }
    }
}
