//! Configuration texts: `postgresql.auto.conf` and `primary_conninfo`. Pure.

/// What `ALTER SYSTEM` writes, in the data directory.
pub const AUTO_CONF: &str = "postgresql.auto.conf";

/// The setting that says whose acknowledgement counts.
pub const SYNC_NAMES: &str = "synchronous_standby_names";

/// The keywords of a connection string, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnInfo(Vec<(String, String)>);

impl ConnInfo {
    /// Reads `keyword=value` pairs as libpq does; `None` when they can't be read (a URI, for example).
    pub fn parse(text: &str) -> Option<Self> {
        let mut pairs = Vec::new();
        let mut chars = text.chars().peekable();
        // The white space of C's isspace, which is what libpq looks for.
        let blank = |c: &char| matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c');
        loop {
            while chars.next_if(blank).is_some() {}
            if chars.peek().is_none() {
                return Some(Self(pairs));
            }
            let mut name = String::new();
            while let Some(c) = chars.next_if(|c| *c != '=' && !blank(c)) {
                name.push(c);
            }
            while chars.next_if(blank).is_some() {}
            chars.next_if_eq(&'=')?;
            while chars.next_if(blank).is_some() {}
            let quoted = chars.next_if_eq(&'\'').is_some();
            let mut value = String::new();
            loop {
                match chars.next() {
                    None if quoted => return None,
                    None => break,
                    Some('\\') => value.extend(chars.next()),
                    Some('\'') if quoted => break,
                    Some(c) if blank(&c) && !quoted => break,
                    Some(c) => value.push(c),
                }
            }
            pairs.push((name, value));
        }
    }

    /// Returns the value of a keyword.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// Sets a keyword, in the place where it was first; of a keyword that stands there twice, the last one counts.
    pub fn set(&mut self, name: &str, value: &str) {
        let mut there = false;
        self.0.retain_mut(|(own, old)| {
            if own != name {
                return true;
            }
            value.clone_into(old);
            !std::mem::replace(&mut there, true)
        });
        if !there {
            self.0.push((name.to_owned(), value.to_owned()));
        }
    }

    /// Takes a keyword away.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(own, _)| own != name);
    }
}

impl std::fmt::Display for ConnInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (position, (name, value)) in self.0.iter().enumerate() {
            let gap = if position == 0 { "" } else { " " };
            let plain = !value.is_empty()
                && value.chars().all(|c| c.is_ascii_alphanumeric() || "/._-:,*".contains(c));
            if plain {
                write!(f, "{gap}{name}={value}")?;
            } else {
                let escaped = value.replace('\\', r"\\").replace('\'', r"\'");
                write!(f, "{gap}{name}='{escaped}'")?;
            }
        }
        Ok(())
    }
}

/// Returns `listen_addresses` with a node's own address in the place of another's; `None` when that isn't in the list.
pub fn listening_here(listed: &str, theirs: &str, own: &str) -> Option<String> {
    let names: Vec<&str> = listed.split(',').map(str::trim).collect();
    let here = |name: &&str| if *name == theirs { own.to_owned() } else { (*name).to_owned() };
    names.contains(&theirs).then(|| names.iter().map(here).collect::<Vec<_>>().join(", "))
}

/// Returns the value that a configuration file gives a setting: the last line that names it.
pub fn setting(text: &str, name: &str) -> Option<String> {
    let mut values = text.lines().filter_map(|line| {
        let (own, value) = split(line)?;
        own.eq_ignore_ascii_case(name).then_some(value)
    });
    values.next_back()
}

/// Returns the text with these settings in it and no other line that names one of them.
pub fn with_settings(text: &str, settings: &[(&str, String)]) -> String {
    let named = |line: &&str| {
        split(line).is_some_and(|(own, _)| settings.iter().any(|(name, _)| own.eq_ignore_ascii_case(name)))
    };
    // A file that was edited elsewhere may end its lines with carriage returns, which are blanks to the server.
    let lines = text.lines().map(|line| line.trim_end_matches('\r'));
    let mut out: String = lines.filter(|line| !named(line)).flat_map(|line| [line, "\n"]).collect();
    for (name, value) in settings {
        out.push_str(name);
        out.push_str(" = '");
        out.push_str(&value.replace('\\', r"\\").replace('\'', "''"));
        out.push_str("'\n");
    }
    out
}

/// Splits a line of a configuration file; `None` for an empty one and a comment.
fn split(line: &str) -> Option<(&str, String)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let end = line.find(|c: char| c == '=' || c.is_whitespace())?;
    let (name, rest) = line.split_at_checked(end)?;
    let rest = rest.trim_start();
    let rest = rest.strip_prefix('=').unwrap_or(rest).trim_start();
    let Some(quoted) = rest.strip_prefix('\'') else {
        let value = rest.split(['#', ' ', '\t']).next().unwrap_or_default();
        return Some((name, value.to_owned()));
    };
    let mut value = String::new();
    let mut chars = quoted.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' if chars.next_if_eq(&'\'').is_some() => value.push('\''),
            '\'' => break,
            '\\' => value.extend(chars.next()),
            c => value.push(c),
        }
    }
    Some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_copied_list_of_addresses_names_this_node_s_own() {
        let here = |listed| listening_here(listed, "10.0.0.1", "10.0.0.2");
        assert_eq!(here("localhost,10.0.0.1").as_deref(), Some("localhost, 10.0.0.2"));
        assert_eq!(here("*"), None);
        assert_eq!(here("10.0.0.11"), None);
    }

    #[test]
    fn the_own_password_file_stays_and_the_primary_changes() {
        let mut info =
            ConnInfo::parse("user=baton passfile='/var/lib/my \\'pass' host = old port=5432").unwrap();
        info.set("host", "192.0.2.1");
        info.set("application_name", "node1");
        assert_eq!(
            info.to_string(),
            "user=baton passfile='/var/lib/my \\'pass' host=192.0.2.1 port=5432 application_name=node1"
        );
        assert!(ConnInfo::parse("postgresql://baton@old/").is_none());
        assert!(ConnInfo::parse("host='old").is_none());
        assert_eq!(ConnInfo::parse("").unwrap().to_string(), "");
    }

    #[test]
    fn old_lines_of_a_setting_go_and_others_stay() {
        let text = "# Do not edit\nprimary_slot_name = 'node2'\nwork_mem = 4MB # x\nPRIMARY_SLOT_NAME='x'\n";
        let new = with_settings(text, &[("primary_slot_name", "node1".to_owned())]);
        assert_eq!(new, "# Do not edit\nwork_mem = 4MB # x\nprimary_slot_name = 'node1'\n");
        assert_eq!(setting(text, "primary_slot_name").as_deref(), Some("x"));
        assert_eq!(setting(text, "work_mem").as_deref(), Some("4MB"));
        assert_eq!(setting("a = 'it''s'", "a").as_deref(), Some("it's"));
        assert_eq!(setting("# a = 'x'", "a"), None);
    }

    proptest! {
        #[test]
        fn any_value_survives_both_layers(value in "[^\n\r\0]{0,30}") {
            let mut info = ConnInfo::default();
            info.set("password", &value);
            let text = with_settings("", &[("primary_conninfo", info.to_string())]);
            let back = ConnInfo::parse(&setting(&text, "primary_conninfo").unwrap()).unwrap();
            prop_assert_eq!(back.get("password"), Some(value.as_str()));
        }

        #[test]
        fn no_text_makes_the_parsers_panic(text in "(?s).{0,60}") {
            let _ = (ConnInfo::parse(&text), setting(&text, "a"), with_settings(&text, &[("a", text.clone())]));
        }
    }
}
