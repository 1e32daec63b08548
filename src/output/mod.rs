//! What a person or a program reads: results, errors, warnings, progress, log lines.
//!
//! The only room that writes to standard output and standard error. It renders what it is given: no clock, no
//! socket, no file, and the environment comes in as [`Surroundings`]. Results go to standard output,
//! everything else to standard error; text comes from the network too, so control characters never reach a
//! terminal.

pub mod log;
pub mod paint;
pub mod progress;
pub mod report;
pub mod schema;
pub mod status;
pub mod table;
pub mod timeline;

use crate::cli::{ColorChoice, Globals};
use crate::error::{Error, Result};
use paint::{Paint, Tone};
use progress::Progress;
use report::Report;
use serde::Serialize;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the output depends on besides the flags; the edge collects it.
#[expect(clippy::struct_excessive_bools, reason = "five independent facts, not a state")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Whether standard output is a terminal.
    pub stdout_is_terminal: bool,
    /// Whether standard error is a terminal.
    pub stderr_is_terminal: bool,
    /// Whether `NO_COLOR` is set and not empty.
    pub no_color: bool,
    /// Whether `TERM` is `dumb`.
    pub dumb: bool,
    /// Whether `CLICOLOR_FORCE` is set and neither empty nor `0`.
    pub force_color: bool,
    /// The width of the terminal, when it is known.
    pub columns: Option<u16>,
}

impl Surroundings {
    /// The width when the terminal doesn't say its own.
    const USUAL_WIDTH: u16 = 80;

    /// Takes the environment's part from a look-up of variables.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        Self {
            no_color: set("NO_COLOR").is_some(),
            dumb: set("TERM").as_deref() == Some("dumb"),
            force_color: set("CLICOLOR_FORCE").is_some_and(|value| value != "0"),
            columns: set("COLUMNS").and_then(|value| value.parse().ok()).filter(|width| *width > 0),
            ..Self::default()
        }
    }

    fn colored(self, choice: ColorChoice, is_terminal: bool) -> bool {
        match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto if self.no_color => false,
            ColorChoice::Auto if self.force_color => true,
            ColorChoice::Auto => is_terminal && !self.dumb,
        }
    }
}

/// Where everything is written to.
///
/// It can be shared between threads. When the reader of standard output goes away, the rest is swallowed
/// quietly and [`Out::closed`] says so.
#[expect(clippy::struct_excessive_bools, reason = "independent flags of the command line, not a state")]
pub struct Out {
    streams: Mutex<Streams>,
    json: bool,
    quiet: bool,
    verbose: bool,
    progress: bool,
    stdout_paint: Paint,
    stderr_paint: Paint,
    width: usize,
}

struct Streams {
    stdout: Box<dyn Write + Send>,
    stderr: Box<dyn Write + Send>,
    /// The reader of standard output has gone away.
    closed: bool,
    /// The one document of `--json` has been printed.
    printed: bool,
    /// What was done before the work whose report is still to come.
    preface: Option<Report>,
}

impl std::fmt::Debug for Out {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Out").field("json", &self.json).field("quiet", &self.quiet).finish_non_exhaustive()
    }
}

/// Standard output as a [`Write`]; quiet when its reader has gone away.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'a>(&'a Out);

impl Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut streams = self.0.streams();
        if !streams.closed
            && let Err(error) = streams.stdout.write_all(bytes)
        {
            if error.kind() != io::ErrorKind::BrokenPipe {
                return Err(error);
            }
            streams.closed = true;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut streams = self.0.streams();
        if streams.closed { Ok(()) } else { streams.stdout.flush() }
    }
}

impl Out {
    /// Creates the output of the process.
    pub fn standard(globals: &Globals, surroundings: Surroundings) -> Self {
        Self::new(Box::new(io::stdout()), Box::new(io::stderr()), globals, surroundings)
    }

    /// Creates an output that writes to these.
    pub fn new(
        stdout: Box<dyn Write + Send>,
        stderr: Box<dyn Write + Send>,
        globals: &Globals,
        surroundings: Surroundings,
    ) -> Self {
        let talkative = !globals.quiet && !globals.json && !globals.verbose;
        Self {
            streams: Mutex::new(Streams { stdout, stderr, closed: false, printed: false, preface: None }),
            json: globals.json,
            quiet: globals.quiet,
            verbose: globals.verbose,
            progress: talkative && surroundings.stderr_is_terminal && !surroundings.dumb,
            stdout_paint: Paint::new(surroundings.colored(globals.color, surroundings.stdout_is_terminal)),
            stderr_paint: Paint::new(surroundings.colored(globals.color, surroundings.stderr_is_terminal)),
            width: usize::from(surroundings.columns.unwrap_or(Surroundings::USUAL_WIDTH)),
        }
    }

    /// Returns whether the result is one JSON document.
    pub const fn is_json(&self) -> bool {
        self.json
    }

    /// Returns whether more is to be said about what is done.
    pub const fn is_verbose(&self) -> bool {
        self.verbose
    }

    /// Returns the colours for text that goes to [`Out::result`].
    pub const fn paint(&self) -> Paint {
        self.stdout_paint
    }

    /// Returns how many columns a line should have at most.
    pub const fn width(&self) -> usize {
        self.width
    }

    /// Returns whether spinners and bars are shown on standard error.
    pub const fn shows_progress(&self) -> bool {
        self.progress
    }

    /// Returns a writer of results, for what is printed line by line while a verb runs.
    pub const fn writer(&self) -> Writer<'_> {
        Writer(self)
    }

    /// Returns whether the reader of standard output has gone away; a loop that prints should end then.
    pub fn closed(&self) -> bool {
        self.streams().closed
    }

    /// Prints a result to standard output, with a line break at its end if it has none.
    pub fn result(&self, text: &str) -> Result<()> {
        let mut streams = self.streams();
        if streams.closed {
            return Ok(());
        }
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        let stdout = &mut streams.stdout;
        let written = stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.write_all(end.as_bytes()))
            .and_then(|()| stdout.flush());
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                streams.closed = true;
                Ok(())
            }
            other => other.map_err(|error| Error::failed("can't write to standard output").detail(error)),
        }
    }

    /// Prints a document to standard output; under `--json` it is the only one.
    pub fn json(&self, document: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string_pretty(document)
            .map_err(|error| Error::failed("can't write the JSON document").detail(error))?;
        self.streams().printed = true;
        self.result(&text)
    }

    /// Keeps the report of what was done first, when another verb does the rest: both become one report.
    pub fn preface(&self, report: Report) {
        self.streams().preface = Some(report);
    }

    /// Prints the report of a changing verb, in the form that was asked for.
    pub fn report(&self, report: &Report) -> Result<()> {
        let preface = self.streams().preface.take();
        if let Some(preface) = preface {
            return self.report(&preface.followed_by(report.clone()));
        }
        if self.json {
            return self.json(report);
        }
        for warning in &report.warnings {
            self.warning(warning);
        }
        self.result(&report.render(self.stdout_paint, self.quiet, self.verbose))
    }

    /// Says on standard error what is going on; silent under `--quiet` and `--json`.
    pub fn status(&self, text: &str) {
        if !self.quiet && !self.json {
            self.say(&format!("{}\n", clean(text)));
        }
    }

    /// Tells a program on standard error what is going on: one line of JSON, whatever else is silent.
    pub fn event(&self, event: &serde_json::Value) {
        self.say(&format!("{event}\n"));
    }

    /// Says on standard error what only interests under `--verbose`.
    pub fn detail(&self, text: &str) {
        if self.verbose {
            self.say(&format!("{}\n", clean(text)));
        }
    }

    /// Warns on standard error; silent under `--json`, where warnings are part of the document.
    pub fn warning(&self, text: &str) {
        if !self.json {
            self.say(&labelled(self.stderr_paint, "warning", Tone::Warn, text));
        }
    }

    /// Shows the error that ends a verb: to standard error, or as the document of `--json`.
    pub fn error(&self, verb: &str, error: &Error) {
        let preface = self.streams().preface.take();
        // There is nobody left to tell when this can't be written.
        if !self.json {
            if let Some(preface) = preface {
                drop(self.result(&preface.render(self.stdout_paint, self.quiet, self.verbose)));
            }
            self.say(&render_error(error, self.stderr_paint));
        } else if !self.streams().printed {
            let report = Report::of_error(verb, error);
            drop(self.json(&match preface {
                Some(preface) => preface.followed_by(report),
                None => report,
            }));
        }
    }

    /// Prints the help or the version, which clap has rendered.
    pub fn help(&self, text: &clap::builder::StyledStr) -> Result<()> {
        self.result(&if self.stdout_paint.is_on() { text.ansi().to_string() } else { text.to_string() })
    }

    /// Says on standard error what is wrong with the command line, which clap has rendered.
    pub fn usage(&self, text: &clap::builder::StyledStr) {
        self.say(&if self.stderr_paint.is_on() { text.ansi().to_string() } else { text.to_string() });
    }

    /// Starts a progress line for work of unknown length; invisible unless a person watches.
    pub fn spinner(&self, text: &str) -> Progress {
        Progress::spinner(self.progress, text)
    }

    /// Starts a progress bar for so many bytes; invisible unless a person watches.
    pub fn bar(&self, text: &str, bytes: u64) -> Progress {
        Progress::bar(self.progress, text, bytes)
    }

    /// Writes to standard error; when that fails there is nowhere left to say so.
    fn say(&self, text: &str) {
        let mut streams = self.streams();
        drop(streams.stderr.write_all(text.as_bytes()));
        drop(streams.stderr.flush());
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Renders an error in full: message, detail, hints, each with its label.
pub fn render_error(error: &Error, paint: Paint) -> String {
    let mut text = labelled(paint, "error", Tone::Bad, error.message());
    if let Some(detail) = error.detail_text() {
        text.push_str(&labelled(paint, "detail", Tone::Dim, detail));
    }
    for hint in error.hints() {
        text.push_str(&labelled(paint, "hint", Tone::Accent, hint));
    }
    text
}

/// Renders `label: text`; further lines are indented, and a text of several lines begins on its own.
fn labelled(paint: Paint, label: &str, tone: Tone, text: &str) -> String {
    let text = clean(text);
    let mut rendered = paint.with(tone, format_args!("{label}:"));
    if text.contains('\n') {
        for line in text.lines() {
            rendered.push_str("\n  ");
            rendered.push_str(line);
        }
    } else {
        rendered.push(' ');
        rendered.push_str(&text);
    }
    rendered.push('\n');
    rendered
}

/// Replaces control characters, which could drive the reader's terminal; line breaks and tabs stay.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// Breaks a text at blanks into lines of at most `width` columns; a longer word stays whole, to be copied.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::Arc;

    /// A stream that a test can read.
    #[derive(Clone, Default)]
    pub(crate) struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Shared {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn out(globals: &Globals) -> (Out, Shared, Shared) {
        let (stdout, stderr) = (Shared::default(), Shared::default());
        let out =
            Out::new(Box::new(stdout.clone()), Box::new(stderr.clone()), globals, Surroundings::default());
        (out, stdout, stderr)
    }

    #[test]
    fn an_error_is_shown_with_detail_and_hints() {
        let error = Error::refused("node \"node1\" is a living primary")
            .detail("it answered on 5432")
            .hint("pgbaton pg fence");
        let text = render_error(&error, Paint::new(false));
        assert_eq!(
            text,
            "error: node \"node1\" is a living primary\ndetail: it answered on 5432\nhint: pgbaton pg fence\n"
        );
    }

    #[test]
    fn a_detail_of_several_lines_is_indented() {
        let error = Error::config("bad").detail("3 | x = 1\n  | ^");
        assert_eq!(render_error(&error, Paint::new(false)), "error: bad\ndetail:\n  3 | x = 1\n    | ^\n");
    }

    #[test]
    fn text_from_elsewhere_cannot_drive_the_terminal() {
        let error = Error::failed("peer says \u{1b}[2Jhello\u{7}");
        assert_eq!(render_error(&error, Paint::new(false)), "error: peer says \u{fffd}[2Jhello\u{fffd}\n");
    }

    #[test]
    fn results_go_to_stdout_and_the_rest_to_stderr() {
        let (out, stdout, stderr) = out(&Globals::default());
        out.result("result").unwrap();
        out.status("working");
        out.warning("careful");
        out.detail("not shown");
        out.error("vip up", &Error::failed("broken"));
        assert_eq!(stdout.text(), "result\n");
        assert_eq!(stderr.text(), "working\nwarning: careful\nerror: broken\n");
    }

    #[test]
    fn quiet_keeps_errors_and_warnings() {
        let (out, _, stderr) = out(&Globals { quiet: true, ..Globals::default() });
        out.status("working");
        out.warning("careful");
        out.error("vip up", &Error::failed("broken"));
        assert_eq!(stderr.text(), "warning: careful\nerror: broken\n");
    }

    #[test]
    fn json_is_exactly_one_document() {
        let globals = Globals { json: true, ..Globals::default() };
        let (out, stdout, stderr) = out(&globals);
        let error = Error::failed("broken");
        let mut report = Report::new("vip up");
        report.fail(&error);
        out.status("working");
        out.report(&report).unwrap();
        out.error("vip up", &error);
        let document: serde_json::Value = serde_json::from_str(&stdout.text()).unwrap();
        assert_eq!(document["failed"], true);
        assert_eq!(document["error"]["kind"], "failed");
        assert_eq!(stderr.text(), "");
    }

    #[test]
    fn a_reader_that_goes_away_ends_the_output_quietly() {
        let out =
            Out::new(Box::new(Gone), Box::new(io::sink()), &Globals::default(), Surroundings::default());
        assert!(!out.closed());
        out.result("one").unwrap();
        assert!(out.closed());
        out.result("two").unwrap();
    }

    #[test]
    fn colour_is_decided_for_each_stream() {
        let of = |pairs: &'static [(&str, &str)]| {
            Surroundings::from_environment(|name| {
                pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            })
        };
        let auto = ColorChoice::Auto;
        assert!(of(&[]).colored(auto, true));
        assert!(!of(&[]).colored(auto, false));
        assert!(!of(&[("NO_COLOR", "1")]).colored(auto, true));
        assert!(of(&[("NO_COLOR", "")]).colored(auto, true));
        assert!(!of(&[("TERM", "dumb")]).colored(auto, true));
        assert!(of(&[("CLICOLOR_FORCE", "1")]).colored(auto, false));
        assert!(!of(&[("CLICOLOR_FORCE", "0")]).colored(auto, false));
        assert!(of(&[("NO_COLOR", "1")]).colored(ColorChoice::Always, false));
        assert!(!of(&[("CLICOLOR_FORCE", "1")]).colored(ColorChoice::Never, true));
    }
}
