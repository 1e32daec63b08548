//! The table `[replication]`: whether a commit waits for standbys, and what becomes of a node that returns.

use super::NodeRole;
use super::problem::Problem;
use super::value::{Check, Value};
use serde::Deserialize;
use std::time::Duration;
use toml::Spanned;

/// The most standbys that one commit can wait for: one less than the most data nodes.
const MOST_ACKNOWLEDGEMENTS: u8 = 6;

/// How replication is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicationSettings {
    /// Whether a commit waits for standbys.
    pub mode: ReplicationMode,
    /// How many standbys must have a commit on disk before its client is told (W of `ANY W (…)`).
    pub acknowledgements: u8,
    /// What becomes of a node that returns with data of an older term.
    pub rejoin: Rejoin,
    /// How often the primary asks the other voters whether it is still the newest; only with `sync`.
    pub heartbeat: Duration,
    /// How long it goes on without an answer of a majority; only with `sync`.
    pub isolation_timeout: Duration,
}

impl Default for ReplicationSettings {
    fn default() -> Self {
        Self {
            mode: ReplicationMode::Async,
            acknowledgements: 1,
            rejoin: Rejoin::Manual,
            heartbeat: Duration::from_millis(500),
            isolation_timeout: Duration::from_secs(2),
        }
    }
}

/// Whether a commit waits for standbys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReplicationMode {
    /// It doesn't: a failover can lose what the standby had not received.
    Async,
    /// It does: a failover loses no acknowledged commit, and needs votes.
    Sync,
}

/// What becomes of a node that returns with data of an older term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rejoin {
    /// The daemon makes it a standby of the primary again.
    Auto,
    /// It waits for `pgbaton pg rebuild-standby`.
    Manual,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawReplication {
    mode: Value<String>,
    acknowledgements: Value<i64>,
    rejoin: Value<String>,
    heartbeat: Value<String>,
    isolation_timeout: Value<String>,
}

impl Check {
    pub(super) fn replication(&mut self, raw: RawReplication, roles: &[NodeRole]) -> ReplicationSettings {
        const TABLE: &str = "replication";
        let defaults = ReplicationSettings::default();
        let span = raw.acknowledgements.as_ref().map(Spanned::span);
        let mode = self
            .word(TABLE, "mode", raw.mode, &[ReplicationMode::Async, ReplicationMode::Sync])
            .unwrap_or(defaults.mode);
        let acknowledgements: u8 = self
            .integer(TABLE, "acknowledgements", raw.acknowledgements)
            .unwrap_or(defaults.acknowledgements)
            .min(MOST_ACKNOWLEDGEMENTS);
        let standbys = roles.len().saturating_sub(1);
        if let (Some(span), true) = (span, usize::from(acknowledgements) > standbys) {
            let problem = Problem::at(
                span,
                format!(
                    "{acknowledgements} standbys can't acknowledge: there are only {standbys} besides the primary"
                ),
            );
            self.problems.add(problem.hint("every commit would wait for ever: acknowledgements = 1"));
        }
        let rejoin = self.word(TABLE, "rejoin", raw.rejoin, &[Rejoin::Auto, Rejoin::Manual]);
        let by_mode = if mode == ReplicationMode::Sync { Rejoin::Auto } else { Rejoin::Manual };
        ReplicationSettings {
            mode,
            acknowledgements,
            rejoin: rejoin.unwrap_or(by_mode),
            heartbeat: self.above_zero("heartbeat", raw.heartbeat).unwrap_or(defaults.heartbeat),
            isolation_timeout: self
                .above_zero("isolation_timeout", raw.isolation_timeout)
                .unwrap_or(defaults.isolation_timeout),
        }
    }
}
