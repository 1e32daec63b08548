//! Everything of the daemon that may block: plans on one thread, questions on one thread per question.

use crate::error::{Error, Result};
use crate::host::clock::{self, Deadline};
use crate::host::process::run_spawn;
use crate::host::spawn::Spawn;
use crate::net::arp::ArpSocket;
use crate::net::netlink::Link;
use crate::output::report::StepStatus;
use crate::pg::candidacy::Rival;
use crate::pg::conn::{ConnSettings, Session};
use crate::pg::epoch::Term;
use crate::pg::facts;
use crate::pg::local::LocalServer;
use crate::pg::server::DataDirectory;
use crate::pg::{promote, vote};
use crate::plan::Plan;
use crate::plan::apply::{self, Progress, World};
use crate::plan::build::{self, Promotion, StopBounds, Vip, VipSeen, Votes};
use crate::plan::election::{self, Election, Voters};
use crate::plan::step::Intent;
use crate::promotion::rules::{Ask, PromiseState, Register};
use crate::promotion::supervisor::PlanResult;
use crate::promotion::supervisor::Stop;
use crate::units::Mac;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// This program as it runs, also after a package has replaced its file.
pub(super) const PROGRAM: &str = "/proc/self/exe";
/// The recovery of a crashed server may take minutes.
const START_WITHIN: Duration = Duration::from_secs(3600);
/// A base backup of a large database takes its time.
const REJOIN_WITHIN: Duration = Duration::from_secs(7 * 24 * 3600);

/// What a plan worker does.
#[derive(Debug, Clone)]
pub(super) enum Job {
    /// Open the session that a promotion would use.
    Warm,
    /// Run the failover plan for this term.
    Promote { term: Term, gone: Vec<String>, rivals: Vec<String> },
    /// Run the serve plan.
    Serve { adopt: Option<Term>, term: Term },
    /// Bring the synchronous names in line with the standbys that there are.
    Reconfigure { term: Term },
    /// Tell voters that a term is confirmed.
    Confirm { term: Term, nodes: Vec<String> },
    /// Have in place what a promotion of this standby would need.
    Prepare,
    /// Settle what this node has promised, and go back to where it streamed from.
    Resume,
    /// Another voter's register tells what became of a promise.
    Heard { from: String, register: Box<Register> },
    /// A voter that asks nobody is told what another one's register holds.
    Relay { to: String, from: String, register: Box<Register> },
    /// Run the release plan.
    Release { stop: Stop },
}

impl Job {
    /// Returns whether it is beside the plans: nothing waits for its end.
    pub(super) const fn is_upkeep(&self) -> bool {
        matches!(
            self,
            Self::Reconfigure { .. }
                | Self::Confirm { .. }
                | Self::Prepare
                | Self::Resume
                | Self::Heard { .. }
                | Self::Relay { .. }
        )
    }
}

/// What the plan worker needs to know.
#[derive(Debug, Clone)]
pub(super) struct PlanConfig {
    pub(super) node: String,
    /// Who votes; `None`: replication is asynchronous.
    pub(super) voters: Option<Voters>,
    /// The other nodes that could be promoted, where nobody votes.
    pub(super) rivals: Vec<Rival>,
    /// Where the others reach this node's server.
    pub(super) place: (String, u16),
    pub(super) conn: ConnSettings,
    pub(super) data_directory: PathBuf,
    pub(super) vips: Vec<Vip>,
    pub(super) slots: Vec<String>,
    pub(super) stop: StopBounds,
    pub(super) promote_within: Duration,
    pub(super) connect_within: Duration,
}

impl PlanConfig {
    /// Returns which of these nodes could be promoted beside this one.
    fn rivals_among(&self, nodes: &[String]) -> Vec<String> {
        self.rivals.iter().map(|rival| rival.peer.name.clone()).filter(|name| nodes.contains(name)).collect()
    }
}

/// What the worker tells the loop.
#[derive(Debug)]
pub(super) enum Told {
    Progress(Progress),
    Done(PlanResult),
    /// A job beside the plans ended; what went wrong with it.
    Upkeep(Option<String>),
}

type Tell = Arc<dyn Fn(Told) + Send + Sync>;

/// Starts the plan worker; jobs are done in order.
pub(super) fn start(
    config: PlanConfig,
    tell: impl Fn(Told) + Send + Sync + 'static,
) -> std::io::Result<Sender<Job>> {
    let (jobs, queue) = channel();
    let tell: Tell = Arc::new(tell);
    std::thread::Builder::new().name("worker".to_owned()).spawn(move || work(&queue, &config, &tell))?;
    Ok(jobs)
}

fn work(queue: &Receiver<Job>, config: &PlanConfig, tell: &Tell) {
    let mut world: Option<World> = None;
    while let Ok(job) = queue.recv() {
        if let Job::Warm = job {
            // A failure is not news here: the plan that needs the session will say so.
            drop(open(&mut world, config).and_then(|world| warm(world, config)));
            continue;
        }
        let mut later = None;
        let result = open(&mut world, config).and_then(|world| run(world, config, &job, tell, &mut later));
        if job.is_upkeep() {
            // Done again at the next heartbeat; only what keeps failing is worth a line, and the supervisor says it.
            tell(Told::Upkeep(result.err().map(|error| error.to_string())));
            continue;
        }
        let result = match result {
            Ok(()) => PlanResult::Done,
            Err(error) => PlanResult::Failed { why: error.to_string(), hint: error.hints().first().cloned() },
        };
        let served = result == PlanResult::Done;
        tell(Told::Done(result));
        if let (true, Some(plan)) = (served, later) {
            settle(plan, config.clone(), Arc::clone(tell));
        }
    }
}

/// Sees to it that there is a session that works: the one before may be of a server that is gone.
fn warm(world: &mut World, config: &PlanConfig) -> Result<()> {
    let deadline = Deadline::after(config.connect_within);
    let server = world.server()?;
    if server.session(deadline)?.query("SELECT 1", deadline).is_err() {
        server.session(deadline)?;
    }
    Ok(())
}

/// Does what can wait on a thread of its own: a checkpoint may take minutes, and neither the lease of the virtual
/// IP nor a release must wait for it.
fn settle(plan: Plan, config: PlanConfig, tell: Tell) {
    let work = move || {
        let mut world = None;
        let within = Deadline::after(config.promote_within);
        if let Ok(world) = open(&mut world, &config) {
            // Every step is optional: what failed is in its own event.
            apply::apply(&plan, world, within, &mut |progress| tell(Told::Progress(progress)));
        }
    };
    // Without a thread the intent stays, and the next `pg promote` here finishes what is missing.
    drop(std::thread::Builder::new().name("settle".to_owned()).spawn(work));
}

/// Opens the world once; a data directory that wasn't there may be there the next time.
fn open<'a>(world: &'a mut Option<World>, config: &PlanConfig) -> Result<&'a mut World> {
    if world.is_none() {
        let data = DataDirectory::open(&config.data_directory)?;
        let server = LocalServer::new(config.node.clone(), config.conn.clone(), data);
        *world = Some(
            World::with_server(server).with_voters(config.voters.clone()).with_rivals(config.rivals.clone()),
        );
    }
    world.as_mut().ok_or_else(|| Error::failed("can't open the data directory"))
}

fn run(
    world: &mut World,
    config: &PlanConfig,
    job: &Job,
    tell: &Tell,
    later: &mut Option<Plan>,
) -> Result<()> {
    let vips: Vec<(Vip, VipSeen)> = config.vips.iter().map(|vip| (vip.clone(), VipSeen::default())).collect();
    let (plan, within) = match job {
        Job::Warm => return Ok(()),
        Job::Promote { term, gone, rivals } => {
            let mut facts = promotion_facts(world, config, *term, gone)?;
            facts.rivals = config.rivals_among(rivals);
            *later = Some(build::settle(&facts));
            let lease = config.voters.as_ref().and_then(|voters| voters.lease).unwrap_or_default();
            (build::failover(&facts, &vips), config.promote_within + config.connect_within + lease)
        }
        Job::Serve { adopt, term } => serve_plan(world, config, *adopt, *term, &vips)?,
        Job::Reconfigure { term } => (build::reconfigure(*term), config.connect_within * 2),
        Job::Confirm { .. } | Job::Prepare | Job::Resume | Job::Heard { .. } | Job::Relay { .. } => {
            return tend(world, config, job);
        }
        Job::Release { stop } => {
            let bounds = match stop {
                Stop::InTime => config.stop,
                Stop::Now => super::setup::HASTY_STOP,
            };
            (build::release(&config.vips, Some(bounds)), bounds.fast + bounds.immediate * 3)
        }
    };
    // What is done every half second is worth a word only when it changes something.
    let worth_a_word = |progress: &Progress| match progress {
        Progress::Done { report, .. } => report.status == StepStatus::Done,
        Progress::Started { .. } => false,
    };
    let outcome = apply::apply(&plan, world, Deadline::after(within), &mut |progress| {
        if !job.is_upkeep() || worth_a_word(&progress) {
            tell(Told::Progress(progress));
        }
    });
    match outcome.error {
        None => Ok(()),
        Some(error) => Err(error),
    }
}

/// Plans the taking back of the service. A promotion that was cut short before its epoch row is finished by it.
fn serve_plan(
    world: &mut World,
    config: &PlanConfig,
    adopt: Option<Term>,
    term: Term,
    vips: &[(Vip, VipSeen)],
) -> Result<(Plan, Duration)> {
    let within = config.connect_within * 2;
    if config.voters.is_some()
        && let Some(intent) = world.server()?.read_intent()?
    {
        let facts = promotion_facts(world, config, intent.term, &[])?;
        if !facts.in_recovery && !facts.epoch_recorded {
            return Ok((build::failover(&facts, vips), within));
        }
    }
    let epoch = match adopt {
        Some(term) => Some(apply::first_intent(&config.node, term)?),
        None => None,
    };
    let protected = world.server()?.data().has_standby_signal();
    let reconfigure = config.voters.is_some().then_some(term);
    Ok((build::serve(epoch, Some(protected), reconfigure, vips), within))
}

/// Does one of the small jobs that keep the voters' registers true.
fn tend(world: &mut World, config: &PlanConfig, job: &Job) -> Result<()> {
    let deadline = Deadline::after(config.connect_within * 2);
    if let Job::Prepare = job {
        let session = world.server()?.session(deadline)?;
        if session.query("SELECT pg_is_in_recovery()", deadline)?.first().is_some_and(|row| row.is_true(0)) {
            let slots: Vec<&str> = config.slots.iter().map(String::as_str).collect();
            promote::prepare_slots(session, &slots, deadline)?;
        }
    }
    let Some(voters) = &config.voters else { return Ok(()) };
    match job {
        Job::Confirm { term, nodes } => {
            let session = world.server()?.session(deadline)?;
            let configuration = election::confirmed(session, &config.node, *term, deadline)?;
            vote::confirm(session, &configuration, deadline)?;
            for peer in nodes.iter().filter_map(|node| voters.peers.get(node)) {
                election::confirm(peer, &configuration, deadline)?;
            }
        }
        Job::Prepare => {
            let session = world.server()?.session(deadline)?;
            let all: Vec<String> = voters.peers.iter().map(|peer| peer.name.clone()).collect();
            // Of two nodes, whether the other one counts is known only when the votes are.
            if all.len() > 1 && vote::read(session, deadline)?.in_recovery {
                let names = election::configuration(voters, Term::default(), 0, all).names();
                vote::set_names(session, &names, deadline)?;
            }
        }
        Job::Heard { from, register } => {
            let session = world.server()?.session(deadline)?;
            vote::heard(session, from, register, deadline)?;
            go_back(session, config, voters, deadline)?;
        }
        Job::Relay { to, from, register } => {
            if let Some(peer) = voters.peers.get(to) {
                peer.heard(from, register, deadline)?;
            }
        }
        Job::Resume => {
            let intent = world.server()?.read_intent()?;
            let session = world.server()?.session(deadline)?;
            let promise = vote::read(session, deadline)?.register.promise;
            match promise.filter(|promise| promise.holder == config.node) {
                Some(promise) if promise.state == PromiseState::Promised => {
                    // After the intent it must be finished, which the next promotion does.
                    if intent.is_none_or(|intent| intent.promotion_id != promise.id) {
                        let ask = Ask { term: promise.term, holder: promise.holder, id: promise.id };
                        Election::of(voters.clone(), ask).abandon(session);
                        go_back(session, config, voters, deadline)?;
                    }
                }
                _ => go_back(session, config, voters, deadline)?,
            }
        }
        _ => {}
    }
    Ok(())
}

/// Lets a standby whose promise is settled follow whom its register names, or whom it followed before.
fn go_back(session: &mut Session, config: &PlanConfig, voters: &Voters, deadline: Deadline) -> Result<()> {
    let stored = vote::read(session, deadline)?;
    if !stored.is_free(&config.node) {
        return Ok(());
    }
    // Where it streamed from may be a standby itself by now: whom the register names is the primary.
    match stored.register.upstream_of().and_then(|holder| voters.peers.get(holder)) {
        Some(peer) => {
            let (host, port) = peer.place();
            vote::attach(session, &peer.name, &host, port, deadline)?;
        }
        None if stored.upstream.is_some() => {}
        None => drop(vote::resume(session, &config.node, deadline)?),
    }
    Ok(())
}

/// Looks at the server once more, on the session that will promote it.
fn promotion_facts(world: &mut World, config: &PlanConfig, term: Term, gone: &[String]) -> Result<Promotion> {
    let server = world.server()?;
    let on_disk = server.read_intent()?;
    let seen = facts::observe(
        server.session(Deadline::after(config.connect_within))?,
        Deadline::after(config.connect_within),
    )?;
    let protected = server.data().has_standby_signal();
    // An intent whose promotion never came to be is drawn anew: its term may be too low by now.
    let on_disk = on_disk.filter(|intent| intent.term >= term);
    let intent = match &on_disk {
        Some(intent) => intent.clone(),
        None => Intent { node: config.node.clone(), term, promotion_id: apply::epoch_id()? },
    };
    let epoch_recorded = seen.epoch.as_ref().is_some_and(|epoch| epoch.promotion_id == intent.promotion_id);
    Ok(Promotion {
        in_recovery: seen.in_recovery,
        epoch_recorded,
        intent_on_disk: on_disk.is_some(),
        intent,
        within: config.promote_within,
        protect_start: true,
        protected,
        slots: config.slots.clone(),
        rivals: Vec::new(),
        votes: config.voters.as_ref().map(|voters| Votes {
            voters: voters.peers.voters().map(|peer| peer.name.clone()).collect(),
            vote_within: voters.vote_within,
            catch_up_within: voters.catch_up_within,
            lease: voters.lease,
            gone: gone.to_vec(),
            place: config.place.clone(),
            overridden: voters.overridden,
        }),
    })
}

/// Makes this node a standby of the primary.
pub(super) fn rejoin(
    config: Option<PathBuf>,
    node: &str,
    primary: &str,
    tell: impl FnOnce(std::result::Result<String, String>) + Send + 'static,
) -> Result<()> {
    let fallback = format!("a standby of {primary} again");
    rebuild_standby(config, node, &["--from", primary], REJOIN_WITHIN, move |result| {
        tell(result.map(|said| said.unwrap_or(fallback)));
    })
}

/// Starts this node's server as a standby, its data as it is.
pub(super) fn start_server(
    config: Option<PathBuf>,
    node: &str,
    tell: impl FnOnce(std::result::Result<(), String>) + Send + 'static,
) -> Result<()> {
    rebuild_standby(config, node, &["--start-only"], START_WITHIN, move |result| tell(result.map(drop)))
}

/// Runs `pg rebuild-standby` as a process of its own, waited for by a thread of its own; `tell` gets what it said.
fn rebuild_standby(
    config: Option<PathBuf>,
    node: &str,
    arguments: &[&str],
    within: Duration,
    tell: impl FnOnce(std::result::Result<Option<String>, String>) + Send + 'static,
) -> Result<()> {
    let mut command = Command::new(PROGRAM);
    if let Some(config) = config {
        command.arg("--config").arg(config);
    }
    command.args(["--node", node, "--json", "pg", "rebuild-standby"]).args(arguments);
    let work = move || {
        let result = run_spawn(Spawn::new(command), Deadline::after(within));
        let said = |bytes: &[u8], key: &str| {
            let document: serde_json::Value = serde_json::from_slice(bytes).ok()?;
            let text = document.get(key)?.as_str()?;
            Some(text.to_owned())
        };
        tell(match result {
            Ok(output) if output.status.success() => Ok(said(&output.stdout, "msg").map(|text| {
                match (said(&output.stdout, "decision"), said(&output.stdout, "why")) {
                    (Some(decision), Some(why)) => format!("{text} ({decision}: {why})"),
                    _ => text,
                }
            })),
            Ok(output) => Err(said(&output.stdout, "msg").unwrap_or_else(|| output.complaint())),
            Err(error) => Err(error.to_string()),
        });
    };
    let spawned = std::thread::Builder::new().name("rejoin".to_owned()).spawn(work);
    spawned.map(drop).map_err(|error| Error::failed("can't start a thread").detail(error))
}

/// Asks the link whether anyone has one of the addresses, on a thread of its own.
pub(super) fn probe(
    link: Link,
    vips: Vec<IpAddr>,
    wait: Duration,
    tell: impl FnOnce(Option<Mac>) + Send + 'static,
) {
    let until = Deadline::at(clock::now() + wait);
    let spawned = std::thread::Builder::new().name("probe".to_owned()).spawn(move || {
        let addresses: Vec<Ipv4Addr> = vips
            .into_iter()
            .filter_map(|vip| match vip {
                IpAddr::V4(vip) => Some(vip),
                IpAddr::V6(_) => None,
            })
            .collect();
        let socket = ArpSocket::open(&link).ok();
        tell(socket.as_ref().and_then(|socket| first_owner(&link, socket, &addresses, until)));
        // After the answer: closing a packet socket waits for the kernel, and the decision waits for the answer.
        drop(socket);
    });
    // Without a thread there is no answer: the round's own deadline covers that.
    drop(spawned);
}

fn first_owner(link: &Link, socket: &ArpSocket, addresses: &[Ipv4Addr], until: Deadline) -> Option<Mac> {
    let own = link.mac?;
    addresses.iter().find_map(|address| socket.probe(*address, own, until).ok().flatten())
}
