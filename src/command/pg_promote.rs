//! `pg promote`: the guarded promotion by hand, or from a hook.
//!
//! settings → observe (the local server, the peers, the link) → gates → plan → apply → report. The daemon's
//! failover is the same plan with the virtual IPs in it.

mod look;

use crate::cli::{ForceGate, Globals, Promote};
use crate::command::finish;
use crate::daemon::setup::{self, slot_name};
use crate::error::{Error, Kind, Result};
use crate::host::clock::Deadline;
use crate::net::netlink::Netlink;
use crate::output::Out;
use crate::pg::candidacy::Rival;
use crate::pg::conn::ConnSettings;
use crate::pg::facts::{self, ServerFacts};
use crate::pg::gates::{
    self, Evidence, Foreseen, Gate, GateVerdict, Histories, LocalView, PeerAnswer, PeerView, Policy, Verdict,
    VipProbe,
};
use crate::pg::local::LocalServer;
use crate::pg::server::DataDirectory;
use crate::pg::target;
use crate::plan::apply::{World, epoch_id};
use crate::plan::build::{self, Around, Promotion, Votes};
use crate::plan::election::Voters;
use crate::plan::step::Intent;
use crate::settings::libpq::{self, Params};
use crate::settings::{self, NodeRole, PostgresSettings, Settings};
use serde_json::{Map, Value, json};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What nobody can know without a configuration.
const UNGUARDED: &str = "without a configuration no other node and no virtual IP was asked: that the old primary is dead is \
                         taken on your word";

/// Everything that is known before the decision.
struct Observed {
    facts: ServerFacts,
    view: LocalView,
    peers: Vec<PeerView>,
    witness: Option<PeerView>,
    /// Whether an operator's word stands in for the votes.
    overridden: bool,
    evidence: Evidence,
    verdicts: Vec<GateVerdict>,
    around: Around,
    notes: Vec<String>,
}

pub(super) fn run(globals: &Globals, args: &Promote, out: &Out) -> Result<()> {
    let settings = settings(globals)?;
    let target = Target::choose(args, settings.as_ref())?;
    let deadline = Deadline::after(args.timeout.unwrap_or(Promote::DEFAULT_TIMEOUT));
    let mut server = target.connect(deadline)?;
    let observed = observe(&mut server, &target, settings.as_ref(), args, deadline)?;
    let target = target.overriding(&observed);
    let on_disk = server.read_intent()?;
    let plan = if on_disk.is_none() && !observed.view.in_recovery && !has_epoch(&observed) {
        // Not this program's promotion: there is nothing to finish, and no epoch to make up afterwards.
        build::already_primary(&target.node, target.promote_within)
    } else {
        plan(&promotion(&target, &server, &observed, on_disk, deadline)?, &observed)
    };
    let plan = build::around(plan, &observed.around);
    let extra = document(&observed);
    let refusing: Vec<&GateVerdict> =
        observed.verdicts.iter().filter(|gate| gate.verdict == Verdict::Refuse).collect();
    if let (true, [first, others @ ..]) = (observed.view.in_recovery, refusing.as_slice()) {
        if args.dry_run.dry_run {
            show_gates(out, &observed)?;
        }
        return refused(out, args, &plan, (first, others), extra);
    }
    if args.dry_run.dry_run {
        show_gates(out, &observed)?;
        return finish::dry_run_with(out, &plan, extra);
    }
    let mut world =
        World::with_server(server).with_voters(target.voters.clone()).with_rivals(target.rivals.clone());
    finish::apply_with(out, &plan, &mut world, deadline, extra)
}

/// The local server before a promotion: what was seen, and what the gates say.
pub(super) struct Candidate {
    target: Target,
    server: LocalServer,
    observed: Observed,
}

impl Candidate {
    /// Looks at the local server, the peers and the link.
    pub(super) fn look(settings: Option<&Settings>, args: &Promote, deadline: Deadline) -> Result<Self> {
        let target = Target::choose(args, settings)?;
        let mut server = target.connect(deadline)?;
        let observed = observe(&mut server, &target, settings, args, deadline)?;
        let target = target.overriding(&observed);
        Ok(Self { target, server, observed })
    }

    /// Returns whether the local server is a standby.
    pub(super) const fn in_recovery(&self) -> bool {
        self.observed.view.in_recovery
    }

    /// Returns whether the data has an epoch at all.
    pub(super) const fn knows_its_epoch(&self) -> bool {
        self.observed.facts.epoch.is_some()
    }

    /// Returns the term that a promotion would take.
    pub(super) fn next_term(&self) -> crate::pg::epoch::Term {
        gates::next_term(&self.observed.view, &self.observed.peers)
    }

    /// Returns the first gate that refuses.
    pub(super) fn refusal(&self) -> Option<&GateVerdict> {
        self.observed.verdicts.iter().find(|gate| gate.verdict == Verdict::Refuse)
    }

    /// Returns what a gate says if it refuses; also of gates that mean something beside a running primary.
    pub(super) fn refused_by(&self, wanted: Gate) -> Option<&GateVerdict> {
        self.observed.verdicts.iter().find(|gate| gate.gate == wanted && gate.verdict == Verdict::Refuse)
    }

    /// Returns what the gates warn of.
    pub(super) fn warnings(&self) -> Vec<String> {
        let warn = |gate: &&GateVerdict| gate.verdict == Verdict::Warn;
        self.observed.verdicts.iter().filter(warn).map(|gate| gate.why.clone()).collect()
    }

    /// Returns the peers on whose machine nothing listens: alive, perhaps, but not as a server.
    pub(super) fn peers_down(&self) -> impl Iterator<Item = &str> {
        let down = |peer: &&PeerView| matches!(peer.answer, PeerAnswer::Down(_));
        self.observed.peers.iter().filter(down).map(|peer| peer.node.as_str())
    }

    /// Returns what the plan of the promotion is built from.
    pub(super) fn promotion(&self, deadline: Deadline) -> Result<Promotion> {
        promotion(&self.target, &self.server, &self.observed, self.server.read_intent()?, deadline)
    }

    /// Returns whether this server was promoted by a run that hasn't finished.
    pub(super) fn is_unfinished(&self) -> Result<bool> {
        Ok(!self.in_recovery() && self.server.read_intent()?.is_some())
    }

    /// Returns why the operator has paused the cluster, if it is paused.
    pub(super) fn paused(&self) -> Option<String> {
        self.observed.view.paused.clone()
    }

    /// Returns the term of the data.
    pub(super) const fn term(&self) -> Option<crate::pg::epoch::Term> {
        self.observed.view.term
    }

    /// Returns whether the data directory is protected against a writable start.
    pub(super) fn protected(&self) -> bool {
        self.server.data().has_standby_signal()
    }

    /// Returns the world in which the plan is carried out, with the session that has been opened.
    pub(super) fn into_world(self) -> World {
        World::with_server(self.server).with_voters(self.target.voters).with_rivals(self.target.rivals)
    }
}

/// Reads the configuration and finds out which node this is, when there is one.
pub(super) fn settings(globals: &Globals) -> Result<Option<Settings>> {
    let Some(mut settings) = Settings::load_if_present(&globals.overrides())? else { return Ok(None) };
    let local: Vec<IpAddr> =
        Netlink::open()?.addresses()?.iter().map(|address| address.address.address()).collect();
    settings.find_me(&local)?;
    Ok(Some(settings))
}

/// The server that is promoted.
struct Target {
    node: String,
    conn: ConnSettings,
    data_directory: Option<PathBuf>,
    promote_within: Duration,
    /// Whether the operator answers for it that the old primary is dead.
    proved: bool,
    /// Whether a daemon looks after this node: then no start may make the server writable by itself.
    guarded: bool,
    slots: Vec<String>,
    /// Who votes, and where they reach this node's server; `None`: replication is asynchronous.
    voters: Option<Voters>,
    place: (String, u16),
    /// The other nodes that could be promoted, where nobody votes.
    rivals: Vec<Rival>,
}

impl Target {
    /// Flags first, then the configuration, then what libpq would use.
    fn choose(args: &Promote, settings: Option<&Settings>) -> Result<Self> {
        let me = settings.map(Settings::me).transpose()?;
        if let Some(me) = me.filter(|me| me.role == NodeRole::Spare) {
            return Err(Error::refused(format!("{} is a spare: it never becomes the primary", me.name))
                .hint("promote a data node, or change its role in the configuration first"));
        }
        let configured: Option<PostgresSettings> =
            settings.zip(me).and_then(|(settings, me)| settings.postgres_of(me));
        let postgres = configured.clone().unwrap_or_else(|| PostgresSettings::new(PathBuf::new()));
        let conn = connection(args, &postgres, configured.is_some())?;
        let data_directory =
            args.data_directory.clone().or_else(|| configured.map(|configured| configured.data_directory));
        Ok(Self {
            node: me.map_or_else(hostname, |me| me.name.clone()),
            conn,
            data_directory,
            promote_within: args.timeout.unwrap_or(postgres.promote_timeout),
            proved: args.force.iter().any(|gate| forced(*gate) == Gate::ProofOfDeath),
            guarded: me.is_some(),
            voters: settings.and_then(|settings| {
                setup::voters(settings, &setup::peers(settings, "pg promote"), &postgres)
            }),
            place: (me.map_or_else(String::new, |me| me.address.to_string()), postgres.port),
            rivals: settings.map_or_else(Vec::new, |settings| {
                setup::rivals(settings, &setup::peers(settings, "pg promote"))
            }),
            slots: settings.map_or_else(Vec::new, |settings| {
                settings.peers().map(|peer| slot_name(&peer.name)).collect()
            }),
        })
    }

    /// Lets an operator's word stand in for the votes, where they wouldn't be enough.
    fn overriding(mut self, observed: &Observed) -> Self {
        if let Some(voters) = &mut self.voters {
            voters.overridden = observed.overridden;
        }
        self
    }

    /// Connects, and opens the data directory that was named or that the server names.
    fn connect(&self, deadline: Deadline) -> Result<LocalServer> {
        if let Some(path) = &self.data_directory {
            let data = DataDirectory::open(path)?;
            if data.postmaster()?.is_none() {
                return Err(not_running(path));
            }
            return Ok(LocalServer::new(&self.node, self.conn.clone(), data));
        }
        let mut session = crate::pg::conn::Session::connect(&self.conn, deadline)?;
        let seen = facts::observe(&mut session, deadline)?;
        let path = seen.data_directory.map(PathBuf::from).ok_or_else(|| {
            Error::new(Kind::Permission, "this role may not see where the data directory is")
                .hint("name it with --data-directory, or connect as a member of pg_monitor")
        })?;
        Ok(LocalServer::new(&self.node, self.conn.clone(), DataDirectory::open(&path)?))
    }
}

fn not_running(path: &Path) -> Error {
    Error::new(Kind::Unreachable, "PostgreSQL isn't running on this node")
        .detail(path.display())
        .hint("start it as a standby first: a server that is down can't be promoted")
}

pub(super) fn address(host: &str) -> Result<IpAddr> {
    use std::net::ToSocketAddrs as _;
    if let Ok(address) = host.parse() {
        return Ok(address);
    }
    let mut found = (host, 0).to_socket_addrs().map_err(|error| {
        Error::new(Kind::Unreachable, format!("can't find the address of \"{host}\"")).detail(error)
    })?;
    found
        .next()
        .map(|address| address.ip())
        .ok_or_else(|| Error::new(Kind::Unreachable, format!("\"{host}\" has no address")))
}

/// Flags first, and before them what a connection string in place of the database says, as in psql.
fn connection(args: &Promote, postgres: &PostgresSettings, configured: bool) -> Result<ConnSettings> {
    let wrong = |error: libpq::ConninfoError| Error::new(Kind::Usage, error.to_string());
    let mut said = match args.dbname.as_deref() {
        Some(text) if libpq::is_conninfo(text) => libpq::parse(text).map_err(wrong)?,
        _ => Params::default(),
    };
    let dbname = args.dbname.clone().filter(|text| !libpq::is_conninfo(text));
    for (name, flag) in [
        ("host", args.host.clone()),
        ("port", args.port.map(|port| port.to_string())),
        ("user", args.user.clone()),
        ("dbname", dbname),
    ] {
        if let (None, Some(value)) = (said.get(name), flag) {
            said.set(name, value).map_err(wrong)?;
        }
    }
    target::named(said, postgres, configured, "pg promote")
}

pub(super) fn hostname() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "local".to_owned() } else { name }
}

/// Looks at the local server, the peers and the link, and judges the gates.
fn observe(
    server: &mut LocalServer,
    target: &Target,
    settings: Option<&Settings>,
    args: &Promote,
    deadline: Deadline,
) -> Result<Observed> {
    let facts = facts::observe(server.session(deadline)?, deadline)?;
    // Once its receiver is gone, the server has forgotten how far the primary had got.
    let forgotten = facts.in_recovery && facts.receiver.is_none();
    let remembered = settings.filter(|_| forgotten).and_then(look::remembered);
    let mut view = LocalView::from_facts(&facts, remembered);
    view.needs_check = server.read_needs_check()?.map(|mark| mark.reason);
    // At a shell there is time for a slow peer; a hook has as much as the daemon.
    let least = if args.hurry { Duration::ZERO } else { Duration::from_secs(1) };
    let ask_timeout = settings.map_or(least, |settings| settings.guard.ask_timeout.max(least));
    // The servers and the link are asked at the same time.
    let (peers, witness, vip) = std::thread::scope(|scope| {
        let until = deadline.within(ask_timeout);
        let asked = settings.filter(|_| view.in_recovery);
        let probing = asked.map(|settings| scope.spawn(move || look::probe_vips(settings)));
        let witness = scope.spawn(move || look::ask_witness(target.voters.as_ref(), until));
        let peers = settings.map(|settings| look::ask_peers(settings, until)).unwrap_or_default();
        let witness = witness.join().map_err(|_| Error::failed("the question failed"))?;
        let vip = match probing {
            Some(probing) => probing.join().map_err(|_| Error::failed("the probe failed"))??,
            None => VipProbe::NotAsked,
        };
        Ok::<_, Error>((peers, witness, vip))
    })?;
    let (around, histories, notes) = match settings {
        Some(settings) if view.in_recovery => {
            let until = deadline.within(ask_timeout);
            look::collect_histories(settings, &view, &peers, &server.data().path().join("pg_wal"), until)
        }
        Some(_) => (Around::default(), Histories::Missing(Vec::new()), Vec::new()),
        None => (Around::default(), Histories::Missing(Vec::new()), vec![UNGUARDED.to_owned()]),
    };
    let votes = match &target.voters {
        Some(voters) if view.in_recovery => {
            let electors: Vec<PeerView> = peers.iter().chain(&witness).cloned().collect();
            gates::foresee(&target.node, &view, &electors, voters.peers.count() + 1)
        }
        // A promotion that waits for acknowledgements which nobody gives is finished without them, if that is said.
        Some(_) if args.force.contains(&ForceGate::Votes) => {
            Foreseen::Short("the promotion isn't acknowledged".to_owned())
        }
        _ => Foreseen::NotJudged,
    };
    let evidence = Evidence { vip, histories, votes, ..Evidence::NONE };
    let policy = policy(settings, args, target);
    let overridden = gates::votes_overridden(&policy, &evidence);
    let verdicts = gates::evaluate(&view, &peers, &policy, &evidence);
    let suspended = server.read_suspended()?.is_some();
    // Only where everything came by streaming: what the archive alone holds is out of reach meanwhile.
    let streamed = facts.standby.is_some_and(|standby| standby.receive.is_some());
    let suspend = view.in_recovery && view.restore_command == Some(true) && streamed && facts.major() >= 14;
    let around = Around { suspend_restore: suspend, resume_restore: suspend || suspended, ..around };
    Ok(Observed { facts, view, peers, witness, overridden, evidence, verdicts, around, notes })
}

fn policy(settings: Option<&Settings>, args: &Promote, target: &Target) -> Policy {
    let availability = match settings.map(|settings| settings.guard.availability) {
        Some(settings::Availability::Prefer) => gates::Availability::Prefer,
        // Without a configuration there are no peers to ask: the operator answers for them.
        None if !target.guarded => gates::Availability::Prefer,
        _ => gates::Availability::Hold,
    };
    let max_lag = args.max_lag.or_else(|| settings.and_then(|settings| settings.guard.max_lag));
    Policy {
        votes: settings.is_some_and(Settings::votes),
        lossless: settings.is_some_and(Settings::synchronous),
        availability,
        max_lag,
        max_silence: args.max_silence.or_else(|| settings.and_then(|settings| settings.guard.max_silence)),
        system_id: None,
        strict: args.max_lag.is_some() || args.max_silence.is_some(),
        forced: args.force.iter().map(|gate| forced(*gate)).collect(),
    }
}

fn forced(gate: ForceGate) -> Gate {
    match gate {
        ForceGate::SystemId => Gate::SystemId,
        ForceGate::ReplayNotPaused => Gate::ReplayNotPaused,
        ForceGate::Paused => Gate::Paused,
        ForceGate::NeedsCheck => Gate::NeedsCheck,
        ForceGate::Votes => Gate::Votes,
        ForceGate::Lag => Gate::Lag,
        ForceGate::LastContact => Gate::LastContact,
        ForceGate::PeerPrimary => Gate::PeerPrimary,
        ForceGate::NewerEpoch => Gate::NewerEpoch,
        ForceGate::MostComplete => Gate::MostComplete,
        ForceGate::VipFree => Gate::VipFree,
        ForceGate::ProofOfDeath => Gate::ProofOfDeath,
    }
}

/// Finds the intent of this promotion: the one that was cut short, or a new one.
fn promotion(
    target: &Target,
    server: &LocalServer,
    observed: &Observed,
    on_disk: Option<Intent>,
    deadline: Deadline,
) -> Result<Promotion> {
    let term = gates::next_term(&observed.view, &observed.peers);
    let stands = |name: &String| {
        let standby = |peer: &PeerView| matches!(peer.answer, PeerAnswer::Standby(_));
        observed.peers.iter().any(|peer| peer.node == *name && standby(peer))
    };
    let epoch = observed.facts.epoch.as_ref();
    let in_recovery = observed.view.in_recovery;
    // In recovery an old intent's term may have been passed by others; afterwards it is what was promoted.
    let on_disk = on_disk.filter(|intent| !in_recovery || intent.term >= term);
    let recorded = |intent: &Intent| epoch.is_some_and(|epoch| epoch.promotion_id == intent.promotion_id);
    let (intent, epoch_recorded, intent_on_disk) = match (&on_disk, epoch) {
        (Some(intent), _) => (intent.clone(), recorded(intent), true),
        (None, Some(epoch)) if !in_recovery && Some(epoch.timeline) == observed.view.timeline => (
            Intent { node: epoch.node.clone(), term: epoch.term, promotion_id: epoch.promotion_id },
            true,
            false,
        ),
        (None, _) => (Intent { node: target.node.clone(), term, promotion_id: epoch_id()? }, false, false),
    };
    Ok(Promotion {
        in_recovery,
        intent,
        epoch_recorded,
        intent_on_disk,
        within: target.promote_within.min(deadline.left()),
        protect_start: target.guarded,
        protected: server.data().has_standby_signal(),
        slots: target.slots.clone(),
        votes: target.voters.as_ref().map(|voters| Votes {
            voters: voters.peers.voters().map(|peer| peer.name.clone()).collect(),
            vote_within: voters.vote_within,
            catch_up_within: voters.catch_up_within,
            lease: voters.lease,
            gone: if target.proved {
                voters.peers.iter().map(|peer| peer.name.clone()).collect()
            } else {
                Vec::new()
            },
            place: target.place.clone(),
            overridden: voters.overridden,
        }),
        rivals: target.rivals.iter().map(|rival| rival.peer.name.clone()).filter(stands).collect(),
    })
}

/// Whether the newest epoch in the data is of the timeline that the server is on.
fn has_epoch(observed: &Observed) -> bool {
    observed.facts.epoch.as_ref().is_some_and(|epoch| Some(epoch.timeline) == observed.view.timeline)
}

fn plan(promotion: &Promotion, observed: &Observed) -> crate::plan::Plan {
    let mut plan = build::promote(promotion);
    if observed.view.in_recovery {
        plan.warnings = observed
            .verdicts
            .iter()
            .filter(|gate| gate.verdict == Verdict::Warn)
            .map(|gate| gate.why.clone())
            .chain(observed.notes.iter().cloned())
            .collect();
    }
    plan
}

fn document(observed: &Observed) -> Map<String, Value> {
    let asked = observed.peers.iter().chain(&observed.witness);
    let peers: Map<String, Value> =
        asked.map(|peer| (peer.node.clone(), json!(peer.answer.to_string()))).collect();
    let mut extra = Map::new();
    extra.insert("gates".to_owned(), json!(observed.verdicts));
    extra.insert("peers".to_owned(), Value::Object(peers));
    extra.insert("timeline".to_owned(), json!(observed.view.timeline));
    extra.insert("server_version".to_owned(), json!(observed.facts.server_version));
    extra.insert(
        "vip_answered_by".to_owned(),
        match observed.evidence.vip {
            VipProbe::AnsweredBy(mac) => json!(mac),
            _ => Value::Null,
        },
    );
    extra
}

/// Shows every gate with its verdict; for `--dry-run`.
fn show_gates(out: &Out, observed: &Observed) -> Result<()> {
    use crate::output::paint::Tone;
    use crate::output::table::{Align, Cell, Table};
    if out.is_json() || !observed.view.in_recovery {
        return Ok(());
    }
    let mut table = Table::new(&[("GATE", Align::Left), ("VERDICT", Align::Left), ("WHY", Align::Left)]);
    for gate in &observed.verdicts {
        let (word, tone) = match gate.verdict {
            Verdict::Pass => ("pass", Tone::Good),
            Verdict::Warn => ("warn", Tone::Warn),
            Verdict::Refuse => ("refuse", Tone::Bad),
        };
        table.row(vec![
            Cell::new(gate.gate.name(), Tone::Plain),
            Cell::new(word, tone),
            Cell::new(&gate.why, Tone::Plain),
        ]);
    }
    // A reason that is cut off is none.
    out.result(&table.render(out.paint(), usize::MAX))
}

fn refused(
    out: &Out,
    args: &Promote,
    plan: &crate::plan::Plan,
    (refusal, others): (&GateVerdict, &[&GateVerdict]),
    extra: Map<String, Value>,
) -> Result<()> {
    let mut error = Error::refused(format!("not promoting: {}", refusal.why))
        .detail(format!("gate {}", refusal.gate.name()));
    // All at once: at night nobody wants to find them one by one.
    for other in others {
        error = error.detail(format!("gate {}, too: {}", other.gate.name(), other.why));
    }
    for hint in std::iter::once(&refusal).chain(others).filter_map(|gate| gate.hint.clone()) {
        error = error.hint(hint);
    }
    if !out.is_json() {
        return Err(error);
    }
    let mut report = crate::output::report::Report::new(&plan.verb);
    report.dry_run = args.dry_run.dry_run;
    report.extra = extra;
    report.fail(&error);
    out.report(&report)?;
    Err(error)
}
