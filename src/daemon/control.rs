//! The control socket: one JSON line asks, one JSON line answers. Both ends live here.
//!
//! The server's threads only read a line and wait for the loop's answer; the loop only makes a document.

use crate::error::{Error, Kind, Result};
use crate::host::clock::Deadline;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

const LONGEST_REQUEST: u64 = 4096;
const MOST_CALLERS: usize = 16;
const CALLER_PATIENCE: Duration = Duration::from_secs(2);
const LONGEST_WORK: Duration = Duration::from_secs(120);

/// What can be asked of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Where the node stands.
    Status,
    /// The flight record.
    Events,
    /// The counters.
    Stats,
    /// Send the other nodes packets that do nothing but arrive.
    Probe,
    /// Hand over to another node.
    Resign,
}

impl Request {
    /// Reads the line that asks.
    pub fn parse(line: &str) -> serde_json::Result<Self> {
        serde_json::from_str::<Envelope>(line).map(|envelope| envelope.request)
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    request: Request,
}

/// A request on its way to the loop, and where its answer goes.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) request: Request,
    pub(super) answer: Sender<Value>,
}

/// The socket's file; it goes away with the server.
#[derive(Debug)]
pub(super) struct Server {
    path: PathBuf,
}

impl Server {
    /// Listens on `path`; `tell` hands each call to the loop and answers whether the loop still runs.
    pub(super) fn start(path: &Path, tell: impl Fn(Call) -> bool + Send + Sync + 'static) -> Result<Self> {
        // The daemon holds the node's lock: a socket that is here belongs to a daemon that has died.
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::failed(format!("can't replace {}", path.display())).detail(error));
            }
            _ => {}
        }
        let failed = |error: std::io::Error| {
            let kind = if error.kind() == std::io::ErrorKind::PermissionDenied {
                Kind::Permission
            } else {
                Kind::Failed
            };
            Error::new(kind, format!("can't listen on {}", path.display()))
                .detail(error)
                .hint("may this user write to cluster.runtime_directory?")
        };
        let listener = UnixListener::bind(path).map_err(failed)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(failed)?;
        let tell = Arc::new(tell);
        let callers = Arc::new(AtomicUsize::new(0));
        std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || {
                for stream in listener.incoming().flatten() {
                    if callers.fetch_add(1, Ordering::Relaxed) >= MOST_CALLERS {
                        callers.fetch_sub(1, Ordering::Relaxed);
                        continue;
                    }
                    let (tell, count) = (Arc::clone(&tell), Arc::clone(&callers));
                    let spawned =
                        std::thread::Builder::new().name("control-caller".to_owned()).spawn(move || {
                            drop(serve(&stream, &*tell));
                            count.fetch_sub(1, Ordering::Relaxed);
                        });
                    if spawned.is_err() {
                        callers.fetch_sub(1, Ordering::Relaxed);
                    }
                }
            })
            .map_err(failed)?;
        Ok(Self { path: path.to_owned() })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.path));
    }
}

fn serve(stream: &UnixStream, tell: &(dyn Fn(Call) -> bool + Send + Sync)) -> std::io::Result<()> {
    stream.set_read_timeout(Some(CALLER_PATIENCE))?;
    stream.set_write_timeout(Some(CALLER_PATIENCE))?;
    let mut line = String::new();
    BufReader::new(stream).take(LONGEST_REQUEST).read_line(&mut line)?;
    let answer = match Request::parse(&line) {
        Ok(request) => {
            let (answer, answered) = channel();
            if tell(Call { request, answer }) {
                answered.recv_timeout(LONGEST_WORK).unwrap_or_else(|_| failure("the daemon didn't answer"))
            } else {
                failure("the daemon is stopping")
            }
        }
        Err(error) => failure(&format!("the request can't be understood: {error}")),
    };
    let mut text = answer.to_string();
    text.push('\n');
    (&*stream).write_all(text.as_bytes())
}

fn failure(message: &str) -> Value {
    serde_json::json!({ "schema": 1, "error": message })
}

/// Asks the daemon behind `path`; the caller's end of the socket.
///
/// # Errors
/// [`Kind::Unreachable`] when no daemon listens, [`Kind::TryAgain`] when it doesn't answer in time.
pub fn ask(path: &Path, request: Request, deadline: Deadline) -> Result<Value> {
    let unreachable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            Error::new(Kind::Permission, format!("can't open {}", path.display()))
                .detail(error)
                .hint("run this as the user of the daemon, or as root")
        }
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
            Error::new(Kind::TryAgain, "the daemon didn't answer in time").detail(path.display())
        }
        _ => Error::new(Kind::Unreachable, "the daemon isn't running on this node")
            .detail(format!("{}: {error}", path.display()))
            .hint("start it with `pgbaton vrrp run`, or with its systemd unit"),
    };
    let stream = UnixStream::connect(path).map_err(unreachable)?;
    let patience = deadline.left().max(Duration::from_millis(1));
    stream.set_read_timeout(Some(patience)).map_err(unreachable)?;
    stream.set_write_timeout(Some(patience)).map_err(unreachable)?;
    let envelope = serde_json::json!({ "request": request });
    (&stream).write_all(format!("{envelope}\n").as_bytes()).map_err(unreachable)?;
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).map_err(unreachable)?;
    let answer: Value = serde_json::from_str(&line).map_err(|error| {
        Error::failed("the daemon's answer can't be understood")
            .detail(error)
            .hint("is it another version than this command? compare `pgbaton --version` with `pgbaton vrrp status --json`")
    })?;
    match answer.get("error").and_then(Value::as_str) {
        Some(message) => Err(Error::failed(message.to_owned())),
        None => Ok(answer),
    }
}
