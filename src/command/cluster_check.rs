//! `pgbaton cluster check`: what would make a failover, a rebuild or a hand-over fail; `--fix` mends what is safe.

mod arrival;
mod peers;

use super::cluster_status::Collector;
use crate::check::finding::{Finding, Fix, Fixed, Level};
use crate::check::{Findings, host, judge, server};
use crate::cli::{ClusterCheck, Globals};
use crate::daemon::setup;
use crate::error::{Error, Kind, Result};
use crate::host::clock::Deadline;
use crate::output::paint::{Paint, Tone};
use crate::output::status::{Severity, problems};
use crate::output::{Out, clean, wrapped};
use crate::pg::conn::Session;
use crate::pg::setting;
use crate::settings::{Settings, WitnessTransport};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

/// Checks, shows what was found, and mends it if that was asked for.
pub(super) fn run(globals: &Globals, args: &ClusterCheck, out: &Out) -> Result<()> {
    let settings = Settings::load(&globals.overrides())?;
    let spinner = out.spinner("asking every node");
    // Finds out which node this is, too.
    let mut collector = Collector::new(settings, args.timeout);
    let settings = collector.settings().clone();
    // All at once: a node that doesn't answer costs its timeout once.
    let (view, nodes, host) = std::thread::scope(|scope| {
        let servers =
            settings.postgres.is_some().then(|| scope.spawn(|| server::ask_all(&settings, args.timeout)));
        let machine = scope.spawn(|| host::look(&settings, args.timeout));
        let view = collector.collect();
        let nodes = servers.map(std::thread::ScopedJoinHandle::join).transpose();
        (view, nodes, machine.join())
    });
    let early = |_| Error::failed("the asking thread ended early");
    let (nodes, host) = (nodes.map_err(early)?.unwrap_or_default(), host.map_err(early)?);
    drop(spinner);
    let mut findings = judge(&settings, &nodes, host.as_ref());
    // What `cluster status` knows to be wrong now comes first: nothing else matters while it is.
    let mut current = Findings::default();
    for problem in problems(&view) {
        let level = match problem.severity {
            Severity::Critical => Level::Error,
            Severity::Warning => Level::Warning,
            // Notes of the set-up are found here with more words.
            Severity::Note => continue,
        };
        let finding = Finding::new(problem.code, level, problem.message)
            .why("this is wrong now; see cluster status")
            .mend(problem.hint);
        current.add(problem.node.as_deref(), finding);
    }
    findings.found.splice(0..0, current.found);
    for warning in &settings.warnings {
        findings
            .add(None, Finding::new("configuration", Level::Note, warning).mend("pgbaton vrrp check-config"));
    }
    witness(&mut findings, &settings, args.timeout);
    let mut changed = args.fix.then(|| mend(&mut findings, &settings, args.timeout));
    let elsewhere = peers::look(&mut findings, &settings, args);
    changed = changed.map(|changed| changed || elsewhere);
    if args.peers && settings.nodes.len() > 1 {
        arrival::look(&mut findings, &settings, args.timeout);
    }
    findings.sort();
    let at = view.at.as_str();
    if out.is_json() {
        out.json(&document(&findings, &settings, at, changed))?;
    } else {
        out.result(&render(&findings, &settings, out))?;
    }
    if findings.is_fine() {
        return Ok(());
    }
    let (errors, warnings) = (findings.count(Level::Error), findings.count(Level::Warning));
    let error = Error::failed(format!(
        "{} found on the cluster {}",
        counted(&[(errors, "error"), (warnings, "warning")]),
        settings.cluster.name
    ));
    let fixable = findings.found.iter().filter(|finding| finding.fixable && finding.fixed.is_none()).count();
    Err(match changed {
        Some(true) => error.with_kind(Kind::Partial).detail("some were mended"),
        None if fixable > 0 => error.hint(format!("--fix mends {fixable} of them")),
        _ => error,
    })
}

/// Asks the witness for its register, as a promotion would.
fn witness(findings: &mut Findings, settings: &Settings, timeout: Duration) {
    let Some(witness) = &settings.witness else { return };
    let peers = setup::peers(settings, "cluster check");
    let Some(answer) = peers.witness().map(|peer| peer.ask(Deadline::after(timeout))) else { return };
    let (address, user) = (witness.address, witness.user.as_deref().unwrap_or("postgres"));
    let mend = match witness.transport {
        WitnessTransport::Ssh => {
            format!("as the daemon's user: ssh -o BatchMode=yes {user}@{address} 'command -v flock sync'")
        }
        WitnessTransport::Postgres => {
            format!("psql -h {address} -U {user} -d {} -c 'SELECT 1'", witness.database)
        }
    };
    let silent = (!answer.answered()).then(|| {
        Finding::new("", Level::Error, format!("the witness doesn't answer: {}", answer.answer))
            .why("without its vote the standby isn't promoted, and a primary without its standby can't go on")
            .mend(mend)
    });
    findings.check("witness", None, silent);
}

/// Mends what is safe to mend; returns whether anything was changed.
fn mend(findings: &mut Findings, settings: &Settings, timeout: Duration) -> bool {
    let mut changed = false;
    for finding in &mut findings.found {
        let Some(fix) = &finding.fix else { continue };
        let fixed = match apply(fix, finding.node.as_deref(), settings, timeout) {
            Ok(fixed) => fixed,
            Err(error) => Fixed::Failed { why: error.to_string() },
        };
        changed |= !matches!(fixed, Fixed::Failed { .. });
        finding.fixed = Some(fixed);
    }
    changed
}

fn apply(fix: &Fix, node: Option<&str>, settings: &Settings, timeout: Duration) -> Result<Fixed> {
    if let Fix::Mode(file, mode) = fix {
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(*mode))
            .map_err(|error| Error::failed(format!("can't change {}", file.display())).detail(error))?;
        return Ok(Fixed::Done);
    }
    let position = settings.nodes.iter().position(|other| Some(other.name.as_str()) == node);
    let ways = position.map(|position| server::ways(settings, position, timeout)).unwrap_or_default();
    let deadline = Deadline::after(timeout);
    let mut last = Error::failed("there is no way to that server");
    for way in &ways {
        let mut session = match Session::connect(way, deadline) {
            Ok(session) => session,
            Err(error) => {
                last = error.into();
                continue;
            }
        };
        return match fix {
            Fix::Setting { name, value, restart } => {
                setting::set(&mut session, name, value, deadline)?;
                Ok(if *restart { Fixed::Restart } else { Fixed::Done })
            }
            Fix::Statement(statement) => {
                session.execute(statement.as_str(), deadline)?;
                Ok(Fixed::Done)
            }
            Fix::Mode(..) => Ok(Fixed::Done),
        };
    }
    Err(last)
}

fn document(findings: &Findings, settings: &Settings, at: &str, changed: Option<bool>) -> serde_json::Value {
    serde_json::json!({
        "schema": 1,
        "cluster": settings.cluster.name,
        "at": at,
        "asked_from": settings.me().ok().map(|node| node.name.as_str()),
        "ok": findings.is_fine(),
        "changed": changed.unwrap_or(false),
        "errors": findings.count(Level::Error),
        "warnings": findings.count(Level::Warning),
        "notes": findings.count(Level::Note),
        "findings": findings.found,
        "skipped": findings.skipped,
        "passed": findings.passed,
    })
}

fn counted(parts: &[(usize, &str)]) -> String {
    let words: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}{}", if *count == 1 { "" } else { "s" }))
        .collect();
    words.join(", ")
}

fn render(findings: &Findings, settings: &Settings, out: &Out) -> String {
    let (paint, width) = (out.paint(), out.width());
    let counts = counted(&[
        (findings.count(Level::Error), "error"),
        (findings.count(Level::Warning), "warning"),
        (findings.count(Level::Note), "note"),
    ]);
    let tone = match findings.found.first().map(|finding| finding.level) {
        Some(Level::Error) => Tone::Bad,
        Some(Level::Warning) => Tone::Warn,
        _ => Tone::Good,
    };
    let verdict = if counts.is_empty() { "nothing to mend".to_owned() } else { counts };
    let mut text = format!(
        "cluster {}: {}; {} checks passed, {} not made\n",
        paint.with(Tone::Strong, clean(&settings.cluster.name)),
        paint.with(tone, verdict),
        findings.passed.len(),
        findings.skipped.len(),
    );
    for finding in &findings.found {
        text.push('\n');
        text.push_str(&rendered(finding, paint, width));
    }
    if !findings.skipped.is_empty() {
        text.push('\n');
    }
    for skipped in &findings.skipped {
        let who = skipped.node.as_deref().map_or_else(String::new, |node| format!("{node}: "));
        field(
            &mut text,
            "not checked",
            Tone::Dim,
            &format!("{who}{}: {}", skipped.check, skipped.why),
            0,
            (paint, width),
        );
    }
    if out.is_verbose() {
        text.push('\n');
        for passed in &findings.passed {
            let who = passed.node.as_deref().map_or_else(String::new, |node| format!("{node}: "));
            field(&mut text, "passed", Tone::Good, &format!("{who}{}", passed.check), 0, (paint, width));
        }
    }
    text
}

fn rendered(finding: &Finding, paint: Paint, width: usize) -> String {
    let (word, tone) = match finding.level {
        Level::Error => ("error", Tone::Bad),
        Level::Warning => ("warning", Tone::Warn),
        Level::Note => ("note", Tone::Accent),
    };
    let who = finding.node.as_deref().map_or_else(String::new, |node| format!("{node}: "));
    let look = (paint, width);
    let mut text = String::new();
    field(&mut text, word, tone, &format!("{who}{}", finding.what), 0, look);
    if !finding.why.is_empty() {
        field(&mut text, "why", Tone::Dim, &finding.why, 2, look);
    }
    if !finding.mend.is_empty() {
        field(&mut text, "mend", Tone::Accent, &finding.mend, 2, look);
    }
    match &finding.fixed {
        None => {}
        Some(Fixed::Done) => field(&mut text, "mended", Tone::Good, "done", 2, look),
        Some(Fixed::Restart) => {
            field(&mut text, "mended", Tone::Good, "set; it counts once the server is restarted", 2, look);
        }
        Some(Fixed::Failed { why }) => field(&mut text, "not mended", Tone::Bad, why, 2, look),
    }
    text
}

/// Writes `label: words`, broken into lines that fit.
fn field(text: &mut String, label: &str, tone: Tone, words: &str, indent: usize, look: (Paint, usize)) {
    let (paint, width) = look;
    let hang = indent + label.len() + 2;
    let label = paint.with(tone, format_args!("{label}:"));
    for (position, line) in wrapped(&clean(words), width.saturating_sub(hang).max(20)).iter().enumerate() {
        if position == 0 {
            text.push_str(&format!("{}{label} {line}\n", " ".repeat(indent)));
        } else {
            text.push_str(&format!("{}{line}\n", " ".repeat(hang)));
        }
    }
}
