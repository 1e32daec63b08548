//! `synchronous_standby_names`, as far as a check wants to know: how many, of which. Pure.

/// The names and how many of them a commit waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandbyNames {
    /// How many.
    pub count: usize,
    /// Whether any of them will do (`ANY`), or the first ones.
    pub any: bool,
    /// The names, in order, as they are written.
    pub names: Vec<String>,
}

/// Reads the setting; `None` when it is empty or can't be read.
pub fn parse(text: &str) -> Option<StandbyNames> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let upper = text.to_ascii_uppercase();
    let (any, rest) = if upper.starts_with("ANY ") {
        (true, text.get(4..)?)
    } else if upper.starts_with("FIRST ") {
        (false, text.get(6..)?)
    } else {
        (false, text)
    };
    let rest = rest.trim();
    let (count, list) = match rest.split_once('(') {
        Some((count, list)) => (count.trim().parse().ok()?, list.trim_end().strip_suffix(')')?),
        None => (1, rest),
    };
    let names: Vec<String> = list
        .split(',')
        .map(|name| {
            let name = name.trim();
            match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
                Some(quoted) => quoted.replace("\"\"", "\""),
                None => name.to_owned(),
            }
        })
        .filter(|name| !name.is_empty())
        .collect();
    Some(StandbyNames { count, any, names })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_the_setting() {
        let told = |text| parse(text).map(|it| (it.count, it.any, it.names.join("|")));
        assert_eq!(told(""), None);
        assert_eq!(told("ANY 1 (node2, spare)"), Some((1, true, "node2|spare".to_owned())));
        assert_eq!(told("any 2 (\"node-2\",\"a\"\"b\")"), Some((2, true, "node-2|a\"b".to_owned())));
        assert_eq!(told("FIRST 1 (*)"), Some((1, false, "*".to_owned())));
        assert_eq!(told("2 (a, b)"), Some((2, false, "a|b".to_owned())));
        assert_eq!(told("a, b"), Some((1, false, "a|b".to_owned())));
        assert_eq!(told("ANY x (a)"), None);
    }
}
