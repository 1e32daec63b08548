#!/usr/bin/env bash
# Installs, uses and removes the Debian package in a clean root. Nothing may start, be enabled or take an address.
set -euo pipefail
package=$(readlink -f "$1")
suite=${SUITE:-$(. /etc/os-release; echo "$VERSION_CODENAME")}
root=$(mktemp -d); chmod 755 "$root" # man-db reads its own libraries as another user
trap 'umount -q "$root/proc" || true; rm -rf --one-file-system "$root"' EXIT
say() { printf '%s\n' "--- $*"; }

say "a clean root of $suite"
if [ -n "${BASE:-}" ]; then # one that debootstrap has made before
  cp -a "$BASE/." "$root/"
else
  mirror=${MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' "Codename: $suite" "Origin: Debian" | head -1)}
  debootstrap --variant=minbase --include=libssl3,man-db "$suite" "$root" ${mirror:+"$mirror"} >/dev/null
fi
mount -t proc proc "$root/proc"
inside() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }
before=$(inside dpkg-query -W | sort)
addresses=$(ip -o address | sort)

say install
cp "$package" "$root/package.deb"
inside dpkg -i /package.deb
inside pgbaton --version

say "nothing runs, nothing is enabled, no address was taken"
test -z "$(find "$root/etc/systemd" -name '*pgbaton*' -print -quit 2>/dev/null)"
test ! -e "$root/etc/pgbaton/pgbaton.toml"
test "$addresses" = "$(ip -o address | sort)"
for exe in /proc/[0-9]*/exe; do
  case $(readlink "$exe" || true) in "$root"/usr/bin/pgbaton) echo "it runs: $exe" >&2; exit 1 ;; esac
done

say use
inside sh -ec '
  mkdir -p /etc/pgbaton
  cp /usr/share/doc/pgbaton/examples/pgbaton.toml /etc/pgbaton/
  pgbaton vrrp check-config
  pgbaton generate keepalived --help >/dev/null
  pgbaton vip status --json || test $? = 78
  man -w pgbaton pgbaton.toml pgbaton-guide pgbaton-runbook >/dev/null
  test -s /usr/share/bash-completion/completions/pgbaton
  test -s /lib/systemd/system/pgbaton.service
'

say "remove and purge"
rm "$root/etc/pgbaton/pgbaton.toml"; rmdir "$root/etc/pgbaton"
inside dpkg --purge pgbaton
test "$before" = "$(inside dpkg-query -W | sort)"
left=$(find "$root" -xdev -path "$root/proc" -prune -o -name '*pgbaton*' -print)
test -z "$left" || { echo "left behind: $left" >&2; exit 1; }
say "done: installed, used and removed"
