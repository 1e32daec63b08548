//! A plan: its goal, its steps with what each still needs, and what the reader should be warned of.

use super::step::Step;
use serde::Serialize;

/// Whether a step has anything left to do, judged from facts before anything is touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// There is work.
    Needed,
    /// It is already so; the reason is a fact ("192.18.12.23/24 is on eth0").
    Unchanged(String),
}

/// One step of a plan, and whether it is needed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Item {
    /// The step.
    pub step: Step,
    /// Whether there is work.
    pub need: Need,
}

/// What will be done, in order. Applying it twice is safe.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// The verb this plan belongs to, as in reports: `vip up`, `pg promote`, `release`.
    pub verb: String,
    /// What will be true afterwards, in words.
    pub goal: String,
    /// The steps, in order.
    pub items: Vec<Item>,
    /// What the reader should know before and after.
    pub warnings: Vec<String>,
}

impl Plan {
    /// Creates a plan without steps.
    pub fn new(verb: impl Into<String>, goal: impl Into<String>) -> Self {
        Self { verb: verb.into(), goal: goal.into(), items: Vec::new(), warnings: Vec::new() }
    }

    /// Adds a step that has work to do.
    pub fn needed(&mut self, step: Step) {
        self.items.push(Item { step, need: Need::Needed });
    }

    /// Adds a step that is already done, with the fact that says so.
    pub fn unchanged(&mut self, step: Step, fact: impl Into<String>) {
        self.items.push(Item { step, need: Need::Unchanged(fact.into()) });
    }

    /// Adds a step whose need depends on a fact.
    pub fn step(&mut self, step: Step, already: Option<String>) {
        match already {
            Some(fact) => self.unchanged(step, fact),
            None => self.needed(step),
        }
    }

    /// Returns whether anything is left to do.
    pub fn changes(&self) -> bool {
        self.items
            .iter()
            .any(|item| item.need == Need::Needed && !matches!(item.step, Step::ProbeAddress { .. }))
    }
}
