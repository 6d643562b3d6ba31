/* SPDX-License-Identifier: MIT */
/*
 * The spool: a folder with one file per window that the database has not confirmed yet. The
 * drainer writes, the shipper reads and removes, each on its own thread; a file appears by
 * rename(2) only when it is whole and on disk. Pure file handling: no libbpf, no libpq.
 *
 * On disk a window is a header, its records and a checksum (spool_format.h), little-endian.
 * Files of another format or with a wrong checksum are put aside under bad/, never deleted.
 * Symbolic links in the folder are not followed.
 *
 * A window's file is <sequence>-<agent>.win. Where too many wait, the shipper merges windows that
 * follow each other into one, <last sequence>-<agent>-<first sequence>.win: the counts of a key
 * added up, nothing but resolution in time given up.
 *
 * Threads: reserve, sequence, the ends and the writers belong to the drainer; oldest, skip, the
 * readers, remove, put_aside and shrink to the shipper; path, agent and stats to anyone.
 */
#ifndef PULLTAP_WINDOW_SPOOL_H
#define PULLTAP_WINDOW_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "window/window.h"

/* Of any file's name, with its NUL. */
#define SPOOL_NAME_BYTES 80

struct spool;
struct spool_writer;
struct spool_reader;

/*
 * Opens (and makes, mode 0700) the folder, removes what an interrupted write left behind and reads
 * or makes the agent's uuid (file "agent") and the highest sequence ever used (file "sequence").
 * When either file is missing a new stream begins: an old uuid without its sequence would hand out
 * numbers that the database has seen, and drop their windows. For the one agent that owns the
 * folder: two at once would remove each other's temporaries.
 * Errors: -errno of the failing call; -EUCLEAN when "agent" or "sequence" hold nonsense.
 */
must_check int spool_new(struct spool **ret, const char *path);
void spool_free(struct spool **spool);

const char *spool_path(const struct spool *spool);
const uint8_t *spool_agent(const struct spool *spool); /* 16 bytes */

/* Highest sequence ever reserved, also counting this agent's files that are waiting. */
uint64_t spool_sequence(const struct spool *spool);
/* Durably notes that sequence was handed out. Sequences below the noted one are ignored. */
must_check int spool_reserve(struct spool *spool, uint64_t sequence);

/*
 * Which was the last window and when it ended, in CLOCK_BOOTTIME: kept until the machine starts
 * anew (it need not be on disk), so that a pause of the agent is known however the clock was set
 * meanwhile. All zero: not known.
 */
struct spool_end {
	uint64_t sequence;
	uint64_t boot_ns;
};
void spool_note_end(struct spool *spool, const uint8_t agent[16], struct spool_end end);
struct spool_end spool_last_end(const struct spool *spool);

/*
 * Writing. begin makes a temporary file; add appends a record; commit writes the header, checksum,
 * fsyncs the file, renames it and fsyncs the folder. free without commit removes the temporary.
 * begin returns -EEXIST when that window (agent, sequence) is in the spool already, safely on disk
 * and by itself, and puts aside what has its name and is no window: the newest window of a stream,
 * the only one that may be drained again, is never merged with others. A failed commit leaves
 * nothing in the spool: the window may be written again. After a failed add every later call
 * returns the same error. -ENOSPC, -EDQUOT, -EROFS and -EIO are to be expected. A record whose
 * lengths exceed the ABI's limits is a programmer's error (assert), as is a header of another
 * window than begin's. Free every writer before its spool.
 */
must_check int spool_writer_new(struct spool_writer **ret, struct spool *spool,
				const uint8_t agent[16], uint64_t sequence);
must_check int spool_writer_add(struct spool_writer *writer, const struct window_record *record);
must_check int spool_writer_commit(struct spool_writer *writer, const struct window_header *header);
void spool_writer_free(struct spool_writer **writer);

/*
 * Reading, oldest first. Copies the name of the oldest whole window into name and returns 1, 0 when
 * there is none, -errno on failure. The same name again until it is removed or put aside.
 * The order is that of names: one stream's windows always come in order; those of several streams
 * (after the state was lost) mix by sequence, which is harmless as the database keeps streams
 * apart. The folder is read once per 1024 names. A window that was handed out once may have
 * reached the database, and is never merged with others.
 */
must_check int spool_oldest(struct spool *spool, char name[SPOOL_NAME_BYTES]);
/* Passes over a damaged file that can't be put aside, so that it does not hold up those behind. */
void spool_skip(struct spool *spool, const char *name);
/*
 * Maps the file and verifies checksum and every length before the first record is handed out.
 * Returns -EBADMSG for a damaged or foreign file and then *ret_reason says why (static text);
 * other errors (-EIO, -ENOENT, -ENOMEM) are not the content's fault.
 */
must_check int spool_reader_new(struct spool_reader **ret, struct spool *spool, const char *name,
				const char **ret_reason);
const struct window_header *spool_reader_header(const struct spool_reader *reader);
size_t spool_reader_count(const struct spool_reader *reader); /* records */
/* 1 and a record whose texts live as long as the reader; 0 at the end. rewind starts over. */
int spool_reader_next(struct spool_reader *reader, struct window_record *ret);
void spool_reader_rewind(struct spool_reader *reader);
void spool_reader_free(struct spool_reader **reader);

/* Durable when it returns 0: of the files that a power cut brings back none was sent but the
 * oldest. After a failure oldest fails until the folder could be synced. */
must_check int spool_remove(struct spool *spool, const char *name);
/*
 * Moves a file to bad/ and writes the reason beside it as <name>.reason; a namesake that is there
 * already stays, the newcomer gets ".2" and so on. When only the reason could not be written the
 * error is returned although the file has moved.
 */
must_check int spool_put_aside(struct spool *spool, const char *name, const char *reason);

struct spool_shrunk {
	uint64_t files; /* that were merged into fewer */
	uint64_t bytes; /* that this freed */
	uint64_t written; /* bytes of the merged ones */
	uint64_t left; /* bytes that wait now */
	bool over; /* more than the limit, and nothing left to merge */
};
/*
 * Merges until the windows that wait take at most three quarters of limit bytes; does nothing
 * before that. Similar sizes first, so that no byte is rewritten more than a few times; windows of
 * one day (UTC) first and their days kept apart; over a change of day, where a key's counts all
 * go to its last day, only while more than limit waits. A failure (-ENOSPC, ...) leaves every
 * window as it was, merged before or not. *stop, set from any thread, ends it with -ECANCELED.
 */
must_check int spool_shrink(struct spool *spool, uint64_t limit, const bool *stop,
			    struct spool_shrunk *ret);

/* What waits, for status: files and bytes, and the number put aside. */
struct spool_stats {
	uint64_t files;
	uint64_t bytes;
	uint64_t bad_files;
};
must_check int spool_stats(struct spool *spool, struct spool_stats *ret);
/* The same for a process that does not own the folder, such as `pulltap status`; only reads. */
must_check int spool_stats_path(const char *path, struct spool_stats *ret);

/* Parses one window image of size bytes without touching a file: what the reader and the fuzzer
 * share. Returns 0 or -EBADMSG with *ret_reason. The reader must be freed before data goes. */
must_check int spool_reader_parse(struct spool_reader **ret, const void *data, size_t size,
				  const char **ret_reason);

#endif
