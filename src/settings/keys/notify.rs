//! The keys for commands at a change of state, which several tables have. Pure data.

use super::{Default, Form, Key};

/// Run at every change.
pub(super) const ANY: Key = Key {
    name: "notify",
    form: Form::Command,
    default: Default::Found("nothing is run"),
    example: "[\"/etc/pgbaton/notify.sh\"]",
    doc: "A program to run at every change of state. Four arguments are added, as keepalived does: INSTANCE \
          or GROUP, the name, the state (MASTER, BACKUP, FAULT or STOP) and the priority (0 for a group). \
          See NOTIFICATIONS.",
};

/// Run when Active.
pub(super) const MASTER: Key = Key {
    name: "notify_master",
    form: Form::Command,
    default: Default::Found("nothing is run"),
    example: "[\"/etc/pgbaton/active.sh\"]",
    doc: "A program to run after becoming Active (keepalived's MASTER), before that of notify; no argument is \
          added.",
};

/// Run when Backup.
pub(super) const BACKUP: Key = Key {
    name: "notify_backup",
    form: Form::Command,
    default: Default::Found("nothing is run"),
    example: "[\"/etc/pgbaton/backup.sh\"]",
    doc: "A program to run after becoming Backup, also at the start.",
};

/// Run at a fault.
pub(super) const FAULT: Key = Key {
    name: "notify_fault",
    form: Form::Command,
    default: Default::Found("nothing is run"),
    example: "[\"/etc/pgbaton/fault.sh\"]",
    doc: "A program to run after leaving the election because something is missing.",
};

/// Run at the end.
pub(super) const STOP: Key = Key {
    name: "notify_stop",
    form: Form::Command,
    default: Default::Found("nothing is run"),
    example: "[\"/etc/pgbaton/stop.sh\"]",
    doc: "A program to run when the daemon stops, after the addresses are gone. The daemon waits for it.",
};

/// How long a command may take.
pub(super) const TIMEOUT: Key = Key {
    name: "notify_timeout",
    form: Form::Duration,
    default: Default::Value("\"60s\""),
    example: "\"60s\"",
    doc: "How long one of these programs may run. Then it gets SIGTERM, and SIGKILL five seconds later.",
};

/// Who runs the commands.
pub(super) const USER: Key = Key {
    name: "notify_user",
    form: Form::Text,
    default: Default::Found("the user of the daemon"),
    example: "\"nobody\"",
    doc: "The user who runs these programs, with the groups of that user. Only root can choose one.",
};
