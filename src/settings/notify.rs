//! What is run when a virtual router or a group changes its state.
//!
//! Pure, like everything under [`Settings::from_toml`](super::Settings::from_toml).

use super::value::{Check, Value};
use std::path::Path;
use std::time::Duration;
use toml::Spanned;

/// A program and its arguments; the first word is an absolute path.
pub type Words = Vec<String>;

/// The commands of a virtual router or of a group, in keepalived's terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifySettings {
    /// Run at every change, with what changed as further arguments.
    pub any: Option<Words>,
    /// Run when it became Active.
    pub master: Option<Words>,
    /// Run when it became Backup.
    pub backup: Option<Words>,
    /// Run when it left the election because something is missing.
    pub fault: Option<Words>,
    /// Run when the daemon stops.
    pub stop: Option<Words>,
    /// How long a command may take.
    pub timeout: Duration,
    /// Who runs the commands; `None`: the user of the daemon.
    pub user: Option<String>,
}

impl Default for NotifySettings {
    fn default() -> Self {
        Self {
            any: None,
            master: None,
            backup: None,
            fault: None,
            stop: None,
            timeout: Duration::from_secs(60),
            user: None,
        }
    }
}

/// The keys as they stand in a table; several tables have them.
#[derive(Debug, Default)]
pub(super) struct RawNotify {
    pub(super) any: Value<Vec<Spanned<String>>>,
    pub(super) master: Value<Vec<Spanned<String>>>,
    pub(super) backup: Value<Vec<Spanned<String>>>,
    pub(super) fault: Value<Vec<Spanned<String>>>,
    pub(super) stop: Value<Vec<Spanned<String>>>,
    pub(super) timeout: Value<String>,
    pub(super) user: Value<String>,
}

impl Check {
    pub(super) fn notify(&mut self, raw: RawNotify) -> NotifySettings {
        let defaults = NotifySettings::default();
        NotifySettings {
            any: self.command("notify", raw.any),
            master: self.command("notify_master", raw.master),
            backup: self.command("notify_backup", raw.backup),
            fault: self.command("notify_fault", raw.fault),
            stop: self.command("notify_stop", raw.stop),
            timeout: self.above_zero("notify_timeout", raw.timeout).unwrap_or(defaults.timeout),
            user: self.text("notify_user", raw.user),
        }
    }

    /// Takes a command: words, the first of which is the absolute path of a program.
    pub(super) fn command(&mut self, key: &str, value: Value<Vec<Spanned<String>>>) -> Option<Words> {
        let value = value?;
        let Some(program) = value.get_ref().first() else {
            self.wrong(value.span(), format!("{key} is empty: write a program and its arguments"));
            return None;
        };
        if !Path::new(program.get_ref()).is_absolute() {
            let shown = program.get_ref().escape_debug();
            self.wrong(
                program.span(),
                format!("{key}: a program is named by its absolute path, not \"{shown}\""),
            );
            return None;
        }
        if let Some(word) = value.get_ref().iter().find(|word| word.get_ref().contains('\0')) {
            self.wrong(word.span(), format!("{key}: an argument can't hold a zero character"));
            return None;
        }
        Some(value.into_inner().into_iter().map(Spanned::into_inner).collect())
    }
}
