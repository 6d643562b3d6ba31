/* SPDX-License-Identifier: MIT */
#include "control/switch_file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "control/switch_word.h"

/* One word; what is longer is something else. */
#define FILE_BYTES 64
#define EVENTS                                                                                     \
	(IN_CLOSE_WRITE | IN_MODIFY | IN_CREATE | IN_DELETE | IN_MOVED_TO | IN_MOVED_FROM |        \
	 IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)

struct switch_file {
	char *path;
	char *folder;
	int inotify_fd;
};

void switch_file_free(struct switch_file **ptr)
{
	struct switch_file *file = *ptr;

	if (!file)
		return;
	cleanup_close(&file->inotify_fd);
	free(file->path);
	free(file->folder);
	free(file);
	*ptr = NULL;
}

int switch_file_new(struct switch_file **ret, const char *path)
{
	_cleanup_(switch_file_free) struct switch_file *file = calloc(1, sizeof(*file));
	_cleanup_free_ char *copy = strdup(path);

	if (!file || !copy)
		return -ENOMEM;
	file->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (file->inotify_fd < 0)
		return -errno;
	file->path = strdup(path);
	file->folder = strdup(dirname(copy));
	if (!file->path || !file->folder)
		return -ENOMEM;
	*ret = TAKE_PTR(file);
	return 0;
}

int switch_file_fd(const struct switch_file *file)
{
	return file->inotify_fd;
}

/* What happened does not matter, the file is read anyway: it is one small file. */
static void watch_again(struct switch_file *file)
{
	char events[4096];

	while (read(file->inotify_fd, events, sizeof(events)) > 0)
		;
	/* the same folder gets the same watch; one that took its place, or came, gets its own */
	if (inotify_add_watch(file->inotify_fd, file->folder, EVENTS) < 0)
		return; /* absent, or no watch is left: the file is read every second as well */
}

static int read_word(const char *path, char text[FILE_BYTES], size_t *ret_size)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EBADF;
	n = read(fd, text, FILE_BYTES);
	if (n < 0)
		return -errno;
	*ret_size = (size_t)n;
	return 0;
}

int switch_file_read(struct switch_file *file, bool *ret_off, char *trouble, size_t size)
{
	char text[FILE_BYTES];
	size_t length = 0;
	int rc;

	watch_again(file);
	rc = read_word(file->path, text, &length);
	if (rc == -ENOENT) {
		*ret_off = false;
		return 0;
	}
	rc = rc ?: switch_word_parse(text, length, ret_off);
	if (rc == -EINVAL)
		snprintf(trouble, size, "%s says neither on nor off", file->path);
	else if (rc == -EBADF)
		snprintf(trouble, size, "%s is not a regular file", file->path);
	else if (rc)
		snprintf(trouble, size, "%s: %s", file->path, strerror(-rc));
	return rc;
}
