//! pgbaton: `PostgreSQL` failover for two or three machines on one network.
//!
//! This file is the map. Each room says in its header why it exists and what may enter or leave.
//!
//! ```text
//! argv, env, file ─→ cli ─→ settings ─→ command ── observe ─→ facts ┐
//!                                         goal ─────────────────────┤
//!                                                                   ▼
//!                                             plan (pure) ─ --dry-run ─→ report ─┐
//!                                               └─→ plan::apply ─→ changes ──────┴→ output ─→ stdout
//!
//! vrrp run:  fds ready ─→ net ─→ vrrp::wire ─→ vrrp::router ─→ promotion::supervisor ─→ plan ─→ the world
//!            (one thread: epoll, timerfd, signalfd)   (pure)        (pure)              (worker thread)
//! ```
//!
//! The three files to read first: `vrrp/router.rs` (where an advert becomes a decision),
//! `promotion/supervisor.rs` (where a decision becomes a plan) and `plan/apply.rs` (where a plan touches the
//! world). The daemon, the shell verb and the keepalived hook meet in the same plan.

pub mod cli;
pub mod command;
pub mod demo;
pub mod error;
pub mod host;
pub mod net;
pub mod output;
pub mod pg;
pub mod plan;
pub mod promotion;
pub mod settings;
pub mod units;
pub mod vrrp;
pub mod watch;
