//! What stays when a hook has done its work: the one process that looks again while this node is MASTER or serves.
//!
//! It renews the lease of the virtual IP, asks again after a refusal, and stops a primary that turns out to be
//! outdated. Killed, it leaves an address that goes away by itself. Other hooks take the same lock and act between
//! its looks.

use super::act::{Done, Node, addresses};
use super::{say, told_error};
use crate::cli::State;
use crate::error::{Error, Kind, Result};
use crate::host::clock::Deadline;
use crate::host::lock::Lock;
use crate::net::netlink::{Monitor, NetEvent, Netlink};
use crate::output::log::Log;
use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::os::fd::AsFd as _;
use std::time::Duration;

/// How soon a refusal is looked at again: what refused may be gone in a moment (a peer that is being stopped).
const SOON: Duration = Duration::from_millis(150);
/// How many times it is looked at again that soon; then as often as a lease is renewed.
const HASTY: u32 = 40;

/// Acts on what keepalived told; stays while there may be more to do.
pub(super) fn run(mut node: Node, told: State, log: &Log) -> Result<()> {
    node.remember(told)?;
    let mut teller = Teller { log, last: None };
    node.alone()?;
    let mut done = teller.tell(told, look(&node, Some(told))?);
    if !done.again {
        return Ok(());
    }
    // One guard is enough: the one that is there sees what this one has seen.
    let Ok(_guard) = Lock::acquire(&node.path("guard.lock")?, "notify", Duration::ZERO) else {
        return Ok(());
    };
    let signals = signals()?;
    let mut monitor = Monitor::open()?;
    let mut hasty = HASTY;
    while done.again {
        let pause = if !done.serving && hasty > 0 { SOON } else { node.renewal() };
        hasty = hasty.saturating_sub(1);
        let asked_to_end = wait(&signals, &mut monitor, pause)?;
        // The end of keepalived takes its whole control group along: what a stop means is done before this ends.
        let leaving =
            (asked_to_end && !node.is_active(&addresses(&mut Netlink::open()?)?)).then_some(State::Stop);
        node.alone()?;
        done = look(&node, leaving)?;
        teller.tell_look(&done);
        // The addresses that this has changed itself are no news.
        monitor.read()?;
        if asked_to_end {
            break;
        }
    }
    Ok(())
}

/// Writes a line only when it is news.
struct Teller<'a> {
    log: &'a Log,
    last: Option<String>,
}

impl Teller<'_> {
    fn tell(&mut self, told: State, done: Done) -> Done {
        say(self.log, done.level, &format!("keepalived says {told}: {}", done.said));
        self.last = Some(done.said.clone());
        done
    }

    fn tell_look(&mut self, done: &Done) {
        // That a primary goes on being one is no news, however it came to be one.
        let news = if done.serving && !done.changed { None } else { Some(&done.said) };
        if let Some(news) = news.filter(|news| self.last.as_ref() != Some(*news)) {
            say(self.log, done.level, news);
            self.last = Some(news.clone());
        }
    }
}

/// Looks and acts; what may be otherwise the next time is no error.
fn look(node: &Node, told: Option<State>) -> Result<Done> {
    match node.act(told) {
        Err(error) if !matches!(error.kind(), Kind::Config | Kind::Permission) => {
            Ok(Done::failed(&told_error(&error)))
        }
        result => result,
    }
}

fn signals() -> Result<SignalFd> {
    let mask: SigSet = super::detach::HELD_BACK.iter().copied().collect();
    SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .map_err(|error| Error::failed("can't wait for signals").detail(error))
}

/// Waits for a change of an address, a signal or the end of the pause; returns whether a signal asks to end.
fn wait(signals: &SignalFd, monitor: &mut Monitor, pause: Duration) -> Result<bool> {
    use rustix::event::{PollFd, PollFlags, poll};
    let until = Deadline::after(pause);
    while !until.passed() {
        let mut fds = [
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(monitor.as_fd(), PollFlags::IN),
        ];
        match poll(&mut fds, Some(&crate::net::driver::timespec(until))) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Error::failed("can't wait").detail(error)),
        }
        if signals.read_signal().is_ok_and(|signal| signal.is_some()) {
            return Ok(true);
        }
        // What is added or renewed is of no concern; what has gone may be the sign, or the virtual IP.
        if monitor.read()?.iter().any(|event| !matches!(event, NetEvent::AddressAdded(_))) {
            return Ok(false);
        }
    }
    Ok(false)
}
