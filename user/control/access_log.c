/* SPDX-License-Identifier: MIT */
#include "control/access_log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* A longer line is none of a combined log. */
#define LINE_MAX_BYTES 65536
/* What one look may read, so that a long absence does not hold up the others. */
#define LOOK_BYTES (16u << 20)
/* A renamed file is read on for so long: its writer needs a moment to open the new one. */
#define OLD_FILE_S 60

/* One open file and the beginning of the line that has no end yet. */
struct tail {
	int fd;
	dev_t device;
	ino_t inode;
	uint64_t offset; /* of what was read */
	size_t length;
	bool skip; /* the rest of a line that was too long */
	char line[LINE_MAX_BYTES];
};

struct access_log {
	const char *path;
	struct tail current;
	struct tail old; /* renamed; fd -1: none */
	time_t old_until_s;
	uint64_t foreign;
};

static time_t monotonic_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

int access_log_new(struct access_log **ret, const char *path)
{
	struct access_log *log = calloc(1, sizeof(*log));

	if (!log)
		return -ENOMEM;
	log->path = path;
	log->current.fd = log->old.fd = -1;
	*ret = log;
	return 0;
}

static void tail_close(struct tail *tail)
{
	if (tail->fd >= 0)
		close(tail->fd);
	tail->fd = -1;
}

void access_log_free(struct access_log **log)
{
	if (!*log)
		return;
	tail_close(&(*log)->current);
	tail_close(&(*log)->old);
	free(*log);
	*log = NULL;
}

static int tail_open(struct tail *tail, const char *path, uint64_t offset)
{
	struct stat st;
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0 || fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (offset != UINT64_MAX && offset > (uint64_t)st.st_size)
		return -ESTALE;
	tail_close(tail);
	tail->fd = TAKE_FD(fd);
	tail->device = st.st_dev;
	tail->inode = st.st_ino;
	tail->offset = offset == UINT64_MAX ? (uint64_t)st.st_size : offset;
	tail->length = 0;
	/* at the end of a file that is being written: its last line may be half there */
	tail->skip = false;
	return 0;
}

/* The end of the last whole line, so that the first one that is read is whole. */
static int back_to_line(struct tail *tail)
{
	char buffer[4096];

	while (tail->offset) {
		size_t want = tail->offset < sizeof(buffer) ? tail->offset : sizeof(buffer);
		ssize_t n = pread(tail->fd, buffer, want, (off_t)(tail->offset - want));
		const char *newline;

		if (n != (ssize_t)want)
			return n < 0 ? -errno : -ESTALE;
		newline = memrchr(buffer, '\n', want);
		tail->offset -= newline ? want - (size_t)(newline + 1 - buffer) : want;
		if (newline)
			return 0;
	}
	return 0;
}

int access_log_seek_end(struct access_log *log)
{
	return tail_open(&log->current, log->path, UINT64_MAX) ?: back_to_line(&log->current);
}

/* The file of that inode in the log's folder: renamed while nobody looked. */
static int open_renamed(struct access_log *log, const struct access_log_place *place)
{
	char folder[PATH_MAX], path[PATH_MAX + NAME_MAX + 2];
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	struct stat st;

	snprintf(folder, sizeof(folder), "%s", log->path);
	dir = opendir(dirname(folder));
	while (dir && (entry = readdir(dir))) {
		if (entry->d_ino != place->inode || fstatat(dirfd(dir), entry->d_name, &st, 0) ||
		    st.st_dev != place->device)
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		log->old_until_s = monotonic_s() + OLD_FILE_S;
		return tail_open(&log->old, path, place->offset);
	}
	return -ESTALE;
}

int access_log_seek(struct access_log *log, const struct access_log_place *place)
{
	struct stat st;

	if (stat(log->path, &st))
		return -errno;
	if (st.st_ino == place->inode && st.st_dev == place->device)
		return tail_open(&log->current, log->path, place->offset);
	return open_renamed(log, place) ?: tail_open(&log->current, log->path, 0);
}

static void take_line(struct access_log *log, struct tail *tail, const char *line, size_t length,
		      uint64_t *count)
{
	int rc = tail->skip ? -1 : access_log_line(line, length);

	tail->skip = false;
	if (rc > 0)
		++*count;
	else if (rc < 0)
		log->foreign++;
}

/* The lines of a piece that was read; keeps the beginning of the last one. */
static void take_piece(struct access_log *log, struct tail *tail, const char *piece, size_t size,
		       uint64_t *count)
{
	while (size) {
		const char *newline = memchr(piece, '\n', size);
		size_t length = newline ? (size_t)(newline - piece) : size;

		if (tail->length + length > sizeof(tail->line)) {
			tail->skip = true;
			tail->length = 0;
		} else if (!newline || tail->length) {
			memcpy(tail->line + tail->length, piece, length);
			tail->length += length;
		}
		if (!newline)
			return;
		if (tail->length)
			take_line(log, tail, tail->line, tail->length, count);
		else
			take_line(log, tail, piece, length, count);
		tail->length = 0;
		piece += length + 1;
		size -= length + 1;
	}
}

static int read_tail(struct access_log *log, struct tail *tail, uint64_t *count, size_t *budget)
{
	char buffer[65536];

	while (tail->fd >= 0 && *budget) {
		ssize_t n = pread(tail->fd, buffer, sizeof(buffer), (off_t)tail->offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		take_piece(log, tail, buffer, (size_t)n, count);
		tail->offset += (uint64_t)n;
		*budget -= (size_t)n < *budget ? (size_t)n : *budget;
	}
	return 0;
}

/* At the end of the current file: was it renamed, truncated, or is it just quiet? */
static int follow_rotation(struct access_log *log)
{
	struct tail *current = &log->current;
	struct stat st;

	if (current->fd >= 0 && !fstat(current->fd, &st) &&
	    (uint64_t)st.st_size < current->offset) {
		current->offset = 0;
		current->length = 0;
		current->skip = false;
	}
	if (stat(log->path, &st))
		return current->fd >= 0 && errno == ENOENT ? 0 : -errno;
	if (current->fd >= 0 && st.st_ino == current->inode && st.st_dev == current->device)
		return 0;
	tail_close(&log->old);
	log->old = *current;
	log->old_until_s = monotonic_s() + OLD_FILE_S;
	current->fd = -1;
	return tail_open(current, log->path, 0);
}

int access_log_read(struct access_log *log, uint64_t *count, bool *ret_more)
{
	size_t budget = LOOK_BYTES;
	int rc = read_tail(log, &log->old, count, &budget);

	rc = rc ?: read_tail(log, &log->current, count, &budget);
	if (!rc && budget) {
		rc = follow_rotation(log);
		rc = rc ?: read_tail(log, &log->current, count, &budget);
	}
	if (budget && log->old.fd >= 0 && monotonic_s() > log->old_until_s)
		tail_close(&log->old);
	*ret_more = !budget;
	return rc;
}

struct access_log_place access_log_place(const struct access_log *log)
{
	const struct tail *tail = &log->current;

	return (struct access_log_place){tail->device, tail->inode, tail->offset - tail->length};
}

uint64_t access_log_foreign(const struct access_log *log)
{
	return log->foreign;
}
