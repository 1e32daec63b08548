//! The runbook, as somebody follows it at night: each command on the node that it names.

use crate::support::lab::Stage;

/// The commands of the page, all of them or up to the second part.
fn steps(all: bool) -> Vec<String> {
    let text = std::fs::read_to_string(crate::golden::source("src/cli/templates/pages/runbook.txt")).unwrap();
    let part = if all { text.as_str() } else { text.split("# TWO PRIMARIES").next().unwrap() };
    let commands = part.lines().filter_map(|line| line.strip_prefix("    pgbaton "));
    commands.map(str::to_owned).collect()
}

/// Runs a step of the page on a node, as a superuser of its server; returns the first column of the first row.
fn psql(stage: &Stage, node: &str, sql: &str) -> String {
    let line = format!("    psql -c \"{sql}\"");
    let text = std::fs::read_to_string(crate::golden::source("src/cli/templates/pages/runbook.txt")).unwrap();
    assert!(text.lines().any(|known| known == line), "{line} isn't in the runbook");
    stage.ask(node, sql)
}

/// Runs a step of the page on a node; returns what it said.
fn run(stage: &Stage, steps: &[String], node: &str, step: &str, codes: &[i32]) -> String {
    assert!(steps.iter().any(|known| known == step), "{step} isn't in the runbook: {steps:#?}");
    // As a shell reads it.
    let words: Vec<String> = step
        .split('"')
        .enumerate()
        .flat_map(|(place, part)| match place % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect::<Vec<_>>(),
            _ => vec![part.to_owned()],
        })
        .collect();
    let output = stage.pgbaton(node, &words.iter().map(String::as_str).collect::<Vec<_>>());
    let code = output.status.code().unwrap();
    assert!(codes.contains(&code), "{step}: {code}: {}", output.complaint());
    String::from_utf8_lossy(&output.stdout).into_owned() + &output.complaint()
}

#[test]
fn the_steps_after_the_death_of_a_primary_lead_to_two_healthy_nodes() {
    let steps = steps(false);
    let stage = Stage::with("runbook", |options| "hold".clone_into(&mut options.availability));
    let run = |node: &str, step: &str, codes: &[i32]| run(&stage, &steps, node, step, codes);
    let fault = stage.host("node1").power_off().unwrap();
    stage.until_sign("node2", "active-down", fault);
    let seen = run("node2", "cluster status", &[1]);
    assert!(seen.contains("node1"), "{seen}");
    let verdict = run("node2", "pg promote --dry-run", &[3]);
    assert!(verdict.contains("proof-of-death"), "{verdict}");
    // Its machine doesn't answer: no proof is to be had, and the command says that.
    run("node2", "pg fence --node node1", &[1, 69, 75, 78]);
    run("node2", "pg promote --force proof-of-death", &[0]);
    stage.until_serving("node2");
    run("node2", "cluster status", &[0, 1]);
    stage.host("node1").power_on(false).unwrap();
    let would = run("node1", "pg rebuild-standby --dry-run", &[0]);
    assert!(would.contains("dry run"), "{would}");
    run("node1", "pg rebuild-standby", &[0]);
    stage.until("node1 to stream", || stage.host("node2").streams_to("node1").unwrap().then_some(()));
    stage.until("a healthy cluster", || {
        stage.pgbaton("node2", &["cluster", "status"]).status.success().then_some(())
    });
    run("node1", "pg rebuild-standby --list-kept", &[0]);
    run("node1", "pg rebuild-standby --drop-kept", &[0]);
}

#[test]
fn the_steps_of_maintenance_and_those_of_a_lost_address_are_commands_that_work() {
    let steps = steps(true);
    let stage = Stage::with("runbook-2", |options| "hold".clone_into(&mut options.availability));
    let run = |node: &str, step: &str, codes: &[i32]| run(&stage, &steps, node, step, codes);
    for node in ["node1", "node2"] {
        let vip = run(node, "vip status", &[0]);
        assert!(vip.contains(if node == "node1" { "yes" } else { "-" }), "{vip}");
        run(node, "vrrp status", &[0]);
    }
    // It is where it belongs: nothing to do, and the other node is refused by the probe.
    let up = run("node1", "vip up", &[0]);
    assert!(up.contains("unchanged"), "{up}");
    run("node2", "vip up", &[3]);
    assert!(!stage.holds("node2"));
    let lag = run("node2", "pg rebuild-standby --dry-run", &[0]);
    assert!(lag.contains("unchanged") || lag.contains("dry run"), "{lag}");
    run("node1", "cluster pause", &[0]);
    let paused = run("node2", "cluster status", &[1]);
    assert!(paused.contains("paused") && paused.contains("pgbaton cluster resume"), "{paused}");
    run("node1", "cluster resume", &[0]);
    run("node1", "cluster switchover --dry-run", &[0]);
    run("node1", "cluster switchover", &[0]);
    stage.until_serving("node2");
    stage.until("a healthy cluster", || {
        stage.pgbaton("node2", &["cluster", "status"]).status.success().then_some(())
    });
    // Beside the daemon keepalived's hook says what it would do, and does nothing.
    run("node1", "notify master --once --dry-run", &[0, 3]);
    assert!(stage.host("node1").in_recovery().unwrap());
}

#[test]
fn every_command_of_the_page_is_run_by_a_test() {
    let text = std::fs::read_to_string(crate::golden::source("src/cli/templates/pages/runbook.txt")).unwrap();
    let here = include_str!("runbook.rs");
    // What other tests run, with what they need for it; and what isn't ours.
    let elsewhere = [
        ("pgbaton pg promote --force votes --force proof-of-death", "tests/netns/lossless.rs", "\"votes\""),
        ("pgbaton notify --marker 127.112.0.51 master", "tests/keepalived/chain.rs", "--marker"),
        ("pgbaton cluster check --peers", "tests/keepalived/probe.rs", "\"--peers\""),
    ];
    let others = ["journalctl -", "systemctl st", "cat /", "df -h", "ip neigh show"];
    for command in text.lines().filter_map(|line| line.strip_prefix("    ")) {
        if others.iter().any(|known| command.starts_with(known)) {
            continue;
        }
        if let Some((_, file, sign)) = elsewhere.iter().find(|(known, ..)| *known == command) {
            let other = std::fs::read_to_string(crate::golden::source(file)).unwrap();
            assert!(other.contains(sign), "{command}: {file}");
            continue;
        }
        let words = command.strip_prefix("pgbaton ").map(|words| words.replace('"', "\\\""));
        let sql = command.strip_prefix("psql -c \"").and_then(|sql| sql.strip_suffix('"'));
        let typed = words.or(sql.map(str::to_owned)).unwrap_or_else(|| panic!("who runs {command}?"));
        assert!(here.contains(&format!("\"{typed}\"")), "no test runs {command}");
    }
}

#[test]
fn of_two_primaries_the_older_one_is_fenced_and_becomes_a_standby() {
    let steps = steps(true);
    let stage = Stage::with("runbook-3", |options| "hold".clone_into(&mut options.availability));
    let run = |node: &str, step: &str, codes: &[i32]| run(&stage, &steps, node, step, codes);
    // How it comes to that: the primary's daemon is dead, somebody has put its address up by hand, then its cable is
    // pulled, and another one says that it is dead, which it isn't.
    let node1 = stage.host("node1");
    let daemon = node1.daemon_pid().unwrap();
    nix::sys::signal::kill(daemon, nix::sys::signal::Signal::SIGKILL).unwrap();
    stage.until("the lease to end", || (!stage.holds("node1")).then_some(()));
    run("node1", "vip up", &[0]);
    stage.until_sign("node2", "active-down", pgbaton::units::Moment::BOOT);
    node1.cut().unwrap();
    run("node2", "pg promote --force proof-of-death", &[0]);
    stage.until_serving("node2");
    node1.heal().unwrap();
    assert_eq!(stage.lab.holders().unwrap(), ["node1", "node2"]);

    let seen = stage.until("both to be seen", || {
        Some(run("node2", "cluster status", &[1])).filter(|seen| seen.contains("2 primaries"))
    });
    assert!(seen.contains("node2 has the newest term"), "{seen}");
    for node in ["node1", "node2"] {
        assert!(psql(&stage, node, "SELECT pg_current_wal_lsn(), now()").contains('/'));
        psql(&stage, node, "SELECT datname, xact_commit FROM pg_stat_database WHERE datname IS NOT NULL");
        assert!(run(node, "vip status", &[0]).contains("yes"));
    }
    // The address alone: it goes, and the server stays; then all of it.
    run("node1", "vip down", &[0]);
    stage.until_only_holder("node2");
    assert!(!node1.in_recovery().unwrap());
    let fenced = run("node1", "pg fence --reason \"older epoch\"", &[0]);
    assert!(node1.server_pids().is_empty(), "{fenced}");
    run("node2", "vrrp status", &[0]);
    assert!(run("node2", "vip up", &[0]).contains("unchanged"));
    run("node2", "cluster status", &[1]);
    run("node2", "pg fence --node node1", &[0, 1, 69, 75, 77, 78]);

    run("node1", "pg rebuild-standby --dry-run", &[0]);
    run("node1", "pg rebuild-standby", &[0]);
    stage.until("node1 to stream", || stage.host("node2").streams_to("node1").unwrap().then_some(()));
    run("node1", "pg rebuild-standby --list-kept", &[0]);
    node1.start_daemon().unwrap();
    node1.wait_daemon().unwrap();
    stage.until("a healthy cluster", || {
        stage.pgbaton("node2", &["cluster", "status"]).status.success().then_some(())
    });
    let events = run("node2", "cluster events --since 1h", &[0]);
    assert!(events.contains("promot"), "{events}");
    run("node2", "cluster events --since 12h", &[0]);
    run("node2", "cluster timeline", &[0]);
    // It always works, also where a start would do.
    node1.kill_all().unwrap();
    assert!(run("node1", "pg rebuild-standby --method basebackup", &[0]).contains("standby"));
    stage.until("node1 to stream", || stage.host("node2").streams_to("node1").unwrap().then_some(()));
    node1.kill_all().unwrap();
    run("node1", "pg rebuild-standby --start-only", &[0]);
    assert!(node1.in_recovery().unwrap());
}

#[test]
fn without_any_daemon_the_address_comes_back_by_hand_and_the_daemon_takes_it_over() {
    let steps = steps(true);
    let stage = Stage::with("runbook-4", |options| "hold".clone_into(&mut options.availability));
    let run = |node: &str, step: &str, codes: &[i32]| run(&stage, &steps, node, step, codes);
    for node in ["node1", "node2"] {
        let daemon = stage.host(node).daemon_pid().unwrap();
        nix::sys::signal::kill(daemon, nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    stage.until("the lease to end", || stage.lab.holders().unwrap().is_empty().then_some(()));
    let seen = run("node1", "cluster status", &[1]);
    assert!(seen.contains("nobody answers behind"), "{seen}");
    run("node1", "vrrp check-config", &[0]);
    run("node1", "vrrp status", &[69]);
    run("node1", "vip up", &[0]);
    let writer = stage.writer();
    let started = pgbaton::host::clock::now();
    stage.host("node1").start_daemon().unwrap();
    stage.until_serving("node1");
    stage.host("node2").start_daemon().unwrap();
    stage.host("node2").wait_daemon().unwrap();
    stage.until_commits(&writer, "node1", started);
    run("node1", "vrrp status", &[0]);
    stage.until("a healthy cluster", || {
        stage.pgbaton("node2", &["cluster", "status"]).status.success().then_some(())
    });
    let ledger = writer.finish();
    assert!(stage.assert_all_kept(&ledger, "node1") > 0);
    // The lease is back.
    let status = run("node1", "vip status", &[0]);
    assert!(status.contains("yes"), "{status}");
}

#[test]
fn a_disk_that_a_slot_fills_is_cleared_and_the_standby_is_rebuilt() {
    let steps = steps(true);
    let stage = Stage::with("runbook-5", |options| "hold".clone_into(&mut options.availability));
    let run = |node: &str, step: &str, codes: &[i32]| run(&stage, &steps, node, step, codes);
    let psql = |sql: &str| psql(&stage, "node1", sql);
    stage.ask("node1", "SELECT pg_create_physical_replication_slot('node2', true)");
    stage.host("node2").power_off().unwrap();
    stage.until("the slot to be free", || {
        (stage.ask("node1", "SELECT count(*) FROM pg_replication_slots WHERE active") == "0").then_some(())
    });
    let slot = psql(
        "SELECT slot_name, active, pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)) AS kept FROM pg_replication_slots",
    );
    assert_eq!(slot, "node2");
    psql("SELECT failed_count, last_failed_wal, last_failed_time FROM pg_stat_archiver");
    run("node1", "pg rebuild-standby --list-kept", &[0]);
    run("node1", "pg rebuild-standby --drop-kept", &[0]);
    run("node1", "cluster switchover --dry-run", &[1, 3]);
    psql("SELECT pg_drop_replication_slot('node2')");
    psql("CHECKPOINT");
    psql("ALTER SYSTEM SET max_slot_wal_keep_size = '10GB'");
    psql("SELECT pg_reload_conf()");
    let checked = run("node1", "cluster check", &[1]);
    assert!(checked.contains("node2"), "{checked}");
    stage.host("node2").power_on(false).unwrap();
    run("node2", "pg rebuild-standby", &[0]);
    stage.until("node2 to stream", || stage.host("node1").streams_to("node2").unwrap().then_some(()));
    assert_eq!(stage.ask("node1", "SELECT active FROM pg_replication_slots WHERE slot_name = 'node2'"), "t");
}

#[test]
fn the_commands_of_the_examples_for_nagios_and_cron_are_those_of_a_healthy_cluster() {
    let stage = Stage::with("examples", |options| "hold".clone_into(&mut options.availability));
    stage.until("a healthy cluster", || {
        stage.pgbaton("node2", &["cluster", "status"]).status.success().then_some(())
    });
    let shipped = |name: &str| {
        std::fs::read_to_string(crate::golden::source(&format!("src/cli/templates/monitoring/{name}")))
            .unwrap()
    };
    let mut found = 0;
    for text in ["nagios-commands.cfg", "nrpe-pgbaton.cfg"].map(shipped) {
        for command in text.lines().filter_map(|line| line.split_once("/usr/bin/pgbaton ")) {
            found += 1;
            let words: Vec<&str> = command.1.split(' ').collect();
            let output = stage.pgbaton("node2", &words);
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(output.status.code(), Some(0), "{words:?}: {said}");
            assert!(said.starts_with("PGBATON OK - ") && said.contains(" | 'primaries'=1"), "{said}");
        }
    }
    assert_eq!(found, 3);
    let cron = shipped("cron.d-pgbaton");
    let line = cron.lines().find_map(|line| line.split_once("  pgbaton ")).unwrap().1;
    let (words, file) = line.rsplit_once(' ').unwrap();
    let here = stage.lab.config().with_file_name(std::path::Path::new(file).file_name().unwrap());
    let mut words: Vec<&str> = words.split(' ').collect();
    words.push(here.to_str().unwrap());
    assert!(stage.pgbaton("node1", &words).status.success());
    let metrics = std::fs::read_to_string(here).unwrap();
    assert!(
        metrics.lines().any(|line| line.starts_with("pgbaton_cluster_healthy{") && line.ends_with(" 1")),
        "{metrics}"
    );
}
