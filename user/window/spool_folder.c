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

static const char hex[] = "0123456789abcdef";

void spool_name_format(char name[SPOOL_NAME_BYTES], const uint8_t agent[16], uint64_t sequence)
{
	int n = snprintf(name, SPOOL_NAME_BYTES, "%020" PRIu64 "-", sequence);

	for (unsigned int i = 0; i < 16; i++) {
		name[n++] = hex[agent[i] >> 4];
		name[n++] = hex[agent[i] & 15];
	}
	memcpy(name + n, ".win", sizeof(".win"));
}

static int hex_digit(char c)
{
	const char *at = c ? strchr(hex, c) : NULL;

	return at ? (int)(at - hex) : -1;
}

bool spool_name_parse(const char *name, uint8_t ret_agent[16], uint64_t *ret_sequence)
{
	uint64_t sequence = 0;

	if (strlen(name) != 57 || name[20] != '-' || strcmp(name + 53, ".win"))
		return false;
	for (unsigned int i = 0; i < 20; i++) {
		if (name[i] < '0' || name[i] > '9' ||
		    __builtin_mul_overflow(sequence, 10, &sequence) ||
		    __builtin_add_overflow(sequence, (uint64_t)(name[i] - '0'), &sequence))
			return false;
	}
	for (unsigned int i = 0; i < 16; i++) {
		int high = hex_digit(name[21 + 2 * i]), low = hex_digit(name[22 + 2 * i]);

		if (high < 0 || low < 0)
			return false;
		ret_agent[i] = (uint8_t)(high << 4 | low);
	}
	*ret_sequence = sequence;
	return true;
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

int spool_temporary(struct spool *spool, char name[SPOOL_NAME_BYTES])
{
	int fd;

	do {
		snprintf(name, SPOOL_NAME_BYTES, SPOOL_TEMPORARY "%" PRIu64, ++spool->temporaries);
		fd = openat(spool->fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			    0600);
	} while (fd < 0 && errno == EEXIST);
	return fd < 0 ? -errno : fd;
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
