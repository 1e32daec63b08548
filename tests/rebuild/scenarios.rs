//! Chains of standbys, and standbys that look well and aren't.

use super::{diverged, follows, pair, promote, rebuilt};
use crate::support::pg::{Cluster, wait_for};

#[test]
pub(crate) fn in_a_cascade_the_middle_one_follows_the_one_below_it() {
    let (first, second) = pair("");
    let third = Cluster::standby_of("n3", &second);
    let end = first.ask("SELECT pg_current_wal_lsn()");
    third.wait_until(&format!("SELECT pg_last_wal_replay_lsn() >= '{end}'"));
    first.stop();
    promote(&third);
    let document = rebuilt(&second, &third, &[]);
    assert_eq!(document["decision"], "start-as-is", "{document:#}");
    follows(&second, &third);
    rebuilt(&first, &third, &[]);
    follows(&first, &third);
}

#[test]
pub(crate) fn a_standby_that_is_stuck_on_an_old_timeline_is_rewound() {
    let (first, second) = diverged("");
    first.stop();
    // Started before anybody brought the history: it comes up, answers, and never gets any further.
    first.follow(&second);
    first.data_directory().write_standby_signal().unwrap();
    first.start();
    let stuck = "forked off current database system timeline";
    wait_for("it to be stuck", || first.log().contains(stuck));
    assert_eq!(first.ask("SELECT pg_is_in_recovery()"), "t");
    let document = rebuilt(&first, &second, &[]);
    assert_eq!(document["decision"], "rewind", "{document:#}");
    follows(&first, &second);
}
