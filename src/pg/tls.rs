//! TLS to a server by OpenSSL, with libpq's rules: which files are read, who is trusted, which names match.
//!
//! Nothing here runs for a Unix socket or for sslmode=disable, so that such a connection pays nothing for OpenSSL.
//! The stream is our own thin layer over tokio-openssl: `SslConnector`, which the ready-made adapter wants, always
//! loads the system's authorities (about 30 ms, and it would trust them beside the file that was named).

use crate::settings::libpq::{RootCertificates, SslMode, Tls, TlsVersion};
use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{
    Ssl, SslContext, SslContextBuilder, SslFiletype, SslMethod, SslRef, SslVerifyMode, SslVersion,
};
use openssl::x509::store::{X509Lookup, X509StoreBuilderRef};
use openssl::x509::verify::X509VerifyFlags;
use openssl::x509::{X509Ref, X509VerifyResult};
use postgres::Socket;
use postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect};
use std::fs::File;
use std::future::Future;
use std::io::Read as _;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_openssl::SslStream;

/// What is known of an encrypted connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFacts {
    /// For example `TLSv1.3`.
    pub protocol: String,
    /// When the server's certificate expires, in seconds since 1970.
    pub peer_certificate_not_after: Option<i64>,
}

/// Why there is no encrypted connection, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct TlsError(String);

impl TlsError {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl From<ErrorStack> for TlsError {
    fn from(stack: ErrorStack) -> Self {
        Self(said_by_openssl(&stack))
    }
}

fn said_by_openssl(stack: &ErrorStack) -> String {
    let reasons: Vec<&str> = stack.errors().iter().filter_map(openssl::error::Error::reason).collect();
    if reasons.is_empty() { "OpenSSL gives no reason".to_owned() } else { reasons.join(", ") }
}

/// Makes the encrypted connections of one attempt, and remembers what it saw.
#[derive(Clone)]
pub(super) struct Connector {
    context: SslContext,
    /// The host that the certificate must be made out to.
    expected: Option<String>,
    server_name: Option<String>,
    seen: Arc<Mutex<Seen>>,
}

/// What became of an attempt.
#[derive(Debug, Clone, Default)]
struct Seen {
    tried: bool,
    facts: Option<TlsFacts>,
}

impl Connector {
    /// Reads the files and prepares a connection to `host`, the name that certificates are checked by.
    pub(super) fn new(tls: &Tls, home: Option<&Path>, host: Option<&str>) -> Result<Self, TlsError> {
        let mut context = SslContextBuilder::new(SslMethod::tls_client())?;
        context.set_min_proto_version(Some(version(tls.oldest)))?;
        context.set_max_proto_version(tls.newest.map(version))?;
        if tls.direct {
            context.set_alpn_protos(b"\x0apostgresql")?;
        }
        let usual = |name: &str| home.map(|home| home.join(".postgresql").join(name));
        let verified = roots(&mut context, tls, &usual)?;
        context.set_verify(if verified { SslVerifyMode::PEER } else { SslVerifyMode::NONE });
        if verified {
            revocations(context.cert_store_mut(), tls, &usual)?;
        }
        if tls.send_certificate {
            client_certificate(&mut context, tls, &usual)?;
        }
        let expected = match (tls.mode, host) {
            (SslMode::VerifyFull, Some(host)) => Some(host.to_owned()),
            (SslMode::VerifyFull, None) => {
                return Err(TlsError::new(
                    "sslmode=verify-full needs a host name: hostaddr alone names nobody",
                ));
            }
            _ => None,
        };
        let server_name = host.filter(|host| tls.server_name && host.parse::<IpAddr>().is_err());
        Ok(Self {
            context: context.build(),
            expected,
            server_name: server_name.map(str::to_owned),
            seen: Arc::default(),
        })
    }

    /// Returns whether a handshake was begun.
    pub(super) fn tried(&self) -> bool {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).tried
    }

    /// Returns what is known of the connection; `None` when it isn't encrypted.
    pub(super) fn facts(&self) -> Option<TlsFacts> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).facts.clone()
    }

    /// Shakes hands over a stream whose reads and writes wait by themselves.
    pub(super) fn handshake_over<S: std::io::Read + std::io::Write>(
        &self,
        stream: S,
    ) -> Result<openssl::ssl::SslStream<S>, TlsError> {
        let mut ssl = Ssl::new(&self.context)?;
        if let Some(name) = &self.server_name {
            ssl.set_hostname(name)?;
        }
        let mut stream = openssl::ssl::SslStream::new(ssl, stream)?;
        if let Err(error) = stream.connect() {
            return Err(failed(&error, stream.ssl().verify_result()));
        }
        self.accept(stream.ssl().peer_certificate().as_deref())?;
        Ok(stream)
    }

    /// Refuses a certificate that isn't made out to the expected host.
    fn accept(&self, certificate: Option<&X509Ref>) -> Result<(), TlsError> {
        let Some(host) = &self.expected else { return Ok(()) };
        let names = certificate.map(Names::of);
        names.ok_or_else(|| TlsError::new("the server has no certificate"))?.check(host)
    }

    async fn handshake(self, stream: Socket) -> Result<Stream, TlsError> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).tried = true;
        let mut ssl = Ssl::new(&self.context)?;
        if let Some(name) = &self.server_name {
            ssl.set_hostname(name)?;
        }
        let mut stream = SslStream::new(ssl, stream)?;
        if let Err(error) = Pin::new(&mut stream).connect().await {
            return Err(failed(&error, stream.ssl().verify_result()));
        }
        let certificate = stream.ssl().peer_certificate();
        self.accept(certificate.as_deref())?;
        let facts = TlsFacts {
            protocol: stream.ssl().version_str().to_owned(),
            peer_certificate_not_after: certificate.and_then(|one| unix_seconds(one.not_after())),
        };
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).facts = Some(facts);
        Ok(Stream(stream))
    }
}

fn failed(error: &openssl::ssl::Error, verdict: X509VerifyResult) -> TlsError {
    if verdict != X509VerifyResult::OK && error.ssl_error().is_some() {
        return TlsError::new(format!("the server's certificate isn't accepted: {}", verdict.error_string()));
    }
    match (error.io_error(), error.ssl_error()) {
        (Some(io), _) => TlsError::new(format!("the TLS handshake failed: {io}")),
        (_, Some(stack)) => TlsError::new(format!("the TLS handshake failed: {}", said_by_openssl(stack))),
        _ => TlsError::new("the TLS handshake failed: the server closed the connection"),
    }
}

const fn version(version: TlsVersion) -> SslVersion {
    match version {
        TlsVersion::Tls1 => SslVersion::TLS1,
        TlsVersion::Tls1_1 => SslVersion::TLS1_1,
        TlsVersion::Tls1_2 => SslVersion::TLS1_2,
        TlsVersion::Tls1_3 => SslVersion::TLS1_3,
    }
}

/// Loads who is trusted; false when there is nobody and nobody is needed.
///
/// As in libpq a root file that is there is used in every mode, not only where it must be there.
fn roots(
    context: &mut SslContextBuilder,
    tls: &Tls,
    usual: &dyn Fn(&str) -> Option<PathBuf>,
) -> Result<bool, TlsError> {
    let file = match &tls.roots {
        RootCertificates::System => {
            context.set_default_verify_paths()?;
            return Ok(true);
        }
        RootCertificates::File(file) => Some(file.clone()),
        RootCertificates::Usual => usual("root.crt"),
    };
    if let Some(file) = file.as_deref().filter(|file| file.exists()) {
        context.set_ca_file(file).map_err(|stack| {
            TlsError::new(format!(
                "can't read the root certificates {}: {}",
                file.display(),
                said_by_openssl(&stack)
            ))
        })?;
        return Ok(true);
    }
    if tls.mode >= SslMode::VerifyCa {
        let place =
            file.map_or_else(|| "~/.postgresql/root.crt".to_owned(), |file| file.display().to_string());
        return Err(TlsError::new(format!(
            "the root certificates {place} don't exist: name them with sslrootcert, \
             or trust the system's with sslrootcert=system"
        )));
    }
    Ok(false)
}

fn revocations(
    store: &mut X509StoreBuilderRef,
    tls: &Tls,
    usual: &dyn Fn(&str) -> Option<PathBuf>,
) -> Result<(), TlsError> {
    // The usual file only counts when nothing else is said, and is allowed to be absent; so is a named one.
    let named = tls.revoked.is_some() || tls.revoked_directory.is_some();
    let file = if named { tls.revoked.clone() } else { usual("root.crl") };
    let mut used = false;
    if let Some(file) = file.filter(|file| file.exists()) {
        let path = file.to_str().ok_or_else(|| TlsError::new("the path of sslcrl isn't UTF-8"))?;
        store.add_lookup(X509Lookup::file())?.load_crl_file(path, SslFiletype::PEM)?;
        used = true;
    }
    if let Some(directory) = &tls.revoked_directory {
        let path = directory.to_str().ok_or_else(|| TlsError::new("the path of sslcrldir isn't UTF-8"))?;
        store.add_lookup(X509Lookup::hash_dir())?.add_dir(path, SslFiletype::PEM)?;
        used = true;
    }
    if used {
        store.set_flags(X509VerifyFlags::CRL_CHECK | X509VerifyFlags::CRL_CHECK_ALL)?;
    }
    Ok(())
}

fn client_certificate(
    context: &mut SslContextBuilder,
    tls: &Tls,
    usual: &dyn Fn(&str) -> Option<PathBuf>,
) -> Result<(), TlsError> {
    // Without the file none is sent, even when one was named: so it is in libpq.
    let certificate = tls.certificate.clone().or_else(|| usual("postgresql.crt"));
    let Some(certificate) = certificate.filter(|file| file.exists()) else { return Ok(()) };
    context.set_certificate_chain_file(&certificate).map_err(|stack| {
        let why = said_by_openssl(&stack);
        TlsError::new(format!("can't read the certificate {}: {why}", certificate.display()))
    })?;
    let file = tls.key.clone().or_else(|| usual("postgresql.key"));
    let Some(file) = file else { return Err(TlsError::new("there is a certificate but no private key")) };
    let key = private_key(&file)?;
    context.set_private_key(&key)?;
    context
        .check_private_key()
        .map_err(|_| TlsError::new(format!("the private key {} doesn't fit the certificate", file.display())))
}

fn private_key(path: &Path) -> Result<PKey<Private>, TlsError> {
    let wrong = |why: &dyn std::fmt::Display| TlsError::new(format!("private key {}: {why}", path.display()));
    let mut file = File::open(path).map_err(|error| wrong(&error))?;
    // Asked of the open file, so that it can't be another one by the time it is read.
    let about = file.metadata().map_err(|error| wrong(&error))?;
    if !about.is_file() {
        return Err(wrong(&"not a plain file"));
    }
    // Root may hand a key to a group; nobody else may share theirs.
    let forbidden = if about.uid() == 0 { 0o037 } else { 0o077 };
    if about.mode() & forbidden != 0 {
        return Err(wrong(
            &"group or others may use it; permissions should be 0600 or less, or 0640 or less when root owns it",
        ));
    }
    let mut pem = Vec::new();
    file.read_to_end(&mut pem).map_err(|error| wrong(&error))?;
    let mut asked = false;
    // Without a callback OpenSSL would ask at the terminal.
    let key = PKey::private_key_from_pem_callback(&pem, |_| {
        asked = true;
        Ok(0)
    });
    match key {
        Ok(key) => Ok(key),
        Err(_) if asked => Err(wrong(&"it is protected by a password, which pgbaton doesn't support")),
        Err(stack) => Err(wrong(&said_by_openssl(&stack))),
    }
}

fn unix_seconds(time: &Asn1TimeRef) -> Option<i64> {
    let since = Asn1Time::from_unix(0).ok()?.diff(time).ok()?;
    Some(i64::from(since.days) * 86_400 + i64::from(since.secs))
}

/// The names that a certificate is made out to.
#[derive(Debug, Default)]
struct Names {
    dns: Vec<String>,
    addresses: Vec<Vec<u8>>,
    common: Option<String>,
}

impl Names {
    fn of(certificate: &X509Ref) -> Self {
        let mut names = Self::default();
        for name in certificate.subject_alt_names().iter().flatten() {
            names.dns.extend(name.dnsname().map(str::to_owned));
            names.addresses.extend(name.ipaddress().map(<[u8]>::to_vec));
        }
        let common = certificate.subject_name().entries_by_nid(Nid::COMMONNAME).next();
        names.common = common.and_then(|entry| entry.data().to_string().ok());
        names
    }

    /// Checks a host with libpq's rule: a name among the alternative names of the host's own kind, and the common
    /// name only when there are none of that kind.
    fn check(&self, host: &str) -> Result<(), TlsError> {
        let address = host.parse::<IpAddr>().ok();
        let bytes = address.map(|address| match address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        });
        let of_its_kind = if address.is_some() { !self.addresses.is_empty() } else { !self.dns.is_empty() };
        let common = self.common.iter().filter(|_| !of_its_kind);
        let fits = bytes.is_some_and(|bytes| self.addresses.contains(&bytes))
            || self.dns.iter().chain(common).any(|name| matches(name, host));
        if fits {
            return Ok(());
        }
        let shown = self.dns.first().or(self.common.as_ref()).map_or("nobody", String::as_str);
        Err(TlsError::new(format!(
            "the server's certificate is for \"{}\", not for \"{host}\"",
            shown.escape_debug()
        )))
    }
}

/// Compares a name of a certificate: without case, and `*.` stands for exactly one label.
fn matches(name: &str, host: &str) -> bool {
    if name.is_empty() || name.contains('\0') {
        return false;
    }
    if name.eq_ignore_ascii_case(host) {
        return true;
    }
    let Some((_, parent)) = host.split_once('.') else { return false };
    name.strip_prefix("*.").is_some_and(|rest| !rest.is_empty() && rest.eq_ignore_ascii_case(parent))
        && host.parse::<IpAddr>().is_err()
}

impl MakeTlsConnect<Socket> for Connector {
    type Stream = Stream;
    type TlsConnect = Self;
    type Error = TlsError;

    fn make_tls_connect(&mut self, _domain: &str) -> Result<Self, TlsError> {
        Ok(self.clone())
    }
}

impl TlsConnect<Socket> for Connector {
    type Stream = Stream;
    type Error = TlsError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, TlsError>> + Send>>;

    fn connect(self, stream: Socket) -> Self::Future {
        Box::pin(self.handshake(stream))
    }
}

/// An encrypted connection.
pub(super) struct Stream(SslStream<Socket>);

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

impl postgres::tls::TlsStream for Stream {
    fn channel_binding(&self) -> ChannelBinding {
        end_point(self.0.ssl()).map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

/// Returns the digest of the server's certificate that RFC 5929 §4 binds a password exchange to.
pub(super) fn end_point(ssl: &SslRef) -> Option<Vec<u8>> {
    let certificate = ssl.peer_certificate()?;
    let signature = certificate.signature_algorithm().object().nid().signature_algorithms()?;
    let digest = match signature.digest {
        Nid::MD5 | Nid::SHA1 => MessageDigest::sha256(),
        other => MessageDigest::from_nid(other)?,
    };
    certificate.digest(digest).ok().map(|digest| digest.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(dns: &[&str], addresses: &[&str], common: Option<&str>) -> Names {
        let bytes = |text: &&str| match text.parse::<IpAddr>().unwrap() {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        Names {
            dns: dns.iter().map(|name| (*name).to_owned()).collect(),
            addresses: addresses.iter().map(bytes).collect(),
            common: common.map(str::to_owned),
        }
    }

    #[test]
    fn a_name_is_compared_by_libpq_s_rule() {
        for (names, host, fits) in [
            (names(&["db.example"], &[], None), "DB.example", true),
            (names(&["*.example"], &[], None), "db.example", true),
            (names(&["*.example"], &[], None), "a.db.example", false),
            (names(&["*.example"], &[], None), "example", false),
            (names(&["d*.example"], &[], None), "db.example", false),
            (names(&["*"], &[], None), "db", false),
            (names(&["other"], &[], Some("db")), "db", false),
            (names(&[], &["192.0.2.1"], Some("db")), "db", true),
            (names(&[], &["192.0.2.1"], None), "192.0.2.1", true),
            (names(&[], &["2001:db8::1"], None), "2001:db8:0::1", true),
            (names(&["db"], &[], Some("192.0.2.1")), "192.0.2.1", true),
            (names(&[], &["192.0.2.2"], Some("192.0.2.1")), "192.0.2.1", false),
            (names(&["*.0.2.1"], &[], None), "192.0.2.1", false),
            (names(&["db\0.evil"], &[], None), "db", false),
        ] {
            assert_eq!(names.check(host).is_ok(), fits, "{names:?} {host}");
        }
    }

    proptest! {
        #[test]
        fn no_names_make_the_comparison_panic(name in "[*.a-c\u{e9}\0]{0,8}", host in "[.a-c\u{e9}0-9]{0,8}") {
            let _ = matches(&name, &host);
        }
    }
}
