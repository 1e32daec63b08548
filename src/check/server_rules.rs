//! Rules about the settings of one server, and about what the role may do there. Pure.

use super::finding::{Finding, Findings, Fix, Level};
use super::psql;
use super::server::ServerSeen;
use super::standby_names::parse as parse_names;
use crate::settings::{Node, NodeRole, Settings};

/// A setting that is on or off, and what it should be.
struct Switch {
    code: &'static str,
    name: &'static str,
    wanted: bool,
    level: Level,
    why: &'static str,
    restart: bool,
}

const SWITCHES: &[Switch] = &[
    Switch {
        code: "hot-standby",
        name: "hot_standby",
        wanted: true,
        level: Level::Error,
        why: "a standby can't be asked anything then, so it can't be promoted either",
        restart: true,
    },
    Switch {
        code: "fsync",
        name: "fsync",
        wanted: true,
        level: Level::Error,
        why: "a crash can leave a corrupt server, and what a standby says it has may not be on its disk",
        restart: false,
    },
    Switch {
        code: "full-page-writes",
        name: "full_page_writes",
        wanted: true,
        level: Level::Error,
        why: "pg_rewind refuses to work from such a server, and a crash can tear pages",
        restart: false,
    },
    Switch {
        code: "restart-after-crash",
        name: "restart_after_crash",
        wanted: false,
        level: Level::Warning,
        why: "the server comes back behind the daemon's back, while the other node may be taking over",
        restart: false,
    },
];

/// Looks at the settings of a server.
pub(super) fn server(findings: &mut Findings, settings: &Settings, node: &Node, server: &ServerSeen) {
    let name = Some(node.name.as_str());
    let peers = i64::try_from(settings.nodes.len()).unwrap_or(i64::MAX) - 1;
    for switch in SWITCHES {
        let finding = server.is_on(switch.name).filter(|on| *on != switch.wanted).map(|on| {
            let word = |on: bool| if on { "on" } else { "off" };
            set(node, switch.level, switch.name, word(on), word(switch.wanted), switch.restart)
                .why(switch.why)
        });
        findings.check(switch.code, name, finding);
    }
    let level = server.text("wal_level").unwrap_or_default();
    findings.check(
        "wal-level",
        name,
        (level == "minimal").then(|| {
            set(node, Level::Error, "wal_level", level, "replica", true)
                .why("nothing can stream from this server")
        }),
    );
    findings.check(
        "wal-log-hints",
        name,
        (!server.facts.wal_log_hints && !server.facts.data_checksums).then(|| {
            Finding::new("", Level::Warning, "wal_log_hints is off, and there are no data checksums")
                .why(
                    "pg_rewind can't work then: after a failover the old primary has to be copied as a whole",
                )
                .mend(psql(node, "ALTER SYSTEM SET wal_log_hints = on") + ", then restart it")
                .fix(Fix::Setting { name: "wal_log_hints", value: "on".to_owned(), restart: true })
        }),
    );
    for (code, setting, least, wanted, why) in [
        (
            "max-wal-senders",
            "max_wal_senders",
            peers,
            peers + 3,
            "every other node streams from the primary, and a base backup takes two more",
        ),
        (
            "max-replication-slots",
            "max_replication_slots",
            peers,
            peers,
            "after a promotion each other node needs a slot, or the log it needs may be removed",
        ),
    ] {
        let finding = server.number(setting).filter(|value| *value < wanted).map(|value| {
            let level = if value < least { Level::Error } else { Level::Warning };
            let wanted = wanted.max(10).to_string();
            set(node, level, setting, &value.to_string(), &wanted, true).why(why)
        });
        findings.check(code, name, finding);
    }
    listens(findings, settings, node, server);
    slots(findings, node, server);
    log_kept(findings, node, server);
    names(findings, settings, node, server);
    files(findings, node, server);
    findings.check(
        "archive",
        name,
        (server.more.archive_failing
            && server.text("archive_mode") != Some("off")
            && !server.facts.in_recovery)
            .then(|| {
                let wal = server.more.archive_failed_wal.as_deref().unwrap_or("a segment");
                Finding::new("", Level::Warning, format!("archiving fails: {wal} couldn't be archived"))
                    .why("the log piles up until the disk is full, and the server stops")
                    .mend(format!("what does the server's log on {} say about archive_command?", node.name))
            }),
    );
    let now = server.more.now;
    if let Some(until) = server.certificate_until {
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit into a float")]
        let days = (until as f64 - now) / 86_400.0;
        let finding = (days < 30.0).then(|| {
            let (level, what) = if days < 0.0 {
                (Level::Error, format!("its TLS certificate expired {:.0} days ago", -days))
            } else {
                (Level::Warning, format!("its TLS certificate expires in {days:.0} days"))
            };
            Finding::new("", level, what)
                .why("with sslmode=verify-ca or verify-full nobody gets in any more: no standby, no daemon")
                .mend(format!("install a new certificate on {}, then: SELECT pg_reload_conf()", node.name))
        });
        findings.check("tls-expiry", name, finding);
    }
}

/// A setting that isn't as it should be.
fn set(node: &Node, level: Level, setting: &'static str, is: &str, wanted: &str, restart: bool) -> Finding {
    let then = if restart { ", then restart it" } else { "; SELECT pg_reload_conf()" };
    let statement = format!("ALTER SYSTEM SET {setting} = {wanted}");
    let mend = if restart {
        psql(node, &statement) + then
    } else {
        format!("on {}: psql -c \"{statement}\" -c \"SELECT pg_reload_conf()\"", node.name)
    };
    Finding::new("", level, format!("{setting} is {is}")).mend(mend).fix(Fix::Setting {
        name: setting,
        value: wanted.to_owned(),
        restart,
    })
}

/// Whether the server listens where others look for it.
fn listens(findings: &mut Findings, settings: &Settings, node: &Node, server: &ServerSeen) {
    let Some(listen) = server.text("listen_addresses") else { return };
    let all: Vec<&str> = listen.split(',').map(str::trim).collect();
    let has = |address: std::net::IpAddr| {
        let any = if address.is_ipv4() { "0.0.0.0" } else { "::" };
        all.iter().any(|it| *it == "*" || *it == any || it.parse() == Ok(address))
    };
    let mut missing = Vec::new();
    if !has(node.address) {
        missing.push(format!("its own address {}", node.address));
    }
    if node.role == NodeRole::Data {
        let vips = settings.vips.iter().map(|vip| vip.address.address());
        missing.extend(vips.filter(|vip| !has(*vip)).map(|vip| format!("the virtual IP {vip}")));
    }
    findings.check(
        "listen-addresses",
        Some(&node.name),
        (!missing.is_empty()).then(|| {
            let what = format!("listen_addresses is '{listen}', without {}", missing.join(" and "));
            Finding::new("", Level::Error, what)
                .why("after a failover clients and standbys can't reach this server")
                .mend(psql(node, "ALTER SYSTEM SET listen_addresses = '*'") + ", then restart it")
        }),
    );
}

/// Returns the standby that streams from this server under the name that a slot is for, if there is one.
fn streams_without<'a>(server: &'a ServerSeen, slot: &str) -> Option<&'a str> {
    let senders = server.facts.replication.iter().map(|sender| sender.application_name.as_str());
    senders.into_iter().find(|name| name.replace('-', "_") == slot && !server.facts.in_recovery)
}

/// Slots that are broken, forgotten, or don't outlive a failover.
fn slots(findings: &mut Findings, node: &Node, server: &ServerSeen) {
    let name = Some(node.name.as_str());
    let mut fine = true;
    for slot in server.more.slots.as_deref().unwrap_or_default() {
        let held = slot.held.and_then(|held| u64::try_from(held).ok()).unwrap_or(0);
        let held = format!("{} MB", held >> 20);
        let drop = psql(node, &format!("SELECT pg_drop_replication_slot('{}')", slot.name));
        let finding = match (slot.wal_status.as_deref(), slot.active, slot.kind.as_str()) {
            (Some("lost"), ..) => Some(
                Finding::new("", Level::Error, format!("the slot {} has lost its log", slot.name))
                    .why("whoever uses it can't go on, and has to be rebuilt")
                    .mend(format!("on the standby: pgbaton pg rebuild-standby; or, if nobody uses it, {drop}")),
            ),
            (Some("unreserved"), ..) => Some(
                Finding::new("", Level::Warning, format!("the slot {} is about to lose its log", slot.name))
                    .why("max_slot_wal_keep_size is used up; at the next checkpoint its standby has to be rebuilt")
                    .mend("is that standby up? otherwise make max_slot_wal_keep_size larger"),
            ),
            (_, false, "physical") if streams_without(server, &slot.name).is_some() => {
                let standby = streams_without(server, &slot.name).unwrap_or_default();
                Some(
                    Finding::new("", Level::Warning, format!("{standby} streams without its slot {}", slot.name))
                        .why("the slot keeps log that nobody needs, and while that standby is away its own isn't kept")
                        .mend(format!(
                            "on {standby}: psql -c \"ALTER SYSTEM SET primary_slot_name = '{}'\" -c \"SELECT \
                             pg_reload_conf()\"",
                            slot.name
                        )),
                )
            }
            (_, false, "physical") if slot.held.is_some() && !server.facts.in_recovery => Some(
                Finding::new("", Level::Warning, format!("nobody uses the slot {}, which keeps {held} of log", slot.name))
                    .why("it keeps the log until the disk is full or max_slot_wal_keep_size is reached")
                    .mend(format!("is the standby that uses it down? if there is none any more, {drop}")),
            ),
            (_, _, "logical") if !slot.failover => Some(
                Finding::new("", Level::Note, format!("the logical slot {} doesn't outlive a failover", slot.name))
                    .why("the new primary doesn't have it; its subscriber has to be set up again")
                    .mend("from PostgreSQL 17 on a slot can be made with failover = true and kept in step"),
            ),
            _ => None,
        };
        if let Some(finding) = finding {
            fine = false;
            findings.check("slots", name, Some(finding));
        }
    }
    if fine {
        findings.check("slots", name, None);
    }
}

/// Whether the log that a standby needs is kept, and not for ever.
fn log_kept(findings: &mut Findings, node: &Node, server: &ServerSeen) {
    let name = Some(node.name.as_str());
    let slots = server.more.slots.as_ref().is_some_and(|slots| !slots.is_empty());
    let unlimited = server.number("max_slot_wal_keep_size") == Some(-1);
    findings.check(
        "max-slot-wal-keep-size",
        name,
        (unlimited && slots).then(|| {
            Finding::new("", Level::Warning, "max_slot_wal_keep_size is unlimited, and there are slots")
                .why("a standby that stays away fills the primary's disk until the server stops")
                .mend(
                    psql(node, "ALTER SYSTEM SET max_slot_wal_keep_size = '10GB'")
                        + " -c \"SELECT pg_reload_conf()\", with a size that the disk can spare",
                )
        }),
    );
    let kept = server.number("wal_keep_size").unwrap_or(0);
    let by_slot = server.text("primary_slot_name").is_some_and(|slot| !slot.is_empty());
    findings.check(
        "wal-kept",
        name,
        (server.facts.in_recovery && !by_slot && kept == 0).then(|| {
            let slot = node.name.replace('-', "_");
            Finding::new("", Level::Warning, "it streams without a slot, and wal_keep_size is 0")
                .why("after a short absence the log it needs may be gone from the primary, and it has to be rebuilt")
                .mend(format!(
                    "on the primary: SELECT pg_create_physical_replication_slot('{slot}'); then on {}: psql -c \"ALTER \
                     SYSTEM SET primary_slot_name = '{slot}'\" -c \"SELECT pg_reload_conf()\"",
                    node.name
                ))
        }),
    );
}

/// Whether `synchronous_standby_names` means the nodes.
fn names(findings: &mut Findings, settings: &Settings, node: &Node, server: &ServerSeen) {
    let name = Some(node.name.as_str());
    let text = server.text("synchronous_standby_names").unwrap_or_default();
    let Some(parsed) = parse_names(text) else {
        findings.check("synchronous-names", name, None);
        return;
    };
    let is_node = |name: &String| settings.nodes.iter().any(|node| node.name == *name);
    let strangers: Vec<&str> =
        parsed.names.iter().filter(|name| !is_node(name) && *name != "*").map(String::as_str).collect();
    let others =
        settings.nodes.iter().filter(|other| other.name != node.name && parsed.names.contains(&other.name));
    let others = others.count();
    let star = parsed.names.iter().any(|name| name == "*");
    let finding = if !strangers.is_empty() {
        Some(
            Finding::new(
                "",
                Level::Error,
                format!("synchronous_standby_names names {}, not a node", strangers.join(", ")),
            )
            .why("commits wait for a standby of that application_name; the names must be those of the nodes")
            .mend("which names do the standbys have? SELECT application_name FROM pg_stat_replication"),
        )
    } else if star {
        Some(
            Finding::new("", Level::Warning, "synchronous_standby_names is '*'")
                .why("any client that streams counts, pg_receivewal and a base backup too; a vote can't be made of it")
                .mend("name the other nodes instead, as in ANY 1 (node2, spare)"),
        )
    } else if others < parsed.count {
        Some(
            Finding::new(
                "",
                Level::Error,
                format!("commits here wait for {} standbys, of {others}", parsed.count),
            )
            .why("a server doesn't stream from itself: as a primary it would never acknowledge a commit")
            .mend("name as many other nodes as commits wait for"),
        )
    } else {
        None
    };
    findings.check("synchronous-names", name, finding);
    let local = matches!(server.text("synchronous_commit"), Some("off" | "local"));
    findings.check(
        "synchronous-commit",
        name,
        local.then(|| {
            let value = server.text("synchronous_commit").unwrap_or_default();
            Finding::new(
                "",
                Level::Warning,
                format!("synchronous_commit is {value}, although there are synchronous standbys"),
            )
            .why("commits are acknowledged before a standby has them: a failover can lose them")
            .mend(psql(node, "ALTER SYSTEM RESET synchronous_commit") + " -c \"SELECT pg_reload_conf()\"")
        }),
    );
}

/// Mistakes in the files, and what waits for a restart.
fn files(findings: &mut Findings, node: &Node, server: &ServerSeen) {
    let name = Some(node.name.as_str());
    match &server.file_errors {
        Some(errors) => findings.check(
            "configuration-files",
            name,
            (!errors.is_empty()).then(|| {
                Finding::new(
                    "",
                    Level::Error,
                    format!("its configuration has mistakes: {}", errors.join("; ")),
                )
                .why("the server doesn't start with them, not after a failover either")
                .mend(format!(
                    "on {}: psql -c \"SELECT * FROM pg_file_settings WHERE error IS NOT NULL\"",
                    node.name
                ))
            }),
        ),
        None => findings.skip("configuration-files", name, "the role may not see pg_file_settings"),
    }
    let pending = server.more.pending_restart.as_deref().unwrap_or_default();
    findings.check(
        "pending-restart",
        name,
        (!pending.is_empty()).then(|| {
            Finding::new("", Level::Note, format!("waits for a restart: {}", pending.join(", ")))
                .why("until then the old values count")
                .mend(format!("restart PostgreSQL on {}, standbys first", node.name))
        }),
    );
}

/// Looks at what the role may do.
pub(super) fn rights(
    findings: &mut Findings,
    settings: &Settings,
    node: &Node,
    server: &ServerSeen,
    primary: Option<&ServerSeen>,
) {
    let name = Some(node.name.as_str());
    let role = server.more.role.as_str();
    let mut need = |code: &'static str, level, rights: &[&str], grants: &[String], why: &str| {
        let missing: Vec<&str> =
            rights.iter().copied().filter(|right| server.may(right) == Some(false)).collect();
        let statements: Vec<&str> = rights
            .iter()
            .zip(grants)
            .filter(|(right, _)| missing.contains(right))
            .map(|(_, grant)| grant.as_str())
            .collect();
        findings.check(
            code,
            name,
            (!missing.is_empty()).then(|| {
                Finding::new("", level, format!("the role {role} lacks: {}", missing.join(", ")))
                    .why(why)
                    .mend(format!("on the primary, as a superuser: {}", statements.join("; ")))
            }),
        );
    };
    let execute = |signature: &str| format!("GRANT EXECUTE ON FUNCTION {signature} TO {role}");
    need(
        "rights-promote",
        Level::Error,
        &["pg_promote", "create", "pg_monitor"],
        &[
            execute("pg_promote(boolean, integer)"),
            format!("GRANT CREATE ON DATABASE postgres TO {role}"),
            format!("GRANT pg_monitor TO {role}"),
        ],
        "a failover can't promote, can't write its epoch down, or can't see what it decides by",
    );
    need(
        "rights-epoch",
        Level::Error,
        &["epoch"],
        &[format!("ALTER TABLE pgbaton.epoch OWNER TO {role}")],
        "the table of the confirmed terms belongs to another role: a promotion can't be confirmed",
    );
    let mut fast = vec!["pg_reload_conf"];
    let mut fast_grants = vec![execute("pg_reload_conf()")];
    if server.facts.major() >= 15 {
        fast.push("pg_checkpoint");
        fast_grants.push(format!("GRANT pg_checkpoint TO {role}"));
    }
    need(
        "rights-fast",
        Level::Warning,
        &fast,
        &fast_grants,
        "the promotion takes longer, and ends without its checkpoint",
    );
    need(
        "rights-rewind",
        Level::Warning,
        &["pg_ls_dir", "pg_stat_file", "pg_read_binary_file"],
        &[
            execute("pg_ls_dir(text, boolean, boolean)"),
            execute("pg_stat_file(text, boolean)"),
            format!(
                "{}, {}",
                execute("pg_read_binary_file(text)"),
                execute("pg_read_binary_file(text, bigint, bigint, boolean)")
            ),
        ],
        "pg_rewind can't read from this server with it: a rebuild copies everything",
    );
    findings.check(
        "rights-replication",
        name,
        (!server.more.replication).then(|| {
            Finding::new("", Level::Error, format!("the role {role} has no REPLICATION"))
                .why("slots for the other nodes can't be made after a promotion, and history files can't be fetched")
                .mend(format!("on the primary, as a superuser: ALTER ROLE {role} REPLICATION"))
        }),
    );
    let names = primary.unwrap_or(server).text("synchronous_standby_names").unwrap_or_default();
    if settings.votes() || !names.trim().is_empty() {
        lossless(findings, node, server);
    }
}

/// What a failover with synchronous standbys needs besides.
fn lossless(findings: &mut Findings, node: &Node, server: &ServerSeen) {
    let name = Some(node.name.as_str());
    let role = server.more.role.as_str();
    if server.facts.major() < 15 {
        findings.check(
            "rights-lossless",
            name,
            (!server.facts.superuser).then(|| {
                Finding::new("", Level::Error, format!("the role {role} is no superuser"))
                    .why("before PostgreSQL 15 only a superuser may ALTER SYSTEM, which a lossless failover needs")
                    .mend(format!("on the primary: ALTER ROLE {role} SUPERUSER; or upgrade to 15 or newer"))
            }),
        );
        return;
    }
    let wanted = [
        ("alter primary_conninfo", "GRANT ALTER SYSTEM ON PARAMETER primary_conninfo"),
        ("alter primary_slot_name", "GRANT ALTER SYSTEM ON PARAMETER primary_slot_name"),
        ("alter synchronous_standby_names", "GRANT ALTER SYSTEM ON PARAMETER synchronous_standby_names"),
        ("alter pgbaton.register", "GRANT SET, ALTER SYSTEM ON PARAMETER pgbaton.register"),
        ("set pgbaton.register", "GRANT SET, ALTER SYSTEM ON PARAMETER pgbaton.register"),
        ("pg_reload_conf", "GRANT EXECUTE ON FUNCTION pg_reload_conf()"),
        ("pg_show_all_file_settings", "GRANT EXECUTE ON FUNCTION pg_show_all_file_settings()"),
    ];
    let missing: Vec<_> = wanted.iter().filter(|(right, _)| server.may(right) == Some(false)).collect();
    let mut grants: Vec<String> = missing.iter().map(|(_, grant)| format!("{grant} TO {role}")).collect();
    grants.dedup();
    findings.check(
        "rights-lossless",
        name,
        (!missing.is_empty()).then(|| {
            let lacks: Vec<&str> = missing.iter().map(|(right, _)| *right).collect();
            Finding::new("", Level::Error, format!("the role {role} lacks: {}", lacks.join(", ")))
                .why("a standby can't be detached from the old primary, so nothing is promoted without loss")
                .mend(format!("on the primary, as a superuser: {}", grants.join("; ")))
        }),
    );
}
