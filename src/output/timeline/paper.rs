//! What the SVG is drawn with: numbers, escaped text, widths of text, patterns and colours.

/// Returns a coordinate with as many digits as a picture needs.
pub(super) fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// Returns the text as XML character data.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// Returns how wide a text may be at this size, at most; the ratios are those of a wide sans-serif.
pub(super) fn text_width(text: &str, size: f64) -> f64 {
    let ems: f64 = text
        .chars()
        .map(|c| match c {
            'i' | 'j' | 'l' | '.' | ',' | ':' | ';' | '|' | '!' | '\'' | ' ' | 'I' | '·' => 0.34,
            'f' | 't' | 'r' | '(' | ')' | '[' | ']' | '/' | '-' => 0.43,
            'm' | 'w' | 'M' | 'W' | '@' | '%' | '…' | '—' => 1.0,
            'A'..='Z' => 0.74,
            '0'..='9' | 'a'..='z' => 0.62,
            c if c.is_ascii() => 0.74,
            _ => 1.02,
        })
        .sum();
    ems * size
}

/// Returns how wide a bold text may be.
pub(super) fn bold_width(text: &str, size: f64) -> f64 {
    text_width(text, size) * 1.12
}

/// Patterns for bars.
pub(super) const DEFINITIONS: &str = "<defs>\
<pattern id=\"hatch\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
<rect class=\"hatch\" width=\"2.5\" height=\"8\"/></pattern>\
<pattern id=\"dots\" width=\"9\" height=\"9\" patternUnits=\"userSpaceOnUse\">\
<circle class=\"dot\" cx=\"2\" cy=\"2\" r=\"1\"/><circle class=\"dot\" cx=\"6.5\" cy=\"6.5\" r=\"1\"/></pattern></defs>";

/// The style sheet: light, then dark.
pub(super) const STYLE: &str = "\
text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue','Noto Sans','DejaVu Sans',Arial,sans-serif;fill:#1f2733}\
.page{fill:#ffffff;stroke:#d8dee6}\
.title{font-size:23px;font-weight:700}\
.sub{font-size:14px;fill:#5d6978}\
.lane{font-size:15px;font-weight:600}\
.track{fill:#f1f4f8}\
.serving{fill:#23875a}.promoting{fill:#7048c9}.asking{fill:#1f6fc0}.vip{fill:#b0307c}.fenced{fill:#b4531a}\
.waiting{fill:#f3cf6d}.frozen{fill:#a9d3f0}.silent{fill:#dfe5ec}.down{fill:#c3ccd7}.out{fill:#f7c6c7}\
.bar{stroke:#ffffff;stroke-width:1}\
.hatch{fill:#1f2733;fill-opacity:.09}.dot{fill:#1f2733;fill-opacity:.25}\
.in{font-size:13px;font-weight:600;text-anchor:middle}\
.page-ink{fill:#1f2733}.bar-ink{fill:#ffffff}.soft{font-weight:400;fill-opacity:.85}\
.flag{font-size:12px}.muted{fill:#5d6978}\
.flag,.tick,.outage{paint-order:stroke;stroke:#ffffff;stroke-width:3px;stroke-linejoin:round}\
.leader{fill:none;stroke:#8793a3;stroke-width:1}\
.grid{stroke:#e4e9ef;stroke-width:1}.axis{stroke:#8793a3;stroke-width:1}\
.tick{font-size:12px;fill:#5d6978;text-anchor:middle}\
.tear{fill:none;stroke:#ffffff;stroke-width:6}\
.shade{fill:#d9363e;fill-opacity:.055}\
.fault{stroke:#d9363e;stroke-width:1.5}.pill{fill:#d9363e}.pilltext{font-size:13px;font-weight:600;fill:#ffffff}\
.bracket{fill:none;stroke:#d9363e;stroke-width:1.5}.outage{font-size:19px;font-weight:700;fill:#c4262e}\
.commit{stroke:#ffffff;stroke-opacity:.75;stroke-width:1}\
.mark{stroke:#ffffff;stroke-width:1}.m-event{fill:#5d6978}.m-message{fill:#1f6fc0}.m-decision{fill:#7048c9}\
.m-fault{fill:none;stroke:#d9363e;stroke-width:2.5;stroke-linecap:round}\
.card{fill:#f1f4f8}.value{font-size:20px;font-weight:700}.name{font-size:12px;fill:#5d6978}\
@media (prefers-color-scheme:dark){\
text{fill:#e6ebf1}.page{fill:#12171e;stroke:#2b3440}.sub,.muted,.tick,.name{fill:#9aa7b6}.track{fill:#1b222b}\
.serving{fill:#2b8f62}.promoting{fill:#7f5bd6}.asking{fill:#2d78c6}.vip{fill:#b83d87}.fenced{fill:#b85f28}\
.waiting{fill:#6f5a1d}.frozen{fill:#2c5674}.silent{fill:#2a333e}.down{fill:#3a4450}.out{fill:#6a2a2f}\
.bar,.mark{stroke:#12171e}.hatch{fill:#ffffff;fill-opacity:.08}.dot{fill:#ffffff;fill-opacity:.28}\
.page-ink{fill:#e6ebf1}.flag,.tick,.outage{stroke:#12171e}.grid{stroke:#232c36}.leader,.axis{stroke:#6b7888}\
.tear{stroke:#12171e}.outage{fill:#ff7b81}.bracket,.fault{stroke:#f0565d}.shade{fill:#f0565d;fill-opacity:.08}\
.card{fill:#1b222b}.pilltext,.bar-ink{fill:#ffffff}.m-event{fill:#9aa7b6}}";
