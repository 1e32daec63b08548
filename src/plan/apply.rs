//! Where a plan touches the world: each step is carried out by the room that knows how, in order.
//!
//! The same [`World`] serves the shell verbs and the daemon's worker thread. A step that is already done
//! changes nothing; the first failure of a step that matters stops the plan.

use super::election::{Election, Voters};
use super::reconfigure::{acknowledged, reconfigure};
use super::step::{Intent, Step};
use super::{Need, Plan};
use crate::error::{Error, Kind, Result};
use crate::host::clock::{self, Deadline};
use crate::host::handoff;
use crate::net::netlink::{AddressOptions, Change, Link, Netlink};
use crate::net::vip::{self, Announcer};
use crate::output::report::{StepReport, StepStatus};
use crate::pg::candidacy::{self, Rival};
use crate::pg::epoch::{self, Epoch};
use crate::pg::histories::{self, Stored};
use crate::pg::local::LocalServer;
use crate::pg::promote::{self, Promoted, Recorded};
use crate::pg::server::{StopReport, Stopped};
use crate::pg::{setting, vote};
use crate::rebuild::work::Work;
use crate::units::{InterfaceAddress, Moment};
use serde_json::Value;
use std::os::fd::AsFd as _;
use std::time::Duration;

/// How long a session with the local server may take when a candidacy is given up.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);

/// How long the clients of an address that goes may keep it here.
const GOODBYE: Duration = Duration::from_millis(20);

/// What is told while a plan runs.
#[derive(Debug, Clone)]
pub enum Progress {
    /// A step began.
    Started {
        /// When.
        at: Moment,
        /// Its stable name.
        step: &'static str,
        /// What it does.
        describe: String,
    },
    /// A step ended.
    Done {
        /// When.
        at: Moment,
        /// Its stable name.
        step: &'static str,
        /// How it ended.
        report: StepReport,
    },
}

/// How a plan ended.
#[derive(Debug)]
pub struct Outcome {
    /// One report per step.
    pub steps: Vec<StepReport>,
    /// Whether anything was changed.
    pub changed: bool,
    /// What went wrong in steps the service can do without.
    pub warnings: Vec<String>,
    /// The failure that stopped the plan.
    pub error: Option<Error>,
}

/// What a step did.
struct Applied {
    changed: bool,
    detail: Option<String>,
}

impl Applied {
    fn changed(detail: impl Into<String>) -> Self {
        Self { changed: true, detail: Some(detail.into()) }
    }

    fn unchanged(detail: impl Into<String>) -> Self {
        Self { changed: false, detail: Some(detail.into()) }
    }
}

/// The handles through which steps act; opened when first needed.
#[derive(Debug, Default)]
pub struct World {
    netlink: Option<Netlink>,
    server: Option<LocalServer>,
    announcers: Vec<(Link, InterfaceAddress, Announcer)>,
    /// What the promote step of this run found.
    promoted: Option<Promoted>,
    /// What a rebuild acts on.
    rebuild: Option<Box<Work>>,
    /// What the stop step came to.
    stopped: Option<StopReport>,
    /// Who votes, where a promotion needs votes, and how the candidacy in hand stands.
    election: Option<Election>,
    /// The standbys that could be promoted beside this one, where nobody votes, and whether this one stands.
    rivals: Vec<Rival>,
    stands: bool,
}

impl World {
    /// Creates a world without a database server: addresses only.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a world with the local server.
    pub fn with_server(server: LocalServer) -> Self {
        Self { server: Some(server), ..Self::default() }
    }

    /// Adds the other voters, for plans that need votes.
    #[must_use]
    pub fn with_voters(mut self, voters: Option<Voters>) -> Self {
        self.election = voters.map(Election::new);
        self
    }

    /// Adds the standbys that could be promoted beside this one, for plans where nobody votes.
    #[must_use]
    pub fn with_rivals(mut self, rivals: Vec<Rival>) -> Self {
        self.rivals = rivals;
        self
    }

    /// Creates a world for a rebuild.
    pub fn with_rebuild(work: Work) -> Self {
        Self { rebuild: Some(Box::new(work)), ..Self::default() }
    }

    /// Returns what a rebuild acts on.
    pub fn rebuild(&mut self) -> Result<&mut Work> {
        self.rebuild.as_deref_mut().ok_or_else(|| Error::failed("no rebuild is under way"))
    }

    /// Returns the local server.
    pub fn server(&mut self) -> Result<&mut LocalServer> {
        self.server.as_mut().ok_or_else(|| {
            Error::config("no PostgreSQL is configured")
                .hint("add a [postgres] section with data_directory, or pass --data-directory")
        })
    }

    /// Returns what the stop of the server came to; `None` when this plan didn't stop it.
    pub const fn stopped(&self) -> Option<StopReport> {
        self.stopped
    }

    /// Returns the netlink socket.
    pub fn netlink(&mut self) -> Result<&mut Netlink> {
        if self.netlink.is_none() {
            self.netlink = Some(Netlink::open()?);
        }
        self.netlink.as_mut().ok_or_else(|| Error::failed("can't open a netlink socket"))
    }

    fn link(&mut self, interface: &str) -> Result<Link> {
        self.netlink()?.link(interface)
    }

    /// Returns the open announcer of an address.
    ///
    /// Kept open, because closing a packet socket waits for the kernel (milliseconds, more under load), and that
    /// wait would be part of every failover.
    fn announcer(&mut self, link: &Link, vip: InterfaceAddress) -> Result<&Announcer> {
        let known = self.announcers.iter().position(|(of, address, _)| of == link && *address == vip);
        let position = if let Some(position) = known {
            position
        } else {
            self.announcers.push((link.clone(), vip, Announcer::open_asking(link, vip)?));
            self.announcers.len() - 1
        };
        self.announcers
            .get(position)
            .map(|(_, _, announcer)| announcer)
            .ok_or_else(|| Error::failed("the announcer is gone"))
    }

    /// Gives up the handles at the end of a verb, without waiting for the kernel.
    pub fn leave(self) {
        let slow: Vec<_> = self.announcers.iter().map(|(_, _, announcer)| announcer.as_fd()).collect();
        handoff::leave(&slow);
    }

    /// Carries out one step.
    fn apply(&mut self, step: &Step, deadline: Deadline) -> Result<Applied> {
        match step {
            Step::ProbeAddress { vip, interface, wait } => {
                self.probe(*vip, interface, deadline.within(*wait))
            }
            Step::AddAddress { vip, interface, label, lease } => {
                self.add_address(*vip, interface, label.as_deref(), *lease)
            }
            Step::Announce { vip, interface } => {
                let link = self.link(interface)?;
                self.announcer(&link, *vip)?.announce()?;
                Ok(Applied::changed(format!(
                    "{} is at {}",
                    vip.address(),
                    link.mac.map_or_else(String::new, |mac| mac.to_string())
                )))
            }
            Step::RemoveAddress { vip, interface } => {
                let link = self.link(interface)?;
                self.remove_address(&link, *vip, deadline)
            }
            Step::Freeze(_)
            | Step::CollectVotes { .. }
            | Step::OutlastLease { .. }
            | Step::OverrideVotes { .. }
            | Step::CatchUp { .. }
            | Step::SetNames { .. }
            | Step::Repoint { .. }
            | Step::ConfirmTerm { .. }
            | Step::Reconfigure { .. } => self.elect(step, deadline),
            Step::RecordIntent(intent) => {
                self.server()?.write_intent(intent)?;
                if let Some(election) = &mut self.election {
                    election.intended();
                }
                Ok(Applied::changed(format!("promotion {}", intent.promotion_id)))
            }
            Step::Stand { rivals } => self.stand(rivals, deadline),
            Step::Promote { within } => {
                // Once the promotion is asked for, this node stands whatever comes back: it may become the primary yet.
                let stands = std::mem::take(&mut self.stands);
                let session = self.server()?.session(deadline)?;
                if stands && !candidacy::stands(session, deadline)? {
                    return Err(Error::new(Kind::TryAgain, "the session that stood for promotion is lost")
                        .hint("run it again"));
                }
                let promoted = promote::promote(session, deadline.within(*within), &mut |_| {})?;
                let detail =
                    format!("timeline {}, {:.1} ms", promoted.timeline, promoted.took.as_secs_f64() * 1000.0);
                let changed = promoted.changed;
                self.promoted = Some(promoted);
                if stands {
                    // It is the primary: that is what others see from here on, and nothing depends on this.
                    let session = self.server()?.session(deadline)?;
                    candidacy::withdraw(session, deadline).unwrap_or_default();
                }
                Ok(if changed { Applied::changed(detail) } else { Applied::unchanged(detail) })
            }
            Step::RecordEpoch(intent) => self.record_epoch(intent, deadline),
            Step::ProtectStart => {
                let changed = self.server()?.data().write_standby_signal()?;
                Ok(Applied { changed, detail: Some("standby.signal is in place".to_owned()) })
            }
            Step::EnsureSlots { names } => {
                let session = self.server()?.session(deadline)?;
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let created = promote::ensure_slots(session, &names, deadline)?;
                Ok(if created.is_empty() {
                    Applied::unchanged("they exist")
                } else {
                    Applied::changed(format!("created {}", created.join(", ")))
                })
            }
            Step::Checkpoint => {
                let session = self.server()?.session(deadline)?;
                promote::checkpoint(session, deadline)?;
                Ok(Applied { changed: false, detail: None })
            }
            Step::ClearIntent => {
                self.server()?.clear_intent()?;
                // A fenced server came this far because somebody said that its data is the right one.
                self.server()?.clear_needs_check()?;
                Ok(Applied { changed: false, detail: None })
            }
            Step::StopServer { fast, immediate } => {
                let report = self.server()?.stop_for_sure(*fast, *immediate)?;
                let how = match report.how {
                    Stopped::NotRunning => "it wasn't running",
                    Stopped::Fast => "fast stop",
                    Stopped::Immediate => "immediate stop",
                    Stopped::Killed => "SIGKILL",
                };
                let detail = format!("{how}; {} processes killed, none is left", report.killed);
                self.stopped = Some(report);
                Ok(Applied { changed: report.changed(), detail: Some(detail) })
            }
            Step::Rebuild(step) => {
                let (changed, detail) = self.rebuild()?.apply(step, deadline)?;
                Ok(Applied { changed, detail })
            }
            Step::MarkNeedsCheck(mark) => {
                self.server()?.write_needs_check(mark)?;
                Ok(Applied::changed(crate::pg::local::NEEDS_CHECK_FILE))
            }
            Step::SuspendRestore => self.suspend_restore(deadline),
            Step::ResumeRestore => {
                let server = self.server()?;
                let Some(saved) = server.read_suspended()? else {
                    return Ok(Applied::unchanged("it isn't suspended"));
                };
                setting::put_back(server.session(deadline)?, &saved, deadline)?;
                server.clear_suspended()?;
                Ok(Applied::changed(saved.value.unwrap_or_else(|| "it isn't set by ALTER SYSTEM".to_owned())))
            }
            Step::WriteHistory { timeline, folder, content } => {
                match histories::store(folder, *timeline, content)? {
                    Stored::Written => Ok(Applied::changed(format!("{} octets", content.len()))),
                    Stored::Unchanged => Ok(Applied::unchanged("the same file is there")),
                }
            }
        }
    }

    /// Ends the clients' connections and removes the address, in this order: their last word comes from it.
    fn remove_address(&mut self, link: &Link, vip: InterfaceAddress, deadline: Deadline) -> Result<Applied> {
        let netlink = self.netlink()?;
        let ended = vip::end_connections(netlink, link.index, vip.address(), deadline.within(GOODBYE));
        let present = netlink.addresses()?;
        let found = present.iter().find(|found| found.index == link.index && found.address == vip);
        let change = found.map_or(Ok(Change::Unchanged), |found| vip::remove(netlink, found))?;
        if change == Change::Unchanged {
            return Ok(Applied::unchanged(format!("{} doesn't have it", link.name)));
        }
        Ok(Applied::changed(match ended {
            Ok(0) => "removed".to_owned(),
            Ok(ended) => format!("removed; client connections ended: {ended}"),
            Err(error) => format!("removed; its clients weren't told: {error}"),
        }))
    }

    fn suspend_restore(&mut self, deadline: Deadline) -> Result<Applied> {
        let server = self.server()?;
        let Some(saved) = promote::restore_command_to_suspend(server.session(deadline)?, deadline)? else {
            return Ok(Applied::unchanged("it isn't set"));
        };
        // Written down first: whoever finds it may put it back.
        server.write_suspended(&saved)?;
        if let Err(error) = promote::suspend_restore_command(server.session(deadline)?, &saved, deadline) {
            server.clear_suspended()?;
            return Err(error);
        }
        Ok(Applied::changed("until the promotion is over"))
    }

    fn stand(&mut self, names: &[String], deadline: Deadline) -> Result<Applied> {
        let rivals: Vec<Rival> =
            self.rivals.iter().filter(|rival| names.contains(&rival.peer.name)).cloned().collect();
        let said = candidacy::stand(self.server()?.session(deadline)?, &rivals, deadline)?;
        self.stands = true;
        Ok(Applied::unchanged(said))
    }

    /// Carries out a step that asks the voters or is about them.
    fn elect(&mut self, step: &Step, deadline: Deadline) -> Result<Applied> {
        let Some(mut election) = self.election.take() else {
            return Err(Error::failed("nobody is known who could vote"));
        };
        let result = self.elect_with(&mut election, step, deadline);
        self.election = Some(election);
        result
    }

    fn elect_with(&mut self, election: &mut Election, step: &Step, deadline: Deadline) -> Result<Applied> {
        let said = |(changed, detail)| Applied { changed, detail: Some(detail) };
        match step {
            Step::Freeze(ask) => {
                let server = self.server()?;
                let intended = server.read_intent()?.is_some_and(|intent| intent.ask() == *ask);
                election.freeze(server.session(deadline)?, ask, intended, deadline).map(Applied::changed)
            }
            Step::CollectVotes { .. } | Step::OverrideVotes { .. } => {
                election.collect(self.server()?.session(deadline)?, deadline).map(Applied::changed)
            }
            Step::OutlastLease { lease, gone } => Ok(match election.outlast(*lease, gone, deadline)? {
                Some(detail) => Applied::changed(detail),
                None => Applied::unchanged("no lease runs"),
            }),
            Step::CatchUp { .. } => {
                Ok(match election.catch_up(self.server()?.session(deadline)?, deadline)? {
                    Some(detail) => Applied::changed(detail),
                    None => Applied::unchanged("no voter has more"),
                })
            }
            Step::SetNames { first } => {
                election.configure(self.server()?.session(deadline)?, *first, deadline).map(said)
            }
            Step::Repoint { host, port } => election.repoint((host, *port), deadline).map(Applied::changed),
            Step::ConfirmTerm { term } => {
                let session = self.server()?.session(deadline)?;
                election.confirm(session, *term, deadline).map(Applied::changed)
            }
            Step::Reconfigure { term, prove } => {
                let session = self.server()?.session(deadline)?;
                reconfigure(session, election.voters(), *term, *prove, deadline).map(said)
            }
            _ => Err(Error::failed("not a step of an election")),
        }
    }

    /// Gives up a candidacy whose intent isn't written; says what came of it.
    fn give_up(&mut self) -> Option<String> {
        if std::mem::take(&mut self.stands) {
            let deadline = Deadline::after(CONNECT_WITHIN);
            let session = self.server().ok().and_then(|server| server.session(deadline).ok());
            // A session that is lost has given the lock back by itself.
            session.map_or(Ok(()), |session| candidacy::withdraw(session, deadline)).unwrap_or_default();
        }
        let mut election = self.election.take()?;
        let deadline = Deadline::after(CONNECT_WITHIN);
        let session = self.server().ok().and_then(|server| server.session(deadline).ok());
        let said = session.and_then(|session| election.abandon(session));
        self.election = Some(election);
        said
    }

    fn probe(&mut self, vip: InterfaceAddress, interface: &str, until: Deadline) -> Result<Applied> {
        let link = self.link(interface)?;
        if vip.address().is_ipv6() || link.mac.is_none() {
            return Ok(Applied::unchanged("the kernel's own duplicate detection covers it"));
        }
        match self.announcer(&link, vip)?.probe(until)? {
            None => Ok(Applied::unchanged("nobody answers")),
            Some(owner) => Err(taken(vip, interface, &owner.to_string())),
        }
    }

    fn add_address(
        &mut self,
        vip: InterfaceAddress,
        interface: &str,
        label: Option<&str>,
        lease: Option<Duration>,
    ) -> Result<Applied> {
        let link = self.link(interface)?;
        let options = AddressOptions {
            label: label.map(str::to_owned),
            lease,
            replace: true,
            ..AddressOptions::default()
        };
        Ok(match self.netlink()?.add_address(link.index, vip, &options)? {
            Change::Unchanged => Applied::unchanged(format!("{interface} has it")),
            Change::Replaced => Applied::unchanged(format!("{interface} has it; the lease was renewed")),
            Change::Added | Change::Removed => Applied::changed(format!("on {interface}")),
        })
    }

    fn record_epoch(&mut self, intent: &Intent, deadline: Deadline) -> Result<Applied> {
        let promoted = match self.promoted.take() {
            Some(promoted) => promoted,
            // An earlier run promoted it: nothing changes, but where the timeline begins is to be found out.
            None => promote::promote(self.server()?.session(deadline)?, deadline, &mut |_| {})?,
        };
        let server = self.server.as_mut().ok_or_else(|| Error::failed("no PostgreSQL is configured"))?;
        let start_lsn =
            promoted.start_lsn.or_else(|| server.start_of(promoted.timeline)).unwrap_or(promoted.lsn);
        if let Some(election) = &mut self.election {
            election.adopt_names(server.session(deadline)?, intent.term, deadline)?;
        }
        let configuration = self.election.as_ref().and_then(Election::configuration);
        let mut change = 0;
        if let Some(election) = self.election.as_ref().filter(|election| election.voters().overridden) {
            // A row that waits for acknowledgements which nobody gives is followed by one that waits for nobody.
            let row = vote::read(server.session(deadline)?, deadline)?.epoch;
            let row = row.filter(|row| row.term == intent.term && row.promotion_id == intent.promotion_id);
            let waits = row.as_ref().is_some_and(|row| row.w > 0);
            change = row.map_or(0, |row| row.change.saturating_add(u32::from(waits)));
            debug_assert!(election.configuration().is_none_or(|configuration| configuration.w == 0));
        }
        let epoch = Epoch {
            term: intent.term,
            change,
            node: intent.node.clone(),
            promotion_id: intent.promotion_id,
            timeline: promoted.timeline,
            start_lsn,
            // Asynchronous: nobody's acknowledgement is waited for.
            w: configuration.map_or(0, |configuration| configuration.w),
            members: configuration.map(|configuration| configuration.members.clone()).unwrap_or_default(),
            at: clock::wall().as_secs(),
        };
        let recorded = promote::record_epoch(server.session(deadline)?, &epoch, deadline)?;
        if let Some(configuration) = configuration {
            acknowledged(server.session(deadline)?, configuration, deadline)?;
        }
        let detail = format!("term {} on timeline {}", epoch.term, epoch.timeline);
        self.promoted = Some(promoted);
        Ok(match recorded {
            Recorded::Written => Applied::changed(detail),
            Recorded::Unchanged => Applied::unchanged(detail),
        })
    }
}

/// Carries out what is needed of a plan; tells `observe` of each step.
pub fn apply(
    plan: &Plan,
    world: &mut World,
    deadline: Deadline,
    observe: &mut dyn FnMut(Progress),
) -> Outcome {
    world.promoted = None;
    let mut outcome =
        Outcome { steps: Vec::new(), changed: false, warnings: plan.warnings.clone(), error: None };
    for item in &plan.items {
        let step = item.step.name();
        if outcome.error.is_some() {
            outcome.steps.push(report(&item.step, StepStatus::Skipped, None, None));
            continue;
        }
        if let Need::Unchanged(fact) = &item.need {
            outcome.steps.push(report(&item.step, StepStatus::Unchanged, None, Some(fact.clone())));
            continue;
        }
        let begun = clock::now();
        observe(Progress::Started { at: begun, step, describe: item.step.to_string() });
        let result = world.apply(&item.step, deadline);
        let at = clock::now();
        let took = Some(at.since(begun).as_secs_f64() * 1000.0);
        let done = match result {
            Ok(applied) => {
                outcome.changed |= applied.changed;
                let status = if applied.changed { StepStatus::Done } else { StepStatus::Unchanged };
                report(&item.step, status, took, applied.detail)
            }
            Err(error) => {
                let done = report(&item.step, StepStatus::Failed, took, Some(error.to_string()));
                if item.step.optional() {
                    outcome.warnings.push(format!("{step}: {error}"));
                } else {
                    outcome.error = Some(error);
                }
                done
            }
        };
        observe(Progress::Done { at, step, report: done.clone() });
        outcome.steps.push(done);
    }
    if outcome.error.is_some()
        && let Some(said) = world.give_up()
    {
        outcome.warnings.push(said);
    }
    if outcome.changed && outcome.error.as_ref().is_some_and(|error| error.kind() == Kind::Failed) {
        outcome.error = outcome.error.map(|error| error.with_kind(Kind::Partial));
    }
    outcome
}

/// Returns the reports of a plan that is only shown.
pub fn dry_run(plan: &Plan) -> Vec<StepReport> {
    plan.items
        .iter()
        .map(|item| match &item.need {
            Need::Needed => report(&item.step, StepStatus::Planned, None, None),
            Need::Unchanged(fact) => report(&item.step, StepStatus::Unchanged, None, Some(fact.clone())),
        })
        .collect()
}

/// The refusal to add an address that somebody has.
pub fn taken(vip: InterfaceAddress, interface: &str, owner: &str) -> Error {
    Error::refused(format!("{} is taken: {owner} answers for it on {interface}", vip.address()))
        .hint(format!("who is it? `ip neigh show dev {interface} | grep -i {owner}`"))
        .hint("if that machine is dead to the world and its address lingers in an ARP proxy, run again with --force")
}

fn report(step: &Step, status: StepStatus, took_ms: Option<f64>, detail: Option<String>) -> StepReport {
    StepReport { step: step.name().to_owned(), describe: step.to_string(), status, took_ms, detail }
}

/// Returns a step's facts as JSON, for `--json` and for events.
pub fn facts(step: &Step) -> Value {
    serde_json::to_value(step).unwrap_or(Value::Null)
}

/// The epoch of a database that never had one: term 1 for its first primary.
pub fn first_intent(node: &str, term: epoch::Term) -> Result<Intent> {
    Ok(Intent { node: node.to_owned(), term, promotion_id: epoch_id()? })
}

/// Draws a promotion id.
pub fn epoch_id() -> Result<epoch::PromotionId> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::failed("can't draw a random promotion id").detail(error))?;
    Ok(epoch::PromotionId::from_random(bytes))
}
