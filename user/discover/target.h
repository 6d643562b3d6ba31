/* SPDX-License-Identifier: MIT */
/*
 * --target NAME=[WAY:]PID|EXE|CONTAINER: which processes belong to the registry NAME.
 *
 *   NAME       1 to 63 bytes of A-Z a-z 0-9 . _ : / -
 *   WAY        go, nginx, apache or openssl (way.h): what has to be probed; without one the
 *              executable is what it turns out to be, and openssl is never meant
 *   PID        digits only: this very process, until it ends
 *   EXE        with a '/': absolute path of an executable, on this host or as a container's
 *              process sees itself; without: the last part of such a path
 *   CONTAINER  6 or more hex digits: the start of a container's id
 *
 * A word of hex digits, such as "facade", may be both an EXE and a CONTAINER and matches either.
 * Pure but for target_resolve().
 */
#ifndef PULLTAP_DISCOVER_TARGET_H
#define PULLTAP_DISCOVER_TARGET_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "discover/process.h"
#include "discover/way.h"

#define TARGET_NAME 64
#define TARGET_CONTAINER_DIGITS 6

enum target_kind {
	TARGET_PID = 1,
	TARGET_PATH = 2,
	TARGET_WORD = 3, /* base name or container id */
};

struct target {
	char name[TARGET_NAME];
	enum target_kind kind;
	enum way way; /* WAY_ANY: none was named */
	pid_t pid;
	char value[PROCESS_EXE]; /* path or word */
	bool container; /* the word may be the start of a container's id */
	bool file_known;
	struct file_identity file; /* what the path leads to on this host, by target_resolve() */
};

/* -EINVAL with one sentence about what is wrong in message; text need not be printable. */
must_check int target_parse(const char *text, struct target *ret, char *message,
			    unsigned int message_size);

/*
 * Looks up where a path leads on the host, for symbolic links and other names of one file. root
 * is "" or where the host's root is mounted (/proc/1/root). To be called again when files may
 * have been replaced; a path that leads nowhere is no error. No-op for other kinds.
 */
void target_resolve(struct target *target, const char *root);

bool target_matches(const struct target *target, const struct process *process);

#endif
