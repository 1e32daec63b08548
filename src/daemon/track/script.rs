//! A script that is run again and again.

use super::Teller;
use crate::error::Result;
use crate::host::clock::{self, Deadline};
use crate::host::process::{Output, run_gently};
use crate::host::spawn::Spawn;
use crate::host::user;
use crate::net::driver::{Waker, readable_before};
use crate::settings::ScriptSettings;
use crate::vrrp::track::{Seen, Steady};
use std::os::fd::AsFd as _;
use std::process::Command;
use std::time::Duration;

/// How long a script may take to end once it was asked to.
const GRACE: Duration = Duration::from_millis(500);

/// Runs the script until it is told to stop.
pub(super) fn watch(script: &ScriptSettings, teller: &Teller, stop: &Waker) {
    let mut steady = Steady::new(script.rise, script.fall);
    let mut next = clock::now();
    loop {
        let result = run(script);
        let good = result.as_ref().is_ok_and(|output| output.status.success());
        if let Some(good) = steady.take(good) {
            let seen = if good { Seen::Good } else { Seen::Bad };
            if !teller.tell(seen, describe(&script.name, &result)) {
                return;
            }
        }
        // In the same rhythm, unless it took longer than that.
        let now = clock::now();
        next = next + script.interval;
        if next < now {
            next = now;
        }
        if readable_before(stop.as_fd(), Deadline::at(next)).unwrap_or(true) {
            return;
        }
    }
}

fn run(script: &ScriptSettings) -> Result<Output> {
    let mut words = script.command.iter();
    let mut command = Command::new(words.next().map_or("", String::as_str));
    command.args(words).current_dir("/");
    let mut spawn = Spawn::new(command).umask(0o077).only_standard_streams();
    if let Some(name) = &script.user {
        let user = user::lookup(name)?;
        spawn = spawn.user(user.uid, user.gid).groups(&user.groups);
    }
    run_gently(spawn, Deadline::after(script.timeout), GRACE)
}

fn describe(name: &str, result: &Result<Output>) -> String {
    match result {
        Ok(output) if output.status.success() => format!("script {name} succeeds"),
        Ok(output) => {
            let how = match output.status.code() {
                Some(code) => format!("exit code {code}"),
                None => output.status.to_string(),
            };
            match output.complaint().lines().last() {
                Some(last) => format!("script {name} fails: {how}: {last}"),
                None => format!("script {name} fails: {how}"),
            }
        }
        Err(error) => format!("script {name} fails: {error}"),
    }
}
