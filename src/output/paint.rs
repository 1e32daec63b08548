//! Colours, as meanings: the words alone must always be enough.

use std::fmt;

/// What a coloured text means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tone {
    /// Nothing special.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// Worth a look.
    Warn,
    /// Wrong.
    Bad,
    /// Less important than what stands around it.
    Dim,
    /// More important than what stands around it.
    Strong,
    /// A name or a command to pick out.
    Accent,
}

impl Tone {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "32",
            Self::Warn => "33",
            Self::Bad => "1;31",
            Self::Dim => "2",
            Self::Strong => "1",
            Self::Accent => "36",
        }
    }
}

/// Whether one stream shows colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// Creates paint that is seen, or that isn't.
    pub const fn new(on: bool) -> Self {
        Self { on }
    }

    /// Returns whether colours are seen.
    pub const fn is_on(self) -> bool {
        self.on
    }

    /// Returns the text in this tone.
    pub fn with(self, tone: Tone, text: impl fmt::Display) -> String {
        match tone.code() {
            code if self.on && !code.is_empty() => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            _ => text.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_added_only_where_it_is_seen() {
        assert_eq!(Paint::new(true).with(Tone::Good, "up"), "\u{1b}[32mup\u{1b}[0m");
        assert_eq!(Paint::new(true).with(Tone::Plain, "up"), "up");
        assert_eq!(Paint::new(false).with(Tone::Bad, "down"), "down");
    }
}
