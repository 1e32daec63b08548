//! `cluster pause` and `cluster resume`: maintenance, during which no daemon changes who serves.

use crate::cli::{ClusterPause, ClusterResume, Globals};
use crate::daemon::setup;
use crate::error::{Error, Result};
use crate::host::clock::Deadline;
use crate::output::Out;
use crate::output::report::{Report, StepReport, StepStatus};
use crate::pg::conn::{ConnSettings, Session};
use crate::pg::gates::PeerAnswer;
use crate::pg::{pause, peer, target};
use crate::settings::Settings;
use std::time::Duration;

pub(super) fn pause(globals: &Globals, args: &ClusterPause, out: &Out) -> Result<()> {
    let reason = args.reason.clone().unwrap_or_else(|| "maintenance".to_owned());
    change(globals, "cluster pause", Some(&reason), args.timeout, args.dry_run.dry_run, out)
}

pub(super) fn resume(globals: &Globals, args: &ClusterResume, out: &Out) -> Result<()> {
    change(globals, "cluster resume", None, args.timeout, args.dry_run.dry_run, out)
}

fn change(
    globals: &Globals,
    verb: &str,
    reason: Option<&str>,
    timeout: Duration,
    dry_run: bool,
    out: &Out,
) -> Result<()> {
    let settings = super::pg_promote::settings(globals)?
        .ok_or_else(|| Error::config("there is no configuration").hint("pgbaton generate config"))?;
    let deadline = Deadline::after(timeout);
    let (node, conn) = primary(&settings, verb, deadline)?;
    let what = if reason.is_some() { "paused: no daemon changes who serves" } else { "watched over again" };
    let mut report = Report::new(verb);
    report.dry_run = dry_run;
    let mut step = StepReport::new(
        "record-pause",
        format!("record in the database of {node} that the cluster is {what}"),
        StepStatus::Planned,
    );
    if dry_run {
        report.changed = true;
        report.msg = format!("would make it so that the cluster is {what}");
    } else {
        let mut session = Session::connect(&conn, deadline)?;
        report.changed = pause::set(&mut session, reason, deadline)?;
        step.status = if report.changed { StepStatus::Done } else { StepStatus::Unchanged };
        report.msg = format!("{}the cluster is {what}", if report.changed { "" } else { "unchanged: " });
    }
    report.steps.push(step);
    out.report(&report)
}

/// Finds the node whose server is the primary of the newest term.
pub(super) fn primary(settings: &Settings, verb: &str, deadline: Deadline) -> Result<(String, ConnSettings)> {
    let mut places: Vec<(String, ConnSettings)> =
        setup::peers(settings, verb).iter().map(|peer| (peer.name.clone(), peer.conn.clone())).collect();
    if let Ok(me) = settings.me()
        && let Some(postgres) = settings.postgres_of(me)
    {
        places.push((me.name.clone(), target::local(&postgres, verb)));
    }
    let asked: Vec<_> = places
        .into_iter()
        .map(|(node, conn)| {
            std::thread::spawn(move || {
                (peer::ask(&node, &conn, deadline.within(Duration::from_secs(2))), conn)
            })
        })
        .collect();
    let answers = asked.into_iter().filter_map(|thread| thread.join().ok());
    let primaries = answers.filter_map(|(view, conn)| match &view.answer {
        PeerAnswer::Primary(server) => Some((server.term, view.node, conn)),
        _ => None,
    });
    primaries.max_by_key(|(term, ..)| *term).map(|(_, node, conn)| (node, conn)).ok_or_else(|| {
        Error::new(crate::error::Kind::Unreachable, "no node answers as the primary")
            .hint("pgbaton cluster status")
            .hint("was PostgreSQL restarted during maintenance? it came back as a standby: pgbaton pg promote there")
    })
}
