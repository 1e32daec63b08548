//! The examples at the end of `--help` and in the man pages.
//!
//! Two spaces and a sentence say what is done, four spaces show the command; the man pages rely on it.

pub(super) const PGBATON: &str = "\
Examples:
  See a failover on this machine, without any configuration
    pgbaton demo
  Write a configuration and check it
    pgbaton generate config > /etc/pgbaton/pgbaton.toml
    pgbaton vrrp check-config
  Run the daemon of this node
    pgbaton vrrp run
  Look at the whole cluster
    pgbaton cluster status";

pub(super) const VRRP: &str = "\
Examples:
  Run the daemon of this node
    pgbaton vrrp run
  Ask it for its state
    pgbaton vrrp status";

pub(super) const VRRP_RUN: &str = "\
Examples:
  Run the daemon with the configuration of the machine
    pgbaton vrrp run
  Run the daemon of a named node with another configuration
    pgbaton vrrp run --config ./pgbaton.toml --node node1 --log-level debug";

pub(super) const VRRP_STATUS: &str = "\
Examples:
  Show the state
    pgbaton vrrp status
  Use the state in a script
    pgbaton vrrp status --json | jq -r .vrrp.state";

pub(super) const VRRP_STATS: &str = "\
Examples:
  Show the counters
    pgbaton vrrp stats
  Hand them to the textfile collector of Prometheus
    pgbaton vrrp stats --format prometheus > /var/lib/prometheus/node-exporter/pgbaton.prom";

pub(super) const VRRP_PROBE: &str = "\
Examples:
  Send them, then look on another node whether they have arrived
    pgbaton vrrp probe
    ssh node2 pgbaton vrrp stats";

pub(super) const VRRP_RESIGN: &str = "\
Examples:
  Hand over before maintenance
    pgbaton vrrp resign
  Wait longer for a busy server to stop
    pgbaton vrrp resign --timeout 2m";

pub(super) const VRRP_CHECK_CONFIG: &str = "\
Examples:
  Check the configuration of the machine
    pgbaton vrrp check-config
  Check a new one before it is installed
    pgbaton vrrp check-config --config ./pgbaton.toml";

pub(super) const VIP: &str = "\
Examples:
  Add the configured virtual IP to this machine
    pgbaton vip up
  Remove it
    pgbaton vip down";

pub(super) const VIP_UP: &str = "\
Examples:
  Add the configured virtual IPs
    pgbaton vip up
  Add an address without any configuration, until it is removed
    pgbaton vip up 192.0.2.23/24 --interface eth0 --lease off
  See what would be done
    pgbaton vip up --dry-run";

pub(super) const VIP_DOWN: &str = "\
Examples:
  Remove the configured virtual IPs
    pgbaton vip down
  Remove an address without any configuration
    pgbaton vip down 192.0.2.23/24 --interface eth0";

pub(super) const VIP_STATUS: &str = "\
Examples:
  Show the configured virtual IPs
    pgbaton vip status
  Use the answer in a script
    pgbaton vip status --json";

pub(super) const PG: &str = "\
Examples:
  See whether the local standby could be promoted
    pgbaton pg promote --dry-run
  Make the old primary a standby of the new one
    pgbaton pg rebuild-standby
  Stop the local server for sure
    pgbaton pg fence";

pub(super) const PG_PROMOTE: &str = "\
Examples:
  See whether the local standby could be promoted, and by which steps
    pgbaton pg promote --dry-run
  Promote it
    pgbaton pg promote
  Promote after you have switched off the old primary yourself
    pgbaton pg promote --force proof-of-death
  Promote a server that no configuration names
    pgbaton pg promote -D /var/lib/postgresql/15/main -h /var/run/postgresql -p 5432";

pub(super) const PG_REBUILD_STANDBY: &str = "\
Examples:
  See what would be done
    pgbaton pg rebuild-standby --dry-run
  Make this node a standby of the primary
    pgbaton pg rebuild-standby
  Never copy everything
    pgbaton pg rebuild-standby --method rewind
  Fill an empty folder on a machine without a configuration
    pgbaton pg rebuild-standby -D /var/lib/postgresql/15/main --source-host 192.0.2.11 --node node3
  Show what rebuilds have kept, and remove it
    pgbaton pg rebuild-standby --list-kept
    pgbaton pg rebuild-standby --drop-kept";

pub(super) const PG_FENCE: &str = "\
Examples:
  Stop the local PostgreSQL for sure, and keep it from starting writable
    pgbaton pg fence
  Stop a server that no configuration names
    pgbaton pg fence -D /var/lib/postgresql/15/main
  Fence another node over SSH, and show the proof
    pgbaton pg fence --node node1 --json";

pub(super) const PG_FETCH_HISTORY: &str = "\
Examples:
  Fetch what is missing from the other nodes into the local pg_wal
    pgbaton pg fetch-history
  Put the files into the archive that standbys restore from
    pgbaton pg fetch-history --from node2 --to-archive /var/lib/archive --no-pg-wal
  See what would be written
    pgbaton pg fetch-history --from 192.0.2.22 -D /var/lib/postgresql/15/main --dry-run";

pub(super) const CLUSTER: &str = "\
Examples:
  Show every node
    pgbaton cluster status
  Prepare this node for the cluster
    sudo -u postgres pgbaton cluster init --dry-run
  Find what would make a failover fail
    pgbaton cluster check
  Draw the last failover
    pgbaton cluster timeline";

pub(super) const CLUSTER_STATUS: &str = "\
Examples:
  Show every node
    pgbaton cluster status
  Show it again every two seconds
    pgbaton cluster status --watch 2s
  Use the answer in a script
    pgbaton cluster status --json
  Check it from Nagios or Icinga, with a lag of 16 MB or 10 s as a warning
    pgbaton cluster status --format nagios -w 16MB -w 10s -c 256MB -c 1m
  Hand it to the textfile collector of Prometheus, from cron or a timer
    pgbaton cluster status --format prometheus -o /var/lib/prometheus/node-exporter/pgbaton_cluster.prom";

pub(super) const CLUSTER_INIT: &str = "\
Examples:
  See what the primary still needs
    sudo -u postgres pgbaton cluster init --dry-run
  Prepare it, and then each other node
    sudo -u postgres pgbaton cluster init
  Begin with an empty data directory on the first node
    sudo -u postgres pgbaton cluster init --create";

pub(super) const CLUSTER_CHECK: &str = "\
Examples:
  Check the cluster and this machine
    pgbaton cluster check
  Check the cluster and every machine
    pgbaton cluster check --peers
  Show the checks that passed too
    pgbaton cluster check --verbose
  Mend what is safe to mend
    pgbaton cluster check --fix
  Use the answer in a script
    pgbaton cluster check --json | jq -r '.findings[].what'";

pub(super) const CLUSTER_EVENTS: &str = "\
Examples:
  Show what happened in the last hour
    pgbaton cluster events --since 1h
  Watch what the daemon of this node does
    pgbaton cluster events --follow
  Look at both sides of a failover
    pgbaton cluster events --peers --since 10m";

pub(super) const CLUSTER_TIMELINE: &str = "\
Examples:
  Draw the last failover
    pgbaton cluster timeline
  List all that are recorded, and draw one of them
    pgbaton cluster timeline --list
    pgbaton cluster timeline --id 20260102T030405Z
  Draw both sides of the failover that began term 3, as a picture for the report
    pgbaton cluster timeline --id 3 --peers --svg failover.svg";

pub(super) const NOTIFY: &str = "\
Examples:
  Say in a shell what keepalived would say, and see what would be done
    pgbaton notify master --once --dry-run
  Use it as the notify script of keepalived.conf, which appends four words
    pgbaton notify --marker 127.112.0.51
  Use it for notify_fault
    pgbaton notify --marker 127.112.0.51 fault
  Use it as the notify_fifo_script, to which the path is appended
    pgbaton notify --marker 127.112.0.51 --fifo";

pub(super) const DEMO: &str = "\
Examples:
  Two hosts, and the power of the primary's fails
    pgbaton demo
  Three hosts, nothing acknowledged may be lost, with a picture
    pgbaton demo --spare --svg failover.svg
  Cut the network of the primary
    pgbaton demo --fault partition
  Remove what an interrupted demo has left
    pgbaton demo --clean";

pub(super) const GENERATE: &str = "\
Examples:
  Start a configuration
    pgbaton generate config > /etc/pgbaton/pgbaton.toml";

pub(super) const GENERATE_KEEPALIVED: &str = "\
Examples:
  Write the configuration of this node
    pgbaton generate keepalived > /etc/keepalived/keepalived.conf
  Check it as keepalived does
    keepalived -t -f /etc/keepalived/keepalived.conf
  Let keepalived move the virtual IP itself
    pgbaton generate keepalived --style classic --node node1";

pub(super) const GENERATE_SYSTEMD: &str = "\
Examples:
  Print the unit of the daemon
    pgbaton generate systemd
  Write all files, and look at them before they are installed
    pgbaton generate systemd ./units
    systemd-analyze verify ./units/pgbaton.service";

pub(super) const GENERATE_MONITORING: &str = "\
Examples:
  Write the examples
    pgbaton generate monitoring ./monitoring
  Check the alert rules, and test them
    promtool check rules ./monitoring/pgbaton-alerts.yml
    promtool test rules ./monitoring/pgbaton-alerts-test.yml";

pub(super) const GENERATE_FENCING: &str = "\
Examples:
  Write the examples, and take the one for management controllers (IPMI)
    pgbaton generate fencing .
    install -m 0750 -o root -g postgres fence-ipmi /etc/pgbaton/fence";

pub(super) const GENERATE_ANSIBLE: &str = "\
Examples:
  Write the example
    pgbaton generate ansible ./ansible
  See what building the cluster would change
    cd ansible; ansible-playbook build.yml --check --diff";

pub(super) const GENERATE_MAN: &str = "\
Examples:
  Install the man pages
    pgbaton generate man /usr/local/share/man/man8";

pub(super) const GENERATE_COMPLETIONS: &str = "\
Examples:
  Use the completions in this shell
    source <(pgbaton generate completions bash)
  Write the files of all shells
    pgbaton generate completions ./completions";

pub(super) const GENERATE_CONFIG: &str = "\
Examples:
  Start a configuration
    pgbaton generate config > /etc/pgbaton/pgbaton.toml";

pub(super) const CLUSTER_SWITCHOVER: &str = "\
Examples:
  Show what would be done, and whether the other node can take over
    pgbaton cluster switchover --dry-run
  Hand over
    pgbaton cluster switchover";

pub(super) const CLUSTER_PAUSE: &str = "\
Examples:
  Begin maintenance
    pgbaton cluster pause --reason 'minor upgrade'";

pub(super) const CLUSTER_RESUME: &str = "\
Examples:
  End maintenance
    pgbaton cluster resume";
