/* SPDX-License-Identifier: MIT */
/* What the harnesses of hostile binaries share: edits of a well-formed file, and what must hold. */
#ifndef TESTS_FUZZ_BINARY_H
#define TESTS_FUZZ_BINARY_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "bpf/nginx_layout.h"
#include "discover/binary_image.h"

/* data: offset (2), length (1), bytes, again and again */
static inline void fuzz_edit(uint8_t *bytes, size_t bytes_size, const uint8_t *data, size_t size)
{
	while (size >= 4) {
		size_t at = (size_t)(data[0] | data[1] << 8) % bytes_size;
		size_t n = 1 + data[2] % 8;

		data += 3;
		size -= 3;
		if (n > size)
			n = size;
		if (n > bytes_size - at)
			n = bytes_size - at;
		memcpy(bytes + at, data, n);
		data += n;
		size -= n;
	}
}

/*
 * What the programs rely on: they would clamp it, and read the wrong words. One without a size is
 * learned from requests, and nothing is read by it.
 */
static inline void fuzz_layout(const struct pt_nginx_layout *layout)
{
	if (!layout->size)
		return;
	assert(layout->size <= NGINX_REQUEST_BYTES && layout->size > layout->method);
	assert(layout->headers_out >= 16 && layout->headers_out < layout->status);
	assert(layout->status < layout->method);
	assert(!((layout->headers_out | layout->status | layout->method) & 7));
}

static inline void fuzz_inspect_by(int (*inspect)(struct byte_source *source, struct binary *ret),
				   const uint8_t *bytes, size_t size)
{
	struct byte_source *source = NULL;
	struct binary binary = {0};

	if (byte_source_new_memory(bytes, size, &source))
		return;
	if (!inspect(source, &binary)) {
		assert(binary.sites_count <= BINARY_SITES);
		assert(binary.sites_count || binary.refusal[0]);
		assert(memchr(binary.refusal, 0, sizeof(binary.refusal)));
		for (unsigned int i = 0; i < binary.sites_count; i++) {
			/* the kernel would put a breakpoint there */
			assert(binary.sites[i].file_offset < size);
			assert(memchr(binary.sites[i].symbol, 0, sizeof(binary.sites[i].symbol)));
			if (binary.sites[i].hook == PT_NGINX_HOOK_REQUEST)
				fuzz_layout(&binary.sites[i].layout.nginx);
		}
	}
	byte_source_free(&source);
}

static inline void fuzz_inspect(const uint8_t *bytes, size_t size)
{
	fuzz_inspect_by(binary_inspect_source, bytes, size);
}

#endif
