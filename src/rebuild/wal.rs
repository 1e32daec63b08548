//! Where records and segments are: the arithmetic of the write-ahead log's files, and what `pg_waldump` prints. Pure.

use crate::pg::lsn::{Lsn, Timeline};
use serde::Serialize;

/// The size of a page of the log; every package is built with it.
const PAGE: u64 = 8192;
/// The header of a page, and that of a segment's first page.
const SHORT_HEADER: u64 = 24;
const LONG_HEADER: u64 = 40;

/// Returns the name of the segment file that holds the byte at `at`.
pub fn segment_name(timeline: Timeline, at: Lsn, size: u64) -> String {
    named_segment(timeline, at.0.checked_div(size).unwrap_or(0), size)
}

/// Returns the name of a segment by its number.
pub fn named_segment(timeline: Timeline, number: u64, size: u64) -> String {
    let per_id = 0x1_0000_0000_u64.checked_div(size).unwrap_or(1).max(1);
    let (high, low) = (number.checked_div(per_id).unwrap_or(0), number.checked_rem(per_id).unwrap_or(0));
    format!("{:08X}{high:08X}{low:08X}", timeline.get())
}

/// Returns the timeline and the number of the segment with this file name; `None` for a name that no segment of this
/// size has.
pub fn parse_segment(name: &str, size: u64) -> Option<(Timeline, u64)> {
    let timeline = Timeline::of_wal_file(name)?;
    let high = u64::from_str_radix(name.get(8..16)?, 16).ok()?;
    let low = u64::from_str_radix(name.get(16..24)?, 16).ok()?;
    let per_id = 0x1_0000_0000_u64.checked_div(size)?;
    if low >= per_id {
        return None;
    }
    Some((timeline, high.checked_mul(per_id)?.checked_add(low)?))
}

/// Returns where a record of `length` bytes (its `xl_tot_len`) that begins at `start` ends, as the server counts:
/// rounded up to eight bytes, with the headers of the pages it crosses.
pub fn record_end(start: Lsn, length: u32, size: u64) -> Option<Lsn> {
    let mut left = u64::from(length).checked_next_multiple_of(8)?;
    let mut at = start.0;
    loop {
        let room = PAGE.checked_sub(at.checked_rem(PAGE)?)?;
        if left <= room {
            return Some(Lsn(at.checked_add(left)?));
        }
        left = left.checked_sub(room)?;
        at = at.checked_add(room)?;
        let header = if at.checked_rem(size)? == 0 { LONG_HEADER } else { SHORT_HEADER };
        at = at.checked_add(header)?;
    }
}

/// Returns the address that the first page of a segment says it is at (`xlp_pageaddr` of its header, in this machine's
/// byte order), from the first 16 bytes.
pub fn first_address(header: [u8; 16]) -> Option<Lsn> {
    let octets = header.last_chunk::<8>()?;
    Some(Lsn(u64::from_ne_bytes(*octets)))
}

/// One line of `pg_waldump`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// Where it begins.
    pub at: Lsn,
    /// Its length.
    pub length: u32,
    /// The transaction; 0 for none.
    pub transaction: u64,
    /// What it says.
    pub description: &'a str,
}

/// Reads one line of `pg_waldump`; `None` for what isn't a record.
pub fn parse_record(line: &str) -> Option<Record<'_>> {
    let after = |label: &str| line.split_once(label).map(|(_, rest)| rest.trim_start());
    let word = |text: &str| text.split([',', ' ']).next().unwrap_or_default().to_owned();
    let total = after("len (rec/tot):")?.split_once('/')?.1.trim_start();
    Some(Record {
        at: word(after(", lsn:")?).parse().ok()?,
        length: word(total).parse().ok()?,
        transaction: word(after(", tx:")?).parse().ok()?,
        description: after("desc: ")?,
    })
}

/// Returns where the record after this one begins, or would: after a switch, in the next segment.
pub fn next_record(record: &Record<'_>, size: u64) -> Option<Lsn> {
    let end = record_end(record.at, record.length, size)?;
    if record.description.trim_end() == "SWITCH" {
        return end.0.checked_next_multiple_of(size).map(Lsn);
    }
    Some(end)
}

/// A transaction that is only in the part of the log that will be dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// Its number.
    pub transaction: u64,
    /// Where its commit record is.
    pub lsn: String,
    /// When it was committed, by the server's clock.
    pub committed_at: String,
}

/// Returns the transaction that a line of `pg_waldump` commits.
pub fn commit(line: &str) -> Option<Lost> {
    let record = parse_record(line)?;
    let rest = record
        .description
        .strip_prefix("COMMIT_PREPARED ")
        .or_else(|| record.description.strip_prefix("COMMIT "))?;
    let committed_at = rest.split(';').next().unwrap_or_default().trim();
    // "2026-11-22 15:50:00.123456 UTC", for a prepared one with its number before.
    let committed_at = committed_at.split_once(": ").map_or(committed_at, |(_, time)| time);
    Some(Lost {
        transaction: record.transaction,
        lsn: record.at.to_string(),
        committed_at: committed_at.to_owned(),
    })
}

/// Returns what a progress line of `pg_basebackup` or `pg_rewind` says: done and total, in bytes.
pub fn progress(line: &str) -> Option<(u64, u64)> {
    let (done, rest) = line.trim_start().split_once('/')?;
    let (total, rest) = rest.split_once(' ')?;
    if !rest.starts_with("kB") {
        return None;
    }
    let bytes = |text: &str| text.parse::<u64>().ok()?.checked_mul(1024);
    Some((bytes(done)?, bytes(total)?))
}

/// Returns whether `pg_rewind` says with this line that its looking is over: what comes next is written.
pub fn rewind_writes(line: &str) -> bool {
    line.contains("need to copy ") || progress(line).is_some()
}

/// A checkpoint in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// Where its record is.
    pub at: Lsn,
    /// Where the replay begins that starts from it.
    pub redo: Lsn,
}

/// Returns the checkpoint that a line of `pg_waldump` is the record of.
pub fn checkpoint(line: &str) -> Option<Checkpoint> {
    let record = parse_record(line)?;
    let kinds = ["CHECKPOINT_ONLINE redo ", "CHECKPOINT_SHUTDOWN redo "];
    let rest = kinds.iter().find_map(|kind| record.description.strip_prefix(kind))?;
    let redo = rest.split([';', ',', ' ']).next()?.parse().ok()?;
    Some(Checkpoint { at: record.at, redo })
}

/// Returns the segments from which to read up to `until`, so that the log is read back to where it is whole and no more
/// than twice: 1, 2, 4, ... segments. It begins with the newest one that is here: a server that left a timeline in the
/// middle of a segment has that one under the name of the next timeline, and the log may end before `until`.
pub fn windows(here: &[(Timeline, u64)], timeline: Timeline, until: Lsn, size: u64) -> Vec<u64> {
    let has = |number: u64| here.contains(&(timeline, number));
    let end = until.0.saturating_sub(1).checked_div(size).unwrap_or(0);
    let numbers = here.iter().filter(|(other, number)| *other == timeline && *number <= end);
    let Some(last) = numbers.map(|(_, number)| *number).max() else { return Vec::new() };
    let mut first = last;
    let mut found = Vec::new();
    let mut length = 1_u64;
    loop {
        let wanted = last.saturating_sub(length.saturating_sub(1));
        while first > wanted && has(first.saturating_sub(1)) {
            first = first.saturating_sub(1);
        }
        if found.last() != Some(&first) {
            found.push(first);
        }
        if first > wanted || first == 0 {
            return found;
        }
        length = length.saturating_mul(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIZE: u64 = 16 << 20;

    fn lsn(text: &str) -> Lsn {
        text.parse().unwrap()
    }

    #[test]
    fn a_segment_has_the_name_that_the_server_gives_it() {
        let two = Timeline::new(2).unwrap();
        assert_eq!(segment_name(two, lsn("0/40000A0"), SIZE), "000000020000000000000004");
        assert_eq!(segment_name(two, lsn("1/FF000000"), SIZE), "0000000200000001000000FF");
        assert_eq!(parse_segment("0000000200000001000000FF", SIZE), Some((two, 511)));
        assert_eq!(parse_segment("00000002.history", SIZE), None);
    }

    #[test]
    fn a_shutdown_checkpoint_ends_where_the_next_timeline_begins() {
        assert_eq!(record_end(lsn("0/4000028"), 114, SIZE), Some(lsn("0/40000A0")));
    }

    #[test]
    fn a_record_that_crosses_pages_carries_their_headers() {
        // 32 bytes of room, then a page's header, then the rest.
        assert_eq!(record_end(lsn("0/4001FE0"), 114, SIZE), Some(lsn("0/4002070")));
        assert_eq!(record_end(lsn("0/4FFFFE0"), 114, SIZE), Some(lsn("0/5000080")));
        assert_eq!(record_end(lsn("0/4001F88"), 120, SIZE), Some(lsn("0/4002000")));
    }

    #[test]
    fn the_lines_of_pg_waldump_are_read() {
        let line = "rmgr: Transaction len (rec/tot):     34/    34, tx:        737, lsn: 0/0300A1B8, prev 0/0300A178, desc: COMMIT 2026-11-22 15:50:00.123456 UTC; inval msgs: catcache 7";
        let lost = commit(line).unwrap();
        assert_eq!((lost.transaction, lost.lsn.as_str()), (737, "0/300A1B8"));
        assert_eq!(lost.committed_at, "2026-11-22 15:50:00.123456 UTC");
        let prepared = line.replace("COMMIT 2026", "COMMIT_PREPARED 740: 2026");
        assert_eq!(commit(&prepared).unwrap().committed_at, "2026-11-22 15:50:00.123456 UTC");
        assert!(commit(&line.replace("COMMIT", "ABORT")).is_none());
        assert!(commit("pg_waldump: error: error in WAL record at 0/1: invalid record length").is_none());
    }

    #[test]
    fn after_a_switch_the_log_goes_on_in_the_next_segment() {
        let line = "rmgr: XLOG        len (rec/tot):     24/    24, tx:          0, lsn: 0/22B615A0, prev 0/22B61560, desc: SWITCH ";
        assert_eq!(next_record(&parse_record(line).unwrap(), SIZE), Some(lsn("0/23000000")));
        let other = line.replace("SWITCH", "NOOP");
        assert_eq!(next_record(&parse_record(&other).unwrap(), SIZE), Some(lsn("0/22B615B8")));
    }

    #[test]
    fn progress_is_read_from_both_programs() {
        assert_eq!(progress("   1024/2048 kB (50%), 0/1 tablespace"), Some((1 << 20, 2 << 20)));
        assert_eq!(progress("100/200 kB (50%) copied"), Some((102_400, 204_800)));
        assert_eq!(progress("pg_rewind: servers diverged at WAL location 0/3 on timeline 1"), None);
    }

    #[test]
    fn a_page_says_where_it_is() {
        let mut header = [0xff; 16];
        header[8..].copy_from_slice(&0x2200_0000_u64.to_ne_bytes());
        assert_eq!(first_address(header), Some(lsn("0/22000000")));
    }

    #[test]
    fn a_checkpoint_is_read() {
        let line = "rmgr: XLOG        len (rec/tot):    114/   114, tx:          0, lsn: 0/03000060, prev 0/03000028, desc: CHECKPOINT_ONLINE redo 0/3000028; tli 1; prev tli 1; fpw true";
        assert_eq!(checkpoint(line), Some(Checkpoint { at: lsn("0/3000060"), redo: lsn("0/3000028") }));
        let shutdown = line.replace("ONLINE", "SHUTDOWN");
        assert_eq!(checkpoint(&shutdown).map(|found| found.redo), Some(lsn("0/3000028")));
        assert_eq!(checkpoint(&line.replace("CHECKPOINT_ONLINE redo", "CHECKPOINT_REDO wal_level")), None);
    }

    #[test]
    fn the_log_is_read_back_in_windows_that_double_as_far_as_it_is_whole() {
        let here: Vec<(Timeline, u64)> =
            [1, 2, 4, 5, 6, 7, 8, 9].map(|number| (Timeline::FIRST, number)).to_vec();
        let until = Lsn(9 * SIZE + 100);
        assert_eq!(windows(&here, Timeline::FIRST, until, SIZE), [9, 8, 6, 4]);
        assert_eq!(windows(&here, Timeline::FIRST, Lsn(9 * SIZE), SIZE), [8, 7, 5, 4]);
        assert_eq!(windows(&here, Timeline::FIRST, Lsn(3 * SIZE), SIZE), [2, 1]);
        assert_eq!(windows(&here, Timeline::FIRST, Lsn(4 * SIZE), SIZE), [2, 1], "the last one is absent");
        assert_eq!(windows(&here, Timeline::FIRST, Lsn(12 * SIZE), SIZE), [9, 8, 6, 4], "it ends before");
        assert_eq!(windows(&here, Timeline::FIRST, Lsn(SIZE), SIZE), [0_u64; 0]);
        assert_eq!(windows(&here, Timeline::new(2).unwrap(), until, SIZE), [0_u64; 0]);
    }

    #[test]
    fn pg_rewind_says_when_it_begins_to_write() {
        assert!(rewind_writes("pg_rewind: need to copy 35 MB (total source directory size is 61 MB)"));
        assert!(rewind_writes("  1024/36864 kB (2%) copied"));
        assert!(!rewind_writes("pg_rewind: reading WAL in target"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(text in "(?s).{0,80}") {
            let _ = (parse_record(&text), commit(&text), progress(&text), checkpoint(&text));
            let _ = parse_segment(&text, SIZE);
        }

        #[test]
        fn no_number_makes_the_arithmetic_panic(at: u64, length: u32, size: u64) {
            let _ = record_end(Lsn(at), length, SIZE);
            let _ = segment_name(Timeline::FIRST, Lsn(at), size);
            let _ = windows(&[(Timeline::FIRST, at.checked_div(size).unwrap_or(0))], Timeline::FIRST, Lsn(at), size);
        }
    }
}
