//! The daemon's mind: from what is seen of the server, the link and the peers to orders. Pure.
//!
//! ```text
//!            Local(Standby)                 Ask                    all asked, gates pass
//! Starting ───────────────▶ Standby ───────────────▶ asking ───────────────────────────▶ Promoting
//!    │ Local(Primary)          ▲  ▲  refused: stays, says why                                │
//!    ▼                         │  └────────────────────────┘                                 │ done
//! Confirming ── newest ──▶ TakingUp ── done ──▶ Serving ◀────────────────────────────────────┘
//!    │  └─ can't know ─▶ Held (asks again)        │ server gone, hung, resign, terminate, older than a rival
//!    └─ older ─▶ Releasing ◀──────────────────────┘
//!                   └─ done ─▶ Down | Fenced | exit
//! ```
//!
//! Contract, as for the VRRP router: one call of [`Supervisor::handle`], then drain [`Supervisor::next_order`]
//! until it is empty, then arm a timer with [`Supervisor::timer`].

mod acting;
mod fencing;
mod gateway;
mod judging;
mod starting;
mod types;
mod voting;

pub use types::{
    Asked, Config, GatewayBounds, Input, Local, OnCrash, Order, Phase, PlanResult, Rejoin, Stop, Votes,
};

use super::event::{Event, EventKind};
use crate::pg::epoch::Term;
use crate::pg::gates::{LastKnown, LocalView, PeerView, Proof};
use crate::units::{Mac, Moment};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

/// What a round of questions is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Adverts are late; nothing is decided yet.
    Early,
    /// A standby wants to promote.
    Promote,
    /// A primary wants to know whether it is the newest.
    Confirm,
    /// A serving primary hears a rival.
    Contest,
    /// A node that is down, or has lost its primary, wants to know why.
    Explain,
    /// A serving primary asks whether it is still the newest.
    Heartbeat,
}

#[derive(Debug)]
struct Round {
    id: u64,
    purpose: Purpose,
    started: Moment,
    until: Moment,
    answers: Vec<PeerView>,
    vip: LinkAnswer,
}

/// What the link said about the virtual IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LinkAnswer {
    Asking,
    Nobody,
    Owner(Mac),
}

impl LinkAnswer {
    const fn owner(self) -> Option<Mac> {
        match self {
            Self::Owner(mac) => Some(mac),
            Self::Asking | Self::Nobody => None,
        }
    }
}

/// What follows when the release plan is done.
#[derive(Debug, Clone, PartialEq, Eq)]
enum After {
    Down { why: String, farewell: bool },
    Fenced { why: String },
    Exit,
}

/// The supervisor.
#[expect(clippy::struct_excessive_bools, reason = "independent facts; the state is the phase")]
#[derive(Debug)]
pub struct Supervisor {
    config: Config,
    phase: Phase,
    local: Option<Local>,
    reason: Option<String>,
    hint: Option<String>,
    round: Option<Round>,
    rounds: u64,
    orders: VecDeque<Order>,
    timer: Option<Moment>,
    /// The Active node said farewell and hasn't been heard since.
    farewell: Option<IpAddr>,
    /// Adverts are late, since when.
    silent_since: Option<Moment>,
    after: Option<After>,
    terminating: bool,
    resigning: bool,
    eligible: bool,
    link_down_since: Option<Moment>,
    /// The term of the standby that the local server was, until it serves or these eyes were shut.
    standby_term: Option<Term>,
    /// The last thing that was said, so that it is said once.
    said: Option<String>,
    /// When the next heartbeat is due.
    heartbeat: Option<Moment>,
    /// When a majority last answered.
    majority_at: Option<Moment>,
    /// When the gateway is asked next, when it was asked last and whether it answered.
    gateway_next: Option<Moment>,
    gateway_said: Option<(Moment, bool)>,
    /// When the last question was asked that the gateway or another node answered, while this server is a primary.
    answered_at: Option<Moment>,
    /// Since when this standby has been without its primary.
    lost_since: Option<Moment>,
    /// Who was proved dead since the adverts stopped, and who is being made so.
    proofs: Vec<(String, Proof)>,
    fencing: Vec<String>,
    fenced_once: bool,
    /// Why the operator has paused the cluster; kept while the server can't be asked.
    paused: Option<String>,
    /// The newest term that any other node was seen to have data of.
    newest_term: Option<Term>,
    /// When the others may be asked again who the primary is.
    explain_due: Option<Moment>,
    /// When a rejoin may be tried again, and how often it has failed.
    rejoin_after: Option<Moment>,
    rejoin_failures: u32,
    /// The term of the last plan.
    plan_term: Option<Term>,
    /// Since when the server is down that may be started again as a standby, should nobody else serve.
    stopped_at: Option<Moment>,
    /// Whether the server is being started.
    starting: bool,
    /// When a restart here has taken too long.
    restart_until: Option<Moment>,
    /// When the last restart began.
    restarted_at: Option<Moment>,
}

impl Supervisor {
    /// Creates a supervisor that knows nothing yet.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            phase: Phase::Starting,
            local: None,
            reason: None,
            hint: None,
            round: None,
            rounds: 0,
            orders: VecDeque::new(),
            timer: None,
            farewell: None,
            silent_since: None,
            after: None,
            terminating: false,
            resigning: false,
            eligible: false,
            link_down_since: None,
            standby_term: None,
            said: None,
            heartbeat: None,
            majority_at: None,
            gateway_next: None,
            gateway_said: None,
            answered_at: None,
            lost_since: None,
            proofs: Vec::new(),
            fencing: Vec::new(),
            fenced_once: false,
            paused: None,
            newest_term: None,
            explain_due: None,
            rejoin_after: None,
            rejoin_failures: 0,
            plan_term: None,
            stopped_at: None,
            starting: false,
            restart_until: None,
            restarted_at: None,
        }
    }

    /// Returns the phase.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Returns why the node doesn't serve, when there is something to say.
    pub fn reason(&self) -> Option<&str> {
        self.paused.as_deref().or(self.reason.as_deref())
    }

    /// Returns what a person can do about the reason.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Returns the term of the local data, if the server was seen.
    pub fn term(&self) -> Option<Term> {
        self.view().and_then(|view| view.term)
    }

    /// Returns how far the primary's log had got when this standby last heard of it.
    pub fn primary_known(&self) -> Option<LastKnown> {
        self.view().and_then(|view| view.primary_known)
    }

    /// Returns whether the virtual IPs belong on this node now, so that their lease is renewed.
    pub fn holds_vip(&self) -> bool {
        self.phase == Phase::Serving
    }

    /// Returns the next order.
    pub fn next_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// Returns when [`Input::Timer`] is wanted.
    pub fn timer(&self) -> Option<Moment> {
        let round = self.round.as_ref().map(|round| round.until);
        let isolation = match (self.link_down_since, self.config.isolation, self.phase) {
            (Some(since), Some(after), Phase::Serving) => Some(since + after),
            _ => None,
        };
        let gateway = self.gateway_due().into_iter().chain(self.gateway_end()).min();
        [round, self.timer, isolation, self.heartbeat_due(), self.lease_end(), self.restart_until, gateway]
            .into_iter()
            .flatten()
            .min()
    }

    /// Takes one input; the orders that follow are drained with [`Self::next_order`].
    pub fn handle(&mut self, now: Moment, input: Input) {
        match input {
            Input::Local(local) => self.local_seen(now, local),
            Input::Suspect => self.suspect(now),
            Input::Heard => {
                self.silent_since = None;
                self.farewell = None;
                self.forget_proofs();
                self.note(Event::new(EventKind::AdvertHeard, "adverts are heard again"));
                if self.phase == Phase::Asking {
                    self.enter(Phase::Standby);
                    self.round = None;
                }
                if self.phase == Phase::Standby {
                    // The refusal was about that silence; the next one is a story of its own.
                    self.said = None;
                    self.reason = None;
                    self.hint = None;
                }
            }
            Input::Farewell { from } => {
                self.farewell = Some(from);
                self.note(Event::new(
                    EventKind::FarewellHeard,
                    format!("{} leaves: it sent priority 0, its PostgreSQL has stopped", self.name_of(from)),
                ));
                if self.phase == Phase::Standby {
                    self.ask_around(now, Purpose::Early);
                }
            }
            Input::Ask(asked) => self.may_ask(now, asked),
            Input::Contested { from } => self.contested(now, from),
            Input::Overslept { by } => self.overslept(now, by),
            Input::PeerAnswered { round, view } => self.peer_answered(now, round, view),
            Input::GatewayAsked { asked, answered } => self.gateway_asked(now, asked, answered),
            Input::VipProbed { round, mac } => self.vip_probed(now, round, mac),
            Input::PlanDone(result) => self.plan_done(now, result),
            Input::Rejoined(result) => self.rejoined(now, result),
            Input::Started(result) => self.started(now, result),
            Input::Fenced { node, result } => self.fence_ended(now, node, result),
            Input::Link { up } => self.link(now, up),
            Input::Resign => self.resign(),
            Input::Terminate => self.terminate(),
            Input::Timer => {}
        }
        self.run_timers(now);
    }

    // --- what is seen -------------------------------------------------------------------------------------

    fn local_seen(&mut self, now: Moment, local: Local) {
        let previous = self.local.replace(local.clone());
        match &local {
            Local::Standby(view) => self.standby_term = Some(view.term.unwrap_or_default()),
            Local::Down { .. } => self.standby_term = None,
            Local::Primary(_) | Local::Starting { .. } | Local::Hung { .. } => {}
        }
        match (&previous, &local) {
            (Some(Local::Standby(_) | Local::Primary(_) | Local::Hung { .. }), Local::Down { why }) => {
                self.note(Event::new(EventKind::PostmasterGone, format!("PostgreSQL is gone: {why}")));
            }
            (None | Some(Local::Down { .. } | Local::Starting { .. }), Local::Standby(_)) => {
                self.note(Event::new(EventKind::PostmasterUp, "PostgreSQL runs as a standby"));
            }
            (None | Some(Local::Down { .. } | Local::Starting { .. }), Local::Primary(_)) => {
                self.note(Event::new(EventKind::PostmasterUp, "PostgreSQL runs as a primary"));
            }
            (Some(before), Local::Hung { why }) if !matches!(before, Local::Hung { .. }) => {
                self.note(Event::new(EventKind::ProbeFailed, format!("PostgreSQL doesn't answer: {why}")));
            }
            _ => {}
        }
        self.look_for_pause();
        match self.phase {
            Phase::Promoting | Phase::TakingUp | Phase::Releasing | Phase::Rejoining => {}
            Phase::Restarting => self.back(now, &local),
            // Maintenance: the server may be stopped and started, the address stays.
            Phase::Serving if self.paused.is_some() => {}
            Phase::Serving => match local {
                Local::Primary(_) | Local::Starting { .. } => {}
                Local::Standby(_) => self.give_up("PostgreSQL restarted as a standby".to_owned()),
                Local::Down { why } => self.crashed(now, format!("PostgreSQL is gone: {why}")),
                Local::Hung { why } => self.give_up(format!("PostgreSQL doesn't answer: {why}")),
            },
            _ => {
                self.settle(now);
                self.tend(now);
            }
        }
    }

    /// Goes to the phase that follows from the local server alone; never leaves a plan that runs.
    fn settle(&mut self, now: Moment) {
        let Some(local) = self.local.clone() else { return };
        match local {
            Local::Standby(view) => {
                if !matches!(self.phase, Phase::Standby | Phase::Asking) {
                    self.enter(Phase::Standby);
                    self.reason = (!view.receiving).then(|| {
                        let timeline = view
                            .timeline
                            .map_or_else(String::new, |timeline| format!(" on timeline {timeline}"));
                        format!("standby{timeline} that streams from nobody")
                    });
                    self.eligible(true);
                    if self.config.electable {
                        self.orders.push_back(Order::Prepare);
                    }
                    if self.round.is_none() && self.newest_term.is_none() {
                        // Whether anybody's data is newer is what a node that comes back must know first.
                        self.ask_around(now, Purpose::Explain);
                    }
                }
            }
            Local::Primary(_) => {
                if !matches!(self.phase, Phase::Confirming | Phase::Held) {
                    self.enter(Phase::Confirming);
                    self.eligible(true);
                    self.ask_around(now, Purpose::Confirm);
                }
            }
            Local::Down { why } | Local::Starting { why } | Local::Hung { why } => {
                if self.phase != Phase::Fenced && (self.phase != Phase::Down || self.reason.is_none()) {
                    self.enter(Phase::Down);
                    self.reason = Some(why);
                    if self.config.votes.is_some() && self.config.rejoin == Rejoin::Auto {
                        // A voter is needed even when there is no primary to follow.
                        self.stopped_at.get_or_insert(now);
                    }
                    self.eligible(false);
                    self.ask_around(now, Purpose::Explain);
                }
            }
        }
    }

    fn suspect(&mut self, now: Moment) {
        self.silent_since = Some(now);
        self.note(Event::new(EventKind::AdvertLate, "the Active node's advert is late"));
        if self.phase == Phase::Standby {
            self.ask_around(now, Purpose::Early);
        }
    }

    fn may_ask(&mut self, now: Moment, asked: Asked) {
        if let Asked::Farewell { from } = asked {
            self.farewell = Some(from);
        }
        if self.silent_since.is_none() {
            self.silent_since = Some(now);
        }
        // A node that is itself cut off hears silence from everybody: that says nothing about them.
        if self.phase != Phase::Standby
            || !self.config.electable
            || self.link_down_since.is_some()
            || self.paused.is_some()
        {
            return;
        }
        let why = match asked {
            Asked::Silence => "the down interval ran out without an advert".to_owned(),
            Asked::Farewell { from } => format!("{} has left", self.name_of(from)),
        };
        if self.said.is_none() {
            self.note(Event::new(EventKind::ActiveDown, format!("{why}: may this node become the primary?")));
        }
        self.enter(Phase::Asking);
        match &mut self.round {
            Some(round)
                if round.purpose == Purpose::Early
                    && now.since(round.started) < self.config.ask_timeout * 4 =>
            {
                round.purpose = Purpose::Promote;
                // By votes nobody has to be proved dead; a primary that lives has answered long since.
                let patience = if self.config.votes.is_some() { 2 } else { 1 };
                round.until = now.max(round.until.min(round.started + self.config.ask_timeout / patience));
            }
            _ => self.ask_around(now, Purpose::Promote),
        }
        self.judge(now);
    }

    fn contested(&mut self, now: Moment, from: IpAddr) {
        self.note(Event::new(
            EventKind::Contested,
            format!("{} sends adverts as Active too: comparing terms", self.name_of(from)),
        ));
        if self.phase == Phase::Serving
            && self.round.as_ref().is_none_or(|round| round.purpose == Purpose::Heartbeat)
        {
            self.ask_around(now, Purpose::Contest);
        }
    }

    fn overslept(&mut self, now: Moment, by: Duration) {
        // Whatever was vouched for may have changed meanwhile.
        self.standby_term = None;
        self.note(Event::new(
            EventKind::Overslept,
            format!(
                "this process slept {} ms too long: the virtual IP goes, then the others are asked",
                by.as_millis()
            ),
        ));
        if matches!(self.phase, Phase::Serving | Phase::TakingUp) {
            self.orders.push_back(Order::DropVip);
            self.orders.push_back(Order::Yield { farewell: false });
            self.note(Event::new(EventKind::VipRemoved, "the virtual IP left this node"));
            self.enter(Phase::Confirming);
            self.ask_around(now, Purpose::Confirm);
        }
    }

    fn link(&mut self, now: Moment, up: bool) {
        if up == self.link_down_since.is_none() {
            return;
        }
        self.link_down_since = (!up).then_some(now);
        self.note(Event::new(EventKind::Link, if up { "the link is up" } else { "the link is down" }));
        if up && self.phase == Phase::Serving {
            self.ask_around(now, Purpose::Contest);
        }
    }

    // --- asking -------------------------------------------------------------------------------------------

    fn ask_around(&mut self, now: Moment, purpose: Purpose) {
        self.ask_around_until(now, purpose, now + self.config.ask_timeout);
    }

    fn ask_around_until(&mut self, now: Moment, purpose: Purpose, until: Moment) {
        self.rounds += 1;
        let link = !matches!(purpose, Purpose::Heartbeat | Purpose::Explain);
        self.round = Some(Round {
            id: self.rounds,
            purpose,
            started: now,
            until,
            answers: Vec::new(),
            vip: if link { LinkAnswer::Asking } else { LinkAnswer::Nobody },
        });
        if matches!(purpose, Purpose::Early | Purpose::Promote) && self.config.gateway.is_some() {
            self.orders.push_back(Order::AskGateway);
        }
        self.orders.push_back(Order::Ask { round: self.rounds, until, link });
        if purpose == Purpose::Heartbeat {
            return;
        }
        self.timer = None;
        if purpose != Purpose::Explain {
            self.orders.push_back(Order::Observe);
        }
        if self.said.is_none() && purpose != Purpose::Explain {
            self.note(Event::new(
                EventKind::Asking,
                "asking the other nodes, and the link for the virtual IP",
            ));
        }
    }

    fn peer_answered(&mut self, now: Moment, id: u64, view: PeerView) {
        let Some(round) = self.round.as_mut().filter(|round| round.id == id) else { return };
        if round.answers.iter().any(|known| known.node == view.node) {
            return;
        }
        if self.said.is_none() && !matches!(round.purpose, Purpose::Heartbeat | Purpose::Explain) {
            let event = Event::new(EventKind::PeerAnswer, format!("{}: {}", view.node, view.answer))
                .with("node", view.node.clone())
                .with("answer", view.answer.to_string());
            self.note(event);
        }
        if let Some(round) = &mut self.round {
            round.answers.push(view);
        }
        self.judge(now);
    }

    fn vip_probed(&mut self, now: Moment, id: u64, mac: Option<Mac>) {
        let Some(round) = self.round.as_mut().filter(|round| round.id == id) else { return };
        round.vip = mac.map_or(LinkAnswer::Nobody, LinkAnswer::Owner);
        if self.said.is_none() {
            let text = match mac {
                Some(mac) => format!("{mac} answers for the virtual IP"),
                None => "nobody answers for the virtual IP".to_owned(),
            };
            self.note(Event::new(EventKind::VipProbe, text).with("mac", mac.map(|mac| mac.to_string())));
        }
        self.judge(now);
    }

    // --- time and small things ----------------------------------------------------------------------------

    fn run_timers(&mut self, now: Moment) {
        if self.round.as_ref().is_some_and(|round| now >= round.until) {
            if self.round.as_ref().is_some_and(|round| round.purpose == Purpose::Early) {
                // Kept until the router asks or hears: its answers are what the decision will use.
                if let Some(round) = &mut self.round {
                    round.until = now + self.config.ask_timeout * 4;
                    if now.since(round.started) >= self.config.ask_timeout * 4 {
                        self.round = None;
                    }
                }
            } else {
                self.judge(now);
            }
        }
        if let (Some(since), Some(after), Phase::Serving) =
            (self.link_down_since, self.config.isolation, self.phase)
            && now.since(since) >= after
        {
            self.release(
                After::Down {
                    why: format!(
                        "the link was down for {} ms: another node may serve by now",
                        after.as_millis()
                    ),
                    farewell: false,
                },
                Stop::InTime,
            );
        }
        if self.timer.is_some_and(|at| now >= at) {
            self.timer = None;
            self.retry(now);
        }
        self.watch_lease(now);
        self.watch_restart(now);
        self.mind_gateway(now);
        self.beat(now);
    }

    fn retry(&mut self, now: Moment) {
        match self.phase {
            Phase::Standby
                if self.silent_since.is_some() && self.link_down_since.is_none() && self.paused.is_none() =>
            {
                self.enter(Phase::Asking);
                self.ask_around(now, Purpose::Promote);
            }
            Phase::Held if matches!(self.local, Some(Local::Primary(_))) => {
                self.enter(Phase::Confirming);
                self.ask_around(now, Purpose::Confirm);
            }
            Phase::Held => {
                self.settle(now);
                // The silence goes on: this node asks again, with a fresh look at everything.
                if self.phase == Phase::Standby && self.silent_since.is_some() {
                    self.timer = Some(now + self.config.retry);
                }
            }
            Phase::Down | Phase::Fenced => self.ask_around(now, Purpose::Explain),
            _ => {}
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        if !matches!(phase, Phase::Asking | Phase::Confirming) {
            self.timer = None;
        }
    }

    fn eligible(&mut self, eligible: bool) {
        if self.eligible != eligible {
            self.eligible = eligible;
            self.orders.push_back(Order::Eligible(eligible));
        }
    }

    /// Writes a decision down once: the same words again are not said again.
    fn decide(&mut self, verdict: &str, text: String, hint: Option<String>) {
        let refused = matches!(verdict, "refuse" | "hold");
        if refused {
            self.reason = Some(text.clone());
            self.hint.clone_from(&hint);
        }
        if self.said.as_deref() == Some(text.as_str()) {
            return;
        }
        self.said = refused.then(|| text.clone());
        let mut event = Event::new(EventKind::Decision, text).with("verdict", verdict);
        if let Some(hint) = hint {
            event = event.with("hint", hint);
        }
        self.note(event);
    }

    fn note(&mut self, event: Event) {
        self.orders.push_back(Order::Note(event));
    }

    fn view(&self) -> Option<&LocalView> {
        match &self.local {
            Some(Local::Standby(view) | Local::Primary(view)) => Some(view),
            _ => None,
        }
    }

    fn name_of(&self, address: IpAddr) -> String {
        self.config
            .peers
            .iter()
            .find(|(_, peer)| *peer == address)
            .map_or_else(|| address.to_string(), |(name, _)| name.clone())
    }
}

#[cfg(test)]
mod gateway_tests;
#[cfg(test)]
mod tests;
