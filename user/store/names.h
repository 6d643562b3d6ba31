/* SPDX-License-Identifier: MIT */
/*
 * What names must look like before they may go to PostgreSQL: text is UTF-8 without NUL, a digest
 * is an algorithm and the bytes behind its hex. Pure.
 */
#ifndef PULLTAP_STORE_NAMES_H
#define PULLTAP_STORE_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIGEST_ALGORITHM_MAX 32
#define DIGEST_BYTES_MAX 64

struct digest {
	char algorithm[DIGEST_ALGORITHM_MAX + 1]; /* lower case, "sha256" */
	uint8_t bytes[DIGEST_BYTES_MAX];
	uint8_t algorithm_length;
	uint8_t bytes_length;
};

/* Strict UTF-8 as PostgreSQL checks it: no NUL, overlong form, surrogate or value over 10FFFF. */
bool name_is_utf8(const char *data, size_t length);

/*
 * Parses "algorithm:hex", hex of either case. sha256, sha384 and sha512 must have their length,
 * other algorithms 16 to 64 bytes. Returns 0, or -EBADMSG for anything else.
 */
__attribute__((warn_unused_result)) int digest_parse(struct digest *ret, const char *data,
						     size_t length);

#endif
