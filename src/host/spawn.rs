//! Starting child processes as somebody else, somewhere else: user, capabilities, network namespace, session.
//!
//! What happens between `fork` and `exec` is only system calls, without the C library's locks: the parent may
//! have had many threads.

use crate::error::{Error, Result};
use crate::host::{sdnotify, signal};
use crate::net::caps::Needs;
use rustix::fs::Mode;
use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal, setsid, umask};
use rustix::thread::{
    CapabilitySet, CapabilitySets, Gid, LinkNameSpaceType, Uid, clear_ambient_capability_set,
    configure_capability_in_ambient_set, move_into_link_name_space, set_capabilities, set_keep_capabilities,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};

/// Starts a [`Command`] with a changed identity.
///
/// Every child gets: no blocked signals, none of our capabilities unless asked for, none of systemd's
/// notification variables, no descriptor but its three standard ones (all of ours are close-on-exec).
#[derive(Debug)]
pub struct Spawn {
    command: Command,
    plan: Plan,
}

/// What the child does before it executes the program.
#[derive(Debug)]
struct Plan {
    namespace: Option<OwnedFd>,
    user: Option<(Uid, Gid)>,
    groups: Vec<Gid>,
    capabilities: CapabilitySet,
    session: bool,
    death: Option<Signal>,
    umask: Option<Mode>,
    only_standard: bool,
}

impl Spawn {
    /// Starts from a command with its program, arguments, environment and standard streams.
    pub fn new(mut command: Command) -> Self {
        for name in sdnotify::ENVIRONMENT {
            command.env_remove(name);
        }
        Self { command, plan: Plan::new() }
    }

    /// Runs it in a network namespace, given by its file (`/run/netns/NAME`, `/proc/PID/ns/net`).
    pub fn netns(mut self, path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| {
            Error::failed(format!("can't open the network namespace {}", path.display())).detail(error)
        })?;
        self.plan.namespace = Some(file.into());
        Ok(self)
    }

    /// Runs it as this user and group, with no other group.
    pub fn user(mut self, uid: u32, gid: u32) -> Self {
        self.plan.user = Some((Uid::from_raw(uid), Gid::from_raw(gid)));
        self.plan.groups = vec![Gid::from_raw(gid)];
        self
    }

    /// Gives it these supplementary groups (with [`Self::user`]).
    pub fn groups(mut self, groups: &[u32]) -> Self {
        self.plan.groups = groups.iter().copied().map(Gid::from_raw).collect();
        self
    }

    /// Lets it keep exactly these capabilities, as ambient ones (like systemd's `AmbientCapabilities=`).
    pub fn capabilities(mut self, capabilities: &[Needs]) -> Self {
        self.plan.capabilities = capabilities.iter().fold(CapabilitySet::empty(), |set, one| set | one.set());
        self
    }

    /// Makes it the leader of a new session: no terminal, not in our process group, so that nothing that is
    /// sent to us or our group reaches it.
    pub fn new_session(mut self) -> Self {
        self.plan.session = true;
        self
    }

    /// Sends it a signal when the *thread* that starts it ends (so start it from a thread that stays).
    pub fn parent_death_signal(mut self, signal: signal::Signal) -> Self {
        self.plan.death = Signal::from_named_raw(signal as i32);
        self
    }

    /// Gives it this mask of file modes.
    pub fn umask(mut self, mask: u32) -> Self {
        self.plan.umask = Some(Mode::from_bits_truncate(mask));
        self
    }

    /// Gives it no descriptor but its three standard ones, whatever this process was started with.
    pub fn only_standard_streams(mut self) -> Self {
        self.plan.only_standard = true;
        self
    }

    /// Returns the command, to be changed further.
    pub fn command_mut(&mut self) -> &mut Command {
        &mut self.command
    }

    /// Starts it.
    pub fn spawn(self) -> io::Result<Child> {
        self.into_command().spawn()
    }

    /// Starts it and waits for its end.
    pub fn status(self) -> io::Result<ExitStatus> {
        self.into_command().status()
    }

    /// Replaces this process by it; returns only when that fails.
    pub fn exec(self) -> io::Error {
        self.into_command().exec()
    }

    /// Returns a command that does all this when it is started.
    pub fn into_command(self) -> Command {
        let Self { mut command, plan } = self;
        let parent = getpid();
        #[expect(unsafe_code, reason = "pre_exec is unsafe by its nature")]
        // SAFETY: the closure runs in the child between fork and exec. It only makes system calls (rustix
        // makes them directly, and sigprocmask takes no lock), allocates nothing and takes no lock.
        unsafe {
            command.pre_exec(move || plan.carry_out(parent));
        }
        command
    }
}

impl Plan {
    const fn new() -> Self {
        Self {
            namespace: None,
            user: None,
            groups: Vec::new(),
            capabilities: CapabilitySet::empty(),
            session: false,
            death: None,
            umask: None,
            only_standard: false,
        }
    }

    fn carry_out(&self, parent: Pid) -> io::Result<()> {
        if let Some(namespace) = &self.namespace {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        }
        if self.session {
            setsid()?;
        }
        if let Some((uid, gid)) = self.user {
            set_keep_capabilities(!self.capabilities.is_empty())?;
            set_thread_groups(&self.groups)?;
            set_thread_res_gid(gid, gid, gid)?;
            set_thread_res_uid(uid, uid, uid)?;
        }
        clear_ambient_capability_set()?;
        if self.capabilities.is_empty() {
            let mut sets = rustix::thread::capabilities(None)?;
            sets.inheritable = CapabilitySet::empty();
            set_capabilities(None, sets)?;
        } else {
            let only = self.capabilities;
            set_capabilities(None, CapabilitySets { effective: only, permitted: only, inheritable: only })?;
            for one in only.iter() {
                configure_capability_in_ambient_set(one, true)?;
            }
        }
        if let Some(mask) = self.umask {
            umask(mask);
        }
        if self.only_standard {
            close_others_at_exec();
        }
        signal::unblock_all()?;
        // After the change of user, which would clear it.
        if let Some(death) = self.death {
            set_parent_process_death_signal(Some(death))?;
            if getppid() != Some(parent) {
                // The parent died before the kernel was told.
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
        }
        Ok(())
    }
}

/// Marks every descriptor above the standard ones as close-on-exec (kernel 5.11; older ones rely on each being so).
fn close_others_at_exec() {
    const FIRST: libc::c_uint = 3;
    #[expect(unsafe_code, reason = "neither rustix nor nix has close_range")]
    // SAFETY: takes three numbers, closes nothing, and only marks descriptors of this process.
    unsafe {
        libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC)
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Stdio;

    fn status_of(spawn: Spawn) -> String {
        let mut command = spawn.into_command();
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn field<'a>(text: &'a str, name: &str) -> &'a str {
        text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim()
    }

    fn cat() -> Command {
        let mut command = Command::new("cat");
        command.arg("/proc/self/status");
        command
    }

    #[test]
    fn a_daemon_as_an_ordinary_user_has_exactly_the_capabilities_it_was_given() {
        let spawn = Spawn::new(cat()).user(65534, 65534).capabilities(&[Needs::NetAdmin, Needs::NetRaw]);
        let text = status_of(spawn);
        assert_eq!(field(&text, "Uid:"), "65534\t65534\t65534\t65534");
        assert_eq!(field(&text, "Groups:"), "65534");
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(field(&text, set), "0000000000003000", "{set}");
        }
    }

    #[test]
    fn a_child_as_an_ordinary_user_has_no_capability_by_default() {
        let text = status_of(Spawn::new(cat()).user(65534, 65534).new_session());
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(field(&text, set), "0000000000000000", "{set}");
        }
    }

    #[test]
    fn a_child_of_the_daemon_gets_neither_its_capabilities_nor_its_blocked_signals() {
        // The thread is like the daemon: an ordinary user with ambient capabilities and blocked signals.
        std::thread::spawn(|| {
            signal::block(&[signal::Signal::SIGTERM, signal::Signal::SIGHUP]).unwrap();
            let only = Needs::NetAdmin.set() | Needs::NetRaw.set();
            let plan = Plan {
                user: Some((Uid::from_raw(65534), Gid::from_raw(65534))),
                capabilities: only,
                ..Plan::new()
            };
            plan.carry_out(getpid()).unwrap();
            signal::block(&[signal::Signal::SIGTERM]).unwrap();
            assert!(crate::net::caps::has(Needs::NetAdmin));
            let text = status_of(Spawn::new(cat()));
            assert_eq!(field(&text, "CapEff:"), "0000000000000000");
            assert_eq!(field(&text, "CapAmb:"), "0000000000000000");
            assert_eq!(field(&text, "SigBlk:"), "0000000000000000");
        })
        .join()
        .unwrap();
    }
}
