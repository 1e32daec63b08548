//! The judge: what the records say about a run, and nothing else. Pure.

use super::client::{Journal, Outcome, State};
use super::watch::Tenure;
use pgbaton::units::Moment;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// A client's name and the number of one of its rows.
pub type RowId = (String, u64);

/// What one client has written down.
#[derive(Debug, Clone)]
pub struct Witness {
    /// Its name.
    pub client: String,
    /// The host it is pinned to; `None`: it goes to the virtual IP.
    pub pinned: Option<String>,
    /// What it knows.
    pub journal: Journal,
}

/// All records of a run.
#[derive(Debug, Clone)]
pub struct Records {
    /// The clients, looked at before the rows were read.
    pub witnesses: Vec<Witness>,
    /// When each host had the virtual IP.
    pub tenures: Vec<(String, Vec<Tenure>)>,
    /// The begin of the run.
    pub since: Moment,
    /// When the cluster was found whole again.
    pub settled: Moment,
    /// When the records were taken.
    pub until: Moment,
    /// The rows that the primary has, of those from `lowest` on.
    pub present: BTreeSet<RowId>,
    /// From which number on each client's rows were read.
    pub lowest: BTreeMap<String, u64>,
}

/// What is remembered from one run to the next.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// Acknowledged rows that were not there.
    pub lost: BTreeSet<RowId>,
    /// Unanswered rows that were not there.
    pub absent: BTreeSet<RowId>,
    /// The first acknowledgement on each timeline, and who gave it.
    pub timelines: BTreeMap<u32, (Moment, String)>,
}

/// What a mode promises.
#[derive(Debug, Clone, Copy)]
pub struct Promise {
    /// Nothing acknowledged is ever lost.
    pub lossless: bool,
    /// Nobody acknowledges beside the newest primary.
    pub one_writer: bool,
    /// How long the virtual IP may be on a node that can't write, or on two.
    pub vip: Duration,
}

/// How long a server may take for a row that its client has given up.
const STILL_AT_IT: Duration = Duration::from_secs(3);

/// Something that must not happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// An acknowledged row isn't there.
    Lost { count: usize, first: RowId, server: String, timeline: u32 },
    /// A row that wasn't there has come back.
    FoundAgain { row: RowId, acknowledged: bool },
    /// A row that the server refused is there.
    Refused { row: RowId },
    /// A row was sent to an older timeline and acknowledged there after a newer one had acknowledged.
    TwoWriters { server: String, timeline: u32, newer: u32, after: Duration },
    /// Two servers acknowledged on one timeline.
    SameTimeline { timeline: u32, servers: (String, String) },
    /// The virtual IP was on a host that couldn't write.
    Vip { host: String, state: State, lasted: Duration },
    /// The virtual IP was on two hosts.
    TwoHolders { hosts: (String, String), lasted: Duration },
    /// The cluster didn't come together again.
    NotSettled { why: String },
    /// A standby has other rows than the primary.
    Differs { host: String, why: String },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { count, first: (client, id), server, timeline } => write!(
                f,
                "LOST: {count} acknowledged rows are gone, the first is {client} {id}, acknowledged by {server} on \
                 timeline {timeline}"
            ),
            Self::FoundAgain { row: (client, id), acknowledged } => {
                let was = if *acknowledged { "lost" } else { "unanswered and absent" };
                write!(f, "FOUND AGAIN: row {client} {id} was {was}, and is back")
            }
            Self::Refused { row: (client, id) } => {
                write!(f, "REFUSED: row {client} {id} was refused, and is there")
            }
            Self::TwoWriters { server, timeline, newer, after } => write!(
                f,
                "TWO WRITERS: {server} took a row on timeline {timeline} {:.0} ms after timeline {newer} had acknowledged",
                after.as_secs_f64() * 1e3
            ),
            Self::SameTimeline { timeline, servers: (a, b) } => {
                write!(f, "ONE TIMELINE TWICE: {a} and {b} both acknowledged on timeline {timeline}")
            }
            Self::Vip { host, state, lasted } => {
                write!(f, "VIP: on {host} for {:.1} s while its server was {state:?}", lasted.as_secs_f64())
            }
            Self::TwoHolders { hosts: (a, b), lasted } => {
                write!(f, "VIP: on {a} and on {b} at once for {:.1} s", lasted.as_secs_f64())
            }
            Self::NotSettled { why } => write!(f, "NOT WHOLE: {why}"),
            Self::Differs { host, why } => write!(f, "DIFFERS: {host}: {why}"),
        }
    }
}

/// What was measured.
#[derive(Debug, Clone, Copy, Default)]
pub struct Measures {
    /// Rows acknowledged during the run.
    pub acknowledged: usize,
    /// Acknowledged rows that are gone.
    pub lost: usize,
    /// Of those, how many were sent to an old primary after the newer one had acknowledged.
    pub lost_to_second_writer: usize,
    /// Unanswered rows that are there all the same.
    pub unanswered_there: usize,
    /// The longest time without an acknowledgement to any client of the virtual IP.
    pub outage: Duration,
    /// For how long an older timeline took rows after a newer one had acknowledged.
    pub two_writers: Duration,
    /// The longest time that the virtual IP was on a node that couldn't write.
    pub vip_wrong: Duration,
    /// The longest time that it was on two nodes.
    pub vip_twice: Duration,
}

/// Judges a run.
pub fn judge(records: &Records, promise: Promise, memory: &mut Memory) -> (Measures, Vec<Violation>) {
    let (mut measures, mut violations) = (Measures::default(), Vec::new());
    rows(records, promise, memory, &mut measures, &mut violations);
    addresses(records, promise, &mut measures, &mut violations);
    measures.outage = outage(records);
    (measures, violations)
}

struct Ack<'a> {
    row: RowId,
    sent: Moment,
    at: Moment,
    server: &'a str,
    timeline: u32,
}

fn rows(
    records: &Records,
    promise: Promise,
    memory: &mut Memory,
    measures: &mut Measures,
    violations: &mut Vec<Violation>,
) {
    let mut acks = Vec::new();
    for witness in &records.witnesses {
        let lowest = records.lowest.get(&witness.client).copied().unwrap_or(1);
        for (at, row) in witness.journal.rows.iter().enumerate().skip(usize::try_from(lowest - 1).unwrap()) {
            let id = (witness.client.clone(), u64::try_from(at).unwrap() + 1);
            let there = records.present.contains(&id);
            match &row.outcome {
                Outcome::Acknowledged { at, server, timeline } => {
                    acks.push(Ack { row: id, sent: row.sent, at: *at, server, timeline: *timeline });
                }
                Outcome::Refused if there => violations.push(Violation::Refused { row: id }),
                Outcome::Unknown | Outcome::Warned if there => {
                    measures.unanswered_there += 1;
                    if memory.absent.remove(&id) {
                        violations.push(Violation::FoundAgain { row: id, acknowledged: false });
                    }
                }
                // A server may still be at it that was slow or frozen a moment ago.
                Outcome::Unknown | Outcome::Warned
                    if row.sent < records.settled && records.until.since(row.sent) > STILL_AT_IT =>
                {
                    memory.absent.insert(id);
                }
                _ => {}
            }
        }
    }
    acks.sort_by_key(|ack| ack.at);
    for ack in &acks {
        let first = memory.timelines.entry(ack.timeline).or_insert_with(|| (ack.at, ack.server.to_owned()));
        if first.1 != ack.server {
            let servers = (first.1.clone(), ack.server.to_owned());
            let again = Violation::SameTimeline { timeline: ack.timeline, servers };
            if !violations.contains(&again) {
                violations.push(again);
            }
        }
    }
    measures.acknowledged = acks.iter().filter(|ack| ack.at >= records.since).count();
    let (mut lost, mut worst): (Vec<&Ack<'_>>, Option<(Duration, &Ack<'_>, u32)>) = (Vec::new(), None);
    for ack in &acks {
        let newer = memory.timelines.range(ack.timeline + 1..).min_by_key(|(_, (first, _))| *first);
        let beside = newer.filter(|(_, (first, _))| *first < ack.sent);
        if let Some((newer, (first, _))) = beside {
            let after = ack.sent.since(*first);
            if ack.at >= records.since && worst.is_none_or(|(most, ..)| after > most) {
                worst = Some((after, ack, *newer));
            }
        }
        match (records.present.contains(&ack.row), memory.lost.contains(&ack.row)) {
            (true, true) => {
                memory.lost.remove(&ack.row);
                violations.push(Violation::FoundAgain { row: ack.row.clone(), acknowledged: true });
            }
            (false, false) => {
                memory.lost.insert(ack.row.clone());
                measures.lost_to_second_writer += usize::from(beside.is_some());
                lost.push(ack);
            }
            _ => {}
        }
    }
    measures.lost = lost.len();
    if let (true, Some(first)) = (promise.lossless, lost.first()) {
        violations.push(Violation::Lost {
            count: lost.len(),
            first: first.row.clone(),
            server: first.server.to_owned(),
            timeline: first.timeline,
        });
    }
    if let Some((after, ack, newer)) = worst {
        measures.two_writers = after;
        if promise.one_writer {
            let (server, timeline) = (ack.server.to_owned(), ack.timeline);
            violations.push(Violation::TwoWriters { server, timeline, newer, after });
        }
    }
}

/// A time with a begin and an end.
type Span = (Moment, Moment);

fn common(a: Span, b: Span) -> Option<Span> {
    let (from, to) = (a.0.max(b.0), a.1.min(b.1));
    (from < to).then_some((from, to))
}

fn addresses(records: &Records, promise: Promise, measures: &mut Measures, violations: &mut Vec<Violation>) {
    let window = (records.since, records.until);
    let spans: BTreeMap<&str, Vec<Span>> = records
        .tenures
        .iter()
        .map(|(host, tenures)| {
            let spans =
                tenures.iter().filter_map(|(from, to)| common((*from, to.unwrap_or(window.1)), window));
            (host.as_str(), spans.collect())
        })
        .collect();
    for witness in &records.witnesses {
        let Some(host) = witness.pinned.as_deref() else { continue };
        let wrong = unable(&witness.journal.states, records.until);
        for tenure in spans.get(host).into_iter().flatten() {
            for (span, state) in &wrong {
                let Some((from, to)) = common(*tenure, *span) else { continue };
                let lasted = to.since(from);
                measures.vip_wrong = measures.vip_wrong.max(lasted);
                if lasted > promise.vip {
                    violations.push(Violation::Vip { host: host.to_owned(), state: *state, lasted });
                }
            }
        }
    }
    for (a, mine) in &spans {
        for (b, theirs) in spans.iter().filter(|(b, _)| *b > a) {
            for both in mine.iter().flat_map(|one| theirs.iter().filter_map(|other| common(*one, *other))) {
                let lasted = both.1.since(both.0);
                measures.vip_twice = measures.vip_twice.max(lasted);
                if promise.one_writer && lasted > promise.vip {
                    let hosts = ((*a).to_owned(), (*b).to_owned());
                    violations.push(Violation::TwoHolders { hosts, lasted });
                }
            }
        }
    }
}

/// Returns the times in which a server surely couldn't write, and how that showed last.
fn unable(states: &[(Moment, State)], until: Moment) -> Vec<(Span, State)> {
    let mut spans: Vec<(Span, State)> = Vec::new();
    for (at, (from, state)) in states.iter().enumerate() {
        let to = states.get(at + 1).map_or(until, |(next, _)| *next);
        match (state, spans.last_mut()) {
            // A blocked commit isn't proof: the standbys may be gone.
            (State::Acknowledging | State::Blocked, _) => {}
            (_, Some(((_, end), last))) if *end == *from => (*end, *last) = (to, *state),
            _ => spans.push(((*from, to), *state)),
        }
    }
    spans
}

fn outage(records: &Records) -> Duration {
    let mut moments: Vec<Moment> = Vec::new();
    for witness in records.witnesses.iter().filter(|witness| witness.pinned.is_none()) {
        moments.extend(witness.journal.rows.iter().filter_map(|row| match row.outcome {
            Outcome::Acknowledged { at, .. } => Some(at),
            _ => None,
        }));
    }
    moments.sort();
    let pairs = moments.iter().zip(moments.iter().skip(1));
    pairs.filter(|(_, to)| **to >= records.since).map(|(from, to)| to.since(*from)).max().unwrap_or_default()
}
