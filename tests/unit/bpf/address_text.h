/* SPDX-License-Identifier: MIT */
/* bpf/address.h and bpf/forwarded.h as the kernel side runs them, for unit tests and a fuzzer. */
#ifndef PULLTAP_TEST_ADDRESS_TEXT_H
#define PULLTAP_TEST_ADDRESS_TEXT_H

#include <arpa/inet.h>
#include <endian.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "../../../bpf/address.h"
#include "../../../bpf/forwarded.h"

#define LINE_BYTES (8 + PT_FORWARDED_BYTES + PT_ADDRESS_STEPS)

/* The address at text; returns 0, -1, or 1 when nothing stands there. */
static inline int address_parse(const char *text, __u32 at, struct pt_address *ret,
				struct pt_address_parse *p)
{
	pt_address_begin(p, at);
	for (int i = 0; i < PT_ADDRESS_STEPS && !pt_address_step(text[p->at], p); i++)
		;
	if (pt_address_empty(p))
		return 1;
	return pt_address_end(p, ret);
}

/* Puts the end of a line where the steps look for it. */
static inline void line_begin(struct pt_forwarded *f, char line[LINE_BYTES], __u32 kind,
			      const char *text, size_t length)
{
	size_t bytes = length > PT_FORWARDED_BYTES ? PT_FORWARDED_BYTES : length;

	memset(line, 0, 8);
	memcpy(line + 8, text + length - bytes, bytes);
	line[8 + bytes] = 0;
	pt_forwarded_begin(f, kind, (__u32)bytes, length > bytes);
}

/* The next address to the left: 0, 1: none there, 2: the line is done, -1: no address. */
static inline int line_next(struct pt_forwarded *f, const char line[LINE_BYTES],
			    struct pt_address *ret, struct pt_address_parse *p)
{
	if (!f->at)
		return 2;
	f->found = 0;
	while (!pt_forwarded_step(line, f))
		;
	if (!f->found && f->kind == PT_FORWARDED_LIST)
		return 1;
	if (!f->found || pt_forwarded_is_cut(f, line))
		return -1;
	return address_parse(line + 8, f->value, ret, p);
}

/* An address by the C library. */
static inline bool address_of(const char *text, struct pt_address *ret)
{
	unsigned char bytes[16] = {[10] = 0xff, [11] = 0xff};
	uint64_t words[2];

	if (inet_pton(AF_INET, text, bytes + 12) != 1 && inet_pton(AF_INET6, text, bytes) != 1)
		return false;
	memcpy(words, bytes, sizeof(words));
	ret->high = be64toh(words[0]);
	ret->low = be64toh(words[1]);
	return true;
}

#endif
