//! `pg fetch-history` and the client of the replication protocol against real servers.

use crate::support::pg::{Cluster, Folder, long};
use crate::support::{document, pgbaton};
use pgbaton::pg::conn::{ConnError, ConnSettings};
use pgbaton::pg::lsn::Timeline;
use pgbaton::pg::pgpass::Secret;
use pgbaton::pg::walsender::WalSender;
use serde_json::Value;
use std::os::unix::fs::MetadataExt as _;

fn two() -> Timeline {
    Timeline::new(2).unwrap()
}

#[test]
pub(crate) fn the_replication_protocol_tells_who_a_server_is_and_gives_the_file_s_own_octets() {
    let primary = Cluster::primary("n1");
    let standby = Cluster::standby_of("n2", &primary);
    let mut sender = WalSender::connect(&standby.settings(), long()).unwrap();
    let before = sender.identify(long()).unwrap();
    assert_eq!(before.timeline, Timeline::FIRST);
    assert_eq!(
        before.system_id.to_string(),
        primary.ask("SELECT system_identifier FROM pg_control_system()")
    );
    assert_eq!(sender.history(Timeline::FIRST, long()).unwrap(), None);
    assert_eq!(sender.history(two(), long()).unwrap(), None);
    standby.ask("SELECT pg_promote()");
    let mut sender = WalSender::connect(&standby.settings(), long()).unwrap();
    assert_eq!(sender.identify(long()).unwrap().timeline, two());
    let (name, content) = sender.history(two(), long()).unwrap().unwrap();
    assert_eq!(name, "00000002.history");
    assert_eq!(content, std::fs::read(standby.data().join("pg_wal").join(name)).unwrap());
}

#[test]
fn passwords_are_proved_by_scram_and_by_md5() {
    let primary = Cluster::primary("n1");
    primary
        .ask("SET password_encryption = 'scram-sha-256'; CREATE ROLE s REPLICATION LOGIN PASSWORD 'geheim'");
    primary.ask("SET password_encryption = 'md5'; CREATE ROLE m REPLICATION LOGIN PASSWORD 'geheim'");
    std::fs::write(
        primary.data().join("pg_hba.conf"),
        "local replication s scram-sha-256\nlocal replication m md5\nlocal all all trust\n",
    )
    .unwrap();
    primary.ask("SELECT pg_reload_conf()");
    for role in ["s", "m"] {
        let with = |password: Option<&str>| ConnSettings {
            user: role.to_owned(),
            password: password.map(Secret::new),
            ..primary.settings()
        };
        // The reload takes effect a moment later; until then a wrong password is let in.
        crate::support::pg::wait_for("pg_hba.conf to be in force", || {
            matches!(WalSender::connect(&with(Some("wrong")), long()), Err(ConnError::Auth(_)))
        });
        let mut sender = WalSender::connect(&with(Some("geheim")), long()).unwrap();
        assert_eq!(sender.identify(long()).unwrap().timeline, Timeline::FIRST);
        assert!(matches!(WalSender::connect(&with(None), long()), Err(ConnError::Auth(_))));
    }
}

fn fetch(from: &Cluster, arguments: &[&str]) -> (Value, i32) {
    let sockets = from.sockets().to_str().unwrap();
    let base = ["pg", "fetch-history", "--json", "--from", sockets];
    document(&pgbaton(&[&base[..], arguments].concat()))
}

#[test]
pub(crate) fn a_standby_that_only_restores_from_an_archive_follows_a_failover_by_this_verb_alone() {
    let archive = Folder::new();
    let place = archive.path().display();
    // An archive that never gets a history file.
    let primary = Cluster::primary_with(
        "n1",
        &format!(
            "archive_mode = on\nwal_retrieve_retry_interval = 100ms\n\
             archive_command = 'case %f in *.history) true;; *) cp %p {place}/%f;; esac'"
        ),
    );
    primary.ask("CREATE TABLE public.t (i int)");
    let standby = Cluster::standby_of("n2", &primary);
    let restored = Cluster::standby_not_started("n3", &primary);
    restored.append_settings(&format!(
        "primary_conninfo = ''\nrestore_command = 'cp {place}/%f %p 2>/dev/null'\narchive_mode = off"
    ));
    restored.start();
    primary.kill();
    standby.ask("SELECT pg_promote()");
    standby.ask("INSERT INTO public.t VALUES (1)");
    standby.ask("SELECT pg_switch_wal()");
    standby.wait_until("SELECT last_archived_wal LIKE '00000002%' FROM pg_stat_archiver");
    assert!(!archive.path().join("00000002.history").exists());
    assert_eq!(restored.ask("SELECT count(*) FROM public.t"), "0");
    let data = restored.data();
    let arguments =
        ["-D", data.to_str().unwrap(), "--to-archive", archive.path().to_str().unwrap(), "--no-pg-wal"];
    let (planned, code) = fetch(&standby, &[&arguments[..], &["--dry-run"]].concat());
    assert_eq!((code, planned["changed"].as_bool()), (0, Some(true)), "{planned}");
    assert!(!archive.path().join("00000002.history").exists());
    let (told, code) = fetch(&standby, &arguments);
    assert_eq!((code, told["changed"].as_bool()), (0, Some(true)), "{told}");
    assert_eq!(told["transport"], "replication");
    let about = std::fs::metadata(archive.path().join("00000002.history")).unwrap();
    assert_eq!((about.mode() & 0o7777, about.uid()), (0o600, std::fs::metadata(&data).unwrap().uid()));
    restored.wait_until("SELECT count(*) = 1 FROM public.t");
    let (told, code) = fetch(&standby, &arguments);
    assert_eq!((code, told["changed"].as_bool()), (0, Some(false)), "{told}");
}

#[test]
fn sql_gives_the_same_file_and_another_cluster_or_another_past_is_refused() {
    let primary = Cluster::primary("n1");
    let standby = Cluster::standby_of("n2", &primary);
    primary.kill();
    standby.ask("SELECT pg_promote()");
    let data = primary.data();
    let here = ["-D", data.to_str().unwrap()];
    let (told, code) = fetch(&standby, &[&here[..], &["--transport", "sql"]].concat());
    assert_eq!((code, told["transport"].as_str()), (0, Some("sql")), "{told}");
    let copy = data.join("pg_wal/00000002.history");
    let original = std::fs::read(standby.data().join("pg_wal/00000002.history")).unwrap();
    assert_eq!(std::fs::read(&copy).unwrap(), original);
    std::fs::write(&copy, "1\t0/30000A0\tno recovery target specified\n").unwrap();
    let (told, code) = fetch(&standby, &here);
    assert_eq!(code, 3, "{told}");
    let detail = told["error"]["detail"].as_str().unwrap();
    assert!(detail.contains("line 1 here: \"1\\t0/30000A0"), "{detail}");
    assert!(std::fs::read_to_string(&copy).unwrap().contains("0/30000A0"));
    let (told, code) = fetch(&standby, &[&here[..], &["--timeline", "1"]].concat());
    assert_eq!(code, 1, "{told}");
    // Another cluster: the identifier in the control file differs, and nothing is written.
    std::fs::remove_file(&copy).unwrap();
    let control = data.join("global/pg_control");
    let mut bytes = std::fs::read(&control).unwrap();
    bytes[0] ^= 1;
    std::fs::write(&control, bytes).unwrap();
    let (told, code) = fetch(&standby, &here);
    assert_eq!(code, 3, "{told}");
    assert!(!copy.exists());
}
