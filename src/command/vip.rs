//! `vip up`, `vip down`, `vip status`: the virtual IP by hand, or from a hook. No configuration is needed when
//! the flags say enough.

use crate::cli::{Globals, VipDown, VipStatus, VipUp};
use crate::command::finish;
use crate::daemon::setup;
use crate::error::{Error, Result};
use crate::host::clock::Deadline;
use crate::net::caps;
use crate::net::netlink::{Address, Netlink};
use crate::net::vip::{self, VipFacts};
use crate::output::Out;
use crate::output::paint::Tone;
use crate::output::table::{Align, Cell, Table};
use crate::plan::apply::World;
use crate::plan::build::{self, UpOptions, Vip, VipSeen};
use crate::plan::{Plan, Step};
use crate::settings::{Settings, VipSettings};
use crate::units::InterfaceAddress;
use serde_json::json;
use std::net::IpAddr;
use std::time::Duration;

/// Netlink and ARP answer in microseconds; what takes this long is stuck.
const PATIENCE: Duration = Duration::from_secs(10);

/// `vip up`: probe, add, announce.
pub(super) fn up(globals: &Globals, args: &VipUp, out: &Out) -> Result<()> {
    let mut netlink = Netlink::open()?;
    let wishes = wishes(globals, &mut netlink, &args.addresses, args.interface.as_deref(), args)?;
    let seen = observe(&mut netlink, &wishes)?;
    for (wish, facts) in wishes.iter().zip(&seen) {
        check_subnet(&mut netlink, wish, facts, args.force)?;
    }
    let probe = (!args.no_probe && !args.force).then_some(args.probe_timeout);
    let plan = build::vip_up(&pairs(&wishes, &seen), UpOptions { probe, refresh: false });
    // The lease of an address that is there is renewed: that is how a cron job or a hook keeps it.
    let plan = renewing(plan, &wishes, &seen);
    if args.dry_run.dry_run {
        return finish::dry_run(out, &plan);
    }
    caps::require_net_admin()?;
    if plan.changes() {
        caps::require_net_raw()?;
    }
    let mut world = World::new();
    let done = finish::apply(out, &plan, &mut world, Deadline::after(PATIENCE));
    world.leave();
    done
}

/// `vip down`: remove.
pub(super) fn down(globals: &Globals, args: &VipDown, out: &Out) -> Result<()> {
    let mut netlink = Netlink::open()?;
    let wishes = wishes(globals, &mut netlink, &args.addresses, args.interface.as_deref(), &NoOptions)?;
    let seen = observe(&mut netlink, &wishes)?;
    let plan = build::vip_down(&pairs(&wishes, &seen));
    if args.dry_run.dry_run {
        return finish::dry_run(out, &plan);
    }
    if plan.changes() {
        caps::require_net_admin()?;
    }
    finish::apply(out, &plan, &mut World::new(), Deadline::after(PATIENCE))
}

/// `vip status`: who has it, as far as this machine can see.
pub(super) fn status(globals: &Globals, args: &VipStatus, out: &Out) -> Result<()> {
    let mut netlink = Netlink::open()?;
    let wishes = wishes(globals, &mut netlink, &args.addresses, args.interface.as_deref(), &NoOptions)?;
    let seen = observe(&mut netlink, &wishes)?;
    if out.is_json() {
        let vips: Vec<_> = seen
            .iter()
            .map(|facts| {
                json!({
                    "address": facts.vip,
                    "interface": facts.link.name,
                    "held": facts.is_up(),
                    "ours": facts.present.as_ref().is_some_and(Address::is_ours),
                    "lease_left_s": facts.present.as_ref().and_then(|present| present.valid).map(|left| left.as_secs()),
                    "label": facts.present.as_ref().and_then(|present| present.label.clone()),
                    "elsewhere": facts.on_other_interface.as_ref().map(|(link, _)| link.name.clone()),
                })
            })
            .collect();
        return out.json(&json!({ "schema": 1, "vips": vips }));
    }
    let mut table = Table::new(&[
        ("VIP", Align::Left),
        ("INTERFACE", Align::Left),
        ("HERE", Align::Left),
        ("LEASE LEFT", Align::Right),
        ("ADDED BY", Align::Left),
    ]);
    for facts in &seen {
        table.row(row(facts));
    }
    out.result(&table.render(out.paint(), out.width()))
}

fn row(facts: &VipFacts) -> Vec<Cell> {
    let here = match (&facts.present, &facts.on_other_interface) {
        (Some(_), _) if facts.is_up() => Cell::new("yes", Tone::Good),
        (Some(present), _) => Cell::new(format!("as {}", present.address), Tone::Warn),
        (None, Some((link, _))) => Cell::new(format!("on {}", link.name), Tone::Warn),
        (None, None) => Cell::new("no", Tone::Dim),
    };
    let lease = match &facts.present {
        None => "-".to_owned(),
        Some(present) => {
            present.valid.map_or_else(|| "none".to_owned(), |left| format!("{} s", left.as_secs()))
        }
    };
    let by = match &facts.present {
        None => "-",
        Some(present) if present.is_ours() => "pgbaton",
        Some(_) => "someone else",
    };
    vec![facts.vip.to_string().into(), facts.link.name.clone().into(), here, lease.into(), by.into()]
}

/// What the flags say about how an address is added.
trait Options {
    fn adjust(&self, vip: &mut Vip);
}

struct NoOptions;

impl Options for NoOptions {
    fn adjust(&self, _: &mut Vip) {}
}

impl Options for VipUp {
    fn adjust(&self, vip: &mut Vip) {
        if let Some(label) = &self.label {
            vip.label = Some(label.clone());
        }
        if let Some(lease) = &self.lease {
            vip.lease = lease.0;
        }
    }
}

/// Collects the addresses from the flags, or else from the configuration, each with its interface.
fn wishes(
    globals: &Globals,
    netlink: &mut Netlink,
    addresses: &[InterfaceAddress],
    interface: Option<&str>,
    options: &dyn Options,
) -> Result<Vec<Vip>> {
    let mut settings = Settings::load_if_present(&globals.overrides())?;
    let vips: Vec<VipSettings> = if addresses.is_empty() {
        let Some(settings) = &settings else {
            return Err(Error::new(
                crate::error::Kind::Usage,
                "no virtual IP is named, and there is no configuration",
            )
            .hint("name it, as in 192.0.2.10/24 --interface eth0; or a configuration, with --config FILE"));
        };
        settings.vips.clone()
    } else {
        // By hand there is nobody to renew a lease, so there is none unless it is asked for.
        addresses.iter().map(|address| VipSettings { lease: None, ..VipSettings::new(*address) }).collect()
    };
    let present = netlink.addresses()?;
    let mut wishes = Vec::new();
    for vip in vips {
        let interface = match interface.map(str::to_owned).or_else(|| vip.interface.clone()) {
            Some(interface) => interface,
            None => guess_interface(netlink, &present, settings.as_mut(), vip.address)?,
        };
        let mut wish = Vip { address: vip.address, interface, label: vip.label, lease: vip.lease };
        if addresses.is_empty() {
            // A lease in the file is the daemon's to renew; a verb that ends can't.
            wish.lease = None;
        }
        options.adjust(&mut wish);
        wishes.push(wish);
    }
    Ok(wishes)
}

/// Finds the interface: the node's own, or the one whose network contains the address.
fn guess_interface(
    netlink: &mut Netlink,
    present: &[Address],
    settings: Option<&mut Settings>,
    vip: InterfaceAddress,
) -> Result<String> {
    if let Some(settings) = settings {
        let local: Vec<IpAddr> = present.iter().map(|address| address.address.address()).collect();
        if settings.find_me(&local).is_ok()
            && let Ok(link) = setup::node_link(settings, netlink, present)
        {
            return Ok(link.name);
        }
    }
    let links = netlink.links()?;
    let mut names: Vec<String> = present
        .iter()
        .filter(|address| {
            address.address.address() == vip.address() || address.address.contains(vip.address())
        })
        .filter_map(|address| links.iter().find(|link| link.index == address.index))
        .map(|link| link.name.clone())
        .collect();
    names.sort();
    names.dedup();
    match names.as_slice() {
        [name] => Ok(name.clone()),
        [] => Err(Error::config(format!("no interface has a network that contains {}", vip.address()))
            .hint("say which one is meant with --interface IF; `ip -brief address` shows what there is")),
        several => {
            Err(Error::config(format!("several interfaces have a network that contains {}", vip.address()))
                .detail(several.join(", "))
                .hint("say which one is meant with --interface IF"))
        }
    }
}

fn observe(netlink: &mut Netlink, wishes: &[Vip]) -> Result<Vec<VipFacts>> {
    wishes.iter().map(|wish| vip::observe(netlink, wish.address, &wish.interface)).collect()
}

fn pairs(wishes: &[Vip], seen: &[VipFacts]) -> Vec<(Vip, VipSeen)> {
    wishes.iter().cloned().zip(seen.iter().map(|facts| VipSeen { present: facts.is_up() })).collect()
}

fn check_subnet(netlink: &mut Netlink, wish: &Vip, facts: &VipFacts, force: bool) -> Result<()> {
    if let Some((link, _)) = &facts.on_other_interface {
        return Err(Error::refused(format!("{} is on interface \"{}\"", facts.vip, link.name))
            .detail(format!("it was to go on \"{}\"", facts.link.name))
            .hint(format!("pgbaton vip down {} --interface {}", facts.vip, link.name)));
    }
    if facts.subnet_ok || facts.present.is_some() || force {
        return Ok(());
    }
    let addresses = netlink.addresses()?;
    let here = addresses.iter().filter(|address| address.index == facts.link.index);
    Err(setup::outside_subnet(wish.address, &wish.interface, here))
}

/// Makes the step of an address that is there a renewal when it has a lease.
fn renewing(mut plan: Plan, wishes: &[Vip], seen: &[VipFacts]) -> Plan {
    let leased = |vip: InterfaceAddress| {
        wishes
            .iter()
            .zip(seen)
            .any(|(wish, facts)| wish.address == vip && wish.lease.is_some() && facts.is_up())
    };
    for item in &mut plan.items {
        if let Step::AddAddress { vip, .. } = &item.step
            && leased(*vip)
        {
            item.need = crate::plan::Need::Needed;
        }
    }
    plan
}
