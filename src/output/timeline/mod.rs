//! The picture of a failover: who did what when, as an SVG for a page and as text for a terminal.
//!
//! Pure: numbers and labels come in, a `String` goes out; the same timeline always gives the same bytes. Both
//! renderers share what is in this file: the time scale (linear, with long calm stretches cut out and marked
//! as cut) and the placement of labels, which never overlap. Any number is survived: NaN is left out, an
//! infinite end reaches to the edge of the picture.

mod paper;
mod scale;
mod svg;
mod terminal;

use serde::Serialize;

pub use svg::render_svg;
pub use terminal::render_terminal;

/// One event that several nodes lived through, with the moment of the fault as its zero.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Timeline {
    /// What happened, as a headline.
    pub title: String,
    /// The circumstances: how many nodes, which mode, which intervals.
    pub subtitle: Option<String>,
    /// What happened at 0 ms, for example "node1 loses power".
    pub zero_label: String,
    /// One lane per node, in the order they are drawn, and usually the client's as the last.
    pub lanes: Vec<Lane>,
    /// What it amounts to: label and value, for example ("acknowledged commits lost", "0").
    pub summary: Vec<(String, String)>,
}

/// What one node (or the client) did.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Lane {
    /// The name at the left.
    pub name: String,
    /// Stretches of time; where two overlap, the shorter is drawn on top.
    pub spans: Vec<Span>,
    /// Single moments.
    pub marks: Vec<Mark>,
}

/// A stretch of time in a lane.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Span {
    /// Begin, milliseconds from the fault.
    pub from_ms: f64,
    /// End, milliseconds from the fault; infinite: to the edge of the picture.
    pub to_ms: f64,
    /// What is done, in a word or two; the renderers add how long it took.
    pub label: String,
    /// Decides colour and pattern.
    pub kind: SpanKind,
}

/// A moment in a lane.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mark {
    /// When, milliseconds from the fault.
    pub at_ms: f64,
    /// What happened; empty for a mark without words.
    pub label: String,
    /// Decides shape and colour.
    pub kind: MarkKind,
}

/// What a stretch of time was spent with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpanKind {
    /// Commits are accepted: the primary serves, the client writes.
    Serving,
    /// Nothing is heard any more, and nothing is known yet.
    Silent,
    /// A standby that follows, or a wait for something that has to arrive.
    Waiting,
    /// Peers are asked: who is alive, who promises.
    Asking,
    /// `PostgreSQL` is being promoted.
    Promoting,
    /// The virtual IP is being put up or taken down.
    Vip,
    /// The client can't write; drawn with a bracket that says how long.
    Outage,
    /// Without power, without a process.
    Down,
    /// Detached from the old primary: acknowledges nothing.
    Frozen,
    /// Stopped for certain, by itself or by another.
    Fenced,
}

impl SpanKind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 10] = [
        Self::Serving,
        Self::Silent,
        Self::Waiting,
        Self::Asking,
        Self::Promoting,
        Self::Vip,
        Self::Outage,
        Self::Down,
        Self::Frozen,
        Self::Fenced,
    ];
}

/// What sort of moment a mark is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MarkKind {
    /// Something broke.
    Fault,
    /// Something was noticed or finished.
    Event,
    /// Something was sent or heard.
    Message,
    /// A verdict fell.
    Decision,
    /// One acknowledged commit: a thin stroke, and its label isn't drawn.
    Commit,
}

/// The times that a renderer may rely on being finite, and ordered within a span.
const LIMIT_MS: f64 = 1e9;

/// Returns a copy in which every number is finite, every span runs forwards and every text is one line
/// without control characters.
fn cleaned(timeline: &Timeline) -> Timeline {
    let finite: Vec<f64> = timeline
        .lanes
        .iter()
        .flat_map(|lane| {
            let spans = lane.spans.iter().flat_map(|span| [span.from_ms, span.to_ms]);
            spans.chain(lane.marks.iter().map(|mark| mark.at_ms))
        })
        .filter(|at| at.is_finite())
        .map(rounded)
        .chain([0.0])
        .collect();
    let first = finite.iter().copied().fold(0.0, f64::min);
    let last = finite.iter().copied().fold(0.0, f64::max);
    let clean = |at: f64| rounded(at).clamp(first, last);
    let lanes = timeline.lanes.iter().map(|lane| Lane {
        name: one_line(&lane.name),
        spans: lane
            .spans
            .iter()
            .filter(|span| !span.from_ms.is_nan() && !span.to_ms.is_nan())
            .map(|span| Span {
                from_ms: clean(span.from_ms.min(span.to_ms)),
                to_ms: clean(span.to_ms.max(span.from_ms)),
                label: one_line(&span.label),
                kind: span.kind,
            })
            .collect(),
        marks: lane
            .marks
            .iter()
            .filter(|mark| !mark.at_ms.is_nan())
            .map(|mark| Mark { at_ms: clean(mark.at_ms), label: one_line(&mark.label), kind: mark.kind })
            .collect(),
    });
    Timeline {
        title: one_line(&timeline.title),
        subtitle: timeline.subtitle.as_deref().map(one_line).filter(|text| !text.is_empty()),
        zero_label: one_line(&timeline.zero_label),
        lanes: lanes.collect(),
        summary: timeline.summary.iter().map(|(name, value)| (one_line(name), one_line(value))).collect(),
    }
}

/// Returns the moment to the microsecond, within the limits; finer differences only upset arithmetic.
fn rounded(at: f64) -> f64 {
    (at.clamp(-LIMIT_MS, LIMIT_MS) * 1000.0).round() / 1000.0
}

/// Returns the text without control characters, and without what XML 1.0 can't hold.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .filter(|c| {
            !c.is_control()
                && !matches!(c, '\u{fffe}' | '\u{ffff}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        })
        .collect::<String>()
        .trim()
        .to_owned()
}

/// Returns the text, cut with an ellipsis when `measure` says it is wider than `limit`.
fn shortened<W: PartialOrd + Copy>(text: &str, limit: W, measure: impl Fn(&str) -> W) -> String {
    if measure(text) <= limit {
        return text.to_owned();
    }
    let mut kept = String::new();
    for c in text.chars() {
        let mut longer = kept.clone();
        longer.push(c);
        longer.push('…');
        if measure(&longer) > limit {
            break;
        }
        kept.push(c);
    }
    format!("{}…", kept.trim_end())
}

/// Returns a length of time as a person says it: `4.6 ms`, `312 ms`, `3.2 s`.
fn length(ms: f64) -> String {
    let ms = ms.max(0.0);
    if ms < 9.95 {
        trimmed(&format!("{ms:.1}"), "ms")
    } else if ms < 999.5 {
        format!("{ms:.0} ms")
    } else if ms < 99_950.0 {
        trimmed(&format!("{:.2}", ms / 1000.0), "s")
    } else {
        format!("{:.0} s", ms / 1000.0)
    }
}

/// Returns the number without the zeroes behind its point, and its unit.
fn trimmed(number: &str, unit: &str) -> String {
    let short =
        if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number };
    format!("{short} {unit}")
}

/// Returns the row of each label (0 is nearest to its lane) so that no two texts and no text and leader meet.
///
/// A label is a flag: a straight leader at `x`, and a text that begins there and goes `width` to the right.
/// Taken from right to left, a flag only meets the leaders of flags that are already placed, and goes below
/// the deepest of them. So the leftmost flag of a crowd hangs lowest and nothing ever crosses.
fn flag_rows(flags: &[(f64, f64)]) -> Vec<u32> {
    let mut order: Vec<usize> = (0..flags.len()).collect();
    order.sort_by(|a, b| {
        let x = |position: &usize| flags.get(*position).map_or(0.0, |flag| flag.0);
        x(b).total_cmp(&x(a)).then(b.cmp(a))
    });
    let mut rows = vec![0_u32; flags.len()];
    let mut placed: Vec<(f64, u32)> = Vec::new();
    for position in order {
        let Some(&(x, width)) = flags.get(position) else { continue };
        let row = placed
            .iter()
            .filter(|(other, _)| *other <= x + width)
            .map(|(_, row)| row.saturating_add(1))
            .max()
            .unwrap_or(0);
        placed.push((x, row));
        if let Some(slot) = rows.get_mut(position) {
            *slot = row;
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(super) fn span(from_ms: f64, to_ms: f64, label: &str, kind: SpanKind) -> Span {
        Span { from_ms, to_ms, label: label.to_owned(), kind }
    }

    pub(super) fn mark(at_ms: f64, label: &str, kind: MarkKind) -> Mark {
        Mark { at_ms, label: label.to_owned(), kind }
    }

    /// A two-node failover at 100 ms adverts, as the demo measures it.
    pub(super) fn failover() -> Timeline {
        let commits = |from: i32, to: i32| {
            (from..to).map(|n| mark(f64::from(n) * 6.5, "", MarkKind::Commit)).collect::<Vec<_>>()
        };
        let mut client = commits(-15, 0);
        client.extend(commits(66, 84));
        Timeline {
            title: "A power loss, and 424 ms later the next commit".to_owned(),
            subtitle: Some("2 nodes · asynchronous · adverts every 100 ms · PostgreSQL 15.20".to_owned()),
            zero_label: "node1 loses power".to_owned(),
            lanes: vec![
                Lane {
                    name: "node1".to_owned(),
                    spans: vec![
                        span(-100.0, 0.0, "primary", SpanKind::Serving),
                        span(0.0, f64::INFINITY, "no power", SpanKind::Down),
                    ],
                    marks: vec![mark(-36.0, "last advert", MarkKind::Message)],
                },
                Lane {
                    name: "node2".to_owned(),
                    spans: vec![
                        span(-100.0, 0.0, "standby", SpanKind::Waiting),
                        span(0.0, 302.0, "silence", SpanKind::Silent),
                        span(302.0, 318.0, "ask peers", SpanKind::Asking),
                        span(318.0, 323.2, "write intent", SpanKind::Waiting),
                        span(323.2, 401.0, "promote", SpanKind::Promoting),
                        span(401.0, 406.0, "epoch row", SpanKind::Waiting),
                        span(406.0, 409.5, "VIP", SpanKind::Vip),
                        span(409.5, 545.0, "primary", SpanKind::Serving),
                    ],
                    marks: vec![
                        mark(114.0, "advert late", MarkKind::Event),
                        mark(302.0, "active-down: may ask", MarkKind::Decision),
                        mark(411.0, "gratuitous ARP", MarkKind::Message),
                    ],
                },
                Lane {
                    name: "client".to_owned(),
                    spans: vec![
                        span(-100.0, 0.0, "commits", SpanKind::Serving),
                        span(-1.2, 423.1, "no commit acknowledged", SpanKind::Outage),
                        span(423.1, 545.0, "commits", SpanKind::Serving),
                    ],
                    marks: client,
                },
            ],
            summary: vec![
                ("write outage".to_owned(), "424 ms".to_owned()),
                ("detection".to_owned(), "302 ms".to_owned()),
                ("promotion".to_owned(), "78 ms".to_owned()),
                ("acknowledged commits lost".to_owned(), "0 of 1 842".to_owned()),
            ],
        }
    }

    /// The same with the default interval of one second: a long silence before a short decision.
    pub(super) fn slow_failover() -> Timeline {
        let mut timeline = failover();
        timeline.title = "A power loss at one-second adverts".to_owned();
        timeline.subtitle = Some("2 nodes · asynchronous · adverts every second".to_owned());
        for lane in &mut timeline.lanes {
            for span in &mut lane.spans {
                for at in [&mut span.from_ms, &mut span.to_ms] {
                    *at += if *at > 300.0 { 2916.0 } else { 0.0 };
                }
            }
            for mark in &mut lane.marks {
                mark.at_ms += match mark.at_ms {
                    at if at > 300.0 => 2916.0,
                    at if at > 100.0 => 1350.0,
                    _ => 0.0,
                };
            }
        }
        timeline.summary = vec![("write outage".to_owned(), "3.34 s".to_owned())];
        timeline
    }

    #[test]
    fn lengths_are_said_as_people_say_them() {
        let lengths: Vec<String> =
            [0.0, 0.04, 4.56, 9.96, 312.4, 999.6, 3210.0, 60_000.0, 120_000.0, -3.0].map(length).to_vec();
        assert_eq!(
            lengths,
            ["0 ms", "0 ms", "4.6 ms", "10 ms", "312 ms", "1 s", "3.21 s", "60 s", "120 s", "0 ms"]
        );
    }

    #[test]
    fn the_pictures_are_these() {
        insta::assert_snapshot!("failover.txt", render_terminal(&failover(), 80, false));
        insta::assert_snapshot!("slow.txt", render_terminal(&slow_failover(), 80, false));
        insta::assert_snapshot!("failover.svg", render_svg(&failover()));
    }

    #[test]
    fn a_crowd_of_labels_hangs_in_steps() {
        assert_eq!(flag_rows(&[(0.0, 50.0), (10.0, 50.0), (20.0, 50.0), (200.0, 10.0)]), [2, 1, 0, 0]);
        assert_eq!(flag_rows(&[(5.0, 9.0), (5.0, 9.0)]), [1, 0]);
        assert_eq!(flag_rows(&[]), [0_u32; 0]);
    }

    #[test]
    fn control_characters_and_direction_overrides_are_left_out() {
        assert_eq!(one_line("a\u{1b}[31m\nb\u{202e}\u{0}c\u{ffff}"), "a[31m bc");
    }

    #[test]
    fn a_long_text_is_cut_where_it_fits() {
        let count = |text: &str| text.chars().count();
        assert_eq!(shortened("abcdef", 6, count), "abcdef");
        assert_eq!(shortened("abc def", 5, count), "abc…");
        assert_eq!(shortened("abc", 0, count), "…");
    }

    pub(super) fn any_time() -> impl Strategy<Value = f64> {
        prop_oneof![
            4 => -500.0..5000.0_f64,
            1 => Just(0.0),
            1 => Just(100.0),
            1 => any::<f64>(),
            1 => prop::sample::select(vec![
                f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, f64::MIN_POSITIVE, -0.0,
            ]),
        ]
    }

    fn any_lane() -> impl Strategy<Value = Lane> {
        let kinds = prop::sample::select(SpanKind::ALL.to_vec());
        let marks = prop::sample::select(vec![
            MarkKind::Fault,
            MarkKind::Event,
            MarkKind::Message,
            MarkKind::Decision,
            MarkKind::Commit,
        ]);
        let span = (any_time(), any_time(), ".{0,20}", kinds)
            .prop_map(|(from_ms, to_ms, label, kind)| Span { from_ms, to_ms, label, kind });
        let mark =
            (any_time(), ".{0,20}", marks).prop_map(|(at_ms, label, kind)| Mark { at_ms, label, kind });
        (".{0,12}", prop::collection::vec(span, 0..8), prop::collection::vec(mark, 0..6))
            .prop_map(|(name, spans, marks)| Lane { name, spans, marks })
    }

    pub(super) fn any_timeline() -> impl Strategy<Value = Timeline> {
        (
            ".{0,30}",
            prop::option::of(".{0,30}"),
            ".{0,30}",
            prop::collection::vec(any_lane(), 0..5),
            prop::collection::vec((".{0,9}", ".{0,9}"), 0..4),
        )
            .prop_map(|(title, subtitle, zero_label, lanes, summary)| Timeline {
                title,
                subtitle,
                zero_label,
                lanes,
                summary,
            })
    }

    proptest! {
        #[test]
        fn no_text_meets_a_text_or_a_leader(flags in prop::collection::vec((0.0..500.0_f64, 1.0..200.0_f64), 0..30)) {
            let rows = flag_rows(&flags);
            for (i, (x, width)) in flags.iter().enumerate() {
                for (j, (other, _)) in flags.iter().enumerate().filter(|(j, _)| *j != i) {
                    if (*x..=x + width).contains(other) && (other > x || j > i) {
                        // The other's leader runs from row 0 to its own row, through this text's columns.
                        prop_assert!(rows[i] > rows[j]);
                    }
                }
            }
        }
    }
}
