//! What `cluster status --watch` remembers from look to look: the lag of each standby as a small curve, and what
//! changed.

use super::problems::bytes;
use super::view::VipAnswer;
use super::{Severity, StatusReport};
use crate::output::clean;
use crate::output::paint::{Paint, Tone};
use crate::output::table::shorten;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How many looks a curve shows.
const LOOKS: usize = 40;
/// How many changes are shown.
const CHANGES: usize = 8;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What was seen in the looks before.
#[derive(Debug, Default)]
pub struct History {
    lags: BTreeMap<String, VecDeque<Option<u64>>>,
    changes: VecDeque<Change>,
    last: Option<Seen>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Change {
    /// RFC 3339.
    at: String,
    text: String,
    tone: Tone,
}

/// What of a look is compared with the next one.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    primary: Option<String>,
    vips: Vec<(String, Option<String>)>,
    problems: BTreeSet<(Severity, Option<String>, &'static str, String)>,
}

impl Seen {
    fn of(report: &StatusReport) -> Self {
        let owner = |answer: &VipAnswer| match answer {
            VipAnswer::Node { node } => Some(node.clone()),
            _ => None,
        };
        Self {
            primary: report.primary.clone(),
            vips: report.view.vips.iter().map(|vip| (vip.address.clone(), owner(&vip.answer))).collect(),
            problems: report
                .problems
                .iter()
                .map(|problem| {
                    (problem.severity, problem.node.clone(), problem.code, problem.message.clone())
                })
                .collect(),
        }
    }

    fn has(&self, node: Option<&String>, code: &str) -> bool {
        self.problems.iter().any(|(_, of, known, _)| of.as_ref() == node && *known == code)
    }
}

impl History {
    /// Takes a look in.
    pub fn see(&mut self, report: &StatusReport) {
        for node in &report.view.nodes {
            let lag = node.server.as_ref().and_then(|server| server.lag_bytes);
            if lag.is_none() && !self.lags.contains_key(&node.name) {
                continue;
            }
            let lags = self.lags.entry(node.name.clone()).or_default();
            if lags.len() == LOOKS {
                lags.pop_front();
            }
            lags.push_back(lag);
        }
        let seen = Seen::of(report);
        if let Some(last) = self.last.take() {
            for (text, tone) in changes(&last, &seen) {
                self.note(&report.view.at, text, tone);
            }
        }
        self.last = Some(seen);
    }

    /// Takes in something that happened elsewhere; `at` is RFC 3339.
    pub fn note(&mut self, at: &str, text: String, tone: Tone) {
        let change = Change { at: at.to_owned(), text, tone };
        if self.changes.contains(&change) {
            return;
        }
        let place = self.changes.iter().rposition(|other| other.at <= change.at).map_or(0, |at| at + 1);
        self.changes.insert(place, change);
        while self.changes.len() > CHANGES {
            self.changes.pop_front();
        }
    }

    /// Renders the curves and the changes, below the table.
    pub fn render(&self, paint: Paint, width: usize) -> String {
        let mut text = String::new();
        let name_width = self.lags.keys().map(|name| name.chars().count()).max().unwrap_or(0);
        for (name, lags) in &self.lags {
            let peak = lags.iter().flatten().max().copied();
            let Some(peak) = peak else { continue };
            let room = width.saturating_sub(name_width + 22).clamp(8, LOOKS);
            let skipped = lags.len().saturating_sub(room);
            let curve: String = lags.iter().skip(skipped).map(|lag| bar(*lag, peak)).collect();
            if text.is_empty() {
                text.push('\n');
            }
            text.push_str(&format!(
                "lag {:<name_width$}  {}  peak {}\n",
                clean(name),
                paint.with(Tone::Accent, curve),
                bytes(peak)
            ));
        }
        if !self.changes.is_empty() {
            text.push('\n');
        }
        for change in &self.changes {
            // Of a moment only the time of day is shown; the date is that of the line at the bottom.
            let time = change.at.get(11..19).unwrap_or(&change.at);
            let line = shorten(&clean(&change.text), width.saturating_sub(10).max(20));
            text.push_str(&format!("{}  {}\n", paint.with(Tone::Dim, time), paint.with(change.tone, line)));
        }
        text
    }
}

fn bar(lag: Option<u64>, peak: u64) -> char {
    let Some(lag) = lag else { return '·' };
    // Nothing is the lowest bar, and anything at all is higher than nothing.
    let step = match (lag, peak) {
        (0, _) | (_, 0) => 0,
        (lag, peak) => u128::from(lag).saturating_mul(7).div_ceil(u128::from(peak)),
    };
    let highest = BARS.len() - 1;
    BARS.get(usize::try_from(step).unwrap_or(highest).min(highest)).copied().unwrap_or('█')
}

fn changes(before: &Seen, now: &Seen) -> Vec<(String, Tone)> {
    let mut found = Vec::new();
    match (&before.primary, &now.primary) {
        (before, now) if before == now => {}
        (Some(old), Some(new)) => {
            found.push((format!("the primary is {new}, no longer {old}"), Tone::Strong));
        }
        (None, Some(new)) => found.push((format!("the primary is {new}"), Tone::Good)),
        (Some(old), None) => found.push((format!("{old} is no longer the primary"), Tone::Bad)),
        (None, None) => {}
    }
    for ((address, new), (_, old)) in now.vips.iter().zip(&before.vips) {
        match (old, new) {
            (old, new) if old == new => {}
            (_, Some(new)) => found.push((format!("{address} is on {new}"), Tone::Strong)),
            (Some(old), None) => found.push((format!("{address} is no longer on {old}"), Tone::Bad)),
            (None, None) => {}
        }
    }
    let said = |severity: Severity, node: &Option<String>, message: &str| {
        let who = node.as_deref().map_or_else(String::new, |node| format!("{node}: "));
        let tone = match severity {
            Severity::Critical => Tone::Bad,
            Severity::Warning => Tone::Warn,
            Severity::Note => Tone::Plain,
        };
        (format!("{who}{message}"), tone)
    };
    for (severity, node, code, message) in &now.problems {
        // A problem whose message only counts on is no news.
        if !before.has(node.as_ref(), code) {
            found.push(said(*severity, node, message));
        }
    }
    for (_, node, code, message) in &before.problems {
        if !now.has(node.as_ref(), code) {
            let (text, _) = said(Severity::Note, node, message);
            found.push((format!("over: {text}"), Tone::Good));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::view::Reach;
    use super::super::view::tests::healthy;
    use super::*;

    fn look(at: &str, lag: u64) -> StatusReport {
        let mut view = healthy();
        view.at = format!("2026-01-02T05:04:{at}Z");
        view.nodes[1].server.as_mut().unwrap().lag_bytes = Some(lag);
        StatusReport::new(view)
    }

    #[test]
    fn lags_become_curves_and_changes_are_listed() {
        let mut history = History::default();
        for (at, lag) in [("01", 0), ("02", 1), ("03", 500_000), ("04", 1_000_000)] {
            history.see(&look(at, lag));
        }
        let mut view = healthy();
        view.at = "2026-01-02T05:04:05Z".to_owned();
        view.nodes[1].server = None;
        view.nodes[1].reach = Reach::Timeout;
        history.see(&StatusReport::new(view));
        history.see(&look("06", 0));
        history.note("2026-01-02T05:04:03.5Z", "node1: something its daemon said".to_owned(), Tone::Plain);
        insta::assert_snapshot!("watch", history.render(Paint::new(false), 80));
    }

    #[test]
    fn only_the_newest_changes_are_kept_in_the_order_of_time_and_never_twice() {
        let mut history = History::default();
        for second in (10..30).rev() {
            history.note(&format!("2026-01-02T05:04:{second}Z"), second.to_string(), Tone::Plain);
            history.note(&format!("2026-01-02T05:04:{second}Z"), second.to_string(), Tone::Plain);
        }
        let shown = history.render(Paint::new(false), 80);
        let times: Vec<&str> = shown.lines().filter(|line| !line.is_empty()).map(|line| &line[..8]).collect();
        assert_eq!(times.len(), CHANGES);
        assert_eq!((times[0], times[7]), ("05:04:22", "05:04:29"));
    }

    #[test]
    fn a_curve_fits_into_a_narrow_terminal() {
        let mut history = History::default();
        for lag in 0..100 {
            history.see(&look("01", lag << 30));
        }
        for line in history.render(Paint::new(false), 60).lines() {
            assert!(line.chars().count() <= 60, "{line}");
        }
    }
}
