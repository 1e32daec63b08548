//! What a check found: what, why it matters, and the command that mends it. Pure.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::path::PathBuf;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A failover, a rebuild or a hand-over would fail, or data is in danger.
    Error,
    /// It would work, but worse or later than it could.
    Warning,
    /// Worth knowing.
    Note,
}

/// Something that a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// A stable word for programs: `wal-log-hints`.
    pub code: Cow<'static, str>,
    /// The node it is about; `None`: the cluster.
    pub node: Option<String>,
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub what: String,
    /// Why it matters.
    pub why: String,
    /// What mends it: a command, or the question to answer.
    pub mend: String,
    /// How `--fix` mends it; `None`: that is for a person.
    #[serde(skip)]
    pub fix: Option<Fix>,
    /// Whether `--fix` can mend it.
    pub fixable: bool,
    /// What became of that: absent when it wasn't tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<Fixed>,
}

/// A mend that loses nothing and can be taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fix {
    /// Change a setting of a node's server with `ALTER SYSTEM`, and reload.
    Setting {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// Whether it counts from the next restart on only.
        restart: bool,
    },
    /// Run a statement on a node's server.
    Statement(String),
    /// Change the mode of a local file.
    Mode(PathBuf, u32),
}

/// What became of a mend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "lowercase")]
pub enum Fixed {
    /// It is mended.
    Done,
    /// It will be once somebody has restarted the server.
    Restart,
    /// It couldn't be.
    Failed {
        /// Why not.
        why: String,
    },
}

/// A check that couldn't be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// What wasn't checked.
    pub check: Cow<'static, str>,
    /// The node it is about.
    pub node: Option<String>,
    /// Why not.
    pub why: String,
}

/// A check that found nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// What was checked.
    pub check: Cow<'static, str>,
    /// The node it is about.
    pub node: Option<String>,
}

/// Everything that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Findings {
    /// What is wrong, the worst first.
    #[serde(rename = "findings")]
    pub found: Vec<Finding>,
    /// What couldn't be checked.
    pub skipped: Vec<Skipped>,
    /// What is as it should be.
    pub passed: Vec<Passed>,
}

impl Finding {
    /// Creates a finding.
    pub fn new(code: &'static str, level: Level, what: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            node: None,
            level,
            what: what.into(),
            why: String::new(),
            mend: String::new(),
            fix: None,
            fixable: false,
            fixed: None,
        }
    }

    /// Says why it matters.
    #[must_use]
    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    /// Says what mends it.
    #[must_use]
    pub fn mend(mut self, mend: impl Into<String>) -> Self {
        self.mend = mend.into();
        self
    }

    /// Says how `--fix` mends it.
    #[must_use]
    pub fn fix(mut self, fix: Fix) -> Self {
        self.fix = Some(fix);
        self.fixable = true;
        self
    }
}

impl Findings {
    /// Adds what a check found, or that it passed.
    pub fn check(&mut self, code: &'static str, node: Option<&str>, finding: Option<Finding>) {
        match finding {
            Some(finding) => self.add(node, Finding { code: code.into(), ..finding }),
            None => self.passed.push(Passed { check: code.into(), node: node.map(str::to_owned) }),
        }
    }

    /// Adds a finding.
    pub fn add(&mut self, node: Option<&str>, finding: Finding) {
        self.found.push(Finding { node: node.map(str::to_owned), ..finding });
    }

    /// Says that something couldn't be checked.
    pub fn skip(&mut self, check: &'static str, node: Option<&str>, why: impl Into<String>) {
        self.skipped.push(Skipped { check: check.into(), node: node.map(str::to_owned), why: why.into() });
    }

    /// Takes in what another machine has found. Of what both have looked at, this one's words stand.
    pub fn merge(&mut self, other: Self) {
        for finding in other.found {
            let known = |it: &Finding| it.code == finding.code && it.node == finding.node;
            if !self.found.iter().any(known) {
                self.found.push(finding);
            }
        }
        for skipped in other.skipped {
            let known = |it: &Skipped| it.check == skipped.check && it.node == skipped.node;
            if !self.skipped.iter().any(known) {
                self.skipped.push(skipped);
            }
        }
        for passed in other.passed {
            if !self.passed.contains(&passed) {
                self.passed.push(passed);
            }
        }
    }

    /// Puts the worst first, otherwise in the order in which they were found.
    pub fn sort(&mut self) {
        self.found.sort_by_key(|finding| finding.level);
    }

    /// Returns how many of a level there are.
    pub fn count(&self, level: Level) -> usize {
        self.found.iter().filter(|finding| finding.level == level).count()
    }

    /// Returns whether nothing is worse than a note, leaving out what was mended.
    pub fn is_fine(&self) -> bool {
        let mended = |finding: &Finding| finding.fixed == Some(Fixed::Done);
        self.found.iter().all(|finding| finding.level == Level::Note || mended(finding))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_machines_have_found_is_told_once() {
        let mut here = Findings::default();
        here.add(Some("node1"), Finding::new("ssh", Level::Note, "node2 can't be reached"));
        here.add(Some("node2"), Finding::new("slots", Level::Warning, "2 MB behind"));
        here.skip("host", Some("node2"), "not asked");
        here.check("versions", None, None);
        let there = r#"{"findings": [
                {"code": "slots", "node": "node2", "level": "warning", "what": "3 MB behind", "why": "", "mend": "",
                 "fixable": false},
                {"code": "ssh", "node": "node2", "level": "note", "what": "node1 can't be reached", "why": "",
                 "mend": "", "fixable": true, "fixed": {"result": "failed", "why": "x"}}],
            "skipped": [{"check": "host", "node": "node2", "why": "y"}],
            "passed": [{"check": "versions", "node": null}, {"check": "disk-space", "node": "node2"}]}"#;
        here.merge(serde_json::from_str(there).unwrap());
        let told: Vec<&str> = here.found.iter().map(|finding| finding.what.as_str()).collect();
        assert_eq!(told, ["node2 can't be reached", "2 MB behind", "node1 can't be reached"]);
        assert_eq!(here.found[2].fixed, Some(Fixed::Failed { why: "x".to_owned() }));
        assert_eq!((here.skipped.len(), here.passed.len()), (1, 2));
    }
}
