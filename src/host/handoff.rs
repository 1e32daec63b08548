//! Descriptors whose closing waits for the kernel, left to a child so that a verb can end.
//!
//! The last close of a packet socket waits until every processor has passed through the scheduler (8 to 50 ms),
//! and the end of a process closes whatever is open. A child that shares the descriptors makes its own close the
//! last one: whoever started the verb doesn't wait for it.

use nix::unistd::{ForkResult, Pid, fork};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Leaves the last close of these descriptors to a child that does nothing else. To be called at the very end of
/// a verb: the caller then closes them (or ends) without waiting.
///
/// The child lets go of everything else at once, standard output first, so that a reader of a pipe and a lock
/// wait for the verb alone. When there can't be a child, the caller pays for the close itself. Returns the child,
/// for a caller that lives on.
pub fn leave(slow: &[BorrowedFd<'_>]) -> Option<Pid> {
    let mut slow: Vec<u32> = slow.iter().filter_map(|fd| u32::try_from(fd.as_raw_fd()).ok()).collect();
    slow.sort_unstable();
    if slow.is_empty() {
        return None;
    }
    #[expect(unsafe_code, reason = "fork is unsafe by its nature")]
    // SAFETY: the child only makes system calls, which allocate nothing and take no lock, and then ends without
    // running destructors or exit handlers; so it doesn't matter what other threads were doing.
    unsafe {
        match fork() {
            Ok(ForkResult::Child) => {
                let mut first = 0;
                for fd in &slow {
                    if *fd > first {
                        libc::syscall(libc::SYS_close_range, first, *fd - 1, 0);
                    }
                    first = fd.saturating_add(1);
                }
                libc::syscall(libc::SYS_close_range, first, u32::MAX, 0);
                // The kernel closes the slow ones.
                libc::_exit(0)
            }
            Ok(ForkResult::Parent { child }) => Some(child),
            Err(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::clock::Deadline;
    use crate::net::driver::readable_before;
    use std::io::Read as _;
    use std::os::fd::AsFd as _;
    use std::time::Duration;

    #[test]
    fn the_child_lets_go_of_everything_else_and_then_of_what_it_was_left() {
        let (mut fast, fast_other) = std::io::pipe().unwrap();
        let (mut slow, slow_other) = std::io::pipe().unwrap();
        let child = leave(&[slow_other.as_fd()]).unwrap();
        drop((fast_other, slow_other));
        // Both ends are read as closed, because neither the child nor this process has them any more.
        for end in [&mut fast, &mut slow] {
            assert!(readable_before(end.as_fd(), Deadline::after(Duration::from_secs(20))).unwrap());
            assert_eq!(end.read(&mut [0; 8]).unwrap(), 0);
        }
        nix::sys::wait::waitpid(child, None).unwrap();
    }

    #[test]
    fn nothing_to_leave_needs_no_child() {
        assert_eq!(leave(&[]), None);
    }
}
