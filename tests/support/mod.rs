//! What integration tests share.

pub mod pg;
