//! Against real servers.

mod facts;
mod tls;
