#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What pulltap costs on this machine, in about twenty minutes: `make bench`. Needs root.
# Figures go to standard output, and as JSON to build/bench.json.
set -eu
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || { echo "bench: attaching probes needs root" >&2; exit 1; }
deploy/deps.sh build test
make -s -j"$(nproc)" all tools
/usr/bin/python3 tests/bench/hit.py
/usr/bin/python3 tests/bench/nginx.py
/usr/bin/python3 tests/bench/tls.py 5 2
/usr/bin/python3 tests/bench/frontends.py
exec /usr/bin/python3 tests/bench/bench.py "$@"
