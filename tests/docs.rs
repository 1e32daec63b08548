//! The committed man pages and completions are what the program generates, and other programs can read them.

use crate::golden::{all, compare, source, updating};
use pgbaton::command::generate::{Document, completion_files, pages};
use std::collections::BTreeSet;
use std::process::Command;

fn compare_folder(folder: &str, documents: &[Document]) {
    let folder = source(folder);
    let wanted: BTreeSet<&str> = documents.iter().map(|(name, _)| name.as_str()).collect();
    let mut results: Vec<Result<(), String>> =
        documents.iter().map(|(name, text)| compare(&folder.join(name), text)).collect();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if wanted.contains(path.file_name().unwrap().to_str().unwrap()) {
            continue;
        }
        if updating() {
            std::fs::remove_file(&path).unwrap();
        } else {
            results.push(Err(format!("{} isn't generated any more", path.display())));
        }
    }
    all(results);
}

#[test]
fn the_committed_man_pages_are_up_to_date() {
    compare_folder("man", &pages());
}

#[test]
fn the_committed_completions_are_up_to_date() {
    compare_folder("completions", &completion_files());
}

#[test]
fn mandoc_has_nothing_to_say_about_the_man_pages() {
    let folder = std::env::temp_dir().join(format!("pgbaton-man-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut lint = Command::new("mandoc");
    lint.arg("-Tlint");
    for (name, text) in pages() {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        lint.arg(path);
    }
    let output = lint.output().expect("this test needs mandoc (package \"mandoc\")");
    std::fs::remove_dir_all(&folder).unwrap();
    let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.is_empty(), "{told}");
}

#[test]
fn every_page_has_the_sections_that_a_reader_looks_for() {
    for (name, text) in pages() {
        let sections: &[&str] = if name == "pgbaton-json.7" {
            &["NAME", "DESCRIPTION", "DOCUMENTS", "SEE ALSO"]
        } else if matches!(name.as_str(), "pgbaton-guide.7" | "pgbaton-runbook.7") {
            &["NAME", "DESCRIPTION", "SEE ALSO"]
        } else if name.ends_with(".5") {
            &["NAME", "SYNOPSIS", "DESCRIPTION", "FILES", "EXAMPLES", "SEE ALSO"]
        } else if name.ends_with(".7") {
            &["NAME", "DESCRIPTION", "STATE", "RULES", "MODES", "HOLDS", "EVIDENCE", "SEE ALSO"]
        } else {
            &[
                "NAME",
                "SYNOPSIS",
                "DESCRIPTION",
                "OPTIONS",
                "EXIT STATUS",
                "ENVIRONMENT",
                "FILES",
                "EXAMPLES",
                "SEE ALSO",
            ]
        };
        let mut rest = text.as_str();
        for section in sections {
            let heading = format!(".SH \"{section}\"\n");
            rest = rest.split_once(&heading).unwrap_or_else(|| panic!("{name}: {section}")).1;
        }
        for line in text.lines() {
            assert_eq!(line, line.trim_end(), "{name}");
        }
    }
}

#[test]
fn the_example_of_the_manual_is_a_correct_file() {
    let pages = pages();
    let page = &pages.iter().find(|(name, _)| name == "pgbaton.toml.5").unwrap().1;
    let example = page.split_once(".EX\n").unwrap().1.split_once(".EE\n").unwrap().0;
    let example = example.replace("\\-", "-");
    pgbaton::settings::Settings::from_toml(&example, "pgbaton.toml.5").unwrap();
}

#[test]
fn the_shells_can_read_their_completions() {
    if updating() {
        return;
    }
    for (shell, file) in [("bash", "pgbaton.bash"), ("zsh", "_pgbaton"), ("fish", "pgbaton.fish")] {
        // A shell that isn't installed can't be asked; bash always is.
        let Ok(output) = Command::new(shell).arg("-n").arg(source("completions").join(file)).output() else {
            assert_ne!(shell, "bash");
            continue;
        };
        assert!(output.status.success(), "{shell}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A configuration with two nodes, for the shells to read.
fn two_nodes() -> std::path::PathBuf {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let file = std::env::temp_dir().join(format!("pgbaton-complete-{}-{number}.toml", std::process::id()));
    let text = "[cluster]\nname = \"main\"\n[[node]]\n  name = 'alpha' # the first\naddress = \"192.0.2.1\"\n\
                [[ node ]]\nname=\"beta\"\n[[instance]]\nname = \"web\"\n";
    std::fs::write(&file, text).unwrap();
    file
}

fn shell(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .env_remove("PGBATON_CONFIG")
        .output()
        .unwrap_or_else(|error| panic!("this test needs {program}: {error}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(complaint.is_empty(), "{program}: {complaint}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn every_shell_completes_the_names_of_the_nodes_from_the_configuration() {
    let file = two_nodes();
    let config = file.display();
    let script = |name: &str| completion_files().into_iter().find(|(file, _)| file == name).unwrap().1;
    let bash = format!(
        "{}\nCOMP_WORDS=(pgbaton --config {config} pg fence --node \"\"); COMP_CWORD=6; COMPREPLY=()\n\
         _pgbaton pgbaton \"\" --node; echo \"${{COMPREPLY[@]}}\"",
        script("pgbaton.bash")
    );
    assert_eq!(shell("bash", &["-c", &bash]), "alpha beta\n");
    let fish =
        format!("{}\ncomplete -C 'pgbaton pg fence --config {config} --node '", script("pgbaton.fish"));
    let told = shell("fish", &["-N", "-c", &fish]);
    let names: Vec<&str> = told.lines().map(|line| line.split('\t').next().unwrap()).collect();
    assert_eq!(names, ["alpha", "beta"]);
    // Without a terminal zsh has no completion of its own: what it would be given is printed.
    let zsh = script("_pgbaton");
    assert!(zsh.contains(":NAME:_pgbaton_nodes'") && zsh.contains(":NODE:_pgbaton_nodes'"));
    let function = zsh.split_once("_pgbaton_nodes() {").unwrap().1.split_once("\n}\n").unwrap().0;
    let zsh = format!(
        "compadd() {{ print -l -- $nodes }}\n_pgbaton_nodes() {{{function}\n}}\n\
         words=(pgbaton --config {config} --node ''); _pgbaton_nodes"
    );
    assert_eq!(shell("zsh", &["-f", "-c", &zsh]), "alpha\nbeta\n");
    std::fs::remove_file(file).unwrap();
}

#[test]
fn bash_completes_verbs_and_flags() {
    let script = r#"
        ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
                _pgbaton pgbaton "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
                echo "${COMPREPLY[@]}"; }
        ask pgbaton v
        ask pgbaton vip ""
        ask pgbaton vip up --le
        ask pgbaton pg promote --force vip
    "#;
    let (_, completions) = completion_files().swap_remove(0);
    let output = Command::new("bash").args(["-c", &format!("{completions}{script}")]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[0], "vrrp vip");
    assert!(lines[1].ends_with("up down status"), "{told}");
    assert_eq!(lines[2], "--lease");
    assert_eq!(lines[3], "vip-free");
}
