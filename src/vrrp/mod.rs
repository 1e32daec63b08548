//! (room: vrrp)
