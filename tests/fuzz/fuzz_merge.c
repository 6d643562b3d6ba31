/* SPDX-License-Identifier: MIT */
/*
 * Windows made of any bytes are merged: the sums of every key stay, and where a part is no window
 * nothing changes. Each key's hash times its count, summed up over all records, stands for the
 * sums of all keys.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "window/spool_folder.h"
#include "window/spool_format.h"

#define PARTS 4
#define US_PER_DAY 86400000000ll

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[] = "/dev/shm/pulltap-fuzz-XXXXXX";
static struct spool *spool;

/* What merging must not change. */
struct sums {
	uint64_t weighed, seen, records;
};

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void end(void)
{
	char command[64];

	spool_free(&spool);
	snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	if (system(command))
		abort();
}

static void begin(void)
{
	if (spool)
		return;
	require(mkdtemp(folder) && !spool_new(&spool, folder));
	atexit(end);
}

static void add(struct sums *sums, struct spool_reader *reader, bool over_days)
{
	uint8_t bytes[SPOOL_RECORD_MAX];
	struct window_record record;

	while (spool_reader_next(reader, &record) > 0) {
		struct window_record key = record;
		size_t n;

		key.count = 0;
		key.last_us = over_days ? 0 : spool_format_day(record.last_us);
		n = spool_format_record(bytes, &key);
		sums->weighed += XXH3_64bits(bytes, n) * record.count;
		sums->records++;
	}
	sums->seen += spool_reader_header(reader)->ledger[LEDGER_seen];
}

/* True when it is a window. */
static bool read_one(const struct spool_span *span, struct sums *sums, bool over_days)
{
	_cleanup_(spool_reader_free) struct spool_reader *reader = NULL;
	char name[SPOOL_NAME_BYTES];
	const char *reason = NULL;

	spool_name_format(name, span);
	if (spool_reader_new(&reader, spool, name, &reason))
		return false;
	add(sums, reader, over_days);
	return true;
}

/* Records as the input has them, or made from it: few keys, so that they meet. */
static size_t make_records(uint8_t *out, const uint8_t *data, size_t size, bool raw,
			   uint64_t *ret_count)
{
	size_t used = 0;

	*ret_count = 0;
	if (raw) {
		memcpy(out, data, size);
		*ret_count = size ? data[0] % 4u : 0;
		return size;
	}
	for (size_t i = 0; i + 4 <= size; i += 4) {
		struct window_record record = {
			.op = (enum pt_op)(1 + data[i] % (PT_OP_COUNT - 1)),
			.registry = {"r", 1},
			.repository = {(const char *)data + i, data[i + 1] % 3},
			.tag = {(const char *)data + i + 1, data[i + 1] % 2},
			.digest = {(const char *)data + i, (uint16_t)(data[i + 1] >> 7)},
			.count = 1ull << data[i + 2] % 64,
			.last_us = (data[i + 3] - 4) * US_PER_DAY / 3,
		};

		used += spool_format_record(out + used, &record);
		++*ret_count;
	}
	return used;
}

static void write_part(const struct spool_span *span, const uint8_t *data, size_t size, bool raw)
{
	struct window_header header = {.sequence = span->last, .merged = 1};
	size_t room = SPOOL_HEADER_BYTES + size * 16 + SPOOL_RECORD_MAX + SPOOL_CHECKSUM_BYTES;
	_cleanup_free_ uint8_t *image = malloc(room);
	char name[SPOOL_NAME_BYTES];
	_cleanup_close_ int fd = -1;
	uint64_t records;
	size_t bytes;

	require(image);
	bytes = make_records(image + SPOOL_HEADER_BYTES, data, size, raw, &records);
	memcpy(header.agent, span->agent, sizeof(header.agent));
	header.ledger[LEDGER_seen] = size;
	spool_format_header(image, &header, records, bytes);
	bytes += SPOOL_HEADER_BYTES + SPOOL_CHECKSUM_BYTES;
	spool_format_checksum(image + bytes - SPOOL_CHECKSUM_BYTES,
			      spool_format_hash(image, bytes));
	spool_name_format(name, span);
	fd = openat(spool->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	require(fd >= 0 && !spool_write_all(fd, image, bytes));
}

static void remove_one(const struct spool_span *span)
{
	char name[SPOOL_NAME_BYTES];

	spool_name_format(name, span);
	(void)unlinkat(spool->fd, name, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct spool_span spans[PARTS] = {0}, whole = {.first = 1, .last = PARTS};
	struct spool_merge merge = {.parts = spans, .count = PARTS};
	struct sums before = {0}, after = {0};
	struct window_header header;
	unsigned int good = 0, kind;
	size_t failed, share;
	int err;

	if (!size)
		return 0;
	begin();
	kind = *data++;
	share = --size / PARTS;
	merge.over_days = kind & 1;
	for (unsigned int i = 0; i < PARTS; i++) {
		spans[i] = (struct spool_span){.first = i + 1, .last = i + 1};
		write_part(&spans[i], data + i * share, share, kind >> 1 & 1u << i);
		good += read_one(&spans[i], &before, merge.over_days);
	}
	err = spool_merge(spool, &merge, &header, &failed);
	require(err == (good == PARTS ? 0 : -EBADMSG));
	if (err)
		require(failed < PARTS);
	for (unsigned int i = 0; i < PARTS; i++)
		require(read_one(&spans[i], &after, merge.over_days) ? err : !err || good < PARTS);
	if (!err)
		require(read_one(&whole, &after, merge.over_days));
	require(after.weighed == before.weighed && after.seen == before.seen &&
		after.records <= before.records);
	for (unsigned int i = 0; i < PARTS; i++)
		remove_one(&spans[i]);
	remove_one(&whole);
	return 0;
}
