//! Against real servers.

mod facts;
mod fence;
mod fetch_history;
mod promote;
mod server;
