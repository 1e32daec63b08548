//! The table `[witness]`: the third vote of two nodes.

use super::libpq::Params;
use super::problem::Problem;
use super::value::{Check, Value};
use serde::Deserialize;
use std::net::IpAddr;
use std::time::Duration;
use toml::Spanned;

const DEFAULT_LEASE: Duration = Duration::from_secs(10);
/// Two seconds to stop in, and some heartbeats.
const SHORTEST_LEASE: Duration = Duration::from_secs(5);

/// A voter without data of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessSettings {
    /// Where it answers.
    pub address: IpAddr,
    /// How it is asked.
    pub transport: WitnessTransport,
    /// The port; `None`: the usual one.
    pub port: Option<u16>,
    /// The role or user for connections; `None`: the usual one.
    pub user: Option<String>,
    /// The database that keeps its register.
    pub database: String,
    /// The folder that keeps its register over SSH.
    pub directory: String,
    /// How long a primary without acknowledgements may go on without the witness, at most; whoever replaces it waits
    /// as long.
    pub lease: Duration,
    /// More connection parameters.
    pub conninfo: Params,
}

/// How a witness is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WitnessTransport {
    /// It is a `PostgreSQL`, asked over SQL.
    Postgres,
    /// It is any host with a shell, asked over SSH.
    Ssh,
}

impl WitnessSettings {
    /// What the witness is called in votes and messages.
    pub const NAME: &'static str = "witness";
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWitness {
    address: Value<String>,
    transport: Value<String>,
    port: Value<i64>,
    user: Value<String>,
    database: Value<String>,
    directory: Value<String>,
    lease: Value<String>,
    conninfo: Value<String>,
}

impl Check {
    pub(super) fn witness(&mut self, raw: RawWitness) -> Option<WitnessSettings> {
        let address = self.required("witness", "address", raw.address, None);
        let address = address.and_then(|address| self.address(&address));
        Some(WitnessSettings {
            transport: self
                .word(
                    "witness",
                    "transport",
                    raw.transport,
                    &[WitnessTransport::Postgres, WitnessTransport::Ssh],
                )
                .unwrap_or(WitnessTransport::Postgres),
            port: self.integer("witness", "port", raw.port),
            user: self.text("user", raw.user),
            database: self.text("database", raw.database).unwrap_or_else(|| "postgres".to_owned()),
            directory: self.text("directory", raw.directory).unwrap_or_else(|| "pgbaton-witness".to_owned()),
            lease: self.lease(raw.lease),
            conninfo: self.conninfo(raw.conninfo),
            address: address?,
        })
    }

    fn lease(&mut self, value: Value<String>) -> Duration {
        let span = value.as_ref().map(Spanned::span);
        let lease = self.above_zero("lease", value).unwrap_or(DEFAULT_LEASE);
        if let (Some(span), true) = (span, lease < SHORTEST_LEASE) {
            let problem =
                Problem::at(span, format!("a lease of {} ms leaves no time to stop", lease.as_millis()));
            self.problems.add(problem.hint(format!("lease = \"{}s\" or longer", SHORTEST_LEASE.as_secs())));
        }
        lease
    }
}
