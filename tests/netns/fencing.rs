//! Two asynchronous nodes: silence is no proof of death, a fencing that says so is.

use crate::support::lab::{Stage, assert_none};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

/// A lab whose fencing command reads its exit status from a pipe.
fn stage(name: &str) -> (Stage, std::path::PathBuf) {
    let folder = std::path::PathBuf::from(format!("/var/lib/pgbaton-test/{name}-fence"));
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(&folder).unwrap();
    let pipe = folder.join("answer");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    std::fs::set_permissions(&pipe, std::fs::Permissions::from_mode(0o666)).unwrap();
    let line = format!(
        "echo $PGBATON_FENCE_NODE $PGBATON_FENCE_ADDRESS; read answer < {}; exit $answer",
        pipe.display()
    );
    let stage = Stage::with(name, |options| {
        "hold".clone_into(&mut options.availability);
        options.extra_settings =
            format!("fence = \"command\"\nfence_command = \"{line}\"\nfence_timeout = \"50s\"\n");
    });
    (stage, pipe)
}

fn answer(pipe: &std::path::Path, status: &str) {
    let mut pipe = std::fs::OpenOptions::new().write(true).open(pipe).unwrap();
    writeln!(pipe, "{status}").unwrap();
}

#[test]
fn a_silent_primary_is_replaced_when_its_fencing_says_that_it_is_dead() {
    let (stage, pipe) = stage("fence-proof");
    let writer = stage.writer();
    let fault = stage.host("node1").cut().unwrap();
    stage.until_sign("node2", "fencing", fault);
    assert_none(&stage.events_since("node2", fault), &["decision:promote"]);
    stage.host("node1").power_off().unwrap();
    answer(&pipe, "0");
    stage.until_serving("node2");
    stage.until_commits(&writer, "node2", fault);
    stage.assert_primary("node2", 2, 2);
    writer.finish();
}

#[test]
fn a_fencing_that_fails_is_no_proof() {
    let (stage, pipe) = stage("fence-fails");
    let fault = stage.host("node1").cut().unwrap();
    stage.until_sign("node2", "fencing", fault);
    answer(&pipe, "1");
    let refused = stage.until_sign("node2", "decision:refuse", fault);
    assert!(refused.text.contains("nothing proves"), "{}", refused.text);
    assert_none(&stage.events_since("node2", fault), &["decision:promote"]);
    assert!(stage.host("node2").in_recovery().unwrap());
}
