//! The picture as an SVG: no script, no external font, readable on a light and on a dark page.
//!
//! Text widths are estimated on the wide side (there is no font here to ask), so a narrower font only leaves
//! more room. Colours are in one style sheet, twice: for light and for dark.

use super::paper::{DEFINITIONS, STYLE, bold_width, escaped, number, text_width};
use super::scale::{Piece, Room, Scale};
use super::{Mark, MarkKind, Span, SpanKind, Timeline, cleaned, flag_rows, length, shortened};

const MARGIN: f64 = 32.0;
const PLOT_WIDTH: f64 = 880.0;
const BAR: f64 = 34.0;
const ROW: f64 = 18.0;
const GAP: f64 = 20.0;
const LABEL_LIMIT: f64 = 260.0;

/// Returns the picture of a timeline as an SVG document.
pub fn render_svg(timeline: &Timeline) -> String {
    let timeline = cleaned(timeline);
    let names =
        timeline.lanes.iter().map(|lane| bold_width(&lane.name, 15.0)).fold(40.0, f64::max).min(220.0);
    let left = MARGIN + names + 20.0;
    let scale = Scale::new(&timeline, Room { left, width: PLOT_WIDTH, narrowest: 7.0, cut: 96.0 });
    let mut drawing = Drawing {
        scale,
        body: String::new(),
        texts: String::new(),
        tears: String::new(),
        right: left + PLOT_WIDTH,
        y: 0.0,
    };
    drawing.draw(&timeline);
    let (width, height) = (drawing.right + MARGIN, drawing.y + MARGIN * 0.7);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w} {h}\" width=\"{w}\" height=\"{h}\" \
         role=\"img\" aria-label=\"{title}\">\n<title>{title}</title>\n<style>{STYLE}</style>\n{DEFINITIONS}\n\
         <rect class=\"page\" x=\"0.5\" y=\"0.5\" width=\"{iw}\" height=\"{ih}\" rx=\"14\"/>\n",
        w = number(width),
        h = number(height),
        iw = number(width - 1.0),
        ih = number(height - 1.0),
        title = escaped(&timeline.title),
    );
    out.push_str(&drawing.body);
    out.push_str("</svg>\n");
    out
}

/// What is drawn so far, from the top to the bottom.
struct Drawing {
    scale: Scale,
    body: String,
    /// Texts in and around the lanes: above the tears.
    texts: String,
    /// The tears through all lanes where time was cut.
    tears: String,
    /// The rightmost place that something needs.
    right: f64,
    /// The lowest place that something needs.
    y: f64,
}

/// The text of a flag, in its two voices.
struct Flag {
    x: f64,
    label: String,
    took: String,
    /// The text is at the left of its leader, so that the fault's line doesn't go through it.
    leftwards: bool,
}

impl Flag {
    fn width(&self) -> f64 {
        let took = if self.took.is_empty() { 0.0 } else { 6.0 + text_width(&self.took, 12.0) };
        text_width(&self.label, 12.0) + took + 14.0
    }
}

/// A wait without an acknowledged write, as the bracket below the lanes says it.
struct Bracket {
    from: f64,
    to: f64,
    text: String,
}

impl Drawing {
    fn draw(&mut self, timeline: &Timeline) {
        self.heading(timeline);
        let zero = self.scale.place(0.0);
        let pill = self.y;
        self.y += 30.0;
        let top = self.y;

        let heading = std::mem::take(&mut self.body);
        let mut bottom = top;
        for lane in &timeline.lanes {
            self.lane(&lane.name, &lane.spans, &lane.marks);
            bottom = self.y;
            self.y += GAP;
        }
        self.y = bottom + 8.0;
        let outages: Vec<&Span> = timeline
            .lanes
            .iter()
            .flat_map(|lane| &lane.spans)
            .filter(|span| span.kind == SpanKind::Outage && span.to_ms > span.from_ms)
            .collect();
        let mut through = String::new();
        let brackets = self.brackets(&outages);
        let lanes = std::mem::take(&mut self.body);
        let axis_y = self.axis(top);
        for bracket in &brackets {
            let (x, width) = (number(bracket.from), number(bracket.to - bracket.from));
            let height = number(axis_y - top);
            through.extend([format!(
                "<rect class=\"shade\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"/>\n",
                y = number(top),
            )]);
        }
        let fault = self.fault(zero, pill, axis_y, &timeline.zero_label);
        let axis = std::mem::take(&mut self.body);
        let (tears, texts) = (std::mem::take(&mut self.tears), std::mem::take(&mut self.texts));
        self.body = [heading, through, axis, fault, lanes, tears, texts].concat();
        self.summary(&timeline.summary);
    }

    fn heading(&mut self, timeline: &Timeline) {
        self.y = MARGIN;
        for (class, size, text) in
            [("title", 23.0, Some(&timeline.title)), ("sub", 14.0, timeline.subtitle.as_ref())]
        {
            let Some(text) = text.filter(|text| !text.is_empty()) else { continue };
            self.y += size;
            self.text(class, MARGIN, self.y, text);
            self.need(MARGIN + bold_width(text, size));
            self.y += 10.0;
        }
        self.y += 14.0;
    }

    /// The pill with what happened at 0, and the line from it through all lanes.
    fn fault(&mut self, zero: f64, pill: f64, bottom: f64, label: &str) -> String {
        let mut out = format!(
            "<line class=\"fault\" x1=\"{x}\" y1=\"{y1}\" x2=\"{x}\" y2=\"{y2}\"/>\n",
            x = number(zero),
            y1 = number(pill + 11.0),
            y2 = number(bottom)
        );
        if !label.is_empty() {
            let label = shortened(label, 420.0, |text| bold_width(text, 13.0));
            let width = bold_width(&label, 13.0) + 24.0;
            self.need(zero + width - 12.0);
            out.extend([format!(
                "<rect class=\"pill\" x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"23\" rx=\"11.5\"/>\n\
                 <text class=\"pilltext\" x=\"{tx}\" y=\"{ty}\">{label}</text>\n",
                x = number(zero - 12.0),
                y = number(pill),
                w = number(width),
                tx = number(zero),
                ty = number(pill + 16.0),
                label = escaped(&label),
            )]);
        }
        out
    }

    fn lane(&mut self, name: &str, spans: &[Span], marks: &[Mark]) {
        // Labels of marks go above the bar, those of narrow spans below it.
        let mut above: Vec<Flag> = marks
            .iter()
            .filter(|mark| mark.kind != MarkKind::Commit && !mark.label.is_empty())
            .map(|mark| Flag {
                x: self.scale.place(mark.at_ms),
                label: limited(&mark.label),
                took: String::new(),
                leftwards: false,
            })
            .collect();
        self.turn_from_fault(&mut above);
        let above_rows = self.rows(&above);
        let above_height = above_rows.iter().max().map_or(0.0, |row| f64::from(row + 1) * ROW + 4.0);
        let bar = self.y + above_height;

        let plot_left = self.scale.place(f64::NEG_INFINITY.max(-super::LIMIT_MS));
        self.body.extend([format!(
            "<rect class=\"track\" x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{BAR}\" rx=\"6\"/>\n",
            x = number(plot_left),
            y = number(bar),
            w = number(self.scale.end() - plot_left),
        )]);
        let shown = shortened(name, 220.0, |text| bold_width(text, 15.0));
        self.text("lane", MARGIN, bar + BAR / 2.0 + 5.0, &shown);

        // Shorter spans last, so that they are on top.
        let mut order: Vec<&Span> = spans.iter().collect();
        order.sort_by(|a, b| (b.to_ms - b.from_ms).total_cmp(&(a.to_ms - a.from_ms)));
        let mut below: Vec<Flag> = Vec::new();
        for span in &order {
            if let Some(flag) = self.span(span, bar, &order) {
                below.push(flag);
            }
        }
        for mark in marks {
            self.mark(mark, bar);
        }
        for (flag, row) in above.iter().zip(&above_rows) {
            self.flag(flag, bar - 5.0, bar - 12.0 - f64::from(*row) * ROW);
        }
        let below_rows = self.rows(&below);
        for (flag, row) in below.iter().zip(&below_rows) {
            self.flag(flag, bar + BAR, bar + BAR + 19.0 + f64::from(*row) * ROW);
        }
        let below_height = below_rows.iter().max().map_or(0.0, |row| f64::from(row + 1) * ROW + 6.0);
        self.y = bar + BAR + below_height;
    }

    /// Turns a flag to the left that would cross the fault's line, if there is room for it.
    fn turn_from_fault(&self, flags: &mut [Flag]) {
        let (zero, left) = (self.scale.place(0.0), self.scale.place(-super::LIMIT_MS));
        let reach: Vec<(f64, f64)> = flags.iter().map(|flag| (flag.x, flag.x + flag.width())).collect();
        for (position, flag) in flags.iter_mut().enumerate() {
            let begin = flag.x - flag.width();
            let alone = reach
                .iter()
                .enumerate()
                .all(|(other, (from, to))| other == position || *to < begin || *from > flag.x);
            flag.leftwards = flag.x < zero && flag.x + flag.width() > zero && begin >= left && alone;
        }
    }

    fn rows(&mut self, flags: &[Flag]) -> Vec<u32> {
        let boxes: Vec<(f64, f64)> =
            flags.iter().map(|flag| (flag.x, if flag.leftwards { 0.0 } else { flag.width() })).collect();
        for (x, width) in &boxes {
            self.need(x + width);
        }
        flag_rows(&boxes)
    }

    /// Draws a span; returns its label as a flag when it doesn't fit inside.
    fn span(&mut self, span: &Span, bar: f64, all: &[&Span]) -> Option<Flag> {
        let (from, to) = (self.scale.place(span.from_ms), self.scale.place(span.to_ms));
        let width = (to - from).max(3.0);
        let took = length(span.to_ms - span.from_ms);
        self.body.extend([format!(
            "<g><title>{label}: {from_text} to {to_text} ({took})</title>\
             <rect class=\"bar {class}\" x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{BAR}\" rx=\"{r}\"/>",
            label = escaped(&span.label),
            from_text = signed(span.from_ms),
            to_text = signed(span.to_ms),
            class = class(span.kind),
            x = number(from),
            y = number(bar),
            w = number(width),
            r = number((width / 3.0).min(6.0)),
        )]);
        if let Some(pattern) = pattern(span.kind) {
            self.body.extend([format!(
                "<rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{BAR}\" rx=\"{r}\" fill=\"url(#{pattern})\"/>",
                x = number(from),
                y = number(bar),
                w = number(width),
                r = number((width / 3.0).min(6.0)),
            )]);
        }
        self.body.push_str("</g>\n");
        if span.label.is_empty() {
            return None;
        }
        let (free_from, free_to) = self.uncovered(span, from, from + width, all);
        let free = free_to - free_from;
        let (label_width, took_width) = (bold_width(&span.label, 13.0), text_width(&took, 13.0) + 5.0);
        let open = span.from_ms < 0.0 || (to - self.scale.end()).abs() < 0.5;
        if label_width + 10.0 > free {
            return Some(Flag {
                x: (from + width / 2.0).min(free_from.midpoint(free_to)).max(from + 1.0),
                label: limited(&span.label),
                took: if open && span.kind != SpanKind::Outage { String::new() } else { took },
                leftwards: false,
            });
        }
        let with_took = !open && span.kind != SpanKind::Outage && label_width + took_width + 8.0 <= free;
        let took = if with_took { format!(" <tspan class=\"soft\">{took}</tspan>") } else { String::new() };
        self.texts.extend([format!(
            "<text class=\"in {ink}\" x=\"{x}\" y=\"{y}\">{label}{took}</text>\n",
            ink = ink(span.kind),
            x = number(free_from.midpoint(free_to)),
            y = number(bar + BAR / 2.0 + 4.5),
            label = escaped(&span.label),
        )]);
        None
    }

    /// Returns the widest part of a span that no shorter span and no tear is drawn over.
    fn uncovered(&self, span: &Span, from: f64, to: f64, all: &[&Span]) -> (f64, f64) {
        let mine = span.to_ms - span.from_ms;
        let mut later = false;
        let mut covers: Vec<(f64, f64)> = Vec::new();
        for other in all {
            if std::ptr::eq(*other, span) {
                later = true;
                continue;
            }
            let theirs = other.to_ms - other.from_ms;
            if theirs < mine || (later && theirs <= mine) {
                let (begin, end) = (self.scale.place(other.from_ms), self.scale.place(other.to_ms));
                covers.push((begin, end.max(begin + 3.0)));
            }
        }
        // Nothing can be read through a tear.
        covers.extend(self.scale.cuts().map(|cut| (cut.from + 5.0, cut.from + 23.0)));
        covers.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (mut best, mut at) = ((from, from), from);
        for (begin, end) in covers.into_iter().chain([(to, to)]) {
            let begin = begin.clamp(from, to);
            if begin - at > best.1 - best.0 {
                best = (at, begin);
            }
            at = at.max(end.clamp(from, to));
        }
        best
    }

    fn mark(&mut self, mark: &Mark, bar: f64) {
        let x = self.scale.place(mark.at_ms);
        let (y, title) = (bar - 5.0, escaped(&format!("{} {}", signed(mark.at_ms), mark.label)));
        let shape = match mark.kind {
            MarkKind::Commit => format!(
                "<line class=\"commit\" x1=\"{x}\" y1=\"{y1}\" x2=\"{x}\" y2=\"{y2}\"/>\n",
                x = number(x),
                y1 = number(bar + BAR - 8.0),
                y2 = number(bar + BAR - 2.0)
            ),
            MarkKind::Fault => format!(
                "<path class=\"m-fault\" d=\"M{x0} {y0}L{x1} {y1}M{x1} {y0}L{x0} {y1}\"><title>{title}</title></path>\n",
                x0 = number(x - 4.0),
                x1 = number(x + 4.0),
                y0 = number(y - 4.0),
                y1 = number(y + 4.0)
            ),
            MarkKind::Event => format!(
                "<circle class=\"mark m-event\" cx=\"{x}\" cy=\"{y}\" r=\"4.5\"><title>{title}</title></circle>\n",
                x = number(x),
                y = number(y)
            ),
            MarkKind::Message => format!(
                "<path class=\"mark m-message\" d=\"M{x0} {y0}h10l-5 9z\"><title>{title}</title></path>\n",
                x0 = number(x - 5.0),
                y0 = number(y - 5.0)
            ),
            MarkKind::Decision => format!(
                "<path class=\"mark m-decision\" d=\"M{x} {y0}l5.5 5.5l-5.5 5.5l-5.5 -5.5z\"><title>{title}</title></path>\n",
                x = number(x),
                y0 = number(y - 5.5)
            ),
        };
        self.body.push_str(&shape);
    }

    /// A leader from the lane to the text's row, and the text beside it.
    fn flag(&mut self, flag: &Flag, from_y: f64, text_y: f64) {
        let took = match flag.took.as_str() {
            "" => String::new(),
            took => format!(" <tspan class=\"muted\">{took}</tspan>"),
        };
        let below = text_y > from_y;
        let (foot, beside) = match (below, flag.leftwards) {
            (true, _) => ("h4", 7.0),
            (false, false) => ("", 5.0),
            (false, true) => ("", -5.0),
        };
        self.body.extend([format!(
            "<path class=\"leader\" d=\"M{x} {from}V{to}{foot}\"/>\n",
            x = number(flag.x),
            from = number(from_y),
            to = number(text_y - if below { 4.0 } else { 9.0 }),
        )]);
        self.texts.extend([format!(
            "<text class=\"flag\"{anchor} x=\"{x}\" y=\"{y}\">{label}{took}</text>\n",
            anchor = if flag.leftwards { " text-anchor=\"end\"" } else { "" },
            x = number(flag.x + beside),
            y = number(text_y),
            label = escaped(&flag.label),
        )]);
    }

    /// The outages as brackets with their lengths, in rows where they would meet.
    fn brackets(&mut self, outages: &[&Span]) -> Vec<Bracket> {
        let brackets: Vec<Bracket> = outages
            .iter()
            .map(|span| Bracket {
                from: self.scale.place(span.from_ms),
                to: self.scale.place(span.to_ms),
                text: length(span.to_ms - span.from_ms),
            })
            .collect();
        let mut ends: Vec<f64> = Vec::new();
        let top = self.y;
        for bracket in &brackets {
            let width = bold_width(&bracket.text, 19.0);
            let inside = width + 40.0 <= bracket.to - bracket.from;
            let end = if inside { bracket.to } else { bracket.to + 10.0 + width };
            self.need(end);
            let row = ends.iter().position(|taken| *taken + 8.0 <= bracket.from).unwrap_or(ends.len());
            match ends.get_mut(row) {
                Some(taken) => *taken = end,
                None => ends.push(end),
            }
            let y = top + 14.0 + 30.0 * f64::from(u32::try_from(row).unwrap_or(u32::MAX));
            let middle = bracket.from.midpoint(bracket.to);
            let (from, to) = (number(bracket.from), number(bracket.to));
            let line = if inside {
                let (before, after) =
                    (number(middle - width / 2.0 - 8.0), number(middle + width / 2.0 + 8.0));
                format!("M{from} {y}H{before}M{after} {y}H{to}", y = number(y))
            } else {
                format!("M{from} {y}H{to}", y = number(y))
            };
            self.body.extend([format!(
                "<path class=\"bracket\" d=\"M{from} {y0}V{y1}{line}M{to} {y0}V{y1}\"/>\n\
                 <text class=\"outage\" text-anchor=\"{anchor}\" x=\"{x}\" y=\"{ty}\">{text}</text>\n",
                y0 = number(y - 8.0),
                y1 = number(y + 8.0),
                anchor = if inside { "middle" } else { "start" },
                x = number(if inside { middle } else { bracket.to + 8.0 }),
                ty = number(y + 6.5),
                text = bracket.text,
            )]);
        }
        if !ends.is_empty() {
            self.y += 30.0 * f64::from(u32::try_from(ends.len()).unwrap_or(u32::MAX)) + 2.0;
        }
        brackets
    }

    /// The numbers, and the tears where time was cut; returns where the axis is.
    fn axis(&mut self, top: f64) -> f64 {
        let y = self.y + 4.0;
        let left = self.scale.place(-super::LIMIT_MS);
        let ticks = self.scale.ticks(76.0, |label| text_width(label, 12.0));
        for tick in &ticks {
            let x = number(tick.at);
            self.body.extend([format!(
                "<line class=\"grid\" x1=\"{x}\" y1=\"{y1}\" x2=\"{x}\" y2=\"{y2}\"/>\
                 <text class=\"tick\" x=\"{x}\" y=\"{ty}\">{label}</text>\n",
                y1 = number(top),
                y2 = number(y + 5.0),
                ty = number(y + 21.0),
                label = escaped(&tick.label),
            )]);
        }
        self.body.extend([format!(
            "<line class=\"axis\" x1=\"{x1}\" y1=\"{y}\" x2=\"{x2}\" y2=\"{y}\"/>\n",
            x1 = number(left),
            x2 = number(self.scale.end()),
            y = number(y),
        )]);
        let cuts: Vec<Piece> = self.scale.cuts().copied().collect();
        for cut in &cuts {
            self.tears.push_str(&tear(cut.from + 14.0, top - 4.0, y + 6.0));
            self.body.extend([format!(
                "<text class=\"tick muted\" x=\"{x}\" y=\"{ty}\">{text}</text>\n",
                x = number(cut.from.midpoint(cut.to)),
                ty = number(y + 21.0),
                text = escaped(&format!("{} cut", length(cut.to_ms - cut.from_ms))),
            )]);
        }
        self.y = y + 30.0;
        y
    }

    fn summary(&mut self, summary: &[(String, String)]) {
        if summary.is_empty() {
            return;
        }
        self.y += 14.0;
        let (mut x, mut row) = (MARGIN, self.y);
        for (name, value) in summary {
            let width = text_width(name, 12.0).max(bold_width(value, 20.0)) + 28.0;
            if x > MARGIN && x + width > self.right {
                x = MARGIN;
                row += 70.0;
            }
            self.body.extend([format!(
                "<rect class=\"card\" x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"58\" rx=\"9\"/>\
                 <text class=\"value\" x=\"{tx}\" y=\"{vy}\">{value}</text>\
                 <text class=\"name\" x=\"{tx}\" y=\"{ny}\">{name}</text>\n",
                x = number(x),
                y = number(row),
                w = number(width),
                tx = number(x + 14.0),
                vy = number(row + 28.0),
                ny = number(row + 46.0),
                value = escaped(value),
                name = escaped(name),
            )]);
            self.need(x + width);
            x += width + 12.0;
        }
        self.y = row + 58.0;
    }

    fn text(&mut self, class: &str, x: f64, y: f64, text: &str) {
        let (x, y, text) = (number(x), number(y), escaped(text));
        self.body.extend([format!("<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{text}</text>\n")]);
    }

    fn need(&mut self, right: f64) {
        self.right = self.right.max(right);
    }
}

fn limited(label: &str) -> String {
    shortened(label, LABEL_LIMIT, |text| text_width(text, 12.0))
}

fn class(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Serving => "serving",
        SpanKind::Silent => "silent",
        SpanKind::Waiting => "waiting",
        SpanKind::Asking => "asking",
        SpanKind::Promoting => "promoting",
        SpanKind::Vip => "vip",
        SpanKind::Outage => "out",
        SpanKind::Down => "down",
        SpanKind::Frozen => "frozen",
        SpanKind::Fenced => "fenced",
    }
}

/// Whether the text in the bar is light on dark or the page's own colour.
fn ink(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Silent | SpanKind::Waiting | SpanKind::Frozen | SpanKind::Outage | SpanKind::Down => {
            "page-ink"
        }
        _ => "bar-ink",
    }
}

fn pattern(kind: SpanKind) -> Option<&'static str> {
    match kind {
        SpanKind::Silent => Some("dots"),
        SpanKind::Down | SpanKind::Outage | SpanKind::Fenced => Some("hatch"),
        _ => None,
    }
}

/// A ribbon in the page's colour through all lanes: here time was cut out.
fn tear(x: f64, top: f64, bottom: f64) -> String {
    let mut path = format!("M{} {}", number(x), number(top));
    let mut y = top;
    let mut side = 6.0;
    while y < bottom {
        y = (y + 9.0).min(bottom);
        path.extend([format!("L{} {}", number(x + side), number(y))]);
        side = 6.0 - side;
    }
    format!("<path class=\"tear\" d=\"{path}\"/>\n")
}

/// Returns a moment for a tooltip: `+323.2 ms`.
fn signed(ms: f64) -> String {
    if ms < 0.0 { format!("−{:.1} ms", -ms) } else { format!("+{ms:.1} ms") }
}

#[cfg(test)]
mod tests {
    use super::super::Lane;
    use super::super::tests::{any_timeline, failover, slow_failover, span};
    use super::*;
    use proptest::prelude::*;

    /// A reader of exactly the XML that is written here: tags balance, attributes are quoted, text is escaped.
    fn well_formed(xml: &str) -> Result<(), String> {
        let mut open: Vec<String> = Vec::new();
        let mut rest = xml;
        while let Some(begin) = rest.find('<') {
            let text = &rest[..begin];
            if text.contains('>') || text.split('&').skip(1).any(|entity| !entity.contains(';')) {
                return Err(format!("unescaped text {text:?}"));
            }
            let end = rest[begin..].find('>').ok_or("tag without end")? + begin;
            let tag = &rest[begin + 1..end];
            if !tag.matches('"').count().is_multiple_of(2)
                || tag.contains('<')
                || tag.contains("NaN")
                || tag.contains("inf")
            {
                return Err(format!("bad tag {tag:?}"));
            }
            if let Some(name) = tag.strip_prefix('/') {
                if open.pop().as_deref() != Some(name) {
                    return Err(format!("unbalanced {name}"));
                }
            } else if !tag.ends_with('/') {
                open.push(tag.split(' ').next().unwrap_or("").to_owned());
            }
            rest = &rest[end + 1..];
        }
        if open.is_empty() { Ok(()) } else { Err(format!("left open: {open:?}")) }
    }

    #[test]
    fn the_pictures_can_be_looked_at() {
        // `PGBATON_PICTURES=/some/folder cargo test pictures` writes them there.
        let Some(folder) = std::env::var_os("PGBATON_PICTURES").map(std::path::PathBuf::from) else { return };
        for (name, timeline) in [("failover", failover()), ("slow", slow_failover())] {
            let svg = render_svg(&timeline);
            std::fs::write(folder.join(format!("{name}.svg")), &svg).unwrap();
            let dark = svg
                .replace("@media (prefers-color-scheme:dark){", "")
                .replace("ffffff}}</style>", "ffffff}</style>");
            std::fs::write(
                folder.join(format!("{name}-dark.svg")),
                dark.replacen("}}</style>", "}</style>", 1),
            )
            .unwrap();
            for colour in [false, true] {
                let text = super::super::render_terminal(&timeline, 80, colour);
                std::fs::write(folder.join(format!("{name}-{colour}.txt")), text).unwrap();
            }
        }
    }

    #[test]
    fn the_document_is_well_formed_and_says_what_happened() {
        let svg = render_svg(&failover());
        well_formed(&svg).unwrap();
        for text in [
            "node1 loses power",
            ">424 ms</text>",
            "promote",
            "acknowledged commits lost",
            "prefers-color-scheme",
        ] {
            assert!(svg.contains(text), "{text}");
        }
        assert!(!svg.contains("http://") || svg.matches("http").count() == 1, "nothing external");
        assert_eq!(svg, render_svg(&failover()), "the same bytes every time");
    }

    #[test]
    fn text_is_escaped() {
        let mut timeline = failover();
        timeline.title = "<script>&\"'".to_owned();
        timeline.lanes[0].name = "a<b>&".to_owned();
        timeline.lanes[0].spans[0].label = "<x>".to_owned();
        let svg = render_svg(&timeline);
        well_formed(&svg).unwrap();
        assert!(svg.contains("<title>&lt;script&gt;&amp;&quot;&#39;</title>"));
        assert!(!svg.contains("<script"));
    }

    #[test]
    fn a_stage_of_five_milliseconds_is_seen_beside_three_seconds() {
        let timeline = Timeline {
            lanes: vec![Lane {
                name: "node2".to_owned(),
                spans: vec![
                    span(0.0, 3000.0, "silence", SpanKind::Silent),
                    span(3000.0, 3005.0, "ask", SpanKind::Asking),
                ],
                marks: Vec::new(),
            }],
            ..Timeline::default()
        };
        let svg = render_svg(&timeline);
        let tail = svg.split("bar asking").nth(1).unwrap();
        let width: f64 = tail.split("width=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap();
        assert!(width >= 7.0, "{width}");
        assert!(svg.contains("3 s cut"));
    }

    #[test]
    fn a_page_without_lanes_is_still_a_page() {
        well_formed(&render_svg(&Timeline::default())).unwrap();
    }

    proptest! {
        #[test]
        fn any_timeline_is_drawn(timeline in any_timeline()) {
            let svg = render_svg(&timeline);
            prop_assert!(well_formed(&svg).is_ok(), "{:?}", well_formed(&svg));
        }
    }
}
