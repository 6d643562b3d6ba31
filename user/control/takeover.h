/* SPDX-License-Identifier: MIT */
/*
 * How an agent comes to own the kernel side: it locks the folder of pins, then adopts what counts
 * there already, or replaces what another build left, or loads afresh. Failures are said on
 * standard error with what to do.
 */
#ifndef PULLTAP_CONTROL_TAKEOVER_H
#define PULLTAP_CONTROL_TAKEOVER_H

#include "attach/kernel.h"
#include "cli/options.h"
#include "window/spool.h"

/* -EWOULDBLOCK when another agent has the lock; that agent was named. */
must_check int takeover_lock(const char *bpffs, int *ret_fd);

/*
 * The kernel side, ours alone; its pins are reached through the lock, which has to be kept. A
 * replaced set is drained into the spool to its last count.
 */
must_check int takeover_kernel(const struct options *options, struct spool *spool, int lock_fd,
			       struct kernel **ret);

#endif
