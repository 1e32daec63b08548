//! Where `pg promote` looks around: the other nodes, the witness, the link, and what the local daemon remembers.

use crate::daemon::control::Request;
use crate::daemon::setup;
use crate::error::Result;
use crate::host::clock::Deadline;
use crate::net::netlink::Netlink;
use crate::net::vip;
use crate::pg::gates::{Histories, LastKnown, LocalView, PeerAnswer, PeerView, VipProbe};
use crate::pg::{fetch, histories, peer, target};
use crate::plan::build::Around;
use crate::plan::election::Voters;
use crate::settings::Settings;
use std::path::Path;
use std::time::Duration;

/// How long the link is asked for the owner of the virtual IP.
const PROBE: Duration = Duration::from_millis(100);
/// How long the local daemon is asked; without one it costs nothing.
const ASK_DAEMON: Duration = Duration::from_millis(500);

/// Asks the local daemon how far the primary's log had got when it was last heard of; `None` without a daemon.
pub(super) fn remembered(settings: &Settings) -> Option<LastKnown> {
    let answer = setup::ask_daemon(&mut settings.clone(), Request::Status, ASK_DAEMON).ok()?;
    let known = answer.get("primary_known")?;
    let age = known.get("age_ms").and_then(serde_json::Value::as_u64).map(Duration::from_millis);
    Some(LastKnown { end: known.get("end")?.as_str()?.parse().ok()?, age })
}

/// Asks the witness, where there is one.
pub(super) fn ask_witness(voters: Option<&Voters>, until: Deadline) -> Option<PeerView> {
    Some(voters?.peers.witness()?.ask(until))
}

/// Fetches the history files of the peers that answer, for a timeline number that none of them has.
pub(super) fn collect_histories(
    settings: &Settings,
    view: &LocalView,
    peers: &[PeerView],
    pg_wal: &Path,
    until: Deadline,
) -> (Around, Histories, Vec<String>) {
    let (Some(system_id), Some(timeline)) = (view.system_id, view.timeline) else {
        return (Around::default(), Histories::Missing(Vec::new()), Vec::new());
    };
    let answers = |name: &str| {
        let answer = peers.iter().find(|peer| peer.node == name).map(|peer| &peer.answer);
        matches!(answer, Some(PeerAnswer::Primary(_) | PeerAnswer::Standby(_)))
    };
    let (asked, silent): (Vec<_>, Vec<_>) = settings.peers().partition(|node| answers(&node.name));
    let asked = asked.into_iter().filter_map(|node| {
        let postgres = settings.postgres_of(node)?;
        Some((node.name.clone(), target::peer(node, &postgres, "pg promote")))
    });
    let collected = fetch::from_peers(asked.collect(), system_id, until)
        .without_futures(timeline, view.end.unwrap_or_default());
    let mut missing = collected.missing;
    missing.extend(silent.into_iter().map(|node| node.name.clone()));
    let mut around = Around { pg_wal: pg_wal.to_owned(), ..Around::default() };
    let mut notes = Vec::new();
    for (node, file) in collected.files {
        if around.histories.iter().any(|(known, ..)| *known == file.timeline()) {
            continue;
        }
        match histories::compare(pg_wal, file.timeline(), &file.content) {
            Ok(there) => around.histories.push((file.timeline(), file.content, there)),
            // What is here stays, and the number is taken in any case.
            Err(error) => notes.push(format!("{node}: {error}")),
        }
    }
    around.histories.sort_by_key(|(timeline, ..)| *timeline);
    let histories = if missing.is_empty() { Histories::Collected } else { Histories::Missing(missing) };
    (around, histories, notes)
}

/// Asks the other nodes' servers, all at once.
pub(super) fn ask_peers(settings: &Settings, until: Deadline) -> Vec<PeerView> {
    let mut questions = Vec::new();
    for node in settings.peers() {
        let Some(postgres) = settings.postgres_of(node) else { continue };
        let conn = target::peer(node, &postgres, "pg promote");
        let name = node.name.clone();
        questions.push((node.name.clone(), std::thread::spawn(move || peer::ask(&name, &conn, until))));
    }
    questions
        .into_iter()
        .map(|(node, question)| {
            question
                .join()
                .unwrap_or_else(|_| PeerView::new(node, PeerAnswer::Silent("the question failed".to_owned())))
        })
        .collect()
}

/// Asks the link who answers for the virtual IPs that aren't on this machine.
pub(super) fn probe_vips(settings: &Settings) -> Result<VipProbe> {
    let mut netlink = Netlink::open()?;
    let addresses = netlink.addresses()?;
    // A node that has the address itself is not evidence against itself.
    let here = |vip: &&crate::settings::VipSettings| {
        addresses.iter().any(|address| address.address.address() == vip.address.address())
    };
    let elsewhere: Vec<_> = settings.vips.iter().filter(|vip| !here(vip)).collect();
    if elsewhere.is_empty() {
        return Ok(if settings.vips.is_empty() { VipProbe::NotAsked } else { VipProbe::Here });
    }
    // Without the right to send ARP the gate can only say that it doesn't know; SQL has asked already.
    if crate::net::caps::require_net_raw().is_err() {
        return Ok(VipProbe::CantAsk);
    }
    let link = setup::node_link(settings, &mut netlink, &addresses)?;
    let until = Deadline::after(PROBE);
    for vip in elsewhere {
        if let Some(mac) = vip::probe(&link, vip.address, until)? {
            return Ok(VipProbe::AnsweredBy(mac));
        }
    }
    Ok(VipProbe::Free)
}
