//! Renews the kernel's leases of the virtual IPs, on a thread of its own and only on the loop's order.
//!
//! A renewal waits for the kernel's lock on the network configuration (RTNL), for as long as others hold it: many
//! milliseconds on a busy machine. On the loop's thread the adverts would wait with it. But the lease stands for the
//! loop being alive, so this thread knows nothing of when a renewal is due: the loop orders each one, and each order
//! ends soon after it was given. Three things could go wrong then, and don't:
//!
//! * **The loop hangs, or the process is stopped.** No new order comes, and the last one ends within [`FRESH`]: the
//!   lease ends within its length and that. A stop between the look at the clock and the system call lets one renewal
//!   through when the process goes on; it can lengthen a lease that still runs, but brings no address back (next).
//!   What the loop does first after such a sleep is to withdraw its orders and to remove the address.
//! * **A renewal comes after the removal** that it was overtaken by. The loop withdraws its orders before it removes an
//!   address, or lets another thread do so: what isn't begun is never begun, and one that is at the kernel is waited
//!   for, because the removal would only queue up behind it, for the same lock. That wait has a bound
//!   ([`Keeper::withdraw`]), which a removal by another program doesn't even know of. Therefore the request itself
//!   is one that never adds an address ([`Netlink::renew_address`]): whatever the order, the address stays away.
//! * **The loop waits for this thread** while something keeps it from running. The desk between them is locked for
//!   moments only, never during a system call; and beside a real-time loop this thread is real-time too, one priority
//!   below.

use super::edges::Id;
use crate::error::{Error, Result};
use crate::host::clock::{self, Deadline};
use crate::net::netlink::{AddressOptions, Netlink};
use crate::net::sched;
use crate::units::{InterfaceAddress, Moment};
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// For how long an order may be carried out; one that is older says nothing of the loop's health any more.
pub(super) const FRESH: Duration = Duration::from_millis(500);

/// What the thread needs of stack: one netlink request, and room. Locked memory is all of it.
const STACK: usize = 128 * 1024;

/// The leases of a virtual router's addresses, to be renewed now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    /// After this moment nothing of it may be done.
    pub(super) until: Moment,
    /// The kernel's number of the interface.
    pub(super) index: u32,
    pub(super) leases: Vec<(InterfaceAddress, AddressOptions)>,
}

/// How a renewal went. What succeeds isn't told, except after a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Renewal {
    /// Well, and the one before didn't.
    Recovered,
    /// There is no such address.
    Absent(InterfaceAddress),
    /// The kernel refused it.
    Failed(String),
}

/// The loop's handle of the thread.
#[derive(Debug)]
pub(super) struct Keeper {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    desk: Mutex<Desk>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Desk {
    orders: VecDeque<(Id, Order)>,
    /// Whose order is under way, and whether it was withdrawn meanwhile.
    busy: Option<(Id, bool)>,
    closed: bool,
}

impl Shared {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keeper {
    /// Starts the thread; beside a real-time loop with this priority and limit.
    pub(super) fn start(
        realtime: Option<(u8, Duration)>,
        tell: impl Fn(Id, Renewal) + Send + 'static,
    ) -> Result<Self> {
        let mut netlink = Netlink::open()?;
        let renew = move |index, address, options: &AddressOptions| {
            netlink.renew_address(index, address, options).map_err(|error| error.to_string())
        };
        Self::with(realtime, renew, tell)
    }

    /// The same with another way to renew: whether the address was there, or why it couldn't be.
    fn with(
        realtime: Option<(u8, Duration)>,
        mut renew: impl FnMut(u32, InterfaceAddress, &AddressOptions) -> std::result::Result<bool, String>
        + Send
        + 'static,
        tell: impl Fn(Id, Renewal) + Send + 'static,
    ) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let at_work = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("keeper".to_owned())
            .stack_size(STACK)
            .spawn(move || {
                // What isn't permitted is said when the loop asks for it.
                match realtime {
                    Some((priority, limit)) => {
                        drop(sched::real_time(priority.saturating_sub(1).max(1), limit));
                    }
                    None => sched::short_turns(sched::TURN).unwrap_or_default(),
                }
                work(&at_work, &mut renew, &tell);
            })
            .map_err(|error| Error::failed("can't start a thread").detail(error))?;
        Ok(Self { shared })
    }

    /// Orders a renewal; one that the thread hasn't come to yet is replaced.
    pub(super) fn order(&self, id: Id, order: Order) {
        let mut desk = self.shared.desk();
        match desk.orders.iter_mut().find(|(other, _)| *other == id) {
            Some((_, waiting)) => *waiting = order,
            None => desk.orders.push_back((id, order)),
        }
        drop(desk);
        self.shared.changed.notify_all();
    }

    /// Takes back what was ordered for a virtual router. When it returns true, nothing of it is at the kernel or will
    /// be; false: at the deadline one renewal still was, of an order of which nothing more will be done.
    pub(super) fn withdraw(&self, id: Id, deadline: Deadline) -> bool {
        let mut desk = self.shared.desk();
        desk.orders.retain(|(other, _)| *other != id);
        while let Some((_, withdrawn)) = desk.busy.as_mut().filter(|(busy, _)| *busy == id) {
            *withdrawn = true;
            let left = deadline.left();
            if left.is_zero() {
                return false;
            }
            desk = self.shared.changed.wait_timeout(desk, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.shared.desk().closed = true;
        self.shared.changed.notify_all();
    }
}

fn work(
    shared: &Shared,
    renew: &mut impl FnMut(u32, InterfaceAddress, &AddressOptions) -> std::result::Result<bool, String>,
    tell: &impl Fn(Id, Renewal),
) {
    let mut failing = BTreeSet::new();
    while let Some((id, order)) = next(shared) {
        let (mut tried, mut trouble) = (false, None);
        for (address, options) in &order.leases {
            let withdrawn = matches!(shared.desk().busy, Some((_, true)));
            if withdrawn || clock::now() >= order.until {
                break;
            }
            tried = true;
            match renew(order.index, *address, options) {
                Ok(true) => {}
                Ok(false) => trouble = Some(Renewal::Absent(*address)),
                Err(why) => trouble = Some(Renewal::Failed(why)),
            }
        }
        let withdrawn = matches!(shared.desk().busy.take(), Some((_, true)));
        shared.changed.notify_all();
        match trouble {
            // It failed because the address is being taken away.
            Some(_) if withdrawn => {}
            Some(trouble) => {
                failing.insert(id);
                tell(id, trouble);
            }
            None if tried && failing.remove(&id) => tell(id, Renewal::Recovered),
            None => {}
        }
    }
}

/// Waits for the next order and makes it the one under way; `None` when the loop is gone.
fn next(shared: &Shared) -> Option<(Id, Order)> {
    let mut desk = shared.desk();
    loop {
        if desk.closed {
            return None;
        }
        if let Some((id, order)) = desk.orders.pop_front() {
            desk.busy = Some((id, false));
            return Some((id, order));
        }
        desk = shared.changed.wait(desk).unwrap_or_else(PoisonError::into_inner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A kernel that says what it is asked to renew, and answers when it is told to.
    struct Kernel {
        asked: Receiver<InterfaceAddress>,
        answers: Sender<std::result::Result<bool, String>>,
        told: Receiver<(Id, Renewal)>,
    }

    impl Kernel {
        fn new() -> (Self, Keeper) {
            let ((ask, asked), (answers, answer), (tell, told)) = (channel(), channel(), channel());
            let renew = move |_, address, _: &AddressOptions| {
                ask.send(address).unwrap();
                answer.recv().unwrap()
            };
            let keeper = Keeper::with(None, renew, move |id, news| tell.send((id, news)).unwrap()).unwrap();
            (Self { asked, answers, told }, keeper)
        }

        fn asked(&self) -> String {
            self.asked.recv_timeout(PATIENCE).unwrap().to_string()
        }

        fn answer(&self, answer: std::result::Result<bool, &str>) {
            self.answers.send(answer.map_err(str::to_owned)).unwrap();
        }
    }

    fn order(addresses: &[&str], within: Duration) -> Order {
        let leases = addresses.iter().map(|text| (text.parse().unwrap(), AddressOptions::default()));
        Order { until: clock::now() + within, index: 1, leases: leases.collect() }
    }

    #[test]
    fn nothing_is_renewed_after_an_order_was_withdrawn() {
        let (kernel, keeper) = Kernel::new();
        keeper.order(1, order(&["10.0.0.1/24", "10.0.0.2/24"], PATIENCE));
        assert_eq!(kernel.asked(), "10.0.0.1/24");
        // Ordered twice while the thread is at another's: the newer one counts, once.
        keeper.order(2, order(&["10.0.1.1/24"], PATIENCE));
        keeper.order(2, order(&["10.0.1.2/24"], PATIENCE));
        keeper.order(3, order(&["10.0.2.1/24"], PATIENCE));
        assert!(keeper.withdraw(3, Deadline::after(PATIENCE)), "not begun, so not waited for");
        assert!(!keeper.withdraw(1, Deadline::after(Duration::from_millis(5))), "it is at the kernel");
        std::thread::scope(|scope| {
            let withdrawn = scope.spawn(|| keeper.withdraw(1, Deadline::after(PATIENCE)));
            kernel.answer(Ok(true));
            assert!(withdrawn.join().unwrap());
        });
        assert_eq!(kernel.asked(), "10.0.1.2/24", "the second address of the withdrawn order was left");
        kernel.answer(Ok(true));
        keeper.order(4, order(&["10.0.3.1/24"], PATIENCE));
        assert_eq!(kernel.asked(), "10.0.3.1/24");
        kernel.answer(Ok(true));
    }

    #[test]
    fn an_order_that_the_thread_comes_to_too_late_is_left() {
        let (kernel, keeper) = Kernel::new();
        keeper.order(1, order(&["10.0.0.1/24", "10.0.0.2/24"], Duration::from_millis(50)));
        assert_eq!(kernel.asked(), "10.0.0.1/24");
        keeper.order(2, order(&["10.0.1.1/24"], Duration::from_millis(50)));
        clock::pause(Duration::from_millis(60));
        kernel.answer(Ok(true));
        keeper.order(3, order(&["10.0.2.1/24"], PATIENCE));
        assert_eq!(kernel.asked(), "10.0.2.1/24");
        kernel.answer(Ok(true));
    }

    #[test]
    fn what_fails_is_told_each_time_and_the_recovery_once() {
        let (kernel, keeper) = Kernel::new();
        for answer in [Ok(true), Err("no"), Ok(false), Ok(true), Ok(true), Err("never")] {
            keeper.order(7, order(&["10.0.0.1/24"], PATIENCE));
            kernel.asked();
            kernel.answer(answer);
            // Another's order is begun when this one is over and told of.
            keeper.order(8, order(&["10.0.1.1/24"], PATIENCE));
            kernel.asked();
            kernel.answer(Ok(true));
        }
        let news: Vec<_> = kernel.told.try_iter().collect();
        let absent = Renewal::Absent("10.0.0.1/24".parse().unwrap());
        let failed = |why: &str| Renewal::Failed(why.to_owned());
        assert_eq!(news, [failed("no"), absent, Renewal::Recovered, failed("never")].map(|news| (7, news)));
    }
}
