//! The connections to an address that goes: both sides learn of it at once, and nobody else's do.

use super::bed::{Bed, address, inside, port, soon};
use pgbaton::net::netlink::{AddressOptions, Netlink};
use pgbaton::net::vip;
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const PORT: u16 = 5432;

/// Waits in a thread of its own for what a connection says next: a client that has asked and waits for the answer.
fn waiting(mut stream: TcpStream) -> Receiver<ErrorKind> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let said = stream.read(&mut [0]);
        sender.send(said.map_or_else(|error| error.kind(), |_| ErrorKind::Other)).ok();
    });
    receiver
}

/// A connection from b to an address of a, with what each side sees when it ends.
fn connection(bed: &Bed, listener: &TcpListener, to: IpAddr) -> (Receiver<ErrorKind>, Receiver<ErrorKind>) {
    let client = inside(&bed.b, || TcpStream::connect((to, PORT)).unwrap());
    let (server, _) = listener.accept().unwrap();
    (waiting(client), waiting(server))
}

const SOON: Duration = Duration::from_secs(20);

#[test]
fn who_waits_at_an_address_that_goes_learns_it_at_once_and_nobody_else() {
    let bed = Bed::new();
    for (vip, own, listen) in [
        ("10.77.0.100/24", "10.77.0.1", "0.0.0.0"),
        // A socket of both families has it as an address of IPv6.
        ("10.77.0.101/24", "10.77.0.1", "::"),
        ("fd77::100/64", "fd77::1", "::"),
    ] {
        let (vip, own) = (address(vip), own.parse::<IpAddr>().unwrap());
        let listener = inside(&bed.a, || {
            Netlink::open().unwrap().add_address(port().index, vip, &AddressOptions::default()).unwrap();
            TcpListener::bind(SocketAddr::new(listen.parse().unwrap(), PORT)).unwrap()
        });
        let all = [vip.address(), vip.address(), own].map(|to| connection(&bed, &listener, to));
        let ended = inside(&bed.a, || {
            let mut netlink = Netlink::open().unwrap();
            let ended = vip::end_connections(&mut netlink, port().index, vip.address(), soon()).unwrap();
            netlink.delete_address(port().index, vip).unwrap();
            ended
        });
        assert_eq!(ended, 2, "{vip}");
        let [(first, server), (second, _), (other, _)] = all;
        for client in [first, second] {
            assert_eq!(client.recv_timeout(SOON).unwrap(), ErrorKind::ConnectionReset, "{vip}");
        }
        assert_eq!(server.recv_timeout(SOON).unwrap(), ErrorKind::ConnectionAborted, "{vip}");
        assert!(other.try_recv().is_err(), "{own} is still there");
    }
}

#[test]
fn an_address_that_another_interface_has_too_keeps_its_connections() {
    let bed = Bed::new();
    let vip = address("10.77.0.100/32");
    let listener = inside(&bed.a, || {
        let mut netlink = Netlink::open().unwrap();
        let lo = netlink.link("lo").unwrap();
        for index in [lo.index, port().index] {
            netlink.add_address(index, vip, &AddressOptions::default()).unwrap();
        }
        TcpListener::bind((vip.address(), PORT)).unwrap()
    });
    let (client, _server) = connection(&bed, &listener, vip.address());
    inside(&bed.a, || {
        let mut netlink = Netlink::open().unwrap();
        let index = port().index;
        assert_eq!(vip::end_connections(&mut netlink, index, vip.address(), soon()).unwrap(), 0);
    });
    assert!(client.try_recv().is_err());
}

#[test]
fn hundreds_of_clients_are_all_told() {
    let bed = Bed::new();
    let vip = address("10.77.0.100/24");
    let listener = inside(&bed.a, || {
        Netlink::open().unwrap().add_address(port().index, vip, &AddressOptions::default()).unwrap();
        TcpListener::bind((vip.address(), PORT)).unwrap()
    });
    let pairs: Vec<(TcpStream, TcpStream)> = (0..300)
        .map(|_| {
            let client = inside(&bed.b, || TcpStream::connect((vip.address(), PORT)).unwrap());
            (client, listener.accept().unwrap().0)
        })
        .collect();
    let ended = inside(&bed.a, || {
        let mut netlink = Netlink::open().unwrap();
        vip::end_connections(&mut netlink, port().index, vip.address(), soon()).unwrap()
    });
    assert_eq!(ended, pairs.len());
    for (client, _) in pairs {
        assert_eq!(waiting(client).recv_timeout(SOON).unwrap(), ErrorKind::ConnectionReset);
    }
}
