//! Whether the cluster is whole, and what a person does where the product leaves it to one.

use crate::BINARY;
use nix::sys::signal::{Signal, kill};
use pgbaton::demo::host::{Host, Rights};
use pgbaton::demo::lab::{Lab, VIP};
use pgbaton::demo::sql::Session;
use pgbaton::host::clock::{Deadline, now};
use pgbaton::units::Moment;
use std::net::IpAddr;
use std::time::Duration;

/// A look at a server must not wait longer.
const LOOK: Duration = Duration::from_secs(1);
/// How long a person waits for the product to act by itself.
const GRACE: Duration = Duration::from_millis(1500);
/// How long one command of a person may take.
const COMMAND: Duration = Duration::from_secs(60);

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Server {
    /// It doesn't answer.
    Silent,
    /// A standby, with the end of its log.
    Standby(u64),
    /// A primary, and who streams from it.
    Primary(Vec<String>),
}

/// Looks at a server through its Unix socket.
pub fn server(host: &Host) -> Server {
    let ask = || {
        let mut session = Session::connect(&host.server_socket(), LOOK).ok()?;
        let text = "SELECT pg_is_in_recovery(), pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() \
                    THEN pg_last_wal_replay_lsn() ELSE '0/0' END, '0/0')::text; \
                    SELECT application_name, NULL FROM pg_stat_replication WHERE state = 'streaming'";
        let rows = session.query(text).ok()?;
        let (first, streams) = rows.split_first()?;
        if first.first()?.as_deref() == Some("t") {
            return Some(Server::Standby(
                first.get(1)?.as_deref().and_then(|end| end.parse().ok()).unwrap_or(0),
            ));
        }
        Some(Server::Primary(streams.iter().filter_map(|row| row.first().cloned().flatten()).collect()))
    };
    ask().unwrap_or(Server::Silent)
}

/// Returns the one host that serves, or what is missing: one holder of the address, a primary, from which all
/// others stream, and every daemon answers.
pub fn whole(lab: &Lab) -> Result<&Host, String> {
    let holders = lab.holders().map_err(|error| error.to_string())?;
    let [holder] = holders.as_slice() else { return Err(format!("the virtual IP is on {holders:?}")) };
    let host = lab.host(holder).unwrap();
    let Server::Primary(streams) = server(host) else {
        return Err(format!("{holder} has the virtual IP and its server is no primary"));
    };
    for other in lab.members().filter(|other| other.name != *holder) {
        if !streams.contains(&other.name) {
            let what = match server(other) {
                Server::Silent => "its server doesn't answer",
                Server::Standby(_) => "it is a standby",
                Server::Primary(_) => "it is a primary",
            };
            return Err(format!("{} doesn't stream from {holder}: {what}{}", other.name, told(other)));
        }
    }
    for host in lab.members() {
        let status = host.status().map_err(|error| format!("{}: {error}", host.name))?;
        let phase = status["phase"].as_str().unwrap_or_default();
        let wanted = if host.name == *holder { "serving" } else { "standby" };
        let free = lab.options.spare && host.name == "spare";
        if phase != wanted && !free {
            return Err(format!("{} is {phase}, not {wanted}{}", host.name, told(host)));
        }
    }
    Ok(host)
}

/// What a daemon says of why its node is as it is.
pub fn told(host: &Host) -> String {
    let Ok(status) = host.status() else { return " (its daemon doesn't answer)".to_owned() };
    let text = |key: &str| status[key].as_str().unwrap_or("-").to_owned();
    format!(" ({}: {})", text("phase"), text("reason"))
}

/// A person at the cluster.
#[derive(Debug)]
pub struct Person {
    since: Moment,
    /// What was typed.
    pub typed: Vec<String>,
}

impl Person {
    /// Somebody who begins to look now.
    pub fn new() -> Self {
        Self { since: now(), typed: Vec::new() }
    }

    /// Does what is needed next, if anything.
    pub fn act(&mut self, lab: &Lab) {
        if now().since(self.since) < GRACE {
            return;
        }
        let states: Vec<(&Host, Server)> = lab.members().map(|host| (host, server(host))).collect();
        let holder = states.iter().find(|(host, state)| {
            matches!(state, Server::Primary(_)) && host.has_address(IpAddr::V4(VIP)).unwrap_or(false)
        });
        if let Some((_, Server::Primary(streams))) = holder {
            for (host, state) in &states {
                if !matches!(state, Server::Primary(_)) && !streams.contains(&host.name) {
                    self.run(lab, host, &["pg", "rebuild-standby", "--drop-old", "--timeout", "60s"]);
                }
            }
            return;
        }
        if states.iter().any(|(_, state)| matches!(state, Server::Primary(_))) {
            // A primary without the address: its daemon takes it up or says why not.
            return;
        }
        let end = |state: &Server| if let Server::Standby(end) = state { Some(*end) } else { None };
        let standing = states.iter().filter(|(host, _)| !(lab.options.spare && host.name == "spare"));
        match standing.filter_map(|(host, state)| Some((end(state)?, *host))).max_by_key(|(end, _)| *end) {
            // With one server only nobody can say that it is the newest: the others come up first.
            Some((_, best)) if states.iter().all(|(_, state)| *state != Server::Silent) => {
                self.run(lab, best, &["pg", "promote", "--force", "proof-of-death"]);
            }
            _ => {
                for (host, _) in states.iter().filter(|(_, state)| *state == Server::Silent) {
                    self.typed.push(format!("start PostgreSQL on {}", host.name));
                    host.start_server().unwrap();
                    let _ = host.wait_server();
                }
            }
        }
        self.since = now();
    }

    /// Runs a command of the product on a host, as its account, and waits for it.
    pub fn run(&mut self, lab: &Lab, host: &Host, words: &[&str]) {
        let config = lab.config().display().to_string();
        let mut all = vec!["--config", &config, "--node", &host.name, "--color", "never"];
        all.extend(words);
        let log = lab.options.base.join("person.log");
        let mut child = host.spawn(BINARY.as_ref(), &all, Rights::Daemon, &log).unwrap();
        let deadline = Deadline::after(COMMAND);
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break status.to_string(),
                None if deadline.passed() => {
                    let _ = kill(nix::unistd::Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
                    break child.wait().unwrap().to_string();
                }
                None => lab.patience().pause(Duration::from_millis(10)).unwrap(),
            }
        };
        self.typed.push(format!("{}: pgbaton {} ({status})", host.name, words.join(" ")));
    }
}
