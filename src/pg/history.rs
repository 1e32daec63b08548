//! Timeline history files: which server's log is an ancestor of which.
//!
//! Pure. A file says from which timelines this one descends and where each was left. `PostgreSQL` writes a blank
//! line before every line but the first, and takes comments, so both are skipped. See
//! "Timelines" in `PostgreSQL`'s chapter on continuous archiving.

use super::lsn::{Lsn, Timeline};
use std::fmt::Write as _;

/// The history of one timeline: its ancestors, oldest first, and where each was left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    timeline: Timeline,
    forks: Vec<Fork>,
}

/// One line of a history file: a timeline, and the end of the part of it that belongs to this history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fork {
    /// The timeline that was left.
    pub parent: Timeline,
    /// The end of the last record kept from it, and the first byte of the next timeline.
    pub at: Lsn,
    /// Why, in the server's words; only for people.
    pub reason: String,
}

/// The last position that two histories share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommonPoint {
    /// The newest timeline that both went through.
    pub timeline: Timeline,
    /// The position on it up to which both have the same log; `None` when both are still on it.
    pub until: Option<Lsn>,
}

/// Why a text isn't a history file. Line numbers begin at 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// The line doesn't hold a timeline and a position.
    #[error("line {0} of the history file holds no timeline and position")]
    Line(usize),
    /// Timelines only grow along a history.
    #[error("line {0} of the history file: timelines must increase")]
    TimelineOrder(usize),
    /// A timeline can't be left before it began.
    #[error("line {0} of the history file: positions must not decrease")]
    PositionOrder(usize),
    /// The parents must be older than the timeline that the file belongs to.
    #[error("the history file of timeline {own} names timeline {parent} as its parent")]
    NotOlder {
        /// The timeline of the file's name.
        own: Timeline,
        /// What the file says.
        parent: Timeline,
    },
}

impl History {
    /// Creates the history of a timeline without ancestors. Timeline 1 has no file: this is its history.
    pub const fn root(timeline: Timeline) -> Self {
        Self { timeline, forks: Vec::new() }
    }

    /// Reads the history file of `timeline` (the number is in the file's name, not in the file).
    pub fn parse(timeline: Timeline, text: &str) -> Result<Self, HistoryError> {
        let mut forks: Vec<Fork> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (parent, rest) = cut_word(line).ok_or(HistoryError::Line(number))?;
            let (at, reason) = cut_word(rest).unwrap_or((rest, ""));
            let parent: Timeline = parent.parse().map_err(|_| HistoryError::Line(number))?;
            let at: Lsn = at.parse().map_err(|_| HistoryError::Line(number))?;
            if let Some(last) = forks.last() {
                if parent <= last.parent {
                    return Err(HistoryError::TimelineOrder(number));
                }
                if at < last.at {
                    return Err(HistoryError::PositionOrder(number));
                }
            }
            if parent >= timeline {
                return Err(HistoryError::NotOlder { own: timeline, parent });
            }
            forks.push(Fork { parent, at, reason: reason.to_owned() });
        }
        Ok(Self { timeline, forks })
    }

    /// Returns the text of the file, in the layout that the server writes.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for fork in &self.forks {
            let gap = if text.is_empty() { "" } else { "\n" };
            // Writing to a String can't fail.
            writeln!(text, "{gap}{}\t{}\t{}", fork.parent, fork.at, fork.reason).unwrap_or_default();
        }
        text
    }

    /// Returns the timeline that this history ends with.
    pub const fn timeline(&self) -> Timeline {
        self.timeline
    }

    /// Returns the ancestors, oldest first.
    pub fn forks(&self) -> &[Fork] {
        &self.forks
    }

    /// Returns the timeline that this one forked off from, and where; `None` for a first timeline.
    pub fn parent(&self) -> Option<&Fork> {
        self.forks.last()
    }

    /// Returns where this history leaves `timeline`; `None` when it isn't an ancestor.
    pub fn fork_of(&self, timeline: Timeline) -> Option<Lsn> {
        self.forks.iter().find(|fork| fork.parent == timeline).map(|fork| fork.at)
    }

    /// Returns whether a log that ends at `lsn` on `timeline` is a prefix of this history, so that the server with
    /// that log can follow it by streaming alone.
    ///
    /// For this history's own timeline the answer is yes: whether `lsn` is beyond the other server's end, or the
    /// timeline was made twice (two promotions at one position), no history file can tell; compare epochs.
    pub fn contains(&self, timeline: Timeline, lsn: Lsn) -> bool {
        timeline == self.timeline || self.fork_of(timeline).is_some_and(|end| lsn <= end)
    }

    /// Returns the last position that this history and another share; `None` when they share no timeline.
    pub fn common_point(&self, other: &Self) -> Option<CommonPoint> {
        // A timeline is shared only while everything before it is: parents must agree from the oldest on.
        let mut common = None;
        let mut mine = self.steps();
        let mut theirs = other.steps();
        loop {
            match (mine.next(), theirs.next()) {
                (Some((a, a_end)), Some((b, b_end))) if a == b => {
                    let until = match (a_end, b_end) {
                        (Some(x), Some(y)) => Some(x.min(y)),
                        (one, None) | (None, one) => one,
                    };
                    common = Some(CommonPoint { timeline: a, until });
                    if a_end != b_end {
                        return common;
                    }
                }
                _ => return common,
            }
        }
    }

    /// Every timeline of this history, oldest first, with its end (the last has none).
    fn steps(&self) -> impl Iterator<Item = (Timeline, Option<Lsn>)> + '_ {
        let past = self.forks.iter().map(|fork| (fork.parent, Some(fork.at)));
        past.chain(std::iter::once((self.timeline, None)))
    }
}

/// Cuts the first word off; `None` when nothing but that word is there.
fn cut_word(text: &str) -> Option<(&str, &str)> {
    text.split_once(char::is_whitespace).map(|(word, rest)| (word, rest.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tli(number: u32) -> Timeline {
        Timeline::new(number).unwrap()
    }

    fn lsn(text: &str) -> Lsn {
        text.parse().unwrap()
    }

    const THIRD: &str =
        "1\t0/40000A0\tno recovery target specified\n\n2\t0/4000FA0\tno recovery target specified\n";

    #[test]
    fn a_file_with_blank_lines_and_comments_is_read() {
        let text = format!("# by hand\n\n{THIRD}  \n#\n");
        let history = History::parse(tli(3), &text).unwrap();
        assert_eq!(history.fork_of(tli(1)), Some(lsn("0/40000A0")));
        assert_eq!(history.fork_of(tli(2)), Some(lsn("0/4000FA0")));
        assert_eq!(history.fork_of(tli(3)), None);
        assert_eq!(history.parent().unwrap().parent, tli(2));
        assert_eq!(history.parent().unwrap().reason, "no recovery target specified");
    }

    #[test]
    fn the_server_s_own_layout_is_kept() {
        assert_eq!(History::parse(tli(3), THIRD).unwrap().to_text(), THIRD);
    }

    #[test]
    fn a_line_without_a_reason_is_read() {
        let history = History::parse(tli(2), "1\t0/10").unwrap();
        assert_eq!(history.forks(), [Fork { parent: tli(1), at: lsn("0/10"), reason: String::new() }]);
    }

    #[test]
    fn wrong_files_are_refused_with_the_line() {
        assert_eq!(History::parse(tli(2), "1"), Err(HistoryError::Line(1)));
        assert_eq!(History::parse(tli(2), "\none\t0/1\tx"), Err(HistoryError::Line(2)));
        assert_eq!(History::parse(tli(9), "2\t0/1\tx\n\n2\t0/2\tx"), Err(HistoryError::TimelineOrder(3)));
        assert_eq!(History::parse(tli(9), "1\t0/9\tx\n\n2\t0/2\tx"), Err(HistoryError::PositionOrder(3)));
        let not_older = HistoryError::NotOlder { own: tli(2), parent: tli(2) };
        assert_eq!(History::parse(tli(2), "2\t0/9\tx"), Err(not_older));
    }

    #[test]
    fn a_log_that_ends_at_the_fork_is_contained_and_one_byte_more_is_not() {
        let history = History::parse(tli(3), THIRD).unwrap();
        assert!(history.contains(tli(1), lsn("0/40000A0")));
        assert!(!history.contains(tli(1), lsn("0/40000A1")));
        assert!(history.contains(tli(3), lsn("FF/0")));
        assert!(!history.contains(tli(4), lsn("0/1")));
    }

    #[test]
    fn siblings_share_their_parent_up_to_the_earlier_fork() {
        let second = History::parse(tli(2), "1\t0/40\tx").unwrap();
        let third = History::parse(tli(3), "1\t0/30\tx").unwrap();
        let common = CommonPoint { timeline: tli(1), until: Some(lsn("0/30")) };
        assert_eq!(second.common_point(&third), Some(common));
        assert_eq!(third.common_point(&second), Some(common));
    }

    #[test]
    fn a_descendant_shares_its_ancestor_up_to_the_fork() {
        let third = History::parse(tli(3), THIRD).unwrap();
        let second = History::parse(tli(2), "1\t0/40000A0\tx").unwrap();
        let common = CommonPoint { timeline: tli(2), until: Some(lsn("0/4000FA0")) };
        assert_eq!(third.common_point(&second), Some(common));
        assert_eq!(third.common_point(&third), Some(CommonPoint { timeline: tli(3), until: None }));
        assert_eq!(third.common_point(&History::root(tli(7))), None);
    }

    fn any_history() -> impl Strategy<Value = History> {
        prop::collection::vec((1u32..4, 0u64..1000, "[a-z ]{0,9}"), 0..6).prop_map(|steps| {
            let (mut timeline, mut at, mut forks) = (1u32, 0u64, Vec::new());
            for (jump, bytes, reason) in steps {
                at += bytes;
                forks.push(Fork { parent: tli(timeline), at: Lsn(at), reason: reason.trim().to_owned() });
                timeline += jump;
            }
            History { timeline: tli(timeline), forks }
        })
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(?s).{0,80}", own in 1u32..) {
            History::parse(tli(own), &text).ok();
        }

        #[test]
        fn a_history_survives_its_text_form(history in any_history()) {
            let again = History::parse(history.timeline(), &history.to_text()).unwrap();
            prop_assert_eq!(again, history);
        }

        #[test]
        fn the_common_point_is_contained_in_both(a in any_history(), b in any_history()) {
            if let Some(CommonPoint { timeline, until: Some(end) }) = a.common_point(&b) {
                prop_assert!(a.contains(timeline, end) && b.contains(timeline, end));
            }
        }

        #[test]
        fn no_two_histories_disagree_about_their_common_point(a in any_history(), b in any_history()) {
            prop_assert_eq!(a.common_point(&b), b.common_point(&a));
        }
    }
}
