/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The digest that a reply names: where its text comes from is each way in's own, what passes for
 * one and what is noted in the books is decided here.
 */
#ifndef PULLTAP_DIGEST_H
#define PULLTAP_DIGEST_H

#include "hit.h"

enum digest_result { DIGEST_FOUND, DIGEST_ABSENT, DIGEST_UNREAD, DIGEST_MALFORMED };

/* Is this Docker-Content-Digest, in whatever case the registry wrote it? 21 bytes, then zeroes. */
static __always_inline bool is_digest_name(const __u64 text[3])
{
	const __u64 lower = 0x2020202020202020ull;

	return (text[0] | lower) == 0x632d72656b636f64ull /* "docker-c" */ &&
	       (text[1] | lower) == 0x642d746e65746e6full /* "ontent-d" */ &&
	       (text[2] | (lower >> 24)) == 0x7473656769ull; /* "igest" */
}

static __always_inline void clear_digest(struct scratch *s)
{
	s->digest_length = 0;
	__builtin_memset(s->digest, 0, sizeof(s->digest));
}

/* The canary of rule 7: an algorithm's name, a colon, and no more is believed here. */
static __always_inline int take_digest(struct scratch *s, __u64 length)
{
	if (length < 40 || s->digest[6] != ':') {
		clear_digest(s);
		return DIGEST_MALFORMED;
	}
	s->digest_length = (__u32)length;
	return DIGEST_FOUND;
}

/* Copies length bytes at address in the registry's memory to s->digest, which was cleared. */
static __always_inline int read_digest(struct scratch *s, __u64 address, __u64 length)
{
	if (!length)
		return DIGEST_ABSENT;
	if (length > PT_DIGEST_MAX)
		return DIGEST_MALFORMED;
	length = at_most(length, PT_DIGEST_MAX);
	if (bpf_probe_read_user(s->digest, length, (void *)address)) {
		clear_digest(s);
		return DIGEST_UNREAD;
	}
	return take_digest(s, length);
}

/* A request by digest names it itself. */
static __always_inline void take_path_digest(struct scratch *s)
{
	__u64 length = at_most(s->parts.reference_length, PT_DIGEST_MAX);

	if (!bpf_probe_read_kernel(s->digest, length, s->path + s->parts.reference))
		s->digest_length = (__u32)length;
}

static __always_inline void note_digest(struct hit *hit, int result)
{
	if (result == DIGEST_ABSENT)
		ledger_add(hit->ledger, LEDGER(note_digest_missing));
	else if (result == DIGEST_UNREAD)
		ledger_add(hit->ledger, LEDGER(note_digest_unread));
	else if (result == DIGEST_MALFORMED)
		ledger_add(hit->ledger, LEDGER(note_digest_malformed));
}

#endif
