#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs each fuzzer for an equal share of the time. A new corpus starts from tests/fuzz/seeds/NAME
# if there is one; what a run finds stays in the build folder. usage: run.sh SECONDS DIR FUZZER...
set -u
seconds=$1 dir=$2
shift 2
failed=
[ $# -gt 0 ] || { echo "test-fuzz: no fuzzers"; exit 1; }
share=$((seconds / $#))
[ $share -gt 0 ] || share=1

for fuzzer; do
	name=$(basename "$fuzzer")
	seeds=tests/fuzz/seeds/$name
	[ -d "$seeds" ] || seeds=
	mkdir -p "$dir/corpus/$name" "$dir/crashes"
	# shellcheck disable=SC2086 # no seeds, no argument
	if "$fuzzer" -max_total_time=$share -rss_limit_mb=1024 -timeout=10 -print_final_stats=1 \
		-artifact_prefix="$dir/crashes/$name-" "$dir/corpus/$name" $seeds \
		>"$dir/$name.log" 2>&1; then
		runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$dir/$name.log")
		echo "ok $name: $runs inputs in $share s"
	else
		tail -n 60 "$dir/$name.log"
		echo "FAILED $name: input kept in $dir/crashes"
		failed="$failed $name"
	fi
done
echo "test-fuzz: $# fuzzers, $share s each${failed:+, FAILED:$failed}"
[ -z "$failed" ]
