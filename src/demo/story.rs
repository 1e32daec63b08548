//! From what was recorded to what it means: the stages of the failover, and its timeline. Pure.

use crate::cli::Fault;
use crate::demo::client::{Gap, Ledger};
use crate::demo::control::Event;
use crate::demo::report::{Happening, Stage, since_fault};
use crate::output::timeline::{Lane, Mark, MarkKind, Span, SpanKind, Timeline};
use crate::units::Moment;

/// At most this many commits are drawn on each side of the fault.
const STROKES: usize = 60;

/// Everything that was recorded.
#[derive(Debug)]
pub struct Story {
    /// What was done.
    pub fault: Fault,
    /// When.
    pub fault_at: Moment,
    /// When it was undone (thaw, heal).
    pub undone_at: Option<Moment>,
    /// Who was the primary.
    pub old: String,
    /// Who took over.
    pub new: String,
    /// The daemons' records by node, oldest first.
    pub records: Vec<(String, Vec<Event>)>,
    /// The client's record.
    pub ledger: Ledger,
    /// The client's outage.
    pub outage: Gap,
}

/// Which node a milestone belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Old,
    New,
}

/// How a milestone is recognized in a record: an event, or a step that has begun or ended.
#[derive(Debug, Clone, Copy)]
enum Sign {
    Event(&'static str),
    Begun(&'static str),
    Done(&'static str),
}

impl Sign {
    fn fits(self, event: &Event) -> bool {
        match self {
            Self::Event(kind) => event.kind == kind,
            Self::Begun(step) => event.kind == "step-started" && event.text_field("step") == Some(step),
            Self::Done(step) => event.is_step_done(step),
        }
    }
}

/// The milestones of a failover: whose, name, how it is found, in words.
const MILESTONES: [(Side, &str, Sign, &str); 17] = [
    (Side::Old, "postmaster-gone", Sign::Event("postmaster-gone"), "its daemon sees the server die"),
    (Side::Old, "resigned", Sign::Event("resigned"), "it resigns"),
    (Side::Old, "old-stopped", Sign::Done("stop-server"), "its server has stopped"),
    (Side::Old, "old-vip-removed", Sign::Event("vip-removed"), "it gives the virtual address up"),
    (Side::Old, "farewell-sent", Sign::Event("farewell-sent"), "it says farewell (priority 0)"),
    (Side::New, "farewell-heard", Sign::Event("farewell-heard"), "the farewell is heard"),
    (Side::New, "advert-late", Sign::Event("advert-late"), "an advert is late"),
    (Side::New, "active-down", Sign::Event("active-down"), "the interval has run out"),
    (Side::New, "asking", Sign::Event("asking"), "the old primary is asked on every path"),
    (Side::New, "decision", Sign::Event("decision"), "the verdict"),
    (Side::New, "promote-started", Sign::Begun("promote"), "the promotion begins"),
    (Side::New, "promoted", Sign::Done("promote"), "PostgreSQL is writable"),
    (Side::New, "epoch", Sign::Done("record-epoch"), "the new epoch is recorded"),
    (Side::New, "address-added", Sign::Done("add-address"), "the virtual address is up"),
    (Side::New, "announced", Sign::Done("announce"), "gratuitous ARP has been sent"),
    (Side::New, "serving", Sign::Event("serving"), "it serves"),
    (Side::New, "checkpoint", Sign::Done("checkpoint"), "checkpoint"),
];

impl Story {
    fn record(&self, node: &str) -> &[Event] {
        self.records.iter().find(|(name, _)| name == node).map_or(&[], |(_, events)| events)
    }

    fn find(&self, side: Side, sign: Sign) -> Option<&Event> {
        let node = if side == Side::Old { &self.old } else { &self.new };
        self.record(node).iter().find(|event| event.at >= self.fault_at && sign.fits(event))
    }

    /// Returns when a milestone was reached.
    fn moment(&self, name: &str) -> Option<Moment> {
        let (side, _, sign, _) = MILESTONES.iter().find(|(_, found, ..)| *found == name)?;
        self.find(*side, *sign).map(|event| event.at)
    }

    /// Returns when the new primary became writable, or the best bound of it that there is.
    pub fn promoted_at(&self) -> Moment {
        self.moment("promoted").unwrap_or(self.outage.to)
    }

    /// Returns what a node recorded first after a moment, of this kind.
    pub fn first_event_after(&self, node: &str, kind: &str, after: Moment) -> Option<Moment> {
        self.record(node).iter().find(|event| event.at >= after && event.kind == kind).map(|event| event.at)
    }

    /// Returns the last advert before the fault as the new primary knows it.
    fn last_advert(&self) -> Option<Moment> {
        let late = self.find(Side::New, Sign::Event("advert-late"))?;
        late.fields.get("last_advert_ns").and_then(serde_json::Value::as_u64).map(Moment::from_nanos)
    }

    /// Returns the stages up to the client's first commit, in the order of time.
    pub fn stages(&self) -> Vec<Stage> {
        let mut reached: Vec<(Moment, &'static str, &'static str, &str)> = Vec::new();
        if let Some(at) = self.last_advert() {
            reached.push((at, "last-advert", "the last advert", &self.new));
        }
        // What the old primary does after its return is another chapter.
        let old_until = self.undone_at.unwrap_or(Moment::from_nanos(u64::MAX));
        for (side, name, sign, label) in MILESTONES {
            if let Some(event) = self.find(side, sign) {
                let source = if side == Side::Old { &self.old } else { &self.new };
                if side == Side::New || event.at < old_until {
                    reached.push((event.at, name, label, source));
                }
            }
        }
        reached.push((self.outage.to, "first-commit", "the client's first commit is acknowledged", "client"));
        reached.sort_by_key(|(at, ..)| *at);
        let mut stages: Vec<Stage> = Vec::new();
        let mut before = 0.0;
        for (at, stage, label, source) in reached {
            let at_ms = since_fault(at, self.fault_at);
            let took_ms = round(f64::max(at_ms - before, 0.0));
            stages.push(Stage { stage, label, source: source.to_owned(), at_ms, took_ms });
            before = f64::max(at_ms, 0.0);
        }
        stages
    }

    /// Returns everything since shortly before the fault, in the order of time.
    pub fn happenings(&self) -> Vec<Happening> {
        let client = |at: Moment, event: &str, text: String| Happening {
            at_ms: since_fault(at, self.fault_at),
            source: "client".to_owned(),
            event: event.to_owned(),
            text,
        };
        let mut all: Vec<Happening> = self
            .records
            .iter()
            .flat_map(|(node, events)| events.iter().map(move |event| (node, event)))
            .filter(|(_, event)| event.at >= self.fault_at)
            .map(|(node, event)| happening(node, event, self.fault_at))
            .collect();
        all.push(client(
            self.outage.from,
            "last-commit",
            "the last acknowledgement before the outage".into(),
        ));
        let text = format!("the first commit on {} is acknowledged", self.new);
        all.push(client(self.outage.to, "first-commit", text));
        all.push(Happening {
            at_ms: 0.0,
            source: "lab".to_owned(),
            event: "fault".to_owned(),
            text: headline(self.fault, &self.old),
        });
        if let Some(at) = self.undone_at {
            all.push(Happening {
                at_ms: since_fault(at, self.fault_at),
                source: "lab".to_owned(),
                event: "undone".to_owned(),
                text: undone(self.fault, &self.old),
            });
        }
        all.sort_by(|left, right| left.at_ms.total_cmp(&right.at_ms));
        all
    }

    /// Returns the timeline, ready to be drawn.
    pub fn timeline(&self, subtitle: String, summary: Vec<(String, String)>) -> Timeline {
        let mut lanes = vec![self.old_lane(), self.new_lane()];
        lanes.extend(self.records.iter().filter(|(name, _)| *name != self.old && *name != self.new).map(
            |(name, _)| Lane {
                name: name.clone(),
                spans: vec![span(f64::NEG_INFINITY, f64::INFINITY, "standby", SpanKind::Waiting)],
                marks: Vec::new(),
            },
        ));
        lanes.push(self.client_lane());
        Timeline {
            title: format!("{} fails over to {}", self.old, self.new),
            subtitle: Some(subtitle),
            zero_label: headline(self.fault, &self.old),
            lanes,
            summary,
        }
    }

    fn at(&self, moment: Moment) -> f64 {
        since_fault(moment, self.fault_at)
    }

    fn left_edge(&self) -> f64 {
        let shown = (self.at(self.outage.to) * 0.15).clamp(20.0, 500.0);
        -round(shown)
    }

    fn right_edge(&self) -> f64 {
        let undone = self.undone_at.map_or(0.0, |moment| self.at(moment) + 300.0);
        let fenced = self.undone_at.and_then(|moment| self.first_event_after(&self.old, "fenced", moment));
        let last = f64::max(undone, fenced.map_or(0.0, |moment| self.at(moment) + 100.0));
        round(f64::max(self.at(self.outage.to) * 1.15, last))
    }

    fn old_lane(&self) -> Lane {
        let (left, right) = (self.left_edge(), self.right_edge());
        let mut lane = Lane { name: self.old.clone(), ..Lane::default() };
        lane.marks.push(Mark { at_ms: 0.0, label: fault_word(self.fault).to_owned(), kind: MarkKind::Fault });
        let fenced = self
            .first_event_after(&self.old, "fenced", self.fault_at)
            .or_else(|| self.moment("old-stopped"))
            .map(|moment| self.at(moment));
        let serving_until = match self.fault {
            Fault::Partition | Fault::Switchover => fenced.unwrap_or(right),
            Fault::Power | Fault::Postgres | Fault::Freeze => 0.0,
        };
        lane.spans.push(span(left, f64::min(serving_until, 0.0), "primary", SpanKind::Serving));
        match self.fault {
            Fault::Power => lane.spans.push(span(0.0, right, "no power", SpanKind::Down)),
            Fault::Postgres => lane.spans.push(span(0.0, right, "no server", SpanKind::Down)),
            Fault::Switchover => {
                lane.spans.push(span(0.0, serving_until, "hands over", SpanKind::Vip));
            }
            Fault::Partition => {
                lane.spans.push(span(0.0, serving_until, "primary, cut off", SpanKind::Silent));
            }
            Fault::Freeze => {
                let thawed = self.undone_at.map_or(right, |moment| self.at(moment));
                lane.spans.push(span(0.0, thawed, "frozen", SpanKind::Down));
                if let Some(fenced) = fenced.filter(|at| *at > thawed) {
                    lane.spans.push(span(thawed, fenced, "fences itself", SpanKind::Asking));
                }
            }
        }
        if let Some(fenced) = fenced.filter(|at| *at < right && self.fault != Fault::Postgres) {
            lane.spans.push(span(fenced, right, "stopped", SpanKind::Fenced));
        }
        let told = [
            ("postmaster-gone", "server gone", MarkKind::Event),
            ("vip-removed", "VIP down", MarkKind::Event),
            ("farewell-sent", "farewell", MarkKind::Message),
            ("overslept", "overslept", MarkKind::Decision),
            ("contested", "hears the other", MarkKind::Message),
        ];
        for (kind, label, mark) in told {
            if let Some(moment) = self.first_event_after(&self.old, kind, self.fault_at) {
                lane.marks.push(Mark { at_ms: self.at(moment), label: label.to_owned(), kind: mark });
            }
        }
        if let Some(moment) = self.undone_at {
            let label = undone_word(self.fault).to_owned();
            lane.marks.push(Mark { at_ms: self.at(moment), label, kind: MarkKind::Event });
        }
        lane
    }

    fn new_lane(&self) -> Lane {
        let (left, right) = (self.left_edge(), self.right_edge());
        let mut lane = Lane { name: self.new.clone(), ..Lane::default() };
        let told = |name: &str| self.moment(name).map(|moment| self.at(moment));
        // Up to a farewell it has heard adverts as ever.
        let farewell = told("farewell-heard");
        lane.spans.push(span(left, farewell.unwrap_or(0.0), "standby", SpanKind::Waiting));
        let heard = farewell.or_else(|| told("active-down"));
        let begun = told("promote-started").or_else(|| told("decision"));
        let stretches = [
            (farewell.is_none().then_some(0.0), heard, "no advert", SpanKind::Silent),
            (heard, begun, "asks", SpanKind::Asking),
            (begun, told("promoted"), "promotes", SpanKind::Promoting),
            (told("promoted"), told("epoch"), "epoch", SpanKind::Waiting),
            (
                told("epoch").or_else(|| told("promoted")),
                told("announced").or_else(|| told("address-added")),
                "VIP",
                SpanKind::Vip,
            ),
        ];
        let mut last = 0.0;
        for (from, to, label, kind) in stretches {
            if let (Some(from), Some(to)) = (from, to) {
                lane.spans.push(span(from, to, label, kind));
                last = f64::max(last, to);
            }
        }
        lane.spans.push(span(last, right, "primary", SpanKind::Serving));
        let marks = [
            ("farewell-heard", "farewell heard", MarkKind::Message),
            ("active-down", "interval over", MarkKind::Event),
            ("decision", "decision", MarkKind::Decision),
            ("announced", "gratuitous ARP", MarkKind::Message),
        ];
        for (name, label, kind) in marks {
            if let Some(at_ms) = told(name) {
                lane.marks.push(Mark { at_ms, label: label.to_owned(), kind });
            }
        }
        lane
    }

    fn client_lane(&self) -> Lane {
        let (left, right) = (self.left_edge(), self.right_edge());
        let (from, to) = (self.at(self.outage.from), self.at(self.outage.to));
        let spans = vec![
            span(left, from, "commits", SpanKind::Serving),
            span(from, to, "can't write", SpanKind::Outage),
            span(to, right, "commits", SpanKind::Serving),
        ];
        let commits: Vec<f64> = self
            .ledger
            .acknowledged
            .iter()
            .map(|found| self.at(found.at))
            .filter(|at| (left..=right).contains(at))
            .collect();
        let (before, after): (Vec<f64>, Vec<f64>) = commits.into_iter().partition(|at| *at <= from);
        let strokes = |all: Vec<f64>| {
            let every = all.len().div_ceil(STROKES).max(1);
            all.into_iter().step_by(every)
        };
        let mut marks: Vec<Mark> = strokes(before)
            .chain(strokes(after))
            .map(|at_ms| Mark { at_ms, label: String::new(), kind: MarkKind::Commit })
            .collect();
        marks.push(Mark { at_ms: to, label: "first commit".to_owned(), kind: MarkKind::Event });
        Lane { name: "client".to_owned(), spans, marks }
    }
}

/// Turns an entry of a daemon's record into a line of the report.
pub fn happening(node: &str, event: &Event, fault: Moment) -> Happening {
    let text = if event.text.is_empty() { event.kind.replace('-', " ") } else { event.text.clone() };
    Happening {
        at_ms: since_fault(event.at, fault),
        source: node.to_owned(),
        event: event.kind.clone(),
        text,
    }
}

/// Returns the fault as a sentence.
pub fn headline(fault: Fault, node: &str) -> String {
    match fault {
        Fault::Power => format!("{node} loses power"),
        Fault::Postgres => format!("PostgreSQL on {node} is killed"),
        Fault::Freeze => format!("{node} freezes"),
        Fault::Partition => format!("{node} is cut off"),
        Fault::Switchover => format!("{node} is asked to hand over"),
    }
}

/// Returns the end of the fault as a sentence.
pub fn undone(fault: Fault, node: &str) -> String {
    format!(
        "{node} {}",
        if fault == Fault::Freeze { "goes on where it stopped" } else { "is connected again" }
    )
}

fn undone_word(fault: Fault) -> &'static str {
    if fault == Fault::Freeze { "thawed" } else { "connected" }
}

fn fault_word(fault: Fault) -> &'static str {
    match fault {
        Fault::Power => "power cut",
        Fault::Postgres => "server killed",
        Fault::Freeze => "frozen",
        Fault::Partition => "cut off",
        Fault::Switchover => "resign",
    }
}

fn span(from_ms: f64, to_ms: f64, label: &str, kind: SpanKind) -> Span {
    Span { from_ms, to_ms, label: label.to_owned(), kind }
}

fn round(ms: f64) -> f64 {
    (ms * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::client::Acknowledgement;
    use serde_json::{Map, json};

    const MS: u64 = 1_000_000;

    fn event(at_ms: u64, kind: &str, step: Option<&str>) -> Event {
        let mut fields = Map::new();
        if let Some(step) = step {
            fields.insert("step".to_owned(), json!(step));
        }
        Event { at: Moment::from_nanos(at_ms * MS), kind: kind.to_owned(), text: String::new(), fields }
    }

    fn story() -> Story {
        let record = vec![
            event(900, "active-down", None),
            event(1330, "active-down", None),
            event(1331, "decision", None),
            event(1332, "step-started", Some("promote")),
            event(1390, "step-done", Some("promote")),
            event(1395, "step-done", Some("add-address")),
            event(1396, "step-done", Some("announce")),
        ];
        let acknowledged = [990, 999, 1400, 1402]
            .into_iter()
            .zip(1..)
            .map(|(at, id)| Acknowledgement { id, at: Moment::from_nanos(at * MS), server: 0 })
            .collect();
        Story {
            fault: Fault::Power,
            fault_at: Moment::from_nanos(1000 * MS),
            undone_at: None,
            old: "node1".to_owned(),
            new: "node2".to_owned(),
            records: vec![("node1".to_owned(), Vec::new()), ("node2".to_owned(), record)],
            ledger: Ledger { acknowledged, ..Ledger::default() },
            outage: Gap { from: Moment::from_nanos(999 * MS), to: Moment::from_nanos(1400 * MS) },
        }
    }

    #[test]
    fn stages_are_what_came_after_the_fault_in_order() {
        let stages = story().stages();
        let names: Vec<&str> = stages.iter().map(|stage| stage.stage).collect();
        assert_eq!(
            names,
            [
                "active-down",
                "decision",
                "promote-started",
                "promoted",
                "address-added",
                "announced",
                "first-commit"
            ]
        );
        assert!((stages[0].took_ms - 330.0).abs() < 1e-6);
        assert!((stages[3].took_ms - 58.0).abs() < 1e-6);
    }

    #[test]
    fn the_timeline_has_a_lane_for_each_and_shows_the_outage() {
        let timeline = story().timeline(String::new(), Vec::new());
        let names: Vec<&str> = timeline.lanes.iter().map(|lane| lane.name.as_str()).collect();
        assert_eq!(names, ["node1", "node2", "client"]);
        let outage = timeline.lanes[2].spans.iter().find(|span| span.kind == SpanKind::Outage).unwrap();
        assert!((outage.from_ms + 1.0).abs() < 1e-6 && (outage.to_ms - 400.0).abs() < 1e-6);
    }

    #[test]
    fn a_daemon_that_recorded_nothing_still_gives_a_timeline() {
        let mut story = story();
        story.records.clear();
        assert_eq!(story.stages().len(), 1);
        assert_eq!(story.timeline(String::new(), Vec::new()).lanes.len(), 3);
        assert_eq!(story.promoted_at(), story.outage.to);
    }
}
