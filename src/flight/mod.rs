//! The flight record: what every daemon has seen, decided and done, kept on disk, and what can be told from it.
//!
//! ```text
//! daemon::recorder ─→ store (a thread: JSON lines, synced, rotated) ─→ NODE.events.jsonl
//!                                                                         │ entry (pure)
//!      cluster events, cluster timeline ←─ drawing ←─ incident (pure) ←───┘
//! ```
//!
//! Each node keeps its own: after a failover one side has what the old primary saw, the other what the new one did.
//! Nothing waits for the disk: a record that can't be written in time is counted as lost, and the count is written.

pub mod drawing;
pub mod entry;
pub mod incident;
pub mod store;

pub use drawing::timeline;
pub use entry::Entry;
pub use incident::{Incident, Outcome, incidents};
