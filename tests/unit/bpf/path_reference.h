/* SPDX-License-Identifier: MIT */
/*
 * What bpf/path.h must say about a request target, written a second time and as plainly as it goes:
 * one byte at a time, no words, no masks, no shared line of code. The unit test and the fuzzer
 * compare the two.
 */
#ifndef TESTS_UNIT_BPF_PATH_REFERENCE_H
#define TESTS_UNIT_BPF_PATH_REFERENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/path.h"

struct path_answer {
	int kind; /* enum pt_path_kind, never PT_PATH_ESCAPED */
	char text[PT_PATH_BYTES]; /* the decoded path */
	size_t name, name_length, reference, reference_length;
	bool is_digest;
};

static inline int path_hex_digit(char c)
{
	const char *digits = "0123456789abcdef0123456789ABCDEF", *found;

	found = c ? strchr(digits, c) : NULL;
	return found ? (int)(found - digits) % 16 : -1;
}

/* Offset of the first (or last) needle that lies within text, or -1. */
static inline ptrdiff_t path_find(const char *text, size_t length, const char *needle, bool last)
{
	ptrdiff_t found = -1;

	for (size_t i = 0; i + strlen(needle) <= length; i++) {
		if (memcmp(text + i, needle, strlen(needle)) != 0)
			continue;
		found = (ptrdiff_t)i;
		if (!last)
			break;
	}
	return found;
}

static inline size_t path_decode(const char *raw, size_t length, char *to)
{
	size_t out = 0;

	for (size_t i = 0; i < length; i++) {
		if (raw[i] == '%' && length - i > 2 && path_hex_digit(raw[i + 1]) >= 0 &&
		    path_hex_digit(raw[i + 2]) >= 0) {
			to[out++] = (char)(path_hex_digit(raw[i + 1]) * 16 +
					   path_hex_digit(raw[i + 2]));
			i += 2;
		} else {
			to[out++] = raw[i];
		}
	}
	return out;
}

/* target is the whole request target, however long. */
static inline void path_reference_parse(const char *target, size_t length, struct path_answer *ret)
{
	size_t visible = length < PT_PATH_BYTES ? length : PT_PATH_BYTES, end = 0, i;
	ptrdiff_t manifests, v2;
	bool escaped;

	memset(ret, 0, sizeof(*ret));
	while (end < visible && target[end] != '?')
		end++;
	/* one that ends with the buffer can't be told from a longer one */
	if (length > PT_PATH_BYTES && end == PT_PATH_BYTES) {
		ret->kind = PT_PATH_TOO_LONG;
		return;
	}
	escaped = memchr(target, '%', end) != NULL;
	end = path_decode(target, end, ret->text);
	if (escaped && memchr(ret->text, 0, end)) {
		ret->kind = PT_PATH_NUL;
		return;
	}
	ret->kind = PT_PATH_OTHER;
	manifests = path_find(ret->text, end, "/manifests/", true);
	if (manifests < 0)
		return;
	ret->reference = (size_t)manifests + strlen("/manifests/");
	ret->reference_length = end - ret->reference;
	if (!ret->reference_length ||
	    memchr(ret->text + ret->reference, '/', ret->reference_length))
		return;
	v2 = path_find(ret->text, ret->reference, "/v2/", false);
	if (v2 < 0 || v2 + 4 >= manifests)
		return;
	ret->name = (size_t)v2 + 4;
	ret->name_length = (size_t)manifests - ret->name;
	for (i = 0; i < ret->reference_length && i < 24; i++)
		if (ret->text[ret->reference + i] == ':')
			ret->is_digest = true;
	ret->kind = PT_PATH_MANIFEST;
}

/* The buffer of a hit: exactly as large as the kernel's, so that ASan sees a byte too far. */
static inline char *path_buffer_new(void)
{
	char *buffer = malloc(PT_PATH_BYTES + PT_PATH_SLOP);

	if (!buffer)
		abort();
	memset(buffer, '/', PT_PATH_BYTES + PT_PATH_SLOP);
	return buffer;
}

/*
 * Runs bpf/path.h on the target in a buffer that still holds whatever the hits before left there,
 * and compares. Returns what differs, or NULL.
 */
static inline const char *path_compare(char *buffer, const char *target, size_t length,
				       struct path_answer *want)
{
	__u32 visible = length < PT_PATH_BYTES ? (__u32)length : PT_PATH_BYTES;
	struct pt_path got = {};
	int kind;

	path_reference_parse(target, length, want);
	memcpy(buffer, target, visible);
	kind = pt_path_parse(buffer, visible, length > PT_PATH_BYTES, &got);
	if (kind != want->kind)
		return "kind";
	if (kind != PT_PATH_MANIFEST)
		return NULL;
	if (got.name_length != want->name_length || got.name > PT_PATH_BYTES ||
	    memcmp(buffer + got.name, want->text + want->name, got.name_length) != 0)
		return "name";
	if (got.reference_length != want->reference_length || got.reference > PT_PATH_BYTES ||
	    memcmp(buffer + got.reference, want->text + want->reference, got.reference_length) != 0)
		return "reference";
	return got.is_digest == want->is_digest ? NULL : "is_digest";
}

#endif
