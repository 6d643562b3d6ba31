/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as request targets, one per line, through one buffer as hits use it: bpf/path.h must
 * answer each as the plain parser does, whatever the target before it left behind.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/bpf/path_reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *buffer = path_buffer_new();
	const char *target = (const char *)data, *end = target + size;

	while (target < end) {
		const char *newline = memchr(target, '\n', (size_t)(end - target));
		size_t length = (size_t)((newline ? newline : end) - target);
		struct path_answer want;
		const char *differs = path_compare(buffer, target, length, &want);

		if (differs) {
			fprintf(stderr, "%s differs: %.*s\n", differs, (int)length, target);
			abort();
		}
		target += length + 1;
	}
	free(buffer);
	return 0;
}
