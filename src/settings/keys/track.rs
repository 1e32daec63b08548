//! The tables and keys for what is watched beside the network, and for groups. Pure data.

use super::{Default, Form, Key, Section, notify};

/// Interfaces that should be up.
pub(super) const INTERFACES: Key = Key {
    name: "track_interfaces",
    form: Form::Weights,
    default: Default::Found("none"),
    example: "{ eth1 = 0, eth2 = -20 }",
    doc: "Other interfaces that should be up and connected, each with a weight: 0 leaves the election without \
          it, a negative weight lowers the priority without it, a positive one raises it with it. The priority \
          stays between 1 and 254; an owner's never changes. In [vrrp] nothing can be tracked beside \
          [postgres].",
};

/// Scripts that should succeed.
pub(super) const SCRIPTS: Key = Key {
    name: "track_scripts",
    form: Form::Weights,
    default: Default::Found("none"),
    example: "{ web = -20 }",
    doc: "Scripts of [[track_script]] that should succeed, each with a weight like that of an interface. With \
          the weight 0 the router isn't in the election before the first success.",
};

/// Processes that should run.
pub(super) const PROCESSES: Key = Key {
    name: "track_processes",
    form: Form::Weights,
    default: Default::Found("none"),
    example: "{ proxy = 0 }",
    doc: "Processes of [[track_process]] that should run, each with a weight like that of an interface.",
};

/// Files with a number.
pub(super) const FILES: Key = Key {
    name: "track_files",
    form: Form::Weights,
    default: Default::Found("none"),
    example: "{ manual = 1 }",
    doc: "Files of [[track_file]], each with a weight: the number in the file times the weight is added to the \
          priority; below -253 it is a fault, and with the weight 0 any number but 0 is one.",
};

const NAME: Key = Key {
    name: "name",
    form: Form::Name,
    default: Default::Required,
    example: "\"web\"",
    doc: "The name, at most 63 characters and not used twice.",
};

/// A program that is run again and again.
pub(super) const SCRIPT: Section = Section {
    name: "track_script",
    repeated: true,
    doc: "A program that is run again and again; exit code 0 is success. It is listed in track_scripts.",
    keys: &[
        NAME,
        Key {
            name: "command",
            form: Form::Command,
            default: Default::Required,
            example: "[\"/etc/pgbaton/check-web.sh\", \"8080\"]",
            doc: "The program and its arguments. Its output is thrown away.",
        },
        Key {
            name: "interval",
            form: Form::Duration,
            default: Default::Value("\"1s\""),
            example: "\"1s\"",
            doc: "The time from one start to the next.",
        },
        Key {
            name: "timeout",
            form: Form::Duration,
            default: Default::Found("as long as interval"),
            example: "\"1s\"",
            doc: "How long it may run. What takes longer is ended and counts as a failure.",
        },
        Key {
            name: "rise",
            form: Form::Integer(1, 1000),
            default: Default::Value("1"),
            example: "2",
            doc: "How many successes in a row end a failure. The very first result counts at once.",
        },
        Key {
            name: "fall",
            form: Form::Integer(1, 1000),
            default: Default::Value("1"),
            example: "3",
            doc: "How many failures in a row end a success.",
        },
        Key {
            name: "user",
            form: Form::Text,
            default: Default::Found("the user of the daemon"),
            example: "\"nobody\"",
            doc: "The user who runs it. Only root can choose one.",
        },
    ],
};

/// Processes that should run.
pub(super) const PROCESS: Section = Section {
    name: "track_process",
    repeated: true,
    doc: "Processes that should run. The end of one is noticed at once; a new one is looked for while too few \
          run. It is listed in track_processes.",
    keys: &[
        NAME,
        Key {
            name: "command",
            form: Form::Text,
            default: Default::Required,
            example: "\"haproxy\"",
            doc: "The name of the program, without its folder.",
        },
        Key {
            name: "arguments",
            form: Form::Words,
            default: Default::Found("none"),
            example: "[\"-f\", \"/etc/haproxy/haproxy.cfg\"]",
            doc: "Words that must all be among the arguments of the process.",
        },
        Key {
            name: "quorum",
            form: Form::Integer(1, 10_000),
            default: Default::Value("1"),
            example: "1",
            doc: "How many of them must run.",
        },
        Key {
            name: "interval",
            form: Form::Duration,
            default: Default::Value("\"1s\""),
            example: "\"1s\"",
            doc: "How often they are looked for while too few run.",
        },
        Key {
            name: "grace",
            form: Form::Duration,
            default: Default::Value("\"0s\""),
            example: "\"2s\"",
            doc: "How long too few may run before that counts: enough for a restart.",
        },
    ],
};

/// A file with a number.
pub(super) const FILE: Section = Section {
    name: "track_file",
    repeated: true,
    doc: "A file with a whole number, which a person or a program writes to move a priority. A change is noticed \
          at once; a missing file counts as 0. It is listed in track_files.",
    keys: &[
        NAME,
        Key {
            name: "path",
            form: Form::Path,
            default: Default::Required,
            example: "\"/run/pgbaton/manual\"",
            doc: "The file.",
        },
    ],
};

/// Virtual routers that are Active together.
pub(super) const GROUP: Section = Section {
    name: "group",
    repeated: true,
    doc: "Instances that are Active together or not at all: a router between two networks needs its addresses \
          in both. A fault of one keeps all of them out of the election. A change of the list makes the group \
          elect anew.",
    keys: &[
        Key {
            name: "name",
            form: Form::Name,
            default: Default::Required,
            example: "\"gateway\"",
            doc: "The name of the group, at most 63 characters and not used twice.",
        },
        Key {
            name: "instances",
            form: Form::Names,
            default: Default::Required,
            example: "[\"inside\", \"outside\"]",
            doc: "The names of two or more instances; each is in one group at most.",
        },
        notify::ANY,
        notify::MASTER,
        notify::BACKUP,
        notify::FAULT,
        notify::STOP,
        notify::TIMEOUT,
        notify::USER,
    ],
};
