//! The sections of pgbaton(8) about connections to `PostgreSQL` and the rights of a role.

use super::roff::{Page, bold};

/// What gives a role of its own every right that pgbaton asks for, from major 15 on; tests run a failover with it.
pub const LEAST_RIGHTS: &[&str] = &[
    "CREATE ROLE pgbaton LOGIN REPLICATION",
    "GRANT pg_monitor, pg_checkpoint TO pgbaton",
    "GRANT EXECUTE ON FUNCTION pg_promote(boolean, integer) TO pgbaton",
    "GRANT EXECUTE ON FUNCTION pg_reload_conf() TO pgbaton",
    "GRANT CREATE ON DATABASE postgres TO pgbaton",
];

pub(super) fn sections(page: &mut Page) {
    page.section("CONNECTIONS");
    page.paragraphs(
        [
            "Connections to PostgreSQL follow the conventions of libpq and psql. A parameter is taken from the \
             command line first (a connection string given as the database, as in psql -d, and the other \
             flags), then from the service file, then from conninfo in the configuration, then from the \
             environment. A parameter that libpq knows and pgbaton can't honour is an error, not passed over.",
            "Connection strings are key=value pairs or URIs (postgresql://...). Several hosts are tried in \
             order, each for connect_timeout, until one is what target_session_attrs asks for; a server that \
             answers and doesn't let the role in ends the search. All six values of sslmode mean what they \
             mean in libpq: root certificates that exist in ~/.postgresql/root.crt or sslrootcert are used in \
             every mode, sslrootcert=system needs verify-full, a client certificate is taken from \
             ~/.postgresql/postgresql.crt and postgresql.key, and a key that others may use is refused. Keys \
             with a password, GSSAPI and require_auth aren't supported.",
            "The password comes from the connection string, PGPASSWORD, or the password file (passfile, \
             PGPASSFILE, ~/.pgpass). Without a configuration the role and the database default to postgres, \
             not to the name of the user.",
            "When a configuration names the servers, PGHOST, PGPORT, PGUSER, PGDATABASE, PGSERVICE and the \
             rest are not read: they often name the virtual IP, and following them would ask or promote \
             another server than the one that was meant. What protects a connection counts always: \
             PGPASSWORD, PGPASSFILE, PGSSLMODE and the other variables whose names begin with PGSSL; so does \
             PGSERVICEFILE.",
            "The certificate of another node is checked with sslmode=verify-full against the address of the \
             node, or against its tls_name. Unix sockets are never encrypted.",
        ]
        .into_iter(),
    );
    page.section("A ROLE OF ITS OWN");
    page.text(
        "pgbaton needs no superuser from PostgreSQL 15 on. These statements, run once on the primary in the \
         database that [postgres] names, suffice for pg promote, vrrp run and cluster status:",
    );
    let statements: Vec<String> = LEAST_RIGHTS.iter().map(|statement| format!("{statement};")).collect();
    page.example(&statements.iter().map(String::as_str).collect::<Vec<_>>());
    page.raw(".PP");
    page.text("What each of them is for:");
    for (right, purpose) in [
        ("REPLICATION", "Making replication slots for the other nodes after a promotion."),
        ("pg_monitor", "Seeing the state of replication, the settings and the data directory."),
        (
            "pg_checkpoint",
            "The checkpoint after a promotion. PostgreSQL 14 has no such right: there the step \
          is reported as a warning.",
        ),
        ("pg_promote, pg_reload_conf", "The promotion, and the reload that hurries it."),
        (
            "CREATE",
            "The schema pgbaton with its tables epoch and node_status, which are made when they are \
          first needed. If somebody else has made them already, let the role own them instead: ALTER TABLE \
          ... OWNER TO pgbaton.",
        ),
    ] {
        page.item(&bold(right));
        page.text(purpose);
    }
}
