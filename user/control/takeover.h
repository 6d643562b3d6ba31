/* SPDX-License-Identifier: MIT */
/*
 * How an agent comes to own the kernel side: it locks the folder of pins, then adopts the set that
 * counts there, or loads its own beside another build's and moves the hits over, or loads afresh.
 * Whatever was left half done, by whomever, is driven to its end. Failures are said on standard
 * error with what to do.
 */
#ifndef PULLTAP_CONTROL_TAKEOVER_H
#define PULLTAP_CONTROL_TAKEOVER_H

#include "attach/kernel.h"
#include "cli/options.h"
#include "control/policy.h"
#include "window/drain.h"
#include "window/spool.h"

/* -EWOULDBLOCK when another agent has the lock; that agent was named. */
must_check int takeover_lock(const char *bpffs, int *ret_fd);

/*
 * The kernel side, ours alone, with every hit running our programs by this policy and its window
 * owned. Its pins are reached through the lock, which has to be kept.
 */
must_check int takeover_kernel(const struct options *options, const struct policy *policy,
			       struct spool *spool, int lock_fd, struct kernel **ret);

/*
 * Drains to the last count every set in pins but the one in use and removes it; in_use is NULL when
 * no probe leads to any set any more, and then it is all of them. What was written is added to sum.
 * To be repeated, before any later window is drained, until it returns 0: their sequences are
 * lower.
 */
must_check int takeover_finish(const char *pins, const struct kernel *in_use, struct spool *spool,
			       struct drain_result *sum);

#endif
