//! Tells programs and a FIFO of each change of state, in keepalived's words: what scripts written for it expect.
//!
//! Other than there, the programs of one virtual router run one after the other, and what became outdated while
//! one ran is left out: the last one that runs always says how things are. The FIFO gets every line, in order.

mod fifo;
mod runner;

use self::fifo::Fifo;
use self::runner::{Request, Runner};
use super::event_loop::{Mailbox, Message};
use crate::error::Result;
use crate::settings::{DaemonSettings, NotifySettings, Words};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::mpsc::{Receiver, Sender, channel};

pub(super) use self::runner::Ran;

/// Whether a virtual router or a group changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Subject {
    Instance,
    Group,
}

impl Subject {
    const fn word(self) -> &'static str {
        match self {
            Self::Instance => "INSTANCE",
            Self::Group => "GROUP",
        }
    }
}

/// What it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Change {
    Master,
    Backup,
    Fault,
    Stop,
    /// It is no longer configured, which keepalived calls a fault without running the program for faults.
    Gone,
    /// It is Active and another router claims to be (keepalived's word; for the FIFO only).
    Contested,
    /// Its priority is another (for the FIFO only).
    MasterPriority,
    BackupPriority,
}

impl Change {
    const fn word(self) -> &'static str {
        match self {
            Self::Master => "MASTER",
            Self::Backup => "BACKUP",
            Self::Fault | Self::Gone => "FAULT",
            Self::Stop => "STOP",
            Self::Contested => "MASTER_RX_LOWER_PRI",
            Self::MasterPriority => "MASTER_PRIORITY",
            Self::BackupPriority => "BACKUP_PRIORITY",
        }
    }

    const fn is_priority(self) -> bool {
        matches!(self, Self::MasterPriority | Self::BackupPriority)
    }

    const fn for_programs(self) -> bool {
        matches!(self, Self::Master | Self::Backup | Self::Fault | Self::Stop | Self::Gone)
    }

    /// Returns the program for this state alone.
    const fn own_command(self, settings: &NotifySettings) -> Option<&Words> {
        match self {
            Self::Master => settings.master.as_ref(),
            Self::Backup => settings.backup.as_ref(),
            Self::Fault => settings.fault.as_ref(),
            Self::Stop => settings.stop.as_ref(),
            Self::Gone | Self::Contested | Self::MasterPriority | Self::BackupPriority => None,
        }
    }
}

/// One thing to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct News<'a> {
    pub(super) subject: Subject,
    pub(super) name: &'a str,
    pub(super) change: Change,
    pub(super) priority: u8,
}

/// A line of the FIFO.
impl fmt::Display for News<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, name, change, priority } = self;
        writeln!(f, "{} \"{name}\" {} {priority}", subject.word(), change.word())
    }
}

impl News<'_> {
    /// Returns the commands to run, the one for the state first.
    fn commands(&self, settings: &NotifySettings) -> Vec<Words> {
        if !self.change.for_programs() {
            return Vec::new();
        }
        let mut commands: Vec<Words> = self.change.own_command(settings).cloned().into_iter().collect();
        if let Some(mut any) = settings.any.clone() {
            any.extend([
                self.subject.word().to_owned(),
                self.name.to_owned(),
                self.change.word().to_owned(),
                self.priority.to_string(),
            ]);
            commands.push(any);
        }
        commands
    }
}

/// The programs' threads and the FIFO.
#[derive(Debug)]
pub(super) struct Notifier {
    mailbox: Mailbox,
    fifo: Option<Fifo>,
    priorities: bool,
    runners: BTreeMap<(Subject, String), Runner>,
    /// Every thread holds a clone of the sender until it has run its last program.
    running: (Sender<()>, Receiver<()>),
}

impl Notifier {
    /// Opens the FIFO, if there is one.
    pub(super) fn new(settings: &DaemonSettings, mailbox: Mailbox) -> Result<Self> {
        Ok(Self {
            mailbox,
            fifo: settings.notify_fifo.as_deref().map(Fifo::open).transpose()?,
            priorities: settings.notify_priority_changes,
            runners: BTreeMap::new(),
            running: channel(),
        })
    }

    /// Tells; returns what a person should know about it.
    pub(super) fn tell(&mut self, news: News<'_>, settings: &NotifySettings) -> Option<String> {
        let complaint = match &mut self.fifo {
            Some(fifo) if self.priorities || !news.change.is_priority() => fifo.write(&news.to_string()),
            _ => None,
        };
        let commands = news.commands(settings);
        if commands.is_empty() {
            return complaint;
        }
        let key = (news.subject, news.name.to_owned());
        let request = Request {
            name: news.name.to_owned(),
            state: news.change.word(),
            commands,
            timeout: settings.timeout,
            user: settings.user.clone(),
        };
        if !self.runners.contains_key(&key) {
            let mailbox = self.mailbox.clone();
            let told = move |ran| mailbox.send(Message::Notified(ran));
            match Runner::start(self.running.0.clone(), told) {
                Ok(runner) => drop(self.runners.insert(key.clone(), runner)),
                Err(error) => return Some(format!("can't start a thread for a program: {error}")),
            }
        }
        if let Some(runner) = self.runners.get(&key) {
            runner.run(request);
        }
        if news.change == Change::Gone {
            self.runners.remove(&key);
        }
        complaint
    }

    /// Waits until the last programs have ended; each has its own limit of time.
    pub(super) fn finish(&mut self) {
        self.runners.clear();
        let (sender, ended) = std::mem::replace(&mut self.running, channel());
        drop(sender);
        // Nothing is ever sent: this returns when the last thread has dropped its end.
        ended.recv().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEWS: News<'_> =
        News { subject: Subject::Instance, name: "VI_1", change: Change::Master, priority: 100 };

    fn words(text: &str) -> Words {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn lines_and_arguments_are_keepaliveds() {
        assert_eq!(NEWS.to_string(), "INSTANCE \"VI_1\" MASTER 100\n");
        let group = News { subject: Subject::Group, name: "G", change: Change::Stop, priority: 0 };
        assert_eq!(group.to_string(), "GROUP \"G\" STOP 0\n");
        let settings = NotifySettings {
            any: Some(words("/n a")),
            master: Some(words("/m")),
            ..NotifySettings::default()
        };
        assert_eq!(NEWS.commands(&settings), [words("/m"), words("/n a INSTANCE VI_1 MASTER 100")]);
        let gone = News { change: Change::Gone, ..NEWS };
        let fault = NotifySettings { fault: Some(words("/f")), ..settings };
        assert_eq!(gone.commands(&fault), [words("/n a INSTANCE VI_1 FAULT 100")]);
        for change in [Change::Contested, Change::MasterPriority, Change::BackupPriority] {
            assert_eq!(News { change, ..NEWS }.commands(&fault), Vec::<Words>::new());
        }
    }
}
