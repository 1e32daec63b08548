//! `pgbaton vrrp check-config`: reads the configuration like the daemon does and shows what it means.

use crate::cli::Globals;
use crate::daemon::setup;
use crate::error::Result;
use crate::output::Out;
use crate::output::paint::Tone;
use crate::output::report::Report;
use crate::output::table::{Align, Cell, Table};
use crate::settings::parse::write_duration;
use crate::settings::{Node, NodeRole, Settings};

pub(super) fn run(globals: &Globals, out: &Out) -> Result<()> {
    let settings = Settings::load(&globals.overrides())?;
    setup::check_keys(&settings)?;
    let mut report = Report::new("vrrp check-config");
    let file = settings.file.as_deref().map_or_else(String::new, |file| file.display().to_string());
    report.msg = format!("{file} is correct");
    report.warnings.clone_from(&settings.warnings);
    if out.is_json() {
        report.add("cluster", settings.cluster.name.as_str());
        report.add("node", settings.me().ok().map(|node| node.name.clone()));
        report.add("nodes", settings.nodes.iter().map(|node| node.name.clone()).collect::<Vec<_>>());
        let vips = settings.vips.iter().map(|vip| vip.address.to_string());
        report.add("vips", vips.collect::<Vec<_>>());
        report.add("postgres", settings.postgres.is_some());
        let instances = settings.instances.iter().map(|instance| instance.name.clone());
        report.add("instances", instances.collect::<Vec<_>>());
    } else if !globals.quiet {
        out.result(&describe(&settings, out))?;
    }
    out.report(&report)
}

fn describe(settings: &Settings, out: &Out) -> String {
    let mut text = format!("cluster {}", settings.cluster.name);
    if settings.vips.is_empty() {
        text.push_str(": no virtual router of its own\n");
    } else {
        text.push_str(&format!(
            ": virtual router {}, an advertisement every {}, {}\n",
            settings.vrrp.virtual_router_id,
            write_duration(settings.vrrp.advert_interval),
            if settings.postgres.is_some() { "with PostgreSQL" } else { "without PostgreSQL" },
        ));
    }
    for vip in &settings.vips {
        let lease = vip
            .lease
            .map_or_else(|| "no lease".to_owned(), |lease| format!("lease {}", write_duration(lease)));
        text.push_str(&format!("virtual IP {}, {lease}\n", vip.address));
    }
    if !settings.nodes.is_empty() {
        let mut table = Table::new(&[
            ("NODE", Align::Left),
            ("ADDRESS", Align::Left),
            ("ROLE", Align::Left),
            ("PRIORITY", Align::Right),
            ("DATA DIRECTORY", Align::Left),
        ]);
        for node in &settings.nodes {
            table.row(row(settings, node));
        }
        text.push_str(&table.render(out.paint(), out.width()));
    }
    if !settings.instances.is_empty() {
        text.push_str(&instances(settings).render(out.paint(), out.width()));
    }
    text
}

fn instances(settings: &Settings) -> Table {
    let mut table = Table::new(&[
        ("INSTANCE", Align::Left),
        ("INTERFACE", Align::Left),
        ("VERSION", Align::Right),
        ("VRID", Align::Right),
        ("PRIORITY", Align::Right),
        ("INTERVAL", Align::Right),
        ("ADDRESSES", Align::Left),
    ]);
    for instance in &settings.instances {
        let addresses: Vec<String> = instance.addresses.iter().map(ToString::to_string).collect();
        table.row(vec![
            Cell::new(&instance.name, Tone::Strong),
            instance.interface.clone().into(),
            instance.version.to_string().into(),
            instance.virtual_router_id.to_string().into(),
            instance.priority_on(settings.me().ok()).to_string().into(),
            write_duration(instance.advert_interval).into(),
            addresses.join(" ").into(),
        ]);
    }
    table
}

fn row(settings: &Settings, node: &Node) -> Vec<Cell> {
    let me = settings.me().is_ok_and(|me| me.name == node.name);
    let directory = settings.postgres_of(node).map(|postgres| postgres.data_directory.display().to_string());
    vec![
        Cell::new(&node.name, if me { Tone::Strong } else { Tone::Plain }),
        node.address.to_string().into(),
        if node.role == NodeRole::Data { "data".into() } else { "spare".into() },
        node.priority.map_or_else(|| "-".to_owned(), |priority| priority.to_string()).into(),
        directory.unwrap_or_else(|| "-".to_owned()).into(),
    ]
}
