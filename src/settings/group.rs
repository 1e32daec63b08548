//! `[[group]]`: virtual routers that are Active together or not at all.
//!
//! Pure, like everything under [`Settings::from_toml`](super::Settings::from_toml).

use super::instance::InstanceSettings;
use super::notify::{NotifySettings, RawNotify};
use super::problem::{Problem, nearest};
use super::value::{Check, Value};
use serde::Deserialize;
use std::ops::Range;
use toml::Spanned;

/// A group of virtual routers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSettings {
    /// Its name.
    pub name: String,
    /// The names of its instances.
    pub instances: Vec<String>,
    /// What is run when the group changes its state.
    pub notify: NotifySettings,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawGroup {
    name: Value<String>,
    instances: Value<Vec<Spanned<String>>>,
    notify: Value<Vec<Spanned<String>>>,
    notify_master: Value<Vec<Spanned<String>>>,
    notify_backup: Value<Vec<Spanned<String>>>,
    notify_fault: Value<Vec<Spanned<String>>>,
    notify_stop: Value<Vec<Spanned<String>>>,
    notify_timeout: Value<String>,
    notify_user: Value<String>,
}

impl Check {
    pub(super) fn groups(
        &mut self,
        raw: Vec<Spanned<RawGroup>>,
        instances: &[InstanceSettings],
    ) -> Vec<GroupSettings> {
        let mut groups: Vec<GroupSettings> = Vec::new();
        for raw in raw {
            let span = raw.span();
            if let Some(group) = self.group(raw.into_inner(), &span, instances, &groups) {
                if groups.iter().any(|other| other.name == group.name) {
                    self.wrong(span, format!("two groups are called \"{}\"", group.name));
                }
                groups.push(group);
            }
        }
        groups
    }

    fn group(
        &mut self,
        raw: RawGroup,
        span: &Range<usize>,
        known: &[InstanceSettings],
        earlier: &[GroupSettings],
    ) -> Option<GroupSettings> {
        let name = self.required("group", "name", raw.name, Some(span));
        let name = name.and_then(|name| self.name("the group's name", &name));
        if raw.instances.is_none() {
            self.wrong(span.clone(), "instances is missing in [[group]]");
        }
        if let Some(few) = raw.instances.as_ref().filter(|members| members.get_ref().len() < 2) {
            self.wrong(few.span(), "a group has at least two instances");
        }
        let members = raw.instances.map(Spanned::into_inner).unwrap_or_default();
        let mut instances: Vec<String> = Vec::new();
        for member in members {
            let span = member.span();
            let member = member.into_inner();
            if !known.iter().any(|instance| instance.name == member) {
                let problem =
                    Problem::at(span, format!("there is no instance \"{}\"", member.escape_debug()));
                let near = nearest(&member, known.iter().map(|instance| instance.name.as_str()));
                self.problems.add(match near {
                    Some(near) => problem.hint(format!("did you mean \"{near}\"?")),
                    None => problem,
                });
            } else if instances.contains(&member) {
                self.wrong(span, format!("instance \"{member}\" is listed twice"));
            } else if let Some(other) = earlier.iter().find(|other| other.instances.contains(&member)) {
                self.wrong(span, format!("instance \"{member}\" is in group \"{}\" already", other.name));
            } else {
                instances.push(member);
            }
        }
        let notify = self.notify(RawNotify {
            any: raw.notify,
            master: raw.notify_master,
            backup: raw.notify_backup,
            fault: raw.notify_fault,
            stop: raw.notify_stop,
            timeout: raw.notify_timeout,
            user: raw.notify_user,
        });
        Some(GroupSettings { name: name?, instances, notify })
    }
}
