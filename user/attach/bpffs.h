/* SPDX-License-Identifier: MIT */
/*
 * The folder of pins on the BPF file system, and the lock that lets one agent own it. The lock is
 * held on the folder itself, so that it works between containers that share the mount.
 */
#ifndef PULLTAP_ATTACH_BPFFS_H
#define PULLTAP_ATTACH_BPFFS_H

#include "base/cleanup.h"

#define BPFFS_PATH_BYTES 32

/*
 * Makes sure that the parent of path is a BPF file system (mounts one where the node's /sys/fs/bpf
 * is bare) and that path exists. Errors: -EPERM without CAP_SYS_ADMIN, -EMEDIUMTYPE when path lies
 * on another kind of file system, in a container also where /sys/fs/bpf is bare.
 */
must_check int bpffs_prepare(const char *path);

/*
 * Takes the lock; a descriptor to keep. -EWOULDBLOCK when another process holds it, -ENOENT when
 * there is no such folder (any more).
 */
must_check int bpffs_lock(const char *path);

/*
 * The folder as this process reaches it through its lock, whoever may enter the folders above it:
 * /sys/fs/bpf is often root's alone. Good as long as the lock is held.
 */
void bpffs_path(int lock_fd, char ret[BPFFS_PATH_BYTES]);

/* Removes what is in path: pins go, and with the last one the object. Folder and lock stay. */
must_check int bpffs_empty(const char *path);

/*
 * Empties the locked folder, then removes it. Where this user may not remove it (it was made for
 * us) it stays, empty.
 */
must_check int bpffs_remove(const char *path, int lock_fd);

/* After a start that failed: a folder with no pin in it goes, one with any stays as it is. */
void bpffs_tidy(const char *path, int lock_fd);

#endif
