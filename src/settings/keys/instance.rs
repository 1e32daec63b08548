//! The tables that few need: further virtual routers, and the daemon as a process. Pure data.

use super::{Default, Form, Key, Section, auth, notify, track};

/// A further virtual router, which only elects and moves its addresses.
pub(super) const INSTANCE: Section = Section {
    name: "instance",
    repeated: true,
    doc: "A further virtual router of the same daemon, which only elects and moves its addresses. PostgreSQL \
          has nothing to do with it. With at least one of them [[vip]] may be absent, and then [[node]] too.",
    keys: &[
        Key {
            name: "name",
            form: Form::Name,
            default: Default::Required,
            example: "\"web\"",
            doc: "The name of the instance, at most 63 characters and not used twice. It appears in \
                  status, counters and log lines.",
        },
        Key {
            name: "interface",
            form: Form::Text,
            default: Default::Required,
            example: "\"eth1\"",
            doc: "The network interface: adverts go out there and the addresses are added there.",
        },
        Key {
            name: "virtual_router_id",
            form: Form::Integer(1, 255),
            default: Default::Required,
            example: "52",
            doc: "The number of the virtual router, the same on every router; one network holds one of \
                  each number and address family.",
        },
        Key {
            name: "version",
            form: Form::Integer(2, 3),
            default: Default::Value("3"),
            example: "3",
            doc: "The version of VRRP: 3 (RFC 9568), or 2 (RFC 3768: IPv4 only, whole seconds).",
        },
        Key {
            name: "priority",
            form: Form::Integer(1, 255),
            default: Default::Found("the priority of the node, or 100"),
            example: "150",
            doc: "The priority on this machine. 255 says that it owns the addresses: it is Active as soon \
                  as it starts.",
        },
        Key {
            name: "priorities",
            form: Form::Priorities,
            default: Default::Found("none"),
            example: "{ node1 = 200, node2 = 100 }",
            doc: "The priority on each node, instead of priority, so that the file is the same on all of \
                  them. A node that isn't listed has its own priority.",
        },
        Key {
            name: "advert_interval",
            form: Form::Duration,
            default: Default::Value("\"1s\""),
            example: "\"1s\"",
            doc: "The time between two advertisements: a multiple of 10ms from 10ms to 40.95s, or whole \
                  seconds up to 255s with version 2. With version 3 a Backup adopts that of the Active \
                  router.",
        },
        Key {
            name: "preempt",
            form: Form::Boolean,
            default: Default::Value("true"),
            example: "true",
            doc: "Whether this router takes the addresses from an Active router of lower priority.",
        },
        Key {
            name: "preempt_delay",
            form: Form::Duration,
            default: Default::Value("\"0s\""),
            example: "\"0s\"",
            doc: "How long it waits first, from the first advertisement of the lower priority on.",
        },
        Key {
            name: "addresses",
            form: Form::InterfaceAddresses,
            default: Default::Required,
            example: "[\"192.0.2.80/24\"]",
            doc: "The virtual addresses, 1 to 255 of one family. The first of several IPv6 addresses \
                  should be link-local.",
        },
        Key {
            name: "source",
            form: Form::Address,
            default: Default::Found(
                "the first address of the interface; with IPv6 over multicast its link-local address",
            ),
            example: "\"192.0.2.21\"",
            doc: "The address that advertisements come from.",
        },
        Key {
            name: "unicast_peers",
            form: Form::Addresses,
            default: Default::Found("none: advertisements go to the multicast group"),
            example: "[\"192.0.2.21\", \"192.0.2.22\"]",
            doc: "The other routers, where the network has no multicast. The address of this machine may \
                  be in the list, so that the list can be the same everywhere.",
        },
        Key {
            name: "min_ttl",
            form: Form::Integer(1, 255),
            default: Default::Value("255"),
            example: "255",
            doc: "The lowest TTL or hop limit of a peer's advertisements; 254 lets one router stand between. \
                  keepalived 2.2 sends IPv6 unicast with 64. Only with unicast_peers.",
        },
        Key {
            name: "max_ttl",
            form: Form::Integer(1, 255),
            default: Default::Value("255"),
            example: "255",
            doc: "The highest TTL or hop limit of a peer's advertisements. Only with unicast_peers.",
        },
        Key {
            name: "check_unicast_source",
            form: Form::Boolean,
            default: Default::Value("true"),
            example: "true",
            doc: "Whether only the listed peers are heard. Only with unicast_peers.",
        },
        Key {
            name: "auth_pass",
            form: Form::Text,
            default: Default::Found("no authentication"),
            example: "\"secret12\"",
            doc: "The password of version 2, at most 8 characters. It travels in clear text: it tells \
                  misconfigured routers apart and keeps nobody out.",
        },
        auth::KEYS,
        auth::MODE,
        auth::WINDOW,
        Key {
            name: "down_timer_adverts",
            form: Form::Integer(1, 100),
            default: Default::Value("3"),
            example: "3",
            doc: "How many advertisements may be missing before the Active router counts as gone. The \
                  protocol has 3; all routers need the same.",
        },
        Key {
            name: "start_delay",
            form: Form::Duration,
            default: Default::Value("\"0s\""),
            example: "\"0s\"",
            doc: "How long this router listens after its start before it may become Active.",
        },
        Key {
            name: "checksum",
            form: Form::Word(&["pseudo-header", "rfc9568"]),
            default: Default::Value("\"pseudo-header\""),
            example: "\"pseudo-header\"",
            doc: "As in [vrrp].",
        },
        Key {
            name: "garp_burst",
            form: Form::Integer(1, 100),
            default: Default::Value("5"),
            example: "5",
            doc: "How many times each address is announced when this router becomes Active, by gratuitous \
                  ARP (request and reply) or unsolicited neighbour advertisements.",
        },
        Key {
            name: "garp_second_delay",
            form: Form::Duration,
            default: Default::Value("\"5s\""),
            example: "\"5s\"",
            doc: "How long after the first burst a second one comes, for switches that were still \
                  learning; \"0s\" leaves it out.",
        },
        Key {
            name: "garp_refresh",
            form: Form::Duration,
            default: Default::Value("\"0s\""),
            example: "\"60s\"",
            doc: "How often the addresses are announced again for as long as this router is Active; \"0s\" \
                  is never.",
        },
        Key {
            name: "garp_refresh_burst",
            form: Form::Integer(1, 100),
            default: Default::Value("1"),
            example: "1",
            doc: "How many times each address is announced then.",
        },
        Key {
            name: "garp_interval",
            form: Form::Duration,
            default: Default::Value("\"0s\""),
            example: "\"1ms\"",
            doc: "The pause between two announcements, for switches that drop them in a flood.",
        },
        Key {
            name: "lease",
            form: Form::Lease,
            default: Default::Value("\"3s\""),
            example: "\"3s\"",
            doc: "As in [[vip]]: how long the kernel keeps an address that a hung or killed daemon no \
                  longer renews.",
        },
        Key {
            name: "label",
            form: Form::Text,
            default: Default::Found("no label"),
            example: "\"eth1:web\"",
            doc: "The label of the IPv4 addresses as ip(8) shows it, at most 15 characters.",
        },
        Key {
            name: "scope",
            form: Form::Word(&["global", "link", "host"]),
            default: Default::Value("\"global\""),
            example: "\"global\"",
            doc: "How far the IPv4 addresses are known, as ip(8) has it: the kernel doesn't choose one of scope link as the \
                  source of what leaves the network, and refuses one that differs from that of another address of the same \
                  network. For IPv6 the address itself says it.",
        },
        Key {
            name: "on_address_loss",
            form: Form::Word(&["restore", "fault"]),
            default: Default::Value("\"restore\""),
            example: "\"restore\"",
            doc: "What is done when somebody removes an address that this router holds: put it back and \
                  announce it, or leave the election until the configuration is read again (SIGHUP).",
        },
        notify::ANY,
        notify::MASTER,
        notify::BACKUP,
        notify::FAULT,
        notify::STOP,
        notify::TIMEOUT,
        notify::USER,
        track::INTERFACES,
        track::SCRIPTS,
        track::PROCESSES,
        track::FILES,
        Key {
            name: "accept",
            form: Form::Boolean,
            default: Default::Value("true"),
            example: "true",
            doc: "Whether this router takes packets that are addressed to its virtual addresses while it is \
                  Active. With false (RFC 9568, Accept_Mode) they are dropped by a table of nftables that ends \
                  with the daemon, except for ARP and neighbour discovery; the owner of the addresses takes \
                  them always. For routers, which only pass packets on.",
        },
        Key {
            name: "vmac",
            form: Form::Boolean,
            default: Default::Value("false"),
            example: "false",
            doc: "Whether the addresses have the virtual router's own Ethernet address (00:00:5e:00:01:ID, or \
                  00:00:5e:00:02:ID with IPv6) instead of the interface's, so that no neighbour has to learn \
                  anything at a takeover. They are on an interface of their own then (a macvlan), which is \
                  made and removed by the daemon; sysctls of the interface are set so that only the macvlan \
                  answers for them.",
        },
        Key {
            name: "vmac_interface",
            form: Form::Text,
            default: Default::Found("vrrp.ID, or vrrp6.ID with IPv6"),
            example: "\"vrrp.52\"",
            doc: "The name of that interface. Only with vmac.",
        },
    ],
};

/// The daemon as a process.
pub(super) const DAEMON: Section = Section {
    name: "daemon",
    repeated: false,
    doc: "How the daemon runs. The table may be absent; what it asks for and doesn't get is an error.",
    keys: &[
        Key {
            name: "realtime_priority",
            form: Form::Integer(1, 99),
            default: Default::Found("ordinary scheduling"),
            example: "50",
            doc: "The real-time priority (SCHED_RR) of the thread that sends and hears advertisements. \
                  Needed for intervals below 100ms on a busy machine.",
        },
        Key {
            name: "lock_memory",
            form: Form::Boolean,
            default: Default::Value("false"),
            example: "false",
            doc: "Whether the daemon's memory is kept from being swapped out.",
        },
        Key {
            name: "cpu_limit",
            form: Form::Duration,
            default: Default::Value("\"1s\""),
            example: "\"1s\"",
            doc: "How long that thread may compute in real time without ever waiting before the kernel \
                  ends the daemon; the leases then end too.",
        },
        Key {
            name: "notify_fifo",
            form: Form::Path,
            default: Default::Found("none"),
            example: "\"/run/pgbaton/notify.fifo\"",
            doc: "A FIFO for the changes of state of all virtual routers and groups, in the lines of \
                  keepalived's vrrp_notify_fifo. It is made if it is missing. What doesn't fit because nobody \
                  reads is lost, and the log says so.",
        },
        Key {
            name: "notify_priority_changes",
            form: Form::Boolean,
            default: Default::Value("false"),
            example: "false",
            doc: "Whether changes of a priority are written to the FIFO too, as MASTER_PRIORITY and \
                  BACKUP_PRIORITY.",
        },
    ],
};
