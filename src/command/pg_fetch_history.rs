//! `pg fetch-history`: the timeline history files of another server, into `pg_wal` or an archive.
//!
//! settings → ask (one server after another, in one way after another) → check → plan → apply → report. A standby that
//! only restores from an archive needs the file there to follow a promotion; a server that is about to be promoted
//! needs it to choose a timeline that nobody has; a diverged one needs it to refuse its start.

use crate::cli::{FetchHistory, Globals, Timelines, Transport};
use crate::command::{finish, pg_promote};
use crate::error::{Error, Kind, Result};
use crate::host::clock::Deadline;
use crate::host::files::read_optional;
use crate::net::netlink::Netlink;
use crate::output::Out;
use crate::pg::conn::{ConnError, ConnSettings, Host, Session};
use crate::pg::histories::{self, HistoryFile, LARGEST};
use crate::pg::lsn::{SystemId, Timeline};
use crate::pg::server::DataDirectory;
use crate::pg::walsender::WalSender;
use crate::pg::{facts, sql, target};
use crate::plan::apply::World;
use crate::plan::{Plan, Step};
use crate::settings::{PostgresSettings, Settings};
use crate::ssh::session;
use crate::ssh::target::Target;
use serde_json::{Map, Value, json};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// A server that can be asked.
struct Source {
    name: String,
    conn: ConnSettings,
    /// Where it is reached by SSH, and its data directory there.
    ssh: Option<(Target, PathBuf)>,
}

/// What a server has.
struct Fetched {
    system_id: SystemId,
    newest: Timeline,
    files: Vec<HistoryFile>,
    /// Ancestors whose file the server doesn't have.
    missing: Vec<Timeline>,
}

pub(super) fn run(globals: &Globals, args: &FetchHistory, out: &Out) -> Result<()> {
    let settings = settings(globals, args)?;
    let data = local_data(settings.as_ref(), args)?;
    let sources = sources(settings.as_ref(), args)?;
    let mut folders = Vec::new();
    match &data {
        Some(data) if !args.no_pg_wal => folders.push(data.path().join("pg_wal")),
        None if !args.no_pg_wal => {
            return Err(Error::config("it isn't known where the local data directory is").hint(
                "name it with --data-directory, or write only into an archive: --to-archive DIR --no-pg-wal",
            ));
        }
        _ => {}
    }
    if let Some(archive) = &args.to_archive {
        if !archive.is_dir() {
            return Err(Error::config(format!("there is no archive folder \"{}\"", archive.display())));
        }
        folders.push(archive.clone());
    }
    let (source, transport, fetched, tried) = ask_all(&sources, args)?;
    let mut plan = Plan::new("pg fetch-history", goal(&fetched, &folders));
    plan.warnings = tried.iter().map(|error| format!("{error}")).collect();
    match &data {
        Some(data) if data.system_id()? != fetched.system_id => {
            return Err(Error::refused(format!("{} is of another cluster", source.name)).detail(format!(
                "its system identifier is {}, that of {} is {}",
                fetched.system_id,
                data.path().display(),
                data.system_id()?
            )));
        }
        Some(_) => {}
        None => {
            plan.warnings.push("without a data directory the system identifier can't be compared".to_owned());
        }
    }
    for timeline in &fetched.missing {
        plan.warnings.push(format!("{} has no {}", source.name, timeline.history_file_name()));
    }
    for folder in &folders {
        for file in &fetched.files {
            check_parents(folder, file)?;
            let same = histories::compare(folder, file.timeline(), &file.content)?;
            let step = Step::WriteHistory {
                timeline: file.timeline(),
                folder: folder.clone(),
                content: file.content.clone(),
            };
            plan.step(step, same.then(|| "the same file is there".to_owned()));
        }
    }
    let extra = document(source, transport, &fetched);
    if args.dry_run.dry_run {
        return finish::dry_run_with(out, &plan, extra);
    }
    finish::apply_with(out, &plan, &mut World::new(), Deadline::after(args.timeout), extra)
}

fn goal(fetched: &Fetched, folders: &[PathBuf]) -> String {
    let places: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    match fetched.files.last() {
        None => format!("the server is on timeline {}, which has no history file", fetched.newest),
        Some(last) => {
            format!("the history of timeline {} is in {}", last.timeline(), places.join(" and "))
        }
    }
}

fn document(source: &Source, transport: Transport, fetched: &Fetched) -> Map<String, Value> {
    let files: Vec<String> = fetched.files.iter().map(|file| file.timeline().history_file_name()).collect();
    let mut extra = Map::new();
    extra.insert("from".to_owned(), json!(source.name));
    extra.insert("transport".to_owned(), json!(transport.name()));
    extra.insert("timeline".to_owned(), json!(fetched.newest));
    extra.insert("system_id".to_owned(), json!(fetched.system_id));
    extra.insert("files".to_owned(), json!(files));
    extra
}

fn settings(globals: &Globals, args: &FetchHistory) -> Result<Option<Settings>> {
    let Some(mut settings) = Settings::load_if_present(&globals.overrides())? else { return Ok(None) };
    let local: Vec<IpAddr> =
        Netlink::open()?.addresses()?.iter().map(|address| address.address.address()).collect();
    match settings.find_me(&local) {
        Err(error) if args.data_directory.is_none() && !args.no_pg_wal => Err(error),
        _ => Ok(Some(settings)),
    }
}

fn local_data(settings: Option<&Settings>, args: &FetchHistory) -> Result<Option<DataDirectory>> {
    let configured = || {
        let settings = settings?;
        settings.postgres_of(settings.me().ok()?).map(|postgres| postgres.data_directory)
    };
    args.data_directory.clone().or_else(configured).map(|path| DataDirectory::open(&path)).transpose()
}

/// Finds the servers to ask: the one that was named, or every other node.
fn sources(settings: Option<&Settings>, args: &FetchHistory) -> Result<Vec<Source>> {
    let adjusted = |mut postgres: PostgresSettings| {
        postgres.port = args.port.unwrap_or(postgres.port);
        if let Some(user) = &args.user {
            postgres.user.clone_from(user);
        }
        // A person can wait longer than a failover.
        postgres.connect_timeout = args.timeout;
        postgres
    };
    let nodes: Vec<&crate::settings::Node> = settings.map_or_else(Vec::new, |settings| match &args.from {
        Some(name) => settings.nodes.iter().filter(|node| &node.name == name).collect(),
        None => settings.peers().collect(),
    });
    let mut sources = Vec::new();
    for node in nodes {
        let Some(settings) = settings else { continue };
        let Some(postgres) = settings.postgres_of(node).map(adjusted) else { continue };
        let folder = args.remote_data_directory.clone().unwrap_or_else(|| postgres.data_directory.clone());
        sources.push(Source {
            name: node.name.clone(),
            conn: target::peer(node, &postgres, "pg fetch-history"),
            ssh: Some((Target::node(settings, node)?, folder)),
        });
    }
    if !sources.is_empty() {
        return Ok(sources);
    }
    let Some(host) = &args.from else {
        return Err(Error::new(Kind::Usage, "it isn't said which server to ask")
            .hint("pgbaton pg fetch-history --from HOST --data-directory DIR"));
    };
    let base = settings.and_then(|settings| settings.postgres.clone());
    let postgres = adjusted(base.unwrap_or_else(|| PostgresSettings::new(PathBuf::new())));
    let place = if host.starts_with('/') {
        Host::Unix(PathBuf::from(host), postgres.port)
    } else {
        Host::Tcp(pg_promote::address(host)?, postgres.port)
    };
    let ssh = match &args.remote_data_directory {
        Some(folder) if !host.starts_with('/') => {
            let ssh = settings.map(|settings| settings.ssh.clone()).unwrap_or_default();
            Some((Target::host(&ssh, host)?, folder.clone()))
        }
        _ => None,
    };
    Ok(vec![Source {
        name: host.clone(),
        conn: target::with_host(place, &postgres, "pg fetch-history"),
        ssh,
    }])
}

/// Asks until one way at one server works; what is wrong with a file isn't tried elsewhere.
fn ask_all<'a>(
    sources: &'a [Source],
    args: &FetchHistory,
) -> Result<(&'a Source, Transport, Fetched, Vec<Error>)> {
    let mut tried: Vec<Error> = Vec::new();
    for source in sources {
        for transport in &args.transport {
            let deadline = Deadline::after(args.timeout);
            let answer = match transport {
                Transport::Replication => by_replication(source, args.timeline, deadline),
                Transport::Sql => by_sql(source, args.timeline, deadline),
                Transport::Ssh => by_ssh(source, args.timeline, deadline),
            };
            match answer {
                Ok(fetched) => return Ok((source, *transport, fetched, tried)),
                Err(error) if error.kind() == Kind::Refused => return Err(error),
                Err(error) => tried.push(Error::new(
                    error.kind(),
                    format!("{} by {}: {error}", source.name, transport.name()),
                )),
            }
        }
    }
    let all: Vec<String> = tried.iter().map(ToString::to_string).collect();
    // A way that isn't configured says less than an answer.
    let telling = tried.iter().find(|error| error.kind() != Kind::Config).or(tried.last());
    let kind = telling.map_or(Kind::Unreachable, Error::kind);
    Err(Error::new(kind, "no server could be asked for its timeline history").detail(all.join("\n")))
}

fn by_replication(source: &Source, wanted: Timelines, deadline: Deadline) -> Result<Fetched> {
    let conn = target::for_replication(&source.conn);
    let mut sender = WalSender::connect(&conn, deadline)?;
    let identity = sender.identify(deadline)?;
    collect(identity.system_id, identity.timeline, wanted, |timeline| Ok(sender.history(timeline, deadline)?))
}

fn by_sql(source: &Source, wanted: Timelines, deadline: Deadline) -> Result<Fetched> {
    let mut session = Session::connect(&source.conn, deadline)?;
    let seen = facts::observe(&mut session, deadline)?;
    let (Some(system_id), Some(newest)) = (seen.system_id, seen.timeline) else {
        return Err(Error::new(
            Kind::Permission,
            "this role may not see the system identifier and the timeline",
        )
        .hint("connect as a superuser or a member of pg_monitor"));
    };
    collect(system_id, newest, wanted, |timeline| {
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

fn by_ssh(source: &Source, wanted: Timelines, deadline: Deadline) -> Result<Fetched> {
    let Some((place, folder)) = source.ssh.clone() else {
        return Err(Error::config("the data directory at the other end isn't known")
            .hint("name it with --remote-data-directory"));
    };
    session::with(&place, deadline, move |ssh| {
        let control = folder.join("global/pg_control");
        let bytes = ssh.read_file(&control, 64 * 1024)?.unwrap_or_default();
        let id = bytes.first_chunk().copied().map(u64::from_ne_bytes);
        let system_id = id.map(SystemId).ok_or_else(|| {
            Error::failed("there is no control file at the other end").detail(control.display())
        })?;
        let wal = folder.join("pg_wal");
        let names = ssh.list(&wal)?;
        let newest = names.iter().filter_map(|name| Timeline::of_history_file(name)).max();
        collect(system_id, newest.unwrap_or(Timeline::FIRST), wanted, |timeline| {
            let name = timeline.history_file_name();
            Ok(ssh.read_file(&wal.join(&name), LARGEST)?.map(|content| (name, content)))
        })
    })
}

/// Fetches what is wanted and checks that it fits together.
fn collect(
    system_id: SystemId,
    newest: Timeline,
    wanted: Timelines,
    mut fetch: impl FnMut(Timeline) -> Result<Option<(String, Vec<u8>)>>,
) -> Result<Fetched> {
    let first = match wanted {
        Timelines::All => newest,
        Timelines::One(number) => Timeline::new(number.get()).unwrap_or(newest),
    };
    let mut fetched = Fetched { system_id, newest, files: Vec::new(), missing: Vec::new() };
    if first == Timeline::FIRST && wanted == Timelines::All {
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
    if wanted == Timelines::All {
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

/// Refuses a file whose ancestors are in the folder with another past.
fn check_parents(folder: &Path, file: &HistoryFile) -> Result<()> {
    for fork in file.history.forks().iter().filter(|fork| fork.parent != Timeline::FIRST) {
        let name = fork.parent.history_file_name();
        let limit = u64::try_from(LARGEST).unwrap_or(u64::MAX);
        if let Some(there) = read_optional(&folder.join(&name), limit)? {
            let there = HistoryFile::check(&name, there).map_err(|error| error.detail(folder.display()))?;
            file.agrees_with(&there).map_err(|error| error.detail(folder.display()))?;
        }
    }
    Ok(())
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
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
        let fetched = collect(ID, tli(3), Timelines::All, server).unwrap();
        let names: Vec<u32> = fetched.files.iter().map(|file| file.timeline().get()).collect();
        assert_eq!(names, [2, 3]);
        let one = Timelines::One(std::num::NonZeroU32::new(2).unwrap());
        assert_eq!(collect(ID, tli(3), one, server).unwrap().files.len(), 1);
    }

    #[test]
    fn the_first_timeline_has_no_file() {
        assert!(collect(ID, tli(1), Timelines::All, server).unwrap().files.is_empty());
        let one = Timelines::One(std::num::NonZeroU32::MIN);
        let error = collect(ID, tli(3), one, server).err().unwrap();
        assert!(error.detail_text().unwrap().contains("nothing came before it"));
    }

    #[test]
    fn a_server_that_sends_another_file_than_the_one_asked_for_is_refused() {
        let liar = |_| Ok(Some(("../../etc/passwd".to_owned(), b"1\t0/40\tx\n".to_vec())));
        assert_eq!(collect(ID, tli(2), Timelines::All, liar).err().unwrap().kind(), Kind::Refused);
        let broken = |timeline: Timeline| Ok(Some((timeline.history_file_name(), b"nonsense".to_vec())));
        assert_eq!(collect(ID, tli(2), Timelines::All, broken).err().unwrap().kind(), Kind::Refused);
    }

    #[test]
    fn hexadecimal_is_read_strictly() {
        assert_eq!(from_hex("00fF"), Some(vec![0, 255]));
        assert_eq!(from_hex("0"), None);
        assert_eq!(from_hex("0g"), None);
    }
}
