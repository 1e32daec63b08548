//! The one table of what may stand in `pgbaton.toml`.
//!
//! The check of a file, the page `pgbaton.toml(5)` and the template of `pgbaton generate config` are made
//! from it; a test holds it against the structs that serde fills. Pure data.

mod auth;
mod guard;
mod instance;
mod notify;
mod postgres;
mod replication;
mod track;

/// A table of the file, in the order in which it is documented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section {
    /// The name of the table: `node`.
    pub name: &'static str,
    /// Whether it may be written several times: `[[node]]`.
    pub repeated: bool,
    /// What the table is for, as one or two sentences.
    pub doc: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
}

/// One key of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The name of the key.
    pub name: &'static str,
    /// The form of its value.
    pub form: Form,
    /// What holds when the key is absent.
    pub default: Default,
    /// A value for the template, in TOML.
    pub example: &'static str,
    /// What the key means, in full sentences.
    pub doc: &'static str,
}

/// What holds when a key is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// The key must be there.
    Required,
    /// This value, in TOML.
    Value(&'static str),
    /// Something that isn't a fixed value, as words.
    Found(&'static str),
}

/// The form of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Any text.
    Text,
    /// A name: lower-case letters, digits, `_` and `-`.
    Name,
    /// An absolute path.
    Path,
    /// An IP address.
    Address,
    /// An IP address and the length of its network prefix.
    InterfaceAddress,
    /// A number and its unit of time.
    Duration,
    /// A [`Form::Duration`] in whole seconds, or `off`.
    Lease,
    /// A whole number and its unit of memory.
    Size,
    /// A whole number in this range.
    Integer(i64, i64),
    /// `true` or `false`.
    Boolean,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list of IP addresses.
    Addresses,
    /// A list of IP addresses with the lengths of their network prefixes.
    InterfaceAddresses,
    /// A table from the names of nodes to priorities.
    Priorities,
    /// A program and its arguments.
    Command,
    /// A list of words.
    Words,
    /// A list of names.
    Names,
    /// A table from names to weights.
    Weights,
}

impl Form {
    /// Returns the TOML type that carries this form.
    pub const fn toml_type(self) -> &'static str {
        match self {
            Self::Integer(..) => "integer",
            Self::Boolean => "boolean",
            Self::Addresses | Self::InterfaceAddresses | Self::Command | Self::Words | Self::Names => "array",
            Self::Priorities | Self::Weights => "table",
            _ => "string",
        }
    }

    /// Returns the words for the manual: what may be written.
    pub fn describe(self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Name => "name, of a-z, 0-9, _ and -".to_owned(),
            Self::Path => "absolute path".to_owned(),
            Self::Address => "IP address".to_owned(),
            Self::InterfaceAddress => "IP address/prefix length".to_owned(),
            Self::Duration => "duration".to_owned(),
            Self::Lease => "duration in whole seconds, or \"off\"".to_owned(),
            Self::Size => "size".to_owned(),
            Self::Integer(low, high) => format!("whole number, {low} to {high}"),
            Self::Boolean => "true or false".to_owned(),
            Self::Word(words) => {
                words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ")
            }
            Self::Addresses => "list of IP addresses".to_owned(),
            Self::InterfaceAddresses => "list of IP address/prefix length".to_owned(),
            Self::Priorities => "table of node names and whole numbers, 1 to 255".to_owned(),
            Self::Command => "list of an absolute path and arguments".to_owned(),
            Self::Words => "list of texts".to_owned(),
            Self::Names => "list of names".to_owned(),
            Self::Weights => "table of names and whole numbers, -253 to 253".to_owned(),
        }
    }
}

impl Section {
    /// Returns the heading as it is written in the file: `[[node]]`.
    pub fn heading(&self) -> String {
        if self.repeated { format!("[[{}]]", self.name) } else { format!("[{}]", self.name) }
    }

    /// Returns the key of this name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// Returns the table of this name.
pub fn section(name: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|section| section.name == name)
}

/// Every table of the file.
pub const SECTIONS: &[Section] = &[
    Section {
        name: "cluster",
        repeated: false,
        doc: "The cluster as a whole. The file is the same on every node.",
        keys: &[
            Key {
                name: "name",
                form: Form::Name,
                default: Default::Required,
                example: "\"main\"",
                doc: "The name of the cluster, at most 63 characters. It appears in status and log lines.",
            },
            Key {
                name: "runtime_directory",
                form: Form::Path,
                default: Default::Value("\"/run/pgbaton\""),
                example: "\"/run/pgbaton\"",
                doc: "Where the control socket (NODE.sock) and the lock (NODE.lock) of a node are made.",
            },
            Key {
                name: "state_directory",
                form: Form::Path,
                default: Default::Value("\"/var/lib/pgbaton\""),
                example: "\"/var/lib/pgbaton\"",
                doc: "Where a node keeps its flight record (NODE.events.jsonl): what its daemon has seen, \
                      decided and done, a few megabytes at most. The daemon runs on without it if it can't \
                      be written.",
            },
        ],
    },
    Section {
        name: "node",
        repeated: true,
        doc: "One machine of the cluster; one to seven data nodes and any number of spares. \
              A daemon finds itself in this list by the addresses of its machine, or by --node.",
        keys: &[
            Key {
                name: "name",
                form: Form::Name,
                default: Default::Required,
                example: "\"node1\"",
                doc: "The name of the node, at most 63 characters and not used twice.",
            },
            Key {
                name: "address",
                form: Form::Address,
                default: Default::Required,
                example: "\"192.0.2.21\"",
                doc: "Where the node itself answers, whether or not it holds the virtual IP. All nodes and \
                      virtual IPs are of one address family.",
            },
            Key {
                name: "priority",
                form: Form::Integer(1, 254),
                default: Default::Found("must be given for a data node, must be absent for a spare"),
                example: "200",
                doc: "The VRRP priority: of several living nodes the highest becomes Active. Give each data \
                      node its own, or the order is decided by comparing addresses.",
            },
            Key {
                name: "role",
                form: Form::Word(&["data", "spare"]),
                default: Default::Value("\"data\""),
                example: "\"data\"",
                doc: "A data node may become the primary and hold the virtual IP. A spare never does: it is \
                      a second synchronous standby and the third voter, and takes no part in VRRP.",
            },
            Key {
                name: "interface",
                form: Form::Text,
                default: Default::Found("interface of [vrrp]"),
                example: "\"eth0\"",
                doc: "The network interface of this node, if it is called otherwise than on the others.",
            },
            Key {
                name: "data_directory",
                form: Form::Path,
                default: Default::Found("data_directory of [postgres]"),
                example: "\"/var/lib/postgresql/15/main\"",
                doc: "The data directory on this node, if it is another than on the others.",
            },
            Key {
                name: "port",
                form: Form::Integer(1, 65535),
                default: Default::Found("port of [postgres]"),
                example: "5432",
                doc: "The port of PostgreSQL on this node, if it is another than on the others.",
            },
            Key {
                name: "socket_directory",
                form: Form::Path,
                default: Default::Found("socket_directory of [postgres]"),
                example: "\"/var/run/postgresql\"",
                doc: "The directory of the Unix socket on this node, if it is another than on the others.",
            },
            Key {
                name: "ssh_host_key_alias",
                form: Form::Text,
                default: Default::Found("the name of the node"),
                example: "\"node1\"",
                doc: "The name that the node's SSH host key has in known_hosts. A name, not the address: \
                      addresses move between machines.",
            },
            Key {
                name: "conninfo",
                form: Form::Text,
                default: Default::Found("conninfo of [postgres]"),
                example: "\"sslcert=/etc/pgbaton/node1.crt sslkey=/etc/pgbaton/node1.key\"",
                doc: "Connection parameters for the server of this node; each comes before the same one in \
                      conninfo of [postgres].",
            },
            Key {
                name: "tls_name",
                form: Form::Text,
                default: Default::Found("address of the node"),
                example: "\"node1.example.com\"",
                doc: "The host name in the certificate of this node's server, for sslmode=verify-full. The \
                      connection is made to the address all the same: no name is looked up.",
            },
        ],
    },
    Section {
        name: "vrrp",
        repeated: false,
        doc: "The election (VRRP version 3, RFC 9568). The table may be absent.",
        keys: &[
            Key {
                name: "interface",
                form: Form::Text,
                default: Default::Found("the interface that carries the address of the node"),
                example: "\"eth0\"",
                doc: "The network interface on which advertisements are sent and heard.",
            },
            Key {
                name: "virtual_router_id",
                form: Form::Integer(1, 255),
                default: Default::Value("51"),
                example: "51",
                doc: "The number that tells clusters on one network apart; the same on every node.",
            },
            Key {
                name: "advert_interval",
                form: Form::Duration,
                default: Default::Value("\"1s\""),
                example: "\"1s\"",
                doc: "The time between two advertisements: a multiple of 10ms from 10ms to 40.95s. A Backup \
                      takes a silent Active for dead after a little more than three of them.",
            },
            Key {
                name: "preempt",
                form: Form::Boolean,
                default: Default::Found("true without [postgres]; always false with it"),
                example: "false",
                doc: "Whether a node of higher priority that comes back takes the virtual IP from a healthy \
                      Active. Can't be true beside [postgres]: a healthy primary is never displaced.",
            },
            Key {
                name: "preempt_delay",
                form: Form::Duration,
                default: Default::Value("\"0s\""),
                example: "\"0s\"",
                doc: "How long such a node waits first. Only without [postgres].",
            },
            Key {
                name: "start_delay",
                form: Form::Duration,
                default: Default::Value("\"0s\""),
                example: "\"0s\"",
                doc: "How long a daemon listens after its start before it may become Active.",
            },
            Key {
                name: "checksum",
                form: Form::Word(&["pseudo-header", "rfc9568"]),
                default: Default::Value("\"pseudo-header\""),
                example: "\"pseudo-header\"",
                doc: "How the checksum of sent IPv4 advertisements is computed: with the pseudo-header of \
                      RFC 5798, as keepalived does, or over the message alone. Both are accepted.",
            },
            Key {
                name: "unicast",
                form: Form::Boolean,
                default: Default::Value("false"),
                example: "false",
                doc: "Whether advertisements go to the address of each other node instead of the multicast group, for \
                      networks without multicast. Only the nodes are heard then. The same on every node.",
            },
            Key {
                name: "min_ttl",
                form: Form::Integer(1, 255),
                default: Default::Value("255"),
                example: "255",
                doc: "The lowest TTL or hop limit of the other nodes' advertisements; 254 lets one router stand between. \
                      Only with unicast.",
            },
            auth::KEYS,
            auth::MODE,
            auth::WINDOW,
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
        ],
    },
    Section {
        name: "vip",
        repeated: true,
        doc: "A virtual IP: the address that clients connect to. At least one.",
        keys: &[
            Key {
                name: "address",
                form: Form::InterfaceAddress,
                default: Default::Required,
                example: "\"192.0.2.23/24\"",
                doc: "The address with the prefix length of its network; not the address of a node.",
            },
            Key {
                name: "interface",
                form: Form::Text,
                default: Default::Found("interface of the node"),
                example: "\"eth0\"",
                doc: "The network interface that gets the address.",
            },
            Key {
                name: "label",
                form: Form::Text,
                default: Default::Found("no label"),
                example: "\"eth0:vip\"",
                doc: "The label of an IPv4 address as ip(8) shows it, at most 15 characters.",
            },
            Key {
                name: "lease",
                form: Form::Lease,
                default: Default::Value("\"3s\""),
                example: "\"3s\"",
                doc: "How long the kernel keeps the address if nobody renews it, in whole seconds. With \
                      \"off\" the address of a hung daemon stays until somebody removes it.",
            },
        ],
    },
    postgres::SECTION,
    guard::GUARD,
    replication::REPLICATION,
    replication::WITNESS,
    Section {
        name: "ssh",
        repeated: false,
        doc: "How the other nodes are reached over SSH. The table may be absent; what isn't said here is taken \
              from ~/.ssh/config and /etc/ssh/ssh_config, without their Match and Include. Host keys must be known, and no password is ever sent.",
        keys: &[
            Key {
                name: "user",
                form: Form::Text,
                default: Default::Found("ssh_config, else the user who runs pgbaton"),
                example: "\"root\"",
                doc: "The user at the other end.",
            },
            Key {
                name: "port",
                form: Form::Integer(1, 65_535),
                default: Default::Found("ssh_config, else 22"),
                example: "22",
                doc: "The port of the SSH server.",
            },
            Key {
                name: "identity_file",
                form: Form::Path,
                default: Default::Found("the agent's keys, then ssh_config's, then ~/.ssh/id_*"),
                example: "\"/root/.ssh/pgbaton_ed25519\"",
                doc: "The private key, without a passphrase. When it is set, the agent isn't asked.",
            },
            Key {
                name: "known_hosts",
                form: Form::Path,
                default: Default::Found("ssh_config, else ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts"),
                example: "\"/etc/pgbaton/known_hosts\"",
                doc: "The file of known host keys. Nothing is ever added to it.",
            },
            Key {
                name: "connect_timeout",
                form: Form::Duration,
                default: Default::Found("ssh_config, else 3s"),
                example: "\"3s\"",
                doc: "How long the connection may take.",
            },
            Key {
                name: "remote_command",
                form: Form::Text,
                default: Default::Value("\"pgbaton\""),
                example: "\"sudo -n pgbaton\"",
                doc: "What runs pgbaton at the other end; arguments are added to it.",
            },
        ],
    },
    instance::INSTANCE,
    instance::DAEMON,
    track::GROUP,
    track::SCRIPT,
    track::PROCESS,
    track::FILE,
];

/// Returns the template of the file: a working cluster of two nodes, the other keys as comments.
pub fn template() -> String {
    let mut text = String::from(
        "# /etc/pgbaton/pgbaton.toml: the same file on every node.\n\
         # Check it with \"pgbaton vrrp check-config\"; every key is explained in pgbaton.toml(5).\n\
         # Lines that begin with \"#\" and a key show its default, or an example where there is none.\n",
    );
    for section in SECTIONS {
        if COMMENTED.contains(&section.name) {
            write_section_as_comment(&mut text, section);
            continue;
        }
        let second_node = [("name", "\"node2\""), ("address", "\"192.0.2.22\""), ("priority", "100")];
        write_section(&mut text, section, &[], true);
        if section.name == "node" {
            write_section(&mut text, section, &second_node, false);
        }
    }
    text
}

/// Tables that few need: the template has them as comments.
pub(super) const COMMENTED: &[&str] =
    &["witness", "instance", "group", "track_script", "track_process", "track_file"];

/// Keys that the template sets although they have a default.
const SHOWN: &[(&str, &str)] = &[
    ("node", "priority"),
    ("vrrp", "virtual_router_id"),
    ("vrrp", "advert_interval"),
    ("postgres", "data_directory"),
    ("guard", "availability"),
];

fn write_section(text: &mut String, section: &Section, values: &[(&str, &str)], documented: bool) {
    text.push('\n');
    if documented {
        write_comment(text, section.doc);
    }
    text.push_str(&section.heading());
    text.push('\n');
    for key in section.keys {
        let shown = key.default == Default::Required || SHOWN.contains(&(section.name, key.name));
        if !shown && !documented {
            continue;
        }
        let value = values.iter().find(|(name, _)| *name == key.name).map_or(key.example, |(_, value)| value);
        if documented {
            write_comment(text, key.doc);
        }
        let mark = if shown { "" } else { "#" };
        text.push_str(&format_line(mark, key.name, value));
    }
}

/// Writes a table that few need: all of it as a comment.
fn write_section_as_comment(text: &mut String, section: &Section) {
    text.push('\n');
    write_comment(text, section.doc);
    text.push_str(&format!("#{}\n", section.heading()));
    for key in section.keys {
        write_comment(text, key.doc);
        text.push_str(&format_line("#", key.name, key.example));
    }
}

fn format_line(mark: &str, name: &str, value: &str) -> String {
    format!("{mark}{name} = {value}\n")
}

fn write_comment(text: &mut String, doc: &str) {
    let mut width = 0;
    for word in doc.split_whitespace() {
        if width == 0 || width + 1 + word.chars().count() > 90 {
            text.push_str(if width == 0 { "# " } else { "\n# " });
            width = 2;
        } else {
            text.push(' ');
            width += 1;
        }
        text.push_str(word);
        width += word.chars().count();
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_listed_twice_and_every_key_is_explained_in_sentences() {
        for section in SECTIONS {
            assert!(section.doc.ends_with('.'), "{}", section.name);
            for (position, key) in section.keys.iter().enumerate() {
                assert!(key.doc.ends_with('.'), "{}.{}", section.name, key.name);
                assert!(!key.doc.contains("  "), "{}.{}", section.name, key.name);
                let later = section.keys.get(position + 1..).unwrap_or_default();
                assert!(later.iter().all(|other| other.name != key.name), "{}.{}", section.name, key.name);
            }
        }
    }

    #[test]
    fn every_key_of_the_template_is_one_of_the_table() {
        let text = template();
        for section in SECTIONS {
            assert!(text.contains(&section.heading()));
            for key in section.keys {
                assert!(text.contains(&format!("{} = ", key.name)), "{}.{}", section.name, key.name);
            }
        }
        assert!(text.lines().all(|line| line.chars().count() <= 100));
    }
}
