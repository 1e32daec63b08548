//! Every parameter keyword of libpq 13 to 18, its variable, and whether pgbaton honours it. Pure data.

/// A parameter keyword.
#[derive(Debug)]
pub(super) struct Keyword {
    pub(super) name: &'static str,
    pub(super) env: Option<&'static str>,
    pub(super) support: Support,
}

/// Whether a parameter is honoured.
#[derive(Debug)]
pub(super) enum Support {
    /// All its values are.
    Yes,
    /// Only these values are: what they ask for is how pgbaton connects anyway.
    Only(&'static [&'static str]),
    /// It isn't, for this reason.
    No(&'static str),
}

/// The variables that say how a connection is protected and with which password. They count even when a
/// configuration names the servers.
pub const PROTECTING_VARIABLES: &[&str] = &[
    "PGPASSWORD",
    "PGPASSFILE",
    "PGSSLMODE",
    "PGSSLROOTCERT",
    "PGSSLCERT",
    "PGSSLKEY",
    "PGSSLCRL",
    "PGSSLCRLDIR",
    "PGSSLSNI",
    "PGSSLCERTMODE",
    "PGSSLNEGOTIATION",
    "PGSSLMINPROTOCOLVERSION",
    "PGSSLMAXPROTOCOLVERSION",
];

const fn yes(name: &'static str, env: &'static str) -> Keyword {
    Keyword { name, env: Some(env), support: Support::Yes }
}

const fn silent(name: &'static str) -> Keyword {
    Keyword { name, env: None, support: Support::Yes }
}

const fn only(name: &'static str, env: Option<&'static str>, values: &'static [&'static str]) -> Keyword {
    Keyword { name, env, support: Support::Only(values) }
}

const fn no(name: &'static str, env: Option<&'static str>, why: &'static str) -> Keyword {
    Keyword { name, env, support: Support::No(why) }
}

const KERBEROS: &str = "there is no GSSAPI in it";

pub(super) const KEYWORDS: &[Keyword] = &[
    yes("service", "PGSERVICE"),
    yes("servicefile", "PGSERVICEFILE"),
    yes("user", "PGUSER"),
    yes("password", "PGPASSWORD"),
    yes("passfile", "PGPASSFILE"),
    yes("channel_binding", "PGCHANNELBINDING"),
    yes("connect_timeout", "PGCONNECT_TIMEOUT"),
    yes("dbname", "PGDATABASE"),
    yes("host", "PGHOST"),
    yes("hostaddr", "PGHOSTADDR"),
    yes("port", "PGPORT"),
    only("client_encoding", Some("PGCLIENTENCODING"), &["", "auto", "UTF8", "utf8", "UTF-8", "utf-8"]),
    yes("options", "PGOPTIONS"),
    yes("application_name", "PGAPPNAME"),
    silent("fallback_application_name"),
    silent("keepalives"),
    silent("keepalives_idle"),
    silent("keepalives_interval"),
    silent("keepalives_count"),
    silent("tcp_user_timeout"),
    yes("sslmode", "PGSSLMODE"),
    yes("sslnegotiation", "PGSSLNEGOTIATION"),
    // Compression is off in every OpenSSL of today; "1" asks libpq for nothing more either.
    only("sslcompression", None, &["", "0", "1"]),
    yes("sslcert", "PGSSLCERT"),
    yes("sslkey", "PGSSLKEY"),
    yes("sslcertmode", "PGSSLCERTMODE"),
    no(
        "sslpassword",
        None,
        "keep the client's key without a password, in a file that only its user may read",
    ),
    yes("sslrootcert", "PGSSLROOTCERT"),
    yes("sslcrl", "PGSSLCRL"),
    yes("sslcrldir", "PGSSLCRLDIR"),
    yes("sslsni", "PGSSLSNI"),
    yes("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION"),
    yes("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION"),
    yes("target_session_attrs", "PGTARGETSESSIONATTRS"),
    only("load_balance_hosts", Some("PGLOADBALANCEHOSTS"), &["", "disable"]),
    only("gssencmode", Some("PGGSSENCMODE"), &["", "disable", "prefer"]),
    no("krbsrvname", None, KERBEROS),
    no("gsslib", None, KERBEROS),
    no("gssdelegation", None, KERBEROS),
    no("replication", None, "it asks by SQL"),
    no("requirepeer", Some("PGREQUIREPEER"), "who owns the socket isn't checked"),
    no("require_auth", Some("PGREQUIREAUTH"), "use channel_binding=require or sslmode=verify-full"),
    no("scram_client_key", None, "give the password, by the password file"),
    no("scram_server_key", None, "give the password, by the password file"),
    no("sslkeylogfile", None, "it would write down the keys of the connection"),
    only("min_protocol_version", Some("PGMINPROTOCOLVERSION"), &["", "3.0"]),
    only("max_protocol_version", Some("PGMAXPROTOCOLVERSION"), &["", "3.0", "latest"]),
    no("oauth_issuer", None, "there is no OAuth in it"),
    no("oauth_client_id", None, "there is no OAuth in it"),
    no("oauth_client_secret", None, "there is no OAuth in it"),
    no("oauth_scope", None, "there is no OAuth in it"),
];
