//! What a primary may change, and what may replace a node's data: rules 9, 2a and 12 in the model.

use super::cluster::{CHANGES, Mutant, Pg, REBUILDS, State};
use super::steps::{Machine, Out, Step, nodes_of};
use super::tables::{Conf, Entry, Id, NOBODY, NONE, nodes};
use pgbaton::promotion::rules::{Change, majority};

impl Machine {
    pub fn changing<const N: usize>(&mut self, state: &State<N>, node: u8, out: &mut Out<N>) {
        let it = state.node(node);
        let short = self.tables.short(it.register);
        let term = self.term(state, node);
        if it.pg != Pg::Primary || it.intent != 0 || short.confirmed != Some((term, node)) {
            return;
        }
        let names = self.tables.conf_of(it.names);
        if it.pending == NONE && self.may(state.left, CHANGES) {
            let others = self.scenario.others(node);
            let mut targets = vec![(self.scenario.w, others)];
            if others.count_ones() > 1 {
                targets.extend(nodes(others).map(|one| (1, 1 << one)));
            }
            if self.scenario.alone {
                targets.push((0, 0));
            }
            // A number that nobody has seen: see rule 9.
            let seen = nodes_of(u128::from(state.records)).map(|bit| self.tables.conf_of(Id::from(bit)));
            let seen = seen.chain([names, self.tables.conf_of(self.tables.log(it.log).conf)]);
            let change = seen.filter(|conf| conf.term == term).map(|conf| conf.change).max().unwrap_or(0) + 1;
            for (w, members) in targets {
                let conf = Conf { term, change, primary: node, w, members };
                let mut kind = self.tables.change(it.names, conf);
                match (kind, self.scenario.mutant) {
                    (Change::Loosening, Some(Mutant::LoosensFirst)) => kind = Change::Tightening,
                    (Change::Tightening, Some(Mutant::TightensLate)) => kind = Change::Loosening,
                    _ => {}
                }
                if matches!(kind, Change::Same | Change::Neither) {
                    continue;
                }
                let conf = self.tables.conf(conf);
                let mut after = *state;
                after.left[CHANGES] -= 1;
                let changed = after.node_mut(node);
                if kind == Change::Tightening {
                    changed.names = conf;
                } else {
                    changed.pending = conf;
                    if self.scenario.by_record {
                        after.records |= 1 << conf;
                    }
                }
                out.push((Step::Change(node, w, members), after, None));
            }
        }
        // The row: of a tightening after its names, of a loosening before them (or after them, if it was recorded).
        let log = self.tables.conf_of(self.tables.log(it.log).conf);
        let wanted = if it.pending == NONE { it.names } else { it.pending };
        if self.tables.conf_of(wanted).version() > log.version() && log.term == term {
            let mut after = *state;
            after.node_mut(node).log = self.tables.append(it.log, Entry::Row(wanted));
            out.push((Step::Row(node), after, None));
        }
        if it.pending == NONE {
            return;
        }
        if short.record == it.pending {
            if self.in_force(state, node) {
                let mut after = *state;
                let changed = after.node_mut(node);
                changed.names = it.pending;
                changed.pending = NONE;
                out.push((Step::Loosen(node), after, None));
            }
        } else if (self.in_force(state, node) || self.scenario.is(Mutant::OwnRecordFirst))
            && let Some(register) = self.tables.record(it.register, it.pending, self.scenario.mutant)
        {
            let mut after = *state;
            after.node_mut(node).register = register;
            out.push((Step::OwnRecord(node), after, None));
        }
    }

    /// Whether a loosening has its proof: its row is acknowledged under the old names, or a majority recorded it.
    fn in_force<const N: usize>(&self, state: &State<N>, node: u8) -> bool {
        let it = state.node(node);
        let mut row = it.log;
        while row != 0 && self.tables.log(row).entry != Entry::Row(it.pending) {
            row = self.tables.log(row).parent;
        }
        let acknowledged = row != 0 && self.tables.within(row, self.reached(state, node));
        let others = state.nodes.iter().enumerate().filter(|(at, other)| {
            *at != usize::from(node) && self.tables.short(other.register).record == it.pending
        });
        acknowledged || (self.scenario.by_record && others.count() + 1 >= majority(N))
    }

    pub fn rebuilding<const N: usize>(&mut self, state: &State<N>, node: u8, out: &mut Out<N>) {
        let it = state.node(node);
        let short = self.tables.short(it.register);
        if it.pg == Pg::Primary {
            return;
        }
        // All that the confirmed primary has now is enough too: the target may be the end of one that was replaced.
        let whole = it.receiver != NOBODY
            && state.node(it.receiver).pg == Pg::Primary
            && short.confirmed == Some((self.term(state, it.receiver), it.receiver))
            && it.log == state.node(it.receiver).log;
        if short.unfit && it.pg == Pg::Standby && (whole || self.tables.within(it.target, it.log)) {
            let mut after = *state;
            let changed = after.node_mut(node);
            changed.register = self.tables.unfit(it.register, false);
            changed.target = 0;
            out.push((Step::Fit(node), after, None));
        }
        for upstream in nodes(self.scenario.others(node)) {
            self.rebuild(state, node, upstream, out);
        }
    }

    fn rebuild<const N: usize>(&mut self, state: &State<N>, node: u8, upstream: u8, out: &mut Out<N>) {
        let it = state.node(node);
        let term = self.term(state, upstream);
        let source = state.node(upstream);
        let anyone = self.scenario.is(Mutant::RebuildsFromUnconfirmed);
        let allowed = anyone || self.tables.follows(it.register, upstream, term, false).1;
        if !allowed || source.pg != Pg::Primary || it.stand != 0 || self.bound(state, node) {
            return;
        }
        let common = self.tables.common(it.log, source.log);
        let forced = common != it.log;
        // Never back to an older term than the log's own (rule 12).
        if self.tables.log(it.log).epoch > term || (!forced && !self.may(state.left, REBUILDS)) {
            return;
        }
        let mut after = *state;
        after.drop_connections(node);
        let unmarked = self.scenario.is(Mutant::NoUnfitMark);
        let changed = after.node_mut(node);
        changed.register = if unmarked { it.register } else { self.tables.unfit(it.register, true) };
        changed.log = if forced { common } else { 0 };
        changed.pg = Pg::Standby;
        changed.conn = upstream;
        changed.receiver = NOBODY;
        changed.intent = 0;
        changed.target = source.log;
        if !forced {
            after.left[REBUILDS] -= 1;
        }
        out.push((Step::Rebuild(node, upstream), after, None));
    }
}
