//! `PostgreSQL`: what a server is and what can be done to it.

pub mod conn;
pub mod control;
mod dial;
pub mod epoch;
pub mod facts;
pub mod gates;
pub mod histories;
pub mod history;
pub mod local;
pub mod lsn;
pub mod pause;
pub mod peer;
pub mod peers;
pub mod pgpass;
pub mod promote;
mod reach;
pub mod register;
pub mod server;
pub mod setting;
pub mod sql;
pub mod status_row;
pub mod target;
mod tls;
pub mod views;
pub mod vote;
pub mod walsender;
