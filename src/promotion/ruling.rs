//! Whether a node whose server is a primary may serve: the answer for boot, oversleep and contest.
//!
//! The counterpart of `pg::gates`, which decides for a standby. Both compare *confirmed* terms, never VRRP
//! priorities: a healthy new primary is never displaced by a returning old one.

use crate::pg::gates::{Availability, LocalView, PeerAnswer, PeerView};
use crate::pg::lsn::Timeline;
use crate::promotion::rules::{self, Configuration, Register};

/// What a node with a running primary does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// It is the newest: it may have the virtual IP. The warning says what was taken on trust.
    Serve {
        /// What was taken on trust, if anything.
        warning: Option<String>,
    },
    /// Another node's data is newer: stop the server, drop the address.
    Fence {
        /// Why.
        why: String,
    },
    /// It can't be known: no address, ask again.
    Hold {
        /// Why.
        why: String,
        /// What a person can do.
        hint: String,
    },
}

/// Rules on a local primary from what the peers answered.
///
/// `peers` holds an answer for every other node; one that didn't answer is `Silent`.
pub fn rule(local: &LocalView, peers: &[PeerView], availability: Availability) -> Ruling {
    for peer in peers {
        if let Some(ruling) = against(local, peer) {
            return ruling;
        }
    }
    let unknown: Vec<&str> = peers
        .iter()
        .filter(|peer| matches!(peer.answer, PeerAnswer::Down(_) | PeerAnswer::Silent(_)))
        .map(|peer| peer.node.as_str())
        .collect();
    if unknown.is_empty() {
        return Ruling::Serve { warning: None };
    }
    let unknown = unknown.join(", ");
    match availability {
        Availability::Prefer => Ruling::Serve {
            warning: Some(format!(
                "{unknown} didn't say whether it is a newer primary; going ahead because guard.availability is \"prefer\""
            )),
        },
        Availability::Hold => Ruling::Hold {
            why: format!(
                "can't know whether term {} is still the newest: {unknown} doesn't answer",
                local.term.unwrap_or_default()
            ),
            hint: format!(
                "start PostgreSQL on {unknown} (as a standby), or, if it is dead for good, set guard.availability = \"prefer\""
            ),
        },
    }
}

/// Rules on a local primary whose commits wait for standbys: a majority of the voters must answer, and none of them
/// may have gone on to a higher term (rules 8 and 11).
///
/// With a `lease` that majority must also have promised nobody else a higher term: it is what renews the lease.
pub fn rule_by_votes(
    node: &str,
    local: &LocalView,
    peers: &[PeerView],
    electorate: usize,
    lease: bool,
) -> Ruling {
    for peer in peers {
        if let Some(ruling) = against(local, peer) {
            return ruling;
        }
    }
    let term = local.term.unwrap_or_default();
    let own = local.configuration.clone().unwrap_or_else(|| Configuration {
        term,
        change: 0,
        primary: node.to_owned(),
        w: 0,
        members: Vec::new(),
    });
    let heard: Vec<(&str, &Register)> =
        peers.iter().map(|peer| (peer.node.as_str(), &peer.register)).collect();
    let answers: Vec<(&str, &Register)> = peers
        .iter()
        .filter(|peer| peer.answered())
        .map(|peer| (peer.node.as_str(), &peer.register))
        .collect();
    if let Some(reason) = rules::step_down(&own, &heard, electorate) {
        return Ruling::Fence { why: reason.to_string() };
    }
    // Nobody else can have been promoted while nobody's acknowledgement counted.
    let alone = local.configuration.as_ref().is_some_and(|known| known.w == 0 && known.primary == node);
    let answered = answers.len() + 1;
    if lease && answered >= rules::majority(electorate) && !rules::renews(&own, &answers, electorate) {
        return Ruling::Hold {
            why: "the voters have promised a newer term to another node".to_owned(),
            hint: "that node waits for the end of this one's lease; `pgbaton cluster status` shows it"
                .to_owned(),
        };
    }
    if answered >= rules::majority(electorate) || (alone && electorate == 2) {
        return Ruling::Serve { warning: None };
    }
    // Those who could know better are what the operator has answered for; one that does answer was heard above.
    if alone && local.register.forced == Some(term) {
        return Ruling::Serve {
            warning: Some(format!("term {term} was taken by an operator's word, without the votes")),
        };
    }
    let silent: Vec<&str> =
        peers.iter().filter(|peer| !peer.answered()).map(|peer| peer.node.as_str()).collect();
    let silent = silent.join(", ");
    Ruling::Hold {
        why: format!(
            "only {answered} of {electorate} voters answer: {silent} may have gone on without this node"
        ),
        hint: format!("bring PostgreSQL on {silent} back: `pgbaton cluster status` shows them"),
    }
}

/// Compares the local primary with one peer; `None` when the peer is no obstacle.
fn against(local: &LocalView, peer: &PeerView) -> Option<Ruling> {
    let (server, primary) = match &peer.answer {
        PeerAnswer::Primary(server) => (server, true),
        PeerAnswer::Standby(server) => (server, false),
        PeerAnswer::Down(_) | PeerAnswer::Silent(_) | PeerAnswer::Witness => return None,
    };
    if matches!((server.system_id, local.system_id), (Some(theirs), Some(mine)) if theirs != mine) {
        return Some(Ruling::Hold {
            why: format!("{} belongs to another database cluster (its system identifier differs)", peer.node),
            hint: "is the address of the node right, and was its data folder copied from this cluster?"
                .to_owned(),
        });
    }
    let (mine, theirs) = (local.term.unwrap_or_default(), server.term.unwrap_or_default());
    if theirs > mine {
        let what = if primary { "is the primary" } else { "has data" };
        return Some(Ruling::Fence {
            why: format!("{} {what} of term {theirs}, this server's data ends in term {mine}", peer.node),
        });
    }
    if !primary || theirs < mine {
        return None;
    }
    // Two primaries that claim one term: only a different timeline tells an ancestor from a rival.
    let same_promotion = match (local.promotion_id, server.promotion_id) {
        (Some(mine), Some(theirs)) => mine == theirs,
        _ => true,
    };
    if same_promotion && server.timeline > local.timeline {
        return Some(Ruling::Fence {
            why: format!(
                "{} is a primary on timeline {}, this server is on timeline {}",
                peer.node,
                shown(server.timeline),
                shown(local.timeline)
            ),
        });
    }
    if same_promotion && server.timeline < local.timeline {
        return None;
    }
    Some(Ruling::Hold {
        why: format!("{} is a primary too and claims term {theirs} as this server does", peer.node),
        hint: format!(
            "which of the two has the newer data? stop PostgreSQL on the other, then rebuild it (compare `pgbaton cluster status` with its table pgbaton.epoch on {})",
            peer.node
        ),
    })
}

fn shown(timeline: Option<Timeline>) -> String {
    timeline.map_or_else(|| "unknown".to_owned(), |timeline| timeline.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::epoch::Term;
    use crate::promotion::rules::Confirmed;

    fn forced(w: u8, members: &[&str]) -> LocalView {
        let term = Term(4);
        let members = members.iter().map(|name| (*name).to_owned()).collect();
        LocalView {
            in_recovery: false,
            system_id: None,
            timeline: Timeline::new(2),
            term: Some(term),
            promotion_id: None,
            receiving: false,
            end: None,
            replayed: None,
            replay_paused: false,
            needs_check: None,
            last_heard: None,
            primary_known: None,
            restore_command: None,
            configuration: Some(Configuration { term, change: 0, primary: "n2".to_owned(), w, members }),
            register: Register { forced: Some(term), ..Register::default() },
            attached: true,
            upstream: None,
            paused: None,
        }
    }

    fn silent(node: &str) -> PeerView {
        PeerView::new(node, PeerAnswer::Silent("no answer".to_owned()))
    }

    #[test]
    fn a_term_taken_by_force_is_served_alone_until_somebody_knows_better() {
        let mut peers = [silent("n1"), silent("n3")];
        let ruled = |local: &LocalView, peers: &[PeerView]| rule_by_votes("n2", local, peers, 3, false);
        assert!(matches!(ruled(&forced(0, &[]), &peers), Ruling::Serve { warning: Some(_) }));
        // Without the operator's word, or once a standby's acknowledgement counts again, a majority has to answer.
        let unforced = LocalView { register: Register::default(), ..forced(0, &[]) };
        assert!(matches!(ruled(&unforced, &peers), Ruling::Hold { .. }));
        assert!(matches!(ruled(&forced(1, &["n3"]), &peers), Ruling::Hold { .. }));
        peers[1].register.confirmed = Some(Confirmed { term: Term(5), holder: "n3".to_owned() });
        assert!(matches!(ruled(&forced(0, &[]), &peers), Ruling::Fence { .. }));
    }
}
