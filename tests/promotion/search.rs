//! The search: every state within the bounds, nearest first, so that the first violation has the shortest history.

use super::cluster::{Mutant, Pg, Scenario, State};
use super::steps::{Broken, Machine, Step, nodes_of};
use super::tables::{NOBODY, NONE, Quick};
use std::collections::HashSet;
use std::fmt::Write as _;
use std::hash::{BuildHasherDefault, Hash as _, Hasher as _};

type Seen = HashSet<u64, BuildHasherDefault<Quick>>;

/// What a search came to.
pub struct Explored {
    pub states: usize,
    pub steps: u64,
    /// How far from the start the last state is.
    pub depth: usize,
    /// Whether nothing within the bounds was left out.
    pub complete: bool,
    /// How many questions the rules answered.
    pub asked: u64,
    /// The shortest way to a violation.
    pub broken: Option<(Broken, Vec<Step>)>,
    /// A state from which no primary serves any more, though everything works: the way to it.
    pub stuck: Option<(String, Vec<Step>)>,
    /// From how many states the way back was walked.
    pub healed: usize,
}

fn print_of<const N: usize>(state: &State<N>) -> u64 {
    let mut hasher = Quick::default();
    state.hash(&mut hasher);
    hasher.finish()
}

/// Explores a scenario up to a number of states; `heal` says from each how manieth state the way back is tried.
pub fn explore<const N: usize>(scenario: Scenario, most: usize, heal: usize) -> Explored {
    let mut machine = Machine::new(scenario);
    let start: State<N> = scenario.start(&mut machine.tables);
    let mut seen = Seen::default();
    seen.insert(print_of(&start));
    let mut healthy = Seen::default();
    let mut before: Vec<(u32, u16)> = vec![(0, 0)];
    let (mut here, mut first) = (vec![start], 0);
    let mut out = Vec::new();
    let mut told = Explored {
        states: 1,
        steps: 0,
        depth: 0,
        complete: true,
        asked: 0,
        broken: None,
        stuck: None,
        healed: 0,
    };
    'levels: while !here.is_empty() {
        let mut there = Vec::new();
        for (at, state) in here.iter().enumerate() {
            let number = first + at;
            if heal > 0 && number.is_multiple_of(heal) {
                told.healed += 1;
                if let Err(why) = mend(&mut machine, state, NOBODY, &mut healthy) {
                    told.stuck = Some((why, way::<N>(scenario, &before, number, None)));
                    break 'levels;
                }
            }
            machine.next(state, &mut out);
            for (taken, (step, after, broken)) in out.iter().enumerate() {
                told.steps += 1;
                if let Some(broken) = broken {
                    told.broken = Some((*broken, way::<N>(scenario, &before, number, Some(*step))));
                    break 'levels;
                }
                if seen.insert(print_of(after)) {
                    before.push((number as u32, taken as u16));
                    there.push(*after);
                }
            }
            if before.len() > most {
                told.complete = false;
                break 'levels;
            }
        }
        first += here.len();
        here = there;
        told.depth += 1;
    }
    told.states = before.len();
    told.asked = machine.tables.asked;
    told
}

/// Walks back to the start, and tells the steps from there.
fn way<const N: usize>(
    scenario: Scenario,
    before: &[(u32, u16)],
    to: usize,
    last: Option<Step>,
) -> Vec<Step> {
    let (mut at, mut taken) = (to, Vec::new());
    while at != 0 {
        taken.push(before[at].1);
        at = before[at].0 as usize;
    }
    let mut machine = Machine::new(scenario);
    let mut state: State<N> = scenario.start(&mut machine.tables);
    let (mut steps, mut out) = (Vec::new(), Vec::new());
    for number in taken.into_iter().rev() {
        machine.next(&state, &mut out);
        let (step, after, _) = out[usize::from(number)];
        steps.push(step);
        state = after;
    }
    steps.extend(last);
    steps
}

/// Lets everything work again, except the node that is `dead`, and sees whether the cluster serves in the end.
///
/// Nobody decides anything: each node does what its daemon would, the next that would stand stands.
pub fn mend<const N: usize>(
    machine: &mut Machine,
    from: &State<N>,
    dead: u8,
    healthy: &mut Seen,
) -> Result<(), String> {
    machine.healing = true;
    let mended = mending(machine, from, dead, healthy);
    machine.healing = false;
    mended
}

fn mending<const N: usize>(
    machine: &mut Machine,
    from: &State<N>,
    dead: u8,
    healthy: &mut Seen,
) -> Result<(), String> {
    let mut state = *from;
    if dead != NOBODY && state.up(dead) {
        state.stop(dead);
    }
    let (mut walked, mut out, mut stands) = (Vec::new(), Vec::new(), 0u8);
    let mut taken: Vec<Step> = Vec::new();
    for _ in 0..400 {
        let print = print_of(&state);
        if healthy.contains(&print) || serves(machine, &state, dead) {
            healthy.extend(walked);
            healthy.insert(print);
            return Ok(());
        }
        walked.push(print);
        machine.next(&state, &mut out);
        let turn = stands % N as u8;
        let chosen = out
            .iter()
            .filter(|(step, ..)| !matches!(step, Step::Boot(node) if *node == dead))
            .filter_map(|(step, after, broken)| rank(*step, turn).map(|rank| (rank, step, after, broken)))
            .filter(|(.., after, _)| after != &&state)
            .min_by_key(|(rank, ..)| *rank);
        match chosen {
            Some((.., Some(broken))) => return Err(format!("{broken:?} on the way back")),
            Some((_, step, after, _)) => {
                stands += u8::from(matches!(step, Step::Stand(..)));
                taken.push(*step);
                state = *after;
            }
            // It isn't this one's turn to stand, or it can't: the next one.
            None if stands < 4 * N as u8 => stands += 1,
            None => {
                return Err(format!("nobody can do anything after {taken:?}: {}", describe(machine, &state)));
            }
        }
        if stands > 6 * N as u8 {
            break;
        }
    }
    Err(format!("no end of candidates after {taken:?}: {}", describe(machine, &state)))
}

/// The order in which a healthy cluster acts: what is under way first, to stand last.
fn rank(step: Step, turn: u8) -> Option<u8> {
    Some(match step {
        Step::Boot(_) => 0,
        Step::Hear(..) => 1,
        Step::Detached(_) => 2,
        Step::GoDown(_) | Step::Yield(..) => 3,
        Step::Fit(_) => 4,
        Step::Promote(_) => 5,
        Step::Row(_) | Step::Confirm(_) | Step::OwnRecord(_) | Step::Loosen(_) => 6,
        Step::VipUp(_) => 7,
        Step::Copy(_) => 8,
        Step::Connect(_) => 9,
        Step::Rebuild(..) => 10,
        Step::Attach(..) => 11,
        Step::Intent(_) | Step::Names(_) => 12,
        Step::Answer(..) => 13,
        Step::CatchUp(_) => 14,
        Step::Ask(..) => 15,
        Step::StandAgain(_) => 16,
        Step::Abandon(_) => 17,
        Step::Stand(node, _) if node == turn => 18,
        _ => return None,
    })
}

/// Whether one primary serves, and every other data node follows it.
fn serves<const N: usize>(machine: &Machine, state: &State<N>, dead: u8) -> bool {
    let Some(primary) = (0..N as u8).find(|node| state.node(*node).pg == Pg::Primary) else { return false };
    let it = state.node(primary);
    let short = machine.tables.short(it.register);
    let term = machine.tables.conf_of(it.names).term;
    it.intent == 0
        && it.pending == NONE
        && short.confirmed == Some((term, primary))
        && machine.tables.within(it.log, state.acked)
        && nodes_of(u128::from(machine.scenario.others(primary))).all(|node| {
            let other = state.node(node);
            node == dead
                || (other.receiver == primary
                    && other.log == it.log
                    && other.stand == 0
                    && !machine.tables.short(other.register).unfit)
        })
}

/// A state in words, for the report of a failure.
pub fn describe<const N: usize>(machine: &Machine, state: &State<N>) -> String {
    let mut text = String::new();
    for (at, node) in state.nodes.iter().enumerate() {
        let short = machine.tables.short(node.register);
        let names = (node.names != NONE).then(|| machine.tables.conf_of(node.names));
        let log = machine.tables.log(node.log);
        let mut entries = Vec::new();
        let mut end = node.log;
        while end != 0 {
            entries.push(machine.tables.log(end).entry);
            end = machine.tables.log(end).parent;
        }
        entries.reverse();
        write!(
            text,
            "\n  {}: {:?} log {entries:?} epoch {} names {names:?} promise {:?} confirmed {:?} record {:?} unfit {} \
             intent {} conn {} receiver {} stand {} ballots {:?}",
            super::tables::NAMES[at],
            node.pg,
            log.epoch,
            short.promise,
            short.confirmed,
            (short.record != NONE).then(|| machine.tables.conf_of(short.record)),
            short.unfit,
            node.intent,
            node.conn,
            node.receiver,
            node.stand,
            node.ballots,
        )
        .unwrap();
    }
    text
}

/// Runs a scenario whose rules are whole: a violation, or a state without a way back, fails with its history.
pub fn holds<const N: usize>(scenario: Scenario, most: usize, heal: usize) -> Explored {
    let told = explore::<N>(scenario, most, heal);
    if let Some((broken, steps)) = &told.broken {
        panic!("{}: {broken:?} after {steps:?}", scenario.name);
    }
    if let Some((why, steps)) = &told.stuck {
        panic!("{}: {why}\nafter {steps:?}", scenario.name);
    }
    eprintln!(
        "{}: {} states, {} steps, depth {}, {}, {} questions, {} ways back",
        scenario.name,
        told.states,
        told.steps,
        told.depth,
        if told.complete { "complete" } else { "cut off" },
        told.asked,
        told.healed,
    );
    told
}

/// Runs a scenario with a broken rule and returns how it was noticed.
pub fn caught<const N: usize>(scenario: Scenario, mutant: Mutant, most: usize, heal: usize) -> String {
    let told = explore::<N>(Scenario { mutant: Some(mutant), ..scenario }, most, heal);
    match (told.broken, told.stuck) {
        (Some((broken, steps)), _) => format!("{broken:?} after {}: {steps:?}", steps.len()),
        (_, Some((why, steps))) => format!("stuck after {}: {steps:?}: {why}", steps.len()),
        _ => String::new(),
    }
}
