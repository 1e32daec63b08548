//! Which key belongs to which host: `known_hosts` in the format that sshd(8) describes.
//!
//! Pure. libssh2's own look-up isn't used: it ignores `@revoked` (a revoked key counts as known), matches no wildcards,
//! and a missing file is an error to it. Host certificates aren't supported: `@cert-authority` lines are noticed so that
//! the message can say so.

use super::config::matches;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

/// Every line of the files that were read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownHosts {
    lines: Vec<Line>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    mark: Mark,
    hosts: Hosts,
    kind: String,
    key: Vec<u8>,
    place: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    None,
    Revoked,
    CertAuthority,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Hosts {
    Patterns(Vec<String>),
    Hashed { salt: Vec<u8>, hash: Vec<u8> },
}

/// What is known of a key that a server shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is the host's.
    Known,
    /// Nothing is known of the host; `certificates` says that a certificate authority is.
    Unknown {
        /// Whether there is a `@cert-authority` line for the host.
        certificates: bool,
    },
    /// The host has another key of this kind: somebody else answers, or the machine was installed anew.
    Changed {
        /// File and line of the key that is known.
        place: String,
    },
    /// Only keys of other kinds are known of the host.
    OtherKind {
        /// Their kinds.
        known: Vec<String>,
    },
    /// The key is revoked: it must not be accepted, whatever else is known.
    Revoked {
        /// File and line.
        place: String,
    },
}

impl KnownHosts {
    /// Adds the lines of a file; `name` is what messages call it. Lines that can't be read are left out, as in
    /// OpenSSH.
    pub fn add(&mut self, text: &str, name: &str) {
        for (number, line) in (1..).zip(text.lines()) {
            self.lines.extend(parse(line, format!("{name}:{number}")));
        }
    }

    /// Judges the key (in its wire form) that a server shows.
    pub fn check(&self, host: &str, kind: &str, key: &[u8]) -> Verdict {
        let of_host = || self.lines.iter().filter(|line| line.hosts.cover(host));
        if let Some(line) = of_host().find(|line| line.mark == Mark::Revoked && line.key == key) {
            return Verdict::Revoked { place: line.place.clone() };
        }
        let plain = || of_host().filter(|line| line.mark == Mark::None);
        if plain().any(|line| line.key == key) {
            return Verdict::Known;
        }
        if let Some(line) = plain().find(|line| line.kind == kind) {
            return Verdict::Changed { place: line.place.clone() };
        }
        let known: Vec<String> = plain().map(|line| line.kind.clone()).collect();
        if known.is_empty() {
            return Verdict::Unknown { certificates: of_host().any(|line| line.mark == Mark::CertAuthority) };
        }
        Verdict::OtherKind { known }
    }

    /// Returns the host key algorithms to ask a server for: those whose keys are known first. Certificates are never
    /// asked for: with one, libssh2 can't tell whose key it is.
    pub fn algorithms(&self, host: &str) -> String {
        let known: Vec<&str> = self
            .lines
            .iter()
            .filter(|line| line.mark == Mark::None && line.hosts.cover(host))
            .map(|line| line.kind.as_str())
            .collect();
        let (first, rest): (Vec<_>, Vec<_>) =
            ALGORITHMS.iter().copied().partition(|(_, kind)| known.contains(kind));
        first.into_iter().chain(rest).map(|(name, _)| name).collect::<Vec<_>>().join(",")
    }
}

/// The host key algorithms of libssh2 without certificates, best first, and the kind of key each uses.
const ALGORITHMS: &[(&str, &str)] = &[
    ("ssh-ed25519", "ssh-ed25519"),
    ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"),
    ("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384"),
    ("ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521"),
    ("rsa-sha2-512", "ssh-rsa"),
    ("rsa-sha2-256", "ssh-rsa"),
];

impl Hosts {
    fn cover(&self, host: &str) -> bool {
        match self {
            Self::Patterns(patterns) => matches(patterns, host),
            Self::Hashed { salt, hash } => {
                let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(salt) else { return false };
                mac.update(host.to_ascii_lowercase().as_bytes());
                mac.verify_slice(hash).is_ok()
            }
        }
    }
}

fn parse(line: &str, place: String) -> Option<Line> {
    let line = line.trim();
    if line.starts_with('#') {
        return None;
    }
    let mut words = line.split_ascii_whitespace();
    let mut word = words.next()?;
    let mark = match word {
        "@revoked" => Mark::Revoked,
        "@cert-authority" => Mark::CertAuthority,
        // A mark that isn't known says something about the key that isn't understood.
        other if other.starts_with('@') => return None,
        _ => Mark::None,
    };
    if mark != Mark::None {
        word = words.next()?;
    }
    let hosts = match word.strip_prefix("|1|") {
        Some(hashed) => {
            let (salt, hash) = hashed.split_once('|')?;
            Hosts::Hashed { salt: STANDARD.decode(salt).ok()?, hash: STANDARD.decode(hash).ok()? }
        }
        None => Hosts::Patterns(word.split(',').map(str::to_owned).collect()),
    };
    let kind = words.next()?.to_owned();
    let key = STANDARD.decode(words.next()?).ok()?;
    // The wire form names the kind, too; a line whose two names differ was edited badly.
    (kind_of(&key) == Some(kind.as_str())).then_some(Line { mark, hosts, kind, key, place })
}

/// Returns the kind that a key's wire form names (RFC 4253 §6.6).
pub fn kind_of(key: &[u8]) -> Option<&str> {
    let length = usize::try_from(u32::from_be_bytes(*key.first_chunk::<4>()?)).ok()?;
    std::str::from_utf8(key.get(4..)?.get(..length)?).ok()
}

/// Returns the name under which a host's key is looked up: `[host]:port` unless the port is the usual one.
pub fn lookup_name(host: &str, port: u16) -> String {
    if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") }
}

/// Returns a fingerprint in OpenSSH's form from the SHA-256 of a key.
pub fn fingerprint(sha256: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(sha256))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(kind: &str, content: u8) -> Vec<u8> {
        let length = u32::try_from(kind.len()).unwrap().to_be_bytes();
        [length.as_slice(), kind.as_bytes(), &[0, 0, 0, 1, content]].concat()
    }

    fn line(hosts: &str, kind: &str, content: u8) -> String {
        format!("{hosts} {kind} {} comment\n", STANDARD.encode(key(kind, content)))
    }

    fn hashed(host: &str) -> String {
        let mut mac = Hmac::<Sha1>::new_from_slice(b"salt").unwrap();
        mac.update(host.as_bytes());
        format!("|1|{}|{}", STANDARD.encode(b"salt"), STANDARD.encode(mac.finalize().into_bytes()))
    }

    fn file(text: &str) -> KnownHosts {
        let mut hosts = KnownHosts::default();
        hosts.add(text, "known_hosts");
        hosts
    }

    const ED: &str = "ssh-ed25519";
    const RSA: &str = "ssh-rsa";

    #[test]
    fn plain_hashed_wildcard_and_port_names_are_found() {
        for hosts in ["node1", "other,node1", "node*", "!node2,node?", &hashed("node1")] {
            let known = file(&line(hosts, ED, 1));
            assert_eq!(known.check("node1", ED, &key(ED, 1)), Verdict::Known, "{hosts}");
            assert_eq!(known.check("n", ED, &key(ED, 1)), Verdict::Unknown { certificates: false });
        }
        let known = file(&line("[192.0.2.1]:2222", ED, 1));
        assert_eq!(known.check(&lookup_name("192.0.2.1", 2222), ED, &key(ED, 1)), Verdict::Known);
        assert_ne!(known.check(&lookup_name("192.0.2.1", 22), ED, &key(ED, 1)), Verdict::Known);
    }

    #[test]
    fn a_hash_that_openssh_made_is_understood() {
        // ssh-keygen -H of "node1".
        let known = file(&line("|1|c2FsdA==|AAAA", ED, 1));
        assert_eq!(known.check("node1", ED, &key(ED, 1)), Verdict::Unknown { certificates: false });
    }

    #[test]
    fn a_revoked_key_is_refused_although_another_line_knows_it() {
        let text = format!("{}@revoked {}", line("node1", ED, 1), line("*", ED, 1));
        let verdict = file(&text).check("node1", ED, &key(ED, 1));
        assert_eq!(verdict, Verdict::Revoked { place: "known_hosts:2".to_owned() });
    }

    #[test]
    fn another_key_of_the_same_kind_has_changed_and_one_of_another_kind_is_new() {
        let known = file(&line("node1", ED, 1));
        assert_eq!(
            known.check("node1", ED, &key(ED, 2)),
            Verdict::Changed { place: "known_hosts:1".to_owned() }
        );
        assert_eq!(
            known.check("node1", RSA, &key(RSA, 2)),
            Verdict::OtherKind { known: vec![ED.to_owned()] }
        );
    }

    #[test]
    fn a_certificate_authority_is_noticed_and_never_believed() {
        let known = file(&format!("@cert-authority {}", line("node1", ED, 1)));
        assert_eq!(known.check("node1", ED, &key(ED, 1)), Verdict::Unknown { certificates: true });
    }

    #[test]
    fn the_known_kinds_are_asked_for_first_and_certificates_never() {
        let asked = file(&line("node1", RSA, 1)).algorithms("node1");
        assert!(asked.starts_with("rsa-sha2-512,rsa-sha2-256,ssh-ed25519"), "{asked}");
        assert!(!asked.contains("cert"));
        assert!(file("").algorithms("x").starts_with("ssh-ed25519"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(?s).{0,200}", host in ".{0,9}") {
            let known = file(&text);
            let _ = (known.check(&host, ED, &[]), known.algorithms(&host));
        }

        #[test]
        fn no_octets_make_the_kind_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = kind_of(&bytes);
        }
    }
}
