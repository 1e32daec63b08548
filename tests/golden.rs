//! Committed copies of what the program makes; `PGBATON_UPDATE=1 cargo test` rewrites them.

use std::path::{Path, PathBuf};

/// Returns a path in the source tree.
pub(crate) fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Returns whether copies are to be rewritten instead of compared.
pub(crate) fn updating() -> bool {
    std::env::var_os("PGBATON_UPDATE").is_some()
}

/// Compares a committed copy with what it should be, or rewrites it; returns what is wrong.
pub(crate) fn compare(path: &Path, wanted: &str) -> Result<(), String> {
    if updating() {
        std::fs::write(path, wanted).unwrap();
        return Ok(());
    }
    let have = std::fs::read_to_string(path).unwrap_or_default();
    if have == wanted {
        return Ok(());
    }
    let differs = |(have, wanted): &(&str, &str)| have != wanted;
    let first = have.lines().zip(wanted.lines()).find(differs);
    let (have, wanted) = first.unwrap_or(("(its end)", "(more, or fewer lines)"));
    Err(format!("{} is out of date:\n  have {have}\n  want {wanted}", path.display()))
}

/// Fails with everything that is out of date.
pub(crate) fn all(results: Vec<Result<(), String>>) {
    let wrong: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{}\nPGBATON_UPDATE=1 cargo test rewrites them", wrong.join("\n"));
}
