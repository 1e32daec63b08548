//! The table of `cluster status`: one row for each node, the problems below.
//!
//! It fits into 80 columns, and colour only repeats what the words say.

use super::problems::{bytes, sender_of};
use super::view::{NodeView, Reach, ServerRole, ServerView, VipAnswer};
use super::{Problem, Severity, StatusReport};
use crate::output::paint::{Paint, Tone};
use crate::output::table::{Align, Cell, Table};
use crate::output::{clean, wrapped};

impl StatusReport {
    /// Renders the report for a person, for a terminal of so many columns.
    pub fn render(&self, paint: Paint, width: usize) -> String {
        let mut text = self.headline(paint);
        for vip in &self.view.vips {
            let (words, tone) = match &vip.answer {
                VipAnswer::Node { node } => {
                    let right = self.primary.as_ref() == Some(node);
                    (format!("is on {node}"), if right { Tone::Good } else { Tone::Bad })
                }
                VipAnswer::Stranger { .. } => {
                    ("is on a server that is none of the nodes".to_owned(), Tone::Bad)
                }
                VipAnswer::Nobody { .. } => ("nobody answers".to_owned(), Tone::Bad),
                VipAnswer::Unknown { .. } => ("can't be told".to_owned(), Tone::Warn),
                VipAnswer::NotAsked => continue,
            };
            text.extend([format!(
                "virtual IP {}: {}\n",
                clean(&vip.address),
                paint.with(tone, clean(&words))
            )]);
        }
        text.push('\n');
        text.push_str(&self.table().render(paint, width));
        if !self.problems.is_empty() {
            text.push('\n');
        }
        for problem in &self.problems {
            text.push_str(&rendered(problem, paint, width));
        }
        text
    }

    fn headline(&self, paint: Paint) -> String {
        let count = |severity| self.problems.iter().filter(|problem| problem.severity == severity).count();
        let parts: Vec<String> = [
            (count(Severity::Critical), "critical problem"),
            (count(Severity::Warning), "warning"),
            (count(Severity::Note), "note"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}{}", if count == 1 { "" } else { "s" }))
        .collect();
        let tone = match self.problems.first().map(|problem| problem.severity) {
            Some(Severity::Critical) => Tone::Bad,
            Some(Severity::Warning) => Tone::Warn,
            Some(Severity::Note) | None => Tone::Good,
        };
        let verdict = match (self.healthy, parts.as_slice()) {
            (true, []) => "healthy".to_owned(),
            (true, parts) => format!("healthy, {}", parts.join(", ")),
            (false, parts) => parts.join(", "),
        };
        let name = paint.with(Tone::Strong, clean(&self.view.cluster));
        format!("cluster {name}: {}\n", paint.with(tone, verdict))
    }

    fn table(&self) -> Table {
        let mut head = vec![
            ("NODE", Align::Left),
            ("ROLE", Align::Left),
            ("VRRP", Align::Left),
            ("VIP", Align::Left),
            ("TL/TERM", Align::Left),
            ("LSN", Align::Left),
            ("LAG", Align::Right),
        ];
        let senders = self.view.primary().and_then(|node| node.server.as_ref());
        let senders = senders.map(|server| server.senders.as_slice()).unwrap_or_default();
        // Where all replication is asynchronous the column would say nothing.
        let synchronous = senders.iter().any(|sender| sender.sync_state.as_deref() != Some("async"));
        if synchronous {
            head.push(("SYNC", Align::Left));
        }
        head.push(("SINCE", Align::Right));
        let mut table = Table::new(&head);
        for node in &self.view.nodes {
            let sync = synchronous.then(|| {
                let sender = sender_of(node, senders);
                sender.and_then(|sender| sender.sync_state.as_deref()).unwrap_or("-")
            });
            table.row(self.row(node, sync));
        }
        table
    }

    fn row(&self, node: &NodeView, sync: Option<&str>) -> Vec<Cell> {
        let server = node.server.as_ref();
        // What a daemon wrote into a table before its host fell silent says nothing about now.
        let told = node.daemon.told().filter(|_| !matches!(node.reach, Reach::Timeout | Reach::NoRoute));
        let me = self.view.asked_from.as_ref() == Some(&node.name);
        let worst = self
            .problems
            .iter()
            .filter(|problem| problem.node.as_ref() == Some(&node.name))
            .map(|problem| problem.severity)
            .min();
        let name = match worst {
            Some(Severity::Critical) => Tone::Bad,
            Some(Severity::Warning) => Tone::Warn,
            _ if me => Tone::Strong,
            _ => Tone::Plain,
        };
        let (role, role_tone) = role(node);
        let vrrp = match told {
            Some(told) if told.connected == Some(false) => "?",
            told => told.and_then(|told| told.vrrp_state.as_deref()).unwrap_or("-"),
        };
        let active = vrrp == "ACTIVE";
        let vip = self.has_vip(node);
        let lag_tone = if server
            .and_then(|server| server.lag_bytes)
            .is_some_and(|lag| lag > self.view.max_lag.unwrap_or(u64::MAX))
        {
            Tone::Warn
        } else {
            Tone::Plain
        };
        let since = told
            .and_then(|told| told.since_seconds)
            .or_else(|| server.and_then(|server| server.up_seconds))
            .map_or_else(|| "-".to_owned(), ago);
        let mut row = vec![
            Cell::new(&node.name, name),
            Cell::new(role, role_tone),
            Cell::new(vrrp, if active { Tone::Strong } else { Tone::Plain }),
            Cell::new(if vip { "yes" } else { "-" }, if vip { Tone::Strong } else { Tone::Plain }),
            server.map_or_else(|| "-".to_owned(), timeline).into(),
            server.map_or_else(|| "-".to_owned(), |server| server.lsn.to_string()).into(),
            Cell::new(server.map_or_else(|| "-".to_owned(), lag), lag_tone),
        ];
        row.extend(sync.map(Cell::from));
        row.push(since.into());
        row
    }

    fn has_vip(&self, node: &NodeView) -> bool {
        let behind =
            |answer: &VipAnswer| matches!(answer, VipAnswer::Node { node: name } if *name == node.name);
        let held =
            node.daemon.told().and_then(|told| told.held.as_ref()).is_some_and(|held| !held.is_empty());
        held || self.view.vips.iter().any(|vip| behind(&vip.answer))
    }
}

fn role(node: &NodeView) -> (&'static str, Tone) {
    match (node.reach, &node.server) {
        (_, Some(server)) => match (server.role, node.spare) {
            (ServerRole::Primary, _) => ("primary", Tone::Good),
            (ServerRole::Standby, false) => ("standby", Tone::Plain),
            (ServerRole::Standby, true) => ("spare", Tone::Plain),
        },
        (Reach::Refused, None) => ("down", Tone::Bad),
        (Reach::Starting, None) => ("starting", Tone::Warn),
        (Reach::NotAsked, None) => ("-", Tone::Plain),
        (Reach::Timeout | Reach::NoRoute, None) => ("silent", Tone::Bad),
        _ => ("unknown", Tone::Warn),
    }
}

fn timeline(server: &ServerView) -> String {
    match &server.epoch {
        Some(epoch) => format!("{}/{}", server.timeline, epoch.term),
        None => format!("{}/-", server.timeline),
    }
}

fn lag(server: &ServerView) -> String {
    match (server.lag_bytes, server.lag_seconds) {
        (None, _) => "-".to_owned(),
        (Some(0), _) => "0 B".to_owned(),
        (Some(size), None) => bytes(size),
        (Some(size), Some(seconds)) if seconds < 9.95 => format!("{} {seconds:.1} s", bytes(size)),
        (Some(size), Some(seconds)) => format!("{} {seconds:.0} s", bytes(size)),
    }
}

/// Returns a length of time in its largest unit, or its two largest where that matters.
pub(super) fn ago(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}min", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn rendered(problem: &Problem, paint: Paint, width: usize) -> String {
    let (word, tone) = match problem.severity {
        Severity::Critical => ("critical", Tone::Bad),
        Severity::Warning => ("warning", Tone::Warn),
        Severity::Note => ("note", Tone::Accent),
    };
    let who = problem.node.as_deref().map_or_else(String::new, |node| format!("{node}: "));
    let mut text = String::new();
    for (label, tone, words, indent) in [
        (format!("{word}:"), tone, format!("{who}{}", problem.message), 0),
        ("hint:".to_owned(), Tone::Accent, problem.hint.clone(), 2),
    ] {
        let label_width = label.chars().count() + 1;
        let mut lines =
            wrapped(&clean(&words), width.saturating_sub(indent + label_width).max(20)).into_iter();
        let first = lines.next().unwrap_or_default();
        text.extend([format!("{}{} {first}\n", " ".repeat(indent), paint.with(tone, &label))]);
        for line in lines {
            text.extend([format!("{}{line}\n", " ".repeat(indent + label_width))]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::{healthy, told};
    use super::super::view::{ClusterView, DaemonView};
    use super::*;
    use crate::pg::lsn::Lsn;

    fn shown(view: ClusterView) -> String {
        let report = StatusReport::new(view);
        let text = report.render(Paint::new(false), 80);
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
            assert!(!line.ends_with(' '), "{line:?}");
        }
        let coloured = report.render(Paint::new(true), 80);
        assert!(coloured.contains('\u{1b}'));
        text
    }

    #[test]
    fn a_healthy_cluster_is_a_table() {
        insta::assert_snapshot!("healthy", shown(healthy()));
    }

    #[test]
    fn the_state_of_a_daemon_that_fell_silent_is_not_known() {
        let mut view = healthy();
        let mut silent = told("BACKUP", "standby");
        silent.connected = Some(false);
        view.nodes[1].daemon = DaemonView::Told(silent);
        let text = shown(view);
        let row = text.lines().find(|line| line.starts_with("node2")).unwrap();
        assert!(row.contains(" ? ") && !row.contains("BACKUP"), "{text}");
    }

    #[test]
    fn a_cluster_in_trouble_is_a_table_with_problems_below() {
        let mut view = healthy();
        view.nodes[0].server = None;
        view.nodes[0].reach = Reach::Refused;
        let mut fenced = told("BACKUP", "fenced");
        fenced.reason = Some("term 3 is confirmed on node2".to_owned());
        view.nodes[0].daemon = DaemonView::Told(fenced);
        let node2 = view.nodes[1].server.as_mut().unwrap();
        node2.role = ServerRole::Primary;
        node2.lag_bytes = None;
        view.nodes[1].daemon = DaemonView::Told(told("ACTIVE", "serving"));
        view.vips[0].answer = VipAnswer::Node { node: "node2".to_owned() };
        let spare = view.nodes[2].server.as_mut().unwrap();
        spare.lsn = Lsn(0x0100_0000);
        spare.lag_bytes = Some(53_000_000);
        spare.lag_seconds = Some(71.2);
        spare.receiver = None;
        insta::assert_snapshot!("trouble", shown(view));
    }

    #[test]
    fn a_silent_node_s_old_words_aren_t_shown_as_its_state() {
        let mut view = healthy();
        view.nodes[0].server = None;
        view.nodes[0].reach = Reach::Timeout;
        view.nodes[0].detail = Some("no answer from 192.0.2.21:5432 in time".to_owned());
        view.vips[0].answer =
            VipAnswer::Nobody { detail: "no answer from 192.0.2.23:5432 in time".to_owned() };
        insta::assert_snapshot!("silent", shown(view));
    }

    #[test]
    fn what_the_network_says_can_not_drive_the_terminal() {
        let mut view = healthy();
        view.cluster = "a\u{1b}[2J".to_owned();
        view.nodes[0].name = "n\u{1b}]0;x\u{7}".to_owned();
        view.nodes[1].detail = Some("\u{1b}[31m".to_owned());
        view.nodes[1].server = None;
        view.nodes[1].reach = Reach::Error;
        assert!(!shown(view).contains('\u{1b}'));
    }

    #[test]
    fn times_are_said_in_one_unit() {
        assert_eq!([5, 119, 120, 7199, 7200, 172_800].map(ago), ["5s", "119s", "2min", "119min", "2h", "2d"]);
    }
}
