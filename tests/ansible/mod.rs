//! The shipped role and playbooks, run by the real ansible-playbook over real sshds against a real cluster.
//!
//! They need root, `ansible-playbook` (package ansible-core), sshd and `PostgreSQL`, and fail without.

use crate::support::lab::{BINARY, LIMIT, Stage, require_machine};
use crate::support::pgbaton;
use crate::support::sshd::{PORT, Sshd};
use pgbaton::host::clock::Deadline;
use pgbaton::host::process::run_spawn;
use pgbaton::host::spawn::Spawn;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

struct Control<'a> {
    stage: &'a Stage,
    folder: PathBuf,
    _sshds: Vec<Sshd>,
}

impl<'a> Control<'a> {
    fn new(stage: &'a Stage) -> Self {
        let folder = std::env::temp_dir().join(format!("pgbaton-ansible-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let written = pgbaton(&["generate", "ansible", folder.to_str().unwrap()]);
        assert!(written.status.success());
        let config = stage.lab.config().display();
        // What a machine of its own has in /usr/bin and /etc.
        let bin = Path::new(BINARY).parent().unwrap().display().to_string();
        let settings = format!("SetEnv PATH={bin}:/usr/sbin:/usr/bin:/sbin:/bin PGBATON_CONFIG={config}");
        let mut sshds = Vec::new();
        let mut hosts = String::new();
        for host in stage.lab.hosts.iter().filter(|host| host.name != "spare") {
            let sshd = Sshd::start(host.namespace.name(), &host.address.to_string(), &settings);
            let priority = if host.name == "node1" { 200 } else { 190 };
            hosts.push_str(&format!(
                "    {}:\n      ansible_host: {address}\n      pgbaton_address: {address}\n      \
                 pgbaton_priority: {priority}\n      ansible_ssh_private_key_file: {}\n      \
                 pgbaton_node_data_directory: {}\n      pgbaton_node_socket_directory: {}\n",
                host.name,
                sshd.file("user").display(),
                host.data_directory.display(),
                host.socket_directory.display(),
                address = host.address,
            ));
            sshds.push(sshd);
        }
        let first = stage.host("node1");
        let machine = require_machine();
        let restart = format!(
            "{}/pg_ctl -s -w -m fast -D {{{{ pgbaton_node_data_directory }}}} -l /dev/null restart",
            machine.bin_directory.display()
        );
        let inventory = format!(
            "pgbaton:\n  hosts:\n{hosts}  vars:\n    ansible_user: root\n    ansible_port: {PORT}\n    \
             ansible_ssh_common_args: -o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no\n    \
             ansible_become_method: ansible.builtin.su\n    ansible_become_flags: \"-s /bin/sh\"\n    \
             ansible_python_interpreter: /usr/bin/python3\n    \
             pgbaton_cluster: article\n    pgbaton_vips: [\"192.18.12.23/24\"]\n    pgbaton_first_primary: node1\n    \
             pgbaton_config: {base}/ansible/pgbaton.toml\n    pgbaton_fact_directory: {base}/ansible/facts.d\n    \
             pgbaton_runtime_directory: {base}/run\n    pgbaton_command: [{BINARY}, --config, \"{{{{ pgbaton_config }}}}\", \
             --node, \"{{{{ inventory_hostname }}}}\"]\n    pgbaton_data_directory: {}\n    pgbaton_socket_directory: {}\n    \
             pgbaton_manage_service: false\n    pgbaton_advert_interval: 400ms\n    pgbaton_availability: prefer\n    \
             pgbaton_install_commands: [[echo, 0 upgraded]]\n    pgbaton_restart_commands:\n      - [su, -s, /bin/sh, postgres, -c, \
             \"{restart}\"]\n",
            first.data_directory.display(),
            first.socket_directory.display(),
            base = stage.lab.options.base.display(),
        );
        std::fs::write(folder.join("inventory.yml"), inventory).unwrap();
        Self { stage, folder, _sshds: sshds }
    }

    /// Runs a program of Ansible where it reaches both hosts, and returns what it printed.
    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.folder);
        command.env("HOME", &self.folder).env("ANSIBLE_NOCOLOR", "1").env("LC_ALL", "C.UTF-8");
        let spawn = Spawn::new(command).netns(&self.stage.lab.client.path()).unwrap();
        let output = run_spawn(spawn, Deadline::after(LIMIT * 5))
            .unwrap_or_else(|error| panic!("{program} (package ansible-core): {error}"));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{program} {arguments:?}: {}\n{said}\n{}",
            output.status,
            output.complaint()
        );
        said
    }

    fn play(&self, arguments: &[&str]) -> Recap {
        Recap(self.run("ansible-playbook", arguments))
    }
}

impl Drop for Control<'_> {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

/// What a playbook says at its end.
struct Recap(String);

impl Recap {
    /// Returns how many tasks have changed something, on all hosts.
    fn changed(&self) -> u32 {
        let recap = self.0.split("PLAY RECAP").nth(1).unwrap();
        recap.split_whitespace().filter_map(|word| word.strip_prefix("changed=")?.parse::<u32>().ok()).sum()
    }
}

#[test]
fn a_cluster_is_built_upgraded_and_rebuilt_by_ansible_and_the_second_run_changes_nothing() {
    let stage = Stage::new("ansible");
    let control = Control::new(&stage);
    let base = &stage.lab.options.base;

    let dry = control.play(&["build.yml", "--check", "--diff"]);
    assert!(dry.changed() >= 2, "{}", dry.0);
    assert!(!base.join("ansible/pgbaton.toml").exists(), "--check has written something");
    assert!(control.play(&["build.yml"]).changed() >= 2);
    let again = control.play(&["build.yml"]);
    assert_eq!(again.changed(), 0, "{}", again.0);

    let facts = format!("fact_path={}", base.join("ansible/facts.d").display());
    let facts = control.run("ansible", &["node2", "-m", "ansible.builtin.setup", "-a", &facts]);
    assert!(facts.contains("\"ansible_local\"") && facts.contains("\"nodes\""), "{facts}");

    let writer = stage.writer();
    let upgraded = control.play(&["minor-upgrade.yml"]);
    assert!(upgraded.changed() >= 3, "{}", upgraded.0);
    stage.until_serving("node2");
    stage.until("node1 to stream", || stage.host("node2").streams_to("node1").unwrap().then_some(()));
    stage.lab.patience().pause(Duration::from_millis(200)).unwrap();
    let verdict = stage.verify(&writer.finish(), "node2");
    assert_eq!(verdict.lost, 0, "{verdict:?}");

    let rebuilt = control.play(&["rebuild.yml", "-l", "node1"]);
    assert_eq!(rebuilt.changed(), 0, "{}", rebuilt.0);
    assert!(rebuilt.0.contains("unchanged"), "{}", rebuilt.0);
}
