//! The decision core: when a node may promote, serve, must yield or wait. Pure.
//!
//! Facts and messages go in, orders come out; no clock, socket, file or process is touched here, so that every
//! rule can be driven by tests with virtual time. The daemon carries the orders out; the rules themselves are
//! explained in `pgbaton-protocol(7)`.

pub mod event;
pub mod rules;
pub mod ruling;
pub mod supervisor;
