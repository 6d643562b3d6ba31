#!/bin/sh
# SPDX-License-Identifier: MIT
#
# `make demo`: a real registry, real clients, and what pulltap says about them, on this machine and
# gone afterwards. Installs the Debian packages that are missing, builds, and shows. On a terminal
# it stays until Ctrl-C, so that you can pull something yourself; otherwise it ends by itself.
set -eu
cd "$(dirname "$0")/.."
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || {
		echo "demo: watching a process from the kernel needs root (and there is no sudo)" >&2
		exit 1
	}
	exec sudo "$0" "$@"
fi
deploy/deps.sh demo
echo "demo: building"
log=$(mktemp)
make -j"$(nproc)" all >"$log" 2>&1 || { cat "$log" >&2; rm -f "$log"; exit 1; }
rm -f "$log"
exec /usr/bin/python3 deploy/demo.py "$@"
