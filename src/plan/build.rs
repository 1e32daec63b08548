//! Builds the plans of the verbs and of the daemon from facts and settings. Pure.
//!
//! The orders here are invariants (the VIP goes up last and down first; the intent is written before the
//! promotion; the epoch row is committed before the VIP): see `pgbaton-protocol(7)` for why.

use super::step::{Intent, NeedsCheck};
use super::{Plan, Step};
use crate::pg::epoch::Term;
use crate::pg::lsn::Timeline;
use crate::units::InterfaceAddress;
use std::path::PathBuf;
use std::time::Duration;

/// One virtual IP as it should be on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vip {
    /// The address with its prefix length.
    pub address: InterfaceAddress,
    /// The interface it belongs on.
    pub interface: String,
    /// The label of the address, IPv4 only.
    pub label: Option<String>,
    /// The lifetime after which the kernel removes the address unless it is renewed.
    pub lease: Option<Duration>,
}

/// What was seen of a virtual IP on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VipSeen {
    /// Whether the interface has the address, with this prefix length.
    pub present: bool,
}

/// How long the server may take to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopBounds {
    /// For a fast stop.
    pub fast: Duration,
    /// For an immediate stop after that.
    pub immediate: Duration,
}

/// How the virtual IPs are put up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpOptions {
    /// How long an answer to the duplicate probe is waited for; `None`: no probe.
    pub probe: Option<Duration>,
    /// Whether an address that is already there gets its lease and announcement again.
    pub refresh: bool,
}

/// Plans `vip up`: probe, add, announce.
pub fn vip_up(vips: &[(Vip, VipSeen)], options: UpOptions) -> Plan {
    let mut plan = Plan::new("vip up", format!("this node has {}", list(vips.iter().map(|(vip, _)| vip))));
    for (vip, seen) in vips {
        add_address(&mut plan, vip, seen, options);
    }
    plan
}

/// Plans `vip down`: remove each address.
pub fn vip_down(vips: &[(Vip, VipSeen)]) -> Plan {
    let mut plan =
        Plan::new("vip down", format!("this node doesn't have {}", list(vips.iter().map(|(vip, _)| vip))));
    for (vip, seen) in vips {
        remove_address(&mut plan, vip, Some(seen));
    }
    plan
}

/// What a promotion plan is built from.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not a state")]
#[derive(Debug, Clone)]
pub struct Promotion {
    /// Whether the local server is still in recovery.
    pub in_recovery: bool,
    /// The intent: node, term and random id; the one on disk when an earlier run was cut short.
    pub intent: Intent,
    /// Whether the database has the epoch row of this intent already.
    pub epoch_recorded: bool,
    /// Whether an intent is on disk.
    pub intent_on_disk: bool,
    /// How long the promotion may take before its outcome is called unknown.
    pub within: Duration,
    /// Whether the server must not start writable by itself afterwards.
    pub protect_start: bool,
    /// Whether `standby.signal` is already in place.
    pub protected: bool,
    /// The replication slots the other nodes will ask for.
    pub slots: Vec<String>,
    /// The votes, where a promotion needs them; `None`: replication is asynchronous.
    pub votes: Option<Votes>,
    /// Other standbys that could be promoted at the same time, where nobody votes.
    pub rivals: Vec<String>,
}

/// What an election by votes is planned from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Votes {
    /// The voters besides this node.
    pub voters: Vec<String>,
    /// How long their votes are waited for.
    pub vote_within: Duration,
    /// How long fetching the rest of the log may take.
    pub catch_up_within: Duration,
    /// How long the old primary may go on although the voters have promised; `None`: it can't.
    pub lease: Option<Duration>,
    /// Who is known to have stopped.
    pub gone: Vec<String>,
    /// Where the others reach this node's server.
    pub place: (String, u16),
    /// Whether an operator has overridden them.
    pub overridden: bool,
}

/// Plans `pg promote`: intent, promotion, epoch row, protection, slots; and the checkpoint at the end.
pub fn promote(facts: &Promotion) -> Plan {
    let mut plan = Plan::new(
        "pg promote",
        format!("{} is the primary of term {}", facts.intent.node, facts.intent.term),
    );
    promotion_steps(&mut plan, facts);
    finish_promotion(&mut plan, facts);
    plan
}

/// What goes before and after a promotion where it is known or asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Around {
    /// The history files of the peers: timeline, content, and whether the same one is there already. With them in
    /// place the server makes a timeline that none of them has.
    pub histories: Vec<(Timeline, Vec<u8>, bool)>,
    /// Where they belong: `pg_wal`.
    pub pg_wal: PathBuf,
    /// Whether `restore_command` is to be suspended.
    pub suspend_restore: bool,
    /// Whether it is suspended, by this plan or by a run that was cut short.
    pub resume_restore: bool,
}

/// Adds what goes around a promotion to the plan of `pg promote` or of a failover.
#[must_use]
pub fn around(mut plan: Plan, around: &Around) -> Plan {
    let items = std::mem::take(&mut plan.items);
    for (timeline, content, there) in &around.histories {
        let step = Step::WriteHistory {
            timeline: *timeline,
            folder: around.pg_wal.clone(),
            content: content.clone(),
        };
        plan.step(step, there.then(|| "the same file is there".to_owned()));
    }
    for item in items {
        let promotes = matches!(item.step, Step::Promote { .. }) && item.need == super::Need::Needed;
        let ends = matches!(item.step, Step::ClearIntent);
        if promotes && around.suspend_restore {
            plan.needed(Step::SuspendRestore);
        }
        plan.items.push(item);
        if ends && around.resume_restore {
            plan.needed(Step::ResumeRestore);
        }
    }
    if around.resume_restore && !plan.items.iter().any(|item| item.step == Step::ResumeRestore) {
        plan.needed(Step::ResumeRestore);
    }
    plan
}

/// Plans `pg promote` on a server that is a primary already, with no promotion of this program's to finish.
pub fn already_primary(node: &str, within: Duration) -> Plan {
    let mut plan = Plan::new("pg promote", format!("{node} is a primary"));
    plan.unchanged(Step::Promote { within }, "the server is the primary");
    plan
}

/// Plans the daemon's failover: the promotion, then the virtual IPs. What can wait is [`settle`]'s.
pub fn failover(facts: &Promotion, vips: &[(Vip, VipSeen)]) -> Plan {
    let mut plan = Plan::new(
        "failover",
        format!(
            "{} is the primary of term {} and has {}",
            facts.intent.node,
            facts.intent.term,
            list(vips.iter().map(|(vip, _)| vip))
        ),
    );
    promotion_steps(&mut plan, facts);
    // The probe ran beside the decision: here it would only cost time.
    for (vip, seen) in vips {
        add_address(&mut plan, vip, seen, UpOptions { probe: None, refresh: true });
    }
    plan
}

/// Plans what follows a failover while the node serves already: slots, checkpoint, the end of the intent.
pub fn settle(facts: &Promotion) -> Plan {
    let mut plan = Plan::new("settle", format!("the promotion of term {} is complete", facts.intent.term));
    finish_promotion(&mut plan, facts);
    plan
}

/// Plans the taking back of the service by a node whose server is known to be the newest primary; `reconfigure` is its
/// term, where commits wait for standbys.
pub fn serve(
    epoch: Option<Intent>,
    protected: Option<bool>,
    reconfigure: Option<Term>,
    vips: &[(Vip, VipSeen)],
) -> Plan {
    let mut plan = Plan::new("serve", format!("this node has {}", list(vips.iter().map(|(vip, _)| vip))));
    if let Some(intent) = epoch {
        if reconfigure.is_some() {
            plan.needed(Step::SetNames { first: Some(intent.term) });
        }
        plan.needed(Step::RecordEpoch(intent));
    } else if let Some(term) = reconfigure {
        plan.needed(Step::Reconfigure { term, prove: true });
    }
    if let Some(protected) = protected {
        plan.step(Step::ProtectStart, protected.then(|| "standby.signal is in place".to_owned()));
    }
    for (vip, seen) in vips {
        add_address(&mut plan, vip, seen, UpOptions { probe: None, refresh: true });
    }
    plan
}

/// Plans the giving up of the service: virtual IPs first, then the server.
pub fn release(vips: &[Vip], stop: Option<StopBounds>) -> Plan {
    let mut plan = Plan::new("release", "this node serves nothing");
    for vip in vips {
        remove_address(&mut plan, vip, None);
    }
    if let Some(bounds) = stop {
        plan.needed(Step::StopServer { fast: bounds.fast, immediate: bounds.immediate });
    }
    plan
}

/// What a fencing is built from.
#[derive(Debug, Clone)]
pub struct Fencing {
    /// What will be written into the data directory.
    pub mark: NeedsCheck,
    /// Whether the data directory is marked already.
    pub marked: bool,
    /// Whether `standby.signal` is in place.
    pub protected: bool,
    /// Whether any process of the server is alive.
    pub running: bool,
    /// How long the stop may take.
    pub stop: StopBounds,
}

/// Plans `pg fence`: virtual IPs first; then no start is writable any more; then the server ends.
///
/// The protection comes before the stop: a service manager may start the server again the moment it is gone.
pub fn fence(facts: &Fencing, vips: &[(Vip, VipSeen)]) -> Plan {
    let mut plan = Plan::new("pg fence", format!("PostgreSQL on {} is stopped and fenced", facts.mark.node));
    for (vip, seen) in vips {
        remove_address(&mut plan, vip, Some(seen));
    }
    plan.step(Step::ProtectStart, facts.protected.then(|| "standby.signal is in place".to_owned()));
    plan.step(Step::MarkNeedsCheck(facts.mark.clone()), facts.marked.then(|| "it is marked".to_owned()));
    plan.step(
        Step::StopServer { fast: facts.stop.fast, immediate: facts.stop.immediate },
        (!facts.running).then(|| "no process of it is alive".to_owned()),
    );
    plan
}

/// Plans the upkeep of a serving primary whose commits wait for standbys.
pub fn reconfigure(term: Term) -> Plan {
    let mut plan = Plan::new("reconfigure", "the synchronous names fit the standbys that there are");
    plan.needed(Step::Reconfigure { term, prove: false });
    plan
}

fn promotion_steps(plan: &mut Plan, facts: &Promotion) {
    if facts.in_recovery {
        if let Some(votes) = &facts.votes {
            let (voters, within) = (votes.voters.clone(), votes.vote_within);
            plan.needed(Step::Freeze(facts.intent.ask()));
            plan.needed(if votes.overridden {
                Step::OverrideVotes { voters, within }
            } else {
                Step::CollectVotes { voters, within }
            });
            if let Some(lease) = votes.lease.filter(|_| !votes.overridden) {
                plan.needed(Step::OutlastLease { lease, gone: votes.gone.clone() });
            }
            plan.needed(Step::CatchUp { within: votes.catch_up_within });
            plan.needed(Step::SetNames { first: None });
        } else if !facts.rivals.is_empty() {
            plan.needed(Step::Stand { rivals: facts.rivals.clone() });
        }
        plan.step(
            Step::RecordIntent(facts.intent.clone()),
            facts.intent_on_disk.then(|| "an earlier run wrote it down".to_owned()),
        );
    }
    if !facts.in_recovery
        && facts.intent_on_disk
        && facts.votes.as_ref().is_some_and(|votes| votes.overridden)
    {
        // Promoted by votes whose givers have died since: their names would keep the epoch row waiting.
        plan.needed(Step::SetNames { first: Some(facts.intent.term) });
    }
    if let Some(votes) = facts.votes.as_ref().filter(|_| facts.in_recovery) {
        // Before the standbys are turned this way: each asks for its slot at once. They connect while this server is
        // being promoted, and follow it onto the new timeline.
        if !facts.slots.is_empty() {
            plan.needed(Step::EnsureSlots { names: facts.slots.clone() });
        }
        plan.needed(Step::Repoint { host: votes.place.0.clone(), port: votes.place.1 });
    }
    let promoted = (!facts.in_recovery).then(|| "the server is the primary".to_owned());
    plan.step(Step::Promote { within: facts.within }, promoted);
    // With votes the row is the proof that the standbys acknowledge: it is committed again even when it is there.
    let recorded = (facts.epoch_recorded && facts.votes.is_none())
        .then(|| format!("the database has the row of term {}", facts.intent.term));
    plan.step(Step::RecordEpoch(facts.intent.clone()), recorded);
    if facts.protect_start {
        let protected =
            (facts.protected && !facts.in_recovery).then(|| "standby.signal is in place".to_owned());
        plan.step(Step::ProtectStart, protected);
    }
}

fn finish_promotion(plan: &mut Plan, facts: &Promotion) {
    let fresh = facts.in_recovery || facts.intent_on_disk || !facts.epoch_recorded;
    if fresh {
        if facts.votes.is_some() {
            plan.needed(Step::ConfirmTerm { term: facts.intent.term });
        }
        if !facts.slots.is_empty() {
            plan.needed(Step::EnsureSlots { names: facts.slots.clone() });
        }
        plan.needed(Step::ClearIntent);
        plan.needed(Step::Checkpoint);
    }
}

fn add_address(plan: &mut Plan, vip: &Vip, seen: &VipSeen, options: UpOptions) {
    let present = seen.present.then(|| format!("{} has {}", vip.interface, vip.address));
    if let (None, Some(wait)) = (&present, options.probe) {
        plan.needed(Step::ProbeAddress { vip: vip.address, interface: vip.interface.clone(), wait });
    }
    let already = if options.refresh { None } else { present };
    plan.step(
        Step::AddAddress {
            vip: vip.address,
            interface: vip.interface.clone(),
            label: vip.label.clone(),
            lease: vip.lease,
        },
        already.clone(),
    );
    plan.step(Step::Announce { vip: vip.address, interface: vip.interface.clone() }, already);
}

fn remove_address(plan: &mut Plan, vip: &Vip, seen: Option<&VipSeen>) {
    let absent = seen
        .is_some_and(|seen| !seen.present)
        .then(|| format!("{} doesn't have {}", vip.interface, vip.address.address()));
    plan.step(Step::RemoveAddress { vip: vip.address, interface: vip.interface.clone() }, absent);
}

fn list<'a>(vips: impl Iterator<Item = &'a Vip>) -> String {
    let names: Vec<String> = vips.map(|vip| vip.address.to_string()).collect();
    if names.is_empty() { "no virtual IP".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::epoch::PromotionId;

    fn vip() -> Vip {
        Vip {
            address: "192.18.12.23/24".parse().unwrap(),
            interface: "eth0".to_owned(),
            label: None,
            lease: Some(Duration::from_secs(3)),
        }
    }

    fn names(plan: &Plan) -> Vec<&'static str> {
        plan.items.iter().map(|item| item.step.name()).collect()
    }

    fn promotion() -> Promotion {
        Promotion {
            in_recovery: true,
            intent: Intent {
                node: "node2".to_owned(),
                term: Term(2),
                promotion_id: PromotionId::from_random([7; 16]),
            },
            epoch_recorded: false,
            intent_on_disk: false,
            within: Duration::from_secs(30),
            protect_start: true,
            protected: false,
            slots: vec!["node1".to_owned()],
            votes: None,
            rivals: Vec::new(),
        }
    }

    #[test]
    fn a_rival_is_looked_at_before_anything_is_written() {
        let facts = Promotion { rivals: vec!["node1".to_owned()], ..promotion() };
        assert_eq!(names(&promote(&facts)).get(..3).unwrap(), ["stand", "record-intent", "promote"]);
        let promoted = Promotion { in_recovery: false, ..facts };
        assert!(!names(&promote(&promoted)).contains(&"stand"));
    }

    #[test]
    fn the_vip_goes_up_after_the_epoch_row_and_waits_for_nothing_else() {
        let plan = failover(&promotion(), &[(vip(), VipSeen::default())]);
        assert_eq!(
            names(&plan),
            ["record-intent", "promote", "record-epoch", "protect-start", "add-address", "announce"]
        );
        assert_eq!(names(&settle(&promotion())), ["ensure-slots", "clear-intent", "checkpoint"]);
    }

    #[test]
    fn histories_come_first_and_the_archive_is_left_alone_only_for_the_promotion() {
        let facts = Around {
            histories: vec![(Timeline::FIRST, Vec::new(), true)],
            pg_wal: "/data/pg_wal".into(),
            suspend_restore: true,
            resume_restore: true,
        };
        assert_eq!(
            names(&around(promote(&promotion()), &facts)),
            [
                "write-history",
                "record-intent",
                "suspend-restore",
                "promote",
                "record-epoch",
                "protect-start",
                "ensure-slots",
                "clear-intent",
                "resume-restore",
                "checkpoint"
            ]
        );
        let left = Around { resume_restore: true, ..Around::default() };
        let done = Promotion { in_recovery: false, epoch_recorded: true, slots: vec![], ..promotion() };
        assert_eq!(names(&around(promote(&done), &left)).last(), Some(&"resume-restore"));
        assert_eq!(around(promote(&promotion()), &Around::default()), promote(&promotion()));
    }

    #[test]
    fn the_vip_goes_down_before_the_server_stops() {
        let bounds = StopBounds { fast: Duration::from_secs(5), immediate: Duration::from_secs(1) };
        assert_eq!(names(&release(&[vip()], Some(bounds))), ["remove-address", "stop-server"]);
    }

    #[test]
    fn a_promotion_that_is_complete_changes_nothing() {
        let facts = Promotion {
            in_recovery: false,
            epoch_recorded: true,
            protected: true,
            slots: vec![],
            ..promotion()
        };
        assert!(!promote(&facts).changes());
    }

    #[test]
    fn a_promotion_cut_short_after_the_promote_goes_on_with_the_epoch_row() {
        let facts = Promotion { in_recovery: false, intent_on_disk: true, ..promotion() };
        let plan = promote(&facts);
        let needed: Vec<_> = plan
            .items
            .iter()
            .filter(|item| item.need == super::super::Need::Needed)
            .map(|item| item.step.name())
            .collect();
        assert_eq!(needed, ["record-epoch", "protect-start", "ensure-slots", "clear-intent", "checkpoint"]);
    }

    #[test]
    fn overridden_votes_let_the_new_primary_write_before_and_after_a_kill() {
        let votes = Votes {
            voters: vec!["node1".to_owned()],
            vote_within: Duration::from_secs(1),
            catch_up_within: Duration::from_secs(1),
            lease: Some(Duration::from_secs(10)),
            gone: Vec::new(),
            place: ("192.0.2.2".to_owned(), 5432),
            overridden: true,
        };
        let facts = Promotion { votes: Some(votes), ..promotion() };
        let plan = names(&promote(&facts));
        assert_eq!(
            plan.get(..8).unwrap(),
            [
                "freeze",
                "override-votes",
                "catch-up",
                "set-names",
                "record-intent",
                "ensure-slots",
                "repoint",
                "promote"
            ]
        );
        let again = Promotion { in_recovery: false, intent_on_disk: true, ..facts };
        assert_eq!(names(&promote(&again)).first(), Some(&"set-names"));
    }

    #[test]
    fn a_fence_drops_the_vip_then_forbids_a_writable_start_and_only_then_stops() {
        let stop = StopBounds { fast: Duration::from_secs(5), immediate: Duration::from_secs(1) };
        let mark = NeedsCheck { schema: 1, node: "node1".to_owned(), at: 1, reason: "test".to_owned() };
        let facts = Fencing { mark, marked: false, protected: false, running: true, stop };
        let plan = fence(&facts, &[(vip(), VipSeen { present: true })]);
        assert_eq!(names(&plan), ["remove-address", "protect-start", "mark-needs-check", "stop-server"]);
        let done = Fencing { marked: true, protected: true, running: false, ..facts };
        assert!(!fence(&done, &[(vip(), VipSeen::default())]).changes());
    }

    #[test]
    fn an_address_that_is_there_is_neither_probed_nor_added() {
        let options = UpOptions { probe: Some(Duration::from_millis(200)), refresh: false };
        let plan = vip_up(&[(vip(), VipSeen { present: true })], options);
        assert!(!plan.changes());
        assert_eq!(names(&plan), ["add-address", "announce"]);
    }
}
