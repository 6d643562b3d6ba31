/* SPDX-License-Identifier: MIT */
/*
 * What the files of follow.h share. Nobody else includes this.
 */
#ifndef PULLTAP_ATTACH_FOLLOW_INTERNAL_H
#define PULLTAP_ATTACH_FOLLOW_INTERNAL_H

#include "attach/count_at.h"
#include "attach/follow.h"
#include "attach/linger.h"
#include "attach/replaced.h"
#include "attach/runners.h"
#include "discover/catalog.h"
#include "discover/target.h"

/* Unusable binaries that are remembered, so that each is named once and not at every scan. */
#define COMPLAINTS 32

struct follow {
	struct kernel *kernel;
	struct catalog *catalog;
	struct catalog *libraries; /* what is known of files with OpenSSL in them */
	struct replaced *replaced;
	struct linger *linger;
	int ready_fd; /* of those two */
	int proc;
	bool discover;
	const char *registry;
	bool (*is_off)(void *context, const char *registry);
	void *context;
	struct target *targets;
	unsigned int targets_count;
	bool has_openssl; /* a target that has to be looked for among all processes */
	uint64_t complained[COMPLAINTS]; /* files that were said to be unusable, for whom */
	unsigned int complaints;
	bool *matched; /* by target: a process was seen */
	uint64_t scanned_ns; /* when all processes had been looked at for the first time */
	struct runners runners;
	struct count_at count_at;
	bool again; /* a scan is due: sites may be probed again */
};

/* What a process counts for. */
struct owner {
	const char *registry;
	uint8_t order; /* of the --target that names it */
};

/* True the first time for a file and a registry: a library is the file of several. */
bool follow_complain(struct follow *follow, uint64_t inode, const char *registry);

/* All processes have been looked at: who comes from now on has come under our eyes. */
void follow_scanned(struct follow *follow);

/*
 * Probes what a process that is ours runs, or has loaded: binary, open as fd; -1: its program. One
 * that is probed already is remembered as in use. Returns as follow_process().
 */
must_check int follow_binary(struct follow *follow, const struct process *process,
			     const struct binary *binary, int fd, const struct owner *owner);

/* A process that the operator says uses OpenSSL (follow_openssl.c). Returns as follow_process(). */
must_check int follow_openssl(struct follow *follow, const struct process *process,
			      const struct owner *owner);

#endif
