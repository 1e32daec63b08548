//! The peer: plain keepalived with a promote script, on the same lab, with the same client and faults.
//!
//! What it doesn't do is part of the comparison: it asks nobody before it promotes, its check looks at the server
//! once a second, and nothing stops a server that comes back. Its outages are shown beside pgbaton's of the same run.

use super::{lab_options, median, spread};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgbaton::cli::Fault;
use pgbaton::demo::client::{Manner, Writer, rows_present};
use pgbaton::demo::host::Host;
use pgbaton::demo::lab::{Lab, LabOptions, VIP};
use pgbaton::demo::patience::Patience;
use pgbaton::demo::preflight;
use pgbaton::host::clock::now;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// Nothing takes longer, or something is wrong.
const LIMIT: Duration = Duration::from_secs(60);
/// So many rows are written before the fault.
const WARM: usize = 200;

/// What one round showed.
struct Round {
    outage_ms: f64,
    lost: u64,
    /// Rows that the old primary acknowledged to a client of its own after the new one had begun.
    second_writer: u64,
}

/// Plays every fault with keepalived, and prints it beside what pgbaton needed in the same run.
pub(crate) fn compare(rounds: usize, ours: &[(Fault, u64, Vec<f64>)]) {
    println!(
        "\nthe same faults with plain keepalived and a promote script (check every 1 s, 2 failures; milliseconds: \
         min / median / p95 / max of {rounds})"
    );
    for (fault, advert, mine) in ours {
        if !matches!(fault, Fault::Power | Fault::Postgres | Fault::Freeze | Fault::Partition) {
            continue;
        }
        // Its timers are hundredths of a second; below 100 ms it is known to flap.
        if *advert < 100 {
            continue;
        }
        let played: Vec<Round> = (0..rounds).map(|_| round(*fault, Duration::from_millis(*advert))).collect();
        let outages: Vec<f64> = played.iter().map(|round| round.outage_ms).collect();
        println!(
            "  {} with {advert} ms adverts: {}   ({:.1} × pgbaton's median; rows lost: {}; acknowledged by the old \
             primary after the new one: {})",
            fault.name(),
            spread(&outages),
            median(&outages) / median(mine),
            list(played.iter().map(|round| round.lost)),
            list(played.iter().map(|round| round.second_writer)),
        );
    }
}

fn list(numbers: impl Iterator<Item = u64>) -> String {
    numbers.map(|number| number.to_string()).collect::<Vec<_>>().join(" ")
}

fn round(fault: Fault, advert: Duration) -> Round {
    let options = LabOptions { daemons: false, ..lab_options("peer", advert) };
    let lab = Lab::create(options, Arc::new(Patience::endless()), &|_| {}).expect("the lab is built");
    let (old, new) = (&lab.hosts[0], &lab.hosts[1]);
    // One after the other: whoever's check succeeds first takes the address, and `nopreempt` lets it keep it.
    let first = start(&lab, old, 200);
    until(&lab, "keepalived to give node1 the address", || {
        lab.holders().is_ok_and(|holders| holders == ["node1"])
    });
    let nodes = [first, start(&lab, new, 190)];
    until(&lab, "keepalived on node2 to stand by", || says(new, "Entering BACKUP STATE"));
    let writer = Writer::start(&lab.client, "client", lab.vip(), Manner::Eager).expect("a client");
    let own = std::net::SocketAddr::from((old.address, 5432));
    let local = Writer::start(&old.namespace, "local", own, Manner::Stubborn).expect("a client");
    until(&lab, "the client to write", || writer.look(|ledger| ledger.acknowledged.len() >= WARM));
    let at = match fault {
        Fault::Power => old.power_off(),
        Fault::Postgres => old.kill_postmaster(),
        Fault::Freeze => old.freeze(),
        Fault::Partition => old.cut(),
        Fault::Switchover => panic!("a script has none"),
    };
    let at = at.expect("the fault");
    until(&lab, "node2 to acknowledge", || {
        writer.look(|ledger| ledger.first_by_other(at, "node1").is_some())
    });
    let taken = now();
    lab.patience().pause(Duration::from_millis(300)).expect("a pause");
    if fault == Fault::Freeze {
        old.thaw();
        lab.patience().pause(Duration::from_secs(1)).expect("a pause");
    }
    let second_writer = local.finish().count_by("node1", taken);
    let ledger = writer.finish();
    let outage = ledger.outage(at).expect("an outage").length();
    let verdict = ledger.verify(&rows_present(&new.server_socket(), "client", LIMIT).expect("the rows"));
    for mut node in nodes {
        let pid = Pid::from_raw(i32::try_from(node.id()).expect("a pid"));
        // The power loss has ended it already.
        kill(pid, Signal::SIGKILL).ok();
        drop(node.wait());
    }
    lab.destroy().expect("the lab goes");
    Round { outage_ms: outage.as_secs_f64() * 1e3, lost: verdict.lost, second_writer }
}

fn until(lab: &Lab, what: &str, look: impl Fn() -> bool) {
    lab.patience().until(what, LIMIT, || Ok(look().then_some(()))).expect("it comes");
}

/// Whether a host's keepalived has logged this.
fn says(host: &Host, what: &str) -> bool {
    std::fs::read_to_string(host.directory.join("keepalived.log")).is_ok_and(|log| log.contains(what))
}

/// Starts keepalived on a host, as its manual would have it for a database.
fn start(lab: &Lab, host: &Host, priority: u8) -> Child {
    let machine = preflight::check(None).expect("a machine for a lab");
    let bin = machine.bin_directory.display();
    let folder = &host.directory;
    let script = |name: &str, text: String| -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a script");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("its rights");
        path
    };
    let data = host.data_directory.display();
    let promote = script(
        "promote.sh",
        format!("[ -e {data}/standby.signal ] && exec {bin}/pg_ctl promote -D {data} -w -t 30\nexit 0"),
    );
    let check =
        script("check.sh", format!("exec {bin}/pg_isready -q -t 1 -h {}", host.socket_directory.display()));
    let advert = lab.options.advert.as_secs_f64();
    let config = folder.join("keepalived.conf");
    let text = format!(
        "global_defs {{\n  router_id {name}\n  vrrp_version 3\n  script_user postgres\n}}\n\
         vrrp_script server {{\n  script \"{check}\"\n  interval 1\n  timeout 2\n  fall 2\n  rise 1\n}}\n\
         vrrp_instance database {{\n  state BACKUP\n  nopreempt\n  interface eth0\n  virtual_router_id 51\n  \
         priority {priority}\n  advert_int {advert}\n  virtual_ipaddress {{\n    {VIP}/24\n  }}\n  \
         track_script {{\n    server\n  }}\n  notify_master \"{promote}\"\n}}\n",
        name = host.name,
        check = check.display(),
        promote = promote.display(),
    );
    std::fs::write(&config, text).expect("its configuration");
    let log = std::fs::File::create(folder.join("keepalived.log")).expect("its log");
    let mut command = Command::new("keepalived");
    command.args(["-n", "-P", "-l", "-D", "-f"]).arg(&config);
    for (flag, file) in [("-p", "parent.pid"), ("-r", "vrrp.pid")] {
        command.arg(flag).arg(folder.join(file));
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).current_dir(folder).process_group(0);
    host.namespace
        .inside(move || Ok(command.spawn().expect("keepalived is installed")))
        .expect("keepalived starts")
}
