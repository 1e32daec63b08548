//! Against real servers.

mod facts;
mod fence;
mod fetch_history;
mod least_rights;
mod promote;
mod server;
mod tls;
