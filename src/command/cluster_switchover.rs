//! `cluster switchover`: hand the service to another node on purpose, without losing anything.
//!
//! Run on the node that serves. What could go wrong is looked at first; then the daemon takes the virtual IP down, stops
//! PostgreSQL, which sends the standbys all it has, and says farewell; the other node promotes. When nobody takes
//! over in time, this node's server is started again and its daemon takes the service back.

use super::cluster_pause::primary;
use super::pg_promote::settings;
use crate::cli::{ClusterSwitchover, Globals};
use crate::daemon::control::Request;
use crate::daemon::setup::{self, ask_daemon};
use crate::error::{Error, Kind, Result};
use crate::host::clock::{self, Deadline};
use crate::host::process::run_spawn;
use crate::host::spawn::Spawn;
use crate::output::Out;
use crate::output::report::{Report, StepReport, StepStatus};
use crate::pg::conn::Session;
use crate::pg::epoch::Term;
use crate::pg::facts::{self, ServerFacts};
use crate::pg::gates::PeerAnswer;
use crate::pg::peers::Peers;
use crate::pg::{promote, target};
use crate::settings::{NodeRole, Settings};
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

/// How far a candidate's log may be behind before it is asked for the service.
const MOST_BEHIND: u64 = 16 * 1024 * 1024;
const LOOK: Duration = Duration::from_millis(10);

pub(super) fn run(globals: &Globals, args: &ClusterSwitchover, out: &Out) -> Result<()> {
    let mut settings = settings(globals)?
        .ok_or_else(|| Error::config("there is no configuration").hint("pgbaton generate config"))?;
    let deadline = Deadline::after(args.timeout);
    let peers = setup::peers(&settings, "cluster switchover");
    let before = observe(&mut settings, deadline)?;
    let candidate = candidate(&settings, &peers, &before, args.to.as_deref(), deadline)?;
    let node = settings.me()?.name.clone();
    let mut report = Report::new("cluster switchover");
    let goal = format!("{candidate} serves, and {node} is its standby");
    let describe = [
        ("checkpoint", "write a checkpoint, so that the stop is quick".to_owned()),
        ("resign", format!("take the virtual IP down on {node}, stop PostgreSQL, say farewell")),
        ("take-over", format!("wait until {candidate} is the primary of a new term")),
        ("rejoin", format!("make {node} a standby of {candidate}")),
    ];
    if args.dry_run.dry_run {
        report.dry_run = true;
        report.changed = true;
        report.msg = format!("would make it so that {goal}");
        report.steps = describe
            .iter()
            .map(|(name, text)| StepReport::new(name, text.clone(), StepStatus::Planned))
            .collect();
        return out.report(&report);
    }
    let spinner = out.spinner(&format!("handing over to {candidate}"));
    let done = hand_over(globals, &mut settings, &peers, &before, args.timeout, deadline);
    drop(spinner);
    let reached = match &done {
        Ok(()) => describe.len(),
        Err((step, _)) => *step,
    };
    report.steps = describe
        .iter()
        .enumerate()
        .map(|(position, (name, text))| {
            let status = match position.cmp(&reached) {
                std::cmp::Ordering::Less => StepStatus::Done,
                std::cmp::Ordering::Equal => StepStatus::Failed,
                std::cmp::Ordering::Greater => StepStatus::Skipped,
            };
            StepReport::new(name, text.clone(), status)
        })
        .collect();
    report.changed = reached > 1;
    report.extra.insert("candidate".to_owned(), json!(candidate));
    match done {
        Ok(()) => {
            report.msg = goal;
            out.report(&report)
        }
        Err((_, error)) => {
            report.fail(&error);
            out.report(&report)?;
            Err(error)
        }
    }
}

/// Looks at the local server and daemon: only a node that serves can hand over.
fn observe(settings: &mut Settings, deadline: Deadline) -> Result<ServerFacts> {
    let status = ask_daemon(settings, Request::Status, Duration::from_secs(2))?;
    let me = settings.me()?;
    if status.get("phase").and_then(Value::as_str) != Some("serving") {
        let error = Error::refused(format!("{} doesn't serve", me.name));
        return Err(match primary(settings, "cluster switchover", deadline) {
            Ok((node, _)) => error.hint(format!("run this on {node}, which is the primary")),
            Err(_) => error.hint("pgbaton cluster status"),
        });
    }
    let postgres = settings.postgres_of(me).ok_or_else(|| Error::config("no PostgreSQL is configured"))?;
    let mut session = Session::connect(&target::local(&postgres, "cluster switchover"), deadline)?;
    Ok(facts::observe(&mut session, deadline)?)
}

/// Chooses the node that will be the next primary, and refuses when it couldn't be.
fn candidate(
    settings: &Settings,
    peers: &Peers,
    before: &ServerFacts,
    wanted: Option<&str>,
    deadline: Deadline,
) -> Result<String> {
    let mut electable: Vec<_> = settings.peers().filter(|peer| peer.role == NodeRole::Data).collect();
    electable.sort_by_key(|peer| std::cmp::Reverse(peer.priority));
    if let Some(wanted) = wanted
        && !electable.iter().any(|peer| peer.name == wanted)
    {
        return Err(Error::new(
            Kind::Usage,
            format!("{wanted} isn't a data node of this cluster besides this one"),
        ));
    }
    let mut refusals = Vec::new();
    for node in electable {
        let Some(peer) = peers.get(&node.name) else { continue };
        let view = peer.ask(deadline.within(Duration::from_secs(2)));
        let streams = before.replication.iter().find(|standby| standby.application_name == node.name);
        let refusal = match (&view.answer, streams) {
            (PeerAnswer::Standby(server), Some(_)) => {
                let behind = before.end().unwrap_or_default().ahead_of(server.end.unwrap_or_default());
                if behind > MOST_BEHIND {
                    Some(format!("it is {behind} bytes behind"))
                } else if server.term != before.epoch.as_ref().map(|epoch| epoch.term) {
                    Some("its data is of another term".to_owned())
                } else if view.register.unfit {
                    Some("its data was replaced and hasn't caught up yet".to_owned())
                } else {
                    None
                }
            }
            (PeerAnswer::Standby(_), None) => Some("it doesn't stream from this node".to_owned()),
            (answer, _) => Some(answer.to_string()),
        };
        match refusal {
            // The daemons elect by priority: the first that can is the one that will.
            None if wanted.is_none_or(|wanted| wanted == node.name) => return Ok(node.name.clone()),
            None => {
                return Err(Error::refused(format!(
                    "{} would take over, not {}: its priority is higher",
                    node.name,
                    wanted.unwrap_or_default()
                ))
                .hint(format!("stop the daemon on {} first", node.name)));
            }
            Some(why) => refusals.push(format!("{}: {why}", node.name)),
        }
    }
    Err(Error::refused("no node can take over").detail(refusals.join("; ")).hint("pgbaton cluster status"))
}

/// The steps, in order; an error comes with the number of the step it is of.
fn hand_over(
    globals: &Globals,
    settings: &mut Settings,
    peers: &Peers,
    before: &ServerFacts,
    timeout: Duration,
    deadline: Deadline,
) -> std::result::Result<(), (usize, Error)> {
    let me = settings.me().map_err(|error| (0, error))?.clone();
    let term = before.epoch.as_ref().map(|epoch| epoch.term).unwrap_or_default();
    if let Some(postgres) = settings.postgres_of(&me) {
        let session = Session::connect(&target::local(&postgres, "cluster switchover"), deadline);
        session
            .map_err(Error::from)
            .and_then(|mut session| promote::checkpoint(&mut session, deadline))
            .map_err(|error| (0, error))?;
    }
    let answer = ask_daemon(settings, Request::Resign, deadline.left()).map_err(|error| (1, error))?;
    if let Some(why) = answer.get("error").and_then(Value::as_str) {
        return Err((1, Error::failed("the node didn't hand over").detail(why).hint("pgbaton vrrp status")));
    }
    let Some(successor) = await_successor(peers, term, deadline) else {
        // Nobody took over: the server is started again as a standby, and the daemon asks for the service itself.
        let back = rebuild(globals, &me.name, None, timeout);
        let error = Error::new(Kind::TryAgain, "nobody took over in time; this node takes the service back");
        let error = match back {
            Ok(()) => error,
            Err(why) => error.detail(why),
        };
        return Err((2, error.hint("pgbaton cluster status")));
    };
    rebuild(globals, &me.name, Some(&successor), timeout).map_err(|error| (3, error.with_kind(Kind::Partial)))
}

/// Waits until another node is the primary of a newer term; returns its name.
fn await_successor(peers: &Peers, term: Term, deadline: Deadline) -> Option<String> {
    while !deadline.passed() {
        let found = peers.iter().find_map(|peer| {
            let view = peer.ask(deadline.within(Duration::from_secs(1)));
            match &view.answer {
                PeerAnswer::Primary(server) if server.term.is_some_and(|newer| newer > term) => {
                    Some(view.node)
                }
                _ => None,
            }
        });
        if found.is_some() {
            return found;
        }
        clock::pause(LOOK);
    }
    None
}

/// Runs `pg rebuild-standby` for this node; with no primary named, starts the server as it is. A daemon that rejoins by
/// itself may be at it already: then that run is waited for.
fn rebuild(globals: &Globals, node: &str, from: Option<&str>, within: Duration) -> Result<()> {
    let deadline = Deadline::after(within);
    loop {
        let mut command = Command::new("/proc/self/exe");
        if let Some(config) = &globals.config {
            command.arg("--config").arg(config);
        }
        command.args(["--node", node, "--json", "pg", "rebuild-standby"]);
        match from {
            Some(from) => command.args(["--from", from]),
            None => command.arg("--start-only"),
        };
        let output = run_spawn(Spawn::new(command), Deadline::after(within))?;
        let again = output.status.code() == Some(i32::from(Kind::TryAgain.exit_code()));
        if output.status.success() {
            return Ok(());
        }
        if !again || deadline.passed() {
            return Err(Error::failed(format!("{node} isn't a standby yet"))
                .detail(output.complaint())
                .hint("pgbaton pg rebuild-standby"));
        }
        clock::pause(Duration::from_millis(200));
    }
}
