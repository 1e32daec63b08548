//! `cluster init`: from one running primary to a prepared cluster, node by node.
//!
//! ```text
//! settings, the server's own words, files ─→ plan (pure) ─ --dry-run ─→ report
//!                                              └─→ apply (SQL, files) ─→ report
//! ```
//!
//! On the primary it prepares the server; on another node it opens that node's `pg_hba.conf` and leaves the copying to
//! the rebuild. A second run finds everything as it should be.

pub mod apply;
pub mod plan;

pub use plan::{Action, Item, Role, Seen};
