//! The keys of `[postgres]`: the server on the nodes, how it is reached, and how long things may take.

use super::{Default, Form, Key, Section};

/// The table.
pub(super) const SECTION: Section = Section {
    name: "postgres",
    repeated: false,
    doc: "PostgreSQL on the nodes. Without this table pgbaton elects and moves the address only.",
    keys: &[
        Key {
            name: "data_directory",
            form: Form::Path,
            default: Default::Found("must be given here or for each node"),
            example: "\"/var/lib/postgresql/15/main\"",
            doc: "The data directory.",
        },
        Key {
            name: "bin_directory",
            form: Form::Path,
            default: Default::Found("looked for by the version of the data directory"),
            example: "\"/usr/lib/postgresql/15/bin\"",
            doc: "Where pg_ctl and pg_controldata of this version are.",
        },
        Key {
            name: "port",
            form: Form::Integer(1, 65535),
            default: Default::Value("5432"),
            example: "5432",
            doc: "The port of the server.",
        },
        Key {
            name: "socket_directory",
            form: Form::Path,
            default: Default::Value("\"/var/run/postgresql\""),
            example: "\"/var/run/postgresql\"",
            doc: "The directory of the Unix socket, for connections on the same machine.",
        },
        Key {
            name: "user",
            form: Form::Text,
            default: Default::Value("\"postgres\""),
            example: "\"postgres\"",
            doc: "The role for connections, to the own server and to those of the others.",
        },
        Key {
            name: "database",
            form: Form::Text,
            default: Default::Value("\"postgres\""),
            example: "\"postgres\"",
            doc: "The database to connect to.",
        },
        Key {
            name: "probe_interval",
            form: Form::Duration,
            default: Default::Value("\"500ms\""),
            example: "\"500ms\"",
            doc: "The time between two health probes over SQL. The death of the server is noticed at \
                      once without them; a probe finds a server that hangs.",
        },
        Key {
            name: "probe_timeout",
            form: Form::Duration,
            default: Default::Value("\"2s\""),
            example: "\"2s\"",
            doc: "How long a probe may take before the server counts as hung.",
        },
        Key {
            name: "stop_timeout",
            form: Form::Duration,
            default: Default::Value("\"5s\""),
            example: "\"5s\"",
            doc: "How long a fast stop may take before an immediate one, and that before SIGKILL.",
        },
        Key {
            name: "on_crash",
            form: Form::Word(&["failover", "restart-first"]),
            default: Default::Value("\"failover\""),
            example: "\"restart-first\"",
            doc: "What follows when the server of the node that serves dies by itself. With \"failover\" another node takes \
                  over at once. With \"restart-first\" it is started here again and promoted anew, and another node takes \
                  over when it doesn't serve within restart_timeout, or dies again within a minute.",
        },
        Key {
            name: "restart_timeout",
            form: Form::Duration,
            default: Default::Value("\"10s\""),
            example: "\"10s\"",
            doc: "With on_crash = \"restart-first\": how long the service may be away for it.",
        },
        Key {
            name: "promote_timeout",
            form: Form::Duration,
            default: Default::Value("\"30s\""),
            example: "\"30s\"",
            doc: "How long a promotion may take until the server is writable.",
        },
        Key {
            name: "connect_timeout",
            form: Form::Duration,
            default: Default::Value("\"1s\""),
            example: "\"1s\"",
            doc: "How long one connection attempt may take, until the server has answered.",
        },
        Key {
            name: "start_command",
            form: Form::Text,
            default: Default::Found("pg_ctlcluster, the unit of systemd, or pg_ctl, whichever there is"),
            example: "\"systemctl start postgresql@15-main\"",
            doc: "The shell command by which \"pg rebuild-standby\" starts the server.",
        },
        Key {
            name: "stop_command",
            form: Form::Text,
            default: Default::Found("as for start_command"),
            example: "\"systemctl stop postgresql@15-main\"",
            doc: "The shell command by which \"pg rebuild-standby\" stops a standby that doesn't follow. What must \
                      stop for sure (a fence, the loss of the service) is stopped without it.",
        },
        Key {
            name: "conninfo",
            form: Form::Text,
            default: Default::Found("what libpq's variables for TLS and passwords say"),
            example: "\"sslmode=verify-full sslrootcert=/etc/pgbaton/root.crt\"",
            doc: "More connection parameters, as libpq writes them, for every connection to the own server \
                      and to those of the others. Host, port, role and database have keys of their own; a \
                      password belongs into a password file. See CONNECTIONS in pgbaton(8).",
        },
    ],
};
