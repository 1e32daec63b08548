//! Timeline history files on their way from one server to another: checked, and written whole.
//!
//! The check ([`HistoryFile`]) is pure and believes nothing: the name, the lines, the parents and the positions must fit
//! together. The store ([`store`]) is the edge: a file that is there and differs is never replaced, because it means
//! that two servers made the same timeline apart from each other.

use super::history::History;
use super::lsn::Timeline;
use crate::error::{Error, Result};
use crate::host::files::{Owner, read_optional, write_atomic_as};
use std::path::Path;

/// The most octets of a history file that are taken; a line is some sixty octets.
pub const LARGEST: usize = 1024 * 1024;

/// A history file as it came: the octets that are written, and what they say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryFile {
    /// What the file says.
    pub history: History,
    /// Its octets, unchanged.
    pub content: Vec<u8>,
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It was written.
    Written,
    /// The same octets were there.
    Unchanged,
}

impl HistoryFile {
    /// Reads a history file: its name and its content as a server sent them.
    pub fn check(name: &str, content: Vec<u8>) -> Result<Self> {
        let bad = |why: String| {
            Error::failed(format!("\"{}\" isn't a timeline history file", name.escape_debug())).detail(why)
        };
        let timeline = Timeline::of_history_file(name)
            .ok_or_else(|| bad("the name must be eight hexadecimal digits and .history".to_owned()))?;
        if content.len() > LARGEST {
            return Err(bad(format!("it is longer than {LARGEST} octets")));
        }
        let text = std::str::from_utf8(&content).map_or_else(
            // The reason is free text in any encoding; the numbers are ASCII.
            |_| String::from_utf8_lossy(&content).into_owned(),
            str::to_owned,
        );
        let history = History::parse(timeline, &text).map_err(|error| bad(error.to_string()))?;
        if timeline != Timeline::FIRST && history.parent().is_none() {
            return Err(bad("it names no parent".to_owned()));
        }
        Ok(Self { history, content })
    }

    /// Returns the timeline of the file.
    pub const fn timeline(&self) -> Timeline {
        self.history.timeline()
    }

    /// Refuses a file that contradicts another: where both name a timeline, both must leave it at one position, and
    /// a file must hold its parents' whole lines.
    pub fn agrees_with(&self, other: &Self) -> Result<()> {
        let (older, newer) = if self.timeline() <= other.timeline() { (self, other) } else { (other, self) };
        // Siblings may differ; a parent may not.
        if newer.history.fork_of(older.timeline()).is_none() {
            return Ok(());
        }
        let count = older.history.forks().len();
        let inherited = newer.history.forks().iter().take(count);
        let same = inherited.zip(older.history.forks()).all(|(a, b)| (a.parent, a.at) == (b.parent, b.at));
        if same && newer.history.forks().get(count).is_some_and(|fork| fork.parent == older.timeline()) {
            return Ok(());
        }
        Err(Error::refused("two history files contradict each other")
            .detail(format!(
                "{} isn't the continuation of {}",
                newer.timeline().history_file_name(),
                older.timeline().history_file_name()
            ))
            .hint("are these the files of one cluster? compare them before anything is copied by hand"))
    }
}

/// Refuses to go on when the folder has another file of that name; returns whether the same one is there.
pub fn compare(folder: &Path, timeline: Timeline, content: &[u8]) -> Result<bool> {
    let path = folder.join(timeline.history_file_name());
    let Some(there) = read_optional(&path, u64::try_from(LARGEST).unwrap_or(u64::MAX))? else {
        return Ok(false);
    };
    if there == content {
        return Ok(true);
    }
    let message =
        format!("{} is there with another content: timeline {timeline} was made twice", path.display());
    Err(Error::refused(message)
        .detail(first_difference(&there, content))
        .hint("the two servers went apart; find out which one has the data you want, and rebuild the other")
        .hint(format!("cat {}", path.display())))
}

/// Writes a history file into a folder, whole and durable, as the folder's owner, readable by that owner only.
pub fn store(folder: &Path, timeline: Timeline, content: &[u8]) -> Result<Stored> {
    // Looked at again: between the plan and now the server may have fetched it by itself.
    if compare(folder, timeline, content)? {
        return Ok(Stored::Unchanged);
    }
    let path = folder.join(timeline.history_file_name());
    write_atomic_as(&path, content, 0o600, Owner::LikeDirectory)?;
    Ok(Stored::Written)
}

/// Describes the first line in which two files differ.
fn first_difference(here: &[u8], there: &[u8]) -> String {
    let (here, there) = (String::from_utf8_lossy(here), String::from_utf8_lossy(there));
    let (mut mine, mut theirs) = (here.lines(), there.lines());
    let mut number = 0_u32;
    loop {
        number = number.saturating_add(1);
        let show = |line: Option<&str>| match line {
            Some(line) => format!("\"{}\"", line.escape_debug()),
            None => "nothing".to_owned(),
        };
        match (mine.next(), theirs.next()) {
            (None, None) => return "they differ in their line ends".to_owned(),
            (a, b) if a != b => {
                return format!("line {number} here: {}; from the other server: {}", show(a), show(b));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::host::files::tests::Scratch;
    use proptest::prelude::*;
    use std::os::unix::fs::MetadataExt as _;

    const SECOND: &[u8] = b"1\t0/40000A0\tno recovery target specified\n";
    const THIRD: &[u8] = b"1\t0/40000A0\tno recovery target specified\n\n2\t0/4000FA0\tx\n";

    fn file(name: &str, content: &[u8]) -> HistoryFile {
        HistoryFile::check(name, content.to_vec()).unwrap()
    }

    #[test]
    fn a_name_that_is_no_history_file_s_is_refused_so_that_nothing_is_written_elsewhere() {
        for name in
            ["../../etc/passwd", "00000002.history/", "2.history", "0000000a.history", "00000000.history"]
        {
            assert!(HistoryFile::check(name, SECOND.to_vec()).is_err(), "{name}");
        }
        assert!(HistoryFile::check("00000002.history", Vec::new()).is_err());
    }

    #[test]
    fn a_chain_must_fit_together() {
        let (second, third) = (file("00000002.history", SECOND), file("00000003.history", THIRD));
        assert!(third.agrees_with(&second).is_ok());
        let other = file("00000002.history", b"1\t0/50000A0\tx\n");
        let error = third.agrees_with(&other).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        let sibling = file("00000004.history", b"1\t0/30\tx\n");
        assert!(sibling.agrees_with(&third).is_ok());
    }

    #[test]
    fn a_file_is_written_once_and_a_different_one_is_never_replaced() {
        let scratch = Scratch::new();
        let two = Timeline::new(2).unwrap();
        assert_eq!(store(&scratch.0, two, SECOND).unwrap(), Stored::Written);
        assert_eq!(store(&scratch.0, two, SECOND).unwrap(), Stored::Unchanged);
        let path = scratch.0.join("00000002.history");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        let error = store(&scratch.0, two, b"1\t0/50000A0\tx\n").unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        let detail = error.detail_text().unwrap();
        assert!(detail.contains("0/40000A0") && detail.contains("0/50000A0"), "{detail}");
        assert_eq!(std::fs::read(path).unwrap(), SECOND);
    }

    proptest! {
        #[test]
        fn no_octets_make_the_check_panic(content in prop::collection::vec(any::<u8>(), 0..120), name in ".{0,20}") {
            drop((HistoryFile::check(&name, content.clone()), HistoryFile::check("00000007.history", content)));
        }
    }
}
