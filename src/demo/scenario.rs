//! One demo from beginning to end: build, write, break, watch, count, take away.

use crate::cli::Fault;
use crate::demo::client::{Ledger, Manner, Verdict, Writer, rows_present};
use crate::demo::host::Host;
use crate::demo::lab::{Lab, LabOptions};
use crate::demo::patience::Patience;
use crate::demo::present::summary_pairs;
use crate::demo::report::{ClientReport, DemoReport, Happening, Returned, SCHEMA, millis, since_fault};
use crate::demo::story::{Story, happening, headline, undone};
use crate::error::{Error, Kind, Result};
use crate::host::clock::{Deadline, now};
use crate::output::timeline::{Timeline, render_svg};
use crate::units::Moment;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The client writes for at least this long before the fault, and after the first commit that follows it.
const STEADY: Duration = Duration::from_secs(1);
/// Commits before the fault, at least.
const WARM: usize = 100;
/// How long the client may take to get going.
const WARM_LIMIT: Duration = Duration::from_secs(30);
/// Added to the master-down interval: how long a failover may take before the demo gives up.
const FAILOVER_LIMIT: Duration = Duration::from_secs(60);
/// How long a returned old primary is watched.
const RETURN_LIMIT: Duration = Duration::from_secs(15);
/// How often the daemons are asked for news.
const NEWS: Duration = Duration::from_millis(25);
/// How long reading all rows may take.
const COUNT_LIMIT: Duration = Duration::from_secs(30);

/// What to show.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// What befalls node1.
    pub fault: Fault,
    /// The lab.
    pub lab: LabOptions,
    /// Whether to leave everything running.
    pub keep: bool,
    /// Where the picture goes; `None`: into the folder for temporary files.
    pub svg: Option<PathBuf>,
}

/// Is told what happens while it happens.
pub trait Observer {
    /// A part of the lab is being built.
    fn building(&self, what: &str);
    /// The lab is ready.
    fn ready(&self, lab: &Lab);
    /// Something has happened; times before the fault are negative.
    fn happened(&self, happening: &Happening);
}

/// An observer that looks away.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unseen;

impl Observer for Unseen {
    fn building(&self, _: &str) {}
    fn ready(&self, _: &Lab) {}
    fn happened(&self, _: &Happening) {}
}

/// Runs a demo and returns what it measured, with its timeline.
///
/// The lab is gone when this returns, also on errors and when a signal has ended the patience; with `keep`
/// it stays.
pub fn run(
    options: &DemoOptions,
    patience: &Arc<Patience>,
    observer: &dyn Observer,
) -> Result<(DemoReport, Timeline)> {
    let mut lab = Lab::create(options.lab.clone(), Arc::clone(patience), &|what| observer.building(what))?;
    observer.ready(&lab);
    let played = play(options.fault, &lab, observer)?;
    let mut report = count(options, &lab, &played)?;
    let subtitle = format!(
        "{} nodes, PostgreSQL {}, an advert every {} ms, {}",
        report.nodes,
        report.postgres_version,
        report.advert_ms,
        if options.lab.sync { "synchronous replication" } else { "asynchronous replication" }
    );
    let timeline = played.story.timeline(subtitle, summary_pairs(&report));
    report.svg = Some(save_picture(options, &render_svg(&timeline))?);
    if options.keep {
        lab.keep();
        report.kept = true;
    } else {
        lab.destroy()?;
    }
    Ok((report, timeline))
}

/// Writes the picture where it was wanted, or into the folder for temporary files.
fn save_picture(options: &DemoOptions, picture: &str) -> Result<PathBuf> {
    let problem = |path: &Path, error: std::io::Error| {
        Error::failed("can't write the picture").detail(path.display()).detail(error)
    };
    if let Some(path) = &options.svg {
        return std::fs::write(path, picture).map(|()| path.clone()).map_err(|error| problem(path, error));
    }
    let path = std::env::temp_dir().join(format!("pgbaton-demo-{}.svg", options.fault.name()));
    // Anybody can put a link there, and this runs as root: never write through what is there already.
    std::fs::remove_file(&path).ok();
    let file = OpenOptions::new().write(true).create_new(true).open(&path);
    file.and_then(|mut file| file.write_all(picture.as_bytes())).map_err(|error| problem(&path, error))?;
    Ok(path)
}

/// The story with what only the lab's clients know.
struct Played {
    story: Story,
    local: Option<Ledger>,
    writing_since: Moment,
}

fn play(fault: Fault, lab: &Lab, observer: &dyn Observer) -> Result<Played> {
    let old = lab.host("node1")?;
    let writing_since = now();
    let writer = Writer::start(&lab.client, "client", lab.vip(), Manner::Eager)?;
    // A fault that the old primary survives is watched from there, too: by a client that never lets go of it.
    let returns = matches!(fault, Fault::Freeze | Fault::Partition);
    let local = returns
        .then(|| {
            Writer::start(&old.namespace, "local", SocketAddr::from((old.address, 5432)), Manner::Stubborn)
        })
        .transpose()?;
    // Without them the fault would meet a cluster that nobody would call one.
    for standby in lab.members().filter(|host| host.name != old.name) {
        let streams = || Ok(old.streams_to(&standby.name).unwrap_or(false).then_some(()));
        lab.patience().until(
            &format!("{} to stream from {}", standby.name, old.name),
            WARM_LIMIT,
            streams,
        )?;
    }
    lab.patience().until("the client to write", WARM_LIMIT, || {
        let warm = writer.look(|ledger| ledger.acknowledged.len() >= WARM);
        Ok((warm && now().since(writing_since) >= STEADY).then_some(()))
    })?;
    let fault_at = strike(fault, old)?;
    let mut news = News::new(lab, fault_at, observer);
    news.tell("lab", "fault", headline(fault, &old.name), fault_at);
    let limit = lab.options.advert.saturating_mul(4) + FAILOVER_LIMIT;
    let first = news.watch(limit, || {
        Ok(writer.look(|ledger| {
            let found = ledger.first_by_other(fault_at, &old.name)?;
            Some((found, ledger.server_name(found.server).to_owned()))
        }))
    });
    let (first, new) = first.map_err(|error| explain_no_takeover(error, lab))?;
    news.ask()?;
    news.tell("client", "first-commit", format!("the first commit on {new} is acknowledged"), first.at);
    news.watch(STEADY + STEADY, || Ok((now().since(first.at) >= STEADY).then_some(())))?;
    let undone_at = if returns { Some(give_back(fault, old, &mut news)?) } else { None };
    let ledger = writer.finish();
    let outage = ledger.outage(fault_at).ok_or_else(|| Error::failed("the client saw no outage"))?;
    let records = news.into_records();
    Ok(Played {
        story: Story { fault, fault_at, undone_at, old: old.name.clone(), new, records, ledger, outage },
        local: local.map(Writer::finish),
        writing_since,
    })
}

fn strike(fault: Fault, host: &Host) -> Result<Moment> {
    match fault {
        Fault::Power => host.power_off(),
        Fault::Postgres => host.kill_postmaster(),
        Fault::Freeze => host.freeze(),
        Fault::Partition => host.cut(),
        Fault::Switchover => {
            let at = now();
            host.resign().map(|_| at)
        }
    }
}

/// Ends the fault and watches the old primary until it has stopped its server, or for a while.
fn give_back(fault: Fault, old: &Host, news: &mut News<'_>) -> Result<Moment> {
    let at = if fault == Fault::Freeze { old.thaw() } else { old.heal()? };
    news.tell("lab", "undone", undone(fault, &old.name), at);
    let deadline = Deadline::after(RETURN_LIMIT);
    let settled = |news: &News<'_>| news.seen(&old.name, "fenced", at);
    while !deadline.passed() && !settled(news) {
        news.ask()?;
    }
    // Its last words arrive after the fence: one more look.
    news.ask()?;
    Ok(at)
}

fn explain_no_takeover(error: Error, lab: &Lab) -> Error {
    if error.message() == "interrupted" {
        return error;
    }
    let mut explained = Error::new(Kind::Failed, "no other node took over").detail(error);
    for host in lab.hosts.iter().skip(1) {
        let last = host.events().ok().and_then(|events| events.into_iter().next_back());
        if let Some(event) = last {
            explained = explained.detail(format!("{}: {} ({})", host.name, event.text, event.kind));
        }
    }
    explained.hint("run it again with --keep and read the daemons' logs")
}

fn count(options: &DemoOptions, lab: &Lab, played: &Played) -> Result<DemoReport> {
    let story = &played.story;
    let ledger = &story.ledger;
    let new = lab.host(&story.new)?;
    let rows = ledger.verify(&rows_present(&new.server_socket(), "client", COUNT_LIMIT)?);
    let returned = match (&played.local, story.undone_at) {
        (Some(local), Some(at)) => {
            let verdict = local.verify(&rows_present(&new.server_socket(), "local", COUNT_LIMIT)?);
            Some(returned(story, local, verdict, at))
        }
        _ => None,
    };
    let before = ledger.acknowledged.iter().filter(|found| found.at <= story.fault_at).count();
    let before = f64::from(u32::try_from(before).unwrap_or(u32::MAX));
    let seconds = story.fault_at.since(played.writing_since).as_secs_f64();
    Ok(DemoReport {
        schema: SCHEMA,
        verb: "demo",
        fault: story.fault.name(),
        nodes: lab.hosts.len(),
        advert_ms: millis(options.lab.advert),
        availability: options.lab.availability.clone(),
        postgres_version: lab.server_version()?,
        built_ms: millis(lab.built_in),
        fault_at_ns: story.fault_at,
        old_primary: story.old.clone(),
        new_primary: story.new.clone(),
        stages: story.stages(),
        write_outage_ms: millis(story.outage.length()),
        last_commit_ms: since_fault(story.outage.from, story.fault_at),
        first_commit_ms: since_fault(story.outage.to, story.fault_at),
        rows,
        client: ClientReport {
            attempts: ledger.attempts,
            sent: ledger.sent,
            commits_per_second: (before / seconds.max(0.001)).round(),
            errors: ledger.errors.clone(),
        },
        returned,
        events: story.happenings(),
        svg: None,
        kept: false,
    })
}

fn returned(story: &Story, local: &Ledger, local_rows: Verdict, at: Moment) -> Returned {
    let promoted = story.promoted_at();
    let of_old = |ledger: &Ledger| {
        ledger
            .acknowledged
            .iter()
            .rev()
            .find(|found| found.at > promoted && ledger.server_name(found.server) == story.old)
            .map(|found| found.at)
    };
    let last = of_old(local).max(of_old(&story.ledger));
    let relative = |moment: Moment| since_fault(moment, story.fault_at);
    Returned {
        at_ms: relative(at),
        acknowledged_after_promotion: local.count_by(&story.old, promoted)
            + story.ledger.count_by(&story.old, promoted),
        both_acknowledged_ms: last.map_or(0.0, |moment| millis(moment.since(promoted))),
        local_rows,
        vip_removed_ms: story.first_event_after(&story.old, "vip-removed", story.fault_at).map(relative),
        fenced_ms: story.first_event_after(&story.old, "fenced", story.fault_at).map(relative),
    }
}

/// Collects the daemons' records, and passes on what is new.
struct News<'a> {
    lab: &'a Lab,
    fault: Moment,
    observer: &'a dyn Observer,
    records: BTreeMap<String, Vec<crate::demo::control::Event>>,
}

impl<'a> News<'a> {
    fn new(lab: &'a Lab, fault: Moment, observer: &'a dyn Observer) -> Self {
        Self { lab, fault, observer, records: BTreeMap::new() }
    }

    fn tell(&self, source: &str, event: &str, text: String, at: Moment) {
        self.observer.happened(&Happening {
            at_ms: since_fault(at, self.fault),
            source: source.to_owned(),
            event: event.to_owned(),
            text,
        });
    }

    /// Asks every daemon that lives for its record.
    ///
    /// A host that is off or frozen doesn't answer: one that is known to be dead isn't asked at all.
    fn ask(&mut self) -> Result<()> {
        let mut fresh = Vec::new();
        for host in &self.lab.hosts {
            if host.daemon_end().is_some() || host.is_frozen() {
                continue;
            }
            let Ok(events) = host.events() else { continue };
            // A step that is noted by its begin may stand behind what happened meanwhile.
            let known =
                self.records.get(&host.name).and_then(|record| record.iter().map(|event| event.at).max());
            let known = known.unwrap_or(self.fault);
            fresh.extend(
                events
                    .iter()
                    .filter(|event| event.at > known)
                    .map(|event| happening(&host.name, event, self.fault)),
            );
            if !events.is_empty() {
                self.records.insert(host.name.clone(), events);
            }
        }
        fresh.sort_by(|left, right| left.at_ms.total_cmp(&right.at_ms));
        for happening in &fresh {
            self.observer.happened(happening);
        }
        self.lab.patience().pause(NEWS)
    }

    fn watch<T>(&mut self, limit: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        let deadline = Deadline::after(limit);
        loop {
            self.ask()?;
            if let Some(found) = look()? {
                return Ok(found);
            }
            if deadline.passed() {
                return Err(Error::new(Kind::TryAgain, format!("nothing came in {} s", limit.as_secs_f32())));
            }
        }
    }

    fn seen(&self, node: &str, kind: &str, after: Moment) -> bool {
        self.records
            .get(node)
            .is_some_and(|record| record.iter().any(|event| event.at >= after && event.kind == kind))
    }

    fn into_records(mut self) -> Vec<(String, Vec<crate::demo::control::Event>)> {
        // In the order of the hosts; a host that never answered has an empty record.
        self.lab
            .hosts
            .iter()
            .map(|host| (host.name.clone(), self.records.remove(&host.name).unwrap_or_default()))
            .collect()
    }
}
