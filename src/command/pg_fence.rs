//! `pg fence`: the end of a server that must not go on, here or on another node, with a proof.
//!
//! settings → observe (addresses, data directory) → plan → apply → look again. The other node is asked over SSH to run
//! this same verb; what it prints is believed only when it is the proof.

use crate::cli::{Fence, Globals};
use crate::command::{finish, pg_promote};
use crate::error::{Error, Kind, Result};
use crate::host::clock::{Deadline, wall};
use crate::net::caps;
use crate::net::netlink::Netlink;
use crate::output::Out;
use crate::output::report::{Report, StepReport, StepStatus};
use crate::pg::local::LocalServer;
use crate::pg::lsn::SystemId;
use crate::pg::server::{DataDirectory, Stopped};
use crate::pg::target;
use crate::plan::apply::World;
use crate::plan::build::{self, Fencing, StopBounds, Vip, VipSeen};
use crate::plan::step::NeedsCheck;
use crate::settings::{self, Node, PostgresSettings, Settings, parse};
use crate::ssh::session::{self, Executed, Exit};
use crate::ssh::{quote, target::Target};
use serde_json::{Map, Value, json};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a stop of either kind may take when nothing else is said.
const STOP: Duration = Duration::from_secs(5);
/// What a SIGKILL, the look at the processes and the way there and back may take beyond that.
const MARGIN: Duration = Duration::from_secs(30);
/// How much of the other node's words is shown.
const SHOWN: usize = 400;

pub(super) fn run(globals: &Globals, args: &Fence, out: &Out) -> Result<()> {
    let mut settings = Settings::load_if_present(&globals.overrides())?;
    let local: Vec<IpAddr> =
        Netlink::open()?.addresses()?.iter().map(|address| address.address.address()).collect();
    if let Some(settings) = &mut settings {
        if settings.me.is_none()
            && let Err(error) = settings.find_me(&local)
            && args.data_directory.is_none()
        {
            return Err(error.hint("or name the data directory with --data-directory"));
        }
        if let Some(node) = settings.me().ok().filter(|node| !local.contains(&node.address)) {
            if args.data_directory.is_some() {
                // Whichever was meant, fencing the wrong one of two servers is an outage.
                let message =
                    format!("{} is another machine, and --data-directory is a folder of this one", node.name);
                return Err(Error::new(Kind::Usage, message).hint(
                    "leave out --node and PGBATON_NODE, or --data-directory and PGBATON_DATA_DIRECTORY",
                ));
            }
            return remote(settings, node, &local, args, out);
        }
    } else if globals.node.is_some() && args.data_directory.is_none() {
        return Err(Error::config("without a configuration it isn't known where that node is")
            .hint("name the configuration with --config FILE"));
    }
    here(settings.as_ref(), args, out)
}

/// Fences the local server.
fn here(settings: Option<&Settings>, args: &Fence, out: &Out) -> Result<()> {
    let me = settings.and_then(|settings| settings.me().ok());
    let configured = settings.zip(me).and_then(|(settings, me)| settings.postgres_of(me));
    let stop = stop_bounds(configured.as_ref(), args);
    let path = args.data_directory.clone().or_else(|| configured.map(|postgres| postgres.data_directory));
    let path: PathBuf = path.ok_or_else(|| {
        Error::config("no PostgreSQL is configured")
            .hint("add a [postgres] section with data_directory, or pass --data-directory")
    })?;
    let node = me.map_or_else(pg_promote::hostname, |me| me.name.clone());
    let data = DataDirectory::open(&path)?;
    let system_id = data.system_id()?;
    if let Some(other) = args.system_id.map(SystemId).filter(|id| *id != system_id) {
        return Err(Error::refused(format!("{} is of another cluster", data.path().display()))
            .detail(format!("its system identifier is {system_id}, not {other}")));
    }
    // No connection is ever made: a server that hangs can be fenced, too.
    let conn = target::local(&PostgresSettings::new(path), "pg fence");
    let server = LocalServer::new(&node, conn, data.clone());
    let facts = Fencing {
        mark: NeedsCheck { schema: 1, node: node.clone(), at: wall().as_secs(), reason: args.reason.clone() },
        marked: server.read_needs_check()?.is_some(),
        protected: data.has_standby_signal(),
        running: is_running(&data)?,
        stop,
    };
    let vips = vips_here(settings)?;
    let plan = build::fence(&facts, &vips);
    if args.dry_run.dry_run {
        return finish::dry_run(out, &plan);
    }
    if !vips.is_empty() {
        // Before anything is touched: half a fence would leave the address without its server.
        caps::require_net_admin()?;
    }
    let mut world = World::with_server(server);
    let deadline = Deadline::after(stop.fast + stop.immediate + MARGIN);
    finish::apply_then(out, &plan, &mut world, deadline, |world| {
        look_again(world, &data, &node, system_id, settings)
    })
}

fn stop_bounds(postgres: Option<&PostgresSettings>, args: &Fence) -> StopBounds {
    let usual = postgres.map_or(STOP, |postgres| postgres.stop_timeout);
    StopBounds {
        fast: args.fast_timeout.unwrap_or(usual),
        immediate: args.immediate_timeout.unwrap_or(usual),
    }
}

fn is_running(data: &DataDirectory) -> Result<bool> {
    Ok(data.postmaster()?.is_some() || !data.processes()?.is_empty())
}

/// Finds the configured virtual IPs that this machine has, on whatever interface.
fn vips_here(settings: Option<&Settings>) -> Result<Vec<(Vip, VipSeen)>> {
    let Some(settings) = settings else { return Ok(Vec::new()) };
    let mut netlink = Netlink::open()?;
    let (addresses, links) = (netlink.addresses()?, netlink.links()?);
    let mut found = Vec::new();
    for vip in &settings.vips {
        for there in addresses.iter().filter(|there| there.address.address() == vip.address.address()) {
            let Some(link) = links.iter().find(|link| link.index == there.index) else { continue };
            let vip = Vip {
                address: there.address,
                interface: link.name.clone(),
                label: vip.label.clone(),
                lease: vip.lease,
            };
            found.push((vip, VipSeen { present: true }));
        }
    }
    Ok(found)
}

/// The proof: what is so now, not what was done.
fn look_again(
    world: &World,
    data: &DataDirectory,
    node: &str,
    system_id: SystemId,
    settings: Option<&Settings>,
) -> (Map<String, Value>, Option<Error>) {
    let left = data.processes().and_then(|left| Ok((left, data.postmaster()?.is_some())));
    let vips =
        vips_here(settings).map(|vips| vips.into_iter().map(|(vip, _)| vip.address).collect::<Vec<_>>());
    let how = match world.stopped().map_or(Stopped::NotRunning, |report| report.how) {
        Stopped::NotRunning => "not-running",
        Stopped::Fast => "fast",
        Stopped::Immediate => "immediate",
        Stopped::Killed => "killed",
    };
    let mut extra = Map::new();
    let mut add = |key: &str, value: Value| drop(extra.insert(key.to_owned(), value));
    add("node", json!(node));
    add("system_id", json!(system_id));
    add("data_directory", json!(data.path()));
    add("how", json!(how));
    add("protected", json!(data.has_standby_signal()));
    add("vips_left", json!(vips.as_ref().ok()));
    let stopped = matches!(&left, Ok((left, false)) if left.is_empty());
    add("stopped", json!(stopped));
    add("processes_left", json!(left.as_ref().ok().map(|(left, _)| left.len())));
    let wrong = match (left, vips) {
        (Err(error), _) | (_, Err(error)) => Some(error.with_kind(Kind::TryAgain)),
        (Ok((left, _)), _) if !stopped => Some(
            Error::new(Kind::Partial, "PostgreSQL is running: it was not stopped, or was started again")
                .detail(format!("processes {left:?}"))
                .hint("does a service manager start it? stop its unit, then run this again"),
        ),
        (_, Ok(vips)) if !vips.is_empty() => Some(
            Error::new(Kind::Partial, "PostgreSQL is stopped, but a virtual IP is on this machine")
                .detail(format!("{vips:?}"))
                .hint("pgbaton vip down"),
        ),
        _ => None,
    };
    (extra, wrong)
}

/// Asks another node to fence itself.
fn remote(settings: &Settings, node: &Node, local: &[IpAddr], args: &Fence, out: &Out) -> Result<()> {
    let place = Target::node(settings, node)?;
    let describe = format!("ask {} ({}) to fence itself over SSH", node.name, place.place());
    let mut report = Report::new("pg fence");
    let expected = expected_system_id(settings, local, args)?;
    if args.dry_run.dry_run {
        report.dry_run = true;
        report.changed = true;
        report.msg = format!("would ask {} to fence itself", node.name);
        report.steps = vec![StepReport::new("fence-remote", describe, StepStatus::Planned)];
        return out.report(&report);
    }
    let stop = stop_bounds(settings.postgres_of(node).as_ref(), args);
    let line = command_line(settings, args, stop, expected);
    let deadline = Deadline::after(place.connect_timeout + stop.fast + stop.immediate + MARGIN);
    let document = session::with(&place, deadline, move |ssh| ssh.exec(&line))
        .and_then(|executed| proof(&executed, &node.name, expected));
    let document = document.map_err(|error| {
        let kind = if error.kind() == Kind::Failed { Kind::TryAgain } else { error.kind() };
        error.with_kind(kind).detail(format!("{} isn't known to be fenced", node.name))
    })?;
    report.changed = document.get("changed").and_then(Value::as_bool).unwrap_or(true);
    report.msg = format!("PostgreSQL on {} is stopped and fenced", node.name);
    let status = if report.changed { StepStatus::Done } else { StepStatus::Unchanged };
    report.steps = vec![StepReport::new("fence-remote", describe, status)];
    for key in ["node", "system_id", "stopped", "processes_left", "how"] {
        report.add(key, document.get(key).cloned().unwrap_or(Value::Null));
    }
    report.add("remote", document);
    out.report(&report)
}

/// The cluster that the other node must belong to: this node's, or the one that was named.
fn expected_system_id(settings: &Settings, local: &[IpAddr], args: &Fence) -> Result<SystemId> {
    if let Some(id) = args.system_id {
        return Ok(SystemId(id));
    }
    let me = settings.nodes.iter().find(|node| local.contains(&node.address));
    let postgres = me.and_then(|me| settings.postgres_of(me));
    let unknown = |error: Error| {
        error.hint("say which cluster it must be with --system-id ID; `pg_controldata` of any node shows it")
    };
    let postgres = postgres.ok_or_else(|| {
        unknown(Error::config(
            "this machine has no data directory to tell which cluster the other node must be of",
        ))
    })?;
    DataDirectory::open(&postgres.data_directory).and_then(|data| data.system_id()).map_err(unknown)
}

fn command_line(settings: &Settings, args: &Fence, stop: StopBounds, expected: SystemId) -> String {
    let mut words = vec!["pg".to_owned(), "fence".to_owned(), "--json".to_owned()];
    let mut option = |name: &str, value: String| words.extend([name.to_owned(), value]);
    option("--fast-timeout", parse::write_duration(stop.fast));
    option("--immediate-timeout", parse::write_duration(stop.immediate));
    option("--reason", args.reason.clone());
    // The other node refuses by itself when the address has come to belong to another cluster's machine.
    option("--system-id", expected.to_string());
    if let Some(file) = settings.file.as_deref().filter(|file| *file != Path::new(settings::DEFAULT_FILE)) {
        option("--config", file.display().to_string());
    }
    format!("{} {}", settings.ssh.remote_command, quote(&words))
}

/// Reads what the other node printed; anything but a proof is an error.
fn proof(executed: &Executed, node: &str, expected: SystemId) -> Result<Value> {
    let document: Option<Value> = serde_json::from_slice(&executed.stdout).ok();
    let said = |key: &str| document.as_ref().and_then(|document| document.get(key));
    let is = |key: &str, value: Value| said(key) == Some(&value);
    let why = match &executed.exit {
        Exit::Signal(name) => Some(format!("the command was ended by SIG{name}")),
        _ if document.is_none() => Some("it printed no JSON document".to_owned()),
        _ if !is("schema", json!(1)) || !is("verb", json!("pg fence")) => {
            Some("it isn't the document of a fence".to_owned())
        }
        _ if !is("node", json!(node)) && said("error").is_none() => {
            Some(format!("another node answered: {}", said("node").unwrap_or(&Value::Null)))
        }
        _ if !is("system_id", json!(expected)) && said("error").is_none() => Some(format!(
            "another cluster answered: system identifier {}, not {expected}",
            said("system_id").unwrap_or(&Value::Null)
        )),
        Exit::Code(code) if *code != 0 || said("failed").is_some() => {
            let error = said("error").and_then(|error| error.get("message")).and_then(Value::as_str);
            Some(format!("it failed with exit status {code}: {}", error.unwrap_or("no message")))
        }
        _ if !is("dry_run", json!(false)) => Some("it was a dry run".to_owned()),
        _ if !is("stopped", json!(true)) || !is("processes_left", json!(0)) => {
            Some("it doesn't say that every process is gone".to_owned())
        }
        Exit::Code(_) => None,
    };
    match (why, document) {
        (None, Some(document)) => Ok(document),
        (why, _) => {
            let words = String::from_utf8_lossy(&executed.stderr);
            let words: String = words.trim().chars().take(SHOWN).collect();
            let error = Error::new(Kind::TryAgain, format!("{node} gave no proof that it is fenced"))
                .detail(why.unwrap_or_else(|| "it printed no JSON document".to_owned()));
            let error = if words.is_empty() { error } else { error.detail(words) };
            Err(if executed.exit == Exit::Code(127) {
                error.hint("is pgbaton installed there? ssh.remote_command in the configuration says how it is called")
            } else {
                error.hint("look at that machine, or cut its power: until then it may acknowledge writes")
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: SystemId = SystemId(7_523_451_234_567_890_123);

    fn document() -> Value {
        json!({
            "schema": 1, "verb": "pg fence", "changed": true, "dry_run": false, "msg": "", "warnings": [],
            "steps": [], "node": "node1", "system_id": ID.to_string(), "stopped": true, "processes_left": 0,
            "how": "fast",
        })
    }

    fn executed(document: &Value, exit: Exit) -> Executed {
        Executed { exit, stdout: document.to_string().into_bytes(), stderr: Vec::new() }
    }

    #[test]
    fn only_a_proof_for_this_node_and_this_cluster_is_believed() {
        assert!(proof(&executed(&document(), Exit::Code(0)), "node1", ID).is_ok());
        for (key, value) in [
            ("schema", json!(2)),
            ("verb", json!("vip down")),
            ("node", json!("node2")),
            ("system_id", json!("1")),
            ("system_id", json!(7_523_451_234_567_890_123_u64)),
            ("stopped", json!(false)),
            ("stopped", json!("true")),
            ("processes_left", json!(1)),
            ("processes_left", Value::Null),
            ("dry_run", json!(true)),
            ("failed", json!(true)),
        ] {
            let mut wrong = document();
            wrong[key] = value.clone();
            let error = proof(&executed(&wrong, Exit::Code(0)), "node1", ID).unwrap_err();
            assert_eq!(error.kind(), Kind::TryAgain, "{key} {value}");
            wrong.as_object_mut().unwrap().remove(key);
            let complete = key == "failed";
            assert_eq!(proof(&executed(&wrong, Exit::Code(0)), "node1", ID).is_ok(), complete, "{key}");
        }
    }

    #[test]
    fn a_command_that_was_killed_or_failed_proves_nothing_whatever_it_printed() {
        for exit in [Exit::Signal("KILL".to_owned()), Exit::Code(1), Exit::Code(127)] {
            assert!(proof(&executed(&document(), exit), "node1", ID).is_err());
        }
    }

    proptest! {
        #[test]
        fn no_output_makes_the_reader_panic_or_believe(stdout in prop::collection::vec(any::<u8>(), 0..80)) {
            let executed = Executed { exit: Exit::Code(0), stdout, stderr: Vec::new() };
            prop_assert!(proof(&executed, "node1", ID).is_err());
        }
    }
}
