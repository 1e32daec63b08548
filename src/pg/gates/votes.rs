//! The gate of the votes, where commits wait for standbys: what asking for them would come to, and an operator's word in
//! their place. Pure.

use super::{Evidence, Foreseen, Gate, LocalView, PeerAnswer, PeerView, Policy, Said, next_term};
use crate::pg::epoch::PromotionId;
use crate::promotion::rules::{self, Ask, Frozen, Standing, Vote};

/// Returns whether an operator overrides votes that wouldn't be enough; where they are, there is nothing to override.
pub fn votes_overridden(policy: &Policy, evidence: &Evidence) -> bool {
    policy.votes && policy.forced.contains(&Gate::Votes) && matches!(evidence.votes, Foreseen::Short(_))
}

/// Foresees what asking the other voters would come to, from what they have just said (rules 1 to 5). `peers` holds the
/// witness too.
pub fn foresee(node: &str, local: &LocalView, peers: &[PeerView], electorate: usize) -> Foreseen {
    let term = next_term(local, peers);
    let ask = Ask { term, holder: node.to_owned(), id: PromotionId::from_random([0; 16]) };
    let standing = |voter: &str| Standing { voter: voter.to_owned(), ..Standing::default() };
    let held_by_another = local.register.open().is_some_and(|promise| promise.holder != node);
    if held_by_another || local.register.unfit {
        // Its own earlier candidacy it can give up, another's promise it can't.
        return match local.register.promise(&ask, &standing(node)) {
            Err(refusal) => Foreseen::Short(format!("this node may not stand: {refusal}")),
            Ok(_) => Foreseen::NotJudged,
        };
    }
    let mut refusals = Vec::new();
    let mut given = vec![Vote {
        voter: node.to_owned(),
        data: Some(Frozen {
            epoch: local.term.unwrap_or_default(),
            end: local.end.unwrap_or_default(),
            configuration: local.configuration.clone(),
        }),
        record: local.register.record.clone(),
    }];
    for peer in peers {
        let data = match &peer.answer {
            PeerAnswer::Standby(server) => Some(Frozen {
                epoch: server.term.unwrap_or_default(),
                end: server.end.unwrap_or_default(),
                configuration: None,
            }),
            PeerAnswer::Witness => None,
            other => {
                refusals.push(format!("{}: {other}", peer.node));
                continue;
            }
        };
        match peer.register.promise(&ask, &standing(&peer.node)) {
            Ok(promised) => given.push(Vote { voter: peer.node.clone(), data, record: promised.record }),
            Err(refusal) => refusals.push(format!("{}: {refusal}", peer.node)),
        }
    }
    match rules::enough(&ask, &given, electorate) {
        Ok(_) => {
            let who: Vec<&str> = given.iter().map(|vote| vote.voter.as_str()).collect();
            Foreseen::Enough(format!("{} would vote, of {electorate} voters", who.join(", ")))
        }
        Err(rules::Shortage::Lease { holder }) => {
            Foreseen::Enough(format!("the voters would vote; the lease of {holder} is waited for"))
        }
        Err(shortage) if refusals.is_empty() => Foreseen::Short(format!("not enough votes: {shortage}")),
        Err(shortage) => Foreseen::Short(format!("not enough votes: {shortage} ({})", refusals.join("; "))),
    }
}

pub(super) fn votes(policy: &Policy, evidence: &Evidence) -> Said {
    if !policy.votes {
        return Said::pass("commits wait for nobody: nobody votes");
    }
    match &evidence.votes {
        Foreseen::NotJudged => Said::pass("the votes are asked for before the promotion"),
        Foreseen::Enough(why) => Said::pass(why),
        Foreseen::Short(why) => Said::refuse(format!(
            "{why}: without them, acknowledged commits that only the others hold are lost"
        ))
        .hint(
            "bring back one of the other nodes, or its PostgreSQL (pgbaton cluster status); if they are gone for good: \
             pgbaton pg promote --force votes",
        ),
    }
}
