//! The SSH room against a real `sshd`: what libssh2 does otherwise than `ssh`, and what is done about it.

use crate::net::bed::{Bed, inside};
use crate::support::pg::{long, must, wait_for};
use crate::support::sshd::{PORT, Sshd};
use pgbaton::error::{Kind, Result};
use pgbaton::host::clock::{Deadline, now};
use pgbaton::ssh::kept::Kept;
use pgbaton::ssh::session::{self, Executed, Exit, Ssh};
use pgbaton::ssh::target::Target;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

fn target(sshd: &Sshd, known_hosts: PathBuf) -> Target {
    Target {
        name: "node1".to_owned(),
        host: "10.77.0.2".to_owned(),
        port: PORT,
        user: "root".to_owned(),
        lookup: "node1".to_owned(),
        known_hosts: vec![known_hosts],
        identities: vec![sshd.file("user")],
        identities_only: true,
        connect_timeout: Duration::from_secs(30),
    }
}

fn with<T: Send + 'static>(
    bed: &Bed,
    target: &Target,
    deadline: Deadline,
    work: impl FnOnce(&mut Ssh) -> Result<T> + Send + 'static,
) -> Result<T> {
    inside(&bed.a, || session::with(target, deadline, work))
}

fn exec(bed: &Bed, target: &Target, line: &'static str) -> Executed {
    with(bed, target, long(), move |ssh| ssh.exec(line)).unwrap()
}

#[test]
fn a_command_s_end_is_told_by_status_or_signal_and_both_streams_come_whole() {
    let bed = Bed::new();
    let sshd = Sshd::start(&bed.b, "10.77.0.2", "");
    let target = target(&sshd, sshd.known_hosts("known", "", "node1", "host"));
    let killed = exec(&bed, &target, "echo before; kill -KILL $$");
    assert_eq!((killed.exit, killed.stdout), (Exit::Signal("KILL".to_owned()), b"before\n".to_vec()));
    let done = exec(&bed, &target, "head -c 300000 /dev/zero >&2; head -c 400000 /dev/zero; exit 3");
    assert_eq!((done.exit, done.stdout.len(), done.stderr.len()), (Exit::Code(3), 400_000, 300_000));
    // More than the window on the stream that isn't wanted: nobody waits for anybody.
    let noisy = exec(&bed, &target, "head -c 5000000 /dev/zero >&2; echo end");
    assert_eq!((noisy.exit, noisy.stdout), (Exit::Code(0), b"end\n".to_vec()));
    let missing = with(&bed, &target, long(), |ssh| ssh.read_file(Path::new("/nonexistent"), 10));
    assert_eq!(missing.unwrap(), None);
    let long_file = with(&bed, &target, long(), |ssh| ssh.read_file(Path::new("/etc/passwd"), 10));
    assert!(long_file.is_err());
    let key = sshd.file("host.pub");
    let content = std::fs::read(&key).unwrap();
    let read = with(&bed, &target, long(), move |ssh| ssh.read_file(&key, 10_000));
    assert_eq!(read.unwrap(), Some(content));
}

#[test]
fn a_command_that_doesn_t_end_costs_the_deadline_and_no_more() {
    let bed = Bed::new();
    let sshd = Sshd::start(&bed.b, "10.77.0.2", "");
    let target = target(&sshd, sshd.known_hosts("known", "", "node1", "host"));
    let begin = now();
    let deadline = Deadline::after(Duration::from_secs(2));
    let error = with(&bed, &target, deadline, |ssh| ssh.exec("exec sleep 30")).unwrap_err();
    assert_eq!(error.kind(), Kind::TryAgain, "{error}");
    assert!(now().since(begin) < Duration::from_secs(10));
}

#[test]
fn a_server_with_a_certificate_and_several_keys_shows_the_key_that_is_known() {
    let bed = Bed::new();
    let first = Sshd::start(&bed.b, "10.77.0.2", "");
    // Its own host key certified by the key "other", and a second key that it would rather show.
    let host = first.file("host_rsa");
    must(
        Command::new("ssh-keygen")
            .args(["-q", "-s"])
            .arg(first.file("other"))
            .args(["-I", "node1", "-h"])
            .arg(first.file("host_rsa.pub")),
    );
    drop(bed);
    let bed = Bed::new();
    let lines =
        format!("HostKey {}\nHostCertificate {}", host.display(), first.file("host_rsa-cert.pub").display());
    let second = Sshd::start(&bed.b, "10.77.0.2", &lines);
    let known = first.known_hosts("known", "", "node1", "host_rsa");
    assert_eq!(exec(&bed, &target(&second, known), "true").exit, Exit::Code(0));
    let known = second.known_hosts("known", "", "*", "host");
    assert_eq!(exec(&bed, &target(&second, known), "true").exit, Exit::Code(0));
}

#[test]
fn a_key_of_the_agent_is_tried_first_and_hashed_names_are_known() {
    let bed = Bed::new();
    let sshd = Sshd::start(&bed.b, "10.77.0.2", "");
    let known = sshd.known_hosts("known", "", "node1", "host");
    must(Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(&known));
    assert!(std::fs::read_to_string(&known).unwrap().starts_with("|1|"));
    assert_eq!(exec(&bed, &target(&sshd, known.clone()), "true").exit, Exit::Code(0));

    let socket = sshd.file("agent");
    let mut agent = Command::new("ssh-agent")
        .args(["-D", "-a"])
        .arg(&socket)
        .stdout(Stdio::null())
        .spawn()
        .expect("ssh-agent (openssh-client is needed)");
    // The file is there before anything listens on it.
    wait_for("the agent", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    must(Command::new("ssh-add").arg("-q").arg(sshd.file("user")).env("SSH_AUTH_SOCK", &socket));
    let config = sshd.file("agent.toml");
    let text = format!(
        "[cluster]\nname = \"test\"\n\
         [[node]]\nname = \"node1\"\naddress = \"10.77.0.2\"\npriority = 200\n\
         [[node]]\nname = \"node2\"\naddress = \"10.77.0.1\"\npriority = 100\n\
         [[vip]]\naddress = \"10.77.0.100/24\"\n[postgres]\ndata_directory = \"/nonexistent\"\n\
         [ssh]\nuser = \"root\"\nport = {PORT}\nknown_hosts = \"{}\"\nremote_command = \"echo\"\n",
        known.display()
    );
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &bed.a, env!("CARGO_BIN_EXE_pgbaton"), "--config"]).arg(&config);
    command.args(["pg", "fence", "--node", "node1", "--system-id", "1", "--json"]);
    let output = command.env("SSH_AUTH_SOCK", &socket).env("HOME", sshd.file("")).output().unwrap();
    agent.kill().unwrap();
    agent.wait().unwrap();
    // Let in, and what "echo" says is no proof.
    let (told, code) = crate::support::document(&output);
    assert_eq!(code, 75, "{told}");
    assert!(told["error"]["detail"].to_string().contains("no JSON document"), "{told}");
}

#[test]
fn a_kept_connection_outlives_those_who_stop_waiting_and_is_made_anew_when_it_breaks() {
    let bed = Bed::new();
    let sshd = Sshd::start(&bed.b, "10.77.0.2", "");
    let target = target(&sshd, sshd.known_hosts("known", "", "node1", "host"));
    inside(&bed.a, || {
        let kept = Kept::new(Ok(target));
        let pid = |deadline| kept.exec("echo $PPID", deadline).map(|done| done.stdout);
        // Nobody connects so soon; the connection is made all the same.
        let soon = kept.exec("true", Deadline::after(Duration::from_millis(1)));
        assert_eq!(soon.unwrap_err().kind(), Kind::TryAgain);
        let first = pid(long()).unwrap();
        let slow = kept.exec("sleep 0.3", Deadline::after(Duration::from_millis(50)));
        assert_eq!(slow.unwrap_err().kind(), Kind::TryAgain);
        assert_eq!(pid(long()).unwrap(), first, "another connection");
        let killed = String::from_utf8(first.clone()).unwrap();
        kept.exec(&format!("kill {killed}"), long()).ok();
        assert_ne!(pid(long()).unwrap(), first);
    });
}
