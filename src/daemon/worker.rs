//! Everything of the daemon that may block: plans on one thread, questions on one thread per question.

use crate::error::{Error, Result};
use crate::host::clock::{self, Deadline};
use crate::net::arp::ArpSocket;
use crate::net::netlink::Link;
use crate::pg::conn::ConnSettings;
use crate::pg::gates::{PeerAnswer, PeerView};
use crate::pg::local::LocalServer;
use crate::pg::server::DataDirectory;
use crate::pg::{facts, peer};
use crate::plan::Plan;
use crate::plan::apply::{self, Progress, World};
use crate::plan::build::{self, Promotion, StopBounds, Vip, VipSeen};
use crate::plan::step::Intent;
use crate::promotion::supervisor::PlanResult;
use crate::units::Mac;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// What a plan worker does.
#[derive(Debug, Clone)]
pub(super) enum Job {
    /// Open the session that a promotion would use.
    Warm,
    /// Run the failover plan for this term.
    Promote { term: crate::pg::epoch::Term },
    /// Run the serve plan.
    Serve { adopt: Option<crate::pg::epoch::Term> },
    /// Run the release plan.
    Release { stop: bool },
}

/// What the plan worker needs to know.
#[derive(Debug, Clone)]
pub(super) struct PlanConfig {
    pub(super) node: String,
    pub(super) conn: ConnSettings,
    pub(super) data_directory: PathBuf,
    pub(super) vips: Vec<Vip>,
    pub(super) slots: Vec<String>,
    pub(super) stop: StopBounds,
    pub(super) promote_within: Duration,
    pub(super) connect_within: Duration,
}

/// What the worker tells the loop.
#[derive(Debug)]
pub(super) enum Told {
    Progress(Progress),
    Done(PlanResult),
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
            drop(open(&mut world, config).and_then(|world| {
                world.server()?.session(Deadline::after(config.connect_within)).map(|_| ())
            }));
            continue;
        }
        let mut later = None;
        let result = open(&mut world, config).and_then(|world| run(world, config, &job, tell, &mut later));
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
        *world = Some(World::with_server(LocalServer::new(config.node.clone(), config.conn.clone(), data)));
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
        Job::Promote { term } => {
            let facts = promotion_facts(world, config, *term)?;
            *later = Some(build::settle(&facts));
            (build::failover(&facts, &vips), config.promote_within + config.connect_within)
        }
        Job::Serve { adopt } => {
            let epoch = match adopt {
                Some(term) => Some(apply::first_intent(&config.node, *term)?),
                None => None,
            };
            let protected = world.server()?.data().has_standby_signal();
            (build::serve(epoch, Some(protected), &vips), config.connect_within * 2)
        }
        Job::Release { stop } => (
            build::release(&config.vips, stop.then_some(config.stop)),
            config.stop.fast + config.stop.immediate * 3,
        ),
    };
    let outcome =
        apply::apply(&plan, world, Deadline::after(within), &mut |progress| tell(Told::Progress(progress)));
    match outcome.error {
        None => Ok(()),
        Some(error) => Err(error),
    }
}

/// Looks at the server once more, on the session that will promote it.
fn promotion_facts(
    world: &mut World,
    config: &PlanConfig,
    term: crate::pg::epoch::Term,
) -> Result<Promotion> {
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
    })
}

/// Asks peers, one thread each; a peer whose last question still hangs is not asked again meanwhile.
#[derive(Debug)]
pub(super) struct Askers {
    peers: Vec<(String, ConnSettings, Arc<AtomicUsize>)>,
}

const MOST_OPEN_QUESTIONS: usize = 4;

impl Askers {
    pub(super) fn new(peers: Vec<(String, ConnSettings)>) -> Self {
        Self { peers: peers.into_iter().map(|(node, conn)| (node, conn, Arc::default())).collect() }
    }

    /// Asks every peer; `tell` is called once for each, from its thread.
    pub(super) fn ask(&self, until: Deadline, tell: &(impl Fn(PeerView) + Clone + Send + 'static)) {
        for (node, conn, open) in &self.peers {
            let (node, conn, open, tell) = (node.clone(), conn.clone(), Arc::clone(open), tell.clone());
            if open.fetch_add(1, Ordering::Relaxed) >= MOST_OPEN_QUESTIONS {
                open.fetch_sub(1, Ordering::Relaxed);
                tell(PeerView {
                    node,
                    answer: PeerAnswer::Silent("earlier questions still hang".to_owned()),
                });
                continue;
            }
            let count = Arc::clone(&open);
            let spawned = std::thread::Builder::new().name("asker".to_owned()).spawn(move || {
                let answer = peer::ask(&conn, until);
                count.fetch_sub(1, Ordering::Relaxed);
                tell(PeerView { node, answer });
            });
            if spawned.is_err() {
                open.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
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
