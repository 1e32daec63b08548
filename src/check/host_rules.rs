//! Rules about this machine: its interface, firewall, services, files, and its way to the other nodes. Pure.

use super::finding::{Finding, Findings, Fix, Level};
use super::firewall::{self, Obstacle};
use super::host::HostFacts;
use super::server::ServerSeen;
use crate::settings::{NodeRole, Settings};
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Looks at this machine.
pub(super) fn host(
    findings: &mut Findings,
    settings: &Settings,
    host: &HostFacts,
    server: Option<&ServerSeen>,
) {
    interface(findings, settings, host);
    duplicates(findings, settings, host);
    gateway(findings, settings, host);
    kernel(findings, settings, host);
    nonlocal_bind(findings, settings, host, server);
    vrrp(findings, settings, host);
    firewall(findings, settings, host);
    services(findings, host);
    files(findings, settings, host);
    for (peer, why) in &host.ssh {
        findings.check(
            "ssh",
            Some(&host.node.name),
            why.as_ref().map(|why| {
                Finding::new("", Level::Note, format!("{peer} can't be reached over SSH: {why}"))
                    .why("pg fence --node, pg fetch-history over SFTP and cluster events --peers need it; nothing else does")
                    .mend(format!(
                        "ssh-copy-id to {peer}, and its key in known_hosts under the name {peer}, after comparing it: \
                         ssh-keyscan"
                    ))
            }),
        );
    }
}

fn interface(findings: &mut Findings, settings: &Settings, host: &HostFacts) {
    let name = Some(host.node.name.as_str());
    let link = match &host.link {
        Ok(link) => link,
        Err(why) => {
            let finding = Finding::new("", Level::Error, format!("its interface can't be used: {why}"))
                .why("the daemon doesn't start")
                .mend("ip -brief address");
            findings.check("interface", name, Some(finding));
            return;
        }
    };
    findings.check(
        "interface",
        name,
        (!link.is_usable()).then(|| {
            Finding::new("", Level::Error, format!("{} has no carrier, or is down", link.name))
                .why("no advert leaves and none arrives")
                .mend(format!("ip link show {}", link.name))
        }),
    );
    if host.node.role != NodeRole::Data {
        return;
    }
    for vip in &settings.vips {
        let here: Vec<_> = host.addresses.iter().filter(|address| address.index == link.index).collect();
        let inside = here.iter().any(|address| {
            address.address.address() != vip.address.address()
                && address.address.contains(vip.address.address())
        });
        findings.check(
            "vip-subnet",
            name,
            (!inside).then(|| {
                let have: Vec<String> = here.iter().map(|address| address.address.to_string()).collect();
                let what = format!("{} is in no network of {} ({})", vip.address, link.name, have.join(", "));
                Finding::new("", Level::Error, what)
                    .why("clients and routers couldn't reach it there; the daemon doesn't start")
                    .mend("correct the address, its prefix length or the interface in the configuration")
            }),
        );
    }
}

/// Whether anybody else has a virtual IP.
fn duplicates(findings: &mut Findings, settings: &Settings, host: &HostFacts) {
    let name = Some(host.node.name.as_str());
    let Some(owners) = &host.owners else {
        findings.skip(
            "vip-duplicate",
            name,
            "the link couldn't be asked by ARP: that takes CAP_NET_RAW, as root has it",
        );
        return;
    };
    for (address, owner) in owners {
        let Some(owner) = owner else {
            findings.check("vip-duplicate", name, None);
            continue;
        };
        let known = host.macs.iter().any(|(_, mac)| mac == owner)
            || host.link.as_ref().is_ok_and(|link| link.mac == Some(*owner));
        // With a silent node nobody can say that the address isn't its own.
        let silent = host.macs.len() < settings.peers().count();
        if !known && silent {
            findings.skip(
                "vip-duplicate",
                name,
                format!("{owner} has {address}, and not all nodes tell their Ethernet address"),
            );
            continue;
        }
        findings.check(
            "vip-duplicate",
            name,
            (!known).then(|| {
                Finding::new(
                    "",
                    Level::Error,
                    format!("{owner}, which is none of the nodes, answers for {address}"),
                )
                .why("two machines with one address: clients reach either, and a promotion refuses to go on")
                .mend(format!("which machine is it? ip neigh show {address}"))
            }),
        );
    }
}

/// Whether the gateway answers, where a promotion depends on it.
fn gateway(findings: &mut Findings, settings: &Settings, host: &HostFacts) {
    let Some(gateway) = settings.guard.gateway else { return };
    let name = Some(host.node.name.as_str());
    let Some(answers) = host.gateway else {
        findings.skip(
            "gateway",
            name,
            "the link couldn't be asked by ARP: that takes CAP_NET_RAW, as root has it",
        );
        return;
    };
    findings.check(
        "gateway",
        name,
        (!answers).then(|| {
            Finding::new("", Level::Error, format!("the gateway {gateway} doesn't answer by ARP"))
                .why("a silent primary isn't replaced, and a primary that no other node answers stops itself")
                .mend(format!("is it on the link of the nodes? ping {gateway}; ip neigh show {gateway}"))
        }),
    );
}

fn kernel(findings: &mut Findings, settings: &Settings, host: &HostFacts) {
    let name = Some(host.node.name.as_str());
    let value =
        |wanted: &str| host.kernel.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let Ok(link) = &host.link else { return };
    // The kernel answers ARP for any of its addresses on any interface.
    let networks = |vip: IpAddr| {
        let mut indexes: Vec<u32> = host
            .addresses
            .iter()
            .filter(|address| address.address.contains(vip) && address.address.prefix() > 0)
            .map(|address| address.index)
            .collect();
        indexes.sort_unstable();
        indexes.dedup();
        indexes.len()
    };
    let several = settings
        .vips
        .iter()
        .any(|vip| vip.address.address().is_ipv4() && networks(vip.address.address()) > 1);
    let ignore = ["all", &link.name]
        .iter()
        .any(|scope| value(&format!("net.ipv4.conf.{scope}.arp_ignore")).is_some_and(|value| value != "0"));
    findings.check(
        "arp-flux",
        name,
        (several && !ignore).then(|| {
            Finding::new(
                "",
                Level::Warning,
                "several interfaces are in the network of the virtual IP, and arp_ignore is 0",
            )
            .why("the kernel answers for the virtual IP with the Ethernet address of any of them")
            .mend("sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2")
        }),
    );
    let strict = value(&format!("net.ipv4.conf.{}.rp_filter", link.name)) == Some("1")
        || value("net.ipv4.conf.all.rp_filter") == Some("1");
    findings.check(
        "rp-filter",
        name,
        (several && strict).then(|| {
            Finding::new("", Level::Warning, "rp_filter is strict, with several interfaces in one network")
                .why("packets to the virtual IP that come in by the other interface are dropped")
                .mend(format!(
                    "sysctl -w net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.{}.rp_filter=2",
                    link.name
                ))
        }),
    );
}

/// Whether a standby's server can listen on the virtual IP before it has it.
fn nonlocal_bind(
    findings: &mut Findings,
    settings: &Settings,
    host: &HostFacts,
    server: Option<&ServerSeen>,
) {
    let Some(listen) = server.and_then(|server| server.text("listen_addresses")) else { return };
    if host.node.role != NodeRole::Data {
        return;
    }
    let named: Vec<IpAddr> = listen.split(',').filter_map(|one| one.trim().parse().ok()).collect();
    let value =
        |name: &str| host.kernel.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let refused: Vec<IpAddr> = settings
        .vips
        .iter()
        .map(|vip| vip.address.address())
        .filter(|vip| {
            let any: IpAddr =
                if vip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
            let family = if vip.is_ipv4() { "ipv4" } else { "ipv6" };
            named.contains(vip)
                && !named.contains(&any)
                && value(&format!("net.{family}.ip_nonlocal_bind")) != Some("1")
        })
        .collect();
    findings.check(
        "ip-nonlocal-bind",
        Some(&host.node.name),
        refused.first().map(|vip| {
            let family = if vip.is_ipv4() { "ipv4" } else { "ipv6" };
            Finding::new(
                "",
                Level::Error,
                format!("listen_addresses names the virtual IP {vip}, and net.{family}.ip_nonlocal_bind is 0"),
            )
            .why("a server that was started while the address was elsewhere doesn't listen on it: after a failover clients are refused")
            .mend(format!(
                "sysctl -w net.{family}.ip_nonlocal_bind=1 (and in /etc/sysctl.d), then restart PostgreSQL; or listen_addresses = '*'"
            ))
        }),
    );
}

/// Whether the daemon runs and hears the others.
fn vrrp(findings: &mut Findings, settings: &Settings, host: &HostFacts) {
    let name = Some(host.node.name.as_str());
    if host.node.role != NodeRole::Data {
        return;
    }
    let (status, counters) = match &host.daemon {
        Ok(said) => said,
        Err(why) => {
            let finding = Finding::new("", Level::Error, format!("the daemon can't be asked: {why}"))
                .why("without it this node neither takes over nor stops when it must")
                .mend("systemctl start pgbaton; as root or as the daemon's user if it does run");
            findings.check("daemon", name, Some(finding));
            return;
        }
    };
    findings.check("daemon", name, None);
    let text = |pointer: &str| status.pointer(pointer).and_then(Value::as_str);
    let count = |counter: &str| {
        counters.pointer(&format!("/counters/{counter}")).and_then(Value::as_u64).unwrap_or(0)
    };
    let state = text("/vrrp/state").unwrap_or_default();
    let heard = count("adverts_received");
    let finding = match (state, heard, count("asked")) {
        ("BACKUP", 0, asked) if asked > 0 => Some(
            Finding::new("", Level::Error, "it has never heard an advert, although it waits for them")
                .why("if another node is Active, IP protocol 112 or the group 224.0.0.18 doesn't get through to here")
                .mend("tcpdump -ni any proto 112, on both nodes; nft list ruleset; does the switch snoop IGMP?"),
        ),
        ("ACTIVE", ..) if count("rival_adverts") > 0 => Some(
            Finding::new("", Level::Warning, format!("as Active it has heard {} adverts of another Active router", count("rival_adverts")))
                .why("adverts got lost, or another cluster uses the same virtual router id")
                .mend("pgbaton cluster events; tcpdump -ni any proto 112"),
        ),
        _ => None,
    };
    if state == "ACTIVE" && heard == 0 {
        // A Backup is silent: from here nobody can tell a quiet network from one that lets nothing through.
        findings.skip(
            "vrrp-heard",
            name,
            "it is Active, and no other node has sent an advert since its daemon was started; whether theirs \
             arrive here shows with --peers, or when one of them is Active",
        );
    } else {
        findings.check("vrrp-heard", name, finding);
    }
    let active = text("/vrrp/active_node").unwrap_or_default();
    let stranger = active.parse::<IpAddr>().is_ok();
    let foreign = count("discarded_unknown_peer")
        + count("discarded_auth_failed")
        + count("discarded_version_mismatch");
    let id = settings.vrrp.virtual_router_id;
    findings.check(
        "vrid-clash",
        name,
        (stranger || foreign > 0 || count("address_list_differs") > 0).then(|| {
            let what = if stranger {
                format!("{active}, which is no node, is Active in virtual router {id}")
            } else if foreign > 0 {
                format!("{foreign} adverts of strangers came in for virtual router {id}")
            } else {
                format!(
                    "{} adverts for virtual router {id} named other addresses than the virtual IPs here",
                    count("address_list_differs")
                )
            };
            Finding::new("", Level::Error, what)
                .why("two clusters with one virtual_router_id on one network elect against each other")
                .mend("give this cluster another virtual_router_id on all nodes, or correct the [[vip]] that differs")
        }),
    );
    let dropped = count("discarded_checksum") + count("discarded_ttl");
    findings.check(
        "vrrp-dropped",
        name,
        (dropped > 0).then(|| {
            Finding::new(
                "",
                Level::Warning,
                format!("{dropped} adverts were dropped for their checksum or TTL"),
            )
            .why("they came through a router, or something on the way changes them")
            .mend("pgbaton vrrp stats")
        }),
    );
}

/// Whether the firewall lets VRRP through.
fn firewall(findings: &mut Findings, settings: &Settings, host: &HostFacts) {
    let name = Some(host.node.name.as_str());
    let interface = host.link.as_ref().map(|link| link.name.as_str()).unwrap_or_default();
    let judged = firewall::judge(&host.firewall, &firewall::packets(settings, &host.node, interface));
    if judged.obstacles.is_empty() {
        let unclear =
            judged.unclear.map(|rule| format!("what becomes of VRRP can't be told from a rule {rule}"));
        match host.firewall.unseen.iter().cloned().chain(unclear).collect::<Vec<_>>() {
            unknown if unknown.is_empty() => findings.check("firewall", name, None),
            unknown => unknown.into_iter().for_each(|why| findings.skip("firewall", name, why)),
        }
    }
    for Obstacle { outward, what, mend } in judged.obstacles {
        let why = if outward {
            "while this node is Active the others don't hear it, and take it for dead"
        } else {
            "an advert that doesn't arrive is a dead primary to this node"
        };
        findings.check("firewall", name, Some(Finding::new("", Level::Error, what).why(why).mend(mend)));
    }
}

fn services(findings: &mut Findings, host: &HostFacts) {
    let name = Some(host.node.name.as_str());
    match host.enabled.as_deref() {
        None => findings.skip("service", name, "systemd doesn't run here"),
        Some(said) => findings.check(
            "service",
            name,
            (!matches!(said, "enabled" | "enabled-runtime" | "static" | "linked" | "alias" | "indirect")).then(|| {
                Finding::new("", Level::Warning, format!("systemctl says of pgbaton.service: {said}"))
                    .why("after a reboot no daemon runs: this node doesn't take over, and isn't kept in check")
                    .mend("systemctl enable pgbaton")
            }),
        ),
    }
    findings.check(
        "keepalived",
        name,
        host.keepalived.then(|| {
            Finding::new("", Level::Warning, "keepalived runs beside pgbaton")
                .why("both elect; if they have one virtual router or one address, they work against each other")
                .mend("has keepalived other addresses and another virtual_router_id? otherwise: systemctl disable --now keepalived")
        }),
    );
}

fn files(findings: &mut Findings, settings: &Settings, host: &HostFacts) {
    let name = Some(host.node.name.as_str());
    if let Some((file, ignored)) = &host.password_file {
        findings.check(
            "password-file",
            name,
            ignored.as_ref().map(|why| {
                Finding::new("", Level::Error, why.clone())
                    .why("libpq and pgbaton leave it out, so the other nodes don't let this one in")
                    .mend(format!("chmod 0600 {}", file.display()))
                    .fix(Fix::Mode(file.clone(), 0o600))
            }),
        );
    }
    if settings.postgres.is_some() {
        findings.check(
            "programs",
            name,
            host.programs.as_ref().err().map(|why| {
                Finding::new("", Level::Error, why.clone())
                    .why("pg_rewind, pg_basebackup and pg_ctl are needed to stop and rebuild the server")
                    .mend("install the server package of that version, or set postgres.bin_directory")
            }),
        );
    }
    if let Some((free, all)) = host.disk {
        let low = free < 1 << 30 || free < all / 20;
        findings.check(
            "disk-space",
            name,
            low.then(|| {
                let what = format!("{} MB are free of {} MB where the data directory is", free >> 20, all >> 20);
                Finding::new("", Level::Warning, what)
                    .why("a full disk stops the server; a rebuild keeps what it replaces, and needs room for both")
                    .mend("pgbaton pg rebuild-standby --list-kept; df -h")
            }),
        );
    }
    findings.check(
        "state-directory",
        name,
        host.state_directory.as_ref().map(|why| {
            Finding::new("", Level::Note, format!("no flight record is kept: {why}"))
                .why("after a failover nobody can look up what this node saw and did")
                .mend("systemd's StateDirectory=pgbaton makes it; otherwise: install -d -o postgres -m 0750 that directory")
        }),
    );
}
