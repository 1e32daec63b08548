//! `pgbaton cluster timeline`: a failover from the flight record, drawn in the terminal and as SVG.

use super::flight_records;
use crate::cli::{ClusterTimeline, Globals};
use crate::error::{Error, Result};
use crate::flight::{Incident, Outcome, incidents, timeline};
use crate::host::files;
use crate::output::Out;
use crate::output::paint::Tone;
use crate::output::table::{Align, Cell, Table};
use crate::output::timeline::{render_svg, render_terminal};
use crate::settings::Settings;

/// Draws or lists what happened.
pub(super) fn run(globals: &Globals, args: &ClusterTimeline, out: &Out) -> Result<()> {
    let settings =
        if args.source.files.is_empty() { Some(Settings::load(&globals.overrides())?) } else { None };
    let found = flight_records::read(settings.as_ref(), &args.source)?;
    for problem in &found.problems {
        out.warning(problem);
    }
    let all = incidents(found.entries);
    if args.list {
        return list(&all, &found.problems, out);
    }
    let incident = choose(&all, args.id.as_deref()).ok_or_else(|| none(args.id.as_deref(), &all))?;
    let drawn = timeline(incident);
    if let Some(file) = &args.svg {
        files::write_atomic(file, render_svg(&drawn).as_bytes(), 0o644)?;
        out.status(&format!("drawn into {}", file.display()));
    }
    if out.is_json() {
        return out.json(&serde_json::json!({
            "schema": 1,
            "incident": incident,
            "timeline": drawn,
            "svg": args.svg,
            "warnings": found.problems,
        }));
    }
    out.result(&render_terminal(&drawn, out.width(), out.paint().is_on()))
}

fn choose<'a>(all: &'a [Incident], id: Option<&str>) -> Option<&'a Incident> {
    match id {
        None => all.iter().rev().find(|incident| incident.is_grave()).or_else(|| all.last()),
        Some(id) => all.iter().find(|incident| incident.id == id).or_else(|| {
            let term: u64 = id.parse().ok()?;
            let promoted = |incident: &&Incident| {
                matches!(incident.outcome, Outcome::Failover | Outcome::HandOver)
                    && incident.term == Some(term)
            };
            all.iter().rev().find(promoted)
        }),
    }
}

fn none(id: Option<&str>, all: &[Incident]) -> Error {
    let message = match id {
        Some(id) => format!("nothing of the name or term {id} is recorded"),
        None => "no failover is recorded".to_owned(),
    };
    let hint = if all.is_empty() {
        "is this the node that took over, or has its daemon ever run? --peers asks the other nodes over SSH"
    } else {
        "pgbaton cluster timeline --list"
    };
    Error::failed(message).hint(hint)
}

fn list(all: &[Incident], problems: &[String], out: &Out) -> Result<()> {
    if out.is_json() {
        let shown: Vec<serde_json::Value> = all
            .iter()
            .map(|incident| {
                let mut value = serde_json::to_value(incident).unwrap_or_default();
                if let Some(fields) = value.as_object_mut() {
                    fields.remove("entries");
                }
                value
            })
            .collect();
        return out.json(&serde_json::json!({ "schema": 1, "incidents": shown, "warnings": problems }));
    }
    if all.is_empty() {
        out.status("nothing is recorded");
        return Ok(());
    }
    let mut table = Table::new(&[
        ("ID", Align::Left),
        ("WHAT", Align::Left),
        ("FROM", Align::Left),
        ("TO", Align::Left),
        ("TERM", Align::Right),
        ("TOOK", Align::Right),
        ("WHY", Align::Left),
    ]);
    let or_none = |text: Option<&String>| Cell::from(text.map_or("-", String::as_str));
    for incident in all {
        let tone = match incident.outcome {
            Outcome::Failover | Outcome::HandOver => Tone::Good,
            Outcome::Held | Outcome::Fenced => Tone::Warn,
            Outcome::TookUp | Outcome::Noticed => Tone::Plain,
        };
        table.row(vec![
            Cell::from(&incident.id),
            Cell::new(incident.outcome.words(), tone),
            or_none(incident.from.as_ref()),
            or_none(incident.to.as_ref()),
            incident.term.map_or_else(|| "-".to_owned(), |term| term.to_string()).into(),
            format!("{:.0} ms", incident.took_ms).into(),
            or_none(incident.reason.as_ref()),
        ]);
    }
    out.result(&table.render(out.paint(), out.width()))
}
