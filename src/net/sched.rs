//! Staying on time on a busy machine: real-time scheduling and locked memory. Both are optional.

use crate::error::{Error, Kind, Result};
use nix::sys::mman::{MlockAllFlags, mlockall};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::CapabilitySet;
use std::io;
use std::time::Duration;

/// The length of a turn of the daemon's threads: what one needs at a wake-up is a fraction of it.
pub const TURN: Duration = Duration::from_micros(500);

/// `SCHED_FLAG_RESET_ON_FORK` of `sched_setattr(2)`.
const RESET_ON_FORK: u64 = 0x01;

/// Schedules the calling thread in real time (`SCHED_RR`) with this priority, 1 to 99.
///
/// Threads and processes that it starts are scheduled normally again. `cpu_limit` is how long the thread may
/// compute without ever waiting before the kernel sends `SIGXCPU` and, a second later, `SIGKILL`: a loop gone
/// wild must not take the machine down with it.
pub fn real_time(priority: u8, cpu_limit: Duration) -> Result<()> {
    if !(1..=99).contains(&priority) {
        return Err(Error::config(format!("real-time priority {priority} is not between 1 and 99")));
    }
    let soft = u64::try_from(cpu_limit.as_micros()).unwrap_or(u64::MAX);
    let hard = getrlimit(Resource::Rttime).maximum;
    let wanted = soft.saturating_add(1_000_000);
    let limit = Rlimit {
        current: Some(hard.map_or(soft, |hard| hard.min(soft))),
        maximum: Some(hard.map_or(wanted, |hard| hard.min(wanted))),
    };
    setrlimit(Resource::Rttime, limit)
        .map_err(|error| Error::failed("can't limit the real-time computing time").detail(error))?;
    let param = libc::sched_param { sched_priority: i32::from(priority) };
    #[expect(unsafe_code, reason = "neither nix nor rustix has sched_setscheduler")]
    // SAFETY: the pointer is to a live, initialised `sched_param`, which the call only reads; 0 is the
    // calling thread.
    let result =
        unsafe { libc::sched_setscheduler(0, libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, &raw const param) };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    let message = format!("can't use real-time priority {priority}");
    Err(if error.raw_os_error() == Some(libc::EPERM) {
        Error::new(Kind::Permission, message)
            .detail(error)
            .hint("in a systemd unit: LimitRTPRIO=99, or AmbientCapabilities=CAP_SYS_NICE")
            .hint("in a control group: is cpu.rt_runtime_us of the group zero?")
    } else {
        Error::failed(message).detail(error)
    })
}

/// Asks the scheduler for turns of this length for the calling thread, so that one with little to do is let in sooner.
///
/// A thread of the ordinary policy that wakes up while others compute waits until the turn of one of them ends, unless
/// its own is shorter (Linux 6.12 and later; sched(7), `sched_setattr(2)`). It gets no larger share of the processor by
/// that, and needs no capability. Threads and processes that it starts have turns of the ordinary length again.
///
/// # Errors
/// What the kernel says; one that doesn't know such turns takes the call and does nothing.
pub fn short_turns(length: Duration) -> io::Result<()> {
    let mut attributes = ordinary();
    #[expect(unsafe_code, reason = "neither nix nor rustix has sched_getattr")]
    // SAFETY: the pointer is to a live structure of the size that is named, which the kernel fills; 0 is the calling
    // thread.
    let read = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, attributes.size, 0) };
    if read != 0 {
        return Err(io::Error::last_os_error());
    }
    if attributes.sched_policy != 0 {
        return Ok(());
    }
    attributes.sched_flags |= RESET_ON_FORK;
    attributes.sched_runtime = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
    #[expect(unsafe_code, reason = "neither nix nor rustix has sched_setattr")]
    // SAFETY: the pointer is to a live, initialised structure that the call only reads; 0 is the calling thread.
    let written = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if written == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Room for what the kernel says about a thread.
fn ordinary() -> libc::sched_attr {
    libc::sched_attr {
        size: u32::try_from(size_of::<libc::sched_attr>()).unwrap_or(0),
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    }
}

/// Keeps all memory of this process in RAM, what it has now and what it will get.
///
/// Refused beforehand when the limit on locked memory is finite and `CAP_IPC_LOCK` is missing: the call
/// might succeed, and then the start of a thread fails later, at the worst moment.
pub fn lock_memory() -> Result<()> {
    let unlimited = getrlimit(Resource::Memlock).current.is_none();
    let capable =
        rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK));
    let refused = |detail: String| {
        Error::new(Kind::Permission, "can't lock memory")
            .detail(detail)
            .hint("in a systemd unit: LimitMEMLOCK=infinity, or AmbientCapabilities=CAP_IPC_LOCK")
    };
    if !unlimited && !capable {
        return Err(refused("the limit on locked memory is finite and there is no CAP_IPC_LOCK".to_owned()));
    }
    mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE)
        .map_err(|error| refused(error.to_string()))
}

/// Returns whether the calling thread is scheduled in real time.
pub fn is_real_time() -> bool {
    #[expect(unsafe_code, reason = "neither nix nor rustix has sched_getscheduler")]
    // SAFETY: takes a number and returns a number; 0 is the calling thread.
    let policy = unsafe { libc::sched_getscheduler(0) };
    let policy = policy & !libc::SCHED_RESET_ON_FORK;
    policy == libc::SCHED_RR || policy == libc::SCHED_FIFO
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_time_thread_starts_ordinary_ones() {
        std::thread::spawn(|| {
            assert!(!is_real_time());
            match real_time(10, Duration::from_secs(5)) {
                Ok(()) => {
                    assert!(is_real_time());
                    assert!(!std::thread::spawn(is_real_time).join().unwrap());
                }
                // A control group without real-time budget refuses even root, and says so.
                Err(error) => {
                    assert_eq!(error.kind(), Kind::Permission, "{error}");
                    assert!(error.hints()[0].contains("LimitRTPRIO"));
                }
            }
        })
        .join()
        .unwrap();
    }

    #[test]
    fn short_turns_are_this_thread_s_alone() {
        let read = || {
            let mut attributes = ordinary();
            #[expect(unsafe_code, reason = "as above")]
            // SAFETY: as above.
            let read =
                unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, attributes.size, 0) };
            assert_eq!(read, 0);
            (attributes.sched_policy, attributes.sched_nice, attributes.sched_runtime)
        };
        std::thread::spawn(move || {
            let before = read();
            short_turns(TURN).unwrap();
            let after = read();
            assert_eq!((after.0, after.1), (before.0, before.1));
            // A kernel before 6.12 has no such turns.
            if after.2 != before.2 {
                assert_eq!(after.2, 500_000);
                assert_ne!(std::thread::spawn(read).join().unwrap().2, 500_000, "it is inherited");
            }
            short_turns(TURN).unwrap();
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_loop_gone_wild_is_ended_before_it_takes_the_machine_down() {
        use std::os::unix::process::ExitStatusExt as _;
        const MARK: &str = "PGBATON_TEST_BURN";
        if std::env::var_os(MARK).is_some() {
            setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).unwrap();
            // Not permitted: then there is nothing to guard against.
            while real_time(1, Duration::from_millis(100)).is_ok() && is_real_time() {
                std::hint::black_box((0..1_000_000_u64).map(std::hint::black_box).sum::<u64>());
            }
            return;
        }
        let name = "net::sched::tests::a_loop_gone_wild_is_ended_before_it_takes_the_machine_down";
        let mut wild = std::process::Command::new(std::env::current_exe().unwrap());
        let status = wild.args(["--exact", name, "--nocapture"]).env(MARK, "1").output().unwrap().status;
        assert!(status.success() || status.signal() == Some(libc::SIGXCPU), "{status}");
    }

    #[test]
    fn a_priority_out_of_range_is_a_configuration_error() {
        for priority in [0, 100, 255] {
            assert_eq!(real_time(priority, Duration::from_secs(1)).unwrap_err().kind(), Kind::Config);
        }
    }
}
