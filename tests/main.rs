//! Integration tests: one binary, rooms as modules.

mod pg;
mod status;
mod support;
mod vrrp;
