#!/bin/sh
# SPDX-License-Identifier: MIT
#
# libraries.sh PROGRAM: the Debian packages that hold the shared libraries a program is linked with,
# one a line. What those need in turn is apt's to find.
set -eu

needed=$(objdump -p "$1" | awk '$1 == "NEEDED" { print $2 }')
found=$(ldd "$1")
for name in $needed; do
	path=$(printf '%s\n' "$found" | awk -v name="$name" '$1 == name { print $3 }')
	# /lib is a link to /usr/lib, and a package may have named its files by either
	owner=$(dpkg -S "/usr$path" 2>/dev/null || dpkg -S "$path")
	echo "${owner%%:*}"
done >"$1.packages"
sort -u "$1.packages"
rm "$1.packages"
