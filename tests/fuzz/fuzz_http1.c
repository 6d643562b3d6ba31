/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as one direction of a connection: cut into calls and pieces in any way, bpf/http1.h
 * says the same of them, and touches no byte that is not its own. The first bytes say which
 * direction and which cuts.
 */
#include <stdint.h>
#include <stdlib.h>

#include "tests/unit/bpf/http1_run.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t next(uint32_t *state)
{
	*state = *state * 1664525 + 1013904223;
	return *state >> 16;
}

static struct http1_run *run_cut(const char *bytes, size_t size, bool is_reply, uint32_t seed,
				 size_t longest)
{
	struct http1_run *run = http1_run_new(is_reply, seed & 1 ? "GHGHH" : "");
	size_t at = 0;

	while (at < size) {
		size_t n = http1_run_min(size - at, 1 + next(&seed) % longest);

		http1_run_feed(run, bytes + at, n, 1 + next(&seed) % HTTP1_PIECE);
		at += n;
	}
	return run;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const size_t longest[] = {1, 2, 9, 100, 2000};
	struct http1_run *whole;
	const char *bytes;
	uint32_t seed;
	bool is_reply;

	if (size < 2)
		return 0;
	is_reply = data[0] & 1;
	seed = (uint32_t)(data[0] >> 1 | data[1] << 7);
	bytes = (const char *)data + 2;
	size -= 2;
	whole = http1_run_new(is_reply, seed & 1 ? "GHGHH" : "");
	http1_run_feed(whole, bytes, size, HTTP1_PIECE);
	for (unsigned int i = 0; i < sizeof(longest) / sizeof(*longest); i++) {
		struct http1_run *cut = run_cut(bytes, size, is_reply, seed, longest[i]);

		if (!http1_run_same(whole, cut)) {
			fprintf(stderr, "whole:\n%scut:\n%s", whole->words, cut->words);
			abort();
		}
		http1_run_free(cut);
	}
	http1_run_free(whole);
	return 0;
}
