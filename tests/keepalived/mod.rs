//! The daemon as a VRRP engine, in network namespaces: against keepalived, and against itself.
//!
//! They need root, `ip` and keepalived, and fail without.

mod bench;
mod effects;
mod interop;
mod notify;
mod reload;
