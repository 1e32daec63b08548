//! The picture as text: bars of block characters, labels below them, colour as an addition only.
//!
//! Every kind of span has its own pattern, so that the picture says the same without colour. A span always
//! has at least one column.

use super::scale::{Room, Scale};
use super::{Lane, Mark, MarkKind, Span, SpanKind, Timeline, cleaned, flag_rows, length, shortened};

const RESET: &str = "\u{1b}[0m";
const BOLD: &str = "\u{1b}[1m";
const FAINT: &str = "\u{1b}[2m";
const RED: &str = "\u{1b}[1;31m";

/// Returns the picture of a timeline as lines of at most `columns` columns (40 at least, 400 at most).
pub fn render_terminal(timeline: &Timeline, columns: usize, colour: bool) -> String {
    let timeline = cleaned(timeline);
    let columns = columns.clamp(40, 400);
    let names = timeline.lanes.iter().map(|lane| width(&lane.name)).max().unwrap_or(0).clamp(4, 14);
    let left = names + 2;
    let plot = columns - left - 1;
    let scale = Scale::new(
        &timeline,
        Room { left: float(left), width: float(plot), narrowest: 2.0, cut: float(plot / 9 + 2) },
    );
    let canvas = Canvas { scale, left, names, columns, colour };
    let mut out = String::new();
    canvas.heading(&mut out, &timeline);
    for lane in &timeline.lanes {
        canvas.lane(&mut out, lane);
    }
    canvas.axis(&mut out);
    canvas.summary(&mut out, &timeline.summary);
    out
}

/// Where things go, and whether they have colours.
struct Canvas {
    scale: Scale,
    left: usize,
    names: usize,
    columns: usize,
    colour: bool,
}

/// One line of the picture: a character and a colour for each column.
struct Row(Vec<(char, &'static str)>);

impl Row {
    fn new(columns: usize) -> Self {
        Self(vec![(' ', ""); columns])
    }

    fn put(&mut self, column: usize, c: char, style: &'static str) {
        if let Some(cell) = self.0.get_mut(column) {
            *cell = (c, style);
        }
    }

    /// Writes a text; a wide character takes two columns, the second of which prints nothing.
    fn write(&mut self, mut column: usize, text: &str, style: &'static str) {
        for c in text.chars() {
            self.put(column, c, style);
            let wide = char_width(c);
            for extra in 1..wide {
                self.put(column + extra, '\0', style);
            }
            column += wide;
        }
    }

    fn print(&self, out: &mut String, colour: bool) {
        let used = self.0.iter().rposition(|(c, _)| *c != ' ').map_or(0, |last| last + 1);
        let mut current = "";
        for (c, style) in self.0.iter().take(used) {
            if colour && *style != current {
                if !current.is_empty() {
                    out.push_str(RESET);
                }
                out.push_str(style);
                current = style;
            }
            if *c != '\0' {
                out.push(*c);
            }
        }
        if !current.is_empty() {
            out.push_str(RESET);
        }
        out.push('\n');
    }
}

/// A label that hangs below (or stands above) its lane.
struct Flag {
    column: usize,
    text: String,
    took: String,
}

impl Flag {
    fn width(&self) -> usize {
        let took = if self.took.is_empty() { 0 } else { 1 + width(&self.took) };
        2 + width(&self.text) + took
    }
}

impl Canvas {
    fn heading(&self, out: &mut String, timeline: &Timeline) {
        for (text, style) in [(Some(&timeline.title), BOLD), (timeline.subtitle.as_ref(), FAINT)] {
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                let mut row = Row::new(self.columns);
                row.write(0, &shortened(text, self.columns, width), style);
                row.print(out, self.colour);
            }
        }
        out.push('\n');
        let zero = self.column(self.scale.place(0.0));
        let mut row = Row::new(self.columns);
        let text = format!("▼ {}", timeline.zero_label);
        let text = shortened(text.trim_end(), self.columns, width);
        row.write(zero.min(self.columns.saturating_sub(width(&text))), &text, RED);
        row.print(out, self.colour);
    }

    fn lane(&self, out: &mut String, lane: &Lane) {
        let mut above: Vec<Flag> = Vec::new();
        for mark in lane.marks.iter().filter(|mark| mark.kind != MarkKind::Commit && !mark.label.is_empty()) {
            let column = self.column(self.scale.place(mark.at_ms));
            let text = format!("{} {}", symbol(mark), mark.label);
            above.push(Flag { column, text, took: String::new() });
        }
        self.above(out, &mut above);

        let mut bar = Row::new(self.columns);
        bar.write(0, &shortened(&lane.name, self.names, width), BOLD);
        for column in self.left..self.columns - 1 {
            bar.put(column, '·', FAINT);
        }
        let mut order: Vec<&Span> = lane.spans.iter().collect();
        order.sort_by(|a, b| (b.to_ms - b.from_ms).total_cmp(&(a.to_ms - a.from_ms)));
        let mut owner: Vec<Option<usize>> = vec![None; self.columns];
        for (position, span) in order.iter().enumerate() {
            let (first, last) = self.columns_of(span);
            for column in first..=last {
                bar.put(column, pattern(span.kind), style(span.kind));
                if let Some(slot) = owner.get_mut(column) {
                    *slot = Some(position);
                }
            }
        }
        let mut below: Vec<Flag> = Vec::new();
        for (position, span) in order.iter().enumerate() {
            let free = longest_run(&owner, position);
            below.extend(self.label(&mut bar, span, free));
        }
        for mark in lane.marks.iter().filter(|mark| mark.kind != MarkKind::Commit && mark.label.is_empty()) {
            bar.put(self.column(self.scale.place(mark.at_ms)), symbol(mark), RED);
        }
        bar.print(out, self.colour);
        self.below(out, &mut below);
        for span in
            lane.spans.iter().filter(|span| span.kind == SpanKind::Outage && span.to_ms > span.from_ms)
        {
            self.bracket(out, span);
        }
    }

    /// Writes a label into its bar; returns it as a flag when there is no room.
    fn label(&self, bar: &mut Row, span: &Span, free: Option<(usize, usize)>) -> Option<Flag> {
        if span.label.is_empty() {
            return None;
        }
        let (first, last) = self.columns_of(span);
        let open = span.from_ms < 0.0 || last + 2 >= self.columns || span.kind == SpanKind::Outage;
        let took = if open { String::new() } else { length(span.to_ms - span.from_ms) };
        if let Some((begin, end)) = free {
            let room = (end + 1).saturating_sub(begin);
            for text in [format!(" {} {took} ", span.label), format!(" {} ", span.label)] {
                let text = if took.is_empty() { format!(" {} ", span.label) } else { text };
                if width(&text) + 2 <= room {
                    bar.write(begin + (room - width(&text)) / 2, &text, BOLD);
                    return None;
                }
            }
        }
        let column = free.map_or(first.midpoint(last), |(begin, end)| begin.midpoint(end));
        Some(Flag { column, text: span.label.clone(), took })
    }

    fn flags(&self, flags: &mut [Flag]) -> Vec<u32> {
        for flag in flags.iter_mut() {
            // A label that would leave the screen is cut; one that begins too far right starts earlier.
            let room = self.columns.saturating_sub(
                flag.column + 2 + if flag.took.is_empty() { 0 } else { 1 + width(&flag.took) },
            );
            if room < width(&flag.text) && room < 12 {
                flag.took = String::new();
            }
            let room = self.columns.saturating_sub(flag.column + 2);
            let took = if flag.took.is_empty() { 0 } else { 1 + width(&flag.took) };
            flag.text = shortened(&flag.text, room.saturating_sub(took), width);
        }
        let boxes: Vec<(f64, f64)> =
            flags.iter().map(|flag| (float(flag.column), float(flag.width()))).collect();
        flag_rows(&boxes)
    }

    fn above(&self, out: &mut String, flags: &mut [Flag]) {
        let rows = self.flags(flags);
        let height = rows.iter().max().map_or(0, |row| row + 1);
        for level in (0..height).rev() {
            let mut row = Row::new(self.columns);
            for (flag, at) in flags.iter().zip(&rows) {
                if *at == level {
                    row.write(flag.column, &flag.text, "");
                } else if *at > level {
                    row.put(flag.column, '│', FAINT);
                }
            }
            row.print(out, self.colour);
        }
    }

    fn below(&self, out: &mut String, flags: &mut [Flag]) {
        let rows = self.flags(flags);
        let height = rows.iter().max().map_or(0, |row| row + 1);
        for level in 0..height {
            let mut row = Row::new(self.columns);
            for (flag, _) in flags.iter().zip(&rows).filter(|(_, at)| **at > level) {
                row.put(flag.column, '│', FAINT);
            }
            for (flag, _) in flags.iter().zip(&rows).filter(|(_, at)| **at == level) {
                let shared = row.0.get(flag.column).is_some_and(|(c, _)| *c == '│');
                row.put(flag.column, if shared { '├' } else { '└' }, FAINT);
                row.write(flag.column + 2, &flag.text, "");
                if !flag.took.is_empty() {
                    row.write(flag.column + 3 + width(&flag.text), &flag.took, FAINT);
                }
            }
            row.print(out, self.colour);
        }
    }

    fn bracket(&self, out: &mut String, span: &Span) {
        let (first, last) = self.columns_of(span);
        let text = format!(" {} ", length(span.to_ms - span.from_ms));
        let mut row = Row::new(self.columns);
        for column in first..=last {
            row.put(column, '─', RED);
        }
        row.put(first, '├', RED);
        row.put(last, '┤', RED);
        let room = (last + 1).saturating_sub(first);
        if width(&text) + 4 <= room {
            row.write(first + (room - width(&text)) / 2, &text, RED);
        } else {
            let begin = (last + 1).min(self.columns.saturating_sub(width(&text)));
            row.write(begin, &text, RED);
        }
        row.print(out, self.colour);
    }

    fn axis(&self, out: &mut String) {
        let (mut line, mut numbers) = (Row::new(self.columns), Row::new(self.columns));
        for column in self.left..self.columns - 1 {
            line.put(column, '─', FAINT);
        }
        for cut in self.scale.cuts() {
            let (from, to) = (self.column(cut.from), self.column(cut.to));
            let text = format!("⫽{}⫽", length(cut.to_ms - cut.from_ms).replace(' ', ""));
            let begin = from + (to.saturating_sub(from)).saturating_sub(width(&text)).div_ceil(2);
            line.write(begin, &text, FAINT);
        }
        for tick in self.scale.ticks(11.0, |label| float(width(label) + 1)) {
            let column = self.column(tick.at);
            line.put(column, '┴', FAINT);
            let begin = column.saturating_sub(width(&tick.label) / 2);
            numbers.write(begin.min(self.columns.saturating_sub(width(&tick.label))), &tick.label, FAINT);
        }
        line.print(out, self.colour);
        numbers.print(out, self.colour);
    }

    fn summary(&self, out: &mut String, summary: &[(String, String)]) {
        if summary.is_empty() {
            return;
        }
        out.push('\n');
        let names = summary.iter().map(|(name, _)| width(name)).max().unwrap_or(0).min(self.columns / 2);
        for (name, value) in summary {
            let name = shortened(name, names, width);
            let mut row = Row::new(self.columns);
            row.write(0, &name, "");
            row.write(names + 2, &shortened(value, self.columns - names - 2, width), BOLD);
            row.print(out, self.colour);
        }
    }

    /// Returns the column of a place; the scale works in columns already.
    fn column(&self, place: f64) -> usize {
        (self.left..self.columns - 1).find(|column| float(column + 1) > place).unwrap_or(self.columns - 2)
    }

    /// Returns the first and the last column of a span: at least one.
    fn columns_of(&self, span: &Span) -> (usize, usize) {
        let first = self.column(self.scale.place(span.from_ms) + 0.5);
        let last = self.column(self.scale.place(span.to_ms) - 0.5);
        (first, last.max(first))
    }
}

/// Returns the longest run of columns that belong to the span at `position`.
fn longest_run(owner: &[Option<usize>], position: usize) -> Option<(usize, usize)> {
    let mut best: Option<(usize, usize)> = None;
    let mut begin = None;
    for (column, who) in owner.iter().chain([&None]).enumerate() {
        match (*who == Some(position), begin) {
            (true, None) => begin = Some(column),
            (false, Some(from)) => {
                begin = None;
                if best.is_none_or(|(first, last)| column - from > last + 1 - first) {
                    best = Some((from, column - 1));
                }
            }
            _ => {}
        }
    }
    best
}

fn symbol(mark: &Mark) -> char {
    match mark.kind {
        MarkKind::Fault => '✗',
        MarkKind::Event => '●',
        MarkKind::Message => '▾',
        MarkKind::Decision => '◆',
        MarkKind::Commit => '·',
    }
}

fn pattern(kind: SpanKind) -> char {
    match kind {
        SpanKind::Serving => '█',
        SpanKind::Silent => '·',
        SpanKind::Waiting => '▒',
        SpanKind::Asking => '▓',
        SpanKind::Promoting => '▚',
        SpanKind::Vip => '◼',
        SpanKind::Outage => '░',
        SpanKind::Down => '╌',
        SpanKind::Frozen => '≈',
        SpanKind::Fenced => '╳',
    }
}

fn style(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Serving => "\u{1b}[32m",
        SpanKind::Silent | SpanKind::Down => "\u{1b}[90m",
        SpanKind::Waiting => "\u{1b}[33m",
        SpanKind::Asking => "\u{1b}[34m",
        SpanKind::Promoting | SpanKind::Vip => "\u{1b}[35m",
        SpanKind::Outage | SpanKind::Fenced => "\u{1b}[31m",
        SpanKind::Frozen => "\u{1b}[36m",
    }
}

/// Returns how many columns a text takes.
fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

/// Returns how many columns a character takes, on the safe side for what East Asian terminals draw wide.
fn char_width(c: char) -> usize {
    match u32::from(c) {
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f000..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// Returns a number of columns as the scale counts them.
fn float(columns: usize) -> f64 {
    f64::from(u32::try_from(columns).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{any_timeline, failover, slow_failover};
    use super::*;
    use proptest::prelude::*;

    /// The text without its colours.
    fn plain(text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(begin) = rest.find('\u{1b}') {
            out.push_str(&rest[..begin]);
            rest = &rest[begin..];
            rest = &rest[rest.find('m').unwrap() + 1..];
        }
        out + rest
    }

    #[test]
    fn colour_adds_nothing_but_colour() {
        for timeline in [failover(), slow_failover()] {
            let coloured = render_terminal(&timeline, 80, true);
            assert!(coloured.contains('\u{1b}'));
            assert_eq!(plain(&coloured), render_terminal(&timeline, 80, false));
        }
    }

    #[test]
    fn every_stage_has_its_name_at_80_columns() {
        for timeline in [failover(), slow_failover()] {
            let text = render_terminal(&timeline, 80, false);
            for span in timeline.lanes.iter().flat_map(|lane| &lane.spans) {
                assert!(text.contains(&span.label), "{} in\n{text}", span.label);
            }
        }
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_the_screen(timeline in any_timeline(), columns in 40_usize..160) {
            let text = render_terminal(&timeline, columns, true);
            for line in plain(&text).lines() {
                prop_assert!(width(line) <= columns, "{} {:?}", width(line), line);
            }
        }
    }
}
