//! What integration tests share.

pub mod lab;
pub mod pg;
pub mod sshd;

use std::process::Output;

/// Runs the program and returns what came of it.
pub fn pgbaton(arguments: &[&str]) -> Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_pgbaton"));
    command.args(arguments).env_remove("PGBATON_CONFIG").env_remove("PGBATON_NODE").output().unwrap()
}

/// Returns the JSON document and the exit status of a run.
pub fn document(output: &Output) -> (serde_json::Value, i32) {
    let text = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    let document = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}\n{complaint}"));
    (document, output.status.code().unwrap())
}
pub mod tls;
