//! The Linux edges against a real kernel, in network namespaces of their own.
//!
//! They need root and `ip`, and fail without.

mod addresses;
pub(crate) mod bed;
mod clients;
mod neighbours;
mod rights;
mod vrrp_socket;
