//! Against real servers.

mod facts;
mod promote;
mod server;
