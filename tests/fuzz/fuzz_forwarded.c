/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as lines of forwarding headers: no read leaves the buffer, every step goes on, and what
 * is taken for an address is one to the C library too. And the other way round: each line as one
 * address, which the library and bpf/address.h must agree about.
 */
#include <stdint.h>
#include <stdlib.h>

#include "tests/unit/bpf/address_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool right, const char *what, const char *text, int length)
{
	if (right)
		return;
	fprintf(stderr, "%s: %.*s\n", what, length, text);
	abort();
}

/* What is there must be what the library reads from the text that was taken for it. */
static void check_taken(const char *text, const struct pt_address_parse *p,
			const struct pt_address *got)
{
	int length = (int)(p->at - p->start);
	struct pt_address want = {};
	char copy[PT_ADDRESS_STEPS + 1] = "";

	check(length > 0 && length <= PT_ADDRESS_STEPS, "length", text, 0);
	memcpy(copy, text + p->start, (size_t)length);
	check(address_of(copy, &want) && !memcmp(got, &want, sizeof(want)), "another address", copy,
	      length);
}

static void try_line(const char *text, size_t length, uint32_t kind)
{
	char *line = calloc(1, LINE_BYTES);
	struct pt_address_parse p;
	struct pt_address address;
	struct pt_forwarded f;
	unsigned int steps = 0;
	int rc;

	if (!line)
		return;
	memset(line, '1', LINE_BYTES); /* what an earlier line left */
	line_begin(&f, line, kind, text, length);
	while ((rc = line_next(&f, line, &address, &p)) != 2) {
		check(++steps <= PT_FORWARDED_BYTES + 1, "no end", text, (int)length);
		if (!rc)
			check_taken(line + 8, &p, &address);
	}
	free(line);
}

/* Whatever the library takes for an address is one here. */
static void try_address(const char *text, size_t length)
{
	char buffer[2 * PT_ADDRESS_STEPS] = "";
	struct pt_address_parse p;
	struct pt_address want, got;

	if (length >= PT_ADDRESS_STEPS || memchr(text, 0, length))
		return;
	memcpy(buffer, text, length);
	if (address_of(buffer, &want))
		check(!address_parse(buffer, 0, &got, &p) && !memcmp(&got, &want, sizeof(got)),
		      "address not read", buffer, (int)length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data, *end = text + size;

	while (text < end) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		size_t length = (size_t)((newline ? newline : end) - text);

		try_line(text, length, PT_FORWARDED_LIST);
		try_line(text, length, PT_FORWARDED_PAIRS);
		try_address(text, length);
		text += length + 1;
	}
	return 0;
}
