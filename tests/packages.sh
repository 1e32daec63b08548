#!/usr/bin/env bash
# Installs, uses, upgrades and removes a package, a .deb or an .rpm, in a clean root of its own namespaces:
#   packages.sh PACKAGE NEXT      NEXT is a later revision of the same
# Nothing may start, be enabled or take an address, and of the package nothing may be left behind.
#
# The clean root is the folder BASE; what is written goes to a layer above it, so what an installation left is what that
# layer holds. BASE=/ is a root too, not a clean one, but one that is there.
# An .rpm meets a real rpm with a database of its own. The distribution there is one package, which provides by name what
# the libraries of the root do: rpm itself resolves what ours requires.
set -euo pipefail
if [ -z "${APART:-}" ]; then
  export APART=1
  exec unshare --mount --net --pid --fork --kill-child --propagation private "$0" "$@"
fi
package=$(readlink -f "$1") next=$(readlink -f "$2") kind=${1##*.} BASE=$(readlink -f "${BASE:?the folder of a root}")
say() { printf '%s\n' "--- $kind: $*"; }
want() { [ "$2" = "$3" ] || { printf '%s\n' "$1:" "$3" "not:" "$2" >&2; exit 1; }; }

place=$(mktemp -d); chmod 755 "$place" # man-db reads its own libraries as another user
trap 'umount -l "$place/layer" || true; rm -rf --one-file-system "$place"' EXIT
mkdir "$place/layer"; mount -t tmpfs -o mode=755 tmpfs "$place/layer"
root=$place/layer/root written=$place/layer/written
mkdir "$root" "$written" "$place/layer/work"
mount -t overlay -o "lowerdir=$BASE,upperdir=$written,workdir=$place/layer/work" overlay "$root"
mount -t proc proc "$root/proc"; mount --rbind /dev "$root/dev"; mount -t tmpfs tmpfs "$root/run"
inside() { chroot "$root" /usr/bin/env -i HOME=/tmp PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }
# Systemd, as far as an installation asks for it: what it is asked is what is written down.
mkdir -p "$root/run/systemd/system"
for program in systemctl systemd-tmpfiles; do
  rm -f "$root/usr/bin/$program" "$root/bin/$program"
  printf '#!/bin/sh\necho "${0##*/} $*" >> /run/asked\n' > "$root/usr/bin/$program"; chmod 755 "$root/usr/bin/$program"
done
asked() { cat "$root/run/asked" 2>/dev/null || true; rm -f "$root/run/asked"; }

case $kind in
deb)
  install() { inside dpkg -i "$1"; }
  remove() { inside dpkg --purge pgbaton; }
  contents() { inside dpkg -L pgbaton | while read -r path; do [ -d "$root$path" ] || echo "$path"; done; }
  version() { inside dpkg-query -W -f '${Version}' pgbaton; }
  verify() { inside dpkg -V pgbaton; }
  zsh=/usr/share/zsh/vendor-completions unit=/lib/systemd/system
  ;;
rpm)
  # Debian's rpm wants to be told that this is meant.
  rpm() { inside rpm --force-debian --dbpath /var/lib/rpm.test "$@"; }
  install() { if rpm -q pgbaton >/dev/null; then rpm -U "$1"; else rpm -i "$1"; fi; }
  remove() { rpm -e pgbaton; }
  contents() { rpm -ql pgbaton; }
  version() { rpm -q --qf '%{VERSION}-%{RELEASE}' pgbaton; }
  verify() { rpm -V pgbaton; }
  zsh=/usr/share/zsh/site-functions unit=/usr/lib/systemd/system
  say "a distribution that provides what this root has"
  inside sh -ec '
    mkdir -p /tmp/distribution; cd /tmp/distribution
    libraries=$(ldconfig -p | sed -n "s/^\t\(ld-linux\|libc\.\|libm\.\|libgcc_s\.\|libz\.\|libssl\.\|libcrypto\.\).*x86-64.* => //p" | xargs readlink -f)
    folders="/usr/share/zsh/site-functions /usr/share/fish/vendor_completions.d /usr/share/polkit-1/rules.d
      /usr/share/bash-completion/completions /usr/lib/systemd/system /usr/lib/tmpfiles.d /usr/share/licenses /usr/share/doc
      /usr/share/man/man5 /usr/share/man/man7 /usr/share/man/man8"
    { printf "%s\n" "Name: distribution" "Version: 1" "Release: 1" "Summary: what this root has" "License: none" \
        "BuildArch: noarch" "AutoReqProv: no" "Provides: /bin/sh" "Provides: rtld(GNU_HASH)"
      printf "%s\n" $libraries | /usr/lib/rpm/find-provides | sed "s/^/Provides: /"
      printf "%s\n" "%description" "%install"
      printf "mkdir -p %%{buildroot}%s\n" $folders
      echo "%files"; printf "%%dir %s\n" $folders; } > distribution.spec
    rpmbuild --quiet --dbpath /var/lib/rpm.test --define "_topdir /tmp/distribution" --define "__os_install_post %{nil}" -bb distribution.spec
    rpm --force-debian --dbpath /var/lib/rpm.test -i RPMS/noarch/distribution-1-1.noarch.rpm'
  ;;
*) echo "neither a .deb nor an .rpm: $package" >&2; exit 2 ;;
esac

# Every path that isn't as the root below has it, but for the package managers' own books.
changed() {
  cd "$written"
  find . -mindepth 1 \( -path ./var/lib/dpkg -o -path ./var/lib/rpm.test -o -path ./var/cache -o -path ./var/log -o -path ./tmp \) -prune \
    -o -printf '%P\t%y\n' | while IFS=$'\t' read -r path type; do
      [ "$type" = d ] && [ -d "$BASE/$path" ] || echo "/$path"
    done | sort
}
cp "$package" "$root/tmp/package.$kind"; cp "$next" "$root/tmp/next.$kind"
before=$(changed)

say install
install "/tmp/package.$kind"
first=$(version)
want "what systemd was asked" "systemd-tmpfiles --create pgbaton.conf
systemctl daemon-reload" "$(asked)"

say "every file of it is there, whole, root's, and nobody else may write it"
want "changed files" "" "$(verify)"
files=$(contents)
for path in $files; do
  case $path in */bin/*) mode=755 ;; *) mode=644 ;; esac
  # polkit's rules are read by a user of its own; the folder may be closed, the file is not.
  want "$path" "root:root $mode" "$(inside stat -Lc '%U:%G %a' "$path")"
done
for path in /usr/bin/pgbaton "$unit/pgbaton.service" /usr/lib/tmpfiles.d/pgbaton.conf /usr/share/polkit-1/rules.d/pgbaton.rules \
  /usr/share/doc/pgbaton/examples/pgbaton.toml /usr/share/fish/vendor_completions.d/pgbaton.fish "$zsh/_pgbaton"; do
  grep -qx "$path" <<<"$files" || { echo "not in the package: $path" >&2; exit 1; }
done

say "nothing runs, nothing is enabled, nothing is configured, no address was taken"
want "links to a unit" "" "$(find "$root/etc/systemd" -name '*pgbaton*' 2>/dev/null || true)"
want "configuration" "" "$(find "$root/etc" -name '*pgbaton*')"
want "addresses" "" "$(ip -o address)"
for exe in /proc/[0-9]*/exe; do
  case $(readlink "$exe" || true) in */bin/pgbaton) echo "it runs: $exe" >&2; exit 1 ;; esac
done

say use
inside sh -ec '
  pgbaton --version | grep -qx "pgbaton [0-9.]*"
  mkdir -p /etc/pgbaton
  { cat /usr/share/doc/pgbaton/examples/pgbaton.toml; echo "# edited"; } > /etc/pgbaton/pgbaton.toml
  chmod 640 /etc/pgbaton/pgbaton.toml
  pgbaton vrrp check-config >/dev/null
  pgbaton demo --help >/dev/null
  pgbaton generate keepalived --help >/dev/null
  pgbaton vip status >/dev/null 2>&1 || test $? = 78
  for page in pgbaton pgbaton.toml pgbaton-guide pgbaton-runbook pgbaton-cluster-status; do
    MANPATH=/usr/share/man man -w "$page" >/dev/null
  done
'
inside bash -ec '. /usr/share/bash-completion/completions/pgbaton; complete -p pgbaton' >/dev/null
grep -q '^switchover' <<<"$(inside fish -c 'complete -C "pgbaton cluster swi"')"
want "completion in zsh" _pgbaton "$(inside zsh -fc "fpath=($zsh \$fpath); autoload -Uz compinit; compinit -u -D; print \$_comps[pgbaton]")"
edited=$(inside sh -c 'stat -c "%a %Y" /etc/pgbaton/pgbaton.toml; cksum /etc/pgbaton/pgbaton.toml')

say "an upgrade: the configuration is as it was, and no daemon is stopped, started or enabled"
asked >/dev/null
install "/tmp/next.$kind"
[ "$(version)" != "$first" ] || { echo "still $first" >&2; exit 1; }
want "changed files" "" "$(verify)"
want "the configuration" "$edited" "$(inside sh -c 'stat -c "%a %Y" /etc/pgbaton/pgbaton.toml; cksum /etc/pgbaton/pgbaton.toml')"
want "beside it" pgbaton.toml "$(ls "$root/etc/pgbaton")"
want "what systemd was asked" "systemd-tmpfiles --create pgbaton.conf
systemctl daemon-reload" "$(asked)"
inside pgbaton vrrp check-config >/dev/null

say "removed: the daemon first, and nothing is left but the configuration"
mkdir -p "$root/run/pgbaton"
remove
want "what systemd was asked" "systemctl --no-reload disable --now pgbaton.service
systemctl daemon-reload" "$(asked)"
want "in /run" "" "$(find "$root/run" -name '*pgbaton*')"
want "left behind" "/etc/pgbaton
/etc/pgbaton/pgbaton.toml" "$(comm -13 <(echo "$before") <(changed))"
say "done: installed, used, upgraded and removed"
