//! Whether a file has the shape of `pgbaton.toml`: known tables, known keys, values of the right type.
//!
//! Serde would stop at the first mistake and doesn't know the neighbours of a key; this walk holds the whole
//! document against the table of keys and finds all of them. Pure.

use super::keys::{self, Key, SECTIONS, Section};
use super::problem::{Problem, Problems, nearest};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Adds every mistake in the shape of the document.
pub(super) fn check(document: &DeTable<'_>, problems: &mut Problems) {
    for (name, value) in document {
        let Some(section) = keys::section(name.get_ref()) else {
            problems.add(unknown_section(name));
            continue;
        };
        let heading = section.heading();
        match value.get_ref() {
            DeValue::Table(table) if !section.repeated => check_table(section, table, problems),
            DeValue::Array(array) if section.repeated => {
                for element in array {
                    match element.get_ref() {
                        DeValue::Table(table) => check_table(section, table, problems),
                        _ => problems.add(
                            Problem::at(element.span(), format!("{} must be a table", section.name))
                                .hint(format!("write it as {heading}")),
                        ),
                    }
                }
            }
            other => problems.add(
                Problem::at(name.span(), format!("\"{}\" can't be {}", section.name, a_type(other)))
                    .hint(format!("write it as {heading}")),
            ),
        }
    }
}

fn check_table(section: &Section, table: &DeTable<'_>, problems: &mut Problems) {
    for (name, value) in table {
        let Some(key) = section.key(name.get_ref()) else {
            problems.add(unknown_key(section, name));
            continue;
        };
        if value.get_ref().type_str() != key.form.toml_type() {
            problems.add(wrong_type(key, value));
        }
    }
}

fn wrong_type(key: &Key, value: &Spanned<DeValue<'_>>) -> Problem {
    let message =
        format!("{} must be a{}, not {}", key.name, article(key.form.toml_type()), a_type(value.get_ref()));
    Problem::at(value.span(), message).hint(format!("as in: {} = {}", key.name, key.example))
}

fn a_type(value: &DeValue<'_>) -> String {
    match value.type_str() {
        "datetime" => "a date".to_owned(),
        kind => format!("a{}", article(kind)),
    }
}

/// Returns the rest of "a string", "an integer".
fn article(kind: &str) -> String {
    let n = if kind.starts_with(['a', 'i']) { "n" } else { "" };
    format!("{n} {kind}")
}

fn unknown_section(name: &Spanned<std::borrow::Cow<'_, str>>) -> Problem {
    let word = name.get_ref().as_ref();
    let problem = Problem::at(name.span(), format!("unknown table \"{}\"", word.escape_debug()));
    if let Some(near) = nearest(word, SECTIONS.iter().map(|section| section.name)) {
        let heading = keys::section(near).map(Section::heading).unwrap_or_default();
        return problem.hint(format!("did you mean {heading}?"));
    }
    if let Some(hint) = elsewhere(word) {
        return problem.hint(hint);
    }
    let headings: Vec<String> = SECTIONS.iter().map(Section::heading).collect();
    problem.hint(format!("the tables are {}", headings.join(", ")))
}

fn unknown_key(section: &Section, name: &Spanned<std::borrow::Cow<'_, str>>) -> Problem {
    let word = name.get_ref().as_ref();
    let message = format!("unknown key \"{}\" in {}", word.escape_debug(), section.heading());
    let problem = Problem::at(name.span(), message);
    if let Some(near) = nearest(word, section.keys.iter().map(|key| key.name)) {
        return problem.hint(format!("did you mean \"{near}\"?"));
    }
    match elsewhere(word) {
        Some(hint) => problem.hint(hint),
        None => problem.hint("every key is explained in pgbaton.toml(5)"),
    }
}

/// Returns the hint for a key that stands in the wrong table.
fn elsewhere(word: &str) -> Option<String> {
    let homes: Vec<String> =
        SECTIONS.iter().filter(|section| section.key(word).is_some()).map(Section::heading).collect();
    (!homes.is_empty()).then(|| format!("\"{word}\" belongs to {}", homes.join(" or ")))
}
