//! Who has the virtual IP at every moment, as the kernels say it.

use pgbaton::demo::host::Host;
use pgbaton::demo::lab::VIP;
use pgbaton::demo::namespace::enter;
use pgbaton::host::clock::now;
use pgbaton::units::Moment;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often each kernel is asked.
const EVERY: Duration = Duration::from_millis(20);

/// A time during which a host had the address; an open one has no end.
pub type Tenure = (Moment, Option<Moment>);

/// The watch over one host.
#[derive(Debug)]
pub struct Watch {
    /// The host's name.
    pub host: String,
    tenures: Arc<Mutex<Vec<Tenure>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts to watch a host.
    pub fn start(host: &Host) -> Self {
        let door = host.namespace.open().unwrap();
        let (tenures, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (book, stopped) = (Arc::clone(&tenures), Arc::clone(&stop));
        let run = move || {
            enter(&door).unwrap();
            while !stopped.load(Ordering::Relaxed) {
                note(&mut book.lock().unwrap(), holds(), now());
                std::thread::park_timeout(EVERY);
            }
        };
        let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(run).unwrap();
        Self { host: host.name.clone(), tenures, stop, thread: Some(thread) }
    }

    /// Returns when the host had the address.
    pub fn tenures(&self) -> Vec<Tenure> {
        self.tenures.lock().unwrap().clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn note(book: &mut Vec<Tenure>, holds: bool, at: Moment) {
    match book.last_mut() {
        Some((_, end @ None)) if !holds => *end = Some(at),
        Some((_, None)) => {}
        _ if holds => book.push((at, None)),
        _ => {}
    }
}

fn holds() -> bool {
    let Ok(mut found) = nix::ifaddrs::getifaddrs() else { return false };
    found.any(|entry| {
        entry.address.is_some_and(|address| address.as_sockaddr_in().is_some_and(|v4| v4.ip() == VIP))
    })
}
