//! Against real servers.

mod facts;
pub(crate) mod fence;
pub(crate) mod fetch_history;
mod frozen;
mod least_rights;
mod peers;
pub(crate) mod promote;
pub(crate) mod promote_verb;
mod server;
mod tls;
