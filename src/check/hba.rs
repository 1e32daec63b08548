//! Whether a server's `pg_hba.conf` lets a connection in: the first line that fits decides. Pure.

use serde::Deserialize;
use std::net::IpAddr;

/// A line of `pg_hba.conf`, as `pg_hba_file_rules` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Rule {
    /// The number of the line.
    pub line: u32,
    /// `local`, `host`, `hostssl`, `hostnossl`…; `None` for a line that can't be read.
    pub kind: Option<String>,
    /// The databases.
    pub database: Option<Vec<String>>,
    /// The roles.
    pub user: Option<Vec<String>>,
    /// An address, a host name, or `all`, `samehost`, `samenet`.
    pub address: Option<String>,
    /// The mask, for an address.
    pub netmask: Option<String>,
    /// `trust`, `scram-sha-256`, `reject`…
    pub method: Option<String>,
    /// Why the line can't be read.
    pub error: Option<String>,
}

/// What would become of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// The line lets it in, with this method.
    In(&'a Rule),
    /// The line rejects it.
    Rejected(&'a Rule),
    /// No line fits.
    NoLine,
    /// A line before may fit: it names a host, a group or a pattern that can't be looked up from here.
    Unclear(&'a Rule),
}

/// A connection over TCP.
#[derive(Debug, Clone, Copy)]
pub struct Connection<'a> {
    /// Where it comes from.
    pub from: IpAddr,
    /// The role.
    pub user: &'a str,
    /// The database; `None` for physical replication.
    pub database: Option<&'a str>,
}

/// Finds the line that decides about a connection.
pub fn decide<'a>(rules: &'a [Rule], connection: Connection<'_>) -> Verdict<'a> {
    for rule in rules.iter().filter(|rule| rule.error.is_none()) {
        // Whether TLS is used isn't known here: both kinds of line are taken to fit.
        if !rule.kind.as_deref().is_some_and(|kind| kind.starts_with("host")) {
            continue;
        }
        let fits = [
            database(rule, connection.database, connection.user),
            user(rule, connection.user),
            address(rule, connection.from),
        ];
        if fits.contains(&Some(false)) {
            continue;
        }
        if fits.contains(&None) {
            return Verdict::Unclear(rule);
        }
        return match rule.method.as_deref() {
            Some("reject") => Verdict::Rejected(rule),
            _ => Verdict::In(rule),
        };
    }
    Verdict::NoLine
}

/// Whether the databases of a line fit; `None`: it can't be told.
fn database(rule: &Rule, database: Option<&str>, user: &str) -> Option<bool> {
    let names = rule.database.as_deref().unwrap_or_default();
    let Some(database) = database else {
        // "all" doesn't mean replication.
        return Some(names.iter().any(|name| name == "replication"));
    };
    any(names, |name| match name {
        "all" => Some(true),
        "sameuser" => Some(database == user),
        "replication" => Some(false),
        "samerole" | "samegroup" => None,
        name if name.starts_with('/') => None,
        name => Some(name == database),
    })
}

fn user(rule: &Rule, user: &str) -> Option<bool> {
    any(rule.user.as_deref().unwrap_or_default(), |name| match name {
        "all" => Some(true),
        name if name.starts_with('+') || name.starts_with('/') => None,
        name => Some(name == user),
    })
}

/// Whether any fits; unclear only when none surely does.
fn any(names: &[String], fits: impl Fn(&str) -> Option<bool>) -> Option<bool> {
    let all: Vec<Option<bool>> = names.iter().map(|name| fits(name)).collect();
    if all.contains(&Some(true)) {
        Some(true)
    } else if all.contains(&None) {
        None
    } else {
        Some(false)
    }
}

fn address(rule: &Rule, from: IpAddr) -> Option<bool> {
    let named = rule.address.as_deref()?;
    match named {
        "all" => return Some(true),
        "samenet" | "samehost" => return None,
        _ => {}
    }
    let Ok(network) = named.parse::<IpAddr>() else { return None };
    let mask = match &rule.netmask {
        Some(mask) => mask.parse::<IpAddr>().ok()?,
        None => return Some(network == from),
    };
    Some(match (network, mask, from) {
        (IpAddr::V4(network), IpAddr::V4(mask), IpAddr::V4(from)) => {
            network.to_bits() & mask.to_bits() == from.to_bits() & mask.to_bits()
        }
        (IpAddr::V6(network), IpAddr::V6(mask), IpAddr::V6(from)) => {
            network.to_bits() & mask.to_bits() == from.to_bits() & mask.to_bits()
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(line: u32, database: &str, user: &str, address: &str, mask: Option<&str>, method: &str) -> Rule {
        let list = |text: &str| Some(text.split(',').map(str::to_owned).collect());
        Rule {
            line,
            kind: Some("host".to_owned()),
            database: list(database),
            user: list(user),
            address: Some(address.to_owned()),
            netmask: mask.map(str::to_owned),
            method: Some(method.to_owned()),
            error: None,
        }
    }

    fn verdict(rules: &[Rule], database: Option<&str>, user: &str, from: &str) -> String {
        match decide(rules, Connection { from: from.parse().unwrap(), user, database }) {
            Verdict::In(rule) => format!("in {}", rule.line),
            Verdict::Rejected(rule) => format!("rejected {}", rule.line),
            Verdict::Unclear(rule) => format!("unclear {}", rule.line),
            Verdict::NoLine => "no line".to_owned(),
        }
    }

    #[test]
    fn the_first_line_that_fits_decides() {
        let rules = [
            rule(1, "all", "bad", "all", None, "reject"),
            rule(2, "postgres,x", "pgbaton", "192.0.2.0", Some("255.255.255.0"), "scram-sha-256"),
            rule(3, "replication", "all", "192.0.2.22", Some("255.255.255.255"), "scram-sha-256"),
            rule(4, "all", "+ops", "10.0.0.0", Some("255.0.0.0"), "scram-sha-256"),
            rule(5, "all", "all", "2001:db8::", Some("ffff:ffff::"), "scram-sha-256"),
            rule(6, "all", "web", "app.example.com", None, "scram-sha-256"),
        ];
        let told = |database, user, from| verdict(&rules, database, user, from);
        assert_eq!(told(Some("postgres"), "bad", "192.0.2.9"), "rejected 1");
        assert_eq!(told(Some("postgres"), "pgbaton", "192.0.2.9"), "in 2");
        assert_eq!(told(Some("other"), "pgbaton", "192.0.2.9"), "no line");
        assert_eq!(told(None, "pgbaton", "192.0.2.22"), "in 3");
        assert_eq!(told(None, "pgbaton", "192.0.2.23"), "no line");
        assert_eq!(told(Some("a"), "a", "10.1.1.1"), "unclear 4");
        assert_eq!(told(Some("a"), "a", "2001:db8::1"), "in 5");
        assert_eq!(told(Some("a"), "web", "192.0.2.9"), "unclear 6");
    }

    #[test]
    fn all_databases_are_not_replication_and_a_broken_line_counts_for_nothing() {
        let mut rules = vec![rule(1, "all", "all", "all", None, "trust")];
        assert_eq!(verdict(&rules, None, "a", "192.0.2.1"), "no line");
        assert_eq!(verdict(&rules, Some("x"), "a", "192.0.2.1"), "in 1");
        rules[0].error = Some("x".to_owned());
        assert_eq!(verdict(&rules, Some("x"), "a", "192.0.2.1"), "no line");
    }
}
