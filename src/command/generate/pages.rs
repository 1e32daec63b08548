//! The pages of section 7, which are written as text: the guide and the runbook.
//!
//! `# SECTION`, `## subsection`, paragraphs, commands after four spaces, `= tag` before the text of an item, and
//! `@page(8)` for references.

use super::Document;
use super::man::{reference, start};
use super::roff::{Page, bold};

const GUIDE: &str = include_str!("../../cli/templates/pages/guide.txt");
const RUNBOOK: &str = include_str!("../../cli/templates/pages/runbook.txt");

/// Returns the pages.
pub(super) fn pages() -> Vec<Document> {
    [
        ("pgbaton-guide", "from one PostgreSQL to a cluster that loses nothing, step by step", GUIDE),
        ("pgbaton-runbook", "the primary died, what now", RUNBOOK),
    ]
    .map(|(name, about, text)| (format!("{name}.7"), set(start(name, 7, about), text)))
    .into()
}

/// What was set last, as far as the next block depends on it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Heading,
    Tag,
    Text,
    Example,
}

fn set(mut page: Page, text: &str) -> String {
    let mut last = Last::Heading;
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        if let Some(title) = line.strip_prefix("# ") {
            page.section(title);
            last = Last::Heading;
        } else if let Some(title) = line.strip_prefix("## ") {
            page.subsection(title);
            last = Last::Heading;
        } else if let Some(tag) = line.strip_prefix("= ") {
            page.item(&bold(tag));
            last = Last::Tag;
        } else if let Some(first) = line.strip_prefix("    ") {
            let mut block = vec![first];
            while let Some(next) = lines.peek().and_then(|next| next.strip_prefix("    ")) {
                block.push(next);
                lines.next();
            }
            page.example(&block);
            last = Last::Example;
        } else if line.starts_with('@') {
            let names = line.split(", ").filter_map(|name| name.trim_start_matches('@').split_once('('));
            let set: Vec<String> = names
                .filter_map(|(name, section)| {
                    Some(reference(name, section.trim_end_matches(')').parse().ok()?))
                })
                .collect();
            page.raw(&set.join(",\n"));
        } else {
            if matches!(last, Last::Text | Last::Example) {
                page.raw(".PP");
            }
            page.text(line);
            last = Last::Text;
        }
    }
    page.finish()
}

/// Returns the commands of a page, as they are typed.
#[cfg(test)]
fn commands(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with("pgbaton "))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser as _;

    #[test]
    fn every_command_of_the_guide_and_the_runbook_can_be_typed() {
        let mut count = 0;
        for line in commands(GUIDE).into_iter().chain(commands(RUNBOOK)) {
            let line = line.split(" > ").next().unwrap_or_default();
            let mut words: Vec<String> = Vec::new();
            for (position, part) in line.split('"').enumerate() {
                if position % 2 == 1 {
                    words.push(part.to_owned());
                } else {
                    words.extend(part.split_whitespace().map(str::to_owned));
                }
            }
            if let Err(error) = Cli::try_parse_from(&words) {
                panic!("{line}: {error}");
            }
            count += 1;
        }
        assert!(count > 25, "{count}");
    }

    #[test]
    fn blocks_are_set_by_their_first_characters() {
        let page = Page::new("x", 7, "2026-11-22", "x 1");
        let text = "# A\none\n\ntwo\n\n= tag\nits text\n\n    a b\n    c\n\n@x(8), @y(5)\n";
        let set = set(page, text);
        assert!(set.ends_with(
            ".SH \"A\"\none\n.PP\ntwo\n.TP\n\\fBtag\\fR\nits text\n.RS 4\n.EX\na b\nc\n.EE\n.RE\n\\fBx\\fR(8),\n\\fBy\\fR(5)\n"
        ));
    }
}
