//! Promotions, whole, interrupted and held up.

use crate::support::pg::{Cluster, LONG, long, wait_for};
use nix::sys::signal::Signal;
use pgbaton::error::Kind;
use pgbaton::host::clock::{Deadline, now};
use pgbaton::pg::conn::{ConnError, Session};
use pgbaton::pg::epoch::{Epoch, PromotionId, Term};
use pgbaton::pg::facts::observe;
use pgbaton::pg::lsn::{Lsn, Timeline};
use pgbaton::pg::promote::{
    Promoted, Recorded, Stage, checkpoint, ensure_slots, promote, record_epoch, restore_command_to_suspend,
    suspend_restore_command,
};
use pgbaton::pg::sql::literal;
use pgbaton::pg::{control, setting};
use std::time::Duration;

fn second() -> Timeline {
    Timeline::new(2).unwrap()
}

fn epoch(term: u64, id: u8) -> Epoch {
    Epoch {
        term: Term(term),
        change: 0,
        node: "n2".to_owned(),
        promotion_id: PromotionId::from_random([id; 16]),
        timeline: second(),
        start_lsn: Lsn(0x0300_0000),
        w: 0,
        members: Vec::new(),
        at: 1_700_000_000,
    }
}

fn simply(session: &mut Session) -> Promoted {
    promote(session, long(), &mut |_| ()).unwrap()
}

#[test]
pub(crate) fn a_standby_whose_primary_died_becomes_the_primary_of_a_new_timeline() {
    let primary = Cluster::primary("n1");
    let standby = Cluster::standby_of("n2", &primary);
    let mut session = standby.session();
    primary.signal(Signal::SIGKILL);
    let begin = now();
    let mut stages = Vec::new();
    let done = promote(&mut session, long(), &mut |stage| stages.push((now().since(begin), stage))).unwrap();
    let promoted = now().since(begin);
    let recorded = record_epoch(&mut session, &epoch(1, 1), long()).unwrap();
    let first_commit = now().since(begin);
    let slots = ensure_slots(&mut session, &["n1", "spare"], long()).unwrap();
    let slotted = now().since(begin);
    checkpoint(&mut session, long()).unwrap();
    println!(
        "requested {:?}, promoted {promoted:?} (nudges {}), epoch {first_commit:?}, slots {slotted:?}, checkpoint {:?}",
        stages[0].0,
        done.nudges,
        now().since(begin)
    );
    assert_eq!(stages.first().unwrap().1, Stage::Requested);
    assert_eq!(stages.last().unwrap().1, Stage::Writable);
    assert!(done.changed && done.timeline == second() && done.took <= promoted);
    let history = standby.data_directory().history(second()).unwrap().unwrap();
    assert_eq!(done.start_lsn, history.fork_of(Timeline::FIRST));
    assert_eq!(recorded, Recorded::Written);
    assert_eq!(slots, ["n1", "spare"]);
    assert!(ensure_slots(&mut session, &["n1", "spare"], long()).unwrap().is_empty());

    let facts = observe(&mut session, long()).unwrap();
    assert!(!facts.in_recovery && facts.timeline == Some(second()));
    assert_eq!(facts.epoch, Some(epoch(1, 1)));
    let control = control::read(crate::support::pg::bin_dir(), &standby.data(), long()).unwrap();
    assert_eq!((control.timeline, Some(control.system_id)), (second(), facts.system_id));

    let again = simply(&mut session);
    assert!(!again.changed && again.timeline == second() && again.took.is_zero());
    assert_eq!(standby.ask("SELECT count(*) FROM pg_replication_slots"), "2");
}

#[test]
fn the_timeline_is_known_before_the_first_checkpoint() {
    let primary = Cluster::primary("n1");
    let standby = Cluster::standby_of("n2", &primary);
    simply(&mut standby.session());
    assert_eq!(observe(&mut standby.session(), long()).unwrap().timeline, Some(second()));
    assert_eq!(observe(&mut primary.session(), long()).unwrap().timeline, Some(Timeline::FIRST));
}

#[test]
fn a_promotion_beside_a_living_primary_leaves_that_one_alone() {
    let primary = Cluster::primary("n1");
    let standby = Cluster::standby_of("n2", &primary);
    assert!(simply(&mut standby.session()).changed);
    assert!(!simply(&mut primary.session()).changed);
    primary.ask("CREATE TABLE public.still_here ()");
}

/// At its default the interval is 5 s, and about two in five of these promotions used to sleep it out.
#[test]
fn a_promotion_does_not_sleep_out_the_retry_interval() {
    for round in 0..8 {
        let primary = Cluster::primary("n1");
        let standby = Cluster::standby_of("n2", &primary);
        standby.append_settings("wal_retrieve_retry_interval = '60s'");
        standby.ask("SELECT pg_reload_conf()");
        let mut session = standby.session();
        primary.signal(Signal::SIGKILL);
        let done = simply(&mut session);
        println!("round {round}: {:?}, {} nudges", done.took, done.nudges);
        assert!(done.took < LONG / 4, "{done:?}");
    }
}

/// What a kill between any two steps leaves: the statement may or may not have reached the server. Each attempt
/// ends at a deadline somewhere in the work, and the next one starts over with a new session.
#[test]
fn interrupted_promotions_are_finished_by_the_next_run_and_happen_once() {
    let primary = Cluster::primary("n1");
    let original = Cluster::standby_of("n2", &primary);
    original.stop();
    drop(primary);
    let mut interruptions = 0;
    for round in 0..9u64 {
        let standby = Cluster::copy_of(&original);
        standby.start();
        let mut within = Duration::from_micros(100 + round * 37);
        let done = loop {
            let mut session = standby.session();
            match promote(&mut session, Deadline::after(within), &mut |_| ()) {
                Ok(done) => break done,
                Err(error) => {
                    let may_be = [Kind::TryAgain, Kind::Unreachable];
                    assert!(may_be.contains(&error.kind()), "{error} {:?}", error.kind());
                    interruptions += 1;
                }
            }
            within = within * 5 / 4;
        };
        assert_eq!(done.timeline, second());
        let mut within = Duration::from_micros(50 + round * 29);
        let outcome = loop {
            let mut session = standby.session();
            match record_epoch(&mut session, &epoch(1, 1), Deadline::after(within)) {
                Ok(outcome) => break outcome,
                Err(error) => {
                    assert_eq!(error.kind(), Kind::TryAgain, "{error} {:?}", error.detail_text());
                    interruptions += 1;
                }
            }
            within = within * 5 / 4;
        };
        assert_eq!(standby.ask("SELECT count(*) FROM pgbaton.epoch"), "1", "{outcome:?}");
        assert!(!simply(&mut standby.session()).changed);
        assert_eq!(observe(&mut standby.session(), long()).unwrap().timeline, Some(second()));
    }
    println!("{interruptions} interruptions");
    assert!(interruptions > 100, "only {interruptions}");
}

#[test]
fn a_server_that_hangs_hits_the_deadline_and_may_still_finish() {
    let primary = Cluster::primary("n1");
    let standby = Cluster::standby_of("n2", &primary);
    let mut session = standby.session();
    let mut spent = standby.session();
    let all = standby.processes();
    let signal_all = |signal| {
        for pid in &all {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(*pid), signal).unwrap();
        }
    };
    signal_all(Signal::SIGSTOP);
    let soon = || Deadline::after(Duration::from_millis(100));
    let error = Session::connect(&standby.settings(), soon()).unwrap_err();
    assert!(matches!(error, ConnError::Timeout(_)), "{error:?}");
    assert!(matches!(spent.query("SELECT 1", soon()), Err(ConnError::Timeout(_))));
    let begin = now();
    assert!(matches!(spent.query("SELECT 1", long()), Err(ConnError::Timeout(_))), "spent for good");
    assert!(now().since(begin) < LONG / 2);
    // The request can't have been sent before the first answer.
    let error = promote(&mut session, soon(), &mut |_| ()).unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable);
    signal_all(Signal::SIGCONT);
    assert!(simply(&mut standby.session()).changed);
}

#[test]
fn a_promotion_that_waits_for_the_archive_is_try_again_and_finishes_later() {
    let primary = Cluster::primary("n1");
    let standby = Cluster::standby_not_started("n2", &primary);
    standby.append_settings("restore_command = 'sleep 1; exit 1'");
    standby.start();
    let error = promote(&mut standby.session(), Deadline::after(Duration::from_millis(300)), &mut |_| ())
        .unwrap_err();
    assert_eq!(error.kind(), Kind::TryAgain);
    assert_eq!(error.message(), "promotion not finished yet; the server may still finish it");
    let done = simply(&mut standby.session());
    println!("with a restore_command of 1 s: {:?} more", done.took);
    assert_eq!(done.timeline, second());
}

#[test]
fn a_restore_command_is_taken_away_and_put_back() {
    let primary = Cluster::primary("n1");
    let standby = Cluster::standby_of("n2", &primary);
    let mut session = standby.session();
    assert_eq!(restore_command_to_suspend(&mut session, long()).unwrap(), None);
    for (own, command) in [(false, "sleep 1; exit 1"), (true, "sleep 1; echo 'its'; exit 1")] {
        if own {
            let command = literal(command);
            session.execute(format!("ALTER SYSTEM SET restore_command = {command}"), long()).unwrap();
        } else {
            standby.append_settings(&format!("restore_command = '{command}'"));
        }
        setting::reload(&mut session, long()).unwrap();
        let shown = "SELECT current_setting('restore_command')";
        wait_for("the setting", || !standby.ask(shown).is_empty());
        let before = standby.ask(shown);
        let saved = restore_command_to_suspend(&mut session, long()).unwrap().unwrap();
        assert_eq!(saved.value.is_some(), own);
        let stored = serde_json::to_string(&saved).unwrap();
        suspend_restore_command(&mut session, &saved, long()).unwrap();
        wait_for("the setting", || standby.ask(shown).is_empty());
        if own {
            println!("restore_command suspended: {:?}", simply(&mut session).took);
        }
        let saved = serde_json::from_str(&stored).unwrap();
        for _twice in 0..2 {
            setting::put_back(&mut session, &saved, long()).unwrap();
            wait_for("the setting", || standby.ask(shown) == before);
        }
    }
}

#[test]
pub(crate) fn an_epoch_counts_only_when_it_is_acknowledged() {
    let primary = Cluster::primary("n1");
    let soon = || Deadline::after(Duration::from_millis(300));
    assert_eq!(record_epoch(&mut primary.session(), &epoch(1, 1), long()).unwrap(), Recorded::Written);
    assert_eq!(record_epoch(&mut primary.session(), &epoch(1, 1), long()).unwrap(), Recorded::Unchanged);
    let error = record_epoch(&mut primary.session(), &epoch(1, 2), long()).unwrap_err();
    assert_eq!((error.kind(), error.message()), (Kind::Refused, "term 1 (change 0) is another promotion's"));

    let mut root = primary.session();
    // A role whose own default acknowledges nothing is no way around the wait.
    root.execute("ALTER ROLE postgres SET synchronous_commit = off", long()).unwrap();
    setting::set(&mut root, "synchronous_standby_names", "ANY 1 (n2)", long()).unwrap();
    primary.wait_until("SELECT current_setting('synchronous_standby_names') <> ''");
    let error = record_epoch(&mut primary.session(), &epoch(2, 1), soon()).unwrap_err();
    assert_eq!(error.kind(), Kind::TryAgain);
    assert_eq!(error.message(), "the epoch isn't acknowledged yet; the row may already be here");

    // A row that is there already is waited for as well.
    let error = record_epoch(&mut primary.session(), &epoch(1, 1), soon()).unwrap_err();
    assert_eq!(error.kind(), Kind::TryAgain);

    let settings = primary.settings();
    let waiting = std::thread::spawn(move || {
        let mut session = Session::connect(&settings, long()).unwrap();
        record_epoch(&mut session, &epoch(3, 1), long())
    });
    let mut killer = primary.session();
    let cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    wait_for("the cancelled wait to be told", || {
        killer.query(cancel, long()).unwrap();
        waiting.is_finished()
    });
    let error = waiting.join().unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (Kind::TryAgain, "the wait for the epoch's acknowledgement was cancelled")
    );

    setting::set(&mut root, "synchronous_standby_names", "", long()).unwrap();
    primary.wait_until("SELECT current_setting('synchronous_standby_names') = ''");
    assert_eq!(record_epoch(&mut primary.session(), &epoch(2, 1), long()).unwrap(), Recorded::Unchanged);
}
