//! What is packaged: the units hold, the metadata names files that exist, the examples for monitoring are read by the
//! programs they are for.

use crate::golden::source;
use crate::support::pgbaton;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("pgbaton-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn generate(what: &str, folder: &Path) {
    let written = pgbaton(&["generate", what, folder.to_str().unwrap()]);
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    let again = pgbaton(&["--json", "generate", what, folder.to_str().unwrap()]);
    let report: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(report["changed"], false, "the second run");
}

fn run(program: &str, arguments: &[&str], folder: &Path) -> Output {
    Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap_or_else(|error| panic!("{program} {arguments:?}: {error}"))
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units_and_the_exposure_is_small() {
    let folder = Folder::new("units");
    generate("systemd", &folder.0);
    // What the unit names must exist to be verified.
    let unit = folder.0.join("pgbaton.service");
    let text = std::fs::read_to_string(&unit).unwrap();
    let text = text.replace("/usr/bin/pgbaton", env!("CARGO_BIN_EXE_pgbaton"));
    std::fs::write(&unit, text).unwrap();
    let verified = run("systemd-analyze", &["verify", "--man=no", "./pgbaton.service"], &folder.0);
    let complaints = said(&verified);
    // Other units of this machine are read along; only what is said of ours counts.
    let ours: Vec<&str> = complaints.lines().filter(|line| line.contains("pgbaton")).collect();
    assert!(ours.is_empty() && verified.status.success(), "{complaints}");
    let security = run(
        "systemd-analyze",
        &["security", "--offline=true", "--no-pager", "--threshold=30", "./pgbaton.service"],
        &folder.0,
    );
    let table = said(&security);
    println!("{}", table.lines().last().unwrap_or_default());
    assert!(security.status.success(), "more exposed than 3.0:\n{table}");
}

#[test]
fn the_unit_in_the_package_is_the_one_that_is_printed() {
    let printed = pgbaton(&["generate", "systemd"]);
    let shipped = std::fs::read(source("src/cli/templates/systemd/pgbaton.service")).unwrap();
    assert_eq!(printed.stdout, shipped);
}

#[test]
fn a_start_of_postgresql_after_boot_is_a_standbys_in_the_configured_folder() {
    let folder = Folder::new("units-configured");
    let config = source("tests/configs/valid/article.toml");
    let written =
        pgbaton(&["--config", config.to_str().unwrap(), "generate", "systemd", folder.0.to_str().unwrap()]);
    assert!(written.status.success());
    let text = std::fs::read_to_string(folder.0.join("postgresql@15-main.service.d/pgbaton.conf")).unwrap();
    let configured = std::fs::read_to_string(config).unwrap();
    let data = configured.lines().rev().find_map(|line| line.strip_prefix("data_directory = \"")).unwrap();
    let data = data.split('"').next().unwrap();
    assert!(text.contains(&format!("ExecStartPre=/usr/bin/touch {data}/standby.signal\n")), "{text}");
    // The rule for polkit is JavaScript; what it must not do is let anything else be started.
    let rule = std::fs::read_to_string(folder.0.join("polkit-1/rules.d/pgbaton.rules")).unwrap();
    assert!(rule.contains("subject.user == \"postgres\"") && rule.contains("manage-units"), "{rule}");
}

#[test]
fn every_file_that_the_packages_name_exists_and_both_packages_have_the_same() {
    let manifest: toml::Value =
        toml::from_str(&std::fs::read_to_string(source("Cargo.toml")).unwrap()).unwrap();
    let metadata = &manifest["package"]["metadata"];
    let deb: Vec<&str> =
        metadata["deb"]["assets"].as_array().unwrap().iter().map(|one| one[0].as_str().unwrap()).collect();
    let rpm: Vec<&str> = metadata["generate-rpm"]["assets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["source"].as_str().unwrap())
        .filter(|source| *source != "LICENSE")
        .collect();
    assert_eq!(deb, rpm);
    for asset in deb {
        let Some(asset) = Some(asset).filter(|asset| !asset.starts_with("target/")) else { continue };
        let (folder, pattern) = asset.rsplit_once('/').unwrap_or((".", asset));
        let ending = pattern.strip_prefix('*');
        let found = std::fs::read_dir(source(folder)).unwrap().any(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            ending.map_or(name == pattern, |ending| name.ends_with(ending))
        });
        assert!(found, "{asset}");
    }
}

/// The program that makes the .rpm: the one that is installed, or one under `target/`.
fn cargo_generate_rpm() -> PathBuf {
    let tools = source("target/tools");
    let program = tools.join("bin/cargo-generate-rpm");
    let installed = Command::new("cargo-generate-rpm").arg("--version").output();
    if installed.is_ok_and(|output| output.status.success()) {
        return "cargo-generate-rpm".into();
    }
    if !program.exists() {
        let install = ["install", "--quiet", "--locked", "--debug", "--version", "0.21.1", "--root"];
        let arguments = [&install[..], &[tools.to_str().unwrap(), "cargo-generate-rpm"]].concat();
        let output = run(env!("CARGO"), &arguments, Path::new("/"));
        assert!(output.status.success(), "{}", said(&output));
    }
    program
}

// In a layer above this machine's own root; `make package-test` does it, and the .deb, in a clean one.
#[test]
fn a_real_rpm_installs_the_package_upgrades_it_and_removes_it_and_nothing_of_it_starts_or_is_left() {
    let folder = Folder::new("rpm");
    let built = folder.0.join("pgbaton");
    let strip = ["-o", built.to_str().unwrap(), env!("CARGO_BIN_EXE_pgbaton")];
    assert!(run("strip", &strip, &folder.0).status.success());
    let example = pgbaton(&["generate", "config"]);
    assert!(example.status.success());
    std::fs::write(folder.0.join("pgbaton.toml"), example.stdout).unwrap();
    // The metadata as it is, but for the two files that make writes.
    let manifest: toml::Value =
        toml::from_str(&std::fs::read_to_string(source("Cargo.toml")).unwrap()).unwrap();
    let mut metadata = manifest["package"]["metadata"]["generate-rpm"].clone();
    for asset in metadata["assets"].as_array_mut().unwrap() {
        let from = match asset["source"].as_str().unwrap() {
            "target/release/pgbaton" => built.clone(),
            "target/package/pgbaton.toml" => folder.0.join("pgbaton.toml"),
            _ => continue,
        };
        asset["source"] = from.to_str().unwrap().into();
    }
    let program = cargo_generate_rpm();
    // Both at once: it takes its time.
    let packages = ["1", "2"].map(|release| {
        metadata.as_table_mut().unwrap().insert("release".into(), release.into());
        let (overwrite, package) = (format!("{release}.toml"), format!("{release}.rpm"));
        std::fs::write(folder.0.join(&overwrite), toml::to_string(&metadata).unwrap()).unwrap();
        let package = folder.0.join(package);
        let made = Command::new(&program)
            .args(["generate-rpm", "--payload-compress", "none", "--output"])
            .arg(&package)
            .arg(format!("--metadata-overwrite={}", folder.0.join(overwrite).display()))
            .current_dir(source("."))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        (package, made)
    });
    let packages = packages.map(|(package, made)| {
        let made = made.wait_with_output().unwrap();
        assert!(made.status.success(), "{}", said(&made));
        package
    });
    let script = source("tests/packages.sh");
    let output = Command::new(script).args(&packages).env("BASE", "/").output().unwrap();
    println!("{}", said(&output));
    assert!(output.status.success());
}

#[test]
fn prometheus_accepts_the_alert_rules_and_they_fire_when_they_should() {
    let folder = Folder::new("monitoring");
    generate("monitoring", &folder.0);
    for arguments in [["check", "rules", "pgbaton-alerts.yml"], ["test", "rules", "pgbaton-alerts-test.yml"]]
    {
        let output = run("promtool", &arguments, &folder.0);
        assert!(output.status.success(), "{}", said(&output));
    }
}

#[test]
fn the_dashboard_asks_only_for_what_the_alerts_and_the_program_know() {
    let folder = Folder::new("dashboard");
    generate("monitoring", &folder.0);
    let text = std::fs::read_to_string(folder.0.join("grafana-dashboard.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut numbers: Vec<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), panels.len(), "the number of a panel is its own");
    for panel in panels {
        let at = &panel["gridPos"];
        assert!(at["x"].as_u64().unwrap() + at["w"].as_u64().unwrap() <= 24, "{}", panel["title"]);
        for target in panel["targets"].as_array().unwrap() {
            // promtool reads an expression as it reads a rule's.
            let expression = target["expr"].as_str().unwrap().replace("$cluster", "main");
            let rule = format!("groups: [{{name: x, rules: [{{record: x, expr: '{expression}'}}]}}]\n");
            std::fs::write(folder.0.join("x.yml"), rule).unwrap();
            let output = run("promtool", &["check", "rules", "x.yml"], &folder.0);
            assert!(output.status.success(), "{expression}: {}", said(&output));
        }
    }
}

/// Grafana's own models of a dashboard, from `PyPI`, for one release; returns where they are.
fn grafana_sdk() -> PathBuf {
    const RELEASE: &str = "grafana-foundation-sdk==1769699998!10.1.0";
    let place = source("target/grafana-sdk");
    if !place.join("grafana_foundation_sdk").exists() {
        let fresh = place.with_extension(std::process::id().to_string());
        let install =
            ["-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check", "--target"];
        let arguments = [&install[..], &[fresh.to_str().unwrap(), RELEASE]].concat();
        let output = run("python3", &arguments, Path::new("/"));
        assert!(output.status.success(), "{}", said(&output));
        // Two runs may get here at once; the first one's rename wins.
        std::fs::rename(&fresh, &place).ok();
    }
    place
}

#[test]
fn grafana_s_own_models_read_the_dashboard_and_lose_nothing_of_it() {
    let folder = Folder::new("grafana");
    generate("monitoring", &folder.0);
    let (script, sdk) = (source("tests/dashboard.py"), grafana_sdk());
    let check = |file: &str| {
        let arguments = [script.to_str().unwrap(), sdk.to_str().unwrap(), file];
        run("python3", &arguments, &folder.0)
    };
    let output = check("grafana-dashboard.json");
    assert!(output.status.success(), "{}", said(&output));
    // And they would have noticed.
    let text = std::fs::read_to_string(folder.0.join("grafana-dashboard.json")).unwrap();
    for (right, wrong) in [("\"gridPos\"", "\"gridpos\""), ("\"refId\"", "\"ref\"")] {
        std::fs::write(folder.0.join("wrong.json"), text.replace(right, wrong)).unwrap();
        let output = check("wrong.json");
        assert!(
            !output.status.success() && said(&output).contains(wrong.trim_matches('"')),
            "{}",
            said(&output)
        );
    }
}

#[test]
fn a_fencing_example_says_that_a_node_is_off_only_when_its_controller_does() {
    let folder = Folder::new("fencing");
    generate("fencing", &folder.0);
    let controllers = [
        ("fence-ipmi", "ipmitool", "Chassis Power is off", "Chassis Power is on"),
        ("fence-libvirt", "virsh", "shut off", "running"),
    ];
    for (example, program, off, on) in controllers {
        // It goes off at the third look; one that never does is no proof.
        let fake = |last: &str| {
            let text = format!(
                "#!/bin/sh\ncase \"$*\" in *status*|*domstate*) ;; *) exit 1 ;; esac\n\
                 echo x >> looks\n[ $(wc -l < looks) -lt 3 ] && echo '{on}' || echo '{last}'\n"
            );
            std::fs::write(folder.0.join(program), text).unwrap();
            std::fs::set_permissions(folder.0.join(program), std::fs::Permissions::from_mode(0o755)).unwrap();
            std::fs::write(folder.0.join("looks"), "").unwrap();
        };
        let fence = |node: &str| {
            let mut command = Command::new("sh");
            command.arg(example).current_dir(&folder.0).env("PGBATON_FENCE_NODE", node);
            let path = format!("{}:{}", folder.0.display(), std::env::var("PATH").unwrap());
            command.env("PATH", path).output().unwrap().status.code()
        };
        fake(off);
        assert_eq!(fence("node1"), Some(0), "{example}");
        assert_eq!(fence("stranger"), Some(2), "{example}");
        fake(on);
        assert_eq!(fence("node2"), Some(1), "{example}");
    }
}
