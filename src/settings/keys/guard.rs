//! The keys of `[guard]`.

use super::{Default, Form, Key, Section};

/// The table `[guard]`.
pub(super) const GUARD: Section = Section {
    name: "guard",
    repeated: false,
    doc: "What a promotion must know first. The table may be absent.",
    keys: &[
        Key {
            name: "availability",
            form: Form::Word(&["hold", "prefer"]),
            default: Default::Value("\"hold\""),
            example: "\"hold\"",
            doc: "With \"hold\" nothing is promoted without a proof that the old primary is dead; \
                  silence is no proof. With \"prefer\" silence is enough: two primaries and lost \
                  transactions are possible, and the log says how many.",
        },
        Key {
            name: "ask_timeout",
            form: Form::Duration,
            default: Default::Found("two advert intervals, but 50ms to 200ms"),
            example: "\"200ms\"",
            doc: "How long a failover waits for the answer of another node.",
        },
        Key {
            name: "max_lag",
            form: Form::Size,
            default: Default::Found("no limit"),
            example: "\"16MB\"",
            doc: "The most write-ahead log that a standby may lack and still be promoted.",
        },
        Key {
            name: "max_silence",
            form: Form::Duration,
            default: Default::Found("no limit"),
            example: "\"30s\"",
            doc: "The longest time since a standby last received anything from the primary after which it may \
                  still be promoted. Longer than the failover itself takes: its clock runs while the primary is dead.",
        },
        Key {
            name: "fence",
            form: Form::Word(&["none", "ssh", "command"]),
            default: Default::Value("\"none\""),
            example: "\"ssh\"",
            doc: "How the death of a silent node is proved before this one is promoted in its place, when commits \
                  don't wait for standbys: with \"ssh\" its PostgreSQL is stopped as by pg fence --node, with \
                  \"command\" by fence_command.",
        },
        Key {
            name: "fence_command",
            form: Form::Text,
            default: Default::Found("none"),
            example: "\"/etc/pgbaton/fence\"",
            doc: "A command that ends a node for sure, by its power switch for example. It is run by sh with the \
                  node's name and address in PGBATON_FENCE_NODE and PGBATON_FENCE_ADDRESS. Exit status 0 is \
                  believed: it must mean that the node is off.",
        },
        Key {
            name: "fence_timeout",
            form: Form::Duration,
            default: Default::Value("\"15s\""),
            example: "\"15s\"",
            doc: "How long a fencing may take; one that takes longer is no proof.",
        },
        Key {
            name: "gateway",
            form: Form::Text,
            default: Default::Found("none"),
            example: "\"192.0.2.1\"",
            doc: "A router on the link of the nodes, asked by ARP: the weakest of the proofs, for two asynchronous nodes \
              that have nothing else. A primary that neither it nor another node answers stops itself within gateway_timeout; a \
              standby that it answers takes a silent primary for cut off after that time. This covers a dead machine, \
              port, cable or card. It doesn't cover a network that is cut between two nodes that both reach the router: \
              then there are two primaries.",
        },
        Key {
            name: "gateway_timeout",
            form: Form::Duration,
            default: Default::Value("\"5s\""),
            example: "\"5s\"",
            doc: "How long a primary that is cut off may go on, two seconds of it for the stop; the standby waits as long, \
              counted from the first late advert. At least 5s.",
        },
    ],
};
