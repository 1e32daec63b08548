//! Each rule, against a healthy cluster in which one thing is changed.

use super::*;
use crate::output::status::view::tests::{healthy, told};
use crate::output::status::view::{DaemonView, EpochView, PauseView, Told};
use crate::pg::lsn::Timeline;

type Expected<'a> = &'a [(&'a str, Option<&'a str>, Severity, &'a str)];

/// Changes a healthy cluster and compares what is found, hints aside.
fn found(change: impl FnOnce(&mut ClusterView), expected: Expected<'_>) {
    let mut view = healthy();
    change(&mut view);
    let found = problems(&view);
    let found: Vec<_> = found
        .iter()
        .map(|found| (found.code, found.node.as_deref(), found.severity, found.message.as_str()))
        .collect();
    assert_eq!(found, expected);
}

fn hint(change: impl FnOnce(&mut ClusterView)) -> String {
    let mut view = healthy();
    change(&mut view);
    problems(&view).first().unwrap().hint.clone()
}

fn server(view: &mut ClusterView, node: usize) -> &mut ServerView {
    view.nodes[node].server.as_mut().unwrap()
}

fn gone(view: &mut ClusterView, node: usize, reach: Reach) {
    view.nodes[node].server = None;
    view.nodes[node].reach = reach;
}

fn timeline(number: u32) -> Timeline {
    Timeline::new(number).unwrap()
}

use Severity::{Critical, Note, Warning};

#[test]
fn a_healthy_cluster_has_no_problem() {
    found(|_| {}, &[]);
}

#[test]
fn a_cluster_without_a_primary_names_the_best_candidate() {
    let no_primary = |view: &mut ClusterView| {
        gone(view, 0, Reach::Refused);
        view.nodes[0].daemon = DaemonView::Unknown;
        view.vips[0].answer = VipAnswer::NotAsked;
    };
    found(
        no_primary,
        &[
            ("no-primary", None, Critical, "no node that answers is the primary; node1 can't be asked"),
            ("server-down", Some("node1"), Warning, "PostgreSQL isn't running"),
        ],
    );
    assert_eq!(
        hint(no_primary),
        "is PostgreSQL on node1 really stopped? then on node2: pgbaton pg promote --dry-run"
    );
    found(
        |view| {
            view.vips[0].answer = VipAnswer::NotAsked;
            server(view, 0).role = ServerRole::Standby;
        },
        &[("no-primary", None, Critical, "no node is the primary")],
    );
}

#[test]
fn the_spare_is_never_the_candidate() {
    let hint = hint(|view| {
        server(view, 0).role = ServerRole::Standby;
        server(view, 0).lsn = Lsn(1);
        server(view, 2).lsn = Lsn(u64::MAX);
    });
    assert_eq!(hint, "on node2: pgbaton pg promote --dry-run");
}

#[test]
fn of_two_primaries_the_one_of_the_older_term_is_to_be_stopped() {
    let two = |view: &mut ClusterView| {
        let second = server(view, 1);
        second.role = ServerRole::Primary;
        second.epoch.as_mut().unwrap().term = 3;
        view.nodes[1].daemon = DaemonView::Unknown;
    };
    found(two, &[("two-primaries", None, Critical, "2 primaries: node1 (term 2), node2 (term 3)")]);
    assert_eq!(hint(two), "node2 has the newest term; stop PostgreSQL on node1 now: pg_ctl stop -m fast");
}

#[test]
fn of_two_primaries_of_one_term_none_is_chosen() {
    let hint = hint(|view| server(view, 1).role = ServerRole::Primary);
    assert_eq!(hint, "to which of them did clients write last? stop the other now: pg_ctl stop -m fast");
}

#[test]
fn a_standby_without_a_receiver_is_told_why() {
    found(
        |view| {
            server(view, 1).receiver = None;
            server(view, 1).lag_bytes = Some(4096);
        },
        &[(
            "not-streaming",
            Some("node2"),
            Warning,
            "doesn't stream from node1: no WAL receiver runs, 4 kB behind",
        )],
    );
    found(
        |view| {
            server(view, 1).receiver = None;
            server(view, 1).upstream_configured = Some(false);
        },
        &[(
            "not-streaming",
            Some("node2"),
            Warning,
            "doesn't stream from node1: it is detached: primary_conninfo is empty",
        )],
    );
    found(
        |view| {
            let second = server(view, 1);
            second.receiver.as_mut().unwrap().status = Some("waiting".to_owned());
            second.timeline = timeline(2);
            second.lsn = Lsn(0x03FF_0000);
            second.received_lsn = None;
        },
        &[(
            "not-streaming",
            Some("node2"),
            Warning,
            "doesn't stream from node1: its WAL receiver is waiting; it is on timeline 2, the primary on 3",
        )],
    );
}

#[test]
fn a_receiver_whose_state_may_not_be_seen_isn_t_a_problem() {
    found(|view| server(view, 1).receiver.as_mut().unwrap().status = None, &[]);
}

#[test]
fn a_standby_beyond_the_fork_can_not_follow() {
    found(
        |view| {
            let second = server(view, 1);
            second.timeline = timeline(2);
            second.lsn = Lsn(0x0400_0000);
            second.received_lsn = Some(Lsn(0x0404_F570));
        },
        &[(
            "forked-off",
            Some("node2"),
            Critical,
            "can't follow: it has 0/404F570 on timeline 2, and the primary's timeline 3 left it at 0/4000000",
        )],
    );
}

#[test]
fn a_standby_of_an_unknown_timeline_can_not_follow() {
    found(
        |view| {
            let history =
                crate::pg::history::History::parse(timeline(5), "1\t0/3000000\tx\n\n3\t0/4000000\tx\n");
            server(view, 0).timeline = timeline(5);
            server(view, 0).history = history.ok();
            server(view, 1).timeline = timeline(2);
            server(view, 2).timeline = timeline(5);
        },
        &[(
            "forked-off",
            Some("node2"),
            Critical,
            "can't follow: its timeline 2 isn't in the history of the primary's timeline 5",
        )],
    );
}

#[test]
fn a_standby_that_has_more_than_it_was_sent_has_silently_diverged() {
    let change = |view: &mut ClusterView| {
        let sender = &mut server(view, 0).senders[0];
        sender.sent_lsn = Some(Lsn(0x0400_5AC8));
        sender.replay_lsn = Some(Lsn(0x0408_8630));
    };
    let text = "has replayed 0/4088630, but was sent only 0/4005AC8: same timeline, other content than node1";
    found(change, &[("diverged", Some("node2"), Critical, text)]);
    // Standbys that didn't set a name are known by their address.
    found(
        |view| {
            change(view);
            server(view, 0).senders[0].name = "walreceiver".to_owned();
        },
        &[("diverged", Some("node2"), Critical, text)],
    );
    // Two servers of one address can't be told apart by it.
    found(
        |view| {
            change(view);
            for sender in &mut server(view, 0).senders {
                sender.name = "walreceiver".to_owned();
                sender.address = Some("192.0.2.22".to_owned());
            }
        },
        &[],
    );
}

#[test]
fn data_of_a_newer_term_or_another_promotion_is_critical() {
    let epoch = |term, id: &str| {
        Some(EpochView { term, node: "node2".to_owned(), promotion_id: id.to_owned(), timeline: timeline(3) })
    };
    found(
        |view| {
            server(view, 1).epoch = epoch(3, "cdcd");
            view.nodes[1].daemon = DaemonView::Told(Told { term: Some(3), ..told("BACKUP", "standby") });
        },
        &[(
            "newer-than-primary",
            Some("node2"),
            Critical,
            "its data is of term 3, but the primary node1 is of term 2",
        )],
    );
    found(
        |view| server(view, 1).epoch = epoch(2, "cdcd"),
        &[(
            "other-promotion",
            Some("node2"),
            Critical,
            "term 2 was begun by another promotion than on node1",
        )],
    );
    found(
        |view| server(view, 1).timeline = timeline(4),
        &[("newer-timeline", Some("node2"), Critical, "is on timeline 4, ahead of the primary's 3")],
    );
}

#[test]
fn a_standby_that_streams_on_an_old_timeline_is_seen() {
    found(
        |view| {
            let second = server(view, 1);
            second.timeline = timeline(2);
            second.lsn = Lsn(0x03FF_0000);
            second.received_lsn = None;
        },
        &[("old-timeline", Some("node2"), Warning, "is on timeline 2, the primary on 3")],
    );
}

#[test]
fn lag_above_the_limit_is_seen_and_below_it_is_not() {
    found(|view| server(view, 1).lag_bytes = Some(16 << 20), &[]);
    found(
        |view| server(view, 1).lag_bytes = Some(40 << 20),
        &[("lag", Some("node2"), Warning, "is 40 MB behind, more than max_lag = 16 MB")],
    );
    found(
        |view| {
            view.max_lag = None;
            server(view, 1).lag_bytes = Some(u64::MAX);
        },
        &[],
    );
}

#[test]
fn a_paused_cluster_says_so_for_as_long_as_it_is() {
    let pause = |seconds| Some(PauseView { reason: "upgrade".to_owned(), since_seconds: Some(seconds) });
    found(
        |view| {
            for node in 0..3 {
                server(view, node).pause = pause(700);
            }
        },
        &[(
            "paused",
            None,
            Warning,
            "paused for 11min (upgrade): nothing is promoted, stopped or rebuilt by itself",
        )],
    );
}

#[test]
fn a_paused_replay_is_seen_even_without_a_primary() {
    found(
        |view| server(view, 1).replay_paused = true,
        &[("replay-paused", Some("node2"), Warning, "replay is paused")],
    );
}

#[test]
fn a_vip_has_to_be_with_the_primary() {
    let answer = |answer: VipAnswer| move |view: &mut ClusterView| view.vips[0].answer = answer;
    found(
        answer(VipAnswer::Nobody { detail: "no answer in time".to_owned() }),
        &[("vip-nowhere", None, Critical, "nobody answers behind 192.0.2.23/24 (no answer in time)")],
    );
    found(
        answer(VipAnswer::Node { node: "node2".to_owned() }),
        &[("vip-on-standby", None, Critical, "192.0.2.23/24 is on node2, which isn't the primary")],
    );
    found(
        answer(VipAnswer::Stranger { detail: "system id 5".to_owned() }),
        &[(
            "vip-on-stranger",
            None,
            Critical,
            "behind 192.0.2.23/24 answers a server that is none of the nodes (system id 5)",
        )],
    );
    found(
        answer(VipAnswer::Unknown { detail: "password".to_owned() }),
        &[("vip-unknown", None, Warning, "it can't be told who answers behind 192.0.2.23/24 (password)")],
    );
    found(answer(VipAnswer::NotAsked), &[]);
}

#[test]
fn a_vip_that_two_daemons_hold_is_critical() {
    found(
        |view| {
            for (node, state) in [(0, "ACTIVE"), (1, "ACTIVE")] {
                let mut told = told(state, "serving");
                told.held = Some(vec!["192.0.2.23/24".to_owned()]);
                view.nodes[node].daemon = DaemonView::Told(told);
            }
        },
        &[("vip-twice", None, Critical, "192.0.2.23/24 is held by node1 and node2")],
    );
}

#[test]
fn a_daemon_that_tells_nothing_is_not_taken_for_healthy() {
    let with = |connected, reach| {
        move |view: &mut ClusterView| {
            let told = Told { connected, ..told("BACKUP", "standby") };
            view.nodes[1].daemon = DaemonView::Told(told);
            if reach != Reach::Answered {
                gone(view, 1, reach);
            }
        }
    };
    let silent = (
        "daemon-silent",
        Some("node2"),
        Warning,
        "its daemon has no session to the primary: it doesn't run, or can't reach it",
    );
    found(with(Some(false), Reach::Answered), &[silent]);
    found(with(Some(true), Reach::Answered), &[]);
    found(with(None, Reach::Answered), &[]);
    assert_eq!(
        hint(with(Some(false), Reach::Answered)),
        "on node2: systemctl status pgbaton; pgbaton vrrp status"
    );
    // Who can't be reached has no session either; and without a primary nobody has one.
    let off = ("no-answer", Some("node2"), Warning, "no answer in time: host off, cut off, or server frozen");
    found(with(Some(false), Reach::Timeout), &[off]);
    found(
        |view| view.nodes[1].daemon = DaemonView::Unknown,
        &[(
            "daemon-unknown",
            Some("node2"),
            Warning,
            "no daemon has ever told anything from here: it neither takes over nor stops when it must",
        )],
    );
    // Where no daemon has a part, keepalived may.
    found(|view| view.nodes.iter_mut().for_each(|node| node.daemon = DaemonView::Unknown), &[]);
}

#[test]
fn a_standby_out_of_the_election_is_no_healthy_one() {
    let out = |seconds| {
        move |view: &mut ClusterView| {
            let mut told = told("INITIALIZE", "standby");
            (told.since_seconds, told.reason) = (Some(seconds), Some("the link is down".to_owned()));
            view.nodes[1].daemon = DaemonView::Told(told);
        }
    };
    let message = "has no part in the election, so it doesn't take over: the link is down";
    found(out(60), &[("not-elected", Some("node2"), Warning, message)]);
    found(out(1), &[]);
}

#[test]
fn each_way_of_not_answering_has_its_own_question() {
    let cases = [
        (Reach::Refused, "server-down", "PostgreSQL isn't running (x)", "why did it stop? its log says so"),
        (
            Reach::Timeout,
            "no-answer",
            "x: host off, cut off, or server frozen",
            "does the host answer? ping 192.0.2.22",
        ),
        (
            Reach::NoRoute,
            "no-route",
            "x: host off or cut off, or no route to it",
            "does the host answer? ping 192.0.2.22; ip route get 192.0.2.22",
        ),
        (
            Reach::Auth,
            "not-let-in",
            "the server doesn't let us in (x)",
            "does its pg_hba.conf allow this host, and is the password in ~/.pgpass?",
        ),
        (
            Reach::Starting,
            "starting",
            "the server isn't open for connections (x)",
            "is it still recovering? its log says how far it is",
        ),
        (Reach::Error, "error", "the server can't answer (x)", "what does its log say?"),
    ];
    for (reach, code, message, question) in cases {
        let change = |view: &mut ClusterView| {
            gone(view, 1, reach);
            view.nodes[1].detail = Some("x".to_owned());
        };
        found(change, &[(code, Some("node2"), Warning, message)]);
        assert_eq!(hint(change), question);
    }
}

#[test]
fn an_ex_primary_that_is_kept_down_says_why_in_its_daemon_s_words() {
    let change = |view: &mut ClusterView| {
        gone(view, 1, Reach::Refused);
        let mut told = told("BACKUP", "fenced");
        told.reason = Some("term 3 is confirmed on node1".to_owned());
        told.hint = Some("rebuild it".to_owned());
        view.nodes[1].daemon = DaemonView::Told(told);
    };
    found(
        change,
        &[("stays-down", Some("node2"), Warning, "PostgreSQL is kept down: term 3 is confirmed on node1")],
    );
    assert_eq!(hint(change), "rebuild it");
}

#[test]
fn a_daemon_that_doesn_t_run_or_holds_is_seen() {
    found(
        |view| view.nodes[1].daemon = DaemonView::NotRunning { detail: "no socket".to_owned() },
        &[("daemon-down", Some("node2"), Warning, "the daemon isn't running (no socket)")],
    );
    found(
        |view| {
            let mut told = told("BACKUP", "held");
            told.reason = Some("nothing proves that node1 is dead".to_owned());
            view.nodes[1].daemon = DaemonView::Told(told);
        },
        &[(
            "daemon-held",
            Some("node2"),
            Warning,
            "the daemon has put on hold the node: nothing proves that node1 is dead",
        )],
    );
}

#[test]
fn a_daemon_in_another_term_than_its_database_is_seen() {
    found(
        |view| {
            let mut told = told("BACKUP", "standby");
            told.term = Some(5);
            view.nodes[1].daemon = DaemonView::Told(told);
        },
        &[("term-mismatch", Some("node2"), Warning, "the daemon is in term 5, the database in term 2")],
    );
}

#[test]
fn a_server_of_another_cluster_is_seen_once() {
    found(
        |view| {
            server(view, 1).system_id = "5".to_owned();
            server(view, 1).receiver = None;
        },
        &[(
            "other-system",
            Some("node2"),
            Critical,
            "belongs to another cluster: system id 5, not 7400000000000000001",
        )],
    );
}

#[test]
fn commits_that_wait_for_nobody_are_critical() {
    let change = |view: &mut ClusterView| server(view, 0).senders.clear();
    found(
        change,
        &[(
            "commits-wait",
            Some("node1"),
            Critical,
            "commits wait: none of synchronous_standby_names = 'ANY 1 (node2, spare)' streams",
        )],
    );
    found(
        |view| {
            for sender in &mut server(view, 0).senders {
                sender.sync_state = None;
            }
        },
        &[],
    );
}

#[test]
fn a_spare_that_was_promoted_is_critical() {
    found(
        |view| {
            gone(view, 0, Reach::NotAsked);
            view.nodes[1].reach = Reach::NotAsked;
            view.nodes[1].server = None;
            server(view, 2).role = ServerRole::Primary;
            view.vips[0].answer = VipAnswer::NotAsked;
        },
        &[("spare-is-primary", Some("spare"), Critical, "is a spare, but its server is a primary")],
    );
}

#[test]
fn a_primary_without_standby_signal_is_a_warning() {
    found(
        |view| server(view, 0).start_protected = Some(false),
        &[(
            "unprotected-start",
            Some("node1"),
            Warning,
            "would start writable by itself: no standby.signal in its data directory",
        )],
    );
}

#[test]
fn settings_that_will_hurt_later_are_notes() {
    found(
        |view| {
            server(view, 0).restart_after_crash = Some(true);
            server(view, 1).rewindable = Some(false);
        },
        &[
            (
                "restarts-itself",
                Some("node1"),
                Note,
                "restart_after_crash is on: the server restarts behind the daemon's back",
            ),
            (
                "not-rewindable",
                Some("node2"),
                Note,
                "neither wal_log_hints nor data checksums are on: pg_rewind can't work",
            ),
        ],
    );
}

#[test]
fn without_postgres_nobody_is_missed() {
    found(
        |view| {
            for node in 0..3 {
                gone(view, node, Reach::NotAsked);
            }
            view.vips[0].answer = VipAnswer::NotAsked;
        },
        &[],
    );
}

#[test]
fn the_worst_comes_first() {
    let mut view = healthy();
    server(&mut view, 0).restart_after_crash = Some(true);
    server(&mut view, 1).replay_paused = true;
    view.vips[0].answer = VipAnswer::Nobody { detail: String::new() };
    let severities: Vec<Severity> = problems(&view).iter().map(|problem| problem.severity).collect();
    assert_eq!(severities, [Critical, Warning, Note]);
}

#[test]
fn sizes_are_said_as_people_say_them() {
    let sizes = [0, 1023, 1024, 1536, 40 << 20, (1 << 30) + (1 << 29), u64::MAX].map(bytes);
    assert_eq!(sizes, ["0 B", "1023 B", "1 kB", "1.5 kB", "40 MB", "1.5 GB", "17179869183 GB"]);
}
