/* SPDX-License-Identifier: MIT */
/*
 * Drives bpf/http1.h as the kernel side does, over a stream in pieces of any size, and writes down
 * what it says. The unit test and the fuzzer share it.
 */
#ifndef TESTS_UNIT_BPF_HTTP1_RUN_H
#define TESTS_UNIT_BPF_HTTP1_RUN_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/http1.h"

#define HTTP1_RUN_WORDS 16384

struct http1_run {
	struct http1 parser;
	const char *methods; /* of the requests that are answered: 'H' is HEAD; then all are GET */
	bool stopped;
	size_t length;
	char words[HTTP1_RUN_WORDS]; /* a line for each event */
	/* of their exact size, so that a sanitizer sees the byte behind */
	char *piece, *target, *digest;
};

static inline struct http1_run *http1_run_new(bool is_reply, const char *methods)
{
	struct http1_run *run = calloc(1, sizeof(*run));

	run->parser.flags = is_reply ? HTTP1_IS_REPLY : 0;
	run->methods = methods;
	run->piece = malloc(HTTP1_PIECE);
	run->target = calloc(1, PT_PATH_BYTES);
	run->digest = calloc(1, HTTP1_DIGEST_BYTES);
	return run;
}

static inline void http1_run_free(struct http1_run *run)
{
	free(run->piece);
	free(run->target);
	free(run->digest);
	free(run);
}

static inline void http1_run_say(struct http1_run *run, const char *first, const char *text,
				 size_t length)
{
	size_t room = sizeof(run->words) - run->length;
	int n = snprintf(run->words + run->length, room, "%s%.*s\n", first, (int)length, text);

	run->length += (size_t)n < room ? (size_t)n : room - 1;
}

static inline size_t http1_run_min(size_t a, size_t b)
{
	return a < b ? a : b;
}

static inline void http1_run_request(struct http1_run *run)
{
	struct http1 *p = &run->parser;
	char method[HTTP1_METHOD_BYTES + 2] = {};

	memcpy(method, p->word, HTTP1_METHOD_BYTES);
	method[strlen(method)] = ' ';
	http1_run_say(run, method, run->target, http1_run_min(p->length, PT_PATH_BYTES));
}

static inline void http1_run_head(struct http1_run *run)
{
	struct http1 *p = &run->parser;
	bool is_last = p->status >= 200;
	bool none = !is_last || p->status == 204 || p->status == 304;
	char status[16];

	snprintf(status, sizeof(status), "%u ", p->status);
	http1_run_say(run, status, run->digest, p->length);
	if (is_last && *run->methods)
		none |= *run->methods++ == 'H';
	http1_reply_body(p, none);
}

static inline void http1_run_event(struct http1_run *run, int event)
{
	if (event == HTTP1_REQUEST) {
		http1_run_request(run);
	} else if (event == HTTP1_HEAD) {
		http1_run_head(run);
	} else {
		http1_run_say(run, event == HTTP1_H2 ? "h2" : "broken", "", 0);
		run->stopped = true;
	}
}

/* One call of the server's with size bytes, of which most are looked at together. */
static inline void http1_run_feed(struct http1_run *run, const char *bytes, size_t size,
				  size_t most)
{
	struct http1_input in = {.total = size};

	while (!run->stopped) {
		int event = http1_step(&run->parser, &in, run->piece, run->target, run->digest);

		if (event == HTTP1_MORE)
			return;
		if (event == HTTP1_LOAD) {
			in.start = in.at;
			in.loaded = http1_run_min(http1_run_min(size - in.at, most), HTTP1_PIECE);
			memcpy(run->piece, bytes + in.at, in.loaded);
		} else if (event) {
			http1_run_event(run, event);
		}
	}
}

/* Whether two runs over one stream say the same and end in the same state. */
static inline bool http1_run_same(const struct http1_run *a, const struct http1_run *b)
{
	return a->length == b->length && !memcmp(a->words, b->words, a->length) &&
	       a->stopped == b->stopped && !memcmp(&a->parser, &b->parser, sizeof(a->parser));
}

#endif
