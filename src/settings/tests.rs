//! What the file may say, and what it means.

use super::keys::{Default, SECTIONS};
use super::*;
use proptest::prelude::*;

const SMALL: &str = r#"
[cluster]
name = "article"

[[node]]
name = "node1"
address = "192.18.12.21"
priority = 200

[[node]]
name = "node2"
address = "192.18.12.22"
priority = 100
port = 5433
data_directory = "/srv/two"
socket_directory = "/tmp"

[[node]]
name = "spare"
address = "192.18.12.24"
role = "spare"

[[vip]]
address = "192.18.12.23/24"

[postgres]
data_directory = "/srv/one"
"#;

fn small() -> Settings {
    Settings::from_toml(SMALL, "pgbaton.toml").unwrap()
}

fn wrong(text: &str) -> String {
    Settings::from_toml(text, "f").unwrap_err().message().to_owned()
}

#[test]
fn what_the_file_leaves_out_has_the_documented_default() {
    let mut text = String::new();
    // A witness votes only beside synchronous nodes: its defaults are looked at in its own test.
    for section in SECTIONS.iter().filter(|section| !section.repeated && section.name != "witness") {
        text.push_str(&format!("{}\n", section.heading()));
        for key in section.keys {
            if section.name == "vrrp" && key.name == "preempt_delay" {
                continue;
            }
            match key.default {
                Default::Value(value) => text.push_str(&format!("{} = {value}\n", key.name)),
                _ if key.name == "name" => text.push_str("name = \"article\"\n"),
                _ if section.name == "postgres" && key.name == "data_directory" => {
                    text.push_str("data_directory = \"/srv/one\"\n");
                }
                _ => {}
            }
        }
    }
    let nodes = SMALL.split_once("[[node]]").unwrap().1.split_once("[postgres]").unwrap().0;
    let explicit = format!("{text}\n[[node]]{nodes}").replace("23/24\"", "23/24\"\nlease = \"3s\"");
    let (explicit, small) = (Settings::from_toml(&explicit, "f").unwrap(), small());
    assert_ne!(explicit.digest, small.digest);
    assert_eq!(explicit, Settings { digest: explicit.digest.clone(), ..small });
}

#[test]
fn the_template_is_a_correct_file_with_nothing_but_examples() {
    let settings = Settings::from_toml(&keys::template(), "template").unwrap();
    assert_eq!(settings.nodes.len(), 2);
    assert_eq!(settings.warnings, Vec::<String>::new());
}

#[test]
fn every_key_of_the_template_may_be_uncommented() {
    let commented: Vec<&keys::Section> =
        SECTIONS.iter().filter(|section| keys::COMMENTED.contains(&section.name)).collect();
    for line in keys::template().lines().filter_map(|line| line.strip_prefix('#')) {
        // These tables are comments as a whole, and what is tracked isn't there: no line means anything alone.
        let of_comment = commented.iter().any(|section| {
            line == section.heading()
                || section.keys.iter().any(|key| line == format!("{} = {}", key.name, key.example))
        });
        if of_comment || line.starts_with("track_") {
            continue;
        }
        if line.starts_with(' ') || line.starts_with("preempt_delay") || line.starts_with("fence_command") {
            continue;
        }
        let text = keys::template().replacen(&format!("#{line}\n"), &format!("{line}\n"), 1);
        Settings::from_toml(&text, "template").unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn a_witness_needs_two_nodes_and_has_the_documented_defaults() {
    let spare = "[[node]]\nname = \"spare\"\naddress = \"192.18.12.24\"\nrole = \"spare\"\n";
    let two = SMALL.replace(spare, "");
    let with = |table: &str| Settings::from_toml(&format!("{two}{table}"), "f");
    let sync = "\n[replication]\nmode = \"sync\"\n";
    let witness = "\n[witness]\naddress = \"192.0.2.30\"\n";
    assert!(Settings::from_toml(&format!("{SMALL}{witness}"), "f").is_err());
    assert!(with(witness).unwrap().votes() && !with(witness).unwrap().synchronous());
    assert!(with(&format!("{witness}lease = \"4s\"\n")).is_err());
    let given = with(&format!("{sync}{witness}")).unwrap().witness.unwrap();
    let defaults = "transport = \"postgres\"\ndirectory = \"pgbaton-witness\"\ndatabase = \"postgres\"\nlease = \"10s\"\n";
    let explicit = with(&format!("{sync}{witness}{defaults}")).unwrap().witness.unwrap();
    assert_eq!(given, explicit);
    assert_eq!(given.port, None);
    assert!(with(&format!("{witness}transport = \"carrier pigeon\"\n")).is_err());
}

#[test]
fn a_node_may_have_its_own_paths_and_port() {
    let mut settings = small();
    let one = settings.postgres_of(&settings.nodes[0]).unwrap();
    let two = settings.postgres_of(&settings.nodes[1]).unwrap();
    assert_eq!((one.port, one.data_directory), (5432, PathBuf::from("/srv/one")));
    assert_eq!((two.port, two.data_directory), (5433, PathBuf::from("/srv/two")));
    assert_eq!(two.socket_directory, PathBuf::from("/tmp"));
    assert_eq!(settings.control_socket(&settings.nodes[1]), PathBuf::from("/run/pgbaton/node2.sock"));
    settings.choose_me("node2").unwrap();
    assert_eq!(settings.lock_file_here().unwrap(), PathBuf::from("/run/pgbaton/node2.lock"));
}

#[test]
fn a_node_finds_itself_by_its_address_or_is_told_by_name() {
    let mut settings = small();
    assert!(settings.me().is_err());
    settings.find_me(&["127.0.0.1".parse().unwrap(), "192.18.12.22".parse().unwrap()]).unwrap();
    assert_eq!(settings.me().unwrap().name, "node2");
    assert_eq!(settings.peers().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["node1", "spare"]);

    let mut settings = small();
    settings.choose_me("node1").unwrap();
    settings.find_me(&["192.18.12.22".parse().unwrap()]).unwrap();
    assert_eq!(settings.me().unwrap().name, "node1");
}

#[test]
fn a_stranger_is_told_its_addresses_and_those_of_the_nodes() {
    let mut settings = small();
    let local = ["127.0.0.1", "10.0.0.7"].map(|address| address.parse().unwrap());
    let error = settings.find_me(&local).unwrap_err();
    assert_eq!(error.message(), "this machine isn't one of the nodes");
    assert_eq!(
        error.detail_text().unwrap(),
        "its addresses: 10.0.0.7\nthe nodes: node1 192.18.12.21, node2 192.18.12.22, spare 192.18.12.24"
    );
    let both = ["192.18.12.21", "192.18.12.22"].map(|address| address.parse().unwrap());
    let error = settings.find_me(&both).unwrap_err();
    assert_eq!(error.message(), "this machine has the addresses of several nodes: node1, node2");
    let error = settings.choose_me("nod1").unwrap_err();
    assert_eq!(error.hints(), ["did you mean \"node1\"?"]);
}

#[test]
fn preemption_is_the_default_only_without_a_database() {
    assert!(!small().vrrp.preempt);
    let without = SMALL.split_once("[postgres]").unwrap().0;
    assert!(Settings::from_toml(without, "f").unwrap().vrrp.preempt);
    assert_eq!(
        wrong(&format!("{SMALL}\n[vrrp]\npreempt = true")),
        "f:30:11: preempt can't be used beside [postgres]: a healthy primary is never displaced"
    );
    assert!(Settings::from_toml(&format!("{SMALL}\n[vrrp]\npreempt = false"), "f").is_ok());
}

#[test]
fn the_lease_can_be_switched_off() {
    assert_eq!(small().vips[0].lease, Some(Duration::from_secs(3)));
    let text = SMALL.replace("23/24\"", "23/24\"\nlease = \"off\"");
    assert_eq!(Settings::from_toml(&text, "f").unwrap().vips[0].lease, None);
}

#[test]
fn the_data_directory_must_be_known_for_every_node() {
    let text = SMALL.replace("data_directory = \"/srv/one\"", "");
    assert_eq!(wrong(&text), "f:26:1: data_directory is missing, and node \"node1\" has none");
}

#[test]
fn a_missing_file_names_the_way_to_a_template() {
    let overrides = Overrides { config: Some("/nonexistent/pgbaton.toml".into()), node: None };
    let error = Settings::load(&overrides).unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    assert_eq!(error.message(), "can't read the configuration /nonexistent/pgbaton.toml");
    assert!(error.hints()[0].contains("generate config"));
    assert!(Settings::load_if_present(&overrides).is_err());
}

#[test]
fn a_folder_and_a_device_are_no_configuration() {
    for path in ["/tmp", "/dev/null"] {
        let error = Settings::load(&Overrides { config: Some(path.into()), node: None }).unwrap_err();
        assert_eq!(error.message(), format!("the configuration {path} isn't a regular file"));
    }
}

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("pgbaton-settings-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

#[test]
fn a_file_that_everyone_can_write_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new("open");
    let path = folder.0.join("pgbaton.toml");
    std::fs::write(&path, SMALL).unwrap();
    let overrides = Overrides { config: Some(path.clone()), node: Some("node2".to_owned()) };
    let settings = Settings::load(&overrides).unwrap();
    assert_eq!((settings.file.as_deref(), settings.me), (Some(path.as_path()), Some(1)));

    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o646)).unwrap();
    let error = Settings::load(&overrides).unwrap_err();
    assert_eq!(error.message(), format!("the configuration {} can be written by everyone", path.display()));
    assert_eq!(error.detail_text(), Some("its mode is 0646"));
}

#[test]
fn a_named_pipe_does_not_make_the_reader_wait() {
    let folder = Folder::new("pipe");
    let path = folder.0.join("pgbaton.toml");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let error = Settings::load(&Overrides { config: Some(path), node: None }).unwrap_err();
    assert!(error.message().ends_with("isn't a regular file"), "{error}");
}

#[test]
fn the_others_have_two_advert_intervals_to_answer_within_bounds() {
    let ask_timeout = |lines: &str| {
        let text = format!("{SMALL}\n{lines}");
        Settings::from_toml(&text, "f").unwrap().guard.ask_timeout.as_millis()
    };
    for (interval, expected) in [("10ms", 50), ("60ms", 120), ("100ms", 200), ("1s", 200)] {
        assert_eq!(ask_timeout(&format!("[vrrp]\nadvert_interval = \"{interval}\"")), expected);
    }
    assert_eq!(ask_timeout("[guard]\nask_timeout = \"3s\""), 3000);
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in ".{0,200}") {
        drop(Settings::from_toml(&text, "f"));
    }

    /// Whatever stands in one place of a file, it is read or refused with a place.
    #[test]
    fn no_value_makes_the_reader_panic(
        (section, key) in (0..SECTIONS.len()).prop_flat_map(|s| (Just(s), 0..SECTIONS[s].keys.len())),
        value in prop_oneof![
            "-?[0-9]{1,25}",
            "\"[a-z0-9./:é-]{0,80}\"",
            Just("true".to_owned()),
            Just("[]".to_owned()),
            Just("{}".to_owned()),
            Just("1979-05-27".to_owned()),
        ],
    ) {
        let section = &SECTIONS[section];
        let text = format!("{SMALL}\n{}\n{} = {value}\n", section.heading(), section.keys[key].name);
        if let Err(error) = Settings::from_toml(&text, "f") {
            prop_assert!(error.message().starts_with('f'));
            prop_assert_eq!(error.kind(), Kind::Config);
        }
    }
}
