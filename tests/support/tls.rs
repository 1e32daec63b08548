//! Certificates for tests: an authority, servers and clients, good and bad.

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Name, X509NameRef};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// A certificate and its key.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    certificate: X509,
    key: PKey<Private>,
}

/// What a certificate is made out to.
#[derive(Debug, Default)]
pub(crate) struct Names<'a> {
    pub(crate) common: &'a str,
    pub(crate) dns: &'a [&'a str],
    pub(crate) addresses: &'a [&'a str],
}

impl Identity {
    /// Makes an authority.
    pub(crate) fn authority(name: &str) -> Self {
        Self::make(None, &Names { common: name, ..Names::default() }, (-1, 100))
    }

    /// Issues a certificate that is valid now.
    pub(crate) fn issue(&self, names: &Names<'_>) -> Self {
        Self::make(Some(self), names, (-1, 30))
    }

    /// Issues a certificate that has expired.
    pub(crate) fn issue_expired(&self, names: &Names<'_>) -> Self {
        Self::make(Some(self), names, (-9, -2))
    }

    fn make(by: Option<&Self>, names: &Names<'_>, (from, to): (i64, i64)) -> Self {
        static SERIAL: AtomicU32 = AtomicU32::new(1);
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        let serial = BigNum::from_u32(SERIAL.fetch_add(1, Ordering::Relaxed)).unwrap();
        builder.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
        let mut subject = X509Name::builder().unwrap();
        subject.append_entry_by_nid(Nid::COMMONNAME, names.common).unwrap();
        let subject = subject.build();
        builder.set_subject_name(&subject).unwrap();
        let issuer: &X509NameRef = by.map_or(&subject, |by| by.certificate.subject_name());
        builder.set_issuer_name(issuer).unwrap();
        let now = i64::try_from(pgbaton::host::clock::wall().as_secs()).unwrap();
        let day = |days: i64| Asn1Time::from_unix(now + days * 86_400).unwrap();
        builder.set_not_before(&day(from)).unwrap();
        builder.set_not_after(&day(to)).unwrap();
        builder.set_pubkey(&key).unwrap();
        if by.is_none() {
            builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
        }
        if !names.dns.is_empty() || !names.addresses.is_empty() {
            let mut alternative = SubjectAlternativeName::new();
            for name in names.dns {
                alternative.dns(name);
            }
            for address in names.addresses {
                alternative.ip(address);
            }
            let extension = alternative.build(&builder.x509v3_context(None, None)).unwrap();
            builder.append_extension(extension).unwrap();
        }
        builder.sign(by.map_or(&key, |by| &by.key), MessageDigest::sha256()).unwrap();
        Self { certificate: builder.build(), key }
    }

    /// Writes the certificate.
    pub(crate) fn write_certificate(&self, path: &Path) {
        write(path, &self.certificate.to_pem().unwrap(), 0o644);
    }

    /// Writes the key, as private as a key must be.
    pub(crate) fn write_key(&self, path: &Path) {
        write(path, &self.key.private_key_to_pem_pkcs8().unwrap(), 0o600);
    }

    /// Writes the key under a password.
    pub(crate) fn write_locked_key(&self, path: &Path) {
        let cipher = openssl::symm::Cipher::aes_256_cbc();
        write(path, &self.key.private_key_to_pem_pkcs8_passphrase(cipher, b"secret").unwrap(), 0o600);
    }
}

fn write(path: &Path, bytes: &[u8], mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    // A file that is replaced while a server reads it must never be half a file.
    std::fs::write(path, bytes).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    super::pg::give(path);
}
