//! `cluster status --format nagios`: what a monitoring plugin prints, and its exit code.
//!
//! One line with the state and the performance data, then a line for each problem. Everything goes to standard
//! output, because that is all that the caller reads.

use super::problems::bytes;
use super::view::{NodeView, ServerRole, ServerView, VipAnswer};
use super::{Severity, StatusReport};
use crate::output::clean;
use crate::settings::threshold::{Measure, Threshold, seconds};
use std::time::Duration;

/// The states of a plugin; the number is the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PluginState {
    /// Nothing is wrong.
    Ok = 0,
    /// Something isn't as it should be.
    Warning = 1,
    /// Clients suffer, or the next fault will hurt.
    Critical = 2,
    /// It couldn't be found out.
    Unknown = 3,
}

impl PluginState {
    /// Returns the exit code.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Critical => 2,
            Self::Unknown => 3,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// When a lag is an alert.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// Each is a warning.
    pub warning: Vec<Threshold>,
    /// Each is critical.
    pub critical: Vec<Threshold>,
}

/// What the plugin prints and how it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginOutput {
    /// The state.
    pub state: PluginState,
    /// The text for standard output.
    pub text: String,
}

impl PluginOutput {
    /// Returns the output for when nothing could be found out.
    pub fn unknown(message: &str, detail: Option<&str>, hints: &[String]) -> Self {
        let mut text = format!("PGBATON UNKNOWN - {}\n", plain(message));
        for line in detail.into_iter().flat_map(str::lines) {
            text.extend([plain(line).as_str(), "\n"]);
        }
        for hint in hints {
            text.extend(["hint: ", plain(hint).as_str(), "\n"]);
        }
        Self { state: PluginState::Unknown, text }
    }
}

/// What there is to say about the lag of one standby.
struct Alert {
    state: PluginState,
    message: String,
}

impl StatusReport {
    /// Renders the report for a monitoring system; `took` is how long asking has lasted.
    pub fn nagios(&self, thresholds: &Thresholds, took: Duration) -> PluginOutput {
        let mut alerts: Vec<Alert> = self
            .problems
            .iter()
            .filter_map(|problem| {
                let state = match problem.severity {
                    Severity::Critical => PluginState::Critical,
                    Severity::Warning => PluginState::Warning,
                    Severity::Note => return None,
                };
                let who = problem.node.as_deref().map_or_else(String::new, |node| format!("{node}: "));
                Some(Alert { state, message: format!("{who}{}; hint: {}", problem.message, problem.hint) })
            })
            .collect();
        alerts.extend(self.standbys().filter_map(|(node, server)| lag_alert(node, server, thresholds)));
        alerts.sort_by_key(|alert| std::cmp::Reverse(alert.state));
        let state = alerts.first().map_or(PluginState::Ok, |alert| alert.state);
        let summary = match alerts.as_slice() {
            [] => self.summary(),
            [only] => first_clause(&only.message),
            [first, rest @ ..] => format!("{} (and {} more)", first_clause(&first.message), rest.len()),
        };
        let mut text = format!(
            "PGBATON {} - {}: {} | {}\n",
            state.name(),
            plain(&self.view.cluster),
            plain(&summary),
            self.performance(thresholds, took)
        );
        for alert in &alerts {
            text.push_str(&format!("{}: {}\n", alert.state.name().to_lowercase(), plain(&alert.message)));
        }
        PluginOutput { state, text }
    }

    fn standbys(&self) -> impl Iterator<Item = (&NodeView, &ServerView)> {
        self.view.servers().filter(|(_, server)| server.role == ServerRole::Standby)
    }

    fn summary(&self) -> String {
        let standbys = self.standbys().count();
        let lag = self.standbys().filter_map(|(_, server)| server.lag_bytes).max();
        let mut parts = vec![match &self.primary {
            Some(primary) => format!("primary {primary}"),
            None => "no database configured".to_owned(),
        }];
        parts.push(format!("{standbys} standby{}", if standbys == 1 { "" } else { "s" }));
        parts.extend(lag.map(|lag| format!("lag {}", bytes(lag))));
        parts.join(", ")
    }

    fn performance(&self, thresholds: &Thresholds, took: Duration) -> String {
        let range = |all: &[Threshold], measure| {
            all.iter()
                .find(|threshold| threshold.measure == measure)
                .map(ToString::to_string)
                .unwrap_or_default()
        };
        let mut parts = vec![
            format!("'primaries'={};1:1;1:1;0", self.view.primaries().count()),
            format!("'nodes_up'={};;;0;{}", self.view.servers().count(), self.view.nodes.len()),
        ];
        if self.view.vips.iter().any(|vip| vip.answer != VipAnswer::NotAsked) {
            let right = self.view.vips.iter().filter(|vip| self.is_right(&vip.answer)).count();
            parts.push(format!("'vips_on_primary'={right};;;0;{}", self.view.vips.len()));
        }
        for (node, server) in self.standbys() {
            for (measure, name, value) in [
                (Measure::Bytes, "lag_bytes", server.lag_bytes.map(|lag| format!("{lag}B"))),
                (Measure::Time, "lag", server.lag_seconds.map(|lag| format!("{}s", seconds(micros(lag))))),
            ] {
                // "U" says that the value couldn't be found out.
                let value = value.unwrap_or_else(|| "U".to_owned());
                let (warning, critical) =
                    (range(&thresholds.warning, measure), range(&thresholds.critical, measure));
                parts.push(format!("'{}_{name}'={value};{warning};{critical};0", label(&node.name)));
            }
        }
        if let Some(server) = self.view.primary().and_then(|node| node.server.as_ref()) {
            parts.push(format!("'timeline'={}", server.timeline));
            parts.extend(server.epoch.as_ref().map(|epoch| format!("'term'={}", epoch.term)));
        }
        parts.push(format!("'time'={:.3}s;;;0", took.as_secs_f64()));
        parts.join(" ")
    }

    pub(super) fn is_right(&self, answer: &VipAnswer) -> bool {
        matches!(answer, VipAnswer::Node { node } if self.primary.as_ref() == Some(node))
    }
}

fn lag_alert(node: &NodeView, server: &ServerView, thresholds: &Thresholds) -> Option<Alert> {
    let found = |all: &[Threshold]| {
        all.iter().find_map(|threshold| {
            let (value, shown) = match threshold.measure {
                Measure::Bytes => (server.lag_bytes?, bytes(server.lag_bytes?)),
                Measure::Time => {
                    let lag = micros(server.lag_seconds?);
                    (u64::try_from(lag).unwrap_or(0), format!("{} s", seconds(lag)))
                }
            };
            threshold.alerts(value).then(|| format!("{}: lag {shown}, against {threshold}", node.name))
        })
    };
    if let Some(message) = found(&thresholds.critical) {
        return Some(Alert { state: PluginState::Critical, message });
    }
    found(&thresholds.warning).map(|message| Alert { state: PluginState::Warning, message })
}

/// Returns seconds as whole microseconds.
fn micros(seconds: f64) -> i64 {
    let length = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    i64::try_from(length.as_micros()).unwrap_or(i64::MAX)
}

fn first_clause(message: &str) -> String {
    message.split_once("; hint:").map_or(message, |(clause, _)| clause).to_owned()
}

/// Returns a text for a line of plugin output, in which "|" begins the performance data.
fn plain(text: &str) -> String {
    clean(text).replace('|', "/").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn label(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '=' | '\'') && !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::healthy;
    use super::*;

    fn thresholds(warning: &[&str], critical: &[&str]) -> Thresholds {
        let parse = |all: &[&str]| all.iter().map(|text| Threshold::parse(text).unwrap()).collect();
        Thresholds { warning: parse(warning), critical: parse(critical) }
    }

    const TOOK: Duration = Duration::from_millis(12);

    #[test]
    fn a_healthy_cluster_is_one_line() {
        let report = StatusReport::new(healthy());
        let output = report.nagios(&thresholds(&["16MB"], &["64MB", "10s"]), TOOK);
        assert_eq!(output.state.exit_code(), 0);
        insta::assert_snapshot!("nagios_healthy", output.text);
    }

    #[test]
    fn the_worst_alert_is_the_state_and_stands_first() {
        let mut view = healthy();
        let standby = view.nodes[1].server.as_mut().unwrap();
        standby.lag_bytes = Some(20 << 20);
        standby.lag_seconds = Some(12.5);
        view.nodes[2].server.as_mut().unwrap().replay_paused = true;
        let report = StatusReport::new(view);
        let output = report.nagios(&thresholds(&["16MB"], &["64MB"]), TOOK);
        assert_eq!(output.state, PluginState::Warning);
        let output = report.nagios(&thresholds(&["16MB"], &["10s"]), TOOK);
        assert_eq!(output.state.exit_code(), 2);
        insta::assert_snapshot!("nagios_trouble", output.text);
    }

    #[test]
    fn without_a_primary_it_is_critical_and_lags_are_unknown() {
        let mut view = healthy();
        view.nodes[0].server = None;
        view.nodes[0].reach = super::super::view::Reach::Timeout;
        for node in &mut view.nodes {
            if let Some(server) = &mut node.server {
                (server.lag_bytes, server.lag_seconds) = (None, None);
            }
        }
        let output = StatusReport::new(view).nagios(&thresholds(&["1"], &["2"]), TOOK);
        assert_eq!(output.state, PluginState::Critical);
        assert!(output.text.contains("'node2_lag_bytes'=U;1;2;0"), "{}", output.text);
    }

    #[test]
    fn nothing_in_a_message_can_begin_the_performance_data() {
        let mut view = healthy();
        view.cluster = "a|b'=1".to_owned();
        let output = StatusReport::new(view).nagios(&Thresholds::default(), TOOK);
        assert_eq!(output.text.matches('|').count(), 1, "{}", output.text);
        let unknown = PluginOutput::unknown("can't | read", Some("a\nb"), &["look".to_owned()]);
        assert_eq!(unknown.text, "PGBATON UNKNOWN - can't / read\na\nb\nhint: look\n");
    }
}
