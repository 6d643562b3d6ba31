/* SPDX-License-Identifier: MIT */
/*
 * What /proc says about processes, and nothing else: no caching, no waiting. Every function takes
 * a descriptor of the proc directory, so that tests bring their own tree and the agent can use the
 * host's. A process may end between any two calls; that is -ENOENT or -ESRCH and no fault.
 */
#ifndef PULLTAP_DISCOVER_PROCESS_H
#define PULLTAP_DISCOVER_PROCESS_H

#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "discover/file_identity.h"

#define PROCESS_CONTAINER_ID 65 /* 64 hex digits */
#define PROCESS_EXE 4096

struct process {
	pid_t pid;
	struct file_identity file;
	/* of the executable as its own mount namespace names it, without " (deleted)" */
	char exe[PROCESS_EXE];
	char container_id[PROCESS_CONTAINER_ID]; /* "" outside containers */
};

/* path is "/proc", or where the host's is mounted. The descriptor is the caller's. */
must_check int process_open_proc(const char *path, int *ret_fd);

/*
 * Calls visit for every process, threads' leaders only, in the order /proc lists them. visit
 * returns 0 to go on; anything else ends the walk and is returned.
 */
must_check int process_each(int proc, int (*visit)(void *context, pid_t pid), void *context);

/*
 * The file that a process runs, through the magic link, so that it works across containers and for
 * deleted files. -ENOENT: a kernel thread, or the process is gone; -EACCES: not ours to see.
 */
must_check int process_binary(int proc, pid_t pid, struct file_identity *ret);

/* The same, opened for reading. The descriptor is the caller's. */
must_check int process_open_binary(int proc, pid_t pid, int *ret_fd);

/* The link's text; -ENAMETOOLONG when size bytes don't hold it. */
must_check int process_exe(int proc, pid_t pid, char *ret, unsigned int size);

/*
 * The id of the innermost container in the process's cgroup path, as docker, containerd, CRI-O,
 * podman and kubelet write it (64 hex digits). -ENOENT when it runs in none.
 */
must_check int process_container_id(int proc, pid_t pid, char ret[PROCESS_CONTAINER_ID]);

/*
 * When it started, in clock ticks after boot, which tells whether it is still the same process, and
 * how long it has run on CPUs, in user and kernel mode, in clock ticks.
 */
must_check int process_times(int proc, pid_t pid, uint64_t *ret_start_ticks,
			     uint64_t *ret_cpu_ticks);

/* Clock ticks after boot; together with the pid it names a process for good. */
must_check int process_start_time(int proc, pid_t pid, uint64_t *ret_ticks);

/* All facts that a target is matched with. -errno of process_binary or process_exe. */
must_check int process_read(int proc, pid_t pid, struct process *ret);

#endif
