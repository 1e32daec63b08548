//! The plan/apply split: what will be done, as data, before anything is touched.
//!
//! A [`Plan`] is what `--dry-run` prints, what `--json` reports and what [`apply`] carries out; the shell verb,
//! the daemon and the keepalived hook all build the same ones. `step`, `plan` and `build` are pure; `apply`,
//! and `election` for it, are the files of this room that touch the world.

pub mod apply;
pub mod build;
pub mod election;
#[expect(clippy::module_inception, reason = "the room is named after its main type")]
mod plan;
pub mod reconfigure;
pub mod step;

pub use plan::{Item, Need, Plan};
pub use step::Step;
