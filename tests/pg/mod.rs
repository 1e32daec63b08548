//! Against real servers.

mod facts;
