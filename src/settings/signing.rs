//! `auth_keys`, `auth_mode` and `auth_window`: how adverts are signed.
//!
//! Pure, like everything under [`Settings::from_toml`](super::Settings::from_toml): the files that hold keys are read
//! where the routers are made.

use super::parse::Lease;
use super::value::{Check, Value};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;

const LONGEST_WINDOW: Duration = Duration::from_secs(300);
const SHORTEST_DEFAULT: Duration = Duration::from_secs(5);

/// How the adverts of a virtual router are signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningSettings {
    /// The keys; the first one signs. None: nothing is signed.
    pub keys: Vec<SigningKey>,
    /// What is demanded of others.
    pub mode: SigningMode,
    /// How far a sender's clock may be off; `None` doesn't look.
    pub window: Option<Duration>,
}

impl Default for SigningSettings {
    fn default() -> Self {
        Self { keys: Vec::new(), mode: SigningMode::Enforce, window: Some(SHORTEST_DEFAULT) }
    }
}

/// What is demanded of the adverts of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SigningMode {
    /// They must be signed.
    Enforce,
    /// They may be.
    Permissive,
    /// They may be, and ours aren't.
    ReceiveOnly,
}

/// A key with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// The number that adverts name it by.
    pub id: u8,
    /// Where its octets are.
    pub secret: Secret,
}

/// The octets of a key, or where they are.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The octets.
    Octets(Vec<u8>),
    /// A file that holds them, as they are or in hexadecimal digits.
    File(PathBuf),
}

/// Without the octets.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Octets(_) => f.write_str("octets"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

/// The keys as they stand in a table; several tables have them.
#[derive(Debug, Default)]
pub(super) struct RawSigning {
    pub(super) keys: Value<Vec<Spanned<String>>>,
    pub(super) mode: Value<String>,
    pub(super) window: Value<String>,
}

impl Check {
    /// Takes the keys of a table; `version` is that of the router, `interval` its own.
    pub(super) fn signing(
        &mut self,
        table: &str,
        raw: RawSigning,
        version: u8,
        interval: Duration,
    ) -> SigningSettings {
        if let (2, Some(keys)) = (version, &raw.keys) {
            self.wrong(keys.span(), "auth_keys means something only with version 3; version 2 has auth_pass");
        }
        if let (None, Some(mode)) = (&raw.keys, raw.mode.as_ref().filter(|mode| mode.get_ref() != "enforce"))
        {
            self.wrong(mode.span(), "auth_mode means something only with auth_keys");
        }
        let mut keys: Vec<SigningKey> = Vec::new();
        if let Some(listed) = raw.keys {
            if listed.get_ref().is_empty() {
                self.wrong(listed.span(), "auth_keys is empty: leave it out, and nothing is signed");
            }
            for text in listed.into_inner() {
                match key(text.get_ref()) {
                    Ok(key) if keys.iter().any(|other| other.id == key.id) => {
                        self.wrong(text.span(), format!("auth_keys: two keys have the number {}", key.id));
                    }
                    Ok(key) => keys.push(key),
                    Err(why) => self.wrong(text.span(), format!("auth_keys: {why}")),
                }
            }
        }
        let modes = [SigningMode::Enforce, SigningMode::Permissive, SigningMode::ReceiveOnly];
        let mode = self.word(table, "auth_mode", raw.mode, &modes).unwrap_or(SigningMode::Enforce);
        let place = raw.window.as_ref().map(Spanned::span);
        let window = match self.parsed("auth_window", raw.window, str::parse::<Lease>) {
            Some(Lease(window)) => window,
            None => Some(SHORTEST_DEFAULT.max(interval.saturating_mul(3))),
        };
        if let (Some(place), true) = (place, window.is_some_and(|window| window > LONGEST_WINDOW)) {
            self.wrong(place, "auth_window must be at most 300s, or \"off\"");
        }
        SigningSettings { keys, mode, window }
    }
}

/// Reads a key: its number, and its octets or their file.
fn key(text: &str) -> Result<SigningKey, String> {
    const FORM: &str = "a key is written as \"1 file:/etc/pgbaton/vrrp.key\" or \"1 hex:00ff…\"";
    let (id, secret) = text.trim().split_once(' ').ok_or(FORM)?;
    let id = id.parse().map_err(|_| FORM)?;
    let secret = match secret.trim().split_once(':') {
        Some(("file", path)) if path.starts_with('/') => Secret::File(PathBuf::from(path)),
        Some(("file", _)) => return Err("the file of a key is named by its absolute path".to_owned()),
        Some(("hex", digits)) => {
            let octets = from_hex(digits).ok_or("a key has an even number of hexadecimal digits")?;
            if !(32..=64).contains(&octets.len()) {
                return Err(format!("a key has 32 to 64 octets, not {}", octets.len()));
            }
            Secret::Octets(octets)
        }
        _ => return Err(FORM.to_owned()),
    };
    Ok(SigningKey { id, secret })
}

/// Returns the octets that hexadecimal digits stand for.
pub fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        digits.chars().map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok())).collect();
    digits?
        .chunks(2)
        .map(|pair| match *pair {
            [high, low] => Some(high << 4 | low),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_is_a_number_and_octets_or_a_file() {
        let file = key("7 file:/etc/pgbaton/vrrp.key").unwrap();
        assert_eq!((file.id, file.secret), (7, Secret::File(PathBuf::from("/etc/pgbaton/vrrp.key"))));
        let hex = key(&format!("0 hex:{}", "0aF1".repeat(16))).unwrap();
        assert_eq!(hex.secret, Secret::Octets([0x0a, 0xf1].repeat(16)));
        assert_eq!(format!("{:?}", hex.secret), "octets");
        for (text, why) in [
            ("1", "is written as"),
            ("256 hex:00", "is written as"),
            ("1 raw:00", "is written as"),
            ("1 file:vrrp.key", "absolute"),
            ("1 hex:0", "even number"),
            ("1 hex:zz", "even number"),
            ("1 hex:00", "not 1"),
        ] {
            assert!(key(text).unwrap_err().contains(why), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_key_or_a_mistake(text in ".*") {
            drop(key(&text));
        }
    }
}
