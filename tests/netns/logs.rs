//! The daemon's log as somebody reads it at night: each decision once, nothing twice a second.

use crate::support::lab::Stage;
use pgbaton::host::clock::now;
use std::collections::BTreeMap;
use std::time::Duration;

/// Returns the lines that were written twice within a second, with how often.
fn repeated(log: &str) -> BTreeMap<String, usize> {
    let mut last: BTreeMap<&str, jiff::Timestamp> = BTreeMap::new();
    let mut found = BTreeMap::new();
    for line in log.lines() {
        let Some((at, text)) = line.split_once(' ') else { continue };
        let Ok(at) = at.parse::<jiff::Timestamp>() else { continue };
        if let Some(before) = last.insert(text, at)
            && at.duration_since(before).as_secs_f64() < 1.0
        {
            *found.entry(text.to_owned()).or_default() += 1;
        }
    }
    found
}

#[test]
fn a_standby_that_may_not_take_over_says_so_and_then_is_quiet() {
    let stage = Stage::with("log-noise", |options| "hold".clone_into(&mut options.availability));
    let fault = stage.host("node1").power_off().unwrap();
    stage.until_sign("node2", "active-down", fault);
    let begun = now();
    while now().since(begun) < Duration::from_secs(6) {
        stage.lab.patience().pause(Duration::from_millis(100)).unwrap();
    }
    for host in &stage.lab.hosts {
        let log = std::fs::read_to_string(host.daemon_log()).unwrap();
        let found = repeated(&log);
        assert!(found.is_empty(), "{}: {found:#?}\n{log}", host.name);
    }
    let log = std::fs::read_to_string(stage.host("node2").daemon_log()).unwrap();
    let after: Vec<&str> = log.lines().collect();
    assert!(after.len() < 60, "{} lines for one fault:\n{log}", after.len());
}

#[test]
fn a_line_twice_in_a_second_is_found() {
    let log = "2026-01-01T00:00:00.000000Z info: a\n2026-01-01T00:00:00.500000Z info: a\n\
               2026-01-01T00:00:00.600000Z info: b\n2026-01-01T00:00:02.000000Z info: a\n";
    assert_eq!(repeated(log).into_iter().collect::<Vec<_>>(), [("info: a".to_owned(), 1)]);
}
