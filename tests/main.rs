//! Integration tests: one binary, rooms as modules.

mod pg;
mod support;
