//! Signals: their type, blocking them here, and giving children a clean start.

use crate::error::{Error, Result};
pub use nix::sys::signal::Signal;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use std::io;

/// Blocks signals in the calling thread and in those it starts afterwards.
pub fn block(signals: &[Signal]) -> Result<()> {
    let set: SigSet = signals.iter().copied().collect();
    set.thread_block().map_err(|error| Error::failed("can't block signals").detail(error))
}

/// Unblocks all signals of the calling thread. For use between `fork` and `exec`: a child inherits the
/// block, and would otherwise never see the signal that asks it to stop.
pub fn unblock_all() -> io::Result<()> {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).map_err(io::Error::from)
}
