//! Mistakes in the file, each with its place, turned into the one error that a person reads.
//!
//! All mistakes of a file are collected and shown together: nobody should have to run the check five times.

use crate::error::Error;
use std::ops::Range;

/// One mistake in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// The bytes of the text that it is about; none when something is absent.
    pub span: Option<Range<usize>>,
    pub message: String,
    pub hint: Option<String>,
}

impl Problem {
    /// Creates a mistake at a place.
    pub(super) fn at(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span: Some(span), message: message.into(), hint: None }
    }

    /// Creates a mistake that has no place.
    pub(super) fn absent(message: impl Into<String>) -> Self {
        Self { span: None, message: message.into(), hint: None }
    }

    /// Adds what to do about it.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Collects the mistakes of one file.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    /// Adds a mistake.
    pub(super) fn add(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the error that shows the mistakes in the order of the file.
    pub(super) fn into_error(mut self, name: &str, text: &str) -> Error {
        self.0.sort_by_key(|problem| problem.span.as_ref().map_or(usize::MAX, |span| span.start));
        let count = self.0.len();
        let mut error = match self.0.as_slice() {
            [only] => {
                let error = Error::config(headline(name, text, only));
                match &only.span {
                    Some(span) => error.detail(snippet(text, span)),
                    None => error,
                }
            }
            several => {
                let mut detail = String::new();
                for problem in several {
                    if !detail.is_empty() {
                        detail.push('\n');
                    }
                    detail.push_str(&headline(name, text, problem));
                    if let Some(span) = &problem.span {
                        detail.push('\n');
                        detail.push_str(&snippet(text, span));
                    }
                }
                Error::config(format!("{name} has {count} mistakes")).detail(detail)
            }
        };
        for hint in self.0.into_iter().filter_map(|problem| problem.hint) {
            if !error.hints().contains(&hint) {
                error = error.hint(hint);
            }
        }
        error
    }
}

fn headline(name: &str, text: &str, problem: &Problem) -> String {
    match &problem.span {
        Some(span) => {
            let (line, column) = position(text, span.start);
            format!("{name}:{line}:{column}: {}", problem.message)
        }
        None => format!("{name}: {}", problem.message),
    }
}

/// Returns line and column, both from 1, the column in characters.
pub(super) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = before(text, offset);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    (line, column)
}

fn before(text: &str, offset: usize) -> &str {
    let mut end = offset.min(text.len());
    while end > 0 && !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or(text)
}

/// Returns the line with the mistake and a line of marks below it.
fn snippet(text: &str, span: &Range<usize>) -> String {
    let (line, column) = position(text, span.start);
    let shown = text.lines().nth(line - 1).unwrap_or("");
    let wanted = text.get(span.clone()).unwrap_or("").lines().next().unwrap_or("").chars().count();
    let left = shown.chars().count().saturating_sub(column - 1);
    let marks = wanted.min(left).max(1);
    // A tab stays a tab below itself, so that the marks stand under the right place.
    let indent: String = shown.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    let number = line.to_string();
    let shown: String =
        shown.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect();
    format!("{number} | {shown}\n{:width$} | {indent}{}", "", "^".repeat(marks), width = number.len())
}

/// Returns the candidate that a mistyped word most likely means.
pub(super) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Returns how many letters must be added, removed or changed to get from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, have) in from.chars().take(64).enumerate() {
        let mut left = line + 1;
        let mut next = vec![left];
        for (pair, want) in row.windows(2).zip(&to) {
            let [diagonal, above] = pair else { break };
            left = (diagonal + usize::from(have != *want)).min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_mistake_is_shown_with_its_line_and_a_hint() {
        let text = "[cluster]\nname = \"a\"\n\n[vrrp]\nintreface = \"eth0\"\n";
        let mut problems = Problems::default();
        let start = text.find("intreface").unwrap();
        let problem = Problem::at(start..start + 9, "unknown key \"intreface\"");
        problems.add(problem.hint("did you mean \"interface\"?"));
        let error = problems.into_error("pgbaton.toml", text);
        assert_eq!(error.message(), "pgbaton.toml:5:1: unknown key \"intreface\"");
        assert_eq!(error.detail_text().unwrap(), "5 | intreface = \"eth0\"\n  | ^^^^^^^^^");
        assert_eq!(error.hints(), ["did you mean \"interface\"?"]);
    }

    #[test]
    fn several_mistakes_are_shown_in_the_order_of_the_file() {
        let mut problems = Problems::default();
        problems.add(Problem::absent("no node"));
        problems.add(Problem::at(2..3, "second"));
        problems.add(Problem::at(0..1, "first"));
        let error = problems.into_error("f", "a\nb\n");
        assert_eq!(error.message(), "f has 3 mistakes");
        let detail = "f:1:1: first\n1 | a\n  | ^\nf:2:1: second\n2 | b\n  | ^\nf: no node";
        assert_eq!(error.detail_text().unwrap(), detail);
    }

    #[test]
    fn a_mistyped_word_finds_its_neighbour() {
        let words = ["priority", "port", "name"];
        assert_eq!(nearest("prioritty", words.into_iter()), Some("priority"));
        assert_eq!(nearest("prot", words.into_iter()), None);
        assert_eq!(nearest("pot", words.into_iter()), Some("port"));
        assert_eq!(nearest("colour", words.into_iter()), None);
    }

    proptest! {
        #[test]
        fn any_span_of_any_text_can_be_shown(text in "[a-zé\t\r\n=]{0,40}", start in 0usize..50, length in 0usize..50) {
            let mut problems = Problems::default();
            problems.add(Problem::at(start..start + length, "x"));
            let error = problems.into_error("f", &text);
            prop_assert!(error.detail_text().is_some());
        }
    }
}
