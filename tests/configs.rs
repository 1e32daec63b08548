//! Whole configuration files: those in `configs/valid` are read, those in `configs/invalid` are refused with
//! the text that stands beside them. One file, one mistake.

use crate::golden::{all, compare, source};
use pgbaton::error::Kind;
use pgbaton::output::{paint::Paint, render_error};
use pgbaton::settings::Settings;
use std::path::PathBuf;

fn files(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(source(folder)).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    assert!(!files.is_empty());
    files
}

#[test]
fn correct_files_are_read() {
    for path in files("tests/configs/valid") {
        let text = std::fs::read_to_string(&path).unwrap();
        let settings = Settings::from_toml(&text, "pgbaton.toml");
        let settings = settings.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let warned = path.file_stem().unwrap().to_str().unwrap().starts_with("warning-");
        assert_eq!(!settings.warnings.is_empty(), warned, "{}: {:?}", path.display(), settings.warnings);
    }
}

#[test]
fn every_mistake_is_refused_in_the_words_that_are_written_down() {
    let mut results = Vec::new();
    for path in files("tests/configs/invalid") {
        let text = std::fs::read_to_string(&path).unwrap();
        let Err(error) = Settings::from_toml(&text, "pgbaton.toml") else {
            results.push(Err(format!("{} is accepted", path.display())));
            continue;
        };
        assert_eq!(error.kind(), Kind::Config);
        results.push(compare(&path.with_extension("txt"), &render_error(&error, Paint::new(false))));
    }
    all(results);
}
