#!/bin/sh
# SPDX-License-Identifier: MIT
# Brings builds of nginx that differ from the installed one into DIR (build/cache/nginx):
#   bullseye, trixie, sid   Debian's packages of those suites with the libraries they need, unpacked
#                           to be run by chroot; nothing is installed
#   curl                    trixie's curl with all it needs, for it speaks HTTP/3
#   plain                   Debian's source of the installed version, configured as upstream does it
#                           but without what moves the structs: no PIE, no gzip, no regex, no compat
# Does only what is missing. Says what it could not get and then ends with 1. usage: fetch.sh [DIR]
set -u
dir=${1:-build/cache/nginx}
suites="bullseye trixie sid"
. "$(dirname "$0")/../debs.sh"

# With the lists of trixie, and nothing taken for installed, apt finds all that it needs.
curl_http3() {
	[ ! -x "$dir/curl/usr/bin/curl" ] || return 0
	update
	: >"$work/status"
	own_apt -o Dir::State::status="$work/status" -o APT::Install-Recommends=false \
		-o APT::Default-Release=trixie -y --download-only install curl ||
		{ fail "curl of trixie could not be fetched"; return; }
	mkdir -p "$work/curl"
	for deb in "$work"/apt/cache/archives/*.deb; do
		dpkg-deb -x "$deb" "$work/curl" || { fail "$deb can't be unpacked"; return; }
	done
	for folder in lib lib64; do
		[ -e "$work/curl/$folder" ] || ln -s "usr/$folder" "$work/curl/$folder"
	done
	rm -rf "$work/curl/usr/share"
	if chroot "$work/curl" /usr/bin/curl --version 2>&1 | grep -q HTTP3; then
		rm -rf "$dir/curl" && mv "$work/curl" "$dir/curl"
		echo "fetched curl: $(chroot "$dir/curl" /usr/bin/curl --version | head -n 1)"
	else
		fail "curl of trixie speaks no HTTP/3 here"
	fi
}

plain() {
	[ ! -x "$dir/plain/nginx" ] || return 0
	update
	(cd "$work" && own_apt source --download-only nginx && tar -xf nginx_*.orig.tar.*) ||
		{ fail "the source of nginx could not be fetched"; return; }
	(cd "$work"/nginx-*/ && ./configure --prefix=/nonexistent --without-http_rewrite_module \
		--without-http_gzip_module --with-http_ssl_module --with-http_v2_module \
		--with-http_auth_request_module --with-cc-opt='-fno-pie -O1' --with-ld-opt=-no-pie \
		>>"$work/log" 2>&1 && make -s -j2 >>"$work/log" 2>&1) ||
		{ fail "nginx could not be built: $(tail -n 3 "$work/log")"; return; }
	mkdir -p "$dir/plain" && mv "$work"/nginx-*/objs/nginx "$dir/plain/nginx" &&
		echo "built plain: $("$dir/plain/nginx" -v 2>&1)"
}

suite bullseye /usr/sbin/nginx nginx-light libc6 libcrypt1 libpcre3 libssl1.1 zlib1g
suite trixie /usr/sbin/nginx nginx libc6 libcrypt1 libpcre2-8-0 libssl3t64 libzstd1 zlib1g
suite sid /usr/sbin/nginx nginx libc6 libcrypt1 libpcre2-8-0 libssl3t64 libzstd1 zlib1g
curl_http3
plain
exit $status
