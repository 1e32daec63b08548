//! Every rule taken away or weakened, and how the model notices.

use super::cluster::Mutant;
use super::tables::Enough;
use pgbaton::promotion::rules::{Shortage, Vote};

/// Calls `enough` for a mutant that weakens it, or for none.
pub fn enough_with(
    mutant: Option<Mutant>,
    candidate: &str,
    votes: &mut Vec<Vote>,
    voters: usize,
    enough: Enough,
) -> Result<pgbaton::promotion::rules::Enough, Shortage> {
    let whole = |votes: &[Vote]| enough(candidate, votes, voters);
    match mutant {
        Some(Mutant::MajorityOnly) => match whole(votes) {
            Err(Shortage::Members { .. }) => {
                // The old primary is taken as frozen: its data then counts for all members.
                let newest = newest(votes);
                let end = votes.iter().filter_map(|vote| vote.data.as_ref()).map(|data| data.end).max().unwrap();
                let best = votes.iter().find(|vote| vote.data.as_ref().is_some_and(|data| data.end == end)).unwrap();
                Ok(pgbaton::promotion::rules::Enough { configuration: newest, best: best.voter.clone(), end })
            }
            other => other,
        },
        // As if there were no more voters than answer.
        Some(Mutant::MembersOnly) => enough(candidate, votes, votes.len()),
        Some(Mutant::NoRecords) => {
            for vote in votes.iter_mut().filter(|vote| vote.voter != candidate) {
                vote.record = None;
            }
            whole(votes)
        }
        Some(Mutant::OwnConfiguration) => {
            for vote in votes.iter_mut().filter(|vote| vote.voter != candidate) {
                vote.record = None;
                if let Some(data) = &mut vote.data {
                    data.configuration = None;
                }
            }
            whole(votes)
        }
        Some(Mutant::OneMemberLess) => {
            let newest = newest(votes);
            let missing = newest.members.iter().find(|member| !votes.iter().any(|vote| vote.voter == **member));
            match (whole(votes), missing) {
                (Err(Shortage::Members { .. }), Some(missing)) => {
                    let mut data = votes.iter().find(|vote| vote.voter == candidate).cloned().unwrap();
                    data.voter.clone_from(missing);
                    votes.push(data);
                    whole(votes)
                }
                (told, _) => told,
            }
        }
        Some(Mutant::ResumesAlone) if newest(votes).primary == candidate => enough(candidate, votes, 1),
        Some(Mutant::ResumesByItsLog) => {
            for vote in votes.iter_mut().filter(|vote| vote.voter == candidate) {
                vote.record = vote.data.as_ref().and_then(|data| data.configuration.clone()).max_by_version(vote.record.take());
            }
            whole(votes)
        }
        Some(Mutant::AnyOldPrimary) => {
            let newest = newest(votes);
            for vote in votes.iter_mut().filter(|vote| vote.voter == newest.primary) {
                if let Some(data) = &mut vote.data {
                    data.epoch = newest.term;
                }
            }
            whole(votes)
        }
        Some(Mutant::BestByPosition) => {
            let told = whole(votes)?;
            let own = votes.iter().find(|vote| vote.voter == candidate).and_then(|vote| vote.data.as_ref());
            let ends = votes.iter().filter_map(|vote| vote.data.as_ref().map(|data| (data.end, &vote.voter)));
            let (end, best) = ends.max().unwrap();
            let best = if own.is_some_and(|own| own.end == end) { candidate.to_owned() } else { best.clone() };
            Ok(pgbaton::promotion::rules::Enough { best, end, ..told })
        }
        _ => whole(votes),
    }
}

fn newest(votes: &[Vote]) -> pgbaton::promotion::rules::Configuration {
    let logs = votes.iter().filter_map(|vote| vote.data.as_ref()?.configuration.clone());
    let records = votes.iter().filter_map(|vote| vote.record.clone());
    logs.chain(records).max_by_key(|known| known.version()).unwrap()
}

trait Newer {
    fn max_by_version(self, other: Self) -> Self;
}

impl Newer for Option<pgbaton::promotion::rules::Configuration> {
    fn max_by_version(self, other: Self) -> Self {
        match (self, other) {
            (Some(one), Some(other)) if other.version() > one.version() => Some(other),
            (None, other) => other,
            (one, _) => one,
        }
    }
}
