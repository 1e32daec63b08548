//! The end that all changing verbs share: a plan shown, or carried out and reported.

use crate::error::{Error, Result};
use crate::host::clock::Deadline;
use crate::output::Out;
use crate::output::report::Report;
use crate::plan::Plan;
use crate::plan::apply::{self, World};
use serde_json::{Map, Value};

/// Shows what would be done; exit code 0.
pub(super) fn dry_run(out: &Out, plan: &Plan) -> Result<()> {
    dry_run_with(out, plan, Map::new())
}

/// Like [`dry_run`], with more facts for the document.
pub(super) fn dry_run_with(out: &Out, plan: &Plan, extra: Map<String, Value>) -> Result<()> {
    let mut report = Report::new(&plan.verb);
    report.dry_run = true;
    report.changed = plan.changes();
    report.msg =
        if report.changed { format!("would make it so that {}", plan.goal) } else { unchanged(plan) };
    report.warnings.clone_from(&plan.warnings);
    report.steps = apply::dry_run(plan);
    report.extra = extra;
    out.report(&report)
}

/// Carries the plan out and reports it.
pub(super) fn apply(out: &Out, plan: &Plan, world: &mut World, deadline: Deadline) -> Result<()> {
    apply_with(out, plan, world, deadline, Map::new())
}

/// Like [`apply`], with more facts for the document.
pub(super) fn apply_with(
    out: &Out,
    plan: &Plan,
    world: &mut World,
    deadline: Deadline,
    extra: Map<String, Value>,
) -> Result<()> {
    apply_then(out, plan, world, deadline, |_| (extra, None))
}

/// Like [`apply_with`], with facts that are known only when all steps are done, and the error if they aren't as wanted.
pub(super) fn apply_then(
    out: &Out,
    plan: &Plan,
    world: &mut World,
    deadline: Deadline,
    look: impl FnOnce(&mut World) -> (Map<String, Value>, Option<Error>),
) -> Result<()> {
    let mut outcome = apply::apply(plan, world, deadline, &mut |_| {});
    let (extra, wrong) = look(world);
    outcome.error = outcome.error.or(wrong);
    let mut report = Report::new(&plan.verb);
    report.changed = outcome.changed;
    report.warnings = outcome.warnings;
    report.steps = outcome.steps;
    report.extra = extra;
    report.msg = if outcome.changed { plan.goal.clone() } else { unchanged(plan) };
    let Some(error) = outcome.error else { return out.report(&report) };
    report.fail(&error);
    out.report(&report)?;
    Err(error)
}

fn unchanged(plan: &Plan) -> String {
    format!("unchanged: {}", plan.goal)
}
