/* SPDX-License-Identifier: MIT */
#include "discover/file_identity.h"

#include <errno.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>

static int64_t to_ns(const struct timespec *ts)
{
	return (int64_t)((uint64_t)ts->tv_sec * 1000000000u + (uint64_t)ts->tv_nsec);
}

int file_identity_read(int fd, struct file_identity *ret)
{
	struct statfs fs;
	struct stat st;

	if (fstat(fd, &st) || fstatfs(fd, &fs))
		return -errno;
	*ret = (struct file_identity){
		.device = fs.f_type == OVERLAYFS_SUPER_MAGIC ? FILE_IDENTITY_OVERLAY : st.st_dev,
		.inode = st.st_ino,
		.size = (uint64_t)st.st_size,
		.mtime_ns = to_ns(&st.st_mtim),
		.ctime_ns = to_ns(&st.st_ctim),
	};
	return 0;
}

bool file_identity_same_inode(const struct file_identity *a, const struct file_identity *b)
{
	return a->device == b->device && a->inode == b->inode &&
	       (a->device != FILE_IDENTITY_OVERLAY || a->ctime_ns == b->ctime_ns);
}

bool file_identity_equal(const struct file_identity *a, const struct file_identity *b)
{
	return a->device == b->device && a->inode == b->inode && a->size == b->size &&
	       a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns;
}
