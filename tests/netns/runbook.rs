//! The runbook, as somebody follows it at night: each command on the node that it names.

use crate::support::lab::Stage;

fn steps() -> Vec<String> {
    let text = std::fs::read_to_string(crate::golden::source("src/cli/templates/pages/runbook.txt")).unwrap();
    let part = text.split("# TWO PRIMARIES").next().unwrap();
    let commands = part.lines().filter_map(|line| line.strip_prefix("    pgbaton "));
    commands.map(str::to_owned).collect()
}

#[test]
fn the_steps_after_the_death_of_a_primary_lead_to_two_healthy_nodes() {
    let steps = steps();
    let stage = Stage::with("runbook", |options| "hold".clone_into(&mut options.availability));
    let run = |node: &str, step: &str, codes: &[i32]| {
        assert!(steps.iter().any(|known| known == step), "{step} isn't in the runbook: {steps:#?}");
        let words: Vec<&str> = step.split(' ').collect();
        let output = stage.pgbaton(node, &words);
        let code = output.status.code().unwrap();
        assert!(codes.contains(&code), "{step}: {code}: {}", output.complaint());
        String::from_utf8_lossy(&output.stdout).into_owned() + &output.complaint()
    };
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
