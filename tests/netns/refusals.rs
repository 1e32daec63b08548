//! Bad input and missing rights, through the binary: it says what is wrong and what to do, and changes nothing.

use crate::net::bed::{Bed, PORT, inside, ip};
use crate::support::lab::{BINARY, LIMIT, require_machine};
use crate::support::pg::{Cluster, Folder, run_as};
use pgbaton::host::clock::Deadline;
use pgbaton::host::process::{Output, run_spawn};
use pgbaton::host::spawn::Spawn;
use pgbaton::net::netlink::Netlink;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// `10.77.0.1` is namespace a of the bed.
const SETTINGS: &str = "[cluster]\nname = \"main\"\nruntime_directory = \"RUN\"\nstate_directory = \"RUN\"\n\
    [[node]]\nname = \"node1\"\naddress = \"10.77.0.1\"\npriority = 200\n\
    [[node]]\nname = \"node2\"\naddress = \"10.77.0.2\"\npriority = 100\n\
    [[vip]]\naddress = \"10.77.0.100/24\"\n";

/// Whose rights a run has.
#[derive(Clone, Copy)]
enum Who {
    Root,
    Nobody,
    Postgres,
}

/// A network, a folder with a settings file, and what is run there.
struct Site {
    bed: Bed,
    folder: Folder,
}

impl Site {
    fn new(settings: &str) -> Self {
        require_machine();
        let site = Self { bed: Bed::new(), folder: Folder::new() };
        let settings = settings.replace("RUN", &site.run().display().to_string());
        std::fs::write(site.config(), settings).unwrap();
        // Everyone may read the file; only the owner may write beside it.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(site.folder.path(), mode).unwrap();
        site
    }

    fn config(&self) -> std::path::PathBuf {
        self.folder.path().join("pgbaton.toml")
    }

    fn run(&self) -> std::path::PathBuf {
        self.folder.path().join("run")
    }

    fn pgbaton(&self, who: Who, arguments: &[&str]) -> Output {
        let mut command = Command::new(BINARY);
        command.args(arguments).current_dir("/").env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
        command.env("PGBATON_CONFIG", self.config());
        let spawn = Spawn::new(command).netns(Path::new(&format!("/run/netns/{}", self.bed.a))).unwrap();
        let spawn = match (who, run_as()) {
            (Who::Root, _) => spawn,
            (Who::Nobody, _) => spawn.user(65534, 65534).capabilities(&[]),
            (Who::Postgres, ids) => {
                let (uid, gid) = ids.unwrap();
                spawn.user(uid, gid).capabilities(&[])
            }
        };
        run_spawn(spawn, Deadline::after(LIMIT)).unwrap()
    }

    /// Everything a run could change here: addresses, and the files of the runtime directory.
    fn state(&self) -> String {
        let addresses = ip(&["-n", &self.bed.a, "-o", "address", "show"]);
        let files: Vec<_> = std::fs::read_dir(self.run())
            .into_iter()
            .flatten()
            .map(|file| file.unwrap().file_name())
            .collect();
        format!("{addresses}{files:?}")
    }

    /// Asserts that a run ends with this code, says why and what to do, the same under `--json`, and changes nothing.
    fn refuses(&self, who: Who, arguments: &[&str], code: i32, words: &[&str]) {
        let before = self.state();
        let output = self.pgbaton(who, arguments);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}");
        assert!(told.starts_with("error: "), "{arguments:?}: {told}");
        assert!(told.contains("\nhint: "), "{arguments:?} leaves the reader without a hint: {told}");
        for word in words {
            assert!(told.contains(word), "{arguments:?} doesn't say \"{word}\": {told}");
        }
        assert_eq!(output.stdout, b"", "{arguments:?}");
        let json: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        let output = self.pgbaton(who, &json);
        assert_eq!(output.status.code(), Some(code), "{json:?}: {}", output.complaint());
        let document: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{json:?}: {error}: {}", String::from_utf8_lossy(&output.stdout)));
        assert_eq!(document["failed"], true, "{document}");
        assert_eq!(document["changed"], false, "{document}");
        let first = told.lines().next().unwrap().trim_start_matches("error: ");
        assert_eq!(document["error"]["message"], first, "{document}");
        assert!(!document["error"]["hints"].as_array().unwrap().is_empty(), "{document}");
        assert_eq!(self.state(), before, "{arguments:?} has changed something");
    }
}

fn with(addition: &str) -> String {
    format!("{SETTINGS}{addition}")
}

#[test]
fn without_capabilities_the_daemon_and_the_address_verbs_name_the_one_that_is_missing() {
    let site = Site::new(SETTINGS);
    ip(&["-n", &site.bed.a, "address", "add", "10.77.0.100/24", "dev", PORT]);
    for who in [Who::Nobody, Who::Postgres] {
        site.refuses(who, &["vrrp", "run"], 77, &["CAP_NET_ADMIN", "setcap"]);
        site.refuses(who, &["vip", "up", "10.77.0.101/24", "--interface", PORT], 77, &["CAP_NET_ADMIN"]);
        site.refuses(who, &["vip", "down", "10.77.0.100/24", "--interface", PORT], 77, &["CAP_NET_ADMIN"]);
    }
}

#[test]
fn an_interface_that_does_not_exist_is_named() {
    let site = Site::new(&with("[vrrp]\ninterface = \"nope0\"\n"));
    site.refuses(Who::Root, &["vrrp", "run"], 78, &["nope0", "ip -brief link"]);
    site.refuses(Who::Root, &["vip", "up", "10.77.0.101/24", "--interface", "nope0"], 78, &["nope0"]);
}

#[test]
fn a_virtual_ip_outside_of_every_network_of_the_interface_is_refused() {
    let site = Site::new(&SETTINGS.replace("10.77.0.100/24", "10.88.0.100/24"));
    site.refuses(Who::Root, &["vrrp", "run"], 78, &["10.88.0.100/24", PORT, "10.77.0.1/24"]);
    site.refuses(
        Who::Root,
        &["vip", "up", "10.88.0.100/24", "-i", PORT],
        78,
        &["10.88.0.100/24", "10.77.0.1/24"],
    );
}

#[test]
fn a_virtual_ip_that_another_machine_answers_for_is_left_alone() {
    let site = Site::new(SETTINGS);
    ip(&["-n", &site.bed.b, "address", "add", "10.77.0.100/24", "dev", PORT]);
    let stranger =
        inside(&site.bed.b, || Netlink::open().unwrap().link(PORT).unwrap().mac.unwrap().to_string());
    let before = site.state();
    let output = site.pgbaton(Who::Root, &["vip", "up", "10.77.0.100/24", "--interface", PORT]);
    let told = String::from_utf8(output.stderr.clone()).unwrap() + &String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains(&stranger), "{told}");
    assert!(told.contains("hint: "), "{told}");
    let output = site.pgbaton(Who::Root, &["vip", "up", "10.77.0.100/24", "--interface", PORT, "--json"]);
    assert_eq!(output.status.code(), Some(3));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&document["failed"], &document["changed"]), (&true.into(), &false.into()), "{document}");
    assert_eq!(document["error"]["kind"], "refused");
    assert_eq!(site.state(), before);
}

#[test]
fn a_configuration_with_a_mistake_is_refused_with_its_line() {
    let site = Site::new(&with("[guard]\navailabilty = \"hold\"\n"));
    for verb in [
        &["vrrp", "run"][..],
        &["vrrp", "check-config"],
        &["vip", "up"],
        &["pg", "promote"],
        &["vrrp", "status"],
    ] {
        site.refuses(Who::Root, verb, 78, &["pgbaton.toml:16:1", "availabilty"]);
    }
    let site = Site::new(&SETTINGS.replace("10.77.0.2", "10.77.0.1"));
    site.refuses(Who::Root, &["vrrp", "run"], 78, &["pgbaton.toml:11:11", "node1", "node2"]);
}

#[test]
fn a_machine_that_is_none_of_the_nodes_is_told_its_addresses_and_theirs() {
    let site = Site::new(&SETTINGS.replace("10.77.0.1\"", "10.77.0.7\""));
    ip(&["-n", &site.bed.a, "address", "flush", "dev", PORT]);
    ip(&["-n", &site.bed.a, "address", "add", "10.77.0.9/24", "dev", PORT]);
    for verb in [&["vrrp", "run"][..], &["vrrp", "status"], &["vrrp", "resign"], &["pg", "promote"]] {
        site.refuses(Who::Root, verb, 78, &["10.77.0.9", "10.77.0.7", "--node"]);
    }
    site.refuses(Who::Root, &["--node", "node1", "vrrp", "run"], 78, &["10.77.0.7", "node1"]);
    site.refuses(Who::Root, &["--node", "node9", "vrrp", "run"], 78, &["node9"]);
}

#[test]
fn a_daemon_that_is_not_there_is_said_to_be_unreachable() {
    let site = Site::new(SETTINGS);
    for verb in ["status", "stats", "resign"] {
        site.refuses(Who::Root, &["vrrp", verb], 69, &["isn't running", "vrrp run"]);
    }
}

#[test]
fn a_server_that_is_not_there_is_not_promoted() {
    let site = Site::new(SETTINGS);
    let stopped = Cluster::primary("stopped");
    stopped.stop();
    let (data, sockets) = (stopped.data().display().to_string(), stopped.sockets().display().to_string());
    let nowhere = site.folder.path().join("nothing").display().to_string();
    let here = site.folder.path().display().to_string();
    let promote = |data: &str, code: i32, words: &[&str]| {
        site.refuses(Who::Postgres, &["pg", "promote", "-h", &sockets, "-D", data], code, words);
    };
    promote(&nowhere, 78, &["no data directory", "nothing"]);
    promote(&here, 78, &[&here]);
    promote(&data, 69, &["isn't running"]);
    site.refuses(Who::Nobody, &["pg", "promote", "-h", &sockets, "-D", &data], 77, &["data directory"]);
    // A server that runs, asked with another folder than its own.
    let other = Cluster::primary("other");
    let mine = other.sockets().display().to_string();
    site.refuses(Who::Postgres, &["pg", "promote", "-h", &mine, "-D", &data], 69, &["isn't running"]);
    site.refuses(Who::Postgres, &["pg", "promote", "-h", &nowhere], 69, &["nothing"]);
    let daemon = |folder: &str| with(&format!("[postgres]\ndata_directory = \"{folder}\"\n"));
    let site = Site::new(&daemon("/nonexistent/data"));
    site.refuses(Who::Root, &["vrrp", "run"], 78, &["/nonexistent/data"]);
    let site = Site::new(&daemon("/usr"));
    site.refuses(Who::Root, &["vrrp", "run"], 78, &["/usr"]);
}

#[test]
fn promoting_a_primary_changes_nothing() {
    let site = Site::new(SETTINGS);
    std::fs::remove_file(site.config()).unwrap();
    let primary = Cluster::primary("alone");
    let sockets = primary.sockets().display().to_string();
    let files = || {
        let mut names: Vec<_> =
            std::fs::read_dir(primary.data()).unwrap().map(|file| file.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = (files(), primary.ask("SELECT pg_current_wal_lsn()"));
    for arguments in [&["pg", "promote", "--json", "-n"][..], &["pg", "promote", "--json"]] {
        let mut command = Command::new(BINARY);
        command.args(arguments).arg("-h").arg(&sockets).args(["-U", "postgres", "-d", "postgres"]);
        command.env_remove("PGBATON_CONFIG").current_dir("/");
        let (uid, gid) = run_as().unwrap();
        let output = run_spawn(Spawn::new(command).user(uid, gid), Deadline::after(LIMIT)).unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", output.complaint());
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["changed"], false, "{report}");
        assert!(report["msg"].as_str().unwrap().starts_with("unchanged"), "{report}");
    }
    assert_eq!((files(), primary.ask("SELECT pg_current_wal_lsn()")), before);
    assert_eq!(primary.ask("SELECT to_regclass('pgbaton.epoch')"), "");
}
