//! The pieces of an event loop: epoll, a timer on the boot-time clock, signals as a descriptor, a waker.
//!
//! One thread waits for all of them; what it then does is decided elsewhere. The timer is a `timerfd`,
//! because time-outs in milliseconds are late by most of a millisecond, and the skew of neighbouring VRRP
//! priorities is less than that.

use crate::error::{Error, Result};
use crate::host::clock::Deadline;
use crate::host::signal::{self, Signal};
use crate::units::Moment;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// The name that the owner of the loop gives to a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// What a descriptor is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Interest {
    /// Something to read (or an end or an error, which reading then tells).
    Read,
    /// Room to write.
    Write,
    /// Both.
    ReadWrite,
}

impl Interest {
    const fn flags(self) -> EventFlags {
        match self {
            Self::Read => EventFlags::IN,
            Self::Write => EventFlags::OUT,
            Self::ReadWrite => EventFlags::IN.union(EventFlags::OUT),
        }
    }
}

/// A descriptor that is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// The name it was added under.
    pub token: Token,
    /// Reading won't block (it may return an end or an error).
    pub readable: bool,
    /// Writing won't block (it may return an error).
    pub writable: bool,
    /// The other end is gone, or the descriptor is in error.
    pub closed: bool,
}

/// Waits for many descriptors at once (epoll, level-triggered).
#[derive(Debug)]
pub struct Poller {
    epoll: OwnedFd,
}

impl Poller {
    /// The most events that one wait returns; the rest come with the next.
    const BATCH: usize = 64;

    /// Creates an empty set.
    pub fn new() -> Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(|error| failed("create an epoll", error))?;
        Ok(Self { epoll })
    }

    /// Adds a descriptor to be read from. It must be removed before it is closed.
    pub fn add(&self, fd: impl AsFd, token: Token) -> Result<()> {
        self.add_for(fd, token, Interest::Read)
    }

    /// Adds a descriptor with what it is waited for.
    pub fn add_for(&self, fd: impl AsFd, token: Token, interest: Interest) -> Result<()> {
        epoll::add(&self.epoll, fd, EventData::new_u64(token.0), interest.flags())
            .map_err(|error| failed("add to an epoll", error))
    }

    /// Changes what a descriptor is waited for.
    pub fn modify(&self, fd: impl AsFd, token: Token, interest: Interest) -> Result<()> {
        epoll::modify(&self.epoll, fd, EventData::new_u64(token.0), interest.flags())
            .map_err(|error| failed("change an epoll", error))
    }

    /// Removes a descriptor; one that isn't there is no error.
    pub fn remove(&self, fd: impl AsFd) -> Result<()> {
        match epoll::delete(&self.epoll, fd) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(failed("remove from an epoll", error)),
        }
    }

    /// Waits until something is ready, and replaces `events` with what is. A signal may end the wait early,
    /// with no events.
    pub fn wait(&self, events: &mut Vec<Event>) -> Result<()> {
        self.wait_for(events, None)
    }

    /// Like [`Self::wait`], but no longer than the deadline.
    pub fn wait_until(&self, events: &mut Vec<Event>, deadline: Deadline) -> Result<()> {
        self.wait_for(events, Some(&timespec(deadline)))
    }

    fn wait_for(&self, events: &mut Vec<Event>, timeout: Option<&Timespec>) -> Result<()> {
        events.clear();
        let mut ready: [epoll::Event; Self::BATCH] =
            [epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; Self::BATCH];
        let count = match epoll::wait(&self.epoll, ready.as_mut_slice(), timeout) {
            Ok(count) => count,
            Err(Errno::INTR) => return Ok(()),
            Err(error) => return Err(failed("wait for events", error)),
        };
        events.extend(ready.iter().take(count).map(|event| {
            let (flags, data) = (event.flags, event.data);
            let closed = flags.intersects(EventFlags::HUP | EventFlags::ERR);
            Event {
                token: Token(data.u64()),
                readable: closed || flags.intersects(EventFlags::IN | EventFlags::RDHUP),
                writable: closed || flags.contains(EventFlags::OUT),
                closed,
            }
        }));
        Ok(())
    }
}

/// A timer on `CLOCK_BOOTTIME`: one moment, after which the descriptor is readable.
#[derive(Debug)]
pub struct Timer {
    fd: OwnedFd,
}

impl Timer {
    /// Creates a timer that isn't armed.
    pub fn new() -> Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let fd = rustix::time::timerfd_create(TimerfdClockId::Boottime, flags)
            .map_err(|error| failed("create a timer", error))?;
        Ok(Self { fd })
    }

    /// Arms the timer for a moment (one that has passed fires at once), or disarms it.
    pub fn arm(&self, at: Option<Moment>) -> Result<()> {
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        // Zero would disarm it.
        let value = at.map_or(zero, |moment| timespec_of(moment.as_nanos().max(1)));
        let when = Itimerspec { it_interval: zero, it_value: value };
        rustix::time::timerfd_settime(&self.fd, TimerfdTimerFlags::ABSTIME, &when)
            .map_err(|error| failed("arm a timer", error))?;
        Ok(())
    }

    /// Makes the descriptor unreadable again; returns whether the timer had fired.
    pub fn drain(&self) -> Result<bool> {
        drain(self.fd.as_fd())
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Signals as events: they are blocked, and read from a descriptor instead.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
}

impl Signals {
    /// Blocks these signals in the calling thread and all threads it starts afterwards: so call it first.
    ///
    /// Child processes inherit the block: start them with `host::process` or `host::spawn`, which undo it.
    pub fn block(signals: &[Signal]) -> Result<Self> {
        let failed = |error: nix::Error| Error::failed("can't set up signals").detail(error);
        let set: nix::sys::signal::SigSet = signals.iter().copied().collect();
        signal::block(signals)?;
        let fd =
            SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map_err(failed)?;
        Ok(Self { fd })
    }

    /// Returns the next signal that has arrived, or `None`. Equal signals that arrive together are one.
    pub fn read(&self) -> Option<Signal> {
        let info = self.fd.read_signal().ok().flatten()?;
        i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok())
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Wakes a loop from another thread. Clones wake the same loop.
#[derive(Debug, Clone)]
pub struct Waker {
    fd: Arc<OwnedFd>,
}

impl Waker {
    /// Creates a waker; the loop adds it to its [`Poller`].
    pub fn new() -> Result<Self> {
        let fd = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| failed("create an eventfd", error))?;
        Ok(Self { fd: Arc::new(fd) })
    }

    /// Wakes the loop; many wakes before it drains are one.
    pub fn wake(&self) -> Result<()> {
        match rustix::io::write(&*self.fd, &1_u64.to_ne_bytes()) {
            // AGAIN: the counter is full, so the loop has been woken more than enough.
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(error) => Err(failed("wake the event loop", error)),
        }
    }

    /// Makes the descriptor unreadable again; returns whether there was a wake.
    pub fn drain(&self) -> Result<bool> {
        drain(self.fd.as_fd())
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Waits until a descriptor can be read or the deadline has passed; returns whether it can.
///
/// A descriptor in error counts as readable: reading it tells the error.
pub fn readable_before(fd: BorrowedFd<'_>, deadline: Deadline) -> Result<bool> {
    loop {
        let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
        match rustix::event::poll(&mut fds, Some(&timespec(deadline))) {
            Ok(0) if deadline.passed() => return Ok(false),
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(failed("wait for a descriptor", error)),
        }
    }
}

/// Returns the time that is left until a deadline, for a system call.
pub(crate) fn timespec(deadline: Deadline) -> Timespec {
    timespec_of(u64::try_from(deadline.left().as_nanos()).unwrap_or(u64::MAX))
}

fn timespec_of(nanos: u64) -> Timespec {
    let (seconds, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    Timespec { tv_sec: i64::try_from(seconds).unwrap_or(i64::MAX), tv_nsec: i64::try_from(rest).unwrap_or(0) }
}

/// Reads the counter of a timerfd or an eventfd.
fn drain(fd: BorrowedFd<'_>) -> Result<bool> {
    let mut counter = [0_u8; 8];
    loop {
        match rustix::io::read(fd, &mut counter) {
            Ok(_) => return Ok(true),
            Err(Errno::AGAIN) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(error) => return Err(failed("read an event counter", error)),
        }
    }
}

fn failed(what: &str, error: Errno) -> Error {
    Error::failed(format!("can't {what}")).detail(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::clock;
    use std::time::Duration;

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(20))
    }

    #[test]
    fn a_timer_fires_at_its_moment_and_not_when_disarmed() {
        let (poller, timer) = (Poller::new().unwrap(), Timer::new().unwrap());
        poller.add(&timer, Token(7)).unwrap();
        let mut events = Vec::new();
        let at = clock::now() + Duration::from_millis(20);
        timer.arm(Some(at)).unwrap();
        poller.wait_until(&mut events, soon()).unwrap();
        assert!(clock::now() >= at);
        assert_eq!(events.iter().map(|event| event.token).collect::<Vec<_>>(), [Token(7)]);
        assert!(timer.drain().unwrap());
        assert!(!timer.drain().unwrap());
        timer.arm(Some(Moment::BOOT)).unwrap();
        poller.wait_until(&mut events, soon()).unwrap();
        assert_eq!(events.len(), 1, "a moment that has passed fires at once");
        timer.drain().unwrap();
        timer.arm(Some(clock::now() + Duration::from_millis(5))).unwrap();
        timer.arm(None).unwrap();
        poller.wait_until(&mut events, Deadline::after(Duration::from_millis(30))).unwrap();
        assert!(events.is_empty());
    }

    #[test]
    fn a_waker_wakes_from_another_thread_and_many_wakes_are_one() {
        let (poller, waker) = (Poller::new().unwrap(), Waker::new().unwrap());
        poller.add(&waker, Token(1)).unwrap();
        let other = waker.clone();
        std::thread::spawn(move || (0..3).try_for_each(|_| other.wake())).join().unwrap().unwrap();
        let mut events = Vec::new();
        poller.wait(&mut events).unwrap();
        assert!(events[0].readable && !events[0].closed);
        assert!(waker.drain().unwrap());
        assert!(!waker.drain().unwrap());
        poller.remove(&waker).unwrap();
        poller.remove(&waker).unwrap();
    }

    #[test]
    fn signals_are_read_in_the_thread_that_blocked_them() {
        std::thread::spawn(|| {
            let signals = Signals::block(&[Signal::SIGUSR2]).unwrap();
            assert_eq!(signals.read(), None);
            nix::sys::signal::raise(Signal::SIGUSR2).unwrap();
            assert!(readable_before(signals.as_fd(), soon()).unwrap());
            assert_eq!(signals.read(), Some(Signal::SIGUSR2));
            assert_eq!(signals.read(), None);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_wait_without_an_event_ends_at_its_deadline() {
        let waker = Waker::new().unwrap();
        assert!(!readable_before(waker.as_fd(), Deadline::after(Duration::from_millis(5))).unwrap());
    }
}
