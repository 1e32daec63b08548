//! A real `sshd` with keys and a configuration of its own, in a network namespace.

use super::pg::{must, wait_for};
use crate::net::bed::inside;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// The port it listens on.
pub const PORT: u16 = 2222;

/// A running `sshd`; killed when dropped.
#[derive(Debug)]
pub struct Sshd {
    folder: PathBuf,
    child: Child,
}

impl Sshd {
    /// Starts one that listens on `address` in a namespace, with more lines in its configuration.
    pub fn start(namespace: &str, address: &str, settings: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("pgb-ssh-{}-{number}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
        // Where it drops its privileges; a package's service makes it.
        std::fs::create_dir_all("/run/sshd").unwrap();
        for (name, kind) in
            [("host", "ed25519"), ("host_rsa", "rsa"), ("user", "ed25519"), ("other", "ed25519")]
        {
            keygen(&folder.join(name), kind);
        }
        std::fs::copy(folder.join("user.pub"), folder.join("authorized_keys")).unwrap();
        let here = folder.display();
        // A bash of the first level that sshd has started reads the ~/.bashrc of whoever runs the tests.
        let text = format!(
            "{settings}\nPort {PORT}\nListenAddress {address}\nHostKey {here}/host\nPidFile none\n\
             AuthorizedKeysFile {here}/authorized_keys\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n\
             SetEnv SHLVL=5\nSubsystem sftp internal-sftp\n"
        );
        std::fs::write(folder.join("sshd_config"), text).unwrap();
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace, "/usr/sbin/sshd", "-D", "-e", "-f"]);
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let child = command.arg(folder.join("sshd_config")).stdin(Stdio::null()).stderr(log).spawn();
        let sshd = Self { folder, child: child.expect("ip and sshd (openssh-server is needed)") };
        let place = format!("{address}:{PORT}");
        wait_for("sshd", || inside(namespace, || TcpStream::connect(&place).is_ok()));
        sshd
    }

    /// Returns one of its files: `user` and `other` are private keys, only the first is let in.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a file of known hosts with one line, and returns its path.
    pub fn known_hosts(&self, name: &str, marks: &str, alias: &str, key: &str) -> PathBuf {
        let key = std::fs::read_to_string(self.file(&format!("{key}.pub"))).unwrap();
        let path = self.file(name);
        std::fs::write(&path, format!("{marks}{alias} {key}")).unwrap();
        path
    }
}

fn keygen(path: &Path, kind: &str) {
    must(Command::new("ssh-keygen").args(["-q", "-N", "", "-t", kind, "-f"]).arg(path));
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        std::fs::remove_dir_all(&self.folder).ok();
    }
}
