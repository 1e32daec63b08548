//! What the other machines find when they look at themselves: asked over SSH, with `--peers`.

use crate::check::Findings;
use crate::cli::ClusterCheck;
use crate::error::{Error, Result};
use crate::host::clock::Deadline;
use crate::settings::{Node, Settings};
use crate::ssh::session::{self, Exit};
use crate::ssh::{quote, target::Target};
use serde::Deserialize;
use std::time::Duration;

/// How much longer than its own questions the other machine may take for its answer.
const MARGIN: Duration = Duration::from_secs(10);

/// What another machine says, as far as it is read.
#[derive(Deserialize)]
struct Answer {
    changed: bool,
    #[serde(flatten)]
    findings: Findings,
}

/// Takes in what the other nodes find, or says that they weren't asked; returns whether any of them changed something.
pub(super) fn look(findings: &mut Findings, settings: &Settings, args: &ClusterCheck) -> bool {
    let peers: Vec<&Node> = settings.peers().collect();
    if !args.peers {
        for peer in peers.iter().filter(|_| settings.me().is_ok()) {
            findings.skip(
                "host",
                Some(&peer.name),
                "what concerns its machine is seen there: --peers asks it over SSH, or run pgbaton cluster check on it",
            );
        }
        return false;
    }
    let answers: Vec<(&Node, Result<Answer>)> = std::thread::scope(|scope| {
        let asked: Vec<_> =
            peers.into_iter().map(|peer| (peer, scope.spawn(|| ask(settings, args, peer)))).collect();
        asked
            .into_iter()
            .map(|(peer, thread)| {
                let failed = |_| Err(Error::failed("the asking thread ended early"));
                (peer, thread.join().unwrap_or_else(failed))
            })
            .collect()
    });
    let mut changed = false;
    for (peer, answer) in answers {
        match answer {
            Ok(answer) => {
                changed |= answer.changed;
                findings.merge(answer.findings);
            }
            Err(error) => {
                findings.skip("host", Some(&peer.name), format!("it can't be asked over SSH: {error}"));
            }
        }
    }
    changed
}

fn ask(settings: &Settings, args: &ClusterCheck, peer: &Node) -> Result<Answer> {
    let place = Target::node(settings, peer)?;
    let mut words = ["--json", "cluster", "check", "--timeout"].map(str::to_owned).to_vec();
    words.push(format!("{}ms", args.timeout.as_millis()));
    if args.fix {
        words.push("--fix".to_owned());
    }
    let line = format!("{} {}", settings.ssh.remote_command, quote(&words));
    let deadline = Deadline::after(args.timeout.saturating_mul(2).saturating_add(MARGIN));
    let executed = session::with(&place, deadline, move |ssh| ssh.exec(&line))?;
    // 1 and 4: something was found, or mended; a document comes with either.
    if !matches!(executed.exit, Exit::Code(0 | 1 | 4)) {
        return Err(Error::failed("the command there failed")
            .detail(String::from_utf8_lossy(&executed.stderr).trim().to_owned()));
    }
    let mut answer: Answer = serde_json::from_slice(&executed.stdout)
        .map_err(|error| Error::failed("its answer can't be understood").detail(error))?;
    // The other machine's own remark that it hasn't asked the others.
    answer.findings.skipped.retain(|skipped| skipped.check != "host");
    Ok(answer)
}
