/* SPDX-License-Identifier: MIT */
#include "attach/bpffs.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

static int is_bpffs(const char *path)
{
	struct statfs fs;

	if (statfs(path, &fs))
		return -errno;
	return fs.f_type == BPF_FS_MAGIC;
}

/*
 * A container, or a service with mounts of its own: what is mounted there ends with it, and so
 * would the counting that is meant to go on. The node's mounts are those of its first process and
 * of its first kernel thread; not every init lets itself be looked at.
 */
static bool own_mounts(void)
{
	static const char *const nodes[] = {"/proc/1/ns/mnt", "/proc/2/ns/mnt"};
	struct stat node, self;

	for (unsigned int i = 0; i < sizeof(nodes) / sizeof(*nodes); i++)
		if (!stat(nodes[i], &node) && !stat("/proc/self/ns/mnt", &self) &&
		    node.st_ino != self.st_ino)
			return true;
	return false;
}

int bpffs_prepare(const char *path)
{
	char parent[PATH_MAX];
	int rc;

	if (strlen(path) >= sizeof(parent))
		return -ENAMETOOLONG;
	strcpy(parent, path);
	dirname(parent);
	rc = is_bpffs(parent);
	if (rc < 0)
		return rc;
	if (!rc) {
		/* only the usual place is mounted over: elsewhere it would hide somebody's files */
		if (strcmp(parent, "/sys/fs/bpf") || own_mounts())
			return -EMEDIUMTYPE;
		if (mount("bpf", parent, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700"))
			return -errno;
	}
	if (mkdir(path, 0700) && errno != EEXIST)
		return -errno;
	return 0;
}

int bpffs_lock(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB))
		return -errno;
	/* removed by the one who had the lock before: a lock on it would keep nobody out */
	if (fstat(fd, &st) || !st.st_nlink)
		return -ENOENT;
	return TAKE_FD(fd);
}

void bpffs_path(int lock_fd, char ret[BPFFS_PATH_BYTES])
{
	snprintf(ret, BPFFS_PATH_BYTES, "/proc/self/fd/%d/.", lock_fd);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	return ftw->level && remove(path) ? -errno : 0;
}

int bpffs_empty(const char *path)
{
	int rc = nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);

	if (rc == -1)
		rc = -errno;
	return rc == -ENOENT ? 0 : rc;
}

int bpffs_remove(const char *path, int lock_fd)
{
	char locked[BPFFS_PATH_BYTES];
	int rc;

	bpffs_path(lock_fd, locked);
	rc = bpffs_empty(locked);

	if (rc || !rmdir(path) || errno == ENOENT || errno == EACCES || errno == EPERM)
		return rc;
	return -errno;
}

static int find_pin(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)path;
	(void)st;
	(void)ftw;
	return type != FTW_D && type != FTW_DP;
}

void bpffs_tidy(const char *path, int lock_fd)
{
	char locked[BPFFS_PATH_BYTES];

	bpffs_path(lock_fd, locked);
	/* what can't be removed is in nobody's way */
	if (nftw(locked, find_pin, 16, FTW_PHYS | FTW_MOUNT) || bpffs_remove(path, lock_fd))
		return;
}
