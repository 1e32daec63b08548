//! Value types that several rooms share: a moment in time, an address with its prefix, a MAC address.
//!
//! Pure: nothing here reads a clock or opens a socket. Units live in types, so that no room has to guess.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::time::Duration;

/// A point in time: nanoseconds since boot on `CLOCK_BOOTTIME` (which goes on while the machine sleeps).
///
/// The edges read it with `host::clock::now`; tests make their own, so hours pass in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(u64);

impl Moment {
    /// The moment the machine was started, and the zero of virtual time in tests.
    pub const BOOT: Self = Self(0);

    /// Creates a moment from nanoseconds since boot.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Returns nanoseconds since boot.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Returns the time from `earlier` to `self`, or zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    /// Saturates at the end of time (584 years after boot).
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;

    /// Saturates at boot.
    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// An address of an interface: the address and the length of its network prefix, `192.18.12.23/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceAddress {
    address: IpAddr,
    prefix: u8,
}

impl InterfaceAddress {
    /// Creates an interface address; `None` when the prefix is longer than the address.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        (prefix <= longest).then_some(Self { address, prefix })
    }

    /// Returns the address without its prefix length.
    pub const fn address(self) -> IpAddr {
        self.address
    }

    /// Returns the prefix length in bits.
    pub const fn prefix(self) -> u8 {
        self.prefix
    }

    /// Returns whether `other` is in the network of this address.
    pub fn contains(self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(mine), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                u32::from(mine) & mask == u32::from(other) & mask
            }
            (IpAddr::V6(mine), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                u128::from(mine) & mask == u128::from(other) & mask
            }
            _ => false,
        }
    }
}

impl fmt::Display for InterfaceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Why a text isn't an interface address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InterfaceAddressError {
    /// There is no `/`, so the prefix length would be a guess.
    #[error("the prefix length is missing, as in \"192.0.2.10/24\"")]
    NoPrefix,
    /// The part before the `/` isn't an IP address.
    #[error("\"{0}\" isn't an IP address")]
    Address(String),
    /// The part after the `/` isn't a length that this address can have.
    #[error("\"{0}\" isn't a prefix length of this address")]
    Prefix(String),
    /// The address can't be given to an interface.
    #[error("{0} can't be the address of a host")]
    NotHost(IpAddr),
}

impl FromStr for InterfaceAddress {
    type Err = InterfaceAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, prefix) = text.split_once('/').ok_or(InterfaceAddressError::NoPrefix)?;
        let ip: IpAddr = address.parse().map_err(|_| InterfaceAddressError::Address(address.to_owned()))?;
        let unusable = match ip {
            IpAddr::V4(v4) => v4 == Ipv4Addr::BROADCAST,
            IpAddr::V6(_) => false,
        };
        if unusable || ip.is_unspecified() || ip.is_multicast() || ip.is_loopback() {
            return Err(InterfaceAddressError::NotHost(ip));
        }
        let bad = || InterfaceAddressError::Prefix(prefix.to_owned());
        let length: u8 = prefix.parse().map_err(|_| bad())?;
        Self::new(ip, length).filter(|_| length > 0).ok_or_else(bad)
    }
}

impl Serialize for InterfaceAddress {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for InterfaceAddress {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A 48-bit Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The Ethernet broadcast address.
    pub const BROADCAST: Self = Self([0xff; 6]);
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, octet) in self.0.iter().enumerate() {
            write!(f, "{}{octet:02x}", if position == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl Serialize for Mac {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Returns the multicast group of VRRP for this address family: 224.0.0.18 or `ff02::12` (RFC 9568 §5.1.1.2).
pub const fn vrrp_group(ipv4: bool) -> IpAddr {
    if ipv4 {
        IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18))
    } else {
        IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_prefix_is_refused() {
        let error = "192.18.12.23".parse::<InterfaceAddress>().unwrap_err();
        assert_eq!(error.to_string(), "the prefix length is missing, as in \"192.0.2.10/24\"");
    }

    #[test]
    fn impossible_addresses_are_refused() {
        for text in [
            "1.2.3/24",
            "192.0.2.1/33",
            "192.0.2.1/0",
            "224.0.0.18/24",
            "0.0.0.0/8",
            "::/64",
            "fe80::1/129",
            "/",
            "",
        ] {
            assert!(text.parse::<InterfaceAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_network_contains_its_hosts_and_no_others() {
        let vip: InterfaceAddress = "192.18.12.23/24".parse().unwrap();
        assert!(vip.contains("192.18.12.254".parse().unwrap()));
        assert!(!vip.contains("192.18.13.1".parse().unwrap()));
        assert!(!vip.contains("fe80::1".parse().unwrap()));
        assert_eq!(vip.to_string(), "192.18.12.23/24");
    }

    #[test]
    fn moments_saturate() {
        assert_eq!(Moment::BOOT - Duration::from_secs(1), Moment::BOOT);
        assert_eq!(Moment::from_nanos(5).since(Moment::from_nanos(9)), Duration::ZERO);
    }
}
