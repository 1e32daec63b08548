//! SIGHUP: what has changed counts, what hasn't never notices, and a mistake changes nothing.

use super::bench::{Bench, End};

fn instance(name: &str, vrid: u8, priority: u8, interval: &str, addresses: &str) -> String {
    format!(
        "[[instance]]\nname = \"{name}\"\ninterface = \"port0\"\nvirtual_router_id = {vrid}\n\
         priority = {priority}\nadvert_interval = \"{interval}\"\naddresses = [{addresses}]\n\n"
    )
}

const X: &str = "\"10.77.0.100/24\"";
const Y: &str = "\"10.77.0.101/24\"";

#[test]
fn priority_interval_and_addresses_change_without_a_flap() {
    let bench = Bench::new("live");
    let other = bench.pgbaton(End::B, &instance("x", 51, 100, "100ms", X));
    let y = instance("y", 52, 100, "100ms", Y);
    let daemon = bench.pgbaton(End::A, &(instance("x", 51, 150, "100ms", X) + &y));
    bench.until_at(End::A, "10.77.0.100");
    bench.until(End::A, "10.77.0.101", true);
    let (x_since, y_since) =
        (daemon.instance("x")["since_ns"].clone(), daemon.instance("y")["since_ns"].clone());

    let more = "\"10.77.0.100/24\", \"10.77.0.102/24\"";
    daemon.reload(&(instance("x", 51, 200, "50ms", more) + &y));
    bench.until(End::A, "10.77.0.102", true);
    let x = daemon.instance("x");
    assert_eq!((&x["priority"], &x["advert_interval_ms"]), (&200.into(), &50.into()));
    assert_eq!((&x["since_ns"], &x["state"]), (&x_since, &"ACTIVE".into()));
    other.until_instance("x", |x| x["active_interval_ms"] == 50);

    daemon.reload(&(instance("x", 51, 50, "50ms", X) + &y));
    bench.until_at(End::B, "10.77.0.100");
    bench.until(End::A, "10.77.0.102", false);
    assert_eq!(daemon.instance("y")["since_ns"], y_since, "{}", daemon.log());
}

#[test]
fn instances_come_and_go_and_one_that_goes_says_farewell() {
    let bench = Bench::new("comego");
    let (x, y) = (instance("x", 51, 150, "1s", X), instance("y", 52, 150, "1s", Y));
    let daemon = bench.pgbaton(End::A, &x);
    bench.until(End::A, "10.77.0.100", true);
    let other = bench.pgbaton(End::B, &instance("x", 51, 100, "1s", X));
    other.until_counter("x", "adverts_received", 1);
    let before = daemon.instance("x")["since_ns"].clone();
    daemon.reload(&(x + &y));
    bench.until(End::A, "10.77.0.101", true);
    assert_eq!(daemon.instance("x")["since_ns"], before);
    daemon.reload(&y);
    bench.until_at(End::B, "10.77.0.100");
    assert_eq!(other.counter("x", "priority_zero_received"), 1);
    assert!(bench.has(End::A, "10.77.0.101"));
}

#[test]
fn a_router_that_becomes_another_one_is_started_anew() {
    let bench = Bench::new("anew");
    let daemon = bench.pgbaton(End::A, &instance("x", 51, 150, "100ms", X));
    bench.until(End::A, "10.77.0.100", true);
    daemon.reload(&instance("x", 61, 150, "100ms", X));
    daemon.until_instance("x", |x| x["virtual_router_id"] == 61 && x["state"] == "ACTIVE");
    bench.until(End::A, "10.77.0.100", true);
}

#[test]
fn a_file_with_a_mistake_changes_nothing_and_is_told() {
    let bench = Bench::new("mistake");
    let x = instance("x", 51, 150, "100ms", X);
    let daemon = bench.pgbaton(End::A, &x);
    bench.until(End::A, "10.77.0.100", true);
    let before = daemon.instance("x");
    daemon.reload(&x.replace("priority", "prioritty"));
    daemon.until_log("the old configuration stays in force");
    assert!(daemon.log().contains("prioritty"), "{}", daemon.log());
    assert_eq!(daemon.instance("x"), before);
    daemon.reload(&format!("{x}[daemon]\nlock_memory = true\n"));
    daemon.until_log("what has changed in [daemon] counts from the next start on");
    assert_eq!(daemon.instance("x")["since_ns"], before["since_ns"]);
}
