//! Who may use whom. A workspace would check this when it is compiled; one package checks it here.

use crate::golden::source;
use std::path::{Path, PathBuf};

/// The rooms and files that reach the world: sockets, files, processes, clocks, threads.
const EDGES: &[&str] = &[
    "net",
    "host",
    "watch",
    "demo",
    "daemon",
    "command",
    "plan::apply",
    "plan::election",
    "plan::reconfigure",
    "ssh::session",
    "ssh::target",
];

/// The parts of the database room that only compute.
const PURE_PG: &[&str] = &["lsn", "history", "epoch", "gates", "sql", "register"];

/// The parts of the rebuild that only compute.
const PURE_REBUILD: &[&str] = &["decision", "decision_tests", "step", "wal", "conf", "register"];

/// What pure code never names.
const WORLD: &[&str] = &[
    "Instant::now",
    "SystemTime",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::os",
    "TcpStream",
    "UdpSocket",
    "UnixStream",
    "libc::",
    "nix::",
    "rustix::",
    "socket2::",
];

#[derive(Debug)]
struct SourceFile {
    /// Relative to `src`: `pg/gates.rs`.
    name: String,
    lines: usize,
    /// Without its tests and comments.
    code: String,
}

impl SourceFile {
    /// Returns the paths that the code names, from the root of the crate, at most two names deep.
    fn uses(&self) -> Vec<String> {
        let mut module: Vec<&str> = self.name.trim_end_matches(".rs").split('/').collect();
        if matches!(module.last(), Some(&"mod" | &"lib" | &"main")) {
            module.pop();
        }
        module.pop();
        let above = module.join("::");
        let mut uses = Vec::new();
        for (word, prefix) in [("crate::", ""), ("super::", above.as_str())] {
            for (at, _) in self.code.match_indices(word) {
                let before = self.code[..at].chars().next_back();
                if before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':') {
                    expand(prefix, &self.code[at + word.len()..], &mut uses);
                }
            }
        }
        uses
    }

    fn in_room(&self, room: &str) -> bool {
        self.name.starts_with(&format!("{room}/"))
    }
}

/// Follows a path or a group of paths: `a::b`, `a::{b, c::d}`, `{a, b::c}`.
fn expand(prefix: &str, text: &str, uses: &mut Vec<String>) {
    let text = text.trim_start();
    if let Some(group) = text.strip_prefix('{') {
        for part in split_group(group) {
            expand(prefix, part, uses);
        }
        return;
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let path = if prefix.is_empty() { text[..end].to_owned() } else { format!("{prefix}::{}", &text[..end]) };
    match text[end..].strip_prefix("::") {
        Some(rest) if !path.contains("::") => expand(&path, rest, uses),
        _ => uses.push(path),
    }
}

fn split_group(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                parts.push(&text[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

fn sources() -> Vec<SourceFile> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    let root = source("src");
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let tested = if name.ends_with("/tests.rs") { Some(0) } else { tests_begin(&text) };
            let code = &text[..tested.unwrap_or(text.len())];
            let code: String = code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .flat_map(|line| [line, "\n"])
                .collect();
            SourceFile { name, lines: text.lines().count(), code }
        })
        .collect()
}

/// Returns where the tests of a file begin: the first `#[cfg(test)]` before a module with a body.
fn tests_begin(text: &str) -> Option<usize> {
    text.match_indices("#[cfg(test)]").map(|(at, _)| at).find(|at| {
        let item = text[*at..].lines().nth(1).unwrap_or_default();
        item.contains("mod ") && item.ends_with('{')
    })
}

fn is_pure(file: &SourceFile) -> bool {
    let alone =
        ["plan/step.rs", "plan/plan.rs", "units.rs", "error.rs", "ssh/config.rs", "ssh/known_hosts.rs"];
    let judging = ["check/finding.rs", "check/hba.rs", "check/standby_names.rs", "check/server_rules.rs"]
        .into_iter()
        .chain(["check/node_rules.rs", "check/host_rules.rs"])
        .chain(["flight/entry.rs", "flight/incident.rs", "flight/drawing.rs", "init/plan.rs"]);
    file.in_room("vrrp")
        || file.in_room("promotion")
        || file.in_room("cli")
        || alone.contains(&file.name.as_str())
        || judging.clone().any(|name| name == file.name)
        || PURE_REBUILD.iter().any(|name| file.name == format!("rebuild/{name}.rs"))
        || PURE_PG
            .iter()
            .any(|name| file.name == format!("pg/{name}.rs") || file.in_room(&format!("pg/{name}")))
}

fn is_edge(used: &str) -> bool {
    let reaches = |edge: &str| used == edge || used.starts_with(&format!("{edge}::"));
    EDGES.iter().any(|edge| reaches(edge)) || is_edge_of_pg(used)
}

fn is_edge_of_pg(used: &str) -> bool {
    // A type (`pg::Lsn`) is re-exported by the room from one of its pure files.
    used.strip_prefix("pg::").is_some_and(|part| {
        let file = part.split("::").next().unwrap_or(part);
        !PURE_PG.contains(&file) && !part.starts_with(char::is_uppercase) && !part.is_empty()
    })
}

fn assert_none(found: &[String]) {
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn the_pure_core_uses_no_edge() {
    let mut found = Vec::new();
    for file in sources().iter().filter(|file| is_pure(file)) {
        for used in file.uses().iter().filter(|used| is_edge(used)) {
            found.push(format!("{} uses {used}", file.name));
        }
        for world in WORLD.iter().filter(|world| file.code.contains(**world)) {
            found.push(format!("{} names {world}", file.name));
        }
    }
    assert_none(&found);
}

#[test]
fn the_command_line_uses_only_units_errors_and_the_parsers_of_settings() {
    let mut found = Vec::new();
    for file in sources().iter().filter(|file| file.in_room("cli")) {
        for used in file.uses() {
            let room = used.split("::").next().unwrap_or_default();
            if !["cli", "units", "error", "settings"].contains(&room) {
                found.push(format!("{} uses {used}", file.name));
            }
        }
    }
    assert_none(&found);
}

#[test]
fn settings_use_no_edge_and_only_one_of_their_files_opens_a_file() {
    let mut found = Vec::new();
    for file in sources().iter().filter(|file| file.in_room("settings")) {
        for used in file.uses() {
            let room = used.split("::").next().unwrap_or_default();
            if !["settings", "units", "error"].contains(&room) {
                found.push(format!("{} uses {used}", file.name));
            }
        }
        if file.name != "settings/mod.rs" {
            for world in WORLD.iter().filter(|world| file.code.contains(**world)) {
                found.push(format!("{} names {world}", file.name));
            }
        }
    }
    assert_none(&found);
}

#[test]
fn output_renders_and_asks_nobody() {
    let mut found = Vec::new();
    for file in sources().iter().filter(|file| file.in_room("output")) {
        for used in file.uses().iter().filter(|used| is_edge(used)) {
            found.push(format!("{} uses {used}", file.name));
        }
        for world in ["Instant::now", "SystemTime", "std::fs", "std::env", "std::process", "std::net::Tcp"] {
            if file.code.contains(world) {
                found.push(format!("{} names {world}", file.name));
            }
        }
    }
    assert_none(&found);
}

#[test]
fn only_the_library_itself_uses_the_commands() {
    let mut found = Vec::new();
    for file in sources().iter().filter(|file| !file.in_room("command") && file.name != "lib.rs") {
        for used in file.uses() {
            if used == "command" || used.starts_with("command::") {
                found.push(format!("{} uses {used}", file.name));
            }
        }
    }
    assert_none(&found);
}

#[test]
fn only_the_clock_reads_the_clock_and_only_main_ends_the_process() {
    let mut found = Vec::new();
    for file in sources() {
        if file.name != "host/clock.rs" {
            for clock in ["Instant::now", "SystemTime::now", "clock_gettime", "Timestamp::now", "Zoned::now"]
            {
                if file.code.contains(clock) {
                    found.push(format!("{} names {clock}", file.name));
                }
            }
        }
        if file.code.contains("process::exit") || (file.name != "main.rs" && file.code.contains("ExitCode")) {
            found.push(format!("{} ends the process", file.name));
        }
    }
    assert_none(&found);
}

#[test]
fn no_file_is_longer_than_a_reader_can_keep_in_mind() {
    let long = |file: &SourceFile| (file.lines > 700).then(|| format!("{}: {} lines", file.name, file.lines));
    assert_none(&sources().iter().filter_map(long).collect::<Vec<_>>());
}

#[test]
fn every_room_says_in_its_header_why_it_exists() {
    let root = source("src");
    for file in sources() {
        let text = std::fs::read_to_string(root.join(&file.name)).unwrap();
        assert!(text.starts_with("//! "), "{}", file.name);
    }
}

#[test]
fn paths_are_followed_through_groups() {
    let code = "use crate::{units::Moment, pg::{conn, lsn::Lsn}};\nuse super::step::Step;\nlet x = crate::net::open();";
    let file = SourceFile { name: "plan/plan.rs".to_owned(), lines: 1, code: code.to_owned() };
    assert_eq!(file.uses(), ["units::Moment", "pg::conn", "pg::lsn", "net::open", "plan::step"]);
}
