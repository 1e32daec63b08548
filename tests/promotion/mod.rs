//! The promotion protocol, explored.
mod cluster;
mod mutants;
mod search;
mod steps;
mod tables;

use cluster::{Mutant, Scenario};

/// Three data nodes, `ANY 1`.
pub const THREE: Scenario = Scenario {
    name: "three data nodes",
    data: 0b111,
    w: 1,
    alone: false,
    by_record: false,
    restarts: false,
    vip: false,
    terms: 3,
    left: [1, 1, 0, 0, 1],
    mutant: None,
};
/// Two data nodes, strict.
pub const STRICT: Scenario = Scenario { name: "two strict", data: 0b11, alone: true, ..THREE };
/// Two data nodes and a witness.
pub const WITNESS: Scenario = Scenario { name: "two and a witness", data: 0b11, alone: true, by_record: true, ..THREE };

fn most() -> usize {
    std::env::var("PGBATON_MODEL_STATES").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000_000)
}

#[test]
fn three() {
    search::holds::<3>(THREE, most(), 7);
}

#[test]
fn strict() {
    search::holds::<2>(STRICT, most(), 7);
}

#[test]
fn witness() {
    search::holds::<3>(WITNESS, most(), 7);
}

#[test]
fn strict2() {
    search::holds::<2>(Scenario { left: [2, 2, 1, 1, 1], terms: 4, ..STRICT }, most(), 11);
}
#[test]
fn witness2() {
    search::holds::<3>(Scenario { left: [2, 1, 1, 0, 1], ..WITNESS }, most(), 11);
}
#[test]
fn three2() {
    search::holds::<3>(Scenario { left: [1, 1, 0, 0, 0], terms:2, ..THREE }, most(), 11);
}
#[test]
fn three3() {
    search::holds::<3>(Scenario { left: [1, 1, 1, 0, 0], terms:2, ..THREE }, most(), 11);
}
#[test]
fn three4() {
    search::holds::<3>(Scenario { left: [1, 1, 0, 1, 0], terms:2, ..THREE }, most(), 11);
}

#[test]
fn all_mutants() {
    use Mutant::*;
    let all = [PromisesTwice, PromisesInMemory, PrimariesPromise, TermsTwice, AnyRowSettles, AnswersBeforeDetached, GoesBack, NoUnfitMark, UnfitPromises, MajorityOnly, MembersOnly, NoRecords, OwnConfiguration, OwnTermInTheLog, OneMemberLess, ResumesAlone, ResumesByItsLog, AnyOldPrimary, NoCatchUp, BestByPosition, NamesLate, ConfirmsUnacknowledged, BareConfirmations, AbandonsAfterIntent, NeverStepsDown, LoosensFirst, TightensLate, RecordsAfterPromise, OwnRecordFirst, StartsAsPrimary, RebuildsFromUnconfirmed, NewestYields, VipUnconfirmed];
    let m = most();
    for mutant in all {
        let mut how = Vec::new();
        for heal in [0, 7] {
        for (name, left, terms, restarts, vip) in [("plain", [1,1,0,0,0], 2, false, false), ("plain3", [1,1,0,0,1], 3, false, false), ("change", [1, 1, 2, 0, 0], 2, false, false), ("rebuild", [0,1,0,1,0], 2, false, false), ("vip", [0,1,0,0,0], 2, false, true), ("restart", [1,1,0,0,1], 3, true, false)] {
            let three = search::caught::<3>(Scenario { left, terms, restarts, vip, ..THREE }, mutant, m, heal);
            let strict = search::caught::<2>(Scenario { left, terms, restarts, vip, ..STRICT }, mutant, m, heal);
            let witness = search::caught::<3>(Scenario { left, terms, restarts, vip, ..WITNESS }, mutant, m, heal);
            for (what, told) in [("three", three), ("strict", strict), ("witness", witness)] {
                if !told.is_empty() { how.push((told.len(), name, what, told)); }
            }
        }
        if !how.is_empty() { break; }
        }
        how.sort();
        eprintln!("{mutant:?}: {}: {}", how.len(), how.first().map(|(_, name, what, told)| format!("{name} {what} {}", told.chars().take(400).collect::<String>().replace("\n", " "))).unwrap_or_default());
    }
}
