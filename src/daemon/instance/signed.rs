//! The signatures of its adverts: made, and demanded of others.

use super::Instance;
use crate::host::clock;
use crate::vrrp::checksum::ChecksumForm;
use crate::vrrp::signature::{Origin, TRAILER};
use crate::vrrp::types::Version;
use crate::vrrp::wire::{self, Advert, Discard, RxPacket};

impl Instance {
    /// Signs an advert; `None` where nothing is signed.
    pub(super) fn sign(&mut self, advert: &Advert) -> Option<[u8; TRAILER]> {
        let signing = self.spec.signing.as_ref()?;
        let source = self.spec.router.source;
        let origin = Origin { version: advert.version, vrid: advert.vrid, source };
        // The checksum isn't signed, so neither its form nor the destination matters.
        let message = advert.emit(ChecksumForm::MessageOnly, source, source);
        self.signer.sign(clock::wall(), signing, origin, &message)
    }

    /// Checks the signature of a packet that is sound otherwise.
    pub(super) fn verify(&mut self, packet: &RxPacket<'_>) -> Result<(), Discard> {
        let Some(signing) = &self.spec.signing else { return Ok(()) };
        let RxPacket { source, payload, .. } = *packet;
        let origin = Origin { version: Version::V3, vrid: self.spec.router.vrid, source };
        let (message, trailer) = wire::split(payload, source.is_ipv4()).ok_or(Discard::Length)?;
        self.guard.check(clock::wall(), signing, origin, message, trailer)
    }
}
