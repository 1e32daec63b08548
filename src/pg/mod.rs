//! `PostgreSQL`: what a server says about itself, and the few things that are done to it.
//!
//! ```text
//! pure:   lsn  history  epoch  sql  pgpass  gates  (and the parser of control)
//! edges:  conn (SQL with hard deadlines) ─→ facts, promote       control, server (files, processes, signals)
//! ```
//!
//! Positions, timelines and epochs enter as text from SQL, files and child processes and leave as types. What may
//! be done with them is decided in `gates` (pure) and in the promotion room; nothing here decides on its own.

pub mod conn;
pub mod control;
pub mod epoch;
pub mod facts;
pub mod gates;
pub mod history;
pub mod lsn;
pub mod pgpass;
pub mod promote;
pub mod server;
pub mod setting;
pub mod sql;
