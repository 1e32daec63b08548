//! The one error type that reaches a person: what went wrong, the facts, and what to do next.
//!
//! [`Kind`] alone decides the exit code. The message is lower case, without a full stop; the detail holds
//! facts (an address, a system call's own words); a hint is a command to run or a question to ask.

use std::fmt;

/// What sort of failure this is; decides the exit code (see `pgbaton(8)`, EXIT STATUS).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The work was tried and failed.
    Failed,
    /// The command line can't be understood.
    Usage,
    /// A safety check refused; nothing was changed.
    Refused,
    /// Some steps were done, others not; running the verb again continues.
    Partial,
    /// A peer, a database or the daemon doesn't answer.
    Unreachable,
    /// Locked by another run, or a deadline passed with the outcome unknown: try again.
    TryAgain,
    /// A right or a capability is missing.
    Permission,
    /// The configuration is wrong.
    Config,
}

impl Kind {
    /// Every kind, in the order of the exit-code table.
    pub const ALL: [Self; 8] = [
        Self::Failed,
        Self::Usage,
        Self::Refused,
        Self::Partial,
        Self::Unreachable,
        Self::TryAgain,
        Self::Permission,
        Self::Config,
    ];

    /// Returns the process exit code.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::Partial => 4,
            Self::Unreachable => 69,
            Self::TryAgain => 75,
            Self::Permission => 77,
            Self::Config => 78,
        }
    }

    /// Returns the stable word used for this kind in JSON documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::Refused => "refused",
            Self::Partial => "partial",
            Self::Unreachable => "unreachable",
            Self::TryAgain => "try-again",
            Self::Permission => "permission",
            Self::Config => "config",
        }
    }

    /// Returns the line that explains this kind in the exit-code table.
    pub const fn explain(self) -> &'static str {
        match self {
            Self::Failed => "the work was tried and failed",
            Self::Usage => "the command line can't be understood",
            Self::Refused => "refused by a safety check; nothing was changed",
            Self::Partial => "partly done; run the same command again to finish",
            Self::Unreachable => "a peer, a database or the daemon doesn't answer",
            Self::TryAgain => "locked by another run, or a deadline passed; try again",
            Self::Permission => "a right or a capability is missing",
            Self::Config => "the configuration is wrong",
        }
    }
}

/// An error as it is shown to a person: message, detail, hints.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    message: String,
    detail: Option<String>,
    hints: Vec<String>,
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Creates an error of this kind; `message` is lower case and has no full stop.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: plain(message.into()), detail: None, hints: Vec::new() }))
    }

    /// Creates an error of kind [`Kind::Failed`].
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, message)
    }

    /// Creates an error of kind [`Kind::Refused`].
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Kind::Refused, message)
    }

    /// Creates an error of kind [`Kind::Config`].
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(Kind::Config, message)
    }

    /// Adds the facts behind the message (a second call appends).
    #[must_use]
    pub fn detail(mut self, detail: impl fmt::Display) -> Self {
        let text = plain(detail.to_string());
        self.0.detail = Some(match self.0.detail.take() {
            Some(old) => format!("{old}; {text}"),
            None => text,
        });
        self
    }

    /// Adds a hint: a command to run, or a question to ask.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hints.push(hint.into());
        self
    }

    /// Changes the kind, for a caller that knows better what the failure means.
    #[must_use]
    pub fn with_kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }

    /// Returns the kind.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Returns the message.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns the detail, if there is one.
    pub fn detail_text(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// Returns the hints.
    pub fn hints(&self) -> &[String] {
        &self.0.hints
    }
}

/// Takes the number away that Rust puts behind a system call's own words: "No route to host (os error 113)".
pub fn plain(mut text: String) -> String {
    const MARK: &str = " (os error ";
    while let Some(start) = text.find(MARK) {
        let rest = text.get(start.saturating_add(MARK.len())..).unwrap_or_default();
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if !rest.get(digits..).is_some_and(|rest| rest.starts_with(')')) {
            break;
        }
        let end = start.saturating_add(MARK.len()).saturating_add(digits).saturating_add(1);
        text.replace_range(start..end, "");
    }
    text
}

/// One line: the message, and the detail in parentheses. The full form is `output`'s.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match &self.0.detail {
            Some(detail) => write!(f, " ({detail})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_the_published_table() {
        let codes: Vec<u8> = Kind::ALL.iter().map(|kind| kind.exit_code()).collect();
        assert_eq!(codes, [1, 2, 3, 4, 69, 75, 77, 78]);
    }

    #[test]
    fn a_system_call_s_words_come_without_its_number() {
        let error = Error::failed("x (os error 1)")
            .detail(std::io::Error::from_raw_os_error(113))
            .detail("y (os error z)");
        assert_eq!(error.to_string(), "x (No route to host; y (os error z))");
    }

    #[test]
    fn a_second_detail_is_appended() {
        let error = Error::failed("can't add the address").detail("EPERM").detail("eth0");
        assert_eq!(error.to_string(), "can't add the address (EPERM; eth0)");
    }
}
