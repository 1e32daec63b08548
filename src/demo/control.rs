//! The daemon's control socket, as a client: one JSON line there, one JSON line back.

use crate::error::{Error, Kind, Result};
use crate::units::Moment;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long the daemon may take to answer; it answers from its event loop.
const PATIENCE: Duration = Duration::from_secs(2);

/// One entry of the daemon's own record.
#[derive(Debug, Clone, Deserialize)]
pub struct Event {
    /// When, on `CLOCK_BOOTTIME`: all daemons of a lab share this clock with the lab.
    #[serde(rename = "at_ns")]
    pub at: Moment,
    /// The kind in kebab-case, as `active-down`.
    #[serde(rename = "event")]
    pub kind: String,
    /// One sentence for people.
    #[serde(default)]
    pub text: String,
    /// What belongs to this kind.
    #[serde(default)]
    pub fields: Map<String, Value>,
}

impl Event {
    /// Returns a field that is a text.
    pub fn text_field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).and_then(Value::as_str)
    }

    /// Returns whether this is a step of this name that has ended (`step-done`).
    pub fn is_step_done(&self, step: &str) -> bool {
        self.kind == "step-done" && self.text_field("step") == Some(step)
    }
}

/// Sends one request and returns the answer's document.
pub fn ask(socket: &Path, request: &str) -> Result<Value> {
    let problem = |error: std::io::Error| {
        Error::new(Kind::Unreachable, "the daemon doesn't answer").detail(socket.display()).detail(error)
    };
    let mut stream = UnixStream::connect(socket).map_err(problem)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(problem)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(problem)?;
    let line = format!("{}\n", serde_json::json!({ "request": request }));
    stream.write_all(line.as_bytes()).map_err(problem)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).map_err(problem)?;
    serde_json::from_str(&answer).map_err(|error| {
        Error::new(Kind::Unreachable, "the daemon's answer isn't JSON").detail(socket.display()).detail(error)
    })
}

/// Returns the daemon's record, oldest first.
pub fn events(socket: &Path) -> Result<Vec<Event>> {
    #[derive(Deserialize)]
    struct Answer {
        events: Vec<Event>,
    }
    let answer: Answer = serde_json::from_value(ask(socket, "events")?)
        .map_err(|error| Error::new(Kind::Unreachable, "the daemon's record can't be read").detail(error))?;
    Ok(answer.events)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_reads_as_the_contract_says() {
        let event: Event = serde_json::from_str(
            r#"{"at_ns":7,"wall":"2026-01-01T00:00:00.000001Z","event":"step-done","text":"promoted",
                "fields":{"step":"promote","took_ms":12.5}}"#,
        )
        .unwrap();
        assert_eq!(event.at, Moment::from_nanos(7));
        assert!(event.is_step_done("promote"));
        assert!(!event.is_step_done("announce"));
    }
}
