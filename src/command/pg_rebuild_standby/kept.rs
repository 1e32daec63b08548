//! `--list-kept` and `--drop-kept`.

use crate::error::Result;
use crate::output::Out;
use crate::output::paint::Tone;
use crate::output::report::{Report, StepReport, StepStatus};
use crate::output::table::{Align, Cell, Table};
use crate::rebuild::kept::{self, Kept};
use crate::rebuild::place::Place;
use serde_json::json;

/// Shows what rebuilds have kept.
pub(super) fn list(place: &Place, out: &Out) -> Result<()> {
    let found = kept::list(place)?;
    if out.is_json() {
        return out.json(&json!({"schema": 1, "verb": super::VERB, "kept": found}));
    }
    if found.is_empty() {
        return out.result("nothing is kept");
    }
    let mut table = Table::new(&[
        ("KEPT", Align::Left),
        ("SIZE", Align::Right),
        ("LOST TRANSACTIONS", Align::Right),
        ("OLD DATA", Align::Left),
    ]);
    for one in &found {
        let lost = one.report.as_ref().map_or_else(
            || "?".to_owned(),
            |report| {
                let about = if report.exact { "" } else { "up to " };
                format!("{about}{}", report.transactions.len())
            },
        );
        table.row(vec![
            Cell::new(one.path.display().to_string(), Tone::Plain),
            Cell::new(size(one), Tone::Plain),
            Cell::new(lost, Tone::Plain),
            Cell::new(if one.old_data { "yes" } else { "no" }, Tone::Plain),
        ]);
    }
    out.result(&table.render(out.paint(), out.width()))
}

/// Removes it.
pub(super) fn remove(place: &Place, dry_run: bool, out: &Out) -> Result<()> {
    let found = kept::list(place)?;
    let mut report = Report::new(super::VERB);
    report.dry_run = dry_run;
    report.changed = !found.is_empty();
    for one in &found {
        let status = if dry_run { StepStatus::Planned } else { StepStatus::Done };
        if !dry_run {
            kept::remove(one)?;
        }
        let describe = format!("remove {} ({})", one.path.display(), size(one));
        report.steps.push(StepReport::new("drop-kept", describe, status));
    }
    report.msg = match (found.len(), dry_run) {
        (0, _) => "unchanged: nothing is kept".to_owned(),
        (_, true) => "what is kept would be removed".to_owned(),
        (_, false) => "what was kept is removed".to_owned(),
    };
    report.add("kept", json!(found));
    out.report(&report)
}

fn size(kept: &Kept) -> String {
    format!("{} MB", kept.bytes.div_ceil(1 << 20))
}
