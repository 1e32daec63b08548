//! What the daemons leave on disk about a failover, and what can be told from it afterwards.

use crate::support::lab::Stage;
use serde_json::Value;

fn told(stage: &Stage, name: &str, arguments: &[&str]) -> Value {
    let output = stage.pgbaton(name, arguments);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!(
            "{error}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

#[test]
fn a_hand_over_is_recorded_on_both_sides_with_times_terms_and_positions() {
    let stage = Stage::new("flight-record");
    stage.assert_primary("node1", 1, 1);
    let (svg, since) = (stage.lab.config().with_file_name("last.svg"), pgbaton::host::clock::now());
    assert!(stage.pgbaton("node1", &["vrrp", "resign"]).status.success());
    stage.until_serving("node2");
    stage.until_sign("node1", "farewell-sent", since);

    // The record is on disk a moment after the event; what is asked for is there when it is complete.
    let incident = stage.until("both sides to be on disk", || {
        let told = told(&stage, "node2", &["--json", "cluster", "timeline"]);
        let incident = told.get("incident")?.clone();
        let entries = incident["entries"].as_array()?;
        let has = |node: &str, kind: &str| entries.iter().any(|it| it["node"] == node && it["event"] == kind);
        (has("node1", "farewell-sent") && has("node2", "serving")).then_some(incident)
    });
    assert_eq!(incident["outcome"], "hand-over", "{incident:#}");
    assert_eq!((&incident["from"], &incident["to"]), (&"node1".into(), &"node2".into()));
    assert_eq!(incident["term"], 2);
    assert!(incident["lsn"].as_str().is_some_and(|lsn| lsn.contains('/')), "{incident:#}");
    assert!(incident["took_ms"].as_f64().is_some_and(|took| took > 0.0));
    let entries = incident["entries"].as_array().unwrap();
    for (node, kind) in
        [("node1", "resigned"), ("node2", "farewell-heard"), ("node2", "decision"), ("node2", "step-done")]
    {
        assert!(entries.iter().any(|it| it["node"] == node && it["event"] == kind), "{node} {kind}");
    }

    // By its term too, and as a picture.
    let path = svg.display().to_string();
    let again = told(&stage, "node2", &["--json", "cluster", "timeline", "--id", "2", "--svg", &path]);
    assert_eq!(again["incident"]["id"], incident["id"]);
    assert!(std::fs::read_to_string(svg).unwrap().starts_with("<svg"));
    let listed = told(&stage, "node1", &["--json", "cluster", "timeline", "--list"]);
    assert!(listed["incidents"].as_array().unwrap().len() >= 2, "{listed:#}");
    let drawn = stage.pgbaton("node2", &["cluster", "timeline"]);
    let drawn = String::from_utf8_lossy(&drawn.stdout).into_owned();
    assert!(drawn.contains("node1 hands over to node2"), "{drawn}");

    let events = told(&stage, "node2", &["--json", "cluster", "events", "--since", "1h", "--last", "10000"]);
    let events = events["events"].as_array().unwrap();
    assert!(events.iter().all(|event| event["event"] != "peer-answer"));
    assert!(events.iter().any(|event| event["event"] == "started"));
}
