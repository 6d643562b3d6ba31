/* SPDX-License-Identifier: MIT */
/*
 * The shipper's end of the spool: which window is next, and where it goes afterwards. A window is
 * gone only when its folder was synced: one that comes back after a power cut is dropped by the
 * ledger, but only while it stands by itself. Merged with later ones it would be counted again.
 */
#include "window/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "window/spool_folder.h"

/* Attempts to find a free name in bad/. */
#define BAD_NAMESAKES 1000

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

/*
 * Fills the batch with the folder's oldest names. Twice the batch is collected, then sorted and
 * halved, so memory is fixed and each name costs a constant share of a sort.
 */
static int scan(struct spool *spool)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct spool_span span;
	const char *name;
	size_t count = 0;
	int err;

	spool->batch_next = 0;
	spool->batch_count = 0;
	if (!spool->batch)
		spool->batch = calloc(2 * SPOOL_BATCH, sizeof(*spool->batch));
	if (!spool->batch)
		return -ENOMEM;
	err = spool_scan_open(spool->fd, &dir);
	if (err)
		return err;
	while ((name = spool_scan_next(dir, &err))) {
		if (!spool_name_parse(name, &span))
			continue;
		if (count == 2 * SPOOL_BATCH) {
			qsort(spool->batch, count, sizeof(*spool->batch), by_name);
			count = SPOOL_BATCH;
		}
		strcpy(spool->batch[count++], name);
	}
	if (err)
		return err;
	qsort(spool->batch, count, sizeof(*spool->batch), by_name);
	spool->batch_count = count < SPOOL_BATCH ? count : SPOOL_BATCH;
	return 0;
}

/* From now on the stream's windows up to this one may be in the database. */
static int note_handed(struct spool *spool, const char *name)
{
	struct spool_span span;

	if (!spool_name_parse(name, &span))
		return -EINVAL;
	for (size_t i = 0; i < spool->handed.count; i++) {
		struct spool_span *known = &spool->handed.items[i];

		if (memcmp(known->agent, span.agent, sizeof(span.agent)))
			continue;
		if (known->last < span.last)
			known->last = span.last;
		return 0;
	}
	return spool_spans_add(&spool->handed, &span);
}

static int sync_removed(struct spool *spool)
{
	int err = spool_sync_folder(spool->fd);

	spool->unsynced = err != 0;
	return err;
}

int spool_oldest(struct spool *spool, char name[SPOOL_NAME_BYTES])
{
	bool scanned = false;
	int err = spool->unsynced ? sync_removed(spool) : 0;

	if (err)
		return err;
	for (;;) {
		for (; spool->batch_next < spool->batch_count; spool->batch_next++) {
			const char *next = spool->batch[spool->batch_next];

			/* Gone when someone else removed it. */
			if (!faccessat(spool->fd, next, F_OK, AT_SYMLINK_NOFOLLOW)) {
				err = note_handed(spool, next);
				strcpy(name, next);
				return err ? err : 1;
			}
			if (errno != ENOENT)
				return -errno;
		}
		if (scanned)
			return 0;
		err = spool_drop_merged(spool);
		if (!err)
			err = scan(spool);
		if (err)
			return err;
		scanned = true;
	}
}

void spool_skip(struct spool *spool, const char *name)
{
	if (spool->batch_next < spool->batch_count &&
	    !strcmp(spool->batch[spool->batch_next], name))
		spool->batch_next++;
}

int spool_remove(struct spool *spool, const char *name)
{
	if (strchr(name, '/'))
		return -EINVAL;
	if (unlinkat(spool->fd, name, 0))
		return -errno;
	return sync_removed(spool);
}

/* The longest name with the largest number of a namesake. */
#define ASIDE_BYTES (SPOOL_NAME_BYTES + 8)
#define REASON_BYTES (ASIDE_BYTES + 8)

static void reason_name(char ret[REASON_BYTES], const char *name)
{
	snprintf(ret, REASON_BYTES, "%.*s.reason", ASIDE_BYTES, name);
}

static int write_reason(int bad, const char *name, const char *reason)
{
	char file[REASON_BYTES];
	_cleanup_close_ int fd = -1;
	int err;

	reason_name(file, name);
	fd = openat(bad, file, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	err = spool_write_all(fd, reason, strlen(reason));
	if (!err)
		err = spool_write_all(fd, "\n", 1);
	return err;
}

static void remove_reason(int bad, const char *name)
{
	char file[REASON_BYTES];

	reason_name(file, name);
	(void)unlinkat(bad, file, 0);
}

/* A name in bad/ that neither a file nor a reason has. */
static int free_name(int bad, const char *name, char ret[ASIDE_BYTES])
{
	for (unsigned int i = 1; i <= BAD_NAMESAKES; i++) {
		char reason[REASON_BYTES];

		if (i == 1)
			snprintf(ret, ASIDE_BYTES, "%s", name);
		else
			snprintf(ret, ASIDE_BYTES, "%s.%u", name, i);
		reason_name(reason, ret);
		if (faccessat(bad, ret, F_OK, AT_SYMLINK_NOFOLLOW) &&
		    faccessat(bad, reason, F_OK, AT_SYMLINK_NOFOLLOW))
			return 0;
	}
	return -EEXIST;
}

int spool_put_aside(struct spool *spool, const char *name, const char *reason)
{
	char aside[ASIDE_BYTES];
	_cleanup_close_ int bad = -1;
	int err;

	if (strchr(name, '/') || strlen(name) >= SPOOL_NAME_BYTES)
		return -EINVAL;
	if (mkdirat(spool->fd, SPOOL_BAD, 0700) && errno != EEXIST)
		return -errno;
	bad = spool_open_folder(spool->fd, SPOOL_BAD);
	if (bad < 0)
		return bad;
	err = free_name(bad, name, aside);
	if (err)
		return err;
	/* first, so that no death leaves a file without one; without room for it the file goes */
	err = write_reason(bad, aside, reason);
	if (renameat(spool->fd, name, bad, aside)) {
		err = -errno;
		remove_reason(bad, aside);
		return err;
	}
	/* Both folders: a window that comes back is put aside again, one in neither is lost. */
	if (!err)
		err = spool_sync_folder(bad);
	return err ? err : spool_sync_folder(spool->fd);
}

static int count_folder(int folder, bool bad, struct spool_stats *stats)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct spool_span span;
	const char *name;
	int err = spool_scan_open(folder, &dir);

	if (err)
		return err;
	while ((name = spool_scan_next(dir, &err))) {
		size_t length = strlen(name);
		struct stat st;

		if (bad) {
			bool is_reason = length > 7 && !strcmp(name + length - 7, ".reason");

			stats->bad_files += name[0] != '.' && !is_reason;
		} else if (spool_name_parse(name, &span) &&
			   !fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW)) {
			stats->files++;
			stats->bytes += (uint64_t)st.st_size;
		}
	}
	return err;
}

static int count_spool(int folder, struct spool_stats *ret)
{
	struct spool_stats stats = {0};
	_cleanup_close_ int bad = -1;
	int err = count_folder(folder, false, &stats);

	if (err)
		return err;
	bad = spool_open_folder(folder, SPOOL_BAD);
	/* what is in its place and no folder holds no windows */
	if (bad < 0 && bad != -ENOENT && bad != -ENOTDIR && bad != -ELOOP)
		return bad;
	if (bad >= 0) {
		err = count_folder(bad, true, &stats);
		if (err)
			return err;
	}
	*ret = stats;
	return 0;
}

int spool_stats(struct spool *spool, struct spool_stats *ret)
{
	return count_spool(spool->fd, ret);
}

int spool_stats_path(const char *path, struct spool_stats *ret)
{
	_cleanup_close_ int fd = spool_open_folder(AT_FDCWD, path);

	return fd < 0 ? fd : count_spool(fd, ret);
}
