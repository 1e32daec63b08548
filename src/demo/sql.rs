//! The little of `PostgreSQL`'s protocol (3.0) that the lab needs: trusted log-in and simple queries.
//!
//! Why not the `postgres` crate: the lab's client has to give up a silent server after milliseconds, to the
//! millisecond, at any point of the conversation, and has to see each WARNING. Framing is pure; the blocking
//! [`Session`] goes through a host's Unix socket, which works from outside of its network namespace.

use crate::error::{Error, Kind, Result};
use crate::host::clock::Deadline;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A longer message can't be anything that the lab asked for.
const LONGEST: usize = 64 << 20;

/// A message from the server: its letter and its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The letter, as `b'Z'` for ready-for-query.
    pub kind: u8,
    /// What follows the length.
    pub body: Vec<u8>,
}

impl Message {
    /// Returns a field of an error or notice: `b'S'` severity, `b'C'` SQLSTATE, `b'M'` message.
    pub fn field(&self, code: u8) -> Option<String> {
        self.body
            .split(|byte| *byte == 0)
            .find_map(|field| field.split_first().filter(|(first, _)| **first == code))
            .map(|(_, text)| String::from_utf8_lossy(text).into_owned())
    }

    /// Returns the columns of a data row; `None` is NULL.
    pub fn columns(&self) -> Option<Vec<Option<String>>> {
        let (count, mut rest) = self.body.split_first_chunk::<2>()?;
        let mut columns = Vec::new();
        for _ in 0..u16::from_be_bytes(*count) {
            let (length, tail) = rest.split_first_chunk::<4>()?;
            // A negative length is NULL.
            if let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) {
                let (text, tail) = tail.split_at_checked(length)?;
                columns.push(Some(String::from_utf8_lossy(text).into_owned()));
                rest = tail;
            } else {
                columns.push(None);
                rest = tail;
            }
        }
        Some(columns)
    }
}

/// Builds the first message of a connection.
pub fn startup(user: &str, database: &str, application: &str) -> Vec<u8> {
    let mut body = 196_608_u32.to_be_bytes().to_vec();
    for text in ["user", user, "database", database, "application_name", application] {
        body.extend_from_slice(text.as_bytes());
        body.push(0);
    }
    body.push(0);
    framed(None, &body)
}

/// Builds a simple query.
pub fn query(text: &str) -> Vec<u8> {
    let mut body = text.as_bytes().to_vec();
    body.push(0);
    framed(Some(b'Q'), &body)
}

fn framed(kind: Option<u8>, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len().saturating_add(4)).unwrap_or(u32::MAX);
    let mut message: Vec<u8> = kind.into_iter().collect();
    message.extend_from_slice(&length.to_be_bytes());
    message.extend_from_slice(body);
    message
}

/// Takes the first whole message off the front of what has been received; `Ok(None)`: more is needed.
pub fn take(input: &mut Vec<u8>) -> Result<Option<Message>> {
    let Some((head, _)) = input.split_first_chunk::<5>() else { return Ok(None) };
    let [kind, length @ ..] = *head;
    let total = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX).saturating_add(1);
    if !(5..=LONGEST).contains(&total) {
        return Err(Error::failed("the server doesn't speak PostgreSQL's protocol"));
    }
    if input.len() < total {
        return Ok(None);
    }
    let rest = input.split_off(total);
    let whole = std::mem::replace(input, rest);
    Ok(Some(Message { kind, body: whole.get(5..).unwrap_or_default().to_vec() }))
}

/// Rows of one answer.
pub type Rows = Vec<Vec<Option<String>>>;

/// A blocking session through a Unix socket.
#[derive(Debug)]
pub struct Session {
    stream: UnixStream,
    input: Vec<u8>,
    limit: Duration,
}

impl Session {
    /// Connects as `postgres`; each call on the session has `limit` to end.
    pub fn connect(socket: &Path, limit: Duration) -> Result<Self> {
        let stream = UnixStream::connect(socket).map_err(|error| unreachable_error(socket, &error))?;
        let mut session = Self { stream, input: Vec::new(), limit };
        session
            .send(&startup("postgres", "postgres", "pgbaton/demo"))
            .map_err(|error| error.detail(socket.display()))?;
        session.answer()?;
        Ok(session)
    }

    /// Runs one or more statements and returns the rows of all of them.
    pub fn query(&mut self, text: &str) -> Result<Rows> {
        self.send(&query(text))?;
        self.answer()
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream
            .set_write_timeout(Some(self.limit))
            .and_then(|()| self.stream.write_all(bytes))
            .map_err(|error| Error::new(Kind::Unreachable, "PostgreSQL doesn't answer").detail(error))
    }

    fn answer(&mut self) -> Result<Rows> {
        let deadline = Deadline::after(self.limit);
        let mut rows = Rows::new();
        let mut failure = None;
        loop {
            let message = self.receive(deadline)?;
            match message.kind {
                b'D' => rows.extend(message.columns()),
                b'E' => {
                    let words = message.field(b'M').unwrap_or_default();
                    let code = message.field(b'C').unwrap_or_default();
                    failure = Some(Error::failed("PostgreSQL refused").detail(words).detail(&code));
                    // Before the log-in is through no ready-for-query follows an error.
                    if message.field(b'V').is_some_and(|severity| severity == "FATAL") {
                        break;
                    }
                }
                b'Z' => break,
                _ => {}
            }
        }
        failure.map_or(Ok(rows), Err)
    }

    fn receive(&mut self, deadline: Deadline) -> Result<Message> {
        let problem =
            |error: std::io::Error| Error::new(Kind::Unreachable, "PostgreSQL doesn't answer").detail(error);
        loop {
            if let Some(message) = take(&mut self.input)? {
                return Ok(message);
            }
            let left = deadline.left().max(Duration::from_millis(1));
            self.stream.set_read_timeout(Some(left)).map_err(problem)?;
            let mut chunk = [0; 8192];
            let count = self.stream.read(&mut chunk).map_err(problem)?;
            if count == 0 {
                return Err(Error::new(Kind::Unreachable, "PostgreSQL closed the connection"));
            }
            self.input.extend_from_slice(chunk.get(..count).unwrap_or_default());
        }
    }
}

fn unreachable_error(socket: &Path, error: &std::io::Error) -> Error {
    Error::new(Kind::Unreachable, "can't connect to PostgreSQL").detail(socket.display()).detail(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_taken_only_when_it_is_whole() {
        let mut input = vec![b'Z', 0, 0, 0, 5];
        assert_eq!(take(&mut input).unwrap(), None);
        input.extend([b'I', b'T']);
        let message = take(&mut input).unwrap().unwrap();
        assert_eq!((message.kind, message.body.as_slice()), (b'Z', b"I".as_slice()));
        assert_eq!(input, b"T");
    }

    #[test]
    fn lengths_that_make_no_sense_are_errors() {
        assert!(take(&mut vec![b'Z', 0, 0, 0, 0]).is_err());
        assert!(take(&mut vec![b'Z', 0xff, 0xff, 0xff, 0xff]).is_err());
    }

    #[test]
    fn fields_and_columns_are_found() {
        let notice = Message { kind: b'N', body: b"SWARNING\0C01000\0Mcareful\0\0".to_vec() };
        assert_eq!(notice.field(b'M').as_deref(), Some("careful"));
        assert_eq!(notice.field(b'H'), None);
        let row = Message { kind: b'D', body: [0, 2, 0, 0, 0, 1, b'7', 0xff, 0xff, 0xff, 0xff].to_vec() };
        assert_eq!(row.columns(), Some(vec![Some("7".to_owned()), None]));
        let cut = Message { kind: b'D', body: [0, 1, 0, 0, 0, 9, b'7'].to_vec() };
        assert_eq!(cut.columns(), None);
    }

    #[test]
    fn the_log_in_is_the_documented_message() {
        let message = startup("u", "d", "a");
        assert_eq!(message.get(..8), Some([0, 0, 0, 46, 0, 3, 0, 0].as_slice()));
        assert!(message.ends_with(b"application_name\0a\0\0"));
    }
}
