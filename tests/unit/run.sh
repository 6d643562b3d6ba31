#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs each unit test program, prints those that fail in full and every skip's reason ("skip: ..."),
# and closes with one line of totals. With CI=true a skip is a failure. usage: run.sh PROGRAM...
set -u
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1}" UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}"
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
total_passed=0 total_skipped=0 failed=

count() { sed -n "s/^\[  *$1 *\] \([0-9][0-9]*\) test(s).*/\1/p" "$log" | tail -n 1; }

for program; do
	name=${program#*/unit/}
	"$program" >"$log" 2>&1
	status=$?
	passed=$(count PASSED) skipped=$(count SKIPPED)
	total_passed=$((total_passed + ${passed:-0}))
	total_skipped=$((total_skipped + ${skipped:-0}))
	if [ $status -ne 0 ] || [ -z "$passed" ]; then
		cat "$log"
		echo "FAILED $name (exit $status)"
		failed="$failed $name"
	else
		echo "ok $name: $passed passed${skipped:+, $skipped skipped}"
		grep '^skip: ' "$log"
	fi
done
echo "test-unit: $# programs, $total_passed passed, $total_skipped skipped${failed:+, FAILED:$failed}"
[ "${CI:-}" != true ] || [ $total_skipped -eq 0 ] || failed="$failed skipped"
[ $# -gt 0 ] && [ -z "$failed" ]
