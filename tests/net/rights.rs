//! What happens without the rights, and that children inherit nothing.

use super::bed::{Bed, address, inside, port};
use pgbaton::error::Kind;
use pgbaton::host::clock::Deadline;
use pgbaton::host::lock::Lock;
use pgbaton::host::process::{Pidfd, run_spawn};
use pgbaton::host::spawn::Spawn;
use pgbaton::net::arp::ArpSocket;
use pgbaton::net::caps::{self, Needs};
use pgbaton::net::driver::{Poller, Signals, Timer, Waker};
use pgbaton::net::ndp::NdpSocket;
use pgbaton::net::netlink::{AddressOptions, Monitor, Netlink};
use pgbaton::net::socket::{Delivery, VrrpSocket};
use rustix::thread::{Gid, Uid, set_thread_res_gid, set_thread_res_uid};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const A: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

#[test]
fn an_ordinary_user_gets_permission_errors_that_name_the_capability() {
    let bed = Bed::new();
    inside(&bed.a, || {
        let link = port();
        // Only this thread: the calls that change the whole process are the C library's.
        let (nogroup, nobody) = (Gid::from_raw(65534), Uid::from_raw(65534));
        set_thread_res_gid(nogroup, nogroup, nogroup).unwrap();
        set_thread_res_uid(nobody, nobody, nobody).unwrap();

        let mut netlink = Netlink::open().unwrap();
        assert!(!netlink.addresses().unwrap().is_empty(), "looking needs no right");
        Monitor::open().unwrap();
        let vip = address("10.77.0.100/24");
        for error in [
            netlink.add_address(link.index, vip, &AddressOptions::default()).unwrap_err(),
            netlink.delete_address(link.index, address("10.77.0.1/24")).unwrap_err(),
            caps::require_net_admin().unwrap_err(),
        ] {
            assert_eq!(error.kind(), Kind::Permission, "{error}");
            assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}");
            assert!(error.hints().iter().any(|hint| hint.contains("setcap")));
        }
        for error in [
            VrrpSocket::open_v4(&link, Delivery::Multicast, A, &[51]).unwrap_err(),
            VrrpSocket::open_v6(&link, Delivery::Multicast, "fe80::1".parse().unwrap(), &[51]).unwrap_err(),
            ArpSocket::open(&link).unwrap_err(),
            NdpSocket::open(&link).unwrap_err(),
            caps::require_net_raw().unwrap_err(),
        ] {
            assert_eq!(error.kind(), Kind::Permission, "{error}");
            assert!(error.to_string().contains("CAP_NET_RAW"), "{error}");
        }
    });
}

#[test]
fn every_descriptor_is_closed_on_exec() {
    let bed = Bed::new();
    let lock_path = std::env::temp_dir().join(format!("pgbaton-lock-{}", std::process::id()));
    inside(&bed.a, || {
        let link = port();
        let netlink_and_monitor = (Netlink::open().unwrap(), Monitor::open().unwrap());
        let v4 = VrrpSocket::open_v4(&link, Delivery::Multicast, A, &[51]).unwrap();
        let v6 = VrrpSocket::open_v6(&link, Delivery::Unicast, "fd77::1".parse().unwrap(), &[]).unwrap();
        let (arp, ndp) = (ArpSocket::open(&link).unwrap(), NdpSocket::open(&link).unwrap());
        let (poller, timer, waker) = (Poller::new().unwrap(), Timer::new().unwrap(), Waker::new().unwrap());
        let signals = Signals::block(&[]).unwrap();
        let pidfd = Pidfd::open(std::process::id()).unwrap().unwrap();
        let lock = Lock::acquire(&lock_path, "test", Duration::ZERO).unwrap();
        let named = [
            netlink_and_monitor.1.as_fd(),
            v4.as_fd(),
            v6.as_fd(),
            arp.as_fd(),
            timer.as_fd(),
            waker.as_fd(),
            signals.as_fd(),
            pidfd.as_fd(),
        ];
        assert!(named.iter().all(|fd| fd.as_raw_fd() > 2));
        for entry in std::fs::read_dir("/proc/self/fd").unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let number: i32 = name.parse().unwrap();
            // Other tests open and close theirs meanwhile.
            let Ok(info) = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")) else { continue };
            let target = std::fs::read_link(format!("/proc/self/fd/{number}")).unwrap_or_default();
            let ours = ["socket:", "anon_inode:", "pidfd:"];
            let path = target.to_string_lossy().into_owned();
            if number <= 2 || !(ours.iter().any(|kind| path.starts_with(kind)) || target == lock_path) {
                continue;
            }
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
            let flags = i32::from_str_radix(flags, 8).unwrap();
            assert_ne!(flags & 0o2_000_000, 0, "{number} {path} {info}");
        }
        drop((poller, ndp, lock, netlink_and_monitor.0));
    });
    std::fs::remove_file(lock_path).unwrap();
}

#[test]
fn a_daemon_in_a_namespace_as_an_ordinary_user_may_change_addresses_with_its_ambient_capabilities() {
    let bed = Bed::new();
    let netns = PathBuf::from(format!("/run/netns/{}", bed.a));
    let add = |capabilities: &[Needs]| {
        let mut command = Command::new("ip");
        command.args(["addr", "add", "10.77.0.100/24", "dev", "port0"]);
        let spawn = Spawn::new(command).netns(&netns).unwrap().user(65534, 65534).capabilities(capabilities);
        run_spawn(spawn, Deadline::after(Duration::from_secs(30))).unwrap()
    };
    assert!(!add(&[]).status.success());
    let output = add(&[Needs::NetAdmin, Needs::NetRaw]);
    assert!(output.status.success(), "{}", output.complaint());
    assert!(
        inside(&bed.a, || Netlink::open().unwrap().addresses().unwrap())
            .iter()
            .any(|found| found.address == address("10.77.0.100/24"))
    );
}
