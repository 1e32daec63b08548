//! A whole cluster on this machine: namespaces, hosts with real `PostgreSQL` servers, a client, faults.
//!
//! The room exists so that anyone can see a failover before trusting one, and so that the integration tests
//! drive exactly what the demo shows: both are written against [`lab::Lab`]. In: options and the path of the
//! `pgbaton` binary. Out: a [`report::DemoReport`]. Everything happens inside network namespaces with a
//! common name prefix; nothing of it has an address in the namespace of the machine itself.
//!
//! ```text
//! scenario (what happens when) ─→ lab ─→ host ×2-3 ─→ namespace, switch, sql, control
//!      │                           └───→ client (the writer: every acknowledgement with its time)
//!      └─→ story (events → stages and a timeline: pure) ─→ present (terminal, JSON, SVG)
//! ```

pub mod client;
pub mod control;
pub mod host;
pub mod keepalived;
pub mod lab;
pub mod namespace;
pub mod patience;
pub mod preflight;
pub mod present;
pub mod report;
pub mod scenario;
pub mod sql;
pub mod story;
pub mod switch;
