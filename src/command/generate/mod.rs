//! `pgbaton generate …`: man pages, completions and the configuration template.
//!
//! The committed copies in `man/` and `completions/` come from the same functions; a test compares them.

mod connections;
mod documents;
mod keepalived;
mod man;
mod names;
mod pages;
mod protocol;
mod roff;
mod shipped;

use crate::cli::{Cli, CompletionTarget, Completions, Globals, Into, Man, Shell, Systemd};
use crate::error::{Error, Kind, Result};
use crate::net::netlink::Netlink;
use crate::output::Out;
use crate::output::report::{Report, StepReport, StepStatus};
use crate::settings::{Settings, keys};
use clap::CommandFactory as _;
use std::io::ErrorKind;
use std::path::Path;

pub use connections::LEAST_RIGHTS;
pub(super) use keepalived::run as keepalived;
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

pub(super) fn systemd(globals: &Globals, args: &Systemd, out: &Out) -> Result<()> {
    let Some(directory) = &args.directory else { return out.result(shipped::UNIT) };
    let mut settings = Settings::load_if_present(&globals.overrides())?;
    if let Some(settings) = &mut settings {
        // On another machine than a node's, the usual folder is meant.
        let addresses = Netlink::open()?.addresses()?;
        let local: Vec<_> = addresses.iter().map(|address| address.address.address()).collect();
        settings.find_me(&local).unwrap_or_default();
    }
    write_all("generate systemd", directory, &shipped::systemd(settings.as_ref()), out)
}

pub(super) fn monitoring(args: &Into, out: &Out) -> Result<()> {
    write_all("generate monitoring", &args.directory, &shipped::monitoring(), out)
}

pub(super) fn fencing(args: &Into, out: &Out) -> Result<()> {
    write_all("generate fencing", &args.directory, &shipped::fencing(), out)
}

pub(super) fn ansible(args: &Into, out: &Out) -> Result<()> {
    write_all("generate ansible", &args.directory, &shipped::ansible(), out)
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
    let script: String = script.lines().flat_map(|line| [line.trim_end(), "\n"]).collect();
    names::complete_nodes(shell, &script)
}

/// Writes the files that are new or different.
fn write_all(verb: &str, directory: &Path, documents: &[Document], out: &Out) -> Result<()> {
    let mut report = Report::new(verb);
    for (name, text) in documents {
        let path = directory.join(name);
        let same = std::fs::read(&path).is_ok_and(|old| old == text.as_bytes());
        if !same && let Err(error) = write_beside(directory, &path, text) {
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

/// Writes a file, and the folders between the one that was named and it.
fn write_beside(directory: &Path, path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| *folder != directory) {
        // The one that was named must be there: a slip of the pen makes no tree.
        std::fs::metadata(directory)?;
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, text)?;
    if text.starts_with("#!") {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn not_written(path: &Path, directory: &Path, error: &std::io::Error) -> Error {
    let failed = Error::failed(format!("can't write {}", path.display())).detail(error);
    match error.kind() {
        ErrorKind::NotFound => failed.hint(format!("mkdir -p {}", directory.display())),
        ErrorKind::PermissionDenied => failed.with_kind(Kind::Permission),
        _ => failed,
    }
}
