//! `generate systemd`, `monitoring`, `ansible` and `fencing`: files that are shipped as they are, or nearly so.

use super::Document;
use crate::settings::Settings;

macro_rules! shipped {
    ($folder:literal, $($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("../../cli/templates/", $folder, "/", $name)))),+]
    };
}

/// The unit of the daemon.
pub(super) const UNIT: &str = include_str!("../../cli/templates/systemd/pgbaton.service");

/// Where Debian's packages put the data of the first cluster, when no configuration says it.
const USUAL_DATA: &str = "/var/lib/postgresql/15/main";

/// Returns the units and what is to be added to those of others.
pub(super) fn systemd(settings: Option<&Settings>) -> Vec<Document> {
    let postgres = settings.and_then(|settings| {
        settings.me().ok().and_then(|me| settings.postgres_of(me)).or(settings.postgres.clone())
    });
    let data = postgres
        .map_or_else(|| USUAL_DATA.to_owned(), |postgres| postgres.data_directory.display().to_string());
    let unit = UNIT.replace(
        "ReadWritePaths=-/var/lib/postgresql -/var/lib/pgsql",
        &format!("ReadWritePaths=-/var/lib/postgresql -/var/lib/pgsql -{}", data.replace('%', "%%")),
    );
    let unit = if data.starts_with("/var/lib/postgresql/") || data.starts_with("/var/lib/pgsql/") {
        UNIT.to_owned()
    } else {
        unit
    };
    let server = include_str!("../../cli/templates/systemd/postgresql.conf.in");
    let document = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    vec![
        document("pgbaton.service", &unit),
        document(
            &format!("{}.d/pgbaton.conf", unit_of(&data)),
            &server.replace("@DATA@", &data.replace('%', "%%")),
        ),
        document(
            "keepalived.service.d/pgbaton.conf",
            include_str!("../../cli/templates/systemd/keepalived.conf"),
        ),
        document("tmpfiles.d/pgbaton.conf", include_str!("../../cli/templates/systemd/tmpfiles.conf")),
        document("polkit-1/rules.d/pgbaton.rules", include_str!("../../cli/templates/systemd/polkit.rules")),
    ]
}

/// Returns the unit that the distribution's packages start this data directory with.
fn unit_of(data: &str) -> String {
    let parts: Vec<&str> = data.trim_end_matches('/').split('/').collect();
    match parts.as_slice() {
        ["", "var", "lib", "postgresql", major, name] => format!("postgresql@{major}-{name}.service"),
        ["", "var", "lib", "pgsql", major, "data"] => format!("postgresql-{major}.service"),
        _ => "postgresql.service".to_owned(),
    }
}

/// Returns the examples for monitoring.
pub(super) fn monitoring() -> Vec<Document> {
    owned(&shipped![
        "monitoring",
        "README",
        "cron.d-pgbaton",
        "nagios-commands.cfg",
        "nrpe-pgbaton.cfg",
        "pgbaton-alerts.yml",
        "pgbaton-alerts-test.yml",
        "grafana-dashboard.json",
        "pgbaton.fact",
    ])
}

/// Returns the examples of commands that make sure of a node's death.
pub(super) fn fencing() -> Vec<Document> {
    owned(&shipped!["fencing", "README", "fence-ipmi", "fence-libvirt"])
}

/// Returns the example of a role for Ansible, with its playbooks.
pub(super) fn ansible() -> Vec<Document> {
    owned(&shipped![
        "ansible",
        "README",
        "ansible.cfg",
        "inventory.yml",
        "build.yml",
        "minor-upgrade.yml",
        "rebuild.yml",
        "roles/pgbaton/defaults/main.yml",
        "roles/pgbaton/files/pgbaton.fact",
        "roles/pgbaton/handlers/main.yml",
        "roles/pgbaton/tasks/main.yml",
        "roles/pgbaton/tasks/daemon.yml",
        "roles/pgbaton/tasks/facts.yml",
        "roles/pgbaton/tasks/handover.yml",
        "roles/pgbaton/tasks/install.yml",
        "roles/pgbaton/tasks/standby.yml",
        "roles/pgbaton/tasks/upgrade.yml",
        "roles/pgbaton/templates/pgbaton.toml.j2",
    ])
}

fn owned(documents: &[(&str, &str)]) -> Vec<Document> {
    documents.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_tells_its_unit() {
        let units =
            ["/var/lib/postgresql/15/main", "/var/lib/pgsql/16/data", "/var/lib/pgsql/data", "/srv/pg"];
        assert_eq!(
            units.map(unit_of),
            [
                "postgresql@15-main.service",
                "postgresql-16.service",
                "postgresql.service",
                "postgresql.service"
            ]
        );
    }
}
