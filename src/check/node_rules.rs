//! Rules about a node beside the others: who gets in where, what differs, what a standby follows. Pure.

use super::finding::{Finding, Findings, Fix, Level};
use super::hba::{Connection, Verdict, decide};
use super::psql;
use super::server::{NodeSeen, ServerSeen};
use crate::rebuild::conf::ConnInfo;
use crate::settings::{Availability, Fence, Node, NodeRole, Settings};

/// Clocks further apart than this are told; a second is what a person notices in two logs side by side.
const CLOCK_NOTE: f64 = 0.5;
const CLOCK_WARNING: f64 = 5.0;

/// Settings of which a standby needs at least what the primary has.
const AT_LEAST: &[&str] = &[
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
];

/// Looks at a node.
pub(super) fn node(
    findings: &mut Findings,
    settings: &Settings,
    node: &Node,
    server: &ServerSeen,
    primary: Option<&ServerSeen>,
) {
    let name = Some(node.name.as_str());
    let (ahead, unsure) = server.clock;
    let off = (ahead.abs() - unsure).max(0.0);
    findings.check(
        "clock",
        name,
        (off > CLOCK_NOTE).then(|| {
            let direction = if ahead > 0.0 { "ahead of" } else { "behind" };
            let level = if off > CLOCK_WARNING { Level::Warning } else { Level::Note };
            Finding::new("", level, format!("its clock is {off:.1} s {direction} this machine's"))
                .why("nothing is decided by the wall clock, but logs and certificates are read by it")
                .mend(format!("on {}: timedatectl set-ntp true", node.name))
        }),
    );
    host_based(findings, settings, node, server);
    if server.facts.in_recovery {
        standby(findings, settings, node, server, primary);
    }
}

/// Whether the other nodes get in: for replication and for the questions of their daemons.
fn host_based(findings: &mut Findings, settings: &Settings, node: &Node, server: &ServerSeen) {
    let name = Some(node.name.as_str());
    let Some(rules) = &server.hba else {
        findings.skip(
            "pg-hba",
            name,
            "the role may not see pg_hba_file_rules: GRANT EXECUTE ON FUNCTION pg_hba_file_rules()",
        );
        return;
    };
    let broken: Vec<String> = rules
        .iter()
        .filter_map(|rule| rule.error.as_ref().map(|error| format!("line {}: {error}", rule.line)))
        .collect();
    findings.check(
        "pg-hba-lines",
        name,
        (!broken.is_empty()).then(|| {
            Finding::new("", Level::Error, format!("pg_hba.conf has mistakes: {}", broken.join("; ")))
                .why("after a restart the server doesn't start, until then the old lines count")
                .mend(psql(node, "SELECT * FROM pg_hba_file_rules WHERE error IS NOT NULL"))
        }),
    );
    let Some(postgres) = settings.postgres_of(node) else { return };
    let mut trusted: Vec<(u32, &str)> = Vec::new();
    for other in settings.nodes.iter().filter(|other| other.name != node.name) {
        for database in [Some(postgres.database.as_str()), None] {
            let connection = Connection { from: other.address, user: &postgres.user, database };
            let purpose = if database.is_some() { "ask" } else { "stream from" };
            let line = format!(
                "{} {} {}/{} scram-sha-256",
                if database.is_some() {
                    format!("host {}", postgres.database)
                } else {
                    "host replication".to_owned()
                },
                postgres.user,
                other.address,
                if other.address.is_ipv4() { 32 } else { 128 },
            );
            let closed = |why: String| {
                Finding::new("", Level::Error, format!("{} may not {purpose} it: {why}", other.name))
                    .why(if database.is_some() {
                        "a failover can't know what this server is, or get its promise"
                    } else {
                        "after a failover that node can't follow this one, and can't be rebuilt from it"
                    })
                    .mend(format!("on {}, in pg_hba.conf: {line}; then SELECT pg_reload_conf()", node.name))
            };
            let finding = match decide(rules, connection) {
                Verdict::In(rule)
                    if rule.method.as_deref() == Some("trust") && !other.address.is_loopback() =>
                {
                    trusted.push((rule.line, &other.name));
                    continue;
                }
                Verdict::In(_) => None,
                Verdict::Rejected(rule) => {
                    Some(closed(format!("line {} of pg_hba.conf rejects it", rule.line)))
                }
                Verdict::NoLine => Some(closed("no line of pg_hba.conf fits".to_owned())),
                Verdict::Unclear(rule) => {
                    let why = format!(
                        "line {} of its pg_hba.conf can't be told to fit {} or not",
                        rule.line, other.name
                    );
                    findings.skip("pg-hba", name, why);
                    continue;
                }
            };
            let same = |known: &Finding| {
                finding.as_ref().is_some_and(|it| known.what == it.what) && known.node.as_deref() == name
            };
            if !findings.found.iter().any(same) {
                findings.check("pg-hba", name, finding);
            }
        }
    }
    if !trusted.is_empty() {
        findings.check("pg-hba-trust", name, Some(trusting(node, &trusted)));
    } else if !rules.is_empty() {
        findings.check("pg-hba-trust", name, None);
    }
}

/// Says which lines let nodes in without a password; one finding, however many lines and nodes.
fn trusting(node: &Node, trusted: &[(u32, &str)]) -> Finding {
    let mut lines: Vec<u32> = trusted.iter().map(|(line, _)| *line).collect();
    lines.sort_unstable();
    lines.dedup();
    let mut names: Vec<&str> = trusted.iter().map(|(_, name)| *name).collect();
    names.sort_unstable();
    names.dedup();
    let numbers: Vec<String> = lines.iter().map(u32::to_string).collect();
    let (line, verb) = if lines.len() == 1 { ("line", "lets") } else { ("lines", "let") };
    let numbers = numbers.join(", ");
    let what = format!("{line} {numbers} of pg_hba.conf {verb} {} in without a password", names.join(", "));
    Finding::new("", Level::Warning, what)
        .why("whoever can send from that address is let in as this role")
        .mend(format!(
            "on {}: in {line} {numbers} of pg_hba.conf scram-sha-256 in place of trust, the password in ~/.pgpass of \
             each node, then SELECT pg_reload_conf(); pgbaton cluster init does all of it",
            node.name
        ))
}

/// Looks at what a standby follows, and how.
fn standby(
    findings: &mut Findings,
    settings: &Settings,
    node: &Node,
    server: &ServerSeen,
    primary: Option<&ServerSeen>,
) {
    let name = Some(node.name.as_str());
    let target = server.text("recovery_target_timeline").unwrap_or("latest");
    findings.check(
        "recovery-target",
        name,
        (target != "latest").then(|| {
            Finding::new("", Level::Error, format!("recovery_target_timeline is {target}"))
                .why("it can't follow a new primary to its timeline")
                .mend(
                    psql(node, "ALTER SYSTEM SET recovery_target_timeline = 'latest'") + ", then restart it",
                )
                .fix(Fix::Setting {
                    name: "recovery_target_timeline",
                    value: "latest".to_owned(),
                    restart: true,
                })
        }),
    );
    let delay = server.number("recovery_min_apply_delay").unwrap_or(0);
    findings.check(
        "apply-delay",
        name,
        (delay > 0 && node.role == NodeRole::Data).then(|| {
            Finding::new("", Level::Warning, format!("recovery_min_apply_delay is {delay} ms"))
                .why("a promotion has to replay all that was put off first")
                .mend("make it a spare, or: ALTER SYSTEM RESET recovery_min_apply_delay")
        }),
    );
    if let Some(primary) = primary {
        for setting in AT_LEAST {
            let (mine, theirs) = (server.number(setting), primary.number(setting));
            let finding = match (mine, theirs) {
                (Some(mine), Some(theirs)) if mine < theirs => Some(
                    Finding::new(
                        "",
                        Level::Error,
                        format!("{setting} is {mine}, less than the primary's {theirs}"),
                    )
                    .why("the standby pauses its replay, and a restart of it fails")
                    .mend(psql(node, &format!("ALTER SYSTEM SET {setting} = {theirs}")) + ", then restart it")
                    .fix(Fix::Setting {
                        name: setting,
                        value: theirs.to_string(),
                        restart: true,
                    }),
                ),
                _ => None,
            };
            findings.check("standby-settings", name, finding);
        }
    }
    match server.text("primary_conninfo").or(server.facts.primary_conninfo.as_deref()) {
        Some(text) if !text.trim().is_empty() => upstream(findings, settings, node, text),
        _ => findings.skip("primary-conninfo", name, "it is empty, or the role may not see it"),
    }
    let restore = server.text("restore_command").unwrap_or_default();
    findings.check(
        "restore-command",
        name,
        (!restore.is_empty()).then(|| {
            Finding::new("", Level::Note, "restore_command is set")
                .why("at a promotion it is called for a file that isn't there; if it hangs, so does the promotion")
                .mend("does it give up fast when the archive can't be reached?")
        }),
    );
}

fn upstream(findings: &mut Findings, settings: &Settings, node: &Node, text: &str) {
    let name = Some(node.name.as_str());
    let Some(info) = ConnInfo::parse(text) else {
        findings.skip("primary-conninfo", name, "it can't be read");
        return;
    };
    let called = info.get("application_name").unwrap_or("walreceiver");
    findings.check(
        "application-name",
        name,
        (called != node.name).then(|| {
            Finding::new("", Level::Warning, format!("it streams as \"{called}\", not as \"{}\"", node.name))
                .why("synchronous_standby_names and cluster status know a standby by the name of its node")
                .mend(format!(
                    "on {}: add application_name={} to primary_conninfo, and reload",
                    node.name, node.name
                ))
        }),
    );
    let host = info.get("hostaddr").or_else(|| info.get("host")).unwrap_or_default();
    let virtual_ip = settings.vips.iter().any(|vip| vip.address.address().to_string() == host);
    findings.check(
        "primary-conninfo",
        name,
        virtual_ip.then(|| {
            Finding::new("", Level::Warning, "it streams from the virtual IP")
                .why("while the address moves it may stream from a server that isn't the primary of its term")
                .mend(format!(
                    "on {}: name the primary's own address in primary_conninfo, and reload",
                    node.name
                ))
        }),
    );
    findings.check(
        "password-in-conninfo",
        name,
        info.get("password").is_some().then(|| {
            Finding::new("", Level::Note, "primary_conninfo holds a password")
                .why("it is in postgresql.auto.conf, in every base backup, and shown to superusers")
                .mend("put it into ~/.pgpass of the server's user instead, with mode 0600")
        }),
    );
}

/// Whether a replication connection from this machine, which is node `me`, gets in.
pub(super) fn replication_connection(
    findings: &mut Findings,
    me: Option<&str>,
    node: &Node,
    seen: &NodeSeen,
) {
    let Some(replication) = &seen.replication else { return };
    findings.check(
        "replication-connection",
        me,
        replication.as_ref().err().map(|why| {
            Finding::new("", Level::Error, format!("it can't replicate from {}: {why}", node.name))
                .why("it couldn't follow that node after a failover, nor be rebuilt from it, nor fetch a history file")
                .mend(format!(
                    "a line \"host replication\" in pg_hba.conf on {}, and a line in ~/.pgpass here?",
                    node.name
                ))
        }),
    );
}

/// Looks at the nodes side by side.
pub(super) fn together(findings: &mut Findings, settings: &Settings, nodes: &[NodeSeen]) {
    let seen: Vec<(&Node, &ServerSeen)> = settings
        .nodes
        .iter()
        .zip(nodes)
        .filter_map(|(node, seen)| seen.server.as_ref().ok().map(|server| (node, server)))
        .collect();
    let versions: Vec<(&str, u32)> =
        seen.iter().map(|(node, it)| (node.name.as_str(), it.facts.server_version)).collect();
    let told = |version: u32| format!("{}.{}", version / 10_000, version % 10_000);
    let listed = || {
        versions
            .iter()
            .map(|(name, version)| format!("{name} {}", told(*version)))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let differ = |part: fn(u32) -> u32| {
        let mut parts: Vec<u32> = versions.iter().map(|(_, version)| part(*version)).collect();
        parts.dedup();
        parts.len() > 1
    };
    let finding = if differ(|version| version / 10_000) {
        Some(
            Finding::new("", Level::Error, format!("the servers are of different majors: {}", listed()))
                .why("replication between majors doesn't work")
                .mend("upgrade all of them to one major"),
        )
    } else if differ(|version| version) {
        Some(
            Finding::new("", Level::Note, format!("the servers are of different minors: {}", listed()))
                .why("fine while a rolling upgrade is under way; standbys go first")
                .mend("upgrade the others too"),
        )
    } else {
        None
    };
    findings.check("versions", None, finding);
    configurations(findings, settings, &seen);
    let alone = settings.nodes.len() == 2
        && settings.guard.availability == Availability::Hold
        && settings.guard.fence == Fence::None
        && !settings.votes()
        && seen.iter().all(|(_, it)| it.text("synchronous_standby_names").unwrap_or_default().is_empty());
    findings.check(
        "two-nodes-hold",
        None,
        alone.then(|| {
            Finding::new("", Level::Note, "two nodes, asynchronous, availability = \"hold\"")
                .why("after a power loss nothing proves that the old primary is dead: nobody is promoted by itself")
                .mend("is that what you want? guard.fence makes sure of a death; \"prefer\" takes silence for it")
        }),
    );
}

/// Whether the daemons run with one and the same configuration.
fn configurations(findings: &mut Findings, settings: &Settings, seen: &[(&Node, &ServerSeen)]) {
    // Replication carries the rows to every node; those of the primary are the newest.
    let rows = seen.iter().find(|(_, it)| !it.facts.in_recovery).or_else(|| seen.first());
    let Some((_, server)) = rows else { return };
    let known: Vec<&(String, Option<String>)> = server
        .digests
        .iter()
        .filter(|(name, _)| settings.nodes.iter().any(|node| node.name == *name))
        .collect();
    let different: Vec<&str> = known
        .iter()
        .filter(|(_, digest)| digest.as_ref().is_some_and(|digest| *digest != settings.digest))
        .map(|(name, _)| name.as_str())
        .collect();
    findings.check(
        "configuration-differs",
        None,
        (!different.is_empty()).then(|| {
            let file = settings.file.as_deref().map_or_else(String::new, |file| file.display().to_string());
            let what = format!("the daemon of {} runs with another {file} than this machine has", different.join(" and "));
            Finding::new("", Level::Warning, what)
                .why("nodes that disagree about priorities, intervals or guards fail over in ways nobody planned")
                .mend(format!("copy {file} to every node, then systemctl reload pgbaton (SIGHUP) there"))
        }),
    );
    for node in settings.nodes.iter().filter(|node| node.role == NodeRole::Data) {
        match known.iter().find(|(name, _)| *name == node.name) {
            Some((_, None)) => {
                findings.skip("configuration-differs", Some(&node.name), "its daemon is of an older version");
            }
            Some(_) => {}
            None => findings.check(
                "daemon-seen",
                Some(&node.name),
                Some(
                    Finding::new("", Level::Warning, "its daemon has never written how it is")
                        .why("without the daemon this node neither takes over nor stops when it must")
                        .mend(format!("on {}: systemctl enable --now pgbaton", node.name)),
                ),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_trust_are_one_finding() {
        let text = "[cluster]\nname = \"x\"\n[[node]]\nname = \"node1\"\naddress = \"192.0.2.1\"\npriority = 2\n\
                    [[node]]\nname = \"node2\"\naddress = \"192.0.2.2\"\npriority = 1\n[[vip]]\n\
                    address = \"192.0.2.3/24\"\n";
        let settings = Settings::from_toml(text, "x").unwrap();
        let node = &settings.nodes[0];
        let several = trusting(node, &[(100, "spare"), (99, "node2"), (99, "spare")]);
        assert_eq!(several.what, "lines 99, 100 of pg_hba.conf let node2, spare in without a password");
        assert_eq!(trusting(node, &[(7, "a")]).what, "line 7 of pg_hba.conf lets a in without a password");
    }
}
