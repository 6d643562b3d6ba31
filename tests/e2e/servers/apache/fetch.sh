#!/bin/sh
# SPDX-License-Identifier: MIT
# Brings builds of apache that differ from the installed one into DIR: Debian's packages of suites
# (bullseye, trixie, sid) with the libraries they need, to be run by chroot, and the headers of each of
# them and of the installed one's suite, DIR/headers/SUITE. Nothing is installed. Does only what is
# missing. Says what it could not get and then ends with 1. usage: fetch.sh DIR SUITE ...
set -u
dir=$1
shift
suites=$*
. "$(dirname "$0")/../debs.sh"

headers() {
	to=$dir/headers/$1
	[ ! -e "$to/usr/include/apache2/httpd.h" ] || return 0
	rm -rf "${work:?}/$1" "$to"
	unpack "$1" apache2-dev libapr1-dev libaprutil1-dev || return
	mkdir -p "$dir/headers" && mv "$work/$1/root" "$to" && echo "fetched the headers of $1"
}

apache() {
	name=$1
	shift
	suite "$name" /usr/sbin/apache2 apache2-bin libbrotli1 libc6 libcrypt1 libexpat1 libgcc-s1 \
		libnghttp2-14 libuuid1 zlib1g "$@"
}

for suite in $suites; do
	case $suite in
	bullseye) apache bullseye libapr1 libaprutil1 libpcre3 libssl1.1 ;;
	*) apache "$suite" libapr1t64 libaprutil1t64 libpcre2-8-0 libssl3t64 libzstd1 libsystemd0 \
		libcap2 ;;
	esac
done
for suite in $suites "$codename"; do
	headers "$suite"
done
exit $status
