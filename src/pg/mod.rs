//! `PostgreSQL`: what a server is and what can be done to it.

pub mod conn;
pub mod control;
pub mod epoch;
pub mod facts;
pub mod gates;
pub mod history;
pub mod local;
pub mod lsn;
pub mod peer;
pub mod pgpass;
pub mod promote;
pub mod server;
pub mod setting;
pub mod sql;
pub mod status_row;
pub mod target;
pub mod views;
