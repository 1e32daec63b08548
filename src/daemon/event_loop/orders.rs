//! How the supervisor's orders are carried out: at once where that takes microseconds, by a thread where it may take
//! longer.

use super::{GATEWAY_WAIT, Loop, Message, PROBE_WAIT};
use crate::daemon::edges::Id;
use crate::daemon::fencing;
use crate::daemon::worker::{self, Job};
use crate::host::clock::Deadline;
use crate::output::report::StepStatus;
use crate::plan::apply::Progress;
use crate::promotion::event::{Event, EventKind};
use crate::promotion::supervisor::Order;
use crate::units::Moment;
use crate::vrrp::event::Resign;
use crate::vrrp::types::State;
use serde_json::{Value, json};

impl Loop {
    pub(super) fn carry_out(&mut self, now: Moment, main: Id, order: Order) {
        match order {
            Order::Ask { round, until, link } => self.ask(round, until, link),
            Order::Observe => {
                if let Some(database) = &self.database {
                    database.watch.poke();
                    drop(database.jobs.send(Job::Warm));
                }
            }
            Order::Promote { term, gone, rivals } => {
                self.edges.recorder.in_term(term.0);
                self.job(Job::Promote { term, gone, rivals });
            }
            Order::Serve { adopt, term } => self.job(Job::Serve { adopt, term }),
            Order::Reconfigure { term } => self.upkeep(Job::Reconfigure { term }),
            Order::Confirm { term, nodes } => self.upkeep(Job::Confirm { term, nodes }),
            Order::Prepare => self.upkeep(Job::Prepare),
            Order::Resume => self.upkeep(Job::Resume),
            Order::Heard { from, register } => self.upkeep(Job::Heard { from, register }),
            Order::Relay { to, from, register } => self.upkeep(Job::Relay { to, from, register }),
            Order::AskGateway => self.ask_gateway(now),
            Order::Fence { nodes } => self.fence(nodes),
            Order::Rejoin { primary } => self.rejoin(&primary),
            Order::Start => self.start_server(),
            Order::Release { stop } => {
                // No renewal may follow the plan that removes the addresses.
                self.touch(main, |instance, edges| instance.hold(now, false, edges));
                self.job(Job::Release { stop });
            }
            Order::DropVip => {
                self.touch(main, |instance, edges| {
                    instance.drop_vips("not this node's to have", edges);
                });
            }
            Order::Eligible(eligible) => {
                self.touch(main, |instance, _| instance.router_mut().set_fault(now, !eligible));
            }
            Order::Grant => {
                self.touch(main, |instance, _| {
                    let router = instance.router_mut();
                    if router.state() == State::Active {
                        router.announce_again(now);
                    } else {
                        router.grant(now);
                    }
                });
            }
            Order::Yield { farewell } => {
                let how = Resign { farewell, hold: None };
                self.touch(main, |instance, _| instance.router_mut().resign(now, how));
            }
            Order::Note(event) => self.note(event),
            Order::Resigned(result) => {
                let answer = match result {
                    Ok(()) => json!({ "schema": 1, "resigned": true }),
                    Err(why) => json!({ "schema": 1, "error": why }),
                };
                for caller in self.resigning.drain(..) {
                    drop(caller.send(answer.clone()));
                }
            }
            Order::Exit => self.leaving = true,
        }
    }

    pub(super) fn ask(&mut self, round: u64, until: Moment, link: bool) {
        let (Some(database), Some(main)) = (&self.database, &self.node.main) else { return };
        let mailbox = self.mailbox.clone();
        database.peers.ask(Deadline::at(until), &move |view| {
            mailbox.send(Message::Answered { round, view });
        });
        if !link {
            return;
        }
        let mailbox = self.mailbox.clone();
        let vips = main.vips.iter().map(|place| place.vip.address.address()).collect();
        worker::probe(main.link.clone(), vips, PROBE_WAIT, move |mac| {
            mailbox.send(Message::Probed { round, mac });
        });
    }

    /// Asks the gateway on the link; nobody listens to a second question while the first is open.
    fn ask_gateway(&self, asked: Moment) {
        let (Some(gateway), Some(main)) = (self.settings.guard.gateway, &self.node.main) else { return };
        let mailbox = self.mailbox.clone();
        worker::probe(main.link.clone(), vec![gateway.into()], GATEWAY_WAIT, move |mac| {
            mailbox.send(Message::GatewayAsked { asked, answered: mac.is_some() });
        });
    }

    pub(super) fn job(&mut self, job: Job) {
        if let Some(database) = &self.database {
            drop(database.jobs.send(job));
        }
    }

    /// Hands a job to the thread beside the plans; one that is still at its last one isn't given more.
    pub(super) fn upkeep(&mut self, job: Job) {
        if let Some(database) = &mut self.database
            && !database.tending
        {
            database.tending = database.upkeep.send(job).is_ok();
        }
    }

    /// Makes sure that other nodes are dead, each on a thread of its own.
    pub(super) fn fence(&mut self, nodes: Vec<String>) {
        for node in nodes {
            let (mailbox, about) = (self.mailbox.clone(), node.clone());
            let told = move |result| {
                mailbox.send(Message::Fenced { node: about, result });
            };
            fencing::start(&self.settings, &node, told);
        }
    }

    /// Runs the verb that makes this node a standby of the primary, as a process of its own: it outlives a daemon that
    /// is killed, and the next run finishes what a killed one left.
    pub(super) fn rejoin(&mut self, primary: &str) {
        let mailbox = self.mailbox.clone();
        let config = self.settings.file.clone();
        let node = self.node.name.clone();
        let started = worker::rejoin(config, &node, primary, move |result| {
            mailbox.send(Message::Rejoined(result));
        });
        if let Err(error) = started {
            self.mailbox.send(Message::Rejoined(Err(error.to_string())));
        }
    }

    /// Starts the server as a standby, by the verb: what it starts has none of the daemon's rights.
    pub(super) fn start_server(&mut self) {
        let mailbox = self.mailbox.clone();
        let config = self.settings.file.clone();
        let started = worker::start_server(config, &self.node.name, move |result| {
            mailbox.send(Message::Started(result));
        });
        if let Err(error) = started {
            self.mailbox.send(Message::Started(Err(error.to_string())));
        }
    }

    pub(super) fn progress(&mut self, progress: Progress) {
        match progress {
            Progress::Started { at, step, describe } => {
                let event = Event::new(EventKind::StepStarted, describe).with("step", step);
                self.edges.recorder.note_at(at, event);
            }
            Progress::Done { at, step, report } => {
                let text = match &report.detail {
                    Some(detail) => format!("{} {}: {detail}", report.status.name(), report.describe),
                    None => format!("{} {}", report.status.name(), report.describe),
                };
                let event = Event::new(EventKind::StepDone, text)
                    .with("step", step)
                    .with("status", serde_json::to_value(report.status).unwrap_or(Value::Null))
                    .with("took_ms", report.took_ms);
                self.edges.recorder.note_at(at, event);
                if step == "remove-address" && report.status == StepStatus::Done {
                    let event = Event::new(EventKind::VipRemoved, "the virtual IP left this node");
                    self.edges.recorder.note_at(at, event);
                }
            }
        }
    }
}
