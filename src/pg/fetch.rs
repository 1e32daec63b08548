//! The timeline history files of other servers: asked for over the replication protocol or by SQL, and checked.
//!
//! `pg fetch-history` writes them where they are missing; a promotion wants those of every peer that answers, because
//! a server takes the first timeline number of which it has no file, and two that take the same one can't be told apart
//! by their histories.

use super::conn::{ConnError, ConnSettings, Session};
use super::histories::HistoryFile;
use super::lsn::{Lsn, SystemId, Timeline};
use super::walsender::WalSender;
use super::{facts, sql, target};
use crate::error::{Error, Kind, Result};
use crate::host::clock::Deadline;

/// What a server has.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The cluster it belongs to.
    pub system_id: SystemId,
    /// The timeline it is on.
    pub newest: Timeline,
    /// The files, oldest first.
    pub files: Vec<HistoryFile>,
    /// Ancestors whose file the server doesn't have.
    pub missing: Vec<Timeline>,
}

/// Which files are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// That of the newest timeline and those of its ancestors.
    All,
    /// That of one timeline.
    One(Timeline),
}

/// What the peers have.
#[derive(Debug, Clone, Default)]
pub struct Collected {
    /// The files, each with the peer it is from.
    pub files: Vec<(String, HistoryFile)>,
    /// The peers whose files couldn't be had.
    pub missing: Vec<String>,
}

/// Asks every peer at once for its history files; one that doesn't answer in time is named and skipped.
pub fn from_peers(peers: Vec<(String, ConnSettings)>, system_id: SystemId, deadline: Deadline) -> Collected {
    let ask = move |conn: &ConnSettings| {
        by_replication(conn, Wanted::All, deadline).or_else(|_| by_sql(conn, Wanted::All, deadline))
    };
    let questions: Vec<_> = peers
        .into_iter()
        .map(|(name, conn)| {
            let asked = std::thread::Builder::new().name("history".to_owned()).spawn(move || ask(&conn));
            (name, asked)
        })
        .collect();
    let mut collected = Collected::default();
    for (name, asked) in questions {
        match asked.map(std::thread::JoinHandle::join) {
            // Another cluster's timelines are nobody's business here.
            Ok(Ok(Ok(fetched))) if fetched.system_id != system_id => {}
            Ok(Ok(Ok(fetched))) => {
                collected.files.extend(fetched.files.into_iter().map(|file| (name.clone(), file)));
            }
            _ => collected.missing.push(name),
        }
    }
    collected
}

impl Collected {
    /// Leaves the files out that a standby would follow: those that leave its timeline where it hasn't got to yet.
    ///
    /// A running standby takes up such a timeline as its own future, and what is promoted then would name it as its
    /// parent.
    pub fn without_futures(mut self, timeline: Timeline, end: Lsn) -> Self {
        let future = |file: &HistoryFile| file.history.fork_of(timeline).is_some_and(|at| at > end);
        let (out, files) = std::mem::take(&mut self.files).into_iter().partition(|(_, file)| future(file));
        self.files = files;
        let out: Vec<(String, HistoryFile)> = out;
        self.missing.extend(out.into_iter().map(|(name, _)| name));
        self.missing.sort();
        self.missing.dedup();
        self
    }
}

/// Asks over the replication protocol.
pub fn by_replication(conn: &ConnSettings, wanted: Wanted, deadline: Deadline) -> Result<Fetched> {
    let conn = target::for_replication(conn);
    let mut sender = WalSender::connect(&conn, deadline)?;
    let identity = sender.identify(deadline)?;
    assemble(
        identity.system_id,
        identity.timeline,
        wanted,
        |timeline| Ok(sender.history(timeline, deadline)?),
    )
}

/// Asks by SQL.
pub fn by_sql(conn: &ConnSettings, wanted: Wanted, deadline: Deadline) -> Result<Fetched> {
    let mut session = Session::connect(conn, deadline)?;
    let seen = facts::observe(&mut session, deadline)?;
    let (Some(system_id), Some(newest)) = (seen.system_id, seen.timeline) else {
        return Err(Error::new(
            Kind::Permission,
            "this role may not see the system identifier and the timeline",
        )
        .hint("connect as a superuser or a member of pg_monitor"));
    };
    assemble(system_id, newest, wanted, |timeline| {
        let name = timeline.history_file_name();
        let path = sql::literal(&format!("pg_wal/{name}"));
        let rows = session.query(format!("SELECT encode(pg_read_binary_file({path}), 'hex')"), deadline);
        match rows {
            Err(ConnError::Other(state, _)) if state == "58P01" => Ok(None),
            other => {
                let content = other?.first().and_then(|row| from_hex(row.get(0)?));
                let unreadable = || Error::failed("the server's answer can't be read");
                content.map(|content| Some((name, content))).ok_or_else(unreadable)
            }
        }
    })
}

/// Fetches what is wanted and checks that it fits together.
pub fn assemble(
    system_id: SystemId,
    newest: Timeline,
    wanted: Wanted,
    mut fetch: impl FnMut(Timeline) -> Result<Option<(String, Vec<u8>)>>,
) -> Result<Fetched> {
    let first = match wanted {
        Wanted::All => newest,
        Wanted::One(timeline) => timeline,
    };
    let mut fetched = Fetched { system_id, newest, files: Vec::new(), missing: Vec::new() };
    if first == Timeline::FIRST && wanted == Wanted::All {
        return Ok(fetched);
    }
    let mut get = |timeline: Timeline| -> Result<Option<HistoryFile>> {
        let Some((name, content)) = fetch(timeline)? else { return Ok(None) };
        // The name decides where it is written, so it must be the one that was asked for.
        if name != timeline.history_file_name() {
            let message = format!("timeline {timeline} was asked for and another file came");
            return Err(Error::refused(message).detail(name.escape_debug()));
        }
        HistoryFile::check(&name, content).map(Some).map_err(|error| error.with_kind(Kind::Refused))
    };
    let Some(last) = get(first)? else {
        let error = Error::failed(format!("the server has no history file of timeline {first}"));
        return Err(if first == Timeline::FIRST {
            error.detail("the first timeline has none: nothing came before it")
        } else {
            error
        });
    };
    if wanted == Wanted::All {
        for fork in last.history.forks().iter().filter(|fork| fork.parent != Timeline::FIRST) {
            match get(fork.parent)? {
                Some(file) => {
                    last.agrees_with(&file)?;
                    fetched.files.push(file);
                }
                // A first promotion by pg_resetwal, or an old file that was removed.
                None => fetched.missing.push(fork.parent),
            }
        }
    }
    fetched.files.push(last);
    Ok(fetched)
}

/// Reads what `encode(…, 'hex')` wrote.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let octet = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    rest.is_empty().then(|| pairs.iter().map(octet).collect()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: SystemId = SystemId(7);

    fn tli(number: u32) -> Timeline {
        Timeline::new(number).unwrap()
    }

    #[expect(clippy::unnecessary_wraps, reason = "it stands in for a server, which can fail")]
    fn server(timeline: Timeline) -> Result<Option<(String, Vec<u8>)>> {
        let text = match timeline.get() {
            3 => "1\t0/40\tx\n\n2\t0/50\tx\n",
            2 => "1\t0/40\tx\n",
            _ => return Ok(None),
        };
        Ok(Some((timeline.history_file_name(), text.as_bytes().to_vec())))
    }

    #[test]
    fn all_means_the_newest_and_its_ancestors_oldest_first() {
        let fetched = assemble(ID, tli(3), Wanted::All, server).unwrap();
        let names: Vec<u32> = fetched.files.iter().map(|file| file.timeline().get()).collect();
        assert_eq!(names, [2, 3]);
        let one = Wanted::One(tli(2));
        assert_eq!(assemble(ID, tli(3), one, server).unwrap().files.len(), 1);
    }

    #[test]
    fn the_first_timeline_has_no_file() {
        assert!(assemble(ID, tli(1), Wanted::All, server).unwrap().files.is_empty());
        let one = Wanted::One(tli(1));
        let error = assemble(ID, tli(3), one, server).err().unwrap();
        assert!(error.detail_text().unwrap().contains("nothing came before it"));
    }

    #[test]
    fn a_server_that_sends_another_file_than_the_one_asked_for_is_refused() {
        let liar = |_| Ok(Some(("../../etc/passwd".to_owned(), b"1\t0/40\tx\n".to_vec())));
        assert_eq!(assemble(ID, tli(2), Wanted::All, liar).err().unwrap().kind(), Kind::Refused);
        let broken = |timeline: Timeline| Ok(Some((timeline.history_file_name(), b"nonsense".to_vec())));
        assert_eq!(assemble(ID, tli(2), Wanted::All, broken).err().unwrap().kind(), Kind::Refused);
    }

    #[test]
    fn hexadecimal_is_read_strictly() {
        assert_eq!(from_hex("00fF"), Some(vec![0, 255]));
        assert_eq!(from_hex("0"), None);
        assert_eq!(from_hex("0g"), None);
    }
}
