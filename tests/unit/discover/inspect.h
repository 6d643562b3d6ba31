/* SPDX-License-Identifier: MIT */
/* binary_inspect_source() on bytes in memory. */
#ifndef TESTS_UNIT_DISCOVER_INSPECT_H
#define TESTS_UNIT_DISCOVER_INSPECT_H

#include "discover/binary_image.h"

static inline int inspect_bytes(const uint8_t *bytes, size_t size, struct binary *ret)
{
	struct byte_source *source = NULL;
	int err;

	memset(ret, 0, sizeof(*ret));
	assert_int_equal(byte_source_new_memory(bytes, size, &source), 0);
	err = binary_inspect_source(source, ret);
	byte_source_free(&source);
	return err;
}

#endif
