//! `cluster status` against real servers: each on a loopback address of its own, the virtual IP another one.

use crate::support::pg::{Cluster, long, must, tool, wait_for};
use nix::sys::signal::Signal;
use pgbaton::command::cluster_status::Collector;
use pgbaton::host::clock;
use pgbaton::output::status::{
    ClusterView, DaemonView, Reach, ServerRole, Severity, Source, StatusReport, VipAnswer, problems,
};
use pgbaton::pg::conn::{ConnSettings, Session};
use pgbaton::pg::status_row::{self, NodeStatus};
use pgbaton::settings::Settings;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const PATIENT: Duration = Duration::from_secs(20);

/// A network of loopback addresses that no other test of this machine uses at the moment.
struct Net(String);

impl Net {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        Self(format!("127.{}.{}", 100 + pid % 100, (pid / 100 + number * 83) % 250 + 1))
    }

    fn host(&self, last: u32) -> String {
        format!("{}.{last}", self.0)
    }

    fn primary(&self, name: &str, listen: &[u32]) -> Cluster {
        let cluster = Cluster::primary_with(name, &self.listen(listen));
        let mut file =
            std::fs::OpenOptions::new().append(true).open(cluster.data().join("pg_hba.conf")).unwrap();
        writeln!(file, "host all postgres 127.0.0.0/8 trust").unwrap();
        cluster.ask("SELECT pg_reload_conf()");
        cluster.wait_until("SELECT count(*) > 0 FROM pg_hba_file_rules WHERE address = '127.0.0.0'");
        wait_for("TCP to be let in", || self.reaches(listen[0]));
        cluster
    }

    fn standby(&self, name: &str, primary: &Cluster, listen: &[u32]) -> Cluster {
        let cluster = Cluster::standby_not_started(name, primary);
        cluster.append_settings(&self.listen(listen));
        cluster.start();
        cluster.wait_until("SELECT count(*) = 1 FROM pg_stat_wal_receiver WHERE status = 'streaming'");
        cluster
    }

    fn listen(&self, hosts: &[u32]) -> String {
        let hosts: Vec<String> = hosts.iter().map(|host| self.host(*host)).collect();
        format!("listen_addresses = '{}'", hosts.join(","))
    }

    fn reaches(&self, host: u32) -> bool {
        use pgbaton::pg::conn::{ConnSettings, Host, Session};
        let host = Host::Tcp(self.host(host).parse().unwrap(), 5432);
        Session::connect(&ConnSettings::new(host, "postgres", "test"), long()).is_ok()
    }

    /// Settings of nodes 1 to `nodes`, with the virtual IP at host 99 once it may be a loopback address.
    fn settings(&self, nodes: u32, runtime: &Path) -> Settings {
        let mut text = format!(
            "[cluster]\nname = \"test\"\nruntime_directory = \"{}\"\n[vrrp]\nvirtual_router_id = 51\n\
             [[vip]]\naddress = \"192.0.2.99/24\"\n[postgres]\n",
            runtime.display()
        );
        for node in 1..=nodes {
            text += &format!(
                "[[node]]\nname = \"node{node}\"\naddress = \"192.0.2.{node}\"\npriority = {}\n\
                 data_directory = \"/nowhere/{node}\"\n",
                200 - node
            );
        }
        let mut settings = Settings::from_toml(&text, "test.toml").unwrap();
        for (node, last) in settings.nodes.iter_mut().zip(1..) {
            node.address = self.host(last).parse().unwrap();
        }
        let vip = self.host(99).parse().unwrap();
        settings.vips[0].address = pgbaton::units::InterfaceAddress::new(vip, 24).unwrap();
        settings
    }

    fn look(&self, nodes: u32) -> ClusterView {
        self.look_for(nodes, PATIENT)
    }

    fn look_for(&self, nodes: u32, timeout: Duration) -> ClusterView {
        Collector::new(self.settings(nodes, Path::new("/nowhere")), timeout).collect()
    }
}

fn stop(cluster: &Cluster) {
    must(tool("pg_ctl").args(["stop", "-w", "-s", "-m", "fast", "-D"]).arg(cluster.data()));
}

fn codes(view: &ClusterView) -> Vec<&'static str> {
    let bad = |problem: &pgbaton::output::status::Problem| problem.severity != Severity::Note;
    problems(view).into_iter().filter(bad).map(|problem| problem.code).collect()
}

fn on(name: &str) -> VipAnswer {
    VipAnswer::Node { node: name.to_owned() }
}

#[test]
fn a_primary_and_its_standby_are_healthy_and_the_vip_is_with_the_primary() {
    let net = Net::new();
    let primary = net.primary("node1", &[1, 99]);
    let standby = net.standby("node2", &primary, &[2]);
    primary.ask("CREATE TABLE public.t AS SELECT generate_series(1, 1000)");
    let target = primary.ask("SELECT pg_current_wal_lsn()");
    standby.wait_until(&format!("SELECT pg_last_wal_replay_lsn() >= '{target}'"));
    let report = StatusReport::new(net.look(2));
    assert!(report.healthy, "{:#?}", report.problems);
    assert_eq!(report.primary.as_deref(), Some("node1"));
    assert_eq!(report.view.vips[0].answer, on("node1"));
    let [node1, node2] = report.view.nodes.as_slice() else { panic!("two nodes") };
    let (one, two) = (node1.server.as_ref().unwrap(), node2.server.as_ref().unwrap());
    assert_eq!((one.role, two.role), (ServerRole::Primary, ServerRole::Standby));
    assert_eq!(one.system_id, two.system_id);
    assert_eq!(one.senders[0].name, "node2");
    assert_eq!(two.receiver.as_ref().unwrap().status.as_deref(), Some("streaming"));
    assert!(two.lag_bytes.is_some() && two.lag_seconds.is_some());
    assert_eq!(one.start_protected, Some(false));
    assert_eq!(node1.daemon, DaemonView::Unknown);
    // The document is one that a program can read.
    let document = serde_json::to_value(&report).unwrap();
    assert_eq!(document["nodes"][1]["server"]["role"], "standby");
    assert_eq!(document["vips"][0]["answer"]["node"], "node1");
}

#[test]
fn a_node_that_is_down_one_that_is_frozen_and_one_that_lets_nobody_in_are_told_apart() {
    let net = Net::new();
    let primary = net.primary("node1", &[1, 99]);
    let frozen = net.standby("node3", &primary, &[3]);
    let closed = net.standby("node4", &primary, &[4]);
    let hba = closed.data().join("pg_hba.conf");
    let text = std::fs::read_to_string(&hba).unwrap();
    let text = text.replace("127.0.0.0/8", "198.51.100.0/24").replace("127.0.0.1/32", "198.51.100.0/24");
    std::fs::write(&hba, text).unwrap();
    closed.ask("SELECT pg_reload_conf()");
    wait_for("the address to be locked out", || !net.reaches(4));
    frozen.signal(Signal::SIGSTOP);
    let before = clock::now();
    let mut collector = Collector::new(net.settings(4, Path::new("/nowhere")), Duration::from_secs(2));
    let view = collector.collect();
    // The frozen one costs its timeout once, not once for each node after it.
    assert!(clock::now().since(before) < Duration::from_secs(10));
    let reaches: Vec<Reach> = view.nodes.iter().map(|node| node.reach).collect();
    assert_eq!(reaches, [Reach::Answered, Reach::Refused, Reach::Timeout, Reach::Auth]);
    assert_eq!(codes(&view), ["server-down", "no-answer", "not-let-in"]);
    // A second look doesn't start another attempt that is bound to hang.
    assert_eq!(collector.collect().nodes[2].reach, Reach::Timeout);
    frozen.signal(Signal::SIGCONT);
}

#[test]
fn a_watching_collector_sees_a_restart_and_a_moved_vip() {
    let net = Net::new();
    let primary = net.primary("node1", &[1]);
    let standby = net.standby("node2", &primary, &[2, 99]);
    let mut collector = Collector::new(net.settings(2, Path::new("/nowhere")), PATIENT);
    let view = collector.collect();
    assert_eq!(view.vips[0].answer, on("node2"));
    assert_eq!(codes(&view), ["vip-on-standby"]);
    stop(&standby);
    let view = collector.collect();
    assert!(matches!(view.vips[0].answer, VipAnswer::Nobody { .. }), "{:?}", view.vips);
    assert_eq!(codes(&view), ["vip-nowhere", "server-down"]);
    standby.append_settings(&net.listen(&[2]));
    standby.start();
    primary.append_settings(&net.listen(&[1, 99]));
    stop(&primary);
    primary.start();
    standby.wait_until("SELECT count(*) = 1 FROM pg_stat_wal_receiver WHERE status = 'streaming'");
    let view = collector.collect();
    assert_eq!(view.vips[0].answer, on("node1"));
    assert_eq!(codes(&view), [""; 0]);
}

#[test]
fn a_stranger_behind_the_vip_is_none_of_the_nodes() {
    let net = Net::new();
    let _primary = net.primary("node1", &[1]);
    let _stranger = net.primary("other", &[99]);
    let view = net.look(1);
    assert!(
        matches!(&view.vips[0].answer, VipAnswer::Stranger { detail } if detail.contains("a primary of"))
    );
    assert_eq!(codes(&view), ["vip-on-stranger"]);
    // While a node can't be asked, it might be that node: nothing is guessed.
    let view = net.look(2);
    assert!(matches!(&view.vips[0].answer, VipAnswer::Unknown { detail } if detail.contains("node2")));
}

#[test]
fn two_primaries_and_then_the_one_that_forked_off_are_seen() {
    let net = Net::new();
    let old = net.primary("node1", &[1]);
    let new = net.standby("node2", &old, &[2, 99]);
    new.append_settings("primary_conninfo = ''");
    new.ask("SELECT pg_reload_conf()");
    new.wait_until("SELECT count(*) = 0 FROM pg_stat_wal_receiver");
    let view = net.look(2);
    assert!(codes(&view).contains(&"not-streaming"), "{view:#?}");
    assert_eq!(view.nodes[1].server.as_ref().unwrap().upstream_configured, Some(false));
    // What the old primary writes now, the new one never gets.
    old.ask("CREATE TABLE public.lost AS SELECT generate_series(1, 1000)");
    old.ask("CHECKPOINT");
    new.ask("SELECT pg_promote()");
    assert!(codes(&net.look(2)).contains(&"two-primaries"));
    stop(&old);
    old.follow(&new);
    std::fs::write(old.data().join("standby.signal"), "").unwrap();
    old.start();
    let view = net.look(2);
    assert_eq!(view.vips[0].answer, on("node2"));
    assert_eq!(codes(&view), ["forked-off"]);
    let found = problems(&view).remove(0);
    assert_eq!(found.node.as_deref(), Some("node1"));
    assert!(
        found.message.contains("on timeline 1, and the primary's timeline 2 left it at"),
        "{}",
        found.message
    );
}

#[test]
fn why_a_node_stays_down_is_read_from_the_primary() {
    let net = Net::new();
    let primary = net.primary("node1", &[1, 99]);
    assert_eq!(net.look(2).nodes[1].daemon, DaemonView::Unknown);
    let mut session = primary.session();
    let status = NodeStatus {
        node: "node2".to_owned(),
        vrrp_state: "BACKUP".to_owned(),
        phase: "fenced".to_owned(),
        reason: Some("term 3 is confirmed on node1".to_owned()),
        hint: Some("is its data needed?".to_owned()),
        config: None,
    };
    assert!(status_row::write(&mut session, &status, long()).unwrap());
    let view = net.look(2);
    let told = view.nodes[1].daemon.told().unwrap();
    assert_eq!((told.source, told.phase.as_deref()), (Source::Table, Some("fenced")));
    assert!(told.at.is_some() && told.since_seconds.is_some());
    let all = problems(&view);
    let found = all.iter().find(|found| found.node.as_deref() == Some("node2")).unwrap();
    assert_eq!(found.message, "PostgreSQL is kept down: term 3 is confirmed on node1");
    assert_eq!(found.hint, "is its data needed?");
    assert!(codes(&view).contains(&"daemon-unknown"), "nobody tells anything of node1");
    // What says nothing new isn't written, and leaves nothing in the log.
    let at = || primary.ask("SELECT at FROM pgbaton.node_status WHERE node = 'node2'");
    let before = at();
    assert!(status_row::write(&mut session, &status, long()).unwrap());
    assert_eq!(at(), before);
    // The daemon lives as long as its session does.
    assert!(codes(&view).contains(&"daemon-silent"), "{view:#?}");
    let own = ConnSettings { application_name: status_row::session_name("node2"), ..primary.settings() };
    let kept = Session::connect(&own, long()).unwrap();
    let view = net.look(2);
    assert_eq!(view.nodes[1].daemon.told().unwrap().connected, Some(true));
    assert!(!codes(&view).contains(&"daemon-silent"));
    drop(kept);
    primary
        .wait_until("SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name ~ '^pgbaton/daemon'");
    assert_eq!(net.look(2).nodes[1].daemon.told().unwrap().connected, Some(false));
    // A new primary must be found first.
    let new = NodeStatus { node: "node1".to_owned(), phase: "serving".to_owned(), ..status };
    assert!(status_row::write(&mut session, &new, long()).unwrap());
    assert_eq!(net.look(2).nodes[1].daemon.told().unwrap().connected, None);
}

#[test]
fn the_daemon_of_this_machine_is_asked_and_missed() {
    let net = Net::new();
    let folder = crate::support::pg::Folder::new();
    let mut settings = net.settings(2, folder.path());
    settings.choose_me("node1").unwrap();
    let view = Collector::new(settings.clone(), PATIENT).collect();
    assert!(matches!(view.nodes[0].daemon, DaemonView::NotRunning { .. }));
    assert_eq!(view.nodes[1].daemon, DaemonView::Unknown);
    assert!(codes(&view).contains(&"daemon-down"));

    let socket = UnixListener::bind(folder.path().join("node1.sock")).unwrap();
    let daemon = std::thread::spawn(move || {
        let (stream, _) = socket.accept().unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        let since = clock::now() - Duration::from_secs(90);
        let answer = serde_json::json!({
            "schema": 1, "cluster": "test", "node": "node1", "phase": "serving", "term": 2,
            "vrrp": {"state": "ACTIVE", "since_ns": since.as_nanos()},
            "vips": [{"address": "192.0.2.99/24", "held": true}],
        });
        writeln!(&stream, "{answer}").unwrap();
        line
    });
    let view = Collector::new(settings, PATIENT).collect();
    assert_eq!(daemon.join().unwrap().trim(), "{\"request\":\"status\"}");
    let told = view.nodes[0].daemon.told().unwrap();
    assert_eq!(told.source, Source::Socket);
    assert_eq!(told.vrrp_state.as_deref(), Some("ACTIVE"));
    assert_eq!((told.term, told.held.as_ref().map(Vec::len)), (Some(2), Some(1)));
    assert!(told.since_seconds.unwrap() >= 90);
}

#[test]
fn the_verb_prints_a_table_or_a_document_and_exits_with_1_when_something_is_wrong() {
    let folder = crate::support::pg::Folder::new();
    let file = folder.path().join("pgbaton.toml");
    // Addresses that no host has (RFC 5737): the network has no way there, or nobody answers.
    let text = "[cluster]\nname = \"test\"\nruntime_directory = \"/nowhere\"\n[vrrp]\nvirtual_router_id = 51\n\
                [[node]]\nname = \"node1\"\naddress = \"192.0.2.1\"\npriority = 200\n\
                [[node]]\nname = \"node2\"\naddress = \"192.0.2.2\"\npriority = 100\n\
                [[vip]]\naddress = \"192.0.2.99/24\"\n[postgres]\ndata_directory = \"/nowhere\"\n";
    std::fs::write(&file, text).unwrap();
    let run = |flags: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgbaton"));
        command.args(["cluster", "status", "--timeout", "200ms", "--config"]).arg(&file).args(flags);
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, stdout, stderr) = run(&[]);
    assert_eq!((code, stderr.as_str()), (Some(1), "error: the cluster test isn't healthy\n"), "{stdout}");
    assert!(stdout.starts_with("cluster test: "), "{stdout}");
    assert!(stdout.contains("\nNODE   ROLE"), "{stdout}");
    assert!(stdout.contains("critical: no node that answers is the primary"), "{stdout}");
    assert!(stdout.contains("\n  hint: "), "{stdout}");
    let (code, stdout, stderr) = run(&["--json"]);
    assert_eq!((code, stderr.as_str()), (Some(1), ""));
    let document: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&document["schema"], &document["healthy"]), (&1.into(), &false.into()));
}

#[test]
fn a_watch_ends_with_ctrl_c_and_each_document_is_one_line() {
    let folder = crate::support::pg::Folder::new();
    let file = folder.path().join("pgbaton.toml");
    let text = "[cluster]\nname = \"test\"\nruntime_directory = \"/nowhere\"\n[vrrp]\nvirtual_router_id = 51\n\
                [[node]]\nname = \"node1\"\naddress = \"192.0.2.1\"\npriority = 200\n\
                [[vip]]\naddress = \"192.0.2.99/24\"\n";
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgbaton"));
    command.args(["cluster", "status", "--json", "--watch=20ms", "--config"]).arg(&file);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..3 {
        let document: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(document["healthy"], true);
    }
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, Signal::SIGINT).unwrap();
    lines.for_each(|line| drop(line.unwrap()));
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
