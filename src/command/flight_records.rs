//! Where `cluster events` and `cluster timeline` get their entries from: this node's files, files that are named, the
//! other nodes over SSH.

use crate::cli::RecordSource;
use crate::error::{Error, Result};
use crate::flight::Entry;
use crate::flight::store::{self, Found};
use crate::host::clock::Deadline;
use crate::settings::{Node, Settings};
use crate::ssh::session::{self, Exit};
use crate::ssh::{quote, target::Target};
use serde::Deserialize;

/// How many events of another node are asked for: what SSH hands over is limited to a MiB.
const FROM_PEERS: usize = 3000;

/// Reads the records; problems with some of them are warnings.
pub(super) fn read(settings: Option<&Settings>, source: &RecordSource) -> Result<Found> {
    if !source.files.is_empty() {
        let mut found = Found::default();
        for file in &source.files {
            found.add_file(file)?;
        }
        return Ok(found);
    }
    let settings = settings.ok_or_else(|| Error::config("there is no configuration"))?;
    let mut found = store::read(&settings.cluster.state_directory);
    if source.peers {
        let peers: Vec<Node> = settings.peers().cloned().collect();
        let answers: Vec<(String, Result<Vec<Entry>>)> = std::thread::scope(|scope| {
            let asked: Vec<_> = peers
                .iter()
                .map(|peer| (peer.name.clone(), scope.spawn(|| ask(settings, source, peer))))
                .collect();
            asked
                .into_iter()
                .map(|(name, thread)| {
                    let failed = |_| Err(Error::failed("the asking thread ended early"));
                    (name, thread.join().unwrap_or_else(failed))
                })
                .collect()
        });
        for (name, answer) in answers {
            match answer {
                Ok(entries) => found.entries.extend(entries),
                Err(error) => found.problems.push(format!("no record of {name}: {error}")),
            }
        }
    }
    Ok(found)
}

/// Asks another node for its record.
fn ask(settings: &Settings, source: &RecordSource, peer: &Node) -> Result<Vec<Entry>> {
    #[derive(Deserialize)]
    struct Answer {
        events: Vec<Entry>,
    }
    let place = Target::node(settings, peer)?;
    let words = ["cluster", "events", "--json", "--all", "--last"].map(str::to_owned);
    let line = format!("{} {} {FROM_PEERS}", settings.ssh.remote_command, quote(&words));
    let executed = session::with(&place, Deadline::after(source.timeout), move |ssh| ssh.exec(&line))?;
    if executed.exit != Exit::Code(0) {
        return Err(Error::failed("the command there failed")
            .detail(String::from_utf8_lossy(&executed.stderr).trim().to_owned()));
    }
    let answer: Answer = serde_json::from_slice(&executed.stdout)
        .map_err(|error| Error::failed("its answer can't be understood").detail(error))?;
    Ok(answer.events)
}
