//! What can befall a cluster, and the drawing of it. Pure: a script is data, `inflict` carries it out.

use super::dice::Dice;
use std::fmt;
use std::time::Duration;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The cable goes dead and every process of the host dies; later it boots.
    Power,
    /// The postmaster is killed.
    Postmaster,
    /// One of the server's processes is killed: the whole server crashes.
    Backend,
    /// The daemon is killed; later it is started again, as systemd would.
    Daemon,
    /// The daemon is told to stop; later it is started again.
    DaemonStop,
    /// Every process of the host stands still for a while, as when a virtual machine is paused.
    FreezeHost,
    /// The daemon stands still for a while.
    FreezeDaemon,
    /// The server's processes stand still for a while.
    FreezePostgres,
    /// The cable is pulled: the carrier goes.
    Link,
    /// The switch forwards nothing from and to the host; the carrier stays.
    Cut,
    /// The host hears nothing, but is heard.
    Deaf,
    /// The host hears, but nobody hears it.
    Mute,
    /// Two hosts don't hear each other; everybody else hears both.
    Pair,
    /// A part of all frames from and to the host is lost.
    Loss,
    /// Somebody stops the server behind the daemon's back, gently.
    StopFast,
    /// Somebody stops the server behind the daemon's back, at once.
    StopImmediate,
    /// Every flush of the log takes a tenth of a second longer.
    SlowDisk,
    /// The disk is full, and the log needs a new segment.
    FullDisk,
    /// An operator hands over on purpose.
    Resign,
}

/// All of them, with the names that a command line takes.
pub const KINDS: [(Kind, &str); 19] = [
    (Kind::Power, "power"),
    (Kind::Postmaster, "postmaster"),
    (Kind::Backend, "backend"),
    (Kind::Daemon, "daemon"),
    (Kind::DaemonStop, "daemon-stop"),
    (Kind::FreezeHost, "freeze-host"),
    (Kind::FreezeDaemon, "freeze-daemon"),
    (Kind::FreezePostgres, "freeze-postgres"),
    (Kind::Link, "link"),
    (Kind::Cut, "cut"),
    (Kind::Deaf, "deaf"),
    (Kind::Mute, "mute"),
    (Kind::Pair, "pair"),
    (Kind::Loss, "loss"),
    (Kind::StopFast, "stop-fast"),
    (Kind::StopImmediate, "stop-immediate"),
    (Kind::SlowDisk, "slow-disk"),
    (Kind::FullDisk, "full-disk"),
    (Kind::Resign, "resign"),
];

impl Kind {
    /// Returns the name on the command line.
    pub fn name(self) -> &'static str {
        KINDS.iter().find(|(kind, _)| *kind == self).unwrap().1
    }

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        KINDS.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }

    /// Returns whether it is only of interest on the primary.
    fn is_the_primarys(self) -> bool {
        matches!(self, Self::SlowDisk | Self::Resign | Self::DaemonStop)
    }

    /// Returns whether it is over at once: what follows is healing, not waiting.
    pub fn is_a_moment(self) -> bool {
        matches!(self, Self::Postmaster | Self::Backend | Self::StopFast | Self::StopImmediate | Self::Resign)
    }
}

/// Which host is meant, told by what it is when the run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The node that serves.
    Primary,
    /// The first of the others in the order of the settings.
    First,
    /// The second of the others; with two nodes the first.
    Second,
}

/// One fault of a script.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fault {
    /// What.
    pub kind: Kind,
    /// To whom.
    pub target: Target,
    /// The other end, where a fault has two.
    pub other: Target,
    /// How long after the begin of the run.
    pub after: Duration,
    /// How long it lasts.
    pub lasts: Duration,
    /// For losses: the percentage.
    pub percent: u64,
    /// Whether the server starts with the machine.
    pub with_server: bool,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = |target| match target {
            Target::Primary => "primary",
            Target::First => "first standby",
            Target::Second => "second standby",
        };
        write!(f, "{} {}", self.kind.name(), who(self.target))?;
        match self.kind {
            Kind::Pair => write!(f, "/{}", who(self.other))?,
            Kind::Loss => write!(f, " {}%", self.percent)?,
            Kind::Power if !self.with_server => write!(f, " (boots without server)")?,
            _ => {}
        }
        if !self.kind.is_a_moment() {
            write!(f, " {:.1} s", self.lasts.as_secs_f64())?;
        }
        Ok(())
    }
}

/// What may be drawn.
#[derive(Debug, Clone)]
pub struct Menu {
    /// The kinds.
    pub kinds: Vec<Kind>,
    /// How many standbys there are.
    pub standbys: usize,
    /// The longest that a fault lasts.
    pub longest: Duration,
    /// In how many of a hundred runs a second fault comes at the same time.
    pub double: u64,
    /// `Some`: the target of every fault.
    pub target: Option<Target>,
}

/// Draws the faults of one run.
pub fn draw(menu: &Menu, seed: u64, run: u64) -> Vec<Fault> {
    let mut dice = Dice::new(seed, run);
    let mut faults = vec![one(menu, &mut dice)];
    if dice.chance(menu.double) {
        let mut second = one(menu, &mut dice);
        second.after = dice.time(Duration::from_millis(1), Duration::from_millis(600));
        faults.push(second);
    }
    faults
}

fn one(menu: &Menu, dice: &mut Dice) -> Fault {
    let kind = dice.pick(&menu.kinds);
    let standby = if menu.standbys > 1 && dice.chance(50) { Target::Second } else { Target::First };
    let primary = kind.is_the_primarys() || dice.chance(60);
    let target = menu.target.unwrap_or(if primary { Target::Primary } else { standby });
    let other = match target {
        Target::Primary => standby,
        Target::First if menu.standbys > 1 && dice.chance(50) => Target::Second,
        _ => Target::Primary,
    };
    let lasts = dice.time(Duration::from_millis(100), menu.longest);
    Fault {
        kind,
        target,
        other,
        after: Duration::ZERO,
        lasts,
        percent: 5 + dice.below(70),
        with_server: dice.chance(60),
    }
}

#[test]
fn a_run_is_drawn_again_and_each_kind_comes() {
    let kinds: Vec<Kind> = KINDS.iter().map(|(kind, _)| *kind).collect();
    let longest = Duration::from_secs(6);
    let menu = Menu { kinds: kinds.clone(), standbys: 2, longest, double: 20, target: None };
    let drawn: Vec<Vec<Fault>> = (0..600).map(|run| draw(&menu, 7, run)).collect();
    assert_eq!(drawn[13], draw(&menu, 7, 13));
    assert_ne!(drawn, (0..600).map(|run| draw(&menu, 8, run)).collect::<Vec<_>>());
    for kind in kinds {
        assert_eq!(Kind::parse(kind.name()), Some(kind));
        assert!(drawn.iter().flatten().any(|fault| fault.kind == kind), "{kind:?} is never drawn");
    }
    let all = || drawn.iter().flatten();
    assert!(all().all(|fault| fault.lasts <= longest && fault.lasts >= Duration::from_millis(99)));
    assert!(all().all(|fault| fault.kind != Kind::Pair || fault.target != fault.other));
    assert!(drawn.iter().filter(|faults| faults.len() == 2).count() > 60);
}
