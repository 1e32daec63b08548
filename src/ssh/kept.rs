//! A connection that is kept: a handshake takes a tenth of a second and more, which a vote hasn't got.
//!
//! One thread owns the connection and runs the command lines that come to it, one after the other. Neither a connection that
//! is being made nor a command ends because whoever asked has stopped waiting: the next one would have to begin anew.
//! It is hung up when nothing comes for a long while.

use super::session::{self, Executed, Ssh};
use super::target::Target;
use crate::error::{Error, Kind, Result};
use crate::host::clock::Deadline;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long a connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(3600);
/// How long making one may take, and a command, however short the patience of whoever asked.
const WITHIN: Duration = Duration::from_secs(5);

/// A command line, until when it is worth running, and where its output goes.
struct Job {
    line: String,
    deadline: Deadline,
    answer: Sender<Result<Executed>>,
}

/// A host that is asked again and again.
#[derive(Debug)]
pub struct Kept {
    target: std::result::Result<Target, Error>,
    jobs: Mutex<Option<Sender<Job>>>,
}

impl Kept {
    /// Creates the handle; nothing is connected yet. What is wrong with the target is told by each use.
    pub fn new(target: Result<Target>) -> Self {
        Self { target, jobs: Mutex::default() }
    }

    /// Returns how the host is reached, for messages.
    pub fn place(&self) -> String {
        self.target.as_ref().map_or_else(|_| "the witness".to_owned(), Target::place)
    }

    /// Runs a command line at the other end. It is run once more on a new connection when a kept one turns out to be
    /// broken: it must be fit for that.
    ///
    /// # Errors
    /// Those of [`session::with`].
    pub fn exec(&self, line: &str, deadline: Deadline) -> Result<Executed> {
        let (answer, ended) = channel();
        let job = Job { line: line.to_owned(), deadline, answer };
        self.hand_over(job)?;
        match ended.recv_timeout(deadline.left()) {
            Ok(result) => result,
            Err(RecvTimeoutError::Disconnected) => {
                Err(Error::failed("the SSH thread ended").detail(self.place()))
            }
            Err(RecvTimeoutError::Timeout) => Err(late(&self.place())),
        }
    }

    fn hand_over(&self, job: Job) -> Result<()> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let job = match jobs.take() {
            Some(open) => match open.send(job) {
                Ok(()) => {
                    *jobs = Some(open);
                    return Ok(());
                }
                // Its thread has ended after a long while without work.
                Err(unsent) => unsent.0,
            },
            None => job,
        };
        let open = self.begin()?;
        open.send(job).map_err(|_| Error::failed("the SSH thread ended"))?;
        *jobs = Some(open);
        Ok(())
    }

    fn begin(&self) -> Result<Sender<Job>> {
        let target = self.target.as_ref().map_err(|error| Error::config(error.to_string()))?.clone();
        let (open, queue) = channel();
        std::thread::Builder::new()
            .name("ssh-kept".to_owned())
            .spawn(move || serve(&target, &queue))
            .map_err(|error| Error::failed("can't start a thread").detail(error))?;
        Ok(open)
    }
}

/// What the connection's thread does.
fn serve(target: &Target, queue: &Receiver<Job>) {
    let mut kept: Option<Ssh> = None;
    while let Ok(job) = queue.recv_timeout(IDLE) {
        let result = serve_one(target, &mut kept, &job);
        // Whoever asked may have stopped waiting.
        job.answer.send(result).unwrap_or_default();
    }
    if let Some(ssh) = kept {
        ssh.hang_up();
    }
}

fn serve_one(target: &Target, kept: &mut Option<Ssh>, job: &Job) -> Result<Executed> {
    if job.deadline.passed() {
        return Err(late(&target.place()));
    }
    let within = || job.deadline.max(Deadline::after(WITHIN));
    if let Some(mut ssh) = kept.take() {
        ssh.until(within());
        if let Ok(done) = ssh.exec(&job.line) {
            *kept = Some(ssh);
            return Ok(done);
        }
    }
    // Nobody cuts this connection: what it does ends by its own deadlines.
    let (lend, _) = channel();
    let mut ssh = session::open(target, within(), &lend)?;
    ssh.until(within());
    let done = ssh.exec(&job.line)?;
    *kept = Some(ssh);
    Ok(done)
}

fn late(place: &str) -> Error {
    Error::new(Kind::TryAgain, "no answer over SSH in time").detail(place)
}
