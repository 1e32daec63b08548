//! A cable between two namespaces, and processes that keep the machine busy.

use pgbaton::host::clock::Deadline;
use pgbaton::net::driver::readable_before;
use pgbaton::net::netlink::{Link, Monitor, Netlink};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const PORT: &str = "port0";

/// Two namespaces: 10.77.0.1/16 at the end 0, 10.77.0.2/16 at the end 1.
pub(super) struct Cable {
    names: [String; 2],
}

impl Cable {
    pub(super) fn new() -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let id = format!("pgbench{}x{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let cable = Self { names: [format!("{id}a"), format!("{id}b")] };
        let [a, b] = &cable.names;
        ip(&["netns", "add", a]);
        ip(&["netns", "add", b]);
        ip(&["-n", a, "link", "add", PORT, "type", "veth", "peer", PORT, "netns", b]);
        for (number, name) in cable.names.iter().enumerate() {
            ip(&["-n", name, "addr", "add", &format!("10.77.0.{}/16", number + 1), "dev", PORT]);
            ip(&["-n", name, "link", "set", PORT, "up"]);
        }
        for end in 0..2 {
            cable.wait(end, || Netlink::open().unwrap().link(PORT).unwrap().is_usable());
        }
        cable
    }

    /// Runs something in a thread of an end's namespace.
    pub(super) fn inside<T: Send>(&self, end: usize, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/run/netns/{}", self.names[end])).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                work()
            });
            thread.join().unwrap()
        })
    }

    /// Takes an end down: the other one loses its carrier.
    pub(super) fn pull(&self, end: usize) {
        ip(&["-n", &self.names[end], "link", "set", PORT, "down"]);
    }

    /// Waits until the first virtual address is at an end, or no longer there.
    pub(super) fn until_vip(&self, end: usize, there: bool) {
        let vip = super::peer::vip(1);
        self.wait(end, || {
            let addresses = Netlink::open().unwrap().addresses().unwrap();
            addresses.iter().any(|address| address.address.address() == vip) == there
        });
    }

    fn wait(&self, end: usize, met: impl Fn() -> bool + Send + Sync) {
        self.inside(end, || {
            let mut monitor = Monitor::open().unwrap();
            let deadline = Deadline::after(Duration::from_secs(30));
            while !met() {
                assert!(readable_before(monitor.as_fd(), deadline).unwrap(), "it doesn't come about");
                monitor.read().unwrap();
            }
        });
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        for name in &self.names {
            Command::new("ip").args(["netns", "del", name]).stderr(Stdio::null()).status().ok();
        }
    }
}

/// The interface of this thread's namespace.
pub(super) fn port() -> Link {
    Netlink::open().unwrap().link(PORT).unwrap()
}

fn ip(args: &[&str]) {
    let output = Command::new("ip").args(args).output().unwrap();
    assert!(output.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Processes that do nothing, as fast as they can.
pub(super) struct Busy(Vec<Child>);

impl Busy {
    pub(super) fn start(count: usize) -> Self {
        let one = || Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        Self((0..count).map(|_| one()).collect())
    }

    /// Two processes that add and remove interfaces without end, each in a namespace of its own: the kernel's lock on
    /// the network configuration is hardly ever free.
    pub(super) fn with_interfaces(cable: &Cable) -> Self {
        let work = "while :; do ip link add r0 type veth peer r1; ip link set r0 up; ip link del r0; done";
        let one = |end| {
            let mut command = Command::new("sh");
            command.args(["-c", work]).stdout(Stdio::null()).stderr(Stdio::null());
            cable.inside(end, || command.spawn().unwrap())
        };
        Self(vec![one(0), one(1)])
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            child.kill().ok();
            child.wait().ok();
        }
    }
}
