#!/bin/sh
# SPDX-License-Identifier: MIT
#
# deploy/deps.sh build|test|demo ...: installs the Debian packages that are missing for the named
# purposes. Says nothing when there is nothing to do. Runs as root or through sudo. A client that
# can't be installed on this machine is named and left out, it never fails the script.
#
# Installing is all it does: no PostgreSQL cluster is made, and daemons that come along (docker,
# containerd, docker-registry) are neither started now nor at the next boot.
set -eu

BUILD='gcc make pkg-config clang llvm libbpf-dev bpftool libelf-dev zlib1g-dev libzydis-dev
	libzycore-dev libpq-dev libjansson-dev libxxhash-dev libseccomp-dev libcap-ng-dev
	libsystemd-dev libhiredis-dev libcurl4-openssl-dev'
DEMO='postgresql docker-registry curl openssl python3 util-linux procps'
DEMO_OPTIONAL='skopeo podman buildah docker.io containerd runc'
TEST="$DEMO libcmocka-dev libclang-rt-14-dev python3-pytest python3-yaml golang-go apache2-utils
	apache2 caddy git iproute2 mount redis-server faketime debootstrap strace systemd
	nginx haproxy wrk nghttp2-client libssl-dev"
# The Go servers of many versions are npm packages; an npm that is there is as good as Debian's.
command -v npm >/dev/null || TEST="$TEST npm"
command -v kubectl >/dev/null || TEST="$TEST kubernetes-client"
TEST_OPTIONAL="$DEMO_OPTIONAL"
DAEMONS='docker.service docker.socket containerd.service docker-registry.service nginx.service caddy.service
	apache2.service haproxy.service postgresql.service podman.service podman.socket
	podman-auto-update.timer podman-restart.service redis-server.service'

usage() {
	echo "usage: $0 build|test|demo ..." >&2
	exit 2
}

installed() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing() {
	for package in "$@"; do
		installed "$package" || printf '%s ' "$package"
	done
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		echo "deps: root or sudo is needed to install: $wanted$optional" >&2
		exit 1
	fi
}

# apt-get with its output kept for the case that it fails.
apt() {
	if as_root env DEBIAN_FRONTEND=noninteractive apt-get -q "$@" >"$log" 2>&1 </dev/null; then
		return 0
	fi
	return 1
}

# The lists may be absent (container images) or older than the mirror: update once, then try again.
updated=
install() {
	if apt install -y --no-install-recommends "$@"; then
		return 0
	fi
	if [ -z "$updated" ]; then
		updated=yes
		apt update && apt install -y --no-install-recommends "$@" && return 0
	fi
	return 1
}

# A masked unit isn't started by a package's own scripts; the mask lives in /run only.
masked=
hold_daemons() {
	[ -d /run/systemd/system ] || return 0
	for unit in $DAEMONS; do
		systemctl cat "$unit" >/dev/null 2>&1 && continue
		as_root systemctl mask --runtime --quiet "$unit" 2>/dev/null && masked="$masked $unit"
	done
}

release_daemons() {
	for unit in $masked; do
		as_root systemctl unmask --runtime --quiet "$unit" 2>/dev/null || true
		if systemctl is-enabled --quiet "$unit" 2>/dev/null; then
			as_root systemctl disable --quiet "$unit" 2>/dev/null || true
			echo "deps: $unit is installed, not started; systemctl enable --now $unit starts it"
		fi
	done
	masked=
}

# Debian makes and starts a cluster "main" when a server is installed; this keeps it from doing so.
CLUSTER_CONF=/etc/postgresql-common/createcluster.d/pulltap.conf
cluster_held=
hold_cluster() {
	[ ! -d /etc/postgresql ] || [ -z "$(ls /etc/postgresql)" ] || return 0
	as_root mkdir -p "${CLUSTER_CONF%/*}"
	echo 'create_main_cluster = false' | as_root tee "$CLUSTER_CONF" >/dev/null
	cluster_held=yes
}

cleanup() {
	release_daemons
	[ -z "$cluster_held" ] || as_root rm -f "$CLUSTER_CONF"
	rm -f "$log"
}

[ $# -gt 0 ] || usage
wanted=''
optional=''
for purpose in "$@"; do
	case "$purpose" in
	build) wanted="$wanted $BUILD" ;;
	demo) wanted="$wanted $BUILD $DEMO" optional="$optional $DEMO_OPTIONAL" ;;
	test) wanted="$wanted $BUILD $TEST" optional="$optional $TEST_OPTIONAL" ;;
	*) usage ;;
	esac
done
# shellcheck disable=SC2086 # lists of words
wanted=$(missing $wanted | tr ' ' '\n' | sort -u | tr '\n' ' ')
# shellcheck disable=SC2086
optional=$(missing $optional | tr ' ' '\n' | sort -u | tr '\n' ' ')
[ -n "$wanted$optional" ] || exit 0

command -v apt-get >/dev/null || {
	echo "deps: no apt-get here; install by hand: $wanted$optional" >&2
	exit 1
}
log=$(mktemp)
trap cleanup EXIT
trap 'exit 130' INT TERM
hold_daemons
case " $wanted" in *' postgresql '*) hold_cluster ;; esac

if [ -n "$wanted" ]; then
	echo "deps: installing $wanted"
	# shellcheck disable=SC2086
	install $wanted || {
		tail -n 20 "$log" >&2
		echo "deps: apt-get could not install: $wanted" >&2
		exit 1
	}
fi
for package in $optional; do
	echo "deps: installing $package"
	install "$package" || echo "deps: $package can't be installed here, going on without it" >&2
done
