//! Reads what iptables-save and ip6tables-save print.

use super::{Chain, Condition, Rule, Verdict};

/// Reads the chains of all tables.
pub(super) fn read(program: &str, text: &str) -> Vec<Chain> {
    let mut chains: Vec<Chain> = Vec::new();
    let mut table = String::new();
    let ipv4 = !program.starts_with("ip6");
    let of = program.strip_suffix("-save").unwrap_or(program);
    let mut base = "";
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('*') {
            base = name;
            table = format!("{name} ({of})");
        } else if let Some(rest) = line.strip_prefix(':') {
            let mut words = rest.split_whitespace();
            let name = words.next().unwrap_or_default().to_owned();
            // A packet is translated, not dropped, in the table nat.
            let outward = match name.as_str() {
                _ if base == "nat" => None,
                "PREROUTING" | "INPUT" => Some(false),
                "OUTPUT" | "POSTROUTING" => Some(true),
                _ => None,
            };
            chains.push(Chain {
                name,
                table: table.clone(),
                families: (ipv4, !ipv4),
                outward,
                drops: words.next() == Some("DROP"),
                rules: Vec::new(),
            });
        } else if let Some(rest) = line.strip_prefix("-A ") {
            let words = split(rest);
            let Some((name, options)) = words.split_first() else { continue };
            let rule = rule(line, options);
            if let Some(chain) = chains.iter_mut().find(|chain| chain.name == *name && chain.table == table) {
                chain.rules.push(rule);
            }
        }
    }
    chains
}

/// Splits words, of which some are in quotes.
pub(super) fn split(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => quoted = !quoted,
            '\\' if quoted => word.extend(letters.next()),
            letter if letter.is_whitespace() && !quoted => words.extend(take(&mut word)),
            letter => word.push(letter),
        }
    }
    words.extend(take(&mut word));
    words
}

fn take(word: &mut String) -> Option<String> {
    (!word.is_empty()).then(|| std::mem::take(word))
}

fn rule(line: &str, options: &[String]) -> Rule {
    let (mut conditions, mut verdict, mut not) = (Vec::new(), Verdict::Nothing, false);
    let mut words = options.iter().map(String::as_str).peekable();
    while let Some(word) = words.next() {
        // A value that starts with a dash is an option: this one has none.
        let mut value = || words.next_if(|next| !next.starts_with('-') && *next != "!").unwrap_or_default();
        let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        let condition = match word {
            "!" => {
                not = true;
                continue;
            }
            "-m" | "--comment" => {
                value();
                continue;
            }
            "-p" => Condition::Protocol(vec![value().to_owned()], not),
            "-s" | "--src-range" => Condition::Source(vec![value().to_owned()], not),
            "-d" | "--dst-range" => Condition::Destination(vec![value().to_owned()], not),
            "-i" => Condition::Enters(vec![value().to_owned()], not),
            "-o" => Condition::Leaves(vec![value().to_owned()], not),
            "--ctstate" | "--state" => Condition::State(list(value()), not),
            "--dst-type" | "--pkt-type" => Condition::Kind(list(value()), not),
            // The way back to the other nodes is the way that they come by.
            "--invert" => Condition::Is(false),
            "--validmark" | "--loose" => continue,
            "-j" | "-g" => {
                let target = value();
                verdict = match target {
                    "ACCEPT" => Verdict::Accept,
                    "DROP" | "REJECT" => Verdict::Drop,
                    "RETURN" => Verdict::Return,
                    "QUEUE" | "NFQUEUE" | "TPROXY" => Verdict::Unknown,
                    "LOG" | "NFLOG" | "ULOG" | "MARK" | "CONNMARK" | "CT" | "NOTRACK" | "TRACE" | "AUDIT"
                    | "CLASSIFY" | "TTL" | "HL" | "TOS" | "DSCP" | "SET" | "CHECKSUM" | "TCPMSS"
                    | "SECMARK" | "CONNSECMARK" => Verdict::Nothing,
                    chain => Verdict::Jump(chain.to_owned(), word == "-j"),
                };
                // The rest are the target's own options.
                break;
            }
            _ => {
                value();
                Condition::Unknown
            }
        };
        conditions.push(condition);
        not = false;
    }
    Rule { text: line.to_owned(), conditions, verdict }
}
