//! The loop: waits for one of its descriptors, hands what arrives to the virtual router or the supervisor that
//! it is for, and carries out the supervisor's orders.
//!
//! Nothing in this room blocks but [`Poller::wait`](crate::net::driver::Poller::wait). What is done again and again
//! (adverts, announcements) waits for no lock of the kernel; renewing leases does, and is `keeper`'s. A change of state
//! adds or removes addresses here, by single netlink calls; everything longer goes to `worker`.

mod groups;
mod network;
mod orders;
mod reload;
mod said;
mod senders;
mod tracking;

use crate::daemon::control::{Call, Server};
use crate::daemon::edges::{Edges, Id};
use crate::daemon::instance::Instance;
use crate::daemon::keeper::{Keeper, Renewal};
use crate::daemon::notify::{Notifier, Ran};
use crate::daemon::recorder::Recorder;
use crate::daemon::reporter::Reporter;
use crate::daemon::setup::{Node, Parts};
use crate::daemon::track::Sighting;
use crate::daemon::worker::{Job, Told};
use crate::error::Result;
use crate::host::clock;
use crate::host::memory;
use crate::host::process::Pidfd;
use crate::host::sdnotify::SdNotify;
use crate::net::driver::{Event as Ready, Poller, Signals, Timer, Token, Waker};
use crate::net::netlink::{Monitor, Netlink};
use crate::net::sched;
use crate::pg::gates::{PeerView, Proof};
use crate::pg::peers::Peers;
use crate::promotion::event::{Event, EventKind};
use crate::promotion::supervisor::{Asked, Input, Local, Phase, Supervisor};
use crate::settings::Settings;
use crate::units::{Mac, Moment};
use crate::vrrp::event::{AskReason, Event as RouterEvent};
use crate::vrrp::signature;
use crate::vrrp::types::{Priority, State};
use crate::vrrp::wire::{self, RxPacket};
use crate::watch::{Seen, Watch};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

const TIMER: Token = Token(1);
const SIGNALS: Token = Token(2);
const MESSAGES: Token = Token(3);
const NETLINK: Token = Token(4);
const POSTMASTER: Token = Token(6);

/// The largest VRRP message: 255 IPv6 addresses, room for an IP header with options, and a signature.
const LARGEST_PACKET: usize = 8 + 255 * 16 + 60 + signature::TRAILER;
/// How many packets are taken from a socket at once: a flood can't keep the loop from its timers.
const PACKETS_AT_ONCE: usize = 64;
/// How long the link is asked for the owner of a virtual IP; an answer comes within microseconds.
const PROBE_WAIT: Duration = Duration::from_millis(20);
/// How long the gateway's answer is waited for.
const GATEWAY_WAIT: Duration = Duration::from_millis(150);

/// How long after its start a daemon has nothing more to do that belongs to it: the first election is over, too.
const SETTLED: Duration = Duration::from_secs(5);

/// What other threads tell the loop.
#[expect(clippy::large_enum_variant, reason = "few at a time")]
#[derive(Debug)]
pub(in crate::daemon) enum Message {
    Seen(Seen),
    Answered {
        round: u64,
        view: PeerView,
    },
    GatewayAsked {
        asked: Moment,
        answered: bool,
    },
    Probed {
        round: u64,
        mac: Option<Mac>,
    },
    Worker(Told),
    Rejoined(std::result::Result<String, String>),
    Started(std::result::Result<(), String>),
    Fenced {
        node: String,
        result: std::result::Result<Proof, String>,
    },
    Call(Call),
    /// A program that was to be told of a change of state has ended.
    Notified(Ran),
    /// Something that virtual routers depend on has changed.
    Sighted(Sighting),
    /// How a renewal of a lease went.
    Renewed(Id, Renewal),
}

/// The sending end of the loop's messages, with its bell.
#[derive(Debug, Clone)]
pub(in crate::daemon) struct Mailbox {
    messages: Sender<Message>,
    waker: Waker,
}

impl Mailbox {
    /// Sends; false when the loop is gone.
    pub(in crate::daemon) fn send(&self, message: Message) -> bool {
        self.messages.send(message).is_ok() && self.waker.wake().is_ok()
    }
}

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// Before the loop: rights, interface, configuration. In the loop: only a failing epoll or netlink socket.
pub fn run(parts: Parts) -> Result<()> {
    // First, so that every thread started from here on has them blocked too.
    let signals = Signals::block(&[Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP])?;
    let waker = Waker::new()?;
    let (sender, messages) = channel();
    let mailbox = Mailbox { messages: sender, waker: waker.clone() };
    let Parts { settings, node, supervisor, log, control_socket, notify, lock } = parts;

    let poller = Poller::new()?;
    let timer = Timer::new()?;
    let monitor = Monitor::open()?;
    poller.add(&timer, TIMER)?;
    poller.add(&signals, SIGNALS)?;
    poller.add(&waker, MESSAGES)?;
    poller.add(&monitor, NETLINK)?;

    let notifier = Notifier::new(&settings.daemon, mailbox.clone())?;
    let calls = mailbox.clone();
    let control = Server::start(&control_socket, move |call| calls.send(Message::Call(call)))?;
    let database = node.start_database_threads(&mailbox)?;
    let renewals = mailbox.clone();
    let realtime = settings.daemon.realtime_priority.map(|priority| (priority, settings.daemon.cpu_limit));
    let keeper = Keeper::start(realtime, move |id, renewal| {
        renewals.send(Message::Renewed(id, renewal));
    })?;
    // Last, because threads started from a real-time one would have to be told not to be.
    if settings.daemon.lock_memory {
        sched::lock_memory()?;
    }
    match settings.daemon.realtime_priority {
        Some(priority) => sched::real_time(priority, settings.daemon.cpu_limit)?,
        // A courtesy of the kernel; an older one has none.
        None => sched::short_turns(sched::TURN).unwrap_or_default(),
    }

    let recorder = Recorder::new(log, &settings.cluster.state_directory, &node.name);
    let mut daemon = Loop {
        edges: Edges::new(poller, Netlink::open()?, recorder, notifier, keeper),
        settings,
        node,
        supervisor,
        database,
        instances: BTreeMap::new(),
        main: None,
        waiting: BTreeMap::new(),
        next_id: 0,
        groups: groups::Groups::default(),
        senders: senders::Senders::default(),
        tracking: tracking::Tracking::new(mailbox.clone()),
        due: BTreeSet::new(),
        armed: BTreeMap::new(),
        timer,
        signals,
        waker,
        messages,
        monitor,
        mailbox,
        notify,
        control: Some(control),
        postmaster: None,
        resigning: Vec::new(),
        leaving: false,
        told_status: String::new(),
        watchdog: None,
        settles: None,
    };
    daemon.start()?;
    let result = daemon.turn();
    drop(lock);
    result
}

/// The threads that exist only with a database.
#[derive(Debug)]
pub(in crate::daemon) struct Database {
    pub(in crate::daemon) watch: Watch,
    pub(in crate::daemon) jobs: Sender<Job>,
    /// Jobs beside the plans, on a thread of their own.
    pub(in crate::daemon) upkeep: Sender<Job>,
    /// Whether that thread is at work.
    pub(in crate::daemon) tending: bool,
    /// What it last couldn't do.
    pub(in crate::daemon) upkeep_trouble: Option<String>,
    pub(in crate::daemon) peers: Peers,
    pub(in crate::daemon) reporter: Reporter,
}

struct Loop {
    settings: Settings,
    node: Node,
    edges: Edges,
    /// `None`: the daemon elects and moves the addresses only.
    supervisor: Option<Supervisor>,
    database: Option<Database>,
    instances: BTreeMap<Id, Instance>,
    /// The virtual router of `[vrrp]`, the only one that may have a supervisor.
    main: Option<Id>,
    /// Instances that can't be started yet, and why.
    waiting: BTreeMap<String, String>,
    next_id: Id,
    groups: groups::Groups,
    senders: senders::Senders,
    tracking: tracking::Tracking,
    /// When each virtual router wants to be woken, in order and by number.
    due: BTreeSet<(Moment, Id)>,
    armed: BTreeMap<Id, Moment>,
    timer: Timer,
    signals: Signals,
    waker: Waker,
    messages: Receiver<Message>,
    monitor: Monitor,
    mailbox: Mailbox,
    notify: SdNotify,
    control: Option<Server>,
    postmaster: Option<(u32, Pidfd)>,
    resigning: Vec<Sender<Value>>,
    leaving: bool,
    told_status: String,
    watchdog: Option<Moment>,
    /// When what only the start needed is given back.
    settles: Option<Moment>,
}

impl Loop {
    /// Removes what a dead daemon left behind, then enters the elections.
    fn start(&mut self) -> Result<()> {
        let now = clock::now();
        let text = match &self.node.main {
            Some(spec) => {
                format!("{} on {}, virtual router {}", self.node.name, spec.link.name, spec.router.vrid)
            }
            None => format!("{}, {} virtual routers", self.node.name, self.settings.instances.len()),
        };
        self.note(Event::new(EventKind::Started, text));
        if let Some(supervisor) = &self.supervisor {
            debug_assert_eq!(supervisor.phase(), Phase::Starting);
        }
        self.edges.get_acquainted();
        let links = self.edges.netlink.links()?;
        self.remove_stale_links(&links)?;
        self.watch_again(&links);
        if let Some(spec) = self.node.main.clone() {
            let present = self.edges.netlink.addresses()?;
            self.main = Some(self.start_instance(now, spec, &present)?);
        }
        self.reconcile(now)?;
        // Nobody to tell is fine: the notification is a courtesy to systemd.
        drop(self.notify.ready("starting"));
        self.watchdog = self.notify.watchdog_interval().map(|interval| now + interval);
        self.settles = (!self.settings.daemon.lock_memory).then_some(now + SETTLED);
        Ok(())
    }

    fn turn(&mut self) -> Result<()> {
        let mut ready = Vec::new();
        while !self.leaving {
            self.arm()?;
            self.edges.poller.wait(&mut ready)?;
            // The timers first: a loop that overslept must notice before it believes anything else.
            let now = clock::now();
            self.wake_due(now);
            for Ready { token, .. } in &ready {
                match *token {
                    // It is set again before the next wait, which makes it unreadable.
                    TIMER => {}
                    SIGNALS => self.signals_arrived(now),
                    MESSAGES => self.messages_arrived(now)?,
                    NETLINK => self.network_changed(now)?,
                    POSTMASTER => self.postmaster_died(now),
                    Token(socket) => self.adverts_arrived(socket)?,
                }
            }
            if self.supervisor.is_some() {
                self.tell(clock::now(), Input::Timer);
            }
            self.publish();
            if self.settles.take_if(|at| *at <= now).is_some() {
                memory::settle();
            }
        }
        self.finish();
        Ok(())
    }

    fn arm(&self) -> Result<()> {
        let routers = self.due.first().map(|(at, _)| *at);
        let supervisor = self.supervisor.as_ref().and_then(Supervisor::timer);
        self.timer.arm([routers, supervisor, self.watchdog, self.settles].into_iter().flatten().min())
    }

    // --- the virtual routers ------------------------------------------------------------------------------

    /// Wakes every virtual router whose time has come, and the one of `[vrrp]` always.
    fn wake_due(&mut self, now: Moment) {
        let due: Vec<Id> = self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect();
        for id in due.into_iter().chain(self.main) {
            self.act(now, id, |instance, edges| instance.wake(now, edges));
            self.act(now, id, |instance, edges| instance.keep(now, edges));
        }
    }

    /// Does something with a virtual router, and everything that follows from it.
    fn act<T>(
        &mut self,
        now: Moment,
        id: Id,
        work: impl FnOnce(&mut Instance, &mut Edges) -> T,
    ) -> Option<T> {
        let result = self.touch(id, work)?;
        if self.main == Some(id) && self.supervisor.is_some() {
            self.converse(now);
        } else {
            self.reschedule(now, id);
        }
        self.keep_together(now, id);
        Some(result)
    }

    fn touch<T>(&mut self, id: Id, work: impl FnOnce(&mut Instance, &mut Edges) -> T) -> Option<T> {
        self.instances.get_mut(&id).map(|instance| work(instance, &mut self.edges))
    }

    /// Carries out what a virtual router still has to say, and arms its timer anew.
    fn reschedule(&mut self, now: Moment, id: Id) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        while instance.step(now, &mut self.edges) {}
        let next = instance.timer();
        if self.armed.get(&id).copied() == next {
            return;
        }
        if let Some(before) = self.armed.remove(&id) {
            self.due.remove(&(before, id));
        }
        if let Some(at) = next {
            self.armed.insert(id, at);
            self.due.insert((at, id));
        }
    }

    fn main(&self) -> Option<&Instance> {
        self.instances.get(&self.main?)
    }

    // --- what arrives -------------------------------------------------------------------------------------

    fn signals_arrived(&mut self, now: Moment) {
        while let Some(signal) = self.signals.read() {
            match signal {
                Signal::SIGHUP => self.reload(now),
                _ if self.supervisor.is_some() => {
                    drop(self.notify.stopping());
                    self.tell(now, Input::Terminate);
                }
                _ => {
                    drop(self.notify.stopping());
                    self.note(Event::new(EventKind::Stopping, "stopping"));
                    self.leaving = true;
                }
            }
        }
    }

    fn messages_arrived(&mut self, now: Moment) -> Result<()> {
        self.waker.drain()?;
        while let Ok(message) = self.messages.try_recv() {
            match message {
                Message::Seen(seen) => self.server_seen(now, seen),
                Message::Answered { round, view } => self.tell(now, Input::PeerAnswered { round, view }),
                Message::GatewayAsked { asked, answered } => {
                    self.tell(now, Input::GatewayAsked { asked, answered });
                }
                Message::Probed { round, mac } => self.tell(now, Input::VipProbed { round, mac }),
                Message::Worker(Told::Progress(progress)) => self.progress(progress),
                Message::Worker(Told::Done(result)) => self.tell(now, Input::PlanDone(result)),
                Message::Worker(Told::Upkeep(why)) => self.tended(why),
                Message::Started(result) => self.tell(now, Input::Started(result)),
                Message::Rejoined(result) => self.tell(now, Input::Rejoined(result)),
                Message::Fenced { node, result } => self.tell(now, Input::Fenced { node, result }),
                Message::Call(call) => self.answer(now, call),
                Message::Notified(ran) => self.notified(&ran),
                Message::Sighted(sighting) => self.sighted(now, sighting),
                Message::Renewed(id, renewal) => {
                    self.act(now, id, |instance, edges| instance.renewed(now, renewal, edges));
                }
            }
        }
        Ok(())
    }

    /// Takes the end of a job beside the plans; what it couldn't do is said once.
    fn tended(&mut self, why: Option<String>) {
        let Some(database) = &mut self.database else { return };
        database.tending = false;
        if database.upkeep_trouble == why {
            return;
        }
        database.upkeep_trouble.clone_from(&why);
        if let Some(why) = why {
            self.note(Event::new(EventKind::Upkeep, format!("upkeep of the votes: {why}")));
        }
        if let Some(database) = &self.database {
            database.watch.poke();
        }
    }

    fn server_seen(&mut self, now: Moment, seen: Seen) {
        match (seen.postmaster, &self.postmaster) {
            (Some(pid), Some((known, _))) if pid == *known => {}
            (Some(pid), _) => {
                self.forget_postmaster();
                if let Ok(Some(pidfd)) = Pidfd::open(pid)
                    && self.edges.poller.add(&pidfd, POSTMASTER).is_ok()
                {
                    self.postmaster = Some((pid, pidfd));
                }
            }
            (None, _) => self.forget_postmaster(),
        }
        if let Local::Standby(view) | Local::Primary(view) = &seen.local {
            self.edges.recorder.at_position(view);
        }
        self.tell(now, Input::Local(seen.local));
    }

    fn postmaster_died(&mut self, now: Moment) {
        if self.postmaster.is_some() {
            self.forget_postmaster();
            self.tell(now, Input::Local(Local::Down { why: "the postmaster ended".to_owned() }));
            if let Some(database) = &self.database {
                database.watch.poke();
            }
        }
    }

    fn forget_postmaster(&mut self) {
        if let Some((_, pidfd)) = self.postmaster.take() {
            drop(self.edges.poller.remove(&pidfd));
        }
    }

    fn adverts_arrived(&mut self, token: u64) -> Result<()> {
        let mut buffer = [0; LARGEST_PACKET];
        for _ in 0..PACKETS_AT_ONCE {
            let Some((socket, key)) = self.edges.socket(token) else { break };
            let Some(datagram) = socket.recv(&mut buffer)? else { break };
            // Another socket's packet: a raw socket hears what any address of its interface is sent.
            if !datagram.destination.is_multicast() && datagram.destination != key.source {
                continue;
            }
            let Some(id) =
                wire::peek_vrid(datagram.payload).and_then(|vrid| self.edges.router_of(token, vrid.get()))
            else {
                continue;
            };
            let packet = RxPacket {
                ttl: Some(datagram.ttl),
                source: datagram.source,
                destination: datagram.destination,
                payload: datagram.payload,
            };
            let (now, from) = (clock::now(), datagram.source);
            let received =
                |loop_: &Self| loop_.main().map_or(0, |main| main.router().stats().priority_zero_received);
            let supervised = self.main == Some(id) && self.supervisor.is_some();
            let listened_to = supervised && self.listens_to(from);
            let before = received(self);
            self.act(now, id, |instance, edges| instance.packet(now, &packet, edges));
            if listened_to && received(self) != before {
                self.tell(now, Input::Farewell { from: self.senders.node_of(from) });
            }
            if self.main == Some(id)
                && let Some(heard) = self.main().and_then(|main| main.router().last_heard())
            {
                self.senders.hear(heard, &self.settings.nodes);
            }
        }
        Ok(())
    }

    /// Returns whether a farewell from there would be that of the Active router that is listened to.
    fn listens_to(&self, from: IpAddr) -> bool {
        self.main().is_some_and(|main| {
            main.router().state() == State::Backup
                && main
                    .router()
                    .last_heard()
                    .is_some_and(|heard| heard.from == from && heard.priority != Priority::RELEASE)
        })
    }

    // --- the supervisor -----------------------------------------------------------------------------------

    fn tell(&mut self, now: Moment, input: Input) {
        if let Some(supervisor) = &mut self.supervisor {
            supervisor.handle(now, input);
        }
        self.converse(now);
    }

    /// Lets the router of `[vrrp]` and the supervisor talk until neither has anything more to say.
    fn converse(&mut self, now: Moment) {
        if self.supervisor.is_none() {
            return;
        }
        let Some(main) = self.main else { return };
        loop {
            // Orders first: what drops the address must not wait for what the router has to tell.
            if let Some(order) = self.supervisor.as_mut().and_then(Supervisor::next_order) {
                self.carry_out(now, main, order);
            } else if let Some(news) = self.instances.get_mut(&main).and_then(Instance::next_news) {
                if let (Some(input), Some(supervisor)) =
                    (heard_by_supervisor(news, &self.senders), &mut self.supervisor)
                {
                    supervisor.handle(now, input);
                }
            } else if !self.touch(main, |instance, edges| instance.step(now, edges)).unwrap_or(false) {
                break;
            }
        }
        let holds = self.supervisor.as_ref().is_some_and(Supervisor::holds_vip);
        self.touch(main, |instance, edges| instance.hold(now, holds, edges));
        self.reschedule(now, main);
    }

    fn note(&mut self, event: Event) {
        self.edges.recorder.note(event);
    }

    /// The last words: addresses down, farewell if Active, socket away.
    fn finish(&mut self) {
        let now = clock::now();
        for (id, mut instance) in std::mem::take(&mut self.instances) {
            instance.stop(now, id, "stopping", true, &mut self.edges);
        }
        self.stop_groups();
        // The world is in order; what is left is to tell, which may take as long as the programs are allowed to.
        self.edges.notifier.finish();
        while let Ok(message) = self.messages.try_recv() {
            if let Message::Notified(ran) = message {
                self.notified(&ran);
            }
        }
        for caller in self.resigning.drain(..) {
            drop(caller.send(json!({ "schema": 1, "error": "the daemon is stopping" })));
        }
        self.control = None;
    }
}

/// Returns what the supervisor is told of an event of its router.
fn heard_by_supervisor(event: RouterEvent, senders: &senders::Senders) -> Option<Input> {
    match event {
        RouterEvent::Suspect { .. } => Some(Input::Suspect),
        RouterEvent::Heard { .. } => Some(Input::Heard),
        RouterEvent::Ask { reason: AskReason::Silence { .. } } => Some(Input::Ask(Asked::Silence)),
        RouterEvent::Ask { reason: AskReason::Farewell { from } } => {
            Some(Input::Ask(Asked::Farewell { from: senders.node_of(from) }))
        }
        RouterEvent::Contested { from, .. } => Some(Input::Contested { from: senders.node_of(from) }),
        RouterEvent::Overslept { by } => Some(Input::Overslept { by }),
        _ => None,
    }
}
