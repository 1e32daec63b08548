//! Two network namespaces with a cable between them.

use pgbaton::host::clock::Deadline;
use pgbaton::net::driver::readable_before;
use pgbaton::net::netlink::{Link, Monitor, NetEvent, Netlink};
use pgbaton::units::InterfaceAddress;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The name of the interface in both namespaces.
pub(crate) const PORT: &str = "port0";

/// Two namespaces, `a` and `b`; removed when dropped.
pub(crate) struct Bed {
    pub(crate) a: String,
    pub(crate) b: String,
}

impl Bed {
    /// Makes the pair: a is 10.77.0.1/24 and `fd77::1/64`, b is 10.77.0.2/24 and `fd77::2/64`.
    pub(crate) fn new() -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let id = format!("pgbt{}x{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let bed = Self { a: format!("{id}a"), b: format!("{id}b") };
        for (name, number) in [(&bed.a, 1), (&bed.b, 2)] {
            ip(&["netns", "add", name]);
            inside(name, || std::fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0").unwrap());
            if number == 2 {
                ip(&["-n", &bed.a, "link", "add", PORT, "type", "veth", "peer", PORT, "netns", &bed.b]);
            }
        }
        for (name, number) in [(&bed.a, 1), (&bed.b, 2)] {
            ip(&["-n", name, "link", "set", "lo", "up"]);
            ip(&["-n", name, "link", "set", PORT, "up"]);
            ip(&["-n", name, "addr", "add", &format!("10.77.0.{number}/24"), "dev", PORT]);
            ip(&["-n", name, "addr", "add", &format!("fd77::{number}/64"), "dev", PORT, "nodad"]);
        }
        for name in [&bed.a, &bed.b] {
            inside(name, wait_until_usable);
        }
        bed
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        for name in [&self.a, &self.b] {
            Command::new("ip").args(["netns", "del", name]).status().ok();
        }
    }
}

/// Both ends up, and the link-local address no longer tentative.
fn wait_until_usable() {
    let mut monitor = Monitor::open().unwrap();
    let deadline = soon();
    loop {
        let mut netlink = Netlink::open().unwrap();
        let link = netlink.link(PORT).unwrap();
        let local = netlink.addresses().unwrap().into_iter().any(|address| {
            address.index == link.index
                && address.address.to_string().starts_with("fe80::")
                && !address.is_tentative()
        });
        if link.is_usable() && local {
            return;
        }
        assert!(readable_before(monitor.as_fd(), deadline).unwrap(), "{link:?}");
        monitor.read().unwrap();
    }
}

/// Runs a closure in a thread of a network namespace.
pub(crate) fn inside<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> T {
    let namespace = File::open(format!("/run/netns/{name}")).expect("network namespace (root is needed)");
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("setns (root is needed)");
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Runs `ip` and returns what it prints.
pub(crate) fn ip(args: &[&str]) -> String {
    let output = Command::new("ip").args(args).output().expect("ip (iproute2 is needed)");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {}: {complaint}", args.join(" "));
    String::from_utf8(output.stdout).unwrap()
}

/// The interface of this thread's namespace.
pub(crate) fn port() -> Link {
    Netlink::open().unwrap().link(PORT).unwrap()
}

/// A deadline that only a broken program misses.
pub(crate) fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(30))
}

/// Reads events until one fits, and returns all that came.
pub(crate) fn events_until(monitor: &mut Monitor, fits: impl Fn(&NetEvent) -> bool) -> Vec<NetEvent> {
    let (mut events, deadline) = (Vec::new(), soon());
    while !events.iter().any(&fits) {
        assert!(readable_before(monitor.as_fd(), deadline).unwrap(), "only {events:?}");
        events.extend(monitor.read().unwrap());
    }
    events
}

pub(crate) fn address(text: &str) -> InterfaceAddress {
    text.parse().unwrap()
}
