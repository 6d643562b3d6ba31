#!/bin/busybox sh
# SPDX-License-Identifier: MIT
# shellcheck shell=dash
# The guest's /init: loads the programs, serves, pulls, counts, and sends everything that happened
# back through the emulator's debug port. Judging it is check.py's business, outside.
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/tmp
/bin/busybox mkdir -p /bin /sbin /usr/bin /usr/sbin /proc /sys /dev /tmp
/bin/busybox --install -s
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
ifconfig lo 127.0.0.1 up
# /sys/fs/bpf is left to pulltap, which mounts it where it is missing

out=/tmp/out
pins=/sys/fs/bpf/pulltap
state=/tmp/state
plain=http://127.0.0.1:5000
tls=https://127.0.0.1:5443
schema=application/vnd.docker.distribution.manifest.v2+json
mkdir -p $out

finish() {
	echo "$1" >$out/end
	cp /tmp/registry-*.log $out/ 2>/dev/null
	uname -rv >$out/uname
	nproc >$out/cpus
	cat /sys/devices/system/cpu/possible >>$out/cpus
	dmesg >$out/dmesg
	[ "$1" = complete ] || tail -n 20 $out/*.log
	echo "guest: $1, sending"
	tar -C /tmp -c out | gzip -1 | send
	poweroff -f
}

# await SECONDS WHAT COMMAND...: until the command succeeds
await() {
	left=$(($1 * 5)) what=$2
	shift 2
	until "$@"; do
		left=$((left - 1))
		[ $left -gt 0 ] || finish "no sign of: $what"
		sleep 0.2
	done
}

said() { grep -q "msg=\"$2\"" "$1"; }
ended() { ! kill -0 "$1" 2>/dev/null; }
answers() { curl -sk -o /dev/null "$1"; }
closed() { ! answers "$1"; }

# ask METHOD URL [OPTION...]: one request; what the client saw is the truth to compare with
ask() {
	method=$1 url=$2
	shift 2
	case $method in
	HEAD) set -- -I "$@" ;;
	*) set -- -X "$method" "$@" ;;
	esac
	curl -sk --path-as-is -o /tmp/body -D /tmp/headers -H "Accept: $schema" "$@" \
		-w "$method\\t$url\\t%{http_code}\\t%{http_version}\\t%header{docker-content-digest}\\n" \
		"$url" >>$out/requests
}

push() {
	ask POST "$1/v2/$2/blobs/uploads/"
	ask PUT "$(sed -n 's/^[Ll]ocation: \(.*\)\r$/\1/p' /tmp/headers)&digest=sha256:$config" \
		-H 'Content-Type: application/octet-stream' -d '{}'
	ask PUT "$1/v2/$2/manifests/$3" -H "Content-Type: $schema" --data-binary @/tmp/manifest
}

# start_agent NAME OPTION... The program that makes the load passes for a front end.
start_agent() {
	name=$1
	shift
	pulltap run --database 'host=/nonexistent' --state-dir $state --bpffs $pins --max-keys 1024 \
		--count-at=both --log-level debug "$@" >$out/$name.log 2>&1 &
	agent=$!
	await 60 "$name is ready" said $out/$name.log ready
}

# everything that a registry is asked, over $1
traffic() {
	ask GET "$1/v2/"
	push "$1" app v1
	push "$1" team/app v2
	push "$1" "$long" "$long_tag"
	for _ in 1 2 3; do ask GET "$1/v2/app/manifests/v1"; done
	ask GET "$1/v2/$long/manifests/$long_tag"
	ask GET "$1/v2/app/manifests/sha256:$digest"
	ask GET "$1/v2/app/manifests/sha256%3A$digest"
	ask HEAD "$1/v2/team/app/manifests/v2"
	ask GET "$1/v2/team/app/manifests/sha256:$digest"	# joined with the HEAD
	ask GET "$1/v2/team/app/manifests/sha256:$digest"	# not any more
	ask HEAD "$1/v2/app/manifests/v1"
	ask HEAD "$1/v2/app/manifests/sha256:$digest"
	ask GET "$1/v2/app/manifests/sha256:$digest" -H "If-None-Match: \"sha256:$digest\""
	ask GET "$1/v2/app/blobs/sha256:$config"
	ask GET "$1/v2/app/tags/list"
	ask GET "$1/v2/app/manifests/none"
	ask HEAD "$1/v2/none/app/manifests/v1"
	ask GET "$1/mirror/v2/app/manifests/v1"
	ask GET "$1/mirror/app/manifests/v1"
	ask PUT "$1/v2/app/manifests/bad" -H "Content-Type: $schema" -d '{'
	ask DELETE "$1/v2/team/app/manifests/sha256:$digest"
}

config=$(printf '{}' | sha256sum | cut -d' ' -f1)
cat >/tmp/manifest <<END
{"schemaVersion":2,"mediaType":"$schema","config":{"mediaType":"application/vnd.docker.container.image.v1+json","size":2,"digest":"sha256:$config"},"layers":[]}
END
digest=$(sha256sum /tmp/manifest | cut -d' ' -f1)
long=a/very/long/name/that/fits/into/no/short/key/because/it/goes/on/and/on/app
long_tag=v1.0.0-and-a-long-story-about-how-it-was-built

echo "guest: loading"
pulltap doctor --database 'host=/nonexistent' --output json >$out/doctor.json || true
verify /pulltap.bpf.o >$out/verify.json 2>$out/verify.log || finish "the programs do not load"

echo "guest: first agent"
start_agent first --window 3600
docker-registry serve /plain.yml >/tmp/registry-plain.log 2>&1 &
await 20 "the start of a registry being noticed" said $out/first.log "target attached"
await 60 "registry" answers $plain
docker-registry serve /tls.yml >/tmp/registry-tls.log 2>&1 &
await 60 "registry with TLS" answers $tls
sleep 1
# what came before is not in the books of the requests: the ledger's state is
pulltap status --output json --state-dir $state >$out/before.json
traffic $plain
traffic $tls
echo "guest: load"
load $pins load 2 20000 500 >$out/load.first || finish "load failed"
sleep 1
pulltap top --output json >$out/top.json || finish "top failed"
pulltap status --output json --state-dir $state >$out/status.json
kill -TERM $agent
await 60 "the first agent's end" ended $agent

echo "guest: no agent"
for _ in 1 2; do ask GET $plain/v2/app/manifests/v1; done

echo "guest: second agent"
start_agent second --window 1
ask GET $tls/v2/app/manifests/v1
load $pins load 2 20000 3000 4000 >$out/load.second || finish "load failed"
load $pins load 2 20000 4000 >$out/load.third || finish "load failed" # more keys than have room
ask GET $plain/v2/app/manifests/v1
sleep 1
kill -INT $agent
await 60 "the second agent's end" ended $agent
find $pins -type f >$out/pins 2>/dev/null
ask GET $plain/v2/app/manifests/v1 # counted by nobody
sed -i '$d' $out/requests
spool_dump $state/spool/*.win >$out/spool.jsonl || finish "a spool file can't be read"
finish complete
