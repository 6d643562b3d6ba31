# SPDX-License-Identifier: MIT
# For the fetch.sh of each server: Debian's packages of other suites, unpacked to be run by chroot;
# nothing is installed. Sourced with dir set to the folder that they go into and suites to their names;
# status becomes 1 when something could not be had.
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
codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
for suite in $(printf '%s\n' $suites "$codename" | sort -u); do
	echo "deb $mirror $suite main"
done >"$work/sources.list"
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

# unpack SUITE PACKAGE...: to $work/SUITE/root
unpack() {
	name=$1
	shift
	update
	mkdir -p "$work/$name/debs" "$work/$name/root/etc" "$work/$name/root/work"
	# all with one call: each reads the lists anew
	(cd "$work/$name/debs" && own_apt download $(printf "%s/$name " "$@")) ||
		{ fail "$* of $name could not be fetched: $(tail -n 1 "$work/log")"; return 1; }
	for deb in "$work/$name"/debs/*.deb; do
		dpkg-deb -x "$deb" "$work/$name/root" || { fail "$deb can't be unpacked"; return 1; }
	done
	rm -rf "$work/$name/root/usr/share" "$work/$name/root"/usr/lib/*/gconv
}

# suite SUITE SERVER PACKAGE...: to $dir/SUITE, if SERVER -v runs there
suite() {
	name=$1
	server=$2
	to=$dir/$name
	shift 2
	[ ! -x "$to$server" ] || return 0
	unpack "$name" "$@" || return
	for folder in lib lib64; do
		[ -e "$work/$name/root/$folder" ] || ln -s "usr/$folder" "$work/$name/root/$folder"
	done
	printf '%s\n' root:x:0:0:root:/:/bin/false www-data:x:33:33::/:/bin/false \
		>"$work/$name/root/etc/passwd"
	printf '%s\n' root:x:0: www-data:x:33: >"$work/$name/root/etc/group"
	if chroot "$work/$name/root" "$server" -v >"$work/version" 2>&1; then
		rm -rf "$to" && mv "$work/$name/root" "$to"
		echo "fetched $name: $(head -n 1 "$work/version")"
	else
		fail "$server of $name does not run: $(tail -n 1 "$work/version")"
	fi
}
