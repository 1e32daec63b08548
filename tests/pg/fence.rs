//! `pg fence` against real servers, here and over SSH.

use crate::net::bed::{Bed, PORT, ip};
use crate::support::pg::{Cluster, Folder};
use crate::support::sshd::{self, Sshd};
use crate::support::{document, pgbaton};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::process::Command;

fn fence(cluster: &Cluster, more: &[&str]) -> (Value, i32) {
    let data = cluster.data();
    let arguments = [&["pg", "fence", "--json", "-D", data.to_str().unwrap()], more].concat();
    document(&pgbaton(&arguments))
}

#[test]
pub(crate) fn a_fenced_primary_is_gone_and_comes_back_only_as_a_standby() {
    let primary = Cluster::primary("n1");
    let (planned, code) = fence(&primary, &["--dry-run"]);
    assert_eq!((planned["changed"].as_bool(), code), (Some(true), 0));
    assert!(!primary.processes().is_empty());
    let (proof, code) = fence(&primary, &["--reason", "the test says so"]);
    assert_eq!(code, 0, "{proof}");
    assert_eq!((&proof["stopped"], &proof["processes_left"]), (&Value::from(true), &Value::from(0)));
    assert_eq!(proof["how"], "fast");
    assert!(primary.processes().is_empty());
    let mark = std::fs::read_to_string(primary.data().join("pgbaton.needs_check")).unwrap();
    assert!(mark.contains("the test says so"), "{mark}");
    let (again, code) = fence(&primary, &[]);
    assert_eq!((again["changed"].as_bool(), again["stopped"].as_bool(), code), (Some(false), Some(true), 0));
    primary.start();
    assert_eq!(primary.ask("SELECT pg_is_in_recovery()"), "t");
}

#[test]
fn a_server_that_hangs_is_killed_and_its_orphans_with_it() {
    let primary = Cluster::primary("n1");
    primary.signal(Signal::SIGSTOP);
    let (proof, code) = fence(&primary, &["--fast-timeout", "100ms", "--immediate-timeout", "100ms"]);
    assert_eq!((proof["how"].as_str(), proof["stopped"].as_bool(), code), (Some("killed"), Some(true), 0));
    assert!(primary.processes().is_empty());
}

#[test]
fn what_is_no_data_directory_is_refused() {
    let folder = Folder::new();
    let output = pgbaton(&["pg", "fence", "-D", folder.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(78));
}

/// Two hosts, two servers, and an `sshd` on the first.
struct Stage {
    bed: Bed,
    sshd: Sshd,
    primary: Cluster,
    standby: Cluster,
}

impl Stage {
    fn new() -> Self {
        let bed = Bed::new();
        let sshd = Sshd::start(&bed.b, "10.77.0.2", "");
        let primary = Cluster::primary("n1");
        let standby = Cluster::standby_not_started("n2", &primary);
        ip(&["-n", &bed.b, "addr", "add", "10.77.0.100/24", "dev", PORT]);
        Self { bed, sshd, primary, standby }
    }

    fn config(&self, known_hosts: &str, key: &str) -> String {
        let folders =
            [self.primary.data(), self.standby.data(), self.sshd.file(key), self.sshd.file(known_hosts)];
        let [first, second, key, known_hosts] = folders.map(|path| path.display().to_string());
        format!(
            "[cluster]\nname = \"test\"\n\
             [[node]]\nname = \"node1\"\naddress = \"10.77.0.2\"\npriority = 200\ndata_directory = \"{first}\"\n\
             [[node]]\nname = \"node2\"\naddress = \"10.77.0.1\"\npriority = 100\ndata_directory = \"{second}\"\n\
             [[vip]]\naddress = \"10.77.0.100/24\"\n[postgres]\nport = 5432\n\
             [ssh]\nuser = \"root\"\nport = {}\nidentity_file = \"{key}\"\nknown_hosts = \"{known_hosts}\"\n\
             remote_command = \"{}\"\n",
            sshd::PORT,
            env!("CARGO_BIN_EXE_pgbaton"),
        )
    }

    /// Runs a verb on node2's host.
    fn run(&self, known_hosts: &str, key: &str, arguments: &[&str]) -> (Value, i32) {
        let config = self.sshd.file("pgbaton.toml");
        std::fs::write(&config, self.config(known_hosts, key)).unwrap();
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.bed.a, env!("CARGO_BIN_EXE_pgbaton"), "--json", "--config"]);
        document(&command.arg(&config).args(arguments).output().unwrap())
    }
}

#[test]
fn who_may_not_remove_the_virtual_ip_is_refused_before_anything_is_touched() {
    let stage = Stage::new();
    let config = stage.primary.sockets().join("pgbaton.toml");
    std::fs::write(&config, stage.config("none", "user")).unwrap();
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &stage.bed.b, "setpriv", "--reuid=postgres", "--regid=postgres"]);
    command.args(["--clear-groups", env!("CARGO_BIN_EXE_pgbaton"), "--json", "--config"]).arg(&config);
    let (told, code) = document(&command.args(["pg", "fence"]).output().unwrap());
    assert_eq!(code, 77, "{told}");
    assert!(!stage.primary.processes().is_empty());
    assert!(!stage.primary.data().join("pgbaton.needs_check").exists());
    assert!(!stage.primary.data().join("standby.signal").exists());
}

#[test]
fn another_node_is_fenced_over_ssh_only_when_its_key_is_known_and_its_word_is_a_proof() {
    let stage = Stage::new();
    let sshd = &stage.sshd;
    let fence = ["pg", "fence", "--node", "node1"];
    sshd.known_hosts("good", "", "node1", "host");
    sshd.known_hosts("by_address", "", "10.77.0.2", "host");
    sshd.known_hosts("changed", "", "node1", "other");
    sshd.known_hosts("revoked", "@revoked ", "node1", "host");
    sshd.known_hosts("authority", "@cert-authority ", "node1", "host");
    sshd.known_hosts("other_kind", "", "node1", "host_rsa");
    for (known_hosts, code, words) in [
        ("missing", 77, "isn't known"),
        ("by_address", 77, "isn't known"),
        ("authority", 77, "isn't known"),
        ("other_kind", 77, "only other kinds"),
        ("changed", 3, "HAS CHANGED"),
        ("revoked", 3, "REVOKED"),
    ] {
        let (told, exit) = stage.run(known_hosts, "user", &fence);
        assert_eq!(exit, code, "{known_hosts}: {told}");
        let message = told["error"]["message"].as_str().unwrap();
        assert!(message.contains(words), "{known_hosts}: {message}");
    }
    let (told, exit) = stage.run("missing", "user", &fence);
    assert_eq!(exit, 77);
    assert!(told["error"]["hints"].to_string().contains("ssh-keyscan"), "{told}");
    assert!(told["error"]["detail"].to_string().contains("SHA256:"), "{told}");
    let data = stage.standby.data();
    let both = [&fence[..], &["-D", data.to_str().unwrap()]].concat();
    assert_eq!(stage.run("good", "user", &both).1, 2, "which of the two is meant?");
    let (told, exit) = stage.run("good", "other", &fence);
    assert_eq!(exit, 77, "{told}");
    let (told, exit) = stage.run("good", "user", &[&fence[..], &["--system-id", "42"]].concat());
    assert_eq!(exit, 75, "a node of another cluster: {told}");
    assert!(told["error"]["detail"].to_string().contains("another cluster"), "{told}");
    assert!(!stage.primary.processes().is_empty());
    let (proof, exit) = stage.run("good", "user", &fence);
    assert_eq!(exit, 0, "{proof}");
    assert_eq!((proof["stopped"].as_bool(), proof["node"].as_str()), (Some(true), Some("node1")));
    assert!(stage.primary.processes().is_empty());
    assert!(!ip(&["-n", &stage.bed.b, "addr", "show", "dev", PORT]).contains("10.77.0.100"));
}

#[test]
fn histories_come_over_sftp_too() {
    let stage = Stage::new();
    stage.sshd.known_hosts("good", "", "node1", "host");
    stage.standby.start();
    stage.primary.kill();
    stage.standby.ask("SELECT pg_promote()");
    // The first node's folder as if it had been promoted: only SFTP looks there.
    let history = stage.standby.data().join("pg_wal/00000002.history");
    std::fs::copy(&history, stage.primary.data().join("pg_wal/00000002.history")).unwrap();
    std::fs::remove_file(&history).unwrap();
    let fetch = ["pg", "fetch-history", "--from", "node1", "--transport", "ssh"];
    let (told, exit) = stage.run("good", "user", &fetch);
    assert_eq!((exit, told["changed"].as_bool()), (0, Some(true)), "{told}");
    assert_eq!(
        std::fs::read(&history).unwrap(),
        std::fs::read(stage.primary.data().join("pg_wal/00000002.history")).unwrap()
    );
    let (told, _) = stage.run("good", "user", &fetch);
    assert_eq!(told["changed"], false);
}
