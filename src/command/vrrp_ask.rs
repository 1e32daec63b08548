//! `vrrp status`, `vrrp stats`, `vrrp resign`: what can be asked of the daemon on this node.

use crate::cli::{Globals, Resign, VrrpStats, VrrpStatus};
use crate::daemon::control::Request;
use crate::daemon::setup::ask_daemon;
use crate::error::{Error, Result};
use crate::output::Out;
use crate::output::paint::Tone;
use crate::output::report::{Report, StepReport, StepStatus};
use crate::output::table::{Align, Cell, Table};
use crate::settings::Settings;
use serde_json::Value;
use std::time::Duration;

pub(super) fn status(globals: &Globals, args: &VrrpStatus, out: &Out) -> Result<()> {
    let answer = ask_daemon(&mut Settings::load(&globals.overrides())?, Request::Status, args.timeout)?;
    if out.is_json() {
        return out.json(&answer);
    }
    let paint = out.paint();
    let text = |pointer: &str| match answer.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => other.to_string(),
    };
    let state = text("/vrrp/state");
    let tone = if state == "ACTIVE" { Tone::Good } else { Tone::Plain };
    let mut lines = vec![
        format!("node       {} of {}", text("/node"), text("/cluster")),
        format!(
            "vrrp       {} (priority {}, virtual router {}, {})",
            paint.with(tone, &state),
            text("/vrrp/priority"),
            text("/vrrp/virtual_router_id"),
            text("/vrrp/interface")
        ),
        format!("active     {}", text("/vrrp/active_node")),
        format!("phase      {}", text("/phase")),
        format!("term       {}", text("/term")),
    ];
    for vip in answer.get("vips").and_then(Value::as_array).into_iter().flatten() {
        let held = vip.get("held").and_then(Value::as_bool).unwrap_or(false);
        let address = vip.get("address").and_then(Value::as_str).unwrap_or("?");
        lines.push(format!(
            "vip        {address} {}",
            if held { paint.with(Tone::Good, "here") } else { "not here".to_owned() }
        ));
    }
    for (key, label) in [("reason", "reason"), ("hint", "hint")] {
        if let Some(text) = answer.get(key).and_then(Value::as_str) {
            lines.push(format!("{label:<10} {text}"));
        }
    }
    lines.push(String::new());
    out.result(&lines.join("\n"))
}

pub(super) fn stats(globals: &Globals, args: &VrrpStats, out: &Out) -> Result<()> {
    let answer = ask_daemon(&mut Settings::load(&globals.overrides())?, Request::Stats, args.timeout)?;
    if out.is_json() {
        return out.json(&answer);
    }
    let mut table = Table::new(&[("COUNTER", Align::Left), ("VALUE", Align::Right)]);
    for (name, value) in answer.get("counters").and_then(Value::as_object).into_iter().flatten() {
        table.row(vec![Cell::new(name, Tone::Plain), Cell::new(value.to_string(), Tone::Plain)]);
    }
    out.result(&table.render(out.paint(), out.width()))
}

pub(super) fn resign(globals: &Globals, args: &Resign, out: &Out) -> Result<()> {
    let mut settings = Settings::load(&globals.overrides())?;
    let before = ask_daemon(&mut settings, Request::Status, Duration::from_secs(2))?;
    let mut report = Report::new("vrrp resign");
    if before.get("phase").and_then(Value::as_str) != Some("serving") {
        report.msg = String::from("unchanged: this node doesn't serve");
        return out.report(&report);
    }
    let spinner = out.spinner("handing over");
    let answer = ask_daemon(&mut settings, Request::Resign, args.timeout);
    drop(spinner);
    answer.map_err(|error| {
        Error::failed("the node didn't hand over").detail(error).hint("pgbaton vrrp status")
    })?;
    report.changed = true;
    report.msg = String::from("handed over: the virtual IP is down and PostgreSQL has stopped here");
    report.steps.push(StepReport::new(
        "resign",
        "remove the virtual IP, stop PostgreSQL, say farewell",
        StepStatus::Done,
    ));
    out.report(&report)
}
