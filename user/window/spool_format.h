/* SPDX-License-Identifier: MIT */
/*
 * The bytes of a spool file. Pure: memory in, memory out, no allocation, any thread.
 *
 *   offset  size  little-endian
 *        0     8  "PTWINDOW"
 *        8     4  format version
 *       12     4  size of this header, ledger included
 *       16    16  agent
 *       32     8  sequence, from 1
 *       40     8  start, microseconds since the epoch
 *       48     8  end
 *       56     8  number of records
 *       64     8  bytes of all records
 *       72     4  merged
 *       76     4  number of ledger counters
 *       80     8  pause before it in microseconds, -1 unknown (not in version 1)
 *       88     8  sequence of the window before it, 0 unknown (as well)
 *       96   8*n  ledger
 *    ...          records: op 1, lengths of registry, repository, tag and digest 2 each,
 *                 count 8, last_us 8, then the four texts
 *   last     8    XXH3-64 of the header, seeded with the XXH3-64 of all records
 *
 * The records are hashed first because the header is only known when all of them are written.
 * A file of an older agent has fewer counters (the others read as 0); one of a newer agent may
 * have more, or operations unknown here, and is refused: what it holds can't be told apart.
 */
#ifndef PULLTAP_WINDOW_SPOOL_FORMAT_H
#define PULLTAP_WINDOW_SPOOL_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "window/window.h"

#define SPOOL_FORMAT_VERSION 2
#define SPOOL_HEADER_FIXED 96
#define SPOOL_HEADER_BYTES (SPOOL_HEADER_FIXED + 8 * LEDGER_COUNT)
#define SPOOL_RECORD_FIXED 25
#define SPOOL_CHECKSUM_BYTES 8
#define SPOOL_REGISTRY_MAX (sizeof(((struct pt_registry *)0)->name) - 1)
#define SPOOL_RECORD_MAX                                                                           \
	(SPOOL_RECORD_FIXED + SPOOL_REGISTRY_MAX + PT_REPOSITORY_MAX + PT_TAG_MAX + PT_DIGEST_MAX)

void spool_format_header(uint8_t out[SPOOL_HEADER_BYTES], const struct window_header *header,
			 uint64_t records, uint64_t record_bytes);
/* Returns the bytes written, at most SPOOL_RECORD_MAX. The record must be within the limits. */
size_t spool_format_record(uint8_t out[SPOOL_RECORD_MAX], const struct window_record *record);
/* The file's checksum from the hash of its records and its header. */
uint64_t spool_format_seal(uint64_t records_hash, const void *header, size_t header_bytes);
void spool_format_checksum(uint8_t out[SPOOL_CHECKSUM_BYTES], uint64_t hash);

/* A whole file's bytes after every length in it was verified. Points into the bytes given. */
struct spool_image {
	struct window_header header;
	size_t count;
	const uint8_t *records;
	const uint8_t *records_end;
};

/* What a header of either version says, ledger aside, whether it is one or not. */
void spool_format_peek(const uint8_t data[SPOOL_HEADER_FIXED], struct window_header *ret);

/* 0, or -EBADMSG with *ret_reason (static text) for any bytes that no commit could have left. */
must_check int spool_format_parse(struct spool_image *ret, const void *data, size_t size,
				  const char **ret_reason);
/*
 * Reads the record at *cursor and moves it on. 1; 0 at the end; -EBADMSG when it is damaged, which
 * can't happen for an image that spool_format_parse() accepted.
 */
int spool_format_next(const struct spool_image *image, const uint8_t **cursor,
		      struct window_record *ret);

/*
 * For records at places of an accepted image: what is there; an order of their keys, whatever it
 * is, and of the days (UTC) of their last_us.
 */
void spool_format_record_at(const uint8_t *at, struct window_record *ret);
int spool_format_compare(const uint8_t *a, const uint8_t *b);
int spool_format_compare_day(const uint8_t *a, const uint8_t *b);
/* Days since 1970-01-01 of a time that may be before that. */
int64_t spool_format_day(int64_t unix_us);

/* The hash a file of these bytes must end with; 0 when they are too few. For tests and fuzzers. */
uint64_t spool_format_hash(const void *data, size_t size);

#endif
