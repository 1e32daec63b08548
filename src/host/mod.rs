//! This machine: its clock, files, locks, signals and child processes.

pub mod clock;
pub mod signal;
