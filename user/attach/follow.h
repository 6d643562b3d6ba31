/* SPDX-License-Identifier: MIT */
/*
 * Follows the processes of the node: finds those that are registries, or that the operator named,
 * and keeps their binaries probed. Runs on the agent's main thread; one failure concerns one
 * binary, is logged once and kept for status.
 */
#ifndef PULLTAP_ATTACH_FOLLOW_H
#define PULLTAP_ATTACH_FOLLOW_H

#include <stdbool.h>
#include <sys/types.h>

#include "attach/count_at_rule.h"
#include "attach/kernel.h"

struct follow;

struct follow_options {
	const char *const *targets; /* NAME=[WAY:]PID|EXE|CONTAINER, parsed and checked here */
	unsigned int targets_count;
	const char *registry; /* name for registries found by themselves; NULL: the binary's */
	bool discover;
	const char *const *count_at; /* inner, front, both, NAMEs of targets: see count_at_rule.h */
	unsigned int count_at_count;
	/* Is this registry switched off? Then its binaries get no probes. */
	bool (*is_off)(void *context, const char *registry);
	void *context;
};

/* -EINVAL after a message on standard error when a target or count_at is not understood. */
must_check int follow_new(struct follow **ret, struct kernel *kernel,
			  const struct follow_options *options);
void follow_free(struct follow **follow);

/* Looks at every process; attaches none while counting is switched off. Returns the number of
 * binaries newly probed, or -errno. */
must_check int follow_scan(struct follow *follow);

/*
 * Names on standard error's log each --target that no process has matched so far; it may come
 * later.
 */
void follow_report_missing(const struct follow *follow);

/* Looks at one process that has just started. The same returns; 0 when it is gone already. */
must_check int follow_process(struct follow *follow, pid_t pid);

/*
 * The processes that were seen to run a program (struct site_place): fills pids and returns their
 * number, at most max. Some may have ended; one that only forked is found by the next scan.
 */
unsigned int follow_runners(const struct follow *follow, uint64_t device, uint64_t inode,
			    pid_t *pids, unsigned int max);

/*
 * Readable when a file was put where a registry had been started from, which is probed before it is
 * started, or when a process has to be looked at again. Returns how many binaries were probed.
 */
int follow_fd(const struct follow *follow);
int follow_ready(struct follow *follow);

/*
 * Once a second: lets others count where a registry has ended. True when follow_scan() is due, for
 * somebody may be probed again.
 */
bool follow_tick(struct follow *follow);

/* Where a site stands among those that may see the same pull. */
enum count_place follow_place(const struct follow *follow, uint32_t site);

/* Detaches sites of files that are deleted and run by nobody. Returns how many binaries. */
must_check int follow_retire(struct follow *follow);

#endif
