//! Integration tests: one binary, rooms as modules.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::let_underscore_must_use,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::similar_names,
    unreachable_pub,
    reason = "a test fails by panicking, its helpers too; and it is no library"
)]

mod ansible;
mod arch;
mod chaos;
mod cli;
mod cluster;
mod configs;
mod docs;
mod fuzz;
mod golden;
mod keepalived;
mod majors;
mod net;
mod netns;
mod packages;
mod pg;
mod promotion;
mod rebuild;
mod ssh;
mod status;
mod support;
mod vrrp;

use support::lab::BINARY;
