//! The runbook, as somebody follows it at night: each command on the node that it names.

use crate::support::lab::Stage;

/// The commands of the page, all of them or up to the second part.
fn steps(all: bool) -> Vec<String> {
    let text = std::fs::read_to_string(crate::golden::source("src/cli/templates/pages/runbook.txt")).unwrap();
    let part = if all { text.as_str() } else { text.split("# TWO PRIMARIES").next().unwrap() };
    let commands = part.lines().filter_map(|line| line.strip_prefix("    pgbaton "));
    commands.map(str::to_owned).collect()
}

/// Runs a step of the page on a node; returns what it said.
fn run(stage: &Stage, steps: &[String], node: &str, step: &str, codes: &[i32]) -> String {
    assert!(steps.iter().any(|known| known == step), "{step} isn't in the runbook: {steps:#?}");
    let words: Vec<&str> = step.split(' ').collect();
    let output = stage.pgbaton(node, &words);
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
