//! What was seen of the things that virtual routers depend on, and what it does to each router.

use super::{Loop, Mailbox};
use crate::daemon::edges::Id;
use crate::daemon::instance::{Depends, Instance};
use crate::daemon::track::{Key, Sighting, Sort, Watchers};
use crate::net::netlink::Link;
use crate::settings::TrackSettings;
use crate::units::Moment;
use crate::vrrp::track::{Seen, judge};
use std::collections::BTreeMap;

/// The watchers, and what is known by them.
#[derive(Debug)]
pub(super) struct Tracking {
    watchers: Watchers,
    seen: BTreeMap<Key, (Seen, String)>,
}

impl Tracking {
    pub(super) const fn new(mailbox: Mailbox) -> Self {
        Self { watchers: Watchers::new(mailbox), seen: BTreeMap::new() }
    }

    /// Takes the present state of an interface.
    fn interface(&mut self, name: &str, usable: bool) -> bool {
        let (seen, word) = if usable { (Seen::Good, "up") } else { (Seen::Bad, "down") };
        let key = (Sort::Interface, name.to_owned());
        let new = (seen, format!("interface {name} is {word}"));
        self.seen.insert(key, new.clone()) != Some(new)
    }
}

impl Loop {
    /// Watches what is configured now, and looks at the interfaces.
    pub(super) fn watch_again(&mut self, links: &[Link]) {
        let (changed, problems) = self.tracking.watchers.watch(&self.settings.trackers);
        for key in changed {
            self.tracking.seen.remove(&key);
        }
        for problem in problems {
            self.edges.recorder.warn(&problem);
        }
        self.tracking.seen.retain(|(sort, _), _| *sort != Sort::Interface);
        for link in links {
            self.tracking.interface(&link.name, link.is_usable());
        }
    }

    /// Judges every virtual router anew.
    pub(super) fn judge_all(&mut self, now: Moment) {
        for id in self.ids() {
            self.judge(now, id);
        }
    }

    /// Learns that an interface has changed.
    pub(super) fn interface_seen(&mut self, now: Moment, name: &str, usable: bool) {
        if self.tracking.interface(name, usable) {
            self.judge_dependents(now, &(Sort::Interface, name.to_owned()));
        }
    }

    /// Learns what a watcher saw.
    pub(super) fn sighted(&mut self, now: Moment, sighting: Sighting) {
        if self.tracking.watchers.is_current(&sighting) {
            let Sighting { key, seen, text, .. } = sighting;
            self.tracking.seen.insert(key.clone(), (seen, text));
            self.judge_dependents(now, &key);
        }
    }

    fn judge_dependents(&mut self, now: Moment, key: &Key) {
        let depends = |instance: &Instance| {
            weights(&instance.spec().track).any(|(sort, name, _)| (sort, name) == (key.0, &key.1))
        };
        let ids: Vec<Id> = self.instances.iter().filter(|(_, i)| depends(i)).map(|(id, _)| *id).collect();
        for id in ids {
            self.judge(now, id);
        }
    }

    /// Tells a virtual router what the things that it depends on come to.
    pub(super) fn judge(&mut self, now: Moment, id: Id) {
        let Some(instance) = self.instances.get(&id) else { return };
        let spec = instance.spec();
        if spec.track == TrackSettings::default() && !instance.depends_on_anything() {
            return;
        }
        let tracked: Vec<(Key, i16)> =
            weights(&spec.track).map(|(sort, name, weight)| ((sort, name.clone()), weight)).collect();
        let known = |key: &Key| -> (Seen, String) {
            let missing = || match key.0 {
                // Netlink lists every interface that there is.
                Sort::Interface => (Seen::Bad, format!("there is no interface {}", key.1)),
                _ => (Seen::Unknown, format!("{} hasn't been checked yet", key.1)),
            };
            self.tracking.seen.get(key).cloned().unwrap_or_else(missing)
        };
        let judged = judge(spec.router.priority, tracked.iter().map(|(key, weight)| (*weight, known(key).0)));
        let say = |position: &usize| tracked.get(*position).map(|(key, _)| known(key).1);
        // Everything that isn't as it should be, for the line about a changed priority.
        let moves = tracked.iter().map(|(key, _)| known(key)).filter(|(seen, _)| *seen != Seen::Good);
        let depends = Depends {
            priority: judged.priority,
            fault: judged.faults.first().and_then(say),
            waits: judged.waits.first().and_then(say),
            why: moves.map(|(_, text)| text).collect::<Vec<_>>().join(", "),
        };
        self.act(now, id, |instance, edges| instance.set_depends(now, depends, edges));
    }
}

/// Iterates over what a virtual router depends on.
fn weights(track: &TrackSettings) -> impl Iterator<Item = (Sort, &String, i16)> {
    let interfaces = track.interfaces.iter().map(|(name, weight)| (Sort::Interface, name, *weight));
    let scripts = track.scripts.iter().map(|(name, weight)| (Sort::Script, name, *weight));
    let processes = track.processes.iter().map(|(name, weight)| (Sort::Process, name, *weight));
    let files = track.files.iter().map(|(name, weight)| (Sort::File, name, *weight));
    interfaces.chain(scripts).chain(processes).chain(files)
}
