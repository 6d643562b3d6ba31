/* SPDX-License-Identifier: MIT */
#include "window/spool_format.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <xxhash.h>

#define US_PER_DAY 86400000000ll

/* Within a record; before the count are its operation and the lengths. */
#define COUNT_AT 9
#define LAST_AT 17

/* Version 1 ended here. */
#define FIXED_1 80

static const char magic[8] = {'P', 'T', 'W', 'I', 'N', 'D', 'O', 'W'};

static uint8_t *put16(uint8_t *out, uint16_t value)
{
	value = htole16(value);
	memcpy(out, &value, sizeof(value));
	return out + sizeof(value);
}

static uint8_t *put32(uint8_t *out, uint32_t value)
{
	value = htole32(value);
	memcpy(out, &value, sizeof(value));
	return out + sizeof(value);
}

static uint8_t *put64(uint8_t *out, uint64_t value)
{
	value = htole64(value);
	memcpy(out, &value, sizeof(value));
	return out + sizeof(value);
}

static uint8_t *put_text(uint8_t *out, const struct window_text *text)
{
	if (text->length)
		memcpy(out, text->data, text->length);
	return out + text->length;
}

static uint16_t get16(const uint8_t *in)
{
	uint16_t value;

	memcpy(&value, in, sizeof(value));
	return le16toh(value);
}

static uint32_t get32(const uint8_t *in)
{
	uint32_t value;

	memcpy(&value, in, sizeof(value));
	return le32toh(value);
}

static uint64_t get64(const uint8_t *in)
{
	uint64_t value;

	memcpy(&value, in, sizeof(value));
	return le64toh(value);
}

void spool_format_header(uint8_t out[SPOOL_HEADER_BYTES], const struct window_header *header,
			 uint64_t records, uint64_t record_bytes)
{
	uint8_t *p = out;

	memcpy(p, magic, sizeof(magic));
	p = put32(p + sizeof(magic), SPOOL_FORMAT_VERSION);
	p = put32(p, SPOOL_HEADER_BYTES);
	memcpy(p, header->agent, sizeof(header->agent));
	p = put64(p + sizeof(header->agent), header->sequence);
	p = put64(p, (uint64_t)header->start_us);
	p = put64(p, (uint64_t)header->end_us);
	p = put64(p, records);
	p = put64(p, record_bytes);
	p = put32(p, header->merged);
	p = put32(p, LEDGER_COUNT);
	p = put64(p, (uint64_t)header->pause_us);
	p = put64(p, header->before);
	assert(p == out + SPOOL_HEADER_FIXED);
	for (unsigned int i = 0; i < LEDGER_COUNT; i++)
		p = put64(p, header->ledger[i]);
}

static bool within_limits(const struct window_record *record)
{
	return record->op > PT_OP_NONE && record->op < PT_OP_COUNT &&
	       record->registry.length <= SPOOL_REGISTRY_MAX &&
	       record->repository.length <= PT_REPOSITORY_MAX && record->tag.length <= PT_TAG_MAX &&
	       record->digest.length <= PT_DIGEST_MAX;
}

size_t spool_format_record(uint8_t out[SPOOL_RECORD_MAX], const struct window_record *record)
{
	uint8_t *p = out;

	assert(within_limits(record));
	*p++ = (uint8_t)record->op;
	p = put16(p, record->registry.length);
	p = put16(p, record->repository.length);
	p = put16(p, record->tag.length);
	p = put16(p, record->digest.length);
	p = put64(p, record->count);
	p = put64(p, (uint64_t)record->last_us);
	p = put_text(p, &record->registry);
	p = put_text(p, &record->repository);
	p = put_text(p, &record->tag);
	p = put_text(p, &record->digest);
	return (size_t)(p - out);
}

void spool_format_checksum(uint8_t out[SPOOL_CHECKSUM_BYTES], uint64_t hash)
{
	put64(out, hash);
}

static size_t text_bytes(const struct window_record *record)
{
	return (size_t)record->registry.length + record->repository.length + record->tag.length +
	       record->digest.length;
}

void spool_format_record_at(const uint8_t *p, struct window_record *ret)
{
	*ret = (struct window_record){
		.op = (enum pt_op)p[0],
		.registry.length = get16(p + 1),
		.repository.length = get16(p + 3),
		.tag.length = get16(p + 5),
		.digest.length = get16(p + 7),
		.count = get64(p + COUNT_AT),
		.last_us = (int64_t)get64(p + LAST_AT),
	};
	ret->registry.data = (const char *)p + SPOOL_RECORD_FIXED;
	ret->repository.data = ret->registry.data + ret->registry.length;
	ret->tag.data = ret->repository.data + ret->repository.length;
	ret->digest.data = ret->tag.data + ret->tag.length;
}

int spool_format_next(const struct spool_image *image, const uint8_t **cursor,
		      struct window_record *ret)
{
	const uint8_t *p = *cursor;
	size_t left = (size_t)(image->records_end - p), texts;

	if (!left)
		return 0;
	if (left < SPOOL_RECORD_FIXED)
		return -EBADMSG;
	spool_format_record_at(p, ret);
	texts = text_bytes(ret);
	if (!within_limits(ret) || left - SPOOL_RECORD_FIXED < texts)
		return -EBADMSG;
	*cursor = p + SPOOL_RECORD_FIXED + texts;
	return 1;
}

/* Equal kinds and lengths come first, so that what is left is one run of bytes each. */
int spool_format_compare(const uint8_t *a, const uint8_t *b)
{
	struct window_record record;
	int order = memcmp(a, b, COUNT_AT);

	if (order)
		return order;
	spool_format_record_at(a, &record);
	return memcmp(a + SPOOL_RECORD_FIXED, b + SPOOL_RECORD_FIXED, text_bytes(&record));
}

int64_t spool_format_day(int64_t unix_us)
{
	int64_t day = unix_us / US_PER_DAY;

	return unix_us % US_PER_DAY < 0 ? day - 1 : day;
}

int spool_format_compare_day(const uint8_t *a, const uint8_t *b)
{
	int64_t x = spool_format_day((int64_t)get64(a + LAST_AT));
	int64_t y = spool_format_day((int64_t)get64(b + LAST_AT));

	return (x > y) - (x < y);
}

uint64_t spool_format_seal(uint64_t records_hash, const void *header, size_t header_bytes)
{
	return XXH3_64bits_withSeed(header, header_bytes, records_hash);
}

/* The parts need not be verified, only be inside. */
static uint64_t hash_parts(const uint8_t *data, size_t header_bytes, size_t size)
{
	size_t record_bytes = size - header_bytes - SPOOL_CHECKSUM_BYTES;

	return spool_format_seal(XXH3_64bits(data + header_bytes, record_bytes), data,
				 header_bytes);
}

uint64_t spool_format_hash(const void *data, size_t size)
{
	size_t header_bytes;

	if (size < FIXED_1 + SPOOL_CHECKSUM_BYTES)
		return 0;
	header_bytes = get32((const uint8_t *)data + 12);
	if (header_bytes > size - SPOOL_CHECKSUM_BYTES)
		return 0;
	return hash_parts(data, header_bytes, size);
}

/* What lies before the ledger. */
static size_t fixed_bytes(const uint8_t *data)
{
	return get32(data + 8) == 1 ? FIXED_1 : SPOOL_HEADER_FIXED;
}

/* Everything that can be told from the fixed part of the header and the file's size. */
static const char *check_sizes(const uint8_t *data, size_t size)
{
	uint64_t header_bytes, counters, record_bytes, rest;

	if (size < FIXED_1 + SPOOL_CHECKSUM_BYTES)
		return "shorter than a header";
	if (memcmp(data, magic, sizeof(magic)))
		return "not a window";
	if (!get32(data + 8) || get32(data + 8) > SPOOL_FORMAT_VERSION)
		return "unknown format version";
	header_bytes = get32(data + 12);
	counters = get32(data + 76);
	if (header_bytes != fixed_bytes(data) + 8 * counters)
		return "header and ledger sizes differ";
	if (counters > LEDGER_COUNT)
		return "written by a newer version: unknown ledger counters";
	if (header_bytes > size - SPOOL_CHECKSUM_BYTES)
		return "shorter than its header";
	rest = size - SPOOL_CHECKSUM_BYTES - header_bytes;
	record_bytes = get64(data + 64);
	if (record_bytes != rest)
		return record_bytes > rest ? "truncated" : "bytes after the last record";
	return NULL;
}

void spool_format_peek(const uint8_t data[SPOOL_HEADER_FIXED], struct window_header *ret)
{
	*ret = (struct window_header){
		.sequence = get64(data + 32),
		.start_us = (int64_t)get64(data + 40),
		.end_us = (int64_t)get64(data + 48),
		.merged = get32(data + 72),
		.pause_us = get32(data + 8) == 1 ? WINDOW_PAUSE_UNKNOWN
						 : (int64_t)get64(data + FIXED_1),
		.before = get32(data + 8) == 1 ? 0 : get64(data + FIXED_1 + 8),
	};
	memcpy(ret->agent, data + 16, sizeof(ret->agent));
}

static const char *parse(struct spool_image *image, const uint8_t *data, size_t size)
{
	const char *reason = check_sizes(data, size);
	struct window_header *header = &image->header;
	struct window_record record;
	const uint8_t *cursor;
	size_t header_bytes;
	int err;

	if (reason)
		return reason;
	header_bytes = get32(data + 12);
	if (hash_parts(data, header_bytes, size) != get64(data + size - SPOOL_CHECKSUM_BYTES))
		return "wrong checksum";
	spool_format_peek(data, header);
	for (uint32_t i = 0; i < get32(data + 76); i++)
		header->ledger[i] = get64(data + fixed_bytes(data) + 8 * i);
	if (!header->sequence)
		return "sequence 0";
	if (!header->merged || header->merged > header->sequence)
		return "holds no window, or more than there were";
	image->records = data + header_bytes;
	image->records_end = data + size - SPOOL_CHECKSUM_BYTES;
	cursor = image->records;
	while ((err = spool_format_next(image, &cursor, &record)) > 0)
		image->count++;
	if (err)
		return "a record with an unknown operation or a wrong length";
	if (image->count != get64(data + 56))
		return "number of records differs from the header's";
	return NULL;
}

int spool_format_parse(struct spool_image *ret, const void *data, size_t size,
		       const char **ret_reason)
{
	struct spool_image image = {0};
	const char *reason = parse(&image, data, size);

	if (reason) {
		*ret_reason = reason;
		return -EBADMSG;
	}
	*ret = image;
	return 0;
}
