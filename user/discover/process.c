/* SPDX-License-Identifier: MIT */
#include "discover/process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "base/helper.h"

#define CONTAINER_ID_LENGTH (PROCESS_CONTAINER_ID - 1)
/* One line per cgroup v1 hierarchy, each at most PATH_MAX; real ones have 14 short lines. */
#define CGROUP_BYTES 16384

int process_open_proc(const char *path, int *ret_fd)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

/* A directory's name as a pid, or 0. */
static pid_t to_pid(const char *name)
{
	unsigned long pid = 0;

	for (const char *c = name; *c; c++) {
		if (*c < '0' || *c > '9' || pid > INT_MAX / 10 - 1)
			return 0;
		pid = pid * 10 + (unsigned long)(*c - '0');
	}
	return (pid_t)pid;
}

int process_each(int proc, int (*visit)(void *context, pid_t pid), void *context)
{
	_cleanup_close_ int fd = openat(proc, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = NULL;
	const struct dirent *entry;

	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (!dir)
		return -errno;
	(void)TAKE_FD(fd); /* closed with dir */
	while (errno = 0, entry = readdir(dir)) {
		pid_t pid = to_pid(entry->d_name);
		int err = pid ? visit(context, pid) : 0;

		if (err)
			return err;
	}
	return -errno;
}

static int open_entry(int proc, pid_t pid, const char *name, int flags, int *ret_fd)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "%d/%s", (int)pid, name);
	fd = openat(proc, path, flags | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

/* Reads a small file into ret, NUL-terminated and cut to size - 1 bytes. */
static int read_entry(int proc, pid_t pid, const char *name, char *ret, size_t size)
{
	_cleanup_close_ int fd = -1;
	size_t used = 0;
	int err = open_entry(proc, pid, name, O_RDONLY, &fd);

	if (err)
		return err;
	while (used < size - 1) {
		ssize_t n = read(fd, ret + used, size - 1 - used);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		used += (size_t)n;
	}
	ret[used] = 0;
	return 0;
}

static int open_program(int proc, pid_t pid, int flags, int *ret_fd)
{
	int err = open_entry(proc, pid, "exe", flags, ret_fd);

	if (!helper_may(err))
		return err;
	*ret_fd = helper_open(HELPER_OPEN_PROGRAM, pid);
	return *ret_fd < 0 ? *ret_fd : 0;
}

int process_binary(int proc, pid_t pid, struct file_identity *ret)
{
	_cleanup_close_ int fd = -1;
	int err = open_program(proc, pid, O_PATH, &fd);

	return err ? err : file_identity_read(fd, ret);
}

int process_open_binary(int proc, pid_t pid, int *ret_fd)
{
	/* a container may put a FIFO there in a fake /proc of its own: never wait for a writer */
	return open_program(proc, pid, O_RDONLY | O_NONBLOCK | O_NOCTTY, ret_fd);
}

/* The link's text. A descriptor's own link has the same as the link it was opened through. */
static ssize_t read_link(int proc, pid_t pid, char *ret, unsigned int size)
{
	_cleanup_close_ int fd = -1;
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "%d/exe", (int)pid);
	n = readlinkat(proc, path, ret, size);
	if (n >= 0 || !helper_may(-errno))
		return n < 0 ? -errno : n;
	fd = helper_open(HELPER_OPEN_PROGRAM, pid);
	if (fd < 0)
		return fd;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, ret, size);
	return n < 0 ? -errno : n;
}

int process_exe(int proc, pid_t pid, char *ret, unsigned int size)
{
	static const char deleted[] = " (deleted)";
	size_t tail = sizeof(deleted) - 1;
	ssize_t n = read_link(proc, pid, ret, size);

	if (n < 0)
		return (int)n;
	if ((size_t)n >= size)
		return -ENAMETOOLONG;
	ret[n] = 0;
	/* an update replaced the file; the process still is what it was started from */
	if ((size_t)n > tail && !strcmp(ret + (size_t)n - tail, deleted))
		ret[(size_t)n - tail] = 0;
	return 0;
}

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

static bool is_word(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/*
 * The last run of exactly 64 hex digits in one cgroup path, for the innermost container comes
 * last:
 *   /docker/ID                                  /system.slice/docker-ID.scope
 *   /kubepods/burstable/podUID/ID               /kubepods.slice/.../cri-containerd-ID.scope
 *   /kubepods.slice/.../crio-ID.scope           /machine.slice/libpod-ID.scope/container
 *   /system.slice/containerd.service/kubepods-podUID.slice:cri-containerd:ID
 * A conmon watches a container from outside (libpod-conmon-ID, crio-conmon-ID): not in it.
 */
static bool find_id(const char *path, char ret[PROCESS_CONTAINER_ID])
{
	static const char watcher[] = "conmon-";
	size_t watcher_length = sizeof(watcher) - 1;
	bool found = false;
	const char *c = path;

	while (*c) {
		const char *start = c;

		if (!is_word(*c)) {
			c++;
			continue;
		}
		while (is_hex(*c))
			c++;
		if (c - start != CONTAINER_ID_LENGTH || is_word(*c)) {
			while (is_word(*c))
				c++;
			continue;
		}
		if ((size_t)(start - path) >= watcher_length &&
		    !memcmp(start - watcher_length, watcher, watcher_length))
			continue;
		memcpy(ret, start, CONTAINER_ID_LENGTH);
		ret[CONTAINER_ID_LENGTH] = 0;
		found = true;
	}
	return found;
}

int process_container_id(int proc, pid_t pid, char ret[PROCESS_CONTAINER_ID])
{
	char text[CGROUP_BYTES];
	char *save = NULL;
	int err = read_entry(proc, pid, "cgroup", text, sizeof(text));

	if (err)
		return err;
	/* hierarchy:controllers:path; with v1 any line may be the one that names the container */
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *path = strchr(line, ':');

		path = path ? strchr(path + 1, ':') : NULL;
		if (path && find_id(path + 1, ret))
			return 0;
	}
	return -ENOENT;
}

/* The number in a field of /proc/PID/stat, where text is what follows field 2. */
static int stat_field(const char *text, int number, uint64_t *ret)
{
	char *end;

	for (int i = 2; text && i < number; i++)
		text = strchr(text + 1, ' ');
	if (!text)
		return -EBADMSG;
	errno = 0;
	*ret = strtoull(text + 1, &end, 10);
	return errno || end == text + 1 ? -EBADMSG : 0;
}

int process_times(int proc, pid_t pid, uint64_t *ret_start_ticks, uint64_t *ret_cpu_ticks)
{
	uint64_t user = 0, system = 0;
	const char *name_end;
	char text[1024];
	int err = read_entry(proc, pid, "stat", text, sizeof(text));

	if (err)
		return err;
	/* the name in parentheses is the process's own choice and may hold blanks and ')' */
	name_end = strrchr(text, ')');
	err = stat_field(name_end, 14, &user);
	err = err ?: stat_field(name_end, 15, &system);
	err = err ?: stat_field(name_end, 22, ret_start_ticks);
	if (!err)
		*ret_cpu_ticks = user + system;
	return err;
}

int process_start_time(int proc, pid_t pid, uint64_t *ret_ticks)
{
	uint64_t cpu_ticks;

	return process_times(proc, pid, ret_ticks, &cpu_ticks);
}

int process_read(int proc, pid_t pid, struct process *ret)
{
	int err;

	ret->pid = pid;
	err = process_binary(proc, pid, &ret->file);
	if (!err)
		err = process_exe(proc, pid, ret->exe, sizeof(ret->exe));
	if (err)
		return err;
	/* a process outside any container, or one that just ended: the caller opens it next */
	if (process_container_id(proc, pid, ret->container_id))
		ret->container_id[0] = 0;
	return 0;
}
