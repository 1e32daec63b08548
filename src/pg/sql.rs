//! Quoting: how a text becomes part of a statement.
//!
//! Pure. Statements go by the simple protocol (one round trip, no prepare), so values are quoted here. Nobody else
//! in the crate builds a literal by hand.
//! `search_path` is empty in every session, so a bare name is always one of `pg_catalog`.

/// Returns `text` as a string literal, whatever `standard_conforming_strings` says.
///
/// A NUL can't be part of a `PostgreSQL` text; it is left out.
pub fn literal(text: &str) -> String {
    let escaped = text.contains('\\');
    let mut out = String::with_capacity(text.len() + 4);
    if escaped {
        // The blank keeps the E apart from a word before it.
        out.push_str(" E");
    }
    quote_with(&mut out, text, '\'', escaped);
    out
}

/// Returns `name` as a quoted identifier.
pub fn ident(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 2);
    quote_with(&mut out, name, '"', false);
    out
}

/// Returns `items` as a `text[]` expression.
pub fn text_array<S: AsRef<str>>(items: impl IntoIterator<Item = S>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| literal(item.as_ref())).collect();
    format!("ARRAY[{}]::text[]", items.join(","))
}

fn quote_with(out: &mut String, text: &str, quote: char, backslashes: bool) {
    out.push(quote);
    for c in text.chars().filter(|c| *c != '\0') {
        if c == quote || (backslashes && c == '\\') {
            out.push(c);
        }
        out.push(c);
    }
    out.push(quote);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_cannot_end_a_literal() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\'b"), " E'a\\\\''b'");
        assert_eq!(literal("\0"), "''");
    }

    #[test]
    fn an_identifier_keeps_its_case_and_its_quotes() {
        assert_eq!(ident("Node \"2\""), "\"Node \"\"2\"\"\"");
    }

    #[test]
    fn an_empty_array_has_a_type() {
        assert_eq!(text_array(Vec::<String>::new()), "ARRAY[]::text[]");
        assert_eq!(text_array(["a", "b'"]), "ARRAY['a','b''']::text[]");
    }
}
