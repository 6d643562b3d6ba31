#!/bin/sh
# SPDX-License-Identifier: MIT
#
# private.sh FOLDER PROGRAM ARGUMENT...: runs a program that likes to write to the machine's own
# folders (container engines keep locks, caches and keys there whatever they are told) so that the
# writes go to memory and end with it. Started in a mount namespace of its own; where its mounts
# can't be kept private (a chroot whose root is no mount) the program runs as it is.
set -eu
folder=$1
shift
mount --make-rprivate / 2>/dev/null || exec "$@"
mkdir -p "$folder"
mount -t tmpfs tmpfs "$folder"
for place in etc opt run var; do
	[ -d "/$place" ] || continue
	mkdir "$folder/$place" "$folder/$place.work"
	mount -t overlay overlay \
		-o "lowerdir=/$place,upperdir=$folder/$place,workdir=$folder/$place.work" "/$place"
done
exec "$@"
