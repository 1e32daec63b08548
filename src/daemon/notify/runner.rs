//! The thread that runs the programs of one virtual router: one at a time, the newest state only.

use crate::error::Result;
use crate::host::clock::{self, Deadline};
use crate::host::process::{Output, run_gently};
use crate::host::spawn::Spawn;
use crate::host::user;
use crate::settings::Words;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// How long a program may take to end once it was asked to.
const GRACE: Duration = Duration::from_secs(5);
/// A program makes files for its own user, if it doesn't say otherwise.
const MASK: u32 = 0o077;

/// The programs for one change of state.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) name: String,
    pub(super) state: &'static str,
    pub(super) commands: Vec<Words>,
    pub(super) timeout: Duration,
    pub(super) user: Option<String>,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::daemon) struct Ran {
    /// The name of the virtual router or group.
    pub(in crate::daemon) name: String,
    /// One sentence for the log.
    pub(in crate::daemon) text: String,
    /// Whether it did what it should.
    pub(in crate::daemon) well: bool,
}

/// The handle of the thread; when it is dropped, the thread runs what it was told last and ends.
#[derive(Debug)]
pub(super) struct Runner {
    requests: Sender<Request>,
}

impl Runner {
    /// Starts the thread. It keeps `alive` until it ends.
    pub(super) fn start(
        alive: Sender<()>,
        tell: impl Fn(Ran) -> bool + Send + 'static,
    ) -> std::io::Result<Self> {
        let (requests, queue) = channel();
        std::thread::Builder::new().name("notify".to_owned()).spawn(move || {
            work(&queue, &tell);
            drop(alive);
        })?;
        Ok(Self { requests })
    }

    /// Runs these programs when those that run now have ended, unless there is something newer by then.
    pub(super) fn run(&self, request: Request) {
        drop(self.requests.send(request));
    }
}

fn work(queue: &Receiver<Request>, tell: &impl Fn(Ran) -> bool) {
    while let Ok(mut request) = queue.recv() {
        let mut outdated = Vec::new();
        while let Ok(newer) = queue.try_recv() {
            outdated.push(std::mem::replace(&mut request, newer).state);
        }
        if !outdated.is_empty() {
            let text = format!(
                "notify: no program is run for {}: it is {} by now",
                outdated.join(", "),
                request.state
            );
            tell(Ran { name: request.name.clone(), text, well: true });
        }
        for words in &request.commands {
            let started = clock::now();
            let result = run(words, &request);
            let took = clock::now().since(started);
            let (text, well) = describe(words, request.state, &result, took);
            tell(Ran { name: request.name.clone(), text, well });
        }
    }
}

fn run(words: &[String], request: &Request) -> Result<Output> {
    let mut words = words.iter();
    let mut command = Command::new(words.next().map_or("", String::as_str));
    command.args(words).current_dir("/");
    for unsafe_for_others in ["IFS", "LD_PRELOAD", "LD_LIBRARY_PATH"] {
        command.env_remove(unsafe_for_others);
    }
    let mut spawn = Spawn::new(command).umask(MASK).only_standard_streams();
    if let Some(name) = &request.user {
        let user = user::lookup(name)?;
        spawn = spawn.user(user.uid, user.gid).groups(&user.groups);
    }
    run_gently(spawn, Deadline::after(request.timeout), GRACE)
}

fn describe(words: &[String], state: &str, result: &Result<Output>, took: Duration) -> (String, bool) {
    let program = words.first().map_or("", String::as_str);
    let took = took.as_millis();
    match result {
        Ok(output) => {
            let mut text = format!("notify {state}: {program} {} after {took} ms", ended(output.status));
            if !output.status.success()
                && let Some(last) = output.complaint().lines().last()
            {
                text.push_str(&format!(": {last}"));
            }
            (text, output.status.success())
        }
        Err(error) => (format!("notify {state}: {error} after {took} ms"), false),
    }
}

fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(0), _) => "ended well".to_owned(),
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::files::tests::Scratch;

    fn request(state: &'static str, script: &str, timeout: Duration) -> Request {
        let commands = vec![["/bin/sh", "-c", script].map(str::to_owned).to_vec()];
        Request { name: "x".to_owned(), state, commands, timeout, user: None }
    }

    fn all(requests: Vec<Request>) -> Vec<Ran> {
        let (told, heard) = channel();
        let (alive, ended) = channel::<()>();
        let runner = Runner::start(alive, move |ran| told.send(ran).is_ok()).unwrap();
        for request in requests {
            runner.run(request);
        }
        drop(runner);
        assert!(ended.recv().is_err());
        heard.try_iter().collect()
    }

    #[test]
    fn while_a_program_runs_only_the_newest_state_is_kept() {
        let scratch = Scratch::new();
        let path = scratch.0.display();
        let long = Duration::from_secs(30);
        let (told, heard) = channel();
        let (alive, ended) = channel::<()>();
        let runner = Runner::start(alive, move |ran| told.send(ran).is_ok()).unwrap();
        let waits =
            format!("touch {path}/runs; until [ -e {path}/go ]; do sleep 0.01; done; echo 1 >> {path}/out");
        runner.run(request("BACKUP", &waits, long));
        let deadline = Deadline::after(long);
        while !scratch.0.join("runs").exists() {
            assert!(!deadline.passed());
            std::thread::yield_now();
        }
        for state in ["MASTER", "BACKUP"] {
            runner.run(request(state, "exit 9", long));
        }
        runner.run(request("MASTER", &format!("echo 2 >> {path}/out"), long));
        std::fs::write(scratch.0.join("go"), "").unwrap();
        drop(runner);
        assert!(ended.recv().is_err());
        assert_eq!(std::fs::read_to_string(scratch.0.join("out")).unwrap(), "1\n2\n");
        let told: Vec<Ran> = heard.try_iter().collect();
        assert_eq!(told.len(), 3, "{told:?}");
        assert_eq!(told[1].text, "notify: no program is run for MASTER, BACKUP: it is MASTER by now");
        assert!(told.iter().all(|ran| ran.well));
    }

    #[test]
    fn the_exit_status_and_the_last_words_are_told() {
        let long = Duration::from_secs(30);
        let told = all(vec![request("MASTER", "echo one; echo two >&2; exit 3", long)]);
        assert!(!told[0].well);
        assert!(told[0].text.starts_with("notify MASTER: /bin/sh ended with exit code 3 after "), "{told:?}");
        assert!(told[0].text.ends_with(" ms: two"), "{told:?}");
        let told = all(vec![request("FAULT", "kill -9 $$", long)]);
        assert!(told[0].text.contains("was ended by signal 9"), "{told:?}");
        let mut missing = request("STOP", "", long);
        missing.commands = vec![vec!["/no/such/program".to_owned()]];
        let told = all(vec![missing]);
        assert!(told[0].text.starts_with("notify STOP: can't start \"/no/such/program\""), "{told:?}");
    }

    #[test]
    fn a_program_has_no_rights_of_ours_and_a_strict_mask() {
        let scratch = Scratch::new();
        let file = scratch.0.join("seen");
        let script = format!("umask > {0}; pwd >> {0}; ls /proc/self/fd | wc -l >> {0}", file.display());
        let told = all(vec![request("BACKUP", &script, Duration::from_secs(30))]);
        assert!(told[0].well, "{told:?}");
        // 0, 1, 2 and the directory that ls reads.
        assert_eq!(
            std::fs::read_to_string(&file).unwrap().split_whitespace().collect::<Vec<_>>(),
            ["0077", "/", "4"]
        );
    }

    #[test]
    fn a_program_that_does_not_end_is_stopped() {
        let told = all(vec![request("MASTER", "exec sleep 1000", Duration::from_millis(100))]);
        assert!(!told[0].well);
        assert!(told[0].text.contains("didn't end in time and was stopped"), "{told:?}");
    }
}
