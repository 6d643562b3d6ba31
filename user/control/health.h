/* SPDX-License-Identifier: MIT */
/*
 * Is the agent alive, and does its work reach the database? Answered from its status file alone,
 * for probes that ask every few seconds: needs no right but to read that file, takes no lock, and
 * is not troubled by what only a person can judge (switched off, counts that were lost).
 */
#ifndef PULLTAP_CONTROL_HEALTH_H
#define PULLTAP_CONTROL_HEALTH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

/* The agent writes its status each second; a probe that gives up sooner would kill a slow one. */
#define HEALTH_FRESH_S 60

/*
 * Healthy means: the status was written within HEALTH_FRESH_S. With ready also: by a process that
 * runs (the file may be the last agent's), whose windows are written and find the database.
 * Returns 0, or -EAGAIN with the reason as a sentence in ret_reason.
 */
must_check int health_check(const char *state_dir, bool ready, char *ret_reason, size_t size);

#endif
