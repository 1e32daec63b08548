//! Has every node send probes, and asks every daemon what has arrived: this node's over its control socket, the others'
//! over SSH.

use crate::check::Findings;
use crate::check::arrival::{self, Station};
use crate::daemon::control::{self, Request};
use crate::error::{Error, Result};
use crate::host::clock::{self, Deadline};
use crate::settings::{Node, NodeRole, Settings};
use crate::ssh::session::{self, Exit};
use crate::ssh::target::Target;
use serde_json::Value;
use std::time::Duration;

/// How long an answer over SSH may take beyond the time for the daemon's.
const MARGIN: Duration = Duration::from_secs(2);
/// How often it is asked whether something has arrived at last, and how long between.
const LOOKS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(50);

/// Looks in every direction whether VRRP gets through.
pub(super) fn look(findings: &mut Findings, settings: &Settings, timeout: Duration) {
    let nodes: Vec<&Node> = settings.nodes.iter().filter(|node| node.role == NodeRole::Data).collect();
    let cluster = settings.cluster.name.as_str();
    let counted = || {
        let answers = ask_all(settings, &nodes, Request::Stats, timeout);
        answers.into_iter().map(|answer| arrival::read_counted(&answer?, cluster)).collect::<Vec<_>>()
    };
    let before = counted();
    let sent = ask_all(settings, &nodes, Request::Probe, timeout);
    let mut stations: Vec<Station> = nodes
        .iter()
        .zip(before)
        .zip(sent)
        .map(|((node, before), sent)| Station {
            node: node.name.clone(),
            address: node.address,
            after: before.clone(),
            before,
            sent: sent.and_then(|sent| arrival::read_sent(&sent, cluster)),
        })
        .collect();
    for look in 0..LOOKS {
        if !arrival::is_awaited(&stations) {
            break;
        }
        if look > 0 {
            clock::pause(PAUSE);
        }
        for (station, after) in stations.iter_mut().zip(counted()) {
            station.after = after;
        }
    }
    arrival::judge(findings, &stations);
}

/// Asks all at once; a daemon that can't be asked says why.
fn ask_all(
    settings: &Settings,
    nodes: &[&Node],
    request: Request,
    timeout: Duration,
) -> Vec<std::result::Result<Value, String>> {
    let me = settings.me().ok().map(|me| me.name.as_str());
    let ask = |node: &Node| {
        if me == Some(node.name.as_str()) {
            control::ask(&settings.control_socket(node), request, Deadline::after(timeout))
        } else {
            ask_peer(settings, node, request, timeout)
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = nodes.iter().map(|node| scope.spawn(|| ask(node))).collect();
        threads
            .into_iter()
            .map(|thread| {
                let early = |_| Err(Error::failed("the asking thread ended early"));
                thread.join().unwrap_or_else(early).map_err(|error| error.to_string())
            })
            .collect()
    })
}

fn ask_peer(settings: &Settings, peer: &Node, request: Request, timeout: Duration) -> Result<Value> {
    let place = Target::node(settings, peer)?;
    let verb = if request == Request::Probe { "probe" } else { "stats" };
    let program = &settings.ssh.remote_command;
    let line = format!("{program} --json vrrp {verb} --timeout {}ms", timeout.as_millis());
    let deadline = Deadline::after(timeout.saturating_add(MARGIN));
    let executed = session::with(&place, deadline, move |ssh| ssh.exec(&line))?;
    let understood = |error| Error::failed("its answer can't be understood").detail(error);
    match executed.exit {
        Exit::Code(0) => serde_json::from_slice(&executed.stdout).map_err(understood),
        Exit::Code(69) => Err(Error::failed(format!("the daemon isn't running on {}", peer.name))),
        _ => Err(Error::failed(format!("vrrp {verb} failed on {}", peer.name))
            .detail(String::from_utf8_lossy(&executed.stderr).trim().to_owned())),
    }
}
