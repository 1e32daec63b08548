//! What is fuzzed: every decoder of octets or text that comes from a network, a file, a program or a person.
//!
//! A target takes any octets and must not panic; where there is a way back (what was read can be written), the way
//! there and back must end where it began.

use pgbaton::daemon::control::Request;
use pgbaton::net::{arp, ndp, netlink};
use pgbaton::pg::epoch::Epoch;
use pgbaton::pg::histories::HistoryFile;
use pgbaton::pg::history::History;
use pgbaton::pg::lsn::{Lsn, Timeline};
use pgbaton::pg::pgpass::{PgPass, Target as Login};
use pgbaton::pg::server::PidFile;
use pgbaton::pg::{control, facts::ServerFacts, walsender};
use pgbaton::plan::step::{Intent, NeedsCheck};
use pgbaton::promotion::rules::{Configuration, Register};
use pgbaton::rebuild::{conf, journal::Journal, kept::KeptReport, wal};
use pgbaton::settings::{Settings, libpq, parse};
use pgbaton::ssh::config::HostConfig;
use pgbaton::ssh::known_hosts::{KnownHosts, kind_of};
use pgbaton::units::{InterfaceAddress, Moment, vrrp_group};
use pgbaton::vrrp::checksum::{ChecksumForm, checksum};
use pgbaton::vrrp::config::{Config, Election};
use pgbaton::vrrp::router::{Output, Resign, Router};
use pgbaton::vrrp::signature::{Guard, Key, Mode, Origin, Signer, Signing, TRAILER};
use pgbaton::vrrp::types::{AdverInterval, Priority, Version, Vrid};
use pgbaton::vrrp::wire::{self, RxPacket, RxPolicy};
use serde::{Serialize, de::DeserializeOwned};
use std::borrow::Cow;
use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Something that reads.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, which is that of its corpus folder.
    pub name: &'static str,
    /// Reads it.
    pub run: fn(&[u8]),
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "arp", run: arp_frame },
    Target { name: "config", run: config },
    Target { name: "conninfo", run: conninfo },
    Target { name: "control", run: control_request },
    Target { name: "controldata", run: controldata },
    Target { name: "history", run: history },
    Target { name: "known-hosts", run: known_hosts },
    Target { name: "ndp", run: ndp_frame },
    Target { name: "netlink", run: netlink_datagram },
    Target { name: "pgpass", run: pgpass },
    Target { name: "postmaster-pid", run: postmaster_pid },
    Target { name: "records", run: records },
    Target { name: "router", run: router },
    Target { name: "server-conf", run: server_conf },
    Target { name: "service", run: service },
    Target { name: "signature", run: signature },
    Target { name: "ssh-config", run: ssh_config },
    Target { name: "values", run: values },
    Target { name: "vrrp", run: vrrp },
    Target { name: "waldump", run: waldump },
    Target { name: "walsender", run: walsender_stream },
];

/// Takes what was read; only that it could be read matters.
fn spend<T>(value: T) {
    drop(std::hint::black_box(value));
}

fn text(data: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(data)
}

/// The policies that packets are tried against: both versions, both families, a password, unicast, no TTL check.
fn policy(choice: u8) -> (RxPolicy, IpAddr) {
    let v6 = choice & 1 != 0;
    let v2 = !v6 && choice & 2 != 0;
    let own: IpAddr = if v6 {
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into()
    } else {
        Ipv4Addr::new(10, 77, 0, 1).into()
    };
    let source: IpAddr = if v6 {
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2).into()
    } else {
        Ipv4Addr::new(10, 77, 0, 2).into()
    };
    let vip: IpAddr = if v6 {
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 1, 0).into()
    } else {
        Ipv4Addr::new(10, 77, 0, 100).into()
    };
    let policy = RxPolicy {
        version: if v2 { Version::V2 } else { Version::V3 },
        vrid: Vrid::try_from(51).unwrap(),
        interval: AdverInterval::from_centiseconds(100).unwrap(),
        addresses: vec![vip],
        auth: (v2 && choice & 4 != 0).then(|| wire::password("secret12")),
        own,
        min_ttl: if choice & 8 != 0 { 0 } else { 255 },
        max_ttl: 255,
        peers: (choice & 16 != 0).then(|| vec![source]),
        check_source: true,
        checksum: None,
    };
    (policy, source)
}

/// One octet chooses what is demanded, the last ones are the trailer; and what is signed here must be taken.
fn signature(data: &[u8]) {
    let [choice, rest @ ..] = data else { return };
    let mode = [Mode::Enforce, Mode::Permissive, Mode::ReceiveOnly][usize::from(choice % 3)];
    let window = (choice & 0x80 == 0).then_some(Duration::from_secs(5));
    let signing = Signing { keys: vec![Key::new(1, vec![7; 32]).unwrap()], mode, window };
    let origin = Origin {
        version: Version::V3,
        vrid: Vrid::try_from(51).unwrap(),
        source: if choice & 0x40 == 0 { [10, 77, 0, 1].into() } else { Ipv6Addr::LOCALHOST.into() },
    };
    let wall = Duration::from_secs(0x6800_0000);
    let (message, trailer) = rest.split_at(rest.len().saturating_sub(TRAILER));
    spend(Guard::default().check(wall, &signing, origin, message, trailer));
    if let Some(made) = Signer::default().sign(wall, &signing, origin, message) {
        let mut guard = Guard::default();
        assert_eq!(guard.check(wall, &signing, origin, message, &made), Ok(()));
        assert!(guard.check(wall, &signing, origin, message, &made).is_err());
    }
}

/// One octet chooses the policy, one is the TTL, the rest is the message; over IPv4 it is also tried as a packet.
fn vrrp(data: &[u8]) {
    let [choice, ttl, payload @ ..] = data else { return };
    let (policy, source) = policy(*choice);
    let destination = if policy.peers.is_some() { policy.own } else { vrrp_group(source.is_ipv4()) };
    spend(wire::peek_vrid(payload));
    if let Ok((header, inside)) = wire::strip_ipv4_header(payload) {
        assert!(header.header_len >= 20 && header.header_len + inside.len() == header.total_len);
        let packet = RxPacket {
            ttl: Some(header.ttl),
            source: header.source.into(),
            destination: header.destination.into(),
            payload: inside,
        };
        spend(wire::parse(&packet, &policy));
    }
    // A checksum is right once in 65536: it is put right, so that what is behind it is reached.
    for payload in [payload.to_vec(), with_checksum(payload, &policy, source, destination)] {
        let packet = RxPacket { ttl: Some(*ttl), source, destination, payload: &payload };
        match wire::parse(&packet, &policy) {
            Ok((advert, form)) => {
                let octets = advert.emit(form, source, destination);
                let again = wire::parse(&RxPacket { payload: &octets, ..packet }, &policy);
                assert_eq!(again, Ok((advert, form)));
            }
            Err(reason) => assert!(!reason.counter().is_empty() && !reason.explain().is_empty()),
        }
    }
}

fn with_checksum(payload: &[u8], policy: &RxPolicy, source: IpAddr, destination: IpAddr) -> Vec<u8> {
    let width = if source.is_ipv4() { 4 } else { 16 };
    let trailer = if policy.version == Version::V2 { 8 } else { 0 };
    let listed = payload.get(3).map_or(0, |count| usize::from(*count) * width);
    let mut payload = payload.to_vec();
    let end = payload.len().min(8 + listed + trailer);
    let form =
        if policy.version == Version::V2 { ChecksumForm::MessageOnly } else { ChecksumForm::PseudoHeader };
    if payload.len() >= 8 {
        payload[6..8].fill(0);
        let sum = checksum(form, source, destination, &payload[..end]);
        payload[6..8].copy_from_slice(&sum.to_be_bytes());
    }
    payload
}

/// A whole life: each group of octets is a step of time and an advert from one of four senders.
fn router(data: &[u8]) {
    let (&[choice, priority, ref steps @ ..], source) = (data, policy(0).1) else { return };
    let IpAddr::V4(own) = policy(0).0.own else { return };
    let base =
        Config::new(Vrid::try_from(51).unwrap(), own.into(), vec![Ipv4Addr::new(10, 77, 0, 100).into()]);
    let config = Config {
        priority: Priority(priority.max(1)),
        preempt: choice & 1 != 0,
        preempt_delay: Duration::from_millis(u64::from(choice >> 4) * 100),
        election: if choice & 2 != 0 { Election::Guarded } else { Election::Free },
        ..base
    };
    let Ok(mut router) = Router::new(config) else { return };
    let mut now = Moment::from_nanos(1_000_000_000);
    router.startup(now);
    for step in steps.chunks_exact(4) {
        let &[what, wait, priority, interval] = step else { break };
        now = now + Duration::from_millis(u64::from(wait) * if what & 8 != 0 { 100 } else { 1 });
        match what & 7 {
            0..4 => {
                let from = Ipv4Addr::from(u32::from(own) + 1 + u32::from(what & 3));
                let advert = wire::Advert {
                    version: Version::V3,
                    vrid: Vrid::try_from(51).unwrap(),
                    priority: Priority(priority),
                    interval: AdverInterval::from_centiseconds(u16::from(interval).max(1)).unwrap(),
                    addresses: vec![source],
                    auth: None,
                };
                router.handle_advert(now, from.into(), &advert);
            }
            4 => spend(router.grant(now)),
            5 => {
                let hold = (interval > 0).then(|| Duration::from_millis(u64::from(interval)));
                router.resign(now, Resign { farewell: priority & 1 != 0, hold });
            }
            6 => router.set_fault(now, priority & 1 != 0),
            _ => router.set_priority(now, Priority(priority)),
        }
        settle(&mut router, now);
        router.handle_timeout(now);
        settle(&mut router, now);
    }
}

/// Takes every output; after the due ones are done, no wait may end in the past (that would be a busy loop).
fn settle(router: &mut Router, now: Moment) {
    for _ in 0..1000 {
        match router.poll_output() {
            Output::Timeout(Some(due)) if due <= now => router.handle_timeout(now),
            Output::Timeout(_) => return,
            Output::Send(_) | Output::Event(_) => {}
        }
    }
    panic!("the router never comes to rest");
}

fn arp_frame(data: &[u8]) {
    let probed = Ipv4Addr::new(192, 0, 2, 9);
    if let Some(mac) = arp::parse_arp_reply(data, probed) {
        let back = arp::arp_frame(arp::ArpForm::AnnounceReply, mac, probed).unwrap();
        assert_eq!(arp::parse_arp_reply(&back, probed), Some(mac));
    }
}

fn ndp_frame(data: &[u8]) {
    if let Some((ip, mac)) = ndp::parse_advert(data) {
        let back = ndp::advert_frame(mac, ip, false).unwrap();
        assert_eq!(ndp::parse_advert(&back), Some((ip, mac)));
    }
}

fn netlink_datagram(data: &[u8]) {
    netlink::decode(data).for_each(spend);
}

fn control_request(data: &[u8]) {
    if let Ok(request) = Request::parse(&text(data)) {
        let line = serde_json::json!({ "request": request }).to_string();
        assert_eq!(Request::parse(&line).unwrap(), request);
    }
}

/// A history file as it came from a server: the octets, under the name of timeline 7.
fn history(data: &[u8]) {
    spend(HistoryFile::check("00000007.history", data.to_vec()));
    let timeline = Timeline::new(7).unwrap();
    if let Ok(history) = History::parse(timeline, &text(data)) {
        assert_eq!(History::parse(timeline, &history.to_text()), Ok(history.clone()));
        for fork in history.forks() {
            assert!(fork.parent < timeline && history.contains(fork.parent, fork.at));
        }
    }
    let name = text(data);
    if let Some(timeline) = Timeline::of_history_file(&name) {
        assert_eq!(timeline.history_file_name(), name);
    }
    spend(Timeline::of_wal_file(&name));
}

/// JSON records: each is what one of our own programs wrote, but on another node, or before a crash, or by hand.
fn records(data: &[u8]) {
    let text = text(data);
    if let Ok(epoch) = Epoch::parse(&text) {
        assert_eq!(Epoch::parse(&epoch.to_marker()).unwrap(), epoch);
        spend(epoch.upsert());
        let configuration = Configuration::from(&epoch);
        spend(configuration.names());
        spend(configuration.change_to(&configuration));
    }
    there_and_back::<Register>(&text);
    there_and_back::<Configuration>(&text);
    there_and_back::<Intent>(&text);
    there_and_back::<NeedsCheck>(&text);
    there_and_back::<Journal>(&text);
    spend(serde_json::from_str::<KeptReport>(&text));
    spend(serde_json::from_str::<ServerFacts>(&text));
}

fn there_and_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(text: &str) {
    if let Ok(value) = serde_json::from_str::<T>(text) {
        let back = serde_json::to_string(&value).unwrap();
        assert_eq!(serde_json::from_str::<T>(&back).unwrap(), value);
    }
}

fn controldata(data: &[u8]) {
    spend(control::parse(&text(data)));
}

fn postmaster_pid(data: &[u8]) {
    if let Some(file) = PidFile::parse(&text(data)) {
        // Never a process group, and never every process: the number is sent signals.
        assert!(i32::try_from(file.pid).is_ok_and(|pid| pid > 0), "{file:?}");
    }
}

fn conninfo(data: &[u8]) {
    let text = text(data);
    spend(libpq::is_conninfo(&text));
    let ours = libpq::parse(&text);
    if let Ok(params) = &ours {
        spend(params.check());
        assert!(!format!("{params:?}").is_empty());
    }
    // The other reader of the same form, which keeps the order and keywords that it doesn't know.
    if let Some(pairs) = conf::ConnInfo::parse(&text) {
        let again = conf::ConnInfo::parse(&pairs.to_string());
        assert_eq!(again.as_ref(), Some(&pairs), "{pairs}");
        let mut changed = pairs.clone();
        changed.set("host", "there");
        assert_eq!(changed.get("host"), Some("there"));
        changed.remove("host");
        assert_eq!(changed.get("host"), None);
        if let (Ok(params), false) = (&ours, text.starts_with("postgres")) {
            for (name, value) in params.iter() {
                assert_eq!(pairs.get(name), Some(value), "{name}");
            }
        }
    }
}

fn pgpass(data: &[u8]) {
    let text = text(data);
    let file = PgPass::parse(&text);
    for (host, socket) in [("db1", false), ("/var/run/postgresql", true)] {
        let login = Login { host: host.into(), socket, port: 5432, dbname: "replication", user: "postgres" };
        if let Some(password) = file.lookup(&login) {
            assert!(!password.reveal().is_empty());
            assert!(!format!("{password:?}").contains(password.reveal()) || password.reveal().len() < 8);
        }
    }
}

fn service(data: &[u8]) {
    spend(libpq::find_service(&text(data), "f", "a"));
}

/// `postgresql.auto.conf` and its kind.
fn server_conf(data: &[u8]) {
    let text = text(data);
    spend(conf::setting(&text, "primary_conninfo"));
    let value: String = text.chars().filter(|c| !c.is_control() && *c != '\u{2028}').take(64).collect();
    let changed = conf::with_settings(&text, &[("primary_conninfo", value.clone())]);
    assert_eq!(conf::setting(&changed, "primary_conninfo"), Some(value.clone()));
    assert_eq!(conf::with_settings(&changed, &[("primary_conninfo", value)]), changed, "twice is once");
}

fn config(data: &[u8]) {
    let text = text(data);
    if let Err(error) = Settings::from_toml(&text, "f") {
        assert!(error.message().starts_with('f'), "{error}");
        assert_eq!(error.kind(), pgbaton::error::Kind::Config);
    }
}

/// The small forms: durations, sizes, positions, addresses.
fn values(data: &[u8]) {
    let text = text(data);
    spend(parse::duration(&text));
    spend(parse::advert_interval(&text));
    if let Ok(bytes) = parse::size(&text) {
        assert_eq!(parse::size(&parse::write_size(bytes)), Ok(bytes));
    }
    if let Ok(lsn) = text.parse::<Lsn>() {
        assert_eq!(lsn.to_string().parse(), Ok(lsn));
    }
    if let Ok(address) = text.parse::<InterfaceAddress>() {
        assert_eq!(address.to_string().parse::<InterfaceAddress>().unwrap(), address);
    }
    if let Ok(timeline) = text.parse::<Timeline>() {
        assert_eq!(timeline.to_string().parse(), Ok(timeline));
    }
}

fn walsender_stream(data: &[u8]) {
    let mut rest = data;
    while let Ok(Some((_, length))) = walsender::decode(rest) {
        assert!(length > 0 && length <= rest.len());
        rest = &rest[length..];
    }
}

fn waldump(data: &[u8]) {
    let text = text(data);
    for line in text.lines() {
        spend(wal::parse_record(line));
        spend(wal::commit(line));
        spend(wal::progress(line));
    }
    for line in text.lines() {
        spend((wal::checkpoint(line), wal::rewind_writes(line)));
    }
    for size in [1 << 20, 16 << 20, 1 << 30] {
        if let Some((timeline, number)) = wal::parse_segment(&text, size) {
            assert!(wal::named_segment(timeline, number, size).eq_ignore_ascii_case(&text));
        }
    }
}

fn known_hosts(data: &[u8]) {
    let mut hosts = KnownHosts::default();
    hosts.add(&text(data), "f");
    spend(hosts.check("db1", "ssh-ed25519", data));
    assert!(!hosts.algorithms("db1").is_empty());
    spend(kind_of(data));
}

fn ssh_config(data: &[u8]) {
    let mut once = HostConfig::default();
    once.merge(&text(data), "db1");
    // The first value wins, so the same file a second time says nothing new but its list of keys.
    let mut twice = once.clone();
    twice.merge(&text(data), "db1");
    twice.identity_files.clone_from(&once.identity_files);
    assert_eq!(once, twice);
}
