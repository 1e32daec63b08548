//! Each fault of `pgbaton demo`, through the binary, and the shape of its document.

use crate::support::lab::{BINARY, LIMIT, Seat, require_machine};
use pgbaton::host::clock::{Deadline, now};
use pgbaton::host::process::{Output, run};
use serde_json::Value;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The demo has one place on a machine.
static PLACE: Mutex<()> = Mutex::new(());

/// Runs the demo; waits for the place where another program of this machine runs one.
fn run_demo(arguments: &[&str], picture: &std::path::Path) -> Output {
    let _place = PLACE.lock().unwrap_or_else(PoisonError::into_inner);
    let _seat = Seat::take();
    let patience = Deadline::after(LIMIT * 2);
    loop {
        let mut command = Command::new(BINARY);
        command.args(["demo", "--json", "--svg"]).arg(picture).args(arguments).current_dir("/");
        let output = run(command, Deadline::after(LIMIT * 2)).unwrap();
        if output.status.code() != Some(75) || patience.passed() {
            return output;
        }
        pgbaton::demo::patience::Patience::endless().pause(Duration::from_millis(200)).unwrap();
    }
}

/// Runs the demo with a fault and returns its document, with what every document must say checked.
fn demo(fault: &str, arguments: &[&str]) -> Value {
    require_machine();
    let begun = now();
    let picture = std::env::temp_dir().join(format!(
        "pgbaton-test-{}-{fault}{}.svg",
        std::process::id(),
        arguments.len()
    ));
    let all: Vec<&str> = ["--fault", fault].into_iter().chain(arguments.iter().copied()).collect();
    let output = run_demo(&all, &picture);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success(), "{fault}: {text}{}", output.complaint());
    let report: Value = serde_json::from_str(&text).unwrap();
    println!(
        "{fault} {arguments:?}: {} ms of outage, took {:?}",
        report["write_outage_ms"],
        now().since(begun)
    );
    let spare = arguments.contains(&"--spare");
    assert_eq!(report["schema"], 1);
    assert_eq!(report["verb"], "demo");
    assert_eq!(report["fault"], fault);
    assert_eq!(report["nodes"], if spare { 3 } else { 2 });
    assert_eq!((&report["old_primary"], &report["new_primary"]), (&"node1".into(), &"node2".into()));
    assert_eq!(report["kept"], false);
    assert!(report["write_outage_ms"].as_f64().unwrap() > 0.0);
    assert!(report["first_commit_ms"].as_f64() > report["last_commit_ms"].as_f64());
    let rows = &report["rows"];
    assert_eq!(
        rows["present"].as_u64().unwrap() + rows["lost"].as_u64().unwrap(),
        rows["acknowledged"].as_u64().unwrap()
    );
    assert!(rows["acknowledged"].as_u64().unwrap() >= 100);
    assert!(report["client"]["commits_per_second"].as_f64().unwrap() > 0.0);
    let stages: Vec<&str> =
        report["stages"].as_array().unwrap().iter().map(|stage| stage["stage"].as_str().unwrap()).collect();
    let mut rest = stages.iter();
    for wanted in
        ["decision", "promote-started", "promoted", "epoch", "address-added", "announced", "first-commit"]
    {
        // The client may be faster than the announcement's report.
        let found = if wanted == "first-commit" {
            stages.contains(&wanted)
        } else {
            rest.any(|stage| *stage == wanted)
        };
        assert!(found, "{fault}: {wanted} is missing or out of order in {stages:?}");
    }
    let events = report["events"].as_array().unwrap();
    assert!(events.iter().any(|event| event["source"] == "lab" && event["event"] == "fault"));
    assert!(events.windows(2).all(|pair| pair[0]["at_ms"].as_f64() <= pair[1]["at_ms"].as_f64()));
    let svg = std::fs::read_to_string(&picture).unwrap();
    std::fs::remove_file(&picture).unwrap();
    assert!(svg.starts_with("<svg") || svg.starts_with("<?xml"), "{}", &svg[..svg.len().min(80)]);
    assert_eq!(report["svg"], picture.display().to_string());
    assert!(!std::path::Path::new("/var/lib/pgbaton-demo/node1").exists(), "the demo left its folder");
    report
}

fn has_stage(report: &Value, stage: &str) -> bool {
    report["stages"].as_array().unwrap().iter().any(|found| found["stage"] == stage)
}

#[test]
fn the_demo_of_a_power_loss_reports_silence_and_a_takeover() {
    let report = demo("power", &[]);
    assert!(has_stage(&report, "advert-late") && has_stage(&report, "active-down"));
    assert!(!has_stage(&report, "farewell-heard"));
    assert!(report["returned"].is_null());
}

#[test]
fn the_demo_with_a_spare_reports_three_nodes() {
    let report = demo("power", &["--spare"]);
    assert!(has_stage(&report, "active-down"));
}

#[test]
fn the_demo_of_a_dead_postmaster_reports_a_farewell() {
    let report = demo("postgres", &[]);
    assert!(has_stage(&report, "postmaster-gone") && has_stage(&report, "farewell-heard"));
    assert!(report["returned"].is_null());
}

#[test]
fn the_demo_of_a_frozen_primary_reports_its_return() {
    let report = demo("freeze", &[]);
    let returned = &report["returned"];
    assert!(returned["fenced_ms"].as_f64() > returned["at_ms"].as_f64(), "{returned}");
    assert_eq!(returned["both_acknowledged_ms"].as_f64().unwrap().to_bits() >> 63, 0);
}

#[test]
fn the_demo_of_a_partition_reports_what_the_old_primary_acknowledged_meanwhile() {
    let report = demo("partition", &[]);
    let returned = &report["returned"];
    assert!(returned["fenced_ms"].as_f64() > returned["at_ms"].as_f64(), "{returned}");
    let local = &returned["local_rows"];
    assert_eq!(
        local["present"].as_u64().unwrap() + local["lost"].as_u64().unwrap(),
        local["acknowledged"].as_u64().unwrap()
    );
}

#[test]
fn the_demo_of_a_switchover_loses_nothing() {
    let report = demo("switchover", &[]);
    assert!(has_stage(&report, "resigned") && has_stage(&report, "farewell-heard"));
    assert_eq!(report["rows"]["lost"], 0);
}
