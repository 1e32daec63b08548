//! What integration tests share.

pub mod pg;
pub mod tls;
