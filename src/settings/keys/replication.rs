//! The keys of `[replication]`.

use super::{Default, Form, Key, Section};

/// The table `[replication]`.
pub(super) const REPLICATION: Section = Section {
    name: "replication",
    repeated: false,
    doc: "Whether a commit waits for standbys, and what becomes of a node that returns. The table may be absent.",
    keys: &[
        Key {
            name: "mode",
            form: Form::Word(&["async", "sync"]),
            default: Default::Value("\"async\""),
            example: "\"sync\"",
            doc: "With \"async\" a failover can lose what the standby had not received. With \"sync\" a commit waits \
                  until standbys have it on disk, the daemon keeps synchronous_standby_names, and a promotion needs \
                  the votes of pgbaton-protocol(7): no acknowledged commit is lost, and no two nodes can acknowledge \
                  writes. With three data nodes writes go on when one standby is down; with two they wait for it.",
        },
        Key {
            name: "acknowledgements",
            form: Form::Integer(1, 6),
            default: Default::Value("1"),
            example: "1",
            doc: "With \"sync\": how many standbys must have a commit on disk before its client is told.",
        },
        Key {
            name: "rejoin",
            form: Form::Word(&["auto", "manual"]),
            default: Default::Found("\"auto\" with \"sync\", else \"manual\""),
            example: "\"auto\"",
            doc: "What becomes of a node that returns with data of an older term: with \"auto\" the daemon makes it a \
                  standby of the primary again as pg rebuild-standby does, and what it drops is kept and listed; with \
                  \"manual\" it waits for that command.",
        },
        Key {
            name: "heartbeat",
            form: Form::Duration,
            default: Default::Value("\"500ms\""),
            example: "\"500ms\"",
            doc: "With \"sync\" or a witness: how often the primary asks the other nodes whether it is still the newest.",
        },
        Key {
            name: "isolation_timeout",
            form: Form::Duration,
            default: Default::Value("\"2s\""),
            example: "\"2s\"",
            doc: "With \"sync\": how long a primary that a majority doesn't answer keeps the virtual IP. Then it lets \
                  go and stops its server.",
        },
    ],
};

/// The table `[witness]`.
pub(super) const WITNESS: Section = Section {
    name: "witness",
    repeated: false,
    doc: "The third vote of two nodes: a PostgreSQL on a third host that is none of the cluster's own, or any host with SSH. A partition is \
          decided by the side that reaches it. With mode = \"sync\" no acknowledged commit is lost, and writes go on when \
          the standby dies. With mode = \"async\" the primary serves under a lease; a failover by silence waits until that \
          has run out, and loses what the standby had not received, but never are there two that acknowledge.",
    keys: &[
        Key {
            name: "address",
            form: Form::Address,
            default: Default::Required,
            example: "\"192.0.2.30\"",
            doc: "Where it answers.",
        },
        Key {
            name: "transport",
            form: Form::Word(&["postgres", "ssh"]),
            default: Default::Value("\"postgres\""),
            example: "\"ssh\"",
            doc: "How it is asked. With \"postgres\" its register is a row in a database; with \"ssh\" a file in a folder, and \
                  nothing is needed there but a shell, flock and sync. Keys and known hosts are those of [ssh]; the \
                  host key is looked up by the name \"witness\".",
        },
        Key {
            name: "port",
            form: Form::Integer(1, 65_535),
            default: Default::Found("5432, over SSH that of [ssh]"),
            example: "5432",
            doc: "Its port.",
        },
        Key {
            name: "user",
            form: Form::Text,
            default: Default::Found("\"postgres\", over SSH that of [ssh]"),
            example: "\"pgbaton\"",
            doc: "The role, which keeps its register in the schema pgbaton_witness and must be able to make or to use that; \
                  passwords go into ~/.pgpass. Over SSH the user there.",
        },
        Key {
            name: "database",
            form: Form::Text,
            default: Default::Value("\"postgres\""),
            example: "\"postgres\"",
            doc: "The database.",
        },
        Key {
            name: "directory",
            form: Form::Text,
            default: Default::Value("\"pgbaton-witness\""),
            example: "\"/var/lib/pgbaton-witness\"",
            doc: "Over SSH: the folder that keeps the register, below the user's home unless it is absolute. It must survive \
                  a reboot.",
        },
        Key {
            name: "lease",
            form: Form::Duration,
            default: Default::Value("\"10s\""),
            example: "\"10s\"",
            doc: "With \"async\": how long a promotion by silence waits after the witness has promised it. A primary that \
                  neither the witness nor the standby answers stops two seconds earlier, and a little more for clocks \
                  that run apart. At least 5s; the same on both nodes.",
        },
        Key {
            name: "conninfo",
            form: Form::Text,
            default: Default::Found("none"),
            example: "\"sslmode=verify-full sslrootcert=/etc/pgbaton/ca.pem\"",
            doc: "More connection parameters, as libpq writes them.",
        },
    ],
};
