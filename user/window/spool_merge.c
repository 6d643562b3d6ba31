/* SPDX-License-Identifier: MIT */
/*
 * Several windows become one. Only an index of all records is in memory, 16 bytes each while it is
 * sorted; the records themselves stay in the mapped files. The new file is whole and on disk
 * before the first part goes; whatever fails before leaves the parts as they were. Shipper's
 * thread.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "window/spool_folder.h"
#include "window/spool_format.h"

/* A count is summed up to here and then goes on in a record of its own: nothing may wrap. */
#define COUNT_MAX (1ull << 40)
/* Records between two looks at *stop. */
#define STOP_EVERY 4096

struct merging {
	const struct spool_merge *merge;
	struct spool_reader **readers;
	const uint8_t **index; /* every record of every part */
	size_t records;
	struct window_header header;
};

static void merging_end(struct merging *m)
{
	for (size_t i = 0; m->readers && i < m->merge->count; i++)
		spool_reader_free(&m->readers[i]);
	free(m->readers);
	free(m->index);
}

static bool stopped(const struct merging *m, size_t step)
{
	return step % STOP_EVERY == 0 && m->merge->stop &&
	       __atomic_load_n(m->merge->stop, __ATOMIC_RELAXED);
}

static uint64_t add_up_to_max(uint64_t a, uint64_t b)
{
	uint64_t sum;

	return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

/* The parts' span as one window; times by minimum and maximum, as a clock may have been set. */
static void add_header(struct window_header *sum, const struct window_header *part)
{
	if (!sum->merged) {
		*sum = *part;
		return;
	}
	assert(sum->sequence + part->merged == part->sequence);
	sum->sequence = part->sequence;
	sum->merged += part->merged;
	if (part->start_us < sum->start_us)
		sum->start_us = part->start_us;
	if (part->end_us > sum->end_us)
		sum->end_us = part->end_us;
	for (unsigned int i = 0; i < LEDGER_COUNT; i++)
		sum->ledger[i] = add_up_to_max(sum->ledger[i], part->ledger[i]);
}

/* Opens, and so verifies, every part. *ret_failed is the one that is no good. */
static int open_parts(struct merging *m, struct spool *spool, size_t *ret_failed)
{
	size_t count = m->merge->count;

	m->readers = calloc(count, sizeof(struct spool_reader *));
	if (!m->readers)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		char name[SPOOL_NAME_BYTES];
		const char *reason;
		int err;

		spool_name_format(name, &m->merge->parts[i]);
		err = spool_reader_new(&m->readers[i], spool, name, &reason);
		if (err) {
			*ret_failed = i;
			return err;
		}
		m->records += spool_reader_count(m->readers[i]);
		add_header(&m->header, spool_reader_header(m->readers[i]));
	}
	return 0;
}

static int make_index(struct merging *m)
{
	struct window_record record;
	size_t n = 0;

	m->index = malloc((m->records + 1) * sizeof(*m->index));
	if (!m->index)
		return -ENOMEM;
	for (size_t i = 0; i < m->merge->count; i++) {
		while (spool_reader_next(m->readers[i], &record) > 0) {
			m->index[n++] = (const uint8_t *)record.registry.data - SPOOL_RECORD_FIXED;
			if (stopped(m, n))
				return -ECANCELED;
		}
	}
	assert(n == m->records);
	return 0;
}

/* Any order will do that puts equal keys side by side. */
static int by_key(const void *a, const void *b, void *context)
{
	const uint8_t *x = *(const uint8_t *const *)a, *y = *(const uint8_t *const *)b;
	const struct merging *m = context;
	int order = spool_format_compare(x, y);

	if (!order && !m->merge->over_days)
		order = spool_format_compare_day(x, y);
	return order;
}

/* Zero and the absurd are left for the store to refuse, each by itself. */
static bool can_add(const struct window_record *sum, const struct window_record *record)
{
	return sum->count && record->count && sum->count <= COUNT_MAX &&
	       record->count <= COUNT_MAX - sum->count;
}

static int write_sums(struct merging *m, struct spool_writer *writer)
{
	struct window_record sum, record;
	int err = 0;

	for (size_t i = 0; !err && i < m->records; i++) {
		if (stopped(m, i))
			return -ECANCELED;
		spool_format_record_at(m->index[i], &record);
		if (i && !by_key(&m->index[i - 1], &m->index[i], m) && can_add(&sum, &record)) {
			sum.count += record.count;
			if (record.last_us > sum.last_us)
				sum.last_us = record.last_us;
			continue;
		}
		if (i)
			err = spool_writer_add(writer, &sum);
		sum = record;
	}
	if (!err && m->records)
		err = spool_writer_add(writer, &sum);
	return err;
}

/* Parts that stay because of a failure are inside the merged window's span: they go later. */
static void remove_parts(struct spool *spool, const struct spool_merge *merge)
{
	char name[SPOOL_NAME_BYTES];

	for (size_t i = 0; i < merge->count; i++) {
		spool_name_format(name, &merge->parts[i]);
		(void)unlinkat(spool->fd, name, 0);
	}
}

int spool_merge(struct spool *spool, const struct spool_merge *merge,
		struct window_header *ret_header, size_t *ret_failed)
{
	_cleanup_(merging_end) struct merging m = {.merge = merge};
	_cleanup_(spool_writer_free) struct spool_writer *writer = NULL;
	int err;

	*ret_failed = merge->count;
	err = open_parts(&m, spool, ret_failed);
	if (!err)
		err = make_index(&m);
	if (err)
		return err;
	qsort_r(m.index, m.records, sizeof(*m.index), by_key, &m);
	err = spool_writer_open(&writer, spool, m.header.agent, m.header.sequence);
	if (!err)
		err = write_sums(&m, writer);
	if (!err)
		err = spool_writer_commit(writer, &m.header);
	if (err) {
		/* perhaps it was there and comes back: no part may be sent before that is sure */
		spool->unsynced = true;
		return err;
	}
	remove_parts(spool, merge);
	*ret_header = m.header;
	return 0;
}
