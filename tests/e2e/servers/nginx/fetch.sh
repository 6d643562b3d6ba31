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
mkdir -p "$dir" || exit 1
dir=$(cd "$dir" && pwd)
work=$(mktemp -d "$dir/work.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
status=0

fail() {
	echo "fetch.sh: $*" >&2
	status=1
}

# An apt of its own: the machine's lists and sources stay as they are.
mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial" "$work/empty"
mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' |
	awk '$2 ~ /^(bookworm|trixie)$/ { print $1; exit }')
for suite in bullseye trixie sid; do
	echo "deb $mirror $suite main"
done >"$work/sources.list"
codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
echo "deb-src $mirror $codename main" >>"$work/sources.list"
own_apt() {
	apt-get -q -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts="$work/empty" \
		-o Dir::State::Lists="$work/apt/lists" -o Dir::Cache="$work/apt/cache" \
		-o APT::Sandbox::User=root "$@" >>"$work/log" 2>&1 </dev/null
}
updated=
update() {
	[ -z "$updated" ] || return 0
	updated=yes
	[ -n "$mirror" ] && own_apt update
}

# suite, then its packages
suite() {
	name=$1
	to=$dir/$name
	shift
	[ ! -x "$to/usr/sbin/nginx" ] || return 0
	update
	mkdir -p "$work/$name/debs" "$work/$name/root/etc" "$work/$name/root/work"
	for package in "$@"; do
		(cd "$work/$name/debs" && own_apt download "$package/$name") ||
			{ fail "$package of $name could not be fetched"; return; }
	done
	for deb in "$work/$name"/debs/*.deb; do
		dpkg-deb -x "$deb" "$work/$name/root" || { fail "$deb can't be unpacked"; return; }
	done
	for folder in lib lib64; do
		[ -e "$work/$name/root/$folder" ] || ln -s "usr/$folder" "$work/$name/root/$folder"
	done
	rm -rf "$work/$name/root/usr/share" "$work/$name/root"/usr/lib/*/gconv
	echo root:x:0:0:root:/:/bin/false >"$work/$name/root/etc/passwd"
	echo root:x:0: >"$work/$name/root/etc/group"
	if chroot "$work/$name/root" /usr/sbin/nginx -v 2>"$work/version"; then
		rm -rf "$to" && mv "$work/$name/root" "$to"
		echo "fetched $name: $(cat "$work/version")"
	else
		fail "nginx of $name does not run: $(tail -n 1 "$work/version")"
	fi
}

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

suite bullseye nginx-light libc6 libcrypt1 libpcre3 libssl1.1 zlib1g
suite trixie nginx libc6 libcrypt1 libpcre2-8-0 libssl3t64 libzstd1 zlib1g
suite sid nginx libc6 libcrypt1 libpcre2-8-0 libssl3t64 libzstd1 zlib1g
curl_http3
plain
exit $status
