//! The network switch of the lab: a bridge in a namespace of its own, and what can be done to its ports.

use crate::demo::namespace::Namespace;
use crate::error::{Error, Result};
use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::net::if_::if_nametoindex;

/// The name of the bridge inside its namespace.
pub const BRIDGE: &str = "bridge";

/// The bridge, with a netlink socket kept open: cutting a cable takes no child process.
#[derive(Debug)]
pub struct Switch {
    namespace: Namespace,
    socket: Socket,
}

impl Switch {
    /// Opens the switch of a namespace that has the bridge already.
    pub fn open(namespace: &Namespace) -> Result<Self> {
        let socket = namespace.inside(|| {
            let problem = |error: std::io::Error| Error::failed("can't open a netlink socket").detail(error);
            let mut socket = Socket::new(NETLINK_ROUTE).map_err(problem)?;
            socket.bind_auto().map_err(problem)?;
            socket.connect(&SocketAddr::new(0, 0)).map_err(problem)?;
            Ok(socket)
        })?;
        Ok(Self { namespace: namespace.clone(), socket })
    }

    /// Returns the index of a port, for the calls below.
    pub fn port(&self, name: &str) -> Result<u32> {
        let name = name.to_owned();
        self.namespace.inside(move || {
            if_nametoindex(name.as_str())
                .map_err(|errno| Error::failed("the switch has no such port").detail(&name).detail(errno))
        })
    }

    /// Pulls the cable (`false`): both ends lose the carrier. Or puts it back.
    pub fn set_up(&self, port: u32, up: bool) -> Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = port;
        message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
        message.header.change_mask = LinkFlags::Up;
        self.change(message)
    }

    /// Takes a port off the bridge (`None`) or puts it on; the carrier stays.
    pub fn set_bridge(&self, port: u32, bridge: Option<u32>) -> Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = port;
        message.attributes.push(LinkAttribute::Controller(bridge.unwrap_or(0)));
        self.change(message)
    }

    fn change(&self, message: LinkMessage) -> Result<()> {
        let mut request = NetlinkMessage::from(RouteNetlinkMessage::SetLink(message));
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK;
        request.finalize();
        let mut buffer = vec![0; request.buffer_len()];
        request.serialize(&mut buffer);
        let problem = |error: std::io::Error| Error::failed("the switch doesn't obey").detail(error);
        self.socket.send(&buffer, 0).map_err(problem)?;
        let (answer, _) = self.socket.recv_from_full().map_err(problem)?;
        let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer)
            .map_err(|error| Error::failed("the switch doesn't obey").detail(error))?;
        match answer.payload {
            NetlinkPayload::Error(error) if error.code.is_some() => Err(problem(error.to_io())),
            _ => Ok(()),
        }
    }
}
