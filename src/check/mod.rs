//! `cluster check`: everything that would make a failover, a rebuild or a hand-over fail, found before it does.
//!
//! ```text
//! server, host (edges: SQL, files, netlink, SSH) ─→ facts ─→ rules (pure) ─→ findings ─→ report, --fix
//! ```
//!
//! A rule looks at facts and says what it found, why that matters, and the command that mends it. What can't be looked
//! at is said as such: a check that wasn't made is never a check that passed.

pub mod arrival;
pub mod finding;
pub mod firewall;
pub mod hba;
pub mod host;
mod host_rules;
mod node_rules;
pub mod server;
mod server_rules;
mod standby_names;

pub use finding::{Finding, Findings, Fix, Level, Passed, Skipped};
pub use standby_names::{StandbyNames, parse as parse_standby_names};

use crate::settings::{Node, Settings};
use host::HostFacts;
use server::{NodeSeen, ServerSeen};

/// Judges everything that was seen.
pub fn judge(settings: &Settings, nodes: &[NodeSeen], host: Option<&HostFacts>) -> Findings {
    let mut findings = Findings::default();
    let primary = sole_primary(nodes);
    let me = settings.me().ok().map(|me| me.name.as_str());
    for (node, seen) in settings.nodes.iter().zip(nodes) {
        match &seen.server {
            Ok(server) => {
                server_rules::server(&mut findings, settings, node, server);
                server_rules::rights(&mut findings, settings, node, server, primary);
                node_rules::node(&mut findings, settings, node, server, primary);
            }
            Err(why) => findings.skip("server", Some(&node.name), format!("it can't be asked: {why}")),
        }
        node_rules::replication_connection(&mut findings, me, node, seen);
    }
    node_rules::together(&mut findings, settings, nodes);
    match host {
        Some(host) => {
            let mine = settings.me.and_then(|position| nodes.get(position)?.server.as_ref().ok());
            host_rules::host(&mut findings, settings, host, mine);
        }
        None => {
            findings.skip("host", None, "this machine isn't one of the nodes: run it on each of them too");
        }
    }
    findings.sort();
    findings
}

/// Returns the primary, when exactly one answered.
fn sole_primary(nodes: &[NodeSeen]) -> Option<&ServerSeen> {
    let mut primaries =
        nodes.iter().filter_map(|seen| seen.server.as_ref().ok()).filter(|it| !it.facts.in_recovery);
    let first = primaries.next();
    if primaries.next().is_some() { None } else { first }
}

/// Returns the words for a statement that somebody types on a node.
fn psql(node: &Node, statement: &str) -> String {
    format!("on {}: psql -c \"{}\"", node.name, statement.replace('"', "\\\""))
}
