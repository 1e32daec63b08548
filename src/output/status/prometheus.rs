//! `cluster status --format prometheus`: the cluster in the text format of Prometheus, for the textfile collector.

use super::view::{DaemonView, Reach, ServerRole, ServerView, VipAnswer};
use super::{Severity, StatusReport};
use serde_json::Value;
use std::fmt::Display;
use std::time::Duration;

/// Metrics in the making: per metric its help and type, then every series.
#[derive(Debug, Default)]
struct Metrics {
    text: String,
}

/// The labels of a series.
type Labels<'a> = [(&'a str, &'a str)];

impl Metrics {
    fn metric(&mut self, name: &str, help: &str) {
        self.text.push_str(&format!("# HELP pgbaton_{name} {help}\n# TYPE pgbaton_{name} gauge\n"));
    }

    fn series(&mut self, name: &str, labels: &Labels<'_>, value: impl Display) {
        let labels: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
        self.text.push_str(&format!("pgbaton_{name}{{{}}} {value}\n", labels.join(",")));
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

impl StatusReport {
    /// Renders the report for Prometheus; `now` is the wall clock as time since 1970, `took` how long asking lasted.
    pub fn prometheus(&self, now: Duration, took: Duration) -> String {
        let cluster = self.view.cluster.as_str();
        let mut metrics = Metrics::default();
        metrics.metric("cluster_healthy", "Whether no problem or warning is known.");
        metrics.series("cluster_healthy", &[("cluster", cluster)], u8::from(self.healthy));
        metrics.metric("cluster_primaries", "How many nodes are a primary; anything but 1 is wrong.");
        metrics.series("cluster_primaries", &[("cluster", cluster)], self.view.primaries().count());
        metrics.metric("cluster_problems", "How many problems of a severity are known.");
        for (severity, name) in SEVERITIES {
            let count = self.problems.iter().filter(|problem| problem.severity == severity).count();
            metrics.series("cluster_problems", &[("cluster", cluster), ("severity", name)], count);
        }
        self.problem_series(&mut metrics);
        self.vip_series(&mut metrics);
        self.node_series(&mut metrics);
        self.server_series(&mut metrics);
        metrics.metric("status_timestamp_seconds", "When the nodes were asked, since 1970.");
        metrics.series(
            "status_timestamp_seconds",
            &[("cluster", cluster)],
            format!("{:.3}", now.as_secs_f64()),
        );
        metrics.metric("status_duration_seconds", "How long asking the nodes took.");
        metrics.series(
            "status_duration_seconds",
            &[("cluster", cluster)],
            format!("{:.6}", took.as_secs_f64()),
        );
        metrics.text
    }

    fn problem_series(&self, metrics: &mut Metrics) {
        metrics.metric("cluster_problem", "A problem that is known now; the code says which.");
        let mut told: Vec<(&str, &str)> = Vec::new();
        for problem in &self.problems {
            let node = problem.node.as_deref().unwrap_or_default();
            // Two of one kind about one node would be one series twice.
            if told.contains(&(problem.code, node)) {
                continue;
            }
            told.push((problem.code, node));
            let severity = SEVERITIES.iter().find(|(severity, _)| *severity == problem.severity);
            let labels = [
                ("cluster", self.view.cluster.as_str()),
                ("node", node),
                ("code", problem.code),
                ("severity", severity.map_or("note", |(_, name)| name)),
            ];
            metrics.series("cluster_problem", &labels, 1);
        }
    }

    fn vip_series(&self, metrics: &mut Metrics) {
        let asked: Vec<_> = self.view.vips.iter().filter(|vip| vip.answer != VipAnswer::NotAsked).collect();
        metrics.metric("vip_on_primary", "Whether the primary answers behind the virtual IP.");
        for vip in &asked {
            let labels = [("cluster", self.view.cluster.as_str()), ("address", vip.address.as_str())];
            metrics.series("vip_on_primary", &labels, u8::from(self.is_right(&vip.answer)));
        }
        metrics.metric("node_vip", "Whether this node answers behind the virtual IP.");
        for vip in &asked {
            for node in &self.view.nodes {
                let here = matches!(&vip.answer, VipAnswer::Node { node: name } if *name == node.name);
                let labels = [
                    ("cluster", self.view.cluster.as_str()),
                    ("node", node.name.as_str()),
                    ("address", vip.address.as_str()),
                ];
                metrics.series("node_vip", &labels, u8::from(here));
            }
        }
    }

    fn node_series(&self, metrics: &mut Metrics) {
        let cluster = self.view.cluster.as_str();
        let asked: Vec<_> = self.view.nodes.iter().filter(|node| node.reach != Reach::NotAsked).collect();
        metrics.metric("node_up", "Whether the node's PostgreSQL answered.");
        for node in &asked {
            let labels = [("cluster", cluster), ("node", node.name.as_str())];
            metrics.series("node_up", &labels, u8::from(node.server.is_some()));
        }
        metrics.metric("node_reach", "How the node's PostgreSQL answered: the label says it.");
        for node in &asked {
            let reach = serde_json::to_value(node.reach).unwrap_or(Value::Null);
            let reach = reach.as_str().unwrap_or_default();
            let labels = [("cluster", cluster), ("node", node.name.as_str()), ("reach", reach)];
            metrics.series("node_reach", &labels, 1);
        }
        metrics.metric("node_daemon", "What the node's daemon said last: VRRP state and phase.");
        for node in &self.view.nodes {
            let (state, phase) = match &node.daemon {
                DaemonView::Unknown => continue,
                DaemonView::NotRunning { .. } => ("", "not-running"),
                DaemonView::Told(told) => (
                    told.vrrp_state.as_deref().unwrap_or_default(),
                    told.phase.as_deref().unwrap_or_default(),
                ),
            };
            let labels =
                [("cluster", cluster), ("node", node.name.as_str()), ("vrrp_state", state), ("phase", phase)];
            metrics.series("node_daemon", &labels, 1);
        }
        metrics.metric("node_role", "What the node's PostgreSQL is.");
        for (node, server) in self.view.servers() {
            let role = match server.role {
                ServerRole::Primary => "primary",
                ServerRole::Standby => "standby",
            };
            metrics.series("node_role", &[("cluster", cluster), ("node", &node.name), ("role", role)], 1);
        }
        metrics.metric("node_sync_state", "How the primary counts this standby.");
        let primary = self.view.primary().and_then(|node| node.server.as_ref());
        for sender in primary.map(|server| server.senders.as_slice()).unwrap_or_default() {
            if let Some(state) = &sender.sync_state
                && self.view.nodes.iter().any(|node| node.name == sender.name)
            {
                let labels = [("cluster", cluster), ("node", sender.name.as_str()), ("sync_state", state)];
                metrics.series("node_sync_state", &labels, 1);
            }
        }
    }

    fn server_series(&self, metrics: &mut Metrics) {
        type Value = fn(&ServerView) -> Option<String>;
        let streaming: Value = |server| {
            let standby = server.role == ServerRole::Standby;
            let streams =
                server.receiver.as_ref().is_some_and(|it| it.status.as_deref() == Some("streaming"));
            standby.then(|| u8::from(streams).to_string())
        };
        let values: [(&str, &str, Value); 9] = [
            ("node_timeline", "The timeline that the server writes or follows.", |server| {
                Some(server.timeline.to_string())
            }),
            ("node_term", "The newest confirmed term in the server's data.", |server| {
                server.epoch.as_ref().map(|epoch| epoch.term.to_string())
            }),
            (
                "node_wal_position_bytes",
                "The end of the log (primary) or what is replayed of it.",
                |server| Some(server.lsn.0.to_string()),
            ),
            ("node_replay_lag_bytes", "What the primary has and the standby has not replayed.", |server| {
                server.lag_bytes.map(|lag| lag.to_string())
            }),
            (
                "node_replay_lag_seconds",
                "The age of what the standby has replayed; 0 without a lag.",
                |server| server.lag_seconds.map(|lag| format!("{lag:.6}")),
            ),
            ("node_streaming", "Whether the standby's WAL receiver streams.", streaming),
            ("node_replay_paused", "Whether replay was paused by hand.", |server| {
                (server.role == ServerRole::Standby).then(|| u8::from(server.replay_paused).to_string())
            }),
            ("node_uptime_seconds", "How long the server has been running.", |server| {
                server.up_seconds.map(|seconds| seconds.to_string())
            }),
            ("node_server_version", "The server's version as a number, as in 150004.", |server| {
                Some(server.version.to_string())
            }),
        ];
        for (name, help, value) in values {
            metrics.metric(name, help);
            for (node, server) in self.view.servers() {
                if let Some(value) = value(server) {
                    metrics.series(
                        name,
                        &[("cluster", self.view.cluster.as_str()), ("node", node.name.as_str())],
                        value,
                    );
                }
            }
        }
    }
}

const SEVERITIES: [(Severity, &str); 3] =
    [(Severity::Critical, "critical"), (Severity::Warning, "warning"), (Severity::Note, "note")];

#[cfg(test)]
mod tests {
    use super::super::view::tests::healthy;
    use super::*;

    fn rendered(report: &StatusReport) -> String {
        report.prometheus(Duration::from_millis(1_700_000_000_250), Duration::from_millis(12))
    }

    #[test]
    fn a_healthy_cluster_as_metrics() {
        insta::assert_snapshot!("prometheus_healthy", rendered(&StatusReport::new(healthy())));
    }

    #[test]
    fn no_series_is_there_twice_and_every_one_has_a_type() {
        let mut view = healthy();
        view.cluster = "a\"b\\c\nd".to_owned();
        view.nodes[0].server = None;
        view.nodes[0].reach = Reach::Refused;
        for node in &mut view.nodes {
            node.daemon = DaemonView::NotRunning { detail: String::new() };
        }
        let text = rendered(&StatusReport::new(view));
        let mut series: Vec<&str> = Vec::new();
        for line in text.lines() {
            if line.starts_with('#') {
                continue;
            }
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(!series.contains(&name), "{line}");
            series.push(name);
            let metric = name.split('{').next().unwrap();
            assert_eq!(text.matches(&format!("# TYPE {metric} gauge\n")).count(), 1, "{metric}");
        }
        assert!(series.len() > 10);
    }
}
