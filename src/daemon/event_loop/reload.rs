//! Which virtual routers run: at the start, after SIGHUP, and when an interface or an address appears.
//!
//! What should run is compared with what runs; an unchanged router never notices.

use super::Loop;
use crate::daemon::edges::Id;
use crate::daemon::instance::Instance;
use crate::daemon::setup;
use crate::daemon::spec::{self, Spec};
use crate::error::{Error, Result};
use crate::net::netlink::{Address, Link};
use crate::settings::{Overrides, Settings};
use crate::units::Moment;
use crate::vrrp::types::Priority;

impl Loop {
    /// Reads the configuration again; one that is wrong changes nothing.
    pub(super) fn reload(&mut self, now: Moment) {
        drop(self.notify.reloading());
        match self.read_again() {
            Ok(settings) => {
                for warning in &settings.warnings {
                    self.edges.recorder.warn(warning);
                }
                self.settings = settings;
                for id in self.ids() {
                    self.act(now, id, |instance, edges| instance.clear_fault(now, edges));
                }
                match self.reconcile(now) {
                    Ok(()) => self.edges.recorder.info("the configuration was read again"),
                    Err(error) => self.edges.recorder.warn(&format!("SIGHUP: {error}")),
                }
            }
            Err(error) => {
                let detail = error.detail_text().map_or_else(String::new, |text| format!(": {text}"));
                let text = format!("SIGHUP: the old configuration stays in force: {error}{detail}");
                self.edges.recorder.warn(&text.replace('\n', " "));
            }
        }
        drop(self.notify.ready("running"));
        self.told_status.clear();
    }

    /// Reads the file and keeps from the old settings what can't change while the daemon runs.
    fn read_again(&mut self) -> Result<Settings> {
        let old = &self.settings;
        let node = old.me().ok().map(|me| me.name.clone());
        let mut new = Settings::load(&Overrides { config: old.file.clone(), node })?;
        let guarded = old.postgres.is_some() || new.postgres.is_some();
        let mut kept = Vec::new();
        let mut keep = |table: &'static str, same: bool| {
            if !same {
                kept.push(table);
            }
        };
        keep("[cluster]", old.cluster == new.cluster);
        keep("[daemon]", old.daemon == new.daemon);
        new.cluster.clone_from(&old.cluster);
        new.daemon.clone_from(&old.daemon);
        if guarded {
            keep("[[node]]", old.nodes == new.nodes);
            keep("[vrrp]", old.vrrp == new.vrrp);
            keep("[[vip]]", old.vips == new.vips);
            keep("[postgres]", old.postgres == new.postgres);
            keep("[guard]", old.guard == new.guard);
            new.nodes.clone_from(&old.nodes);
            new.me = old.me;
            new.vrrp.clone_from(&old.vrrp);
            new.vips.clone_from(&old.vips);
            new.postgres.clone_from(&old.postgres);
            new.guard.clone_from(&old.guard);
        }
        if !kept.is_empty() {
            let text =
                format!("SIGHUP: what has changed in {} counts from the next start on", kept.join(", "));
            self.edges.recorder.warn(&text);
        }
        Ok(new)
    }

    /// Makes run what should run.
    pub(super) fn reconcile(&mut self, now: Moment) -> Result<()> {
        // A group whose second member is about to start isn't broken.
        self.groups.wait(true);
        let result = self.start_and_stop(now);
        self.groups.wait(false);
        self.judge_all(now);
        self.see_to_groups(now);
        self.refuse_packets();
        result
    }

    fn start_and_stop(&mut self, now: Moment) -> Result<()> {
        let links = self.edges.netlink.links()?;
        let present = self.edges.netlink.addresses()?;
        self.watch_again(&links);
        let (wanted, waiting) = self.wanted(&links, &present);
        let running = |spec: &Spec, instance: &Instance| {
            instance.spec().main == spec.main && instance.spec().name == spec.name
        };
        // First those that go: what comes may need their places.
        for id in self.ids() {
            let Some(instance) = self.instances.get(&id) else { continue };
            let why = match wanted.iter().find(|spec| running(spec, instance)) {
                Some(spec) if spec.continues(instance.spec()) => continue,
                Some(_) => "configured anew",
                // What can't be found now but runs is told of its link and addresses by events.
                None if waiting.iter().any(|(name, _)| *name == instance.spec().name) => continue,
                None if instance.spec().main && self.supervisor.is_some() => continue,
                None => "no longer configured",
            };
            self.stop_instance(now, id, why);
        }
        self.waiting.retain(|name, _| waiting.iter().any(|(other, _)| other == name));
        for (name, why) in waiting {
            let runs = self.instances.values().any(|i| !i.spec().main && i.spec().name == name);
            if !runs && self.waiting.get(&name) != Some(&why) {
                self.edges.recorder.warn(&format!("{name}: waits: {why}"));
                self.waiting.insert(name, why);
            }
        }
        for spec in wanted {
            let found = self.instances.iter().find(|(_, instance)| running(&spec, instance));
            match found.map(|(id, instance)| (*id, spec.same(instance.spec()))) {
                Some((_, true)) => {}
                Some((id, false)) => {
                    let result = self.act(now, id, |instance, edges| instance.reconfigure(now, spec, edges));
                    if let Some(Err(error)) = result {
                        self.edges.recorder.warn(&error.to_string());
                    }
                }
                None => {
                    let (name, main) = (spec.name.clone(), spec.main);
                    match self.start_instance(now, spec, &present) {
                        Ok(id) if main => self.main = Some(id),
                        Ok(_) => {}
                        Err(error) => {
                            self.edges.recorder.warn(&format!("{name}: waits: {error}"));
                            self.waiting.insert(name, error.to_string());
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Returns what should run, and what should but can't yet, with the reason.
    fn wanted(&mut self, links: &[Link], present: &[Address]) -> (Vec<Spec>, Vec<(String, String)>) {
        let (mut wanted, mut waiting) = (Vec::new(), Vec::new());
        if self.supervisor.is_none() && !self.settings.vips.is_empty() {
            match setup::main_spec(&self.settings, &mut self.edges.netlink, present) {
                Ok(spec) => wanted.push(spec),
                Err(error) => waiting.push((self.settings.cluster.name.clone(), error.to_string())),
            }
        }
        for instance in &self.settings.instances {
            match spec::instance(&self.settings, instance, links, present) {
                Ok(spec) => wanted.push(spec),
                Err(error) => waiting.push((instance.name.clone(), error.to_string())),
            }
        }
        (wanted, waiting)
    }

    /// Starts a virtual router.
    pub(super) fn start_instance(&mut self, now: Moment, spec: Spec, present: &[Address]) -> Result<Id> {
        let (index, vrid) = (spec.link.index, spec.router.vrid);
        let family = |ip: std::net::IpAddr| ip.is_ipv4();
        let twin = self.instances.values().find(|other| {
            let other = other.spec();
            (other.link.index, other.router.vrid) == (index, vrid)
                && family(other.router.source) == family(spec.router.source)
        });
        if let Some(twin) = twin {
            let name = &twin.spec().name;
            return Err(Error::config(format!(
                "\"{name}\" is virtual router {vrid} on {} too",
                spec.link.name
            )));
        }
        let id = self.next_id;
        self.next_id += 1;
        let name = spec.name.clone();
        let alias = self.mark();
        let instance = Instance::new(now, spec, id, present, &alias, &mut self.edges)?;
        self.waiting.remove(&name);
        self.instances.insert(id, instance);
        if self.supervisor.is_some() && self.main.is_none() && self.node.main.is_some() {
            self.main = Some(id);
        }
        self.judge(now, id);
        self.act(now, id, |instance, edges| instance.startup(now, edges));
        Ok(id)
    }

    /// Returns what the interfaces that this daemon makes are marked with.
    pub(super) fn mark(&self) -> String {
        format!("pgbaton {}", self.settings.cluster.name)
    }

    /// Removes the interfaces that an earlier life left behind.
    pub(super) fn remove_stale_links(&mut self, links: &[Link]) -> Result<()> {
        let mark = self.mark();
        for link in links.iter().filter(|link| link.alias.as_ref() == Some(&mark)) {
            self.edges.netlink.delete_link(link)?;
            let text = format!("removed the interface {}: left over from an earlier run", link.name);
            self.edges.recorder.info(&text);
        }
        Ok(())
    }

    /// Stops the virtual router whose own interface somebody has removed; returns whether there was one.
    pub(super) fn vmac_gone(&mut self, now: Moment, index: u32) -> bool {
        let own = |instance: &Instance| instance.spec().vmac.is_some() && instance.home().index == index;
        let id = self.instances.iter().find(|(_, instance)| own(instance)).map(|(id, _)| *id);
        if let Some(id) = id {
            if let Some(instance) = self.instances.get_mut(&id) {
                instance.lose_vmac(&mut self.edges);
            }
            self.stop_instance(now, id, "its interface was removed");
        }
        id.is_some()
    }

    /// Lets no packet in for the addresses of routers that don't accept any; the owner always does.
    fn refuse_packets(&mut self) {
        let refused: Vec<_> = self
            .instances
            .values()
            .map(|instance| &instance.spec().router)
            .filter(|router| !router.accept && router.priority != Priority::OWNER)
            .flat_map(|router| router.addresses.clone())
            .collect();
        let table = format!("pgbaton-{}", self.settings.cluster.name);
        if let Err(error) = self.edges.drop_packets(&table, &refused) {
            let text = format!("packets to virtual IPs are taken although they shouldn't be: {error}");
            self.edges.recorder.warn(&text);
        }
    }

    fn stop_instance(&mut self, now: Moment, id: Id, why: &str) {
        if let Some(mut instance) = self.instances.remove(&id) {
            instance.stop(now, id, why, false, &mut self.edges);
        }
        if let Some(at) = self.armed.remove(&id) {
            self.due.remove(&(at, id));
        }
        if self.main == Some(id) {
            self.main = None;
        }
    }
}
