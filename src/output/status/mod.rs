//! `cluster status`: what every node says, what is wrong with it, and the exit code that follows.
//!
//! Pure. The edge (`command::cluster_status`) asks the nodes and fills a [`ClusterView`]; [`problems()`] finds what
//! is wrong; [`StatusReport`] is the versioned document for programs and [`StatusReport::render`] the table for
//! people. What isn't known is `None` or "unknown", never a guess.

mod history;
mod nagios;
mod problems;
mod prometheus;
mod render;
mod view;

use serde::Serialize;

pub use history::History;
pub use nagios::{PluginOutput, PluginState, Thresholds};
pub use problems::{Problem, Severity, problems};
pub use view::{
    ClusterView, DaemonView, EpochView, NodeView, PauseView, Reach, Receiver, Sender, ServerRole, ServerView,
    Source, Told, VipAnswer, VipView,
};

/// The document of `cluster status --json`.
///
/// `schema` grows when a key changes its meaning or goes away; keys may be added without that.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatusReport {
    /// The version of this document's form: 1.
    pub schema: u32,
    /// Whether nothing is wrong: no problem above [`Severity::Note`]. Exit code 0, else 1.
    pub healthy: bool,
    /// The node that is the primary, when exactly one is.
    pub primary: Option<String>,
    /// What the nodes said.
    #[serde(flatten)]
    pub view: ClusterView,
    /// What is wrong, the worst first.
    pub problems: Vec<Problem>,
}

impl StatusReport {
    /// Judges a view.
    pub fn new(view: ClusterView) -> Self {
        let problems = problems(&view);
        let healthy = problems.iter().all(|problem| problem.severity == Severity::Note);
        let primary = view.primary().map(|node| node.name.clone());
        Self { schema: 1, healthy, primary, view, problems }
    }

    /// Returns the exit code: 0 when nothing is wrong, else 1 (`Kind::Failed`).
    pub const fn exit_code(&self) -> u8 {
        if self.healthy { 0 } else { 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::view::tests::healthy;
    use super::*;

    #[test]
    fn a_healthy_cluster_is_exit_code_0() {
        let report = StatusReport::new(healthy());
        assert_eq!(report.problems, []);
        assert_eq!(report.exit_code(), 0);
        assert_eq!(report.primary.as_deref(), Some("node1"));
    }

    #[test]
    fn any_warning_is_exit_code_1_and_a_note_is_not() {
        let mut view = healthy();
        view.nodes[0].server.as_mut().unwrap().restart_after_crash = Some(true);
        let report = StatusReport::new(view.clone());
        assert_eq!(report.problems.len(), 1);
        assert_eq!(report.exit_code(), 0);
        view.nodes[1].server.as_mut().unwrap().replay_paused = true;
        assert_eq!(StatusReport::new(view).exit_code(), 1);
    }

    #[test]
    fn every_key_of_the_document_is_in_the_manual() {
        use super::view::{DaemonView, NodeView, VipAnswer, VipView};
        use crate::output::schema::{STATUS, tests::assert_described};
        let mut view = healthy();
        let unknown = VipAnswer::Unknown { detail: "x".to_owned() };
        view.vips.push(VipView { address: "192.0.2.24/24".to_owned(), answer: unknown });
        view.nodes[2].server.as_mut().unwrap().replay_paused = true;
        let silent = NodeView { server: None, ..view.nodes[1].clone() };
        view.nodes.push(silent);
        view.nodes[2].daemon = DaemonView::NotRunning { detail: "x".to_owned() };
        let mut document = serde_json::to_value(StatusReport::new(view)).unwrap();
        document["nodes"][2]["daemon"].as_object_mut().unwrap().remove("detail");
        assert_described(&STATUS, &document);
    }

    #[test]
    fn the_document_has_these_keys() {
        insta::assert_snapshot!(
            "document",
            serde_json::to_string_pretty(&StatusReport::new(healthy())).unwrap()
        );
    }
}
