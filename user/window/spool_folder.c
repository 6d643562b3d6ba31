/* SPDX-License-Identifier: MIT */
/*
 * Files that appear whole or not at all: names, temporaries, and the way from one to the other.
 */
#include "window/spool_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

static const char hex[] = "0123456789abcdef";

#define NUMBER_DIGITS 20
#define SINGLE_LENGTH (NUMBER_DIGITS + 1 + 32 + 4)
#define MERGED_LENGTH (SINGLE_LENGTH + 1 + NUMBER_DIGITS)

_Static_assert(MERGED_LENGTH < SPOOL_NAME_BYTES, "the longest name fits");

void spool_name_format(char name[SPOOL_NAME_BYTES], const struct spool_span *span)
{
	int n = snprintf(name, SPOOL_NAME_BYTES, "%020" PRIu64 "-", span->last);

	for (unsigned int i = 0; i < 16; i++) {
		name[n++] = hex[span->agent[i] >> 4];
		name[n++] = hex[span->agent[i] & 15];
	}
	if (span->first != span->last)
		n += sprintf(name + n, "-%020" PRIu64, span->first);
	memcpy(name + n, ".win", sizeof(".win"));
}

static int hex_digit(char c)
{
	const char *at = c ? strchr(hex, c) : NULL;

	return at ? (int)(at - hex) : -1;
}

static bool parse_number(const char *digits, uint64_t *ret)
{
	*ret = 0;
	for (unsigned int i = 0; i < NUMBER_DIGITS; i++) {
		if (digits[i] < '0' || digits[i] > '9' || __builtin_mul_overflow(*ret, 10, ret) ||
		    __builtin_add_overflow(*ret, (uint64_t)(digits[i] - '0'), ret))
			return false;
	}
	return true;
}

bool spool_name_parse(const char *name, struct spool_span *ret)
{
	size_t length = strlen(name);

	if ((length != SINGLE_LENGTH && length != MERGED_LENGTH) ||
	    strcmp(name + length - 4, ".win") || name[NUMBER_DIGITS] != '-' ||
	    !parse_number(name, &ret->last))
		return false;
	name += NUMBER_DIGITS + 1;
	for (unsigned int i = 0; i < 16; i++) {
		int high = hex_digit(name[2 * i]), low = hex_digit(name[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		ret->agent[i] = (uint8_t)(high << 4 | low);
	}
	ret->first = ret->last;
	if (length == SINGLE_LENGTH)
		return true;
	return name[32] == '-' && parse_number(name + 33, &ret->first) && ret->first < ret->last;
}

struct spool_span spool_span_of(const struct window_header *header)
{
	struct spool_span span = {.first = header->sequence - header->merged + 1,
				  .last = header->sequence};

	memcpy(span.agent, header->agent, sizeof(span.agent));
	return span;
}

int spool_open_folder(int parent, const char *name)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int spool_sync_folder(int folder)
{
	_cleanup_close_ int fd = spool_open_folder(folder, ".");

	if (fd < 0)
		return fd;
	return fsync(fd) ? -errno : 0;
}

int spool_scan_open(int folder, DIR **ret)
{
	/* A descriptor of its own: a shared one would share the position with other threads. */
	_cleanup_close_ int fd = spool_open_folder(folder, ".");

	if (fd < 0)
		return fd;
	*ret = fdopendir(fd);
	if (!*ret)
		return -errno;
	(void)TAKE_FD(fd);
	return 0;
}

const char *spool_scan_next(DIR *dir, int *ret_err)
{
	struct dirent *entry;

	errno = 0;
	entry = readdir(dir);
	*ret_err = entry ? 0 : -errno;
	return entry ? entry->d_name : NULL;
}

/* What root writes, `pulltap uninstall` for one, is for an agent that may be the folder's owner. */
static int give_to_owner(int folder, int fd)
{
	struct stat st;

	if (geteuid())
		return 0;
	if (fstat(folder, &st) || (st.st_uid && fchown(fd, st.st_uid, st.st_gid)))
		return -errno;
	return 0;
}

int spool_temporary(struct spool *spool, char name[SPOOL_NAME_BYTES])
{
	int fd, err;

	do {
		snprintf(name, SPOOL_NAME_BYTES, SPOOL_TEMPORARY "%" PRIu64,
			 __atomic_add_fetch(&spool->temporaries, 1, __ATOMIC_RELAXED));
		fd = openat(spool->fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			    0600);
	} while (fd < 0 && errno == EEXIST);
	if (fd < 0)
		return -errno;
	err = give_to_owner(spool->fd, fd);
	if (err) {
		close(fd);
		(void)unlinkat(spool->fd, name, 0);
		return err;
	}
	return fd;
}

int spool_write_all(int fd, const void *data, size_t size)
{
	const uint8_t *p = data;

	while (size) {
		ssize_t n = write(fd, p, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

static int sync_and_close(int fd)
{
	int err = fsync(fd) ? -errno : 0;

	/* Some file systems report a failed write only here; the descriptor is gone either way. */
	if (close(fd) && !err && errno != EINTR)
		err = -errno;
	return err;
}

int spool_publish(struct spool *spool, int fd, const char *temporary, const char *name)
{
	int err = sync_and_close(fd);

	if (!err && renameat(spool->fd, temporary, spool->fd, name))
		err = -errno;
	if (err) {
		(void)unlinkat(spool->fd, temporary, 0);
		return err;
	}
	return spool_sync_folder(spool->fd);
}
