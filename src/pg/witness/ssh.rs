//! A witness that is any host with SSH: its register is a file, changed under a lock and on disk before it is answered.
//!
//! Nothing of this program is needed there: a POSIX shell with `flock`, `sync` and `mv`. The rules are evaluated here; the
//! other end compares and sets.

use crate::error::Kind;
use crate::host::clock::Deadline;
use crate::pg::conn::ConnError;
use crate::pg::register::parse;
use crate::promotion::rules::Register;
use crate::ssh::kept::Kept;
use crate::ssh::quote;
use crate::ssh::session::{Executed, Exit};

/// Prints the register, or replaces it by `$4` when it still is `$3`.
const SCRIPT: &str = r#"set -eu
umask 077
mkdir -p -- "$1"
cd -- "$1"
if [ "$#" -eq 2 ]; then
  if [ -e "$2" ]; then cat -- "$2"; fi
  exit 0
fi
exec 9>>".$2.lock"
flock -w 5 9
old=
if [ -e "$2" ]; then old=$(cat -- "$2"); fi
if [ "$old" != "$3" ]; then echo differs; exit 0; fi
printf '%s\n' "$4" > ".$2.new"
sync -- ".$2.new"
mv -f -- ".$2.new" "$2"
sync -- .
echo done"#;

/// The register of one cluster on a witness.
#[derive(Debug)]
pub struct SshRegister {
    host: Kept,
    folder: String,
    cluster: String,
}

impl SshRegister {
    /// Creates the handle; nothing is connected yet.
    pub const fn new(host: Kept, folder: String, cluster: String) -> Self {
        Self { host, folder, cluster }
    }

    /// Reads it; one that was never written has promised nothing.
    pub fn read(&self, deadline: Deadline) -> Result<Register, ConnError> {
        let text = self.text(deadline)?;
        self.parsed(&text)
    }

    /// Changes it by a rule; returns what the rule said. Another node's change in between has the rule evaluated anew.
    pub fn change<T, E: From<ConnError>>(
        &self,
        deadline: Deadline,
        rule: impl Fn(&Register) -> Result<(Register, T), E>,
    ) -> Result<T, E> {
        loop {
            let text = self.text(deadline)?;
            let register = self.parsed(&text)?;
            let (new, said) = rule(&register)?;
            if new == register {
                return Ok(said);
            }
            let new = serde_json::to_string(&new).unwrap_or_default();
            match self.run(&[&text, &new], deadline)?.as_str() {
                "done" => return Ok(said),
                // A change that was made although its answer was lost is found by the next look.
                "differs" if !deadline.passed() => {}
                other => return Err(ConnError::Lost(format!("{}: {other}", self.host.place())).into()),
            }
        }
    }

    fn text(&self, deadline: Deadline) -> Result<String, ConnError> {
        self.run(&[], deadline)
    }

    fn parsed(&self, text: &str) -> Result<Register, ConnError> {
        parse(text).map_err(|error| {
            let place = format!("{}/{} on {}", self.folder, self.file(), self.host.place());
            ConnError::Other("XX001".to_owned(), format!("{place} can't be read: {error}"))
        })
    }

    fn file(&self) -> String {
        format!("{}.register", self.cluster)
    }

    fn run(&self, values: &[&str], deadline: Deadline) -> Result<String, ConnError> {
        let file = self.file();
        let mut words = vec!["sh", "-c", SCRIPT, "pgbaton-witness", &self.folder, &file];
        words.extend(values);
        let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        let done = self.host.exec(&quote(&words), deadline).map_err(|error| {
            let detail = error.detail_text().map_or_else(String::new, |detail| format!(" ({detail})"));
            let text = format!("{}{detail}", error.message());
            match error.kind() {
                Kind::TryAgain => ConnError::Timeout(self.host.place()),
                Kind::Permission | Kind::Refused => ConnError::Auth(text),
                _ => ConnError::NoRoute(self.host.place(), text),
            }
        })?;
        output(&done)
            .map_err(|why| ConnError::Other("XX000".to_owned(), format!("{}: {why}", self.host.place())))
    }
}

fn output(done: &Executed) -> Result<String, String> {
    match &done.exit {
        Exit::Code(0) => Ok(String::from_utf8_lossy(&done.stdout).trim_end_matches('\n').to_owned()),
        exit => {
            let said = String::from_utf8_lossy(&done.stderr);
            let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
            Err(match exit {
                Exit::Code(code) => format!("the witness's shell ended with {code}: {said}"),
                Exit::Signal(signal) => format!("the witness's shell was ended by SIG{signal}: {said}"),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn shell(folder: &std::path::Path, values: &[&str]) -> String {
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "w"]).arg(folder.join("a b")).arg("c.register").args(values);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    #[test]
    fn the_shell_at_the_other_end_compares_and_sets() {
        let folder = std::env::temp_dir().join(format!("pgb-witness-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (one, two) = (r#"{"unfit":true}"#, r#"{"it":"it's $HOME"}"#);
        assert_eq!(shell(&folder, &[]), "");
        assert_eq!(shell(&folder, &["", one]), "done");
        assert_eq!(shell(&folder, &["", two]), "differs");
        assert_eq!(shell(&folder, &[]), one);
        assert_eq!(shell(&folder, &[one, two]), "done");
        assert_eq!(shell(&folder, &[]), two);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
