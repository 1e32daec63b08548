//! Giving back what only the start of a daemon needed.

use nix::sys::mman::{MmapAdvise, madvise};
use std::ffi::c_void;
use std::path::Path;
use std::ptr::NonNull;

/// Unmaps the pages of code that were used so far, and returns freed memory to the kernel.
///
/// A daemon's start runs through half of its program (the command line, the configuration, the checks), and the kernel
/// maps 64 KiB around each page that is touched. The loop that then runs for months needs a small part of it. Unmapped
/// pages stay in the page cache, and one that is needed again is mapped again in a microsecond; under memory pressure a page
/// that nobody touches would be given up whether it is mapped or not. What must not be: lock the memory instead, and
/// don't call this.
pub fn settle() {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let own = std::fs::read_link("/proc/self/exe").unwrap_or_default();
    for (start, length) in maps.lines().filter_map(|line| unwritten(line, &own)) {
        let Some(start) = NonNull::new(std::ptr::with_exposed_provenance_mut::<c_void>(start)) else {
            continue;
        };
        #[expect(unsafe_code, reason = "madvise can change memory")]
        // SAFETY: these are private mappings of files that nothing has written to (code, and the read-only data at the
        // start of the program), so that what the next access finds is what is there now.
        let advised = unsafe { madvise(start, length, MmapAdvise::MADV_DONTNEED) };
        // It is a courtesy.
        advised.unwrap_or_default();
    }
    #[cfg(target_env = "gnu")]
    {
        #[expect(unsafe_code, reason = "there is no wrapper")]
        // SAFETY: takes a number, and only returns unused memory.
        let _returned_any = unsafe { libc::malloc_trim(0) };
    }
}

/// Returns where a mapping is that has the content of its file: the code of the program and of its libraries, and the
/// program's read-only data in front of it. What the loader has written to (`relro`) is behind the code.
fn unwritten(line: &str, own: &Path) -> Option<(usize, usize)> {
    let mut words = line.split_ascii_whitespace();
    let (range, rights, offset) = (words.next()?, words.next()?, words.next()?);
    let file = Path::new(words.nth(2)?);
    let code = rights == "r-xp" && file.is_absolute();
    let data = rights == "r--p" && file == own && usize::from_str_radix(offset, 16) == Ok(0);
    if !code && !data {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    Some((start, end.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nothing_has_written_to_is_given_back() {
        let own = Path::new("/usr/bin/pgbaton");
        let of = |line| unwritten(line, own);
        assert_eq!(
            of("559a6000-559a8000 r--p 00000000 fe:00 1836 /usr/bin/pgbaton"),
            Some((0x559a_6000, 0x2000))
        );
        assert_eq!(
            of("559a8000-559a9000 r-xp 00002000 fe:00 1836   /usr/bin/pgbaton"),
            Some((0x559a_8000, 0x1000))
        );
        assert!(of("7f01a000-7f01b000 r-xp 00002000 fe:00 99 /usr/lib/libc.so.6").is_some());
        for kept in [
            "559a9000-559aa000 r--p 00003000 fe:00 1836 /usr/bin/pgbaton",
            "559aa000-559ab000 rw-p 00004000 fe:00 1836 /usr/bin/pgbaton",
            "7f01a000-7f01b000 r--p 00000000 fe:00 99 /usr/lib/libc.so.6",
            "559ab000-559ac000 rw-p 00000000 00:00 0 [heap]",
            "7fff1000-7fff2000 r-xp 00000000 00:00 0 [vdso]",
            "7f01a000-7f01b000 r-xp 00000000 00:00 0",
            "",
        ] {
            assert_eq!(of(kept), None, "{kept}");
        }
    }

    #[test]
    fn a_program_that_has_settled_runs_on_with_less() {
        const MARK: &str = "PGBATON_TEST_SETTLE";
        let resident = || {
            let text = std::fs::read_to_string("/proc/self/statm").unwrap();
            text.split(' ').nth(1).unwrap().parse::<usize>().unwrap()
        };
        // Of a process of its own: other tests touch pages meanwhile.
        if std::env::var_os(MARK).is_some() {
            let before = resident();
            settle();
            let after = resident();
            assert!(after < before, "{before} -> {after}");
            assert_eq!(format!("{:?}", "still here".split(' ').collect::<Vec<_>>()), r#"["still", "here"]"#);
            return;
        }
        let name = "host::memory::tests::a_program_that_has_settled_runs_on_with_less";
        let mut other = std::process::Command::new(std::env::current_exe().unwrap());
        let output = other.args(["--exact", name, "--nocapture"]).env(MARK, "1").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}
