//! Against real servers.

mod facts;
mod least_rights;
mod tls;
