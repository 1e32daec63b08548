//! The verbs that a DBA runs by hand, each beside the program that does the same thing without guards.

use crate::support::{Cluster, Folder, bin_dir, give, long, must, tool, wait_for};
use crate::{BINARY, machine, median, print_series, series, timed};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What the server writes before each line: seconds and milliseconds since 1970.
const LOGGING: &str = "log_line_prefix = '%n '";

pub(crate) fn run(rounds: usize, megabytes: usize, words: &[String]) {
    println!("\nverbs ({}; milliseconds: min / median / max; the ratio is that of the medians)", machine());
    let names = ["start", "promotion", "history", "copy", "rewind"];
    let some = names.iter().any(|name| words.iter().any(|word| word == name));
    let wanted = |name: &str| !some || words.iter().any(|word| word == name);
    if wanted("start") {
        start_up(rounds.max(20));
    }
    if wanted("promotion") {
        promotions(rounds);
    }
    if wanted("history") {
        histories(rounds.max(10));
    }
    if wanted("copy") {
        copies(rounds.clamp(2, 20), megabytes);
    }
    if wanted("rewind") {
        rewinds(rounds.clamp(2, 20), megabytes, 1000);
        rewinds(rounds.clamp(2, 20), megabytes, 3);
    }
}

/// A command of ours for a server, without a configuration.
fn ours(words: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(words).env_remove("PGBATON_CONFIG").stdin(Stdio::null());
    command
}

/// Runs a command to its end, and returns how long that took and what it printed.
fn clocked(command: &mut Command) -> (f64, String) {
    let begin = Instant::now();
    let text = must(command.stderr(Stdio::null()));
    (begin.elapsed().as_secs_f64() * 1e3, text)
}

fn took(document: &serde_json::Value, step: &str) -> f64 {
    let steps = document["steps"].as_array().expect("the document has steps");
    let found = steps.iter().find(|known| known["step"] == step);
    found.and_then(|step| step["took_ms"].as_f64()).unwrap_or(f64::NAN)
}

fn parsed(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("one JSON document")
}

/// From the start of the process to the server's word on `pg_is_in_recovery()`, over its Unix socket.
fn start_up(rounds: usize) {
    println!("\n  from the start of the process to the answer to pg_is_in_recovery()");
    let server = Cluster::primary("n1");
    let sockets = server.sockets().display().to_string();
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let psql = bin_dir().join("psql").display().to_string();
    let asks =
        [words(&format!("-h {sockets} -U postgres -XAtqc")), vec!["SELECT pg_is_in_recovery()".to_owned()]]
            .concat();
    let peer = series(rounds, || timed(&psql, &asks));
    print_series("psql", &peer, None);
    let asks = words(&format!(
        "pg promote --dry-run --quiet -h {sockets} -p 5432 -U postgres -D {}",
        server.data().display()
    ));
    // It learns everything else about the server, too.
    let own = series(rounds, || timed(BINARY, &asks));
    print_series("pgbaton pg promote --dry-run", &own, Some(&peer));
}

/// What the server's own log says about a promotion, in seconds since 1970.
struct Logged {
    requested: f64,
    redone: f64,
    selected: f64,
    ready: f64,
}

fn logged(cluster: &Cluster) -> Option<Logged> {
    let log = cluster.log();
    let after = log.split_once("received promote request")?;
    let stamp = |text: &str| text.split(' ').next().and_then(|stamp| stamp.parse::<f64>().ok());
    let requested = stamp(after.0.lines().last()?)?;
    let at = |what: &str| after.1.lines().find(|line| line.contains(what)).and_then(stamp);
    Some(Logged {
        requested,
        redone: at("redo done").unwrap_or(requested),
        selected: at("selected new timeline ID")?,
        ready: at("ready to accept connections")?,
    })
}

fn promotions(rounds: usize) {
    println!("\n  a promotion, without peers: the server's own log is the floor");
    let primary = Cluster::primary_with("n1", LOGGING);
    must(
        tool("psql").args(["-U", "postgres", "-Xqc", "CREATE TABLE t (i int)", "-h"]).arg(primary.sockets()),
    );
    let standby = |_| Cluster::standby_of("n2", &primary);
    let millis = |from: f64, to: f64| (to - from) * 1e3;
    let (mut before, mut redo, mut timeline, mut server) = (vec![], vec![], vec![], vec![]);
    let (mut step, mut epoch, mut checkpoint, mut whole) = (vec![], vec![], vec![], vec![]);
    for standby in (0..rounds).map(standby) {
        let begin = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs_f64();
        let mut verb = ours(&["pg", "promote", "--json", "-U", "postgres", "-p", "5432", "-h"]);
        let (all, text) = clocked(verb.arg(standby.sockets()).arg("-D").arg(standby.data()));
        let log = logged(&standby).expect("the server's log of the promotion");
        let document = parsed(&text);
        before.push(millis(begin, log.requested));
        redo.push(millis(log.requested, log.redone));
        timeline.push(millis(log.redone, log.selected));
        server.push(millis(log.requested, log.ready));
        step.push(took(&document, "promote"));
        epoch.push(took(&document, "record-epoch"));
        checkpoint.push(took(&document, "checkpoint"));
        whole.push(all);
    }
    print_series("server: request to ready (floor)", &server, None);
    print_series("  of it: request to end of redo", &redo, None);
    print_series("  of it: redo to new timeline", &timeline, None);
    print_series("pgbaton: start to request", &before, None);
    print_series("pgbaton: request to writable", &step, Some(&server));
    print_series("pgbaton: the epoch row", &epoch, None);
    print_series("pgbaton: the checkpoint", &checkpoint, None);
    print_series("pgbaton pg promote, all of it", &whole, Some(&server));
    let sql: Vec<f64> = (0..rounds)
        .map(standby)
        .map(|standby| {
            let mut psql = tool("psql");
            clocked(psql.args(["-U", "postgres", "-Xqc", "SELECT pg_promote()", "-h"]).arg(standby.sockets()))
                .0
        })
        .collect();
    print_series("psql: SELECT pg_promote()", &sql, Some(&server));
    let ctl: Vec<f64> = (0..rounds)
        .map(standby)
        .map(|standby| clocked(tool("pg_ctl").args(["promote", "-w", "-s", "-D"]).arg(standby.data())).0)
        .collect();
    print_series("pg_ctl promote -w", &ctl, Some(&server));
}

/// An `sshd` on the loopback with keys of its own, and what leads there.
struct Ssh {
    folder: Folder,
    child: Child,
}

impl Ssh {
    const PORT: u16 = 22_622;

    fn start() -> Self {
        let folder = Folder::new();
        let here = folder.path().display().to_string();
        std::fs::create_dir_all("/run/sshd").expect("a place for sshd");
        std::fs::create_dir(folder.path().join(".ssh")).expect("a folder");
        for name in ["host", "user"] {
            must(
                Command::new("ssh-keygen")
                    .args(["-q", "-N", "", "-t", "ed25519", "-f"])
                    .arg(folder.path().join(name)),
            );
        }
        let write =
            |name: &str, text: String| std::fs::write(folder.path().join(name), text).expect("a file");
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("a key");
        write("authorized", read("user.pub"));
        write("known", format!("[127.0.0.1]:{} {}", Self::PORT, read("host.pub")));
        write(
            "sshd_config",
            format!(
                "Port {}\nListenAddress 127.0.0.1\nHostKey {here}/host\nPidFile none\nStrictModes no\nUsePAM no\n\
                 AuthorizedKeysFile {here}/authorized\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
                 PermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n",
                Self::PORT
            ),
        );
        write(
            ".ssh/config",
            format!(
                "Host 127.0.0.1\nPort {}\nUser root\nIdentityFile {here}/user\nIdentitiesOnly yes\n\
                 UserKnownHostsFile {here}/known\nGlobalKnownHostsFile none\nBatchMode yes\n",
                Self::PORT
            ),
        );
        let mut sshd = Command::new("/usr/sbin/sshd");
        sshd.args(["-D", "-e", "-f"]).arg(folder.path().join("sshd_config"));
        let child =
            sshd.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("sshd (openssh-server is needed)");
        wait_for("sshd", || std::net::TcpStream::connect(("127.0.0.1", Self::PORT)).is_ok());
        Self { folder, child }
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// One history file, fetched in each way there is.
fn histories(rounds: usize) {
    println!("\n  pg fetch-history, one file, by transport; beside it the tool that gets the same file");
    let primary = Cluster::primary("n1");
    let standby = Cluster::standby_of("n2", &primary);
    must(tool("psql").args(["-U", "postgres", "-Xqc", "SELECT pg_promote()", "-h"]).arg(standby.sockets()));
    let ssh = Ssh::start();
    let home = ssh.folder.path().display().to_string();
    let (sockets, data) = (standby.sockets().display().to_string(), standby.data().display().to_string());
    let fetch = |transport: &str, from: &str, more: &[&str]| {
        let words = [
            "pg",
            "fetch-history",
            "--quiet",
            "--no-pg-wal",
            "--timeline",
            "2",
            "-U",
            "postgres",
            "-p",
            "5432",
        ];
        series(rounds, || {
            let archive = Folder::new();
            let mut command = ours(&words);
            command.args(["--transport", transport, "--from", from]).args(more);
            command.arg("--to-archive").arg(archive.path()).env("HOME", &home);
            let (took, _) = clocked(&mut command);
            assert!(archive.path().join("00000002.history").exists(), "{transport}");
            took
        })
    };
    let psql = |what: &str, more: &str| {
        let conninfo = format!("host={sockets} user=postgres dbname=postgres {more}");
        series(rounds, || clocked(tool("psql").args(["-XAtqc", what, "-d", &conninfo])).0)
    };
    let peer = psql("TIMELINE_HISTORY 2", "replication=true");
    print_series("psql: TIMELINE_HISTORY", &peer, None);
    print_series("pgbaton: replication", &fetch("replication", &sockets, &[]), Some(&peer));
    let peer = psql("SELECT pg_read_binary_file('pg_wal/00000002.history')", "");
    print_series("psql: pg_read_binary_file", &peer, None);
    print_series("pgbaton: sql", &fetch("sql", &sockets, &[]), Some(&peer));
    let peer = series(rounds, || {
        let to = Folder::new();
        let mut scp = Command::new("scp");
        scp.arg("-q").arg("-F").arg(ssh.folder.path().join(".ssh/config"));
        scp.arg(format!("127.0.0.1:{data}/pg_wal/00000002.history")).arg(to.path());
        clocked(&mut scp).0
    });
    print_series("scp", &peer, None);
    let own = fetch("ssh", "127.0.0.1", &["--remote-data-directory", &data]);
    print_series("pgbaton: ssh", &own, Some(&peer));
}

/// Fills a server with about so much.
fn fill(server: &Cluster, megabytes: usize) {
    let mut session = server.session();
    let rows = megabytes * 1024;
    let sql = format!(
        "CREATE TABLE public.big AS SELECT i, repeat(md5(i::text), 31) AS t FROM generate_series(1, {rows}) AS i; CHECKPOINT"
    );
    session.execute("SET statement_timeout = 0", long()).expect("a setting");
    for statement in sql.split("; ") {
        session
            .execute(statement, pgbaton::host::clock::Deadline::after(Duration::from_secs(600)))
            .expect("the data");
    }
}

fn rebuild(node: &Cluster, source: &Cluster, more: &[&str]) -> (f64, serde_json::Value) {
    let mut verb =
        ours(&["pg", "rebuild-standby", "--json", "--node", &node.name, "--user", "postgres", "-p", "5432"]);
    verb.arg("-D").arg(node.data()).arg("--socket-directory").arg(node.sockets());
    verb.arg("--source-host").arg(source.sockets()).args(["--source-port", "5432"]).args(more);
    let (took, text) = clocked(verb.arg("--bin-directory").arg(bin_dir()));
    (took, parsed(&text))
}

fn rates(label: &str, values: &[f64], megabytes: f64, floor: Option<&[f64]>) {
    let rate = megabytes / (median(values) / 1e3);
    let share =
        floor.map_or_else(String::new, |floor| format!("   {:.0} %", 100.0 * median(floor) / median(values)));
    let (least, most) =
        (values.iter().copied().fold(f64::MAX, f64::min), values.iter().copied().fold(0.0, f64::max));
    println!("  {label:<44} {least:>6.0} / {:>6.0} / {most:>6.0} ms {rate:>6.0} MB/s{share}", median(values));
}

/// A base backup by the verb, and by `pg_basebackup` itself, turn and turn about.
fn copies(rounds: usize, megabytes: usize) {
    let primary = Cluster::primary_with("n1", "max_wal_size = 8GB");
    fill(&primary, megabytes);
    let size: f64 =
        primary.ask("SELECT sum(pg_database_size(oid)) / 1e6 FROM pg_database").parse().expect("a size");
    println!("\n  a copy of {size:.0} MB ({rounds} rounds; the share is of pg_basebackup's rate)");
    let (mut plain, mut step, mut whole) = (vec![], vec![], vec![]);
    // What one leaves to be written back must not be paid by the other, and neither is always the first.
    for turn in 0..rounds * 2 {
        must(&mut Command::new("sync"));
        if matches!(turn % 4, 0 | 3) {
            let there = Cluster::nothing("n2");
            let mut backup = tool("pg_basebackup");
            backup.args(["-U", "postgres", "-p", "5432", "-X", "stream", "-c", "fast", "-R", "-P", "-h"]);
            plain.push(clocked(backup.arg(primary.sockets()).arg("-D").arg(there.data())).0);
            continue;
        }
        let node = Cluster::nothing("n3");
        let (all, document) = rebuild(&node, &primary, &[]);
        step.push(took(&document, "copy"));
        whole.push(all);
        drop(node);
        primary.wait_until("SELECT count(*) = 0 FROM pg_replication_slots WHERE active");
        primary.ask("SELECT pg_drop_replication_slot('n3')");
    }
    rates("pg_basebackup", &plain, size, None);
    rates("pgbaton: the copy", &step, size, Some(&plain));
    rates("pgbaton: until it streams", &whole, size, Some(&plain));
}

/// A rewind by the verb, and by `pg_rewind` itself, of copies of the same data: the primary has gone on by a third of
/// it, and what the old one loses is one row in `lost`.
fn rewinds(rounds: usize, megabytes: usize, lost: u32) {
    let first = Cluster::primary_with("n1", "max_wal_size = 8GB\nwal_keep_size = 8GB");
    fill(&first, megabytes);
    let second = Cluster::standby_of("n2", &first);
    assert_eq!(second.ask("SELECT pg_promote()"), "t");
    for (server, every) in [(&first, lost), (&second, 3)] {
        let deadline = pgbaton::host::clock::Deadline::after(Duration::from_secs(600));
        let update = format!("UPDATE public.big SET t = t || 'x' WHERE i % {every} = 0");
        server.session().execute(update, deadline).expect("the writes");
        server.session().execute("CHECKPOINT", deadline).expect("a checkpoint");
    }
    first.stop();
    let size: f64 =
        second.ask("SELECT sum(pg_database_size(oid)) / 1e6 FROM pg_database").parse().expect("a size");
    println!(
        "\n  a rewind of {size:.0} MB, a third of them changed since, one row in {lost} lost ({rounds} rounds; the share is of \
         the tool's rate)"
    );
    let (mut plain, mut by_hand, mut step, mut whole) = (vec![], vec![], vec![], vec![]);
    let mut stages: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    // Neither is always the first: what one leaves in the page cache must not be the other's gain.
    for turn in 0..rounds * 2 {
        let old = Cluster::copy_of(&first);
        settle(&old.data());
        if matches!(turn % 4, 0 | 3) {
            let source =
                format!("host={} port=5432 user=postgres dbname=postgres", second.sockets().display());
            second.ask("SELECT pg_create_physical_replication_slot('n1', true)");
            let own = std::fs::read(old.data().join("postgresql.conf")).expect("its configuration");
            let begin = Instant::now();
            let mut rewind = tool("pg_rewind");
            rewind.arg("-D").arg(old.data()).args(["-R", "-P", "--source-server", &source]);
            plain.push(clocked(&mut rewind).0);
            // It brings the source's configuration along; by hand, too, the own one must be put back.
            std::fs::write(old.data().join("postgresql.conf"), own).expect("its configuration");
            old.start();
            second.wait_until("SELECT count(*) = 1 FROM pg_stat_replication WHERE state = 'streaming'");
            by_hand.push(begin.elapsed().as_secs_f64() * 1e3);
        } else {
            let (all, document) = rebuild(&old, &second, &["--method", "rewind"]);
            step.push(took(&document, "rewind"));
            whole.push(all);
            for one in document["steps"].as_array().expect("the steps") {
                let name = one["step"].as_str().unwrap_or_default().to_owned();
                stages.entry(name).or_default().push(one["took_ms"].as_f64().unwrap_or(0.0));
            }
        }
        drop(old);
        second.wait_until("SELECT count(*) = 0 FROM pg_replication_slots WHERE active");
        second.ask("SELECT pg_drop_replication_slot('n1')");
    }
    rates("pg_rewind", &plain, size, None);
    rates("pgbaton: the rewind", &step, size, Some(&plain));
    rates("pg_rewind, pg_ctl start, until it streams", &by_hand, size, None);
    rates("pgbaton: with its checks, until it streams", &whole, size, Some(&by_hand));
    for (name, values) in stages.iter().filter(|(_, values)| median(values) >= 5.0) {
        println!("    of it: {name:<37} {:>8.0} ms", median(values));
    }
}

/// Writes a fresh copy to the disk before anything is timed.
fn settle(data: &Path) {
    give(data);
    must(&mut Command::new("sync"));
}
