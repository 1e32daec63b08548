//! The report of a changing verb: one value, rendered for a person or printed as one JSON document.
//!
//! The keys `changed`, `msg`, `warnings` and `failed` are those that Ansible knows.

use super::paint::{Paint, Tone};
use crate::error::Error;
use serde::Serialize;
use std::time::Duration;

/// What a changing verb did, or would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The version of this document's form.
    pub schema: u32,
    /// The verb, as it is typed: `vip up`.
    pub verb: String,
    /// Whether anything was changed, or would be under `--dry-run`.
    pub changed: bool,
    /// Whether this was `--dry-run`.
    pub dry_run: bool,
    /// Whether the verb failed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
    /// The outcome in one sentence, lower case, without a full stop.
    pub msg: String,
    /// What a person should know although it doesn't stop the verb.
    pub warnings: Vec<String>,
    /// The steps, in order.
    pub steps: Vec<StepReport>,
    /// The error that ended the verb.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorReport>,
    /// What only this verb reports.
    #[serde(flatten)]
    pub extra: serde_json::Map<String, serde_json::Value>,
}

/// One step of a verb.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepReport {
    /// The stable name of the step: `add-address`.
    pub step: String,
    /// The step in words, in the imperative: `add 192.0.2.23/24 to eth0`.
    pub describe: String,
    /// What became of it.
    pub status: StepStatus,
    /// How long it took, in milliseconds.
    pub took_ms: Option<f64>,
    /// Facts about it.
    pub detail: Option<String>,
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StepStatus {
    /// It was done.
    Done,
    /// It was already so.
    Unchanged,
    /// It would be done.
    Planned,
    /// A safety check doesn't allow it.
    Refused,
    /// It was tried and failed.
    Failed,
    /// An earlier step made it needless or impossible.
    Skipped,
}

impl StepStatus {
    /// Returns the word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Unchanged => "unchanged",
            Self::Planned => "planned",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }

    const fn tone(self) -> Tone {
        match self {
            Self::Done => Tone::Good,
            Self::Unchanged | Self::Skipped => Tone::Dim,
            Self::Planned => Tone::Accent,
            Self::Refused | Self::Failed => Tone::Bad,
        }
    }
}

/// An error as part of a JSON document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorReport {
    /// The stable word of [`crate::error::Kind::name`].
    pub kind: &'static str,
    /// What went wrong.
    pub message: String,
    /// The facts.
    pub detail: Option<String>,
    /// What to do next.
    pub hints: Vec<String>,
}

impl From<&Error> for ErrorReport {
    fn from(error: &Error) -> Self {
        Self {
            kind: error.kind().name(),
            message: error.message().to_owned(),
            detail: error.detail_text().map(str::to_owned),
            hints: error.hints().to_vec(),
        }
    }
}

impl Report {
    /// Creates the report of a verb that has done nothing yet.
    pub fn new(verb: &str) -> Self {
        Self {
            schema: 1,
            verb: verb.to_owned(),
            changed: false,
            dry_run: false,
            failed: false,
            msg: String::new(),
            warnings: Vec::new(),
            steps: Vec::new(),
            error: None,
            extra: serde_json::Map::new(),
        }
    }

    /// Creates the report of a verb that failed before its first step.
    pub fn of_error(verb: &str, error: &Error) -> Self {
        let mut report = Self::new(verb);
        report.fail(error);
        report
    }

    /// Returns one report of this and of what was done after it by another verb.
    #[must_use]
    pub fn followed_by(self, rest: Self) -> Self {
        let mut steps = self.steps;
        steps.extend(rest.steps);
        let mut warnings = self.warnings;
        warnings.extend(rest.warnings);
        Self { verb: self.verb, changed: self.changed || rest.changed, steps, warnings, ..rest }
    }

    /// Says that this error ended the verb.
    pub fn fail(&mut self, error: &Error) {
        self.failed = true;
        error.message().clone_into(&mut self.msg);
        self.error = Some(error.into());
    }

    /// Adds what only this verb reports.
    pub fn add(&mut self, key: &str, value: impl Into<serde_json::Value>) {
        self.extra.insert(key.to_owned(), value.into());
    }

    /// Renders the report for a person: a line for each step, the outcome last.
    ///
    /// The error isn't repeated: it follows on standard error.
    pub fn render(&self, paint: Paint, quiet: bool, verbose: bool) -> String {
        let mut text = String::new();
        if !quiet {
            for step in &self.steps {
                text.push_str(&step.render(paint, verbose));
            }
        }
        if !self.failed && !self.msg.is_empty() {
            let tone = if self.changed { Tone::Strong } else { Tone::Plain };
            text.push_str(&paint.with(tone, super::clean(&self.msg)));
            text.push('\n');
        }
        if self.dry_run && !quiet {
            text.push_str(&paint.with(Tone::Dim, "this was a dry run: nothing has been changed"));
            text.push('\n');
        }
        text
    }
}

impl StepReport {
    /// Creates the report of a step.
    pub fn new(step: &str, describe: impl Into<String>, status: StepStatus) -> Self {
        Self { step: step.to_owned(), describe: describe.into(), status, took_ms: None, detail: None }
    }

    /// Says how long the step took.
    #[must_use]
    pub fn took(mut self, duration: Duration) -> Self {
        self.took_ms = Some(duration.as_secs_f64() * 1e3);
        self
    }

    /// Adds facts.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    fn render(&self, paint: Paint, verbose: bool) -> String {
        let word = paint.with(self.status.tone(), format_args!("{:<9}", self.status.name()));
        let took = match self.took_ms {
            Some(took) if took >= 0.05 => paint.with(Tone::Dim, format_args!(" ({took:.1} ms)")),
            _ => String::new(),
        };
        let mut text = format!("{word}  {}{took}\n", super::clean(&self.describe));
        let telling = matches!(self.status, StepStatus::Refused | StepStatus::Failed | StepStatus::Skipped);
        if let Some(detail) = self.detail.as_ref().filter(|_| verbose || telling) {
            for line in super::clean(detail).lines() {
                text.push_str(&format!("           {line}\n"));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vip_up() -> Report {
        let mut report = Report::new("vip up");
        report.changed = true;
        report.msg = "192.0.2.23/24 is on eth0".to_owned();
        report.steps = vec![
            StepReport::new("probe", "ask who has 192.0.2.23", StepStatus::Skipped).detail("--no-probe"),
            StepReport::new("add-address", "add 192.0.2.23/24 to eth0", StepStatus::Done)
                .took(Duration::from_micros(1234))
                .detail("lease 3s"),
        ];
        report
    }

    #[test]
    fn a_person_reads_a_line_for_each_step_and_the_outcome_last() {
        assert_eq!(
            vip_up().render(Paint::new(false), false, false),
            "skipped    ask who has 192.0.2.23\n           --no-probe\n\
             done       add 192.0.2.23/24 to eth0 (1.2 ms)\n192.0.2.23/24 is on eth0\n"
        );
        assert_eq!(vip_up().render(Paint::new(false), true, false), "192.0.2.23/24 is on eth0\n");
    }

    #[test]
    fn a_program_reads_the_same_with_its_own_keys() {
        let mut report = vip_up();
        report.add("interface", "eth0");
        let document = serde_json::to_value(&report).unwrap();
        assert_eq!(document["schema"], 1);
        assert_eq!(document["changed"], true);
        assert_eq!(document["interface"], "eth0");
        assert_eq!(document["steps"][1]["status"], "done");
        assert!(document.get("failed").is_none());
    }

    #[test]
    fn an_error_carries_its_kind_detail_and_hints() {
        let error = Error::refused("replay is paused").hint("SELECT pg_wal_replay_resume()");
        let document = serde_json::to_value(Report::of_error("pg promote", &error)).unwrap();
        assert_eq!(document["failed"], true);
        assert_eq!(document["error"]["kind"], "refused");
        assert_eq!(document["error"]["detail"], serde_json::Value::Null);
        assert_eq!(document["error"]["hints"][0], "SELECT pg_wal_replay_resume()");
    }
}
