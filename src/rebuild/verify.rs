//! The end of a rebuild: a started server is no proof. It must stream, on the right timeline, from behind.

use super::observe;
use super::source::SourceServer;
use crate::error::{Error, Kind, Result};
use crate::host::clock::Deadline;
use crate::pg::conn::{ConnSettings, Session};
use crate::pg::facts;
use crate::pg::lsn::Lsn;
use crate::pg::server::DataDirectory;
use std::time::Duration;

/// How long a standby may stand still without streaming.
const STILL: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// Waits until the standby streams; returns a sentence about it.
pub fn streaming(
    data: &DataDirectory,
    local: &ConnSettings,
    server: &mut SourceServer,
    node: &str,
    deadline: Deadline,
) -> Result<String> {
    let mut still = deadline.within(STILL);
    let mut furthest = Lsn::ZERO;
    let mut seen;
    loop {
        let Some(postmaster) = data.postmaster()? else {
            return Err(Error::failed("the server ended before it streamed")
                .detail(data.path().display())
                .hint("what does its log say?"));
        };
        let conn = observe::local_conn(local, &postmaster);
        let until = deadline.within(Duration::from_secs(5));
        let standby =
            Session::connect(&conn, until).and_then(|mut session| facts::observe(&mut session, until));
        match standby {
            Ok(standby) if !standby.in_recovery => {
                return Err(Error::failed("the server came up as a primary")
                    .detail(data.path().display())
                    .hint("stop it now: two primaries take writes"));
            }
            Ok(standby) => {
                let primary = server.facts(deadline)?;
                if primary.in_recovery {
                    return Err(Error::new(
                        Kind::TryAgain,
                        format!("{} isn't a primary any more", server.name),
                    )
                    .hint("pgbaton cluster status"));
                }
                let end = standby.end().unwrap_or(Lsn::ZERO);
                let there = primary.end().unwrap_or(Lsn::ZERO);
                let timeline = primary.timeline;
                // The primary was asked later: a position beyond its end is of another log.
                if end > there {
                    return Err(Error::failed(format!(
                        "the standby is ahead of {}: it isn't the same log",
                        server.name
                    ))
                    .detail(format!("{end} against {there}"))
                    .hint("run it again with --method basebackup"));
                }
                if timeline.is_some_and(|timeline| observe::streams(&standby, &primary, timeline, node)) {
                    return Ok(format!("at {end}, {} bytes behind", there.ahead_of(end)));
                }
                let status = standby.receiver.as_ref().and_then(|receiver| receiver.status.clone());
                seen = format!(
                    "it has replayed up to {end}, {} is at {there}; its receiver is {}",
                    server.name,
                    status.as_deref().unwrap_or("not running")
                );
                if end > furthest {
                    furthest = end;
                    still = deadline.within(STILL);
                }
            }
            Err(error) => seen = error.to_string(),
        }
        if still.passed() || deadline.passed() {
            return Err(Error::new(
                Kind::Failed,
                format!("the server runs but doesn't stream from {}", server.name),
            )
            .detail(seen)
            .hint(
                "what does its log say? the role needs REPLICATION and a line in pg_hba.conf of the primary",
            ));
        }
        super::tools::pause(POLL);
    }
}
