//! Completions that know the names of the nodes: what clap generates, with a function that reads the configuration in
//! the place of file names.

use crate::cli::Shell;

/// The flags whose value is the name of a node.
const FLAGS: [&str; 2] = ["node", "from"];

/// Prints the names of the `[[node]]` tables. Octal 047 is the other quote.
const AWK: &str = r#"/^[ \t]*\[/ { node = /^[ \t]*\[\[[ \t]*node[ \t]*\]\]/ } node && /^[ \t]*name[ \t]*=/ { sub(/^[^"\047]*["\047]/, ""); sub(/["\047].*/, ""); print }"#;

/// Returns the script with the names in it.
pub(super) fn complete_nodes(shell: Shell, script: &str) -> String {
    match shell {
        Shell::Bash => bash(script),
        Shell::Zsh => zsh(script),
        Shell::Fish => fish(script),
    }
}

fn bash(script: &str) -> String {
    let mut text = format!(
        r#"_pgbaton_nodes() {{
    local config="${{PGBATON_CONFIG:-/etc/pgbaton/pgbaton.toml}}" word before=""
    for word in "${{COMP_WORDS[@]}}"; do
        [[ "$word" == "=" ]] && continue
        [[ "$before" == "--config" ]] && config="$word"
        before="$word"
    done
    [[ -r "$config" ]] && awk '{AWK}' "$config"
}}

"#
    );
    let mut of_node = false;
    for line in script.lines() {
        let files = r#"COMPREPLY=($(compgen -f "${cur}"))"#;
        if of_node && line.trim() == files {
            let names = r#"COMPREPLY=($(compgen -W "$(_pgbaton_nodes)" -- "${cur}"))"#;
            text.push_str(&line.replace(files, names));
        } else {
            text.push_str(line);
        }
        text.push('\n');
        of_node = FLAGS.iter().any(|flag| line.trim() == format!("--{flag})"));
    }
    text
}

fn zsh(script: &str) -> String {
    let function = format!(
        r#"_pgbaton_nodes() {{
    local config="${{PGBATON_CONFIG:-/etc/pgbaton/pgbaton.toml}}"
    local -i place="${{words[(I)--config]}}"
    (( place )) && config="${{words[place+1]}}"
    [[ -n "${{words[(r)--config=*]}}" ]] && config="${{words[(r)--config=*]#--config=}}"
    local -a nodes
    nodes=(${{(f)"$(awk '{AWK}' "$config" 2>/dev/null)"}})
    compadd -a nodes
}}

"#
    );
    let mut text = String::new();
    for line in script.lines() {
        // The first function of the script; before it stands what zsh looks for.
        if line == "_pgbaton() {" {
            text.push_str(&function);
        }
        let of_node = FLAGS.iter().any(|flag| line.trim_start().starts_with(&format!("'--{flag}=[")));
        let changed = if of_node { line.replace(":_default'", ":_pgbaton_nodes'") } else { line.to_owned() };
        text.extend([changed.as_str(), "\n"]);
    }
    text
}

fn fish(script: &str) -> String {
    let mut text = format!(
        r#"function __pgbaton_nodes
    set -l config /etc/pgbaton/pgbaton.toml
    set -q PGBATON_CONFIG; and set config $PGBATON_CONFIG
    set -l before ""
    for word in (commandline -opc)
        string match -q -- '--config=*' $word; and set config (string replace -- --config= '' $word)
        test "$before" = --config; and set config $word
        set before $word
    end
    test -r $config; and awk '{}' $config
end

"#,
        // Between single quotes fish takes a backslash before a quote or a backslash only.
        AWK.replace('\\', "\\\\")
    );
    for line in script.lines() {
        let of_node = FLAGS.iter().any(|flag| line.contains(&format!(" -l {flag} ")));
        text.push_str(line);
        if of_node && line.ends_with(" -r") {
            text.push_str(" -f -a \"(__pgbaton_nodes)\"");
        }
        text.push('\n');
    }
    text
}
