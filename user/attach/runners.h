/* SPDX-License-Identifier: MIT */
/*
 * The processes that were seen to run probed programs, so that nobody has to look at all of them
 * again. More than RUNNERS share nothing but a less exact guard: the oldest makes room. One thread.
 */
#ifndef PULLTAP_ATTACH_RUNNERS_H
#define PULLTAP_ATTACH_RUNNERS_H

#include <stdint.h>
#include <sys/types.h>

#define RUNNERS 512

struct runners {
	struct runner {
		uint64_t device, inode;
		pid_t pid;
	} all[RUNNERS];
	unsigned int next;
};

void runners_add(struct runners *runners, pid_t pid, uint64_t device, uint64_t inode);

/* Fills pids with those of a program and returns their number, at most max. Some may have ended. */
unsigned int runners_of(const struct runners *runners, uint64_t device, uint64_t inode, pid_t *pids,
			unsigned int max);

#endif
