//! SSH to another node: a command's exit status or signal, and the reading of a file. Nothing is ever accepted blindly.
//!
//! Like `ssh` with `BatchMode=yes` and `StrictHostKeyChecking=yes`: no password is sent, no question asked, no key
//! learnt. A host is known by its *alias* (the node's name), never by an address that may move between machines. What
//! enters is a [`target::Target`]; what leaves is output that somebody else has to believe or not.

pub mod config;
pub mod kept;
pub mod known_hosts;
pub mod session;
pub mod target;

/// Returns a command line that a POSIX shell at the other end splits into exactly these words.
pub fn quote(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:@%+,".contains(c);
    let quoted = words.iter().map(|word| {
        if !word.is_empty() && word.chars().all(plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_sees_the_words_as_they_were() {
        let words = ["pgbaton", "--reason", "it's $HOME; rm -rf", "", "a\nb"].map(str::to_owned);
        let line = quote(&words);
        let output =
            std::process::Command::new("sh").arg("-c").arg(format!("printf '%s|' {line}")).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{}|", words.join("|")));
    }
}
