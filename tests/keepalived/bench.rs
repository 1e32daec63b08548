//! Two namespaces with a cable: pgbaton in the one, keepalived (or a second pgbaton) in the other.

use crate::net::bed::{Bed, PORT, inside};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgbaton::host::clock::Deadline;
use pgbaton::net::driver::readable_before;
use pgbaton::net::netlink::{Monitor, Netlink};
use serde_json::Value;
use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// One end of the cable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// 10.77.0.1
    A,
    /// 10.77.0.2
    B,
}

/// The namespaces, a folder for files, and nothing that runs yet.
pub(crate) struct Bench {
    bed: Bed,
    folder: PathBuf,
}

impl Bench {
    pub(crate) fn new(name: &str) -> Self {
        let folder = PathBuf::from(format!("/tmp/pgbaton-test-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self { bed: Bed::new(), folder }
    }

    pub(crate) fn namespace(&self, end: End) -> &str {
        match end {
            End::A => &self.bed.a,
            End::B => &self.bed.b,
        }
    }

    /// Runs `ip` in a namespace.
    pub(crate) fn ip(&self, end: End, args: &[&str]) {
        let mut all = vec!["-n", self.namespace(end)];
        all.extend(args);
        crate::net::bed::ip(&all);
    }

    /// Runs a program in a namespace and returns what it prints.
    pub(crate) fn run(&self, end: End, program: &str, args: &[&str]) -> String {
        let output = inside(self.namespace(end), || Command::new(program).args(args).output().unwrap());
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {}: {complaint}", args.join(" "));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts the daemon with these `[[instance]]` tables and waits until it answers.
    pub(crate) fn pgbaton(&self, end: End, instances: &str) -> Daemon {
        self.try_pgbaton(end, instances).unwrap_or_else(|log| panic!("no daemon:\n{log}"))
    }

    /// Starts the daemon like [`Self::pgbaton`]; if it ends before it answers, returns its log.
    pub(crate) fn try_pgbaton(&self, end: End, instances: &str) -> Result<Daemon, String> {
        let home = self.folder.join(format!("{end:?}"));
        std::fs::create_dir_all(&home).unwrap();
        let config = home.join("pgbaton.toml");
        let daemon_log = home.join("log");
        write_config(&config, &home, instances);
        let child = self.spawn(
            end,
            Command::new(env!("CARGO_BIN_EXE_pgbaton"))
                .args(["vrrp", "run", "--log-format", "plain", "--config"])
                .arg(&config)
                .stderr(File::create(&daemon_log).unwrap()),
        );
        let mut daemon = Daemon { process: Process(child), config, home, log: daemon_log };
        let deadline = Deadline::after(PATIENCE);
        let mut watch = Folder::new(&daemon.home);
        while daemon.try_ask("status").is_none() {
            let runs = matches!(daemon.process.0.try_wait(), Ok(None));
            if !runs || !watch.changed_before(deadline) {
                return Err(daemon.log());
            }
        }
        Ok(daemon)
    }

    /// The folder for files, which goes with the bench.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts keepalived with this configuration.
    pub(crate) fn keepalived(&self, end: End, instances: &str) -> Keepalived {
        self.keepalived_with(end, "", instances)
    }

    /// Starts keepalived with more global definitions.
    pub(crate) fn keepalived_with(&self, end: End, globals: &str, instances: &str) -> Keepalived {
        let home = self.folder.join(format!("{end:?}-keepalived"));
        std::fs::create_dir_all(&home).unwrap();
        let config = home.join("keepalived.conf");
        let text = format!(
            "global_defs {{\n  router_id test\n  script_user root\n  vrrp_garp_master_delay 1\n{globals}}}\n{instances}"
        );
        std::fs::write(&config, text).unwrap();
        let log = home.join("log");
        let mut command = Command::new("keepalived");
        command.args(["-n", "-P", "-l", "-D", "-f"]).arg(&config);
        for (flag, file) in [("-p", "parent.pid"), ("-r", "vrrp.pid")] {
            command.arg(flag).arg(home.join(file));
        }
        command.stderr(File::create(&log).unwrap());
        let child = self.spawn(end, &mut command);
        Keepalived { process: Process(child), config, log }
    }

    fn spawn(&self, end: End, command: &mut Command) -> Child {
        let name = self.namespace(end);
        inside(name, || command.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0).spawn().unwrap())
    }

    pub(crate) fn has(&self, end: End, address: &str) -> bool {
        let address: IpAddr = address.parse().unwrap();
        inside(self.namespace(end), || present(address))
    }

    /// Waits until an end has (or no longer has) an address.
    pub(crate) fn until(&self, end: End, address: &str, there: bool) {
        self.until_within(end, address, there, PATIENCE);
    }

    pub(crate) fn until_within(&self, end: End, address: &str, there: bool, patience: Duration) {
        let wanted: IpAddr = address.parse().unwrap();
        inside(self.namespace(end), || {
            let mut monitor = Monitor::open().unwrap();
            let deadline = Deadline::after(patience);
            while present(wanted) != there {
                let told = readable_before(monitor.as_fd(), deadline).unwrap();
                assert!(told, "{end:?}: {address} should be {}", if there { "there" } else { "gone" });
                monitor.read().unwrap();
            }
        });
    }

    /// Waits until the one end has the address and the other doesn't.
    pub(crate) fn until_at(&self, end: End, address: &str) {
        let other = if end == End::A { End::B } else { End::A };
        self.until(end, address, true);
        self.until(other, address, false);
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            std::fs::remove_dir_all(&self.folder).ok();
        }
    }
}

fn present(address: IpAddr) -> bool {
    let mut netlink = Netlink::open().unwrap();
    let link = netlink.link(PORT).unwrap();
    netlink
        .addresses()
        .unwrap()
        .iter()
        .any(|found| found.index == link.index && found.address.address() == address)
}

fn write_config(path: &Path, home: &Path, instances: &str) {
    let home = home.display();
    let text = format!(
        "[cluster]\nname = \"t\"\nruntime_directory = \"{home}\"\nstate_directory = \"{home}\"\n\n{instances}"
    );
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

/// A process that is ended by its id when it goes out of scope.
pub(crate) struct Process(Child);

impl Process {
    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.0.id()).unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    fn end(&mut self, signal: Signal) {
        if matches!(self.0.try_wait(), Ok(None)) {
            kill(self.pid(), Signal::SIGCONT).ok();
            kill(self.pid(), signal).ok();
            self.0.wait().ok();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end(Signal::SIGKILL);
    }
}

/// A running pgbaton.
pub(crate) struct Daemon {
    process: Process,
    config: PathBuf,
    home: PathBuf,
    log: PathBuf,
}

impl Daemon {
    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    pub(crate) fn pid(&self) -> Pid {
        self.process.pid()
    }

    /// Stops it in order.
    pub(crate) fn stop(mut self) {
        self.process.end(Signal::SIGTERM);
    }

    pub(crate) fn kill(mut self) {
        self.process.end(Signal::SIGKILL);
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Returns its configuration's file.
    pub(crate) fn config(&self) -> &Path {
        &self.config
    }

    /// Waits until the log has this text.
    pub(crate) fn until_log(&self, text: &str) {
        let deadline = Deadline::after(PATIENCE);
        let mut watch = Folder::new(&self.home);
        while !self.log().contains(text) {
            assert!(watch.changed_before(deadline), "no \"{text}\" in:\n{}", self.log());
        }
    }

    fn try_ask(&self, request: &str) -> Option<Value> {
        use std::io::{BufRead as _, Write as _};
        // It is named after the node, which is "t" where no node has a name.
        let is_socket = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "sock");
        let socket =
            std::fs::read_dir(&self.home).ok()?.flatten().map(|entry| entry.path()).find(is_socket)?;
        let mut stream = std::os::unix::net::UnixStream::connect(socket).ok()?;
        writeln!(stream, "{{\"request\":\"{request}\"}}").ok()?;
        let mut line = String::new();
        std::io::BufReader::new(stream).read_line(&mut line).ok()?;
        serde_json::from_str(&line).ok()
    }

    pub(crate) fn ask(&self, request: &str) -> Value {
        // Right after its start the daemon may not listen yet.
        let deadline = Deadline::after(PATIENCE);
        let mut watch = Folder::new(&self.home);
        loop {
            if let Some(answer) = self.try_ask(request) {
                return answer;
            }
            assert!(watch.changed_before(deadline), "no answer:\n{}", self.log());
        }
    }

    /// Returns what `vrrp status` tells of an instance.
    pub(crate) fn instance(&self, name: &str) -> Value {
        let status = self.ask("status");
        let found = status["instances"].as_array().unwrap().iter().find(|each| each["name"] == name);
        found.cloned().unwrap_or_else(|| panic!("{status}"))
    }

    /// Waits until what `vrrp status` tells of an instance fits. Asks again with each log line, and now and then.
    pub(crate) fn until_instance(&self, name: &str, fits: impl Fn(&Value) -> bool) {
        let deadline = Deadline::after(PATIENCE);
        let mut watch = Folder::new(&self.home);
        loop {
            let status = self.instance(name);
            if fits(&status) {
                return;
            }
            assert!(watch.changed_before(deadline), "{status}\n{}", self.log());
        }
    }

    /// Waits until a counter of an instance has grown to this.
    pub(crate) fn until_counter(&self, name: &str, counter: &str, least: u64) {
        let deadline = Deadline::after(PATIENCE);
        let mut watch = Folder::new(&self.home);
        while self.counter(name, counter) < least {
            assert!(watch.changed_before(deadline), "{counter} isn't {least}\n{}", self.log());
        }
    }

    /// Returns a counter of an instance.
    pub(crate) fn counter(&self, name: &str, counter: &str) -> u64 {
        let stats = self.ask("stats");
        let instances = stats["instances"].as_array().unwrap();
        let found = instances.iter().find(|each| each["name"] == name).unwrap();
        found["counters"][counter].as_u64().unwrap()
    }

    /// Writes another configuration and waits until the daemon has read it.
    pub(crate) fn reloaded(&self, instances: &str) {
        let read = || self.log().matches("the configuration was read again").count();
        let before = read();
        self.reload(instances);
        let deadline = Deadline::after(PATIENCE);
        let mut watch = Folder::new(&self.home);
        while read() == before {
            assert!(watch.changed_before(deadline), "not read again:\n{}", self.log());
        }
    }

    /// Writes another configuration and makes the daemon read it.
    pub(crate) fn reload(&self, instances: &str) {
        write_config(&self.config, &self.home, instances);
        self.signal(Signal::SIGHUP);
    }
}

/// A running keepalived.
pub(crate) struct Keepalived {
    process: Process,
    config: PathBuf,
    log: PathBuf,
}

impl Keepalived {
    pub(crate) fn stop(mut self) {
        self.process.end(Signal::SIGTERM);
    }

    pub(crate) fn log(&self) -> String {
        let config = std::fs::read_to_string(&self.config).unwrap_or_default();
        format!("{config}\n{}", std::fs::read_to_string(&self.log).unwrap_or_default())
    }
}

/// Waits for changes in a folder.
pub(crate) struct Folder(std::os::fd::OwnedFd);

impl Folder {
    pub(crate) fn new(path: &Path) -> Self {
        use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
        let inotify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap();
        add_watch(&inotify, path, WatchFlags::CREATE | WatchFlags::MODIFY | WatchFlags::ATTRIB).unwrap();
        Self(inotify)
    }

    /// Waits for a change; also returns now and then, because the first one may have been before the watch.
    pub(crate) fn changed_before(&mut self, deadline: Deadline) -> bool {
        let soon = Deadline::after(deadline.left().min(Duration::from_millis(200)));
        if readable_before(self.0.as_fd(), soon).unwrap() {
            rustix::io::read(&self.0, &mut [0_u8; 4096]).ok();
        }
        !deadline.passed()
    }
}
