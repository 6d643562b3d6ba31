/* SPDX-License-Identifier: MIT */
/* The bytes of a spool file, in memory: what is written is read, and nothing else is. */
#include "test.h"

#include <endian.h>
#include <errno.h>

#include "window/spool.h"
#include "window/spool_format.h"
#include "xxhash.h"

static const struct window_record samples[] = {
	{
		.op = PT_OP_GET,
		.registry = {"registry.example.org", 20},
		.repository = {"library/nginx", 13},
		.tag = {"1.25", 4},
		.digest = {"sha256:0123", 11},
		.count = 3,
		.last_us = 1767225600000001,
	},
	{
		.op = PT_OP_HEAD,
		.registry = {"r", 1},
		.repository = {"a\0b\xff\n", 5},
		.count = UINT64_MAX,
		.last_us = INT64_MIN,
	},
};
#define SAMPLES (sizeof(samples) / sizeof(samples[0]))
#define IMAGE_MAX 4096

static struct window_header sample_header(void)
{
	struct window_header header = {.sequence = 42,
				       .start_us = 1767225600000000,
				       .end_us = 1767225610000000,
				       .merged = 1,
				       .before = 39,
				       .pause_us = 1234567};

	for (unsigned int i = 0; i < 16; i++)
		header.agent[i] = (uint8_t)(0xf0 + i);
	for (unsigned int i = 0; i < LEDGER_COUNT; i++)
		header.ledger[i] = (uint64_t)i << 40 | i;
	return header;
}

static void seal(uint8_t *image, size_t size)
{
	spool_format_checksum(image + size - SPOOL_CHECKSUM_BYTES, spool_format_hash(image, size));
}

static size_t build(uint8_t image[IMAGE_MAX], const struct window_record *records, size_t count)
{
	struct window_header header = sample_header();
	size_t size = SPOOL_HEADER_BYTES;

	for (size_t i = 0; i < count; i++)
		size += spool_format_record(image + size, &records[i]);
	spool_format_header(image, &header, count, size - SPOOL_HEADER_BYTES);
	size += SPOOL_CHECKSUM_BYTES;
	seal(image, size);
	return size;
}

static void assert_text_equal(struct window_text a, struct window_text b)
{
	assert_int_equal(a.length, b.length);
	if (a.length)
		assert_memory_equal(a.data, b.data, a.length);
}

static void assert_record_equal(const struct window_record *a, const struct window_record *b)
{
	assert_int_equal(a->op, b->op);
	assert_text_equal(a->registry, b->registry);
	assert_text_equal(a->repository, b->repository);
	assert_text_equal(a->tag, b->tag);
	assert_text_equal(a->digest, b->digest);
	assert_true(a->count == b->count);
	assert_true(a->last_us == b->last_us);
}

/* Parses from a heap block of exactly that size, so that ASan sees a read beyond it. */
static int parse(const uint8_t *image, size_t size, struct spool_reader **ret, void **ret_block)
{
	const char *reason = NULL;
	void *block = malloc(size ? size : 1);
	int err;

	assert_non_null(block);
	memcpy(block, image, size);
	err = spool_reader_parse(ret, block, size, &reason);
	if (err) {
		assert_int_equal(err, -EBADMSG);
		assert_non_null(reason);
		free(block);
		block = NULL;
	}
	*ret_block = block;
	return err;
}

static void assert_refused(const uint8_t *image, size_t size, const char *expected)
{
	struct spool_reader *reader = NULL;
	const char *reason = NULL;

	assert_int_equal(spool_reader_parse(&reader, image, size, &reason), -EBADMSG);
	assert_null(reader);
	assert_string_equal(reason, expected);
}

static void written_window_reads_back_identically(void **state)
{
	struct window_header header = sample_header();
	struct spool_reader *reader = NULL;
	struct window_record record;
	uint8_t image[IMAGE_MAX];
	size_t size = build(image, samples, SAMPLES);
	void *block;

	(void)state;
	assert_int_equal(parse(image, size, &reader, &block), 0);
	assert_memory_equal(spool_reader_header(reader), &header, sizeof(header));
	assert_int_equal(spool_reader_count(reader), SAMPLES);
	for (int turn = 0; turn < 2; turn++) {
		for (size_t i = 0; i < SAMPLES; i++) {
			assert_int_equal(spool_reader_next(reader, &record), 1);
			assert_record_equal(&record, &samples[i]);
		}
		assert_int_equal(spool_reader_next(reader, &record), 0);
		assert_int_equal(spool_reader_next(reader, &record), 0);
		spool_reader_rewind(reader);
	}
	spool_reader_free(&reader);
	assert_null(reader);
	free(block);
}

static void window_without_records_reads_back(void **state)
{
	struct spool_reader *reader = NULL;
	struct window_record record;
	uint8_t image[IMAGE_MAX];
	void *block;

	(void)state;
	assert_int_equal(parse(image, build(image, NULL, 0), &reader, &block), 0);
	assert_int_equal(spool_reader_count(reader), 0);
	assert_int_equal(spool_reader_next(reader, &record), 0);
	spool_reader_free(&reader);
	free(block);
}

static void longest_names_fit_the_record_limit(void **state)
{
	static char text[PT_REPOSITORY_MAX];
	const struct window_record longest = {
		.op = PT_OP_HINTED_GET,
		.registry = {text, SPOOL_REGISTRY_MAX},
		.repository = {text, PT_REPOSITORY_MAX},
		.tag = {text, PT_TAG_MAX},
		.digest = {text, PT_DIGEST_MAX},
	};
	uint8_t out[SPOOL_RECORD_MAX];

	(void)state;
	memset(text, 'x', sizeof(text));
	assert_int_equal(spool_format_record(out, &longest), SPOOL_RECORD_MAX);
}

static void every_truncation_is_refused(void **state)
{
	uint8_t image[IMAGE_MAX];
	size_t size = build(image, samples, SAMPLES);

	(void)state;
	for (size_t cut = 0; cut < size; cut++) {
		struct spool_reader *reader = NULL;
		void *block;

		assert_int_equal(parse(image, cut, &reader, &block), -EBADMSG);
		assert_null(reader);
	}
}

static void every_flipped_bit_is_refused(void **state)
{
	uint8_t image[IMAGE_MAX];
	size_t size = build(image, samples, SAMPLES);

	(void)state;
	for (size_t bit = 0; bit < size * 8; bit++) {
		struct spool_reader *reader = NULL;
		void *block;

		image[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(parse(image, size, &reader, &block), -EBADMSG);
		image[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

/* A checksum is no proof against a writer with a fault: the lengths have to hold on their own. */
static void every_flipped_bit_under_a_valid_checksum_is_read_safely(void **state)
{
	uint8_t image[IMAGE_MAX];
	size_t size = build(image, samples, SAMPLES), accepted = 0;

	(void)state;
	for (size_t bit = 0; bit < (size - SPOOL_CHECKSUM_BYTES) * 8; bit++) {
		struct spool_reader *reader = NULL;
		struct window_record record;
		void *block;

		image[bit / 8] ^= (uint8_t)(1u << bit % 8);
		seal(image, size);
		if (!parse(image, size, &reader, &block)) {
			size_t texts = 0;

			while (spool_reader_next(reader, &record) > 0) {
				for (unsigned int i = 0; i < record.repository.length; i++)
					texts += (uint8_t)record.repository.data[i];
			}
			accepted += texts > 0;
			spool_reader_free(&reader);
			free(block);
		}
		image[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	assert_true(accepted > 0);
}

static void foreign_or_damaged_bytes_are_refused_with_the_reason(void **state)
{
	uint8_t image[IMAGE_MAX + 8], *last = image + SPOOL_HEADER_BYTES;
	size_t size = build(image, samples, SAMPLES);

	(void)state;
	assert_refused(image, 0, "shorter than a header");
	assert_refused(image, size - 1, "truncated");
	assert_refused(image, size + 1, "bytes after the last record");
	image[0] = 'X';
	assert_refused(image, size, "not a window");
	size = build(image, samples, SAMPLES);
	image[8] = 3;
	assert_refused(image, size, "unknown format version");
	size = build(image, samples, SAMPLES);
	image[size - 20] ^= 1;
	assert_refused(image, size, "wrong checksum");
	size = build(image, samples, SAMPLES);
	image[72] = 0;
	seal(image, size);
	assert_refused(image, size, "holds no window, or more than there were");
	image[72] = 43;
	seal(image, size);
	assert_refused(image, size, "holds no window, or more than there were");
	size = build(image, samples, SAMPLES);
	memset(image + 32, 0, 8);
	seal(image, size);
	assert_refused(image, size, "sequence 0");
	size = build(image, samples, SAMPLES);
	image[56]++;
	seal(image, size);
	assert_refused(image, size, "number of records differs from the header's");
	size = build(image, samples, SAMPLES);
	last[0] = PT_OP_COUNT;
	seal(image, size);
	assert_refused(image, size, "a record with an unknown operation or a wrong length");
}

/* Rebuilds an image as an agent with another number of counters would have written it. */
static size_t with_counters(uint8_t out[IMAGE_MAX], const uint8_t *image, size_t size,
			    uint32_t counters)
{
	uint32_t header_bytes = SPOOL_HEADER_FIXED + 8 * counters;
	size_t rest = size - SPOOL_HEADER_BYTES;
	uint32_t little[2] = {htole32(header_bytes), htole32(counters)};

	memset(out, 0, header_bytes);
	memcpy(out, image, SPOOL_HEADER_FIXED);
	memcpy(out + 12, &little[0], 4);
	memcpy(out + 76, &little[1], 4);
	memset(out + SPOOL_HEADER_FIXED, 1, 8 * (size_t)counters);
	memcpy(out + header_bytes, image + SPOOL_HEADER_BYTES, rest);
	seal(out, header_bytes + rest);
	return header_bytes + rest;
}

static void window_of_an_older_agent_reads_missing_counters_as_zero(void **state)
{
	uint8_t image[IMAGE_MAX], older[IMAGE_MAX];
	size_t size = build(image, samples, SAMPLES);
	struct spool_reader *reader = NULL;
	void *block;

	(void)state;
	size = with_counters(older, image, size, 5);
	assert_int_equal(parse(older, size, &reader, &block), 0);
	assert_true(spool_reader_header(reader)->ledger[4] == 0x0101010101010101);
	for (unsigned int i = 5; i < LEDGER_COUNT; i++)
		assert_true(spool_reader_header(reader)->ledger[i] == 0);
	assert_int_equal(spool_reader_count(reader), SAMPLES);
	spool_reader_free(&reader);
	free(block);
}

/* Version 1 had no pause before its ledger. */
static void window_of_the_first_version_has_an_unknown_pause(void **state)
{
	uint8_t image[IMAGE_MAX], first[IMAGE_MAX];
	size_t size = build(image, samples, SAMPLES);
	uint32_t little[2] = {htole32(1), htole32(SPOOL_HEADER_BYTES - 16)};
	struct spool_reader *reader = NULL;
	void *block;

	(void)state;
	assert_int_equal(parse(image, size, &reader, &block), 0);
	assert_int_equal(spool_reader_header(reader)->pause_us, 1234567);
	assert_int_equal(spool_reader_header(reader)->before, 39);
	spool_reader_free(&reader);
	free(block);
	memcpy(first, image, 80);
	memcpy(first + 80, image + 96, size - 96);
	memcpy(first + 8, little, sizeof(little));
	seal(first, size - 16);
	assert_int_equal(parse(first, size - 16, &reader, &block), 0);
	assert_int_equal(spool_reader_header(reader)->pause_us, WINDOW_PAUSE_UNKNOWN);
	assert_int_equal(spool_reader_header(reader)->before, 0);
	assert_int_equal(spool_reader_header(reader)->end_us, 1767225610000000);
	for (unsigned int i = 0; i < LEDGER_COUNT; i++)
		assert_true(spool_reader_header(reader)->ledger[i] == ((uint64_t)i << 40 | i));
	assert_int_equal(spool_reader_count(reader), SAMPLES);
	spool_reader_free(&reader);
	free(block);
}

static void window_of_a_newer_agent_is_refused_and_not_misread(void **state)
{
	uint8_t image[IMAGE_MAX], newer[IMAGE_MAX];
	size_t size = build(image, samples, SAMPLES);

	(void)state;
	size = with_counters(newer, image, size, LEDGER_COUNT + 1);
	assert_refused(newer, size, "written by a newer version: unknown ledger counters");
}

/* The bytes themselves, so that a change of the format is a decision and not an accident. */
static void file_layout_is_the_documented_one(void **state)
{
	uint8_t image[IMAGE_MAX];
	size_t size = build(image, samples, 1);
	uint64_t hash;

	(void)state;
	assert_int_equal(size, 96 + 8 * LEDGER_COUNT + 25 + 20 + 13 + 4 + 11 + 8);
	assert_memory_equal(image, "PTWINDOW\2\0\0\0", 12);
	assert_memory_equal(image + 16, "\xf0\xf1\xf2", 3);
	assert_memory_equal(image + 32, "\x2a\0\0\0\0\0\0\0", 8);
	assert_memory_equal(image + 72, "\1\0\0\0", 4);
	assert_memory_equal(image + 80, "\x87\xd6\x12\0\0\0\0\0", 8);
	assert_memory_equal(image + SPOOL_HEADER_BYTES, "\1\x14\0\x0d\0\4\0\x0b\0\3\0\0\0\0\0\0\0",
			    17);
	assert_memory_equal(image + SPOOL_HEADER_BYTES + 25, "registry.example.orglibrary", 27);
	hash = XXH3_64bits_withSeed(
		image, SPOOL_HEADER_BYTES,
		XXH3_64bits(image + SPOOL_HEADER_BYTES, size - SPOOL_HEADER_BYTES - 8));
	hash = htole64(hash);
	assert_memory_equal(image + size - 8, &hash, 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(written_window_reads_back_identically),
		cmocka_unit_test(window_without_records_reads_back),
		cmocka_unit_test(longest_names_fit_the_record_limit),
		cmocka_unit_test(every_truncation_is_refused),
		cmocka_unit_test(every_flipped_bit_is_refused),
		cmocka_unit_test(every_flipped_bit_under_a_valid_checksum_is_read_safely),
		cmocka_unit_test(foreign_or_damaged_bytes_are_refused_with_the_reason),
		cmocka_unit_test(window_of_an_older_agent_reads_missing_counters_as_zero),
		cmocka_unit_test(window_of_the_first_version_has_an_unknown_pause),
		cmocka_unit_test(window_of_a_newer_agent_is_refused_and_not_misread),
		cmocka_unit_test(file_layout_is_the_documented_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
