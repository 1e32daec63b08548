//! VRRP, versions 2 (RFC 3768) and 3 (RFC 9568), over IPv4 and IPv6: the protocol without the network.
//!
//! Pure: no clock, no socket, no process. Octets and moments enter; adverts to send, events and the next
//! moment to wake leave. So every timer is inside the tests, and hours of protocol pass in milliseconds.
//!
//! ```text
//! octets ─→ wire::parse ─→ Advert ─→ router::Router ─→ Output::{Send, Event, Timeout}
//!              └─ Discard ─→ stats        ▲
//!                              moments ───┘
//! ```
//!
//! * [`types`]: the numbers of the protocol, each with its range;
//! * [`checksum`] and [`wire`]: the packet, and the ladder of checks on receiving one;
//! * [`signature`]: what may stand behind it, to prove who sent it;
//! * [`timers`]: how long to wait;
//! * [`config`], [`event`] and [`router`]: the election;
//! * [`group`]: routers that are Active together; [`track`]: what else a priority depends on;
//! * [`stats`]: what is counted;
//! * [`sim`]: a network of routers in virtual time, for tests.

pub mod checksum;
pub mod config;
pub mod event;
pub mod group;
pub mod router;
pub mod signature;
pub mod sim;
pub mod stats;
pub mod timers;
pub mod track;
pub mod types;
pub mod wire;
