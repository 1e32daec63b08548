//! `pgbaton generate …`: man pages, completions and the configuration template.
//!
//! The committed copies in `man/` and `completions/` come from the same functions; a test compares them.

mod connections;
mod man;
mod protocol;
mod roff;

use crate::cli::{Cli, CompletionTarget, Completions, Man, Shell};
use crate::error::{Error, Kind, Result};
use crate::output::Out;
use crate::output::report::{Report, StepReport, StepStatus};
use crate::settings::keys;
use clap::CommandFactory as _;
use std::io::ErrorKind;
use std::path::Path;

pub use connections::LEAST_RIGHTS;
pub use man::pages;

/// A file to be written: its name and its text.
pub type Document = (String, String);

/// Returns the completions of every shell.
pub fn completion_files() -> Vec<Document> {
    Shell::ALL.iter().map(|shell| (shell.file_name().to_owned(), completion(*shell))).collect()
}

pub(super) fn man_pages(man: &Man, out: &Out) -> Result<()> {
    write_all("generate man", &man.directory, &pages(), out)
}

pub(super) fn completions(completions: &Completions, out: &Out) -> Result<()> {
    match &completions.target {
        CompletionTarget::Shell(shell) => out.result(&completion(*shell)),
        CompletionTarget::Directory(directory) => {
            write_all("generate completions", directory, &completion_files(), out)
        }
    }
}

pub(super) fn config(out: &Out) -> Result<()> {
    out.result(&keys::template())
}

fn completion(shell: Shell) -> String {
    let generator = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(generator, &mut Cli::command(), "pgbaton", &mut script);
    // The generators leave blanks at the ends of lines.
    let script = String::from_utf8_lossy(&script);
    script.lines().flat_map(|line| [line.trim_end(), "\n"]).collect()
}

/// Writes the files that are new or different.
fn write_all(verb: &str, directory: &Path, documents: &[Document], out: &Out) -> Result<()> {
    let mut report = Report::new(verb);
    for (name, text) in documents {
        let path = directory.join(name);
        let same = std::fs::read(&path).is_ok_and(|old| old == text.as_bytes());
        if !same && let Err(error) = std::fs::write(&path, text) {
            let error = not_written(&path, directory, &error);
            report.steps.push(StepReport::new("write", format!("write {name}"), StepStatus::Failed));
            report.fail(&error);
            out.report(&report)?;
            return Err(error);
        }
        let status = if same { StepStatus::Unchanged } else { StepStatus::Done };
        report.changed |= !same;
        report.steps.push(StepReport::new("write", format!("write {name}"), status));
    }
    report.msg = format!("{} files are in {}", documents.len(), directory.display());
    out.report(&report)
}

fn not_written(path: &Path, directory: &Path, error: &std::io::Error) -> Error {
    let failed = Error::failed(format!("can't write {}", path.display())).detail(error);
    match error.kind() {
        ErrorKind::NotFound => failed.hint(format!("mkdir -p {}", directory.display())),
        ErrorKind::PermissionDenied => failed.with_kind(Kind::Permission),
        _ => failed,
    }
}
