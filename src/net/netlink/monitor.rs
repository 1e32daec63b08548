//! Being told of changes: links that come, go, lose their carrier; addresses added and removed, by anyone.

use super::message::{self, Content};
use super::{Address, Link};
use crate::error::{Error, Result};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR`.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;
/// Room for the events of a machine with hundreds of interfaces that all change at once.
const ROOM: usize = 1024 * 1024;

/// The most datagrams that one read takes.
const BATCH: usize = 256;

/// A change of an interface or of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetEvent {
    /// A link is new, or something about it has changed (all its properties are given).
    LinkChanged(Link),
    /// A link is gone, with all its addresses.
    LinkGone {
        /// The kernel's number of the interface.
        index: u32,
        /// Its last name.
        name: String,
    },
    /// An address was added, or its lease was renewed.
    AddressAdded(Address),
    /// An address was removed: by someone, by the end of its lease, or with its link.
    AddressRemoved(Address),
    /// Events were lost: look at everything again with [`super::Netlink`].
    Overrun,
}

/// A subscription to changes of links and addresses; non-blocking.
#[derive(Debug)]
pub struct Monitor {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Monitor {
    /// Opens the subscription; needs no right. What happened before isn't told: subscribe, then list.
    pub fn open() -> Result<Self> {
        let open = || -> io::Result<Socket> {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.set_non_blocking(true)?;
            // More is better, less still works: an overrun is told.
            socket.set_rx_buf_sz(i32::try_from(ROOM).unwrap_or(i32::MAX)).ok();
            socket.bind(&SocketAddr::new(0, GROUPS))?;
            Ok(socket)
        };
        let socket = open().map_err(|error| Error::failed("can't subscribe to netlink").detail(error))?;
        Ok(Self { socket, buffer: vec![0; 64 * 1024] })
    }

    /// Reads the events that have arrived (of a flood, only a part; the descriptor stays readable then); an
    /// empty list means that there is none (now).
    pub fn read(&mut self) -> Result<Vec<NetEvent>> {
        let mut events = Vec::new();
        for _ in 0..BATCH {
            match self.socket.recv_from(&mut self.buffer.as_mut_slice(), 0) {
                Ok((length, sender)) if sender.port_number() == 0 => {
                    let datagram = self.buffer.get(..length).unwrap_or_default();
                    events.extend(decode(datagram));
                }
                // Someone else's datagram: only the kernel is believed.
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(events),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => events.push(NetEvent::Overrun),
                Err(error) => return Err(Error::failed("can't receive from netlink").detail(error)),
            }
        }
        Ok(events)
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Decodes the events in a datagram; whatever else is in it is passed over.
pub fn decode(datagram: &[u8]) -> impl Iterator<Item = NetEvent> {
    message::messages(datagram).filter_map(|message| event(message.content()))
}

fn event(content: Content) -> Option<NetEvent> {
    Some(match content {
        Content::Link(link) => NetEvent::LinkChanged(link),
        Content::LinkGone { index, name } => NetEvent::LinkGone { index, name },
        Content::Address(address) => NetEvent::AddressAdded(address),
        Content::AddressGone(address) => NetEvent::AddressRemoved(address),
        Content::Done(_) | Content::Answer(..) | Content::Other => return None,
    })
}
