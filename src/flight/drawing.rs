//! From an incident to its picture: a lane for each node, one for the service. Pure.

use super::entry::Entry;
use super::incident::{Incident, Outcome};
use crate::output::timeline::{Lane, Mark, MarkKind, Span, SpanKind, Timeline};

/// Returns the picture of an incident.
pub fn timeline(incident: &Incident) -> Timeline {
    let last = incident.entries.iter().map(|entry| incident.offset_ms(entry)).fold(0.0, f64::max);
    let until =
        f64::max(incident.took_ms, if incident.is_grave() { last.min(incident.took_ms * 4.0) } else { last });
    let margin = f64::max(until * 0.12, 20.0);
    let (left, right) = (-margin, until + margin);
    let mut nodes: Vec<&String> = incident.nodes.iter().collect();
    let place = |node: &String| match () {
        () if incident.from.as_ref() == Some(node) => 0,
        () if incident.to.as_ref() == Some(node) => 1,
        () => 2,
    };
    if let Some(from) = incident.from.as_ref().filter(|from| !incident.nodes.contains(from)) {
        nodes.push(from);
    }
    nodes.sort_by_key(|node| (place(node), (*node).clone()));
    let mut lanes: Vec<Lane> = nodes.iter().map(|node| lane(incident, node, left, right)).collect();
    if matches!(incident.outcome, Outcome::Failover | Outcome::HandOver) {
        lanes.push(service(incident, left, right));
    }
    let boots = {
        let mut boots: Vec<&str> = incident.entries.iter().map(|entry| entry.boot.as_str()).collect();
        boots.sort_unstable();
        boots.dedup();
        boots.len()
    };
    let mut subtitle = vec![incident.began.get(..19).unwrap_or_default().replace('T', " ") + " UTC"];
    subtitle.extend(incident.term.map(|term| format!("term {term}")));
    if boots > 1 {
        subtitle.push("nodes compared by their wall clocks".to_owned());
    }
    if let Some(from) = incident.from.as_ref().filter(|from| !incident.nodes.contains(from)) {
        subtitle.push(format!("without the record of {from}"));
    }
    Timeline {
        title: title(incident),
        subtitle: Some(subtitle.join(" · ")),
        zero_label: incident.first().map(zero_label).unwrap_or_default(),
        lanes,
        summary: summary(incident),
    }
}

fn title(incident: &Incident) -> String {
    let from = incident.from.as_deref().unwrap_or("the primary");
    let to = incident.to.as_deref().unwrap_or("a standby");
    match incident.outcome {
        Outcome::Failover => format!("{from} fails over to {to}"),
        Outcome::HandOver => format!("{from} hands over to {to}"),
        Outcome::TookUp => format!("{to} takes up service"),
        Outcome::Held => "nobody was promoted".to_owned(),
        Outcome::Fenced => format!("{from} is fenced"),
        Outcome::Noticed => "something was noticed, and nothing followed".to_owned(),
    }
}

fn zero_label(first: &Entry) -> String {
    let node = &first.node;
    match first.kind.as_str() {
        "advert-late" => format!("{node} misses an advert"),
        "farewell-heard" => format!("{node} hears a farewell"),
        "postmaster-gone" => format!("PostgreSQL on {node} is gone"),
        "probe-failed" => format!("PostgreSQL on {node} doesn't answer"),
        "resigned" => format!("{node} is asked to hand over"),
        "overslept" => format!("{node} overslept"),
        _ => format!("{node}: {}", first.text),
    }
}

/// What a node is after an entry; `None`: as before.
fn becomes(entry: &Entry) -> Option<(&'static str, SpanKind)> {
    if entry.kind == "step-started" || entry.kind == "step-done" {
        let step = entry.field("step").unwrap_or_default();
        let begins = entry.kind == "step-started";
        return match (step, begins) {
            ("promote", true) => Some(("promotes", SpanKind::Promoting)),
            ("promote", false) => Some(("confirms", SpanKind::Waiting)),
            ("add-address", true) | ("record-epoch", false) => Some(("VIP", SpanKind::Vip)),
            ("announce", false) => Some(("primary", SpanKind::Serving)),
            ("stop-server", true) => Some(("stops", SpanKind::Vip)),
            ("stop-server", false) => Some(("stopped", SpanKind::Fenced)),
            (step, true) if step.contains("detach") || step.contains("freeze") => {
                Some(("detaches", SpanKind::Frozen))
            }
            _ => None,
        };
    }
    match entry.kind.as_str() {
        "advert-late" => Some(("no advert", SpanKind::Silent)),
        "advert-heard" | "rejoined" => Some(("standby", SpanKind::Waiting)),
        "farewell-heard" | "active-down" | "overslept" | "contested" => Some(("asks", SpanKind::Asking)),
        "decision" if matches!(entry.field("verdict"), Some("hold" | "refuse")) => {
            Some(("waits", SpanKind::Waiting))
        }
        "serving" => Some(("primary", SpanKind::Serving)),
        "postmaster-gone" => Some(("no server", SpanKind::Down)),
        "probe-failed" => Some(("doesn't answer", SpanKind::Silent)),
        "resigned" => Some(("hands over", SpanKind::Vip)),
        "rejoining" => Some(("rejoins", SpanKind::Asking)),
        "fenced" | "farewell-sent" => Some(("stopped", SpanKind::Fenced)),
        _ => None,
    }
}

/// The moments that are marked, and what they are called.
fn mark(entry: &Entry) -> Option<(&'static str, MarkKind)> {
    match entry.kind.as_str() {
        "farewell-heard" => Some(("farewell heard", MarkKind::Message)),
        "farewell-sent" => Some(("farewell", MarkKind::Message)),
        "active-down" => Some(("interval over", MarkKind::Event)),
        "decision" => Some(("decision", MarkKind::Decision)),
        "postmaster-gone" => Some(("server gone", MarkKind::Fault)),
        "probe-failed" => Some(("no answer", MarkKind::Fault)),
        "resigned" => Some(("resign", MarkKind::Event)),
        "vip-removed" => Some(("VIP down", MarkKind::Event)),
        "overslept" => Some(("overslept", MarkKind::Decision)),
        "rejoined" => Some(("rejoined", MarkKind::Event)),
        "contested" => Some(("hears the other", MarkKind::Message)),
        "address-lost" => Some(("address lost", MarkKind::Fault)),
        "fenced" => Some(("fenced", MarkKind::Decision)),
        "started" => Some(("daemon starts", MarkKind::Event)),
        _ if entry.is_step_done("announce") => Some(("gratuitous ARP", MarkKind::Message)),
        _ => None,
    }
}

fn lane(incident: &Incident, node: &str, left: f64, right: f64) -> Lane {
    let was_primary = incident.from.as_deref() == Some(node)
        || (incident.outcome == Outcome::TookUp && incident.to.as_deref() == Some(node));
    let mut now = if was_primary { ("primary", SpanKind::Serving) } else { ("standby", SpanKind::Waiting) };
    let mut since = left;
    let mut lane = Lane { name: node.to_owned(), ..Lane::default() };
    let mut marked: Vec<&str> = Vec::new();
    let mut any = false;
    for entry in incident.entries.iter().filter(|entry| entry.node == node) {
        let at_ms = incident.offset_ms(entry);
        if !(left..=right).contains(&at_ms) {
            continue;
        }
        any = true;
        if let Some((label, kind)) = mark(entry)
            && !marked.contains(&label)
        {
            marked.push(label);
            lane.marks.push(Mark { at_ms, label: label.to_owned(), kind });
        }
        if let Some(next) = becomes(entry).filter(|next| *next != now) {
            // What is stopped for certain stays so, whatever is still cleaned up.
            let back = entry.kind.starts_with("rejoin") || next.1 == SpanKind::Serving;
            let settled = now.1 == SpanKind::Fenced && !back;
            let serves = now.1 == SpanKind::Serving && matches!(next.1, SpanKind::Vip) && !was_primary;
            if settled || serves {
                continue;
            }
            lane.spans.push(span(since, at_ms, now));
            (now, since) = (next, at_ms);
        }
    }
    if !any && incident.from.as_deref() == Some(node) {
        lane.spans.push(span(left, 0.0, now));
        (now, since) = (("no word from it", SpanKind::Down), 0.0);
    }
    lane.spans.push(span(since, right, now));
    lane
}

/// The lane of whoever wants to write through the virtual IP, as far as the nodes' records tell.
fn service(incident: &Incident, left: f64, right: f64) -> Lane {
    let new = |entry: &&Entry| incident.to.as_ref() == Some(&entry.node);
    let up = incident
        .entries
        .iter()
        .filter(new)
        .find(|entry| entry.is_step_done("announce"))
        .or_else(|| incident.entries.iter().filter(new).find(|entry| entry.kind == "serving"));
    let up = up.map_or(right, |entry| incident.offset_ms(entry));
    Lane {
        name: "service".to_owned(),
        spans: vec![
            span(left, 0.0, ("there", SpanKind::Serving)),
            span(0.0, up, ("nobody to write to", SpanKind::Outage)),
            span(up, right, ("there", SpanKind::Serving)),
        ],
        marks: Vec::new(),
    }
}

fn span(from_ms: f64, to_ms: f64, (label, kind): (&str, SpanKind)) -> Span {
    Span { from_ms, to_ms, label: label.to_owned(), kind }
}

fn summary(incident: &Incident) -> Vec<(String, String)> {
    let new: Vec<&Entry> =
        incident.entries.iter().filter(|entry| incident.to.as_ref() == Some(&entry.node)).collect();
    let at = |test: &dyn Fn(&Entry) -> bool| {
        new.iter().find(|entry| test(entry)).map(|entry| incident.offset_ms(entry))
    };
    let ms = |value: f64| format!("{value:.0} ms");
    let mut rows = Vec::new();
    let mut add = |label: &str, value: Option<String>| {
        rows.extend(value.map(|value| (label.to_owned(), value)));
    };
    let decided = at(&|entry: &Entry| entry.kind == "decision");
    let promoted = at(&|entry: &Entry| entry.is_step_done("promote"));
    if matches!(incident.outcome, Outcome::Failover | Outcome::HandOver) {
        add("decided after", decided.map(ms));
        add("writable after", promoted.map(ms));
        add("virtual IP there after", at(&|entry: &Entry| entry.is_step_done("announce")).map(ms));
        add("log held at the decision", incident.lsn.clone());
    }
    add("why", incident.reason.clone());
    rows
}

#[cfg(test)]
mod tests {
    use super::super::incident::incidents;
    use super::super::incident::tests::failover;
    use super::*;
    use crate::output::timeline::{render_svg, render_terminal};

    #[test]
    fn a_failover_has_a_lane_for_each_side_and_one_for_the_service() {
        let incident = incidents(failover()).remove(1);
        let drawn = timeline(&incident);
        let names: Vec<&str> = drawn.lanes.iter().map(|lane| lane.name.as_str()).collect();
        assert_eq!(names, ["node1", "node2", "service"]);
        let kinds: Vec<SpanKind> = drawn.lanes[1].spans.iter().map(|span| span.kind).collect();
        assert_eq!(
            kinds,
            [
                SpanKind::Waiting,
                SpanKind::Silent,
                SpanKind::Asking,
                SpanKind::Promoting,
                SpanKind::Waiting,
                SpanKind::Vip,
                SpanKind::Serving
            ]
        );
        assert_eq!(drawn.lanes[0].spans[1].kind, SpanKind::Down);
        let outage = &drawn.lanes[2].spans[1];
        assert!((outage.to_ms - 399.0).abs() < 1e-6, "{}", outage.to_ms);
        insta::assert_snapshot!("failover", render_terminal(&drawn, 100, false));
        assert!(render_svg(&drawn).starts_with("<svg"));
    }
}
