//! Rebuild: an old primary, a broken standby or an empty folder becomes a streaming standby of today's primary.
//!
//! Facts of both sides go into [`decision`] (pure), its verdict becomes a list of [`step`]s (pure), and [`work`] carries
//! them out. What a rebuild drops is kept beside the data directory until somebody asks for its removal
//! ([`kept`]); a [`journal`] beside it makes a killed run one that the next run finishes.

pub mod conf;
pub mod decision;
pub mod fit;
pub mod journal;
pub mod kept;
pub mod observe;
pub mod place;
pub mod register;
pub mod rewind;
pub mod service;
pub mod source;
pub mod step;
pub mod tools;
pub mod verify;
pub mod wal;
pub mod work;
