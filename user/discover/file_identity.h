/* SPDX-License-Identifier: MIT */
/*
 * Which file a program runs, told apart the way a uprobe does: by the real inode. Two containers
 * of one image run the same inode behind two overlay mounts, and stat names each mount as the
 * device; taken at its word, the agent would put two probes on one instruction and count twice.
 */
#ifndef PULLTAP_DISCOVER_FILE_IDENTITY_H
#define PULLTAP_DISCOVER_FILE_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"

/* Stands for the file system below all overlay mounts; no real device has this number. */
#define FILE_IDENTITY_OVERLAY 0

struct file_identity {
	uint64_t device; /* st_dev, or FILE_IDENTITY_OVERLAY */
	uint64_t inode; /* of overlays: the layer's own, overlayfs hands it through */
	uint64_t size;
	int64_t mtime_ns;
	int64_t ctime_ns;
};

/* fd may be opened with O_PATH. -errno of fstat or fstatfs. */
must_check int file_identity_read(int fd, struct file_identity *ret);

/* The same file, unchanged: what was found out about one holds for the other. */
bool file_identity_equal(const struct file_identity *a, const struct file_identity *b);

/*
 * One inode, changed or not: a probe in one is a probe in the other. A file that was copied up out
 * of a layer keeps its number in the overlay but is another inode; its ctime tells.
 */
bool file_identity_same_inode(const struct file_identity *a, const struct file_identity *b);

#endif
