//! The connection service file ("The Connection Service File" in libpq's documentation).
//!
//! Pure: the text of the file comes in, the parameters of one service go out.

use super::{ConninfoError, Params};

/// Finds a service in the text of a service file; `None` when the file doesn't have it.
pub fn find(text: &str, file: &str, service: &str) -> Result<Option<Params>, ConninfoError> {
    let wrong =
        |line: usize, why: &str| ConninfoError::new(format!("service file \"{file}\", line {line}: {why}"));
    let mut found: Option<Params> = None;
    for (number, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line.trim())) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(heading) = line.strip_prefix('[') {
            // The next heading ends the service.
            if found.is_some() {
                break;
            }
            if heading.split_once(']').is_some_and(|(name, _)| name == service) {
                found = Some(Params::default());
            }
            continue;
        }
        let Some(params) = &mut found else { continue };
        let Some((name, value)) = line.split_once('=') else {
            return Err(wrong(number, "a line must be keyword=value"));
        };
        if name == "service" || name == "servicefile" {
            return Err(wrong(number, "a service can't refer to another one"));
        }
        // The first one wins, as in libpq.
        if params.get(name).is_none() {
            params.set(name, value.to_owned()).map_err(|error| wrong(number, &error.to_string()))?;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: &str =
        "# comment\n[other]\nhost=wrong\n\n[main]\nhost=db1\n  port=5433  \nhost=second\n# end\n[third]\nx\n";

    #[test]
    fn a_service_ends_at_the_next_heading_and_the_first_value_wins() {
        let params = find(FILE, "f", "main").unwrap().unwrap();
        assert_eq!(params.get("host"), Some("db1"));
        assert_eq!(params.get("port"), Some("5433"));
        assert_eq!(find(FILE, "f", "nowhere"), Ok(None));
    }

    #[test]
    fn a_mistake_is_told_with_its_line() {
        let error = find(FILE, "f", "third").unwrap_err().to_string();
        assert_eq!(error, "service file \"f\", line 11: a line must be keyword=value");
        let error = find("[a]\nhos=x", "f", "a").unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("\"host\""), "{error}");
        assert!(find("[a]\nservice=b", "f", "a").is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(?s)(\\[a\\]\n)?.{0,60}") {
            drop(find(&text, "f", "a"));
        }
    }
}
