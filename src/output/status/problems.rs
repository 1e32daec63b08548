//! What is wrong with a cluster, found in what its nodes said.
//!
//! Every rule looks at facts only and says what it doesn't know. A hint is a command that exists, or the question
//! whose answer decides.

use super::view::{ClusterView, DaemonView, NodeView, Reach, ServerRole, ServerView, VipAnswer};
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
    found.system_ids();
    found.vips();
    for node in &view.nodes {
        found.reach(node);
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

    fn reach(&mut self, node: &NodeView) {
        let told = node.daemon.told();
        let detail = node.detail.as_deref().map_or_else(String::new, |detail| format!(" ({detail})"));
        let (code, message, hint) = match node.reach {
            Reach::Answered | Reach::NotAsked => return,
            Reach::Refused => {
                // A daemon that keeps its server down has said why, and knows better what to do.
                let reason = told.filter(|told| {
                    matches!(told.phase.as_deref(), Some("down" | "fenced" | "held" | "releasing"))
                });
                if let Some((told, reason)) =
                    reason.and_then(|told| told.reason.as_ref().map(|why| (told, why)))
                {
                    let hint =
                        told.hint.clone().unwrap_or_else(|| format!("on {}: pgbaton vrrp status", node.name));
                    ("stays-down", format!("PostgreSQL is kept down: {reason}"), hint)
                } else {
                    (
                        "server-down",
                        format!("PostgreSQL isn't running{detail}"),
                        "why did it stop? its log says so".to_owned(),
                    )
                }
            }
            Reach::Timeout => (
                "no-answer",
                format!(
                    "{}: host off, cut off, or server frozen",
                    node.detail.as_deref().unwrap_or("no answer in time")
                ),
                format!("does the host answer? ping {}", node.address),
            ),
            Reach::NoRoute => (
                "no-route",
                format!("the network has no way there{detail}"),
                format!("ip route get {}", node.address),
            ),
            Reach::Auth => (
                "not-let-in",
                format!("the server doesn't let us in{detail}"),
                "does its pg_hba.conf allow this host, and is the password in ~/.pgpass?".to_owned(),
            ),
            Reach::Starting => (
                "starting",
                format!("the server isn't open for connections{detail}"),
                "is it still recovering? its log says how far it is".to_owned(),
            ),
            Reach::Error => {
                ("error", format!("the server can't answer{detail}"), "what does its log say?".to_owned())
            }
        };
        self.add(Severity::Warning, code, Some(node), message, hint);
    }

    fn daemon(&mut self, node: &NodeView) {
        match &node.daemon {
            DaemonView::Unknown => {}
            DaemonView::NotRunning { detail } => self.add(
                Severity::Warning,
                "daemon-down",
                Some(node),
                format!("the daemon isn't running ({detail})"),
                format!("on {}: pgbaton vrrp run", node.name),
            ),
            DaemonView::Told(told) => {
                let held = matches!(told.phase.as_deref(), Some("held" | "fenced"));
                // A host that fell silent may have changed its mind since it told.
                let stale = matches!(node.reach, Reach::Refused | Reach::Timeout | Reach::NoRoute);
                if held && !stale {
                    let phase = told.phase.as_deref().unwrap_or_default();
                    let why = told.reason.as_deref().map_or_else(String::new, |why| format!(": {why}"));
                    let hint =
                        told.hint.clone().unwrap_or_else(|| format!("on {}: pgbaton vrrp status", node.name));
                    let message = format!("the daemon has {phase} the node{why}")
                        .replace("held the", "put on hold the");
                    self.add(Severity::Warning, "daemon-held", Some(node), message, hint);
                }
                let confirmed = node.server.as_ref().and_then(|server| server.epoch.as_ref());
                if let (Some(theirs), Some(epoch)) = (told.term, confirmed)
                    && theirs != epoch.term
                {
                    self.add(
                        Severity::Warning,
                        "term-mismatch",
                        Some(node),
                        format!("the daemon is in term {theirs}, the database in term {}", epoch.term),
                        format!("is a promotion under way? on {}: pgbaton vrrp status", node.name),
                    );
                }
            }
        }
    }

    fn standby(&mut self, node: &NodeView, server: &ServerView) {
        if server.replay_paused {
            self.add(
                Severity::Warning,
                "replay-paused",
                Some(node),
                "replay is paused",
                format!("on {}: SELECT pg_wal_replay_resume()", node.name),
            );
        }
        let primary = self.view.primary().and_then(|primary| Some((primary, primary.server.as_ref()?)));
        let Some((primary, upstream)) = primary else { return };
        if upstream.system_id != server.system_id {
            return;
        }
        if self.diverged(node, server, primary, upstream) {
            return;
        }
        let streaming = server
            .receiver
            .as_ref()
            .is_some_and(|receiver| receiver.status.as_deref().is_none_or(|status| status == "streaming"));
        if !streaming {
            self.not_streaming(node, server, primary, upstream);
            return;
        }
        if server.timeline < upstream.timeline {
            self.add(
                Severity::Warning,
                "old-timeline",
                Some(node),
                format!("is on timeline {}, the primary on {}", server.timeline, upstream.timeline),
                "does it stream from another server than the primary? SELECT * FROM pg_stat_wal_receiver",
            );
        }
        if let (Some(limit), Some(lag)) = (self.view.max_lag, server.lag_bytes)
            && lag > limit
        {
            self.add(
                Severity::Warning,
                "lag",
                Some(node),
                format!("is {} behind, more than max_lag = {}", bytes(lag), bytes(limit)),
                "is the network or its disk too slow? until it catches up it isn't promoted",
            );
        }
    }

    /// Whether the standby has data that the primary hasn't: it can never follow again.
    fn diverged(
        &mut self,
        node: &NodeView,
        server: &ServerView,
        primary: &NodeView,
        upstream: &ServerView,
    ) -> bool {
        let rebuild = "which of the two has the data you need? save it, then rebuild this node with pg_rewind or \
                       pg_basebackup";
        if let (Some(mine), Some(theirs)) = (&server.epoch, &upstream.epoch) {
            if mine.term > theirs.term {
                let message = format!(
                    "its data is of term {}, but the primary {} is of term {}",
                    mine.term, primary.name, theirs.term
                );
                self.add(Severity::Critical, "newer-than-primary", Some(node), message, rebuild);
                return true;
            }
            if mine.term == theirs.term && mine.promotion_id != theirs.promotion_id {
                let message =
                    format!("term {} was begun by another promotion than on {}", mine.term, primary.name);
                self.add(Severity::Critical, "other-promotion", Some(node), message, rebuild);
                return true;
            }
        }
        if server.timeline > upstream.timeline {
            let message =
                format!("is on timeline {}, ahead of the primary's {}", server.timeline, upstream.timeline);
            self.add(Severity::Critical, "newer-timeline", Some(node), message, rebuild);
            return true;
        }
        if let Some(sender) = sender_of(node, upstream)
            && let (Some(sent), Some(replayed)) = (sender.sent_lsn, sender.replay_lsn)
            && replayed > sent
        {
            let message = format!(
                "has replayed {replayed}, but was sent only {sent}: same timeline, other content than {}",
                primary.name
            );
            self.add(Severity::Critical, "diverged", Some(node), message, rebuild);
            return true;
        }
        let mine = held(server);
        if let Some(history) = upstream.history.as_ref().filter(|_| server.timeline < upstream.timeline)
            && !history.contains(server.timeline, mine)
        {
            let message = match history.fork_of(server.timeline) {
                Some(fork) => format!(
                    "can't follow: it has {mine} on timeline {}, and the primary's timeline {} left it at {fork}",
                    server.timeline, upstream.timeline
                ),
                None => format!(
                    "can't follow: its timeline {} isn't in the history of the primary's timeline {}",
                    server.timeline, upstream.timeline
                ),
            };
            self.add(Severity::Critical, "forked-off", Some(node), message, rebuild);
            return true;
        }
        false
    }

    fn not_streaming(
        &mut self,
        node: &NodeView,
        server: &ServerView,
        primary: &NodeView,
        upstream: &ServerView,
    ) {
        let old = if server.timeline < upstream.timeline {
            format!("; it is on timeline {}, the primary on {}", server.timeline, upstream.timeline)
        } else {
            String::new()
        };
        let (why, hint) = match (&server.receiver, server.upstream_configured) {
            (Some(receiver), _) => (
                format!(
                    "its WAL receiver is {}",
                    receiver.status.as_deref().unwrap_or("in an unknown state")
                ),
                "what does its log say about the connection?".to_owned(),
            ),
            (None, Some(false)) => (
                "it is detached: primary_conninfo is empty".to_owned(),
                format!("is a failover under way? on {}: pgbaton vrrp status", node.name),
            ),
            (None, _) => (
                "no WAL receiver runs".to_owned(),
                format!("does its primary_conninfo point to {}? its log says what fails", primary.address),
            ),
        };
        let behind = server
            .lag_bytes
            .filter(|lag| *lag > 0)
            .map_or_else(String::new, |lag| format!(", {} behind", bytes(lag)));
        let message = format!("doesn't stream from {}: {why}{old}{behind}", primary.name);
        self.add(Severity::Warning, "not-streaming", Some(node), message, hint);
    }

    fn primary(&mut self, node: &NodeView, server: &ServerView) {
        if node.spare {
            self.add(
                Severity::Critical,
                "spare-is-primary",
                Some(node),
                "is a spare, but its server is a primary",
                "who promoted it? clients can't reach it through the virtual IP",
            );
        }
        let synchronous = |state: &str| matches!(state, "sync" | "quorum");
        let known = server.senders.iter().all(|sender| sender.sync_state.is_some());
        let enough =
            server.senders.iter().any(|sender| sender.sync_state.as_deref().is_some_and(synchronous));
        if !server.synchronous_standby_names.is_empty() && known && !enough {
            self.add(
                Severity::Critical,
                "commits-wait",
                Some(node),
                format!(
                    "commits wait: none of synchronous_standby_names = '{}' streams",
                    server.synchronous_standby_names
                ),
                "bring a standby back; removing the names gives up what they protect",
            );
        }
        if server.start_protected == Some(false) {
            // Before the first term nobody has promised anything; afterwards it is the promise of every primary.
            let severity = if server.epoch.is_some() { Severity::Warning } else { Severity::Note };
            self.add(
                severity,
                "unprotected-start",
                Some(node),
                "would start writable by itself: no standby.signal in its data directory",
                format!("is the daemon running there? on {}: pgbaton vrrp status", node.name),
            );
        }
    }

    fn setup(&mut self, node: &NodeView, server: &ServerView) {
        if server.restart_after_crash == Some(true) {
            self.add(
                Severity::Note,
                "restarts-itself",
                Some(node),
                "restart_after_crash is on: the server restarts behind the daemon's back",
                format!(
                    "on {}: ALTER SYSTEM SET restart_after_crash = off; SELECT pg_reload_conf()",
                    node.name
                ),
            );
        }
        if server.rewindable == Some(false) {
            self.add(
                Severity::Note,
                "not-rewindable",
                Some(node),
                "neither wal_log_hints nor data checksums are on: pg_rewind can't work",
                format!("on {}: ALTER SYSTEM SET wal_log_hints = on, and restart it", node.name),
            );
        }
    }
}

/// Returns the sender that serves a node, by the standby's name or else its address.
fn sender_of<'a>(node: &NodeView, upstream: &'a ServerView) -> Option<&'a super::view::Sender> {
    let by_name = upstream.senders.iter().find(|sender| sender.name == node.name);
    by_name.or_else(|| {
        let mut here =
            upstream.senders.iter().filter(|sender| sender.address.as_deref() == Some(&node.address));
        // Two servers of one address: neither is surely this one.
        here.next().filter(|_| here.next().is_none())
    })
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

#[cfg(test)]
mod tests {
    use super::super::view::EpochView;
    use super::super::view::tests::{healthy, told};
    use super::*;
    use crate::pg::lsn::Timeline;

    type Expected<'a> = &'a [(&'a str, Option<&'a str>, Severity, &'a str)];

    /// Changes a healthy cluster and compares what is found, hints aside.
    fn found(change: impl FnOnce(&mut ClusterView), expected: Expected<'_>) {
        let mut view = healthy();
        change(&mut view);
        let found = problems(&view);
        let found: Vec<_> = found
            .iter()
            .map(|found| (found.code, found.node.as_deref(), found.severity, found.message.as_str()))
            .collect();
        assert_eq!(found, expected);
    }

    fn hint(change: impl FnOnce(&mut ClusterView)) -> String {
        let mut view = healthy();
        change(&mut view);
        problems(&view).first().unwrap().hint.clone()
    }

    fn server(view: &mut ClusterView, node: usize) -> &mut ServerView {
        view.nodes[node].server.as_mut().unwrap()
    }

    fn gone(view: &mut ClusterView, node: usize, reach: Reach) {
        view.nodes[node].server = None;
        view.nodes[node].reach = reach;
    }

    fn timeline(number: u32) -> Timeline {
        Timeline::new(number).unwrap()
    }

    use Severity::{Critical, Note, Warning};

    #[test]
    fn a_healthy_cluster_has_no_problem() {
        found(|_| {}, &[]);
    }

    #[test]
    fn a_cluster_without_a_primary_names_the_best_candidate() {
        let no_primary = |view: &mut ClusterView| {
            gone(view, 0, Reach::Refused);
            view.nodes[0].daemon = DaemonView::Unknown;
            view.vips[0].answer = VipAnswer::NotAsked;
        };
        found(
            no_primary,
            &[
                ("no-primary", None, Critical, "no node that answers is the primary; node1 can't be asked"),
                ("server-down", Some("node1"), Warning, "PostgreSQL isn't running"),
            ],
        );
        assert_eq!(
            hint(no_primary),
            "is PostgreSQL on node1 really stopped? then on node2: pgbaton pg promote --dry-run"
        );
        found(
            |view| {
                view.vips[0].answer = VipAnswer::NotAsked;
                server(view, 0).role = ServerRole::Standby;
            },
            &[("no-primary", None, Critical, "no node is the primary")],
        );
    }

    #[test]
    fn the_spare_is_never_the_candidate() {
        let hint = hint(|view| {
            server(view, 0).role = ServerRole::Standby;
            server(view, 0).lsn = Lsn(1);
            server(view, 2).lsn = Lsn(u64::MAX);
        });
        assert_eq!(hint, "on node2: pgbaton pg promote --dry-run");
    }

    #[test]
    fn of_two_primaries_the_one_of_the_older_term_is_to_be_stopped() {
        let two = |view: &mut ClusterView| {
            let second = server(view, 1);
            second.role = ServerRole::Primary;
            second.epoch.as_mut().unwrap().term = 3;
            view.nodes[1].daemon = DaemonView::Unknown;
        };
        found(two, &[("two-primaries", None, Critical, "2 primaries: node1 (term 2), node2 (term 3)")]);
        assert_eq!(hint(two), "node2 has the newest term; stop PostgreSQL on node1 now: pg_ctl stop -m fast");
    }

    #[test]
    fn of_two_primaries_of_one_term_none_is_chosen() {
        let hint = hint(|view| server(view, 1).role = ServerRole::Primary);
        assert_eq!(hint, "to which of them did clients write last? stop the other now: pg_ctl stop -m fast");
    }

    #[test]
    fn a_standby_without_a_receiver_is_told_why() {
        found(
            |view| {
                server(view, 1).receiver = None;
                server(view, 1).lag_bytes = Some(4096);
            },
            &[(
                "not-streaming",
                Some("node2"),
                Warning,
                "doesn't stream from node1: no WAL receiver runs, 4 kB behind",
            )],
        );
        found(
            |view| {
                server(view, 1).receiver = None;
                server(view, 1).upstream_configured = Some(false);
            },
            &[(
                "not-streaming",
                Some("node2"),
                Warning,
                "doesn't stream from node1: it is detached: primary_conninfo is empty",
            )],
        );
        found(
            |view| {
                let second = server(view, 1);
                second.receiver.as_mut().unwrap().status = Some("waiting".to_owned());
                second.timeline = timeline(2);
                second.lsn = Lsn(0x03FF_0000);
                second.received_lsn = None;
            },
            &[(
                "not-streaming",
                Some("node2"),
                Warning,
                "doesn't stream from node1: its WAL receiver is waiting; it is on timeline 2, the primary on 3",
            )],
        );
    }

    #[test]
    fn a_receiver_whose_state_may_not_be_seen_isn_t_a_problem() {
        found(|view| server(view, 1).receiver.as_mut().unwrap().status = None, &[]);
    }

    #[test]
    fn a_standby_beyond_the_fork_can_not_follow() {
        found(
            |view| {
                let second = server(view, 1);
                second.timeline = timeline(2);
                second.lsn = Lsn(0x0400_0000);
                second.received_lsn = Some(Lsn(0x0404_F570));
            },
            &[(
                "forked-off",
                Some("node2"),
                Critical,
                "can't follow: it has 0/404F570 on timeline 2, and the primary's timeline 3 left it at 0/4000000",
            )],
        );
    }

    #[test]
    fn a_standby_of_an_unknown_timeline_can_not_follow() {
        found(
            |view| {
                let history =
                    crate::pg::history::History::parse(timeline(5), "1\t0/3000000\tx\n\n3\t0/4000000\tx\n");
                server(view, 0).timeline = timeline(5);
                server(view, 0).history = history.ok();
                server(view, 1).timeline = timeline(2);
                server(view, 2).timeline = timeline(5);
            },
            &[(
                "forked-off",
                Some("node2"),
                Critical,
                "can't follow: its timeline 2 isn't in the history of the primary's timeline 5",
            )],
        );
    }

    #[test]
    fn a_standby_that_has_more_than_it_was_sent_has_silently_diverged() {
        let change = |view: &mut ClusterView| {
            let sender = &mut server(view, 0).senders[0];
            sender.sent_lsn = Some(Lsn(0x0400_5AC8));
            sender.replay_lsn = Some(Lsn(0x0408_8630));
        };
        let text =
            "has replayed 0/4088630, but was sent only 0/4005AC8: same timeline, other content than node1";
        found(change, &[("diverged", Some("node2"), Critical, text)]);
        // Standbys that didn't set a name are known by their address.
        found(
            |view| {
                change(view);
                server(view, 0).senders[0].name = "walreceiver".to_owned();
            },
            &[("diverged", Some("node2"), Critical, text)],
        );
        // Two servers of one address can't be told apart by it.
        found(
            |view| {
                change(view);
                for sender in &mut server(view, 0).senders {
                    sender.name = "walreceiver".to_owned();
                    sender.address = Some("192.0.2.22".to_owned());
                }
            },
            &[],
        );
    }

    #[test]
    fn data_of_a_newer_term_or_another_promotion_is_critical() {
        let epoch = |term, id: &str| {
            Some(EpochView {
                term,
                node: "node2".to_owned(),
                promotion_id: id.to_owned(),
                timeline: timeline(3),
            })
        };
        found(
            |view| {
                server(view, 1).epoch = epoch(3, "cdcd");
                view.nodes[1].daemon = DaemonView::Unknown;
            },
            &[(
                "newer-than-primary",
                Some("node2"),
                Critical,
                "its data is of term 3, but the primary node1 is of term 2",
            )],
        );
        found(
            |view| server(view, 1).epoch = epoch(2, "cdcd"),
            &[(
                "other-promotion",
                Some("node2"),
                Critical,
                "term 2 was begun by another promotion than on node1",
            )],
        );
        found(
            |view| server(view, 1).timeline = timeline(4),
            &[("newer-timeline", Some("node2"), Critical, "is on timeline 4, ahead of the primary's 3")],
        );
    }

    #[test]
    fn a_standby_that_streams_on_an_old_timeline_is_seen() {
        found(
            |view| {
                let second = server(view, 1);
                second.timeline = timeline(2);
                second.lsn = Lsn(0x03FF_0000);
                second.received_lsn = None;
            },
            &[("old-timeline", Some("node2"), Warning, "is on timeline 2, the primary on 3")],
        );
    }

    #[test]
    fn lag_above_the_limit_is_seen_and_below_it_is_not() {
        found(|view| server(view, 1).lag_bytes = Some(16 << 20), &[]);
        found(
            |view| server(view, 1).lag_bytes = Some(40 << 20),
            &[("lag", Some("node2"), Warning, "is 40 MB behind, more than max_lag = 16 MB")],
        );
        found(
            |view| {
                view.max_lag = None;
                server(view, 1).lag_bytes = Some(u64::MAX);
            },
            &[],
        );
    }

    #[test]
    fn a_paused_replay_is_seen_even_without_a_primary() {
        found(
            |view| server(view, 1).replay_paused = true,
            &[("replay-paused", Some("node2"), Warning, "replay is paused")],
        );
    }

    #[test]
    fn a_vip_has_to_be_with_the_primary() {
        let answer = |answer: VipAnswer| move |view: &mut ClusterView| view.vips[0].answer = answer;
        found(
            answer(VipAnswer::Nobody { detail: "no answer in time".to_owned() }),
            &[("vip-nowhere", None, Critical, "nobody answers behind 192.0.2.23/24 (no answer in time)")],
        );
        found(
            answer(VipAnswer::Node { node: "node2".to_owned() }),
            &[("vip-on-standby", None, Critical, "192.0.2.23/24 is on node2, which isn't the primary")],
        );
        found(
            answer(VipAnswer::Stranger { detail: "system id 5".to_owned() }),
            &[(
                "vip-on-stranger",
                None,
                Critical,
                "behind 192.0.2.23/24 answers a server that is none of the nodes (system id 5)",
            )],
        );
        found(
            answer(VipAnswer::Unknown { detail: "password".to_owned() }),
            &[("vip-unknown", None, Warning, "it can't be told who answers behind 192.0.2.23/24 (password)")],
        );
        found(answer(VipAnswer::NotAsked), &[]);
    }

    #[test]
    fn a_vip_that_two_daemons_hold_is_critical() {
        found(
            |view| {
                for (node, state) in [(0, "ACTIVE"), (1, "ACTIVE")] {
                    let mut told = told(state, "serving");
                    told.held = Some(vec!["192.0.2.23/24".to_owned()]);
                    view.nodes[node].daemon = DaemonView::Told(told);
                }
            },
            &[("vip-twice", None, Critical, "192.0.2.23/24 is held by node1 and node2")],
        );
    }

    #[test]
    fn each_way_of_not_answering_has_its_own_question() {
        let cases = [
            (
                Reach::Refused,
                "server-down",
                "PostgreSQL isn't running (x)",
                "why did it stop? its log says so",
            ),
            (
                Reach::Timeout,
                "no-answer",
                "x: host off, cut off, or server frozen",
                "does the host answer? ping 192.0.2.22",
            ),
            (Reach::NoRoute, "no-route", "the network has no way there (x)", "ip route get 192.0.2.22"),
            (
                Reach::Auth,
                "not-let-in",
                "the server doesn't let us in (x)",
                "does its pg_hba.conf allow this host, and is the password in ~/.pgpass?",
            ),
            (
                Reach::Starting,
                "starting",
                "the server isn't open for connections (x)",
                "is it still recovering? its log says how far it is",
            ),
            (Reach::Error, "error", "the server can't answer (x)", "what does its log say?"),
        ];
        for (reach, code, message, question) in cases {
            let change = |view: &mut ClusterView| {
                gone(view, 1, reach);
                view.nodes[1].detail = Some("x".to_owned());
            };
            found(change, &[(code, Some("node2"), Warning, message)]);
            assert_eq!(hint(change), question);
        }
    }

    #[test]
    fn an_ex_primary_that_is_kept_down_says_why_in_its_daemon_s_words() {
        let change = |view: &mut ClusterView| {
            gone(view, 1, Reach::Refused);
            let mut told = told("BACKUP", "fenced");
            told.reason = Some("term 3 is confirmed on node1".to_owned());
            told.hint = Some("rebuild it".to_owned());
            view.nodes[1].daemon = DaemonView::Told(told);
        };
        found(
            change,
            &[(
                "stays-down",
                Some("node2"),
                Warning,
                "PostgreSQL is kept down: term 3 is confirmed on node1",
            )],
        );
        assert_eq!(hint(change), "rebuild it");
    }

    #[test]
    fn a_daemon_that_doesn_t_run_or_holds_is_seen() {
        found(
            |view| view.nodes[1].daemon = DaemonView::NotRunning { detail: "no socket".to_owned() },
            &[("daemon-down", Some("node2"), Warning, "the daemon isn't running (no socket)")],
        );
        found(
            |view| {
                let mut told = told("BACKUP", "held");
                told.reason = Some("nothing proves that node1 is dead".to_owned());
                view.nodes[1].daemon = DaemonView::Told(told);
            },
            &[(
                "daemon-held",
                Some("node2"),
                Warning,
                "the daemon has put on hold the node: nothing proves that node1 is dead",
            )],
        );
    }

    #[test]
    fn a_daemon_in_another_term_than_its_database_is_seen() {
        found(
            |view| {
                let mut told = told("BACKUP", "standby");
                told.term = Some(5);
                view.nodes[1].daemon = DaemonView::Told(told);
            },
            &[("term-mismatch", Some("node2"), Warning, "the daemon is in term 5, the database in term 2")],
        );
    }

    #[test]
    fn a_server_of_another_cluster_is_seen_once() {
        found(
            |view| {
                server(view, 1).system_id = "5".to_owned();
                server(view, 1).receiver = None;
            },
            &[(
                "other-system",
                Some("node2"),
                Critical,
                "belongs to another cluster: system id 5, not 7400000000000000001",
            )],
        );
    }

    #[test]
    fn commits_that_wait_for_nobody_are_critical() {
        let change = |view: &mut ClusterView| server(view, 0).senders.clear();
        found(
            change,
            &[(
                "commits-wait",
                Some("node1"),
                Critical,
                "commits wait: none of synchronous_standby_names = 'ANY 1 (node2, spare)' streams",
            )],
        );
        found(
            |view| {
                for sender in &mut server(view, 0).senders {
                    sender.sync_state = None;
                }
            },
            &[],
        );
    }

    #[test]
    fn a_spare_that_was_promoted_is_critical() {
        found(
            |view| {
                gone(view, 0, Reach::NotAsked);
                view.nodes[1].reach = Reach::NotAsked;
                view.nodes[1].server = None;
                server(view, 2).role = ServerRole::Primary;
                view.vips[0].answer = VipAnswer::NotAsked;
            },
            &[("spare-is-primary", Some("spare"), Critical, "is a spare, but its server is a primary")],
        );
    }

    #[test]
    fn a_primary_without_standby_signal_is_a_warning() {
        found(
            |view| server(view, 0).start_protected = Some(false),
            &[(
                "unprotected-start",
                Some("node1"),
                Warning,
                "would start writable by itself: no standby.signal in its data directory",
            )],
        );
    }

    #[test]
    fn settings_that_will_hurt_later_are_notes() {
        found(
            |view| {
                server(view, 0).restart_after_crash = Some(true);
                server(view, 1).rewindable = Some(false);
            },
            &[
                (
                    "restarts-itself",
                    Some("node1"),
                    Note,
                    "restart_after_crash is on: the server restarts behind the daemon's back",
                ),
                (
                    "not-rewindable",
                    Some("node2"),
                    Note,
                    "neither wal_log_hints nor data checksums are on: pg_rewind can't work",
                ),
            ],
        );
    }

    #[test]
    fn without_postgres_nobody_is_missed() {
        found(
            |view| {
                for node in 0..3 {
                    gone(view, node, Reach::NotAsked);
                }
                view.vips[0].answer = VipAnswer::NotAsked;
            },
            &[],
        );
    }

    #[test]
    fn the_worst_comes_first() {
        let mut view = healthy();
        server(&mut view, 0).restart_after_crash = Some(true);
        server(&mut view, 1).replay_paused = true;
        view.vips[0].answer = VipAnswer::Nobody { detail: String::new() };
        let severities: Vec<Severity> = problems(&view).iter().map(|problem| problem.severity).collect();
        assert_eq!(severities, [Critical, Warning, Note]);
    }

    #[test]
    fn sizes_are_said_as_people_say_them() {
        let sizes = [0, 1023, 1024, 1536, 40 << 20, (1 << 30) + (1 << 29), u64::MAX].map(bytes);
        assert_eq!(sizes, ["0 B", "1023 B", "1 kB", "1.5 kB", "40 MB", "1.5 GB", "17179869183 GB"]);
    }
}
