/* SPDX-License-Identifier: MIT */
/* What a spool holds added up, and windows with a few keys, for tests of merging. */
#ifndef PULLTAP_TESTS_UNIT_WINDOW_SPOOL_BOOKS_H
#define PULLTAP_TESTS_UNIT_WINDOW_SPOOL_BOOKS_H

#include "window/spool_sample.h"

#define BOOKS_KEYS 4096
#define BOOKS_DAYS 8
#define BOOKS_DAY_US 86400000000ll
/* Windows of these tests are this long. */
#define BOOKS_WINDOW_US 10000000ll

struct books {
	uint64_t count[BOOKS_KEYS];
	uint64_t day[BOOKS_DAYS];
	int64_t last_us[BOOKS_KEYS];
	uint64_t seen, windows, records, files;
};

static inline void books_add(struct books *books, unsigned int key, uint64_t count, int64_t last_us)
{
	books->count[key] += count;
	books->day[last_us / BOOKS_DAY_US] += count;
	if (last_us > books->last_us[key])
		books->last_us[key] = last_us;
	books->records++;
}

/* Window number sequence: keys [from, from + keys), counts that depend on both; also into books. */
static inline int books_write_at(struct spool *spool, const uint8_t agent[16], uint64_t sequence,
				 int64_t start_us, unsigned int from, unsigned int keys,
				 struct books *books)
{
	_cleanup_(spool_writer_free) struct spool_writer *writer = NULL;
	struct window_header header = {.sequence = sequence,
				       .merged = 1,
				       .start_us = start_us,
				       .end_us = start_us + BOOKS_WINDOW_US};
	int err = spool_writer_new(&writer, spool, agent, sequence);

	for (unsigned int i = from; !err && i < from + keys; i++) {
		struct window_record record = {.op = PT_OP_GET,
					       .registry = {"hub", 3},
					       .repository = {"library/something", 17},
					       .count = sequence % 7 + i % 5 + 1,
					       .last_us = start_us + i};
		char tag[16];

		record.tag.data = tag;
		record.tag.length = (uint16_t)snprintf(tag, sizeof(tag), "tag-%05u", i);
		header.ledger[LEDGER_seen] += record.count;
		err = spool_writer_add(writer, &record);
		if (!err && books)
			books_add(books, i, record.count, record.last_us);
	}
	memcpy(header.agent, agent, sizeof(header.agent));
	if (books) {
		books->seen += header.ledger[LEDGER_seen];
		books->windows++;
		books->files++;
	}
	return err ? err : spool_writer_commit(writer, &header);
}

static inline int books_write(struct spool *spool, uint64_t sequence, unsigned int keys,
			      struct books *books)
{
	return books_write_at(spool, spool_agent(spool), sequence,
			      (int64_t)sequence * BOOKS_WINDOW_US, 0, keys, books);
}

static inline void books_read(struct books *books, struct spool_reader *reader)
{
	const struct window_header *header = spool_reader_header(reader);
	struct window_record record;

	while (spool_reader_next(reader, &record) > 0) {
		char number[6] = "";

		memcpy(number, record.tag.data + 4, 5);
		assert_true(record.last_us >= header->start_us && record.last_us <= header->end_us);
		books_add(books, (unsigned int)strtoul(number, NULL, 10), record.count,
			  record.last_us);
	}
	books->seen += header->ledger[LEDGER_seen];
	books->windows += header->merged;
	books->files++;
}

/* Takes all that waits, in order, as the shipper would. */
static inline void books_take(struct spool *spool, struct books *books)
{
	char name[SPOOL_NAME_BYTES];

	while (spool_oldest(spool, name) == 1) {
		_cleanup_(spool_reader_free) struct spool_reader *reader = NULL;
		const char *reason = NULL;

		assert_int_equal(spool_reader_new(&reader, spool, name, &reason), 0);
		books_read(books, reader);
		assert_int_equal(spool_remove(spool, name), 0);
	}
}

static inline void books_assert_equal(const struct books *a, const struct books *b)
{
	assert_memory_equal(a->count, b->count, sizeof(a->count));
	assert_memory_equal(a->last_us, b->last_us, sizeof(a->last_us));
	assert_int_equal(a->seen, b->seen);
	assert_int_equal(a->windows, b->windows);
}

#endif
