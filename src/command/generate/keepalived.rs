//! `generate keepalived`: a keepalived.conf for one node, from the configuration of the cluster.

use crate::cli::{Globals, Keepalived, KeepalivedStyle};
use crate::command::pg_promote::settings as settings_here;
use crate::daemon::setup::node_link;
use crate::error::{Error, Result};
use crate::net::netlink::Netlink;
use crate::output::Out;
use crate::settings::{DEFAULT_FILE, Node, NodeRole, PostgresSettings, Settings};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

pub(in crate::command) fn run(globals: &Globals, args: &Keepalived, out: &Out) -> Result<()> {
    let settings = settings_here(globals)?.ok_or_else(|| {
        Error::config(format!("there is no {DEFAULT_FILE}")).hint("name the configuration with --config FILE")
    })?;
    let me = settings.me()?;
    let interface = interface(&settings, me)?;
    out.result(&text(&settings, me, &interface, globals, args)?)
}

/// Returns the interface: the configured one, else the one that carries the address of this machine's node.
fn interface(settings: &Settings, me: &Node) -> Result<String> {
    if let Some(name) = settings.interface_of(me) {
        return Ok(name.to_owned());
    }
    let mut netlink = Netlink::open()?;
    let addresses = netlink.addresses()?;
    node_link(settings, &mut netlink, &addresses).map(|link| link.name).map_err(|error| {
        error.hint("on another machine than the node's, the file has to say it: vrrp.interface or the node's interface")
    })
}

/// Returns the address that keepalived has while it is MASTER, where the virtual IP is the plan's: on the loopback
/// interface, so that no other machine sees it.
fn marker(settings: &Settings, style: KeepalivedStyle) -> IpAddr {
    let number = settings.vrrp.virtual_router_id;
    match (style, settings.vips.first()) {
        (KeepalivedStyle::Classic, Some(vip)) => vip.address.address(),
        (_, Some(vip)) if vip.address.address().is_ipv6() => {
            IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 112, u16::from(number)))
        }
        _ => IpAddr::V4(Ipv4Addr::new(127, 112, 0, number)),
    }
}

fn text(
    settings: &Settings,
    me: &Node,
    interface: &str,
    globals: &Globals,
    args: &Keepalived,
) -> Result<String> {
    let spare = || {
        Error::refused(format!("{} is a spare: it takes no part in the election", me.name))
            .hint("keepalived isn't needed there")
    };
    let priority = me.priority.filter(|_| me.role == NodeRole::Data).ok_or_else(spare)?;
    if settings.vips.is_empty() {
        return Err(Error::config("the configuration has no [[vip]]"));
    }
    let cluster = &settings.cluster.name;
    let marker = marker(settings, args.style);
    let mut text = format!(
        "# keepalived.conf of {} in the cluster \"{cluster}\", written by \"pgbaton generate keepalived\".\n",
        me.name
    );
    text.push_str(match args.style {
        KeepalivedStyle::Elector => {
            "# keepalived elects and nothing else. Its address is a sign on the loopback interface; the virtual IP is put up\n\
             # by \"pgbaton notify\", after the promotion.\n"
        }
        KeepalivedStyle::Classic => {
            "# keepalived moves the virtual IP itself: it arrives before the promotion, and stays on a node whose promotion\n\
             # is refused. The other style, \"elector\", has neither fault.\n"
        }
    });
    text.push_str(
        "# The daemon \"pgbaton vrrp run\" must not run beside it. Restarting keepalived on the node that serves hands over.\n\n",
    );
    let centiseconds = settings.vrrp.advert_interval.as_millis() / 10;
    write!(
        text,
        "global_defs {{\n    router_id {}\n    vrrp_version 3\n    enable_script_security\n    script_user root\n",
        me.name
    )
    .ok();
    if !settings.vrrp.start_delay.is_zero() {
        writeln!(text, "    vrrp_startup_delay {}", settings.vrrp.start_delay.as_secs_f32()).ok();
    }
    text.push_str("}\n\n");
    let postgres = settings.postgres_of(me);
    if let Some(postgres) = &postgres {
        text.push_str(&check(postgres));
    }
    write!(
        text,
        "vrrp_instance {cluster} {{\n    state BACKUP\n    nopreempt\n    interface {interface}\n    \
         virtual_router_id {}\n    priority {priority}\n    advert_int {}.{:02}\n",
        settings.vrrp.virtual_router_id,
        centiseconds / 100,
        centiseconds % 100,
    )
    .ok();
    if settings.vrrp.unicast {
        write!(text, "    unicast_src_ip {}\n    unicast_peer {{\n", me.address).ok();
        for peer in settings.nodes.iter().filter(|node| node.name != me.name) {
            writeln!(text, "        {}", peer.address).ok();
        }
        text.push_str("    }\n");
    }
    if !settings.vrrp.signing.keys.is_empty() {
        text.push_str("    # auth_keys: keepalived before 2.4.2 can't sign adverts; newer ones have auth_hmac { ... } here.\n");
    }
    text.push_str("    virtual_ipaddress {\n");
    match args.style {
        KeepalivedStyle::Elector => {
            let length = if marker.is_ipv4() { 32 } else { 128 };
            writeln!(text, "        {marker}/{length} dev lo scope host").ok();
        }
        KeepalivedStyle::Classic => {
            for vip in &settings.vips {
                let label = vip.label.as_ref().map_or_else(String::new, |label| format!(" label {label}"));
                writeln!(text, "        {} dev {interface}{label}", vip.address).ok();
            }
        }
    }
    text.push_str("    }\n");
    if postgres.is_some() {
        text.push_str("    track_script {\n        pgbaton_postgres\n    }\n");
        writeln!(text, "    notify \"{}\"", hook(settings, me, marker, globals, args)).ok();
    }
    text.push_str("}\n");
    Ok(text)
}

/// The check that keeps a node without a server out of the election.
fn check(postgres: &PostgresSettings) -> String {
    let program = postgres.bin_directory.as_ref().map_or_else(
        || "/usr/bin/pg_isready".to_owned(),
        |folder| folder.join("pg_isready").display().to_string(),
    );
    format!(
        "vrrp_script pgbaton_postgres {{\n    script \"{program} -q -t 1 -h {} -p {} -U {} -d {}\"\n    interval 1\n    timeout 2\n    \
         fall 2\n    rise 1\n}}\n\n",
        postgres.socket_directory.display(),
        postgres.port,
        // The role exists: one that doesn't is a line in the server's log every second.
        postgres.user,
        postgres.database
    )
}

fn hook(settings: &Settings, me: &Node, marker: IpAddr, globals: &Globals, args: &Keepalived) -> String {
    let mut hook = format!("{} notify --marker {marker}", args.program.display());
    if args.style == KeepalivedStyle::Classic {
        hook.push_str(" --no-vip");
    }
    if let Some(file) = settings.file.as_deref().filter(|file| *file != Path::new(DEFAULT_FILE)) {
        // keepalived runs its hooks in the root directory.
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        write!(hook, " --config {}", file.display()).ok();
    }
    if globals.node.is_some() {
        write!(hook, " --node {}", me.name).ok();
    }
    if let Some(log) = &args.log {
        write!(hook, " --log {}", log.display()).ok();
    }
    hook
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn written(style: KeepalivedStyle, file: &str) -> Result<String> {
        let mut settings = Settings::from_toml(file, "test.toml").unwrap();
        settings.choose_me("node1").unwrap();
        let args = Keepalived { style, program: PathBuf::from("/usr/bin/pgbaton"), log: None };
        text(&settings, settings.me().unwrap(), "eth0", &Globals::default(), &args)
    }

    #[test]
    fn the_elector_gets_a_sign_on_the_loopback_interface_and_never_the_virtual_ip() {
        let text = written(KeepalivedStyle::Elector, super::super::man::SMALL).unwrap();
        assert!(text.contains("        127.112.0.51/32 dev lo scope host\n"), "{text}");
        assert!(!text.contains("192.0.2.23"), "{text}");
        assert!(text.contains("    notify \"/usr/bin/pgbaton notify --marker 127.112.0.51\"\n"), "{text}");
        assert!(text.contains("    advert_int 1.00\n") && text.contains("    nopreempt\n"), "{text}");
    }

    #[test]
    fn the_classic_form_moves_the_virtual_ip_and_tells_the_hook_to_leave_it() {
        let text = written(KeepalivedStyle::Classic, super::super::man::SMALL).unwrap();
        assert!(text.contains("        192.0.2.23/24 dev eth0\n"), "{text}");
        assert!(text.contains("notify --marker 192.0.2.23 --no-vip\"\n"), "{text}");
    }

    #[test]
    fn a_spare_has_no_part_in_it() {
        let file = super::super::man::SMALL.replace("priority = 200", "role = \"spare\"");
        let file = format!("{file}\n[[node]]\nname = \"node3\"\naddress = \"192.0.2.25\"\npriority = 9\n");
        assert_eq!(written(KeepalivedStyle::Elector, &file).unwrap_err().kind(), crate::error::Kind::Refused);
    }
}
