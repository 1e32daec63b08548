//! libpq's way to say how a server is reached: connection strings, `PG*` variables, service files.
//!
//! Pure: texts and a look-up function come in, a [`Connection`] goes out. Who opens the service file and reads the
//! environment is `pg/target.rs`. Order of precedence, as in libpq: connection string, service file, environment,
//! default. A parameter that pgbaton doesn't know is an error, and so is one that it knows but can't honour: a
//! setting that protects a connection must not be passed over in silence.

mod conninfo;
mod keywords;
mod resolve;
mod service;

pub use conninfo::{is_conninfo, parse};
pub use keywords::PROTECTING_VARIABLES;
pub use resolve::{
    ChannelBinding, Connection, Keepalives, Place, PlaceHost, RootCertificates, SslMode, TargetSession, Tls,
    TlsVersion,
};
pub use service::find as find_service;

use super::problem::nearest;
use keywords::{KEYWORDS, Keyword, Support};
use std::collections::BTreeMap;
use std::fmt;

/// What is wrong with connection parameters, as one sentence without a value that could be secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConninfoError(String);

impl ConninfoError {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// Connection parameters by keyword. Passwords don't show in debug output.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Params(BTreeMap<&'static str, String>);

impl Params {
    /// Sets a parameter; a later value replaces an earlier one.
    pub fn set(&mut self, name: &str, value: String) -> Result<(), ConninfoError> {
        let keyword = known(name)?;
        self.0.insert(keyword.name, value);
        Ok(())
    }

    /// Returns a parameter's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Returns the parameters in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// Returns whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns these parameters, with those of `under` where these say nothing.
    #[must_use]
    pub fn over(mut self, under: &Self) -> Self {
        for (name, value) in &under.0 {
            self.0.entry(name).or_insert_with(|| value.clone());
        }
        self
    }

    /// Returns the parameters that the environment holds. Empty variables count, as in libpq.
    pub fn from_environment(mut variable: impl FnMut(&str) -> Option<String>) -> Self {
        let found = KEYWORDS.iter().filter_map(|keyword| Some((keyword.name, variable(keyword.env?)?)));
        Self(found.collect())
    }

    /// Checks the values, and those of known keywords that only some values of are supported.
    pub fn check(&self) -> Result<(), ConninfoError> {
        for (name, value) in self.iter() {
            check_support(known(name)?, value)?;
        }
        Connection::resolve(self).map(drop)
    }
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.iter().map(|(name, value)| (name, if secret(name) { "…" } else { value }));
        f.debug_map().entries(shown).finish()
    }
}

fn secret(name: &str) -> bool {
    matches!(name, "password" | "sslpassword" | "scram_client_key" | "scram_server_key")
}

fn known(name: &str) -> Result<&'static Keyword, ConninfoError> {
    if let Some(keyword) = KEYWORDS.iter().find(|keyword| keyword.name == name) {
        return Ok(keyword);
    }
    let near = nearest(name, KEYWORDS.iter().map(|keyword| keyword.name))
        .map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"));
    Err(ConninfoError::new(format!("unknown connection parameter \"{}\"{near}", name.escape_debug())))
}

fn check_support(keyword: &Keyword, value: &str) -> Result<(), ConninfoError> {
    match keyword.support {
        Support::Yes => Ok(()),
        Support::Only(values) if values.contains(&value) => Ok(()),
        Support::Only(values) => Err(ConninfoError::new(format!(
            "pgbaton knows only \"{}\" for {}",
            values.join("\", \""),
            keyword.name
        ))),
        Support::No(_) if value.is_empty() => Ok(()),
        Support::No(why) => {
            Err(ConninfoError::new(format!("pgbaton doesn't support {}: {why}", keyword.name)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_read_by_libpq_s_names() {
        let variable = |name: &str| match name {
            "PGHOST" => Some("db".to_owned()),
            "PGSSLMODE" => Some("verify-full".to_owned()),
            "PGAPPNAME" => Some(String::new()),
            _ => None,
        };
        let params = Params::from_environment(variable);
        let found: Vec<_> = params.iter().collect();
        assert_eq!(found, [("application_name", ""), ("host", "db"), ("sslmode", "verify-full")]);
    }

    #[test]
    fn what_is_said_first_wins_over_what_lies_under_it() {
        let over = parse("host=a").unwrap().over(&parse("host=b port=1").unwrap());
        assert_eq!((over.get("host"), over.get("port")), (Some("a"), Some("1")));
    }

    #[test]
    fn what_cannot_be_honoured_is_refused() {
        for (text, says) in [
            ("sslpassword=x", "sslpassword"),
            ("gssencmode=require", "gssencmode"),
            ("requirepeer=postgres", "requirepeer"),
            ("replication=true", "replication"),
            ("sslmode=verify", "sslmode"),
            ("port=70000", "port"),
            ("host=a,b,c port=1,2", "2 ports"),
            ("connect_timeout=soon", "connect_timeout"),
            ("target_session_attrs=master", "target_session_attrs"),
            ("sslrootcert=system sslmode=require", "verify-full"),
        ] {
            let error = parse(text).unwrap().check().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
        parse("gssencmode=disable sslcompression=0 sslpassword=").unwrap().check().unwrap();
    }

    #[test]
    fn passwords_do_not_show() {
        let params = parse("password=hunter2 sslpassword=hunter2 host=a").unwrap();
        assert!(!format!("{params:?}").contains("hunter2"));
    }
}
