//! A cluster as Debian keeps it: the configuration under /etc, the server in the hands of `pg_ctlcluster`.

use super::{follows, promote, rebuilt, run, verb};
use crate::support::pg::{Cluster, bin_dir, give, long, must, tool};
use std::path::PathBuf;
use std::process::Command;

/// A cluster that `pg_createcluster` has made; dropped with everything that belongs to it.
struct Debian {
    major: String,
    name: String,
}

impl Debian {
    /// Makes one with its data and its socket where a test's server has them.
    fn create(place: &Cluster) -> Self {
        let major =
            bin_dir().parent().and_then(|folder| folder.file_name()).unwrap().to_str().unwrap().to_owned();
        let debian = Self { major, name: format!("pgbt{}", std::process::id()) };
        let mut create = Command::new("pg_createcluster");
        create
            .args(["--start-conf", "manual", "--port", "5432", "-u", "postgres", "--datadir"])
            .arg(place.data());
        create.arg("--socketdir").arg(place.sockets());
        for setting in ["wal_log_hints=on", "wal_keep_size=256MB", "listen_addresses=", "ssl=off"] {
            create.args(["-o", setting]);
        }
        must(create.args([&debian.major, &debian.name, "--", "--auth=trust", "-N"]));
        debian
    }

    fn ctl(&self, words: &[&str]) {
        must(Command::new("pg_ctlcluster").current_dir("/").args([&self.major, &self.name]).args(words));
    }

    fn conf(&self) -> PathBuf {
        format!("/etc/postgresql/{}/{}/postgresql.conf", self.major, self.name).into()
    }
}

impl Drop for Debian {
    fn drop(&mut self) {
        let mut command = Command::new("pg_dropcluster");
        command.current_dir("/").args(["--stop", &self.major, &self.name]).output().ok();
    }
}

#[test]
fn a_cluster_of_debian_is_stopped_and_started_by_its_own_wrapper_and_keeps_its_configuration() {
    let first = Cluster::nothing("n1");
    let debian = Debian::create(&first);
    debian.ctl(&["start"]);
    let mut session = first.session();
    session.execute("CREATE TABLE public.t (i int)", long()).unwrap();
    session.execute("INSERT INTO public.t SELECT generate_series(1, 100)", long()).unwrap();

    // The other node keeps its files in the data directory: what a rewind copies from there must not count here.
    let second = Cluster::nothing("n2");
    let mut backup = tool("pg_basebackup");
    backup.arg("-D").arg(second.data()).arg("-h").arg(first.sockets());
    must(backup.args(["-p", "5432", "-U", "postgres", "-X", "stream", "-c", "fast", "-N"]));
    let place = second.sockets().display();
    let files = [
        (
            "postgresql.conf",
            format!(
                "listen_addresses = ''\nport = 5432\nunix_socket_directories = '{place}'\nwal_keep_size = 256MB\n"
            ),
        ),
        ("pg_hba.conf", "local all all trust\nlocal replication all trust\n".to_owned()),
        ("pg_ident.conf", String::new()),
    ];
    for (name, text) in files {
        let path = second.data().join(name);
        std::fs::write(&path, text).unwrap();
        give(&path);
    }
    second.follow(&first);
    second.data_directory().write_standby_signal().unwrap();
    second.start();
    second.wait_until("SELECT count(*) = 1 FROM pg_stat_wal_receiver WHERE status = 'streaming'");

    promote(&second);
    session.execute("INSERT INTO public.t VALUES (-1)", long()).unwrap();
    drop(session);
    debian.ctl(&["stop", "-m", "fast"]);
    let own = std::fs::read(debian.conf()).unwrap();
    let start = format!("pg_ctlcluster {} {} start", debian.major, debian.name);
    let (code, plan) = run(verb(&first, &second).arg("--dry-run"));
    assert_eq!((code, &plan["decision"]), (0, &"rewind".into()), "{plan:#}");
    assert!(plan["steps"].to_string().contains(&start), "{plan:#}");
    rebuilt(&first, &second, &[]);
    follows(&first, &second);
    // It runs as the wrapper starts it: with the configuration under /etc.
    assert_eq!(first.ask("SHOW config_file"), debian.conf().to_str().unwrap());
    assert_eq!(first.ask("SHOW unix_socket_directories"), first.sockets().to_str().unwrap());

    debian.ctl(&["stop", "-m", "fast"]);
    let document = rebuilt(&first, &second, &["--method", "basebackup"]);
    assert_eq!(document["decision"], "base-backup", "{document:#}");
    follows(&first, &second);
    assert_eq!(first.ask("SHOW config_file"), debian.conf().to_str().unwrap());
    assert_eq!(std::fs::read(debian.conf()).unwrap(), own);

    // A standby that runs but follows nobody is stopped by the wrapper, too.
    first
        .session()
        .execute("ALTER SYSTEM SET primary_conninfo = 'host=/nowhere user=postgres'", long())
        .unwrap();
    debian.ctl(&["restart", "-m", "fast"]);
    let document = rebuilt(&first, &second, &[]);
    let said = document["steps"].to_string();
    assert!(
        said.contains(&format!("pg_ctlcluster {} {} stop -m fast", debian.major, debian.name)),
        "{document:#}"
    );
    follows(&first, &second);
}
