//! The table `[guard]`: what a promotion must know first.

use super::problem::Problem;
use super::value::{Check, Value};
use super::{ReplicationMode, VrrpSettings, parse};
use serde::Deserialize;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;

/// Two seconds to stop in, and some questions.
const SHORTEST_GATEWAY_TIMEOUT: Duration = Duration::from_secs(5);

/// What a promotion must know first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardSettings {
    /// What is done when nothing proves that the old primary is dead.
    pub availability: Availability,
    /// How long a failover waits for another node's answer.
    pub ask_timeout: Duration,
    /// The most write-ahead log that may be missing, in bytes; `None`: no limit.
    pub max_lag: Option<u64>,
    /// The longest time since a standby heard of its primary; `None`: no limit.
    pub max_silence: Option<Duration>,
    /// How the death of a silent node is made sure of.
    pub fence: Fence,
    /// The command that does it, with `fence = "command"`.
    pub fence_command: Option<String>,
    /// How long a fencing may take.
    pub fence_timeout: Duration,
    /// The machine whose answer says that a node isn't cut off itself.
    pub gateway: Option<Ipv4Addr>,
    /// How long a primary whom neither that machine nor another node answers may go on, until its server has stopped;
    /// whoever replaces it waits as long.
    pub gateway_timeout: Duration,
}

/// How the death of a silent node is made sure of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fence {
    /// It isn't.
    None,
    /// Its PostgreSQL is stopped over SSH.
    Ssh,
    /// A command switches it off.
    Command,
}

impl Default for GuardSettings {
    fn default() -> Self {
        Self {
            availability: Availability::Hold,
            ask_timeout: Self::default_ask_timeout(VrrpSettings::default().advert_interval),
            max_lag: None,
            max_silence: None,
            fence: Fence::None,
            fence_command: None,
            fence_timeout: Duration::from_secs(15),
            gateway: None,
            gateway_timeout: SHORTEST_GATEWAY_TIMEOUT,
        }
    }
}

impl GuardSettings {
    /// Returns how long the others have to answer when nothing else is said: two advert intervals, because the
    /// question goes out with the first suspicion (after one and a half) and the down interval is over after a
    /// good three; but no less than a busy server needs, and no longer than anybody alive does.
    pub fn default_ask_timeout(advert_interval: Duration) -> Duration {
        (advert_interval * 2).clamp(Duration::from_millis(50), Duration::from_millis(200))
    }
}

/// What is done when nothing proves that the old primary is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Availability {
    /// Nothing is promoted.
    Hold,
    /// Silence is taken for death; two primaries and lost transactions are possible.
    Prefer,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawGuard {
    availability: Value<String>,
    ask_timeout: Value<String>,
    max_lag: Value<String>,
    max_silence: Value<String>,
    fence: Value<String>,
    fence_command: Value<String>,
    fence_timeout: Value<String>,
    pub(super) gateway: Value<String>,
    gateway_timeout: Value<String>,
}

impl Check {
    pub(super) fn guard(&mut self, raw: RawGuard, advert_interval: Duration) -> GuardSettings {
        let defaults = GuardSettings::default();
        let place = raw.fence.as_ref().map(Spanned::span);
        let fence = self
            .word("guard", "fence", raw.fence, &[Fence::None, Fence::Ssh, Fence::Command])
            .unwrap_or(defaults.fence);
        let command = raw.fence_command.as_ref().map(Spanned::span);
        match (fence, place, command) {
            (Fence::Command, Some(place), None) => {
                let missing = Problem::at(place, "fence = \"command\" needs a fence_command");
                self.problems.add(missing.hint("as in: fence_command = \"/etc/pgbaton/fence\""));
            }
            (Fence::None | Fence::Ssh, _, Some(command)) => {
                let unused = Problem::at(command, "fence_command is never run");
                self.problems.add(unused.hint("write fence = \"command\" too, or leave it out"));
            }
            _ => {}
        }
        let gateway_timeout = self.gateway_timeout(raw.gateway_timeout);
        GuardSettings {
            gateway: self.gateway(raw.gateway),
            gateway_timeout: gateway_timeout.unwrap_or(defaults.gateway_timeout),
            availability: self
                .word("guard", "availability", raw.availability, &[Availability::Hold, Availability::Prefer])
                .unwrap_or(defaults.availability),
            ask_timeout: self
                .above_zero("ask_timeout", raw.ask_timeout)
                .unwrap_or_else(|| GuardSettings::default_ask_timeout(advert_interval)),
            max_lag: self.parsed("max_lag", raw.max_lag, parse::size),
            max_silence: self.above_zero("max_silence", raw.max_silence),
            fence,
            fence_command: self.text("fence_command", raw.fence_command),
            fence_timeout: self
                .above_zero("fence_timeout", raw.fence_timeout)
                .unwrap_or(defaults.fence_timeout),
        }
    }

    /// Notes a gateway that nobody would ask, because something better decides, or nothing is asked for.
    pub(super) fn gateway_decides(
        &mut self,
        guard: &GuardSettings,
        mode: ReplicationMode,
        witness: bool,
        place: Range<usize>,
    ) {
        let why = match (mode, guard.availability) {
            (ReplicationMode::Sync, _) => "with mode = \"sync\" the votes decide",
            _ if witness => "the witness decides",
            (_, Availability::Prefer) => "with availability = \"prefer\" silence is enough",
            _ => return,
        };
        self.problems.add(Problem::at(place, format!("gateway is never asked: {why}")).hint("leave it out"));
    }

    fn gateway(&mut self, value: Value<String>) -> Option<Ipv4Addr> {
        let value = value?;
        let parsed = value.get_ref().parse().ok();
        if parsed.is_none() {
            let text = value.get_ref().escape_debug().to_string();
            let problem = Problem::at(value.span(), format!("gateway: \"{text}\" isn't an IPv4 address"));
            self.problems
                .add(problem.hint("the address of the router on the link of the nodes, asked by ARP"));
        }
        parsed
    }

    fn gateway_timeout(&mut self, value: Value<String>) -> Option<Duration> {
        let span = value.as_ref().map(Spanned::span)?;
        let timeout = self.above_zero("gateway_timeout", value)?;
        if timeout < SHORTEST_GATEWAY_TIMEOUT {
            let problem = Problem::at(span, format!("{} ms leave no time to stop", timeout.as_millis()));
            let shortest = SHORTEST_GATEWAY_TIMEOUT.as_secs();
            self.problems.add(problem.hint(format!("gateway_timeout = \"{shortest}s\" or longer")));
        }
        Some(timeout)
    }
}
