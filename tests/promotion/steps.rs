//! What may happen next in the model: every step of every node, in every order, and every fault.
//!
//! A message that is late, lost or doubled is a step that is taken later, never, or again. Nothing is assumed
//! about time.

use super::cluster::{ABANDONS, COMMITS, CRASHES, Mutant, Pg, Scenario, State};
use super::tables::{Conf, Entry, Id, NOBODY, NONE, Tables, nodes};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The power of a node fails.
    Crash(u8),
    /// Its daemon is killed; the server runs on.
    DaemonDies(u8),
    /// It starts, as a standby (rule 11).
    Boot(u8),
    /// Its server is started in place, as the primary it was.
    Restart(u8),
    /// A client's transaction is written.
    Commit(u8),
    /// A standby attaches: `primary_conninfo` names its upstream.
    Attach(u8, u8),
    /// The receiver connects, or tells a promoted upstream where it is.
    Connect(u8),
    /// One entry arrives and is flushed.
    Copy(u8),
    /// A node stands for a term: it promises it to itself.
    Stand(u8, u8),
    /// After its daemon died it asks again.
    StandAgain(u8),
    /// An ask arrives at a voter: (voter, term, candidate).
    Ask(u8, u8, u8),
    /// A receiver that was told to stop is gone.
    Detached(u8),
    /// The candidate has a voter's answer.
    Answer(u8, u8),
    /// The candidate fetches an entry from the best.
    CatchUp(u8),
    Abandon(u8),
    /// The candidate has a voter forget its promise, and hasn't abandoned the term itself yet.
    Forsake(u8, u8),
    /// The names of the new term come into force.
    Names(u8),
    Intent(u8),
    Promote(u8),
    /// The row of the promotion, or of a change, is written.
    Row(u8),
    Confirm(u8),
    /// A node reads the register of another one.
    Hear(u8, u8),
    GoDown(u8),
    VipUp(u8),
    /// Two VIPs meet: the second one's holder fences itself.
    Yield(u8, u8),
    /// A node's data is replaced by the confirmed primary's.
    Rebuild(u8, u8),
    /// It has caught up: the mark goes.
    Fit(u8),
    /// A primary sets out to change its configuration to (W, members).
    Change(u8, u8, u8),
    /// A voter records a change.
    Record(u8, u8),
    /// The primary's own register records it, last.
    OwnRecord(u8),
    /// The looser names come into force.
    Loosen(u8),
}

/// What must never happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// P1: a confirmed primary lacks an acknowledged commit.
    Lost,
    /// P2: a commit is acknowledged that no later primary has.
    TwoWriters,
    /// P3: the VIP is on a node that isn't a confirmed primary.
    Vip,
    /// Rule 10: the newest confirmed primary lost its VIP to an older one.
    Displaced,
}

pub struct Machine {
    pub scenario: Scenario,
    pub tables: Tables,
    /// After the faults: nothing fails any more, and no bound is in the way.
    pub healing: bool,
}

pub type Out<const N: usize> = Vec<(Step, State<N>, Option<Broken>)>;

impl Machine {
    pub fn new(scenario: Scenario) -> Self {
        Self { scenario, tables: Tables::new(), healing: false }
    }

    /// Lists everything that may happen next.
    pub fn next<const N: usize>(&mut self, state: &State<N>, out: &mut Out<N>) {
        out.clear();
        for node in 0..N as u8 {
            if self.scenario.is_data(node) {
                self.faults(state, node, out);
                self.streaming(state, node, out);
                self.standing(state, node, out);
                self.promoting(state, node, out);
                self.changing(state, node, out);
                self.rebuilding(state, node, out);
            }
            self.voting(state, node, out);
        }
        for (_, after, broken) in out.iter_mut().filter(|(_, _, broken)| broken.is_none()) {
            *broken = self.settle(after);
        }
    }

    /// Acknowledges what can be. At once: an acknowledgement that comes later breaks nothing that an early one
    /// doesn't, for what the clients were told only grows.
    fn settle<const N: usize>(&self, after: &mut State<N>) -> Option<Broken> {
        for node in 0..N as u8 {
            if after.node(node).pg == Pg::Primary && self.scenario.is_data(node) {
                let reached = self.reached(after, node);
                if reached != after.acked
                    && let Some(broken) = self.acknowledge(after, node, reached)
                {
                    return Some(broken);
                }
            }
        }
        None
    }

    pub fn may(&self, left: [u8; 5], what: usize) -> bool {
        !self.healing && left[what] > 0
    }

    fn faults<const N: usize>(&mut self, state: &State<N>, node: u8, out: &mut Out<N>) {
        let it = state.node(node);
        let mut push = |step, change: &mut dyn FnMut(&mut State<N>)| {
            let mut after = *state;
            change(&mut after);
            out.push((step, after, None));
        };
        if it.pg != Pg::Off && self.may(state.left, CRASHES) {
            let forgets = self.scenario.is(Mutant::PromisesInMemory);
            let register = if forgets { self.tables.forget(it.register) } else { it.register };
            push(Step::Crash(node), &mut |after| {
                after.left[CRASHES] -= 1;
                after.stop(node);
                after.node_mut(node).register = register;
            });
            if it.stand != 0 || it.pending != NONE {
                push(Step::DaemonDies(node), &mut |after| {
                    after.left[CRASHES] -= 1;
                    after.node_mut(node).forget();
                });
            }
        }
        if it.pg == Pg::Off {
            push(Step::Boot(node), &mut |after| after.node_mut(node).pg = Pg::Standby);
            let short = self.tables.short(it.register);
            let was = it.names != NONE
                && it.intent == 0
                && short.confirmed == Some((self.term(state, node), node))
                && self.tables.log(it.log).epoch == self.term(state, node);
            // A node that has promised a higher term, kept or not, comes back by a new term only.
            let unbound = short.promise.is_none_or(|(term, ..)| term <= self.term(state, node))
                || self.scenario.is(Mutant::StartsAsPrimary);
            if was && unbound && (self.scenario.restarts || self.scenario.is(Mutant::StartsAsPrimary)) {
                push(Step::Restart(node), &mut |after| {
                    after.node_mut(node).pg = Pg::Primary;
                    after.node_mut(node).conn = NOBODY;
                });
            }
        }
        if it.pg == Pg::Primary && self.may(state.left, COMMITS) {
            let entry = Entry::Commit(self.term(state, node));
            let log = self.tables.append(it.log, entry);
            push(Step::Commit(node), &mut |after| {
                after.left[COMMITS] -= 1;
                after.node_mut(node).log = log;
            });
        }
    }

    /// The term whose names are in force on a node: of its last promotion.
    pub fn term<const N: usize>(&self, state: &State<N>, node: u8) -> u8 {
        let names = state.node(node).names;
        if names == NONE { 0 } else { self.tables.conf_of(names).term }
    }

    /// The term that a node holds: the one it stands for, or that of its last promotion.
    fn held<const N: usize>(&self, state: &State<N>, node: u8) -> u8 {
        let own = self.tables.short(state.node(node).register).own(node);
        own.unwrap_or_else(|| self.term(state, node))
    }

    /// Whether a node has to finish its term: its intent is written, and nothing has settled it.
    pub fn bound<const N: usize>(&self, state: &State<N>, node: u8) -> bool {
        let it = state.node(node);
        it.intent != 0 && self.tables.short(it.register).open(it.intent, node)
    }

    fn streaming<const N: usize>(&mut self, state: &State<N>, node: u8, out: &mut Out<N>) {
        let it = state.node(node);
        let short = self.tables.short(it.register);
        if it.pg == Pg::Standby {
            if it.receiver != NOBODY && it.conn != it.receiver {
                let mut after = *state;
                after.node_mut(node).receiver = NOBODY;
                out.push((Step::Detached(node), after, None));
            }
            for upstream in nodes(self.scenario.others(node)) {
                if upstream == it.conn || it.stand != 0 || self.bound(state, node) {
                    continue;
                }
                let (term, prefix) =
                    (self.held(state, upstream), self.tables.within(it.log, state.node(upstream).log));
                let back = self.scenario.is(Mutant::GoesBack) && short.confirmed == Some((term, upstream));
                // A free node helps a running primary only.
                let runs = state.node(upstream).pg == Pg::Primary || short.open(term, upstream);
                let prefix = prefix && state.up(upstream) && runs;
                // After the faults nobody leaves a higher term for a lower one.
                if self.healing && it.conn != NOBODY && state.up(it.conn) && self.held(state, it.conn) > term
                {
                    continue;
                }
                if back || self.tables.follows(it.register, upstream, term, prefix).0 {
                    let mut after = *state;
                    let source = state.node(upstream);
                    let changed = after.node_mut(node);
                    changed.conn = upstream;
                    changed.receiver = NOBODY;
                    if source.pg != Pg::Off && self.tables.within(it.log, source.log) {
                        changed.receiver = upstream;
                        if source.pg == Pg::Primary {
                            changed.told = (upstream, it.log);
                        }
                        // Unfit: what counts is the end of the confirmed primary that it streams from now.
                        if short.unfit
                            && source.pg == Pg::Primary
                            && short.confirmed == Some((term, upstream))
                        {
                            changed.target = source.log;
                        }
                    }
                    out.push((Step::Attach(node, upstream), after, None));
                }
            }
            if it.conn != NOBODY && state.up(it.conn) {
                let source = state.node(it.conn);
                let fits = self.tables.within(it.log, source.log);
                let told = if source.pg == Pg::Primary { (it.conn, it.log) } else { it.told };
                let confirmed =
                    source.pg == Pg::Primary && short.confirmed == Some((self.term(state, it.conn), it.conn));
                if fits && (it.receiver == NOBODY || (it.receiver == it.conn && told != it.told)) {
                    let mut after = *state;
                    let changed = after.node_mut(node);
                    changed.receiver = it.conn;
                    changed.told = told;
                    if short.unfit && confirmed {
                        changed.target = source.log;
                    }
                    out.push((Step::Connect(node), after, None));
                }
            }
            if it.receiver != NOBODY {
                let source = state.node(it.receiver);
                if it.log != source.log && self.tables.within(it.log, source.log) {
                    let mut after = *state;
                    let log = self.tables.cut(source.log, self.tables.log(it.log).length + 1);
                    let changed = after.node_mut(node);
                    changed.log = log;
                    if source.pg == Pg::Primary {
                        changed.told = (it.receiver, log);
                    }
                    out.push((Step::Copy(node), after, None));
                }
            }
        }
    }

    /// Returns up to where the names in force on a primary let it acknowledge.
    pub fn reached<const N: usize>(&self, state: &State<N>, node: u8) -> Id {
        let it = state.node(node);
        if it.names == NONE {
            return it.log;
        }
        let names = self.tables.conf_of(it.names);
        if names.w == 0 {
            return it.log;
        }
        let mut flushed: Vec<u8> = nodes(names.members)
            .map(|member| state.node(member))
            .filter(|member| member.told.0 == node)
            .map(|member| self.tables.log(self.tables.common(member.told.1, it.log)).length)
            .collect();
        flushed.sort_unstable_by(|one, other| other.cmp(one));
        let length = flushed.get(usize::from(names.w) - 1).copied().unwrap_or(0);
        self.tables.cut(it.log, length)
    }

    /// The term whose primary wrote the end of a log.
    fn writer(&self, log: Id) -> u8 {
        match self.tables.log(log).entry {
            Entry::Row(conf) => self.tables.conf_of(conf).term,
            Entry::Commit(term) => term,
        }
    }

    fn acknowledge<const N: usize>(&self, after: &mut State<N>, node: u8, reached: Id) -> Option<Broken> {
        if self.tables.within(reached, after.acked) {
            return None;
        }
        if !self.tables.within(after.acked, reached) {
            return Some(Broken::TwoWriters);
        }
        after.acked = reached;
        let newer = self.tables.log(after.top).epoch > self.term(after, node);
        (newer && !self.tables.within(reached, after.top)).then_some(Broken::TwoWriters)
    }

    fn voting<const N: usize>(&mut self, state: &State<N>, node: u8, out: &mut Out<N>) {
        let it = state.node(node);
        if it.pg == Pg::Off {
            return;
        }
        let data = self.scenario.is_data(node);
        for bit in nodes_of(state.asks) {
            let (term, holder) = ((bit / N as u8) + 1, bit % N as u8);
            // After the faults a candidate asks until its term is settled, also when it has written its intent.
            let asks = self.tables.short(state.node(holder).register).own(holder) == Some(term);
            if holder == node || (self.healing && !(asks && state.up(holder))) {
                continue;
            }
            let log = if data { self.tables.log(it.log).conf } else { NONE };
            let who = [term, holder, node, u8::from(it.pg == Pg::Primary)];
            if let Some(register) = self.tables.promise(it.register, who, log, self.scenario.mutant)
                && register != it.register
            {
                let mut after = *state;
                let changed = after.node_mut(node);
                changed.register = register;
                if it.pg == Pg::Standby {
                    changed.conn = NOBODY;
                }
                out.push((Step::Ask(node, term, holder), after, None));
            }
        }
        for from in 0..N as u8 {
            if from != node && state.up(from) {
                let mutant = self.scenario.mutant;
                let register = self.tables.heard(it.register, from, state.node(from).register, mutant);
                if register != it.register {
                    let mut after = *state;
                    after.node_mut(node).register = register;
                    if it.stand != 0 && !self.tables.short(register).open(it.stand, node) {
                        after.node_mut(node).forget();
                    }
                    out.push((Step::Hear(node, from), after, None));
                }
            }
        }
        for bit in nodes_of(u128::from(state.records)) {
            let conf = self.tables.conf_of(Id::from(bit));
            let short = self.tables.short(it.register);
            if conf.primary != node
                && short.record != Id::from(bit)
                && let Some(register) = self.tables.record(it.register, Id::from(bit), self.scenario.mutant)
            {
                let mut after = *state;
                after.node_mut(node).register = register;
                out.push((Step::Record(node, bit), after, None));
            }
        }
    }

    fn standing<const N: usize>(&mut self, state: &State<N>, node: u8, out: &mut Out<N>) {
        let it = state.node(node);
        let short = self.tables.short(it.register);
        if it.pg == Pg::Standby && it.stand == 0 && !self.bound(state, node) {
            if let Some(term) = short.own(node) {
                let mut after = *state;
                after.node_mut(node).stand = term;
                out.push((Step::StandAgain(node), after, None));
            } else {
                let log = self.tables.log(it.log);
                let lowest = short.newest.max(log.epoch) + 1;
                let highest = nodes_of(state.asks).last().map_or(1, |bit| bit / N as u8 + 1) + 1;
                let mut terms = vec![lowest];
                if highest > lowest {
                    terms.push(highest);
                }
                if self.healing {
                    terms = vec![highest.max(lowest)];
                }
                for term in terms {
                    let who = [term, node, node, 0];
                    let promised = self.tables.promise(it.register, who, log.conf, self.scenario.mutant);
                    if let Some(register) = promised
                        && (term <= self.scenario.terms || self.healing)
                        && register != it.register
                    {
                        let mut after = *state;
                        after.asks |= 1 << (usize::from(term - 1) * N + usize::from(node));
                        let changed = after.node_mut(node);
                        changed.register = register;
                        changed.conn = NOBODY;
                        changed.stand = term;
                        out.push((Step::Stand(node, term), after, None));
                    }
                }
            }
        }
        let open = short.own(node);
        let bound = self.bound(state, node) && !self.scenario.is(Mutant::AbandonsAfterIntent);
        if let Some(term) = open
            && !bound
            && it.pg == Pg::Standby
            && (self.healing || state.left[ABANDONS] > 0)
        {
            let register = self.tables.abandon(it.register, term, node);
            let mut after = *state;
            after.left[ABANDONS] = after.left[ABANDONS].saturating_sub(1);
            let changed = after.node_mut(node);
            changed.register = register;
            changed.intent = 0;
            changed.forget();
            out.push((Step::Abandon(node), after, None));
        }
        if let Some(term) = open
            && self.may(state.left, ABANDONS)
            && it.intent == 0
            && it.pg == Pg::Standby
        {
            self.forsaking(state, node, term, out);
        }
        if it.stand == 0 || it.pg != Pg::Standby || !short.open(it.stand, node) {
            return;
        }
        let hasty = self.scenario.is(Mutant::AnswersBeforeDetached);
        for voter in 0..N as u8 {
            let other = state.node(voter);
            if voter == node || other.pg == Pg::Off || it.ballots[usize::from(voter)].0 != 0 {
                continue;
            }
            let frozen = other.receiver == NOBODY || other.receiver == node || hasty;
            if self.tables.short(other.register).open(it.stand, node) && frozen {
                let ballot = self.ballot(state, voter);
                let mut after = *state;
                after.node_mut(node).ballots[usize::from(voter)] = ballot;
                out.push((Step::Answer(node, voter), after, None));
            }
        }
        if it.receiver != NOBODY && !hasty {
            return;
        }
        let mut ballots = [(0, 0); 5];
        ballots[..N].copy_from_slice(&it.ballots);
        ballots[usize::from(node)] = self.ballot(state, node);
        let Some((best, _)) = self.tables.enough(it.stand, node, ballots, N, self.scenario.mutant) else {
            return;
        };
        if best != node && !self.scenario.is(Mutant::NoCatchUp) {
            let source = state.node(best);
            if source.pg == Pg::Standby && it.log != source.log && self.tables.within(it.log, source.log) {
                let log = self.tables.cut(source.log, self.tables.log(it.log).length + 1);
                let mut after = *state;
                after.node_mut(node).log = log;
                out.push((Step::CatchUp(node), after, None));
            }
            return;
        }
        // Those of an earlier try in the same term may count on a node that isn't frozen any more.
        let names = self.new_names(state, node);
        let mut after = *state;
        let changed = after.node_mut(node);
        if it.names == names || self.scenario.is(Mutant::NamesLate) {
            changed.intent = it.stand;
            changed.forget();
            out.push((Step::Intent(node), after, None));
        } else {
            changed.names = names;
            out.push((Step::Names(node), after, None));
        }
    }

    /// A candidate that gives up tells the voters first, and may die before its own register says so.
    fn forsaking<const N: usize>(&mut self, state: &State<N>, node: u8, term: u8, out: &mut Out<N>) {
        for voter in (0..N as u8).filter(|voter| *voter != node && state.up(*voter)) {
            let register = self.tables.abandon(state.node(voter).register, term, node);
            if register != state.node(voter).register {
                let mut after = *state;
                after.left[ABANDONS] -= 1;
                after.node_mut(node).forget();
                after.node_mut(voter).register = register;
                out.push((Step::Forsake(node, voter), after, None));
            }
        }
    }

    /// The configuration of a new term: what the frozen nodes can acknowledge at once.
    fn new_names<const N: usize>(&mut self, state: &State<N>, node: u8) -> Id {
        let it = state.node(node);
        let term = if it.stand == 0 { it.intent } else { it.stand };
        let frozen = nodes(self.scenario.others(node)).filter(|at| it.ballots[usize::from(*at)].0 > 1);
        let w = self.scenario.w.min(frozen.count() as u8);
        let alone = w == 0;
        let members = if alone { 0 } else { self.scenario.others(node) };
        self.tables.conf(Conf { term, change: 0, primary: node, w, members })
    }

    fn ballot<const N: usize>(&self, state: &State<N>, voter: u8) -> (Id, Id) {
        let other = state.node(voter);
        let record = self.tables.short(other.register).record;
        let log = if self.scenario.is_data(voter) { other.log + 2 } else { 1 };
        (log, if record == NONE { 0 } else { record + 1 })
    }

    fn promoting<const N: usize>(&mut self, state: &State<N>, node: u8, out: &mut Out<N>) {
        let it = state.node(node);
        let short = self.tables.short(it.register);
        if self.bound(state, node) && it.pg == Pg::Standby && it.receiver == NOBODY {
            let mut after = *state;
            let changed = after.node_mut(node);
            changed.pg = Pg::Primary;
            changed.vip = self.scenario.vip && self.scenario.is(Mutant::VipUnconfirmed);
            let broken = changed.vip.then_some(Broken::Vip);
            out.push((Step::Promote(node), after, broken));
        }
        if it.pg != Pg::Primary {
            return;
        }
        let log = self.tables.log(it.log);
        if it.intent != 0 && self.term(state, node) != it.intent {
            // Only a mutant is here without its names.
            let names = self.new_names(state, node);
            let mut after = *state;
            after.node_mut(node).names = names;
            out.push((Step::Names(node), after, None));
        } else if it.intent != 0 {
            if log.epoch == it.intent {
                self.confirming(state, node, out);
            } else {
                let mut after = *state;
                after.node_mut(node).log = self.tables.append(it.log, Entry::Row(it.names));
                out.push((Step::Row(node), after, None));
            }
        }
        let term = self.term(state, node);
        let read: [Id; 5] = std::array::from_fn(|at| {
            if at < N && at != usize::from(node) && state.up(at as u8) {
                state.nodes[at].register
            } else {
                NONE
            }
        });
        if !self.scenario.is(Mutant::NeverStepsDown)
            && it.names != NONE
            && self.tables.steps_down(it.names, read, N)
        {
            let mut after = *state;
            after.stop(node);
            out.push((Step::GoDown(node), after, None));
        }
        if self.scenario.vip && it.intent == 0 && short.confirmed == Some((term, node)) && !it.vip {
            let mut after = *state;
            after.node_mut(node).vip = true;
            out.push((Step::VipUp(node), after, None));
        }
        for other in 0..N as u8 {
            if self.scenario.vip && it.vip && state.node(other).vip && other != node {
                let lower = self.term(state, other) < term;
                if lower != self.scenario.is(Mutant::NewestYields) {
                    let newest = self.tables.log(state.top).epoch == self.term(state, other);
                    let mut after = *state;
                    after.stop(other);
                    out.push((Step::Yield(node, other), after, newest.then_some(Broken::Displaced)));
                }
            }
        }
    }

    fn confirming<const N: usize>(&mut self, state: &State<N>, node: u8, out: &mut Out<N>) {
        let it = state.node(node);
        let mut row = it.log;
        while !matches!(self.tables.log(row).entry, Entry::Row(_)) {
            row = self.tables.log(row).parent;
        }
        let reached = self.reached(state, node);
        if self.tables.within(row, reached) || self.scenario.is(Mutant::ConfirmsUnacknowledged) {
            let mut after = *state;
            // What a higher term has acknowledged meanwhile is not this one's to have.
            let higher = self.writer(after.acked) > it.intent;
            let lost = !higher && !self.tables.within(after.acked, it.log);
            let broken = lost.then_some(Broken::Lost);
            if self.tables.log(after.top).epoch < it.intent {
                after.top = it.log;
            }
            let changed = after.node_mut(node);
            changed.register = self.tables.confirm(it.register, it.names, self.scenario.mutant);
            changed.intent = 0;
            out.push((Step::Confirm(node), after, broken));
        }
    }
}

/// Returns the bits of a mask, lowest first.
pub fn nodes_of(mut mask: u128) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let bit = mask.trailing_zeros() as u8;
        (mask != 0).then(|| {
            mask &= mask - 1;
            bit
        })
    })
}
