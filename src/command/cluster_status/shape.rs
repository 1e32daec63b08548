//! From what was answered to the view that is judged and shown. Pure.

use crate::output::status::{
    ClusterView, DaemonView, EpochView, NodeView, PauseView, Reach, Receiver, Sender, ServerRole, ServerView,
    Source, Told, VipAnswer, VipView,
};
use crate::pg::conn::ConnError;
use crate::pg::facts::ServerFacts;
use crate::pg::history::History;
use crate::pg::lsn::Lsn;
use crate::pg::status_row::StoredStatus;
use crate::plan::step::NeedsCheck;
use crate::settings::{NodeRole, Settings};
use crate::units::Moment;
use serde_json::Value;
use std::time::Duration;

/// Everything that was answered; nodes, virtual IPs and daemons in the order of the settings.
#[derive(Debug)]
pub(super) struct Seen {
    /// The nodes' servers; `None` without `[postgres]`.
    pub nodes: Vec<Option<Result<Asked, ConnError>>>,
    /// The servers behind the virtual IPs.
    pub vips: Vec<Option<Result<Asked, ConnError>>>,
    /// The mark in this machine's data directory, which tells also when the server is down.
    pub mark_here: Option<NeedsCheck>,
    /// What the control sockets in the runtime directory said.
    pub daemons: Vec<DaemonAnswer>,
    /// The wall clock, as time since 1970.
    pub wall: Duration,
    /// The clock of the daemons' moments.
    pub now: Moment,
}

/// What a server said.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub facts: ServerFacts,
    pub extras: Extras,
}

/// What only this verb wants to know.
#[derive(Debug, Clone, Default)]
pub(super) struct Extras {
    /// The history file of a primary's timeline.
    pub history: Option<String>,
    /// Whether a primary's data directory has a `standby.signal`.
    pub standby_signal: Option<bool>,
    /// The mark that a fence left in the data directory.
    pub needs_check: Option<NeedsCheck>,
    /// The rows of `pgbaton.node_status`.
    pub statuses: Vec<StoredStatus>,
}

/// What a control socket said.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum DaemonAnswer {
    /// It answered.
    Said(Value),
    /// Nobody listens, or nobody answers.
    Absent(String),
    /// It can't be told.
    Hidden,
}

/// Puts the answers together.
pub(super) fn view(settings: &Settings, seen: &Seen) -> ClusterView {
    let mut nodes: Vec<NodeView> = Vec::new();
    for (position, node) in settings.nodes.iter().enumerate() {
        let (reach, detail, server) = match seen.nodes.get(position).and_then(Option::as_ref) {
            None => (Reach::NotAsked, None, None),
            Some(Err(error)) => (reach(error), Some(error.to_string()), None),
            Some(Ok(asked)) => {
                let server = server(asked, seen.wall);
                let hidden = "the role may not see its timeline or system identifier";
                let reach = if server.is_some() { Reach::Answered } else { Reach::Error };
                let detail = server.is_none().then(|| hidden.to_owned());
                (reach, detail, server)
            }
        };
        nodes.push(NodeView {
            name: node.name.clone(),
            address: node.address.to_string(),
            spare: node.role == NodeRole::Spare,
            reach,
            detail,
            server,
            needs_check: needs_check(settings, seen, position),
            daemon: daemon(settings, seen, position),
        });
    }
    forget_older_actives(&mut nodes);
    let vips = settings.vips.iter().enumerate().map(|(position, vip)| VipView {
        address: vip.address.to_string(),
        answer: behind(settings, seen, seen.vips.get(position).and_then(Option::as_ref)),
    });
    let mut view = ClusterView {
        cluster: settings.cluster.name.clone(),
        at: time(seen.wall.as_secs_f64()).unwrap_or_default(),
        asked_from: settings.me().ok().map(|node| node.name.clone()),
        max_lag: settings.guard.max_lag,
        vips: vips.collect(),
        nodes,
    };
    measure_lag(&mut view, seen);
    view
}

/// Returns why a node was fenced, if its data carries its own mark.
fn needs_check(settings: &Settings, seen: &Seen, position: usize) -> Option<String> {
    let node = settings.nodes.get(position)?;
    let asked = seen.nodes.get(position)?.as_ref().and_then(|answer| answer.as_ref().ok());
    let told = asked.and_then(|asked| asked.extras.needs_check.as_ref());
    let here = seen.mark_here.as_ref().filter(|_| settings.me == Some(position));
    told.into_iter().chain(here).find(|mark| mark.node == node.name).map(|mark| mark.reason.clone())
}

fn reach(error: &ConnError) -> Reach {
    match error {
        ConnError::Refused(_) => Reach::Refused,
        ConnError::NoRoute(..) => Reach::NoRoute,
        ConnError::Timeout(_) => Reach::Timeout,
        ConnError::Auth(_) => Reach::Auth,
        ConnError::StartingUp(_) => Reach::Starting,
        _ => Reach::Error,
    }
}

fn server(asked: &Asked, wall: Duration) -> Option<ServerView> {
    let facts = &asked.facts;
    let timeline = facts.timeline?;
    let standby = facts.standby.as_ref();
    let lsn = match (&facts.primary, standby) {
        (Some(primary), _) => Some(primary.flush),
        (None, Some(standby)) => standby.replay.or(standby.receive),
        (None, None) => None,
    };
    Some(ServerView {
        role: if facts.in_recovery { ServerRole::Standby } else { ServerRole::Primary },
        version: facts.server_version,
        system_id: facts.system_id?.to_string(),
        timeline,
        lsn: lsn.unwrap_or(Lsn::ZERO),
        received_lsn: standby.and_then(|standby| standby.receive),
        lag_bytes: None,
        lag_seconds: None,
        replay_paused: standby.is_some_and(|standby| standby.replay_paused),
        receiver: facts.receiver.as_ref().map(|receiver| Receiver {
            status: receiver.status.clone(),
            sender_host: receiver.sender_host.clone(),
            sender_port: receiver.sender_port,
        }),
        upstream_configured: facts.primary_conninfo.as_ref().map(|text| !text.trim().is_empty()),
        senders: facts
            .replication
            .iter()
            .map(|sender| Sender {
                name: sender.application_name.clone(),
                address: sender.client_addr.map(|address| address.to_string()),
                state: sender.state.clone(),
                sync_state: sender.sync_state.clone(),
                sent_lsn: sender.sent,
                flush_lsn: sender.flush,
                replay_lsn: sender.replay,
            })
            .collect(),
        synchronous_standby_names: facts.synchronous_standby_names.clone().unwrap_or_default(),
        epoch: facts.epoch.as_ref().map(|epoch| EpochView {
            term: epoch.term.0,
            node: epoch.node.clone(),
            promotion_id: epoch.promotion_id.to_string(),
            timeline: epoch.timeline,
        }),
        pause: facts.pause.as_ref().map(|pause| PauseView {
            reason: pause.reason.clone(),
            since_seconds: wall.as_secs().checked_sub(pause.since),
        }),
        started_at: time(facts.started_at),
        up_seconds: seconds(wall.as_secs_f64() - facts.started_at),
        restart_after_crash: Some(facts.restart_after_crash),
        rewindable: Some(facts.wal_log_hints || facts.data_checksums),
        start_protected: asked.extras.standby_signal,
        history: asked.extras.history.as_deref().and_then(|text| History::parse(timeline, text).ok()),
    })
}

/// Returns what is known of a daemon: from its socket, else from the newest row that any server holds.
fn daemon(settings: &Settings, seen: &Seen, position: usize) -> DaemonView {
    let Some(node) = settings.nodes.get(position) else { return DaemonView::Unknown };
    let answer = seen.daemons.get(position);
    if let Some(DaemonAnswer::Said(answer)) = answer
        && answer.get("node").and_then(Value::as_str) == Some(&node.name)
        && answer.get("cluster").and_then(Value::as_str) == Some(&settings.cluster.name)
    {
        return DaemonView::Told(said(answer, seen.now));
    }
    // Only its own machine can say that a daemon doesn't run; a spare's may be absent.
    if let Some(DaemonAnswer::Absent(why)) = answer
        && settings.me == Some(position)
        && node.priority.is_some()
    {
        return DaemonView::NotRunning { detail: why.clone() };
    }
    let rows = seen.nodes.iter().flatten().flatten().flat_map(|asked| &asked.extras.statuses);
    let newest = rows.filter(|row| row.status.node == node.name).max_by(|a, b| a.at.total_cmp(&b.at));
    newest.map_or(DaemonView::Unknown, |row| {
        let status = &row.status;
        DaemonView::Told(Told {
            source: Source::Table,
            at: time(row.at),
            vrrp_state: Some(status.vrrp_state.clone()),
            phase: Some(status.phase.clone()),
            reason: status.reason.clone(),
            hint: status.hint.clone(),
            since_seconds: seconds(row.age),
            connected: connected(settings, seen, &node.name),
            held: None,
            term: None,
        })
    })
}

/// Reads the answer of a control socket; what is missing or of another type is unknown.
/// How long the daemons may need to find a new primary, in seconds.
const FINDING: f64 = 35.0;

/// Returns whether a node's daemon has its session to the primary; `None`: nobody can say, or it is too early.
fn connected(settings: &Settings, seen: &Seen, node: &str) -> Option<bool> {
    let answers = settings.nodes.iter().zip(&seen.nodes);
    let mut answered = answers.filter_map(|(node, answer)| Some((node, answer.as_ref()?.as_ref().ok()?)));
    let (primary, asked) = answered.find(|(_, asked)| !asked.facts.in_recovery)?;
    let row = |name: &str| asked.extras.statuses.iter().find(|row| row.status.node == name);
    let new = row(&primary.name).is_some_and(|own| own.age < FINDING);
    row(node)?.connected.filter(|connected| *connected || !new)
}

fn said(answer: &Value, now: Moment) -> Told {
    let text = |pointer: &str| answer.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let since = answer.pointer("/vrrp/since_ns").and_then(Value::as_u64).map(Moment::from_nanos);
    let held = answer.get("vips").and_then(Value::as_array).map(|vips| {
        let held = vips.iter().filter(|vip| vip.get("held").and_then(Value::as_bool) == Some(true));
        held.filter_map(|vip| vip.get("address")?.as_str()).map(str::to_owned).collect()
    });
    Told {
        source: Source::Socket,
        at: None,
        vrrp_state: text("/vrrp/state"),
        phase: text("/phase"),
        reason: text("/reason"),
        hint: text("/hint"),
        since_seconds: since.map(|since| now.since(since).as_secs()),
        connected: None,
        held,
        term: answer.get("term").and_then(Value::as_u64),
    }
}

/// Of several nodes that were Active when they last wrote, only the newest is believed.
///
/// A host that lost its power never wrote that it isn't Active any more.
fn forget_older_actives(nodes: &mut [NodeView]) {
    let age = |node: &NodeView| {
        let told = node.daemon.told().filter(|told| told.vrrp_state.as_deref() == Some("ACTIVE"))?;
        Some(if told.source == Source::Socket { 0 } else { told.since_seconds.unwrap_or(u64::MAX) })
    };
    let Some(newest) = nodes.iter().filter_map(age).min() else { return };
    for node in nodes.iter_mut().filter(|node| age(node).is_some_and(|age| age > newest)) {
        if let DaemonView::Told(told) = &mut node.daemon {
            told.vrrp_state = None;
        }
    }
}

/// Tells who answered behind a virtual IP by what no two servers share: start time and system identifier, and role.
fn behind(settings: &Settings, seen: &Seen, answer: Option<&Result<Asked, ConnError>>) -> VipAnswer {
    let asked = match answer {
        None => return VipAnswer::NotAsked,
        Some(Ok(asked)) => asked,
        Some(Err(error @ (ConnError::Refused(_) | ConnError::NoRoute(..) | ConnError::Timeout(_)))) => {
            return VipAnswer::Nobody { detail: error.to_string() };
        }
        Some(Err(error)) => return VipAnswer::Unknown { detail: error.to_string() },
    };
    let it = &asked.facts;
    let same = |facts: &ServerFacts| {
        facts.system_id.is_some()
            && facts.system_id == it.system_id
            // One server answers with the same microsecond every time.
            && (facts.started_at - it.started_at).abs() < 1e-6
    };
    let answers = settings.nodes.iter().zip(&seen.nodes);
    let matching: Vec<(&str, &ServerFacts)> = answers
        .filter_map(|(node, answer)| match answer {
            Some(Ok(asked)) if same(&asked.facts) => Some((node.name.as_str(), &asked.facts)),
            _ => None,
        })
        .collect();
    let role = if it.in_recovery { "standby" } else { "primary" };
    match matching.as_slice() {
        [(node, facts)] if facts.in_recovery == it.in_recovery => {
            VipAnswer::Node { node: (*node).to_owned() }
        }
        [(node, _)] => VipAnswer::Unknown { detail: format!("{node} changed its role while it was asked") },
        [] => {
            let system =
                it.system_id.map_or_else(|| "a hidden system id".to_owned(), |id| format!("system id {id}"));
            let detail = format!("a {role} of {system}");
            let silent: Vec<&str> = settings
                .nodes
                .iter()
                .zip(&seen.nodes)
                .filter(|(_, answer)| !matches!(answer, Some(Ok(_))))
                .map(|(node, _)| node.name.as_str())
                .collect();
            if silent.is_empty() {
                VipAnswer::Stranger { detail }
            } else {
                VipAnswer::Unknown {
                    detail: format!("{detail}, perhaps {}, which can't be asked", silent.join(" or ")),
                }
            }
        }
        several => {
            let names: Vec<&str> = several.iter().map(|(name, _)| *name).collect();
            VipAnswer::Unknown { detail: format!("{} have one and the same server", names.join(" and ")) }
        }
    }
}

/// Compares every standby with the primary, when there is exactly one.
fn measure_lag(view: &mut ClusterView, seen: &Seen) {
    let Some((primary, senders, system)) = view.primary().and_then(|node| {
        let server = node.server.as_ref()?;
        Some((server.lsn, server.senders.clone(), server.system_id.clone()))
    }) else {
        return;
    };
    let primary_facts = seen.nodes.iter().flatten().flatten().find(|asked| !asked.facts.in_recovery);
    for (position, node) in view.nodes.iter_mut().enumerate() {
        let Some(server) = node.server.as_mut().filter(|server| server.role == ServerRole::Standby) else {
            continue;
        };
        if server.system_id != system {
            continue;
        }
        // What it told the primary may be newer than what it told us; then that counts.
        let told =
            senders.iter().find(|sender| sender.name == node.name).and_then(|sender| sender.replay_lsn);
        let lag = primary.ahead_of(told.map_or(server.lsn, |told| told.max(server.lsn)));
        server.lag_bytes = Some(lag);
        let by_primary = primary_facts.and_then(|asked| {
            let sender =
                asked.facts.replication.iter().find(|sender| sender.application_name == node.name)?;
            sender.replay_lag
        });
        let asked = seen.nodes.get(position).and_then(Option::as_ref).and_then(|answer| answer.as_ref().ok());
        let by_age = asked.and_then(|asked| asked.facts.standby.as_ref()?.last_transaction_age);
        server.lag_seconds = if lag == 0 { Some(0.0) } else { by_primary.or(by_age) };
    }
}

/// Returns seconds since 1970 as RFC 3339.
fn time(seconds: f64) -> Option<String> {
    let whole = Duration::try_from_secs_f64(seconds).ok()?;
    let second = i64::try_from(whole.as_secs()).ok()?;
    jiff::Timestamp::from_second(second).ok().map(|time| time.to_string())
}

/// Returns whole seconds; a clock that is behind counts as zero.
fn seconds(length: f64) -> Option<u64> {
    Duration::try_from_secs_f64(length.max(0.0)).ok().map(|length| length.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::status::{Severity, problems};
    use crate::pg::status_row::NodeStatus;

    const TOML: &str = "[cluster]\nname = \"article\"\n[vrrp]\nvirtual_router_id = 51\n\
        [[node]]\nname = \"node1\"\naddress = \"192.0.2.21\"\npriority = 200\n\
        [[node]]\nname = \"node2\"\naddress = \"192.0.2.22\"\npriority = 100\n\
        [[vip]]\naddress = \"192.0.2.23/24\"\n[postgres]\ndata_directory = \"/data\"\n";

    fn facts(in_recovery: bool, started_at: f64) -> ServerFacts {
        let standby = serde_json::json!({
            "receive": "0/5000000", "replay": "0/4000000", "replay_paused": false, "last_transaction_age": 12.5
        });
        let primary =
            serde_json::json!({ "insert": "0/5000000", "write": "0/5000000", "flush": "0/5000000" });
        serde_json::from_value(serde_json::json!({
            "in_recovery": in_recovery, "system_id": "7400000000000000001", "server_version": 150_004,
            "timeline": 1,
            "primary": if in_recovery { Value::Null } else { primary },
            "standby": if in_recovery { standby } else { Value::Null },
            "receiver": null, "replication": null, "primary_conninfo": null, "primary_slot_name": null,
            "synchronous_standby_names": null, "restore_command": null, "epoch": null, "epoch_hidden": false,
            "started_at": started_at, "data_directory": null, "wal_log_hints": true, "data_checksums": false,
            "restart_after_crash": false, "superuser": true,
        }))
        .unwrap()
    }

    fn asked(in_recovery: bool, started_at: f64) -> Asked {
        Asked { facts: facts(in_recovery, started_at), extras: Extras::default() }
    }

    fn row(node: &str, state: &str, at: f64) -> StoredStatus {
        let status = NodeStatus {
            node: node.to_owned(),
            vrrp_state: state.to_owned(),
            phase: "serving".to_owned(),
            reason: None,
            hint: None,
            config: None,
        };
        StoredStatus { status, at, age: 1000.0 - at, connected: None }
    }

    fn seen(vip: Option<Result<Asked, ConnError>>) -> Seen {
        Seen {
            nodes: vec![Some(Ok(asked(false, 100.25))), Some(Ok(asked(true, 200.5)))],
            vips: vec![vip],
            mark_here: None,
            daemons: vec![DaemonAnswer::Hidden, DaemonAnswer::Hidden],
            wall: Duration::from_secs(1000),
            now: Moment::from_nanos(0),
        }
    }

    fn answer(seen: &Seen) -> VipAnswer {
        view(&Settings::from_toml(TOML, "t").unwrap(), seen).vips.remove(0).answer
    }

    #[test]
    fn a_fenced_node_shows_its_own_mark_and_not_one_that_came_with_a_copy() {
        let mark = |node: &str| {
            Some(NeedsCheck { schema: 1, node: node.to_owned(), at: 1, reason: "two primaries".to_owned() })
        };
        let settings = Settings::from_toml(TOML, "t").unwrap();
        let mut seen = seen(None);
        for (position, own) in [(0, "node1"), (1, "node1")] {
            if let Some(Ok(asked)) = &mut seen.nodes[position] {
                asked.extras.needs_check = mark(own);
            }
        }
        let view = view(&settings, &seen);
        assert_eq!(view.nodes[0].needs_check.as_deref(), Some("two primaries"));
        assert_eq!(view.nodes[1].needs_check, None);
        assert!(problems(&view).iter().any(|problem| problem.code == "needs-check"));
    }

    #[test]
    fn lag_is_what_the_primary_has_and_the_standby_has_not_replayed() {
        let view = view(&Settings::from_toml(TOML, "t").unwrap(), &seen(None));
        let standby = view.nodes[1].server.as_ref().unwrap();
        assert_eq!((standby.lag_bytes, standby.lag_seconds), (Some(0x0100_0000), Some(12.5)));
        assert_eq!(standby.up_seconds, Some(799));
        assert_eq!(standby.started_at.as_deref(), Some("1970-01-01T00:03:20Z"));
        assert_eq!(view.nodes[0].server.as_ref().unwrap().lag_bytes, None);
        assert_eq!(view.vips[0].answer, VipAnswer::NotAsked);
    }

    #[test]
    fn behind_the_vip_is_the_node_with_the_same_start_and_role() {
        assert_eq!(
            answer(&seen(Some(Ok(asked(false, 100.25))))),
            VipAnswer::Node { node: "node1".to_owned() }
        );
        assert_eq!(answer(&seen(Some(Ok(asked(true, 200.5))))), VipAnswer::Node { node: "node2".to_owned() });
        assert_eq!(
            answer(&seen(Some(Ok(asked(true, 100.25))))),
            VipAnswer::Unknown { detail: "node1 changed its role while it was asked".to_owned() }
        );
        assert_eq!(
            answer(&seen(Some(Ok(asked(false, 300.0))))),
            VipAnswer::Stranger { detail: "a primary of system id 7400000000000000001".to_owned() }
        );
        let mut one_twice = seen(Some(Ok(asked(false, 100.25))));
        one_twice.nodes[1] = Some(Ok(asked(false, 100.25)));
        assert_eq!(
            answer(&one_twice),
            VipAnswer::Unknown { detail: "node1 and node2 have one and the same server".to_owned() }
        );
        let refused = ConnError::Refused("192.0.2.23:5432".to_owned());
        assert!(matches!(answer(&seen(Some(Err(refused)))), VipAnswer::Nobody { .. }));
        let auth = ConnError::Auth("no entry".to_owned());
        assert_eq!(answer(&seen(Some(Err(auth)))), VipAnswer::Unknown { detail: "no entry".to_owned() });
    }

    #[test]
    fn of_two_nodes_that_were_active_the_newer_word_counts() {
        let mut seen = seen(None);
        if let Some(Ok(asked)) = &mut seen.nodes[0] {
            // One server holds an old row of node2 besides.
            asked.extras.statuses = vec![row("node1", "ACTIVE", 900.0), row("node2", "BACKUP", 1.0)];
        }
        if let Some(Ok(asked)) = &mut seen.nodes[1] {
            asked.extras.statuses = vec![row("node1", "BACKUP", 1.0), row("node2", "ACTIVE", 500.0)];
        }
        let view = view(&Settings::from_toml(TOML, "t").unwrap(), &seen);
        let states: Vec<_> =
            view.nodes.iter().map(|node| node.daemon.told().unwrap().vrrp_state.as_deref()).collect();
        assert_eq!(states, [Some("ACTIVE"), None]);
    }

    #[test]
    fn a_daemon_of_another_cluster_or_with_another_form_isn_t_believed() {
        for answer in [
            serde_json::json!({ "cluster": "other", "node": "node1" }),
            serde_json::json!({ "cluster": "article", "node": "node2" }),
            serde_json::json!([1, 2]),
            Value::Null,
        ] {
            let mut seen = seen(None);
            seen.daemons[0] = DaemonAnswer::Said(answer);
            let view = view(&Settings::from_toml(TOML, "t").unwrap(), &seen);
            assert_eq!(view.nodes[0].daemon, DaemonView::Unknown);
        }
        let odd = serde_json::json!({ "vrrp": 5, "vips": [7, {"held": true}], "term": "x", "phase": [] });
        let told = said(&odd, Moment::BOOT);
        assert_eq!((told.vrrp_state, told.held, told.term), (None, Some(Vec::new()), None));
    }

    #[test]
    fn only_the_own_daemon_can_be_missed() {
        let mut settings = Settings::from_toml(TOML, "t").unwrap();
        let mut seen = seen(None);
        seen.daemons = vec![DaemonAnswer::Absent("no socket".to_owned()); 2];
        assert_eq!(view(&settings, &seen).nodes[0].daemon, DaemonView::Unknown);
        settings.choose_me("node2").unwrap();
        let view = view(&settings, &seen);
        assert_eq!(view.nodes[0].daemon, DaemonView::Unknown);
        assert_eq!(view.nodes[1].daemon, DaemonView::NotRunning { detail: "no socket".to_owned() });
    }

    #[test]
    fn a_server_that_hides_its_timeline_is_an_error_not_a_guess() {
        let mut seen = seen(None);
        if let Some(Ok(asked)) = &mut seen.nodes[1] {
            asked.facts.timeline = None;
        }
        let view = view(&Settings::from_toml(TOML, "t").unwrap(), &seen);
        assert_eq!((view.nodes[1].reach, view.nodes[1].server.is_none()), (Reach::Error, true));
        assert!(problems(&view).iter().any(|found| found.severity == Severity::Warning));
    }

    #[test]
    fn times_out_of_range_are_unknown() {
        for odd in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
            assert_eq!(time(odd), None, "{odd}");
        }
        assert_eq!(seconds(-5.0), Some(0));
        assert_eq!(seconds(f64::INFINITY), None);
    }
}
