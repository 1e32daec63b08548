//! Looking at this node, and doing what was decided, by the plans of the other verbs.

use super::decide::{Move, Role, Seen, decide};
use crate::cli::{Fence, ForceGate, Globals, Notify, Promote, State};
use crate::command::pg_fence;
use crate::command::pg_promote::Candidate;
use crate::daemon::setup;
use crate::error::{Error, Kind, Result};
use crate::host::clock::Deadline;
use crate::host::files::{self, Owner};
use crate::host::lock::Lock;
use crate::net::caps;
use crate::net::netlink::{Address, Netlink};
use crate::output::log::Level;
use crate::output::report::Report;
use crate::output::{Out, Surroundings};
use crate::pg::gates::Gate;
use crate::pg::server::DataDirectory;
use crate::plan::apply::{self, World};
use crate::plan::build::{self, UpOptions, Vip, VipSeen};
use crate::plan::{Plan, Step};
use crate::settings::{Availability, PostgresSettings, Settings};
use std::cell::RefCell;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How long another run may take before this one gives up: a promotion with much to replay, or a fence.
const LOCK_WAIT: Duration = Duration::from_secs(120);
/// How long the link is asked whether somebody has the virtual IP that this node is about to take back.
const PROBE: Duration = Duration::from_millis(100);
/// How long one look and what follows may take beside a promotion.
const PATIENCE: Duration = Duration::from_secs(30);

/// This node, as a hook acts on it.
pub(super) struct Node {
    pub(super) settings: Settings,
    globals: Globals,
    postgres: PostgresSettings,
    marker: Option<IpAddr>,
    no_vip: bool,
    /// What keepalived told last, where no marker tells what is so.
    last: State,
    /// Whether the cluster was paused when the server last said so; a server that is stopped can't say it.
    paused: RefCell<Option<String>>,
}

/// What came of one look.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not a state")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Done {
    /// What is to be told, without what changes with every look.
    pub(super) said: String,
    /// How important that is.
    pub(super) level: Level,
    /// Whether this node serves now.
    pub(super) serving: bool,
    /// Whether another look may come to something else.
    pub(super) again: bool,
    /// Whether anything was changed.
    pub(super) changed: bool,
    /// Whether a guard refused.
    refused: bool,
}

impl Node {
    pub(super) fn new(settings: &mut Settings, globals: &Globals, args: &Notify) -> Result<Self> {
        let local = addresses(&mut Netlink::open()?)?;
        settings.find_me(&local)?;
        let me = settings.me()?;
        let postgres = settings.postgres_of(me).ok_or_else(|| {
            Error::config("no PostgreSQL is configured")
                .hint("keepalived alone moves an address: this hook is for the database behind it")
        })?;
        if settings.votes() && !settings.synchronous() {
            return Err(Error::config(
                "an asynchronous primary with a witness serves under a lease, which hooks can't keep",
            )
            .hint("run `pgbaton vrrp run` instead of keepalived, or set [replication] mode = \"sync\""));
        }
        // What follows runs verbs that find the node again; a name is found at once.
        let globals = Globals { node: Some(me.name.clone()), json: true, ..globals.clone() };
        Ok(Self {
            settings: settings.clone(),
            globals,
            postgres,
            marker: args.marker,
            no_vip: args.no_vip,
            last: State::Backup,
            paused: RefCell::default(),
        })
    }

    /// Remembers what was told, for later looks, also those of other processes.
    pub(super) fn remember(&mut self, told: State) -> Result<()> {
        self.last = told;
        if self.marker.is_none() {
            files::write_atomic_as(&self.path("told")?, told.name().as_bytes(), 0o644, Owner::LikeDirectory)?;
        }
        Ok(())
    }

    /// Refuses to work beside the daemon.
    pub(super) fn alone(&self) -> Result<()> {
        let Some(holder) = Lock::holder(&self.settings.lock_file_here()?)? else { return Ok(()) };
        Err(Error::refused(format!("\"{}\" (process {}) looks after this node", holder.verb, holder.pid))
            .detail("two that move one virtual IP undo each other's work")
            .hint("stop one of them: systemctl disable --now pgbaton, or keepalived"))
    }

    /// Returns the path of a file of this node in the runtime directory.
    pub(super) fn path(&self, suffix: &str) -> Result<PathBuf> {
        let identity = self.settings.identity()?;
        Ok(self.settings.cluster.runtime_directory.join(format!("{identity}.{suffix}")))
    }

    /// Returns how often the lease of the virtual IP has to be renewed.
    pub(super) fn renewal(&self) -> Duration {
        let shortest = self.settings.vips.iter().filter_map(|vip| vip.lease).min();
        shortest.map_or(Duration::from_secs(1), |lease| (lease / 3).min(Duration::from_secs(1)))
    }

    /// Returns whether keepalived is MASTER here, as far as can be seen.
    pub(super) fn is_active(&self, local: &[IpAddr]) -> bool {
        if let Some(marker) = self.marker {
            return local.contains(&marker);
        }
        let told = self.path("told").and_then(|path| files::read_limited(&path, 32)).ok();
        let told = told.and_then(|told| String::from_utf8_lossy(&told).parse().ok());
        told.unwrap_or(self.last) == State::Master
    }

    /// Looks, and returns what is so with what a promotion would be built from.
    fn look(&self, forced: &[ForceGate]) -> Result<(Seen, Option<Candidate>)> {
        let local = addresses(&mut Netlink::open()?)?;
        let vip_here =
            !self.no_vip && self.settings.vips.iter().any(|vip| local.contains(&vip.address.address()));
        let active = self.is_active(&local);
        let (role, candidate) = self.server(forced)?;
        if let Some(candidate) = &candidate {
            self.paused.replace(candidate.paused());
        }
        let paused = self.paused.borrow().clone();
        Ok((Seen { active, vip_here, role, paused }, candidate))
    }

    fn server(&self, forced: &[ForceGate]) -> Result<(Role, Option<Candidate>)> {
        let data = DataDirectory::open(&self.postgres.data_directory)?;
        if data.postmaster()?.is_none() {
            return Ok((Role::Down { alive: !data.processes()?.is_empty() }, None));
        }
        let args = Promote { hurry: true, force: forced.to_vec(), ..Promote::default() };
        let deadline = Deadline::after(self.postgres.connect_timeout + self.postgres.probe_timeout);
        match Candidate::look(Some(&self.settings), &args, deadline) {
            Ok(candidate) if candidate.in_recovery() => Ok((Role::Standby, Some(candidate))),
            Ok(candidate) => {
                let outdated = candidate.refused_by(Gate::NewerEpoch).map(|gate| gate.why.clone());
                Ok((Role::Primary { outdated }, Some(candidate)))
            }
            Err(error) if matches!(error.kind(), Kind::Unreachable | Kind::TryAgain) => {
                Ok((Role::Down { alive: true }, None))
            }
            Err(error) => Err(error),
        }
    }

    /// Looks and acts once, under the lock.
    pub(super) fn act(&self, told: Option<State>) -> Result<Done> {
        self.alone()?;
        let _lock = Lock::acquire(&self.path("notify.lock")?, "notify", LOCK_WAIT)?;
        let (seen, candidate) = self.look(&[])?;
        match (decide(&seen, told), candidate) {
            (Move::Ask, Some(candidate)) => self.ask(candidate),
            // A hook that was killed has promoted and not finished: what is missing comes before everything else.
            (Move::Serve, Some(candidate)) if candidate.is_unfinished()? => self.promote(candidate),
            (Move::Serve, Some(candidate)) => self.serve(candidate),
            (Move::Ask | Move::Serve, None) => Ok(Done::quiet("PostgreSQL doesn't answer", true)),
            (Move::Nothing(why), _) => Ok(Done::quiet(&why, false)),
            (Move::Wait(why), _) => Ok(Done::warning(why, true)),
            (Move::DropVip(why), _) => {
                let changed = carry_out(&build::vip_down(&self.vips()?), &mut World::new(), PATIENCE)?;
                Ok(Done { changed, ..Done::warning(format!("the virtual IP is down: {why}"), seen.active) })
            }
            (Move::Fence(why), _) => self.fence(&why),
        }
    }

    /// Looks, and says what would be done.
    pub(super) fn intended(&self, told: State) -> Result<Done> {
        let (seen, candidate) = self.look(&[])?;
        let refusal = candidate.as_ref().and_then(Candidate::refusal).map(|gate| gate.why.clone());
        let refused = refusal.is_some() && decide(&seen, Some(told)) == Move::Ask;
        let (said, changed) = match (decide(&seen, Some(told)), refusal) {
            (Move::Nothing(why) | Move::Wait(why), _) => (why, false),
            (Move::Ask, Some(why)) => (format!("would not promote: {why}"), false),
            (Move::Ask, None) => ("would promote this node and put the virtual IP up".to_owned(), true),
            (Move::Serve, _) if seen.vip_here || self.no_vip => {
                ("the server is the current primary".to_owned(), false)
            }
            (Move::Serve, _) => ("would put the virtual IP up".to_owned(), true),
            (Move::DropVip(why), _) => (format!("would take the virtual IP down: {why}"), true),
            (Move::Fence(why), _) => {
                (format!("would stop PostgreSQL and take the virtual IP down: {why}"), true)
            }
        };
        Ok(Done { changed, refused, ..Done::quiet(&said, false) })
    }

    /// Asks the gates, and promotes when they agree.
    fn ask(&self, candidate: Candidate) -> Result<Done> {
        let Some(refusal) = candidate.refusal() else { return self.promote(candidate) };
        let mut why = format!("not promoting: {}", refusal.why);
        if refusal.gate == Gate::ProofOfDeath && self.settings.guard.availability == Availability::Hold {
            // A machine that says that nothing listens is alive: it can be asked to prove it.
            let proofs: Vec<Result<()>> = candidate.peers_down().map(|node| self.fence_peer(node)).collect();
            match proofs.into_iter().collect::<Result<Vec<()>>>() {
                Ok(proven) if !proven.is_empty() => {
                    let (seen, candidate) = self.look(&[ForceGate::ProofOfDeath])?;
                    if let (Move::Ask, Some(candidate)) = (decide(&seen, None), candidate)
                        && candidate.refusal().is_none()
                    {
                        return self.promote(candidate);
                    }
                }
                Ok(_) => {}
                Err(error) => why.push_str(&format!("; no proof over SSH: {}", error.message())),
            }
        }
        let hint = candidate.refusal().and_then(|gate| gate.hint.clone());
        let why = hint.map_or_else(|| why.clone(), |hint| format!("{why}; hint: {hint}"));
        Ok(Done { refused: true, ..Done::warning(why, true) })
    }

    fn promote(&self, candidate: Candidate) -> Result<Done> {
        caps::require_net_admin()?;
        let within = self.postgres.promote_timeout + PATIENCE;
        let facts = candidate.promotion(Deadline::after(within))?;
        // What the gates warn of is about a promotion that is still to come.
        let warnings = if candidate.in_recovery() { candidate.warnings() } else { Vec::new() };
        let vips = if self.no_vip { Vec::new() } else { self.vips()? };
        let mut world = candidate.into_world();
        carry_out(&build::failover(&facts, &vips), &mut world, within)?;
        // The node serves: what is left may take its time, and may fail.
        let settled = apply::apply(&build::settle(&facts), &mut world, Deadline::after(within), &mut |_| {});
        let mut said =
            format!("promoted: {} is the primary of term {}", facts.intent.node, facts.intent.term);
        for warning in warnings.into_iter().chain(settled.warnings) {
            said.push_str(&format!("; {warning}"));
        }
        Ok(Done { changed: true, ..Done::serving(said) })
    }

    /// Puts the virtual IP up on the current primary, or renews its lease.
    fn serve(&self, candidate: Candidate) -> Result<Done> {
        caps::require_net_admin()?;
        let vips = if self.no_vip { Vec::new() } else { self.vips()? };
        let all_here = vips.iter().all(|(_, seen)| seen.present);
        let mut plan = build::vip_up(&vips, UpOptions { probe: Some(PROBE), refresh: false });
        "serve".clone_into(&mut plan.verb);
        let epoch = if candidate.knows_its_epoch() {
            None
        } else {
            Some(apply::first_intent(self.settings.identity()?, candidate.next_term())?)
        };
        // Where commits wait for standbys, the names are kept in line with those that there are.
        let synchronous = self.settings.synchronous();
        let term = candidate.term().filter(|_| synchronous);
        let mut before = if all_here && epoch.is_none() {
            term.map_or_else(|| Plan::new("", ""), build::reconfigure)
        } else {
            build::serve(epoch, None, term, &[])
        };
        before
            .step(Step::ProtectStart, candidate.protected().then(|| "standby.signal is in place".to_owned()));
        if all_here {
            // The renewal of the lease waits for nothing.
            plan.items.extend(before.items);
        } else {
            plan.items.splice(0..0, before.items);
        }
        for item in &mut plan.items {
            if matches!(&item.step, Step::AddAddress { lease: Some(_), .. }) {
                item.need = crate::plan::Need::Needed;
            }
        }
        let mut world = candidate.into_world();
        let changed = carry_out(&plan, &mut world, PATIENCE)?;
        let said = if all_here { "" } else { ": the virtual IP is up" };
        Ok(Done { changed, ..Done::serving(format!("the server is the current primary{said}")) })
    }

    fn fence(&self, why: &str) -> Result<Done> {
        let args = Fence { reason: why.to_owned(), ..Fence::default() };
        pg_fence::run(&self.globals, &args, &silent(&self.globals))?;
        let said = format!("PostgreSQL is stopped and the virtual IP down: {why}");
        Ok(Done { changed: true, ..Done::warning(said, false) })
    }

    /// Asks another machine over SSH to stop its server for sure; success is the proof.
    fn fence_peer(&self, node: &str) -> Result<()> {
        let globals = Globals { node: Some(node.to_owned()), ..self.globals.clone() };
        let args = Fence { reason: format!("{} takes over", self.settings.identity()?), ..Fence::default() };
        pg_fence::run(&globals, &args, &silent(&globals))
    }

    /// Returns the virtual IPs as they should be and as they are.
    fn vips(&self) -> Result<Vec<(Vip, VipSeen)>> {
        let mut netlink = Netlink::open()?;
        let present = netlink.addresses()?;
        let link = setup::node_link(&self.settings, &mut netlink, &present)?;
        let there = |vip: &Vip| {
            present.iter().any(|one: &Address| one.index == link.index && one.address == vip.address)
        };
        let vip = |vip: &crate::settings::VipSettings| Vip {
            address: vip.address,
            interface: link.name.clone(),
            label: vip.label.clone(),
            lease: vip.lease,
        };
        Ok(self
            .settings
            .vips
            .iter()
            .map(vip)
            .map(|vip| {
                let present = there(&vip);
                (vip, VipSeen { present })
            })
            .collect())
    }
}

impl Done {
    /// A look that failed: it must be repeated.
    pub(super) fn failed(said: &str) -> Self {
        Self { level: Level::Error, ..Self::quiet(said, true) }
    }

    fn quiet(said: &str, again: bool) -> Self {
        Self {
            said: said.to_owned(),
            level: Level::Info,
            serving: false,
            again,
            changed: false,
            refused: false,
        }
    }

    fn warning(said: String, again: bool) -> Self {
        Self { said, level: Level::Warning, serving: false, again, changed: false, refused: false }
    }

    fn serving(said: String) -> Self {
        Self { said, level: Level::Notice, serving: true, again: true, changed: false, refused: false }
    }
}

/// Returns every address of this machine.
pub(super) fn addresses(netlink: &mut Netlink) -> Result<Vec<IpAddr>> {
    Ok(netlink.addresses()?.iter().map(|address| address.address.address()).collect())
}

/// Carries a plan out, and returns whether it changed anything.
fn carry_out(plan: &Plan, world: &mut World, within: Duration) -> Result<bool> {
    let outcome = apply::apply(plan, world, Deadline::after(within), &mut |_| {});
    outcome.error.map_or(Ok(outcome.changed), Err)
}

/// Where the document of a verb goes that runs inside this one.
fn silent(globals: &Globals) -> Out {
    Out::new(Box::new(std::io::sink()), Box::new(std::io::sink()), globals, Surroundings::default())
}

/// `notify --once` and `--dry-run`: the same look, reported.
pub(super) fn once(node: &mut Node, told: State, dry_run: bool, out: &Out) -> Result<()> {
    if !dry_run {
        node.remember(told)?;
    }
    node.last = told;
    let mut report = Report::new("notify");
    report.dry_run = dry_run;
    let result = if dry_run { node.intended(told) } else { node.act(Some(told)) };
    match result {
        Ok(done) if done.refused => {
            let error = Error::refused(done.said);
            report.fail(&error);
            out.report(&report)?;
            Err(error)
        }
        Ok(done) => {
            report.changed = done.changed;
            report.msg = done.said;
            out.report(&report)
        }
        Err(error) => {
            report.fail(&error);
            out.report(&report)?;
            Err(error)
        }
    }
}
