//! What is wrong with a cluster, found in what its nodes said.
//!
//! Every rule looks at facts only and says what it doesn't know. A hint is a command that exists, or the question
//! whose answer decides.

mod node;
#[cfg(test)]
mod tests;

pub(super) use node::sender_of;

use super::view::{ClusterView, NodeView, Reach, ServerRole, ServerView, VipAnswer};
use crate::pg::lsn::Lsn;
use serde::Serialize;

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// A stable word for programs: `no-primary`.
    pub code: &'static str,
    /// The node it is about; `None`: the cluster as a whole.
    pub node: Option<String>,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, lower case, without a full stop.
    pub message: String,
    /// A command to run, or the question to answer.
    pub hint: String,
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Clients can't write, or data is in danger.
    Critical,
    /// The cluster serves, but the next fault may hurt.
    Warning,
    /// Not as it should be set up; doesn't make the cluster unhealthy.
    Note,
}

/// Finds what is wrong; the worst first, then in the order of the nodes.
pub fn problems(view: &ClusterView) -> Vec<Problem> {
    let mut found = Finder { view, problems: Vec::new() };
    found.primaries();
    found.paused();
    found.system_ids();
    found.vips();
    for node in &view.nodes {
        found.reach(node);
        found.needs_check(node);
        found.daemon(node);
        if let Some(server) = &node.server {
            match server.role {
                ServerRole::Standby => found.standby(node, server),
                ServerRole::Primary => found.primary(node, server),
            }
            found.setup(node, server);
        }
    }
    found.problems.sort_by_key(|problem| problem.severity);
    found.problems
}

struct Finder<'a> {
    view: &'a ClusterView,
    problems: Vec<Problem>,
}

impl Finder<'_> {
    fn add(
        &mut self,
        severity: Severity,
        code: &'static str,
        node: Option<&NodeView>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let node = node.map(|node| node.name.clone());
        self.problems.push(Problem { code, node, severity, message: message.into(), hint: hint.into() });
    }

    /// A pause that is forgotten is found when the failover doesn't come.
    fn paused(&mut self) {
        let servers = || self.view.nodes.iter().filter_map(|node| node.server.as_ref());
        let primary = servers().find(|server| server.role == ServerRole::Primary);
        let Some(pause) = primary.or_else(|| servers().next()).and_then(|server| server.pause.clone()) else {
            return;
        };
        let since = pause
            .since_seconds
            .map_or_else(String::new, |seconds| format!(" for {}", super::render::ago(seconds)));
        self.add(
            Severity::Warning,
            "paused",
            None,
            format!("paused{since} ({}): nothing is promoted, stopped or rebuilt by itself", pause.reason),
            "when the maintenance is over: pgbaton cluster resume",
        );
    }

    fn primaries(&mut self) {
        let asked = self.view.nodes.iter().any(|node| node.reach != Reach::NotAsked);
        let primaries: Vec<(&NodeView, &ServerView)> = self.view.primaries().collect();
        match primaries.as_slice() {
            [] if asked => self.no_primary(),
            [] | [_] => {}
            several => {
                let newest = several.iter().max_by_key(|(_, server)| age_of_data(server));
                let named: Vec<String> = several
                    .iter()
                    .map(|(node, server)| match &server.epoch {
                        Some(epoch) => format!("{} (term {})", node.name, epoch.term),
                        None => format!("{} (timeline {}, no term)", node.name, server.timeline),
                    })
                    .collect();
                let terms: Vec<_> = several.iter().map(|(_, server)| term_of(server)).collect();
                let clear = newest
                    .filter(|(_, server)| terms.iter().filter(|term| **term >= term_of(server)).count() == 1);
                let hint = match clear {
                    Some((node, _)) => {
                        let others: Vec<&str> = several
                            .iter()
                            .filter(|(other, _)| other.name != node.name)
                            .map(|(other, _)| other.name.as_str())
                            .collect();
                        format!(
                            "{} has the newest term; stop PostgreSQL on {} now: pg_ctl stop -m fast",
                            node.name,
                            others.join(" and ")
                        )
                    }
                    None => {
                        "to which of them did clients write last? stop the other now: pg_ctl stop -m fast"
                            .to_owned()
                    }
                };
                let message = format!("{} primaries: {}", several.len(), named.join(", "));
                self.add(Severity::Critical, "two-primaries", None, message, hint);
            }
        }
    }

    fn no_primary(&mut self) {
        let silent: Vec<&str> = self
            .view
            .nodes
            .iter()
            .filter(|node| !node.spare && node.server.is_none() && node.reach != Reach::NotAsked)
            .map(|node| node.name.as_str())
            .collect();
        let best = self
            .view
            .servers()
            .filter(|(node, server)| !node.spare && server.role == ServerRole::Standby)
            .max_by_key(|(_, server)| (age_of_data(server), held(server)));
        let message = if silent.is_empty() {
            "no node is the primary".to_owned()
        } else {
            format!("no node that answers is the primary; {} can't be asked", silent.join(" and "))
        };
        let hint = match (best, silent.as_slice()) {
            (None, _) => "does any host of the cluster run, and can this one reach it?".to_owned(),
            (Some((node, _)), []) => format!("on {}: pgbaton pg promote --dry-run", node.name),
            (Some((node, _)), silent) => format!(
                "is PostgreSQL on {} really stopped? then on {}: pgbaton pg promote --dry-run",
                silent.join(" and "),
                node.name
            ),
        };
        self.add(Severity::Critical, "no-primary", None, message, hint);
    }

    fn system_ids(&mut self) {
        let ours = self.view.primary().and_then(|node| node.server.as_ref()).map(|server| &server.system_id);
        let Some(ours) = ours.or_else(|| self.view.servers().next().map(|(_, server)| &server.system_id))
        else {
            return;
        };
        let strangers: Vec<(&NodeView, &ServerView)> =
            self.view.servers().filter(|(_, server)| server.system_id != *ours).collect();
        for (node, server) in strangers {
            self.add(
                Severity::Critical,
                "other-system",
                Some(node),
                format!("belongs to another cluster: system id {}, not {ours}", server.system_id),
                "are address and port of this node right? if so, it must be made anew from the primary",
            );
        }
    }

    fn vips(&mut self) {
        for vip in &self.view.vips {
            let address = &vip.address;
            let (code, message, hint) = match &vip.answer {
                VipAnswer::NotAsked => continue,
                VipAnswer::Node { node } => {
                    let Some(server) =
                        self.view.servers().find(|(other, _)| other.name == *node).map(|(_, server)| server)
                    else {
                        continue;
                    };
                    if server.role == ServerRole::Primary {
                        continue;
                    }
                    (
                        "vip-on-standby",
                        format!("{address} is on {node}, which isn't the primary"),
                        format!("on {node}: pgbaton vip down"),
                    )
                }
                VipAnswer::Stranger { detail } => (
                    "vip-on-stranger",
                    format!("behind {address} answers a server that is none of the nodes ({detail})"),
                    "which machine has the address? \"ip neigh\" shows its MAC address".to_owned(),
                ),
                VipAnswer::Nobody { detail } => {
                    let hint = match self.view.primary() {
                        Some(node) => format!("on {}: pgbaton vrrp status", node.name),
                        None => "there has to be a primary first".to_owned(),
                    };
                    ("vip-nowhere", format!("nobody answers behind {address} ({detail})"), hint)
                }
                VipAnswer::Unknown { detail } => {
                    let message = format!("it can't be told who answers behind {address} ({detail})");
                    let hint = "may the configured role connect through the virtual IP?";
                    self.add(Severity::Warning, "vip-unknown", None, message, hint);
                    continue;
                }
            };
            self.add(Severity::Critical, code, None, message, hint);
        }
        for vip in &self.view.vips {
            let holders: Vec<&str> = self
                .view
                .nodes
                .iter()
                .filter(|node| {
                    let held = node.daemon.told().and_then(|told| told.held.as_ref());
                    held.is_some_and(|held| held.contains(&vip.address))
                })
                .map(|node| node.name.as_str())
                .collect();
            if holders.len() > 1 {
                self.add(
                    Severity::Critical,
                    "vip-twice",
                    None,
                    format!("{} is held by {}", vip.address, holders.join(" and ")),
                    "on the one that isn't the primary: pgbaton vip down",
                );
            }
        }
    }
}

fn term_of(server: &ServerView) -> Option<u64> {
    server.epoch.as_ref().map(|epoch| epoch.term)
}

/// What orders two servers by how new their data is.
fn age_of_data(server: &ServerView) -> (Option<u64>, u32) {
    (term_of(server), server.timeline.get())
}

/// Returns the end of what a server has.
fn held(server: &ServerView) -> Lsn {
    server.received_lsn.map_or(server.lsn, |received| received.max(server.lsn))
}

/// Returns a size as people say it.
pub(super) fn bytes(size: u64) -> String {
    let units = [("GB", 1_u64 << 30), ("MB", 1 << 20), ("kB", 1 << 10)];
    for (unit, scale) in units {
        if size >= scale {
            let (whole, tenth) = (size / scale, size % scale * 10 / scale);
            return if whole >= 10 || tenth == 0 {
                format!("{whole} {unit}")
            } else {
                format!("{whole}.{tenth} {unit}")
            };
        }
    }
    format!("{size} B")
}
