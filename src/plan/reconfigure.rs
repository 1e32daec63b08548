//! The edge of a change of configuration: whose acknowledgement a primary waits for, in force and on record (rule 9).

use super::election::{Voters, configuration};
use crate::error::{Error, Kind, Result};
use crate::host::clock::{self, Deadline};
use crate::pg::conn::Session;
use crate::pg::epoch::{Epoch, Term};
use crate::pg::lsn::Lsn;
use crate::pg::sql::{literal, text_array};
use crate::pg::{promote, vote};
use crate::promotion::rules::{Change, Configuration};
use std::sync::PoisonError;
use std::time::Duration;

const POLL: Duration = Duration::from_millis(1);

/// Brings the synchronous names, and the row that records them, in line with the standbys that there are.
///
/// With `prove` the newest row is committed again even when nothing changes: its acknowledgement shows that the
/// configuration in force can acknowledge. Returns whether anything changed, and what holds now.
pub fn reconfigure(
    session: &mut Session,
    voters: &Voters,
    term: Term,
    prove: bool,
    deadline: Deadline,
) -> Result<(bool, String)> {
    let stored = vote::read(session, deadline)?;
    let Some(row) = stored.epoch.filter(|row| row.term == term && row.node == voters.node) else {
        return Err(Error::refused(format!("term {term} isn't this server's newest any more"))
            .hint("pgbaton cluster status"));
    };
    let current = Configuration::from(&row);
    let wanted = wanted(session, voters, &current, deadline)?;
    let mut changed = false;
    let record = |session: &mut Session, configuration: &Configuration| {
        let row = Epoch {
            change: configuration.change,
            w: configuration.w,
            members: configuration.members.clone(),
            at: clock::wall().as_secs(),
            ..row.clone()
        };
        promote::record_epoch(session, &row, deadline)
    };
    match current.change_to(&wanted) {
        Change::Same => {
            changed |= vote::set_names(session, &current.names(), deadline)?;
            if prove {
                record(session, &current)?;
                acknowledged(session, &current, deadline)?;
            }
            return Ok((changed, current.to_string()));
        }
        Change::Tightening => {
            vote::set_names(session, &wanted.names(), deadline)?;
            record(session, &wanted)?;
        }
        Change::Loosening => {
            vote::set_names(session, &current.names(), deadline)?;
            match voters.peers.witness() {
                // Those who could acknowledge the row are away: the witness records it, before anything is let loose.
                Some(witness) if wanted.w == 0 => {
                    if !witness.record(&wanted, deadline)? {
                        return Err(Error::refused(format!("the witness doesn't record {wanted}"))
                            .hint("pgbaton cluster status"));
                    }
                    vote::record(session, &wanted, deadline)?;
                    vote::set_names(session, &wanted.names(), deadline)?;
                    record(session, &wanted)?;
                }
                _ => {
                    record(session, &wanted)?;
                    // Proved under the old names and on record here before the looser ones let anything through.
                    acknowledged(session, &current, deadline)?;
                    vote::record(session, &wanted, deadline)?;
                    vote::set_names(session, &wanted.names(), deadline)?;
                }
            }
        }
        Change::Neither => {
            return Err(Error::refused(format!("{current} can't become {wanted} in one step"))
                .hint("set replication.acknowledgements back, or add and remove nodes one at a time"));
        }
    }
    acknowledged(session, &wanted, deadline)?;
    // Last: a primary's own record is its proof that the change had come into force.
    vote::record(session, &wanted, deadline)?;
    Ok((true, wanted.to_string()))
}

/// Returns the configuration that fits the nodes there are. Of two nodes, the other counts once it has caught up, and
/// then for good: only an operator lets a primary go on without it.
fn wanted(
    session: &mut Session,
    voters: &Voters,
    current: &Configuration,
    deadline: Deadline,
) -> Result<Configuration> {
    let others: Vec<String> = voters.peers.iter().map(|peer| peer.name.clone()).collect();
    let full = configuration(voters, current.term, current.change.saturating_add(1), others);
    if full.w <= current.w && current.members.len() > 1 {
        return Ok(full);
    }
    if let Some(alone) = without_standby(session, voters, current, deadline)? {
        return Ok(alone);
    }
    // More acknowledgements than before are asked for only of standbys that can give them at once; and only one that has
    // what the primary has may stand for election where nobody's acknowledgement is waited for.
    let sql = format!(
        "SELECT count(DISTINCT application_name) >= {} FROM pg_stat_replication WHERE application_name = ANY ({}) \
         AND state = 'streaming' AND pg_wal_lsn_diff(pg_current_wal_flush_lsn(), flush_lsn) < 1048576",
        full.w.max(1),
        text_array(&full.members)
    );
    let caught_up = session.query(sql, deadline)?.first().is_some_and(|row| row.is_true(0));
    Ok(if caught_up { full } else { Configuration { change: full.change, ..current.clone() } })
}

/// How long the only standby may be away before its primary goes on without it.
const GO_ON_AFTER: Duration = Duration::from_secs(3);

/// Returns the configuration without the only standby when it has been away for long and a witness can record that.
fn without_standby(
    session: &mut Session,
    voters: &Voters,
    current: &Configuration,
    deadline: Deadline,
) -> Result<Option<Configuration>> {
    if voters.peers.witness().is_none() || current.members.is_empty() {
        return Ok(None);
    }
    let sql = format!(
        "SELECT count(*) = 0 FROM pg_stat_replication WHERE application_name = ANY ({})",
        text_array(&current.members)
    );
    let away = session.query(sql, deadline)?.first().is_some_and(|row| row.is_true(0));
    let mut since = voters.missing_since.lock().unwrap_or_else(PoisonError::into_inner);
    if !away {
        *since = None;
        return Ok(None);
    }
    let now = clock::now();
    let begun = *since.get_or_insert(now);
    let change = current.change.saturating_add(1);
    Ok((now.since(begun) >= GO_ON_AFTER).then(|| configuration(voters, current.term, change, Vec::new())))
}

/// Waits until the members have on disk what this server has: a commit that was let through without them, because
/// the server hadn't read its names yet, would otherwise pass for acknowledged.
pub fn acknowledged(session: &mut Session, configuration: &Configuration, deadline: Deadline) -> Result<()> {
    if configuration.w == 0 {
        return Ok(());
    }
    let rows = session.query("SELECT pg_current_wal_flush_lsn()", deadline)?;
    let end: Lsn =
        rows.first().and_then(|row| row.get(0)).and_then(|text| text.parse().ok()).unwrap_or_default();
    let sql = format!(
        "SELECT count(DISTINCT application_name) >= {} FROM pg_stat_replication \
         WHERE application_name = ANY ({}) AND flush_lsn >= {}::pg_lsn",
        configuration.w,
        text_array(&configuration.members),
        literal(&end.to_string())
    );
    while !session.query(sql.as_str(), deadline)?.first().is_some_and(|row| row.is_true(0)) {
        if deadline.passed() {
            return Err(Error::new(Kind::TryAgain, "too few standbys have the new epoch on disk")
                .hint("does a standby of synchronous_standby_names stream from this server?"));
        }
        clock::pause(POLL);
    }
    Ok(())
}
