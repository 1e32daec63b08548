//! The table `[witness]`: the third vote of two nodes.

use super::libpq::Params;
use super::value::{Check, Value};
use serde::Deserialize;
use std::net::IpAddr;

/// A voter without data of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessSettings {
    /// Where its `PostgreSQL` answers.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// The role for connections.
    pub user: String,
    /// The database that keeps its register.
    pub database: String,
    /// More connection parameters.
    pub conninfo: Params,
}

impl WitnessSettings {
    /// What the witness is called in votes and messages.
    pub const NAME: &'static str = "witness";
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWitness {
    address: Value<String>,
    port: Value<i64>,
    user: Value<String>,
    database: Value<String>,
    conninfo: Value<String>,
}

impl Check {
    pub(super) fn witness(&mut self, raw: RawWitness) -> Option<WitnessSettings> {
        let address = self.required("witness", "address", raw.address, None);
        let address = address.and_then(|address| self.address(&address));
        Some(WitnessSettings {
            port: self.integer("witness", "port", raw.port).unwrap_or(5432),
            user: self.text("user", raw.user).unwrap_or_else(|| "postgres".to_owned()),
            database: self.text("database", raw.database).unwrap_or_else(|| "postgres".to_owned()),
            conninfo: self.conninfo(raw.conninfo),
            address: address?,
        })
    }
}
