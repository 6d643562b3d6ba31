#!/bin/sh
# SPDX-License-Identifier: MIT
#
# run.sh [PACKAGE...]: boots Debian kernels under QEMU, has pulltap count there, and prints one line
# for each, "ok" or "FAIL", with the figures. Packages are linux-image ones, or meta packages that
# depend on one; the default is every flavour that APT offers here. Nothing is installed and no
# machine but the emulated one is touched; what a guest said is kept in build/kernels/NAME.
set -eu

DEFAULT='linux-image-amd64 linux-image-cloud-amd64 linux-image-rt-amd64 linux-image-6.12-amd64
	linux-image-6.12-rt-amd64'
SECONDS_EACH=${SECONDS_EACH:-600}
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${BUILD:-$here/../../build}" && pwd)
cache=$build/cache/kernels
root=$build/kernels/root

need() {
	command -v "$1" >/dev/null && return
	echo "kernels: $1 is missing: apt-get install qemu-system-x86 busybox-static cpio curl" \
		"docker-registry openssl" >&2
	exit 1
}

# The package that a meta package stands for, or the name itself.
resolve() {
	apt-cache depends "$1" 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' |
		head -n 1 | grep . || echo "$1"
}

# fetch PACKAGE: its kernel in $cache/PACKAGE/boot
fetch() {
	[ ! -e "$cache/$1/done" ] || return 0
	rm -rf "${cache:?}/$1"
	mkdir -p "$cache/$1"
	(cd "$cache/$1" && apt-get -q download "$1" >download.log 2>&1) || return 1
	(cd "$cache/$1" && dpkg-deb --fsys-tarfile ./*.deb | tar -x ./boot && rm ./*.deb) || return 1
	touch "$cache/$1/done"
}

# copy PROGRAM NAME: a dynamic program and the libraries that it names
copy() {
	cp "$1" "$root/usr/bin/$2"
	ldd "$1" 2>/dev/null | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p; s/^[[:space:]]*\(\/[^ ]*\).*/\1/p' |
		while read -r library; do
			[ -e "$root$library" ] || (cd "$root" && cp -L --parents "$library" .)
		done
}

registry_settings() {
	cat <<-END
		version: 0.1
		log: {level: warn, accesslog: {disabled: false}}
		storage:
		  filesystem: {rootdirectory: /tmp/registry}
		  delete: {enabled: true}
		  maintenance: {uploadpurging: {enabled: false}}
		http:
		  addr: 127.0.0.1:$1
		  secret: tests
	END
}

make_initramfs() {
	rm -rf "${root:?}"
	mkdir -p "$root/bin" "$root/usr/bin" "$root/etc"
	cp "$(command -v busybox)" "$root/bin/busybox"
	cp "$here/guest.sh" "$root/init"
	chmod 755 "$root/init"
	echo 'root:x:0:0:root:/tmp:/bin/sh' >"$root/etc/passwd"
	copy "$build/pulltap" pulltap
	copy "$build/kernels/verify" verify
	copy "$build/kernels/send" send
	copy "$build/tools/load" load
	copy "$build/tools/spool_dump" spool_dump
	copy "$(command -v docker-registry)" docker-registry
	copy "$(command -v curl)" curl
	cp "$build/pulltap.bpf.o" "$root/"
	registry_settings 5000 >"$root/plain.yml"
	registry_settings 5443 >"$root/tls.yml"
	echo '  tls: {certificate: /tls.crt, key: /tls.key}' >>"$root/tls.yml"
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
		-subj /CN=127.0.0.1 -keyout "$root/tls.key" -out "$root/tls.crt" 2>/dev/null
	(cd "$root" && find . | cpio -o -H newc --quiet) >"$build/kernels/initramfs"
	rm -rf "${root:?}"
}

# boot PACKAGE: runs the guest, leaves what it sent in build/kernels/PACKAGE
boot() {
	folder=$build/kernels/$1
	rm -rf "${folder:?}"
	mkdir -p "$folder"
	# two CPUs of four that may come: per-CPU values are as many as the possible ones
	timeout "$SECONDS_EACH" qemu-system-x86_64 -accel tcg -cpu max -smp 2,maxcpus=4 -m 2048 \
		-nodefaults -no-reboot -display none -monitor none -serial stdio \
		-chardev "file,id=sent,path=$folder/sent" -device isa-debugcon,chardev=sent \
		-kernel "$cache/$1"/boot/vmlinuz-* \
		-initrd "$build/kernels/initramfs" \
		-append 'console=ttyS0 panic=-1 quiet' </dev/null >"$folder/console" 2>&1 || true
	tar -xz -C "$folder" --strip-components=1 -f "$folder/sent" 2>/dev/null || true
	rm -f "$folder/sent"
}

for program in qemu-system-x86_64 busybox cpio curl docker-registry openssl apt-get; do
	need "$program"
done
mkdir -p "$cache" "$build/kernels"
make_initramfs
failed=0 tried=
[ $# -gt 0 ] || set -- $DEFAULT
for asked; do
	package=$(resolve "$asked")
	case " $tried " in *" $package "*) continue ;; esac
	tried="$tried $package"
	if ! fetch "$package"; then
		echo "skip  $asked: APT has no such package here"
		continue
	fi
	start=$(date +%s)
	boot "$package"
	if [ -s "$build/kernels/$package/end" ]; then
		/usr/bin/python3 "$here/check.py" "$build/kernels/$package" || failed=1
	else
		echo "FAIL  $package: no result after $(($(date +%s) - start)) s:" \
			"$(tail -n 3 "$build/kernels/$package/console" | tr -d '\r' | tr '\n' ' ')"
		failed=1
	fi
done
exit $failed
