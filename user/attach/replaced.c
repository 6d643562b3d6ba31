/* SPDX-License-Identifier: MIT */
#include "attach/replaced.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

struct watched {
	char path[PROCESS_EXE];
	int folder; /* inotify's number of it */
	bool changed;
};

struct replaced {
	int fd;
	unsigned int count;
	struct watched names[REPLACED_NAMES];
};

int replaced_new(struct replaced **ret)
{
	struct replaced *replaced = calloc(1, sizeof(*replaced));

	if (!replaced)
		return -ENOMEM;
	replaced->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (replaced->fd < 0) {
		free(replaced);
		return -errno;
	}
	*ret = replaced;
	return 0;
}

void replaced_free(struct replaced **replaced)
{
	if (!*replaced)
		return;
	close((*replaced)->fd);
	free(*replaced);
	*replaced = NULL;
}

int replaced_fd(const struct replaced *replaced)
{
	return replaced->fd;
}

/* The part of a path behind its last slash; all of it where there is none. */
static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

void replaced_watch(struct replaced *replaced, const struct process *process)
{
	struct watched *watched = &replaced->names[replaced->count];
	size_t folder = (size_t)(base_of(process->exe) - process->exe);
	char path[PROCESS_EXE];
	struct stat st;

	for (unsigned int i = 0; i < replaced->count; i++)
		if (!strcmp(replaced->names[i].path, process->exe))
			return;
	if (replaced->count == REPLACED_NAMES || !folder || folder >= sizeof(path) ||
	    stat(process->exe, &st) || st.st_ino != process->file.inode)
		return;
	snprintf(path, sizeof(path), "%.*s", (int)folder, process->exe);
	watched->folder = inotify_add_watch(replaced->fd, path, IN_MOVED_TO | IN_CLOSE_WRITE);
	if (watched->folder < 0)
		return;
	watched->changed = false;
	snprintf(watched->path, sizeof(watched->path), "%s", process->exe);
	replaced->count++;
}

static void mark(struct replaced *replaced, const struct inotify_event *event)
{
	for (unsigned int i = 0; i < replaced->count; i++) {
		struct watched *watched = &replaced->names[i];

		/* after an overflow anything may have happened */
		if (event->mask & IN_Q_OVERFLOW || (watched->folder == event->wd && event->len &&
						    !strcmp(base_of(watched->path), event->name)))
			watched->changed = true;
	}
}

const char *replaced_next(struct replaced *replaced)
{
	char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t length;

	while ((length = read(replaced->fd, buffer, sizeof(buffer))) > 0) {
		for (ssize_t at = 0; at < length;) {
			const struct inotify_event *event = (const void *)(buffer + at);

			mark(replaced, event);
			at += (ssize_t)(sizeof(*event) + event->len);
		}
	}
	for (unsigned int i = 0; i < replaced->count; i++) {
		if (!replaced->names[i].changed)
			continue;
		replaced->names[i].changed = false;
		return replaced->names[i].path;
	}
	return NULL;
}
