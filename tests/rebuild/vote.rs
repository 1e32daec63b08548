//! The node's vote across a rebuild: what it promised stays, what the primary promised doesn't come along, and it is
//! unfit for as long as its data isn't whole.

use super::{diverged, follows, promote, rebuilt, refusal, run, verb};
use crate::support::pg::{Cluster, long};
use pgbaton::pg::epoch::{PromotionId, Term};
use pgbaton::pg::register;
use pgbaton::promotion::rules::{Configuration, Confirmed, Promise, PromiseState, Register};
use pgbaton::rebuild::conf;

/// Returns a promise.
#[expect(clippy::unnecessary_wraps, reason = "the fields are options")]
pub(super) fn promise(term: u64, holder: &str, id: u8, state: PromiseState) -> Option<Promise> {
    let id = PromotionId::from_random([id; 16]);
    Some(Promise { term: Term(term), holder: holder.to_owned(), id, state })
}

/// Returns a confirmed term.
#[expect(clippy::unnecessary_wraps, reason = "the fields are options")]
pub(super) fn confirmed(term: u64, holder: &str) -> Option<Confirmed> {
    Some(Confirmed { term: Term(term), holder: holder.to_owned() })
}

/// Writes a register on a running server, as the daemon does.
pub(super) fn write(cluster: &Cluster, register: &Register) {
    let mut session = cluster.session();
    for statement in register::write(register) {
        session.query(statement, long()).unwrap();
    }
}

/// Reads the register in a data directory; what it holds and what its server would read at a start.
pub(super) fn read(cluster: &Cluster) -> Register {
    let text = std::fs::read_to_string(cluster.data().join(conf::AUTO_CONF)).unwrap();
    register::parse(&conf::setting(&text, register::SETTING).unwrap_or_default()).unwrap()
}

/// The register of a primary of term 2 that would be a bad one to have.
pub(super) fn of_the_primary() -> Register {
    Register {
        promise: promise(2, "n2", 2, PromiseState::Confirmed),
        confirmed: confirmed(2, "n2"),
        record: Some(Configuration {
            term: Term(2),
            change: 1,
            primary: "n2".to_owned(),
            w: 1,
            members: vec!["n1".to_owned()],
        }),
        upstream: Some("host=n1".to_owned()),
        ..Register::default()
    }
}

#[test]
pub(crate) fn a_node_keeps_its_own_vote_and_names_through_a_rewind_and_a_copy() {
    let (first, second) = diverged("");
    write(&second, &of_the_primary());
    let own = Register {
        promise: promise(2, "n2", 7, PromiseState::Promised),
        confirmed: confirmed(1, "n1"),
        upstream: Some("host=n0".to_owned()),
        ..Register::default()
    };
    write(&first, &own);
    for (cluster, names) in [(&first, "one"), (&second, "two")] {
        let sql = format!("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 ({names})'");
        cluster.session().execute(sql, long()).unwrap();
    }
    first.stop();
    let joined = Register {
        promise: promise(2, "n2", 7, PromiseState::Confirmed),
        confirmed: confirmed(2, "n2"),
        record: of_the_primary().record,
        ..Register::default()
    };
    let document = rebuilt(&first, &second, &[]);
    assert_eq!(document["decision"], "rewind", "{document:#}");
    assert_eq!(read(&first), joined, "{document:#}");
    follows(&first, &second);
    assert_eq!(first.ask("SHOW synchronous_standby_names"), "ANY 1 (one)");
    // In force, not only in the file.
    first.wait_until("SELECT current_setting('pgbaton.register') NOT LIKE '%unfit%'");

    first.stop();
    let document = rebuilt(&first, &second, &["--method", "basebackup"]);
    assert_eq!(document["decision"], "base-backup", "{document:#}");
    assert_eq!(read(&first), joined, "{document:#}");
    follows(&first, &second);
    assert_eq!(first.ask("SHOW synchronous_standby_names"), "ANY 1 (one)");

    // A run that was killed just before its end: the next one takes the mark away.
    write(&first, &Register { unfit: true, ..joined.clone() });
    let document = rebuilt(&first, &second, &[]);
    assert_eq!(
        (&document["decision"], &document["changed"]),
        (&"nothing".into(), &true.into()),
        "{document:#}"
    );
    assert_eq!(read(&first), joined);
    assert_eq!(rebuilt(&first, &second, &[])["changed"], false);
}

#[test]
fn a_new_node_starts_with_a_register_of_its_own_and_nobody_to_wait_for() {
    let first = Cluster::primary("n1");
    first.session().execute("CREATE TABLE public.t (i int)", long()).unwrap();
    write(&first, &of_the_primary());
    let names = "ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (n9, n2)'";
    first.session().execute(names, long()).unwrap();
    let second = Cluster::nothing("n2");
    let sockets = second.sockets().to_str().unwrap().to_owned();
    rebuilt(&second, &first, &["--port", "5432", "--socket-directory", &sockets]);
    let record = of_the_primary().record;
    let expected = Register { confirmed: confirmed(2, "n2"), record, ..Register::default() };
    assert_eq!(read(&second), expected);
    assert_eq!(second.ask("SHOW synchronous_standby_names"), "");
    assert_eq!(second.ask("SHOW primary_slot_name"), "n2");
    let name = "SELECT count(*) = 1 FROM pg_stat_replication WHERE application_name = 'n2'";
    assert_eq!(first.ask(name), "t");
}

#[test]
fn nobody_attaches_to_a_term_that_is_only_promised_nor_against_a_promise() {
    let (first, second) = diverged("");
    let pending = Register {
        promise: promise(3, "n2", 3, PromiseState::Promised),
        confirmed: confirmed(2, "n1"),
        ..Register::default()
    };
    write(&second, &pending);
    write(&first, &Register { confirmed: confirmed(2, "n1"), ..Register::default() });
    first.stop();
    let (code, message) = refusal(&first, &second, &[]);
    assert_eq!((code, message.contains("isn't confirmed yet")), (75, true), "{message}");
    assert!(!first.data().join("standby.signal").exists());

    write(&second, &of_the_primary());
    let bound = Register { promise: promise(7, "n3", 7, PromiseState::Promised), ..Register::default() };
    let first = {
        let again = Cluster::copy_of(&first);
        again.start();
        write(&again, &bound);
        again.stop();
        again
    };
    let (code, message) = refusal(&first, &second, &[]);
    assert_eq!((code, message.contains("has promised term 7 to n3")), (75, true), "{message}");
    let (code, document) = run(verb(&first, &second).args(["--force", "promise"]));
    assert_eq!(code, 0, "{document:#}");
    // Following was forced; the promise is still one.
    assert_eq!(read(&first).promise, bound.promise);
    follows(&first, &second);
}

#[test]
fn a_standby_of_an_idle_primary_is_fit_although_its_receiver_has_received_nothing_new() {
    let (first, second) = super::pair("");
    let unfit = Register { unfit: true, ..Register::default() };
    write(&second, &unfit);
    // After a checkpoint an idle primary writes nothing by itself.
    first.session().execute("CHECKPOINT", long()).unwrap();
    let end = first.ask("SELECT pg_current_wal_lsn()");
    second.wait_until(&format!("SELECT pg_last_wal_replay_lsn() >= '{end}'"));
    // What it has in pg_wal it replays from there; the receiver begins at the segment, and nothing more comes.
    second.stop();
    second.start();
    second.wait_until("SELECT count(*) = 1 FROM pg_stat_wal_receiver WHERE status = 'streaming'");
    let behind = second.ask("SELECT pg_last_wal_receive_lsn() || ' ' || pg_last_wal_replay_lsn()");
    assert_eq!(
        second.ask("SELECT pg_last_wal_receive_lsn() < pg_last_wal_replay_lsn()"),
        "t",
        "{behind} {end}"
    );
    let (code, document) = run(&mut verb(&second, &first));
    assert_eq!((code, super::step(&document, "become-fit")), (0, "done"), "{document:#}");
    assert!(!read(&second).unfit);
}

#[test]
fn a_half_rewound_folder_starts_no_server() {
    let (first, _second) = super::pair("");
    first.stop();
    let mode = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(first.data(), mode(pgbaton::pg::server::BARRED)).unwrap();
    let mut start = crate::support::pg::tool("postgres");
    let said = start.arg("-D").arg(first.data()).output().unwrap();
    assert!(!said.status.success());
    assert!(String::from_utf8_lossy(&said.stderr).contains("invalid permissions"));
    std::fs::set_permissions(first.data(), mode(0o700)).unwrap();
}

#[test]
fn a_start_that_is_enough_leaves_the_vote_fit() {
    let (first, second) = super::pair("");
    write(&first, &Register { confirmed: confirmed(1, "n1"), ..Register::default() });
    first.stop();
    promote(&second);
    write(&second, &of_the_primary());
    let document = rebuilt(&first, &second, &[]);
    assert_eq!(document["decision"], "start-as-is", "{document:#}");
    assert_eq!(super::step(&document, "become-fit"), "absent");
    let record = of_the_primary().record;
    let expected = Register { confirmed: confirmed(2, "n2"), record, ..Register::default() };
    assert_eq!(read(&first), expected);
}
