//! (room: pg)
