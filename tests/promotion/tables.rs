//! What the states of the model name by number: logs, configurations and registers, each stored once; and the rules,
//! asked once for each question.
//!
//! The functions that run in the daemon are the ones that are called here. A state holds sixteen bits where they take
//! whole registers, so that millions of states fit, and an answer is remembered, so that a question costs one look-up.

use super::cluster::Mutant;
use pgbaton::pg::epoch::{PromotionId, Term};
use pgbaton::pg::lsn::Lsn;
use pgbaton::promotion::rules::{
    Ask, Change, Configuration, Frozen, PromiseState, Register, Standing, Vote, step_down,
};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// The number of a log, a configuration or a register.
pub type Id = u16;
/// No such thing.
pub const NONE: Id = Id::MAX;
/// No node.
pub const NOBODY: u8 = u8::MAX;
pub const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Multiplies and rotates: quick, and good enough for numbers that nobody chooses.
#[derive(Default, Clone, Copy)]
pub struct Quick(u64);

impl Quick {
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

impl Hasher for Quick {
    fn finish(&self) -> u64 {
        (self.0 ^ (self.0 >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9).rotate_left(31)
    }
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_le_bytes(word));
        }
    }
    fn write_u8(&mut self, value: u8) {
        self.add(u64::from(value));
    }
    fn write_u16(&mut self, value: u16) {
        self.add(u64::from(value));
    }
    fn write_u32(&mut self, value: u32) {
        self.add(u64::from(value));
    }
    fn write_u64(&mut self, value: u64) {
        self.add(value);
    }
    fn write_usize(&mut self, value: usize) {
        self.add(value as u64);
    }
}

pub type Map<K, V> = HashMap<K, V, BuildHasherDefault<Quick>>;

/// A configuration in short: nodes are numbers, members are bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Conf {
    pub term: u8,
    pub change: u8,
    pub primary: u8,
    pub w: u8,
    pub members: u8,
}

impl Conf {
    pub const fn version(self) -> (u8, u8) {
        (self.term, self.change)
    }

    pub fn long(self) -> Configuration {
        Configuration {
            term: Term(u64::from(self.term)),
            change: u32::from(self.change),
            primary: NAMES[usize::from(self.primary)].to_owned(),
            w: self.w,
            members: nodes(self.members).map(|node| NAMES[usize::from(node)].to_owned()).collect(),
        }
    }
}

/// Returns the nodes whose bits are set.
pub fn nodes(mask: u8) -> impl Iterator<Item = u8> {
    (0..8).filter(move |node| mask & (1 << node) != 0)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Entry {
    /// A row of the epoch table.
    Row(Id),
    /// A client's commit, with the term of the server that took it.
    Commit(u8),
}

/// The end of a log; what is before it hangs on its parents.
#[derive(Debug, Clone, Copy)]
pub struct Log {
    pub parent: Id,
    pub length: u8,
    /// The term and the configuration of the newest row.
    pub epoch: u8,
    pub conf: Id,
    pub entry: Entry,
}

/// A register in short.
#[derive(Debug, Clone, Copy)]
pub struct Short {
    pub promise: Option<(u8, u8, PromiseState)>,
    pub confirmed: Option<(u8, u8)>,
    pub record: Id,
    pub unfit: bool,
    pub newest: u8,
    /// Whether the promise is unresolved.
    pub opened: bool,
}

impl Short {
    /// Returns whether the node has promised this term to this holder, and nobody settled it.
    pub fn open(&self, term: u8, holder: u8) -> bool {
        self.opened && self.promise == Some((term, holder, PromiseState::Promised))
    }

    /// Returns whether an unresolved term is promised to this holder.
    pub fn promised(&self, to: u8) -> bool {
        self.opened && self.promise.is_some_and(|(_, holder, _)| holder == to)
    }

    /// Returns the unresolved term that the node has promised to itself.
    pub fn own(&self, node: u8) -> Option<u8> {
        self.promise.and_then(|(term, holder, _)| (holder == node && self.opened).then_some(term))
    }
}

/// What a candidate holds of a voter: the log (0: nothing, 1: a witness, else its number + 2) and the record + 1.
pub type Ballot = (Id, Id);
/// The answer of `enough`: the best and the configuration.
pub type Judged = Option<(u8, Id)>;

pub struct Tables {
    pub confs: Vec<Conf>,
    conf_ids: Map<Conf, Id>,
    pub logs: Vec<Log>,
    children: Map<(Id, Entry), Id>,
    registers: Vec<Register>,
    register_ids: HashMap<Register, Id>,
    pub shorts: Vec<Short>,
    promises: Map<(Id, [u8; 4], Id), Id>,
    moves: Map<(u8, Id, Id), Id>,
    judged: Map<([u8; 2], [Ballot; 5]), Judged>,
    downs: Map<(Id, [Id; 5]), bool>,
    follows: Map<(Id, [u8; 3]), (bool, bool)>,
    /// How many questions the rules themselves answered.
    pub asked: u64,
}

fn short_of(name: &str) -> u8 {
    u8::try_from(NAMES.iter().position(|known| *known == name).unwrap()).unwrap()
}

fn small(term: Term) -> u8 {
    u8::try_from(term.0).unwrap()
}

fn ask(term: u8, holder: u8) -> Ask {
    Ask {
        term: Term(u64::from(term)),
        holder: NAMES[usize::from(holder)].to_owned(),
        id: PromotionId::from_random([term * 16 + holder; 16]),
    }
}

impl Tables {
    pub fn new() -> Self {
        let root = Log { parent: NONE, length: 0, epoch: 0, conf: NONE, entry: Entry::Commit(0) };
        Self {
            confs: Vec::new(),
            conf_ids: Map::default(),
            logs: vec![root],
            children: Map::default(),
            registers: Vec::new(),
            register_ids: HashMap::new(),
            shorts: Vec::new(),
            promises: Map::default(),
            moves: Map::default(),
            judged: Map::default(),
            downs: Map::default(),
            follows: Map::default(),
            asked: 0,
        }
    }

    pub fn conf(&mut self, conf: Conf) -> Id {
        *self.conf_ids.entry(conf).or_insert_with(|| {
            self.confs.push(conf);
            Id::try_from(self.confs.len() - 1).unwrap()
        })
    }

    pub fn change(&self, from: Id, to: Conf) -> Change {
        self.confs[usize::from(from)].long().change_to(&to.long())
    }

    pub fn log(&self, log: Id) -> Log {
        self.logs[usize::from(log)]
    }

    pub fn conf_of(&self, id: Id) -> Conf {
        self.confs[usize::from(id)]
    }

    pub fn append(&mut self, log: Id, entry: Entry) -> Id {
        if let Some(known) = self.children.get(&(log, entry)) {
            return *known;
        }
        let before = self.log(log);
        let (epoch, conf) = match entry {
            Entry::Row(conf) => (self.conf_of(conf).term, conf),
            Entry::Commit(_) => (before.epoch, before.conf),
        };
        let id = Id::try_from(self.logs.len()).unwrap();
        self.logs.push(Log { parent: log, length: before.length + 1, epoch, conf, entry });
        self.children.insert((log, entry), id);
        id
    }

    /// Returns the first `length` entries of a log.
    pub fn cut(&self, mut log: Id, length: u8) -> Id {
        while self.log(log).length > length {
            log = self.log(log).parent;
        }
        log
    }

    /// Returns whether one log is the beginning of another, or the same.
    pub fn within(&self, short: Id, long: Id) -> bool {
        short == long || self.cut(long, self.log(short).length) == short
    }

    /// Returns what two logs have in common.
    pub fn common(&self, one: Id, other: Id) -> Id {
        let length = self.log(one).length.min(self.log(other).length);
        let (mut one, mut other) = (self.cut(one, length), self.cut(other, length));
        while one != other {
            (one, other) = (self.log(one).parent, self.log(other).parent);
        }
        one
    }

    pub fn short(&self, register: Id) -> Short {
        self.shorts[usize::from(register)]
    }

    pub fn register(&mut self, register: Register) -> Id {
        if let Some(known) = self.register_ids.get(&register) {
            return *known;
        }
        let id = Id::try_from(self.registers.len()).unwrap();
        let record = register.record.as_ref().map(|record| Conf {
            term: small(record.term),
            change: u8::try_from(record.change).unwrap(),
            primary: short_of(&record.primary),
            w: record.w,
            members: record.members.iter().map(|member| 1 << short_of(member)).sum(),
        });
        let record = record.map_or(NONE, |record| self.conf(record));
        self.shorts.push(Short {
            promise: register.promise.as_ref().map(|p| (small(p.term), short_of(&p.holder), p.state)),
            confirmed: register.confirmed.as_ref().map(|known| (small(known.term), short_of(&known.holder))),
            record,
            unfit: register.unfit,
            newest: small(register.newest_term().unwrap_or_default()),
            opened: register.open().is_some(),
        });
        self.registers.push(register.clone());
        self.register_ids.insert(register, id);
        id
    }

    fn moved(
        &mut self,
        key: (u8, Id, Id),
        change: impl FnOnce(&Self, &Register) -> Option<Register>,
    ) -> Option<Id> {
        if let Some(known) = self.moves.get(&key) {
            return (*known != NONE).then_some(*known);
        }
        self.asked += 1;
        let after = change(self, &self.registers[usize::from(key.1)]);
        let id = after.map(|register| self.register(register));
        self.moves.insert(key, id.unwrap_or(NONE));
        id
    }

    pub fn promise(&mut self, register: Id, who: [u8; 4], log: Id, mutant: Option<Mutant>) -> Option<Id> {
        let key = (register, who, log);
        if let Some(known) = self.promises.get(&key) {
            return (*known != NONE).then_some(*known);
        }
        self.asked += 1;
        let [term, holder, voter, primary] = who;
        let standing = Standing {
            voter: NAMES[usize::from(voter)].to_owned(),
            primary: primary == 1 && mutant != Some(Mutant::PrimariesPromise),
            log: (log != NONE).then(|| self.conf_of(log).long()),
        };
        let before = &self.registers[usize::from(register)];
        let mut from = before.clone();
        match mutant {
            Some(Mutant::PromisesTwice) => from.promise = None,
            Some(Mutant::AnyRowSettles)
                if standing.log.as_ref().is_some_and(|log| {
                    from.promise.as_ref().is_some_and(|promise| log.term >= promise.term)
                }) =>
            {
                from.promise = None;
            }
            Some(Mutant::UnfitPromises) => from.unfit = false,
            Some(Mutant::TermsTwice) => (from.promise, from.confirmed) = (None, None),
            _ => {}
        }
        let after = from.promise(&ask(term, holder), &standing).ok();
        let after = after.map(|after| Register { unfit: before.unfit, ..after });
        let id = after.map(|register| self.register(register));
        self.promises.insert(key, id.unwrap_or(NONE));
        id
    }

    pub fn confirm(&mut self, register: Id, conf: Id, mutant: Option<Mutant>) -> Id {
        let confirmed = self.moved((0, register, conf), |tables, register| {
            let after = register.confirm(&tables.conf_of(conf).long());
            Some(match mutant {
                Some(Mutant::BareConfirmations) => Register { record: register.record.clone(), ..after },
                _ => after,
            })
        });
        confirmed.unwrap_or(register)
    }

    pub fn abandon(&mut self, register: Id, term: u8, holder: u8) -> Id {
        let key = (1, register, Id::from(term) * 16 + Id::from(holder));
        self.moved(key, |_, register| Some(register.abandon(&ask(term, holder)))).unwrap_or(register)
    }

    pub fn record(&mut self, register: Id, conf: Id, mutant: Option<Mutant>) -> Option<Id> {
        self.moved((2, register, conf), |tables, register| {
            let conf = tables.conf_of(conf).long();
            if mutant == Some(Mutant::RecordsAfterPromise) {
                let free = Register { promise: None, ..register.clone() };
                let after = free.record(&conf)?;
                return Some(Register { promise: register.promise.clone(), ..after });
            }
            register.record(&conf)
        })
    }

    pub fn heard(&mut self, register: Id, from: u8, other: Id, mutant: Option<Mutant>) -> Id {
        let heard = self.moved((3 + from, register, other), |tables, register| {
            let mut other = tables.registers[usize::from(other)].clone();
            if mutant == Some(Mutant::BareConfirmations) {
                // What is told is the bare term.
                let confirmed = other.confirmed.clone()?;
                let own = register.record.clone();
                other.record = Some(Configuration {
                    term: confirmed.term,
                    change: 0,
                    primary: confirmed.holder,
                    w: 0,
                    members: vec![],
                });
                return Some(Register { record: own, ..register.heard(NAMES[usize::from(from)], &other) });
            }
            Some(register.heard(NAMES[usize::from(from)], &other))
        });
        heard.unwrap_or(register)
    }

    pub fn unfit(&mut self, register: Id, unfit: bool) -> Id {
        let key = (if unfit { 20 } else { 21 }, register, 0);
        self.moved(key, |_, register| Some(Register { unfit, ..register.clone() })).unwrap_or(register)
    }

    /// Forgets the promise, as a register that isn't durable would.
    pub fn forget(&mut self, register: Id) -> Id {
        self.moved((22, register, 0), |_, register| Some(Register { promise: None, ..register.clone() }))
            .unwrap_or(register)
    }

    /// Asks whether a node may stream from the holder of a term, and whether it may be rebuilt from it.
    pub fn follows(&mut self, register: Id, holder: u8, term: u8, prefix: bool) -> (bool, bool) {
        let key = (register, [holder, term, u8::from(prefix)]);
        if let Some(known) = self.follows.get(&key) {
            return *known;
        }
        self.asked += 1;
        let (name, term) = (NAMES[usize::from(holder)], Term(u64::from(term)));
        let register = &self.registers[usize::from(register)];
        let told = (register.follows(name, term, prefix), register.may_be_rebuilt_from(name, term));
        self.follows.insert(key, told);
        told
    }

    /// Asks `enough`.
    pub fn enough(
        &mut self,
        term: u8,
        candidate: u8,
        ballots: [Ballot; 5],
        voters: usize,
        mutant: Option<Mutant>,
    ) -> Judged {
        let key = ([term, candidate], ballots);
        if let Some(known) = self.judged.get(&key) {
            return *known;
        }
        self.asked += 1;
        let ask = ask(term, candidate);
        let mut votes = Vec::new();
        for (voter, (log, record)) in ballots.iter().enumerate().filter(|(_, (log, _))| *log != 0) {
            let data = (*log > 1).then(|| {
                let log = self.log(*log - 2);
                Frozen {
                    epoch: Term(u64::from(log.epoch)),
                    end: Lsn(u64::from(log.length)),
                    configuration: (log.conf != NONE).then(|| self.conf_of(log.conf).long()),
                }
            });
            let record = (*record != 0).then(|| self.conf_of(*record - 1).long());
            votes.push(Vote { voter: NAMES[voter].to_owned(), data, record });
        }
        let judged = super::mutants::enough_with(mutant, &ask, &mut votes, voters);
        let judged = judged.ok().map(|enough| {
            let configuration = Conf {
                term: small(enough.configuration.term),
                change: u8::try_from(enough.configuration.change).unwrap(),
                primary: short_of(&enough.configuration.primary),
                w: enough.configuration.w,
                members: enough.configuration.members.iter().map(|member| 1 << short_of(member)).sum(),
            };
            (short_of(&enough.best), self.conf(configuration))
        });
        self.judged.insert(key, judged);
        judged
    }

    /// Asks `step_down` with the registers that a primary has read.
    pub fn steps_down(&mut self, own: Id, read: [Id; 5], voters: usize) -> bool {
        if let Some(known) = self.downs.get(&(own, read)) {
            return *known;
        }
        self.asked += 1;
        let heard: Vec<(&str, &Register)> = read
            .iter()
            .enumerate()
            .filter(|(_, id)| **id != NONE)
            .map(|(voter, id)| (NAMES[voter], &self.registers[usize::from(*id)]))
            .collect();
        let down = step_down(&self.conf_of(own).long(), &heard, voters).is_some();
        self.downs.insert((own, read), down);
        down
    }
}
