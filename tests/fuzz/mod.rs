//! The bounded run of the fuzz targets: the committed corpus, and mutations of it from fixed seeds.
//!
//! `PGBATON_FUZZ_ROUNDS` tries more of them, `PGBATON_FUZZ_SEED` others, and `make fuzz` many from a new seed. What is
//! found is shrunk, and kept in the corpus.

mod targets;

use crate::golden::source;
use pgbaton::vrrp::sim::Random;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use targets::{TARGETS, Target};

/// How many mutations each target is given.
const ROUNDS: u64 = 4000;
/// No input grows beyond this: what is found in a long one is found in a short one, sooner.
const LONGEST: usize = 4096;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

fn folder(target: &Target) -> PathBuf {
    source("tests/fuzz/corpus").join(target.name)
}

fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

fn harms(target: &Target, input: &[u8]) -> bool {
    catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_err()
}

/// Takes away what isn't needed for the harm.
fn shrink(target: &Target, mut input: Vec<u8>) -> Vec<u8> {
    let mut size = input.len().next_power_of_two();
    while size > 0 {
        let mut at = 0;
        while at < input.len() {
            let mut shorter = input.clone();
            shorter.drain(at..(at + size).min(input.len()));
            if harms(target, &shorter) {
                input = shorter;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    input
}

fn complain(target: &Target, input: Vec<u8>) -> ! {
    let least = shrink(target, input);
    let octets = least.escape_ascii();
    panic!(
        "{} is harmed by \"{octets}\"; mend it, and keep these octets as a file in {}",
        target.name,
        folder(target).display()
    );
}

/// Numbers at the edges of types, and what texts are made of.
const TOKENS: &[&str] = &[
    "0",
    "-1",
    "255",
    "256",
    "32768",
    "65535",
    "65536",
    "4294967295",
    "4294967296",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999",
    "0/0",
    "FFFFFFFF/FFFFFFFF",
    "\0",
    "\n",
    "\r\n",
    "\t",
    "'",
    "\"",
    "\\",
    "[",
    "]",
    "{",
    "}",
    "=",
    ":",
    ",",
    "#",
    "*",
    "?",
    "!",
    "|",
    "@",
    "%00",
    "\u{a0}",
    "\u{2028}",
    "é",
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "1e999",
    "-0",
];

/// Changes an input in one to six places.
fn mutate(random: &mut Random, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut below = |limit: usize| usize::try_from(random.below(limit as u64)).unwrap();
    let mut input = corpus[below(corpus.len())].clone();
    for _ in 0..=below(6) {
        let at = below(input.len() + 1);
        match below(9) {
            0 => input.insert(at, u8::try_from(below(256)).unwrap()),
            1 if at < input.len() => input[at] ^= 1 << below(8),
            2 if at < input.len() => input[at] = [0, 1, 0x7f, 0x80, 0xff, b' '][below(6)],
            3 => drop(input.drain(at..at + below(input.len() - at + 1))),
            4 => input.truncate(at),
            5 => {
                let part = input[at..at + below(input.len() - at + 1)].to_vec();
                let to = below(input.len() + 1);
                input.splice(to..to, part);
            }
            6 => {
                let other = &corpus[below(corpus.len())];
                let from = below(other.len() + 1);
                input.truncate(at);
                input.extend(&other[from..]);
            }
            7 => {
                let token = TOKENS[below(TOKENS.len())];
                input.splice(at..at, token.bytes());
            }
            _ => {
                // A number, in place of the one that stands there.
                let end =
                    input[at..].iter().position(|c| !c.is_ascii_digit()).map_or(input.len(), |n| at + n);
                input.splice(at..end, TOKENS[below(12)].bytes());
            }
        }
        input.truncate(LONGEST);
    }
    input
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let mut folders: Vec<String> = std::fs::read_dir(source("tests/fuzz/corpus"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    folders.sort();
    assert_eq!(folders, TARGETS.iter().map(|target| target.name).collect::<Vec<_>>());
    for target in TARGETS {
        assert!(!corpus(target).is_empty(), "{}", target.name);
    }
}

#[test]
fn nothing_in_the_corpus_nor_a_part_of_it_does_harm() {
    for target in TARGETS {
        for input in corpus(target) {
            let step = input.len().div_ceil(200).max(1);
            for length in (0..input.len()).step_by(step).chain([input.len()]) {
                if harms(target, &input[..length]) {
                    complain(target, input[..length].to_vec());
                }
            }
        }
    }
}

#[test]
fn no_mutation_of_the_corpus_does_harm() {
    let seed = number("PGBATON_FUZZ_SEED", 1);
    println!("seed {seed}");
    let rounds = number("PGBATON_FUZZ_ROUNDS", ROUNDS);
    // Side by side: the targets have nothing to do with each other.
    std::thread::scope(|scope| {
        for target in TARGETS {
            scope.spawn(move || {
                let corpus = corpus(target);
                let mut random = Random::new(seed);
                for _ in 0..rounds {
                    let input = mutate(&mut random, &corpus);
                    if harms(target, &input) {
                        complain(target, input);
                    }
                }
            });
        }
    });
}
