//! The part of `ssh_config(5)` that is honoured; libssh2 reads none of it.
//!
//! Pure: text goes in, the values for one host come out. As in OpenSSH the first value wins, so the user's file comes
//! before the machine's. `Match` blocks and `Include` aren't evaluated: a `Match` block never applies.
//! `StrictHostKeyChecking` is read and ignored: it is always strict here.

use std::time::Duration;

/// What the files say about one host; what is absent isn't said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostConfig {
    /// `HostName`, with `%h` replaced.
    pub host_name: Option<String>,
    /// `Port`.
    pub port: Option<u16>,
    /// `User`.
    pub user: Option<String>,
    /// Every `IdentityFile`, in order.
    pub identity_files: Vec<String>,
    /// `IdentitiesOnly`.
    pub identities_only: Option<bool>,
    /// `HostKeyAlias`.
    pub host_key_alias: Option<String>,
    /// `UserKnownHostsFile`.
    pub user_known_hosts: Option<Vec<String>>,
    /// `GlobalKnownHostsFile`.
    pub global_known_hosts: Option<Vec<String>>,
    /// `ConnectTimeout`.
    pub connect_timeout: Option<Duration>,
}

impl HostConfig {
    /// Adds what a file says about `host`, where nothing was said before.
    pub fn merge(&mut self, text: &str, host: &str) {
        let mut applies = true;
        for line in text.lines() {
            let Some((key, words)) = split(line) else { continue };
            match key.as_str() {
                "host" => applies = matches(&words, host),
                "match" => applies = false,
                _ if applies => self.set(&key, words, host),
                _ => {}
            }
        }
    }

    fn set(&mut self, key: &str, words: Vec<String>, host: &str) {
        let Some(first) = words.first().cloned() else { return };
        match key {
            "hostname" => keep(&mut self.host_name, Some(first.replace("%h", host))),
            "port" => keep(&mut self.port, first.parse().ok().filter(|port| *port != 0)),
            "user" => keep(&mut self.user, Some(first)),
            "identityfile" if first.eq_ignore_ascii_case("none") => {}
            "identityfile" => self.identity_files.push(first),
            "identitiesonly" => keep(&mut self.identities_only, Some(is_yes(&first))),
            "hostkeyalias" => keep(&mut self.host_key_alias, Some(first)),
            "userknownhostsfile" => keep(&mut self.user_known_hosts, Some(words)),
            "globalknownhostsfile" => keep(&mut self.global_known_hosts, Some(words)),
            "connecttimeout" => {
                let seconds = first.parse().ok().filter(|seconds| *seconds > 0);
                keep(&mut self.connect_timeout, seconds.map(Duration::from_secs));
            }
            _ => {}
        }
    }
}

/// Puts a leading `~` and the tokens `%d`, `%h` and `%%` of a path in place.
pub fn expand(path: &str, home: &str, host: &str) -> String {
    let path = match path.strip_prefix("~/") {
        Some(rest) => format!("{home}/{rest}"),
        None => path.to_owned(),
    };
    let mut out = String::new();
    let mut chars = path.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('d') => out.push_str(home),
            Some('h') => out.push_str(host),
            Some('%') | None => out.push('%'),
            Some(other) => out.extend(['%', other]),
        }
    }
    out
}

/// Returns whether a pattern of `ssh_config(5)` (`*`, `?`) covers a name, whatever the case.
pub(super) fn glob(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.to_ascii_lowercase().chars().collect(), name.to_ascii_lowercase().chars().collect());
    let (mut p, mut n) = (0_usize, 0_usize);
    // The last star and how far the name was when it was met: on a mismatch the star takes one more.
    let mut star: Option<(usize, usize)> = None;
    while let Some(have) = name.get(n) {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p = p.saturating_add(1);
            }
            Some(want) if want == have || *want == '?' => {
                p = p.saturating_add(1);
                n = n.saturating_add(1);
            }
            _ => match star {
                Some((at, taken)) => {
                    let taken = taken.saturating_add(1);
                    star = Some((at, taken));
                    p = at.saturating_add(1);
                    n = taken;
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|c| *c == '*')
}

/// Returns whether a list of patterns covers a name: one must match, and none with `!` before it.
pub(super) fn matches<S: AsRef<str>>(patterns: &[S], name: &str) -> bool {
    let mut found = false;
    for pattern in patterns.iter().map(AsRef::as_ref) {
        match pattern.strip_prefix('!') {
            Some(not) if glob(not, name) => return false,
            Some(_) => {}
            None => found |= glob(pattern, name),
        }
    }
    found
}

fn keep<T>(slot: &mut Option<T>, value: Option<T>) {
    if slot.is_none() {
        *slot = value;
    }
}

fn is_yes(word: &str) -> bool {
    word.eq_ignore_ascii_case("yes") || word.eq_ignore_ascii_case("true")
}

/// Splits `Key value…` or `Key=value`; quotes keep blanks together. `None` for comments and empty lines.
fn split(line: &str) -> Option<(String, Vec<String>)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let end = line.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(line.len());
    let (key, rest) = line.split_at_checked(end)?;
    let rest = rest.trim_start();
    let rest = rest.strip_prefix('=').unwrap_or(rest);
    let (mut words, mut word, mut open, mut quoted) = (Vec::new(), String::new(), false, false);
    for c in rest.chars() {
        match c {
            '"' => {
                open = !open;
                quoted = true;
            }
            c if c.is_whitespace() && !open => {
                if !word.is_empty() || quoted {
                    words.push(std::mem::take(&mut word));
                }
                quoted = false;
            }
            '#' if !open && word.is_empty() && !quoted => break,
            c => word.push(c),
        }
    }
    if !word.is_empty() || quoted {
        words.push(word);
    }
    Some((key.to_ascii_lowercase(), words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(text: &str, host: &str) -> HostConfig {
        let mut config = HostConfig::default();
        config.merge(text, host);
        config
    }

    const FILE: &str = "\
# all
Host node1 node2
    HostName 192.0.2.%h
    Port=2222
    User \"my user\"
    IdentityFile ~/.ssh/a
Host node* !node3
    User late
    IdentityFile ~/.ssh/b
    HostKeyAlias alias
Match all
    User never
Host *
    ConnectTimeout 3
    IdentitiesOnly yes
    StrictHostKeyChecking no
    UserKnownHostsFile /a /b
";

    #[test]
    fn the_first_value_wins_and_identities_add_up() {
        let config = of(FILE, "node1");
        assert_eq!(config.host_name.as_deref(), Some("192.0.2.node1"));
        assert_eq!(config.port, Some(2222));
        assert_eq!(config.user.as_deref(), Some("my user"));
        assert_eq!(config.identity_files, ["~/.ssh/a", "~/.ssh/b"]);
        assert_eq!(config.connect_timeout, Some(Duration::from_secs(3)));
        assert_eq!(config.identities_only, Some(true));
        assert_eq!(config.user_known_hosts, Some(vec!["/a".to_owned(), "/b".to_owned()]));
    }

    #[test]
    fn a_pattern_with_an_exclamation_mark_takes_a_host_out() {
        assert_eq!(of(FILE, "node3").user, None);
        assert_eq!(of(FILE, "NODE4").host_key_alias.as_deref(), Some("alias"));
    }

    #[test]
    fn the_second_file_only_fills_gaps() {
        let mut config = of("User me", "x");
        config.merge("User other\nPort 7", "x");
        assert_eq!((config.user.as_deref(), config.port), (Some("me"), Some(7)));
    }

    #[test]
    fn paths_have_their_home_and_host() {
        assert_eq!(expand("~/.ssh/%h_%%", "/home/me", "node1"), "/home/me/.ssh/node1_%");
        assert_eq!(expand("/a~/%d", "/home/me", "x"), "/a~//home/me");
    }

    #[test]
    fn stars_and_question_marks_match() {
        assert!(glob("*.example.com", "a.b.example.com") && glob("n?de*", "node") && glob("*", ""));
        assert!(!glob("n?de", "nde") && !glob("a*b*c", "acb"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(?s).{0,200}", host in ".{0,9}") {
            let config = of(&text, &host);
            for path in &config.identity_files {
                drop(expand(path, "/h", &host));
            }
        }

        #[test]
        fn no_keyword_makes_the_parser_panic(
            key in "(Host|Port|User|IdentityFile|ConnectTimeout|UserKnownHostsFile)[ =]?",
            value in "[^\n]{0,30}",
        ) {
            let _ = of(&format!("{key}{value}"), "x");
        }

        #[test]
        fn whatever_comes_later_the_first_user_wins(later in "(?s).{0,100}") {
            prop_assert_eq!(of(&format!("User first\n{later}"), "x").user, Some("first".to_owned()));
        }
    }
}
