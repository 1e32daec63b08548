//! Groups of virtual routers: what one does, the others do too.

use super::Loop;
use crate::daemon::edges::Id;
use crate::daemon::instance::Instance;
use crate::daemon::notify::{Change, News, Subject};
use crate::promotion::event::{Event, EventKind};
use crate::settings::{GroupSettings, NotifySettings};
use crate::units::Moment;
use crate::vrrp::group::{Member, Step, Whole, steps, whole};
use std::collections::BTreeMap;

/// What was said of each group, by name.
#[derive(Debug, Default)]
pub(super) struct Groups {
    told: BTreeMap<String, (Whole, NotifySettings)>,
    /// Whether a group is being seen to, or members come and go: it is looked at afterwards.
    busy: bool,
}

/// A group settles in a few rounds; more would be a mistake here, and no reason to hang.
const ROUNDS: usize = 8;

impl Groups {
    /// Begins or ends a time in which members come and go.
    pub(super) const fn wait(&mut self, wait: bool) {
        self.busy = wait;
    }
}

impl Loop {
    /// Lets the others of its group follow a virtual router.
    pub(super) fn keep_together(&mut self, now: Moment, id: Id) {
        let Some(name) = self.instances.get(&id).and_then(|instance| instance.spec().group.clone()) else {
            return;
        };
        self.see_to_group(now, &name);
    }

    /// Sees to every group, and forgets those that are no longer configured.
    pub(super) fn see_to_groups(&mut self, now: Moment) {
        let names: Vec<String> = self.settings.groups.iter().map(|group| group.name.clone()).collect();
        let gone: Vec<(String, NotifySettings)> = self
            .groups
            .told
            .iter()
            .filter(|(name, _)| !names.contains(name))
            .map(|(name, (_, notify))| (name.clone(), notify.clone()))
            .collect();
        for (name, notify) in gone {
            self.groups.told.remove(&name);
            self.tell_group(&name, Change::Gone, &notify);
        }
        for name in names {
            self.see_to_group(now, &name);
        }
    }

    fn see_to_group(&mut self, now: Moment, name: &str) {
        if self.groups.busy {
            return;
        }
        let Some(group) = self.settings.groups.iter().find(|group| group.name == name).cloned() else {
            return;
        };
        self.groups.busy = true;
        for _ in 0..ROUNDS {
            let members = self.members(&group);
            let todo =
                steps(&members.iter().map(|member| member.map(|(_, member)| member)).collect::<Vec<_>>());
            if todo.iter().all(|step| *step == Step::Stay) {
                break;
            }
            for (member, step) in members.iter().zip(todo) {
                if let Some((id, _)) = member {
                    self.follow(now, *id, step);
                }
            }
        }
        self.groups.busy = false;
        self.report_group(&group);
    }

    /// Returns the members of a group; `None` is one that doesn't run.
    fn members(&self, group: &GroupSettings) -> Vec<Option<(Id, Member)>> {
        let find = |name: &String| {
            self.instances
                .iter()
                .find(|(_, instance)| !instance.spec().main && instance.spec().name == *name)
                .map(|(id, instance)| (*id, instance.member()))
        };
        group.instances.iter().map(find).collect()
    }

    fn follow(&mut self, now: Moment, id: Id, step: Step) {
        let work = |instance: &mut Instance, edges: &mut crate::daemon::edges::Edges| match step {
            Step::Stay => {}
            Step::KeepOut => instance.keep_out(now, true, edges),
            Step::LetIn => instance.keep_out(now, false, edges),
            Step::Rise => instance.rise(now, edges),
            Step::Fall => instance.fall(now, edges),
        };
        self.act(now, id, work);
    }

    /// Says what the group is now, if that has changed.
    fn report_group(&mut self, group: &GroupSettings) {
        let members: Vec<Option<Member>> =
            self.members(group).into_iter().map(|member| member.map(|(_, member)| member)).collect();
        let is = whole(&members);
        let before = self.groups.told.insert(group.name.clone(), (is, group.notify.clone()));
        if before.is_some_and(|(before, _)| before == is) {
            return;
        }
        let (change, text) = match is {
            Whole::Active => (Change::Master, "every virtual router of the group is Active"),
            Whole::Backup => (Change::Backup, "the group is Backup"),
            Whole::Fault => (Change::Fault, "the group is out of the election: one of its routers is"),
        };
        let text = format!("{}: {text}", group.name);
        self.note(Event::new(EventKind::State, text).with("group", group.name.as_str()));
        self.tell_group(&group.name, change, &group.notify);
    }

    fn tell_group(&mut self, name: &str, change: Change, notify: &NotifySettings) {
        let news = News { subject: Subject::Group, name, change, priority: 0 };
        if let Some(complaint) = self.edges.notifier.tell(news, notify) {
            self.edges.recorder.warn(&format!("{name}: {complaint}"));
        }
    }

    /// The last words of the groups.
    pub(super) fn stop_groups(&mut self) {
        for (name, (_, notify)) in std::mem::take(&mut self.groups.told) {
            self.tell_group(&name, Change::Stop, &notify);
        }
    }
}
