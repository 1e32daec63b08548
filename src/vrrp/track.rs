//! What is watched beside the network, and what it does to a virtual router: a changed priority, or a fault.
//!
//! Pure: who runs scripts and reads files hands in what was seen.

use super::types::Priority;

/// What is known of something that is tracked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Seen {
    /// Nothing yet.
    #[default]
    Unknown,
    /// It is as it should be.
    Good,
    /// It isn't.
    Bad,
    /// The number in a file.
    Number(i64),
}

/// What everything that is tracked comes to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Judgement {
    /// The priority to elect with.
    pub priority: Priority,
    /// Which of them, by position, keep the router out of the election.
    pub faults: Vec<usize>,
    /// Which of them, by position, have to be known first.
    pub waits: Vec<usize>,
}

/// Judges, from what was seen of each and its weight; 0 means that it is needed.
pub fn judge(base: Priority, tracked: impl IntoIterator<Item = (i16, Seen)>) -> Judgement {
    let (mut faults, mut waits) = (Vec::new(), Vec::new());
    let mut sum = i64::from(base.0);
    for (position, (weight, seen)) in tracked.into_iter().enumerate() {
        let weight = i64::from(weight);
        match seen {
            Seen::Unknown if weight == 0 => waits.push(position),
            Seen::Bad if weight == 0 => faults.push(position),
            Seen::Good if weight > 0 => sum = sum.saturating_add(weight),
            Seen::Bad if weight < 0 => sum = sum.saturating_add(weight),
            Seen::Number(number) if weight == 0 && number != 0 => faults.push(position),
            Seen::Number(number) => {
                let change = number.saturating_mul(weight);
                if change < -LARGEST {
                    faults.push(position);
                }
                sum = sum.saturating_add(change.clamp(-LARGEST, LARGEST));
            }
            Seen::Unknown | Seen::Good | Seen::Bad => {}
        }
    }
    let bounded = u8::try_from(sum.clamp(1, 254)).map_or(Priority(254), Priority);
    let priority = if base == Priority::OWNER { base } else { bounded };
    Judgement { priority, faults, waits }
}

/// Makes one state of a row of results: the first counts at once, later ones when there are enough in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Steady {
    rise: u32,
    fall: u32,
    good: Option<bool>,
    against: u32,
}

impl Steady {
    /// Starts without a result.
    pub const fn new(rise: u32, fall: u32) -> Self {
        Self { rise, fall, good: None, against: 0 }
    }

    /// Takes a result; returns the state if it is another than before.
    pub fn take(&mut self, good: bool) -> Option<bool> {
        if self.good == Some(good) {
            self.against = 0;
            return None;
        }
        self.against = self.against.saturating_add(1);
        let needed = if good { self.rise } else { self.fall };
        if self.good.is_some() && self.against < needed {
            return None;
        }
        self.against = 0;
        self.good = Some(good);
        self.good
    }
}

/// Reads the number at the beginning of a file's text; `None` when there is none.
pub fn number(text: &str) -> Option<i64> {
    let text = text.trim_start();
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let length = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let sign = text.len().saturating_sub(digits.len());
    text.get(..sign.checked_add(length)?)?.parse().ok()
}

/// The largest change that one of them can make.
const LARGEST: i64 = 253;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(base: u8, tracked: &[(i16, Seen)]) -> (u8, Vec<usize>, Vec<usize>) {
        let Judgement { priority, faults, waits } = judge(Priority(base), tracked.iter().copied());
        (priority.0, faults, waits)
    }

    #[test]
    fn weights_move_the_priority_and_no_weight_is_a_fault() {
        use Seen::{Bad, Good, Number, Unknown};
        let none: Vec<usize> = Vec::new();
        for (tracked, priority) in [
            ((-20, Good), 100),
            ((-20, Bad), 80),
            ((20, Good), 120),
            ((20, Bad), 100),
            ((253, Good), 254),
            ((-253, Bad), 1),
            ((20, Unknown), 100),
            ((2, Number(10)), 120),
            ((-1, Number(30)), 70),
            ((1, Number(-253)), 1),
            ((1, Number(i64::MAX)), 254),
            ((0, Number(0)), 100),
            ((0, Good), 100),
        ] {
            assert_eq!(of(100, &[tracked]), (priority, none.clone(), none.clone()), "{tracked:?}");
        }
        assert_eq!(
            of(100, &[(-20, Bad), (0, Bad), (0, Good), (0, Number(1))]),
            (80, vec![1, 3], none.clone())
        );
        assert_eq!(of(100, &[(1, Number(-254))]), (1, vec![0], none.clone()));
        assert_eq!(of(100, &[(0, Unknown)]), (100, none.clone(), vec![0]));
        assert_eq!(of(255, &[(-20, Bad)]), (255, none.clone(), none));
    }

    #[test]
    fn the_first_result_counts_at_once_and_later_ones_in_a_row() {
        let mut steady = Steady::new(2, 3);
        assert_eq!(steady.take(true), Some(true));
        assert_eq!([false, false, true, false, false].map(|good| steady.take(good)), [None; 5]);
        assert_eq!(steady.take(false), Some(false));
        assert_eq!([steady.take(true), steady.take(false), steady.take(true)], [None; 3]);
        assert_eq!(steady.take(true), Some(true));
        assert_eq!(Steady::new(9, 9).take(false), Some(false));
    }

    #[test]
    fn the_number_of_a_file_is_what_it_begins_with() {
        for (text, value) in
            [("5\n", Some(5)), (" -20 x", Some(-20)), ("+3", Some(3)), ("", None), ("x1", None), ("-", None)]
        {
            assert_eq!(number(text), value, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_priority_stays_one_of_a_backup(base in 1_u8..=254, tracked in proptest::collection::vec((-253_i16..=253, any::<i64>()), 0..8)) {
            let judged = judge(Priority(base), tracked.into_iter().map(|(w, n)| (w, Seen::Number(n))));
            prop_assert!((1..=254).contains(&judged.priority.0));
        }

        #[test]
        fn any_text_is_a_number_or_none(text in ".*") {
            let _ = number(&text);
        }
    }
}
