//! From parameters to what a connection is made of: checked, typed, libpq's defaults in place.

use super::{ConninfoError, KEYWORDS, Params, check_support};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Where and how to connect. What the parameters left open is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The servers in the order in which they are tried; at least one.
    pub places: Vec<Place>,
    /// `None`: the longest time isn't said; `Some(None)`: it was said that there is none.
    pub connect_timeout: Option<Option<Duration>>,
    /// What the server must be.
    pub target: TargetSession,
    /// Whether the password exchange must be bound to the TLS connection.
    pub channel_binding: ChannelBinding,
    /// How a dead machine is noticed.
    pub keepalives: Keepalives,
    /// How the connection is encrypted and who the server proves to be.
    pub tls: Tls,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where it is.
    pub host: PlaceHost,
    /// The host as it was written: passwords are looked up and certificates checked by it.
    pub name: Option<String>,
    /// Its port, if one was said.
    pub port: Option<u16>,
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlaceHost {
    /// Nothing was said: the usual socket.
    Usual,
    /// The folder of a Unix socket.
    Socket(PathBuf),
    /// An address.
    Address(IpAddr),
    /// A name to be looked up.
    Name(String),
}

/// `sslmode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// TLS if the server doesn't let this role in without.
    Allow,
    /// TLS if the server can.
    #[default]
    Prefer,
    /// TLS; the server's certificate is checked only if there is something to check it with.
    Require,
    /// TLS, and the certificate must come from a known authority.
    VerifyCa,
    /// The same, and it must be made out to this host.
    VerifyFull,
}

/// `sslrootcert`: who may vouch for a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum RootCertificates {
    /// `~/.postgresql/root.crt`.
    #[default]
    Usual,
    /// What the operating system trusts.
    System,
    /// The certificates in this file.
    File(PathBuf),
}

/// The version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum TlsVersion {
    Tls1,
    Tls1_1,
    Tls1_2,
    Tls1_3,
}

/// How a connection is encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// `sslmode`.
    pub mode: SslMode,
    /// `sslrootcert`.
    pub roots: RootCertificates,
    /// `sslcert`; `None`: `~/.postgresql/postgresql.crt` if it is there.
    pub certificate: Option<PathBuf>,
    /// `sslkey`; `None`: `~/.postgresql/postgresql.key`.
    pub key: Option<PathBuf>,
    /// `sslcertmode`: whether the client's certificate is sent when the server asks for one.
    pub send_certificate: bool,
    /// `sslcrl`; `None`: `~/.postgresql/root.crl` if it is there.
    pub revoked: Option<PathBuf>,
    /// `sslcrldir`.
    pub revoked_directory: Option<PathBuf>,
    /// `sslsni`.
    pub server_name: bool,
    /// `ssl_min_protocol_version`.
    pub oldest: TlsVersion,
    /// `ssl_max_protocol_version`.
    pub newest: Option<TlsVersion>,
    /// `sslnegotiation=direct`.
    pub direct: bool,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            mode: SslMode::default(),
            roots: RootCertificates::default(),
            certificate: None,
            key: None,
            send_certificate: true,
            revoked: None,
            revoked_directory: None,
            server_name: true,
            oldest: TlsVersion::Tls1_2,
            newest: None,
            direct: false,
        }
    }
}

/// `channel_binding`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// Where the server can.
    #[default]
    Prefer,
    /// Or no connection.
    Require,
}

/// `target_session_attrs`: which of several servers will do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TargetSession {
    /// Any.
    #[default]
    Any,
    /// One that takes writes by default.
    ReadWrite,
    /// One that doesn't.
    ReadOnly,
    /// One that isn't in recovery.
    Primary,
    /// One that is.
    Standby,
    /// One in recovery, or any if there is none.
    PreferStandby,
}

impl TargetSession {
    /// Returns the word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::ReadWrite => "read-write",
            Self::ReadOnly => "read-only",
            Self::Primary => "primary",
            Self::Standby => "standby",
            Self::PreferStandby => "prefer-standby",
        }
    }
}

/// How a dead machine is noticed. What wasn't said is `None`, zero is the system's default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keepalives {
    /// `keepalives`.
    pub on: Option<bool>,
    /// `keepalives_idle`.
    pub idle: Option<Duration>,
    /// `keepalives_interval`.
    pub interval: Option<Duration>,
    /// `keepalives_count`.
    pub count: Option<u32>,
    /// `tcp_user_timeout`.
    pub user_timeout: Option<Duration>,
}

impl Connection {
    /// Checks the parameters and gives them their types.
    pub fn resolve(params: &Params) -> Result<Self, ConninfoError> {
        for keyword in KEYWORDS {
            if let Some(value) = params.get(keyword.name) {
                check_support(keyword, value)?;
            }
        }
        let seconds = |name: &str| -> Result<Option<i64>, ConninfoError> { integer(params, name) };
        let duration = |name: &str| Ok::<_, ConninfoError>(seconds(name)?.map(from_seconds));
        let milliseconds = integer(params, "tcp_user_timeout")?
            .map(|value| Duration::from_millis(u64::try_from(value).unwrap_or(0)));
        Ok(Self {
            places: places(params)?,
            connect_timeout: seconds("connect_timeout")?
                .map(|value| (value > 0).then(|| from_seconds(value))),
            target: word(params, "target_session_attrs", &TARGETS)?,
            channel_binding: word(params, "channel_binding", &BINDINGS)?,
            keepalives: Keepalives {
                on: integer(params, "keepalives")?.map(|value| value != 0),
                idle: duration("keepalives_idle")?,
                interval: duration("keepalives_interval")?,
                count: integer(params, "keepalives_count")?.map(|value| u32::try_from(value).unwrap_or(0)),
                user_timeout: milliseconds,
            },
            tls: tls(params)?,
        })
    }
}

const TARGETS: [(&str, TargetSession); 6] = [
    ("any", TargetSession::Any),
    ("read-write", TargetSession::ReadWrite),
    ("read-only", TargetSession::ReadOnly),
    ("primary", TargetSession::Primary),
    ("standby", TargetSession::Standby),
    ("prefer-standby", TargetSession::PreferStandby),
];

const BINDINGS: [(&str, ChannelBinding); 3] = [
    ("disable", ChannelBinding::Disable),
    ("prefer", ChannelBinding::Prefer),
    ("require", ChannelBinding::Require),
];

const MODES: [(&str, SslMode); 6] = [
    ("disable", SslMode::Disable),
    ("allow", SslMode::Allow),
    ("prefer", SslMode::Prefer),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];

const VERSIONS: [(&str, TlsVersion); 4] = [
    ("tlsv1", TlsVersion::Tls1),
    ("tlsv1.1", TlsVersion::Tls1_1),
    ("tlsv1.2", TlsVersion::Tls1_2),
    ("tlsv1.3", TlsVersion::Tls1_3),
];

fn from_seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

fn integer(params: &Params, name: &str) -> Result<Option<i64>, ConninfoError> {
    let Some(text) = params.get(name).map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
    match text.parse::<i32>() {
        Ok(value) => Ok(Some(value.into())),
        Err(_) => {
            Err(ConninfoError::new(format!("{name} must be a whole number, not \"{}\"", text.escape_debug())))
        }
    }
}

fn bad_word<T>(name: &str, value: &str, words: &[(&str, T)]) -> ConninfoError {
    let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    ConninfoError::new(format!(
        "{name} must be one of {}, not \"{}\"",
        words.join(", "),
        value.escape_debug()
    ))
}

fn word<T: Copy + Default>(params: &Params, name: &str, words: &[(&str, T)]) -> Result<T, ConninfoError> {
    match params.get(name) {
        None => Ok(T::default()),
        Some(value) => words
            .iter()
            .find(|(word, _)| *word == value)
            .map(|(_, meaning)| *meaning)
            .ok_or_else(|| bad_word(name, value, words)),
    }
}

/// Splits a list at its commas; `None` when nothing is said.
fn list<'a>(params: &'a Params, name: &str) -> Option<Vec<&'a str>> {
    params.get(name).filter(|text| !text.is_empty()).map(|text| text.split(',').map(str::trim).collect())
}

fn places(params: &Params) -> Result<Vec<Place>, ConninfoError> {
    let (hosts, addresses) = (list(params, "host"), list(params, "hostaddr"));
    let count = addresses.as_ref().or(hosts.as_ref()).map_or(1, Vec::len);
    if let (Some(hosts), Some(addresses)) = (&hosts, &addresses)
        && hosts.len() != addresses.len()
    {
        return Err(ConninfoError::new(format!(
            "there are {} hosts but {} addresses in hostaddr",
            hosts.len(),
            addresses.len()
        )));
    }
    let ports = list(params, "port").unwrap_or_default();
    if ports.len() > 1 && ports.len() != count {
        return Err(ConninfoError::new(format!("there are {} ports but {count} hosts", ports.len())));
    }
    let place = |at: usize| -> Result<Place, ConninfoError> {
        let at_or_empty = |list: &Option<Vec<&str>>| {
            list.as_ref().and_then(|list| list.get(at)).copied().unwrap_or_default().to_owned()
        };
        let name = Some(at_or_empty(&hosts)).filter(|name| !name.is_empty());
        let address = at_or_empty(&addresses);
        let port = ports.get(at).or_else(|| ports.first().filter(|_| ports.len() == 1)).copied();
        let port = port.filter(|port| !port.is_empty()).map(|text| match text.parse::<u16>() {
            Ok(port) if port > 0 => Ok(port),
            _ => Err(ConninfoError::new(format!(
                "port must be from 1 to 65535, not \"{}\"",
                text.escape_debug()
            ))),
        });
        let host = if address.is_empty() {
            host(name.as_deref())?
        } else {
            PlaceHost::Address(address.parse().map_err(|_| {
                ConninfoError::new(format!("hostaddr: \"{}\" isn't an IP address", address.escape_debug()))
            })?)
        };
        Ok(Place { host, name, port: port.transpose()? })
    };
    (0..count).map(place).collect()
}

fn host(name: Option<&str>) -> Result<PlaceHost, ConninfoError> {
    match name {
        None => Ok(PlaceHost::Usual),
        Some(folder) if folder.starts_with('/') => Ok(PlaceHost::Socket(PathBuf::from(folder))),
        Some(name) if name.starts_with('@') => {
            Err(ConninfoError::new("host: sockets in the abstract name space aren't supported"))
        }
        Some(name) => Ok(name.parse().map_or_else(|_| PlaceHost::Name(name.to_owned()), PlaceHost::Address)),
    }
}

fn tls(params: &Params) -> Result<Tls, ConninfoError> {
    let said = |name: &str| params.get(name).filter(|value| !value.is_empty());
    let roots = match said("sslrootcert") {
        None => RootCertificates::Usual,
        Some("system") => RootCertificates::System,
        Some(file) => RootCertificates::File(PathBuf::from(file)),
    };
    let mode = match (&roots, params.get("sslmode")) {
        // The authorities of the world vouch for everybody: without the name their word is worth nothing.
        (RootCertificates::System, None) => SslMode::VerifyFull,
        _ => word(params, "sslmode", &MODES)?,
    };
    if roots == RootCertificates::System && mode != SslMode::VerifyFull {
        return Err(ConninfoError::new("sslrootcert=system needs sslmode=verify-full"));
    }
    let version = |name: &str| {
        said(name).map(|value| {
            let found = VERSIONS.iter().find(|(word, _)| word.eq_ignore_ascii_case(value));
            found.map(|(_, version)| *version).ok_or_else(|| {
                ConninfoError::new(format!(
                    "{name} must be TLSv1, TLSv1.1, TLSv1.2 or TLSv1.3, not \"{}\"",
                    value.escape_debug()
                ))
            })
        })
    };
    let oldest = version("ssl_min_protocol_version").transpose()?;
    let newest = version("ssl_max_protocol_version").transpose()?;
    let oldest = oldest.unwrap_or(TlsVersion::Tls1_2);
    if newest.is_some_and(|newest| newest < oldest) {
        return Err(ConninfoError::new("ssl_max_protocol_version is older than ssl_min_protocol_version"));
    }
    let direct = match said("sslnegotiation") {
        None | Some("postgres") => false,
        Some("direct") if mode >= SslMode::Require => true,
        Some("direct") => {
            return Err(ConninfoError::new("sslnegotiation=direct needs sslmode=require or stronger"));
        }
        Some(other) => return Err(bad_word("sslnegotiation", other, &[("postgres", ()), ("direct", ())])),
    };
    let send_certificate = match said("sslcertmode") {
        None | Some("allow") => true,
        Some("disable") => false,
        Some(other) => return Err(bad_word("sslcertmode", other, &[("disable", ()), ("allow", ())])),
    };
    let path = |name: &str| said(name).map(PathBuf::from);
    Ok(Tls {
        mode,
        roots,
        certificate: path("sslcert"),
        key: path("sslkey"),
        send_certificate,
        revoked: path("sslcrl"),
        revoked_directory: path("sslcrldir"),
        server_name: params.get("sslsni") != Some("0"),
        oldest,
        newest,
        direct,
    })
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;
    use proptest::prelude::*;

    fn resolved(text: &str) -> Connection {
        Connection::resolve(&parse(text).unwrap()).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn hosts_addresses_and_ports_are_paired() {
        let places = resolved("host=a,/run/x,,192.0.2.1 port=1,2,,4").places;
        let place = |host, name: Option<&str>, port| Place { host, name: name.map(str::to_owned), port };
        assert_eq!(
            places,
            [
                place(PlaceHost::Name("a".into()), Some("a"), Some(1)),
                place(PlaceHost::Socket("/run/x".into()), Some("/run/x"), Some(2)),
                place(PlaceHost::Usual, None, None),
                place(PlaceHost::Address([192, 0, 2, 1].into()), Some("192.0.2.1"), Some(4)),
            ]
        );
        let places = resolved("host=db.example hostaddr=192.0.2.7").places;
        assert_eq!(places, [place(PlaceHost::Address([192, 0, 2, 7].into()), Some("db.example"), None)]);
        assert!(resolved("host=a,b port=7").places.iter().all(|place| place.port == Some(7)));
    }

    #[test]
    fn a_timeout_of_zero_is_none() {
        assert_eq!(resolved("connect_timeout=0").connect_timeout, Some(None));
        assert_eq!(resolved("connect_timeout=-1").connect_timeout, Some(None));
        assert_eq!(resolved("connect_timeout=3").connect_timeout, Some(Some(Duration::from_secs(3))));
        assert_eq!(resolved("").connect_timeout, None);
    }

    #[test]
    fn the_system_s_authorities_are_only_trusted_with_the_name() {
        assert_eq!(resolved("sslrootcert=system").tls.mode, SslMode::VerifyFull);
        assert_eq!(resolved("").tls.mode, SslMode::Prefer);
    }

    proptest! {
        #[test]
        fn no_values_make_it_panic(host in ".{0,20}", port in "[0-9,]{0,12}", other in "\\PC{0,9}") {
            let mut params = Params::default();
            for (name, value) in [
                ("host", &host), ("hostaddr", &other), ("port", &port), ("connect_timeout", &other),
                ("keepalives_count", &port), ("tcp_user_timeout", &other), ("sslrootcert", &other),
            ] {
                params.set(name, value.clone()).unwrap();
                drop(Connection::resolve(&params));
            }
        }
    }
}
