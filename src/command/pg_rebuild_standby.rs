//! `pg rebuild-standby`: an old primary, a broken standby or an empty folder becomes a streaming standby.
//!
//! settings → observe (the data directory, then the primary) → decide → plan → apply → report. A rewind that turns out
//! to be impossible is decided again, as a base backup.

mod kept;
mod progress;
mod start;
mod target;

use crate::cli::{Globals, RebuildForce, RebuildMethod, RebuildStandby};
use crate::command::{finish, pg_promote};
use crate::error::{Error, Kind, Result};
use crate::host::clock::Deadline;
use crate::host::files;
use crate::host::lock::Lock;
use crate::output::Out;
use crate::output::report::Report;
use crate::pg::server::DataDirectory;
use crate::plan::Plan;
use crate::plan::apply::{self, Outcome, World};
use crate::promotion::rules::{Configuration, Register};
use crate::rebuild::decision::{
    self, Asked, Data, Decision, Method, Refusal, Role, Source, State, Target as Seen, Verdict,
};
use crate::rebuild::journal::{self, Journal, Phase};
use crate::rebuild::place::Place;
use crate::rebuild::service::Start;
use crate::rebuild::source::SourceServer;
use crate::rebuild::step::{self, Done, Outline};
use crate::rebuild::tools::Tools;
use crate::rebuild::work::{self, Work};
use crate::rebuild::{conf, kept as keeping, observe, register as vote};
use serde_json::{Map, Value, json};
use std::time::Duration;
use target::Target;

const VERB: &str = "pg rebuild-standby";
/// Looking at both sides takes no longer than this, whatever --timeout says.
const LOOK: Duration = Duration::from_secs(30);

/// What was decided, and what it was decided from.
struct Judged {
    source: Source,
    data: Option<Data>,
    verdict: Verdict,
    done: Done,
    journal: Journal,
    start: Start,
    tools: Tools,
    confirmed: Option<Configuration>,
    unfit: bool,
}

pub(super) fn run(globals: &Globals, args: &RebuildStandby, out: &Out) -> Result<()> {
    let settings = pg_promote::settings(globals)?;
    let target = Target::choose(globals, args, settings.as_ref())?;
    let place = Place::find(&target.postgres.data_directory)?;
    if args.list_kept {
        return kept::list(&place, out);
    }
    let dry_run = args.dry_run.dry_run;
    let _lock = if dry_run {
        None
    } else {
        Some(Lock::acquire(&place.beside(".rebuild.lock"), VERB, Duration::ZERO)?)
    };
    if args.drop_kept {
        return kept::remove(&place, dry_run, out);
    }
    let deadline = Deadline::after(args.timeout.unwrap_or(RebuildStandby::DEFAULT_TIMEOUT));
    if args.start_only {
        return start::only(&target, &place, deadline, dry_run, out);
    }
    let mut no_rewind = None;
    let mut earlier: Option<Outcome> = None;
    loop {
        let mut server = target.source(settings.as_ref(), args, deadline.within(LOOK))?;
        let asked = asked(args, &place, no_rewind.take());
        let judged = judge(&target, args, &place, &mut server, asked, deadline.within(LOOK))?;
        let judged = match judged {
            Ok(judged) => judged,
            Err(refusal) => return refused(out, dry_run, &refusal),
        };
        let plan = plan(&target, args, &place, &judged);
        let extra = document(&judged);
        if dry_run {
            out.status(&sentence(&judged.verdict));
            return finish::dry_run_with(out, &plan, extra);
        }
        out.status(&sentence(&judged.verdict));
        if judged.verdict.decision == Decision::Nothing {
            journal::clear(&place)?;
        }
        let auto = args.method == RebuildMethod::Auto;
        let mut world = World::with_rebuild(world(&target, args, place.clone(), server, judged));
        let mut outcome = progress::watched(out, args.events, &mut world, |world, observe| {
            apply::apply(&plan, world, deadline, observe)
        })?;
        if let Some(before) = earlier.take() {
            outcome.changed |= before.changed;
            outcome.steps.splice(0..0, before.steps);
        }
        let impossible = world.rebuild()?.no_rewind.take().filter(|_| auto);
        // Only that failure has a second way; every other one is the end of this run.
        if let Some(why) = impossible.filter(|_| outcome.error.is_some()) {
            outcome.error = None;
            out.status(&format!("a rewind isn't possible: {why}"));
            no_rewind = Some(why);
            earlier = Some(outcome);
            continue;
        }
        return report(out, &plan, outcome, extra);
    }
}

fn asked(args: &RebuildStandby, place: &Place, no_rewind: Option<String>) -> Asked {
    Asked {
        method: match args.method {
            RebuildMethod::Auto => Method::Auto,
            RebuildMethod::Rewind => Method::Rewind,
            RebuildMethod::Basebackup => Method::BaseBackup,
        },
        force_newer: args.force.contains(&RebuildForce::NewerData),
        no_rewind,
        free: place.free(),
        fixed: place.fixed(),
    }
}

/// Looks at both sides and decides; nothing is touched.
fn judge(
    target: &Target,
    args: &RebuildStandby,
    place: &Place,
    server: &mut SourceServer,
    mut asked: Asked,
    deadline: Deadline,
) -> Result<Result<Judged, Refusal>> {
    let (facts, source) = server.observe(deadline)?;
    let forced = args.force.contains(&RebuildForce::Promise);
    let earlier = journal::read(place)?;
    let own = own_register(place, earlier.as_ref())?;
    let helps = !facts.in_recovery && vote::helps(&own, &server.register(deadline)?, &source.name);
    let confirmed = match server.confirmed(&facts, deadline) {
        Ok(confirmed) => confirmed,
        Err(_) if forced || helps => None,
        Err(error) => return Err(error),
    };
    let tools = Tools {
        bin_dir: Tools::find_bin_dir(source.major, target.postgres.bin_directory.as_deref())?,
        uid: place.uid(),
        password: server.conn.password.clone(),
    };
    if args.compress.is_some() && source.major < 15 {
        return Err(Error::new(
            Kind::Usage,
            format!("--compress needs PostgreSQL 15, {} is {}", source.name, source.major),
        ));
    }
    let running = DataDirectory::open(place.data()).and_then(|data| data.postmaster()).ok().flatten();
    let running = running.map(|postmaster| postmaster.pid);
    let start = Start::detect(target.start_command.as_deref(), place.data(), source.major, running);
    let fresh = || {
        let kept = keeping::new_path(place);
        let exchanges = work::exchanges(place, &kept, &source);
        Journal { phase: Phase::Begun, kept, exchanges, register: None, names: None, mode: None }
    };
    if let Some(error) = vote::bound(&own, confirmed.as_ref(), &source.name)
        && !forced
        && !helps
    {
        return Err(error);
    }
    let unfit = own.unfit
        || earlier.iter().any(|journal| journal.register.as_ref().is_some_and(|register| register.unfit));
    let copied = |journal: &Journal| {
        journal.phase == Phase::Copied && journal.exchanges.first().is_some_and(|main| main.new.exists())
    };
    let judged = |source: &Source, data, verdict, done, journal| Judged {
        source: source.clone(),
        data,
        verdict,
        done,
        journal,
        start: start.clone(),
        tools: tools.clone(),
        confirmed: confirmed.clone(),
        unfit,
    };
    if let Some(journal) = earlier.clone().filter(copied) {
        if !place.is_empty()? && DataDirectory::open(place.data())?.postmaster()?.is_some() {
            return Err(Error::refused("a server runs on the data that is about to be replaced")
                .hint(format!("pg_ctl stop -m fast -D {}", place.data().display())));
        }
        let why = "an earlier run has copied the primary already".to_owned();
        let verdict = Verdict { decision: Decision::BaseBackup, why, fork: None };
        return Ok(Ok(judged(&source, None, verdict, Done::Copied, journal)));
    }
    if place.is_empty()? {
        let mut journal = earlier.unwrap_or_else(fresh);
        journal.exchanges = work::exchanges(place, &journal.kept, &source);
        if let Some(error) = work::in_the_way(place, &journal.exchanges) {
            return Err(error);
        }
        return Ok(decision::decide(&source, &Seen::Empty, &asked)
            .map(|verdict| judged(&source, None, verdict, Done::Nothing, journal)));
    }
    let mut seen = observe::look(place, &tools, &target.local, deadline)?;
    observe::settle(&mut seen, &target.local, deadline);
    // Asked again: whatever the standby had a moment ago, the primary has now.
    let (_, source) = server.observe(deadline)?;
    let Seen::Data(data) = observe::target(&seen, &tools, server, &source, &target.node, deadline)? else {
        return Err(Error::failed("the data directory went away while it was looked at"));
    };
    let stopped = !matches!(data.state, State::Running | State::Streaming);
    let phase = earlier.as_ref().map_or(Phase::Begun, |journal| journal.phase);
    if let Some(journal) = earlier.clone().filter(|_| phase == Phase::Rewound && stopped)
        && place.data().join("backup_label").exists()
    {
        let why = "an earlier run has rewound it already".to_owned();
        let verdict = Verdict { decision: Decision::Rewind, why, fork: None };
        return Ok(Ok(judged(&source, Some(*data), verdict, Done::Rewound, journal)));
    }
    if phase == Phase::Rewinding {
        asked.no_rewind.get_or_insert_with(|| "an earlier pg_rewind was cut short".to_owned());
    }
    let mut journal = earlier.unwrap_or_else(fresh);
    if phase != Phase::Rewinding {
        // What a finished exchange or rewind has kept is kept; this is a new one.
        journal = if phase == Phase::Begun { journal } else { fresh() };
    }
    journal.exchanges = work::exchanges(place, &journal.kept, &source);
    let decided = decision::decide(&source, &Seen::Data(data.clone()), &asked);
    if let Ok(verdict) = &decided
        && verdict.decision == Decision::BaseBackup
        && let Some(error) = work::in_the_way(place, &journal.exchanges)
    {
        return Err(error);
    }
    Ok(decided.map(|verdict| judged(&source, Some(*data), verdict, Done::Nothing, journal)))
}

/// Reads what this node has promised, wherever an earlier run has left it.
fn own_register(place: &Place, journal: Option<&Journal>) -> Result<Register> {
    let bytes = files::read_optional(&place.data().join(conf::AUTO_CONF), 16 << 20)?.unwrap_or_default();
    let file = vote::in_file(&String::from_utf8_lossy(&bytes))?;
    // Once the copy is in place, and once a rewound folder may be started again, the file is this node's.
    let untouched = journal.is_none_or(|journal| match journal.phase {
        Phase::Begun => true,
        Phase::Rewinding => false,
        Phase::Rewound => !place.is_barred(),
        Phase::Copied => !journal.exchanges.first().is_some_and(|main| main.new.exists()),
    });
    Ok(vote::own(journal.and_then(|journal| journal.register.as_ref()), &file, untouched))
}

fn plan(target: &Target, args: &RebuildStandby, place: &Place, judged: &Judged) -> Plan {
    let state = match (&judged.data, judged.done) {
        (Some(data), _) => Some(data.state),
        (None, Done::Copied) => judged.journal.kept.exists().then_some(State::Crashed),
        (None, _) => None,
    };
    let mut plan = step::plan(
        &judged.verdict,
        &Outline {
            node: target.node.clone(),
            source: judged.source.name.clone(),
            slot: target.slot.clone(),
            data: place.data().to_owned(),
            copy_to: place.beside(".new"),
            kept: judged.journal.kept.clone(),
            state,
            recover: state == Some(State::Crashed),
            bytes: judged.source.size,
            start: judged.start.to_string(),
            stop: judged.start.stop_words(target.stop_command.as_deref()),
            drop_old: args.drop_old,
            done: judged.done,
            unfit: judged.unfit,
        },
    );
    let unchecked = judged
        .data
        .as_ref()
        .is_some_and(|data| data.log == decision::LogComparison::Unknown && data.role == Role::Primary);
    if judged.verdict.decision == Decision::StartAsIs && unchecked {
        plan.warnings.push("the log here couldn't be compared with the primary's".to_owned());
    }
    plan
}

fn world(target: &Target, args: &RebuildStandby, place: Place, source: SourceServer, judged: Judged) -> Work {
    Work {
        place,
        tools: judged.tools,
        node: target.node.clone(),
        source,
        slot: target.slot.clone(),
        local: target.local.clone(),
        own_place: target.own_place.clone(),
        data: judged.data,
        major: judged.source.major,
        segment_size: judged.source.segment_size,
        start: judged.start,
        stop_command: target.stop_command.clone(),
        journal: judged.journal,
        rate: args.rate.clone(),
        compress: args.compress.map(|method| method.name().to_owned()),
        ticks: None,
        no_rewind: None,
        confirmed: judged.confirmed,
        force_promise: args.force.contains(&RebuildForce::Promise),
    }
}

fn sentence(verdict: &Verdict) -> String {
    let what = match verdict.decision {
        Decision::Nothing => "nothing to do",
        Decision::StartAsIs => "a start is enough",
        Decision::Rewind => "a rewind is needed",
        Decision::BaseBackup => "a base backup is needed",
    };
    format!("{what}: {}", verdict.why)
}

fn document(judged: &Judged) -> Map<String, Value> {
    let mut extra = Map::new();
    extra.insert("decision".to_owned(), json!(judged.verdict.decision));
    extra.insert("why".to_owned(), json!(judged.verdict.why));
    extra.insert(
        "fork".to_owned(),
        json!(judged.verdict.fork.map(|fork| json!({
            "timeline": fork.timeline, "at": fork.at.to_string()
        }))),
    );
    extra.insert("source".to_owned(), json!({
        "name": judged.source.name, "timeline": judged.source.timeline, "end": judged.source.end.to_string()
    }));
    let local = judged.data.as_ref().map(|data| {
        json!({
            "role": data.role, "state": data.state, "timeline": data.timeline, "end": data.end.to_string(),
            "log": data.log, "can_rewind": data.can_rewind
        })
    });
    extra.insert("local".to_owned(), json!(local));
    let keeps = matches!(judged.verdict.decision, Decision::Rewind | Decision::BaseBackup)
        && (judged.data.is_some() || judged.done == Done::Copied);
    extra.insert("kept".to_owned(), if keeps { json!(judged.journal.kept) } else { Value::Null });
    extra
}

fn refused(out: &Out, dry_run: bool, refusal: &Refusal) -> Result<()> {
    let mut error = Error::refused(refusal.why.clone()).detail(format!("check {}", refusal.check));
    if let Some(hint) = &refusal.hint {
        error = error.hint(hint.clone());
    }
    if out.is_json() {
        let mut report = Report::of_error(VERB, &error);
        report.dry_run = dry_run;
        report.add("check", refusal.check);
        out.report(&report)?;
    }
    Err(error)
}

fn report(out: &Out, plan: &Plan, outcome: Outcome, extra: Map<String, Value>) -> Result<()> {
    let mut report = Report::new(VERB);
    report.changed = outcome.changed;
    report.warnings = outcome.warnings;
    report.steps = outcome.steps;
    report.msg = if outcome.changed { plan.goal.clone() } else { format!("unchanged: {}", plan.goal) };
    if let Some(Value::String(kept)) =
        extra.get("kept").filter(|_| outcome.changed && outcome.error.is_none())
    {
        report.msg.push_str(&format!("; what it had of its own is kept in {kept}"));
    }
    report.extra = extra;
    let Some(error) = outcome.error else { return out.report(&report) };
    report.fail(&error);
    out.report(&report)?;
    Err(error)
}
