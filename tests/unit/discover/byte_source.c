/* SPDX-License-Identifier: MIT */
/* Pieces of a file, at the edges of chunks and of the file. */
#include "discover/byte_source.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define SIZE (300u * 1024 + 7)

static uint8_t *content(void)
{
	uint8_t *bytes = malloc(SIZE);

	assert_non_null(bytes);
	for (unsigned int i = 0; i < SIZE; i++)
		bytes[i] = (uint8_t)(i * 31 + i / 256) | 1; /* no NUL */
	return bytes;
}

static void file_and_memory_read_the_same(void **state)
{
	static const uint64_t edges[] = {0,	 1,	   65535, 65536,   65537,
					 131071, SIZE - 1, SIZE,  SIZE + 1};
	_cleanup_free_ uint8_t *bytes = content();
	_cleanup_fclose_ FILE *f = tmpfile();
	struct byte_source *sources[2] = {NULL};

	(void)state;
	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, SIZE, f), SIZE);
	assert_int_equal(fflush(f), 0);
	assert_int_equal(byte_source_new_file(fileno(f), &sources[0]), 0);
	assert_int_equal(byte_source_new_memory(bytes, SIZE, &sources[1]), 0);
	for (int s = 0; s < 2; s++) {
		for (unsigned int a = 0; a < sizeof(edges) / sizeof(edges[0]); a++) {
			for (unsigned int b = a; b < sizeof(edges) / sizeof(edges[0]); b++) {
				uint64_t size = edges[b] - edges[a];
				_cleanup_free_ uint8_t *read = malloc(size + 1);
				int err = byte_source_read(sources[s], edges[a], read, size);

				assert_int_equal(err, edges[b] > SIZE && size ? -ENODATA : 0);
				if (!err)
					assert_memory_equal(read, bytes + edges[a], size);
			}
		}
		assert_int_equal(byte_source_read(sources[s], UINT64_MAX - 3, bytes, 8), -ENODATA);
		assert_int_equal(byte_source_read(sources[s], INT64_MAX - 3, bytes, 8), -ENODATA);
		byte_source_free(&sources[s]);
		assert_null(sources[s]);
	}
}

static void string_across_chunks_is_whole(void **state)
{
	_cleanup_free_ uint8_t *bytes = content();
	_cleanup_fclose_ FILE *f = tmpfile();
	struct byte_source *source = NULL;
	char text[64];

	(void)state;
	assert_non_null(f);
	memcpy(bytes + 65530, "0123456789abcdef", 17);
	assert_int_equal(fwrite(bytes, 1, SIZE, f), SIZE);
	assert_int_equal(fflush(f), 0);
	assert_int_equal(byte_source_new_file(fileno(f), &source), 0);
	assert_int_equal(byte_source_string(source, 65530, text, sizeof(text)), 16);
	assert_string_equal(text, "0123456789abcdef");
	assert_int_equal(byte_source_string(source, 65530, text, 8), 7);
	assert_string_equal(text, "0123456");
	/* not terminated before the file ends */
	assert_int_equal(byte_source_string(source, SIZE - 5, text, sizeof(text)), -ENODATA);
	byte_source_free(&source);
}

static void reading_in_circles_ends(void **state)
{
	_cleanup_fclose_ FILE *f = tmpfile();
	struct byte_source *source = NULL;
	unsigned int reads = 0;
	uint8_t byte;
	int err;

	(void)state;
	assert_non_null(f);
	assert_int_equal(ftruncate(fileno(f), 64 * 65536), 0);
	assert_int_equal(byte_source_new_file(fileno(f), &source), 0);
	do {
		err = byte_source_read(source, reads % 64 * 65536ull, &byte, 1);
	} while (!err && ++reads < 100000);
	assert_int_equal(err, -E2BIG);
	assert_int_equal(reads, 8192); /* 512 MiB */
	byte_source_free(&source);
}

static void repeated_reading_of_one_place_is_free(void **state)
{
	_cleanup_fclose_ FILE *f = tmpfile();
	struct byte_source *source = NULL;
	uint8_t byte;

	(void)state;
	assert_non_null(f);
	assert_int_equal(ftruncate(fileno(f), 64 * 65536), 0);
	assert_int_equal(byte_source_new_file(fileno(f), &source), 0);
	/* as many places at once as a table walk has */
	for (unsigned int i = 0; i < 100000; i++)
		assert_int_equal(byte_source_read(source, i % 16 * 65536ull * 3, &byte, 1), 0);
	byte_source_free(&source);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(file_and_memory_read_the_same),
		cmocka_unit_test(string_across_chunks_is_whole),
		cmocka_unit_test(reading_in_circles_ends),
		cmocka_unit_test(repeated_reading_of_one_place_is_free),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
