//! The daemon behind `vrrp run`: one thread that waits for events, and threads for everything that may block.
//!
//! ```text
//!  raw sockets ─┐                                 ┌─ worker   (plans: SQL, netlink, signals)
//!  netlink ─────┤                                 ├─ watch    (health of the local server)
//!  timerfd ─────┼─▶ event_loop ─▶ instances, supervisor ─▶ orders ─┼─ askers (one per peer, one for the link)
//!  signalfd ────┤        ▲                        ├─ reporter (tells the primary's database how this node is)
//!  pidfd ───────┘        └──────── messages ◀─────┼─ control  (the socket behind `vrrp status`)
//!                                                 └─ keeper   (renews leases, when the loop says so)
//! ```
//!
//! * `spec`: what each virtual router is to be; `instance`: one of them with its effects; `edges`: what they share;
//! * `event_loop`: who gets what arrives, and (`reload`) which virtual routers run.
//!
//! The loop's thread never connects, never runs a child and never waits for anything but the next event.

pub mod control;
mod drops;
mod edges;
mod event_loop;
mod fencing;
mod instance;
mod keeper;
mod notify;
mod recorder;
mod reporter;
pub mod setup;
mod signing;
mod spec;
mod track;
mod worker;

pub use event_loop::run;
pub use setup::Parts;
