#!/usr/bin/env bash
# Boots a copy of the clean root BASE with a real systemd as process 1 of namespaces of its own, installs a package there,
# a .deb or an .rpm, and looks whether the units do what they say: PostgreSQL comes up as a standby, nothing of pgbaton starts by itself, the
# daemon says that it is ready, has its two capabilities and no other, feeds the watchdog and is replaced when it hangs,
# may start its server (polkit) and nothing else, and hands over when it is stopped. systemd.sh PACKAGE NEXT: NEXT is a
# later revision, and an upgrade to it leaves the daemon serving.
#
# Needs root and cgroup v2, which may be mounted beside v1. Without a cgroup of its own that can be made it is skipped.
set -euo pipefail
package=$(readlink -f "$1") next=$(readlink -f "$2") kind=${1##*.}
say() { printf '%s\n' "--- $kind, systemd: $*"; }

groups=$(findmnt -n -o TARGET -t cgroup2 | head -1)
group=$groups/pgbaton-test-$$
if [ -z "$groups" ] || ! mkdir "$group" 2>/dev/null; then
  say "skipped: no cgroup v2 here in which a group can be made"; exit 0
fi
root=$(mktemp -d); chmod 755 "$root"
outer=
tidy() {
  [ -z "$outer" ] || kill -KILL "$outer" 2>/dev/null || true
  [ -z "$outer" ] || wait "$outer" 2>/dev/null || true
  for _ in $(seq 100); do # its processes end with their namespace, its groups from the leaves up
    find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
    [ -d "$group" ] || break
    sleep 0.1
  done
  rm -rf --one-file-system "$root"
}
trap tidy EXIT

say "a clean root with systemd and PostgreSQL"
cp -a "${BASE:?the folder of a root}/." "$root/"
cp "$package" "$root/package.$kind"; cp "$next" "$root/next.$kind"
case $kind in
deb) install="dpkg -i" remove="dpkg --purge" ;;
# What it requires is resolved where packages.sh installs it; here the libraries are Debian's, of which rpm knows nothing.
rpm) rpm="rpm --force-debian --dbpath /var/lib/rpm.test --nodeps"; install="$rpm -U" remove="$rpm -e" ;;
*) echo "neither a .deb nor an .rpm: $package" >&2; exit 2 ;;
esac
chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 $install "/package.$kind" >/dev/null
major=$(ls "$root/etc/postgresql" | head -1)
mkdir -p "$root/etc/pgbaton"
cat > "$root/etc/pgbaton/pgbaton.toml" <<TOML
[cluster]
name = "main"
[[node]]
name = "node1"
address = "10.99.0.1"
priority = 200
[[node]]
name = "node2"
address = "10.99.0.2"
priority = 100
[[vip]]
address = "10.99.0.100/24"
[guard]
availability = "prefer"
[postgres]
data_directory = "/var/lib/postgresql/$major/main"
bin_directory = "/usr/lib/postgresql/$major/bin"
socket_directory = "/var/run/postgresql"
TOML
chroot "$root" /usr/bin/pgbaton --node node1 generate systemd /etc/systemd/system >/dev/null
# The shipped units are what is tested, not their copies; and a shorter wait for the dog.
rm -f "$root/etc/systemd/system/pgbaton.service"; rm -rf "$root/etc/systemd/system/polkit-1"
mkdir -p "$root/etc/systemd/system/pgbaton.service.d"
printf '[Service]\nWatchdogSec=2s\n' > "$root/etc/systemd/system/pgbaton.service.d/test.conf"
for unit in systemd-networkd systemd-resolved systemd-timesyncd systemd-udevd systemd-udev-trigger getty.target e2scrub_reap; do
  ln -sf /dev/null "$root/etc/systemd/system/$unit$([[ $unit == *.* ]] || echo .service)"
done

say "boot"
cat > "$root/boot.sh" <<'BOOT'
set -e
root=$1
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup" 2>/dev/null || {
  mount -t tmpfs -o mode=755 tmpfs "$root/sys/fs/cgroup"; mkdir -p "$root/sys/fs/cgroup"
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"; }
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do touch "$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"; done
mkdir -p "$root/dev/shm" "$root/dev/pts" "$root/dev/mqueue"; mount -t tmpfs tmpfs "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"; ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"; ln -s /proc/self/fd/0 "$root/dev/stdin"
ln -s /proc/self/fd/1 "$root/dev/stdout"; ln -s /proc/self/fd/2 "$root/dev/stderr"
ip link set lo up
ip link add eth0 type veth peer name peer0; ip link set eth0 up; ip link set peer0 up
ip address add 10.99.0.1/24 dev eth0
cd "$root"; mkdir -p old; pivot_root . old; umount -l /old; rmdir /old 2>/dev/null || true
exec env -i container=pgbaton-test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --show-status=no
BOOT
( echo "$BASHPID" > "$group/cgroup.procs"
  exec unshare --cgroup --mount --pid --net --uts --ipc --fork --kill-child bash "$root/boot.sh" "$root" ) >"$root/console" 2>&1 </dev/null &
outer=$!
init=
until_so() { # until_so SECONDS WHAT COMMAND...
  local left=$(( $1 * 5 )) what=$2; shift 2
  until "$@" >/dev/null 2>&1; do
    left=$((left - 1)); [ "$left" -gt 0 ] || { echo "waited in vain: $what" >&2; report; exit 1; }
    sleep 0.2
  done
}
inside() { nsenter --target "$init" --cgroup --mount --pid --net --uts --ipc --root --wd /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 "$@"; }
report() {
  cat "$root/console" >&2 || true
  [ -z "$init" ] || { inside systemctl --no-pager --failed || true; inside journalctl --no-pager -n 60 || true; } >&2
}
has_init() { init=$(pgrep -P "$outer" | head -1); [ -n "$init" ] && [ "$(cat "/proc/$init/comm")" = systemd ]; }
until_so 20 "systemd" has_init
booted() { case $(inside systemctl is-system-running) in running | degraded) ;; *) return 1 ;; esac; }
until_so 60 "the end of the boot" booted

sql() { inside runuser -u postgres -- psql -XAtqc "$1"; }
property() { inside systemctl show -P "$1" pgbaton.service; }
has_vip() { inside ip -o address show dev eth0 | grep '10\.99\.0\.100/' >/dev/null; }
never() { if "$@" >/dev/null 2>&1; then echo "this should have failed: $*" >&2; report; exit 1; fi; }
want() { [ "$2" = "$3" ] || { echo "$1: \"$3\", not \"$2\"" >&2; report; exit 1; }; }

say "PostgreSQL runs as a standby; of pgbaton nothing runs, and nothing will at the next boot"
until_so 30 "the server" sql "SELECT 1"
want "in recovery" t "$(sql 'SELECT pg_is_in_recovery()')"
want "the daemon" inactive "$(property ActiveState)"
want "at boot" disabled "$(inside systemctl is-enabled pgbaton.service || true)"
never has_vip

say "the daemon says that it is ready, and serves"
inside systemctl start pgbaton.service || { report; exit 1; }
want "the daemon" active "$(property ActiveState)"
until_so 60 "the address" has_vip
want "in recovery" f "$(sql 'SELECT pg_is_in_recovery()')"
property StatusText
case $(property StatusText) in *ACTIVE*serving*) ;; *) echo "what it tells systemd: $(property StatusText)" >&2; report; exit 1 ;; esac

say "as postgres, with CAP_NET_ADMIN and CAP_NET_RAW"
pid=$(property MainPID)
want "user" postgres "$(inside stat -c %U "/proc/$pid")"
for set in Amb Eff Prm Bnd; do
  want "Cap$set" 0000000000003000 "$(inside sed -n "s/^Cap$set:[[:space:]]*//p" "/proc/$pid/status")"
done

say "a reload is none of a new daemon"
inside systemctl reload pgbaton.service || { report; exit 1; }
want "the daemon" "$pid" "$(property MainPID)"

say "an upgrade leaves it running, and serving"
inside $install "/next.$kind" >/dev/null 2>&1 || { report; exit 1; }
want "the daemon" "$pid" "$(property MainPID)"
want "to be read again" no "$(property NeedDaemonReload)"
has_vip || { echo "the address went" >&2; report; exit 1; }

say "one that hangs is replaced"
inside sh -c "kill -STOP $pid"
replaced() { [ "$(property MainPID)" != "$pid" ] && [ "$(property MainPID)" != 0 ] && [ "$(property ActiveState)" = active ]; }
until_so 30 "another daemon" replaced
inside journalctl -u pgbaton.service --no-pager | grep 'Watchdog timeout' >/dev/null || { echo "no watchdog" >&2; report; exit 1; }
until_so 60 "the address" has_vip

say "it may start and stop its server, and nothing else"
as_postgres() { inside runuser -u postgres -- systemctl --no-ask-password "$@"; }
as_postgres start "postgresql@$major-main.service" || { report; exit 1; }
never as_postgres stop dbus.service
never as_postgres stop pgbaton.service

say "a stop hands over: the address goes, the server is stopped"
inside systemctl stop pgbaton.service
want "its end" success "$(property Result)"
never has_vip
never sql "SELECT 1"

say "the next boot of the server is a standby's"
inside systemctl start "postgresql@$major-main.service"
until_so 30 "the server" sql "SELECT 1"
want "in recovery" t "$(sql 'SELECT pg_is_in_recovery()')"

say "removed while it runs: it hands over first, and nothing is left"
inside systemctl enable --now pgbaton.service >/dev/null 2>&1 || { report; exit 1; }
until_so 60 "the address" has_vip
pid=$(property MainPID)
inside rm -rf /etc/systemd/system/pgbaton.service.d
inside $remove pgbaton >/dev/null 2>&1 || { report; exit 1; }
want "the unit" not-found "$(property LoadState)"
never inside test -e "/proc/$pid"
never has_vip
# The flight records stay, but for a purge; an .rpm has none.
records=; [ $kind = deb ] || records=/var/lib/pgbaton
want "left behind" "$records" "$(inside find / -xdev -name '*pgbaton*' -not -path '/proc/*' -not -path '/var/lib/postgresql/*' \
  -not -path '/etc/pgbaton*' -not -path '/etc/systemd/system/*.d/pgbaton.conf' -not -path '/var/log/*')"
say "done: systemd ran the units"
