/* SPDX-License-Identifier: MIT */
/*
 * The folder of pins on the BPF file system, and the lock that lets one agent own it. The lock is
 * held on the folder itself, so that it works between containers that share the mount.
 */
#ifndef PULLTAP_ATTACH_BPFFS_H
#define PULLTAP_ATTACH_BPFFS_H

#include "base/cleanup.h"

/*
 * Makes sure that the parent of path is a BPF file system (mounts one where /sys/fs/bpf is bare)
 * and that path exists. Errors: -EPERM without CAP_SYS_ADMIN, -EMEDIUMTYPE when path lies on
 * another kind of file system.
 */
must_check int bpffs_prepare(const char *path);

/* Takes the lock; a descriptor to keep, -EWOULDBLOCK when another process holds it. */
must_check int bpffs_lock(const char *path);

/* Removes path with everything in it: pins go, and with the last one the object. 0 if absent. */
must_check int bpffs_remove(const char *path);

#endif
