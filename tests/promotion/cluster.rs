//! What a state of the model is: what is on the disks, what runs, and what is on its way.

use super::tables::{Ballot, Conf, Entry, Id, NOBODY, NONE, Tables};
use pgbaton::promotion::rules::Register;

/// A rule that is broken on purpose, to see that the model would notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// Rule 1: a voter promises a higher term while an open one is held.
    PromisesTwice,
    /// Rule 1: a promise is forgotten by a crash.
    PromisesInMemory,
    /// Rule 1: a running primary promises.
    PrimariesPromise,
    /// Rule 1: a term that isn't newer may be promised.
    TermsTwice,
    /// Rule 1: any row of the term settles it, also where more than one must acknowledge.
    AnyRowSettles,
    /// Rule 2: the answer is given while the receiver still runs.
    AnswersBeforeDetached,
    /// Rule 2: a frozen node goes back to the old primary.
    GoesBack,
    /// Rule 2a: the data is replaced without a mark.
    NoUnfitMark,
    /// Rule 2a: an unfit node promises.
    UnfitPromises,
    /// Rule 4: a majority of the voters is enough.
    MajorityOnly,
    /// Rule 4: the members are enough, also beside a witness.
    MembersOnly,
    /// Rule 4: the records of the voters are ignored.
    NoRecords,
    /// Rule 4: the configuration of the candidate's own log is taken for the newest.
    OwnConfiguration,
    /// Rule 4: the term isn't compared once more with what the logs know when all are frozen.
    OwnTermInTheLog,
    /// Rule 4: one member less.
    OneMemberLess,
    /// Extension a: the primary of any configuration resumes with the promises of nobody.
    ResumesAlone,
    /// Extension a: a primary resumes alone when its log says W = 0, in force or not.
    ResumesByItsLog,
    /// Extension b: the old primary's data counts, whatever its epoch.
    AnyOldPrimary,
    /// Rule 5: the candidate goes on with what it has.
    NoCatchUp,
    /// Rule 5: the end of the log alone says whose is the best.
    BestByPosition,
    /// Rule 6: the names of the new term come after the promotion.
    NamesLate,
    /// Rule 6: the term is confirmed as soon as its row is written.
    ConfirmsUnacknowledged,
    /// Rule 6 and 9: a confirmation without its configuration.
    BareConfirmations,
    /// Rule 7: a candidate abandons after its intent.
    AbandonsAfterIntent,
    /// Rule 8: nobody steps down.
    NeverStepsDown,
    /// Rule 9: the names are loosened first.
    LoosensFirst,
    /// Rule 9: the row of a tightening is written, and its names come after it is acknowledged.
    TightensLate,
    /// Rule 9: a voter records after it has promised a higher term.
    RecordsAfterPromise,
    /// Rule 9: the primary's own register records a loosening first.
    OwnRecordFirst,
    /// Rule 11: a server that was primary starts as one.
    StartsAsPrimary,
    /// Rule 12: a rebuild goes to any holder.
    RebuildsFromUnconfirmed,
    /// Rule 10: of two VIPs the higher term's goes.
    NewestYields,
    /// Rule 6 and 10: the VIP goes up with the promotion.
    VipUnconfirmed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pg {
    Off,
    Standby,
    Primary,
}

/// One node: the first half outlives a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Node<const N: usize> {
    pub log: Id,
    pub register: Id,
    /// The configuration whose names are in force.
    pub names: Id,
    /// The term that it is bound to finish; 0: none.
    pub intent: u8,
    /// Whom `primary_conninfo` names.
    pub conn: u8,
    /// Up to where the log must reach before the unfit mark goes.
    pub target: Id,

    pub pg: Pg,
    /// Whom the receiver streams from.
    pub receiver: u8,
    /// What a primary has heard of this standby: to whom, and how far. It may be processed late.
    pub told: (u8, Id),
    pub vip: bool,
    /// The term it stands for, and the answers it holds.
    pub stand: u8,
    pub ballots: [Ballot; N],
    /// A loosening that isn't in force yet.
    pub pending: Id,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct State<const N: usize> {
    pub nodes: [Node<N>; N],
    /// The end of what clients have had acknowledged.
    pub acked: Id,
    /// The log of the newest confirmed term at its confirmation.
    pub top: Id,
    /// The asks that were ever sent: they may arrive late, or twice.
    pub asks: u128,
    /// The configurations that a primary asked to be recorded: also these may arrive late.
    pub records: u64,
    /// What may still go wrong, or be done: crashes, commits, changes, rebuilds, abandonments.
    pub left: [u8; 5],
}

pub const CRASHES: usize = 0;
pub const COMMITS: usize = 1;
pub const CHANGES: usize = 2;
pub const REBUILDS: usize = 3;
pub const ABANDONS: usize = 4;

/// What the clusters of one run have in common.
#[allow(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    /// The data nodes; the others are witnesses.
    pub data: u8,
    /// How many acknowledge at the start, if they can.
    pub w: u8,
    /// Whether a primary without standbys may go on alone (W = 0), proved by records where there is a witness.
    pub alone: bool,
    /// Whether a loosening may be recorded by a majority instead of acknowledged.
    pub by_record: bool,
    /// Whether a crashed server may be started in place, as the primary it was (`on_crash = "restart-first"`).
    pub restarts: bool,
    pub vip: bool,
    pub terms: u8,
    pub left: [u8; 5],
    pub mutant: Option<Mutant>,
}

impl Scenario {
    /// Returns how many voters there are: all nodes.
    pub fn others(&self, node: u8) -> u8 {
        self.data & !(1 << node)
    }

    pub fn is_data(&self, node: u8) -> bool {
        self.data & (1 << node) != 0
    }

    pub fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// The cluster at peace: node a is the primary of term 1, all others stream from it.
    pub fn start<const N: usize>(&self, tables: &mut Tables) -> State<N> {
        let conf = Conf { term: 1, change: 0, primary: 0, w: self.w, members: self.others(0) };
        let conf = tables.conf(conf);
        let log = tables.append(0, Entry::Row(conf));
        let empty = tables.register(Register::default());
        let register = tables.confirm(empty, conf, None);
        let node = Node {
            log,
            register,
            names: NONE,
            intent: 0,
            conn: 0,
            target: 0,
            pg: Pg::Standby,
            receiver: 0,
            told: (0, log),
            vip: false,
            stand: 0,
            ballots: [(0, 0); N],
            pending: NONE,
        };
        let mut nodes = [node; N];
        for (at, node) in nodes.iter_mut().enumerate() {
            if !self.is_data(at as u8) {
                (node.log, node.conn, node.receiver, node.told) = (0, NOBODY, NOBODY, (NOBODY, 0));
            }
        }
        nodes[0] = Node {
            names: conf,
            conn: NOBODY,
            receiver: NOBODY,
            told: (NOBODY, 0),
            pg: Pg::Primary,
            vip: self.vip,
            ..node
        };
        State { nodes, acked: log, top: log, asks: 0, records: 0, left: self.left }
    }
}

impl<const N: usize> State<N> {
    pub fn node(&self, node: u8) -> &Node<N> {
        &self.nodes[usize::from(node)]
    }

    pub fn node_mut(&mut self, node: u8) -> &mut Node<N> {
        &mut self.nodes[usize::from(node)]
    }

    pub fn up(&self, node: u8) -> bool {
        self.node(node).pg != Pg::Off
    }

    /// Ends what hung on a server that stopped or whose data changed.
    pub fn drop_connections(&mut self, node: u8) {
        for other in &mut self.nodes {
            if other.receiver == node {
                other.receiver = NOBODY;
            }
            if other.told.0 == node {
                other.told = (NOBODY, 0);
            }
        }
    }

    /// Stops a server; `power` takes what was only in memory with it.
    pub fn stop(&mut self, node: u8) {
        self.drop_connections(node);
        let stopped = self.node_mut(node);
        stopped.pg = Pg::Off;
        stopped.receiver = NOBODY;
        stopped.vip = false;
        stopped.forget();
    }
}

impl<const N: usize> Node<N> {
    /// The daemon dies, or gives up what it was at.
    pub fn forget(&mut self) {
        self.stand = 0;
        self.ballots = [(0, 0); N];
        self.pending = NONE;
    }
}
