//! (room: output)
pub mod timeline;
