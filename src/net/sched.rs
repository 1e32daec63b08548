//! Staying on time on a busy machine: real-time scheduling and locked memory. Both are optional.

use crate::error::{Error, Kind, Result};
use nix::sys::mman::{MlockAllFlags, mlockall};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::CapabilitySet;
use std::io;
use std::time::Duration;

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
