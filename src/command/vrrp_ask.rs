//! `vrrp status`, `vrrp stats`, `vrrp probe`, `vrrp resign`: what can be asked of the daemon on this node.

use crate::cli::{Globals, Resign, StatsFormat, VrrpProbe, VrrpStats, VrrpStatus};
use crate::daemon::control::Request;
use crate::daemon::setup::ask_daemon;
use crate::error::{Error, Result};
use crate::output::Out;
use crate::output::paint::Tone;
use crate::output::report::{Report, StepReport, StepStatus};
use crate::output::table::{Align, Cell, Table};
use crate::settings::Settings;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

pub(super) fn status(globals: &Globals, args: &VrrpStatus, out: &Out) -> Result<()> {
    let answer = ask_daemon(&mut Settings::load(&globals.overrides())?, Request::Status, args.timeout)?;
    if out.is_json() {
        return out.json(&answer);
    }
    let paint = out.paint();
    let text = |pointer: &str| pointed(&answer, pointer);
    let state = text("/vrrp/state");
    let tone = if state == "ACTIVE" { Tone::Good } else { Tone::Plain };
    let mut lines = vec![format!("node       {} of {}", text("/node"), text("/cluster"))];
    if answer.get("vrrp").is_some_and(Value::is_object) {
        lines.extend([
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
        ]);
    }
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
    let mut shown = lines.join("\n");
    let main = |instance: &&Value| instance.get("name") != answer.get("cluster");
    let instances: Vec<&Value> = instances(&answer).filter(main).collect();
    if !instances.is_empty() {
        shown.push_str(&instance_table(&instances).render(out.paint(), out.width()));
    }
    out.result(&shown)
}

fn pointed(answer: &Value, pointer: &str) -> String {
    match answer.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => other.to_string(),
    }
}

fn instances(answer: &Value) -> impl Iterator<Item = &Value> {
    answer.get("instances").and_then(Value::as_array).into_iter().flatten()
}

fn instance_table(instances: &[&Value]) -> Table {
    let mut table = Table::new(&[
        ("INSTANCE", Align::Left),
        ("STATE", Align::Left),
        ("PRIORITY", Align::Right),
        ("VRID", Align::Right),
        ("INTERFACE", Align::Left),
        ("ACTIVE", Align::Left),
        ("ADDRESSES", Align::Left),
    ]);
    for instance in instances {
        let text = |pointer: &str| pointed(instance, pointer);
        let state = text("/state");
        let tone = match state.as_str() {
            "ACTIVE" => Tone::Good,
            "INITIALIZE" => Tone::Bad,
            _ => Tone::Plain,
        };
        let addresses: Vec<&str> = instance
            .get("vips")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|vip| vip.get("address").and_then(Value::as_str))
            .collect();
        let last = match instance.get("reason").and_then(Value::as_str) {
            Some(reason) => reason.to_owned(),
            None => addresses.join(" "),
        };
        table.row(vec![
            Cell::new(text("/name"), Tone::Strong),
            Cell::new(state, tone),
            text("/priority").into(),
            text("/virtual_router_id").into(),
            text("/interface").into(),
            text("/active").into(),
            last.into(),
        ]);
    }
    table
}

pub(super) fn stats(globals: &Globals, args: &VrrpStats, out: &Out) -> Result<()> {
    let answer = ask_daemon(&mut Settings::load(&globals.overrides())?, Request::Stats, args.timeout)?;
    if out.is_json() {
        return out.json(&answer);
    }
    if args.format == StatsFormat::Prometheus {
        return out.result(&prometheus(&answer));
    }
    let mut table =
        Table::new(&[("INSTANCE", Align::Left), ("COUNTER", Align::Left), ("VALUE", Align::Right)]);
    for instance in instances(&answer) {
        let name = pointed(instance, "/name");
        for (counter, value) in counters(instance) {
            table.row(vec![
                Cell::new(&name, Tone::Strong),
                Cell::new(counter, Tone::Plain),
                Cell::new(value.to_string(), Tone::Plain),
            ]);
        }
        for (from, count) in instance.get("probes").and_then(Value::as_object).into_iter().flatten() {
            let counter = format!("probes from {from}");
            table.row(vec![Cell::new(&name, Tone::Strong), counter.into(), count.to_string().into()]);
        }
    }
    out.result(&table.render(out.paint(), out.width()))
}

pub(super) fn probe(globals: &Globals, args: &VrrpProbe, out: &Out) -> Result<()> {
    let answer = ask_daemon(&mut Settings::load(&globals.overrides())?, Request::Probe, args.timeout)?;
    if out.is_json() {
        return out.json(&answer);
    }
    let mut table = Table::new(&[
        ("INSTANCE", Align::Left),
        ("FROM", Align::Left),
        ("TO", Align::Left),
        ("SENT", Align::Right),
        ("TROUBLE", Align::Left),
    ]);
    for instance in instances(&answer) {
        let text = |pointer: &str| pointed(instance, pointer);
        let trouble = text("/failed");
        let sent = instance.get("sent").and_then(Value::as_object).into_iter().flatten();
        let mut rows: Vec<_> = sent.map(|(to, count)| (to.clone(), count.to_string())).collect();
        if rows.is_empty() {
            rows.push(("-".to_owned(), "0".to_owned()));
        }
        for (to, count) in rows {
            table.row(vec![
                Cell::new(text("/name"), Tone::Strong),
                text("/source").into(),
                to.into(),
                count.into(),
                trouble.clone().into(),
            ]);
        }
    }
    out.result(&table.render(out.paint(), out.width()))
}

fn counters(instance: &Value) -> impl Iterator<Item = (&String, &Value)> {
    instance.get("counters").and_then(Value::as_object).into_iter().flatten()
}

/// Writes the counters in the text format of Prometheus: per metric one type line, then every instance.
fn prometheus(answer: &Value) -> String {
    let labels = |instance: &Value| {
        let escaped = |text: String| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        ["name", "interface", "virtual_router_id", "family"]
            .map(|key| {
                let label = if key == "name" { "instance_name" } else { key };
                format!("{label}=\"{}\"", escaped(pointed(instance, &format!("/{key}"))))
            })
            .join(",")
    };
    let mut text = String::new();
    for name in ["active", "priority"] {
        text.push_str(&format!("# TYPE pgbaton_vrrp_{name} gauge\n"));
        for instance in instances(answer) {
            let value = match name {
                "active" => u8::from(pointed(instance, "/state") == "ACTIVE").to_string(),
                _ => pointed(instance, "/priority"),
            };
            text.push_str(&format!("pgbaton_vrrp_{name}{{{}}} {value}\n", labels(instance)));
        }
    }
    let names: BTreeSet<&String> = instances(answer).flat_map(counters).map(|(name, _)| name).collect();
    for name in names {
        text.push_str(&format!("# TYPE pgbaton_vrrp_{name}_total counter\n"));
        for instance in instances(answer) {
            for (_, value) in counters(instance).filter(|(counter, _)| *counter == name) {
                text.push_str(&format!("pgbaton_vrrp_{name}_total{{{}}} {value}\n", labels(instance)));
            }
        }
    }
    text
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_written_for_prometheus_one_metric_after_the_other() {
        let instance = |name: &str, sent: u64| {
            serde_json::json!({
                "name": name, "interface": "eth0", "virtual_router_id": 51, "family": "ipv4",
                "state": "ACTIVE", "priority": 100, "counters": { "adverts_sent": sent },
            })
        };
        let answer = serde_json::json!({ "instances": [instance("a", 1), instance("b", 2)] });
        let labels = |name: &str| {
            format!("instance_name=\"{name}\",interface=\"eth0\",virtual_router_id=\"51\",family=\"ipv4\"")
        };
        let expected = format!(
            "# TYPE pgbaton_vrrp_active gauge\n\
             pgbaton_vrrp_active{{{a}}} 1\npgbaton_vrrp_active{{{b}}} 1\n\
             # TYPE pgbaton_vrrp_priority gauge\n\
             pgbaton_vrrp_priority{{{a}}} 100\npgbaton_vrrp_priority{{{b}}} 100\n\
             # TYPE pgbaton_vrrp_adverts_sent_total counter\n\
             pgbaton_vrrp_adverts_sent_total{{{a}}} 1\npgbaton_vrrp_adverts_sent_total{{{b}}} 2\n",
            a = labels("a"),
            b = labels("b"),
        );
        assert_eq!(prometheus(&answer), expected);
    }
}
