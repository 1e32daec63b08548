//! The Internet checksum (RFC 1071), in the two forms that VRRP routers use.

use serde::Serialize;
use std::net::IpAddr;

/// What the checksum of an IPv4 packet of version 3 covers.
///
/// RFC 9568 §5.2.8 has the message alone; RFC 5798 was read as "with a pseudo-header", and keepalived sends
/// that by default. We can send either and understand both. IPv6 always has the pseudo-header; version 2 never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChecksumForm {
    /// Addresses, protocol and length before the message: keepalived, FRR.
    #[default]
    PseudoHeader,
    /// The message alone: RFC 9568, Cisco, Juniper.
    MessageOnly,
}

/// A one's complement sum in the making.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sum(u64);

impl Sum {
    /// Returns the sum with these octets added, as big-endian pairs; only the last run that is added may have an odd length.
    pub fn with(self, octets: &[u8]) -> Self {
        let pairs = octets.chunks(2).map(|pair| match *pair {
            [high, low] => u64::from(u16::from_be_bytes([high, low])),
            [high] => u64::from(high) << 8,
            _ => 0,
        });
        Self(pairs.fold(self.0, u64::wrapping_add))
    }

    /// Returns the complement of the sum: the checksum field to send, or 0 over a message that came in whole.
    pub fn finish(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !u16::try_from(sum).unwrap_or(0)
    }
}

/// Returns the checksum of a VRRP message between these addresses.
///
/// The pseudo-header needs both addresses in one family; if they aren't, it is left out.
pub fn checksum(form: ChecksumForm, source: IpAddr, destination: IpAddr, message: &[u8]) -> u16 {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    let sum = match (form, source, destination) {
        (ChecksumForm::PseudoHeader, IpAddr::V4(source), IpAddr::V4(destination)) => Sum::default()
            .with(&source.octets())
            .with(&destination.octets())
            .with(&[0, PROTOCOL])
            .with(&length),
        (ChecksumForm::PseudoHeader, IpAddr::V6(source), IpAddr::V6(destination)) => Sum::default()
            .with(&source.octets())
            .with(&destination.octets())
            .with(&length)
            .with(&[0, PROTOCOL]),
        _ => Sum::default(),
    };
    sum.with(message).finish()
}

/// The IP protocol number of VRRP.
pub const PROTOCOL: u8 = 112;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071_comes_out() {
        let sum = Sum::default().with(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.finish(), !0xddf2);
    }

    #[test]
    fn an_odd_octet_is_padded_with_zero() {
        assert_eq!(Sum::default().with(&[1, 2, 3]).finish(), Sum::default().with(&[1, 2, 3, 0]).finish());
    }

    #[test]
    fn a_message_with_its_checksum_sums_to_zero() {
        let message = [0x31, 0x33, 0x96, 0x01, 0x00, 0x64, 0x42, 0xd9, 0x0a, 0x4d, 0x00, 0x64];
        let source = "10.77.0.1".parse().unwrap();
        let group = "224.0.0.18".parse().unwrap();
        assert_eq!(checksum(ChecksumForm::PseudoHeader, source, group, &message), 0);
        assert_ne!(checksum(ChecksumForm::MessageOnly, source, group, &message), 0);
    }
}
