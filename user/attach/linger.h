/* SPDX-License-Identifier: MIT */
/*
 * Processes that have to be looked at again: one that has just started maps its libraries some
 * milliseconds later, or seconds where they are a module's. The pauses grow with the time waited,
 * from 10 ms to 4 s, and after LINGER_S only the scan of all processes looks. Main thread.
 */
#ifndef PULLTAP_ATTACH_LINGER_H
#define PULLTAP_ATTACH_LINGER_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/cleanup.h"

#define LINGER_S 30
/* More at a time wait for the scan. */
#define LINGER_PROCESSES 64

struct linger;

must_check int linger_new(struct linger **ret);
void linger_free(struct linger **linger);

/* Readable when one is to be looked at. */
int linger_fd(const struct linger *linger);

/* To be looked at after the next pause; false when it has been waited for long enough. */
bool linger_add(struct linger *linger, pid_t pid);

/* The next one that is due, 0 for none; it is forgotten unless it is added again right after. */
pid_t linger_next(struct linger *linger);

#endif
