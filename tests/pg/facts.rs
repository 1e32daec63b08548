//! What a server says about itself, on both roles and with little privilege.

use crate::support::pg::{Cluster, LONG, long, wait_for};
use pgbaton::pg::conn::{ConnError, ConnSettings, Session};
use pgbaton::pg::epoch::{self, Epoch};
use pgbaton::pg::facts::observe;
use pgbaton::pg::lsn::{Lsn, Timeline};
use pgbaton::promotion::supervisor::Local;
use pgbaton::watch::{self, Seen, Watch};
use std::time::Duration;

fn sample_epoch() -> Epoch {
    Epoch::parse(
        "{\"term\":7,\"change\":0,\"node\":\"n<1>&'\\\"é\",\
         \"promotion_id\":\"abababababababababababababababab\",\"timeline\":1,\"start_lsn\":\"0/40000A0\",\
         \"w\":1,\"members\":[\"n2\",\"spare\"],\"at\":1700000000}",
    )
    .unwrap()
}

#[test]
fn a_primary_and_its_standby_tell_who_they_are() {
    let primary = Cluster::primary("n1");
    let standby = Cluster::standby_of("n2", &primary);
    let facts = observe(&mut primary.session(), long()).unwrap();
    println!("{facts:#?}");
    assert!(!facts.in_recovery && facts.superuser && facts.wal_log_hints && facts.restart_after_crash);
    assert_eq!(facts.timeline, Some(Timeline::FIRST));
    assert!(facts.standby.is_none() && facts.receiver.is_none() && facts.epoch.is_none());
    assert_eq!(facts.data_directory.as_deref(), primary.data().to_str());
    assert_eq!(facts.replication.len(), 1);
    assert_eq!(facts.replication[0].application_name, "n2");
    assert_eq!(facts.replication[0].state.as_deref(), Some("streaming"));

    primary.session().execute(epoch::SCHEMA, long()).unwrap();
    primary.session().execute(sample_epoch().upsert(), long()).unwrap();
    standby.wait_until(&format!(
        "SELECT pg_last_wal_replay_lsn() >= '{}'",
        primary.ask("SELECT pg_current_wal_lsn()")
    ));

    let other = observe(&mut standby.session(), long()).unwrap();
    println!("{other:#?}");
    assert!(other.in_recovery && other.primary.is_none());
    assert_eq!(other.system_id, facts.system_id);
    assert_eq!(other.timeline, facts.timeline);
    assert_eq!(other.epoch, Some(sample_epoch()));
    let receiver = other.receiver.as_ref().unwrap();
    assert_eq!(receiver.status.as_deref(), Some("streaming"));
    assert_eq!(receiver.sender_host.as_deref(), primary.sockets().to_str());
    assert!(receiver.latest_end_lsn.is_some() && receiver.last_message_age.is_some());
    assert!(other.end() > facts.end());
}

#[test]
fn a_role_sees_what_it_may_and_the_rest_is_none() {
    let primary = Cluster::primary("n1");
    let standby = Cluster::standby_of("n2", &primary);
    let mut root = primary.session();
    root.execute("CREATE ROLE watcher LOGIN IN ROLE pg_monitor; CREATE ROLE nobody LOGIN", long()).unwrap();
    root.execute(epoch::SCHEMA, long()).unwrap();
    root.execute(sample_epoch().upsert(), long()).unwrap();
    let end = primary.ask("SELECT pg_current_wal_lsn()");
    standby.wait_until(&format!("SELECT pg_last_wal_replay_lsn() >= '{end}'"));
    for server in [&primary, &standby] {
        let as_role = |user: &str| {
            let settings = ConnSettings { user: user.to_owned(), ..server.settings() };
            observe(&mut Session::connect(&settings, long()).unwrap(), long()).unwrap()
        };
        let watcher = as_role("watcher");
        assert_eq!(watcher.epoch, Some(sample_epoch()));
        assert!(!watcher.superuser && watcher.data_directory.is_some() && watcher.timeline.is_some());
        let nobody = as_role("nobody");
        assert!(nobody.epoch.is_none() && nobody.epoch_hidden && nobody.data_directory.is_none());
        assert!(nobody.timeline.is_some() && nobody.system_id.is_some() && nobody.end().is_some());
        if nobody.in_recovery {
            assert_eq!(watcher.receiver.unwrap().status.as_deref(), Some("streaming"));
        } else {
            assert_eq!(watcher.replication[0].state.as_deref(), Some("streaming"));
            assert_eq!(nobody.replication[0].state, None);
        }
    }
}

#[test]
fn a_server_that_says_no_is_told_apart_from_one_that_is_gone() {
    let primary = Cluster::primary("n1");
    let bad = ConnSettings { dbname: "nowhere".to_owned(), ..primary.settings() };
    assert!(matches!(Session::connect(&bad, long()), Err(ConnError::NotFound(_))));
    let bad = ConnSettings { user: "stranger".to_owned(), ..primary.settings() };
    assert!(matches!(Session::connect(&bad, long()), Err(ConnError::Auth(_))));
    let mut session = primary.session();
    let error = session.query("SELECT 1/0", long()).unwrap_err();
    assert_eq!(error.sqlstate(), Some("22012"));
    assert!(session.query("SELECT 1", long()).unwrap()[0].get(0) == Some("1"));
    primary.kill();
    assert!(matches!(session.query("SELECT 1", long()), Err(ConnError::Lost(_))));
    assert!(matches!(Session::connect(&primary.settings(), long()), Err(ConnError::Refused(_))));
}

/// Looks at a standby once, as the daemon's watch does.
fn next_look(looks: &std::sync::mpsc::Receiver<Seen>) -> Box<pgbaton::pg::gates::LocalView> {
    loop {
        match looks.recv_timeout(LONG).unwrap().local {
            Local::Standby(view) => return view,
            other => println!("{other:?}"),
        }
    }
}

#[test]
fn the_watch_remembers_how_far_a_dead_primary_had_got() {
    let primary = Cluster::primary("n1");
    let standby = Cluster::standby_of("n2", &primary);
    let (tell, looks) = std::sync::mpsc::channel();
    let config = watch::Config {
        node: "n2".to_owned(),
        conn: standby.settings(),
        data_directory: standby.data(),
        upstreams: Vec::new(),
        interval: Duration::from_millis(20),
        timeout: LONG,
    };
    let watch = Watch::start(config, move |seen| tell.send(seen).is_ok()).unwrap();
    let end: Lsn = primary.ask("SELECT pg_current_wal_flush_lsn()").parse().unwrap();
    wait_for("the primary's position", || {
        next_look(&looks).primary_known.is_some_and(|known| known.end >= end)
    });
    primary.kill();
    standby.wait_until("SELECT count(*) = 0 FROM pg_stat_wal_receiver");
    watch.poke();
    while looks.try_recv().is_ok() {}
    let view = next_look(&looks);
    assert!(!view.receiving);
    let (known, later) = (view.primary_known.unwrap(), next_look(&looks));
    assert_eq!((known.end >= end, view.missing()), (true, Some(0)));
    assert!(later.primary_known.unwrap().age > known.age && later.last_heard > view.last_heard);
}
