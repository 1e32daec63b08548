//! Signed adverts: a trailer that proves who sent one, and when (keepalived's `auth_hmac`, 2.4.2 and later;
//! draft-cassen-vrrp-auth-hmac).
//!
//! ```text
//!  0        1        2        3
//! +--------+--------+--------+--------+
//! |   1    | key id |        0        |
//! +--------+--------+--------+--------+
//! | seconds since 1970                |
//! +-----------------+-----------------+
//! | 1/65536 seconds |     counter     |
//! +-----------------+-----------------+
//! | 16 octets of an HMAC-SHA-256      |
//! +-----------------------------------+
//! ```
//!
//! It stands behind the message, whose length knows nothing of it: a router that doesn't sign still understands. What
//! is signed: family, version, identifier and source; the message with its checksum read as zero; the trailer with
//! its HMAC read as zero. Not the destination, so that one signature does for all unicast peers.
//!
//! Pure: the wall clock comes in. An advert that was recorded can't be played back: each sender's sequence only
//! grows, and (unless that is switched off) its time must be near ours.

use super::types::{Version, Vrid};
use super::wire::Discard;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// The length of the trailer.
pub const TRAILER: usize = 28;
/// The octets of the trailer before its HMAC.
const SIGNED: usize = 12;
const SHA256: u8 = 1;
const CHECKSUM: std::ops::Range<usize> = 6..8;
/// More senders of one virtual router than this exist only in an attack.
const SENDERS: usize = 8;

/// A secret that routers share.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key {
    id: u8,
    secret: Vec<u8>,
}

impl Key {
    /// Creates a key of 32 to 64 octets; `None` if it has fewer or more.
    pub fn new(id: u8, secret: Vec<u8>) -> Option<Self> {
        (32..=64).contains(&secret.len()).then_some(Self { id, secret })
    }
}

/// Without the secret.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {}", self.id)
    }
}

/// What is demanded of adverts, and done to ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Ours are signed, and others must be.
    Enforce,
    /// Ours are signed, others may be: while routers learn to sign.
    Permissive,
    /// Ours aren't signed, others may be: while routers learn the key.
    ReceiveOnly,
}

/// How adverts are signed and checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Signing {
    /// The keys that are taken; the first one signs.
    pub keys: Vec<Key>,
    /// What is demanded.
    pub mode: Mode,
    /// How far a sender's clock may be from ours; `None` doesn't look.
    pub window: Option<Duration>,
}

/// What is signed besides the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The version of the packet.
    pub version: Version,
    /// The virtual router.
    pub vrid: Vrid,
    /// Where it comes from.
    pub source: IpAddr,
}

impl Origin {
    fn octets(self) -> [u8; 20] {
        let mut octets = [0; 20];
        let family = if self.source.is_ipv4() { 4 } else { 6 };
        let address = match self.source {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        let head = [family, self.version.number(), self.vrid.get(), 0];
        for (slot, octet) in octets.iter_mut().zip(head.into_iter().chain(address)) {
            *slot = octet;
        }
        octets
    }
}

/// The HMAC in the making, over everything that is signed.
fn mac(key: &Key, origin: Origin, message: &[u8], trailer: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.secret).ok()?;
    mac.update(&origin.octets());
    mac.update(message.get(..CHECKSUM.start)?);
    mac.update(&[0; 2]);
    mac.update(message.get(CHECKSUM.end..)?);
    mac.update(trailer.get(..SIGNED)?);
    mac.update(&[0; TRAILER - SIGNED]);
    Some(mac)
}

/// What a sender remembers: the sequence of its last advert.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Signer {
    last: Option<u64>,
}

impl Signer {
    /// Returns the trailer of a message, whose checksum may be anything; `None` where nothing is signed.
    pub fn sign(
        &mut self,
        wall: Duration,
        signing: &Signing,
        origin: Origin,
        message: &[u8],
    ) -> Option<[u8; TRAILER]> {
        let key = signing.keys.first().filter(|_| signing.mode != Mode::ReceiveOnly)?;
        let mut trailer = [0; TRAILER];
        let sequence = self.next(wall, signing.window).to_be_bytes();
        for (slot, octet) in trailer.iter_mut().zip([SHA256, key.id, 0, 0].into_iter().chain(sequence)) {
            *slot = octet;
        }
        let digest = mac(key, origin, message, &trailer)?.finalize().into_bytes();
        for (slot, octet) in trailer.iter_mut().skip(SIGNED).zip(digest) {
            *slot = octet;
        }
        Some(trailer)
    }

    /// Returns the clock's reading, or one more than the last where the clock hasn't moved on. After the clock was
    /// set back by more than others tolerate it begins anew: they would refuse everything else.
    fn next(&mut self, wall: Duration, window: Option<Duration>) -> u64 {
        let clock = sequence(wall);
        let stranded = |last| window.is_some_and(|window| apart(last, clock) > seconds(window));
        let next = match self.last {
            Some(last) if !after(clock, last) && !stranded(last) => last.wrapping_add(1),
            _ => clock,
        };
        self.last = Some(next);
        next
    }
}

/// What a receiver remembers: the last sequence of each sender.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guard {
    /// The one heard last comes last.
    senders: Vec<(IpAddr, u64)>,
}

impl Guard {
    /// Checks what stands behind a message.
    ///
    /// The time is looked at before the HMAC is computed, so that recorded adverts cost nothing; a sender is
    /// remembered only after it, so that forged ones can't.
    pub fn check(
        &mut self,
        wall: Duration,
        signing: &Signing,
        origin: Origin,
        message: &[u8],
        trailer: &[u8],
    ) -> Result<(), Discard> {
        if trailer.len() < TRAILER {
            let needed = signing.mode == Mode::Enforce;
            return if needed { Err(Discard::Unsigned) } else { Ok(()) };
        }
        let &[SHA256, id, 0, 0, ref rest @ ..] = trailer else { return Err(Discard::Signature) };
        let sequence = rest.first_chunk().copied().map(u64::from_be_bytes).ok_or(Discard::Signature)?;
        let clock = self::sequence(wall);
        let far = |mark: u64| signing.window.is_some_and(|window| apart(mark, clock).abs() > seconds(window));
        if far(sequence) {
            return Err(Discard::Replayed);
        }
        let key = signing.keys.iter().find(|key| key.id == id).ok_or(Discard::Signature)?;
        let tag = trailer.get(SIGNED..TRAILER).ok_or(Discard::Signature)?;
        mac(key, origin, message, trailer)
            .and_then(|mac| mac.verify_truncated_left(tag).ok())
            .ok_or(Discard::Signature)?;
        let known = self.senders.iter().position(|(sender, _)| *sender == origin.source);
        if let Some(known) = known {
            let (_, last) = self.senders.remove(known);
            // One from before a clock was set orders nothing any more.
            if !far(last) && !after(sequence, last) {
                self.senders.push((origin.source, last));
                return Err(Discard::Replayed);
            }
        }
        if self.senders.len() >= SENDERS {
            self.senders.remove(0);
        }
        self.senders.push((origin.source, sequence));
        Ok(())
    }
}

/// Packs a reading of the wall clock: seconds, a fraction of 16 bits, and room for a counter.
fn sequence(wall: Duration) -> u64 {
    let seconds = wall.as_secs() & u64::from(u32::MAX);
    let fraction = (u64::from(wall.subsec_nanos()) << 16) / 1_000_000_000;
    seconds << 32 | fraction << 16
}

/// Returns whether one sequence comes after another; they may have wrapped (RFC 1982).
const fn after(one: u64, other: u64) -> bool {
    one.wrapping_sub(other).cast_signed() > 0
}

/// Returns by how many seconds one sequence is ahead of another.
fn apart(one: u64, other: u64) -> i64 {
    let high = |sequence: u64| u32::try_from(sequence >> 32).unwrap_or(0);
    i64::from(high(one).wrapping_sub(high(other)).cast_signed())
}

fn seconds(window: Duration) -> i64 {
    i64::try_from(window.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The time of the draft's packets.
    const THEN: Duration = Duration::from_millis(0x6800_0000 * 1000 + 500);

    fn octets(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    fn signing() -> Signing {
        let key = Key::new(1, (0..32).collect()).unwrap();
        Signing { keys: vec![key], mode: Mode::Enforce, window: Some(Duration::from_secs(5)) }
    }

    fn origin(source: &str) -> Origin {
        Origin { version: Version::V3, vrid: Vrid::try_from(51).unwrap(), source: source.parse().unwrap() }
    }

    /// The two packets of the draft's appendix, with where they come from.
    fn packets() -> [(Origin, Vec<u8>, Vec<u8>); 2] {
        [
            (
                "198.51.100.10",
                "3133c80100644402c0000264",
                "0101000068000000800000001b84bc4e8e43892dc6d98448f8ee2265",
            ),
            (
                "fe80::10",
                "3133c8010064a2e9fe800000000000000000000000000100",
                "010100006800000080000000c8c56146ebfd66ee10ec4d8186461b78",
            ),
        ]
        .map(|(source, message, trailer)| (origin(source), octets(message), octets(trailer)))
    }

    #[test]
    fn the_packets_of_the_draft_are_made_and_understood_to_the_octet() {
        for (origin, message, trailer) in packets() {
            let made = Signer::default().sign(THEN, &signing(), origin, &message);
            assert_eq!(made.unwrap().as_slice(), trailer);
            assert_eq!(Guard::default().check(THEN, &signing(), origin, &message, &trailer), Ok(()));
        }
    }

    #[test]
    fn whatever_is_changed_but_the_checksum_is_noticed() {
        for (origin, message, trailer) in packets() {
            for at in 0..message.len() + trailer.len() {
                let mut whole = [message.clone(), trailer.clone()].concat();
                whole[at] ^= 1;
                let (message, trailer) = whole.split_at(message.len());
                let verdict = Guard::default().check(THEN, &signing(), origin, message, trailer);
                assert_eq!(verdict.is_ok(), CHECKSUM.contains(&at), "{at}: {verdict:?}");
            }
            let another = Origin { vrid: Vrid::try_from(52).unwrap(), ..origin };
            let elsewhere = Origin { source: "198.51.100.11".parse().unwrap(), ..origin };
            for wrong in [another, elsewhere] {
                let verdict = Guard::default().check(THEN, &signing(), wrong, &message, &trailer);
                assert_eq!(verdict, Err(Discard::Signature));
            }
        }
    }

    #[test]
    fn an_advert_that_was_recorded_is_worth_nothing() {
        let [(origin, message, trailer), _] = packets();
        let mut guard = Guard::default();
        let check = |guard: &mut Guard, wall: Duration, window: Option<Duration>| {
            guard.check(wall, &Signing { window, ..signing() }, origin, &message, &trailer)
        };
        let window = signing().window;
        assert_eq!(check(&mut guard, THEN, window), Ok(()));
        assert_eq!(check(&mut guard, THEN, window), Err(Discard::Replayed), "at once");
        for wall in [THEN + Duration::from_secs(6), THEN.saturating_sub(Duration::from_secs(7))] {
            assert_eq!(
                check(&mut Guard::default(), wall, window),
                Err(Discard::Replayed),
                "later, or earlier"
            );
        }
        assert_eq!(check(&mut guard, THEN + Duration::from_secs(6000), None), Err(Discard::Replayed));
        assert_eq!(check(&mut Guard::default(), Duration::ZERO, None), Ok(()), "whose clock stands");
    }

    #[test]
    fn who_must_sign_and_who_may() {
        let [(origin, message, trailer), _] = packets();
        for (mode, signs, takes) in
            [(Mode::Enforce, true, false), (Mode::Permissive, true, true), (Mode::ReceiveOnly, false, true)]
        {
            let signing = Signing { mode, ..signing() };
            assert_eq!(Signer::default().sign(THEN, &signing, origin, &message).is_some(), signs);
            let mut guard = Guard::default();
            assert_eq!(guard.check(THEN, &signing, origin, &message, &[]).is_ok(), takes, "{mode:?}");
            assert_eq!(guard.check(THEN, &signing, origin, &message, &trailer), Ok(()));
            let wrong = [&trailer[..27], &[0]].concat();
            assert_eq!(guard.check(THEN, &signing, origin, &message, &wrong), Err(Discard::Signature));
        }
    }

    #[test]
    fn a_second_key_is_taken_while_the_first_one_signs() {
        let [(origin, message, trailer), _] = packets();
        let new = Key::new(2, vec![7; 64]).unwrap();
        let both = Signing { keys: vec![new, signing().keys[0].clone()], ..signing() };
        assert_eq!(Guard::default().check(THEN, &both, origin, &message, &trailer), Ok(()));
        let signed = Signer::default().sign(THEN, &both, origin, &message).unwrap();
        assert_eq!(signed[1], 2);
        let old = Guard::default().check(THEN, &signing(), origin, &message, &signed);
        assert_eq!(old, Err(Discard::Signature), "who doesn't know it");
        assert_eq!((Key::new(1, vec![0; 31]), Key::new(1, vec![0; 65])), (None, None));
        assert!(!format!("{both:?}").contains('7'), "no secret in a log");
    }

    #[test]
    fn a_clock_that_is_set_neither_stops_a_sender_nor_lets_old_adverts_in() {
        let [(origin, message, _), _] = packets();
        let (mut signer, mut guard, signing) = (Signer::default(), Guard::default(), signing());
        let hour = Duration::from_secs(3600);
        let mut verdict = |sender: Duration, receiver: Duration| {
            let trailer = signer.sign(sender, &signing, origin, &message).unwrap();
            guard.check(receiver, &signing, origin, &message, &trailer)
        };
        assert_eq!(verdict(THEN + hour, THEN + hour), Ok(()));
        // Back by less than the window: still growing. By an hour, on both: anew.
        assert_eq!(verdict(THEN + hour.saturating_sub(Duration::from_secs(2)), THEN + hour), Ok(()));
        assert_eq!(verdict(THEN, THEN), Ok(()));
        assert_eq!(verdict(THEN, THEN), Ok(()), "the same reading twice");
    }

    proptest! {
            #[test]
            fn any_trailer_is_judged_without_a_panic(message in proptest::collection::vec(any::<u8>(), 0..40), trailer in proptest::collection::vec(any::<u8>(), 0..60)) {
                let refused = Guard::default().check(THEN, &signing(), origin("fe80::10"), &message, &trailer);
                prop_assert!(refused.is_err());
            }

            #[test]
            fn a_sender_always_grows(steps in proptest::collection::vec(-4_i64..4, 1..50)) {
                let (mut signer, mut last, mut wall) = (Signer::default(), 0, THEN);
                for step in steps {
    let by = Duration::from_millis(step.unsigned_abs());
                    wall = if step < 0 { wall.saturating_sub(by) } else { wall + by };
                    let next = signer.next(wall, Some(Duration::from_secs(5)));
                    prop_assert!(after(next, last));
                    last = next;
                }
            }
        }
}
