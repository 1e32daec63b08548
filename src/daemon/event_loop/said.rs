//! What the daemon says when it is asked, and to whom it says by itself how it is.

use super::Loop;
use crate::daemon::control::{Call, Request};
use crate::daemon::instance::Instance;
use crate::daemon::notify::Ran;
use crate::host::clock;
use crate::pg::status_row::NodeStatus;
use crate::promotion::event::{Event, EventKind};
use crate::promotion::supervisor::{Input, Phase, Supervisor};
use crate::units::Moment;
use crate::vrrp::types::State;
use serde_json::{Value, json};

impl Loop {
    pub(super) fn answer(&mut self, now: Moment, Call { request, answer }: Call) {
        let document = match request {
            Request::Status => self.status(),
            Request::Events => json!({
                "schema": 1,
                "node": self.node.name,
                "events": self.edges.recorder.records().collect::<Vec<_>>(),
            }),
            Request::Stats => self.stats(),
            Request::Probe => self.probe(),
            Request::Resign if self.supervisor.is_some() => {
                self.resigning.push(answer);
                self.tell(now, Input::Resign);
                return;
            }
            Request::Resign => self.resign_elections(now),
        };
        // A caller that went away isn't told.
        drop(answer.send(document));
    }

    /// Hands over without a database: farewell, and no return until another had time to take over.
    fn resign_elections(&mut self, now: Moment) -> Value {
        let mut resigned = false;
        for id in self.ids() {
            resigned |= self.act(now, id, |instance, edges| instance.resign(now, edges)).unwrap_or(false);
        }
        if resigned {
            json!({ "schema": 1, "resigned": true })
        } else {
            json!({ "schema": 1, "error": "this node isn't Active" })
        }
    }

    /// Writes down how a program ended.
    pub(super) fn notified(&mut self, ran: &Ran) {
        let main = self.main().is_some_and(|main| main.spec().name == ran.name);
        let text = if main { ran.text.clone() } else { format!("{}: {}", ran.name, ran.text) };
        let kind = if ran.well { EventKind::Notified } else { EventKind::NotifyFailed };
        self.edges.recorder.note(Event::new(kind, text).with("subject", ran.name.as_str()));
    }

    fn stats(&self) -> Value {
        let instances: Vec<Value> = self.instances.values().map(Instance::stats).collect();
        let counters = self.main().map_or_else(|| json!({}), Instance::counters);
        json!({ "schema": 1, "node": self.node.name, "counters": counters, "instances": instances })
    }

    fn probe(&self) -> Value {
        let instances: Vec<Value> =
            self.instances.values().map(|instance| instance.probe(&self.edges)).collect();
        json!({ "schema": 1, "node": self.node.name, "instances": instances })
    }

    fn status(&self) -> Value {
        let name_of = |address| self.node.name_of(self.senders.node_of(address));
        let vrrp = self.main().map(|main| {
            let config = main.router().config();
            json!({
                "state": main.router().state(),
                "priority": config.priority,
                "virtual_router_id": config.vrid,
                "interface": main.spec().link.name,
                "since_ns": main.since(),
                "active_node": main.active(&self.node.name, &name_of),
            })
        });
        let supervisor = self.supervisor.as_ref();
        let phase = match supervisor {
            Some(supervisor) => json!(supervisor.phase()),
            None => json!(if self.holds_any() { "serving" } else { "standby" }),
        };
        let mut instances: Vec<Value> =
            self.instances.values().map(|instance| instance.status(&self.node.name, &name_of)).collect();
        instances.extend(
            self.waiting
                .iter()
                .map(|(name, why)| json!({ "name": name, "state": "INITIALIZE", "reason": why })),
        );
        json!({
            "schema": 1,
            "cluster": self.node.cluster,
            "node": self.node.name,
            "pid": std::process::id(),
            "version": env!("CARGO_PKG_VERSION"),
            "vrrp": vrrp,
            "phase": phase,
            "reason": supervisor.and_then(Supervisor::reason),
            "hint": supervisor.and_then(Supervisor::hint),
            "vips": self.main().map(Instance::vips).unwrap_or_default(),
            "term": supervisor.and_then(Supervisor::term),
            "primary_known": supervisor.and_then(Supervisor::primary_known).map(|known| json!({
                "end": known.end,
                "age_ms": known.age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
            })),
            "instances": instances,
            "upkeep": self.database.as_ref().map(|database| json!({
                "busy": database.tending,
                "trouble": database.upkeep_trouble,
            })),
        })
    }

    fn holds_any(&self) -> bool {
        match self.main() {
            Some(main) => main.is_held(),
            None => self.instances.values().any(Instance::is_held),
        }
    }

    /// Tells systemd and the primary's database how this node is, when that changes.
    pub(super) fn publish(&mut self) {
        let now = clock::now();
        // From the loop itself, so that a loop that hangs is noticed.
        if let (Some(at), Some(interval)) = (self.watchdog, self.notify.watchdog_interval())
            && now >= at
        {
            drop(self.notify.watchdog());
            self.watchdog = Some(now + interval);
        }
        let state = if let Some(main) = self.main() {
            main.router().state().to_string()
        } else {
            let active = self.instances.values().filter(|i| i.router().state() == State::Active).count();
            format!("{active} of {} virtual routers Active", self.instances.len() + self.waiting.len())
        };
        let (phase, reason, hint) = match &self.supervisor {
            Some(supervisor) => (
                serde_json::to_value(supervisor.phase())
                    .ok()
                    .and_then(|phase| phase.as_str().map(str::to_owned))
                    .unwrap_or_default(),
                supervisor.reason().map(str::to_owned),
                supervisor.hint().map(str::to_owned),
            ),
            None => (String::new(), None, None),
        };
        let text = match &reason {
            Some(reason) => format!("{state} {phase}: {reason}"),
            None => format!("{state} {phase}").trim_end().to_owned(),
        };
        if self.told_status != text {
            drop(self.notify.status(&text));
            self.told_status = text;
        }
        // Passing phases last milliseconds; only where the node stays is worth a row.
        let passing = matches!(
            self.supervisor.as_ref().map(Supervisor::phase),
            None | Some(
                Phase::Asking
                    | Phase::Promoting
                    | Phase::TakingUp
                    | Phase::Confirming
                    | Phase::Releasing
                    | Phase::Starting
            )
        );
        if let (false, Some(database)) = (passing, &mut self.database) {
            database.reporter.tell(NodeStatus {
                node: self.node.name.clone(),
                vrrp_state: state,
                phase,
                reason,
                hint,
                config: Some(self.settings.digest.clone()),
            });
        }
    }
}
