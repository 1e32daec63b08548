//! What a virtual router depends on besides its network: what is tracked, and the others of its group.

use super::{Edges, Faults, Instance, Told};
use crate::promotion::event::{Event, EventKind};
use crate::units::Moment;
use crate::vrrp::group::Member;
use crate::vrrp::types::{Priority, State};

/// What the things that a router depends on come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::daemon) struct Depends {
    pub(in crate::daemon) priority: Priority,
    /// What keeps it out of the election.
    pub(in crate::daemon) fault: Option<String>,
    /// What has to be known first.
    pub(in crate::daemon) waits: Option<String>,
    /// What moves its priority.
    pub(in crate::daemon) why: String,
}

impl Instance {
    /// Returns whether anything that is tracked has an effect now.
    pub(in crate::daemon) fn depends_on_anything(&self) -> bool {
        let Depends { priority, fault, waits, .. } = &self.depends;
        *priority != self.spec.router.priority || fault.is_some() || waits.is_some()
    }

    /// Learns what the things that it depends on come to.
    pub(in crate::daemon) fn set_depends(&mut self, now: Moment, depends: Depends, edges: &mut Edges) {
        let before = std::mem::replace(&mut self.depends, depends);
        let Depends { priority, why, .. } = self.depends.clone();
        let was = self.router.config().priority;
        if priority != was {
            let settled = priority == self.spec.router.priority;
            let why = if settled { "everything is as it should be" } else { &why };
            let text = format!("priority {was} -> {priority}: {why}");
            let event = Event::new(EventKind::Tracked, text).with("priority", priority.0);
            self.note(event, edges);
            self.router.set_priority(now, priority);
            match self.router.state() {
                State::Active => self.tell(Told::MasterPriority, edges),
                State::Backup => self.tell(Told::BackupPriority, edges),
                State::Initialize => {}
            }
        }
        let Depends { fault, waits, .. } = self.depends.clone();
        if fault != before.fault {
            let text = match &fault {
                Some(fault) => format!("out of the election: {fault}"),
                None => "what it depends on is in order".to_owned(),
            };
            self.note(Event::new(EventKind::Tracked, text), edges);
        }
        let was_out = self.faults != Faults::default();
        self.faults.depends = fault.is_some() || waits.is_some();
        let found_out = before.waits.is_some() && before.fault.is_none() && fault.is_some();
        self.apply_faults(now, edges);
        // It was out while nothing was known; that it stays out is news.
        if was_out && found_out && !self.is_guarded() {
            self.tell(Told::Fault, edges);
        }
    }

    // --- its group ----------------------------------------------------------------------------------------

    /// Returns what its group has to know.
    pub(in crate::daemon) fn member(&self) -> Member {
        let own = Faults { group: false, ..self.faults };
        Member {
            state: self.router.state(),
            wants: self.router.wants_active(),
            fault: own != Faults::default(),
            kept_out: self.faults.group,
        }
    }

    /// Keeps it out of the election, or lets it in again.
    pub(in crate::daemon) fn keep_out(&mut self, now: Moment, out: bool, edges: &mut Edges) {
        self.faults.group = out;
        self.apply_faults(now, edges);
    }

    /// Becomes Active together with its group.
    pub(in crate::daemon) fn rise(&mut self, now: Moment, edges: &mut Edges) {
        self.router.rise(now);
        self.carry_out(now, edges);
    }

    /// Becomes Backup because its group does.
    pub(in crate::daemon) fn fall(&mut self, now: Moment, edges: &mut Edges) {
        // The addresses go before the farewell that lets another take them.
        if self.router.state() == State::Active {
            self.drop_vips("another router of its group is no longer Active", edges);
        }
        self.router.fall(now);
        self.carry_out(now, edges);
    }
}
