//! Waiting: for a condition with a deadline, and for Ctrl-C at the same time.
//!
//! Signals are blocked and read from a descriptor, so that every wait of the lab ends at once when the person
//! has had enough, the clean-up runs in ordinary code, and the process can still die by the signal afterwards.

use crate::error::{Error, Kind, Result};
use crate::host::clock::Deadline;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::time::Duration;

/// How long a condition that can't be waited for by a descriptor is left alone before the next look.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The right to wait, and to be told to stop waiting.
#[derive(Debug, Default)]
pub struct Patience {
    signals: Option<SignalFd>,
    caught: Mutex<Option<Signal>>,
}

impl Patience {
    /// Creates a patience that no signal ends; signals keep their ordinary effect (tests).
    pub fn endless() -> Self {
        Self::default()
    }

    /// Blocks SIGINT, SIGTERM and SIGHUP in this thread and in those it starts from now on, and has every
    /// wait end with an error when one arrives. Call it before any other thread exists.
    pub fn until_signal() -> Result<Self> {
        let set = Self::set();
        let problem = |errno: nix::Error| Error::failed("can't watch for Ctrl-C").detail(errno);
        set.thread_block().map_err(problem)?;
        let signals =
            SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map_err(problem)?;
        Ok(Self { signals: Some(signals), caught: Mutex::new(None) })
    }

    fn set() -> SigSet {
        let mut set = SigSet::empty();
        set.add(Signal::SIGINT);
        set.add(Signal::SIGTERM);
        set.add(Signal::SIGHUP);
        set
    }

    /// Returns the signal that ended the patience.
    pub fn caught(&self) -> Option<Signal> {
        self.caught.lock().ok().and_then(|caught| *caught)
    }

    /// Lets this process die by the signal that ended the patience, as its parent expects.
    ///
    /// Returns when no signal was caught.
    pub fn die_by_signal(&self) -> Result<()> {
        let Some(signal) = self.caught() else { return Ok(()) };
        let problem = |errno: nix::Error| Error::failed("can't die by the signal").detail(errno);
        raise(signal).map_err(problem)?;
        Self::set().thread_unblock().map_err(problem)
    }

    /// Waits this long, or until a signal arrives: then it is an error of kind try-again.
    pub fn pause(&self, duration: Duration) -> Result<()> {
        if self.caught().is_some() {
            return Err(Self::interrupted());
        }
        let rounded = u16::try_from(duration.as_millis()).unwrap_or(u16::MAX).max(1);
        let timeout = PollTimeout::from(rounded);
        let mut sources: Vec<PollFd<'_>> =
            self.signals.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)).collect();
        // An interrupted poll is an early look, which the callers' loops allow for.
        if poll(&mut sources, timeout).unwrap_or(0) == 0 {
            return Ok(());
        }
        let Some(signals) = &self.signals else { return Ok(()) };
        if let Ok(Some(info)) = signals.read_signal() {
            let signal = i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok());
            if let (Some(signal), Ok(mut caught)) = (signal, self.caught.lock()) {
                *caught = Some(signal);
            }
            return Err(Self::interrupted());
        }
        Ok(())
    }

    fn interrupted() -> Error {
        Error::new(Kind::TryAgain, "interrupted")
    }

    /// Looks until `look` returns something, and says what was waited for when the deadline passes.
    pub fn until<T>(
        &self,
        what: &str,
        limit: Duration,
        mut look: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let deadline = Deadline::after(limit);
        loop {
            if let Some(found) = look()? {
                return Ok(found);
            }
            if deadline.passed() {
                return Err(Error::new(
                    Kind::TryAgain,
                    format!("waited {} s for {what}", limit.as_secs_f32()),
                ));
            }
            self.pause(LOOK_AGAIN)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_never_comes_is_an_error_that_names_it() {
        let error =
            Patience::endless().until::<()>("the moon", Duration::from_millis(20), || Ok(None)).unwrap_err();
        assert!(error.to_string().contains("the moon"), "{error}");
        assert_eq!(error.kind(), Kind::TryAgain);
    }

    #[test]
    fn an_error_of_the_look_ends_the_wait() {
        let error = Patience::endless()
            .until::<()>("x", Duration::from_secs(60), || Err(Error::refused("no")))
            .unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
    }
}
