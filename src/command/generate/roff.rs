//! As much of man(7) as the pages need, written so that mandoc has nothing to say about it.

/// How long a line may get, in octets, with what may have to be added to it.
const WIDEST: usize = 75;

/// A man page in the making.
#[derive(Debug)]
pub(super) struct Page(String);

impl Page {
    /// Starts a page.
    pub(super) fn new(name: &str, section: u8, date: &str, source: &str) -> Self {
        let mut page = Self(String::from(".\\\" Written by \"pgbaton generate man\".\n"));
        page.0.push_str(&format!(
            ".TH {} {section} {date} \"{source}\" \"pgbaton manual\"\n",
            name.to_uppercase()
        ));
        page
    }

    /// Starts a section.
    pub(super) fn section(&mut self, title: &str) {
        self.0.push_str(&format!(".SH \"{title}\"\n"));
    }

    /// Starts a subsection.
    pub(super) fn subsection(&mut self, title: &str) {
        self.0.push_str(&format!(".SS \"{}\"\n", escape(title)));
    }

    /// Adds a line of text that is set as it is.
    pub(super) fn raw(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    /// Adds running text.
    pub(super) fn text(&mut self, text: &str) {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        self.running(&set_code(&escape(&text)));
    }

    /// Adds running text that is set as it is, on lines that mandoc doesn't find too long.
    pub(super) fn running(&mut self, text: &str) {
        let mut line = String::new();
        for word in text.split(' ') {
            if !line.is_empty() && line.len().saturating_add(word.len()) > WIDEST {
                let ended = line.trim_end_matches("\\fR").trim_end_matches([')', '"', '\'']);
                // The end of a sentence would get a wider space at the end of a line than within.
                let guard = if ended.ends_with(['.', '!', '?']) { "\\&" } else { "" };
                self.raw(&format!("{}{guard}", protect(&line)));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.raw(&protect(&line));
    }

    /// Adds paragraphs, which a blank line divides.
    pub(super) fn paragraphs<'a>(&mut self, paragraphs: impl Iterator<Item = &'a str>) {
        for (position, paragraph) in paragraphs.enumerate() {
            if position > 0 {
                self.raw(".PP");
            }
            self.text(paragraph);
        }
    }

    /// Starts the item of a list; its tag is set as it is, its text follows.
    pub(super) fn item(&mut self, tag: &str) {
        self.0.push_str(&format!(".TP\n{tag}\n"));
    }

    /// Adds lines of a terminal.
    pub(super) fn example(&mut self, lines: &[&str]) {
        self.raw(".RS 4");
        self.raw(".EX");
        for line in lines {
            self.raw(&protect(&escape(line)));
        }
        self.raw(".EE");
        self.raw(".RE");
    }

    /// Returns the page.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// Escapes what roff would read as its own; a hyphen stays the one that is typed.
pub(super) fn escape(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('…', "...")
}

/// Sets words that are typed as they stand.
pub(super) fn bold(text: &str) -> String {
    format!("\\fB{}\\fR", escape(text))
}

/// Sets words that stand for something else.
pub(super) fn italic(text: &str) -> String {
    format!("\\fI{}\\fR", escape(text))
}

/// Sets what stands between backticks in bold.
fn set_code(text: &str) -> String {
    let mut parts = text.split('`');
    let mut set = parts.next().unwrap_or_default().to_owned();
    for (position, part) in parts.enumerate() {
        set.push_str(if position % 2 == 0 { "\\fB" } else { "\\fR" });
        set.push_str(part);
    }
    set
}

/// Keeps a line of text from being read as a request.
fn protect(line: &str) -> String {
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_goes_over_several_lines_and_is_read_as_one() {
        let mut page = Page::new("x", 8, "2026-11-22", "x 1");
        page.text(&format!("{} end. .so next", "word ".repeat(14)));
        let text = page.finish();
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(lines, [format!("{}end.\\&", "word ".repeat(14)).as_str(), "\\&.so next"]);
    }

    #[test]
    fn no_text_is_read_as_a_request() {
        let mut page = Page::new("x", 8, "2026-11-22", "x 1");
        page.text("set `TERM` to see it");
        page.text(".so /etc/passwd \\n(xx --dry-run");
        assert!(
            page.finish()
                .ends_with("set \\fBTERM\\fR to see it\n\\&.so /etc/passwd \\en(xx \\-\\-dry\\-run\n")
        );
    }
}
