/* SPDX-License-Identifier: MIT */
/*
 * Binaries that are replaced: an upgrade puts another file under the name that a registry was
 * started by, and starts it some time later. Watching the folders of those names leaves all that
 * time for reading and probing the new file, where the start itself leaves a few milliseconds. Only
 * names that lead to the very file from here are watched: not those in other mount namespaces. What
 * can't be watched is found at its start. Main thread.
 */
#ifndef PULLTAP_ATTACH_REPLACED_H
#define PULLTAP_ATTACH_REPLACED_H

#include "base/cleanup.h"
#include "discover/process.h"

/* More names than that are found at their start. */
#define REPLACED_NAMES 64

struct replaced;

must_check int replaced_new(struct replaced **ret);
void replaced_free(struct replaced **replaced);

/* Readable when something may have been replaced. */
int replaced_fd(const struct replaced *replaced);

/* Watches the name that a process was started by; again is harmless. */
void replaced_watch(struct replaced *replaced, const struct process *process);

/* The next name that may lead to another file now, or NULL. */
const char *replaced_next(struct replaced *replaced);

#endif
