//! One virtual router with its effects: it sends its adverts, announces, adds and removes its addresses.
//!
//! The router decides; here its decisions are carried out, one system call each. What a supervisor has to hear
//! of (only the router of `[vrrp]` beside PostgreSQL has one) is left in [`Instance::next_news`].

mod depends;
mod said;
mod signed;
mod vips;
mod vmac;

pub(super) use self::depends::Depends;

use super::drops::Drops;
use super::edges::{Edges, Id};
use super::notify::Change as Told;
use super::spec::{Place, Spec};
use crate::error::{Error, Result};
use crate::net::netlink::{Address, Link};
use crate::promotion::event::{Event, EventKind};
use crate::settings::OnAddressLoss;
use crate::units::Moment;
use crate::vrrp::config::Config as RouterConfig;
use crate::vrrp::event::{Event as RouterEvent, Output, Reason, Resign, Round};
use crate::vrrp::router::{Election, Router};
use crate::vrrp::signature::{Guard, Signer};
use crate::vrrp::types::State;
use crate::vrrp::wire::{self, RxPacket, RxPolicy};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

/// How often a lease is renewed within its lifetime.
const RENEWALS: u32 = 4;
/// Into how many parts the time between two renewals is divided among the virtual routers.
const SHARES: u8 = 128;
/// How soon an address that couldn't be added is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(200);

/// A running virtual router.
#[derive(Debug)]
pub(super) struct Instance {
    id: Id,
    spec: Spec,
    router: Router,
    policy: RxPolicy,
    socket: u64,
    /// The interface of its own, and whether it is up.
    vmac: Option<(Link, bool)>,
    /// Whether the virtual IPs belong on this node now.
    held: bool,
    renew: Option<Moment>,
    since: Moment,
    /// Addresses still to be announced, and when the next one may be.
    announcements: VecDeque<IpAddr>,
    announce_at: Option<Moment>,
    faults: Faults,
    depends: Depends,
    /// Whether an address couldn't be added, and is to be tried again.
    unplaced: bool,
    /// Whether it was said that an address can't be kept.
    complained: bool,
    drops: Drops,
    signer: Signer,
    guard: Guard,
    unsent: u64,
    news: VecDeque<RouterEvent>,
}

/// What keeps a free router out of the election.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent causes, each with its name")]
struct Faults {
    link: bool,
    source: bool,
    address: bool,
    /// Something that is tracked, or not known yet.
    depends: bool,
    /// Another router of its group.
    group: bool,
}

impl Instance {
    /// Makes a router and its place on a socket, and removes what an earlier life left of its addresses.
    pub(super) fn new(
        now: Moment,
        spec: Spec,
        id: Id,
        present: &[Address],
        alias: &str,
        edges: &mut Edges,
    ) -> Result<Self> {
        let router = Router::new(spec.router.clone()).map_err(|error| Error::config(error.to_string()))?;
        let vmac = edges.make_vmac(&spec, alias)?;
        let socket = edges.join(&spec, vmac.as_ref().unwrap_or(&spec.link), id).inspect_err(|_| {
            if let Some(vmac) = &vmac {
                edges.remove_vmac(&spec.link, vmac).ok();
            }
        })?;
        let instance = Self {
            id,
            policy: spec.policy(),
            router,
            socket,
            vmac: vmac.map(|link| (link, false)),
            held: false,
            renew: None,
            since: now,
            announcements: VecDeque::new(),
            announce_at: None,
            faults: Faults::default(),
            depends: Depends { priority: spec.router.priority, fault: None, waits: None, why: String::new() },
            unplaced: false,
            complained: false,
            drops: Drops::default(),
            signer: Signer::default(),
            guard: Guard::default(),
            unsent: 0,
            news: VecDeque::new(),
            spec,
        };
        // A virtual IP from an earlier life: whether it belongs here is what has to be found out first.
        instance.remove_leftovers(present, edges)?;
        Ok(instance)
    }

    /// Enters the election. A guarded router stays out until its supervisor lets it in.
    pub(super) fn startup(&mut self, now: Moment, edges: &mut Edges) {
        if self.is_guarded() {
            self.router.set_fault(now, true);
        } else {
            self.faults.link = !self.spec.link.is_usable();
            self.router.set_fault(now, self.faults != Faults::default());
        }
        self.router.startup(now);
        // Before the first results nothing is known to be wrong.
        let unknown = self.depends.fault.is_none() && self.depends.waits.is_some();
        let others = Faults { depends: self.faults.depends && !unknown, ..self.faults };
        if !self.is_guarded() && others != Faults::default() {
            self.tell(Told::Fault, edges);
        }
    }

    pub(super) const fn spec(&self) -> &Spec {
        &self.spec
    }

    pub(super) const fn router(&self) -> &Router {
        &self.router
    }

    pub(super) const fn router_mut(&mut self) -> &mut Router {
        &mut self.router
    }

    pub(super) const fn is_held(&self) -> bool {
        self.held
    }

    fn is_guarded(&self) -> bool {
        self.spec.router.election == Election::Guarded
    }

    /// Returns the next thing that a supervisor has to hear of.
    pub(super) fn next_news(&mut self) -> Option<RouterEvent> {
        self.news.pop_front()
    }

    // --- time ---------------------------------------------------------------------------------------------

    /// Returns when it wants to be woken next; everything it had to say must have been carried out.
    pub(super) fn timer(&mut self) -> Option<Moment> {
        let Output::Timeout(router) = self.router.poll_output() else { return Some(Moment::BOOT) };
        [router, self.renew, self.announce_at].into_iter().flatten().min()
    }

    /// Lets the router do what is due; before [`Self::keep`], because a router that overslept must not renew.
    pub(super) fn wake(&mut self, now: Moment, edges: &mut Edges) {
        self.router.handle_timeout(now);
        self.carry_out(now, edges);
    }

    /// Renews the leases and sends the announcements that are due.
    pub(super) fn keep(&mut self, now: Moment, edges: &mut Edges) {
        if self.held && self.renew.is_some_and(|at| now >= at) {
            self.renew = self.renewal().map(|interval| now + interval);
            if self.unplaced {
                self.put_up(now, edges);
            } else {
                self.have_renewed(now, edges);
            }
        }
        self.announce_due(now, edges);
    }

    // --- what arrives -------------------------------------------------------------------------------------

    /// Takes a packet of this virtual router.
    pub(super) fn packet(&mut self, now: Moment, packet: &RxPacket<'_>, edges: &mut Edges) {
        let parsed = wire::parse(packet, &self.policy);
        match parsed.and_then(|parsed| self.verify(packet).map(|()| parsed)) {
            Ok((advert, form)) => {
                self.router.stats_mut().checksum(form);
                self.router.handle_advert(now, packet.source, &advert);
                self.carry_out(now, edges);
            }
            Err(reason) => {
                self.router.stats_mut().discard_from(reason, packet.source);
                if let Some(line) = self.drops.note(now, packet.source, reason) {
                    edges.recorder.warn(&self.labelled(&line));
                }
            }
        }
    }

    /// Takes the new properties of its interface; returns whether it can be used now, if that has changed.
    pub(super) fn link_changed(&mut self, now: Moment, link: &Link, edges: &mut Edges) -> Option<bool> {
        let (before, usable) = (self.spec.link.is_usable(), link.is_usable());
        self.spec.link = link.clone();
        if before == usable {
            return None;
        }
        if !self.is_guarded() {
            let text = if usable { "the link is up" } else { "the link is down" };
            self.note(Event::new(EventKind::Link, text), edges);
            self.faults.link = !usable;
            self.apply_faults(now, edges);
        }
        if usable {
            self.router.announce_again(now);
        }
        self.carry_out(now, edges);
        Some(usable)
    }

    /// Returns whether it has to do with this address of this interface.
    pub(super) fn knows(&self, index: u32, ip: IpAddr) -> bool {
        let RouterConfig { source, addresses, .. } = &self.spec.router;
        (self.spec.link.index == index && *source == ip)
            || (self.home().index == index && addresses.contains(&ip))
    }

    /// Learns that an address was removed from its interface, by anyone.
    pub(super) fn address_removed(&mut self, now: Moment, address: IpAddr, edges: &mut Edges) {
        if address == self.spec.router.source && !self.is_guarded() {
            self.faults.source = true;
            let text = format!("{address}, where the adverts come from, was removed");
            self.note(Event::new(EventKind::AddressLost, text), edges);
            self.apply_faults(now, edges);
        }
        let mine = self.spec.vips.iter().any(|place| place.vip.address.address() == address);
        if !self.held || !mine || !self.is_missing(address, edges) {
            return;
        }
        match self.spec.on_loss {
            OnAddressLoss::Restore => {
                let text = format!("{address} was removed: putting it back");
                self.note(Event::new(EventKind::AddressLost, text), edges);
                self.put_up(now, edges);
                self.router.announce_again(now);
            }
            OnAddressLoss::Fault => {
                let text = format!("{address} was removed: leaving the election until the next reload");
                self.note(Event::new(EventKind::AddressLost, text), edges);
                self.faults.address = true;
                self.apply_faults(now, edges);
            }
        }
        self.carry_out(now, edges);
    }

    /// Learns that an address was added to its interface.
    pub(super) fn address_added(&mut self, now: Moment, address: IpAddr, edges: &mut Edges) {
        if self.faults.source && address == self.spec.router.source {
            self.faults.source = false;
            self.apply_faults(now, edges);
        }
    }

    /// Makes sure of its addresses after events were lost.
    pub(super) fn make_sure(&mut self, now: Moment, edges: &mut Edges) {
        if self.held {
            self.put_up(now, edges);
        }
    }

    /// The events of the past may be about an address that is back, or one that went with its link.
    fn is_missing(&self, address: IpAddr, edges: &mut Edges) -> bool {
        let Link { index, name, .. } = self.home().clone();
        let gone = edges
            .netlink
            .addresses()
            .is_ok_and(|present| !present.iter().any(|a| a.index == index && a.address.address() == address));
        gone && edges.netlink.link(&name).is_ok_and(|link| link.up)
    }

    fn apply_faults(&mut self, now: Moment, edges: &mut Edges) {
        if !self.is_guarded() {
            self.router.set_fault(now, self.faults != Faults::default());
            self.carry_out(now, edges);
        }
    }

    // --- what is asked of it ------------------------------------------------------------------------------

    /// Becomes what it should be now, without leaving the election; also ends a fault that a person caused.
    pub(super) fn reconfigure(&mut self, now: Moment, spec: Spec, edges: &mut Edges) -> Result<()> {
        let kept = |place: &Place| spec.vips.iter().any(|new| new.vip.address == place.vip.address);
        let gone: Vec<Place> = self.spec.vips.iter().filter(|place| !kept(place)).cloned().collect();
        let changed = !spec.same(&self.spec);
        // A priority that has been moved stays where it is until it is judged anew.
        let priority = if spec.router.priority == self.spec.router.priority {
            self.router.config().priority
        } else {
            spec.router.priority
        };
        self.router
            .reconfigure(now, RouterConfig { priority, ..spec.router.clone() })
            .map_err(|error| Error::failed(error.to_string()))?;
        if !gone.is_empty() {
            edges.stop_renewing(self.id);
        }
        for place in gone {
            self.remove(&place, "no longer configured", edges);
        }
        let link = self.spec.link.clone();
        let more = spec.vips.iter().any(|new| !self.spec.vips.contains(new));
        self.policy = spec.policy();
        self.spec = Spec { link, ..spec };
        if self.held && more {
            self.put_up(now, edges);
            self.router.announce_again(now);
        }
        self.renew = self.renewal().filter(|_| self.held).map(|interval| now + interval);
        if changed {
            edges.recorder.info(&self.labelled("runs on with the new configuration"));
        }
        if self.spec.group.is_none() {
            self.faults.group = false;
            self.apply_faults(now, edges);
        }
        self.clear_fault(now, edges);
        self.carry_out(now, edges);
        Ok(())
    }

    /// Ends a fault that a person caused by removing an address.
    pub(super) fn clear_fault(&mut self, now: Moment, edges: &mut Edges) {
        if std::mem::take(&mut self.faults.address) {
            self.apply_faults(now, edges);
        }
    }

    /// Hands over without a database: farewell, and no return until another had time to take over.
    pub(super) fn resign(&mut self, now: Moment, edges: &mut Edges) -> bool {
        let hold = self.router.down_interval() * 2;
        let was_active = self.router.state() == State::Active;
        if was_active {
            self.drop_vips("resigned", edges);
            self.router.resign(now, Resign { farewell: true, hold: Some(hold) });
            self.carry_out(now, edges);
        }
        was_active
    }

    /// Stops, with the daemon or alone: addresses down, farewell if Active.
    pub(super) fn stop(&mut self, now: Moment, id: Id, why: &str, leaving: bool, edges: &mut Edges) {
        self.drop_vips(why, edges);
        if self.is_guarded() {
            // A guarded farewell is a proof, and was sent with the release if it was one.
            self.router.resign(now, Resign { farewell: false, hold: None });
        }
        self.router.shutdown(now);
        while self.step(now, edges) {}
        self.tell(if leaving { Told::Stop } else { Told::Gone }, edges);
        edges.leave(self.socket, id);
        self.remove_vmac(edges);
    }

    // --- the router ---------------------------------------------------------------------------------------

    /// Carries out everything a free router has to say. With a supervisor it is the loop that goes on, step by
    /// step: what the supervisor orders comes before the next step.
    fn carry_out(&mut self, now: Moment, edges: &mut Edges) {
        if !self.is_guarded() {
            while self.step(now, edges) {}
        }
    }

    /// Carries out one thing that the router has to say; returns whether there was one.
    pub(super) fn step(&mut self, now: Moment, edges: &mut Edges) -> bool {
        let output = self.router.poll_output();
        let more = !matches!(output, Output::Timeout(_));
        self.output(now, output, edges);
        more
    }

    fn output(&mut self, now: Moment, output: Output, edges: &mut Edges) {
        match output {
            Output::Timeout(_) => self.close_vmac(edges),
            Output::Send(advert) => {
                self.open_vmac(edges);
                // A link that is down says so by netlink; each advert that can't leave is only counted.
                let trailer = self.sign(&advert);
                let trailer = trailer.as_ref().map_or(&[][..], |trailer| trailer.as_slice());
                if !edges.send(self.socket, &advert, self.spec.checksum, &self.spec.peers, trailer) {
                    self.unsent += 1;
                }
            }
            Output::Event(event) => self.event(now, event, edges),
        }
    }

    fn event(&mut self, now: Moment, event: RouterEvent, edges: &mut Edges) {
        let free = !self.is_guarded();
        match event {
            RouterEvent::Entered { state, reason } => {
                self.since = now;
                let text = format!("VRRP {state}: {}", reason.explain());
                let note = Event::new(EventKind::State, text).with("state", state.to_string());
                self.note(note, edges);
                if state != State::Active {
                    self.announcements.clear();
                    self.announce_at = None;
                }
                if free {
                    self.elected(now, state, edges);
                }
                match state {
                    State::Active => self.tell(Told::Master, edges),
                    State::Backup => self.tell(Told::Backup, edges),
                    State::Initialize if reason == Reason::Shutdown => {}
                    State::Initialize => self.tell(Told::Fault, edges),
                }
            }
            RouterEvent::Announce { burst, round } => {
                for _ in 0..burst {
                    self.announcements.extend(self.spec.vips.iter().map(|place| place.vip.address.address()));
                }
                self.announce_due(now, edges);
                match round {
                    Round::Contest => self.tell(Told::Contested, edges),
                    // Whoever lost may have set up what belongs to the winner alone: it is told once more.
                    Round::ContestOver => self.tell(Told::Master, edges),
                    _ => {}
                }
            }
            RouterEvent::Overslept { by } if free => {
                let text = format!("slept {} ms too long", by.as_millis());
                self.note(Event::new(EventKind::Overslept, text), edges);
                self.drop_vips("this process slept too long", edges);
            }
            RouterEvent::Uncontested { from } => {
                let text = format!("{from} no longer sends adverts as Active");
                self.note(Event::new(EventKind::AdvertHeard, text), edges);
            }
            RouterEvent::Differs { from, what } => {
                let text = format!("the adverts of {from} differ from this configuration: {what:?}");
                edges.recorder.warn(&self.labelled(&text));
            }
            _ => {}
        }
        if !free {
            self.news.push_back(event);
        }
    }

    /// Without a database the election alone moves the address.
    fn elected(&mut self, now: Moment, state: State, edges: &mut Edges) {
        if state == State::Active {
            self.hold(now, true, edges);
            self.put_up(now, edges);
            let text =
                if self.spec.vips.len() == 1 { "the virtual IP is here" } else { "the virtual IPs are here" };
            self.note(Event::new(EventKind::Serving, text), edges);
        } else if self.held {
            self.drop_vips("no longer Active", edges);
        }
    }

    fn announce_due(&mut self, now: Moment, edges: &mut Edges) {
        while !self.announcements.is_empty() {
            if self.announce_at.is_some_and(|at| at > now) {
                return;
            }
            if let Some(vip) = self.announcements.pop_front() {
                edges.announce(self.home(), vip);
            }
            self.announce_at = (!self.spec.pause.is_zero()).then(|| now + self.spec.pause);
        }
        self.announce_at = None;
    }
}
