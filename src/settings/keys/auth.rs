//! The keys for signed adverts, which several tables have. Pure data.

use super::{Default, Form, Key};

/// The secrets.
pub(super) const KEYS: Key = Key {
    name: "auth_keys",
    form: Form::Words,
    default: Default::Found("adverts aren't signed"),
    example: "[\"1 file:/etc/pgbaton/vrrp.key\"]",
    doc: "The keys that sign adverts (HMAC-SHA-256, as auth_hmac of keepalived 2.4.2 and later), each with its \
          number, 0 to 255, and its 32 to 64 octets: in hexadecimal digits after \"hex:\", or in a file after \"file:\" \
          (the octets themselves or hexadecimal digits; others mustn't be able to read it). The first one signs, all are \
          taken: a new key is added at the end on every node, then moved to the front, then the old one is removed. \
          Only with version 3. Without signatures anybody on the network can send an advert or a farewell.",
};

/// What is demanded.
pub(super) const MODE: Key = Key {
    name: "auth_mode",
    form: Form::Word(&["enforce", "permissive", "receive-only"]),
    default: Default::Value("\"enforce\""),
    example: "\"enforce\"",
    doc: "Whether adverts of others must be signed. \"permissive\" signs but takes unsigned ones, \"receive-only\" doesn't \
          even sign: for the time in which not all nodes have the key. A wrong signature is never taken.",
};

/// How far a clock may be off.
pub(super) const WINDOW: Key = Key {
    name: "auth_window",
    form: Form::Lease,
    default: Default::Found("three advert intervals, but at least 5s"),
    example: "\"5s\"",
    doc: "How far the wall clock of a sender may be from ours, at most 300s; what is further away is taken for a recording. \
          With \"off\" the clocks don't matter, and a recording is noticed only by who has heard the sender since.",
};
