//! ARP: who has the virtual IP now (RFC 5227 probe), and "it is here" (gratuitous ARP).
//!
//! Frames are built and read by pure functions; [`ArpSocket`] is the edge.

use crate::error::{Error, Result};
use crate::host::clock::Deadline;
use crate::net::netlink::Link;
use crate::net::packet::{ETHERTYPE_ARP, PacketSocket, ask, bpf, from_pnet, to_pnet};
use crate::units::Mac;
use pnet::packet::arp::{ArpHardwareTypes, ArpOperations, ArpPacket, MutableArpPacket};
use pnet::packet::ethernet::{EtherTypes, EthernetPacket, MutableEthernetPacket};
use pnet::packet::{MutablePacket, Packet};
use socket2::SockFilter;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};

const ETHERNET: usize = EthernetPacket::minimum_packet_size();
const FRAME: usize = ETHERNET + ArpPacket::minimum_packet_size();

/// The kind of ARP frame to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ArpForm {
    /// "I'm about to use this address, does anyone have it?": the sender address is 0.0.0.0, so that no
    /// neighbour's cache is changed by the question (RFC 5227 §1.1).
    Probe,
    /// Gratuitous request: sender and target are the address itself (RFC 5227 "ARP Announcement").
    AnnounceRequest,
    /// Gratuitous reply: the same with operation 2, for neighbours that learn only from replies.
    AnnounceReply,
}

/// Builds an ARP frame from `mac` to everyone about `ip`, from the Ethernet header on.
///
/// `None` can't happen with the fixed sizes used here; it saves a panic path.
pub fn arp_frame(form: ArpForm, mac: Mac, ip: Ipv4Addr) -> Option<[u8; FRAME]> {
    let mut frame = [0; FRAME];
    {
        let mut ethernet = MutableEthernetPacket::new(&mut frame)?;
        ethernet.set_destination(to_pnet(Mac::BROADCAST));
        ethernet.set_source(to_pnet(mac));
        ethernet.set_ethertype(EtherTypes::Arp);
        let mut arp = MutableArpPacket::new(ethernet.payload_mut())?;
        arp.set_hardware_type(ArpHardwareTypes::Ethernet);
        arp.set_protocol_type(EtherTypes::Ipv4);
        arp.set_hw_addr_len(6);
        arp.set_proto_addr_len(4);
        arp.set_sender_hw_addr(to_pnet(mac));
        arp.set_target_proto_addr(ip.octets().into());
        match form {
            ArpForm::Probe => arp.set_operation(ArpOperations::Request),
            ArpForm::AnnounceRequest => {
                arp.set_operation(ArpOperations::Request);
                arp.set_sender_proto_addr(ip.octets().into());
            }
            ArpForm::AnnounceReply => {
                arp.set_operation(ArpOperations::Reply);
                arp.set_sender_proto_addr(ip.octets().into());
                // RFC 5944 §4.6: in a gratuitous reply the target is the address to be learnt.
                arp.set_target_hw_addr(to_pnet(mac));
            }
        }
    }
    Some(frame)
}

/// Returns who claims `probed` in this frame: the hardware address of any ARP frame, request or reply,
/// whose sender address is the probed one (RFC 5227 §2.1.1); `None` for every other frame and for garbage.
///
/// Another host's probe (sender 0.0.0.0) is no claim: it doesn't have the address yet.
pub fn parse_arp_reply(frame: &[u8], probed: Ipv4Addr) -> Option<Mac> {
    let ethernet = EthernetPacket::new(frame)?;
    if ethernet.get_ethertype() != EtherTypes::Arp {
        return None;
    }
    let arp = ArpPacket::new(ethernet.payload())?;
    let understood = arp.get_hardware_type() == ArpHardwareTypes::Ethernet
        && arp.get_protocol_type() == EtherTypes::Ipv4
        && arp.get_hw_addr_len() == 6
        && arp.get_proto_addr_len() == 4
        && (arp.get_operation() == ArpOperations::Request || arp.get_operation() == ArpOperations::Reply);
    (understood && arp.get_sender_proto_addr().octets() == probed.octets())
        .then(|| from_pnet(arp.get_sender_hw_addr()))
}

/// An ARP socket on one interface.
#[derive(Debug)]
pub struct ArpSocket {
    packets: PacketSocket,
    listens: bool,
}

impl ArpSocket {
    /// Opens a socket that probes and announces; its descriptor becomes readable when an answer to the
    /// latest probe arrives (and only then: a kernel filter drops all other ARP traffic).
    pub fn open(link: &Link) -> Result<Self> {
        Ok(Self { packets: PacketSocket::receiver(link, ETHERTYPE_ARP, &filter(None))?, listens: true })
    }

    /// Opens a socket that only announces: it never receives.
    pub fn open_sender(link: &Link) -> Result<Self> {
        Ok(Self { packets: PacketSocket::sender(link)?, listens: false })
    }

    /// Returns the Ethernet address of the interface.
    pub const fn mac(&self) -> Mac {
        self.packets.mac()
    }

    /// Sends both forms of gratuitous ARP: neighbours then send frames for `ip` to `mac`.
    ///
    /// Sends each once; a caller that repeats (a lost frame is otherwise a lost client) does so by timer.
    pub fn announce(&self, ip: Ipv4Addr, mac: Mac) -> Result<()> {
        self.emit(ArpForm::AnnounceRequest, mac, ip)?;
        self.emit(ArpForm::AnnounceReply, mac, ip)
    }

    /// Sends one probe for `ip` and lets the socket receive claims of it.
    pub fn send_probe(&self, ip: Ipv4Addr) -> Result<()> {
        if !self.listens {
            return Err(Error::failed("this ARP socket can't probe: it was opened to announce only"));
        }
        self.packets.set_filter(&filter(Some(ip)))?;
        self.emit(ArpForm::Probe, self.mac(), ip)
    }

    /// Reads what has arrived: the Ethernet address of another host that claims `ip`, or `None` when there
    /// is no (more) such frame now. Frames of `own_mac` don't count.
    pub fn read_claim(&self, ip: Ipv4Addr, own_mac: Mac) -> Result<Option<Mac>> {
        let mut buffer = [0; 128];
        while let Some(frame) = self.packets.receive(&mut buffer)? {
            if let Some(mac) = parse_arp_reply(frame, ip).filter(|mac| *mac != own_mac) {
                return Ok(Some(mac));
            }
        }
        Ok(None)
    }

    /// Asks whether another host has `ip`, three times inside the wait; returns the Ethernet address that
    /// answers first, or `None` when the wait has passed without an answer.
    ///
    /// Silence is not proof that nobody has it: a host may be unreachable just now.
    pub fn probe(&self, ip: Ipv4Addr, own_mac: Mac, wait: Deadline) -> Result<Option<Mac>> {
        let answer = ask(self.as_fd(), wait, || self.send_probe(ip), || self.read_claim(ip, own_mac));
        // What comes after the question is no answer to it, nor to the next one.
        self.packets.set_filter(&filter(None))?;
        self.read_claim(ip, own_mac)?;
        answer
    }

    fn emit(&self, form: ArpForm, mac: Mac, ip: Ipv4Addr) -> Result<()> {
        match arp_frame(form, mac, ip) {
            Some(frame) => self.packets.send(&frame),
            None => Err(Error::failed("can't build an ARP frame")),
        }
    }
}

impl AsFd for ArpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.packets.as_fd()
    }
}

/// Returns the packet filter that lets only ARP frames with this sender address pass, or nothing at all.
fn filter(sender: Option<Ipv4Addr>) -> Vec<SockFilter> {
    match sender {
        None => bpf::nothing(),
        // The sender protocol address is 14 octets into the ARP packet, which is 14 into the frame.
        Some(ip) => bpf::all(&[(bpf::LOAD_WORD, 28, u32::from(ip))]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const IP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);

    #[test]
    fn a_probe_has_no_sender_address_and_claims_nothing() {
        let frame = arp_frame(ArpForm::Probe, MAC, IP).unwrap();
        assert_eq!(&frame[..6], &[0xff; 6]);
        assert_eq!(&frame[12..22], &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        assert_eq!(&frame[28..32], &[0, 0, 0, 0]);
        assert_eq!(&frame[38..42], &IP.octets());
        assert_eq!(parse_arp_reply(&frame, IP), None);
    }

    #[test]
    fn both_gratuitous_forms_claim_the_address() {
        for (form, operation, target) in
            [(ArpForm::AnnounceRequest, 1, [0; 6]), (ArpForm::AnnounceReply, 2, MAC.0)]
        {
            let frame = arp_frame(form, MAC, IP).unwrap();
            assert_eq!(frame[21], operation);
            assert_eq!(&frame[28..32], &IP.octets());
            assert_eq!(&frame[32..38], &target);
            assert_eq!(&frame[38..42], &IP.octets());
            assert_eq!(parse_arp_reply(&frame, IP), Some(MAC));
            assert_eq!(parse_arp_reply(&frame, Ipv4Addr::new(192, 0, 2, 10)), None);
        }
    }

    #[test]
    fn padding_after_the_packet_is_no_harm_and_a_cut_frame_is_nothing() {
        let mut frame = arp_frame(ArpForm::AnnounceReply, MAC, IP).unwrap().to_vec();
        frame.resize(60, 0);
        assert_eq!(parse_arp_reply(&frame, IP), Some(MAC));
        for length in 0..FRAME {
            assert_eq!(parse_arp_reply(&frame[..length], IP), None, "{length}");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(frame in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse_arp_reply(&frame, IP);
        }

        #[test]
        fn a_frame_changed_anywhere_never_panics(at in 0..FRAME, value: u8) {
            let mut frame = arp_frame(ArpForm::AnnounceReply, MAC, IP).unwrap();
            frame[at] = value;
            let _ = parse_arp_reply(&frame, IP);
        }
    }
}
