#!/bin/sh
# SPDX-License-Identifier: MIT
#
# base.sh FILE: makes FILE, the tar archive of a small Debian 12, where no image registry can be
# reached to fetch debian:12-slim from (`buildah from`, `podman import` take it). The packages come
# from this machine's own apt sources. Needs root and debootstrap. An existing FILE is left as it is.
set -eu

file=$1
[ ! -e "$file" ] || exit 0
release=bookworm
# shellcheck disable=SC2016 # apt's own variable
mirror=$(apt-get indextargets --format '$(REPO_URI)' \
	'Created-By: Packages' "Codename: $release" 'Component: main' | head -n 1)
[ -n "$mirror" ] || {
	echo "base: no apt source of this machine has Debian $release" >&2
	exit 1
}
eval "$(apt-config shell http_proxy Acquire::http::Proxy https_proxy Acquire::https::Proxy)"
[ -z "${http_proxy:-}" ] || export http_proxy
[ -z "${https_proxy:-}" ] || export https_proxy

mkdir -p "$(dirname "$file")"
work=$(mktemp -d "$file.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
debootstrap --variant=minbase "$release" "$work/root" "$mirror" >"$work/log" 2>&1 || {
	tail -n 20 "$work/log" "$work/root/debootstrap/debootstrap.log" >&2 || true
	echo "base: debootstrap failed" >&2
	exit 1
}
# As the published image has it: no documentation, no package lists, no sources of this machine;
# and a package manager that does not wait for the disk after each file.
cd "$work/root"
rm -rf var/lib/apt/lists/* var/cache/apt/*.bin var/cache/apt/archives/*.deb var/log/* \
	usr/share/doc usr/share/man usr/share/locale usr/share/info etc/resolv.conf etc/hostname \
	etc/apt/sources.list etc/apt/sources.list.d
mkdir -p usr/share/doc usr/share/man/man1 var/log/apt etc/apt/sources.list.d
echo force-unsafe-io >etc/dpkg/dpkg.cfg.d/unsafe-io
printf 'path-exclude /usr/share/%s/*\n' doc man locale info >etc/dpkg/dpkg.cfg.d/slim
tar --numeric-owner --one-file-system -cf "$work/base.tar" .
mv "$work/base.tar" "$file"
