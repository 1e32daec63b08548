//! The loop: waits for one of its descriptors, feeds the router and the supervisor, carries out their orders.
//!
//! Nothing in this file blocks but [`Poller::wait`]. Netlink and ARP calls are single system calls of
//! microseconds; everything longer goes to `worker`.

mod said;

use crate::daemon::control::{Call, Server};
use crate::daemon::recorder::Recorder;
use crate::daemon::reporter::Reporter;
use crate::daemon::setup::{Node, Parts};
use crate::daemon::worker::{self, Askers, Job, Told};
use crate::error::Result;
use crate::host::clock::{self, Deadline};
use crate::host::process::Pidfd;
use crate::host::sdnotify::SdNotify;
use crate::net::driver::{Event as Ready, Poller, Signals, Timer, Token, Waker};
use crate::net::netlink::{AddressOptions, Monitor, NetEvent, Netlink};
use crate::net::socket::VrrpSocket;
use crate::net::vip::Announcer;
use crate::pg::gates::PeerView;
use crate::plan::apply::Progress;
use crate::plan::build::Vip;
use crate::promotion::event::{Event, EventKind};
use crate::promotion::supervisor::{Asked, Input, Local, Order, Phase, Supervisor};
use crate::units::{Mac, Moment};
use crate::vrrp::event::{AskReason, Event as RouterEvent, Output, Resign};
use crate::vrrp::router::Router;
use crate::vrrp::types::{Priority, State};
use crate::vrrp::wire::{self, Advert, RxPacket};
use crate::watch::{Seen, Watch};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

const TIMER: Token = Token(1);
const SIGNALS: Token = Token(2);
const MESSAGES: Token = Token(3);
const NETLINK: Token = Token(4);
const VRRP: Token = Token(5);
const POSTMASTER: Token = Token(6);

/// The largest VRRP message: 255 IPv6 addresses, and room for an IP header with options.
const LARGEST_PACKET: usize = 8 + 255 * 16 + 60;
/// How long the link is asked for the owner of a virtual IP; an answer comes within microseconds.
const PROBE_WAIT: Duration = Duration::from_millis(20);
/// How often a lease is renewed within its lifetime.
const RENEWALS: u32 = 4;

/// What other threads tell the loop.
#[derive(Debug)]
pub(in crate::daemon) enum Message {
    Seen(Seen),
    Answered { round: u64, view: PeerView },
    Probed { round: u64, mac: Option<Mac> },
    Worker(Told),
    Call(Call),
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
    let Parts { node, router, supervisor, log, control_socket, notify, lock } = parts;

    let poller = Poller::new()?;
    let timer = Timer::new()?;
    let monitor = Monitor::open()?;
    let socket = node.open_socket()?;
    poller.add(&timer, TIMER)?;
    poller.add(&signals, SIGNALS)?;
    poller.add(&waker, MESSAGES)?;
    poller.add(&monitor, NETLINK)?;
    poller.add(&socket, VRRP)?;

    let calls = mailbox.clone();
    let control = Server::start(&control_socket, move |call| calls.send(Message::Call(call)))?;
    let database = node.start_database_threads(&mailbox)?;
    let announcers =
        node.vips.iter().map(|vip| Announcer::open(&node.link, vip.address)).collect::<Result<Vec<_>>>()?;

    let mut daemon = Loop {
        recorder: Recorder::new(log),
        netlink: Netlink::open()?,
        database,
        announcers,
        node,
        router,
        supervisor,
        poller,
        timer,
        signals,
        waker,
        messages,
        monitor,
        socket,
        mailbox,
        notify,
        control: Some(control),
        postmaster: None,
        held: false,
        renew: None,
        resigning: Vec::new(),
        state_since: clock::now(),
        leaving: false,
        told_status: String::new(),
        watchdog: None,
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
    pub(in crate::daemon) askers: Askers,
    pub(in crate::daemon) reporter: Reporter,
}

struct Loop {
    node: Node,
    router: Router,
    /// `None`: the daemon elects and moves the address only.
    supervisor: Option<Supervisor>,
    database: Option<Database>,
    announcers: Vec<Announcer>,
    recorder: Recorder,
    poller: Poller,
    timer: Timer,
    signals: Signals,
    waker: Waker,
    messages: Receiver<Message>,
    netlink: Netlink,
    monitor: Monitor,
    socket: VrrpSocket,
    mailbox: Mailbox,
    notify: SdNotify,
    control: Option<Server>,
    postmaster: Option<(u32, Pidfd)>,
    /// Whether the virtual IPs belong on this node now.
    held: bool,
    renew: Option<Moment>,
    resigning: Vec<Sender<Value>>,
    state_since: Moment,
    leaving: bool,
    told_status: String,
    watchdog: Option<Moment>,
}

impl Loop {
    /// Removes what a dead daemon left behind, then enters the election.
    fn start(&mut self) -> Result<()> {
        let now = clock::now();
        let text = format!(
            "{} on {}, virtual router {}",
            self.node.name,
            self.node.link.name,
            self.router.config().vrid
        );
        self.note(Event::new(EventKind::Started, text));
        // A virtual IP from an earlier life: whether it belongs here is what has to be found out first.
        self.remove_vips("left over from an earlier run")?;
        if let Some(supervisor) = &self.supervisor {
            debug_assert_eq!(supervisor.phase(), Phase::Starting);
            self.router.set_fault(now, true);
        } else if !self.node.link.is_usable() {
            self.router.set_fault(now, true);
        }
        self.router.startup(now);
        self.drain(now);
        // Nobody to tell is fine: the notification is a courtesy to systemd.
        drop(self.notify.ready("starting"));
        self.watchdog = self.notify.watchdog_interval().map(|interval| now + interval);
        Ok(())
    }

    fn turn(&mut self) -> Result<()> {
        let mut ready = Vec::new();
        while !self.leaving {
            self.arm()?;
            self.poller.wait(&mut ready)?;
            let now = clock::now();
            // The timer first: a loop that overslept must notice before it believes anything else.
            self.router.handle_timeout(now);
            self.drain(now);
            for Ready { token, .. } in &ready {
                match *token {
                    TIMER => drop(self.timer.drain()?),
                    SIGNALS => self.signals_arrived(now),
                    MESSAGES => self.messages_arrived(now)?,
                    NETLINK => self.links_changed(now)?,
                    VRRP => self.adverts_arrived()?,
                    POSTMASTER => self.postmaster_died(now),
                    _ => {}
                }
            }
            let now = clock::now();
            self.tell(now, Input::Timer);
            self.renew_leases(now);
            self.publish();
        }
        self.finish();
        Ok(())
    }

    fn arm(&mut self) -> Result<()> {
        let router = match self.router.poll_output() {
            Output::Timeout(at) => at,
            // Drained before: an output here would be one that nobody carried out.
            other => {
                self.output(clock::now(), other);
                Some(clock::now())
            }
        };
        let supervisor = self.supervisor.as_ref().and_then(Supervisor::timer);
        let watchdog = self.watchdog;
        self.timer.arm([router, supervisor, self.renew, watchdog].into_iter().flatten().min())
    }

    // --- what arrives -------------------------------------------------------------------------------------

    fn signals_arrived(&mut self, now: Moment) {
        while let Some(signal) = self.signals.read() {
            match signal {
                Signal::SIGHUP => {
                    self.recorder.warn("SIGHUP: a changed configuration is read at the next start");
                }
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
                Message::Probed { round, mac } => self.tell(now, Input::VipProbed { round, mac }),
                Message::Worker(Told::Progress(progress)) => self.progress(progress),
                Message::Worker(Told::Done(result)) => self.tell(now, Input::PlanDone(result)),
                Message::Call(call) => self.answer(now, call),
            }
        }
        Ok(())
    }

    fn server_seen(&mut self, now: Moment, seen: Seen) {
        match (seen.postmaster, &self.postmaster) {
            (Some(pid), Some((known, _))) if pid == *known => {}
            (Some(pid), _) => {
                self.forget_postmaster();
                if let Ok(Some(pidfd)) = Pidfd::open(pid)
                    && self.poller.add(&pidfd, POSTMASTER).is_ok()
                {
                    self.postmaster = Some((pid, pidfd));
                }
            }
            (None, _) => self.forget_postmaster(),
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
            drop(self.poller.remove(&pidfd));
        }
    }

    fn links_changed(&mut self, now: Moment) -> Result<()> {
        for event in self.monitor.read()? {
            match event {
                NetEvent::LinkChanged(link) if link.index == self.node.link.index => {
                    let (before, usable) = (self.node.link.is_usable(), link.is_usable());
                    self.node.link = link;
                    if before != usable {
                        self.link(now, usable);
                    }
                }
                NetEvent::LinkGone { index, .. } if index == self.node.link.index => {
                    self.node.link.carrier = false;
                    self.link(now, false);
                }
                NetEvent::AddressRemoved(address)
                    if self.held
                        && self
                            .node
                            .vips
                            .iter()
                            .any(|vip| vip.address.address() == address.address.address()) =>
                {
                    self.note(Event::new(
                        EventKind::AddressLost,
                        format!("{} was removed: putting it back", address.address),
                    ));
                    self.put_up(now);
                    self.router.announce_again(now);
                }
                NetEvent::Overrun if self.held => self.put_up(now),
                _ => {}
            }
        }
        self.drain(now);
        Ok(())
    }

    fn link(&mut self, now: Moment, up: bool) {
        if self.supervisor.is_some() {
            self.tell(now, Input::Link { up });
        } else {
            self.note(Event::new(EventKind::Link, if up { "the link is up" } else { "the link is down" }));
            self.router.set_fault(now, !up);
        }
        if up {
            self.router.announce_again(now);
        }
    }

    fn adverts_arrived(&mut self) -> Result<()> {
        let mut buffer = [0; LARGEST_PACKET];
        // Bounded, so that a flood can't keep the loop from its timers.
        for _ in 0..64 {
            let Some(datagram) = self.socket.recv(&mut buffer)? else { break };
            let packet = RxPacket {
                ttl: Some(datagram.ttl),
                source: datagram.source,
                destination: datagram.destination,
                payload: datagram.payload,
            };
            let now = clock::now();
            match wire::parse(&packet, &self.node.policy) {
                Ok((advert, form)) => {
                    self.router.stats_mut().checksum(form);
                    self.advert(now, datagram.source, &advert);
                }
                Err(reason) => self.router.stats_mut().discard(reason),
            }
        }
        Ok(())
    }

    fn advert(&mut self, now: Moment, from: IpAddr, advert: &Advert) {
        let farewell = advert.priority == Priority::RELEASE
            && self.router.state() == State::Backup
            && self
                .router
                .last_heard()
                .is_some_and(|heard| heard.from == from && heard.priority != Priority::RELEASE);
        self.router.handle_advert(now, from, advert);
        self.drain(now);
        if farewell {
            self.tell(now, Input::Farewell { from });
        }
    }

    // --- the router ---------------------------------------------------------------------------------------

    /// Carries out everything the router and the supervisor have to say.
    fn drain(&mut self, now: Moment) {
        loop {
            match self.router.poll_output() {
                Output::Timeout(_) => break,
                output => self.output(now, output),
            }
        }
        while let Some(order) = self.supervisor.as_mut().and_then(Supervisor::next_order) {
            self.carry_out(now, order);
        }
        if let Some(supervisor) = &self.supervisor {
            self.hold(now, supervisor.holds_vip());
        }
    }

    fn output(&mut self, now: Moment, output: Output) {
        match output {
            Output::Timeout(_) => {}
            Output::Send(advert) => {
                let group = crate::units::vrrp_group(self.node.source.is_ipv4());
                let message = advert.emit(self.node.checksum, self.node.source, group);
                // A link that is down says so by netlink; each advert that can't leave is not news.
                drop(self.socket.send(&message, group));
            }
            Output::Event(event) => self.router_event(now, event),
        }
    }

    fn router_event(&mut self, now: Moment, event: RouterEvent) {
        match event {
            RouterEvent::Entered { state, reason } => {
                self.state_since = now;
                let event = Event::new(EventKind::State, format!("VRRP {state}: {}", reason.explain()))
                    .with("state", state.to_string());
                self.note(event);
                if self.supervisor.is_none() {
                    self.elected(now, state);
                }
            }
            RouterEvent::Announce { burst, .. } => {
                for announcer in &self.announcers {
                    for _ in 0..burst {
                        drop(announcer.announce());
                    }
                }
            }
            RouterEvent::Suspect { .. } => self.tell(now, Input::Suspect),
            RouterEvent::Heard { .. } => self.tell(now, Input::Heard),
            RouterEvent::Ask { reason } => {
                let asked = match reason {
                    AskReason::Silence { .. } => Asked::Silence,
                    AskReason::Farewell { from } => Asked::Farewell { from },
                };
                self.tell(now, Input::Ask(asked));
            }
            RouterEvent::Contested { from, .. } => self.tell(now, Input::Contested { from }),
            RouterEvent::Overslept { by } => {
                if self.supervisor.is_none() {
                    self.note(Event::new(
                        EventKind::Overslept,
                        format!("slept {} ms too long", by.as_millis()),
                    ));
                    self.drop_vips("this process slept too long");
                }
                self.tell(now, Input::Overslept { by });
            }
            RouterEvent::Uncontested { from } => {
                self.note(Event::new(
                    EventKind::AdvertHeard,
                    format!("{from} no longer sends adverts as Active"),
                ));
            }
            RouterEvent::Differs { from, what } => {
                self.recorder
                    .warn(&format!("the adverts of {from} differ from this configuration: {what:?}"));
            }
        }
    }

    /// Without a database the election alone moves the address.
    fn elected(&mut self, now: Moment, state: State) {
        if state == State::Active {
            self.put_up(now);
            self.hold(now, true);
            self.note(Event::new(EventKind::Serving, "the virtual IP is here"));
        } else if self.held {
            self.drop_vips("no longer Active");
        }
    }

    // --- the supervisor -----------------------------------------------------------------------------------

    fn tell(&mut self, now: Moment, input: Input) {
        if let Some(supervisor) = &mut self.supervisor {
            supervisor.handle(now, input);
        }
        self.drain(now);
    }

    fn carry_out(&mut self, now: Moment, order: Order) {
        match order {
            Order::Ask { round, until } => self.ask(round, until),
            Order::Observe => {
                if let Some(database) = &self.database {
                    database.watch.poke();
                    drop(database.jobs.send(Job::Warm));
                }
            }
            Order::Promote { term } => self.job(Job::Promote { term }),
            Order::Serve { adopt } => self.job(Job::Serve { adopt }),
            Order::Release { stop } => {
                self.hold(now, false);
                self.job(Job::Release { stop });
            }
            Order::DropVip => self.drop_vips("not this node's to have"),
            Order::Eligible(eligible) => self.router.set_fault(now, !eligible),
            Order::Grant => {
                if self.router.state() == State::Active {
                    self.router.announce_again(now);
                } else {
                    self.router.grant(now);
                }
            }
            Order::Yield { farewell } => {
                self.router.resign(now, Resign { farewell, hold: None });
            }
            Order::Note(event) => self.note(event),
            Order::Resigned(result) => {
                let answer = match result {
                    Ok(()) => json!({ "schema": 1, "resigned": true }),
                    Err(why) => json!({ "schema": 1, "error": why }),
                };
                for caller in self.resigning.drain(..) {
                    drop(caller.send(answer.clone()));
                }
            }
            Order::Exit => self.leaving = true,
        }
        // Orders make the router speak; what it says comes before the next order.
        while let output @ (Output::Send(_) | Output::Event(_)) = self.router.poll_output() {
            self.output(now, output);
        }
    }

    fn ask(&mut self, round: u64, until: Moment) {
        let Some(database) = &self.database else { return };
        let mailbox = self.mailbox.clone();
        database.askers.ask(Deadline::at(until), &move |view| {
            mailbox.send(Message::Answered { round, view });
        });
        let mailbox = self.mailbox.clone();
        let vips = self.node.vips.iter().map(|vip| vip.address.address()).collect();
        worker::probe(self.node.link.clone(), vips, PROBE_WAIT, move |mac| {
            mailbox.send(Message::Probed { round, mac });
        });
    }

    fn job(&mut self, job: Job) {
        if let Some(database) = &self.database {
            drop(database.jobs.send(job));
        }
    }

    fn progress(&mut self, progress: Progress) {
        match progress {
            Progress::Started { at, step, describe } => {
                self.recorder.note_at(at, Event::new(EventKind::StepStarted, describe).with("step", step));
            }
            Progress::Done { at, step, report } => {
                let text = match &report.detail {
                    Some(detail) => format!("{}: {detail}", report.describe),
                    None => report.describe.clone(),
                };
                let event = Event::new(EventKind::StepDone, text)
                    .with("step", step)
                    .with("status", serde_json::to_value(report.status).unwrap_or(Value::Null))
                    .with("took_ms", report.took_ms);
                self.recorder.note_at(at, event);
            }
        }
    }

    // --- the virtual IPs ----------------------------------------------------------------------------------

    /// Notes whether the addresses belong here, and begins or ends the renewal of their lease.
    fn hold(&mut self, now: Moment, held: bool) {
        if self.held != held {
            self.held = held;
            self.renew = if held { self.renewal().map(|interval| now + interval) } else { None };
        }
    }

    fn renewal(&self) -> Option<Duration> {
        self.node.vips.iter().filter_map(|vip| vip.lease).min().map(|lease| lease / RENEWALS)
    }

    fn renew_leases(&mut self, now: Moment) {
        if self.held && self.renew.is_some_and(|at| now >= at) {
            self.put_up(now);
            self.renew = self.renewal().map(|interval| now + interval);
        }
    }

    /// Puts the addresses up, or renews their lease: one system call each.
    fn put_up(&mut self, now: Moment) {
        for index in 0..self.node.vips.len() {
            let Some(Vip { address, label, lease, .. }) = self.node.vips.get(index).cloned() else {
                continue;
            };
            let options = AddressOptions { label, lease, replace: true, ..AddressOptions::default() };
            if let Err(error) = self.netlink.add_address(self.node.link.index, address, &options) {
                self.recorder.warn(&format!("can't keep {address} on {}: {error}", self.node.link.name));
                self.renew = Some(now + Duration::from_millis(200));
            }
        }
    }

    fn drop_vips(&mut self, why: &str) {
        self.held = false;
        self.renew = None;
        if let Err(error) = self.remove_vips(why) {
            self.recorder.warn(&format!("can't remove the virtual IP: {error}"));
        }
    }

    fn remove_vips(&mut self, why: &str) -> Result<()> {
        let present = self.netlink.addresses()?;
        for vip in self.node.vips.clone() {
            let index = self.node.link.index;
            for address in present.iter().filter(|address| {
                address.index == index && address.address.address() == vip.address.address()
            }) {
                self.netlink.delete_address(address.index, address.address)?;
                self.note(Event::new(EventKind::VipRemoved, format!("removed {}: {why}", vip.address)));
            }
        }
        Ok(())
    }

    fn note(&mut self, event: Event) {
        self.recorder.note(event);
    }

    /// The last words: addresses down, farewell if Active, socket away.
    fn finish(&mut self) {
        let now = clock::now();
        self.drop_vips("stopping");
        if self.supervisor.is_some() {
            // A guarded farewell is a proof, and was sent with the release if it was one.
            self.router.resign(now, Resign { farewell: false, hold: None });
        }
        self.router.shutdown(now);
        while let output @ (Output::Send(_) | Output::Event(_)) = self.router.poll_output() {
            self.output(now, output);
        }
        for caller in self.resigning.drain(..) {
            drop(caller.send(json!({ "schema": 1, "error": "the daemon is stopping" })));
        }
        self.control = None;
    }
}
