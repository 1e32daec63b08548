//! Neighbour discovery: who has an IPv6 address now (RFC 4862 §5.4.2), and "it is here" (RFC 4861 §7.2.6).
//!
//! The counterpart of `arp`: frames are built and read by pure functions, [`NdpSocket`] is the edge.

use crate::error::{Error, Result};
use crate::host::clock::Deadline;
use crate::net::netlink::Link;
use crate::net::packet::{ETHERTYPE_IPV6, PacketSocket, ask, bpf, to_pnet};
use crate::units::Mac;
use pnet::packet::ethernet::{EtherTypes, EthernetPacket, MutableEthernetPacket};
use pnet::packet::icmpv6::ndp::{
    MutableNeighborAdvertPacket, MutableNeighborSolicitPacket, NdpOption, NdpOptionTypes,
    NeighborAdvertFlags, NeighborAdvertPacket, NeighborSolicitPacket,
};
use pnet::packet::icmpv6::{Icmpv6Packet, Icmpv6Types, checksum};
use pnet::packet::ip::IpNextHeaderProtocols;
use pnet::packet::ipv6::{Ipv6Packet, MutableIpv6Packet};
use pnet::packet::{MutablePacket, Packet};
use std::net::Ipv6Addr;
use std::os::fd::{AsFd, BorrowedFd};

const ETHERNET: usize = EthernetPacket::minimum_packet_size();
const IPV6: usize = Ipv6Packet::minimum_packet_size();
/// A neighbour advertisement with one option of eight octets.
const ADVERT: usize = NeighborAdvertPacket::minimum_packet_size() + 8;
const FRAME: usize = ETHERNET + IPV6 + ADVERT;
const SOLICIT: usize = NeighborSolicitPacket::minimum_packet_size();
const QUESTION: usize = ETHERNET + IPV6 + SOLICIT;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: Mac = Mac([0x33, 0x33, 0, 0, 0, 1]);

/// Builds an unsolicited neighbour advertisement for `ip` at `mac`, to all nodes, from the Ethernet header on.
///
/// Flags: not solicited, override (neighbours replace what they have); `router` as the interface is one
/// (RFC 4861 §4.4: a host that calls itself a router stays in its neighbours' lists of routers).
/// `None` can't happen with the fixed sizes used here; it saves a panic path.
pub fn advert_frame(mac: Mac, ip: Ipv6Addr, router: bool) -> Option<[u8; FRAME]> {
    let mut frame = [0; FRAME];
    {
        let mut ethernet = MutableEthernetPacket::new(&mut frame)?;
        ethernet.set_destination(to_pnet(ALL_NODES_MAC));
        ethernet.set_source(to_pnet(mac));
        ethernet.set_ethertype(EtherTypes::Ipv6);
        let mut ipv6 = MutableIpv6Packet::new(ethernet.payload_mut())?;
        ipv6.set_version(6);
        ipv6.set_payload_length(u16::try_from(ADVERT).ok()?);
        ipv6.set_next_header(IpNextHeaderProtocols::Icmpv6);
        // RFC 4861 §7.1.2: receivers discard every other hop limit.
        ipv6.set_hop_limit(255);
        ipv6.set_source(ip.octets().into());
        ipv6.set_destination(ALL_NODES.octets().into());
        let mut advert = MutableNeighborAdvertPacket::new(ipv6.payload_mut())?;
        advert.set_icmpv6_type(Icmpv6Types::NeighborAdvert);
        let router = if router { NeighborAdvertFlags::Router } else { 0 };
        advert.set_flags(router | NeighborAdvertFlags::Override);
        advert.set_target_addr(ip.octets().into());
        advert.set_options(&[NdpOption {
            option_type: NdpOptionTypes::TargetLLAddr,
            length: 1,
            data: mac.0.to_vec(),
        }]);
        let sum =
            checksum(&Icmpv6Packet::new(advert.packet())?, &ip.octets().into(), &ALL_NODES.octets().into());
        advert.set_checksum(sum);
    }
    Some(frame)
}

/// Builds the neighbour solicitation that asks whether anyone has `ip`, from the Ethernet header on.
///
/// It comes from the unspecified address and has no option, so no neighbour's cache is changed by the
/// question (RFC 4862 §5.4.2); who has the address answers to all nodes.
pub fn solicit_frame(mac: Mac, ip: Ipv6Addr) -> Option<[u8; QUESTION]> {
    let mut frame = [0; QUESTION];
    let [.., high, middle, low] = ip.octets();
    // RFC 4291 §2.7.1: the solicited-node group of the address.
    let last = u16::from_be_bytes([middle, low]);
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(high), last);
    {
        let mut ethernet = MutableEthernetPacket::new(&mut frame)?;
        ethernet.set_destination(to_pnet(Mac([0x33, 0x33, 0xff, high, middle, low])));
        ethernet.set_source(to_pnet(mac));
        ethernet.set_ethertype(EtherTypes::Ipv6);
        let mut ipv6 = MutableIpv6Packet::new(ethernet.payload_mut())?;
        ipv6.set_version(6);
        ipv6.set_payload_length(u16::try_from(SOLICIT).ok()?);
        ipv6.set_next_header(IpNextHeaderProtocols::Icmpv6);
        ipv6.set_hop_limit(255);
        ipv6.set_destination(group.octets().into());
        let mut solicit = MutableNeighborSolicitPacket::new(ipv6.payload_mut())?;
        solicit.set_icmpv6_type(Icmpv6Types::NeighborSolicit);
        solicit.set_target_addr(ip.octets().into());
        let icmp = Icmpv6Packet::new(solicit.packet())?;
        let sum = checksum(&icmp, &[0; 16].into(), &group.octets().into());
        solicit.set_checksum(sum);
    }
    Some(frame)
}

/// Returns the target and its Ethernet address from a neighbour advertisement; `None` for everything else.
pub fn parse_advert(frame: &[u8]) -> Option<(Ipv6Addr, Mac)> {
    let ethernet = EthernetPacket::new(frame)?;
    if ethernet.get_ethertype() != EtherTypes::Ipv6 {
        return None;
    }
    let ipv6 = Ipv6Packet::new(ethernet.payload())?;
    if ipv6.get_next_header() != IpNextHeaderProtocols::Icmpv6 || ipv6.get_hop_limit() != 255 {
        return None;
    }
    let length = usize::from(ipv6.get_payload_length());
    // The payload is cut out of the frame by hand: the packet's own accessor trusts the length field.
    let payload = ethernet.payload().get(IPV6..IPV6.checked_add(length)?)?;
    let icmp = Icmpv6Packet::new(payload)?;
    if icmp.get_icmpv6_type() != Icmpv6Types::NeighborAdvert
        || checksum(&icmp, &ipv6.get_source(), &ipv6.get_destination()) != icmp.get_checksum()
    {
        return None;
    }
    let target: [u8; 16] = payload.get(8..24)?.try_into().ok()?;
    let mut options = payload.get(24..)?;
    while let [kind, units, ..] = *options {
        let size = usize::from(units) * 8;
        let option = options.get(..size).filter(|option| !option.is_empty())?;
        if kind == NdpOptionTypes::TargetLLAddr.0 {
            let mac: [u8; 6] = option.get(2..8)?.try_into().ok()?;
            return Some((Ipv6Addr::from(target), Mac(mac)));
        }
        options = options.get(size..)?;
    }
    None
}

/// A neighbour discovery socket on one interface.
#[derive(Debug)]
pub struct NdpSocket {
    packets: PacketSocket,
}

impl NdpSocket {
    /// Opens a socket that only announces: it never receives.
    pub fn open(link: &Link) -> Result<Self> {
        Ok(Self { packets: PacketSocket::sender(link)? })
    }

    /// Opens a socket that also receives neighbour advertisements, to probe.
    pub fn open_listener(link: &Link) -> Result<Self> {
        // The next header of the IPv6 header, and the type of the ICMPv6 message right behind it.
        let advert = u32::from(Icmpv6Types::NeighborAdvert.0);
        let filter = bpf::all(&[(bpf::LOAD_BYTE, 20, 58), (bpf::LOAD_BYTE, 54, advert)]);
        Ok(Self { packets: PacketSocket::receiver(link, ETHERTYPE_IPV6, &filter)? })
    }

    /// Returns the Ethernet address of the interface.
    pub const fn mac(&self) -> Mac {
        self.packets.mac()
    }

    /// Sends one unsolicited neighbour advertisement.
    pub fn announce(&self, ip: Ipv6Addr, mac: Mac, router: bool) -> Result<()> {
        match advert_frame(mac, ip, router) {
            Some(frame) => self.packets.send(&frame),
            None => Err(Error::failed("can't build a neighbour advertisement")),
        }
    }

    /// Sends one question for `ip`.
    pub fn send_probe(&self, ip: Ipv6Addr) -> Result<()> {
        match solicit_frame(self.mac(), ip) {
            Some(frame) => self.packets.send(&frame),
            None => Err(Error::failed("can't build a neighbour solicitation")),
        }
    }

    /// Reads what has arrived: the Ethernet address of another host that claims `ip`, or `None` when there
    /// is no (more) such frame now. Frames of `own_mac` don't count.
    pub fn read_claim(&self, ip: Ipv6Addr, own_mac: Mac) -> Result<Option<Mac>> {
        let mut buffer = [0; 512];
        while let Some(frame) = self.packets.receive(&mut buffer)? {
            let claim = parse_advert(frame).filter(|(target, mac)| *target == ip && *mac != own_mac);
            if let Some((_, mac)) = claim {
                return Ok(Some(mac));
            }
        }
        Ok(None)
    }

    /// Asks whether another host has `ip`, three times inside the wait; see
    /// [`ArpSocket::probe`](crate::net::arp::ArpSocket::probe).
    pub fn probe(&self, ip: Ipv6Addr, own_mac: Mac, wait: Deadline) -> Result<Option<Mac>> {
        ask(self.packets.as_fd(), wait, || self.send_probe(ip), || self.read_claim(ip, own_mac))
    }
}

impl AsFd for NdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.packets.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

    fn ip() -> Ipv6Addr {
        "2001:db8::10".parse().unwrap()
    }

    #[test]
    fn the_frame_is_the_one_of_rfc_4861() {
        let frame = advert_frame(MAC, ip(), false).unwrap();
        assert_eq!(&frame[..14], &[0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 1, 0x86, 0xdd]);
        assert_eq!(&frame[14..22], &[0x60, 0, 0, 0, 0, 32, 58, 255]);
        assert_eq!(&frame[22..38], &ip().octets());
        assert_eq!(&frame[54..56], &[136, 0]);
        assert_eq!(frame[58], 0x20, "override, not solicited, no router");
        assert_eq!(&frame[62..78], &ip().octets());
        assert_eq!(&frame[78..], &[2, 1, 2, 0, 0, 0, 0, 1]);
        assert_eq!(advert_frame(MAC, ip(), true).unwrap()[58], 0xa0);
        assert_eq!(parse_advert(&frame), Some((ip(), MAC)));
    }

    #[test]
    fn the_question_is_the_one_of_rfc_4862() {
        let frame = solicit_frame(MAC, "2001:db8::12:3456".parse().unwrap()).unwrap();
        assert_eq!(&frame[..6], &[0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
        assert_eq!(&frame[14..22], &[0x60, 0, 0, 0, 0, 24, 58, 255]);
        assert_eq!(&frame[22..38], &[0; 16], "from the unspecified address");
        assert_eq!(&frame[38..54], &"ff02::1:ff12:3456".parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!(&frame[54..56], &[135, 0]);
        assert_eq!(parse_advert(&frame), None);
    }

    #[test]
    fn a_damaged_checksum_or_a_cut_frame_is_nothing() {
        let frame = advert_frame(MAC, ip(), false).unwrap();
        for length in 0..FRAME {
            assert_eq!(parse_advert(&frame[..length]), None, "{length}");
        }
        let mut damaged = frame;
        damaged[70] ^= 1;
        assert_eq!(parse_advert(&damaged), None);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(
            at in 0..FRAME,
            value: u8,
            cut in 0..FRAME,
            noise in proptest::collection::vec(any::<u8>(), 0..120),
        ) {
            let mut frame = advert_frame(MAC, ip(), false).unwrap();
            frame[at] = value;
            let _ = (parse_advert(&frame), parse_advert(&frame[..cut]), parse_advert(&noise));
        }
    }
}
