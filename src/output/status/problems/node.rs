//! What is wrong with a single node: unreachable, held, diverged, behind, or badly set up.

use super::super::view::{DaemonView, NodeView, Reach, Sender, ServerRole, ServerView, Source, Told};
use super::{Finder, Severity, bytes, held};

/// How long a node may be out of the election on its way into it.
const PASSING: Option<u64> = Some(5);

impl Finder<'_> {
    pub(super) fn reach(&mut self, node: &NodeView) {
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
                format!(
                    "{}: host off or cut off, or no route to it",
                    node.detail.as_deref().unwrap_or("it can't be reached")
                ),
                format!("does the host answer? ping {0}; ip route get {0}", node.address),
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

    pub(super) fn needs_check(&mut self, node: &NodeView) {
        if let Some(reason) = &node.needs_check {
            self.add(
                Severity::Warning,
                "needs-check",
                Some(node),
                format!("was fenced ({reason}), and nobody has looked at its data since"),
                format!("on {}: pgbaton pg rebuild-standby", node.name),
            );
        }
    }

    pub(super) fn daemon(&mut self, node: &NodeView) {
        match &node.daemon {
            DaemonView::Unknown => {
                // Others have written into the primary's table, and this node's daemon never has.
                let table =
                    |other: &NodeView| other.daemon.told().is_some_and(|it| it.source == Source::Table);
                let tells = self.view.primary().is_some() && self.view.nodes.iter().any(table);
                if tells && !node.spare && node.reach == Reach::Answered {
                    self.add(
                        Severity::Warning,
                        "daemon-unknown",
                        Some(node),
                        "no daemon has ever told anything from here: it neither takes over nor stops when it must",
                        format!("on {}: systemctl enable --now pgbaton", node.name),
                    );
                }
            }
            DaemonView::NotRunning { detail } => self.add(
                Severity::Warning,
                "daemon-down",
                Some(node),
                match detail.as_str() {
                    detail if detail.starts_with("the daemon isn't running") => detail.to_owned(),
                    detail => format!("the daemon isn't running ({detail})"),
                },
                format!("on {}: systemctl start pgbaton, or pgbaton vrrp run", node.name),
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
                self.unheard(node, told, stale);
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

    /// Whether a daemon has fallen silent, or has no part in the election.
    fn unheard(&mut self, node: &NodeView, told: &Told, stale: bool) {
        let reachable =
            self.view.primary().is_some() && matches!(node.reach, Reach::Answered | Reach::Refused);
        if told.connected == Some(false) && reachable {
            let message = "its daemon has no session to the primary: it doesn't run, or can't reach it";
            let hint = format!("on {}: systemctl status pgbaton; pgbaton vrrp status", node.name);
            self.add(Severity::Warning, "daemon-silent", Some(node), message, hint);
            return;
        }
        let streams = node.server.as_ref().is_some_and(|server| {
            server.role == ServerRole::Standby
                && server.receiver.as_ref().is_some_and(|it| it.status.is_some())
        });
        let out = told.vrrp_state.as_deref() == Some("INITIALIZE") && told.since_seconds >= PASSING;
        if out && streams && !stale && !node.spare && told.phase.as_deref() == Some("standby") {
            let why = told.reason.as_deref().map_or_else(String::new, |why| format!(": {why}"));
            self.add(
                Severity::Warning,
                "not-elected",
                Some(node),
                format!("has no part in the election, so it doesn't take over{why}"),
                format!("on {}: pgbaton vrrp status; ip -brief link", node.name),
            );
        }
    }

    pub(super) fn standby(&mut self, node: &NodeView, server: &ServerView) {
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
        let rebuild =
            "which of the two has the data you need? save it, then, on the other: pgbaton pg rebuild-standby";
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
        if let Some(sender) = sender_of(node, &upstream.senders)
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

    pub(super) fn primary(&mut self, node: &NodeView, server: &ServerView) {
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

    pub(super) fn setup(&mut self, node: &NodeView, server: &ServerView) {
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
pub(in crate::output::status) fn sender_of<'a>(node: &NodeView, senders: &'a [Sender]) -> Option<&'a Sender> {
    let by_name = senders.iter().find(|sender| sender.name == node.name);
    by_name.or_else(|| {
        let mut here = senders.iter().filter(|sender| sender.address.as_deref() == Some(&node.address));
        // Two servers of one address: neither is surely this one.
        here.next().filter(|_| here.next().is_none())
    })
}
