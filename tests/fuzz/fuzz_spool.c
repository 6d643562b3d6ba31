/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as a spool file. Each input is read as it is, and again with a header and a checksum
 * that hold, since no fuzzer finds those by itself and the lengths behind them are what matters.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "window/spool.h"
#include "window/spool_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile unsigned int sink;

static void touch(struct window_text text)
{
	for (unsigned int i = 0; i < text.length; i++)
		sink += (unsigned char)text.data[i];
}

/* What is accepted must be readable to its last byte and come out as it went in. */
static void parse(const uint8_t *data, size_t size)
{
	_cleanup_(spool_reader_free) struct spool_reader *reader = NULL;
	uint8_t again[SPOOL_RECORD_MAX];
	struct window_record record;
	const char *reason = NULL;
	const uint8_t *at;
	size_t count = 0;

	if (spool_reader_parse(&reader, data, size, &reason)) {
		if (!reason || reader)
			abort();
		return;
	}
	while (spool_reader_next(reader, &record) > 0) {
		size_t bytes = spool_format_record(again, &record);

		touch(record.registry);
		touch(record.repository);
		touch(record.tag);
		touch(record.digest);
		at = (const uint8_t *)record.registry.data - SPOOL_RECORD_FIXED;
		if (memcmp(at, again, bytes))
			abort();
		count++;
	}
	if (count != spool_reader_count(reader))
		abort();
}

static void seal(uint8_t *image, size_t size)
{
	spool_format_checksum(image + size - SPOOL_CHECKSUM_BYTES, spool_format_hash(image, size));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct window_header header = {.sequence = 1, .merged = 1};
	size_t framed = SPOOL_HEADER_BYTES + size + SPOOL_CHECKSUM_BYTES;
	uint8_t *image = malloc(framed);

	if (!image)
		return 0;
	parse(data, size);
	if (size >= SPOOL_CHECKSUM_BYTES) {
		memcpy(image, data, size);
		seal(image, size);
		parse(image, size);
	}
	/* The input as records; its last byte, some text's, says how many they claim to be. */
	spool_format_header(image, &header, size ? data[size - 1] : 0, size);
	memcpy(image + SPOOL_HEADER_BYTES, data, size);
	seal(image, framed);
	parse(image, framed);
	free(image);
	return 0;
}
