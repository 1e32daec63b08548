//! Macvlans: interfaces with an Ethernet address of their own on the cable of another.

use super::{Link, Netlink, message, refusal};
use crate::error::{Error, Result};
use crate::units::Mac;
use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoMacVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, MacVlanMode,
};

impl Netlink {
    /// Makes a macvlan with this name and Ethernet address on an interface; it isn't up yet.
    ///
    /// In bridge mode: then the parent still hears frames that come from the same Ethernet address elsewhere on the
    /// network, as the adverts of another router with this number do.
    pub fn add_macvlan(&mut self, parent: &Link, name: &str, mac: Mac, alias: &str) -> Result<Link> {
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::Link(parent.index),
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Address(mac.0.to_vec()),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::MacVlan),
                LinkInfo::Data(InfoData::MacVlan(vec![InfoMacVlan::Mode(MacVlanMode::Bridge)])),
            ]),
        ];
        let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        let doing = format!("can't make the macvlan \"{name}\" on \"{}\"", parent.name);
        self.change_link(RouteNetlinkMessage::NewLink(message), flags, doing)?;
        let link = self.link(name)?;
        let mut message = LinkMessage::default();
        message.header.index = link.index;
        message.attributes = vec![LinkAttribute::IfAlias(alias.to_owned())];
        let doing = format!("can't mark \"{name}\"");
        let marked =
            self.change_link(RouteNetlinkMessage::SetLink(message), NLM_F_REQUEST | NLM_F_ACK, doing);
        if let Err(error) = marked {
            self.delete_link(&link)?;
            return Err(error);
        }
        Ok(link)
    }

    /// Sets an interface up or down.
    pub fn set_up(&mut self, link: &Link, up: bool) -> Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = link.index;
        message.header.change_mask = LinkFlags::Up;
        message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
        let doing = format!("can't set \"{}\" {}", link.name, if up { "up" } else { "down" });
        self.change_link(RouteNetlinkMessage::SetLink(message), NLM_F_REQUEST | NLM_F_ACK, doing)
    }

    /// Deletes an interface; one that isn't there is no error.
    pub fn delete_link(&mut self, link: &Link) -> Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = link.index;
        let doing = format!("can't delete the interface \"{}\"", link.name);
        self.change_link(RouteNetlinkMessage::DelLink(message), NLM_F_REQUEST | NLM_F_ACK, doing)
    }

    fn change_link(&mut self, message: RouteNetlinkMessage, flags: u16, doing: String) -> Result<()> {
        let gone = matches!(message, RouteNetlinkMessage::DelLink(_));
        let sequence = self.next();
        let (code, words) = self.change(&message::serialize(message, flags, sequence), sequence)?;
        match code {
            0 => Ok(()),
            libc::ENODEV if gone => Ok(()),
            libc::EEXIST => Err(Error::config(doing).detail("there is an interface of this name already")),
            libc::EOPNOTSUPP => {
                Err(refusal(code, words, doing).hint("does this kernel have macvlan? modprobe macvlan"))
            }
            _ => Err(refusal(code, words, doing)),
        }
    }
}
