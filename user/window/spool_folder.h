/* SPDX-License-Identifier: MIT */
/*
 * What the spool's own files share; nobody else includes this. `sequence` belongs to the drainer's
 * thread, `temporaries` to both, what stands behind it to the shipper's; the rest never changes
 * after spool_new().
 */
#ifndef PULLTAP_WINDOW_SPOOL_FOLDER_H
#define PULLTAP_WINDOW_SPOOL_FOLDER_H

#include "window/spool.h"

#define SPOOL_TEMPORARY "tmp-"
#define SPOOL_BAD "bad"

/*
 * How many names one scan of the folder keeps. Ten thousand files that wait mean ten scans, and
 * the names never take more than 160 KiB (twice this; see scan()).
 */
#define SPOOL_BATCH 1024

/* What a file's name says: all windows of a stream from first to last; normally just one. */
struct spool_span {
	uint8_t agent[16];
	uint64_t first, last;
};

struct spool_spans {
	struct spool_span *items;
	size_t count, capacity;
};

struct spool {
	int fd;
	char *path;
	uint8_t agent[16];
	uint64_t sequence;
	uint64_t temporaries;
	char (*batch)[SPOOL_NAME_BYTES]; /* oldest names of the last scan, in order */
	size_t batch_next;
	size_t batch_count;
	struct spool_spans handed; /* per stream: from first on, windows that were handed out */
	bool unsynced; /* a name may come back that was removed */
};

/* <last, 20 digits>-<agent, 32 hex digits>.win, with -<first, 20 digits> before the dot if less. */
void spool_name_format(char name[SPOOL_NAME_BYTES], const struct spool_span *span);
must_check bool spool_name_parse(const char *name, struct spool_span *ret);
/* The windows that a file with this header holds. */
struct spool_span spool_span_of(const struct window_header *header);

must_check int spool_open_folder(int parent, const char *name);
/* folder may be an O_PATH descriptor. */
must_check int spool_sync_folder(int folder);
/* Reads a folder from its start, at a position of its own. */
must_check int spool_scan_open(int folder, DIR **ret);
/* One name, NULL at the end and on failure; *ret_err tells them apart. */
const char *spool_scan_next(DIR *dir, int *ret_err);

/* Makes a temporary that nobody else has; name receives its name. Returns the descriptor. */
must_check int spool_temporary(struct spool *spool, char name[SPOOL_NAME_BYTES]);
must_check int spool_write_all(int fd, const void *data, size_t size);
/*
 * fsync, close, rename, fsync of the folder. The temporary is gone in any case; after a failure
 * name may or may not be there, as it may or may not survive a power cut.
 */
must_check int spool_publish(struct spool *spool, int fd, const char *temporary, const char *name);

/* spool_writer_new() without a look at what is there. */
must_check int spool_writer_open(struct spool_writer **ret, struct spool *spool,
				 const uint8_t agent[16], uint64_t sequence);

/* A window's header as it stands there, nothing verified, and its file's size. */
must_check int spool_peek(struct spool *spool, const struct spool_span *span,
			  struct window_header *ret, uint64_t *ret_bytes);

must_check int spool_spans_add(struct spool_spans *spans, const struct spool_span *span);
void spool_spans_free(struct spool_spans *spans);
/* Is it a window from its first byte to its last? Also false when it can't be read. */
must_check bool spool_is_whole(struct spool *spool, const struct spool_span *span);
/* Every window file of the folder by its name, by stream and then in order. */
must_check int spool_spans_list(const struct spool *spool, struct spool_spans *ret);
/*
 * Ends what a crash between the rename of a merged window and the removal of its parts left: a file
 * that is wholly inside another's range goes, if that other one is whole.
 */
must_check int spool_drop_merged(struct spool *spool);

/* Parts of one stream that follow each other, given in order, become one file. 0 or -errno. */
struct spool_merge {
	const struct spool_span *parts;
	size_t count;
	bool over_days; /* also adds up what lies on different days */
	const bool *stop;
};
must_check int spool_merge(struct spool *spool, const struct spool_merge *merge,
			   struct window_header *ret_header, size_t *ret_failed);

#endif
