//! What a virtual router says: to the log, to programs, and when somebody asks.

use super::{Edges, Faults, Instance, Place, Told};
use crate::daemon::notify::{News, Subject};
use crate::promotion::event::Event;
use crate::units::Moment;
use crate::vrrp::types::State;
use serde_json::{Map, Value, json};
use std::net::IpAddr;

/// How many probes are sent at once: one may be lost without anything being wrong.
const PROBES: u32 = 3;

impl Instance {
    pub(super) fn labelled(&self, text: &str) -> String {
        if self.spec.main { text.to_owned() } else { format!("{}: {text}", self.spec.name) }
    }

    /// Tells the programs and the FIFO.
    pub(super) fn tell(&self, change: Told, edges: &mut Edges) {
        let priority = self.router.config().priority.0;
        let news = News { subject: Subject::Instance, name: &self.spec.name, change, priority };
        if let Some(complaint) = edges.notifier.tell(news, &self.spec.notify) {
            edges.recorder.warn(&self.labelled(&complaint));
        }
    }

    pub(super) fn note(&self, mut event: Event, edges: &mut Edges) {
        if !self.spec.main {
            event.text = self.labelled(&event.text);
            event = event.with("instance", self.spec.name.as_str());
        }
        edges.recorder.note(event);
    }

    /// Returns why it is out of the election, in words.
    pub(in crate::daemon) fn fault(&self) -> Option<&str> {
        match self.faults {
            Faults { address: true, .. } => {
                Some("a virtual IP was removed by someone else; SIGHUP ends the fault")
            }
            Faults { link: true, .. } => Some("the link is down"),
            Faults { source: true, .. } => Some("the address that adverts come from is gone"),
            Faults { depends: true, .. } => self.depends.fault.as_deref().or(self.depends.waits.as_deref()),
            Faults { group: true, .. } => Some("another router of its group is out of the election"),
            _ => None,
        }
    }

    /// Returns who is Active as far as this router knows; `own` is what it calls itself.
    pub(in crate::daemon) fn active(&self, own: &str, name_of: &dyn Fn(IpAddr) -> String) -> Option<String> {
        match self.router.state() {
            State::Active => Some(own.to_owned()),
            State::Backup if !self.router.is_suspecting() => {
                self.router.last_heard().map(|heard| name_of(heard.from))
            }
            _ => None,
        }
    }

    pub(in crate::daemon) fn vips(&self) -> Vec<Value> {
        let each = |place: &Place| json!({ "address": place.vip.address, "held": self.held });
        self.spec.vips.iter().map(each).collect()
    }

    pub(in crate::daemon) const fn since(&self) -> Moment {
        self.since
    }

    /// Returns what `vrrp status` shows of it.
    pub(in crate::daemon) fn status(&self, own: &str, name_of: &dyn Fn(IpAddr) -> String) -> Value {
        let mut document = self.identity();
        let config = self.router.config();
        let more = [
            ("state", json!(self.router.state())),
            ("priority", json!(config.priority)),
            ("version", json!(config.version.number())),
            ("source", json!(config.source)),
            ("peers", json!(self.spec.peers)),
            ("advert_interval_ms", json!(config.interval.as_duration().as_millis())),
            ("active_interval_ms", json!(self.router.active_interval().as_duration().as_millis())),
            ("since_ns", json!(self.since)),
            ("active", json!(self.active(own, name_of))),
            ("reason", json!(self.fault())),
            ("vips", json!(self.vips())),
            ("group", json!(self.spec.group)),
            (
                "vmac",
                json!(self.spec.vmac.as_ref().map(|vmac| json!({ "interface": vmac.name, "mac": vmac.mac }))),
            ),
        ];
        document.extend(more.map(|(key, value)| (key.to_owned(), value)));
        Value::Object(document)
    }

    /// Returns what `vrrp stats` shows of it.
    pub(in crate::daemon) fn stats(&self) -> Value {
        let mut document = self.identity();
        document.insert("state".to_owned(), json!(self.router.state()));
        document.insert("priority".to_owned(), json!(self.router.config().priority));
        document.insert("counters".to_owned(), self.counters());
        let probes: Map<String, Value> =
            self.router.stats().probes().map(|(from, count)| (from.to_string(), count.into())).collect();
        document.insert("probes".to_owned(), probes.into());
        Value::Object(document)
    }

    /// Sends probes the way that adverts take; returns what `vrrp probe` shows of that.
    pub(in crate::daemon) fn probe(&self, edges: &Edges) -> Value {
        let silent = self.vmac.as_ref().is_some_and(|(_, up)| !up);
        let (sent, failed) = edges.probe(self.socket, &self.spec, silent, PROBES);
        let mut document = self.identity();
        document.insert("source".to_owned(), json!(self.router.config().source));
        let sent: Map<String, Value> = sent.into_iter().map(|(to, n)| (to.to_string(), n.into())).collect();
        document.insert("sent".to_owned(), sent.into());
        document.insert("failed".to_owned(), json!(failed.map(|error| error.to_string())));
        Value::Object(document)
    }

    /// Returns the counters.
    pub(in crate::daemon) fn counters(&self) -> Value {
        let mut counters: Map<String, Value> =
            self.router.stats().iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        counters.insert("adverts_unsent".to_owned(), self.unsent.into());
        Value::Object(counters)
    }

    fn identity(&self) -> Map<String, Value> {
        let config = self.router.config();
        let values = [
            ("name", json!(self.spec.name)),
            ("guarded", json!(self.is_guarded())),
            ("interface", json!(self.spec.link.name)),
            ("virtual_router_id", json!(config.vrid.get())),
            ("family", json!(if config.source.is_ipv4() { "ipv4" } else { "ipv6" })),
        ];
        values.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}
