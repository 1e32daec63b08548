//! This machine: its clock, files, locks, signals and child processes.

pub mod clock;
pub mod files;
pub mod handoff;
pub mod lock;
pub mod memory;
pub mod process;
pub mod sdnotify;
pub mod signal;
pub mod spawn;
pub mod syslog;
pub mod user;
