//! Integration tests: one binary, rooms as modules.

mod arch;
mod cli;
mod configs;
mod docs;
mod golden;
