//! Single values of the file: each is turned into its type, or its mistake is noted with its place.
//!
//! Pure, like everything under [`Settings::from_toml`](super::Settings::from_toml).

use super::keys::{Form, section};
use super::libpq::{self, Params};
use super::parse;
use super::problem::{Problem, Problems, nearest};
use crate::units::InterfaceAddress;
use std::net::IpAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;

/// `IFNAMSIZ` less the final zero.
const LONGEST_INTERFACE_NAME: usize = 15;

/// What a connection string in the file can't say, and where it is said.
const ELSEWHERE: &[(&str, &str)] = &[
    ("host", "a server is reached at the address of its node, or by socket_directory"),
    ("hostaddr", "a server is reached at the address of its node, or by socket_directory"),
    ("port", "the port has a key of its own: port = 5432"),
    ("user", "the role has a key of its own: user = \"postgres\""),
    ("dbname", "the database has a key of its own: database = \"postgres\""),
    ("password", "keep it in a password file that only its user may read: passfile=/path"),
    ("service", "write the parameters themselves: the nodes are listed in this file"),
    ("servicefile", "write the parameters themselves: the nodes are listed in this file"),
    ("target_session_attrs", "pgbaton looks at every node and decides itself"),
];

/// A value that may be absent, with its place.
pub(super) type Value<T> = Option<Spanned<T>>;

/// Turns raw values into checked ones and collects what is wrong with them.
pub(super) struct Check {
    pub(super) problems: Problems,
    pub(super) warnings: Vec<String>,
}

impl Check {
    pub(super) fn wrong(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.problems.add(Problem::at(span, message));
    }

    pub(super) fn required(
        &mut self,
        table: &str,
        key: &str,
        value: Value<String>,
        place: Option<&Range<usize>>,
    ) -> Value<String> {
        if value.is_none() {
            let heading = section(table).map(super::keys::Section::heading).unwrap_or_default();
            let message = format!("{key} is missing in {heading}");
            self.problems.add(match place {
                Some(span) => Problem::at(span.clone(), message),
                None => Problem::absent(message),
            });
        }
        value
    }

    pub(super) fn parsed<T, E: std::fmt::Display>(
        &mut self,
        key: &str,
        value: Value<String>,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let value = value?;
        match parse(value.get_ref()) {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.wrong(value.span(), format!("{key}: {error}"));
                None
            }
        }
    }

    pub(super) fn above_zero(&mut self, key: &str, value: Value<String>) -> Option<Duration> {
        let span = value.as_ref().map(Spanned::span)?;
        let duration = self.parsed(key, value, parse::duration)?;
        if duration.is_zero() {
            self.wrong(span, format!("{key} must be longer than zero"));
        }
        Some(duration)
    }

    pub(super) fn integer<T: TryFrom<i64>>(
        &mut self,
        table: &str,
        key: &str,
        value: Value<i64>,
    ) -> Option<T> {
        let value = value?;
        let number = *value.get_ref();
        let form = section(table).and_then(|section| section.key(key)).map(|key| key.form);
        let Some(Form::Integer(low, high)) = form else { return None };
        match T::try_from(number) {
            Ok(fits) if (low..=high).contains(&number) => Some(fits),
            _ => {
                self.wrong(value.span(), format!("{key} must be from {low} to {high}, not {number}"));
                None
            }
        }
    }

    /// Takes the word that stands at the same place in the key's form as the value in `values`.
    pub(super) fn word<T: Copy>(
        &mut self,
        table: &str,
        key: &str,
        value: Value<String>,
        values: &[T],
    ) -> Option<T> {
        let value = value?;
        let form = section(table).and_then(|section| section.key(key)).map(|key| key.form);
        let Some(Form::Word(words)) = form else { return None };
        let word = value.get_ref().as_str();
        let found = words.iter().zip(values).find(|(known, _)| **known == word).map(|(_, value)| *value);
        if found.is_none() {
            let message =
                format!("{key} must be {}, not \"{}\"", Form::Word(words).describe(), word.escape_debug());
            let problem = Problem::at(value.span(), message);
            self.problems.add(match nearest(word, words.iter().copied()) {
                Some(near) => problem.hint(format!("did you mean \"{near}\"?")),
                None => problem,
            });
        }
        found
    }

    pub(super) fn name(&mut self, what: &str, value: &Spanned<String>) -> Option<String> {
        let name = value.get_ref();
        if is_name(name) {
            return Some(name.clone());
        }
        self.wrong(
            value.span(),
            format!(
                "{what} must be 1 to 63 of the characters a-z, 0-9, _ and -, not \"{}\"",
                name.escape_debug()
            ),
        );
        None
    }

    pub(super) fn address(&mut self, value: &Spanned<String>) -> Option<IpAddr> {
        let text = value.get_ref();
        let Ok(address) = text.parse::<IpAddr>() else {
            let problem = Problem::at(
                value.span(),
                format!("address: \"{}\" isn't an IP address", text.escape_debug()),
            );
            let with_prefix = text.parse::<InterfaceAddress>().ok();
            self.problems.add(match with_prefix {
                Some(address) => problem.hint(format!(
                    "a node's address has no prefix length: address = \"{}\"",
                    address.address()
                )),
                None => problem.hint("host names aren't looked up: a failover can't wait for a name server"),
            });
            return None;
        };
        // The same rule as for a virtual IP: it must be an address that a host can have.
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        if let Err(error) = format!("{address}/{prefix}").parse::<InterfaceAddress>() {
            self.wrong(value.span(), format!("address: {error}"));
            return None;
        }
        Some(address)
    }

    pub(super) fn path(&mut self, key: &str, value: Value<String>) -> Option<PathBuf> {
        let value = value?;
        let path = Path::new(value.get_ref());
        if path.is_absolute() && !value.get_ref().contains('\0') {
            return Some(path.to_owned());
        }
        let message = format!("{key} must be an absolute path, not \"{}\"", value.get_ref().escape_debug());
        self.wrong(value.span(), message);
        None
    }

    pub(super) fn text(&mut self, key: &str, value: Value<String>) -> Option<String> {
        let value = value?;
        if value.get_ref().is_empty() || value.get_ref().contains(char::is_control) {
            self.wrong(
                value.span(),
                format!("{key} must have at least one character and no control characters"),
            );
            return None;
        }
        Some(value.into_inner())
    }

    /// Reads connection parameters that may stand in the file.
    pub(super) fn conninfo(&mut self, value: Value<String>) -> Params {
        let Some(value) = value else { return Params::default() };
        let params = match libpq::parse(value.get_ref()).and_then(|params| params.check().map(|()| params)) {
            Ok(params) => params,
            Err(error) => {
                self.wrong(value.span(), format!("conninfo: {error}"));
                return Params::default();
            }
        };
        for (name, instead) in ELSEWHERE {
            if params.get(name).is_some() {
                let problem = Problem::at(value.span(), format!("conninfo: {name} can't be said here"));
                self.problems.add(problem.hint(*instead));
            }
        }
        params
    }

    pub(super) fn interface(&mut self, key: &str, value: Value<String>) -> Option<String> {
        let value = value?;
        if let Err(why) = interface_name(value.get_ref()) {
            self.wrong(value.span(), format!("{key}: {why}"));
            return None;
        }
        Some(value.into_inner())
    }

    pub(super) fn label(&mut self, value: Value<String>, vip: Option<InterfaceAddress>) -> Option<String> {
        let span = value.as_ref().map(Spanned::span)?;
        let label = self.interface("label", value)?;
        if vip.is_some_and(|vip| !vip.address().is_ipv4()) {
            self.wrong(span, "label: only an IPv4 address can have one");
            return None;
        }
        Some(label)
    }
}

/// Returns whether a text can be the name of a node or a cluster.
pub(super) fn is_name(text: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_' || c == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(allowed)
}

/// Checks the name of a network interface, or a label, which follows the same rule in the kernel.
pub(super) fn interface_name(text: &str) -> Result<(), String> {
    let printable = |c: char| c.is_ascii_graphic() && c != '/';
    if (1..=LONGEST_INTERFACE_NAME).contains(&text.len())
        && text.chars().all(printable)
        && text != "."
        && text != ".."
    {
        return Ok(());
    }
    Err(format!(
        "\"{}\" isn't a name of 1 to {LONGEST_INTERFACE_NAME} characters without spaces and slashes",
        text.escape_debug()
    ))
}
