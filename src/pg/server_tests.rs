//! What is read of a data directory and of its lock file.

use super::*;
use proptest::prelude::*;
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn a_complete_lock_file_is_read() {
    let text = "4711\n/data\n1700000000\n5432\n/run/postgresql\n*\n  1234  0\nready   \n";
    let file = PidFile::parse(text).unwrap();
    assert_eq!((file.pid, file.port, file.status), (4711, 5432, PostmasterStatus::Ready));
    assert_eq!(file.socket_dir.as_deref(), Some(Path::new("/run/postgresql")));
}

#[test]
fn a_lock_file_that_is_being_written_is_read_as_far_as_it_goes() {
    let file = PidFile::parse("4711\n/data\n1700000000\n5432\n\n").unwrap();
    assert_eq!((file.socket_dir, file.status), (None, PostmasterStatus::Unknown));
    assert_eq!(PidFile::parse(""), None);
    assert_eq!(PidFile::parse("x\n"), None);
}

#[test]
fn what_is_not_a_data_directory_is_told_apart() {
    let base = std::env::temp_dir().join(format!("pgbaton-data-{}", std::process::id()));
    let message = |path: &Path| DataDirectory::open(path).unwrap_err().message().to_owned();
    assert_eq!(message(&base), format!("there is no data directory \"{}\"", base.display()));
    fs::create_dir(&base).unwrap();
    fs::set_permissions(&base, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(message(&base).ends_with("are too wide"));
    fs::set_permissions(&base, fs::Permissions::from_mode(0o700)).unwrap();
    assert!(message(&base).ends_with("isn't a data directory: no PG_VERSION"));
    fs::write(base.join("PG_VERSION"), "17\n").unwrap();
    assert_eq!(
        message(&base.join("PG_VERSION")),
        format!("\"{}\" isn't a directory", base.join("PG_VERSION").display())
    );
    let data = DataDirectory::open(&base).unwrap();
    assert_eq!(data.version(), 17);
    assert!(data.postmaster().unwrap().is_none() && data.orphans().unwrap().is_empty());
    assert!(data.write_standby_signal().unwrap() && !data.write_standby_signal().unwrap());
    assert!(data.remove_standby_signal().unwrap() && !data.remove_standby_signal().unwrap());
    fs::remove_dir_all(&base).unwrap();
}

#[test]
fn a_lock_file_that_names_another_process_is_no_postmaster() {
    let base = std::env::temp_dir().join(format!("pgbaton-stale-{}", std::process::id()));
    fs::create_dir(&base).unwrap();
    fs::set_permissions(&base, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(base.join("PG_VERSION"), "15\n").unwrap();
    fs::write(base.join("postmaster.pid"), format!("{}\n", std::process::id())).unwrap();
    assert!(DataDirectory::open(&base).unwrap().postmaster().unwrap().is_none());
    fs::remove_dir_all(&base).unwrap();
}

#[test]
fn a_dead_child_that_nobody_collected_is_a_zombie() {
    let mut child = Command::new("true").spawn().unwrap();
    let held = Pidfd::open(child.id()).unwrap().unwrap();
    assert!(held.wait(Deadline::after(Duration::from_secs(30))).unwrap() && is_zombie(child.id()));
    child.wait().unwrap();
    assert!(!is_zombie(child.id()) && !is_zombie(std::process::id()));
}

proptest! {
    #[test]
    fn no_text_makes_the_lock_file_s_parser_panic(text in "(?s).{0,80}") {
        let _ = PidFile::parse(&text);
    }
}
