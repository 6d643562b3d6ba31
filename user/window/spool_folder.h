/* SPDX-License-Identifier: MIT */
/*
 * What the spool's own files share; nobody else includes this. `sequence` and `temporaries` belong
 * to the drainer's thread, `batch` to the shipper's; the rest never changes after spool_new().
 */
#ifndef PULLTAP_WINDOW_SPOOL_FOLDER_H
#define PULLTAP_WINDOW_SPOOL_FOLDER_H

#include "window/spool.h"

#define SPOOL_NAME_BYTES 64
#define SPOOL_TEMPORARY "tmp-"
#define SPOOL_BAD "bad"

/*
 * How many names one scan of the folder keeps. Ten thousand files that wait mean ten scans, and
 * the names never take more than 128 KiB (twice this; see scan()).
 */
#define SPOOL_BATCH 1024

struct spool {
	int fd;
	char *path;
	uint8_t agent[16];
	uint64_t sequence;
	uint64_t temporaries;
	char (*batch)[SPOOL_NAME_BYTES]; /* oldest names of the last scan, in order */
	size_t batch_next;
	size_t batch_count;
};

/* <sequence, 20 digits>-<agent, 32 hex digits>.win */
void spool_name_format(char name[SPOOL_NAME_BYTES], const uint8_t agent[16], uint64_t sequence);
must_check bool spool_name_parse(const char *name, uint8_t ret_agent[16], uint64_t *ret_sequence);

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

#endif
