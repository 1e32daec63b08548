//! The password file, `~/.pgpass`: which password belongs to which connection.
//!
//! The parser and the look-up are pure; [`load`] is the one function that touches a file. The rules are libpq's
//! ("The Password File" in its documentation): the first line that matches wins, `*` matches anything, a
//! backslash protects `:` and itself, and a file that others may read is ignored.

use std::borrow::Cow;
use std::fmt;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// A password. It never shows in debug output, and has no text form of its own.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` as a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a password is looked up by.
#[derive(Debug, Clone)]
pub struct Target<'a> {
    /// The host as the user wrote it, or the folder of the socket.
    pub host: Cow<'a, str>,
    /// Whether `host` is the folder of a Unix socket; `localhost` in the file then matches too.
    pub socket: bool,
    /// The port.
    pub port: u16,
    /// The database; `replication` for a replication connection.
    pub dbname: &'a str,
    /// The role.
    pub user: &'a str,
}

/// The lines of a password file.
#[derive(Debug, Clone, Default)]
pub struct PgPass {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    /// Host, port, database, role; `None` is `*`.
    fields: [Option<String>; 4],
    password: Secret,
}

impl PgPass {
    /// Reads the text of a password file. Lines without five fields match nothing and are left out, as in libpq.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self { entries: lines.filter_map(entry).collect() }
    }

    /// Returns the password of the first line that matches.
    pub fn lookup(&self, target: &Target<'_>) -> Option<&Secret> {
        let port = target.port.to_string();
        let fits = |entry: &&Entry| {
            let [host, line_port, dbname, user] = &entry.fields;
            let is = |field: &Option<String>, value: &str| field.as_deref().is_none_or(|text| text == value);
            let here = is(host, &target.host) || (target.socket && is(host, "localhost"));
            here && is(line_port, &port) && is(dbname, target.dbname) && is(user, target.user)
        };
        // An empty password in the file counts as none.
        self.entries.iter().find(fits).map(|entry| &entry.password).filter(|secret| !secret.0.is_empty())
    }
}

/// Reads a password file; `Ok(None)` when there is none, `Err` with a warning when it has to be ignored.
pub fn load(path: &Path) -> Result<Option<PgPass>, String> {
    let ignored = |why: &dyn fmt::Display| format!("password file \"{}\" ignored: {why}", path.display());
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ignored(&error)),
    };
    // Asked of the open file, so that it can't be another one by the time it is read.
    let meta = file.metadata().map_err(|error| ignored(&error))?;
    if !meta.is_file() {
        return Err(ignored(&"not a plain file"));
    }
    if meta.mode() & 0o077 != 0 {
        return Err(ignored(&"group or others may read it; permissions should be 0600 or less"));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|error| ignored(&error))?;
    Ok(Some(PgPass::parse(&String::from_utf8_lossy(&bytes))))
}

fn entry(line: &str) -> Option<Entry> {
    let mut rest = line;
    let mut fields = [const { None }; 4];
    for slot in &mut fields {
        let (field, after) = cut_field(rest)?;
        // A protected star is a name, a bare one is the wildcard.
        *slot = (field.raw != "*").then_some(field.text);
        rest = after?;
    }
    let (password, _) = cut_field(rest)?;
    Some(Entry { fields, password: Secret(password.text) })
}

struct Field<'a> {
    raw: &'a str,
    text: String,
}

/// Cuts off the text before the first unprotected colon; the rest is `None` when there is no such colon.
fn cut_field(line: &str) -> Option<(Field<'_>, Option<&str>)> {
    let mut text = String::new();
    let mut chars = line.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            ':' => {
                let (raw, after) = (line.get(..at)?, line.get(at + 1..)?);
                return Some((Field { raw, text }, Some(after)));
            }
            '\\' => text.push(chars.next().map_or('\\', |(_, next)| next)),
            other => text.push(other),
        }
    }
    Some((Field { raw: line, text }, None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn target<'a>(host: &'a str, user: &'a str) -> Target<'a> {
        Target { host: host.into(), socket: false, port: 5432, dbname: "postgres", user }
    }

    fn found(text: &str, target: &Target<'_>) -> Option<String> {
        PgPass::parse(text).lookup(target).map(|secret| secret.reveal().to_owned())
    }

    #[test]
    fn the_first_line_that_matches_wins() {
        let file = "# nodes\n192.18.12.1:5432:*:baton:one\n*:*:*:baton:two\n";
        assert_eq!(found(file, &target("192.18.12.1", "baton")).as_deref(), Some("one"));
        assert_eq!(found(file, &target("192.18.12.2", "baton")).as_deref(), Some("two"));
        assert_eq!(found(file, &target("192.18.12.2", "other")), None);
    }

    #[test]
    fn backslashes_protect_colons_as_in_an_ipv6_address() {
        let file = r"fe80\:\:1:*:*:*:p\:w\\";
        assert_eq!(found(file, &target("fe80::1", "x")).as_deref(), Some(r"p:w\"));
    }

    #[test]
    fn a_protected_star_is_no_wildcard() {
        assert_eq!(found(r"\*:*:*:*:pw", &target("db", "x")), None);
        assert_eq!(found(r"\*:*:*:*:pw", &target("*", "x")).as_deref(), Some("pw"));
    }

    #[test]
    fn localhost_stands_for_a_socket() {
        let socket = Target { socket: true, ..target("/run/postgresql", "x") };
        assert_eq!(found("localhost:*:*:*:pw", &socket).as_deref(), Some("pw"));
        assert_eq!(found("/run/postgresql:*:*:*:pw", &socket).as_deref(), Some("pw"));
        assert_eq!(found("localhost:*:*:*:pw", &target("192.0.2.1", "x")), None);
    }

    #[test]
    fn short_lines_and_empty_passwords_give_nothing() {
        assert_eq!(found("*:*:*:x", &target("db", "x")), None);
        assert_eq!(found("*:*:*:x:", &target("db", "x")), None);
    }

    #[test]
    fn a_secret_never_shows() {
        let text = format!("{:?}", PgPass::parse("*:*:*:*:hunter2"));
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn a_file_that_others_may_read_is_ignored() {
        let path = std::env::temp_dir().join(format!("pgbaton-pgpass-{}", std::process::id()));
        std::fs::write(&path, "*:*:*:*:pw").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let warning = load(&path).unwrap_err();
        assert!(warning.contains("permissions should be 0600"), "{warning}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(load(&path).unwrap().is_some());
        std::fs::remove_file(&path).unwrap();
        assert!(load(&path).unwrap().is_none());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(?s).{0,80}", host in ".{0,9}") {
            let _ = PgPass::parse(&text).lookup(&target(&host, "x"));
        }

        #[test]
        fn any_protected_password_is_read_back(password in "[^\n\r\0]{1,20}") {
            let protected = password.replace('\\', r"\\").replace(':', r"\:");
            prop_assert_eq!(found(&format!("*:*:*:*:{protected}"), &target("h", "u")), Some(password));
        }
    }
}
