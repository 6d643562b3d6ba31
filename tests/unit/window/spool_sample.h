/* SPDX-License-Identifier: MIT */
/* What the tests of the spool's files share: a window to write, and how to check it. */
#ifndef PULLTAP_TESTS_UNIT_WINDOW_SPOOL_SAMPLE_H
#define PULLTAP_TESTS_UNIT_WINDOW_SPOOL_SAMPLE_H

#include "test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "window/spool.h"

/* More than the writer's buffer holds, so that records reach the file before the commit. */
#define SAMPLE_RECORDS 3000

static inline struct window_record sample_record(unsigned int i)
{
	return (struct window_record){
		.op = PT_OP_GET,
		.registry = {"hub", 3},
		.repository = {"library/something", 17},
		.tag = {"latest", 6},
		.count = i + 1,
		.last_us = 1000 + i,
	};
}

/* Adds and commits; the first error, as the drainer would see it. */
static inline int sample_write(struct spool *spool, const uint8_t agent[16], uint64_t sequence,
			       unsigned int records)
{
	_cleanup_(spool_writer_free) struct spool_writer *writer = NULL;
	struct window_header header = {.sequence = sequence, .merged = 1};
	int err = spool_writer_new(&writer, spool, agent, sequence);

	for (unsigned int i = 0; !err && i < records; i++) {
		struct window_record record = sample_record(i);

		err = spool_writer_add(writer, &record);
	}
	memcpy(header.agent, agent, sizeof(header.agent));
	return err ? err : spool_writer_commit(writer, &header);
}

/* 0 when the named window is whole and holds that many samples. */
static inline int sample_check(struct spool *spool, const char *name, unsigned int records)
{
	_cleanup_(spool_reader_free) struct spool_reader *reader = NULL;
	struct window_record record;
	const char *reason = NULL;
	unsigned int i = 0;
	int err = spool_reader_new(&reader, spool, name, &reason);

	if (err)
		return err;
	for (; spool_reader_next(reader, &record) > 0; i++) {
		if (record.count != i + 1 || record.last_us != 1000 + i)
			return -ERANGE;
	}
	return i == records ? 0 : -ERANGE;
}

/* Entries of the folder whose names begin like that. */
static inline unsigned int sample_count_entries(const char *path, const char *prefix)
{
	_cleanup_closedir_ DIR *dir = opendir(path);
	struct dirent *entry;
	unsigned int count = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir)))
		count += !strncmp(entry->d_name, prefix, strlen(prefix));
	return count;
}

static inline void sample_put_file(const char *folder, const char *name, const void *data,
				   size_t size)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

#endif
