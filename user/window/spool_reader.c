/* SPDX-License-Identifier: MIT */
/*
 * Reads one window: a mapped file or plain memory, verified as a whole before the first record is
 * handed out. Files are treated as hostile: any bytes, any kind of file.
 */
#include "window/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "window/spool_folder.h"
#include "window/spool_format.h"

/* A million of the longest records is less than half of it. */
#define FILE_MAX (1ull << 31)

struct spool_reader {
	struct spool_image image;
	const uint8_t *cursor;
	void *map;
	size_t map_size;
};

int spool_reader_parse(struct spool_reader **ret, const void *data, size_t size,
		       const char **ret_reason)
{
	_cleanup_(spool_reader_free) struct spool_reader *reader = NULL;
	int err;

	reader = calloc(1, sizeof(*reader));
	if (!reader)
		return -ENOMEM;
	err = spool_format_parse(&reader->image, data, size, ret_reason);
	if (err)
		return err;
	reader->cursor = reader->image.records;
	*ret = TAKE_PTR(reader);
	return 0;
}

static int open_window(struct spool *spool, const char *name, size_t *ret_size,
		       const char **ret_reason)
{
	/* O_NONBLOCK: opening a fifo must not wait for its other end. */
	_cleanup_close_ int fd =
		openat(spool->fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0 && errno != ELOOP && errno != ENXIO)
		return -errno;
	if (fd >= 0 && fstat(fd, &st))
		return -errno;
	if (fd < 0 || !S_ISREG(st.st_mode)) {
		*ret_reason = "not a regular file";
		return -EBADMSG;
	}
	*ret_size = (size_t)st.st_size;
	return TAKE_FD(fd);
}

int spool_peek(struct spool *spool, const struct spool_span *span, struct window_header *ret,
	       uint64_t *ret_bytes)
{
	uint8_t data[SPOOL_HEADER_FIXED];
	char name[SPOOL_NAME_BYTES];
	const char *reason;
	size_t size = 0;
	_cleanup_close_ int fd = -1;
	ssize_t n;

	spool_name_format(name, span);
	fd = open_window(spool, name, &size, &reason);
	if (fd < 0)
		return fd;
	*ret_bytes = size;
	n = pread(fd, data, sizeof(data), 0);
	if (n < 0)
		return -errno;
	if ((size_t)n < sizeof(data))
		return -EBADMSG;
	spool_format_peek(data, ret);
	return 0;
}

/*
 * Reads the file and forgets it. A bad sector is an error here; met first in the mapping it would
 * be a SIGBUS, at every start of the agent again.
 */
static int check_readable(int fd)
{
	char buffer[16384];
	ssize_t n;

	do {
		n = read(fd, buffer, sizeof(buffer));
	} while (n > 0 || (n < 0 && errno == EINTR));
	return n < 0 ? -errno : 0;
}

static bool name_agrees(const char *name, const struct window_header *header)
{
	char expected[SPOOL_NAME_BYTES];
	struct spool_span span = spool_span_of(header);

	spool_name_format(expected, &span);
	return !strcmp(name, expected);
}

int spool_reader_new(struct spool_reader **ret, struct spool *spool, const char *name,
		     const char **ret_reason)
{
	_cleanup_(spool_reader_free) struct spool_reader *reader = NULL;
	_cleanup_close_ int fd = -1;
	size_t size = 0;
	void *map;
	int err;

	if (strchr(name, '/'))
		return -EINVAL;
	fd = open_window(spool, name, &size, ret_reason);
	if (fd < 0)
		return fd;
	if (!size || size > FILE_MAX) {
		*ret_reason = size ? "larger than any window" : "empty";
		return -EBADMSG;
	}
	err = check_readable(fd);
	if (err)
		return err;
	map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	err = spool_reader_parse(&reader, map, size, ret_reason);
	if (err) {
		munmap(map, size);
		return err;
	}
	reader->map = map;
	reader->map_size = size;
	if (!name_agrees(name, &reader->image.header)) {
		*ret_reason = "the name is another window's";
		return -EBADMSG;
	}
	*ret = TAKE_PTR(reader);
	return 0;
}

const struct window_header *spool_reader_header(const struct spool_reader *reader)
{
	return &reader->image.header;
}

size_t spool_reader_count(const struct spool_reader *reader)
{
	return reader->image.count;
}

int spool_reader_next(struct spool_reader *reader, struct window_record *ret)
{
	return spool_format_next(&reader->image, &reader->cursor, ret);
}

void spool_reader_rewind(struct spool_reader *reader)
{
	reader->cursor = reader->image.records;
}

void spool_reader_free(struct spool_reader **reader)
{
	struct spool_reader *r = *reader;

	if (!r)
		return;
	if (r->map)
		munmap(r->map, r->map_size);
	free(r);
	*reader = NULL;
}
