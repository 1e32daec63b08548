//! A small client of the replication protocol: who are you, and your timeline history files as raw octets.
//!
//! The `postgres` crate can't speak it. Two commands need no more than a start-up, a login and simple queries
//! ("Streaming Replication Protocol" and "Message Formats" in `PostgreSQL`'s documentation). The decoder
//! ([`decode`]) is pure and takes any octets; every read and write of the connection has the deadline of the call.

use super::conn::{ConnError, ConnSettings, Host};
use super::histories::LARGEST;
use super::lsn::{Lsn, SystemId, Timeline};
use super::tls::{Connector, TlsError};
use crate::host::clock::Deadline;
use crate::settings::libpq::{ChannelBinding as Binding, SslMode};
use openssl::ssl::SslStream;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{
    ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The longest message that is taken: a history file and its frame.
const LONGEST: usize = LARGEST + 1024;
/// The most messages of one answer; a server sends some twenty.
const MOST_MESSAGES: usize = 1000;
/// A server that asks for more rounds of hashing wants to keep us busy; the default is 4096.
const MOST_ROUNDS: u32 = 1_000_000;
const PROTOCOL: i32 = 3 << 16;

/// What a server answers to `IDENTIFY_SYSTEM`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub system_id: SystemId,
    /// The timeline it is on now, right also just after a promotion.
    pub timeline: Timeline,
    /// The end of its log.
    pub end: Lsn,
}

/// One message of a server, as far as this client cares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The login is done.
    LoggedIn,
    /// A password hashed with this salt is asked for.
    Md5([u8; 4]),
    /// One of these SASL mechanisms is asked for.
    Sasl(Vec<String>),
    /// The next step of SASL.
    SaslContinue(Vec<u8>),
    /// The last step of SASL.
    SaslFinal(Vec<u8>),
    /// A way to log in that this client doesn't have, by its number.
    OtherLogin(u32),
    /// One row: its columns as raw octets, `None` for NULL.
    Row(Vec<Option<Vec<u8>>>),
    /// The server refuses: SQLSTATE and message.
    Failed {
        /// The SQLSTATE.
        state: String,
        /// The message.
        message: String,
    },
    /// The server waits for the next query.
    Ready,
    /// Anything else, by its tag.
    Other(u8),
}

/// Why octets aren't a message of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this isn't the replication protocol: {0}")]
pub struct DecodeError(&'static str);

/// Decodes the first message in `bytes`; returns it and its length, or `None` when it isn't complete.
pub fn decode(bytes: &[u8]) -> Result<Option<(Message, usize)>, DecodeError> {
    let mut cursor = Cursor(bytes);
    let (Some(tag), Some(length)) = (cursor.byte(), cursor.word()) else { return Ok(None) };
    let length = usize::try_from(length).map_err(|_| DecodeError("a message without a length"))?;
    let body = length.checked_sub(4).ok_or(DecodeError("a message shorter than its own length"))?;
    if body > LONGEST {
        return Err(DecodeError("a message that is too long"));
    }
    let Some(body_bytes) = cursor.take(body) else { return Ok(None) };
    let mut body = Cursor(body_bytes);
    let message = match tag {
        b'R' => login(&mut body)?,
        b'D' => row(&mut body)?,
        b'E' => failure(&mut body),
        b'Z' => Message::Ready,
        b'S' | b'K' | b'N' | b'T' | b'C' | b'A' | b'I' | b'v' => Message::Other(tag),
        _ => return Err(DecodeError("an unknown message")),
    };
    Ok(Some((message, length.saturating_add(1))))
}

fn login(body: &mut Cursor<'_>) -> Result<Message, DecodeError> {
    let kind = body.word().ok_or(DecodeError("a login message without a kind"))?;
    Ok(match kind {
        0 => Message::LoggedIn,
        5 => match body.0 {
            [a, b, c, d] => Message::Md5([*a, *b, *c, *d]),
            _ => return Err(DecodeError("a salt that isn't four octets")),
        },
        10 => {
            let mut names = Vec::new();
            while let Some(name) = body.text().filter(|name| !name.is_empty()) {
                names.push(name);
            }
            Message::Sasl(names)
        }
        11 => Message::SaslContinue(body.0.to_vec()),
        12 => Message::SaslFinal(body.0.to_vec()),
        other => Message::OtherLogin(other),
    })
}

fn row(body: &mut Cursor<'_>) -> Result<Message, DecodeError> {
    let short = DecodeError("a row that is cut off");
    let count = body.half().ok_or(short)?;
    let mut columns = Vec::new();
    for _ in 0..count {
        let length = body.word().ok_or(short)?;
        columns.push(if length == u32::MAX {
            None
        } else {
            let length = usize::try_from(length).map_err(|_| short)?;
            Some(body.take(length).ok_or(short)?.to_vec())
        });
    }
    if body.0.is_empty() { Ok(Message::Row(columns)) } else { Err(DecodeError("a row with a tail")) }
}

fn failure(body: &mut Cursor<'_>) -> Message {
    let (mut state, mut message) = (String::new(), String::new());
    while let Some(field) = body.byte().filter(|field| *field != 0) {
        let Some(text) = body.text() else { break };
        match field {
            b'C' => state = text,
            b'M' => message = text,
            _ => {}
        }
    }
    Message::Failed { state, message }
}

/// Takes octets from the front; `None` when there are too few.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn half(&mut self) -> Option<u16> {
        self.take(2)?.first_chunk().copied().map(u16::from_be_bytes)
    }

    fn word(&mut self) -> Option<u32> {
        self.take(4)?.first_chunk().copied().map(u32::from_be_bytes)
    }

    /// A text up to its NUL.
    fn text(&mut self) -> Option<String> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let text = self.take(end)?;
        self.take(1)?;
        Some(String::from_utf8_lossy(text).into_owned())
    }
}

/// A replication connection.
#[derive(Debug)]
pub struct WalSender {
    stream: Stream,
    place: String,
    inbox: Vec<u8>,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Tls(Box<SslStream<TcpStream>>),
    Unix(UnixStream),
}

impl Stream {
    fn open(host: &Host, deadline: Deadline) -> io::Result<Self> {
        match host {
            Host::Tcp(ip, port) => {
                let stream = TcpStream::connect_timeout(&SocketAddr::new(*ip, *port), at_least(deadline))?;
                stream.set_nodelay(true)?;
                Ok(Self::Tcp(stream))
            }
            Host::Name(name, port) => {
                let mut failed = io::Error::from(io::ErrorKind::NotFound);
                for address in (name.as_str(), *port).to_socket_addrs()? {
                    match Self::open(&Host::Tcp(address.ip(), *port), deadline) {
                        Ok(stream) => return Ok(stream),
                        Err(error) => failed = error,
                    }
                }
                Err(failed)
            }
            Host::Unix(folder, port) => {
                // Unlike a plain connect, this one doesn't wait for ever when the backlog is full.
                let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
                let address = socket2::SockAddr::unix(folder.join(format!(".s.PGSQL.{port}")))?;
                socket.set_write_timeout(Some(at_least(deadline)))?;
                socket.connect(&address)?;
                Ok(Self::Unix(UnixStream::from(OwnedFd::from(socket))))
            }
        }
    }

    fn limit(&self, deadline: Deadline) -> io::Result<()> {
        if deadline.passed() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let left = Some(at_least(deadline));
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(left).and_then(|()| stream.set_write_timeout(left)),
            Self::Tls(stream) => {
                let stream = stream.get_ref();
                stream.set_read_timeout(left).and_then(|()| stream.set_write_timeout(left))
            }
            Self::Unix(stream) => stream.set_read_timeout(left).and_then(|()| stream.set_write_timeout(left)),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }
}

/// Whether a connection is to be encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Plain,
    IfOffered,
    Encrypted,
}

/// The code of an `SSLRequest`, after its length.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Asks the server for TLS and shakes hands; returns the stream as it was when none is offered and none is needed.
fn encrypted(
    mut stream: Stream,
    settings: &ConnSettings,
    wish: Wish,
    deadline: Deadline,
) -> Result<Stream, ConnError> {
    let place = settings.host.to_string();
    let failed = |error: &io::Error| classify(error, &place);
    if !settings.tls.direct {
        // One octet, no more: what came after it unencrypted would be somebody else's.
        let mut answer = [0];
        stream.limit(deadline).map_err(|error| failed(&error))?;
        let sent = stream.write(&SSL_REQUEST).map_err(|error| failed(&error))?;
        let got = stream.read(&mut answer).map_err(|error| failed(&error))?;
        match (sent, got, answer) {
            (8, 1, [b'S']) => {}
            (8, 1, [b'N']) if wish == Wish::IfOffered => return Ok(stream),
            (8, 1, [b'N']) => return Err(ConnError::Tls(format!("{place} offers no TLS"))),
            _ => return Err(ConnError::Lost(format!("{place} doesn't answer the request for TLS"))),
        }
    }
    let Stream::Tcp(socket) = stream else { return Ok(stream) };
    let name = settings.tls_name.clone().or_else(|| match &settings.host {
        Host::Tcp(ip, _) => Some(ip.to_string()),
        Host::Name(name, _) => Some(name.clone()),
        Host::Unix(..) => None,
    });
    let wrong = |error: TlsError| ConnError::Tls(format!("{place}: {error}"));
    let connector =
        Connector::new(&settings.tls, settings.home.as_deref(), name.as_deref()).map_err(wrong)?;
    let left = Some(at_least(deadline));
    let limited = socket.set_read_timeout(left).and_then(|()| socket.set_write_timeout(left));
    limited.map_err(|error| failed(&error))?;
    Ok(Stream::Tls(Box::new(connector.handshake_over(socket).map_err(wrong)?)))
}

/// A socket takes no zero for a time.
fn at_least(deadline: Deadline) -> Duration {
    deadline.left().max(Duration::from_millis(1))
}

impl WalSender {
    /// Connects for physical replication and logs in: with TLS as `sslmode` says, with trust, MD5 or SCRAM.
    pub fn connect(settings: &ConnSettings, deadline: Deadline) -> Result<Self, ConnError> {
        let deadline = deadline.within(settings.connect_timeout);
        if let Some(flaw) = &settings.flaw {
            return Err(ConnError::Settings(flaw.clone()));
        }
        let attempt = |tls| Self::attempt(settings, tls, deadline);
        if matches!(settings.host, Host::Unix(..)) {
            return attempt(Wish::Plain);
        }
        match settings.tls.mode {
            SslMode::Disable => attempt(Wish::Plain),
            SslMode::Allow => match attempt(Wish::Plain) {
                Err(ConnError::Auth(_)) => attempt(Wish::Encrypted),
                other => other,
            },
            SslMode::Prefer => match attempt(Wish::IfOffered) {
                Err(ConnError::Auth(_) | ConnError::Tls(_)) => attempt(Wish::Plain),
                other => other,
            },
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => attempt(Wish::Encrypted),
        }
    }

    fn attempt(settings: &ConnSettings, wish: Wish, deadline: Deadline) -> Result<Self, ConnError> {
        let place = settings.host.to_string();
        let mut stream = Stream::open(&settings.host, deadline).map_err(|error| classify(&error, &place))?;
        if wish != Wish::Plain {
            stream = encrypted(stream, settings, wish, deadline)?;
        }
        let mut sender = Self { stream, place, inbox: Vec::new() };
        sender.send(&startup(settings), deadline)?;
        sender.login(settings, deadline)?;
        Ok(sender)
    }

    /// Asks which cluster this is and where it is in its log.
    pub fn identify(&mut self, deadline: Deadline) -> Result<Identity, ConnError> {
        let rows = self.query("IDENTIFY_SYSTEM", deadline)?;
        let identity = || {
            let row = rows.first()?;
            let text = |column: usize| std::str::from_utf8(row.get(column)?.as_deref()?).ok();
            Some(Identity {
                system_id: text(0)?.parse().ok()?,
                timeline: text(1)?.parse().ok()?,
                end: text(2)?.parse().ok()?,
            })
        };
        identity().ok_or_else(|| self.nonsense("its answer to IDENTIFY_SYSTEM can't be read"))
    }

    /// Asks for the history file of a timeline: its name and content as the server has them; `None` when the server
    /// has no such file (SQLSTATE 58P01), as for timeline 1.
    pub fn history(
        &mut self,
        timeline: Timeline,
        deadline: Deadline,
    ) -> Result<Option<(String, Vec<u8>)>, ConnError> {
        let rows = match self.query(&format!("TIMELINE_HISTORY {timeline}"), deadline) {
            Err(ConnError::Other(state, _)) if state == "58P01" => return Ok(None),
            other => other?,
        };
        let file = rows.into_iter().next().and_then(|row| {
            let mut columns = row.into_iter();
            let name = String::from_utf8(columns.next()??).ok()?;
            Some((name, columns.next()??))
        });
        file.map(Some).ok_or_else(|| self.nonsense("its answer to TIMELINE_HISTORY can't be read"))
    }

    fn query(&mut self, text: &str, deadline: Deadline) -> Result<Vec<Vec<Option<Vec<u8>>>>, ConnError> {
        let mut body = text.as_bytes().to_vec();
        body.push(0);
        self.send(&framed(Some(b'Q'), &body), deadline)?;
        let (mut rows, mut failed) = (Vec::new(), None);
        for _ in 0..MOST_MESSAGES {
            match self.receive(deadline)? {
                Message::Row(row) => rows.push(row),
                Message::Failed { state, message } => failed = Some(refusal(state, message)),
                Message::Ready => return failed.map_or(Ok(rows), Err),
                Message::Other(_) => {}
                _ => return Err(self.nonsense("a login message after the login")),
            }
        }
        Err(self.nonsense("its answer doesn't end"))
    }

    fn login(&mut self, settings: &ConnSettings, deadline: Deadline) -> Result<(), ConnError> {
        let password = settings.password.as_ref().map(|secret| secret.reveal().as_bytes());
        let wanted =
            || ConnError::Auth(format!("{} asks for a password of role {}", settings.host, settings.user));
        let mut scram: Option<ScramSha256> = None;
        let mut proved = true;
        for _ in 0..MOST_MESSAGES {
            match self.receive(deadline)? {
                Message::Md5(salt) => {
                    let hash = md5_hash(settings.user.as_bytes(), password.ok_or_else(wanted)?, salt);
                    let mut body = hash.into_bytes();
                    body.push(0);
                    self.send(&framed(Some(b'p'), &body), deadline)?;
                }
                Message::Sasl(mechanisms) => {
                    let (mechanism, binding) = self.mechanism(&mechanisms, settings.channel_binding)?;
                    let begun = ScramSha256::new(password.ok_or_else(wanted)?, binding);
                    let first = begun.message();
                    let length = u32::try_from(first.len()).unwrap_or(u32::MAX).to_be_bytes();
                    let body = [mechanism.as_bytes(), &[0], length.as_slice(), first].concat();
                    proved = false;
                    self.send(&framed(Some(b'p'), &body), deadline)?;
                    scram = Some(begun);
                }
                Message::SaslContinue(data) => {
                    if rounds(&data).is_none_or(|rounds| rounds > MOST_ROUNDS) {
                        return Err(self.nonsense("it asks for too many rounds of hashing"));
                    }
                    let begun = scram.as_mut().ok_or(DecodeError("SASL goes on without a beginning"));
                    let begun = begun.map_err(|error| ConnError::Lost(error.to_string()))?;
                    begun.update(&data).map_err(|error| ConnError::Auth(error.to_string()))?;
                    let body = begun.message().to_vec();
                    self.send(&framed(Some(b'p'), &body), deadline)?;
                }
                Message::SaslFinal(data) => {
                    let begun = scram.as_mut().ok_or(DecodeError("SASL ends without a beginning"));
                    let begun = begun.map_err(|error| ConnError::Lost(error.to_string()))?;
                    // The server proves that it knows the password, too.
                    begun.finish(&data).map_err(|error| ConnError::Auth(error.to_string()))?;
                    proved = true;
                }
                Message::OtherLogin(kind) => {
                    let message =
                        format!("{} wants a way to log in that isn't known here ({kind})", self.place);
                    return Err(ConnError::Auth(message));
                }
                Message::Failed { state, message } => return Err(refusal(state, message)),
                Message::LoggedIn
                    if settings.channel_binding == Binding::Require
                        && !bound(scram.is_some(), &self.stream) =>
                {
                    return Err(ConnError::Auth(format!(
                        "{} let this role in without a password exchange bound to the connection",
                        self.place
                    )));
                }
                Message::LoggedIn if !proved => {
                    return Err(ConnError::Auth(format!(
                        "{} didn't prove that it is the server",
                        self.place
                    )));
                }
                Message::Ready => return Ok(()),
                Message::LoggedIn | Message::Other(_) => {}
                Message::Row(_) => return Err(self.nonsense("a row before the login")),
            }
        }
        Err(self.nonsense("its login doesn't end"))
    }

    /// Chooses how the password is proved: bound to the encrypted connection where both sides can.
    fn mechanism(
        &self,
        offered: &[String],
        wish: Binding,
    ) -> Result<(&'static str, ChannelBinding), ConnError> {
        let offers = |name: &str| offered.iter().any(|offered| offered == name);
        let end_point = match &self.stream {
            Stream::Tls(stream) => super::tls::end_point(stream.ssl()),
            Stream::Tcp(_) | Stream::Unix(_) => None,
        };
        let encrypted = matches!(self.stream, Stream::Tls(_));
        match end_point.filter(|_| wish != Binding::Disable) {
            Some(end_point) if offers(SCRAM_SHA_256_PLUS) => {
                Ok((SCRAM_SHA_256_PLUS, ChannelBinding::tls_server_end_point(end_point)))
            }
            _ if wish == Binding::Require => {
                Err(ConnError::Auth(format!("{} offers no channel binding", self.place)))
            }
            _ if !offers(SCRAM_SHA_256) => {
                Err(ConnError::Auth(format!("{} offers no SCRAM-SHA-256", self.place)))
            }
            // "We could have, and you didn't offer it": so that nobody in between can hide the offer.
            Some(_) if encrypted => Ok((SCRAM_SHA_256, ChannelBinding::unrequested())),
            _ => Ok((SCRAM_SHA_256, ChannelBinding::unsupported())),
        }
    }

    fn send(&mut self, mut bytes: &[u8], deadline: Deadline) -> Result<(), ConnError> {
        while !bytes.is_empty() {
            let sent = self.stream.limit(deadline).and_then(|()| self.stream.write(bytes));
            match sent {
                Ok(count) if count > 0 => bytes = bytes.get(count..).unwrap_or_default(),
                Ok(_) => return Err(ConnError::Lost(format!("{} hung up", self.place))),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(classify(&error, &self.place)),
            }
        }
        Ok(())
    }

    fn receive(&mut self, deadline: Deadline) -> Result<Message, ConnError> {
        let mut chunk = [0; 16 * 1024];
        loop {
            let decoded = decode(&self.inbox).map_err(|error| self.nonsense(&error.to_string()))?;
            if let Some((message, length)) = decoded {
                self.inbox.drain(..length.min(self.inbox.len()));
                return Ok(message);
            }
            let got = self.stream.limit(deadline).and_then(|()| self.stream.read(&mut chunk));
            match got {
                Ok(0) => return Err(ConnError::Lost(format!("{} hung up", self.place))),
                Ok(count) => self.inbox.extend_from_slice(chunk.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(classify(&error, &self.place)),
            }
        }
    }

    fn nonsense(&self, what: &str) -> ConnError {
        ConnError::Lost(format!("{}: {what}", self.place))
    }
}

/// Whether a password was proved over an encrypted connection; [`WalSender::mechanism`] binds it to that.
const fn bound(scram: bool, stream: &Stream) -> bool {
    scram && matches!(stream, Stream::Tls(_))
}

fn startup(settings: &ConnSettings) -> Vec<u8> {
    let mut body = PROTOCOL.to_be_bytes().to_vec();
    // "true" is physical replication; the database is then only for the password file.
    for text in
        ["user", &settings.user, "replication", "true", "application_name", &settings.application_name]
    {
        body.extend(text.bytes().filter(|byte| *byte != 0));
        body.push(0);
    }
    body.push(0);
    framed(None, &body)
}

fn framed(tag: Option<u8>, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len().saturating_add(4)).unwrap_or(u32::MAX);
    tag.into_iter().chain(length.to_be_bytes()).chain(body.iter().copied()).collect()
}

/// The iteration count of a SCRAM server-first-message (RFC 5802 §5.1, attribute "i").
fn rounds(data: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(data).ok()?;
    text.split(',').find_map(|part| part.strip_prefix("i=")?.parse().ok())
}

fn refusal(state: String, message: String) -> ConnError {
    match state.as_str() {
        "57P03" => ConnError::StartingUp(message),
        "57P01" | "57P02" | "57P05" => ConnError::Lost(message),
        "53300" => ConnError::TooMany(message),
        "3D000" => ConnError::NotFound(message),
        code if code.starts_with("28") || code == "42501" => ConnError::Auth(message),
        _ => ConnError::Other(state, message),
    }
}

fn classify(error: &io::Error, place: &str) -> ConnError {
    use io::ErrorKind as Io;
    match error.kind() {
        Io::ConnectionRefused | Io::NotFound => ConnError::Refused(place.to_owned()),
        Io::TimedOut | Io::WouldBlock => ConnError::Timeout(place.to_owned()),
        Io::HostUnreachable | Io::NetworkUnreachable | Io::AddrNotAvailable => {
            ConnError::NoRoute(place.to_owned(), crate::error::plain(error.to_string()))
        }
        Io::PermissionDenied => ConnError::Auth(format!("{place}: {error}")),
        _ => ConnError::Lost(crate::error::plain(format!("{place}: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        framed(Some(tag), body)
    }

    #[test]
    fn a_row_s_octets_are_taken_as_they_are() {
        let body = [&[0, 2, 0, 0, 0, 3][..], b"a\xFF\0", &[0xFF; 4]].concat();
        let bytes = message(b'D', &body);
        let row = Message::Row(vec![Some(b"a\xFF\0".to_vec()), None]);
        assert_eq!(decode(&bytes), Ok(Some((row, bytes.len()))));
        assert_eq!(decode(&bytes[..bytes.len() - 1]), Ok(None));
    }

    #[test]
    fn a_refusal_has_its_state_and_its_message() {
        let bytes = message(b'E', b"SERROR\0C58P01\0Mno such file\0\0");
        let failed = Message::Failed { state: "58P01".to_owned(), message: "no such file".to_owned() };
        assert_eq!(decode(&bytes), Ok(Some((failed, bytes.len()))));
    }

    #[test]
    fn what_speaks_another_protocol_is_told_so() {
        assert!(decode(b"HTTP/1.1 400 Bad Request").is_err());
        assert!(decode(b"SSH-2.0-OpenSSH_9.2").is_err());
        assert!(decode(&[b'D', 0, 0, 0, 3]).is_err());
    }

    #[test]
    fn a_listener_that_says_nothing_meets_the_deadline() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap();
        let settings = ConnSettings::new(Host::Tcp(address.ip(), address.port()), "x", "test");
        let error = WalSender::connect(&settings, Deadline::after(Duration::from_millis(50))).unwrap_err();
        assert_eq!(error, ConnError::Timeout(address.to_string()));
    }

    #[test]
    fn a_server_that_asks_for_endless_hashing_is_left() {
        assert_eq!(rounds(b"r=abc,s=xyz,i=4096"), Some(4096));
        assert_eq!(rounds(b"r=abc,s=xyz"), None);
    }

    proptest! {
        #[test]
        fn no_octets_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            drop(decode(&bytes));
        }

        #[test]
        fn no_body_makes_the_decoder_panic(
            tag in prop::sample::select(b"RDEZSKNTCAI".to_vec()),
            body in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            if let Ok(Some((_, length))) = decode(&message(tag, &body)) {
                prop_assert_eq!(length, body.len() + 5);
            }
        }
    }
}
