//! The primary that a rebuild follows: which one it is, and what has to be known of it.

use super::decision::{Promotion, Source, Tablespace};
use super::wal;
use crate::error::{Error, Kind, Result};
use crate::host::clock::Deadline;
use crate::pg::conn::{ConnError, ConnSettings, Host, Session};
use crate::pg::facts::{self, ServerFacts};
use crate::pg::history::History;
use crate::pg::lsn::{Lsn, Timeline};
use crate::pg::sql::literal;
use crate::promotion::rules::{Configuration, Register};
use crate::settings::libpq::SslMode;
use serde::Deserialize;

/// A connection to the primary, opened when it is needed.
#[derive(Debug)]
pub struct SourceServer {
    /// The node's name, or its address.
    pub name: String,
    /// How it is reached.
    pub conn: ConnSettings,
    session: Option<Session>,
}

/// What only a rebuild asks.
#[derive(Debug, Deserialize)]
struct More {
    full_page_writes: bool,
    segment_size: u64,
    tablespaces: Option<Vec<Tablespace>>,
    size: u64,
    wal: Option<String>,
}

/// The most octets of the primary's configuration that are read.
const LARGEST: u64 = 4 << 20;

const MORE: &str = "SELECT json_build_object(\
    'full_page_writes', current_setting('full_page_writes')::bool, \
    'segment_size', (SELECT setting::int8 FROM pg_settings WHERE name = 'wal_segment_size'), \
    'tablespaces', (SELECT json_agg(json_build_object('oid', oid::int8, 'path', pg_tablespace_location(oid)) ORDER BY oid) \
        FROM pg_tablespace WHERE pg_tablespace_location(oid) <> ''), \
    'size', ((SELECT sum(pg_tablespace_size(oid)) FROM pg_tablespace) \
        + (SELECT coalesce(sum(size), 0) FROM pg_ls_waldir()))::int8, \
    'wal', (SELECT string_agg(name, ',') FROM pg_ls_waldir()))";

impl SourceServer {
    /// Creates the handle.
    pub fn new(name: impl Into<String>, conn: ConnSettings) -> Self {
        Self { name: name.into(), conn, session: None }
    }

    /// Returns a session that works.
    pub fn session(&mut self, deadline: Deadline) -> Result<&mut Session> {
        if self.session.as_ref().is_none_or(|session| session.spent().is_some()) {
            let session = Session::connect(&self.conn, deadline)
                .map_err(|error| Error::from(error).detail(format!("the primary is {}", self.name)))?;
            self.session = Some(session);
        }
        self.session.as_mut().ok_or_else(|| Error::new(Kind::Unreachable, "no session"))
    }

    /// Asks what kind of server it is.
    pub fn facts(&mut self, deadline: Deadline) -> Result<ServerFacts> {
        Ok(facts::observe(self.session(deadline)?, deadline)?)
    }

    /// Asks everything; refuses a server that isn't a primary.
    pub fn observe(&mut self, deadline: Deadline) -> Result<(ServerFacts, Source)> {
        let rows = self.session(deadline)?.query(MORE, deadline).map_err(rights)?;
        let text = rows.first().and_then(|row| row.get(0)).unwrap_or_default();
        let more: More = serde_json::from_str(text)
            .map_err(|error| Error::failed(format!("can't read what {} says", self.name)).detail(error))?;
        let facts = self.facts(deadline)?;
        let name = self.name.clone();
        let unseen = |what: &str| Error::failed(format!("{name} doesn't tell its {what}"));
        let (false, Some(primary)) = (facts.in_recovery, facts.primary) else {
            return Err(Error::refused(format!("{} is a standby, not a primary", self.name))
                .hint("pgbaton cluster status"));
        };
        let timeline = facts.timeline.ok_or_else(|| unseen("timeline"))?;
        let history = self.history(timeline, deadline)?;
        let segment_size = more.segment_size;
        let own = |tli: Timeline| tli == timeline || history.fork_of(tli).is_some();
        let segments = more.wal.as_deref().unwrap_or_default().split(',');
        let oldest_segment = segments
            .filter_map(|name| wal::parse_segment(name, segment_size))
            .filter(|(tli, _)| own(*tli))
            .map(|(_, number)| number)
            .min();
        let source = Source {
            name: name.clone(),
            system_id: facts.system_id.ok_or_else(|| unseen("system identifier"))?,
            major: facts.major(),
            timeline,
            end: primary.flush,
            history,
            epoch: facts.epoch.as_ref().map(|epoch| Promotion { term: epoch.term, id: epoch.promotion_id }),
            full_page_writes: more.full_page_writes,
            oldest_segment,
            segment_size,
            tablespaces: more.tablespaces.unwrap_or_default(),
            size: more.size,
        };
        Ok((facts, source))
    }

    /// Returns the confirmed term that it holds; `None` when there never was one.
    ///
    /// # Errors
    /// [`Kind::TryAgain`] when its term isn't confirmed: nobody may attach to it.
    pub fn confirmed(&mut self, facts: &ServerFacts, deadline: Deadline) -> Result<Option<Configuration>> {
        let own = self.register(deadline)?;
        super::register::tenure(&self.name, &own, facts.epoch.as_ref())
    }

    /// Reads what it has promised and knows as confirmed.
    pub fn register(&mut self, deadline: Deadline) -> Result<Register> {
        let path = literal(super::conf::AUTO_CONF);
        let sql = format!("SELECT encode(pg_read_binary_file({path}, 0, {LARGEST}, true), 'hex')");
        let rows = self.session(deadline)?.query(sql, deadline).map_err(rights)?;
        let bytes = rows.first().and_then(|row| row.get(0)).map(from_hex).unwrap_or_default();
        super::register::in_file(&String::from_utf8_lossy(&bytes))
            .map_err(|error| error.detail(format!("the configuration of {}", self.name)))
    }

    /// Reads the history of a timeline.
    pub fn history(&mut self, timeline: Timeline, deadline: Deadline) -> Result<History> {
        match self.history_text(timeline, deadline)? {
            None => Ok(History::root(timeline)),
            Some(bytes) => History::parse(timeline, &String::from_utf8_lossy(&bytes))
                .map_err(|error| Error::failed(format!("the history file of {}: {error}", self.name))),
        }
    }

    /// Reads the bytes of a history file; `None` when there is none.
    pub fn history_text(&mut self, timeline: Timeline, deadline: Deadline) -> Result<Option<Vec<u8>>> {
        self.wal_bytes(&timeline.history_file_name(), 0, 1 << 20, deadline)
    }

    /// Reads a part of a file in the primary's `pg_wal`; `None` when there is no such file.
    pub fn wal_bytes(
        &mut self,
        name: &str,
        offset: u64,
        length: u64,
        deadline: Deadline,
    ) -> Result<Option<Vec<u8>>> {
        let path = literal(&format!("pg_wal/{name}"));
        let sql = format!("SELECT encode(pg_read_binary_file({path}, {offset}, {length}, true), 'hex')");
        let rows = self.session(deadline)?.query(sql, deadline).map_err(rights)?;
        Ok(rows.first().and_then(|row| row.get(0)).map(from_hex))
    }

    /// Returns the end of its log on disk.
    pub fn end(&mut self, deadline: Deadline) -> Result<Lsn> {
        let rows = self.session(deadline)?.query("SELECT pg_current_wal_flush_lsn()", deadline)?;
        let text = rows.first().and_then(|row| row.get(0)).unwrap_or_default();
        text.parse().map_err(|error| Error::failed(format!("{error}")))
    }

    /// Returns how libpq reaches it, as keywords.
    pub fn conninfo(&self, major: u32) -> super::conf::ConnInfo {
        let mut info = super::conf::ConnInfo::default();
        self.point(&mut info, major);
        info
    }

    /// Makes a connection string lead to it.
    ///
    /// What protects the connection is handed on as far as this major's libpq knows it; what the string says itself
    /// stays.
    pub fn point(&self, info: &mut super::conf::ConnInfo, major: u32) {
        info.remove("hostaddr");
        match &self.conn.host {
            Host::Tcp(ip, _) => info.set("host", &ip.to_string()),
            Host::Name(name, _) => info.set("host", name),
            Host::Unix(folder, _) => info.set("host", &folder.to_string_lossy()),
        }
        // A certificate that is made out to a name is checked by that name, wherever the server is.
        if let (Host::Tcp(ip, _), Some(name), SslMode::VerifyFull) =
            (&self.conn.host, &self.conn.tls_name, self.conn.tls.mode)
            && *name != ip.to_string()
        {
            info.set("host", name);
            info.set("hostaddr", &ip.to_string());
        }
        for (name, value) in &self.conn.handed_on {
            if info.get(name).is_none() && crate::pg::target::known_since(name) <= major {
                info.set(name, value);
            }
        }
        info.set("port", &self.conn.host.port().to_string());
        if info.get("user").is_none() {
            info.set("user", &self.conn.user);
        }
    }
}

fn rights(error: ConnError) -> Error {
    let denied = error.sqlstate() == Some("42501");
    let error = Error::from(error);
    if denied {
        error.hint("GRANT EXECUTE ON FUNCTION pg_read_binary_file(text, bigint, bigint, boolean) TO the role, and pg_monitor; or connect as a superuser")
    } else {
        error
    }
}

fn from_hex(text: &str) -> Vec<u8> {
    let digit = |octet: &u8| char::from(*octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.as_bytes()
        .chunks_exact(2)
        .filter_map(|pair| match pair {
            [high, low] => Some((digit(high)? << 4) | digit(low)?),
            _ => None,
        })
        .collect()
}
