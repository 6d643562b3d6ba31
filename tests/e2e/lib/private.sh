#!/bin/sh
# SPDX-License-Identifier: MIT
#
# private.sh FOLDER PROGRAM ARGUMENT...: runs a program that likes to write to the machine's own
# folders (container engines keep locks, caches and keys there whatever they are told) so that the
# writes go to memory and end with it. Started in a mount namespace of its own.
set -eu
folder=$1
shift
mkdir -p "$folder"
mount -t tmpfs tmpfs "$folder"
for place in etc opt run var; do
	[ -d "/$place" ] || continue
	mkdir "$folder/$place" "$folder/$place.work"
	mount -t overlay overlay \
		-o "lowerdir=/$place,upperdir=$folder/$place,workdir=$folder/$place.work" "/$place"
done
exec "$@"
