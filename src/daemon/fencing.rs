//! The edge of a fencing: the verb over SSH, or the operator's command, each with a deadline. Only a clear "it is dead"
//! counts; whatever else happens is no proof.

use crate::host::clock::Deadline;
use crate::host::process::run_spawn;
use crate::host::spawn::Spawn;
use crate::pg::gates::Proof;
use crate::settings::{Fence, Settings};
use std::process::Command;

/// Starts the fencing of a node; `tell` is called once, from its thread.
pub(super) fn start(
    settings: &Settings,
    node: &str,
    tell: impl FnOnce(Result<Proof, String>) + Send + 'static,
) {
    let (command, proof) = match command(settings, node) {
        Ok(known) => known,
        Err(why) => {
            tell(Err(why));
            return;
        }
    };
    let within = settings.guard.fence_timeout;
    let work = move || {
        tell(match run_spawn(Spawn::new(command), Deadline::after(within)) {
            Ok(output) if output.status.success() => Ok(proof),
            Ok(output) => Err(match output.complaint() {
                complaint if complaint.is_empty() => format!("the command ended with {}", output.status),
                complaint => complaint.split_whitespace().collect::<Vec<_>>().join(" "),
            }),
            Err(error) => Err(error.to_string()),
        });
    };
    // Without a thread nobody is told: the node stays unproved, and the next silence tries again.
    drop(std::thread::Builder::new().name("fence".to_owned()).spawn(work));
}

fn command(settings: &Settings, node: &str) -> Result<(Command, Proof), String> {
    let address = settings
        .nodes
        .iter()
        .find(|known| known.name == node)
        .map(|known| known.address)
        .ok_or_else(|| format!("{node} isn't in the configuration"))?;
    match (settings.guard.fence, &settings.guard.fence_command) {
        (Fence::Command, Some(line)) => {
            let mut command = Command::new("/bin/sh");
            command
                .args(["-c", line])
                .env("PGBATON_FENCE_NODE", node)
                .env("PGBATON_FENCE_ADDRESS", address.to_string());
            Ok((command, Proof::Fenced))
        }
        (Fence::Ssh, _) => {
            let mut command = Command::new(super::worker::PROGRAM);
            if let Some(config) = &settings.file {
                command.arg("--config").arg(config);
            }
            command.args(["--node", node, "pg", "fence", "--reason", "silent: another node takes over"]);
            Ok((command, Proof::StoppedBySsh))
        }
        (Fence::None | Fence::Command, _) => Err("no fencing is configured".to_owned()),
    }
}
