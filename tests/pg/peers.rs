//! Questions to other nodes' servers over connections that don't behave.

use crate::support::pg::Cluster;
use pgbaton::host::clock::Deadline;
use pgbaton::pg::conn::{ConnSettings, Host};
use pgbaton::pg::gates::PeerAnswer;
use pgbaton::pg::peers::Peers;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;
use std::time::Duration;

/// Leads connections to a server, but for the first: that one is taken and nothing is ever said on it.
fn mute_at_first(server: &Cluster) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let socket = server.sockets().join(".s.PGSQL.5432");
    std::thread::spawn(move || {
        let mut first = None;
        for connection in listener.incoming() {
            let connection = connection.unwrap();
            if first.is_none() {
                first = Some(connection);
                continue;
            }
            let there = UnixStream::connect(&socket).unwrap();
            let (mut from, mut to) = (connection.try_clone().unwrap(), there.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            let (mut from, mut to) = (there, connection);
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
        }
    });
    port
}

#[test]
fn a_question_whose_first_packet_is_lost_is_asked_once_more() {
    let server = Cluster::primary("n1");
    let port = mute_at_first(&server);
    let host = Host::Tcp(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let peers = Peers::new([("n1".to_owned(), ConnSettings { host, ..server.settings() })]);
    let (tell, told) = channel();
    peers.ask(Deadline::after(Duration::from_secs(6)), &move |view| drop(tell.send(view)));
    let view = told.recv().unwrap();
    assert!(matches!(view.answer, PeerAnswer::Primary(_)), "{view:?}");
}
