/* SPDX-License-Identifier: MIT */
/*
 * The files that a process has mapped, as /proc/PID/maps says. What it says about another user's
 * process takes rights that the agent leaves to its helper (base/helper.h). A process may end or
 * map another file between any two calls.
 */
#ifndef PULLTAP_DISCOVER_PROCESS_MAPS_H
#define PULLTAP_DISCOVER_PROCESS_MAPS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"

#define PROCESS_MAP_PATH 4096

struct process_map {
	uint64_t start, end;
	uint64_t offset; /* of start in the file */
	uint32_t major,
		minor; /* of the file system, as the kernel has it: no stat tells on btrfs */
	uint64_t inode;
	bool executable;
	bool deleted; /* no name leads to it any more */
	char path[PROCESS_MAP_PATH]; /* as this process would name it, without " (deleted)" */
};

/*
 * Calls visit for every mapping of a file, in order of addresses. visit returns 0 to go on;
 * anything else ends the walk and is returned. -errno when the list can't be read.
 */
must_check int process_maps_each(int proc, pid_t pid,
				 int (*visit)(void *context, const struct process_map *map),
				 void *context);

/*
 * Opens a mapped file for reading, in whatever mount namespace it lies: through map_files where
 * that is allowed, else by its path below the process's root, or ours. It is that file or none:
 * -ESTALE when another lies there. The descriptor is the caller's.
 */
must_check int process_open_map(int proc, pid_t pid, const struct process_map *map, int *ret_fd);

#endif
