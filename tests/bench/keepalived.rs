//! The chain keepalived → notify → promote → virtual IP: the outage that a client sees, and where the time goes.

use crate::{lab_options, median, spread};
use pgbaton::demo::client::{Manner, Writer};
use pgbaton::demo::keepalived::{said_at, start_all};
use pgbaton::demo::lab::Lab;
use pgbaton::demo::patience::Patience;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// What one round came to, in milliseconds after the power loss.
struct Round {
    outage: f64,
    vip: f64,
    serving: f64,
    lost: u64,
}

pub(crate) fn outages(rounds: usize) {
    println!(
        "\nkeepalived elects, \"pgbaton notify\" promotes: write outage of a client after a power loss (milliseconds: min / \
         median / p95 / max of {rounds})"
    );
    for advert in [100, 10] {
        let seen: Vec<Round> = (0..rounds).map(|_| round(advert)).collect();
        let of = |value: fn(&Round) -> f64| seen.iter().map(value).collect::<Vec<_>>();
        let lost: Vec<String> = seen.iter().map(|round| round.lost.to_string()).collect();
        println!(
            "\n  power with {advert} ms adverts: {}   (rows lost: {})",
            spread(&of(|round| round.outage)),
            lost.join(" ")
        );
        println!("    {:>8.1}  the virtual IP is on the new primary", median(&of(|round| round.vip)));
        println!("    {:>8.1}  the hook has done all it had to", median(&of(|round| round.serving)));
    }
}

fn round(advert: u64) -> Round {
    let mut options = lab_options("keepalived", Duration::from_millis(advert));
    options.daemons = false;
    let lab = Lab::create(options, Arc::new(Patience::endless()), &|_| {}).expect("the lab is built");
    let running = start_all(&lab).expect("keepalived runs on both nodes");
    let writer = Writer::start(&lab.client, "client", lab.vip(), Manner::Eager).expect("a client");
    let patience = lab.patience();
    patience
        .until("200 rows", LIMIT, || Ok(writer.look(|ledger| ledger.acknowledged.len() >= 200).then_some(())))
        .expect("the client writes");
    let (old, new) = (lab.host("node1").expect("node1"), lab.host("node2").expect("node2"));
    let fault = old.power_off().expect("the power is cut");
    let vip = IpAddr::V4(pgbaton::demo::lab::VIP);
    patience
        .until("the address on node2", LIMIT, || Ok(new.has_address(vip)?.then_some(())))
        .expect("node2 takes over");
    let up = pgbaton::host::clock::now();
    patience
        .until("50 commits", LIMIT, || {
            Ok((writer.look(|ledger| ledger.count_by("node2", fault)) >= 50).then_some(()))
        })
        .expect("the client goes on");
    let serving = patience
        .until("the end of the hook", LIMIT, || Ok(said_at(new, "promoted: node2")))
        .expect("the log says it");
    let ledger = writer.finish();
    let outage = ledger.outage(fault).expect("an outage").length();
    let present =
        pgbaton::demo::client::rows_present(&new.server_socket(), "client", LIMIT).expect("the rows");
    let lost = ledger.verify(&present).lost;
    drop(running);
    let millis = |moment: pgbaton::units::Moment| moment.since(fault).as_secs_f64() * 1e3;
    lab.destroy().expect("the lab goes");
    Round { outage: outage.as_secs_f64() * 1e3, vip: millis(up), serving: millis(serving), lost }
}
