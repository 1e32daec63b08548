//! (room: promotion)
