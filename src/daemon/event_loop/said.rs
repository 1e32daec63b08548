//! What the daemon says when it is asked, and to whom it says by itself how it is.

use super::Loop;
use crate::daemon::control::{Call, Request};
use crate::host::clock;
use crate::pg::status_row::NodeStatus;
use crate::promotion::supervisor::{Input, Phase, Supervisor};
use crate::units::Moment;
use crate::vrrp::event::Resign;
use crate::vrrp::types::State;
use serde_json::{Value, json};

impl Loop {
    pub(super) fn answer(&mut self, now: Moment, Call { request, answer }: Call) {
        let document = match request {
            Request::Status => self.status(),
            Request::Events => json!({
                "schema": 1,
                "node": self.node.name,
                "events": self.recorder.records().collect::<Vec<_>>(),
            }),
            Request::Stats => {
                let counters: serde_json::Map<String, Value> =
                    self.router.stats().iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
                json!({ "schema": 1, "node": self.node.name, "counters": counters })
            }
            Request::Resign if self.supervisor.is_some() => {
                self.resigning.push(answer);
                self.tell(now, Input::Resign);
                return;
            }
            Request::Resign => self.resign_election(now),
        };
        // A caller that went away isn't told.
        drop(answer.send(document));
    }

    /// Hands over without a database: farewell, and no return until another had time to take over.
    fn resign_election(&mut self, now: Moment) -> Value {
        let hold = self.router.down_interval() * 2;
        let was_active = self.router.state() == State::Active;
        if was_active {
            self.drop_vips("resigned");
        }
        self.router.resign(now, Resign { farewell: true, hold: Some(hold) });
        self.drain(now);
        if was_active {
            json!({ "schema": 1, "resigned": true })
        } else {
            json!({ "schema": 1, "error": "this node isn't Active" })
        }
    }

    fn status(&self) -> Value {
        let config = self.router.config();
        let active = match self.router.state() {
            State::Active => Some(self.node.name.clone()),
            State::Backup if !self.router.is_suspecting() => {
                self.router.last_heard().map(|heard| self.node.name_of(heard.from))
            }
            _ => None,
        };
        let supervisor = self.supervisor.as_ref();
        let phase = match supervisor {
            Some(supervisor) => json!(supervisor.phase()),
            None => json!(if self.held { "serving" } else { "standby" }),
        };
        let vips: Vec<Value> =
            self.node.vips.iter().map(|vip| json!({ "address": vip.address, "held": self.held })).collect();
        json!({
            "schema": 1,
            "cluster": self.node.cluster,
            "node": self.node.name,
            "pid": std::process::id(),
            "version": env!("CARGO_PKG_VERSION"),
            "vrrp": {
                "state": self.router.state().to_string(),
                "priority": config.priority.0,
                "virtual_router_id": config.vrid.get(),
                "interface": self.node.link.name,
                "since_ns": self.state_since,
                "active_node": active,
            },
            "phase": phase,
            "reason": supervisor.and_then(Supervisor::reason),
            "hint": supervisor.and_then(Supervisor::hint),
            "vips": vips,
            "term": supervisor.and_then(Supervisor::term),
        })
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
        let state = self.router.state().to_string();
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
            None => format!("{state} {phase}"),
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
            });
        }
    }
}
