#!/bin/sh
# SPDX-License-Identifier: MIT
# Brings the servers that the kernel tests watch into DIR (build/cache): one npm package per Go
# version, and our own server in every build mode. Does only what is missing. Says what it could
# not get and then ends with 1. usage: fetch.sh [DIR]
set -u
here=$(cd "$(dirname "$0")" && pwd) || exit 1
dir=${1:-build/cache}
mkdir -p "$dir" || exit 1
dir=$(cd "$dir" && pwd)
status=0

# package@version, and where it lands: esbuild/VERSION/package/bin/esbuild
fetch() {
	version=${1##*@}
	to=$dir/esbuild/$version
	[ ! -x "$to/package/bin/esbuild" ] || return 0
	work=$(mktemp -d "$dir/fetch.XXXXXX") || return 1
	if (cd "$work" && npm pack --silent "$1" >/dev/null && tar -xzf ./*.tgz && rm ./*.tgz) &&
		mkdir -p "$to" && rm -rf "$to/package" && mv "$work/package" "$to/package"; then
		echo "fetched $1"
	else
		echo "fetch.sh: $1 could not be fetched" >&2
		status=1
	fi
	rm -rf "$work"
}

# name, environment, flags
build() {
	to=$dir/goserver/$1
	[ ! -x "$to" ] || [ -n "$(find "$here/goserver" -name main.go -newer "$to")" ] || return 0
	mkdir -p "$dir/goserver"
	# shellcheck disable=SC2086 # flags are words
	if (cd "$here/goserver" && env GOFLAGS=-mod=mod GOTOOLCHAIN=local $2 \
		go build -trimpath $3 -o "$to.new" . && mv "$to.new" "$to"); then
		echo "built goserver/$1"
	else
		echo "fetch.sh: goserver/$1 could not be built" >&2
		status=1
	fi
}

if command -v npm >/dev/null; then
	for version in 0.9.0 0.12.29 0.14.30 0.15.15; do
		fetch "esbuild-linux-64@$version"
	done
	for version in 0.17.10 0.19.12 0.23.1 0.25.0 0.27.2 0.28.2; do
		fetch "@esbuild/linux-x64@$version"
	done
else
	echo "fetch.sh: npm is not installed" >&2
	status=1
fi

if command -v go >/dev/null; then
	build plain CGO_ENABLED=0 ""
	build stripped CGO_ENABLED=0 "-ldflags=-s"
	build pie CGO_ENABLED=0 "-buildmode=pie -ldflags=-s"
	build v3 "CGO_ENABLED=0 GOAMD64=v3" "-ldflags=-s"
	if command -v gcc >/dev/null; then
		build race CGO_ENABLED=1 -race
		build cgo-pie CGO_ENABLED=1 "-buildmode=pie -ldflags=-linkmode=external"
	fi
else
	echo "fetch.sh: go is not installed" >&2
	status=1
fi

if [ ! -s "$dir/cert.pem" ] || [ ! -s "$dir/key.pem" ]; then
	if ! openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=localhost \
		-addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
		-keyout "$dir/key.pem" -out "$dir/cert.pem" 2>/dev/null; then
		echo "fetch.sh: no certificate could be made" >&2
		status=1
	fi
fi
exit $status
