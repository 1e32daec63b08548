//! `cluster init` and `cluster check` against real servers, each in a network namespace of its own.

use crate::net::bed::Bed;
use crate::support::document;
use crate::support::pg::{Folder, bin_dir, must, tool, wait_for};
use crate::support::sshd::{PORT, Sshd};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Two machines: the first with a server as `initdb` leaves it, the second with an empty folder.
struct Stage {
    bed: Bed,
    folder: Folder,
    /// Where the server's user can run it.
    program: PathBuf,
}

impl Stage {
    fn new() -> Self {
        let stage = Self::empty();
        must(
            tool("initdb")
                .args(["-U", "postgres", "--auth-local=peer", "--auth-host=scram-sha-256", "-N", "-D"])
                .arg(stage.data(1)),
        );
        // The copy has the same settings: a socket in its own data directory.
        let mut settings = std::fs::read_to_string(stage.data(1).join("postgresql.conf")).unwrap();
        settings.push_str("\nunix_socket_directories = '.'\n");
        std::fs::write(stage.data(1).join("postgresql.conf"), settings).unwrap();
        stage.start(1);
        stage
    }

    /// Two machines without anything.
    fn empty() -> Self {
        let (bed, folder) = (Bed::new(), Folder::new());
        let program = folder.path().join("pgbaton");
        std::fs::copy(env!("CARGO_BIN_EXE_pgbaton"), &program).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let stage = Self { bed, folder, program };
        for node in 1..=2 {
            must(stage.run(node, "mkdir").arg("-p").arg(stage.home(node)));
        }
        stage
    }

    fn data(&self, node: u32) -> PathBuf {
        self.folder.path().join(format!("n{node}"))
    }

    fn home(&self, node: u32) -> PathBuf {
        self.folder.path().join(format!("h{node}"))
    }

    fn namespace(&self, node: u32) -> &str {
        if node == 1 { &self.bed.a } else { &self.bed.b }
    }

    /// A command on a machine, as the server's user.
    fn run(&self, node: u32, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args([
            "netns",
            "exec",
            self.namespace(node),
            "setpriv",
            "--reuid=postgres",
            "--regid=postgres",
        ]);
        command.args(["--clear-groups"]).arg(program).current_dir("/").env("HOME", self.home(node));
        command
    }

    fn start(&self, node: u32) {
        let log = self.folder.path().join(format!("n{node}.log"));
        let mut start = self.run(node, bin_dir().join("pg_ctl"));
        must(start.args(["start", "-w", "-s", "-l"]).arg(log).arg("-D").arg(self.data(node)));
    }

    fn stop(&self, node: u32) {
        let mut stop = self.run(node, bin_dir().join("pg_ctl"));
        must(stop.args(["stop", "-w", "-s", "-m", "fast", "-D"]).arg(self.data(node)));
    }

    fn config(&self) -> PathBuf {
        let mut text =
            "[cluster]\nname = \"test\"\nruntime_directory = \"/nowhere\"\nstate_directory = \"/nowhere\"\n\
                        [[vip]]\naddress = \"10.77.0.100/24\"\n[postgres]\nuser = \"pgbaton\"\nBIN"
                .replace("BIN", &format!("bin_directory = \"{}\"\n", bin_dir().display()));
        for node in 1..=2 {
            let data = self.data(node).display().to_string();
            text += &format!(
                "[[node]]\nname = \"node{node}\"\naddress = \"10.77.0.{node}\"\npriority = {}\n\
                 data_directory = \"{data}\"\nsocket_directory = \"{data}\"\n",
                200 - node
            );
        }
        let ssh = self.folder.path().join("ssh.toml");
        text += &std::fs::read_to_string(ssh).unwrap_or_default();
        let path = self.folder.path().join("pgbaton.toml");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Lets node1 into node2 over SSH, as the server's user there; not the other way round.
    fn open_ssh(&self) -> Sshd {
        let sshd = Sshd::start(&self.bed.b, "10.77.0.2", "");
        let known = sshd.known_hosts("known", "", "node2", "host");
        for (file, name) in [(known, "known_hosts"), (sshd.file("user"), "key")] {
            let mine = self.folder.path().join(name);
            must(Command::new("install").args(["-o", "postgres", "-m", "0600"]).arg(file).arg(mine));
        }
        let folder = self.folder.path().display();
        let text = format!(
            "[ssh]\nuser = \"root\"\nport = {PORT}\nconnect_timeout = \"2s\"\nidentity_file = \"{folder}/key\"\n\
             known_hosts = \"{folder}/known_hosts\"\nremote_command = \"setpriv --reuid=postgres --regid=postgres \
             --clear-groups env HOME={} PGBATON_CONFIG={folder}/pgbaton.toml {}\"\n",
            self.home(2).display(),
            self.program.display(),
        );
        std::fs::write(self.folder.path().join("ssh.toml"), text).unwrap();
        sshd
    }

    fn pgbaton(&self, node: u32, arguments: &[&str]) -> (Value, i32) {
        let mut command = self.run(node, &self.program);
        command.arg("--json").arg("--config").arg(self.config()).args(arguments);
        document(&command.output().unwrap())
    }

    fn ask(&self, node: u32, sql: &str) -> String {
        let mut psql = self.run(node, bin_dir().join("psql"));
        psql.args(["-XAtq", "-U", "postgres", "-d", "postgres", "-h"]).arg(self.data(node)).args(["-c", sql]);
        must(&mut psql).trim().to_owned()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for node in 1..=2 {
            if self.data(node).join("postmaster.pid").exists() {
                let mut stop = self.run(node, bin_dir().join("pg_ctl"));
                let _ =
                    stop.args(["stop", "-w", "-s", "-m", "immediate", "-D"]).arg(self.data(node)).output();
            }
        }
    }
}

fn codes(told: &Value, level: &str) -> Vec<String> {
    let findings = told["findings"].as_array().unwrap();
    let of_level = findings.iter().filter(|finding| finding["level"] == level);
    of_level.map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
}

fn copy_password(stage: &Stage) {
    let (from, to) = (stage.home(1).join(".pgpass"), stage.home(2).join(".pgpass"));
    must(stage.run(2, "cp").arg("-p").arg(Path::new(&from)).arg(&to));
}

#[test]
fn a_cluster_is_made_from_a_fresh_server_and_an_empty_folder_and_check_finds_what_is_broken() {
    let stage = Stage::new();
    let (told, code) = stage.pgbaton(1, &["cluster", "init", "--dry-run"]);
    assert_eq!((code, &told["changed"], &told["dry_run"]), (0, &true.into(), &true.into()), "{told:#}");
    assert!(!stage.home(1).join(".pgpass").exists());
    assert_eq!(stage.ask(1, "SELECT count(*) FROM pg_roles WHERE rolname = 'pgbaton'"), "0");

    let (told, code) = stage.pgbaton(1, &["cluster", "init"]);
    assert_eq!((code, &told["changed"]), (0, &true.into()), "{told:#}");
    assert!(told["warnings"].to_string().contains("restart PostgreSQL"), "{told:#}");
    let mode = std::fs::metadata(stage.home(1).join(".pgpass")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(stage.ask(1, "SELECT rolsuper FROM pg_roles WHERE rolname = 'pgbaton'"), "f");
    let (told, _) = stage.pgbaton(1, &["cluster", "init"]);
    assert_eq!(told["changed"], false, "{told:#}");
    stage.stop(1);
    stage.start(1);
    let (told, _) = stage.pgbaton(1, &["cluster", "init"]);
    assert_eq!((&told["changed"], &told["warnings"]), (&false.into(), &serde_json::json!([])), "{told:#}");

    // Without the password the other node isn't let in, and says what is missing.
    let (told, code) = stage.pgbaton(2, &["cluster", "init"]);
    assert_ne!(code, 0, "{told:#}");
    copy_password(&stage);
    let (told, code) = stage.pgbaton(2, &["cluster", "init"]);
    assert_eq!(
        (code, &told["verb"], &told["changed"]),
        (0, &"cluster init".into(), &true.into()),
        "{told:#}"
    );
    wait_for("the standby to stream", || {
        stage.ask(1, "SELECT application_name FROM pg_stat_replication WHERE state = 'streaming'") == "node2"
    });
    let (told, code) = stage.pgbaton(2, &["cluster", "init"]);
    assert_eq!((code, &told["changed"]), (0, &false.into()), "{told:#}");

    // Nothing is wrong but what these machines don't have: daemons, and the virtual IP.
    for node in 1..=2 {
        let (told, code) = stage.pgbaton(node, &["cluster", "check"]);
        assert_eq!(code, 1, "{told:#}");
        let mut errors = codes(&told, "error");
        errors.retain(|code| !matches!(code.as_str(), "daemon" | "vip-nowhere" | "daemon-down"));
        assert_eq!(errors, Vec::<String>::new(), "{told:#}");
        let warnings = codes(&told, "warning");
        for code in
            ["wal-log-hints", "restart-after-crash", "application-name", "wal-kept", "slots", "rights-rewind"]
        {
            assert!(!warnings.contains(&code.to_owned()), "{code}: {told:#}");
        }
        let passed = told["passed"].to_string();
        for check in ["pg-hba", "replication-connection", "rights-promote", "versions", "vip-subnet"] {
            assert!(passed.contains(&format!("\"{check}\"")), "{check}: {told:#}");
        }
    }

    // What is broken is found, with the command that mends it.
    stage.ask(1, "ALTER SYSTEM SET restart_after_crash = on");
    stage.ask(1, "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (node2, nobody)'");
    stage.ask(1, "REVOKE EXECUTE ON FUNCTION pg_promote(boolean, integer) FROM pgbaton");
    let hba = stage.data(1).join("pg_hba.conf");
    let text = std::fs::read_to_string(&hba).unwrap();
    std::fs::write(&hba, text.replace("10.77.0.2/32  scram-sha-256", "10.77.0.2/32  reject")).unwrap();
    stage.ask(1, "SELECT pg_reload_conf()");
    wait_for("the settings to count", || stage.ask(1, "SHOW restart_after_crash") == "on");
    let (told, code) = stage.pgbaton(1, &["cluster", "check"]);
    assert_eq!(code, 1);
    for code in ["synchronous-names", "rights-promote", "pg-hba"] {
        assert!(codes(&told, "error").contains(&code.to_owned()), "{code}: {told:#}");
    }
    assert!(codes(&told, "warning").contains(&"restart-after-crash".to_owned()), "{told:#}");
    let mends = told["findings"].to_string();
    assert!(mends.contains("GRANT EXECUTE ON FUNCTION pg_promote(boolean, integer) TO pgbaton"), "{told:#}");

    // What others may read is no password file; that is mended.
    let file = stage.home(1).join(".pgpass");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (told, code) = stage.pgbaton(1, &["cluster", "check", "--fix"]);
    assert_eq!((code, &told["changed"]), (4, &true.into()), "{told:#}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let fixed = |finding: &&Value| finding["code"] == "password-file" && finding["fixed"]["result"] == "done";
    assert!(told["findings"].as_array().unwrap().iter().any(|finding| fixed(&finding)), "{told:#}");
}

fn nodes_of(told: &Value, list: &str, check: &str) -> Vec<String> {
    let entries = told[list].as_array().unwrap().iter();
    let of_check = entries.filter(|entry| entry["check"] == check || entry["code"] == check);
    of_check.map(|entry| entry["node"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_cluster_is_made_from_two_empty_folders_and_each_machine_looks_at_itself_for_the_other() {
    let stage = Stage::empty();
    let (told, code) = stage.pgbaton(1, &["cluster", "init", "--create", "--dry-run"]);
    assert_eq!((code, &told["changed"], &told["dry_run"]), (0, &true.into(), &true.into()), "{told:#}");
    assert!(!stage.data(1).exists(), "--dry-run has made something");
    let (told, code) = stage.pgbaton(1, &["cluster", "init", "--create"]);
    assert_eq!((code, &told["changed"]), (0, &true.into()), "{told:#}");
    assert_eq!(stage.ask(1, "SELECT pg_is_in_recovery()"), "f");
    stage.stop(1);
    stage.start(1);
    let (told, code) = stage.pgbaton(1, &["cluster", "init", "--create"]);
    assert_eq!((code, &told["changed"], &told["warnings"]), (0, &false.into(), &serde_json::json!([])));
    copy_password(&stage);
    // Somebody who says --create on the second node as well is told that there is a primary.
    let (told, code) = stage.pgbaton(2, &["cluster", "init", "--create"]);
    assert_eq!((code, stage.data(2).exists()), (3, false), "{told:#}");
    let (told, code) = stage.pgbaton(2, &["cluster", "init"]);
    assert_eq!((code, &told["changed"]), (0, &true.into()), "{told:#}");

    // What can't be looked at from here is said to be so.
    let (told, _) = stage.pgbaton(1, &["cluster", "check"]);
    assert_eq!(nodes_of(&told, "skipped", "host"), ["node2"], "{told:#}");
    let sshd = stage.open_ssh();
    let (told, _) = stage.pgbaton(1, &["cluster", "check", "--peers"]);
    assert_eq!(nodes_of(&told, "skipped", "host"), [""; 0], "{told:#}");
    for check in ["disk-space", "replication-connection", "programs"] {
        assert_eq!(nodes_of(&told, "passed", check), ["node1", "node2"], "{check}: {told:#}");
    }
    // Over SSH one way only: node2 says it of itself.
    assert_eq!(nodes_of(&told, "findings", "ssh"), ["node2"], "{told:#}");
    drop(sshd);
    let (told, _) = stage.pgbaton(1, &["cluster", "check", "--peers"]);
    assert_eq!(nodes_of(&told, "skipped", "host"), ["node2"], "{told:#}");
}
