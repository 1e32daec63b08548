//! The demo on a terminal: a spinner while the lab is built, one line per event, the summary.
//!
//! Renders into writers that it is given; colours are an addition, the words alone are enough.

use crate::demo::lab::{Lab, LabOptions, VIP};
use crate::demo::report::{DemoReport, Happening};
use crate::demo::scenario::Observer;
use crate::output::timeline::{Timeline, render_terminal};
use indicatif::{ProgressBar, ProgressDrawTarget};
use std::fmt::Write as _;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What a colour says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tone {
    Good,
    Bad,
    Dim,
    Strong,
    Accent,
}

/// How to show it.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Whether to use colours.
    pub colour: bool,
    /// Whether standard error is a terminal that may show a spinner.
    pub spinner: bool,
    /// The width of the terminal.
    pub columns: usize,
}

/// Shows a demo while it runs.
pub struct Screen<W> {
    look: Look,
    out: Mutex<W>,
    spinner: ProgressBar,
}

impl<W: Write> Screen<W> {
    /// Creates a screen that writes its lines to `out`.
    pub fn new(look: Look, out: W) -> Self {
        let target = if look.spinner { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let spinner = ProgressBar::with_draw_target(None, target);
        if look.spinner {
            spinner.enable_steady_tick(Duration::from_millis(100));
        }
        Self { look, out: Mutex::new(out), spinner }
    }

    /// Writes the summary at the end, and how to look around in a lab that stays.
    pub fn finish(&self, report: &DemoReport, timeline: &Timeline, lab: &LabOptions) {
        self.write(&summary(report, timeline, self.look));
        if report.kept {
            self.write(&look_around(lab));
        }
    }

    fn write(&self, text: &str) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // A reader that has gone away (EPIPE) doesn't stop the demo: the lab has to be taken down.
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).ok();
    }
}

impl<W: Write> Observer for Screen<W> {
    fn building(&self, what: &str) {
        self.spinner.set_message(format!("building: {what}"));
    }

    fn ready(&self, lab: &Lab) {
        self.spinner.finish_and_clear();
        let names: Vec<&str> = lab.hosts.iter().map(|host| host.name.as_str()).collect();
        self.write(&format!(
            "{} and a client in network namespaces of their own, built in {:.1} s\n\
             node1 is the primary and has {}; the client commits numbered rows through it\n\n",
            names.join(", "),
            lab.built_in.as_secs_f64(),
            lab.vip().ip()
        ));
    }

    fn happened(&self, happening: &Happening) {
        self.write(&format!("{}\n", line(happening, self.look.colour)));
    }
}

/// Renders one event as a line: time since the fault, who, what.
pub fn line(happening: &Happening, colour: bool) -> String {
    let tone = match happening.event.as_str() {
        "fault" | "postmaster-gone" | "fenced" | "contested" | "overslept" => Some(Tone::Bad),
        "first-commit" | "serving" => Some(Tone::Good),
        "decision" | "active-down" | "undone" => Some(Tone::Strong),
        "step-started" | "vip-probe" | "peer-answer" => Some(Tone::Dim),
        _ => None,
    };
    let time = format!("{:>+10.1} ms", happening.at_ms);
    let who = format!("{:<7}", happening.source);
    let what = clean(&happening.text);
    let what = tone.map_or_else(|| what.clone(), |tone| paint(tone, &what, colour));
    format!("{}  {}  {what}", paint(Tone::Dim, &time, colour), paint(Tone::Accent, &who, colour))
}

/// Renders the end: stages, timeline, outage, rows, the picture's path.
pub fn summary(report: &DemoReport, timeline: &Timeline, look: Look) -> String {
    let mut text = String::new();
    let title = format!("{} → {}", timeline.zero_label, report.new_primary);
    // Writing to a String can't fail.
    writeln!(text, "\n{}", paint(Tone::Strong, &title, look.colour)).ok();
    writeln!(text, "{:>12} {:>12}", "at", "took").ok();
    for stage in &report.stages {
        let label = if stage.source == "client" {
            stage.label.to_owned()
        } else {
            format!("{}: {}", stage.source, stage.label)
        };
        writeln!(text, "{:>9.1} ms {:>9.1} ms  {label}", stage.at_ms, stage.took_ms).ok();
    }
    // The summary follows below, in colours of its own.
    let picture = Timeline { summary: Vec::new(), ..timeline.clone() };
    writeln!(text, "\n{}", render_terminal(&picture, look.columns, look.colour).trim_end()).ok();
    text.push('\n');
    let pairs = summary_pairs(report);
    let width = pairs.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    for (label, value) in pairs {
        let bad = (label.contains("lost") || label.contains("both")) && !value.starts_with('0');
        let tone = if bad { Tone::Bad } else { Tone::Strong };
        writeln!(text, "{label:<width$}  {}", paint(tone, &value, look.colour)).ok();
    }
    if let Some(path) = &report.svg {
        writeln!(text, "\npicture: {}", path.display()).ok();
    }
    text
}

/// Returns what the failover amounts to, for the summary and for the picture.
pub fn summary_pairs(report: &DemoReport) -> Vec<(String, String)> {
    let rows = &report.rows;
    let mut pairs = vec![
        ("write outage seen by the client".to_owned(), format!("{:.1} ms", report.write_outage_ms)),
        ("commits acknowledged".to_owned(), rows.acknowledged.to_string()),
        (format!("of these on {}", report.new_primary), rows.present.to_string()),
        ("acknowledged commits lost".to_owned(), rows.lost.to_string()),
    ];
    if let Some(returned) = &report.returned {
        pairs.push((
            format!("acknowledged by {} after the promotion", report.old_primary),
            returned.acknowledged_after_promotion.to_string(),
        ));
        pairs.push(("both acknowledged for".to_owned(), format!("{:.0} ms", returned.both_acknowledged_ms)));
        let lost = returned.local_rows.lost.to_string();
        pairs.push((format!("commits lost by a client on {} itself", report.old_primary), lost));
    }
    pairs
}

/// Returns how to look around in a lab that was left running, and how to remove it.
///
/// Control sockets and `PostgreSQL`'s Unix sockets are reached from everywhere; what connects to the nodes'
/// addresses has to run inside a namespace of the lab.
pub fn look_around(lab: &LabOptions) -> String {
    let (prefix, base, binary) = (&lab.prefix, lab.base.display(), lab.binary.display());
    let command = format!("{binary} --config {base}/pgbaton.toml");
    let mut text = format!(
        "\nThe cluster goes on running. To look around:\n  \
         ip netns exec {prefix}client {command} cluster status\n  \
         ip netns exec {prefix}client psql -h {VIP} -U postgres   # through the virtual address\n"
    );
    for name in lab.node_names() {
        writeln!(text, "  {command} --node {name} vrrp status").ok();
        writeln!(text, "  psql -h {base}/{name} -U postgres").ok();
        writeln!(text, "  less {base}/{name}/pgbaton.log {base}/{name}/postgresql.log").ok();
    }
    writeln!(text, "To remove it:\n  {binary} demo --clean").ok();
    text
}

fn clean(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

fn paint(tone: Tone, text: &str, colour: bool) -> String {
    if !colour {
        return text.to_owned();
    }
    let code = match tone {
        Tone::Good => "32",
        Tone::Bad => "31",
        Tone::Dim => "2",
        Tone::Strong => "1",
        Tone::Accent => "36",
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_the_time_the_source_and_the_words() {
        let happening = Happening {
            at_ms: 331.25,
            source: "node2".to_owned(),
            event: "decision".to_owned(),
            text: "promote\u{1b}".to_owned(),
        };
        assert_eq!(line(&happening, false), "    +331.2 ms  node2    promote ");
        assert!(line(&happening, true).contains("\u{1b}[1mpromote \u{1b}[0m"));
    }
}
