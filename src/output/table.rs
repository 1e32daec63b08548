//! Small aligned tables for a terminal.

use super::paint::{Paint, Tone};
use unicode_width::UnicodeWidthStr as _;

/// A cell: a text of one line and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// Creates a cell in this tone.
    pub fn new(text: impl AsRef<str>, tone: Tone) -> Self {
        let text = text.as_ref().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        Self { text, tone }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Tone::Plain)
    }
}

/// How a column is aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows under a heading; columns are as wide as their widest cell.
#[derive(Debug, Clone)]
pub struct Table {
    head: Vec<(String, Align)>,
    rows: Vec<Vec<Cell>>,
}

/// The narrowest that a column is made so that the table fits.
const NARROWEST: usize = 6;
const GAP: usize = 2;

impl Table {
    /// Creates a table with these headings.
    pub fn new(head: &[(&str, Align)]) -> Self {
        Self {
            head: head.iter().map(|(name, align)| ((*name).to_owned(), *align)).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; missing cells are empty, surplus ones aren't shown.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Renders the table; the widest columns are shortened until it fits into `width` columns.
    pub fn render(&self, paint: Paint, width: usize) -> String {
        let widths = self.widths(width);
        let head: Vec<Cell> = self.head.iter().map(|(name, _)| Cell::new(name, Tone::Dim)).collect();
        let mut text = self.line(&head, &widths, paint);
        for row in &self.rows {
            text.push_str(&self.line(row, &widths, paint));
        }
        text
    }

    fn widths(&self, limit: usize) -> Vec<usize> {
        let mut widths: Vec<usize> = self.head.iter().map(|(name, _)| name.width()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.width());
            }
        }
        let gaps = widths.len().saturating_sub(1) * GAP;
        while widths.iter().sum::<usize>() + gaps > limit {
            match widths.iter_mut().max() {
                Some(widest) if *widest > NARROWEST => *widest -= 1,
                _ => break,
            }
        }
        widths
    }

    fn line(&self, cells: &[Cell], widths: &[usize], paint: Paint) -> String {
        let mut text = String::new();
        // Blanks are written when something follows, so that no line ends with them.
        let mut owed = 0;
        for (position, ((_, align), width)) in self.head.iter().zip(widths).enumerate() {
            if position > 0 {
                owed += GAP;
            }
            let Some(cell) = cells.get(position).filter(|cell| !cell.text.is_empty()) else {
                owed += width;
                continue;
            };
            let shown = shorten(&cell.text, *width);
            let left = width.saturating_sub(shown.width());
            let (before, after) = if *align == Align::Right { (left, 0) } else { (0, left) };
            text.push_str(&" ".repeat(owed + before));
            text.push_str(&paint.with(cell.tone, shown));
            owed = after;
        }
        text.push('\n');
        text
    }
}

/// Returns the text, or its beginning and an ellipsis when it is wider than `width`.
pub(super) fn shorten(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut shown = String::new();
    for c in text.chars() {
        shown.push(c);
        // A sequence may be wider than its characters.
        if shown.width() + 1 > width {
            shown.pop();
            break;
        }
    }
    shown.push('…');
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn columns_are_aligned_and_no_line_ends_with_blanks() {
        let mut table = Table::new(&[("NODE", Align::Left), ("LAG", Align::Right), ("VIP", Align::Left)]);
        table.row(vec!["node1".into(), "0B".into(), Cell::new("yes", Tone::Good)]);
        table.row(vec!["名前".into(), "120MB".into()]);
        assert_eq!(
            table.render(Paint::new(false), 80),
            "NODE     LAG  VIP\nnode1     0B  yes\n名前   120MB\n"
        );
    }

    #[test]
    fn a_long_cell_is_shortened_to_fit() {
        let mut table = Table::new(&[("A", Align::Left), ("B", Align::Left)]);
        table.row(vec!["short".into(), "a very long explanation".into()]);
        assert_eq!(table.render(Paint::new(false), 20), "A      B\nshort  a very long …\n");
    }

    #[test]
    fn a_sequence_counts_as_wide_as_it_is_shown() {
        assert_eq!(shorten("0\u{fe0f}abc", 4), "0\u{fe0f}a…");
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_asked_for(cells in proptest::collection::vec("\\PC{0,40}", 0..9), width in 26usize..90) {
            let mut table = Table::new(&[("A", Align::Left), ("B", Align::Right), ("C", Align::Left)]);
            for row in cells.chunks(3) {
                table.row(row.iter().map(Cell::from).collect());
            }
            for line in table.render(Paint::new(false), width).lines() {
                prop_assert!(line.width() <= width, "{line:?}");
            }
        }
    }
}
