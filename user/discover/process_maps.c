/* SPDX-License-Identifier: MIT */
#include "discover/process_maps.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/helper.h"

/* A line of maps: a path and about 80 bytes before it. */
#define LINE_BYTES (PROCESS_MAP_PATH + 256)

/* Never waits for the writer of a FIFO, which a container may have put anywhere. */
#define OPEN_FLAGS (O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)

static int open_entry(int proc, pid_t pid, const char *name, int flags)
{
	char path[96];
	int fd;

	snprintf(path, sizeof(path), "%d/%s", (int)pid, name);
	fd = openat(proc, path, flags);
	return fd < 0 ? -errno : fd;
}

/* A line that does not name a file is none of ours. */
static bool parse(char *line, struct process_map *ret)
{
	static const char deleted[] = " (deleted)";
	size_t tail = sizeof(deleted) - 1, length;
	int at = 0;
	char executable;

	if (sscanf(line, "%lx-%lx %*c%*c%c%*c %lx %x:%x %lu %n", &ret->start, &ret->end,
		   &executable, &ret->offset, &ret->major, &ret->minor, &ret->inode, &at) != 7 ||
	    !at || line[at] != '/' || ret->end < ret->start)
		return false;
	length = strcspn(line + at, "\n");
	line[(size_t)at + length] = 0;
	ret->deleted = length > tail && !strcmp(line + at + length - tail, deleted);
	if (ret->deleted)
		length -= tail;
	if (length >= sizeof(ret->path))
		return false;
	memcpy(ret->path, line + at, length);
	ret->path[length] = 0;
	ret->executable = executable == 'x';
	return true;
}

int process_maps_each(int proc, pid_t pid,
		      int (*visit)(void *context, const struct process_map *map), void *context)
{
	_cleanup_fclose_ FILE *maps = NULL;
	struct process_map map;
	char line[LINE_BYTES];
	int fd = open_entry(proc, pid, "maps", O_RDONLY | O_CLOEXEC), rc = 0;

	if (helper_may(fd))
		fd = helper_open(HELPER_OPEN_MAPS, pid);
	if (fd < 0)
		return fd;
	maps = fdopen(fd, "r");
	if (!maps) {
		close(fd);
		return -ENOMEM;
	}
	while (!rc && fgets(line, sizeof(line), maps))
		if (parse(line, &map))
			rc = visit(context, &map);
	return rc ?: ferror(maps) ? -EIO : 0;
}

/* Is it the mapped file? One that was replaced, or that a link leads to instead, is another. */
static int check(int fd, const struct process_map *map)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	return S_ISREG(st.st_mode) && st.st_ino == map->inode ? 0 : -ESTALE;
}

/* The ways to a mapped file, the surest first. Each returns a descriptor or -errno. */

/* Whatever its name leads to, if anything; takes CAP_CHECKPOINT_RESTORE. */
static int open_mapping(int proc, pid_t pid, const struct process_map *map)
{
	char name[64];

	snprintf(name, sizeof(name), "map_files/%lx-%lx", map->start, map->end);
	return open_entry(proc, pid, name, OPEN_FLAGS);
}

static int open_below_root(int proc, pid_t pid, const struct process_map *map)
{
	_cleanup_close_ int root =
		open_entry(proc, pid, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int fd;

	if (helper_may(root))
		root = helper_open(HELPER_OPEN_ROOT, pid);
	if (root < 0)
		return root;
	fd = openat(root, map->path + 1, OPEN_FLAGS);
	return fd < 0 ? -errno : fd;
}

/* Of a process that only did chroot() the path is told from our root. */
static int open_here(int proc, pid_t pid, const struct process_map *map)
{
	int fd = open(map->path, OPEN_FLAGS);

	(void)proc;
	(void)pid;
	return fd < 0 ? -errno : fd;
}

int process_open_map(int proc, pid_t pid, const struct process_map *map, int *ret_fd)
{
	static int (*const ways[])(int proc, pid_t pid, const struct process_map *map) = {
		open_mapping, open_below_root, open_here};
	int rc = -ENOENT;

	for (unsigned int i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
		_cleanup_close_ int fd = ways[i](proc, pid, map);

		rc = fd < 0 ? fd : check(fd, map);
		if (rc)
			continue;
		*ret_fd = TAKE_FD(fd);
		return 0;
	}
	return rc;
}
