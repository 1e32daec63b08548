//! Beyond what can be explored whole: four and five voters, W = 2, long histories, each from its seed.

use super::cluster::{Scenario, State};
use super::search::{describe, mend};
use super::steps::{Machine, Step};
use super::tables::NOBODY;
use super::{THREE, bounds};
use std::collections::HashSet;

/// Four data nodes, `ANY 2`: a commit is on three disks.
const FOUR: Scenario = Scenario {
    name: "four data nodes, ANY 2",
    data: 0b1111,
    w: 2,
    terms: 8,
    left: [6, 8, 3, 2, 6],
    restarts: true,
    vip: true,
    ..THREE
};
/// Three data nodes and two witnesses: the members that must be frozen aren't implied by a majority.
const FIVE: Scenario = Scenario { name: "three data nodes, two witnesses", data: 0b111, w: 1, ..FOUR };

/// Numbers that look drawn, the same for the same seed (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }
}

/// Takes random steps; what is under way is preferred to new troubles, or nothing would ever be finished.
fn walk<const N: usize>(scenario: Scenario, seed: u64, steps: usize) -> usize {
    let mut machine = Machine::new(scenario);
    let mut random = Random(seed);
    let mut state: State<N> = scenario.start(&mut machine.tables);
    let (mut taken, mut out): (Vec<Step>, _) = (Vec::new(), Vec::new());
    for _ in 0..steps {
        machine.next(&state, &mut out);
        if out.is_empty() {
            break;
        }
        let mut chosen = random.below(out.len());
        if matches!(out[chosen].0, Step::Crash(_) | Step::DaemonDies(_) | Step::Abandon(_) | Step::Stand(..))
        {
            chosen = random.below(out.len());
        }
        let (step, after, broken) = out[chosen];
        taken.push(step);
        assert!(broken.is_none(), "{}, seed {seed}: {broken:?} after {taken:?}", scenario.name);
        state = after;
    }
    let mended = mend(&mut machine, &state, NOBODY, &mut HashSet::default());
    let words = describe(&machine, &state);
    assert!(mended.is_ok(), "{}, seed {seed}: {mended:?} after {taken:?}{words}", scenario.name);
    taken.len()
}

#[test]
fn random_histories_lose_nothing_and_end_well() {
    let seeds = bounds(60, 20_000);
    let mut steps = 0;
    for seed in 0..seeds as u64 {
        steps += walk::<4>(FOUR, seed, 250);
        steps += walk::<5>(FIVE, seed, 250);
    }
    assert!(steps > seeds * 150, "the histories end early: {steps} steps");
}

/// With one of three nodes gone for ever the others serve in the end, unless that would be a guess.
#[test]
fn the_others_serve_without_one() {
    const N: usize = 3;
    let scenario = Scenario { left: [2, 3, 0, 0, 2], terms: 4, ..THREE };
    let (mut well, mut held) = (0, 0);
    for seed in 0..bounds(100, 20_000) as u64 {
        let mut machine = Machine::new(scenario);
        let mut random = Random(seed);
        let mut state: State<N> = scenario.start(&mut machine.tables);
        let (mut taken, mut out): (Vec<Step>, _) = (Vec::new(), Vec::new());
        for _ in 0..random.below(60) {
            machine.next(&state, &mut out);
            if out.is_empty() {
                break;
            }
            let (step, after, _) = out[random.below(out.len())];
            taken.push(step);
            state = after;
        }
        for dead in 0..N as u8 {
            let mended = mend(&mut machine, &state, dead, &mut HashSet::default());
            let mut others = (0..N as u8).filter(|node| *node != dead);
            let explained = others.any(|node| {
                let short = machine.tables.short(state.node(node).register);
                // The dead one holds a promise, or has to finish; its data was to replace this one's; or this one
                // counts on it and goes on, while the third has stood for a higher term and has a tail of its own.
                let counts_on = state.node(node).ballots[usize::from(dead)].0 != 0;
                short.promised(dead) || short.unfit || counts_on || state.node(node).intent != 0
            });
            match mended {
                Ok(()) => well += 1,
                Err(_) if explained => held += 1,
                Err(why) => panic!("seed {seed}, without {dead}: {why} after {taken:?}"),
            }
        }
    }
    eprintln!("without one of three nodes: {well} times served, {held} times held");
    assert!(well > 5 * held);
}
