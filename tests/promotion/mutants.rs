//! Every rule taken away or weakened, and how the model notices.

use super::cluster::Mutant;
use pgbaton::pg::epoch::Term;
use pgbaton::promotion::rules::{Ask, Configuration, Enough, Shortage, Vote, enough};

/// Calls `enough` for a mutant that weakens it, or for none.
pub fn enough_with(
    mutant: Option<Mutant>,
    ask: &Ask,
    votes: &mut Vec<Vote>,
    voters: usize,
) -> Result<Enough, Shortage> {
    let candidate = ask.holder.as_str();
    let whole = |votes: &[Vote]| enough(ask, votes, voters);
    match mutant {
        Some(Mutant::MajorityOnly) => match whole(votes) {
            Err(Shortage::Members { .. }) => {
                // The old primary is taken as frozen: its data then counts for all members.
                let newest = newest(votes);
                let end = votes.iter().filter_map(|vote| vote.data.as_ref()).map(|data| data.end).max().unwrap();
                let best = votes.iter().find(|vote| vote.data.as_ref().is_some_and(|data| data.end == end)).unwrap();
                Ok(Enough { configuration: newest, best: best.voter.clone(), end })
            }
            other => other,
        },
        Some(Mutant::OwnTermInTheLog) => enough(&Ask { term: Term(99), ..ask.clone() }, votes, voters),
        // As if there were no more voters than answer.
        Some(Mutant::MembersOnly) => enough(ask, votes, votes.len()),
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
        Some(Mutant::ResumesAlone) if newest(votes).primary == candidate => enough(ask, votes, 1),
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
            Ok(Enough { best, end, ..told })
        }
        _ => whole(votes),
    }
}

fn newest(votes: &[Vote]) -> Configuration {
    let logs = votes.iter().filter_map(|vote| vote.data.as_ref()?.configuration.clone());
    let records = votes.iter().filter_map(|vote| vote.record.clone());
    logs.chain(records).max_by_key(|known| known.version()).unwrap()
}

trait Newer {
    fn max_by_version(self, other: Self) -> Self;
}

impl Newer for Option<Configuration> {
    fn max_by_version(self, other: Self) -> Self {
        match (self, other) {
            (Some(one), Some(other)) if other.version() > one.version() => Some(other),
            (None, other) => other,
            (one, _) => one,
        }
    }
}
