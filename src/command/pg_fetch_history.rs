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
use crate::pg::conn::{ConnSettings, Host};
use crate::pg::fetch::{self, Fetched, Wanted};
use crate::pg::histories::{self, HistoryFile, LARGEST};
use crate::pg::lsn::{SystemId, Timeline};
use crate::pg::server::DataDirectory;
use crate::pg::target;
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
                Transport::Replication => {
                    fetch::by_replication(&source.conn, wanted(args.timeline), deadline)
                }
                Transport::Sql => fetch::by_sql(&source.conn, wanted(args.timeline), deadline),
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

const fn wanted(timelines: Timelines) -> Wanted {
    match timelines {
        Timelines::All => Wanted::All,
        Timelines::One(number) => match Timeline::new(number.get()) {
            Some(timeline) => Wanted::One(timeline),
            None => Wanted::All,
        },
    }
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
        fetch::assemble(system_id, newest.unwrap_or(Timeline::FIRST), self::wanted(wanted), |timeline| {
            let name = timeline.history_file_name();
            Ok(ssh.read_file(&wal.join(&name), LARGEST)?.map(|content| (name, content)))
        })
    })
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
