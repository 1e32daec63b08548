//! `pgbaton cluster init`: prepares the primary, or makes this node a standby of it.

use super::pg_rebuild_standby;
use crate::check::server;
use crate::cli::{ClusterInit, Globals, RebuildStandby};
use crate::error::{Error, Kind, Result};
use crate::host::clock::Deadline;
use crate::host::{files, process};
use crate::init::{Action, Item, apply, plan};
use crate::net::netlink::Netlink;
use crate::output::Out;
use crate::output::report::{Report, StepReport, StepStatus};
use crate::pg::conn::{ConnError, Session};
use crate::pg::facts::{self, ServerFacts};
use crate::pg::server::{DataDirectory, StartOptions};
use crate::pg::target;
use crate::rebuild::conf;
use crate::rebuild::place::Place;
use crate::rebuild::service::Start;
use crate::settings::{Node, PostgresSettings, Settings};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const VERB: &str = "cluster init";

/// Prepares this node.
pub(super) fn run(globals: &Globals, args: &ClusterInit, out: &Out) -> Result<()> {
    let mut settings = Settings::load(&globals.overrides())?;
    let local: Vec<IpAddr> =
        Netlink::open()?.addresses()?.iter().map(|address| address.address.address()).collect();
    settings.find_me(&local)?;
    for warning in &settings.warnings {
        out.warning(warning);
    }
    let me = settings.me()?.clone();
    let postgres = settings.postgres_of(&me).ok_or_else(|| {
        Error::config("there is no [postgres] in the configuration").hint("pgbaton generate config shows one")
    })?;
    if postgres.user == args.superuser {
        return Err(Error::config(format!("postgres.user is \"{}\", the superuser itself", postgres.user))
            .detail("pgbaton gets a role of its own, with the least rights and a password of its own")
            .hint("set user = \"pgbaton\" in [postgres], on every node"));
    }
    let deadline = Deadline::after(args.timeout);
    match ask_local(&postgres, &args.superuser, deadline) {
        Ok((session, facts)) if !facts.in_recovery => {
            prepare_primary(&settings, &me, &postgres, (session, facts), args, out)
        }
        Ok((session, _)) => make_standby(globals, &settings, &postgres, Some(session), args, out),
        Err(error @ (ConnError::Auth(_) | ConnError::StartingUp(_))) => {
            Err(Error::from(error).hint(format!(
                "run it as the user of the server, who connects as {}: sudo -u postgres pgbaton cluster init",
                args.superuser
            )))
        }
        Err(_) if args.create => {
            create(&settings, &postgres, args, out)?;
            if args.dry_run.dry_run {
                return Ok(());
            }
            let (session, facts) = ask_local(&postgres, &args.superuser, Deadline::after(args.timeout))?;
            prepare_primary(&settings, &me, &postgres, (session, facts), args, out)
        }
        Err(_) => make_standby(globals, &settings, &postgres, None, args, out),
    }
}

/// Makes a database cluster in an empty folder and starts it; only when no other node has a server.
fn create(settings: &Settings, postgres: &PostgresSettings, args: &ClusterInit, out: &Out) -> Result<()> {
    let directory = &postgres.data_directory;
    password_file(postgres)?;
    let place = Place::find(directory)?;
    if !place.is_empty()? {
        return Err(Error::refused(format!(
            "{} isn't empty, and its server doesn't run",
            directory.display()
        ))
        .hint("start it, or make this node a standby: leave --create out"));
    }
    for seen in server::ask_all(settings, args.timeout.min(Duration::from_secs(3))) {
        if let Ok(other) = seen.server
            && !other.facts.in_recovery
        {
            return Err(Error::refused("another node has a primary already").hint("leave --create out"));
        }
    }
    let bin = match &postgres.bin_directory {
        Some(bin) => bin.clone(),
        None => newest_programs().ok_or_else(|| {
            Error::config("can't find PostgreSQL's programs").hint("set postgres.bin_directory")
        })?,
    };
    let describe =
        format!("make a database cluster in {} with {}", directory.display(), bin.join("initdb").display());
    let mut report = Report::new(VERB);
    report.changed = true;
    if args.dry_run.dry_run {
        report.dry_run = true;
        report.steps.push(StepReport::new("initdb", describe, StepStatus::Planned));
        "would make a database cluster, start it and prepare it as the primary".clone_into(&mut report.msg);
        return out.report(&report);
    }
    let deadline = Deadline::after(args.timeout);
    let mut command = Command::new(bin.join("initdb"));
    command.args(["--data-checksums", "--auth-local=peer", "--auth-host=scram-sha-256", "-U"]);
    command.arg(&args.superuser).arg("-D").arg(directory).current_dir("/").env("LC_MESSAGES", "C");
    let output = process::run(command, deadline)?;
    if !output.status.success() {
        return Err(Error::failed("initdb failed").detail(output.complaint()));
    }
    let file = directory.join("postgresql.conf");
    let text = apply::read(&file)?.unwrap_or_default();
    let sockets = postgres.socket_directory.display().to_string();
    let text = conf::with_settings(
        &text,
        &[("port", postgres.port.to_string()), ("unix_socket_directories", sockets)],
    );
    files::write_atomic(&file, text.as_bytes(), 0o600)?;
    let data = DataDirectory::open(directory)?;
    let log = directory.join("pgbaton-start.log");
    data.start(&StartOptions { bin_dir: bin, as_standby: false, log, config_file: None }, deadline)?;
    report.steps.push(StepReport::new("initdb", describe, StepStatus::Done));
    out.preface(report);
    Ok(())
}

/// Returns the programs of the newest major that is installed where packages put them.
fn newest_programs() -> Option<PathBuf> {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut majors: Vec<u32> =
        debian.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok()).collect();
    majors.sort_unstable();
    let folders = majors.iter().rev().map(|major| PathBuf::from(format!("/usr/lib/postgresql/{major}/bin")));
    folders.chain(["/usr/bin".into(), "/usr/local/pgsql/bin".into()]).find(|bin| bin.join("initdb").exists())
}

fn ask_local(
    postgres: &PostgresSettings,
    superuser: &str,
    deadline: Deadline,
) -> Result<(Session, ServerFacts), ConnError> {
    let as_superuser = PostgresSettings { user: superuser.to_owned(), ..postgres.clone() };
    let mut session = Session::connect(&target::local(&as_superuser, "cluster-init"), deadline)?;
    let facts = facts::observe(&mut session, deadline)?;
    Ok((session, facts))
}

/// Prepares the primary of the cluster.
fn prepare_primary(
    settings: &Settings,
    me: &Node,
    postgres: &PostgresSettings,
    (mut session, facts): (Session, ServerFacts),
    args: &ClusterInit,
    out: &Out,
) -> Result<()> {
    if !facts.superuser {
        return Err(Error::new(Kind::Permission, format!("{} is no superuser", args.superuser))
            .hint("name one with --superuser"));
    }
    let deadline = Deadline::after(args.timeout);
    let passwords = password_file(postgres)?;
    let seen = apply::look(&mut session, &facts, postgres, passwords.clone(), deadline)?;
    let known = seen.passwords.1.as_deref().is_some_and(|text| !text.is_empty());
    if seen.role.password && !known {
        return Err(Error::refused(format!(
            "the role {} has a password that isn't in {}",
            postgres.user,
            passwords.display()
        ))
        .hint(format!(
            "add the line *:*:*:{}:PASSWORD there, mode 0600; or: ALTER ROLE {} PASSWORD NULL",
            postgres.user, postgres.user
        )));
    }
    let items = plan::primary(settings, me, postgres, &seen);
    let mut report = Report::new(VERB);
    report.dry_run = args.dry_run.dry_run;
    let mut restart = Vec::new();
    for item in &items {
        if let Some(Action::Setting { name, restart: true, .. }) = &item.action {
            restart.push(*name);
        }
        if let Err(error) = step(&mut report, item, Some(&mut session), postgres, &passwords, deadline) {
            let error = if report.changed { error.with_kind(Kind::Partial) } else { error };
            report.fail(&error);
            out.report(&report)?;
            return Err(error);
        }
    }
    if facts.major() < 15 {
        report.warnings.push(format!(
            "before PostgreSQL 15 a failover without loss needs a superuser: ALTER ROLE {} SUPERUSER, if you want that",
            postgres.user
        ));
    }
    let pending = session.query(
        "SELECT string_agg(name, ', ' ORDER BY name) FROM pg_settings WHERE pending_restart",
        deadline,
    )?;
    let pending = pending.first().and_then(|row| row.get(0)).map(str::to_owned);
    let waits = if report.dry_run && !restart.is_empty() { Some(restart.join(", ")) } else { pending };
    if let Some(waits) = waits {
        report
            .warnings
            .push(format!("restart PostgreSQL on {} when it suits you: {waits} waits for it", me.name));
    }
    report.msg = match (report.changed, report.dry_run) {
        (true, true) => format!("would prepare {} as the primary of {}", me.name, settings.cluster.name),
        (true, false) => format!("{} is prepared as the primary of {}", me.name, settings.cluster.name),
        (false, _) => {
            format!("unchanged: {} is prepared as the primary of {}", me.name, settings.cluster.name)
        }
    };
    report.add("node", me.name.as_str());
    report.add("role", "primary");
    out.report(&report)?;
    next(settings, me, postgres, &passwords, out);
    Ok(())
}

/// Says what comes after the primary.
fn next(settings: &Settings, me: &Node, postgres: &PostgresSettings, passwords: &Path, out: &Out) {
    let others: Vec<&str> =
        settings.nodes.iter().filter(|node| node.name != me.name).map(|node| node.name.as_str()).collect();
    let file = settings.file.as_deref().map_or_else(String::new, |file| file.display().to_string());
    out.status(&format!(
        "next: copy {file} to {others}, and the line of {role} in {passwords} to the same file there (mode 0600);\n\
         on each of them: pgbaton cluster init; then, on every node: systemctl enable --now pgbaton, pgbaton cluster check",
        others = others.join(" and "),
        role = postgres.user,
        passwords = passwords.display(),
    ));
}

/// Opens this node's `pg_hba.conf`, and has the rebuild make a standby.
fn make_standby(
    globals: &Globals,
    settings: &Settings,
    postgres: &PostgresSettings,
    mut session: Option<Session>,
    args: &ClusterInit,
    out: &Out,
) -> Result<()> {
    let passwords = password_file(postgres)?;
    let mut before = Report::new(VERB);
    before.dry_run = args.dry_run.dry_run;
    if let Some(hba) = host_based_file(postgres) {
        let text = apply::read(&hba)?.unwrap_or_default();
        let item = plan::host_based(settings, postgres, &hba, &text);
        step(&mut before, &item, session.as_mut(), postgres, &passwords, Deadline::after(args.timeout))?;
    }
    drop(session);
    out.preface(before);
    let rebuild = RebuildStandby { dry_run: args.dry_run, ..RebuildStandby::default() };
    pg_rebuild_standby::run(globals, &rebuild, out).map_err(|error| match error.kind() {
        Kind::Permission => error.hint(format!(
            "has {} the line of {} that the primary's has, and was \"pgbaton cluster init\" run on the primary?",
            passwords.display(),
            postgres.user
        )),
        _ => error,
    })
}

/// Carries out or shows one item.
fn step(
    report: &mut Report,
    item: &Item,
    session: Option<&mut Session>,
    postgres: &PostgresSettings,
    passwords: &Path,
    deadline: Deadline,
) -> Result<()> {
    let Some(action) = &item.action else {
        report.steps.push(StepReport::new(item.step, &item.describe, StepStatus::Unchanged));
        return Ok(());
    };
    if report.dry_run {
        report.changed = true;
        report.steps.push(StepReport::new(item.step, &item.describe, StepStatus::Planned));
        return Ok(());
    }
    let begun = crate::host::clock::now();
    match apply::apply(session, action, postgres, passwords, deadline) {
        Ok(detail) => {
            report.changed = true;
            let took = crate::host::clock::now().since(begun);
            let mut done = StepReport::new(item.step, &item.describe, StepStatus::Done).took(took);
            done.detail = detail;
            report.steps.push(done);
            Ok(())
        }
        Err(error) => {
            report.steps.push(
                StepReport::new(item.step, &item.describe, StepStatus::Failed).detail(error.to_string()),
            );
            Err(error)
        }
    }
}

/// Returns the password file of the server's user, which must be who runs this.
fn password_file(postgres: &PostgresSettings) -> Result<PathBuf> {
    let me = rustix::process::geteuid().as_raw();
    let owner = postgres
        .data_directory
        .ancestors()
        .find_map(|path| std::fs::metadata(path).ok())
        .map(|about| about.uid());
    if let Some(owner) = owner.filter(|owner| *owner != me && (me == 0 || *owner != 0)) {
        let name = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(owner)).ok().flatten();
        let name = name.map_or_else(|| owner.to_string(), |user| user.name);
        return Err(Error::new(Kind::Permission, "the data directory belongs to another user")
            .detail(format!("{} belongs to {name}", postgres.data_directory.display()))
            .hint(format!("sudo -u {name} pgbaton cluster init")));
    }
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
    let home = std::env::var_os("HOME").map(PathBuf::from).or_else(|| user.map(|user| user.dir));
    home.map(|home| home.join(".pgpass")).ok_or_else(|| Error::config("this user has no home directory"))
}

/// Returns the `pg_hba.conf` that is on this node already; one in an empty folder comes with the copy.
fn host_based_file(postgres: &PostgresSettings) -> Option<PathBuf> {
    let data = DataDirectory::open(&postgres.data_directory).ok();
    let beside = data.as_ref().and_then(|data| {
        let start = Start::detect(None, &postgres.data_directory, data.version(), None);
        start.config_file().and_then(Path::parent).map(|folder| folder.join("pg_hba.conf"))
    });
    beside
        .filter(|file| file.exists())
        .or_else(|| Some(postgres.data_directory.join("pg_hba.conf")).filter(|file| file.exists()))
}
