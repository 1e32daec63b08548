//! The command line as its users see it: `tests/cli/*.trycmd`.
//!
//! `TRYCMD=overwrite cargo test cli::` rewrites them.

use std::process::{Command, Stdio};

#[test]
fn the_command_line_answers_as_written_down() {
    trycmd::TestCases::new().env("COLUMNS", "100").env("NO_COLOR", "1").case("tests/cli/*.trycmd").run();
}

#[test]
fn a_link_named_like_a_verb_is_that_verb() {
    let folder = std::env::temp_dir().join(format!("pgbaton-link-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let link = folder.join("vip-up");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_pgbaton"), &link).unwrap();
    let output = Command::new(&link).arg("--help").output().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("Usage: pgbaton vip up"));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_pgbaton"))
        .args(["generate", "completions", "zsh"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_full_disk_is_an_error() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_pgbaton"))
        .args(["generate", "config"])
        .stdout(full)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.starts_with("error: can't write to standard output\n"), "{told}");
}

#[test]
fn a_flag_comes_before_the_environment() {
    let run = |flags: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_pgbaton"))
            .args(["vrrp", "check-config"])
            .args(flags)
            .env("PGBATON_CONFIG", "/nonexistent/environment.toml")
            .output()
            .unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(run(&[]).contains("/nonexistent/environment.toml"));
    assert!(run(&["--config", "/nonexistent/flag.toml"]).contains("/nonexistent/flag.toml"));
}
