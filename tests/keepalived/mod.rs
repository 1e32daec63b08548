//! The daemon as a VRRP engine, in network namespaces: against keepalived, and against itself.
//!
//! They need root, `ip` and keepalived, and fail without.

mod bench;
mod chain;
mod effects;
mod group;
mod interop;
mod notify;
mod probe;
mod reload;
mod signed;
mod track;
mod vmac;
